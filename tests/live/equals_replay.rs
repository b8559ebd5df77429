//! A live run and `arbitrate` over the capture that it took are equal, to the byte (ARBITRATION 10).

use crate::support::number;
use crate::support::program::{Bed, Done, equal};

const FILES: [&str; 8] =
    ["--json", "--messages", "live.bin", "--events", "live.jsonl", "--capture", "live.pcapng", "--until-end"];

/// Arbitrates the capture and compares; gives the replay's report.
#[track_caller]
fn replay_equals(bed: &Bed, feed: &str, live: &Done) -> serde_json::Value {
    let arguments =
        ["arbitrate", feed, "live.pcapng", "--json", "--messages", "replay.bin", "--events", "replay.jsonl"];
    let replay = bed.done(&arguments).fine();
    equal(&bed.path("live.bin"), &bed.path("replay.bin"));
    equal(&bed.path("live.jsonl"), &bed.path("replay.jsonl"));
    let (live, replay) = (live.json().remove(0), replay.json().remove(0));
    assert_eq!(live["channels"], replay["channels"], "the reports agree as well");
    assert_eq!(number(&live, "/source/datagrams"), number(&replay, "/source/datagrams"));
    assert_eq!(number(&live, "/source/capture/dropped"), 0);
    assert_eq!(replay["source"]["whole_recording"], true);
    replay
}

#[test]
fn moldudp64_with_every_fault_at_100_000_messages_a_second() {
    let bed = Bed::new("mold");
    bed.feed("mold", "moldudp64", "[arbiter]\nverify = \"all\"\n");
    let run = bed.start(&[&["run", "mold.toml"], &FILES[..]].concat());
    run.said("listening");
    bed.done(&[
        "publish",
        "mold.toml",
        "--made-up",
        "300k",
        "--rate",
        "100k",
        "--burst",
        "16",
        "--pack",
        "A=1..10,B=1..4",
        "--loss",
        "2%",
        "--burst-loss",
        "0.1%x8",
        "--duplicate",
        "1%",
        "--reorder",
        "B=0.5%x3",
        "--delay",
        "B=200us..400us",
        "--outage",
        "A=1s..1.3s",
        "--corrupt",
        "0.05%",
        "--seed",
        "7",
    ])
    .fine();
    let live = run.wait().fine();
    let report = replay_equals(&bed, "mold.toml", &live);
    let [channel, ..] = report["channels"].as_array().unwrap().as_slice() else { panic!("{report}") };
    let session = &channel["sessions"][0];
    let (first, next) = (number(session, "/first"), number(session, "/next"));
    assert_eq!(number(session, "/delivered") + number(session, "/lost"), next - first);
    assert_eq!(session["ended"], true, "--until-end waits for it");
    assert!(!channel["gaps"].as_array().unwrap().is_empty(), "the lines lost something");
    let said = String::from_utf8(bed.read("live.jsonl")).unwrap();
    let said = said.lines().filter(|event| event.contains(r#""event":"divergence""#)).count() as u64;
    let counted = ["A", "B"].map(|line| number(channel, &format!("/lines/{line}/divergent")));
    assert!(said > 0 && said == counted.iter().sum::<u64>(), "corrupted copies: {said} said, {counted:?} counted");
}

#[test]
fn cme_ended_by_ctrl_c() {
    let bed = Bed::new("cme");
    bed.feed("cme", "cme-mdp3", "");
    let run = bed.start(&[&["run", "cme.toml"], &FILES[..]].concat());
    run.said("listening");
    bed.done(&[
        "publish",
        "cme.toml",
        "--made-up",
        "40k",
        "--rate",
        "20k",
        "--burst",
        "8",
        "--loss",
        "2%",
        "--delay",
        "A=100us",
        "--duplicate",
        "1%",
        "--reorder",
        "A=0.5%x3",
    ])
    .fine();
    let live = run.interrupt().fine();
    let report = replay_equals(&bed, "cme.toml", &live);
    assert!(number(&report, "/channels/0/delivered") > 0);
}

/// What waits in the sockets while the process is stopped is not given up, though every deadline has passed (1.2).
#[test]
fn a_stopped_arbiter_loses_nothing_that_its_sockets_hold() {
    let bed = Bed::new("stopped");
    bed.feed("stopped", "moldudp64", "");
    let run = bed.start(&[&["run", "stopped.toml"], &FILES[..]].concat());
    run.said("listening");
    bed.done(&["publish", "stopped.toml", "--made-up", "500", "--rate", "10k", "--no-end"]).fine();
    run.said("line B is up");
    run.signal("STOP");
    // few enough for a socket's smallest buffer
    let published = bed.done(&[
        "publish",
        "stopped.toml",
        "--first",
        "501",
        "--made-up",
        "300",
        "--rate",
        "2k",
        "--pack",
        "A=4,B=1..3",
        "--loss",
        "10%",
        "--json",
    ]);
    run.signal("CONT");
    let live = run.wait().fine();
    let report = replay_equals(&bed, "stopped.toml", &live);
    let sent = &published.fine().json()[0];
    let live = &live.json()[0];
    let overflow = number(live, "/source/lines/A/overflow") + number(live, "/source/lines/B/overflow");
    if overflow == 0 {
        assert_eq!(number(&report, "/channels/0/lost"), number(sent, "/lost_on_all"), "{sent}");
    }
}
