//! The publisher: the same messages on every line, each line with its own packing and faults.
//!
//! ```text
//!  MessageSource ->  Plan (F: Framing)  -> Planned ->  send::run -> Wire -> the lines' sockets
//!  a file, stdin,    numbers, packing,     due, line,   waits for the due times, sends, counts
//!  made up, ...      faults, schedule      bytes
//! ```
//!
//! * [`messages`], [`binary_file`], [`lines`], [`made_up`], [`captured`]: where messages come from.
//! * [`plan`] with [`fault`]: what is sent on which line, when, and what is lost. It has neither clock nor sockets, and is a
//!   function of its configuration, seed and messages: a simulation drives it just as the real sender does.
//! * [`truth`]: which numbers were really sent on which line, so that a client's output can be judged.
//! * [`send`]: the loop over the clock and a [`Wire`](crate::wire::Wire); [`pace`]: how it waits.
//! * [`spec`]: rates, durations and faults as people type them.
//!
//! A simulation:
//!
//! ```
//! use twinline_core::frame::Session;
//! use twinline_core::framing::MoldUdp64;
//! use twinline_node::publisher::made_up::MadeUp;
//! use twinline_node::publisher::plan::{LinePlan, Plan, PlanConfig, Rate};
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

pub mod binary_file;
pub mod captured;
mod lane;
pub mod lines;
pub mod made_up;
pub mod messages;
pub mod pace;
pub mod plan;
mod queue;
pub mod send;
pub mod spec;
mod terms;
pub mod truth;

pub use crate::fault;
