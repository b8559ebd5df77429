//! What the demo sends, and when: the rate, the faults of both lines, and when each line is taken away.
//!
//! Everything follows from rate, seconds and seed. A message's due time follows from its index, so the client knows when each
//! was due without being told.

use std::io;

use twinline_core::Nanos;
use twinline_core::frame::{Line, Session};
use twinline_node::fault::{BurstLoss, Faults, Outage, Reorder, Share};
use twinline_node::publisher::{LinePlan, MadeUp, MessageSource, PlanConfig, Rate, Timing};

/// The names of the lines.
pub(super) const NAMES: [&str; 2] = ["A", "B"];
/// How long the arbiter waits for a missing message.
pub(super) const GAP_TIMEOUT: Nanos = Nanos::from_millis(50);
/// The most messages that a demo may send: it keeps a few bits on the fate of each.
pub(super) const MESSAGES_MAX: u64 = 100_000_000;

/// Heartbeats only, before the first message: a channel begins with the first numbers that it hears of, and a line may lose the
/// first message.
const LEAD_IN: Nanos = Nanos::from_millis(150);
const HEARTBEAT: Nanos = Nanos::from_millis(20);
/// How many messages are due at once, if the rate is high enough for 1,000 such bursts per second.
const BURST_MAX: u64 = 16;

/// How long a line is away, in tenths of a percent of the time in which messages are sent.
const AWAY: [(u64, u64); 2] = [(250, 400), (600, 750)];

/// What is sent when.
#[derive(Clone, Copy, Debug)]
pub(super) struct Schedule {
    /// Messages per second.
    pub(super) rate: u64,
    /// How long messages are sent.
    pub(super) seconds: u64,
    pub(super) seed: u64,
}

impl Schedule {
    /// How many messages are sent, if nobody stops the demo.
    pub(super) fn messages(&self) -> u64 {
        self.rate * self.seconds
    }

    fn burst(&self) -> u64 {
        (self.rate / 1_000).clamp(1, BURST_MAX)
    }

    /// When the message with this index (from 0) is to be sent, from the plan's zero.
    #[inline]
    pub(super) fn due(&self, index: u64) -> Nanos {
        let in_bursts = u128::from(index - index % self.burst());
        LEAD_IN + Nanos((in_bursts * 1_000_000_000 / u128::from(self.rate)) as u64)
    }

    /// How long messages are sent, from the first.
    pub(super) fn span(&self) -> Nanos {
        Nanos::from_secs(self.seconds)
    }

    /// How much of that has passed after this many messages.
    pub(super) fn elapsed(&self, messages: u64) -> Nanos {
        if messages >= self.messages() { self.span() } else { self.due(messages) - LEAD_IN }
    }

    /// When a line is away, from the first message.
    pub(super) fn away(&self, line: usize) -> Outage {
        let (from, to) = AWAY[line];
        let at = |share: u64| Nanos(self.span().0 / 1_000 * share);
        Outage { from: at(from), to: at(to) }
    }

    /// Which line is away at this time after the first message.
    pub(super) fn who_is_away(&self, elapsed: Nanos) -> Option<Line> {
        let away = |line: &usize| self.away(*line).from <= elapsed && elapsed < self.away(*line).to;
        (0..NAMES.len()).find(away).map(|line| Line(line as u8))
    }

    /// The publisher's plan.
    pub(super) fn plan(&self) -> PlanConfig {
        let percent = |percent| Share::percent(percent).unwrap_or_default();
        let line = |line: usize, pack_max, loss, burst: (f64, f64), reorder| LinePlan {
            pack_min: 1,
            pack_max,
            faults: Faults {
                loss: percent(loss),
                burst_loss: Some(BurstLoss { enter: percent(burst.0), mean: burst.1 }),
                duplicate: percent(loss),
                reorder: Some(Reorder { share: percent(loss), behind: reorder }),
                outages: vec![Outage { from: LEAD_IN + self.away(line).from, to: LEAD_IN + self.away(line).to }],
                ..Faults::default()
            },
        };
        PlanConfig {
            session: Session::text(b"DEMO000001"),
            rate: Rate::Recorded,
            lines: vec![line(0, 10, 0.5, (0.05, 4.0), 3), line(1, 4, 0.3, (0.03, 8.0), 2)],
            heartbeat: Some(HEARTBEAT),
            end_copies: 10,
            // messages that are due together are packed together, and wait for nothing else
            pack_wait: Nanos(1),
            seed: self.seed,
            ..PlanConfig::default()
        }
    }

    /// The messages.
    pub(super) fn source(self) -> Paced {
        Paced { made_up: MadeUp::new(Some(self.messages()), None, self.seed), schedule: self, index: 0 }
    }
}

/// Made-up messages, each with its due time.
pub(super) struct Paced {
    made_up: MadeUp,
    schedule: Schedule,
    index: u64,
}

impl MessageSource for Paced {
    fn next(&mut self, message: &mut Vec<u8>) -> io::Result<Option<Timing>> {
        let timing = self.made_up.next(message)?.map(|_| Timing::Recorded(self.schedule.due(self.index)));
        self.index += 1;
        Ok(timing)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use twinline_core::framing::MoldUdp64;
    use twinline_node::publisher::Plan;

    #[test]
    fn a_line_is_away_and_then_the_other_never_both() {
        let schedule = Schedule { rate: 20_000, seconds: 10, seed: 1 };
        let (a, b) = (schedule.away(0), schedule.away(1));
        assert_eq!((a.from, a.to), (Nanos::from_millis(2_500), Nanos::from_millis(4_000)));
        assert!(a.to < b.from && b.to < schedule.span());
        assert_eq!(schedule.who_is_away(a.from), Some(Line(0)));
        assert_eq!(schedule.who_is_away(a.to), None);
        assert_eq!(schedule.who_is_away(b.from), Some(Line(1)));
    }

    #[test]
    fn messages_are_due_when_the_client_thinks_they_are() {
        let schedule = Schedule { rate: 20_000, seconds: 1, seed: 3 };
        let mut plan = Plan::new(MoldUdp64, schedule.plan(), schedule.source()).unwrap();
        let mut truth = plan.truth();
        let (mut first_heartbeats, mut data) = (0, false);
        while let Some(datagram) = plan.next_planned().unwrap() {
            data |= datagram.count > 0;
            first_heartbeats += u64::from(!data);
            if let Some(last) = u64::from(datagram.count).checked_sub(1) {
                let index = datagram.first - 1 + last;
                assert!(datagram.due >= schedule.due(index), "message {index} is sent before its time");
            }
            truth.record(&datagram, datagram.dropped.is_none());
        }
        assert!(first_heartbeats >= 8, "the channel begins at number 1, whatever is lost");
        assert_eq!(truth.numbers(), 20_000);
        for line in [Line(0), Line(1)] {
            assert!((3_000..3_600).contains(&truth.lost_on(line)), "an outage of 150 ms and a little loss");
        }
        assert!(truth.lost() > 0 && truth.lost() < 100, "{} lost on both", truth.lost());
    }

    #[test]
    fn low_rates_have_no_bursts() {
        let schedule = Schedule { rate: 10, seconds: 2, seed: 1 };
        assert_eq!(schedule.due(1) - schedule.due(0), Nanos::from_millis(100));
        assert_eq!(schedule.elapsed(20), Nanos::from_secs(2));
    }
}
