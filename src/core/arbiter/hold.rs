//! Memory for messages that wait behind gaps, shared by all channels of a feed: blocks in segments.
//!
//! ```text
//!   segment            segment            open segment
//!  | block | dead |   | dead | block |   | block | block | free ... |
//! ```
//!
//! Blocks are written at the end of the open segment. A segment without live blocks is free, and will be opened again. If more
//! than half of the memory in use is dead, then each time a segment is opened the emptiest one is cleaned: its blocks move to the
//! open one. So blocks can be freed in any order without leaving holes for good, and `bytes` that are alive at once take twice
//! that and a few segments, whatever happened before. Segments are allocated one by one when first needed. That copies nothing,
//! and they are kept.

/// Bytes in front of each block: its owner and its length.
const HEADER: usize = 8;
/// The owner of a dead block.
const DEAD: u32 = u32::MAX;

/// A segment's size: room for four of the largest datagrams.
const SEGMENT: usize = 256 << 10;
/// Dead bytes that are tolerated beyond as many as are alive.
const SLACK: usize = 4 * SEGMENT;

struct Segment {
    /// Its length is what has been written, its capacity the segment's.
    bytes: Vec<u8>,
    /// Live bytes in it, including headers.
    live: usize,
}

impl Segment {
    fn new(capacity: usize) -> Segment {
        Segment { bytes: Vec::with_capacity(capacity), live: 0 }
    }

    fn room(&self) -> usize {
        self.bytes.capacity() - self.bytes.len()
    }

    /// The owner and length of the block whose header is at `at`.
    fn header(&self, at: usize) -> (u32, usize) {
        let word = |at: usize| {
            let mut bytes = [0; 4];
            bytes.copy_from_slice(&self.bytes[at..at + 4]);
            u32::from_le_bytes(bytes)
        };
        (word(at), word(at + 4) as usize)
    }

    /// Writes a block at the end; the caller has checked that it fits. Returns where its bytes begin.
    fn write(&mut self, owner: u32, block: &[u8]) -> usize {
        let at = self.bytes.len() + HEADER;
        self.bytes.extend_from_slice(&owner.to_le_bytes());
        self.bytes.extend_from_slice(&(block.len() as u32).to_le_bytes());
        self.bytes.extend_from_slice(block);
        self.bytes.resize(at - HEADER + Hold::footprint(block.len()), 0);
        self.live += Hold::footprint(block.len());
        at
    }
}

pub(super) struct Hold {
    segments: Vec<Segment>,
    /// The segment that is being written.
    open: usize,
    free: Vec<u32>,
    /// Bytes of all segments that are not free.
    in_use: usize,
    /// Live bytes, including headers.
    live: usize,
}

/// Where a block's bytes begin: the segment in the high 32 bits, the offset in the low 32.
pub(super) type Place = u64;

impl Hold {
    /// Bytes that it takes at the start.
    pub(super) const AT_START: u64 = SEGMENT as u64;

    /// A hold of one segment.
    pub(super) fn new() -> Hold {
        Hold { segments: vec![Segment::new(SEGMENT)], open: 0, free: Vec::new(), in_use: SEGMENT, live: 0 }
    }

    /// The most that `bytes` in `blocks` blocks take if all are alive at once.
    pub(super) fn most(bytes: u64, blocks: u64) -> u64 {
        let live = bytes.saturating_add(blocks.saturating_mul(2 * HEADER as u64));
        live.saturating_mul(2).saturating_add((SLACK + 2 * SEGMENT) as u64)
    }

    /// Takes at once as much memory as [`Hold::most`] states.
    pub(super) fn reserve(&mut self, bytes: u64, blocks: u64) {
        let segments = Hold::most(bytes, blocks).div_ceil(SEGMENT as u64) as usize;
        self.free.reserve(segments);
        self.segments.reserve(segments);
        while self.segments.len() < segments {
            self.free.push(self.segments.len() as u32);
            self.segments.push(Segment::new(SEGMENT));
        }
    }

    /// Bytes that a block of `len` bytes takes.
    fn footprint(len: usize) -> usize {
        HEADER + len.next_multiple_of(8)
    }

    fn split(place: Place) -> (usize, usize) {
        ((place >> 32) as usize, place as u32 as usize)
    }

    /// Copies `bytes` in for `owner`. Calls `moved(owner, place)` for each block that had to move.
    pub(super) fn insert(&mut self, owner: u32, bytes: &[u8], moved: impl FnMut(u32, Place)) -> Place {
        let size = Hold::footprint(bytes.len());
        if self.segments[self.open].room() < size {
            self.open_another(size, moved);
        }
        self.live += size;
        self.write(owner, bytes)
    }

    fn write(&mut self, owner: u32, bytes: &[u8]) -> Place {
        (self.open as u64) << 32 | self.segments[self.open].write(owner, bytes) as u64
    }

    /// Opens a segment with room for a block of `size`, and cleans another if too much is dead.
    #[cold]
    fn open_another(&mut self, size: usize, mut moved: impl FnMut(u32, Place)) {
        if self.segments[self.open].live == 0 {
            self.set_free(self.open);
        }
        let capacity = size.max(SEGMENT);
        // a block larger than a segment gets a new one of its own size
        self.open = match self.free.pop_if(|_| capacity == SEGMENT) {
            Some(at) => at as usize,
            None => {
                self.segments.push(Segment::new(0));
                self.segments.len() - 1
            }
        };
        let open = &mut self.segments[self.open];
        if open.bytes.capacity() < capacity {
            open.bytes = Vec::with_capacity(capacity);
        }
        self.in_use += open.bytes.capacity();
        if self.in_use > 2 * self.live + SLACK {
            self.clean(size, &mut moved);
        }
    }

    /// Moves the live blocks of the emptiest segment to the open one, if that leaves room for a block of `size`.
    fn clean(&mut self, size: usize, moved: &mut impl FnMut(u32, Place)) {
        let used = |(at, segment): &(usize, &Segment)| *at != self.open && segment.live > 0;
        let emptiest = self.segments.iter().enumerate().filter(used).min_by_key(|(_, segment)| segment.live);
        let Some((from, _)) = emptiest.filter(|(_, segment)| segment.live + size <= self.segments[self.open].room())
        else {
            return;
        };
        let bytes = std::mem::take(&mut self.segments[from].bytes);
        let victim = Segment { bytes, live: 0 };
        let mut at = 0;
        while at < victim.bytes.len() {
            let (owner, len) = victim.header(at);
            if owner != DEAD {
                let place = self.write(owner, &victim.bytes[at + HEADER..at + HEADER + len]);
                moved(owner, place);
            }
            at += Hold::footprint(len);
        }
        self.segments[from] = victim;
        self.set_free(from);
    }

    /// Frees a segment that has no live blocks.
    fn set_free(&mut self, at: usize) {
        let segment = &mut self.segments[at];
        self.in_use -= segment.bytes.capacity();
        segment.bytes.clear();
        if segment.bytes.capacity() > SEGMENT {
            // it was made for a single block, larger than any datagram
            segment.bytes = Vec::new();
        }
        self.free.push(at as u32);
    }

    /// The bytes of a block.
    #[inline]
    pub(super) fn bytes(&self, place: Place) -> &[u8] {
        let (segment, at) = Hold::split(place);
        let segment = &self.segments[segment];
        let (_, len) = segment.header(at - HEADER);
        &segment.bytes[at..at + len]
    }

    /// Gives a block's room back.
    pub(super) fn remove(&mut self, place: Place) {
        let (at_segment, at) = Hold::split(place);
        let segment = &mut self.segments[at_segment];
        let (_, len) = segment.header(at - HEADER);
        segment.bytes[at - HEADER..at - HEADER + 4].copy_from_slice(&DEAD.to_le_bytes());
        segment.live -= Hold::footprint(len);
        self.live -= Hold::footprint(len);
        if segment.live > 0 {
            return;
        }
        if at_segment == self.open {
            // start again at the front, so that memory which is not needed is never touched
            segment.bytes.clear();
        } else {
            self.set_free(at_segment);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    /// Bytes of all segments, free ones included.
    fn taken(hold: &Hold) -> usize {
        hold.segments.iter().map(|segment| segment.bytes.capacity()).sum()
    }

    /// Places by owner follow every move; contents and the bound hold whatever the order of freeing.
    #[test]
    fn blocks_stay_whole_whatever_is_freed_when() {
        for seed in 0..8 {
            let mut rng = fastrand::Rng::with_seed(seed);
            let mut hold = Hold::new();
            let mut places: BTreeMap<u32, (Place, Vec<u8>)> = BTreeMap::new();
            let mut owners = Vec::new();
            let (mut highest, mut moves) = (0, 0);
            for owner in 0..20_000u32 {
                let len = if rng.u8(..) < 4 { rng.usize(..60_000) } else { rng.usize(..1_500) };
                let bytes = vec![owner as u8; len];
                let mut moved = Vec::new();
                let place = hold.insert(owner, &bytes, |owner, place| moved.push((owner, place)));
                moves += moved.len();
                for (owner, place) in moved {
                    places.get_mut(&owner).unwrap().0 = place;
                }
                places.insert(owner, (place, bytes));
                owners.push(owner);
                highest = highest.max(hold.live);
                while owners.len() > 1_000 {
                    let owner = owners.swap_remove(rng.usize(..owners.len()));
                    let (place, bytes) = places.remove(&owner).unwrap();
                    assert_eq!(hold.bytes(place), bytes, "seed {seed}");
                    hold.remove(place);
                }
            }
            assert_eq!(hold.live, places.values().map(|(_, bytes)| Hold::footprint(bytes.len())).sum::<usize>());
            assert!(
                taken(&hold) as u64 <= Hold::most(highest as u64, 0),
                "seed {seed}: {} for {highest}",
                taken(&hold)
            );
            assert!(moves > 100, "seed {seed}: nothing was ever cleaned");
            for (place, bytes) in places.into_values() {
                assert_eq!(hold.bytes(place), bytes, "seed {seed}");
                hold.remove(place);
            }
            assert_eq!((hold.live, hold.in_use), (0, SEGMENT));
        }
    }

    #[test]
    fn an_empty_segment_starts_at_the_front() {
        let mut hold = Hold::new();
        let first = hold.insert(1, b"one", |_, _| ());
        hold.insert(2, b"two", |_, _| ());
        hold.remove(first);
        let again = hold.insert(3, b"three", |_, _| ());
        assert!(again > first);
        hold.remove(again);
        let place = first + Hold::footprint(3) as u64;
        assert_eq!((hold.bytes(place), hold.live), (b"two".as_slice(), Hold::footprint(3)));
        hold.remove(place);
        assert_eq!(hold.insert(4, b"four", |_, _| ()), first);
    }

    #[test]
    fn what_is_reserved_is_enough_and_is_used() {
        let mut hold = Hold::new();
        hold.reserve(1 << 20, 64);
        let reserved = taken(&hold);
        assert!(reserved as u64 >= Hold::most(1 << 20, 64));
        let places: Vec<Place> = (0..64).map(|owner| hold.insert(owner, &[0; 16 << 10], |_, _| ())).collect();
        assert_eq!(taken(&hold), reserved);
        // a block that no datagram has takes a segment of its own, and gives it back
        let large = hold.insert(64, &[7; 1 << 20], |_, _| ());
        assert!(taken(&hold) > reserved);
        hold.insert(65, b"next", |_, _| ());
        hold.remove(large);
        places.into_iter().for_each(|place| hold.remove(place));
        assert_eq!(taken(&hold), reserved);
    }
}
