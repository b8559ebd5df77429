//! Holds what a forwarder said against what was published and what arrived.
//!
//! The oracle: per run, the set of numbers that arrived on any line while the run was current. A number that had arrived when
//! the output reached it is delivered; any other was reported lost before a copy came, at a time and for a reason that the
//! rules allow. Where the world claims the union, nothing that arrived is lost.
//!
//! What it knows of the rules: where a channel starts (ARBITRATION 4.2), that frames of a run to come wait for it (6.2, 6.6)
//! and those of a run that is over count no more (6.3), and how a line's account is kept (7.1).

use twinline_core::arbiter::{ChannelReport, Event, EventKind, GapTimeout, LineState, LostReason};
use twinline_core::frame::{LINES_MAX, Line};
use twinline_core::{Nanos, SeqRange};

use crate::record::{Input, Messages, Moment, Record, Said};
use crate::verdict::{Complaint, Verdict, hold};
use crate::world::{Claim, World};

const NEVER: Moment = Moment::MAX;

/// One number of one run, by moments.
#[derive(Clone, Copy)]
struct Number {
    /// When the first copy arrived.
    arrived: Moment,
    /// A copy came before the run began, and may have found no room.
    maybe: bool,
    /// When it was released or its loss was said.
    released: Moment,
    lost: Moment,
    gap: Option<usize>,
    filled: bool,
    late: u8,
}

const UNSEEN: Number =
    Number { arrived: NEVER, maybe: false, released: NEVER, lost: NEVER, gap: None, filled: false, late: 0 };

/// A run of numbers, as the forwarder told of it.
struct Epoch {
    run: usize,
    base: u64,
    begun: Moment,
    over: Moment,
    /// What came before it began may have found no room: holds are small.
    loose: bool,
    /// Next number that the ordered output has to say something about.
    cursor: u64,
    /// When the number before the cursor was dealt with.
    dealt: Moment,
    /// One past the highest number in a gap, or delivered.
    gaps_to: u64,
    first_cursor: u64,
    delivered: u64,
    lost: u64,
    ended: bool,
    numbers: Vec<Number>,
    /// By line: one past the highest number shown so far.
    marks: [Option<u64>; LINES_MAX],
    /// Distinct numbers that wait, and their bytes.
    held: (u64, u64),
}

struct Gap {
    opened_at: Nanos,
    opened_by: Line,
}

struct Checker<'a> {
    world: &'a World,
    record: &'a Record,
    epochs: Vec<Epoch>,
    gaps: Vec<Gap>,
    states: [LineState; LINES_MAX],
    /// When each line last brought something genuine.
    heard: [Nanos; LINES_MAX],
    at: Nanos,
    /// A loss for a reason that does not hold: told where nothing else is wrong.
    unfounded: Option<Complaint>,
}

/// Checks a whole record; with the counters, where the forwarder has them.
pub fn check(world: &World, record: &Record, report: Option<&ChannelReport>) -> Verdict {
    let mut checker = Checker {
        world,
        record,
        epochs: Vec::new(),
        gaps: Vec::new(),
        states: [LineState::Waiting; LINES_MAX],
        heard: [Nanos::ZERO; LINES_MAX],
        at: Nanos::ZERO,
        unfounded: None,
    };
    let mut said = record.said.iter().peekable();
    for moment in 0..=2 * world.inputs.len() {
        let input = if moment % 2 == 1 { world.inputs.get(moment / 2) } else { None };
        if let Some(input) = input {
            checker.arrives(moment, input);
        }
        while let Some((_, what)) = said.next_if(|(at, _)| *at == moment) {
            checker.say(moment, what)?;
        }
        checker.held_within_limits()?;
    }
    hold!(said.next().is_none(), "order", "something was said out of turn");
    checker.end()?;
    if let Some(report) = report {
        checker.counters(report)?;
    }
    checker.unfounded.map_or(Ok(()), Err)
}

impl Checker<'_> {
    fn number(&mut self, epoch: usize, n: u64) -> &mut Number {
        let epoch = &mut self.epochs[epoch];
        let first = self.world.runs[epoch.run].first;
        let at = n.checked_sub(first).expect("a run's numbers start at its first") as usize;
        if epoch.numbers.len() <= at {
            epoch.numbers.resize(at + 1, UNSEEN);
        }
        &mut epoch.numbers[at]
    }

    fn current(&self) -> Option<usize> {
        self.epochs.len().checked_sub(1)
    }

    fn input_stamp(&self, moment: Moment) -> Nanos {
        self.world.inputs[(moment / 2).min(self.world.inputs.len() - 1)].stamp
    }

    /// An input of the current run counts at once.
    fn arrives(&mut self, moment: Moment, input: &Input) {
        let Some(shown) = input.truth else { return };
        self.heard[input.line.index()] = input.stamp;
        let Some(epoch) = self.current().filter(|&epoch| self.epochs[epoch].run == shown.run) else { return };
        self.counts(epoch, moment, input);
    }

    fn counts(&mut self, epoch: usize, moment: Moment, input: &Input) {
        let Some(shown) = input.truth else { return };
        let base = self.epochs[epoch].base;
        if shown.end() >= base.max(shown.first) && (shown.count == 0 || shown.end() > base) {
            let mark = &mut self.epochs[epoch].marks[input.line.index()];
            *mark = (*mark).max(Some(shown.end()));
        }
        let maybe = self.epochs[epoch].loose && moment <= self.epochs[epoch].begun;
        for n in shown.first.max(base)..shown.end() {
            let number = self.number(epoch, n);
            if number.arrived != NEVER {
                continue;
            }
            number.maybe |= maybe;
            if maybe {
                continue;
            }
            number.arrived = moment;
            if number.lost == NEVER {
                let bytes = self.published(epoch, n).map_or(0, <[u8]>::len) as u64;
                let held = &mut self.epochs[epoch].held;
                *held = (held.0 + 1, held.1 + bytes);
            }
        }
    }

    fn published(&self, epoch: usize, n: u64) -> Option<&[u8]> {
        self.world.runs[self.epochs[epoch].run].message(n)
    }

    /// A bound on memory (ARBITRATION 5.3): what waits is within the limits whenever an input has been dealt with.
    fn held_within_limits(&self) -> Verdict {
        let Some(epoch) = self.epochs.last().filter(|epoch| !self.world.far && !epoch.loose) else { return Ok(()) };
        let (messages, bytes) = epoch.held;
        let settings = &self.world.settings;
        let within = messages <= settings.hold_messages && bytes <= settings.hold_bytes;
        hold!(within, "hold", "{messages} messages of {bytes} bytes wait");
        Ok(())
    }

    fn say(&mut self, moment: Moment, said: &Said) -> Verdict {
        match said {
            Said::Event(event) => self.event(moment, event),
            Said::Release(messages) => self.release(moment, messages),
            Said::Loss(loss) => {
                let epoch = self.epoch_of(&format!("{loss:?}"))?;
                let SeqRange { first, end } = loss.range;
                hold!(first.0 == self.epochs[epoch].cursor, "order", "{loss:?} at {}", self.epochs[epoch].cursor);
                for n in first.0..end.0 {
                    let number = *self.number(epoch, n);
                    hold!(number.lost != NEVER, "lost", "{n} is a loss in the stream that no event told of");
                    hold!(number.released == NEVER, "once", "{n} is lost and was released");
                }
                self.epochs[epoch].cursor = end.0;
                self.epochs[epoch].dealt = moment;
                Ok(())
            }
            Said::Late(messages) => self.late(moment, messages),
            Said::First(messages) => self.first_copy(messages),
        }
    }

    fn epoch_of(&self, what: &str) -> Result<usize, Complaint> {
        self.current().ok_or_else(|| Complaint { about: "events", what: format!("{what} before any epoch") })
    }

    /// Session, bytes, and that such a frame arrived.
    fn genuine(&mut self, moment: Moment, messages: &Messages) -> Result<usize, Complaint> {
        let epoch = self.epoch_of("messages")?;
        let run = &self.world.runs[self.epochs[epoch].run];
        hold!(same_session(run, messages), "session", "{} in {}", messages.session, run.session);
        let mut count = 0;
        for (n, bytes) in messages.each() {
            count += 1;
            hold!(run.message(n) == Some(bytes), "bytes", "{n} of {} is not what was published", run.session);
            let number = self.number(epoch, n);
            hold!(number.arrived <= moment || number.maybe, "bytes", "{n} has not arrived");
        }
        hold!(count == messages.count, "bytes", "{} messages from {}, not {count}", messages.count, messages.first);
        Ok(epoch)
    }

    fn release(&mut self, moment: Moment, messages: &Messages) -> Verdict {
        let epoch = self.epoch_of("messages")?;
        let cursor = self.epochs[epoch].cursor;
        let first = messages.first;
        if first < cursor {
            let again = self.number(epoch, first).released != NEVER;
            hold!(!again, "once", "{first} is released again");
        }
        hold!(first == cursor, "order", "{first} is released where {cursor} is next");
        self.genuine(moment, messages)?;
        let copy = self.world.inputs[..(moment / 2 + 1).min(self.world.inputs.len())].iter().rev().any(|input| {
            input.stamp == messages.stamp
                && input.line == messages.line
                && input.truth.is_some_and(|shown| shown.first <= first && first + messages.count <= shown.end())
        });
        hold!(copy, "bytes", "{first} came neither by line {} nor at {}", messages.line.0, messages.stamp.0);
        for (n, bytes) in messages.each() {
            let Epoch { begun, dealt, loose, .. } = self.epochs[epoch];
            let number = self.number(epoch, n);
            hold!(number.lost == NEVER, "once", "{n} is released and was lost");
            hold!(number.gap.is_none() || number.filled, "events", "{n} is released out of a gap that is open");
            number.released = moment;
            let due = number.arrived.max(begun).max(dealt);
            hold!(
                moment == due || self.world.far || loose,
                "prompt",
                "{n} is released at {moment} and could have been at {due}"
            );
            self.epochs[epoch].dealt = moment;
            let held = &mut self.epochs[epoch].held;
            *held = (held.0.saturating_sub(1), held.1.saturating_sub(bytes.len() as u64));
        }
        let epoch = &mut self.epochs[epoch];
        epoch.cursor += messages.count;
        epoch.gaps_to = epoch.gaps_to.max(epoch.cursor);
        epoch.delivered += messages.count;
        Ok(())
    }

    fn late(&mut self, moment: Moment, messages: &Messages) -> Verdict {
        let epoch = self.genuine(moment, messages)?;
        for (n, _) in messages.each() {
            let number = self.number(epoch, n);
            hold!(number.lost != NEVER, "late", "{n} is late and was not lost");
            number.late += 1;
            hold!(number.late == 1, "late", "{n} is late again");
        }
        Ok(())
    }

    /// First-copy output: each number above the highest so far, or late.
    fn first_copy(&mut self, messages: &Messages) -> Verdict {
        let epoch = self.epoch_of("messages")?;
        let run = &self.world.runs[self.epochs[epoch].run];
        for (n, bytes) in messages.each() {
            hold!(run.message(n) == Some(bytes), "bytes", "{n} of {} is not what was published", run.session);
        }
        let cursor = &mut self.epochs[epoch].first_cursor;
        let late = messages.flags.late;
        hold!(late == (messages.first < *cursor), "first", "{} where {cursor} is next, late: {late}", messages.first);
        *cursor = (*cursor).max(messages.first + messages.count);
        Ok(())
    }

    fn event(&mut self, moment: Moment, event: &Event) -> Verdict {
        hold!(event.at >= self.at, "events", "{event:?} goes back in time");
        hold!(event.at <= self.input_stamp(moment), "events", "{event:?} is of a time to come");
        self.at = event.at;
        match event.kind {
            EventKind::Epoch { session, first } => self.begin(moment, session, first.0),
            EventKind::EpochEnd { session, next, .. } => {
                let epoch = self.epoch_of("an epoch's end")?;
                self.close(epoch)?;
                let run = &self.world.runs[self.epochs[epoch].run];
                hold!(same_name(run, session), "events", "{event:?} in {}", run.session);
                hold!(next.0 == self.epochs[epoch].cursor, "events", "{event:?} at {}", self.epochs[epoch].cursor);
                self.epochs[epoch].over = moment;
                Ok(())
            }
            EventKind::Ended { session, next } => {
                let epoch = self.epoch_of("an end")?;
                let run = &self.world.runs[self.epochs[epoch].run];
                hold!(same_name(run, session), "events", "{event:?} in {}", run.session);
                let end = run.first + run.messages.len() as u64;
                hold!(next.0 == end && self.epochs[epoch].cursor == end, "events", "{event:?}: the session has {end}");
                hold!(!self.epochs[epoch].ended, "events", "{event:?} again");
                self.epochs[epoch].ended = true;
                Ok(())
            }
            EventKind::Gap { range, line } => self.gap(moment, event.at, range, line),
            EventKind::Filled { range, line, opened_by, opened_at } => {
                let epoch = self.epoch_of("filled")?;
                let brought = |input: &Input| {
                    input.line == line
                        && input.truth.is_some_and(|shown| shown.first <= range.first.0 && range.end.0 <= shown.end())
                };
                let by = match moment % 2 == 1 && self.world.inputs.get(moment / 2).is_some_and(brought) {
                    true => true,
                    // out of the frames that waited
                    false => self.world.inputs[..(moment / 2 + 1).min(self.world.inputs.len())].iter().any(brought),
                };
                hold!(by, "events", "{event:?}, and line {} did not bring it", line.0);
                for n in range.first.0..range.end.0 {
                    let open = self.open_gap(epoch, n, opened_by, opened_at)?;
                    hold!(open, "events", "{event:?}, and there is no such gap");
                    self.number(epoch, n).filled = true;
                }
                Ok(())
            }
            EventKind::Lost { range, reason, opened_by, opened_at } => {
                self.lost(moment, event, range, reason, opened_by, opened_at)
            }
            EventKind::Line { line, from, to, .. } => {
                let state = &mut self.states[line.index()];
                hold!(*state == from && from != to, "events", "{event:?} of a line that is {state:?}");
                *state = to;
                Ok(())
            }
            EventKind::Divergence { .. } => {
                hold!(false, "events", "{event:?}, and the lines' copies are alike, however packed");
                Ok(())
            }
        }
    }

    /// An epoch begins: with the run that comes next in which the frames that waited are.
    fn begin(&mut self, moment: Moment, session: twinline_core::frame::Session, first: u64) -> Verdict {
        let from = self.current().map_or(0, |epoch| self.epochs[epoch].run + 1);
        let over = self.epochs.last().is_none_or(|epoch| epoch.over != NEVER);
        hold!(over, "events", "an epoch begins within another");
        let run = (from..self.world.runs.len()).find(|&run| same_name(&self.world.runs[run], session));
        let Some(run) = run else {
            return Err(Complaint { about: "session", what: format!("{session} was not published, or is over") });
        };
        let base = match self.current() {
            None => self.start(moment).unwrap_or(first),
            Some(_) => self.world.runs[run].first,
        };
        hold!(first == base, "start", "{session} begins at {first} and not at {base}");
        let loose = self.world.claim == Claim::Tight && !self.epochs.is_empty();
        self.epochs.push(Epoch {
            run,
            base,
            begun: moment,
            over: NEVER,
            loose,
            cursor: base,
            dealt: moment,
            gaps_to: base,
            first_cursor: base,
            delivered: 0,
            lost: 0,
            ended: false,
            numbers: Vec::new(),
            marks: [None; LINES_MAX],
            held: (0, 0),
        });
        // what waited for it counts from now on
        let world = self.world;
        let epoch = self.epochs.len() - 1;
        let so_far = &world.inputs[..moment.div_ceil(2)];
        for (i, input) in so_far.iter().enumerate() {
            if input.truth.is_some_and(|shown| shown.run == run) {
                self.counts(epoch, 2 * i + 1, input);
            }
        }
        Ok(())
    }

    /// Where a channel starts (4.2): the lowest number among the first frames that agree.
    fn start(&self, moment: Moment) -> Option<u64> {
        let so_far = &self.world.inputs[..moment.div_ceil(2).min(self.world.inputs.len())];
        let last = so_far.last()?;
        let shown = last.truth?;
        let near = |input: &&Input| {
            input.truth.is_some_and(|other| {
                other.run == shown.run && other.first.abs_diff(shown.first) <= self.world.settings.max_jump
            })
        };
        so_far.iter().filter(near).filter_map(|input| input.truth).map(|other| other.first).min()
    }

    fn gap(&mut self, moment: Moment, at: Nanos, range: SeqRange, line: Line) -> Verdict {
        let epoch = self.epoch_of("a gap")?;
        let far = self.world.far;
        hold!(range.first < range.end, "events", "an empty gap at {}", range.first);
        let begun = self.epochs[epoch].begun;
        for n in range.first.0..range.end.0 {
            let number = *self.number(epoch, n);
            hold!(number.gap.is_none(), "events", "{n} is in two gaps");
            let there = number.arrived < moment && moment != begun && !far;
            hold!(!there && number.released == NEVER, "events", "{n} is in a gap and has arrived");
            self.number(epoch, n).gap = Some(self.gaps.len());
        }
        // a number was shown beyond it, and it is said at once
        let shown = self.world.inputs[..(moment / 2 + 1).min(self.world.inputs.len())].iter().any(|input| {
            input.line == line
                && input.truth.is_some_and(|shown| {
                    shown.run == self.epochs[epoch].run && shown.first <= range.end.0 && range.end.0 <= shown.end()
                })
        });
        hold!(shown, "events", "line {} opened a gap at {range} and showed nothing beyond", line.0);
        self.gaps.push(Gap { opened_at: at, opened_by: line });
        let epoch = &mut self.epochs[epoch];
        hold!(range.first.0 >= epoch.gaps_to, "events", "a gap {range} below what is known");
        epoch.gaps_to = range.end.0;
        Ok(())
    }

    /// Whether `n` is in an open gap that was opened so.
    fn open_gap(&mut self, epoch: usize, n: u64, by: Line, at: Nanos) -> Result<bool, Complaint> {
        let number = *self.number(epoch, n);
        let Some(gap) = number.gap.map(|gap| &self.gaps[gap]) else { return Ok(false) };
        hold!(gap.opened_at == at && gap.opened_by == by, "events", "{n} is in a gap of another time or line");
        Ok(!number.filled && number.lost == NEVER)
    }

    #[allow(clippy::too_many_arguments)]
    fn lost(
        &mut self,
        moment: Moment,
        event: &Event,
        range: SeqRange,
        reason: LostReason,
        opened_by: Line,
        opened_at: Nanos,
    ) -> Verdict {
        let epoch = self.epoch_of("a loss")?;
        // frames that waited for a run to begin are taken one by one: limits may bite before a copy's turn comes
        let limits = matches!(reason, LostReason::Settled | LostReason::Hold | LostReason::Gaps);
        let waited = limits && (moment == self.epochs[epoch].begun || self.world.far);
        for n in range.first.0..range.end.0 {
            let number = *self.number(epoch, n);
            hold!(number.lost == NEVER, "once", "{n} is lost again");
            hold!(self.open_gap(epoch, n, opened_by, opened_at)?, "events", "{event:?}, and there is no such gap");
            hold!(number.arrived == NEVER || waited, "union", "{n} is lost ({}) and has arrived", reason.name());
            if number.arrived != NEVER {
                let bytes = self.published(epoch, n).map_or(0, <[u8]>::len) as u64;
                let held = &mut self.epochs[epoch].held;
                *held = (held.0 - 1, held.1 - bytes);
            }
            self.number(epoch, n).lost = moment;
        }
        self.epochs[epoch].lost += range.len();
        let allowed = self.allowed(epoch, event.at, range, reason, opened_at);
        self.unfounded = self.unfounded.take().or(allowed.err());
        Ok(())
    }

    /// Whether a gap may be given up for this reason now (5.2, 5.3).
    fn allowed(&self, epoch: usize, at: Nanos, range: SeqRange, reason: LostReason, opened_at: Nanos) -> Verdict {
        let settings = &self.world.settings;
        let epoch = &self.epochs[epoch];
        match reason {
            LostReason::Deadline => {
                let waited = at - opened_at;
                let right = match settings.gap_timeout {
                    GapTimeout::After(timeout) => waited == timeout,
                    GapTimeout::Auto => (Nanos::from_micros(200)..=Nanos::from_millis(50)).contains(&waited),
                };
                hold!(right, "deadline", "{range} was waited for {waited}");
            }
            LostReason::Settled => {
                for line in (0..settings.wait.len()).filter(|&line| settings.wait[line]) {
                    let past = epoch.marks[line].is_some_and(|mark| mark >= range.end.0 - 1 + settings.settle);
                    // or it has just fallen silent, which is said after the loss
                    let quiet = at - self.heard[line] >= settings.silent_after;
                    let silent = self.states[line] == LineState::Silent || quiet;
                    hold!(past || silent, "settled", "{range}, and line {line} has shown {:?}", epoch.marks[line]);
                }
            }
            LostReason::Hold => {
                let (messages, bytes) = epoch.held;
                let full = messages > settings.hold_messages || bytes > settings.hold_bytes || epoch.loose;
                hold!(full, "hold", "{range}, and {messages} messages of {bytes} bytes wait");
            }
            LostReason::Gaps => hold!(settings.gaps_max < 65_536, "gaps", "{range}, and the list is not full"),
            LostReason::Epoch | LostReason::Finish => {}
        }
        Ok(())
    }

    /// Nothing of an epoch is open when it is over.
    fn close(&self, epoch: usize) -> Verdict {
        let epoch = &self.epochs[epoch];
        let run = &self.world.runs[epoch.run];
        for (n, number) in (run.first..).zip(&epoch.numbers) {
            if number.gap.is_some() {
                hold!(number.filled != (number.lost != NEVER), "events", "{n} of {}: a gap of no end", run.session);
            }
            if number.filled || number.lost != NEVER || (number.arrived != NEVER && n < epoch.cursor) {
                let dealt = number.lost != NEVER || number.released != NEVER;
                hold!(n < epoch.cursor && dealt, "union", "{n} of {} was not dealt with", run.session);
            }
        }
        Ok(())
    }

    /// The oracle, when all is said.
    fn end(&mut self) -> Verdict {
        if let Some(last) = self.current() {
            self.close(last)?;
        }
        self.every_session_began()?;
        for epoch in &self.epochs {
            let run = &self.world.runs[epoch.run];
            let shown = epoch.marks.iter().flatten().copied().max().unwrap_or(epoch.base).max(epoch.base);
            let exact = !self.world.far && self.world.claim != Claim::Tight;
            hold!(
                if exact { epoch.cursor == shown } else { epoch.cursor <= shown },
                "union",
                "{}: next is {}, and {shown} was shown",
                run.session,
                epoch.cursor
            );
            let (delivered, lost) = (epoch.delivered, epoch.lost);
            hold!(delivered + lost == epoch.cursor - epoch.base, "totals", "{delivered} and {lost} of {}", run.session);
            for (n, number) in (run.first..).zip(&epoch.numbers).take_while(|&(n, _)| n < epoch.cursor) {
                let (arrived, lost) = (number.arrived != NEVER, number.lost != NEVER);
                if n < epoch.base || epoch.loose {
                    continue;
                }
                hold!(arrived || lost, "union", "{n} of {} came on no line and was not lost", run.session);
                hold!(!(arrived && number.released == NEVER && !lost), "union", "{n} arrived and is nowhere");
                if self.world.claim == Claim::Union {
                    hold!(arrived != lost, "union", "{n} of {} arrived and was lost", run.session);
                }
                if self.world.claim != Claim::Tight {
                    let expected = u8::from(lost && arrived);
                    hold!(number.late == expected, "late", "{n} of {} was late {} times", run.session, number.late);
                }
            }
        }
        Ok(())
    }

    /// A session that every line shows at the same time, two frames in a row, takes over (6.2).
    fn every_session_began(&self) -> Verdict {
        // a forged frame of the old session sends a line back to it, and heartbeats that are all alike do not bring it forth
        if self.world.claim == Claim::Tight || self.world.forged {
            return Ok(());
        }
        for run in 0..self.world.runs.len() {
            let of_run = |input: &Input| input.truth.is_some_and(|shown| shown.run == run);
            let mut shown_by_all = 0;
            let mut left_by_one = NEVER;
            for line in 0..self.world.settings.wait.len() {
                let inputs = self.world.inputs.iter().enumerate();
                let inputs: Vec<_> = inputs.filter(|(_, input)| input.line.index() == line).collect();
                let twice = inputs
                    .windows(2)
                    .find(|pair| pair.iter().all(|(_, input)| of_run(input)) && pair[0].1.payload != pair[1].1.payload);
                let last = inputs.iter().rfind(|(_, input)| of_run(input));
                shown_by_all = shown_by_all.max(twice.map_or(NEVER, |pair| pair[1].0));
                left_by_one = left_by_one.min(last.map_or(0, |&(i, _)| i));
            }
            let began = self.epochs.iter().any(|epoch| epoch.run == run);
            let session = self.world.runs[run].session;
            hold!(began || shown_by_all >= left_by_one, "session", "{session}: every line showed it at once");
        }
        Ok(())
    }

    /// The counters: totals, the six fates, and what each line is charged with (7.1).
    fn counters(&self, report: &ChannelReport) -> Verdict {
        hold!(report.epochs.len() == self.epochs.len(), "totals", "{} epochs are listed", report.epochs.len());
        for (told, epoch) in report.epochs.iter().zip(&self.epochs) {
            let told = (told.first.0, told.next.0, told.delivered, told.lost, told.ended);
            let right = (epoch.base, epoch.cursor, epoch.delivered, epoch.lost, epoch.ended);
            hold!(told == right, "totals", "(first, next, delivered, lost, ended) {told:?}, not {right:?}");
        }
        for (line, counts) in report.lines.iter().enumerate().take(self.world.settings.wait.len()) {
            let fates = [
                counts.first_arrivals,
                counts.duplicate,
                counts.late,
                counts.stale,
                counts.before_join,
                counts.implausible,
            ];
            let sum: u64 = fates.iter().sum();
            hold!(counts.messages == sum, "fates", "line {line}: {} messages, {fates:?}", counts.messages);
        }
        let all = |f: fn(&twinline_core::arbiter::LineCounts) -> u64| report.lines.iter().map(f).sum::<u64>();
        let delivered: u64 = self.epochs.iter().map(|epoch| epoch.delivered).sum();
        hold!(all(|counts| counts.first_arrivals) == delivered, "fates", "first arrivals are not {delivered}");
        let late: u64 =
            self.record.said.iter().map(|(_, said)| if let Said::Late(m) = said { m.count } else { 0 }).sum();
        hold!(all(|counts| counts.late) == late, "fates", "late are not {late}");
        if self.world.claim != Claim::Tight {
            self.accounts(report)?;
        }
        Ok(())
    }

    /// Each line's account, worked out from what arrived on it.
    fn accounts(&self, report: &ChannelReport) -> Verdict {
        let lines = self.world.settings.wait.len();
        let mut fates = vec![[0u64; 4]; lines];
        let mut missing = vec![0u64; lines];
        let mut frames = vec![0u64; lines];
        let mut counted = vec![false; self.world.inputs.len()];
        for (at, epoch) in self.epochs.iter().enumerate() {
            let mut seen = vec![false; self.world.runs[epoch.run].messages.len()];
            let first = self.world.runs[epoch.run].first;
            let mut shown_by: Vec<(Option<u64>, u64, Vec<bool>)> = vec![(None, 0, seen.clone()); lines];
            for (i, input) in self.world.inputs.iter().enumerate() {
                let Some(shown) = input.truth.filter(|shown| shown.run == epoch.run) else { continue };
                let moment = 2 * i + 1;
                if moment > epoch.over {
                    continue;
                }
                counted[i] = true;
                let effect = moment.max(epoch.begun);
                let line = input.line.index();
                let whole_below = shown.end() <= epoch.base && (shown.count > 0 || shown.first < epoch.base);
                let (start, mark, own) = &mut shown_by[line];
                if !whole_below {
                    let from = if at == 0 { shown.first.max(epoch.base) } else { epoch.base };
                    start.get_or_insert(from);
                    *mark = (*mark).max(shown.end());
                }
                for n in shown.first..shown.end() {
                    let index = (n - first) as usize;
                    let number = epoch.numbers.get(index).copied().unwrap_or(UNSEEN);
                    let fate = if n < epoch.base {
                        3
                    } else if std::mem::replace(&mut seen[index], true) {
                        1
                    } else if number.lost <= effect {
                        2
                    } else {
                        0
                    };
                    fates[line][fate] += 1;
                    own[index] = true;
                }
            }
            for (line, (start, mark, own)) in shown_by.iter().enumerate() {
                if let Some(start) = *start {
                    missing[line] += (start..*mark).filter(|n| !own[(n - first) as usize]).count() as u64;
                }
            }
        }
        for input in &self.world.inputs {
            frames[input.line.index()] += 1;
        }
        for (line, counts) in report.lines.iter().enumerate().take(lines) {
            let told = [counts.first_arrivals, counts.duplicate, counts.late, counts.before_join];
            if !self.world.far {
                hold!(told == fates[line], "fates", "line {line}: {told:?}, not {:?}", fates[line]);
            }
            let exact = !self.world.far;
            let (told, right) = (counts.missing, missing[line]);
            hold!(!exact || told == right, "missing", "line {line} misses {told}, not {right}");
            hold!(counts.reordered == 0, "missing", "line {line}: {} below the window", counts.reordered);
            hold!(counts.frames <= frames[line], "totals", "line {line}: {} frames", counts.frames);
        }
        Ok(())
    }
}

fn same_name(run: &crate::world::Published, session: twinline_core::frame::Session) -> bool {
    // on the wire a name is padded
    run.session.to_string().trim_end() == session.to_string().trim_end()
}

fn same_session(run: &crate::world::Published, messages: &Messages) -> bool {
    run.session == messages.session || same_name(run, messages.session)
}
