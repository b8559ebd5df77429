//! `run`, `capture` and `tail` as programs, over loopback: what they write, say, and exit with.

use std::io::{BufRead, BufReader};

use crate::support::program::{Bed, equal};
use crate::support::{number, wait_for};

#[test]
fn several_feeds_have_a_set_of_files_each() {
    let bed = Bed::new("several");
    let (one, two) = (bed.feed("one", "moldudp64", ""), bed.feed("two", "moldudp64", ""));
    assert_ne!(std::fs::read(one).unwrap(), std::fs::read(two).unwrap());
    let run = bed.start(&[
        "run",
        "one.toml",
        "two.toml",
        "--until-end",
        "--json",
        "--messages",
        "m.bin",
        "--events",
        "e.jsonl",
        "--capture",
        "c.pcapng",
    ]);
    run.said("one: listening");
    run.said("two: listening");
    bed.done(&["publish", "one.toml", "--made-up", "1k", "--message-size", "30", "--pack", "4"]).fine();
    bed.done(&["publish", "two.toml", "--made-up", "500", "--message-size", "30", "--pack", "4"]).fine();
    let reports = run.wait().fine().json();
    assert_eq!(reports.iter().map(|report| report["feed"].as_str().unwrap()).collect::<Vec<_>>(), ["one", "two"]);
    for (feed, messages) in [("one", 1_000), ("two", 500)] {
        assert_eq!(bed.read(&format!("m.{feed}.bin")).len(), messages * 32);
        let capture = format!("c.{feed}.pcapng");
        bed.done(&["arbitrate", &format!("{feed}.toml"), &capture, "--events", "replay.jsonl"]).fine();
        equal(&bed.path(&format!("e.{feed}.jsonl")), &bed.path("replay.jsonl"));
    }
}

#[test]
fn a_line_that_is_never_heard_is_told_with_the_likely_causes() {
    let bed = Bed::new("lonely");
    bed.feed("lonely", "moldudp64", "");
    // the publisher knows line A alone
    let text = std::fs::read_to_string(bed.path("lonely.toml")).unwrap();
    let line_a = text.rsplit_once("[[line]]").unwrap().0;
    std::fs::write(bed.path("a.toml"), line_a).unwrap();
    let run = bed.start(&["run", "lonely.toml"]);
    run.said("listening");
    bed.done(&["publish", "a.toml", "--made-up", "100", "--no-end"]).fine();
    run.said("line A is up");
    let said = run.said("line B: nothing heard");
    for cause in ["interface", "group", "firewall", "IGMP querier"] {
        assert!(said.contains(cause), "{said}");
    }
    let done = run.interrupt().fine();
    assert!(!done.stderr.contains("line A: nothing heard"), "{}", done.stderr);
    let report = String::from_utf8(done.stdout).unwrap();
    assert!(report.contains("100 delivered, 0 lost"), "{report}");
}

#[test]
fn what_capture_records_can_be_arbitrated() {
    let bed = Bed::new("capture");
    bed.feed("recorded", "moldudp64", "");
    let capture = bed.start(&["capture", "recorded.toml", "-o", "c.pcapng"]);
    capture.said("listening");
    bed.done(&["publish", "recorded.toml", "--made-up", "2k", "--rate", "10k", "--pack", "A=1..4,B=2"]).fine();
    // the file is written along; an end of session is the last thing in it
    let arbitrate = ["arbitrate", "recorded.toml", "c.pcapng", "--json"];
    wait_for("an end in the capture", || bed.done(&arbitrate).json()[0]["channels"][0]["sessions"][0]["ended"] == true);
    let done = capture.interrupt().fine();
    let summary = String::from_utf8(done.stdout).unwrap();
    let report = &bed.done(&arbitrate).fine().json()[0];
    assert_eq!(number(report, "/channels/0/delivered") + number(report, "/channels/0/lost"), 2_000);
    assert_eq!(report["source"]["whole_recording"], true);
    for line in ["A", "B"] {
        let frames = number(report, &format!("/channels/0/lines/{line}/frames"));
        assert!(summary.contains(&format!("line {line}: {frames} datagrams")), "{summary}");
    }
    let whole = format!("{} datagrams in c.pcapng", number(report, "/source/datagrams"));
    assert!(summary.contains(&whole), "{summary}");
}

#[test]
fn a_full_disk_costs_capture_records_and_no_message() {
    let bed = Bed::new("full");
    bed.feed("full", "moldudp64", "");
    let run = bed.start_on_full_disk(64, &["run", "full.toml", "--until-end", "--json", "--capture", "c.pcapng"]);
    run.said("listening");
    bed.done(&["publish", "full.toml", "--made-up", "20k", "--rate", "20k"]).fine();
    run.said("cannot write the capture c.pcapng");
    let done = run.wait();
    assert_eq!(done.code(), 1, "{}", done.stderr);
    let report = &done.json()[0];
    assert_eq!(number(report, "/channels/0/sessions/0/next"), 20_001);
    let (records, dropped) = (number(report, "/source/capture/records"), number(report, "/source/capture/dropped"));
    assert!(dropped > 0 && records + dropped == number(report, "/source/datagrams"), "{report}");
    assert!(done.stderr.contains("not in the capture"), "{}", done.stderr);
}

#[test]
fn a_full_disk_ends_the_messages_and_not_the_run() {
    let bed = Bed::new("fullout");
    bed.feed("full", "moldudp64", "");
    let run = bed.start_on_full_disk(64, &["run", "full.toml", "--until-end", "--json", "--messages", "m.bin"]);
    run.said("listening");
    bed.done(&["publish", "full.toml", "--made-up", "20k", "--rate", "20k"]).fine();
    run.said("nothing more is written there");
    let done = run.wait();
    assert_eq!(done.code(), 1, "{}", done.stderr);
    assert_eq!(number(&done.json()[0], "/channels/0/sessions/0/next"), 20_001);
}

#[test]
fn tail_prints_each_message_once_and_in_order() {
    let bed = Bed::new("tail");
    bed.feed("tail", "moldudp64", "");
    let tail = bed.start(&["tail", "tail.toml", "--messages", "200", "--json", "--hex"]);
    tail.said("listening");
    bed.done(&["publish", "tail.toml", "--made-up", "300", "--rate", "5k", "--pack", "1..4", "--message-size", "20"])
        .fine();
    let lines = tail.wait().fine().json();
    assert_eq!(lines[0]["event"], "epoch", "{}", lines[0]);
    let messages: Vec<_> = lines.iter().filter(|line| line.get("message").is_some()).collect();
    let numbers: Vec<u64> = messages.iter().map(|message| number(message, "/message")).collect();
    let lost: u64 = lines.iter().filter(|line| line["event"] == "lost").count() as u64;
    assert!(numbers.len() == 200 && numbers.is_sorted_by(|a, b| a < b), "{numbers:?}");
    assert!(lost > 0 || numbers == (1..=200).collect::<Vec<u64>>(), "{numbers:?}");
    assert!(messages.iter().all(|message| message["hex"].as_str().unwrap().len() == 40), "{}", messages[0]);
}

#[test]
fn tail_ends_quietly_when_nobody_reads() {
    let bed = Bed::new("closed");
    bed.feed("closed", "moldudp64", "");
    let mut tail = bed.start(&["tail", "closed.toml", "--first"]);
    tail.said("listening");
    let publish = bed.start(&["publish", "closed.toml", "--rate", "5k", "--message-size", "20"]);
    let mut reader = BufReader::new(tail.child.stdout.take().unwrap());
    let mut line = String::new();
    reader.read_line(&mut line).unwrap();
    assert!(line.contains(" -- "), "the session's beginning comes first: {line}");
    drop(reader);
    let done = tail.wait().fine();
    assert!(!done.stderr.contains("ipe"), "{}", done.stderr);
    publish.interrupt();
}

#[test]
fn wrong_arguments_and_feed_files_exit_with_2() {
    let bed = Bed::new("wrong");
    bed.feed("wrong", "moldudp64", "[receive]\ncore = 1000\n");
    bed.feed("right", "moldudp64", "");
    let nowhere = std::fs::read_to_string(bed.path("right.toml")).unwrap().replace("127.0.0.1", "nosuchnic0");
    std::fs::write(bed.path("nowhere.toml"), nowhere).unwrap();
    for (arguments, words) in [
        (&["run"][..], "FEED"),
        (&["run", "nosuch.toml"], "nosuch.toml: there is no such feed file"),
        (&["run", "wrong.toml"], "feed wrong: there is no core 1000"),
        (&["run", "right.toml", "--core", "1000"], "there is no core 1000"),
        (&["run", "right.toml", "right.toml"], "a feed named \"right\" was already given"),
        (&["run", "right.toml", "--seconds", "0"], "expected seconds above 0"),
        (&["run", "right.toml", "--json", "--messages", "-"], "give all but one of them a file"),
        (&["run", "right.toml", "--json", "--capture", "-"], "--capture - takes standard output"),
        (&["run", "nowhere.toml"], "none of its interfaces exists (nosuchnic0, nosuchnic0)"),
        (&["run", "right.toml", "--capture", "no/such/dir"], "cannot write the capture no/such/dir"),
        (&["run", "right.toml", "--events", "no/such/dir"], "no/such/dir: cannot be written"),
        (&["capture", "right.toml"], "--output"),
        (&["tail", "right.toml", "--raw", "--hex"], "cannot be used with"),
        (&["tail", "right.toml", "--messages", "0"], "--messages"),
    ] {
        let done = bed.done(arguments);
        assert_eq!(done.code(), 2, "{arguments:?}: {}", done.stderr);
        assert!(done.stderr.contains(words), "{arguments:?}: {}", done.stderr);
    }
}
