//! What a client of Twinline links: the ring, the records in it, and the client that reads them.
//!
//! | module | what it has |
//! |---|---|
//! | [`ring`] | a single-producer single-consumer ring over memory that it is given |
//! | [`delivery`] | what a client reads: records, overruns, the feed's facts; the sink that writes them |
//! | [`counters`] | the page of counters that the hot thread stores and anyone reads |
//! | [`client`] | walks the records of a ring, message by message |

#![deny(unsafe_code)]

pub mod client;
pub mod counters;
pub mod delivery;
#[expect(unsafe_code, reason = "memory that two threads share")]
pub mod ring;
