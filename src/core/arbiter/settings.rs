//! The arbiter's parameters, with every default filled in (ARBITRATION 9).

use std::fmt;

use super::CHANNELS_MAX;
use crate::frame::{LINES_MAX, SequenceRules};
use crate::seq::SeqNo;
use crate::time::Nanos;

/// When a gap is given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GapTimeout {
    /// After twice the largest recent lead of one line over another (ARBITRATION 5.4).
    Auto,
    /// After this long.
    After(Nanos),
}

/// For which numbers copies are compared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Verify {
    /// For none.
    #[default]
    Off,
    /// For every number.
    All,
    /// For this many numbers per billion, evenly spread.
    PerBillion(u32),
}

impl fmt::Display for Verify {
    /// As in a feed file: `off`, `all`, or the share, such as `0.01`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Verify::Off => f.write_str("off"),
            Verify::All => f.write_str("all"),
            Verify::PerBillion(share) => write!(f, "{}", f64::from(*share) / 1e9),
        }
    }
}

impl Verify {
    /// Whether any copies are compared.
    pub(super) fn is_on(self) -> bool {
        self != Verify::Off
    }

    /// Whether copies of `n` are compared.
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
        // steps by the golden ratio: every stretch of numbers has its share, and no way of packing them always hits the same
        // place
        const STEP: u64 = 0x9E37_79B9_7F4A_7C15;
        match self {
            Verify::Off => false,
            Verify::All | Verify::PerBillion(1_000_000_000..) => true,
            Verify::PerBillion(share) => (n.0.wrapping_mul(STEP) >> 32) * 1_000_000_000 < u64::from(share) << 32,
        }
    }
}

/// The highest limits that can be set, which are also the highest that a feed file may ask for.
const HOLD_MESSAGES_MAX: u64 = 1 << 24;
const HOLD_BYTES_MAX: u64 = 64 << 30;
const GAPS_MAX: usize = 1 << 24;
/// Bytes of the largest datagram.
pub(super) const DATAGRAM_MAX: u64 = 65_535;
/// How many messages one datagram may bring beyond a limit, each into a gap of its own.
const OVER: u64 = 65_536;
/// The most bytes that a framing packs with each message.
const PACKED_MAX: u64 = 4;
/// One bit per number, for each line of each channel: 2 MiB.
const SETTLE_MAX: u64 = 1 << 24;

/// What an arbiter must know about a feed.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Settings {
    /// How the framing's numbers work.
    pub rules: SequenceRules,
    /// For each line, whether a gap waits for it before it is given up; one to eight lines.
    pub wait: Vec<bool>,
    /// If frames name channels: the keys that are wanted, or all of them if this is empty.
    pub keys: Vec<u32>,
    /// How many groups each line has.
    pub groups: u16,
    /// When a gap is given up.
    pub gap_timeout: GapTimeout,
    /// When it is given up if recovery is configured. This replaces `gap_timeout`, and no gap is then given up early as settled.
    pub recovery_timeout: Option<Nanos>,
    /// How far past a number every line with `wait` must be for the number to be lost at once.
    pub settle: u64,
    /// How many messages a channel may hold behind gaps. The number of held runs is limited for all channels together: to four
    /// times this.
    pub hold_messages: u64,
    /// How many message bytes all channels together may hold behind gaps. Frames may wait under suspicion only while held and
    /// waiting bytes together stay within this.
    pub hold_bytes: u64,
    /// How far a single frame may jump and still be believed.
    pub max_jump: u64,
    /// How many gaps a channel may have open at once; all channels together, four times this.
    pub gaps_max: usize,
    /// How long a line must show nothing to count as silent.
    pub silent_after: Nanos,
    /// How long to wait for the current session before another one replaces it.
    pub session_grace: Nanos,
    /// For which numbers later copies are compared with the first one.
    pub verify: Verify,
    /// Whether all memory that may be needed is taken at the start, and none later except for frames that wait under suspicion.
    /// Changes nothing else.
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

    /// The same settings, with no limit higher than a feed file may ask for.
    pub(super) fn bounded(mut self) -> Settings {
        self.hold_messages = self.hold_messages.min(HOLD_MESSAGES_MAX);
        self.hold_bytes = self.hold_bytes.min(HOLD_BYTES_MAX);
        self.gaps_max = self.gaps_max.min(GAPS_MAX);
        self.settle = self.settle.min(SETTLE_MAX);
        self
    }

    /// How many channels may begin: the number of groups times the number of wanted keys, but at most 256.
    pub(super) fn channels_most(&self) -> u64 {
        let keys = match (self.rules.keyed, self.keys.len()) {
            (false, _) => 1,
            (true, 0) => CHANNELS_MAX,
            (true, keys) => keys,
        };
        (u64::from(self.groups) * keys as u64).clamp(1, CHANNELS_MAX as u64)
    }

    /// The most runs that a feed may hold, which is also the most frames that may wait: what four channels at their limits hold.
    pub(super) fn runs_most(&self) -> u64 {
        self.hold_messages.saturating_mul(self.channels_most().min(4))
    }

    /// The most gaps that a feed may have open at once: those of four channels at their limits.
    pub(super) fn gaps_most(&self) -> u64 {
        (self.gaps_max as u64).saturating_mul(self.channels_most().min(4))
    }

    /// The most bytes and blocks in the hold. A frame is taken whole before the limits are enforced.
    pub(super) fn held_most(&self) -> (u64, u64) {
        let packed = self.hold_messages.saturating_mul(self.channels_most()).saturating_mul(PACKED_MAX);
        let bytes = self.hold_bytes.saturating_add(packed).saturating_add(2 * DATAGRAM_MAX);
        (bytes, self.runs_most().saturating_add(OVER))
    }

    /// The most spans: one for each run and each gap, and as many lost ones between them; one more frame's worth on top.
    pub(super) fn spans_most(&self) -> u64 {
        self.runs_most().saturating_add(OVER).saturating_add(self.gaps_most()).saturating_add(2).saturating_mul(2)
    }

    /// How many lines there are, without recovery.
    pub(super) fn lines(&self) -> usize {
        self.wait.len().min(LINES_MAX)
    }

    /// Whether a gap waits for this line. By this rule nothing waits for recovery.
    pub(super) fn waits(&self, line: usize) -> bool {
        self.wait.get(line).copied().unwrap_or(false)
    }
}
