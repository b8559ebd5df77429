//! The greatest few of many, and how many there were in all.

/// Keeps the greatest items that it is given, by a key. Of equal items it keeps those that came first.
#[derive(Clone, Debug)]
pub(crate) struct Top<T> {
    most: usize,
    /// Greatest first.
    kept: Vec<(u64, T)>,
    seen: u64,
}

impl<T> Top<T> {
    /// Keeps at most `most` items.
    pub(crate) fn new(most: usize) -> Top<T> {
        Top { most, kept: Vec::new(), seen: 0 }
    }

    /// Adds an item whose size is `key`.
    pub(crate) fn add(&mut self, key: u64, item: T) {
        self.seen += 1;
        if self.kept.len() == self.most && self.kept.last().is_none_or(|(least, _)| *least >= key) {
            return;
        }
        let at = self.kept.partition_point(|(kept, _)| *kept >= key);
        self.kept.insert(at, (key, item));
        self.kept.truncate(self.most);
    }

    /// The items that are kept, greatest first.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.kept.iter().map(|(_, item)| item)
    }

    /// How many items were added.
    pub(crate) fn seen(&self) -> u64 {
        self.seen
    }

    /// How many items were added and are not kept.
    pub(crate) fn omitted(&self) -> u64 {
        self.seen - self.kept.len() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_greatest_are_kept_and_all_are_counted() {
        let mut top = Top::new(3);
        for (key, name) in [(4, "a"), (9, "b"), (4, "c"), (1, "d"), (9, "e"), (5, "f")] {
            top.add(key, name);
        }
        assert_eq!(top.iter().copied().collect::<Vec<_>>(), ["b", "e", "f"]);
        assert_eq!((top.iter().next(), top.seen(), top.omitted()), (Some(&"b"), 6, 3));
        let mut none = Top::new(0);
        none.add(1, ());
        assert_eq!((none.iter().next(), none.seen()), (None, 1));
    }
}
