//! `twinline check`: what a feed file means on this machine, or what is wrong with it.

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::{Failure, Outcome, feed, say};
use twinline_analysis::report::GAPS_LISTED;
use twinline_core::arbiter::{Limits, MemoryUse, Settings};
use twinline_core::frame::ChannelKey;
use twinline_core::framing::AnyFraming;
use twinline_core::framing::fixed::{Field, FixedConfig, SessionField};
use twinline_node::config::{
    ArbiterConfig, Feed, GapTimeout, LineConfig, Method, ReceiveConfig, Verify, duration_text, size_text,
};
use twinline_node::handler;
use twinline_node::os::{self, Finding, Severity};

/// Explain a feed file, or say what is wrong with it
///
/// Prints the framing with its rules, every line and channel, and every parameter with its effective value. Then it warns of
/// what this machine lacks. With --machine it also lists what spoils latency numbers here. It opens no socket.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  twinline check feeds/*.toml
  twinline check --machine
  twinline check --machine feeds/loopback.toml

Exit code: 0 if all files are fine, whatever the warnings and findings; 2 if one is wrong.")]
pub(super) struct Args {
    /// The feed files. Each is checked, alone and against the others
    #[arg(value_name = "FEED", required_unless_present = "machine")]
    feeds: Vec<PathBuf>,
    /// List what on this machine spoils latency numbers, and what to do about it: for the cores, interfaces and buffers of the
    /// feed files, or for all cores if there are no feed files
    #[arg(long)]
    machine: bool,
}

pub(super) fn run(args: Args) -> Outcome {
    let this = Machine::this();
    let mut fine: Vec<(PathBuf, Feed)> = Vec::new();
    let mut code = ExitCode::SUCCESS;
    for path in args.feeds {
        match feed::load(&path) {
            Ok((feed, framing)) => {
                let mut warnings = this.warnings(&feed);
                warnings.extend(fine.iter().flat_map(|(other, before)| collisions(other, before, &feed)));
                print(&format!("{}: fine\n{}", path.display(), report(&feed, framing, &warnings)))
                    .map_err(Failure::run)?;
                fine.push((path, feed));
            }
            Err(failure) => {
                say(format_args!("{:#}", failure.error));
                code = ExitCode::from(2);
            }
        }
    }
    if args.machine {
        let feeds: Vec<&Feed> = fine.iter().map(|(_, feed)| feed).collect();
        print(&findings(&os::describe_machine(), &look(&feeds))).map_err(Failure::run)?;
    }
    Ok(code)
}

/// What on this machine spoils or blurs numbers that are measured with these feeds.
fn look(feeds: &[&Feed]) -> Vec<Finding> {
    let cores: Vec<usize> = feeds.iter().filter_map(|feed| feed.receive.core).collect();
    let lines = feeds.iter().flat_map(|feed| &feed.lines);
    let interfaces: Vec<String> = lines.map(|line| line.interface.clone()).collect();
    let default = ReceiveConfig::default().buffer;
    let buffer = feeds.iter().map(|feed| feed.receive.buffer).max().unwrap_or(default);
    os::examine_machine(&cores, &interfaces, usize::try_from(buffer).unwrap_or(usize::MAX))
}

/// The findings as text, each with what to do about it below.
fn findings(machine: &str, findings: &[Finding]) -> String {
    let mut out = format!("machine: {machine}\n");
    for Finding { what, advice, severity } in findings {
        let _ = writeln!(out, "  {severity:<7} {what}\n          -> {advice}");
    }
    let count = |severity| findings.iter().filter(|finding| finding.severity == severity).count();
    let _ = match (count(Severity::Spoils), count(Severity::Blurs)) {
        (0, 0) => writeln!(out, "  found nothing that spoils latency numbers"),
        (0, _) => writeln!(out, "  latency numbers from this machine are good, except for the tail"),
        _ => {
            writeln!(
                out,
                "  compare latency numbers from this machine only within one run, and never with another machine's"
            )
        }
    };
    out
}

/// Writes to standard output. If the reader has gone, that is no failure.
pub(super) fn print(text: &str) -> io::Result<()> {
    match io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written,
    }
}

/// What the feed file means, one fact per row.
fn report(feed: &Feed, framing: AnyFraming, warnings: &[String]) -> String {
    let rules = framing.rules();
    let mut out = String::new();
    let mut row = |name: &str, what: String| {
        let _ = writeln!(out, "  {name:<14} {what}");
    };
    row("name", feed.name.clone());
    let unit = if framing.packet_sequenced() { "packets (one packet is one message)" } else { "messages" };
    let interval = duration_text(rules.heartbeat_interval);
    row(
        "framing",
        format!("{}: numbers {unit} from {}; a heartbeat every {interval}", feed.framing.name(), rules.initial),
    );
    if let Some(described) = &feed.fixed {
        row("header", header(described));
    }
    if !feed.units.is_empty() {
        let units: Vec<String> = feed.units.iter().map(u32::to_string).collect();
        row("units", format!("{}; frames of other units are counted and left out", units.join(", ")));
    }
    for line in &feed.lines {
        let source = line.source.map_or("any sender".to_owned(), |source| source.to_string());
        let wait = if line.wait { "" } else { "; no loss waits for it" };
        row(&format!("line {}", line.name), format!("on {}, from {source}{wait}", line.interface));
    }
    for group in 0..feed.lines.first().map_or(0, |line| line.groups.len()) {
        let of = |line: &LineConfig| format!("{} {}", line.name, line.groups[group]);
        let groups: Vec<String> = feed.lines.iter().map(of).collect();
        let group = ChannelKey { group: u16::try_from(group).unwrap_or(u16::MAX), key: None };
        let key = if rules.keyed { ".KEY" } else { "" };
        row(&format!("channel {group}{key}"), groups.join(", "));
    }
    parameters(feed, framing, &mut row);
    for warning in warnings {
        let _ = writeln!(out, "  warning: {warning}");
    }
    out
}

/// Where a framing that the feed file describes has its fields.
fn header(described: &FixedConfig) -> String {
    let mut parts = vec![format!("{} bytes", described.header), format!("sequence {}", place(described.sequence))];
    parts.extend(described.count.map(|field| format!("count {}", place(field))));
    parts.extend(described.session.map(|session| match session {
        SessionField::Number(field) => format!("session {}", place(field)),
        SessionField::Text { at, len } => format!("session text{len} at {at}"),
    }));
    parts.extend(described.channel.map(|field| format!("channel {}", place(field))));
    parts.extend(described.length.map(|length| format!("length {}", place(length.field))));
    parts.join(", ")
}

fn place(field: Field) -> String {
    let order = match (field.width, field.big_endian) {
        (1, _) => "",
        (_, true) => "be",
        (_, false) => "le",
    };
    format!("u{}{order} at {}", u32::from(field.width) * 8, field.at)
}

/// Every parameter with its effective value.
fn parameters(feed: &Feed, framing: AnyFraming, row: &mut impl FnMut(&str, String)) {
    let (arbiter, default) = (&feed.arbiter, ArbiterConfig::default());
    let heartbeat = framing.rules().heartbeat_interval;
    let mut parameter = |name: &str, value: String, is_default: bool| {
        row(name, if is_default { format!("{value} (default)") } else { value });
    };
    let gap_timeout = match arbiter.gap_timeout {
        GapTimeout::Auto => {
            "auto: twice the largest recent lead, 200us to 50ms; 10ms until 64 leads are known".to_owned()
        }
        GapTimeout::After(span) => duration_text(span),
    };
    parameter("gap_timeout", gap_timeout, arbiter.gap_timeout == default.gap_timeout);
    parameter("settle", format!("{} numbers", arbiter.settle), arbiter.settle == default.settle);
    let same = arbiter.hold_messages == default.hold_messages;
    parameter("hold_messages", format!("{} messages per channel", arbiter.hold_messages), same);
    let hold_bytes = format!("{} over all channels", size_text(arbiter.hold_bytes));
    parameter("hold_bytes", hold_bytes, arbiter.hold_bytes == default.hold_bytes);
    parameter("max_jump", format!("{} numbers", arbiter.max_jump), arbiter.max_jump == default.max_jump);
    let silent_after = duration_text(arbiter.silent_after(heartbeat));
    parameter("silent_after", silent_after, arbiter.silent_after.is_none());
    let session_grace = duration_text(arbiter.session_grace(heartbeat));
    parameter("session_grace", session_grace, arbiter.session_grace.is_none());
    parameter("join", "live: from the first number that arrives".to_owned(), true);
    let verify = match arbiter.verify {
        Verify::Off => "off: copies are not compared".to_owned(),
        Verify::All => "all: every copy is compared with the first one".to_owned(),
        share => format!("{share}: for that share of the numbers, every copy is compared with the first one"),
    };
    parameter("verify", verify, arbiter.verify == default.verify);
    let receive = &feed.receive;
    let core = receive.core.map_or("on any core".to_owned(), |core| format!("on core {core}"));
    let stamps = if receive.kernel_stamps { "with kernel stamps" } else { "without kernel stamps" };
    let (method, of) = match receive.method {
        Method::Socket => ("by sockets", "socket"),
        Method::Packet => ("by packet sockets with mapped rings", "line"),
        Method::Xdp => ("by AF_XDP", "line"),
        Method::Auto => ("by the fastest method that works", "line or socket"),
    };
    row("receive", format!("{method}, {core}, {} of buffer per {of}, {stamps}", size_text(receive.buffer)));
    limits(&handler::settings(feed, framing.rules()), receive.lock_memory, row);
}

/// The arbiter's limits, whatever arrives, and the memory that they allow.
fn limits(settings: &Settings, locked: bool, row: &mut impl FnMut(&str, String)) {
    let Limits { channels, candidates, runs, gaps, waiting_room, parked, sessions, lost_ranges, epochs, .. } =
        settings.limits();
    let keyed =
        if settings.rules.keyed { format!("; {candidates} more can wait for a second frame") } else { String::new() };
    row("channels", format!("{channels} at most{keyed}"));
    let per_channel = settings.gaps_max;
    row(
        "gaps",
        format!(
            "{per_channel} open per channel, {gaps} over all channels; {lost_ranges} lost ranges remembered per epoch"
        ),
    );
    row("held", format!("{runs} runs of messages over all channels"));
    row(
        "suspicion",
        format!(
            "{runs} frames over all channels, at least {waiting_room} per channel, {parked} parked per line; \
             {sessions} sessions remembered per channel"
        ),
    );
    row("listed", format!("{GAPS_LISTED} gaps and {epochs} epochs over all channels, in --json"));
    let MemoryUse { at_start, by_channel, at_most } = settings.memory();
    row(
        "memory",
        if locked {
            format!(
                "{}, all of it allocated and locked at the start; rings and receive buffers come on top",
                mib(at_most)
            )
        } else {
            format!(
                "{} at the start, {} more per channel, {} at most; rings and receive buffers come on top",
                mib(at_start),
                mib(by_channel),
                mib(at_most)
            )
        },
    );
}

/// A calculated size, in tenths of MiB, rounded up.
fn mib(bytes: u64) -> String {
    let tenths = bytes.saturating_mul(10).div_ceil(1 << 20);
    format!("{}.{} MiB", tenths / 10, tenths % 10)
}

/// What this machine has; `None` if it does not say.
#[derive(Debug, Default)]
struct Machine {
    nics: Option<Vec<String>>,
    addresses: Option<Vec<Ipv4Addr>>,
    rmem_max: Option<u64>,
    cores: Option<Vec<usize>>,
}

impl Machine {
    fn this() -> Machine {
        let names = |dir: &str| {
            let entries = std::fs::read_dir(dir).ok()?.flatten();
            Some(entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect::<Vec<_>>())
        };
        let read = |file: &str| std::fs::read_to_string(file).ok();
        let core = |name: &String| name.strip_prefix("cpu")?.parse().ok();
        Machine {
            nics: names("/sys/class/net"),
            addresses: read("/proc/net/fib_trie").map(|table| local_addresses(&table)),
            rmem_max: read("/proc/sys/net/core/rmem_max").and_then(|max| max.trim().parse().ok()),
            cores: names("/sys/devices/system/cpu").map(|names| names.iter().filter_map(core).collect()),
        }
    }

    /// What to know before running the feed on this machine.
    fn warnings(&self, feed: &Feed) -> Vec<String> {
        let mut warnings = Vec::new();
        for line in &feed.lines {
            if !self.has(&line.interface) {
                warnings.push(format!(
                    "line {}: this machine has no interface {}; name one of its NICs before a live run (captures do not need \
                     it)",
                    line.name, line.interface
                ));
            }
            for group in line.groups.iter().filter(|group| !group.ip().is_multicast()) {
                warnings.push(format!("line {}: {group} is unicast: no group is joined for it", line.name));
            }
        }
        if let [line] = feed.lines.as_slice() {
            warnings.push(format!("line {} is the only one: what it loses is lost", line.name));
        }
        for (at, line) in feed.lines.iter().enumerate() {
            warnings.extend(feed.lines[..at].iter().filter_map(|before| alike(before, line)));
        }
        if let Some(max) = self.rmem_max.filter(|max| feed.receive.buffer > *max) {
            warnings.push(format!(
                "receive.buffer is {}, but this system grants {} unless run as root; to allow it: sysctl -w \
                 net.core.rmem_max={}",
                size_text(feed.receive.buffer),
                size_text(max),
                feed.receive.buffer
            ));
        }
        if let (Some(core), Some(cores)) = (feed.receive.core, &self.cores)
            && !cores.contains(&core)
        {
            warnings
                .push(format!("receive.core is {core}, but this machine has {} cores, counted from 0", cores.len()));
        }
        warnings
    }

    /// Whether there is a NIC with this name or address; true if the machine does not say.
    fn has(&self, interface: &str) -> bool {
        match interface.parse::<Ipv4Addr>() {
            Ok(address) => address.is_loopback() || self.addresses.as_ref().is_none_or(|all| all.contains(&address)),
            Err(_) => self.nics.as_ref().is_none_or(|all| all.iter().any(|nic| nic == interface)),
        }
    }
}

/// The addresses of this machine in the kernel's routing table: each is one row above its `/32 host LOCAL`.
fn local_addresses(table: &str) -> Vec<Ipv4Addr> {
    let rows: Vec<&str> = table.lines().map(str::trim).collect();
    let local = rows.windows(2).filter(|pair| pair[1] == "/32 host LOCAL");
    local.filter_map(|pair| pair[0].trim_start_matches(['|', '-', '+', ' ']).parse().ok()).collect()
}

/// The warning for two lines of a feed that a datagram's group and sender do not tell apart.
fn alike(before: &LineConfig, line: &LineConfig) -> Option<String> {
    let group = line.groups.iter().find(|group| before.groups.contains(group))?;
    let both = format!("lines {} and {} share {group}", before.name, line.name);
    match (before.source, line.source) {
        (Some(a), Some(b)) if a != b => None,
        _ => Some(format!(
            "{both}: a capture can be read only if its interfaces have the lines' names, or given as A=a.pcap B=b.pcap"
        )),
    }
}

/// The warnings for two feeds that receive the same datagrams.
fn collisions(other: &Path, before: &Feed, feed: &Feed) -> Vec<String> {
    let mut warnings = Vec::new();
    for line in &feed.lines {
        for theirs in before.lines.iter().filter(|theirs| theirs.interface == line.interface) {
            let apart = line.source.is_some() && theirs.source.is_some() && line.source != theirs.source;
            for group in line.groups.iter().filter(|group| !apart && theirs.groups.contains(group)) {
                let (other, nic) = (other.display(), &line.interface);
                let (ours, theirs) = (&line.name, &theirs.name);
                warnings.push(format!("line {ours}: {group} on {nic} is also line {theirs} of {other}"));
            }
        }
    }
    warnings
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROUTES: &str = "Local:\n  +-- 0.0.0.0/0 3 0 5\n     |-- 10.81.1.2\n        /32 host LOCAL\n     |-- 10.81.1.255\n        \
                          /32 link BROADCAST\n        +-- 127.0.0.0/8 2 0 2\n           |-- 127.0.0.1\n              /32 host LOCAL\n";

    fn parse(text: &str) -> Feed {
        Feed::parse(text).unwrap()
    }

    fn two(a: &str, b: &str, rest: &str) -> Feed {
        let line = |name, keys: &str| format!("[[line]]\nname = \"{name}\"\n{keys}\n");
        parse(&format!("name = \"x\"\nframing = \"moldudp64\"\n{}{}{rest}", line("A", a), line("B", b)))
    }

    #[test]
    fn a_report_has_every_line_channel_and_parameter() {
        let feed = two(
            "groups = [\"239.1.1.1:1\", \"239.1.1.1:2\"]\ninterface = \"eth0\"\nsource = \"10.0.0.1\"",
            "groups = [\"239.1.2.1:1\", \"239.1.2.1:2\"]\ninterface = \"eth1\"\nwait = false",
            "[arbiter]\ngap_timeout = \"1.5ms\"\nsilent_after = \"2s\"\n[receive]\ncore = 1",
        );
        let said = report(&feed, AnyFraming::MoldUdp64(twinline_core::framing::MoldUdp64), &["take care".to_owned()]);
        // the sizes of structures decide how much memory it is
        let (memory, rows): (Vec<&str>, Vec<&str>) = said.lines().partition(|row| row.starts_with("  memory"));
        assert!(memory.len() == 1 && memory[0].contains("MiB more per channel"), "{memory:?}");
        assert_eq!(
            rows,
            [
                "  name           x",
                "  framing        moldudp64: numbers messages from 1; a heartbeat every 1s",
                "  line A         on eth0, from 10.0.0.1",
                "  line B         on eth1, from any sender; no loss waits for it",
                "  channel 0      A 239.1.1.1:1, B 239.1.2.1:1",
                "  channel 1      A 239.1.1.1:2, B 239.1.2.1:2",
                "  gap_timeout    1500us",
                "  settle         1024 numbers (default)",
                "  hold_messages  65536 messages per channel (default)",
                "  hold_bytes     64MiB over all channels (default)",
                "  max_jump       1000 numbers (default)",
                "  silent_after   2s",
                "  session_grace  2s (default)",
                "  join           live: from the first number that arrives (default)",
                "  verify         off: copies are not compared (default)",
                "  receive        by sockets, on core 1, 8MiB of buffer per socket, without kernel stamps",
                "  channels       2 at most",
                "  gaps           65536 open per channel, 131072 over all channels; 1024 lost ranges remembered per epoch",
                "  held           131072 runs of messages over all channels",
                "  suspicion      131072 frames over all channels, at least 16 per channel, 8 parked per line; 8 sessions \
                 remembered per channel",
                "  listed         65536 gaps and 1024 epochs over all channels, in --json",
                "  warning: take care",
            ]
        );
    }

    #[test]
    fn warnings_are_of_this_machine() {
        assert_eq!(local_addresses(ROUTES), [Ipv4Addr::new(10, 81, 1, 2), Ipv4Addr::LOCALHOST]);
        let machine = Machine {
            nics: Some(vec!["lo".to_owned(), "eth0".to_owned()]),
            addresses: Some(local_addresses(ROUTES)),
            rmem_max: Some(212_992),
            cores: Some(vec![0, 1]),
        };
        let feed = two(
            "groups = [\"239.1.1.1:1\"]\ninterface = \"eth9\"",
            "groups = [\"10.81.1.2:1\"]\ninterface = \"10.81.1.3\"",
            "[receive]\ncore = 2",
        );
        assert_eq!(
            machine.warnings(&feed),
            [
                "line A: this machine has no interface eth9; name one of its NICs before a live run (captures do not need it)",
                "line B: this machine has no interface 10.81.1.3; name one of its NICs before a live run (captures do not need it)",
                "line B: 10.81.1.2:1 is unicast: no group is joined for it",
                "receive.buffer is 8MiB, but this system grants 208KiB unless run as root; to allow it: sysctl -w net.core.rmem_max=8388608",
                "receive.core is 2, but this machine has 2 cores, counted from 0",
            ]
        );
        assert_eq!(Machine::default().warnings(&feed).len(), 1, "a machine that tells nothing lacks nothing");
        let fine = two(
            "groups = [\"239.1.1.1:1\"]\ninterface = \"eth0\"",
            "groups = [\"239.1.2.1:1\"]\ninterface = \"10.81.1.2\"",
            "[receive]\nbuffer = \"64KiB\"\ncore = 1",
        );
        assert_eq!(machine.warnings(&fine), [""; 0]);
    }

    #[test]
    fn findings_come_with_what_to_do() {
        let finding = |severity| Finding { what: "it is slow".into(), advice: "make it fast".into(), severity };
        let said = findings("A CPU", &[finding(Severity::Spoils), finding(Severity::Note)]);
        assert_eq!(
            said.lines().collect::<Vec<_>>(),
            [
                "machine: A CPU",
                "  spoils  it is slow",
                "          -> make it fast",
                "  note    it is slow",
                "          -> make it fast",
                "  compare latency numbers from this machine only within one run, and never with another machine's",
            ]
        );
        assert!(findings("", &[finding(Severity::Blurs)]).ends_with("good, except for the tail\n"));
        assert!(findings("", &[finding(Severity::Note)]).ends_with("found nothing that spoils latency numbers\n"));
    }

    #[test]
    fn lines_that_a_datagram_does_not_tell_apart_are_told() {
        let alike = |a: &str, b: &str| {
            let keys = |keys: &str| format!("groups = [\"239.1.1.1:1\"]\n{keys}");
            Machine::default().warnings(&two(&keys(a), &keys(b), ""))
        };
        let sources =
            |a: &str, b: &str| alike(&format!("interface = \"lo\"\n{a}"), &format!("interface = \"lo\"\n{b}"));
        assert_eq!(sources("source = \"10.0.0.1\"", "source = \"10.0.0.2\""), [""; 0]);
        assert_eq!(
            alike("interface = \"eth0\"", "interface = \"eth1\""),
            [
                "lines A and B share 239.1.1.1:1: a capture can be read only if its interfaces have the lines' names, or given as A=a.pcap B=b.pcap"
            ]
        );
    }

    #[test]
    fn feeds_that_take_the_same_datagrams_are_told() {
        let one = |keys: &str| parse(&format!("name = \"x\"\nframing = \"moldudp64\"\n[[line]]\nname = \"A\"\n{keys}"));
        let feed = one("groups = [\"239.1.1.1:1\"]\ninterface = \"lo\"");
        let other = one("groups = [\"239.1.1.1:1\"]\ninterface = \"eth0\"");
        assert_eq!(
            collisions(Path::new("y.toml"), &feed, &feed),
            ["line A: 239.1.1.1:1 on lo is also line A of y.toml"]
        );
        assert_eq!(collisions(Path::new("y.toml"), &feed, &other), [""; 0]);
    }
}
