//! What runs a feed: feed files, sockets and mapped rings, captures, the handler, the publisher, replay.
//!
//! | module | what it has |
//! |---|---|
//! | [`config`] | the feed file, as typed and as meant |
//! | [`os`] | every system call |
//! | [`ip`] | a packet down to its UDP datagram |
//! | [`source`], [`wire`] | where datagrams come from, where they leave |
//! | [`capture`] | capture files, read and written |
//! | [`handler`] | a framing and the arbiter put together |
//! | [`runtime`] | the live run: its threads, its loop, its counters |
//! | [`offline`] | captures through an arbiter: messages one by one, or a sink of your own |
//! | [`publisher`], [`replay`] | what sends |

#![deny(unsafe_code)]

pub mod capture;
pub mod config;
pub mod fault;
pub mod handler;
pub mod ip;
pub mod offline;
#[expect(unsafe_code, reason = "system calls")]
pub mod os;
pub mod publisher;
pub mod replay;
pub mod runtime;
pub mod source;
pub mod wire;
