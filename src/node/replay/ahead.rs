//! Reading ahead: a thread of its own reads the captures, so that neither a slow disk nor decompression delays a datagram.
//!
//! What is under way is bounded by [`CHUNKS`], whatever the file's size; the buffers are used again.

use std::io;
use std::ops::Range;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, SyncSender, TryRecvError, channel, sync_channel};
use std::thread;
use std::time::Duration;

use crate::capture::{CaptureError, CaptureStep, CaptureWarning, Captures, Ignored};
use twinline_core::Nanos;
use twinline_core::frame::Line;

/// How many chunks wait at most; one more is being filled, and one being sent.
const CHUNKS: usize = 8;
/// A chunk is handed over once it has this many datagrams, or
const DATAGRAMS: usize = 1_024;
/// this many bytes.
const BYTES: usize = 256 << 10;

/// A datagram of a [`Chunk`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    /// By the capture; raised if stamps go back.
    pub(super) stamp: Nanos,
    pub(super) line: Line,
    pub(super) group: u16,
    payload: Range<usize>,
}

/// Some datagrams, in the order of the captures.
#[derive(Debug, Default)]
pub(super) struct Chunk {
    entries: Vec<Entry>,
    bytes: Vec<u8>,
    facts: ReadFacts,
}

impl Chunk {
    pub(super) fn entries(&self) -> &[Entry] {
        &self.entries
    }

    pub(super) fn payload(&self, entry: &Entry) -> &[u8] {
        &self.bytes[entry.payload.clone()]
    }

    pub(super) fn facts(&self) -> &ReadFacts {
        &self.facts
    }
}

/// What was read so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReadFacts {
    /// Datagrams of the feed's lines.
    pub datagrams: u64,
    /// How many of them had a stamp earlier than one before them.
    pub stamps_raised: u64,
    /// What was not of the feed's lines.
    pub ignored: Ignored,
    /// How many bytes of the files were read, as they lie on disk.
    pub position: u64,
    /// Warnings about the files. Known at their end.
    pub warnings: Vec<CaptureWarning>,
}

impl ReadFacts {
    fn of(captures: &Captures) -> ReadFacts {
        ReadFacts {
            datagrams: captures.datagrams(),
            stamps_raised: captures.stamps_raised(),
            ignored: captures.ignored(),
            position: captures.position(),
            warnings: Vec::new(),
        }
    }
}

/// What the reading thread hands over.
enum Item {
    Chunk(Chunk),
    Ended(ReadFacts, Result<(), CaptureError>),
}

/// What comes next.
pub(super) enum Next {
    Chunk(Chunk),
    /// Nothing was read yet.
    Waiting,
    /// The captures have ended, or reading failed.
    Ended(ReadFacts, Result<(), CaptureError>),
}

/// The receiving end of the reading thread, which ends with the captures, or when this is gone.
pub(super) struct Ahead {
    items: Receiver<Item>,
    spare: Sender<Chunk>,
}

impl Ahead {
    /// Starts to read.
    ///
    /// # Errors
    /// The system's error if the thread cannot be started.
    pub(super) fn spawn(captures: Captures) -> io::Result<Ahead> {
        let (sender, items) = sync_channel(CHUNKS);
        let (spare, spares) = channel();
        thread::Builder::new().name("twinline-read".into()).spawn(move || read(captures, &sender, &spares))?;
        Ok(Ahead { items, spare })
    }

    /// The next chunk, if it is there.
    pub(super) fn try_next(&self) -> Next {
        match self.items.try_recv() {
            Ok(item) => item.into(),
            Err(TryRecvError::Empty) => Next::Waiting,
            Err(TryRecvError::Disconnected) => died(),
        }
    }

    /// Waits for the next chunk.
    pub(super) fn next(&self, at_most: Duration) -> Next {
        match self.items.recv_timeout(at_most) {
            Ok(item) => item.into(),
            Err(RecvTimeoutError::Timeout) => Next::Waiting,
            Err(RecvTimeoutError::Disconnected) => died(),
        }
    }

    /// Gives a chunk's buffers back.
    pub(super) fn give_back(&self, chunk: Chunk) {
        // if the thread has ended, nobody needs them
        let _ = self.spare.send(chunk);
    }
}

impl From<Item> for Next {
    fn from(item: Item) -> Next {
        match item {
            Item::Chunk(chunk) => Next::Chunk(chunk),
            Item::Ended(facts, result) => Next::Ended(facts, result),
        }
    }
}

/// The thread says how it ends, unless it panics.
fn died() -> Next {
    let source = io::Error::other("the thread that reads it died");
    let error = CaptureError::Read { file: "of the replay".into(), at: 0, records: 0, source };
    Next::Ended(ReadFacts::default(), Err(error))
}

fn read(mut captures: Captures, sender: &SyncSender<Item>, spares: &Receiver<Chunk>) {
    loop {
        let mut chunk = spares.try_recv().unwrap_or_default();
        chunk.entries.clear();
        chunk.bytes.clear();
        let ended = fill(&mut captures, &mut chunk).transpose();
        chunk.facts = ReadFacts::of(&captures);
        if !chunk.entries.is_empty() && sender.send(Item::Chunk(chunk)).is_err() {
            return;
        }
        if let Some(result) = ended {
            let facts = ReadFacts { warnings: captures.warnings(), ..ReadFacts::of(&captures) };
            // if the receiver is gone, nobody asks how it ended
            let _ = sender.send(Item::Ended(facts, result));
            return;
        }
    }
}

/// Fills a chunk; returns whether the captures ended.
fn fill(captures: &mut Captures, chunk: &mut Chunk) -> Result<Option<()>, CaptureError> {
    while chunk.entries.len() < DATAGRAMS && chunk.bytes.len() < BYTES {
        match captures.step()? {
            CaptureStep::Item => {}
            // other traffic, perhaps a lot: what has been read may be due before it ends
            CaptureStep::Onward if chunk.entries.is_empty() => continue,
            CaptureStep::Onward => break,
            CaptureStep::End => return Ok(Some(())),
        }
        let Some(item) = captures.item() else { continue };
        let from = chunk.bytes.len();
        chunk.bytes.extend_from_slice(item.payload);
        let payload = from..chunk.bytes.len();
        chunk.entries.push(Entry { stamp: item.stamp, line: item.line, group: item.group, payload });
    }
    Ok(None)
}
