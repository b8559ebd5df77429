//! An AF_XDP socket with its memory: the rings that it shares with the kernel.
//!
//! ```text
//!            fill: chunks to write to          receive: chunks with a frame
//!  poll ---- producer ----------> kernel ---- producer ----------> poll
//!            <----- consumer -----             <----- consumer ----
//! ```
//!
//! Each chunk of the memory is in one of three places: the fill ring, the receive ring, or with the kernel in between. `poll` reads
//! a frame in place and puts its chunk back; nothing is copied, and no list is kept. Both rings have room for all chunks, so
//! neither overflows: whatever is lost is lost for lack of a chunk.

#![expect(
    clippy::disallowed_types,
    reason = "what is shared here is shared with the kernel, which loom does not model"
)]

use std::io;
use std::mem;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::ptr::{self, NonNull};
use std::slice;
use std::sync::atomic::{AtomicU32, Ordering};

use socket2::{Domain, Socket, Type};

use super::{XdpMode, failed};
use crate::os::raw::{Checksum, MappedRingError, RawFrame};
use crate::os::receive::set_option;

/// A chunk of the memory: a frame, after the room that the kernel keeps for itself.
const CHUNK: usize = 2048;
/// XDP_PACKET_HEADROOM.
const HEADROOM: usize = 256;
/// The longest frame that fits.
pub(super) const LONGEST: usize = CHUNK - HEADROOM;
/// How many chunks there may be.
const CHUNKS: (usize, usize) = (16, 1 << 16);

const READ_WRITE: i32 = libc::PROT_READ | libc::PROT_WRITE;

/// A mapping, which keeps what is mapped alive.
#[derive(Debug)]
pub(super) struct Mapping {
    start: NonNull<u8>,
    len: usize,
}

impl Mapping {
    /// Memory of our own (`None`), or what a descriptor has at an offset.
    pub(super) fn new(len: usize, of: Option<(BorrowedFd<'_>, libc::off_t)>, access: i32) -> io::Result<Mapping> {
        let kind = if of.is_some() { libc::MAP_SHARED } else { libc::MAP_PRIVATE | libc::MAP_ANONYMOUS };
        let (fd, offset) = of.map_or((-1, 0), |(fd, offset)| (fd.as_raw_fd(), offset));
        // SAFETY: a new mapping at a place of the kernel's choice touches no memory of ours
        let start = unsafe { libc::mmap(ptr::null_mut(), len, access, kind | libc::MAP_POPULATE, fd, offset) };
        match NonNull::new(start.cast::<u8>()) {
            Some(at) if start != libc::MAP_FAILED => Ok(Mapping { start: at, len }),
            _ => Err(io::Error::last_os_error()),
        }
    }

    /// A place within.
    pub(super) fn at<T>(&self, offset: u64) -> *mut T {
        let offset = usize::try_from(offset).unwrap_or(usize::MAX);
        assert!(offset.checked_add(mem::size_of::<T>()).is_some_and(|end| end <= self.len), "within the mapping");
        // SAFETY: within the mapping, as just seen
        unsafe { self.start.as_ptr().add(offset).cast() }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: mapped in `new` with this length; whoever has pointers into it owns it, and goes with it
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.len) };
    }
}

/// One of the rings.
#[derive(Debug)]
struct Ring<T> {
    producer: *const AtomicU32,
    consumer: *const AtomicU32,
    flags: *const AtomicU32,
    entries: *mut T,
    mask: u32,
    _map: Mapping,
}

impl<T: Copy> Ring<T> {
    fn new(socket: &Socket, page: libc::off_t, at: [u64; 4], entries: usize) -> io::Result<Ring<T>> {
        let [producer, consumer, first, flags] = at;
        let len = first as usize + entries * mem::size_of::<T>();
        let map = Mapping::new(len, Some((socket.as_fd(), page)), READ_WRITE)?;
        let _last: *mut T = map.at(first + ((entries - 1) * mem::size_of::<T>()) as u64);
        Ok(Ring {
            producer: map.at(producer),
            consumer: map.at(consumer),
            flags: map.at(flags),
            entries: map.at(first),
            mask: entries as u32 - 1,
            _map: map,
        })
    }

    #[inline]
    fn producer(&self) -> &AtomicU32 {
        // SAFETY: within the mapping, which lives as long as `self`; all access to it is atomic, the kernel's too
        unsafe { &*self.producer }
    }

    #[inline]
    fn consumer(&self) -> &AtomicU32 {
        // SAFETY: as in `producer`
        unsafe { &*self.consumer }
    }

    #[inline]
    fn flags(&self) -> &AtomicU32 {
        // SAFETY: as in `producer`
        unsafe { &*self.flags }
    }

    /// The entry of a number.
    #[inline]
    fn entry(&self, number: u32) -> *mut T {
        // SAFETY: the mask holds it within the ring's entries, all of which are within the mapping
        unsafe { self.entries.add((number & self.mask) as usize) }
    }
}

/// A bound socket, with its memory and rings.
#[derive(Debug)]
pub(super) struct Xsk {
    receive: Ring<libc::xdp_desc>,
    fill: Ring<u64>,
    memory: Mapping,
    /// The number of the next entry of the receive ring; the fill ring is ahead by the number of chunks.
    next: u32,
    filled: u32,
    // dropped last: the kernel writes to the memory until the socket is closed
    socket: Socket,
}

// SAFETY: the pointers are into mappings that the value owns, and nobody else in this process has them
unsafe impl Send for Xsk {}

impl Xsk {
    /// A socket, its memory and its rings; not bound.
    pub(super) fn new(buffer_bytes: usize) -> Result<Xsk, MappedRingError> {
        let socket = Socket::new(Domain::from(libc::AF_XDP), Type::RAW.cloexec(), None)
            .map_err(failed("open an AF_XDP socket"))?;
        let chunks = (buffer_bytes / CHUNK).clamp(CHUNKS.0, CHUNKS.1).next_power_of_two();
        let memory =
            Mapping::new(chunks * CHUNK, None, READ_WRITE).map_err(failed("give an AF_XDP socket its memory"))?;
        let register = libc::xdp_umem_reg {
            addr: memory.start.as_ptr() as u64,
            len: memory.len as u64,
            chunk_size: CHUNK as u32,
            headroom: 0,
            flags: 0,
            tx_metadata_len: 0,
        };
        set_option(&socket, libc::SOL_XDP, libc::XDP_UMEM_REG, &register)
            .map_err(failed("give an AF_XDP socket its memory"))?;
        // the kernel wants a completion ring even if nothing is sent
        for (ring, entries) in
            [(libc::XDP_UMEM_FILL_RING, chunks), (libc::XDP_UMEM_COMPLETION_RING, 2), (libc::XDP_RX_RING, chunks)]
        {
            set_option(&socket, libc::SOL_XDP, ring, &(entries as u32))
                .map_err(failed("map an AF_XDP socket's rings"))?;
        }
        // receive, send, fill, completion: producer, consumer, entries, flags each
        let [receive, _, fill, _]: [[u64; 4]; 4] =
            option(&socket, libc::XDP_MMAP_OFFSETS).map_err(failed("map an AF_XDP socket's rings"))?;
        let receive = Ring::new(&socket, libc::XDP_PGOFF_RX_RING, receive, chunks)
            .map_err(failed("map an AF_XDP socket's rings"))?;
        let fill = Ring::<u64>::new(&socket, libc::XDP_UMEM_PGOFF_FILL_RING as libc::off_t, fill, chunks)
            .map_err(failed("map an AF_XDP socket's rings"))?;
        for chunk in 0..chunks as u32 {
            // SAFETY: an entry of the ring, not yet given to the kernel
            unsafe { fill.entry(chunk).write(u64::from(chunk) * CHUNK as u64) };
        }
        let filled = chunks as u32;
        fill.producer().store(filled, Ordering::Release); // pairs with the kernel's Acquire
        let next = receive.consumer().load(Ordering::Relaxed);
        Ok(Xsk { receive, fill, memory, next, filled, socket })
    }

    /// Binds it to a queue. Without a program that brings it frames it hears nothing.
    pub(super) fn bind(&self, interface: u32, queue: u32, mode: XdpMode) -> io::Result<()> {
        let flags = match mode {
            // zero copy if the driver can, otherwise copy; the ring's flags say whether the driver has to be woken
            XdpMode::Native => libc::XDP_USE_NEED_WAKEUP,
            XdpMode::Skb => libc::XDP_USE_NEED_WAKEUP | libc::XDP_COPY,
        };
        let to = libc::sockaddr_xdp {
            sxdp_family: libc::AF_XDP as u16,
            sxdp_flags: flags,
            sxdp_ifindex: interface,
            sxdp_queue_id: queue,
            sxdp_shared_umem_fd: 0,
        };
        let len = mem::size_of_val(&to) as libc::socklen_t;
        // SAFETY: the pointer and the length describe one live address, which the kernel only reads
        let done = unsafe { libc::bind(self.socket.as_raw_fd(), ptr::from_ref(&to).cast(), len) };
        if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }

    /// Hands over the frames that are there, at most `most`, each where it lies. Makes no system call, unless the driver (of a
    /// zero-copy socket) says that it sleeps.
    #[inline]
    pub(super) fn poll(&mut self, most: usize, take: &mut impl FnMut(RawFrame<'_>)) -> usize {
        // pairs with the kernel's Release, after it wrote entries and frames
        let there = self.receive.producer().load(Ordering::Acquire).wrapping_sub(self.next);
        let count = there.min(most as u32);
        for ahead in (1..=count).rev() {
            if ahead > 1 {
                self.prefetch(self.next.wrapping_add(1));
            }
            // SAFETY: an entry that the kernel has given, and does not write to before it is given back
            let frame = unsafe { self.receive.entry(self.next).read() };
            // the kernel is trusted, but checking that no address leads out of the memory costs only two instructions
            let at = frame.addr as usize & (self.memory.len - 1);
            let len = (frame.len as usize).min(CHUNK - (at & (CHUNK - 1)));
            // SAFETY: within one chunk of the memory, which is a power of two of them; the kernel does not write to a chunk
            // between the receive ring and the fill ring, and the borrow ends before it is put there
            let bytes = unsafe { slice::from_raw_parts(self.memory.start.as_ptr().add(at), len) };
            take(RawFrame { bytes, truncated: false, checksum: Checksum::Unknown, kernel_stamp: None, joined: None });
            // SAFETY: an entry that is free: there are as many entries as chunks, and this chunk is in no entry
            unsafe { self.fill.entry(self.filled).write(frame.addr) };
            self.next = self.next.wrapping_add(1);
            self.filled = self.filled.wrapping_add(1);
        }
        if count > 0 {
            self.receive.consumer().store(self.next, Ordering::Release); // pairs with the kernel's Acquire
            self.fill.producer().store(self.filled, Ordering::Release); // the same
        }
        if self.fill.flags().load(Ordering::Relaxed) & libc::XDP_RING_NEED_WAKEUP != 0 {
            self.wake();
        }
        count as usize
    }

    /// Has the beginning of a frame brought nearer: where frames wait, they have gone cold.
    #[inline]
    fn prefetch(&self, number: u32) {
        #[cfg(target_arch = "x86_64")]
        {
            use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
            // SAFETY: an entry that the kernel has given; to prefetch an address reads nothing that could be wrong to read
            unsafe {
                let at = self.receive.entry(number).read().addr as usize & (self.memory.len - 1);
                let frame = self.memory.start.as_ptr().add(at).cast::<i8>();
                _mm_prefetch(frame, _MM_HINT_T0);
                _mm_prefetch(frame.wrapping_add(64), _MM_HINT_T0);
                _mm_prefetch(frame.wrapping_add(128), _MM_HINT_T0);
            }
        }
        #[cfg(not(target_arch = "x86_64"))]
        let _ = number;
    }

    #[cold]
    fn wake(&self) {
        // SAFETY: no buffer is given; an error says that there is nobody to be woken, as with an interface that is gone
        let _ = unsafe {
            libc::recvfrom(
                self.socket.as_raw_fd(),
                ptr::null_mut(),
                0,
                libc::MSG_DONTWAIT,
                ptr::null_mut(),
                ptr::null_mut(),
            )
        };
    }

    /// How many bytes of frames may wait, with what the kernel keeps beside them.
    pub(super) fn bytes(&self) -> usize {
        self.memory.len
    }

    /// A second handle on the socket, for what only the kernel knows of it.
    pub(super) fn watch(&self) -> io::Result<XskWatch> {
        Ok(XskWatch { socket: self.socket.try_clone()?, lost: 0 })
    }

    pub(super) fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// What the kernel knows of a socket.
#[derive(Debug)]
pub(super) struct XskWatch {
    socket: Socket,
    lost: u64,
}

impl XskWatch {
    /// Frames thrown away since this was last asked.
    pub(super) fn lost(&mut self) -> io::Result<u64> {
        // rx_dropped (no chunk, or too long for one), rx_invalid_descs, tx_invalid_descs, rx_ring_full,
        // rx_fill_ring_empty_descs (which are among rx_dropped), tx_ring_empty_descs
        let [dropped, _, _, ring_full, _, _]: [u64; 6] = option(&self.socket, libc::XDP_STATISTICS)?;
        let before = mem::replace(&mut self.lost, dropped + ring_full);
        Ok(self.lost.saturating_sub(before))
    }

    /// Whether the driver writes to the memory itself.
    pub(super) fn zero_copy(&self) -> io::Result<bool> {
        let [flags]: [u32; 1] = option(&self.socket, libc::XDP_OPTIONS)?;
        Ok(flags & libc::XDP_OPTIONS_ZEROCOPY != 0)
    }
}

/// Values that are whole whatever bytes the kernel writes into them.
trait Plain: Copy + Default {}
impl Plain for [u32; 1] {}
impl Plain for [u64; 6] {}
impl Plain for [[u64; 4]; 4] {}

fn option<T: Plain>(socket: &Socket, name: i32) -> io::Result<T> {
    let mut value = T::default();
    let len = mem::size_of::<T>() as libc::socklen_t;
    let mut given = len;
    // SAFETY: the pointer and the length describe one live T, and any bytes make a T (`Plain`)
    let done = unsafe {
        libc::getsockopt(socket.as_raw_fd(), libc::SOL_XDP, name, ptr::from_mut(&mut value).cast(), &mut given)
    };
    match done {
        // an older kernel writes fewer
        0 if given == len => Ok(value),
        0 => Err(io::Error::from_raw_os_error(libc::EOPNOTSUPP)),
        _ => Err(io::Error::last_os_error()),
    }
}
