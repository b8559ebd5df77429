//! `twinline latency` between namespaces.

use std::fs;
use std::process::Command;

use twinline_node::os;

use crate::support::latency::{adds_up, report, stamping};
use crate::support::program::{Bed, Program};
use crate::support::trials::{Test, tests};
use crate::support::{netns, number};

pub const TESTS: &[Test] = tests![lines_between_two_namespaces_are_measured];

fn lines_between_two_namespaces_are_measured() {
    let netns = netns::Bed::up("latency");
    let bed = Bed::new("latency-netns");
    bed.feed("lab", "moldudp64", "");
    let text = fs::read_to_string(bed.path("lab.toml")).unwrap();
    // both ends of a line have the same name
    let [a, b] = ["a0", "b0"].map(|nic| format!("interface = \"{nic}\""));
    let text = text.replacen("interface = \"127.0.0.1\"", &a, 1).replacen("interface = \"127.0.0.1\"", &b, 1);
    fs::write(bed.path("lab.toml"), text).unwrap();
    let publisher = format!("{}-pub", netns.prefix);
    let arguments = ["latency", "lab.toml", "--rate", "1k", "--seconds", "0.3", "--block", "20", "--stamps", "--json"];
    let _stamping = stamping();
    let run = netns.on("recv", || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_twinline"));
        let more = ["--receive", "socket,packet", "--publish-netns", &publisher];
        Program::start(command.args(arguments).args(more).current_dir(&bed.dir))
    });
    let report = report(run.wait());
    assert_eq!(report["publish_netns"], publisher.as_str());
    let passes = report["passes"].as_array().unwrap();
    let labels: Vec<&str> = passes.iter().map(|pass| pass["label"].as_str().unwrap()).collect();
    assert_eq!(labels, ["1k/s 64 B", "1k/s 64 B stamps", "1k/s 64 B packet", "1k/s 64 B packet stamps"]);
    for pass in passes {
        adds_up(pass);
        assert!(number(pass, "/delivered") > 0);
        let stamps = &pass["kernel_stamps"];
        assert_eq!(stamps.is_object(), pass["label"].as_str().unwrap().ends_with("stamps"));
        if stamps.is_object() {
            let received = number(pass, "/lines/A/datagrams_received") + number(pass, "/lines/B/datagrams_received");
            assert_eq!((number(stamps, "/software"), number(stamps, "/none")), (received, 0));
        }
    }
    if os::core_count() > 1 {
        let methods: Vec<&str> =
            report["ratios"].as_array().unwrap().iter().map(|ratio| ratio["method"].as_str().unwrap()).collect();
        assert_eq!(methods, ["socket", "packet"]);
    }
}
