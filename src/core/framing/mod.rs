//! Bytes to frames and back: one file a framing, and nothing of arbitration.
//!
//! A [`Framing`] is a checked view: [`Framing::frame`] reads one frame and has then checked every length and count in it,
//! so that nobody after it can run off the datagram's end. It refuses only what cannot be delivered safely; bytes behind
//! the last message that the header counts are left alone.
//!
//! To add one: a file here, a line in `framings!`, a feed file, tests. Nothing else changes.

use std::fmt;

use crate::frame::{Frame, Packing, SequenceRules, Session, SizeRule};

mod b3_umdf;
mod cboe_pitch;
mod cme_mdp3;
mod cta;
mod eurex_eobi;
mod euronext_optiq;
mod field;
pub mod fixed;
mod hkex_omd;
mod ice_impact;
mod iex_tp;
mod lse_mitch;
mod memx_udp;
mod miax_mach;
mod moex_simba;
mod moldudp64;
mod nyse_pillar;
mod opra;
mod siac;
mod unit_header;

pub use b3_umdf::B3Umdf;
pub use cboe_pitch::CboePitch;
pub use cme_mdp3::CmeMdp3;
pub use cta::Cta;
pub use eurex_eobi::EurexEobi;
pub use euronext_optiq::EuronextOptiq;
pub use fixed::{FIXED, Fixed, FixedConfig};
pub use hkex_omd::HkexOmd;
pub use ice_impact::IceImpact;
pub use iex_tp::IexTp;
pub use lse_mitch::LseMitch;
pub use memx_udp::MemxUdp;
pub use miax_mach::MiaxMach;
pub use moex_simba::MoexSimba;
pub use moldudp64::MoldUdp64;
pub use nyse_pillar::NysePillar;
pub use opra::Opra;

/// Why a datagram, or what is left of it, is not a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Malformed {
    /// Shorter than the framing's header; an empty datagram is.
    Header,
    /// The messages that the header counts are not all there.
    Overrun,
    /// A sequence number of zero where the framing has none, or one that runs over the end of its range.
    Sequence,
    /// A length in the header that cannot be: less than the header itself, or more than the datagram holds.
    Length,
    /// A type, a flag or a version that the framing does not have.
    Type,
    /// The checksum in the header is not that of the bytes.
    Checksum,
}

impl Malformed {
    /// Every reason, in the order of [`Malformed::index`].
    pub const ALL: [Malformed; 6] = [
        Malformed::Header,
        Malformed::Overrun,
        Malformed::Sequence,
        Malformed::Length,
        Malformed::Type,
        Malformed::Checksum,
    ];

    /// Its place in [`Malformed::ALL`].
    pub const fn index(self) -> usize {
        self as usize
    }

    /// The reason's name in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Malformed::Header => "header",
            Malformed::Overrun => "overrun",
            Malformed::Sequence => "sequence",
            Malformed::Length => "length",
            Malformed::Type => "type",
            Malformed::Checksum => "checksum",
        }
    }
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What a framing here was held against.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proof {
    /// A captured stream, whole.
    Stream,
    /// Captured packets.
    Packets,
    /// The venue's document alone.
    Document,
    /// Captured packets and another's dissector, without the venue's document: it is read, and not published.
    Dissector,
}

impl Proof {
    /// In words, as the README has it.
    pub const fn words(self) -> &'static str {
        match self {
            Proof::Stream => "on a real stream",
            Proof::Packets => "on real packets",
            Proof::Document => "from the document alone",
            Proof::Dissector => "on real packets, without the document: read only",
        }
    }
}

/// A framing, both ways. Its value is what a publisher writes: a reader takes what comes.
pub trait Framing: Copy + Send + Sync + 'static {
    /// Its name in feed files.
    const NAME: &'static str;
    /// What it was held against.
    const PROOF: Proof;

    /// Its name in feed files, of the value: [`AnyFraming`] has that of the framing that it is.
    fn name(self) -> &'static str {
        Self::NAME
    }

    /// What the arbiter must know of its numbers.
    fn rules(self) -> SequenceRules;

    /// Whether a packet is one number whatever it holds; a publisher cannot pack such a framing in two ways.
    fn packet_sequenced(self) -> bool;

    /// How its frames pack messages; a frame that does otherwise says so itself.
    fn packing(self) -> Packing;

    /// The same, writing frames of the channel that `key` names. Nothing changes in a framing whose frames name none.
    #[must_use]
    fn with_key(self, key: u32) -> Self {
        let _ = key;
        self
    }

    /// The session that a publisher's text names: a number where the framing has one, [`Session::NONE`] where it has none;
    /// `None` where the text names no session of this framing.
    fn session(self, text: &str) -> Option<Session> {
        let _ = text;
        Some(Session::NONE)
    }

    /// The frame that begins at `*at`, moving `*at` behind it; `None` at the end of the datagram. An empty datagram is
    /// malformed, not at its end.
    ///
    /// # Errors
    /// The reason why the rest of the datagram is no frame; the caller gives up the rest.
    fn frame<'a>(self, datagram: &'a [u8], at: &mut usize) -> Option<Result<Frame<'a>, Malformed>>;

    /// Appends to `out` (which it clears) one datagram with `messages`, the first of which is number `sequence`; each is as
    /// [`Packing::wrap`] makes it. Returns how many messages went in: as many as `out` may hold (`max_len` bytes, at least one
    /// message); none where the first cannot be carried.
    fn encode(self, session: Session, sequence: u64, messages: &[&[u8]], max_len: usize, out: &mut Vec<u8>) -> usize;

    /// Makes `out` a heartbeat of a stream whose next number is `next`; leaves it empty where the framing has none. Returns how
    /// many numbers it consumes.
    fn encode_heartbeat(self, session: Session, next: u64, out: &mut Vec<u8>) -> u32;

    /// Makes `out` an end of session; returns false where the framing has none.
    fn encode_end(self, session: Session, next: u64, out: &mut Vec<u8>) -> bool;
}

/// Declares the list of framings: [`AnyFraming`], its names, and the one place where a name becomes a type.
macro_rules! framings {
    ($($variant:ident),+ $(,)?) => {
        /// A framing that was named at run time. Match it once, at start: [`AnyFraming::with`].
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum AnyFraming {
            $(#[doc = concat!("[`", stringify!($variant), "`](struct@", stringify!($variant), ")")] $variant($variant),)+
            /// [`Fixed`](struct@Fixed): the one that has no rules of its own but those of its feed file.
            Fixed(Fixed),
        }

        $(impl From<$variant> for AnyFraming {
            fn from(framing: $variant) -> AnyFraming {
                AnyFraming::$variant(framing)
            }
        })+

        impl From<Fixed> for AnyFraming {
            fn from(framing: Fixed) -> AnyFraming {
                AnyFraming::Fixed(framing)
            }
        }

        impl AnyFraming {
            /// The name of every framing that has rules of its own: all but [`Fixed`](struct@Fixed).
            pub const NAMES: &'static [&'static str] = &[$(<$variant as Framing>::NAME),+];

            /// The framing of this name, of those that have rules of their own.
            pub fn from_name(name: &str) -> Option<AnyFraming> {
                $(if name == <$variant as Framing>::NAME { return Some(AnyFraming::$variant($variant::default())); })+
                None
            }

            /// Its name.
            pub fn name(self) -> &'static str {
                match self {
                    $(AnyFraming::$variant(_) => <$variant as Framing>::NAME,)+
                    AnyFraming::Fixed(_) => FIXED,
                }
            }

            /// What it was held against.
            pub fn proof(self) -> Proof {
                match self {
                    $(AnyFraming::$variant(_) => <$variant as Framing>::PROOF,)+
                    AnyFraming::Fixed(_) => Fixed::PROOF,
                }
            }

            /// What the arbiter must know of its numbers.
            pub fn rules(self) -> SequenceRules {
                match self {
                    $(AnyFraming::$variant(framing) => framing.rules(),)+
                    AnyFraming::Fixed(framing) => framing.rules(),
                }
            }

            /// Whether it numbers packets, not messages.
            pub fn packet_sequenced(self) -> bool {
                match self {
                    $(AnyFraming::$variant(framing) => framing.packet_sequenced(),)+
                    AnyFraming::Fixed(framing) => framing.packet_sequenced(),
                }
            }

            /// How its frames pack messages.
            pub fn packing(self) -> Packing {
                match self {
                    $(AnyFraming::$variant(framing) => framing.packing(),)+
                    AnyFraming::Fixed(framing) => framing.packing(),
                }
            }

            /// The session that a publisher's text names; see [`Framing::session`].
            pub fn session(self, text: &str) -> Option<Session> {
                match self {
                    $(AnyFraming::$variant(framing) => framing.session(text),)+
                    AnyFraming::Fixed(framing) => framing.session(text),
                }
            }

            /// The same, writing frames of the channel that `key` names.
            #[must_use]
            pub fn with_key(self, key: u32) -> AnyFraming {
                match self {
                    $(AnyFraming::$variant(framing) => AnyFraming::$variant(framing.with_key(key)),)+
                    AnyFraming::Fixed(framing) => AnyFraming::Fixed(framing.with_key(key)),
                }
            }

            /// Goes on with the framing as a type.
            pub fn with<W: WithFraming>(self, then: W) -> W::Output {
                match self {
                    $(AnyFraming::$variant(framing) => then.with(framing),)+
                    AnyFraming::Fixed(framing) => then.with(framing),
                }
            }
        }

        /// For whom a datagram's cost does not matter: the framing is matched anew for each. What is built once for this type
        /// need not be built for every framing.
        impl Framing for AnyFraming {
            const NAME: &'static str = "any";
            const PROOF: Proof = Proof::Document;

            fn name(self) -> &'static str {
                AnyFraming::name(self)
            }

            fn rules(self) -> SequenceRules {
                AnyFraming::rules(self)
            }

            fn packet_sequenced(self) -> bool {
                AnyFraming::packet_sequenced(self)
            }

            fn packing(self) -> Packing {
                AnyFraming::packing(self)
            }

            fn with_key(self, key: u32) -> AnyFraming {
                AnyFraming::with_key(self, key)
            }

            fn session(self, text: &str) -> Option<Session> {
                AnyFraming::session(self, text)
            }

            fn frame<'a>(self, datagram: &'a [u8], at: &mut usize) -> Option<Result<Frame<'a>, Malformed>> {
                match self {
                    $(AnyFraming::$variant(framing) => framing.frame(datagram, at),)+
                    AnyFraming::Fixed(framing) => framing.frame(datagram, at),
                }
            }

            fn encode(self, of: Session, first: u64, messages: &[&[u8]], max_len: usize, out: &mut Vec<u8>) -> usize {
                match self {
                    $(AnyFraming::$variant(framing) => framing.encode(of, first, messages, max_len, out),)+
                    AnyFraming::Fixed(framing) => framing.encode(of, first, messages, max_len, out),
                }
            }

            fn encode_heartbeat(self, session: Session, next: u64, out: &mut Vec<u8>) -> u32 {
                match self {
                    $(AnyFraming::$variant(framing) => framing.encode_heartbeat(session, next, out),)+
                    AnyFraming::Fixed(framing) => framing.encode_heartbeat(session, next, out),
                }
            }

            fn encode_end(self, session: Session, next: u64, out: &mut Vec<u8>) -> bool {
                match self {
                    $(AnyFraming::$variant(framing) => framing.encode_end(session, next, out),)+
                    AnyFraming::Fixed(framing) => framing.encode_end(session, next, out),
                }
            }
        }
    };
}

framings!(
    MoldUdp64,
    CmeMdp3,
    CboePitch,
    NysePillar,
    HkexOmd,
    LseMitch,
    Opra,
    Cta,
    IceImpact,
    IexTp,
    MemxUdp,
    MiaxMach,
    EurexEobi,
    EuronextOptiq,
    B3Umdf,
    MoexSimba,
);

/// What to do once the framing is a type: the one match, after which everything is monomorphised.
pub trait WithFraming {
    /// What comes of it.
    type Output;

    /// Goes on with `framing`.
    fn with<F: Framing>(self, framing: F) -> Self::Output;
}

/// Every rule by which messages without a length field are sized. An id stands in rings: it is never given to another rule.
const SIZE_RULES: &[&SizeRule] = &[&opra::RULE];

/// The packing that [`Packing::to_bytes`] gave; `None` if no framing here packs so.
pub fn packing(raw: [u8; 8]) -> Option<Packing> {
    Packing::from_bytes(raw, SIZE_RULES)
}

/// Puts as many messages behind a header as the datagram may hold, at least one; none where the first is no block.
fn append(packing: Packing, messages: &[&[u8]], max_count: usize, max_len: usize, out: &mut Vec<u8>) -> usize {
    let mut count = 0;
    for message in messages.iter().take(max_count) {
        let full = count > 0 && out.len() + message.len() > max_len;
        if full || packing.block_len(message) != Some(message.len()) {
            break;
        }
        out.extend_from_slice(message);
        count += 1;
    }
    count
}

/// The number after `last`, as a 32-bit counter has it that skips zero; the first where none was sent yet.
#[inline]
fn next_after(last: u32) -> u64 {
    u64::from(last.checked_add(1).unwrap_or(1))
}
