//! Judges what the client read against what was sent. It takes nothing from the arbiter on trust: not the numbers, not the
//! bytes, not that what is missing was lost.

use twinline_client::{Item, Message, Overrun};
use twinline_core::SeqRange;
use twinline_core::arbiter::{Event, EventKind, LineState, Loss};
use twinline_node::publisher::made_up::MadeUp;

use super::schedule::NAMES;
use super::seen::{Numbers, Seen};

/// How many numbers of each fault are named.
const NAMED_MAX: usize = 5;

/// What must not happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// A message came again.
    Repeated,
    /// A message, or a report of a loss, came behind its place.
    OutOfOrder,
    /// A message is not the one that was sent under its number, byte for byte.
    Altered,
    /// A message did not come, and nothing was said of it.
    Unreported,
    /// A message did not come, though the arbiter was given it in time.
    Undelivered,
}

impl Fault {
    pub(super) const ALL: [Fault; 5] =
        [Fault::Repeated, Fault::OutOfOrder, Fault::Altered, Fault::Unreported, Fault::Undelivered];

    /// The word in JSON.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Fault::Repeated => "repeated",
            Fault::OutOfOrder => "out_of_order",
            Fault::Altered => "altered",
            Fault::Unreported => "missing_without_report",
            Fault::Undelivered => "received_but_not_delivered",
        }
    }

    /// The words for people.
    pub(super) const fn says(self) -> &'static str {
        match self {
            Fault::Repeated => "delivered more than once",
            Fault::OutOfOrder => "delivered or reported out of order",
            Fault::Altered => "altered, or never sent",
            Fault::Unreported => "missing without a report",
            Fault::Undelivered => "received within the gap timeout and not delivered",
        }
    }
}

/// How often a fault was found, and the first numbers that have it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) count: u64,
    pub(super) first: Vec<u64>,
}

/// Every fault that was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Faults([Found; Fault::ALL.len()]);

impl Faults {
    fn add(&mut self, fault: Fault, number: u64) {
        let found = &mut self.0[fault as usize];
        found.count += 1;
        if found.first.len() < NAMED_MAX {
            found.first.push(number);
        }
    }

    pub(super) fn of(&self, fault: Fault) -> &Found {
        &self.0[fault as usize]
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

/// What the client's stream said of gaps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Gaps {
    pub(super) opened: u64,
    /// Numbers that they held.
    pub(super) numbers: u64,
    /// Numbers that were brought after all, by line.
    pub(super) filled: [u64; NAMES.len()],
    /// Numbers that were given up.
    pub(super) lost: u64,
}

/// Reads a client's stream of messages 1 to a limit.
#[derive(Clone, Debug)]
pub(super) struct Checker {
    next: u64,
    delivered: Numbers,
    reported: Numbers,
    overrun: Numbers,
    faults: Faults,
    pub(super) gaps: Gaps,
    /// Messages delivered, by the line that brought them.
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
            faults: Faults::default(),
            gaps: Gaps::default(),
            first: [0; NAMES.len()],
            states: [LineState::Waiting; NAMES.len()],
            overruns: 0,
        }
    }

    /// How many different messages came.
    pub(super) fn delivered(&self) -> u64 {
        self.delivered.count()
    }

    /// The next of the stream; of a message that it is the one that was sent, its index.
    #[inline]
    pub(super) fn read(&mut self, item: &Item<'_>) -> Option<u64> {
        match item {
            Item::Message(message) => return self.message(message),
            Item::Loss(loss) => self.loss(loss),
            Item::Event(event) => self.event(event),
            Item::Overrun(overrun) => self.overrun(overrun),
            // of the first-copy output alone
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
            self.faults.add(Fault::Altered, number);
        }
        if !self.delivered.add(number) {
            // one beyond all that is sent is altered, and said to be
            if number <= self.delivered.max() {
                self.faults.add(Fault::Repeated, number);
            }
        } else if number < self.next {
            self.faults.add(Fault::OutOfOrder, number);
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
            self.faults.add(Fault::OutOfOrder, loss.range.first.0);
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

    /// The judgement, once all is read: `sent` messages were sent, and the arbiter was given what `seen` has.
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
                self.faults.add(Fault::Unreported, number);
            }
            if seen.in_time.has(number) {
                self.faults.add(Fault::Undelivered, number);
            }
            late += u64::from(came && !seen.in_time.has(number));
        }
        Judgement {
            delivered: self.delivered.count(),
            reported: self.reported.count(),
            overrun,
            late,
            never_came,
            faults: self.faults,
        }
    }
}

/// What became of the messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Judgement {
    /// Different messages that the client read.
    pub(super) delivered: u64,
    /// Numbers that it was told are lost.
    pub(super) reported: u64,
    /// Numbers that it was too slow for.
    pub(super) overrun: u64,
    /// Numbers that came only after they had been given up.
    pub(super) late: u64,
    /// Numbers that no line brought.
    pub(super) never_came: u64,
    pub(super) faults: Faults,
}

#[cfg(test)]
mod tests;
