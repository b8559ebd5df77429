//! Members and frames: one, many, cut anywhere, damaged, and such that ask for too much.

use std::io::Write;

use flate2::{Compression, write::GzEncoder};

use super::*;

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::encode_all(bytes, 3).unwrap()
}

/// A frame that decoders skip.
fn skippable(n: u8, len: u32) -> Vec<u8> {
    [&[0x50 | n, 0x2a, 0x4d, 0x18][..], &len.to_le_bytes(), &vec![0xab; len as usize]].concat()
}

/// Gives at most so many bytes at a time.
struct Trickle(io::Cursor<Vec<u8>>, usize);

impl Read for Trickle {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let most = into.len().min(self.1);
        self.0.read(&mut into[..most])
    }
}

/// What came out, whether it was cut, whether something stood behind.
fn all_by(bytes: &[u8], step: usize, room: usize) -> io::Result<(Vec<u8>, bool, bool)> {
    let len = bytes.len() as u64;
    let mut bytes = Bytes::new(Box::new(Trickle(io::Cursor::new(bytes.to_vec()), step)))?;
    let (mut out, mut into) = (Vec::new(), vec![0; room]);
    loop {
        match bytes.read(&mut into)? {
            0 => break,
            read => out.extend_from_slice(&into[..read]),
        }
    }
    assert_eq!(bytes.read(&mut into)?, 0, "the end stays the end");
    assert!(bytes.position() <= len && (bytes.trailing() || bytes.position() == len));
    Ok((out, bytes.cut(), bytes.trailing()))
}

fn all(bytes: &[u8]) -> (Vec<u8>, bool, bool) {
    all_by(bytes, usize::MAX, 4_096).unwrap()
}

/// Bytes that do not compress well.
fn plain() -> Vec<u8> {
    (0..50_000_u32).flat_map(|n| (n.wrapping_mul(2_654_435_761) >> (n % 16)).to_le_bytes()).collect()
}

#[test]
fn members_and_frames_are_read_one_behind_the_other_and_padding_is_told() {
    for pack in [gzip, zstd] {
        let mut two = pack(b"one ");
        two.extend(pack(b""));
        two.extend(pack(b"two"));
        assert_eq!(all(&two), (b"one two".to_vec(), false, false));
        for behind in [&[0; 512][..], b"\0", b"noise", &[0x28, 0xb5, 0x2f, 0xfe]] {
            let padded = [&two[..], behind].concat();
            assert_eq!(all(&padded), (b"one two".to_vec(), false, true), "{behind:?}");
        }
    }
    for short in [&b"\x1f"[..], b"\x28\xb5\x2f", b"\x50\x2a\x4d", b""] {
        assert_eq!(all(short), (short.to_vec(), false, false), "{short:x?}");
    }
}

#[test]
fn skippable_frames_are_skipped_wherever_they_stand() {
    let two = [skippable(0, 5), zstd(b"one "), skippable(15, 70_000), skippable(7, 0), zstd(b"two")].concat();
    for step in [1, 3, 7, usize::MAX] {
        assert_eq!(all_by(&two, step, 2).unwrap(), (b"one two".to_vec(), false, false), "{step}");
    }
    let last = [zstd(b"one"), skippable(3, 9)].concat();
    assert_eq!(all(&last), (b"one".to_vec(), false, false));
    assert_eq!(all(&last[..last.len() - 1]), (b"one".to_vec(), true, false));
    assert_eq!(all(&last[..last.len() - 14]), (b"one".to_vec(), false, true));
}

#[test]
fn what_comes_in_small_pieces_is_the_same() {
    let plain = plain();
    for pack in [gzip, zstd] {
        let packed: Vec<u8> = plain.chunks(30_000).flat_map(pack).collect();
        for (step, room) in [(1, 4_096), (1_000, 1), (977, 300_000), (usize::MAX, 7)] {
            let (out, cut, trailing) = all_by(&packed, step, room).unwrap();
            assert!(out == plain && !cut && !trailing, "{step} {room}");
        }
    }
}

#[test]
fn a_cut_stream_gives_what_it_holds() {
    let plain = plain();
    let blocks = zstd::encode_all(&plain[..], 1).unwrap();
    let frames: Vec<u8> = plain.chunks(10_000).flat_map(zstd).collect();
    for (packed, least) in [(gzip(&plain), plain.len() * 9 / 10), (blocks, 128 << 10), (frames, plain.len() - 10_000)] {
        let mut most = 0;
        for keep in (4..packed.len()).step_by(977).chain(packed.len() - 12..packed.len()) {
            let (got, cut, trailing) = all(&packed[..keep]);
            assert!(plain.starts_with(&got) && !trailing, "{keep}");
            // between two frames nothing says that there were more
            assert!(cut || got.len().is_multiple_of(10_000), "{keep}");
            assert!(got.len() >= most, "{keep}");
            most = got.len();
        }
        assert!(most >= least, "{most} of {}", plain.len());
    }
}

#[test]
fn damage_is_an_error_and_never_other_bytes() {
    let plain = plain();
    // with a checksum, which is not on by default in the library and is in the program
    let mut encoder = zstd::Encoder::new(Vec::new(), 3).unwrap();
    encoder.include_checksum(true).unwrap();
    encoder.write_all(&plain).unwrap();
    let packed = encoder.finish().unwrap();
    assert_eq!(all(&packed).0, plain);
    for at in (20..packed.len()).step_by(4_999) {
        let mut damaged = packed.clone();
        damaged[at] ^= 0x10;
        match all_by(&damaged, usize::MAX, 4_096) {
            Err(error) => assert!(error.to_string().starts_with("its zstd data is corrupt: "), "{error}"),
            Ok((got, cut, _)) => assert!(cut && plain.starts_with(&got), "{at}"),
        }
    }
}

#[test]
fn a_frame_that_asks_for_too_much_memory_is_refused() {
    // no checksum, no size; a window of 2^(10 + n): then a block of one byte, the last
    let window = |log: u8| [&ZSTD[..], &[0, (log - 10) << 3], &[9, 0, 0, b'x']].concat();
    assert_eq!(all(&window(ZSTD_WINDOW_LOG as u8)), (b"x".to_vec(), false, false));
    // a frame of one segment: its size is its window
    let single = |size: u64| [&ZSTD[..], &[0xe0], &size.to_le_bytes(), &[9, 0, 0, b'x']].concat();
    assert_eq!(all(&single(1)), (b"x".to_vec(), false, false));
    for packed in [window(28), window(31), window(41), single((128 << 20) + 1), single(1 << 40), single(u64::MAX - 2)] {
        let error = all_by(&packed, usize::MAX, 4_096).unwrap_err().to_string();
        assert_eq!(
            error,
            "its zstd window is larger than 128 MiB, the most that is granted: pipe it in as `-` (`zstd -dc --long=31`)",
            "{packed:x?}"
        );
    }
}
