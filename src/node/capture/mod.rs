//! Capture files: reading, merging, writing.
//!
//! ```text
//! file -> CaptureReader -> CaptureRecord -> LineMap -> (line, group)
//!                   \_______ Captures: several files, by time ______-> CapturedDatagram -> arbiter
//!                                                      CaptureWriter <- what a line received
//! ```
//!
//! A [`CaptureReader`] reads the UDP datagrams of one pcap or pcapng file, plain, gzip or zstd, as they were captured. A datagram
//! in IPv4 fragments is reassembled, and comes with its last fragment. A [`LineMap`] says which of a feed's lines a record came by.
//! [`Captures`] merges files into one list of (stamp, line, group, payload). A [`CaptureWriter`] stores such a list so that it
//! reads back the same.
//!
//! A file is not trusted: everything in it is delivered, counted under a reason, or ends the reading with a [`CaptureError`] that says
//! where. Memory does not grow with the file. This module reads no clock and starts no thread.
//!
//! Other compressions are recognised and refused. IPv6 and link layers that [`LinkType`](crate::ip::LinkType) does not name are counted
//! and reported.

mod compressed;
mod facts;
mod format;
mod input;
mod lines;
mod merge;
mod pcap;
mod pcapng;
mod reader;
mod writer;

use std::io;
use std::net::SocketAddrV4;

use thiserror::Error;

pub use facts::{CaptureRecord, CaptureWarning, CapturedPacket, FileKind, InterfaceFacts, RecordCounts};
pub use lines::{Ambiguity, LineMap, LineMatch};
pub use merge::{CaptureInput, CaptureStep, CapturedDatagram, Captures, Ignored};
pub use reader::CaptureReader;
pub use writer::{CaptureWriter, PAYLOAD_MAX};

/// Why a capture cannot be read or written, or not to its end.
///
/// `file` is the path as given, or `standard input`.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum CaptureError {
    /// It cannot be opened.
    #[error("cannot open the capture {file}: {source}{hint}")]
    Open {
        /// The file.
        file: String,
        /// What the system says.
        source: io::Error,
        /// What else the argument may have meant; empty, or begins with a separator.
        hint: String,
    },
    /// The system or the decompression failed in the middle of it.
    #[error("cannot go on reading the capture {file} after byte {at}, {records} records in: {source}")]
    Read {
        /// The file.
        file: String,
        /// How many decompressed bytes were read before.
        at: u64,
        /// How many records were read before.
        records: u64,
        /// What the system says.
        source: io::Error,
    },
    /// It does not begin like a capture.
    #[error("{file} is not a capture: expected pcap or pcapng, plain, gzip or zstd, found {found}")]
    NotACapture {
        /// The file.
        file: String,
        /// What it begins with, and what to do.
        found: String,
    },
    /// It is no longer clear where the next record begins, or what it means.
    #[error(
        "the capture {file} is damaged at byte {at}, {records} records in: {what}; everything before that is whole"
    )]
    Damaged {
        /// The file.
        file: String,
        /// Where, in decompressed bytes.
        at: u64,
        /// How many records were read before.
        records: u64,
        /// What is wrong.
        what: String,
    },
    /// One file is given twice: every datagram would come twice.
    #[error("the capture {file} is given twice: give it once, without LINE= if it holds several lines")]
    Twice {
        /// The file.
        file: String,
    },
    /// No file is given.
    #[error("no capture is given: expected FILE or LINE=FILE, `-` for standard input")]
    None,
    /// `LINE=FILE` with a line that the feed does not have.
    #[error("the feed {feed} has no line {line}: expected one of {lines}")]
    NoLine {
        /// What was given.
        line: String,
        /// The feed's name.
        feed: String,
        /// The lines that it has.
        lines: String,
    },
    /// A record may have come by either of two lines.
    #[error(
        "the capture {file} does not say which line {group} came by: {first} and {second} share it; \
         give a file a line, as {first}={file}, or a `source` for each line in the feed file"
    )]
    Ambiguous {
        /// The file.
        file: String,
        /// The destination that they share.
        group: SocketAddrV4,
        /// One of the lines.
        first: String,
        /// The other.
        second: String,
    },
    /// It cannot be written, or no further: the disk is full, or what the system says.
    #[error("cannot write the capture {file}: {source}")]
    Write {
        /// The file.
        file: String,
        /// What the system says.
        source: io::Error,
    },
    /// A record that no capture can hold: the caller's mistake.
    #[error("cannot write a record to the capture {file}: {what}")]
    Record {
        /// The file.
        file: String,
        /// What is wrong with it.
        what: String,
    },
}
