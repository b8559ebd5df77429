//! A single-producer single-consumer ring of bytes, over memory that it is given, heap or mapped. [`heap`] makes one on the heap.
//!
//! It owns the layout, the two ends and the order of stores. It knows nothing about messages, feeds or any other module.
//! After creation it does not allocate, lock or make a system call.
//!
//! Beside it is a queue for owned values, `handoff`, which the crate uses itself.
//!
//! ```text
//!  the stream: written by the producer alone                                the cursor: written by the consumer alone
//!  +------------+-------------+------------------------------------------+  +--------------------------+
//!  | descriptor | facts       | data: a power of two of bytes            |  | magic, version | cursor  |
//!  | one page   | whole pages | whole pages                              |  | one page                 |
//!  +------------+-------------+------------------------------------------+  +--------------------------+
//!
//!  data:  | length  sequence | payload ... | length  sequence | payload ... | 0 |          (each on a cache line)
//! ```
//!
//! A record is a run of bytes behind a 16-byte header that ends with its *sequence word*. The producer writes the payload,
//! then stores the sequence word (Release). The consumer looks at that one word (Acquire), so a message costs the
//! transfer of its own cache lines and of no others. Three things keep this sound:
//!
//! 1. **Zero ahead.** Payload comes from the network, and old payload may look like a sequence word. So the header *after* a
//!    record is zeroed before the record is published: where the consumer looks, it finds zero or the word that belongs
//!    there. The producer therefore always keeps room for one more header than the records need. Most of the zeroing is
//!    done right after a publication, some records ahead, where it delays nothing.
//! 2. **First header last.** Of records that are published together ([`Producer::stage`], then [`Producer::publish`]), the
//!    first one's sequence word is stored last. A pad and the record behind it are such a batch.
//! 3. **Neither end is trusted.** The consumer's cursor is believed only if it is possible. A record's length is checked
//!    against the region before it is used.
//!
//! ```
//! use twinline_client::ring::{self, Shape};
//!
//! let (mut producer, mut consumer) = ring::heap(Shape { capacity: 4096, record_max: 256 }, b"facts")?;
//! producer.write(b"head", b"body")?;
//! assert_eq!(consumer.peek()?, Some(b"headbody".as_slice()));
//! consumer.release();
//! assert_eq!(consumer.peek()?, None);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod consumer;
mod handoff;
mod layout;
mod producer;
pub(crate) mod shim;

pub use consumer::{BrokenRing, Consumer};
pub(crate) use handoff::{Giver, Taker, handoff};
pub(crate) use layout::{HEADER, span};
use layout::{Layout, PAGE};
pub use layout::{RingError, Shape};
pub use producer::{Producer, Refused};

use shim::Words;

/// What a poll found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Polled<T> {
    /// The next item of the stream.
    Item(T),
    /// Nothing now.
    Empty,
    /// Nothing ever again: the writer has gone, and everything has been read.
    Ended,
}

/// The two parts of a ring's memory. They are separate so that a consumer in another process can map the stream read-only and
/// only the cursor for writing.
#[derive(Debug)]
pub(crate) struct Memory {
    /// Descriptor, facts and data.
    pub(crate) stream: Words,
    /// The consumer's page.
    pub(crate) cursor: Words,
}

impl Memory {
    /// Zeroed memory on the heap, every page of it touched so that it is resident.
    fn heap(layout: &Layout) -> Memory {
        Memory { stream: Words::heap(layout.stream_len()), cursor: Words::heap(PAGE) }
    }

    /// A second handle on the same memory, for the other end.
    fn share(&self) -> Memory {
        Memory { stream: self.stream.share(), cursor: self.cursor.share() }
    }
}

/// Both ends of a ring on the heap. `facts` are bytes that the consumer can read at any time ([`Consumer::facts`]).
///
/// # Errors
/// [`RingError`] if the shape is impossible.
pub fn heap(shape: Shape, facts: &[u8]) -> Result<(Producer, Consumer), RingError> {
    let layout = Layout::new(shape, facts.len())?;
    let memory = Memory::heap(&layout);
    // SAFETY: the memory is new, zeroed, and handed to exactly one producer and one consumer.
    unsafe { Ok((Producer::create(memory.share(), shape, facts)?, Consumer::attach(memory)?)) }
}

#[cfg(all(test, loom))]
mod loom_tests;
#[cfg(all(test, not(loom)))]
mod tests;
