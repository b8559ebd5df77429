//! The feed file: TOML as typed, and the [`Feed`] that it means.
//!
//! [`Feed::load`] reads a file, [`Feed::parse`] a text. Both return a feed in which every name, address and number has been
//! checked, so that nothing needs checking again. An error names the file, the line in it and the key ([`ConfigError`]). This
//! module opens no socket and looks at no NIC: `twinline check` reports what the machine lacks.
//!
//! ```
//! use twinline_node::config::Feed;
//!
//! let feed = Feed::parse(
//!     r#"
//!     name = "loopback"
//!     framing = "moldudp64"
//!
//!     [[line]]
//!     name = "A"
//!     groups = ["239.81.1.1:26400"]
//!     interface = "127.0.0.1"
//!     "#,
//! )?;
//! assert_eq!(feed.lines[0].groups[0].port(), 26400);
//! # Ok::<(), twinline_node::config::ConfigError>(())
//! ```
//!
//! `feeds/README.md` explains every key.

use std::fs::File;
use std::io::Read as _;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::Path;

use twinline_core::Nanos;
use twinline_core::framing::{AnyFraming, FixedConfig};

mod document;
mod error;
mod fixed;
mod read;
mod units;

pub use document::nearest;
pub use error::ConfigError;
pub use twinline_core::arbiter::{GapTimeout, Verify};
pub use units::{duration_text, parse_duration, parse_size, size_text};

/// How many lines a feed may have.
pub const LINES_MAX: usize = 8;

/// How many groups a line may have: a group is at least one channel, and a feed has at most 256 (ARBITRATION 2.2).
pub const GROUPS_MAX: usize = 256;

/// How many bytes a feed file may have; anything larger is some other file.
pub(crate) const FILE_BYTES_MAX: u64 = 1 << 20;

/// Every key that a feed file may have, by table: the file's top, `[[line]]`, `[arbiter]`, `[receive]`, `[fixed]`.
pub const KEYS: &[(&str, &[&str])] = &[
    ("", &["name", "framing", "units", "line", "arbiter", "receive", "fixed"]),
    ("line", &["name", "groups", "interface", "source", "wait"]),
    (
        "arbiter",
        &[
            "gap_timeout",
            "settle",
            "hold_messages",
            "hold_bytes",
            "max_jump",
            "silent_after",
            "session_grace",
            "join",
            "verify",
        ],
    ),
    ("receive", &["method", "buffer", "core", "kernel_stamps", "lock_memory"]),
    (
        "fixed",
        &[
            "unit",
            "header",
            "endian",
            "sequence",
            "wraps_to",
            "initial",
            "count",
            "session",
            "channel",
            "length",
            "length_counts",
            "message_length",
            "message_length_adds",
            "message_skip",
            "must_be",
            "writes",
            "heartbeat",
            "heartbeat_carries",
            "heartbeat_consumes",
            "heartbeat_resets",
            "heartbeat_interval",
            "end",
            "end_carries",
            "unsequenced",
            "reset",
            "reset_to",
            "unmarked_restart",
        ],
    ),
];

/// What one feed file describes, validated.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Feed {
    /// The feed's name.
    pub name: String,
    /// The framing. A publisher writes frames of the first of `units`.
    pub framing: AnyFraming,
    /// The framing as the file describes it, if it is [`FIXED`](twinline_core::framing::FIXED).
    pub fixed: Option<FixedConfig>,
    /// For a framing whose frames name channels: the channels that are wanted, in the file's order. Empty: all.
    pub units: Vec<u32>,
    /// One to eight lines, in the order of the file.
    pub lines: Vec<LineConfig>,
    /// The arbiter's parameters.
    pub arbiter: ArbiterConfig,
    /// How live lines are received.
    pub receive: ReceiveConfig,
}

impl Feed {
    /// A feed that no file describes: all channels, with the defaults of [`ArbiterConfig`] and [`ReceiveConfig`].
    ///
    /// Nothing is checked: the caller has to give 1 to [`LINES_MAX`] lines, with different names and the same number of groups (at
    /// most [`GROUPS_MAX`]).
    ///
    /// ```
    /// use twinline_core::framing::AnyFraming;
    /// use twinline_node::config::{Feed, LineConfig};
    ///
    /// let framing = AnyFraming::from_name("moldudp64").expect("a framing's name");
    /// let line = |name, group: &str| LineConfig::new(name, vec![group.parse().unwrap()], "127.0.0.1");
    /// let feed = Feed::new("loopback", framing, vec![line("A", "239.81.1.1:26400"), line("B", "239.81.2.1:26400")]);
    /// assert_eq!(feed.lines[1].name, "B");
    /// ```
    pub fn new(name: impl Into<String>, framing: AnyFraming, lines: Vec<LineConfig>) -> Feed {
        Feed {
            name: name.into(),
            framing,
            fixed: None,
            units: Vec::new(),
            lines,
            arbiter: ArbiterConfig::default(),
            receive: ReceiveConfig::default(),
        }
    }

    /// The feed that `text` describes.
    ///
    /// # Errors
    /// [`ConfigError::Refused`]: the first thing that is wrong with the text, with its line and key.
    pub fn parse(text: &str) -> Result<Feed, ConfigError> {
        read::feed(&document::Document::new(text)?)
    }

    /// The feed that the file at `path` describes.
    ///
    /// # Errors
    /// [`ConfigError::Unreadable`] if the file cannot be read, otherwise the first thing that is wrong with it.
    pub fn load(path: impl AsRef<Path>) -> Result<Feed, ConfigError> {
        let path = path.as_ref();
        let unreadable = |error| ConfigError::Unreadable { file: path.to_owned(), error };
        let mut bytes = Vec::new();
        // one byte past the limit shows that a file is too long, and ends the reading of a device file
        let file = File::open(path).map_err(unreadable)?;
        file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(unreadable)?;
        document::text_of(&bytes).and_then(Feed::parse).map_err(|error| error.in_file(path))
    }
}

/// One line of a feed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LineConfig {
    /// Its name, unique in the feed.
    pub name: String,
    /// The groups and ports that it is sent to. Every line lists the same channels in the same order, so all lists are equally
    /// long.
    pub groups: Vec<SocketAddrV4>,
    /// The NIC on which it arrives, by name or IPv4 address.
    pub interface: String,
    /// The only sender to accept; `None`: any.
    pub source: Option<Ipv4Addr>,
    /// Whether a loss waits for this line (ARBITRATION 5.5).
    pub wait: bool,
}

impl LineConfig {
    /// A line that accepts any sender, and that a loss waits for.
    pub fn new(name: impl Into<String>, groups: Vec<SocketAddrV4>, interface: impl Into<String>) -> LineConfig {
        LineConfig { name: name.into(), groups, interface: interface.into(), source: None, wait: true }
    }

    /// The same line, accepting this sender only, or any.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Option<Ipv4Addr>>) -> LineConfig {
        self.source = source.into();
        self
    }
}

/// The arbiter's parameters (ARBITRATION 9).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ArbiterConfig {
    /// When a gap is given up.
    pub gap_timeout: GapTimeout,
    /// How many numbers past a number every line must be for it to be lost before its deadline.
    pub settle: u64,
    /// How many messages may wait behind gaps, per channel.
    pub hold_messages: u64,
    /// How many bytes of messages may wait behind gaps, on all channels together.
    pub hold_bytes: u64,
    /// How many numbers a single frame may jump ahead and be believed.
    pub max_jump: u64,
    /// When a line counts as silent; `None`: by the framing's heartbeat interval.
    pub silent_after: Option<Nanos>,
    /// How long a session is waited for; `None`: `silent_after`.
    pub session_grace: Option<Nanos>,
    /// Which numbers' copies are compared with the first one.
    pub verify: Verify,
}

impl ArbiterConfig {
    /// When a line counts as silent in a framing with this heartbeat interval (zero: unknown): what the file says, otherwise three
    /// intervals, or three seconds if the interval is unknown (ARBITRATION 9).
    pub fn silent_after(&self, heartbeat_interval: Nanos) -> Nanos {
        let interval = if heartbeat_interval == Nanos::ZERO { Nanos::from_secs(1) } else { heartbeat_interval };
        self.silent_after.unwrap_or(Nanos(interval.as_u64().saturating_mul(3)))
    }

    /// How long a session is waited for in a framing with this heartbeat interval: what the file says, otherwise
    /// [`ArbiterConfig::silent_after`].
    pub fn session_grace(&self, heartbeat_interval: Nanos) -> Nanos {
        self.session_grace.unwrap_or_else(|| self.silent_after(heartbeat_interval))
    }
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
            verify: Verify::Off,
        }
    }
}

/// The kernel interface by which live lines are received.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Method {
    /// UDP sockets. They need no privilege.
    #[default]
    Socket,
    /// A packet socket with one mapped ring per line.
    Packet,
    /// One AF_XDP socket per line.
    Xdp,
    /// The fastest of them that works here.
    Auto,
}

impl Method {
    /// Every method.
    pub const ALL: [Method; 4] = [Method::Socket, Method::Packet, Method::Xdp, Method::Auto];
    /// Their names, in the same order.
    pub const NAMES: [&str; 4] = ["socket", "packet", "xdp", "auto"];

    /// What a feed file calls it.
    pub const fn name(self) -> &'static str {
        Method::NAMES[self as usize]
    }

    /// The method of this name.
    pub fn from_name(name: &str) -> Option<Method> {
        Method::ALL.into_iter().find(|method| method.name() == name)
    }
}

/// How live lines are received. Offline runs ignore it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReceiveConfig {
    /// The kernel interface.
    pub method: Method,
    /// The size of each socket's receive buffer, or of each line's ring, to ask for; in bytes.
    pub buffer: u64,
    /// The core that the arbiter's thread is pinned to; `None`: the system chooses.
    pub core: Option<usize>,
    /// Whether to ask the kernel for a receive stamp with every datagram.
    pub kernel_stamps: bool,
    /// Whether `run` takes all memory that it may need at the start, and locks it.
    pub lock_memory: bool,
}

impl Default for ReceiveConfig {
    fn default() -> ReceiveConfig {
        ReceiveConfig { method: Method::Socket, buffer: 8 << 20, core: None, kernel_stamps: false, lock_memory: false }
    }
}

#[cfg(test)]
mod tests;
