//! The plan: numbers, packing, heartbeats, the end of the session, and each line's faults.

use std::collections::VecDeque;
use std::io;

use twinline_core::Nanos;
use twinline_core::frame::Line;
use twinline_core::framing::Framing;

use super::lane::Lanes;
use super::messages::{MessageSource, MessageWarning, Timing};
use super::queue::Datagram;
use super::truth::Truth;

use super::terms::{PlanConfig, PlanError, PlanStep, Planned, Rate};
use crate::fault::FaultCounts;

/// How far a plan looks ahead of its driver's clock. [`Plan::finish`] cannot take back what was planned.
const LOOK_AHEAD: Nanos = Nanos::from_millis(10);
/// How soon to ask a live source again that had nothing.
const ASK_AGAIN: Nanos = Nanos::from_micros(100);
/// The time between messages that go as fast as possible: less than any machine needs for one.
const FLAT_OUT: Nanos = Nanos(10);

/// Where the plan stands in the life of its session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Running,
    /// No more messages; heartbeats until then.
    Lingering(Nanos),
    /// So many ends of session are left, the next at this time.
    Ending(u32, Nanos),
    Ended,
}

/// What may come next. At equal times the first in this order does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    /// A pack has waited long enough.
    Flush,
    Message,
    /// Some group may have been idle long enough.
    Heartbeat,
    /// Messages are over, and what follows them.
    End,
    /// A live source has nothing, and nothing else comes first.
    Waiting,
}

/// [`PlanStep`], with the datagram in [`Plan::current`].
enum Advance {
    Datagram,
    Idle(Nanos),
    Ended,
}

/// What is sent on which line, and when: numbers, packing, heartbeats, the end of the session, and each line's faults.
///
/// A plan is a function of its configuration and its messages. It reads no clock: times are offsets from a start that its driver
/// chooses. Datagrams come out in the order of their due times. Those that a fault loses are among them, and marked.
///
/// All lines carry the same numbers, however they pack: a heartbeat that consumes a number does so on all lines at once.
///
/// What is under way is bounded: if delays would hold more than 65,536 datagrams or 64 MiB, the first one leaves early and is
/// counted ([`FaultCounts::hurried`]).
pub struct Plan<F, S> {
    config: PlanConfig,
    source: S,
    lanes: Lanes<F>,
    /// When each group last sent something.
    spoke: Vec<Nanos>,
    phase: Phase,
    /// The time of the last event: nothing will be planned before it.
    clock: Nanos,
    /// The message that was read ahead, and when it is due.
    ahead: Option<Nanos>,
    message: Vec<u8>,
    wrapped: Vec<u8>,
    messages: u64,
    /// Steady rates count from here: a time, and how many messages there were before it.
    anchor: (Nanos, u64),
    waited: bool,
    /// When open packs have waited long enough: lane and pack; packs that left meanwhile are skipped.
    flushes: VecDeque<(Nanos, usize, u64)>,
    heartbeat: Nanos,
    /// No group is idle for long enough before this.
    heartbeat_due: Nanos,
    current: Option<Datagram>,
    last_due: Nanos,
}

impl<F: Framing, S: MessageSource> Plan<F, S> {
    /// A plan for these messages.
    ///
    /// # Errors
    /// [`PlanError`], for what the configuration must not hold.
    pub fn new(framing: F, config: PlanConfig, source: S) -> Result<Plan<F, S>, PlanError> {
        config.check(framing)?;
        let heartbeat = config.heartbeat.unwrap_or(framing.rules().heartbeat_interval).max(Nanos(1));
        Ok(Plan {
            source,
            lanes: Lanes::new(framing, &config),
            spoke: vec![config.start; config.groups.len()],
            phase: Phase::Running,
            clock: config.start,
            ahead: None,
            message: Vec::new(),
            wrapped: Vec::new(),
            messages: 0,
            anchor: (config.start, 0),
            waited: false,
            flushes: VecDeque::new(),
            heartbeat,
            heartbeat_due: config.start + heartbeat,
            current: None,
            last_due: config.start,
            config,
        })
    }

    /// The next datagram; `None` at the end. For a driver whose time is the plan's own, such as a simulation.
    ///
    /// # Errors
    /// [`PlanError::Source`], with [`io::ErrorKind::WouldBlock`] if a live source has nothing; [`PlanError::TooLong`].
    pub fn next_planned(&mut self) -> Result<Option<Planned<'_>>, PlanError> {
        match self.advance(Nanos::ZERO, Nanos::MAX)? {
            Advance::Datagram => Ok(self.current()),
            Advance::Idle(_) => Err(PlanError::Source(io::ErrorKind::WouldBlock.into())),
            Advance::Ended => Ok(None),
        }
    }

    /// What comes next, for a driver whose clock says `now`: a datagram is handed out a little ahead of its due time.
    ///
    /// # Errors
    /// [`PlanError::Source`]; [`PlanError::TooLong`] for a message that the framing cannot carry.
    pub fn step(&mut self, now: Nanos) -> Result<PlanStep<'_>, PlanError> {
        Ok(match self.advance(now, now + LOOK_AHEAD)? {
            Advance::Datagram => self.current().map_or(PlanStep::Ended, PlanStep::Datagram),
            Advance::Idle(until) => PlanStep::Idle(until),
            Advance::Ended => PlanStep::Ended,
        })
    }

    /// Takes no more messages. What is under way is still sent, then the end of session.
    pub fn finish(&mut self, now: Nanos) {
        let now = self.clock.max(now);
        match self.phase {
            Phase::Running => {
                self.ahead = None;
                self.phase = Phase::Lingering(now);
            }
            Phase::Lingering(until) => self.phase = Phase::Lingering(until.min(now)),
            Phase::Ending(..) | Phase::Ended => {}
        }
    }

    /// A [`Truth`] of nothing sent yet, for the numbers and lines of this plan. Record each datagram in it.
    pub fn truth(&self) -> Truth {
        Truth::new(self.lanes.lines(), self.config.first)
    }

    /// What became of a line's datagrams so far.
    pub fn counts(&self, line: Line) -> FaultCounts {
        self.lanes.counts(line)
    }

    /// How many messages were taken from the source.
    pub fn messages(&self) -> u64 {
        self.messages
    }

    /// When the last datagram that was handed out is due: a plan that follows this one may start there.
    pub fn last_due(&self) -> Nanos {
        self.last_due
    }

    /// How many datagrams are under way now, after those that were handed out.
    pub fn under_way(&self) -> usize {
        self.lanes.queue.len()
    }

    /// The configuration that it was made from.
    pub fn config(&self) -> &PlanConfig {
        &self.config
    }

    /// The source's next warning.
    pub fn warning(&mut self) -> Option<MessageWarning> {
        self.source.warning()
    }

    fn current(&self) -> Option<Planned<'_>> {
        self.current.as_ref().map(|d| Planned {
            due: d.due,
            line: d.line,
            group: d.group,
            kind: d.kind,
            first: d.first,
            count: d.count,
            dropped: d.dropped,
            corrupted: d.corrupted,
            copy: d.copy,
            bytes: &d.bytes,
        })
    }

    /// Goes on until the next datagram is certain, or there is none up to `horizon`.
    fn advance(&mut self, now: Nanos, horizon: Nanos) -> Result<Advance, PlanError> {
        if let Some(datagram) = self.current.take() {
            self.lanes.queue.recycle(datagram);
        }
        loop {
            let upcoming = self.upcoming(now)?;
            let bound = upcoming.map_or(Nanos::MAX, |(at, _)| at);
            if let Some(due) = self.lanes.queue.first_due() {
                let full = self.lanes.queue.is_full();
                // what an event adds goes behind what is already there for the same time
                if due <= bound || full {
                    if due > horizon && !full {
                        return Ok(Advance::Idle(ahead_of(due)));
                    }
                    return Ok(self.hand_out(due > bound));
                }
            }
            match upcoming {
                None => return Ok(Advance::Ended),
                Some((at, Event::Waiting)) => {
                    // a steady rate starts over where the source goes on
                    self.waited = true;
                    self.clock = at;
                    let queued = self.lanes.queue.first_due().unwrap_or(Nanos::MAX);
                    return Ok(Advance::Idle(queued.min(at + ASK_AGAIN)));
                }
                Some((at, _)) if at > horizon => return Ok(Advance::Idle(ahead_of(at))),
                Some((at, event)) => {
                    self.clock = at;
                    self.happen(event)?;
                }
            }
        }
    }

    /// Takes the first datagram out of the queue; one that is `hurried` leaves before its time.
    fn hand_out(&mut self, hurried: bool) -> Advance {
        let Some(mut datagram) = self.lanes.queue.pop() else { return Advance::Ended };
        if hurried {
            datagram.due = self.clock.max(self.last_due);
            self.lanes.hurry(datagram.line);
        }
        self.last_due = datagram.due;
        self.current = Some(datagram);
        Advance::Datagram
    }

    /// What happens next, and when: never before [`Plan::clock`].
    fn upcoming(&mut self, now: Nanos) -> Result<Option<(Nanos, Event)>, PlanError> {
        if self.phase == Phase::Running {
            self.look_ahead(now)?;
        }
        let phase = match self.phase {
            Phase::Running => match self.ahead {
                Some(due) => (due, Event::Message),
                None => (now.max(self.clock), Event::Waiting),
            },
            Phase::Lingering(until) => (until, Event::End),
            // packs have been flushed, and there are no more heartbeats
            Phase::Ending(_, at) => return Ok(Some((at.max(self.clock), Event::End))),
            Phase::Ended => return Ok(None),
        };
        let flush = self.next_flush().map(|at| (at, Event::Flush));
        let heartbeat = Some((self.heartbeat_due, Event::Heartbeat));
        let first = [flush, heartbeat].into_iter().flatten().fold(phase, Ord::min);
        Ok(Some((first.0.max(self.clock), first.1)))
    }

    /// When the oldest open pack has waited long enough.
    fn next_flush(&mut self) -> Option<Nanos> {
        while let Some(&(at, lane, pack)) = self.flushes.front() {
            if self.lanes.open(lane) == Some(pack) {
                return Some(at);
            }
            self.flushes.pop_front();
        }
        None
    }

    /// Reads a message ahead, if there is one; at the end of the messages the phase changes.
    fn look_ahead(&mut self, now: Nanos) -> Result<(), PlanError> {
        let limit = self.config.limit.map_or(Nanos::MAX, |limit| self.config.start + limit);
        if self.ahead.is_none() {
            match self.source.next(&mut self.message) {
                Ok(Some(timing)) => {
                    self.wrap()?;
                    self.ahead = Some(self.due(timing, now)?);
                }
                Ok(None) => {
                    self.phase = Phase::Lingering(self.clock.max(now) + self.config.linger);
                    return Ok(());
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                Err(e) => return Err(e.into()),
            }
        }
        if self.ahead.unwrap_or(now) >= limit {
            self.ahead = None;
            self.phase = Phase::Lingering(limit + self.config.linger);
        }
        Ok(())
    }

    /// When the message that was just read is due.
    fn due(&mut self, timing: Timing, now: Nanos) -> Result<Nanos, PlanError> {
        let due = match self.config.rate {
            Rate::Max => now.max(self.clock + FLAT_OUT),
            Rate::Recorded => match timing {
                Timing::Recorded(offset) => self.config.start + offset,
                Timing::Untimed => return Err(PlanError::NoTimes),
            },
            Rate::Steady { micro_rate, burst } => {
                if std::mem::take(&mut self.waited) && slot(self.anchor, self.messages, micro_rate, burst) < now {
                    self.anchor = (now, self.messages);
                }
                slot(self.anchor, self.messages, micro_rate, burst)
            }
        };
        Ok(due.max(self.clock))
    }

    fn happen(&mut self, event: Event) -> Result<(), PlanError> {
        match event {
            Event::Flush => {
                if let Some((_, lane, _)) = self.flushes.pop_front() {
                    self.lanes.flush(lane, self.clock)?;
                }
                Ok(())
            }
            Event::Message => self.take_message(),
            Event::Heartbeat => self.beat(),
            Event::End => self.end(),
            Event::Waiting => Ok(()),
        }
    }

    /// Adds to the message that was read the length that the framing's messages carry, if the source's has none.
    fn wrap(&mut self) -> Result<(), PlanError> {
        let packing = self.lanes.framing().packing();
        if self.source.packing() == Some(packing) {
            return Ok(());
        }
        if !packing.wrap(&self.message, &mut self.wrapped) {
            let (number, len) = (self.messages + self.config.first, self.message.len());
            return Err(PlanError::TooLong { number, len, framing: self.lanes.framing().name() });
        }
        std::mem::swap(&mut self.message, &mut self.wrapped);
        Ok(())
    }

    /// The message goes to its group, on every line.
    fn take_message(&mut self) -> Result<(), PlanError> {
        self.ahead = None;
        let group = (self.messages % self.spoke.len() as u64) as usize;
        self.messages += 1;
        self.spoke[group] = self.clock;
        // lines take turns at being first, so that none is favoured when several are due at once
        let (lanes, turn) = (self.lanes_of(group), self.messages as usize % self.lanes.lines());
        for lane in (lanes.start + turn..lanes.end).chain(lanes.start..lanes.start + turn) {
            if self.lanes.add(lane, &self.message, self.clock)?
                && let Some(pack) = self.lanes.open(lane)
            {
                self.flushes.push_back((self.clock + self.config.pack_wait, lane, pack));
            }
        }
        Ok(())
    }

    /// Heartbeats of idle groups, on every line: if they consume a number, the numbers of all lines move.
    fn beat(&mut self) -> Result<(), PlanError> {
        self.heartbeat_due = Nanos::MAX;
        for group in 0..self.spoke.len() {
            if self.spoke[group] + self.heartbeat <= self.clock {
                self.spoke[group] = self.clock;
                for lane in self.lanes_of(group) {
                    self.lanes.flush(lane, self.clock)?;
                    self.lanes.heartbeat(lane, self.clock);
                }
            }
            self.heartbeat_due = self.heartbeat_due.min(self.spoke[group] + self.heartbeat);
        }
        Ok(())
    }

    fn end(&mut self) -> Result<(), PlanError> {
        let left = match self.phase {
            Phase::Ending(left, _) => left,
            _ => {
                for lane in 0..self.lanes.len() {
                    self.lanes.flush(lane, self.clock)?;
                }
                self.config.end_copies
            }
        };
        let mut known = left > 0;
        for lane in 0..self.lanes.len() {
            known = known && self.lanes.end(lane, self.clock);
        }
        self.phase = match left.saturating_sub(1) {
            left if known && left > 0 => Phase::Ending(left, self.clock + self.config.end_interval),
            _ => {
                for lane in 0..self.lanes.len() {
                    self.lanes.release(lane, self.clock);
                }
                Phase::Ended
            }
        };
        Ok(())
    }

    /// The lanes of the group at this position.
    fn lanes_of(&self, group: usize) -> std::ops::Range<usize> {
        let lines = self.lanes.lines();
        group * lines..(group + 1) * lines
    }
}

/// When to ask again for what is due at `due`.
fn ahead_of(due: Nanos) -> Nanos {
    due - Nanos(LOOK_AHEAD.0 / 2)
}

/// When message `n` (from 0) is due at a steady rate. Whole numbers all the way: nothing drifts.
fn slot((anchor, before): (Nanos, u64), n: u64, micro_rate: u64, burst: u32) -> Nanos {
    let n = n - before;
    let in_bursts = u128::from(n - n % u64::from(burst.max(1)));
    let offset = in_bursts * 1_000_000_000_000_000 / u128::from(micro_rate.max(1));
    anchor + Nanos(u64::try_from(offset).unwrap_or(u64::MAX))
}
