//! The one place where a clock is read.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use twinline_core::Nanos;

/// A monotonic clock in nanoseconds since the Unix epoch. The wall clock is read once, at the start; a later step of the wall
/// clock does not show (ARBITRATION 10.1).
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    start: Instant,
    epoch: Nanos,
}

impl Clock {
    /// Reads both clocks.
    #[expect(clippy::disallowed_methods, reason = "the one place where a clock is read")]
    pub fn start() -> Clock {
        let start = Instant::now();
        let epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().into();
        Clock { start, epoch }
    }

    /// The time now, in nanoseconds since 1970. Never earlier than a reading before it.
    #[inline]
    #[expect(clippy::disallowed_methods, reason = "the one place where a clock is read")]
    pub fn now(&self) -> Nanos {
        self.epoch + Instant::now().duration_since(self.start).into()
    }

    /// How far the wall clock (`CLOCK_REALTIME`) is ahead of this one now, in nanoseconds: subtract it from a kernel stamp. The
    /// system slews both alike, so it changes only when the wall clock is stepped.
    ///
    /// Both clocks are read several times; the tightest pair counts.
    #[expect(clippy::disallowed_methods, reason = "the one place where a clock is read")]
    pub fn wall_ahead_ns(&self) -> i64 {
        let look = |_| {
            let before = self.now();
            let wall = Nanos::from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default());
            let after = self.now();
            let middle = Nanos(before.0 + (after - before).0 / 2);
            ((after - before).0, wall.0.cast_signed().wrapping_sub(middle.0.cast_signed()))
        };
        (0..64).map(look).min().map_or(0, |(_, ahead)| ahead)
    }

    /// What one reading costs on this machine, in nanoseconds: the fastest of many rounds.
    pub fn reading_cost(&self) -> Nanos {
        const READINGS: u64 = 100;
        let round = |_| {
            let start = self.now();
            (1..READINGS).for_each(|_| {
                std::hint::black_box(self.now());
            });
            self.now() - start
        };
        Nanos((0..50).map(round).min().unwrap_or(Nanos::ZERO).0 / READINGS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_never_goes_back() {
        let clock = Clock::start();
        let first = clock.now();
        assert!(clock.now() >= first);
        assert!(first > Nanos::from_secs(1_700_000_000));
    }

    #[test]
    fn the_wall_clock_is_where_it_was_at_the_start_unless_it_was_stepped() {
        let ahead = Clock::start().wall_ahead_ns();
        assert!(ahead.unsigned_abs() < 3_600_000_000_000, "{ahead} ns");
    }
}
