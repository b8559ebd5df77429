//! Cores: pinning a thread to one, and what a busy thread does while it has nothing to do.
//!
//! A poller that owns its core spins. Two that share a core must not: the one that spins keeps the other from the very work that
//! it waits for, until the scheduler takes the core away milliseconds later. [`Spin`] is that choice, made once.

use std::fmt;

use core_affinity::CoreId;

/// Why a thread is not pinned.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PinError {
    /// There is no such core, or this process may not use it.
    #[error("there is no core {core} for this process; it may use {}", list(.usable))]
    NoSuchCore {
        /// The core that was asked for.
        core: usize,
        /// The cores that this thread may use.
        usable: Vec<usize>,
    },
    /// The system refuses.
    #[error("cannot pin the thread to core {core}: the system refuses; start without pinning, or choose another core")]
    Refused {
        /// The core that was asked for.
        core: usize,
    },
}

/// The cores that this thread may use, as the system numbers them, ascending. Empty if the system does not say.
///
/// A pinned thread, and each thread that it starts, may only use its own core: ask before pinning.
pub fn usable_cores() -> Vec<usize> {
    let mut cores: Vec<usize> = core_affinity::get_core_ids().unwrap_or_default().iter().map(|core| core.id).collect();
    cores.sort_unstable();
    cores
}

/// How many cores this thread may use: 1 or more.
pub fn core_count() -> usize {
    usable_cores().len().max(1)
}

/// Pins the current thread to `core`, a number as [`usable_cores`] lists them.
///
/// # Errors
/// [`PinError`] if the core is not one of [`usable_cores`], or the system refuses.
pub fn pin_thread(core: usize) -> Result<(), PinError> {
    let usable = usable_cores();
    if !usable.contains(&core) {
        return Err(PinError::NoSuchCore { core, usable });
    }
    if core_affinity::set_for_current(CoreId { id: core }) { Ok(()) } else { Err(PinError::Refused { core }) }
}

/// What a busy thread does between two looks that find nothing: spin, or yield the core.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spin {
    shared: bool,
}

impl Spin {
    /// `shared`: whether busy threads share a core.
    pub const fn new(shared: bool) -> Spin {
        Spin { shared }
    }

    /// Spins if each of `busy` threads can have a core of its own, otherwise yields.
    ///
    /// ```
    /// use twinline_node::os::Spin;
    /// assert!(!Spin::for_threads(2, 2).shared());
    /// assert!(Spin::for_threads(3, 2).shared());
    /// ```
    pub const fn for_threads(busy: usize, cores: usize) -> Spin {
        Spin { shared: busy > cores }
    }

    /// Whether busy threads share a core.
    pub const fn shared(self) -> bool {
        self.shared
    }

    /// Call this when there is nothing to do. Pauses for some nanoseconds, or yields the core to other threads.
    #[inline]
    pub fn idle(self) {
        if self.shared {
            std::thread::yield_now();
        } else {
            std::hint::spin_loop();
        }
    }
}

impl fmt::Display for Spin {
    /// A sentence for people.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.shared {
            "busy threads share cores: they yield, and latency is the scheduler's"
        } else {
            "each busy thread has a core of its own: they spin"
        })
    }
}

fn list(cores: &[usize]) -> String {
    if cores.is_empty() {
        return "none that the system lists".to_owned();
    }
    cores.iter().map(usize::to_string).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_is_pinned_to_a_usable_core_and_to_no_other() {
        // on a thread of its own: on the harness's thread, pinning would outlive the test
        std::thread::spawn(|| {
            let all = usable_cores();
            let last = *all.last().expect("a core to run on");
            pin_thread(last).unwrap();
            assert_eq!(usable_cores(), [last]);
            assert_eq!(core_count(), 1);
            let refused = pin_thread(100_000).unwrap_err();
            assert_eq!(refused.to_string(), format!("there is no core 100000 for this process; it may use {last}"));
        })
        .join()
        .unwrap();
    }

    #[test]
    fn threads_without_a_core_of_their_own_yield_and_say_so() {
        assert!(Spin::for_threads(2, 1).to_string().contains("yield"));
        assert!(Spin::for_threads(1, 1).to_string().contains("spin"));
        Spin::new(true).idle();
        Spin::new(false).idle();
    }
}
