//! Silent stretches: a line that brings nothing while another does, and all lines at once.
//!
//! A stretch runs from one datagram of a line to its next one, or to the start or end of the capture. The line was silent *alone*
//! for the time from the first datagram that other lines brought within the stretch to their last, minus their own longest pause.
//! On a quiet feed every line is silent for long, and none of them is alone. (A copy just after and a copy just before a quiet hour
//! are two datagrams with one pause between them.)

use super::top::Top;
use twinline_core::Nanos;
use twinline_core::frame::{LINES_MAX, Line};

/// Shorter stretches are not counted.
pub(super) const STRETCH_MIN: Nanos = Nanos::from_millis(1);
/// How many stretches are listed per line.
pub(super) const LISTED: usize = 12;
/// Stretches are counted from 1 ms, 10 ms, 100 ms, 1 s, 10 s and 100 s on, each up to the next.
pub(super) const CLASSES: usize = 6;

/// A stretch without a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stretch {
    /// The stamp of the datagram before it; of the capture's first datagram if the line had none.
    pub(crate) from: Nanos,
    /// The stamp of the datagram after it; the capture's end if there was none.
    pub(crate) to: Nanos,
    /// How long others went on: from their first datagram within the stretch to their last, minus their longest pause.
    pub(crate) alone: Nanos,
    /// How many datagrams the busiest other line brought meanwhile.
    pub(crate) others: u64,
}

impl Stretch {
    /// How long it was.
    pub(crate) fn span(&self) -> Nanos {
        self.to - self.from
    }
}

/// The stretches of a line, or of all lines.
#[derive(Clone, Debug)]
pub(crate) struct Stretches {
    /// The stretches that are listed: a line's by how long it was silent alone, those of all lines by their length.
    pub(crate) listed: Top<Stretch>,
    /// How many there were, by length; a line's by how long it was silent alone.
    pub(crate) classes: [u64; CLASSES],
    /// The longest, even if others were silent too.
    pub(crate) longest: Nanos,
}

impl Stretches {
    fn new() -> Stretches {
        Stretches { listed: Top::new(LISTED), classes: [0; CLASSES], longest: Nanos::ZERO }
    }

    fn add(&mut self, stretch: Stretch, by: Nanos) {
        self.longest = self.longest.max(stretch.span());
        if by < STRETCH_MIN {
            return;
        }
        let class = (by.0 / STRETCH_MIN.0).checked_ilog10().unwrap_or(0) as usize;
        self.classes[class.min(CLASSES - 1)] += 1;
        self.listed.add(by.0, stretch);
    }
}

#[derive(Clone, Debug)]
struct LineSilence {
    since: Option<Nanos>,
    /// What the others brought since.
    others: [u64; LINES_MAX],
    others_first: Nanos,
    others_last: Nanos,
    others_pause: Nanos,
    found: Stretches,
}

/// The silent stretches of a feed's lines.
#[derive(Clone, Debug)]
pub(crate) struct Silences {
    lines: Vec<LineSilence>,
    start: Option<Nanos>,
    last: Nanos,
    all: Stretches,
}

impl Silences {
    /// For this many lines, none of which has been heard.
    pub(crate) fn new(lines: usize) -> Silences {
        let line = LineSilence {
            since: None,
            others: [0; LINES_MAX],
            others_first: Nanos::MAX,
            others_last: Nanos::ZERO,
            others_pause: Nanos::ZERO,
            found: Stretches::new(),
        };
        Silences { lines: vec![line; lines], start: None, last: Nanos::ZERO, all: Stretches::new() }
    }

    /// A line brought a datagram.
    #[inline]
    pub(crate) fn datagram(&mut self, stamp: Nanos, line: Line) {
        let start = *self.start.get_or_insert(stamp);
        if stamp - self.last >= STRETCH_MIN && self.last != Nanos::ZERO {
            self.all_silent(stamp);
        }
        self.last = self.last.max(stamp);
        for (other, silence) in self.lines.iter_mut().enumerate() {
            if other == line.index() {
                silence.end(start, stamp);
            } else if let Some(others) = silence.others.get_mut(line.index()) {
                *others += 1;
                if silence.others_first == Nanos::MAX {
                    silence.others_first = stamp;
                } else {
                    silence.others_pause = silence.others_pause.max(stamp - silence.others_last);
                }
                silence.others_last = stamp;
            }
        }
    }

    #[inline(never)]
    fn all_silent(&mut self, to: Nanos) {
        let stretch = Stretch { from: self.last, to, alone: Nanos::ZERO, others: 0 };
        self.all.add(stretch, stretch.span());
    }

    /// The capture ends here.
    pub(crate) fn finish(&mut self, end: Nanos) {
        let Some(start) = self.start else { return };
        self.all_silent(end.max(self.last));
        for silence in &mut self.lines {
            silence.end(start, end.max(self.last));
        }
    }

    /// A line's stretches.
    pub(crate) fn line(&self, line: Line) -> Option<&Stretches> {
        self.lines.get(line.index()).map(|silence| &silence.found)
    }

    /// The stretches in which no line brought anything.
    pub(crate) fn all(&self) -> &Stretches {
        &self.all
    }
}

impl LineSilence {
    #[inline]
    fn end(&mut self, start: Nanos, to: Nanos) {
        let from = self.since.unwrap_or(start);
        let others = self.others.iter().copied().max().unwrap_or(0);
        let alone = (self.others_last - self.others_first) - self.others_pause;
        if to - from >= STRETCH_MIN {
            self.found.add(Stretch { from, to, alone, others }, alone);
        }
        self.since = Some(to);
        if others > 0 {
            self.others = [0; LINES_MAX];
            (self.others_first, self.others_last, self.others_pause) = (Nanos::MAX, Nanos::ZERO, Nanos::ZERO);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    fn stretch(from: u64, to: u64, alone: u64, others: u64) -> Stretch {
        let at = |ms| Nanos(ms * MS);
        Stretch { from: at(from), to: at(to), alone: at(alone), others }
    }

    #[test]
    fn a_line_is_silent_alone_for_as_long_as_another_goes_on() {
        let mut silences = Silences::new(2);
        let (a, b) = (Line(0), Line(1));
        for (at, line) in [(100, a), (101, b), (200, b), (230, b), (300, a), (301, b), (2_000, a), (2_002, b)] {
            silences.datagram(Nanos(at * MS), line);
        }
        silences.finish(Nanos(2_050 * MS));
        let of = |line| silences.line(line).unwrap();
        let listed: Vec<_> = of(a).listed.iter().copied().collect();
        // the longest stretch of all was the feed's own
        assert_eq!(listed, [stretch(100, 300, 30, 3)]);
        assert_eq!((of(a).longest, of(a).classes), (Nanos(1_700 * MS), [0, 1, 0, 0, 0, 0]));
        assert_eq!((of(b).listed.seen(), of(b).longest), (0, Nanos(1_701 * MS)));
        let all: Vec<_> =
            silences.all().listed.iter().map(|stretch| (stretch.from.0 / MS, stretch.span().0 / MS)).collect();
        let spans = [(301, 1_699), (101, 99), (230, 70), (2_002, 48), (200, 30), (2_000, 2), (100, 1), (300, 1)];
        assert_eq!(all, spans);
        assert_eq!(silences.all().classes, [3, 4, 0, 1, 0, 0]);
    }

    #[test]
    fn a_pause_of_the_feed_is_no_lines_own() {
        let mut silences = Silences::new(2);
        let (a, b) = (Line(0), Line(1));
        // B's copy lags at first and leads after the pause
        for (at, line) in [(0, a), (1, b), (9_000, b), (9_001, a)] {
            silences.datagram(Nanos((at + 1) * MS), line);
        }
        silences.finish(Nanos(9_002 * MS));
        assert_eq!(silences.line(a).unwrap().listed.seen(), 0);
        assert_eq!(silences.all().longest, Nanos(8_999 * MS));
    }

    #[test]
    fn a_line_that_never_came_is_silent_throughout() {
        let mut silences = Silences::new(2);
        for n in 0..10 {
            silences.datagram(Nanos((5 + n) * MS), Line(0));
        }
        silences.finish(Nanos(40 * MS));
        let listed: Vec<_> = silences.line(Line(1)).unwrap().listed.iter().copied().collect();
        assert_eq!(listed, [stretch(5, 40, 8, 10)]);
        assert_eq!(silences.all().longest, Nanos(26 * MS));
    }
}
