//! Judges what the client read against what was sent. It trusts nothing that the arbiter says: not the numbers, not the bytes,
//! and not that a missing message was lost.

use twinline_client::{Item, Message, Overrun};
use twinline_core::SeqRange;
use twinline_core::arbiter::{Event, EventKind, LineState, Loss};
use twinline_node::publisher::MadeUp;

use super::schedule::NAMES;
use super::seen::{Numbers, Seen};

/// How many numbers of each violation are named.
const NAMED_MAX: usize = 5;

/// What must not happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Violation {
    /// A message was delivered again.
    Repeated,
    /// A message, or a report of a loss, came after its place.
    OutOfOrder,
    /// A message is not the one that was sent under its number, byte for byte.
    Altered,
    /// A message was not delivered, and nothing reported it.
    Unreported,
    /// A message was not delivered, although the arbiter was given it in time.
    Undelivered,
}

impl Violation {
    pub(super) const ALL: [Violation; 5] =
        [Violation::Repeated, Violation::OutOfOrder, Violation::Altered, Violation::Unreported, Violation::Undelivered];

    /// The word in JSON.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Violation::Repeated => "repeated",
            Violation::OutOfOrder => "out_of_order",
            Violation::Altered => "altered",
            Violation::Unreported => "missing_without_report",
            Violation::Undelivered => "received_but_not_delivered",
        }
    }

    /// The words in the report.
    pub(super) const fn says(self) -> &'static str {
        match self {
            Violation::Repeated => "delivered more than once",
            Violation::OutOfOrder => "delivered or reported out of order",
            Violation::Altered => "altered, or never sent",
            Violation::Unreported => "missing without a report",
            Violation::Undelivered => "received within the gap timeout but not delivered",
        }
    }
}

/// How often a violation was found, and the first numbers that it affects.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) count: u64,
    pub(super) first: Vec<u64>,
}

/// Every violation that was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Violations([Found; Violation::ALL.len()]);

impl Violations {
    fn add(&mut self, violation: Violation, number: u64) {
        let found = &mut self.0[violation as usize];
        found.count += 1;
        if found.first.len() < NAMED_MAX {
            found.first.push(number);
        }
    }

    pub(super) fn of(&self, violation: Violation) -> &Found {
        &self.0[violation as usize]
    }

    /// Whether there are none.
    pub(super) fn none(&self) -> bool {
        self.0.iter().all(|found| found.count == 0)
    }

    /// The program's exit code.
    pub(super) fn exit_code(&self) -> u8 {
        u8::from(!self.none())
    }
}

/// What the client's stream said about gaps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Gaps {
    pub(super) opened: u64,
    /// Numbers in those gaps.
    pub(super) numbers: u64,
    /// Numbers that arrived after all, per line.
    pub(super) filled: [u64; NAMES.len()],
    /// Numbers that were given up as lost.
    pub(super) lost: u64,
}

/// Reads a client's stream of messages 1 to a limit.
#[derive(Clone, Debug)]
pub(super) struct Checker {
    next: u64,
    delivered: Numbers,
    reported: Numbers,
    overrun: Numbers,
    violations: Violations,
    pub(super) gaps: Gaps,
    /// Messages delivered, per line that brought them.
    pub(super) first: [u64; NAMES.len()],
    pub(super) states: [LineState; NAMES.len()],
    pub(super) overruns: u64,
}

impl Checker {
    /// Before the first message.
    pub(super) fn new(max: u64) -> Checker {
        let none = Numbers::none_of(max);
        Checker {
            next: 1,
            delivered: none.clone(),
            reported: none.clone(),
            overrun: none,
            violations: Violations::default(),
            gaps: Gaps::default(),
            first: [0; NAMES.len()],
            states: [LineState::Waiting; NAMES.len()],
            overruns: 0,
        }
    }

    /// How many different messages were delivered.
    pub(super) fn delivered(&self) -> u64 {
        self.delivered.count()
    }

    /// Reads the next item. For a message that is the one that was sent, returns its index.
    #[inline]
    pub(super) fn read(&mut self, item: &Item<'_>) -> Option<u64> {
        match item {
            Item::Message(message) => return self.message(message),
            Item::Loss(loss) => self.loss(loss),
            Item::Event(event) => self.event(event),
            Item::Overrun(overrun) => self.overrun(overrun),
            // only in the first-copy output
            Item::Jump(_) => {}
        }
        None
    }

    #[inline]
    fn message(&mut self, message: &Message<'_>) -> Option<u64> {
        let number = message.sequence.0;
        let index = MadeUp::check(message.bytes).filter(|&index| index + 1 == number);
        let sent = index.is_some() && number <= self.delivered.max() && !message.flags.unsequenced;
        if !sent {
            self.violations.add(Violation::Altered, number);
        }
        if !self.delivered.add(number) {
            // a number beyond all that was sent is already reported as altered
            if number <= self.delivered.max() {
                self.violations.add(Violation::Repeated, number);
            }
        } else if number < self.next {
            self.violations.add(Violation::OutOfOrder, number);
        }
        if let Some(first) = self.first.get_mut(message.line.index()) {
            *first += 1;
        }
        self.next = self.next.max(number.saturating_add(1));
        index.filter(|_| sent)
    }

    fn loss(&mut self, loss: &Loss) {
        self.gaps.lost += loss.range.len();
        if loss.range.first.0 < self.next {
            self.violations.add(Violation::OutOfOrder, loss.range.first.0);
        }
        self.pass_over(loss.range, |checker| &mut checker.reported);
    }

    fn overrun(&mut self, overrun: &Overrun) {
        self.overruns += 1;
        self.pass_over(overrun.range, |checker| &mut checker.overrun);
    }

    fn pass_over(&mut self, range: SeqRange, of: impl Fn(&mut Checker) -> &mut Numbers) {
        let numbers = of(self);
        let end = range.end.0.min(numbers.max() + 1);
        (range.first.0..end).for_each(|number| {
            numbers.add(number);
        });
        self.next = self.next.max(end);
    }

    fn event(&mut self, event: &Event) {
        match event.kind {
            EventKind::Gap { range, .. } => {
                self.gaps.opened += 1;
                self.gaps.numbers += range.len();
            }
            EventKind::Filled { range, line, .. } => {
                if let Some(filled) = self.gaps.filled.get_mut(line.index()) {
                    *filled += range.len();
                }
            }
            EventKind::Line { line, to, .. } => {
                if let Some(state) = self.states.get_mut(line.index()) {
                    *state = to;
                }
            }
            _ => {}
        }
    }

    /// The judgement once everything is read: `sent` messages were sent, and the arbiter was given what `seen` records.
    pub(super) fn judge(mut self, sent: u64, seen: &Seen) -> Judgement {
        let (mut overrun, mut late, mut never_came) = (0, 0, 0);
        for number in 1..=sent {
            let came = seen.came(number);
            never_came += u64::from(!came);
            if self.delivered.has(number) {
                continue;
            }
            if self.overrun.has(number) {
                overrun += 1;
                continue;
            }
            if !self.reported.has(number) {
                self.violations.add(Violation::Unreported, number);
            }
            if seen.in_time.has(number) {
                self.violations.add(Violation::Undelivered, number);
            }
            late += u64::from(came && !seen.in_time.has(number));
        }
        Judgement {
            delivered: self.delivered.count(),
            reported: self.reported.count(),
            overrun,
            late,
            never_came,
            violations: self.violations,
        }
    }
}

/// What became of the messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Judgement {
    /// Different messages that the client read.
    pub(super) delivered: u64,
    /// Numbers that were reported to it as lost.
    pub(super) reported: u64,
    /// Numbers that it missed because it was too slow.
    pub(super) overrun: u64,
    /// Numbers that arrived only after they had been given up.
    pub(super) late: u64,
    /// Numbers that no line brought.
    pub(super) never_came: u64,
    pub(super) violations: Violations,
}

#[cfg(test)]
mod tests;
