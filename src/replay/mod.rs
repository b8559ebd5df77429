//! Putting a capture back on the wire: every line on its own, at the recorded times, without drift.
//!
//! ```text
//!  Captures -> [a thread reads ahead, bounded] -> replay: due = start + (stamp - first stamp) / speed -> Wire
//! ```
//!
//! Due times are absolute: a datagram that is late makes no other one late. What leaves is each datagram's payload, byte by
//! byte, in the order of the captures. Flat out ([`Speed::Max`]) that order is kept on each line, while across lines
//! datagrams of one batch, 64 at most, may change places: that is what one system call for many costs.
//!
//! Memory does not grow with the captures. What the wire does not take is counted under its kind, and is gone.

mod ahead;
mod report;
mod route;

use std::io;
use std::time::Duration;

use crate::capture::{CaptureError, Captures};
use crate::frame::Line;
use crate::os::clock::Clock;
use crate::os::send::SEND_BATCH;
use crate::os::signal::Stop;
use crate::publisher::pace::Pacer;
use crate::publisher::wire::{Wire, is_passing};
use crate::time::Nanos;

use ahead::{Ahead, Chunk, Entry, Next};

pub use ahead::ReadFacts;
pub use report::{LineTally, Report};
pub use route::{RouteError, route};

/// How often the caller is told how far it is.
const TELL_EVERY: Nanos = Nanos::from_millis(100);
/// The longest wait for the reading thread, so that a wish to stop is seen.
const READ_WAIT: Duration = Duration::from_millis(5);

/// How fast.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Speed {
    /// So many times as fast as recorded: finite and above zero.
    Times(f64),
    /// As fast as the wire takes it.
    Max,
}

impl Speed {
    /// When, by this speed, something is due that was recorded so long after the first; `None` flat out.
    fn due(self, offset: Nanos) -> Option<Nanos> {
        match self {
            // exact to the nanosecond for a hundred days
            Speed::Times(times) => Some(Nanos((offset.0 as f64 / times) as u64)),
            Speed::Max => None,
        }
    }
}

/// What to replay, how.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Settings {
    /// How many lines the feed has that the captures are read with.
    pub lines: usize,
    /// How fast.
    pub speed: Speed,
    /// Nothing is sent that is due so long after the start, or later.
    pub limit: Option<Nanos>,
}

/// Why a replay ended early. What was sent by then stands in the report.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// There is no reading on.
    #[error(transparent)]
    Capture(#[from] CaptureError),
    /// The reading thread cannot be started.
    #[error("cannot start a thread to read the capture: {0}")]
    Thread(io::Error),
    /// A send that cannot be gone on after.
    #[error("cannot send on line {line}, group {group}: {error}", line = .line.index())]
    Wire {
        /// On which line, by its place in the feed file.
        line: Line,
        /// The group's place in the line's list.
        group: u16,
        /// The system's.
        error: io::Error,
    },
}

/// Sends all that the captures hold, the first datagram at once. It ends with the captures, at the limit, or with `stop`.
/// `tell` is told now and then how far it is.
///
/// # Errors
/// [`ReplayError`]. What was sent by then is with the error.
pub fn replay(
    captures: Captures,
    wire: &mut impl Wire,
    settings: Settings,
    clock: Clock,
    stop: &Stop,
    tell: impl FnMut(&Report),
) -> (Report, Result<(), ReplayError>) {
    let mut report = Report::new(settings.lines);
    let result = match Ahead::spawn(captures) {
        Ok(ahead) => {
            let (speed, limit) = (settings.speed, settings.limit.unwrap_or(Nanos::MAX));
            let mut replay = Replay { wire, speed, limit, clock, stop, tell, told: Nanos::ZERO, report: &mut report };
            replay.run(&ahead)
        }
        Err(error) => Err(ReplayError::Thread(error)),
    };
    report.stopped = stop.requested();
    (report, result)
}

/// Whether to go on.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Go {
    On,
    Home,
}

/// A replay under way.
struct Replay<'a, W, T> {
    wire: &'a mut W,
    speed: Speed,
    limit: Nanos,
    clock: Clock,
    stop: &'a Stop,
    tell: T,
    told: Nanos,
    report: &'a mut Report,
}

impl<W: Wire, T: FnMut(&Report)> Replay<'_, W, T> {
    fn run(&mut self, ahead: &Ahead) -> Result<(), ReplayError> {
        // the first chunk starts the time
        let mut started: Option<(Pacer<'_>, Nanos)> = None;
        loop {
            let (next, waited) = match ahead.try_next() {
                Next::Waiting => (ahead.next(READ_WAIT), true),
                next => (next, false),
            };
            match next {
                Next::Chunk(chunk) => {
                    self.report.read.clone_from(chunk.facts());
                    let stop = self.stop;
                    let first = chunk.entries().first().map_or(Nanos::ZERO, |entry| entry.stamp);
                    let begin = |clock: Clock| (Pacer::new(clock, clock.now(), stop), first);
                    let was_running = started.is_some();
                    let (pacer, zero) = started.get_or_insert_with(|| begin(self.clock));
                    if waited && was_running && self.speed.due(first - *zero).is_some_and(|due| due < pacer.now()) {
                        self.report.starved += 1;
                    }
                    let go = match self.speed {
                        Speed::Times(_) => self.send_timed(&chunk, pacer, *zero)?,
                        Speed::Max => self.send_flat_out(&chunk, pacer, *zero)?,
                    };
                    ahead.give_back(chunk);
                    if go == Go::Home {
                        return Ok(());
                    }
                }
                Next::Waiting => {
                    let late = started.as_ref().is_some_and(|(pacer, _)| self.is_over(pacer.now()));
                    if late || self.stop.requested() {
                        return Ok(());
                    }
                }
                Next::Ended(facts, result) => {
                    self.report.read = facts;
                    return Ok(result?);
                }
            }
        }
    }

    /// Each datagram at its time; those that are due by then and go the same way go in one call.
    fn send_timed(&mut self, chunk: &Chunk, pacer: &Pacer<'_>, zero: Nanos) -> Result<Go, ReplayError> {
        let speed = self.speed;
        let due_of = |entry: &Entry| speed.due(entry.stamp - zero).unwrap_or_default();
        let mut rest = chunk.entries();
        while let Some(entry) = rest.first() {
            let due = due_of(entry);
            let at = pacer.wait(due.min(self.limit), false);
            if self.is_over(at) || self.stop.requested() {
                return Ok(Go::Home);
            }
            let with_it = |next: &&Entry| next.line == entry.line && next.group == entry.group && due_of(next) <= at;
            let count = 1 + rest[1..].iter().take(SEND_BATCH - 1).take_while(with_it).count();
            let (now, later) = rest.split_at(count);
            for entry in now {
                self.report.late(at - due_of(entry));
            }
            self.report.passed(at, now[count - 1].stamp - zero, Some(due_of(&now[count - 1])));
            self.send(chunk, entry.line, entry.group, now.iter())?;
            rest = later;
            self.tell(at);
        }
        Ok(Go::On)
    }

    /// Batches of datagrams, line by line; on each line in their order.
    fn send_flat_out(&mut self, chunk: &Chunk, pacer: &Pacer<'_>, zero: Nanos) -> Result<Go, ReplayError> {
        let lines = self.report.lines.len() as u8;
        for window in chunk.entries().chunks(SEND_BATCH) {
            let at = pacer.now();
            if self.is_over(at) || self.stop.requested() {
                return Ok(Go::Home);
            }
            for line in (0..lines).map(Line) {
                let mut of_line = window.iter().filter(|entry| entry.line == line).peekable();
                while let Some(&first) = of_line.peek() {
                    let same = of_line.clone().take_while(|entry| entry.group == first.group);
                    let count = same.clone().count();
                    self.send(chunk, line, first.group, same)?;
                    of_line.nth(count - 1);
                }
            }
            let last = window.last().map_or(Nanos::ZERO, |entry| entry.stamp - zero);
            self.report.passed(pacer.now(), last, None);
            self.tell(at);
        }
        Ok(Go::On)
    }

    /// Sends at most [`SEND_BATCH`] datagrams; each is sent, or counted as not sent.
    fn send<'e>(
        &mut self,
        chunk: &Chunk,
        line: Line,
        group: u16,
        entries: impl Iterator<Item = &'e Entry>,
    ) -> Result<(), ReplayError> {
        let mut payloads = [[].as_slice(); SEND_BATCH];
        let mut count = 0;
        for (payload, entry) in payloads.iter_mut().zip(entries) {
            *payload = chunk.payload(entry);
            count += 1;
        }
        let tally = &mut self.report.lines[line.index()];
        let mut rest = &payloads[..count];
        while !rest.is_empty() {
            let (sent, result) = self.wire.send_batch(line, group, rest);
            tally.datagrams += sent as u64;
            tally.bytes += rest[..sent].iter().map(|payload| payload.len() as u64).sum::<u64>();
            rest = &rest[sent..];
            match result {
                Ok(()) => return Ok(()),
                Err(error) if is_passing(&error) => {
                    tally.fail(&error);
                    rest = rest.get(1..).unwrap_or_default();
                }
                Err(error) => return Err(ReplayError::Wire { line, group, error }),
            }
        }
        Ok(())
    }

    fn is_over(&mut self, at: Nanos) -> bool {
        self.report.limited |= at >= self.limit;
        self.report.limited
    }

    fn tell(&mut self, at: Nanos) {
        if at - self.told >= TELL_EVERY {
            self.told = at;
            (self.tell)(self.report);
        }
    }
}
