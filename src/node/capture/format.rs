//! What the two capture formats have in common: records in a window, and the unit of their stamps.

use std::io;
use std::ops::Range;

use crate::ip::LinkType;
use twinline_core::Nanos;

/// The next thing in a file. A `usize` is how many bytes of the window it takes.
#[derive(Debug)]
pub(super) enum Block {
    /// A packet.
    Packet(Packet),
    /// A packet record whose own numbers contradict each other.
    Malformed(usize),
    /// Nothing with a packet in it.
    Other(usize),
    /// No whole record is left. What is left in the window belongs to one that is cut off.
    End,
}

/// One packet record, whole in the window.
#[derive(Debug)]
pub(super) struct Packet {
    /// Its interface's link layer.
    pub(super) link: LinkType,
    /// Its interface's place in the section.
    pub(super) interface: u32,
    /// `None` if the record has none.
    pub(super) stamp: Option<Nanos>,
    /// Where its bytes lie in the window.
    pub(super) bytes: Range<usize>,
    /// How many bytes of the window the record takes.
    pub(super) size: usize,
}

/// Why reading a file cannot go on.
#[derive(Debug)]
pub(super) enum Fault {
    /// The system's error.
    Io(io::Error),
    /// It is no longer clear where the next record begins, or what it means.
    Damaged(String),
}

impl From<io::Error> for Fault {
    fn from(e: io::Error) -> Fault {
        Fault::Io(e)
    }
}

/// Two or four bytes in a file's byte order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    Little,
    Big,
}

impl Order {
    /// The 16-bit number at `at`; zero if there is none.
    #[inline]
    pub(super) fn u16(self, bytes: &[u8], at: usize) -> u16 {
        match (bytes.get(at..).and_then(<[u8]>::first_chunk), self) {
            (Some(&raw), Order::Little) => u16::from_le_bytes(raw),
            (Some(&raw), Order::Big) => u16::from_be_bytes(raw),
            (None, _) => 0,
        }
    }

    /// The 32-bit number at `at`; zero if there is none.
    #[inline]
    pub(super) fn u32(self, bytes: &[u8], at: usize) -> u32 {
        match (bytes.get(at..).and_then(<[u8]>::first_chunk), self) {
            (Some(&raw), Order::Little) => u32::from_le_bytes(raw),
            (Some(&raw), Order::Big) => u32::from_be_bytes(raw),
            (None, _) => 0,
        }
    }

    /// A 64-bit number in this order; `None` if it is not 8 bytes long.
    pub(super) fn u64(self, bytes: &[u8]) -> Option<u64> {
        let raw = bytes.try_into().ok()?;
        Some(match self {
            Order::Little => u64::from_le_bytes(raw),
            Order::Big => u64::from_be_bytes(raw),
        })
    }
}

/// The unit of an interface's stamps: a pcapng `if_tsresol`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unit {
    /// This many nanoseconds: 10^-9 s and coarser.
    Times(u64),
    /// A nanosecond divided by this: finer than 10^-9 s.
    Over(u64),
    /// 2^-n s.
    Binary(u8),
}

impl Unit {
    /// Where nothing is said.
    pub(super) const MICROS: Unit = Unit::Times(1_000);

    /// By the option's value: the high bit set means a power of two. In units so fine that no
    /// stamp reaches a nanosecond, all are zero.
    pub(super) fn from_tsresol(tsresol: u8) -> Unit {
        let exponent = tsresol & 0x7f;
        if tsresol & 0x80 != 0 {
            return Unit::Binary(exponent);
        }
        match exponent {
            0..=9 => Unit::Times(10_u64.pow(u32::from(9 - exponent))),
            _ => 10_u64.checked_pow(u32::from(exponent - 9)).map_or(Unit::Times(0), Unit::Over),
        }
    }

    /// How many of them a second has; at most what 64 bits can hold.
    pub(super) fn ticks_per_second(self) -> u64 {
        match self {
            Unit::Times(0) => u64::MAX,
            Unit::Times(n) => 1_000_000_000 / n,
            Unit::Over(n) => n.saturating_mul(1_000_000_000),
            Unit::Binary(n) => 1_u64.checked_shl(u32::from(n)).unwrap_or(u64::MAX),
        }
    }

    /// `stamp` of these units as nanoseconds, rounded down, and `offset` seconds on top. Saturates at both ends.
    #[inline]
    pub(super) fn nanos(self, stamp: u64, offset: i64) -> Nanos {
        let nanos = match self {
            Unit::Times(n) => stamp.saturating_mul(n),
            Unit::Over(n) => stamp / n,
            Unit::Binary(n) => u64::try_from((u128::from(stamp) * 1_000_000_000) >> n).unwrap_or(u64::MAX),
        };
        let span = Nanos::from_secs(offset.unsigned_abs());
        if offset < 0 { Nanos(nanos) - span } else { Nanos(nanos) + span }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stamps_of_any_resolution_become_nanoseconds() {
        let second = 1_000_000_000;
        for (tsresol, stamp, nanos) in [
            (0, 3, 3 * second),
            (3, 1_500, 1_500_000_000),
            (6, 1_700_000_000_123_456, 1_700_000_000_123_456_000),
            (9, 1_700_000_000_123_456_789, 1_700_000_000_123_456_789),
            (12, 1_999, 1),
            (28, u64::MAX, 1),
            (29, u64::MAX, 0),
            (127, u64::MAX, 0),
            (0, u64::MAX, u64::MAX),
            (0x80, 2, 2 * second),
            (0x81, 3, 1_500_000_000),
            (0xa0, 1 << 32 | 1 << 31, 1_500_000_000),
            (0x80 | 30, 1, 0),
            (0xff, u64::MAX, 0),
            (0x80, u64::MAX, u64::MAX),
        ] {
            assert_eq!(Unit::from_tsresol(tsresol).nanos(stamp, 0), Nanos(nanos), "{tsresol:#x} {stamp}");
        }
    }

    #[test]
    fn offsets_are_seconds_of_either_sign() {
        let second = 1_000_000_000;
        for (offset, nanos) in [(0, 7 * second), (3, 10 * second), (-3, 4 * second), (-8, 0)] {
            assert_eq!(Unit::MICROS.nanos(7_000_000, offset), Nanos(nanos), "{offset}");
        }
        assert_eq!(Unit::MICROS.nanos(1, i64::MAX), Nanos::MAX);
        assert_eq!(Unit::MICROS.nanos(u64::MAX, i64::MIN), Nanos::ZERO);
    }
}
