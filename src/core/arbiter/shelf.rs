//! Frames that may not be believed at once, copied: parked (ARBITRATION 4.1, 4.2) or waiting for a session, a reset or a restart
//! that may come to begin (6.2, 6.4, 6.6).
//!
//! One shelf serves all channels of a feed and counts what is on it, so that the feed's limits bind (4.7). This is the way of
//! suspicion, not of the stream: a copy is as large as its messages, in a buffer of its own.

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
    /// Off the shelf a frame has its messages alone: the fingerprint was taken when all of it was there.
    known: Option<Fingerprint>,
}

impl<'a> Arrival<'a> {
    /// A frame as it arrives.
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

    /// What it counts towards the hold limits: a frame without messages counts as one.
    pub(super) fn weight(&self) -> (u64, u64) {
        (u64::from(self.count.max(1)), self.body.len() as u64)
    }
}

/// Buffers for copies, and what all copies weigh.
pub(super) struct Shelf {
    buffers: Vec<Vec<u8>>,
    /// Frames stored so far.
    stored: u64,
    frames: u64,
    bytes: u64,
}

/// Buffers made at the start, and what each takes: the messages of an ordinary network's datagram. A larger one is made for its
/// frame and goes with it.
const BUFFERS: usize = 16;
const BUFFER: usize = 2_048;
/// Buffers kept for the next time.
pub(super) const BUFFERS_KEPT: usize = 1_024;

impl Shelf {
    /// What it takes at the start.
    pub(super) const AT_START: u64 = (BUFFERS * BUFFER + BUFFERS_KEPT * size_of::<Vec<u8>>()) as u64;

    pub(super) fn new() -> Shelf {
        let mut buffers = Vec::with_capacity(BUFFERS_KEPT);
        buffers.extend((0..BUFFERS).map(|_| Vec::with_capacity(BUFFER)));
        Shelf { buffers, stored: 0, frames: 0, bytes: 0 }
    }

    /// What `frames` with `bytes` in all take at most, the kept buffers included.
    pub(super) fn most(frames: u64, bytes: u64) -> u64 {
        // lists double, and beside its bytes an allocation has a header and is a multiple of 16
        let each = 2 * size_of::<Stored>() as u64 + 32;
        frames.saturating_mul(each).saturating_add(bytes).saturating_add((BUFFERS_KEPT * (BUFFER + 16)) as u64)
    }

    /// Keeps as many buffers as are kept at most.
    pub(super) fn reserve(&mut self) {
        self.buffers.resize_with(BUFFERS_KEPT, || Vec::with_capacity(BUFFER));
    }

    /// Frames on the shelf, and their bytes as the framing packs them.
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

    /// A frame is used: it does not count as waiting any more.
    pub(super) fn take(&mut self, stored: &Stored) {
        self.frames -= 1;
        self.bytes -= stored.body.len() as u64;
    }

    /// A frame that was taken is used up.
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
