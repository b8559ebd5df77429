//! A real capture on the wire again.

use std::process::Command;

use twinline_core::Nanos;
use twinline_core::frame::Line;
use twinline_core::framing::CmeMdp3;
use twinline_node::config::Feed;
use twinline_node::handler::Handler;

use crate::support::feed::parse;
use crate::support::scratch::Scratch;
use crate::support::sink::Messages;
use crate::support::trials::{Test, captured, tests};
use crate::support::wire::{arbitrated, of_line, open, receive, sample, two_lines_text};

pub const TESTS: &[Test] = tests![a_real_capture_goes_over_the_wire_whole];

fn a_real_capture_goes_over_the_wire_whole() {
    let path = captured("cme/mdp3-incremental-ab.pcapng");
    let scratch = Scratch::new("replay-real");
    let day_file = sample("cme-mdp3.toml");
    let day = Feed::load(&day_file).unwrap();
    let text = two_lines_text("lab", "cme-mdp3");
    let (feed, to) = (parse(&text), scratch.write("lab.toml", &text));
    let mut all = Vec::new();
    let mut file = open(&path, &day);
    while let Some(item) = file.next().unwrap() {
        all.push((item.line.index(), item.group, item.payload.to_vec()));
    }
    assert_eq!(all.len(), 10_000);
    // 304 s in six
    let seen = receive(&feed, all.len(), || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_twinline"));
        command.arg("replay").args([&day_file, &path]).arg("--to").arg(&to).args(["--speed", "50"]);
        let output = command.output().unwrap();
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && told.contains("581 stamps went back"), "{told}");
    });
    for line in 0..2 {
        assert!(of_line(&seen, line) == of_line(&all, line), "line {line}");
    }
    let expected = arbitrated(CmeMdp3, &day, open(&path, &day));
    let (mut handler, mut sink) = (Handler::new(CmeMdp3, &feed), Messages::default());
    for (at, (line, group, payload)) in seen.iter().enumerate() {
        handler.on_datagram(Nanos(1 + at as u64), Line(*line as u8), *group, payload, &mut sink);
    }
    handler.finish(Nanos(seen.len() as u64), &mut sink);
    assert!(sink.all == expected && expected.len() == 5_000, "{} messages of {}", sink.all.len(), expected.len());
}
