//! AF_XDP: frames of a feed taken from an interface before the kernel's network stack sees them.
//!
//! [`open`] attaches a small program to an interface, which redirects what is sent to the feed's groups and ports, and only
//! that, to a socket a receive queue; all else goes on to the kernel. It gives two halves: the hot thread polls the
//! [`XdpRing`], housekeeping holds the [`XdpWatch`].
//!
//! What the program leaves to the kernel although it is the feed's (fragments, frames longer than [`LONGEST`], frames
//! of a queue without a socket) arrives at an ordinary socket, which has to be joined anyway: the program asks no switch for
//! a group. Other programs on this host no longer see these groups on this interface.
//!
//! The program is detached when both halves are dropped, or the process ends, however that comes. A link that goes down and
//! up keeps it. An interface that is deleted takes it along: [`XdpWatch::follow`] does all anew on the one that takes its
//! place, and hands the new sockets to the hot half, which looks for them now and then while it finds nothing.

mod bpf;
mod rings;

use std::fmt;
use std::io;
use std::net::SocketAddrV4;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use crossbeam::queue::ArrayQueue;
use socket2::{Domain, Socket, Type};

use super::netns::Interface;
use bpf::Program;
use rings::{Xsk, XskWatch};

/// The most frames that one poll takes.
pub const BATCH: usize = super::receive::BATCH;
/// The longest frame that comes this way, in bytes.
pub const LONGEST: usize = rings::LONGEST;

/// A queue beyond these gets no socket: its frames go to the kernel.
const QUEUES_MAX: usize = 64;
/// How often the hot half looks for new sockets: once in so many empty polls.
const LOOK_EVERY: u32 = 1024;
/// How long to wait, in all, for a process that has just ended to let go of a queue: 1 + 2 + 4 ... ms.
const PATIENCE: u32 = 9;

/// How the program is attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// By the driver, before the kernel makes a packet of the frame.
    Native,
    /// By the kernel, after it did: for every driver.
    Skb,
}

impl Mode {
    /// By the driver where it can, else by the kernel.
    pub const BEST: &'static [Mode] = &[Mode::Native, Mode::Skb];
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Mode::Native => "native",
            Mode::Skb => "skb",
        })
    }
}

/// Why there can be no AF_XDP on an interface.
#[derive(Debug, thiserror::Error)]
pub enum XdpError {
    /// There is one program an interface.
    #[error(
        "an XDP program is attached to interface {interface} already: stop the program that did it, or receive by `packet` \
         or `socket`"
    )]
    Occupied {
        /// The interface.
        interface: String,
    },
    /// A queue has a socket already.
    #[error(
        "queue {queue} of interface {interface} has an AF_XDP socket already: stop the program that has it, or receive by `packet` or `socket`"
    )]
    QueueInUse {
        /// The interface.
        interface: String,
        /// The receive queue.
        queue: u32,
    },
    /// The system refuses.
    #[error("{0}")]
    Refused(#[from] StepError),
}

/// A step on the way that the system refuses.
#[derive(Debug, thiserror::Error)]
#[error("cannot {step}: {error}; {}", advice(*.step, .error))]
pub struct StepError {
    step: Step,
    error: io::Error,
}

/// A step on the way to receive by AF_XDP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Socket,
    Memory,
    Rings,
    Load,
    Attach,
    Bind,
    Put,
    Watch,
}

impl Step {
    fn failed(self) -> impl FnOnce(io::Error) -> StepError {
        move |error| StepError { step: self, error }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Step::Socket => "open an AF_XDP socket",
            Step::Memory => "give an AF_XDP socket its memory",
            Step::Rings => "map an AF_XDP socket's rings",
            Step::Load => "load the XDP program",
            Step::Attach => "attach the XDP program",
            Step::Bind => "bind an AF_XDP socket",
            Step::Put => "redirect a queue to its AF_XDP socket",
            Step::Watch => "duplicate a descriptor",
        })
    }
}

fn advice(step: Step, error: &io::Error) -> &'static str {
    match (step, error.raw_os_error()) {
        (Step::Socket, Some(libc::EPERM | libc::EACCES)) => {
            "it takes CAP_NET_RAW, CAP_NET_ADMIN and CAP_BPF: start with them, or receive by `packet` (CAP_NET_RAW alone) \
             or `socket`"
        }
        (Step::Socket, Some(libc::EAFNOSUPPORT)) => {
            "this kernel is built without CONFIG_XDP_SOCKETS: receive by `packet` or `socket`"
        }
        (Step::Memory, Some(libc::EPERM | libc::ENOBUFS | libc::ENOMEM)) => {
            "its pages count as locked memory: raise the limit (`ulimit -l unlimited`), start with CAP_IPC_LOCK, ask for a \
             smaller buffer, or receive by `packet` or `socket`"
        }
        (Step::Load, Some(libc::EPERM | libc::EACCES)) => {
            "it takes CAP_BPF and CAP_NET_ADMIN (and, before Linux 5.11, a limit of locked memory that is not reached, \
             `ulimit -l unlimited`): start with them, or receive by `packet` or `socket`"
        }
        (Step::Load, Some(libc::ENOSYS)) => {
            "this kernel is built without CONFIG_BPF_SYSCALL: receive by `packet` or `socket`"
        }
        (Step::Attach, Some(libc::EPERM | libc::EACCES)) => {
            "it takes CAP_NET_ADMIN: start with it, or receive by `packet` or `socket`"
        }
        (Step::Load | Step::Attach | Step::Rings, Some(libc::EINVAL | libc::EOPNOTSUPP)) => {
            "it takes Linux 5.9 or later with CONFIG_BPF_SYSCALL and CONFIG_XDP_SOCKETS: receive by `packet` or `socket`"
        }
        (Step::Bind, Some(libc::EPERM | libc::EACCES)) => {
            "it takes CAP_NET_RAW: start with it, or receive by `packet` or `socket`"
        }
        _ => "receive by `packet` or `socket`",
    }
}

/// Attaches the program to `interface` and opens a socket for each of its receive queues, each with `buffer_bytes` of memory.
/// `modes` are tried in turn. Where the interface is not there (`None`), the program is loaded and [`XdpWatch::follow`] does
/// the rest.
///
/// # Errors
/// [`XdpError`], which says what is missing and what to use instead.
pub fn open(
    interface: Option<&Interface>,
    wanted: &[SocketAddrV4],
    buffer_bytes: usize,
    modes: &'static [Mode],
) -> Result<(XdpRing, XdpWatch), XdpError> {
    // the first thing that may be missing, with an error of its own
    Socket::new(Domain::from(libc::AF_XDP), Type::RAW.cloexec(), None).map_err(Step::Socket.failed())?;
    let program = Program::load(wanted, LONGEST, bpf::PASS).map_err(Step::Load.failed())?;
    let handover = Arc::new(Handover { fresh: ArrayQueue::new(1), spent: ArrayQueue::new(2) });
    let mut ring = XdpRing { sockets: Sockets::default(), first: 0, empty: 0, handover: Arc::clone(&handover) };
    let mut watch = XdpWatch { program, buffer_bytes, modes, attached: None, lost: 0, handover };
    if let Some(interface) = interface {
        ring.sockets = watch.attach(interface, PATIENCE)?;
    }
    Ok((ring, watch))
}

/// What an attachment consists of; the two halves have one each, of duplicated descriptors.
#[derive(Debug, Default)]
struct Sockets {
    // the first to go: nothing is redirected to sockets that are closing
    _link: Option<OwnedFd>,
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

/// The half that a hot loop polls.
#[derive(Debug)]
pub struct XdpRing {
    sockets: Sockets,
    /// Which queue the next poll begins with.
    first: usize,
    /// Empty polls since the last look for new sockets.
    empty: u32,
    handover: Arc<Handover>,
}

impl XdpRing {
    /// Hands over the Ethernet frames that are there, at most [`BATCH`], each where it lies. Fewer than [`BATCH`]: every queue
    /// was emptied.
    ///
    /// Makes no system call in copy mode; in zero-copy mode one where the driver says that it sleeps.
    #[inline]
    pub fn poll(&mut self, take: &mut impl FnMut(&[u8])) -> usize {
        let queues = self.sockets.queues.len();
        let mut taken = 0;
        for place in 0..queues {
            let queue = self.first + place;
            let queue = if queue < queues { queue } else { queue - queues };
            taken += self.sockets.queues[queue].poll(BATCH - taken, take);
        }
        if taken == 0 {
            self.empty += 1;
            if self.empty >= LOOK_EVERY {
                self.look_for_sockets();
            }
        } else if queues > 1 {
            self.first = if self.first + 1 < queues { self.first + 1 } else { 0 };
        }
        taken
    }

    /// Takes sockets that housekeeping has opened. The old ones were just found empty, and their interface is gone.
    #[cold]
    fn look_for_sockets(&mut self) {
        self.empty = 0;
        // closing is for housekeeping: until there is room for the old ones, the new ones wait
        if !self.handover.spent.is_full()
            && let Some(fresh) = self.handover.fresh.pop()
        {
            self.first = 0;
            let _ = self.handover.spent.push(std::mem::replace(&mut self.sockets, fresh));
        }
    }
}

/// The half that housekeeping holds.
#[derive(Debug)]
pub struct XdpWatch {
    program: Program,
    buffer_bytes: usize,
    modes: &'static [Mode],
    attached: Option<Attached>,
    /// Frames lost at sockets that are closed, and not told of yet.
    lost: u64,
    handover: Arc<Handover>,
}

#[derive(Debug)]
struct Attached {
    _link: OwnedFd,
    interface: u32,
    mode: Mode,
    /// Why the mode is not the first that was tried.
    instead: Option<StepError>,
    queues: Vec<XskWatch>,
}

impl XdpWatch {
    /// How the program is attached, and, where that is not the mode that was tried first, why. `None`: the interface is not
    /// there.
    pub fn mode(&self) -> Option<(Mode, Option<&StepError>)> {
        self.attached.as_ref().map(|attached| (attached.mode, attached.instead.as_ref()))
    }

    /// How many queues have a socket, and whether the driver writes to their memory itself.
    pub fn queues(&self) -> (usize, bool) {
        let queues = self.attached.as_ref().map_or(&[][..], |attached| &attached.queues);
        (queues.len(), !queues.is_empty() && queues.iter().all(|queue| queue.zero_copy().unwrap_or(false)))
    }

    /// The index of the interface to which the program is attached.
    pub fn interface(&self) -> Option<u32> {
        self.attached.as_ref().map(|attached| attached.interface)
    }

    /// How many frames the kernel has thrown away since this was last asked, because the hot half was too slow to take
    /// them.
    ///
    /// # Errors
    /// The system's.
    pub fn lost(&mut self) -> io::Result<u64> {
        self.tidy_up();
        let mut lost = std::mem::take(&mut self.lost);
        for queue in self.attached.iter_mut().flat_map(|attached| &mut attached.queues) {
            lost += queue.lost()?;
        }
        Ok(lost)
    }

    /// Goes where the interface went: gone, or back under another index. Says whether the program was attached anew.
    ///
    /// # Errors
    /// [`XdpError`], where it cannot be attached there; to be tried again.
    pub fn follow(&mut self, interface: Option<&Interface>) -> Result<bool, XdpError> {
        self.tidy_up();
        if self.interface() == interface.map(|interface| interface.index) {
            return Ok(false);
        }
        if let Some(gone) = self.attached.take() {
            // an error would be that of a closed socket, which has lost no more
            self.lost += gone.queues.into_iter().map(|mut queue| queue.lost().unwrap_or(0)).sum::<u64>();
        }
        let Some(interface) = interface else { return Ok(false) };
        let sockets = self.attach(interface, 0)?;
        // what the hot half has not taken yet belongs to an interface that is gone again
        drop(self.handover.fresh.force_push(sockets));
        Ok(true)
    }

    fn tidy_up(&mut self) {
        while self.handover.spent.pop().is_some() {}
    }

    /// The attachment for the hot half; the other's is kept.
    fn attach(&mut self, interface: &Interface, patience: u32) -> Result<Sockets, XdpError> {
        let (link, mode, instead) = self.link(interface)?;
        let queues = receive_queues(&interface.name);
        let mut sockets = Sockets { _link: Some(link.try_clone().map_err(Step::Watch.failed())?), queues: Vec::new() };
        let mut watches = Vec::new();
        for queue in 0..queues {
            let socket = Xsk::new(self.buffer_bytes)?;
            bind(&socket, interface, queue, mode, patience)?;
            watches.push(socket.watch().map_err(Step::Watch.failed())?);
            sockets.queues.push(socket);
        }
        for (queue, socket) in sockets.queues.iter().enumerate() {
            self.program.put(queue as u32, socket.as_fd()).map_err(Step::Put.failed())?;
        }
        self.attached = Some(Attached { _link: link, interface: interface.index, mode, instead, queues: watches });
        Ok(sockets)
    }

    /// In the first mode that works. Without sockets the program redirects nothing.
    fn link(&self, interface: &Interface) -> Result<(OwnedFd, Mode, Option<StepError>), XdpError> {
        let mut refused = None;
        for &mode in self.modes {
            match self.program.attach(interface.index, mode) {
                Ok(link) => return Ok((link, mode, refused)),
                // EEXIST: one is attached in another mode
                Err(error) if matches!(error.raw_os_error(), Some(libc::EBUSY | libc::EEXIST)) => {
                    return Err(XdpError::Occupied { interface: interface.name.clone() });
                }
                Err(error) => refused = Some(Step::Attach.failed()(error)),
            }
        }
        Err(refused.unwrap_or_else(|| Step::Attach.failed()(io::ErrorKind::InvalidInput.into())).into())
    }
}

/// A process that has just ended may hold the queue for a moment still: the kernel lets go of it later.
fn bind(socket: &Xsk, interface: &Interface, queue: u32, mode: Mode, patience: u32) -> Result<(), XdpError> {
    for doubled in 0.. {
        match socket.bind(interface.index, queue, mode) {
            Ok(()) => break,
            Err(error) if error.raw_os_error() != Some(libc::EBUSY) => return Err(Step::Bind.failed()(error).into()),
            Err(_) if doubled == patience => {
                return Err(XdpError::QueueInUse { interface: interface.name.clone(), queue });
            }
            Err(_) => thread::sleep(Duration::from_millis(1 << doubled)),
        }
    }
    Ok(())
}

/// How many receive queues an interface has; one, where its driver does not say.
fn receive_queues(interface: &str) -> u32 {
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
    for (to, from) in request.ifr_name.iter_mut().zip(interface.bytes().take(libc::IFNAMSIZ - 1)) {
        *to = from as libc::c_char;
    }
    request.ifr_ifru.ifru_data = (&raw mut channels).cast();
    let Ok(socket) = Socket::new(Domain::IPV4, Type::DGRAM.cloexec(), None) else { return 1 };
    // SAFETY: the request and the channels that it points to live through the call, which writes nothing else
    let done = unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCETHTOOL as _, &raw mut request) };
    if done == 0 { (channels.receive + channels.combined).clamp(1, QUEUES_MAX as u32) } else { 1 }
}

#[cfg(test)]
mod tests;
