//! Several capture files as one list, by time.

use std::fmt;
use std::io;
use std::net::SocketAddrV4;
use std::path::{Path, PathBuf};

use super::CaptureError;
use super::facts::CaptureWarning;
use super::lines::{LineMap, LineMatch};
use super::reader::CaptureReader;
use crate::config::Feed;
use crate::ip::UnusedFragments;
use crate::source::{Datagram, Pass, Source};
use twinline_core::Nanos;
use twinline_core::frame::Line;

/// A capture file, and the line that all of it came by, if that is given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CaptureInput {
    /// The line's name; `None`: the records tell.
    pub line: Option<String>,
    /// The file; `-` is standard input.
    pub path: PathBuf,
}

impl CaptureInput {
    /// Reads an argument: `FILE`, or `LINE=FILE` if what is before the first `=` is a line of the feed. Anything else with a `=` is
    /// a file's name.
    pub fn parse(argument: &Path, feed: &Feed) -> CaptureInput {
        let split = argument.to_str().and_then(|text| text.split_once('='));
        match split.filter(|(name, _)| feed.lines.iter().any(|line| line.name == *name)) {
            Some((name, path)) => CaptureInput { line: Some(name.into()), path: path.into() },
            None => CaptureInput { line: None, path: argument.into() },
        }
    }
}

/// One datagram of the merged list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CapturedDatagram<'a> {
    /// When it came; never earlier than the item before (ARBITRATION 10.1).
    pub stamp: Nanos,
    /// The line that it came by.
    pub line: Line,
    /// The position of its group in the line's list.
    pub group: u16,
    /// Who sent it.
    pub source: SocketAddrV4,
    /// Where it was sent.
    pub destination: SocketAddrV4,
    /// The UDP payload.
    pub payload: &'a [u8],
}

/// The records of all files that are not in the list, by reason. `fragments` is complete at the end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ignored {
    /// Not UDP over IPv4.
    pub not_udp: u64,
    /// Datagrams of no line.
    pub other_groups: u64,
    /// Cut off by the snap length.
    pub truncated: u64,
    /// Fragments of IPv4 datagrams that were never complete.
    pub fragments: UnusedFragments,
    /// Headers that contradict each other.
    pub malformed: u64,
}

impl Ignored {
    /// Each reason with its name in reports. `fragments` is the sum of those whose names begin with it.
    pub fn by_reason(&self) -> Vec<(&'static str, u64)> {
        let fragments = &self.fragments;
        vec![
            ("not_udp", self.not_udp),
            ("other_groups", self.other_groups),
            ("truncated", self.truncated),
            ("malformed", self.malformed),
            ("fragments", fragments.total()),
            ("fragments_duplicate", fragments.duplicate),
            ("fragments_malformed", fragments.malformed),
            ("fragments_overlapping", fragments.overlapping),
            ("fragments_inconsistent", fragments.inconsistent),
            ("fragments_expired", fragments.expired),
            ("fragments_evicted", fragments.evicted),
            ("fragments_incomplete", fragments.incomplete),
        ]
    }
}

/// Where a [`Captures`] went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CaptureStep {
    /// To the next datagram of a line: [`Captures::item`].
    Item,
    /// Past many records, none of which was a line's: a chance to do something else before going on.
    Onward,
    /// To the end.
    End,
}

/// How many records go by, all ignored, in one step.
const RECORDS_A_STEP: u32 = 65_536;

/// Capture files, merged by time: the list of (stamp, line, group, payload) that an arbiter replays.
///
/// Within a file the order is the file's own, whatever its stamps say. Between files the earlier stamp goes first; if stamps are
/// equal, the file that was given first. Only datagrams of the feed's lines take part: what is ignored moves nothing. A stamp
/// earlier than one before it in the list is raised to that one, and counted.
///
/// It is also a [`Source`], with one datagram per poll.
pub struct Captures {
    map: LineMap,
    heads: Vec<Head>,
    /// Whose record is the current one.
    at: Option<usize>,
    ended: bool,
    stamp: Option<Nanos>,
    datagrams: u64,
    stamps_raised: u64,
    other_groups: u64,
}

/// A file and the record that it stands on.
struct Head {
    reader: CaptureReader,
    line: Option<Line>,
    at: Option<(Line, u16)>,
    /// Whether it has to move before the next choice: at the start, and after its record was handed out.
    due: bool,
}

impl Captures {
    /// Opens all files.
    ///
    /// # Errors
    /// What [`CaptureReader::open`] says; [`CaptureError::None`], [`CaptureError::Twice`], [`CaptureError::NoLine`].
    pub fn open(inputs: &[CaptureInput], feed: &Feed) -> Result<Captures, CaptureError> {
        if inputs.is_empty() {
            return Err(CaptureError::None);
        }
        let mut readers: Vec<(Option<String>, CaptureReader)> = Vec::new();
        for (at, input) in inputs.iter().enumerate() {
            if inputs[..at].iter().any(|before| before.path == input.path) {
                return Err(CaptureError::Twice { file: input.path.display().to_string() });
            }
            let reader = CaptureReader::open(&input.path).map_err(|e| with_hint(e, &input.path, feed))?;
            let identity = reader.identity();
            if identity.is_some() && readers.iter().any(|(_, before)| before.identity() == identity) {
                return Err(CaptureError::Twice { file: reader.file().into() });
            }
            readers.push((input.line.clone(), reader));
        }
        Captures::from_readers(readers, feed)
    }

    /// Merges readers that are already open, each with the line that it came by, if that is given.
    ///
    /// # Errors
    /// [`CaptureError::NoLine`].
    pub fn from_readers(readers: Vec<(Option<String>, CaptureReader)>, feed: &Feed) -> Result<Captures, CaptureError> {
        let map = LineMap::new(feed);
        let head = |(name, reader): (Option<String>, CaptureReader)| match name {
            None => Ok(Head { reader, line: None, at: None, due: true }),
            Some(name) => match map.line(&name) {
                Some(line) => Ok(Head { reader, line: Some(line), at: None, due: true }),
                None => Err(CaptureError::NoLine { line: name, feed: feed.name.clone(), lines: names(feed) }),
            },
        };
        let heads = readers.into_iter().map(head).collect::<Result<Vec<Head>, CaptureError>>()?;
        Ok(Captures {
            map,
            heads,
            at: None,
            ended: false,
            stamp: None,
            datagrams: 0,
            stamps_raised: 0,
            other_groups: 0,
        })
    }

    /// The next datagram of a line; `None` at the end.
    ///
    /// # Errors
    /// What [`CaptureReader::next`] says; [`CaptureError::Ambiguous`]. That file is then left, and the others go on.
    #[expect(
        clippy::should_implement_trait,
        reason = "an item borrows from its file, so that it cannot be an Iterator"
    )]
    pub fn next(&mut self) -> Result<Option<CapturedDatagram<'_>>, CaptureError> {
        loop {
            match self.step()? {
                CaptureStep::Item => return Ok(self.item()),
                CaptureStep::Onward => {}
                CaptureStep::End => return Ok(None),
            }
        }
    }

    /// Goes on by a bounded number of records: long stretches of other groups' traffic take several steps.
    ///
    /// # Errors
    /// As [`Captures::next`].
    #[inline]
    pub fn step(&mut self) -> Result<CaptureStep, CaptureError> {
        self.at = None;
        for at in 0..self.heads.len() {
            if std::mem::take(&mut self.heads[at].due) && !self.advance(at)? {
                self.heads[at].due = true;
                return Ok(CaptureStep::Onward);
            }
        }
        let ready = self.heads.iter_mut().enumerate().filter(|(_, head)| head.at.is_some());
        // the first one with the smallest stamp
        let Some((at, head)) = ready.min_by_key(|(_, head)| head.reader.stamp()) else {
            self.ended = true;
            return Ok(CaptureStep::End);
        };
        head.due = true;
        let own = head.reader.stamp();
        let stamp = self.stamp.map_or(own, |largest| largest.max(own));
        self.stamps_raised += u64::from(stamp != own);
        (self.stamp, self.at) = (Some(stamp), Some(at));
        self.datagrams += 1;
        Ok(CaptureStep::Item)
    }

    /// The datagram that [`Captures::step`] went to; `None` if it went elsewhere.
    #[inline]
    pub fn item(&self) -> Option<CapturedDatagram<'_>> {
        let head = &self.heads[self.at?];
        let (record, (line, group), stamp) = (head.reader.current(), head.at?, self.stamp?);
        let (source, destination, payload) = (record.source, record.destination, record.payload);
        Some(CapturedDatagram { stamp, line, group, source, destination, payload })
    }

    /// Moves a file to its next datagram of a line, or to its end; false while it is on its way there.
    #[inline]
    fn advance(&mut self, at: usize) -> Result<bool, CaptureError> {
        let head = &mut self.heads[at];
        head.at = None;
        let mut left = RECORDS_A_STEP;
        while head.reader.advance(&mut left)? {
            let record = head.reader.current();
            let found = match head.line {
                Some(line) => self.map.find_forced(line, &record),
                None => self.map.find(&record),
            };
            match found {
                LineMatch::Line(line, group) => {
                    head.at = Some((line, group));
                    return Ok(true);
                }
                LineMatch::Other => self.other_groups += 1,
                LineMatch::Ambiguous(which) => {
                    return Err(CaptureError::Ambiguous {
                        file: head.reader.file().into(),
                        group: which.group,
                        first: self.map.name(which.first).into(),
                        second: self.map.name(which.second).into(),
                    });
                }
            }
        }
        Ok(!head.reader.is_reading())
    }

    /// When the input ended, for an arbiter's `finish` (ARBITRATION 10.1). After the end; `None` before, and where no
    /// file has a record.
    ///
    /// It is the latest of the files' ends, and not earlier than any item: of a capture that Twinline wrote the stored
    /// end, of any other the stamp of its last packet, ignored ones too, since the capture watched the lines until then.
    pub fn end_stamp(&self) -> Option<Nanos> {
        if !self.ended {
            return None;
        }
        let ends = self.heads.iter().map(|head| head.reader.end_stamp().or(head.reader.last_stamp()));
        ends.max().flatten().max(self.stamp)
    }

    /// How many datagrams were handed out.
    pub fn datagrams(&self) -> u64 {
        self.datagrams
    }

    /// How many of them had a stamp earlier than one before them.
    pub fn stamps_raised(&self) -> u64 {
        self.stamps_raised
    }

    /// What was read and not handed out.
    pub fn ignored(&self) -> Ignored {
        let none = Ignored { other_groups: self.other_groups, ..Ignored::default() };
        self.heads.iter().fold(none, |sum, head| {
            let counts = head.reader.counts();
            Ignored {
                not_udp: sum.not_udp + counts.not_udp,
                truncated: sum.truncated + counts.truncated,
                fragments: sum.fragments + counts.unused,
                malformed: sum.malformed + counts.malformed,
                ..sum
            }
        })
    }

    /// How many datagrams were put together out of fragments, those of other groups among them.
    pub fn reassembled(&self) -> u64 {
        self.readers().map(|reader| reader.counts().reassembled).sum()
    }

    /// How many records the captures themselves say are missing (ARBITRATION 10.3). After the end.
    pub fn dropped(&self) -> u64 {
        self.heads.iter().flat_map(|head| head.reader.dropped()).fold(0, |sum, (_, n)| sum.saturating_add(n))
    }

    /// Whether the input is one recording by Twinline with nothing missing, so that what is made of it equals what
    /// was made live (ARBITRATION 10.1, 10.3). After the end.
    pub fn is_whole_recording(&self) -> bool {
        match self.heads.as_slice() {
            [head] => self.ended && head.reader.end_stamp().is_some() && !head.reader.is_cut() && self.dropped() == 0,
            _ => false,
        }
    }

    /// What a reader of the results should know of the files. After the end.
    pub fn warnings(&self) -> Vec<CaptureWarning> {
        self.heads.iter().flat_map(|head| head.reader.warnings()).collect()
    }

    /// How many bytes of the files were read, as they lie on disk.
    pub fn position(&self) -> u64 {
        self.heads.iter().fold(0, |sum, head| sum + head.reader.position())
    }

    /// How many bytes the files have on disk; `None` if one is a pipe.
    pub fn size(&self) -> Option<u64> {
        self.heads.iter().map(|head| head.reader.size()).sum()
    }

    /// The files, in the order in which they were given.
    pub fn readers(&self) -> impl Iterator<Item = &CaptureReader> {
        self.heads.iter().map(|head| &head.reader)
    }
}

impl Source for Captures {
    fn poll(&mut self, take: &mut impl FnMut(Datagram<'_>)) -> io::Result<Pass> {
        match self.next() {
            Ok(Some(item)) => {
                take(Datagram {
                    line: item.line,
                    group: item.group,
                    source: item.source,
                    stamp: Some(item.stamp),
                    kernel_stamp: None,
                    payload: item.payload,
                });
                Ok(Pass { datagrams: 1, full: true, ended: false })
            }
            Ok(None) => Ok(Pass { datagrams: 0, full: false, ended: true }),
            Err(e) => Err(io::Error::other(e)),
        }
    }
}

impl fmt::Debug for Captures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let files: Vec<&CaptureReader> = self.readers().collect();
        f.debug_struct("Captures").field("files", &files).field("datagrams", &self.datagrams).finish_non_exhaustive()
    }
}

fn names(feed: &Feed) -> String {
    feed.lines.iter().map(|line| line.name.as_str()).collect::<Vec<_>>().join(", ")
}

/// `C=c.pcap` without a line C is a file that does not exist: say which of the two it may be.
fn with_hint(error: CaptureError, path: &Path, feed: &Feed) -> CaptureError {
    let CaptureError::Open { file, source, .. } = error else { return error };
    let line = path.to_str().and_then(|text| text.split_once('=')).map(|(line, _)| line);
    let hint = match line.filter(|line| source.kind() == io::ErrorKind::NotFound && !line.contains('/')) {
        Some(line) => format!("; the feed {} has no line {line} either: its lines are {}", feed.name, names(feed)),
        None => String::new(),
    };
    CaptureError::Open { file, source, hint }
}
