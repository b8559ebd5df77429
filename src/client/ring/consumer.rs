//! The reading end of a ring.

use std::fmt;

use super::layout::{
    AHEAD_MAX, C_CLOSED, C_CURSOR, D_CLOSED, HEADER, LINE, Layout, PAD, PAGE, RingError, Shape, sequence, span,
};
use super::{Memory, shim::Scratch};

/// What is wrong with a record: the producer, or someone else, wrote what no producer writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BrokenRing {
    /// The sequence word belongs to another position.
    Sequence {
        /// The position in the stream of records.
        at: u64,
        /// The word found there.
        found: u64,
    },
    /// The length runs past the region, or past the largest record.
    Length {
        /// The position in the stream of records.
        at: u64,
        /// The word found there.
        found: u64,
    },
}

impl fmt::Display for BrokenRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BrokenRing::Sequence { at, found } => {
                write!(f, "the record at position {at} carries the sequence word {found:#x}")
            }
            BrokenRing::Length { at, found } => {
                write!(f, "the record at position {at} has the impossible length {found:#x}")
            }
        }
    }
}

impl std::error::Error for BrokenRing {}

/// The reading end of a ring. There is one; it can be neither cloned nor shared.
///
/// Invariant: every record below `at` has been read; `current` is the checked length of the one at `at`, once it was seen.
#[derive(Debug)]
pub struct Consumer {
    memory: Memory,
    layout: Layout,
    /// The position of the next record.
    at: u64,
    current: Option<usize>,
    scratch: Scratch,
}

impl Consumer {
    /// Takes the reading end of a ring that nobody has read yet.
    ///
    /// # Errors
    /// [`RingError`] if the memory does not hold a ring that fits in it.
    ///
    /// # Safety
    /// This is the only consumer of this ring, ever, and nobody but its producer uses the memory besides.
    pub(crate) unsafe fn attach(memory: Memory) -> Result<Consumer, RingError> {
        let layout = Layout::read(&memory.stream, &memory.cursor)?;
        Ok(Consumer { memory, layout, at: 0, current: None, scratch: Scratch::default() })
    }

    /// The ring's shape.
    pub fn shape(&self) -> Shape {
        self.layout.shape()
    }

    /// The facts that the producer gave at creation.
    pub fn facts(&mut self) -> &[u8] {
        // SAFETY: within the region, for the layout was checked against it; written once, before the magic word's Release,
        // which `Layout::read` has seen with Acquire.
        unsafe { self.memory.stream.bytes(PAGE, self.layout.facts_len(), &mut self.scratch) }
    }

    /// The next record, in place; the same one until [`Consumer::release`].
    ///
    /// # Errors
    /// [`BrokenRing`], now and from now on: there is no way to find the next record.
    #[inline]
    pub fn peek(&mut self) -> Result<Option<&[u8]>, BrokenRing> {
        Ok(if self.ready()? { Some(self.record()) } else { None })
    }

    /// Whether there is a next record.
    ///
    /// # Errors
    /// As [`Consumer::peek`].
    #[inline]
    pub fn ready(&mut self) -> Result<bool, BrokenRing> {
        if self.current.is_some() {
            return Ok(true);
        }
        let word = self.layout.word(self.at);
        // most records reach into a second cache line: fetch it along with the first, not after it
        self.memory.stream.fetch(self.layout.byte(self.at) + LINE);
        // Acquire: pairs with the Release in `Producer::publish`
        let found = self.memory.stream.load_acquire(word + 1);
        if found == 0 {
            return Ok(false);
        }
        let Shape { capacity, record_max } = self.layout.shape();
        let length = self.memory.stream.load_relaxed(word);
        let room = (capacity - self.layout.offset(self.at)).min(record_max + HEADER) as u64;
        if found == sequence(self.at) && length <= room - HEADER as u64 {
            let len = length as usize;
            if len > 2 * LINE - HEADER {
                self.fetch_rest(len);
            }
            self.current = Some(len);
            return Ok(true);
        }
        self.look(found)
    }

    /// Fetches what a record has beyond its first two cache lines, all at once: a reader that goes by lengths would wait for one
    /// line after the other.
    #[inline(never)]
    fn fetch_rest(&self, len: usize) {
        let begin = self.layout.byte(self.at);
        let end = (begin + HEADER + len).min(begin + LINE * AHEAD_MAX);
        for line in (begin + 2 * LINE..end).step_by(LINE) {
            self.memory.stream.fetch(line);
        }
    }

    /// The slow path: `found` precedes a pad, or something that no producer writes.
    #[cold]
    fn look(&mut self, mut found: u64) -> Result<bool, BrokenRing> {
        let Shape { capacity, record_max } = self.layout.shape();
        loop {
            let at = self.at;
            if found != sequence(at) {
                return Err(BrokenRing::Sequence { at, found });
            }
            let word = self.layout.word(at);
            let offset = self.layout.offset(at);
            let length = self.memory.stream.load_relaxed(word);
            if length & PAD == 0 {
                let len = usize::try_from(length).unwrap_or(usize::MAX);
                if len > record_max || span(len) > capacity - offset {
                    return Err(BrokenRing::Length { at, found: length });
                }
                self.current = Some(len);
                return Ok(true);
            }
            // a pad fills the data to its end, so no pad follows a pad
            let pad = capacity - offset;
            if offset == 0 || length != (pad - HEADER) as u64 | PAD {
                return Err(BrokenRing::Length { at, found: length });
            }
            self.at += pad as u64;
            // Acquire: as in `ready`
            found = self.memory.stream.load_acquire(self.layout.word(self.at) + 1);
            if found == 0 {
                return Ok(false);
            }
        }
    }

    /// The record that [`Consumer::ready`] has found; empty if it has found none.
    #[inline]
    pub fn record(&mut self) -> &[u8] {
        let at = self.layout.byte(self.at) + HEADER;
        // SAFETY: `ready` has seen this record's Release with Acquire, and checked its length against the region; the producer
        // does not write here before it has seen the cursor go past, which `release` stores Release.
        unsafe { self.memory.stream.bytes(at, self.current.unwrap_or(0), &mut self.scratch) }
    }

    /// Gives the record that [`Consumer::ready`] or [`Consumer::peek`] has found back to the producer; does nothing if there is
    /// none.
    #[inline]
    pub fn release(&mut self) {
        if let Some(len) = self.current.take() {
            self.at += span(len) as u64;
            // Release: pairs with the Acquire in `Producer::read_cursor`; our reads of the record come before
            self.memory.cursor.store_release(C_CURSOR, self.at);
        }
    }

    /// Whether the producer has gone. No more records will come, but some may have come just before: look once more.
    #[inline]
    pub fn closed(&self) -> bool {
        // Acquire: pairs with the Release in the producer's drop; what it published before is seen after
        self.memory.stream.load_acquire(D_CLOSED) != 0
    }
}

impl Drop for Consumer {
    fn drop(&mut self) {
        // the producer may look at this to save work; nothing else depends on it
        self.memory.cursor.store_relaxed(C_CLOSED, 1);
    }
}
