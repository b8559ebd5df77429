//! `twinline arbitrate`: the arbiter over capture files. The other verbs that read captures share its output arguments, its
//! progress bar and its exit codes for capture errors.

use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;

use indicatif::{ProgressBar, ProgressStyle};

use super::output::Output;
use super::{Failure, Outcome, feed, say};
use twinline_analysis::report::{RunReport, STOPPED, captures_source, nothing_of_the_feed};
use twinline_core::framing::{Framing, WithFraming};
use twinline_node::capture::{CaptureError, CaptureInput, Captures};
use twinline_node::config::Feed;
use twinline_node::handler::Handler;
use twinline_node::offline::{self, OfflineHooks};
use twinline_node::os::Stop;

/// Arbitrate capture files, offline, as fast as the disk allows
///
/// The arbiter is the same as in `run`: over a capture written by `run --capture`, messages and events equal those of the live run.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  twinline arbitrate feeds/cme-mdp3.toml day.pcapng
  twinline arbitrate feeds/cme-mdp3.toml A=nic0.pcap.gz B=nic1.pcap.zst --json --events events.jsonl")]
pub(super) struct Args {
    /// The feed file
    feed: PathBuf,
    /// Captures: pcap or pcapng, plain, gzip or zstd. Several are merged by time. LINE=FILE assigns a whole file to a line;
    /// `-` is standard input
    #[arg(required = true, value_name = "CAPTURE")]
    captures: Vec<PathBuf>,
    #[command(flatten)]
    outputs: OutputArgs,
}

/// What to write besides the text report.
#[derive(Debug, clap::Args)]
pub(super) struct OutputArgs {
    /// Print the report as one JSON object on standard output
    #[arg(long)]
    pub(super) json: bool,
    /// Write the ordered output, each message after its length (2 bytes, big-endian); `-` is standard output
    #[arg(long, value_name = "FILE")]
    pub(super) messages: Option<PathBuf>,
    /// Write the events, one JSON object per line; `-` is standard output
    #[arg(long, value_name = "FILE")]
    pub(super) events: Option<PathBuf>,
}

impl OutputArgs {
    pub(super) fn open(&self, feed: &Feed, rules: &twinline_core::frame::SequenceRules) -> Result<Output, Failure> {
        Output::open(feed, rules, self.messages.as_deref(), self.events.as_deref(), self.json).map_err(Failure::usage)
    }

    /// Whether standard output is free for the text report.
    pub(super) fn stdout_is_free(&self) -> bool {
        let taken = |path: &Option<PathBuf>| path.as_ref().is_some_and(|path| path.as_os_str() == "-");
        !self.json && !taken(&self.messages) && !taken(&self.events)
    }
}

pub(super) fn run(args: Args) -> Outcome {
    let (feed, framing) = feed::load(&args.feed)?;
    let inputs: Vec<CaptureInput> = args.captures.iter().map(|path| CaptureInput::parse(path, &feed)).collect();
    let captures = Captures::open(&inputs, &feed).map_err(capture_failure)?;
    let stop = Stop::on_signals().map_err(Failure::run)?;
    framing.with(Arbitrating { args, feed, captures, stop })
}

/// A fault in the arguments is a usage failure; a fault in a file's content is not.
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

/// How far captures were read, on a terminal only: a bar over the bytes of the files on disk. If one is a pipe, whose size is
/// unknown, the bytes are counted instead.
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

/// Shows the [`progress`] of reading captures, and lets Ctrl-C end it.
pub(super) struct ReadingProgress {
    bar: Option<ProgressBar>,
    stop: Stop,
}

impl ReadingProgress {
    pub(super) fn new(size: Option<u64>, stop: Stop) -> ReadingProgress {
        ReadingProgress { bar: progress(size), stop }
    }

    /// Shows how far the reading is. Returns whether to go on.
    pub(super) fn look(&self, position: u64) -> bool {
        if let Some(bar) = &self.bar {
            bar.set_position(position);
        }
        !self.stop.requested()
    }

    /// Removes the bar.
    pub(super) fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

impl<F> OfflineHooks<F, Output> for ReadingProgress {
    fn goes_on(&mut self, captures: &Captures, output: &Output) -> bool {
        self.look(captures.position()) && !output.failed()
    }
}

impl WithFraming for Arbitrating {
    type Output = Outcome;

    fn with<F: Framing>(self, framing: F) -> Outcome {
        let Arbitrating { args, feed, mut captures, stop } = self;
        let mut output = args.outputs.open(&feed, &framing.rules())?;
        let mut handler = Handler::new(framing, &feed);
        let mut progress = ReadingProgress::new(captures.size(), stop);
        let end =
            offline::arbitrate(&mut captures, &mut handler, &mut output, &mut progress).map_err(capture_failure)?;
        progress.finish();
        output.finish().map_err(Failure::run)?;
        let stopped = end.stopped;
        if stopped {
            say(STOPPED);
        }
        for warning in captures.warnings() {
            say(warning);
        }
        let ignored = captures.ignored();
        let report = RunReport {
            feed: &feed,
            arbiter: handler.arbiter(),
            malformed: handler.malformed(),
            gaps: &output.gaps,
            source: captures_source(&captures, &end),
            ignored,
        };
        if args.outputs.json {
            println!("{}", report.json().map_err(Failure::run)?);
        } else if args.outputs.stdout_is_free() {
            print!("{}", report.text());
        }
        if captures.datagrams() == 0 {
            say(nothing_of_the_feed(&ignored));
        }
        if let Some(error) = end.failed {
            return Err(capture_failure(error));
        }
        Ok(if stopped { ExitCode::from(130) } else { ExitCode::SUCCESS })
    }
}
