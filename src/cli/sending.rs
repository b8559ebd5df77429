//! Shared by the verbs that send: how datagrams are sent, and how late they left compared with when they were due.

use hdrhistogram::Histogram;
use serde::Serialize;

use super::say;
use twinline_core::Nanos;
use twinline_node::config::Feed;
use twinline_node::wire::{SendBy, UdpWire};

/// `--send`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum SendMethod {
    /// With `--speed max`, the faster of the two; otherwise sockets
    Auto,
    /// UDP sockets; this host hears the datagrams too
    Socket,
    /// Whole Ethernet frames through a packet socket: faster, and closer to the due times. Needs CAP_NET_RAW; not heard on this
    /// host or on loopback
    Packet,
}

impl SendMethod {
    /// Flat out, the fastest way is worth a privilege. At set times, sockets are fast enough, and are heard everywhere.
    pub(super) fn by(self, flat_out: bool) -> SendBy {
        match self {
            SendMethod::Auto if flat_out => SendBy::Auto,
            SendMethod::Auto | SendMethod::Socket => SendBy::Socket,
            SendMethod::Packet => SendBy::Packet,
        }
    }
}

/// Prints how each line is sent, if there was a reason to choose.
pub(super) fn print_send_choices(feed: &Feed, wire: &UdpWire) {
    for (line, taken) in feed.lines.iter().zip(wire.choices()) {
        let by = if taken.packet { "as frames, through a packet socket" } else { "by sockets" };
        if let Some(why) = &taken.why {
            say(format_args!("line {}: sent {by}: {why}", line.name));
        }
    }
}

/// How a line is sent: the word in `--json`.
pub(super) fn sent_by_word(packet: bool) -> &'static str {
    if packet { "packet" } else { "socket" }
}

/// How late datagrams left, as text.
pub(super) fn late_text(lateness: &Histogram<u64>) -> String {
    let at = |q| Nanos(lateness.value_at_quantile(q));
    format!("p50 {}, p90 {}, p99 {}, p99.9 {}, max {}", at(0.5), at(0.9), at(0.99), at(0.999), at(1.0))
}

/// How late datagrams left, in nanoseconds, for `--json`.
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
