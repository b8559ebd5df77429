//! How far two cores are apart: a cache line, there and back.
//!
//! On a virtual machine this is no constant, since the host moves its cores. A measurement between two cores is checked against it
//! ([`NEAR`]) before and after.

#![expect(clippy::disallowed_types, reason = "the bare cache line is what is measured")]

use std::sync::atomic::{AtomicU64, Ordering};

use crossbeam::utils::CachePadded;

use twinline_core::Nanos;
use twinline_node::os::{Clock, Spin};

/// A cache line's round trip below this is the near state.
pub const NEAR: Nanos = Nanos(200);

/// Round trips that are timed together, and how many such groups; the first group warms up.
const TRIPS: u64 = 50;
const GROUPS: u64 = 21;
/// How many looks at nothing before the clock is looked at.
const PATIENCE: u32 = 1_024;
/// How long the other end is waited for.
const WAIT_MAX: Nanos = Nanos::from_secs(5);

/// Two cache lines between two threads: one calls [`PingPong::round_trip`], the other [`PingPong::answer`].
///
/// ```
/// use twinline_analysis::latency::PingPong;
/// use twinline_node::os::{Clock, Spin};
///
/// let (lines, clock, spin) = (PingPong::default(), Clock::start(), Spin::new(true));
/// let trip = std::thread::scope(|scope| {
///     scope.spawn(|| lines.answer(&clock, spin));
///     lines.round_trip(&clock, spin)
/// });
/// assert!(trip.is_some());
/// ```
#[derive(Debug, Default)]
pub struct PingPong {
    ping: CachePadded<AtomicU64>,
    pong: CachePadded<AtomicU64>,
}

impl PingPong {
    /// The median round trip; `None` if nobody answers.
    pub fn round_trip(&self, clock: &Clock, spin: Spin) -> Option<Nanos> {
        let trip = |n| {
            self.ping.store(n, Ordering::Release);
            wait_for(&self.pong, n, clock, spin)
        };
        let group = |group| {
            let start = clock.now();
            (group * TRIPS + 1..=(group + 1) * TRIPS).all(trip).then(|| clock.now() - start)
        };
        let mut groups = (0..GROUPS).map(group).collect::<Option<Vec<Nanos>>>()?;
        let timed = groups.get_mut(1..)?;
        timed.sort_unstable();
        Some(Nanos(timed[timed.len() / 2].0 / TRIPS))
    }

    /// The other end of one [`PingPong::round_trip`]. Returns false if nobody asks.
    pub fn answer(&self, clock: &Clock, spin: Spin) -> bool {
        (1..=GROUPS * TRIPS).all(|n| {
            let asked = wait_for(&self.ping, n, clock, spin);
            self.pong.store(n, Ordering::Release);
            asked
        })
    }
}

/// Waits until `line` holds `n`. Acquire, for the other thread's Release: what it did before is done.
#[inline]
fn wait_for(line: &AtomicU64, n: u64, clock: &Clock, spin: Spin) -> bool {
    let (mut looks, mut since) = (0u32, None);
    while line.load(Ordering::Acquire) != n {
        spin.idle();
        looks += 1;
        if looks.is_multiple_of(PATIENCE) {
            let now = clock.now();
            if now - *since.get_or_insert(now) > WAIT_MAX {
                return false;
            }
        }
    }
    true
}
