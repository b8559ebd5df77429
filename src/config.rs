//! A feed file, as typed and as validated.

use std::net::{Ipv4Addr, SocketAddrV4};

use crate::time::Nanos;

/// What one feed file describes, validated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Feed {
    /// The feed's name.
    pub name: String,
    /// The framing's name, one of those that the caller of the parser knows.
    pub framing: String,
    /// One to eight lines, in the order of the file.
    pub lines: Vec<LineConfig>,
    /// The arbiter's parameters.
    pub arbiter: ArbiterConfig,
}

/// One line of a feed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LineConfig {
    /// Its name, unique in the feed.
    pub name: String,
    /// Where it is sent: every line lists the same channels in the same order, so all lists are equally long.
    pub groups: Vec<SocketAddrV4>,
    /// The NIC on which it arrives, by name or address.
    pub interface: String,
    /// Accept this sender only.
    pub source: Option<Ipv4Addr>,
    /// Whether a loss waits for this line (ARBITRATION 5.5).
    pub wait: bool,
}

/// When a gap is given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GapTimeout {
    /// From the lead that the lines show (ARBITRATION 5.4).
    Auto,
    /// After this long.
    After(Nanos),
}

/// The arbiter's parameters (ARBITRATION 9).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArbiterConfig {
    /// When a gap is given up.
    pub gap_timeout: GapTimeout,
    /// How far past a number every line must be for it to be lost before its deadline.
    pub settle: u64,
    /// How many messages may wait for gaps.
    pub hold_messages: u64,
    /// How many bytes of messages may wait for gaps.
    pub hold_bytes: u64,
    /// How far a single frame may jump and be believed.
    pub max_jump: u64,
    /// When a line counts as silent; `None`: by the framing's heartbeat interval.
    pub silent_after: Option<Nanos>,
    /// How long a session is waited for; `None`: `silent_after`.
    pub session_grace: Option<Nanos>,
}

impl Default for ArbiterConfig {
    fn default() -> ArbiterConfig {
        ArbiterConfig {
            gap_timeout: GapTimeout::Auto,
            settle: 1_024,
            hold_messages: 65_536,
            hold_bytes: 64 << 20,
            max_jump: 1_000,
            silent_after: None,
            session_grace: None,
        }
    }
}
