//! The report of `twinline inspect` for people, in 100 columns.

use std::fmt::Write as _;

use super::captures::InspectReport;
use super::channel::{Began, Channel, NumberRun, RUNS_MAX};
use super::files::{FileFacts, InterfaceSeen};
use super::packets::PacketKind;
use super::score::Sureness;
use super::{FLOWS_MAX, Findings, FlowFindings, Group, Pair, SENDERS_MAX, Traffic, apart};
use crate::report::utc::instant;
use crate::report::words::{counted, grouped};
use twinline_core::Nanos;

/// How many flows and channels of a flow are shown; `--json` has all.
const FLOWS_SHOWN: usize = 40;
const CHANNELS_SHOWN: usize = 40;
const INTERFACES_SHOWN: usize = 16;
const LINES_SHOWN: usize = 16;
const PAIRS_SHOWN: usize = 28;
const WIDTH: usize = 100;
const INDENT: usize = 12;

/// The whole report; `with_feed`: the best feed file ends it.
pub(super) fn text(report: &InspectReport, with_feed: bool) -> String {
    let InspectReport { files, interfaces, findings, plans, refusals, not_asked, .. } = report;
    let mut out = String::new();
    for (at, file) in files.iter().enumerate() {
        file_text(&mut out, at, file, interfaces);
    }
    if *not_asked > 0 {
        row(&mut out, "", &format!("{} datagrams of other groups than asked for", grouped(*not_asked)));
    }
    if findings.flows.is_empty() {
        out.push_str("\nno datagram of UDP over IPv4: there is no flow to look at\n");
    }
    let mut shown: Vec<usize> = (0..findings.flows.len()).collect();
    shown.sort_by_key(|&at| std::cmp::Reverse(findings.flows[at].traffic.datagrams));
    shown.truncate(FLOWS_SHOWN);
    shown.sort();
    for &at in &shown {
        flow_text(&mut out, at, findings, interfaces);
    }
    if findings.flows.len() > shown.len() {
        let rest = grouped((findings.flows.len() - shown.len()) as u64);
        let _ = writeln!(out, "\n{rest} smaller flows are not shown: --json has all, --flow GROUP:PORT shows one");
    }
    let beyond = &findings.beyond;
    if beyond.datagrams > 0 {
        let (datagrams, most) = (grouped(beyond.datagrams), grouped(FLOWS_MAX as u64));
        let _ = writeln!(
            out,
            "\n{datagrams} datagrams are of flows beyond the first {most}: counted together, not looked into"
        );
    }
    if beyond.of_more_senders > 0 {
        let (datagrams, most) = (grouped(beyond.of_more_senders), SENDERS_MAX);
        let _ = writeln!(
            out,
            "\n{datagrams} datagrams are of senders beyond the first {most} of their group: not looked into"
        );
    }
    for group in &findings.groups {
        group_text(&mut out, findings, group);
    }
    if let Some(refusals) = refusals {
        out.push_str(&refusals.text());
    }
    if let Some(plan) = plans.first().filter(|_| with_feed) {
        let others = match plans.len() {
            1 => String::new(),
            n => format!(", and {} more for what is unrelated to it", n - 1),
        };
        let _ = writeln!(out, "\nfeed file (--feed FILE writes it{others}):\n");
        for line in plan.text.lines() {
            let _ = writeln!(out, "{}", format!("    {line}").trim_end());
        }
    }
    out
}

/// A row: a label, then text that is continued below itself if it is longer than the page is wide.
fn row(out: &mut String, label: &str, what: &str) {
    let mut line = format!("  {label:<width$}", width = INDENT - 2);
    let mut empty = true;
    for word in what.split(' ') {
        if !empty && line.chars().count() + 1 + word.chars().count() > WIDTH {
            let _ = writeln!(out, "{}", line.trim_end());
            line = " ".repeat(INDENT);
            empty = true;
        }
        if !empty {
            line.push(' ');
        }
        line.push_str(word);
        empty = false;
    }
    let _ = writeln!(out, "{}", line.trim_end());
}

/// Text from a file, without anything that could move a terminal's cursor.
fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}

fn link_name(link: u16) -> String {
    match link {
        0 | 108 => "loopback".to_owned(),
        1 => "Ethernet".to_owned(),
        12 | 14 | 101 | 228 => "raw IP".to_owned(),
        113 => "Linux cooked".to_owned(),
        276 => "Linux cooked v2".to_owned(),
        other => format!("link type {other}, which is not read"),
    }
}

fn resolution(ticks_per_second: u64) -> String {
    match ticks_per_second {
        0 => "stamps of no known unit".to_owned(),
        1 => "stamps of 1 s".to_owned(),
        1_000 => "stamps of 1 ms".to_owned(),
        1_000_000 => "stamps of 1 us".to_owned(),
        1_000_000_000 => "stamps of 1 ns".to_owned(),
        n => format!("stamps of 1/{n} s"),
    }
}

fn file_text(out: &mut String, at: usize, file: &FileFacts, interfaces: &[InterfaceSeen]) {
    if at > 0 {
        out.push('\n');
    }
    let _ = writeln!(out, "{}", plain(&file.name));
    let packed = file.kind.compression.map_or(String::new(), |name| format!(", packed with {name}"));
    let counts = &file.counts;
    row(out, "file", &format!("{}{packed}; {}", file.kind.format, counted(counts.records, "record")));
    let mine: Vec<&InterfaceSeen> = interfaces.iter().filter(|seen| seen.file == at).collect();
    for seen in mine.iter().take(INTERFACES_SHOWN) {
        let name = seen.name.as_deref().map_or(String::new(), |name| format!(" {:?}", plain(name)));
        let (link, unit, packets) =
            (link_name(seen.link), resolution(seen.ticks_per_second), counted(seen.packets, "packet"));
        row(out, "interface", &format!("{}{name}: {link}, {unit}; {packets}", seen.id));
    }
    if mine.len() > INTERFACES_SHOWN {
        row(out, "", &format!("... and {} interfaces more", mine.len() - INTERFACES_SHOWN));
    }
    if let Some((first, last)) = file.stamps {
        row(out, "time", &format!("{} to {}, {}", instant(first), instant(last), span(last - first)));
    }
    let mut parts = vec![format!("{} of UDP over IPv4", counted(counts.datagrams, "datagram"))];
    let kinds = PacketKind::ALL
        .iter()
        .filter(|kind| **kind != PacketKind::Udp)
        .map(|kind| (kind.title(), file.kinds[*kind as usize]));
    let others = [
        ("fragments", counts.fragments),
        ("datagrams put together of them", counts.reassembled),
        ("truncated by the snap length", counts.truncated),
        ("malformed", counts.malformed),
    ];
    let parts_of = kinds.chain(others).filter(|(_, n)| *n > 0).map(|(what, n)| format!("{} {what}", grouped(n)));
    parts.extend(parts_of);
    row(out, "packets", &parts.join("; "));
    if file.kinds[PacketKind::UdpIpv6Multicast as usize] > 0 {
        row(out, "", "IPv6 is not read: what those groups carry is not in the flows below");
    }
    if file.earlier_than_largest > 0 {
        let (before, largest) = (grouped(file.earlier_than_before), grouped(file.earlier_than_largest));
        let said = format!("{before} records are earlier than the one before, {largest} than the latest before");
        row(out, "order", &said);
    }
    for (interface, records) in &file.dropped {
        let of = if interface.is_empty() { String::new() } else { format!(" on {:?}", plain(interface)) };
        row(out, "drops", &format!("the file says that {} records were dropped{of}", grouped(*records)));
    }
}

fn flow_text(out: &mut String, at: usize, findings: &Findings, interfaces: &[InterfaceSeen]) {
    let flow = &findings.flows[at];
    let key = &flow.key;
    let same = |other: &FlowFindings| other.key.destination == key.destination && other.key.interface != key.interface;
    let on = match interfaces.get(key.interface as usize) {
        // where it matters: the same group came by another interface
        Some(seen) if findings.flows.iter().any(same) => match &seen.name {
            Some(name) => format!(" on {:?}", plain(name)),
            None => format!(" on interface {} of file {}", seen.id, seen.file + 1),
        },
        _ => String::new(),
    };
    let _ = writeln!(out, "\nflow {}: {} from {}{on}", at + 1, key.destination, key.source);
    traffic_text(out, &flow.traffic);
    match flow.best() {
        None => miss_text(out, flow),
        Some(best) => {
            let rivals: Vec<&str> = flow.rivals().map(|tried| tried.framing.name()).collect();
            let name = match rivals.as_slice() {
                [] => best.framing.name().to_owned(),
                rivals => format!("either of {}, {}", best.framing.name(), rivals.join(", ")),
            };
            row(out, "framing", &format!("{name}: {} ({:.2})", best.sureness().word(), best.value));
            row(out, "", &best.score.evidence().join("; "));
            if let Some(rival) = rivals.first() {
                row(out, "", &format!("what would tell: {}", apart(best.framing.name(), rival)));
            }
            if let Some(said) = flow.role().said() {
                row(out, "role", said);
            }
            for channel in best.channels.iter().take(CHANNELS_SHOWN) {
                channel_text(out, channel);
            }
            if best.channels.len() > CHANNELS_SHOWN {
                row(out, "", &format!("... and {} channels more", best.channels.len() - CHANNELS_SHOWN));
            }
            if best.unfollowed > 0 {
                row(out, "", &format!("{} frames of further channels: not followed", grouped(best.unfollowed)));
            }
        }
    }
}

fn traffic_text(out: &mut String, traffic: &Traffic) {
    let Traffic { datagrams, bytes, peak, size, .. } = traffic;
    let mut said = format!("{}, {}", counted(*datagrams, "datagram"), counted(*bytes, "byte"));
    if let Some(rate) = traffic.mean_rate() {
        let _ = write!(said, "; {} a second", rate_text(rate));
    }
    let _ = write!(said, ", {} ({} bytes) in the busiest second", grouped(peak.0), grouped(peak.1));
    row(out, "traffic", &said);
    let mut said = format!("{} to {} bytes, median {}", size.0, size.1, traffic.median_size());
    if !traffic.vlans().is_empty() {
        let ids: Vec<String> = traffic.vlans().iter().map(ToString::to_string).collect();
        let more = if traffic.more_vlans { " and more" } else { "" };
        let untagged = if traffic.untagged { ", some without" } else { "" };
        let _ = write!(said, "; VLAN {}{more}{untagged}", ids.join(", "));
    }
    row(out, "sizes", &said);
    row(out, "seen", &format!("{} to {}, {}", instant(traffic.first), instant(traffic.last), span(traffic.span())));
}

fn rate_text(rate: f64) -> String {
    if rate < 100.0 { format!("{rate:.2}") } else { grouped(rate.round() as u64) }
}

fn miss_text(out: &mut String, flow: &FlowFindings) {
    let said = match flow.nearest_miss() {
        None => "no framing was tried".to_owned(),
        Some(miss) if miss.score.parsed == 0 => "no framing of ours fits: none reads a single datagram".to_owned(),
        Some(miss) => {
            let given_up = match (miss.score.dropped, miss.score.datagrams) {
                (true, n) => format!(", given up after {} datagrams", grouped(n)),
                (false, _) => String::new(),
            };
            let (name, evidence) = (miss.framing.name(), miss.score.evidence().join("; "));
            format!("no framing of ours fits; nearest is {name} ({:.2}{given_up}): {evidence}", miss.value)
        }
    };
    row(out, "framing", &said);
}

fn channel_text(out: &mut String, channel: &Channel) {
    let key = channel.key.map_or(String::new(), |key| format!("key {key}: "));
    for run in &channel.runs {
        let session = match run.session.to_string() {
            none if none.is_empty() => String::new(),
            session => format!("session {session:?}, "),
        };
        row(out, "channel", &format!("{key}{session}{}", run_text(run)));
    }
    if channel.run_count > RUNS_MAX as u64 {
        let (count, kept) = (grouped(channel.run_count), RUNS_MAX);
        row(out, "", &format!("{key}{count} runs of numbers in all: the first {} and the last are shown", kept - 1));
    }
    let mut said = Vec::new();
    for (count, what) in [
        (channel.sessions, "changes of session"),
        (channel.resets, "marked resets"),
        (channel.restarts, "restarts without a mark"),
        (channel.unsequenced, "frames outside of the sequence"),
    ] {
        if count > 0 {
            said.push(format!("{} {what}", grouped(count)));
        }
    }
    if !said.is_empty() {
        row(out, "", &format!("{key}{}", said.join("; ")));
    }
}

fn run_text(run: &NumberRun) -> String {
    let mut said = if run.next > run.first {
        format!("{} to {}", run.first, run.next - 1)
    } else {
        format!("none yet, next is {}", run.next)
    };
    let began = match run.began {
        Began::First => "",
        Began::Session => " (a new session)",
        Began::Reset => " (after a reset)",
        Began::Restart => " (after a restart without a mark)",
    };
    said.push_str(began);
    let _ = write!(said, ", {} in {}", counted(run.messages, "message"), counted(run.frames, "frame"));
    let holes = run.holes();
    let _ = match holes.count {
        0 => write!(said, ", no hole"),
        1 => write!(said, ", 1 hole of {}", grouped(holes.numbers)),
        n => write!(
            said,
            ", {} holes of {} in all, the largest {}",
            grouped(n),
            grouped(holes.numbers),
            grouped(holes.largest)
        ),
    };
    match run.duplicates() {
        0 => {}
        n => drop(write!(said, ", {} again", counted(n, "message"))),
    }
    if run.heartbeats > 0 {
        let _ = write!(said, ", {}", counted(run.heartbeats, "heartbeat"));
    }
    if run.strange > 0 {
        let _ = write!(said, ", {} frames with a number far off", grouped(run.strange));
    }
    if run.ended {
        said.push_str(", ended");
    }
    said
}

fn group_text(out: &mut String, findings: &Findings, group: &Group) {
    let mut names: Vec<String> = group.flows.iter().take(LINES_SHOWN).map(|at| (at + 1).to_string()).collect();
    if group.flows.len() > LINES_SHOWN {
        names.push(format!("and {} more", group.flows.len() - LINES_SHOWN));
    }
    let _ = writeln!(out, "\nlines of one channel: flows {}", names.join(", "));
    for pair in group.pairs.iter().take(PAIRS_SHOWN) {
        pair_text(out, pair);
    }
    if group.pairs.len() > PAIRS_SHOWN {
        row(out, "", &format!("... and {} pairs more", group.pairs.len() - PAIRS_SHOWN));
    }
    let rivals = group.flows.iter().any(|&at| findings.flows[at].rivals().next().is_some());
    let sure =
        group.flows.iter().filter_map(|&at| findings.flows[at].best()).map(|best| best.value).fold(1.0, f64::min);
    if rivals || Sureness::of(sure) < Sureness::Certain {
        row(out, "", "as sure as their framing is");
    }
}

fn pair_text(out: &mut String, pair: &Pair) {
    let (a, b) = (pair.a + 1, pair.b + 1);
    let about = if pair.exact { "" } else { "about " };
    let same = match pair.different {
        0 => format!("all {} compared say the same", grouped(pair.compared)),
        n => format!(
            "{} of {} compared DIFFER, number {} first",
            grouped(n),
            grouped(pair.compared),
            pair.first_different.unwrap_or(0)
        ),
    };
    row(
        out,
        &format!("{a} and {b}"),
        &format!(
            "{about}{} numbers on both, {} on {a} alone, {} on {b} alone; {same}",
            grouped(pair.both),
            grouped(pair.only_a),
            grouped(pair.only_b),
        ),
    );
    let skew = &pair.skew_ns;
    row(
        out,
        "skew",
        &format!(
            "{b} behind {a}: median {}, from {} to {}; 99 % within {}; flow {a} led {} times, flow {b} {} times, {} at once",
            signed(skew.median),
            signed(skew.min),
            signed(skew.max),
            signed(i64::try_from(skew.p99_apart).unwrap_or(i64::MAX)),
            grouped(pair.led.0),
            grouped(pair.led.1),
            grouped(pair.led.2),
        ),
    );
}

/// A span with a sign, in the unit that reads best.
fn signed(ns: i64) -> String {
    let sign = if ns < 0 { "-" } else { "" };
    format!("{sign}{}", Nanos(ns.unsigned_abs()))
}

/// A span of time for people.
fn span(span: Nanos) -> String {
    let seconds = span.0 / 1_000_000_000;
    match seconds {
        0..60 => span.to_string(),
        60..3_600 => format!("{}m {:02}s", seconds / 60, seconds % 60),
        _ => format!("{}h {:02}m {:02}s", seconds / 3_600, seconds / 60 % 60, seconds % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_in_hours_and_signed() {
        assert_eq!(span(Nanos::from_secs(3_725)), "1h 02m 05s");
        assert_eq!([signed(-15_300), signed(0), signed(6_200)], ["-15.30us", "0ns", "6.20us"]);
    }

    #[test]
    fn long_rows_go_on_below_themselves() {
        let mut out = String::new();
        row(&mut out, "label", &"word ".repeat(30));
        let lines: Vec<&str> = out.lines().collect();
        assert_eq!(lines.len(), 2);
        assert!(lines[0].starts_with("  label     word word") && lines[1].starts_with("            word"));
        assert!(lines.iter().all(|line| line.len() <= WIDTH));
    }
}
