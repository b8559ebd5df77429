//! Waiting for a due time, without drift: due times are absolute, and who is late does not make the next one late.

use std::thread;
use std::time::Duration;

use crate::os::clock::Clock;
use crate::os::signal::Stop;
use twinline_core::time::Nanos;

/// Nearer than this to the due time, the clock is looked at without a break.
const SPIN: Nanos = Nanos::from_micros(5);
/// Nearer than this others are given way to, without a sleep: one may last some 50 us longer than it was told to.
const YIELD: Nanos = Nanos::from_micros(200);
/// The longest sleep, so that a wish to stop is seen.
const SLEEP_MAX: Nanos = Nanos::from_millis(5);

/// Lateness is told up to here.
pub const LATENESS_MAX: Nanos = Nanos::from_secs(60);

/// A time that begins at some moment of a clock, and waiting by it.
#[derive(Debug)]
pub struct DueClock<'a> {
    clock: Clock,
    start: Nanos,
    stop: &'a Stop,
}

impl<'a> DueClock<'a> {
    /// A time whose zero is `start` by the clock.
    pub fn new(clock: Clock, start: Nanos, stop: &'a Stop) -> DueClock<'a> {
        DueClock { clock, start, stop }
    }

    /// How long ago the start was.
    #[inline]
    pub fn now(&self) -> Nanos {
        self.clock.now() - self.start
    }

    /// What ends the waiting early.
    pub fn stop(&self) -> &Stop {
        self.stop
    }

    /// Waits until `due`, or until a stop is asked for that was not known of; returns the time. It sleeps while that is
    /// far, gives way to other threads while it is near, and spins at last.
    pub fn wait(&self, due: Nanos, stopping: bool) -> Nanos {
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
