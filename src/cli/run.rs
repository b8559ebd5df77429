//! `twinline run`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::thread;

use anyhow::{Context, anyhow};
use serde_json::{Value, json};

use super::arbitrate::Outputs;
use super::check::print;
use super::live::housekeeping::{Housekeeping, StatusLine};
use super::live::recording::{Captured, Recording};
use super::live::tally::Tally;
use super::live::{self, Ending, Listen, Listening, RING_CAPACITY, Stops, Voice, pause, pin};
use super::output::{Output, named_path};
use super::report::Report;
use super::{Failure, Outcome, say};
use twinline_client::client::{self, Client, Polled};
use twinline_client::delivery::{Delivery, Dropped, FeedFacts, RingRecord, StreamKind as Stream};
use twinline_core::framing::{Framing, WithFraming};
use twinline_node::capture::Ignored;
use twinline_node::config::Feed;
use twinline_node::handler::desk::{self, Inquiry};
use twinline_node::handler::tap::Tap;
use twinline_node::handler::{Handler, Hot, live};
use twinline_node::os::clock::Clock;
use twinline_node::os::cpu::Spin;
use twinline_node::source::method::{Taken, WithSource};
use twinline_node::source::watch::LiveWatch;
use twinline_node::source::{self, Source};

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
    #[command(flatten)]
    listen: Listen,
}

pub(super) fn run(args: Args) -> Outcome {
    let feeds = live::load(&args.feeds)?;
    if feeds.len() > 1 && args.files().any(|path| path.as_os_str() == "-") {
        return Err(Failure::usage(anyhow!(
            "standard output cannot take the files of several feeds: give a file name, and each feed's is put before its \
             extension"
        )));
    }
    let several = feeds.len() > 1;
    let stops = Stops::on_signals()?;
    let clock = live::clock();
    let mut running = Vec::new();
    for one in live::listen(feeds, &args.listen, args.capture.is_some())? {
        running.push(Running::open(&args, one, &stops, clock, several)?);
    }
    for one in &running {
        one.listening.tell();
    }
    let mut ends: Vec<FeedEnd> = Vec::new();
    thread::scope(|scope| {
        let threads: Vec<_> =
            running.into_iter().map(|one| scope.spawn(move || one.listening.framing.with(one))).collect();
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
struct Running {
    listening: Listening,
    clock: Clock,
    stops: Stops,
    output: Output,
    recording: Option<(Tap, Recording)>,
    listen: Listen,
    until_end: bool,
}

impl Running {
    fn open(args: &Args, one: Listening, stops: &Stops, clock: Clock, several: bool) -> Result<Running, Failure> {
        let named = |path: &Option<PathBuf>| {
            let name = one.feed.name.replace('/', "_");
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
        let output = outputs.open(&one.feed, &one.framing.rules())?;
        let recording = capture.map(|path| Recording::start(&path, &one.feed, clock, one.voice.clone())).transpose()?;
        let listen = Listen { ..args.listen };
        let until_end = args.until_end;
        Ok(Running { listening: one, clock, stops: stops.of_feed(), output, recording, listen, until_end })
    }
}

/// What the arbiter's thread leaves.
struct HotEnd<F> {
    handler: Handler<F>,
    ending: Ending,
    overrun: Dropped,
    error: Option<String>,
}

impl WithFraming for Running {
    type Output = FeedEnd;

    fn with<F: Framing>(self, framing: F) -> FeedEnd {
        let voice = self.listening.voice.clone();
        self.arbitrate(framing).unwrap_or_else(|error| {
            voice.say(format_args!("{error:#}"));
            FeedEnd::failed()
        })
    }
}

impl Running {
    fn arbitrate<F: Framing>(self, framing: F) -> anyhow::Result<FeedEnd> {
        let Running { listening, clock, stops, mut output, recording, listen, until_end } = self;
        let Listening { feed, voice, live, watch, taken, core, spin, .. } = listening;
        let names: Vec<String> = feed.lines.iter().map(|line| line.name.clone()).collect();
        // only a frame that packs otherwise needs to say so
        let packing = framing.packing();
        let facts = FeedFacts { packing, feed: feed.name.clone(), lines: names.clone() };
        let (delivery, client) = client::open(&facts, Stream::Full.into(), RING_CAPACITY)?;
        let (desk, inquiry) = desk::open()?;
        let (tap, recording) = recording.map_or((None, None), |(tap, recording)| (Some(tap), Some(recording)));
        let mut hot = Hot::new(clock, spin, stops.both(), desk);
        hot.until_end = until_end;
        hot.tap = tap;
        let thread = thread::Builder::new().name("arbiter".into()).spawn({
            let (feed, voice) = (feed.clone(), voice.clone());
            move || {
                pin(core, &voice);
                live.with(Receiving { framing, feed: &feed, hot, delivery })
            }
        })?;
        let mut keeping = Keeping::new(clock, &voice, &feed, (watch, inquiry), &listen, &stops);
        keeping.replay(client, &mut output);
        let hot = thread.join().map_err(|_| anyhow!("the arbiter's thread has failed: what it knew is gone"))?;
        Ok(keeping.report(hot, output, recording, &names, (spin, core, &taken)))
    }
}

/// The arbiter's thread, but for its source.
struct Receiving<'a, F> {
    framing: F,
    feed: &'a Feed,
    hot: Hot,
    delivery: Delivery,
}

impl<F: Framing> WithSource for Receiving<'_, F> {
    type Output = HotEnd<F>;

    fn with<S: Source + source::Facts>(self, mut source: S) -> HotEnd<F> {
        let Receiving { framing, feed, mut hot, mut delivery } = self;
        let mut handler = Handler::new(framing, feed);
        let outcome = live(&mut handler, &mut source, &mut hot, &mut delivery);
        let ending = Ending { at: hot.ended_at(), facts: source.facts(), dropped: hot.dropped() };
        let overrun = delivery.dropped();
        HotEnd { handler, ending, overrun, error: outcome.err().map(|error| error.to_string()) }
    }
}

/// Housekeeping of one feed: what the arbiter says becomes files and words.
struct Keeping<'a> {
    feed: &'a Feed,
    voice: &'a Voice,
    clock: Clock,
    tally: Tally,
    housekeeping: Housekeeping,
    stops: &'a Stops,
    output_failed: bool,
    overrun_said: bool,
    broken: Option<String>,
}

impl<'a> Keeping<'a> {
    fn new(
        clock: Clock,
        voice: &'a Voice,
        feed: &'a Feed,
        halves: (LiveWatch, Inquiry),
        listen: &Listen,
        stops: &'a Stops,
    ) -> Keeping<'a> {
        let names = feed.lines.iter().map(|line| line.name.clone()).collect();
        let own = stops.own.clone();
        let status = StatusLine::Arbiter;
        Keeping {
            feed,
            voice,
            clock,
            tally: Tally::new(voice.clone(), names),
            housekeeping: Housekeeping::new(clock, voice.clone(), &feed.lines, halves, listen, own, status),
            stops,
            output_failed: false,
            overrun_said: false,
            broken: None,
        }
    }

    /// Makes the arbiter's calls again, on the output, until it has gone.
    fn replay(&mut self, mut client: Client, output: &mut Output) {
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
                        self.stops.own.request();
                        return;
                    }
                }
            }
            if self.housekeeping.tick(&self.tally) {
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
    fn report<F: Framing>(
        mut self,
        hot: HotEnd<F>,
        mut output: Output,
        recording: Option<Recording>,
        names: &[String],
        (spin, core, taken): (Spin, Option<usize>, &Taken),
    ) -> FeedEnd {
        let HotEnd { handler, mut ending, overrun, error } = hot;
        self.housekeeping.end();
        let mut errors: Vec<String> = Vec::new();
        if let Some(error) = error {
            errors.push(format!(
                "the sockets cannot be received from any more: {error}; the report is of what came before"
            ));
        }
        errors.extend(self.broken.take());
        if let Err(error) = output.finish() {
            errors.push(format!("{error:#}: what was to be written after that is missing"));
        }
        if overrun.overruns > 0 {
            let Dropped { overruns, messages, events } = overrun;
            errors.push(format!(
                "the report ring ran over {overruns} times: {messages} messages and {events} events are missing from the \
                 files, and their gaps from the report"
            ));
        }
        let captured =
            recording.map(|recording| recording.finish(ending.at.unwrap_or_else(|| self.clock.now()), ending.dropped));
        if let Some(captured) = &captured {
            ending.dropped = captured.dropped;
            errors.extend(captured.error.clone());
        }
        self.housekeeping.say_losses(&ending);
        for error in &errors {
            self.voice.say(error);
        }
        let mut source = self.housekeeping.source(&ending, spin, core);
        source.insert("receive".into(), taken.method.name().into());
        source.insert("overrun".into(), {
            let Dropped { overruns, messages, events } = overrun;
            json!({ "overruns": overruns, "messages": messages, "events": events })
        });
        source.insert("capture".into(), captured.as_ref().map_or(Value::Null, capture_json));
        source.insert("errors".into(), errors.clone().into());
        let report = Report {
            feed: self.feed,
            names,
            arbiter: handler.arbiter(),
            malformed: handler.malformed(),
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

fn capture_json(captured: &Captured) -> Value {
    json!({ "records": captured.records, "dropped": captured.dropped.iter().sum::<u64>() })
}
