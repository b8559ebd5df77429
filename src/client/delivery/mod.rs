//! What a client reads: records in a ring. This module owns what a record looks like, which records a client gets, and what
//! becomes of those that a slow client has no room for. It never waits, and after creation it allocates nothing.
//!
//! A [`Delivery`] writes one client's ring, in the [`StreamKind`] that the client chose; [`Deliveries`] are the [`Sink`] over all of
//! them. A record of messages is a run: consecutive messages of one frame, as the framing packs them, behind one header,
//! written with one copy and one publication. The client knows the packing from the ring's [`FeedFacts`].
//!
//! ```text
//!  0      1      2       3         4         8         16        24
//!  +------+------+-------+---------+---------+---------+---------+------------------------- - -
//!  | kind | line | flags | channel | count   | first   | stamp   | the messages, as packed
//!  +------+------+-------+---------+---------+---------+---------+------------------------- - -
//! ```
//!
//! Every other record has the same 24 bytes and six words behind them. A channel's name and session are not in every
//! header: a *channel record* tells them before the first record that needs them, and again when they change. The writer
//! goes by what it has written, not by what has happened, so an overrun cannot swallow the news.
//!
//! **Overrun.** What does not fit is dropped and counted, by channel and session. From then on everything is, until a quarter
//! of the ring is free; then the client is told with one [`Overrun`] a channel and session, before anything else. Messages
//! leave [`RESERVE`] bytes free, which is what all possible overrun records take, so that they fit even when the writer
//! goes away. An overrun is never called a gap.

mod deliveries;
mod facts;
mod overrun;
mod record;

pub use deliveries::{AttachError, AttachReason, ClientId, DIRECT_MAX, Deliveries, LOOK_EVERY, Roster, Tend};
pub use facts::{FactsError, FeedFacts};
pub use overrun::Overrun;
pub use record::{BrokenRecord, Jump, RingRecord, SinkCall};
pub(crate) use record::{Decoder, Entry, Named, RunEntry};

use crate::ring::{self, Consumer, HEADER, Producer, RingError, Shape};
use twinline_core::arbiter::{ChannelRef, Event, EventKind, Loss, Run, Sink};
use twinline_core::frame::{ChannelKey, Packing, Session};
use twinline_core::seq::SeqRange;
use twinline_core::time::Nanos;

use overrun::Overruns;
use record::{CONTROL_LEN, HEAD_LEN};

/// How many channels a feed may have (ARBITRATION 2.2).
pub const CHANNELS_MAX: usize = 256;
/// The longest body of a run: more than any datagram holds.
pub const BODY_MAX: usize = 1 << 16;
/// A ring's longest record.
pub const RECORD_MAX: usize = BODY_MAX + HEAD_LEN + 8;
/// The least capacity of a client's ring.
pub const CAPACITY_MIN: usize = 1 << 20;
/// The usual capacity of a client's ring: some 50 ms of the heaviest feed there is.
pub const CAPACITY_DEFAULT: usize = 1 << 22;
/// What all possible overrun records take, the channel records before them, and the pad that one of them may need: kept free
/// for them.
pub const RESERVE: usize = (overrun::OVERRUNS_MAX + CHANNELS_MAX + 1) * ring::span(CONTROL_LEN);

const _: () = assert!(CAPACITY_MIN >= 4 * ring::span(RECORD_MAX), "a ring holds four of the largest records");
const _: () = assert!(
    CAPACITY_MIN / 4 >= 2 * RESERVE + HEADER,
    "a quarter of a ring holds all overrun records, and the reserve after them"
);

/// Which stream a client reads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum StreamKind {
    /// Each number once, ascending; a loss stands in its place. All events but [`EventKind::Lost`], which the loss repeats.
    #[default]
    Ordered,
    /// The highest number wins: nothing waits, a jump is said at once ([`Jump`]). No events about the ordered output's gaps.
    First,
    /// For the housekeeping thread: the ordered output and every event, in the very order of the sink's calls.
    Full,
}

/// What a client asked for when it attached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wants {
    /// Which stream.
    pub output: StreamKind,
    /// Whether it also gets messages that were given up as lost and came after all (ARBITRATION 5.6).
    pub late: bool,
}

impl From<StreamKind> for Wants {
    /// Without late messages, but for [`StreamKind::Full`], which has all.
    fn from(output: StreamKind) -> Wants {
        Wants { output, late: output == StreamKind::Full }
    }
}

/// What a client had no room for, in all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Dropped {
    /// How often the ring ran over.
    pub overruns: u64,
    /// Messages that were dropped.
    pub messages: u64,
    /// Events, losses and jumps that were dropped.
    pub events: u64,
}

/// Both ends of a new ring on the heap: the writer for the arbiter's thread, the reader for a client.
///
/// # Errors
/// [`RingError`] where the capacity is not a power of two of at least [`CAPACITY_MIN`].
pub fn open(facts: &FeedFacts, wants: Wants, capacity: usize) -> Result<(Delivery, Consumer), RingError> {
    let (producer, consumer) = ring::heap(shape(capacity)?, &facts.to_bytes())?;
    Ok((Delivery::new(producer, facts.packing, wants)?, consumer))
}

/// The shape of a client's ring.
///
/// # Errors
/// [`RingError::TooSmall`] where the capacity is less than [`CAPACITY_MIN`].
pub fn shape(capacity: usize) -> Result<Shape, RingError> {
    if capacity < CAPACITY_MIN {
        return Err(RingError::TooSmall { capacity, record_max: RECORD_MAX, least: CAPACITY_MIN });
    }
    Ok(Shape { capacity, record_max: RECORD_MAX })
}

/// What a client has been told of a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Told {
    key: ChannelKey,
    session: Session,
}

/// Writes one client's ring.
///
/// Invariant: `told` is what the published channel records say. While `overrunning`, nothing but overrun records is written, and
/// at least [`RESERVE`] bytes are free whenever no overrun records have been written since the last message.
#[derive(Debug)]
pub struct Delivery {
    producer: Producer,
    packing: Packing,
    wants: Wants,
    told: Box<[Option<Told>; CHANNELS_MAX]>,
    overrunning: bool,
    overruns: Overruns,
    dropped: Dropped,
}

impl Delivery {
    /// A writer over a ring whose facts state this packing.
    ///
    /// # Errors
    /// [`RingError::TooSmall`] where the ring was not made by [`shape`].
    pub fn new(producer: Producer, packing: Packing, wants: Wants) -> Result<Delivery, RingError> {
        let found = producer.shape();
        if found.capacity < CAPACITY_MIN || found.record_max < RECORD_MAX {
            return Err(RingError::TooSmall { capacity: found.capacity, record_max: RECORD_MAX, least: CAPACITY_MIN });
        }
        Ok(Delivery {
            producer,
            packing,
            wants,
            told: Box::new([None; CHANNELS_MAX]),
            overrunning: false,
            overruns: Overruns::new(),
            dropped: Dropped::default(),
        })
    }

    /// What the client had no room for so far.
    pub fn dropped(&self) -> Dropped {
        self.dropped
    }

    /// Whether the client has gone: it dropped its end.
    pub fn client_gone(&self) -> bool {
        self.producer.consumer_gone()
    }

    /// Tells the client of an overrun as soon as a quarter of its ring is free. Records do this by themselves; call it when there
    /// are none, so that a client need not wait for the next. Returns whether nothing is left to tell.
    #[inline]
    pub fn settle(&mut self) -> bool {
        !self.overrunning || self.resume()
    }

    #[cold]
    fn resume(&mut self) -> bool {
        if self.producer.free() < self.producer.shape().capacity / 4 {
            return false;
        }
        self.tell_overruns();
        self.overrunning = false;
        true
    }

    /// Writes every overrun record that is due. There is room: a quarter of the ring, or the reserve.
    fn tell_overruns(&mut self) {
        for overrun in self.overruns.pending() {
            let Overrun { channel, session, .. } = *overrun;
            let index = usize::from(channel.index);
            let key_known = self.told[index].is_some_and(|told| told.key == channel.key);
            if !key_known {
                let (head, words) = record::channel(channel, session);
                if self.producer.write(&head, &words).is_err() {
                    return;
                }
                self.told[index] = Some(Told { key: channel.key, session });
            }
            let (head, words) = record::overrun(overrun);
            if self.producer.write(&head, &words).is_err() {
                return;
            }
        }
        self.overruns.clear();
    }

    /// Writes one record, and the channel record before it where it needs one, or counts it as dropped.
    fn write<const N: usize>(
        &mut self,
        channel: ChannelRef,
        session: Option<Session>,
        head: &[u8; N],
        rest: &[u8],
        weight: Weight,
    ) {
        let index = usize::from(channel.index);
        let Some(told) = self.told.get(index).copied() else { return };
        if !self.overrunning || self.resume() {
            let session = session.or(told.map(|told| told.session)).unwrap_or(Session::NONE);
            let now = Some(Told { key: channel.key, session });
            let introduced = told == now || self.introduce(channel, session);
            if introduced && self.producer.stage(head, rest, RESERVE).is_ok() {
                self.producer.publish();
                self.told[index] = now;
                return;
            }
            self.producer.abandon();
            self.overrunning = true;
            self.dropped.overruns += 1;
        }
        self.drop_record(channel, session, weight);
    }

    #[cold]
    fn introduce(&mut self, channel: ChannelRef, session: Session) -> bool {
        let (head, words) = record::channel(channel, session);
        self.producer.stage(&head, &words, RESERVE).is_ok()
    }

    #[cold]
    fn drop_record(&mut self, channel: ChannelRef, session: Option<Session>, weight: Weight) {
        self.dropped.messages += weight.messages;
        self.dropped.events += weight.events;
        let told = self.told[usize::from(channel.index)].map_or(Session::NONE, |told| told.session);
        self.overruns.count(channel, session, told, weight);
    }

    #[inline]
    fn run(&mut self, via: SinkCall, run: &Run<'_>) {
        let known = match self.told.get(usize::from(run.channel.index)) {
            Some(Some(told)) => told.key == run.channel.key && told.session == run.session,
            _ => false,
        };
        if known && !self.overrunning && run.packing == self.packing {
            let head = record::run(via, run, false);
            if self.producer.stage(&head, run.body, RESERVE).is_ok() {
                return self.producer.publish();
            }
        }
        self.run_with_care(via, run);
    }

    /// A run that needs more than a copy, or does not fit.
    #[cold]
    #[inline(never)]
    fn run_with_care(&mut self, via: SinkCall, run: &Run<'_>) {
        let weight = Weight::run(run);
        let head = record::run(via, run, run.packing != self.packing);
        if run.packing == self.packing {
            return self.write(run.channel, Some(run.session), &head, run.body, weight);
        }
        // a frame that packs otherwise than its feed: its packing stands between header and messages
        let mut long = [0; HEAD_LEN + 8];
        long[..HEAD_LEN].copy_from_slice(&head);
        long[HEAD_LEN..].copy_from_slice(&run.packing.to_bytes());
        self.write(run.channel, Some(run.session), &long, run.body, weight);
    }

    fn control(
        &mut self,
        channel: ChannelRef,
        session: Option<Session>,
        (head, words): record::Control,
        weight: Weight,
    ) {
        self.write(channel, session, &head, &words, weight);
    }
}

/// What is dropped with a record.
#[derive(Clone, Copy, Debug, Default)]
struct Weight {
    at: Nanos,
    /// The numbers of the stream that it covers; empty where it covers none.
    range: SeqRange,
    messages: u64,
    events: u64,
}

impl Weight {
    fn run(run: &Run<'_>) -> Weight {
        let apart = run.flags.unsequenced || run.flags.late;
        let range = if apart { SeqRange::default() } else { run.range() };
        Weight { at: run.stamp, range, messages: u64::from(run.count), events: 0 }
    }

    fn event(at: Nanos, range: SeqRange) -> Weight {
        Weight { at, range, messages: 0, events: 1 }
    }
}

impl Sink for Delivery {
    fn event(&mut self, event: &Event) {
        let wanted = match (self.wants.output, &event.kind) {
            (StreamKind::Full, _) => true,
            (StreamKind::Ordered, kind) => !matches!(kind, EventKind::Lost { .. }),
            (StreamKind::First, kind) => {
                !matches!(kind, EventKind::Gap { .. } | EventKind::Filled { .. } | EventKind::Lost { .. })
            }
        };
        if wanted {
            // an epoch's beginning is where its numbers begin; other events cover none
            let (session, range) = match event.kind {
                EventKind::Epoch { session, first } => (Some(session), SeqRange::new(first, first)),
                _ => (None, SeqRange::default()),
            };
            self.control(event.channel, session, record::event(event), Weight::event(event.at, range));
        }
    }

    #[inline]
    fn release(&mut self, run: &Run<'_>) {
        if self.wants.output != StreamKind::First {
            self.run(SinkCall::Release, run);
        }
    }

    fn loss(&mut self, loss: &Loss) {
        if self.wants.output != StreamKind::First {
            self.control(loss.channel, Some(loss.session), record::loss(loss), Weight::event(loss.at, loss.range));
        }
    }

    fn late(&mut self, run: &Run<'_>) {
        if self.wants.late && self.wants.output != StreamKind::First {
            self.run(SinkCall::Late, run);
        }
    }

    fn unsequenced(&mut self, run: &Run<'_>) {
        self.run(SinkCall::Unsequenced, run);
    }

    #[inline]
    fn first(&mut self, run: &Run<'_>) {
        if self.wants.output == StreamKind::First && (self.wants.late || !run.flags.late) {
            self.run(SinkCall::First, run);
        }
    }

    fn first_gap(&mut self, at: Nanos, channel: ChannelRef, session: Session, range: SeqRange) {
        if self.wants.output == StreamKind::First {
            let jump = Jump { at, channel, session, range };
            self.control(channel, Some(session), record::jump(&jump), Weight::event(at, range));
        }
    }
}

impl Drop for Delivery {
    /// The last overrun is told out of the reserve; then the client sees the end.
    fn drop(&mut self) {
        self.tell_overruns();
    }
}
