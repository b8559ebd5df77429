//! The request to stop: by Ctrl-C, SIGTERM, or another thread.

#![expect(clippy::disallowed_types, reason = "a signal handler sets a plain flag; nothing is published through it")]

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use signal_hook::consts::{SIGINT, SIGTERM};

/// A flag that is set once and stays set. Cheap to clone and to read; clones share the flag.
#[derive(Clone, Debug, Default)]
pub struct Stop(Arc<AtomicBool>);

impl Stop {
    /// A flag that no signal sets.
    pub fn new() -> Stop {
        Stop::default()
    }

    /// A flag that Ctrl-C and SIGTERM set. The second such signal ends the process at once, with status 130.
    ///
    /// # Errors
    /// The system's error if a handler cannot be installed.
    pub fn on_signals() -> io::Result<Stop> {
        let stop = Stop::new();
        for signal in [SIGINT, SIGTERM] {
            // in this order: the first signal finds the flag unset, then sets it
            signal_hook::flag::register_conditional_shutdown(signal, 130, Arc::clone(&stop.0))?;
            signal_hook::flag::register(signal, Arc::clone(&stop.0))?;
        }
        Ok(stop)
    }

    /// Requests the stop.
    pub fn request(&self) {
        // Relaxed: the flag stands alone, and nothing else is published through it
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether the stop was requested.
    #[inline]
    pub fn requested(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}
