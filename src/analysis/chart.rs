//! Pictures of measurements as SVG: percentile curves, and the spread of ratios.
//!
//! A picture needs nothing else: no script, no font and no style from elsewhere. It follows the reader's light or dark scheme, and
//! prints in the light one. The colours can be distinguished without colour vision, and the second four are dashed.
//!
//! ```
//! use hdrhistogram::Histogram;
//! use twinline_analysis::chart::{Chart, Curve};
//!
//! let mut times = Histogram::<u64>::new(3).unwrap();
//! (1..=10_000u64).for_each(|n| times.record(n).unwrap());
//! let chart = Chart { title: "one way".into(), curves: vec![Curve::of("ring", &times)] };
//! assert!(chart.svg().starts_with("<svg "));
//! ```

use std::fmt::Write;

use hdrhistogram::Histogram;

use crate::spread::Spread;

/// The drawing's size; a page scales it.
const WIDTH: f64 = 460.0;
const LEFT: f64 = 64.0;
const RIGHT: f64 = 14.0;
const TOP: f64 = 34.0;
/// The height of the curves' field.
const FIELD: f64 = 264.0;
const LEGEND_ROW: f64 = 20.0;
/// A name longer than this takes a row of the legend for itself, and so do the others.
const NAME_MAX: usize = 24;
/// The last percentile that is drawn.
const LAST: f64 = 10_000.0;
/// Points of a curve per decade.
const POINTS: u32 = 48;

/// The style that every picture, or the page around it, needs. The colours are Okabe and Ito's; those that were faint are darker on
/// white and lighter on black.
pub const STYLE: &str = "\
.tl{--ink:#1b1f24;--faint:#5b6570;--rule:#dfe3e8;--c0:#0b62a8;--c1:#c44e00;--c2:#00795b;--c3:#a8357f;--c4:#5b5bd6;--c5:#8a6a00;\
--c6:#0f7c92;--c7:#a32020;font-family:system-ui,-apple-system,\"Segoe UI\",Roboto,sans-serif}\
@media (prefers-color-scheme:dark){.tl{--ink:#e6e9ed;--faint:#9aa5b1;--rule:#333b45;--c0:#5eb3f6;--c1:#ff9a55;--c2:#41cfa4;\
--c3:#f08ccb;--c4:#a7a7ff;--c5:#e3c04f;--c6:#5fd0e6;--c7:#ff8b8b}}\
@media print{.tl{--ink:#000;--faint:#444;--rule:#ccc;--c0:#0b62a8;--c1:#c44e00;--c2:#00795b;--c3:#a8357f;--c4:#5b5bd6;--c5:#8a6a00;\
--c6:#0f7c92;--c7:#a32020}}\
.tl text{fill:var(--faint);font-size:13px}.tl .t{fill:var(--ink);font-size:15px;font-weight:600}.tl .n{fill:var(--ink)}\
.tl .r{stroke:var(--rule);stroke-width:1}.tl .c{fill:none;stroke-width:2;stroke-linejoin:round;stroke-linecap:round}\
.tl .e{text-anchor:end}.tl .m{text-anchor:middle}.tl .s{font-size:11px}";

/// One curve of a picture.
#[derive(Clone, Debug, PartialEq)]
pub struct Curve {
    /// Its name in the legend.
    pub name: String,
    /// `1 / (1 - p)` for a percentile p, and nanoseconds; ascending.
    pub points: Vec<(f64, f64)>,
}

impl Curve {
    /// The curve of a histogram of nanoseconds, from its median as far as its values reach: with 1,000 values, to 99.9 %.
    pub fn of(name: impl Into<String>, histogram: &Histogram<u64>) -> Curve {
        let last = LAST.min(histogram.len() as f64);
        let steps = 0..;
        let places = steps.map(|n| 2.0 * 10f64.powf(f64::from(n) / f64::from(POINTS))).take_while(|at| *at < last);
        let places: Vec<f64> = if last >= 2.0 { places.chain([last]).collect() } else { Vec::new() };
        let value = |at: f64| histogram.value_at_quantile(1.0 - 1.0 / at).max(1) as f64;
        Curve { name: name.into(), points: places.into_iter().map(|at| (at, value(at))).collect() }
    }
}

/// Latency by percentile. Both axes are logarithmic; the percentile axis counts what is left to 100 %.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Chart {
    /// The picture's title.
    pub title: String,
    /// The curves, in the order of the legend.
    pub curves: Vec<Curve>,
}

/// Escapes what XML cannot hold as it is.
pub(crate) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            // no control character can be told in XML 1.0 but these
            c if c.is_control() && !matches!(c, '\n' | '\t') => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

/// Nanoseconds in the unit that reads best, in three figures: `340 ns`, `3.35 µs`, `12.0 ms`.
pub fn span_text(nanos: f64) -> String {
    let (value, unit) = match nanos {
        n if n < 999.5 => return format!("{n:.0} ns"),
        n if n < 999_500.0 => (n / 1e3, "µs"),
        n if n < 999_500_000.0 => (n / 1e6, "ms"),
        n => (n / 1e9, "s"),
    };
    let figures = if value < 9.995 {
        2
    } else if value < 99.95 {
        1
    } else {
        0
    };
    format!("{value:.figures$} {unit}")
}

/// The same on an axis: `200 ns`, `1 µs`.
fn tick_text(nanos: f64) -> String {
    let (value, unit) = match nanos {
        n if n < 1e3 => (n, "ns"),
        n if n < 1e6 => (n / 1e3, "µs"),
        n if n < 1e9 => (n / 1e6, "ms"),
        n => (n / 1e9, "s"),
    };
    format!("{value:.0} {unit}")
}

/// 1, 2 and 5 times the powers of ten that lie around `low` and `high`, ends included.
fn ticks(low: f64, high: f64) -> Vec<f64> {
    let decades = low.log10().floor() as i32..=high.log10().ceil() as i32;
    let all: Vec<f64> = decades.flat_map(|n| [1.0, 2.0, 5.0].map(|step| step * 10f64.powi(n))).collect();
    let from = all.iter().rposition(|tick| *tick <= low).unwrap_or(0);
    let to = all.iter().position(|tick| *tick >= high).unwrap_or(all.len() - 1).max(from + 1);
    all[from..=to.min(all.len() - 1)].to_vec()
}

fn dash(curve: usize) -> &'static str {
    if curve % 8 < 4 { "" } else { " stroke-dasharray=\"7 4\"" }
}

fn begin(svg: &mut String, title: &str, height: f64) {
    let title = escape(title);
    let _ = write!(
        svg,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" class=\"tl\" viewBox=\"0 0 {WIDTH} {height:.0}\" role=\"img\">\
         <title>{title}</title><style>{STYLE}</style><text class=\"t\" x=\"4\" y=\"18\">{title}</text>"
    );
}

impl Chart {
    /// The picture.
    pub fn svg(&self) -> String {
        let columns = if self.curves.iter().any(|curve| curve.name.chars().count() > NAME_MAX) { 1 } else { 2 };
        let rows = self.curves.len().div_ceil(columns);
        let height = TOP + FIELD + 44.0 + rows as f64 * LEGEND_ROW;
        let mut svg = String::new();
        begin(&mut svg, &self.title, height);
        let values = || self.curves.iter().flat_map(|curve| curve.points.iter().map(|(_, nanos)| *nanos));
        let (low, high) = (values().fold(f64::INFINITY, f64::min), values().fold(0.0, f64::max));
        if high == 0.0 {
            let _ = write!(
                svg,
                "<text class=\"m\" x=\"{}\" y=\"{}\">nothing was measured</text></svg>",
                WIDTH / 2.0,
                TOP + 90.0
            );
            return svg;
        }
        let ticks = ticks(low, high);
        let (bottom, top) = (ticks[0].log10(), ticks[ticks.len() - 1].log10());
        let y = |nanos: f64| TOP + FIELD * (1.0 - (nanos.log10() - bottom) / (top - bottom));
        let x = |at: f64| LEFT + (WIDTH - LEFT - RIGHT) * (at / 2.0).log10() / (LAST / 2.0).log10();
        // over many decades the powers of ten alone have a label
        let every = ticks.len() <= 10;
        for &tick in &ticks {
            let at = y(tick);
            let _ = write!(
                svg,
                "<line class=\"r\" x1=\"{LEFT}\" x2=\"{:.1}\" y1=\"{at:.1}\" y2=\"{at:.1}\"/>",
                WIDTH - RIGHT
            );
            if every || tick.log10().fract().abs() < 1e-9 {
                let _ = write!(
                    svg,
                    "<text class=\"e\" x=\"{}\" y=\"{:.1}\">{}</text>",
                    LEFT - 7.0,
                    at + 4.0,
                    tick_text(tick)
                );
            }
        }
        for (at, label) in [(2.0, "50 %"), (10.0, "90 %"), (100.0, "99 %"), (1e3, "99.9 %"), (1e4, "99.99 %")] {
            let (at, end) = (x(at), TOP + FIELD);
            let anchor = if label == "99.99 %" { "e" } else { "m" };
            let shift = if anchor == "e" { RIGHT - 2.0 } else { 0.0 };
            let _ = write!(svg, "<line class=\"r\" x1=\"{at:.1}\" x2=\"{at:.1}\" y1=\"{TOP}\" y2=\"{end}\"/>");
            let _ = write!(svg, "<text class=\"{anchor}\" x=\"{:.1}\" y=\"{}\">{label}</text>", at + shift, end + 18.0);
        }
        for (i, curve) in self.curves.iter().enumerate() {
            let colour = i % 8;
            let _ = write!(svg, "<path class=\"c\" style=\"stroke:var(--c{colour})\"{} d=\"", dash(i));
            for (n, (at, nanos)) in curve.points.iter().enumerate() {
                let _ = write!(svg, "{}{:.1} {:.1}", if n == 0 { "M" } else { "L" }, x(*at), y(*nanos));
            }
            svg.push_str("\"/>");
            let (column, row) = (i % columns, i / columns);
            let left = 8.0 + column as f64 * (WIDTH / 2.0);
            let at = TOP + FIELD + 44.0 + row as f64 * LEGEND_ROW;
            let _ = write!(
                svg,
                "<line class=\"c\" style=\"stroke:var(--c{colour})\"{} x1=\"{left}\" x2=\"{}\" y1=\"{:.1}\" y2=\"{:.1}\"/>\
                 <text class=\"n\" x=\"{}\" y=\"{at:.1}\">{}</text>",
                dash(i),
                left + 24.0,
                at - 4.0,
                at - 4.0,
                left + 31.0,
                escape(&curve.name)
            );
        }
        svg.push_str("</svg>");
        svg
    }
}

/// The spread of ratios, one row each: the range, the middle half as a box, the median as a bar.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Boxes {
    /// The picture's title.
    pub(crate) title: String,
    /// The name and the spread of each row.
    pub(crate) rows: Vec<(String, Spread)>,
}

impl Boxes {
    /// The picture. Whatever lies outside 0.8 to 1.4 is cut off: a range that wide comes from the machine.
    pub(crate) fn svg(&self) -> String {
        const ROW: f64 = 46.0;
        let field = self.rows.len() as f64 * ROW;
        let mut svg = String::new();
        begin(&mut svg, &self.title, TOP + field + 26.0);
        let quartiles = |of: fn(&Spread) -> f64| self.rows.iter().map(move |(_, spread)| of(spread));
        // the axis is for the boxes: a range may run off it
        let low = quartiles(|spread| spread.q1).fold(0.98, f64::min).max(0.8);
        let high = quartiles(|spread| spread.q3).fold(1.06, f64::max).min(1.4);
        let (low, high) = (low - 0.01, high + 0.01);
        let x = |ratio: f64| LEFT + (WIDTH - LEFT - RIGHT) * ((ratio - low) / (high - low)).clamp(0.0, 1.0);
        let step = if high - low > 0.3 {
            0.1
        } else if high - low > 0.12 {
            0.05
        } else {
            0.02
        };
        let (first, last) = ((low / step).ceil() as i32, (high / step).floor() as i32);
        for n in first..=last {
            let ratio = f64::from(n) * step;
            let (at, end) = (x(ratio), TOP + field);
            let heavy = if (ratio - 1.0).abs() < 1e-9 { " style=\"stroke:var(--faint);stroke-width:1.5\"" } else { "" };
            let _ = write!(svg, "<line class=\"r\"{heavy} x1=\"{at:.1}\" x2=\"{at:.1}\" y1=\"{TOP}\" y2=\"{end}\"/>");
            let _ = write!(svg, "<text class=\"m\" x=\"{at:.1}\" y=\"{:.1}\">{ratio:.2}</text>", end + 17.0);
        }
        for (i, (name, spread)) in self.rows.iter().enumerate() {
            let colour = i % 8;
            let middle = TOP + i as f64 * ROW + 30.0;
            let _ = write!(
                svg,
                "<text class=\"n\" x=\"4\" y=\"{:.1}\">{}: {:.3}</text>\
                 <line class=\"c\" style=\"stroke:var(--c{colour});stroke-width:1.2\" x1=\"{:.1}\" x2=\"{:.1}\" y1=\"{middle:.1}\" \
                 y2=\"{middle:.1}\"/>\
                 <rect style=\"fill:var(--c{colour});fill-opacity:.3;stroke:var(--c{colour})\" x=\"{:.1}\" width=\"{:.1}\" y=\"{:.1}\" \
                 height=\"16\" rx=\"2\"/>\
                 <line style=\"stroke:var(--c{colour});stroke-width:3\" x1=\"{:.1}\" x2=\"{:.1}\" y1=\"{:.1}\" y2=\"{:.1}\"/>",
                middle - 14.0,
                escape(name),
                spread.median,
                x(spread.min),
                x(spread.max),
                x(spread.q1),
                (x(spread.q3) - x(spread.q1)).max(1.0),
                middle - 8.0,
                x(spread.median),
                x(spread.median),
                middle - 8.0,
                middle + 8.0,
            );
        }
        svg.push_str("</svg>");
        svg
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Every element is closed, in order, and every attribute is quoted; nothing refers elsewhere but the namespace's name.
    #[track_caller]
    pub(crate) fn well_formed(svg: &str) {
        let mut open = Vec::new();
        let mut rest = svg;
        while let Some(at) = rest.find('<') {
            let end = at + rest[at..].find('>').expect("a tag ends");
            let tag = &rest[at + 1..end];
            assert_eq!(tag.matches('"').count() % 2, 0, "{tag}");
            if let Some(name) = tag.strip_prefix('/') {
                assert_eq!(open.pop(), Some(name), "{tag}");
            } else if !tag.ends_with('/') {
                open.push(tag.split([' ', '>']).next().unwrap());
            }
            rest = &rest[end + 1..];
            // a style's own text has no tag in it
        }
        assert!(open.is_empty(), "{open:?}");
        let elsewhere = svg.replace("http://www.w3.org/2000/svg", "");
        for word in ["http", "//", "url(", "href", "@import", "<script"] {
            assert!(!elsewhere.contains(word), "{word}");
        }
        assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
    }

    fn times(n: u64) -> Histogram<u64> {
        let mut times = hdrhistogram::Histogram::<u64>::new_with_bounds(1, 60_000_000_000, 3).unwrap();
        (1..=n).for_each(|n| times.record(n * 37).unwrap());
        times
    }

    #[test]
    fn a_curve_goes_as_far_as_its_values_tell() {
        let end = |n| Curve::of("x", &times(n)).points.last().copied();
        assert_eq!(end(0), None);
        assert_eq!(end(1), None);
        assert_eq!(end(1_000).map(|(at, _)| at), Some(1_000.0));
        assert_eq!(end(100_000).map(|(at, _)| at), Some(10_000.0));
        let curve = Curve::of("x", &times(50_000));
        assert_eq!(curve.points[0].0, 2.0);
        assert!(curve.points.windows(2).all(|pair| pair[0].0 < pair[1].0 && pair[0].1 <= pair[1].1));
    }

    #[test]
    fn pictures_are_well_formed_and_refer_to_nothing() {
        let curves: Vec<Curve> =
            (0..9).map(|n| Curve::of(format!("<A & \"B\"> {n}"), &times(10 + n * 3_000))).collect();
        for curves in [vec![], vec![Curve::of("empty", &times(0))], curves[..1].to_vec(), curves] {
            well_formed(&Chart { title: "a < b & 'c'\u{1}".into(), curves }.svg());
        }
        let flat = Curve { name: "flat".into(), points: vec![(2.0, 1_000.0), (10.0, 1_000.0)] };
        well_formed(&Chart { title: String::new(), curves: vec![flat] }.svg());
        let wide = Spread::of([0.1, 1.0, 50.0]).unwrap();
        for rows in [vec![], vec![("one".to_owned(), Spread::of([1.0]).unwrap()), ("two".to_owned(), wide)]] {
            well_formed(&Boxes { title: "ratios".into(), rows }.svg());
        }
    }

    #[test]
    fn axes_have_round_numbers_around_all_there_is() {
        assert_eq!(ticks(3_100.0, 9_000.0), [2_000.0, 5_000.0, 10_000.0]);
        assert_eq!(ticks(1_000.0, 1_000.0), [1_000.0, 2_000.0]);
        assert_eq!(ticks(90.0, 110.0), [50.0, 100.0, 200.0]);
    }

    #[test]
    fn spans_are_told_in_three_figures() {
        let told = [7.0, 999.4, 999.9, 3_350.0, 12_340.0, 999_600.0, 2.5e9].map(span_text);
        assert_eq!(told, ["7 ns", "999 ns", "1.00 µs", "3.35 µs", "12.3 µs", "1.00 ms", "2.50 s"]);
    }
}
