//! One capture file, from its first record to its last.

use std::fmt;
use std::io::{self, Read};
use std::net::SocketAddrV4;
use std::ops::Range;
use std::path::Path;

use super::CaptureError;
use super::format::{Block, Fault, Packet};
use super::input::{Identity, Input};
use super::pcap::Pcap;
use super::pcapng::{PcapNg, SECTION};
use crate::ip::{self, LinkType, Reason};
use crate::time::Nanos;

/// A UDP datagram over IPv4, as a file holds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// When it was captured, by the file. May be earlier than the record before.
    pub stamp: Nanos,
    /// The capture interface, by its place in the file's section.
    pub interface: u32,
    /// The capture interface's name, where the file has one.
    pub interface_name: Option<&'a str>,
    /// Who sent it.
    pub source: SocketAddrV4,
    /// Where it was sent: the group and port.
    pub destination: SocketAddrV4,
    /// The UDP payload.
    pub payload: &'a [u8],
}

/// How a file says it was captured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileKind {
    /// `pcap` or `pcapng`; `nothing` where the file ends within its first header.
    pub format: &'static str,
    /// What it is packed with, by its first bytes.
    pub compression: Option<&'static str>,
}

/// What a file says of one of its interfaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InterfaceFacts<'a> {
    /// Its name, where the file has one.
    pub name: Option<&'a str>,
    /// Its LINKTYPE number.
    pub link: u16,
    /// How many stamps a second has.
    pub ticks_per_second: u64,
}

/// A packet as it stands in the file, whatever it is: what [`Reader::advance_seeing`] shows before it looks into it.
#[derive(Clone, Copy, Debug)]
pub struct Seen<'a> {
    /// When it was captured; `None` where the record has no stamp.
    pub stamp: Option<Nanos>,
    /// The capture interface, by its place in the file's section.
    pub interface: u32,
    /// What the file says of that interface.
    pub facts: InterfaceFacts<'a>,
    /// The link layer.
    pub link: LinkType,
    /// The packet.
    pub bytes: &'a [u8],
}

/// What a file's records were: `records` is the sum of those from `datagrams` to `malformed`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// All packets, whatever they are.
    pub records: u64,
    /// Delivered: whole UDP datagrams over IPv4.
    pub datagrams: u64,
    /// Something else than UDP over IPv4, or of a link layer that is not read.
    pub not_udp: u64,
    /// Cut off by the snap length: the headers say more than was captured.
    pub truncated: u64,
    /// Fragments of IPv4 datagrams.
    pub fragments: u64,
    /// Headers, or a record's own numbers, that contradict each other.
    pub malformed: u64,
    /// Packets without a stamp, given that of the packet before. Counted beside, not among, the others.
    pub unstamped: u64,
}

/// What a reader of the results should know of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Warning {
    /// It ends within a record, or within a gzip member.
    CutFile {
        /// Which file.
        file: String,
        /// How many whole records it holds.
        records: u64,
    },
    /// Twinline wrote it and did not come to say when the recording ended.
    Unfinished {
        /// Which file.
        file: String,
    },
    /// It says that not everything was recorded.
    Dropped {
        /// Which file.
        file: String,
        /// The interface's name; empty where it has none.
        interface: String,
        /// How many records are missing.
        records: u64,
    },
    /// Some packets have no stamp of their own.
    Unstamped {
        /// Which file.
        file: String,
        /// How many.
        records: u64,
    },
    /// Bytes that are no gzip stand behind what is.
    TrailingBytes {
        /// Which file.
        file: String,
    },
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Warning::CutFile { file, records } => {
                write!(f, "{file} is cut off: all {records} whole records that it holds were read")
            }
            Warning::Unfinished { file } => {
                write!(f, "{file} was not ended in order: its last record stands for the end of the recording")
            }
            Warning::Dropped { file, interface, records } if interface.is_empty() => {
                write!(f, "{file} lacks {records} records that were dropped while it was recorded")
            }
            Warning::Dropped { file, interface, records } => {
                write!(f, "{file} lacks {records} records of {interface} that were dropped while it was recorded")
            }
            Warning::Unstamped { file, records } => {
                write!(f, "{file} has {records} packets without a stamp: that of the packet before was taken")
            }
            Warning::TrailingBytes { file } => {
                write!(f, "{file} goes on behind its gzip data: that rest was ignored")
            }
        }
    }
}

/// Reads one capture file, forwards, in its own order.
///
/// ```
/// # use std::io::Cursor;
/// use twinline::capture::Reader;
/// // a classic capture's header, and no record
/// let file = [0xd4, 0xc3, 0xb2, 0xa1, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0, 1, 0, 0, 0];
/// let mut reader = Reader::from_read(Cursor::new(file))?;
/// assert!(reader.next()?.is_none());
/// assert!(!reader.is_cut());
/// # Ok::<(), twinline::capture::CaptureError>(())
/// ```
pub struct Reader {
    file: String,
    input: Input,
    format: Format,
    counts: Counts,
    /// How many bytes of the window the last record takes, to be let go of.
    behind: usize,
    last_stamp: Option<Nanos>,
    current: Current,
    state: State,
}

enum Format {
    Pcap(Pcap),
    PcapNg(PcapNg),
    /// A file that ends within its first header.
    Nothing,
}

/// The record that the reader stands on; `payload` lies in the window.
struct Current {
    stamp: Nanos,
    interface: u32,
    source: SocketAddrV4,
    destination: SocketAddrV4,
    payload: Range<usize>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Reading,
    Ended,
    Cut,
}

impl Reader {
    /// Opens a capture file; `-` is standard input. What it is, its first bytes say and never its name.
    ///
    /// # Errors
    /// [`CaptureError::Open`], [`CaptureError::Read`], [`CaptureError::NotACapture`].
    pub fn open(path: &Path) -> Result<Reader, CaptureError> {
        let file = if path == Path::new("-") { "standard input".to_string() } else { path.display().to_string() };
        let input = Input::open(path).map_err(|source| CaptureError::Open {
            file: file.clone(),
            source,
            hint: String::new(),
        })?;
        Reader::start(file, input)
    }

    /// Reads a capture out of anything.
    ///
    /// # Errors
    /// [`CaptureError::Read`], [`CaptureError::NotACapture`].
    pub fn from_read(read: impl Read + Send + 'static) -> Result<Reader, CaptureError> {
        let file = "the input".to_string();
        match Input::from_read(Box::new(read)) {
            Ok(input) => Reader::start(file, input),
            Err(source) => Err(CaptureError::Read { file, at: 0, records: 0, source }),
        }
    }

    fn start(file: String, mut input: Input) -> Result<Reader, CaptureError> {
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
            Ok(Some(format)) => Ok(Reader {
                file,
                input,
                format,
                counts: Counts::default(),
                behind: 0,
                last_stamp: None,
                current: Current {
                    stamp: Nanos::ZERO,
                    interface: 0,
                    source: SocketAddrV4::new([0; 4].into(), 0),
                    destination: SocketAddrV4::new([0; 4].into(), 0),
                    payload: 0..0,
                },
                state: State::Reading,
            }),
            Ok(None) => Err(CaptureError::NotACapture { file, found: what_is(input.data()) }),
            Err(source) => Err(CaptureError::Read { file, at: 0, records: 0, source }),
        }
    }

    /// The next datagram; `None` at the end. After an error, too, the file is at its end.
    ///
    /// # Errors
    /// [`CaptureError::Read`], [`CaptureError::Damaged`]. That the file is cut off is none: see [`Reader::is_cut`].
    #[expect(
        clippy::should_implement_trait,
        reason = "a record borrows from the reader, so that it cannot be an Iterator"
    )]
    pub fn next(&mut self) -> Result<Option<Record<'_>>, CaptureError> {
        Ok(if self.advance()? { Some(self.current()) } else { None })
    }

    /// Goes to the next datagram; false at the end.
    #[inline]
    pub(super) fn advance(&mut self) -> Result<bool, CaptureError> {
        self.advance_seeing(|_| {})
    }

    /// Goes to the next datagram, which [`Reader::current`] then is, and shows every packet on the way, that of the datagram
    /// last; false at the end.
    ///
    /// # Errors
    /// As [`Reader::next`].
    #[inline]
    pub fn advance_seeing(&mut self, mut see: impl FnMut(&Seen<'_>)) -> Result<bool, CaptureError> {
        if self.state != State::Reading {
            return Ok(false);
        }
        loop {
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
                    self.state = if cut { State::Cut } else { State::Ended };
                    return Ok(false);
                }
                Err(fault) => return Err(self.fail(fault)),
            }
        }
    }

    /// Whether the packet holds a datagram, which then is the current one.
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
                    payload: packet.bytes.start + found.payload.start..packet.bytes.start + found.payload.end,
                };
                return true;
            }
            Err(Reason::NotUdp) => self.counts.not_udp += 1,
            Err(Reason::Truncated) => self.counts.truncated += 1,
            Err(Reason::Fragment) => self.counts.fragments += 1,
            Err(Reason::Malformed) => self.counts.malformed += 1,
        }
        false
    }

    #[inline]
    fn seen(&self, packet: &Packet) -> Seen<'_> {
        let facts = match &self.format {
            Format::Pcap(format) => Some(format.facts()),
            Format::PcapNg(format) => format.facts(packet.interface),
            Format::Nothing => None,
        };
        Seen {
            stamp: packet.stamp,
            interface: packet.interface,
            facts: facts.unwrap_or(InterfaceFacts { name: None, link: 0, ticks_per_second: 0 }),
            link: packet.link,
            bytes: self.input.data().get(packet.bytes.clone()).unwrap_or_default(),
        }
    }

    fn fail(&mut self, fault: Fault) -> CaptureError {
        self.state = State::Ended;
        let (file, at, records) = (self.file.clone(), self.input.consumed(), self.counts.records);
        match fault {
            Fault::Io(source) => CaptureError::Read { file, at, records, source },
            Fault::Damaged(what) => CaptureError::Damaged { file, at, records, what },
        }
    }

    /// The datagram that [`Reader::advance_seeing`] went to.
    #[inline]
    pub fn current(&self) -> Record<'_> {
        Record {
            stamp: self.current.stamp,
            interface: self.current.interface,
            interface_name: match &self.format {
                Format::PcapNg(format) => format.name(self.current.interface),
                Format::Pcap(_) | Format::Nothing => None,
            },
            source: self.current.source,
            destination: self.current.destination,
            payload: self.input.data().get(self.current.payload.clone()).unwrap_or_default(),
        }
    }

    /// The file, as given; what messages call it.
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

    /// What its records were, so far.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// Whether the file ended within a record, a block or a gzip member. False before the end.
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

    /// Whether Twinline wrote it, every section so far.
    pub fn is_own(&self) -> bool {
        matches!(&self.format, Format::PcapNg(format) if format.is_own())
    }

    /// When the recording ended, stored by Twinline's own [`Writer`](super::Writer). `None` for other captures, for one
    /// that was not ended in order, and before the end of the file.
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

    /// What a reader of the results should know of the file. After the end.
    pub fn warnings(&self) -> Vec<Warning> {
        let file = || self.file.clone();
        let mut warnings = Vec::new();
        if self.is_cut() {
            warnings.push(Warning::CutFile { file: file(), records: self.counts.records });
        }
        if self.state != State::Reading && self.is_own() && self.end_stamp().is_none() {
            warnings.push(Warning::Unfinished { file: file() });
        }
        for (interface, records) in self.dropped() {
            warnings.push(Warning::Dropped { file: file(), interface: interface.into(), records });
        }
        if self.counts.unstamped > 0 {
            warnings.push(Warning::Unstamped { file: file(), records: self.counts.unstamped });
        }
        if self.input.trailing() {
            warnings.push(Warning::TrailingBytes { file: file() });
        }
        warnings
    }
}

impl fmt::Debug for Reader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reader").field("file", &self.file).field("counts", &self.counts).finish_non_exhaustive()
    }
}

/// The five magic numbers of the classic format, as they stand in a file.
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

/// What bytes that are no capture may be, and what to do.
fn what_is(head: &[u8]) -> String {
    let unpack = |name: &str, command: &str| format!("{name}: decompress it first (`{command}`), or pipe it in as `-`");
    match *head {
        [] => "nothing: it is empty".into(),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => unpack("zstd", "zstd -d"),
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
