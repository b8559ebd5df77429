//! The publisher of a measurement: sends each datagram at its time, busy until then, and stamps it on its way.

use std::io;

use hdrhistogram::Histogram;

use twinline_core::frame::FrameKind;
use twinline_core::framing::Framing;
use twinline_core::time::Nanos;
use twinline_node::os::clock::Clock;
use twinline_node::os::signal::Stop;
use twinline_node::publisher::plan::{Plan, PlanError, Step};
use twinline_node::wire::{Wire, is_passing};

use super::latencies::histogram;
use super::message::{Stamps, Timed, places};

/// A datagram that leaves later than this after its time is a late send.
pub const LATE: Nanos = Nanos::from_micros(10);

/// Why publishing ended early.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// The plan's.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// A send that cannot be gone on after.
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
pub struct LineSent {
    /// Datagrams.
    pub datagrams: u64,
    /// Datagrams that the line's faults took away.
    pub dropped: u64,
    /// Sends that failed.
    pub errors: u64,
    /// What the last of them failed of.
    pub last_error: Option<String>,
}

/// What was sent.
#[derive(Clone, Debug)]
pub struct Published {
    /// By line.
    pub lines: Vec<LineSent>,
    /// Numbers that were used: messages, and heartbeats that consume one.
    pub numbers: u64,
    /// Of these, how many no line sent.
    pub lost: u64,
    /// From the time of the first message to the send of the last.
    pub elapsed: Nanos,
    /// How late each datagram left.
    pub lateness: Histogram<u64>,
    /// How many left later than [`LATE`].
    pub late: u64,
    /// Whether it was told to stop.
    pub stopped: bool,
    /// Whether it was given up, since it took much longer than it was to.
    pub given_up: bool,
}

/// Sends all of a plan, whose zero is at `zero` by the clock. `meanwhile` is called over and over while there is time until the
/// next datagram, with `true`, and once after each datagram, with `false`.
///
/// # Errors
/// The plan's, or a send's that cannot pass.
pub fn publish<F: Framing>(
    framing: F,
    plan: &mut Plan<F, Timed>,
    wire: &mut impl Wire,
    (clock, zero, give_up): (Clock, Nanos, Nanos),
    stop: &Stop,
    mut meanwhile: impl FnMut(bool),
) -> Result<Published, PublishError> {
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
            Step::Datagram(datagram) => datagram,
            Step::Idle(until) => {
                while clock.now() < zero + until && (published.stopped || !stop.requested()) {
                    meanwhile(true);
                }
                continue;
            }
            Step::Ended => break,
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
            Err(error) if is_passing(&error) => {
                tally.errors += 1;
                tally.last_error = Some(error.to_string());
            }
            Err(error) => return Err(PublishError::Wire { line, error }),
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
