//! Whether a replay's clock runs away from the recorded one: how late datagrams are at the end, compared with the start.
//!
//! The length of the run is not known while it lasts, and memory does not grow with it. So time is cut into slices, each with
//! a histogram of its own. When they are used up, each pair becomes one, twice as long. A tenth of the run is then two to four
//! slices.

use hdrhistogram::Histogram;

use crate::publisher::LATENESS_MAX;
use twinline_core::Nanos;

/// How many slices there are; except in the shortest runs, at least half of them are in use.
const SLICES: usize = 40;
/// How long a slice is at first.
const FIRST: Nanos = Nanos::from_micros(1);
/// A part of the run that is compared: a tenth.
const PART: usize = 10;
/// With fewer datagrams in a part, one hiccup would count as drift.
const PART_MIN: u64 = 32;

/// How late datagrams were, by when they were due.
#[derive(Clone, Debug)]
pub(super) struct Lateness {
    slices: Vec<Histogram<u64>>,
    span: Nanos,
    /// How many slices are in use.
    used: usize,
}

/// How much later the clock of a replay was at its end than at its start: the median lateness in the last tenth of the run,
/// by due times, less that in the first. So one hiccup is not a drift.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Drift {
    /// In nanoseconds; negative: earlier.
    pub ns: i64,
    /// The drift per second, between the middles of the two tenths.
    pub ns_per_second: f64,
}

impl Lateness {
    pub(super) fn new() -> Lateness {
        // one part in a hundred is enough
        let empty = Histogram::new_with_bounds(1, LATENESS_MAX.0, 2).unwrap_or_else(|_| unreachable!("valid bounds"));
        Lateness { slices: vec![empty; SLICES], span: FIRST, used: 0 }
    }

    /// Records that a datagram due this long after the start left this late.
    #[inline]
    pub(super) fn record(&mut self, due: Nanos, late: Nanos) {
        let mut at = due.0 / self.span.0;
        while at >= SLICES as u64 {
            self.fold();
            at = due.0 / self.span.0;
        }
        let at = at as usize;
        self.slices[at].saturating_record(late.0);
        self.used = self.used.max(at + 1);
    }

    /// Each two slices become one.
    fn fold(&mut self) {
        for at in 0..SLICES / 2 {
            let (to, from) = self.slices.split_at_mut(2 * at + 1);
            // all histograms have the same bounds, so this cannot fail
            let _ = to[2 * at].add(&from[0]);
            self.slices.swap(at, 2 * at);
        }
        self.slices[SLICES / 2..].iter_mut().for_each(Histogram::reset);
        self.used = self.used.div_ceil(2);
        self.span = self.span + self.span;
    }

    /// `None` if too little was sent to tell.
    pub(super) fn drift(&self) -> Option<Drift> {
        let part = self.used.div_ceil(PART);
        if self.used < 2 * part {
            return None;
        }
        let first = median(&self.slices[..part])?;
        let last = median(&self.slices[self.used - part..self.used])?;
        let ns = last as i64 - first as i64;
        let apart = (self.used - part) as u64 * self.span.0;
        Some(Drift { ns, ns_per_second: ns as f64 * 1e9 / apart as f64 })
    }
}

fn median(slices: &[Histogram<u64>]) -> Option<u64> {
    let mut sum = slices.first()?.clone();
    slices[1..].iter().for_each(|slice| {
        let _ = sum.add(slice);
    });
    (sum.len() >= PART_MIN).then(|| sum.value_at_quantile(0.5))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A run of this many milliseconds, with one datagram every 10 us; `late` gives each one's lateness from its due time.
    fn run(millis: u64, late: impl Fn(u64) -> u64) -> Option<Drift> {
        let mut lateness = Lateness::new();
        for due in (0..millis * 1_000_000).step_by(10_000) {
            lateness.record(Nanos(due), Nanos(late(due)));
        }
        lateness.drift()
    }

    fn near(found: f64, expected: f64) -> bool {
        (found - expected).abs() <= expected.abs() * 0.03 + 2.0
    }

    #[test]
    fn a_clock_that_runs_away_is_found_in_a_run_of_any_length() {
        for millis in [20, 77, 640, 10_007] {
            // 2 us a millisecond
            let drift = run(millis, |due| 500 + due / 500).unwrap();
            assert!(near(drift.ns as f64, millis as f64 * 2_000.0 * 0.9), "{millis} ms: {drift:?}");
            assert!(near(drift.ns_per_second, 2_000_000.0), "{millis} ms: {drift:?}");
        }
    }

    #[test]
    fn a_hiccup_is_no_drift() {
        assert_eq!(run(1_000, |_| 300), Some(Drift { ns: 0, ns_per_second: 0.0 }));
        let hiccup = run(1_000, |due| if due > 970_000_000 { 5_000_000 } else { 300 });
        assert_eq!(hiccup.unwrap().ns, 0);
        assert!(run(1_000, |due| if due < 500_000_000 { 900 } else { 300 }).unwrap().ns < -590);
    }

    #[test]
    fn too_little_tells_nothing() {
        assert_eq!(Lateness::new().drift(), None);
        assert_eq!(run(1, |_| 300), None);
        let mut once = Lateness::new();
        (0..1_000).for_each(|_| once.record(Nanos::ZERO, Nanos(300)));
        assert_eq!(once.drift(), None, "all at once");
    }
}
