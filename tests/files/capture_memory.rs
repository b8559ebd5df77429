//! Resident memory while a long capture is arbitrated, out of a stream that is made as it is read: it does not grow, plain or
//! compressed, whatever is in fragments and never becomes whole. Its process is its own, since the whole of it is measured.

use std::io::{self, Read, Write};

use etherparse::PacketBuilder;
use flate2::Compression;
use flate2::write::GzEncoder;
use twinline_core::Nanos;
use twinline_core::frame::Session;
use twinline_core::framing::{Framing, MoldUdp64};
use twinline_node::capture::{CaptureReader, Captures};
use twinline_node::handler::Handler;

use crate::support::alone::alone;
use crate::support::feed::two_lines;
use crate::support::sink::Count;

const LIMITS: &str = "[arbiter]\ngap_timeout = \"1ms\"\nhold_messages = 2048\nhold_bytes = 131072\n";

/// What the stream is compressed with: each piece of it a member or frame of its own, as parallel compressors do it.
#[derive(Clone, Copy, Debug)]
enum Packing {
    Plain,
    Gzip,
    Zstd,
}

/// A pcapng file without an end: both lines, gaps, other traffic, and fragments of which some are missing. Each piece is a
/// section of its own.
struct Endless {
    packing: Packing,
    session: Session,
    /// Of the next datagram of both lines.
    next: u64,
    /// How many bytes of capture are left to make.
    left: u64,
    made: io::Cursor<Vec<u8>>,
    raw: Vec<u8>,
}

const PACK: u64 = 20;

impl Endless {
    fn new(packing: Packing, bytes: u64) -> Endless {
        let session = Session::text(b"MEMORY0001");
        Endless { packing, session, next: 1, left: bytes, made: io::Cursor::default(), raw: Vec::new() }
    }

    fn block(&mut self, kind: u32, body: &[&[u8]]) {
        let len = body.iter().map(|part| part.len()).sum::<usize>();
        let size = (12 + len.next_multiple_of(4)) as u32;
        self.raw.extend(kind.to_le_bytes());
        self.raw.extend(size.to_le_bytes());
        body.iter().for_each(|part| self.raw.extend_from_slice(part));
        self.raw.resize(self.raw.len().next_multiple_of(4), 0);
        self.raw.extend(size.to_le_bytes());
    }

    fn packet(&mut self, stamp: u64, packet: &[u8]) {
        let len = (packet.len() as u32).to_le_bytes();
        let (high, low) = (((stamp >> 32) as u32).to_le_bytes(), (stamp as u32).to_le_bytes());
        self.block(6, &[&[0; 4], &high, &low, &len, &len, packet]);
    }

    /// A datagram of a line, in fragments now and then, of which one may be missing.
    fn datagram(&mut self, n: u64, line: u8, stamp: u64, payload: &[u8]) {
        let mut packet = Vec::new();
        let builder = PacketBuilder::ipv4([10, 0, 0, line], [239, 81, line, 1], 16).udp(5_000, 26_400);
        builder.write(&mut packet, payload).unwrap();
        if !n.is_multiple_of(10) {
            return self.packet(stamp, &packet);
        }
        let (header, body) = packet.split_at(20);
        let last = body.len().div_ceil(64) - 1;
        for (at, piece) in body.chunks(64).enumerate() {
            if n.is_multiple_of(70) && at == 3 {
                continue;
            }
            let mut fragment = [header, piece].concat();
            let len = fragment.len() as u16;
            fragment[2..4].copy_from_slice(&len.to_be_bytes());
            fragment[4..6].copy_from_slice(&(n as u16).to_be_bytes());
            let more = if at < last { 0x2000 } else { 0 };
            fragment[6..8].copy_from_slice(&((at * 8) as u16 | more).to_be_bytes());
            self.packet(stamp, &fragment);
        }
    }

    fn piece(&mut self) -> Vec<u8> {
        self.raw.clear();
        self.block(0x0a0d_0d0a, &[&0x1a2b_3c4d_u32.to_le_bytes(), &[1, 0, 0, 0], &[0xff; 8]]);
        // raw IP, nanoseconds
        self.block(1, &[&[101, 0, 0, 0, 0, 0, 0, 0], &[9, 0, 1, 0, 9, 0, 0, 0], &[0; 4]]);
        let messages = [b"twenty bytes of words".as_slice(); PACK as usize];
        let mut payload = Vec::new();
        for _ in 0..100 {
            let n = self.next;
            self.next += 1;
            let stamp = 1_000_000_000 + n * 20_000;
            MoldUdp64.encode(self.session, (n - 1) * PACK + 1, &messages, 1_400, &mut payload);
            for (line, lost) in [(1, 77), (2, 55)] {
                if !n.is_multiple_of(lost) {
                    self.datagram(n, line, stamp + u64::from(line), &payload);
                }
            }
            self.datagram(n, 9, stamp + 5, b"of another group");
        }
        self.left = self.left.saturating_sub(self.raw.len() as u64);
        match self.packing {
            Packing::Plain => self.raw.clone(),
            Packing::Zstd => zstd::encode_all(&self.raw[..], 1).unwrap(),
            Packing::Gzip => {
                let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
                encoder.write_all(&self.raw).unwrap();
                encoder.finish().unwrap()
            }
        }
    }
}

impl Read for Endless {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.made.read(into)? {
                0 if self.left > 0 && !into.is_empty() => self.made = io::Cursor::new(self.piece()),
                read => return Ok(read),
            }
        }
    }
}

/// Resident memory in bytes.
fn resident() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: u64 = statm.split_whitespace().nth(1).unwrap().parse().unwrap();
    pages * 4_096
}

#[test]
fn resident_memory_is_constant_over_a_long_capture() {
    alone("capture_memory::resident_memory_is_constant_over_a_long_capture", memory_is_constant);
}

fn memory_is_constant() {
    let feed = two_lines("memory", "moldudp64", LIMITS);
    let mib = if cfg!(debug_assertions) { 32 } else { 1_024 };
    for packing in [Packing::Plain, Packing::Gzip, Packing::Zstd] {
        let bytes = mib << 20;
        let reader = CaptureReader::from_read(Endless::new(packing, bytes)).unwrap();
        let mut captures = Captures::from_readers(vec![(None, reader)], &feed).unwrap();
        let (mut handler, mut sink) = (Handler::new(MoldUdp64, &feed), Count::default());
        let (mut before, mut most) = (None, 0);
        // enough for every buffer to have been round once, and for every place of a datagram in fragments to have been used
        let warm = bytes / 1_000 / 3;
        while let Some(item) = captures.next().unwrap() {
            handler.on_datagram(item.stamp, item.line, item.group, item.payload, &mut sink);
            if captures.datagrams() == warm {
                before = Some(resident());
            } else if captures.datagrams().is_multiple_of(8_192) && before.is_some() {
                most = most.max(resident());
            }
        }
        handler.finish(Nanos::MAX, &mut sink);
        let before = before.expect("the capture is longer than that");
        most = most.max(resident());
        let ignored = captures.ignored();
        assert!(captures.warnings().is_empty() && captures.reassembled() > 1_000 && ignored.other_groups > 10_000);
        assert!(ignored.fragments.incomplete > 1_000, "{ignored:?}");
        // what one line lacks, or one line's fragments, the other may bring
        let sent = captures.datagrams() * PACK;
        assert!(sink.0 > sent * 4 / 10, "{} of {sent} copies", sink.0);
        assert!(
            most < before + (1 << 20),
            "{packing:?}: resident memory grew from {before} to {most} bytes over {mib} MiB"
        );
    }
}
