//! What a client reads: single messages and events, in one stream, in order. This module walks the records of a ring and hands
//! out what is in them, in place. It never waits, and it does not trust what it reads.
//!
//! ```
//! use twinline_client::{CAPACITY_DEFAULT, FeedFacts, Item, Polled, StreamKind};
//! # use twinline_core::arbiter::{ChannelRef, Run, RunFlags, Sink};
//! # use twinline_core::frame::{ChannelKey, Line, Packing, Session};
//! # use twinline_core::{Nanos, SeqNo};
//!
//! # let facts = FeedFacts { packing: Packing::LENGTH_BE16, feed: "loopback".into(), lines: vec!["A".into(), "B".into()] };
//! let (mut delivery, mut client) = twinline_client::open(&facts, StreamKind::Ordered.into(), CAPACITY_DEFAULT)?;
//! // `delivery` goes to the arbiter's thread
//! # let channel = ChannelRef { index: 0, key: ChannelKey { group: 0, key: None } };
//! # let (session, first, line, stamp, flags) = (Session::NONE, SeqNo(1), Line(0), Nanos(5), RunFlags::default());
//! # let (packing, body) = (Packing::LENGTH_BE16, b"\x00\x02hi\x00\x05there".as_slice());
//! # delivery.release(&Run { channel, session, first, count: 2, line, stamp, flags, packing, body });
//! # drop(delivery);
//! # let mut seen = 0;
//! loop {
//!     match client.poll()? {
//!         Polled::Item(Item::Message(message)) => {
//!             println!("{} {} bytes", message.sequence, message.bytes.len());
//! #           seen += message.bytes.len();
//!         }
//!         Polled::Item(Item::Overrun(overrun)) => println!("too slow: missed {}", overrun.range),
//!         Polled::Item(item) => println!("{item:?}"),
//!         Polled::Empty => std::hint::spin_loop(),
//!         Polled::Ended => break,
//!     }
//! }
//! # assert_eq!(seen, 7);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use std::fmt;

use crate::delivery::{
    self, Decoder, Delivery, Entry, FactsError, FeedFacts, Jump, Named, Overrun, RingRecord, RunEntry, Wants,
};
use crate::ring::{self, Consumer, Polled, RingError};
use twinline_core::arbiter::{ChannelRef, Event, Loss, RunFlags};
use twinline_core::frame::{Line, Session};
use twinline_core::{Nanos, SeqNo};

/// A message, in place in the ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message<'a> {
    /// Its channel.
    pub channel: ChannelRef,
    /// The session that it belongs to.
    pub session: Session,
    /// Its number; meaningless if `flags.unsequenced`.
    pub sequence: SeqNo,
    /// The line that brought it first.
    pub line: Line,
    /// When it was received.
    pub stamp: Nanos,
    /// What is special about it.
    pub flags: RunFlags,
    /// The message itself; a length field that belongs to the transport is not part of it (ARBITRATION 2.4).
    pub bytes: &'a [u8],
}

/// One item of a client's stream.
///
/// All kinds are listed, so that a new one is a decision for every client, not something it ignores unseen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Item<'a> {
    /// The next message.
    Message(Message<'a>),
    /// Ordered output: these numbers were lost on every line, for every client.
    Loss(Loss),
    /// First-copy output: these numbers were skipped; they may come late.
    Jump(Jump),
    /// A gap opened or was filled, a session began or ended, a line changed its state.
    Event(Event),
    /// This client was too slow, and missed this.
    Overrun(Overrun),
}

/// What is in the ring is broken: the rest of the stream cannot be found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BrokenStream {
    /// The header of a record is.
    Ring(ring::BrokenRing),
    /// The content of a record is.
    Record(delivery::BrokenRecord),
}

impl fmt::Display for BrokenStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BrokenStream::Ring(error) => error.fmt(f),
            BrokenStream::Record(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for BrokenStream {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            BrokenStream::Ring(error) => error.source(),
            BrokenStream::Record(error) => error.source(),
        }
    }
}

impl From<ring::BrokenRing> for BrokenStream {
    fn from(error: ring::BrokenRing) -> BrokenStream {
        BrokenStream::Ring(error)
    }
}

impl From<delivery::BrokenRecord> for BrokenStream {
    fn from(error: delivery::BrokenRecord) -> BrokenStream {
        BrokenStream::Record(error)
    }
}

/// Why a client cannot be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ClientError {
    /// The ring is not one that a client can read.
    Ring(RingError),
    /// The feed's facts in the ring cannot be read.
    Facts(FactsError),
}

impl fmt::Display for ClientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ClientError::Ring(error) => error.fmt(f),
            ClientError::Facts(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for ClientError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            ClientError::Ring(error) => error.source(),
            ClientError::Facts(error) => error.source(),
        }
    }
}

impl From<RingError> for ClientError {
    fn from(error: RingError) -> ClientError {
        ClientError::Ring(error)
    }
}

impl From<FactsError> for ClientError {
    fn from(error: FactsError) -> ClientError {
        ClientError::Facts(error)
    }
}

/// Both ends of a new ring on the heap, of `capacity` bytes: the writer for the arbiter's thread, and the client.
///
/// # Errors
/// [`ClientError::Ring`] if the capacity is not a power of two, or is less than [`CAPACITY_MIN`](crate::CAPACITY_MIN).
pub fn open(facts: &FeedFacts, wants: Wants, capacity: usize) -> Result<(Delivery, Client), ClientError> {
    let (delivery, consumer) = delivery::open(facts, wants, capacity)?;
    Ok((delivery, Client::new(consumer)?))
}

/// The run whose messages are being handed out.
///
/// Invariant: while `left > 0`, its record is the one that the consumer stands at.
#[derive(Clone, Copy, Debug)]
struct Walk {
    run: RunEntry,
    /// The next message's number.
    sequence: SeqNo,
    /// Where its block begins in the record.
    at: usize,
    /// Messages still to come.
    left: u32,
}

impl Walk {
    const NONE: Walk = Walk { run: RunEntry::NONE, sequence: SeqNo(0), at: 0, left: 0 };

    #[inline]
    fn new(run: RunEntry) -> Walk {
        Walk { run, sequence: run.first, at: run.body, left: run.count }
    }
}

/// What the fast path to the next record found.
enum Found {
    /// A run; `walk` is at its start.
    Run,
    /// No record now.
    Nothing,
    /// Something that the slow path must look at.
    Other,
}

/// Reads one ring. There is one client per ring; several clients need several rings.
#[derive(Debug)]
pub struct Client {
    consumer: Consumer,
    decoder: Decoder,
    facts: FeedFacts,
    walk: Walk,
    broken: bool,
}

impl Client {
    /// A client of a ring that a [`Delivery`] writes.
    ///
    /// # Errors
    /// [`ClientError::Facts`] if the feed's facts in the ring cannot be read.
    pub(crate) fn new(mut consumer: Consumer) -> Result<Client, ClientError> {
        let facts = FeedFacts::from_bytes(consumer.facts())?;
        Ok(Client { consumer, decoder: Decoder::new(facts.packing), facts, walk: Walk::NONE, broken: false })
    }

    /// The feed's facts.
    pub fn facts(&self) -> &FeedFacts {
        &self.facts
    }

    /// The next message or event. It borrows from the ring; the next call gives that part of the ring back to the writer.
    ///
    /// # Errors
    /// [`BrokenStream`], once; after that the stream has ended.
    // always: as a call, it would build its result in memory, and the caller would read it before the stores are done
    #[inline(always)]
    pub fn poll(&mut self) -> Result<Polled<Item<'_>>, BrokenStream> {
        if self.walk.left == 0 {
            self.consumer.release();
            match self.find() {
                Found::Run => {}
                Found::Nothing => return Ok(Polled::Empty),
                Found::Other => match self.next()? {
                    Polled::Empty => return Ok(Polled::Empty),
                    Polled::Ended => return Ok(Polled::Ended),
                    Polled::Item(Entry::Run(run)) => self.walk = Walk::new(run),
                    Polled::Item(entry) => return Ok(entry.item().map_or(Polled::Empty, Polled::Item)),
                },
            }
        }
        self.step()
    }

    /// The fast path: a run, or no record. Anything else it leaves alone.
    #[inline(always)]
    fn find(&mut self) -> Found {
        match self.consumer.ready() {
            Ok(true) if !self.broken => match self.decoder.run(self.consumer.record()) {
                Some(run) => {
                    self.walk = Walk::new(run);
                    Found::Run
                }
                None => Found::Other,
            },
            Ok(false) if !self.broken && !self.consumer.closed() => Found::Nothing,
            _ => Found::Other,
        }
    }

    /// The next record, whole: a run is one item. The rest of a run that [`Client::poll`] has begun is skipped.
    ///
    /// With [`StreamKind::Full`](crate::StreamKind::Full), [`RingRecord::replay`] makes the calls of the arbiter's sink again, in
    /// the same order.
    ///
    /// # Errors
    /// As [`Client::poll`].
    pub fn poll_record(&mut self) -> Result<Polled<RingRecord<'_>>, BrokenStream> {
        self.walk = Walk::NONE;
        self.consumer.release();
        let record = match self.next()? {
            Polled::Empty => return Ok(Polled::Empty),
            Polled::Ended => return Ok(Polled::Ended),
            Polled::Item(Entry::Run(run)) => {
                let Some(&channel) = self.decoder.channel(run.index) else {
                    return Err(self.fail(delivery::BrokenRecord::Channel { index: run.index }));
                };
                if run.checked(self.consumer.record(), channel).is_none() {
                    return Err(self.fail(delivery::BrokenRecord::Messages { count: run.count }));
                }
                let whole = run.checked(self.consumer.record(), channel);
                return Ok(whole.map_or(Polled::Empty, |whole| Polled::Item(RingRecord::Run(run.via, whole))));
            }
            Polled::Item(Entry::Loss(loss)) => RingRecord::Loss(loss),
            Polled::Item(Entry::Jump(jump)) => RingRecord::Jump(jump),
            Polled::Item(Entry::Event(event)) => RingRecord::Event(event),
            Polled::Item(Entry::Overrun(overrun)) => RingRecord::Overrun(overrun),
            Polled::Item(Entry::Named) => return Ok(Polled::Empty),
        };
        Ok(Polled::Item(record))
    }

    /// The next record that is not a channel record. Never a run without messages.
    #[inline(never)]
    fn next(&mut self) -> Result<Polled<Entry>, BrokenStream> {
        // bounded, so that a writer of nothing but channel records cannot keep the caller here
        for _ in 0..=delivery::CHANNELS_MAX {
            if self.broken {
                return Ok(Polled::Ended);
            }
            if !self.ready()? {
                // a record may have come after our look and before the writer closed
                if !self.consumer.closed() {
                    return Ok(Polled::Empty);
                }
                if !self.ready()? {
                    return Ok(Polled::Ended);
                }
            }
            match self.decoder.decode(self.consumer.record()) {
                Ok(Entry::Named) => {}
                Ok(Entry::Run(run)) if run.count == 0 => {}
                Ok(entry) => return Ok(Polled::Item(entry)),
                Err(broken) => return Err(self.fail(broken)),
            }
            self.consumer.release();
        }
        Ok(Polled::Empty)
    }

    fn ready(&mut self) -> Result<bool, BrokenStream> {
        match self.consumer.ready() {
            Ok(ready) => Ok(ready),
            Err(broken) => Err(self.fail(broken)),
        }
    }

    #[cold]
    fn fail(&mut self, broken: impl Into<BrokenStream>) -> BrokenStream {
        self.broken = true;
        self.walk = Walk::NONE;
        broken.into()
    }

    /// The next message of the run.
    #[inline(always)]
    fn step(&mut self) -> Result<Polled<Item<'_>>, BrokenStream> {
        let Walk { run: RunEntry { count, index, .. }, at, sequence, .. } = self.walk;
        // the feed's is not rewritten with each run, so there is no store to wait for
        let packing = if self.walk.run.packed_otherwise() { self.walk.run.packing } else { self.facts.packing };
        let block = self.consumer.record().get(at..).and_then(|rest| packing.block_len(rest));
        let Some(end) = block.map(|block| at + block) else {
            return Err(self.fail(delivery::BrokenRecord::Messages { count }));
        };
        self.walk.left -= 1;
        self.walk.sequence += 1;
        self.walk.at = end;
        let Some((channel, session)) = self.decoder.channel(index).map(Named::parts) else {
            return Err(self.fail(delivery::BrokenRecord::Channel { index }));
        };
        let RunEntry { line, stamp, .. } = self.walk.run;
        let flags = self.walk.run.flags();
        let bytes = self.consumer.record().get(at + usize::from(packing.skip)..end).unwrap_or_default();
        Ok(Polled::Item(Item::Message(Message { channel, session, sequence, line, stamp, flags, bytes })))
    }
}

impl Entry {
    fn item(self) -> Option<Item<'static>> {
        match self {
            Entry::Loss(loss) => Some(Item::Loss(loss)),
            Entry::Jump(jump) => Some(Item::Jump(jump)),
            Entry::Event(event) => Some(Item::Event(event)),
            Entry::Overrun(overrun) => Some(Item::Overrun(overrun)),
            Entry::Named | Entry::Run(_) => None,
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests;
