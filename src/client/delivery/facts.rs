//! What a client must know about a feed before it reads the first record. It is stored in the ring itself.

use std::fmt;

use twinline_core::frame::{LINES_MAX, Packing};
use twinline_core::framing;

/// The facts of a feed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FeedFacts {
    /// How the feed's framing packs messages.
    pub packing: Packing,
    /// The feed's name.
    pub feed: String,
    /// The lines' names, by [`Line::index`](twinline_core::frame::Line::index).
    pub lines: Vec<String>,
}

/// The bytes in a ring are not a feed's facts, or are those of a newer version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FactsError;

impl fmt::Display for FactsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the feed's facts in the ring cannot be read: the arbiter may be of another version")
    }
}

impl std::error::Error for FactsError {}

impl FeedFacts {
    /// The facts of a feed: how its framing packs messages ([`Framing::packing`](framing::Framing::packing)), its name, and its
    /// lines' names in the order of the feed file.
    pub fn new(packing: Packing, feed: impl Into<String>, lines: Vec<String>) -> FeedFacts {
        FeedFacts { packing, feed: feed.into(), lines }
    }

    /// As bytes: the packing (8 bytes), then the feed's name and each line's, each behind a 16-bit little-endian length. A name
    /// is cut off at 65,535 bytes.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let mut out = self.packing.to_bytes().to_vec();
        for name in std::iter::once(&self.feed).chain(self.lines.iter().take(LINES_MAX)) {
            let mut len = name.len().min(usize::from(u16::MAX));
            while !name.is_char_boundary(len) {
                len -= 1;
            }
            out.extend_from_slice(&(len as u16).to_le_bytes());
            out.extend_from_slice(&name.as_bytes()[..len]);
        }
        out
    }

    /// The facts that [`FeedFacts::to_bytes`] wrote.
    ///
    /// # Errors
    /// [`FactsError`] if the bytes are anything else.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Result<FeedFacts, FactsError> {
        let (packing, mut rest) = bytes.split_first_chunk::<8>().ok_or(FactsError)?;
        let mut names = Vec::new();
        while let Some((len, more)) = rest.split_first_chunk::<2>() {
            let (name, more) = more.split_at_checked(usize::from(u16::from_le_bytes(*len))).ok_or(FactsError)?;
            names.push(String::from_utf8(name.to_vec()).map_err(|_| FactsError)?);
            rest = more;
        }
        if names.is_empty() || names.len() > 1 + LINES_MAX || !rest.is_empty() {
            return Err(FactsError);
        }
        let feed = names.remove(0);
        let packing = framing::packing(*packing).ok_or(FactsError)?;
        Ok(FeedFacts { packing, feed, lines: names })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facts_come_back_and_nothing_else_is_taken_for_them() {
        let facts = FeedFacts {
            packing: Packing::LENGTH_BE16,
            feed: "loopback".into(),
            lines: vec!["A".into(), String::new(), "Zürich".into()],
        };
        let bytes = facts.to_bytes();
        assert_eq!(FeedFacts::from_bytes(&bytes), Ok(facts));
        let whole_names = [18, 21, 23];
        for cut in (0..bytes.len()).filter(|cut| !whole_names.contains(cut)) {
            assert_eq!(FeedFacts::from_bytes(&bytes[..cut]), Err(FactsError), "cut at {cut}");
        }
        let long = FeedFacts { feed: "ü".repeat(40_000), ..FeedFacts::from_bytes(&bytes).unwrap() };
        assert_eq!(FeedFacts::from_bytes(&long.to_bytes()).unwrap().feed.len(), 65_534);
    }
}
