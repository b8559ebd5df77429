//! Putting captures back on the wire: every line on its own, at the recorded times, without drift.
//!
//! ```text
//!  Captures -> [a thread reads ahead, bounded] -> replay: due = start + (stamp - first stamp) / speed -> Wire
//! ```
//!
//! Due times are absolute: one late datagram does not make the next one late. Each datagram's payload leaves byte for byte, in the order of
//! the captures. At full speed ([`Speed::Max`]), that order is kept within each line. Across lines, datagrams of one window of at
//! most 256 may change places, which is the price of sending many with one system call.
//!
//! Memory does not grow with the captures. What the wire does not take is counted by reason, and not sent again.

mod ahead;
mod drift;
mod report;
mod route;

use std::io;
use std::time::Duration;

use crate::capture::{CaptureError, Captures};
use crate::os::{Clock, SEND_BATCH, Stop};
use crate::publisher::DueClock;
use crate::wire::{Wire, is_transient};
use twinline_core::Nanos;
use twinline_core::frame::{LINES_MAX, Line};

use ahead::{Ahead, Chunk, Entry, Next};

pub use ahead::ReadFacts;
pub use drift::Drift;
pub use report::{ReplayReport, ReplayedLine};
pub use route::{RouteError, route};

/// How often the caller is told about progress.
const TELL_EVERY: Nanos = Nanos::from_millis(100);
/// The longest wait for the reading thread, so that a request to stop is noticed.
const READ_WAIT: Duration = Duration::from_millis(5);

/// At full speed, a datagram may only be overtaken by those of other lines in the same window of this many.
const WINDOW: usize = 4 * SEND_BATCH;

/// How fast to replay.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Speed {
    /// This many times as fast as recorded: finite and above zero.
    Times(f64),
    /// As fast as the wire takes it.
    Max,
}

/// Turns recording times into due times of a replay that begins at zero.
#[derive(Clone, Copy, Debug)]
struct Schedule {
    /// When the first datagram was recorded.
    first: Nanos,
    /// `None`: full speed.
    times: Option<f64>,
}

impl Schedule {
    fn new(speed: Speed, first: Nanos) -> Schedule {
        let times = match speed {
            Speed::Times(times) => Some(times),
            Speed::Max => None,
        };
        Schedule { first, times }
    }

    /// How long after the first something was recorded.
    fn recorded(&self, stamp: Nanos) -> Nanos {
        stamp - self.first
    }

    /// When it is due, exact to the nanosecond for a hundred days; `None` at full speed.
    fn due(&self, stamp: Nanos) -> Option<Nanos> {
        self.times.map(|times| Nanos((self.recorded(stamp).0 as f64 / times) as u64))
    }
}

/// How to replay.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct ReplaySettings {
    /// How many lines the feed of the captures has.
    pub lines: usize,
    /// How fast.
    pub speed: Speed,
    /// Send nothing that is due this long after the start, or later; `None`: send all.
    pub limit: Option<Nanos>,
}

impl ReplaySettings {
    /// A replay of so many lines at this speed, without a limit of time.
    pub fn new(lines: usize, speed: Speed) -> ReplaySettings {
        ReplaySettings { lines, speed, limit: None }
    }
}

/// Why a replay ended early. The report says what was sent by then.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReplayError {
    /// The captures cannot be read any further.
    #[error(transparent)]
    Capture(#[from] CaptureError),
    /// The reading thread cannot be started.
    #[error("cannot start a thread to read the capture: {0}")]
    Thread(io::Error),
    /// A send error that ends the run.
    #[error("cannot send on line {line}, group {group}: {error}", line = .line.index())]
    Wire {
        /// The line, by its position in the feed file.
        line: Line,
        /// The position of the group in the line's list.
        group: u16,
        /// The system's error.
        error: io::Error,
    },
}

/// Sends everything in the captures, beginning now. It ends with the captures, at the limit, or when `stop` is requested.
/// `tell` is called now and then with the progress.
///
/// # Errors
/// [`ReplayError`]. The report says what was sent by then.
pub fn replay(
    captures: Captures,
    wire: &mut impl Wire,
    settings: ReplaySettings,
    clock: Clock,
    stop: &Stop,
    tell: impl FnMut(&ReplayReport),
) -> (ReplayReport, Result<(), ReplayError>) {
    let mut report = ReplayReport::new(settings.lines);
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

/// Datagrams of one line that leave together.
struct Batch<'a> {
    datagrams: [(u16, &'a [u8]); SEND_BATCH],
    count: usize,
}

impl<'a> Batch<'a> {
    const fn new() -> Batch<'a> {
        Batch { datagrams: [(0, &[]); SEND_BATCH], count: 0 }
    }

    /// Adds one; returns whether the batch is full now.
    #[inline]
    fn push(&mut self, group: u16, payload: &'a [u8]) -> bool {
        self.datagrams[self.count] = (group, payload);
        self.count += 1;
        self.count == SEND_BATCH
    }

    fn take(&mut self) -> &[(u16, &'a [u8])] {
        let count = std::mem::take(&mut self.count);
        &self.datagrams[..count]
    }
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
    report: &'a mut ReplayReport,
}

impl<W: Wire, T: FnMut(&ReplayReport)> Replay<'_, W, T> {
    fn run(&mut self, ahead: &Ahead) -> Result<(), ReplayError> {
        // time starts with the first chunk
        let mut started: Option<(DueClock<'_>, Schedule)> = None;
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
                    let schedule = Schedule::new(self.speed, first);
                    let begin = |clock: Clock| (DueClock::new(clock, clock.now(), stop), schedule);
                    let was_running = started.is_some();
                    let (pacer, schedule) = started.get_or_insert_with(|| begin(self.clock));
                    if waited && was_running && schedule.due(first).is_some_and(|due| due < pacer.now()) {
                        self.report.starved += 1;
                    }
                    let go = match self.speed {
                        Speed::Times(_) => self.send_timed(&chunk, pacer, schedule)?,
                        Speed::Max => self.send_flat_out(&chunk, pacer, schedule)?,
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

    /// Sends each datagram at its time; those that are due by then on the same line share a system call.
    fn send_timed(&mut self, chunk: &Chunk, pacer: &DueClock<'_>, schedule: &Schedule) -> Result<Go, ReplayError> {
        let due_of = |entry: &Entry| schedule.due(entry.stamp).unwrap_or_default();
        let mut rest = chunk.entries();
        while let Some(entry) = rest.first() {
            let due = due_of(entry);
            let at = pacer.wait(due.min(self.limit), false);
            if self.is_over(at) || self.stop.requested() {
                return Ok(Go::Home);
            }
            let with_it = |next: &&Entry| next.line == entry.line && due_of(next) <= at;
            let count = 1 + rest[1..].iter().take(SEND_BATCH - 1).take_while(with_it).count();
            let (now, later) = rest.split_at(count);
            let mut batch = Batch::new();
            for entry in now {
                let due = due_of(entry);
                self.report.late(due, at - due);
                batch.push(entry.group, chunk.payload(entry));
            }
            let last = &now[count - 1];
            self.report.passed(at, schedule.recorded(last.stamp), Some(due_of(last)));
            self.send(entry.line, batch.take())?;
            rest = later;
            self.tell(at);
        }
        Ok(Go::On)
    }

    /// Sends each line's datagrams in order, in batches; a batch leaves when it is full, or at the end of the window.
    fn send_flat_out(&mut self, chunk: &Chunk, pacer: &DueClock<'_>, schedule: &Schedule) -> Result<Go, ReplayError> {
        let lines = self.report.lines.len();
        let mut batches = [const { Batch::new() }; LINES_MAX];
        let last = chunk.entries().len().saturating_sub(1);
        for (at, entry) in chunk.entries().iter().enumerate() {
            let line = entry.line.index();
            let full = batches[line].push(entry.group, chunk.payload(entry));
            let leaving =
                if at == last || (at + 1).is_multiple_of(WINDOW) { 0..lines } else { line..line + usize::from(full) };
            for line in leaving {
                let at = pacer.now();
                if self.is_over(at) || self.stop.requested() {
                    return Ok(Go::Home);
                }
                self.send(Line(line as u8), batches[line].take())?;
                self.report.passed(pacer.now(), schedule.recorded(entry.stamp), None);
                self.tell(at);
            }
        }
        Ok(Go::On)
    }

    /// Sends each datagram, or counts it as not sent.
    fn send(&mut self, line: Line, mut datagrams: &[(u16, &[u8])]) -> Result<(), ReplayError> {
        let tally = &mut self.report.lines[line.index()];
        while let Some(&(group, _)) = datagrams.first() {
            let (sent, result) = self.wire.send_line(line, datagrams);
            let (left, rest) = datagrams.split_at(sent);
            tally.datagrams += sent as u64;
            tally.bytes += left.iter().map(|(_, payload)| payload.len() as u64).sum::<u64>();
            match result {
                Ok(()) => return Ok(()),
                Err(error) if is_transient(&error) => {
                    tally.fail(&error);
                    datagrams = rest.get(1..).unwrap_or_default();
                }
                Err(error) => {
                    let group = rest.first().map_or(group, |(group, _)| *group);
                    return Err(ReplayError::Wire { line, group, error });
                }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capture::{CaptureInput, CaptureWriter};
    use crate::config::Feed;

    /// When each datagram of a capture is due, by line.
    fn dues(captures: Captures, speed: Speed) -> Vec<(u8, Option<u64>)> {
        let ahead = Ahead::spawn(captures).unwrap();
        let (mut schedule, mut dues) = (None, Vec::new());
        loop {
            match ahead.next(READ_WAIT) {
                Next::Chunk(chunk) => {
                    let schedule = schedule.get_or_insert_with(|| Schedule::new(speed, chunk.entries()[0].stamp));
                    dues.extend(chunk.entries().iter().map(|e| (e.line.0, schedule.due(e.stamp).map(|due| due.0))));
                }
                Next::Waiting => {}
                Next::Ended(_, result) => {
                    result.unwrap();
                    return dues;
                }
            }
        }
    }

    #[test]
    fn the_recorded_skew_between_lines_is_in_the_due_times_to_the_nanosecond() {
        let feed = "name = \"x\"\nframing = \"moldudp64\"\n\
                    [[line]]\nname = \"A\"\ngroups = [\"239.1.1.1:1\"]\ninterface = \"127.0.0.1\"\n\
                    [[line]]\nname = \"B\"\ngroups = [\"239.1.2.1:1\"]\ninterface = \"127.0.0.1\"\n";
        let feed = Feed::parse(feed).unwrap();
        let path = std::env::temp_dir().join(format!("twinline-skew-{}.pcapng", std::process::id()));
        let mut writer = CaptureWriter::create(&path, &feed).unwrap();
        let sender = "10.0.0.9:5000".parse().unwrap();
        let mut rng = fastrand::Rng::with_seed(7);
        let mut recorded = Vec::new();
        // a day long, at odd nanoseconds; B follows A by 1 ns to 250 us
        for n in 0..2_000_u64 {
            let at = n * 43_200_000_017;
            recorded.extend([(0, at), (1, at + rng.u64(1..250_000))]);
        }
        for (line, at) in &recorded {
            let stamp = Nanos::from_secs(1_700_000_000) + Nanos(*at);
            writer.write(stamp, Line(*line), sender, feed.lines[usize::from(*line)].groups[0], b"x").unwrap();
        }
        writer.finish(Nanos::from_secs(1_800_000_000), &[]).unwrap();
        let open = || Captures::open(&[CaptureInput { line: None, path: path.clone() }], &feed).unwrap();
        let (once, tenfold, flat_out) = (open(), open(), open());
        let _ = std::fs::remove_file(&path);
        let expected = |times: u64| -> Vec<_> { recorded.iter().map(|(line, at)| (*line, Some(at / times))).collect() };
        assert!(dues(once, Speed::Times(1.0)) == expected(1));
        assert!(dues(tenfold, Speed::Times(10.0)) == expected(10));
        assert!(dues(flat_out, Speed::Max).iter().all(|(_, due)| due.is_none()));
    }
}
