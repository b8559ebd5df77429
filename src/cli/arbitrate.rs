//! `twinline arbitrate`.

use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;

use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;

use super::output::Output;
use super::report::Report;
use super::{Failure, Outcome, feed, say};
use twinline_core::framing::{Framing, WithFraming};
use twinline_node::capture::{CaptureError, CaptureInput, CaptureStep, Captures};
use twinline_node::config::Feed;
use twinline_node::handler::Handler;
use twinline_node::os::signal::Stop;

/// Arbitrate capture files, offline, as fast as the disk allows
///
/// The arbiter is the one of `run`: over a capture that `run --capture` took, messages and events equal the live run's.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  twinline arbitrate feeds/cme-mdp3.toml day.pcapng
  twinline arbitrate feeds/cme-mdp3.toml A=nic0.pcap.gz B=nic1.pcap.zst --json --events events.jsonl")]
pub(super) struct Args {
    /// The feed file
    feed: PathBuf,
    /// Captures, pcap or pcapng, plain, gzip or zstd; several are merged by time. LINE=FILE says which line all of a file came
    /// by; `-` is standard input
    #[arg(required = true, value_name = "CAPTURE")]
    captures: Vec<PathBuf>,
    #[command(flatten)]
    outputs: Outputs,
}

/// What to write, besides a report for people.
#[derive(Debug, clap::Args)]
pub(super) struct Outputs {
    /// Print the report as one JSON object on standard output
    #[arg(long)]
    pub(super) json: bool,
    /// Write the ordered output, each message behind a 2-byte big-endian length; `-` is standard output
    #[arg(long, value_name = "FILE")]
    pub(super) messages: Option<PathBuf>,
    /// Write the events, one JSON object a line; `-` is standard output
    #[arg(long, value_name = "FILE")]
    pub(super) events: Option<PathBuf>,
}

impl Outputs {
    pub(super) fn open(&self, feed: &Feed, rules: &twinline_core::frame::SequenceRules) -> Result<Output, Failure> {
        Output::open(feed, rules, self.messages.as_deref(), self.events.as_deref(), self.json).map_err(Failure::usage)
    }

    /// Whether standard output is free for a report for people.
    pub(super) fn stdout_is_free(&self) -> bool {
        let taken = |path: &Option<PathBuf>| path.as_ref().is_some_and(|path| path.as_os_str() == "-");
        !self.json && !taken(&self.messages) && !taken(&self.events)
    }
}

/// How many datagrams go by between two looks at the clock face, the stop flag and the writers.
const LOOK_EVERY: u64 = 16_384;

pub(super) fn run(args: Args) -> Outcome {
    let (feed, framing) = feed::load(&args.feed)?;
    let inputs: Vec<CaptureInput> = args.captures.iter().map(|path| CaptureInput::parse(path, &feed)).collect();
    let captures = Captures::open(&inputs, &feed).map_err(capture_failure)?;
    let stop = Stop::on_signals().map_err(Failure::run)?;
    framing.with(Arbitrating { args, feed, captures, stop })
}

/// What is wrong with the arguments is a matter of usage; what is wrong with a file's content is not.
pub(super) fn capture_failure(error: CaptureError) -> Failure {
    match error {
        CaptureError::Read { .. } | CaptureError::Damaged { .. } => Failure::run(error),
        _ => Failure::usage(error),
    }
}

struct Arbitrating {
    args: Args,
    feed: Feed,
    captures: Captures,
    stop: Stop,
}

/// How far captures were read, on a terminal alone: a bar over the bytes of the files, as they lie on disk; a count of them where
/// one is a pipe, whose size nobody knows.
pub(super) fn progress(size: Option<u64>) -> Option<ProgressBar> {
    if !std::io::stderr().is_terminal() {
        return None;
    }
    let (bar, template) = match size {
        Some(size) => (ProgressBar::new(size), "{bar:40} {bytes} of {total_bytes}, {bytes_per_sec}, {eta} left {msg}"),
        None => (ProgressBar::new_spinner(), "{spinner} {bytes}, {bytes_per_sec} {msg}"),
    };
    Some(bar.with_style(ProgressStyle::with_template(template).ok()?))
}

impl WithFraming for Arbitrating {
    type Output = Outcome;

    fn with<F: Framing>(self, framing: F) -> Outcome {
        let Arbitrating { args, feed, mut captures, stop } = self;
        let mut output = args.outputs.open(&feed, &framing.rules())?;
        let mut handler = Handler::new(framing, &feed);
        let bar = progress(captures.size());
        let mut count = 0u64;
        let mut last = None;
        let mut failed = None;
        loop {
            let step = match captures.step() {
                Ok(CaptureStep::End) => break,
                Ok(step) => step,
                Err(error @ (CaptureError::Read { .. } | CaptureError::Damaged { .. })) => {
                    // what stands before is whole, and is reported
                    failed = Some(error);
                    break;
                }
                Err(error) => return Err(capture_failure(error)),
            };
            if let Some(item) = captures.item() {
                last = Some(item.stamp);
                handler.on_datagram(item.stamp, item.line, item.group, item.payload, &mut output);
                count += 1;
            }
            if count.is_multiple_of(LOOK_EVERY) || step == CaptureStep::Onward {
                if let Some(bar) = &bar {
                    bar.set_position(captures.position());
                }
                if stop.requested() || output.failed() {
                    break;
                }
            }
        }
        if let Some(bar) = &bar {
            bar.finish_and_clear();
        }
        let stopped = stop.requested();
        // cut short, the input ends where it was cut
        let end = if stopped || failed.is_some() { last } else { captures.end_stamp() };
        if let Some(end) = end {
            handler.finish(end, &mut output);
        }
        output.finish().map_err(Failure::run)?;
        if stopped {
            say("stopped: the report is of what was read until then");
        }
        for warning in captures.warnings() {
            say(warning);
        }
        let ignored = captures.ignored();
        let names: Vec<String> = feed.lines.iter().map(|line| line.name.clone()).collect();
        let report = Report {
            feed: &feed,
            names: &names,
            arbiter: handler.arbiter(),
            malformed: handler.malformed(),
            gaps: &output.gaps,
            source: json!({
                "datagrams": captures.datagrams(),
                "reassembled": captures.reassembled(),
                "stamps_raised": captures.stamps_raised(),
                "dropped": captures.dropped(),
                "whole_recording": captures.is_whole_recording() && !stopped && failed.is_none(),
            }),
            ignored,
        };
        if args.outputs.json {
            println!("{}", report.json()?);
        } else if args.outputs.stdout_is_free() {
            print!("{}", report.text());
        }
        if captures.datagrams() == 0 {
            say(format_args!(
                "no datagram of this feed was in the captures: {} were for other groups, {} not UDP over IPv4; \
                 the feed file's groups and ports must be those of the capture",
                ignored.other_groups, ignored.not_udp
            ));
        }
        if let Some(error) = failed {
            return Err(capture_failure(error));
        }
        Ok(if stopped { ExitCode::from(130) } else { ExitCode::SUCCESS })
    }
}
