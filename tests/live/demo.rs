//! `twinline demo` as a user starts it: in a pipe, short, with numbers that add up.

use std::process::{Command, Output};

use serde_json::Value;

use crate::support::number;

fn demo(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_twinline")).arg("demo").args(args).output().unwrap()
}

/// The numbers of a row of the report's table.
fn row(text: &str, what: &str) -> Vec<u64> {
    let row =
        text.lines().find_map(|line| line.trim_start().strip_prefix(what)).unwrap_or_else(|| panic!("{what}\n{text}"));
    row.split_whitespace().map(|number| number.replace(',', "").parse().unwrap()).collect()
}

#[test]
fn a_demo_in_a_pipe_proves_what_it_says() {
    let output = demo(&["--seconds", "2"]);
    let text = String::from_utf8(output.stdout).unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}\n{stderr}");
    assert_eq!(stderr, "");
    assert!(!text.contains(['\x1b', '\r']), "no colour and no redrawing in a pipe:\n{text}");
    for words in [
        "line A is taken away",
        "line A is back",
        "line B is taken away",
        "line B is back",
        "p50 ",
        "p99.9 ",
        "max ",
        "PROVED",
        "unaltered.",
        "Try next: twinline ",
    ] {
        assert!(text.contains(words), "{words}\n{text}");
    }
    let [sent, lost, dropped, received, first] = [
        "sent",
        "lost by the line's faults",
        "dropped by the kernel",
        "received by the arbiter",
        "came first, and delivered",
    ]
    .map(|what| row(&text, what));
    assert_eq!(sent, [40_000; 3]);
    for line in 0..3 {
        assert_eq!(lost[line] + dropped[line] + received[line], sent[line], "{text}");
    }
    assert!(lost[0] > 6_000 && lost[1] > 6_000 && lost[2] < 1_000, "each line was away for 0.3 s: {lost:?}");
    assert_eq!(first[0] + first[1], first[2], "{text}");
}

#[test]
fn the_numbers_add_up() {
    let output = demo(&["--seconds", "2", "--seed", "7", "--json"]);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stderr}");
    assert!(stderr.contains("PROVED"), "text for people is on stderr: {stderr}");
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["passed"], true);
    assert_eq!(report["failures"].as_object().unwrap().values().filter_map(Value::as_u64).collect::<Vec<_>>(), [0; 5]);
    let of = |path: &str| number(&report, path);
    assert_eq!(of("/sent"), 40_000);
    assert_eq!(of("/delivered") + of("/reported_lost") + of("/overrun"), of("/sent"));
    let gone = of("/lost_on_both") + of("/dropped_by_kernel_on_both") + of("/came_too_late");
    assert_eq!(of("/reported_lost"), gone, "{report:#}");
    assert_eq!(of("/gaps/messages"), of("/gaps/filled") + of("/gaps/lost"));
    assert_eq!(of("/gaps/lost"), of("/reported_lost"));
    assert_eq!(of("/lines/A/filled") + of("/lines/B/filled"), of("/gaps/filled"));
    assert!(of("/gaps/opened") > 0 && of("/duplicates_dropped") > 0 && of("/latency_straight_ns/p50") > 0);
    for line in ["A", "B"] {
        let of = |what: &str| number(&report, &format!("/lines/{line}/{what}"));
        assert_eq!(of("lost") + of("dropped_by_kernel") + of("received"), 40_000, "{report:#}");
        assert!(of("first_arrivals") > 0);
    }
    assert_eq!(of("/lines/A/first_arrivals") + of("/lines/B/first_arrivals"), of("/delivered"));
}

#[test]
fn what_is_wrong_with_the_arguments_is_said() {
    for (args, words) in [
        (["--seconds", "0"], "1..=3600"),
        (["--rate", "fast"], "for example 20k"),
        (["--rate", "5M"], "for example 20k"),
    ] {
        let output = demo(&args);
        assert_eq!(output.status.code(), Some(2));
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert!(stderr.contains(words), "{args:?}: {stderr}");
    }
    let output = demo(&["--seconds", "3600", "--rate", "1M"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8(output.stderr).unwrap().contains("at most 100M messages"));
}

#[test]
fn help_has_an_example() {
    let help = String::from_utf8(demo(&["--help"]).stdout).unwrap();
    assert!(help.contains("Examples:\n  twinline demo\n  twinline demo --seconds 30"), "{help}");
}
