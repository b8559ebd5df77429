//! The publisher of a measurement: spins until each datagram is due, stamps it and sends it.

use std::io;

use hdrhistogram::Histogram;

use twinline_core::Nanos;
use twinline_core::frame::FrameKind;
use twinline_core::framing::Framing;
use twinline_node::os::{Clock, Stop};
use twinline_node::publisher::{Plan, PlanError, PlanStep};
use twinline_node::wire::{Wire, is_transient};

use super::latencies::histogram;
use super::message::{Stamps, Timed, places};

/// A datagram that leaves later than this after it was due is a late send.
pub(super) const LATE: Nanos = Nanos::from_micros(10);

/// Why publishing ended early.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MeasuredPublishError {
    /// The plan's.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// A send failed for good.
    #[error("cannot send on line {line} (by its place in the feed file): {error}")]
    Wire {
        /// On which line.
        line: usize,
        /// The system's.
        error: io::Error,
    },
}

/// What left on one line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct LineSent {
    /// Datagrams.
    pub(super) datagrams: u64,
    /// Datagrams that the line's faults took away.
    pub(super) dropped: u64,
    /// Sends that failed.
    pub(super) errors: u64,
    /// Why the last of them failed.
    pub(super) last_error: Option<String>,
}

/// What was sent.
#[derive(Clone, Debug)]
pub(super) struct Published {
    /// By line.
    pub(super) lines: Vec<LineSent>,
    /// Numbers that were used: messages, and heartbeats that consume one.
    pub(super) numbers: u64,
    /// How many of these no line sent.
    pub(super) lost: u64,
    /// From the time of the first message to the send of the last.
    pub(super) elapsed: Nanos,
    /// How late each datagram left.
    pub(super) lateness: Histogram<u64>,
    /// How many left later than [`LATE`].
    pub(super) late: u64,
    /// Whether it was asked to stop.
    pub(super) stopped: bool,
    /// Whether it was given up because it took far too long.
    pub(super) given_up: bool,
}

/// Sends a whole plan, whose time zero is `zero` by the clock. `meanwhile` is called with `true` again and again while there is time
/// until the next datagram, and with `false` once after each datagram.
///
/// # Errors
/// The plan's error, or the error of a send that failed for good.
pub(super) fn publish<F: Framing>(
    framing: F,
    plan: &mut Plan<F, Timed>,
    wire: &mut impl Wire,
    (clock, zero, give_up): (Clock, Nanos, Nanos),
    stop: &Stop,
    mut meanwhile: impl FnMut(bool),
) -> Result<Published, MeasuredPublishError> {
    let mut published = Published {
        lines: vec![LineSent::default(); plan.config().lines.len()],
        numbers: 0,
        lost: 0,
        elapsed: Nanos::ZERO,
        lateness: histogram(),
        late: 0,
        stopped: false,
        given_up: false,
    };
    let mut truth = plan.truth();
    let (mut scratch, mut at) = (Vec::with_capacity(1 << 16), Vec::with_capacity(256));
    loop {
        let now = clock.now() - zero;
        if stop.requested() && !published.stopped {
            published.stopped = true;
            plan.finish(now);
        }
        if now > give_up && !published.given_up {
            published.given_up = true;
            plan.finish(now);
        }
        let datagram = match plan.step(now)? {
            PlanStep::Datagram(datagram) => datagram,
            PlanStep::Idle(until) => {
                while clock.now() < zero + until && (published.stopped || !stop.requested()) {
                    meanwhile(true);
                }
                continue;
            }
            PlanStep::Ended => break,
        };
        let line = datagram.line.index();
        if datagram.dropped.is_some() {
            truth.record(&datagram, false);
            published.lines[line].dropped += 1;
            continue;
        }
        scratch.clear();
        scratch.extend_from_slice(datagram.bytes);
        if datagram.kind == FrameKind::Data {
            places(framing, datagram.bytes, &mut at);
        } else {
            at.clear();
        }
        let due = zero + datagram.due;
        // a plan hands out nothing that is far ahead
        let sent = loop {
            let now = clock.now();
            if now >= due {
                break now;
            }
            meanwhile(true);
        };
        for &at in &at {
            let Some(stamps) = Stamps::read(&scratch[at..]) else { continue };
            Stamps { sent, ..stamps }.write(&mut scratch[at..]);
        }
        let outcome = wire.send(datagram.line, datagram.group, &scratch);
        truth.record(&datagram, outcome.is_ok());
        let tally = &mut published.lines[line];
        match outcome {
            Ok(()) => tally.datagrams += 1,
            Err(error) if is_transient(&error) => {
                tally.errors += 1;
                tally.last_error = Some(error.to_string());
            }
            Err(error) => return Err(MeasuredPublishError::Wire { line, error }),
        }
        if datagram.kind == FrameKind::Data {
            published.elapsed = sent - zero;
            published.lateness.saturating_record((sent - due).0);
            published.late += u64::from(sent - due > LATE);
        }
        meanwhile(false);
    }
    (published.numbers, published.lost) = (truth.numbers(), truth.lost());
    Ok(published)
}
