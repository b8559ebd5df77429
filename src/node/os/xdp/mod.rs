//! AF_XDP: frames of a feed taken from an interface before the kernel's network stack sees them.
//!
//! A small program is attached to an interface. It redirects what is sent to the feed's groups and ports, and only that, to one
//! socket per receive queue; everything else goes on to the kernel. [`XdpRing::open`] gives two halves: the hot thread polls the
//! [`XdpRing`], housekeeping holds the [`XdpAttachment`].
//!
//! Some of the feed's frames the program leaves to the kernel: fragments, frames longer than [`LONGEST`], and frames of a queue
//! without a socket. They arrive at an ordinary socket, which has to join the group anyway, since the program asks no switch for
//! it. Other programs on this host no longer see these groups on this interface.
//!
//! The program is detached when both halves are dropped, or when the process ends, for whatever reason. It stays attached when the
//! link goes down and up. It goes with an interface that is deleted: then everything is set up again on the one that takes its
//! place, and the new sockets are handed to the hot half over a lock-free queue, which it looks at now and then while it finds
//! nothing.

mod bpf;
mod rings;

use std::fmt;
use std::io;
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use crossbeam::queue::ArrayQueue;
use socket2::{Domain, Socket, Type};

use super::raw::{Attachment, MappedRingError, RawFrame, Ring, RingOptions};
use super::receive::RECEIVE_BATCH;
use bpf::{Count, Link, Program};
use rings::{Xsk, XskWatch};

/// The longest frame that comes this way, in bytes.
pub(crate) const LONGEST: usize = rings::LONGEST;

/// How many receive queues get a socket. The frames of any other queue go to the kernel.
const QUEUES_MAX: usize = 64;
/// How often the hot half looks for new sockets: once in this many empty polls.
const LOOK_EVERY: u32 = 64;
/// How long to wait, in all, for a process that has just ended to let go of a queue: 1 + 2 + 4 ... ms.
const PATIENCE: u32 = 9;

/// How the program is attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum XdpMode {
    /// By the driver, before the kernel makes a packet of the frame.
    Native,
    /// By the kernel, after that: works with every driver.
    Skb,
}

impl XdpMode {
    /// By the driver if it can, otherwise by the kernel.
    pub const BEST: &'static [XdpMode] = &[XdpMode::Native, XdpMode::Skb];
}

impl fmt::Display for XdpMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            XdpMode::Native => "native",
            XdpMode::Skb => "skb",
        })
    }
}

/// The hot half's part of an attachment.
#[derive(Debug, Default)]
struct Sockets {
    // dropped first, so that nothing is redirected to sockets that are closing
    _link: Option<Arc<Link>>,
    queues: Vec<Xsk>,
}

/// Where sockets change hands.
#[derive(Debug)]
struct Handover {
    /// From housekeeping to the hot half.
    fresh: ArrayQueue<Sockets>,
    /// And back, to be closed.
    spent: ArrayQueue<Sockets>,
}

/// The hot thread's half of an `AF_XDP` attachment: a small program redirects what is sent to the feed's groups and ports from an
/// interface into this ring, before the kernel's network stack sees it. Everything else goes on to the kernel.
///
/// Some of the feed's frames are left to the kernel as well: fragments, frames too long for a slot of the ring, and frames of a
/// receive queue without a socket. They arrive at an ordinary socket, which has to join the group anyway. Other programs on this
/// host no longer see these groups on this interface.
///
/// The program is detached when both halves are dropped, or when the process ends, for whatever reason.
#[derive(Debug)]
pub struct XdpRing {
    sockets: Sockets,
    /// Which queue the next poll begins with.
    first: usize,
    /// Empty polls since the last look for new sockets.
    empty: u32,
    left: Count,
    handover: Arc<Handover>,
}

impl XdpRing {
    /// A ring for frames to these groups and ports. It is not attached to an interface yet; when it is, `modes` are tried in turn.
    ///
    /// # Errors
    /// What was being done, what the system says, and what is missing: mostly a capability.
    pub fn open(options: &RingOptions, modes: &'static [XdpMode]) -> Result<(XdpRing, XdpAttachment), MappedRingError> {
        if options.kernel_stamps {
            return Err(failed("take kernel stamps from an AF_XDP socket")(io::ErrorKind::Unsupported.into()));
        }
        // find out what is missing while there is still a choice
        Xsk::new(options.buffer_bytes)?;
        let program = Program::load(&options.groups, LONGEST, bpf::PASS).map_err(failed("load the XDP program"))?;
        let handover = Arc::new(Handover { fresh: ArrayQueue::new(1), spent: ArrayQueue::new(2) });
        let left = program.count().map_err(failed("map the XDP program's counter"))?;
        let ring = XdpRing { sockets: Sockets::default(), first: 0, empty: 0, left, handover: Arc::clone(&handover) };
        let buffer = (options.buffer_bytes, options.buffer_bytes);
        let patience = PATIENCE;
        Ok((
            ring,
            XdpAttachment { program, buffer, modes, patience, attached: None, kept: None, overflow: 0, handover },
        ))
    }
}

impl Ring for XdpRing {
    /// Makes no system call in copy mode; in zero-copy mode, one if the driver says that it sleeps.
    #[inline]
    fn poll(&mut self, take: &mut impl FnMut(RawFrame<'_>)) -> io::Result<usize> {
        let queues = self.sockets.queues.len();
        let mut taken = 0;
        for place in 0..queues {
            let queue = self.first + place;
            let queue = if queue < queues { queue } else { queue - queues };
            taken += self.sockets.queues[queue].poll(RECEIVE_BATCH - taken, take);
        }
        if taken == 0 {
            self.empty += 1;
            if self.empty >= LOOK_EVERY || queues == 0 {
                self.look_for_sockets();
            }
        } else if queues > 1 {
            self.first = if self.first + 1 < queues { self.first + 1 } else { 0 };
        }
        Ok(taken)
    }
}

impl XdpRing {
    /// How many frames that may be the feed's the program has left to the kernel: fragments, frames too long for a slot
    /// of the ring, and frames of a queue without a socket. Reads memory, without a system call.
    #[inline]
    pub(crate) fn left_to_the_kernel(&self) -> u64 {
        self.left.now()
    }

    /// Takes sockets that housekeeping has opened. The old ones were just found empty, and their interface is gone.
    #[cold]
    fn look_for_sockets(&mut self) {
        self.empty = 0;
        // housekeeping closes the old ones: until there is room for them, the new ones wait
        if !self.handover.fresh.is_empty()
            && !self.handover.spent.is_full()
            && let Some(fresh) = self.handover.fresh.pop()
        {
            self.first = 0;
            let _ = self.handover.spent.push(std::mem::replace(&mut self.sockets, fresh));
        }
    }
}

/// The half that housekeeping holds.
#[derive(Debug)]
pub struct XdpAttachment {
    program: Program,
    /// Bytes asked for a queue, and given.
    buffer: (usize, usize),
    modes: &'static [XdpMode],
    /// How long to wait for a queue, as [`PATIENCE`]: at the first attachment only, for housekeeping has a next time.
    patience: u32,
    attached: Option<Attached>,
    /// What it was detached from: the hot half has its sockets until it gets others.
    kept: Option<Attached>,
    /// Frames lost at sockets that are closed, and not reported yet.
    overflow: u64,
    handover: Arc<Handover>,
}

#[derive(Debug)]
struct Attached {
    link: Arc<Link>,
    interface: u32,
    mode: XdpMode,
    /// Why the mode is not the first that was tried.
    instead: Option<MappedRingError>,
    queues: Vec<XskWatch>,
}

impl Attachment for XdpAttachment {
    fn attach(&mut self, index: u32) -> Result<(), MappedRingError> {
        self.tidy_up();
        if self.attached() == Some(index) {
            return Ok(());
        }
        self.detach();
        let patience = std::mem::take(&mut self.patience);
        let sockets = match self.take_over(index, patience) {
            Ok(sockets) => sockets,
            Err(error) if name(index).is_none() => {
                return Err(MappedRingError { error: io::Error::from_raw_os_error(libc::ENODEV), lacks: "", ..error });
            }
            Err(error) => return self.take_up(index, error),
        };
        self.kept = None;
        // what the hot half has not taken yet belongs to an interface that has gone again
        drop(self.handover.fresh.force_push(sockets));
        Ok(())
    }

    fn detach(&mut self) {
        if let Some(mut gone) = self.attached.take() {
            gone.link.detach();
            // an error means a closed socket, which has lost nothing more
            self.overflow += gone.queues.iter_mut().map(|queue| queue.lost().unwrap_or(0)).sum::<u64>();
            self.kept = Some(gone);
        }
    }

    fn attached(&self) -> Option<u32> {
        self.attached.as_ref().map(|attached| attached.interface)
    }

    fn overflow(&mut self) -> io::Result<u64> {
        self.tidy_up();
        let mut overflow = std::mem::take(&mut self.overflow);
        for queue in self.attached.iter_mut().flat_map(|attached| &mut attached.queues) {
            overflow += queue.lost()?;
        }
        Ok(overflow)
    }

    fn buffer_bytes(&self) -> (usize, usize) {
        self.buffer
    }
}

impl XdpAttachment {
    /// How the program is attached; and why, if that is not the mode that was tried first. `None`: it is not attached.
    pub fn mode(&self) -> Option<(XdpMode, Option<&MappedRingError>)> {
        self.attached.as_ref().map(|attached| (attached.mode, attached.instead.as_ref()))
    }

    /// How many queues have a socket, and whether the driver writes to their memory itself.
    pub fn queues(&self) -> (usize, bool) {
        let queues = self.attached.as_ref().map_or(&[][..], |attached| &attached.queues);
        (queues.len(), !queues.is_empty() && queues.iter().all(|queue| queue.zero_copy().unwrap_or(false)))
    }

    fn tidy_up(&mut self) {
        while self.handover.spent.pop().is_some() {}
    }

    /// Attaches the program and opens a socket for each receive queue: for the hot half; the other's part is kept.
    fn take_over(&mut self, interface: u32, patience: u32) -> Result<Sockets, MappedRingError> {
        let (link, mode, instead) = self.link(interface)?;
        let link = Arc::new(link);
        let mut sockets = Sockets { _link: Some(Arc::clone(&link)), queues: Vec::new() };
        let mut queues = Vec::new();
        for queue in 0..receive_queues(interface) {
            let socket = Xsk::new(self.buffer.0)?;
            bind(&socket, interface, queue, mode, patience)?;
            queues.push(socket.watch().map_err(failed("duplicate an AF_XDP socket"))?);
            self.buffer.1 = socket.bytes();
            sockets.queues.push(socket);
        }
        for (queue, socket) in sockets.queues.iter().enumerate() {
            self.program.put(queue as u32, socket.as_fd()).map_err(failed("redirect a queue to its AF_XDP socket"))?;
        }
        self.attached = Some(Attached { link, interface, mode, instead, queues });
        Ok(sockets)
    }

    /// Attaches the program again where it was, to the sockets that the hot half has: where they hold the queue, the interface
    /// is the same one (it had another name for a while).
    fn take_up(&mut self, interface: u32, error: MappedRingError) -> Result<(), MappedRingError> {
        let held = error.doing == BIND && error.error.raw_os_error() == Some(libc::EBUSY);
        let Some(kept) = self.kept.take_if(|kept| held && kept.interface == interface) else { return Err(error) };
        match self.link(interface) {
            Ok((link, mode, instead)) => {
                kept.link.renew(&link);
                self.attached = Some(Attached { mode, instead, ..kept });
                Ok(())
            }
            Err(error) => {
                self.kept = Some(kept);
                Err(error)
            }
        }
    }

    /// In the first mode that works. Without sockets the program redirects nothing.
    fn link(&self, interface: u32) -> Result<(Link, XdpMode, Option<MappedRingError>), MappedRingError> {
        let mut refused = None;
        for &mode in self.modes {
            match self.program.attach(interface, mode) {
                Ok(link) => return Ok((link, mode, refused)),
                Err(error) => {
                    let occupied = matches!(error.raw_os_error(), Some(libc::EBUSY | libc::EEXIST));
                    let error = failed(ATTACH)(error);
                    if occupied {
                        return Err(error);
                    }
                    refused = Some(error);
                }
            }
        }
        Err(refused.unwrap_or_else(|| failed(ATTACH)(io::ErrorKind::InvalidInput.into())))
    }
}

const ATTACH: &str = "attach the XDP program";
const BIND: &str = "bind an AF_XDP socket";

fn failed(doing: &'static str) -> impl FnOnce(io::Error) -> MappedRingError {
    move |error| {
        let lacks = match (error.raw_os_error(), doing) {
            (Some(libc::EPERM | libc::EACCES), _) => {
                r#"receive = "xdp" needs the capabilities CAP_NET_RAW, CAP_NET_ADMIN and CAP_BPF (and, before Linux 5.11, enough locked memory, `ulimit -l unlimited`): run as root, or grant them to the program (`setcap cap_net_raw,cap_net_admin,cap_bpf+ep twinline`); receive = "packet" needs only CAP_NET_RAW, receive = "socket" none"#
            }
            (Some(libc::EAFNOSUPPORT), _) => {
                r#"this kernel has no AF_XDP (CONFIG_XDP_SOCKETS): use receive = "packet" or "socket""#
            }
            (Some(libc::ENOSYS), _) => {
                r#"this kernel has no BPF (CONFIG_BPF_SYSCALL): use receive = "packet" or "socket""#
            }
            (Some(libc::ENOBUFS | libc::ENOMEM), _) => {
                r#"the ring counts as locked memory: raise its limit (`ulimit -l unlimited`), give the program CAP_IPC_LOCK, or use a smaller `buffer` under [receive]; receive = "packet" and "socket" do without"#
            }
            (Some(libc::EBUSY | libc::EEXIST), ATTACH) => {
                r#"an XDP program is attached to the interface already, another feed's or another program's: stop that, or use receive = "packet" or "socket""#
            }
            (Some(libc::EBUSY), BIND) => {
                r#"another program has an AF_XDP socket at this queue of the interface: stop that, or use receive = "packet" or "socket""#
            }
            (None, _) if error.kind() == io::ErrorKind::Unsupported => {
                r#"it has none: leave out `kernel_stamps`, or use receive = "packet" or "socket""#
            }
            (Some(libc::EINVAL | libc::EOPNOTSUPP | libc::ENOPROTOOPT), _) => {
                r#"receive = "xdp" needs Linux 5.9 or later, and an interface that can take XDP programs: use receive = "packet" or "socket""#
            }
            _ => r#"receive = "packet" and "socket" do without"#,
        };
        MappedRingError { doing, error, lacks }
    }
}

/// A process that has just ended may hold the queue for a moment still: the kernel lets go of it later.
fn bind(socket: &Xsk, interface: u32, queue: u32, mode: XdpMode, patience: u32) -> Result<(), MappedRingError> {
    let mut waited = 0;
    loop {
        match socket.bind(interface, queue, mode) {
            Err(error) if error.raw_os_error() == Some(libc::EBUSY) && waited < patience => {
                thread::sleep(Duration::from_millis(1 << waited));
                waited += 1;
            }
            done => return done.map_err(failed(BIND)),
        }
    }
}

/// An interface's name, ended by a zero; `None`: there is no such interface.
fn name(interface: u32) -> Option<[libc::c_char; libc::IFNAMSIZ]> {
    let mut name = [0; libc::IFNAMSIZ];
    // SAFETY: there is room for the IFNAMSIZ bytes that this call writes at most
    let found = unsafe { libc::if_indextoname(interface, name.as_mut_ptr()) };
    (!found.is_null()).then_some(name)
}

/// How many receive queues an interface has; one, where its driver does not say.
fn receive_queues(interface: u32) -> u32 {
    const GET_CHANNELS: u32 = 0x3c;
    /// linux/ethtool.h: the most of receive, send, other and combined, and how many there are now.
    #[repr(C)]
    #[derive(Default)]
    struct Channels {
        command: u32,
        most: [u32; 4],
        receive: u32,
        send: u32,
        other: u32,
        combined: u32,
    }
    let mut channels = Channels { command: GET_CHANNELS, ..Channels::default() };
    // SAFETY: an ifreq is plain numbers, and a zero is a good value of each
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    let Some(name) = name(interface) else { return 1 };
    request.ifr_name = name;
    request.ifr_ifru.ifru_data = (&raw mut channels).cast();
    let Ok(socket) = Socket::new(Domain::IPV4, Type::DGRAM.cloexec(), None) else { return 1 };
    // SAFETY: the request and the channels that it points to live through the call, which writes nothing else
    let done = unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCETHTOOL as _, &raw mut request) };
    if done == 0 { (channels.receive + channels.combined).clamp(1, QUEUES_MAX as u32) } else { 1 }
}

#[cfg(test)]
mod tests;
