//! Memory for what must wait: a log of blocks in one buffer that is allocated once.
//!
//! ```text
//!        tail                                head
//!  | free | block | dead | block | block | dead | free ... |
//! ```
//!
//! Blocks are written at the head. The tail moves over dead blocks, and where the log is more than half full it takes live
//! ones with it to the head, a few for each block that is written: so freeing in any order leaves no holes that stay. The
//! buffer is twice as large as what may live in it, so a block that the limits allow always fits. An empty log starts again
//! at the front: memory that was never needed is never touched.

/// Bytes before each block: owner and length.
const HEADER: usize = 8;
/// The owner of a dead block.
const DEAD: u32 = u32::MAX;

pub(super) struct Hold {
    buffer: Vec<u8>,
    capacity: usize,
    /// Positions count up for ever; the place in the buffer is the position modulo `capacity`.
    head: u64,
    tail: u64,
    live: usize,
}

/// Where a block's bytes begin in the buffer.
pub(super) type Place = u32;

impl Hold {
    /// A log in which `bytes` in `blocks` blocks may live at once.
    pub(super) fn new(bytes: u64, blocks: u64) -> Hold {
        let live = bytes.saturating_add(blocks.saturating_mul(2 * HEADER as u64)).saturating_add(4 * 65_536);
        // places are 32 bits: 2 GiB of live blocks are as much as a channel can hold
        let live = live.min(u64::from(u32::MAX) / 2 - 65_536) & !7;
        let capacity = (live * 2) as usize;
        // reserved, not touched
        Hold { buffer: Vec::with_capacity(capacity), capacity, head: 0, tail: 0, live: 0 }
    }

    /// Bytes that may live at once, headers included.
    #[cfg(test)]
    fn live_max(&self) -> usize {
        self.capacity / 2
    }

    /// Bytes that live, headers included.
    #[cfg(test)]
    fn live(&self) -> usize {
        self.live
    }

    /// What a block of `len` bytes takes.
    pub(super) fn footprint(len: usize) -> usize {
        HEADER + len.next_multiple_of(8)
    }

    fn at(&self, position: u64) -> usize {
        (position % self.capacity as u64) as usize
    }

    fn header(&self, at: usize) -> (u32, usize) {
        let word = |at: usize| {
            let mut bytes = [0; 4];
            bytes.copy_from_slice(&self.buffer[at..at + 4]);
            u32::from_le_bytes(bytes)
        };
        (word(at), word(at + 4) as usize)
    }

    fn set_header(&mut self, at: usize, owner: u32, len: usize) {
        self.buffer[at..at + 4].copy_from_slice(&owner.to_le_bytes());
        self.buffer[at + 4..at + 8].copy_from_slice(&(len as u32).to_le_bytes());
    }

    /// Room for a block at the head, which moves behind it; the place of its bytes.
    fn take(&mut self, owner: u32, len: usize) -> usize {
        let size = Hold::footprint(len);
        let at = self.at(self.head);
        let left = self.capacity - at;
        if left < size {
            // the rest of the buffer is one dead block
            self.touch(at + HEADER);
            self.set_header(at, DEAD, left - HEADER);
            self.head += left as u64;
            return self.take(owner, len);
        }
        self.touch(at + size);
        self.set_header(at, owner, len);
        self.head += size as u64;
        at + HEADER
    }

    /// Makes the buffer reach `end`. It was reserved whole, so this allocates nothing.
    fn touch(&mut self, end: usize) {
        if self.buffer.len() < end {
            self.buffer.resize(end, 0);
        }
    }

    /// Copies `bytes` in for `owner`. `moved(owner, place)` is told of each block that had to move.
    ///
    /// The caller keeps what lives within half the capacity.
    pub(super) fn insert(&mut self, owner: u32, bytes: &[u8], mut moved: impl FnMut(u32, Place)) -> Place {
        let size = Hold::footprint(bytes.len());
        let mut budget = 4 * size as i64;
        while (self.head - self.tail) as usize > self.capacity / 2 + self.capacity / 8 && budget > 0 {
            budget -= self.move_tail(&mut moved) as i64;
        }
        let at = self.take(owner, bytes.len());
        self.buffer[at..at + bytes.len()].copy_from_slice(bytes);
        self.live += size;
        at as Place
    }

    /// Takes the tail over one block, which goes to the head if it lives. Returns its size.
    fn move_tail(&mut self, moved: &mut impl FnMut(u32, Place)) -> usize {
        let at = self.at(self.tail);
        let (owner, len) = self.header(at);
        let size = Hold::footprint(len);
        self.tail += size as u64;
        if owner != DEAD {
            let to = self.take(owner, len);
            self.buffer.copy_within(at + HEADER..at + HEADER + len, to);
            moved(owner, to as Place);
        }
        size
    }

    /// The bytes of a block.
    #[inline]
    pub(super) fn bytes(&self, place: Place) -> &[u8] {
        let at = place as usize;
        let (_, len) = self.header(at - HEADER);
        &self.buffer[at..at + len]
    }

    /// Gives a block's room back.
    pub(super) fn remove(&mut self, place: Place) {
        let at = place as usize - HEADER;
        let (_, len) = self.header(at);
        self.set_header(at, DEAD, len);
        self.live -= Hold::footprint(len);
        if self.live == 0 {
            (self.head, self.tail) = (0, 0);
        } else if self.tail < self.head && self.at(self.tail) == at {
            self.tail += Hold::footprint(len) as u64;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    /// Places by owner follow every move; contents and limits hold whatever the order of freeing.
    #[test]
    fn blocks_stay_whole_whatever_is_freed_when() {
        for seed in 0..8 {
            let mut rng = fastrand::Rng::with_seed(seed);
            let mut hold = Hold::new(4_096, 64);
            // small enough that the log wraps and moves its blocks many times
            hold.capacity = 64 << 10;
            let mut places: BTreeMap<u32, (Place, Vec<u8>)> = BTreeMap::new();
            let mut highest = 0;
            for owner in 0..8_000u32 {
                let len = if rng.u8(..) < 4 { rng.usize(..4_000) } else { rng.usize(..200) };
                if hold.live() + Hold::footprint(len) <= hold.live_max() {
                    let bytes = vec![owner as u8; len];
                    let mut moves = Vec::new();
                    let place = hold.insert(owner, &bytes, |owner, place| moves.push((owner, place)));
                    for (owner, place) in moves {
                        places.get_mut(&owner).unwrap().0 = place;
                    }
                    places.insert(owner, (place, bytes));
                }
                highest = highest.max((hold.head - hold.tail) as usize);
                let freed = match rng.u8(..) {
                    0..200 if places.len() > 40 => places.keys().copied().nth(rng.usize(..places.len())),
                    200..230 => places.keys().next_back().copied(),
                    230..240 => places.keys().next().copied(),
                    _ => None,
                };
                if let Some((place, bytes)) = freed.and_then(|owner| places.remove(&owner)) {
                    assert_eq!(hold.bytes(place), bytes, "seed {seed}");
                    hold.remove(place);
                }
                assert!((hold.head - hold.tail) as usize <= hold.capacity, "seed {seed}: the log overran itself");
            }
            for (place, bytes) in places.values() {
                assert_eq!(hold.bytes(*place), bytes, "seed {seed}");
            }
            assert!(highest > hold.capacity / 2, "seed {seed}: the log was never full enough to move a block");
        }
    }

    #[test]
    fn an_empty_log_starts_at_the_front() {
        let mut hold = Hold::new(1 << 20, 16);
        let first = hold.insert(1, b"one", |_, _| ());
        hold.insert(2, b"two", |_, _| ());
        hold.remove(first);
        let again = hold.insert(3, b"three", |_, _| ());
        assert!(again > first);
        hold.remove(again);
        let (place, len) = (first + Hold::footprint(3) as u32, hold.live());
        assert_eq!((hold.bytes(place), len), (b"two".as_slice(), Hold::footprint(3)));
        hold.remove(place);
        assert_eq!(hold.insert(4, b"four", |_, _| ()), first);
    }
}
