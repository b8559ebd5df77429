//! A capture in which one line has one byte of one message otherwise than the other (ARBITRATION 7.4), through the program.

use std::net::SocketAddrV4;
use std::process::Command;

use serde_json::Value;
use twinline_core::Nanos;
use twinline_core::frame::{Line, Session};
use twinline_core::framing::{Framing, MoldUdp64};
use twinline_node::capture::CaptureWriter;

use crate::support::feed::{parse, text_of_lines};
use crate::support::scratch::Scratch;

const MESSAGES: u64 = 60;
const ALTERED: u64 = 23;

fn message(n: u64) -> Vec<u8> {
    format!("message number {n}").into_bytes()
}

/// A line's datagrams, so many messages in each, and the end.
fn datagrams(pack: u64, altered: bool) -> Vec<Vec<u8>> {
    let session = Session::text(b"TWIN000001");
    let mut out = Vec::new();
    for first in (1..=MESSAGES).step_by(pack as usize) {
        let mut messages: Vec<Vec<u8>> = (first..(first + pack).min(MESSAGES + 1)).map(message).collect();
        if let Some(message) = messages.get_mut((ALTERED - first.min(ALTERED)) as usize).filter(|_| altered)
            && first <= ALTERED
        {
            message[3] ^= 0x20;
        }
        let messages: Vec<&[u8]> = messages.iter().map(Vec::as_slice).collect();
        let mut datagram = Vec::new();
        assert_eq!(MoldUdp64.encode(session, first, &messages, 1_400, &mut datagram), messages.len());
        out.push(datagram);
    }
    let mut end = Vec::new();
    assert!(MoldUdp64.encode_end(session, MESSAGES + 1, &mut end));
    out.push(end);
    out
}

/// What the program makes of both lines, A's copy of the message in question first: its events, the messages, the report, and the report for people.
fn arbitrated(name: &str, verify: &str, altered: Line) -> (Vec<Value>, Vec<u8>, Value, String) {
    let scratch = Scratch::new(&format!("divergence-{name}"));
    let text = text_of_lines("divergence", "moldudp64", 2) + &format!("[arbiter]\nverify = {verify}\n");
    scratch.write("feed.toml", &text);
    let feed = parse(&text);

    let mut writer = CaptureWriter::create(&scratch.file("capture.pcapng"), &feed).unwrap();
    let from: SocketAddrV4 = "10.0.0.1:4000".parse().unwrap();
    let mut sent: Vec<(u64, Line, Vec<u8>)> = Vec::new();
    for (line, pack, behind) in [(Line(0), 4, 0), (Line(1), 3, 9)] {
        // when a packet's last message is there
        let due = |i: usize| (i as u64 + 1) * pack * 10 + behind;
        sent.extend(datagrams(pack, line == altered).into_iter().enumerate().map(|(i, bytes)| (due(i), line, bytes)));
    }
    sent.sort_by_key(|(due, ..)| *due);
    for (due, line, bytes) in &sent {
        let to = feed.lines[line.index()].groups[0];
        writer.write(Nanos(1_000_000_000 + due * 1_000), *line, from, to, bytes).unwrap();
    }
    writer.finish(Nanos(1_010_000_000), &[0, 0]).unwrap();

    let run = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_twinline"));
        let output = command.args(["arbitrate", "feed.toml", "capture.pcapng"]).args(arguments);
        let output = output.current_dir(scratch.path()).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let report = serde_json::from_str(&run(&["--json", "--messages", "messages", "--events", "events"])).unwrap();
    let events = String::from_utf8(scratch.read("events")).unwrap();
    let events = events.lines().map(|event| serde_json::from_str(event).unwrap()).collect();
    (events, scratch.read("messages"), report, run(&[]))
}

fn divergences(events: &[Value]) -> Vec<&Value> {
    events.iter().filter(|event| event["event"] == "divergence").collect()
}

/// The messages as `--messages` writes them; one of them may be the altered one.
fn written(altered: bool) -> Vec<u8> {
    let message = |n| {
        let mut message = message(n);
        message[3] ^= if altered && n == ALTERED { 0x20 } else { 0 };
        message
    };
    (1..=MESSAGES).map(message).flat_map(|m| [&(m.len() as u16).to_be_bytes()[..], &m].concat()).collect()
}

#[test]
fn one_altered_byte_is_one_event_and_the_first_copy_is_delivered() {
    for altered in [Line(0), Line(1)] {
        let name = format!("line-{}", altered.0);
        let (events, messages, report, text) = arbitrated(&name, "\"all\"", altered);
        let [divergence] = divergences(&events)[..] else { panic!("{events:?}") };
        let first_is_altered = altered == Line(0);
        let mut other_message = message(ALTERED);
        other_message[3] ^= 0x20;
        let hashes = [message(ALTERED), other_message].map(|m| format!("{:08x}", crc32fast::hash(&m)));
        let [genuine, wrong] = &hashes;
        let (hash, other_hash) = if first_is_altered { (wrong, genuine) } else { (genuine, wrong) };
        let said = serde_json::json!({
            "ns": 1_000_249_000, "channel": "0", "event": "divergence", "number": ALTERED, "line": "A", "other": "B",
            "hash": hash, "other_hash": other_hash,
        });
        assert_eq!(divergence, &said);
        assert!(messages == written(first_is_altered), "the first copy stands");

        let lines = &report["channels"][0]["lines"];
        assert_eq!((&lines["A"]["divergent"], &lines["B"]["divergent"]), (&0.into(), &1.into()));
        assert_eq!((&report["verify"], &report["channels"][0]["delivered"]), (&"all".into(), &MESSAGES.into()));
        let told: Vec<&str> = text.lines().filter(|line| line.contains("DIVERGENCE")).collect();
        assert_eq!(
            told,
            [
                "  DIVERGENCE: what line B brought is not always the message that came first, which stands: 1 of 30 duplicates differ (verify = all)"
            ]
        );
    }
}

#[test]
fn unless_copies_are_compared_nothing_is_said() {
    let (events, messages, report, text) = arbitrated("off", "\"off\"", Line(1));
    assert!(divergences(&events).is_empty() && !text.contains("DIVERGENCE"));
    assert_eq!((&report["verify"], &report["channels"][0]["lines"]["A"]["divergent"]), (&"off".into(), &0.into()));
    assert_eq!(messages.len(), written(false).len());
}

#[test]
fn a_share_that_leaves_the_number_out_says_nothing_of_it() {
    // the smallest share that chooses it does, and anything below does not
    let chosen = |share: u32| twinline_core::arbiter::Verify::PerBillion(share).chooses(twinline_core::SeqNo(ALTERED));
    let share = (0..30).rev().fold(0, |below, bit| if chosen(below | 1 << bit) { below } else { below | 1 << bit });
    for (name, share, said) in [("below", share, 0), ("above", share + 1, 1)] {
        let verify = format!("0.{share:09}");
        let (events, _, report, _) = arbitrated(name, &verify, Line(1));
        assert_eq!(divergences(&events).len(), said, "{verify}");
        assert_eq!(report["verify"].as_str().unwrap().parse::<f64>().unwrap(), verify.parse::<f64>().unwrap());
    }
}
