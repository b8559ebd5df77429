//! What rotating blocks show: ratios within a round, their spread over all rounds, and whether the control permits a conclusion.
//!
//! A round is one block of each kind. Absolute times drift from round to round; the ratio of two blocks of one round does not. So the
//! ratio is taken within each round, and the median over the rounds is the result. The control is the ratio of two equal blocks: if it
//! is off 1.00, the machine alone changes ratios by that much.

use hdrhistogram::Histogram;

use crate::spread::Spread;
use twinline_core::Nanos;

use super::pingpong::NEAR;

/// By how much the control may be off 1.00.
pub(super) const CONTROL_MAX: f64 = 0.01;

/// The two percentiles of a block that ratios are made of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Block {
    /// Its median.
    pub p50: Nanos,
    /// Its 99th percentile.
    pub p99: Nanos,
}

impl Block {
    /// The percentiles of a block's times; `None` if there are none.
    pub fn of(times: &Histogram<u64>) -> Option<Block> {
        let at = |q| Nanos(times.value_at_quantile(q));
        (!times.is_empty()).then(|| Block { p50: at(0.5), p99: at(0.99) })
    }
}

/// One block of each kind, and how far apart the cores were.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Round {
    /// The worst round trip of a cache line before, between and after its blocks.
    pub trip: Nanos,
    /// The bare loop.
    pub bare: Block,
    /// The bare loop again.
    pub again: Block,
    /// The arbiter.
    pub arbiter: Block,
}

impl Round {
    /// Whether the cores were near each other all the time.
    pub fn near(&self) -> bool {
        self.trip < NEAR
    }
}

/// The arbiter's ratio to the bare loop, and the bare loop's to itself, at one percentile.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub struct Ratio {
    /// Each arbiter block to the bare block of its round.
    pub arbiter: Spread,
    /// Each second bare block to the first of its round.
    pub control: Spread,
}

impl Ratio {
    fn of<'a>(rounds: impl Iterator<Item = &'a Round> + Clone, at: impl Fn(&Block) -> Nanos) -> Option<Ratio> {
        let to_bare = |round: &Round, block: &Block| at(block).0 as f64 / at(&round.bare).0 as f64;
        Some(Ratio {
            arbiter: Spread::of(rounds.clone().map(|round| to_bare(round, &round.arbiter)))?,
            control: Spread::of(rounds.map(|round| to_bare(round, &round.again)))?,
        })
    }

    /// Whether the control is close enough to 1.00 for the ratio to mean anything.
    ///
    /// ```
    /// use twinline_analysis::latency::{Ratio, Spread};
    /// let around = |value| Spread::of([value]).unwrap();
    /// assert!(Ratio { arbiter: around(1.02), control: around(1.009) }.says_something());
    /// assert!(!Ratio { arbiter: around(1.02), control: around(0.98) }.says_something());
    /// ```
    pub fn says_something(&self) -> bool {
        // a control of exactly 1.01 is within: what is past it by rounding alone does not count
        (self.control.median - 1.0).abs() <= CONTROL_MAX + 1e-9
    }
}

/// The ratios of some rounds at the median and at the 99th percentile.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub struct Ratios {
    /// At the median.
    pub p50: Ratio,
    /// At the 99th percentile.
    pub p99: Ratio,
}

impl Ratios {
    /// The ratios of the near rounds (`near`), or of the others; `None` if there are none.
    pub fn of(rounds: &[Round], near: bool) -> Option<Ratios> {
        let those = rounds.iter().filter(move |round| round.near() == near);
        Some(Ratios { p50: Ratio::of(those.clone(), |block| block.p50)?, p99: Ratio::of(those, |block| block.p99)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(p50: u64, p99: u64) -> Block {
        Block { p50: Nanos(p50), p99: Nanos(p99) }
    }

    fn round(trip: u64, bare: u64, again: u64, arbiter: u64) -> Round {
        let both = |p50| block(p50, 2 * p50);
        Round { trip: Nanos(trip), bare: both(bare), again: both(again), arbiter: both(arbiter) }
    }

    #[test]
    fn ratios_are_taken_within_a_round() {
        // the second round is twice as slow as the first, which no ratio sees
        let rounds = [round(110, 1_000, 1_000, 1_020), round(120, 2_000, 2_000, 2_040), round(450, 100, 110, 200)];
        let near = Ratios::of(&rounds, true).unwrap();
        assert_eq!((near.p50.arbiter.count, near.p50.arbiter.min, near.p50.arbiter.max), (2, 1.02, 1.02));
        assert_eq!((near.p99.arbiter.median, near.p99.control.median), (1.02, 1.0));
        assert!(near.p50.says_something() && near.p99.says_something());
        let far = Ratios::of(&rounds, false).unwrap();
        assert_eq!((far.p50.arbiter.count, far.p50.arbiter.median), (1, 2.0));
        assert!(!far.p50.says_something(), "the control is at 1.10");
        assert_eq!(Ratios::of(&rounds[..2], false), None);
    }

    #[test]
    fn near_is_below_the_gate() {
        assert!(round(199, 1, 1, 1).near());
        assert!(!round(200, 1, 1, 1).near());
    }

    #[test]
    fn the_controls_edge_is_within() {
        let says = |control| {
            let one = Spread::of([1.0]).unwrap();
            Ratio { arbiter: one, control: Spread { median: control, ..one } }.says_something()
        };
        assert!(says(0.99) && says(1.01) && says(1.0));
        assert!(!says(0.989) && !says(1.011));
    }

    #[test]
    fn a_spread_leaves_out_what_is_no_number() {
        // a block without a time would divide by zero
        let spread = Spread::of([1.0, f64::NAN, f64::INFINITY, 3.0]).unwrap();
        assert_eq!((spread.count, spread.q1, spread.median, spread.q3), (2, 1.5, 2.0, 2.5));
        assert_eq!(Spread::of([f64::NAN]), None);
        assert_eq!(Spread::of([]), None);
    }

    #[test]
    fn a_blocks_percentiles_come_from_its_times() {
        let mut times = super::super::latencies::histogram();
        assert_eq!(Block::of(&times), None);
        (1..=100).for_each(|n| times.record(n).unwrap());
        assert_eq!(Block::of(&times), Some(block(50, 99)));
    }
}
