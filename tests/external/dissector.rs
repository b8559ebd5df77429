//! What the publisher sends, read by a dissector that is not ours: tshark agrees on sessions, numbers, counts and messages.

use std::collections::BTreeMap;
use std::net::SocketAddrV4;
use std::path::Path;
use std::process::Command;

use twinline_core::Nanos;
use twinline_core::frame::{FrameKind, Line, Session};
use twinline_core::framing::{EurexEobi, Framing, MoldUdp64};
use twinline_node::capture::CaptureWriter;
use twinline_node::publisher::{LinePlan, Listed, Plan, PlanConfig, Rate};

use crate::support::feed::{parse, text, two_lines};
use crate::support::scratch::Scratch;
use crate::support::trials::{Test, tests};

pub const TESTS: &[Test] = tests![
    tshark_reads_moldudp64_as_it_was_sent,
    tshark_reads_eobi_as_it_was_sent,
    tshark_reads_what_the_capture_writer_writes,
];

/// One datagram as the plan has it.
struct Sent {
    port: u16,
    kind: FrameKind,
    first: u64,
    count: u32,
}

/// Publishes messages into a capture, heartbeats and the end among them.
fn published<F: Framing>(
    framing: F,
    session: Session,
    messages: Vec<Vec<u8>>,
    file: &Path,
    patch: impl Fn(&mut [u8]),
) -> Vec<Sent> {
    let groups = [("A", &["239.81.1.1:26400"]), ("B", &["239.81.2.1:26401"])];
    let feed = parse(&text("dissected", F::NAME, &groups.map(|(name, to)| (name, &to[..]))));
    let mut writer = CaptureWriter::create(file, &feed).unwrap();
    let pack = |min, max| if framing.packet_sequenced() { LinePlan::default() } else { LinePlan::packing(min, max) };
    let config = PlanConfig {
        session,
        rate: Rate::per_second(10.0, 5).unwrap(),
        lines: vec![pack(1, 4), pack(2, 3)],
        heartbeat: Some(Nanos::from_millis(100)),
        ..PlanConfig::default()
    };
    let mut plan = Plan::new(framing, config, Listed::new(messages)).unwrap();
    let (mut sent, mut end) = (Vec::new(), Nanos::ZERO);
    while let Some(datagram) = plan.next_planned().unwrap() {
        end = Nanos::from_secs(1_763_130_600) + datagram.due;
        let from = SocketAddrV4::new([127, 0, 0, 1].into(), 40_000);
        let to = feed.lines[datagram.line.index()].groups[0];
        let mut bytes = datagram.bytes.to_vec();
        patch(&mut bytes);
        writer.write(end, datagram.line, from, to, &bytes).unwrap();
        sent.push(Sent { port: to.port(), kind: datagram.kind, first: datagram.first, count: datagram.count });
    }
    writer.finish(end, &[]).unwrap();
    assert!(sent.iter().any(|datagram| datagram.kind == FrameKind::Heartbeat), "there are heartbeats among them");
    sent
}

/// The rows that tshark gives for these fields of a protocol, several values of one apart by a `|`.
fn dissected(file: &Path, protocol: &str, fields: &[&str]) -> Vec<Vec<String>> {
    let mut command = Command::new("tshark");
    command.args(["-n", "--enable-protocol", protocol]).arg("-r").arg(file);
    for port in [26_400, 26_401] {
        command.arg("-d").arg(format!("udp.port=={port},{protocol}"));
    }
    command.args(["-T", "fields", "-E", "separator=;", "-E", "aggregator=|", "-e", "udp.dstport"]);
    for field in fields {
        command.arg("-e").arg(field);
    }
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().map(|row| row.split(';').map(str::to_owned).collect()).collect()
}

fn number(text: &str) -> u64 {
    match text.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16).unwrap(),
        None => text.parse().unwrap_or_else(|_| panic!("{text:?} is a number")),
    }
}

fn messages() -> Vec<Vec<u8>> {
    (0..40u8).map(|n| (0..5 + n % 9).map(|i| n ^ i << 4).collect()).collect()
}

fn tshark_reads_moldudp64_as_it_was_sent() {
    let scratch = Scratch::new("dissected-mold");
    let file = scratch.file("a.pcapng");
    let session = Session::text(b"TWIN000001");
    let sent = published(MoldUdp64, session, messages(), &file, |_| ());
    let fields = ["session", "sequence", "count", "msgseq", "msglen", "msgdata"].map(|f| format!("moldudp64.{f}"));
    let rows = dissected(&file, "moldudp64", &fields.each_ref().map(String::as_str));
    assert_eq!(rows.len(), sent.len());
    let mut read: [BTreeMap<u64, Vec<u8>>; 2] = Default::default();
    for (row, sent) in rows.iter().zip(&sent) {
        let [port, session, sequence, count, seqs, lens, data] = row.as_slice() else { panic!("{row:?}") };
        assert_eq!((number(port), session.as_str()), (u64::from(sent.port), "TWIN000001"));
        assert_eq!(number(sequence), sent.first, "{row:?}");
        let counted = match sent.kind {
            FrameKind::EndOfSession => 65_535,
            FrameKind::Heartbeat => 0,
            _ => u64::from(sent.count),
        };
        assert_eq!(number(count), counted, "{row:?}");
        if sent.count == 0 {
            continue;
        }
        let (seqs, lens, data) = (seqs.split('|'), lens.split('|'), data.split('|'));
        for (n, ((seq, len), hex)) in seqs.zip(lens).zip(data).enumerate() {
            let bytes = hex.replace(':', "");
            let bytes = (0..bytes.len() / 2).map(|i| u8::from_str_radix(&bytes[2 * i..2 * i + 2], 16).unwrap());
            let bytes: Vec<u8> = bytes.collect();
            assert_eq!((number(seq), number(len)), (sent.first + n as u64, bytes.len() as u64));
            read[usize::from(sent.port == 26_401)].insert(number(seq), bytes);
        }
    }
    for line in read {
        assert!(
            line.keys().copied().eq(1..41) && line.into_values().eq(messages()),
            "message for message, by each line"
        );
    }
}

fn tshark_reads_eobi_as_it_was_sent() {
    let scratch = Scratch::new("dissected-eobi");
    let file = scratch.file("a.pcapng");
    let framing = EurexEobi::default().with_key(7);
    // the header's template is another in each release: tshark 4.0 has that of 10.0
    let release_10 = |packet: &mut [u8]| packet[2..4].copy_from_slice(&13_005u16.to_le_bytes());
    let sent = published(framing, Session::NONE, vec![functional_heartbeat(); 30], &file, release_10);
    let fields = ["applseqnum", "partitionid", "bodylen", "applseqresetindicator"].map(|f| format!("eobi.{f}"));
    let rows = dissected(&file, "eobi", &fields.each_ref().map(String::as_str));
    assert_eq!(rows.len(), sent.len());
    for (row, sent) in rows.iter().zip(&sent) {
        let [port, sequence, partition, lens, reset] = row.as_slice() else { panic!("{row:?}") };
        assert_eq!((number(port), number(sequence)), (u64::from(sent.port), sent.first), "{row:?}");
        assert_eq!((number(partition), number(reset)), (7, 0), "{row:?}");
        // the packet header's own, then the message's
        assert_eq!(lens.split('|').next(), Some("32"), "{row:?}");
    }
}

/// A heartbeat of a product: length, template, and its last number.
fn functional_heartbeat() -> Vec<u8> {
    let mut message = vec![0; 16];
    message[0] = 16;
    message[2..4].copy_from_slice(&13_001u16.to_le_bytes());
    message
}

fn tshark_reads_what_the_capture_writer_writes() {
    let feed = two_lines("dissected", "moldudp64", "");
    let scratch = Scratch::new("dissected-write");
    let path = scratch.file("a.pcapng");
    let mut writer = CaptureWriter::create(&path, &feed).unwrap();
    for (n, line) in [(1_700_000_000_000_000_001, 0), (1_700_000_000_999_999_999, 1)] {
        let group = feed.lines[usize::from(line)].groups[0];
        writer.write(Nanos(n), Line(line), "10.0.0.1:5000".parse().unwrap(), group, b"odd").unwrap();
    }
    writer.finish(Nanos(1_700_000_001_000_000_007), &[0, 3]).unwrap();
    let fields = [
        "frame.time_epoch",
        "frame.interface_name",
        "ip.src",
        "ip.dst",
        "udp.srcport",
        "udp.dstport",
        "ip.checksum.status",
        "udp.checksum.status",
        "data.data",
    ];
    let output = Command::new("tshark")
        .args(["-o", "ip.check_checksum:TRUE", "-o", "udp.check_checksum:TRUE", "-T", "fields", "-r"])
        .arg(&path)
        .args(fields.iter().flat_map(|field| ["-e", field]))
        .output()
        .unwrap();
    assert_eq!(
        String::from_utf8_lossy(&output.stdout).replace('\t', " "),
        "1700000000.000000001 A 10.0.0.1 239.81.1.1 5000 26400 1 1 6f6464\n\
         1700000000.999999999 B 10.0.0.1 239.81.2.1 5000 26400 1 1 6f6464\n",
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}
