//! Memory for what waits behind gaps, shared by all channels of a feed: blocks in segments.
//!
//! ```text
//!   segment            segment            open segment
//!  | block | dead |   | dead | block |   | block | block | free ... |
//! ```
//!
//! Blocks are written at the end of the open segment. A segment in which nothing lives any more is free, and the next one to be
//! opened. Where more than half of what is in use is dead, the emptiest segment is cleaned each time another is opened: its
//! blocks move to the open one. So freeing in any order leaves no holes that stay, and `bytes` that live at once take twice
//! that and a few segments, whatever came before. Segments are taken one by one as they are first needed, nothing is copied for
//! it, and what was taken is kept.

/// Bytes before each block: owner and length.
const HEADER: usize = 8;
/// The owner of a dead block.
const DEAD: u32 = u32::MAX;

/// A segment's size: room for four of the largest datagrams.
const SEGMENT: usize = 256 << 10;
/// Dead segments that are put up with, beside as much as lives.
const SLACK: usize = 4 * SEGMENT;

struct Segment {
    /// As long as it is written; its capacity is the segment's.
    bytes: Vec<u8>,
    /// Bytes that live in it, headers included.
    live: usize,
}

impl Segment {
    fn new(capacity: usize) -> Segment {
        Segment { bytes: Vec::with_capacity(capacity), live: 0 }
    }

    fn room(&self) -> usize {
        self.bytes.capacity() - self.bytes.len()
    }

    /// Owner and length of the block whose header is at `at`.
    fn header(&self, at: usize) -> (u32, usize) {
        let word = |at: usize| {
            let mut bytes = [0; 4];
            bytes.copy_from_slice(&self.bytes[at..at + 4]);
            u32::from_le_bytes(bytes)
        };
        (word(at), word(at + 4) as usize)
    }

    /// Writes a block at the end, within the capacity; where its bytes begin.
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
    /// The one that is written.
    open: usize,
    free: Vec<u32>,
    /// Bytes of the segments that are not free.
    in_use: usize,
    /// Bytes that live, headers included.
    live: usize,
}

/// Where a block's bytes begin: the segment, and the offset in its low 32 bits.
pub(super) type Place = u64;

impl Hold {
    /// What it takes at the start.
    pub(super) const AT_START: u64 = SEGMENT as u64;

    /// A hold of one segment.
    pub(super) fn new() -> Hold {
        Hold { segments: vec![Segment::new(SEGMENT)], open: 0, free: Vec::new(), in_use: SEGMENT, live: 0 }
    }

    /// What `bytes` in `blocks` blocks take at most, if they live at once.
    pub(super) fn most(bytes: u64, blocks: u64) -> u64 {
        let live = bytes.saturating_add(blocks.saturating_mul(2 * HEADER as u64));
        live.saturating_mul(2).saturating_add((SLACK + 2 * SEGMENT) as u64)
    }

    /// Takes now what [`Hold::most`] says.
    pub(super) fn reserve(&mut self, bytes: u64, blocks: u64) {
        let segments = Hold::most(bytes, blocks).div_ceil(SEGMENT as u64) as usize;
        self.free.reserve(segments);
        self.segments.reserve(segments);
        while self.segments.len() < segments {
            self.free.push(self.segments.len() as u32);
            self.segments.push(Segment::new(SEGMENT));
        }
    }

    /// What a block of `len` bytes takes.
    fn footprint(len: usize) -> usize {
        HEADER + len.next_multiple_of(8)
    }

    fn split(place: Place) -> (usize, usize) {
        ((place >> 32) as usize, place as u32 as usize)
    }

    /// Copies `bytes` in for `owner`. `moved(owner, place)` is told of each block that had to move.
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

    /// Opens a segment with room for a block of `size`, and cleans one where too much is dead.
    #[cold]
    fn open_another(&mut self, size: usize, mut moved: impl FnMut(u32, Place)) {
        if self.segments[self.open].live == 0 {
            self.set_free(self.open);
        }
        let capacity = size.max(SEGMENT);
        // one that is larger than a segment takes none of those that are there
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

    /// Moves what lives in the emptiest segment to the open one, where that leaves room for a block of `size`.
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

    /// Nothing lives in a segment any more.
    fn set_free(&mut self, at: usize) {
        let segment = &mut self.segments[at];
        self.in_use -= segment.bytes.capacity();
        segment.bytes.clear();
        if segment.bytes.capacity() > SEGMENT {
            // it was made for one block that no datagram has
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
            // it starts again at the front: memory that was never needed is never touched
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
