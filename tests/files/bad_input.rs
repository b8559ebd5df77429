//! Bad input: each datagram that cannot be read is counted under its reason, and the stream goes on.
//!
//! Through a [`Handler`], and through the program with a capture made here.

use std::net::SocketAddrV4;
use std::process::Command;

use twinline_core::Nanos;
use twinline_core::arbiter::ChannelReport;
use twinline_core::frame::{Line, Session};
use twinline_core::framing::{CboePitch, CmeMdp3, Framing, Malformed, MoldUdp64};
use twinline_node::capture::CaptureWriter;
use twinline_node::config::Feed;
use twinline_node::handler::Handler;

use crate::support::feed::{parse, text_of_lines};
use crate::support::scratch::Scratch;
use crate::support::sink::Messages;

const A: Line = Line(0);
const B: Line = Line(1);

/// The longest payload that UDP over IPv4 carries.
const UDP_PAYLOAD_MAX: usize = 65_507;

fn feed_text(framing: &str) -> String {
    text_of_lines("bad", framing, 2)
}

fn feed(framing: &str) -> Feed {
    parse(&feed_text(framing))
}

fn session() -> Session {
    Session::text(b"TWIN000001")
}

/// A MoldUDP64 header, whatever it says.
fn header(sequence: u64, count: u16) -> Vec<u8> {
    let mut out = b"TWIN000001".to_vec();
    out.extend(sequence.to_be_bytes());
    out.extend(count.to_be_bytes());
    out
}

fn mold(sequence: u64, messages: &[&[u8]]) -> Vec<u8> {
    let mut out = Vec::new();
    assert_eq!(MoldUdp64.encode(session(), sequence, messages, UDP_PAYLOAD_MAX, &mut out), messages.len());
    out
}

/// What cannot be read, and why; `at` is the stream's next number.
fn malformed(at: u64) -> Vec<(&'static str, Vec<u8>, Malformed)> {
    let mut overrun_by_one = mold(at, &[b"one", b"two"]);
    overrun_by_one.pop();
    let mut long_length = header(at, 1);
    long_length.extend([0xFF, 0xFF, b'x']);
    vec![
        ("an empty datagram", Vec::new(), Malformed::Header),
        ("a truncated header", header(at, 0)[..19].to_vec(), Malformed::Header),
        ("one byte", vec![0], Malformed::Header),
        ("a count that overruns its datagram", header(at, 3), Malformed::Overrun),
        ("a request echoed as downstream", header(at, 1), Malformed::Overrun),
        ("a message that is cut off", overrun_by_one, Malformed::Overrun),
        ("a length beyond the end", long_length, Malformed::Overrun),
        ("the largest count", header(at, 65_534), Malformed::Overrun),
        ("a sequence of zero", mold(0, &[b"zero"]), Malformed::Sequence),
        ("a heartbeat of zero", header(0, 0), Malformed::Sequence),
        ("64 KiB of zeros", vec![0; UDP_PAYLOAD_MAX], Malformed::Sequence),
        ("a sequence that overflows", mold(u64::MAX, &[b"last"]), Malformed::Sequence),
        ("a count that overflows", mold(u64::MAX - 1, &[b"x", b"y"]), Malformed::Sequence),
    ]
}

/// A stream of genuine datagrams with everything malformed in between, on both lines; what is to come out of it, and how many
/// are malformed on each line under each reason.
struct Script {
    arrivals: Vec<(Line, Vec<u8>)>,
    messages: Vec<Vec<u8>>,
    malformed: [u64; Malformed::ALL.len()],
}

fn script() -> Script {
    let large = vec![b'L'; UDP_PAYLOAD_MAX - 22];
    let mut script = Script { arrivals: Vec::new(), messages: Vec::new(), malformed: [0; Malformed::ALL.len()] };
    let mut next = 1;
    let mut genuine = |script: &mut Script, messages: &[&[u8]]| {
        let datagram = mold(next, messages);
        script.arrivals.extend([(A, datagram.clone()), (B, datagram)]);
        script.messages.extend(messages.iter().map(|m| m.to_vec()));
        next += messages.len() as u64;
        next
    };
    genuine(&mut script, &[b"first", b"second"]);
    let at = genuine(&mut script, &[b"third"]);
    for (what, datagram, reason) in malformed(at) {
        script.arrivals.extend([(A, datagram.clone()), (B, datagram)]);
        script.malformed[reason.index()] += 1;
        genuine(&mut script, &[what.as_bytes()]);
    }
    // these can be read, odd as they are
    genuine(&mut script, &[b""]);
    genuine(&mut script, &[b"", b"", b"x", b""]);
    genuine(&mut script, &[&large]);
    let many = [b"".as_slice(); 30_000];
    let end = genuine(&mut script, &many);
    script.arrivals.extend([(A, header(end, 0xFFFF)), (B, header(end, 0xFFFF))]);
    script
}

fn play<F: Framing>(framing: F, arrivals: &[(Line, Vec<u8>)]) -> (Messages, Handler<F>) {
    let mut handler = Handler::new(framing, &feed(F::NAME));
    let mut sink = Messages::default();
    for (i, (line, datagram)) in arrivals.iter().enumerate() {
        handler.on_datagram(Nanos(1_000 + i as u64), *line, 0, datagram, &mut sink);
    }
    handler.finish(Nanos(1_000 + arrivals.len() as u64), &mut sink);
    (sink, handler)
}

fn report<F: Framing>(handler: &Handler<F>) -> ChannelReport {
    handler.arbiter().channels().next().unwrap()
}

#[test]
fn what_cannot_be_read_is_counted_under_its_reason_and_the_stream_goes_on() {
    let script = script();
    let (sink, handler) = play(MoldUdp64, &script.arrivals);
    assert_eq!(sink.all.len(), script.messages.len());
    assert!(sink.all == script.messages, "every message comes out as it was sent");
    assert_eq!(sink.losses, 0);
    for line in [A, B] {
        for reason in Malformed::ALL {
            let count = handler.malformed().of_line(line, reason);
            assert_eq!(count, script.malformed[reason.index()], "line {}, {reason}", line.0);
        }
    }
    let report = report(&handler);
    assert_eq!((report.delivered, report.lost), (script.messages.len() as u64, 0));
    assert!(report.epochs[0].ended);
}

#[test]
fn what_cannot_be_read_begins_no_channel() {
    for (what, datagram, reason) in malformed(1) {
        let (sink, handler) = play(MoldUdp64, &[(A, datagram.clone()), (B, datagram)]);
        assert_eq!(handler.arbiter().channels().count(), 0, "{what}");
        assert_eq!((sink.all.len(), handler.malformed().of_line(B, reason)), (0, 1), "{what}");
    }
}

#[test]
fn a_cme_packet_that_cannot_be_read_is_counted_and_one_without_messages_is_delivered() {
    let packet = |sequence: u32, body: &[u8]| [&sequence.to_le_bytes()[..], &[0; 8], body].concat();
    let large = vec![b'L'; UDP_PAYLOAD_MAX - 12];
    let good = [packet(7, b"one"), packet(8, b""), packet(9, &large), packet(10, b"four")];
    let bad = [Vec::new(), vec![1; 11], packet(0, b"zero"), vec![0; UDP_PAYLOAD_MAX]];
    let arrivals: Vec<_> =
        good.iter().zip(&bad).flat_map(|(g, b)| [(A, g.clone()), (A, b.clone()), (B, g.clone())]).collect();
    let (sink, handler) = play(CmeMdp3, &arrivals);
    let bodies: Vec<Vec<u8>> = good.iter().map(|packet| packet[12..].to_vec()).collect();
    assert!(sink.all == bodies);
    assert_eq!(handler.malformed().of_line(A, Malformed::Header), 2);
    assert_eq!(handler.malformed().of_line(A, Malformed::Sequence), 2);
    assert_eq!((sink.losses, report(&handler).lines[0].missing), (0, 0));
}

#[test]
fn the_program_counts_what_it_cannot_read_in_a_capture_and_delivers_the_rest() {
    let (script, feed, scratch) = (script(), feed("moldudp64"), Scratch::new("bad-input"));
    let (feed_file, capture, messages) = (scratch.file("bad.toml"), scratch.file("bad.pcapng"), scratch.file("out"));
    std::fs::write(&feed_file, feed_text("moldudp64")).unwrap();
    let mut writer = CaptureWriter::create(&capture, &feed).unwrap();
    let source: SocketAddrV4 = "10.0.0.1:4000".parse().unwrap();
    for (i, (line, datagram)) in script.arrivals.iter().enumerate() {
        let group = feed.lines[line.index()].groups[0];
        writer.write(Nanos(1_000_000 + i as u64), *line, source, group, datagram).unwrap();
    }
    writer.finish(Nanos(2_000_000), &[0, 0]).unwrap();

    let mut command = Command::new(env!("CARGO_BIN_EXE_twinline"));
    command.arg("arbitrate").args([&feed_file, &capture]).args(["--json", "--messages"]).arg(&messages);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));

    let text = String::from_utf8(output.stdout).unwrap();
    let json: serde_json::Value = serde_json::from_str(&text).unwrap();
    let channel = &json["channels"][0];
    let sent = script.messages.len() as u64;
    assert_eq!((channel["delivered"].as_u64(), channel["lost"].as_u64()), (Some(sent), Some(0)));
    assert_eq!(channel["sessions"][0]["ended"], true);
    for line in ["A", "B"] {
        for reason in Malformed::ALL {
            let expected = script.malformed[reason.index()];
            assert_eq!(json["malformed"][line][reason.name()].as_u64(), Some(expected), "line {line}, {reason}");
        }
        let all: u64 = script.malformed.iter().sum();
        assert_eq!(channel["lines"][line]["malformed"].as_u64(), Some(all));
        let came = Malformed::ALL.into_iter().filter(|reason| script.malformed[reason.index()] > 0);
        let reasons = came.map(|reason| format!("\"{}\":{}", reason.name(), script.malformed[reason.index()]));
        let reasons = format!("\"malformed_reasons\":{{{}}}", reasons.collect::<Vec<_>>().join(","));
        assert_eq!(text.matches(&reasons).count(), 2, "those that came, in their order, for both lines: {reasons}");
        assert_eq!(channel["lines"][line]["missing"].as_u64(), Some(0));
    }
    let told = std::fs::read(&messages).unwrap();
    let expected: Vec<u8> = script
        .messages
        .iter()
        .flat_map(|message| [&(message.len() as u16).to_be_bytes()[..], message].concat())
        .collect();
    let output = Command::new(env!("CARGO_BIN_EXE_twinline")).arg("arbitrate").args([&feed_file, &capture]).output();
    let report = String::from_utf8(output.unwrap().stdout).unwrap();
    let (_, report) = report.split_once("\nmalformed datagrams\n").unwrap_or_else(|| panic!("{report}"));
    let came = Malformed::ALL.into_iter().filter(|reason| script.malformed[reason.index()] > 0);
    let reasons: Vec<String> = came.map(|reason| format!("{} {reason}", script.malformed[reason.index()])).collect();
    assert_eq!(report, format!("  A          {0}\n  B          {0}\n", reasons.join(", ")));
    assert!(told == expected, "the messages file holds what was sent: {} bytes, not {}", expected.len(), told.len());
}

/// Where frames name their channel, what cannot be read has none: it stands at the top of the report, by line and reason.
#[test]
fn in_a_framing_with_a_key_what_cannot_be_read_has_no_channel() {
    let (feed, scratch) = (feed("cboe-pitch"), Scratch::new("bad-key"));
    let (feed_file, capture) = (scratch.file("bad.toml"), scratch.file("bad.pcapng"));
    std::fs::write(&feed_file, feed_text("cboe-pitch")).unwrap();
    let mut writer = CaptureWriter::create(&capture, &feed).unwrap();
    let source: SocketAddrV4 = "10.0.0.1:4000".parse().unwrap();
    let mut at = 1_000_000;
    for sequence in 1..5 {
        let mut good = Vec::new();
        assert_eq!(CboePitch { unit: 3 }.encode(Session::NONE, sequence, &[b"\x04\x20ab"], 1_400, &mut good), 1);
        let cut = good[..5].to_vec();
        for (line, datagram) in [(A, &good), (B, &good), (B, &cut)] {
            at += 1;
            writer.write(Nanos(at), line, source, feed.lines[line.index()].groups[0], datagram).unwrap();
        }
    }
    writer.finish(Nanos(2_000_000), &[0, 0]).unwrap();
    let run = |more: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_twinline"));
        let output = command.arg("arbitrate").args([&feed_file, &capture]).args(more).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let json: serde_json::Value = serde_json::from_str(&run(&["--json"])).unwrap();
    let [channel] = json["channels"].as_array().unwrap().as_slice() else { panic!("{json}") };
    assert_eq!((&channel["channel"], &channel["delivered"]), (&"0.3".into(), &4.into()));
    let line = &channel["lines"]["B"];
    assert_eq!((&line["malformed"], &line["malformed_reasons"]), (&0.into(), &serde_json::json!({})));
    assert_eq!((&json["malformed"]["A"]["header"], &json["malformed"]["B"]["header"]), (&0.into(), &4.into()));
    assert!(run(&[]).ends_with("\nmalformed datagrams\n  B          4 header\n"));
}
