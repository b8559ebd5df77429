//! `twinline run`: per feed, one thread runs the arbiter, and another writes its files, prints notices and makes the report.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::thread;

use anyhow::{Context, anyhow};
use serde_json::{Value, json};

use super::arbitrate::OutputArgs;
use super::check::print;
use super::live::housekeeping::{Housekeeping, StatusLine};
use super::live::tally::Tally;
use super::live::{self, ListenArgs, ListenSettings, Listening, Notifier, RING_CAPACITY, pause};
use super::output::{Output, named_path};
use super::{Failure, Outcome, say};
use twinline_analysis::report::RunReport;
use twinline_client::{Client, Delivery, Dropped, Polled, RingRecord, StreamKind as Stream};
use twinline_node::capture::Ignored;
use twinline_node::config::Feed;
use twinline_node::handler;
use twinline_node::os::{self, Clock, Spin};
use twinline_node::runtime::{CaptureSummary, Ended, Recorder, RecorderError, Running};

/// Run the arbiter until you stop it
///
/// Joins the lines of each feed and arbitrates them, one thread per feed. Ctrl-C stops it, and it prints the final report. If you
/// record the run with --capture, `arbitrate` over that capture gives the same messages and events, to the byte.
#[derive(Debug, clap::Args)]
#[command(after_help = "With several feeds, each feed has its own files: FILE gets .FEEDNAME before its extension. \
--json prints one object per feed, one per line.

Examples:
  twinline run feeds/loopback.toml
  twinline run feeds/loopback.toml --until-end --json --messages out.bin --events out.jsonl --capture out.pcapng
  twinline run feeds/a.toml feeds/b.toml --seconds 60 --capture day.pcapng    # day.a.pcapng and day.b.pcapng

Exit code: 0 if it was stopped or reached its end, 1 if something went wrong while it ran, 2 for wrong arguments or feed files.")]
pub(super) struct Args {
    /// The feed files
    #[arg(required = true, value_name = "FEED")]
    feeds: Vec<PathBuf>,
    #[command(flatten)]
    outputs: OutputArgs,
    /// Record what is received, as it is received, as pcapng; `-` is standard output
    #[arg(long, value_name = "FILE")]
    capture: Option<PathBuf>,
    /// Stop when the session of every channel has ended
    #[arg(long)]
    until_end: bool,
    /// Allocate and lock at the start all memory that may be needed [default: `receive.lock_memory` in the feed file]
    #[arg(long)]
    lock_memory: bool,
    #[command(flatten)]
    listen: ListenArgs,
}

pub(super) fn run(args: Args) -> Outcome {
    let mut feeds = live::load(&args.feeds)?;
    if feeds.len() > 1 && args.files().any(|path| path.as_os_str() == "-") {
        return Err(Failure::usage(anyhow!(
            "standard output cannot take the files of several feeds: give a file name, and each feed's name is put before its \
             extension"
        )));
    }
    let several = feeds.len() > 1;
    feeds.iter_mut().for_each(|feed| feed.receive.lock_memory |= args.lock_memory);
    if feeds.iter().any(|feed| feed.receive.lock_memory) {
        // before anything else is allocated: memory that is allocated under the lock is resident at once
        os::lock_memory(memory_needs(&feeds)).map_err(Failure::run)?;
    }
    let stop = live::stop_on_signals()?;
    let settings = ListenSettings {
        listen: &args.listen,
        clock: Clock::start(),
        senders: args.capture.is_some(),
        until_end: args.until_end,
        stop: &stop,
    };
    let mut feeds_to_run = Vec::new();
    for one in live::listen(feeds, settings)? {
        feeds_to_run.push(FeedRun::open(&args, one, several)?);
    }
    for one in &feeds_to_run {
        one.listening.tell();
    }
    let mut ends: Vec<FeedEnd> = Vec::new();
    thread::scope(|scope| {
        let threads: Vec<_> = feeds_to_run.into_iter().map(|one| scope.spawn(move || one.run())).collect();
        ends.extend(threads.into_iter().map(|thread| thread.join().unwrap_or_else(|_| FeedEnd::failed())));
    });
    let mut report = String::new();
    for end in &ends {
        if args.outputs.json {
            report.push_str(&end.json);
            report.push('\n');
        } else if args.outputs.stdout_is_free() && args.capture.as_ref().is_none_or(|path| path.as_os_str() != "-") {
            report.push_str(&end.text);
        }
    }
    print(&report).context("cannot write the report to standard output").map_err(Failure::run)?;
    Ok(if ends.iter().all(|end| end.fine) { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Bytes allowed for a feed's file buffers, its listed gaps and the stacks of its threads.
const OTHER_BYTES: u64 = 64 << 20;

/// The memory that a run of these feeds can take: arbiters, their output rings, and receive buffers.
fn memory_needs(feeds: &[Feed]) -> u64 {
    let needs = feeds.iter().map(|feed| {
        let arbiter = handler::settings(feed, feed.framing.rules()).memory().at_most;
        let receive = feed.receive.buffer.saturating_mul(feed.lines.len() as u64);
        // one ring for the report, one for the capture
        arbiter.saturating_add(2 * RING_CAPACITY as u64).saturating_add(receive).saturating_add(OTHER_BYTES)
    });
    needs.fold(0, u64::saturating_add)
}

impl Args {
    fn files(&self) -> impl Iterator<Item = &PathBuf> {
        [&self.outputs.messages, &self.outputs.events, &self.capture].into_iter().flatten()
    }
}

/// How a feed's run ended.
struct FeedEnd {
    fine: bool,
    json: String,
    text: String,
}

impl FeedEnd {
    fn failed() -> FeedEnd {
        FeedEnd { fine: false, json: String::new(), text: String::new() }
    }
}

/// One feed of a run, ready to start.
struct FeedRun {
    listening: Listening,
    output: Output,
    recorder: Option<Recorder>,
    listen: ListenArgs,
}

impl FeedRun {
    fn open(args: &Args, one: Listening, several: bool) -> Result<FeedRun, Failure> {
        let Listening { mut joined, notifier } = one;
        let feed = joined.feed().clone();
        let named = |path: &Option<PathBuf>| {
            let name = feed.name.replace('/', "_");
            path.as_deref().map(|path| if several { named_path(path, &name) } else { path.to_owned() })
        };
        let capture = named(&args.capture);
        let outputs = OutputArgs {
            json: args.outputs.json,
            messages: named(&args.outputs.messages),
            events: named(&args.outputs.events),
        };
        let on_stdout = |path: &Option<PathBuf>| path.as_deref() == Some(Path::new("-"));
        if on_stdout(&capture) && (outputs.json || on_stdout(&outputs.messages) || on_stdout(&outputs.events)) {
            return Err(Failure::usage(anyhow!(
                "--capture - takes standard output for itself: give the other outputs a file"
            )));
        }
        let output = outputs.open(&feed, &feed.framing.rules())?;
        let mut recorder = None;
        if let Some(path) = capture {
            let (tap, started) = record(&path, &feed, joined.clock(), &notifier)?;
            joined = joined.tap(tap);
            recorder = Some(started);
        }
        let listening = Listening { joined, notifier };
        Ok(FeedRun { listening, output, recorder, listen: ListenArgs { ..args.listen } })
    }

    fn run(self) -> FeedEnd {
        let notifier = self.listening.notifier.clone();
        self.arbitrate().unwrap_or_else(|error| {
            notifier.say(format_args!("{error:#}"));
            FeedEnd::failed()
        })
    }

    fn arbitrate(self) -> anyhow::Result<FeedEnd> {
        let FeedRun { listening: Listening { joined, notifier }, mut output, recorder, listen } = self;
        let feed = joined.feed().clone();
        let (clock, spin, core, receive) =
            (joined.clock(), joined.spin(), joined.core(), joined.method().method.name());
        let (delivery, client) = twinline_client::open(&feed.facts(), Stream::Full.into(), RING_CAPACITY)?;
        let running = joined.start(delivery)?;
        let mut housekeeping = FeedHousekeeping::new(clock, &notifier, &feed, &listen);
        housekeeping.replay(client, &running, &mut output);
        let ended = running.join()?;
        Ok(housekeeping.report(ended, output, recorder, (spin, core, receive)))
    }
}

/// Starts recording what arrives on a feed's lines.
///
/// # Errors
/// A file that cannot be written, as a usage failure.
pub(super) fn record(
    path: &Path,
    feed: &Feed,
    clock: Clock,
    notifier: &Notifier,
) -> Result<(twinline_node::handler::Tap, Recorder), Failure> {
    let trouble = {
        let notifier = notifier.clone();
        move |what: &str| notifier.say(what)
    };
    Recorder::start(path, feed, clock, trouble).map_err(|error| match error {
        // the error's text includes its cause
        RecorderError::File(error) => Failure::usage(anyhow!("{error}")),
        error => Failure::run(error),
    })
}

/// Housekeeping of one feed: turns the arbiter's output into files and notices.
struct FeedHousekeeping<'a> {
    feed: &'a Feed,
    notifier: &'a Notifier,
    clock: Clock,
    tally: Tally,
    housekeeping: Housekeeping,
    output_failed: bool,
    overrun_said: bool,
    broken: Option<String>,
}

impl<'a> FeedHousekeeping<'a> {
    fn new(clock: Clock, notifier: &'a Notifier, feed: &'a Feed, listen: &ListenArgs) -> FeedHousekeeping<'a> {
        let names = feed.lines.iter().map(|line| line.name.clone()).collect();
        FeedHousekeeping {
            feed,
            notifier,
            clock,
            tally: Tally::new(notifier.clone(), names),
            housekeeping: Housekeeping::new(clock, notifier.clone(), &feed.lines, listen, StatusLine::Arbiter),
            output_failed: false,
            overrun_said: false,
            broken: None,
        }
    }

    /// Repeats the arbiter's calls on the output until the arbiter has ended.
    fn replay(&mut self, mut client: Client, running: &Running<Delivery>, output: &mut Output) {
        loop {
            for _ in 0..4_096 {
                match client.poll_record() {
                    Ok(Polled::Item(record)) => self.take(&record, output),
                    Ok(Polled::Empty) => {
                        pause();
                        break;
                    }
                    Ok(Polled::Ended) => return,
                    Err(broken) => {
                        // nothing after it can be read, so the arbiter may stop
                        self.broken =
                            Some(format!("the report ring is broken: {broken}; everything after it is missing"));
                        running.stop();
                        return;
                    }
                }
            }
            if self.housekeeping.tick(running, &self.tally) {
                output.flush();
            }
            if let Some(error) = output.error().filter(|_| !self.output_failed) {
                self.output_failed = true;
                self.notifier.say(format_args!("{error:#}; nothing more is written there; the arbiter goes on"));
            }
        }
    }

    fn take(&mut self, record: &RingRecord<'_>, output: &mut Output) {
        if let RingRecord::Overrun(overrun) = record
            && !std::mem::replace(&mut self.overrun_said, true)
        {
            self.notifier.say(format_args!(
                "writing is too slow: the report ring overran at {} on channel {}; the messages and events there are missing",
                overrun.range, overrun.channel.key
            ));
        }
        record.replay(output);
        record.replay(&mut self.tally);
    }

    /// Finishes the files and makes the report.
    fn report(
        mut self,
        mut ended: Ended<Delivery>,
        mut output: Output,
        recorder: Option<Recorder>,
        (spin, core, receive): (Spin, Option<usize>, &str),
    ) -> FeedEnd {
        self.housekeeping.say_last(&ended);
        let mut errors: Vec<String> = Vec::new();
        if let Some(error) = &ended.error {
            errors
                .push(format!("cannot receive from the sockets any more: {error}; the report covers what came before"));
        }
        errors.extend(self.broken.take());
        if let Err(error) = output.finish() {
            errors.push(format!("{error:#}: nothing after that was written"));
        }
        let Dropped { overruns, messages, events } = ended.sink.dropped();
        if overruns > 0 {
            errors.push(format!(
                "the report ring overran {overruns} times: {messages} messages and {events} events are missing from the \
                 files, and their gaps are missing from the report"
            ));
        }
        let captured =
            recorder.map(|recorder| recorder.finish(ended.at.unwrap_or_else(|| self.clock.now()), ended.dropped));
        if let Some(captured) = &captured {
            ended.dropped = captured.dropped;
            errors.extend(captured.error.clone());
        }
        self.housekeeping.say_losses(&ended);
        for error in &errors {
            self.notifier.say(error);
        }
        let mut source = self.housekeeping.source(&ended, spin, core);
        source.insert("receive".into(), receive.into());
        source.insert("overrun".into(), json!({ "overruns": overruns, "messages": messages, "events": events }));
        source.insert("capture".into(), captured.as_ref().map_or(Value::Null, capture_json));
        source.insert("errors".into(), errors.clone().into());
        let report = RunReport {
            feed: self.feed,
            arbiter: &ended.arbiter,
            malformed: &ended.malformed,
            gaps: &output.gaps,
            source: Value::Object(source),
            ignored: Ignored::default(),
        };
        let json = report.json().unwrap_or_else(|error| {
            say(format_args!("cannot make the report: {error}"));
            String::new()
        });
        FeedEnd { fine: errors.is_empty(), json, text: report.text() }
    }
}

fn capture_json(captured: &CaptureSummary) -> Value {
    json!({ "records": captured.records, "dropped": captured.dropped.iter().sum::<u64>() })
}
