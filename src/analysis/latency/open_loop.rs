//! Publisher, arbiter and client at a given rate. Each message is timed from the moment at which it was due.

use std::cell::Cell;
use std::sync::OnceLock;
use std::time::Duration;
use std::{fmt, io, thread};

use crossbeam::channel::{Receiver, Sender, bounded};

use twinline_client::{CAPACITY_DEFAULT, ClientError, Deliveries, Delivery, FeedFacts, StreamKind};
use twinline_core::Nanos;
use twinline_core::frame::{LINES_MAX, Session};
use twinline_core::framing::Framing;
use twinline_node::config::Feed;
use twinline_node::handler::Handler;
use twinline_node::os::{self, Clock, NamespaceError, PinError, Spin, Stop};
use twinline_node::publisher::{LinePlan, Plan, PlanConfig, PlanError, Rate};
use twinline_node::runtime::live;
use twinline_node::source::Source;
use twinline_node::wire::{UdpWire, WireError};

use super::arbitrate::{Noting, OpenLoopHooks, Publishing, StampCounts};
use super::latencies::{Stages, Totals};
use super::message::{Load, Timed};
use super::publish::{MeasuredPublishError, Published, publish};
use super::read::{Interval, ReadCounts, ReadFound, TimedReader};

/// From the last thread's start to the first message.
const LEAD_IN: Nanos = Nanos::from_millis(5);
/// A pass that takes twice as long as it was to, and this, is given up: the publisher does not hold the rate.
const GIVE_UP_MIN: Nanos = Nanos::from_secs(1);
/// How often the caller is told about progress.
const TELL_EVERY: Duration = Duration::from_millis(50);
/// How many passes over the source empty it of what was there before, at most.
const DRAIN_MAX: u32 = 10_000;
/// How many records a publisher that has no time reads between two datagrams.
const READ_BETWEEN: u32 = 64;

/// Which thread runs on which core.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arrangement {
    /// The publisher's core; `None`: wherever the system puts it. The same holds for the other two.
    pub publisher: Option<usize>,
    /// The arbiter's core.
    pub arbiter: Option<usize>,
    /// The client's core.
    pub client: Option<usize>,
    /// Whether one thread publishes and reads: the publisher's.
    pub paired: bool,
    /// What an idle thread does.
    pub spin: Spin,
}

impl fmt::Display for Arrangement {
    /// The sentence for the user.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (publisher, arbiter) = (core_text(self.publisher), core_text(self.arbiter));
        if self.paired {
            write!(
                f,
                "one thread on {publisher} publishes and reads, so that a read may wait for the send of the next copy; the \
                 arbiter is on {arbiter}"
            )?;
        } else {
            write!(f, "publisher on {publisher}, arbiter on {arbiter}, client on {}", core_text(self.client))?;
        }
        write!(f, "; {}", self.spin)
    }
}

/// A thread's core, for people.
pub(super) fn core_text(core: Option<usize>) -> String {
    core.map_or("any core".to_owned(), |core| format!("core {core}"))
}

/// The settings of all passes of a measurement.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct OpenLoopSettings<'a> {
    /// The feed that is listened to.
    pub feed: &'a Feed,
    /// Where its lines are sent: the same, or another with as many lines and groups.
    pub to: &'a Feed,
    /// The network namespace that is published from.
    pub namespace: Option<&'a str>,
    /// Which thread has which core.
    pub arrangement: Arrangement,
    /// How long messages are sent before those that are timed.
    pub warm_up: Nanos,
    /// How long messages are timed after that.
    pub span: Nanos,
    /// How each line packs, and what it loses.
    pub lines: &'a [LinePlan],
    /// The seed of losses and delays.
    pub seed: u64,
    /// Whether the kernel's stamps are evaluated. The source must have been asked for them.
    pub kernel_stamps: bool,
}

impl<'a> OpenLoopSettings<'a> {
    /// 5 s after a warm-up of 500 ms, sent to the groups of `feed` itself, without kernel stamps. `lines` says how each line packs and
    /// what it loses.
    pub fn new(feed: &'a Feed, arrangement: Arrangement, lines: &'a [LinePlan]) -> OpenLoopSettings<'a> {
        OpenLoopSettings {
            feed,
            to: feed,
            namespace: None,
            arrangement,
            warm_up: Nanos::from_millis(500),
            span: Nanos::from_secs(5),
            lines,
            seed: 1,
            kernel_stamps: false,
        }
    }
}

/// Why a measurement ended early.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MeasureError {
    /// A thread cannot have its core.
    #[error(transparent)]
    Pin(#[from] PinError),
    /// The publisher cannot enter its namespace.
    #[error(transparent)]
    Namespace(#[from] NamespaceError),
    /// A line cannot be sent on.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// The load or the lines cannot be planned.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// Publishing ended early.
    #[error(transparent)]
    Publish(#[from] MeasuredPublishError),
    /// Nothing more can be received.
    #[error("cannot receive: {0}")]
    Receive(#[from] io::Error),
    /// There is no ring to the client.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The client's ring is broken.
    #[error("the client's ring: {0}")]
    Broken(#[from] twinline_client::BrokenStream),
    /// No message gets through.
    #[error(
        "{lost} messages in a row did not come: see that what is sent on {to} arrives on {feed}: interfaces, groups, the \
         namespace, a firewall"
    )]
    Silent {
        /// How many did not come.
        lost: u64,
        /// The feed that is sent on.
        to: String,
        /// The feed that is listened to.
        feed: String,
    },
    /// A thread panicked, or does not answer.
    #[error("the thread {0} is gone; please report it")]
    Thread(&'static str),
}

/// What one pass measured.
#[derive(Clone, Debug)]
pub struct OpenLoopMeasured {
    /// What was sent.
    pub(super) published: Published,
    /// From intended send to client read.
    pub(super) totals: Totals,
    /// The parts of that way.
    pub(super) stages: Stages,
    /// What the client counted.
    pub(super) counts: ReadCounts,
    /// What the kernel's stamps showed, if they were evaluated.
    pub(super) stamps: Option<StampCounts>,
    /// By how many nanoseconds the wall clock, which kernel stamps follow, was stepped during the pass.
    pub(super) wall_step_ns: i64,
    /// Datagrams that were received, by line.
    pub(super) datagrams: [u64; LINES_MAX],
    /// Messages that came after they had been given up.
    pub(super) late: u64,
}

/// What the arbiter's thread leaves.
struct Arbitrated {
    stages: Stages,
    stamps: StampCounts,
    datagrams: [u64; LINES_MAX],
    late: u64,
    outcome: io::Result<()>,
}

/// What the client leaves.
type Read = Result<(Totals, Stages, ReadCounts), twinline_client::BrokenStream>;

/// What a pass's threads know of each other.
struct Pass<'a> {
    settings: &'a OpenLoopSettings<'a>,
    load: Load,
    session: Session,
    clock: Clock,
    stop: &'a Stop,
    published: Stop,
    from: OnceLock<Nanos>,
}

/// Opens a ring for a feed's client.
///
/// # Errors
/// The ring's.
pub(super) fn ring(framing: impl Framing, feed: &Feed) -> Result<(Delivery, twinline_client::Client), ClientError> {
    let lines = feed.lines.iter().map(|line| line.name.clone()).collect();
    twinline_client::open(
        &FeedFacts { packing: framing.packing(), feed: feed.name.clone(), lines },
        StreamKind::Ordered.into(),
        CAPACITY_DEFAULT,
    )
}

/// Empties a source of what was there before.
pub(super) fn drain(source: &mut impl Source) -> io::Result<()> {
    for _ in 0..DRAIN_MAX {
        let pass = source.poll(&mut |_| ())?;
        if pass.datagrams == 0 && !pass.full {
            break;
        }
    }
    Ok(())
}

/// Runs one pass: a load, from its warm-up to its last message. `session` distinguishes it from earlier passes. `tell` gets each
/// interval that is over, and `None` now and then, for progress.
///
/// # Errors
/// [`MeasureError`]. All threads have ended by then.
pub fn measure_open_loop<F: Framing, S: Source + Send>(
    framing: F,
    settings: &OpenLoopSettings<'_>,
    (load, session): (Load, Session),
    source: &mut S,
    (clock, stop): (Clock, &Stop),
    mut tell: impl FnMut(Option<&Interval>),
) -> Result<OpenLoopMeasured, MeasureError> {
    let (delivery, client) = ring(framing, settings.feed)?;
    let pass = Pass { settings, load, session, clock, stop, published: Stop::new(), from: OnceLock::new() };
    let pass = &pass;
    let (reader, intervals) = TimedReader::new(client, clock, &pass.from, settings.feed.lines.len());
    let wall_ahead_ns = clock.wall_ahead_ns();
    let Arrangement { paired, client: core, .. } = settings.arrangement;
    let (published, arbitrated, read) = thread::scope(|scope| {
        let (tell_ready, ready) = bounded(1);
        let mut reader = Some(reader);
        let reading = (!paired).then(|| reader.take()).flatten().map(|reader| {
            scope.spawn(move || {
                let pinned = core.map_or(Ok(()), os::pin_thread);
                (pinned, pass.read(reader))
            })
        });
        let arbiter = scope.spawn(move || pass.arbitrate(framing, source, delivery, wall_ahead_ns, &tell_ready));
        let publisher = scope.spawn(move || pass.publish(framing, reader, &ready));
        while !(publisher.is_finished() && arbiter.is_finished()) {
            thread::sleep(TELL_EVERY);
            intervals.drain(|interval| tell(Some(interval)));
            tell(None);
        }
        let (published, read) = publisher.join().map_err(|_| MeasureError::Thread("publisher"))?;
        let arbitrated = arbiter.join().map_err(|_| MeasureError::Thread("arbiter"))??;
        let read = match reading {
            None => read,
            Some(reading) => {
                let (pinned, read) = reading.join().map_err(|_| MeasureError::Thread("client"))?;
                pinned?;
                Some(read)
            }
        };
        Ok::<_, MeasureError>((published?, arbitrated, read))
    })?;
    intervals.drain(|interval| tell(Some(interval)));
    arbitrated.outcome?;
    let (totals, mut stages, counts) = read.ok_or(MeasureError::Thread("client"))??;
    stages.add(&arbitrated.stages);
    Ok(OpenLoopMeasured {
        published,
        totals,
        stages,
        counts,
        stamps: settings.kernel_stamps.then_some(arbitrated.stamps),
        wall_step_ns: clock.wall_ahead_ns() - wall_ahead_ns,
        datagrams: arbitrated.datagrams,
        late: arbitrated.late,
    })
}

impl Pass<'_> {
    /// The publisher's thread, which is also the client's if it is given a reader.
    fn publish<F: Framing>(
        &self,
        framing: F,
        mut reader: Option<TimedReader<'_>>,
        ready: &Receiver<()>,
    ) -> (Result<Published, MeasureError>, Option<Read>) {
        let mut broken = None;
        let published = self.send(framing, reader.as_mut(), ready, &mut broken);
        // however it ended: nobody is to wait for more
        self.published.request();
        let read = reader.map(|reader| match broken {
            None => self.read(reader),
            Some(broken) => Err(broken),
        });
        (published, read)
    }

    fn send<F: Framing>(
        &self,
        framing: F,
        mut reader: Option<&mut TimedReader<'_>>,
        ready: &Receiver<()>,
        broken: &mut Option<twinline_client::BrokenStream>,
    ) -> Result<Published, MeasureError> {
        let OpenLoopSettings { to, namespace, arrangement, warm_up, span, lines, seed, .. } = *self.settings;
        namespace.map_or(Ok(()), os::enter_namespace)?;
        arrangement.publisher.map_or(Ok(()), os::pin_thread)?;
        let mut wire = UdpWire::open(to)?;
        // an arbiter that is gone has its own error to tell
        ready.recv().map_err(|_| MeasureError::Thread("arbiter"))?;
        let zero = self.clock.now() + LEAD_IN;
        let _ = self.from.set(zero + warm_up);
        let config = PlanConfig {
            session: self.session,
            rate: Rate::Recorded,
            lines: lines.to_vec(),
            heartbeat: Some(Nanos::MAX),
            seed,
            ..PlanConfig::default()
        };
        let mut plan = Plan::new(framing, config, Timed::new(self.load, zero, warm_up + span))?;
        let spin = arrangement.spin;
        let meanwhile = |time: bool| {
            let Some(reader) = &mut reader else {
                if time {
                    spin.idle();
                }
                return;
            };
            for _ in 0..READ_BETWEEN {
                match reader.poll() {
                    Ok(ReadFound::Item) => {}
                    Ok(_) => {
                        if time {
                            spin.idle();
                        }
                        return;
                    }
                    Err(error) => *broken = Some(error),
                }
                if time {
                    return;
                }
            }
        };
        // an overload ends as well
        let give_up = Nanos((warm_up + span).0.saturating_mul(2)) + GIVE_UP_MIN;
        Ok(publish(framing, &mut plan, &mut wire, (self.clock, zero, give_up), self.stop, meanwhile)?)
    }

    /// Reads until the arbiter has gone.
    fn read(&self, mut reader: TimedReader<'_>) -> Read {
        loop {
            match reader.poll()? {
                ReadFound::Item => {}
                ReadFound::Nothing => self.settings.arrangement.spin.idle(),
                ReadFound::End => return Ok(reader.finish()),
            }
        }
    }

    /// The arbiter's thread.
    fn arbitrate<F: Framing, S: Source>(
        &self,
        framing: F,
        source: &mut S,
        delivery: Delivery,
        wall_ahead_ns: i64,
        ready: &Sender<()>,
    ) -> Result<Arbitrated, MeasureError> {
        let OpenLoopSettings { feed, arrangement, kernel_stamps, .. } = *self.settings;
        arrangement.arbiter.map_or(Ok(()), os::pin_thread)?;
        let mut handler = Handler::new(framing, feed);
        let taken = Cell::new(Nanos::ZERO);
        let mut sink = Publishing {
            sink: Deliveries::fixed(vec![delivery]),
            taken: &taken,
            clock: self.clock,
            from: &self.from,
            stages: Stages::default(),
        };
        let now = self.clock.now();
        let mut beside = OpenLoopHooks {
            framing,
            clock: self.clock,
            spin: arrangement.spin,
            published: &self.published,
            from: &self.from,
            taken: &taken,
            wall_ahead_ns: kernel_stamps.then_some(wall_ahead_ns),
            stages: Stages::default(),
            stamps: StampCounts::default(),
            datagrams: [0; LINES_MAX],
            heard: (now, now),
        };
        drain(source)?;
        // the publisher waits for this, or has failed
        let _ = ready.send(());
        let mut source = Noting { source, taken: &taken, clock: self.clock };
        let outcome = live(&mut handler, &mut source, &mut beside, &mut sink).map(|_| ());
        if outcome.is_err() {
            // nobody listens any more
            self.stop.request();
        }
        let late = handler.arbiter().channels().map(|channel| channel.late).sum();
        let OpenLoopHooks { mut stages, stamps, datagrams, .. } = beside;
        stages.add(&sink.stages);
        Ok(Arbitrated { stages, stamps, datagrams, late, outcome })
    }
}
