//! Pictures of what lines did, as SVG: over time ([`time`]), and by size ([`bars`]).
//!
//! A picture refers to nothing but [`STYLE`](crate::chart::STYLE), which the page has once. It is as wide as a phone's screen,
//! so that its text can be read there; a wide page puts several side by side. Each picture also says in words what it shows, for
//! readers who cannot see it.

use std::fmt::Write;

use crate::chart::escape;
use twinline_core::Nanos;

pub(super) mod bars;
pub(super) mod time;

/// The drawing's width; a page scales it.
const WIDTH: f64 = 420.0;
/// Where the field begins and ends.
const LEFT: f64 = 62.0;
const RIGHT: f64 = 14.0;
const TOP: f64 = 32.0;
const LEGEND_ROW: f64 = 19.0;

/// What a curve or a bar belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Colour {
    /// A line, by its place in the feed file.
    Line(usize),
    /// The arbitrated stream, or nothing in particular.
    Stream,
}

impl Colour {
    fn css(self) -> String {
        match self {
            Colour::Line(n) => format!("var(--c{})", n % 8),
            Colour::Stream => "var(--ink)".to_owned(),
        }
    }
}

fn begin(title: &str, words: &str, height: f64) -> String {
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" class=\"tl\" viewBox=\"0 0 {WIDTH} {height:.0}\" role=\"img\" \
         aria-label=\"{0}. {1}\"><text class=\"t\" x=\"4\" y=\"17\">{0}</text>",
        escape(title),
        escape(words)
    )
}

fn text(svg: &mut String, class: &str, x: f64, y: f64, text: &str) {
    let _ = write!(svg, "<text class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\">{}</text>", escape(text));
}

fn rule(svg: &mut String, from: (f64, f64), to: (f64, f64)) {
    let ((x1, y1), (x2, y2)) = (from, to);
    let _ = write!(svg, "<line class=\"r\" x1=\"{x1:.1}\" x2=\"{x2:.1}\" y1=\"{y1:.1}\" y2=\"{y2:.1}\"/>");
}

/// A picture of nothing says so.
fn nothing(title: &str, what: &str) -> String {
    let mut svg = begin(title, what, 90.0);
    text(&mut svg, "m", WIDTH / 2.0, 58.0, what);
    svg.push_str("</svg>");
    svg
}

/// How many rows the names take as a legend; short ones go two in a row.
fn legend_height(names: &[&str]) -> f64 {
    names.len().div_ceil(legend_columns(names)) as f64 * LEGEND_ROW
}

fn legend_columns(names: &[&str]) -> usize {
    match names.iter().map(|name| name.chars().count()).max() {
        Some(0..=10) => 4,
        Some(11..=22) => 2,
        _ => 1,
    }
}

/// The names, each behind a mark that `mark` draws at a place.
fn legend(svg: &mut String, names: &[&str], top: f64, mut mark: impl FnMut(&mut String, usize, f64, f64)) {
    let columns = legend_columns(names);
    for (i, name) in names.iter().enumerate() {
        let x = 8.0 + (i % columns) as f64 * ((WIDTH - 8.0) / columns as f64);
        let y = top + (i / columns) as f64 * LEGEND_ROW + 13.0;
        mark(svg, i, x, y);
        text(svg, "n", x + 27.0, y, name);
    }
}

/// A count on an axis: `0`, `250`, `40k`, `1.5M`.
pub(super) fn count_text(count: f64) -> String {
    let (value, unit) = match count.abs() {
        n if n < 1e3 => (count, ""),
        n if n < 1e6 => (count / 1e3, "k"),
        n if n < 1e9 => (count / 1e6, "M"),
        n if n < 1e12 => (count / 1e9, "G"),
        _ => return format!("{count:.1e}"),
    };
    let text = format!("{value:.2}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    format!("{text}{unit}")
}

/// A span with its sign: `+50 µs`, `−1.2 ms`, `0`.
pub(super) fn signed_text(nanos: f64) -> String {
    let sign = if nanos < 0.0 { "−" } else { "+" };
    if nanos == 0.0 { "0".to_owned() } else { format!("{sign}{}", short_span(nanos.abs())) }
}

/// A span without trailing zeros: `200 ns`, `1.5 ms`, `40 s`, `5 min`, `3 h`.
pub(super) fn short_span(nanos: f64) -> String {
    let (value, unit) = match nanos {
        n if n < 1e3 => (n, "ns"),
        n if n < 1e6 => (n / 1e3, "µs"),
        n if n < 1e9 => (n / 1e6, "ms"),
        n if n < 120e9 => (n / 1e9, "s"),
        n if n < 7_200e9 => (n / 60e9, "min"),
        n => (n / 3_600e9, "h"),
    };
    let text = format!("{value:.3}");
    let text = if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
    format!("{text} {unit}")
}

/// The step, of 1, 2 and 5 times a power of ten, of which some `most` at most fit into a span.
fn step(span: f64, most: f64) -> f64 {
    let least = (span / most).max(f64::MIN_POSITIVE);
    let decade = 10f64.powf(least.log10().floor());
    [1.0, 2.0, 5.0, 10.0]
        .map(|n| n * decade)
        .into_iter()
        .find(|step| *step >= least * 0.999_999)
        .unwrap_or(decade * 10.0)
}

/// The time that a picture shows, from left to right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TimeAxis {
    /// When it begins.
    pub(super) start: Nanos,
    /// How long it is; above zero.
    pub(super) span: Nanos,
}

impl TimeAxis {
    /// The horizontal place of a moment.
    fn x(&self, at: Nanos) -> f64 {
        let share = (at - self.start).0 as f64 / self.span.0.max(1) as f64;
        LEFT + (WIDTH - LEFT - RIGHT) * share.clamp(0.0, 1.0)
    }

    /// Steps that clocks have, from a second on.
    fn step(&self) -> f64 {
        const CLOCK: [f64; 16] = [
            10.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 900.0, 1_800.0, 3_600.0, 7_200.0, 10_800.0, 21_600.0,
            43_200.0, 86_400.0, 172_800.0,
        ];
        let span = self.span.0.max(1) as f64;
        // below a millisecond a time of day is long
        let most = if span < 4e6 { 2.9 } else { 4.2 };
        let plain = step(span, most);
        if plain < 10e9 {
            return plain.max(1.0);
        }
        CLOCK.map(|seconds| seconds * 1e9).into_iter().find(|step| span / step <= most).unwrap_or(plain)
    }

    /// Ticks below a field: how long after the start, and the time of day in UTC.
    fn draw(&self, svg: &mut String, top: f64, bottom: f64) {
        let step = self.step();
        let digits = match step {
            n if n >= 1e9 => 0,
            n if n >= 1e6 => 3,
            n if n >= 1e3 => 6,
            _ => 9,
        };
        let span = self.span.0 as f64;
        for n in 0..=(span / step) as u32 {
            let after = f64::from(n) * step;
            let at = self.start + Nanos(after as u64);
            let x = self.x(at);
            rule(svg, (x, top), (x, bottom));
            let words = if n == 0 { "0".to_owned() } else { format!("+{}", short_span(after)) };
            let time = crate::report::utc::time_of_day(at, digits);
            let half = time.len() as f64 * 3.4;
            let (class, place) = if x + half > WIDTH - 2.0 { ("e", WIDTH - 2.0) } else { ("m", x) };
            text(svg, class, place, bottom + 15.0, &words);
            text(svg, &format!("{class} s"), place, bottom + 30.0, &time);
        }
    }
}

/// The height of what [`TimeAxis::draw`] puts below a field.
const TIME_TICKS: f64 = 36.0;

#[cfg(test)]
mod tests;
