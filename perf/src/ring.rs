//! The ring against others, in one run: one-way latency by ping-pong, and throughput with a live consumer on the other core.
//!
//! Messages are 64 bytes, and a receiver reads all of them. Rings take turns, block by block; a block counts as near only if a
//! cache line's round trip was below 200 ns before and after it.

#![expect(clippy::disallowed_types, reason = "a bare flag of the benchmark's own, for pacing")]

use std::collections::BTreeMap;
use std::hint::{black_box, spin_loop};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use crossbeam::queue::ArrayQueue;
use hdrhistogram::Histogram;
use twinline::arbiter::{ChannelRef, Run, RunFlags, Sink};
use twinline::client::{self, Client, Item, Polled};
use twinline::delivery::{CAPACITY_MIN, Delivery, Facts, Output};
use twinline::frame::{ChannelKey, Line, Packing, Session};
use twinline::os::clock::Clock;
use twinline::ring::{self, Consumer, Producer, Shape};
use twinline::seq::SeqNo;
use twinline::time::Nanos;

use crate::machine::{self, Distance};

/// The ring against rtrb and crossbeam's ArrayQueue: latency and throughput
#[derive(Debug, clap::Args)]
pub struct Args {
    /// How often each ring has its turn
    #[arg(long, default_value_t = 100)]
    blocks: u32,
    /// Round trips in a block
    #[arg(long, default_value_t = 2_000)]
    trips: u64,
    /// Messages in a block of throughput
    #[arg(long, default_value_t = 100_000)]
    messages: u64,
}

const LEN: usize = 64;
/// Messages that a ring of fixed slots holds: as many bytes as the byte ring.
const SLOTS: usize = 8192;
type Message = [u8; LEN];

/// A ring's writing end.
trait Transmit: Send {
    /// Messages that one call sends.
    const BATCH: u64 = 1;
    /// Whether the message was taken.
    fn send(&mut self, n: u64) -> bool;
}

/// A ring's reading end.
trait Receive: Send {
    /// The number that the next message begins with, all of it having been read.
    fn receive(&mut self) -> Option<u64>;
}

fn message(n: u64) -> Message {
    let mut message = [7; LEN];
    message[..8].copy_from_slice(&n.to_le_bytes());
    message
}

/// Reads every word of a message; the first is its number.
#[inline]
fn read(message: &[u8]) -> u64 {
    let words = message.as_chunks::<8>().0.iter().map(|word| u64::from_le_bytes(*word));
    black_box(words.clone().fold(0, u64::wrapping_add));
    words.take(1).sum()
}

impl Transmit for Producer {
    #[inline]
    fn send(&mut self, n: u64) -> bool {
        self.write(b"", &message(n)).is_ok()
    }
}

impl Receive for Consumer {
    #[inline]
    fn receive(&mut self) -> Option<u64> {
        let n = read(self.peek().ok()??);
        self.release();
        Some(n)
    }
}

/// Frames of so many messages through the delivery.
struct Frames<const COUNT: usize> {
    delivery: Delivery,
    body: Vec<u8>,
}

impl<const COUNT: usize> Transmit for Frames<COUNT> {
    const BATCH: u64 = COUNT as u64;

    #[inline]
    fn send(&mut self, n: u64) -> bool {
        for (i, block) in self.body.chunks_exact_mut(LEN + 2).enumerate() {
            block[2..10].copy_from_slice(&(n + i as u64).to_le_bytes());
        }
        self.delivery.release(&Run {
            channel: ChannelRef { index: 0, key: ChannelKey { group: 0, key: None } },
            session: Session::NONE,
            first: SeqNo(n),
            count: COUNT as u32,
            line: Line(0),
            stamp: Nanos(n),
            flags: RunFlags::default(),
            packing: Packing::LENGTH_BE16,
            body: &self.body,
        });
        true
    }
}

impl Receive for Client {
    #[inline]
    fn receive(&mut self) -> Option<u64> {
        match self.poll() {
            Ok(Polled::Item(Item::Message(message))) => Some(read(message.bytes)),
            Ok(Polled::Empty) => None,
            other => panic!("the pacing failed: {other:?}"),
        }
    }
}

impl Transmit for rtrb::Producer<Message> {
    #[inline]
    fn send(&mut self, n: u64) -> bool {
        self.push(message(n)).is_ok()
    }
}

impl Receive for rtrb::Consumer<Message> {
    #[inline]
    fn receive(&mut self) -> Option<u64> {
        self.pop().ok().map(|message| read(&message))
    }
}

impl Transmit for Arc<ArrayQueue<Message>> {
    #[inline]
    fn send(&mut self, n: u64) -> bool {
        self.push(message(n)).is_ok()
    }
}

impl Receive for Arc<ArrayQueue<Message>> {
    #[inline]
    fn receive(&mut self) -> Option<u64> {
        self.pop().map(|message| read(&message))
    }
}

fn twinline() -> (Producer, Consumer) {
    ring::heap(Shape { capacity: LEN * SLOTS, record_max: 1024 }, b"").expect("a possible ring")
}

fn frames<const COUNT: usize>() -> (Frames<COUNT>, Client) {
    let facts = Facts { packing: Packing::LENGTH_BE16, feed: "perf".into(), lines: vec!["A".into()] };
    let (delivery, client) = client::open(&facts, Output::Ordered.into(), CAPACITY_MIN).expect("a possible ring");
    let mut body = Vec::new();
    for _ in 0..COUNT {
        body.extend_from_slice(&(LEN as u16).to_be_bytes());
        body.extend_from_slice(&message(0));
    }
    (Frames { delivery, body }, client)
}

fn array_queue() -> (Arc<ArrayQueue<Message>>, Arc<ArrayQueue<Message>>) {
    let queue = Arc::new(ArrayQueue::new(SLOTS));
    (Arc::clone(&queue), queue)
}

/// One-way times of `trips` messages there and back, in a histogram of nanoseconds.
fn latency<S: Transmit, R: Receive>(clock: &Clock, trips: u64, open: fn() -> (S, R)) -> Histogram<u64> {
    let warm_up = trips / 5;
    let ((mut there, mut arrived), (mut back, mut returned)) = (open(), open());
    let mut histogram = Histogram::new(3).expect("three digits");
    thread::scope(|scope| {
        scope.spawn(move || {
            machine::pin(1);
            for _ in 0..warm_up + trips {
                let n = loop {
                    if let Some(n) = arrived.receive() {
                        break n;
                    }
                    spin_loop();
                };
                assert!(back.send(n));
            }
        });
        for n in 0..warm_up + trips {
            let start = clock.now();
            assert!(there.send(n));
            while returned.receive().is_none() {
                spin_loop();
            }
            if n >= warm_up {
                histogram.record((clock.now() - start).0 / 2).expect("it grows");
            }
        }
    });
    histogram
}

/// Nanoseconds a message from the first sent to the last read, the receiver on the other core reading every one.
fn throughput<S: Transmit, R: Receive>(clock: &Clock, messages: u64, open: fn() -> (S, R)) -> f64 {
    let (mut sender, mut receiver) = open();
    let messages = messages / S::BATCH * S::BATCH;
    // how far the receiver is: a delivery does not wait for its client, so the benchmark does, far from the limit
    let read = AtomicU64::new(0);
    thread::scope(|scope| {
        let receiving = scope.spawn(|| {
            machine::pin(1);
            for n in 0..messages {
                let found = loop {
                    if let Some(found) = receiver.receive() {
                        break found;
                    }
                    spin_loop();
                };
                assert_eq!(found, n, "every message, in order");
                if n % 1024 == 0 {
                    read.store(n, Ordering::Relaxed);
                }
            }
            clock.now()
        });
        let start = clock.now();
        let mut far = 0;
        for n in (0..messages).step_by(S::BATCH as usize) {
            while n > far + SLOTS as u64 / 2 {
                far = read.load(Ordering::Relaxed);
                spin_loop();
            }
            while !sender.send(n) {
                spin_loop();
            }
        }
        let end = receiving.join().expect("the receiver");
        (end - start).0 as f64 / messages as f64
    })
}

/// A ring's name, and its two measurements.
struct Contender {
    name: &'static str,
    latency: fn(&Clock, u64) -> Histogram<u64>,
    throughput: fn(&Clock, u64) -> f64,
}

macro_rules! contender {
    ($name:literal, $open:expr) => {
        Contender {
            name: $name,
            latency: |clock, trips| latency(clock, trips, $open),
            throughput: |clock, messages| throughput(clock, messages, $open),
        }
    };
}

const CONTENDERS: [Contender; 5] = [
    contender!("twinline ring", twinline),
    contender!("twinline client, 1 a frame", frames::<1>),
    contender!("twinline client, 16 a frame", frames::<16>),
    contender!("rtrb", || rtrb::RingBuffer::new(SLOTS)),
    contender!("crossbeam ArrayQueue", array_queue),
];
/// The one that ratios are to.
const RTRB: usize = 3;
/// Has no ping-pong of single messages.
const FRAMES_OF_16: usize = 2;

/// What was measured, by distance and contender.
#[derive(Default)]
struct Results {
    latency: BTreeMap<usize, Histogram<u64>>,
    throughput: BTreeMap<usize, Vec<f64>>,
}

/// Runs the benchmark and prints its tables.
pub fn run(args: &Args) {
    if !machine::pin(1) || !machine::pin(0) {
        eprintln!("two cores are needed");
        std::process::exit(1);
    }
    let clock = Clock::start();
    let (mut near, mut far) = (Results::default(), Results::default());
    for _ in 0..args.blocks {
        for (i, contender) in CONTENDERS.iter().enumerate() {
            if i != FRAMES_OF_16 {
                let (distance, block) = machine::gated(&clock, || (contender.latency)(&clock, args.trips));
                let results = if distance == Distance::Near { &mut near } else { &mut far };
                let all = results.latency.entry(i).or_insert_with(|| Histogram::new(3).expect("three digits"));
                all.add(block).expect("histograms of one kind");
            }
            let (distance, block) = machine::gated(&clock, || (contender.throughput)(&clock, args.messages));
            let results = if distance == Distance::Near { &mut near } else { &mut far };
            results.throughput.entry(i).or_default().push(block);
        }
    }
    println!("{}; load average {}", machine::line(), machine::load());
    println!(
        "{LEN}-byte messages, {} blocks each; a cache line there and back now: {} ns",
        args.blocks,
        machine::round_trip(&clock).0
    );
    print("near", &near);
    print("far", &far);
}

fn print(state: &str, results: &Results) {
    println!("\n{state}: one way, ns (half a round trip, the clock's reading included)");
    println!("| ring | messages | p50 | p99 | p99.9 | p99.99 | max | p50 to rtrb |");
    println!("|---|---|---|---|---|---|---|---|");
    let at = |histogram: &Histogram<u64>, q| histogram.value_at_quantile(q);
    let rtrb = results.latency.get(&RTRB).map_or(f64::NAN, |histogram| at(histogram, 0.5) as f64);
    for (i, histogram) in &results.latency {
        let [p50, p99, p999, p9999] = [0.5, 0.99, 0.999, 0.9999].map(|q| at(histogram, q));
        let (name, count, max) = (CONTENDERS[*i].name, histogram.len(), histogram.max());
        println!("| {name} | {count} | {p50} | {p99} | {p999} | {p9999} | {max} | {:.2} |", p50 as f64 / rtrb);
    }
    println!("\n{state}: throughput with a live consumer, ns a message");
    println!("| ring | blocks | median | best | worst | median to rtrb |");
    println!("|---|---|---|---|---|---|");
    let median = |sorted: &[f64]| sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN);
    let sorted = |blocks: &[f64]| {
        let mut sorted = blocks.to_vec();
        sorted.sort_by(f64::total_cmp);
        sorted
    };
    let rtrb = results.throughput.get(&RTRB).map_or(f64::NAN, |blocks| median(&sorted(blocks)));
    for (i, blocks) in &results.throughput {
        let sorted = sorted(blocks);
        let (best, worst) = (sorted.first().unwrap_or(&f64::NAN), sorted.last().unwrap_or(&f64::NAN));
        let (name, count, middle) = (CONTENDERS[*i].name, blocks.len(), median(&sorted));
        println!("| {name} | {count} | {middle:.1} | {best:.1} | {worst:.1} | {:.2} |", middle / rtrb);
    }
}
