//! What on this machine will spoil latency numbers, in plain words, and what to do about each.
//!
//! Not covered, since no file has it: how the NIC coalesces interrupts (`ethtool -c`), and what the firmware does.

mod facts;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::{fmt, fs};

use facts::{Core, Facts, Files, Nic};

use super::cpu;
use super::netns::HostInterface;

/// How much a [`Finding`] affects latency numbers. The worst comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// Every figure is off.
    Spoils,
    /// The tail is off: p99.9, the maximum.
    Blurs,
    /// Good to know when reading the figures.
    Note,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Severity::Spoils => "spoils",
            Severity::Blurs => "blurs",
            Severity::Note => "note",
        })
    }
}

/// Something about the machine that shows in latency numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What it is, in plain words.
    pub what: String,
    /// What to do about it.
    pub advice: String,
    /// How much it affects latency numbers.
    pub severity: Severity,
}

/// What will spoil latency numbers measured on these cores and interfaces (by name or address), with this many bytes of receive
/// buffer asked for per socket; the worst first. Without cores, all that this thread may use.
///
/// It reads the system's files under `/proc` and `/sys`, and changes nothing. What a machine does not say is reported as not known,
/// or left out if nobody would miss it. It is not a measurement: a machine without findings may still be slow.
///
/// ```
/// for finding in twinline_node::os::examine_machine(&[0], &["lo".to_owned()], 8 << 20) {
///     println!("{}: {}: {}", finding.severity, finding.what, finding.advice);
/// }
/// ```
pub fn examine_machine(cores: &[usize], interfaces: &[String], buffer_bytes: usize) -> Vec<Finding> {
    let usable = cpu::usable_cores();
    let cores: BTreeSet<usize> = if cores.is_empty() { &usable } else { cores }.iter().copied().collect();
    let cores: Vec<usize> = cores.into_iter().collect();
    let all = HostInterface::all().unwrap_or_default();
    // a missing interface has nothing to report
    let nics: BTreeSet<String> =
        interfaces.iter().filter_map(|one| Some(HostInterface::find(&all, one)?.name)).collect();
    let nics: Vec<String> = nics.into_iter().collect();
    judge(&with_files(|files| facts::gather(files, &cores, &nics)), &usable, buffer_bytes as u64)
}

/// The machine in one line: processor, cores that this thread may use, kernel.
pub fn describe_machine() -> String {
    let facts = with_files(|files| facts::gather(files, &[], &[]));
    let processor = facts.processor.unwrap_or_else(|| "unknown processor".to_owned());
    let kernel = facts.kernel.unwrap_or_else(|| "of unknown release".to_owned());
    let cores = cpu::core_count();
    format!("{processor}, {cores} core{}, Linux {kernel}", if cores == 1 { "" } else { "s" })
}

fn with_files<T>(what: impl FnOnce(&Files<'_>) -> T) -> T {
    let read = |path: &str| fs::read_to_string(path).ok();
    let list = |path: &str| {
        let entries = fs::read_dir(path).into_iter().flatten().flatten();
        entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
    };
    what(&Files { read: &read, list: &list })
}

/// Sleep states that take no longer than this to wake from are not reported.
const SLEEP_US_MAX: u64 = 20;
/// Below this the load average is the tail of what ran a minute ago.
const LOAD_MIN: f64 = 0.3;
/// Publisher, arbiter, client.
const BUSY_THREADS: usize = 3;

fn judge(facts: &Facts, usable: &[usize], buffer_bytes: u64) -> Vec<Finding> {
    let mut found = Found(Vec::new());
    whole(facts, &mut found);
    room(facts, usable, &mut found);
    cores(facts, usable, &mut found);
    for nic in &facts.nics {
        interface(nic, &facts.cores, &mut found);
    }
    if let Some(max) = facts.receive_buffer_max.filter(|max| buffer_bytes > *max && !facts.may_force_buffer) {
        let what =
            format!("socket buffers are limited to {max} bytes, and {buffer_bytes} are asked for: bursts will be lost");
        found.spoils(what, format!("sysctl -w net.core.rmem_max={buffer_bytes}, or run with CAP_NET_ADMIN"));
    }
    found.0.sort_by_key(|finding| finding.severity);
    found.0
}

struct Found(Vec<Finding>);

impl Found {
    fn add(&mut self, severity: Severity, what: impl Into<String>, advice: impl Into<String>) {
        self.0.push(Finding { what: what.into(), advice: advice.into(), severity });
    }

    fn spoils(&mut self, what: impl Into<String>, advice: impl Into<String>) {
        self.add(Severity::Spoils, what, advice);
    }

    fn blurs(&mut self, what: impl Into<String>, advice: impl Into<String>) {
        self.add(Severity::Blurs, what, advice);
    }

    fn note(&mut self, what: impl Into<String>, advice: impl Into<String>) {
        self.add(Severity::Note, what, advice);
    }
}

/// Findings about the machine as a whole.
fn whole(facts: &Facts, found: &mut Found) {
    if let Some(name) = &facts.virtual_machine {
        let name = if name.is_empty() { String::new() } else { format!(" ({name})") };
        found.spoils(
            format!("this is a virtual machine{name}: its host takes cores away and moves them as it likes"),
            "measure on bare metal; here, trust only ratios within one run, p50 and p99",
        );
    }
    match facts.clock_source.as_deref() {
        None | Some("tsc" | "arch_sys_counter") => {}
        Some(source @ ("kvm-clock" | "hyperv_clocksource_tsc_page")) => found.note(
            format!("the clock is {source}, not the processor's own: each reading costs some nanoseconds more"),
            "if the host's counter is stable: echo tsc > /sys/devices/system/clocksource/clocksource0/current_clocksource",
        ),
        Some(source) => found.spoils(
            format!("the clock is {source}: each reading is a system call, and may take a microsecond"),
            "boot with clocksource=tsc tsc=reliable, if the processor's counter is stable",
        ),
    }
    if facts.huge_pages.as_deref() == Some("always") {
        found.blurs(
            "the kernel turns any memory into huge pages while it is in use: a thread may stall for it",
            "echo madvise > /sys/kernel/mm/transparent_hugepage/enabled",
        );
    }
}

/// Of room to run: cores, other work, a quota.
fn room(facts: &Facts, usable: &[usize], found: &mut Found) {
    if usable.len() < BUSY_THREADS {
        let count = usable.len().max(1);
        let cores = if count == 1 { "is one core".to_owned() } else { format!("are {count} cores") };
        found.spoils(
            format!("there {cores} for publisher, arbiter and client, which all spin: some share one"),
            "run publisher and client as one thread on one core, and the arbiter alone on another; or use a larger machine",
        );
    }
    if let Some(quota) = facts.quota_cores {
        found.spoils(
            format!(
                "the control group allows {quota:.1} cores' time: a spinning thread is stopped when that is used up"
            ),
            "run without a CPU quota (cpu.max; a container's --cpus)",
        );
    }
    if let Some(load) = facts.load.filter(|load| *load >= LOAD_MIN) {
        let severity = if load >= 1.0 { Severity::Spoils } else { Severity::Blurs };
        found.add(
            severity,
            format!("other work is running, or was just now: {load:.2} threads on average over the last minute"),
            "end it (`top` shows it), wait a minute, look again",
        );
    }
}

/// Findings about the cores to be used.
fn cores(facts: &Facts, usable: &[usize], found: &mut Found) {
    let missing: Vec<usize> = facts.cores.iter().map(|core| core.core).filter(|core| !usable.contains(core)).collect();
    if !missing.is_empty() && !usable.is_empty() {
        found.spoils(
            format!("{} cannot be used by this process", these(&missing)),
            format!("choose among {}", these(usable)),
        );
    }
    let there: Vec<&Core> = facts.cores.iter().filter(|core| !missing.contains(&core.core)).collect();
    let those = |is: &dyn Fn(&Core) -> bool| -> Vec<usize> {
        there.iter().filter(|core| is(core)).map(|core| core.core).collect()
    };
    let shared = those(&|core| !facts.isolated.contains(&core.core));
    if !shared.is_empty() {
        // something must be left for everything else
        let all = shared.len() == usable.len();
        let list = numbers(if all && usable.len() > 1 { &shared[1..] } else { &shared });
        found.spoils(
            format!("{} not isolated: the scheduler puts other work there", are(&shared)),
            format!("boot with isolcpus={list} nohz_full={list} rcu_nocbs={list}, leaving a core for everything else"),
        );
    }
    let ticking = those(&|core| facts.isolated.contains(&core.core) && !facts.tickless.contains(&core.core));
    if !ticking.is_empty() {
        let list = numbers(&ticking);
        found.blurs(
            format!("the timer interrupts {} up to a thousand times per second", these(&ticking)),
            format!("boot with nohz_full={list} rcu_nocbs={list}"),
        );
    }
    let mut governors: BTreeSet<&str> = there.iter().filter_map(|core| core.governor.as_deref()).collect();
    governors.remove("performance");
    for governor in governors {
        let slow = those(&|core| core.governor.as_deref() == Some(governor));
        found.spoils(
            format!(
                "the frequency governor of {} is {governor}: the clock rate changes during a measurement",
                these(&slow)
            ),
            "cpupower frequency-set -g performance",
        );
    }
    let untold = those(&|core| core.governor.is_none());
    if !untold.is_empty() {
        found.note(
            format!("it is not known how the frequency of {} is governed: the system does not say", these(&untold)),
            "set the firmware, or the host of a virtual machine, to performance",
        );
    }
    siblings(&there, found);
    let deepest = there.iter().filter_map(|core| core.sleep.as_ref()).max_by_key(|(_, latency_us)| *latency_us);
    if let Some((name, latency_us)) = deepest.filter(|(_, latency_us)| *latency_us > SLEEP_US_MAX) {
        found.blurs(
            format!("an idle core may sleep so deeply ({name}) that waking takes {latency_us} us; one that spins does not"),
            "boot with processor.max_cstate=1 intel_idle.max_cstate=1, or keep /dev/cpu_dma_latency open with a 0 in it",
        );
    }
}

/// Threads of one core.
fn siblings(cores: &[&Core], found: &mut Found) {
    for core in cores {
        for &sibling in &core.siblings {
            let used = cores.iter().any(|other| other.core == sibling);
            let both = format!("cores {} and {sibling} are two threads of one core", core.core);
            if !used {
                found.blurs(
                    format!("{both}: what runs on {sibling} slows {} down", core.core),
                    format!("echo 0 > /sys/devices/system/cpu/cpu{sibling}/online, or keep it idle"),
                );
            } else if core.core < sibling {
                found.spoils(
                    format!("{both}, and both are to be used: each gets half"),
                    "take cores that are not siblings (`lscpu -e` shows them)",
                );
            }
        }
    }
}

/// Findings about an interface, and the way from it to the cores.
fn interface(nic: &Nic, cores: &[Core], found: &mut Found) {
    let name = &nic.name;
    if nic.is_virtual {
        found.note(
            format!("{name} is not a network card: the figures include the kernel, but neither wire nor card"),
            "for a card's figures, give the lines its interfaces",
        );
    }
    let used = |core: &usize| cores.iter().any(|one| one.core == *core);
    let here: Vec<u32> =
        nic.interrupts.iter().filter(|(_, to)| to.iter().any(used)).map(|(interrupt, _)| *interrupt).collect();
    if !here.is_empty() {
        let to: BTreeSet<usize> = nic.interrupts.iter().flat_map(|(_, to)| to).copied().filter(used).collect();
        let to: Vec<usize> = to.into_iter().collect();
        let list = here.iter().map(u32::to_string).collect::<Vec<_>>().join(", ");
        found.spoils(
            format!("interrupts of {name} ({list}) come to {}, in the middle of what is measured", these(&to)),
            "echo CORE > /proc/irq/NUMBER/smp_affinity_list for each, with a core that measures nothing; stop irqbalance",
        );
    }
    let steered: Vec<usize> = nic.steered_to.iter().copied().filter(used).collect();
    if !steered.is_empty() {
        found.blurs(
            format!("packets of {name} are steered to {} (RPS)", these(&steered)),
            format!("for each queue: echo 0 > /sys/class/net/{name}/queues/rx-*/rps_cpus"),
        );
    }
    let far: Vec<usize> = cores
        .iter()
        .filter(|core| matches!((nic.node, core.node), (Some(nic), Some(core)) if nic != core))
        .map(|core| core.core)
        .collect();
    if let (Some(node), false) = (nic.node, far.is_empty()) {
        found.spoils(
            format!("{name} is attached to memory node {node}, and {} not: each packet crosses over", are(&far)),
            format!("take cores of /sys/devices/system/node/node{node}/cpulist"),
        );
    }
}

fn numbers(cores: &[usize]) -> String {
    cores.iter().map(usize::to_string).collect::<Vec<_>>().join(",")
}

/// `core 1`, `cores 1, 2`.
fn these(cores: &[usize]) -> String {
    let list = cores.iter().map(usize::to_string).collect::<Vec<_>>().join(", ");
    format!("core{} {list}", if cores.len() == 1 { "" } else { "s" })
}

/// `core 1 is`, `cores 1, 2 are`.
fn are(cores: &[usize]) -> String {
    format!("{} {}", these(cores), if cores.len() == 1 { "is" } else { "are" })
}
