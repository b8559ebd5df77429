//! Whatever bytes a file holds, it is read to an end: no panic, no loop, and every record under one reason.

use proptest::prelude::*;
use twinline_node::capture::{CaptureError, Captures};

use super::build::{File, ethernet, fragments, gzip, open, raw, two_lines, zstd};

/// Reads to the end, and holds the counts against each other.
fn walk(bytes: &[u8]) {
    let reader = match open(bytes) {
        Ok(reader) => reader,
        Err(CaptureError::NotACapture { .. } | CaptureError::Read { .. }) => return,
        Err(e) => panic!("{e}"),
    };
    let mut captures = Captures::from_readers(vec![(None, reader)], &two_lines()).unwrap();
    let mut last = None;
    let mut items = 0;
    loop {
        match captures.next() {
            Ok(Some(item)) => {
                assert!(last <= Some(item.stamp) && item.payload.len() <= 1 << 16);
                last = Some(item.stamp);
                items += 1;
            }
            Ok(None) => break,
            Err(CaptureError::Damaged { .. } | CaptureError::Read { .. }) => {}
            Err(e) => panic!("{e}"),
        }
    }
    assert_eq!(items, captures.datagrams());
    assert!(captures.end_stamp() >= last);
    let (ignored, counts) = (captures.ignored(), captures.readers().next().unwrap().counts());
    let whole = counts.datagrams - counts.reassembled;
    assert_eq!(counts.records, whole + counts.not_udp + counts.truncated + counts.fragments + counts.malformed);
    assert!(counts.fragments + counts.malformed >= counts.unused.total() + counts.reassembled);
    assert_eq!(counts.datagrams, items + ignored.other_groups);
    for warning in captures.warnings() {
        assert!(!warning.to_string().is_empty());
    }
}

fn seeds() -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    for big in [false, true] {
        let mut file = File::pcap(big, 0xa1b2_c3d4, 1);
        for n in 0..4 {
            file.record(n, n, &ethernet(&[0x8100][..n as usize % 2], &raw(1, &[n as u8; 9])));
        }
        seeds.push(file.bytes);
        let mut file = File::pcapng(big);
        for n in 0..2 {
            file.interface(1, 96, "A", Some(9), Some(1));
            file.interface(101, 0, "B", Some(0x8a), None);
            file.enhanced(0, n, &ethernet(&[0x88a8, 0x8100], &raw(1, b"abc")));
            file.simple(&ethernet(&[], &raw(2, b"de")), 50);
            file.old(1, n, &raw(2, b"fgh"));
            file.statistics(1, 70, 3);
            file.section(!big, "twinline 0.1.0");
        }
        seeds.push(file.bytes);
    }
    let mut file = File::pcapng(false);
    file.interface(1, 0, "A", Some(9), None);
    for id in 0..3 {
        for (n, piece) in (0..).zip(fragments(&raw(1, &[id as u8; 40]), id, 2)) {
            file.enhanced(0, n, &ethernet(&[0x8100], &piece));
        }
    }
    seeds.push(file.bytes);
    seeds.push(gzip(&seeds[1]));
    seeds.push(zstd(&seeds[1]));
    seeds
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn mutated_captures_are_read_to_an_end(
        seed in 0..7_usize,
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..12),
        (from, to) in (any::<prop::sample::Index>(), any::<prop::sample::Index>()),
        moved in any::<bool>(),
    ) {
        let mut bytes = seeds()[seed].clone();
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if moved {
            let (from, to) = (from.index(bytes.len()), to.index(bytes.len()));
            let part = bytes[from.min(to)..from.max(to)].to_vec();
            bytes.splice(to..to, part);
        }
        walk(&bytes);
    }

    #[test]
    fn noise_behind_a_magic_is_read_to_an_end(
        head in 0..9_usize,
        noise in prop::collection::vec(any::<u8>(), 0..400),
    ) {
        let seeds = seeds();
        let mut bytes = match head {
            7 => vec![0x1f, 0x8b, 8, 0],
            8 => vec![0x28, 0xb5, 0x2f, 0xfd],
            head => seeds[head][..24.min(seeds[head].len())].to_vec(),
        };
        bytes.extend(noise);
        walk(&bytes);
    }
}
