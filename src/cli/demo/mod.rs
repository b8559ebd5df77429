//! `twinline demo`: publisher, arbiter and client in one process over loopback multicast, with faults on both lines, and a
//! report that is checked against what was really sent.
//!
//! ```text
//!  publisher --> line A, line B (loopback) --> arbiter --> ring --> client
//!  truth                                       seen                 checker          -> judgement
//! ```

use std::io::{self, IsTerminal, Write};
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::process::{self, ExitCode};
use std::sync::OnceLock;
use std::thread::{self, ScopedJoinHandle};
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use crossbeam::channel::{Receiver, bounded};

use super::{Failure, Outcome};
use twinline_client::{CAPACITY_DEFAULT, FeedFacts, StreamKind};
use twinline_core::Nanos;
use twinline_core::frame::{Line, Packing};
use twinline_core::framing::MoldUdp64;
use twinline_node::config::{Feed, GapTimeout, LineConfig};
use twinline_node::os::{self, Clock, ReceiveOptions, Spin, Stop};
use twinline_node::publisher::{self, RateSpec, SendingError};
use twinline_node::source::{InterfaceState, Live, LiveError, WatchFacts};
use twinline_node::wire::UdpWire;

mod checker;
mod parts;
mod picture;
mod report;
mod schedule;
mod seen;
mod view;

use checker::Checker;
use parts::{ArbiterResults, ClientResults, News, Shared};
use picture::Paint;
use report::{LineResults, Results};
use schedule::{GAP_TIMEOUT, MESSAGES_MAX, NAMES, Schedule};
use seen::Seen;
use view::{Dashboard, View};

/// How soon a line that shows nothing is called silent: soon enough to show the outages of a short demo.
const SILENT_AFTER: Nanos = Nanos::from_millis(250);
/// How often the view is drawn.
const SHOW_EVERY: Duration = Duration::from_millis(50);
/// Publisher, arbiter and client.
const BUSY_THREADS: usize = 3;

const EXAMPLES: &str = "\
Line A is taken away for a while, then line B. Both lose, repeat and reorder a little all the time. At the end every
message is accounted for. The exit code is 1 if any message was repeated, altered, out of order or missing without a
report, or arrived in time and was not delivered.

Examples:
  twinline demo
  twinline demo --seconds 30 --rate 50k --seed 7
  twinline demo --seconds 2 --json | jq .latency_ns";

/// Run publisher, arbiter and client over loopback, with faults on both lines
///
/// Needs no file, no root and no network.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// How long to send messages, in seconds
    #[arg(long, value_name = "N", default_value = "10", value_parser = clap::value_parser!(u64).range(1..=3600))]
    seconds: u64,
    /// Messages per second
    #[arg(long, default_value = "20k", value_parser = rate)]
    rate: u64,
    /// The seed of all faults
    #[arg(long, value_name = "N", default_value = "1")]
    seed: u64,
    /// Print the report as one JSON object on standard output, and everything else on standard error
    #[arg(long)]
    json: bool,
}

fn rate(text: &str) -> Result<u64, String> {
    match text.parse() {
        Ok(RateSpec::PerSecond(rate)) if (10.0..=1e6).contains(&rate) && rate.fract() == 0.0 => Ok(rate as u64),
        _ => Err("expected 10 to 1M messages per second; for example 20k".into()),
    }
}

/// Where text for people goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Out {
    Stdout,
    Stderr,
}

impl Out {
    /// How to paint, if it is a terminal that can redraw.
    fn terminal(self) -> Option<Paint> {
        let terminal = match self {
            Out::Stdout => io::stdout().is_terminal(),
            Out::Stderr => io::stderr().is_terminal(),
        };
        let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
        (terminal && set("TERM").is_some_and(|term| term != "dumb")).then(|| Paint(set("NO_COLOR").is_none()))
    }
}

pub(super) fn run(args: Args) -> Outcome {
    let Args { seconds, rate, seed, json } = args;
    let schedule = Schedule { rate, seconds, seed };
    if schedule.messages() > MESSAGES_MAX {
        let error =
            anyhow!("--seconds {seconds} --rate {rate}: a demo has at most 100M messages; lower one of the two");
        return Err(Failure::usage(error));
    }
    let out = if json { Out::Stderr } else { Out::Stdout };
    let results = demonstrate(schedule, out)?;
    let text = results.text(out.terminal().unwrap_or(Paint(false)));
    out.writer().write_all(text.as_bytes()).context("cannot write the report")?;
    if json {
        writeln!(io::stdout(), "{}", results.json()).context("cannot write the report to standard output")?;
    }
    Ok(ExitCode::from(results.judgement.violations.exit_code()))
}

/// The demo's feed, on groups and a port that no other demo on this host has as long as the socket is kept.
fn feed() -> anyhow::Result<(Feed, UdpSocket)> {
    let port =
        UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).context("cannot open a UDP socket on 127.0.0.1: is loopback up?")?;
    let number = port.local_addr().context("cannot read the socket's port")?.port();
    let of_process = process::id() as u8;
    let line = |(at, name): (usize, &&str)| {
        // not the groups of feeds/loopback.toml, so that a feed that runs there is left alone
        let group = SocketAddrV4::new(Ipv4Addr::new(239, 81, 101 + at as u8, of_process), number);
        LineConfig::new(*name, vec![group], Ipv4Addr::LOCALHOST.to_string()).with_source(Ipv4Addr::LOCALHOST)
    };
    let mut feed = Feed::new("demo", MoldUdp64.into(), NAMES.iter().enumerate().map(line).collect());
    feed.arbiter.gap_timeout = GapTimeout::After(GAP_TIMEOUT);
    feed.arbiter.silent_after = Some(SILENT_AFTER);
    Ok((feed, port))
}

/// Runs the demo.
fn demonstrate(schedule: Schedule, out: Out) -> anyhow::Result<Results> {
    let (feed, _port) = feed()?;
    let options = ReceiveOptions::default()
        .with_buffer_bytes(feed.receive.buffer as usize)
        .with_kernel_stamps(false)
        .with_senders(false);
    let (live, mut watch) = Live::open(&feed, &options).map_err(explain)?;
    if watch.facts().iter().any(|line| line.interface != InterfaceState::Up) {
        return Err(no_loopback());
    }
    let mut wire = UdpWire::open(&feed)?;
    let facts = FeedFacts {
        packing: Packing::LENGTH_BE16,
        feed: feed.name.clone(),
        lines: feed.lines.iter().map(|line| line.name.clone()).collect(),
    };
    let (delivery, client) = twinline_client::open(&facts, StreamKind::Ordered.into(), CAPACITY_DEFAULT)?;
    let mut plan = parts::plan(schedule)?;
    let cores = os::core_count();
    let shared = Shared {
        clock: Clock::start(),
        spin: Spin::for_threads(BUSY_THREADS, cores),
        schedule,
        zero: OnceLock::new(),
        stop: Stop::on_signals().context("cannot install signal handlers")?,
        published: Stop::new(),
    };
    let seen = Seen::new(NAMES.len(), schedule.messages(), GAP_TIMEOUT);
    let checker = Checker::new(schedule.messages());
    let (arrived, news) = bounded(64);
    let read_news = arrived.clone();
    let (shared, feed) = (&shared, &feed);
    let (published, arbitrated, read) = thread::scope(|scope| {
        // publisher last: everyone listens before anything is sent
        let thread = |name: &str| thread::Builder::new().name(format!("demo-{name}"));
        let client = thread("client").spawn_scoped(scope, move || parts::read(shared, client, checker, read_news))?;
        let arbiter = thread("arbiter")
            .spawn_scoped(scope, move || parts::arbitrate(shared, feed, live, delivery, seen, arrived));
        let arbiter = arbiter?;
        let publisher = thread("publisher").spawn_scoped(scope, || parts::publish(shared, &mut plan, &mut wire));
        let publisher = publisher.inspect_err(|_| shared.published.request())?;
        let mut view = View::new(out);
        watch_over(schedule, &news, &mut view, || !client.is_finished());
        view.finish();
        Ok::<_, io::Error>((join(publisher), join(arbiter), join(client)))
    })?;
    watch.check().context("cannot read the sockets' drop counters")?;
    results(shared, cores, published?, arbitrated?, read?, &watch.facts())
}

fn join<T>(thread: ScopedJoinHandle<'_, T>) -> anyhow::Result<T> {
    let name = thread.thread().name().unwrap_or_default().to_owned();
    thread.join().map_err(|_| anyhow!("the thread {name} panicked; please report it"))
}

/// The error for sockets that cannot be opened, with what to do about it.
fn explain(error: LiveError) -> anyhow::Error {
    match error {
        LiveError::NoInterface { .. } => no_loopback(),
        error => error.into(),
    }
}

fn no_loopback() -> anyhow::Error {
    anyhow!("the loopback interface (127.0.0.1) is missing or down: bring it up (`ip link set lo up`) and try again")
}

/// Shows how far the demo is until `goes_on` says no.
fn watch_over(schedule: Schedule, news: &Receiver<News>, view: &mut View, goes_on: impl Fn() -> bool) {
    let mut board = Dashboard::new(schedule);
    loop {
        let last = !goes_on();
        news.try_iter().for_each(|news| board.take(news));
        view.show(&board);
        if last {
            return;
        }
        thread::sleep(SHOW_EVERY);
    }
}

/// Combines the results of the threads.
fn results(
    shared: &Shared,
    cores: usize,
    (sent, outcome): (publisher::PublishReport, Result<(), SendingError>),
    arbitrated: ArbiterResults,
    read: ClientResults,
    watched: &[WatchFacts],
) -> anyhow::Result<Results> {
    outcome?;
    arbitrated.outcome.context("cannot receive")?;
    read.outcome.context("cannot read the client's ring")?;
    let truth = &sent.truth;
    if sent.lines.iter().all(|line| line.datagrams == 0) {
        let why = sent.lines.iter().find_map(|line| line.last_error.clone()).unwrap_or_default();
        bail!("no datagram could be sent over loopback: {why}");
    }
    let line = |line: usize| LineResults {
        lost: truth.lost_on(Line(line as u8)),
        received: arbitrated.seen.lines[line].numbers.count(),
        first: read.checker.first[line],
        duplicate: arbitrated.channel.as_ref().map_or(0, |channel| channel.lines[line].duplicate),
        overflow: watched[line].overflow,
        buffer: watched[line].buffer_given,
    };
    Ok(Results {
        schedule: shared.schedule,
        stopped: sent.stopped,
        elapsed: sent.elapsed,
        spin: shared.spin,
        cores,
        sent: truth.numbers(),
        lost_on_both: truth.lost(),
        lines: std::array::from_fn(line),
        gaps: read.checker.gaps,
        late: arbitrated.channel.as_ref().map_or(0, |channel| channel.late),
        overruns: read.checker.overruns,
        latency: read.latency,
        lateness: sent.lateness,
        judgement: read.checker.judge(truth.numbers(), &arbitrated.seen),
    })
}
