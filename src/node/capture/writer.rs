//! What the lines received, as a pcapng file that reads back the same.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::net::SocketAddrV4;
use std::path::Path;

use etherparse::{IpNumber, Ipv4Header, UdpHeader};

use super::CaptureError;
use super::pcapng::{
    APPLICATION, IF_NAME, IF_TSRESOL, INTERFACE, ISB_ENDTIME, ISB_IFDROP, ISB_IFRECV, ISB_STARTTIME, PACKET, SECTION,
    SHB_USERAPPL, STATISTICS,
};
use crate::config::Feed;
use twinline_core::Nanos;
use twinline_core::frame::Line;

/// The longest payload that fits in an IPv4 datagram.
pub const PAYLOAD_MAX: usize = 65_507;

const HEADERS: usize = Ipv4Header::MIN_LEN + UdpHeader::LEN;
const LINKTYPE_RAW: u16 = 101;
const SNAP_LENGTH: u32 = 1 << 18;
/// 10^-9 s.
const TSRESOL: u8 = 9;
/// Larger than any block, so that a block is taken whole or not at all: what an error leaves unwritten goes out with the next
/// write, in its place.
const BUFFER: usize = 1 << 20;

/// Writes captures: one interface per line, named like the line, nanosecond stamps, raw IPv4 packets whose headers are
/// made from the addresses given.
///
/// ```no_run
/// # use std::path::Path;
/// # use twinline_core::frame::Line;
/// # use twinline_core::Nanos;
/// # use twinline_node::capture::CaptureWriter;
/// # use twinline_node::config::Feed;
/// # fn f(feed: Feed, source: std::net::SocketAddrV4) -> Result<(), twinline_node::capture::CaptureError> {
/// let mut writer = CaptureWriter::create(Path::new("out.pcapng"), &feed)?;
/// writer.write(Nanos(1), Line(0), source, feed.lines[0].groups[0], b"payload")?;
/// writer.finish(Nanos(2), &[0, 0])
/// # }
/// ```
pub struct CaptureWriter {
    file: String,
    out: BufWriter<Box<dyn Write + Send>>,
    /// Records written, per line.
    written: Vec<u64>,
    start: Option<Nanos>,
    block: Vec<u8>,
}

impl CaptureWriter {
    /// Begins a capture of a feed's lines; `-` is standard output. An existing file is overwritten.
    ///
    /// # Errors
    /// [`CaptureError::Write`].
    pub fn create(path: &Path, feed: &Feed) -> Result<CaptureWriter, CaptureError> {
        if path == Path::new("-") {
            return CaptureWriter::begin("standard output".into(), Box::new(io::stdout()), feed);
        }
        let file = path.display().to_string();
        match File::create(path) {
            Ok(out) => CaptureWriter::begin(file, Box::new(out), feed),
            Err(source) => Err(CaptureError::Write { file, source }),
        }
    }

    /// Begins a capture into any writer.
    ///
    /// # Errors
    /// [`CaptureError::Write`].
    pub fn to_write(out: impl Write + Send + 'static, feed: &Feed) -> Result<CaptureWriter, CaptureError> {
        CaptureWriter::begin("the output".into(), Box::new(out), feed)
    }

    fn begin(file: String, out: Box<dyn Write + Send>, feed: &Feed) -> Result<CaptureWriter, CaptureError> {
        let mut writer = CaptureWriter {
            file,
            out: BufWriter::with_capacity(BUFFER, out),
            written: vec![0; feed.lines.len()],
            start: None,
            block: Vec::with_capacity(HEADERS + PAYLOAD_MAX + 64),
        };
        writer.block(SECTION, |block| {
            block.extend(0x1a2b_3c4d_u32.to_le_bytes());
            block.extend([1, 0, 0, 0]);
            block.extend(u64::MAX.to_le_bytes());
            option(block, SHB_USERAPPL, format!("{APPLICATION}{}", env!("CARGO_PKG_VERSION")).as_bytes());
        })?;
        for line in &feed.lines {
            writer.block(INTERFACE, |block| {
                block.extend(LINKTYPE_RAW.to_le_bytes());
                block.extend([0, 0]);
                block.extend(SNAP_LENGTH.to_le_bytes());
                option(block, IF_NAME, line.name.as_bytes());
                option(block, IF_TSRESOL, &[TSRESOL]);
            })?;
        }
        // so that an unwritable place is reported at once, and a capture that is cut short has its header
        writer.flush()?;
        Ok(writer)
    }

    /// Takes one datagram. After an error it is not in the file. What was taken before still is, and the next call may succeed, for
    /// example if the disk was full.
    ///
    /// # Errors
    /// [`CaptureError::Write`]; [`CaptureError::Record`] for a line that the feed does not have or a payload longer than
    /// [`PAYLOAD_MAX`].
    pub fn write(
        &mut self,
        stamp: Nanos,
        line: Line,
        source: SocketAddrV4,
        destination: SocketAddrV4,
        payload: &[u8],
    ) -> Result<(), CaptureError> {
        let wrong = |what: String| CaptureError::Record { file: self.file.clone(), what };
        if line.index() >= self.written.len() {
            return Err(wrong(format!("the feed has {} lines, and this is number {}", self.written.len(), line.0)));
        }
        let headers = headers(source, destination, payload)
            .ok_or_else(|| wrong(format!("a payload of {} bytes, at most {PAYLOAD_MAX} fit", payload.len())))?;
        let length = (HEADERS + payload.len()) as u32;
        self.block(PACKET, |block| {
            block.extend(u32::from(line.0).to_le_bytes());
            block.extend(high_low(stamp));
            block.extend(length.to_le_bytes());
            block.extend(length.to_le_bytes());
            block.extend(headers);
            block.extend(payload);
            pad(block);
        })?;
        self.written[line.index()] += 1;
        self.start = self.start.or(Some(stamp));
        Ok(())
    }

    /// Hands everything that was taken to the system.
    ///
    /// # Errors
    /// [`CaptureError::Write`].
    pub fn flush(&mut self) -> Result<(), CaptureError> {
        self.out.flush().map_err(|source| CaptureError::Write { file: self.file.clone(), source })
    }

    /// Ends the capture: stores when the recording ended, and how many records of each line were not written.
    ///
    /// # Errors
    /// [`CaptureError::Write`]: the file is then cut off somewhere before its end.
    pub fn finish(mut self, end_stamp: Nanos, dropped: &[u64]) -> Result<(), CaptureError> {
        let start = self.start.unwrap_or(end_stamp);
        for line in 0..self.written.len() {
            let dropped = dropped.get(line).copied().unwrap_or(0);
            let received = self.written[line].saturating_add(dropped);
            self.block(STATISTICS, |block| {
                block.extend((line as u32).to_le_bytes());
                block.extend(high_low(end_stamp));
                option(block, ISB_STARTTIME, &high_low(start));
                option(block, ISB_ENDTIME, &high_low(end_stamp));
                option(block, ISB_IFRECV, &received.to_le_bytes());
                option(block, ISB_IFDROP, &dropped.to_le_bytes());
            })?;
        }
        self.flush()
    }

    /// Writes one block: its type and length, what `fill` appends, an end of options where there are any, its length.
    fn block(&mut self, kind: u32, fill: impl FnOnce(&mut Vec<u8>)) -> Result<(), CaptureError> {
        self.block.clear();
        self.block.extend(kind.to_le_bytes());
        self.block.extend([0; 4]);
        fill(&mut self.block);
        if kind != PACKET {
            self.block.extend([0; 4]);
        }
        let length = (self.block.len() as u32 + 4).to_le_bytes();
        self.block[4..8].copy_from_slice(&length);
        self.block.extend(length);
        self.out.write_all(&self.block).map_err(|source| CaptureError::Write { file: self.file.clone(), source })
    }
}

/// IPv4 and UDP headers with their checksums; `None` if the payload is too long for them.
fn headers(source: SocketAddrV4, destination: SocketAddrV4, payload: &[u8]) -> Option<[u8; HEADERS]> {
    let length = u16::try_from(UdpHeader::LEN + payload.len()).ok()?;
    let mut ip = Ipv4Header::new(length, 64, IpNumber::UDP, source.ip().octets(), destination.ip().octets()).ok()?;
    ip.header_checksum = ip.calc_header_checksum();
    let udp = UdpHeader::with_ipv4_checksum(source.port(), destination.port(), &ip, payload).ok()?;
    let mut out = [0; HEADERS];
    out[..Ipv4Header::MIN_LEN].copy_from_slice(&ip.to_bytes());
    out[Ipv4Header::MIN_LEN..].copy_from_slice(&udp.to_bytes());
    Some(out)
}

/// A stamp as the format always has it: the upper half first.
fn high_low(stamp: Nanos) -> [u8; 8] {
    let mut out = [0; 8];
    out[..4].copy_from_slice(&((stamp.0 >> 32) as u32).to_le_bytes());
    out[4..].copy_from_slice(&(stamp.0 as u32).to_le_bytes());
    out
}

fn option(block: &mut Vec<u8>, code: u16, value: &[u8]) {
    // names in feed files are never that long
    let value = &value[..value.len().min(usize::from(u16::MAX))];
    block.extend(code.to_le_bytes());
    block.extend((value.len() as u16).to_le_bytes());
    block.extend(value);
    pad(block);
}

fn pad(block: &mut Vec<u8>) {
    block.resize(block.len().next_multiple_of(4), 0);
}
