//! `twinline capture`.

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;
use std::thread;

use anyhow::{Context, anyhow};

use super::check::print;
use super::live::housekeeping::{Housekeeping, StatusLine};
use super::live::recording::{Captured, Recording};
use super::live::tally::Tally;
use super::live::{self, Ending, Listen, Listening, Stops, pause, pin};
use super::{Failure, Outcome, say};
use twinline_core::arbiter::Settings;
use twinline_node::handler::desk;
use twinline_node::handler::{Hot, record, settings};
use twinline_node::source::method::WithSource;
use twinline_node::source::{self, Source};

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
    let rules = feeds.first().map(|(_, framing)| framing.rules());
    let stops = Stops::on_signals()?;
    let clock = live::clock();
    let listening = live::listen(feeds, &args.listen, true)?.pop();
    let (Some(listening), Some(rules)) = (listening, rules) else { return Ok(ExitCode::SUCCESS) };
    let (tap, recording) = Recording::start(&args.output, &listening.feed, clock, listening.voice.clone())?;
    listening.tell();
    let Listening { feed, voice, live, watch, core, spin, .. } = listening;
    let settings = settings(&feed, rules);
    let (desk, inquiry) = desk::open().map_err(Failure::run)?;
    let mut hot = Hot::new(clock, spin, stops.both(), desk);
    hot.tap = Some(tap);
    let thread = thread::Builder::new().name("receiver".into()).spawn({
        let voice = voice.clone();
        move || {
            pin(core, &voice);
            live.with(Receiving { settings, hot })
        }
    });
    let thread = thread.context("cannot start the thread that receives")?;
    let halves = (watch, inquiry);
    let (own, status) = (stops.own.clone(), StatusLine::Datagrams);
    let mut housekeeping = Housekeeping::new(clock, voice.clone(), &feed.lines, halves, &args.listen, own, status);
    let tally = Tally::new(voice, Vec::new());
    while !thread.is_finished() {
        pause();
        housekeeping.tick(&tally);
    }
    let (mut ending, error) =
        thread.join().map_err(|_| Failure::run(anyhow!("the thread that receives has failed")))?;
    housekeeping.end();
    let Captured { records, dropped, error: cut_off } =
        recording.finish(ending.at.unwrap_or_else(|| clock.now()), ending.dropped);
    ending.dropped = dropped;
    housekeeping.say_losses(&ending);
    let summary = format!("{}{records} datagrams in {}\n", housekeeping.summary(&ending), args.output.display());
    if args.output.as_os_str() == "-" {
        summary.lines().for_each(say);
    } else {
        print(&summary).context("cannot write the report to standard output")?;
    }
    if let Some(error) = error {
        return Err(Failure::run(anyhow!("the sockets cannot be received from any more: {error}")));
    }
    match cut_off {
        Some(error) => Err(Failure::run(anyhow!(error))),
        None => Ok(ExitCode::SUCCESS),
    }
}

/// The thread that receives, but for its source.
struct Receiving {
    settings: Settings,
    hot: Hot,
}

impl WithSource for Receiving {
    type Output = (Ending, Option<io::Error>);

    fn with<S: Source + source::CountedSource>(self, mut source: S) -> Self::Output {
        let Receiving { settings, mut hot } = self;
        let outcome = record(settings, &mut source, &mut hot);
        let ending = Ending { at: hot.ended_at(), facts: source.facts(), dropped: hot.dropped() };
        (ending, outcome.err())
    }
}
