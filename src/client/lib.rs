//! What a client of Twinline links: the ring that the arbiter writes, and the [`Client`] that reads it.
//!
//! ```
//! use twinline_client::{Client, Item, Polled};
//! # use twinline_client::{BrokenStream, CAPACITY_MIN, FeedFacts, StreamKind};
//! # use twinline_core::framing::{Framing, MoldUdp64};
//! # use twinline_core::{Arbiter, Line, Nanos, Session, Settings};
//!
//! /// Reads until the arbiter has ended; returns how many messages came.
//! fn read(client: &mut Client) -> Result<u64, BrokenStream> {
//!     let mut messages = 0;
//!     loop {
//!         match client.poll()? {
//!             Polled::Item(Item::Message(message)) => {
//!                 println!("{} {:?}", message.sequence, message.bytes);
//!                 messages += 1;
//!             }
//!             Polled::Item(Item::Loss(loss)) => println!("lost on every line: {}", loss.range),
//!             Polled::Item(Item::Overrun(overrun)) => println!("this client was too slow: missed {}", overrun.range),
//!             Polled::Item(_) => {}                    // events: gaps, sessions, the lines' states
//!             Polled::Empty => std::hint::spin_loop(), // or do something else for a while
//!             Polled::Ended => return Ok(messages),
//!         }
//!     }
//! }
//! # let lines = vec!["A".to_owned(), "B".to_owned()];
//! # let facts = FeedFacts::new(MoldUdp64.packing(), "loopback", lines);
//! # let (mut delivery, mut client) = twinline_client::open(&facts, StreamKind::Ordered.into(), CAPACITY_MIN)?;
//! # let mut arbiter = Arbiter::new(Settings::new(MoldUdp64.rules(), vec![true, true], 1));
//! # let mut datagram = Vec::new();
//! # MoldUdp64.encode(Session::text(b"TODAY"), 1, &[b"one", b"two"], 1_400, &mut datagram);
//! # let frame = MoldUdp64.frame(&datagram, &mut 0).unwrap().unwrap();
//! # arbiter.on_frame(Nanos(5), Line(1), 0, &frame, &mut delivery);
//! # arbiter.finish(Nanos(9), &mut delivery);
//! # drop(delivery);
//! # assert_eq!(read(&mut client)?, 2);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! | for | there is |
//! |---|---|
//! | reading the stream | [`Client`]: [`Client::poll`] gives one [`Item`] at a time, [`Client::poll_record`] whole [`RingRecord`]s; [`Polled`], [`Message`], [`Jump`], [`Overrun`] |
//! | making a ring | [`open`] makes both ends, the [`Delivery`] for the arbiter's thread and the [`Client`]; [`FeedFacts`], [`Wants`], [`StreamKind`]; [`CAPACITY_DEFAULT`], [`CAPACITY_MIN`] |
//! | serving several clients | [`Deliveries`] is the arbiter's sink over all of them; its [`Roster`] attaches and detaches them while it is in use; [`ClientId`], [`Dropped`], [`DIRECT_MAX`] |
//! | what can go wrong | [`ClientError`], [`FactsError`]; [`BrokenStream`], [`BrokenRecord`]; [`AttachError`], [`AttachReason`] |
//! | watching an arbiter | [`counters`]: the page of counters that the hot thread stores and anyone reads |
//! | bytes of another kind | [`ring`]: the single-producer single-consumer ring itself |
//!
//! A slow client harms only itself. A record that does not fit into its ring is dropped and counted, and so is every later one
//! until a quarter of the ring is free. Then the client gets an [`Overrun`] per channel and session that says what it missed.

#![deny(unsafe_code)]

mod client;
pub mod counters;
mod delivery;
#[expect(unsafe_code, reason = "memory that two threads share")]
pub mod ring;

pub use client::{BrokenStream, Client, ClientError, Item, Message, open};
pub use delivery::{
    AttachError, AttachReason, BrokenRecord, CAPACITY_DEFAULT, CAPACITY_MIN, ClientId, DIRECT_MAX, Deliveries,
    Delivery, Dropped, FactsError, FeedFacts, Jump, Overrun, RingRecord, Roster, SinkCall, StreamKind, Wants,
};
pub use ring::Polled;
