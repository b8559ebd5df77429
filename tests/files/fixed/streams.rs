//! Whole streams, generated ones and captured ones: `twinline arbitrate` says the same of both descriptions, to the byte.

use std::fs;
use std::net::SocketAddrV4;
use std::path::Path;
use std::process::Command;

use twinline_core::Nanos;
use twinline_core::frame::Session;
use twinline_core::framing::{Framing, WithFraming};
use twinline_node::capture::CaptureWriter;
use twinline_node::config::Feed;
use twinline_node::fault::{BurstLoss, Delay, Faults, Reorder, Share};
use twinline_node::publisher::{LinePlan, MadeUp, Plan, PlanConfig, Rate};

use crate::support::feed::parse;
use crate::support::fixed::{CBOE, CME, EXAMPLES, arbitrate, both, example, same};
use crate::support::scratch::Scratch;

const START: Nanos = Nanos::from_secs(1_763_130_600);

/// Writes a stream on two lines with faults on both, as a capture.
struct Stream<'a> {
    feed: &'a Feed,
    file: &'a Path,
    seed: u64,
}

impl WithFraming for Stream<'_> {
    type Output = ();

    fn with<F: Framing>(self, framing: F) {
        let percent = |share| Share::percent(share).unwrap();
        let faults = |loss, reorder| Faults {
            loss: percent(loss),
            burst_loss: Some(BurstLoss { enter: percent(0.3), mean: 4.0 }),
            duplicate: percent(1.0),
            reorder: Some(Reorder { share: percent(reorder), behind: 2 }),
            delay: Delay { min: Nanos::from_micros(10), max: Nanos::from_micros(200) },
            ..Faults::default()
        };
        let pack = |least, most| if framing.packet_sequenced() { (1, 1) } else { (least, most) };
        let line = |faults, (least, most)| LinePlan { faults, ..LinePlan::packing(least, most) };
        let config = PlanConfig {
            session: framing.session("TWIN000001").or_else(|| framing.session("1")).unwrap_or(Session::NONE),
            // slow enough for heartbeats between
            rate: Rate::per_second(200.0, 50).unwrap(),
            heartbeat: Some(Nanos::from_millis(20)),
            lines: vec![line(faults(3.0, 2.0), pack(1, 10)), line(faults(5.0, 1.0), pack(2, 6))],
            seed: self.seed,
            ..PlanConfig::default()
        };
        let mut writer = CaptureWriter::create(self.file, self.feed).unwrap();
        let mut plan = Plan::new(framing, config, MadeUp::new(Some(3_000), Some(24), self.seed)).unwrap();
        let mut end = START;
        while let Some(datagram) = plan.next_planned().unwrap() {
            end = START + datagram.due;
            if datagram.dropped.is_none() {
                let from = SocketAddrV4::new([10, 0, 0, 1].into(), 40_000);
                let to = self.feed.lines[datagram.line.index()].groups[usize::from(datagram.group)];
                writer.write(end, datagram.line, from, to, datagram.bytes).unwrap();
            }
        }
        writer.finish(end + Nanos::from_millis(1), &[]).unwrap();
    }
}

#[test]
fn generated_streams_come_out_the_same() {
    let mut all: Vec<(&str, String)> = EXAMPLES.iter().map(|(file, name)| (*name, example(file))).collect();
    all.extend([("cboe-pitch", CBOE.to_owned()), ("cme-mdp3", CME.to_owned())]);
    let lines = ["239.81.1.9:26409", "239.81.2.9:26409"];
    for (name, table) in &all {
        let scratch = Scratch::new(&format!("fixed-stream-{name}"));
        let feed = parse(&both(name, table, &lines)[0]);
        for seed in 1..=2 {
            let file = scratch.file("capture.pcapng");
            feed.framing.with(Stream { feed: &feed, file: &file, seed });
            let (report, events, messages) = same(name, table, &scratch, &lines, &file);
            assert!(events.lines().count() > 20 && messages.len() > 3_000 * 20, "{name}: {report}");
            assert!(!report.contains(r#""heartbeats":0"#), "{name}: {report}");
            fs::remove_file(&file).unwrap();
        }
    }
}

#[test]
fn frames_of_other_units_are_left_out_and_counted() {
    let scratch = Scratch::new("fixed-units");
    let lines = ["239.81.1.9:26409", "239.81.2.9:26409"];
    let file = scratch.file("capture.pcapng");
    for (name, text) in ["cboe-pitch", "fixed"].into_iter().zip(both("cboe-pitch", CBOE, &lines)) {
        let of = |units: &str| text.replacen("framing", &format!("{units}\nframing"), 1);
        let feed = parse(&of("units = [3, 5]"));
        // a publisher writes the first unit that its feed wants
        feed.framing.with(Stream { feed: &feed, file: &file, seed: 3 });
        let wanted = arbitrate(&scratch, &of("units = [5, 3]"), &file);
        assert!(
            wanted.0.contains(r#""other_units":0,"#) && wanted.0.contains(r#""channel":"0.3""#),
            "{name}: {}",
            wanted.0
        );
        let all = arbitrate(&scratch, &text, &file);
        assert_eq!(wanted, all, "{name}");
        let (report, events, messages) = arbitrate(&scratch, &of("units = [4]"), &file);
        assert!(report.contains(r#""channels":[]"#) && !report.contains(r#""other_units":0,"#), "{name}: {report}");
        assert_eq!((events.as_str(), messages.len()), ("", 0), "{name}");
        let output = Command::new(env!("CARGO_BIN_EXE_twinline"))
            .args([Path::new("arbitrate"), &scratch.file("feed.toml"), &file])
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(said.contains(" frames of units that the feed does not want\n"), "{name}: {said}");
    }
}
