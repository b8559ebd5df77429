//! Measuring latency on one machine: publisher, arbiter and client in one process, by one clock.
//!
//! There are two measurements, for two questions.
//!
//! [`open_loop`]: how long do messages take at this rate? Every message has a time at which it is due, whatever became of those
//! before it, and its latency counts from that time. If the publisher or the arbiter is held up, it shows in every message that it
//! kept waiting (no coordinated omission).
//!
//! ```text
//!  intended send   send      [kernel stamp]   receive return   ring publish        client read
//!       |           |              |               |                |                   |
//!       +-----------+--------------+---------------+----------------+-------------------+--> by one clock
//!        late sends   kernel, wire   waiting for us  arbitration       ring, client
//! ```
//!
//! [`two_core`]: what does the arbiter add? Blocks of messages, sent one at a time, rotate between the bare receive loop, the same loop
//! again as a control, and the arbiter. If absolute figures drift, the ratio still holds ([`ratio`]).
//!
//! The first 16 bytes of each message are its [`message::Stamps`]: when it was due, and when it was sent. Its number is the framing's.
//!
//! [`results`] is the report of both, as text, JSON and a page. [`hgrm`] writes the percentile file that the usual plotters take.

pub mod arbitrate;
pub mod hgrm;
mod json;
pub mod latencies;
pub mod message;
pub mod open_loop;
mod page;
pub mod pingpong;
pub mod publish;
pub mod ratio;
pub mod read;
pub mod results;
mod text;
pub mod two_core;

pub use results::{LatencyReport, MeasuredMachine, PassResults, PassSpec, RatioResults};
