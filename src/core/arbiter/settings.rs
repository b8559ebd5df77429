//! The arbiter's parameters, resolved (ARBITRATION 9).

use std::fmt;

use super::CHANNELS_MAX;
use crate::frame::{LINES_MAX, SequenceRules};
use crate::seq::SeqNo;
use crate::time::Nanos;

/// When a gap is given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GapTimeout {
    /// Twice the largest lead that the lines showed of late (ARBITRATION 5.4).
    Auto,
    /// After this long.
    After(Nanos),
}

/// Which numbers' copies are compared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Verify {
    /// None.
    #[default]
    Off,
    /// Every number's.
    All,
    /// So many of a billion numbers', spread evenly.
    PerBillion(u32),
}

impl fmt::Display for Verify {
    /// As a feed file has it: `off`, `all`, or the share, such as `0.01`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Verify::Off => f.write_str("off"),
            Verify::All => f.write_str("all"),
            Verify::PerBillion(share) => write!(f, "{}", f64::from(*share) / 1e9),
        }
    }
}

impl Verify {
    /// Whether any are.
    pub(super) fn is_on(self) -> bool {
        self != Verify::Off
    }

    /// Whether copies of `n` are.
    ///
    /// ```
    /// use twinline_core::arbiter::Verify;
    /// use twinline_core::SeqNo;
    /// let chosen = |rate: Verify, n: std::ops::Range<u64>| n.filter(|&n| rate.chooses(SeqNo(n))).count();
    /// let one_in_a_hundred = Verify::PerBillion(10_000_000);
    /// assert!((99..=101).contains(&chosen(one_in_a_hundred, 1..10_001)));
    /// assert!((99..=101).contains(&chosen(one_in_a_hundred, 5_000_000..5_010_000)));
    /// assert_eq!((chosen(Verify::All, 0..10), chosen(Verify::Off, 0..10)), (10, 0));
    /// ```
    #[inline]
    pub fn chooses(self, n: SeqNo) -> bool {
        // a step by the golden ratio: any stretch of numbers has its share, and no way of packing them meets it in the same place
        const STEP: u64 = 0x9E37_79B9_7F4A_7C15;
        match self {
            Verify::Off => false,
            Verify::All | Verify::PerBillion(1_000_000_000..) => true,
            Verify::PerBillion(share) => (n.0.wrapping_mul(STEP) >> 32) * 1_000_000_000 < u64::from(share) << 32,
        }
    }
}

/// The most that may be set: what a feed file may ask for.
const HOLD_MESSAGES_MAX: u64 = 1 << 24;
const HOLD_BYTES_MAX: u64 = 64 << 30;
const GAPS_MAX: usize = 1 << 24;
/// The largest datagram.
pub(super) const DATAGRAM_MAX: u64 = 65_535;
/// Messages that one datagram may bring over a limit, each into a gap of its own.
const OVER: u64 = 65_536;
/// Bytes that a framing packs with each message, at most.
const PACKED_MAX: u64 = 4;
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
    /// How many messages a channel holds for gaps. In runs of messages all channels together hold those of four.
    pub hold_messages: u64,
    /// How many message bytes all channels together hold for gaps, and with what waits under suspicion.
    pub hold_bytes: u64,
    /// How far a single frame may jump and be believed.
    pub max_jump: u64,
    /// How many gaps of a channel may be open at once; of all channels together those of four.
    pub gaps_max: usize,
    /// When a line that shows nothing is silent.
    pub silent_after: Nanos,
    /// How long an incumbent session is waited for.
    pub session_grace: Nanos,
    /// Which numbers' copies are compared with the first one.
    pub verify: Verify,
    /// Whether all memory that may be needed is taken at the start, and none later but for frames that wait under suspicion. It
    /// changes nothing else.
    pub reserve_all: bool,
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
            reserve_all: false,
        }
    }

    /// The same, with limits no higher than what a feed file may ask for.
    pub(super) fn bounded(mut self) -> Settings {
        self.hold_messages = self.hold_messages.min(HOLD_MESSAGES_MAX);
        self.hold_bytes = self.hold_bytes.min(HOLD_BYTES_MAX);
        self.gaps_max = self.gaps_max.min(GAPS_MAX);
        self.settle = self.settle.min(SETTLE_MAX);
        self
    }

    /// How many channels may begin: 256, or as many as the groups and the keys that are wanted give.
    pub(super) fn channels_most(&self) -> u64 {
        let keys = match (self.rules.keyed, self.keys.len()) {
            (false, _) => 1,
            (true, 0) => CHANNELS_MAX,
            (true, keys) => keys,
        };
        (u64::from(self.groups) * keys as u64).clamp(1, CHANNELS_MAX as u64)
    }

    /// How many held runs and, as many again, waiting frames a feed has at most: those of four channels that hold all they may.
    pub(super) fn runs_most(&self) -> u64 {
        self.hold_messages.saturating_mul(self.channels_most().min(4))
    }

    /// How many gaps of a feed may be open at once: those of four channels that have all they may.
    pub(super) fn gaps_most(&self) -> u64 {
        (self.gaps_max as u64).saturating_mul(self.channels_most().min(4))
    }

    /// Bytes and blocks of the hold, at most. A frame is taken whole before the limits are enforced.
    pub(super) fn held_most(&self) -> (u64, u64) {
        let packed = self.hold_messages.saturating_mul(self.channels_most()).saturating_mul(PACKED_MAX);
        let bytes = self.hold_bytes.saturating_add(packed).saturating_add(2 * DATAGRAM_MAX);
        (bytes, self.runs_most().saturating_add(OVER))
    }

    /// Spans, at most: a run and a gap each, and as many lost between them; the same frame once more.
    pub(super) fn spans_most(&self) -> u64 {
        self.runs_most().saturating_add(OVER).saturating_add(self.gaps_most()).saturating_add(2).saturating_mul(2)
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
