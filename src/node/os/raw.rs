//! What the mapped-ring receive methods have in common: frames that are taken from memory shared with the kernel, without a
//! system call.
//!
//! Like a socket, a ring has two halves. The hot thread polls the [`Ring`]; housekeeping holds the [`Attachment`], which
//! does what may take time: it attaches the ring to an interface, also to one that was deleted and is there again, and reads
//! what the kernel threw away. What a frame says is for others to read: nothing in a [`RawFrame`] has been checked but by
//! the method's filter.

use std::fmt;
use std::io;
use std::net::SocketAddrV4;
use std::num::NonZeroU16;

use twinline_core::time::Nanos;

/// The most frames that one poll of a ring takes: as many as of a socket.
pub const BATCH: usize = super::receive::BATCH;

/// What is known of the UDP checksum of a frame, beside the frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Checksum {
    /// The kernel or the NIC has verified it.
    Valid,
    /// It is as it was on the wire: to be verified.
    Ready,
    /// The sender, on this machine, has left it for a NIC to finish, and there was none: not to be verified.
    NotReady,
    /// The method does not tell: it is right, or unfinished as in [`Checksum::NotReady`].
    Unknown,
}

/// A frame in a ring, in place; the kernel gets its memory back when it has been looked at.
#[derive(Clone, Copy, Debug)]
pub struct RawFrame<'a> {
    /// From the link header on.
    pub bytes: &'a [u8],
    /// Whether its end was cut off.
    pub truncated: bool,
    /// What is known of its UDP checksum.
    pub checksum: Checksum,
    /// When the kernel took it from the NIC, where asked for and known.
    pub kernel_stamp: Option<Nanos>,
    /// The frame holds several datagrams behind one header, each of so many bytes of payload, the last of what is left: the
    /// kernel has cut what a sender on this machine gave it at once (`UDP_SEGMENT`) only for NICs, or a NIC has joined what
    /// it received.
    pub joined: Option<NonZeroU16>,
}

/// The hot half.
pub trait Ring {
    /// Hands over what is there, at most [`BATCH`] frames, without waiting. Fewer than [`BATCH`]: the ring was emptied.
    ///
    /// # Errors
    /// The system's error, after what was taken before it; [`is_transient`](super::receive::is_transient) says which end nothing.
    fn poll(&mut self, take: &mut impl FnMut(RawFrame<'_>)) -> io::Result<usize>;
}

/// Housekeeping's half.
pub trait Attachment: fmt::Debug + Send {
    /// Attaches the ring to the interface with this index, whatever it was attached to before. It takes frames from then on;
    /// of the interface before, what is in the ring is still to be had.
    ///
    /// # Errors
    /// What the system says, and what is missing: `ENODEV` where the interface is gone again.
    fn attach(&mut self, index: u32) -> Result<(), MappedRingError>;

    /// Detaches it from where it is. The interface may be gone.
    fn detach(&mut self);

    /// The index of the interface to which it is attached.
    fn attached(&self) -> Option<u32>;

    /// How many of the line's frames the kernel has thrown away since this was last asked: the ring was full.
    ///
    /// # Errors
    /// The system's error.
    fn overflow(&mut self) -> io::Result<u64>;

    /// How many bytes were asked for, and how many the ring has.
    fn buffer_bytes(&self) -> (usize, usize);
}

/// What a line's ring is to take, and how.
#[derive(Clone, Debug)]
pub struct RingOptions {
    /// The groups and ports, each once.
    pub groups: Vec<SocketAddrV4>,
    /// How many bytes of frames may wait.
    pub buffer_bytes: usize,
    /// Whether each frame brings the kernel's receive stamp.
    pub kernel_stamps: bool,
}

/// A ring that cannot be had: what was being done, what the system says, and what it lacks.
#[derive(Debug, thiserror::Error)]
#[error("cannot {doing}: {error}{}{lacks}", if .lacks.is_empty() { "" } else { "; " })]
pub struct MappedRingError {
    /// What was being done: "open a packet socket".
    pub doing: &'static str,
    /// What the system says.
    pub error: io::Error,
    /// Which capability, or which feature of the kernel or the driver, is missing; empty if that is not known.
    pub lacks: &'static str,
}
