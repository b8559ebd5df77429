//! Measuring latency on one machine: publisher, arbiter and client in one process, by one clock.
//!
//! There are two measurements, for two questions. Each runs on a [`Source`](twinline_node::source::Source) of the caller's, and ends in a
//! [`LatencyReport`]: text, JSON and an HTML page.
//!
//! [`measure_open_loop`]: how long do messages take at this rate? Every message has a time at which it is due, whatever became of those
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
//! [`measure_two_core`]: what does the arbiter add? Blocks of messages, sent one at a time, rotate between the bare receive loop, the
//! same loop again as a control, and the arbiter. If absolute figures drift, the ratio still holds ([`Ratios`]).
//!
//! The first 16 bytes of each message are two times: when it was due, and when it was sent. Its number is the framing's.
//!
//! | what | has |
//! |---|---|
//! | [`OpenLoopSettings`], [`Arrangement`], [`Load`] | what to run an open-loop pass with; [`OpenLoopMeasured`] comes out |
//! | [`TwoCoreSettings`] | what to run a two-core measurement with; [`TwoCoreMeasured`] comes out, [`Round`]s on the way |
//! | [`PassSpec`], [`PassResults`], [`RatioResults`], [`MeasuredMachine`] | what a [`LatencyReport`] is put together from |
//! | [`LatencyCause`], [`Stage`] | why a message took so long, and the parts of its way |
//! | [`Interval`], [`histogram()`], [`write_hgrm`] | histograms while a pass runs, and the percentile file that the usual plotters take |
//! | [`PingPong`], [`NEAR`] | how far two cores are apart |

mod arbitrate;
mod hgrm;
mod json;
mod latencies;
mod message;
mod open_loop;
mod page;
mod pingpong;
mod publish;
mod ratio;
mod read;
mod results;
mod text;
mod two_core;

pub use crate::spread::Spread;
pub use hgrm::write_hgrm;
pub use latencies::{LatencyCause, Stage, histogram};
pub use message::{Load, MESSAGE_LEN_MAX, MESSAGE_LEN_MIN};
pub use open_loop::{Arrangement, MeasureError, OpenLoopMeasured, OpenLoopSettings, measure_open_loop};
pub use pingpong::{NEAR, PingPong};
pub use publish::MeasuredPublishError;
pub use ratio::{Block, Ratio, Ratios, Round};
pub use read::Interval;
pub use results::{LatencyReport, MeasuredMachine, PassResults, PassSpec, RatioResults};
pub use two_core::{BlockKind, TwoCoreMeasured, TwoCoreSettings, measure_two_core};
