//! Frames that may not be believed at once, copied: parked (ARBITRATION 4.1, 4.2) or held for a session, a reset or a restart
//! that may come to begin (6.2, 6.4, 6.6).
//!
//! This is the way of suspicion, not of the stream: a copy takes its buffer from a pool, which grows to what was once needed.

use std::hash::{DefaultHasher, Hasher};

use crate::frame::{Frame, FrameKind, Line, Packing, Reset, Session};
use crate::seq::SeqNo;
use crate::time::Nanos;

/// A name for a frame's bytes: two frames with the same are byte-identical.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fingerprint(u64, usize);

impl Fingerprint {
    pub(super) fn of(frame: &Frame<'_>) -> Fingerprint {
        let mut hasher = DefaultHasher::new();
        hasher.write(frame.bytes);
        Fingerprint(hasher.finish(), frame.bytes.len())
    }
}

/// A frame, its line and when it came: as it arrives, or off the shelf.
#[derive(Clone, Copy)]
pub(super) struct Arrival<'a> {
    pub(super) frame: Frame<'a>,
    pub(super) line: Line,
    pub(super) stamp: Nanos,
}

/// A copy of an [`Arrival`].
pub(super) struct Stored {
    pub(super) line: Line,
    pub(super) stamp: Nanos,
    /// Its place in the order of arrival.
    pub(super) order: u64,
    /// Its first number, extended when it came.
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
    bytes: Vec<u8>,
    body: std::ops::Range<usize>,
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
                body: self.bytes.get(self.body.clone()).unwrap_or_default(),
                bytes: &self.bytes,
            },
            line: self.line,
            stamp: self.stamp,
        }
    }

    /// What it counts towards the hold limits: a frame without messages counts as one.
    pub(super) fn weight(&self) -> (u64, u64) {
        (u64::from(self.count.max(1)), self.body.len() as u64)
    }
}

/// Buffers for copies.
pub(super) struct Shelf {
    buffers: Vec<Vec<u8>>,
    /// Frames stored so far.
    stored: u64,
}

/// Buffers made at the start, and what each takes without growing: two frames of an ordinary network, each.
const BUFFERS: usize = 16;
const BUFFER: usize = 2_048;
/// Buffers kept for the next time.
const BUFFERS_KEPT: usize = 1_024;

impl Shelf {
    pub(super) fn new() -> Shelf {
        let mut buffers = Vec::with_capacity(BUFFERS_KEPT);
        buffers.extend((0..BUFFERS).map(|_| Vec::with_capacity(BUFFER)));
        Shelf { buffers, stored: 0 }
    }

    pub(super) fn store(&mut self, arrival: &Arrival<'_>, first: SeqNo, fingerprint: Fingerprint) -> Stored {
        let Arrival { frame, line, stamp } = *arrival;
        self.stored += 1;
        let mut bytes = self.buffers.pop().unwrap_or_default();
        bytes.clear();
        bytes.extend_from_slice(frame.bytes);
        // the body lies within the frame's bytes
        let at = (frame.body.as_ptr() as usize).wrapping_sub(frame.bytes.as_ptr() as usize);
        let body = if frame.body.is_empty() { 0..0 } else { at..at.wrapping_add(frame.body.len()) };
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
            bytes,
            body,
        }
    }

    pub(super) fn give_back(&mut self, stored: Stored) {
        if self.buffers.len() < BUFFERS_KEPT {
            self.buffers.push(stored.bytes);
        }
    }
}
