//! What the receive methods with mapped rings have in common: frames are read from memory shared with the kernel, without a
//! system call.
//!
//! Like a socket, a ring has two halves. The hot thread polls the [`Ring`]. Housekeeping holds the [`Attachment`], which does what
//! may take time: it attaches the ring to an interface, including one that was deleted and is back, and reads how much the
//! kernel threw away. Frames are parsed elsewhere: apart from the method's filter, nothing has checked a [`RawFrame`].

use std::fmt;
use std::io;
use std::net::SocketAddrV4;
use std::num::NonZeroU16;

use twinline_core::Nanos;

/// What is known about a frame's UDP checksum, apart from the frame itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Checksum {
    /// The kernel or the NIC has verified it.
    Valid,
    /// It is as it was on the wire, and has to be verified.
    Ready,
    /// A sender on this machine left it for a NIC to finish, and there was none: it must not be verified.
    NotReady,
    /// The method does not say: it has to be right, or unfinished as in [`Checksum::NotReady`].
    Unknown,
}

/// A frame in a ring, in place. The kernel gets its memory back after it has been looked at.
#[derive(Clone, Copy, Debug)]
pub struct RawFrame<'a> {
    /// The frame, from its link header on.
    pub bytes: &'a [u8],
    /// Whether its end was cut off.
    pub truncated: bool,
    /// What is known about its UDP checksum.
    pub checksum: Checksum,
    /// When the kernel took it from the NIC, if that was asked for and is known.
    pub kernel_stamp: Option<Nanos>,
    /// The frame holds several datagrams after one header, each with this many bytes of payload (the last with the rest): the
    /// kernel splits what a sender on this machine gave it at once (`UDP_SEGMENT`) only for NICs, or a NIC has joined what it
    /// received. `None`: one datagram.
    pub joined: Option<NonZeroU16>,
}

/// The hot half.
pub trait Ring {
    /// Hands over what is there, at most [`RECEIVE_BATCH`](super::RECEIVE_BATCH) frames, without waiting. Returns how many;
    /// if there are fewer, the ring is empty.
    ///
    /// # Errors
    /// The system's error, after what was taken before it.
    /// [`is_transient_receive_error`](super::is_transient_receive_error) says which of them do not end the source.
    fn poll(&mut self, take: &mut impl FnMut(RawFrame<'_>)) -> io::Result<usize>;
}

/// Housekeeping's half.
pub trait Attachment: fmt::Debug + Send {
    /// Attaches the ring to the interface with this index, whatever it was attached to before, and takes frames from then on. What
    /// is in the ring from the interface before can still be read.
    ///
    /// # Errors
    /// What the system says, and what is missing: `ENODEV` if the interface is gone again.
    fn attach(&mut self, index: u32) -> Result<(), MappedRingError>;

    /// Detaches the ring. The interface may be gone.
    fn detach(&mut self);

    /// The index of the interface to which it is attached; `None`: to none.
    fn attached(&self) -> Option<u32>;

    /// How many of the line's frames the kernel has thrown away since the last call, because the ring was full.
    ///
    /// # Errors
    /// The system's error.
    fn overflow(&mut self) -> io::Result<u64>;

    /// How many bytes were asked for, and how many the ring has.
    fn buffer_bytes(&self) -> (usize, usize);
}

/// What a line's ring takes, and how.
#[derive(Clone, Debug)]
pub struct RingOptions {
    /// The groups and ports, each once.
    pub groups: Vec<SocketAddrV4>,
    /// How many bytes of frames may wait.
    pub buffer_bytes: usize,
    /// Whether each frame comes with the kernel's receive stamp.
    pub kernel_stamps: bool,
}

/// Why a ring cannot be opened: what was being done, what the system says, and what is missing.
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
