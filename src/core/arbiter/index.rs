//! Two orders of the open gaps: by number (which gap holds `n`?) and by deadline (which is given up first?).
//!
//! A treap and a binary heap over the same nodes. Nodes have the caller's ids and are in one list for all channels of a feed,
//! which is passed to every call. Both cost the logarithm of the number of open gaps, some 16 steps at most, and only when a gap
//! is opened, split or closed.

use crate::seq::SeqNo;
use crate::time::Nanos;

const NIL: u32 = u32::MAX;

/// A gap's place in both orders.
#[derive(Clone, Copy)]
pub(super) struct Node {
    first: SeqNo,
    deadline: Nanos,
    left: u32,
    right: u32,
    priority: u32,
    /// Its place in the heap.
    at: u32,
}

impl Node {
    /// The node of an id that no gap has yet.
    pub(super) const UNUSED: Node =
        Node { first: SeqNo(0), deadline: Nanos::ZERO, left: NIL, right: NIL, priority: 0, at: NIL };
}

pub(super) struct Index {
    root: u32,
    heap: Vec<u32>,
    random: u32,
}

impl Index {
    /// An index with room for `open` gaps; it grows beyond that.
    pub(super) fn new(open: usize) -> Index {
        Index { root: NIL, heap: Vec::with_capacity(open), random: 0x9E37_79B9 }
    }

    /// How many gaps are open.
    #[inline]
    pub(super) fn len(&self) -> usize {
        self.heap.len()
    }

    /// The gap with the highest first number that is not above `n`.
    pub(super) fn at_or_below(&self, nodes: &[Node], n: SeqNo) -> Option<u32> {
        let (mut id, mut found) = (self.root, None);
        while id != NIL {
            let node = &nodes[id as usize];
            if node.first <= n {
                found = Some(id);
                id = node.right;
            } else {
                id = node.left;
            }
        }
        found
    }

    /// The gap that is due first, and when; the lowest if several are due at once.
    #[inline]
    pub(super) fn earliest(&self, nodes: &[Node]) -> Option<(Nanos, u32)> {
        self.heap.first().map(|&id| (nodes[id as usize].deadline, id))
    }

    /// When gap `id` is due.
    pub(super) fn deadline(&self, nodes: &[Node], id: u32) -> Nanos {
        nodes[id as usize].deadline
    }

    pub(super) fn insert(&mut self, nodes: &mut [Node], id: u32, first: SeqNo, deadline: Nanos) {
        // xorshift: no sender can choose the tree's shape
        self.random ^= self.random << 13;
        self.random ^= self.random >> 17;
        self.random ^= self.random << 5;
        let at = self.heap.len() as u32;
        let node = Node { first, deadline, left: NIL, right: NIL, priority: self.random, at };
        nodes[id as usize] = node;
        self.root = self.insert_below(nodes, self.root, id);
        self.heap.push(id);
        self.rise(nodes, at as usize);
    }

    /// The front of a gap was filled, so it starts later. Gaps are disjoint, so their order stays the same.
    pub(super) fn set_first(&mut self, nodes: &mut [Node], id: u32, first: SeqNo) {
        nodes[id as usize].first = first;
    }

    pub(super) fn remove(&mut self, nodes: &mut [Node], id: u32) {
        self.root = self.remove_below(nodes, self.root, id);
        let at = nodes[id as usize].at as usize;
        self.heap.swap_remove(at);
        if let Some(&moved) = self.heap.get(at) {
            nodes[moved as usize].at = at as u32;
            self.sink(nodes, at);
            self.rise(nodes, at);
        }
    }

    fn insert_below(&mut self, nodes: &mut [Node], root: u32, id: u32) -> u32 {
        if root == NIL {
            return id;
        }
        let (first, priority) = (nodes[id as usize].first, nodes[id as usize].priority);
        let Node { first: here, priority: above, left, right, .. } = nodes[root as usize];
        if priority > above {
            let (left, right) = self.split(nodes, root, first);
            nodes[id as usize].left = left;
            nodes[id as usize].right = right;
            return id;
        }
        if first < here {
            nodes[root as usize].left = self.insert_below(nodes, left, id);
        } else {
            nodes[root as usize].right = self.insert_below(nodes, right, id);
        }
        root
    }

    /// Splits a tree into the nodes below `first` and the others.
    fn split(&mut self, nodes: &mut [Node], root: u32, first: SeqNo) -> (u32, u32) {
        if root == NIL {
            return (NIL, NIL);
        }
        let Node { first: here, left, right, .. } = nodes[root as usize];
        if here < first {
            let (low, high) = self.split(nodes, right, first);
            nodes[root as usize].right = low;
            (root, high)
        } else {
            let (low, high) = self.split(nodes, left, first);
            nodes[root as usize].left = high;
            (low, root)
        }
    }

    fn merge(&mut self, nodes: &mut [Node], low: u32, high: u32) -> u32 {
        if low == NIL || high == NIL {
            return if low == NIL { high } else { low };
        }
        if nodes[low as usize].priority > nodes[high as usize].priority {
            let right = nodes[low as usize].right;
            nodes[low as usize].right = self.merge(nodes, right, high);
            low
        } else {
            let left = nodes[high as usize].left;
            nodes[high as usize].left = self.merge(nodes, low, left);
            high
        }
    }

    fn remove_below(&mut self, nodes: &mut [Node], root: u32, id: u32) -> u32 {
        if root == NIL {
            return NIL;
        }
        let Node { first: here, left, right, .. } = nodes[root as usize];
        if root == id {
            return self.merge(nodes, left, right);
        }
        if nodes[id as usize].first < here {
            nodes[root as usize].left = self.remove_below(nodes, left, id);
        } else {
            nodes[root as usize].right = self.remove_below(nodes, right, id);
        }
        root
    }

    fn before(&self, nodes: &[Node], a: u32, b: u32) -> bool {
        let key = |id: u32| (nodes[id as usize].deadline, nodes[id as usize].first);
        key(a) < key(b)
    }

    fn swap(&mut self, nodes: &mut [Node], a: usize, b: usize) {
        self.heap.swap(a, b);
        for at in [a, b] {
            nodes[self.heap[at] as usize].at = at as u32;
        }
    }

    fn rise(&mut self, nodes: &mut [Node], mut at: usize) {
        while at > 0 && self.before(nodes, self.heap[at], self.heap[(at - 1) / 2]) {
            self.swap(nodes, at, (at - 1) / 2);
            at = (at - 1) / 2;
        }
    }

    fn sink(&mut self, nodes: &mut [Node], mut at: usize) {
        loop {
            let mut least = at;
            for child in [2 * at + 1, 2 * at + 2] {
                if child < self.heap.len() && self.before(nodes, self.heap[child], self.heap[least]) {
                    least = child;
                }
            }
            if least == at {
                return;
            }
            self.swap(nodes, at, least);
            at = least;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::collections::btree_map::Entry;

    use super::*;

    #[test]
    fn it_agrees_with_two_maps() {
        for seed in 0..50 {
            let mut rng = fastrand::Rng::with_seed(seed);
            let (mut index, mut nodes) = (Index::new(0), [Node::UNUSED; 256]);
            let mut by_number: BTreeMap<u64, u32> = BTreeMap::new();
            let mut known: BTreeMap<u32, (u64, u64)> = BTreeMap::new();
            for _ in 0..2_000 {
                let id = rng.u32(..256);
                match known.get(&id).copied() {
                    Some((first, _)) if rng.bool() => {
                        index.remove(&mut nodes, id);
                        by_number.remove(&first);
                        known.remove(&id);
                    }
                    Some((first, deadline)) if !by_number.contains_key(&(first + 1)) => {
                        index.set_first(&mut nodes, id, SeqNo(first + 1));
                        by_number.remove(&first);
                        by_number.insert(first + 1, id);
                        known.insert(id, (first + 1, deadline));
                    }
                    None => {
                        let (first, deadline) = (rng.u64(..5_000), rng.u64(..20));
                        if let Entry::Vacant(place) = by_number.entry(first) {
                            place.insert(id);
                            index.insert(&mut nodes, id, SeqNo(first), Nanos(deadline));
                            known.insert(id, (first, deadline));
                        }
                    }
                    Some(_) => {}
                }
                let n = rng.u64(..5_100);
                let expected = by_number.range(..=n).next_back().map(|(_, &id)| id);
                assert_eq!(index.at_or_below(&nodes, SeqNo(n)), expected, "seed {seed}");
                let earliest = known.iter().map(|(&id, &(first, deadline))| (deadline, first, id)).min();
                let earliest = earliest.map(|(deadline, _, id)| (Nanos(deadline), id));
                assert_eq!(index.earliest(&nodes), earliest, "seed {seed}");
                assert_eq!(index.len(), known.len());
            }
        }
    }
}
