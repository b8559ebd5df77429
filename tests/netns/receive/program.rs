//! The built program by every method.

use std::fs;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use super::{WAYS, Way};
use crate::support::netns::Bed;
use crate::support::number;
use crate::support::program::{self, Program, equal};
use crate::support::trials::{Test, tests};

pub const TESTS: &[Test] = tests![
    a_run_over_lossy_lines_equals_the_replay_of_its_capture,
    without_the_privilege_it_says_which_and_auto_takes_what_works,
    auto_takes_what_the_driver_redirects_and_else_a_packet_ring,
];

const FEED: &str = "name = \"methods\"\nframing = \"moldudp64\"\n\
    [[line]]\nname = \"A\"\ngroups = [\"239.81.1.1:26400\"]\ninterface = \"a0\"\nsource = \"10.81.1.1\"\n\
    [[line]]\nname = \"B\"\ngroups = [\"239.81.2.1:26400\"]\ninterface = \"b0\"\nsource = \"10.81.2.1\"\n";

fn start(bed: &Bed, side: &str, files: &program::Bed, arguments: &[&str]) -> Program {
    let mut command = Command::new(env!("CARGO_BIN_EXE_twinline"));
    command.args(arguments).current_dir(&files.dir);
    bed.on(side, || Program::start(&mut command))
}

fn a_run_over_lossy_lines_equals_the_replay_of_its_capture() {
    for Way { method, ring, .. } in WAYS {
        let bed = Bed::up(&format!("run{}", method.name()));
        let files = program::Bed::new("methods");
        // room for all that is sent, however long the arbiter waits for its core
        fs::write(files.path("feed.toml"), format!("{FEED}[receive]\nbuffer = \"64MiB\"\n")).unwrap();
        let live = ["--json", "--messages", "live.bin", "--events", "live.jsonl", "--capture", "live.pcapng"];
        let more = ["run", "feed.toml", "--until-end", "--receive", method.name()];
        let run = start(&bed, "recv", &files, &[&more[..], &live].concat());
        let said = run.said("listening");
        assert!(said.contains(&format!("; receive = {}", method.name())), "{said}");
        let faults = "--made-up 40k --rate 20k --pack A=1..10,B=1..4 --loss 2% --burst-loss 0.1%x8 --duplicate 1% \
                      --reorder B=0.5%x3 --delay B=200us..400us --corrupt 0.05% --seed 7 --json";
        let arguments: Vec<&str> = ["publish", "feed.toml"].into_iter().chain(faults.split_whitespace()).collect();
        start(&bed, "pub", &files, &arguments).wait().fine();
        let live = run.wait().fine().json().remove(0);
        let replay =
            ["arbitrate", "feed.toml", "live.pcapng", "--json", "--messages", "replay.bin", "--events", "replay.jsonl"];
        let replay = files.done(&replay).fine().json().remove(0);
        equal(&files.path("live.bin"), &files.path("replay.bin"));
        equal(&files.path("live.jsonl"), &files.path("replay.jsonl"));
        assert_eq!(live["channels"], replay["channels"]);
        assert_eq!(number(&live, "/source/datagrams"), number(&replay, "/source/datagrams"));
        assert_eq!(number(&live, "/source/capture/dropped"), 0);
        assert_eq!(live["source"]["receive"], method.name());
        let session = &live["channels"][0]["sessions"][0];
        let (first, next) = (number(session, "/first"), number(session, "/next"));
        assert_eq!(number(session, "/delivered") + number(session, "/lost"), next - first);
        assert_eq!((first, next), (1, 40_001));
        assert!(number(&live, "/channels/0/lines/A/missing") > 100, "the lines lost something");
        for line in ["A", "B"] {
            for counter in ["overflow", "strangers", "truncated", "malformed_frames", "bad_udp_checksum"] {
                assert_eq!(number(&live, &format!("/source/lines/{line}/{counter}")), 0, "{counter}");
            }
            // as it was sent, senders and all
            assert!(number(&live, &format!("/source/lines/{line}/datagrams")) > 1_000, "{ring}");
        }
    }
}

/// The program as nobody, in a namespace where it would find its interfaces.
fn without_privilege(bed: &Bed, files: &program::Bed, arguments: &[&str]) -> Program {
    let mut command = Command::new(env!("CARGO_BIN_EXE_twinline"));
    command.args(arguments).current_dir(&files.dir).uid(65_534).gid(65_534);
    bed.on("recv", || Program::start(&mut command))
}

fn without_the_privilege_it_says_which_and_auto_takes_what_works() {
    let bed = Bed::up("nobody");
    let files = program::Bed::new("nobody");
    fs::write(files.path("feed.toml"), format!("receive = \"packet\"\n{FEED}")).unwrap();
    let lacks = "line A, interface a0: cannot open a packet socket: Operation not permitted (os error 1); receive = \"packet\" \
                 needs the capability CAP_NET_RAW: run as root, or grant it to the program (`setcap cap_net_raw+ep twinline`); \
                 receive = \"socket\" needs none";
    let done = without_privilege(&bed, &files, &["run", "feed.toml"]).wait();
    assert_eq!((done.code(), done.stderr.as_str()), (1, format!("twinline: {lacks}").as_str()));

    for verb in [&["run", "feed.toml"][..], &["tail", "feed.toml"], &["capture", "feed.toml", "-o", "/dev/null"]] {
        let auto = without_privilege(&bed, &files, &[verb, &["--receive", "auto"]].concat());
        let said = auto.said("listening");
        assert!(said.contains("; receive = socket (the fastest that works here; "), "{said}");
        assert!(said.contains(&format!("not packet: {lacks}")), "{said}");
        auto.interrupt().fine();
    }
    let done = without_privilege(&bed, &files, &["run", "feed.toml", "--receive", "packets"]).wait();
    assert_eq!(done.code(), 2);
    assert!(done.stderr.contains("expected one of: socket, packet, xdp, auto"), "{}", done.stderr);
}

fn auto_takes_what_the_driver_redirects_and_else_a_packet_ring() {
    let bed = Bed::up("auto");
    let files = program::Bed::new("auto");
    let loopback = FEED.replace("\"a0\"", "\"127.0.0.1\"").replace("\"b0\"", "\"127.0.0.1\"");
    let missing = FEED.replace("\"b0\"", "\"nosuchnic0\"");
    for (name, feed, takes) in [
        (
            "missing.toml",
            missing.as_str(),
            "; receive = packet (the fastest that works here; not xdp: not every line has an interface whose driver redirects (a0: native",
        ),
        ("veth.toml", FEED, "; receive = xdp (a0: native mode; b0: native mode; the fastest that works here)"),
        (
            "lo.toml",
            loopback.as_str(),
            "; receive = packet (the fastest that works here; not xdp: not every line has an interface whose driver redirects (",
        ),
    ] {
        fs::write(files.path(name), feed).unwrap();
        let auto = start(&bed, "recv", &files, &["run", name, "--receive", "auto"]);
        let said = auto.said("listening");
        assert!(said.contains(takes), "{said}");
        auto.interrupt().fine();
    }
}
