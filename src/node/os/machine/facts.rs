//! What the system's own files say about the machine: text in, facts out.

use std::collections::BTreeSet;

/// The system's files: their text, and the names in a folder. A file that does not exist or cannot be read is `None`.
pub(super) struct Files<'a> {
    pub(super) read: &'a dyn Fn(&str) -> Option<String>,
    pub(super) list: &'a dyn Fn(&str) -> Vec<String>,
}

impl Files<'_> {
    fn word(&self, path: &str) -> Option<String> {
        Some((self.read)(path)?.trim().to_owned()).filter(|word| !word.is_empty())
    }

    fn number<N: std::str::FromStr>(&self, path: &str) -> Option<N> {
        self.word(path)?.parse().ok()
    }

    fn cores(&self, path: &str) -> Option<Vec<usize>> {
        Some(core_list((self.read)(path)?.trim()))
    }
}

/// What is known about the machine as a whole, some cores and some interfaces.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Facts {
    /// What the system says about the processor and the kernel.
    pub(super) processor: Option<String>,
    pub(super) kernel: Option<String>,
    /// `Some`: a virtual machine; the name that it gives itself, or nothing.
    pub(super) virtual_machine: Option<String>,
    /// The part of a core's time that the control group gives; `None`: all there is.
    pub(super) quota_cores: Option<f64>,
    pub(super) isolated: Vec<usize>,
    pub(super) tickless: Vec<usize>,
    /// Over the last minute.
    pub(super) load: Option<f64>,
    pub(super) receive_buffer_max: Option<u64>,
    /// Whether that limit does not bind us.
    pub(super) may_force_buffer: bool,
    pub(super) clock_source: Option<String>,
    pub(super) huge_pages: Option<String>,
    pub(super) cores: Vec<Core>,
    pub(super) nics: Vec<Nic>,
}

/// A core that is to be used.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Core {
    pub(super) core: usize,
    pub(super) governor: Option<String>,
    /// The other threads of the same core that are online.
    pub(super) siblings: Vec<usize>,
    /// The deepest sleep that it may fall into, and how long waking takes.
    pub(super) sleep: Option<(String, u64)>,
    pub(super) node: Option<usize>,
}

/// An interface that a line arrives by.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Nic {
    pub(super) name: String,
    /// Whether there is no device behind it: loopback, veth, a bridge.
    pub(super) is_virtual: bool,
    pub(super) node: Option<usize>,
    /// Its interrupts, and the cores to which each goes.
    pub(super) interrupts: Vec<(u32, Vec<usize>)>,
    /// The cores that receive packet steering may hand its packets to.
    pub(super) steered_to: Vec<usize>,
}

/// Reads what there is to know.
pub(super) fn gather(files: &Files<'_>, cores: &[usize], nics: &[String]) -> Facts {
    let info = (files.read)("/proc/cpuinfo").unwrap_or_default();
    let cpu = "/sys/devices/system/cpu";
    Facts {
        processor: cpuinfo(&info, "model name").map(str::to_owned),
        kernel: files.word("/proc/sys/kernel/osrelease"),
        virtual_machine: virtual_machine(files, &info),
        quota_cores: quota(files),
        isolated: files.cores(&format!("{cpu}/isolated")).unwrap_or_default(),
        tickless: files.cores(&format!("{cpu}/nohz_full")).unwrap_or_default(),
        load: files.word("/proc/loadavg").and_then(|load| load.split(' ').next()?.parse().ok()),
        receive_buffer_max: files.number("/proc/sys/net/core/rmem_max"),
        may_force_buffer: (files.read)("/proc/self/status").is_some_and(|status| has_capability(&status, NET_ADMIN)),
        clock_source: files.word("/sys/devices/system/clocksource/clocksource0/current_clocksource"),
        huge_pages: files.word("/sys/kernel/mm/transparent_hugepage/enabled").and_then(|text| chosen(&text)),
        cores: cores.iter().map(|&core| core_facts(files, core)).collect(),
        nics: nics.iter().map(|name| nic(files, name)).collect(),
    }
}

fn core_facts(files: &Files<'_>, core: usize) -> Core {
    let cpu = format!("/sys/devices/system/cpu/cpu{core}");
    let siblings = files.cores(&format!("{cpu}/topology/thread_siblings_list")).unwrap_or_default();
    let states = (files.list)(&format!("{cpu}/cpuidle"));
    let states = states.iter().filter_map(|state| {
        let of = |what: &str| format!("{cpu}/cpuidle/{state}/{what}");
        let disabled = files.word(&of("disable")).is_some_and(|disabled| disabled != "0");
        if disabled { None } else { Some((files.word(&of("name"))?, files.number(&of("latency"))?)) }
    });
    let node = (files.list)(&cpu).iter().find_map(|name| name.strip_prefix("node")?.parse().ok());
    Core {
        core,
        governor: files.word(&format!("{cpu}/cpufreq/scaling_governor")),
        siblings: siblings.into_iter().filter(|sibling| *sibling != core).collect(),
        sleep: states.max_by_key(|(_, latency_us)| *latency_us),
        node,
    }
}

fn nic(files: &Files<'_>, name: &str) -> Nic {
    let nic = format!("/sys/class/net/{name}");
    // a virtio NIC has the interrupts and node of its PCI parent
    let places = [format!("{nic}/device"), format!("{nic}/device/..")];
    let listed = places.iter().map(|place| (files.list)(&format!("{place}/msi_irqs"))).find(|irqs| !irqs.is_empty());
    let mut irqs: BTreeSet<u32> = listed.unwrap_or_default().iter().filter_map(|irq| irq.parse().ok()).collect();
    if irqs.is_empty() {
        irqs.extend(interrupts_named(&(files.read)("/proc/interrupts").unwrap_or_default(), name));
    }
    let goes_to = |irq: u32| {
        let of = |file: &str| files.cores(&format!("/proc/irq/{irq}/{file}")).filter(|cores| !cores.is_empty());
        Some((irq, of("effective_affinity_list").or_else(|| of("smp_affinity_list"))?))
    };
    let queues = (files.list)(&format!("{nic}/queues"));
    let masks = queues.iter().filter_map(|queue| files.word(&format!("{nic}/queues/{queue}/rps_cpus")));
    let steered: BTreeSet<usize> = masks.flat_map(|mask| core_mask(&mask)).collect();
    let node: Option<i32> = places.iter().find_map(|place| files.number(&format!("{place}/numa_node")));
    Nic {
        name: name.to_owned(),
        is_virtual: (files.list)(&places[0]).is_empty(),
        node: node.and_then(|node| usize::try_from(node).ok()),
        interrupts: irqs.into_iter().filter_map(goes_to).collect(),
        steered_to: steered.into_iter().collect(),
    }
}

/// The value of a key of the first processor.
fn cpuinfo<'a>(info: &'a str, key: &str) -> Option<&'a str> {
    info.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        (name.trim() == key).then(|| value.trim())
    })
}

fn virtual_machine(files: &Files<'_>, info: &str) -> Option<String> {
    let flag = cpuinfo(info, "flags").is_some_and(|flags| flags.split(' ').any(|flag| flag == "hypervisor"));
    let hypervisor = files.word("/sys/hypervisor/type");
    let dmi = |what: &str| files.word(&format!("/sys/class/dmi/id/{what}"));
    let vendor = [dmi("sys_vendor"), dmi("product_name")].into_iter().flatten().collect::<Vec<_>>().join(" ");
    let known = ["KVM", "QEMU", "VMware", "VirtualBox", "innotek", "Xen", "Bochs", "HVM domU", "Virtual Machine"];
    let named = known.iter().any(|name| vendor.contains(name));
    (flag || hypervisor.is_some() || named).then(|| hypervisor.unwrap_or(vendor))
}

/// The share that the control group (version 2) of this process gives, or one above it.
fn quota(files: &Files<'_>) -> Option<f64> {
    let groups = (files.read)("/proc/self/cgroup")?;
    let mut group = groups.lines().find_map(|line| line.strip_prefix("0::"))?.trim_end_matches('/');
    let mut least: Option<f64> = None;
    loop {
        let max = (files.read)(&format!("/sys/fs/cgroup{group}/cpu.max"));
        if let Some(quota) = max.as_deref().and_then(quota_of) {
            least = Some(least.map_or(quota, |least| least.min(quota)));
        }
        match group.rsplit_once('/') {
            Some((above, _)) => group = above,
            None => return least,
        }
    }
}

/// `cpu.max`: a quota and a period, or `max` and a period.
pub(super) fn quota_of(text: &str) -> Option<f64> {
    let (quota, period) = text.trim().split_once(' ')?;
    let (quota, period): (f64, f64) = (quota.parse().ok()?, period.parse().ok()?);
    (period > 0.0).then_some(quota / period)
}

/// A list of cores as the kernel writes it: `0-3,8`. Anything else is empty.
pub(super) fn core_list(text: &str) -> Vec<usize> {
    let mut cores = Vec::new();
    for part in text.split(',').filter(|part| !part.is_empty()) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (Ok(first), Ok(last)) = (first.parse::<usize>(), last.parse::<usize>()) else { return Vec::new() };
        // no machine has that many: the text is something else
        if last.saturating_sub(first) >= 1 << 16 {
            return Vec::new();
        }
        cores.extend(first..=last);
    }
    cores
}

/// A mask of cores as the kernel writes it: hexadecimal words of 32 bits, the highest first, with commas between.
pub(super) fn core_mask(text: &str) -> Vec<usize> {
    let mut cores = Vec::new();
    for (at, word) in text.trim().rsplit(',').enumerate() {
        let Ok(bits) = u32::from_str_radix(word, 16) else { return Vec::new() };
        cores.extend((0..32).filter(|bit| bits >> bit & 1 == 1).map(|bit| at * 32 + bit));
    }
    cores
}

/// The interrupts of `/proc/interrupts` that bear an interface's name: `eth0`, `eth0-TxRx-3`.
pub(super) fn interrupts_named(text: &str, nic: &str) -> Vec<u32> {
    let bears = |word: &str| {
        let rest = word.trim_end_matches(',').strip_prefix(nic);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['-', '.', ':', '@']))
    };
    let of = |line: &str| {
        let (irq, rest) = line.trim().split_once(':')?;
        rest.split_whitespace().any(bears).then(|| irq.parse().ok())?
    };
    text.lines().filter_map(of).collect()
}

/// The word in brackets: `always [madvise] never`.
pub(super) fn chosen(text: &str) -> Option<String> {
    Some(text.split_once('[')?.1.split_once(']')?.0.to_owned())
}

/// CAP_NET_ADMIN.
const NET_ADMIN: u32 = 12;

/// Whether `/proc/self/status` has this capability among the effective ones.
pub(super) fn has_capability(status: &str, capability: u32) -> bool {
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let bits = effective.and_then(|bits| u64::from_str_radix(bits.trim(), 16).ok());
    bits.is_some_and(|bits| bits >> capability & 1 == 1)
}
