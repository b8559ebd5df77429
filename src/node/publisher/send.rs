//! The sender: a plan, a clock, and the wire.
//!
//! Due times are absolute, so nothing drifts: who is late sends at once, and how late each datagram was is measured
//! against the time at which it was due, not against the one before it.

use std::io;

use hdrhistogram::Histogram;

use crate::os::clock::Clock;
use crate::os::signal::Stop;
use twinline_core::frame::{FrameKind, Line};
use twinline_core::framing::Framing;
use twinline_core::time::Nanos;

use super::messages::{MessageSource, Warning};
use super::pace::{LATENESS_MAX, Pacer};
use super::plan::{LineCounts, Plan, PlanError, Rate, Step};
use super::truth::Truth;

use crate::wire::{Wire, is_passing};

/// How often the driver's caller is told how far it is.
const TELL_EVERY: Nanos = Nanos::from_millis(100);
/// How many of a source's warnings are kept.
pub const WARNINGS_MAX: usize = 100;

/// Why sending ended early.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// The plan's.
    #[error(transparent)]
    Plan(#[from] PlanError),
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

/// What left on one line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LineTally {
    /// Datagrams, second copies among them.
    pub datagrams: u64,
    /// Messages, those of second copies not; a heartbeat that consumes a number is one.
    pub messages: u64,
    /// Bytes of UDP payload.
    pub bytes: u64,
    /// Heartbeats.
    pub heartbeats: u64,
    /// Sends that failed.
    pub errors: u64,
    /// What the last of them failed of.
    pub last_error: Option<String>,
    /// What the plan did to the line.
    pub planned: LineCounts,
}

/// What was sent, how late, and what was lost.
#[derive(Clone, Debug)]
pub struct Report {
    /// By line.
    pub lines: Vec<LineTally>,
    /// Messages taken from the source.
    pub messages: u64,
    /// From the plan's start to the send of the last message.
    pub elapsed: Nanos,
    /// Nanoseconds between a datagram's due time and its send.
    pub lateness: Histogram<u64>,
    /// Which numbers were sent where.
    pub truth: Truth,
    /// Whether it was told to stop.
    pub stopped: bool,
    /// What the source had to tell: the first [`WARNINGS_MAX`].
    pub warnings: Vec<Warning>,
    /// How much more it had.
    pub warnings_omitted: u64,
}

impl Report {
    /// Takes over what the plan has to tell.
    fn look<F: Framing, S: MessageSource>(&mut self, plan: &mut Plan<F, S>) {
        self.messages = plan.messages();
        while let Some(warning) = plan.warning() {
            if self.warnings.len() < WARNINGS_MAX {
                self.warnings.push(warning);
            } else {
                self.warnings_omitted += 1;
            }
        }
    }

    /// Messages a second over that time.
    pub fn rate(&self) -> f64 {
        if self.elapsed == Nanos::ZERO { 0.0 } else { self.messages as f64 * 1e9 / self.elapsed.0 as f64 }
    }
}

/// Sends all of a plan. The plan's zero is the moment of the call. `tell` is told now and then how far it is.
///
/// # Errors
/// The plan's, or a send's that cannot pass. What was sent by then is with the error.
pub fn send<F: Framing, S: MessageSource>(
    plan: &mut Plan<F, S>,
    wire: &mut impl Wire,
    clock: Clock,
    stop: &Stop,
    tell: impl FnMut(&Report),
) -> (Report, Result<(), SendError>) {
    let start = clock.now() - plan.config().start;
    send_from(plan, wire, clock, start, stop, tell)
}

/// As [`send`], with the plan's zero at this reading of the clock, now or past: whoever knows it knows when each message was
/// to be sent.
///
/// # Errors
/// As [`send`].
pub fn send_from<F: Framing, S: MessageSource>(
    plan: &mut Plan<F, S>,
    wire: &mut impl Wire,
    clock: Clock,
    start: Nanos,
    stop: &Stop,
    mut tell: impl FnMut(&Report),
) -> (Report, Result<(), SendError>) {
    let lines = plan.config().lines.len();
    let mut report = Report {
        lines: vec![LineTally::default(); lines],
        messages: 0,
        elapsed: Nanos::ZERO,
        lateness: Histogram::new_with_bounds(1, LATENESS_MAX.0, 3).unwrap_or_else(|_| unreachable!("valid bounds")),
        truth: plan.truth(),
        stopped: false,
        warnings: Vec::new(),
        warnings_omitted: 0,
    };
    let result = run(plan, wire, &Pacer::new(clock, start, stop), &mut report, &mut tell);
    report.look(plan);
    for (line, tally) in report.lines.iter_mut().enumerate() {
        tally.planned = plan.counts(Line(line as u8));
    }
    (report, result)
}

fn run<F: Framing, S: MessageSource>(
    plan: &mut Plan<F, S>,
    wire: &mut impl Wire,
    pacer: &Pacer<'_>,
    report: &mut Report,
    tell: &mut impl FnMut(&Report),
) -> Result<(), SendError> {
    let begun = plan.config().start;
    // flat out there is no time at which a datagram ought to have left
    let timed = plan.config().rate != Rate::Max;
    let mut told = begun;
    loop {
        let now = pacer.now();
        if pacer.stop().requested() && !report.stopped {
            report.stopped = true;
            plan.finish(now);
        }
        if now - told >= TELL_EVERY {
            told = now;
            report.look(plan);
            tell(report);
        }
        let datagram = match plan.step(now)? {
            Step::Datagram(datagram) => datagram,
            Step::Idle(until) => {
                pacer.wait(until, report.stopped);
                continue;
            }
            Step::Ended => return Ok(()),
        };
        if datagram.dropped.is_some() {
            report.truth.record(&datagram, false);
            continue;
        }
        let at = pacer.wait(datagram.due, report.stopped);
        let sent = wire.send(datagram.line, datagram.group, datagram.bytes);
        report.truth.record(&datagram, sent.is_ok());
        if datagram.kind == FrameKind::Data {
            report.elapsed = at - begun;
        }
        let tally = &mut report.lines[datagram.line.index()];
        match sent {
            Ok(()) => {
                tally.datagrams += 1;
                tally.bytes += datagram.bytes.len() as u64;
                if !datagram.copy {
                    tally.messages += u64::from(datagram.count);
                    tally.heartbeats += u64::from(datagram.kind == FrameKind::Heartbeat);
                }
                if timed {
                    report.lateness.saturating_record((at - datagram.due).0);
                }
            }
            Err(error) if is_passing(&error) => {
                tally.errors += 1;
                tally.last_error = Some(error.to_string());
            }
            Err(error) => return Err(SendError::Wire { line: datagram.line, group: datagram.group, error }),
        }
    }
}
