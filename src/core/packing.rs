//! How the messages of a frame are packed one behind the other. This module owns [`Packing`] and the walk over messages. What a
//! venue's messages are, and how long those without a length field are, is stated with its framing.

use std::fmt;

/// How messages are packed one behind the other.
///
/// Each message is a block of `value of the length field + length_adds` bytes; without a length field, it is everything that is
/// left. What is delivered is the block without its first `skip` bytes (ARBITRATION 2.4: a length that belongs to the
/// transport is not part of the message). If a venue's messages have no length field, a [`SizeRule`] stands in for it.
///
/// Two packings are equal if the first five fields are: a rule is identified by its id, which is in `width`.
#[derive(Clone, Copy)]
pub struct Packing {
    /// Bytes of the length field: 0 (the body is one message), 1 or 2. Anything above is the id of `rule`.
    pub width: u8,
    /// Where the length field begins in its block, in bytes.
    pub offset: u8,
    /// Whether the length field is big-endian.
    pub big_endian: bool,
    /// What to add to the value of the length field to get the size of the block, in bytes.
    pub length_adds: u8,
    /// Bytes at the front of the block that are not part of the message.
    pub skip: u8,
    /// How long a block is, if it has no length field. Then, and only then, `width` is above 2.
    pub rule: Option<&'static SizeRule>,
}

/// How long a block is, for messages without a length field: their size follows from what they are. The rule itself is part of
/// its framing.
pub struct SizeRule {
    /// Identifies the rule in a packing's `width`, and so in the facts of a ring: above 2, and never reused.
    pub id: u8,
    /// The size of the block that these bytes begin with; `None` if it is not whole.
    pub size: fn(&[u8]) -> Option<usize>,
    /// What goes in front of arbitrary bytes to make a message of them ([`Packing::wrap`]). The packing's `offset`,
    /// `big_endian` and `length_adds` say where the 16-bit length of the result is written.
    pub front: &'static [u8],
}

impl Packing {
    /// The body is one message: packet-sequenced framings.
    pub const WHOLE: Packing = Packing { width: 0, offset: 0, big_endian: false, length_adds: 0, skip: 0, rule: None };

    /// A big-endian 16-bit length that does not count itself, then the message: MoldUDP64, MEMX.
    pub const LENGTH_BE16: Packing = Packing { width: 2, big_endian: true, length_adds: 2, skip: 2, ..Packing::WHOLE };

    /// The same, little-endian: IEX.
    pub const LENGTH_LE16: Packing = Packing { big_endian: false, ..Packing::LENGTH_BE16 };

    /// A message that begins with its own length, which counts all of it, in one byte: Cboe, LSE.
    pub const OWN_U8: Packing = Packing { width: 1, ..Packing::WHOLE };

    /// A message that begins with its own length, which counts all of it, in 16 bits, little-endian: NYSE, HKEX.
    pub const OWN_LE16: Packing = Packing { width: 2, ..Packing::OWN_U8 };

    /// The same, big-endian: CTA.
    pub const OWN_BE16: Packing = Packing { big_endian: true, ..Packing::OWN_LE16 };

    /// A byte, then a big-endian 16-bit length of what follows, all of it part of the message: ICE.
    pub const OWN_TYPE_BE16: Packing =
        Packing { width: 2, offset: 1, big_endian: true, length_adds: 3, ..Packing::WHOLE };

    /// Makes a message of this packing from any bytes, in `out`, which it clears. If messages carry their own length, the length
    /// goes where it belongs; by a rule, its `front` goes before the bytes; otherwise the bytes are the message. False if the
    /// length does not fit its field.
    pub fn wrap(self, bytes: &[u8], out: &mut Vec<u8>) -> bool {
        out.clear();
        if let Some(rule) = self.rule {
            out.extend_from_slice(rule.front);
            out.extend_from_slice(bytes);
            return self.put_length(out);
        }
        let (at, width) = (usize::from(self.offset), usize::from(self.width));
        if width == 0 || usize::from(self.skip) >= at + width {
            out.extend_from_slice(bytes);
            return width == 0 || bytes.len() + at + width <= self.block_max();
        }
        let (front, rest) = bytes.split_at(at.min(bytes.len()));
        out.extend_from_slice(front);
        out.resize(at + width, 0);
        out.extend_from_slice(rest);
        self.put_length(out)
    }

    /// The bytes that [`Packing::wrap`] was given, if the length or a rule's `front` stands before them; otherwise the whole
    /// message.
    #[inline]
    pub fn content(self, message: &[u8]) -> &[u8] {
        if let Some(rule) = self.rule {
            return message.get(rule.front.len()..).unwrap_or_default();
        }
        let own = self.offset == 0 && self.skip < self.width;
        message.get(if own { usize::from(self.width) } else { 0 }..).unwrap_or_default()
    }

    /// Writes a block's length into its field; false if it does not fit.
    pub(crate) fn put_length(self, block: &mut [u8]) -> bool {
        let (at, width) = (usize::from(self.offset), usize::from(self.width.min(2)));
        if block.len() > self.block_max() || block.len() < at + width {
            return false;
        }
        let Some(length) = block.len().checked_sub(usize::from(self.length_adds)) else { return false };
        match (width, self.big_endian) {
            (0, _) => {}
            (1, _) => block[at] = length as u8,
            (_, true) => block[at..at + 2].copy_from_slice(&(length as u16).to_be_bytes()),
            (_, false) => block[at..at + 2].copy_from_slice(&(length as u16).to_le_bytes()),
        }
        true
    }

    /// The longest block, in bytes, that the length field can state.
    const fn block_max(self) -> usize {
        let most = match self.width {
            0 => return usize::MAX,
            1 => u8::MAX as usize,
            _ => u16::MAX as usize,
        };
        most + self.length_adds as usize
    }

    /// The size of the block that `rest` begins with, in bytes; `None` if the block is not whole.
    // a framing's packing is known when it is compiled: then this comes down to two reads and a comparison
    #[inline(always)]
    pub fn block_len(self, rest: &[u8]) -> Option<usize> {
        let at = usize::from(self.offset);
        let length = match self.width {
            0 => return Some(rest.len()),
            1 => usize::from(*rest.get(at)?),
            3.. => return self.rule.and_then(|rule| rule.size_of(rest)),
            2 => {
                let field = [*rest.get(at)?, *rest.get(at + 1)?];
                usize::from(if self.big_endian { u16::from_be_bytes(field) } else { u16::from_le_bytes(field) })
            }
        };
        let block = length + usize::from(self.length_adds);
        let least = usize::from(self.skip).max(at + usize::from(self.width));
        (block >= least && block <= rest.len()).then_some(block)
    }

    /// How many bytes the first `count` blocks of `body` take; `None` if they are not all there.
    #[inline(always)] // for the same reason
    pub fn blocks_len(self, body: &[u8], count: u32) -> Option<usize> {
        if self.width == 0 {
            return match count {
                0 => Some(0),
                1 => Some(body.len()),
                _ => None,
            };
        }
        if count == 1 {
            return self.block_len(body);
        }
        if self.width <= 2
            && let Some(block) = self.block_len(body)
            && are_alike(body, count, block, usize::from(self.offset), usize::from(self.width))
        {
            return Some(body.len());
        }
        let mut at = 0;
        for _ in 0..count {
            at += self.block_len(&body[at..])?;
        }
        Some(at)
    }

    /// The messages of a checked body, one after the other; ends early at a block that is not whole.
    #[inline]
    pub fn messages(self, body: &[u8]) -> Messages<'_> {
        Messages { packing: self, rest: body, whole: self.width == 0 }
    }

    /// The packing as 8 opaque bytes, for the facts of a ring. They hold the id of a rule, not the rule.
    pub fn to_bytes(self) -> [u8; 8] {
        [self.width, self.offset, u8::from(self.big_endian), self.length_adds, self.skip, 0, 0, 0]
    }

    /// The packing that [`Packing::to_bytes`] gave; `None` if its rule is not one of `rules`.
    /// [`framing::packing`](crate::framing::packing) knows every rule.
    pub(crate) fn from_bytes(raw: [u8; 8], rules: &[&'static SizeRule]) -> Option<Packing> {
        let [width, offset, big_endian, length_adds, skip, ..] = raw;
        let rule = match width {
            0..=2 => None,
            id => Some(*rules.iter().find(|rule| rule.id == id)?),
        };
        Some(Packing { width, offset, big_endian: big_endian != 0, length_adds, skip, rule })
    }

    /// Everything except the rule, which `width` identifies.
    #[inline]
    fn fields(self) -> (u8, u8, bool, u8, u8) {
        (self.width, self.offset, self.big_endian, self.length_adds, self.skip)
    }
}

impl PartialEq for Packing {
    #[inline]
    fn eq(&self, other: &Packing) -> bool {
        self.fields() == other.fields()
    }
}

impl Eq for Packing {}

impl fmt::Debug for Packing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Packing { width, offset, big_endian, length_adds, skip, rule } = *self;
        if let Some(rule) = rule {
            return write!(f, "Packing {{ rule: {} }}", rule.id);
        }
        f.debug_struct("Packing")
            .field("width", &width)
            .field("offset", &offset)
            .field("big_endian", &big_endian)
            .field("length_adds", &length_adds)
            .field("skip", &skip)
            .finish()
    }
}

impl SizeRule {
    // a framing knows its rule when it is compiled, and then calls it directly
    #[inline(always)]
    fn size_of(&self, rest: &[u8]) -> Option<usize> {
        (self.size)(rest).filter(|size| (1..=rest.len()).contains(size))
    }
}

impl fmt::Debug for SizeRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SizeRule({})", self.id)
    }
}

/// Whether `body` is `count` blocks of `block` bytes, each with the same length field, of `width` bytes at `at`. These lengths
/// can be compared side by side, while in a walk each one waits for the one before. If sizes differ, the size of the body
/// nearly always says so at once.
#[inline(always)] // for a packing that is known when it is compiled
fn are_alike(body: &[u8], count: u32, block: usize, at: usize, width: usize) -> bool {
    if block == 0 || block as u64 * u64::from(count) != body.len() as u64 {
        return false;
    }
    let field = |block: &[u8]| match block.get(at..at + width) {
        Some(&[a, b]) => u16::from_le_bytes([a, b]),
        Some(&[a]) => u16::from(a),
        _ => 0,
    };
    let (first, mut rest, mut differ) = (field(body), body, 0);
    while let Some((this, after)) = rest.split_at_checked(block) {
        differ |= field(this) ^ first;
        rest = after;
    }
    differ == 0
}

/// Walks the messages of a body without a copy. See [`Packing::messages`].
#[derive(Clone, Debug)]
pub struct Messages<'a> {
    packing: Packing,
    rest: &'a [u8],
    whole: bool,
}

impl<'a> Iterator for Messages<'a> {
    type Item = &'a [u8];

    #[inline]
    fn next(&mut self) -> Option<&'a [u8]> {
        if self.whole {
            self.whole = false;
            return Some(std::mem::take(&mut self.rest));
        }
        if self.rest.is_empty() || self.packing.width == 0 {
            return None;
        }
        let block = self.packing.block_len(self.rest)?;
        let (message, rest) = self.rest.split_at(block);
        self.rest = rest;
        message.get(usize::from(self.packing.skip)..)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A message is as long as the low half of its third byte says, and its type the high half; type 1 has text, whose length
    /// stands in front.
    static RULE: SizeRule = SizeRule { id: 77, size, front: b"\0\0\x10" };
    const BY_RULE: Packing =
        Packing { width: 77, big_endian: true, length_adds: 3, rule: Some(&RULE), ..Packing::WHOLE };

    fn size(rest: &[u8]) -> Option<usize> {
        let head = rest.first_chunk::<3>()?;
        Some(match head[2] {
            0x10 => 3 + usize::from(u16::from_be_bytes([head[0], head[1]])),
            n => usize::from(n),
        })
    }

    #[test]
    fn blocks_are_walked_and_never_past_the_end() {
        let body = [0, 1, b'x', 0, 0, 0, 2, b'y', b'z'];
        let all: Vec<&[u8]> = Packing::LENGTH_BE16.messages(&body).collect();
        assert_eq!(all, [b"x".as_slice(), b"", b"yz"]);
        assert_eq!(Packing::LENGTH_BE16.blocks_len(&body, 2), Some(5));
        assert_eq!(Packing::LENGTH_BE16.blocks_len(&body, 4), None);
        assert_eq!(Packing::LENGTH_BE16.blocks_len(&body[..8], 3), None);
        assert_eq!(Packing::WHOLE.messages(&[]).count(), 1);
        assert_eq!(Packing::WHOLE.blocks_len(b"abc", 1), Some(3));
    }

    #[test]
    fn a_length_that_counts_itself_cannot_stall_the_walk() {
        // Cboe: one byte, the block's own length
        let own = Packing::OWN_U8;
        assert_eq!(own.block_len(&[0, 1, 2]), None);
        assert_eq!(own.messages(&[2, 9, 3, 8, 7]).collect::<Vec<_>>(), [[2, 9].as_slice(), &[3, 8, 7]]);
    }

    #[test]
    fn what_is_wrapped_is_a_block_and_its_content_is_found_again() {
        let mut out = Vec::new();
        for (packing, expected) in [
            (BY_RULE, b"\0\x03\x10abc".as_slice()),
            (Packing::OWN_U8, b"\x04abc"),
            (Packing::OWN_BE16, b"\0\x05abc"),
            (Packing::OWN_TYPE_BE16, b"a\0\x02bc"),
        ] {
            assert!(packing.wrap(b"abc", &mut out));
            assert_eq!(out, expected);
            assert_eq!(packing.block_len(&out), Some(out.len()));
            let whole = packing.offset == 1;
            assert_eq!(packing.content(&out), if whole { expected } else { b"abc" });
        }
        assert!(BY_RULE.wrap(&[0; 65_535], &mut out));
        assert!(!BY_RULE.wrap(&[0; 65_536], &mut out));
        assert!(!Packing::OWN_U8.wrap(&[0; 255], &mut out));
    }

    #[test]
    fn a_rule_sizes_blocks_and_can_neither_stall_the_walk_nor_leave_the_body() {
        let body = [0, 0, 4, 9, 0, 1, 0x10, b'x', 0, 0, 3];
        assert_eq!(BY_RULE.blocks_len(&body, 3), Some(11));
        assert_eq!(BY_RULE.messages(&body).map(<[u8]>::len).collect::<Vec<_>>(), [4, 4, 3]);
        assert_eq!(BY_RULE.block_len(&[0, 0, 0, 1]), None, "of no size");
        assert_eq!(BY_RULE.block_len(&[0, 0, 5, 1]), None, "not whole");
        assert_eq!(Packing { rule: None, ..BY_RULE }.block_len(&body), None, "without its rule");
    }

    #[test]
    fn packings_go_through_bytes_if_their_rule_is_known() {
        for packing in [Packing::WHOLE, Packing::LENGTH_LE16, Packing::OWN_TYPE_BE16, BY_RULE] {
            assert_eq!(Packing::from_bytes(packing.to_bytes(), &[&RULE]), Some(packing));
        }
        assert_eq!(Packing::from_bytes(BY_RULE.to_bytes(), &[]), None);
        assert_eq!(Packing::from_bytes([3, 0, 0, 0, 0, 0, 0, 0], &[&RULE]), None);
    }
}
