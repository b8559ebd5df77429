//! By how much one line is ahead of another: the automatic gap timeout (ARBITRATION 5.4) and a histogram by pair of lines (7.3).

use std::collections::VecDeque;

use crate::frame::Line;
use crate::time::Nanos;

/// Duplicate pairs that the automatic timeout looks back on.
const PAIRS: u64 = 1_024;
/// Pairs before it is believed.
const PAIRS_MIN: u64 = 64;
pub(super) const TIMEOUT_UNKNOWN: Nanos = Nanos::from_millis(10);
const TIMEOUT_MIN: Nanos = Nanos::from_micros(200);
const TIMEOUT_MAX: Nanos = Nanos::from_millis(50);

/// The largest lead among the last 1,024 pairs, by a monotone queue: each entry is larger than all after it.
pub(super) struct RecentLead {
    queue: VecDeque<(u64, Nanos)>,
    pairs: u64,
}

impl RecentLead {
    pub(super) fn new() -> RecentLead {
        RecentLead { queue: VecDeque::with_capacity(PAIRS as usize + 1), pairs: 0 }
    }

    /// So many more pairs, one after the other, with the same lead: only the last of them can be told from it later.
    #[inline]
    pub(super) fn add(&mut self, lead: Nanos, count: u64) {
        self.pairs += count;
        while self.queue.back().is_some_and(|&(_, smaller)| smaller <= lead) {
            self.queue.pop_back();
        }
        while self.queue.front().is_some_and(|&(pair, _)| pair + PAIRS <= self.pairs) {
            self.queue.pop_front();
        }
        self.queue.push_back((self.pairs, lead));
    }

    /// How long to wait for the other line.
    #[inline]
    pub(super) fn timeout(&self) -> Nanos {
        match self.queue.front() {
            Some(&(_, lead)) if self.pairs >= PAIRS_MIN => {
                Nanos(lead.0.saturating_mul(2)).clamp(TIMEOUT_MIN, TIMEOUT_MAX)
            }
            _ => TIMEOUT_UNKNOWN,
        }
    }
}

const SUB_BITS: u32 = 5;
const SUB: usize = 1 << SUB_BITS;
const BUCKETS: usize = (64 - SUB_BITS as usize + 1) * SUB;

/// Leads, counted in buckets a thirty-second of a power of two wide: an increment a number is all that the hot path can bear.
pub struct LeadHistogram {
    counts: Box<[u64]>,
    total: u64,
    max: u64,
}

impl LeadHistogram {
    fn new() -> LeadHistogram {
        LeadHistogram { counts: vec![0; BUCKETS].into_boxed_slice(), total: 0, max: 0 }
    }

    #[inline]
    fn bucket(value: u64) -> usize {
        if value < SUB as u64 {
            return value as usize;
        }
        let shift = 63 - SUB_BITS - value.leading_zeros();
        (shift as usize + 1) * SUB + (value >> shift) as usize - SUB
    }

    #[inline]
    fn add(&mut self, lead: Nanos, count: u64) {
        self.counts[LeadHistogram::bucket(lead.0)] += count;
        self.total += count;
        self.max = self.max.max(lead.0);
    }

    /// How many leads were counted.
    pub fn len(&self) -> u64 {
        self.total
    }

    /// Whether none was.
    pub fn is_empty(&self) -> bool {
        self.total == 0
    }

    /// The largest, exactly.
    pub fn max(&self) -> Nanos {
        Nanos(self.max)
    }

    /// The buckets that are not empty: the lowest lead in it, and how many.
    pub fn buckets(&self) -> impl Iterator<Item = (Nanos, u64)> + '_ {
        self.counts.iter().enumerate().filter(|&(_, &count)| count > 0).map(|(bucket, &count)| {
            let (octave, sub) = (bucket / SUB, (bucket % SUB) as u64);
            let low = if octave == 0 { sub } else { (sub + SUB as u64) << (octave - 1) };
            (Nanos(low), count)
        })
    }

    /// The lead below which the share `q` (0 to 1) of all lies, to a thirty-second; zero where there are none.
    pub fn quantile(&self, q: f64) -> Nanos {
        let rank = (self.total as f64 * q).ceil().max(1.0) as u64;
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

/// The histograms of a channel, by (first line, later line).
pub(super) struct Leads {
    lines: usize,
    pairs: Vec<LeadHistogram>,
}

impl Leads {
    pub(super) fn new(lines: usize) -> Leads {
        Leads { lines, pairs: (0..lines * lines).map(|_| LeadHistogram::new()).collect() }
    }

    /// `later` came `lead` after `first`, with so many numbers.
    #[inline]
    pub(super) fn add(&mut self, first: Line, later: Line, lead: Nanos, count: u64) {
        if first.index() < self.lines && later.index() < self.lines {
            self.pairs[first.index() * self.lines + later.index()].add(lead, count);
        }
    }

    /// By how much `first` came before `later`, where it did.
    pub(super) fn pair(&self, first: Line, later: Line) -> Option<&LeadHistogram> {
        if first.index() >= self.lines || later.index() >= self.lines {
            return None;
        }
        self.pairs.get(first.index() * self.lines + later.index())
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
        let mut h = LeadHistogram::new();
        for value in [0, 1, 31, 32, 33, 1_000, 123_456_789, u64::MAX] {
            h.add(Nanos(value), 1);
            let (low, _) = h.buckets().last().unwrap();
            assert!(low.0 <= value && value - low.0 <= low.0 / 32, "{value} in a bucket from {low:?}");
        }
        assert_eq!(h.len(), 8);
        assert_eq!(h.quantile(0.5), Nanos(32));
        assert_eq!(h.max(), Nanos::MAX);
    }
}
