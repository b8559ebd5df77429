//! Any bytes as a capture file: as they are, compressed, as compressed data, and as a recipe for fragments. Read to the end, each
//! record looked up in a feed's lines.

#![no_main]

use std::io::Cursor;

use libfuzzer_sys::fuzz_target;
use twinline_node::capture::{CaptureReader, Captures, LineMap, RecordCounts};
use twinline_node::config::{Feed, LineConfig};

fuzz_target!(|bytes: &[u8]| {
    let feed = feed();
    let plain = read(&feed, bytes.to_vec());
    // what is compressed already would be so twice, which is refused
    let packed = matches!(bytes, [0x1f, 0x8b, ..] | [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..]);
    if !packed && plain.is_some_and(|(counts, _)| counts.records > 0) {
        let zstd = zstd::encode_all(bytes, 1).expect("anything compresses");
        assert_eq!(plain, read(&feed, zstd), "compressed, it is the same");
    }
    read(&feed, [&[0x28, 0xb5, 0x2f, 0xfd], bytes].concat());
    let of_fragments = read(&feed, fragments(bytes)).expect("a capture");
    assert_eq!(of_fragments.0.records, bytes.chunks_exact(RECIPE).take(STEPS).len() as u64);

    // the same bytes as two files: whatever they are, stamps never go back
    let readers: Vec<_> = [None, Some("A".into())]
        .into_iter()
        .filter_map(|line| Some((line, CaptureReader::from_read(Cursor::new(bytes.to_vec())).ok()?)))
        .collect();
    let mut captures = Captures::from_readers(readers, &feed).expect("the feed has a line A");
    let mut last = None;
    while let Ok(Some(item)) = captures.next() {
        assert!(last <= Some(item.stamp));
        last = Some(item.stamp);
    }
});

/// What the records are, and how many bytes of payload there were; `None` for what is no capture.
fn read(feed: &Feed, bytes: Vec<u8>) -> Option<(RecordCounts, u64)> {
    let map = LineMap::new(feed);
    let mut reader = CaptureReader::from_read(Cursor::new(bytes)).ok()?;
    let mut payload = 0;
    while let Ok(Some(record)) = reader.next() {
        map.find(&record);
        payload += record.payload.len() as u64;
    }
    for warning in reader.warnings() {
        assert!(!warning.to_string().is_empty());
    }
    let counts = reader.counts();
    let whole = counts.datagrams - counts.reassembled;
    assert_eq!(counts.records, whole + counts.not_udp + counts.truncated + counts.fragments + counts.malformed);
    assert!(counts.fragments + counts.malformed >= counts.reassembled + counts.unused.total());
    Some((counts, payload))
}

/// Bytes that say of a fragment its interface, number, place, length and time.
const RECIPE: usize = 6;
/// More than are in flight; each may be of two kilobytes.
const STEPS: usize = 128;

/// A capture of raw IP with a fragment, or a datagram, for each few bytes.
fn fragments(recipe: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let section: [&[u8]; 3] = [&0x1a2b_3c4d_u32.to_le_bytes(), &[1, 0, 0, 0], &[0xff; 8]];
    block(&mut out, 0x0a0d_0d0a, &section);
    let mut stamp = 1_u64 << 40;
    for _ in 0..2 {
        block(&mut out, 1, &[&[101, 0, 0, 0, 0, 0, 0, 0]]);
    }
    for step in recipe.chunks_exact(RECIPE).take(STEPS) {
        let [interface, id, at, more, len, time] = *step else { continue };
        // microseconds: up to a quarter of what a datagram may take, or more than that
        stamp += u64::from(time) << if more & 2 == 0 { 10 } else { 14 };
        let (len, at) = (usize::from(len) * 8 + usize::from(more >> 4), u16::from(at) * (u16::from(more >> 2 & 3) + 1));
        let mut packet = vec![0x45, 0];
        packet.extend(((20 + len) as u16).to_be_bytes());
        packet.extend([0, id % 80]);
        packet.extend((u16::from(more & 1) << 13 | at).to_be_bytes());
        packet.extend([64, 17, 0, 0, 10, 0, 0, 1, 239, 1, 1, 1]);
        // a UDP header that fits now and then
        packet.extend_from_slice(&[0, 9, 0x67, 0x20, 0, interface, 0, 0][..len.min(8)]);
        packet.resize(20 + len, id);
        let (high, low) = (((stamp >> 32) as u32).to_le_bytes(), (stamp as u32).to_le_bytes());
        let size = (packet.len() as u32).to_le_bytes();
        block(&mut out, 6, &[&[interface & 1, 0, 0, 0], &high, &low, &size, &size, &packet]);
    }
    out
}

fn block(out: &mut Vec<u8>, kind: u32, body: &[&[u8]]) {
    let len = body.iter().map(|part| part.len()).sum::<usize>();
    let size = (12 + len.next_multiple_of(4)) as u32;
    out.extend(kind.to_le_bytes());
    out.extend(size.to_le_bytes());
    body.iter().for_each(|part| out.extend_from_slice(part));
    out.resize(out.len().next_multiple_of(4), 0);
    out.extend(size.to_le_bytes());
}

fn feed() -> Feed {
    let line = |name: &str, groups: [&str; 2]| {
        LineConfig::new(name, groups.map(|group| group.parse().expect("a group")).into(), "127.0.0.1")
    };
    let lines =
        vec![line("A", ["224.0.31.64:14340", "239.1.1.1:26400"]), line("B", ["224.0.32.64:15340", "239.1.2.1:26400"])];
    Feed::new("fuzz", twinline_core::framing::MoldUdp64.into(), lines)
}
