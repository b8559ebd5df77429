//! From clock readings to stamps (ARBITRATION 1.2).

use twinline_core::Nanos;

/// Turns clock readings into stamps, so that an arbiter that was held up does not give up what waits in its sockets (ARBITRATION
/// 1.2).
///
/// A stamp is the reading, unless more than a quarter of the shortest gap timeout has passed since the last stamp. Then time goes
/// on by just that quarter, and stands still until a pass has found less than a full batch in every socket.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct StampPacer {
    last: Option<Nanos>,
    stands: bool,
}

impl StampPacer {
    /// A pacer before the first pass.
    pub(crate) fn new() -> StampPacer {
        StampPacer::default()
    }

    /// The last stamp, if there was one.
    #[inline]
    pub(crate) fn last(&self) -> Option<Nanos> {
        self.last
    }

    /// The stamp of the pass that begins with this reading.
    #[inline]
    pub(crate) fn stamp(&mut self, reading: Nanos, quarter: Nanos) -> Nanos {
        let stamp = match self.last {
            None => reading,
            Some(last) if self.stands => last,
            Some(last) if reading > last + quarter => {
                self.stands = true;
                last + quarter
            }
            Some(last) => last.max(reading),
        };
        self.last = Some(stamp);
        stamp
    }

    /// What the pass found: how many datagrams, and whether some socket gave a full batch. If all sockets were empty, time is at
    /// the reading again: give that to [`Handler::advance`](crate::handler::Handler::advance).
    #[inline]
    pub(crate) fn after(&mut self, datagrams: usize, full: bool, reading: Nanos) {
        if !full {
            self.stands = false;
        }
        if datagrams == 0 && !full {
            self.last = self.last.max(Some(reading));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_goes_on_by_a_quarter_until_the_sockets_are_short_of_a_full_batch() {
        let mut pacer = StampPacer::new();
        let quarter = Nanos(250);
        assert_eq!(pacer.stamp(Nanos(10_000), quarter), Nanos(10_000));
        pacer.after(1, false, Nanos(10_000));
        // the thread was held up for 5,000 ns
        assert_eq!(pacer.stamp(Nanos(15_000), quarter), Nanos(10_250));
        pacer.after(64, true, Nanos(15_000));
        assert_eq!(pacer.stamp(Nanos(15_100), quarter), Nanos(10_250), "the backlog has not been taken yet");
        pacer.after(3, false, Nanos(15_100));
        assert_eq!(pacer.stamp(Nanos(15_200), quarter), Nanos(10_500));
        pacer.after(0, false, Nanos(15_200));
        assert_eq!(pacer.stamp(Nanos(15_300), quarter), Nanos(15_300), "the sockets were empty: time has caught up");
    }
}
