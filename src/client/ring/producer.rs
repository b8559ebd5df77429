//! The writing end of a ring.

use std::fmt;

use super::Memory;
use super::layout::{
    AHEAD_MAX, ALIGN, C_CLOSED, C_CURSOR, D_CLOSED, HEADER, LINE, Layout, PAD, PAGE, RingError, Shape, sequence, span,
};

/// At least this many places where a record may begin are cleared ahead, beyond the next one.
const CLEAR_MIN: usize = 4;

/// Why a record was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refused {
    /// There is no room for it at the moment.
    Full,
    /// It is longer than the ring's largest record.
    TooLong,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refused::Full => f.write_str("the ring is full"),
            Refused::TooLong => f.write_str("the record is longer than the longest that the ring takes"),
        }
    }
}

impl std::error::Error for Refused {}

/// The writing end of a ring. There is one; it can be neither cloned nor shared.
///
/// Records are staged and then published together; [`Producer::write`] does both for one record.
///
/// Invariant: `tail <= published <= head <= tail + capacity - HEADER`, all multiples of the alignment. The consumer reaches
/// `tail .. published`, and the sequence word at `published`, which is zero until the records staged from there are published;
/// everything else belongs to the producer. Where a record may begin, the sequence words from `head` up to `clear` are zero, and
/// `published < clear`.
#[derive(Debug)]
pub struct Producer {
    memory: Memory,
    layout: Layout,
    /// Where the next record goes.
    head: u64,
    /// Where the first record that is not published begins.
    published: u64,
    /// The consumer's cursor as last read and believed; the true one is never below.
    tail: u64,
    /// Up to here no old payload can be taken for a sequence word.
    clear: u64,
    /// How often the consumer's cursor was read.
    #[cfg(test)]
    pub(super) cursor_reads: u64,
}

impl Producer {
    /// Lays out a ring in new memory and takes its writing end.
    ///
    /// # Errors
    /// [`RingError`] if the shape is impossible, or the memory too small for it.
    ///
    /// # Safety
    /// The memory is zeroed and this is its only producer, ever.
    pub(crate) unsafe fn create(memory: Memory, shape: Shape, facts: &[u8]) -> Result<Producer, RingError> {
        let layout = Layout::new(shape, facts.len())?;
        if memory.stream.len() * 8 < layout.stream_len() {
            return Err(RingError::Memory { need: layout.stream_len(), have: memory.stream.len() * 8 });
        }
        // SAFETY: nobody reads the facts before the magic word is stored, which `describe` does last, Release.
        unsafe { memory.stream.copy_in(PAGE, facts) };
        layout.describe(&memory.stream, &memory.cursor)?;
        Ok(Producer {
            memory,
            layout,
            head: 0,
            published: 0,
            tail: 0,
            clear: ALIGN as u64,
            #[cfg(test)]
            cursor_reads: 0,
        })
    }

    /// The ring's shape.
    pub fn shape(&self) -> Shape {
        self.layout.shape()
    }

    /// Writes one record, `head` and then `body`, and publishes it with everything that is staged.
    ///
    /// # Errors
    /// [`Refused`]; then nothing is written, and what was staged stays staged.
    #[inline]
    pub fn write<const N: usize>(&mut self, head: &[u8; N], body: &[u8]) -> Result<(), Refused> {
        self.stage(head, body, 0)?;
        self.publish();
        Ok(())
    }

    /// Writes one record, `head` and then `body`, behind what is staged, provided that `keep` bytes stay free after it. The
    /// consumer does not see it before [`Producer::publish`].
    ///
    /// # Errors
    /// [`Refused`]; then nothing is written, and what was staged stays staged.
    #[inline]
    pub fn stage<const N: usize>(&mut self, head: &[u8; N], body: &[u8], keep: usize) -> Result<(), Refused> {
        let Shape { capacity, record_max } = self.layout.shape();
        let len = N + body.len();
        if len > record_max {
            return Err(Refused::TooLong);
        }
        let span = span(len);
        let to_end = capacity - self.layout.offset(self.head);
        let pad = if span > to_end { to_end } else { 0 };
        // the header after the record is zeroed, so it must be free as well
        if !self.has_room(pad + span + HEADER + keep) {
            return Err(Refused::Full);
        }
        if pad > 0 {
            self.put_header((pad - HEADER) as u64 | PAD);
            self.head += pad as u64;
        }
        let stream = &self.memory.stream;
        let at = self.layout.byte(self.head) + HEADER;
        // what lies there may look like a sequence word; the consumer looks there once this record is published
        let next = self.head + span as u64;
        if self.clear <= next {
            stream.store_relaxed(self.layout.word(next) + 1, 0);
            self.clear = next + ALIGN as u64;
        }
        // the consumer spins on the record's first line and takes it back after each store that gets through: so what lies
        // beyond it goes first, and the line's own bytes last, with the header at their end
        let most = LINE.saturating_sub(HEADER + N);
        let (near, far) = body.split_at(body.len().min(most));
        // SAFETY: the room was free, so these bytes lie between `published + HEADER` and the consumer's cursor a lap on:
        // the producer's, until `publish` stores Release. The cursor was read Acquire, so the consumer has done reading.
        unsafe {
            stream.copy_in(at + N + near.len(), far);
            // a length that the compiler knows needs no call
            match near.len() == most {
                true => stream.copy_in(at + N, &near[..most]),
                false => stream.copy_in(at + N, near),
            }
            stream.copy_in(at, head);
        }
        self.put_header(len as u64);
        self.head = next;
        Ok(())
    }

    /// Stores the header at `head`; for the first record that is not published, without the sequence word.
    #[inline]
    fn put_header(&self, length: u64) {
        let word = self.layout.word(self.head);
        self.memory.stream.store_relaxed(word, length);
        if self.head != self.published {
            // Relaxed: the consumer does not look here before it has seen the first header's Release
            self.memory.stream.store_relaxed(word + 1, sequence(self.head));
        }
    }

    /// Lets the consumer see everything that is staged, by storing the first header's sequence word.
    #[inline]
    pub fn publish(&mut self) {
        if self.head != self.published {
            let word = self.layout.word(self.published) + 1;
            // Release: pairs with the Acquire in `Consumer::ready`, which must see the records' bytes, their headers, and
            // the zero after them
            self.memory.stream.store_release(word, sequence(self.published));
            let span = self.head - self.published;
            self.published = self.head;
            self.clear_ahead(span);
        }
    }

    /// Zeroes sequence words for the records to come: as many as the published ones took, and a few more. It has to be done
    /// anyway. Done now, it does not delay the next record, and this core owns the cache lines when that record is copied
    /// into them. (`prefetchw` is not enough: it leaves alone a line that both cores hold for reading.)
    #[inline]
    fn clear_ahead(&mut self, span: u64) {
        let ahead = self.head + span.min((AHEAD_MAX * ALIGN) as u64) + (CLEAR_MIN * ALIGN) as u64;
        let end = ahead.min(self.tail + self.layout.shape().capacity as u64);
        while self.clear < end {
            // Relaxed: the consumer comes here after the Release of a record that is published later
            self.memory.stream.store_relaxed(self.layout.word(self.clear) + 1, 0);
            self.clear += ALIGN as u64;
        }
    }

    /// Drops everything that is staged. Nothing has to be undone: the first header's sequence word is still zero.
    pub fn abandon(&mut self) {
        self.head = self.published;
        // the payload that was staged may lie anywhere behind it
        self.clear = self.published + ALIGN as u64;
    }

    /// How many bytes are free. A record takes its length, its header and the alignment, and may need a pad before it.
    pub fn free(&mut self) -> usize {
        self.read_cursor();
        self.room()
    }

    /// Whether the consumer was dropped: nobody will read what is written.
    pub fn consumer_gone(&self) -> bool {
        // Relaxed: a flag on its own
        self.memory.cursor.load_relaxed(C_CLOSED) != 0
    }

    /// Free bytes by the cached cursor.
    #[inline]
    fn room(&self) -> usize {
        self.layout.shape().capacity - (self.head - self.tail) as usize
    }

    /// Whether `need` bytes are free. The consumer's cursor is read only if the cached one says no.
    #[inline]
    fn has_room(&mut self, need: usize) -> bool {
        if self.room() < need {
            self.read_cursor();
            return self.room() >= need;
        }
        true
    }

    #[cold]
    fn read_cursor(&mut self) {
        #[cfg(test)]
        {
            self.cursor_reads += 1;
        }
        // Acquire: pairs with the Release in `Consumer::release`; what the consumer read, it has read before we write there
        let cursor = self.memory.cursor.load_acquire(C_CURSOR);
        // a consumer cannot go back, nor past what it was shown: any other cursor is nonsense, and frees nothing
        if (self.tail..=self.published).contains(&cursor) && cursor.is_multiple_of(ALIGN as u64) {
            self.tail = cursor;
        }
    }
}

impl Producer {
    /// Ends the stream: the consumer sees the end once it has read what is published. What is written after it may not be read.
    pub fn close(&mut self) {
        // Release: pairs with the Acquire in `Consumer::closed`; whoever sees the flag sees every record
        self.memory.stream.store_release(D_CLOSED, 1);
    }
}

impl Drop for Producer {
    /// What is staged is not published; the consumer sees the end once it has read the rest.
    fn drop(&mut self) {
        self.close();
    }
}
