//! A line's account of its own numbers (ARBITRATION 7.1): which of the last W below its mark it has shown.
//!
//! A number that leaves the window without having been shown is missing: the line itself has gone past it. The work is done in
//! words of 64 numbers, so a frame costs a sixty-fourth of its count, and never more than the window.

use crate::seq::{SeqNo, SeqRange};

/// How far ahead of the mark to look for the usual case. Must be below the smallest width.
const SMOOTH: u64 = 512;
/// The smallest width of a window.
const WIDTH_MIN: u64 = 4_096;

pub(super) struct Window {
    bits: Box<[u64]>,
    width: u64,
    /// Whether there are exactly as many bits as the window is wide. Then a number uses the bit of the number that leaves the
    /// window when it enters.
    even: bool,
    /// One past the highest number shown.
    mark: SeqNo,
    /// Whether any was shown.
    shown: bool,
    /// Numbers below this do not count as missing; `None` if the account has not started.
    counted_from: Option<SeqNo>,
    /// From the mark up to here, showing the next numbers finds nothing missing and changes no bit, because all the numbers that
    /// leave the window for them have been shown. Zero if nothing was shown yet.
    smooth_end: SeqNo,
}

/// What showing some numbers added to the account.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Judged {
    pub(super) missing: u64,
    pub(super) reordered: u64,
}

impl Window {
    /// Bytes that it takes.
    pub(super) fn bytes(settle: u64) -> u64 {
        settle.max(WIDTH_MIN).next_power_of_two() / 8
    }

    pub(super) fn new(settle: u64) -> Window {
        let width = settle.max(WIDTH_MIN);
        let bits = vec![0; (Window::bytes(settle) / 8) as usize].into_boxed_slice();
        Window {
            bits,
            width,
            even: width.is_power_of_two(),
            mark: SeqNo(0),
            shown: false,
            counted_from: None,
            smooth_end: SeqNo(0),
        }
    }

    /// One past the highest number shown; `None` if none was.
    #[inline]
    pub(super) fn mark(&self) -> Option<SeqNo> {
        self.shown.then_some(self.mark)
    }

    /// Whether the line is known not to have shown `n`: it has shown nothing, `n` is above its mark, or `n` is in the window and
    /// unset.
    pub(super) fn misses(&self, n: SeqNo) -> bool {
        let Some(mark) = self.mark() else { return true };
        n >= mark || (mark - n <= self.width && self.count(SeqRange::new(n, n + 1)) == 0)
    }

    /// Starts over.
    pub(super) fn restart(&mut self) {
        (self.mark, self.shown) = (SeqNo(0), false);
        self.counted_from = None;
        self.smooth_end = SeqNo(0);
        self.bits.fill(0);
    }

    /// The line has shown numbers up to `end` that the account does not cover: only the mark rises.
    pub(super) fn raise(&mut self, end: SeqNo) {
        (self.mark, self.shown) = (self.mark.max(end), true);
        self.smooth_end = SeqNo(0);
    }

    /// [`Window::show`] in the usual case: these are the next numbers, and nothing turns out to be missing. In any other case
    /// returns false and does nothing.
    #[inline(always)]
    pub(super) fn show_next(&mut self, first: SeqNo, end: SeqNo) -> bool {
        let usual = first == self.mark && end <= self.smooth_end;
        if usual {
            self.mark = end;
        }
        usual
    }

    /// The line shows `[first, end)`. An empty range (a heartbeat) shows that everything below was sent. `start` is where the
    /// account starts if these are the first numbers shown.
    pub(super) fn show(&mut self, shown: SeqRange, start: SeqNo) -> Judged {
        let mut judged = Judged::default();
        let (Some(mark), Some(counted_from)) = (self.mark(), self.counted_from) else {
            if shown.end < start {
                self.raise(shown.end);
                return judged;
            }
            self.counted_from = Some(start);
            (self.mark, self.shown) = (start, true);
            return self.show(shown, start);
        };
        let SeqRange { first, end } = shown;
        if first < mark {
            // below the mark: in the window, or too old for the account
            let low = mark.saturating_sub(self.width);
            judged.reordered = SeqRange::new(first, end.min(low)).len();
            self.set(SeqRange::new(first.max(low), end.min(mark)));
        }
        if end > mark {
            let low = end.saturating_sub(self.width);
            let leaves = SeqRange::new(mark.saturating_sub(self.width).max(counted_from), mark.min(low));
            judged.missing += leaves.len() - self.count(leaves);
            let jumped = SeqRange::new(mark, first.min(low));
            judged.missing = judged.missing.saturating_add(jumped.len());
            self.clear(SeqRange::new(mark.max(low), end));
            self.set(SeqRange::new(first.max(mark).max(low), end));
            self.mark = end;
            self.smooth_end = self.smooth_from(end);
        }
        judged
    }

    /// How far from `mark` on the next numbers' bits are all set, a few words ahead at most. (Until the window is full for the
    /// first time, they are not.) If there are more bits than the window is wide, numbers do not share bits in this way.
    fn smooth_from(&self, mark: SeqNo) -> SeqNo {
        if !self.even {
            return SeqNo(0);
        }
        let ahead = SeqRange::new(mark, mark + SMOOTH);
        let smooth = self.words(ahead).map_while(|(word, mask)| (self.bits[word] & mask == mask).then_some(mask));
        mark + smooth.map(|mask| u64::from(mask.count_ones())).sum::<u64>()
    }

    /// How many numbers in the window, below the mark, were never shown. After this the account is empty.
    pub(super) fn flush(&mut self) -> u64 {
        let (Some(mark), Some(counted_from)) = (self.mark(), self.counted_from) else { return 0 };
        let rest = SeqRange::new(mark.saturating_sub(self.width).max(counted_from), mark);
        let missing = rest.len() - self.count(rest);
        self.counted_from = Some(mark);
        missing
    }

    /// The words of a range no longer than the window: each one's index, and a mask of the bits in the range.
    #[inline]
    fn words(&self, range: SeqRange) -> impl Iterator<Item = (usize, u64)> + use<> {
        let words = self.bits.len() as u64;
        let (first, end) = (range.first.0, range.end.0.max(range.first.0));
        let mut n = first;
        std::iter::from_fn(move || {
            if n >= end {
                return None;
            }
            let low = n % 64;
            let len = (64 - low).min(end - n);
            let mask = if len == 64 { u64::MAX } else { ((1 << len) - 1) << low };
            let word = (n / 64 % words) as usize;
            n += len;
            Some((word, mask))
        })
    }

    #[inline]
    fn set(&mut self, range: SeqRange) {
        for (word, mask) in self.words(range) {
            self.bits[word] |= mask;
        }
    }

    #[inline]
    fn clear(&mut self, range: SeqRange) {
        for (word, mask) in self.words(range) {
            self.bits[word] &= !mask;
        }
    }

    #[inline]
    fn count(&self, range: SeqRange) -> u64 {
        self.words(range).map(|(word, mask)| u64::from((self.bits[word] & mask).count_ones())).sum()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn range(first: u64, end: u64) -> SeqRange {
        SeqRange::new(SeqNo(first), SeqNo(end))
    }

    #[test]
    fn rule_7_1_a_number_is_missing_once_it_leaves_the_window_unset() {
        let mut w = Window::new(0);
        assert_eq!(w.show(range(10, 20), SeqNo(10)), Judged::default());
        assert_eq!(w.show(range(21, 22), SeqNo(0)), Judged::default());
        // it may still come, in any order
        assert_eq!(w.show(range(4_100, 4_110), SeqNo(0)), Judged { missing: 0, reordered: 0 });
        assert_eq!(w.show(range(20, 21), SeqNo(0)), Judged::default());
        // [22, 4100) leaves the window with a jump: some by count, some by arithmetic
        assert_eq!(w.show(range(20_000, 20_001), SeqNo(0)).missing, 4_078 + (20_001 - 4_096 - 4_110));
        // below the window it judges nothing
        assert_eq!(w.show(range(30, 33), SeqNo(0)), Judged { missing: 0, reordered: 3 });
        assert_eq!(w.flush(), 4_095);
        assert_eq!(w.flush(), 0);
    }

    #[test]
    fn rule_7_1_a_heartbeat_shows_that_all_below_was_sent() {
        let mut w = Window::new(0);
        w.show(range(1, 5), SeqNo(1));
        w.show(range(8, 8), SeqNo(1));
        assert_eq!(w.mark(), Some(SeqNo(8)));
        assert_eq!(w.flush(), 3);
    }

    /// The same by a set of numbers.
    #[derive(Default)]
    struct Naive {
        shown: BTreeSet<u64>,
        mark: Option<u64>,
        from: u64,
        judged: u64,
        missing: u64,
        reordered: u64,
    }

    impl Naive {
        fn show(&mut self, first: u64, end: u64, start: u64, width: u64) {
            let mark = *self.mark.get_or_insert_with(|| {
                self.from = start;
                self.judged = start;
                start
            });
            for n in first..end {
                if n < mark.saturating_sub(width) {
                    self.reordered += 1;
                } else {
                    self.shown.insert(n);
                }
            }
            let mark = mark.max(end);
            self.mark = Some(mark);
            self.judge(mark.saturating_sub(width));
        }

        fn judge(&mut self, up_to: u64) {
            while self.judged < up_to {
                self.missing += u64::from(!self.shown.contains(&self.judged));
                self.judged += 1;
            }
        }
    }

    #[test]
    fn it_agrees_with_a_set_of_numbers() {
        let mut quick = 0;
        for seed in 0..200 {
            let mut rng = fastrand::Rng::with_seed(seed);
            let settle = [0, 4_096, 5_000][rng.usize(..3)];
            let mut w = Window::new(settle);
            let mut naive = Naive::default();
            let (mut total, mut at) = (Judged::default(), 5_000u64);
            // some worlds are rough, some smooth but for a few jumps
            let (jumpy, longest) = if seed % 2 == 0 { (40, 30) } else { (1, 300) };
            for _ in 0..200 {
                let jump = if rng.u8(..) < 5 { rng.u64(..20_000) } else { rng.u64(..jumpy) };
                at += jump;
                let back = if jumpy > 1 { 100 } else { 5 };
                let first = if rng.u8(..) < back { at - rng.u64(..5_000) } else { at };
                let longest = if rng.u8(..) < 3 { 9_000 } else { longest };
                let end = first + rng.u64(..longest);
                at = at.max(end);
                if w.show_next(SeqNo(first), SeqNo(end)) {
                    naive.show(first, end, first, settle.max(4_096));
                    assert_eq!((total.missing, total.reordered), (naive.missing, naive.reordered), "seed {seed}");
                    quick += 1;
                    continue;
                }
                let judged = w.show(range(first, end), SeqNo(first));
                total.missing += judged.missing;
                total.reordered += judged.reordered;
                naive.show(first, end, first, settle.max(4_096));
                assert_eq!((total.missing, total.reordered), (naive.missing, naive.reordered), "seed {seed}");
            }
            total.missing += w.flush();
            naive.judge(naive.mark.unwrap());
            assert_eq!(total.missing, naive.missing, "seed {seed}, at the end");
        }
        assert!(quick > 1_000, "the usual case came {quick} times");
    }
}
