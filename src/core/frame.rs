//! The words that framings and the arbiter share: [`Line`], [`Session`], [`ChannelKey`], [`Frame`], how a frame packs its
//! messages ([`Packing`]), and what an arbiter must know about a framing's numbers ([`SequenceRules`]). They share nothing
//! else.
//!
//! Nothing here reads a datagram (framings do) or decides anything (the arbiter does).

use std::fmt::{self, Write as _};

pub use crate::packing::{Messages, Packing, SizeRule};
use crate::seq::SeqNo;
pub use crate::seq::Width;
use crate::time::Nanos;

/// How many lines a feed may have.
pub const LINES_MAX: usize = 8;

/// One path that carries the feed, by its index in the feed file, from 0; or recovery, which is one more line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Line(pub u8);

impl Line {
    /// Retransmissions and snapshots.
    pub const RECOVERY: Line = Line(LINES_MAX as u8);

    /// Its index in the feed file, from 0; [`LINES_MAX`] for recovery.
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// One run of a channel's numbers, as the framing names it: by text of up to 14 bytes, or by a number. Empty in a framing
/// without sessions.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Session {
    /// Its bytes, little-endian from the first on. Above them, in the last two bytes: how many there are, and whether they are a
    /// number.
    words: [u64; 2],
}

impl Session {
    /// The session of a framing that has none.
    pub const NONE: Session = Session { words: [0; 2] };
    /// The longest name.
    const NAME_MAX: usize = 14;
    const NUMERIC: u64 = 1 << 56;

    /// A session named by text of up to 14 bytes; the rest is cut off.
    pub fn text(name: &[u8]) -> Session {
        let mut bytes = [0; Session::NAME_MAX];
        let len = name.len().min(Session::NAME_MAX);
        bytes[..len].copy_from_slice(&name[..len]);
        let mut session = Session::fixed(&bytes);
        session.words[1] = session.words[1] & !(0xFF << 48) | (len as u64) << 48;
        session
    }

    /// A session named by a field of `LEN` bytes, at most 14: built in registers, without a look at the length.
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

    /// The session that [`Session::to_bytes`] gave. Any other bytes give some session, and never a panic.
    pub fn from_bytes(raw: [u8; 16]) -> Session {
        let len = usize::from(raw[14]).min(Session::NAME_MAX);
        if raw[15] != 0 {
            let mut number = [0; 8];
            number.copy_from_slice(&raw[..8]);
            return Session::number(u64::from_be_bytes(number));
        }
        Session::text(&raw[..len])
    }

    /// The number that it is named by; `None` if it is named by text.
    pub fn as_number(self) -> Option<u64> {
        (self.words[1] & Session::NUMERIC != 0).then(|| self.words[0].swap_bytes())
    }

    /// The text that it is named by, and how many bytes of the array it fills. For a number: its big-endian bytes.
    pub fn name(self) -> ([u8; 14], usize) {
        let raw = self.to_bytes();
        let mut name = [0; Session::NAME_MAX];
        name.copy_from_slice(&raw[..Session::NAME_MAX]);
        (name, usize::from(raw[14]))
    }
}

impl fmt::Display for Session {
    /// Printable ASCII as it is, not trimmed; other bytes as `\xHH`; a number in decimal (ARBITRATION 11).
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

/// A channel's name: the index of its group in each line's list of groups, and the framing's key if it has one (ARBITRATION
/// 2.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChannelKey {
    /// The index `i` of `groups[i]`, in every line.
    pub group: u16,
    /// What the framing names a channel by: Cboe's unit, IEX's channel and so on.
    pub key: Option<u32>,
}

impl fmt::Display for ChannelKey {
    /// `0`, or with a key `0.3`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.group)?;
        match self.key {
            Some(key) => write!(f, ".{key}"),
            None => Ok(()),
        }
    }
}

/// What a frame brings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameKind {
    /// Messages `sequence .. sequence + count`.
    Data,
    /// The same, and the session ends with them.
    Last,
    /// No messages; `sequence` is the next expected number, whatever the framing has on the wire.
    Heartbeat,
    /// No messages; the session ends before `sequence`.
    EndOfSession,
    /// Messages outside of the sequence, or none (ARBITRATION 4.4); `sequence` is meaningless. It can still mark a reset.
    Unsequenced,
}

impl FrameKind {
    /// Whether it brings messages `sequence .. sequence + count`.
    #[inline]
    pub const fn has_messages(self) -> bool {
        matches!(self, FrameKind::Data | FrameKind::Last)
    }

    /// Whether the session ends with it.
    #[inline]
    pub const fn ends_session(self) -> bool {
        matches!(self, FrameKind::EndOfSession | FrameKind::Last)
    }
}

/// How a frame marks a reset of its channel's numbers (ARBITRATION 6.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reset {
    /// By a message or a flag: the new epoch starts at this number, and the frame belongs to it. If the frame's number is
    /// higher, it is one of several that carry the flag, and it marks nothing if it brings what its line has not brought yet.
    Marked(u64),
    /// By a heartbeat at the initial number: believed only once the line's next frame confirms it.
    Heartbeat(u64),
}

/// One header with its messages: a checked view into a datagram.
///
/// The framing that made it has checked that `count` messages lie in `body`, packed as `packing` says, and that
/// `sequence + count` does not overflow.
#[derive(Clone, Copy, Debug)]
pub struct Frame<'a> {
    /// The channel within its group, if the framing has such a key.
    pub key: Option<u32>,
    /// The session that it carries; [`Session::NONE`] in a framing without sessions.
    pub session: Session,
    /// What it brings.
    pub kind: FrameKind,
    /// The first message's number, not extended beyond its width on the wire. In a packet-sequenced framing, the packet's.
    pub sequence: u64,
    /// How many messages it has; 1 in a packet-sequenced framing.
    pub count: u32,
    /// Whether it is a heartbeat: without messages, or one that consumes a number (`FrameKind::Data`, count 1).
    pub heartbeat: bool,
    /// Whether and how it marks a reset of its channel's numbers.
    pub reset: Option<Reset>,
    /// How the messages are packed in `body`.
    pub packing: Packing,
    /// The messages, as the framing packs them.
    pub body: &'a [u8],
    /// The whole frame with its header: two frames are byte-identical if these are equal.
    pub bytes: &'a [u8],
}

/// What the arbiter must know about a framing's sequence numbers.
#[derive(Clone, Copy, Debug)]
pub struct SequenceRules {
    /// How wide they are on the wire.
    pub width: Width,
    /// The first number of a session.
    pub initial: SeqNo,
    /// Whether a channel may restart at the initial number without a mark (ARBITRATION 6.6).
    pub unmarked_restart: bool,
    /// Whether frames name a channel within their group.
    pub keyed: bool,
    /// The longest time between two frames of an idle line; decides `silent_after` (ARBITRATION 9).
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
}
