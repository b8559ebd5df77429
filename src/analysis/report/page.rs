//! What the pages of reports have in common: one HTML file that refers to nothing outside itself, for a screen of any size, light or
//! dark, and for print.

use std::fmt::{Display, Write};

use crate::chart::escape;

/// What every page looks like.
const STYLE: &str = "\
:root{color-scheme:light dark;--bg:#fff;--ink:#1b1f24;--faint:#5b6570;--rule:#dfe3e8;--panel:#f6f8fa;--warn:#8a4b00;--bad:#a32020}\
@media (prefers-color-scheme:dark){:root{--bg:#14181d;--ink:#e6e9ed;--faint:#9aa5b1;--rule:#333b45;--panel:#1b2027;--warn:#f0b45f;--bad:#ff8b8b}}\
*{box-sizing:border-box}body{margin:0 auto;max-width:70rem;padding:1.5rem 1rem 3rem;background:var(--bg);color:var(--ink);\
font:16px/1.5 system-ui,-apple-system,\"Segoe UI\",Roboto,sans-serif}\
h1{font-size:1.5rem;margin:0 0 .25rem}h2{font-size:1.15rem;margin:2.2rem 0 .5rem;padding-top:1rem;border-top:1px solid var(--rule)}\
p{margin:.35rem 0}.faint{color:var(--faint)}.caption{margin:1.2rem 0 .4rem;font-weight:600}.headline{display:flex;flex-wrap:wrap;gap:.8rem;margin:0 0 1.2rem}\
.figure{flex:1 1 11rem;background:var(--panel);border:1px solid var(--rule);border-radius:.6rem;padding:.7rem .9rem}\
.figure b{display:block;font-size:1.9rem;line-height:1.2;font-variant-numeric:tabular-nums}.figure span{color:var(--faint);font-size:.86rem;display:block}\
.mute b{color:var(--faint);text-decoration:line-through;text-decoration-thickness:2px}\
.charts{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,27rem),1fr));gap:1rem;margin:.8rem 0}\
.charts svg{width:100%;height:auto;background:var(--panel);border:1px solid var(--rule);border-radius:.6rem;padding:.5rem}\
.scroll{overflow-x:auto}table{border-collapse:collapse;width:100%;font-size:.86rem;font-variant-numeric:tabular-nums;margin:.6rem 0}\
th,td{padding:.28rem .55rem;text-align:right;white-space:nowrap;border-bottom:1px solid var(--rule)}th:first-child,td:first-child{text-align:left}\
th{color:var(--faint);font-weight:600}td.in{padding-left:1.5rem;color:var(--faint)}\
ul{padding-left:1.1rem;margin:.4rem 0}li{margin:.25rem 0}.spoils{color:var(--bad);font-weight:600}.blurs{color:var(--warn);font-weight:600}\
.remark{border-left:3px solid var(--warn);padding:.15rem 0 .15rem .7rem;margin:.5rem 0}\
@media print{:root{--bg:#fff;--ink:#000;--faint:#444;--rule:#ccc;--panel:#fff;--warn:#8a4b00;--bad:#a32020}body{max-width:none;padding:0;font-size:10.5pt}\
.charts{grid-template-columns:1fr 1fr}svg,tr,.figure{break-inside:avoid}h2{break-after:avoid}}";

/// Begins a page with its heading. `style` is CSS that it needs beside the common style. [`end`] ends it.
pub(crate) fn begin(out: &mut String, title: &str, style: &str) {
    let title = escape(title);
    let _ = write!(
        out,
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width, \
         initial-scale=1\"><title>{title}</title><style>{STYLE}{style}</style></head><body>\n<h1>{title}</h1>\n"
    );
}

/// Adds something to know before trusting the numbers.
pub(crate) fn remark(out: &mut String, text: impl Display) {
    let _ = writeln!(out, "<p class=\"remark\">{}</p>", escape(&text.to_string()));
}

/// Adds a small sentence.
pub(crate) fn note(out: &mut String, text: &str) {
    let _ = writeln!(out, "<p class=\"faint\">{}</p>", escape(text));
}

/// Adds a large figure with what it is; figures go into a `<div class="headline">`. `class` is CSS of its own, or empty.
pub(crate) fn figure(out: &mut String, class: &str, value: &str, what: &str) {
    let gap = if class.is_empty() { "" } else { " " };
    let (value, what) = (escape(value), escape(what));
    let _ = writeln!(out, "<div class=\"figure{gap}{class}\"><b>{value}</b><span>{what}</span></div>");
}

/// Adds pictures, side by side if there is room.
pub(crate) fn charts(out: &mut String, charts: impl IntoIterator<Item = String>) {
    out.push_str("<div class=\"charts\">\n");
    for chart in charts {
        let _ = writeln!(out, "{chart}");
    }
    out.push_str("</div>\n");
}

/// Ends a page.
pub(crate) fn end(out: &mut String) {
    out.push_str("</body></html>\n");
}
