//! Distributions: columns by class, and leads on either side of zero.

use std::fmt::Write;

use super::{
    Colour, LEFT, RIGHT, TOP, WIDTH, begin, count_text, legend, legend_height, nothing, rule, short_span, text,
};

const FIELD: f64 = 170.0;

/// Counts by class, side by side for each name, on a logarithmic scale, so that one long burst is visible among a thousand short
/// ones.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Columns {
    /// What is drawn.
    pub(crate) title: String,
    /// The same in words.
    pub(crate) words: String,
    /// What the classes are.
    pub(crate) unit: String,
    /// The classes.
    pub(crate) classes: Vec<String>,
    /// The name and colour of each group, and its counts per class.
    pub(crate) groups: Vec<(String, Colour, Vec<u64>)>,
}

impl Columns {
    /// The picture.
    pub(crate) fn svg(&self) -> String {
        let most = self.groups.iter().flat_map(|(_, _, counts)| counts).copied().max().unwrap_or(0);
        if most == 0 || self.classes.is_empty() {
            return nothing(&self.title, "none");
        }
        let names: Vec<&str> = self.groups.iter().map(|(name, ..)| name.as_str()).collect();
        let height = TOP + FIELD + 38.0 + legend_height(&names) + 8.0;
        let mut svg = begin(&self.title, &self.words, height);
        let bottom = TOP + FIELD;
        // one is above the foot, so that it is seen
        let decades = (most as f64).log10().ceil().max(1.0) + 0.3;
        let y = |count: f64| bottom - FIELD * (count.log10() + 0.3) / decades;
        for decade in 0..=(decades - 0.3) as i32 {
            let count = 10f64.powi(decade);
            rule(&mut svg, (LEFT, y(count)), (WIDTH - RIGHT, y(count)));
            text(&mut svg, "e", LEFT - 6.0, y(count) + 4.0, &count_text(count));
        }
        rule(&mut svg, (LEFT, bottom), (WIDTH - RIGHT, bottom));
        let wide = (WIDTH - LEFT - RIGHT) / self.classes.len() as f64;
        let bar = (wide * 0.8 / self.groups.len() as f64).min(26.0);
        // where names of classes would touch, some are left out
        let longest = self.classes.iter().map(|class| class.chars().count()).max().unwrap_or(1) as f64;
        let every = ((longest * 7.6 + 6.0) / wide).ceil().max(1.0) as usize;
        for (i, class) in self.classes.iter().enumerate() {
            let middle = LEFT + wide * (i as f64 + 0.5);
            if i.is_multiple_of(every) {
                text(&mut svg, "m", middle, bottom + 16.0, class);
            }
            for (g, (name, colour, counts)) in self.groups.iter().enumerate() {
                let count = counts.get(i).copied().unwrap_or(0);
                if count == 0 {
                    continue;
                }
                let left = middle + bar * (g as f64 - self.groups.len() as f64 / 2.0);
                let _ = write!(
                    svg,
                    "<rect style=\"fill:{}\" x=\"{left:.1}\" y=\"{1:.1}\" width=\"{2:.1}\" height=\"{3:.1}\"><title>{4}: \
                     {count}</title></rect>",
                    colour.css(),
                    y(count as f64),
                    (bar - 1.0).max(1.0),
                    bottom - y(count as f64),
                    crate::chart::escape(name)
                );
            }
        }
        text(&mut svg, "m s", (LEFT + WIDTH - RIGHT) / 2.0, bottom + 32.0, &self.unit);
        legend(&mut svg, &names, bottom + 38.0, |svg, i, x, y| {
            let _ = write!(
                svg,
                "<rect style=\"fill:{}\" x=\"{x:.1}\" y=\"{:.1}\" width=\"21\" height=\"11\"/>",
                self.groups[i].1.css(),
                y - 10.0
            );
        });
        svg.push_str("</svg>");
        svg
    }
}

/// Classes of a lead, per decade.
const PER_DECADE: i32 = 8;
/// Leads below a microsecond may all be one: clocks are that coarse. What is below this is drawn in the middle.
const LEAST: f64 = 10.0;

/// By how much one of two lines was ahead: on the right, the first line was ahead; on the left, the second.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Leads {
    /// What is drawn.
    pub(crate) title: String,
    /// The same in words.
    pub(crate) words: String,
    /// The first line's name, and its place in the feed file.
    pub(crate) first: (String, usize),
    /// The second's.
    pub(crate) second: (String, usize),
    /// By how many nanoseconds the first line was ahead, and how often.
    pub(crate) first_ahead: Vec<(u64, u64)>,
    /// The same for the second line.
    pub(crate) second_ahead: Vec<(u64, u64)>,
}

impl Leads {
    /// The picture.
    pub(crate) fn svg(&self) -> String {
        let all = || self.first_ahead.iter().chain(&self.second_ahead);
        let total: u64 = all().map(|(_, count)| count).sum();
        if total == 0 {
            return nothing(&self.title, "no number came by both");
        }
        let longest = all().map(|(nanos, _)| *nanos).max().unwrap_or(0) as f64;
        let shortest = all().map(|(nanos, _)| *nanos).min().unwrap_or(0) as f64;
        // the axis begins a decade below the shortest lead
        let low = (shortest.max(LEAST).log10().floor() as i32).min(longest.max(LEAST).log10().floor() as i32);
        let high = (longest.max(LEAST * 10.0).log10().ceil() as i32).max(low + 1);
        let classes = ((high - low) * PER_DECADE) as usize;
        let class = |nanos: u64| {
            let at = ((nanos.max(1) as f64).log10() - f64::from(low)) * f64::from(PER_DECADE);
            at.clamp(0.0, classes as f64 - 1.0) as usize
        };
        let count = |leads: &[(u64, u64)]| {
            let mut counts = vec![0u64; classes];
            leads.iter().for_each(|(nanos, n)| counts[class(*nanos)] += n);
            counts
        };
        let (right, left) = (count(&self.first_ahead), count(&self.second_ahead));
        let most = right.iter().chain(&left).copied().max().unwrap_or(1).max(1) as f64;
        let mut svg = begin(&self.title, &self.words, TOP + FIELD + 62.0);
        let bottom = TOP + FIELD;
        let middle = WIDTH / 2.0;
        let half = middle - 12.0;
        let wide = half / classes as f64;
        let x = |decade: i32| half * f64::from(decade - low) / f64::from(high - low);
        let every = if high - low > 3 { 2 } else { 1 };
        for decade in low..=high {
            for side in [-1.0, 1.0] {
                let at = middle + side * x(decade);
                rule(&mut svg, (at, TOP), (at, bottom));
                // the middle's own name would stand in both halves
                if decade > low && (high - decade) % every == 0 {
                    let words = short_span(10f64.powi(decade));
                    let (class, at) = match (decade == high, side > 0.0) {
                        (true, true) => ("e", WIDTH - 3.0),
                        (true, false) => ("", 3.0),
                        _ => ("m", at),
                    };
                    text(&mut svg, class, at, bottom + 16.0, &words);
                }
            }
        }
        text(&mut svg, "m", middle, bottom + 16.0, &format!("≤{}", short_span(10f64.powi(low))));
        rule(&mut svg, (12.0, bottom), (WIDTH - 12.0, bottom));
        for (counts, side, line) in [(&right, 1.0, self.first.1), (&left, -1.0, self.second.1)] {
            for (i, &count) in counts.iter().enumerate().filter(|(_, count)| **count > 0) {
                let tall = (FIELD * 0.97 * count as f64 / most).max(1.5);
                let from = if side > 0.0 { middle + i as f64 * wide } else { middle - (i + 1) as f64 * wide };
                let _ = write!(
                    svg,
                    "<rect style=\"fill:{}\" x=\"{from:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{tall:.1}\"><title>{count}\
                     </title></rect>",
                    Colour::Line(line).css(),
                    bottom - tall,
                    (wide - 0.6).max(1.0)
                );
            }
        }
        let sum = |counts: &[u64]| counts.iter().sum::<u64>() as f64;
        // at the same stamp, neither came first
        let ties =
            |leads: &[(u64, u64)]| leads.iter().filter(|(nanos, _)| *nanos == 0).map(|(_, n)| *n).sum::<u64>() as f64;
        let share = |count: f64| format!("{:.1} %", 100.0 * count / total as f64);
        let side = |name: &str, counts: &[u64], ties: f64| format!("{name} first: {}", share(sum(counts) - ties));
        text(
            &mut svg,
            "n",
            12.0,
            bottom + 38.0,
            &format!("← {}", side(&self.second.0, &left, ties(&self.second_ahead))),
        );
        text(
            &mut svg,
            "n e",
            WIDTH - 12.0,
            bottom + 38.0,
            &format!("{} →", side(&self.first.0, &right, ties(&self.first_ahead))),
        );
        text(
            &mut svg,
            "m s",
            middle,
            bottom + 55.0,
            &format!("{} numbers by both; bars to {} each", count_text(total as f64), count_text(most)),
        );
        svg.push_str("</svg>");
        svg
    }
}
