//! Captures, byte by byte: what the reader is tested against is never what the writer made.

use std::io::{Cursor, Write as _};

use etherparse::PacketBuilder;
use flate2::Compression;
use flate2::write::GzEncoder;
use twinline_node::capture::{CaptureError, CaptureReader};
use twinline_node::config::Feed;

use crate::support::feed::{line, of};

/// A feed whose lines list these groups.
pub fn feed(lines: &[(&str, &[&str])]) -> Feed {
    let lines: Vec<_> = lines.iter().map(|(name, groups)| line(name, "127.0.0.1", groups)).collect();
    of(&lines)
}

/// The feed of most tests: lines A and B, one group each.
pub fn two_lines() -> Feed {
    feed(&[("A", &["239.1.1.1:26400"]), ("B", &["239.1.2.1:26400"])])
}

/// An IPv4 packet for line `line` (1 or 2) of [`two_lines`].
pub fn raw(line: u8, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    PacketBuilder::ipv4([10, 0, 0, line], [239, 1, line, 1], 16).udp(5_000, 26_400).write(&mut out, payload).unwrap();
    out
}

/// The same behind an Ethernet header with these tags.
pub fn ethernet(tags: &[u16], packet: &[u8]) -> Vec<u8> {
    let mut out = vec![1, 0, 0x5e, 1, 1, 1, 2, 0, 0, 0, 0, 1];
    for tag in tags {
        out.extend(tag.to_be_bytes());
        out.extend([0, 5]);
    }
    out.extend([0x08, 0x00]);
    out.extend(packet);
    out
}

pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

pub fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::encode_all(bytes, 3).unwrap()
}

/// An IPv4 packet in fragments of so many units of eight bytes.
pub fn fragments(packet: &[u8], id: u16, units: usize) -> Vec<Vec<u8>> {
    let header = usize::from(packet[0] & 0xf) * 4;
    let total = usize::from(u16::from_be_bytes([packet[2], packet[3]]));
    let body = &packet[header..total];
    let pieces = body.chunks(units * 8).enumerate().map(|(n, piece)| {
        let mut out = packet[..header].to_vec();
        let more = if (n + 1) * units * 8 < body.len() { 0x2000 } else { 0 };
        out[2..4].copy_from_slice(&((header + piece.len()) as u16).to_be_bytes());
        out[4..6].copy_from_slice(&id.to_be_bytes());
        out[6..8].copy_from_slice(&((n * units) as u16 | more).to_be_bytes());
        out.extend(piece);
        out
    });
    pieces.collect()
}

/// A file in the making, in either byte order, and where its packets end.
pub struct File {
    pub bytes: Vec<u8>,
    pub ends: Vec<usize>,
    big: bool,
}

impl File {
    /// A classic one.
    pub fn pcap(big: bool, magic: u32, link: u32) -> File {
        let mut file = File { bytes: Vec::new(), ends: Vec::new(), big };
        file.u32(magic);
        file.u16(2);
        file.u16(4);
        file.u32(0);
        file.u32(0);
        file.u32(65_535);
        file.u32(link);
        file
    }

    pub fn record(&mut self, seconds: u32, fraction: u32, data: &[u8]) {
        self.cut_record(seconds, fraction, data, data.len());
    }

    pub fn cut_record(&mut self, seconds: u32, fraction: u32, data: &[u8], original: usize) {
        self.u32(seconds);
        self.u32(fraction);
        self.u32(data.len() as u32);
        self.u32(original as u32);
        self.bytes.extend(data);
        self.ends.push(self.bytes.len());
    }

    /// A pcapng one, with its first section.
    pub fn pcapng(big: bool) -> File {
        let mut file = File { bytes: Vec::new(), ends: Vec::new(), big };
        file.section(big, "");
        file
    }

    pub fn section(&mut self, big: bool, application: &str) {
        self.big = big;
        self.block(0x0a0d_0d0a, |file| {
            file.u32(0x1a2b_3c4d);
            file.u16(1);
            file.u16(0);
            file.u32(u32::MAX);
            file.u32(u32::MAX);
            if !application.is_empty() {
                file.option(4, application.as_bytes());
                file.option(0, &[]);
            }
        });
    }

    pub fn interface(&mut self, link: u16, snap_length: u32, name: &str, tsresol: Option<u8>, offset: Option<i64>) {
        self.block(1, |file| {
            file.u16(link);
            file.u16(0);
            file.u32(snap_length);
            if !name.is_empty() {
                file.option(2, name.as_bytes());
            }
            if let Some(tsresol) = tsresol {
                file.option(9, &[tsresol]);
            }
            if let Some(offset) = offset {
                let raw = if file.big { offset.to_be_bytes() } else { offset.to_le_bytes() };
                file.option(14, &raw);
            }
            file.option(0, &[]);
        });
    }

    pub fn enhanced(&mut self, interface: u32, stamp: u64, data: &[u8]) {
        self.block(6, |file| {
            file.u32(interface);
            file.u32((stamp >> 32) as u32);
            file.u32(stamp as u32);
            file.u32(data.len() as u32);
            file.u32(data.len() as u32);
            file.padded(data);
            file.option(2, &[0; 4]);
            file.option(0, &[]);
        });
        self.ends.push(self.bytes.len());
    }

    pub fn simple(&mut self, data: &[u8], original: usize) {
        self.block(3, |file| {
            file.u32(original as u32);
            file.padded(data);
        });
        self.ends.push(self.bytes.len());
    }

    pub fn old(&mut self, interface: u16, stamp: u64, data: &[u8]) {
        self.block(2, |file| {
            file.u16(interface);
            file.u16(u16::MAX);
            file.u32((stamp >> 32) as u32);
            file.u32(stamp as u32);
            file.u32(data.len() as u32);
            file.u32(data.len() as u32);
            file.padded(data);
        });
        self.ends.push(self.bytes.len());
    }

    /// Interface statistics with an end and drops.
    pub fn statistics(&mut self, interface: u32, end: u64, dropped: u64) {
        self.block(5, |file| {
            file.u32(interface);
            file.u32(0);
            file.u32(0);
            let (high, low) = ((end >> 32) as u32, end as u32);
            let halves = if file.big {
                [high.to_be_bytes(), low.to_be_bytes()]
            } else {
                [high.to_le_bytes(), low.to_le_bytes()]
            };
            file.option(3, halves.as_flattened());
            let raw = if file.big { dropped.to_be_bytes() } else { dropped.to_le_bytes() };
            file.option(5, &raw);
            file.option(0, &[]);
        });
    }

    pub fn block(&mut self, kind: u32, fill: impl FnOnce(&mut File)) {
        let start = self.bytes.len();
        self.u32(kind);
        self.u32(0);
        fill(self);
        let length = (self.bytes.len() - start + 4) as u32;
        self.u32(length);
        let raw = if self.big { length.to_be_bytes() } else { length.to_le_bytes() };
        self.bytes[start + 4..start + 8].copy_from_slice(&raw);
    }

    pub fn u16(&mut self, n: u16) {
        self.bytes.extend(if self.big { n.to_be_bytes() } else { n.to_le_bytes() });
    }

    pub fn u32(&mut self, n: u32) {
        self.bytes.extend(if self.big { n.to_be_bytes() } else { n.to_le_bytes() });
    }

    fn option(&mut self, code: u16, value: &[u8]) {
        self.u16(code);
        self.u16(value.len() as u16);
        self.padded(value);
    }

    fn padded(&mut self, bytes: &[u8]) {
        self.bytes.extend(bytes);
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}

/// A record, kept: stamp, interface name, the destination's third octet (the line in [`raw`]), payload.
pub type Kept = (u64, Option<String>, u8, Vec<u8>);

pub fn reader(bytes: &[u8]) -> CaptureReader {
    open(bytes).unwrap()
}

pub fn open(bytes: &[u8]) -> Result<CaptureReader, CaptureError> {
    CaptureReader::from_read(Cursor::new(bytes.to_vec()))
}

/// All records up to the end or an error.
pub fn all(reader: &mut CaptureReader) -> (Vec<Kept>, Option<CaptureError>) {
    let mut kept = Vec::new();
    loop {
        match reader.next() {
            Ok(Some(record)) => kept.push((
                record.stamp.as_u64(),
                record.interface_name.map(Into::into),
                record.destination.ip().octets()[2],
                record.payload.to_vec(),
            )),
            Ok(None) => return (kept, None),
            Err(e) => return (kept, Some(e)),
        }
    }
}

/// A short record to compare with: stamp, line, payload.
pub fn brief(kept: &[Kept]) -> Vec<(u64, u8, &str)> {
    kept.iter().map(|(stamp, _, line, payload)| (*stamp, *line, std::str::from_utf8(payload).unwrap())).collect()
}
