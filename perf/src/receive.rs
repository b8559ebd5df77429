//! The methods of receiving, over veth pairs between two network namespaces: from the call that sends to the thread that
//! polls; what an empty poll and a datagram of a backlog cost; and how much gets lost at a rate.
//!
//! One thread on core 0 sends, and spins on a flag; the receiver spins on core 1 and sets it. Each method has a pair of its
//! own and stays open; methods take turns, block by block, and spinning `recv` has two turns: the second is the control.

#![expect(clippy::disallowed_types, reason = "a bare flag of the benchmark's own, as the floor of a client's ring")]

use std::fmt::Write as _;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::process::{self, Command};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::{fs, hint, thread};

use crossbeam::utils::CachePadded;
use hdrhistogram::Histogram;
use twinline::os::clock::Clock;
use twinline::os::netns;
use twinline::os::send::{SEND_BATCH, SendOptions, Sender};
use twinline::source::Source;
use twinline::time::Nanos;

use crate::machine::{self, Distance};

/// Sockets, packet rings and AF_XDP over veth: latency, the cost of a poll and of a datagram, loss at a rate (needs root)
#[derive(Debug, clap::Args)]
pub struct Args {
    /// How often each method has its turn
    #[arg(long, default_value_t = 60)]
    blocks: u32,
    /// Datagrams in a block
    #[arg(long, default_value_t = 400)]
    messages: u64,
    /// Seconds of each run at a rate; 0 leaves them out
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// Datagrams a second, on two lines together
    #[arg(long, default_value_t = 600_000)]
    rate: u64,
}

const LEN: usize = 100;
const PORT: u16 = 26_400;
/// Datagrams that wait, when what one costs is measured.
const BACKLOG: u64 = 2_000;
/// A datagram that takes longer is lost.
const PATIENCE: Nanos = Nanos::from_millis(50);

/// The group of a pair.
fn group(pair: usize) -> SocketAddrV4 {
    SocketAddrV4::new(Ipv4Addr::new(239, 81, pair as u8 + 1, 1), PORT)
}

fn interface(pair: usize) -> String {
    format!("m{pair}")
}

/// Two namespaces and veth pairs between them, removed at the end.
struct Bed {
    sending: String,
    receiving: String,
}

impl Bed {
    fn up(pairs: usize) -> Bed {
        let [sending, receiving] = ["s", "r"].map(|side| format!("twperf{}{side}", process::id()));
        let bed = Bed { sending, receiving };
        for side in [&bed.sending, &bed.receiving] {
            ip(&format!("netns add {side}"));
        }
        for pair in 0..pairs {
            let name = interface(pair);
            ip(&format!("link add {name} netns {} type veth peer name {name} netns {}", bed.sending, bed.receiving));
            for (host, side) in [&bed.sending, &bed.receiving].into_iter().enumerate() {
                let _ = fs::write(format!("/proc/sys/net/ipv6/conf/{name}/disable_ipv6"), "1");
                ip(&format!("-n {side} addr add 10.81.{pair}.{}/24 dev {name}", host + 1));
                ip(&format!("-n {side} link set {name} up"));
            }
        }
        bed
    }

    /// Does something on one side: a socket belongs to the namespace in which it was opened.
    fn on<T: Send>(side: &str, what: impl FnOnce() -> T + Send) -> T {
        thread::scope(|scope| {
            let there = scope.spawn(|| {
                netns::enter(side).expect("a namespace that was just made");
                what()
            });
            there.join().expect("no panic there")
        })
    }

    fn sender(&self, pair: usize) -> Sender {
        let options = SendOptions { ttl: 1, source: None };
        Bed::on(&self.sending, || Sender::open(group(pair), &interface(pair), options).expect("a sender"))
    }

    /// Writes a file of /sys, as the receiving side has it.
    fn set(&self, file: &str, value: &str) -> bool {
        let write = format!("echo {value} > /sys/class/net/{file}");
        let done = Command::new("ip").args(["netns", "exec", &self.receiving, "sh", "-c", &write]).output();
        done.is_ok_and(|done| done.status.success())
    }
}

impl Drop for Bed {
    fn drop(&mut self) {
        for side in [&self.sending, &self.receiving] {
            let _ = Command::new("ip").args(["netns", "del", side]).output();
        }
    }
}

fn ip(command: &str) {
    let done = Command::new("ip").args(command.split(' ')).output();
    if !done.as_ref().is_ok_and(|done| done.status.success()) {
        eprintln!("`ip {command}` failed; this benchmark needs root and iproute2: {done:?}");
        process::exit(1);
    }
}
