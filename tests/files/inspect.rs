//! `twinline inspect`: small captures, and exactly what is said of them; feed files that go round; what is hostile.

use std::fs;

use serde_json::Value;
use twinline_core::frame::Session;
use twinline_core::framing::{CmeMdp3, Framing, MoldUdp64};

use crate::support::inspect::{arbitrated, inspected, scratch, twinline, values, with_feed};
use crate::support::root;
use build::Capture;

mod build;

const A: ([u8; 4], u16) = ([239, 81, 1, 1], 26_400);
const B: ([u8; 4], u16) = ([239, 81, 2, 1], 26_400);
const C: ([u8; 4], u16) = ([239, 81, 3, 1], 26_400);
const SENDER_A: [u8; 4] = [10, 0, 1, 1];
const SENDER_B: [u8; 4] = [10, 0, 2, 1];

/// A MoldUDP64 datagram with the messages `[first, end)`; each says its number.
fn mold(session: &[u8], first: u64, end: u64) -> Vec<u8> {
    let messages: Vec<String> = (first..end).map(|number| format!("message {number:06}")).collect();
    let messages: Vec<&[u8]> = messages.iter().map(String::as_bytes).collect();
    let mut out = Vec::new();
    assert_eq!(MoldUdp64.encode(Session::text(session), first, &messages, 1_400, &mut out) as u64, end - first);
    out
}

fn cme(number: u64) -> Vec<u8> {
    // a message of 14 bytes with its length first, as the venue packs them
    let body = [&[14, 0, 0, 0, 46, 0, 1, 0, 9, 0][..], &(number as u32).to_le_bytes()].concat();
    let mut out = Vec::new();
    CmeMdp3.encode(Session::NONE, number, &[&body], 1_400, &mut out);
    out
}

#[test]
fn a_clean_pair_is_told_whole() {
    let mut capture = Capture::new();
    for n in 0..100 {
        capture.datagram(n * 1_000_000, SENDER_A, A, &mold(b"DAY0000001", 1 + n * 2, 3 + n * 2));
        capture.datagram(n * 1_000_000 + 2_500, SENDER_B, B, &mold(b"DAY0000001", 1 + n * 2, 3 + n * 2));
    }
    let path = capture.store("clean.pcap");
    let ran = twinline(&["inspect", path.to_str().unwrap()]);
    assert_eq!((ran.code, ran.err.as_str()), (0, ""));
    let expected = include_str!("inspect/clean.txt").replace("CAPTURE", path.to_str().unwrap());
    assert_eq!(ran.out, expected, "{}", ran.out);
    let feed = with_feed(&path, "clean.toml");
    assert_eq!(arbitrated(&feed, &path), [(200, 0)]);
}

#[test]
fn a_lossy_pair_that_packs_otherwise_is_one_channel() {
    let mut capture = Capture::new();
    // A by threes, and every 10th is lost; B by twos, 40 us behind, and every 7th is lost
    let mut sent = Vec::new();
    for n in (0..300u64).filter(|n| n % 10 != 5) {
        sent.push((n * 100_000, SENDER_A, A, (1 + n * 3, 4 + n * 3)));
    }
    for n in (0..450u64).filter(|n| n % 7 != 3) {
        sent.push((n * 200_000 / 3 + 40_000, SENDER_B, B, (1 + n * 2, 3 + n * 2)));
    }
    sent.sort();
    for (at, sender, group, (first, end)) in sent {
        capture.datagram(at, sender, group, &mold(b"DAY0000001", first, end));
    }
    let path = capture.store("lossy.pcap");
    let report = inspected(&[path.to_str().unwrap()]);
    assert_eq!(report["groups"].as_array().unwrap().len(), 1);
    let pair = &report["groups"][0]["pairs"][0];
    let a: Vec<u64> = (0..300).filter(|n| n % 10 != 5).flat_map(|n| [1 + n * 3, 2 + n * 3, 3 + n * 3]).collect();
    let b: Vec<u64> = (0..450).filter(|n| n % 7 != 3).flat_map(|n| [1 + n * 2, 2 + n * 2]).collect();
    let both = a.iter().filter(|n| b.contains(n)).count();
    assert_eq!(
        values(pair, &["a", "b", "both", "only_a", "only_b", "exact", "compared", "different"]),
        format!("1 2 {both} {} {} true {both} 0", a.len() - both, b.len() - both)
    );
    let run = &report["flows"][0]["channels"][0]["runs"][0];
    assert_eq!(values(run, &["first", "end", "messages", "missing", "holes", "largest_hole"]), "1 901 810 90 30 3");
    let feed = with_feed(&path, "lossy.toml");
    let union = a.iter().chain(&b).collect::<std::collections::BTreeSet<_>>().len() as u64;
    assert_eq!(arbitrated(&feed, &path), [(union, 900 - union)]);
}

#[test]
fn three_lines_are_one_group() {
    let mut capture = Capture::new();
    for n in 0..60 {
        for (line, group) in [A, B, C].into_iter().enumerate() {
            // the third brings a third of the numbers
            if line < 2 || n % 3 == 0 {
                capture.datagram(n * 1_000_000 + line as u64 * 10, [10, 0, line as u8, 1], group, &cme(500 + n));
            }
        }
    }
    let path = capture.store("three.pcap");
    let report = inspected(&[path.to_str().unwrap()]);
    assert_eq!(report["groups"][0]["flows"].to_string(), "[1,2,3]");
    let pairs = report["groups"][0]["pairs"].as_array().unwrap();
    let said: Vec<String> =
        pairs.iter().map(|pair| values(pair, &["a", "b", "both", "only_a", "b_behind_a_median_ns"])).collect();
    assert_eq!(said, ["1 2 60 0 10", "1 3 20 40 20", "2 3 20 40 10"]);
    let feed = with_feed(&path, "three.toml");
    let text = fs::read_to_string(&feed).unwrap();
    assert_eq!(text.matches("[[line]]").count(), 3);
    assert_eq!(text.matches("wait = false").count(), 1, "{text}");
    assert_eq!(arbitrated(&feed, &path), [(60, 0)]);
}

#[test]
fn two_channels_stand_in_one_feed_in_the_same_order() {
    let mut capture = Capture::new();
    let second = |group: ([u8; 4], u16)| ([group.0[0], group.0[1], group.0[2], 2], 26_401);
    for n in 0..50 {
        capture.datagram(n * 1_000, SENDER_B, second(B), &mold(b"TWO0000001", 7 + n, 8 + n));
        capture.datagram(n * 1_000 + 1, SENDER_A, A, &mold(b"ONE0000001", 1 + n, 2 + n));
        capture.datagram(n * 1_000 + 2, SENDER_A, second(A), &mold(b"TWO0000001", 7 + n, 8 + n));
        capture.datagram(n * 1_000 + 3, SENDER_B, B, &mold(b"ONE0000001", 1 + n, 2 + n));
    }
    let path = capture.store("channels.pcap");
    let report = inspected(&[path.to_str().unwrap()]);
    let feeds = report["feeds"].as_array().unwrap();
    assert_eq!(feeds.len(), 1);
    assert_eq!(values(&feeds[0], &["lines", "channels"]), r#"["A","B"] [[1,3],[2,4]]"#);
    let feed = with_feed(&path, "channels.toml");
    let text = fs::read_to_string(&feed).unwrap();
    assert!(text.contains("groups = [\n    \"239.81.1.1:26400\",\n    \"239.81.1.2:26401\",\n]"), "{text}");
    assert_eq!(arbitrated(&feed, &path), [(50, 0), (50, 0)]);
}

#[test]
fn unrelated_feeds_get_a_file_each_and_none_is_overwritten() {
    let mut capture = Capture::new();
    for n in 0..200 {
        capture.datagram(n * 1_000, SENDER_A, A, &mold(b"ONE0000001", 1 + n, 2 + n));
        capture.datagram(n * 1_000 + 1, SENDER_B, B, &mold(b"ONE0000001", 1 + n, 2 + n));
        if n < 50 {
            capture.datagram(n * 1_000 + 2, [192, 168, 1, 1], ([224, 0, 31, 64], 14_340), &cme(900 + n));
            capture.datagram(n * 1_000 + 3, [192, 168, 2, 1], ([224, 0, 32, 64], 15_340), &cme(900 + n));
        }
    }
    let path = capture.store("unrelated.pcap");
    let (first, second) = (scratch("unrelated.toml"), scratch("unrelated-2.toml"));
    let _ = (fs::remove_file(&first), fs::remove_file(&second));
    let args = ["inspect", path.to_str().unwrap(), "--feed", first.to_str().unwrap()];
    assert_eq!(twinline(&args).code, 0);
    assert_eq!((arbitrated(&first, &path), arbitrated(&second, &path)), (vec![(200, 0)], vec![(50, 0)]));
    let again = twinline(&args);
    assert_eq!(again.code, 2);
    assert!(again.err.contains("exists already"), "{}", again.err);
    // one flow alone, by its group
    let one = inspected(&[path.to_str().unwrap(), "--flow", "224.0.31.64:14340"]);
    assert_eq!(one["flows"].as_array().unwrap().len(), 1);
    assert_eq!(values(&one, &["flows/0/framing", "beyond/not_asked"]), "\"cme-mdp3\" 450");
}

#[test]
fn lines_on_one_group_are_told_apart_by_their_senders() {
    let mut capture = Capture::new();
    for n in 0..80 {
        capture.datagram(n * 1_000, SENDER_A, A, &mold(b"ONE0000001", 1 + n, 2 + n));
        capture.datagram(n * 1_000 + 9, SENDER_B, A, &mold(b"ONE0000001", 1 + n, 2 + n));
    }
    let path = capture.store("senders.pcap");
    let feed = with_feed(&path, "senders.toml");
    let text = fs::read_to_string(&feed).unwrap();
    assert!(text.contains("\nsource = \"10.0.1.1\"") && text.contains("\nsource = \"10.0.2.1\""), "{text}");
    assert_eq!(arbitrated(&feed, &path), [(80, 0)]);
}

#[test]
fn our_own_captures_name_their_interfaces_as_lines() {
    for (sample, all) in [("moldudp64.pcapng.gz", (1_989, 11)), ("cme-mdp3.pcapng", (0, 0))] {
        let path = root().join("feeds/samples").join(sample);
        let feed = with_feed(&path, &format!("{sample}.toml"));
        let [(delivered, lost)] = arbitrated(&feed, &path)[..] else { panic!("one channel") };
        if all.0 > 0 {
            assert_eq!((delivered, lost), all, "{sample}");
        } else {
            let stored = fs::read_to_string(path.with_extension("json")).unwrap();
            let stored: Value = serde_json::from_str(&stored).unwrap();
            let stored = &stored["channels"][0];
            assert_eq!((Some(delivered), Some(lost)), (stored["delivered"].as_u64(), stored["lost"].as_u64()));
        }
    }
}

#[test]
fn a_different_message_on_one_line_is_told() {
    let mut capture = Capture::new();
    for n in 0..100 {
        let datagram = mold(b"ONE0000001", 1 + n, 2 + n);
        let mut other = datagram.clone();
        if n == 41 {
            *other.last_mut().unwrap() ^= 1;
        }
        capture.datagram(n * 1_000, SENDER_A, A, &datagram);
        capture.datagram(n * 1_000 + 9, SENDER_B, B, &other);
    }
    let path = capture.store("differs.pcap");
    let report = inspected(&[path.to_str().unwrap()]);
    let pair = &report["groups"][0]["pairs"][0];
    assert_eq!(values(pair, &["compared", "different", "first_different"]), "100 1 42");
}

#[test]
fn what_is_no_feed_is_said_to_be_none() {
    let mut noise = Capture::new();
    let mut random = fastrand::Rng::with_seed(7);
    for n in 0..2_000u64 {
        let payload: Vec<u8> = (0..random.usize(8..300)).map(|_| random.u8(..)).collect();
        noise.datagram(n * 1_000, SENDER_A, ([239, 9, 9, (n % 3) as u8], 9), &payload);
    }
    let path = noise.store("noise.pcap");
    let report = inspected(&[path.to_str().unwrap()]);
    for flow in report["flows"].as_array().unwrap() {
        assert_eq!(values(flow, &["framing", "sureness", "channels"]), "null \"none\" []", "{flow}");
    }
    assert_eq!(values(&report, &["groups", "feeds"]), "[] []");
    let text = twinline(&["inspect", path.to_str().unwrap()]).out;
    assert!(text.contains("no framing of ours fits"), "{text}");
    let (feed, path) = (scratch("noise.toml"), path.to_str().unwrap());
    let ran = twinline(&["inspect", path, "--feed", feed.to_str().unwrap()]);
    assert_eq!((ran.code, feed.exists()), (1, false), "{}", ran.err);
}

#[test]
fn empty_files_and_tcp_are_said_to_be_that() {
    let empty = Capture::new().store("empty.pcap");
    let ran = twinline(&["inspect", empty.to_str().unwrap()]);
    assert_eq!(ran.code, 0);
    assert_eq!(
        ran.out,
        format!(
            "{}\n  file      pcap; 0 records\n  packets   0 datagrams of UDP over IPv4\n\nno datagram of UDP over IPv4: there \
             is no flow to look at\n",
            empty.display()
        )
    );
    let mut capture = Capture::new();
    capture.tcp(0);
    capture.tcp(1);
    let mut arp = vec![0xff; 12];
    arp.extend([8, 6]);
    arp.extend([0; 28]);
    capture.frame(2, &arp);
    let mut ipv6 = vec![0x33; 12];
    ipv6.extend([0x86, 0xdd, 0x60, 0, 0, 0, 0, 8, 17, 1]);
    ipv6.extend([0; 16]);
    ipv6.extend([0xff; 24]);
    capture.frame(3, &ipv6);
    let path = capture.store("tcp.pcap");
    let report = inspected(&[path.to_str().unwrap()]);
    let keys = ["records", "datagrams", "packets/tcp", "packets/arp", "packets/udp_ipv6_multicast", "packets/udp"];
    assert_eq!(values(&report["files"][0], &keys), "4 0 2 1 1 0");
    assert!(twinline(&["inspect", path.to_str().unwrap()]).out.contains("IPv6 is not read"));
    assert_eq!(twinline(&["inspect", "no-such.pcap"]).code, 2);
}

#[test]
fn refused_datagrams_are_shown_byte_by_byte() {
    let mut capture = Capture::new();
    for n in 0..40 {
        let mut datagram = mold(b"ONE0000001", 1 + n, 2 + n);
        if n % 20 == 10 {
            datagram.truncate(25);
        }
        capture.datagram(n * 1_000, SENDER_A, A, &datagram);
    }
    let path = capture.store("malformed.pcap");
    let path = path.to_str().unwrap();
    let ran = twinline(&["inspect", path, "--malformed", "1"]);
    let expected = "
malformed: 239.81.1.1:26400 from 10.0.1.1, its datagram 11, 2025-11-14 14:30:00.000010000
  moldudp64 refuses it for overrun, in the frame at byte 0 of 25
  0000  4f 4e 45 30 30 30 30 30  30 31 00 00 00 00 00 00  |ONE0000001......|
  0010  00 0b 00 01 00 0e 6d 65  73                       |......mes|
";
    assert!(ran.out.contains(expected), "{}", ran.out);
    let report = inspected(&[path, "--malformed", "5"]);
    assert_eq!(report["malformed"].as_array().unwrap().len(), 2);
    assert_eq!(values(&report, &["flows/0/malformed/overrun", "malformed/1/datagram"]), "2 31");
    // by another framing, and by a feed file
    let report = inspected(&[path, "--malformed", "3", "--framing", "cme-mdp3"]);
    assert_eq!(report["malformed"].as_array().unwrap().len(), 0);
    let report = inspected(&[path, "--malformed", "3", "--with", "feeds/loopback.toml"]);
    assert_eq!(values(&report, &["malformed/0/framing", "malformed/0/reason"]), "\"moldudp64\" \"overrun\"");
    let ran = twinline(&["inspect", "-", "--malformed", "3"]);
    assert_eq!(ran.code, 2, "standard input cannot be read twice");
    let ran = twinline(&["inspect", path, "--framing", "moldudp46"]);
    assert!(ran.code == 2 && ran.err.contains("did you mean moldudp64?"), "{}", ran.err);
}

#[test]
fn more_flows_than_there_is_room_for_are_counted_together() {
    let mut capture = Capture::new();
    for n in 0..10_000u64 {
        let group = [239, 200, (n >> 8) as u8, n as u8];
        capture.datagram(n * 1_000, SENDER_A, (group, 9), &mold(b"ONE0000001", 1, 2));
    }
    for sender in 0..20 {
        capture.datagram(
            20_000_000 + sender,
            [10, 9, 9, sender as u8],
            ([239, 200, 0, 0], 9),
            &mold(b"ONE0000001", 1, 2),
        );
    }
    let path = capture.store("flows.pcap");
    let report = inspected(&[path.to_str().unwrap()]);
    assert_eq!(report["flows"].as_array().unwrap().len(), 4_096);
    assert_eq!(values(&report["beyond"], &["datagrams", "of_more_senders"]), "5924 0");
    let text = twinline(&["inspect", path.to_str().unwrap()]).out;
    assert!(text.contains("5,924 datagrams are of flows beyond the first 4,096"), "{text}");
    assert!(text.lines().all(|line| line.chars().count() <= 100));
}

#[test]
fn no_bytes_break_it() {
    let mut random = fastrand::Rng::with_seed(11);
    let whole = fs::read(root().join("feeds/samples/cme-mdp3.pcapng")).unwrap();
    for round in 0..40 {
        let mut bytes = whole.clone();
        for _ in 0..random.usize(1..200) {
            let at = random.usize(..bytes.len());
            bytes[at] = random.u8(..);
        }
        let path = scratch("random.pcapng");
        fs::write(&path, &bytes).unwrap();
        let ran = twinline(&["inspect", path.to_str().unwrap(), "--malformed", "2"]);
        assert!(
            (0..=2).contains(&ran.code) && !ran.err.contains("panicked"),
            "round {round}: {} {}",
            ran.code,
            ran.err
        );
    }
}
