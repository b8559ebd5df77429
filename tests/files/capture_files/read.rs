//! What the reader makes of each format, whole, cut and damaged.

use std::io::Write as _;

use twinline_core::Nanos;
use twinline_node::capture::{CaptureError, RecordCounts};
use twinline_node::ip::UnusedFragments;

use super::build::{File, all, brief, ethernet, gzip, open, raw, reader, zstd};

const MICROS: u32 = 0xa1b2_c3d4;
const NANOS: u32 = 0xa1b2_3c4d;

#[test]
fn classic_captures_of_either_order_and_precision() {
    for big in [false, true] {
        for (magic, scale) in [(MICROS, 1_000), (NANOS, 1)] {
            let mut file = File::pcap(big, magic, 1);
            file.record(1_700_000_000, 999_999, &ethernet(&[], &raw(1, b"one")));
            file.record(1_700_000_001, 7, &ethernet(&[0x8100, 0x88a8, 0x9100], &raw(2, b"two")));
            let (kept, error) = all(&mut reader(&file.bytes));
            assert!(error.is_none());
            let stamps = [1_700_000_000_000_000_000 + 999_999 * scale, 1_700_000_001_000_000_000 + 7 * scale];
            assert_eq!(brief(&kept), [(stamps[0], 1, "one"), (stamps[1], 2, "two")], "{big} {magic:#x}");
        }
    }
}

#[test]
fn the_link_type_of_a_classic_capture_may_carry_flags() {
    let mut file = File::pcap(false, MICROS, 0x5400_0000 | 101);
    file.record(1, 0, &raw(1, b"one"));
    assert_eq!(brief(&all(&mut reader(&file.bytes)).0), [(1_000_000_000, 1, "one")]);
}

#[test]
fn sections_have_their_own_order_and_interfaces() {
    let mut file = File::pcapng(true);
    file.interface(101, 0, "wan0", Some(9), None);
    file.interface(1, 0, "", Some(0x80 | 10), Some(-2));
    file.enhanced(0, 1_700_000_000_123_456_789, &raw(1, b"one"));
    file.enhanced(1, 5 << 10 | 1 << 9, &ethernet(&[0x8100], &raw(2, b"two")));
    file.section(false, "");
    file.interface(101, 0, "A", None, Some(10));
    file.block(0x0bad, |file| file.u32(7));
    file.enhanced(0, 3_000_001, &raw(1, b"three"));
    let mut reader = reader(&file.bytes);
    let (kept, error) = all(&mut reader);
    assert!(error.is_none());
    assert_eq!(
        brief(&kept),
        [(1_700_000_000_123_456_789, 1, "one"), (3_500_000_000, 2, "two"), (13_000_001_000, 1, "three")]
    );
    let names: Vec<_> = kept.iter().map(|(_, name, ..)| name.as_deref()).collect();
    assert_eq!(names, [Some("wan0"), None, Some("A")]);
    assert!(!reader.is_own() && reader.end_stamp().is_none() && reader.warnings().is_empty());
}

#[test]
fn packets_without_a_stamp_take_the_one_before() {
    for big in [false, true] {
        let mut file = File::pcapng(big);
        let packet = raw(1, b"one");
        file.interface(101, packet.len() as u32, "", Some(9), None);
        file.simple(&packet, packet.len());
        file.old(0, 77, &raw(2, b"two!"));
        // the snap length ends it, not the padding
        file.simple(&packet, packet.len() + 100);
        file.simple(&packet[..20], packet.len());
        let mut reader = reader(&file.bytes);
        assert_eq!(brief(&all(&mut reader).0), [(0, 1, "one"), (77, 2, "two!"), (77, 1, "one")]);
        let counts = RecordCounts { records: 4, datagrams: 3, truncated: 1, unstamped: 3, ..RecordCounts::default() };
        assert_eq!(reader.counts(), counts);
        assert_eq!(
            reader.warnings()[0].to_string(),
            "the input has 3 packets without a stamp: each was given that of the packet before"
        );
    }
}

#[test]
fn every_record_is_counted_under_one_reason() {
    let mut file = File::pcapng(false);
    file.interface(1, 0, "", None, None);
    file.interface(105, 0, "", None, None);
    let good = ethernet(&[], &raw(1, b"good"));
    let mut padded = good.clone();
    padded.extend([0xaa; 14]);
    file.enhanced(0, 1, &padded);
    let changed = |at: usize, byte: u8| {
        let mut packet = good.clone();
        packet[at] = byte;
        packet
    };
    file.enhanced(0, 2, &changed(12, 0x86)); // IPv6
    file.enhanced(0, 2, &changed(14 + 9, 6)); // TCP
    file.enhanced(1, 2, &good); // 802.11
    file.enhanced(0, 2, &good[..good.len() - 1]);
    file.enhanced(0, 2, &good[..13]);
    file.enhanced(0, 2, &[]);
    file.enhanced(0, 2, &changed(14 + 7, 1)); // the second fragment of a datagram
    file.enhanced(0, 2, &changed(14 + 25, 0)); // UDP length 0
    file.enhanced(9, 2, &good); // no such interface
    file.block(6, |file| {
        // a packet longer than its block
        for n in [0, 0, 2, 1 << 20, 1 << 20, 0] {
            file.u32(n);
        }
    });
    file.enhanced(0, 3, &good);
    let mut reader = reader(&file.bytes);
    let (kept, error) = all(&mut reader);
    assert!(error.is_none());
    assert_eq!(brief(&kept), [(1_000, 1, "good"), (3_000, 1, "good")]);
    let unused = UnusedFragments { incomplete: 1, ..UnusedFragments::default() };
    let (not_udp, truncated, malformed) = (3, 3, 3);
    let counts = RecordCounts {
        records: 12,
        datagrams: 2,
        not_udp,
        truncated,
        fragments: 1,
        unused,
        malformed,
        ..RecordCounts::default()
    };
    assert_eq!(reader.counts(), counts);
    assert_eq!(
        reader.warnings()[0].to_string(),
        "the input has 1 packets of link type 105 or others that are not read: expected Ethernet, Linux cooked, raw IP or \
         loopback"
    );
    assert_eq!(reader.last_stamp(), Some(Nanos(3_000)));
}

/// Files of every kind, three packets each.
fn files() -> Vec<File> {
    let packets = [raw(1, b"one"), raw(2, b"three"), raw(1, b"")];
    let mut files = Vec::new();
    for big in [false, true] {
        let mut file = File::pcap(big, NANOS, 101);
        for (n, packet) in (1..).zip(&packets) {
            file.record(0, n, packet);
        }
        files.push(file);
        let mut file = File::pcapng(big);
        file.interface(101, 0, "A", Some(9), None);
        for (n, packet) in (1..).zip(&packets) {
            file.enhanced(0, n, packet);
            file.section(!big, "");
            file.interface(101, 0, "A", Some(9), None);
        }
        file.statistics(0, 9, 0);
        files.push(file);
    }
    files
}

#[test]
fn a_file_cut_anywhere_gives_its_whole_records() {
    for file in files() {
        let (whole, _) = all(&mut reader(&file.bytes));
        assert_eq!(whole.len(), 3);
        for keep in 0..=file.bytes.len() {
            let mut reader = match open(&file.bytes[..keep]) {
                Ok(reader) => reader,
                Err(CaptureError::NotACapture { .. }) if keep < 4 => continue,
                Err(e) => panic!("cut at {keep}: {e}"),
            };
            let (kept, error) = all(&mut reader);
            assert!(error.is_none(), "cut at {keep}: {error:?}");
            let expected = file.ends.iter().filter(|end| **end <= keep).count();
            assert_eq!(kept, whole[..expected], "cut at {keep}");
            if file.ends.contains(&keep) || keep == file.bytes.len() {
                assert!(!reader.is_cut(), "cut at {keep}");
            } else if file.bytes[0] != 0x0a {
                assert_eq!(reader.is_cut(), keep != 24, "cut at {keep}");
            }
            assert!(reader.next().unwrap().is_none());
        }
    }
}

#[test]
fn what_is_compressed_and_cut_anywhere_gives_whole_records_and_says_so() {
    for file in files() {
        let (whole, _) = all(&mut reader(&file.bytes));
        // a zstd frame has a checksum where the program made it, and a block in front of it that may be empty
        let mut checked = zstd::Encoder::new(Vec::new(), 19).unwrap();
        checked.include_checksum(true).unwrap();
        checked.write_all(&file.bytes).unwrap();
        for (packed, from) in [(gzip(&file.bytes), 2), (checked.finish().unwrap(), 4)] {
            assert_eq!(all(&mut reader(&packed)).0, whole);
            let mut best = 0;
            for keep in from..packed.len() {
                let mut reader = open(&packed[..keep]).unwrap();
                let (kept, error) = all(&mut reader);
                assert!(error.is_none() && reader.is_cut(), "cut at {keep}: {error:?}");
                assert_eq!(kept, whole[..kept.len()], "cut at {keep}");
                assert!(reader.warnings()[0].to_string().starts_with("the input is cut off: all "), "{keep}");
                best = kept.len();
            }
            // all that misses at the end is the checksum
            assert_eq!(best, 3);
        }
    }
}

#[test]
fn many_members_or_frames_are_one_file() {
    let mut file = File::pcap(false, NANOS, 101);
    file.record(0, 1, &raw(1, b"one"));
    file.record(0, 2, &raw(2, b"two"));
    let skippable = [0x5a, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 1, 2, 3].to_vec();
    for (pack, behind) in [(gzip as fn(&[u8]) -> Vec<u8>, Vec::new()), (zstd, skippable)] {
        let packed: Vec<u8> = file.bytes.chunks(7).flat_map(|part| [pack(part), behind.clone()].concat()).collect();
        let mut whole = reader(&packed);
        assert_eq!(brief(&all(&mut whole).0), [(1, 1, "one"), (2, 2, "two")]);
        assert!(!whole.is_cut() && whole.warnings().is_empty());
        assert_eq!(whole.position(), packed.len() as u64);
        let mut padded = reader(&[&packed[..], &[0; 99]].concat());
        assert_eq!(brief(&all(&mut padded).0), [(1, 1, "one"), (2, 2, "two")]);
        let warnings: Vec<String> = padded.warnings().iter().map(ToString::to_string).collect();
        assert_eq!(warnings, ["the input goes on after its compressed data: the rest was ignored"]);
    }
}

#[test]
fn damaged_compressed_data_gives_what_stands_before_and_says_where() {
    let mut file = File::pcap(false, NANOS, 101);
    for n in 0..40_000_u32 {
        file.record(0, n, &raw(1, &n.wrapping_mul(2_654_435_761).to_be_bytes()));
    }
    let (whole, _) = all(&mut reader(&file.bytes));
    for (pack, name) in [(gzip as fn(&[u8]) -> Vec<u8>, "gzip"), (zstd, "zstd")] {
        let mut packed = pack(&file.bytes);
        let (from, to) = (packed.len() - 40, packed.len() - 20);
        packed[from..to].fill(0xff);
        let mut damaged = open(&packed).unwrap();
        let (kept, error) = all(&mut damaged);
        // the last ones may be what the damage makes of them: a gzip tells by its last bytes
        assert!(kept.len() > 20_000 && kept[..20_000] == whole[..20_000], "{name}: {}", kept.len());
        assert!(name == "gzip" || kept == whole[..kept.len()]);
        match error {
            Some(CaptureError::Read { records, at, .. } | CaptureError::Damaged { records, at, .. }) => {
                assert_eq!((records, at), (kept.len() as u64, file.ends[kept.len() - 1] as u64), "{name}");
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_damaged_file_says_where_and_gives_what_stands_before() {
    type Damage = fn(&mut File);
    let damages: [(bool, &str, Damage); 10] = [
        (false, "a record says that it is 16777217 bytes long", |file| {
            for n in [0, 0, (16 << 20) + 1, 0] {
                file.u32(n);
            }
        }),
        (true, "a block says that it is 0 bytes long", |file| (0..3).for_each(|_| file.u32(0))),
        (true, "a block says that it is 13 bytes long", |file| [6, 13, 0, 0].into_iter().for_each(|n| file.u32(n))),
        (true, "a block says that it is 4294967292 bytes long", |file| {
            [6, u32::MAX - 3, 0].into_iter().for_each(|n| file.u32(n));
        }),
        (true, "a block's two lengths disagree", |file| [7, 16, 0, 12].into_iter().for_each(|n| file.u32(n))),
        (true, "a section header gives no byte order", |file| file.block(0x0a0d_0d0a, |file| file.u32(0))),
        (true, "a section header is malformed", |file| file.block(0x0a0d_0d0a, |file| file.u32(0x1a2b_3c4d))),
        (true, "a section is of pcapng version 2.0, expected 1.0", |file| {
            file.block(0x0a0d_0d0a, |file| [0x1a2b_3c4d, 2, 0, 0].into_iter().for_each(|n| file.u32(n)));
        }),
        (true, "a block that describes a section or an interface is 1048592 bytes long", |file| {
            file.block(1, |file| file.bytes.extend(vec![0; (1 << 20) + 4]));
        }),
        (true, "an interface description is malformed", |file| file.block(1, |_| {})),
    ];
    for (blocks, expected, damage) in damages {
        let mut file = if blocks { File::pcapng(false) } else { File::pcap(false, NANOS, 101) };
        if blocks {
            file.interface(101, 0, "", Some(9), None);
            file.enhanced(0, 1, &raw(1, b"one"));
        } else {
            file.record(0, 1, &raw(1, b"one"));
        }
        let at = file.bytes.len() as u64;
        damage(&mut file);
        file.bytes.extend([0; 64]);
        let mut reader = reader(&file.bytes);
        let (kept, error) = all(&mut reader);
        assert_eq!(brief(&kept), [(1, 1, "one")], "{expected}");
        match error {
            Some(CaptureError::Damaged { at: found, records: 1, what, .. }) => {
                assert_eq!((found, what.as_str()), (at, expected));
            }
            other => panic!("{expected}: {other:?}"),
        }
        assert!(reader.next().unwrap().is_none(), "{expected}");
    }
}

#[test]
fn what_is_no_capture_is_told_by_its_first_bytes() {
    for (bytes, found) in [
        (&b""[..], "nothing: it is empty"),
        (b"{\"feed\": 1}", "a file that begins with 7b 22 66 65 65 64 22 3a"),
        (b"\xfd7zXZ\0..", "xz: decompress it first (`xz -d`), or pipe it in as `-`"),
        (b"\xa1\xb2\xc3", "a file that begins with a1 b2 c3"),
    ] {
        let error = open(bytes).unwrap_err().to_string();
        assert_eq!(
            error,
            format!("the input is not a capture: expected pcap or pcapng, plain, gzip or zstd, found {found}")
        );
    }
    for pack in [gzip, zstd] {
        let error = open(&pack(b"text")).unwrap_err().to_string();
        assert!(error.ends_with("found a file that begins with 74 65 78 74"), "{error}");
        for inside in [gzip, zstd] {
            let error = open(&pack(&inside(b"text"))).unwrap_err().to_string();
            assert!(error.ends_with("found what is compressed twice: decompress it once first"), "{error}");
        }
    }
}

#[test]
fn a_section_that_describes_interfaces_without_end_is_refused() {
    let mut file = File::pcapng(false);
    for _ in 0..5_000 {
        file.interface(1, 0, "eth0", None, None);
    }
    let (_, error) = all(&mut reader(&file.bytes));
    assert!(matches!(error, Some(CaptureError::Damaged { .. })), "{error:?}");
}

#[test]
fn drops_are_those_that_the_capture_tells() {
    for big in [false, true] {
        let mut file = File::pcapng(big);
        for _ in 0..2 {
            file.interface(101, 0, "A", Some(9), None);
            file.interface(101, 0, "B", Some(9), None);
            file.enhanced(0, 1, &raw(1, b"one"));
            file.statistics(0, 9, 2);
            file.statistics(0, 9, 3);
            file.statistics(1, 9, 0);
            file.section(!big, "");
        }
        let mut reader = reader(&file.bytes);
        all(&mut reader);
        assert_eq!(reader.dropped().collect::<Vec<_>>(), [("A", 6)], "big: {big}");
        // somebody else's end: the rule asks for the last record's
        assert_eq!(reader.end_stamp(), None);
    }
}

#[test]
fn the_stored_end_counts_where_twinline_wrote_every_section() {
    for (applications, end) in [
        (["twinline 0.1.0", "twinline 0.2.0"], Some(Nanos(1 << 40 | 9))),
        (["twinline 0.1.0", "Dumpcap"], None),
        (["", "twinline 0.1.0"], None),
    ] {
        let mut file = File::pcapng(true);
        file.bytes.clear();
        for (n, application) in applications.iter().enumerate() {
            file.section(n == 0, application);
            file.interface(101, 0, "A", Some(9), None);
            file.statistics(0, 1 << 40 | 9, 0);
        }
        let mut read = reader(&file.bytes);
        all(&mut read);
        assert_eq!(read.end_stamp(), end, "{applications:?}");
    }
}
