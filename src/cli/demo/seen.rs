//! What the arbiter was given: which numbers each line brought, and which of them arrived within the gap timeout.
//!
//! It is recorded independently of the arbiter, from the same datagrams with the same stamps, and knows nothing of what the
//! arbiter does with them. Memory is allocated at the start: a few bits per message.

use std::collections::VecDeque;

use twinline_core::Nanos;
use twinline_core::frame::{Frame, FrameKind, Line};

/// A set of message numbers, from 1 up to a limit that is known at the start.
#[derive(Clone, Debug)]
pub(super) struct Numbers {
    words: Vec<u64>,
    max: u64,
    count: u64,
}

impl Numbers {
    /// An empty set, for numbers from 1 to `max`.
    pub(super) fn none_of(max: u64) -> Numbers {
        Numbers { words: vec![0; (max / 64 + 1) as usize], max, count: 0 }
    }

    /// Adds a number and returns whether it is new. A number beyond the limit never is.
    #[inline]
    pub(super) fn add(&mut self, number: u64) -> bool {
        if number == 0 || number > self.max {
            return false;
        }
        let (word, bit) = (&mut self.words[(number / 64) as usize], 1 << (number % 64));
        let new = *word & bit == 0;
        *word |= bit;
        self.count += u64::from(new);
        new
    }

    #[inline]
    pub(super) fn has(&self, number: u64) -> bool {
        number <= self.max && self.words[(number / 64) as usize] & (1 << (number % 64)) != 0
    }

    pub(super) fn count(&self) -> u64 {
        self.count
    }

    pub(super) fn max(&self) -> u64 {
        self.max
    }
}

/// What one line brought.
#[derive(Clone, Debug)]
pub(super) struct LineSeen {
    /// Which numbers.
    pub(super) numbers: Numbers,
    /// One past the highest number that it has shown.
    pub(super) mark: u64,
    pub(super) datagrams: u64,
}

impl LineSeen {
    /// How many numbers it has gone past without bringing them.
    pub(super) fn missing(&self) -> u64 {
        (self.mark - 1).saturating_sub(self.numbers.count())
    }
}

/// Numbers that a line has shown to exist before any line brought them.
#[derive(Clone, Copy, Debug)]
struct Hole {
    first: u64,
    end: u64,
    opened: Nanos,
}

/// What was given to the arbiter.
///
/// Invariant: `holes` do not touch, ascend, and none has expired as of the last stamp.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    pub(super) lines: Vec<LineSeen>,
    /// The numbers that arrived before any number beyond them, or less than a gap timeout later.
    pub(super) in_time: Numbers,
    gap_timeout: Nanos,
    mark: u64,
    holes: VecDeque<Hole>,
}

impl Seen {
    /// Nothing yet: for this many lines, and messages 1 to `max`.
    pub(super) fn new(lines: usize, max: u64, gap_timeout: Nanos) -> Seen {
        let line = LineSeen { numbers: Numbers::none_of(max), mark: 1, datagrams: 0 };
        Seen {
            lines: vec![line; lines],
            in_time: Numbers::none_of(max),
            gap_timeout,
            mark: 1,
            holes: VecDeque::with_capacity(1_024),
        }
    }

    /// Records a frame that the arbiter is given.
    #[inline]
    pub(super) fn frame(&mut self, stamp: Nanos, line: Line, frame: &Frame<'_>) {
        let count = if frame.kind == FrameKind::Data { u64::from(frame.count) } else { 0 };
        let end = frame.sequence + count;
        // a deadline at a stamp fires before the stamp's frame (ARBITRATION 1.3)
        while self.holes.front().is_some_and(|hole| hole.opened + self.gap_timeout <= stamp) {
            self.holes.pop_front();
        }
        if frame.sequence > self.mark {
            self.holes.push_back(Hole { first: self.mark, end: frame.sequence, opened: stamp });
        }
        let line = &mut self.lines[line.index()];
        line.datagrams += 1;
        line.mark = line.mark.max(end);
        for number in frame.sequence..end {
            if line.numbers.add(number) && (number >= self.mark || in_hole(&self.holes, number)) {
                self.in_time.add(number);
            }
        }
        self.mark = self.mark.max(end);
    }

    /// Whether any line brought this number.
    pub(super) fn came(&self, number: u64) -> bool {
        self.lines.iter().any(|line| line.numbers.has(number))
    }
}

fn in_hole(holes: &VecDeque<Hole>, number: u64) -> bool {
    let at = holes.partition_point(|hole| hole.end <= number);
    holes.get(at).is_some_and(|hole| hole.first <= number)
}

#[cfg(test)]
mod tests {
    use super::*;
    use twinline_core::frame::Session;
    use twinline_core::framing::{Framing, MoldUdp64};

    const A: Line = Line(0);
    const B: Line = Line(1);

    fn give(seen: &mut Seen, ms: u64, line: Line, first: u64, count: usize) {
        let mut bytes = Vec::new();
        if count == 0 {
            MoldUdp64.encode_heartbeat(Session::text(b"S"), first, &mut bytes);
        } else {
            MoldUdp64.encode(Session::text(b"S"), first, &vec![b"m".as_slice(); count], 1_400, &mut bytes);
        }
        let frame = MoldUdp64.frame(&bytes, &mut 0).unwrap().unwrap();
        seen.frame(Nanos::from_millis(ms), line, &frame);
    }

    fn in_time(seen: &Seen) -> Vec<u64> {
        (1..=20).filter(|&number| seen.in_time.has(number)).collect()
    }

    #[test]
    fn numbers_are_a_set() {
        let mut numbers = Numbers::none_of(64);
        assert!(numbers.add(1) && numbers.add(64) && !numbers.add(64) && !numbers.add(65) && !numbers.add(0));
        assert!(numbers.has(1) && numbers.has(64) && !numbers.has(2) && !numbers.has(65));
        assert_eq!(numbers.count(), 2);
    }

    #[test]
    fn in_time_is_told_from_late() {
        let mut seen = Seen::new(2, 20, Nanos::from_millis(50));
        give(&mut seen, 0, A, 1, 2);
        give(&mut seen, 10, A, 6, 1);
        give(&mut seen, 20, B, 1, 3);
        give(&mut seen, 59, B, 4, 1);
        give(&mut seen, 60, B, 5, 1);
        assert_eq!(in_time(&seen), [1, 2, 3, 4, 6], "5 came when its deadline fired");
        assert!(seen.came(5) && !seen.came(7));
        assert_eq!((seen.lines[0].missing(), seen.lines[1].missing()), (3, 0));
    }

    #[test]
    fn a_heartbeat_opens_a_hole_too() {
        let mut seen = Seen::new(2, 20, Nanos::from_millis(50));
        give(&mut seen, 0, A, 4, 0);
        give(&mut seen, 40, B, 1, 1);
        give(&mut seen, 50, B, 2, 2);
        give(&mut seen, 51, A, 4, 2);
        assert_eq!(in_time(&seen), [1, 4, 5]);
    }
}
