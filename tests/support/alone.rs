//! Tests that need a process to themselves, since they measure the whole of it.

use std::env;
use std::process::Command;

const ALONE: &str = "TWINLINE_TEST_ALONE";

/// Runs a test in a process in which there is no other test; `name` is the test's own, with its modules.
#[track_caller]
pub fn alone(name: &str, test: impl FnOnce()) {
    if env::var(ALONE).is_ok_and(|alone| alone == name) {
        return test();
    }
    let mut command = Command::new(env::current_exe().unwrap());
    let done = command.args(["--exact", name, "--nocapture"]).env(ALONE, name).output().unwrap();
    let said = [done.stdout, done.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    assert!(done.status.success() && said[0].contains("1 passed"), "{}\n{}", said[0], said[1]);
}
