//! Histograms of latency, by cause and by line, and their percentiles.

use hdrhistogram::Histogram;

use twinline_core::Nanos;
use twinline_core::arbiter::RunFlags;
use twinline_core::frame::Line;

/// Longer latencies are counted as this long.
pub(super) const LATENCY_MAX: Nanos = Nanos::from_secs(60);

/// An empty histogram of nanoseconds, to three significant figures.
pub fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, LATENCY_MAX.0, 3).unwrap_or_else(|_| unreachable!("valid bounds"))
}

/// Why a message took as long as it did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum LatencyCause {
    /// It was delivered when its first copy came.
    First,
    /// It had come, and waited for an earlier message that another line had to bring.
    Waited,
    /// Recovery brought it.
    Recovered,
}

impl LatencyCause {
    /// Every cause.
    pub const ALL: [LatencyCause; 3] = [LatencyCause::First, LatencyCause::Waited, LatencyCause::Recovered];

    /// The cause of a message that was delivered.
    #[inline]
    pub fn of(line: Line, flags: RunFlags) -> LatencyCause {
        if line == Line::RECOVERY {
            LatencyCause::Recovered
        } else if flags.held {
            LatencyCause::Waited
        } else {
            LatencyCause::First
        }
    }

    /// Its name in files.
    pub const fn name(self) -> &'static str {
        match self {
            LatencyCause::First => "first",
            LatencyCause::Waited => "waited",
            LatencyCause::Recovered => "recovered",
        }
    }

    /// The words for people.
    pub const fn words(self) -> &'static str {
        match self {
            LatencyCause::First => "first copy",
            LatencyCause::Waited => "waited for the other line",
            LatencyCause::Recovered => "recovered",
        }
    }
}

/// A part of a message's way from the publisher to the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Stage {
    /// How late it was sent.
    Send,
    /// From the send to the kernel's stamp; of every copy that came, where kernel stamps are asked for.
    Kernel,
    /// From the kernel's stamp to the receive call's return; of every copy that came.
    Woken,
    /// From the send to the receive call's return.
    Receive,
    /// From the receive call's return until its record is in the ring.
    Publish,
    /// From the receive call's return until the client has read it.
    Read,
}

impl Stage {
    /// Every stage.
    pub const ALL: [Stage; 6] = [Stage::Send, Stage::Kernel, Stage::Woken, Stage::Receive, Stage::Publish, Stage::Read];

    /// Its name in files.
    pub const fn name(self) -> &'static str {
        match self {
            Stage::Send => "intended-to-send",
            Stage::Kernel => "send-to-kernel-stamp",
            Stage::Woken => "kernel-stamp-to-receive",
            Stage::Receive => "send-to-receive",
            Stage::Publish => "receive-to-publish",
            Stage::Read => "receive-to-read",
        }
    }

    /// The words for people.
    pub const fn words(self) -> &'static str {
        match self {
            Stage::Send => "intended send -> send",
            Stage::Kernel => "send -> kernel stamp",
            Stage::Woken => "kernel stamp -> receive return",
            Stage::Receive => "send -> receive return",
            Stage::Publish => "receive return -> ring publish",
            Stage::Read => "receive return -> client read",
        }
    }
}

/// One histogram per stage.
#[derive(Clone, Debug)]
pub(super) struct Stages(Vec<Histogram<u64>>);

impl Default for Stages {
    fn default() -> Stages {
        Stages(Stage::ALL.map(|_| histogram()).into())
    }
}

impl Stages {
    /// Adds one span of a stage.
    #[inline]
    pub(super) fn record(&mut self, stage: Stage, span: Nanos) {
        self.0[stage as usize].saturating_record(span.0);
    }

    /// The same for `count` messages.
    #[inline]
    pub(super) fn record_n(&mut self, stage: Stage, span: Nanos, count: u64) {
        self.0[stage as usize].saturating_record_n(span.0, count);
    }

    /// The spans of a stage.
    pub(super) fn of(&self, stage: Stage) -> &Histogram<u64> {
        &self.0[stage as usize]
    }

    /// Adds what another has.
    pub(super) fn add(&mut self, other: &Stages) {
        for (to, from) in self.0.iter_mut().zip(&other.0) {
            *to += from;
        }
    }
}

/// From the intended send to the client's read, by cause and by the line that came first.
#[derive(Clone, Debug)]
pub(super) struct Totals {
    lines: usize,
    /// First copies by line, then those that waited by line, then the recovered.
    by: Vec<Histogram<u64>>,
}

impl Totals {
    /// Empty, for this many lines.
    pub(super) fn new(lines: usize) -> Totals {
        Totals { lines, by: vec![histogram(); 2 * lines + 1] }
    }

    fn place(&self, cause: LatencyCause, line: Line) -> Option<usize> {
        match cause {
            LatencyCause::Recovered => Some(2 * self.lines),
            _ => (line.index() < self.lines).then_some(cause as usize * self.lines + line.index()),
        }
    }

    /// A message took this long.
    #[inline]
    pub(super) fn record(&mut self, cause: LatencyCause, line: Line, span: Nanos) {
        if let Some(place) = self.place(cause, line) {
            self.by[place].saturating_record(span.0);
        }
    }

    /// Of one cause, all lines.
    pub(super) fn of_cause(&self, cause: LatencyCause) -> Histogram<u64> {
        let mut sum = histogram();
        match cause {
            LatencyCause::Recovered => sum += &self.by[2 * self.lines],
            _ => self.by[cause as usize * self.lines..][..self.lines].iter().for_each(|of| sum += of),
        }
        sum
    }

    /// Of the messages that a line brought first, all causes.
    pub(super) fn of_line(&self, line: Line) -> Histogram<u64> {
        let mut sum = histogram();
        if line == Line::RECOVERY {
            return self.of_cause(LatencyCause::Recovered);
        }
        for cause in [LatencyCause::First, LatencyCause::Waited] {
            if let Some(place) = self.place(cause, line) {
                sum += &self.by[place];
            }
        }
        sum
    }

    /// Of all messages.
    pub(super) fn all(&self) -> Histogram<u64> {
        let mut sum = histogram();
        self.by.iter().for_each(|of| sum += of);
        sum
    }
}

/// The percentiles of a histogram, in nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub(super) struct Percentiles {
    /// How many values.
    pub(super) count: u64,
    /// The smallest.
    pub(super) min: u64,
    /// The median.
    pub(super) p50: u64,
    /// The 90th percentile.
    pub(super) p90: u64,
    /// The 99th percentile.
    pub(super) p99: u64,
    /// The 99.9th percentile.
    pub(super) p99_9: u64,
    /// The 99.99th percentile.
    pub(super) p99_99: u64,
    /// The largest.
    pub(super) max: u64,
}

impl Percentiles {
    /// Of a histogram; `None` if it is empty.
    pub(super) fn of(histogram: &Histogram<u64>) -> Option<Percentiles> {
        let at = |q| histogram.value_at_quantile(q);
        (!histogram.is_empty()).then(|| Percentiles {
            count: histogram.len(),
            min: histogram.min(),
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p99_9: at(0.999),
            p99_99: at(0.9999),
            max: histogram.max(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_recorded_stands_under_its_cause_and_its_line() {
        let mut totals = Totals::new(2);
        for (cause, line, span) in [
            (LatencyCause::First, Line(0), 10),
            (LatencyCause::First, Line(1), 20),
            (LatencyCause::Waited, Line(1), 30),
            (LatencyCause::Recovered, Line::RECOVERY, 40),
            (LatencyCause::First, Line(5), 50),
        ] {
            totals.record(cause, line, Nanos(span));
        }
        let max = |histogram: &Histogram<u64>| (histogram.len(), histogram.max());
        assert_eq!(LatencyCause::ALL.map(|cause| max(&totals.of_cause(cause))), [(2, 20), (1, 30), (1, 40)]);
        assert_eq!(
            [Line(0), Line(1), Line::RECOVERY].map(|line| max(&totals.of_line(line))),
            [(1, 10), (2, 30), (1, 40)]
        );
        assert_eq!(max(&totals.all()), (4, 40), "a line that the feed does not have is nobody's");
    }

    #[test]
    fn causes_come_from_the_record() {
        let held = RunFlags { held: true, ..RunFlags::default() };
        assert_eq!(LatencyCause::of(Line(0), RunFlags::default()), LatencyCause::First);
        assert_eq!(LatencyCause::of(Line(1), held), LatencyCause::Waited);
        assert_eq!(LatencyCause::of(Line::RECOVERY, held), LatencyCause::Recovered);
    }

    #[test]
    fn stages_stand_at_their_own_place() {
        assert!(Stage::ALL.iter().enumerate().all(|(i, stage)| *stage as usize == i));
        assert!(LatencyCause::ALL.iter().enumerate().all(|(i, cause)| *cause as usize == i));
        let mut stages = Stages::default();
        stages.record(Stage::Read, Nanos(7));
        stages.record_n(Stage::Publish, Nanos(9), 3);
        let mut sum = stages.clone();
        sum.add(&stages);
        assert_eq!((sum.of(Stage::Read).len(), sum.of(Stage::Publish).len(), sum.of(Stage::Send).len()), (2, 6, 0));
        assert_eq!(Percentiles::of(sum.of(Stage::Send)), None);
        assert_eq!(Percentiles::of(sum.of(Stage::Read)).map(|of| (of.count, of.p50, of.max)), Some((2, 7, 7)));
    }
}
