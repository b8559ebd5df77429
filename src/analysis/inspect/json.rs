//! The object of `twinline inspect --json`; docs/JSON.md has its keys.

use serde::Serialize;

use super::captures::InspectReport;
use super::channel::{Channel, NumberRun};
use super::files::{FileFacts, InterfaceSeen};
use super::malformed::Refused;
use super::packets::PacketKind;
use super::plan::FeedPlan;
use super::{FlowFindings, Group, Pair, Tried, apart};
use twinline_core::framing::Malformed;

/// How many of a flow's tested framings are listed.
const TRIED_LISTED: usize = 5;

#[derive(Serialize)]
struct ReportJson<'a> {
    files: Vec<FileJson<'a>>,
    flows: Vec<FlowJson>,
    beyond: BeyondJson,
    groups: Vec<GroupJson>,
    feeds: Vec<FeedJson<'a>>,
    malformed: Option<Vec<MalformedJson>>,
}

#[derive(Serialize)]
struct BeyondJson {
    datagrams: u64,
    bytes: u64,
    of_more_senders: u64,
    not_asked: u64,
}

#[derive(Serialize)]
struct FileJson<'a> {
    file: &'a str,
    format: &'static str,
    compression: Option<&'static str>,
    records: u64,
    datagrams: u64,
    first_ns: Option<u64>,
    last_ns: Option<u64>,
    packets: serde_json::Value,
    fragments: u64,
    reassembled: u64,
    truncated: u64,
    malformed: u64,
    unstamped: u64,
    earlier_than_before: u64,
    earlier_than_largest: u64,
    interfaces: Vec<InterfaceJson<'a>>,
    dropped: Vec<DroppedJson<'a>>,
    warnings: &'a [String],
}

#[derive(Serialize)]
struct InterfaceJson<'a> {
    interface: usize,
    id: u32,
    name: Option<&'a str>,
    link_type: u16,
    ticks_per_second: u64,
    packets: u64,
}

#[derive(Serialize)]
struct DroppedJson<'a> {
    interface: &'a str,
    records: u64,
}

#[derive(Serialize)]
struct FlowJson {
    flow: usize,
    group: String,
    source: String,
    interface: u32,
    datagrams: u64,
    bytes: u64,
    first_ns: u64,
    last_ns: u64,
    datagrams_per_second: Option<f64>,
    peak_datagrams_in_1s: u64,
    peak_bytes_in_1s: u64,
    size_min_bytes: u32,
    size_median_bytes: u32,
    size_max_bytes: u32,
    vlans: Vec<u16>,
    more_vlans: bool,
    untagged: bool,
    framing: Option<&'static str>,
    either_of: Vec<&'static str>,
    tell_apart: Option<&'static str>,
    sureness: &'static str,
    score: f64,
    evidence: Vec<String>,
    role: &'static str,
    malformed: Option<serde_json::Value>,
    tried: Vec<TriedJson>,
    channels: Vec<ChannelJson>,
    unfollowed_frames: u64,
}

#[derive(Serialize)]
struct TriedJson {
    framing: &'static str,
    score: f64,
    datagrams: u64,
    parsed: u64,
    accounted: u32,
    probed: u32,
    exact: u64,
    near: u64,
    far: u64,
    contradictions: u64,
    repeats: u64,
    heartbeats: u64,
    heartbeats_agree: u64,
    given_up: bool,
}

#[derive(Serialize)]
struct ChannelJson {
    key: Option<u32>,
    sessions: u64,
    resets: u64,
    restarts: u64,
    unsequenced: u64,
    run_count: u64,
    runs: Vec<RunJson>,
}

#[derive(Serialize)]
struct RunJson {
    session: String,
    began: &'static str,
    first: u64,
    end: u64,
    first_ns: u64,
    last_ns: u64,
    frames: u64,
    messages: u64,
    duplicate: u64,
    missing: u64,
    holes: u64,
    largest_hole: u64,
    heartbeats: u64,
    implausible: u64,
    ended: bool,
}

#[derive(Serialize)]
struct GroupJson {
    flows: Vec<usize>,
    pairs: Vec<PairJson>,
}

#[derive(Serialize)]
struct PairJson {
    a: usize,
    b: usize,
    both: u64,
    only_a: u64,
    only_b: u64,
    exact: bool,
    compared: u64,
    different: u64,
    first_different: Option<u64>,
    a_first: u64,
    b_first: u64,
    at_once: u64,
    b_behind_a_min_ns: i64,
    b_behind_a_median_ns: i64,
    b_behind_a_max_ns: i64,
    apart_p99_ns: u64,
}

#[derive(Serialize)]
struct FeedJson<'a> {
    name: &'a str,
    framing: &'a str,
    either_of: &'a [String],
    sureness: &'static str,
    score: f64,
    lines: &'a [String],
    channels: Vec<Vec<usize>>,
    left_out: Vec<usize>,
    text: &'a str,
}

#[derive(Serialize)]
struct MalformedJson {
    group: String,
    source: String,
    stamp_ns: u64,
    datagram: u64,
    framing: &'static str,
    reason: &'static str,
    frame_at_byte: usize,
    size_bytes: usize,
    hex: String,
}

/// The report as one JSON object.
pub(super) fn json(report: &InspectReport) -> serde_json::Result<String> {
    let InspectReport { files, interfaces, findings, plans, refusals, not_asked, .. } = report;
    let beyond = &findings.beyond;
    let report = ReportJson {
        files: files.iter().enumerate().map(|(at, facts)| file(at, facts, interfaces)).collect(),
        flows: findings.flows.iter().enumerate().map(|(at, findings)| flow(at, findings)).collect(),
        beyond: BeyondJson {
            datagrams: beyond.datagrams,
            bytes: beyond.bytes,
            of_more_senders: beyond.of_more_senders,
            not_asked: *not_asked,
        },
        groups: findings.groups.iter().map(group).collect(),
        feeds: plans.iter().map(feed).collect(),
        malformed: refusals.as_ref().map(|refusals| refusals.list.iter().map(malformed).collect()),
    };
    serde_json::to_string(&report)
}

fn file<'a>(at: usize, facts: &'a FileFacts, interfaces: &'a [InterfaceSeen]) -> FileJson<'a> {
    let counts = &facts.counts;
    let packets = PacketKind::ALL.iter().map(|kind| (kind.name().to_owned(), facts.kinds[*kind as usize].into()));
    let mine = interfaces.iter().enumerate().filter(|(_, seen)| seen.file == at);
    FileJson {
        file: &facts.name,
        format: facts.kind.format,
        compression: facts.kind.compression,
        records: counts.records,
        datagrams: counts.datagrams,
        first_ns: facts.stamps.map(|(first, _)| first.0),
        last_ns: facts.stamps.map(|(_, last)| last.0),
        packets: serde_json::Value::Object(packets.collect()),
        fragments: counts.fragments,
        reassembled: counts.reassembled,
        truncated: counts.truncated,
        malformed: counts.malformed,
        unstamped: counts.unstamped,
        earlier_than_before: facts.earlier_than_before,
        earlier_than_largest: facts.earlier_than_largest,
        interfaces: mine
            .map(|(interface, seen)| InterfaceJson {
                interface,
                id: seen.id,
                name: seen.name.as_deref(),
                link_type: seen.link,
                ticks_per_second: seen.ticks_per_second,
                packets: seen.packets,
            })
            .collect(),
        dropped: facts
            .dropped
            .iter()
            .map(|(interface, records)| DroppedJson { interface, records: *records })
            .collect(),
        warnings: &facts.warnings,
    }
}

fn flow(at: usize, flow: &FlowFindings) -> FlowJson {
    let (traffic, best) = (&flow.traffic, flow.best());
    let either_of: Vec<&str> = flow.rivals().map(|tried| tried.framing.name()).collect();
    let refused = |best: &Tried| {
        let by_reason =
            Malformed::ALL.iter().map(|reason| (reason.name().to_owned(), best.score.refused[reason.index()].into()));
        serde_json::Value::Object(by_reason.collect())
    };
    FlowJson {
        flow: at + 1,
        group: flow.key.destination.to_string(),
        source: flow.key.source.to_string(),
        interface: flow.key.interface,
        datagrams: traffic.datagrams,
        bytes: traffic.bytes,
        first_ns: traffic.first.0,
        last_ns: traffic.last.0,
        datagrams_per_second: traffic.mean_rate(),
        peak_datagrams_in_1s: traffic.peak.0,
        peak_bytes_in_1s: traffic.peak.1,
        size_min_bytes: traffic.size.0,
        size_median_bytes: traffic.median_size(),
        size_max_bytes: traffic.size.1,
        vlans: traffic.vlans().to_vec(),
        more_vlans: traffic.more_vlans,
        untagged: traffic.untagged,
        framing: best.map(|best| best.framing.name()),
        tell_apart: best.zip(either_of.first()).map(|(best, rival)| apart(best.framing.name(), rival)),
        either_of,
        sureness: best.map_or("none", |best| best.sureness().word()),
        score: best.or(flow.nearest_miss()).map_or(0.0, |tried| tried.value),
        evidence: best.or(flow.nearest_miss()).map_or(Vec::new(), |tried| tried.score.evidence()),
        role: flow.role().name(),
        malformed: best.map(refused),
        tried: flow.tried.iter().take(TRIED_LISTED).map(tried).collect(),
        channels: best.map_or(Vec::new(), |best| best.channels.iter().map(channel).collect()),
        unfollowed_frames: best.map_or(0, |best| best.unfollowed),
    }
}

fn tried(tried: &Tried) -> TriedJson {
    let score = &tried.score;
    TriedJson {
        framing: tried.framing.name(),
        score: tried.value,
        datagrams: score.datagrams,
        parsed: score.parsed,
        accounted: score.accounted,
        probed: score.probed,
        exact: score.exact,
        near: score.near,
        far: score.far,
        contradictions: score.contradictions,
        repeats: score.repeats,
        heartbeats: score.heartbeats,
        heartbeats_agree: score.heartbeats_agree,
        given_up: score.dropped,
    }
}

fn channel(channel: &Channel) -> ChannelJson {
    ChannelJson {
        key: channel.key,
        sessions: channel.sessions,
        resets: channel.resets,
        restarts: channel.restarts,
        unsequenced: channel.unsequenced,
        run_count: channel.run_count,
        runs: channel.runs.iter().map(run).collect(),
    }
}

fn run(run: &NumberRun) -> RunJson {
    let holes = run.holes();
    RunJson {
        session: run.session.to_string(),
        began: run.began.name(),
        first: run.first,
        end: run.next,
        first_ns: run.stamps.0.0,
        last_ns: run.stamps.1.0,
        frames: run.frames,
        messages: run.messages,
        duplicate: run.duplicates(),
        missing: holes.numbers,
        holes: holes.count,
        largest_hole: holes.largest,
        heartbeats: run.heartbeats,
        implausible: run.strange,
        ended: run.ended,
    }
}

fn group(group: &Group) -> GroupJson {
    let flows = group.flows.iter().map(|at| at + 1).collect();
    GroupJson { flows, pairs: group.pairs.iter().map(pair).collect() }
}

fn pair(pair: &Pair) -> PairJson {
    let skew = &pair.skew_ns;
    PairJson {
        a: pair.a + 1,
        b: pair.b + 1,
        both: pair.both,
        only_a: pair.only_a,
        only_b: pair.only_b,
        exact: pair.exact,
        compared: pair.compared,
        different: pair.different,
        first_different: pair.first_different,
        a_first: pair.led.0,
        b_first: pair.led.1,
        at_once: pair.led.2,
        b_behind_a_min_ns: skew.min,
        b_behind_a_median_ns: skew.median,
        b_behind_a_max_ns: skew.max,
        apart_p99_ns: skew.p99_apart,
    }
}

fn feed(plan: &FeedPlan) -> FeedJson<'_> {
    FeedJson {
        name: &plan.name,
        framing: &plan.framing,
        either_of: &plan.rivals,
        sureness: plan.sureness.word(),
        score: plan.score,
        lines: &plan.lines,
        channels: plan.channels.iter().map(|lines| lines.iter().map(|at| at + 1).collect()).collect(),
        left_out: plan.left_out.iter().map(|at| at + 1).collect(),
        text: &plan.text,
    }
}

fn malformed(refused: &Refused) -> MalformedJson {
    MalformedJson {
        group: refused.key.destination.to_string(),
        source: refused.key.source.to_string(),
        stamp_ns: refused.stamp.0,
        datagram: refused.datagram,
        framing: refused.framing,
        reason: refused.reason.name(),
        frame_at_byte: refused.frame_at,
        size_bytes: refused.len,
        hex: refused.bytes.iter().map(|byte| format!("{byte:02x}")).collect(),
    }
}
