//! One capture file, from its first record to its last.

use std::fmt;
use std::io::{self, Read};
use std::net::SocketAddrV4;
use std::ops::Range;
use std::path::Path;

use super::CaptureError;
use super::facts::{CaptureRecord, CaptureWarning, CapturedPacket, FileKind, InterfaceFacts, RecordCounts};
use super::format::{Block, Fault, Packet};
use super::input::{Identity, Input};
use super::pcap::Pcap;
use super::pcapng::{PcapNg, SECTION};
use crate::ip::{self, LinkType, Reason, Reassembler, Udp, UnusedFragments};
use twinline_core::Nanos;

/// Reads one capture file, forwards, in its own order.
///
/// ```
/// # use std::io::Cursor;
/// use twinline_node::capture::CaptureReader;
/// // a classic capture's header, and no record
/// let file = [0xd4, 0xc3, 0xb2, 0xa1, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0, 1, 0, 0, 0];
/// let mut reader = CaptureReader::from_read(Cursor::new(file))?;
/// assert!(reader.next()?.is_none());
/// assert!(!reader.is_cut());
/// # Ok::<(), twinline_node::capture::CaptureError>(())
/// ```
pub struct CaptureReader {
    file: String,
    input: Input,
    format: Format,
    counts: RecordCounts,
    /// How many bytes of the window the last record takes, which are to be released.
    behind: usize,
    last_stamp: Option<Nanos>,
    current: Current,
    /// Made when the first fragment comes.
    fragments: Option<Box<Reassembler>>,
    /// The section that the last fragment was in. Each section numbers its own interfaces.
    section: u64,
    /// The payload of the last datagram that was reassembled.
    reassembled: Vec<u8>,
    /// The first link layer that is not read, and how many packets are of any such.
    unread: Option<(u16, u64)>,
    state: State,
}

enum Format {
    Pcap(Pcap),
    PcapNg(PcapNg),
    /// A file that ends within its first header.
    Nothing,
}

/// The record that the reader stands on.
struct Current {
    stamp: Nanos,
    interface: u32,
    source: SocketAddrV4,
    destination: SocketAddrV4,
    payload: Payload,
}

/// Where a payload lies.
enum Payload {
    /// In the window.
    Window(Range<usize>),
    /// In `reassembled`.
    Reassembled,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Reading,
    Ended,
    Cut,
}

impl CaptureReader {
    /// Opens a capture file; `-` is standard input. Its first bytes decide its format, not its name.
    ///
    /// # Errors
    /// [`CaptureError::Open`], [`CaptureError::Read`], [`CaptureError::NotACapture`].
    pub fn open(path: &Path) -> Result<CaptureReader, CaptureError> {
        let file = if path == Path::new("-") { "standard input".to_string() } else { path.display().to_string() };
        let input = Input::open(path).map_err(|source| CaptureError::Open {
            file: file.clone(),
            source,
            hint: String::new(),
        })?;
        CaptureReader::start(file, input)
    }

    /// Reads a capture from any reader.
    ///
    /// # Errors
    /// [`CaptureError::Read`], [`CaptureError::NotACapture`].
    pub fn from_read(read: impl Read + Send + 'static) -> Result<CaptureReader, CaptureError> {
        let file = "the input".to_string();
        match Input::from_read(Box::new(read)) {
            Ok(input) => CaptureReader::start(file, input),
            Err(source) => Err(CaptureError::Read { file, at: 0, records: 0, source }),
        }
    }

    fn start(file: String, mut input: Input) -> Result<CaptureReader, CaptureError> {
        let begin = |input: &mut Input| -> io::Result<Option<Format>> {
            input.need(Pcap::HEADER)?;
            let head = input.data();
            let head = &head[..head.len().min(Pcap::HEADER)];
            let Some(&magic) = head.first_chunk::<4>() else { return Ok(input.cut().then_some(Format::Nothing)) };
            if magic == SECTION.to_be_bytes() {
                return Ok(Some(Format::PcapNg(PcapNg::new())));
            }
            if !is_pcap(magic) {
                return Ok(None);
            }
            let format = Pcap::from_header(head);
            if format.is_some() {
                input.consume(Pcap::HEADER);
            }
            Ok(Some(format.map_or(Format::Nothing, Format::Pcap)))
        };
        match begin(&mut input) {
            Ok(Some(format)) => Ok(CaptureReader {
                file,
                input,
                format,
                counts: RecordCounts::default(),
                behind: 0,
                last_stamp: None,
                current: Current {
                    stamp: Nanos::ZERO,
                    interface: 0,
                    source: SocketAddrV4::new([0; 4].into(), 0),
                    destination: SocketAddrV4::new([0; 4].into(), 0),
                    payload: Payload::Reassembled,
                },
                fragments: None,
                section: 0,
                reassembled: Vec::new(),
                unread: None,
                state: State::Reading,
            }),
            Ok(None) => Err(CaptureError::NotACapture { file, found: what_is(input.data()) }),
            Err(source) => Err(CaptureError::Read { file, at: 0, records: 0, source }),
        }
    }

    /// The next datagram; `None` at the end. An error also ends the file.
    ///
    /// # Errors
    /// [`CaptureError::Read`], [`CaptureError::Damaged`]. A file that is cut off is not an error: see [`CaptureReader::is_cut`].
    #[expect(
        clippy::should_implement_trait,
        reason = "a record borrows from the reader, so that it cannot be an Iterator"
    )]
    pub fn next(&mut self) -> Result<Option<CaptureRecord<'_>>, CaptureError> {
        while self.is_reading() {
            let mut left = u32::MAX;
            if self.advance(&mut left)? {
                return Ok(Some(self.current()));
            }
        }
        Ok(None)
    }

    /// Whether the end has not been reached yet.
    #[inline]
    pub fn is_reading(&self) -> bool {
        self.state == State::Reading
    }

    /// Goes to the next datagram; false at the end, or if the next `left` blocks hold none.
    #[inline]
    pub(super) fn advance(&mut self, left: &mut u32) -> Result<bool, CaptureError> {
        self.advance_seeing(left, |_| {})
    }

    /// Goes to the next datagram, which [`CaptureReader::current`] then returns, and shows every packet on the way, the datagram's
    /// own last. False at the end, or if the next `left` blocks hold none.
    ///
    /// # Errors
    /// As [`CaptureReader::next`].
    #[inline]
    pub fn advance_seeing(
        &mut self,
        left: &mut u32,
        mut see: impl FnMut(&CapturedPacket<'_>),
    ) -> Result<bool, CaptureError> {
        while self.is_reading() && *left > 0 {
            *left -= 1;
            self.input.consume(std::mem::take(&mut self.behind));
            let block = match &mut self.format {
                Format::Pcap(format) => format.next(&mut self.input),
                Format::PcapNg(format) => format.next(&mut self.input),
                Format::Nothing => Ok(Block::End),
            };
            match block {
                Ok(Block::Packet(packet)) => {
                    see(&self.seen(&packet));
                    if self.take(packet) {
                        return Ok(true);
                    }
                }
                Ok(Block::Malformed(size)) => {
                    self.behind = size;
                    self.counts.records += 1;
                    self.counts.malformed += 1;
                }
                Ok(Block::Other(size)) => self.behind = size,
                Ok(Block::End) => {
                    let cut = !self.input.data().is_empty() || self.input.cut();
                    self.end(if cut { State::Cut } else { State::Ended });
                    return Ok(false);
                }
                Err(fault) => return Err(self.fail(fault)),
            }
        }
        Ok(false)
    }

    /// Whether the packet holds a datagram, which is then the current one.
    #[inline]
    fn take(&mut self, packet: Packet) -> bool {
        self.behind = packet.size;
        self.counts.records += 1;
        self.counts.unstamped += u64::from(packet.stamp.is_none());
        let stamp = packet.stamp.or(self.last_stamp).unwrap_or(Nanos::ZERO);
        self.last_stamp = Some(stamp);
        let found = match self.input.data().get(packet.bytes.clone()) {
            Some(bytes) => ip::datagram(packet.link, bytes),
            None => Err(Reason::Malformed),
        };
        match found {
            Ok(found) => {
                self.counts.datagrams += 1;
                self.current = Current {
                    stamp,
                    interface: packet.interface,
                    source: found.source,
                    destination: found.destination,
                    payload: Payload::Window(
                        packet.bytes.start + found.payload.start..packet.bytes.start + found.payload.end,
                    ),
                };
                true
            }
            Err(Reason::Fragment) => match self.put_together(stamp, &packet) {
                Ok(whole) => {
                    self.counts.fragments += 1;
                    whole
                }
                Err(reason) => self.leave_out(reason, packet.link),
            },
            Err(reason) => self.leave_out(reason, packet.link),
        }
    }

    #[cold]
    fn leave_out(&mut self, reason: Reason, link: LinkType) -> bool {
        match reason {
            Reason::NotUdp => self.counts.not_udp += 1,
            Reason::Truncated => self.counts.truncated += 1,
            Reason::Fragment | Reason::Malformed => self.counts.malformed += 1,
        }
        if let (Reason::NotUdp, LinkType::Other(number)) = (reason, link) {
            self.unread.get_or_insert((number, 0)).1 += 1;
        }
        false
    }

    #[inline]
    fn seen(&self, packet: &Packet) -> CapturedPacket<'_> {
        let facts = match &self.format {
            Format::Pcap(format) => Some(format.facts()),
            Format::PcapNg(format) => format.facts(packet.interface),
            Format::Nothing => None,
        };
        CapturedPacket {
            stamp: packet.stamp,
            interface: packet.interface,
            facts: facts.unwrap_or(InterfaceFacts { name: None, link: 0, ticks_per_second: 0 }),
            link: packet.link,
            bytes: self.input.data().get(packet.bytes.clone()).unwrap_or_default(),
        }
    }

    /// Whether the fragment completes a datagram, which is then the current one: it came with its last fragment.
    #[cold]
    fn put_together(&mut self, stamp: Nanos, packet: &Packet) -> Result<bool, Reason> {
        let fragments = self.fragments.get_or_insert_default();
        if let Format::PcapNg(format) = &self.format
            && std::mem::replace(&mut self.section, format.sections()) != format.sections()
        {
            fragments.end();
        }
        let bytes = self.input.data().get(packet.bytes.clone()).ok_or(Reason::Malformed)?;
        let fragment = ip::fragment(packet.link, packet.interface, bytes)?;
        let Some(segment) = fragments.put(stamp, &fragment) else { return Ok(false) };
        let udp = Udp::parse(segment)?;
        self.reassembled.clear();
        self.reassembled.extend_from_slice(udp.payload);
        self.counts.datagrams += 1;
        self.counts.reassembled += 1;
        self.current = Current {
            stamp,
            interface: packet.interface,
            source: SocketAddrV4::new(fragment.of.source, udp.source_port),
            destination: SocketAddrV4::new(fragment.of.destination, udp.destination_port),
            payload: Payload::Reassembled,
        };
        Ok(true)
    }

    /// Nothing more comes, so what is in flight is never completed.
    fn end(&mut self, state: State) {
        self.state = state;
        if let (Some(fragments), Some(last)) = (&mut self.fragments, self.last_stamp) {
            fragments.expire(last);
            fragments.end();
        }
    }

    fn fail(&mut self, fault: Fault) -> CaptureError {
        self.end(State::Ended);
        let (file, at, records) = (self.file.clone(), self.input.consumed(), self.counts.records);
        match fault {
            Fault::Io(source) => CaptureError::Read { file, at, records, source },
            Fault::Damaged(what) => CaptureError::Damaged { file, at, records, what },
        }
    }

    /// The stamp of the datagram that [`CaptureReader::advance_seeing`] went to.
    #[inline]
    pub(super) fn stamp(&self) -> Nanos {
        self.current.stamp
    }

    /// The datagram that [`CaptureReader::advance_seeing`] went to.
    #[inline]
    pub fn current(&self) -> CaptureRecord<'_> {
        CaptureRecord {
            stamp: self.current.stamp,
            interface: self.current.interface,
            interface_name: match &self.format {
                Format::PcapNg(format) => format.name(self.current.interface),
                Format::Pcap(_) | Format::Nothing => None,
            },
            source: self.current.source,
            destination: self.current.destination,
            payload: match &self.current.payload {
                Payload::Window(range) => self.input.data().get(range.clone()).unwrap_or_default(),
                Payload::Reassembled => &self.reassembled,
            },
        }
    }

    /// The file as given, which is its name in messages.
    pub fn file(&self) -> &str {
        &self.file
    }

    /// What kind of file it is.
    pub fn kind(&self) -> FileKind {
        let format = match &self.format {
            Format::Pcap(_) => "pcap",
            Format::PcapNg(_) => "pcapng",
            Format::Nothing => "nothing",
        };
        FileKind { format, compression: self.input.compression() }
    }

    /// Its records by kind, so far.
    pub fn counts(&self) -> RecordCounts {
        let unused = self.fragments.as_ref().map_or(UnusedFragments::default(), |fragments| fragments.facts().unused);
        RecordCounts { unused, ..self.counts }
    }

    /// Whether the file ended within a record, a block, a gzip member or a zstd frame. False before the end.
    pub fn is_cut(&self) -> bool {
        self.state == State::Cut
    }

    /// How many bytes were read of the file as it lies on disk (compressed, if it is).
    pub fn position(&self) -> u64 {
        self.input.position()
    }

    /// How many bytes the file has on disk; `None` for a pipe.
    pub fn size(&self) -> Option<u64> {
        self.input.size()
    }

    pub(super) fn identity(&self) -> Option<Identity> {
        self.input.identity()
    }

    /// The stamp of the last packet so far, delivered or not.
    pub fn last_stamp(&self) -> Option<Nanos> {
        self.last_stamp
    }

    /// Whether Twinline wrote every section so far.
    pub fn is_own(&self) -> bool {
        matches!(&self.format, Format::PcapNg(format) if format.is_own())
    }

    /// When the recording ended, stored by Twinline's own [`CaptureWriter`](super::CaptureWriter). `None` for other captures, for
    /// one that was not finished, and before the end of the file.
    pub fn end_stamp(&self) -> Option<Nanos> {
        match &self.format {
            Format::PcapNg(format) if self.state != State::Reading => format.end_stamp(),
            _ => None,
        }
    }

    /// How many records the capture itself says are missing, by its interfaces' names (empty without one). After the end.
    pub fn dropped(&self) -> impl Iterator<Item = (&str, u64)> {
        let dropped = match &self.format {
            Format::PcapNg(format) => Some(format.dropped()),
            Format::Pcap(_) | Format::Nothing => None,
        };
        dropped.into_iter().flatten().map(|(name, &records)| (name.as_str(), records))
    }

    /// What a reader of the results should know about the file. Ask after the end.
    pub fn warnings(&self) -> Vec<CaptureWarning> {
        let file = || self.file.clone();
        let mut warnings = Vec::new();
        if self.is_cut() {
            warnings.push(CaptureWarning::CutFile { file: file(), records: self.counts.records });
        }
        if self.state != State::Reading && self.is_own() && self.end_stamp().is_none() {
            warnings.push(CaptureWarning::Unfinished { file: file() });
        }
        for (interface, records) in self.dropped() {
            warnings.push(CaptureWarning::Dropped { file: file(), interface: interface.into(), records });
        }
        if self.counts.unstamped > 0 {
            warnings.push(CaptureWarning::Unstamped { file: file(), records: self.counts.unstamped });
        }
        if self.input.trailing() {
            warnings.push(CaptureWarning::TrailingBytes { file: file() });
        }
        if let Some((number, records)) = self.unread {
            warnings.push(CaptureWarning::LinkLayer { file: file(), number, records });
        }
        warnings
    }
}

impl fmt::Debug for CaptureReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reader").field("file", &self.file).field("counts", &self.counts).finish_non_exhaustive()
    }
}

/// The five magic numbers of the classic format, as they are in a file.
fn is_pcap(magic: [u8; 4]) -> bool {
    matches!(
        magic,
        [0xd4, 0xc3, 0xb2, 0xa1]
            | [0xa1, 0xb2, 0xc3, 0xd4]
            | [0x4d, 0x3c, 0xb2, 0xa1]
            | [0xa1, 0xb2, 0x3c, 0x4d]
            | [0x34, 0xcd, 0xb2, 0xa1]
    )
}

/// What bytes may be that are not a capture, and what to do.
fn what_is(head: &[u8]) -> String {
    let unpack = |name: &str, command: &str| format!("{name}: decompress it first (`{command}`), or pipe it in as `-`");
    match *head {
        [] => "nothing: it is empty".into(),
        [0x1f, 0x8b, ..] | [0x28, 0xb5, 0x2f, 0xfd, ..] => "what is compressed twice: decompress it once first".into(),
        [0xfd, b'7', b'z', b'X', ..] => unpack("xz", "xz -d"),
        [b'B', b'Z', b'h', ..] => unpack("bzip2", "bzip2 -d"),
        [0x04, 0x22, 0x4d, 0x18, ..] => unpack("lz4", "lz4 -d"),
        [b'P', b'K', 3, 4, ..] => unpack("a zip archive", "unzip"),
        _ => {
            let head: Vec<String> = head.iter().take(8).map(|b| format!("{b:02x}")).collect();
            format!("a file that begins with {}", head.join(" "))
        }
    }
}
