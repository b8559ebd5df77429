//! The set of clients that one arbiter writes to: the hot thread's end, and the end of the thread that manages the set.
//!
//! ```text
//!   any other thread                                       the hot thread
//!   Roster::attach   -- the client's writer ------------>  Deliveries::tend adds it
//!   Roster::detach   -- its id ------------------------->  Deliveries::tend gives it back
//!   Roster::returned <-- a writer, of a client that was detached or has gone ----
//! ```
//!
//! Both directions are lock-free queues. The hot thread neither allocates nor frees: it takes a writer by value and gives it back
//! the same way, and the other thread drops it. The set changes only in [`Deliveries::tend`], between two frames, so every client
//! gets whole frames.
//!
//! ```
//! use twinline_client::{CAPACITY_MIN, Deliveries, FeedFacts, Polled, StreamKind};
//! # use twinline_core::frame::Packing;
//!
//! let (mut deliveries, mut roster) = Deliveries::new(8);
//! // `deliveries` goes to the hot thread; at any time later, here:
//! # let facts = FeedFacts { packing: Packing::LENGTH_BE16, feed: "loopback".into(), lines: vec!["A".into(), "B".into()] };
//! let (delivery, mut client) = twinline_client::open(&facts, StreamKind::Ordered.into(), CAPACITY_MIN)?;
//! let id = roster.attach(delivery)?;
//! // the hot thread, between two frames
//! deliveries.tend();
//! # assert_eq!(deliveries.iter().count(), 1);
//! assert!(roster.detach(id));
//! # deliveries.tend();
//! // and once it has done so again
//! let (returned, delivery) = roster.returned().expect("the writer is back");
//! assert_eq!(returned, id);
//! drop(delivery);
//! assert_eq!(client.poll()?, Polled::Ended);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use std::fmt;

use super::Delivery;
use crate::ring::{Giver, Taker, handoff};
use twinline_core::arbiter::{ChannelRef, Event, Loss, Run, Sink};
use twinline_core::frame::Session;
use twinline_core::{Nanos, SeqRange};

/// The most clients that one [`Deliveries`] can have. Each one costs the hot thread a copy of every message.
pub const DIRECT_MAX: usize = 64;

/// A client of a [`Deliveries`], as its [`Roster`] names it. No two clients of one roster have the same id, ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClientId(u64);

impl fmt::Display for ClientId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What the roster asks of the hot thread.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "the hot thread would have to free the box")]
enum Order {
    Attach(ClientId, Delivery),
    Detach(ClientId),
}

/// The [`Sink`] over all clients of an arbiter. They are served in the order in which they were attached.
///
/// Invariant: `ids` has one entry per writer, in the same order. With an exchange, both have room for as many clients as the
/// roster may attach.
#[derive(Debug, Default)]
pub struct Deliveries {
    writers: Vec<Delivery>,
    ids: Vec<ClientId>,
    exchange: Option<Exchange>,
}

/// The hot thread's ends of the queues.
#[derive(Debug)]
struct Exchange {
    orders: Taker<Order>,
    returned: Giver<(ClientId, Delivery)>,
    /// Calls until the next check whether a client has gone.
    until_look: u32,
    /// Which client is checked next; past the end, the first.
    look_at: usize,
}

impl Deliveries {
    /// Every this many calls, [`Deliveries::tend`] checks whether one of the clients has gone. The answer is on a cache line that
    /// the client writes, so checking is not free.
    pub const LOOK_EVERY: u32 = 1_024;

    /// An empty set for up to `capacity` clients, and the roster that attaches and detaches them while the set is in use.
    ///
    /// # Panics
    /// If `capacity` is zero or more than [`DIRECT_MAX`].
    pub fn new(capacity: usize) -> (Deliveries, Roster) {
        assert!((1..=DIRECT_MAX).contains(&capacity), "{capacity} clients, where 1 to {DIRECT_MAX} are possible");
        // a client may be attached and detached before the hot thread looks
        let (orders_in, orders) = handoff(2 * capacity);
        let (returned_in, returned) = handoff(capacity);
        let exchange = Exchange { orders, returned: returned_in, until_look: Deliveries::LOOK_EVERY, look_at: 0 };
        let deliveries = Deliveries {
            writers: Vec::with_capacity(capacity),
            ids: Vec::with_capacity(capacity),
            exchange: Some(exchange),
        };
        (deliveries, Roster { orders: orders_in, returned, capacity, seats: Vec::with_capacity(capacity), next: 0 })
    }

    /// A set of these clients' writers, which never changes.
    pub fn fixed(writers: Vec<Delivery>) -> Deliveries {
        let ids = (0..writers.len() as u64).map(ClientId).collect();
        Deliveries { writers, ids, exchange: None }
    }

    /// The writers, in the order in which they are served.
    pub fn iter(&self) -> impl Iterator<Item = &Delivery> {
        self.writers.iter()
    }

    /// Calls [`Delivery::settle`] for each client. Returns whether every overrun has been reported.
    #[inline]
    pub fn settle(&mut self) -> bool {
        let mut settled = true;
        for writer in &mut self.writers {
            settled &= writer.settle();
        }
        settled
    }

    /// Adds the clients that were attached, gives back those that were detached or have gone, and reports overruns. The thread
    /// that feeds the set calls it once before the first frame and then after every pass, which [`Sink::after_pass`] does. If
    /// there is nothing to do, it costs a branch per client and a look at one cache line. It never waits, allocates or makes a
    /// system call.
    #[inline]
    pub fn tend(&mut self) {
        self.settle();
        if let Some(exchange) = &mut self.exchange {
            exchange.until_look -= 1;
            let look = exchange.until_look == 0;
            if exchange.orders.ready() {
                self.obey();
            }
            if look {
                self.look();
            }
        }
    }

    /// Does what the roster has asked for, in the same order.
    #[cold]
    fn obey(&mut self) {
        while let Some(order) = self.exchange.as_mut().and_then(|exchange| exchange.orders.take()) {
            match order {
                Order::Attach(id, delivery) => {
                    // never beyond the reserved room: the roster keeps count
                    self.writers.push(delivery);
                    self.ids.push(id);
                }
                Order::Detach(id) => {
                    // the client may have gone, and been given back, before
                    if let Some(at) = self.ids.iter().position(|known| *known == id) {
                        self.give_back(at);
                    }
                }
            }
        }
    }

    /// Checks whether one client has gone, each in turn.
    #[cold]
    fn look(&mut self) {
        let Some(exchange) = &mut self.exchange else { return };
        exchange.until_look = Deliveries::LOOK_EVERY;
        let at = if exchange.look_at < self.writers.len() { exchange.look_at } else { 0 };
        exchange.look_at = at + 1;
        if self.writers.get(at).is_some_and(Delivery::client_gone) {
            exchange.look_at = at;
            self.give_back(at);
        }
    }

    fn give_back(&mut self, at: usize) {
        let Some(exchange) = &mut self.exchange else { return };
        let (id, mut writer) = (self.ids.remove(at), self.writers.remove(at));
        // the client sees the end now, however late the other thread takes the writer back
        writer.close();
        // there is room for every client; if there were none, this one would stay
        if let Err((id, writer)) = exchange.returned.give((id, writer)) {
            self.ids.push(id);
            self.writers.push(writer);
        }
    }
}

impl Sink for Deliveries {
    fn event(&mut self, event: &Event) {
        self.writers.iter_mut().for_each(|writer| writer.event(event));
    }

    #[inline]
    fn release(&mut self, run: &Run<'_>) {
        self.writers.iter_mut().for_each(|writer| writer.release(run));
    }

    fn loss(&mut self, loss: &Loss) {
        self.writers.iter_mut().for_each(|writer| writer.loss(loss));
    }

    fn late(&mut self, run: &Run<'_>) {
        self.writers.iter_mut().for_each(|writer| writer.late(run));
    }

    fn unsequenced(&mut self, run: &Run<'_>) {
        self.writers.iter_mut().for_each(|writer| writer.unsequenced(run));
    }

    #[inline]
    fn first(&mut self, run: &Run<'_>) {
        self.writers.iter_mut().for_each(|writer| writer.first(run));
    }

    fn first_gap(&mut self, at: Nanos, channel: ChannelRef, session: Session, range: SeqRange) {
        self.writers.iter_mut().for_each(|writer| writer.first_gap(at, channel, session, range));
    }

    #[inline]
    fn after_pass(&mut self, _: usize) {
        self.tend();
    }

    fn close(&mut self) {
        self.writers.iter_mut().for_each(Delivery::close);
    }
}

/// Attaches clients to a [`Deliveries`] that another thread uses, and takes them back.
///
/// Invariant: the queue of orders has a free place for each client that is attached and has not been asked for, so
/// [`Roster::detach`] always finds one.
#[derive(Debug)]
pub struct Roster {
    orders: Giver<Order>,
    returned: Taker<(ClientId, Delivery)>,
    capacity: usize,
    seats: Vec<Seat>,
    /// The next client's id.
    next: u64,
}

/// A client that was attached and has not been returned.
#[derive(Clone, Copy, Debug)]
struct Seat {
    id: ClientId,
    /// Whether it has been asked for.
    detached: bool,
}

impl Roster {
    /// Hands a client's writer to the hot thread, which adds it between two frames. The client's stream begins with the next
    /// frame. Like any client, it learns which channel and session each message belongs to. It does not get earlier messages.
    ///
    /// # Errors
    /// [`AttachError`], with the writer in it, if as many clients are attached as there may be, or the hot thread has ended.
    pub fn attach(&mut self, delivery: Delivery) -> Result<ClientId, AttachError> {
        let reason = if self.orders.taker_gone() {
            AttachReason::Ended
        } else if self.seats.len() == self.capacity || self.orders.free() < self.waiting() + 2 {
            AttachReason::Full
        } else {
            let id = ClientId(self.next);
            let Err(Order::Attach(_, delivery)) = self.orders.give(Order::Attach(id, delivery)) else {
                self.next += 1;
                self.seats.push(Seat { id, detached: false });
                return Ok(id);
            };
            return Err(AttachError { reason: AttachReason::Full, delivery: Box::new(delivery) });
        };
        Err(AttachError { reason, delivery: Box::new(delivery) })
    }

    /// Asks for a client's writer. The hot thread gives it back between two frames, and then [`Roster::returned`] returns it.
    /// False if no such client is attached, or it has been asked for already.
    pub fn detach(&mut self, id: ClientId) -> bool {
        let Some(seat) = self.seats.iter_mut().find(|seat| seat.id == id && !seat.detached) else { return false };
        seat.detached = self.orders.give(Order::Detach(id)).is_ok();
        seat.detached
    }

    /// The next writer that was given back because its client was detached or has gone ([`Delivery::client_gone`]). Dropping it
    /// reports the last overrun and ends the client's stream. Call this now and then: only after it is a client's place free
    /// again.
    pub fn returned(&mut self) -> Option<(ClientId, Delivery)> {
        let (id, delivery) = self.returned.take()?;
        self.seats.retain(|seat| seat.id != id);
        Some((id, delivery))
    }

    /// The clients that are attached, or are being attached or detached, in the order in which they were attached.
    pub fn clients(&self) -> impl Iterator<Item = ClientId> {
        self.seats.iter().map(|seat| seat.id)
    }

    /// How many clients may still be asked for.
    fn waiting(&self) -> usize {
        self.seats.iter().filter(|seat| !seat.detached).count()
    }
}

/// Why a client was not attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AttachReason {
    /// As many clients are attached as there may be. One that has gone counts until [`Roster::returned`] has returned it.
    Full,
    /// The hot thread has ended, and has dropped its [`Deliveries`].
    Ended,
}

/// A client was not attached. Its writer is in here; dropping it ends the client's stream.
#[derive(Debug)]
pub struct AttachError {
    /// Why.
    pub reason: AttachReason,
    /// The client's writer, as it was.
    pub delivery: Box<Delivery>,
}

impl fmt::Display for AttachError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.reason {
            AttachReason::Full => "no room for another client: detach one first",
            AttachReason::Ended => "the arbiter that the client was to be attached to has ended",
        })
    }
}

impl std::error::Error for AttachError {}
