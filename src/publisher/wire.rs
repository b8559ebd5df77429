//! Where datagrams leave: [`Wire`], and a feed's lines on the network.

use std::io;
use std::net::SocketAddrV4;
use std::time::Duration;

use crate::config::{Feed, LineConfig};
use crate::frame::Line;
use crate::os::clock::Clock;
use crate::os::send::{self, SendFacts, SendOptions, Sender, Trouble};
use crate::time::Nanos;

/// How long a full queue is waited for at a time, and how often, before the datagram is given up.
const ROOM_WAIT: Duration = Duration::from_millis(10);
const ROOM_WAITS: u32 = 3;
/// How often an interface that cannot be reached is looked for.
const LOOK_EVERY: Nanos = Nanos::from_millis(250);

/// Where datagrams leave.
pub trait Wire {
    /// Sends one datagram on a line's group.
    ///
    /// # Errors
    /// The system's. [`is_passing`] says which of them the sender counts and goes on after.
    fn send(&mut self, line: Line, group: u16, datagram: &[u8]) -> io::Result<()>;

    /// Sends datagrams on a line's group, one behind the other: how many left, from the front, and what kept back the
    /// next one, if that is not all of them.
    fn send_batch(&mut self, line: Line, group: u16, datagrams: &[&[u8]]) -> (usize, io::Result<()>) {
        for (sent, datagram) in datagrams.iter().enumerate() {
            if let Err(error) = self.send(line, group, datagram) {
                return (sent, Err(error));
            }
        }
        (datagrams.len(), Ok(()))
    }
}

/// Whether an error of a send may pass: the interface is down or gone, there is no route, buffers are full, the datagram
/// is too long for the path.
pub fn is_passing(error: &io::Error) -> bool {
    Trouble::of(error).is_some()
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
    pub error: send::SendError,
}

/// A feed's lines on the network: a [`Sender`] a line and group, looped back to this host. A line's `source`, where it
/// has one, is the address that is sent from.
///
/// A queue that is full is waited for a little: what a sender has planned is not to be lost within its own host. An
/// interface that went away is used again when it is back.
#[derive(Debug)]
pub struct UdpWire {
    lines: Vec<Vec<Sender>>,
    clock: Clock,
    looked: Nanos,
}

impl UdpWire {
    /// Opens the sockets, time to live 1: what is sent stays on the link.
    ///
    /// # Errors
    /// [`WireError`], which names the line.
    pub fn open(feed: &Feed) -> Result<UdpWire, WireError> {
        let line = |line: &LineConfig| {
            let options = SendOptions { source: line.source, ..SendOptions::default() };
            let sender = |&group: &SocketAddrV4| {
                Sender::open(group, &line.interface, options)
                    .map_err(|error| WireError { line: line.name.clone(), error })
            };
            line.groups.iter().map(sender).collect()
        };
        let clock = Clock::start();
        let lines = feed.lines.iter().map(line).collect::<Result<_, WireError>>()?;
        Ok(UdpWire { lines, clock, looked: clock.now() })
    }

    /// What a line's sockets have done so far; nothing for a line that there is not.
    pub fn facts(&self, line: Line) -> SendFacts {
        let senders = self.lines.get(line.index()).into_iter().flatten();
        senders.fold(SendFacts::default(), |sum, sender| {
            let facts = sender.facts();
            SendFacts {
                datagrams: sum.datagrams + facts.datagrams,
                bytes: sum.bytes + facts.bytes,
                unreachable: sum.unreachable + facts.unreachable,
                full: sum.full + facts.full,
                nobody: sum.nobody + facts.nobody,
            }
        })
    }

    fn sender(&mut self, line: Line, group: u16) -> io::Result<&mut Sender> {
        let sender = self.lines.get_mut(line.index()).and_then(|groups| groups.get_mut(usize::from(group)));
        sender.ok_or_else(|| io::ErrorKind::AddrNotAvailable.into())
    }

    /// What to make of a trouble that kept a datagram back: whether it is worth another try.
    #[cold]
    fn again(&mut self, line: Line, group: u16, trouble: Trouble, tries: &mut u32) -> io::Result<bool> {
        *tries += 1;
        let now = self.clock.now();
        let look = now - self.looked >= LOOK_EVERY;
        match trouble {
            Trouble::Full if *tries <= ROOM_WAITS => self.sender(line, group)?.wait_for_room(ROOM_WAIT).map(|()| true),
            // said of a datagram before this one, and said once
            Trouble::Nobody => Ok(*tries <= 1),
            Trouble::Unreachable if look => {
                self.looked = now;
                match self.sender(line, group)?.check() {
                    Ok(checked) => Ok(checked == send::Checked::Back),
                    // no socket yet: this trouble goes on
                    Err(_) => Ok(false),
                }
            }
            Trouble::Full | Trouble::Unreachable => Ok(false),
        }
    }
}

fn refused(error: send::SendError) -> io::Error {
    match error {
        send::SendError::Refused { error, .. } => error,
        error => io::Error::other(error),
    }
}

impl Wire for UdpWire {
    fn send(&mut self, line: Line, group: u16, datagram: &[u8]) -> io::Result<()> {
        let mut tries = 0;
        loop {
            let Some(trouble) = self.sender(line, group)?.send(datagram).map_err(refused)? else { return Ok(()) };
            if !self.again(line, group, trouble, &mut tries)? {
                return Err(trouble.into());
            }
        }
    }

    fn send_batch(&mut self, line: Line, group: u16, datagrams: &[&[u8]]) -> (usize, io::Result<()>) {
        let (mut sent, mut tries) = (0, 0);
        loop {
            let sender = match self.sender(line, group) {
                Ok(sender) => sender,
                Err(error) => return (sent, Err(error)),
            };
            let before = sender.facts().datagrams;
            let result = sender.send_batch(&datagrams[sent..]);
            // of a batch whose next one is refused, the front has left all the same
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
