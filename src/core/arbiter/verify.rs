//! Whether copies are what they should be: byte for byte the first one (ARBITRATION 7.4).
//!
//! Of each number that is chosen a CRC-32 of the first copy is kept, as long as the number is among the last 65,536 (`status`), and
//! every later copy is held against it. Two messages with the same CRC-32 count as equal. What is chosen follows from the number
//! alone, so that every line's copy of it is compared, in every run alike.

use std::fmt;

use super::channel::Channel;
use super::event::{EventKind, Sink};
use super::settings::Settings;
use super::stream::{Out, Part};
use crate::seq::SeqNo;

/// Which numbers' copies are compared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Verify {
    /// None.
    #[default]
    Off,
    /// Every number's.
    All,
    /// So many of a billion numbers', spread evenly.
    PerBillion(u32),
}

impl fmt::Display for Verify {
    /// As a feed file has it: `off`, `all`, or the share, such as `0.01`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Verify::Off => f.write_str("off"),
            Verify::All => f.write_str("all"),
            Verify::PerBillion(share) => write!(f, "{}", f64::from(*share) / 1e9),
        }
    }
}

impl Verify {
    /// Whether any are.
    pub(super) fn is_on(self) -> bool {
        self != Verify::Off
    }

    /// Whether copies of `n` are.
    ///
    /// ```
    /// use twinline_core::arbiter::Verify;
    /// use twinline_core::seq::SeqNo;
    /// let chosen = |rate: Verify, n: std::ops::Range<u64>| n.filter(|&n| rate.chooses(SeqNo(n))).count();
    /// let one_in_a_hundred = Verify::PerBillion(10_000_000);
    /// assert!((99..=101).contains(&chosen(one_in_a_hundred, 1..10_001)));
    /// assert!((99..=101).contains(&chosen(one_in_a_hundred, 5_000_000..5_010_000)));
    /// assert_eq!((chosen(Verify::All, 0..10), chosen(Verify::Off, 0..10)), (10, 0));
    /// ```
    #[inline]
    pub fn chooses(self, n: SeqNo) -> bool {
        // a step by the golden ratio: any stretch of numbers has its share, and no way of packing them meets it in the same place
        const STEP: u64 = 0x9E37_79B9_7F4A_7C15;
        match self {
            Verify::Off => false,
            Verify::All | Verify::PerBillion(1_000_000_000..) => true,
            Verify::PerBillion(share) => (n.0.wrapping_mul(STEP) >> 32) * 1_000_000_000 < u64::from(share) << 32,
        }
    }
}

impl Channel {
    /// Holds the copies in `part` against the first ones, and keeps what no line has brought before. The numbers' standing is as it
    /// was before `part` came.
    #[inline(never)]
    pub(super) fn verify<S: Sink>(&mut self, cx: &Settings, part: &Part<'_>, out: &mut Out<'_, S>) {
        let numbers = (0..u64::from(part.count)).map(|i| part.first + i);
        if !numbers.clone().any(|n| cx.verify.chooses(n)) {
            return;
        }
        for (n, message) in numbers.zip(part.packing.messages(part.body)) {
            if !cx.verify.chooses(n) {
                continue;
            }
            let other_hash = crc32fast::hash(message);
            let Some((line, hash)) = self.status.first_hash(n, self.stream.mark, other_hash) else { continue };
            if hash != other_hash {
                self.lines[part.line.index()].counts.divergent += 1;
                let other = part.line;
                out.event(EventKind::Divergence { number: n, line, other, hash, other_hash });
            }
        }
    }
}
