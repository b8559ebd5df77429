//! What a plan is made of and hands out: rates, lines, configuration, planned datagrams, errors.

use std::io;
use std::ops::Range;

use twinline_core::Nanos;
use twinline_core::frame::{FrameKind, LINES_MAX, Line, Session};
use twinline_core::framing::Framing;

use crate::fault::{DropCause, Faults};

/// The most messages that a line may be told to pack into one datagram.
pub const PACK_MAX: u32 = 128;

/// When messages are due.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Rate {
    /// At a steady rate, in bursts: see [`Rate::per_second`].
    Steady {
        /// Millionths of a message per second.
        micro_rate: u64,
        /// How many messages are due at once; at least 1.
        burst: u32,
    },
    /// As fast as the driver takes them.
    Max,
    /// As they were recorded. The source must have times.
    Recorded,
}

impl Rate {
    /// `rate` messages per second on average, `burst` of them at once; `None` if the rate is not above zero and at most
    /// 100 million, or the burst is 0.
    pub fn per_second(rate: f64, burst: u32) -> Option<Rate> {
        let micro_rate = (rate * 1e6).round();
        (burst > 0 && (1.0..=1e14).contains(&micro_rate))
            .then_some(Rate::Steady { micro_rate: micro_rate as u64, burst })
    }
}

/// How one line packs, and what it does to its datagrams.
#[derive(Clone, Debug, PartialEq)]
pub struct LinePlan {
    /// The fewest messages that the line packs into a datagram: 1 or more.
    pub pack_min: u32,
    /// The most; at most [`PACK_MAX`]. The count is drawn for each datagram. A datagram with fewer leaves when
    /// [`PlanConfig::pack_wait`] is over, or when [`PlanConfig::max_len`] is reached.
    pub pack_max: u32,
    /// What the line does to its datagrams.
    pub faults: Faults,
}

impl Default for LinePlan {
    /// One message per datagram, no faults.
    fn default() -> LinePlan {
        LinePlan::packing(1, 1)
    }
}

impl LinePlan {
    /// A line without faults that packs `min` to `max` messages into a datagram.
    pub fn packing(min: u32, max: u32) -> LinePlan {
        LinePlan { pack_min: min, pack_max: max, faults: Faults::default() }
    }
}

/// What a plan is made of.
#[derive(Clone, Debug, PartialEq)]
pub struct PlanConfig {
    /// The session that every datagram carries; [`Session::NONE`] in a framing without sessions.
    pub session: Session,
    /// The number of the first message, in every group: 1 or more.
    pub first: u64,
    /// When messages are due.
    pub rate: Rate,
    /// One to eight lines.
    pub lines: Vec<LinePlan>,
    /// The groups that messages go to, in turn. Each is its own sequence.
    pub groups: Range<u16>,
    /// How long a group is idle before a heartbeat; `None`: the framing's interval; [`Nanos::MAX`]: never.
    pub heartbeat: Option<Nanos>,
    /// No message is due at or after this time from `start`; `None`: until the source ends.
    pub limit: Option<Nanos>,
    /// How long heartbeats go on after the last message.
    pub linger: Nanos,
    /// How many times the end of session is sent; 0: not at all.
    pub end_copies: u32,
    /// The time between two of them.
    pub end_interval: Nanos,
    /// The longest datagram that messages are packed into, in bytes of UDP payload. A single message may be longer.
    pub max_len: usize,
    /// How long the first message in a datagram waits for others.
    pub pack_wait: Nanos,
    /// Decides everything that is drawn at random.
    pub seed: u64,
    /// When this plan's time begins: the end of the plan before it, if there was one. It does not move outages.
    pub start: Nanos,
}

impl Default for PlanConfig {
    /// Two lines without faults, one message per datagram, 1,000 messages per second from number 1, with an end of session.
    fn default() -> PlanConfig {
        PlanConfig {
            session: Session::NONE,
            first: 1,
            rate: Rate::Steady { micro_rate: 1_000_000_000, burst: 1 },
            lines: vec![LinePlan::default(); 2],
            groups: 0..1,
            heartbeat: None,
            limit: None,
            linger: Nanos::ZERO,
            end_copies: 5,
            end_interval: Nanos::from_millis(20),
            max_len: 1_400,
            pack_wait: Nanos::from_millis(1),
            seed: 1,
            start: Nanos::ZERO,
        }
    }
}

/// Why there is no plan, or why it cannot go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PlanError {
    /// No line, or too many.
    #[error("a plan has 1 to {LINES_MAX} lines, not {0}")]
    Lines(usize),
    /// No group.
    #[error("a plan needs a group to send to")]
    NoGroup,
    /// The first number is 0.
    #[error("the first number is 1 or more, not 0")]
    First,
    /// An impossible packing.
    #[error("a datagram holds 1 to {PACK_MAX} messages, not {min}..{max}")]
    Packing {
        /// As configured.
        min: u32,
        /// As configured.
        max: u32,
    },
    /// More than one message per datagram, in a framing that numbers packets.
    #[error("{framing} numbers packets: one message per datagram, the same on every line; leave the packing out")]
    PacketSequenced {
        /// The framing's name.
        framing: &'static str,
    },
    /// Recorded times were asked for, but the source has none.
    #[error("the messages carry no recorded times; give a rate instead")]
    NoTimes,
    /// A message that the framing cannot carry.
    #[error("message {number} has {len} bytes, which {framing} cannot carry")]
    TooLong {
        /// Its number.
        number: u64,
        /// Its length.
        len: usize,
        /// The framing's name.
        framing: &'static str,
    },
    /// The source's error.
    #[error("cannot read the messages: {0}")]
    Source(#[from] io::Error),
}

/// A datagram, and when and where it is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Planned<'a> {
    /// When it is due, which is never before the one handed out before it.
    pub due: Nanos,
    /// The line.
    pub line: Line,
    /// The position of the group in the line's list.
    pub group: u16,
    /// What it is. A heartbeat may consume a number: then `count` is 1.
    pub kind: FrameKind,
    /// The first number in it; the next number if it has none.
    pub first: u64,
    /// How many numbers it has.
    pub count: u32,
    /// Why it is not to be sent; `None`: it is.
    pub dropped: Option<DropCause>,
    /// Whether a byte was changed. `first` and `count` are the true ones.
    pub corrupted: bool,
    /// Whether it is a second copy of the datagram before it.
    pub copy: bool,
    /// The UDP payload.
    pub bytes: &'a [u8],
}

/// A plan's answer to the question for the next datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PlanStep<'a> {
    /// This datagram comes next.
    Datagram(Planned<'a>),
    /// Nothing can be said yet: ask again at this time.
    Idle(Nanos),
    /// The plan has ended.
    Ended,
}

impl PlanConfig {
    /// Checks that a plan can be made of it.
    pub(super) fn check<F: Framing>(&self, framing: F) -> Result<(), PlanError> {
        if self.lines.is_empty() || self.lines.len() > LINES_MAX {
            return Err(PlanError::Lines(self.lines.len()));
        }
        if self.groups.is_empty() {
            return Err(PlanError::NoGroup);
        }
        if self.first == 0 {
            return Err(PlanError::First);
        }
        for &LinePlan { pack_min: min, pack_max: max, .. } in &self.lines {
            if min == 0 || min > max || max > PACK_MAX {
                return Err(PlanError::Packing { min, max });
            }
            if framing.packet_sequenced() && max > 1 {
                return Err(PlanError::PacketSequenced { framing: framing.name() });
            }
        }
        Ok(())
    }
}
