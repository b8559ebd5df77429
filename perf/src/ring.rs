//! The ring against others, in one run: one-way latency by ping-pong, and throughput with a live consumer on the other core.
//!
//! Messages are 64 bytes, and a receiver reads every byte. They are ready in memory, as a received datagram is. A message that was
//! put together just before would be read while its bytes still leave the store buffer, and no ring is to blame for that wait. All
//! rings have a client's default capacity. Rings take turns, block by block. A block counts as near only if a cache line's round trip
//! took less than 200 ns before and after it.
//!
//! With the arbiter in front of the ring, the sender hands it the datagrams of two lines in turn. The time then runs from the call
//! of the arbiter to the client's read.

#![expect(clippy::disallowed_types, reason = "a bare flag of the benchmark's own, for pacing")]

use std::collections::BTreeMap;
use std::hint::{black_box, spin_loop};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use crossbeam::queue::ArrayQueue;
use hdrhistogram::Histogram;
use ringbuf::HeapRb;
use ringbuf::traits::{Consumer as _, Producer as _, Split};
use twinline_client::ring::{self, Consumer, Producer, Shape};
use twinline_client::{CAPACITY_DEFAULT, Client, Deliveries, FeedFacts, Item, Polled, StreamKind};
use twinline_core::arbiter::{Arbiter, ChannelRef, Event, Run, RunFlags, Settings, Sink};
use twinline_core::frame::{ChannelKey, Line, Packing, Session};
use twinline_core::framing::{Framing, MoldUdp64};
use twinline_core::{Nanos, SeqNo};
use twinline_node::os::Clock;

use crate::machine::{self, Distance};

/// The ring, alone and behind the arbiter, against rtrb, ringbuf and crossbeam's ArrayQueue: latency and throughput
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Turns per ring
    #[arg(long, default_value_t = 100)]
    blocks: u32,
    /// Round trips per block
    #[arg(long, default_value_t = 2_000)]
    trips: u64,
    /// Messages per block of throughput
    #[arg(long, default_value_t = 100_000)]
    messages: u64,
}

const LEN: usize = 64;
/// Messages that a ring of fixed slots holds: as many bytes as the byte ring.
const SLOTS: usize = CAPACITY_DEFAULT / LEN;
/// How far, in messages, a sender may be ahead of its receiver.
const AHEAD: u64 = 4096;
/// How many different messages there are; they are sent again and again.
const READY: u64 = 128;
type Message = [u8; LEN];

/// A ring's writing end.
trait Transmit: Send {
    /// Messages that one call sends.
    const BATCH: u64 = 1;
    /// Whether message `n` was taken.
    fn send(&mut self, n: u64) -> bool;
}

/// A ring's reading end.
trait Receive: Send {
    /// Reads the next message, all of it, and returns what it begins with.
    fn receive(&mut self) -> Option<u64>;
}

/// What message `n` begins with.
fn mark(n: u64) -> u64 {
    n % READY
}

fn message(n: u64) -> Message {
    let mut message = [7; LEN];
    message[..8].copy_from_slice(&mark(n).to_le_bytes());
    message
}

/// Reads every word of a message; the first is its mark.
#[inline]
fn read(message: &[u8]) -> u64 {
    let words = message.as_chunks::<8>().0.iter().map(|word| u64::from_le_bytes(*word));
    black_box(words.clone().fold(0, u64::wrapping_add));
    words.take(1).sum()
}

/// A writing end, and the messages that it sends.
struct Ready<T> {
    end: T,
    messages: Vec<Message>,
}

impl<T> Ready<T> {
    fn new(end: T) -> Ready<T> {
        Ready { end, messages: (0..READY).map(message).collect() }
    }

    #[inline]
    fn message(&self, n: u64) -> &Message {
        &self.messages[mark(n) as usize]
    }
}

impl Transmit for Ready<Producer> {
    #[inline]
    fn send(&mut self, n: u64) -> bool {
        let message = &self.messages[mark(n) as usize];
        self.end.write(b"", message).is_ok()
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

/// Frames of this many messages through the delivery.
struct Frames<const COUNT: usize> {
    deliveries: Deliveries,
    bodies: Vec<Vec<u8>>,
}

impl<const COUNT: usize> Transmit for Frames<COUNT> {
    const BATCH: u64 = COUNT as u64;

    #[inline]
    fn send(&mut self, n: u64) -> bool {
        let body = &self.bodies[mark(n) as usize / COUNT];
        self.deliveries.release(&Run {
            channel: ChannelRef { index: 0, key: ChannelKey { group: 0, key: None } },
            session: Session::NONE,
            first: SeqNo(n),
            count: COUNT as u32,
            line: Line(0),
            stamp: Nanos(n),
            flags: RunFlags::default(),
            packing: Packing::LENGTH_BE16,
            body,
        });
        true
    }
}

/// Datagrams of this many messages, each on two lines, through framing, arbiter and a sink.
struct Arbitrated<const COUNT: usize, S> {
    arbiter: Arbiter,
    datagrams: Vec<Vec<u8>>,
    sink: S,
}

impl<const COUNT: usize, S: Sink> Arbitrated<COUNT, S> {
    fn new(sink: S) -> Arbitrated<COUNT, S> {
        let datagrams = (0..READY).step_by(COUNT).map(|n| {
            let messages: Vec<Message> = (n..n + COUNT as u64).map(message).collect();
            let messages: Vec<&[u8]> = messages.iter().map(Message::as_slice).collect();
            let mut datagram = Vec::new();
            let all = MoldUdp64.encode(Session::text(b"PERF000001"), 1 + n, &messages, 1_472, &mut datagram);
            assert_eq!(all, messages.len(), "a datagram holds all");
            datagram
        });
        let datagrams = datagrams.collect();
        Arbitrated { arbiter: Arbiter::new(Settings::new(MoldUdp64.rules(), vec![true, true], 1)), datagrams, sink }
    }
}

impl<const COUNT: usize, S: Sink + Send> Transmit for Arbitrated<COUNT, S> {
    const BATCH: u64 = COUNT as u64;

    #[inline]
    fn send(&mut self, n: u64) -> bool {
        let datagram = &mut self.datagrams[mark(n) as usize / COUNT];
        datagram[SEQUENCE].copy_from_slice(&(1 + n).to_be_bytes());
        for line in [Line(0), Line(1)] {
            let mut at = 0;
            while let Some(frame) = MoldUdp64.frame(datagram, &mut at) {
                let frame = frame.expect("well-formed datagrams");
                self.arbiter.on_frame(Nanos(1_000_000 + 100 * n), line, 0, &frame, &mut self.sink);
            }
        }
        true
    }
}

/// Where a datagram holds its number.
const SEQUENCE: std::ops::Range<usize> = 10..18;

impl Receive for Client {
    #[inline]
    fn receive(&mut self) -> Option<u64> {
        match self.poll().expect("a whole ring") {
            Polled::Item(Item::Message(message)) => Some(read(message.bytes)),
            // tells the arbiter where the numbers begin, and that the lines are heard
            Polled::Empty | Polled::Item(Item::Event(_)) => None,
            _ => panic!("the pacing failed"),
        }
    }
}

impl Transmit for Ready<rtrb::Producer<Message>> {
    #[inline]
    fn send(&mut self, n: u64) -> bool {
        let message = *self.message(n);
        self.end.push(message).is_ok()
    }
}

impl Receive for rtrb::Consumer<Message> {
    #[inline]
    fn receive(&mut self) -> Option<u64> {
        self.pop().ok().map(|message| read(&message))
    }
}

/// A sink over rtrb, which works message by message because rtrb's slots have one size.
struct Slots(rtrb::Producer<Message>);

impl Sink for Slots {
    fn event(&mut self, _: &Event) {}

    #[inline]
    fn release(&mut self, run: &Run<'_>) {
        for message in run.packing.messages(run.body) {
            let message = message.try_into().expect("64 bytes");
            self.0.push(message).expect("the pacing leaves room");
        }
    }
}

impl Transmit for Ready<ringbuf::HeapProd<Message>> {
    #[inline]
    fn send(&mut self, n: u64) -> bool {
        let message = *self.message(n);
        self.end.try_push(message).is_ok()
    }
}

impl Receive for ringbuf::HeapCons<Message> {
    #[inline]
    fn receive(&mut self) -> Option<u64> {
        self.try_pop().map(|message| read(&message))
    }
}

impl Transmit for Ready<Arc<ArrayQueue<Message>>> {
    #[inline]
    fn send(&mut self, n: u64) -> bool {
        let message = *self.message(n);
        self.end.push(message).is_ok()
    }
}

impl Receive for Arc<ArrayQueue<Message>> {
    #[inline]
    fn receive(&mut self) -> Option<u64> {
        self.pop().map(|message| read(&message))
    }
}

fn twinline() -> (Ready<Producer>, Consumer) {
    let shape = Shape { capacity: CAPACITY_DEFAULT, record_max: 1024 };
    let (producer, consumer) = ring::heap(shape, b"").expect("a possible ring");
    (Ready::new(producer), consumer)
}

fn delivered() -> (Deliveries, Client) {
    let facts = FeedFacts { packing: Packing::LENGTH_BE16, feed: "perf".into(), lines: vec!["A".into(), "B".into()] };
    let (delivery, client) =
        twinline_client::open(&facts, StreamKind::Ordered.into(), CAPACITY_DEFAULT).expect("a possible ring");
    (Deliveries::fixed(vec![delivery]), client)
}

fn frames<const COUNT: usize>() -> (Frames<COUNT>, Client) {
    let (deliveries, client) = delivered();
    let bodies = (0..READY).step_by(COUNT).map(|n| {
        let messages = (n..n + COUNT as u64).map(message);
        messages.flat_map(|message| [(LEN as u16).to_be_bytes().as_slice(), &message].concat()).collect()
    });
    (Frames { deliveries, bodies: bodies.collect() }, client)
}

fn arbitrated<const COUNT: usize>() -> (Arbitrated<COUNT, Deliveries>, Client) {
    let (deliveries, client) = delivered();
    (Arbitrated::new(deliveries), client)
}

fn arbitrated_slots<const COUNT: usize>() -> (Arbitrated<COUNT, Slots>, rtrb::Consumer<Message>) {
    let (producer, consumer) = rtrb::RingBuffer::new(SLOTS);
    (Arbitrated::new(Slots(producer)), consumer)
}

fn rtrb() -> (Ready<rtrb::Producer<Message>>, rtrb::Consumer<Message>) {
    let (producer, consumer) = rtrb::RingBuffer::new(SLOTS);
    (Ready::new(producer), consumer)
}

fn ringbuf() -> (Ready<ringbuf::HeapProd<Message>>, ringbuf::HeapCons<Message>) {
    let (producer, consumer) = HeapRb::new(SLOTS).split();
    (Ready::new(producer), consumer)
}

fn array_queue() -> (Ready<Arc<ArrayQueue<Message>>>, Arc<ArrayQueue<Message>>) {
    let queue = Arc::new(ArrayQueue::new(SLOTS));
    (Ready::new(Arc::clone(&queue)), queue)
}

/// One-way times of `trips` messages there and back, in a histogram of nanoseconds.
fn latency<S: Transmit, R: Receive>(clock: &Clock, trips: u64, open: fn() -> (S, R)) -> Histogram<u64> {
    let warm_up = trips / 5;
    let ((mut there, mut arrived), (mut back, mut returned)) = (open(), open());
    let mut histogram = Histogram::new(3).expect("three digits");
    thread::scope(|scope| {
        scope.spawn(move || {
            machine::pin(1);
            for n in 0..warm_up + trips {
                while arrived.receive().is_none() {
                    spin_loop();
                }
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

/// Nanoseconds per message, from the first one sent to the last one read. The receiver on the other core reads every one.
fn throughput<S: Transmit, R: Receive>(clock: &Clock, messages: u64, open: fn() -> (S, R)) -> f64 {
    let (mut sender, mut receiver) = open();
    let messages = messages / S::BATCH * S::BATCH;
    // how far the receiver is: a delivery does not wait for its client, so the benchmark does, well before the limit
    let read = AtomicU64::new(0);
    // a thread may take milliseconds to get onto its core
    let ready = AtomicBool::new(false);
    thread::scope(|scope| {
        let receiving = scope.spawn(|| {
            machine::pin(1);
            ready.store(true, Ordering::Relaxed);
            for n in 0..messages {
                let found = loop {
                    if let Some(found) = receiver.receive() {
                        break found;
                    }
                    spin_loop();
                };
                assert_eq!(found, mark(n), "every message, in order");
                if n % 1024 == 0 {
                    read.store(n, Ordering::Relaxed);
                }
            }
            clock.now()
        });
        while !ready.load(Ordering::Relaxed) {
            spin_loop();
        }
        let start = clock.now();
        let mut far = 0;
        for n in (0..messages).step_by(S::BATCH as usize) {
            while n > far + AHEAD {
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

const CONTENDERS: [Contender; 10] = [
    contender!("twinline ring", twinline),
    contender!("twinline client, 1 a frame", frames::<1>),
    contender!("twinline client, 16 a frame", frames::<16>),
    contender!("rtrb", rtrb),
    contender!("ringbuf", ringbuf),
    contender!("crossbeam ArrayQueue", array_queue),
    contender!("arbiter to client, 1 per packet", arbitrated::<1>),
    contender!("arbiter to client, 16 per packet", arbitrated::<16>),
    contender!("arbiter to rtrb, 1 per packet", arbitrated_slots::<1>),
    contender!("arbiter to rtrb, 16 per packet", arbitrated_slots::<16>),
];
/// The contender that ratios refer to.
fn peer(i: usize) -> usize {
    match i {
        0..=5 => 3,
        6 | 8 => 8,
        _ => 9,
    }
}

/// These contenders have no ping-pong of single messages.
const OF_16: [usize; 3] = [2, 7, 9];

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
            if !OF_16.contains(&i) {
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
    println!("| ring | messages | p50 | p99 | p99.9 | p99.99 | max | p50 to rtrb | p99 to rtrb |");
    println!("|---|---|---|---|---|---|---|---|---|");
    for (i, histogram) in &results.latency {
        let at = |histogram: &Histogram<u64>, q| histogram.value_at_quantile(q);
        let [p50, p99, p999, p9999] = [0.5, 0.99, 0.999, 0.9999].map(|q| at(histogram, q));
        let to_rtrb = |q| {
            let rtrb = results.latency.get(&peer(*i)).map_or(f64::NAN, |histogram| at(histogram, q) as f64);
            at(histogram, q) as f64 / rtrb
        };
        let (name, count, max) = (CONTENDERS[*i].name, histogram.len(), histogram.max());
        println!(
            "| {name} | {count} | {p50} | {p99} | {p999} | {p9999} | {max} | {:.2} | {:.2} |",
            to_rtrb(0.5),
            to_rtrb(0.99)
        );
    }
    println!("\n{state}: throughput with a live consumer, ns per message read");
    println!("| ring | blocks | median | best | worst | median to rtrb |");
    println!("|---|---|---|---|---|---|");
    let spread = |i: &usize| {
        let mut sorted = results.throughput.get(i).cloned().unwrap_or_default();
        sorted.sort_by(f64::total_cmp);
        let at = |n: usize| sorted.get(n).copied().unwrap_or(f64::NAN);
        (sorted.len(), at(sorted.len() / 2), at(0), at(sorted.len().saturating_sub(1)))
    };
    for i in results.throughput.keys() {
        let ((count, median, best, worst), (_, rtrb, ..)) = (spread(i), spread(&peer(*i)));
        println!("| {} | {count} | {median:.1} | {best:.1} | {worst:.1} | {:.2} |", CONTENDERS[*i].name, median / rtrb);
    }
}
