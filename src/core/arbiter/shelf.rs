//! Copies of frames that may not be believed at once: parked (ARBITRATION 4.1, 4.2), or waiting for a session, a reset or a
//! restart that may be about to begin (6.2, 6.4, 6.6).
//!
//! One shelf serves all channels of a feed and counts what is on it, so that the feed's limits can be enforced (4.7). Only
//! suspect frames come here, never the ordinary stream: each copy is as large as its messages and has a buffer of its own.

use std::hash::{DefaultHasher, Hasher};

use crate::frame::{Frame, FrameKind, Line, Packing, Reset, Session};
use crate::seq::SeqNo;
use crate::time::Nanos;

/// Identifies a frame's bytes: two frames with the same fingerprint count as byte-identical.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fingerprint(u64, usize);

impl Fingerprint {
    pub(super) fn of(frame: &Frame<'_>) -> Fingerprint {
        let mut hasher = DefaultHasher::new();
        hasher.write(frame.bytes);
        Fingerprint(hasher.finish(), frame.bytes.len())
    }
}

/// A frame, its line and its stamp: fresh from the line, or taken off the shelf.
#[derive(Clone, Copy)]
pub(super) struct Arrival<'a> {
    pub(super) frame: Frame<'a>,
    pub(super) line: Line,
    pub(super) stamp: Nanos,
    /// A frame off the shelf has only its messages, so its fingerprint was taken when the whole frame was there.
    known: Option<Fingerprint>,
}

impl<'a> Arrival<'a> {
    /// A frame fresh from its line.
    pub(super) fn new(frame: Frame<'a>, line: Line, stamp: Nanos) -> Arrival<'a> {
        Arrival { frame, line, stamp, known: None }
    }

    pub(super) fn fingerprint(&self) -> Fingerprint {
        self.known.unwrap_or_else(|| Fingerprint::of(&self.frame))
    }
}

/// A copy of an [`Arrival`]. It counts towards the shelf's limits until [`Shelf::take`] or [`Shelf::discard`].
pub(super) struct Stored {
    pub(super) line: Line,
    pub(super) stamp: Nanos,
    /// Its place in the order of arrival.
    pub(super) order: u64,
    /// Its first number, as extended when it arrived.
    pub(super) first: SeqNo,
    pub(super) fingerprint: Fingerprint,
    pub(super) session: Session,
    pub(super) count: u32,
    key: Option<u32>,
    kind: FrameKind,
    sequence: u64,
    heartbeat: bool,
    reset: Option<Reset>,
    packing: Packing,
    body: Vec<u8>,
}

impl Stored {
    pub(super) fn arrival(&self) -> Arrival<'_> {
        Arrival {
            frame: Frame {
                key: self.key,
                session: self.session,
                kind: self.kind,
                sequence: self.sequence,
                count: self.count,
                heartbeat: self.heartbeat,
                reset: self.reset,
                packing: self.packing,
                body: &self.body,
                bytes: &self.body,
            },
            line: self.line,
            stamp: self.stamp,
            known: Some(self.fingerprint),
        }
    }

    /// Messages and bytes that it counts as towards the hold limits; a frame without messages counts as one.
    pub(super) fn weight(&self) -> (u64, u64) {
        (u64::from(self.count.max(1)), self.body.len() as u64)
    }
}

/// Buffers for copies, and the weight of all copies on the shelf.
pub(super) struct Shelf {
    buffers: Vec<Vec<u8>>,
    /// How many frames were ever stored.
    stored: u64,
    frames: u64,
    bytes: u64,
}

/// How many buffers are made at the start, and the size of each: enough for a datagram on an ordinary network. A larger buffer is
/// made for one frame and freed with it.
const BUFFERS: usize = 16;
const BUFFER: usize = 2_048;
/// How many buffers are kept for reuse.
pub(super) const BUFFERS_KEPT: usize = 1_024;

impl Shelf {
    /// Bytes that it takes at the start.
    pub(super) const AT_START: u64 = (BUFFERS * BUFFER + BUFFERS_KEPT * size_of::<Vec<u8>>()) as u64;

    pub(super) fn new() -> Shelf {
        let mut buffers = Vec::with_capacity(BUFFERS_KEPT);
        buffers.extend((0..BUFFERS).map(|_| Vec::with_capacity(BUFFER)));
        Shelf { buffers, stored: 0, frames: 0, bytes: 0 }
    }

    /// The most that `frames` with `bytes` in total take, including the kept buffers.
    pub(super) fn most(frames: u64, bytes: u64) -> u64 {
        // lists double; an allocation adds a header to its bytes and is rounded up to a multiple of 16
        let each = 2 * size_of::<Stored>() as u64 + 32;
        frames.saturating_mul(each).saturating_add(bytes).saturating_add((BUFFERS_KEPT * (BUFFER + 16)) as u64)
    }

    /// Makes as many buffers as will ever be kept.
    pub(super) fn reserve(&mut self) {
        self.buffers.resize_with(BUFFERS_KEPT, || Vec::with_capacity(BUFFER));
    }

    /// How many frames are on the shelf, and their bytes as the framing packs them.
    pub(super) fn weight(&self) -> (u64, u64) {
        (self.frames, self.bytes)
    }

    pub(super) fn store(&mut self, arrival: &Arrival<'_>, first: SeqNo, fingerprint: Fingerprint) -> Stored {
        let Arrival { frame, line, stamp, .. } = *arrival;
        self.stored += 1;
        self.frames += 1;
        self.bytes += frame.body.len() as u64;
        let mut body = if frame.body.len() <= BUFFER { self.buffers.pop().unwrap_or_default() } else { Vec::new() };
        body.clear();
        body.reserve_exact(frame.body.len());
        body.extend_from_slice(frame.body);
        Stored {
            line,
            stamp,
            order: self.stored,
            first,
            fingerprint,
            session: frame.session,
            count: frame.count,
            key: frame.key,
            kind: frame.kind,
            sequence: frame.sequence,
            heartbeat: frame.heartbeat,
            reset: frame.reset,
            packing: frame.packing,
            body,
        }
    }

    /// A frame is about to be used: it no longer counts as waiting.
    pub(super) fn take(&mut self, stored: &Stored) {
        self.frames -= 1;
        self.bytes -= stored.body.len() as u64;
    }

    /// A frame that was taken has been used: keeps its buffer.
    pub(super) fn give_back(&mut self, stored: Stored) {
        if self.buffers.len() < BUFFERS_KEPT && stored.body.capacity() <= BUFFER {
            self.buffers.push(stored.body);
        }
    }

    /// A frame is given up.
    pub(super) fn discard(&mut self, stored: Stored) {
        self.take(&stored);
        self.give_back(stored);
    }
}
