//! Arbitration in memory: reads, arbitrates and copies the MoldUDP64 datagrams of two lines, on one core and without sockets.
//!
//! The floor runs next to the arbiter, in the same rounds and over the same bytes. It walks the datagrams, copies those that the
//! input has marked as first copies, and decides nothing. It runs twice per round. If the second run does not take 1.00 times the
//! first, the round was disturbed.
//!
//! In memory, an input is one stretch of records, one per arrival. An input larger than the caches is read once. One that fits in
//! them is read again and again, and its numbers are raised between the passes, untimed.

use std::hint::black_box;

use fastrand::Rng;
use twinline_client::{CAPACITY_MIN, Client, Delivery, FeedFacts, Item, Polled, StreamKind};
use twinline_core::Nanos;
use twinline_core::arbiter::{Arbiter, Event, Run, Settings, Sink, Verify};
use twinline_core::frame::{Line, Packing, Session};
use twinline_core::framing::{Framing, MoldUdp64};
use twinline_node::os::Clock;

use crate::machine;

/// In-memory arbitration of MoldUDP64 against a walk with a copy: ns per packet and per message
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Turns per contender
    #[arg(long, default_value_t = 21)]
    rounds: usize,
    /// Megabytes of datagrams to stream
    #[arg(long, default_value_t = 256)]
    megabytes: usize,
    /// A smoke run: 3 rounds over 8 megabytes
    #[arg(long)]
    quick: bool,
    /// Also measures the cost of comparing copies: of every number, and of one number in a hundred
    #[arg(long)]
    verify: bool,
    /// For callgrind: arbitrates this many packets once, in the function `consume`, and times nothing
    #[arg(long, value_name = "PACKETS")]
    instructions: Option<usize>,
    /// Which counted case, in the order of `twinline-perf instructions`
    #[arg(long, value_name = "N", requires = "instructions", default_value_t = 0)]
    case: usize,
}

const MESSAGE_LEN: usize = 64;
/// Before each datagram of an input: its length, its line, whether it is the first copy, and the time since the last.
const RECORD: usize = 8;
/// Where a datagram holds its number.
const SEQUENCE: std::ops::Range<usize> = 10..18;
/// How much is consumed between two readings of the clock.
const CHUNK: usize = 1 << 18;
/// The size of an input that stays in the second-level cache.
const HOT: usize = 1 << 16;
/// The time between two packets of a line.
const SPACING: u64 = 200;
/// How far, in packets, a line can be behind the publisher if leads are random.
const LEAD_MAX: u64 = 16;
/// One packet in this many is lost on each line.
const LOSS: u32 = 1_000;

/// What the input is like.
#[derive(Clone, Copy)]
struct Case {
    name: &'static str,
    /// Messages per packet.
    pack: u64,
    /// Random lead and loss; otherwise A and B take turns.
    rough: bool,
    /// Stays in the cache.
    hot: bool,
}

/// A case whose instructions are counted.
pub struct Counted {
    pub name: &'static str,
    /// Messages per packet.
    pub pack: u64,
    rough: bool,
    into: SinkKind,
}

/// Where a counted case's messages go.
#[derive(Clone, Copy)]
enum SinkKind {
    /// A sink that copies.
    Copy,
    /// The same, with copies compared.
    Verified(Verify),
    /// A client's ring.
    Ring,
}

/// One number in a hundred.
const ONE_IN_100: Verify = Verify::PerBillion(10_000_000);

pub const COUNTED: [Counted; 12] = [
    Counted { name: "in turns, 1 a packet, copy", pack: 1, rough: false, into: SinkKind::Copy },
    Counted { name: "in turns, 16 a packet, copy", pack: 16, rough: false, into: SinkKind::Copy },
    Counted { name: "random lead and loss, 1 a packet, copy", pack: 1, rough: true, into: SinkKind::Copy },
    Counted { name: "random lead and loss, 16 a packet, copy", pack: 16, rough: true, into: SinkKind::Copy },
    Counted { name: "in turns, 1 a packet, client's ring", pack: 1, rough: false, into: SinkKind::Ring },
    Counted { name: "in turns, 16 a packet, client's ring", pack: 16, rough: false, into: SinkKind::Ring },
    Counted { name: "random lead and loss, 1 a packet, client's ring", pack: 1, rough: true, into: SinkKind::Ring },
    Counted { name: "random lead and loss, 16 a packet, client's ring", pack: 16, rough: true, into: SinkKind::Ring },
    Counted { name: "in turns, 1 a packet, copy, all compared", pack: 1, rough: false, into: ALL_COMPARED },
    Counted { name: "in turns, 16 a packet, copy, all compared", pack: 16, rough: false, into: ALL_COMPARED },
    Counted { name: "in turns, 1 a packet, copy, 1 in 100 compared", pack: 1, rough: false, into: SOME_COMPARED },
    Counted { name: "in turns, 16 a packet, copy, 1 in 100 compared", pack: 16, rough: false, into: SOME_COMPARED },
];
const ALL_COMPARED: SinkKind = SinkKind::Verified(Verify::All);
const SOME_COMPARED: SinkKind = SinkKind::Verified(ONE_IN_100);

const CASES: [Case; 6] = [
    Case { name: "streaming, 1 per packet", pack: 1, rough: false, hot: false },
    Case { name: "streaming, 16 per packet", pack: 16, rough: false, hot: false },
    Case { name: "random lead, 0.1 % loss, 1 per packet", pack: 1, rough: true, hot: false },
    Case { name: "random lead, 0.1 % loss, 16 per packet", pack: 16, rough: true, hot: false },
    Case { name: "hot in cache, 1 per packet", pack: 1, rough: false, hot: true },
    Case { name: "hot in cache, 16 per packet", pack: 16, rough: false, hot: true },
];

/// The datagrams of both lines as they arrive.
struct Input {
    bytes: Vec<u8>,
    /// Where each chunk ends.
    chunks: Vec<usize>,
    /// How often it is read.
    passes: u64,
    /// The numbers that a pass covers.
    numbers: u64,
    /// Messages that neither line brings, in one pass.
    lost: u64,
}

impl Input {
    fn new(case: Case, len: usize, passes: u64) -> Input {
        let datagram = 20 + case.pack as usize * (MESSAGE_LEN + 2);
        let packets = (len / (2 * (RECORD + datagram))).max(2) as u64;
        let mut rng = Rng::with_seed(7);
        let lines: [Vec<(u64, u64)>; 2] = [0, SPACING / 2].map(|skew| {
            let mut last = 0;
            let mut arrivals = Vec::with_capacity(packets as usize);
            for n in 0..packets {
                let behind = if case.rough { rng.u64(..LEAD_MAX * SPACING) } else { 0 };
                last = (n * SPACING + skew + behind).max(last);
                // nothing is lost at either end, so that every loss lies between them
                let kept = !case.rough || n < 64 || n + 64 >= packets || rng.u32(..LOSS) > 0;
                if kept {
                    arrivals.push((last, n));
                }
            }
            arrivals
        });
        let mut input = Input { bytes: Vec::new(), chunks: Vec::new(), passes, numbers: packets * case.pack, lost: 0 };
        input.bytes.reserve_exact(packets as usize * 2 * (RECORD + datagram));
        let mut seen = vec![false; packets as usize];
        let (mut at, mut last, mut chunk) = ([0, 0], 0, 0);
        let mut out = Vec::new();
        loop {
            let [a, b] = [0, 1].map(|line: usize| lines[line].get(at[line]).copied());
            let line = match (a, b) {
                (Some(a), Some(b)) => usize::from(b.0 < a.0),
                (a, b) if a.is_some() || b.is_some() => usize::from(a.is_none()),
                _ => break,
            };
            let (time, n) = lines[line][at[line]];
            at[line] += 1;
            let messages: Vec<[u8; MESSAGE_LEN]> = (0..case.pack).map(|i| message(n * case.pack + i)).collect();
            let messages: Vec<&[u8]> = messages.iter().map(<[u8; MESSAGE_LEN]>::as_slice).collect();
            let all = MoldUdp64.encode(Session::text(b"PERF000001"), 1 + n * case.pack, &messages, 1_472, &mut out);
            assert_eq!(all, messages.len(), "a datagram holds all");
            let first = !std::mem::replace(&mut seen[n as usize], true);
            input.bytes.extend_from_slice(&(out.len() as u16).to_le_bytes());
            input.bytes.extend_from_slice(&[line as u8, u8::from(first)]);
            input.bytes.extend_from_slice(&((time - last) as u32).to_le_bytes());
            input.bytes.extend_from_slice(&out);
            last = time;
            if input.bytes.len() - chunk >= CHUNK {
                chunk = input.bytes.len();
                input.chunks.push(chunk);
            }
        }
        if chunk < input.bytes.len() {
            input.chunks.push(input.bytes.len());
        }
        input.lost = seen.iter().filter(|seen| !**seen).count() as u64 * case.pack;
        input
    }

    /// Gives every datagram the number that it has in the pass after `from`; `passes` may be negative.
    fn raise(&mut self, passes: i64) {
        let by = (self.numbers as i64 * passes) as u64;
        let mut at = 0;
        while at < self.bytes.len() {
            let (len, ..) = record(&self.bytes[at..]);
            let number = &mut self.bytes[at + RECORD..][SEQUENCE];
            let mut wide = [0; 8];
            wide.copy_from_slice(number);
            number.copy_from_slice(&u64::from_be_bytes(wide).wrapping_add(by).to_be_bytes());
            at += RECORD + len;
        }
    }
}

fn message(n: u64) -> [u8; MESSAGE_LEN] {
    let mut message = [7; MESSAGE_LEN];
    message[..8].copy_from_slice(&n.to_le_bytes());
    message
}

/// Length, line, whether it is the first copy, time since the last.
#[inline]
fn record(bytes: &[u8]) -> (usize, Line, bool, u64) {
    let head = bytes.first_chunk::<RECORD>().expect("a record");
    let [low, high, line, first, a, b, c, d] = *head;
    let len = u16::from_le_bytes([low, high]);
    (usize::from(len), Line(line), first != 0, u64::from(u32::from_le_bytes([a, b, c, d])))
}

/// What is measured: takes datagrams.
trait Take {
    fn take(&mut self, stamp: Nanos, line: Line, first: bool, datagram: &[u8]);
    /// Between two chunks, untimed.
    fn between(&mut self) {}
    /// Messages that were copied on.
    fn copied(&self) -> u64;
}

/// Copies bytes one after the other into a circular buffer.
struct Copied {
    buffer: Box<[u8]>,
    at: usize,
    messages: u64,
}

impl Copied {
    fn new() -> Copied {
        Copied { buffer: vec![1; CAPACITY_MIN].into_boxed_slice(), at: 0, messages: 0 }
    }

    #[inline]
    fn copy(&mut self, messages: u32, bytes: &[u8]) {
        if self.at + bytes.len() > self.buffer.len() {
            black_box(&mut self.buffer);
            self.at = 0;
        }
        self.buffer[self.at..self.at + bytes.len()].copy_from_slice(bytes);
        // records in a ring begin on cache lines, so these do as well
        self.at += bytes.len().next_multiple_of(64);
        self.messages += u64::from(messages);
    }
}

/// Walks every datagram's messages, and copies those that the input marks as first.
struct Floor(Copied);

impl Take for Floor {
    #[inline]
    fn take(&mut self, _: Nanos, _: Line, first: bool, datagram: &[u8]) {
        let count = u32::from(u16::from_be_bytes([datagram[18], datagram[19]]));
        let body = &datagram[20..];
        let len = Packing::LENGTH_BE16.blocks_len(body, count).expect("whole messages");
        if first {
            self.0.copy(count, &body[..len]);
        } else {
            black_box(len);
        }
    }

    fn copied(&self) -> u64 {
        self.0.messages
    }
}

/// Framing, arbiter and sink, put together as the handler does it.
struct Arbitrated<S> {
    arbiter: Arbiter,
    sink: S,
}

impl<S: Sink + Count> Arbitrated<S> {
    fn new(sink: S) -> Arbitrated<S> {
        Arbitrated::verified(sink, Verify::Off)
    }

    fn verified(sink: S, verify: Verify) -> Arbitrated<S> {
        let mut settings = Settings::new(MoldUdp64.rules(), vec![true, true], 1);
        settings.verify = verify;
        Arbitrated { arbiter: Arbiter::new(settings), sink }
    }
}

/// A sink that can be emptied and that counts its messages.
trait Count {
    fn empty(&mut self) {}
    fn messages(&self) -> u64;
}

impl<S: Sink + Count> Take for Arbitrated<S> {
    #[inline]
    fn take(&mut self, stamp: Nanos, line: Line, _: bool, datagram: &[u8]) {
        let mut at = 0;
        while let Some(frame) = MoldUdp64.frame(datagram, &mut at) {
            let frame = frame.expect("well-formed datagrams");
            self.arbiter.on_frame(stamp, line, 0, &frame, &mut self.sink);
        }
    }

    fn between(&mut self) {
        self.sink.empty();
    }

    fn copied(&self) -> u64 {
        self.sink.messages()
    }
}

impl Sink for Copied {
    fn event(&mut self, _: &Event) {}

    #[inline]
    fn release(&mut self, run: &Run<'_>) {
        self.copy(run.count, run.body);
    }
}

impl Count for Copied {
    fn messages(&self) -> u64 {
        self.messages
    }
}

/// A delivery whose client reads between the chunks, on the same core.
struct Ring {
    delivery: Delivery,
    client: Client,
    messages: u64,
}

impl Ring {
    fn new() -> Ring {
        let facts =
            FeedFacts { packing: Packing::LENGTH_BE16, feed: "perf".into(), lines: vec!["A".into(), "B".into()] };
        let (delivery, client) =
            twinline_client::open(&facts, StreamKind::Ordered.into(), CAPACITY_MIN).expect("a possible ring");
        Ring { delivery, client, messages: 0 }
    }
}

impl Sink for Ring {
    fn event(&mut self, event: &Event) {
        self.delivery.event(event);
    }

    #[inline]
    fn release(&mut self, run: &Run<'_>) {
        self.delivery.release(run);
    }
}

impl Count for Ring {
    fn empty(&mut self) {
        loop {
            match self.client.poll().expect("a whole ring") {
                Polled::Item(Item::Message(_)) => self.messages += 1,
                Polled::Item(_) => {}
                _ => break,
            }
        }
    }

    fn messages(&self) -> u64 {
        self.messages
    }
}

/// Takes the datagrams of one chunk; returns the packets, and the stamp of the last.
#[inline(never)]
fn consume<T: Take>(taker: &mut T, chunk: &[u8], mut stamp: u64) -> (u64, u64) {
    let (mut at, mut packets) = (0, 0);
    while at < chunk.len() {
        let (len, line, first, after) = record(&chunk[at..]);
        stamp += after;
        taker.take(Nanos(stamp), line, first, &chunk[at + RECORD..at + RECORD + len]);
        at += RECORD + len;
        packets += 1;
    }
    (packets, stamp)
}

/// One round of one contender over an input: nanoseconds per packet in the median chunk. Chunks are much shorter than a scheduler's
/// time slice, so the median holds however often others take the core. The first tenth is left out, because a channel begins in it.
fn round<T: Take>(clock: &Clock, input: &mut Input, mut taker: T) -> f64 {
    let chunks = input.passes * input.chunks.len() as u64;
    let (mut stamp, mut done) = (0, 0);
    let mut times = Vec::with_capacity(chunks as usize);
    for pass in 0..input.passes {
        if pass > 0 {
            input.raise(1);
        }
        let mut from = 0;
        for &end in &input.chunks {
            let start = clock.now();
            let (count, last) = consume(&mut taker, &input.bytes[from..end], stamp);
            let took = clock.now() - start;
            taker.between();
            if done >= chunks / 10 {
                times.push(took.0 as f64 / count as f64);
            }
            (from, stamp) = (end, last);
            done += 1;
        }
        stamp += SPACING;
    }
    input.raise(1 - input.passes as i64);
    assert_eq!(taker.copied(), input.passes * (input.numbers - input.lost), "every message once");
    spread(times)[0]
}

/// One round of one contender.
type Turn = fn(&Clock, &mut Input) -> f64;

/// The contenders that take turns. The last two run only if asked for.
const TAKERS: [(&str, Turn); 6] = [
    ("floor: walk and copy", |clock, input| round(clock, input, Floor(Copied::new()))),
    ("the floor again", |clock, input| round(clock, input, Floor(Copied::new()))),
    ("arbiter, copy", |clock, input| round(clock, input, Arbitrated::new(Copied::new()))),
    ("arbiter, client's ring", |clock, input| round(clock, input, Arbitrated::new(Ring::new()))),
    ("arbiter, copy, all compared", |clock, input| {
        round(clock, input, Arbitrated::verified(Copied::new(), Verify::All))
    }),
    ("arbiter, copy, 1 in 100 compared", |clock, input| {
        round(clock, input, Arbitrated::verified(Copied::new(), ONE_IN_100))
    }),
];

/// Runs the benchmark and prints its table.
pub fn run(args: &Args) {
    if let Some(packets) = args.instructions {
        return match COUNTED.get(args.case) {
            Some(counted) => count_instructions(counted, packets),
            None => eprintln!("twinline-perf: there is no case {}; the last is {}", args.case, COUNTED.len() - 1),
        };
    }
    let (rounds, megabytes) = if args.quick { (3, 8) } else { (args.rounds.max(1), args.megabytes.max(1)) };
    machine::pin(0);
    let clock = Clock::start();
    println!("{}; load average {}", machine::line(), machine::load());
    println!(
        "MoldUDP64, {MESSAGE_LEN}-byte messages, lines A and B interleaved; {megabytes} MB of datagrams per round, \
         hot in cache {} KB again and again; {rounds} rounds",
        HOT >> 10
    );
    println!("a packet is one line's datagram; each message comes by both lines, and is delivered once\n");
    println!(
        "| case | | ns per packet | best | worst | ns per message in | ns per message out | to the floor | best | worst |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|");
    let takers = if args.verify { &TAKERS[..] } else { &TAKERS[..TAKERS.len() - 2] };
    for case in CASES {
        let len = megabytes << 20;
        let (len, passes) = if case.hot { (HOT, (len / HOT) as u64) } else { (len, 1) };
        let mut input = Input::new(case, len, passes);
        let mut times = [const { Vec::new() }; TAKERS.len()];
        // the first round touches fresh memory, and is thrown away
        for turn in 0..=rounds {
            for (times, (_, taker)) in times.iter_mut().zip(takers) {
                let time = taker(&clock, &mut input);
                if turn > 0 {
                    times.push(time);
                }
            }
        }
        for (times_of, (name, _)) in times.iter().zip(takers) {
            let ratios = times_of.iter().zip(&times[0]).map(|(time, floor)| time / floor).collect();
            let ([median, best, worst], [ratio, low, high]) = (spread(times_of.clone()), spread(ratios));
            let (message_in, message_out) = (median / case.pack as f64, 2.0 * median / case.pack as f64);
            println!(
                "| {} | {name} | {median:.2} | {best:.2} | {worst:.2} | {message_in:.2} | {message_out:.2} | {ratio:.3} | \
                 {low:.3} | {high:.3} |",
                case.name
            );
        }
    }
    println!("\nload average at the end: {}", machine::load());
}

/// Median, best, worst.
fn spread(mut values: Vec<f64>) -> [f64; 3] {
    values.sort_by(f64::total_cmp);
    [values[values.len() / 2], values[0], values[values.len() - 1]]
}

/// Arbitrates about this many packets, for a tool that counts what `consume` does.
fn count_instructions(counted: &Counted, packets: usize) {
    let &Counted { name, pack, rough, into } = counted;
    let len = packets * (RECORD + 20 + pack as usize * (MESSAGE_LEN + 2));
    let input = Input::new(Case { name, pack, rough, hot: false }, len, 1);
    let packets = match into {
        SinkKind::Copy => count_all(&input, Arbitrated::new(Copied::new())),
        SinkKind::Verified(verify) => count_all(&input, Arbitrated::verified(Copied::new(), verify)),
        SinkKind::Ring => count_all(&input, Arbitrated::new(Ring::new())),
    };
    println!("packets: {packets}");
}

fn count_all<T: Take>(input: &Input, mut taker: T) -> u64 {
    let (mut from, mut stamp, mut packets) = (0, 0, 0);
    for &end in &input.chunks {
        let (count, last) = consume(&mut taker, &input.bytes[from..end], stamp);
        taker.between();
        (from, stamp) = (end, last);
        packets += count;
    }
    assert_eq!(taker.copied(), input.numbers - input.lost, "every message once");
    packets
}
