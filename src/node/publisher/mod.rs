//! The publisher: the same messages on every line, each line with its own packing and faults.
//!
//! ```text
//!  MessageSource ->  Plan (F: Framing)  -> Planned ->    send    -> Wire -> the lines' sockets
//!  a file, stdin,    numbers, packing,     due, line,   waits for the due times, sends, counts
//!  made up, ...      faults, schedule      bytes
//! ```
//!
//! * [`MessageSource`]: where messages come from. [`BinaryFile`] reads files of length-prefixed messages, [`TextLines`] and [`LiveTextLines`]
//!   read text, [`CapturedMessages`] captures; [`MadeUp`] makes them up, [`Listed`] has a list.
//! * [`Plan`], with the [`fault`](crate::fault)s of each line: what is sent on which line, when, and what is lost. It has neither clock
//!   nor sockets, and is a function of its configuration, seed and messages: a simulation drives it just as the real sender does.
//! * [`Truth`]: which numbers were really sent on which line, so that a client's output can be judged.
//! * [`send()`] and [`send_from`]: the loop over the clock and a [`Wire`](crate::wire::Wire).
//! * [`RateSpec`], [`PackSpec`], [`PerLine`], [`parse_span`]: rates, packing and faults as people type them.
//!
//! A simulation:
//!
//! ```
//! use twinline_core::frame::Session;
//! use twinline_core::framing::MoldUdp64;
//! use twinline_node::publisher::{LinePlan, MadeUp, Plan, PlanConfig, Rate};
//!
//! let config = PlanConfig {
//!     session: Session::text(b"TWIN000001"),
//!     rate: Rate::per_second(100_000.0, 16).unwrap(),
//!     lines: vec![LinePlan::packing(1, 10), LinePlan::packing(1, 4)],
//!     seed: 7,
//!     ..PlanConfig::default()
//! };
//! let mut plan = Plan::new(MoldUdp64, config, MadeUp::new(Some(1_000), None, 7)).unwrap();
//! let mut truth = plan.truth();
//! while let Some(datagram) = plan.next_planned().unwrap() {
//!     truth.record(&datagram, datagram.dropped.is_none());
//!     // arbiter.on_frame(start + datagram.due, datagram.line, ...)
//! }
//! assert_eq!((truth.numbers(), truth.lost()), (1_000, 0));
//! ```

mod binary_file;
mod captured;
mod lane;
mod lines;
mod made_up;
mod messages;
mod pace;
mod plan;
mod queue;
mod send;
mod spec;
mod terms;
mod truth;

pub use binary_file::BinaryFile;
pub use captured::CapturedMessages;
pub use lines::{LINE_LEN_MAX, LiveTextLines, TextLines};
pub use made_up::{MADE_UP_LEN_MAX, MADE_UP_LEN_MIN, MadeUp};
pub use messages::{Listed, MESSAGE_LEN_MAX, MessageSource, MessageWarning, Timing};
pub(crate) use pace::{DueClock, LATENESS_MAX};
pub use plan::Plan;
pub use send::{PublishReport, PublishedLine, SendingError, WARNINGS_MAX, send, send_from};
pub use spec::{PackSpec, PerLine, RateSpec, SpecError, parse_span};
pub use terms::{LinePlan, PACK_MAX, PlanConfig, PlanError, PlanStep, Planned, Rate};
pub use truth::{GroupRange, LOST_RANGES_MAX, Truth};
