//! Live faults between two network namespaces: links that fail, publishers that restart, an arbiter that is stopped.
//!
//! The built program on both sides.

use std::fs;
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde_json::Value;

use crate::support::program::{self, Done, Program, equal};
use crate::support::trials::{Test, tests};
use crate::support::{netns, number, wait_for};

pub const TESTS: &[Test] = tests![
    a_line_whose_link_fails_is_silent_and_comes_back_while_the_other_carries,
    a_publisher_killed_and_restarted_has_both_its_sessions_delivered_whole,
    a_line_whose_publisher_alone_restarts_does_not_disturb_the_other,
    an_arbiter_that_was_stopped_delivers_what_its_sockets_held,
];

/// Length of a message, and of one in a `--messages` file.
const SIZE: &str = "40";
const STRIDE: u64 = 42;

/// A line that shows nothing for so long is silent: short, so that no test takes long, and longer than a busy machine keeps a
/// publisher from its core. Beds take turns, so that there are not more of these than cores.
const SILENT_AFTER: &str = "1500ms";
const SESSION_GRACE: &str = "500ms";
static TURN: Mutex<()> = Mutex::new(());

/// Two namespaces, a directory with the feed files (`both.toml`, and `a.toml` and `b.toml` with one line each), and `run` in
/// the receiver's.
struct Bed {
    net: netns::Bed,
    files: program::Bed,
    _turn: MutexGuard<'static, ()>,
}

impl Bed {
    fn up(name: &'static str) -> Bed {
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let bed = Bed { net: netns::Bed::up(name), files: program::Bed::new(name), _turn: turn };
        for (file, lines) in [("both", &["a", "b"][..]), ("a", &["a"]), ("b", &["b"])] {
            let mut text = format!("name = \"{name}\"\nframing = \"moldudp64\"\n");
            for line in lines {
                let (upper, net) = (line.to_uppercase(), if *line == "a" { 1 } else { 2 });
                let group = format!("239.81.{net}.1:26400");
                text += &format!(
                    "[[line]]\nname = \"{upper}\"\ngroups = [\"{group}\"]\ninterface = \"{line}0\"\nsource = \"10.81.{net}.1\"\n"
                );
            }
            text += &format!("[arbiter]\nsilent_after = \"{SILENT_AFTER}\"\nsession_grace = \"{SESSION_GRACE}\"\n");
            fs::write(bed.files.path(&format!("{file}.toml")), text).unwrap();
        }
        bed
    }

    fn start(&self, side: &str, arguments: &[&str]) -> Program {
        let mut command = Command::new(env!("CARGO_BIN_EXE_twinline"));
        command.args(arguments).current_dir(&self.files.dir);
        self.net.on(side, || Program::start(&mut command))
    }

    /// The arbiter, listening.
    fn arbiter(&self, more: &[&str]) -> Program {
        let files = [
            "run",
            "both.toml",
            "--json",
            "--events",
            "live.jsonl",
            "--messages",
            "live.bin",
            "--capture",
            "live.pcapng",
        ];
        let run = self.start("recv", &[&files[..], more].concat());
        run.said("listening");
        run
    }

    /// The publisher: the same messages each time.
    fn publisher(&self, feed: &str, rate: &str, more: &[&str]) -> Program {
        let given = ["publish", feed, "--json", "--message-size", SIZE, "--seed", "5", "--rate", rate];
        self.start("pub", &[&given[..], more].concat())
    }

    /// The events so far.
    fn events(&self) -> Vec<Value> {
        let text = fs::read_to_string(self.files.path("live.jsonl")).unwrap_or_default();
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        whole.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"))).collect()
    }

    /// The states of a line so far, from first to last.
    fn states(&self, line: &str) -> Vec<String> {
        let of_line = |event: &Value| event["event"] == "line" && event["line"] == line;
        let states = self.events().into_iter().filter(of_line);
        states.map(|event| event["to"].as_str().unwrap().to_owned()).collect()
    }

    #[track_caller]
    fn line_is(&self, line: &str, state: &str) {
        wait_for(&format!("line {line}: {state}"), || self.states(line).last().is_some_and(|last| last == state));
    }

    /// Waits until so many more messages have been delivered: time as the feed tells it.
    #[track_caller]
    fn deliver(&self, more: u64) {
        let delivered = || fs::metadata(self.files.path("live.bin")).map_or(0, |file| file.len()) / STRIDE;
        let until = delivered() + more;
        wait_for(&format!("{until} messages"), || delivered() >= until);
    }

    /// The run's report, which the program makes of its own capture as well: the same, as are messages and events.
    #[track_caller]
    fn report(&self, run: Done) -> Value {
        let live = run.fine().json().remove(0);
        let arguments =
            ["arbitrate", "both.toml", "live.pcapng", "--json", "--events", "replay.jsonl", "--messages", "replay.bin"];
        let replay = self.files.done(&arguments).fine().json().remove(0);
        equal(&self.files.path("live.jsonl"), &self.files.path("replay.jsonl"));
        equal(&self.files.path("live.bin"), &self.files.path("replay.bin"));
        assert_eq!(live["channels"], replay["channels"]);
        for counter in ["/source/capture/dropped", "/source/lines/A/overflow", "/source/lines/B/overflow"] {
            assert_eq!(number(&live, counter), 0, "{counter}");
        }
        assert_eq!(number(&live, "/channels/0/lost"), 0, "{live}");
        assert_eq!(self.events_named("lost"), [""; 0]);
        let delivered = number(&live, "/channels/0/delivered");
        assert_eq!(self.files.read("live.bin").len() as u64, delivered * STRIDE);
        live
    }

    /// The events of one kind, without their stamps.
    fn events_named(&self, name: &str) -> Vec<String> {
        let named = self.events().into_iter().filter(|event| event["event"] == name);
        let without_stamp = named.map(|mut event| {
            event.as_object_mut().unwrap().retain(|key, _| !["ns", "channel", "event"].contains(&key.as_str()));
            event.to_string()
        });
        without_stamp.collect()
    }
}

/// What a publisher that was ended says it has sent.
#[track_caller]
fn sent(publisher: Program) -> u64 {
    number(&publisher.interrupt().fine().json()[0], "/messages")
}

fn a_line_whose_link_fails_is_silent_and_comes_back_while_the_other_carries() {
    let bed = Bed::up("links");
    let run = bed.arbiter(&["--until-end"]);
    let publisher = bed.publisher("both.toml", "3k", &[]);
    bed.line_is("A", "up");
    bed.line_is("B", "up");
    // A at the publisher's end, B at the arbiter's
    for (line, nic, side, other) in [("A", "a", "pub", "B"), ("B", "b", "recv", "A")] {
        let before = [line, other].map(|line| bed.states(line).len());
        bed.net.run(&["link", nic, "down", side]);
        bed.deliver(6_000);
        bed.line_is(line, "silent");
        run.said(&format!("line {line}: interface {nic}0 is down"));
        bed.net.run(&["link", nic, "up", side]);
        run.said(&format!("line {line}: interface {nic}0 is up"));
        bed.line_is(line, "up");
        bed.deliver(600);
        let since = bed.states(line)[before[0]..].to_vec();
        assert!(since.iter().all(|state| ["lagging", "silent", "up"].contains(&state.as_str())), "{since:?}");
        assert_eq!(bed.states(other).len(), before[1], "line {other}: {:?}", bed.states(other));
    }
    let sent = sent(publisher);
    let report = bed.report(run.wait());
    assert_eq!(number(&report, "/channels/0/delivered"), sent);
    for line in ["A", "B"] {
        let missing = number(&report, &format!("/channels/0/lines/{line}/missing"));
        // its own two seconds at least, and not the two of the other
        assert!((5_000..sent - 5_000).contains(&missing), "line {line} misses {missing} of {sent}");
        assert_eq!(report.pointer(&format!("/source/lines/{line}/interface")).unwrap(), "up");
    }
}

fn a_publisher_killed_and_restarted_has_both_its_sessions_delivered_whole() {
    let bed = Bed::up("restart");
    let run = bed.arbiter(&["--until-end"]);
    let mut first = bed.publisher("both.toml", "3k", &["--session", "FIRST"]);
    bed.line_is("A", "up");
    bed.line_is("B", "up");
    bed.deliver(3_000);
    // without an end of session
    first.child.kill().unwrap();
    first.child.wait().unwrap();
    let second = bed.publisher("both.toml", "3k", &["--session", "SECOND"]);
    wait_for("the second session", || bed.events_named("epoch").len() == 2);
    bed.deliver(6_000);
    let sent = sent(second);
    let report = bed.report(run.wait());

    let [one, two] = report["channels"][0]["sessions"].as_array().unwrap().as_slice() else { panic!("{report}") };
    let (delivered, next) = (number(one, "/delivered"), number(one, "/next"));
    assert_eq!((one["session"].as_str(), &one["ended"]), (Some("FIRST     "), &Value::Bool(false)));
    assert!(delivered >= 3_000 && number(one, "/first") + delivered == next, "{one}");
    let expected = serde_json::json!({
        "session": "SECOND    ", "first": 1, "next": sent + 1, "delivered": sent, "lost": 0, "ended": true,
    });
    assert_eq!(*two, expected);
    let epochs = bed.events_named("epoch");
    assert_eq!(epochs[1], r#"{"first":1,"session":"SECOND    "}"#);
    let [end] = &bed.events_named("epoch_end")[..] else { panic!("{:?}", bed.events()) };
    // which one: whether the restart took longer than a line takes to fall silent
    let ends = ["lines", "grace"].map(|why| format!(r#"{{"next":{next},"session":"FIRST     ","why":"{why}"}}"#));
    assert!(ends.contains(end), "{end}");
    let names: Vec<Value> = bed.events().into_iter().map(|mut event| event["event"].take()).collect();
    let at = names.iter().position(|name| name == "epoch_end").unwrap();
    assert_eq!(names[at + 1], "epoch");

    // the publisher made the same messages again: from its first number on, none is missing, none altered
    let bytes = bed.files.read("live.bin");
    let (one, two) = bytes.split_at((delivered * STRIDE) as usize);
    let from = ((next - delivered - 1) * STRIDE) as usize;
    let known = two.len().min(from + one.len());
    assert!(one[..known - from] == two[from..known], "the sessions' messages differ");
}

fn a_line_whose_publisher_alone_restarts_does_not_disturb_the_other() {
    let bed = Bed::up("alone");
    let run = bed.arbiter(&[]);
    let a = bed.publisher("a.toml", "2k", &["--session", "FIRST"]);
    let mut b = bed.publisher("b.toml", "2k", &["--session", "FIRST"]);
    bed.line_is("A", "up");
    bed.line_is("B", "up");
    bed.deliver(1_000);
    b.child.kill().unwrap();
    b.child.wait().unwrap();
    let b = bed.publisher("b.toml", "2k", &["--session", "OTHER"]);
    bed.line_is("B", "other session");
    // two seconds: the grace of a session, four times over
    bed.deliver(4_000);
    assert_eq!(bed.states("B").last().unwrap(), "other session");
    // an end of A's session would hand the channel over
    let report = bed.report(run.interrupt());
    let (a, b) = (sent(a), sent(b));
    assert!(b >= 4_000, "{b}");

    let [session] = report["channels"][0]["sessions"].as_array().unwrap().as_slice() else { panic!("{report}") };
    let delivered = number(session, "/delivered");
    assert_eq!(session["session"], "FIRST     ");
    assert_eq!(number(session, "/first") + delivered, number(session, "/next"));
    assert!((5_000..=a).contains(&delivered), "{delivered} of {a}");
    assert_eq!(bed.events_named("epoch_end"), [""; 0]);
    assert_eq!(bed.events_named("epoch").len(), 1);
    assert_eq!(bed.states("A"), ["up"]);
    assert_eq!(number(&report, "/channels/0/lines/A/messages"), delivered, "all that B had, A had");
    assert_eq!(report.pointer("/channels/0/lines/B/state").unwrap(), "other session");
}

fn an_arbiter_that_was_stopped_delivers_what_its_sockets_held() {
    let bed = Bed::up("stopped");
    let run = bed.arbiter(&["--until-end"]);
    let publisher = bed.publisher("both.toml", "5k", &["--pack", "B=1..3"]);
    bed.line_is("A", "up");
    bed.line_is("B", "up");
    bed.deliver(1_000);
    // what the publisher's NIC has sent: time goes on there
    let on_wire = || {
        let nics = fs::read_to_string(format!("/proc/{}/net/dev", publisher.child.id())).unwrap();
        let a0 = nics.lines().find_map(|line| line.trim().strip_prefix("a0:")).expect("a0");
        a0.split_whitespace().nth(8).unwrap().parse::<u64>().unwrap()
    };
    run.signal("STOP");
    let before = on_wire();
    // longer than a line may show nothing, and than any gap may stay open
    wait_for("more than a second and a half's datagrams", || on_wire() >= before + 8_000);
    let state = fs::read_to_string(format!("/proc/{}/stat", run.child.id())).unwrap();
    assert!(state.contains(") T "), "it was not stopped: {state}");
    run.signal("CONT");
    bed.deliver(5_000);
    let sent = sent(publisher);
    let report = bed.report(run.wait());
    assert_eq!(number(&report, "/channels/0/delivered"), sent);
    for line in ["A", "B"] {
        assert_eq!(bed.states(line), ["up"], "line {line}");
        for counter in ["missing", "late", "implausible"] {
            assert_eq!(number(&report, &format!("/channels/0/lines/{line}/{counter}")), 0, "line {line}: {counter}");
        }
    }
}
