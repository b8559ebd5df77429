//! The one place where a clock is read.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use crate::time::Nanos;

/// A monotonic clock that tells nanoseconds since the Unix epoch: the wall clock is read once, at the start, and a step of
/// the wall clock after that is not seen (ARBITRATION 10.1).
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

    /// Now.
    #[inline]
    #[expect(clippy::disallowed_methods, reason = "the one place where a clock is read")]
    pub fn now(&self) -> Nanos {
        self.epoch + Instant::now().duration_since(self.start).into()
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
}
