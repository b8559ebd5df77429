//! Packet sockets with a mapped ring (`AF_PACKET`, `TPACKET_V2`): the kernel puts a line's frames into shared memory, and they are
//! read there without a system call.
//!
//! ```text
//! slot:  status | lengths, stamp ... | notes | frame, from the link header on      2 KiB each, as many as `buffer` allows
//!        user   -> taken in place, then handed back: kernel
//! ```
//!
//! It is version 2, which hands over frame by frame; version 3 waits for a block to fill or for its timer. The socket is opened
//! without a protocol, so that nothing arrives before filter and ring are set, and is bound to its interface last. Outgoing frames
//! are ignored: on the loopback interface each would come twice.
//!
//! Datagrams that a sender on this machine gave to the kernel at once (`UDP_SEGMENT`) cross a virtual wire in one piece. The
//! kernel's notes right before each frame say how long each is ([`RawFrame::joined`]).
//!
//! A frame that is longer than a slot is cut off in the ring, and read whole by an ordinary receive call, the only system call
//! here. No feed sends such frames over a network with an MTU of 1,500 bytes, but loopback carries datagrams of 64 KiB.

use std::io;
use std::mem;
use std::num::NonZeroU16;
use std::os::fd::AsRawFd;
use std::ptr::{self, NonNull};
use std::slice;
use std::sync::atomic::Ordering;

use libc::{tpacket_req, tpacket_stats, tpacket_versions, tpacket2_hdr};
use socket2::{Domain, SockFilter, Socket, Type};

use super::filter;
use super::raw::{Attachment, Checksum, MappedRingError, RawFrame, Ring, RingOptions};
use super::receive::RECEIVE_BATCH;
use super::receive::{ask_for_buffer, set_option};
use twinline_core::Nanos;

/// What a frame has, with the kernel's notes on it: enough for an Ethernet of 1,500 bytes.
const SLOT: usize = 2_048;
/// How much the kernel allocates in one piece, in bytes.
const BLOCK: usize = 32 * SLOT;
/// The kernel's notes before a frame, a virtio_net_hdr: flags, how it is joined, header's length, size of the parts, ...
const NOTES: usize = 10;
/// What the notes say of UDP datagrams in one piece (VIRTIO_NET_HDR_GSO_UDP_L4).
const JOINED_UDP: u8 = 5;
/// An EtherType that no frame has (it is reserved), nor any that the filter takes: with none at all, the kernel would keep the
/// one that was.
const NOTHING: i32 = 0xffff;
/// Room for the longest frame: an IPv4 packet and what comes before it.
const LONGEST: usize = (1 << 16) + 128;

/// Who owns a slot.
#[expect(clippy::disallowed_types, reason = "shared with the kernel, which loom does not model")]
type State = std::sync::atomic::AtomicU32;

/// The hot thread's half of a packet socket with a mapped ring (`AF_PACKET`, `TPACKET_V2`): the kernel puts frames into shared
/// memory, and they are read there without a system call.
#[derive(Debug)]
pub struct PacketRing {
    socket: Socket,
    map: NonNull<u8>,
    slots: usize,
    /// The slot that the kernel fills next.
    next: usize,
    kernel_stamps: bool,
    /// Where frames that are longer than a slot land.
    long: Box<[u8]>,
}

// SAFETY: the mapping is plain memory, which this value alone reads and writes on this side
unsafe impl Send for PacketRing {}

impl PacketRing {
    /// Opens a socket for frames to these groups and ports. It is not attached to an interface yet.
    ///
    /// # Errors
    /// What was being done, what the system says, and what is missing: mostly the capability.
    pub fn open(options: &RingOptions) -> Result<(PacketRing, PacketAttachment), MappedRingError> {
        let socket = Socket::new(Domain::PACKET, Type::RAW.cloexec().nonblocking(), None)
            .map_err(failed("open a packet socket"))?;
        let program: Vec<SockFilter> = filter::groups(&options.groups)
            .into_iter()
            .map(|step| SockFilter::new(step.code, step.jt, step.jf, step.k))
            .collect();
        socket.attach_filter(&program).map_err(failed("attach a filter to a packet socket"))?;
        let set = |name, value: i32| set_option(&socket, libc::SOL_PACKET, name, &value);
        set(libc::PACKET_VERSION, tpacket_versions::TPACKET_V2 as i32)
            .map_err(failed("ask for a ring of version 2"))?;
        set(libc::PACKET_IGNORE_OUTGOING, 1).map_err(failed("leave out the frames that this host sends"))?;
        set(libc::PACKET_COPY_THRESH, 1).map_err(failed("ask for long frames whole"))?;
        // kernels before 6.2 cannot report joined UDP: they count such frames as lost
        set(libc::PACKET_VNET_HDR, 1).map_err(failed("ask how frames are joined"))?;
        if options.kernel_stamps {
            // the ring has stamps anyway; this makes the kernel take them when a frame arrives, not on its way to the ring
            set_option(&socket, libc::SOL_SOCKET, libc::SO_TIMESTAMPNS, &1i32)
                .map_err(failed("ask for kernel stamps"))?;
        }
        ask_for_buffer(&socket, options.buffer_bytes)
            .map_err(|error| failed("ask for a buffer for long frames")(error.error))?;
        let blocks = options.buffer_bytes.div_ceil(BLOCK).max(1);
        let (bytes, slots) = (blocks * BLOCK, blocks * (BLOCK / SLOT));
        let ring = tpacket_req {
            tp_block_size: BLOCK as u32,
            tp_block_nr: blocks as u32,
            tp_frame_size: SLOT as u32,
            tp_frame_nr: slots as u32,
        };
        set_option(&socket, libc::SOL_PACKET, libc::PACKET_RX_RING, &ring).map_err(failed("set up the ring"))?;
        let watched = socket.try_clone().map_err(failed("duplicate a packet socket"))?;
        // SAFETY: a new mapping of the ring that was just set up, wherever the kernel puts it
        let map = unsafe {
            let (may, how) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED | libc::MAP_POPULATE);
            libc::mmap(ptr::null_mut(), bytes, may, how, socket.as_raw_fd(), 0)
        };
        let map = match NonNull::new(map.cast::<u8>()) {
            Some(map) if map.as_ptr().cast() != libc::MAP_FAILED => map,
            _ => return Err(failed("map the ring")(io::Error::last_os_error())),
        };
        let attachment = PacketAttachment { socket: watched, attached: None, buffer: (options.buffer_bytes, bytes) };
        let (kernel_stamps, long) = (options.kernel_stamps, vec![0; LONGEST].into_boxed_slice());
        Ok((PacketRing { socket, map, slots, next: 0, kernel_stamps, long }, attachment))
    }

    /// The whole frame, this long, of which a slot holds the beginning; with its notes.
    #[cold]
    fn long(&mut self, len: usize) -> Option<&[u8]> {
        let len = NOTES + len;
        // one is queued for each slot that says so, in the same order; one that could not be taken because of an error is skipped
        for _ in 0..RECEIVE_BATCH {
            // SAFETY: the kernel writes at most the buffer's length to it
            let received = unsafe {
                let flags = libc::MSG_DONTWAIT | libc::MSG_TRUNC;
                libc::recv(self.socket.as_raw_fd(), self.long.as_mut_ptr().cast(), self.long.len(), flags)
            };
            if received < 0 {
                match io::Error::last_os_error().raw_os_error() {
                    // reported once, about the link: what is queued is still there
                    Some(libc::ENETDOWN | libc::EINTR) => continue,
                    _ => return None,
                }
            }
            if received as usize == len {
                return self.long.get(..len);
            }
        }
        None
    }
}

impl Ring for PacketRing {
    #[inline]
    fn poll(&mut self, take: &mut impl FnMut(RawFrame<'_>)) -> io::Result<usize> {
        let mut taken = 0;
        while taken < RECEIVE_BATCH {
            // SAFETY: `next` is below `slots`, so the slot is within the mapping, which lives as long as `self`; a slot is
            // aligned for its header, whose first word kernel and program both access as an atomic one
            let (slot, state) = unsafe {
                let slot = self.map.as_ptr().add(self.next * SLOT);
                (slot, State::from_ptr(slot.cast::<u32>()))
            };
            // its Release is the kernel's, behind the frame's last byte
            let status = state.load(Ordering::Acquire);
            if status & libc::TP_STATUS_USER == 0 {
                break;
            }
            // SAFETY: the slot is the program's until its state is stored below: the kernel does not write to it, and any bytes
            // are a header; the frame's place is held to the slot
            let (header, bytes) = unsafe {
                let header = slot.cast::<tpacket2_hdr>().read();
                let at = usize::from(header.tp_mac).clamp(NOTES, SLOT);
                let len = (header.tp_snaplen as usize).min(SLOT - at);
                (header, slice::from_raw_parts(slot.add(at - NOTES), NOTES + len))
            };
            let (notes, bytes) = bytes.split_at(NOTES);
            let joined = if notes[1] == JOINED_UDP { joined(notes) } else { None };
            let ahead = self.next + 2;
            if taken > 0 && ahead < self.slots {
                // a backlog: slots are too far apart for the processor to prefetch the next by itself
                // SAFETY: within the mapping, as above
                prefetch(unsafe { self.map.as_ptr().add(ahead * SLOT) });
            }
            let checksum = if status & libc::TP_STATUS_CSUMNOTREADY != 0 {
                Checksum::NotReady
            } else if status & libc::TP_STATUS_CSUM_VALID != 0 {
                Checksum::Valid
            } else {
                Checksum::Ready
            };
            let stamp = || Nanos::from_secs(u64::from(header.tp_sec)) + Nanos(u64::from(header.tp_nsec));
            let kernel_stamp = self.kernel_stamps.then(stamp);
            let len = header.tp_len as usize;
            let frame = RawFrame { bytes, truncated: bytes.len() < len, checksum, kernel_stamp, joined };
            if status & libc::TP_STATUS_COPY == 0 {
                take(frame);
            } else {
                match self.long(len) {
                    Some(bytes) => take(RawFrame { bytes: &bytes[NOTES..], truncated: false, ..frame }),
                    None => take(frame),
                }
            }
            // after the last read of the frame; pairs with the kernel's Acquire
            state.store(libc::TP_STATUS_KERNEL, Ordering::Release);
            self.next = if self.next + 1 == self.slots { 0 } else { self.next + 1 };
            taken += 1;
        }
        Ok(taken)
    }
}

/// Prefetches a slot's header, the frame's headers and the beginning of the payload.
#[inline]
fn prefetch(slot: *const u8) {
    #[cfg(target_arch = "x86_64")]
    for line in 0..3 {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: a hint, which reads nothing
        unsafe { _mm_prefetch::<_MM_HINT_T0>(slot.wrapping_add(line * 64).cast()) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = slot;
}

/// The length of each of the joined datagrams; the notes are in the machine's byte order.
#[cold]
fn joined(notes: &[u8]) -> Option<NonZeroU16> {
    NonZeroU16::new(u16::from_ne_bytes([notes[4], notes[5]]))
}

impl Drop for PacketRing {
    fn drop(&mut self) {
        // SAFETY: mapped in `open` with this length, and nothing refers to it any more
        unsafe { libc::munmap(self.map.as_ptr().cast(), self.slots * SLOT) };
    }
}

/// The half of a packet socket that housekeeping holds.
#[derive(Debug)]
pub struct PacketAttachment {
    socket: Socket,
    attached: Option<u32>,
    buffer: (usize, usize),
}

impl PacketAttachment {
    /// Binds to an interface's frames with this EtherType (`ETH_P_ALL`: any); returns the interface's link layer.
    fn bind(&self, protocol: i32, index: u32) -> io::Result<u16> {
        // SAFETY: zero bytes are a sockaddr_ll
        let mut address: libc::sockaddr_ll = unsafe { mem::zeroed() };
        address.sll_family = libc::AF_PACKET as u16;
        address.sll_protocol = (protocol as u16).to_be();
        address.sll_ifindex = i32::try_from(index).unwrap_or(-1);
        let mut len = mem::size_of::<libc::sockaddr_ll>() as libc::socklen_t;
        let fd = self.socket.as_raw_fd();
        // SAFETY: pointer and length describe one live sockaddr_ll, which the kernel reads, and then writes at most so much of
        let done = unsafe {
            match libc::bind(fd, ptr::from_ref(&address).cast(), len) {
                0 => libc::getsockname(fd, ptr::from_mut(&mut address).cast(), &mut len),
                failed => failed,
            }
        };
        if done == 0 { Ok(address.sll_hatype) } else { Err(io::Error::last_os_error()) }
    }
}

impl Attachment for PacketAttachment {
    fn attach(&mut self, index: u32) -> Result<(), MappedRingError> {
        if self.attached == Some(index) {
            return Ok(());
        }
        let doing = "attach to the interface";
        let link = self.bind(libc::ETH_P_ALL, index).map_err(failed(doing))?;
        self.attached = Some(index);
        if !matches!(link, libc::ARPHRD_ETHER | libc::ARPHRD_LOOPBACK) {
            self.detach();
            let error = io::Error::other("it is not Ethernet");
            return Err(MappedRingError { doing, error, lacks: r#"receive = "socket" needs none"# });
        }
        Ok(())
    }

    fn detach(&mut self) {
        if let Some(index) = self.attached.take() {
            // an interface that has gone has already detached its socket
            let _ = self.bind(NOTHING, index);
        }
    }

    fn attached(&self) -> Option<u32> {
        self.attached
    }

    fn overflow(&mut self) -> io::Result<u64> {
        // the kernel resets the counts with every look
        let facts: tpacket_stats = super::receive::option(&self.socket, libc::SOL_PACKET, libc::PACKET_STATISTICS)?;
        Ok(u64::from(facts.tp_drops))
    }

    fn buffer_bytes(&self) -> (usize, usize) {
        self.buffer
    }
}

fn failed(doing: &'static str) -> impl FnOnce(io::Error) -> MappedRingError {
    move |error| {
        let lacks = match error.raw_os_error() {
            Some(libc::EPERM | libc::EACCES) => {
                r#"receive = "packet" needs the capability CAP_NET_RAW: run as root, or grant it to the program (`setcap cap_net_raw+ep twinline`); receive = "socket" needs none"#
            }
            Some(libc::EAFNOSUPPORT) => {
                r#"this kernel has no packet sockets (CONFIG_PACKET): load the module af_packet, or use receive = "socket""#
            }
            Some(libc::ENOPROTOOPT) => r#"receive = "packet" needs Linux 4.20 or later: use receive = "socket""#,
            Some(libc::ENOMEM) => "there is not that much memory in one piece: use a smaller `buffer` under [receive]",
            _ => r#"receive = "socket" does without"#,
        };
        MappedRingError { doing, error, lacks }
    }
}
