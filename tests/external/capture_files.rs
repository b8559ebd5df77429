//! Real captures: what a reader can know of them, record by record.

use std::collections::BTreeMap;

use twinline_core::Nanos;
use twinline_node::capture::{CaptureInput, CaptureReader, Captures, Ignored, RecordCounts};

use crate::support::feed::{line, of};
use crate::support::trials::{Test, captured, tests};

pub const TESTS: &[Test] = tests![
    each_capture_holds_what_its_index_says,
    the_two_line_capture_has_the_disorder_that_its_index_tells,
    every_golden_packet_file_is_read_to_its_end,
];

/// Datagrams by destination, and the counts.
fn groups(path: &std::path::Path) -> (BTreeMap<String, u64>, RecordCounts) {
    let mut reader = CaptureReader::open(path).unwrap();
    let mut groups = BTreeMap::new();
    while let Some(record) = reader.next().unwrap() {
        *groups.entry(record.destination.to_string()).or_default() += 1;
    }
    assert!(!reader.is_cut() && reader.warnings().is_empty(), "{:?}", reader.warnings());
    assert_eq!(Some(reader.position()), reader.size());
    (groups, reader.counts())
}

fn each_capture_holds_what_its_index_says() {
    for (name, expected) in [
        ("cme/mdp3-incremental-ab.pcapng", &[("224.0.31.64:14340", 5_000), ("224.0.32.64:15340", 5_000)][..]),
        ("iex/tops-1.6.pcapng.gz", &[("224.67.0.199:16642", 13_022)]),
        ("miax/mach-tom.pcap", &[("224.0.105.2:51002", 20_560)]),
        ("nyse/xdp-imbalances.pcap", &[("233.125.89.36:11106", 11_819)]),
        ("cboe/pitch-realtime.pcap", &[("239.39.62.190:32001", 739 - 364), ("239.39.62.191:32001", 364)]),
    ] {
        let path = captured(name);
        let (groups, counts) = groups(&path);
        let expected: BTreeMap<String, u64> = expected.iter().map(|(group, n)| (group.to_string(), *n)).collect();
        assert_eq!(groups, expected, "{name}");
        assert_eq!(counts.datagrams, expected.values().sum::<u64>(), "{name}");
    }
}

fn the_two_line_capture_has_the_disorder_that_its_index_tells() {
    let path = captured("cme/mdp3-incremental-ab.pcapng");
    let mut reader = CaptureReader::open(&path).unwrap();
    let (mut before, mut largest, mut earlier, mut below) = (Nanos::ZERO, Nanos::ZERO, 0, 0);
    while let Some(record) = reader.next().unwrap() {
        earlier += u32::from(record.stamp < before);
        below += u64::from(record.stamp < largest);
        before = record.stamp;
        largest = largest.max(record.stamp);
    }
    // each record out of order is one behind its neighbour, never behind its own line
    assert_eq!((earlier, below), (581, 581));

    let feed = of(&[("A", "224.0.31.64:14340"), ("B", "224.0.32.64:15340")].map(|(name, to)| line(name, "lo", &[to])));
    let input = CaptureInput { line: None, path };
    let mut captures = Captures::open(&[input], &feed).unwrap();
    let mut lines = [0; 2];
    while let Some(item) = captures.next().unwrap() {
        lines[item.line.index()] += 1;
    }
    assert_eq!((lines, captures.stamps_raised()), ([5_000, 5_000], 581));
    assert_eq!(captures.ignored(), Ignored::default());
    assert_eq!(captures.end_stamp(), Some(largest));
    assert!(!captures.is_whole_recording());
}

fn every_golden_packet_file_is_read_to_its_end() {
    let folder = captured("packets");
    let (mut files, mut folders) = (0, vec![folder]);
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let mut reader = CaptureReader::open(&path).unwrap();
            while reader.next().unwrap().is_some() {}
            let counts = reader.counts();
            assert!(!reader.is_cut() && counts.records > 0, "{path:?}: {counts:?}");
            assert_eq!((counts.truncated, counts.fragments, counts.malformed), (0, 0, 0), "{path:?}");
            files += 1;
        }
    }
    assert!(files > 100, "{files}");
}
