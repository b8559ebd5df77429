//! What the kinds of test share; `main.rs` of each takes it in.

#![allow(dead_code, unused_imports, unused_macros, reason = "each kind takes what it needs")]

pub mod alone;
pub mod feed;
pub mod fixed;
pub mod inspect;
pub mod latency;
pub mod netns;
pub mod program;
pub mod scratch;
pub mod sink;
pub mod trials;
pub mod wire;

use std::path::Path;
use std::sync::Mutex;
use std::thread;

use serde_json::Value;
use twinline_core::Nanos;
use twinline_node::os::Clock;

/// The bound of every wait: longer than anything takes on a busy machine. A test waits for a condition, and fails here.
pub const PATIENCE: Nanos = Nanos::from_secs(120);

/// The project's folder.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A number that nothing else in this process has had.
pub fn number_of_its_own() -> u32 {
    static COUNT: Mutex<u32> = Mutex::new(0);
    let mut count = COUNT.lock().unwrap();
    *count += 1;
    *count
}

/// Waits for a condition, not for time.
#[track_caller]
pub fn wait_for(what: &str, mut there: impl FnMut() -> bool) {
    let clock = Clock::start();
    let deadline = clock.now() + PATIENCE;
    while !there() {
        assert!(clock.now() < deadline, "{what}: not within {PATIENCE}");
        thread::yield_now();
    }
}

/// A number of a JSON object.
#[track_caller]
pub fn number(value: &Value, pointer: &str) -> u64 {
    value.pointer(pointer).and_then(Value::as_u64).unwrap_or_else(|| panic!("no number at {pointer} in {value:#}"))
}
