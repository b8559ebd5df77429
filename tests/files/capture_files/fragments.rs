//! IPv4 fragments in captures: put together, kept apart, given up under a reason; and arbitrated as if they had come whole.

use std::process::Command;

use serde_json::Value;
use twinline_core::frame::Session;
use twinline_core::framing::{Framing, MoldUdp64};
use twinline_node::capture::RecordCounts;
use twinline_node::ip::{DATAGRAMS_IN_FLIGHT, UnusedFragments};

use super::build::{File, all, brief, ethernet, fragments, gzip, raw, reader, zstd};
use crate::support::feed::text;
use crate::support::scratch::Scratch;

const NANOS: u32 = 0xa1b2_3c4d;
const SECOND: u64 = 1_000_000_000;

/// The raw packets of a pcapng file: interface, stamp, packet.
fn file(packets: &[(u32, u64, Vec<u8>)]) -> File {
    let mut file = File::pcapng(false);
    file.interface(101, 0, "A", Some(9), None);
    file.interface(101, 0, "B", Some(9), None);
    for (interface, stamp, packet) in packets {
        file.enhanced(*interface, *stamp, packet);
    }
    file
}

/// A datagram in three pieces.
fn three(id: u16, text: &str) -> [Vec<u8>; 3] {
    assert_eq!(text.len(), 40, "with the header, six units");
    fragments(&raw(1, text.as_bytes()), id, 2).try_into().unwrap_or_else(|all: Vec<_>| panic!("{all:?}"))
}

fn unused(reader: &twinline_node::capture::CaptureReader) -> UnusedFragments {
    reader.counts().unused
}

#[test]
fn a_datagram_comes_when_its_last_fragment_does_whatever_the_order() {
    for order in [[0, 1, 2], [2, 1, 0], [1, 2, 0]] {
        let pieces = three(9, "in pieces, not in order. and sixteen on.");
        let between = (0, 25, raw(2, b"between"));
        let mut packets: Vec<_> = (0..).zip(order).map(|(n, at)| (0, 10 + 10 * n, pieces[at].clone())).collect();
        packets.insert(2, between);
        let file = file(&packets);
        let mut whole = reader(&file.bytes);
        let (kept, _) = all(&mut whole);
        assert_eq!(brief(&kept), [(25, 2, "between"), (30, 1, "in pieces, not in order. and sixteen on.")]);
        assert_eq!(kept[1].1.as_deref(), Some("A"));
        let counts = RecordCounts { records: 4, datagrams: 2, reassembled: 1, fragments: 3, ..RecordCounts::default() };
        assert_eq!(whole.counts(), counts);
        // a file that ends before the last piece has all but that datagram
        let mut cut = reader(&file.bytes[..file.ends[2]]);
        assert_eq!(brief(&all(&mut cut).0), [(25, 2, "between")]);
        assert_eq!(unused(&cut), UnusedFragments { incomplete: 2, ..UnusedFragments::default() });
    }
}

#[test]
fn fragments_of_different_interfaces_never_mix() {
    let (one, two) =
        (three(9, "one of interface zero... and sixteen on."), three(9, "two of interface one.... and sixteen on."));
    let mut packets = Vec::new();
    for n in 0..3 {
        packets.push((0, 10 + n as u64, one[n].clone()));
        packets.push((1, 10 + n as u64, two[n].clone()));
    }
    let (kept, _) = all(&mut reader(&file(&packets).bytes));
    assert_eq!(
        brief(&kept),
        [(12, 1, "one of interface zero... and sixteen on."), (12, 1, "two of interface one.... and sixteen on.")]
    );
    let names: Vec<_> = kept.iter().map(|(_, name, ..)| name.as_deref()).collect();
    assert_eq!(names, [Some("A"), Some("B")]);

    // one half here, one half there
    let split: Vec<_> = [0, 1, 0].into_iter().zip(one.clone()).map(|(at, piece)| (at, 1, piece)).collect();
    let mut apart = reader(&file(&split).bytes);
    assert_eq!(all(&mut apart).0, []);
    assert_eq!(unused(&apart), UnusedFragments { incomplete: 3, ..UnusedFragments::default() });

    // the same by VLAN, and by the interface that Linux cooked v2 names in each packet
    let cooked = |interface: u8, packet: &[u8]| {
        let mut out = vec![0x08, 0, 0, 0, 0, 0, 0, interface, 0, 1, 2, 6, 2, 0, 0, 0, 0, 1, 0, 0];
        out.extend(packet);
        out
    };
    let tagged = |vlan: u8, packet: &[u8]| {
        let mut out = ethernet(&[0x8100], packet);
        out[15] = vlan;
        out
    };
    for (link, behind) in [(276, &cooked as &dyn Fn(u8, &[u8]) -> Vec<u8>), (1, &tagged)] {
        let mut file = File::pcap(false, NANOS, link);
        for (one, two) in one.iter().zip(&two) {
            file.record(0, 1, &behind(3, one));
            file.record(0, 2, &behind(4, two));
        }
        let (kept, _) = all(&mut reader(&file.bytes));
        assert_eq!(
            brief(&kept),
            [(1, 1, "one of interface zero... and sixteen on."), (2, 1, "two of interface one.... and sixteen on.")]
        );
    }

    // another section numbers its interfaces afresh
    let mut sections = file(&[(0, 1, one[0].clone()), (0, 2, one[1].clone())]);
    sections.section(true, "");
    sections.interface(101, 0, "A", Some(9), None);
    sections.enhanced(0, 3, &one[2]);
    let mut sections = reader(&sections.bytes);
    assert_eq!(all(&mut sections).0, []);
    assert_eq!(unused(&sections), UnusedFragments { incomplete: 3, ..UnusedFragments::default() });
}

#[test]
fn what_is_given_up_is_counted_under_its_reason() {
    let none = UnusedFragments::default();
    let pieces = three(9, "three pieces, 24 letters and sixteen on.");
    let [first, second, last] = &pieces;
    let altered = |at: usize, xor: u8, packet: &[u8]| {
        let mut out = packet.to_vec();
        out[at] ^= xor;
        out
    };
    let longer = {
        // ends a unit later
        let mut out = last.clone();
        out[7] += 1;
        out
    };
    let mut odd = first[..first.len() - 1].to_vec();
    odd[3] -= 1;
    let at = |stamp: u64, packet: &[u8]| (0, stamp, packet.to_vec());
    let late = SECOND + 2;
    for (packets, expected, datagrams) in [
        (vec![at(1, first), at(1, first), at(1, second), at(1, last)], UnusedFragments { duplicate: 1, ..none }, 1),
        (vec![at(1, &odd)], UnusedFragments { malformed: 1, ..none }, 0),
        (vec![at(1, first), at(1, &altered(20, 1, first))], UnusedFragments { overlapping: 2, ..none }, 0),
        (vec![at(1, last), at(1, &longer)], UnusedFragments { inconsistent: 2, ..none }, 0),
        (vec![at(1, first), at(2, second), at(late, last)], UnusedFragments { expired: 2, incomplete: 1, ..none }, 0),
        // a second went by before the end, so it would not have come whole
        (vec![at(1, first), at(late, &raw(2, b"x"))], UnusedFragments { expired: 1, ..none }, 0),
        (vec![at(1, first), at(SECOND, &raw(2, b"x"))], UnusedFragments { incomplete: 1, ..none }, 0),
    ] {
        let mut reader = reader(&file(&packets).bytes);
        all(&mut reader);
        assert_eq!((unused(&reader), reader.counts().reassembled), (expected, datagrams), "{packets:?}");
    }

    // one more than may be in flight costs the oldest
    let many: Vec<_> = (0..=DATAGRAMS_IN_FLIGHT as u16)
        .map(|id| at(u64::from(id), &three(id, "three pieces, 24 letters and sixteen on.")[0]))
        .collect();
    let mut many = reader(&file(&many).bytes);
    all(&mut many);
    assert_eq!(unused(&many), UnusedFragments { evicted: 1, incomplete: DATAGRAMS_IN_FLIGHT as u64, ..none });
}

#[test]
fn fragments_that_are_cut_off_or_make_nonsense_are_counted_as_whole_datagrams_are() {
    let [first, second, last] = three(9, "three pieces, 24 letters and sixteen on.");
    let mut wrong = first.clone();
    // the UDP header says that it is longer than the datagram
    wrong[24..26].copy_from_slice(&999_u16.to_be_bytes());
    let mut tcp = first.clone();
    tcp[9] = 6;
    let packets = [
        (0, 1, wrong),
        (0, 1, second.clone()),
        (0, 1, last),
        (0, 2, first[..first.len() - 1].to_vec()),
        (0, 2, second),
        (0, 2, tcp),
    ];
    let mut reader = reader(&file(&packets).bytes);
    assert_eq!(all(&mut reader).0, []);
    let unused = UnusedFragments { incomplete: 1, ..UnusedFragments::default() };
    let counts = RecordCounts {
        records: 6,
        not_udp: 1,
        truncated: 1,
        fragments: 3,
        unused,
        malformed: 1,
        ..RecordCounts::default()
    };
    assert_eq!(reader.counts(), counts);
}

/// Two lines of a stream with loss, each datagram of several kilobytes: line, stamp, payload.
fn stream() -> Vec<(u8, u64, Vec<u8>)> {
    let session = Session::text(b"TWIN000001");
    let mut out = Vec::new();
    let mut first = 1;
    for n in 0..200_u64 {
        let count = 1 + n % 5;
        let messages: Vec<Vec<u8>> = (0..count).map(|at| vec![(first + at) as u8; 900 + at as usize]).collect();
        let messages: Vec<&[u8]> = messages.iter().map(Vec::as_slice).collect();
        let mut datagram = Vec::new();
        MoldUdp64.encode(session, first, &messages, 9_000, &mut datagram);
        first += count;
        let stamp = SECOND + n * 100_000;
        if n % 7 != 3 {
            out.push((1, stamp, datagram.clone()));
        }
        if n % 11 != 5 && n % 70 != 3 {
            out.push((2, stamp + 40_000, datagram));
        }
    }
    let mut end = Vec::new();
    MoldUdp64.encode_end(session, first, &mut end);
    out.extend([(1, 3 * SECOND, end.clone()), (2, 3 * SECOND, end)]);
    out
}

/// Report, events and messages.
fn arbitrate(scratch: &Scratch, name: &str, capture: &[u8]) -> (Value, Vec<u8>, Vec<u8>) {
    scratch.write(name, capture);
    scratch.write("feed.toml", text("test", "moldudp64", &[("A", &["239.1.1.1:26400"]), ("B", &["239.1.2.1:26400"])]));
    let done = Command::new(env!("CARGO_BIN_EXE_twinline"))
        .current_dir(scratch.path())
        .args(["arbitrate", "feed.toml", name, "--json", "--events", "events", "--messages", "messages"])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&done.stderr);
    // a pipe is no terminal: no progress, and nothing to warn of
    assert!(done.status.success() && said.is_empty(), "{said}");
    (serde_json::from_slice(&done.stdout).unwrap(), scratch.read("events"), scratch.read("messages"))
}

#[test]
fn fragments_have_the_effect_of_the_whole_datagram() {
    let scratch = Scratch::new("fragments");
    let stream = stream();
    let (mut whole, mut pieces, mut records) = (File::pcap(false, NANOS, 1), File::pcapng(true), 0);
    pieces.interface(113, 0, "any", Some(9), None);
    for (n, (line, stamp, payload)) in stream.iter().enumerate() {
        let packet = raw(*line, payload);
        whole.record((stamp / SECOND) as u32, (stamp % SECOND) as u32, &ethernet(&[], &packet));
        let mut parts = fragments(&packet, n as u16, 185);
        records += if parts.len() > 1 { parts.len() } else { 0 };
        if n % 3 == 1 {
            parts.reverse();
        }
        for (at, part) in parts.iter().enumerate() {
            // the last one has the datagram's stamp
            let stamp = stamp - (parts.len() - 1 - at) as u64 * 7;
            let cooked = [0, 2, 0, 1, 0, 6, 2, 0, 0, 0, 0, 1, 0, 0, 0x81, 0, 0, 5, 8, 0];
            pieces.enhanced(0, stamp, &[&cooked[..], part].concat());
        }
    }
    let (report, events, messages) = arbitrate(&scratch, "whole.pcap", &whole.bytes);
    assert_eq!(report["channels"][0]["sessions"][0]["ended"], true);
    assert!(
        report["channels"][0]["lost"].as_u64() > Some(0) && report["channels"][0]["delivered"].as_u64() > Some(500)
    );
    assert_eq!(report["source"]["reassembled"], 0);
    let reassembled = stream.iter().filter(|(_, _, payload)| payload.len() > 1_472).count();
    assert!(records > 500 && reassembled > 200);
    for (name, capture) in [
        ("pieces.pcapng", pieces.bytes.clone()),
        ("pieces.gz", gzip(&pieces.bytes)),
        // by the magic, never by the name
        ("pieces.pcap", zstd(&pieces.bytes)),
    ] {
        let (of_pieces, its_events, its_messages) = arbitrate(&scratch, name, &capture);
        assert_eq!(of_pieces["channels"], report["channels"], "{name}");
        assert_eq!(of_pieces["ignored"], report["ignored"], "{name}");
        assert_eq!(of_pieces["source"]["reassembled"], reassembled, "{name}");
        assert!(its_events == events && its_messages == messages, "{name}");
    }
}

#[test]
fn what_is_given_up_stands_in_both_reports() {
    let scratch = Scratch::new("given-up");
    let [first, second, _] = three(9, "three pieces, 24 letters and sixteen on.");
    let mut heartbeat = Vec::new();
    MoldUdp64.encode_heartbeat(Session::text(b"TWIN000001"), 1, &mut heartbeat);
    let file = file(&[
        (0, 1, first.clone()),
        (0, 2, first),
        (0, 3, second),
        (0, 4, raw(9, b"other group")),
        (0, 5, raw(1, &heartbeat)),
    ]);
    let (report, ..) = arbitrate(&scratch, "given-up.pcapng", &file.bytes);
    let ignored: Vec<(&str, u64)> = report["ignored"]
        .as_object()
        .unwrap()
        .iter()
        .map(|(reason, count)| (reason.as_str(), count.as_u64().unwrap()))
        .filter(|(_, count)| *count > 0)
        .collect();
    let mut expected =
        vec![("other_groups", 1), ("fragments", 3), ("fragments_duplicate", 1), ("fragments_incomplete", 2)];
    expected.sort();
    assert_eq!(ignored, expected);
    let text = Command::new(env!("CARGO_BIN_EXE_twinline"))
        .current_dir(scratch.path())
        .args(["arbitrate", "feed.toml", "given-up.pcapng"])
        .output()
        .unwrap();
    let text = String::from_utf8(text.stdout).unwrap();
    assert!(
        text.ends_with(
            "\nignored: 1 for other groups, 1 fragments that came twice, 2 of datagrams of which not all fragments are there\n"
        ),
        "{text}"
    );
}
