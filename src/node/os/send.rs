//! Sending: multicast sockets for a publisher.
//!
//! A [`Sender`] is connected to one group on one interface.

use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::AsRawFd;
use std::time::Duration;
use std::{mem, ptr};

use socket2::{Domain, Protocol, Socket, Type};

use super::netns::HostInterface;
use super::receive::{SocketError, set_option};
use super::sending::{SEND_BATCH, SendFacts};

/// Why nothing can be sent at all.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SenderError {
    /// The interface has to exist at the start.
    #[error(
        "{to}: no interface {interface} that has an IPv4 address: name one of this host's (`ip address` lists them), or its address"
    )]
    NoInterface {
        /// Where to send to.
        to: SocketAddrV4,
        /// The interface, as configured.
        interface: String,
    },
    /// The socket cannot be opened.
    #[error("{to} on {interface}: {error}")]
    Socket {
        /// Where to send to.
        to: SocketAddrV4,
        /// The interface, as configured.
        interface: String,
        /// What was being done, and what the system says.
        error: SocketError,
    },
    /// The system refuses to send this, now and later.
    #[error("{to} on {interface}: cannot send {bytes} bytes: {error}")]
    Refused {
        /// Where to send to.
        to: SocketAddrV4,
        /// The interface, as configured.
        interface: String,
        /// How long the payload is.
        bytes: usize,
        /// What the system says.
        error: io::Error,
    },
}

/// Why a datagram did not go out, while the next one may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SendTrouble {
    /// The link is down, or the interface is gone.
    Unreachable,
    /// A queue is full.
    Full,
    /// Nobody listens at a unicast address (reported for an earlier datagram).
    Nobody,
}

impl SendTrouble {
    /// The trouble that a system error means, if it is one of these.
    pub fn of(error: &io::Error) -> Option<SendTrouble> {
        match error.raw_os_error()? {
            libc::ENETUNREACH
            | libc::ENETDOWN
            | libc::EHOSTUNREACH
            | libc::ENODEV
            | libc::ENXIO
            | libc::EADDRNOTAVAIL => Some(SendTrouble::Unreachable),
            libc::EAGAIN | libc::ENOBUFS | libc::ENOMEM => Some(SendTrouble::Full),
            libc::ECONNREFUSED => Some(SendTrouble::Nobody),
            _ => None,
        }
    }
}

impl From<SendTrouble> for io::Error {
    /// One error code for all of its kind.
    fn from(trouble: SendTrouble) -> io::Error {
        io::Error::from_raw_os_error(match trouble {
            SendTrouble::Unreachable => libc::ENETUNREACH,
            SendTrouble::Full => libc::ENOBUFS,
            SendTrouble::Nobody => libc::ECONNREFUSED,
        })
    }
}

/// How to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SendOptions {
    /// How many hops a multicast datagram may take: 0 stays on this host, 1 on the link.
    pub ttl: u8,
    /// The address of this host to send from; `None`: the interface's own.
    pub source: Option<Ipv4Addr>,
}

impl SendOptions {
    /// The same, with this many hops for multicast datagrams.
    #[must_use]
    pub fn with_ttl(mut self, ttl: u8) -> SendOptions {
        self.ttl = ttl;
        self
    }

    /// The same, sent from this address of the host, or from the interface's own.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Option<Ipv4Addr>>) -> SendOptions {
        self.source = source.into();
        self
    }
}

impl Default for SendOptions {
    fn default() -> SendOptions {
        SendOptions { ttl: 1, source: None }
    }
}

/// What [`Sender::check`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SenderState {
    /// Nothing has changed.
    Same,
    /// The interface is gone.
    Gone,
    /// The interface is back under a new index, and in use again.
    Back,
}

/// A socket that sends to one group on one interface.
///
/// It never waits: what the system does not take now is counted as a [`SendTrouble`] and is gone, as it would be on the wire. A
/// link that is down is such a trouble, and so is a deleted interface: [`Sender::check`], called now and then, goes on once it is
/// back.
#[derive(Debug)]
pub struct Sender {
    to: SocketAddrV4,
    interface: String,
    options: SendOptions,
    socket: Socket,
    /// `None`: gone, or not connected yet.
    index: Option<u32>,
    connected: bool,
    facts: SendFacts,
    parts: Box<[libc::iovec]>,
    headers: Box<[libc::mmsghdr]>,
}

// SAFETY: the pointers in `parts` and `headers` are set anew for each call, and mean nothing outside of it
unsafe impl Send for Sender {}

impl Sender {
    /// Opens a socket to `to`, a group or a unicast address, on the interface with this name or IPv4 address. A link that is
    /// down is not an error: sending is counted as [`SendTrouble::Unreachable`] until it is up.
    ///
    /// # Errors
    /// [`SenderError::NoInterface`], [`SenderError::Socket`].
    pub fn open(to: SocketAddrV4, interface: &str, options: SendOptions) -> Result<Sender, SenderError> {
        let socket_error = |error| SenderError::Socket { to, interface: interface.to_owned(), error };
        let found = HostInterface::resolve(interface)
            .map_err(SocketError::doing("list the interfaces"))
            .map_err(socket_error)?
            .filter(|found| found.addr.is_some())
            .ok_or_else(|| SenderError::NoInterface { to, interface: interface.to_owned() })?;
        let (socket, connected) = connected(to, &found, options).map_err(socket_error)?;
        let part = libc::iovec { iov_base: ptr::null_mut(), iov_len: 0 };
        // SAFETY: a header of zeros names no address, no parts and no control data
        let header: libc::mmsghdr = unsafe { mem::zeroed() };
        Ok(Sender {
            to,
            interface: interface.to_owned(),
            options,
            socket,
            index: Some(found.index),
            connected,
            facts: SendFacts::default(),
            parts: vec![part; SEND_BATCH].into(),
            headers: vec![header; SEND_BATCH].into(),
        })
    }

    /// Sends one datagram. Returns `None` if it went out, otherwise the trouble, which is counted.
    ///
    /// # Errors
    /// [`SenderError::Refused`]: longer than 65,507 bytes, or forbidden.
    #[inline]
    pub fn send(&mut self, payload: &[u8]) -> Result<Option<SendTrouble>, SenderError> {
        if !self.connected
            && let Some(trouble) = self.connect(payload.len())?
        {
            return Ok(Some(trouble));
        }
        loop {
            match self.socket.send(payload) {
                Ok(_) => {
                    self.facts.datagrams += 1;
                    self.facts.bytes += payload.len() as u64;
                    return Ok(None);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return self.trouble(error, payload.len()).map(Some),
            }
        }
    }

    /// Sends datagrams one after the other, [`SEND_BATCH`] per system call. Returns how many went out, counted from the front, and
    /// the trouble that kept the next one back, if there was one (counted once).
    ///
    /// # Errors
    /// [`SenderError::Refused`], for the first that did not go out.
    pub fn send_batch(&mut self, payloads: &[&[u8]]) -> Result<(usize, Option<SendTrouble>), SenderError> {
        let mut sent = 0;
        while sent < payloads.len() {
            let bytes = payloads[sent].len();
            if !self.connected
                && let Some(trouble) = self.connect(bytes)?
            {
                return Ok((sent, Some(trouble)));
            }
            match self.send_some(&payloads[sent..]) {
                Ok(count) => sent += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Ok((sent, Some(self.trouble(error, bytes)?))),
            }
        }
        Ok((sent, None))
    }

    /// Checks whether the interface is still the same, and goes on with the one that took its place. For now and then: it lists
    /// the system's interfaces.
    ///
    /// # Errors
    /// [`SenderError::Socket`] if the interface is back and no socket can be opened.
    pub fn check(&mut self) -> Result<SenderState, SenderError> {
        let socket_error = |error| SenderError::Socket { to: self.to, interface: self.interface.clone(), error };
        let all = HostInterface::all().map_err(SocketError::doing("list the interfaces")).map_err(socket_error)?;
        // without an address of its own, the kernel would use another interface's
        let found = HostInterface::find(&all, &self.interface).filter(|found| found.addr.is_some());
        let Some(found) = found else {
            // its address may disappear for a moment while the interface stays
            if self.index.is_none() || all.iter().any(|one| Some(one.index) == self.index) {
                return Ok(SenderState::Same);
            }
            (self.index, self.connected) = (None, false);
            return Ok(SenderState::Gone);
        };
        if self.index == Some(found.index) {
            return Ok(SenderState::Same);
        }
        match connected(self.to, &found, self.options) {
            // a new socket, since a connected one would keep the old interface's address
            Ok((socket, connected)) => (self.socket, self.connected) = (socket, connected),
            // the address to send from does not exist yet
            Err(error) if SendTrouble::of(&error.error).is_some() => return Ok(SenderState::Same),
            Err(error) => return Err(socket_error(error)),
        }
        self.index = Some(found.index);
        Ok(SenderState::Back)
    }

    /// Waits until the socket's own queue has room, at most this long (rounded up to a millisecond).
    ///
    /// # Errors
    /// The system's error.
    pub(crate) fn wait_for_room(&self, at_most: Duration) -> io::Result<()> {
        let mut socket = libc::pollfd { fd: self.socket.as_raw_fd(), events: libc::POLLOUT, revents: 0 };
        let millis = i32::try_from(at_most.as_nanos().div_ceil(1_000_000)).unwrap_or(i32::MAX);
        // SAFETY: one entry, which lives until the call is over
        match unsafe { libc::poll(&raw mut socket, 1, millis) } {
            -1 => match io::Error::last_os_error() {
                error if error.kind() == io::ErrorKind::Interrupted => Ok(()),
                error => Err(error),
            },
            _ => Ok(()),
        }
    }

    /// Where it sends to.
    pub fn to(&self) -> SocketAddrV4 {
        self.to
    }

    /// Where it sends from; `None` while it is not connected (the link was down when it was opened).
    pub fn from(&self) -> Option<SocketAddrV4> {
        if !self.connected {
            return None;
        }
        self.socket.local_addr().ok()?.as_socket_ipv4()
    }

    /// How many hops its multicast datagrams may take.
    pub fn ttl(&self) -> u8 {
        self.options.ttl
    }

    /// The interface, as configured.
    pub fn interface(&self) -> &str {
        &self.interface
    }

    /// The index of the interface; `None`: it is gone.
    pub fn index(&self) -> Option<u32> {
        self.index
    }

    /// What it has done so far.
    pub fn facts(&self) -> SendFacts {
        self.facts
    }

    #[cold]
    fn connect(&mut self, bytes: usize) -> Result<Option<SendTrouble>, SenderError> {
        let gone = || Err(io::Error::from_raw_os_error(libc::ENODEV));
        match self.index.map_or_else(gone, |_| self.socket.connect(&self.to.into())) {
            Ok(()) => {
                self.connected = true;
                Ok(None)
            }
            Err(error) => self.trouble(error, bytes).map(Some),
        }
    }

    fn send_some(&mut self, payloads: &[&[u8]]) -> io::Result<usize> {
        let count = payloads.len().min(SEND_BATCH);
        for ((payload, part), header) in payloads.iter().zip(&mut self.parts).zip(&mut self.headers) {
            *part = libc::iovec { iov_base: payload.as_ptr().cast_mut().cast(), iov_len: payload.len() };
            header.msg_hdr.msg_iov = ptr::from_mut(part);
            header.msg_hdr.msg_iovlen = 1;
        }
        // SAFETY: the first `count` headers name one part each, and each part a payload, which the kernel only reads; all of
        // them live until the call is over
        let sent = unsafe {
            libc::sendmmsg(
                self.socket.as_raw_fd(),
                self.headers.as_mut_ptr(),
                count as libc::c_uint,
                libc::MSG_DONTWAIT,
            )
        };
        let sent = usize::try_from(sent).map_err(|_| io::Error::last_os_error())?;
        self.facts.datagrams += sent as u64;
        self.facts.bytes += payloads.iter().take(sent).map(|payload| payload.len() as u64).sum::<u64>();
        Ok(sent)
    }

    #[cold]
    fn trouble(&mut self, error: io::Error, bytes: usize) -> Result<SendTrouble, SenderError> {
        let Some(trouble) = SendTrouble::of(&error) else {
            return Err(SenderError::Refused { to: self.to, interface: self.interface.clone(), bytes, error });
        };
        *match trouble {
            SendTrouble::Unreachable => &mut self.facts.unreachable,
            SendTrouble::Full => &mut self.facts.full,
            SendTrouble::Nobody => &mut self.facts.nobody,
        } += 1;
        Ok(trouble)
    }
}

/// A socket to `to`, and whether it could be connected: while the link is down there is no route.
fn connected(to: SocketAddrV4, by: &HostInterface, options: SendOptions) -> Result<(Socket, bool), SocketError> {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM.cloexec().nonblocking(), Some(Protocol::UDP))
        .map_err(SocketError::doing("open a UDP socket"))?;
    if to.ip().is_multicast() {
        let interface = libc::ip_mreqn {
            imr_multiaddr: libc::in_addr { s_addr: 0 },
            imr_address: libc::in_addr { s_addr: by.addr.map_or(0, |addr| u32::from_ne_bytes(addr.octets())) },
            imr_ifindex: i32::try_from(by.index).unwrap_or(0),
        };
        set_option(&socket, libc::IPPROTO_IP, libc::IP_MULTICAST_IF, &interface)
            .map_err(SocketError::doing("choose the interface"))?;
        socket.set_multicast_ttl_v4(options.ttl.into()).map_err(SocketError::doing("set the hop limit"))?;
        socket.set_multicast_loop_v4(true).map_err(SocketError::doing("let this host hear it too"))?;
    }
    if let Some(source) = options.source {
        socket.bind(&SocketAddrV4::new(source, 0).into()).map_err(SocketError::doing("send from that address"))?;
    }
    match socket.connect(&to.into()) {
        Ok(()) => Ok((socket, true)),
        Err(error) if SendTrouble::of(&error) == Some(SendTrouble::Unreachable) => Ok((socket, false)),
        Err(error) => Err(SocketError::doing("connect")(error)),
    }
}
