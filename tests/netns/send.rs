//! Frames by a packet socket, from one network namespace to ordinary sockets in another (`scripts/netns`).

use std::net::SocketAddrV4;
use std::process::{Command, Output};
use std::{fs, io};

use twinline_core::Nanos;
use twinline_core::frame::Line;
use twinline_node::capture::CaptureWriter;
use twinline_node::config::Feed;
use twinline_node::source::{Live, Source};
use twinline_node::wire::{SendBy, UdpWire, Wire};

use crate::support::feed::parse;
use crate::support::netns::Bed;
use crate::support::scratch::Scratch;
use crate::support::trials::{Test, tests};
use crate::support::wait_for;

pub const TESTS: &[Test] = tests![
    frames_are_heard_as_a_sockets_datagrams_are,
    auto_takes_frames_where_nobody_here_would_miss_them,
    an_interface_that_comes_back_is_used_again,
];
pub const TESTS_WITH_SETPRIV: &[Test] = tests![without_the_privilege_frames_are_refused_and_auto_takes_sockets,];

/// Line A with two groups, line B with two, one of them the other host's own address.
const FEED: &str = "name = \"bed\"\nframing = \"moldudp64\"\n\
                    [[line]]\nname = \"A\"\ngroups = [\"239.81.1.1:26400\", \"239.209.1.2:26401\"]\ninterface = \"a0\"\n\
                    [[line]]\nname = \"B\"\ngroups = [\"239.81.2.1:26400\", \"10.81.2.2:26401\"]\ninterface = \"b0\"\n";

fn feed() -> Feed {
    parse(FEED)
}

/// What came: line, group, payload; and who sent it.
type Seen = (usize, u16, Vec<u8>);

impl Bed {
    fn wire(&self, by: SendBy) -> UdpWire {
        self.on("pub", || UdpWire::open_by(&feed(), by).unwrap())
    }

    /// Sends from the publisher's side, as a thread there would.
    fn send(&self, wire: &mut UdpWire, line: u8, datagrams: &[(u16, Vec<u8>)]) -> (usize, io::Result<()>) {
        let datagrams: Vec<(u16, &[u8])> = datagrams.iter().map(|(group, payload)| (*group, &payload[..])).collect();
        self.on("pub", || wire.send_line(Line(line), &datagrams))
    }

    /// Waits until all was heard.
    fn heard(&self, live: &mut Live, count: usize) -> Vec<(SocketAddrV4, Seen)> {
        let mut seen = Vec::new();
        wait_for(&format!("{count} datagrams"), || {
            live.poll(&mut |d| seen.push((d.source, (d.line.index(), d.group, d.payload.to_vec())))).unwrap();
            seen.len() >= count
        });
        seen
    }

    /// The program on the publisher's side; without CAP_NET_RAW, if asked for.
    fn twinline(&self, privileged: bool, arguments: &[&str]) -> Output {
        let drop = ["setpriv", "--bounding-set=-net_raw", "--inh-caps=-net_raw"];
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/netns");
        let mut command = Command::new(script);
        command.args(["-p", &self.prefix, "exec", "pub"]).args(if privileged { &[][..] } else { &drop });
        command.arg(env!("CARGO_BIN_EXE_twinline")).args(arguments).output().unwrap()
    }
}

/// Payloads of every length that matters, some too long for a frame of 1,500 bytes.
fn datagrams(count: usize) -> Vec<(u16, Vec<u8>)> {
    let mut rng = fastrand::Rng::with_seed(3);
    let lengths = [0, 1, 2, 3, 64, 1_471, 1_472, 1_473, 3_000];
    let one = |n: usize| {
        let len = if n < lengths.len() { lengths[n] } else { rng.usize(..200) };
        ((n % 2) as u16, std::iter::repeat_with(|| rng.u8(..)).take(len).collect())
    };
    (0..count).map(one).collect()
}

fn taken(wire: &UdpWire) -> Vec<(bool, Option<String>)> {
    wire.choices().map(|taken| (taken.packet, taken.why.clone())).collect()
}

fn frames_are_heard_as_a_sockets_datagrams_are() {
    let bed = Bed::up("fr");
    let (mut live, _watch) = bed.live("recv", &feed());
    for by in [SendBy::Packet, SendBy::Socket] {
        let mut wire = bed.wire(by);
        // more than one system call's
        let all = datagrams(150);
        // the other host's own address must be resolved first: what waits for that has little room in the kernel
        bed.on("pub", || wire.send(Line(1), 1, b"first")).unwrap();
        assert_eq!(bed.heard(&mut live, 1)[0].1, (1, 1, b"first".to_vec()));
        let before = [0, 1].map(|line| wire.facts(Line(line)).datagrams);
        for line in 0..2_u8 {
            let (sent, result) = bed.send(&mut wire, line, &all);
            result.unwrap();
            assert_eq!(sent, all.len());
            let seen = bed.heard(&mut live, all.len());
            for group in 0..2 {
                let expected: Vec<&Vec<u8>> = all.iter().filter(|one| one.0 == group).map(|one| &one.1).collect();
                let of: Vec<_> = seen.iter().filter(|(_, seen)| seen.1 == group).collect();
                // short and long ones, in their order
                assert!(of.iter().map(|(_, seen)| &seen.2).eq(expected), "{by:?} line {line} group {group}");
                let from = of[0].0;
                assert_eq!(from.ip().octets(), [10, 81, line + 1, 1]);
                assert!(of.iter().all(|(sender, seen)| *sender == from && seen.0 == usize::from(line)));
            }
            let facts = wire.facts(Line(line));
            let sent = facts.datagrams - before[usize::from(line)];
            assert_eq!((sent, facts.unreachable, facts.full), (150, 0, 0));
        }
        // one by one, too
        bed.on("pub", || wire.send(Line(0), 1, b"alone")).unwrap();
        assert_eq!(bed.heard(&mut live, 1)[0].1, (0, 1, b"alone".to_vec()));
    }
}

fn auto_takes_frames_where_nobody_here_would_miss_them() {
    let bed = Bed::up("auto");
    let wire = bed.wire(SendBy::Auto);
    let faster = "faster, and no socket of this host has joined".to_owned();
    let but = format!("{faster}, but for its unicast addresses");
    assert_eq!(taken(&wire), [(true, Some(faster)), (true, Some(but))]);
    let wire = bed.wire(SendBy::Packet);
    assert_eq!(taken(&wire), [(true, None), (true, Some("but for its unicast addresses".to_owned()))]);
    // whoever listens on the same host does not hear frames
    let elsewhere = parse(&FEED.replace("10.81.2.2", "239.81.2.2"));
    let _here = bed.live("pub", &elsewhere);
    let wire = bed.wire(SendBy::Auto);
    let why = |group: &str| Some(format!("a socket of this host has joined {group}, and would not hear frames"));
    assert_eq!(taken(&wire), [(false, why("239.81.1.1")), (false, why("239.81.2.1"))]);
}

fn an_interface_that_comes_back_is_used_again() {
    let bed = Bed::up("back");
    let mut wire = bed.wire(SendBy::Packet);
    let one = [(0, b"x".to_vec())];
    bed.run(&["link", "a", "down"]);
    let (sent, result) = bed.send(&mut wire, 0, &one);
    assert_eq!((sent, result.unwrap_err().raw_os_error()), (0, Some(libc::ENETUNREACH)));
    bed.send(&mut wire, 1, &one).1.unwrap();
    bed.run(&["link", "a", "up"]);
    wait_for("the link", || bed.send(&mut wire, 0, &one).1.is_ok());

    bed.run(&["nic", "a", "delete"]);
    wait_for("the interface is gone", || bed.send(&mut wire, 0, &one).1.is_err());
    bed.run(&["nic", "a", "create"]);
    let (mut live, _watch) = bed.live("recv", &feed());
    let mut heard = false;
    wait_for("the interface is used again", || {
        let _ = bed.send(&mut wire, 0, &one);
        live.poll(&mut |d| heard |= d.line == Line(0) && d.payload == b"x").unwrap();
        heard
    });
}

fn without_the_privilege_frames_are_refused_and_auto_takes_sockets() {
    let bed = Bed::up("cap");
    let scratch = Scratch::new("netns-send");
    let [feed_file, capture] = ["feed.toml", "a.pcapng"].map(|name| scratch.file(name).to_string_lossy().into_owned());
    fs::write(&feed_file, FEED).unwrap();
    let feed = feed();
    let mut writer = CaptureWriter::create(std::path::Path::new(&capture), &feed).unwrap();
    let source = "10.0.0.9:5000".parse().unwrap();
    for n in 0..20 {
        let line = n as usize % 2;
        writer.write(Nanos(n), Line(line as u8), source, feed.lines[line].groups[0], b"payload").unwrap();
    }
    writer.finish(Nanos(20), &[]).unwrap();
    let replay = |privileged, how: &[&str]| {
        let output = bed.twinline(privileged, &[&["replay", &feed_file, &capture, "--json"], how].concat());
        (output.status.code(), String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap())
    };
    let flat_out = ["--speed", "max"];
    for (privileged, how, by, reason) in [
        (true, &flat_out[..], "packet", Some("faster, and no socket of this host has joined")),
        (true, &["--send", "packet"], "packet", None),
        (true, &[], "socket", None),
        (false, &flat_out[..], "socket", Some("sending frames on a0 needs the capability CAP_NET_RAW")),
        (false, &["--speed", "max", "--send", "socket"], "socket", None),
    ] {
        let (code, out, err) = replay(privileged, how);
        assert_eq!(code, Some(0), "{how:?}: {err}");
        let report: serde_json::Value = serde_json::from_str(&out).unwrap();
        let line = &report["lines"]["A"];
        assert_eq!((line["sent_by"].as_str(), line["datagrams"].as_u64()), (Some(by), Some(10)), "{how:?}");
        let said = line["sent_by_reason"].as_str();
        assert!(said == reason || said.unwrap().starts_with(reason.unwrap()), "{how:?}: {said:?}");
        assert_eq!(reason.is_some(), err.contains("line A: sent "), "{how:?}: {err}");
    }
    let (code, _, err) = replay(false, &["--send", "packet"]);
    assert_eq!(code, Some(1), "{err}");
    assert!(
        err.starts_with("twinline: line A: sending frames on a0 needs the capability CAP_NET_RAW: run as root"),
        "{err}"
    );
}
