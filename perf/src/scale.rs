//! Cost against scale, on one core: the cost per packet as one thing grows and all others stay the same. The things are channels,
//! lines, clients, the messages held behind a gap that nobody fills, and the size of a message.
//!
//! Datagrams are MoldUDP64 with one message, hot in cache, each handed over once per line. Framing, arbiter and the clients' rings
//! are timed. The clients empty their rings between the timed pieces. Cases take turns, and a case's figure is the median of its
//! pieces.

use std::fmt::Write as _;
use std::path::PathBuf;

use twinline_client::{CAPACITY_DEFAULT, Client, Deliveries, FeedFacts, Polled, StreamKind};
use twinline_core::Nanos;
use twinline_core::arbiter::{Arbiter, GapTimeout, Settings};
use twinline_core::frame::{Line, Packing, Session};
use twinline_core::framing::{Framing, MoldUdp64};
use twinline_node::os::Clock;

use crate::{curves, machine};

/// Cost per packet against channels, lines, clients, messages held and message size, on one core
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Turns per case
    #[arg(long, default_value_t = 15)]
    rounds: usize,
    /// Writes the table as comma-separated values
    #[arg(long, value_name = "FILE")]
    csv: Option<PathBuf>,
    /// Draws the curves
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
}

/// Numbers sent between two readings of the clock, all channels together.
const PIECE: u64 = 256;
/// Pieces of one turn.
const PIECES: u64 = 16;
/// Where a datagram holds its number.
const SEQUENCE: std::ops::Range<usize> = 10..18;
/// Longer than any of the benchmark takes.
const NEVER: Nanos = Nanos(1 << 50);

/// What is sent, and to how many clients.
#[derive(Clone, Copy)]
struct Case {
    channels: u16,
    lines: u8,
    clients: usize,
    /// Messages held behind a gap when the clock starts; the timed ones are held as well.
    held: u64,
    len: usize,
}

const USUAL: Case = Case { channels: 1, lines: 2, clients: 1, held: 0, len: 64 };

/// What grows: its name, and one case per size.
fn series() -> Vec<(&'static str, Vec<(u64, Case)>)> {
    let powers = |last: u32| (0..=last).map(|n| 1u64 << n);
    vec![
        ("channels", powers(6).map(|n| (n, Case { channels: n as u16, ..USUAL })).collect()),
        ("lines", (1..=8).map(|n| (n, Case { lines: n as u8, ..USUAL })).collect()),
        ("clients", powers(4).map(|n| (n, Case { clients: n as usize, ..USUAL })).collect()),
        (
            "messages held",
            [1, 16, 256, 1_024, 4_096, 16_384, 32_768, 60_000].map(|n| (n, Case { held: n, ..USUAL })).to_vec(),
        ),
        (
            "message bytes",
            [16, 32, 64, 128, 256, 512, 1_024, 1_400].map(|n| (n, Case { len: n as usize, ..USUAL })).to_vec(),
        ),
    ]
}

/// An arbiter with its clients, and the next datagram of every channel.
struct Bench {
    case: Case,
    arbiter: Arbiter,
    deliveries: Deliveries,
    clients: Vec<Client>,
    datagrams: Vec<Vec<u8>>,
    stamp: u64,
    /// Numbers sent on every channel so far.
    sent: u64,
}

impl Bench {
    fn new(case: Case) -> Bench {
        let mut settings = Settings::new(MoldUdp64.rules(), vec![true; usize::from(case.lines)], case.channels);
        settings.silent_after = NEVER;
        if case.held > 0 {
            settings.gap_timeout = GapTimeout::After(NEVER);
            // with recovery, nothing counts as lost merely because all lines have gone past it
            settings.recovery_timeout = Some(NEVER);
        }
        let lines = (0..case.lines).map(|line| char::from(b'A' + line).to_string()).collect();
        let facts = FeedFacts { packing: Packing::LENGTH_BE16, feed: "perf".into(), lines };
        let pair =
            |_| twinline_client::open(&facts, StreamKind::Ordered.into(), CAPACITY_DEFAULT).expect("a possible ring");
        let (writers, clients) = (0..case.clients).map(pair).unzip();
        let message = vec![7; case.len];
        let datagrams = (0..case.channels).map(|_| {
            let mut out = Vec::new();
            assert_eq!(MoldUdp64.encode(Session::text(b"PERF000001"), 1, &[&message], 1_472, &mut out), 1);
            out
        });
        let mut bench = Bench {
            case,
            arbiter: Arbiter::new(settings),
            deliveries: Deliveries::fixed(writers),
            clients,
            datagrams: datagrams.collect(),
            stamp: 1_000_000,
            sent: 0,
        };
        // every page of the rings and of the numbers' status has been used once
        for _ in 0..70_000 / PIECE {
            bench.send(PIECE / u64::from(case.channels));
            bench.read();
        }
        if case.held > 0 {
            bench.sent += 1;
            bench.send(case.held);
        }
        bench
    }

    /// Sends this many numbers of every channel, on every line.
    #[inline(never)]
    fn send(&mut self, numbers: u64) {
        for _ in 0..numbers {
            self.sent += 1;
            for (group, datagram) in self.datagrams.iter_mut().enumerate() {
                datagram[SEQUENCE].copy_from_slice(&self.sent.to_be_bytes());
                for line in 0..self.case.lines {
                    self.stamp += 100;
                    let mut at = 0;
                    while let Some(frame) = MoldUdp64.frame(datagram, &mut at) {
                        let frame = frame.expect("well-formed datagrams");
                        let stamp = Nanos(self.stamp);
                        self.arbiter.on_frame(stamp, Line(line), group as u16, &frame, &mut self.deliveries);
                    }
                }
            }
        }
    }

    /// Empties the rings; returns how many messages the first held.
    fn read(&mut self) -> u64 {
        let mut messages = [0; 2];
        for (i, client) in self.clients.iter_mut().enumerate() {
            while let Polled::Item(item) = client.poll().expect("a whole ring") {
                messages[i.min(1)] += u64::from(matches!(item, twinline_client::Item::Message(_)));
            }
        }
        messages[0]
    }

    /// Nanoseconds per packet, piece by piece.
    fn turn(mut self, clock: &Clock, times: &mut Vec<f64>) {
        let (numbers, channels) = (PIECE / u64::from(self.case.channels), u64::from(self.case.channels));
        for _ in 0..PIECES {
            let start = clock.now();
            self.send(numbers);
            let took = clock.now() - start;
            let released = if self.case.held > 0 { 0 } else { numbers * channels };
            assert_eq!(self.read(), released, "every message once, and none before its gap is filled");
            times.push(took.0 as f64 / (numbers * channels * u64::from(self.case.lines)) as f64);
        }
    }
}

/// Runs the benchmark, prints its tables and writes the files.
pub fn run(args: &Args) {
    machine::pin(0);
    let clock = Clock::start();
    println!("{}; load average {}", machine::line(), machine::load());
    println!(
        "MoldUDP64, 1 message per packet, hot in cache; unless it is what grows: 1 channel, 2 lines, 1 client, nothing held, 64 \
         bytes. A packet is one line's datagram; {} pieces of {PIECE} numbers each",
        args.rounds.max(1) as u64 * PIECES
    );
    let series = series();
    let mut times: Vec<Vec<Vec<f64>>> = series.iter().map(|(_, cases)| vec![Vec::new(); cases.len()]).collect();
    for _ in 0..args.rounds.max(1) {
        for ((_, cases), times) in series.iter().zip(&mut times) {
            for ((_, case), times) in cases.iter().zip(times) {
                Bench::new(*case).turn(&clock, times);
            }
        }
    }
    let mut csv = String::from("series,value,ns_a_packet_median,p10,p90\n");
    let mut drawn = Vec::new();
    for ((name, cases), times) in series.iter().zip(times) {
        println!("\n| {name} | ns per packet, median | p10 | p90 | to the first |");
        println!("|---|---|---|---|---|");
        let mut points: Vec<(f64, f64)> = Vec::new();
        for ((value, _), mut times) in cases.iter().zip(times) {
            times.sort_by(f64::total_cmp);
            let [p10, median, p90] = [1, 5, 9].map(|tenth| times[times.len() * tenth / 10]);
            let first = points.first().map_or(median, |point| point.1);
            println!("| {value} | {median:.1} | {p10:.1} | {p90:.1} | {:.2} |", median / first);
            writeln!(csv, "{name},{value},{median:.2},{p10:.2},{p90:.2}").expect("a string takes all");
            points.push((*value as f64, median));
        }
        drawn.push((*name, points));
    }
    for (path, text) in [(&args.csv, csv), (&args.svg, curves::svg("ns per packet", &drawn))] {
        if let Some(path) = path
            && let Err(error) = std::fs::write(path, text)
        {
            eprintln!("{}: cannot be written: {error}", path.display());
            std::process::exit(1);
        }
    }
    println!("\nload average at the end: {}", machine::load());
}
