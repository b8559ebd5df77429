//! Captures on the wire again: what leaves is what is in the file, in its order, at its times; and what is published out of a
//! capture is what an arbiter makes of it.

use std::io::{self, Read};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::{Arc, Mutex};
use std::{fs, thread};

use flate2::Compression;
use flate2::write::GzEncoder;
use twinline_core::Nanos;
use twinline_core::frame::{Line, Session};
use twinline_core::framing::{CmeMdp3, Framing, MoldUdp64};
use twinline_node::capture::{CaptureReader, CaptureWriter, Captures};
use twinline_node::config::Feed;
use twinline_node::os::{Clock, Stop};
use twinline_node::publisher::{CapturedMessages, MessageSource, Timing};
use twinline_node::replay::{ReplayReport, ReplaySettings, Speed, replay};
use twinline_node::wire::{UdpWire, Wire};

use crate::support::feed::{group, parse as feed_of, text as feed_text};
use crate::support::scratch::Scratch;
use crate::support::wire::{Seen, arbitrated, of_line, open, receive, sample, two_lines_text};

/// Lines A and B, one group each.
fn two_lines() -> Feed {
    feed_of(&two_lines_text("test", "moldudp64"))
}

fn twinline(args: &[&dyn AsRef<std::ffi::OsStr>]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_twinline")).args(args.iter().map(|arg| arg.as_ref())).output().unwrap()
}

fn told(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Datagrams for the lines and groups of a feed, of many sizes and with nothing of a framing in them.
fn datagrams(feed: &Feed, count: usize) -> Vec<Seen> {
    let mut rng = fastrand::Rng::with_seed(5);
    let one = |n: usize| {
        let line = rng.usize(..feed.lines.len());
        let group = rng.usize(..feed.lines[line].groups.len()) as u16;
        let len = if n.is_multiple_of(10) { 0 } else { rng.usize(..1_200) };
        (line, group, std::iter::repeat_with(|| rng.u8(..)).take(len).collect())
    };
    (0..count).map(one).collect()
}

/// A capture of these datagrams, `step` apart.
fn capture(path: &Path, feed: &Feed, datagrams: &[Seen], step: Nanos) {
    let mut writer = CaptureWriter::create(path, feed).unwrap();
    let source = SocketAddrV4::new(Ipv4Addr::new(10, 0, 0, 9), 5_000);
    let mut stamp = Nanos::from_secs(1_700_000_000);
    for (line, group, payload) in datagrams {
        stamp = stamp + step;
        let to = feed.lines[*line].groups[usize::from(*group)];
        writer.write(stamp, Line(*line as u8), source, to, payload).unwrap();
    }
    writer.finish(stamp, &[]).unwrap();
}

fn settings(feed: &Feed, speed: Speed) -> ReplaySettings {
    ReplaySettings::new(feed.lines.len(), speed)
}

/// Replays on a wire in memory.
fn onto(wire: &mut impl Wire, captures: Captures, settings: ReplaySettings) -> ReplayReport {
    let (report, result) = replay(captures, wire, settings, Clock::start(), &Stop::new(), |_| ());
    result.unwrap();
    report
}

/// Keeps what is sent, and when; may fail, and may ask for a stop after so many.
struct Kept {
    sent: Vec<(Nanos, Seen)>,
    clock: Clock,
    fails: Option<(Line, i32)>,
    stop_after: Option<(usize, Stop)>,
}

impl Kept {
    fn new() -> Kept {
        Kept { sent: Vec::new(), clock: Clock::start(), fails: None, stop_after: None }
    }

    fn seen(&self) -> Vec<Seen> {
        self.sent.iter().map(|(_, seen)| seen.clone()).collect()
    }
}

impl Wire for Kept {
    fn send(&mut self, line: Line, group: u16, datagram: &[u8]) -> io::Result<()> {
        if let Some((failing, code)) = self.fails
            && failing == line
        {
            return Err(io::Error::from_raw_os_error(code));
        }
        self.sent.push((self.clock.now(), (line.index(), group, datagram.to_vec())));
        if let Some((after, stop)) = &self.stop_after
            && self.sent.len() >= *after
        {
            stop.request();
        }
        Ok(())
    }
}

#[test]
fn at_recorded_times_all_leaves_in_the_order_of_the_file_and_never_early() {
    let scratch = Scratch::new("replay-timed");
    let feed = two_lines();
    let all = datagrams(&feed, 600);
    let step = Nanos::from_micros(100);
    let path = scratch.file("a.pcapng");
    capture(&path, &feed, &all, step);
    let mut wire = Kept::new();
    let began = wire.clock.now();
    let report = onto(&mut wire, open(&path, &feed), settings(&feed, Speed::Times(2.0)));
    assert_eq!(wire.seen(), all);
    for (n, (at, _)) in wire.sent.iter().enumerate() {
        assert!(*at - began >= Nanos(n as u64 * step.0 / 2), "datagram {n} left before its time");
    }
    assert_eq!((report.datagrams(), report.failed(), report.lateness.len()), (600, 0, 600));
    assert_eq!(report.bytes(), all.iter().map(|seen| seen.2.len() as u64).sum::<u64>());
    assert_eq!((report.recorded, report.planned), (Nanos(599 * step.0), Some(Nanos(599 * step.0 / 2))));
    assert!(report.elapsed >= Nanos(599 * step.0 / 2) && report.drift().is_some());
}

#[test]
fn flat_out_all_leaves_in_the_order_of_each_line() {
    let scratch = Scratch::new("replay-max");
    let groups = |n| (0..n).map(|_| group()).collect::<Vec<_>>();
    let feed = feed_of(&feed_text("test", "moldudp64", &[("A", &groups(3)), ("B", &groups(3)), ("C", &groups(3))]));
    let all = datagrams(&feed, 2_000);
    let path = scratch.file("a.pcapng");
    // a day long: nobody waits for it
    capture(&path, &feed, &all, Nanos::from_secs(43));
    let mut wire = Kept::new();
    let report = onto(&mut wire, open(&path, &feed), settings(&feed, Speed::Max));
    let sent = wire.seen();
    for line in 0..3 {
        assert!(of_line(&sent, line) == of_line(&all, line), "line {line}");
    }
    assert_eq!((report.datagrams(), report.lateness.len(), report.drift()), (2_000, 0, None));
}

#[test]
fn stamps_that_go_back_change_no_order() {
    let scratch = Scratch::new("replay-back");
    let feed = two_lines();
    let path = scratch.file("a.pcapng");
    let mut writer = CaptureWriter::create(&path, &feed).unwrap();
    let source = SocketAddrV4::new(Ipv4Addr::new(10, 0, 0, 9), 5_000);
    for (n, micros) in [0, 900, 300, 1_000, 10].into_iter().enumerate() {
        let stamp = Nanos::from_secs(9) + Nanos::from_micros(micros);
        writer.write(stamp, Line(0), source, feed.lines[0].groups[0], &[n as u8]).unwrap();
    }
    writer.finish(Nanos::from_secs(10), &[]).unwrap();
    let mut wire = Kept::new();
    let report = onto(&mut wire, open(&path, &feed), settings(&feed, Speed::Times(1.0)));
    let order: Vec<u8> = wire.sent.iter().map(|(_, seen)| seen.2[0]).collect();
    assert_eq!((order, report.read.stamps_raised), (vec![0, 1, 2, 3, 4], 2));
    assert_eq!(report.recorded, Nanos::from_micros(1_000));
}

#[test]
fn what_is_not_sent_is_counted_by_its_kind() {
    let scratch = Scratch::new("replay-fails");
    let feed = two_lines();
    let all = datagrams(&feed, 300);
    let path = scratch.file("a.pcapng");
    capture(&path, &feed, &all, Nanos(10));
    for speed in [Speed::Max, Speed::Times(1.0)] {
        let mut wire = Kept { fails: Some((Line(1), libc::ENETDOWN)), ..Kept::new() };
        let report = onto(&mut wire, open(&path, &feed), settings(&feed, speed));
        assert_eq!(wire.seen(), of_line(&all, 0));
        let b = of_line(&all, 1).len() as u64;
        assert_eq!((report.lines[1].unreachable, report.failed(), report.datagrams()), (b, b, 300 - b));
    }
    let mut wire = Kept { fails: Some((Line(1), libc::EBADF)), ..Kept::new() };
    let captures = open(&path, &feed);
    let (report, result) =
        replay(captures, &mut wire, settings(&feed, Speed::Max), Clock::start(), &Stop::new(), |_| ());
    assert!(result.unwrap_err().to_string().starts_with("cannot send on line 1"));
    assert_eq!(report.datagrams(), wire.sent.len() as u64);
}

#[test]
fn a_stop_and_a_limit_end_it() {
    let scratch = Scratch::new("replay-stop");
    let feed = two_lines();
    let all = datagrams(&feed, 50);
    let path = scratch.file("a.pcapng");
    capture(&path, &feed, &all, Nanos::from_secs(3_600));
    let clock = Clock::start();
    let stop = Stop::new();
    let mut wire = Kept { stop_after: Some((1, stop.clone())), ..Kept::new() };
    let (report, result) =
        replay(open(&path, &feed), &mut wire, settings(&feed, Speed::Times(1.0)), clock, &stop, |_| ());
    result.unwrap();
    assert!(report.stopped && report.datagrams() == 1);

    let limit = Some(Nanos::from_millis(20));
    let mut settings = settings(&feed, Speed::Times(1.0));
    settings.limit = limit;
    let report = onto(&mut Kept::new(), open(&path, &feed), settings);
    assert!(report.limited && !report.stopped && report.datagrams() == 1);
}

/// A capture without an end, which counts what is read of it.
struct Endless {
    record: Vec<u8>,
    at: usize,
    read: Arc<Mutex<u64>>,
}

impl Read for Endless {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let n = into.len().min(self.record.len() - self.at);
        into[..n].copy_from_slice(&self.record[self.at..self.at + n]);
        self.at += n;
        if self.at == self.record.len() {
            // behind the file's header records follow each other
            self.at = 24;
        }
        *self.read.lock().unwrap() += n as u64;
        Ok(n)
    }
}

#[test]
fn no_more_is_read_ahead_than_a_little() {
    let feed = two_lines();
    let mut record: Vec<u8> =
        vec![0xd4, 0xc3, 0xb2, 0xa1, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0, 101, 0, 0, 0];
    let to = feed.lines[0].groups[0];
    let mut packet = Vec::new();
    let builder = etherparse::PacketBuilder::ipv4([10, 0, 0, 1], to.ip().octets(), 16).udp(5_000, to.port());
    builder.write(&mut packet, &[7; 1_000]).unwrap();
    for field in [1, 0, packet.len() as u32, packet.len() as u32] {
        record.extend(field.to_le_bytes());
    }
    record.extend(packet);
    let read = Arc::new(Mutex::new(0));
    let reader = CaptureReader::from_read(Endless { record, at: 0, read: Arc::clone(&read) }).unwrap();
    let captures = Captures::from_readers(vec![(None, reader)], &feed).unwrap();
    let stop = Stop::new();
    let mut wire = Stuck { sent: 0, read, stop: stop.clone() };
    let (report, result) = replay(captures, &mut wire, settings(&feed, Speed::Max), Clock::start(), &stop, |_| ());
    result.unwrap();
    assert!(report.stopped && report.datagrams() > 5_000);
}

/// A wire that gets stuck after 5,000 datagrams, until nothing more is read.
struct Stuck {
    sent: u64,
    read: Arc<Mutex<u64>>,
    stop: Stop,
}

impl Wire for Stuck {
    fn send(&mut self, _: Line, _: u16, datagram: &[u8]) -> io::Result<()> {
        self.sent += 1;
        if self.sent == 5_000 {
            let sent = self.sent * datagram.len() as u64;
            let clock = Clock::start();
            let (mut last, mut since) = (0, clock.now());
            while clock.now() - since < Nanos::from_millis(100) {
                let read = *self.read.lock().unwrap();
                assert!(read < sent * 11 / 10 + (4 << 20), "{read} bytes read for {sent} sent");
                if read != last {
                    (last, since) = (read, clock.now());
                }
                thread::yield_now();
            }
            self.stop.request();
        }
        Ok(())
    }
}

#[test]
fn a_capture_comes_back_over_the_wire_as_it_was() {
    let feed = two_lines();
    let scratch = Scratch::new("replay-wire");
    // few enough that the smallest buffers hold them all, whoever gets the core
    let all = datagrams(&feed, 120);
    let path = scratch.file("a.pcapng");
    capture(&path, &feed, &all, Nanos::from_micros(50));
    for speed in [Speed::Times(1.0), Speed::Max] {
        let seen = receive(&feed, all.len(), || {
            let report = onto(&mut UdpWire::open(&feed).unwrap(), open(&path, &feed), settings(&feed, speed));
            assert_eq!((report.datagrams(), report.failed()), (120, 0));
        });
        assert_eq!(seen.len(), all.len());
        for line in 0..2 {
            assert!(of_line(&seen, line) == of_line(&all, line), "{speed:?}, line {line}");
        }
    }
}

#[test]
fn the_program_sends_each_line_where_the_other_feed_has_it() {
    let scratch = Scratch::new("replay-to");
    let from = two_lines();
    let text = feed_text("lab", "moldudp64", &[("B", &[group()]), ("A", &[group()])]);
    let mut to = feed_of(&text);
    to.lines.reverse();
    let to_file = scratch.write("lab.toml", &text);
    let groups = |line: usize| from.lines[line].groups.clone();
    let from_file = scratch.write("day.toml", feed_text("day", "moldudp64", &[("A", &groups(0)), ("B", &groups(1))]));
    let all = datagrams(&from, 120);
    let plain = scratch.file("a.pcapng");
    capture(&plain, &from, &all, Nanos::from_micros(20));
    let zipped = scratch.file("a.pcapng.gz");
    let mut encoder = GzEncoder::new(fs::File::create(&zipped).unwrap(), Compression::default());
    io::copy(&mut fs::File::open(&plain).unwrap(), &mut encoder).unwrap();
    encoder.finish().unwrap();
    for (capture, speed) in [(&plain, "max"), (&zipped, "10")] {
        let seen = receive(&to, all.len(), || {
            let output = twinline(&[&"replay", &from_file, capture, &"--to", &to_file, &"--speed", &speed, &"--json"]);
            assert!(output.status.success(), "{}", told(&output));
            let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
            assert_eq!((report["to"].as_str(), report["datagrams"].as_u64()), (Some("lab"), Some(120)));
            let a = of_line(&all, 0);
            assert_eq!(report["lines"]["A"]["datagrams"].as_u64(), Some(a.len() as u64));
            assert_eq!(report["lines"]["A"]["bytes"].as_u64(), Some(a.iter().map(|seen| seen.2.len() as u64).sum()));
            assert_eq!(report["planned_ns"].is_null(), speed == "max");
            assert!(told(&output).contains("120 datagrams, "), "{}", told(&output));
        });
        for line in 0..2 {
            assert!(of_line(&seen, line) == of_line(&all, line), "speed {speed}, line {line}");
        }
    }
}

#[test]
fn what_cannot_be_replayed_is_told() {
    let scratch = Scratch::new("replay-told");
    let from = two_lines();
    let from_text = |name: &str, a: &str, groups: Vec<SocketAddrV4>| {
        feed_text(name, "moldudp64", &[(a, &groups), ("B", &from.lines[1].groups)])
    };
    let feed = scratch.write("day.toml", from_text("day", "A", from.lines[0].groups.clone()));
    let other = scratch.write("lab.toml", from_text("lab", "X", vec![group()]));
    let elsewhere = scratch.write("else.toml", feed_text("else", "moldudp64", &[("A", &[group()])]));
    let nowhere = from_text("day", "A", vec![group()]).replacen("127.0.0.1\"\n", "no-such-nic\"\n", 1);
    let nowhere = scratch.write("nowhere.toml", &nowhere);
    let path = scratch.file("a.pcapng");
    capture(&path, &from, &datagrams(&from, 3), Nanos(1));
    for (args, code, said) in [
        (vec![&feed, &path, &PathBuf::from("--to"), &other], 2, "lab has the lines X, B and day has A, B"),
        (vec![&elsewhere, &path], 1, "no datagram of else was in the captures: 3 were for other groups"),
        (vec![&nowhere, &path], 1, "no interface no-such-nic"),
        (vec![&feed, &PathBuf::from("no.pcap")], 2, "cannot open the capture no.pcap"),
        (vec![&feed, &path, &PathBuf::from("--speed=0")], 2, "expected a number from 0.000001"),
        (vec![&feed], 2, "<CAPTURE>"),
    ] {
        let mut all: Vec<&dyn AsRef<std::ffi::OsStr>> = vec![&"replay"];
        all.extend(args.iter().map(|arg| arg as &dyn AsRef<std::ffi::OsStr>));
        let output = twinline(&all);
        assert_eq!(output.status.code(), Some(code), "{}", told(&output));
        assert!(told(&output).contains(said), "{}", told(&output));
    }
}

#[test]
fn the_report_has_how_late_each_datagram_was_and_by_what_it_left() {
    let scratch = Scratch::new("replay-json");
    let groups = [group(), group()];
    let text = feed_text("day", "moldudp64", &[("A", &[groups[0]]), ("B", &[groups[1]])]);
    let (feed, file) = (feed_of(&text), scratch.write("day.toml", &text));
    let path = scratch.file("a.pcapng");
    capture(&path, &feed, &datagrams(&feed, 1_000), Nanos::from_micros(20));
    let report = |speed: &str| -> (serde_json::Value, String) {
        let output = twinline(&[&"replay", &file, &path, &"--speed", &speed, &"--json"]);
        assert!(output.status.success(), "{}", told(&output));
        (serde_json::from_slice(&output.stdout).unwrap(), told(&output))
    };
    let (timed, said) = report("1");
    let late = &timed["lateness_ns"];
    assert_eq!(late["count"].as_u64(), Some(1_000));
    let keys = ["p50", "p90", "p99", "p99_9", "p99_99", "max"].map(|key| late[key].as_u64().expect(key));
    assert!(keys.is_sorted() && timed["drift_ns"].is_i64() && timed["drift_ns_per_second"].is_f64(), "{timed}");
    assert!(said.contains("late by: p50 ") && said.contains(", p90 ") && said.contains("ns per second"), "{said}");
    let by = |report: &serde_json::Value| report["lines"]["B"]["sent_by"].as_str().unwrap().to_owned();
    assert!(by(&timed) == "socket" && timed["lines"]["B"]["sent_by_reason"].is_null() && !said.contains("sent by"));
    // loopback takes no frames, whoever asks
    let (flat_out, said) = report("max");
    assert!(by(&flat_out) == "socket" && flat_out["lateness_ns"].is_null() && flat_out["drift_ns"].is_null());
    assert!(said.contains("line A: sent by sockets: frames sent on 127.0.0.1 reach no socket"), "{said}");
    let output = twinline(&[&"replay", &file, &path, &"--send", &"packet"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(told(&output).contains("line A: frames sent on 127.0.0.1 reach no socket"), "{}", told(&output));
}

/// All messages of a source, with their times.
fn read_all(source: &mut impl MessageSource) -> (Vec<Vec<u8>>, Vec<Nanos>, Vec<String>) {
    let (mut messages, mut times, mut warnings, mut message) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    while let Some(timing) = source.next(&mut message).unwrap() {
        let Timing::Recorded(at) = timing else { panic!("{timing:?}") };
        messages.push(message.clone());
        times.push(at);
    }
    while let Some(warning) = source.warning() {
        warnings.push(warning.to_string());
    }
    (messages, times, warnings)
}

#[test]
fn what_is_published_out_of_a_capture_is_what_an_arbiter_makes_of_it() {
    let feed = Feed::load(sample("loopback.toml")).unwrap();
    let path = sample("samples/moldudp64.pcapng.gz");
    let expected = arbitrated(MoldUdp64, &feed, open(&path, &feed));
    let (messages, times, warnings) = read_all(&mut CapturedMessages::new(MoldUdp64, &feed, open(&path, &feed), 0));
    assert!(messages == expected && messages.len() > 1_900);
    assert!(times[0] == Nanos::ZERO && times.is_sorted());
    assert!(times.last().unwrap().abs_diff(Nanos::from_millis(100)) < Nanos::from_millis(2), "{:?}", times.last());
    let lost = format!("{} messages are on no line of the capture", 2_000 - messages.len());
    assert!(warnings[0].starts_with(&lost) && warnings.len() == 1, "{warnings:?}");
}

#[test]
fn one_channel_of_several_is_published_and_the_others_are_told() {
    let scratch = Scratch::new("replay-channels");
    let feed = feed_of(&feed_text("test", "moldudp64", &[("A", &[group(), group()])]));
    let mut all = Vec::new();
    for n in 1..=20u64 {
        for group in 0..2u16 {
            let mut datagram = Vec::new();
            let message = format!("{group}:{n}");
            MoldUdp64.encode(Session::text(b"S"), n, &[message.as_bytes()], 1_400, &mut datagram);
            all.push((0, group, datagram));
        }
    }
    let path = scratch.file("a.pcapng");
    capture(&path, &feed, &all, Nanos::from_micros(1));
    let (messages, _, warnings) = read_all(&mut CapturedMessages::new(MoldUdp64, &feed, open(&path, &feed), 1));
    let expected: Vec<Vec<u8>> = (1..=20).map(|n| format!("1:{n}").into_bytes()).collect();
    assert_eq!(messages, expected);
    assert!(warnings[0].contains("20 messages of other channels than that of group 1"), "{warnings:?}");
}

#[test]
fn the_program_publishes_a_capture_of_another_feed() {
    let scratch = Scratch::new("replay-publish");
    let text = two_lines_text("lab", "cme-mdp3");
    let (feed, to) = (feed_of(&text), scratch.write("lab.toml", &text));
    let day = Feed::load(sample("cme-mdp3.toml")).unwrap();
    let (path, day_file) = (sample("samples/cme-mdp3.pcapng"), sample("cme-mdp3.toml"));
    let expected = arbitrated(CmeMdp3, &day, open(&path, &day));
    let seen = receive(&feed, 2 * expected.len(), || {
        let output = twinline(&[&"publish", &to, &"--capture", &path, &"--capture-feed", &day_file, &"--json"]);
        assert!(output.status.success(), "{}", told(&output));
        let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(report["messages"].as_u64(), Some(expected.len() as u64));
        // as recorded: eight bursts, one each 40 ms
        assert!(report["elapsed_ns"].as_u64() > Some(280_000_000), "{report}");
        assert!(told(&output).contains("on no line of the capture"), "{}", told(&output));
    });
    for line in 0..2 {
        let frames = of_line(&seen, line).into_iter().map(|(_, _, datagram)| datagram);
        let messages: Vec<Vec<u8>> =
            frames.map(|datagram| CmeMdp3.frame(&datagram, &mut 0).unwrap().unwrap().body.to_vec()).collect();
        assert!(messages == expected, "line {line}");
    }
    let output = twinline(&[&"publish", &to, &"--capture", &path, &"--seconds", &"1"]);
    assert!(told(&output).contains("--capture-feed"), "{}", told(&output));
}
