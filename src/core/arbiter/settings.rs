//! The arbiter's parameters, resolved (ARBITRATION 9).

use super::verify::Verify;
use crate::frame::{LINES_MAX, SequenceRules};
use crate::time::Nanos;

/// When a gap is given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GapTimeout {
    /// Twice the largest lead that the lines showed of late (ARBITRATION 5.4).
    Auto,
    /// After this long.
    After(Nanos),
}

/// The most that may be set. Places in the hold are 32 bits, and half of what they address must do for the bytes, each
/// message's header and what a frame may bring over the limit.
const HOLD_MESSAGES_MAX: u64 = 1 << 24;
const HOLD_BYTES_MAX: u64 = 1 << 30;
const GAPS_MAX: usize = 1 << 24;
/// A bit a number, for each line of each channel: 2 MiB.
const SETTLE_MAX: u64 = 1 << 24;

/// What an arbiter must know of a feed.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The framing's numbers.
    pub rules: SequenceRules,
    /// For each line, whether a loss waits for it; one to eight lines.
    pub wait: Vec<bool>,
    /// Of a framing whose frames name channels: those that are wanted; all, where this is empty.
    pub keys: Vec<u32>,
    /// How many groups each line has.
    pub groups: u16,
    /// When a gap is given up.
    pub gap_timeout: GapTimeout,
    /// When it is given up instead where recovery is configured: then no loss is settled before.
    pub recovery_timeout: Option<Nanos>,
    /// How far past a number every waiting line must be for it to be lost at once.
    pub settle: u64,
    /// How many messages a channel holds for gaps.
    pub hold_messages: u64,
    /// How many message bytes a channel holds for gaps.
    pub hold_bytes: u64,
    /// How far a single frame may jump and be believed.
    pub max_jump: u64,
    /// How many gaps of a channel may be open at once.
    pub gaps_max: usize,
    /// When a line that shows nothing is silent.
    pub silent_after: Nanos,
    /// How long an incumbent session is waited for.
    pub session_grace: Nanos,
    /// Which numbers' copies are compared with the first one.
    pub verify: Verify,
}

impl Settings {
    /// The defaults for a framing and its lines.
    pub fn new(rules: SequenceRules, wait: Vec<bool>, groups: u16) -> Settings {
        let silent_after = Nanos(rules.heartbeat_interval.0.saturating_mul(3));
        Settings {
            rules,
            wait,
            keys: Vec::new(),
            groups,
            gap_timeout: GapTimeout::Auto,
            recovery_timeout: None,
            settle: 1_024,
            hold_messages: 65_536,
            hold_bytes: 64 << 20,
            max_jump: 1_000,
            gaps_max: 65_536,
            silent_after,
            session_grace: silent_after,
            verify: Verify::Off,
        }
    }

    /// The same, with limits no higher than a channel's memory can be addressed by: whoever asks for more gets these.
    pub(super) fn bounded(mut self) -> Settings {
        self.hold_messages = self.hold_messages.min(HOLD_MESSAGES_MAX);
        self.hold_bytes = self.hold_bytes.min(HOLD_BYTES_MAX);
        self.gaps_max = self.gaps_max.min(GAPS_MAX);
        self.settle = self.settle.min(SETTLE_MAX);
        self
    }

    /// How many lines there are; recovery is one more.
    pub(super) fn lines(&self) -> usize {
        self.wait.len().min(LINES_MAX)
    }

    /// Whether a loss waits for this line. Nothing waits for recovery by this rule.
    pub(super) fn waits(&self, line: usize) -> bool {
        self.wait.get(line).copied().unwrap_or(false)
    }
}
