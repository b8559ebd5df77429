//! The seeds of the fuzz target `datagram`: a short run of every framing, as our publisher sends it, in the target's own form.
//!
//! `TWINLINE_WRITE_SAMPLES=1 cargo test --test files fuzz_seeds` writes them anew.

use std::fs;
use std::path::{Path, PathBuf};

use twinline_core::Nanos;
use twinline_core::frame::Session;
use twinline_core::framing::{AnyFraming, Framing, WithFraming};
use twinline_node::config::Feed;
use twinline_node::fault::{Faults, Share};
use twinline_node::publisher::{LinePlan, Listed, Plan, PlanConfig, Rate};

fn seeds() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/seeds/datagram")
}

/// Two lines that pack otherwise and lose, heartbeats, an end: `place, time, length, datagram`, again and again.
struct Seed(u8);

impl WithFraming for Seed {
    type Output = Vec<u8>;

    fn with<F: Framing>(self, framing: F) -> Vec<u8> {
        let pack =
            |min, max| if framing.packet_sequenced() { LinePlan::default() } else { LinePlan::packing(min, max) };
        let faults = Faults { loss: Share::percent(20.0).unwrap(), ..Faults::default() };
        let session = framing.session("TWIN000001").or_else(|| framing.session("1"));
        let config = PlanConfig {
            session: session.unwrap_or(Session::NONE),
            rate: Rate::per_second(10.0, 4).unwrap(),
            lines: vec![LinePlan { faults: faults.clone(), ..pack(1, 4) }, LinePlan { faults, ..pack(2, 3) }],
            heartbeat: Some(Nanos::from_millis(150)),
            end_copies: 1,
            ..PlanConfig::default()
        };
        let messages = (0..14u8).map(|n| (0..4 + n % 5).map(|i| n ^ i << 4).collect::<Vec<u8>>());
        let mut plan = Plan::new(framing, config, Listed::new(messages)).unwrap();
        let mut seed = vec![self.0];
        while let Some(datagram) = plan.next_planned().unwrap() {
            if datagram.dropped.is_none() {
                // about a millisecond between two
                seed.extend([datagram.line.0, 20]);
                seed.extend((datagram.bytes.len() as u16).to_le_bytes());
                seed.extend(datagram.bytes);
            }
        }
        seed
    }
}

#[test]
fn every_framing_has_a_seed() {
    let writes = std::env::var_os("TWINLINE_WRITE_SAMPLES").is_some_and(|value| value == "1");
    let ours = AnyFraming::NAMES.iter().map(|&name| (name, AnyFraming::from_name(name).unwrap()));
    // in the order of the target's own list
    let described = ["fixed-iex", "fixed-moldudp64", "fixed-nyse"].map(|name| {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("feeds/{name}.toml"));
        (name, Feed::load(file).unwrap().framing)
    });
    for (which, (name, framing)) in ours.chain(described).enumerate() {
        let arbitrated = 0x80;
        for (name, first) in [(name.to_owned(), 0), (format!("{name}-arbitrated"), arbitrated)] {
            seed(&name, framing.with(Seed(which as u8 | first)), writes);
        }
    }
}

/// Holds a seed against its file, or writes it.
fn seed(name: &str, seed: Vec<u8>, writes: bool) {
    assert!(seed.len() < 4_096, "{name}: a seed is small, this has {} bytes", seed.len());
    let file = seeds().join(name);
    if writes {
        fs::create_dir_all(seeds()).unwrap();
        fs::write(file, seed).unwrap();
        return;
    }
    let stored = fs::read(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    assert!(
        stored == seed,
        "{} is not what the publisher sends; if that is meant: TWINLINE_WRITE_SAMPLES=1 cargo test --test files fuzz_seeds",
        file.display()
    );
}
