//! What the arbiter adds to the bare receive loop, on two cores: ratios that hold although absolute times drift.
//!
//! One thread publishes and reads, the arbiter's thread has the other core, and no third thread is busy. Blocks of some hundred
//! messages take turns, in one process and over one set of sockets:
//!
//! ```text
//!  this thread:   t0, send A -> spin until it is there -> t1, send B     (untimed), a pause, the next
//!  the other:     bare      poll the sockets -> A: store a flag
//!                 again     the same, as the control
//!                 arbiter   poll the sockets -> framing -> arbiter -> ring (this thread reads the message there)
//!                 stamped   as arbiter, with a clock reading at each receive call's return, delivered with the message
//! ```
//!
//! A message's time is t1 - t0, by one clock on one thread. Before, between and after a round's blocks the two threads play
//! ping-pong, which shows whether the cores were near each other ([`Round::near`]). The arbiter's blocks run the same loop as any live
//! run; during the bare blocks that loop stands still within its source, so neither pays for the other.
//!
//! The bare loop reads the clock once per pass, as the arbiter's does, and stores the reading with the flag.

#![expect(clippy::disallowed_types, reason = "the bare flag is what the ring is measured against")]

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering};
use std::{io, thread};

use crossbeam::utils::CachePadded;
use hdrhistogram::Histogram;

use twinline_client::{Client, Deliveries, Delivery, Item, Polled};
use twinline_core::Nanos;
use twinline_core::arbiter::{Arbiter, Run, Sink};
use twinline_core::frame::{Line, Session};
use twinline_core::framing::Framing;
use twinline_node::config::Feed;
use twinline_node::handler::Handler;
use twinline_node::os::{self, Clock, Spin, Stop};
use twinline_node::runtime::{LiveHooks, live};
use twinline_node::source::{Datagram, Pass, Source};
use twinline_node::wire::{UdpWire, Wire, is_transient};

use super::latencies::histogram;
use super::message::Stamps;
use super::open_loop::{MeasureError, drain, ring};
use super::pingpong::PingPong;
use super::publish::MeasuredPublishError;
use super::ratio::{Block, Round};

/// Messages that begin a block and are not timed.
const WARM_UP: u32 = 20;
/// How long the other end is left alone after a message: its second copy is dealt with meanwhile.
const PAUSE: Nanos = Nanos::from_micros(2);
/// How long a message is waited for before it counts as lost.
const LOST_AFTER: Nanos = Nanos::from_millis(100);
/// How many looks at nothing before the clock is looked at.
const PATIENCE: u32 = 4_096;
/// How many messages in a row may be lost before it is no use to go on.
const LOST_MAX: u64 = 20;
/// How long the other thread is waited for.
const ANSWER_MAX: Nanos = Nanos::from_secs(5);

/// What is measured.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct TwoCoreSettings<'a> {
    /// The feed that is listened to.
    pub feed: &'a Feed,
    /// Where its lines are sent.
    pub to: &'a Feed,
    /// The network namespace that is published from.
    pub namespace: Option<&'a str>,
    /// The core of the thread that publishes and reads; `None`: wherever the system puts it.
    pub publisher: Option<usize>,
    /// The arbiter's core.
    pub arbiter: Option<usize>,
    /// What an idle thread does.
    pub spin: Spin,
    /// The length of a message in bytes.
    pub size: usize,
    /// How many messages of a block are timed.
    pub block: u32,
    /// For how long new rounds are begun.
    pub span: Nanos,
}

impl<'a> TwoCoreSettings<'a> {
    /// Blocks of 400 messages of 64 bytes, for 5 s, sent to the groups of `feed` itself, on whatever cores the system gives.
    pub fn new(feed: &'a Feed, spin: Spin) -> TwoCoreSettings<'a> {
        TwoCoreSettings {
            feed,
            to: feed,
            namespace: None,
            publisher: None,
            arbiter: None,
            spin,
            size: 64,
            block: 400,
            span: Nanos::from_secs(5),
        }
    }
}

/// What the other thread does during a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BlockKind {
    /// The bare loop.
    Bare,
    /// The bare loop again.
    Again,
    /// The arbiter.
    Arbiter,
    /// The arbiter, with a clock reading at each receive call's return.
    Stamped,
}

impl BlockKind {
    /// Every kind.
    pub const ALL: [BlockKind; 4] = [BlockKind::Bare, BlockKind::Again, BlockKind::Arbiter, BlockKind::Stamped];

    /// The words for people.
    pub const fn words(self) -> &'static str {
        match self {
            BlockKind::Bare => "bare loop",
            BlockKind::Again => "bare loop again",
            BlockKind::Arbiter => "arbiter",
            BlockKind::Stamped => "arbiter, stamped",
        }
    }

    const fn mode(self) -> u64 {
        match self {
            BlockKind::Bare | BlockKind::Again => BARE,
            BlockKind::Arbiter => ARBITER,
            BlockKind::Stamped => STAMPED,
        }
    }
}

const BARE: u64 = 1;
const ARBITER: u64 = 2;
const STAMPED: u64 = 3;
const PING_PONG: u64 = 4;
const END: u64 = 5;

/// What all rounds measured.
#[derive(Clone, Debug)]
pub struct TwoCoreMeasured {
    /// Every round that was finished.
    pub rounds: Vec<Round>,
    /// Nanoseconds from send to read: the far rounds first, then the near ones, each by [`BlockKind`].
    pub(super) times: [[Histogram<u64>; 4]; 2],
    /// Nanoseconds from the receive call's return to the client's read, in the stamped blocks; far, then near. Only messages that were
    /// received after the send call had returned count: before that nobody is there to read.
    pub(super) to_client: [Histogram<u64>; 2],
    /// How many of the stamped blocks' messages were received while their send call was still going on.
    pub(super) during_send: u64,
    /// Messages that were sent in blocks, including warm-up and lost ones.
    pub sent: u64,
    /// Messages that did not come in time.
    pub lost: u64,
    /// Whether it was asked to stop.
    pub stopped: bool,
}

/// What the two threads share.
#[derive(Default)]
struct Common {
    /// What to do: a serial number in the upper bits, so that each wish is a new one.
    mode: CachePadded<AtomicU64>,
    /// The mode that the other thread has taken up.
    taken_up: CachePadded<AtomicU64>,
    flag: CachePadded<Flag>,
    ping_pong: PingPong,
}

/// The bare loop's message to the other core, on one cache line.
#[derive(Default)]
struct Flag {
    stamp: AtomicU64,
    serial: AtomicU64,
}

/// The source of the arbiter's loop: does what the mode says.
struct Rotating<'a, S> {
    source: &'a mut S,
    common: &'a Common,
    clock: Clock,
    spin: Spin,
    mode: u64,
    size: usize,
    taken: &'a Cell<Nanos>,
}

impl<S: Source> Source for Rotating<'_, S> {
    #[inline]
    fn poll(&mut self, take: &mut impl FnMut(Datagram<'_>)) -> io::Result<Pass> {
        loop {
            // Acquire, for the other thread's Release: what it did before it asked is done
            let mode = self.common.mode.load(Ordering::Acquire);
            if mode != self.mode {
                self.mode = mode;
                self.taken.set(Nanos::ZERO);
                self.common.taken_up.store(mode, Ordering::Release);
            }
            match mode & 0xff {
                ARBITER => return self.source.poll(take),
                STAMPED => {
                    let (clock, taken) = (self.clock, self.taken);
                    return self.source.poll(&mut |datagram| {
                        taken.set(clock.now());
                        take(datagram);
                    });
                }
                BARE => self.bare()?,
                PING_PONG => {
                    if !self.common.ping_pong.answer(&self.clock, self.spin) {
                        return Ok(Pass { ended: true, ..Pass::default() });
                    }
                    // once: until the next wish there is nothing to do
                    self.mode = 0;
                    while self.common.mode.load(Ordering::Acquire) == mode {
                        self.spin.idle();
                    }
                }
                END => return Ok(Pass { ended: true, ..Pass::default() }),
                _ => self.spin.idle(),
            }
        }
    }
}

impl<S: Source> Rotating<'_, S> {
    /// One pass of the bare loop.
    #[inline]
    fn bare(&mut self) -> io::Result<()> {
        let (flag, size) = (&self.common.flag, self.size);
        let now = self.clock.now();
        let pass = self.source.poll(&mut |datagram| {
            // the other line's copy is received alike, and nobody waits for it
            if datagram.line == Line(0)
                && let Some(message) =
                    datagram.payload.len().checked_sub(size).and_then(|at| datagram.payload.get(at..))
                && let Some(serial) = message.first_chunk()
            {
                flag.stamp.store(now.0, Ordering::Relaxed);
                flag.serial.store(u64::from_le_bytes(*serial), Ordering::Release);
            }
        })?;
        if pass.datagrams == 0 && !pass.full {
            self.spin.idle();
        }
        Ok(())
    }
}

/// A sink that puts the time of the receive call's return into a record's stamp, if it was noted.
struct Noted<'a> {
    sink: Deliveries,
    taken: &'a Cell<Nanos>,
}

impl Sink for Noted<'_> {
    fn event(&mut self, event: &twinline_core::arbiter::Event) {
        self.sink.event(event);
    }

    #[inline]
    fn release(&mut self, run: &Run<'_>) {
        let taken = self.taken.get();
        if taken == Nanos::ZERO || run.flags.held {
            self.sink.release(run);
        } else {
            self.sink.release(&Run { stamp: taken, ..*run });
        }
    }

    fn loss(&mut self, loss: &twinline_core::arbiter::Loss) {
        self.sink.loss(loss);
    }
}

/// The hooks of a two-core measurement in the arbiter's loop. They do as little as possible.
struct TwoCoreHooks {
    clock: Clock,
    spin: Spin,
}

impl LiveHooks for TwoCoreHooks {
    #[inline]
    fn now(&mut self) -> Nanos {
        self.clock.now()
    }

    #[inline]
    fn datagram(&mut self, _: Nanos, _: &Datagram<'_>) {}

    #[inline]
    fn idle(&mut self) {
        self.spin.idle();
    }

    #[inline]
    fn go_on(&mut self, _: &Arbiter, _: usize) -> bool {
        true
    }
}

/// Measures until the span is over or `stop` is requested; the rounds that were finished by then count. The messages that the
/// arbiter gets have this `session`. `tell` gets the rounds so far after each round.
///
/// # Errors
/// [`MeasureError`]. Both threads have ended by then.
pub fn measure_two_core<F: Framing, S: Source + Send>(
    framing: F,
    settings: &TwoCoreSettings<'_>,
    session: Session,
    source: &mut S,
    (clock, stop): (Clock, &Stop),
    tell: impl FnMut(&[Round]) + Send,
) -> Result<TwoCoreMeasured, MeasureError> {
    let (delivery, client) = ring(framing, settings.feed)?;
    let common = &Common::default();
    let (driven, received) = thread::scope(|scope| {
        let receiving = scope.spawn(move || receive(framing, settings, source, delivery, common, clock));
        let driving = scope.spawn(move || {
            let _ending = Ending(common);
            let mut driver = Driver::open(framing, settings, session, client, common, clock)?;
            driver.drive(stop, tell)
        });
        (driving.join(), receiving.join())
    });
    received.map_err(|_| MeasureError::Thread("arbiter"))??;
    driven.map_err(|_| MeasureError::Thread("publisher"))?
}

/// Ends the other thread, however this one ends.
struct Ending<'a>(&'a Common);

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.0.mode.store(END, Ordering::Release);
    }
}

/// The other thread: receives, whatever the mode.
fn receive<F: Framing, S: Source>(
    framing: F,
    settings: &TwoCoreSettings<'_>,
    source: &mut S,
    delivery: Delivery,
    common: &Common,
    clock: Clock,
) -> Result<(), MeasureError> {
    let spin = settings.spin;
    settings.arbiter.map_or(Ok(()), os::pin_thread)?;
    drain(source)?;
    let taken = Cell::new(Nanos::ZERO);
    let mut handler = Handler::new(framing, settings.feed);
    let mut sink = Noted { sink: Deliveries::fixed(vec![delivery]), taken: &taken };
    let mut source = Rotating { source, common, clock, spin, mode: 0, size: settings.size, taken: &taken };
    live(&mut handler, &mut source, &mut TwoCoreHooks { clock, spin }, &mut sink)?;
    Ok(())
}

/// The thread that publishes and reads.
struct Driver<'a, F> {
    framing: F,
    settings: &'a TwoCoreSettings<'a>,
    session: Session,
    client: Client,
    common: &'a Common,
    clock: Clock,
    wire: UdpWire,
    wishes: u64,
    /// Tells each message from every other.
    serial: u64,
    /// The arbiter's next number; the bare loop's messages have none of their own.
    number: u64,
    message: Vec<u8>,
    /// The same with the length that the framing's messages carry.
    wrapped: Vec<u8>,
    datagram: Vec<u8>,
    times: Histogram<u64>,
    to_client: Histogram<u64>,
    during_send: u64,
    sent: u64,
    lost: u64,
    lost_in_a_row: u64,
}

impl<'a, F: Framing> Driver<'a, F> {
    fn open(
        framing: F,
        settings: &'a TwoCoreSettings<'a>,
        session: Session,
        client: Client,
        common: &'a Common,
        clock: Clock,
    ) -> Result<Driver<'a, F>, MeasureError> {
        settings.namespace.map_or(Ok(()), os::enter_namespace)?;
        settings.publisher.map_or(Ok(()), os::pin_thread)?;
        Ok(Driver {
            framing,
            settings,
            session,
            client,
            common,
            clock,
            wire: UdpWire::open(settings.to)?,
            wishes: 0,
            serial: 0,
            number: 1,
            message: vec![0x5a; settings.size],
            wrapped: Vec::with_capacity(1 << 11),
            datagram: Vec::with_capacity(1 << 16),
            times: histogram(),
            to_client: histogram(),
            during_send: 0,
            sent: 0,
            lost: 0,
            lost_in_a_row: 0,
        })
    }

    fn drive(&mut self, stop: &Stop, mut tell: impl FnMut(&[Round])) -> Result<TwoCoreMeasured, MeasureError> {
        let four = || [histogram(), histogram(), histogram(), histogram()];
        let mut measured = TwoCoreMeasured {
            rounds: Vec::new(),
            times: [four(), four()],
            to_client: [histogram(), histogram()],
            during_send: 0,
            sent: 0,
            lost: 0,
            stopped: false,
        };
        self.begin(stop)?;
        let end = self.clock.now() + self.settings.span;
        for turn in 0usize.. {
            let mut times = four();
            let mut trip = self.ping_pong()?;
            // who comes first rotates, so that what changes within a round favours none
            for place in 0..BlockKind::ALL.len() {
                let kind = BlockKind::ALL[(turn + place) % BlockKind::ALL.len()];
                self.block(kind, stop)?;
                std::mem::swap(&mut times[kind as usize], &mut self.times);
                self.times.reset();
                trip = trip.max(self.ping_pong()?);
            }
            measured.stopped = stop.requested();
            let blocks = times.each_ref().map(Block::of);
            // the last round may be cut short, and a round in which all was lost has no ratio
            if let ([Some(bare), Some(again), Some(arbiter), Some(_)], false) = (blocks, measured.stopped) {
                let round = Round { trip, bare, again, arbiter };
                let near = usize::from(round.near());
                measured.rounds.push(round);
                for (sum, block) in measured.times[near].iter_mut().zip(&times) {
                    *sum += block;
                }
                measured.to_client[near] += &self.to_client;
                tell(&measured.rounds);
            }
            self.to_client.reset();
            if measured.stopped || self.clock.now() >= end {
                break;
            }
        }
        (measured.sent, measured.lost, measured.during_send) = (self.sent, self.lost, self.during_send);
        Ok(measured)
    }

    /// Sends until messages come through: an arbiter believes no first frame before a second one agrees.
    fn begin(&mut self, stop: &Stop) -> Result<(), MeasureError> {
        self.ask(ARBITER)?;
        for tries in 1.. {
            for _ in 0..2 {
                self.encode(BlockKind::Arbiter);
                for line in 0..self.settings.to.lines.len() {
                    self.send(line)?;
                }
            }
            if stop.requested() || self.arrival(BlockKind::Arbiter, self.clock.now())?.is_some() {
                break;
            }
            if tries > LOST_MAX {
                return Err(self.silent(2 * tries));
            }
        }
        Ok(())
    }

    fn silent(&self, lost: u64) -> MeasureError {
        MeasureError::Silent { lost, to: self.settings.to.name.clone(), feed: self.settings.feed.name.clone() }
    }

    /// The next message, in a datagram.
    fn encode(&mut self, kind: BlockKind) {
        self.serial += 1;
        Stamps { intended: Nanos(self.serial), sent: Nanos::ZERO }.write(&mut self.message);
        self.framing.packing().wrap(&self.message, &mut self.wrapped);
        let number = self.number;
        // only the arbiter looks at numbers
        self.number += u64::from(kind.mode() != BARE);
        self.framing.encode(self.session, number, &[&self.wrapped], usize::MAX, &mut self.datagram);
    }

    /// Asks the other thread for a mode, and waits until it has taken it up.
    fn ask(&mut self, mode: u64) -> Result<(), MeasureError> {
        self.wishes += 1;
        let wish = self.wishes << 8 | mode;
        self.common.mode.store(wish, Ordering::Release);
        let since = self.clock.now();
        let mut looks = 0u32;
        while self.common.taken_up.load(Ordering::Acquire) != wish {
            self.settings.spin.idle();
            looks += 1;
            if looks.is_multiple_of(PATIENCE) && self.clock.now() - since > ANSWER_MAX {
                return Err(MeasureError::Thread("arbiter"));
            }
        }
        Ok(())
    }

    fn ping_pong(&mut self) -> Result<Nanos, MeasureError> {
        self.ask(PING_PONG)?;
        self.common.ping_pong.round_trip(&self.clock, self.settings.spin).ok_or(MeasureError::Thread("arbiter"))
    }

    /// One block, its times in `times`.
    fn block(&mut self, kind: BlockKind, stop: &Stop) -> Result<(), MeasureError> {
        self.ask(kind.mode())?;
        for n in 0..WARM_UP + self.settings.block {
            if stop.requested() {
                break;
            }
            self.message(kind, n >= WARM_UP)?;
        }
        Ok(())
    }

    /// One message: A timed, the other lines' copies not.
    fn message(&mut self, kind: BlockKind, timed: bool) -> Result<(), MeasureError> {
        self.sent += 1;
        self.encode(kind);
        let start = self.clock.now();
        let sent = self.send(0)?;
        let returned = if kind == BlockKind::Stamped { self.clock.now() } else { start };
        let received = if sent { self.arrival(kind, start)? } else { None };
        let now = self.clock.now();
        self.lost_in_a_row = if received.is_some() { 0 } else { self.lost_in_a_row + 1 };
        if self.lost_in_a_row > LOST_MAX {
            return Err(self.silent(self.lost_in_a_row));
        }
        match received {
            None => self.lost += 1,
            Some(stamp) if timed => {
                self.times.saturating_record((now - start).0);
                if kind == BlockKind::Stamped && stamp >= returned {
                    self.to_client.saturating_record((now - stamp).0);
                } else if kind == BlockKind::Stamped {
                    self.during_send += 1;
                }
            }
            Some(_) => {}
        }
        for line in 1..self.settings.to.lines.len() {
            self.send(line)?;
        }
        let until = self.clock.now() + PAUSE;
        while self.clock.now() < until {
            self.settings.spin.idle();
        }
        Ok(())
    }

    /// Whether it left.
    fn send(&mut self, line: usize) -> Result<bool, MeasureError> {
        match self.wire.send(Line(line as u8), 0, &self.datagram) {
            Ok(()) => Ok(true),
            Err(error) if is_transient(&error) => Ok(false),
            Err(error) => Err(MeasuredPublishError::Wire { line, error }.into()),
        }
    }

    /// Spins until the message is there: the stamp that came with it; `None` if it does not come.
    #[inline]
    fn arrival(&mut self, kind: BlockKind, start: Nanos) -> Result<Option<Nanos>, MeasureError> {
        let mut looks = 0u32;
        loop {
            if kind.mode() == BARE {
                let flag = &self.common.flag;
                if flag.serial.load(Ordering::Acquire) == self.serial {
                    return Ok(Some(Nanos(flag.stamp.load(Ordering::Relaxed))));
                }
            } else if let Polled::Item(Item::Message(message)) = self.client.poll()?
                && let Some(stamps) = Stamps::of(self.framing.packing(), message.bytes)
                && stamps.intended.0 == self.serial
            {
                return Ok(Some(message.stamp));
            }
            self.settings.spin.idle();
            looks += 1;
            if looks.is_multiple_of(PATIENCE) && self.clock.now() - start > LOST_AFTER {
                return Ok(None);
            }
        }
    }
}
