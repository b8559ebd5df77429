//! Files merged by time, and what of them is no line's.

use std::path::{Path, PathBuf};

use twinline_core::Nanos;
use twinline_core::frame::Line;
use twinline_node::capture::{CaptureError, CaptureInput, CaptureReader, Captures, Ignored};
use twinline_node::config::Feed;
use twinline_node::source::{Pass, Source};

use super::build::{File, feed, raw, reader, two_lines};
use crate::support::scratch::Scratch;

fn pcap(records: &[(u32, u8, &str)]) -> Vec<u8> {
    let mut file = File::pcap(false, 0xa1b2_3c4d, 101);
    for (nanos, line, payload) in records {
        file.record(0, *nanos, &raw(*line, payload.as_bytes()));
    }
    file.bytes
}

fn merged(files: &[(Option<&str>, Vec<u8>)], feed: &Feed) -> (Vec<(u64, u8, String)>, Captures) {
    let readers = files.iter().map(|(line, bytes)| (line.map(Into::into), reader(bytes))).collect();
    let mut captures = Captures::from_readers(readers, feed).unwrap();
    let mut items = Vec::new();
    while let Some(item) = captures.next().unwrap() {
        assert_eq!(item.group, 0);
        items.push((item.stamp.0, item.line.0, String::from_utf8(item.payload.to_vec()).unwrap()));
    }
    (items, captures)
}

fn item(stamp: u64, line: u8, payload: &str) -> (u64, u8, String) {
    (stamp, line, payload.into())
}

#[test]
fn files_are_merged_by_time_and_ties_go_to_the_first() {
    let a = pcap(&[(10, 1, "a1"), (20, 1, "a2"), (40, 1, "a3")]);
    let b = pcap(&[(5, 2, "b1"), (20, 2, "b2"), (30, 2, "b3"), (50, 2, "b4")]);
    let (items, captures) = merged(&[(None, a), (None, b)], &two_lines());
    let expected =
        [(5, 1, "b1"), (10, 0, "a1"), (20, 0, "a2"), (20, 1, "b2"), (30, 1, "b3"), (40, 0, "a3"), (50, 1, "b4")];
    assert_eq!(items, expected.map(|(stamp, line, payload)| item(stamp, line, payload)));
    assert_eq!((captures.datagrams(), captures.stamps_raised(), captures.end_stamp()), (7, 0, Some(Nanos(50))));
}

#[test]
fn within_a_file_the_order_is_its_own_and_stamps_are_raised() {
    let a = pcap(&[(10, 1, "a1"), (4, 1, "a2"), (7, 1, "a3"), (12, 1, "a4")]);
    let b = pcap(&[(11, 2, "b1")]);
    let (items, captures) = merged(&[(None, a), (None, b)], &two_lines());
    let expected = [(10, 0, "a1"), (10, 0, "a2"), (10, 0, "a3"), (11, 1, "b1"), (12, 0, "a4")];
    assert_eq!(items, expected.map(|(stamp, line, payload)| item(stamp, line, payload)));
    assert_eq!(captures.stamps_raised(), 2);
}

#[test]
fn what_is_ignored_moves_nothing_but_the_end() {
    let mut file = File::pcap(false, 0xa1b2_3c4d, 101);
    file.record(0, 10, &raw(1, b"a1"));
    file.record(0, 90, &raw(7, b"other group"));
    file.record(0, 20, &raw(1, b"a2"));
    file.record(0, 21, &raw(2, b"cut")[..25]);
    file.record(0, 80, &[0x60; 40]);
    let (items, captures) = merged(&[(None, file.bytes)], &two_lines());
    assert_eq!(items, [item(10, 0, "a1"), item(20, 0, "a2")]);
    let ignored = Ignored { not_udp: 1, other_groups: 1, truncated: 1, ..Ignored::default() };
    assert_eq!((captures.ignored(), captures.end_stamp()), (ignored, Some(Nanos(80))));
    assert!(!captures.is_whole_recording());
}

#[test]
fn a_forced_line_is_taken_at_its_word() {
    // both lines on one group: only the file tells them apart
    let feed = feed(&[("A", &["239.1.1.1:26400"]), ("B", &["239.1.1.1:26400"])]);
    let (a, b) = (pcap(&[(1, 1, "a")]), pcap(&[(2, 1, "b"), (3, 2, "not B's group")]));
    let (items, captures) = merged(&[(Some("A"), a.clone()), (Some("B"), b)], &feed);
    assert_eq!(items, [item(1, 0, "a"), item(2, 1, "b")]);
    assert_eq!(captures.ignored().other_groups, 1);

    let mut captures = Captures::from_readers(vec![(None, reader(&a))], &feed).unwrap();
    let error = captures.next().unwrap_err();
    assert_eq!(
        error.to_string(),
        "the capture the input does not say which line 239.1.1.1:26400 came by: A and B share it; give a file a line, \
         as A=the input, or a `source` for each line in the feed file"
    );
    assert!(captures.next().unwrap().is_none());

    let none = Captures::from_readers(vec![(Some("C".into()), reader(&a))], &feed).unwrap_err();
    assert_eq!(none.to_string(), "the feed test has no line C: expected one of A, B");
}

#[test]
fn a_damaged_file_does_not_keep_the_others() {
    let mut a = pcap(&[(1, 1, "a1")]);
    a.extend([0xff; 16]);
    let b = pcap(&[(2, 2, "b1"), (3, 2, "b2")]);
    let readers = vec![(None, reader(&a)), (None, reader(&b))];
    let mut captures = Captures::from_readers(readers, &two_lines()).unwrap();
    assert_eq!(captures.next().unwrap().unwrap().payload, b"a1");
    assert!(matches!(captures.next(), Err(CaptureError::Damaged { .. })));
    assert_eq!(captures.next().unwrap().unwrap().payload, b"b1");
    assert_eq!(captures.next().unwrap().unwrap().payload, b"b2");
    assert!(captures.next().unwrap().is_none());
}

#[test]
fn captures_are_a_source() {
    let mut captures = Captures::from_readers(vec![(None, reader(&pcap(&[(1, 2, "x")])))], &two_lines()).unwrap();
    let mut taken = Vec::new();
    let pass = captures.poll(&mut |d| taken.push((d.stamp, d.line, d.group, d.payload.to_vec()))).unwrap();
    assert_eq!(pass, Pass { datagrams: 1, full: true, ended: false });
    assert_eq!(taken, [(Some(Nanos(1)), Line(1), 0, b"x".to_vec())]);
    let pass = captures.poll(&mut |_| panic!("there was one")).unwrap();
    assert_eq!(pass, Pass { datagrams: 0, full: false, ended: true });
}

#[test]
fn files_on_disk_are_opened_once_each() {
    let scratch = Scratch::new("merge");
    let (link, gone) = (scratch.file("b.pcap"), scratch.file("C=c.pcap"));
    let bytes = pcap(&[(1, 1, "x")]);
    let path = scratch.write("a.pcap", &bytes);
    std::fs::hard_link(&path, &link).unwrap();
    let (feed, input) = (two_lines(), |path: &Path| CaptureInput { line: None, path: path.into() });

    let mut captures = Captures::open(&[input(&path)], &feed).unwrap();
    while captures.next().unwrap().is_some() {}
    assert_eq!((captures.position(), captures.size()), (bytes.len() as u64, Some(bytes.len() as u64)));

    let twice = Captures::open(&[input(&path), input(&link)], &feed).unwrap_err();
    assert!(matches!(twice, CaptureError::Twice { .. }), "{twice}");
    let twice = Captures::open(&[input(Path::new("-")), input(Path::new("-"))], &feed);
    assert!(twice.is_err());
    assert!(matches!(Captures::open(&[], &feed), Err(CaptureError::None)));
    let folder = CaptureReader::open(scratch.path()).unwrap_err().to_string();
    assert!(folder.ends_with("it is a directory"), "{folder}");
    // the path's file name alone, since a folder may hold a `=`
    let gone = Captures::open(&[input(gone.strip_prefix(scratch.path()).unwrap())], &feed).unwrap_err().to_string();
    assert!(gone.ends_with("; the feed test has no line C either: its lines are A, B"), "{gone}");
}

#[test]
fn arguments_name_a_line_only_where_the_feed_has_it() {
    let parse = |text: &str| CaptureInput::parse(Path::new(text), &two_lines());
    let input = |line: Option<&str>, path: &str| CaptureInput { line: line.map(Into::into), path: PathBuf::from(path) };
    assert_eq!(parse("a.pcap"), input(None, "a.pcap"));
    assert_eq!(parse("A=a=b.pcap"), input(Some("A"), "a=b.pcap"));
    assert_eq!(parse("x=A.pcap"), input(None, "x=A.pcap"));
    assert_eq!(parse("B=-"), input(Some("B"), "-"));
}
