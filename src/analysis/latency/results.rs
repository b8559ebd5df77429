//! The report of latency measurements: what was measured, in the form that text, JSON and the page are made of.

use hdrhistogram::Histogram;
use serde_json::Value;

use super::arbitrate::StampCounts;
use super::latencies::{LatencyCause, Percentiles, Stage};
use super::message::Load;
use super::open_loop::{Arrangement, OpenLoopMeasured, core_text};
use super::publish::{LATE, LineSent};
use super::ratio::{Ratios, Round};
use super::two_core::{BlockKind, TwoCoreMeasured};
use super::{json, page, text};
use crate::report::words::span;
use twinline_core::frame::Line;
use twinline_core::framing::AnyFraming;
use twinline_node::config::{Feed, LineConfig, Method};
use twinline_node::os::{Finding, Spin};
use twinline_node::source::WatchFacts;

/// The machine, and what about it spoils the numbers.
#[derive(Clone, Debug)]
pub struct MeasuredMachine {
    /// Processor, cores and kernel, in one line.
    pub line: String,
    /// What spoils or blurs latency numbers, each with what to do about it.
    pub findings: Vec<Finding>,
    /// What one look at the clock costs, in nanoseconds.
    pub clock_reading_ns: u64,
}

/// The report of latency measurements. [`LatencyReport::new`] makes an empty one; each measurement is added once it is done.
#[derive(Debug)]
pub struct LatencyReport {
    pub(super) machine: MeasuredMachine,
    pub(super) feed: String,
    pub(super) to: String,
    pub(super) namespace: Option<String>,
    pub(super) framing: &'static str,
    /// The ratios to the bare receive loop, one per receive method.
    pub ratios: Vec<RatioResults>,
    /// The open-loop passes.
    pub passes: Vec<PassResults>,
    /// Whether it was asked to stop: these are the measurements up to then.
    pub stopped: bool,
}

impl LatencyReport {
    /// A report without a measurement. `to` is the feed that the lines are sent on; `namespace` is the network namespace that they
    /// are published from.
    pub fn new(
        machine: MeasuredMachine,
        feed: &Feed,
        to: &Feed,
        namespace: Option<String>,
        framing: AnyFraming,
    ) -> LatencyReport {
        LatencyReport {
            machine,
            feed: feed.name.clone(),
            to: to.name.clone(),
            namespace,
            framing: framing.name(),
            ratios: Vec::new(),
            passes: Vec::new(),
            stopped: false,
        }
    }

    /// The object of `--json` (docs/JSON.md).
    pub fn json(&self) -> Value {
        json::json(self)
    }

    /// The machine, for people, and what about it will show in the numbers.
    pub fn machine_text(&self) -> String {
        text::machine(&self.machine)
    }

    /// The end of the report for people: each ratio in one line.
    pub fn ending_text(&self) -> String {
        text::ending(self)
    }

    /// The page: one HTML file that refers to nothing outside itself.
    pub fn page(&self) -> String {
        page::page(self)
    }
}

/// What an open-loop pass measures.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PassSpec {
    /// Rate, burst and size of the messages.
    pub load: Load,
    /// How they are received.
    pub method: Method,
    /// Whether the kernel's receive stamps are taken.
    pub stamps: bool,
}

impl PassSpec {
    /// A name for people, and (without its blanks) for files.
    pub fn label(&self) -> String {
        let Load { micro_rate, burst, size } = self.load;
        let rate = micro_rate as f64 / 1e6;
        let rate = match rate {
            r if r >= 1e6 && (r / 1e4).fract() == 0.0 => format!("{}M", r / 1e6),
            r if r >= 1e3 && (r / 10.0).fract() == 0.0 => format!("{}k", r / 1e3),
            r => r.to_string(),
        };
        let burst = if burst > 1 { format!(" burst {burst}") } else { String::new() };
        let stamps = if self.stamps { " stamps" } else { "" };
        let method = if self.method == Method::Socket { "" } else { self.method.name() };
        let method = if method.is_empty() { String::new() } else { format!(" {method}") };
        format!("{rate}/s {size} B{burst}{method}{stamps}")
    }
}

/// The ratio to the bare loop.
#[derive(Debug)]
pub struct RatioResults {
    /// How messages were received.
    pub method: Method,
    pub(super) layout: String,
    pub(super) size: usize,
    pub(super) block: u32,
    pub(super) rounds: Vec<Round>,
    pub(super) near: Option<Ratios>,
    pub(super) far: Option<Ratios>,
    measured: TwoCoreMeasured,
    pub(super) overflow: u64,
}

impl RatioResults {
    /// The results of a measurement. `(publisher, arbiter, spin)` are the cores of the two threads and what they do while idle.
    /// `watched` has what the kernel threw away at each line's sockets.
    pub fn new(
        measured: TwoCoreMeasured,
        method: Method,
        (publisher, arbiter, spin): (Option<usize>, Option<usize>, Spin),
        size: usize,
        block: u32,
        watched: &[WatchFacts],
    ) -> RatioResults {
        RatioResults {
            method,
            layout: format!(
                "one thread on {} publishes and reads, the arbiter is on {}; {spin}",
                core_text(publisher),
                core_text(arbiter)
            ),
            size,
            block,
            near: Ratios::of(&measured.rounds, true),
            far: Ratios::of(&measured.rounds, false),
            rounds: measured.rounds.clone(),
            overflow: watched.iter().map(|line| line.overflow).sum(),
            measured,
        }
    }

    /// The ratio, for people.
    pub fn text(&self) -> String {
        text::ratio(self)
    }

    /// The ratios of the headline, and whether they come from near rounds. If no round was near, they come from the far ones.
    pub(super) fn headline(&self) -> Option<(Ratios, bool)> {
        self.near.map(|ratios| (ratios, true)).or(self.far.map(|ratios| (ratios, false)))
    }

    /// Times from send to read, in the rounds that the headline comes from.
    pub fn times(&self, kind: BlockKind) -> &Histogram<u64> {
        &self.measured.times[usize::from(self.near.is_some())][kind as usize]
    }

    /// Times from receive return to client read, in the same rounds.
    pub fn to_client(&self) -> &Histogram<u64> {
        &self.measured.to_client[usize::from(self.near.is_some())]
    }

    pub(super) fn near_rounds(&self) -> usize {
        self.rounds.iter().filter(|round| round.near()).count()
    }

    pub(super) fn sent(&self) -> u64 {
        self.measured.sent
    }

    pub(super) fn lost(&self) -> u64 {
        self.measured.lost
    }

    /// Remarks on the numbers: what makes them doubtful.
    pub fn remarks(&self) -> Vec<String> {
        let mut remarks = Vec::new();
        let Some((ratios, near)) = self.headline() else {
            return vec!["not one round was finished: give it more --seconds".to_owned()];
        };
        let off: Vec<String> = [("p50", ratios.p50), ("p99", ratios.p99)]
            .iter()
            .filter(|(_, ratio)| !ratio.says_something())
            .map(|(name, ratio)| format!("{name} ({:.3})", ratio.control.median))
            .collect();
        if !off.is_empty() {
            remarks.push(format!(
                "the control, the bare loop against itself, is off 1.00 by more than 0.01 at {}: there this run says nothing",
                off.join(" and at ")
            ));
        }
        if !near {
            remarks.push(
                "no round was near (a cache line's round trip below 200 ns): these are the far ones; on some machines the cores are always \
                 far"
                    .to_owned(),
            );
        }
        if self.rounds.len() < 30 {
            remarks.push(format!("{} rounds are few: give it more --seconds", self.rounds.len()));
        }
        if self.measured.during_send > 0 {
            remarks.push(format!(
                "{} messages of the stamped blocks were received before their send call had returned: they are not in \"receive return \
                 to client read\", since the sender is the reader",
                self.measured.during_send
            ));
        }
        if self.lost() > 0 {
            remarks.push(format!("{} of {} messages did not come within 100 ms", self.lost(), self.sent()));
        }
        if self.overflow > 0 {
            remarks.push(format!("the kernel threw {} datagrams away at full sockets", self.overflow));
        }
        remarks
    }
}

/// One line of a pass.
#[derive(Debug)]
pub(super) struct LineResults {
    pub(super) name: String,
    pub(super) sent: LineSent,
    pub(super) received: u64,
    pub(super) overflow: u64,
    /// Messages that it brought first, and how long they took.
    pub(super) won: Histogram<u64>,
}

/// One open-loop pass.
#[derive(Debug)]
pub struct PassResults {
    pub(super) asked: PassSpec,
    /// Its name: [`PassSpec::label`].
    pub label: String,
    pub(super) pack: u32,
    pub(super) layout: String,
    pub(super) lines: Vec<LineResults>,
    /// Numbers that the publisher used.
    pub(super) sent: u64,
    /// Messages that the client read.
    pub delivered: u64,
    pub(super) lost: u64,
    /// Of the lost, those that no line sent.
    pub(super) lost_by_faults: u64,
    pub(super) overrun: u64,
    pub(super) overruns: u64,
    pub(super) timed: u64,
    pub(super) foreign: u64,
    /// Came after they were given up.
    pub(super) late: u64,
    pub(super) late_sends: u64,
    pub(super) rate_reached: f64,
    pub(super) lateness: Histogram<u64>,
    /// Nanoseconds from intended send to client read.
    pub total: Histogram<u64>,
    /// The same, by why a message took so long.
    pub causes: Vec<(LatencyCause, Histogram<u64>)>,
    /// The parts of those times.
    pub stages: Vec<(Stage, Histogram<u64>)>,
    pub(super) stamps: Option<StampCounts>,
    wall_step_ns: i64,
    stopped: bool,
    given_up: bool,
}

impl PassResults {
    /// The results of a pass on a feed's lines, with `pack` messages per datagram. `watched` has what the kernel threw away at each
    /// line's sockets.
    pub fn new(
        asked: PassSpec,
        measured: OpenLoopMeasured,
        feed: &Feed,
        (arrangement, pack): (Arrangement, u32),
        watched: &[WatchFacts],
    ) -> PassResults {
        let OpenLoopMeasured { published, totals, stages, counts, stamps, wall_step_ns, datagrams, late, .. } =
            measured;
        let line = |(at, line): (usize, &LineConfig)| LineResults {
            name: line.name.clone(),
            sent: published.lines[at].clone(),
            received: datagrams[at],
            overflow: watched.get(at).map_or(0, |line| line.overflow),
            won: totals.of_line(Line(at as u8)),
        };
        let seconds = published.elapsed.0 as f64 / 1e9;
        PassResults {
            asked,
            label: asked.label(),
            pack,
            layout: arrangement.to_string(),
            lines: feed.lines.iter().enumerate().map(line).collect(),
            sent: published.numbers,
            delivered: counts.delivered - counts.foreign,
            lost: counts.lost,
            lost_by_faults: published.lost,
            overrun: counts.overrun,
            overruns: counts.overruns,
            timed: counts.timed,
            foreign: counts.foreign,
            late,
            late_sends: published.late,
            rate_reached: if seconds > 0.0 { published.numbers as f64 / seconds } else { 0.0 },
            lateness: published.lateness,
            total: totals.all(),
            causes: LatencyCause::ALL.map(|cause| (cause, totals.of_cause(cause))).into(),
            stages: Stage::ALL.map(|stage| (stage, stages.of(stage).clone())).into(),
            stamps,
            wall_step_ns,
            stopped: published.stopped,
            given_up: published.given_up,
        }
    }

    /// The pass, for people.
    pub fn text(&self) -> String {
        text::pass(self)
    }

    /// Numbers that the client never saw: before the arbiter had believed the first frame, or after the last one that came.
    pub fn unseen(&self) -> u64 {
        self.sent.saturating_sub(self.delivered + self.lost + self.overrun)
    }

    /// Whether not one datagram could be sent.
    pub fn sent_nothing(&self) -> bool {
        self.lines.iter().all(|line| line.sent.datagrams == 0) && self.lines.iter().any(|line| line.sent.errors > 0)
    }

    /// What the system said of the last send that failed.
    pub fn last_error(&self) -> Option<&str> {
        self.lines.iter().find_map(|line| line.sent.last_error.as_deref())
    }

    /// Whether the publisher kept up with the rate.
    pub fn rate_held(&self) -> bool {
        self.stopped || self.rate_reached > 0.98 * self.asked.load.rate() || self.lateness.max() < 1_000_000
    }

    /// Remarks on the numbers: what makes them doubtful.
    pub fn remarks(&self) -> Vec<String> {
        let mut remarks = Vec::new();
        if !self.rate_held() {
            remarks.push(format!(
                "the publisher did not hold the rate: {:.0} messages per second instead of {:.0}. Messages waited for it, up to {}, \
                 and the totals include that wait. Ask for a lower rate, or for more --pack",
                self.rate_reached,
                self.asked.load.rate(),
                span(self.lateness.max())
            ));
        }
        if self.given_up {
            remarks.push(
                "the pass was given up after twice its time: messages that were due by then and never sent are missing here, so the \
                 percentiles are too good"
                    .to_owned(),
            );
        }
        let datagrams = self.lateness.len().max(1);
        if self.rate_held() && self.late_sends * 100 > datagrams && self.asked.load.burst == 1 {
            remarks.push(format!(
                "{:.1} % of the datagrams left more than {} late: the publisher was held up, by its core or its system calls",
                self.late_sends as f64 * 100.0 / datagrams as f64,
                span(LATE.0)
            ));
        }
        let overflow: u64 = self.lines.iter().map(|line| line.overflow).sum();
        if overflow > 0 {
            remarks.push(format!(
                "the kernel threw {overflow} datagrams away at full sockets: the arbiter did not keep up, or the buffer is small"
            ));
        }
        if self.overruns > 0 {
            remarks.push(format!("the client was too slow {} times, for {} messages", self.overruns, self.overrun));
        }
        let errors: u64 = self.lines.iter().map(|line| line.sent.errors).sum();
        if errors > 0 {
            remarks.push(format!("{errors} sends failed; the last error: {}", self.last_error().unwrap_or_default()));
        }
        if self.foreign > 0 {
            remarks
                .push(format!("{} messages of another sender came on these groups; they are not timed", self.foreign));
        }
        if self.late > 0 {
            remarks.push(format!(
                "{} messages came after they were given up as lost: see gap_timeout in the feed file",
                self.late
            ));
        }
        if let Some(stamps) = &self.stamps {
            remarks.push(self.of_stamps(stamps));
        }
        if self.stopped {
            remarks.push("it was stopped: these are the messages up to then".to_owned());
        }
        remarks
    }

    fn of_stamps(&self, stamps: &StampCounts) -> String {
        let mut said = match (stamps.software, stamps.hardware) {
            (0, 0) => "no kernel stamp came".to_owned(),
            (_, 0) => "kernel stamps are the kernel's own (software): no NIC stamped a datagram".to_owned(),
            (_, hardware) => format!(
                "{hardware} datagrams brought the NIC's own stamp (hardware), by its own clock, which is not compared with ours; \
                 the times use the kernel's stamps"
            ),
        };
        if stamps.out_of_order > 0 {
            said += &format!("; {} stamps lie outside of send and receive, and are left out", stamps.out_of_order);
        }
        if self.wall_step_ns.unsigned_abs() > 1_000 {
            said += &format!("; the wall clock, which they follow, was moved by {} ns meanwhile", self.wall_step_ns);
        }
        said
    }
}

/// Rows of a pass's table: a name and its percentiles (`None`: nothing was measured).
pub(super) fn rows(pass: &PassResults) -> Vec<(String, Option<Percentiles>)> {
    let mut rows = vec![("intended send -> client read".to_owned(), Percentiles::of(&pass.total))];
    for (cause, times) in &pass.causes {
        rows.push((format!("  {}", cause.words()), Percentiles::of(times)));
    }
    for line in &pass.lines {
        rows.push((format!("  line {} came first", line.name), Percentiles::of(&line.won)));
    }
    for (stage, times) in &pass.stages {
        if pass.stamps.is_some() || !matches!(stage, Stage::Kernel | Stage::Woken) {
            rows.push((stage.words().to_owned(), Percentiles::of(times)));
        }
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pass_is_named_by_what_it_is() {
        let asked = |rate: f64, burst, size, method, stamps| {
            PassSpec { load: Load { micro_rate: (rate * 1e6) as u64, burst, size }, method, stamps }.label()
        };
        assert_eq!(asked(100_000.0, 1, 64, Method::Socket, false), "100k/s 64 B");
        assert_eq!(asked(1_500_000.0, 16, 512, Method::Packet, true), "1.5M/s 512 B burst 16 packet stamps");
        assert_eq!(asked(1_234.0, 1, 16, Method::Socket, false), "1234/s 16 B");
        assert_eq!(asked(0.5, 1, 16, Method::Xdp, false), "0.5/s 16 B xdp");
    }
}
