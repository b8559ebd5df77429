//! The words that framing and arbiter share, and the only ones: [`Line`], [`Session`], [`ChannelKey`], [`Frame`], how a
//! frame packs its messages ([`Packing`]), and what an arbiter must know of a framing's numbers ([`SequenceRules`]).
//!
//! Nothing here reads a datagram (that is `framing`) or decides anything (that is `arbiter`).

use std::fmt::{self, Write as _};

use crate::seq::{SeqNo, Width};
use crate::time::Nanos;

/// How many lines a feed may have.
pub const LINES_MAX: usize = 8;

/// One path that carries the feed, by its place in the feed file; or recovery, which is one more line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Line(pub u8);

impl Line {
    /// What came by retransmission or snapshot.
    pub const RECOVERY: Line = Line(LINES_MAX as u8);

    /// Its place in the feed file; [`LINES_MAX`] for recovery.
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// One run of a channel's numbers, as the framing names it: text or a number, empty in a framing without sessions.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Session {
    /// Its bytes, little-endian from the first on; above them, in the last two, their number and whether they are one.
    words: [u64; 2],
}

impl Session {
    /// A framing that has no sessions.
    pub const NONE: Session = Session { words: [0; 2] };
    /// The longest name.
    const NAME_MAX: usize = 14;
    const NUMERIC: u64 = 1 << 56;

    /// A session named by up to 14 bytes of text; more are cut off.
    pub fn text(name: &[u8]) -> Session {
        let mut bytes = [0; Session::NAME_MAX];
        let len = name.len().min(Session::NAME_MAX);
        bytes[..len].copy_from_slice(&name[..len]);
        let mut session = Session::fixed(&bytes);
        session.words[1] = session.words[1] & !(0xFF << 48) | (len as u64) << 48;
        session
    }

    /// A session named by a field of so many bytes, up to 14: in registers, without a look at its length.
    #[inline]
    pub fn fixed<const LEN: usize>(name: &[u8; LEN]) -> Session {
        const { assert!(LEN <= Session::NAME_MAX) };
        let mut words = [0, (LEN as u64) << 48];
        for (i, &byte) in name.iter().enumerate() {
            words[i / 8] |= u64::from(byte) << (i % 8 * 8);
        }
        Session { words }
    }

    /// A session named by a number.
    #[inline]
    pub fn number(n: u64) -> Session {
        Session { words: [n.swap_bytes(), 8 << 48 | Session::NUMERIC] }
    }

    /// The session as 16 opaque bytes, for a ring's record.
    #[inline]
    pub fn to_bytes(self) -> [u8; 16] {
        let mut out = [0; 16];
        out[..8].copy_from_slice(&self.words[0].to_le_bytes());
        out[8..].copy_from_slice(&self.words[1].to_le_bytes());
        out
    }

    /// The session that [`Session::to_bytes`] gave; anything else gives some session, never a panic.
    pub fn from_bytes(raw: [u8; 16]) -> Session {
        let len = usize::from(raw[14]).min(Session::NAME_MAX);
        if raw[15] != 0 {
            let mut number = [0; 8];
            number.copy_from_slice(&raw[..8]);
            return Session::number(u64::from_be_bytes(number));
        }
        Session::text(&raw[..len])
    }

    /// Whether it is named by a number, and which.
    pub fn as_number(self) -> Option<u64> {
        (self.words[1] & Session::NUMERIC != 0).then(|| self.words[0].swap_bytes())
    }

    /// The text that it is named by, at the front of so many bytes (for a number: its big-endian bytes).
    pub fn name(self) -> ([u8; 14], usize) {
        let raw = self.to_bytes();
        let mut name = [0; Session::NAME_MAX];
        name.copy_from_slice(&raw[..Session::NAME_MAX]);
        (name, usize::from(raw[14]))
    }
}

impl fmt::Display for Session {
    /// Printable ASCII untrimmed, other bytes as `\xHH`, a numeric session in decimal (ARBITRATION 11).
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(n) = self.as_number() {
            return write!(f, "{n}");
        }
        let (name, len) = self.name();
        for &b in &name[..len] {
            if (0x20..0x7f).contains(&b) {
                f.write_char(char::from(b))?;
            } else {
                write!(f, "\\x{b:02x}")?;
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Session(\"{self}\")")
    }
}

/// A channel's name: the place of its group in every line's list, and the framing's key where it has one (ARBITRATION 2.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChannelKey {
    /// `groups[i]` of every line.
    pub group: u16,
    /// Cboe unit, IEX channel, ...
    pub key: Option<u32>,
}

impl fmt::Display for ChannelKey {
    /// `0`, or `0.3` with a key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.group)?;
        match self.key {
            Some(key) => write!(f, ".{key}"),
            None => Ok(()),
        }
    }
}

/// What a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Messages `sequence .. sequence + count`.
    Data,
    /// The same, and the session ends with them.
    Last,
    /// No messages; `sequence` is the next expected, whatever the framing writes on the wire.
    Heartbeat,
    /// No messages; the session ends before `sequence`.
    EndOfSession,
    /// Messages (or none) outside of the sequence (ARBITRATION 4.4); `sequence` means nothing. It may mark a reset all the same.
    Unsequenced,
}

impl Kind {
    /// Whether it brings messages `sequence .. sequence + count`.
    #[inline]
    pub const fn has_messages(self) -> bool {
        matches!(self, Kind::Data | Kind::Last)
    }

    /// Whether the session ends with it.
    #[inline]
    pub const fn ends_session(self) -> bool {
        matches!(self, Kind::EndOfSession | Kind::Last)
    }
}

/// How a frame marks a reset of its channel's numbers (ARBITRATION 6.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reset {
    /// By a message or a flag: the new epoch starts at this number, and the frame belongs to it. A frame above that number is
    /// one of several that carry a flag: it marks nothing where it brings what its line has not brought yet.
    Marked(u64),
    /// By a heartbeat at the initial number: believed only when the line's next frame bears it out.
    Heartbeat(u64),
}

/// One header with its messages: a checked view into a datagram.
///
/// A framing that hands one out has checked that `count` messages lie in `body` as `packing` says, and that
/// `sequence + count` does not overflow.
#[derive(Clone, Copy, Debug)]
pub struct Frame<'a> {
    /// The channel within its group, where the framing has such a key.
    pub key: Option<u32>,
    /// The session that it carries, [`Session::NONE`] where the framing has none.
    pub session: Session,
    /// What it is.
    pub kind: Kind,
    /// The first message's number, as wide as on the wire. In a packet-sequenced framing the packet's.
    pub sequence: u64,
    /// How many messages; 1 in a packet-sequenced framing.
    pub count: u32,
    /// A heartbeat: without messages, or one that consumes a number (`Kind::Data`, count 1).
    pub heartbeat: bool,
    /// Whether it resets its channel's numbers.
    pub reset: Option<Reset>,
    /// How the messages lie in `body`.
    pub packing: Packing,
    /// The messages, as the framing packs them.
    pub body: &'a [u8],
    /// The whole frame with its header: two frames are byte-identical when these are equal.
    pub bytes: &'a [u8],
}

/// How messages lie one behind the other.
///
/// Each message is a block: `block = read(length field) + length_adds` bytes, or all that is left where there is no
/// length field. What is delivered is the block without its first `skip` bytes (ARBITRATION 2.4: a length that belongs to
/// the transport is not part of the message). OPRA's messages have no length: theirs follows from what they are
/// ([`Packing::OPRA`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Packing {
    /// Bytes of the length field: 0 (the body is one message), 1 or 2; anything above: by OPRA's rule.
    pub width: u8,
    /// Where the length field lies in its block.
    pub offset: u8,
    /// Whether the length field is big-endian.
    pub big_endian: bool,
    /// What to add to the length field to get the block's size.
    pub length_adds: u8,
    /// Bytes at the front of the block that are not part of the message.
    pub skip: u8,
}

impl Packing {
    /// The body is one message: packet-sequenced framings.
    pub const WHOLE: Packing = Packing { width: 0, offset: 0, big_endian: false, length_adds: 0, skip: 0 };

    /// A big-endian 16-bit length that does not count itself, then the message: MoldUDP64, MEMX.
    pub const LENGTH_BE16: Packing = Packing { width: 2, offset: 0, big_endian: true, length_adds: 2, skip: 2 };

    /// The same, little-endian: IEX.
    pub const LENGTH_LE16: Packing = Packing { big_endian: false, ..Packing::LENGTH_BE16 };

    /// A message that begins with its own length, the whole of it, in one byte: Cboe, LSE.
    pub const OWN_U8: Packing = Packing { width: 1, offset: 0, big_endian: false, length_adds: 0, skip: 0 };

    /// A message that begins with its own length, the whole of it, in 16 bits, little-endian: NYSE, HKEX.
    pub const OWN_LE16: Packing = Packing { width: 2, ..Packing::OWN_U8 };

    /// The same, big-endian: CTA.
    pub const OWN_BE16: Packing = Packing { big_endian: true, ..Packing::OWN_LE16 };

    /// A byte, then a big-endian 16-bit length of what follows, all of it part of the message: ICE.
    pub const OWN_TYPE_BE16: Packing = Packing { width: 2, offset: 1, big_endian: true, length_adds: 3, skip: 0 };

    /// OPRA: a message's size follows from its category and, in quotes, its indicator; an administrative message says how
    /// long its text is. One of a category that is not known is all that is left: it can only be the last.
    pub const OPRA: Packing = Packing { width: u8::MAX, offset: 12, big_endian: true, length_adds: 14, skip: 0 };

    /// The bytes in front of the text of an administrative message of OPRA, which its processor sends: participant, category,
    /// type, indicator, transaction, reference, length of the text.
    const OPRA_TEXT: [u8; 14] = *b"OC  \0\0\0\0\0\0\0\0\0\0";

    /// Makes a message of this packing out of any bytes: where a message carries its own length, that is put where it
    /// belongs (what a publisher is given has none); else they are the message as they are. Clears `out`; false where the
    /// length does not fit its field. By OPRA's rule they become the text of an administrative message.
    pub fn wrap(self, bytes: &[u8], out: &mut Vec<u8>) -> bool {
        out.clear();
        if self.width > 2 {
            out.extend_from_slice(&Packing::OPRA_TEXT);
            out.extend_from_slice(bytes);
            return self.put_length(out);
        }
        let (at, width) = (usize::from(self.offset), usize::from(self.width));
        if width == 0 || usize::from(self.skip) >= at + width {
            out.extend_from_slice(bytes);
            return width == 0 || bytes.len() + at + width <= self.block_max();
        }
        let (front, rest) = bytes.split_at(at.min(bytes.len()));
        out.extend_from_slice(front);
        out.resize(at + width, 0);
        out.extend_from_slice(rest);
        self.put_length(out)
    }

    /// What [`Packing::wrap`] made a message of, where the length stands at its front, or OPRA's text begins behind it; else
    /// the message.
    #[inline]
    pub fn content(self, message: &[u8]) -> &[u8] {
        if self.width > 2 {
            return message.get(Packing::OPRA_TEXT.len()..).unwrap_or_default();
        }
        let own = self.offset == 0 && self.skip < self.width;
        message.get(if own { usize::from(self.width) } else { 0 }..).unwrap_or_default()
    }

    /// Writes a block's length into its field; false where it does not fit.
    pub fn put_length(self, block: &mut [u8]) -> bool {
        let (at, width) = (usize::from(self.offset), usize::from(self.width.min(2)));
        if block.len() > self.block_max() || block.len() < at + width {
            return false;
        }
        let Some(length) = block.len().checked_sub(usize::from(self.length_adds)) else { return false };
        match (width, self.big_endian) {
            (0, _) => {}
            (1, _) => block[at] = length as u8,
            (_, true) => block[at..at + 2].copy_from_slice(&(length as u16).to_be_bytes()),
            (_, false) => block[at..at + 2].copy_from_slice(&(length as u16).to_le_bytes()),
        }
        true
    }

    /// The longest block that its length field can say.
    const fn block_max(self) -> usize {
        let most = match self.width {
            0 => return usize::MAX,
            1 => u8::MAX as usize,
            _ => u16::MAX as usize,
        };
        most + self.length_adds as usize
    }

    /// The size of the block that `rest` begins with; `None` where the block is not whole.
    // a framing knows its packing when it is compiled: what is left of this then is two reads and a comparison
    #[inline(always)]
    pub fn block_len(self, rest: &[u8]) -> Option<usize> {
        let at = usize::from(self.offset);
        let length = match self.width {
            0 => return Some(rest.len()),
            1 => usize::from(*rest.get(at)?),
            3.. => return opra_len(rest),
            2 => {
                let field = [*rest.get(at)?, *rest.get(at + 1)?];
                usize::from(if self.big_endian { u16::from_be_bytes(field) } else { u16::from_le_bytes(field) })
            }
        };
        let block = length + usize::from(self.length_adds);
        let least = usize::from(self.skip).max(at + usize::from(self.width));
        (block >= least && block <= rest.len()).then_some(block)
    }

    /// How many bytes the first `count` blocks of `body` take; `None` where they are not all there.
    #[inline(always)] // for the same reason
    pub fn blocks_len(self, body: &[u8], count: u32) -> Option<usize> {
        if self.width == 0 {
            return match count {
                0 => Some(0),
                1 => Some(body.len()),
                _ => None,
            };
        }
        if count == 1 {
            return self.block_len(body);
        }
        if self.width <= 2 && self.are_alike(body, count) {
            return Some(body.len());
        }
        let mut at = 0;
        for _ in 0..count {
            at += self.block_len(&body[at..])?;
        }
        Some(at)
    }

    /// Whether `body` is `count` blocks of one size. Their lengths can be looked at side by side then, while in a walk each
    /// waits for the one before; where sizes differ, the body's own size tells so, nearly always, at once.
    #[inline]
    fn are_alike(self, body: &[u8], count: u32) -> bool {
        let Some(block) = self.block_len(body) else { return false };
        if block == 0 || block as u64 * u64::from(count) != body.len() as u64 {
            return false;
        }
        let (at, width) = (usize::from(self.offset), usize::from(self.width));
        let field = |block: &[u8]| match block.get(at..at + width) {
            Some(&[a, b]) => u16::from_le_bytes([a, b]),
            Some(&[a]) => u16::from(a),
            _ => 0,
        };
        let (first, mut rest, mut differ) = (field(body), body, 0);
        while let Some((this, after)) = rest.split_at_checked(block) {
            differ |= field(this) ^ first;
            rest = after;
        }
        differ == 0
    }

    /// The messages of a checked body, one after the other; ends early where a block is not whole.
    #[inline]
    pub fn messages(self, body: &[u8]) -> Messages<'_> {
        Messages { packing: self, rest: body, whole: self.width == 0 }
    }

    /// The packing as 8 opaque bytes, for a ring's facts.
    pub fn to_bytes(self) -> [u8; 8] {
        [self.width, self.offset, u8::from(self.big_endian), self.length_adds, self.skip, 0, 0, 0]
    }

    /// The packing that [`Packing::to_bytes`] gave.
    pub fn from_bytes(raw: [u8; 8]) -> Packing {
        Packing { width: raw[0], offset: raw[1], big_endian: raw[2] != 0, length_adds: raw[3], skip: raw[4] }
    }
}

/// The size of the message that `rest` begins with, by OPRA's rule: bytes of header and body by category, and the
/// appendages that a quote's indicator announces. The head of `framing/opra.rs` names the sources.
#[inline(never)] // who packs otherwise is not to carry it
fn opra_len(rest: &[u8]) -> Option<usize> {
    // participant, category, type, indicator, transaction, reference
    let head = rest.first_chunk::<12>()?;
    let appendages = || match head[3] {
        b'C' | b'G' | b'K' | b'M' | b'N' | b'P' => 10,
        b'O' => 20,
        _ => 0,
    };
    let len = match head[1] {
        b'a' => 43,
        b'd' => 30,
        b'f' => 72,
        b'k' => 43 + appendages(),
        b'q' => 29 + appendages(),
        b'C' => Packing::OPRA_TEXT.len() + usize::from(u16::from_be_bytes([*rest.get(12)?, *rest.get(13)?])),
        b'H' => 12,
        b'R' => 155,
        b'Y' => 27,
        _ => rest.len(),
    };
    (len <= rest.len()).then_some(len)
}

/// Walks the messages of a body without a copy. See [`Packing::messages`].
#[derive(Clone, Debug)]
pub struct Messages<'a> {
    packing: Packing,
    rest: &'a [u8],
    whole: bool,
}

impl<'a> Iterator for Messages<'a> {
    type Item = &'a [u8];

    #[inline]
    fn next(&mut self) -> Option<&'a [u8]> {
        if self.whole {
            self.whole = false;
            return Some(std::mem::take(&mut self.rest));
        }
        if self.rest.is_empty() || self.packing.width == 0 {
            return None;
        }
        let block = self.packing.block_len(self.rest)?;
        let (message, rest) = self.rest.split_at(block);
        self.rest = rest;
        message.get(usize::from(self.packing.skip)..)
    }
}

/// What the arbiter must know of a framing's numbers.
#[derive(Clone, Copy, Debug)]
pub struct SequenceRules {
    /// How wide they are on the wire.
    pub width: Width,
    /// The first number of a session.
    pub initial: SeqNo,
    /// Whether a channel may fall back to the initial number without a mark (ARBITRATION 6.6).
    pub unmarked_restart: bool,
    /// Whether frames name a channel within their group.
    pub keyed: bool,
    /// How often an idle line is heard; decides `silent_after` (ARBITRATION 9).
    pub heartbeat_interval: Nanos,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sessions_print_as_the_rules_say() {
        assert_eq!(Session::text(b"000008367I").to_string(), "000008367I");
        assert_eq!(Session::text(b"  a\\b\x00\xff  ").to_string(), "  a\\b\\x00\\xff  ");
        assert_eq!(Session::number(7).to_string(), "7");
        assert_eq!(Session::NONE.to_string(), "");
        assert_ne!(Session::text(b"1"), Session::text(b"1 "));
        for s in [Session::text(b"000008367I"), Session::number(1 << 40), Session::NONE] {
            assert_eq!(Session::from_bytes(s.to_bytes()), s);
        }
    }

    #[test]
    fn channels_print_with_and_without_a_key() {
        assert_eq!(ChannelKey { group: 0, key: None }.to_string(), "0");
        assert_eq!(ChannelKey { group: 0, key: Some(3) }.to_string(), "0.3");
    }

    #[test]
    fn blocks_are_walked_and_never_past_the_end() {
        let body = [0, 1, b'x', 0, 0, 0, 2, b'y', b'z'];
        let all: Vec<&[u8]> = Packing::LENGTH_BE16.messages(&body).collect();
        assert_eq!(all, [b"x".as_slice(), b"", b"yz"]);
        assert_eq!(Packing::LENGTH_BE16.blocks_len(&body, 2), Some(5));
        assert_eq!(Packing::LENGTH_BE16.blocks_len(&body, 4), None);
        assert_eq!(Packing::LENGTH_BE16.blocks_len(&body[..8], 3), None);
        assert_eq!(Packing::WHOLE.messages(&[]).count(), 1);
        assert_eq!(Packing::WHOLE.blocks_len(b"abc", 1), Some(3));
    }

    #[test]
    fn a_length_that_counts_itself_cannot_stall_the_walk() {
        // Cboe: one byte, the block's own length
        let own = Packing::OWN_U8;
        assert_eq!(own.block_len(&[0, 1, 2]), None);
        assert_eq!(own.messages(&[2, 9, 3, 8, 7]).collect::<Vec<_>>(), [[2, 9].as_slice(), &[3, 8, 7]]);
    }

    #[test]
    fn opras_messages_are_as_long_as_their_category_says() {
        let message = |category: u8, indicator: u8, len: usize| {
            let mut message = vec![0; len];
            message[..4].copy_from_slice(&[b'O', category, b' ', indicator]);
            message
        };
        for (category, indicator, len) in [
            (b'a', b' ', 43),
            (b'd', b' ', 30),
            (b'f', b' ', 72),
            (b'k', b'A', 43),
            (b'k', b'G', 53),
            (b'k', b'O', 63),
            (b'q', b' ', 29),
            (b'q', b'M', 39),
            (b'q', b'O', 49),
            (b'C', b' ', 14),
            (b'H', b' ', 12),
            (b'R', b' ', 155),
            (b'Y', b' ', 27),
        ] {
            let one = message(category, indicator, len);
            assert_eq!(Packing::OPRA.block_len(&one), Some(len), "{}", char::from(category));
            assert_eq!(Packing::OPRA.block_len(&one[..len - 1]), None, "{}", char::from(category));
            let two = [one.clone(), message(b'H', b' ', 12)].concat();
            assert_eq!(Packing::OPRA.blocks_len(&two, 2), Some(len + 12));
            assert_eq!(Packing::OPRA.messages(&two).map(<[u8]>::len).collect::<Vec<_>>(), [len, 12]);
        }
        // what is not known is all that is left: as the last message it can be told from the others, in front it cannot
        let unknown = [message(b'H', b' ', 12), message(b'!', b' ', 33)].concat();
        assert_eq!(Packing::OPRA.blocks_len(&unknown, 2), Some(45));
        assert_eq!(Packing::OPRA.blocks_len(&unknown, 3), None);
        assert_eq!(Packing::OPRA.messages(&unknown).map(<[u8]>::len).collect::<Vec<_>>(), [12, 33]);
        assert_eq!(Packing::from_bytes(Packing::OPRA.to_bytes()), Packing::OPRA);
    }

    #[test]
    fn what_is_wrapped_is_a_block_and_its_content_is_found_again() {
        let mut out = Vec::new();
        for (packing, expected) in [
            (Packing::OPRA, b"OC  \0\0\0\0\0\0\0\0\0\x03abc".as_slice()),
            (Packing::OWN_U8, b"\x04abc"),
            (Packing::OWN_BE16, b"\0\x05abc"),
            (Packing::OWN_TYPE_BE16, b"a\0\x02bc"),
        ] {
            assert!(packing.wrap(b"abc", &mut out));
            assert_eq!(out, expected);
            assert_eq!(packing.block_len(&out), Some(out.len()));
            let whole = packing.offset == 1;
            assert_eq!(packing.content(&out), if whole { expected } else { b"abc" });
        }
        assert!(Packing::OPRA.wrap(&[0; 65_535], &mut out));
        assert!(!Packing::OPRA.wrap(&[0; 65_536], &mut out));
        assert!(!Packing::OWN_U8.wrap(&[0; 255], &mut out));
    }
}
