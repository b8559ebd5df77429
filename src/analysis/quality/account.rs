//! A line's losses as bursts: consecutive numbers that the line never brought.
//!
//! The rules are those of the arbiter's own account (ARBITRATION 7.1): a number is missing once the line has gone past it by a
//! window of numbers, or the epoch is over. This account keeps holes instead of bits, so that a burst has a length and a time: the
//! moment when the line first showed a number beyond it.

use std::collections::VecDeque;

use twinline_core::{Nanos, SeqNo, SeqRange};

/// Numbers that a line has gone past without showing them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Hole {
    /// The numbers.
    pub(crate) range: SeqRange,
    /// When the line showed a number beyond them.
    pub(crate) at: Nanos,
}

/// What a line should have brought on a channel in the current epoch.
#[derive(Clone, Debug)]
pub(super) struct Account {
    window: u64,
    /// One past the highest number shown; `None`: the account has not started.
    mark: Option<SeqNo>,
    /// Ascending, none touching another, all above the window's low end: half as many as the window is wide at most.
    holes: VecDeque<Hole>,
    /// How many numbers the line has gone past or shown, over all epochs.
    expected: u64,
}

impl Account {
    /// An account with a window of `settle` numbers.
    pub(super) fn new(settle: u64) -> Account {
        Account { window: settle.max(4_096), mark: None, holes: VecDeque::new(), expected: 0 }
    }

    /// The line shows `range` at `stamp`. `start` is where the account starts if this is the first showing of an epoch. Bursts that
    /// are certain now go to `burst`.
    #[inline]
    pub(super) fn show(&mut self, stamp: Nanos, range: SeqRange, start: SeqNo, burst: &mut impl FnMut(Hole)) {
        match self.mark {
            Some(mark) if range.first == mark && self.holes.is_empty() => {
                self.expected += range.len();
                self.mark = Some(range.end);
            }
            _ => self.show_apart(stamp, range, start, burst),
        }
    }

    #[inline(never)]
    fn show_apart(&mut self, stamp: Nanos, range: SeqRange, start: SeqNo, burst: &mut impl FnMut(Hole)) {
        let mark = match self.mark {
            Some(mark) => mark,
            None if range.end < start => return,
            None => start,
        };
        if range.first < mark {
            let low = mark.saturating_sub(self.window);
            self.fill(SeqRange::new(range.first.max(low), range.end.min(mark)));
        }
        if range.first > mark {
            match self.holes.back_mut() {
                // a heartbeat showed that much, and nothing has come since: it is one burst
                Some(last) if last.range.end == mark => last.range.end = range.first,
                _ => self.holes.push_back(Hole { range: SeqRange::new(mark, range.first), at: stamp }),
            }
        }
        self.expected = self.expected.saturating_add(range.end - mark);
        let mark = mark.max(range.end);
        self.mark = Some(mark);
        let low = mark.saturating_sub(self.window);
        while let Some(hole) = self.holes.pop_front_if(|hole| hole.range.end <= low) {
            burst(hole);
        }
    }

    /// These have come after all.
    fn fill(&mut self, range: SeqRange) {
        if range.is_empty() {
            return;
        }
        let mut at = self.holes.partition_point(|hole| hole.range.end <= range.first);
        while let Some(hole) = self.holes.get_mut(at).filter(|hole| hole.range.first < range.end) {
            let (before, behind) =
                (SeqRange::new(hole.range.first, range.first), SeqRange::new(range.end, hole.range.end));
            match (before.is_empty(), behind.is_empty()) {
                (true, true) => {
                    self.holes.remove(at);
                    continue;
                }
                (true, false) => hole.range = behind,
                (false, true) => hole.range = before,
                (false, false) => {
                    let behind = Hole { range: behind, at: hole.at };
                    hole.range = before;
                    self.holes.insert(at + 1, behind);
                    return;
                }
            }
            at += 1;
        }
    }

    /// The epoch is over: what is still owed is missing. The account starts afresh with the next showing.
    pub(super) fn close(&mut self, burst: &mut impl FnMut(Hole)) {
        self.holes.drain(..).for_each(burst);
        self.mark = None;
    }

    /// How many numbers the line should have brought so far.
    pub(super) fn expected(&self) -> u64 {
        self.expected
    }
}

/// How many classes of length there are: 1, 2 to 3, 4 to 7, and so on in powers of two.
pub(super) const CLASSES: usize = 64;

/// Bursts by length.
#[derive(Clone, Debug)]
pub(crate) struct Lengths {
    /// How many bursts, by class.
    pub(crate) bursts: [u64; CLASSES],
    /// How many numbers, by class.
    pub(crate) numbers: [u64; CLASSES],
}

impl Lengths {
    /// The shortest and the longest length of a class.
    pub(crate) fn class(at: usize) -> (u64, u64) {
        let low = 1 << at;
        (low, low - 1 + low)
    }

    /// A class in words: `1`, `2-3`, `4-7`.
    pub(crate) fn label(at: usize) -> String {
        match Lengths::class(at) {
            (low, high) if low == high => low.to_string(),
            (low, high) if low < 1_024 => format!("{low}-{high}"),
            (low, _) => format!("{}k+", low >> 10),
        }
    }

    /// Counts a burst.
    pub(crate) fn add(&mut self, length: u64) {
        if let Some(class) = length.checked_ilog2() {
            self.bursts[class as usize] += 1;
            let numbers = &mut self.numbers[class as usize];
            *numbers = numbers.saturating_add(length);
        }
    }

    /// How many classes there are up to the last that is not empty.
    pub(crate) fn used(&self) -> usize {
        self.bursts.iter().rposition(|&bursts| bursts > 0).map_or(0, |last| last + 1)
    }
}

impl Default for Lengths {
    fn default() -> Lengths {
        Lengths { bursts: [0; CLASSES], numbers: [0; CLASSES] }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn range(first: u64, end: u64) -> SeqRange {
        SeqRange::new(SeqNo(first), SeqNo(end))
    }

    fn play(shown: &[(u64, u64, u64)]) -> (Vec<(u64, u64, u64)>, u64) {
        let mut account = Account::new(0);
        let mut bursts = Vec::new();
        let mut burst = |hole: Hole| bursts.push((hole.at.0, hole.range.first.0, hole.range.end.0));
        for &(at, first, end) in shown {
            account.show(Nanos(at), range(first, end), SeqNo(shown[0].1), &mut burst);
        }
        account.close(&mut burst);
        (bursts, account.expected())
    }

    #[test]
    fn a_burst_is_a_run_that_never_came_at_the_time_of_the_jump() {
        let (bursts, expected) = play(&[(1, 10, 20), (2, 25, 30), (3, 31, 32), (4, 22, 23), (5, 30, 31), (6, 40, 40)]);
        assert_eq!(bursts, [(2, 20, 22), (2, 23, 25), (6, 32, 40)]);
        assert_eq!(expected, 30);
    }

    #[test]
    fn a_heartbeat_does_not_cut_a_burst_in_two() {
        let (bursts, _) = play(&[(1, 1, 2), (2, 5, 5), (3, 9, 10)]);
        assert_eq!(bursts, [(2, 2, 9)]);
    }

    #[test]
    fn a_copy_below_the_window_judges_nothing() {
        let (bursts, _) = play(&[(1, 1, 2), (2, 11, 12), (3, 20_000, 20_001), (4, 2, 11)]);
        assert_eq!(bursts, [(2, 2, 11), (3, 12, 20_000)]);
    }

    #[test]
    fn a_line_that_begins_below_the_start_is_not_charged_for_it() {
        let mut account = Account::new(0);
        let mut bursts = Vec::new();
        let mut burst = |hole: Hole| bursts.push(hole.range);
        account.show(Nanos(1), range(3, 5), SeqNo(10), &mut burst);
        account.show(Nanos(2), range(12, 13), SeqNo(10), &mut burst);
        account.close(&mut burst);
        assert_eq!((bursts, account.expected()), (vec![range(10, 12)], 3));
    }

    #[test]
    fn it_agrees_with_a_set_of_numbers() {
        for seed in 0..25 {
            let mut rng = fastrand::Rng::with_seed(seed);
            let mut account = Account::new(0);
            let (mut came, mut mark, mut numbers) = (BTreeSet::new(), 0u64, 0);
            let mut burst = |hole: Hole| numbers += hole.range.len();
            let mut at = 100u64;
            for n in 0..400 {
                at += if rng.u8(..) < 20 { rng.u64(..9_000) } else { rng.u64(..6) };
                let first = if rng.bool() { at } else { at.saturating_sub(rng.u64(..3_000)).max(100) };
                let end = first + rng.u64(..8);
                let low = mark.saturating_sub(4_096);
                came.extend((first..end).filter(|n| *n >= mark || *n >= low));
                (mark, at) = (mark.max(end), at.max(end));
                account.show(Nanos(n), range(first, end), SeqNo(100), &mut burst);
                assert!(account.holes.len() <= 2_049);
            }
            account.close(&mut burst);
            let missing = (100..mark).filter(|n| !came.contains(n)).count() as u64;
            assert_eq!(numbers, missing, "seed {seed}");
            assert_eq!(account.expected(), mark - 100, "seed {seed}");
        }
    }

    #[test]
    fn lengths_fall_into_classes_of_powers_of_two() {
        let mut lengths = Lengths::default();
        [1, 1, 2, 3, 4, 7, 8, u64::MAX].into_iter().for_each(|length| lengths.add(length));
        lengths.add(0);
        assert_eq!(lengths.bursts[..4], [2, 2, 2, 1]);
        assert_eq!(lengths.numbers[..4], [2, 5, 11, 8]);
        assert_eq!((lengths.bursts[63], lengths.used()), (1, 64));
        assert_eq!(Lengths::class(2), (4, 7));
        assert_eq!(Lengths::class(63), (1 << 63, u64::MAX));
    }
}
