//! Sequence numbers. This module owns [`SeqNo`], the half-open [`SeqRange`], and the rule that turns a narrow number on the wire
//! into a contiguous 64-bit one ([`Width::extend`]). It knows nothing about frames or lines.

use std::fmt;
use std::ops::{Add, AddAssign, Sub};

/// A contiguous sequence number: extended beyond its width on the wire, without counting skipped zeros (ARBITRATION 2.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SeqNo(pub u64);

impl SeqNo {
    /// The number itself.
    pub const fn as_u64(self) -> u64 {
        self.0
    }

    /// `self - n`, but not below zero.
    pub const fn saturating_sub(self, n: u64) -> SeqNo {
        SeqNo(self.0.saturating_sub(n))
    }

    /// How far two numbers are apart.
    pub const fn abs_diff(self, other: SeqNo) -> u64 {
        self.0.abs_diff(other.0)
    }
}

impl Add<u64> for SeqNo {
    type Output = SeqNo;

    fn add(self, n: u64) -> SeqNo {
        SeqNo(self.0.saturating_add(n))
    }
}

impl AddAssign<u64> for SeqNo {
    fn add_assign(&mut self, n: u64) {
        *self = *self + n;
    }
}

impl Sub for SeqNo {
    type Output = u64;

    /// How many numbers there are from `first` up to, but not including, `self`; zero if `first` is higher.
    fn sub(self, first: SeqNo) -> u64 {
        self.0.saturating_sub(first.0)
    }
}

impl fmt::Display for SeqNo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A half-open range of sequence numbers, `[first, end)`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct SeqRange {
    /// The lowest number in the range.
    pub first: SeqNo,
    /// One past the highest.
    pub end: SeqNo,
}

impl SeqRange {
    /// `[first, end)`; empty if `end <= first`.
    pub const fn new(first: SeqNo, end: SeqNo) -> SeqRange {
        SeqRange { first, end }
    }

    /// How many numbers it holds.
    #[inline]
    pub fn len(self) -> u64 {
        self.end - self.first
    }

    /// Whether it holds none.
    pub fn is_empty(self) -> bool {
        self.end <= self.first
    }

    /// Whether `n` is in it.
    pub fn contains(self, n: SeqNo) -> bool {
        self.first <= n && n < self.end
    }

    /// The numbers that both hold; empty if there are none.
    pub fn intersect(self, other: SeqRange) -> SeqRange {
        SeqRange::new(self.first.max(other.first), self.end.min(other.end))
    }
}

impl fmt::Display for SeqRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{}, {})", self.first, self.end)
    }
}

/// How wide a framing's sequence number is on the wire, and how it wraps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Width {
    /// 64 bits: never wraps.
    U64,
    /// 32 bits; after 4,294,967,295 comes 1: zero is not a number of the stream.
    U32SkipZero,
    /// 32 bits; after 4,294,967,295 comes 0.
    U32,
    /// 16 bits; after 65,535 comes 1.
    U16SkipZero,
    /// 16 bits; after 65,535 comes 0.
    U16,
    /// 8 bits; after 255 comes 1.
    U8SkipZero,
    /// 8 bits; after 255 comes 0.
    U8,
}

impl Width {
    /// Numbers in one cycle.
    const fn cycle(self) -> u64 {
        match self {
            Width::U64 => u64::MAX,
            Width::U32SkipZero => u32::MAX as u64,
            Width::U32 => 1 << 32,
            Width::U16SkipZero => u16::MAX as u64,
            Width::U16 => 1 << 16,
            Width::U8SkipZero => u8::MAX as u64,
            Width::U8 => 1 << 8,
        }
    }

    /// The lowest number of a cycle: zero, or one where zero is skipped.
    const fn lowest(self) -> u64 {
        match self {
            Width::U64 | Width::U32 | Width::U16 | Width::U8 => 0,
            Width::U32SkipZero | Width::U16SkipZero | Width::U8SkipZero => 1,
        }
    }

    /// The contiguous number for `raw` (never zero in a width that skips zero), given the high-water marks of its line and its
    /// channel (ARBITRATION 2.1). A value within `max_jump` of the line's mark, or else of the channel's, is extended from that
    /// mark. One that is more than half a cycle above the mark belongs to the cycle before, if there was one. A wrap is
    /// believed only within `max_jump`.
    ///
    /// ```
    /// use twinline_core::SeqNo;
    /// use twinline_core::frame::Width;
    /// let mark = SeqNo(u64::from(u32::MAX));
    /// // 4,294,967,295 is the next number; 1 comes right after it
    /// assert_eq!(Width::U32SkipZero.extend(1, None, mark, 1_000), mark + 1);
    /// // a restart to 1 is a low number, not one four billion ahead
    /// assert_eq!(Width::U32SkipZero.extend(1, None, SeqNo(5_000), 1_000), SeqNo(1));
    /// ```
    #[inline]
    pub fn extend(self, raw: u64, line: Option<SeqNo>, channel: SeqNo, max_jump: u64) -> SeqNo {
        match self {
            Width::U64 => SeqNo(raw),
            _ => self.extend_narrow(raw, line, channel, max_jump),
        }
    }

    /// The number on the wire for a contiguous one: the inverse of [`Width::extend`].
    ///
    /// ```
    /// use twinline_core::SeqNo;
    /// use twinline_core::frame::Width;
    /// assert_eq!(Width::U32SkipZero.wire(SeqNo(u64::from(u32::MAX))), u64::from(u32::MAX));
    /// assert_eq!(Width::U32SkipZero.wire(SeqNo(u64::from(u32::MAX) + 1)), 1, "zero is skipped");
    /// assert_eq!(Width::U16.wire(SeqNo(65_536)), 0, "zero is a number");
    /// ```
    pub const fn wire(self, n: SeqNo) -> u64 {
        match self {
            Width::U64 => n.0,
            _ if n.0 < self.lowest() => 0,
            _ => (n.0 - self.lowest()) % self.cycle() + self.lowest(),
        }
    }

    fn extend_narrow(self, raw: u64, line: Option<SeqNo>, channel: SeqNo, max_jump: u64) -> SeqNo {
        let cycle = self.cycle();
        // the cycle that a mark is in; a mark is one past a number that was shown, so at the end of a cycle the next
        // number is the first of the following cycle
        let cycle_of = |mark: SeqNo| mark.0.saturating_sub(self.lowest()) / cycle;
        let at = |c: u64| SeqNo(c.saturating_mul(cycle).saturating_add(raw));
        let near = |mark: SeqNo| {
            let c = cycle_of(mark);
            [c.checked_sub(1), Some(c), c.checked_add(1)]
                .into_iter()
                .flatten()
                .map(at)
                .filter(|n| n.abs_diff(mark) <= max_jump)
                .min_by_key(|n| n.abs_diff(mark))
        };
        if let Some(n) = line.and_then(near).or_else(|| near(channel)) {
            return n;
        }
        let c = cycle_of(channel);
        let n = at(c);
        if c > 0 && n > channel && n - channel > cycle / 2 { at(c - 1) } else { n }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CYCLE: u64 = u32::MAX as u64;

    fn extend(raw: u64, line: Option<u64>, channel: u64) -> u64 {
        Width::U32SkipZero.extend(raw, line.map(SeqNo), SeqNo(channel), 1_000).0
    }

    #[test]
    fn ranges_are_half_open() {
        let r = SeqRange::new(SeqNo(3), SeqNo(5));
        assert_eq!(r.len(), 2);
        assert!(r.contains(SeqNo(4)) && !r.contains(SeqNo(5)));
        assert!(SeqRange::new(SeqNo(5), SeqNo(3)).is_empty());
        assert_eq!(r.intersect(SeqRange::new(SeqNo(4), SeqNo(9))), SeqRange::new(SeqNo(4), SeqNo(5)));
    }

    #[test]
    fn rule_2_1_a_wrap_goes_on_counting_without_the_zero() {
        assert_eq!(extend(CYCLE, None, CYCLE), CYCLE);
        assert_eq!(extend(1, None, CYCLE + 1), CYCLE + 1);
        assert_eq!(extend(5, None, CYCLE - 3), CYCLE + 5);
        assert_eq!(extend(7, Some(CYCLE + 3), CYCLE + 9_000), CYCLE + 7);
    }

    #[test]
    fn rule_2_1_a_restart_is_a_low_number() {
        assert_eq!(extend(1, Some(3_000_000_000), 3_000_000_000), 1);
        // a wrap is believed only within max_jump of the mark
        assert_eq!(extend(900, None, CYCLE - 500), 900);
    }

    #[test]
    fn rule_2_1_a_lagging_line_after_a_wrap_is_in_the_cycle_before() {
        // the channel has wrapped and gone on; the slow line still shows the end of the cycle before
        assert_eq!(extend(CYCLE - 2_000, Some(CYCLE - 2_500), CYCLE + 50_000), CYCLE - 2_000);
        assert_eq!(extend(CYCLE - 20_000, None, CYCLE + 50_000), CYCLE - 20_000);
        // and a jump within the cycle stays in it
        assert_eq!(extend(60_000, None, CYCLE + 50_000), CYCLE + 60_000);
    }

    #[test]
    fn a_wrap_through_zero_counts_the_zero() {
        let extend = |raw, line: Option<u64>, channel| Width::U16.extend(raw, line.map(SeqNo), SeqNo(channel), 1_000).0;
        assert_eq!(extend(0, None, 0), 0);
        assert_eq!(extend(65_535, None, 65_535), 65_535);
        assert_eq!(extend(0, None, 65_536), 65_536);
        assert_eq!(extend(5, None, 65_530), 65_541);
        // a lagging line is in the cycle before, a restart is a low number, a jump stays in its cycle
        assert_eq!(extend(65_500, Some(65_400), 65_600), 65_500);
        assert_eq!(extend(0, Some(30_000), 30_000), 0);
        assert_eq!(extend(20_000, None, 65_536 + 10_000), 65_536 + 20_000);
    }

    #[test]
    fn a_byte_wraps_over_and_over() {
        for (width, skips) in [(Width::U8, 0), (Width::U8SkipZero, 1)] {
            let (mut mark, mut before) = (SeqNo(skips), None);
            for _ in 0..1_000 {
                let raw = width.wire(mark);
                assert!(
                    (skips..=255).contains(&raw) && before.is_none_or(|before: u64| before == 255 || raw == before + 1)
                );
                // what is within 100 numbers of the mark is found, ahead of it and behind
                assert_eq!(width.extend(raw, None, mark, 127), mark);
                assert_eq!(width.extend(width.wire(mark + 100), None, mark, 127), mark + 100);
                let behind = SeqNo(mark.0.saturating_sub(100).max(skips));
                assert_eq!(width.extend(width.wire(behind), Some(mark), mark, 127), behind);
                mark += 1;
                before = Some(raw);
            }
        }
    }

    #[test]
    fn what_goes_over_the_wire_comes_back() {
        for width in
            [Width::U64, Width::U32SkipZero, Width::U32, Width::U16SkipZero, Width::U16, Width::U8SkipZero, Width::U8]
        {
            for n in [1, 2, 254, 255, 256, 257, 65_535, 65_536, 65_537, CYCLE, CYCLE + 1, CYCLE + 2, 3 * CYCLE] {
                assert_eq!(width.extend(width.wire(SeqNo(n)), None, SeqNo(n), 100), SeqNo(n), "{n} as {width:?}");
            }
        }
    }

    #[test]
    fn a_wide_number_is_itself() {
        assert_eq!(Width::U64.extend(u64::MAX, None, SeqNo(1), 1_000), SeqNo(u64::MAX));
    }
}
