//! The report for programs.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::latencies::Percentiles;
use super::publish::LATE;
use super::ratio::{Ratio, Ratios};
use super::results::{LatencyReport, PassResults, RatioResults};
use super::two_core::BlockKind;
use twinline_node::os::Finding;

/// The report as one object. Times are nanoseconds; a value that does not exist is `null`.
pub(super) fn json(results: &LatencyReport) -> Value {
    let machine = &results.machine;
    let finding = |finding: &Finding| json!({"severity": finding.severity.to_string(), "what": finding.what, "advice": finding.advice});
    json!({
        "version": env!("CARGO_PKG_VERSION"),
        "machine": {
            "line": machine.line,
            "clock_reading_ns": machine.clock_reading_ns,
            "findings": machine.findings.iter().map(finding).collect::<Vec<_>>(),
        },
        "feed": results.feed,
        "to": results.to,
        "publish_netns": results.namespace,
        "framing": results.framing,
        "ratios": results.ratios.iter().map(ratio).collect::<Vec<_>>(),
        "passes": results.passes.iter().map(pass).collect::<Vec<_>>(),
        "stopped": results.stopped,
    })
}

fn ratio(ratio: &RatioResults) -> Value {
    let one = |ratio: &Ratio| json!({"arbiter": ratio.arbiter, "control": ratio.control, "says_something": ratio.says_something()});
    let both = |Ratios { p50, p99 }: &Ratios| json!({"p50": one(p50), "p99": one(p99)});
    let times: BTreeMap<&str, Option<Percentiles>> =
        BlockKind::ALL.iter().map(|kind| (kind.words(), Percentiles::of(ratio.times(*kind)))).collect();
    let near = ratio.near_rounds();
    json!({
        "method": ratio.method.name(),
        "layout": ratio.layout,
        "size": ratio.size,
        "block": ratio.block,
        "rounds": {"near": near, "far": ratio.rounds.len() - near},
        "near": ratio.near.as_ref().map(both),
        "far": ratio.far.as_ref().map(both),
        "send_to_read_ns": times,
        "receive_to_read_ns": Percentiles::of(ratio.to_client()),
        "sent": ratio.sent(),
        "lost": ratio.lost(),
        "overflow": ratio.overflow,
        "remarks": ratio.remarks(),
    })
}

fn pass(pass: &PassResults) -> Value {
    let causes: BTreeMap<&str, Option<Percentiles>> =
        pass.causes.iter().map(|(cause, times)| (cause.name(), Percentiles::of(times))).collect();
    let stages: BTreeMap<&str, Option<Percentiles>> =
        pass.stages.iter().map(|(stage, times)| (stage.name(), Percentiles::of(times))).collect();
    let lines: BTreeMap<&str, Value> = pass
        .lines
        .iter()
        .map(|line| {
            let of = json!({
                "datagrams_sent": line.sent.datagrams,
                "dropped_by_faults": line.sent.dropped,
                "send_errors": line.sent.errors,
                "datagrams_received": line.received,
                "overflow": line.overflow,
                "came_first_ns": Percentiles::of(&line.won),
            });
            (line.name.as_str(), of)
        })
        .collect();
    let load = pass.asked.load;
    let stamps = pass.stamps.map(|stamps| {
        json!({
            "software": stamps.software,
            "hardware": stamps.hardware,
            "none": stamps.none,
            "out_of_order": stamps.out_of_order,
        })
    });
    json!({
        "label": pass.label,
        "method": pass.asked.method.name(),
        "layout": pass.layout,
        "rate": load.rate(),
        "burst": load.burst,
        "size": load.size,
        "pack": pass.pack,
        "rate_reached": pass.rate_reached,
        "rate_held": pass.rate_held(),
        "sent": pass.sent,
        "delivered": pass.delivered,
        "lost": pass.lost,
        "lost_by_faults": pass.lost_by_faults,
        "overrun": pass.overrun,
        "overruns": pass.overruns,
        "unseen": pass.unseen(),
        "timed": pass.timed,
        "foreign": pass.foreign,
        "late": pass.late,
        "late_sends": pass.late_sends,
        "late_send_ns": LATE.0,
        "lateness_ns": Percentiles::of(&pass.lateness),
        "total_ns": Percentiles::of(&pass.total),
        "causes_ns": causes,
        "stages_ns": stages,
        "lines": lines,
        "kernel_stamps": stamps,
        "remarks": pass.remarks(),
    })
}
