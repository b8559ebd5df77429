//! The shipped samples: captures that our own publisher makes, and what `twinline arbitrate` says of them, to the byte.
//!
//! `TWINLINE_WRITE_SAMPLES=1 cargo test --test files golden` writes them anew; `feeds/samples/README.md` says when.

use std::fs;
use std::io::{self, Read, Write};
use std::net::SocketAddrV4;
use std::path::PathBuf;
use std::process::Command;
use std::sync::{Arc, Mutex};

use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use twinline_core::Nanos;
use twinline_core::frame::Session;
use twinline_core::framing::{CmeMdp3, Framing, MoldUdp64};
use twinline_node::capture::CaptureWriter;
use twinline_node::config::Feed;
use twinline_node::fault::{BurstLoss, Delay, Faults, Outage, Reorder, Share};
use twinline_node::publisher::{LinePlan, Listed, MadeUp, MessageSource, Plan, PlanConfig, Rate};

use crate::support::root;
use crate::support::scratch::Scratch;

/// When the samples' time begins: 2025-11-14, 14:30 UTC.
const START: Nanos = Nanos::from_secs(1_763_130_600);

fn samples() -> PathBuf {
    root().join("feeds/samples")
}

/// Whether to write the samples instead of comparing them.
fn writes() -> bool {
    std::env::var_os("TWINLINE_WRITE_SAMPLES").is_some_and(|value| value == "1")
}

/// A file that stays in memory.
#[derive(Clone, Default)]
struct Kept(Arc<Mutex<Vec<u8>>>);

impl Write for Kept {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The capture of a plan: what got through on each line, when it was due.
fn capture<F: Framing>(framing: F, feed: &str, config: PlanConfig, messages: impl MessageSource) -> Vec<u8> {
    let feed = Feed::load(root().join("feeds").join(feed)).unwrap();
    let kept = Kept::default();
    let mut writer = CaptureWriter::to_write(kept.clone(), &feed).unwrap();
    let mut plan = Plan::new(framing, config, messages).unwrap();
    let mut end = START;
    while let Some(datagram) = plan.next_planned().unwrap() {
        end = START + datagram.due;
        if datagram.dropped.is_none() {
            let from = SocketAddrV4::new([127, 0, 0, 1].into(), 40_000 + u16::from(datagram.line.0));
            let to = feed.lines[datagram.line.index()].groups[usize::from(datagram.group)];
            writer.write(end, datagram.line, from, to, datagram.bytes).unwrap();
        }
    }
    writer.finish(end + Nanos::from_millis(1), &[]).unwrap();
    let bytes = kept.0.lock().unwrap();
    bytes.clone()
}

fn percent(share: f64) -> Share {
    Share::percent(share).unwrap()
}

/// 2,000 messages of 20,000 a second: both lines lose, repeat, reorder; B comes later; A is away for a while.
fn moldudp64() -> Vec<u8> {
    let a = Faults {
        loss: percent(4.0),
        burst_loss: Some(BurstLoss { enter: percent(0.5), mean: 3.0 }),
        duplicate: percent(1.0),
        reorder: Some(Reorder { share: percent(2.0), behind: 2 }),
        outages: vec![Outage { from: Nanos::from_millis(60), to: Nanos::from_millis(65) }],
        ..Faults::default()
    };
    let b = Faults {
        loss: percent(6.0),
        duplicate: percent(2.0),
        reorder: Some(Reorder { share: percent(1.0), behind: 3 }),
        delay: Delay { min: Nanos::from_micros(80), max: Nanos::from_micros(240) },
        ..Faults::default()
    };
    let config = PlanConfig {
        session: Session::text(b"TWIN000001"),
        rate: Rate::per_second(20_000.0, 4).unwrap(),
        lines: vec![
            LinePlan { faults: a, ..LinePlan::packing(1, 10) },
            LinePlan { faults: b, ..LinePlan::packing(2, 6) },
        ],
        end_copies: 3,
        seed: 20_251_114,
        ..PlanConfig::default()
    };
    capture(MoldUdp64, "loopback.toml", config, MadeUp::new(Some(2_000), Some(24), 7))
}

/// 240 packets in eight bursts, with heartbeats in the pauses, which consume numbers too.
fn cme_mdp3() -> Vec<u8> {
    let mut made_up = MadeUp::new(Some(240), Some(40), 11);
    let mut messages = Vec::new();
    for n in 0..240u64 {
        let mut message = Vec::new();
        made_up.next(&mut message).unwrap().unwrap();
        messages.push((Nanos::from_millis(n / 30 * 40) + Nanos::from_micros(n % 30 * 20), message));
    }
    let faults = |loss, delay: Delay| Faults {
        loss: percent(loss),
        duplicate: percent(1.0),
        reorder: Some(Reorder { share: percent(3.0), behind: 1 }),
        delay,
        ..Faults::default()
    };
    let b_delay = Delay { min: Nanos::ZERO, max: Nanos::from_micros(30) };
    let config = PlanConfig {
        rate: Rate::Recorded,
        lines: vec![
            LinePlan { faults: faults(12.0, Delay::default()), ..LinePlan::default() },
            LinePlan { faults: faults(12.0, b_delay), ..LinePlan::default() },
        ],
        heartbeat: Some(Nanos::from_millis(15)),
        linger: Nanos::from_millis(40),
        seed: 4,
        ..PlanConfig::default()
    };
    capture(CmeMdp3, "cme-mdp3.toml", config, Listed::recorded(messages))
}

/// Holds `bytes` against a file under `feeds/samples`, or writes it.
fn golden(name: &str, bytes: &[u8]) {
    let path = samples().join(name);
    if writes() {
        fs::write(&path, bytes).unwrap();
        return;
    }
    let stored = fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    if stored == bytes {
        return;
    }
    let at = stored.iter().zip(bytes).position(|(a, b)| a != b).unwrap_or(stored.len().min(bytes.len()));
    let line = |of: &[u8]| {
        let from = of[..at].iter().rposition(|&b| b == b'\n').map_or(0, |newline| newline + 1);
        let to = of[at..].iter().position(|&b| b == b'\n').map_or(of.len(), |newline| at + newline);
        String::from_utf8_lossy(&of[from..to.min(from + 400)]).into_owned()
    };
    panic!(
        "feeds/samples/{name} differs from byte {at} on ({} bytes there, {} now).\nthere: {}\nnow:   {}\n\
         If that is meant: TWINLINE_WRITE_SAMPLES=1 cargo test --test files golden, and read the difference.",
        stored.len(),
        bytes.len(),
        line(&stored),
        line(bytes),
    );
}

/// What `twinline arbitrate` says of a sample, three ways.
fn arbitrated(name: &str, feed: &str, capture: &str) {
    let scratch = Scratch::new(&format!("golden-{name}"));
    let (events, messages) = (scratch.file("events"), scratch.file("messages"));
    let output = Command::new(env!("CARGO_BIN_EXE_twinline"))
        .current_dir(root())
        .args(["arbitrate", &format!("feeds/{feed}"), &format!("feeds/samples/{capture}"), "--json"])
        .args(["--events".as_ref(), events.as_os_str(), "--messages".as_ref(), messages.as_os_str()])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    golden(&format!("{name}.json"), &output.stdout);
    golden(&format!("{name}.events.jsonl"), &fs::read(events).unwrap());
    golden(&format!("{name}.messages"), &fs::read(messages).unwrap());
}

#[test]
fn the_moldudp64_sample_is_what_it_was() {
    let made = moldudp64();
    let path = samples().join("moldudp64.pcapng.gz");
    if writes() {
        let mut encoder = GzEncoder::new(fs::File::create(&path).unwrap(), Compression::best());
        encoder.write_all(&made).unwrap();
        encoder.finish().unwrap();
    }
    let mut stored = Vec::new();
    GzDecoder::new(fs::File::open(&path).unwrap()).read_to_end(&mut stored).unwrap();
    assert!(stored == made, "the publisher makes another capture than feeds/samples/moldudp64.pcapng.gz holds");
    arbitrated("moldudp64", "loopback.toml", "moldudp64.pcapng.gz");
}

#[test]
fn the_cme_sample_is_what_it_was() {
    golden("cme-mdp3.pcapng", &cme_mdp3());
    arbitrated("cme-mdp3", "cme-mdp3.toml", "cme-mdp3.pcapng");
}

#[test]
fn the_samples_show_what_they_are_for() {
    let read = |name: &str| fs::read_to_string(samples().join(name)).unwrap();
    if writes() {
        return;
    }
    let events = read("moldudp64.events.jsonl");
    for kind in ["epoch", "gap", "filled", "lost", "ended", "line"] {
        assert!(events.contains(&format!("\"event\":\"{kind}\"")), "no {kind} in the MoldUDP64 sample");
    }
    let report: serde_json::Value = serde_json::from_str(&read("moldudp64.json")).unwrap();
    let channel = &report["channels"][0];
    let number = |key: &str| channel[key].as_u64().unwrap();
    assert_eq!(number("delivered") + number("lost"), 2_000);
    for line in ["A", "B"] {
        for key in ["first_arrivals", "duplicate", "missing"] {
            assert!(channel["lines"][line][key].as_u64().unwrap() > 0, "no {key} on line {line}");
        }
    }
    let own = |gap: &serde_json::Value| gap["opened_by"] == gap["filled_by"];
    assert!(
        channel["gaps"].as_array().unwrap().iter().any(own),
        "no line filled a gap of its own: nothing is reordered"
    );
    let report: serde_json::Value = serde_json::from_str(&read("cme-mdp3.json")).unwrap();
    let channel = &report["channels"][0];
    assert!(channel["lines"]["A"]["heartbeats"].as_u64().unwrap() > 0, "no heartbeat in the CME sample");
    assert!(channel["lost"].as_u64().unwrap() > 0, "nothing lost in the CME sample");
}

#[test]
fn the_samples_are_small() {
    let files = fs::read_dir(samples()).unwrap().map(|entry| entry.unwrap());
    let sizes: u64 = files.map(|entry| entry.metadata().unwrap().len()).sum();
    assert!(sizes < 256 << 10, "feeds/samples has {sizes} bytes");
}
