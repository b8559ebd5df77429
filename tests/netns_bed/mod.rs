//! Test beds of two network namespaces, a publisher's and a receiver's (`scripts/netns`): root and `ip` are needed.

use std::process::{self, Command, Output};
use std::{fs, io, thread};

use twinline::os::clock::Clock;
use twinline::os::netns;
use twinline::time::Nanos;

/// A test bed of its own, removed at the end, however that comes.
pub struct Bed {
    pub prefix: String,
}

impl Bed {
    /// `None`, with the reason printed, where there can be none.
    pub fn up(name: &str) -> Option<Bed> {
        let bed = Bed { prefix: format!("tw{}{name}", process::id()) };
        let skip = |why: &str| eprintln!("skipped: {why}");
        let root = fs::read_to_string("/proc/self/status")
            .is_ok_and(|status| status.lines().any(|line| line.starts_with("Uid:\t0\t0")));
        if !root {
            skip("network namespaces need root");
            return None;
        }
        if let Err(error) = Command::new("ip").arg("-V").output() {
            skip(&format!("no `ip`: {error}"));
            return None;
        }
        // a container's root may not have the privilege; with it, a bed that does not come up is a failure
        if let Err(error) = netns_allowed() {
            skip(&format!("network namespaces are not allowed here: {error}"));
            return None;
        }
        bed.run(&["up"]);
        Some(bed)
    }

    pub fn run(&self, arguments: &[&str]) {
        let done = self.script(arguments).unwrap();
        assert!(done.status.success(), "netns {arguments:?}: {}", String::from_utf8_lossy(&done.stderr));
    }

    fn script(&self, arguments: &[&str]) -> io::Result<Output> {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/netns");
        Command::new(script).args(["-p", &self.prefix]).args(arguments).output()
    }

    /// Does something on one side: sockets belong to the namespace in which they were opened, and so does a list of
    /// interfaces.
    pub fn on<T: Send>(&self, side: &str, what: impl FnOnce() -> T + Send) -> T {
        let name = format!("{}-{side}", self.prefix);
        thread::scope(|scope| {
            let there = scope.spawn(move || {
                netns::enter(&name).unwrap();
                what()
            });
            there.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }
}

impl Drop for Bed {
    fn drop(&mut self) {
        let _ = self.script(&["down"]);
    }
}

fn netns_allowed() -> io::Result<()> {
    let done = Command::new("unshare").args(["--net", "true"]).output()?;
    if done.status.success() {
        Ok(())
    } else {
        Err(io::Error::other(String::from_utf8_lossy(&done.stderr).into_owned()))
    }
}

/// Waits for a condition, not for time.
#[track_caller]
pub fn wait_for(what: &str, mut there: impl FnMut() -> bool) {
    let clock = Clock::start();
    let deadline = clock.now() + Nanos::from_secs(20);
    while !there() {
        assert!(clock.now() < deadline, "{what}: not within 20 s");
        thread::yield_now();
    }
}
