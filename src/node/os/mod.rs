//! Every system call: the clock, pinning, sockets, batch receive, signals, and a look at the machine. Apart from files read and
//! written through the standard library, no other module calls the system.
//!
//! | module | what it has |
//! |---|---|
//! | [`clock`], [`cpu`], [`memory`], [`signal`] | time; pinning and idling; memory that is locked; the request to stop |
//! | [`netns`] | interfaces, and the namespace that they belong to |
//! | [`receive`] | UDP sockets |
//! | [`packet`], [`xdp`] | mapped rings; [`raw`] is what they share |
//! | [`send`], [`send_packet`] | UDP sockets and whole frames; [`sending`] is what they share |
//! | [`machine`] | what on this machine spoils latency numbers |

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
