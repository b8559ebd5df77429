//! What a client reads: records in a ring. This module owns the layout of a record. It decides which records a client gets, and
//! what happens to records that do not fit because the client is slow. It never waits, and after creation it allocates nothing.
//!
//! A [`Delivery`] writes one client's ring, with the [`StreamKind`] that the client chose. [`Deliveries`] is the [`Sink`] over
//! all clients; its [`Roster`] attaches and detaches them while it is in use. A record of messages is a run: consecutive
//! messages of one frame, as the framing packs them, behind one header, written with one copy and one publication. The
//! client knows the packing from the ring's [`FeedFacts`].
//!
//! ```text
//!  0      1      2       3         4         8         16        24
//!  +------+------+-------+---------+---------+---------+---------+------------------------- - -
//!  | kind | line | flags | channel | count   | first   | stamp   | the messages, as packed
//!  +------+------+-------+---------+---------+---------+---------+------------------------- - -
//! ```
//!
//! Every other record has the same 24 bytes, and then six words. A channel's name and session are not in every header: a
//! *channel record* states them before the first record that needs them, and again when they change. The writer goes by
//! what it has written, not by what has happened. So an overrun cannot swallow a channel record, and a client that attaches
//! late gets the ones it needs.
//!
//! **Overrun.** A record that does not fit is dropped and counted, per channel and session. From then on every record is dropped,
//! until a quarter of the ring is free. Then the client gets one [`Overrun`] per channel and session, before anything else: with
//! the next record, or from [`Sink::after_pass`] if none comes. Messages leave [`RESERVE`] bytes free, enough for every possible
//! overrun record, so those fit even when the writer goes away. An overrun is never called a gap.

mod deliveries;
mod facts;
mod overrun;
mod record;

pub use deliveries::{AttachError, AttachReason, ClientId, DIRECT_MAX, Deliveries, Roster};
pub use facts::{FactsError, FeedFacts};
pub use overrun::Overrun;
pub use record::{BrokenRecord, Jump, RingRecord, SinkCall};
pub(crate) use record::{Decoder, Entry, Named, RunEntry};

use crate::ring::{self, Consumer, HEADER, Producer, RingError, Shape};
pub(crate) use twinline_core::arbiter::CHANNELS_MAX;
use twinline_core::arbiter::{ChannelRef, Event, EventKind, Loss, Run, Sink};
use twinline_core::frame::{ChannelKey, Packing, Session};
use twinline_core::{Nanos, SeqRange};

use overrun::Overruns;
use record::{CONTROL_LEN, HEAD_LEN};

/// The longest body of a run, in bytes: more than any datagram holds.
pub(crate) const BODY_MAX: usize = 1 << 16;
/// The longest record of a client's ring, in bytes.
pub(crate) const RECORD_MAX: usize = BODY_MAX + HEAD_LEN + 8;
/// The smallest capacity of a client's ring, in bytes.
pub const CAPACITY_MIN: usize = 1 << 20;
/// The usual capacity of a client's ring, in bytes: some 50 ms of the heaviest feed there is.
pub const CAPACITY_DEFAULT: usize = 1 << 22;
/// Bytes that are kept free for overruns: enough for every possible overrun record, the channel records before them, and the pad
/// that one of them may need.
pub(crate) const RESERVE: usize = (overrun::OVERRUNS_MAX + CHANNELS_MAX + 1) * ring::span(CONTROL_LEN);

const _: () = assert!(CAPACITY_MIN >= 4 * ring::span(RECORD_MAX), "a ring holds four of the largest records");
const _: () = assert!(
    CAPACITY_MIN / 4 >= 2 * RESERVE + HEADER,
    "a quarter of a ring holds all overrun records, and the reserve after them"
);

/// Which stream a client reads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum StreamKind {
    /// Each number once, ascending; a loss stands in its place. All events except [`EventKind::Lost`], which would only repeat
    /// the loss.
    #[default]
    Ordered,
    /// The highest number wins: nothing waits, and a jump is reported at once ([`Jump`]). No events about the gaps of the
    /// ordered output.
    First,
    /// For the housekeeping thread: the ordered output and every event, in the exact order of the sink's calls.
    Full,
}

/// What a client asks for when it attaches: [`Wants::from`] a [`StreamKind`], then [`Wants::with_late`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Wants {
    /// Which stream.
    pub stream: StreamKind,
    /// Whether it also gets messages that were given up as lost and arrived after all (ARBITRATION 5.6).
    pub late: bool,
}

impl Wants {
    /// The same request, with or without late messages.
    #[must_use]
    pub fn with_late(self, late: bool) -> Wants {
        Wants { late, ..self }
    }
}

impl From<StreamKind> for Wants {
    /// Without late messages, except for [`StreamKind::Full`], which has them all.
    fn from(stream: StreamKind) -> Wants {
        Wants { stream, late: stream == StreamKind::Full }
    }
}

/// Totals of what was dropped because a client's ring was full.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Dropped {
    /// How often the ring overran.
    pub overruns: u64,
    /// Messages that were dropped.
    pub messages: u64,
    /// Events, losses and jumps that were dropped.
    pub events: u64,
}

/// Both ends of a new ring on the heap: the writer for the arbiter's thread, the reader for a client.
///
/// # Errors
/// [`RingError`] if the capacity is not a power of two, or is less than [`CAPACITY_MIN`].
pub(crate) fn open(facts: &FeedFacts, wants: Wants, capacity: usize) -> Result<(Delivery, Consumer), RingError> {
    let (producer, consumer) = ring::heap(shape(capacity)?, &facts.to_bytes())?;
    Ok((Delivery::new(producer, facts.packing, wants)?, consumer))
}

/// The shape of a client's ring of this capacity, in bytes.
///
/// # Errors
/// [`RingError::TooSmall`] if the capacity is less than [`CAPACITY_MIN`].
pub(crate) fn shape(capacity: usize) -> Result<Shape, RingError> {
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

/// Writes one client's ring. It is a [`Sink`]. Dropping it reports the last overrun and ends the client's stream.
///
/// Invariant: `told` is what the published channel records say. While `overrunning`, nothing but overrun records is written, and
/// at least `RESERVE` bytes are free whenever no overrun records have been written since the last message.
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
    /// [`RingError::TooSmall`] if the ring does not have a shape that [`shape`] gives.
    pub(crate) fn new(producer: Producer, packing: Packing, wants: Wants) -> Result<Delivery, RingError> {
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

    /// What was dropped so far because the client's ring was full.
    pub fn dropped(&self) -> Dropped {
        self.dropped
    }

    /// Whether the client has gone, which means that it dropped its end.
    pub fn client_gone(&self) -> bool {
        self.producer.consumer_gone()
    }

    /// Reports an overrun to the client once a quarter of its ring is free. Writing a record does this first. Call it when there
    /// are no records, so that the client does not have to wait for the next one; [`Sink::after_pass`] does so. Returns whether
    /// everything has been reported.
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

    /// Writes every overrun record that is due. They always fit, into a quarter of the ring or into the reserve.
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

    /// Writes one record, with a channel record before it if needed, or counts it as dropped.
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

    /// Writes a run that needs more than a plain copy, or does not fit.
    #[cold]
    #[inline(never)]
    fn run_with_care(&mut self, via: SinkCall, run: &Run<'_>) {
        let weight = Weight::run(run);
        let head = record::run(via, run, run.packing != self.packing);
        if run.packing == self.packing {
            return self.write(run.channel, Some(run.session), &head, run.body, weight);
        }
        // the frame does not pack as its feed does, so its packing goes between header and messages
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

/// What is lost to the client if a record is dropped.
#[derive(Clone, Copy, Debug, Default)]
struct Weight {
    at: Nanos,
    /// The numbers of the stream that it covers; empty if it covers none.
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
        let wanted = match (self.wants.stream, &event.kind) {
            (StreamKind::Full, _) => true,
            (StreamKind::Ordered, kind) => !matches!(kind, EventKind::Lost { .. }),
            (StreamKind::First, kind) => {
                !matches!(kind, EventKind::Gap { .. } | EventKind::Filled { .. } | EventKind::Lost { .. })
            }
        };
        if wanted {
            // an epoch event has a place in the numbers, where the epoch begins; other events cover no numbers
            let (session, range) = match event.kind {
                EventKind::Epoch { session, first } => (Some(session), SeqRange::new(first, first)),
                _ => (None, SeqRange::default()),
            };
            self.control(event.channel, session, record::event(event), Weight::event(event.at, range));
        }
    }

    #[inline]
    fn release(&mut self, run: &Run<'_>) {
        if self.wants.stream != StreamKind::First {
            self.run(SinkCall::Release, run);
        }
    }

    fn loss(&mut self, loss: &Loss) {
        if self.wants.stream != StreamKind::First {
            self.control(loss.channel, Some(loss.session), record::loss(loss), Weight::event(loss.at, loss.range));
        }
    }

    fn late(&mut self, run: &Run<'_>) {
        if self.wants.late && self.wants.stream != StreamKind::First {
            self.run(SinkCall::Late, run);
        }
    }

    fn unsequenced(&mut self, run: &Run<'_>) {
        self.run(SinkCall::Unsequenced, run);
    }

    #[inline]
    fn first(&mut self, run: &Run<'_>) {
        if self.wants.stream == StreamKind::First && (self.wants.late || !run.flags.late) {
            self.run(SinkCall::First, run);
        }
    }

    fn first_gap(&mut self, at: Nanos, channel: ChannelRef, session: Session, range: SeqRange) {
        if self.wants.stream == StreamKind::First {
            let jump = Jump { at, channel, session, range };
            self.control(channel, Some(session), record::jump(&jump), Weight::event(at, range));
        }
    }

    /// An overrun is reported as soon as the client has made room, whether or not a record follows.
    #[inline]
    fn after_pass(&mut self, _: usize) {
        self.settle();
    }

    fn close(&mut self) {
        self.tell_overruns();
        self.producer.close();
    }
}

impl Drop for Delivery {
    /// Reports the last overrun, from the reserve; then the client sees the end.
    fn drop(&mut self) {
        self.tell_overruns();
    }
}
