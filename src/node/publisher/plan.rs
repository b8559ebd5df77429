//! What is sent on which line, when: numbers, packing, heartbeats, the end of the session, and each line's faults.
//!
//! A [`Plan`] is a function of its configuration and its messages. It reads no clock: times are offsets from a start that
//! its driver chooses. Datagrams come out in the order of their due times, those that a fault lost among them (marked).
//!
//! All lines carry the same numbers, however they pack: a heartbeat that consumes a number does so on all lines at once.
//!
//! What is under way is bounded: where delays would hold more than 65,536 datagrams or 64 MiB, the first leaves early, and
//! that is counted ([`LineCounts::hurried`]).

use std::io;
use std::ops::Range;

use twinline_core::frame::{FrameKind, LINES_MAX, Line, Session};
use twinline_core::framing::Framing;
use twinline_core::time::Nanos;

use super::fault::{Cause, Faults};

pub use super::schedule::Plan;

/// The most messages that a line may be told to pack into one datagram.
pub const PACK_MAX: u32 = 128;

/// When messages are due.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Rate {
    /// At a steady rate, in bursts: see [`Rate::per_second`].
    Steady {
        /// Millionths of a message a second.
        micro_rate: u64,
        /// How many messages are due at once.
        burst: u32,
    },
    /// As fast as the driver takes them.
    Max,
    /// As they were recorded. The source must know times.
    Recorded,
}

impl Rate {
    /// `rate` messages a second on average, `burst` of them at once; `None` where the rate is not above zero and at most
    /// 100 million, or the burst is 0.
    pub fn per_second(rate: f64, burst: u32) -> Option<Rate> {
        let micro_rate = (rate * 1e6).round();
        (burst > 0 && (1.0..=1e14).contains(&micro_rate))
            .then_some(Rate::Steady { micro_rate: micro_rate as u64, burst })
    }
}

/// What one line is like.
#[derive(Clone, Debug, PartialEq)]
pub struct LinePlan {
    /// The fewest messages that the line packs into a datagram; at least 1.
    pub pack_min: u32,
    /// The most; at most [`PACK_MAX`]. The count is drawn for each datagram. A datagram with fewer leaves when
    /// [`PlanConfig::pack_wait`] is over, or when [`PlanConfig::max_len`] is reached.
    pub pack_max: u32,
    /// What the line does to its datagrams.
    pub faults: Faults,
}

impl Default for LinePlan {
    /// A message a datagram, no faults.
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
    /// The first message's number, in every group.
    pub first: u64,
    /// When messages are due.
    pub rate: Rate,
    /// One to eight lines.
    pub lines: Vec<LinePlan>,
    /// The groups that messages go to, in turns; each is a sequence of its own.
    pub groups: Range<u16>,
    /// How long a group is idle before a heartbeat; `None`: as the framing says; [`Nanos::MAX`]: never.
    pub heartbeat: Option<Nanos>,
    /// No message is due at or after this time from `start`; `None`: until the source ends.
    pub limit: Option<Nanos>,
    /// How long heartbeats go on after the last message.
    pub linger: Nanos,
    /// How many times the end of session is sent; 0: not at all.
    pub end_copies: u32,
    /// The time between two of them.
    pub end_interval: Nanos,
    /// The longest datagram that messages are packed into (one message alone may be longer), in bytes of UDP payload.
    pub max_len: usize,
    /// How long the first message of a datagram waits for others.
    pub pack_wait: Nanos,
    /// Decides all that is drawn.
    pub seed: u64,
    /// When this plan's time begins: the end of the plan before it, if there was one. Outages are not moved by it.
    pub start: Nanos,
}

impl Default for PlanConfig {
    /// Two lines without faults, a message a datagram, 1,000 messages a second from number 1, with an end of session.
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

/// Why there is no plan, or no more of it.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// No line, or too many.
    #[error("a plan has 1 to {LINES_MAX} lines, not {0}")]
    Lines(usize),
    /// No group.
    #[error("a plan needs a group to send to")]
    NoGroup,
    /// Numbers start at 1 in every framing.
    #[error("the first number is 1 or more, not 0")]
    First,
    /// A packing that cannot be.
    #[error("a datagram holds 1 to {PACK_MAX} messages, and not {min}..{max}")]
    Packing {
        /// As configured.
        min: u32,
        /// As configured.
        max: u32,
    },
    /// More than a message a datagram where the number is the packet's.
    #[error("{framing} numbers packets: one message a datagram, and the same on every line; leave the packing out")]
    PacketSequenced {
        /// The framing's name.
        framing: &'static str,
    },
    /// Times were asked for of a source that has none.
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
    /// The source's.
    #[error("cannot read the messages: {0}")]
    Source(#[from] io::Error),
}

/// A datagram, and when and where it is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Planned<'a> {
    /// When; never before the one that was handed out before it.
    pub due: Nanos,
    /// On which line.
    pub line: Line,
    /// The group's place in the line's list.
    pub group: u16,
    /// What it is. A heartbeat may still consume a number: then `count` is 1.
    pub kind: FrameKind,
    /// The first number in it; the next number where it has none.
    pub first: u64,
    /// How many numbers it has.
    pub count: u32,
    /// Why it is not to be sent, if it is not.
    pub dropped: Option<Cause>,
    /// A byte was changed. `first` and `count` are the true ones.
    pub corrupted: bool,
    /// A second copy of the datagram before it.
    pub copy: bool,
    /// The UDP payload.
    pub bytes: &'a [u8],
}

/// What a plan says when it is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step<'a> {
    /// This datagram comes next.
    Datagram(Planned<'a>),
    /// Nothing can be said yet: ask again at this time.
    Idle(Nanos),
    /// There is no more.
    Ended,
}

/// What became of one line's datagrams.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LineCounts {
    /// Datagrams that were planned, lost ones among them, second copies not.
    pub datagrams: u64,
    /// Lost each by itself.
    pub lost: u64,
    /// Lost in bursts.
    pub lost_in_bursts: u64,
    /// Lost in outages.
    pub lost_in_outages: u64,
    /// Second copies.
    pub duplicated: u64,
    /// Overtaken by at least one datagram.
    pub reordered: u64,
    /// With a byte changed.
    pub corrupted: u64,
    /// Sent before their delay was over, for want of room.
    pub hurried: u64,
}

impl PlanConfig {
    /// Whether there can be a plan of it.
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
