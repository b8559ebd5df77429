//! `twinline replay`: sends the datagrams of a capture again, and reports how many left and how late.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, anyhow};
use indicatif::{HumanBytes, HumanCount};
use serde::Serialize;

use super::arbitrate::{capture_failure, progress};
use super::publish::seconds;
use super::sending::{LatenessNs, SendMethod, late_text, print_send_choices, sent_by_word};
use super::{Failure, Outcome, feed, say};
use twinline_analysis::report::{Ordered, ignored_text};
use twinline_core::Nanos;
use twinline_node::capture::{CaptureInput, Captures};
use twinline_node::config::Feed;
use twinline_node::os::{Clock, Stop};
use twinline_node::replay::{ReplayError, ReplayReport, ReplaySettings, ReplayedLine, Speed, replay, route};
use twinline_node::wire::{SendChoice, UdpWire};

/// Put a capture back on the wire, on all its lines, with the recorded timing
///
/// Sends the payload of each datagram of the feed's lines, byte for byte, in the order of the capture. Due times count from the
/// first datagram, so the timing does not drift.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  twinline replay feeds/loopback.toml feeds/samples/moldudp64.pcapng.gz
  twinline replay feeds/cme-mdp3.toml day.pcapng --to feeds/samples/cme-mdp3-loopback.toml --speed 10
  twinline replay feeds/cme-mdp3.toml A=nic0.pcap.gz B=nic1.pcap.gz --speed max --json")]
pub(super) struct Args {
    /// The feed file of the capture
    feed: PathBuf,
    /// Captures: pcap or pcapng, plain, gzip or zstd. Several are merged by time. LINE=FILE assigns a whole file to a line;
    /// `-` is standard input
    #[arg(required = true, value_name = "CAPTURE")]
    captures: Vec<PathBuf>,
    /// Speed relative to the recording (10, 0.5), or 'max' for flat out. Flat out, the order is kept per line, not across lines
    #[arg(long, value_name = "N", default_value = "1", value_parser = speed)]
    speed: Speed,
    /// Send each line where this feed file has it; its lines must have the same names
    #[arg(long, value_name = "FEED")]
    to: Option<PathBuf>,
    /// How to send: through sockets or as whole frames. Sockets of this host and namespace do not hear frames, and loopback
    /// does not carry them. So `auto` uses frames only with `--speed max`, with CAP_NET_RAW, and if nobody here has joined the group
    /// by then. Unicast and datagrams longer than the MTU always go through sockets
    #[arg(long, value_name = "HOW", default_value = "auto", value_enum)]
    send: SendMethod,
    /// Stop after N seconds
    #[arg(long, value_name = "N", value_parser = seconds)]
    seconds: Option<Nanos>,
    /// Print the final report as one JSON object on standard output
    #[arg(long)]
    json: bool,
}

fn speed(text: &str) -> Result<Speed, String> {
    if text == "max" {
        return Ok(Speed::Max);
    }
    let times = text.parse().ok().filter(|times: &f64| (1e-6..=1e6).contains(times));
    times.map(Speed::Times).ok_or_else(|| "expected a number from 0.000001 to 1000000, or max; for example 10".into())
}

pub(super) fn run(args: Args) -> Outcome {
    let (feed, _) = feed::load(&args.feed)?;
    let to = match &args.to {
        None => feed.clone(),
        Some(path) => {
            let (to, _) = feed::load(path)?;
            let routed = route(&feed, to).with_context(|| format!("--to {}", path.display()));
            routed.map_err(Failure::usage)?
        }
    };
    let inputs: Vec<CaptureInput> = args.captures.iter().map(|path| CaptureInput::parse(path, &feed)).collect();
    let captures = Captures::open(&inputs, &feed).map_err(capture_failure)?;
    let mut wire = UdpWire::open_by(&to, args.send.by(args.speed == Speed::Max)).map_err(|error| {
        let hint = if args.to.is_none() { "; --to FEED sends the lines where another feed file has them" } else { "" };
        Failure::run(anyhow!("{error}{hint}"))
    })?;
    print_send_choices(&to, &wire);
    let stop = Stop::on_signals().context("cannot install signal handlers")?;
    let bar = progress(captures.size());
    let mut settings = ReplaySettings::new(feed.lines.len(), args.speed);
    settings.limit = args.seconds;
    let (report, result) = replay(captures, &mut wire, settings, Clock::start(), &stop, |report| {
        if let Some(bar) = &bar {
            bar.set_position(report.read.position);
            bar.set_message(format!("{} datagrams", HumanCount(report.datagrams())));
        }
    });
    if let Some(bar) = &bar {
        bar.finish_and_clear();
    }
    for warning in &report.read.warnings {
        say(warning);
    }
    summarise(&args, &feed, &report);
    if args.json {
        let object = serde_json::to_string(&ReplaySummary::new(&args, &feed, &to, &report, &wire));
        writeln!(io::stdout(), "{}", object.context("cannot print the report")?)
            .context("cannot write to standard output")?;
    }
    finish(&feed, &to, &report, result)
}

fn finish(feed: &Feed, to: &Feed, report: &ReplayReport, result: Result<(), ReplayError>) -> Outcome {
    match result {
        Ok(()) => {}
        Err(ReplayError::Capture(error)) => return Err(capture_failure(error)),
        Err(ReplayError::Wire { line, group, error }) => {
            let line = &to.lines[line.index()];
            let to = line.groups[usize::from(group)];
            return Err(Failure::run(anyhow!("line {}: cannot send to {to}: {error}", line.name)));
        }
        Err(error) => return Err(Failure::run(error)),
    }
    if report.datagrams() == 0 && report.failed() > 0 {
        return Err(Failure::run(anyhow!("no datagram could be sent; does the interface exist, and is it up?")));
    }
    if report.read.datagrams == 0 && !report.stopped && !report.limited {
        return Err(Failure::run(anyhow!(
            "no datagram of {} was in the captures: {} were for other groups, {} not UDP over IPv4; \
             the feed file's groups and ports must be those of the capture",
            feed.name,
            report.read.ignored.other_groups,
            report.read.ignored.not_udp
        )));
    }
    Ok(ExitCode::SUCCESS)
}

/// Prints the report as text.
fn summarise(args: &Args, feed: &Feed, report: &ReplayReport) {
    let why = match (report.stopped, report.limited) {
        (true, _) => ", stopped",
        (false, true) => ", ended by --seconds",
        _ => "",
    };
    let recorded = report.recorded.0 as f64 / 1e9;
    let pace = match args.speed {
        Speed::Times(1.0) => format!("recorded in {recorded:.3} s"),
        Speed::Times(times) => format!("recorded in {recorded:.3} s, at {times} times that speed"),
        Speed::Max => format!("recorded in {recorded:.3} s, flat out"),
    };
    say(format_args!(
        "{} datagrams, {}, in {:.3} s ({} per second), {pace}{why}",
        HumanCount(report.datagrams()),
        HumanBytes(report.bytes()),
        report.elapsed.0 as f64 / 1e9,
        HumanCount(report.rate() as u64),
    ));
    for (line, tally) in feed.lines.iter().zip(&report.lines) {
        let ReplayedLine { datagrams, bytes, unreachable, full, nobody, refused, last_error } = tally;
        let failed = [
            (*unreachable, "not sent, the link was down"),
            (*full, "not sent, a queue was full"),
            (*nobody, "not sent, nobody was listening"),
            (*refused, "refused by the system"),
        ];
        let failed: String =
            failed.iter().filter(|(n, _)| *n > 0).map(|(n, what)| format!(", {} {what}", HumanCount(*n))).collect();
        let (datagrams, bytes) = (HumanCount(*datagrams), HumanBytes(*bytes));
        say(format_args!("line {}: {datagrams} datagrams, {bytes}{failed}", line.name));
        if let Some(error) = last_error {
            say(format_args!("line {}: the last error was: {error}", line.name));
        }
    }
    if !report.lateness.is_empty() {
        let drift = report.drift().map_or(String::new(), |drift| {
            let sign = if drift.ns < 0 { "-" } else { "" };
            format!(
                "; drift {sign}{} in total, {:.0} ns per second",
                Nanos(drift.ns.unsigned_abs()),
                drift.ns_per_second
            )
        });
        say(format_args!("late by: {}{drift}", late_text(&report.lateness)));
    }
    if report.starved > 0 {
        say(format_args!("reading the capture was too slow {} times, which made datagrams late", report.starved));
    }
    let ignored = ignored_text(&report.read.ignored);
    if !ignored.is_empty() {
        say(format_args!("ignored: {ignored}"));
    }
    if report.read.stamps_raised > 0 {
        let raised = HumanCount(report.read.stamps_raised);
        say(format_args!(
            "{raised} stamps went back in the capture: those datagrams kept its order, and were sent right after the one before"
        ));
    }
}

/// The report as JSON.
#[derive(Serialize)]
struct ReplaySummary<'a> {
    feed: &'a str,
    to: &'a str,
    /// `null` is flat out.
    speed: Option<f64>,
    datagrams: u64,
    bytes: u64,
    not_sent: u64,
    lines: BTreeMap<&'a str, ReplayedLineSummary<'a>>,
    elapsed_ns: u64,
    recorded_ns: u64,
    planned_ns: Option<u64>,
    datagrams_per_second: f64,
    lateness_ns: Option<LatenessNs>,
    /// The median lateness in the last tenth of the run minus that in the first.
    drift_ns: Option<i64>,
    drift_ns_per_second: Option<f64>,
    starved: u64,
    stamps_raised: u64,
    ignored: Ordered<&'static str, u64>,
    stopped: bool,
    limited: bool,
    warnings: Vec<String>,
}

#[derive(Serialize)]
struct ReplayedLineSummary<'a> {
    sent_by: &'a str,
    sent_by_reason: Option<&'a str>,
    datagrams: u64,
    bytes: u64,
    unreachable: u64,
    full: u64,
    nobody: u64,
    refused: u64,
    last_error: Option<&'a str>,
}

impl<'a> ReplaySummary<'a> {
    fn new(
        args: &Args,
        feed: &'a Feed,
        to: &'a Feed,
        report: &'a ReplayReport,
        wire: &'a UdpWire,
    ) -> ReplaySummary<'a> {
        let line = |(tally, taken): (&'a ReplayedLine, &'a SendChoice)| ReplayedLineSummary {
            sent_by: sent_by_word(taken.packet),
            sent_by_reason: taken.why.as_deref(),
            datagrams: tally.datagrams,
            bytes: tally.bytes,
            unreachable: tally.unreachable,
            full: tally.full,
            nobody: tally.nobody,
            refused: tally.refused,
            last_error: tally.last_error.as_deref(),
        };
        ReplaySummary {
            feed: &feed.name,
            to: &to.name,
            speed: match args.speed {
                Speed::Times(times) => Some(times),
                Speed::Max => None,
            },
            datagrams: report.datagrams(),
            bytes: report.bytes(),
            not_sent: report.failed(),
            lines: feed
                .lines
                .iter()
                .map(|line| line.name.as_str())
                .zip(report.lines.iter().zip(wire.choices()).map(line))
                .collect(),
            elapsed_ns: report.elapsed.0,
            recorded_ns: report.recorded.0,
            planned_ns: report.planned.map(|planned| planned.0),
            datagrams_per_second: report.rate(),
            lateness_ns: (!report.lateness.is_empty()).then(|| LatenessNs::of(&report.lateness)),
            drift_ns: report.drift().map(|drift| drift.ns),
            drift_ns_per_second: report.drift().map(|drift| drift.ns_per_second),
            starved: report.starved,
            stamps_raised: report.read.stamps_raised,
            ignored: Ordered(report.read.ignored.by_reason()),
            stopped: report.stopped,
            limited: report.limited,
            warnings: report.read.warnings.iter().map(ToString::to_string).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_speed_is_a_number_above_zero_or_max() {
        assert_eq!(speed("max"), Ok(Speed::Max));
        assert_eq!(speed("0.5"), Ok(Speed::Times(0.5)));
        for wrong in ["0", "-1", "fast", "inf", "NaN", "1e9", ""] {
            assert!(speed(wrong).unwrap_err().contains("for example 10"), "{wrong}");
        }
    }
}
