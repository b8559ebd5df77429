//! Captures that are inspected: all of their datagrams by time, and what the files themselves are.

use std::path::{Path, PathBuf};

use super::packets::{self, PacketKind, Tags};
use super::plan::PlannedInterface;
use twinline_core::Nanos;
use twinline_node::capture::{
    CaptureError, CaptureReader, CaptureRecord, CaptureStep, CapturedPacket, FileKind, RecordCounts,
};
use twinline_node::offline::OfflineInput;

/// How many interfaces of all files are distinguished.
const INTERFACES_MAX: usize = 4_096;
/// How many blocks without a datagram go by before the caller may look at something else.
const BLOCKS_AT_ONCE: u32 = 16_384;

/// A capture interface that packets came by.
#[derive(Clone, Debug)]
pub(super) struct InterfaceSeen {
    /// Its file, by place.
    pub(super) file: usize,
    /// Its number in its section.
    pub(super) id: u32,
    pub(super) name: Option<String>,
    pub(super) link: u16,
    pub(super) ticks_per_second: u64,
    pub(super) packets: u64,
}

/// What is known about one file.
#[derive(Clone, Debug)]
pub(super) struct FileFacts {
    pub(super) name: String,
    pub(super) kind: FileKind,
    pub(super) counts: RecordCounts,
    /// Packets by what they are, in the order of [`PacketKind::ALL`].
    pub(super) kinds: [u64; PacketKind::ALL.len()],
    pub(super) stamps: Option<(Nanos, Nanos)>,
    /// Records with a stamp earlier than the one before.
    pub(super) earlier_than_before: u64,
    /// Records with a stamp earlier than the largest before.
    pub(super) earlier_than_largest: u64,
    last_stamp: Nanos,
    /// The place of the last packet's interface.
    last_interface: usize,
    pub(super) dropped: Vec<(String, u64)>,
    pub(super) warnings: Vec<String>,
}

/// Files, merged by time.
pub(super) struct Files {
    heads: Vec<Head>,
    interfaces: Vec<InterfaceSeen>,
    /// The file whose datagram is the current one.
    current: Option<usize>,
}

struct Head {
    reader: CaptureReader,
    facts: FileFacts,
    /// The tags and the interface of the packet that it stands on.
    at: Option<(Tags, u32)>,
    due: bool,
}

/// One datagram.
pub(super) struct InspectedDatagram<'a> {
    pub(super) record: CaptureRecord<'a>,
    pub(super) tags: Tags,
    /// Its place in [`Files::interfaces`].
    pub(super) interface: u32,
}

impl Files {
    pub(super) fn open(paths: &[PathBuf]) -> Result<Files, CaptureError> {
        let mut heads = Vec::new();
        for (at, path) in paths.iter().enumerate() {
            if paths[..at].contains(path) {
                return Err(CaptureError::Twice { file: path.display().to_string() });
            }
            let reader = CaptureReader::open(path)?;
            let facts = FileFacts {
                name: reader.file().to_owned(),
                kind: reader.kind(),
                counts: RecordCounts::default(),
                kinds: [0; PacketKind::ALL.len()],
                stamps: None,
                earlier_than_before: 0,
                earlier_than_largest: 0,
                last_stamp: Nanos::ZERO,
                last_interface: 0,
                dropped: Vec::new(),
                warnings: Vec::new(),
            };
            heads.push(Head { reader, facts, at: None, due: true });
        }
        Ok(Files { heads, interfaces: Vec::new(), current: None })
    }

    pub(super) fn position(&self) -> u64 {
        self.heads.iter().map(|head| head.reader.position()).sum()
    }

    pub(super) fn size(&self) -> Option<u64> {
        self.heads.iter().map(|head| head.reader.size()).sum()
    }

    /// What is known about the files and their interfaces once reading is over.
    pub(super) fn finish(self) -> (Vec<FileFacts>, Vec<InterfaceSeen>) {
        let files = self.heads.into_iter().map(|Head { reader, mut facts, .. }| {
            facts.counts = reader.counts();
            facts.dropped = reader.dropped().map(|(name, records)| (name.to_owned(), records)).collect();
            facts.warnings = reader.warnings().iter().map(ToString::to_string).collect();
            facts
        });
        (files.collect(), self.interfaces)
    }
}

/// The datagrams of all files, earliest first. Of equal stamps, the file that was given first comes first.
impl OfflineInput for Files {
    type Datagram<'a> = InspectedDatagram<'a>;

    #[inline]
    fn step(&mut self) -> Result<CaptureStep, CaptureError> {
        self.current = None;
        let mut left = BLOCKS_AT_ONCE;
        for (at, head) in self.heads.iter_mut().enumerate() {
            if std::mem::take(&mut head.due) {
                head.advance(at, &mut left, &mut self.interfaces)?;
                if head.due {
                    return Ok(CaptureStep::Onward);
                }
            }
        }
        let ready = self.heads.iter_mut().enumerate().filter(|(_, head)| head.at.is_some());
        let Some((at, head)) = ready.min_by_key(|(_, head)| head.reader.current().stamp) else {
            return Ok(CaptureStep::End);
        };
        head.due = true;
        self.current = Some(at);
        Ok(CaptureStep::Item)
    }

    #[inline]
    fn datagram(&self) -> Option<InspectedDatagram<'_>> {
        let head = &self.heads[self.current?];
        let (tags, interface) = head.at?;
        Some(InspectedDatagram { record: head.reader.current(), tags, interface })
    }
}

impl Head {
    fn advance(
        &mut self,
        file: usize,
        left: &mut u32,
        interfaces: &mut Vec<InterfaceSeen>,
    ) -> Result<(), CaptureError> {
        let Head { reader, facts, .. } = self;
        self.at = None;
        let mut last = (Tags::default(), 0);
        if reader.advance_seeing(left, |seen| last = facts.see(file, seen, interfaces))? {
            self.at = Some(last);
        } else {
            self.due = self.reader.is_reading();
        }
        Ok(())
    }
}

impl FileFacts {
    /// Counts a packet; gives its tags and its interface's place.
    #[inline]
    fn see(&mut self, file: usize, seen: &CapturedPacket<'_>, interfaces: &mut Vec<InterfaceSeen>) -> (Tags, u32) {
        let (kind, tags) = packets::look(seen.link, seen.bytes);
        self.kinds[kind as usize] += 1;
        if let Some(stamp) = seen.stamp {
            let (first, largest) = self.stamps.unwrap_or((stamp, stamp));
            self.earlier_than_before += u64::from(stamp < self.last_stamp);
            self.earlier_than_largest += u64::from(stamp < largest);
            self.last_stamp = stamp;
            self.stamps = Some((first.min(stamp), largest.max(stamp)));
        }
        let same = |known: &InterfaceSeen| {
            known.file == file && known.id == seen.interface && known.name.as_deref() == seen.facts.name
        };
        let last = Some(self.last_interface).filter(|&at| interfaces.get(at).is_some_and(same));
        let at = last.or_else(|| interfaces.iter().position(same)).unwrap_or_else(|| {
            if interfaces.len() < INTERFACES_MAX {
                interfaces.push(InterfaceSeen {
                    file,
                    id: seen.interface,
                    name: seen.facts.name.map(str::to_owned),
                    link: seen.facts.link,
                    ticks_per_second: seen.facts.ticks_per_second,
                    packets: 0,
                });
            }
            interfaces.len() - 1
        });
        interfaces[at].packets += 1;
        self.last_interface = at;
        (tags, at as u32)
    }
}

/// The interfaces as plans of feed files want them.
pub(super) fn for_plans(files: &[FileFacts], interfaces: &[InterfaceSeen]) -> Vec<PlannedInterface> {
    let of = |seen: &InterfaceSeen| PlannedInterface {
        file: files[seen.file].name.clone(),
        name: seen.name.clone().unwrap_or_default(),
    };
    interfaces.iter().map(of).collect()
}

/// What to name a feed after: the first file, without its extensions.
pub(super) fn stem(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let stem = name.trim_end_matches(".gz").trim_end_matches(".zst");
    let stem = stem.trim_end_matches(".pcapng").trim_end_matches(".pcap").trim_end_matches(".cap");
    if stem.is_empty() || stem == "-" { "feed".to_owned() } else { stem.to_owned() }
}
