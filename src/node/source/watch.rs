//! Looking after live lines, beside the hot thread.

use std::fmt;
use std::io;
use std::net::SocketAddrV4;

use crate::config::LineConfig;
use crate::os::{Attachment, HostInterface, Membership};
use twinline_core::frame::Line;

/// Something to report about a line. Displays as a sentence.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Notice {
    /// The line.
    pub line: Line,
    /// Its name.
    pub name: String,
    /// What happened.
    pub what: LineChange,
}

/// What happened around a line.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LineChange {
    /// Its interface is missing at the start.
    Missing {
        /// The interface, as configured.
        interface: String,
    },
    /// Its interface disappeared.
    Gone {
        /// The interface, as configured.
        interface: String,
        /// The index that it had.
        index: u32,
    },
    /// Its interface appeared, or another took its place, and its groups are joined there.
    Joined {
        /// The interface, as configured.
        interface: String,
        /// The new index.
        index: u32,
    },
    /// A group cannot be joined. Each check tries again; it is reported once.
    NotJoined {
        /// The group.
        group: SocketAddrV4,
        /// The interface, as configured.
        interface: String,
        /// What the system says.
        error: String,
    },
    /// The line's ring cannot be attached. Each check tries again; it is reported once.
    NotAttached {
        /// The interface, as configured.
        interface: String,
        /// What the system says, and what is missing.
        error: String,
    },
    /// The link went down.
    Down {
        /// The interface, as configured.
        interface: String,
    },
    /// The link came up again.
    Up {
        /// The interface, as configured.
        interface: String,
    },
    /// The kernel threw datagrams away at a socket.
    Overflow {
        /// The group whose socket it is.
        group: SocketAddrV4,
        /// How many since the last notice.
        datagrams: u32,
    },
    /// The kernel threw frames away at a line's ring.
    RingOverflow {
        /// How many since the last notice.
        frames: u64,
    },
    /// The kernel gave a smaller receive buffer than was asked for.
    SmallBuffer {
        /// Bytes asked for.
        asked: usize,
        /// Bytes given.
        given: usize,
    },
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: ", self.name)?;
        match &self.what {
            LineChange::Missing { interface } => {
                write!(f, "there is no interface {interface}; the line is joined when it appears")
            }
            LineChange::Gone { interface, index } => write!(f, "interface {interface} (index {index}) disappeared"),
            LineChange::Joined { interface, index } => write!(f, "joined on interface {interface} (index {index})"),
            LineChange::NotJoined { group, interface, error } => {
                write!(f, "cannot join {group} on interface {interface}: {error}; trying again")
            }
            LineChange::NotAttached { interface, error } => {
                write!(f, "interface {interface}: {error}; trying again")
            }
            LineChange::Down { interface } => write!(f, "interface {interface} is down"),
            LineChange::Up { interface } => write!(f, "interface {interface} is up"),
            LineChange::Overflow { group, datagrams } => {
                write!(
                    f,
                    "{datagrams} datagrams of {group} lost at the socket: its buffer was full because the arbiter was too slow"
                )
            }
            LineChange::RingOverflow { frames } => {
                write!(f, "{frames} frames lost at the ring: it was full because the arbiter was too slow")
            }
            LineChange::SmallBuffer { asked, given } => write!(
                f,
                "asked for a receive buffer of {asked} bytes, given {given}: run with CAP_NET_ADMIN, or \
                 `sysctl -w net.core.rmem_max={asked}`"
            ),
        }
    }
}

/// The state of a line's interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum InterfaceState {
    /// It exists and has a carrier.
    Up,
    /// It exists without a carrier.
    Down,
    /// It does not exist.
    Missing,
}

impl fmt::Display for InterfaceState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            InterfaceState::Up => "up",
            InterfaceState::Down => "down",
            InterfaceState::Missing => "missing",
        })
    }
}

/// What the kernel knows of a line, as of the last check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WatchFacts {
    /// Datagrams that the kernel threw away at the line's sockets, or frames at its ring.
    pub overflow: u64,
    /// The receive buffer that each socket, or the ring, asked for, in bytes.
    pub buffer_asked: usize,
    /// The smallest buffer that one of them was given, in bytes.
    pub buffer_given: usize,
    /// The state of its interface.
    pub interface: InterfaceState,
    /// How often its interface disappeared.
    pub gone: u64,
}

/// What a line is received by, as housekeeping sees it.
#[derive(Debug)]
pub(super) struct Joins {
    /// A socket for each group.
    pub(super) sockets: Vec<Membership>,
    /// The ring, if the line has one.
    pub(super) ring: Option<Box<dyn Attachment>>,
    /// Whether the sockets are joined and never read: then what they lose does not count.
    pub(super) join_only: bool,
}

/// The half of a feed's live lines for the thread beside the hot one: it joins groups, looks after interfaces, and counts what
/// sockets and rings lost. They close when both halves are dropped.
///
/// What can go wrong around a line:
///
/// | what happens | reported as | what is done |
/// |---|---|---|
/// | the interface is missing at the start | [`LineChange::Missing`] | joined when it appears |
/// | the link goes down, comes up | [`LineChange::Down`], [`LineChange::Up`] | nothing: the membership stays |
/// | the interface is deleted | [`LineChange::Gone`] | the group is left there |
/// | the interface is created again | [`LineChange::Joined`] | the same socket joins on the new one |
/// | the receive buffer overflows | [`LineChange::Overflow`], [`LineChange::RingOverflow`] | it counts among the facts of the source, not of the arbiter (ARBITRATION 10.2) |
/// | the receive buffer is smaller than asked for | [`LineChange::SmallBuffer`] | nothing: it is reported once |
#[derive(Debug)]
pub struct LiveWatch {
    lines: Vec<LineWatch>,
    /// What was found at the start, for the first check to report.
    notices: Vec<Notice>,
}

impl LiveWatch {
    pub(super) fn new() -> LiveWatch {
        LiveWatch { lines: Vec::new(), notices: Vec::new() }
    }

    pub(super) fn add(&mut self, line: Line, config: &LineConfig, found: Option<&HostInterface>, joins: Joins) {
        let sockets = joins.sockets.iter().map(Membership::buffer_bytes);
        let buffers: Vec<(usize, usize)> = match &joins.ring {
            None => sockets.collect(),
            Some(ring) => vec![ring.buffer_bytes()],
        };
        let facts = WatchFacts {
            overflow: 0,
            buffer_asked: buffers.iter().map(|(asked, _)| *asked).max().unwrap_or(0),
            buffer_given: buffers.iter().map(|(_, given)| *given).min().unwrap_or(0),
            interface: state(found),
            gone: 0,
        };
        let watch = LineWatch {
            line,
            name: config.name.clone(),
            interface: config.interface.clone(),
            index: found.map(|found| found.index),
            by_addr: found.filter(|found| found.name != config.interface).map(|found| found.name.clone()),
            complained: false,
            joins,
            facts,
        };
        if found.is_none() {
            self.notices.push(watch.notice(LineChange::Missing { interface: config.interface.clone() }));
        }
        if facts.interface == InterfaceState::Down {
            self.notices.push(watch.notice(LineChange::Down { interface: config.interface.clone() }));
        }
        if facts.buffer_given < facts.buffer_asked {
            let (asked, given) = (facts.buffer_asked, facts.buffer_given);
            self.notices.push(watch.notice(LineChange::SmallBuffer { asked, given }));
        }
        self.lines.push(watch);
    }

    /// Gives a line that has sockets a ring as well. The ring may also serve other lines on the same interface.
    pub(super) fn add_ring(&mut self, line: Line, ring: Box<dyn Attachment>) {
        self.lines[line.index()].joins.ring = Some(ring);
    }

    /// Looks after everything once, and returns what is new. Call it a few times per second: an interface that is deleted and
    /// re-created brings nothing until the next check. (One that is re-created with the same index, which someone would have to
    /// ask for, goes unnoticed unless a check falls in between.) Call it from a thread in the network namespace in which the
    /// sockets were opened.
    ///
    /// # Errors
    /// The system's error if it cannot list the interfaces. What was found by then is reported by the next check.
    pub fn check(&mut self) -> io::Result<Vec<Notice>> {
        for line in &mut self.lines {
            line.count_overflow(&mut self.notices)?;
        }
        let all = HostInterface::all()?;
        for line in &mut self.lines {
            line.look_after_interface(&all, &mut self.notices);
        }
        Ok(std::mem::take(&mut self.notices))
    }

    /// What the kernel knows of each line, in the feed's order, as of the last check.
    pub fn facts(&self) -> Vec<WatchFacts> {
        self.lines.iter().map(|line| line.facts).collect()
    }
}

fn state(found: Option<&HostInterface>) -> InterfaceState {
    match found {
        Some(found) if found.running => InterfaceState::Up,
        Some(_) => InterfaceState::Down,
        None => InterfaceState::Missing,
    }
}

#[derive(Debug)]
struct LineWatch {
    line: Line,
    name: String,
    /// By name or address, as configured.
    interface: String,
    /// Where the groups are joined, or should be.
    index: Option<u32>,
    /// Its name, if it was found by address.
    by_addr: Option<String>,
    complained: bool,
    joins: Joins,
    facts: WatchFacts,
}

impl LineWatch {
    fn notice(&self, what: LineChange) -> Notice {
        Notice { line: self.line, name: self.name.clone(), what }
    }

    fn count_overflow(&mut self, notices: &mut Vec<Notice>) -> io::Result<()> {
        if let Some(ring) = &mut self.joins.ring {
            let frames = ring.overflow()?;
            if frames > 0 {
                self.facts.overflow += frames;
                notices.push(self.notice(LineChange::RingOverflow { frames }));
            }
        }
        if self.joins.join_only {
            return Ok(());
        }
        for i in 0..self.joins.sockets.len() {
            let datagrams = self.joins.sockets[i].overflow()?;
            if datagrams > 0 {
                self.facts.overflow += u64::from(datagrams);
                let group = self.joins.sockets[i].group();
                notices.push(self.notice(LineChange::Overflow { group, datagrams }));
            }
        }
        Ok(())
    }

    fn look_after_interface(&mut self, all: &[HostInterface], notices: &mut Vec<Notice>) {
        let interface = || self.interface.clone();
        // an address may disappear for a moment while its interface and memberships stay
        let stays = |one: &&HostInterface| Some(one.index) == self.index && Some(&one.name) == self.by_addr.as_ref();
        let found = HostInterface::find(all, &self.interface).or_else(|| all.iter().find(stays).cloned());
        if self.index.is_some() && self.index != found.as_ref().map(|found| found.index) {
            let index = self.index.unwrap_or_default();
            notices.push(self.notice(LineChange::Gone { interface: interface(), index }));
            self.joins.sockets.iter_mut().for_each(Membership::leave);
            if let Some(ring) = &mut self.joins.ring {
                ring.detach();
            }
            self.index = None;
            self.complained = false;
            self.facts.gone += 1;
            self.facts.interface = InterfaceState::Missing;
        }
        let Some(found) = found else { return };
        self.join(&found, notices);
        let now = state(Some(&found));
        match (self.facts.interface, now) {
            (InterfaceState::Up | InterfaceState::Missing, InterfaceState::Down) => {
                notices.push(self.notice(LineChange::Down { interface: self.interface.clone() }));
            }
            (InterfaceState::Down, InterfaceState::Up) => {
                notices.push(self.notice(LineChange::Up { interface: self.interface.clone() }));
            }
            _ => {}
        }
        self.facts.interface = now;
    }

    /// Joins every socket that is not joined on `found` yet, and attaches the ring.
    fn join(&mut self, found: &HostInterface, notices: &mut Vec<Notice>) {
        let mut failed = None;
        let interface = || self.interface.clone();
        for socket in self.joins.sockets.iter_mut().filter(|socket| socket.joined() != Some(found.index)) {
            if let Err(error) = socket.join(found.index) {
                let (group, error) = (socket.group(), error.to_string());
                failed.get_or_insert_with(|| LineChange::NotJoined { group, interface: interface(), error });
            }
        }
        if let Some(ring) = self.joins.ring.as_mut().filter(|ring| ring.attached() != Some(found.index))
            && let Err(error) = ring.attach(found.index)
        {
            let error = error.to_string();
            failed.get_or_insert_with(|| LineChange::NotAttached { interface: interface(), error });
        }
        if let Some(what) = failed {
            if !self.complained {
                notices.push(self.notice(what));
            }
            self.complained = true;
        } else if self.complained || self.index != Some(found.index) {
            notices.push(self.notice(LineChange::Joined { interface: interface(), index: found.index }));
            self.complained = false;
        }
        self.index = Some(found.index);
        self.by_addr = (found.name != self.interface).then(|| found.name.clone());
    }
}
