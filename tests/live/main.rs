//! What goes over the loopback interface, without a privilege: sockets, the publisher, and the verbs that run until they are
//! ended.
//!
//! A test waits for a condition and asserts counts and order; none asserts how long something took.

mod demo;
mod equals_replay;
mod latency;
mod loopback;
mod publisher;
mod replay;
#[path = "../support/mod.rs"]
mod support;
mod verbs;
