//! `twinline capture`: records what arrives on the lines, and arbitrates nothing.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, anyhow};

use super::check::print;
use super::live::housekeeping::{Housekeeping, StatusLine};
use super::live::tally::Tally;
use super::live::{self, ListenArgs, ListenSettings, Listening, pause};
use super::run::record;
use super::{Failure, Outcome, say};
use twinline_node::os::Clock;
use twinline_node::runtime::CaptureSummary;

/// Record the lines as pcapng, with nanosecond timestamps
///
/// Nothing is arbitrated. `twinline arbitrate FEED FILE` does that later, with the same result every time. The file has one
/// interface per line, named after the line.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  twinline capture feeds/loopback.toml -o day.pcapng
  twinline capture feeds/loopback.toml -o - --seconds 10 | gzip > ten.pcapng.gz")]
pub(super) struct Args {
    /// The feed file
    feed: PathBuf,
    /// The file to write; `-` is standard output
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    #[command(flatten)]
    listen: ListenArgs,
}

pub(super) fn run(args: Args) -> Outcome {
    let feeds = live::load(std::slice::from_ref(&args.feed))?;
    let stop = live::stop_on_signals()?;
    let clock = Clock::start();
    let settings = ListenSettings { listen: &args.listen, clock, senders: true, until_end: false, stop: &stop };
    let Some(listening) = live::listen(feeds, settings)?.pop() else { return Ok(ExitCode::SUCCESS) };
    let (tap, recorder) = record(&args.output, listening.joined.feed(), clock, &listening.notifier)?;
    listening.tell();
    let Listening { joined, notifier } = listening;
    let lines = joined.feed().lines.clone();
    let running = joined.tap(tap).start_recording().map_err(Failure::run)?;
    let mut housekeeping = Housekeeping::new(clock, notifier.clone(), &lines, &args.listen, StatusLine::Datagrams);
    let tally = Tally::new(notifier, Vec::new());
    while !running.is_finished() {
        pause();
        housekeeping.tick(&running, &tally);
    }
    let mut ended = running.join().map_err(Failure::run)?;
    housekeeping.say_last(&ended);
    let CaptureSummary { records, dropped, error: cut_off } =
        recorder.finish(ended.at.unwrap_or_else(|| clock.now()), ended.dropped);
    ended.dropped = dropped;
    housekeeping.say_losses(&ended);
    let summary = format!("{}{records} datagrams in {}\n", housekeeping.summary(&ended), args.output.display());
    if args.output.as_os_str() == "-" {
        summary.lines().for_each(say);
    } else {
        print(&summary).context("cannot write the report to standard output")?;
    }
    if let Some(error) = ended.error {
        return Err(Failure::run(anyhow!("cannot receive from the sockets any more: {error}")));
    }
    match cut_off {
        Some(error) => Err(Failure::run(anyhow!(error))),
        None => Ok(ExitCode::SUCCESS),
    }
}
