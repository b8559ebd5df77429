//! The page: the verdict in words, then pictures, then tables.

use std::fmt::Write;

use super::super::Quality;
use super::model::{FindingSeverity as Severity, Summary};
use super::pictures::Pictures;
use super::tables;
use crate::chart::{self, escape};
use crate::report::page::{begin, charts, end, figure, note, remark};
use crate::report::utc;
use crate::report::words::{grouped, percent, span};
use twinline_core::Nanos;

/// What this page needs beside the common style.
const STYLE: &str = "caption{text-align:left;font-weight:600;padding:.2rem 0 .3rem}\
.verdict{list-style:none;padding:0}.verdict li{border-left:4px solid var(--rule);padding:.1rem 0 .1rem .7rem;margin:.55rem 0}\
.verdict .bad{border-color:var(--bad)}.verdict .note{border-color:var(--warn)}.verdict b{margin-right:.4rem}\
\
.figure{flex-basis:9rem}.figure.bad b{color:var(--bad)}.figure.note b{color:var(--warn)}\
nav{margin:.9rem 0;line-height:2}nav a{color:inherit;margin-right:1rem}\
.charts{grid-template-columns:repeat(auto-fill,minmax(min(100%,27rem),1fr))}\
td,th{vertical-align:top}@media print{nav{display:none}.charts{grid-template-columns:1fr 1fr}.scroll{overflow:visible}table{font-size:.7rem}th,td{padding:.12rem .3rem}}";

fn class(severity: Severity) -> &'static str {
    match severity {
        Severity::Fine => "fine",
        Severity::Note => "note",
        Severity::Bad => "bad",
    }
}

/// The whole page.
pub(super) fn page(summary: &Summary, quality: &Quality) -> String {
    let mut out = String::new();
    begin(&mut out, &format!("Line quality of {}", summary.feed), &format!("{STYLE}{}", chart::STYLE));
    head(&mut out, summary);
    summary.warnings.iter().for_each(|warning| remark(&mut out, warning));
    figures(&mut out, summary);
    out.push_str("<ul class=\"verdict\">\n");
    for finding in &summary.verdict {
        let _ = writeln!(
            out,
            "<li class=\"{}\"><b>{}</b> {}</li>",
            class(finding.severity),
            escape(&finding.about),
            escape(&finding.text)
        );
    }
    out.push_str("</ul>\n");
    if quality.moments().start().is_some() {
        contents(&mut out);
        sections(&mut out, summary, quality);
    }
    out.push_str("<h2 id=\"read\">What was read</h2>\n");
    tables::ignored(&mut out, summary);
    end(&mut out);
    out
}

fn head(out: &mut String, summary: &Summary) {
    let captures: Vec<String> = summary.captures.iter().map(|name| escape(name)).collect();
    let _ = write!(
        out,
        "<p class=\"faint\">twinline {}, framing {}. {}",
        env!("CARGO_PKG_VERSION"),
        escape(&summary.framing),
        captures.join(", ")
    );
    let datagrams: u64 = summary.lines.iter().map(|line| line.datagrams).sum();
    if datagrams > 0 {
        let (from, to) = (Nanos(summary.from_ns), Nanos(summary.to_ns));
        let several = utc::date(from) != utc::date(to);
        let to_text = if several { format!("{} ", utc::date(to)) } else { String::new() };
        let _ = write!(
            out,
            "<br>{} {} to {to_text}{} UTC, {}; {} datagrams",
            utc::date(from),
            utc::time_of_day(from, 6),
            utc::time_of_day(to, 6),
            span((to - from).0),
            grouped(datagrams)
        );
    }
    out.push_str("</p>\n");
}

/// What is looked for first, in large figures.
fn figures(out: &mut String, summary: &Summary) {
    let all = summary.stream.delivered.saturating_add(summary.stream.lost);
    if all == 0 {
        return;
    }
    let mark = |bad: bool, severity| if bad { severity } else { Severity::Fine };
    let mut all_figures = Vec::new();
    all_figures.push((
        mark(summary.stream.lost > 0, Severity::Bad),
        grouped(summary.stream.lost),
        format!("lost by the arbitrated stream, of {} messages", grouped(all)),
    ));
    for line in &summary.lines {
        if line.datagrams == 0 {
            all_figures.push((Severity::Bad, "nothing".to_owned(), format!("came by {}", line.line)));
            continue;
        }
        let worst = line.bursts.worst.first().map_or(0, |worst| worst.end - worst.first);
        let worst = match worst {
            0 => String::new(),
            1 => "; never two in a row".to_owned(),
            n => format!("; {} in a row at the worst", grouped(n)),
        };
        all_figures.push((
            mark(line.missing > 0, Severity::Note),
            percent(line.missing, line.expected),
            format!("missing on {}{worst}", line.line),
        ));
    }
    if let [lead] = summary.lead.as_slice() {
        let (first, later) = if lead.p50_ns < 0 { (&lead.over, &lead.of) } else { (&lead.of, &lead.over) };
        all_figures.push((
            Severity::Fine,
            span(lead.p50_ns.unsigned_abs()),
            format!("{first} ahead of {later}, at the median"),
        ));
    }
    out.push_str("<div class=\"headline\">\n");
    for (severity, value, what) in &all_figures {
        figure(out, class(*severity), value, what);
    }
    out.push_str("</div>\n");
}

const CONTENTS: [(&str, &str); 8] = [
    ("rate", "Rate and microbursts"),
    ("lead", "Lead"),
    ("loss", "Loss"),
    ("gaps", "Gaps"),
    ("silence", "Silence"),
    ("states", "States and sessions"),
    ("lines", "Lines and channels"),
    ("read", "What was read"),
];

fn contents(out: &mut String) {
    out.push_str("<nav>");
    for (id, name) in CONTENTS {
        let _ = write!(out, "<a href=\"#{id}\">{name}</a> ");
    }
    out.push_str("</nav>\n");
}

fn heading(out: &mut String, id: &str) {
    let name = CONTENTS.iter().find(|(known, _)| *known == id).map_or("", |(_, name)| name);
    let _ = writeln!(out, "<h2 id=\"{id}\">{name}</h2>");
}

fn sections(out: &mut String, summary: &Summary, quality: &Quality) {
    let pictures = Pictures::new(summary, quality);
    let every = span(quality.moments().width().0);
    note(
        out,
        &format!(
            "Pictures over time have a value every {every}; below them, how long after the first datagram, and the time of day in UTC."
        ),
    );
    heading(out, "rate");
    charts(out, [pictures.rate(), pictures.peaks()]);
    tables::microbursts(out, summary);
    heading(out, "lead");
    if summary.lead.is_empty() {
        out.push_str("<p>No two lines brought the same message: there is no lead to tell.</p>\n");
    } else {
        charts(out, pictures.leads());
        tables::leads(out, summary);
    }
    heading(out, "loss");
    if summary.lines.iter().all(|line| line.missing == 0) && summary.stream.lost == 0 {
        out.push_str("<p>No line missed a message that it should have brought.</p>\n");
    } else {
        charts(out, [pictures.missing(), pictures.bursts()]);
        tables::bursts(out, summary);
    }
    heading(out, "gaps");
    if summary.gaps.opened == 0 {
        out.push_str("<p>No gap opened: each message came before any behind it, by one line or another.</p>\n");
    } else {
        charts(out, [pictures.filled()]);
        tables::gaps(out, summary);
    }
    heading(out, "silence");
    charts(out, [pictures.silences()]);
    tables::silences(out, summary);
    heading(out, "states");
    if let Some((strips, more)) = pictures.states() {
        charts(out, [strips]);
        if more > 0 {
            note(out, &format!("{more} more are not drawn."));
        }
    } else {
        out.push_str("<p>Every line that was heard was up throughout.</p>\n");
    }
    tables::states(out, summary);
    tables::epochs(out, summary);
    heading(out, "lines");
    tables::lines(out, summary);
    tables::channels(out, summary);
}
