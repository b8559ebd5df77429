//! Every system call: the clock, pinning, sockets, batch receive, signals, and a look at the machine. No other module of the
//! library calls the system but by the standard library's files.

pub mod clock;
pub mod cpu;
mod filter;
pub mod machine;
pub mod memory;
pub mod netns;
pub mod packet;
pub mod raw;
pub mod receive;
pub mod send;
pub mod send_packet;
pub mod sending;
pub mod signal;
pub mod xdp;
