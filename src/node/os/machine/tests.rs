//! Findings from literal texts; no file of the machine that runs the tests is looked at, but by the last.

use std::collections::BTreeMap;

use super::facts::{chosen, core_list, core_mask, gather, has_capability, interrupts_named, quota_of};
use super::*;

/// A machine by its files.
fn machine(files: &[(&str, &str)], cores: &[usize], nics: &[&str]) -> Facts {
    let files: BTreeMap<&str, &str> = files.iter().copied().collect();
    let read = |path: &str| files.get(path).map(|text| (*text).to_owned());
    let list = |path: &str| {
        let names = files.keys().filter_map(|file| file.strip_prefix(path)?.strip_prefix('/')?.split('/').next());
        names.collect::<BTreeSet<_>>().into_iter().map(str::to_owned).collect()
    };
    let nics: Vec<String> = nics.iter().map(|nic| (*nic).to_owned()).collect();
    gather(&Files { read: &read, list: &list }, cores, &nics)
}

fn said(facts: &Facts, usable: &[usize]) -> Vec<String> {
    let found = judge(facts, usable, 8 << 20);
    assert!(found.iter().all(|finding| !finding.advice.is_empty()));
    found.into_iter().map(|finding| format!("{}: {}", finding.severity, finding.what)).collect()
}

/// A machine made for it: four cores, the last three isolated, a card on the first one's node.
const GOOD: &[(&str, &str)] = &[
    ("/proc/cpuinfo", "processor\t: 0\nmodel name\t: A CPU\nflags\t\t: fpu tsc\n"),
    ("/proc/sys/kernel/osrelease", "6.1.0\n"),
    ("/proc/loadavg", "0.05 0.20 0.90 1/89 12377\n"),
    ("/proc/sys/net/core/rmem_max", "8388608\n"),
    ("/proc/self/status", "Name:\tx\nCapEff:\t0000000000000000\n"),
    ("/proc/self/cgroup", "0::/user.slice/x\n"),
    ("/sys/fs/cgroup/user.slice/cpu.max", "max 100000\n"),
    ("/sys/devices/system/clocksource/clocksource0/current_clocksource", "tsc\n"),
    ("/sys/kernel/mm/transparent_hugepage/enabled", "always [madvise] never\n"),
    ("/sys/devices/system/cpu/isolated", "1-3\n"),
    ("/sys/devices/system/cpu/nohz_full", "1-3\n"),
    ("/sys/devices/system/cpu/cpu1/cpufreq/scaling_governor", "performance\n"),
    ("/sys/devices/system/cpu/cpu1/topology/thread_siblings_list", "1\n"),
    ("/sys/devices/system/cpu/cpu1/node0/cpulist", "0-3\n"),
    ("/sys/devices/system/cpu/cpu1/cpuidle/state0/name", "POLL\n"),
    ("/sys/devices/system/cpu/cpu1/cpuidle/state0/latency", "0\n"),
    ("/sys/devices/system/cpu/cpu1/cpuidle/state1/name", "C6\n"),
    ("/sys/devices/system/cpu/cpu1/cpuidle/state1/latency", "133\n"),
    ("/sys/devices/system/cpu/cpu1/cpuidle/state1/disable", "1\n"),
    ("/sys/class/net/eth0/device/numa_node", "0\n"),
    ("/sys/class/net/eth0/device/msi_irqs/38", "msix\n"),
    ("/proc/irq/38/smp_affinity_list", "0-3\n"),
    ("/proc/irq/38/effective_affinity_list", "0\n"),
    ("/sys/class/net/eth0/queues/rx-0/rps_cpus", "0\n"),
];

/// The good machine with some files changed.
fn but(changes: &[(&'static str, &'static str)]) -> Vec<(&'static str, &'static str)> {
    GOOD.iter().copied().chain(changes.iter().copied()).collect()
}

#[test]
fn a_machine_made_for_it_has_nothing_to_find() {
    assert_eq!(said(&machine(GOOD, &[1], &["eth0"]), &[0, 1, 2, 3]), [""; 0]);
}

#[test]
fn each_thing_that_spoils_is_found() {
    for (change, usable, finding) in [
        (("/proc/cpuinfo", "flags : fpu hypervisor"), 4, "spoils: this is a virtual machine: its host"),
        (("/sys/hypervisor/type", "xen\n"), 4, "spoils: this is a virtual machine (xen): its host"),
        (("/sys/class/dmi/id/sys_vendor", "QEMU\n"), 4, "spoils: this is a virtual machine (QEMU): its host"),
        (("/sys/fs/cgroup/cpu.max", "150000 100000\n"), 4, "spoils: the control group allows 1.5 cores' time"),
        (
            ("/proc/loadavg", "2.50 1.00 0.10 3/89 1\n"),
            4,
            "spoils: other work is running, or was just now: 2.50 threads",
        ),
        (("/proc/loadavg", "0.40 1.00 0.10 3/89 1\n"), 4, "blurs: other work"),
        (
            ("/proc/sys/net/core/rmem_max", "212992\n"),
            4,
            "spoils: socket buffers are limited to 212992 bytes, and 8388608 are asked",
        ),
        (
            ("/sys/devices/system/clocksource/clocksource0/current_clocksource", "hpet\n"),
            4,
            "spoils: the clock is hpet: each reading is a system call",
        ),
        (
            ("/sys/devices/system/clocksource/clocksource0/current_clocksource", "kvm-clock\n"),
            4,
            "note: the clock is kvm-clock",
        ),
        (
            ("/sys/kernel/mm/transparent_hugepage/enabled", "[always] madvise never\n"),
            4,
            "blurs: the kernel turns any memory into huge pages",
        ),
        (("/sys/devices/system/cpu/isolated", "\n"), 4, "spoils: core 1 is not isolated"),
        (("/sys/devices/system/cpu/nohz_full", " (null)\n"), 4, "blurs: the timer interrupts core 1"),
        (
            ("/sys/devices/system/cpu/cpu1/cpufreq/scaling_governor", "powersave\n"),
            4,
            "spoils: the frequency governor of core 1 is powersave",
        ),
        (
            ("/sys/devices/system/cpu/cpu1/cpufreq/scaling_governor", ""),
            4,
            "note: it is not known how the frequency of core 1 is governed",
        ),
        (
            ("/sys/devices/system/cpu/cpu1/topology/thread_siblings_list", "1,5\n"),
            4,
            "blurs: cores 1 and 5 are two threads of one core: what runs on 5 slows 1 down",
        ),
        (
            ("/sys/devices/system/cpu/cpu1/cpuidle/state1/disable", "0\n"),
            4,
            "blurs: an idle core may sleep so deeply (C6) that waking takes 133 us",
        ),
        (
            ("/sys/class/net/eth0/device/numa_node", "1\n"),
            4,
            "spoils: eth0 is attached to memory node 1, and core 1 is not",
        ),
        (("/proc/irq/38/effective_affinity_list", "1\n"), 4, "spoils: interrupts of eth0 (38) come to core 1"),
        (("/proc/irq/38/effective_affinity_list", ""), 4, "spoils: interrupts of eth0 (38) come to core 1"),
        (("/sys/class/net/eth0/queues/rx-0/rps_cpus", "2\n"), 4, "blurs: packets of eth0 are steered to core 1 (RPS)"),
        (("/x", ""), 2, "spoils: there are 2 cores for publisher"),
    ] {
        let usable: Vec<usize> = (0..usable).collect();
        let found = said(&machine(&but(&[change]), &[1], &["eth0"]), &usable);
        assert!(found.len() == 1 && found[0].starts_with(finding), "{change:?}: {found:?}");
    }
}

#[test]
fn the_worst_comes_first_and_cores_are_told_together() {
    let files = [
        ("/sys/devices/system/cpu/cpu0/topology/thread_siblings_list", "0-1\n"),
        ("/sys/devices/system/cpu/cpu1/topology/thread_siblings_list", "0-1\n"),
    ];
    assert_eq!(
        said(&machine(&files, &[0, 1, 9], &["lo"]), &[0, 1]),
        [
            "spoils: there are 2 cores for publisher, arbiter and client, which all spin: some share one",
            "spoils: core 9 cannot be used by this process",
            "spoils: cores 0, 1 are not isolated: the scheduler puts other work there",
            "spoils: cores 0 and 1 are two threads of one core, and both are to be used: each gets half",
            "note: it is not known how the frequency of cores 0, 1 is governed: the system does not say",
            "note: lo is not a network card: the figures include the kernel, but neither wire nor card",
        ]
    );
}

#[test]
fn a_core_is_left_for_everything_else() {
    let advice = |cores: &[usize]| {
        let found = judge(&machine(&[], cores, &[]), &[0, 1, 2], 0);
        found.into_iter().find(|finding| finding.what.contains("isolated")).unwrap().advice
    };
    assert!(advice(&[0, 1, 2]).contains("isolcpus=1,2 nohz_full=1,2 "));
    assert!(advice(&[0, 2]).contains("isolcpus=0,2 "));
}

#[test]
fn a_limit_that_does_not_bind_is_none() {
    let forced = [("/proc/sys/net/core/rmem_max", "4096\n"), ("/proc/self/status", "CapEff:\t0000000000001000\n")];
    assert_eq!(said(&machine(&but(&forced), &[1], &[]), &[0, 1, 2]), [""; 0]);
    assert!(!has_capability("CapEff:\t000001ffffffefff\n", 12) && !has_capability("", 12));
}

#[test]
fn a_card_behind_virtio_has_its_parents_interrupts() {
    let files = [
        ("/sys/class/net/eth0/device/features", ""),
        ("/sys/class/net/eth0/device/../msi_irqs/37", ""),
        ("/sys/class/net/eth0/device/../numa_node", "-1\n"),
        ("/proc/irq/37/smp_affinity_list", "0,2-3\n"),
    ];
    let nic = &machine(&files, &[], &["eth0"]).nics[0];
    assert_eq!((nic.interrupts.as_slice(), nic.node, nic.is_virtual), (&[(37, vec![0, 2, 3])][..], None, false));
}

#[test]
fn the_kernels_texts_are_read() {
    assert_eq!(core_list("0-2,7"), [0, 1, 2, 7]);
    assert_eq!((core_list(""), core_list("(null)"), core_list("0-99999999999")), (vec![], vec![], vec![]));
    assert_eq!(core_mask("00000001,80000003\n"), [0, 1, 31, 32]);
    assert_eq!(core_mask("x"), [0; 0]);
    let interrupts = "           CPU0       CPU1\n 38:  0  5672 PCI-MSIX-0000:00:03.0 1-edge  eth1-TxRx-0\n \
                      39: 1 0 IO-APIC 4-edge ttyS0, eth1\n 40: 1 0 PCI eth10-rx-0\nNMI:  0  0   Non-maskable interrupts\n";
    assert_eq!(interrupts_named(interrupts, "eth1"), [38, 39]);
    assert_eq!(chosen("always [madvise] never"), Some("madvise".to_owned()));
    assert_eq!((quota_of("50000 100000\n"), quota_of("max 100000"), quota_of("1 0")), (Some(0.5), None, None));
}

#[test]
fn this_machine_can_be_looked_at() {
    assert!(describe_machine().contains("Linux"));
    let found = examine_machine(&[], &["127.0.0.1".to_owned(), "no-such-nic".to_owned()], 1 << 40);
    assert!(found.iter().any(|finding| finding.what.starts_with("lo is not a network card")), "{found:?}");
    assert!(found.is_sorted_by_key(|finding| finding.severity));
}
