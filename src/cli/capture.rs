//! `twinline capture`.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, anyhow};

use super::check::print;
use super::live::housekeeping::{Housekeeping, StatusLine};
use super::live::tally::Tally;
use super::live::{self, Listen, Listening, Stops, Wanted, pause};
use super::run::record;
use super::{Failure, Outcome, say};
use twinline_node::os::Clock;
use twinline_node::runtime::CaptureSummary;

/// Record the lines as pcapng, with nanosecond stamps
///
/// Nothing is arbitrated: `twinline arbitrate FEED FILE` does that later, with the same answer every time. The file has an
/// interface a line, named as the line.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  twinline capture feeds/loopback.toml -o day.pcapng
  twinline capture feeds/loopback.toml -o - --seconds 10 | gzip > ten.pcapng.gz")]
pub(super) struct Args {
    /// The feed file
    feed: PathBuf,
    /// Where to; `-` is standard output
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    #[command(flatten)]
    listen: Listen,
}

pub(super) fn run(args: Args) -> Outcome {
    let feeds = live::load(std::slice::from_ref(&args.feed))?;
    let stops = Stops::on_signals()?;
    let clock = Clock::start();
    let wanted = Wanted { listen: &args.listen, clock, senders: true, until_end: false, stops: &stops };
    let Some(listening) = live::listen(feeds, wanted)?.pop() else { return Ok(ExitCode::SUCCESS) };
    let (tap, recorder) = record(&args.output, listening.joined.feed(), clock, &listening.voice)?;
    listening.tell();
    let Listening { joined, voice } = listening;
    let lines = joined.feed().lines.clone();
    let running = joined.tap(tap).start_recording().map_err(Failure::run)?;
    let mut housekeeping = Housekeeping::new(clock, voice.clone(), &lines, &args.listen, StatusLine::Datagrams);
    let tally = Tally::new(voice, Vec::new());
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
        return Err(Failure::run(anyhow!("the sockets cannot be received from any more: {error}")));
    }
    match cut_off {
        Some(error) => Err(Failure::run(anyhow!(error))),
        None => Ok(ExitCode::SUCCESS),
    }
}
