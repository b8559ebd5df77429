//! The live runtime: it joins a feed's lines and starts two threads. The hot thread receives and arbitrates; the attendant looks
//! after the lines.
//!
//! ```text
//!  hot thread: source -> framing -> arbiter -> sink or clients' rings    (allocates nothing, locks nothing)
//!       |  \-> a copy of every datagram -> Recorder: a capture file
//!       \----> the page of counters                                       (read by anyone, at any time)
//!  attendant:  interfaces, the kernel's drops -> notices
//! ```
//!
//! ```no_run
//! use twinline_client::{Item, Polled, StreamKind};
//! use twinline_node::config::Feed;
//! use twinline_node::runtime::Runtime;
//!
//! let mut runtime = Runtime::new(Feed::load("feeds/loopback.toml")?);
//! let mut client = runtime.client(StreamKind::Ordered)?;
//! let (running, _clients) = runtime.start()?;
//! loop {
//!     match client.poll()? {
//!         Polled::Item(Item::Message(message)) => println!("{} {:?}", message.sequence, message.bytes),
//!         Polled::Item(other) => println!("{other:?}"),
//!         Polled::Empty => std::hint::spin_loop(),
//!         Polled::Ended => break,
//!     }
//! }
//! let end = running.join()?;
//! println!("{} channels", end.arbiter.channels().count());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! [`live`] is the loop itself, for programs that have a source, a clock and threads of their own.

use std::io;
use std::thread::{self, JoinHandle};

use twinline_client::counters::{self, CounterPage, CounterWriter};
use twinline_client::{AttachError, Client, ClientError, ClientId, Deliveries, Delivery, FeedFacts, Roster, Wants};
use twinline_core::Nanos;
use twinline_core::arbiter::{Arbiter, Sink};
use twinline_core::frame::LINES_MAX;
use twinline_core::framing::{Framing, WithFraming};

use crate::config::{Feed, Method};
use crate::handler::{Handler, MalformedCounts, Tap, settings};
use crate::os::{self, Clock, PinError, ReceiveOptions, Spin, Stop};
use crate::source::{
    self, AnyLive, Datagram, LiveError, LiveWatch, MethodChoice, Source, SourceFacts, WatchFacts, WithSource,
};

mod attendant;
mod hot;
mod live;
mod pacer;
mod recorder;

pub use attendant::RuntimeNotice;
pub use live::{LiveEnd, LiveHooks, live};
pub use recorder::{CaptureSummary, Recorder, RecorderError};

use attendant::{Attendant, Notices};
use hot::HotHooks;
use live::record;

/// What the hot thread calls beside its sink. Each hook does nothing unless it is written; `()` has none. They run between two
/// receive calls: they must not wait, allocate or call the system.
pub trait RuntimeHooks {
    /// A datagram, as the arbiter is about to be given it.
    #[inline]
    fn datagram(&mut self, stamp: Nanos, datagram: &Datagram<'_>) {
        let _ = (stamp, datagram);
    }

    /// Whether to go on, after a pass that found `datagrams`.
    #[inline]
    fn go_on(&mut self, arbiter: &Arbiter, datagrams: usize) -> bool {
        let _ = (arbiter, datagrams);
        true
    }
}

impl RuntimeHooks for () {}

/// Why a runtime cannot start, or has failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RuntimeError {
    /// The core that the feed file or the caller asks for cannot be used.
    #[error(transparent)]
    Core(#[from] PinError),
    /// A line cannot be joined.
    #[error(transparent)]
    Lines(#[from] LiveError),
    /// A thread cannot be started.
    #[error("cannot start a thread: {0}")]
    Thread(io::Error),
    /// It has clients, but was started with a sink that does not serve them.
    #[error("this runtime has clients, and a sink of its own would leave them without a stream: start it without one")]
    Clients,
    /// More clients were made than there may be at once.
    #[error("more clients than there may be at once: {max}", max = twinline_client::DIRECT_MAX)]
    TooManyClients,
    /// The hot thread panicked: what it knew is gone.
    #[error("the thread that receives has failed: what it knew is gone")]
    Failed,
}

/// A live run before it starts. Only the feed is needed; everything else has a default.
#[derive(Debug)]
pub struct Runtime {
    feed: Feed,
    method: Method,
    core: Option<usize>,
    spin: Option<Spin>,
    clock: Option<Clock>,
    senders: bool,
    until_end: bool,
    tap: Option<Tap>,
    stops: Vec<Stop>,
    clients: Vec<Delivery>,
    clients_max: usize,
}

/// How many clients a runtime has room for by default.
const CLIENTS_MAX: usize = 16;

impl Runtime {
    /// A runtime for this feed. By default it receives as the feed file says, on the core that the file names.
    pub fn new(feed: Feed) -> Runtime {
        Runtime {
            method: feed.receive.method,
            core: feed.receive.core,
            feed,
            spin: None,
            clock: None,
            senders: false,
            until_end: false,
            tap: None,
            stops: Vec::new(),
            clients: Vec::new(),
            clients_max: CLIENTS_MAX,
        }
    }

    /// Receives by this method. Overrides the feed file.
    #[must_use]
    pub fn receive(mut self, method: Method) -> Runtime {
        self.method = method;
        self
    }

    /// Pins the hot thread to this core, or to none. Overrides the feed file.
    #[must_use]
    pub fn core(mut self, core: Option<usize>) -> Runtime {
        self.core = core;
        self
    }

    /// What the hot thread does while there is nothing to receive. By default it spins if it can have a core to itself and another
    /// is left for everything else; otherwise it yields.
    #[must_use]
    pub fn spin(mut self, spin: Spin) -> Runtime {
        self.spin = Some(spin);
        self
    }

    /// The clock of the run. Share one between threads whose times are compared. By default the runtime starts its own.
    #[must_use]
    pub fn clock(mut self, clock: Clock) -> Runtime {
        self.clock = Some(clock);
        self
    }

    /// Also ends when `stop` is requested. Can be called several times.
    #[must_use]
    pub fn stop_on(mut self, stop: Stop) -> Runtime {
        self.stops.push(stop);
        self
    }

    /// Whether the run ends by itself once every channel's session has ended.
    #[must_use]
    pub fn until_end(mut self, until_end: bool) -> Runtime {
        self.until_end = until_end;
        self
    }

    /// Puts a copy of every datagram into this tap, usually that of a [`Recorder`].
    #[must_use]
    pub fn tap(mut self, tap: Tap) -> Runtime {
        self.tap = Some(tap);
        self.senders = true;
        self
    }

    /// Whether each datagram says who sent it. Always so with a tap.
    #[must_use]
    pub fn senders(mut self, senders: bool) -> Runtime {
        self.senders |= senders;
        self
    }

    /// How many clients there may be at once: 16 by default. Each costs the hot thread a copy of every message.
    ///
    /// # Panics
    /// If it is zero or more than [`twinline_client::DIRECT_MAX`].
    #[must_use]
    pub fn clients_max(mut self, clients: usize) -> Runtime {
        assert!((1..=twinline_client::DIRECT_MAX).contains(&clients), "{clients} clients at once are not possible");
        self.clients_max = clients;
        self
    }

    /// A client of this runtime, with a ring of [`twinline_client::CAPACITY_DEFAULT`] bytes. It can be read on any one thread.
    ///
    /// # Errors
    /// [`ClientError`] if the ring's memory cannot be allocated.
    pub fn client(&mut self, wants: impl Into<Wants>) -> Result<Client, ClientError> {
        self.client_with(wants, twinline_client::CAPACITY_DEFAULT)
    }

    /// Like [`Runtime::client`], with a ring of `capacity` bytes.
    ///
    /// # Errors
    /// [`ClientError::Ring`] if the capacity is not a power of two of at least [`twinline_client::CAPACITY_MIN`].
    pub fn client_with(&mut self, wants: impl Into<Wants>, capacity: usize) -> Result<Client, ClientError> {
        let (delivery, client) = twinline_client::open(&self.feed.facts(), wants.into(), capacity)?;
        self.clients.push(delivery);
        Ok(client)
    }

    /// Joins the lines and starts the threads. Clients made before get the stream from its first message on; later ones attach with
    /// [`Clients::attach`].
    ///
    /// # Errors
    /// [`RuntimeError`]
    pub fn start(mut self) -> Result<(Running<Deliveries>, Clients), RuntimeError> {
        let early = std::mem::take(&mut self.clients);
        let (mut deliveries, mut roster) =
            Deliveries::new(self.clients_max.max(early.len()).min(twinline_client::DIRECT_MAX));
        for delivery in early {
            roster.attach(delivery).map_err(|_| RuntimeError::TooManyClients)?;
        }
        deliveries.tend();
        let facts = self.feed.facts();
        let running = self.join_lines()?.start(deliveries)?;
        Ok((running, Clients { roster, facts }))
    }

    /// Like [`Runtime::start`], with the caller's own sink instead of clients. [`Running::join`] gives the sink back.
    ///
    /// # Errors
    /// [`RuntimeError`]; [`RuntimeError::Clients`] if clients were made.
    pub fn start_with<S: Sink + Send + 'static>(self, sink: S) -> Result<Running<S>, RuntimeError> {
        if !self.clients.is_empty() {
            return Err(RuntimeError::Clients);
        }
        self.join_lines()?.start(sink)
    }

    /// Joins the lines, but starts nothing yet.
    ///
    /// # Errors
    /// [`RuntimeError::Core`] if this process may not use the core, [`RuntimeError::Lines`] if a line cannot be joined.
    pub fn join_lines(self) -> Result<Joined, RuntimeError> {
        let usable = os::usable_cores();
        if let Some(core) = self.core.filter(|core| !usable.contains(core)) {
            return Err(PinError::NoSuchCore { core, usable }.into());
        }
        let options = ReceiveOptions {
            buffer_bytes: usize::try_from(self.feed.receive.buffer).unwrap_or(usize::MAX),
            kernel_stamps: self.feed.receive.kernel_stamps,
            senders: self.senders,
        };
        let (source, watch, taken) = AnyLive::open(&self.feed, self.method, &options)?;
        // leave one core for everything else, unless the user has chosen the core
        let spin = self.spin.unwrap_or_else(|| match self.core {
            Some(_) => Spin::new(false),
            None => Spin::for_threads(2, usable.len().max(1)),
        });
        let clock = self.clock.unwrap_or_else(Clock::start);
        Ok(Joined { runtime: self, source, watch, taken, spin, clock })
    }
}

impl Feed {
    /// What a client must know about the feed in order to read its messages.
    pub fn facts(&self) -> FeedFacts {
        let lines = self.lines.iter().map(|line| line.name.clone()).collect();
        FeedFacts { packing: self.framing.packing(), feed: self.name.clone(), lines }
    }
}

/// A runtime whose lines are joined. Datagrams wait in its sockets until it is started.
#[derive(Debug)]
pub struct Joined {
    runtime: Runtime,
    source: AnyLive,
    watch: LiveWatch,
    taken: MethodChoice,
    spin: Spin,
    clock: Clock,
}

impl Joined {
    /// The feed.
    pub fn feed(&self) -> &Feed {
        &self.runtime.feed
    }

    /// The method by which its lines are received, and why.
    pub fn method(&self) -> &MethodChoice {
        &self.taken
    }

    /// What the hot thread does while there is nothing to receive.
    pub fn spin(&self) -> Spin {
        self.spin
    }

    /// The core that the hot thread will be pinned to.
    pub fn core(&self) -> Option<usize> {
        self.runtime.core
    }

    /// The clock of the run.
    pub fn clock(&self) -> Clock {
        self.clock
    }

    /// Puts a copy of every datagram into this tap. The copies say who sent them only if the lines were joined with
    /// [`Runtime::senders`].
    #[must_use]
    pub fn tap(mut self, tap: Tap) -> Joined {
        self.runtime.tap = Some(tap);
        self
    }

    /// Starts the threads with this sink. The hot loop is compiled once per framing and method, so it never has to look either up.
    ///
    /// # Errors
    /// [`RuntimeError::Thread`]
    pub fn start<S: Sink + Send + 'static>(self, sink: S) -> Result<Running<S>, RuntimeError> {
        let framing = self.runtime.feed.framing;
        framing.with(Starting { joined: self, sink })
    }

    /// Like [`Joined::start`], for one framing only. Given [`AnyFraming`](twinline_core::framing::AnyFraming), the loop looks the
    /// feed's framing up for each datagram: that costs some nanoseconds, but the caller's program builds sooner.
    ///
    /// # Errors
    /// [`RuntimeError::Thread`]
    pub fn start_as<F: Framing, S: Sink + Send + 'static>(
        self,
        framing: F,
        sink: S,
    ) -> Result<Running<S>, RuntimeError> {
        self.start_hooked(framing, sink, ())
    }

    /// Like [`Joined::start_as`], with hooks that the hot thread calls.
    ///
    /// # Errors
    /// [`RuntimeError::Thread`]
    pub fn start_hooked<F: Framing, S: Sink + Send + 'static, H: RuntimeHooks + Send + 'static>(
        self,
        framing: F,
        sink: S,
        hooks: H,
    ) -> Result<Running<S>, RuntimeError> {
        self.spawn(hooks, move |source, feed, hot| source.with(Arbitrate { framing, feed, hot, sink }))
    }

    /// Starts the threads without an arbiter: every datagram goes to the tap only, with the stamp that an arbiter would be given.
    ///
    /// # Errors
    /// [`RuntimeError::Thread`]
    pub fn start_recording(self) -> Result<Running<()>, RuntimeError> {
        self.spawn((), move |source, feed, hot| source.with(RecordOnly { feed, hot }))
    }

    fn spawn<S: Send + 'static, H: RuntimeHooks + Send + 'static>(
        self,
        hooks: H,
        run: impl FnOnce(AnyLive, &Feed, HotHooks<H>) -> HotEnd<S> + Send + 'static,
    ) -> Result<Running<S>, RuntimeError> {
        let Joined { runtime, source, watch, spin, clock, .. } = self;
        let Runtime { feed, core, until_end, tap, mut stops, .. } = runtime;
        let stop = Stop::new();
        stops.push(stop.clone());
        let (writer, counters): (CounterWriter, CounterPage) = counters::open(feed.lines.len());
        let hot = HotHooks::new(hooks, clock, spin, stops, until_end, tap, writer, feed.lines.len());
        let (attendant, notices): (Attendant, Notices) = Attendant::start(watch).map_err(RuntimeError::Thread)?;
        let thread = thread::Builder::new().name("arbiter".into()).spawn(move || {
            if let Some(Err(error)) = core.map(os::pin_thread) {
                notices.put(RuntimeNotice::NotPinned(error));
            }
            drop(notices);
            run(source, &feed, hot)
        });
        let thread = thread.map_err(RuntimeError::Thread)?;
        Ok(Running { thread: Some(thread), attendant, counters, stop })
    }
}

/// The clients of a running feed. They can come and go while it runs.
#[derive(Debug)]
pub struct Clients {
    roster: Roster,
    facts: FeedFacts,
}

impl Clients {
    /// A client whose stream begins with the next frame, with a ring of `capacity` bytes ([`twinline_client::CAPACITY_DEFAULT`] is the
    /// usual one).
    ///
    /// # Errors
    /// [`AttachClientError`]
    pub fn attach(
        &mut self,
        wants: impl Into<Wants>,
        capacity: usize,
    ) -> Result<(ClientId, Client), AttachClientError> {
        self.collect();
        let (delivery, client) = twinline_client::open(&self.facts, wants.into(), capacity)?;
        Ok((self.roster.attach(delivery)?, client))
    }

    /// Ends a client's stream: the client reads what is in its ring, then the end. Returns false if it has already gone. (A client
    /// that is dropped detaches itself.)
    pub fn detach(&mut self, id: ClientId) -> bool {
        self.collect();
        self.roster.detach(id)
    }

    /// Frees the memory of clients that have gone, and returns how many there were. [`Clients::attach`] and [`Clients::detach`] do
    /// this as well.
    pub fn collect(&mut self) -> usize {
        std::iter::from_fn(|| self.roster.returned()).count()
    }

    /// The clients that are attached, attaching or detaching.
    pub fn ids(&self) -> impl Iterator<Item = ClientId> + '_ {
        self.roster.clients()
    }
}

/// Why a client cannot attach to a running feed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AttachClientError {
    /// Its ring cannot be made.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// There is no room for it, or the run has ended.
    #[error(transparent)]
    Attach(#[from] AttachError),
}

/// A live run. Dropping this ends the run, without waiting for its end.
#[derive(Debug)]
pub struct Running<S> {
    /// Until it is joined.
    thread: Option<JoinHandle<HotEnd<S>>>,
    attendant: Attendant,
    counters: CounterPage,
    stop: Stop,
}

impl<S> Running<S> {
    /// The page of counters that the hot thread stores.
    pub fn counters(&self) -> &CounterPage {
        &self.counters
    }

    /// A handle that ends the run, from any thread.
    pub fn stopper(&self) -> Stop {
        self.stop.clone()
    }

    /// Ends the run: the hot thread completes its pass, finishes the arbiter and closes the sink.
    pub fn stop(&self) {
        self.stop.request();
    }

    /// Whether the hot thread has ended.
    pub fn is_finished(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// The notices since the last call.
    pub fn notices(&self) -> impl Iterator<Item = RuntimeNotice> + '_ {
        std::iter::from_fn(|| self.attendant.notice())
    }

    /// What the kernel and the interfaces did to each line, as of the attendant's last look: every quarter of a second.
    pub fn lines(&self) -> Vec<WatchFacts> {
        self.attendant.facts()
    }

    /// Waits for the end.
    ///
    /// # Errors
    /// [`RuntimeError::Failed`] if the hot thread panicked, as the caller's own sink may.
    pub fn join(mut self) -> Result<Ended<S>, RuntimeError> {
        let end = self.thread.take().and_then(|thread| thread.join().ok());
        self.attendant.end();
        let HotEnd { at, source, dropped, arbiter, malformed, sink, error } = end.ok_or(RuntimeError::Failed)?;
        let notices = std::iter::from_fn(|| self.attendant.notice()).collect();
        let lines = self.attendant.facts();
        Ok(Ended { at, source, lines, dropped, arbiter, malformed, sink, error, notices })
    }
}

impl<S> Drop for Running<S> {
    fn drop(&mut self) {
        // the attendant goes with this, and a run whose lines nobody looks after must not go on
        self.stop.request();
    }
}

/// The results of a live run.
#[derive(Debug)]
#[non_exhaustive]
pub struct Ended<S> {
    /// The stamp at which the input ended; `None` if no datagram came.
    pub at: Option<Nanos>,
    /// What each line brought.
    pub source: SourceFacts,
    /// What the kernel and the interfaces did to each line.
    pub lines: Vec<WatchFacts>,
    /// What the tap had no room for, by line.
    pub dropped: [u64; LINES_MAX],
    /// The finished arbiter. If this was a recording, it saw nothing.
    pub arbiter: Arbiter,
    /// Datagrams that could not be read.
    pub malformed: MalformedCounts,
    /// The sink.
    pub sink: S,
    /// Why the source could not go on, if it could not.
    pub error: Option<io::Error>,
    /// The notices that had not been read.
    pub notices: Vec<RuntimeNotice>,
}

/// The results of the hot thread.
#[derive(Debug)]
struct HotEnd<S> {
    at: Option<Nanos>,
    source: SourceFacts,
    dropped: [u64; LINES_MAX],
    arbiter: Arbiter,
    malformed: MalformedCounts,
    sink: S,
    error: Option<io::Error>,
}

struct Starting<S> {
    joined: Joined,
    sink: S,
}

impl<S: Sink + Send + 'static> WithFraming for Starting<S> {
    type Output = Result<Running<S>, RuntimeError>;

    fn with<F: Framing>(self, framing: F) -> Self::Output {
        self.joined.start_as(framing, self.sink)
    }
}

struct Arbitrate<'a, F, S, H> {
    framing: F,
    feed: &'a Feed,
    hot: HotHooks<H>,
    sink: S,
}

impl<F: Framing, S: Sink, H: RuntimeHooks> WithSource for Arbitrate<'_, F, S, H> {
    type Output = HotEnd<S>;

    fn with<T: Source + source::CountedSource>(self, mut source: T) -> HotEnd<S> {
        let Arbitrate { framing, feed, mut hot, mut sink } = self;
        let make = if feed.receive.lock_memory { Handler::reserving_all } else { Handler::new };
        let mut handler = make(framing, feed);
        let outcome = live(&mut handler, &mut source, &mut hot, &mut sink);
        hot.store_all(handler.arbiter());
        let (arbiter, malformed) = handler.into_parts();
        HotEnd {
            at: hot.ended_at(),
            source: source.facts(),
            dropped: hot.dropped(),
            arbiter,
            malformed,
            sink,
            error: outcome.err(),
        }
    }
}

struct RecordOnly<'a> {
    feed: &'a Feed,
    hot: HotHooks<()>,
}

impl WithSource for RecordOnly<'_> {
    type Output = HotEnd<()>;

    fn with<T: Source + source::CountedSource>(self, mut source: T) -> HotEnd<()> {
        let RecordOnly { feed, mut hot } = self;
        // nothing is given to it: it only takes the place of one
        let (arbiter, malformed) = Handler::new(feed.framing, feed).into_parts();
        let outcome = record(settings(feed, feed.framing.rules()), &mut source, &mut hot);
        hot.store_all(&arbiter);
        HotEnd {
            at: hot.ended_at(),
            source: source.facts(),
            dropped: hot.dropped(),
            arbiter,
            malformed,
            sink: (),
            error: outcome.err(),
        }
    }
}

#[cfg(test)]
mod tests;
