//! The parts of the demo, each a thread's whole work: publisher, arbiter, client.

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
use twinline_node::os::clock::Clock;
use twinline_node::os::cpu::Spin;
use twinline_node::os::signal::Stop;
use twinline_node::publisher::plan::{Plan, PlanError};
use twinline_node::publisher::send::{self, SendingError, send_from};
use twinline_node::runtime::{LiveHooks, live};
use twinline_node::source::Datagram;
use twinline_node::source::live::Live;
use twinline_node::wire::UdpWire;

use super::checker::{Checker, Gaps};
use super::schedule::{NAMES, Paced, Schedule};
use super::seen::Seen;

/// The longest latency that is told apart from longer ones.
const LATENCY_MAX: Nanos = Nanos::from_secs(60);
/// How often arbiter and client say how far they are.
const NEWS_EVERY: Nanos = Nanos::from_millis(50);
/// How long the arbiter listens on when nothing comes any more.
const QUIET: Nanos = Nanos::from_millis(50);
/// The same where the session's end did not get through.
const QUIET_MAX: Nanos = Nanos::from_secs(2);

/// What the threads know of each other.
#[derive(Debug)]
pub(super) struct Common {
    pub(super) clock: Clock,
    pub(super) spin: Spin,
    pub(super) schedule: Schedule,
    /// The plan's zero by the clock; set before the first datagram is sent.
    pub(super) zero: OnceLock<Nanos>,
    /// A person's wish.
    pub(super) stop: Stop,
    /// The publisher has sent all.
    pub(super) published: Stop,
}

/// How far a thread is: for the live view alone, which may miss some.
#[derive(Clone, Copy, Debug)]
pub(super) enum News {
    /// The arbiter was given so much.
    Arrived {
        at: Nanos,
        /// Different numbers, by line.
        numbers: [u64; NAMES.len()],
        /// Numbers that the line has gone past.
        missing: [u64; NAMES.len()],
    },
    /// The client has read so much.
    Read {
        delivered: u64,
        first: [u64; NAMES.len()],
        states: [LineState; NAMES.len()],
        gaps: Gaps,
        overruns: u64,
        /// Latencies of the last second, of messages that went straight through.
        p50: u64,
        p99: u64,
    },
}

/// Sends everything.
pub(super) fn publish(
    common: &Common,
    plan: &mut Plan<MoldUdp64, Paced>,
    wire: &mut UdpWire,
) -> (send::PublishReport, Result<(), SendingError>) {
    let zero = *common.zero.get_or_init(|| common.clock.now());
    let outcome = send_from(plan, wire, common.clock, zero, &common.stop, |_| ());
    common.published.request();
    outcome
}

/// The plan of a schedule.
///
/// # Errors
/// None for a schedule that the arguments give.
pub(super) fn plan(schedule: Schedule) -> Result<Plan<MoldUdp64, Paced>, PlanError> {
    Plan::new(MoldUdp64, schedule.plan(), schedule.source())
}

/// What the arbiter's thread leaves behind.
pub(super) struct Arbitrated {
    pub(super) seen: Seen,
    /// The feed's one channel, if it began.
    pub(super) channel: Option<ChannelReport>,
    pub(super) outcome: io::Result<()>,
}

/// Stands beside the arbiter's loop.
struct Beside<'a> {
    common: &'a Common,
    seen: Seen,
    news: Sender<News>,
    reading: Nanos,
    told: Nanos,
    /// When a datagram came last.
    heard: Nanos,
}

impl LiveHooks for Beside<'_> {
    fn now(&mut self) -> Nanos {
        self.reading = self.common.clock.now();
        self.reading
    }

    fn datagram(&mut self, stamp: Nanos, datagram: &Datagram<'_>) {
        let mut at = 0;
        while let Some(Ok(frame)) = MoldUdp64.frame(datagram.payload, &mut at) {
            self.seen.frame(stamp, datagram.line, &frame);
        }
    }

    fn idle(&mut self) {
        self.common.spin.idle();
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
        !(over && self.common.published.requested())
    }
}

/// Arbitrates until everything that was published has come.
pub(super) fn arbitrate(
    common: &Common,
    feed: &Feed,
    mut live_lines: Live,
    delivery: Delivery,
    seen: Seen,
    news: Sender<News>,
) -> Arbitrated {
    let mut handler = Handler::new(MoldUdp64, feed);
    let mut deliveries = Deliveries::fixed(vec![delivery]);
    let now = common.clock.now();
    let mut beside = Beside { common, seen, news, reading: now, told: now, heard: now };
    let outcome = live(&mut handler, &mut live_lines, &mut beside, &mut deliveries).map(|_| ());
    if outcome.is_err() {
        // nobody listens any more
        common.stop.request();
    }
    Arbitrated { seen: beside.seen, channel: handler.arbiter().channels().next(), outcome }
}

/// What the client's thread leaves behind.
pub(super) struct Read {
    pub(super) checker: Checker,
    pub(super) latency: Latency,
    pub(super) outcome: Result<(), twinline_client::BrokenStream>,
}

/// Nanoseconds from the time at which a message was to be sent to the time at which it was read.
#[derive(Clone, Debug)]
pub(super) struct Latency {
    /// Of messages that went straight through.
    pub(super) straight: Histogram<u64>,
    /// Of messages that were held because one before them was missing.
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

/// An empty histogram of latencies, with so many figures.
fn latencies(figures: u8) -> Histogram<u64> {
    Histogram::new_with_bounds(1, LATENCY_MAX.0, figures).unwrap_or_else(|_| unreachable!("valid bounds"))
}

/// Reads and checks until the arbiter has gone.
pub(super) fn read(common: &Common, mut client: Client, mut checker: Checker, news: Sender<News>) -> Read {
    let mut latency = Latency::new();
    // few enough counters to be looked through while messages come
    let (mut recent, mut recent_since) = (latencies(1), Nanos::ZERO);
    let (mut p50, mut p99) = (0, 0);
    let mut told = Nanos::ZERO;
    let outcome = loop {
        let now = match client.poll() {
            Ok(Polled::Item(item)) => {
                let now = common.clock.now();
                if let (Some(index), Some(&zero)) = (checker.read(&item), common.zero.get()) {
                    let took = now - (zero + common.schedule.due(index));
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
                common.spin.idle();
                common.clock.now()
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
    Read { checker, latency, outcome }
}
