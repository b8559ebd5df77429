//! Where things lie in a ring's memory, and the checks of sizes: at creation, and again on attach, where someone else wrote the
//! descriptor.

use std::fmt;

use super::shim::Words;

/// The unit in which regions are aligned and sized, in bytes, so that each can be mapped with its own access rights.
pub(crate) const PAGE: usize = if cfg!(loom) { 64 } else { 4096 };
/// Bytes of a record's header: a length word, then the sequence word.
pub(crate) const HEADER: usize = 16;
/// Records begin on multiples of this: a cache line, so that the consumer, which spins on a record's first line, does not take
/// the end of the record before from the producer. A multiple of the header's size, so that a pad header always fits before
/// the end.
pub(super) const ALIGN: usize = if cfg!(loom) { HEADER } else { LINE };
/// A cache line.
pub(super) const LINE: usize = 64;
/// How many cache lines of a record are fetched ahead: a full Ethernet frame.
pub(super) const AHEAD_MAX: usize = 24;

/// Stored last at creation (Release) and looked at first on attach (Acquire).
pub(super) const MAGIC: u64 = u64::from_le_bytes(*b"TWINRING");
pub(super) const MAGIC_CURSOR: u64 = u64::from_le_bytes(*b"TWINCURS");
const VERSION: u64 = 1;

// Words of the descriptor page.
const D_MAGIC: usize = 0;
const D_VERSION: usize = 1;
const D_FACTS_LEN: usize = 2;
const D_CAPACITY: usize = 3;
const D_RECORD_MAX: usize = 4;
/// Whether the producer has closed.
pub(super) const D_CLOSED: usize = 5;

// Words of the cursor page.
pub(super) const C_MAGIC: usize = 0;
const C_VERSION: usize = 1;
/// Whether the consumer has gone.
pub(super) const C_CLOSED: usize = 2;
/// All below this position has been read.
pub(super) const C_CURSOR: usize = 4;

/// Set in the length word of a pad, which fills the data up to its end.
pub(super) const PAD: u64 = 1 << 63;

/// How large a ring is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Bytes of data: a power of two, whole pages, and at least four times the largest record with its header.
    pub capacity: usize,
    /// The longest payload of a record, in bytes.
    pub record_max: usize,
}

impl Shape {
    /// The smallest capacity that takes payloads of up to `record_max` bytes.
    pub fn least_capacity(record_max: usize) -> usize {
        span(record_max).saturating_mul(4).max(PAGE).next_power_of_two()
    }
}

/// Why a ring cannot be made or attached to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RingError {
    /// The capacity is too small for the largest record.
    TooSmall {
        /// The capacity asked for, in bytes.
        capacity: usize,
        /// The longest payload, in bytes.
        record_max: usize,
        /// The smallest capacity that would do.
        least: usize,
    },
    /// The capacity is not a power of two, or less than a page, or more than 2^40 bytes.
    Capacity {
        /// The capacity asked for, in bytes.
        capacity: usize,
    },
    /// The memory is smaller than the ring.
    Memory {
        /// Bytes that the ring takes.
        need: usize,
        /// Bytes that there are.
        have: usize,
    },
    /// The memory holds no ring.
    Magic,
    /// The memory holds a ring of another version of the layout.
    Version {
        /// The version found.
        found: u64,
    },
}

impl fmt::Display for RingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RingError::TooSmall { capacity, record_max, least } => write!(
                f,
                "a ring of {capacity} bytes is too small: it must hold four records of {record_max} bytes, so at least {least}"
            ),
            RingError::Capacity { capacity } => {
                write!(f, "the capacity of a ring must be a power of two from {PAGE} to 2^40 bytes, not {capacity}")
            }
            RingError::Memory { need, have } => write!(f, "the memory has {have} bytes, but the ring takes {need}"),
            RingError::Magic => f.write_str("the memory holds no ring"),
            RingError::Version { found } => {
                write!(f, "the memory holds a ring of version {found}; this program reads version {VERSION}")
            }
        }
    }
}

impl std::error::Error for RingError {}

/// Where things lie. Every offset into the stream is made from one of these, which was checked against the memory.
///
/// Invariant: `capacity` is a power of two; `span(record_max) * 4 <= capacity`; [`Layout::stream_len`] bytes are there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Layout {
    shape: Shape,
    facts_len: usize,
    data: usize,
}

impl Layout {
    /// The layout of a ring of this shape, with this many bytes of facts.
    ///
    /// # Errors
    /// [`RingError::Capacity`], [`RingError::TooSmall`].
    pub fn new(shape: Shape, facts_len: usize) -> Result<Layout, RingError> {
        let Shape { capacity, record_max } = shape;
        if !capacity.is_power_of_two() || !(PAGE..=1 << 40).contains(&capacity) || facts_len > 1 << 30 {
            return Err(RingError::Capacity { capacity });
        }
        if record_max > capacity || span(record_max) * 4 > capacity {
            let least = Shape::least_capacity(record_max.min(1 << 38));
            return Err(RingError::TooSmall { capacity, record_max, least });
        }
        Ok(Layout { shape, facts_len, data: PAGE + facts_len.next_multiple_of(PAGE) })
    }

    /// Bytes of the whole stream: descriptor, facts and data.
    pub fn stream_len(&self) -> usize {
        self.data + self.shape.capacity
    }

    /// The shape.
    pub fn shape(&self) -> Shape {
        self.shape
    }

    /// Bytes of facts, which begin on the second page.
    pub(super) fn facts_len(&self) -> usize {
        self.facts_len
    }

    /// The offset in the data of a position in the stream of records.
    #[inline]
    pub(super) fn offset(&self, position: u64) -> usize {
        position as usize & (self.shape.capacity - 1)
    }

    /// The byte at which the record of a position begins.
    #[inline]
    pub(super) fn byte(&self, position: u64) -> usize {
        self.data + self.offset(position)
    }

    /// The word that holds the length of the record at a position; the next one holds its sequence.
    #[inline]
    pub(super) fn word(&self, position: u64) -> usize {
        self.byte(position) / 8
    }

    /// Writes the descriptor and the cursor page into new memory.
    pub(super) fn describe(&self, stream: &Words, cursor: &Words) -> Result<(), RingError> {
        self.fits(stream, cursor)?;
        cursor.store_relaxed(C_VERSION, VERSION);
        cursor.store_release(C_MAGIC, MAGIC_CURSOR);
        stream.store_relaxed(D_VERSION, VERSION);
        stream.store_relaxed(D_FACTS_LEN, self.facts_len as u64);
        stream.store_relaxed(D_CAPACITY, self.shape.capacity as u64);
        stream.store_relaxed(D_RECORD_MAX, self.shape.record_max as u64);
        // Release: pairs with the Acquire in `read`, which must see the words above and the facts
        stream.store_release(D_MAGIC, MAGIC);
        Ok(())
    }

    /// Reads a descriptor and checks it against the memory. Nothing in it is trusted.
    pub(super) fn read(stream: &Words, cursor: &Words) -> Result<Layout, RingError> {
        for words in [stream, cursor] {
            if words.len() * 8 < PAGE {
                return Err(RingError::Memory { need: PAGE, have: words.len() * 8 });
            }
        }
        // Acquire: pairs with the Releases in `describe`
        if stream.load_acquire(D_MAGIC) != MAGIC || cursor.load_acquire(C_MAGIC) != MAGIC_CURSOR {
            return Err(RingError::Magic);
        }
        for found in [stream.load_relaxed(D_VERSION), cursor.load_relaxed(C_VERSION)] {
            if found != VERSION {
                return Err(RingError::Version { found });
            }
        }
        let size = |word| usize::try_from(stream.load_relaxed(word)).unwrap_or(usize::MAX);
        let shape = Shape { capacity: size(D_CAPACITY), record_max: size(D_RECORD_MAX) };
        let layout = Layout::new(shape, size(D_FACTS_LEN))?;
        layout.fits(stream, cursor)?;
        Ok(layout)
    }

    fn fits(&self, stream: &Words, cursor: &Words) -> Result<(), RingError> {
        for (words, need) in [(stream, self.stream_len()), (cursor, PAGE)] {
            let have = words.len() * 8;
            if have < need {
                return Err(RingError::Memory { need, have });
            }
        }
        Ok(())
    }
}

/// Bytes that a payload of `len` bytes takes, with its header and the alignment of the next record.
#[inline]
pub(crate) const fn span(len: usize) -> usize {
    len.saturating_add(HEADER + ALIGN - 1) & !(ALIGN - 1)
}

/// The sequence word of a record at a position: never zero, and different on every lap.
#[inline]
pub(super) const fn sequence(position: u64) -> u64 {
    position + 1
}
