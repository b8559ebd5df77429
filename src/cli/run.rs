//! `twinline run`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::thread;

use anyhow::{Context, anyhow};
use serde_json::{Value, json};

use super::arbitrate::Outputs;
use super::check::print;
use super::live::housekeeping::{Housekeeping, StatusLine};
use super::live::tally::Tally;
use super::live::{self, Listen, Listening, RING_CAPACITY, Stops, Voice, Wanted, pause};
use super::output::{Output, named_path};
use super::{Failure, Outcome, say};
use twinline_analysis::report::RunReport;
use twinline_client::{Client, Delivery, Dropped, Polled, RingRecord, StreamKind as Stream};
use twinline_node::capture::Ignored;
use twinline_node::config::Feed;
use twinline_node::handler;
use twinline_node::os::clock::Clock;
use twinline_node::os::cpu::Spin;
use twinline_node::os::memory;
use twinline_node::runtime::{self, CaptureSummary, Ended, Recorder, RecorderError, Running};

/// Run the arbiter, for as long as it is wanted
///
/// Joins the lines of each feed and arbitrates them, a thread a feed. Ctrl-C ends it with the final report. Messages and events
/// are those that `arbitrate` makes of the capture that --capture takes, to the byte.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "With several feeds there is one set of files a feed: FILE gets .FEEDNAME before its extension, and \
--json prints one object a feed, one a line.

Examples:
  twinline run feeds/loopback.toml
  twinline run feeds/loopback.toml --until-end --json --messages out.bin --events out.jsonl --capture out.pcapng
  twinline run feeds/a.toml feeds/b.toml --seconds 60 --capture day.pcapng    # day.a.pcapng and day.b.pcapng

Exit code: 0 when it was ended, 1 when something went wrong under way, 2 for wrong arguments or feed files."
)]
pub(super) struct Args {
    /// The feed files
    #[arg(required = true, value_name = "FEED")]
    feeds: Vec<PathBuf>,
    #[command(flatten)]
    outputs: Outputs,
    /// Write what was received, as it was received, as pcapng; `-` is standard output
    #[arg(long, value_name = "FILE")]
    capture: Option<PathBuf>,
    /// Stop when the session of every channel has ended
    #[arg(long)]
    until_end: bool,
    /// Take all memory that may be needed at the start, and lock it [default: `lock_memory` under [receive] in the feed file]
    #[arg(long)]
    lock_memory: bool,
    #[command(flatten)]
    listen: Listen,
}

pub(super) fn run(args: Args) -> Outcome {
    let mut feeds = live::load(&args.feeds)?;
    if feeds.len() > 1 && args.files().any(|path| path.as_os_str() == "-") {
        return Err(Failure::usage(anyhow!(
            "standard output cannot take the files of several feeds: give a file name, and each feed's is put before its \
             extension"
        )));
    }
    let several = feeds.len() > 1;
    feeds.iter_mut().for_each(|feed| feed.receive.lock_memory |= args.lock_memory);
    if feeds.iter().any(|feed| feed.receive.lock_memory) {
        // before anything is taken: what is locked from the start is resident from the start
        memory::lock_all(memory_needs(&feeds)).map_err(Failure::run)?;
    }
    let stops = Stops::on_signals()?;
    let wanted = Wanted {
        listen: &args.listen,
        clock: Clock::start(),
        senders: args.capture.is_some(),
        until_end: args.until_end,
        stops: &stops,
    };
    let mut feeds_to_run = Vec::new();
    for one in live::listen(feeds, wanted)? {
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

/// Bytes for a feed's files, its listed gaps, and the stacks of its threads.
const BESIDE: u64 = 64 << 20;

/// What a run of these feeds is going to take: arbiters, rings that lead off them, receive rings.
fn memory_needs(feeds: &[Feed]) -> u64 {
    let needs = feeds.iter().map(|feed| {
        let arbiter = handler::settings(feed, feed.framing.rules()).memory().at_most;
        let receive = feed.receive.buffer.saturating_mul(feed.lines.len() as u64);
        // the report's and the capture's
        arbiter.saturating_add(2 * RING_CAPACITY as u64).saturating_add(receive).saturating_add(BESIDE)
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
    listen: Listen,
}

impl FeedRun {
    fn open(args: &Args, one: Listening, several: bool) -> Result<FeedRun, Failure> {
        let Listening { mut joined, voice } = one;
        let feed = joined.feed().clone();
        let named = |path: &Option<PathBuf>| {
            let name = feed.name.replace('/', "_");
            path.as_deref().map(|path| if several { named_path(path, &name) } else { path.to_owned() })
        };
        let capture = named(&args.capture);
        let outputs = Outputs {
            json: args.outputs.json,
            messages: named(&args.outputs.messages),
            events: named(&args.outputs.events),
        };
        let on_stdout = |path: &Option<PathBuf>| path.as_deref() == Some(Path::new("-"));
        if on_stdout(&capture) && (outputs.json || on_stdout(&outputs.messages) || on_stdout(&outputs.events)) {
            return Err(Failure::usage(anyhow!(
                "--capture - takes standard output for itself: give the others a file"
            )));
        }
        let output = outputs.open(&feed, &feed.framing.rules())?;
        let mut recorder = None;
        if let Some(path) = capture {
            let (tap, started) = record(&path, &feed, joined.clock(), &voice)?;
            joined = joined.tap(tap);
            recorder = Some(started);
        }
        let listening = Listening { joined, voice };
        Ok(FeedRun { listening, output, recorder, listen: Listen { ..args.listen } })
    }

    fn run(self) -> FeedEnd {
        let voice = self.listening.voice.clone();
        self.arbitrate().unwrap_or_else(|error| {
            voice.say(format_args!("{error:#}"));
            FeedEnd::failed()
        })
    }

    fn arbitrate(self) -> anyhow::Result<FeedEnd> {
        let FeedRun { listening: Listening { joined, voice }, mut output, recorder, listen } = self;
        let feed = joined.feed().clone();
        let (clock, spin, core, receive) =
            (joined.clock(), joined.spin(), joined.core(), joined.method().method.name());
        let (delivery, client) = twinline_client::open(&runtime::facts(&feed), Stream::Full.into(), RING_CAPACITY)?;
        let running = joined.start(delivery)?;
        let mut keeping = Keeping::new(clock, &voice, &feed, &listen);
        keeping.replay(client, &running, &mut output);
        let ended = running.join()?;
        Ok(keeping.report(ended, output, recorder, (spin, core, receive)))
    }
}

/// Starts to record what a feed's lines bring.
///
/// # Errors
/// A file that cannot be written, as a usage failure.
pub(super) fn record(
    path: &Path,
    feed: &Feed,
    clock: Clock,
    voice: &Voice,
) -> Result<(twinline_node::handler::tap::Tap, Recorder), Failure> {
    let trouble = {
        let voice = voice.clone();
        move |what: &str| voice.say(what)
    };
    Recorder::start(path, feed, clock, trouble).map_err(|error| match error {
        // the error's text has its cause in it
        RecorderError::File(error) => Failure::usage(anyhow!("{error}")),
        error => Failure::run(error),
    })
}

/// Housekeeping of one feed: what the arbiter says becomes files and words.
struct Keeping<'a> {
    feed: &'a Feed,
    voice: &'a Voice,
    clock: Clock,
    tally: Tally,
    housekeeping: Housekeeping,
    output_failed: bool,
    overrun_said: bool,
    broken: Option<String>,
}

impl<'a> Keeping<'a> {
    fn new(clock: Clock, voice: &'a Voice, feed: &'a Feed, listen: &Listen) -> Keeping<'a> {
        let names = feed.lines.iter().map(|line| line.name.clone()).collect();
        Keeping {
            feed,
            voice,
            clock,
            tally: Tally::new(voice.clone(), names),
            housekeeping: Housekeeping::new(clock, voice.clone(), &feed.lines, listen, StatusLine::Arbiter),
            output_failed: false,
            overrun_said: false,
            broken: None,
        }
    }

    /// Makes the arbiter's calls again, on the output, until it has gone.
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
                        // nothing behind it can be found: the arbiter need not go on
                        self.broken = Some(format!("the report ring is broken: {broken}; what came after is not here"));
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
                self.voice.say(format_args!("{error:#}; nothing more is written there, and the arbiter goes on"));
            }
        }
    }

    fn take(&mut self, record: &RingRecord<'_>, output: &mut Output) {
        if let RingRecord::Overrun(overrun) = record
            && !std::mem::replace(&mut self.overrun_said, true)
        {
            self.voice.say(format_args!(
                "writing is too slow: the report ring ran over at {} on channel {}; messages and events have a hole there",
                overrun.range, overrun.channel.key
            ));
        }
        record.replay(output);
        record.replay(&mut self.tally);
    }

    /// Finishes the files, and makes the report.
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
            errors.push(format!(
                "the sockets cannot be received from any more: {error}; the report is of what came before"
            ));
        }
        errors.extend(self.broken.take());
        if let Err(error) = output.finish() {
            errors.push(format!("{error:#}: what was to be written after that is missing"));
        }
        let Dropped { overruns, messages, events } = ended.sink.dropped();
        if overruns > 0 {
            errors.push(format!(
                "the report ring ran over {overruns} times: {messages} messages and {events} events are missing from the \
                 files, and their gaps from the report"
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
            self.voice.say(error);
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
            say(format_args!("the report cannot be made: {error}"));
            String::new()
        });
        FeedEnd { fine: errors.is_empty(), json, text: report.text() }
    }
}

fn capture_json(captured: &CaptureSummary) -> Value {
    json!({ "records": captured.records, "dropped": captured.dropped.iter().sum::<u64>() })
}
