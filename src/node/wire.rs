//! Where datagrams leave: the trait [`Wire`], and a feed's lines on the network, by sockets or as frames.

use std::io;
use std::net::SocketAddrV4;
use std::time::Duration;

use crate::config::{Feed, LineConfig};
use crate::os::{
    Clock, PacketError, PacketFlow, PacketSender, SEND_BATCH, SendFacts, SendOptions, SendTrouble, Sender, SenderError,
    SenderState, joined_here,
};
use twinline_core::Nanos;
use twinline_core::frame::Line;

/// If a queue is full, wait this long for room, this many times, before giving up the datagram.
const ROOM_WAIT: Duration = Duration::from_millis(10);
const ROOM_WAITS: u32 = 3;
/// If an interface takes no frame, leave it alone this long, this many times, before giving up the datagram.
const FRAME_WAIT: Duration = Duration::from_micros(50);
const FRAME_WAITS: u32 = 600;
/// How often to look for an interface that cannot be reached.
const LOOK_EVERY: Nanos = Nanos::from_millis(250);

/// Where datagrams leave.
pub trait Wire {
    /// Sends one datagram on a line's group.
    ///
    /// # Errors
    /// The system's error. [`is_transient`] says after which errors the sender goes on.
    fn send(&mut self, line: Line, group: u16, datagram: &[u8]) -> io::Result<()>;

    /// Sends datagrams of a line in order, each with the position of its group in the line's list. Returns how many left, counted
    /// from the front, and if that is not all, the error that kept the next one back.
    fn send_line(&mut self, line: Line, datagrams: &[(u16, &[u8])]) -> (usize, io::Result<()>) {
        for (sent, (group, datagram)) in datagrams.iter().enumerate() {
            if let Err(error) = self.send(line, *group, datagram) {
                return (sent, Err(error));
            }
        }
        (datagrams.len(), Ok(()))
    }
}

/// Whether an error of a send is transient: the interface is down or gone, there is no route, buffers are full, the datagram
/// is too long for the path. The next datagram may leave.
pub fn is_transient(error: &io::Error) -> bool {
    SendTrouble::of(error).is_some()
        || matches!(
            error.raw_os_error(),
            Some(libc::EHOSTDOWN | libc::ENXIO | libc::EMSGSIZE | libc::EPERM | libc::EINTR)
        )
}

/// A line that cannot be sent on.
#[derive(Debug, thiserror::Error)]
#[error("line {line}: {error}")]
pub struct WireError {
    /// The line's name.
    pub line: String,
    /// What is wrong with it.
    pub error: LineSendError,
}

/// Why a line cannot be sent on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LineSendError {
    /// By sockets.
    #[error(transparent)]
    Socket(#[from] SenderError),
    /// As frames, as asked for.
    #[error(transparent)]
    Frames(#[from] PacketError),
}

/// How datagrams are to leave.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum SendBy {
    /// UDP sockets.
    #[default]
    Socket,
    /// As frames, by one packet socket per line; to unicast addresses, and if too long for a frame, by UDP sockets.
    Packet,
    /// As frames if they can be sent and no socket on this host has joined the line's groups; otherwise by sockets.
    Auto,
}

/// How a line's datagrams leave, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SendChoice {
    /// Whether they leave as frames, by a packet socket; except those that cannot.
    pub packet: bool,
    /// Why; `None` if there was no choice.
    pub why: Option<String>,
}

/// A feed's lines on the network. A line's `source`, if it has one, is the address to send from.
///
/// Each line and group has a [`Sender`], which loops back to this host. Multicast may go by a [`PacketSender`] instead, which is
/// faster and is not heard on this host.
///
/// If a queue is full, it waits a little: what a sender has planned is not to be lost within its own host. An interface that
/// went away is used again when it is back.
#[derive(Debug)]
pub struct UdpWire {
    lines: Vec<LineWire>,
    clock: Clock,
    looked: Nanos,
}

/// One line's part.
#[derive(Debug)]
struct LineWire {
    senders: Vec<Sender>,
    frames: Option<Frames>,
    choice: SendChoice,
}

/// A line's faster way out.
#[derive(Debug)]
struct Frames {
    packet: PacketSender,
    /// By group; `None` for those that use their socket.
    flows: Vec<Option<PacketFlow>>,
}

impl UdpWire {
    /// Opens the sockets, with a time to live of 1: what is sent stays on the link.
    ///
    /// # Errors
    /// [`WireError`], which names the line.
    pub fn open(feed: &Feed) -> Result<UdpWire, WireError> {
        UdpWire::open_by(feed, SendBy::Socket)
    }

    /// Opens what datagrams leave by, with a time to live of 1.
    ///
    /// # Errors
    /// [`WireError`], which names the line; with [`SendBy::Packet`], also if a line cannot be sent as frames.
    pub fn open_by(feed: &Feed, by: SendBy) -> Result<UdpWire, WireError> {
        let clock = Clock::start();
        let lines = feed
            .lines
            .iter()
            .map(|line| LineWire::open(line, by).map_err(|error| WireError { line: line.name.clone(), error }));
        let lines = lines.collect::<Result<_, WireError>>()?;
        Ok(UdpWire { lines, clock, looked: clock.now() })
    }

    /// How each line's datagrams leave, and why; in the feed's order.
    pub fn choices(&self) -> impl Iterator<Item = &SendChoice> {
        self.lines.iter().map(|line| &line.choice)
    }

    /// What a line's sockets have done so far; zeros for a line that does not exist.
    pub fn facts(&self, line: Line) -> SendFacts {
        let line = self.lines.get(line.index());
        let senders = line.into_iter().flat_map(|line| &line.senders).map(Sender::facts);
        let frames = line.and_then(|line| line.frames.as_ref()).map(|frames| frames.packet.facts());
        senders.chain(frames).fold(SendFacts::default(), |sum, facts| SendFacts {
            datagrams: sum.datagrams + facts.datagrams,
            bytes: sum.bytes + facts.bytes,
            unreachable: sum.unreachable + facts.unreachable,
            full: sum.full + facts.full,
            nobody: sum.nobody + facts.nobody,
        })
    }

    fn line(&mut self, line: Line) -> io::Result<&mut LineWire> {
        self.lines.get_mut(line.index()).ok_or_else(|| io::ErrorKind::AddrNotAvailable.into())
    }

    fn sender(&mut self, line: Line, group: u16) -> io::Result<&mut Sender> {
        let sender = self.line(line)?.senders.get_mut(usize::from(group));
        sender.ok_or_else(|| io::ErrorKind::AddrNotAvailable.into())
    }

    /// Whether it is time to look for an interface again.
    fn look(&mut self) -> bool {
        let now = self.clock.now();
        let look = now - self.looked >= LOOK_EVERY;
        if look {
            self.looked = now;
        }
        look
    }

    /// Whether to try again after a trouble that kept a datagram back.
    #[cold]
    fn again(&mut self, line: Line, group: u16, trouble: SendTrouble, tries: &mut u32) -> io::Result<bool> {
        *tries += 1;
        match trouble {
            SendTrouble::Full if *tries <= ROOM_WAITS => {
                self.sender(line, group)?.wait_for_room(ROOM_WAIT).map(|()| true)
            }
            // reported once, for an earlier datagram
            SendTrouble::Nobody => Ok(*tries <= 1),
            // this goes on until there is a socket
            SendTrouble::Unreachable if self.look() => Ok(self.line(line)?.check(group).unwrap_or(false)),
            SendTrouble::Full | SendTrouble::Unreachable => Ok(false),
        }
    }

    /// The same for a frame.
    #[cold]
    fn frame_again(&mut self, line: Line, trouble: SendTrouble, tries: &mut u32) -> io::Result<bool> {
        *tries += 1;
        match trouble {
            // it may be the interface's queue instead of the socket's, and nothing reports when that has room
            SendTrouble::Full if *tries <= FRAME_WAITS => {
                std::thread::sleep(FRAME_WAIT);
                Ok(true)
            }
            SendTrouble::Unreachable if self.look() => Ok(self.line(line)?.check_frames().unwrap_or(false)),
            _ => Ok(false),
        }
    }

    /// Sends datagrams of a line as frames, up to the first that cannot be one.
    fn send_frames(&mut self, line: Line, datagrams: &[(u16, &[u8])]) -> (usize, io::Result<()>) {
        let (mut sent, mut tries) = (0, 0);
        while sent < datagrams.len() {
            let Ok(LineWire { frames: Some(frames), senders, .. }) = self.line(line) else { break };
            frames.learn(senders, datagrams[sent].0);
            let error = match frames.packet.send(&mut frames.flows, &datagrams[sent..]) {
                Ok(0) => break,
                Ok(count) => {
                    sent += count;
                    tries = 0;
                    continue;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => error,
            };
            let Some(trouble) = SendTrouble::of(&error) else { return (sent, Err(error)) };
            match self.frame_again(line, trouble, &mut tries) {
                Ok(true) => {}
                Ok(false) => return (sent, Err(trouble.into())),
                Err(error) => return (sent, Err(error)),
            }
        }
        (sent, Ok(()))
    }

    /// Sends as many of a group's datagrams by its socket as go.
    fn send_by_socket(&mut self, line: Line, group: u16, datagrams: &[&[u8]]) -> (usize, io::Result<()>) {
        let (mut sent, mut tries) = (0, 0);
        loop {
            let sender = match self.sender(line, group) {
                Ok(sender) => sender,
                Err(error) => return (sent, Err(error)),
            };
            let before = sender.facts().datagrams;
            let result = sender.send_batch(&datagrams[sent..]);
            // if one of a batch is refused, those before it have left
            let left = (sender.facts().datagrams - before) as usize;
            sent += left;
            let trouble = match result {
                Ok((_, None)) => return (sent, Ok(())),
                Ok((_, Some(trouble))) => trouble,
                Err(error) => return (sent, Err(refused(error))),
            };
            if left > 0 {
                tries = 0;
            }
            match self.again(line, group, trouble, &mut tries) {
                Ok(true) => {}
                Ok(false) => return (sent, Err(trouble.into())),
                Err(error) => return (sent, Err(error)),
            }
        }
    }
}

impl LineWire {
    fn open(line: &LineConfig, by: SendBy) -> Result<LineWire, LineSendError> {
        let options = SendOptions { source: line.source, ..SendOptions::default() };
        let sender = |&group: &SocketAddrV4| Sender::open(group, &line.interface, options);
        let senders = line.groups.iter().map(sender).collect::<Result<Vec<_>, _>>()?;
        let mut wire = LineWire { senders, frames: None, choice: SendChoice { packet: false, why: None } };
        let unicast = wire.senders.iter().filter(|sender| !sender.to().ip().is_multicast()).count();
        let why = match by {
            SendBy::Socket => None,
            _ if unicast == wire.senders.len() => Some("its addresses are unicast".to_owned()),
            SendBy::Packet => {
                wire.open_frames()?;
                (unicast > 0).then(|| "but for its unicast addresses".to_owned())
            }
            SendBy::Auto => match wire.frames_for_nobody_here() {
                Ok(()) => {
                    let but = if unicast > 0 { ", but for its unicast addresses" } else { "" };
                    Some(format!("faster, and no socket of this host has joined{but}"))
                }
                Err(why) => Some(why),
            },
        };
        wire.choice = SendChoice { packet: wire.frames.is_some(), why };
        Ok(wire)
    }

    fn open_frames(&mut self) -> Result<(), PacketError> {
        let Some(first) = self.senders.first() else { return Ok(()) };
        let flows = self.senders.iter().map(|_| None).collect();
        self.frames = Some(Frames { packet: PacketSender::open(first.interface())?, flows });
        Ok(())
    }

    /// Opens frames if they are as good as sockets here; otherwise says why they are not.
    fn frames_for_nobody_here(&mut self) -> Result<(), String> {
        for sender in &self.senders {
            let group = *sender.to().ip();
            if sender.index().is_some_and(|index| joined_here(index, group)) {
                return Err(format!("a socket of this host has joined {group}, and would not hear frames"));
            }
        }
        self.open_frames().map_err(|error| error.to_string())
    }

    /// Looks for the interface of a group's socket; returns whether it is back.
    fn check(&mut self, group: u16) -> Result<bool, LineSendError> {
        match self.senders.get_mut(usize::from(group)) {
            Some(sender) => Ok(sender.check()? == SenderState::Back),
            None => Ok(false),
        }
    }

    /// The same for frames. The sockets have to be back first, since frames carry their addresses.
    fn check_frames(&mut self) -> Result<bool, LineSendError> {
        for sender in &mut self.senders {
            sender.check()?;
        }
        let Some(frames) = &mut self.frames else { return Ok(false) };
        let there = self.senders.first().and_then(Sender::index);
        if there.is_none_or(|index| index == frames.packet.index()) {
            return Ok(false);
        }
        let sent = frames.packet.facts();
        frames.packet = PacketSender::open(self.senders[0].interface())?.going_on(sent);
        frames.flows.fill(None);
        Ok(true)
    }
}

impl Frames {
    /// Makes the headers of a group, if it is multicast and its socket is connected by now.
    #[inline]
    fn learn(&mut self, senders: &[Sender], group: u16) {
        let group = usize::from(group);
        if let (Some(flow @ None), Some(sender)) = (self.flows.get_mut(group), senders.get(group))
            && sender.to().ip().is_multicast()
        {
            *flow = sender.from().map(|from| self.packet.flow(from, sender.to(), sender.ttl()));
        }
    }
}

fn refused(error: SenderError) -> io::Error {
    match error {
        SenderError::Refused { error, .. } => error,
        error => io::Error::other(error),
    }
}

impl Wire for UdpWire {
    fn send(&mut self, line: Line, group: u16, datagram: &[u8]) -> io::Result<()> {
        if self.line(line)?.frames.is_some() {
            return self.send_line(line, &[(group, datagram)]).1;
        }
        let mut tries = 0;
        loop {
            let Some(trouble) = self.sender(line, group)?.send(datagram).map_err(refused)? else { return Ok(()) };
            if !self.again(line, group, trouble, &mut tries)? {
                return Err(trouble.into());
            }
        }
    }

    fn send_line(&mut self, line: Line, datagrams: &[(u16, &[u8])]) -> (usize, io::Result<()>) {
        let mut sent = 0;
        while sent < datagrams.len() {
            let rest = &datagrams[sent..];
            let (count, result) = self.send_frames(line, rest);
            sent += count;
            if result.is_err() {
                return (sent, result);
            }
            // what cannot be a frame goes through its socket, one at a time if the next ones may be frames
            let rest = &datagrams[sent..];
            let Some(&(group, _)) = rest.first() else { break };
            let most = if self.line(line).is_ok_and(|line| line.frames.is_some()) { 1 } else { SEND_BATCH };
            let mut payloads = [[].as_slice(); SEND_BATCH];
            let same = rest.iter().take(most).take_while(|(of, _)| *of == group);
            let count = payloads.iter_mut().zip(same).map(|(to, (_, payload))| *to = payload).count();
            let (count, result) = self.send_by_socket(line, group, &payloads[..count]);
            sent += count;
            if result.is_err() {
                return (sent, result);
            }
        }
        (sent, Ok(()))
    }
}
