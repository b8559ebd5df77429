//! `twinline tail`: an arbiter on one thread, and a client on another that prints what it reads.

use std::io::{self, BufWriter, ErrorKind, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::anyhow;

use super::live::housekeeping::{Housekeeping, StatusLine};
use super::live::tally::Tally;
use super::live::{self, ListenArgs, ListenSettings, Listening, RING_CAPACITY, pause};
use super::{Failure, Outcome};
use twinline_client::{Client, Delivery, Dropped, Item, Polled, StreamKind};
use twinline_node::os::{Clock, Stop};
use twinline_node::runtime::Running;

mod print;

use print::{Bytes, Printer};

/// Print messages and events, as a client gets them
///
/// Joins the lines itself, arbitrates them, and prints what a client gets: each message once and in order, each loss in its
/// place. A message takes one row: channel, sequence number, the line that brought it first, the time (seconds since 1970), and
/// its bytes.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  twinline tail feeds/loopback.toml --messages 10
  twinline tail feeds/loopback.toml --json | jq 'select(.event == \"lost\")'
  twinline tail feeds/loopback.toml --first --hex")]
pub(super) struct Args {
    /// The feed file
    feed: PathBuf,
    /// Stop after N messages
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    messages: Option<u64>,
    /// Print the first-copy output: the highest number wins, nothing waits, a jump is reported at once
    #[arg(long)]
    first: bool,
    /// Print the raw bytes [default: printable ASCII, other bytes as \xHH]
    #[arg(long, conflicts_with_all = ["hex", "json"])]
    raw: bool,
    /// Print the bytes in hexadecimal
    #[arg(long)]
    hex: bool,
    /// Print one JSON object per line
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    listen: ListenArgs,
}

pub(super) fn run(args: Args) -> Outcome {
    let feeds = live::load(std::slice::from_ref(&args.feed))?;
    let stop = live::stop_on_signals()?;
    let clock = Clock::start();
    let settings = ListenSettings { listen: &args.listen, clock, senders: false, until_end: false, stop: &stop };
    let Some(listening) = live::listen(feeds, settings)?.pop() else { return Ok(ExitCode::SUCCESS) };
    listening.tell();
    let Listening { joined, notifier } = listening;
    let feed = joined.feed().clone();
    let names: Vec<String> = feed.lines.iter().map(|line| line.name.clone()).collect();
    let output = if args.first { StreamKind::First } else { StreamKind::Ordered };
    let (delivery, client) =
        twinline_client::open(&feed.facts(), output.into(), RING_CAPACITY).map_err(Failure::run)?;
    // a printing client is slow anyway: there is time to look up the framing for every datagram
    let running = joined.start_as(feed.framing, delivery).map_err(Failure::run)?;
    let housekeeping = Housekeeping::new(clock, notifier.clone(), &feed.lines, &args.listen, StatusLine::None);
    // line states are printed with the other events, not as notices
    let tally = Tally::new(notifier.clone(), Vec::new());
    let bytes = match (args.raw, args.hex) {
        (true, _) => Bytes::Raw,
        (_, true) => Bytes::Hex,
        _ => Bytes::Text,
    };
    let out = BufWriter::with_capacity(1 << 16, io::stdout().lock());
    let printer = Printer { out, names: &names, bytes, json: args.json };
    let mut tailing = TailLoop { client, housekeeping, tally, running: &running, stop: &stop, limit: args.messages };
    let printed = tailing.print(printer);
    let TailLoop { mut housekeeping, .. } = tailing;
    running.stop();
    let joined = running.join();
    match printed {
        Ok(()) => {}
        // the reader of the pipe has read enough
        Err(PrintError::Output(error)) if error.kind() == ErrorKind::BrokenPipe => return Ok(ExitCode::SUCCESS),
        Err(PrintError::Output(error)) => {
            return Err(Failure::run(anyhow!(error).context("cannot write to standard output")));
        }
        Err(PrintError::Ring(broken)) => {
            return Err(Failure::run(anyhow!(broken).context("cannot read the client's ring")));
        }
    }
    let ended = joined.map_err(Failure::run)?;
    housekeeping.say_last(&ended);
    housekeeping.say_losses(&ended);
    let Dropped { overruns, messages, .. } = ended.sink.dropped();
    if overruns > 0 {
        notifier
            .say(format_args!("printing was too slow: {messages} messages were not printed, in {overruns} overruns"));
    }
    match ended.error {
        Some(error) => Err(Failure::run(anyhow!("cannot receive from the sockets any more: {error}"))),
        None => Ok(ExitCode::SUCCESS),
    }
}

/// Why printing ended early.
enum PrintError {
    Output(io::Error),
    Ring(twinline_client::BrokenStream),
}

impl From<io::Error> for PrintError {
    fn from(error: io::Error) -> PrintError {
        PrintError::Output(error)
    }
}

struct TailLoop<'a> {
    client: Client,
    housekeeping: Housekeeping,
    tally: Tally,
    running: &'a Running<Delivery>,
    stop: &'a Stop,
    /// Messages still to print.
    limit: Option<u64>,
}

impl TailLoop<'_> {
    /// Prints until the arbiter has ended or the limit is reached.
    fn print(&mut self, mut printer: Printer<'_, impl Write>) -> Result<(), PrintError> {
        loop {
            self.housekeeping.tick(self.running, &self.tally);
            for _ in 0..1_024 {
                match self.client.poll().map_err(PrintError::Ring)? {
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
            if self.stop.requested() {
                return Ok(printer.out.flush()?);
            }
        }
    }
}
