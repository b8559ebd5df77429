//! Live sockets: the hot thread's half.

use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::ops::Add;

use crate::config::{Feed, LineConfig};
use crate::ip::FragmentFacts;
use crate::os::{
    Batch, HostInterface, MappedRingError, Membership, RECEIVE_BATCH, ReceiveOptions, Receiver, SocketError,
    is_transient_receive_error, no_such_interface,
};
use crate::source::watch::{Joins, LiveWatch};
use crate::source::{CountedSource, Datagram, Pass, Source};
use twinline_core::frame::{LINES_MAX, Line};

/// Why a feed cannot be listened to.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LiveError {
    /// None of the interfaces exists. If one does, the others are waited for.
    #[error(
        "feed {feed}: none of its interfaces exists ({}): name this host's own (`ip address` lists them) in the feed \
         file, by name or by address", .interfaces.join(", ")
    )]
    NoInterface {
        /// The feed.
        feed: String,
        /// The interfaces of its lines, as configured.
        interfaces: Vec<String>,
    },
    /// The interfaces cannot be listed.
    #[error("feed {feed}: cannot list this host's interfaces: {error}")]
    Interfaces {
        /// The feed.
        feed: String,
        /// What the system says.
        error: io::Error,
    },
    /// A socket cannot be opened.
    #[error("line {line}, group {group}, interface {interface}: {error}; {}", .error.advice(*.group))]
    Socket {
        /// The line.
        line: String,
        /// The group and port.
        group: SocketAddrV4,
        /// The interface, as configured.
        interface: String,
        /// What was being done, and what the system says.
        error: SocketError,
    },
    /// A ring cannot be opened.
    #[error("line {line}, interface {interface}: {error}")]
    Ring {
        /// The line.
        line: String,
        /// The interface, as configured.
        interface: String,
        /// What was being done, what the system says, and what is missing.
        error: MappedRingError,
    },
}

/// What a line brought.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct LineFacts {
    /// Datagrams handed over.
    pub datagrams: u64,
    /// Their payloads' bytes.
    pub bytes: u64,
    /// Datagrams from senders other than the line's `source`. Of unicast addresses only: for a group, the kernel lets in only that
    /// sender's.
    pub other_senders: u64,
    /// Datagrams longer than UDP over IPv4 allows, and frames that the ring holds only in part: not handed over.
    pub truncated: u64,
    /// Receive calls that failed and may succeed next time.
    pub errors: u64,
    /// What was wrong with frames. With sockets the kernel checks that, and counts it in its own way.
    pub frames: FrameFacts,
    /// What became of fragments. With sockets the kernel reassembles them.
    pub fragments: FragmentFacts,
}

impl Add for LineFacts {
    type Output = LineFacts;

    fn add(self, other: LineFacts) -> LineFacts {
        LineFacts {
            datagrams: self.datagrams + other.datagrams,
            bytes: self.bytes + other.bytes,
            other_senders: self.other_senders + other.other_senders,
            truncated: self.truncated + other.truncated,
            errors: self.errors + other.errors,
            frames: self.frames + other.frames,
            fragments: self.fragments + other.fragments,
        }
    }
}

/// Frames of a mapped ring that hold no datagram of the line, by reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct FrameFacts {
    /// Headers that contradict each other, or claim more than is there.
    pub malformed: u64,
    /// The IPv4 header's checksum is wrong.
    pub ip_checksum: u64,
    /// The UDP checksum is wrong.
    pub udp_checksum: u64,
    /// Not addressed to any of the line's groups and ports.
    pub foreign: u64,
}

impl Add for FrameFacts {
    type Output = FrameFacts;

    fn add(self, other: FrameFacts) -> FrameFacts {
        FrameFacts {
            malformed: self.malformed + other.malformed,
            ip_checksum: self.ip_checksum + other.ip_checksum,
            udp_checksum: self.udp_checksum + other.udp_checksum,
            foreign: self.foreign + other.foreign,
        }
    }
}

/// What the lines brought: a plain copy, without a system call. [`LiveWatch::facts`] has what only the kernel knows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SourceFacts {
    /// By [`Line::index`]; a feed's lines come first.
    pub lines: [LineFacts; LINES_MAX],
}

impl Add for SourceFacts {
    type Output = SourceFacts;

    /// Line by line.
    fn add(mut self, other: SourceFacts) -> SourceFacts {
        for (line, other) in self.lines.iter_mut().zip(other.lines) {
            *line = *line + other;
        }
        self
    }
}

/// The hot thread's half of a feed's live sockets: one socket for each line and group, polled without waiting. It does nothing but
/// receive. The other half is [`LiveWatch`].
///
/// A pass takes the first group of each line, then the second of each, so that it looks for the two copies of a message one right
/// after the other. Which line comes first rotates from pass to pass (ARBITRATION 1.2).
#[derive(Debug)]
pub struct Live {
    /// Group by group, and line by line within a group.
    sockets: Vec<LiveSocket>,
    lines: usize,
    /// Which line the next pass polls first.
    first: usize,
    batch: Batch,
    facts: SourceFacts,
}

#[derive(Debug)]
struct LiveSocket {
    line: Line,
    group: u16,
    /// The only sender to accept, where the kernel does not check.
    only: Option<Ipv4Addr>,
    receiver: Receiver,
}

impl Live {
    /// Opens a socket for each line and group, and joins each on its line's interface.
    ///
    /// A missing interface is not an error as long as another line's exists: [`LiveWatch::check`] reports it, and joins when it
    /// appears.
    ///
    /// # Errors
    /// [`LiveError`].
    pub fn open(feed: &Feed, options: &ReceiveOptions) -> Result<(Live, LiveWatch), LiveError> {
        let found = interfaces(feed)?;
        let lines = feed.lines.len();
        let mut watch = LiveWatch::new();
        let mut by_line = Vec::with_capacity(lines);
        for (index, (line, found)) in feed.lines.iter().zip(&found).enumerate() {
            let mut receivers = Vec::with_capacity(line.groups.len());
            let mut memberships = Vec::with_capacity(line.groups.len());
            for &group in &line.groups {
                let failed = |error| LiveError::at_socket(line, group, error);
                // the kernel does not filter senders at a unicast address: `poll` does, by their address
                let senders = options.senders || line.source.is_some() && !group.ip().is_multicast();
                let options = ReceiveOptions { senders, ..*options };
                let (receiver, mut membership) =
                    Receiver::open(group, line.source, found.is_none(), &options).map_err(failed)?;
                join(&mut membership, found.as_ref()).map_err(failed)?;
                receivers.push(receiver);
                memberships.push(membership);
            }
            by_line.push(receivers.into_iter());
            watch.add(
                Line(index as u8),
                line,
                found.as_ref(),
                Joins { sockets: memberships, ring: None, join_only: false },
            );
        }
        let mut sockets = Vec::new();
        for group in 0..feed.lines.iter().map(|line| line.groups.len()).max().unwrap_or(0) {
            for (index, (receivers, line)) in by_line.iter_mut().zip(&feed.lines).enumerate() {
                // the lists have the same length: the feed was validated
                let Some(receiver) = receivers.next() else { continue };
                let only = line.source.filter(|_| !line.groups[group].ip().is_multicast());
                sockets.push(LiveSocket { line: Line(index as u8), group: group as u16, only, receiver });
            }
        }
        Ok((Live { sockets, lines, first: 0, batch: Batch::new(), facts: SourceFacts::default() }, watch))
    }

    /// What the lines brought so far.
    pub fn facts(&self) -> SourceFacts {
        self.facts
    }
}

impl CountedSource for Live {
    fn facts(&self) -> SourceFacts {
        self.facts
    }
}

/// The interfaces of a feed's lines, as far as they exist.
///
/// # Errors
/// None exists, or the system cannot list them.
pub(super) fn interfaces(feed: &Feed) -> Result<Vec<Option<HostInterface>>, LiveError> {
    let interfaces = HostInterface::all().map_err(|error| LiveError::Interfaces { feed: feed.name.clone(), error })?;
    let found: Vec<_> = feed.lines.iter().map(|line| HostInterface::find(&interfaces, &line.interface)).collect();
    if found.iter().all(Option::is_none) {
        let interfaces = feed.lines.iter().map(|line| line.interface.clone()).collect();
        return Err(LiveError::NoInterface { feed: feed.name.clone(), interfaces });
    }
    Ok(found)
}

impl LiveError {
    /// A socket of `line` for `group` cannot be opened.
    pub(super) fn at_socket(line: &LineConfig, group: SocketAddrV4, error: SocketError) -> LiveError {
        let (line, interface) = (line.name.clone(), line.interface.clone());
        LiveError::Socket { line, group, interface, error }
    }
}

/// Joins a group if its line's interface exists. One that has gone since it was listed is not an error: the watch will notice.
pub(super) fn join(membership: &mut Membership, found: Option<&HostInterface>) -> Result<(), SocketError> {
    match found.map_or(Ok(()), |interface| membership.join(interface.index)) {
        Err(error) if !no_such_interface(&error) => Err(SocketError { doing: "join the group", error }),
        _ => Ok(()),
    }
}

impl Source for Live {
    #[inline]
    fn poll(&mut self, take: &mut impl FnMut(Datagram<'_>)) -> io::Result<Pass> {
        let mut pass = Pass::default();
        for group in self.sockets.chunks(self.lines) {
            for place in 0..group.len() {
                let socket = &group[(self.first + place) % group.len()];
                let facts = &mut self.facts.lines[socket.line.index()];
                let mut handed_over = 0;
                let polled = socket.receiver.poll(&mut self.batch, &mut |received| {
                    if received.truncated {
                        facts.truncated += 1;
                    } else if socket.only.is_some_and(|only| only != *received.sender.ip()) {
                        facts.other_senders += 1;
                    } else {
                        handed_over += 1;
                        facts.datagrams += 1;
                        facts.bytes += received.payload.len() as u64;
                        take(Datagram {
                            line: socket.line,
                            group: socket.group,
                            source: received.sender,
                            stamp: None,
                            kernel_stamp: received.kernel_stamp,
                            payload: received.payload,
                        });
                    }
                });
                pass.datagrams += handed_over;
                match polled {
                    Ok(count) => pass.full |= count == RECEIVE_BATCH,
                    Err(error) if is_transient_receive_error(&error) => facts.errors += 1,
                    Err(error) => return Err(error),
                }
            }
        }
        self.first = (self.first + 1) % self.lines;
        Ok(pass)
    }
}
