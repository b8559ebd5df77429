//! A bounded queue that hands owned values from one thread to another: for what cannot go through a ring of bytes.
//!
//! ```text
//!  Giver                    slots                     Taker
//!  stores `given`   | - | v | v | v | - | - |   stores `taken`
//!                         ^           ^
//!                       taken       given
//! ```
//!
//! Neither end waits, allocates or frees. A value that is never taken is dropped with the last of the two ends.

use std::fmt;
use std::sync::Arc;

use super::shim::{Slot, Words};

/// How many values were given, ever. Stored by the giver alone.
const GIVEN: usize = 0;
/// How many were taken, ever. Stored by the taker alone, and on a cache line of its own.
const TAKEN: usize = 8;
/// Whether the taker was dropped.
const TAKER_GONE: usize = 9;
const WORDS: usize = 16;

/// Invariant: `taken <= given <= taken + slots.len()`. Slot `n % slots.len()` holds value `n` for `taken <= n < given`, and is
/// the taker's; every other slot is empty, and the giver's.
struct Shared<T> {
    words: Words,
    slots: Box<[Slot<T>]>,
}

/// Both ends of a new queue that holds up to `capacity` values.
///
/// # Panics
/// If `capacity` is zero.
pub(crate) fn handoff<T: Send>(capacity: usize) -> (Giver<T>, Taker<T>) {
    assert!(capacity > 0, "a queue holds at least one value");
    let slots = (0..capacity).map(|_| Slot::default()).collect();
    let shared = Arc::new(Shared { words: Words::heap(WORDS * 8), slots });
    (Giver { shared: Arc::clone(&shared), given: 0, taken: 0 }, Taker { shared, taken: 0 })
}

/// The end that gives. There is one; it is neither cloned nor shared.
pub(crate) struct Giver<T> {
    shared: Arc<Shared<T>>,
    given: u64,
    /// As last read; the true count is never below.
    taken: u64,
}

impl<T: Send> Giver<T> {
    /// Puts a value behind those that wait.
    ///
    /// # Errors
    /// The value itself, if the queue is full.
    pub fn give(&mut self, value: T) -> Result<(), T> {
        if self.free() == 0 {
            return Err(value);
        }
        let slot = place(&self.shared, self.given);
        // SAFETY: the slot is empty and ours: `given - taken` is below the count of slots, and `taken` was read with Acquire,
        // so the taker is done with the value that was here a lap ago. It comes here again only after the Release below.
        unsafe { slot.put(value) };
        self.given += 1;
        // Release: pairs with the Acquire in `Taker::take`, which must see the value
        self.shared.words.store_release(GIVEN, self.given);
        Ok(())
    }

    /// How many more values fit now.
    pub fn free(&mut self) -> usize {
        // Acquire: pairs with the Release in `Taker::take`; a slot that it gave back is empty for us as well
        self.taken = self.shared.words.load_acquire(TAKEN);
        self.shared.slots.len() - (self.given - self.taken) as usize
    }

    /// Whether the other end was dropped: nobody takes what is given from now on.
    pub fn taker_gone(&self) -> bool {
        // Relaxed: a flag on its own
        self.shared.words.load_relaxed(TAKER_GONE) != 0
    }
}

/// The end that takes. There is one; it is neither cloned nor shared.
pub(crate) struct Taker<T> {
    shared: Arc<Shared<T>>,
    taken: u64,
}

impl<T: Send> Taker<T> {
    /// Whether a value waits: one load of a word that changes only when something is given.
    #[inline]
    pub fn ready(&self) -> bool {
        // Acquire: pairs with the Release in `Giver::give`
        self.shared.words.load_acquire(GIVEN) != self.taken
    }

    /// The value that has waited longest.
    pub fn take(&mut self) -> Option<T> {
        if !self.ready() {
            return None;
        }
        let slot = place(&self.shared, self.taken);
        // SAFETY: `ready` has seen this value's Release with Acquire, and the giver does not come to this slot again before it
        // has seen the Release below.
        let value = unsafe { slot.take() };
        self.taken += 1;
        // Release: pairs with the Acquire in `Giver::free`; the slot is empty before it is the giver's again
        self.shared.words.store_release(TAKEN, self.taken);
        value
    }
}

impl<T> Drop for Taker<T> {
    fn drop(&mut self) {
        // the giver may look at this to save work; nothing else depends on it
        self.shared.words.store_relaxed(TAKER_GONE, 1);
    }
}

fn place<T>(shared: &Shared<T>, n: u64) -> &Slot<T> {
    &shared.slots[(n % shared.slots.len() as u64) as usize]
}

impl<T> fmt::Debug for Giver<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Giver").field("given", &self.given).finish_non_exhaustive()
    }
}

impl<T> fmt::Debug for Taker<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Taker").field("taken", &self.taken).finish_non_exhaustive()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::thread;

    use super::*;

    #[test]
    fn values_come_in_order_and_a_full_queue_hands_them_back() {
        let (mut giver, mut taker) = handoff(2);
        assert!(!taker.ready());
        assert_eq!(taker.take(), None);
        for lap in 0..5 {
            assert_eq!((giver.give(Box::new(lap)), giver.give(Box::new(lap + 1))), (Ok(()), Ok(())));
            assert_eq!(giver.give(Box::new(99)), Err(Box::new(99)));
            assert_eq!(taker.take(), Some(Box::new(lap)));
            assert_eq!(giver.free(), 1);
            assert_eq!(taker.take(), Some(Box::new(lap + 1)));
            assert_eq!(taker.take(), None);
        }
        assert!(!giver.taker_gone());
        drop(taker);
        assert!(giver.taker_gone());
    }

    #[test]
    fn what_nobody_took_is_dropped_once() {
        let value = Arc::new(());
        for giver_goes_first in [true, false] {
            let (mut giver, mut taker) = handoff(3);
            for _ in 0..3 {
                giver.give(Arc::clone(&value)).unwrap();
            }
            drop(taker.take());
            assert_eq!(Arc::strong_count(&value), 3);
            if giver_goes_first {
                drop(giver);
                assert_eq!(taker.take().map(|value| Arc::strong_count(&value)), Some(3));
            } else {
                drop(taker);
                drop(giver);
            }
        }
        assert_eq!(Arc::strong_count(&value), 1);
    }

    #[test]
    fn two_threads_a_hundred_thousand_values() {
        const VALUES: u64 = 100_000;
        let (mut giver, mut taker) = handoff(8);
        let other = thread::spawn(move || {
            for n in 0..VALUES {
                let mut value = Box::new(n);
                while let Err(back) = giver.give(value) {
                    value = back;
                    thread::yield_now();
                }
            }
        });
        for n in 0..VALUES {
            let value = loop {
                match taker.take() {
                    Some(value) => break value,
                    None => thread::yield_now(),
                }
            };
            assert_eq!(*value, n);
        }
        other.join().unwrap();
    }
}
