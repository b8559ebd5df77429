//! What happened over time: curves with bands, rows of bars, strips of stretches.

use std::fmt::Write;

use super::{
    Colour, LEFT, RIGHT, TIME_TICKS, TOP, TimeAxis, WIDTH, begin, count_text, legend, legend_height, nothing, rule,
    short_span, signed_text, step, text,
};
use crate::chart::escape;
use twinline_core::Nanos;

/// The height of the curves' field.
const FIELD: f64 = 190.0;

/// What the numbers of a picture are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scale {
    /// Counts, from zero on.
    Count,
    /// Nanoseconds, either side of zero.
    SignedSpan,
}

/// One curve: a value per cell, or none.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct TimeCurve {
    /// What it is called.
    pub(crate) name: String,
    /// What it belongs to. The stream is drawn as an area, behind the lines.
    pub(crate) colour: Colour,
    /// The values.
    pub(crate) values: Vec<Option<f64>>,
    /// The range in which most values lie, per cell; empty if there is no such range.
    pub(crate) band: Vec<Option<(f64, f64)>>,
}

/// Curves over time.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Curves {
    /// What is drawn, with its unit.
    pub(crate) title: String,
    /// The same in words.
    pub(crate) words: String,
    /// The time that it shows.
    pub(crate) axis: TimeAxis,
    /// How wide a cell is.
    pub(crate) cell: Nanos,
    /// What the numbers are.
    pub(crate) scale: Scale,
    /// The curves, in the order of the legend.
    pub(crate) curves: Vec<TimeCurve>,
}

impl Curves {
    /// The lowest and the highest value that is drawn.
    fn limits(&self) -> Option<(f64, f64)> {
        let points = self.curves.iter().flat_map(|curve| curve.values.iter().flatten().copied());
        let bands = self.curves.iter().flat_map(|curve| curve.band.iter().flatten());
        let mut all: Vec<f64> = points.chain(bands.flat_map(|(low, high)| [*low, *high])).collect();
        if all.is_empty() {
            return None;
        }
        all.sort_by(f64::total_cmp);
        let (low, high) = (all[0], all[all.len() - 1]);
        if self.scale == Scale::Count {
            return Some((0.0, high.max(1.0)));
        }
        // one wild cell must not flatten all others: what lies far outside of the middle is drawn at the edge
        let at = |share: f64| all[((all.len() - 1) as f64 * share) as usize];
        let (q1, q3) = (at(0.05), at(0.95));
        let reach = ((q3 - q1) * 2.0).max(q1.abs().max(q3.abs()) * 0.5).max(10.0);
        Some((low.max(q1 - reach).min(0.0), high.min(q3 + reach).max(0.0)))
    }

    /// The picture.
    pub(crate) fn svg(&self) -> String {
        let Some((low, high)) = self.limits() else { return nothing(&self.title, "there was nothing to tell") };
        let grid = step(high - low, 5.0);
        let (bottom, top) = ((low / grid).floor() * grid, (high / grid).ceil() * grid);
        let top = if top > bottom { top } else { bottom + grid };
        let names: Vec<&str> = self.curves.iter().map(|curve| curve.name.as_str()).collect();
        let height = TOP + FIELD + TIME_TICKS + legend_height(&names) + 8.0;
        let mut svg = begin(&self.title, &self.words, height);
        let y = |value: f64| TOP + FIELD * (1.0 - ((value - bottom) / (top - bottom)).clamp(0.0, 1.0));
        for n in 0..=((top - bottom) / grid).round() as u32 {
            let value = bottom + f64::from(n) * grid;
            // what is nearly zero by rounding is zero
            let value = if value.abs() < grid * 1e-6 { 0.0 } else { value };
            rule(&mut svg, (LEFT, y(value)), (WIDTH - RIGHT, y(value)));
            let label = if self.scale == Scale::Count { count_text(value) } else { signed_text(value) };
            text(&mut svg, "e", LEFT - 6.0, y(value) + 4.0, &label);
        }
        self.axis.draw(&mut svg, TOP, TOP + FIELD);
        if bottom < 0.0 {
            let _ = write!(
                svg,
                "<line style=\"stroke:var(--faint);stroke-width:1.2\" x1=\"{LEFT}\" x2=\"{:.1}\" y1=\"{1:.1}\" y2=\"{1:.1}\"/>",
                WIDTH - RIGHT,
                y(0.0)
            );
        }
        let x = |cell: usize, of: f64| {
            let nanos = self.cell.0 as f64 * (cell as f64 + of);
            self.axis.x(self.axis.start + Nanos(nanos as u64))
        };
        for curve in self.curves.iter().filter(|curve| !curve.band.is_empty()) {
            self.area(&mut svg, curve, &curve.band, 0.22, &x, &y);
        }
        for (i, curve) in self.curves.iter().enumerate() {
            if curve.colour == Colour::Stream {
                let area: Vec<_> = curve.values.iter().map(|value| value.map(|value| (0.0, value))).collect();
                self.area(&mut svg, curve, &area, 0.16, &x, &y);
            } else {
                line(&mut svg, i, curve, &x, &y);
            }
        }
        let beyond = |value: &f64| *value < bottom || *value > top;
        if self.curves.iter().any(|curve| curve.values.iter().flatten().any(beyond)) {
            text(&mut svg, "e s", WIDTH - RIGHT, TOP - 5.0, "some lie beyond the edge");
        }
        let mark = |svg: &mut String, i: usize, x: f64, y: f64| match self.curves[i].colour {
            Colour::Stream => {
                let _ = write!(
                    svg,
                    "<rect style=\"fill:var(--ink);fill-opacity:.16\" x=\"{x:.1}\" y=\"{:.1}\" width=\"21\" height=\"11\"/>",
                    y - 10.0
                );
            }
            colour => {
                let _ = write!(
                    svg,
                    "<line class=\"c\" style=\"stroke:{}\"{} x1=\"{x:.1}\" x2=\"{:.1}\" y1=\"{3:.1}\" y2=\"{3:.1}\"/>",
                    colour.css(),
                    dash(i),
                    x + 21.0,
                    y - 4.0
                );
            }
        };
        legend(&mut svg, &names, TOP + FIELD + TIME_TICKS, mark);
        svg.push_str("</svg>");
        svg
    }

    /// A closed shape for every run of cells that have a range.
    fn area(
        &self,
        svg: &mut String,
        curve: &TimeCurve,
        ranges: &[Option<(f64, f64)>],
        opacity: f64,
        x: &impl Fn(usize, f64) -> f64,
        y: &impl Fn(f64) -> f64,
    ) {
        let mut at = 0;
        let mut path = String::new();
        while at < ranges.len() {
            let run: Vec<(f64, f64)> = ranges[at..].iter().map_while(|range| *range).collect();
            if run.is_empty() {
                at += 1;
                continue;
            }
            for (i, (_, high)) in run.iter().enumerate() {
                let sign = if i == 0 { 'M' } else { 'L' };
                let _ = write!(path, "{sign}{:.1} {:.1}H{:.1}", x(at + i, 0.0), y(*high), x(at + i, 1.0));
            }
            for (i, (low, _)) in run.iter().enumerate().rev() {
                let _ = write!(path, "L{:.1} {:.1}H{:.1}", x(at + i, 1.0), y(*low), x(at + i, 0.0));
            }
            path.push('Z');
            at += run.len();
        }
        let _ = write!(
            svg,
            "<path style=\"fill:{};fill-opacity:{opacity};stroke:none\" d=\"{path}\"/>",
            curve.colour.css()
        );
    }
}

/// Lines lie on one another on a good day: every other one is dashed.
fn dash(curve: usize) -> &'static str {
    if curve.is_multiple_of(2) { "" } else { " stroke-dasharray=\"5 4\"" }
}

fn line(svg: &mut String, i: usize, curve: &TimeCurve, x: &impl Fn(usize, f64) -> f64, y: &impl Fn(f64) -> f64) {
    let mut path = String::new();
    let mut before = false;
    for (cell, value) in curve.values.iter().enumerate() {
        if let Some(value) = value {
            let alone = !before && curve.values.get(cell + 1).is_none_or(Option::is_none);
            if alone {
                let _ =
                    write!(path, "M{:.1} {:.1}H{:.1}", x(cell, 0.0), y(*value), x(cell, 1.0).max(x(cell, 0.0) + 1.5));
            } else {
                let _ = write!(path, "{}{:.1} {:.1}", if before { 'L' } else { 'M' }, x(cell, 0.5), y(*value));
            }
        }
        before = value.is_some();
    }
    let _ = write!(
        svg,
        "<path class=\"c\" style=\"stroke:{};stroke-width:1.6\"{} d=\"{path}\"/>",
        curve.colour.css(),
        dash(i)
    );
}

/// A row of bars, one number per cell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Row {
    /// What it is called.
    pub(crate) name: String,
    /// What it belongs to.
    pub(crate) colour: Colour,
    /// The numbers.
    pub(crate) counts: Vec<u64>,
}

/// Rows of bars over time, each on its own scale, so that small rows stay visible beside large ones.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Rows {
    /// What is drawn.
    pub(crate) title: String,
    /// The same in words.
    pub(crate) words: String,
    /// The time that it shows.
    pub(crate) axis: TimeAxis,
    /// How wide a cell is.
    pub(crate) cell: Nanos,
    /// What is counted: `missing`.
    pub(crate) unit: String,
    /// The rows, from the top.
    pub(crate) rows: Vec<Row>,
}

impl Rows {
    /// The picture.
    pub(crate) fn svg(&self) -> String {
        const ROW: f64 = 50.0;
        const BAR: f64 = 28.0;
        let field = self.rows.len() as f64 * ROW;
        let mut svg = begin(&self.title, &self.words, TOP + field + TIME_TICKS);
        self.axis.draw(&mut svg, TOP, TOP + field);
        for (i, row) in self.rows.iter().enumerate() {
            let base = TOP + (i + 1) as f64 * ROW - 4.0;
            let most = row.counts.iter().copied().max().unwrap_or(0);
            let total = row.counts.iter().fold(0u64, |sum, count| sum.saturating_add(*count));
            text(&mut svg, "n", 4.0, base - BAR - 5.0, &row.name);
            let said = match total {
                0 => format!("no {}", self.unit),
                total => {
                    format!("{} {}, at most {} per bar", count_text(total as f64), self.unit, count_text(most as f64))
                }
            };
            text(&mut svg, "e s", WIDTH - RIGHT, base - BAR - 5.0, &said);
            rule(&mut svg, (LEFT, base), (WIDTH - RIGHT, base));
            for (cell, &count) in row.counts.iter().enumerate().filter(|(_, count)| **count > 0) {
                let from = self.axis.start + Nanos(self.cell.0.saturating_mul(cell as u64));
                let (left, right) = (self.axis.x(from), self.axis.x(from + self.cell));
                let tall = (BAR * count as f64 / most as f64).max(2.0);
                let _ = write!(
                    svg,
                    "<rect style=\"fill:{}\" x=\"{left:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{tall:.1}\"><title>{} at \
                     {}</title></rect>",
                    row.colour.css(),
                    base - tall,
                    (right - left).max(1.6),
                    count,
                    short_span((from - self.axis.start).0 as f64)
                );
            }
        }
        svg.push_str("</svg>");
        svg
    }
}

/// A stretch of a strip.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StripSegment {
    /// When it begins.
    pub(crate) from: Nanos,
    /// When it ends.
    pub(crate) to: Nanos,
    /// Which of the strips' kinds it is.
    pub(crate) kind: usize,
    /// What it says when pointed at.
    pub(crate) words: String,
}

/// A kind of stretch, and how it is filled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StripKind {
    /// What it is called.
    pub(crate) name: &'static str,
    /// A style's `fill`.
    pub(crate) fill: &'static str,
}

/// Strips of stretches over time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Strips {
    /// What is drawn.
    pub(crate) title: String,
    /// The same in words.
    pub(crate) words: String,
    /// The time that it shows.
    pub(crate) axis: TimeAxis,
    /// The kinds of stretches.
    pub(crate) kinds: Vec<StripKind>,
    /// The strips, from the top, each with its stretches.
    pub(crate) rows: Vec<(String, Vec<StripSegment>)>,
}

impl Strips {
    /// The picture.
    pub(crate) fn svg(&self) -> String {
        const ROW: f64 = 40.0;
        const BAR: f64 = 14.0;
        let field = self.rows.len() as f64 * ROW;
        let names: Vec<&str> = self.kinds.iter().map(|kind| kind.name).collect();
        let legend_rows = legend_height(&names);
        let mut svg = begin(&self.title, &self.words, TOP + field + TIME_TICKS + legend_rows + 8.0);
        self.axis.draw(&mut svg, TOP, TOP + field);
        for (i, (name, segments)) in self.rows.iter().enumerate() {
            let base = TOP + (i + 1) as f64 * ROW - 5.0;
            text(&mut svg, "n", 4.0, base - BAR - 5.0, name);
            let _ = write!(
                svg,
                "<rect style=\"fill:var(--rule);fill-opacity:.6\" x=\"{LEFT}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{BAR}\"/>",
                base - BAR,
                WIDTH - LEFT - RIGHT
            );
            for segment in segments {
                let (left, right) = (self.axis.x(segment.from), self.axis.x(segment.to));
                let Some(kind) = self.kinds.get(segment.kind) else { continue };
                let _ = write!(
                    svg,
                    "<rect style=\"fill:{}\" x=\"{left:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{BAR}\"><title>{}</title></rect>",
                    kind.fill,
                    base - BAR,
                    (right - left).max(1.6),
                    escape(&segment.words)
                );
            }
        }
        legend(&mut svg, &names, TOP + field + TIME_TICKS, |svg, i, x, y| {
            let _ = write!(
                svg,
                "<rect style=\"fill:{}\" x=\"{x:.1}\" y=\"{:.1}\" width=\"21\" height=\"11\"/>",
                self.kinds[i].fill,
                y - 10.0
            );
        });
        svg.push_str("</svg>");
        svg
    }
}
