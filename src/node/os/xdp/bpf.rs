//! The redirect program: written here, loaded by bpf(2), attached as a link.
//!
//! ```text
//! Ethernet, up to four VLAN tags, IPv4 (options too), UDP, not sent to another host's hardware address
//!   whole, to an address and port in `wanted` -> the AF_XDP socket of the queue
//!     longer than a socket's chunk, or no socket -> counted, and to the kernel
//!   a fragment, to an address in `wanted`     -> counted, and to the kernel
//! anything else                               -> the kernel, as if there were no program
//! ```
//!
//! The count is in memory that the hot half has mapped: it says, without a system call, when there is reason to look at an
//! ordinary socket.
//!
//! It is a link rather than a plain attachment: it ends with its last descriptor, so a process that is killed leaves nothing
//! behind.

#![expect(
    clippy::disallowed_types,
    reason = "what is shared here is shared with the kernel, which loom does not model"
)]

use std::io;
use std::mem;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use super::rings::Mapping;
use super::{QUEUES_MAX, XdpMode};

// linux/bpf.h: commands, types, verdicts
const MAP_CREATE: i32 = 0;
const MAP_UPDATE_ELEM: i32 = 2;
const PROG_LOAD: i32 = 5;
const LINK_CREATE: i32 = 28;
const LINK_DETACH: i32 = 34;
const MAP_TYPE_HASH: u32 = 1;
const MAP_TYPE_ARRAY: u32 = 2;
const MAP_TYPE_XSKMAP: u32 = 17;
const PROG_TYPE_XDP: u32 = 6;
const ATTACH_XDP: u32 = 37;
const FLAG_MMAPABLE: u32 = 1 << 10;
const FLAG_SKB_MODE: u32 = 1 << 1;
const FLAG_DRV_MODE: u32 = 1 << 2;

/// The verdict for a frame that is not redirected: the kernel takes it.
pub(super) const PASS: i32 = 2;

/// Address and port as in a header, and two zero bytes. Port 0 stands for fragments, most of which have no port.
type Key = [u8; 8];

fn key(to: Ipv4Addr, port: u16) -> Key {
    let ([a, b, c, d], [high, low]) = (to.octets(), port.to_be_bytes());
    [a, b, c, d, high, low, 0, 0]
}

/// The loaded program, with the maps that it looks into.
#[derive(Debug)]
pub(super) struct Program {
    program: OwnedFd,
    sockets: OwnedFd,
    count: OwnedFd,
}

impl Program {
    /// Loads a program that redirects frames of at most `longest` bytes to `wanted`, and leaves others, and those of a queue
    /// without a socket, to `otherwise`.
    pub(super) fn load(wanted: &[SocketAddrV4], longest: usize, otherwise: i32) -> io::Result<Program> {
        let (number, key_size) = (mem::size_of::<u32>(), mem::size_of::<Key>());
        let destinations = map(MAP_TYPE_HASH, (key_size, number), 2 * wanted.len().max(1), 0)?;
        for to in wanted {
            set(&destinations, &key(*to.ip(), to.port()), &1u32)?;
            set(&destinations, &key(*to.ip(), 0), &1u32)?;
        }
        let sockets = map(MAP_TYPE_XSKMAP, (number, number), QUEUES_MAX, 0)?;
        let count = map(MAP_TYPE_ARRAY, (number, mem::size_of::<u64>()), 1, FLAG_MMAPABLE)?;
        let code = instructions(&destinations, &sockets, &count, longest, otherwise);
        #[repr(C)]
        struct Load {
            program_type: u32,
            count: u32,
            code: u64,
            license: u64,
            log: [u32; 4],
            kernel_version: u32,
            flags: u32,
            name: [u8; 16],
            interface: u32,
            attach_type: u32,
        }
        let load = Load {
            program_type: PROG_TYPE_XDP,
            count: code.len() as u32,
            code: code.as_ptr() as u64,
            license: c"MIT".as_ptr() as u64,
            log: [0; 4],
            kernel_version: 0,
            flags: 0,
            name: *b"twinline\0\0\0\0\0\0\0\0",
            interface: 0,
            attach_type: ATTACH_XDP,
        };
        // SAFETY: the instructions and the license outlive the call, which reads as many as it is told; no log is asked for
        let program = unsafe { bpf_descriptor(PROG_LOAD, &load) }?;
        Ok(Program { program, sockets, count })
    }

    /// How many frames of the feed's were left to the kernel, for reading without a system call.
    pub(super) fn count(&self) -> io::Result<Count> {
        let map = Mapping::new(mem::size_of::<u64>(), Some((self.count.as_fd(), 0)), libc::PROT_READ)?;
        Ok(Count { at: map.at(0), _map: map })
    }

    /// From now on frames of this queue go to `socket`, until it closes.
    pub(super) fn put(&self, queue: u32, socket: BorrowedFd<'_>) -> io::Result<()> {
        set(&self.sockets, &queue, &(socket.as_raw_fd() as u32))
    }

    /// Attaches the program, for as long as the link lives.
    pub(super) fn attach(&self, interface: u32, mode: XdpMode) -> io::Result<Link> {
        #[repr(C)]
        struct Attach {
            program: u32,
            interface: u32,
            attach_type: u32,
            flags: u32,
        }
        let attach = Attach {
            program: self.program.as_raw_fd() as u32,
            interface,
            attach_type: ATTACH_XDP,
            flags: match mode {
                XdpMode::Native => FLAG_DRV_MODE,
                XdpMode::Skb => FLAG_SKB_MODE,
            },
        };
        // SAFETY: numbers alone
        unsafe { bpf_descriptor(LINK_CREATE, &attach) }.map(|link| Link(Mutex::new(link)))
    }
}

/// An attachment of the program.
#[derive(Debug)]
pub(super) struct Link(Mutex<OwnedFd>);

impl Link {
    /// Detaches the program now, even if another process has the link: one that was just forked has all descriptors for a moment.
    pub(super) fn detach(&self) {
        let link = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let detach = [link.as_raw_fd() as u32];
        // an error means that it is already detached, or that the interface has gone and the program with it
        // SAFETY: numbers alone
        let _ = unsafe { bpf(LINK_DETACH, &detach) };
    }

    /// Takes the place of a detached link, for everyone who has it.
    pub(super) fn renew(&self, by: &Link) {
        let (mut old, mut new) = (self.0.lock(), by.0.lock());
        if let (Ok(old), Ok(new)) = (&mut old, &mut new) {
            std::mem::swap(&mut **old, &mut **new);
        }
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.detach();
    }
}

/// A counter that the program shares.
#[derive(Debug)]
pub(super) struct Count {
    at: *const AtomicU64,
    _map: Mapping,
}

// SAFETY: the pointer is into a mapping that the value owns; all access to it is atomic
unsafe impl Send for Count {}

impl Count {
    #[inline]
    pub(super) fn now(&self) -> u64 {
        // SAFETY: within the mapping, which lives as long as `self`; the program adds to it atomically
        unsafe { &*self.at }.load(Ordering::Relaxed)
    }
}

/// A map with keys and values of these sizes.
fn map(map_type: u32, (key, value): (usize, usize), entries: usize, flags: u32) -> io::Result<OwnedFd> {
    let create = [map_type, key as u32, value as u32, entries as u32, flags];
    // SAFETY: numbers alone
    unsafe { bpf_descriptor(MAP_CREATE, &create) }
}

fn set<K: Copy>(map: &OwnedFd, key: &K, value: &u32) -> io::Result<()> {
    #[repr(C)]
    struct Update {
        map: u32,
        padding: u32,
        key: u64,
        value: u64,
        flags: u64,
    }
    let update = Update {
        map: map.as_raw_fd() as u32,
        padding: 0,
        key: std::ptr::from_ref(key) as u64,
        value: std::ptr::from_ref(value) as u64,
        flags: 0,
    };
    // SAFETY: key and value live through the call, and are as long as the map was made for: the maps that are set here have
    // each has one kind of key, and values of four bytes
    unsafe { bpf(MAP_UPDATE_ELEM, &update) }.map(drop)
}

/// # Safety
/// `attributes` begins as the kernel's `bpf_attr` of this command does, and addresses in it hold through the call.
unsafe fn bpf<T>(command: i32, attributes: &T) -> io::Result<i32> {
    // SAFETY: the caller's promise; the kernel reads no more than the size that it is told
    let done = unsafe { libc::syscall(libc::SYS_bpf, command, std::ptr::from_ref(attributes), mem::size_of::<T>()) };
    if done < 0 { Err(io::Error::last_os_error()) } else { Ok(done as i32) }
}

/// # Safety
/// As [`bpf`], and the command answers with a new descriptor.
unsafe fn bpf_descriptor<T>(command: i32, attributes: &T) -> io::Result<OwnedFd> {
    // SAFETY: the caller's promise; a descriptor that the kernel has just given belongs to nobody else
    unsafe { bpf(command, attributes).map(|fd| OwnedFd::from_raw_fd(fd)) }
}

/// As the kernel reads it: the registers are halves of one byte.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Instruction {
    code: u8,
    registers: u8,
    offset: i16,
    value: i32,
}

// operations: class, width or operand, operation
const LOAD_U8: u8 = 0x71;
const LOAD_U16: u8 = 0x69;
const LOAD_U32: u8 = 0x61;
const STORE_U16: u8 = 0x6b;
const STORE_U32: u8 = 0x63;
const LOAD_MAP: u8 = 0x18;
const ADD: u8 = 0x0f;
const ADD_VALUE: u8 = 0x07;
const AND_VALUE: u8 = 0x57;
const SHIFT_LEFT_VALUE: u8 = 0x67;
const SET: u8 = 0xbf;
const SET_VALUE: u8 = 0xb7;
const IF_EQUAL_VALUE: u8 = 0x15;
const IF_GREATER: u8 = 0x2d;
const IF_LESS: u8 = 0xad;
const IF_LESS_VALUE: u8 = 0xa5;
const IF_BITS_VALUE: u8 = 0x45;
const IF_NOT_EQUAL_VALUE: u8 = 0x55;
const CALL: u8 = 0x85;
const EXIT: u8 = 0x95;
const ATOMIC_ADD_U64: u8 = 0xdb;
const STORE_U32_VALUE: u8 = 0x62;
const MAP_LOOKUP: i32 = 1;
const REDIRECT_MAP: i32 = 51;

// placeholders for the offsets of jumps until their targets are known: to the kernel, counted or not; or to the look-up
const OUT: i16 = i16::MAX;
const COUNT: i16 = i16::MAX - 1;
const LOOK_UP: i16 = i16::MAX - 2;

fn instructions(
    destinations: &OwnedFd,
    sockets: &OwnedFd,
    count: &OwnedFd,
    longest: usize,
    otherwise: i32,
) -> Vec<Instruction> {
    // r6: the context; r7: the header that is being read; r8: the frame's end; r9: its beginning; r10: the stack's end
    const CONTEXT: u8 = 6;
    const HEADER: u8 = 7;
    const END: u8 = 8;
    const FRAME: u8 = 9;
    const STACK: u8 = 10;
    const ETHERNET: i16 = 14;
    let network = |value: u16| i32::from(value.to_be());
    let mut code = Vec::new();
    let mut put = |operation, to: u8, from: u8, offset, value| {
        code.push(Instruction { code: operation, registers: from << 4 | to, offset, value });
        code.len()
    };
    put(SET, CONTEXT, 1, 0, 0);
    put(LOAD_U32, FRAME, CONTEXT, 0, 0); // xdp_md.data
    put(LOAD_U32, END, CONTEXT, 4, 0); // xdp_md.data_end
    put(SET, HEADER, FRAME, 0, 0);
    put(SET, 1, HEADER, 0, 0);
    put(ADD_VALUE, 1, 0, 0, i32::from(ETHERNET));
    put(IF_GREATER, 1, END, OUT, 0);
    put(LOAD_U16, 2, HEADER, 12, 0);
    for _ in 0..4 {
        put(IF_EQUAL_VALUE, 2, 0, 1, network(0x8100));
        put(IF_NOT_EQUAL_VALUE, 2, 0, 5, network(0x88a8)); // skips the next five: no tag
        put(ADD_VALUE, HEADER, 0, 0, 4);
        put(SET, 1, HEADER, 0, 0);
        put(ADD_VALUE, 1, 0, 0, i32::from(ETHERNET));
        put(IF_GREATER, 1, END, OUT, 0);
        put(LOAD_U16, 2, HEADER, 12, 0);
    }
    put(IF_NOT_EQUAL_VALUE, 2, 0, OUT, network(0x0800));
    put(SET, 1, HEADER, 0, 0);
    put(ADD_VALUE, 1, 0, 0, i32::from(ETHERNET) + 20);
    put(IF_GREATER, 1, END, OUT, 0);
    put(LOAD_U8, 2, HEADER, ETHERNET + 9, 0);
    put(IF_NOT_EQUAL_VALUE, 2, 0, OUT, libc::IPPROTO_UDP);
    put(LOAD_U8, 2, HEADER, ETHERNET, 0);
    put(SET, 3, 2, 0, 0);
    put(AND_VALUE, 3, 0, 0, 0xf0);
    put(IF_NOT_EQUAL_VALUE, 3, 0, OUT, 0x40);
    put(AND_VALUE, 2, 0, 0, 0x0f);
    put(IF_LESS_VALUE, 2, 0, OUT, 5);
    put(SHIFT_LEFT_VALUE, 2, 0, 0, 2);
    // a frame to a group has a group's hardware address (or none, on loopback); any other is another host's, flooded by a switch
    put(LOAD_U8, 3, HEADER, ETHERNET + 16, 0);
    put(AND_VALUE, 3, 0, 0, 0xf0);
    put(IF_NOT_EQUAL_VALUE, 3, 0, 4, 0xe0);
    put(LOAD_U8, 3, FRAME, 0, 0);
    put(IF_BITS_VALUE, 3, 0, 2, 1);
    put(LOAD_U32, 3, FRAME, 0, 0);
    put(IF_NOT_EQUAL_VALUE, 3, 0, OUT, 0);
    // the key: r3 has the address, the second half is zero until there is a port
    put(LOAD_U32, 3, HEADER, ETHERNET + 16, 0);
    put(STORE_U32, STACK, 3, -8, 0);
    put(STORE_U32_VALUE, STACK, 0, -4, 0);
    put(LOAD_U16, 3, HEADER, ETHERNET + 6, 0);
    put(IF_BITS_VALUE, 3, 0, LOOK_UP, network(0x3fff)); // more fragments, or an offset
    put(ADD, HEADER, 2, 0, 0); // past the IP header, but for the Ethernet one
    put(SET, 1, HEADER, 0, 0);
    put(ADD_VALUE, 1, 0, 0, i32::from(ETHERNET) + 8);
    put(IF_GREATER, 1, END, OUT, 0);
    put(LOAD_U16, 2, HEADER, ETHERNET + 2, 0);
    let look_up = put(STORE_U16, STACK, 2, -4, 0);
    put(LOAD_MAP, 1, 1, 0, destinations.as_raw_fd());
    put(0, 0, 0, 0, 0); // the second half of a load of 64 bits
    put(SET, 2, STACK, 0, 0);
    put(ADD_VALUE, 2, 0, 0, -8);
    put(CALL, 0, 0, 0, MAP_LOOKUP);
    put(IF_EQUAL_VALUE, 0, 0, OUT, 0);
    put(LOAD_U16, 2, STACK, -4, 0);
    put(IF_EQUAL_VALUE, 2, 0, COUNT, 0);
    put(ADD_VALUE, FRAME, 0, 0, longest as i32);
    put(IF_LESS, FRAME, END, COUNT, 0);
    put(LOAD_U32, 2, CONTEXT, 16, 0); // xdp_md.rx_queue_index
    put(LOAD_MAP, 1, 1, 0, sockets.as_raw_fd());
    put(0, 0, 0, 0, 0);
    put(SET_VALUE, 3, 0, 0, otherwise);
    put(CALL, 0, 0, 0, REDIRECT_MAP);
    put(IF_EQUAL_VALUE, 0, 0, COUNT, PASS);
    let counted = put(EXIT, 0, 0, 0, 0);
    put(STORE_U32_VALUE, STACK, 0, -4, 0);
    put(LOAD_MAP, 1, 1, 0, count.as_raw_fd());
    put(0, 0, 0, 0, 0);
    put(SET, 2, STACK, 0, 0);
    put(ADD_VALUE, 2, 0, 0, -4);
    put(CALL, 0, 0, 0, MAP_LOOKUP);
    put(IF_EQUAL_VALUE, 0, 0, OUT, 0);
    put(SET_VALUE, 1, 0, 0, 1);
    let out = put(ATOMIC_ADD_U64, 0, 1, 0, 0);
    put(SET_VALUE, 0, 0, 0, PASS);
    put(EXIT, 0, 0, 0, 0);
    for (at, jump) in code.iter_mut().enumerate() {
        let to = match jump.offset {
            OUT => out,
            COUNT => counted,
            LOOK_UP => look_up,
            _ => continue,
        };
        jump.offset = (to - at - 1) as i16;
    }
    code
}

#[cfg(test)]
impl Program {
    /// Runs it over a frame, and says the verdict (BPF_PROG_TEST_RUN).
    pub(super) fn run(&self, frame: &[u8]) -> io::Result<u32> {
        #[repr(C)]
        struct Run {
            program: u32,
            verdict: u32,
            size: [u32; 2],
            frame: [u64; 2],
            repeat: u32,
            duration: u32,
        }
        let mut run = Run {
            program: self.program.as_raw_fd() as u32,
            verdict: 0,
            size: [frame.len() as u32, 0],
            frame: [frame.as_ptr() as u64, 0],
            repeat: 1,
            duration: 0,
        };
        let size = mem::size_of::<Run>();
        // SAFETY: the frame lives through the call, which reads as much as it is told, and writes to `run` alone
        let done = unsafe { libc::syscall(libc::SYS_bpf, 10, &raw mut run, size) };
        if done == 0 { Ok(run.verdict) } else { Err(io::Error::last_os_error()) }
    }
}
