//! What was really sent, by number and line.
//!
//! What is not settled yet is a window of three bytes per number, as long as the plan looks ahead.

use std::collections::VecDeque;

use twinline_core::frame::{LINES_MAX, Line};
use twinline_core::{SeqNo, SeqRange};

use super::terms::Planned;

/// How many ranges of lost numbers are kept.
pub const LOST_RANGES_MAX: usize = 65_536;

/// A range of numbers of one group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GroupRange {
    /// The group's position in every line's list.
    pub group: u16,
    /// The numbers.
    pub numbers: SeqRange,
}

/// Which numbers were really sent on which lines: a client's output is judged by it.
///
/// Whoever drives a plan records each datagram, and whether it left. A number is settled once every line's copy of it was planned.
#[derive(Clone, Debug)]
pub struct Truth {
    lines: usize,
    first: u64,
    groups: Vec<Window>,
    numbers: u64,
    lost_on: [u64; LINES_MAX],
    lost: u64,
    corrupt: u64,
    lost_ranges: Vec<GroupRange>,
    ranges_omitted: u64,
}

/// The numbers of a group from the first that is not settled.
#[derive(Clone, Debug)]
struct Window {
    front: u64,
    copies: VecDeque<Copies>,
}

/// Lines as bits.
#[derive(Clone, Copy, Debug, Default)]
struct Copies {
    planned: u8,
    sent: u8,
    intact: u8,
}

impl Truth {
    /// Nothing sent yet on `lines` lines (at most [`LINES_MAX`]), whose first number is `first`.
    pub fn new(lines: usize, first: u64) -> Truth {
        Truth {
            lines: lines.min(LINES_MAX),
            first,
            groups: Vec::new(),
            numbers: 0,
            lost_on: [0; LINES_MAX],
            lost: 0,
            corrupt: 0,
            lost_ranges: Vec::new(),
            ranges_omitted: 0,
        }
    }

    /// Records a datagram and whether it left. Second copies and datagrams without messages change nothing.
    pub fn record(&mut self, datagram: &Planned<'_>, sent: bool) {
        if datagram.count == 0 || datagram.copy || datagram.line.index() >= self.lines {
            return;
        }
        let group = usize::from(datagram.group);
        while self.groups.len() <= group {
            self.groups.push(Window { front: self.first, copies: VecDeque::new() });
        }
        let window = &mut self.groups[group];
        let Some(at) = datagram.first.checked_sub(window.front) else { return };
        let (at, count) = (at as usize, datagram.count as usize);
        if window.copies.len() < at + count {
            window.copies.resize(at + count, Copies::default());
        }
        let bit = 1 << datagram.line.index();
        for copies in window.copies.range_mut(at..at + count) {
            copies.planned |= bit;
            if sent {
                copies.sent |= bit;
                if !datagram.corrupted {
                    copies.intact |= bit;
                }
            }
        }
        self.settle(datagram.group);
    }

    /// Removes from a group's window what every line has planned.
    fn settle(&mut self, group: u16) {
        let all = (1u16 << self.lines) - 1;
        let window = &mut self.groups[usize::from(group)];
        while let Some(&copies) = window.copies.front() {
            if u16::from(copies.planned) != all {
                break;
            }
            window.copies.pop_front();
            let number = window.front;
            window.front += 1;
            self.numbers += 1;
            for (line, lost) in self.lost_on[..self.lines].iter_mut().enumerate() {
                *lost += u64::from(copies.sent & (1 << line) == 0);
            }
            if copies.sent == 0 {
                self.lost += 1;
                add(&mut self.lost_ranges, &mut self.ranges_omitted, group, number);
            } else if copies.intact == 0 {
                self.corrupt += 1;
            }
        }
    }

    /// How many numbers are settled.
    pub fn numbers(&self) -> u64 {
        self.numbers
    }

    /// How many of them this line did not send.
    pub fn lost_on(&self, line: Line) -> u64 {
        self.lost_on.get(line.index()).copied().unwrap_or(0)
    }

    /// How many of them no line sent.
    pub fn lost(&self) -> u64 {
        self.lost
    }

    /// How many of them were sent, but with a corrupt byte somewhere in every copy's datagram.
    pub fn corrupt(&self) -> u64 {
        self.corrupt
    }

    /// The numbers that no line sent, ascending in each group; the first [`LOST_RANGES_MAX`] ranges.
    pub fn lost_ranges(&self) -> &[GroupRange] {
        &self.lost_ranges
    }

    /// How many more ranges there were.
    pub fn ranges_omitted(&self) -> u64 {
        self.ranges_omitted
    }

    /// How many numbers wait until every line's copy is planned: none once a plan has ended.
    pub fn unsettled(&self) -> usize {
        self.groups.iter().map(|w| w.copies.len()).sum()
    }
}

fn add(ranges: &mut Vec<GroupRange>, omitted: &mut u64, group: u16, number: u64) {
    let numbers = SeqRange::new(SeqNo(number), SeqNo(number) + 1);
    // groups take turns, so if the range continues one of this group, that is among the last few
    if let Some(last) = ranges.iter_mut().rev().take(16).find(|r| r.group == group && r.numbers.end == numbers.first) {
        last.numbers.end = numbers.end;
    } else if ranges.len() < LOST_RANGES_MAX {
        ranges.push(GroupRange { group, numbers });
    } else {
        *omitted += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use twinline_core::Nanos;
    use twinline_core::frame::FrameKind;

    fn planned(line: u8, first: u64, count: u32) -> Planned<'static> {
        Planned {
            due: Nanos::ZERO,
            line: Line(line),
            group: 0,
            kind: FrameKind::Data,
            first,
            count,
            dropped: None,
            corrupted: false,
            copy: false,
            bytes: b"",
        }
    }

    #[test]
    fn a_number_is_lost_when_no_line_sent_it() {
        let mut truth = Truth::new(2, 1);
        truth.record(&planned(0, 1, 4), true);
        truth.record(&planned(0, 5, 4), false);
        assert_eq!((truth.numbers(), truth.unsettled()), (0, 8));
        truth.record(&planned(1, 1, 6), false);
        truth.record(&planned(1, 7, 2), true);
        assert_eq!((truth.numbers(), truth.unsettled()), (8, 0));
        assert_eq!((truth.lost_on(Line(0)), truth.lost_on(Line(1)), truth.lost()), (4, 6, 2));
        let numbers = SeqRange::new(SeqNo(5), SeqNo(7));
        assert_eq!(truth.lost_ranges(), [GroupRange { group: 0, numbers }]);
    }

    #[test]
    fn order_does_not_matter_and_copies_do_not_count() {
        let mut truth = Truth::new(1, 10);
        truth.record(&planned(0, 12, 1), true);
        truth.record(&Planned { copy: true, ..planned(0, 10, 2) }, true);
        assert_eq!(truth.numbers(), 0);
        truth.record(&planned(0, 10, 2), false);
        assert_eq!((truth.numbers(), truth.lost()), (3, 2));
    }

    #[test]
    fn what_was_only_sent_corrupt_is_told_apart() {
        let mut truth = Truth::new(2, 1);
        truth.record(&Planned { corrupted: true, ..planned(0, 1, 2) }, true);
        truth.record(&planned(1, 1, 1), true);
        truth.record(&planned(1, 2, 1), false);
        assert_eq!((truth.lost(), truth.corrupt()), (0, 1));
    }
}
