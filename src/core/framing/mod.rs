//! Bytes to frames and back: one file per framing. Nothing here knows about arbitration.
//!
//! A [`Framing`] gives a checked view: [`Framing::frame`] reads one frame and checks every length and count in it, so that nothing
//! downstream can run past the end of the datagram. It refuses only what cannot be delivered safely. Bytes after the last
//! message that the header counts are ignored.
//!
//! To add a framing: a file here, a line in `framings!`, a feed file, tests. Nothing else changes.

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

/// Why a datagram, or the rest of it, is not a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Malformed {
    /// Shorter than the framing's header; an empty datagram, too.
    Header,
    /// The messages that the header counts are not all there.
    Overrun,
    /// A sequence number of zero in a framing that has no zero, or numbers that run past the end of their range.
    Sequence,
    /// An impossible length in the header: less than the header itself, or more than the datagram holds.
    Length,
    /// A type, a flag or a version that the framing does not have.
    Type,
    /// The checksum in the header does not match the bytes.
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

    /// Its index in [`Malformed::ALL`].
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

/// What a framing here was checked against.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proof {
    /// A whole captured stream.
    Stream,
    /// Captured packets.
    Packets,
    /// Only the venue's document.
    Document,
    /// Captured packets and a third-party dissector, without the venue's document: the framing is read but not published.
    Dissector,
}

impl Proof {
    /// In words, as in the README.
    pub const fn words(self) -> &'static str {
        match self {
            Proof::Stream => "on a real stream",
            Proof::Packets => "on real packets",
            Proof::Document => "from the document alone",
            Proof::Dissector => "on real packets, without the document: read only",
        }
    }
}

/// A framing, both ways. A value may hold what a publisher writes, such as a channel's key; it makes no difference to a reader.
pub trait Framing: Copy + Send + Sync + 'static {
    /// Its name in feed files.
    const NAME: &'static str;
    /// What it was checked against.
    const PROOF: Proof;

    /// The name in feed files of this value: [`AnyFraming`] gives that of the framing in it.
    fn name(self) -> &'static str {
        Self::NAME
    }

    /// What the arbiter must know about its numbers.
    fn rules(self) -> SequenceRules;

    /// Whether each packet has one number, whatever it holds. A publisher cannot pack such a framing in two ways.
    fn packet_sequenced(self) -> bool;

    /// How its frames pack messages; a frame that packs differently says so itself ([`Frame::packing`]).
    fn packing(self) -> Packing;

    /// The same framing, writing frames of the channel with this key. No change in a framing whose frames name no channel.
    #[must_use]
    fn with_key(self, key: u32) -> Self {
        let _ = key;
        self
    }

    /// The session that a publisher's text names: a number if the framing's sessions are numbers, [`Session::NONE`] if it has no
    /// sessions. `None` if the text names no session of this framing.
    fn session(self, text: &str) -> Option<Session> {
        let _ = text;
        Some(Session::NONE)
    }

    /// Reads the frame that begins at `*at`, and moves `*at` past it; `None` at the end of the datagram. An empty datagram is
    /// malformed, not at its end.
    ///
    /// # Errors
    /// The reason why the rest of the datagram is not a frame; the caller drops the rest.
    fn frame<'a>(self, datagram: &'a [u8], at: &mut usize) -> Option<Result<Frame<'a>, Malformed>>;

    /// Makes `out` one datagram with `messages`, the first of which has the number `sequence`; each is as [`Packing::wrap`] makes
    /// it. Returns how many went in: as many as fit into `max_len` bytes, but at least one; zero if the first cannot be
    /// carried.
    fn encode(self, session: Session, sequence: u64, messages: &[&[u8]], max_len: usize, out: &mut Vec<u8>) -> usize;

    /// Makes `out` a heartbeat of a stream whose next number is `next`; leaves it empty if the framing has no heartbeat. Returns
    /// how many numbers the heartbeat consumes.
    fn encode_heartbeat(self, session: Session, next: u64, out: &mut Vec<u8>) -> u32;

    /// Makes `out` an end of session; false if the framing has none.
    fn encode_end(self, session: Session, next: u64, out: &mut Vec<u8>) -> bool;
}

/// Declares the list of framings: [`AnyFraming`], its names, and the only place where a name becomes a type.
macro_rules! framings {
    ($($variant:ident),+ $(,)?) => {
        /// A framing that was chosen at run time. Match it once, at start: [`AnyFraming::with`].
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum AnyFraming {
            $(#[doc = concat!("[`", stringify!($variant), "`](struct@", stringify!($variant), ")")] $variant($variant),)+
            /// [`Fixed`](struct@Fixed): has no rules of its own, only those of a feed file.
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
            /// The names of all framings that have rules of their own: all except [`Fixed`](struct@Fixed).
            pub const NAMES: &'static [&'static str] = &[$(<$variant as Framing>::NAME),+];

            /// The framing with this name, if it is one of [`AnyFraming::NAMES`].
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

            /// What it was checked against.
            pub fn proof(self) -> Proof {
                match self {
                    $(AnyFraming::$variant(_) => <$variant as Framing>::PROOF,)+
                    AnyFraming::Fixed(_) => Fixed::PROOF,
                }
            }

            /// What the arbiter must know about its numbers.
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

            /// The same framing, writing frames of the channel with this key.
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

        /// For callers to whom the cost of a datagram does not matter: the framing is matched again for each. Code that is
        /// compiled once for this type is not compiled again for every framing.
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

/// What to do once the framing is a type: everything after this one match is monomorphised.
pub trait WithFraming {
    /// The result.
    type Output;

    /// Goes on with `framing`.
    fn with<F: Framing>(self, framing: F) -> Self::Output;
}

/// Every rule for the size of messages without a length field. The ids stand in rings: one is never reused.
const SIZE_RULES: &[&SizeRule] = &[&opra::RULE];

/// The packing that [`Packing::to_bytes`] gave; `None` if it is by a rule that no framing here has.
pub fn packing(raw: [u8; 8]) -> Option<Packing> {
    Packing::from_bytes(raw, SIZE_RULES)
}

/// Appends as many messages to a header as fit into `max_len` bytes, but at least one; none if the first is not a block.
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

/// The number after `last` of a 32-bit counter that skips zero; 1 after 0, when none was sent yet.
#[inline]
fn next_after(last: u32) -> u64 {
    u64::from(last.checked_add(1).unwrap_or(1))
}
