//! The sender: a plan, a clock, and the wire.
//!
//! Due times are absolute, so nothing drifts: a late datagram leaves at once, and its lateness is measured against its own due
//! time, not against the datagram before it.

use std::io;

use hdrhistogram::Histogram;

use crate::os::{Clock, Stop};
use twinline_core::Nanos;
use twinline_core::frame::{FrameKind, Line};
use twinline_core::framing::Framing;

use super::messages::{MessageSource, MessageWarning};
use super::pace::{DueClock, LATENESS_MAX};
use super::truth::Truth;
use super::{Plan, PlanError, PlanStep, Rate};
use crate::fault::FaultCounts;

use crate::wire::{Wire, is_transient};

/// How often the caller is told about progress.
const TELL_EVERY: Nanos = Nanos::from_millis(100);
/// How many of a source's warnings are kept.
pub const WARNINGS_MAX: usize = 100;

/// Why sending ended early.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SendingError {
    /// The plan's error.
    #[error(transparent)]
    Plan(#[from] PlanError),
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

/// What left on one line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct PublishedLine {
    /// Datagrams, including second copies.
    pub datagrams: u64,
    /// Messages, without those of second copies; a heartbeat that consumes a number is one.
    pub messages: u64,
    /// Bytes of UDP payload.
    pub bytes: u64,
    /// Heartbeats.
    pub heartbeats: u64,
    /// Sends that failed.
    pub errors: u64,
    /// Why the last of them failed.
    pub last_error: Option<String>,
    /// What the plan did to the line.
    pub planned: FaultCounts,
}

/// What was sent, how late, and what was lost.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct PublishReport {
    /// By line.
    pub lines: Vec<PublishedLine>,
    /// Messages taken from the source.
    pub messages: u64,
    /// From the plan's start until the last message was sent.
    pub elapsed: Nanos,
    /// Nanoseconds from each datagram's due time until it was sent; empty at [`Rate::Max`].
    pub lateness: Histogram<u64>,
    /// Which numbers were sent where.
    pub truth: Truth,
    /// Whether it was asked to stop.
    pub stopped: bool,
    /// The source's warnings: the first [`WARNINGS_MAX`].
    pub warnings: Vec<MessageWarning>,
    /// How many more it had.
    pub warnings_omitted: u64,
}

impl PublishReport {
    /// Takes over the plan's counts and warnings.
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

    /// Messages per second over that time.
    pub fn rate(&self) -> f64 {
        if self.elapsed == Nanos::ZERO { 0.0 } else { self.messages as f64 * 1e9 / self.elapsed.0 as f64 }
    }
}

/// Sends all of a plan. The plan's zero is the moment of the call. `tell` is called now and then with the progress.
///
/// # Errors
/// [`SendingError`]: the plan's error, or a send error that is not transient. The report says what was sent by then.
pub fn send<F: Framing, S: MessageSource>(
    plan: &mut Plan<F, S>,
    wire: &mut impl Wire,
    clock: Clock,
    stop: &Stop,
    tell: impl FnMut(&PublishReport),
) -> (PublishReport, Result<(), SendingError>) {
    let start = clock.now() - plan.config().start;
    send_from(plan, wire, clock, start, stop, tell)
}

/// Like [`send`], but the plan's zero is this reading of the clock, now or in the past, so that the caller knows when each message
/// was due.
///
/// # Errors
/// As [`send`].
pub fn send_from<F: Framing, S: MessageSource>(
    plan: &mut Plan<F, S>,
    wire: &mut impl Wire,
    clock: Clock,
    start: Nanos,
    stop: &Stop,
    mut tell: impl FnMut(&PublishReport),
) -> (PublishReport, Result<(), SendingError>) {
    let lines = plan.config().lines.len();
    let mut report = PublishReport {
        lines: vec![PublishedLine::default(); lines],
        messages: 0,
        elapsed: Nanos::ZERO,
        lateness: Histogram::new_with_bounds(1, LATENESS_MAX.0, 3).unwrap_or_else(|_| unreachable!("valid bounds")),
        truth: plan.truth(),
        stopped: false,
        warnings: Vec::new(),
        warnings_omitted: 0,
    };
    let result = run(plan, wire, &DueClock::new(clock, start, stop), &mut report, &mut tell);
    report.look(plan);
    for (line, tally) in report.lines.iter_mut().enumerate() {
        tally.planned = plan.counts(Line(line as u8));
    }
    (report, result)
}

fn run<F: Framing, S: MessageSource>(
    plan: &mut Plan<F, S>,
    wire: &mut impl Wire,
    pacer: &DueClock<'_>,
    report: &mut PublishReport,
    tell: &mut impl FnMut(&PublishReport),
) -> Result<(), SendingError> {
    let begun = plan.config().start;
    // at the maximum rate, datagrams have no due time
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
            PlanStep::Datagram(datagram) => datagram,
            PlanStep::Idle(until) => {
                pacer.wait(until, report.stopped);
                continue;
            }
            PlanStep::Ended => return Ok(()),
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
            Err(error) if is_transient(&error) => {
                tally.errors += 1;
                tally.last_error = Some(error.to_string());
            }
            Err(error) => return Err(SendingError::Wire { line: datagram.line, group: datagram.group, error }),
        }
    }
}
