//! Twinline: an A/B line arbiter for UDP multicast market data.
//!
//! ```text
//! source -> framing -> arbiter -> delivery -> ring -> client
//! ```
//!
//! Modules form floors, and arrows run down only; `tests/tidy.rs` holds them to it. From the bottom:
//!
//! | floor | modules |
//! |---|---|
//! | 1 | [`time`], [`seq`], [`ring`] |
//! | 2 | [`frame`], [`os`], [`config`] |
//! | 3 | [`framing`], [`arbiter`], [`ip`] |
//! | 4 | [`source`], [`wire`], [`capture`], [`delivery`], [`chart`], [`spread`] |
//! | 5 | [`handler`], [`client`], [`publisher`], [`replay`], [`latency`], [`quality`], [`inspect`] |
//! | 6 | [`cli`] |

pub mod arbiter;
pub mod capture;
pub mod chart;
pub mod cli;
pub mod client;
pub mod config;
pub mod delivery;
pub mod frame;
pub mod framing;
pub mod handler;
pub mod inspect;
pub mod ip;
pub mod latency;
pub mod os;
pub mod publisher;
pub mod quality;
pub mod replay;
pub mod ring;
pub mod seq;
pub mod source;
pub mod spread;
pub mod time;
pub mod wire;
