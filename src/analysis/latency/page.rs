//! The page: one HTML file that refers to nothing, for a screen of any size, light or dark, and for print.

use std::fmt::Write;

use super::latencies::{Percentiles, Stage};
use super::ratio::Ratios;
use super::results::{LatencyReport, PassResults, RatioResults, rows};
use super::two_core::BlockKind;
use crate::chart::{Boxes, Chart, Curve, escape};
use crate::report::page::{begin, charts, end, figure, note, remark};
use crate::report::words::{grouped, span};
use twinline_node::os::Severity;

/// The whole page.
pub(super) fn page(results: &LatencyReport) -> String {
    let mut out = String::new();
    begin(&mut out, &format!("Latency of {}", results.feed), "");
    let way = if results.to == results.feed { String::new() } else { format!(", sent on {}", escape(&results.to)) };
    let from = results
        .namespace
        .as_ref()
        .map_or(String::new(), |name| format!(", published from the namespace {}", escape(name)));
    let _ = writeln!(
        out,
        "<p class=\"faint\">twinline {}, framing {}{way}{from}.<br>{}; reading the clock takes {} ns.</p>",
        env!("CARGO_PKG_VERSION"),
        results.framing,
        escape(&results.machine.line),
        results.machine.clock_reading_ns
    );
    let spoils = results.machine.findings.iter().filter(|finding| finding.severity == Severity::Spoils).count();
    if spoils > 0 {
        let they = if spoils == 1 { "one thing about this machine spoils" } else { "things about this machine spoil" };
        let count = if spoils == 1 { String::new() } else { format!("{spoils} ") };
        let text = format!(
            "{count}{they} latency numbers; the end of the page says what to do about it. Trust only ratios within one run"
        );
        remark(&mut out, &text);
    }
    if results.stopped {
        remark(&mut out, "it was stopped: these are the measurements up to then");
    }
    results.ratios.iter().for_each(|of| headline(&mut out, of));
    overview(&mut out, &results.passes);
    results.ratios.iter().for_each(|of| ratio(&mut out, of));
    results.passes.iter().for_each(|of| pass(&mut out, of));
    machine(&mut out, results);
    end(&mut out);
    out
}

/// The ratio, in large figures.
fn headline(out: &mut String, ratio: &RatioResults) {
    let Some((Ratios { p50, p99 }, near)) = ratio.headline() else {
        ratio.remarks().iter().for_each(|text| remark(out, text));
        return;
    };
    let far = if near { "" } else { ", all far" };
    let _ = writeln!(
        out,
        "<p class=\"caption\">Received by {}; {} rounds{far}.</p>\n<div class=\"headline\">",
        ratio.method.name(),
        ratio.rounds.len()
    );
    let mut add = |value: String, what: String, counts: bool| {
        figure(out, if counts { "" } else { "mute" }, &value, &what);
    };
    for (name, ratio) in [("p50", p50), ("p99", p99)] {
        add(
            format!("{:.3}", ratio.arbiter.median),
            format!(
                "the arbiter to the bare receive loop at {name}; middle half of the rounds {:.3} to {:.3}",
                ratio.arbiter.q1, ratio.arbiter.q3
            ),
            ratio.says_something(),
        );
    }
    add(
        format!("{:.3}", p50.control.median),
        format!("the control at p50, the bare loop against itself; {:.3} at p99", p99.control.median),
        p50.says_something(),
    );
    if let Some(of) = Percentiles::of(ratio.to_client()) {
        let what = format!("from receive return to client read at p50; {} at p99", span(of.p99));
        add(span(of.p50), what, true);
    }
    out.push_str("</div>\n");
    ratio.remarks().iter().for_each(|text| remark(out, text));
}

/// All passes side by side.
fn overview(out: &mut String, passes: &[PassResults]) {
    if passes.is_empty() {
        return;
    }
    out.push_str(
        "<h2>Open loop</h2>\n<p>From the time at which a message was due to be sent until the client read it.</p>\n",
    );
    let totals = passes.iter().map(|pass| Curve::of(&pass.label, &pass.total)).collect();
    let stage = passes.iter().map(|pass| {
        let times = pass.stages.iter().find(|(stage, _)| *stage == Stage::Read).map(|(_, times)| times);
        times.map_or_else(
            || Curve { name: pass.label.clone(), points: Vec::new() },
            |times| Curve::of(&pass.label, times),
        )
    });
    let title = format!("{} (all messages)", "intended send to client read");
    charts(
        out,
        [
            Chart { title, curves: totals }.svg(),
            Chart { title: "receive return to client read".to_owned(), curves: stage.collect() }.svg(),
        ],
    );
    table(out, passes.iter().map(|pass| (pass.label.clone(), Percentiles::of(&pass.total))));
    out.push_str(
        "<div class=\"scroll\"><table><tr><th>pass</th><th>sent</th><th>delivered</th><th>lost</th><th>overrun</th><th>late \
         sends</th><th>rate reached</th></tr>\n",
    );
    for pass in passes {
        let PassResults { label, sent, delivered, lost, overrun, late_sends, rate_reached, .. } = pass;
        let _ = writeln!(
            out,
            "<tr><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}/s</td></tr>",
            escape(label),
            grouped(*sent),
            grouped(*delivered),
            grouped(*lost),
            grouped(*overrun),
            grouped(*late_sends),
            grouped(rate_reached.round() as u64)
        );
    }
    out.push_str("</table></div>\n");
}

fn table(out: &mut String, rows: impl IntoIterator<Item = (String, Option<Percentiles>)>) {
    out.push_str(
        "<div class=\"scroll\"><table><tr><th></th><th>count</th><th>p50</th><th>p90</th><th>p99</th><th>p99.9</th><th>p99.99</th>\
         <th>max</th></tr>\n",
    );
    for (name, of) in rows {
        let inner = if name.starts_with(' ') { " class=\"in\"" } else { "" };
        let name = escape(name.trim()).replace("-&gt;", "→");
        let _ = match of {
            None => writeln!(out, "<tr><td{inner}>{name}</td><td>none</td><td colspan=\"6\"></td></tr>"),
            Some(of) => {
                let Percentiles { count, p50, p90, p99, p99_9, p99_99, max, .. } = of;
                let cells: String =
                    [p50, p90, p99, p99_9, p99_99, max].iter().map(|n| format!("<td>{}</td>", span(*n))).collect();
                writeln!(out, "<tr><td{inner}>{name}</td><td>{}</td>{cells}</tr>", grouped(count))
            }
        };
    }
    out.push_str("</table></div>\n");
}

/// The rotating blocks.
fn ratio(out: &mut String, ratio: &RatioResults) {
    let _ = writeln!(
        out,
        "<h2>The arbiter to the bare receive loop, by {}</h2>\n<p>One message at a time, {} bytes, in rotating blocks of {}: {}.</p>",
        ratio.method.name(),
        ratio.size,
        ratio.block,
        escape(&ratio.layout)
    );
    let near = ratio.near_rounds();
    let _ = writeln!(
        out,
        "<p>{near} rounds were near, {} far (a cache line's round trip of 200 ns or more). Each ratio is taken within a round.</p>",
        ratio.rounds.len() - near
    );
    let mut rows = Vec::new();
    for (state, ratios) in [("", &ratio.near), (", far", &ratio.far)] {
        let Some(Ratios { p50, p99 }) = ratios else { continue };
        for (name, ratio) in [("p50", p50), ("p99", p99)] {
            rows.push((format!("arbiter to bare, {name}{state}"), ratio.arbiter));
            rows.push((format!("control, {name}{state}"), ratio.control));
        }
    }
    let curves = BlockKind::ALL.iter().map(|kind| Curve::of(kind.words(), ratio.times(*kind)));
    charts(
        out,
        [
            Boxes { title: "ratios of the rounds: median, middle half, range".to_owned(), rows }.svg(),
            Chart { title: "send to read, one message at a time".to_owned(), curves: curves.collect() }.svg(),
        ],
    );
    let kinds = BlockKind::ALL
        .iter()
        .map(|kind| (format!("send -> read, {}", kind.words()), Percentiles::of(ratio.times(*kind))));
    let to_client = ("receive return -> client read".to_owned(), Percentiles::of(ratio.to_client()));
    table(out, kinds.chain([to_client]));
}

/// One pass, by cause and by stage.
fn pass(out: &mut String, pass: &PassResults) {
    let _ = writeln!(out, "<h2>{}</h2>\n<p class=\"faint\">{}.</p>", escape(&pass.label), escape(&pass.layout));
    pass.remarks().iter().for_each(|text| remark(out, text));
    let causes = pass.causes.iter().filter(|(_, times)| !times.is_empty());
    let causes = causes.map(|(cause, times)| Curve::of(cause.words(), times));
    let lines = pass.lines.iter().filter(|line| !line.won.is_empty());
    let lines = lines.map(|line| Curve::of(format!("line {} came first", line.name), &line.won));
    let stages = pass.stages.iter().filter(|(_, times)| !times.is_empty());
    let stages = stages.map(|(stage, times)| Curve::of(stage.words().replace("->", "→"), times));
    charts(
        out,
        [
            Chart {
                title: "intended send to client read, by cause and line".to_owned(),
                curves: causes.chain(lines).collect(),
            }
            .svg(),
            Chart { title: "by stage".to_owned(), curves: stages.collect() }.svg(),
        ],
    );
    table(out, rows(pass));
    if pass.causes.iter().any(|(cause, times)| cause.name() == "recovered" && times.is_empty()) {
        note(out, "Nothing is recovered: there is no recovery yet.");
    }
}

/// What about the machine shows in the numbers, and what to do about each.
fn machine(out: &mut String, results: &LatencyReport) {
    out.push_str("<h2>The machine</h2>\n");
    if results.machine.findings.is_empty() {
        out.push_str("<p>Nothing was found that spoils latency numbers.</p>\n");
        return;
    }
    out.push_str("<ul>\n");
    for finding in &results.machine.findings {
        let class = match finding.severity {
            Severity::Spoils => "spoils",
            Severity::Blurs => "blurs",
            Severity::Note => "faint",
        };
        let _ = writeln!(
            out,
            "<li><span class=\"{class}\">{}</span> {}. <span class=\"faint\">{}.</span></li>",
            finding.severity,
            escape(&finding.what),
            escape(&finding.advice)
        );
    }
    out.push_str("</ul>\n");
}
