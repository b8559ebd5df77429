//! `twinline tail`.

use std::io::{self, BufWriter, ErrorKind, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::thread;

use anyhow::{Context, anyhow};

use super::live::housekeeping::{Housekeeping, StatusLine};
use super::live::tally::Tally;
use super::live::{self, Ending, Listen, Listening, RING_CAPACITY, Stops, pause, pin};
use super::{Failure, Outcome};
use twinline_client::client::{self, Client, Item, Polled};
use twinline_client::delivery::{Delivery, Dropped, FeedFacts, StreamKind};
use twinline_core::framing::{Framing, WithFraming};
use twinline_node::handler::desk;
use twinline_node::handler::{Handler, Hot, live};
use twinline_node::source::method::WithSource;
use twinline_node::source::{self, Source};

mod print;

use print::{Bytes, Printer};

/// A client: print messages and events
///
/// Joins the lines itself, arbitrates them, and prints what a client gets: each message once and in order, each loss in its
/// place. A message is one line: channel, number, the line that brought it first, when (seconds since 1970), its bytes.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  twinline tail feeds/loopback.toml --messages 10
  twinline tail feeds/loopback.toml --json | jq 'select(.event == \"lost\")'
  twinline tail feeds/loopback.toml --first --hex")]
pub(super) struct Args {
    /// The feed file
    feed: PathBuf,
    /// Stop after so many messages
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    messages: Option<u64>,
    /// The first-copy output: the highest number wins, nothing waits, a jump is said at once
    #[arg(long)]
    first: bool,
    /// Print the bytes as they are [default: printable ASCII, other bytes as \xHH]
    #[arg(long, conflicts_with_all = ["hex", "json"])]
    raw: bool,
    /// Print the bytes in hexadecimal
    #[arg(long)]
    hex: bool,
    /// Print one JSON object a line
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    listen: Listen,
}

pub(super) fn run(args: Args) -> Outcome {
    let feeds = live::load(std::slice::from_ref(&args.feed))?;
    let stops = Stops::on_signals()?;
    let listening = live::listen(feeds, &args.listen, false)?.pop();
    let Some(listening) = listening else { return Ok(ExitCode::SUCCESS) };
    listening.tell();
    // who reads along has time to look up the framing for every datagram
    let framing = listening.framing;
    Tailing { args, listening, stops }.with(framing)
}

struct Tailing {
    args: Args,
    listening: Listening,
    stops: Stops,
}

impl WithFraming for Tailing {
    type Output = Outcome;

    fn with<F: Framing>(self, framing: F) -> Outcome {
        let Tailing { args, listening, stops } = self;
        let Listening { feed, voice, live: source, watch, core, spin, .. } = listening;
        let clock = live::clock();
        let names: Vec<String> = feed.lines.iter().map(|line| line.name.clone()).collect();
        let packing = framing.packing();
        let facts = FeedFacts { packing, feed: feed.name.clone(), lines: names.clone() };
        let output = if args.first { StreamKind::First } else { StreamKind::Ordered };
        let (delivery, client) = client::open(&facts, output.into(), RING_CAPACITY).map_err(Failure::run)?;
        let (desk, inquiry) = desk::open().map_err(Failure::run)?;
        let hot = Hot::new(clock, spin, stops.both(), desk);
        let thread = thread::Builder::new().name("arbiter".into()).spawn({
            let (feed, voice) = (feed.clone(), voice.clone());
            move || {
                pin(core, &voice);
                source.with(Receiving { handler: Handler::new(framing, &feed), hot, delivery })
            }
        });
        let thread = thread.context("cannot start the arbiter's thread")?;
        let halves = (watch, inquiry);
        let (own, status) = (stops.own.clone(), StatusLine::None);
        let housekeeping = Housekeeping::new(clock, voice.clone(), &feed.lines, halves, &args.listen, own, status);
        // line states are printed with the rest, not said
        let tally = Tally::new(voice.clone(), Vec::new());
        let bytes = match (args.raw, args.hex) {
            (true, _) => Bytes::Raw,
            (_, true) => Bytes::Hex,
            _ => Bytes::Text,
        };
        let out = BufWriter::with_capacity(1 << 16, io::stdout().lock());
        let printer = Printer { out, names: &names, bytes, json: args.json };
        let mut following = Following { client, housekeeping, tally, stops: &stops, limit: args.messages };
        let printed = following.print(printer);
        stops.own.request();
        let joined = thread.join();
        following.housekeeping.end();
        match printed {
            Ok(()) => {}
            // whoever read has read enough
            Err(Stopped::Output(error)) if error.kind() == ErrorKind::BrokenPipe => return Ok(ExitCode::SUCCESS),
            Err(Stopped::Output(error)) => {
                return Err(Failure::run(anyhow!(error).context("cannot write to standard output")));
            }
            Err(Stopped::Ring(broken)) => return Err(Failure::run(anyhow!(broken).context("the client's ring"))),
        }
        let (ending, dropped, error) = joined.map_err(|_| Failure::run(anyhow!("the arbiter's thread has failed")))?;
        following.housekeeping.say_losses(&ending);
        let Dropped { overruns, messages, .. } = dropped;
        if overruns > 0 {
            voice.say(format_args!(
                "printing is too slow: {messages} messages were not printed, in {overruns} overruns"
            ));
        }
        match error {
            Some(error) => Err(Failure::run(anyhow!("the sockets cannot be received from any more: {error}"))),
            None => Ok(ExitCode::SUCCESS),
        }
    }
}

/// The arbiter's thread, but for its source.
struct Receiving<F> {
    handler: Handler<F>,
    hot: Hot,
    delivery: Delivery,
}

impl<F: Framing> WithSource for Receiving<F> {
    type Output = (Ending, Dropped, Option<io::Error>);

    fn with<S: Source + source::Facts>(self, mut source: S) -> Self::Output {
        let Receiving { mut handler, mut hot, mut delivery } = self;
        let outcome = live(&mut handler, &mut source, &mut hot, &mut delivery);
        let ending = Ending { at: hot.ended_at(), facts: source.facts(), dropped: hot.dropped() };
        (ending, Delivery::dropped(&delivery), outcome.err())
    }
}

/// Why printing ended early.
enum Stopped {
    Output(io::Error),
    Ring(client::BrokenStream),
}

impl From<io::Error> for Stopped {
    fn from(error: io::Error) -> Stopped {
        Stopped::Output(error)
    }
}

struct Following<'a> {
    client: Client,
    housekeeping: Housekeeping,
    tally: Tally,
    stops: &'a Stops,
    /// Messages still to be printed.
    limit: Option<u64>,
}

impl Following<'_> {
    /// Prints until the arbiter has gone, or enough was printed.
    fn print(&mut self, mut printer: Printer<'_, impl Write>) -> Result<(), Stopped> {
        loop {
            self.housekeeping.tick(&self.tally);
            for _ in 0..1_024 {
                match self.client.poll().map_err(Stopped::Ring)? {
                    Polled::Item(item) => {
                        printer.item(&item)?;
                        if let (Item::Message(_), Some(limit)) = (item, &mut self.limit) {
                            *limit -= 1;
                            if *limit == 0 {
                                return Ok(printer.out.flush()?);
                            }
                        }
                    }
                    Polled::Empty => {
                        printer.out.flush()?;
                        pause();
                        break;
                    }
                    Polled::Ended => return Ok(printer.out.flush()?),
                }
            }
            // Ctrl-C in a flood: what is in the ring need not be printed
            if self.stops.signals.requested() {
                return Ok(printer.out.flush()?);
            }
        }
    }
}
