//! `twinline tail`.

use std::io::{self, BufWriter, ErrorKind, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::anyhow;

use super::live::housekeeping::{Housekeeping, StatusLine};
use super::live::tally::Tally;
use super::live::{self, Listen, Listening, RING_CAPACITY, Stops, Wanted, pause};
use super::{Failure, Outcome};
use twinline_client::{Client, Delivery, Dropped, Item, Polled, StreamKind};
use twinline_node::os::clock::Clock;
use twinline_node::runtime::{self, Running};

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
    let clock = Clock::start();
    let wanted = Wanted { listen: &args.listen, clock, senders: false, until_end: false, stops: &stops };
    let Some(listening) = live::listen(feeds, wanted)?.pop() else { return Ok(ExitCode::SUCCESS) };
    listening.tell();
    let Listening { joined, voice } = listening;
    let feed = joined.feed().clone();
    let names: Vec<String> = feed.lines.iter().map(|line| line.name.clone()).collect();
    let output = if args.first { StreamKind::First } else { StreamKind::Ordered };
    let (delivery, client) =
        twinline_client::open(&runtime::facts(&feed), output.into(), RING_CAPACITY).map_err(Failure::run)?;
    // whoever reads along has time to look up the framing for every datagram
    let running = joined.start_as(feed.framing, delivery).map_err(Failure::run)?;
    let housekeeping = Housekeeping::new(clock, voice.clone(), &feed.lines, &args.listen, StatusLine::None);
    // line states are printed with the rest, not said
    let tally = Tally::new(voice.clone(), Vec::new());
    let bytes = match (args.raw, args.hex) {
        (true, _) => Bytes::Raw,
        (_, true) => Bytes::Hex,
        _ => Bytes::Text,
    };
    let out = BufWriter::with_capacity(1 << 16, io::stdout().lock());
    let printer = Printer { out, names: &names, bytes, json: args.json };
    let mut following =
        Following { client, housekeeping, tally, running: &running, stops: &stops, limit: args.messages };
    let printed = following.print(printer);
    let Following { mut housekeeping, .. } = following;
    running.stop();
    let joined = running.join();
    match printed {
        Ok(()) => {}
        // whoever read has read enough
        Err(Stopped::Output(error)) if error.kind() == ErrorKind::BrokenPipe => return Ok(ExitCode::SUCCESS),
        Err(Stopped::Output(error)) => {
            return Err(Failure::run(anyhow!(error).context("cannot write to standard output")));
        }
        Err(Stopped::Ring(broken)) => return Err(Failure::run(anyhow!(broken).context("the client's ring"))),
    }
    let ended = joined.map_err(Failure::run)?;
    housekeeping.say_last(&ended);
    housekeeping.say_losses(&ended);
    let Dropped { overruns, messages, .. } = ended.sink.dropped();
    if overruns > 0 {
        voice.say(format_args!("printing is too slow: {messages} messages were not printed, in {overruns} overruns"));
    }
    match ended.error {
        Some(error) => Err(Failure::run(anyhow!("the sockets cannot be received from any more: {error}"))),
        None => Ok(ExitCode::SUCCESS),
    }
}

/// Why printing ended early.
enum Stopped {
    Output(io::Error),
    Ring(twinline_client::BrokenStream),
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
    running: &'a Running<Delivery>,
    stops: &'a Stops,
    /// Messages still to be printed.
    limit: Option<u64>,
}

impl Following<'_> {
    /// Prints until the arbiter has gone, or enough was printed.
    fn print(&mut self, mut printer: Printer<'_, impl Write>) -> Result<(), Stopped> {
        loop {
            self.housekeeping.tick(self.running, &self.tally);
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
