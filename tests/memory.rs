//! Resident memory over a long run: after warming up it does not grow, whatever is lost, held and duplicated.

use twinline_core::Nanos;
use twinline_core::arbiter::{Event, Run, Sink};
use twinline_core::frame::{Line, Session};
use twinline_core::framing::{Framing, MoldUdp64};
use twinline_node::config::Feed;
use twinline_node::handler::Handler;

const FEED: &str = r#"
    name = "memory"
    framing = "moldudp64"

    [[line]]
    name = "A"
    groups = ["239.81.1.1:26400"]
    interface = "127.0.0.1"

    [[line]]
    name = "B"
    groups = ["239.81.2.1:26400"]
    interface = "127.0.0.1"

    [arbiter]
    gap_timeout = "1ms"
    hold_messages = 2048
    hold_bytes = 131072
"#;

/// Messages in a datagram.
const PACK: u64 = 10;
/// Datagrams of a round: what line B is behind by.
const ROUND: u64 = 100;

#[derive(Default)]
struct Counts {
    messages: u64,
    events: u64,
}

impl Sink for Counts {
    fn event(&mut self, _: &Event) {
        self.events += 1;
    }

    fn release(&mut self, run: &Run<'_>) {
        self.messages += u64::from(run.count);
    }
}

/// Resident memory in bytes.
fn resident() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: u64 = statm.split_whitespace().nth(1).unwrap().parse().unwrap();
    pages * 4_096
}

/// Both lines, B a round behind. A loses every seventh datagram, B every fifth: gaps, holds, and numbers lost on both. Every
/// eighth round is a session of its own; now and then a forged frame is strewn in.
fn play(handler: &mut Handler<MoldUdp64>, sink: &mut Counts, rounds: std::ops::Range<u64>) {
    let messages = [b"twenty bytes of words".as_slice(); PACK as usize];
    let (mut datagram, mut forged) = (Vec::new(), Vec::new());
    for round in rounds {
        let session = Session::text(format!("{:010}", round / 8).as_bytes());
        for (line, lost) in [(Line(0), 7), (Line(1), 5)] {
            for i in 0..ROUND {
                let at = round * ROUND + i;
                if at.is_multiple_of(lost) {
                    continue;
                }
                let first = (round % 8 * ROUND + i) * PACK + 1;
                let stamp = Nanos(1_000_000_000 + round * 400_000 + u64::from(line.0) * 200_000 + i * 1_000);
                MoldUdp64.encode(session, first, &messages, 1_400, &mut datagram);
                handler.on_datagram(stamp, line, 0, &datagram, sink);
                if line == Line(0) && at % 997 == 1 {
                    MoldUdp64.encode(session, first + 1_000_000_000 + at * 10_000, &messages, 1_400, &mut forged);
                    handler.on_datagram(stamp, line, 0, &forged, sink);
                }
            }
        }
    }
}

#[test]
fn resident_memory_is_constant_over_a_long_run() {
    let feed = Feed::parse(FEED).unwrap();
    let mut handler = Handler::new(MoldUdp64, &feed);
    let mut sink = Counts::default();
    // enough for every ring, list and log to have been round once, and for more epochs than are listed
    let (warm, rounds) = if cfg!(debug_assertions) { (256, 1_536) } else { (8_500, 30_000) };
    play(&mut handler, &mut sink, 0..warm);
    let before = resident();
    play(&mut handler, &mut sink, warm..rounds);
    let after = resident();
    handler.finish(Nanos::from_secs(100_000), &mut sink);

    let sent = rounds * ROUND * PACK;
    let report = handler.arbiter().channels().next().unwrap();
    let held_up: u64 = report.lines.iter().map(|counts| counts.implausible).sum();
    assert!(held_up > 0 && report.lost > sent / 100 && sink.events > rounds, "the run has something of everything");
    assert_eq!(report.delivered, sink.messages);
    assert!(sink.messages > sent * 9 / 10, "{} of {sent} messages", sink.messages);
    assert!(after < before + (1 << 20), "resident memory grew from {before} to {after} bytes over {rounds} rounds");
}
