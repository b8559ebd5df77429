//! Which numbers of a stream came: a set of ranges, of bounded size.

use super::Budget;

/// How many ranges a set keeps. When there is one more, the holes between the oldest are closed: they stay counted, but numbers that
/// arrive late for them are taken for copies.
pub(super) const SPANS_MAX: usize = 4_096;

/// What is missing between the lowest and the highest number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Holes {
    /// How many stretches of missing numbers.
    pub(crate) count: u64,
    /// Numbers in them.
    pub(crate) numbers: u64,
    /// The most numbers in one stretch.
    pub(crate) largest: u64,
}

impl Holes {
    fn add(&mut self, numbers: u64) {
        self.count += 1;
        self.numbers += numbers;
        self.largest = self.largest.max(numbers);
    }
}

/// A set of numbers.
#[derive(Clone, Debug, Default)]
pub(crate) struct Spans {
    /// Half-open, ascending, apart from each other.
    spans: Vec<(u64, u64)>,
    /// How many numbers are in the set.
    received: u64,
    /// The holes that were closed.
    closed: Holes,
}

impl Spans {
    /// Adds `[first, end)`; says how many of them are new.
    #[inline]
    pub(super) fn add(&mut self, first: u64, end: u64, budget: &mut Budget) -> u64 {
        if let Some(last) = self.spans.last_mut()
            && last.1 == first
        {
            last.1 = end;
            self.received += end - first;
            return end - first;
        }
        self.insert(first, end, budget)
    }

    fn insert(&mut self, first: u64, end: u64, budget: &mut Budget) -> u64 {
        if first >= end {
            return 0;
        }
        let from = self.spans.partition_point(|span| span.1 < first);
        let to = self.spans.partition_point(|span| span.0 <= end);
        let merged = &self.spans[from..to];
        let Some((&lowest, &highest)) = merged.first().zip(merged.last()) else {
            self.spans.insert(from, (first, end));
            budget.spans += 1;
            self.received += end - first;
            if self.spans.len() > SPANS_MAX || budget.no_spans_left() {
                self.close_oldest(budget);
            }
            return end - first;
        };
        let known: u64 = merged.iter().map(|span| span.1 - span.0).sum();
        let whole = (first.min(lowest.0), end.max(highest.1));
        let new = whole.1 - whole.0 - known;
        // what lies between merged spans is covered by the range itself
        self.spans.drain(from + 1..to);
        budget.spans -= (to - from - 1) as u64;
        self.spans[from] = whole;
        self.received += new;
        new
    }

    /// Makes one of the lowest quarter, at least of two.
    fn close_oldest(&mut self, budget: &mut Budget) {
        let last = (self.spans.len() / 4).max(1);
        if self.spans.len() <= last {
            return;
        }
        for pair in self.spans[..=last].windows(2) {
            self.closed.add(pair[1].0 - pair[0].1);
        }
        self.spans[last].0 = self.spans[0].0;
        self.spans.drain(..last);
        budget.spans -= last as u64;
    }

    /// Whether every number that came is known: no hole was closed.
    pub(crate) fn is_exact(&self) -> bool {
        self.closed.count == 0
    }

    /// Whether `number` came. The numbers of a closed hole count as if they had.
    pub(crate) fn contains(&self, number: u64) -> bool {
        let at = self.spans.partition_point(|span| span.1 <= number);
        self.spans.get(at).is_some_and(|span| span.0 <= number)
    }

    /// How many numbers came.
    pub(crate) fn received(&self) -> u64 {
        self.received
    }

    /// The lowest number, and one past the highest.
    pub(crate) fn range(&self) -> Option<(u64, u64)> {
        Some((self.spans.first()?.0, self.spans.last()?.1))
    }

    /// What is missing of `[first, end)`. No number of the set may lie outside it.
    pub(crate) fn holes(&self, first: u64, end: u64) -> Holes {
        let mut holes = self.closed;
        let mut next = first;
        for &(from, to) in &self.spans {
            if from > next {
                holes.add(from - next);
            }
            next = next.max(to);
        }
        if end > next {
            holes.add(end - next);
        }
        holes
    }

    /// How many numbers are in both sets. Exact if both sets are.
    pub(crate) fn in_both(&self, other: &Spans) -> u64 {
        let (mut a, mut b, mut both) = (self.spans.iter().peekable(), other.spans.iter().peekable(), 0);
        while let (Some(&&x), Some(&&y)) = (a.peek(), b.peek()) {
            both += x.1.min(y.1).saturating_sub(x.0.max(y.0));
            if x.1 <= y.1 {
                a.next();
            } else {
                b.next();
            }
        }
        both
    }

    /// Gives back what it holds of the budget.
    pub(super) fn release(&self, budget: &mut Budget) {
        budget.spans -= self.spans.len() as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn add(spans: &mut Spans, ranges: &[(u64, u64)]) -> Vec<u64> {
        let mut budget = Budget { spans: spans.spans.len() as u64, ..Budget::default() };
        ranges.iter().map(|&(first, end)| spans.add(first, end, &mut budget)).collect()
    }

    #[test]
    fn numbers_are_counted_once() {
        let mut spans = Spans::default();
        assert_eq!(
            add(&mut spans, &[(1, 4), (4, 6), (8, 9), (2, 5), (5, 9), (20, 30), (0, 40), (9, 9)]),
            [3, 2, 1, 0, 2, 10, 22, 0]
        );
        assert_eq!((spans.received(), spans.range()), (40, Some((0, 40))));
        assert!(spans.is_exact());
    }

    #[test]
    fn holes_are_what_is_between() {
        let mut spans = Spans::default();
        add(&mut spans, &[(3, 5), (6, 7), (20, 30)]);
        assert_eq!(spans.holes(1, 33), Holes { count: 4, numbers: 2 + 1 + 13 + 3, largest: 13 });
        assert_eq!(spans.holes(3, 30), Holes { count: 2, numbers: 14, largest: 13 });
        assert!(spans.contains(29) && !spans.contains(30) && !spans.contains(5));
        let mut other = Spans::default();
        add(&mut other, &[(0, 4), (6, 25)]);
        assert_eq!((spans.in_both(&other), other.in_both(&spans)), (1 + 1 + 5, 7));
    }

    #[test]
    fn a_set_that_is_full_closes_its_oldest_holes_and_keeps_the_counts() {
        let mut spans = Spans::default();
        let ranges: Vec<(u64, u64)> = (0..10_000).map(|n| (n * 3, n * 3 + 1)).collect();
        add(&mut spans, &ranges);
        assert!(spans.spans.len() <= SPANS_MAX && !spans.is_exact());
        assert_eq!(spans.received(), 10_000);
        assert_eq!(spans.holes(0, 29_998), Holes { count: 9_999, numbers: 19_998, largest: 2 });
        // of the newest a late one is still told from a copy
        assert_eq!(add(&mut spans, &[(29_998 - 2, 29_998 - 1), (1, 2)]), [1, 0]);
    }

    #[test]
    fn without_budget_a_set_keeps_one_range() {
        let mut spans = Spans::default();
        let mut budget = Budget { spans: super::super::SPANS_IN_ALL, ..Budget::default() };
        for n in 0..100 {
            spans.add(n * 2, n * 2 + 1, &mut budget);
        }
        assert_eq!((spans.spans.len(), spans.received(), spans.holes(0, 199).count), (1, 100, 99));
    }
}
