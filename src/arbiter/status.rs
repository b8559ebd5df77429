//! What is known of each of the last 65,536 numbers: who brought it first and when, and which lines have brought it.
//!
//! A ring indexed by number. A slot is empty or tells of exactly one number of one epoch; an epoch's change empties it by
//! changing the tag, not by clearing.

use crate::frame::Line;
use crate::seq::{SeqNo, SeqRange};
use crate::time::Nanos;

/// Numbers that are remembered.
pub(super) const SPAN: u64 = 65_536;

#[derive(Clone, Copy, Default)]
struct Slot {
    stamp: u64,
    /// Epoch (8 bits) and number over 65,536 (24 bits).
    tag: u32,
    first: u8,
    /// Bit `i`: line `i` has brought it. Zero: the slot is empty.
    lines: u16,
}

/// The first copy of a number, as a later copy finds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FirstCopy {
    pub(super) line: Line,
    pub(super) stamp: Nanos,
    /// Whether the line that asks has brought the number before.
    pub(super) again: bool,
}

pub(super) struct Status {
    slots: Box<[Slot; SPAN as usize]>,
    epoch: u8,
}

impl Status {
    pub(super) fn new() -> Status {
        let slots = vec![Slot::default(); SPAN as usize].into_boxed_slice();
        let Ok(slots) = slots.try_into() else { unreachable!("the vector has SPAN slots") };
        Status { slots, epoch: 0 }
    }

    #[inline]
    fn tag(&self, n: SeqNo) -> u32 {
        u32::from(self.epoch) << 24 | ((n.0 >> 16) as u32 & 0xFF_FFFF)
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
        }
    }

    /// The first copy of each of `count` numbers from `first` on came by `line`.
    #[inline]
    pub(super) fn arrive(&mut self, first: SeqNo, count: u64, line: Line, stamp: Nanos) {
        let mut n = first.0;
        let end = n + count;
        while n < end {
            // in pieces within which the slots are contiguous and the tag is one
            let at = (n % SPAN) as usize;
            let len = (end - n).min(SPAN - at as u64);
            let slot = Slot { stamp: stamp.0, tag: self.tag(SeqNo(n)), first: line.0, lines: 1 << line.0 };
            self.slots[at..at + len as usize].fill(slot);
            n += len;
        }
    }

    /// Whether a copy of every number in `range` has come, and all are among the last 65,536 below `mark`.
    #[inline]
    pub(super) fn knows(&self, range: SeqRange, mark: SeqNo) -> bool {
        let mut n = range.first;
        if mark - n > SPAN {
            return false;
        }
        while n < range.end {
            let slot = &self.slots[Status::slot(n)];
            if slot.lines == 0 || slot.tag != self.tag(n) {
                return false;
            }
            n += 1;
        }
        true
    }

    /// Notes another copy of `n`, by `line`; gives the first one, where `n` is among the last 65,536 below `mark` and one has
    /// come.
    #[inline]
    pub(super) fn copy(&mut self, n: SeqNo, mark: SeqNo, line: Line) -> Option<FirstCopy> {
        let tag = self.tag(n);
        let slot = &mut self.slots[Status::slot(n)];
        if slot.lines == 0 || slot.tag != tag || mark - n > SPAN {
            return None;
        }
        let bit = 1 << line.0;
        let again = slot.lines & bit != 0;
        slot.lines |= bit;
        Some(FirstCopy { line: Line(slot.first), stamp: Nanos(slot.stamp), again })
    }

    /// Notes copies, by `line`, of the numbers at the front of `range` whose first copies are alike, and how many they are: all,
    /// where both lines pack alike. [`Status::knows`] the range, which is not empty.
    #[inline]
    pub(super) fn copies(&mut self, range: SeqRange, line: Line) -> (FirstCopy, u64) {
        let at = Status::slot(range.first);
        let len = range.len().min(SPAN - at as u64) as usize;
        let bit = 1 << line.0;
        let Slot { stamp, first, lines, .. } = self.slots[at];
        let again = lines & bit != 0;
        let mut count = 0;
        for slot in &mut self.slots[at..at + len] {
            if slot.stamp != stamp || slot.first != first || (slot.lines & bit != 0) != again {
                break;
            }
            slot.lines |= bit;
            count += 1;
        }
        (FirstCopy { line: Line(first), stamp: Nanos(stamp), again }, count)
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
        let mut status = Status::new();
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
        let range = |first: u64, end: u64| SeqRange::new(SeqNo(first), SeqNo(end));
        assert_eq!(status.copies(range(SPAN - 2, SPAN + 2), Line(0)), (first, 2));
        assert_eq!(status.copies(range(SPAN, SPAN + 2), Line(0)), (FirstCopy { again: true, ..first }, 1));
        assert_eq!(status.copies(range(SPAN + 1, SPAN + 2), Line(0)), (first, 1));
        assert_eq!(status.copies(range(SPAN, SPAN + 2), Line(0)), (FirstCopy { again: true, ..first }, 2));
        for _ in 0..256 {
            status.clear();
            assert!(!knows(&status, SPAN, mark));
        }
    }
}
