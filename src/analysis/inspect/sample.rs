//! When numbers came and what was in them, for a bounded sample of the numbers.
//!
//! At first all numbers are sampled; when there are too many, only the multiples of 2, then of 4, and so on. So two flows of one
//! channel sample the same numbers, whatever they lost and however they pack.

use super::Budget;
use twinline_core::Nanos;

/// How many entries a sample may have, unless there are so many flows that all get fewer.
pub(super) const SAMPLE_MAX: usize = 8_192;

/// A number's first copy in a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    /// The number.
    pub(crate) number: u64,
    /// When it came.
    pub(crate) stamp: Nanos,
    /// CRC-32 of the message.
    pub(crate) hash: u32,
}

/// A sample of a stream.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sample {
    shift: u32,
    entries: Vec<Entry>,
}

impl Sample {
    /// The lowest number from `number` on that is sampled.
    #[inline]
    pub(crate) fn next_from(&self, number: u64) -> u64 {
        let step = 1u64 << self.shift;
        number.checked_add(step - 1).map_or(u64::MAX, |n| n & !(step - 1))
    }

    /// How far sampled numbers are apart.
    pub(crate) fn step(&self) -> u64 {
        1 << self.shift
    }

    /// Takes a number that is sampled and has not come before.
    pub(super) fn put(&mut self, entry: Entry, budget: &mut Budget) {
        self.entries.push(entry);
        budget.samples += 1;
        self.thin(budget);
    }

    /// Thins the sample down to what the budget grants.
    pub(super) fn thin(&mut self, budget: &mut Budget) {
        while self.entries.len() > budget.sample_max && self.shift < 63 {
            self.widen(budget);
        }
    }

    fn widen(&mut self, budget: &mut Budget) {
        self.shift += 1;
        let (mask, before) = (self.step() - 1, self.entries.len());
        self.entries.retain(|entry| entry.number & mask == 0);
        self.entries.shrink_to(budget.sample_max);
        budget.samples -= (before - self.entries.len()) as u64;
    }

    /// In the order of numbers, at the end.
    pub(crate) fn sort(&mut self) {
        self.entries.sort_by_key(|entry| entry.number);
    }

    /// The entries of two sorted samples whose numbers are in both.
    pub(crate) fn in_both<'a>(&'a self, other: &'a Sample) -> impl Iterator<Item = (&'a Entry, &'a Entry)> {
        let mut theirs = other.entries.iter().peekable();
        self.entries.iter().filter_map(move |ours| {
            while theirs.next_if(|entry| entry.number < ours.number).is_some() {}
            theirs.peek().filter(|entry| entry.number == ours.number).map(|entry| (ours, *entry))
        })
    }

    /// Gives back what it holds of the budget.
    pub(super) fn release(&self, budget: &mut Budget) {
        budget.samples -= self.entries.len() as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(numbers: impl Iterator<Item = u64>, budget: &mut Budget) -> Sample {
        let mut sample = Sample::default();
        for number in numbers {
            if sample.next_from(number) == number {
                sample.put(Entry { number, stamp: Nanos(number), hash: number as u32 }, budget);
            }
        }
        sample
    }

    #[test]
    fn two_samples_of_one_stream_meet() {
        let mut budget = Budget::default();
        let all = sample(0..100_000, &mut budget);
        let odd_start = sample((777..30_000).filter(|n| n % 10 != 0), &mut budget);
        assert!(all.entries.len() <= SAMPLE_MAX && all.entries.len() > SAMPLE_MAX / 4, "{}", all.entries.len());
        let both: Vec<u64> = all.in_both(&odd_start).map(|(a, b)| a.number.max(b.number)).collect();
        let step = all.step().max(odd_start.step());
        let expected: Vec<u64> = (777..30_000).filter(|n| n % 10 != 0 && n % step == 0).collect();
        assert_eq!(both, expected);
        assert_eq!(budget.samples, (all.entries.len() + odd_start.entries.len()) as u64);
        all.release(&mut budget);
        odd_start.release(&mut budget);
        assert_eq!(budget.samples, 0);
    }

    #[test]
    fn no_numbers_overfill_it() {
        let mut budget = Budget { sample_max: 4, ..Budget::default() };
        let far = sample((0..60).map(|n| 1 << n), &mut budget);
        assert!(far.entries.len() <= 4 && far.step() > 1, "{far:?}");
        assert_eq!(Sample { shift: 3, entries: vec![] }.next_from(u64::MAX - 1), u64::MAX);
    }
}
