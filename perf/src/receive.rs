//! The receive methods, over veth pairs between two network namespaces: the latency from the sending call to the polling thread,
//! the cost of an empty poll and of a datagram in a backlog, and the loss at a given rate.
//!
//! One thread on core 0 sends, and spins on a flag. The receiver spins on core 1, reads the clock as soon as it has a datagram, and
//! sets the flag. The sender sees the flag only once its own system call has returned; over veth, the kernel does all its work on
//! the datagram inside that call. The receiver's stamp does not wait for that. Both are reported.
//!
//! Each method has its own pair, which stays open. Methods take turns, block by block. Spinning `recv` has two turns: the second is
//! the control.

#![expect(clippy::disallowed_types, reason = "a bare flag of the benchmark's own, as the floor of a client's ring")]

use std::fmt::Write as _;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::process::{self, Command};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::{hint, thread};

use crossbeam::utils::CachePadded;
use hdrhistogram::Histogram;
use twinline_core::Nanos;
use twinline_core::framing::MoldUdp64;
use twinline_node::config::{Feed, LineConfig};
use twinline_node::os::{
    self, Clock, PacketFlow, PacketRing, PacketSender, ReceiveOptions, SendOptions, SendTrouble, Sender, XdpMode,
};
use twinline_node::source::{Live, LiveError, LiveWatch, Mapped, Redirected, Source};

use crate::machine::{self, Distance};

/// Sockets, packet rings and AF_XDP over veth: latency, cost per poll and per datagram, loss at a given rate (needs root)
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Turns per method
    #[arg(long, default_value_t = 60)]
    blocks: u32,
    /// Datagrams per block
    #[arg(long, default_value_t = 400)]
    messages: u64,
    /// Seconds per run at the given rate; 0 leaves these runs out
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// Datagrams per second, on two lines together
    #[arg(long, default_value_t = 600_000)]
    rate: u64,
}

const LEN: usize = 100;
const PORT: u16 = 26_400;
/// The length of the backlog, when the cost of a datagram is measured.
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
            // no IPv6 groups are joined and no router is solicited: the wire carries only what this benchmark sends
            ip(&format!("netns exec {side} sysctl -qw net.ipv6.conf.default.disable_ipv6=1"));
        }
        for pair in 0..pairs {
            let name = interface(pair);
            ip(&format!("link add {name} netns {} type veth peer name {name} netns {}", bed.sending, bed.receiving));
            for (host, side) in [&bed.sending, &bed.receiving].into_iter().enumerate() {
                ip(&format!("-n {side} addr add 10.81.{pair}.{}/24 dev {name}", host + 1));
                ip(&format!("-n {side} link set {name} up"));
            }
        }
        bed
    }

    /// Runs a closure on one side. A socket belongs to the namespace in which it was opened.
    fn on<T: Send>(side: &str, what: impl FnOnce() -> T + Send) -> T {
        thread::scope(|scope| {
            let there = scope.spawn(|| {
                os::enter_namespace(side).expect("a namespace that was just made");
                what()
            });
            there.join().expect("no panic there")
        })
    }

    fn sender(&self, pair: usize) -> Sender {
        let options = SendOptions::default();
        Bed::on(&self.sending, || Sender::open(group(pair), &interface(pair), options).expect("a sender"))
    }

    /// A sender of whole frames, as fast as one core can send.
    fn frames(&self, pair: usize) -> (PacketSender, [Option<PacketFlow>; 1]) {
        let from = SocketAddrV4::new(Ipv4Addr::new(10, 81, pair as u8, 1), PORT);
        let sender = Bed::on(&self.sending, || PacketSender::open(&interface(pair)).expect("a sender of frames"));
        let flow = sender.flow(from, group(pair), 1);
        (sender, [Some(flow)])
    }

    /// Writes a file under /sys in the receiving namespace.
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

/// A feed with a line on each of these pairs.
fn feed(pairs: &[usize]) -> Feed {
    let line = |&pair: &usize| LineConfig::new(interface(pair), vec![group(pair)], interface(pair));
    Feed::new("perf", MoldUdp64.into(), pairs.iter().map(line).collect())
}

/// What to do with a method's source, whatever its type.
trait With: Send {
    type Output: Send;
    fn with<S: Source + Send + 'static>(self, source: S, watch: LiveWatch) -> Self::Output;
}

fn open<W: With>(bed: &Bed, method: &str, pairs: &[usize], what: W) -> W::Output {
    // the sender does not matter here
    let options = ReceiveOptions::default().with_senders(false);
    let feed = feed(pairs);
    let opened = Bed::on(&bed.receiving, || {
        Ok(match method {
            "packet" => {
                let (live, watch) = Mapped::open(&feed, &options, PacketRing::open)?;
                what.with(live, watch)
            }
            "xdp, skb" => {
                let (live, watch) = Redirected::open(&feed, &options, &[XdpMode::Skb])?;
                what.with(live, watch)
            }
            "xdp, native" => {
                let (live, watch) = Redirected::open(&feed, &options, &[XdpMode::Native])?;
                what.with(live, watch)
            }
            _ => {
                let (live, watch) = Live::open(&feed, &options)?;
                what.with(live, watch)
            }
        })
    });
    opened.unwrap_or_else(|error: LiveError| {
        eprintln!("{method}: {error}");
        process::exit(1);
    })
}

const METHODS: [&str; 4] = ["socket", "packet", "xdp, skb", "xdp, native"];
/// The order of a round. The last one repeats the first.
const ROUND: [usize; 5] = [0, 1, 2, 3, 0];

fn name(turn: usize) -> &'static str {
    if turn + 1 == ROUND.len() { "socket again (control)" } else { METHODS[ROUND[turn]] }
}

/// Times from the sending call: to the receiver's stamp, and until the sender sees the flag.
struct Times {
    received: Histogram<u64>,
    seen: Histogram<u64>,
    lost: u64,
}

impl Times {
    fn new() -> Times {
        let histogram = || Histogram::new(3).expect("three digits");
        Times { received: histogram(), seen: histogram(), lost: 0 }
    }
}

/// A method's turns.
trait Turn: Send {
    /// One datagram at a time.
    fn latency(&mut self, clock: &Clock, datagrams: u64) -> Times;
    /// The cost of a poll that finds nothing, and of a datagram in a backlog.
    fn costs(&mut self, clock: &Clock) -> (f64, f64);
}

/// A method with its own line.
struct Contender<S> {
    source: S,
    sender: Sender,
    /// How many datagrams were sent so far. Each carries its number.
    sent: u64,
    _watch: LiveWatch,
}

/// Makes a contender from a source.
struct Contend {
    sender: Sender,
}

impl With for Contend {
    type Output = Box<dyn Turn>;

    fn with<S: Source + Send + 'static>(self, source: S, watch: LiveWatch) -> Box<dyn Turn> {
        Box::new(Contender { source, sender: self.sender, sent: 0, _watch: watch })
    }
}

/// Ends the receiver's thread, even if the sender's fails.
struct Ending<'a>(&'a AtomicBool);

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn number(payload: &[u8]) -> u64 {
    payload.first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes))
}

impl<S: Source> Contender<S> {
    fn send(&mut self) -> u64 {
        let mut payload = [7; LEN];
        self.sent += 1;
        payload[..8].copy_from_slice(&self.sent.to_le_bytes());
        let trouble = self.sender.send(&payload).expect("a payload that fits");
        assert_eq!(trouble, None, "the link is up");
        self.sent
    }
}

impl<S: Source + Send> Turn for Contender<S> {
    fn latency(&mut self, clock: &Clock, datagrams: u64) -> Times {
        let warm_up = datagrams / 4;
        let mut times = Times::new();
        let stamp = CachePadded::new(AtomicU64::new(0));
        let (arrived, over) = (CachePadded::new(AtomicU64::new(0)), AtomicBool::new(false));
        let (source, sender) = (&mut self.source, &mut self.sender);
        thread::scope(|scope| {
            scope.spawn(|| {
                machine::pin(1);
                arrived.store(u64::MAX, Ordering::Release);
                while !over.load(Ordering::Relaxed) {
                    let polled = source.poll(&mut |datagram| {
                        stamp.store(clock.now().0, Ordering::Relaxed);
                        arrived.store(number(datagram.payload), Ordering::Release);
                    });
                    let _ = polled.expect("a poll");
                }
            });
            let _ending = Ending(&over);
            while arrived.load(Ordering::Acquire) != u64::MAX {
                hint::spin_loop();
            }
            let mut payload = [7; LEN];
            for count in 0..warm_up + datagrams {
                self.sent += 1;
                payload[..8].copy_from_slice(&self.sent.to_le_bytes());
                let start = clock.now();
                let trouble = sender.send(&payload).expect("a payload that fits");
                assert_eq!(trouble, None, "the link is up");
                let taken = loop {
                    if arrived.load(Ordering::Acquire) == self.sent {
                        break Some(clock.now() - start);
                    }
                    if clock.now() > start + PATIENCE {
                        break None;
                    }
                };
                match taken {
                    Some(taken) if count >= warm_up => {
                        let received = Nanos(stamp.load(Ordering::Relaxed)) - start;
                        times.received.record(received.0).expect("it grows");
                        times.seen.record(taken.0).expect("it grows");
                    }
                    Some(_) => {}
                    None => times.lost += 1,
                }
            }
        });
        times
    }

    fn costs(&mut self, clock: &Clock) -> (f64, f64) {
        const POLLS: u32 = 4_000;
        let start = clock.now();
        for _ in 0..POLLS {
            let _ = self.source.poll(&mut |_| ()).expect("a poll");
        }
        let empty = (clock.now() - start).0 as f64 / f64::from(POLLS);
        (0..BACKLOG).for_each(|_| _ = self.send());
        let start = clock.now();
        let mut found = 0;
        while found < BACKLOG && clock.now() < start + PATIENCE {
            found += self
                .source
                .poll(&mut |datagram| _ = hint::black_box(number(datagram.payload)))
                .expect("a poll")
                .datagrams as u64;
        }
        let drained = (clock.now() - start).0 as f64 / found.max(1) as f64;
        assert_eq!(found, BACKLOG, "a buffer that holds the backlog");
        (empty, drained)
    }
}

/// The results of the turns, for near or for far cores.
struct Results {
    blocks: u64,
    times: Times,
    /// p50 and p99 of a block's stamps, as ratios to those of the round's first block.
    p50: Vec<f64>,
    p99: Vec<f64>,
}

impl Results {
    fn new() -> Results {
        Results { blocks: 0, times: Times::new(), p50: Vec::new(), p99: Vec::new() }
    }
}

/// Runs the benchmark and prints its tables.
pub fn run(args: &Args) {
    if !machine::pin(1) || !machine::pin(0) {
        eprintln!("two cores are needed");
        process::exit(1);
    }
    let clock = Clock::start();
    let bed = Bed::up(METHODS.len() + 2);
    println!("{}; load average {}", machine::line(), machine::load());
    if args.blocks > 0 {
        latency(args, &clock, &bed);
    }
    if args.seconds > 0 {
        load(args, &clock, &bed);
    }
}

fn latency(args: &Args, clock: &Clock, bed: &Bed) {
    let mut turns: Vec<Box<dyn Turn>> = (0..METHODS.len())
        .map(|pair| open(bed, METHODS[pair], &[pair], Contend { sender: bed.sender(pair) }))
        .collect();
    let [mut near, mut far] = [(); 2].map(|()| ROUND.map(|_| Results::new()));
    let mut costs = METHODS.map(|_| (Vec::new(), Vec::new()));
    for _ in 0..args.blocks {
        let mut floor = None;
        for (turn, &method) in ROUND.iter().enumerate() {
            let (distance, block) = machine::gated(clock, || turns[method].latency(clock, args.messages));
            let results = if distance == Distance::Near { &mut near[turn] } else { &mut far[turn] };
            results.blocks += 1;
            results.times.lost += block.lost;
            results.times.received.add(&block.received).expect("histograms of one kind");
            results.times.seen.add(&block.seen).expect("histograms of one kind");
            let [p50, p99] = [0.5, 0.99].map(|q| block.received.value_at_quantile(q) as f64);
            if turn == 0 {
                floor = (distance == Distance::Near).then_some((p50, p99));
            }
            // far blocks are shown but not compared
            if let Some((floor_p50, floor_p99)) = floor.filter(|_| distance == Distance::Near) {
                results.p50.push(p50 / floor_p50);
                results.p99.push(p99 / floor_p99);
            }
        }
        for (turn, (empty, drained)) in turns.iter_mut().zip(&mut costs) {
            let (one_empty, one_drained) = turn.costs(clock);
            empty.push(one_empty);
            drained.push(one_drained);
        }
    }
    println!(
        "{LEN}-byte datagrams over veth, {} rounds of blocks of {}; a cache line there and back now: {} ns; the second \
         core's clock is {} ns ahead",
        args.blocks,
        args.messages,
        machine::round_trip(clock).0,
        ahead(clock)
    );
    print("near", &near);
    print("far", &far);
    println!("\ncost of a poll, ns: one line, core 0 alone, medians of {} rounds", args.blocks);
    println!("| method | poll that finds nothing | per datagram in a backlog of {BACKLOG} | to socket |");
    println!("|---|---|---|---|");
    let socket = median(&mut costs[0].1.clone());
    for (method, (empty, drained)) in METHODS.iter().zip(&mut costs) {
        let (empty, drained) = (median(empty), median(drained));
        println!("| {method} | {empty:.1} | {drained:.1} | {:.2} |", drained / socket);
    }
}

fn median(values: &mut [f64]) -> f64 {
    quantile(values, 0.5)
}

fn quantile(values: &mut [f64], q: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get((values.len() as f64 * q) as usize).copied().unwrap_or(f64::NAN)
}

/// How far the second core's clock is ahead of this one's, taken from the quickest of many exchanges.
fn ahead(clock: &Clock) -> i64 {
    const EXCHANGES: u64 = 10_000;
    let (asked, answer) = (CachePadded::new(AtomicU64::new(0)), CachePadded::new(AtomicU64::new(0)));
    thread::scope(|scope| {
        scope.spawn(|| {
            machine::pin(1);
            for n in 1..=EXCHANGES {
                while asked.load(Ordering::Acquire) != n {
                    hint::spin_loop();
                }
                answer.store(clock.now().0, Ordering::Release);
            }
        });
        let mut last = 0;
        let exchanges = (1..=EXCHANGES).map(|n| {
            let start = clock.now();
            asked.store(n, Ordering::Release);
            let there = loop {
                let there = answer.load(Ordering::Acquire);
                if there != last {
                    break there;
                }
                hint::spin_loop();
            };
            last = there;
            let end = clock.now();
            ((end - start).0, there as i64 - start.0.midpoint(end.0) as i64)
        });
        exchanges.min().map_or(0, |(_, ahead)| ahead)
    })
}

fn print(state: &str, results: &[Results; ROUND.len()]) {
    println!("\n{state}: from the sending call to the receiver's stamp, ns; ratios per round, median (quartiles)");
    println!(
        "| method | blocks | datagrams | lost | p50 | p99 | p99.9 | max | p50 to socket | p99 to socket | sender sees it, p50 | p99 |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|---|---|");
    for (turn, Results { blocks, times, p50, p99 }) in results.iter().enumerate().filter(|(_, one)| one.blocks > 0) {
        let mut line = format!("| {} | {blocks} | {} | {} |", name(turn), times.received.len(), times.lost);
        for q in [0.5, 0.99, 0.999, 1.0] {
            let _ = write!(line, " {} |", times.received.value_at_quantile(q));
        }
        for ratios in [p50, p99] {
            let mut ratios = ratios.clone();
            let [low, middle, high] = [0.25, 0.5, 0.75].map(|q| quantile(&mut ratios, q));
            line += &if ratios.is_empty() { " |".to_owned() } else { format!(" {middle:.3} ({low:.3}-{high:.3}) |") };
        }
        let [p50, p99] = [0.5, 0.99].map(|q| times.seen.value_at_quantile(q));
        println!("{line} {p50} | {p99} |");
    }
}

/// Which core takes frames off the (virtual) wire.
#[derive(Clone, Copy, PartialEq, Eq)]
enum SoftIrq {
    /// The sender's system call does it.
    Sending,
    /// The receiving thread's core, by receive packet steering.
    Receiving,
}

/// Sends on two lines at a given rate for a while.
struct Load<'a> {
    args: &'a Args,
    clock: &'a Clock,
    bed: &'a Bed,
    senders: [(PacketSender, [Option<PacketFlow>; 1]); 2],
}

/// Datagrams that one system call sends.
const BURST: u64 = 32;

impl With for Load<'_> {
    type Output = Loaded;

    fn with<S: Source + Send + 'static>(mut self, mut source: S, mut watch: LiveWatch) -> Loaded {
        let over = AtomicBool::new(false);
        let (clock, senders) = (self.clock, &mut self.senders);
        let tick = Nanos(2 * BURST * 1_000_000_000 / self.args.rate);
        let length = Nanos::from_secs(self.args.seconds);
        let (sent, took, received) = thread::scope(|scope| {
            let receiving = scope.spawn(|| {
                machine::pin(1);
                let mut received = 0;
                // datagrams that are in flight when the last one is sent still have to arrive
                let mut quiet_since = clock.now();
                while !over.load(Ordering::Relaxed) || clock.now() < quiet_since + PATIENCE {
                    let found = source.poll(&mut |datagram| _ = hint::black_box(number(datagram.payload)));
                    let found = found.expect("a poll").datagrams as u64;
                    received += found;
                    if found > 0 {
                        quiet_since = clock.now();
                    }
                }
                received
            });
            let ending = Ending(&over);
            machine::pin(0);
            let payload = [7; LEN];
            let burst = [(0, &payload[..]); BURST as usize];
            let (start, mut sent) = (clock.now(), 0);
            let mut next = start;
            while clock.now() < start + length {
                while clock.now() < next {
                    hint::spin_loop();
                }
                for (sender, flow) in senders.iter_mut() {
                    // with softirqs on another core, datagrams may be waiting for them
                    sent += match sender.send(flow, &burst) {
                        Ok(count) => count as u64,
                        Err(error) if SendTrouble::of(&error) == Some(SendTrouble::Full) => 0,
                        Err(error) => panic!("cannot send: {error}"),
                    };
                }
                next = next + tick;
            }
            let took = clock.now() - start;
            drop(ending);
            (sent, took, receiving.join().expect("the receiver"))
        });
        Bed::on(&self.bed.receiving, || watch.check().expect("the interfaces"));
        let overflow = watch.facts().iter().map(|facts| facts.overflow).sum();
        Loaded { rate: sent as f64 * 1e9 / took.0 as f64, sent, received, overflow }
    }
}

/// The results of a run.
struct Loaded {
    /// Datagrams sent per second.
    rate: f64,
    sent: u64,
    received: u64,
    /// How many datagrams the kernel says it dropped.
    overflow: u64,
}

fn load(args: &Args, clock: &Clock, bed: &Bed) {
    println!("\ntwo lines, {} datagrams per second together, {} s each", args.rate, args.seconds);
    println!("| method | softirq on | sent per second | sent | received | lost | kernel's count | lost per million |");
    println!("|---|---|---|---|---|---|---|---|");
    let pairs = [METHODS.len(), METHODS.len() + 1];
    for softirq in [SoftIrq::Sending, SoftIrq::Receiving] {
        for method in METHODS {
            let mask = if softirq == SoftIrq::Receiving { "2" } else { "0" };
            for pair in pairs {
                assert!(bed.set(&format!("{}/queues/rx-0/rps_cpus", interface(pair)), mask), "a file of /sys");
            }
            if softirq == SoftIrq::Receiving && method == "xdp, native" {
                println!("| {method} | the receiver's core | not tried: packet steering comes after it | | | | | |");
                continue;
            }
            let senders = pairs.map(|pair| bed.frames(pair));
            let loaded = open(bed, method, &pairs, Load { args, clock, bed, senders });
            let on = if softirq == SoftIrq::Sending { "the sender's core" } else { "the receiver's core" };
            let lost = loaded.sent - loaded.received.min(loaded.sent);
            println!(
                "| {method} | {on} | {:.0} | {} | {} | {lost} | {} | {:.1} |",
                loaded.rate,
                loaded.sent,
                loaded.received,
                loaded.overflow,
                lost as f64 * 1e6 / loaded.sent as f64
            );
        }
    }
}
