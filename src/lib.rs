//! The crates of Twinline under one name.

pub use twinline_analysis::{chart, inspect, latency, quality, spread};
pub use twinline_client::{client, delivery, ring};
pub use twinline_core::{arbiter, frame, framing, seq, time};
pub use twinline_node::{capture, config, handler, ip, os, publisher, replay, runtime, source, wire};
