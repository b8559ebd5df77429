//! The state machine, sans I/O: no clock, no socket, no thread, no log.

mod event;

pub use event::*;
