//! The machine that a benchmark runs on: what it is, its two cores, and whether they are near each other at the moment.

use std::fs;
use std::sync::OnceLock;
use std::thread;

use core_affinity::CoreId;
use twinline_analysis::latency::{NEAR, PingPong};
use twinline_core::Nanos;
use twinline_node::os::{Clock, Spin};

/// One line: processor, cores, kernel.
pub fn line() -> String {
    let read = |path| fs::read_to_string(path).unwrap_or_default();
    let info = read("/proc/cpuinfo");
    let model = info.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let kernel = read("/proc/sys/kernel/osrelease");
    let cores = cores().len();
    format!("{}, {cores} cores, Linux {}", model.map_or("unknown processor", |(_, name)| name), kernel.trim())
}

/// The load averages of the last 1, 5 and 15 minutes: others on the machine disturb what is measured.
pub fn load() -> String {
    let all = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    all.split(' ').take(3).collect::<Vec<_>>().join(" ")
}

/// The cores that the process may run on. Read only once, because a pinned thread sees only its own core.
fn cores() -> &'static [CoreId] {
    static CORES: OnceLock<Vec<CoreId>> = OnceLock::new();
    CORES.get_or_init(|| core_affinity::get_core_ids().unwrap_or_default())
}

/// Pins this thread to one of the cores. Returns false if there is no such core.
pub fn pin(core: usize) -> bool {
    cores().get(core).is_some_and(|core| core_affinity::set_for_current(*core))
}

/// How far the two cores are apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Distance {
    /// A cache line's round trip takes less than 200 ns.
    Near,
    /// It takes longer, or it changed during the measurement.
    Far,
}

/// Runs `block` between two measurements of a cache line's round trip: near only if it was near both times.
pub fn gated<T>(clock: &Clock, block: impl FnOnce() -> T) -> (Distance, T) {
    let before = round_trip(clock);
    let result = block();
    let worst = before.max(round_trip(clock));
    (if worst < NEAR { Distance::Near } else { Distance::Far }, result)
}

/// The median round trip of a cache line between this core and the second; this thread is pinned to the first.
pub fn round_trip(clock: &Clock) -> Nanos {
    let (lines, spin) = (PingPong::default(), Spin::new(false));
    let trip = thread::scope(|scope| {
        scope.spawn(|| {
            pin(1);
            lines.answer(clock, spin)
        });
        lines.round_trip(clock, spin)
    });
    trip.expect("the other thread answers within seconds")
}
