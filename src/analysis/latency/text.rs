//! The report for people.

use std::fmt::Write;

use super::latencies::{LatencyCause, Percentiles};
use super::ratio::Ratios;
use super::results::{LatencyReport, LineResults, MeasuredMachine, PassResults, RatioResults, rows};
use super::two_core::BlockKind;
use crate::report::words::{grouped, span};
use crate::spread::Spread;
use twinline_node::os::Finding;

/// The machine, and what about it will show in the numbers.
pub(super) fn machine(machine: &MeasuredMachine) -> String {
    let mut out = format!("machine: {}; reading the clock takes {} ns\n", machine.line, machine.clock_reading_ns);
    for Finding { what, advice, severity } in &machine.findings {
        let _ = writeln!(out, "  {severity:<7} {what}\n          -> {advice}");
    }
    out
}

fn spread(spread: &Spread) -> String {
    let Spread { min, q1, median, q3, max, .. } = spread;
    format!("{median:>7.3}   {q1:.3}..{q3:.3}   {min:.3}..{max:.3}")
}

fn ratio_rows(out: &mut String, Ratios { p50, p99 }: &Ratios) {
    let _ = writeln!(out, "             {:>7}   {:<12}   {:<12}", "median", "quartiles", "range");
    for (name, ratio) in [("p50", p50), ("p99", p99)] {
        let _ = writeln!(out, "  {name}        {}", spread(&ratio.arbiter));
        let _ = writeln!(out, "    control  {}", spread(&ratio.control));
    }
}

/// The ratio to the bare loop.
pub(super) fn ratio(ratio: &RatioResults) -> String {
    let mut out = String::new();
    let RatioResults { size, block, layout, method, .. } = ratio;
    let _ = writeln!(
        out,
        "\nTHE ARBITER TO THE BARE RECEIVE LOOP, by {}, send to read, {size}-byte messages, blocks of {block}",
        method.name()
    );
    let _ = writeln!(out, "  {layout}");
    let (near, all) = (ratio.near_rounds(), ratio.rounds.len());
    let _ = writeln!(out, "  {near} rounds near, {} far (a cache line's round trip of 200 ns or more)", all - near);
    if let Some((ratios, _)) = ratio.headline() {
        ratio_rows(&mut out, &ratios);
    }
    if let (Some(_), Some(far)) = (&ratio.near, &ratio.far) {
        out += "  the far rounds, apart:\n";
        ratio_rows(&mut out, far);
    }
    out += &heads();
    for kind in BlockKind::ALL {
        out += &row(&format!("send -> read, {}", kind.words()), Percentiles::of(ratio.times(kind)));
    }
    out += &row("receive return -> client read", Percentiles::of(ratio.to_client()));
    remarks(&mut out, &ratio.remarks());
    out
}

fn remarks(out: &mut String, remarks: &[String]) {
    for remark in remarks {
        let _ = writeln!(out, "  ! {remark}");
    }
}

fn heads() -> String {
    let heads = ["count", "p50", "p90", "p99", "p99.9", "p99.99", "max"];
    let heads: String = heads.iter().map(|head| format!(" {head:>9}")).collect();
    format!("  {:<34}{heads}\n", "")
}

fn row(name: &str, of: Option<Percentiles>) -> String {
    let Some(of) = of else { return format!("  {name:<34} {:>9}\n", "none") };
    let Percentiles { count, p50, p90, p99, p99_9, p99_99, max, .. } = of;
    let spans: String =
        [p50, p90, p99, p99_9, p99_99, max].iter().map(|nanos| format!(" {:>9}", span(*nanos))).collect();
    format!("  {name:<34} {count:>9}{spans}\n")
}

fn line(line: &LineResults) -> String {
    let LineResults { name, sent, received, overflow, .. } = line;
    let mut said =
        format!("  line {name}: {} datagrams sent, {} received", grouped(sent.datagrams), grouped(*received));
    for (count, what) in
        [(sent.dropped, "dropped by --loss"), (*overflow, "thrown away at full sockets"), (sent.errors, "not sent")]
    {
        if count > 0 {
            let _ = write!(said, ", {} {what}", grouped(count));
        }
    }
    said + "\n"
}

/// One open-loop pass.
pub(super) fn pass(pass: &PassResults) -> String {
    let mut out = String::new();
    let PassResults { label, layout, pack, .. } = pass;
    let packed = if *pack > 1 { format!(", {pack} messages per datagram") } else { String::new() };
    let _ = writeln!(out, "\nOPEN LOOP, {label}{packed}\n  {layout}");
    let _ = writeln!(
        out,
        "  {} messages sent, {} delivered, {} lost ({} that no line sent), {} overrun, {} unseen; {} timed",
        grouped(pass.sent),
        grouped(pass.delivered),
        grouped(pass.lost),
        grouped(pass.lost_by_faults),
        grouped(pass.overrun),
        grouped(pass.unseen()),
        grouped(pass.timed)
    );
    pass.lines.iter().for_each(|of| out += &line(of));
    out += &heads();
    for (name, of) in rows(pass) {
        let told = if of.is_none() && name.trim() == LatencyCause::Recovered.words() {
            format!("  {name:<34} {:>9}  (there is no recovery yet)\n", "none")
        } else {
            row(&name, of)
        };
        out += &told;
    }
    remarks(&mut out, &pass.remarks());
    out
}

/// The end.
pub(super) fn ending(results: &LatencyReport) -> String {
    let mut out = String::new();
    if results.stopped {
        out += "\nstopped: these are the measurements up to then\n";
    }
    for ratio in &results.ratios {
        let Some((Ratios { p50, p99 }, _)) = ratio.headline() else { continue };
        let verdict = match (p50.says_something(), p99.says_something()) {
            (true, true) => "",
            (false, false) => " (by the control, this run says nothing)",
            (true, false) => " (by the control, nothing is said at p99)",
            (false, true) => " (by the control, nothing is said at p50)",
        };
        let _ = writeln!(
            out,
            "\nthe arbiter to the bare loop, by {}: p50 {:.3} ({:.3}..{:.3}), p99 {:.3} ({:.3}..{:.3}); control {:.3}, {:.3}{verdict}",
            ratio.method.name(),
            p50.arbiter.median,
            p50.arbiter.q1,
            p50.arbiter.q3,
            p99.arbiter.median,
            p99.arbiter.q1,
            p99.arbiter.q3,
            p50.control.median,
            p99.control.median
        );
    }
    out
}
