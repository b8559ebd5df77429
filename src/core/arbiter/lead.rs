//! By how much one line is ahead of another: the automatic gap timeout (ARBITRATION 5.4) and a histogram per pair of lines (7.3).

use crate::frame::{LINES_MAX, Line};
use crate::time::Nanos;

/// How many pairs of copies the automatic timeout looks back on.
const PAIRS: u64 = 1_024;
/// How many pairs it takes before the lead is believed.
const PAIRS_MIN: u64 = 64;
pub(super) const TIMEOUT_UNKNOWN: Nanos = Nanos::from_millis(10);
pub(super) const TIMEOUT_MIN: Nanos = Nanos::from_micros(200);
const TIMEOUT_MAX: Nanos = Nanos::from_millis(50);

/// Room for one entry per pair that is looked back on, and one more.
const QUEUE: usize = 2 * PAIRS as usize;

/// The largest lead among the last 1,024 pairs, kept in a monotone queue: each entry is larger than all entries after it.
pub(super) struct RecentLead {
    largest: Nanos,
    /// How many pairs there were once the largest had been added.
    at: u64,
    pairs: u64,
    /// A ring of the entries after the largest: how many pairs there were once the entry had been added, and its lead.
    queue: Box<[(u64, Nanos); QUEUE]>,
    front: usize,
    end: usize,
}

impl RecentLead {
    /// Bytes that it takes.
    pub(super) const BYTES: u64 = (QUEUE * size_of::<(u64, Nanos)>()) as u64;

    pub(super) fn new() -> RecentLead {
        let queue = Box::new([(0, Nanos::ZERO); QUEUE]);
        RecentLead { largest: Nanos::ZERO, at: 0, pairs: 0, queue, front: 0, end: 0 }
    }

    /// Adds `count` pairs with the same lead. They came one after the other, so the last one outlives the others, and only it
    /// needs an entry.
    #[inline]
    pub(super) fn add(&mut self, lead: Nanos, count: u64) {
        self.pairs += count;
        if lead >= self.largest {
            (self.largest, self.at) = (lead, self.pairs);
            self.end = self.front;
            return;
        }
        let mut end = self.end;
        while end != self.front && self.queue[(end - 1) % QUEUE].1 <= lead {
            end -= 1;
        }
        self.queue[end % QUEUE] = (self.pairs, lead);
        self.end = end + 1;
        while self.at + PAIRS <= self.pairs {
            // the last entry is the one just added: it ends the search
            (self.at, self.largest) = self.queue[self.front % QUEUE];
            self.front += 1;
        }
    }

    /// How long to wait for the other line.
    #[inline]
    pub(super) fn timeout(&self) -> Nanos {
        if self.pairs < PAIRS_MIN {
            return TIMEOUT_UNKNOWN;
        }
        Nanos(self.largest.0.saturating_mul(2)).clamp(TIMEOUT_MIN, TIMEOUT_MAX)
    }
}

const SUB_BITS: u32 = 5;
const SUB: usize = 1 << SUB_BITS;
const BUCKETS: usize = (64 - SUB_BITS as usize + 1) * SUB;

#[inline]
fn bucket(value: u64) -> usize {
    if value < SUB as u64 {
        return value as usize;
    }
    let shift = 63 - SUB_BITS - value.leading_zeros();
    (shift as usize + 1) * SUB + (value >> shift) as usize - SUB
}

/// Leads, counted in buckets that are a thirty-second of a power of two wide. One increment per number is all that the hot path
/// can afford.
#[derive(Clone, Copy)]
pub struct LeadHistogram<'a> {
    counts: &'a [u64],
    max: u64,
}

/// A pair's row: the count of each bucket, then the largest lead.
const ROW: usize = BUCKETS + 1;

impl<'a> LeadHistogram<'a> {
    /// How many leads were counted.
    pub fn len(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// Whether none was counted.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The largest lead, exactly.
    pub fn max(&self) -> Nanos {
        Nanos(self.max)
    }

    /// The buckets that are not empty, lowest first: the lowest lead that falls into the bucket, and its count.
    pub fn buckets(&self) -> impl Iterator<Item = (Nanos, u64)> + use<'a> {
        self.counts.iter().enumerate().filter(|&(_, &count)| count > 0).map(|(bucket, &count)| {
            let (octave, sub) = (bucket / SUB, (bucket % SUB) as u64);
            let low = if octave == 0 { sub } else { (sub + SUB as u64) << (octave - 1) };
            (Nanos(low), count)
        })
    }

    /// The lead below which the share `q` (0 to 1) of all leads lies, to within a thirty-second; zero if there are none.
    pub fn quantile(&self, q: f64) -> Nanos {
        let rank = (self.len() as f64 * q).ceil().max(1.0) as u64;
        let mut seen = 0;
        for (low, count) in self.buckets() {
            seen += count;
            if seen >= rank {
                return low;
            }
        }
        self.max()
    }
}

/// The lines and recovery.
const LATER: usize = LINES_MAX + 1;

/// A channel's histograms, by first line and later line. Only lines have rows as the first; recovery has none.
pub(super) struct Leads {
    /// One allocation, zeroed by the system: a page of buckets takes no memory until something is counted in it.
    rows: Box<[u64]>,
}

impl Leads {
    /// Bytes that they take.
    pub(super) const fn bytes(lines: usize) -> u64 {
        (lines * LATER * ROW * size_of::<u64>()) as u64
    }

    pub(super) fn new(lines: usize) -> Leads {
        Leads { rows: vec![0; lines * LATER * ROW].into_boxed_slice() }
    }

    #[inline]
    fn row(first: Line, later: Line) -> std::ops::Range<usize> {
        let at = (first.index() * LATER + later.index()) * ROW;
        at..at + ROW
    }

    /// `later` brought `count` numbers, each `lead` after `first`.
    #[inline]
    pub(super) fn add(&mut self, first: Line, later: Line, lead: Nanos, count: u64) {
        if let Some(row) = self.rows.get_mut(Leads::row(first, later)) {
            row[bucket(lead.0)] += count;
            row[BUCKETS] = row[BUCKETS].max(lead.0);
        }
    }

    /// By how much `first` was ahead of `later`, for the numbers for which it was.
    pub(super) fn pair(&self, first: Line, later: Line) -> Option<LeadHistogram<'_>> {
        if later.index() >= LINES_MAX {
            return None;
        }
        let (max, counts) = self.rows.get(Leads::row(first, later))?.split_last()?;
        Some(LeadHistogram { counts, max: *max })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rule_5_4_the_timeout_is_twice_the_largest_recent_lead_within_bounds() {
        let mut lead = RecentLead::new();
        for _ in 0..63 {
            lead.add(Nanos::from_micros(400), 1);
        }
        assert_eq!(lead.timeout(), Nanos::from_millis(10), "63 pairs are too few");
        lead.add(Nanos::from_micros(300), 1);
        assert_eq!(lead.timeout(), Nanos::from_micros(800));
        for _ in 0..1_023 {
            lead.add(Nanos(5), 1);
        }
        assert_eq!(lead.timeout(), Nanos::from_micros(600), "the pair 1,023 ago counts");
        lead.add(Nanos(5), 1);
        assert_eq!(lead.timeout(), Nanos::from_micros(200), "the pair 1,024 ago does not");
        lead.add(Nanos::from_secs(1), 1);
        assert_eq!(lead.timeout(), Nanos::from_millis(50));
    }

    #[test]
    fn the_queue_agrees_with_a_scan() {
        let mut rng = fastrand::Rng::with_seed(7);
        let (mut lead, mut all) = (RecentLead::new(), Vec::new());
        for _ in 0..5_000 {
            let value = Nanos(rng.u64(..100_000_000));
            let count = rng.usize(1..40);
            lead.add(value, count as u64);
            all.resize(all.len() + count, value);
            let largest = all.iter().rev().take(1_024).max().unwrap();
            if all.len() >= 64 {
                assert_eq!(lead.timeout(), Nanos(largest.0 * 2).clamp(TIMEOUT_MIN, TIMEOUT_MAX));
            }
        }
    }

    #[test]
    fn buckets_are_within_a_thirty_second() {
        let mut leads = Leads::new(2);
        for value in [0, 1, 31, 32, 33, 1_000, 123_456_789, u64::MAX] {
            leads.add(Line(1), Line(0), Nanos(value), 1);
            let (low, _) = leads.pair(Line(1), Line(0)).unwrap().buckets().last().unwrap();
            assert!(low.0 <= value && value - low.0 <= low.0 / 32, "{value} in a bucket from {low:?}");
        }
        let h = leads.pair(Line(1), Line(0)).unwrap();
        assert_eq!((h.len(), leads.pair(Line(0), Line(1)).unwrap().len()), (8, 0));
        assert_eq!(h.quantile(0.5), Nanos(32));
        assert_eq!(h.max(), Nanos::MAX);
    }
}
