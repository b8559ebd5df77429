//! The live loop over a simulated source and a scripted clock (ARBITRATION 1.2, 10.1).

use std::collections::VecDeque;

use fastrand::Rng;
use twinline_core::Nanos;
use twinline_core::arbiter::{Arbiter, EventKind};
use twinline_core::frame::{Line, Session};
use twinline_core::framing::{Framing, MoldUdp64};
use twinline_node::config::Feed;
use twinline_node::handler::Handler;
use twinline_node::runtime::{LiveEnd, LiveHooks, live};
use twinline_node::source::{Datagram, Simulated};

use crate::record::{Record, Said};
use crate::support::feed::{parse, text_of_lines};
use crate::world;

const A: Line = Line(0);
const B: Line = Line(1);
const START: Nanos = Nanos::from_secs(1_000);

fn feed(lines: usize, gap_timeout: &str) -> Feed {
    let more = format!("[arbiter]\ngap_timeout = \"{gap_timeout}\"\nsilent_after = \"3s\"\n");
    parse(&(text_of_lines("live", "moldudp64", lines as u8) + &more))
}

/// A clock that reads what it was told, and a tap that keeps what the arbiter is given.
struct Scripted {
    readings: VecDeque<Nanos>,
    last: Nanos,
    tapped: Vec<(Nanos, Line, Vec<u8>)>,
}

impl Scripted {
    fn new(readings: impl IntoIterator<Item = Nanos>) -> Scripted {
        Scripted { readings: readings.into_iter().collect(), last: START, tapped: Vec::new() }
    }
}

impl LiveHooks for Scripted {
    fn now(&mut self) -> Nanos {
        // when the script is over, a microsecond a pass
        self.last = self.readings.pop_front().unwrap_or(self.last + Nanos::from_micros(1));
        self.last
    }

    fn datagram(&mut self, stamp: Nanos, datagram: &Datagram<'_>) {
        self.tapped.push((stamp, datagram.line, datagram.payload.to_vec()));
    }

    fn idle(&mut self) {}

    fn go_on(&mut self, _: &Arbiter, _: usize) -> bool {
        true
    }
}

/// What was said, whenever.
fn said(record: &Record) -> Vec<&Said> {
    record.said.iter().map(|(_, said)| said).collect()
}

/// Runs live, then plays what was tapped to a fresh handler: the same must come of it.
fn run_live(feed: &Feed, source: &mut Simulated, clock: &mut Scripted) -> Record {
    let mut handler = Handler::new(MoldUdp64, feed);
    let mut record = Record::default();
    let LiveEnd { at } = live(&mut handler, source, clock, &mut record).unwrap();
    let (mut again, mut replay) = (Handler::new(MoldUdp64, feed), Record::default());
    for (stamp, line, payload) in &clock.tapped {
        again.on_datagram(*stamp, *line, 0, payload, &mut replay);
    }
    again.finish(at.unwrap_or(Nanos::ZERO), &mut replay);
    assert_eq!(said(&record), said(&replay), "the replay of a live run differs from it");
    record
}

fn lost(record: &Record) -> usize {
    record.events().filter(|event| matches!(event.kind, EventKind::Lost { .. })).count()
}

fn delivered(record: &Record) -> u64 {
    said(record).iter().map(|said| if let Said::Release(messages) = said { messages.count } else { 0 }).sum()
}

fn data(first: u64, count: u64) -> Vec<u8> {
    let mut out = Vec::new();
    let messages = vec![b"message".as_slice(); count as usize];
    MoldUdp64.encode(Session::text(b"TWIN000001"), first, &messages, 1_400, &mut out);
    out
}

fn after(micros: u64) -> Nanos {
    START + Nanos::from_micros(micros)
}

/// A packs 4 and loses those with 10 in them; B packs 1. A gap opens, the arbiter is held up for 2 ms (twice the gap timeout),
/// and meanwhile B's copies come, and more of A. However small the batches: nothing may be lost.
#[test]
fn rule_1_2_copies_that_wait_in_a_socket_are_not_lost_to_a_nap() {
    for batch in [1, 2, 3, 5, 64] {
        for quiet_first in [false, true] {
            let mut source = Simulated::new(2).with_batch(batch);
            let mut readings = Vec::new();
            if quiet_first {
                // whose turn it is to be polled first
                source = source.quiet();
                readings.push(after(0));
            }
            source = source.pass([(A, data(1, 4)), (B, data(1, 1))]);
            source = source.pass([(A, data(5, 4)), (A, data(13, 4)), (B, data(2, 1))]);
            let waiting = (3..=40).map(|n| (B, 0, data(n, 1)));
            let more = [(A, 0, data(17, 4)), (A, 0, data(21, 4))];
            source = source.pass_of(waiting.chain(more));
            readings.extend([after(10), after(20)]);
            // small batches take a few passes to reach the frame that opens the gap
            readings.extend([after(2_020), after(2_030), after(2_040), after(4_000), after(4_010)]);
            let record = run_live(&feed(2, "1ms"), &mut source, &mut Scripted::new(readings));
            assert_eq!((lost(&record), delivered(&record)), (0, 40), "batch {batch}");
        }
    }
}

/// Live is replay: over worlds with faults, with passes of any length and naps in between.
#[test]
fn rule_10_1_the_tap_of_a_live_run_replays_to_the_same() {
    crate::play(60, |seed| {
        let world = world::moldudp64(seed);
        let mut rng = Rng::with_seed(seed);
        let lines = world.settings.wait.len();
        let feed = feed(lines, ["auto", "300us", "5ms"][rng.usize(..3)]);
        let mut source = Simulated::new(lines).with_batch(rng.usize(1..12));
        let (mut readings, mut now) = (Vec::new(), START);
        let mut inputs = world.inputs.iter().peekable();
        while inputs.peek().is_some() {
            now = now + Nanos::from_micros(if rng.u8(..) < 6 { rng.u64(..8_000) } else { rng.u64(1..80) });
            readings.push(now);
            let mut arrived = Vec::new();
            while let Some(input) = inputs.next_if(|input| input.stamp <= now) {
                arrived.push((input.line, 0, input.payload.clone()));
            }
            source = source.pass_of(arrived);
        }
        let mut clock = Scripted::new(readings);
        run_live(&feed, &mut source, &mut clock);
        assert_eq!(clock.tapped.len(), world.inputs.len(), "seed {seed}");
        assert!(clock.tapped.is_sorted_by_key(|&(stamp, ..)| stamp), "seed {seed}: stamps go back");
        Ok(())
    });
}

/// A limit of the rule, stated in the README: after a nap the stamps are behind the clock. A gap that the backlog opens has its
/// deadline by those stamps; when the sockets are found empty time catches up with the clock, and the deadline is in the past,
/// so that B's copy, a tenth of the gap timeout behind A's, comes late.
#[test]
fn rule_1_2_a_gap_that_a_backlog_opens_is_not_waited_for_by_the_clock() {
    let mut source =
        Simulated::new(2).pass([(A, data(1, 1)), (B, data(1, 1))]).pass([(A, data(2, 1)), (B, data(2, 1))]);
    // held up for 2 ms, at the end of which A has skipped 3; B is 100 us behind
    source = source.pass([(A, data(4, 1))]).quiet().quiet().pass([(B, data(3, 1)), (B, data(4, 1))]);
    let readings = [after(0), after(10), after(2_010), after(2_020), after(2_030), after(2_110)];
    let record = run_live(&feed(2, "1ms"), &mut source, &mut Scripted::new(readings));
    assert_eq!((lost(&record), delivered(&record)), (1, 3));
}
