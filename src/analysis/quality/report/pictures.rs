//! The pictures of a report: which is drawn of what.

use std::collections::BTreeMap;

use super::super::chart::bars::{Columns, Leads};
use super::super::chart::time::{Curves, Row, Rows, Scale, StripKind, StripSegment, Strips, TimeCurve};
use super::super::chart::{Colour, TimeAxis, count_text};
use super::super::{LineCell, Quality};
use super::model::Summary;
use crate::report::words::{percent, span};
use twinline_core::Nanos;
use twinline_core::arbiter::{ChannelRef, EventKind, LineState};
use twinline_core::frame::Line;

/// More pairs of lines than this are drawn of the first line alone.
const PAIRS_DRAWN: usize = 6;
/// More strips of states than this are not drawn.
const STRIPS_DRAWN: usize = 16;

/// A line's channel, and its changes of state on it.
type Changed = (ChannelRef, Vec<(Nanos, LineState)>);

/// What pictures are drawn of.
pub(super) struct Pictures<'a> {
    summary: &'a Summary,
    quality: &'a Quality,
    axis: TimeAxis,
}

impl<'a> Pictures<'a> {
    pub(super) fn new(summary: &'a Summary, quality: &'a Quality) -> Pictures<'a> {
        let start = Nanos(summary.from_ns);
        let axis = TimeAxis { start, span: (Nanos(summary.to_ns) - start).max(Nanos(1)) };
        Pictures { summary, quality, axis }
    }

    fn cell(&self) -> Nanos {
        self.quality.moments().width()
    }

    fn names(&self) -> impl Iterator<Item = (usize, &'a str)> {
        self.summary.lines.iter().map(|line| line.line.as_str()).enumerate()
    }

    /// What each cell has: the last one may be shorter than the others.
    fn cell_span(&self, cell: usize) -> Nanos {
        let from = Nanos(self.cell().0.saturating_mul(cell as u64));
        // a cell that the capture hardly enters would show a rate that nothing had
        (self.axis.span - from).min(self.cell()).max(Nanos(self.cell().0 / 4)).max(Nanos(1))
    }

    /// How long a bar is, in words.
    fn every(&self) -> String {
        format!("a value every {}", span(self.cell().0))
    }

    fn curves(&self, title: &str, words: String, of: impl Fn(usize, &LineCell) -> f64) -> String {
        let cells = self.quality.moments().cells();
        let curve = |name: &str, colour, values: Vec<Option<f64>>| TimeCurve {
            name: name.to_owned(),
            colour,
            values,
            band: Vec::new(),
        };
        let stream = cells.iter().enumerate().map(|(at, moment)| Some(of(at, &moment.stream)));
        let lines = self.names().map(|(line, name)| {
            let values = cells.iter().enumerate().map(|(at, moment)| Some(of(at, &moment.lines[line])));
            curve(name, Colour::Line(line), values.collect())
        });
        let mut curves: Vec<TimeCurve> = lines.collect();
        curves.push(curve("arbitrated", Colour::Stream, stream.collect()));
        let (axis, cell) = (self.axis, self.cell());
        Curves { title: title.to_owned(), words, axis, cell, scale: Scale::Count, curves }.svg()
    }

    /// Messages per second.
    pub(super) fn rate(&self) -> String {
        let seconds = self.axis.span.0 as f64 / 1e9;
        let lines = self.summary.lines.iter().map(|line| {
            format!(
                "{}: {} messages per second on average",
                line.line,
                count_text((line.messages as f64 / seconds).round())
            )
        });
        let words = format!("{}; {}", lines.collect::<Vec<_>>().join("; "), self.every());
        let rate = |at: usize, cell: &LineCell| cell.amount.messages as f64 * 1e9 / self.cell_span(at).0 as f64;
        self.curves("Messages a second", words, rate)
    }

    /// The most messages within 1 ms.
    pub(super) fn peaks(&self) -> String {
        let lines = self.summary.lines.iter().map(|line| {
            let most = line.microbursts.windows.first().map_or(0, |window| window.messages);
            format!("{}: at most {} messages within 1 ms", line.line, count_text(most as f64))
        });
        let words = format!("{}; {}", lines.collect::<Vec<_>>().join("; "), self.every());
        self.curves("Peak: messages within 1 ms", words, |_, cell| cell.peak as f64)
    }

    fn rows(&self, title: &str, unit: &str, rows: Vec<Row>) -> String {
        let words = rows.iter().map(|row| {
            let total = row.counts.iter().fold(0u64, |sum, count| sum.saturating_add(*count));
            format!("{}: {} {unit}", row.name, total)
        });
        let words = format!("{}; {}", words.collect::<Vec<_>>().join("; "), self.every());
        let (axis, cell) = (self.axis, self.cell());
        Rows { title: title.to_owned(), words, axis, cell, unit: unit.to_owned(), rows }.svg()
    }

    /// Numbers that each line missed, and that all did.
    pub(super) fn missing(&self) -> String {
        let cells = self.quality.moments().cells();
        let mut rows: Vec<Row> = self
            .names()
            .map(|(line, name)| Row {
                name: name.to_owned(),
                colour: Colour::Line(line),
                counts: cells.iter().map(|moment| moment.lines[line].missing).collect(),
            })
            .collect();
        rows.push(Row {
            name: "arbitrated: lost".to_owned(),
            colour: Colour::Stream,
            counts: cells.iter().map(|moment| moment.stream.missing).collect(),
        });
        self.rows("Missing messages, by line", "missing", rows)
    }

    /// Numbers of gaps that each line filled.
    pub(super) fn filled(&self) -> String {
        let cells = self.quality.moments().cells();
        let rows = self.names().map(|(line, name)| Row {
            name: format!("filled by {name}"),
            colour: Colour::Line(line),
            counts: cells.iter().map(|moment| moment.filled[line]).collect(),
        });
        let rows = rows.collect();
        self.rows("Gaps, by who filled them", "filled", rows)
    }

    /// Bursts of loss, by length.
    pub(super) fn bursts(&self) -> String {
        let classes = self.summary.lines.iter().map(|line| &line.bursts.lengths).max_by_key(|lengths| lengths.len());
        let classes = classes.map_or(Vec::new(), |lengths| lengths.iter().map(|class| class.label.clone()).collect());
        let groups = self.names().map(|(line, name)| {
            let lengths = &self.summary.lines[line].bursts.lengths;
            (name.to_owned(), Colour::Line(line), lengths.iter().map(|class| class.bursts).collect())
        });
        let words = self.summary.lines.iter().map(|line| format!("{}: {} bursts", line.line, line.bursts.count));
        let words = words.collect::<Vec<_>>().join("; ");
        let (title, unit) = ("Bursts of loss, by length".to_owned(), "messages in a row".to_owned());
        Columns { title, words, unit, classes, groups: groups.collect() }.svg()
    }

    /// The pairs of lines that are drawn: over time, and as a histogram.
    pub(super) fn leads(&self) -> Vec<String> {
        let few = self.summary.lead.len() <= PAIRS_DRAWN;
        let drawn = self.summary.lead.iter().filter(|lead| few || lead.pair.0 == Line(0));
        let mut all = Vec::new();
        for lead in drawn {
            let (a, b) = lead.pair;
            let words = format!(
                "{} numbers; {} came first by {}; p10 {} ns, median {} ns, p90 {} ns",
                lead.numbers,
                lead.of,
                percent(lead.of_first, lead.numbers),
                lead.p10_ns,
                lead.p50_ns,
                lead.p90_ns
            );
            let cells = self.quality.moments().cells();
            let quantiles = cells.iter().map(|moment| moment.leads(a, b)?.quantiles([0.1, 0.5, 0.9]));
            let quantiles: Vec<Option<[i64; 3]>> = quantiles.collect();
            let curve = TimeCurve {
                name: "median; area: 10 % to 90 %".to_owned(),
                colour: Colour::Line(a.index()),
                values: quantiles.iter().map(|cell| cell.map(|cell| cell[1] as f64)).collect(),
                band: quantiles.iter().map(|cell| cell.map(|[low, _, high]| (low as f64, high as f64))).collect(),
            };
            let curves = Curves {
                title: format!("Lead of {} over {}", lead.of, lead.over),
                words: words.clone(),
                axis: self.axis,
                cell: self.cell(),
                scale: Scale::SignedSpan,
                curves: vec![curve],
            };
            all.push(curves.svg());
            let counts = |first, later| {
                let pair = self.quality.leads().pair(first, later);
                let values = pair.into_iter().flat_map(|pair| pair.iter_recorded());
                values.map(|value| (value.value_iterated_to(), value.count_at_value())).collect()
            };
            let leads = Leads {
                title: format!("By how much {} or {} came first", lead.of, lead.over),
                words,
                first: (lead.of.clone(), a.index()),
                second: (lead.over.clone(), b.index()),
                first_ahead: counts(a, b),
                second_ahead: counts(b, a),
            };
            all.push(leads.svg());
        }
        all
    }

    /// When lines were silent.
    pub(super) fn silences(&self) -> String {
        let silences = self.quality.silences();
        let kinds = vec![
            StripKind { name: "silent alone", fill: "var(--c7)" },
            StripKind { name: "every line silent", fill: "var(--faint)" },
        ];
        let mut rows: Vec<(String, Vec<StripSegment>)> = self
            .names()
            .map(|(line, name)| {
                let listed = silences.line(Line(line as u8)).into_iter().flat_map(|found| found.listed.iter());
                let segments = listed.map(|stretch| StripSegment {
                    from: stretch.from,
                    to: stretch.to,
                    kind: 0,
                    words: format!("{} from {}", span(stretch.span().0), self.summary.after(stretch.from.0)),
                });
                (name.to_owned(), segments.collect())
            })
            .collect();
        let all = silences.all().listed.iter().map(|stretch| StripSegment {
            from: stretch.from,
            to: stretch.to,
            kind: 1,
            words: format!("{} from {}", span(stretch.span().0), self.summary.after(stretch.from.0)),
        });
        rows.push(("every line".to_owned(), all.collect()));
        let words = self.summary.lines.iter().map(|line| {
            let count: u64 = line.silent_alone.by_decade_from_1ms.iter().sum();
            format!("{}: {count} stretches of 1 ms or more", line.line)
        });
        let words = words.collect::<Vec<_>>().join("; ");
        Strips { title: "Silent stretches, the longest".to_owned(), words, axis: self.axis, kinds, rows }.svg()
    }

    /// The lines' states, if any line was ever in another state than up, and how many strips are left out.
    pub(super) fn states(&self) -> Option<(String, usize)> {
        let (changes, _) = self.quality.changes();
        let begins: BTreeMap<u16, Nanos> = {
            let (marks, _) = self.quality.epochs();
            let begins = marks.iter().rev().filter(|mark| matches!(mark.event.kind, EventKind::Epoch { .. }));
            begins.map(|mark| (mark.event.channel.index, mark.event.at)).collect()
        };
        let kinds = vec![
            StripKind { name: "waiting", fill: "var(--rule)" },
            StripKind { name: "up", fill: "var(--c2)" },
            StripKind { name: "lagging", fill: "var(--c1)" },
            StripKind { name: "silent", fill: "var(--c7)" },
            StripKind { name: "other session", fill: "var(--c3)" },
        ];
        let mut by_line: BTreeMap<(u16, u8), Changed> = BTreeMap::new();
        for change in changes {
            let (_, states) =
                by_line.entry((change.channel.index, change.line.0)).or_insert_with(|| (change.channel, Vec::new()));
            states.push((change.at, change.to));
        }
        by_line.retain(|_, (_, states)| states.iter().any(|(_, state)| *state != LineState::Up));
        if by_line.is_empty() {
            return None;
        }
        let several = self.summary.channels.len() > 1;
        let end = Nanos(self.summary.to_ns);
        let rows = by_line.iter().take(STRIPS_DRAWN).map(|(&(index, line), (channel, states))| {
            let name = self.summary.lines.get(usize::from(line)).map_or("", |line| line.line.as_str());
            let name = if several { format!("{name}, channel {}", channel.key) } else { name.to_owned() };
            let begin = begins.get(&index).copied().unwrap_or(self.axis.start);
            let mut segments = Vec::new();
            let mut before = (begin, LineState::Waiting);
            for &(at, state) in states.iter().chain(&[(end, LineState::Up)]) {
                segments.push(StripSegment {
                    from: before.0,
                    to: at,
                    kind: before.1 as usize,
                    words: format!("{} for {}", before.1.name(), span((at - before.0).0)),
                });
                before = (at, state);
            }
            // the shortest last, so that no other hides it
            segments.sort_by_key(|segment| std::cmp::Reverse(segment.to - segment.from));
            (name, segments)
        });
        let words = format!("{} changes of state; the table has them", self.summary.states.len());
        let title = "States of lines".to_owned();
        let strips = Strips { title, words, axis: self.axis, kinds, rows: rows.collect() };
        Some((strips.svg(), by_line.len().saturating_sub(STRIPS_DRAWN)))
    }
}
