//! The description of a framing in a feed file, as plain data. The reader of the feed file makes and checks it;
//! [`Fixed`](super::Fixed) reads datagrams by it.

use crate::time::Nanos;

/// The name, in feed files, of a framing that the feed file describes.
pub const FIXED: &str = "fixed";

/// A framing as a feed file describes it, validated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FixedConfig {
    /// Whether the number is the packet's; otherwise it is the first message's.
    pub packet: bool,
    /// Bytes of the header.
    pub header: usize,
    /// The sequence number.
    pub sequence: Field,
    /// Whether a number narrower than 64 bits skips zero when it wraps.
    pub skips_zero: bool,
    /// The first number of a session.
    pub initial: u64,
    /// The count of messages; `None` in a packet-sequenced framing.
    pub count: Option<Field>,
    /// The session.
    pub session: Option<SessionField>,
    /// The channel within the group.
    pub channel: Option<Field>,
    /// The header's own length field.
    pub length: Option<LengthField>,
    /// The length of a message; `None` if everything after the header is one message.
    pub message: Option<MessageLength>,
    /// What every frame must have; one without it is malformed.
    pub must_be: Vec<Test>,
    /// What a publisher writes into every frame besides, and a reader ignores.
    pub writes: Vec<Test>,
    /// How a heartbeat is recognised.
    pub heartbeat: Option<Heartbeat>,
    /// The longest time between two frames of an idle line.
    pub heartbeat_interval: Nanos,
    /// How the end of a session is recognised, and what number it carries.
    pub end: Option<(Rule, Carries)>,
    /// Frames outside of the sequence.
    pub unsequenced: Rule,
    /// Frames that reset the numbers.
    pub reset: Rule,
    /// Whether these reset to the initial number; otherwise they reset to their own.
    pub reset_to_initial: bool,
    /// Whether the numbers may restart at the initial one without a mark.
    pub unmarked_restart: bool,
}

impl FixedConfig {
    /// The longest header, in bytes.
    pub const HEADER_MAX: usize = 256;
}

/// A number in the header, or after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field {
    /// Where it begins, in bytes from the start.
    pub at: u16,
    /// Its width in bytes: 1, 2, 4 or 8.
    pub width: u8,
    /// Whether it is big-endian.
    pub big_endian: bool,
}

impl Field {
    /// The highest number that it can hold.
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

    /// Its value; `None` if `bytes` end before it does.
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

    /// Writes the lower bytes of `n`; nothing if `bytes` end before the field does.
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
    /// Text of up to 14 bytes.
    Text {
        /// Where it begins, in bytes.
        at: u16,
        /// Its length in bytes.
        len: u8,
    },
}

/// The header's own length field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LengthField {
    /// Where it is.
    pub field: Field,
    /// Whether it counts the header too; otherwise only what follows the header.
    pub counts_header: bool,
}

/// The length field of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MessageLength {
    /// Where it is in the message's block; 1 or 2 bytes wide.
    pub field: Field,
    /// What to add to its value to get the size of the block, in bytes.
    pub adds: u8,
    /// Bytes at the front of the block that are not part of the message.
    pub skip: u8,
}

/// The number that a frame without messages carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Carries {
    /// The next expected.
    Next,
    /// The last one sent.
    Last,
    /// None: the field is ignored.
    Nothing,
}

/// How a heartbeat is recognised, and what it does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heartbeat {
    /// Which frames are heartbeats.
    pub when: Rule,
    /// The number that it carries; its own if it consumes one.
    pub carries: Carries,
    /// Whether it consumes a number.
    pub consumes: bool,
    /// Whether one whose next number is the initial one announces a restart.
    pub resets: bool,
}

/// Matches some frames: those for which any of its alternatives holds. Each alternative is a chain of tests joined by
/// [`Test::and`]. The empty rule matches none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rule(pub Vec<Test>);

impl Rule {
    /// Whether it matches the frame of this datagram.
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

/// The values of a frame that have been read by the time rules are tested.
#[derive(Clone, Copy, Debug)]
pub struct HeaderValues {
    /// The sequence number as on the wire.
    pub sequence: u64,
    /// The count as on the wire; 1 in a packet-sequenced framing.
    pub count: u64,
    /// Bytes after the header.
    pub body: usize,
}

/// One test of a frame: whether a value is in a range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Test {
    /// The value that is tested.
    pub what: Looked,
    /// The lowest value for which it holds.
    pub low: u64,
    /// The highest value for which it holds.
    pub high: u64,
    /// Whether the next test must hold too.
    pub and: bool,
}

/// The value that a test looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Looked {
    /// The sequence number.
    Sequence,
    /// The count.
    Count,
    /// The number of bytes after the header.
    Body,
    /// The bits of a mask in a field of the header, or after it.
    Field(Field, u64),
}

impl Test {
    /// Whether it holds. It does not if the datagram ends before the field.
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
