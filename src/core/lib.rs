//! The core of Twinline, an A/B line arbiter for UDP multicast market data: framings, which read a datagram as frames, and the
//! arbiter, which turns the frames of all lines into one ordered stream.
//!
//! Everything here is a function of what it is given. Nothing does I/O, reads a clock, starts a thread or logs; time is an
//! argument. So yesterday's datagrams, with yesterday's stamps, give yesterday's stream again.
//!
//! ```
//! use twinline_core::framing::{Framing, MoldUdp64};
//! use twinline_core::{Arbiter, Event, Line, Nanos, Run, Session, Settings, Sink};
//!
//! /// Takes what the arbiter lets through.
//! #[derive(Default)]
//! struct Messages(Vec<String>);
//!
//! impl Sink for Messages {
//!     fn event(&mut self, _: &Event) {}
//!
//!     fn release(&mut self, run: &Run<'_>) {
//!         self.0.extend(run.messages().map(|message| String::from_utf8_lossy(message).into_owned()));
//!     }
//! }
//!
//! // two lines, one group each; line A loses the second datagram
//! let mut arbiter = Arbiter::new(Settings::new(MoldUdp64.rules(), vec![true, true], 1));
//! let mut messages = Messages::default();
//! let (a, b) = (Line(0), Line(1));
//! for (stamp, line, number, text) in [(10, a, 1, "one"), (12, b, 1, "one"), (20, a, 3, "three"), (22, b, 2, "two")] {
//!     let mut datagram = Vec::new();
//!     MoldUdp64.encode(Session::text(b"TODAY"), number, &[text.as_bytes()], 1_400, &mut datagram);
//!     let mut at = 0;
//!     while let Some(Ok(frame)) = MoldUdp64.frame(&datagram, &mut at) {
//!         arbiter.on_frame(Nanos(stamp), line, 0, &frame, &mut messages);
//!     }
//! }
//! arbiter.finish(Nanos(30), &mut messages);
//! assert_eq!(messages.0, ["one", "two", "three"]);
//! ```
//!
//! A datagram's way: a [`Framing`] reads it as [`Frame`]s; [`Arbiter::on_frame`] takes each one, with the time and the [`Line`]
//! that it came by, and calls a [`Sink`].
//!
//! | for | there is |
//! |---|---|
//! | time and numbers | [`Nanos`]; [`SeqNo`], the half-open [`SeqRange`] |
//! | what framings and the arbiter both name | [`Line`], [`Session`], [`ChannelKey`], [`Frame`], [`Packing`], [`SequenceRules`]: [`frame`] |
//! | reading and writing datagrams | [`Framing`], one type per framing, [`AnyFraming`] for one that a feed file names: [`framing`] |
//! | making one stream of all lines | [`Arbiter`], [`Settings`]; [`Sink`], [`Run`], [`Loss`], [`Event`]; reports and limits: [`arbiter`] |
//!
//! The names used most are here at the root as well. [`framing`] and [`arbiter`] never name each other.

#![forbid(unsafe_code)]

pub mod arbiter;
pub mod frame;
pub mod framing;
mod packing;
mod seq;
mod time;

pub use arbiter::{
    Arbiter, ChannelRef, EpochEndReason, Event, EventKind, GapTimeout, LagReason, LineState, Loss, LostReason, Run,
    RunFlags, Settings, Sink,
};
pub use frame::{ChannelKey, Frame, FrameKind, LINES_MAX, Line, Packing, Reset, SequenceRules, Session, SizeRule};
pub use framing::{AnyFraming, Framing, Malformed};
pub use seq::{SeqNo, SeqRange};
pub use time::Nanos;
