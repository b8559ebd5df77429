//! The final report of `twinline publish`, as text and as JSON.

use std::collections::BTreeMap;

use indicatif::{HumanBytes, HumanCount, ProgressBar};
use serde::Serialize;

use super::super::say;
use super::super::sending::{LatenessNs, late_text};
use super::Args;
use twinline_core::frame::{Line, Session};
use twinline_node::config::Feed;
use twinline_node::publisher::{GroupRange, PublishReport, PublishedLine};

/// How many ranges of lost numbers `--json` lists.
const JSON_RANGES_MAX: usize = 1_024;

/// Prints the warnings that were not printed yet.
pub(super) fn warn(progress: &ProgressBar, report: &PublishReport, told: &mut usize) {
    progress.suspend(|| {
        for warning in &report.warnings[*told..] {
            say(format_args!("warning: {warning}"));
        }
    });
    *told = report.warnings.len();
}

/// Prints the report as text.
pub(super) fn summarise(feed: &Feed, seed: u64, report: &PublishReport) {
    let seconds = report.elapsed.0 as f64 / 1e9;
    say(format_args!(
        "{} messages in {seconds:.3} s ({} per second), seed {}{}",
        HumanCount(report.messages),
        HumanCount(report.rate() as u64),
        seed,
        if report.stopped { ", stopped" } else { "" }
    ));
    for (line, tally) in feed.lines.iter().zip(&report.lines) {
        let PublishedLine { datagrams, messages, bytes, errors, planned, .. } = tally;
        let faults = [
            (planned.lost, "lost"),
            (planned.lost_in_bursts, "lost in bursts"),
            (planned.lost_in_outages, "lost in outages"),
            (planned.duplicated, "sent twice"),
            (planned.reordered, "reordered"),
            (planned.corrupted, "corrupted"),
            (planned.hurried, "hurried"),
            (*errors, "not sent because of errors"),
        ];
        let faults: String =
            faults.iter().filter(|(n, _)| *n > 0).map(|(n, what)| format!(", {} {what}", HumanCount(*n))).collect();
        say(format_args!(
            "line {}: {} datagrams, {} messages, {}{faults}",
            line.name,
            HumanCount(*datagrams),
            HumanCount(*messages),
            HumanBytes(*bytes)
        ));
        if let Some(error) = &tally.last_error {
            say(format_args!("line {}: the last error was: {error}", line.name));
        }
    }
    say(format_args!("lost on all lines: {}", HumanCount(report.truth.lost())));
    if !report.lateness.is_empty() {
        say(format_args!("late by: {}", late_text(&report.lateness)));
    }
}

/// The report as JSON.
#[derive(Serialize)]
pub(super) struct PublishSummary<'a> {
    feed: &'a str,
    framing: &'a str,
    session: String,
    first: u64,
    seed: u64,
    messages: u64,
    numbers: u64,
    lost_on_all: u64,
    corrupt_on_all: u64,
    lost_ranges: Vec<LostRange>,
    lost_ranges_omitted: u64,
    stopped: bool,
    elapsed_ns: u64,
    messages_per_second: f64,
    lateness_ns: LatenessNs,
    lines: BTreeMap<&'a str, PublishedLineSummary>,
    warnings: Vec<String>,
}

#[derive(Serialize)]
struct LostRange {
    group: u16,
    first: u64,
    end: u64,
}

#[derive(Serialize)]
struct PublishedLineSummary {
    datagrams: u64,
    messages: u64,
    bytes: u64,
    heartbeats: u64,
    lost_numbers: u64,
    dropped_loss: u64,
    dropped_burst: u64,
    dropped_outage: u64,
    duplicated: u64,
    reordered: u64,
    corrupted: u64,
    hurried: u64,
    send_errors: u64,
}

impl<'a> PublishSummary<'a> {
    pub(super) fn new(feed: &'a Feed, args: &Args, session: Session, report: &PublishReport) -> PublishSummary<'a> {
        let ranges = report.truth.lost_ranges();
        let range = |r: &GroupRange| LostRange { group: r.group, first: r.numbers.first.0, end: r.numbers.end.0 };
        let line = |(line, tally): (usize, &PublishedLine)| PublishedLineSummary {
            datagrams: tally.datagrams,
            messages: tally.messages,
            bytes: tally.bytes,
            heartbeats: tally.heartbeats,
            lost_numbers: report.truth.lost_on(Line(line as u8)),
            dropped_loss: tally.planned.lost,
            dropped_burst: tally.planned.lost_in_bursts,
            dropped_outage: tally.planned.lost_in_outages,
            duplicated: tally.planned.duplicated,
            reordered: tally.planned.reordered,
            corrupted: tally.planned.corrupted,
            hurried: tally.planned.hurried,
            send_errors: tally.errors,
        };
        let names = feed.lines.iter().map(|line| line.name.as_str());
        PublishSummary {
            feed: &feed.name,
            framing: feed.framing.name(),
            session: session.to_string(),
            first: args.messages.first,
            seed: args.faults.seed,
            messages: report.messages,
            numbers: report.truth.numbers(),
            lost_on_all: report.truth.lost(),
            corrupt_on_all: report.truth.corrupt(),
            lost_ranges: ranges.iter().take(JSON_RANGES_MAX).map(range).collect(),
            lost_ranges_omitted: ranges.len().saturating_sub(JSON_RANGES_MAX) as u64 + report.truth.ranges_omitted(),
            stopped: report.stopped,
            elapsed_ns: report.elapsed.0,
            messages_per_second: report.rate(),
            lateness_ns: LatenessNs::of(&report.lateness),
            lines: names.zip(report.lines.iter().enumerate().map(line)).collect(),
            warnings: report.warnings.iter().map(ToString::to_string).collect(),
        }
    }
}
