//! The parts of the demo, one thread each: publisher, arbiter, client.

use std::io;
use std::sync::OnceLock;

use crossbeam::channel::Sender;
use hdrhistogram::Histogram;

use twinline_client::{Client, Deliveries, Delivery, Item, Polled};
use twinline_core::Nanos;
use twinline_core::arbiter::{Arbiter, ChannelReport, LineState};
use twinline_core::framing::{Framing, MoldUdp64};
use twinline_node::config::Feed;
use twinline_node::handler::Handler;
use twinline_node::os::{Clock, Spin, Stop};
use twinline_node::publisher::{self, Plan, PlanError, SendingError, send_from};
use twinline_node::runtime::{LiveHooks, live};
use twinline_node::source::{Datagram, Live};
use twinline_node::wire::UdpWire;

use super::checker::{Checker, Gaps};
use super::schedule::{NAMES, Paced, Schedule};
use super::seen::Seen;

/// The longest latency that is recorded as it is; longer ones count as this.
const LATENCY_MAX: Nanos = Nanos::from_secs(60);
/// How often arbiter and client report how far they are.
const NEWS_EVERY: Nanos = Nanos::from_millis(50);
/// How long the arbiter goes on listening once nothing arrives any more.
const QUIET: Nanos = Nanos::from_millis(50);
/// The same if the end of the session did not get through.
const QUIET_MAX: Nanos = Nanos::from_secs(2);

/// What the threads share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) clock: Clock,
    pub(super) spin: Spin,
    pub(super) schedule: Schedule,
    /// The plan's zero by the clock; set before the first datagram is sent.
    pub(super) zero: OnceLock<Nanos>,
    /// The user pressed Ctrl-C.
    pub(super) stop: Stop,
    /// The publisher has sent everything.
    pub(super) published: Stop,
}

/// How far a thread is. Only the live view reads it, and it may miss some.
#[derive(Clone, Copy, Debug)]
pub(super) enum News {
    /// What the arbiter was given so far.
    Arrived {
        at: Nanos,
        /// Different numbers, per line.
        numbers: [u64; NAMES.len()],
        /// Numbers that the line has gone past without bringing them.
        missing: [u64; NAMES.len()],
    },
    /// What the client has read so far.
    Read {
        delivered: u64,
        first: [u64; NAMES.len()],
        states: [LineState; NAMES.len()],
        gaps: Gaps,
        overruns: u64,
        /// Latencies in the last second, of messages that were not held.
        p50: u64,
        p99: u64,
    },
}

/// Sends everything.
pub(super) fn publish(
    shared: &Shared,
    plan: &mut Plan<MoldUdp64, Paced>,
    wire: &mut UdpWire,
) -> (publisher::PublishReport, Result<(), SendingError>) {
    let zero = *shared.zero.get_or_init(|| shared.clock.now());
    let outcome = send_from(plan, wire, shared.clock, zero, &shared.stop, |_| ());
    shared.published.request();
    outcome
}

/// The plan of a schedule.
///
/// # Errors
/// None, for a schedule made from valid arguments.
pub(super) fn plan(schedule: Schedule) -> Result<Plan<MoldUdp64, Paced>, PlanError> {
    Plan::new(MoldUdp64, schedule.plan(), schedule.source())
}

/// What the arbiter's thread leaves behind.
pub(super) struct ArbiterResults {
    pub(super) seen: Seen,
    /// The feed's one channel, if it began.
    pub(super) channel: Option<ChannelReport>,
    pub(super) outcome: io::Result<()>,
}

/// The demo's hooks in the arbiter's loop: they record what arrives, report progress, and end the loop.
struct DemoHooks<'a> {
    shared: &'a Shared,
    seen: Seen,
    news: Sender<News>,
    reading: Nanos,
    told: Nanos,
    /// When the last datagram arrived.
    heard: Nanos,
}

impl LiveHooks for DemoHooks<'_> {
    fn now(&mut self) -> Nanos {
        self.reading = self.shared.clock.now();
        self.reading
    }

    fn datagram(&mut self, stamp: Nanos, datagram: &Datagram<'_>) {
        let mut at = 0;
        while let Some(Ok(frame)) = MoldUdp64.frame(datagram.payload, &mut at) {
            self.seen.frame(stamp, datagram.line, &frame);
        }
    }

    fn idle(&mut self) {
        self.shared.spin.idle();
    }

    fn go_on(&mut self, arbiter: &Arbiter, datagrams: usize) -> bool {
        if self.reading - self.told >= NEWS_EVERY {
            self.told = self.reading;
            let lines = &self.seen.lines;
            let _ = self.news.try_send(News::Arrived {
                at: self.reading,
                numbers: [lines[0].numbers.count(), lines[1].numbers.count()],
                missing: [lines[0].missing(), lines[1].missing()],
            });
        }
        if datagrams > 0 {
            self.heard = self.reading;
            return true;
        }
        let quiet = self.reading - self.heard;
        let over = quiet >= QUIET_MAX || quiet >= QUIET && arbiter.all_ended();
        !(over && self.shared.published.requested())
    }
}

/// Arbitrates until everything that was published has arrived.
pub(super) fn arbitrate(
    shared: &Shared,
    feed: &Feed,
    mut live_lines: Live,
    delivery: Delivery,
    seen: Seen,
    news: Sender<News>,
) -> ArbiterResults {
    let mut handler = Handler::new(MoldUdp64, feed);
    let mut deliveries = Deliveries::fixed(vec![delivery]);
    let now = shared.clock.now();
    let mut hooks = DemoHooks { shared, seen, news, reading: now, told: now, heard: now };
    let outcome = live(&mut handler, &mut live_lines, &mut hooks, &mut deliveries).map(|_| ());
    if outcome.is_err() {
        // nobody is listening any more
        shared.stop.request();
    }
    ArbiterResults { seen: hooks.seen, channel: handler.arbiter().channels().next(), outcome }
}

/// What the client's thread leaves behind.
pub(super) struct ClientResults {
    pub(super) checker: Checker,
    pub(super) latency: Latency,
    pub(super) outcome: Result<(), twinline_client::BrokenStream>,
}

/// Nanoseconds from the time at which a message was to be sent to the time at which it was read.
#[derive(Clone, Debug)]
pub(super) struct Latency {
    /// Of messages that were not held.
    pub(super) straight: Histogram<u64>,
    /// Of messages that were held because an earlier one was missing.
    pub(super) held: Histogram<u64>,
}

impl Latency {
    pub(super) fn new() -> Latency {
        Latency { straight: latencies(3), held: latencies(3) }
    }

    /// Of all messages.
    pub(super) fn all(&self) -> Histogram<u64> {
        let mut all = self.straight.clone();
        all += &self.held;
        all
    }
}

/// An empty histogram of latencies, with this many significant figures.
fn latencies(figures: u8) -> Histogram<u64> {
    Histogram::new_with_bounds(1, LATENCY_MAX.0, figures).unwrap_or_else(|_| unreachable!("valid bounds"))
}

/// Reads and checks until the arbiter has ended.
pub(super) fn read(shared: &Shared, mut client: Client, mut checker: Checker, news: Sender<News>) -> ClientResults {
    let mut latency = Latency::new();
    // one figure: few enough counters to scan while messages arrive
    let (mut recent, mut recent_since) = (latencies(1), Nanos::ZERO);
    let (mut p50, mut p99) = (0, 0);
    let mut told = Nanos::ZERO;
    let outcome = loop {
        let now = match client.poll() {
            Ok(Polled::Item(item)) => {
                let now = shared.clock.now();
                if let (Some(index), Some(&zero)) = (checker.read(&item), shared.zero.get()) {
                    let took = now - (zero + shared.schedule.due(index));
                    let held = matches!(&item, Item::Message(message) if message.flags.held);
                    let of = if held { &mut latency.held } else { &mut latency.straight };
                    of.saturating_record(took.0);
                    if !held {
                        recent.saturating_record(took.0);
                    }
                }
                now
            }
            Ok(Polled::Empty) => {
                shared.spin.idle();
                shared.clock.now()
            }
            Ok(Polled::Ended) => break Ok(()),
            Err(broken) => break Err(broken),
        };
        if now - told >= NEWS_EVERY {
            told = now;
            if now - recent_since >= Nanos::from_secs(1) {
                (p50, p99) = (recent.value_at_quantile(0.5), recent.value_at_quantile(0.99));
                recent.reset();
                recent_since = now;
            }
            let Checker { first, states, gaps, overruns, .. } = checker;
            let delivered = checker.delivered();
            let _ = news.try_send(News::Read { delivered, first, states, gaps, overruns, p50, p99 });
        }
    };
    ClientResults { checker, latency, outcome }
}
