//! By how much one line is ahead of another. Every number that two lines brought within the last 65,536 counts, measured against
//! its first copy, as the arbiter counts it (ARBITRATION 7.3).

use hdrhistogram::Histogram;

use twinline_core::frame::{LINES_MAX, Line};
use twinline_core::{Nanos, SeqNo, SeqRange};

/// How many numbers of a channel are remembered.
const SPAN: u64 = 65_536;
/// Longer leads are counted as this long.
pub(super) const LEAD_MAX: Nanos = Nanos::from_secs(60);

/// The first copy of a number.
#[derive(Clone, Copy)]
struct First {
    stamp: Nanos,
    /// From the top: the epoch (8 bits, never zero in a slot that tells of something), the number over [`SPAN`].
    tag: u32,
    line: u8,
    /// Bit `i`: line `i` has brought it.
    seen: u8,
}

/// Who brought each of a channel's last numbers first, and when.
pub(super) struct Firsts {
    slots: Box<[First]>,
    mark: SeqNo,
    epoch: u8,
}

/// `later` brought so many numbers `lead` after `first` did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Lead {
    /// Who came first.
    pub(crate) first: Line,
    /// Who came later.
    pub(crate) later: Line,
    /// By how much.
    pub(crate) lead: Nanos,
    /// How many numbers.
    pub(crate) count: u64,
}

impl Firsts {
    /// An empty memory.
    pub(super) fn new() -> Firsts {
        let none = First { stamp: Nanos::ZERO, tag: 0, line: 0, seen: 0 };
        Firsts { slots: vec![none; SPAN as usize].into_boxed_slice(), mark: SeqNo(0), epoch: 1 }
    }

    /// An epoch begins: forgets the numbers of the one before.
    pub(super) fn clear(&mut self) {
        self.mark = SeqNo(0);
        self.epoch = self.epoch.wrapping_add(1);
        if self.epoch == 0 {
            // once in 255 epochs the names of epochs begin again
            self.slots.iter_mut().for_each(|slot| slot.tag = 0);
            self.epoch = 1;
        }
    }

    /// A line shows these numbers. `lead` gets those that another line brought before; equal leads come together.
    pub(super) fn show(&mut self, stamp: Nanos, line: Line, range: SeqRange, mut lead: impl FnMut(Lead)) {
        if line.index() >= LINES_MAX {
            return;
        }
        self.mark = self.mark.max(range.end);
        let bit = 1 << line.0;
        let mut alike: Option<Lead> = None;
        // what lies further back than the ring is known no more
        let mut n = range.first.max(self.mark.saturating_sub(SPAN)).0;
        while n < range.end.0 {
            let slot = &mut self.slots[(n % SPAN) as usize];
            let tag = u32::from(self.epoch) << 24 | ((n / SPAN) as u32 & 0xFF_FFFF);
            if slot.tag != tag {
                *slot = First { stamp, tag, line: line.0, seen: bit };
            } else if slot.seen & bit == 0 {
                slot.seen |= bit;
                let (first, by) = (Line(slot.line), stamp.abs_diff(slot.stamp));
                match &mut alike {
                    Some(run) if run.first == first && run.lead == by => run.count += 1,
                    _ => {
                        let run = Lead { first, later: line, lead: by, count: 1 };
                        alike.replace(run).into_iter().for_each(&mut lead);
                    }
                }
            }
            n += 1;
        }
        alike.into_iter().for_each(lead);
    }
}

impl Default for Firsts {
    fn default() -> Firsts {
        Firsts::new()
    }
}

/// One histogram of leads per ordered pair of lines. Only pairs that occurred take memory.
#[derive(Clone, Debug, Default)]
pub(crate) struct LeadHistograms {
    pairs: [[Option<Box<Histogram<u64>>>; LINES_MAX]; LINES_MAX],
}

impl LeadHistograms {
    /// Counts a lead.
    pub(crate) fn add(&mut self, lead: Lead) {
        let Some(pair) = self.pairs.get_mut(lead.first.index()).and_then(|row| row.get_mut(lead.later.index())) else {
            return;
        };
        let empty = || Histogram::new_with_bounds(1, LEAD_MAX.0, 3).unwrap_or_else(|_| unreachable!("valid bounds"));
        pair.get_or_insert_with(|| Box::new(empty())).saturating_record_n(lead.lead.0.min(LEAD_MAX.0), lead.count);
    }

    /// By how many nanoseconds `first` came before `later`; `None` if it never did.
    pub(crate) fn pair(&self, first: Line, later: Line) -> Option<&Histogram<u64>> {
        self.pairs.get(first.index())?.get(later.index())?.as_deref()
    }

    /// The quantile of the lead of `a` over `b`, in nanoseconds, over all numbers that both brought. Below zero, `b` came first. `None`
    /// if no number was brought by both.
    pub(crate) fn signed_quantile(&self, a: Line, b: Line, quantile: f64) -> Option<i64> {
        let (ahead, behind) = (self.pair(a, b), self.pair(b, a));
        let len = |histogram: Option<&Histogram<u64>>| histogram.map_or(0, Histogram::len);
        let (ahead_len, behind_len) = (len(ahead), len(behind));
        let all = ahead_len + behind_len;
        if all == 0 {
            return None;
        }
        let rank = ((quantile * all as f64).ceil() as u64).clamp(1, all);
        // from the far end of those in which b came first, through zero
        let at = |histogram: Option<&Histogram<u64>>, rank: u64| {
            histogram.map_or(0, |histogram| {
                let share = rank as f64 / histogram.len() as f64;
                histogram.value_at_quantile(share).min(histogram.max()) as i64
            })
        };
        Some(if rank <= behind_len { -at(behind, behind_len - rank + 1) } else { at(ahead, rank - behind_len) })
    }
}

/// Buckets per octave of a cell's histogram.
const SUB_BITS: u32 = 3;
const SUB: usize = 1 << SUB_BITS;
/// Up to some 69 s; all above is in the last.
const BUCKETS: usize = 35 * SUB;

/// Signed leads of one pair of lines, to within a sixteenth.
#[derive(Clone, Debug)]
pub(crate) struct CoarseLeads {
    /// First those in which the second line came first.
    counts: Box<[[u32; BUCKETS]; 2]>,
}

impl CoarseLeads {
    fn bucket(value: u64) -> usize {
        if value < SUB as u64 {
            return value as usize;
        }
        let shift = 63 - SUB_BITS - value.leading_zeros();
        ((shift as usize + 1) * SUB + (value >> shift) as usize - SUB).min(BUCKETS - 1)
    }

    /// The middle of a bucket.
    fn value(bucket: usize) -> i64 {
        if bucket < SUB {
            return bucket as i64;
        }
        let shift = bucket / SUB - 1;
        let low = ((SUB + bucket % SUB) as i64) << shift;
        low + (1i64 << shift) / 2
    }

    /// Counts leads of the pair's first line, or of its second.
    pub(crate) fn add(&mut self, of_first: bool, lead: Nanos, count: u64) {
        let slot = &mut self.counts[usize::from(of_first)][CoarseLeads::bucket(lead.0)];
        *slot = slot.saturating_add(u32::try_from(count).unwrap_or(u32::MAX));
    }

    /// Adds the counts of another.
    pub(crate) fn merge(&mut self, other: &CoarseLeads) {
        for (counts, more) in self.counts.as_flattened_mut().iter_mut().zip(other.counts.as_flattened()) {
            *counts = counts.saturating_add(*more);
        }
    }

    /// How many leads were counted.
    pub(crate) fn len(&self) -> u64 {
        self.counts.as_flattened().iter().map(|&count| u64::from(count)).sum()
    }

    /// The quantiles of the first line's lead, in nanoseconds. Below zero, the second line was ahead.
    pub(crate) fn quantiles<const N: usize>(&self, shares: [f64; N]) -> Option<[i64; N]> {
        let all = self.len();
        if all == 0 {
            return None;
        }
        let [second, first] = &*self.counts;
        let ascending = second.iter().enumerate().rev().map(|(bucket, count)| (-CoarseLeads::value(bucket), *count));
        let ascending =
            ascending.chain(first.iter().enumerate().map(|(bucket, count)| (CoarseLeads::value(bucket), *count)));
        let mut found = [0; N];
        let (mut next, mut seen) = (0, 0u64);
        for (value, count) in ascending {
            seen += u64::from(count);
            while next < N && count > 0 && seen as f64 >= shares[next] * all as f64 {
                found[next] = value;
                next += 1;
            }
        }
        Some(found)
    }
}

impl Default for CoarseLeads {
    fn default() -> CoarseLeads {
        CoarseLeads { counts: Box::new([[0; BUCKETS]; 2]) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Line = Line(0);
    const B: Line = Line(1);

    fn show(firsts: &mut Firsts, stamp: u64, line: Line, first: u64, end: u64) -> Vec<(u8, u64, u64)> {
        let mut all = Vec::new();
        let range = SeqRange::new(SeqNo(first), SeqNo(end));
        firsts.show(Nanos(stamp), line, range, |lead| all.push((lead.first.0, lead.lead.0, lead.count)));
        all
    }

    #[test]
    fn leads_are_against_the_first_copy_once_a_line() {
        let mut firsts = Firsts::new();
        assert_eq!(show(&mut firsts, 100, A, 1, 4), []);
        assert_eq!(show(&mut firsts, 130, A, 4, 6), []);
        assert_eq!(show(&mut firsts, 150, B, 1, 7), [(0, 50, 3), (0, 20, 2)]);
        assert_eq!(show(&mut firsts, 160, B, 1, 7), [], "a copy on the same line");
        assert_eq!(show(&mut firsts, 170, A, 5, 7), [(1, 20, 1)]);
        assert_eq!(show(&mut firsts, 190, Line(2), 1, 7), [(0, 90, 3), (0, 60, 2), (1, 40, 1)]);
        // far on, a number of the same slot is another
        assert_eq!(show(&mut firsts, 200, A, 1 + SPAN, 2 + SPAN), []);
        assert_eq!(show(&mut firsts, 210, B, 1, 2), [], "too old to be known");
        assert_eq!(show(&mut firsts, 220, B, 1 + SPAN, 2 + SPAN), [(0, 20, 1)]);
        for at in 230..600 {
            firsts.clear();
            assert_eq!(show(&mut firsts, at, A, 1, 3), []);
            assert_eq!(show(&mut firsts, at, B, 1, 3), [(0, 0, 2)]);
        }
    }

    #[test]
    fn quantiles_run_from_the_second_lines_leads_to_the_firsts() {
        let mut leads = LeadHistograms::default();
        assert_eq!(leads.signed_quantile(A, B, 0.5), None);
        let mut add = |first, later, lead, count| leads.add(Lead { first, later, lead: Nanos(lead), count });
        add(A, B, 100, 50);
        add(B, A, 30, 30);
        add(B, A, 90, 20);
        let at = |quantile| leads.signed_quantile(A, B, quantile).unwrap();
        assert_eq!([at(0.0), at(0.2), at(0.21), at(0.5), at(0.51), at(1.0)], [-90, -90, -30, -30, 100, 100]);
        assert_eq!(leads.signed_quantile(B, A, 0.3), Some(-100));
        assert_eq!(leads.pair(B, A).unwrap().len(), 50);
    }

    #[test]
    fn coarse_leads_are_within_a_sixteenth() {
        for value in [0, 1, 7, 8, 9, 1_000, 123_456_789, 60_000_000_000] {
            let middle = CoarseLeads::value(CoarseLeads::bucket(value));
            assert!(middle.abs_diff(value as i64) <= value / 16, "{value} by {middle}");
        }
        assert_eq!(CoarseLeads::bucket(u64::MAX), BUCKETS - 1);
        let mut leads = CoarseLeads::default();
        assert_eq!(leads.quantiles([0.5]), None);
        leads.add(true, Nanos(5), 6);
        leads.add(false, Nanos(3), 3);
        leads.add(false, Nanos(7), 1);
        assert_eq!(leads.quantiles([0.1, 0.4, 0.5, 1.0]), Some([-7, -3, 5, 5]));
    }
}
