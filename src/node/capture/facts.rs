//! What a reader reports about a file: records, counts, warnings.

use std::fmt;
use std::net::SocketAddrV4;

use crate::ip::{LinkType, UnusedFragments};
use twinline_core::Nanos;

/// A UDP datagram over IPv4, as a file holds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CaptureRecord<'a> {
    /// When it was captured, as the file says. It may be earlier than the record before it.
    pub stamp: Nanos,
    /// The capture interface, by its position in the file's section.
    pub interface: u32,
    /// The capture interface's name, if the file has one.
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
    /// `pcap` or `pcapng`; `nothing` if the file ends within its first header.
    pub format: &'static str,
    /// How it is compressed, by its first bytes; `None`: it is not.
    pub compression: Option<&'static str>,
}

/// What a file says about one of its interfaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InterfaceFacts<'a> {
    /// Its name, if the file has one.
    pub name: Option<&'a str>,
    /// Its LINKTYPE number.
    pub link: u16,
    /// How many stamps a second has.
    pub ticks_per_second: u64,
}

/// A packet as it is in the file, whatever it is: what [`CaptureReader::advance_seeing`](super::CaptureReader::advance_seeing)
/// shows before it looks inside.
#[derive(Clone, Copy, Debug)]
pub struct CapturedPacket<'a> {
    /// When it was captured; `None` if the record has no stamp.
    pub stamp: Option<Nanos>,
    /// The capture interface, by its position in the file's section.
    pub interface: u32,
    /// What the file says about that interface.
    pub facts: InterfaceFacts<'a>,
    /// The link layer.
    pub link: LinkType,
    /// The packet.
    pub bytes: &'a [u8],
}

/// How many records a file has, by kind. `records` is the sum of `not_udp`, `truncated`, `fragments`, `malformed`, and the
/// `datagrams` that were not `reassembled`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RecordCounts {
    /// All packets, whatever they are.
    pub records: u64,
    /// Delivered: UDP datagrams over IPv4, whole or reassembled.
    pub datagrams: u64,
    /// How many of them were reassembled from fragments.
    pub reassembled: u64,
    /// Not UDP over IPv4, or of a link layer that is not read.
    pub not_udp: u64,
    /// Cut off by the snap length: the headers claim more than was captured.
    pub truncated: u64,
    /// Fragments of IPv4 datagrams, whatever became of them.
    pub fragments: u64,
    /// Those of them that are in no datagram. Complete at the end of the file.
    pub unused: UnusedFragments,
    /// Headers, or a record's own numbers, that contradict each other; the last fragment of a datagram whose headers do.
    pub malformed: u64,
    /// Packets without a stamp, which get that of the packet before. They also count under one of the others.
    pub unstamped: u64,
}

/// What a reader of the results should know about a file. Displays as a sentence.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CaptureWarning {
    /// It ends within a record, a gzip member or a zstd frame.
    CutFile {
        /// The file.
        file: String,
        /// How many whole records it holds.
        records: u64,
    },
    /// Twinline wrote it, and it does not say when the recording ended.
    Unfinished {
        /// The file.
        file: String,
    },
    /// It says that not everything was recorded.
    Dropped {
        /// The file.
        file: String,
        /// The interface's name; empty if it has none.
        interface: String,
        /// How many records are missing.
        records: u64,
    },
    /// Some packets have no stamp of their own.
    Unstamped {
        /// The file.
        file: String,
        /// How many.
        records: u64,
    },
    /// Bytes that are neither gzip nor zstd follow those that are.
    TrailingBytes {
        /// The file.
        file: String,
    },
    /// Some packets are of a link layer that is not read.
    LinkLayer {
        /// The file.
        file: String,
        /// The first such LINKTYPE.
        number: u16,
        /// How many packets, of any such.
        records: u64,
    },
}

impl fmt::Display for CaptureWarning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CaptureWarning::CutFile { file, records } => {
                write!(f, "{file} is cut off: all {records} whole records in it were read")
            }
            CaptureWarning::Unfinished { file } => {
                write!(f, "{file} was not finished: its last record is taken as the end of the recording")
            }
            CaptureWarning::Dropped { file, interface, records } if interface.is_empty() => {
                write!(f, "{file} lacks {records} records that were dropped while it was recorded")
            }
            CaptureWarning::Dropped { file, interface, records } => {
                write!(f, "{file} lacks {records} records of {interface} that were dropped while it was recorded")
            }
            CaptureWarning::Unstamped { file, records } => {
                write!(f, "{file} has {records} packets without a stamp: each was given that of the packet before")
            }
            CaptureWarning::TrailingBytes { file } => {
                write!(f, "{file} goes on after its compressed data: the rest was ignored")
            }
            CaptureWarning::LinkLayer { file, number, records } => {
                write!(
                    f,
                    "{file} has {records} packets of link type {number} or others that are not read: expected Ethernet, \
                     Linux cooked, raw IP or loopback"
                )
            }
        }
    }
}
