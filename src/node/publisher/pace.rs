//! Waiting for due times without drift: due times are absolute, so a late datagram does not make the next one late.

use std::thread;
use std::time::Duration;

use crate::os::{Clock, Stop};
use twinline_core::Nanos;

/// Nearer than this to the due time, it spins on the clock.
const SPIN: Nanos = Nanos::from_micros(5);
/// If less time is left than this, it yields to other threads instead of sleeping: a sleep may last some 50 us longer than asked
/// for.
const YIELD: Nanos = Nanos::from_micros(200);
/// The longest sleep, so that a request to stop is noticed.
const SLEEP_MAX: Nanos = Nanos::from_millis(5);

/// The largest lateness that is told apart; anything later counts as this.
pub(crate) const LATENESS_MAX: Nanos = Nanos::from_secs(60);

/// Time counted from some moment of a clock, and waiting by it.
#[derive(Debug)]
pub(crate) struct DueClock<'a> {
    clock: Clock,
    start: Nanos,
    stop: &'a Stop,
}

impl<'a> DueClock<'a> {
    /// Time whose zero is `start` by the clock.
    pub(crate) fn new(clock: Clock, start: Nanos, stop: &'a Stop) -> DueClock<'a> {
        DueClock { clock, start, stop }
    }

    /// The time since the start.
    #[inline]
    pub(crate) fn now(&self) -> Nanos {
        self.clock.now() - self.start
    }

    /// What ends the waiting early.
    pub(crate) fn stop(&self) -> &Stop {
        self.stop
    }

    /// Waits until `due`, or until a stop is requested (unless `stopping`: the caller already knows of it); returns the time. It
    /// sleeps while `due` is far, yields to other threads when it is near, and finally spins.
    pub(crate) fn wait(&self, due: Nanos, stopping: bool) -> Nanos {
        loop {
            let now = self.now();
            if now >= due || (!stopping && self.stop.requested()) {
                return now;
            }
            match due - now {
                left if left <= SPIN => std::hint::spin_loop(),
                left if left <= YIELD => thread::yield_now(),
                left => thread::sleep(Duration::from((left - YIELD).min(SLEEP_MAX))),
            }
        }
    }
}
