//! What a feed file says of a framing that it describes itself: plain data. [`Fixed`](super::Fixed) reads datagrams by it; the
//! feed file's reader makes it and checks it.

use crate::time::Nanos;

/// The name that a feed file gives a framing which it describes itself.
pub const FIXED: &str = "fixed";

/// A framing as a feed file describes it, validated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FixedConfig {
    /// Whether the number is the packet's; else it is the first message's.
    pub packet: bool,
    /// How many bytes the header has.
    pub header: usize,
    /// The sequence number.
    pub sequence: Field,
    /// Whether zero is left out when a number narrower than 64 bits wraps.
    pub skips_zero: bool,
    /// The first number of a session.
    pub initial: u64,
    /// How many messages there are; `None` in a packet-sequenced framing.
    pub count: Option<Field>,
    /// The session.
    pub session: Option<SessionField>,
    /// The channel within the group.
    pub channel: Option<Field>,
    /// The header's own length field.
    pub length: Option<LengthField>,
    /// How a message says its length; `None` where what is behind the header is one message.
    pub message: Option<MessageLength>,
    /// What every frame has; one that has it not is malformed.
    pub must_be: Vec<Test>,
    /// What a publisher writes beside that into every frame, and a reader does not look at.
    pub writes: Vec<Test>,
    /// How a heartbeat is known.
    pub heartbeat: Option<Heartbeat>,
    /// How often an idle line is heard.
    pub heartbeat_interval: Nanos,
    /// How the end of a session is known, and the number it carries.
    pub end: Option<(Rule, Carries)>,
    /// Frames outside of the sequence.
    pub unsequenced: Rule,
    /// Frames that reset the numbers.
    pub reset: Rule,
    /// Whether they are reset to the initial number; else to the number of the frame that does it.
    pub reset_to_initial: bool,
    /// Whether the numbers may fall back to the initial one without a mark.
    pub unmarked_restart: bool,
}

impl FixedConfig {
    /// The longest header, in bytes.
    pub const HEADER_MAX: usize = 256;
}

/// A number in the header, or behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field {
    /// Where it begins.
    pub at: u16,
    /// How many bytes it has: 1, 2, 4 or 8.
    pub width: u8,
    /// Whether it is big-endian.
    pub big_endian: bool,
}

impl Field {
    /// The highest number that it holds.
    pub const fn most(self) -> u64 {
        match self.width {
            1 => 0xFF,
            2 => 0xFFFF,
            4 => 0xFFFF_FFFF,
            _ => u64::MAX,
        }
    }

    /// One past its last byte.
    pub const fn end(self) -> usize {
        self.at as usize + self.width as usize
    }

    /// The number that it holds; `None` where `bytes` do not reach so far.
    #[inline]
    pub fn read(self, bytes: &[u8]) -> Option<u64> {
        let rest = bytes.get(usize::from(self.at)..)?;
        let (little, big) = match self.width {
            1 => return rest.first().map(|&byte| u64::from(byte)),
            2 => {
                let field = rest.first_chunk()?;
                (u64::from(u16::from_le_bytes(*field)), u64::from(u16::from_be_bytes(*field)))
            }
            4 => {
                let field = rest.first_chunk()?;
                (u64::from(u32::from_le_bytes(*field)), u64::from(u32::from_be_bytes(*field)))
            }
            _ => {
                let field = rest.first_chunk()?;
                (u64::from_le_bytes(*field), u64::from_be_bytes(*field))
            }
        };
        Some(if self.big_endian { big } else { little })
    }

    /// Writes the lower bytes of `n` where the field is; nothing where `bytes` do not reach so far.
    pub fn write(self, n: u64, bytes: &mut [u8]) {
        let width = usize::from(self.width).min(8);
        let Some(field) = bytes.get_mut(usize::from(self.at)..usize::from(self.at) + width) else { return };
        if self.big_endian {
            field.copy_from_slice(&n.to_be_bytes()[8 - width..]);
        } else {
            field.copy_from_slice(&n.to_le_bytes()[..width]);
        }
    }
}

/// Where the session stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionField {
    /// A number.
    Number(Field),
    /// Text: where it begins, and of how many bytes, up to 14.
    Text {
        /// Where it begins.
        at: u16,
        /// How many bytes.
        len: u8,
    },
}

/// The header's own length field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LengthField {
    /// Where it stands.
    pub field: Field,
    /// Whether it counts the header too; else what is behind it alone.
    pub counts_header: bool,
}

/// How a message says its length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MessageLength {
    /// Where the length stands in the message's block; 1 or 2 bytes wide.
    pub field: Field,
    /// What to add to it for the block's size.
    pub adds: u8,
    /// Bytes at the block's front that are not part of the message.
    pub skip: u8,
}

/// The number that a frame without messages carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Carries {
    /// The next expected.
    Next,
    /// The last one sent.
    Last,
    /// None: what stands there says nothing.
    Nothing,
}

/// How a heartbeat is known, and what it does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heartbeat {
    /// Which frames it is.
    pub when: Rule,
    /// The number that it carries; its own where it consumes one.
    pub carries: Carries,
    /// Whether it consumes a number.
    pub consumes: bool,
    /// Whether one that has the initial number for the next announces a restart.
    pub resets: bool,
}

/// Which frames are meant: those of any of its alternatives, each a chain of tests joined by [`Test::and`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rule(pub Vec<Test>);

impl Rule {
    /// Whether it means a frame with this header and body (what is behind the header).
    #[inline]
    pub fn means(&self, datagram: &[u8], seen: HeaderValues) -> bool {
        let mut all = true;
        for test in &self.0 {
            all = all && test.holds(datagram, seen);
            if !test.and {
                if all {
                    return true;
                }
                all = true;
            }
        }
        false
    }

    /// Its alternatives.
    pub fn alternatives(&self) -> impl Iterator<Item = &[Test]> {
        self.0.split_inclusive(|test| !test.and)
    }
}

/// What of a frame has been read when rules are asked.
#[derive(Clone, Copy, Debug)]
pub struct HeaderValues {
    /// The sequence number as on the wire.
    pub sequence: u64,
    /// The count as on the wire; 1 in a packet-sequenced framing.
    pub count: u64,
    /// How many bytes are behind the header.
    pub body: usize,
}

/// One test of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Test {
    /// What is looked at.
    pub what: Looked,
    /// The lowest value that it holds for.
    pub low: u64,
    /// The highest.
    pub high: u64,
    /// Whether the test behind it must hold too.
    pub and: bool,
}

/// What a test looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Looked {
    /// The sequence number.
    Sequence,
    /// The count.
    Count,
    /// How many bytes are behind the header.
    Body,
    /// The bits of `mask` in a field, of the header or behind it.
    Field(Field, u64),
}

impl Test {
    /// Whether it holds. Where the datagram does not reach to the field, it does not.
    #[inline]
    pub fn holds(&self, datagram: &[u8], seen: HeaderValues) -> bool {
        let value = match self.what {
            Looked::Sequence => seen.sequence,
            Looked::Count => seen.count,
            Looked::Body => seen.body as u64,
            Looked::Field(field, mask) => match field.read(datagram) {
                Some(value) => value & mask,
                None => return false,
            },
        };
        self.low <= value && value <= self.high
    }
}
