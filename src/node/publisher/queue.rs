//! The look-ahead: planned datagrams in the order of their due times, and the buffers that hold them.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use twinline_core::Nanos;
use twinline_core::frame::{FrameKind, Line};

use crate::fault::DropCause;

/// How many datagrams may be under way at once.
pub(super) const DATAGRAMS_MAX: usize = 65_536;
/// How many bytes of datagrams may be under way at once.
pub(super) const BYTES_MAX: usize = 64 << 20;

/// A datagram on its way from the packing to the wire.
#[derive(Debug)]
pub(super) struct Datagram {
    pub(super) due: Nanos,
    pub(super) line: Line,
    pub(super) group: u16,
    pub(super) kind: FrameKind,
    pub(super) first: u64,
    pub(super) count: u32,
    pub(super) dropped: Option<DropCause>,
    pub(super) corrupted: bool,
    pub(super) copy: bool,
    pub(super) bytes: Vec<u8>,
}

/// A heap of handles, by (due, order of arrival), with the datagrams beside it: nothing large moves in the heap.
#[derive(Debug, Default)]
pub(super) struct Queue {
    heap: BinaryHeap<Reverse<(Nanos, u64, u32)>>,
    slots: Vec<Option<Datagram>>,
    free: Vec<u32>,
    spare: Vec<Vec<u8>>,
    pushed: u64,
    bytes: usize,
}

impl Queue {
    /// An empty buffer; a used one if there is any.
    pub(super) fn buffer(&mut self) -> Vec<u8> {
        self.spare.pop().unwrap_or_default()
    }

    /// Takes a datagram's buffer back.
    pub(super) fn recycle(&mut self, datagram: Datagram) {
        let mut bytes = datagram.bytes;
        bytes.clear();
        self.spare.push(bytes);
    }

    pub(super) fn push(&mut self, datagram: Datagram) {
        let due = datagram.due;
        self.bytes += datagram.bytes.len();
        let slot = match self.free.pop() {
            Some(slot) => {
                self.slots[slot as usize] = Some(datagram);
                slot
            }
            None => {
                self.slots.push(Some(datagram));
                (self.slots.len() - 1) as u32
            }
        };
        self.heap.push(Reverse((due, self.pushed, slot)));
        self.pushed += 1;
    }

    /// When the first is due.
    pub(super) fn first_due(&self) -> Option<Nanos> {
        self.heap.peek().map(|&Reverse((due, ..))| due)
    }

    pub(super) fn pop(&mut self) -> Option<Datagram> {
        let Reverse((_, _, slot)) = self.heap.pop()?;
        let datagram = self.slots[slot as usize].take()?;
        self.free.push(slot);
        self.bytes -= datagram.bytes.len();
        Some(datagram)
    }

    pub(super) fn len(&self) -> usize {
        self.heap.len()
    }

    /// Whether the first has to leave early before another can come in.
    pub(super) fn is_full(&self) -> bool {
        self.heap.len() >= DATAGRAMS_MAX || self.bytes >= BYTES_MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn datagram(due: u64, first: u64) -> Datagram {
        Datagram {
            due: Nanos(due),
            line: Line(0),
            group: 0,
            kind: FrameKind::Data,
            first,
            count: 1,
            dropped: None,
            corrupted: false,
            copy: false,
            bytes: vec![0; 10],
        }
    }

    #[test]
    fn the_first_due_comes_first_and_equals_in_their_order() {
        let mut queue = Queue::default();
        for (due, first) in [(5, 1), (3, 2), (5, 3), (3, 4), (4, 5)] {
            queue.push(datagram(due, first));
        }
        assert_eq!(queue.first_due(), Some(Nanos(3)));
        let order: Vec<u64> = std::iter::from_fn(|| queue.pop()).map(|d| d.first).collect();
        assert_eq!(order, [2, 4, 5, 1, 3]);
        assert_eq!((queue.len(), queue.bytes), (0, 0));
    }

    #[test]
    fn slots_and_buffers_are_used_again() {
        let mut queue = Queue::default();
        for n in 0..1_000 {
            queue.push(datagram(n, n));
            let popped = queue.pop().unwrap();
            queue.recycle(popped);
            assert!(queue.buffer().capacity() >= 10);
        }
        assert_eq!(queue.slots.len(), 1);
    }
}
