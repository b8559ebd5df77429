//! The ranges that were given up, so that a copy that arrives after all is recognised as late (ARBITRATION 5.6).
//!
//! At most 1,024 ranges are kept; when one is split, both parts keep its age. The list grows as ranges are lost. It is sorted by
//! number, so a look-up is a binary search and an insertion moves at most 1,024 entries.

use crate::seq::{SeqNo, SeqRange};

/// How many lost ranges are remembered.
pub(super) const RANGES_MAX: usize = 1_024;

#[derive(Clone, Copy)]
struct Lost {
    range: SeqRange,
    age: u64,
}

pub(super) struct LostRanges {
    /// Ascending, disjoint.
    ranges: Vec<Lost>,
    ages: u64,
}

impl LostRanges {
    /// An empty list with room for `ranges`; it grows if it needs more.
    pub(super) fn with_room(ranges: usize) -> LostRanges {
        LostRanges { ranges: Vec::with_capacity(ranges), ages: 0 }
    }

    /// The most bytes that a list takes.
    pub(super) const fn most() -> u64 {
        ((RANGES_MAX + 1).next_power_of_two() * size_of::<Lost>()) as u64
    }

    pub(super) fn clear(&mut self) {
        self.ranges.clear();
    }

    /// Remembers a range that was given up, and forgets the oldest if there are too many.
    pub(super) fn add(&mut self, range: SeqRange) {
        let at = self.ranges.partition_point(|lost| lost.range.first < range.first);
        self.ages += 1;
        self.ranges.insert(at, Lost { range, age: self.ages });
        self.trim();
    }

    /// The part of the lost range around `n` that starts at `n`; empty if `n` was not lost.
    pub(super) fn from(&self, n: SeqNo) -> SeqRange {
        match self.find(n) {
            Some(at) => SeqRange::new(n, self.ranges[at].range.end),
            None => SeqRange::new(n, n),
        }
    }

    /// Forgets `part`, which lies within one lost range: it arrived after all.
    pub(super) fn remove(&mut self, part: SeqRange) {
        let Some(at) = self.find(part.first) else { return };
        let Lost { range, age } = self.ranges[at];
        let left = SeqRange::new(range.first, part.first);
        let right = SeqRange::new(part.end, range.end);
        match (left.is_empty(), right.is_empty()) {
            (true, true) => {
                self.ranges.remove(at);
            }
            (false, true) => self.ranges[at].range = left,
            (true, false) => self.ranges[at].range = right,
            (false, false) => {
                self.ranges[at].range = left;
                self.ranges.insert(at + 1, Lost { range: right, age });
                self.trim();
            }
        }
    }

    fn find(&self, n: SeqNo) -> Option<usize> {
        // most look-ups are for old copies, above every range or when there is none
        if self.ranges.last().is_none_or(|lost| lost.range.end <= n) {
            return None;
        }
        let at = self.ranges.partition_point(|lost| lost.range.end <= n);
        self.ranges.get(at).filter(|lost| lost.range.contains(n)).map(|_| at)
    }

    fn trim(&mut self) {
        if self.ranges.len() > RANGES_MAX {
            let oldest = self.ranges.iter().enumerate().min_by_key(|(_, lost)| lost.age).map(|(at, _)| at);
            if let Some(at) = oldest {
                self.ranges.remove(at);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(first: u64, end: u64) -> SeqRange {
        SeqRange::new(SeqNo(first), SeqNo(end))
    }

    #[test]
    fn a_copy_splits_its_range_and_the_rest_stays_lost() {
        let mut lost = LostRanges::with_room(0);
        lost.add(range(10, 20));
        lost.add(range(5, 7));
        assert_eq!(lost.from(SeqNo(12)), range(12, 20));
        lost.remove(range(12, 14));
        assert!(lost.from(SeqNo(13)).is_empty());
        assert_eq!(lost.from(SeqNo(10)), range(10, 12));
        assert_eq!(lost.from(SeqNo(14)), range(14, 20));
        assert_eq!(lost.from(SeqNo(6)), range(6, 7));
        assert!(lost.from(SeqNo(7)).is_empty() && lost.from(SeqNo(20)).is_empty());
    }

    #[test]
    fn rule_5_6_the_oldest_of_more_than_1024_is_forgotten_and_a_split_one_keeps_its_age() {
        let mut lost = LostRanges::with_room(0);
        for i in 0..RANGES_MAX as u64 {
            lost.add(range(i * 10, i * 10 + 5));
        }
        assert!(!lost.from(SeqNo(0)).is_empty());
        // splitting the oldest makes one range too many: the first half of the oldest goes
        lost.remove(range(2, 3));
        assert!(lost.from(SeqNo(0)).is_empty());
        assert_eq!(lost.from(SeqNo(3)), range(3, 5));
        lost.add(range(1_000_000, 1_000_001));
        assert!(lost.from(SeqNo(3)).is_empty(), "the other half is as old");
        assert!(!lost.from(SeqNo(10)).is_empty());
    }
}
