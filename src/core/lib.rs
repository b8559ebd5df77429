//! Framings and the arbiter of [Twinline](https://docs.rs/twinline): functions of what they are given.
//!
//! Nothing here does I/O, reads a clock, starts a thread or logs. Time is an argument.
//!
//! | module | what it has |
//! |---|---|
//! | [`time`], [`seq`] | nanoseconds; sequence numbers and half-open ranges of them |
//! | [`frame`] | the words that framings and the arbiter share |
//! | [`framing`] | bytes to frames and back, one file per framing |
//! | [`arbiter`] | frames of all lines to one stream, in order |
//!
//! [`framing`] and [`arbiter`] never name each other.

#![forbid(unsafe_code)]

pub mod arbiter;
pub mod frame;
pub mod framing;
mod packing;
pub mod seq;
pub mod time;
