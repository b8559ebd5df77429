//! The demo's closing report: the numbers, the picture, and what was proved.

use std::fmt::{self, Write as _};

use hdrhistogram::Histogram;
use indicatif::HumanCount;
use serde_json::{Value, json};

use twinline_core::Nanos;
use twinline_node::os::Spin;

use super::checker::{Gaps, Judgement, Violation};
use super::parts::Latency;
use super::picture::{Paint, histogram, percent, span, wrapped};
use super::schedule::{GAP_TIMEOUT, NAMES, Schedule};

/// The percentiles that are reported.
const QUANTILES: [(&str, f64); 5] = [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p99.9", 0.999), ("max", 1.0)];
/// The width of the text.
const WIDTH: usize = 76;

/// What became of the messages on one line.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct LineResults {
    /// Messages that the line's faults took.
    pub(super) lost: u64,
    /// Messages that reached the arbiter.
    pub(super) received: u64,
    /// Messages that the line brought first, of those that were delivered.
    pub(super) first: u64,
    /// Copies that the arbiter dropped.
    pub(super) duplicate: u64,
    /// Datagrams that the kernel dropped, its socket buffer full.
    pub(super) overflow: u64,
    /// The size of that buffer, in bytes.
    pub(super) buffer: usize,
}

/// Everything that the report needs.
pub(super) struct Results {
    pub(super) schedule: Schedule,
    pub(super) stopped: bool,
    pub(super) elapsed: Nanos,
    pub(super) spin: Spin,
    pub(super) cores: usize,
    /// Messages that were sent, including those that the faults took.
    pub(super) sent: u64,
    /// Messages that the faults of every line took.
    pub(super) lost_on_both: u64,
    pub(super) lines: [LineResults; NAMES.len()],
    pub(super) judgement: Judgement,
    pub(super) gaps: Gaps,
    /// Messages that the arbiter counts as late.
    pub(super) late: u64,
    pub(super) overruns: u64,
    pub(super) latency: Latency,
    /// How late datagrams were sent, in nanoseconds: a part of the latency.
    pub(super) lateness: Histogram<u64>,
}

impl Results {
    /// Messages that were sent on a line but dropped by the kernel before the arbiter could receive them.
    fn dropped_on(&self, line: usize) -> u64 {
        self.sent.saturating_sub(self.lines[line].lost + self.lines[line].received)
    }

    /// Messages that the kernel dropped on every line on which they were sent.
    fn dropped(&self) -> u64 {
        self.judgement.never_came.saturating_sub(self.lost_on_both)
    }

    fn duplicates(&self) -> u64 {
        self.lines.iter().map(|line| line.duplicate).sum()
    }

    fn filled(&self) -> u64 {
        self.gaps.filled.iter().sum()
    }

    /// The object of `--json`.
    pub(super) fn json(&self) -> Value {
        let line = |line: usize| {
            let LineResults { lost, received, first, duplicate, overflow, buffer } = self.lines[line];
            json!({
                "lost": lost,
                "dropped_by_kernel": self.dropped_on(line),
                "received": received,
                "first_arrivals": first,
                "duplicate": duplicate,
                "socket_overflow": overflow,
                "socket_buffer_bytes": buffer,
                "filled": self.gaps.filled[line],
            })
        };
        let lines = (0..NAMES.len()).map(|at| (NAMES[at].to_owned(), line(at))).collect::<serde_json::Map<_, _>>();
        let quantiles = |latency: &Histogram<u64>| {
            let quantile = |(name, q): &(&str, f64)| ((*name).to_owned(), latency.value_at_quantile(*q).into());
            let mut object = serde_json::Map::from_iter([("count".to_owned(), latency.len().into())]);
            object.extend(QUANTILES.iter().map(quantile));
            object
        };
        let violations =
            |violation: &Violation| (violation.name().into(), self.judgement.violations.of(*violation).count.into());
        json!({
            "passed": self.judgement.violations.none(),
            "failures": Violation::ALL.iter().map(violations).collect::<serde_json::Map<_, _>>(),
            "stopped": self.stopped,
            "seed": self.schedule.seed,
            "messages_per_second": self.schedule.rate,
            "elapsed_ns": self.elapsed.0,
            "gap_timeout_ns": GAP_TIMEOUT.0,
            "threads_share_cores": self.spin.shared(),
            "sent": self.sent,
            "lost_on_both": self.lost_on_both,
            "dropped_by_kernel_on_both": self.dropped(),
            "came_too_late": self.judgement.late,
            "delivered": self.judgement.delivered,
            "reported_lost": self.judgement.reported,
            "overrun": self.judgement.overrun,
            "overruns": self.overruns,
            "duplicates_dropped": self.duplicates(),
            "late": self.late,
            "lines": lines,
            "gaps": {
                "opened": self.gaps.opened,
                "messages": self.gaps.numbers,
                "filled": self.filled(),
                "lost": self.gaps.lost,
            },
            "latency_ns": quantiles(&self.latency.all()),
            "latency_straight_ns": quantiles(&self.latency.straight),
            "latency_held_ns": quantiles(&self.latency.held),
            "publisher_late_ns": quantiles(&self.lateness),
        })
    }

    /// The report as text.
    pub(super) fn text(&self, paint: Paint) -> String {
        let mut out = String::new();
        // writing to a string does not fail
        let _ = self.write(&mut out, paint);
        out
    }

    fn write(&self, out: &mut String, paint: Paint) -> fmt::Result {
        let Schedule { rate, seed, .. } = self.schedule;
        writeln!(
            out,
            "\n{}{}: {:.1} s, {} messages/s on two lines over loopback, seed {seed}\n",
            paint.bold("twinline demo"),
            if self.stopped { ", stopped early" } else { "" },
            self.elapsed.0 as f64 / 1e9,
            HumanCount(rate)
        )?;
        self.write_table(out, paint)?;
        self.write_latency(out, paint)?;
        self.write_proof(out, paint)?;
        writeln!(
            out,
            "\n{} twinline check feeds/loopback.toml; twinline run feeds/loopback.toml",
            paint.dim("Try next:")
        )
    }

    fn write_table(&self, out: &mut String, paint: Paint) -> fmt::Result {
        let heads = format!("  {:<32}{:>12}{:>12}{:>12}", "messages", "line A", "line B", "together");
        writeln!(out, "{}", paint.dim(&heads))?;
        let [a, b] = &self.lines;
        let mut row = |what: &str, a: u64, b: u64, both: Option<u64>| {
            let count = |n: u64| HumanCount(n).to_string();
            let both = both.map_or(String::new(), |n| format!("{:>12}", count(n)));
            writeln!(out, "  {what:<32}{:>12}{:>12}{both}", count(a), count(b))
        };
        row("sent", self.sent, self.sent, Some(self.sent))?;
        row("lost by the line's faults", a.lost, b.lost, Some(self.lost_on_both))?;
        row("dropped by the kernel", self.dropped_on(0), self.dropped_on(1), Some(self.dropped()))?;
        row("received by the arbiter", a.received, b.received, Some(self.sent - self.judgement.never_came))?;
        row("came first, and delivered", a.first, b.first, Some(self.judgement.delivered))?;
        row("duplicates dropped", a.duplicate, b.duplicate, Some(self.duplicates()))?;
        row("filled a gap", self.gaps.filled[0], self.gaps.filled[1], Some(self.filled()))?;
        row("socket overflow, datagrams", a.overflow, b.overflow, None)?;
        let count = HumanCount;
        writeln!(
            out,
            "\n  {} gaps opened over {} messages: {} filled, {} lost; {} late",
            count(self.gaps.opened),
            count(self.gaps.numbers),
            count(self.filled()),
            count(self.gaps.lost),
            count(self.late)
        )
    }

    fn write_latency(&self, out: &mut String, paint: Paint) -> fmt::Result {
        let all = self.latency.all();
        if all.is_empty() {
            return Ok(());
        }
        let title = "latency, from the intended send time to the client's read";
        writeln!(out, "\n  {}", paint.dim(title))?;
        let names: String = QUANTILES.iter().map(|(name, _)| format!("{name:>10}")).collect();
        let heads = format!("  {:<15}{:>11}{names}", "", "messages");
        writeln!(out, "{}", paint.dim(&heads))?;
        let of = [("straight through", &self.latency.straight), ("held for a gap", &self.latency.held), ("all", &all)];
        for (what, latency) in of.iter().filter(|(_, latency)| !latency.is_empty()) {
            let at = |(_, q): &(&str, f64)| format!("{:>10}", span(latency.value_at_quantile(*q)));
            let quantiles: String = QUANTILES.iter().map(at).collect();
            writeln!(out, "  {what:<16}{:>10}{quantiles}", HumanCount(latency.len()).to_string())?;
        }
        let late = |q| span(self.lateness.value_at_quantile(q));
        writeln!(
            out,
            "  of that, lateness of the publisher: p50 {}, p99 {}, max {}\n",
            late(0.5),
            late(0.99),
            late(1.0)
        )?;
        for row in histogram(&self.latency, 28, paint) {
            writeln!(out, "  {row}")?;
        }
        if !self.latency.held.is_empty() {
            let marks = format!("{} straight through   {} held for a gap", paint.cyan("█"), paint.dim("░"));
            writeln!(out, "  {:>18}{marks}", "")?;
        }
        let cores = if self.cores == 1 { "core" } else { "cores" };
        let spin = format!("{} usable {cores} for publisher, arbiter and client: {}.", self.cores, self.spin);
        writeln!(out)?;
        wrapped(&spin, WIDTH).iter().try_for_each(|line| writeln!(out, "  {line}"))
    }

    fn write_proof(&self, out: &mut String, paint: Paint) -> fmt::Result {
        let violations = &self.judgement.violations;
        writeln!(out)?;
        if violations.none() {
            writeln!(out, "{}", paint.green(&paint.bold("PROVED")))?;
        } else {
            writeln!(out, "{}", paint.red(&paint.bold("FAILED")))?;
        }
        for violation in Violation::ALL {
            let found = violations.of(violation);
            if found.count > 0 {
                let first: Vec<String> = found.first.iter().map(u64::to_string).collect();
                let more = if found.count > found.first.len() as u64 { ", ..." } else { "" };
                let text =
                    format!("{} {}: number {}{more}", HumanCount(found.count), violation.says(), first.join(", "));
                wrapped(&text, WIDTH).iter().try_for_each(|line| writeln!(out, "  {}", paint.red(line)))?;
            }
        }
        for line in wrapped(&self.proof(), WIDTH) {
            writeln!(out, "  {line}")?;
        }
        Ok(())
    }

    /// What happened, in plain words.
    fn proof(&self) -> String {
        let count = HumanCount;
        let Judgement { delivered, reported, overrun, late, .. } = self.judgement;
        let [a, b] = &self.lines;
        let mut text = format!(
            "{} messages were sent: {} were lost on A, {} on B, {} on both.",
            count(self.sent),
            count(a.lost),
            count(b.lost),
            count(self.lost_on_both)
        );
        let mut put = |sentence: String| {
            text.push(' ');
            text.push_str(&sentence);
        };
        if self.dropped() > 0 || self.dropped_on(0) + self.dropped_on(1) > 0 {
            put(format!(
                "The kernel dropped {} of A's and {} of B's, {} of them for good: the arbiter had no core when they \
                 arrived, and its socket buffers (A {} KiB, B {} KiB) were full. That is the machine's loss, not a line's.",
                count(self.dropped_on(0)),
                count(self.dropped_on(1)),
                count(self.dropped()),
                a.buffer / 1024,
                b.buffer / 1024
            ));
        }
        if late > 0 {
            let timeout = span(GAP_TIMEOUT.0);
            put(format!("{} arrived only after the gap timeout of {timeout}.", count(late)));
        }
        if overrun > 0 {
            put(format!("The client was too slow for {}, which were reported to it as an overrun.", count(overrun)));
        }
        if !self.judgement.violations.none() {
            put(format!("{} were delivered, {} were reported lost.", count(delivered), count(reported)));
            return text;
        }
        let others = if reported + overrun > 0 { "All the others" } else { "All" };
        put(format!("{others}, {} in total, were delivered once, in order and unaltered.", count(delivered)));
        if reported > 0 {
            let which = if reported == self.lost_on_both { "lost on both" } else { "that could not be delivered" };
            put(format!("The {} {which} were each reported to the client as lost, in their place.", count(reported)));
        }
        put(format!(
            "Alone, A would have lost {} of all messages and B {}; together they lost {}.",
            percent(self.sent.saturating_sub(a.received), self.sent),
            percent(self.sent.saturating_sub(b.received), self.sent),
            percent(reported, self.sent)
        ));
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::checker::Checker;
    use crate::demo::seen::Seen;

    fn results() -> Results {
        let judgement = Checker::new(10).judge(0, &Seen::new(2, 10, GAP_TIMEOUT));
        Results {
            schedule: Schedule { rate: 20_000, seconds: 10, seed: 7 },
            stopped: false,
            elapsed: Nanos::from_millis(10_050),
            spin: Spin::new(true),
            cores: 2,
            sent: 1_000,
            lost_on_both: 5,
            lines: [
                LineResults { lost: 100, received: 900, first: 600, duplicate: 300, overflow: 0, buffer: 212_992 },
                LineResults { lost: 80, received: 920, first: 395, duplicate: 525, overflow: 0, buffer: 212_992 },
            ],
            judgement: Judgement { delivered: 995, reported: 5, never_came: 5, ..judgement },
            gaps: Gaps { opened: 40, numbers: 90, filled: [25, 60], lost: 5 },
            late: 0,
            overruns: 0,
            latency: Latency::new(),
            lateness: Latency::new().straight,
        }
    }

    fn flat(text: &str) -> String {
        text.split_whitespace().collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn it_says_what_was_proved() {
        let text = results().text(Paint(false));
        let words = flat(&text);
        for sentence in [
            "1,000 messages were sent: 100 were lost on A, 80 on B, 5 on both.",
            "All the others, 995 in total, were delivered once, in order and unaltered.",
            "The 5 lost on both were each reported to the client as lost, in their place.",
            "PROVED",
            "dropped by the kernel 0 0 0",
            "Try next: twinline check feeds/loopback.toml",
        ] {
            assert!(words.contains(sentence), "{sentence}\n{text}");
        }
        assert!(!text.contains("The kernel dropped") && !text.contains('\x1b'));
        assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
    }

    #[test]
    fn what_the_kernel_dropped_is_called_that() {
        let mut results = results();
        results.lines[0].received = 890;
        results.lines[0].overflow = 3;
        (results.judgement.delivered, results.judgement.reported, results.judgement.never_came) = (993, 7, 7);
        let words = flat(&results.text(Paint(false)));
        assert!(words.contains("The kernel dropped 10 of A's and 0 of B's, 2 of them for good"), "{words}");
        assert!(words.contains("(A 208 KiB, B 208 KiB)"), "{words}");
        assert!(words.contains("The 7 that could not be delivered were each reported"), "{words}");
        assert_eq!(results.json()["lines"]["A"]["dropped_by_kernel"], 10);
    }

    #[test]
    fn a_failure_names_its_numbers() {
        let mut results = results();
        results.judgement = Checker::new(10).judge(7, &Seen::new(2, 10, GAP_TIMEOUT));
        let words = flat(&results.text(Paint(false)));
        assert!(words.contains("FAILED 7 missing without a report: number 1, 2, 3, 4, 5, ..."), "{words}");
        assert!(!words.contains("PROVED") && !words.contains("in total"), "{words}");
        assert_eq!(results.json()["failures"]["missing_without_report"], 7);
        assert_eq!(results.json()["passed"], false);
    }
}
