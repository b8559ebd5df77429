//! What the verbs that send have in common: by what datagrams leave, and how late they left against when they were due.

use hdrhistogram::Histogram;
use serde::Serialize;

use super::say;
use twinline_core::Nanos;
use twinline_node::config::Feed;
use twinline_node::wire::{SendBy, UdpWire};

/// `--send`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Send {
    /// The faster of the two, flat out; else sockets
    Auto,
    /// UDP sockets, heard on this host too
    Socket,
    /// Whole Ethernet frames by a packet socket: faster, and nearer to the due times; needs CAP_NET_RAW; not heard on this
    /// host, and not on loopback
    Packet,
}

impl Send {
    /// Flat out, the fastest way is worth a privilege; at given times, sockets are fast enough, and heard everywhere.
    pub(super) fn by(self, flat_out: bool) -> SendBy {
        match self {
            Send::Auto if flat_out => SendBy::Auto,
            Send::Auto | Send::Socket => SendBy::Socket,
            Send::Packet => SendBy::Packet,
        }
    }
}

/// Tells by what each line leaves, where that was not plain.
pub(super) fn tell_taken(feed: &Feed, wire: &UdpWire) {
    for (line, taken) in feed.lines.iter().zip(wire.choices()) {
        let by = if taken.packet { "as frames, by a packet socket" } else { "by sockets" };
        if let Some(why) = &taken.why {
            say(format_args!("line {}: sent {by}: {why}", line.name));
        }
    }
}

/// What `--json` says of it.
pub(super) fn taken_word(packet: bool) -> &'static str {
    if packet { "packet" } else { "socket" }
}

/// How late, for people.
pub(super) fn late_text(lateness: &Histogram<u64>) -> String {
    let at = |q| Nanos(lateness.value_at_quantile(q));
    format!("p50 {}, p90 {}, p99 {}, p99.9 {}, max {}", at(0.5), at(0.9), at(0.99), at(0.999), at(1.0))
}

/// How late, for programs, in nanoseconds.
#[derive(Debug, Serialize)]
pub(super) struct LatenessNs {
    count: u64,
    p50: u64,
    p90: u64,
    p99: u64,
    p99_9: u64,
    p99_99: u64,
    max: u64,
}

impl LatenessNs {
    pub(super) fn of(lateness: &Histogram<u64>) -> LatenessNs {
        let late = |q| lateness.value_at_quantile(q);
        LatenessNs {
            count: lateness.len(),
            p50: late(0.5),
            p90: late(0.9),
            p99: late(0.99),
            p99_9: late(0.999),
            p99_99: late(0.9999),
            max: late(1.0),
        }
    }
}
