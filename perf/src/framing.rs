//! Reading frames: a built-in framing against one that a feed file describes, over the same datagrams, on one core.

use std::hint::black_box;

use twinline_core::frame::{Frame, Session};
use twinline_core::framing::{AnyFraming, Framing, MoldUdp64, WithFraming};
use twinline_node::config::Feed;
use twinline_node::os::Clock;

use crate::machine;

/// Reading with a described framing against a built-in one: ns per datagram of MoldUDP64
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Turns per contender
    #[arg(long, default_value_t = 21)]
    rounds: usize,
    /// A smoke run: 3 rounds
    #[arg(long)]
    quick: bool,
}

const DESCRIBED: &str = include_str!("../../feeds/fixed-moldudp64.toml");
/// How much is read between two readings of the clock.
const READS: usize = 1 << 20;

struct Reading<'a>(&'a [Vec<u8>], &'a Clock);

impl WithFraming for Reading<'_> {
    type Output = f64;

    /// Nanoseconds per datagram.
    fn with<F: Framing>(self, framing: F) -> f64 {
        let Reading(datagrams, clock) = self;
        let began = clock.now();
        for _ in 0..READS / datagrams.len() {
            for datagram in datagrams {
                let frame = framing.frame(black_box(datagram), &mut 0).and_then(Result::ok);
                let frame: Frame<'_> = frame.expect("well-formed datagrams");
                black_box(&frame);
            }
        }
        (clock.now().0 - began.0) as f64 / READS as f64
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Runs the benchmark and prints its table.
pub fn run(args: &Args) {
    let rounds = if args.quick { 3 } else { args.rounds };
    let feed = Feed::parse(DESCRIBED).expect("the example is fine");
    let described = feed.framing;
    let ours = AnyFraming::MoldUdp64(MoldUdp64);
    let clock = Clock::start();
    let pinned = machine::pin(0);
    println!("{}\npinned: {pinned}, load average {}\n", machine::line(), machine::load());
    println!("{:<14} {:>10} {:>10} {:>8}", "per datagram", "moldudp64", "fixed", "ratio");
    for pack in [1, 16] {
        let message = [7; 64];
        let messages = vec![message.as_slice(); pack];
        // in the first-level cache: 16 datagrams
        let datagrams: Vec<Vec<u8>> = (0..16)
            .map(|n| {
                let mut out = Vec::new();
                MoldUdp64.encode(Session::text(b"PERF000001"), 1 + n * pack as u64, &messages, 1_472, &mut out);
                out
            })
            .collect();
        let turns = |framing: AnyFraming| framing.with(Reading(&datagrams, &clock));
        let all: Vec<(f64, f64)> = (0..rounds).map(|_| (turns(ours), turns(described))).collect();
        let (ours, described) =
            (median(all.iter().map(|turn| turn.0).collect()), median(all.iter().map(|turn| turn.1).collect()));
        println!("{:<14} {ours:>7.1} ns {described:>7.1} ns {:>8.2}", format!("{pack} messages"), described / ours);
    }
}
