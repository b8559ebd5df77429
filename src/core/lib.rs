//! The core of Twinline, an A/B line arbiter for UDP multicast market data: framings, which read a datagram as frames, and the
//! arbiter, which makes one stream in order of the frames of all lines.
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
//! The way of a datagram: a [`Framing`] reads it as [`Frame`]s; [`Arbiter::on_frame`] takes each, with the
//! time and the [`Line`] that it came by, and calls a [`Sink`].
//!
//! | module | what it has |
//! |---|---|
//! | [`time`], [`seq`] | nanoseconds; sequence numbers and half-open ranges of them |
//! | [`frame`] | the words that framings and the arbiter share |
//! | [`framing`] | bytes to frames and back, one file per framing |
//! | [`arbiter`] | the frames of all lines to one stream, in order |
//!
//! [`framing`] and [`arbiter`] never name each other.

#![forbid(unsafe_code)]

pub mod arbiter;
pub mod frame;
pub mod framing;
mod packing;
pub mod seq;
pub mod time;

pub use arbiter::{
    Arbiter, ChannelRef, EpochEndReason, Event, EventKind, GapTimeout, LagReason, LineState, Loss, LostReason, Run,
    RunFlags, Settings, Sink,
};
pub use frame::{ChannelKey, Frame, FrameKind, LINES_MAX, Line, Packing, Reset, SequenceRules, Session, SizeRule};
pub use framing::{AnyFraming, Framing, Malformed};
pub use seq::{SeqNo, SeqRange};
pub use time::Nanos;
