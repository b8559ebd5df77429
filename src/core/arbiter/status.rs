//! What is known about each of the last 65,536 numbers: which line brought it first and when, which lines have brought it, and,
//! if copies are compared, the hash of the first one.
//!
//! A ring indexed by number. A slot is empty or describes exactly one number of one epoch. A new epoch empties the ring by
//! changing the tag, not by clearing the slots.

use crate::frame::Line;
use crate::seq::{SeqNo, SeqRange};
use crate::time::Nanos;

/// How many numbers are remembered.
pub(super) const SPAN: u64 = 65_536;

/// Two words, so that many slots can be filled and compared at a time.
#[derive(Clone, Copy, Default)]
struct Slot {
    stamp: u64,
    /// From the top: the epoch (8 bits, never zero in a slot that is not empty); the number divided by 65,536 (24 bits); the line
    /// that brought it first (16 bits); then bit `i` is set if line `i` has brought it.
    facts: u64,
}

impl Slot {
    #[inline]
    fn tag(self) -> u32 {
        (self.facts >> 32) as u32
    }

    #[inline]
    fn line(self) -> Line {
        Line((self.facts >> 16) as u8)
    }

    #[inline]
    fn first_copy(self, line: Line) -> FirstCopy {
        let again = self.facts >> line.0 & 1 != 0;
        FirstCopy { line: self.line(), stamp: Nanos(self.stamp), again }
    }
}

/// The first copy of a number, as seen when a later copy arrives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FirstCopy {
    pub(super) line: Line,
    pub(super) stamp: Nanos,
    /// Whether the later copy's line has brought the number before.
    pub(super) again: bool,
}

pub(super) struct Status {
    slots: Box<[Slot; SPAN as usize]>,
    /// For each slot, the CRC-32 of its number's first copy if the number was chosen (7.4). Empty if copies are not compared.
    hashes: Box<[u32]>,
    epoch: u8,
}

impl Status {
    /// Bytes that it takes.
    pub(super) const fn bytes(hashes: bool) -> u64 {
        SPAN * (size_of::<Slot>() as u64 + if hashes { 4 } else { 0 })
    }

    /// An empty ring; with room for hashes if copies are compared.
    pub(super) fn new(hashes: bool) -> Status {
        let slots = vec![Slot::default(); SPAN as usize].into_boxed_slice();
        let Ok(slots) = slots.try_into() else { unreachable!("the vector has SPAN slots") };
        let hashes = vec![0; if hashes { SPAN as usize } else { 0 }].into_boxed_slice();
        Status { slots, hashes, epoch: 1 }
    }

    #[inline]
    fn tag(&self, n: SeqNo) -> u32 {
        u32::from(self.epoch) << 24 | ((n.0 >> 16) as u32 & 0xFF_FFFF)
    }

    #[inline]
    fn arrived(&self, n: SeqNo, line: Line, stamp: Nanos) -> Slot {
        let facts = u64::from(self.tag(n)) << 32 | u64::from(line.0) << 16 | 1 << line.0;
        Slot { stamp: stamp.0, facts }
    }

    #[inline]
    fn slot(n: SeqNo) -> usize {
        (n.0 % SPAN) as usize
    }

    /// Forgets everything.
    pub(super) fn clear(&mut self) {
        self.epoch = self.epoch.wrapping_add(1);
        if self.epoch == 0 {
            self.slots.fill(Slot::default());
            self.epoch = 1;
        }
    }

    /// Records that `line` brought the first copy of each of `count` numbers from `first` on.
    #[inline]
    pub(super) fn arrive(&mut self, first: SeqNo, count: u64, line: Line, stamp: Nanos) {
        if count == 1 {
            self.slots[Status::slot(first)] = self.arrived(first, line, stamp);
            return;
        }
        let mut n = first.0;
        let end = n + count;
        while n < end {
            // in pieces whose slots are contiguous and have the same tag
            let at = (n % SPAN) as usize;
            let len = (end - n).min(SPAN - at as u64);
            let slot = self.arrived(SeqNo(n), line, stamp);
            self.slots[at..at + len as usize].fill(slot);
            n += len;
        }
    }

    /// Whether a copy of every number in `range` has arrived, and all of them are among the last 65,536 below `mark`.
    pub(super) fn knows(&self, range: SeqRange, mark: SeqNo) -> bool {
        let mut n = range.first;
        if mark - n > SPAN {
            return false;
        }
        while n < range.end {
            if self.slots[Status::slot(n)].tag() != self.tag(n) {
                return false;
            }
            n += 1;
        }
        true
    }

    /// The line and the hash of the first copy of `n`, if `n` is among the last 65,536 below `mark` and a copy has arrived. If
    /// none has, this copy is the first, and its hash is kept.
    pub(super) fn first_hash(&mut self, n: SeqNo, mark: SeqNo, hash: u32) -> Option<(Line, u32)> {
        if mark - n > SPAN {
            return None;
        }
        let (at, tag) = (Status::slot(n), self.tag(n));
        let kept = self.hashes.get_mut(at)?;
        let slot = self.slots[at];
        if slot.tag() == tag {
            return Some((slot.line(), *kept));
        }
        *kept = hash;
        None
    }

    /// Records another copy of `n`, brought by `line`. Returns the first copy, if `n` is among the last 65,536 below `mark` and a
    /// copy has arrived; otherwise records nothing.
    #[inline]
    pub(super) fn copy(&mut self, n: SeqNo, mark: SeqNo, line: Line) -> Option<FirstCopy> {
        let tag = self.tag(n);
        let slot = &mut self.slots[Status::slot(n)];
        if slot.tag() != tag || mark - n > SPAN {
            return None;
        }
        let first = slot.first_copy(line);
        slot.facts |= 1 << line.0;
        Some(first)
    }

    /// Records copies, brought by `line`, of `count` numbers from `first` on, in the case that is usual when lines pack alike:
    /// the first copies arrived together, and all numbers are among the last 65,536 below `mark` (none is above it). Otherwise
    /// records nothing: use [`Status::copy`].
    #[inline]
    pub(super) fn copies(&mut self, first: SeqNo, count: u64, mark: SeqNo, line: Line) -> Option<FirstCopy> {
        let (at, tag) = (Status::slot(first), self.tag(first));
        let slot = self.slots[at];
        if slot.tag() != tag || mark.0.wrapping_sub(first.0) > SPAN {
            return None;
        }
        let noted = Slot { facts: slot.facts | 1 << line.0, ..slot };
        if count == 1 {
            self.slots[at] = noted;
            return Some(slot.first_copy(line));
        }
        let slots = self.slots.get_mut(at..at + count as usize).filter(|slots| !slots.is_empty())?;
        let differ = slots.iter().fold(0, |all, other| all | other.stamp ^ slot.stamp | other.facts ^ slot.facts);
        if differ != 0 {
            return None;
        }
        slots.fill(noted);
        Some(slot.first_copy(line))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn knows(status: &Status, n: u64, mark: u64) -> bool {
        status.knows(SeqRange::new(SeqNo(n), SeqNo(n + 1)), SeqNo(mark))
    }

    #[test]
    fn a_slot_tells_of_one_number_of_one_epoch() {
        let mut status = Status::new(false);
        assert!(!knows(&status, 0, 1));
        status.arrive(SeqNo(SPAN - 2), 4, Line(1), Nanos(7));
        let mark = SPAN + 2;
        assert!(knows(&status, SPAN - 2, mark) && knows(&status, SPAN + 1, mark));
        assert!(!knows(&status, 1, mark) && !knows(&status, SPAN + 2, mark + 1));
        assert!(!knows(&status, SPAN + 1, mark + SPAN), "it is no longer among the last");
        let first = FirstCopy { line: Line(1), stamp: Nanos(7), again: false };
        assert_eq!(status.copy(SeqNo(SPAN), SeqNo(mark), Line(0)), Some(first));
        assert_eq!(status.copy(SeqNo(SPAN), SeqNo(mark), Line(0)), Some(FirstCopy { again: true, ..first }));
        assert_eq!(status.copy(SeqNo(SPAN), SeqNo(mark), Line(1)), Some(FirstCopy { again: true, ..first }));
        // [SPAN - 2, SPAN) and [SPAN, SPAN + 2) are apart in the ring; SPAN alone was brought before
        let mut copies = |first: u64, count: u64| status.copies(SeqNo(first), count, SeqNo(mark), Line(0));
        assert_eq!(copies(SPAN - 2, 4), None);
        assert_eq!(copies(SPAN - 2, 2), Some(first));
        assert_eq!(copies(SPAN, 2), None);
        assert_eq!(copies(SPAN, 1), Some(FirstCopy { again: true, ..first }));
        assert_eq!(copies(SPAN + 1, 1), Some(first));
        assert_eq!(copies(SPAN, 2), Some(FirstCopy { again: true, ..first }));
        assert_eq!(copies(SPAN, 3), None, "nobody has brought the last");
        assert_eq!(copies(SPAN, 0), None);
        assert_eq!(status.copies(SeqNo(SPAN), 1, SeqNo(mark + SPAN), Line(0)), None, "it is no longer among the last");
        for _ in 0..256 {
            status.clear();
            assert!(!knows(&status, SPAN, mark));
        }
    }
}
