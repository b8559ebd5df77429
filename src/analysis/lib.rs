//! What tells about a feed: line quality, what is in a capture, latency, charts.
//!
//! | module | what it has |
//! |---|---|
//! | [`quality`] | what each line did, gathered while an arbiter runs |
//! | [`inspect`] | what is in a capture |
//! | [`latency`] | latency on one machine |
//! | [`chart`], [`spread`] | curves and boxes as SVG; quartiles |

#![forbid(unsafe_code)]

pub mod chart;
pub mod inspect;
pub mod latency;
pub mod quality;
pub mod report;
pub mod spread;
