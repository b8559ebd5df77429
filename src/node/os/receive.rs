//! Receiving: multicast sockets and batch receive.
//!
//! A socket has two halves. The hot thread polls the [`Receiver`]. Housekeeping holds the [`Membership`], a second handle on the
//! same socket, and does what may take time: joins, leaves, counters. They share nothing but the kernel's socket.
//!
//! ```text
//! poll:  recvfrom -> nothing: done                                     (one system call, the usual case)
//!                 -> a datagram -> recvfrom -> nothing: done
//!                                           -> a backlog -> recvmmsg, up to 32 in all
//! ```
//!
//! A line that is received from a mapped ring only has a [`Membership`], whose socket hears nothing ([`Membership::join_only`]).
//!
//! The reasons: a spinning `recvfrom` delivers a lone datagram soonest; `recvmmsg` costs more when there is nothing, and less per
//! datagram when there is much. The second look after a hit tells the caller whether the socket is empty. Control messages are
//! only asked for with kernel stamps: housekeeping reads the overflow count from the socket (`SO_MEMINFO`), since `SO_RXQ_OVFL`
//! would put a `recvmsg` and its parsing on every receive, and says nothing until a later datagram gets through.

use std::alloc::{self, Layout};
use std::io;
use std::mem;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::{AsRawFd, RawFd};
use std::ptr::{self, NonNull};
use std::slice;

use socket2::{Domain, InterfaceIndexOrAddress, Protocol, SockFilter, Socket, Type};

use super::filter;
use twinline_core::Nanos;

/// The most datagrams that one poll of a socket takes.
pub const RECEIVE_BATCH: usize = 32;

/// Room for any datagram: UDP over IPv4 carries at most 65,507 bytes.
const BUFFER: usize = 1 << 16;

/// Two cache lines between buffers: without them, all 32 would begin in the same cache set.
const STAGGER: usize = 128;

/// Why a socket cannot be opened or set up: what was being done, and what the system says.
#[derive(Debug, thiserror::Error)]
#[error("cannot {doing}: {error}")]
pub struct SocketError {
    /// What was being done: "bind".
    pub doing: &'static str,
    /// What the system says.
    pub error: io::Error,
}

impl SocketError {
    pub(super) fn doing(doing: &'static str) -> impl FnOnce(io::Error) -> SocketError {
        move |error| SocketError { doing, error }
    }

    /// What to do about it, if the socket is for `group`.
    pub fn advice(&self, group: SocketAddrV4) -> &'static str {
        match self.error.raw_os_error() {
            Some(libc::EADDRINUSE) if group.ip().is_multicast() => {
                "a program that does not share the port holds it: stop it, or have it set SO_REUSEADDR"
            }
            Some(libc::EADDRINUSE) => "another program holds this address and port: stop it, or take another port",
            Some(libc::EADDRNOTAVAIL) => "a line's group has to be a multicast group, or an address of this host",
            Some(libc::EACCES | libc::EPERM) => "take a port of 1024 or above, or start with the privilege",
            Some(libc::EMFILE | libc::ENFILE) => {
                "each line and group needs two file descriptors: raise the limit (`ulimit -n`)"
            }
            Some(libc::ENOBUFS) => "too many groups are joined: raise net.ipv4.igmp_max_memberships",
            _ => "check the group and the interface in the feed file",
        }
    }
}

/// What to ask of a receive socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReceiveOptions {
    /// How many bytes may wait in each socket. The kernel counts its own bookkeeping too, which is most of it for small
    /// datagrams.
    pub buffer_bytes: usize,
    /// Whether each datagram comes with its [`KernelStamp`]s. It costs a `recvmmsg` instead of the cheaper `recvfrom`.
    pub kernel_stamps: bool,
    /// Whether each datagram says who sent it, as a capture needs it. It adds a sixth to the cost of a receive. Without it, the
    /// sender is [`Received::NOBODY`].
    pub senders: bool,
}

impl ReceiveOptions {
    /// The same, with so many bytes of buffer.
    #[must_use]
    pub fn with_buffer_bytes(mut self, bytes: usize) -> ReceiveOptions {
        self.buffer_bytes = bytes;
        self
    }

    /// The same, with or without the kernel's stamps.
    #[must_use]
    pub fn with_kernel_stamps(mut self, stamps: bool) -> ReceiveOptions {
        self.kernel_stamps = stamps;
        self
    }

    /// The same, with or without each datagram's sender.
    #[must_use]
    pub fn with_senders(mut self, senders: bool) -> ReceiveOptions {
        self.senders = senders;
        self
    }
}

impl Default for ReceiveOptions {
    fn default() -> ReceiveOptions {
        ReceiveOptions { buffer_bytes: 8 << 20, kernel_stamps: false, senders: true }
    }
}

/// When a datagram came, as the system saw it (`SO_TIMESTAMPING`). At least one of the two is set. The kernel begins to stamp a
/// moment after the first socket has asked for it, so the first datagrams may come without.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KernelStamp {
    /// When the kernel took it from the driver, by `CLOCK_REALTIME`.
    pub software: Option<Nanos>,
    /// When the NIC took it from the wire, by the NIC's own clock. Only if the NIC can stamp and was told to
    /// (`hwstamp_ctl -i NIC -r 1`).
    pub hardware: Option<Nanos>,
}

/// A datagram, as the kernel hands it over.
#[derive(Clone, Copy, Debug)]
pub struct Received<'a> {
    /// Who sent it, if asked for.
    pub sender: SocketAddrV4,
    /// When the kernel and the NIC took it, if asked for.
    pub kernel_stamp: Option<KernelStamp>,
    /// The UDP payload.
    pub payload: &'a [u8],
    /// Whether the payload's end was cut off.
    pub truncated: bool,
}

impl Received<'_> {
    /// The sender if it was not asked for: no host sends from port 0 of 0.0.0.0.
    pub const NOBODY: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0);
}

/// The hot thread's half of a receive socket. It shares nothing with [`Membership`] but the kernel's socket.
#[derive(Debug)]
pub struct Receiver {
    socket: Socket,
    kernel_stamps: bool,
    senders: bool,
}

impl Receiver {
    /// Opens a socket that hears `group` and nothing else on its port. It has not joined the group yet.
    ///
    /// If `group` is a unicast address of this host, the socket is bound to it and needs no join. `anywhere` also binds an address
    /// that this host does not have yet.
    ///
    /// # Errors
    /// What was being done, and what the system says.
    pub fn open(
        group: SocketAddrV4,
        source: Option<Ipv4Addr>,
        anywhere: bool,
        options: &ReceiveOptions,
    ) -> Result<(Receiver, Membership), SocketError> {
        let socket = Socket::new(Domain::IPV4, Type::DGRAM.cloexec().nonblocking(), Some(Protocol::UDP))
            .map_err(SocketError::doing("open a UDP socket"))?;
        if group.ip().is_multicast() {
            // several programs may listen to a group; on a unicast port, the last to bind would take everything from the first
            socket.set_reuse_address(true).map_err(SocketError::doing("share the port"))?;
            // otherwise another program's membership on this host would let through what this socket did not join
            socket.set_multicast_all_v4(false).map_err(SocketError::doing("refuse groups that were not joined"))?;
        } else if anywhere {
            socket.set_freebind_v4(true).map_err(SocketError::doing("bind before the address is there"))?;
        }
        let buffer_given = ask_for_buffer(&socket, options.buffer_bytes)?;
        if options.kernel_stamps {
            let both = libc::SOF_TIMESTAMPING_RX_SOFTWARE
                | libc::SOF_TIMESTAMPING_SOFTWARE
                | libc::SOF_TIMESTAMPING_RX_HARDWARE
                | libc::SOF_TIMESTAMPING_RAW_HARDWARE;
            set_option(&socket, libc::SOL_SOCKET, libc::SO_TIMESTAMPING, &both)
                .map_err(SocketError::doing("ask for kernel stamps"))?;
        }
        // the group, not the wildcard: other groups on the same port stay out
        socket.bind(&group.into()).map_err(SocketError::doing("bind"))?;
        let watched = socket.try_clone().map_err(SocketError::doing("duplicate the socket"))?;
        let membership = Membership {
            socket: watched,
            group,
            source,
            joined: None,
            buffer_asked: options.buffer_bytes,
            buffer_given,
            overflow_seen: 0,
        };
        let (kernel_stamps, senders) = (options.kernel_stamps, options.senders);
        Ok((Receiver { socket, kernel_stamps, senders }, membership))
    }

    /// Hands over what is there, at most [`RECEIVE_BATCH`] datagrams, without waiting. Returns how many; if fewer than
    /// [`RECEIVE_BATCH`], the socket is empty.
    ///
    /// # Errors
    /// The system's error, after what was taken before it; see [`is_transient_receive_error`] for those that do not end anything.
    #[inline]
    pub fn poll(&self, batch: &mut Batch, take: &mut impl FnMut(Received<'_>)) -> io::Result<usize> {
        let fd = self.socket.as_raw_fd();
        let mut taken = 0;
        if !self.kernel_stamps {
            while taken < 2 {
                match batch.receive_one(fd, self.senders)? {
                    Some(received) => take(received),
                    None => return Ok(taken),
                }
                taken += 1;
            }
        }
        Ok(taken + batch.receive_many(fd, RECEIVE_BATCH - taken, self.senders, self.kernel_stamps, take)?)
    }
}

/// Whether a receive error is transient: the socket is as good as before.
pub fn is_transient_receive_error(error: &io::Error) -> bool {
    !matches!(error.raw_os_error(), Some(libc::EBADF | libc::ENOTSOCK | libc::EFAULT | libc::EINVAL) | None)
}

/// The half of a receive socket for the thread beside the hot one: where its group is joined, and what the kernel counts.
///
/// The socket stays open, and joined, until both halves are dropped.
#[derive(Debug)]
pub struct Membership {
    socket: Socket,
    group: SocketAddrV4,
    source: Option<Ipv4Addr>,
    joined: Option<u32>,
    buffer_asked: usize,
    buffer_given: usize,
    overflow_seen: u32,
}

impl Membership {
    /// A socket that joins a group and hears nothing: for a line that is received in another way, and whose group the network has
    /// to be asked for all the same.
    ///
    /// It is bound if `group` is a unicast address, since a kernel that finds no socket there tells the sender so; it hears nothing
    /// even then. It counts nothing as lost.
    ///
    /// # Errors
    /// What was being done, and what the system says.
    pub(crate) fn join_only(
        group: SocketAddrV4,
        source: Option<Ipv4Addr>,
        anywhere: bool,
    ) -> Result<Membership, SocketError> {
        let socket = Socket::new(Domain::IPV4, Type::DGRAM.cloexec().nonblocking(), Some(Protocol::UDP))
            .map_err(SocketError::doing("open a UDP socket"))?;
        let program: Vec<SockFilter> =
            filter::nothing().iter().map(|step| SockFilter::new(step.code, step.jt, step.jf, step.k)).collect();
        socket.attach_filter(&program).map_err(SocketError::doing("attach a filter"))?;
        socket.set_recv_buffer_size(1).map_err(SocketError::doing("ask for a small buffer"))?;
        if !group.ip().is_multicast() {
            if anywhere {
                socket.set_freebind_v4(true).map_err(SocketError::doing("bind before the address is there"))?;
            }
            socket.bind(&group.into()).map_err(SocketError::doing("bind"))?;
        }
        Ok(Membership { socket, group, source, joined: None, buffer_asked: 0, buffer_given: 0, overflow_seen: 0 })
    }

    /// The group and port that the socket hears.
    pub fn group(&self) -> SocketAddrV4 {
        self.group
    }

    /// Joins the group on the interface with this index. A unicast address needs no join.
    ///
    /// # Errors
    /// The system's error: `ENODEV` if the interface is gone again.
    pub fn join(&mut self, index: u32) -> io::Result<()> {
        if self.joined == Some(index) || !self.group.ip().is_multicast() {
            self.joined = Some(index);
            return Ok(());
        }
        self.leave();
        match self.source {
            None => self.socket.join_multicast_v4_n(self.group.ip(), &InterfaceIndexOrAddress::Index(index))?,
            Some(source) => {
                // by index, not by address as IP_ADD_SOURCE_MEMBERSHIP has it: an address may be on two interfaces, or on none
                let request = libc::group_source_req {
                    gsr_interface: index,
                    gsr_group: storage(*self.group.ip()),
                    gsr_source: storage(source),
                };
                set_option(&self.socket, libc::IPPROTO_IP, libc::MCAST_JOIN_SOURCE_GROUP, &request)?;
            }
        }
        self.joined = Some(index);
        Ok(())
    }

    /// Leaves the group where it was joined. The interface may be gone: its index is enough, even if only one source was joined
    /// (leaving by source would need the interface).
    pub fn leave(&mut self) {
        if let Some(index) = self.joined.take()
            && self.group.ip().is_multicast()
        {
            // an error means that it is not joined there, which is what we want
            let _ = self.socket.leave_multicast_v4_n(self.group.ip(), &InterfaceIndexOrAddress::Index(index));
        }
    }

    /// The index of the interface on which it is joined; `None`: on none.
    pub fn joined(&self) -> Option<u32> {
        self.joined
    }

    /// How many bytes were asked for, and how many the kernel gave.
    pub fn buffer_bytes(&self) -> (usize, usize) {
        (self.buffer_asked, self.buffer_given)
    }

    /// How many datagrams the kernel has thrown away at this socket since the last call.
    ///
    /// It is right for up to 2^32 between two calls: the kernel's counter has 32 bits.
    ///
    /// # Errors
    /// The system's error.
    pub fn overflow(&mut self) -> io::Result<u32> {
        const DROPS: usize = 8; // SK_MEMINFO_DROPS
        let facts: [u32; 9] = option(&self.socket, libc::SOL_SOCKET, libc::SO_MEMINFO)?;
        let grown = facts[DROPS].wrapping_sub(self.overflow_seen);
        self.overflow_seen = facts[DROPS];
        Ok(grown)
    }
}

/// Asks for more than `rmem_max`, which needs a privilege, otherwise for as much as is allowed; returns what was given.
pub(super) fn ask_for_buffer(socket: &Socket, bytes: usize) -> Result<usize, SocketError> {
    let bytes = i32::try_from(bytes).unwrap_or(i32::MAX / 2).min(i32::MAX / 2);
    if set_option(socket, libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, &bytes).is_err() {
        set_option(socket, libc::SOL_SOCKET, libc::SO_RCVBUF, &bytes)
            .map_err(SocketError::doing("ask for a receive buffer"))?;
    }
    let doubled: i32 = option(socket, libc::SOL_SOCKET, libc::SO_RCVBUF)
        .map_err(SocketError::doing("read the receive buffer's size"))?;
    // the kernel doubles what is asked for, to pay for its own bookkeeping
    Ok(usize::try_from(doubled / 2).unwrap_or(0))
}

/// A sockaddr_storage that holds an IPv4 address.
fn storage(address: Ipv4Addr) -> libc::sockaddr_storage {
    let address = socket2::SockAddr::from(SocketAddrV4::new(address, 0));
    // SAFETY: SockAddr holds a whole, initialised sockaddr_storage behind this pointer; it is plain data, and is copied
    unsafe { ptr::read(address.as_ptr().cast()) }
}

/// Sets a socket option that the libraries do not know.
pub(super) fn set_option<T: Copy>(socket: &Socket, level: i32, name: i32, value: &T) -> io::Result<()> {
    // SAFETY: the pointer and the length describe one live, initialised T, which the kernel only reads
    let done = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            name,
            ptr::from_ref(value).cast(),
            mem::size_of::<T>() as libc::socklen_t,
        )
    };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Types for which any bytes that the kernel writes are a valid value.
pub(super) trait Plain: Copy {
    const ZERO: Self;
}
impl Plain for i32 {
    const ZERO: i32 = 0;
}
impl Plain for [u32; 9] {
    const ZERO: [u32; 9] = [0; 9];
}
impl Plain for libc::tpacket_stats {
    const ZERO: libc::tpacket_stats = libc::tpacket_stats { tp_packets: 0, tp_drops: 0 };
}

pub(super) fn option<T: Plain>(socket: &Socket, level: i32, name: i32) -> io::Result<T> {
    let mut value = T::ZERO;
    let mut len = mem::size_of::<T>() as libc::socklen_t;
    // SAFETY: the pointer and the length describe one live T, and any bytes make a T (`Plain`)
    let done = unsafe { libc::getsockopt(socket.as_raw_fd(), level, name, ptr::from_mut(&mut value).cast(), &mut len) };
    if done == 0 { Ok(value) } else { Err(io::Error::last_os_error()) }
}

/// Where datagrams land: [`RECEIVE_BATCH`] buffers of 64 KiB with what the kernel needs beside them, allocated once. One is enough
/// for all sockets that a thread polls.
#[derive(Debug)]
pub struct Batch {
    slots: NonNull<Slots>,
}

// SAFETY: Slots is plain memory that this value alone owns; what its pointers point to is within it
unsafe impl Send for Batch {}

/// Only ever behind a raw pointer: the headers point at their neighbours.
#[repr(C)]
struct Slots {
    headers: [libc::mmsghdr; RECEIVE_BATCH],
    parts: [libc::iovec; RECEIVE_BATCH],
    senders: [libc::sockaddr_in; RECEIVE_BATCH],
    controls: [ControlSpace; RECEIVE_BATCH],
    buffers: [[u8; BUFFER + STAGGER]; RECEIVE_BATCH],
}

/// Room for the stamps, 64 bytes as CMSG_SPACE counts them, and as much again.
#[repr(C, align(8))]
#[derive(Clone, Copy)]
struct ControlSpace([u8; 128]);

const SENDER_LEN: libc::socklen_t = mem::size_of::<libc::sockaddr_in>() as libc::socklen_t;

impl Default for Batch {
    fn default() -> Batch {
        Batch::new()
    }
}

impl Batch {
    /// Allocates the buffers, some 2 MiB, and touches each page, so that the first datagrams cause no page faults.
    pub fn new() -> Batch {
        let layout = Layout::new::<Slots>();
        // SAFETY: the layout has a size; null is dealt with; zero bytes are a Slots (numbers and pointers that nobody follows
        // before they are set below); and every write stays within the allocation
        unsafe {
            let Some(slots) = NonNull::new(alloc::alloc_zeroed(layout).cast::<Slots>()) else {
                alloc::handle_alloc_error(layout);
            };
            let at = slots.as_ptr();
            for page in (0..mem::size_of::<Slots>()).step_by(4096) {
                at.cast::<u8>().add(page).write_volatile(0); // volatile: otherwise it is known to be zero already
            }
            for i in 0..RECEIVE_BATCH {
                (&raw mut (*at).parts[i])
                    .write(libc::iovec { iov_base: (&raw mut (*at).buffers[i]).cast(), iov_len: BUFFER });
                let header = &raw mut (*at).headers[i].msg_hdr;
                (*header).msg_iov = &raw mut (*at).parts[i];
                (*header).msg_iovlen = 1;
                (*header).msg_control = (&raw mut (*at).controls[i]).cast();
            }
            Batch { slots }
        }
    }

    /// One `recvfrom`.
    #[inline]
    fn receive_one(&mut self, fd: RawFd, senders: bool) -> io::Result<Option<Received<'_>>> {
        let at = self.slots.as_ptr();
        let mut sender_len = SENDER_LEN;
        // SAFETY: the kernel writes at most BUFFER bytes to a buffer of more, and at most SENDER_LEN to the sender; where no
        // sender is asked for, neither it nor its length is looked at
        let len = unsafe {
            let sender = if senders { (&raw mut (*at).senders[0]).cast() } else { ptr::null_mut() };
            let sender_len = if senders { &raw mut sender_len } else { ptr::null_mut() };
            let flags = libc::MSG_DONTWAIT | libc::MSG_TRUNC;
            libc::recvfrom(fd, (&raw mut (*at).buffers[0]).cast(), BUFFER, flags, sender, sender_len)
        };
        if len < 0 {
            return nothing().map(|()| None);
        }
        let len = len as usize; // with MSG_TRUNC this is the length that was sent, even if it does not fit
        Ok(Some(self.received(0, len, len > BUFFER, senders, false)))
    }

    /// One `recvmmsg` of at most `most` datagrams.
    fn receive_many(
        &mut self,
        fd: RawFd,
        most: usize,
        senders: bool,
        stamped: bool,
        take: &mut impl FnMut(Received<'_>),
    ) -> io::Result<usize> {
        let at = self.slots.as_ptr();
        let most = most.min(RECEIVE_BATCH);
        for i in 0..most {
            // SAFETY: `i` is below RECEIVE_BATCH, and nothing else refers to the slots (`&mut self`)
            let (header, sender) = unsafe { (&mut (*at).headers[i].msg_hdr, &raw mut (*at).senders[i]) };
            header.msg_name = if senders { sender.cast() } else { ptr::null_mut() };
            header.msg_namelen = SENDER_LEN;
            // set again each time, since the kernel puts the length of what it wrote here: 0 without a stamp
            header.msg_controllen = mem::size_of::<ControlSpace>();
            header.msg_flags = 0;
        }
        // SAFETY: the first `most` headers point at memory of the lengths that they name, within the slots, which outlive the
        // call; no timeout is given
        let count = unsafe {
            libc::recvmmsg(fd, (&raw mut (*at).headers).cast(), most as u32, libc::MSG_DONTWAIT, ptr::null_mut())
        };
        if count < 0 {
            return nothing().map(|()| 0);
        }
        let count = (count as usize).min(most);
        for i in 0..count {
            // SAFETY: `i` is below RECEIVE_BATCH; the header was written by the kernel, and is plain data
            let (len, flags) = unsafe { ((*at).headers[i].msg_len, (*at).headers[i].msg_hdr.msg_flags) };
            take(self.received(i, len as usize, flags & libc::MSG_TRUNC != 0, senders, stamped));
        }
        Ok(count)
    }

    #[inline]
    fn received(&self, i: usize, len: usize, truncated: bool, senders: bool, stamped: bool) -> Received<'_> {
        let at = self.slots.as_ptr();
        // SAFETY: the slots live as long as `self`, nothing writes to them while `self` is borrowed, and the length is held
        // to the buffer's; all of it was initialised when it was allocated
        let (sender, payload) = unsafe {
            let payload = slice::from_raw_parts((&raw const (*at).buffers[i]).cast::<u8>(), len.min(BUFFER));
            (&(*at).senders[i], payload)
        };
        let sender = if senders {
            let addr = Ipv4Addr::from(sender.sin_addr.s_addr.to_ne_bytes());
            SocketAddrV4::new(addr, u16::from_be(sender.sin_port))
        } else {
            Received::NOBODY
        };
        let kernel_stamp = if stamped { self.kernel_stamp(i) } else { None };
        Received { sender, kernel_stamp, payload, truncated }
    }

    fn kernel_stamp(&self, i: usize) -> Option<KernelStamp> {
        let at = self.slots.as_ptr();
        // SAFETY: the header names its own control space and how much of it the kernel wrote; the CMSG calls stay within
        // that, and the stamps are read where the kernel says that it put three of them
        unsafe {
            let header = &raw const (*at).headers[i].msg_hdr;
            let mut control = libc::CMSG_FIRSTHDR(header);
            while !control.is_null() {
                if (*control).cmsg_level == libc::SOL_SOCKET && (*control).cmsg_type == libc::SCM_TIMESTAMPING {
                    // the second of the three is obsolete
                    let [software, _, hardware] =
                        libc::CMSG_DATA(control).cast::<[libc::timespec; 3]>().read_unaligned();
                    return Some(KernelStamp { software: nanos(software), hardware: nanos(hardware) });
                }
                control = libc::CMSG_NXTHDR(header, control);
            }
        }
        None
    }
}

/// The time of a stamp; `None` if it is zero, which means that there is none.
fn nanos(stamp: libc::timespec) -> Option<Nanos> {
    let (seconds, rest) = (u64::try_from(stamp.tv_sec).ok()?, u64::try_from(stamp.tv_nsec).ok()?);
    Some(Nanos::from_secs(seconds) + Nanos(rest)).filter(|&stamp| stamp > Nanos::ZERO)
}

impl Drop for Batch {
    fn drop(&mut self) {
        // SAFETY: allocated in `new` with this layout, and given away to nobody
        unsafe { alloc::dealloc(self.slots.as_ptr().cast(), Layout::new::<Slots>()) }
    }
}

/// An empty socket, or an interrupted call, is not an error.
#[inline]
fn nothing() -> io::Result<()> {
    let error = io::Error::last_os_error();
    match error.raw_os_error() {
        Some(libc::EAGAIN | libc::EINTR) => Ok(()),
        _ => Err(error),
    }
}
