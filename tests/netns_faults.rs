//! Live faults between two network namespaces: links that fail, publishers that restart, an arbiter that is stopped.
//!
//! The built program on both sides. Needs root and `ip`; without them each test says so and passes.

mod live_harness;
mod netns_bed;

use std::fs;
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};

use live_harness::{Done, Program, equal, number};
use netns_bed::wait_for;
use serde_json::Value;

/// Length of a message, and of one in a `--messages` file.
const SIZE: &str = "40";
const STRIDE: u64 = 42;

/// `SILENT_AFTER` is short, so that no test takes long; so beds take turns, for a test to have the machine's cores.
const SILENT_AFTER: &str = "500ms";
static TURN: Mutex<()> = Mutex::new(());

/// Two namespaces, a directory with the feed files (`both.toml`, and `a.toml` and `b.toml` with one line each), and `run` in
/// the receiver's.
struct Bed {
    net: netns_bed::Bed,
    files: live_harness::Bed,
    _turn: MutexGuard<'static, ()>,
}

impl Bed {
    fn up(name: &'static str) -> Option<Bed> {
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let bed = Bed { net: netns_bed::Bed::up(name)?, files: live_harness::Bed::new(name), _turn: turn };
        for (file, lines) in [("both", &["a", "b"][..]), ("a", &["a"]), ("b", &["b"])] {
            let mut text = format!("name = \"{name}\"\nframing = \"moldudp64\"\n");
            for line in lines {
                let (upper, net) = (line.to_uppercase(), if *line == "a" { 1 } else { 2 });
                let group = format!("239.81.{net}.1:26400");
                text += &format!(
                    "[[line]]\nname = \"{upper}\"\ngroups = [\"{group}\"]\ninterface = \"{line}0\"\nsource = \"10.81.{net}.1\"\n"
                );
            }
            text += &format!("[arbiter]\nsilent_after = \"{SILENT_AFTER}\"\nsession_grace = \"{SILENT_AFTER}\"\n");
            fs::write(bed.files.path(&format!("{file}.toml")), text).unwrap();
        }
        Some(bed)
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

#[test]
fn a_line_whose_link_fails_is_silent_and_comes_back_while_the_other_carries() {
    let Some(bed) = Bed::up("links") else { return };
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
