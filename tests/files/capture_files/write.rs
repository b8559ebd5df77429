//! What is written reads back the same, and others can read it.

use std::io::{self, Write};
use std::net::SocketAddrV4;
use std::sync::{Arc, Mutex};

use proptest::prelude::*;
use twinline_core::Nanos;
use twinline_core::frame::Line;
use twinline_node::capture::{CaptureError, CaptureWarning, CaptureWriter, Captures, PAYLOAD_MAX};

use super::build::{feed, open, reader, two_lines};

/// A disk with room for `room` bytes.
#[derive(Clone, Default)]
struct Disk(Arc<Mutex<(Vec<u8>, usize)>>);

impl Disk {
    fn with(room: usize) -> Disk {
        Disk(Arc::new(Mutex::new((Vec::new(), room))))
    }

    fn bytes(&self) -> Vec<u8> {
        self.0.lock().unwrap().0.clone()
    }

    fn make_room(&self, room: usize) {
        self.0.lock().unwrap().1 = room;
    }
}

impl Write for Disk {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut disk = self.0.lock().unwrap();
        let n = bytes.len().min(disk.1 - disk.0.len());
        if n == 0 && !bytes.is_empty() {
            return Err(io::ErrorKind::StorageFull.into());
        }
        disk.0.extend(&bytes[..n]);
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn source() -> SocketAddrV4 {
    "10.0.0.1:5000".parse().unwrap()
}

type Written = (u64, u8, u16, Vec<u8>);

/// Two groups on both lines, the same ones: only the interface tells the lines apart.
fn shared() -> twinline_node::config::Feed {
    feed(&[("A", &["239.1.1.1:1", "239.1.1.2:1"]), ("left", &["239.1.1.1:1", "239.1.1.2:1"])])
}

fn round_trip(list: &[Written], end: u64, dropped: &[u64]) -> (Vec<Written>, Captures) {
    let (feed, disk) = (shared(), Disk::with(usize::MAX));
    let mut writer = CaptureWriter::to_write(disk.clone(), &feed).unwrap();
    for (stamp, line, group, payload) in list {
        let destination = feed.lines[usize::from(*line)].groups[usize::from(*group)];
        writer.write(Nanos(*stamp), Line(*line), source(), destination, payload).unwrap();
    }
    writer.finish(Nanos(end), dropped).unwrap();
    let mut captures = Captures::from_readers(vec![(None, reader(&disk.bytes()))], &feed).unwrap();
    let mut read = Vec::new();
    while let Some(item) = captures.next().unwrap() {
        assert_eq!(item.source, source());
        read.push((item.stamp.0, item.line.0, item.group, item.payload.to_vec()));
    }
    (read, captures)
}

#[test]
fn the_list_and_its_end_read_back_exactly() {
    let list = vec![
        (1_700_000_000_000_000_001, 0, 0, b"a".to_vec()),
        (1_700_000_000_000_000_001, 1, 1, vec![]),
        (1_700_000_000_000_000_002, 1, 0, vec![7; PAYLOAD_MAX]),
        (u64::MAX - 1, 0, 1, b"abcde".to_vec()),
    ];
    let (read, captures) = round_trip(&list, u64::MAX, &[0, 0]);
    assert!(read == list);
    assert_eq!(captures.end_stamp(), Some(Nanos::MAX));
    assert!(captures.is_whole_recording() && captures.warnings().is_empty());

    let (read, captures) = round_trip(&[], 1_700_000_000_123_456_789, &[]);
    assert!(read.is_empty());
    assert_eq!(captures.end_stamp(), Some(Nanos(1_700_000_000_123_456_789)));
}

#[test]
fn drops_read_back_and_claim_no_equality() {
    let (_, captures) = round_trip(&[(1, 0, 0, vec![1])], 2, &[0, 41]);
    assert!(!captures.is_whole_recording());
    assert_eq!(captures.dropped(), 41);
    let expected = CaptureWarning::Dropped { file: "the input".into(), interface: "left".into(), records: 41 };
    assert_eq!(captures.warnings(), [expected]);
}

#[test]
fn a_recording_without_an_end_says_so() {
    let disk = Disk::with(usize::MAX);
    let mut writer = CaptureWriter::to_write(disk.clone(), &two_lines()).unwrap();
    writer.write(Nanos(5), Line(0), source(), two_lines().lines[0].groups[0], b"x").unwrap();
    writer.flush().unwrap();
    drop(writer);
    let mut captures = Captures::from_readers(vec![(None, reader(&disk.bytes()))], &two_lines()).unwrap();
    while captures.next().unwrap().is_some() {}
    assert_eq!(captures.end_stamp(), Some(Nanos(5)));
    assert_eq!(captures.warnings(), [CaptureWarning::Unfinished { file: "the input".into() }]);
    assert!(!captures.is_whole_recording());
}

#[test]
fn a_full_disk_loses_whole_records_and_no_others() {
    let (feed, disk) = (two_lines(), Disk::with(3 << 20));
    let destination = feed.lines[0].groups[0];
    let mut writer = CaptureWriter::to_write(disk.clone(), &feed).unwrap();
    let (mut taken, mut lost) = (Vec::new(), 0);
    for n in 0..200_u64 {
        if n == 150 {
            disk.make_room(usize::MAX);
        }
        let payload = vec![n as u8; 60_001];
        match writer.write(Nanos(n), Line(0), source(), destination, &payload) {
            Ok(()) => taken.push(n),
            Err(CaptureError::Write { source, .. }) => {
                assert_eq!(source.kind(), io::ErrorKind::StorageFull);
                lost += 1;
            }
            Err(e) => panic!("{e}"),
        }
    }
    assert!(lost > 50, "{lost}");
    writer.finish(Nanos(999), &[lost]).unwrap();
    let mut reader = reader(&disk.bytes());
    let mut read = Vec::new();
    while let Some(record) = reader.next().unwrap() {
        assert!(record.payload.len() == 60_001 && record.payload.iter().all(|b| *b == record.stamp.0 as u8));
        read.push(record.stamp.0);
    }
    assert_eq!(read, taken);
    assert_eq!(reader.dropped().collect::<Vec<_>>(), [("A", lost)]);
    assert_eq!(reader.end_stamp(), Some(Nanos(999)));
}

#[test]
fn what_no_capture_can_hold_is_refused() {
    let feed = two_lines();
    let mut writer = CaptureWriter::to_write(io::sink(), &feed).unwrap();
    let group = feed.lines[0].groups[0];
    let long = writer.write(Nanos(1), Line(0), source(), group, &[0; PAYLOAD_MAX + 1]).unwrap_err().to_string();
    assert!(long.ends_with("a payload of 65508 bytes, at most 65507 fit"), "{long}");
    let line = writer.write(Nanos(1), Line(2), source(), group, b"").unwrap_err();
    assert!(matches!(line, CaptureError::Record { .. }), "{line}");
    assert!(CaptureWriter::to_write(Disk::with(10), &feed).is_err());
    assert!(CaptureWriter::create("/nowhere/at/all.pcapng".as_ref(), &feed).is_err());
}

#[test]
fn a_cut_recording_gives_its_whole_records() {
    let (feed, disk) = (two_lines(), Disk::with(usize::MAX));
    let mut writer = CaptureWriter::to_write(disk.clone(), &feed).unwrap();
    let mut ends = Vec::new();
    for n in 0..4_u8 {
        let payload = vec![n; usize::from(n) * 3];
        writer
            .write(Nanos(n.into()), Line(n % 2), source(), feed.lines[usize::from(n % 2)].groups[0], &payload)
            .unwrap();
        writer.flush().unwrap();
        ends.push(disk.bytes().len());
    }
    writer.finish(Nanos(9), &[]).unwrap();
    let bytes = disk.bytes();
    for keep in 4..bytes.len() {
        let mut reader = open(&bytes[..keep]).unwrap();
        let mut read = 0;
        while reader.next().unwrap().is_some() {
            read += 1;
        }
        assert_eq!(read, ends.iter().filter(|end| **end <= keep).count(), "cut at {keep}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_list_reads_back(
        steps in prop::collection::vec((0..3_u64, 0..2_u8, 0..2_u16, prop::collection::vec(any::<u8>(), 0..40)), 0..60),
        start in any::<u32>(),
        rest in 0..9_u64,
        dropped in prop::collection::vec(0..3_u64, 0..3),
    ) {
        let mut stamp = u64::from(start) << 20;
        let list: Vec<Written> = steps
            .into_iter()
            .map(|(step, line, group, payload)| {
                stamp += step;
                (stamp, line, group, payload)
            })
            .collect();
        let (read, captures) = round_trip(&list, stamp + rest, &dropped);
        prop_assert_eq!(read, list);
        prop_assert_eq!(captures.end_stamp(), Some(Nanos(stamp + rest)));
        prop_assert_eq!(captures.stamps_raised(), 0);
        prop_assert_eq!(captures.dropped(), dropped.iter().take(2).sum::<u64>());
    }
}
