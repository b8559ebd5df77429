//! Every real capture, with the numbers that are known of it; and the streams of one line as if they had come by two, which
//! pack otherwise, lose and lag.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};
use twinline_core::Nanos;
use twinline_core::arbiter::{Event, Run, Sink};
use twinline_core::frame::{ChannelKey, Session};
use twinline_core::framing::{AnyFraming, Framing, WithFraming};
use twinline_node::capture::{CaptureInput, Captures};
use twinline_node::config::Feed;
use twinline_node::fault::{Delay, Faults, Share};
use twinline_node::handler::Handler;
use twinline_node::publisher::{CapturedMessages, LinePlan, Listed, Plan, PlanConfig, Rate};

use crate::support::feed::{parse, text, two_lines};
use crate::support::scratch::Scratch;
use crate::support::trials::{Test, captured, tests};

pub const TESTS: &[Test] = tests![
    every_capture_gives_the_numbers_that_are_known_of_it,
    the_real_pair_of_lines_is_as_far_apart_as_is_known,
    a_stream_of_one_line_comes_out_of_two_that_pack_otherwise_lose_and_lag,
    real_messages_are_published_and_come_out_as_they_were,
    dialogues_over_tcp_hold_nothing_of_a_feed,
];

/// One capture, and what is known of it.
struct Known {
    file: &'static str,
    framing: &'static str,
    /// The groups of each line.
    lines: &'static [&'static [&'static str]],
    channel: &'static str,
    /// What `arbitrate --json` says of the channel, by path.
    says: &'static [(&'static str, u64)],
    /// The gaps: first, end, outcome.
    gaps: &'static [(u64, u64, &'static str)],
}

const KNOWN: &[Known] = &[
    Known {
        file: "cme/mdp3-incremental-ab.pcapng",
        framing: "cme-mdp3",
        lines: &[&["224.0.31.64:14340"], &["224.0.32.64:15340"]],
        channel: "0",
        says: &[
            ("/sessions/0/first", 5_615),
            ("/sessions/0/next", 10_615),
            ("/sessions/0/delivered", 5_000),
            ("/lines/A/frames", 5_000),
            ("/lines/B/frames", 5_000),
            ("/lines/A/first_arrivals", 750),
            ("/lines/B/first_arrivals", 4_250),
            ("/lines/A/duplicate", 4_250),
            ("/lines/B/duplicate", 750),
            ("/lines/A/heartbeats", 9),
            ("/lines/B/heartbeats", 9),
        ],
        gaps: &[],
    },
    Known {
        file: "iex/tops-1.6.pcapng.gz",
        framing: "iex-tp",
        lines: &[&["224.67.0.199:16642"]],
        channel: "0.1",
        says: &[
            ("/sessions/0/first", 1),
            ("/sessions/0/next", 57_675),
            ("/sessions/0/delivered", 57_674),
            ("/lines/A/frames", 13_022),
            ("/lines/A/messages", 57_674),
            ("/lines/A/heartbeats", 237),
        ],
        gaps: &[],
    },
    Known {
        file: "miax/mach-tom.pcap",
        framing: "miax-mach",
        lines: &[&["224.0.105.2:51002"]],
        channel: "0",
        says: &[
            ("/sessions/0/first", 24_364_476),
            ("/sessions/0/next", 24_415_368),
            ("/sessions/0/delivered", 50_892),
            ("/lines/A/frames", 50_892 + 60),
            ("/lines/A/messages", 50_892),
            ("/lines/A/heartbeats", 60),
        ],
        gaps: &[],
    },
    Known {
        file: "nyse/xdp-imbalances.pcap",
        framing: "nyse-pillar",
        lines: &[&["233.125.89.36:11106"]],
        channel: "0",
        says: &[
            ("/sessions/0/first", 1),
            ("/sessions/0/next", 11_820),
            ("/sessions/0/delivered", 11_819),
            ("/lines/A/frames", 11_819),
            ("/lines/A/messages", 11_819),
        ],
        gaps: &[],
    },
    Known {
        // the gap group beside the real-time one: its frames are all outside of the sequence, and no channel begins by them
        file: "cboe/pitch-realtime.pcap",
        framing: "cboe-pitch",
        lines: &[&["239.39.62.190:32001", "239.39.62.191:32001"]],
        channel: "0.1",
        says: &[
            ("/sessions/0/first", 1),
            ("/sessions/0/next", 43),
            ("/sessions/0/delivered", 40),
            ("/sessions/0/lost", 2),
            ("/lines/A/messages", 40),
            ("/lines/A/heartbeats", 356),
            ("/lines/A/missing", 2),
        ],
        gaps: &[(1, 3, "lost")],
    },
];

fn feed_text(framing: &str, lines: &[&[&str]]) -> String {
    let lines: Vec<(&str, &[&str])> = ["A", "B"].into_iter().zip(lines.iter().copied()).collect();
    text("real", framing, &lines)
}

/// What `twinline arbitrate --json` says, and the messages of the channel that is known.
fn arbitrated(known: &Known, capture: &Path, scratch: &Scratch) -> (Value, Vec<u8>) {
    let feed = scratch.write("real.toml", feed_text(known.framing, known.lines));
    let (events, messages) = (scratch.file("events"), scratch.file("messages"));
    let mut command = Command::new(env!("CARGO_BIN_EXE_twinline"));
    command.arg("arbitrate").arg(&feed).arg(capture).arg("--json");
    let output = command.arg("--events").arg(&events).arg("--messages").arg(&messages).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{}: {said}", known.file);
    let object: Value = serde_json::from_slice(&output.stdout).unwrap();
    let alone = scratch.file("messages");
    let named = scratch.file(&format!("messages.{}", known.channel));
    let messages = fs::read(if named.exists() { named } else { alone }).unwrap();
    (object, messages)
}

fn every_capture_gives_the_numbers_that_are_known_of_it() {
    for known in KNOWN {
        let scratch = Scratch::new(&format!("real-{}", known.file.replace('/', "-")));
        let (object, messages) = arbitrated(known, &captured(known.file), &scratch);
        let of = format!("{}: {object:#}", known.file);
        let channels = object["channels"].as_array().unwrap();
        assert_eq!(channels.len(), 1, "{of}");
        let channel = &channels[0];
        assert_eq!(channel["channel"], known.channel, "{of}");
        assert_eq!(channel["sessions"].as_array().unwrap().len(), 1, "{of}");
        for (path, number) in known.says {
            assert_eq!(channel.pointer(path), Some(&json!(number)), "{path} of {of}");
        }
        let gaps: Vec<_> = channel["gaps"]
            .as_array()
            .unwrap()
            .iter()
            .map(|gap| (&gap["first"], &gap["end"], &gap["outcome"]))
            .map(|(f, e, o)| (f.as_u64().unwrap(), e.as_u64().unwrap(), o.as_str().unwrap()))
            .collect();
        assert_eq!(gaps, known.gaps, "{of}");
        for (name, line) in channel["lines"].as_object().unwrap() {
            for clean in ["malformed", "stale", "implausible", "before_join", "reordered", "late"] {
                assert_eq!(line[clean], 0, "{clean} of line {name}, {of}");
            }
        }
        let mut rest = messages.as_slice();
        let mut count = 0;
        while let Some((len, after)) = rest.split_first_chunk::<2>() {
            rest = &after[usize::from(u16::from_be_bytes(*len))..];
            count += 1;
        }
        assert_eq!(Some(count), channel.pointer("/sessions/0/delivered").and_then(Value::as_u64), "{of}");
    }
}

fn the_real_pair_of_lines_is_as_far_apart_as_is_known() {
    let scratch = Scratch::new("real-skew");
    let (object, _) = arbitrated(&KNOWN[0], &captured(KNOWN[0].file), &scratch);
    // records with a stamp earlier than the largest before
    assert_eq!(object.pointer("/source/stamps_raised"), Some(&json!(581)), "{object:#}");
}

/// What an arbiter releases of one channel.
#[derive(Default)]
struct Released {
    channel: Option<(ChannelKey, Session)>,
    first: Option<u64>,
    next: u64,
    messages: Vec<Vec<u8>>,
    lost: u64,
}

impl Sink for Released {
    fn event(&mut self, event: &Event) {
        if let twinline_core::arbiter::EventKind::Lost { range, .. } = event.kind {
            self.lost += range.len();
        }
    }

    fn release(&mut self, run: &Run<'_>) {
        let channel = (run.channel.key, run.session);
        assert_eq!(*self.channel.get_or_insert(channel), channel, "one channel, one session");
        self.first.get_or_insert(run.first.0);
        assert!(run.first.0 >= self.next, "in order, once");
        self.next = run.first.0 + u64::from(run.count);
        self.messages.extend(run.messages().map(<[u8]>::to_vec));
    }
}

/// A stream of one line, as if it had come by two: other packets on each, loss on one, the other late.
struct Resplit<'a> {
    feed: &'a Feed,
    captures: Captures,
    again: Captures,
    seed: u64,
}

impl WithFraming for Resplit<'_> {
    type Output = ();

    fn with<F: Framing>(self, framing: F) {
        let Resplit { feed, mut captures, again, seed } = self;
        let mut handler = Handler::new(framing, feed);
        let mut real = Released::default();
        while let Some(item) = captures.next().unwrap() {
            handler.on_datagram(item.stamp, item.line, item.group, item.payload, &mut real);
        }
        handler.finish(captures.end_stamp().unwrap(), &mut real);
        let (key, session) = real.channel.expect("a stream");
        let framing = framing.with_key(key.key.unwrap_or(0));

        let two = two_lines("real", F::NAME, "");
        let pack =
            |min, max| if framing.packet_sequenced() { LinePlan::default() } else { LinePlan::packing(min, max) };
        let faults = Faults { loss: Share::percent(20.0).unwrap(), ..Faults::default() };
        let late = Delay { min: Nanos::from_micros(20), max: Nanos::from_micros(200) };
        let late = Faults { delay: late, ..Faults::default() };
        let config = PlanConfig {
            session,
            first: real.first.unwrap(),
            rate: Rate::Recorded,
            lines: vec![LinePlan { faults, ..pack(1, 10) }, LinePlan { faults: late, ..pack(2, 7) }],
            heartbeat: Some(Nanos::MAX),
            pack_wait: Nanos::from_micros(50),
            seed,
            ..PlanConfig::default()
        };
        let source = CapturedMessages::new(framing, feed, again, key.group);
        let mut plan = Plan::new(framing, config, source).unwrap();
        let mut handler = Handler::new(framing, &two);
        let mut union = Released::default();
        let (mut sent, mut dropped, mut end) = ([0u64; 2], 0u64, Nanos::ZERO);
        while let Some(datagram) = plan.next_planned().unwrap() {
            if datagram.dropped.is_some() {
                dropped += u64::from(datagram.count);
                continue;
            }
            sent[datagram.line.index()] += 1;
            end = datagram.due;
            handler.on_datagram(datagram.due, datagram.line, 0, datagram.bytes, &mut union);
        }
        handler.finish(end, &mut union);
        assert_eq!(union.lost, 0, "B brings what A lost");
        assert!(dropped > 0 && sent.iter().all(|&datagrams| datagrams > 0));
        if !framing.packet_sequenced() {
            assert_ne!(sent[0], sent[1], "the lines pack otherwise");
        }
        let report = handler.arbiter().channels().next().unwrap();
        // where A lost the very first datagram, the channel began without it (rule 4.2), and says so
        let begun = (union.first.unwrap() - real.first.unwrap()) as usize;
        assert!(begun <= 60 && (begun == 0) == (report.lines[1].before_join == 0), "{}: from {begun} on", F::NAME);
        assert!(union.messages == real.messages[begun..], "{}: message for message, in order", F::NAME);
        assert!(report.lines[0].missing > 0 && report.lines[1].missing == 0);
        assert!(report.lines[1].first_arrivals > 0, "what A lost came by B");
    }
}

fn a_stream_of_one_line_comes_out_of_two_that_pack_otherwise_lose_and_lag() {
    for (seed, known) in KNOWN.iter().enumerate() {
        let feed = parse(&feed_text(known.framing, &known.lines[..1]));
        let open = || {
            let input = CaptureInput { line: None, path: captured(known.file) };
            Captures::open(&[input], &feed).unwrap()
        };
        let framing = AnyFraming::from_name(known.framing).unwrap();
        for more in 0..3 {
            let seed = 1_000 * seed as u64 + more;
            framing.with(Resplit { feed: &feed, captures: open(), again: open(), seed });
        }
    }
}

/// The messages of a real ITCH file, published by two lines.
fn real_messages_are_published_and_come_out_as_they_were() {
    let file = captured("itch/ex20101224.TEST_ITCH_50.gz");
    let mut bytes = Vec::new();
    std::io::Read::read_to_end(&mut flate2::read::MultiGzDecoder::new(fs::File::open(file).unwrap()), &mut bytes)
        .unwrap();
    let messages = itch(&bytes);
    assert_eq!(messages.len(), 12_012);
    let framing = AnyFraming::from_name("moldudp64").unwrap();
    framing.with(Itch(messages));
}

struct Itch(Vec<Vec<u8>>);

impl WithFraming for Itch {
    type Output = ();

    fn with<F: Framing>(self, framing: F) {
        let two = two_lines("real", F::NAME, "");
        let config = PlanConfig {
            session: framing.session("ITCH50").unwrap(),
            rate: Rate::per_second(100_000.0, 1).unwrap(),
            lines: vec![LinePlan::packing(1, 20), LinePlan::packing(3, 5)],
            ..PlanConfig::default()
        };
        let mut plan = Plan::new(framing, config, Listed::new(self.0.clone())).unwrap();
        let mut handler = Handler::new(framing, &two);
        let mut out = Released::default();
        let mut end = Nanos::ZERO;
        while let Some(datagram) = plan.next_planned().unwrap() {
            end = datagram.due;
            handler.on_datagram(end, datagram.line, 0, datagram.bytes, &mut out);
        }
        handler.finish(end, &mut out);
        assert!(out.messages == self.0);
    }
}

/// The messages of a file whose lengths are all written as zero: by the size of their type, ITCH 5.0.
fn itch(mut bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut messages = Vec::new();
    while let [0, 0, kind, ..] = bytes {
        let size = match kind {
            b'S' => 12,
            b'R' => 39,
            b'H' => 25,
            b'Y' => 20,
            b'L' => 26,
            b'V' => 35,
            b'W' => 12,
            b'K' => 28,
            b'J' => 35,
            b'h' => 21,
            b'A' => 36,
            b'F' => 40,
            b'E' => 31,
            b'C' => 36,
            b'X' => 23,
            b'D' => 19,
            b'U' => 35,
            b'P' => 44,
            b'Q' => 40,
            b'B' => 19,
            b'I' => 50,
            b'N' => 20,
            other => panic!("an ITCH message of type {other}"),
        };
        messages.push(bytes[2..2 + size].to_vec());
        bytes = &bytes[2 + size..];
    }
    assert!(bytes.is_empty(), "{} bytes behind the last message", bytes.len());
    messages
}

/// Captures of other protocols: nothing of a feed is in them, which is said, and nothing is made up.
fn dialogues_over_tcp_hold_nothing_of_a_feed() {
    for file in ["cboe/pitch-grp.pcap", "cboe/pitch-spin.pcap"] {
        let scratch = Scratch::new(&format!("real-{}", file.replace('/', "-")));
        let feed = scratch.write("real.toml", feed_text("cboe-pitch", &[&["239.39.62.190:32001"]]));
        let mut command = Command::new(env!("CARGO_BIN_EXE_twinline"));
        let output = command.arg("arbitrate").arg(&feed).arg(captured(file)).arg("--json").output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let object: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(object["channels"], json!([]), "{file}");
        assert!(object.pointer("/ignored/not_udp").and_then(Value::as_u64).unwrap() > 0, "{file}: {object:#}");
        assert!(output.status.success() && said.contains("no datagram of this feed"), "{file}: {said}");
    }
}
