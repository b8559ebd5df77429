//! Sending whole frames: with Ethernet, IPv4 and UDP headers of our own, handed to one interface past the system's IP layer.
//!
//! It is for multicast as fast as one core can send: a frame costs about half as much as a datagram through a socket. (A mapped
//! `PACKET_TX_RING` was slower than `sendmmsg`, and `PACKET_QDISC_BYPASS` no faster, so neither is used.) A [`PacketSender`] is for
//! one interface, a [`PacketFlow`] for one sender and group on it. What leaves is what a connected UDP socket would have sent, byte
//! for byte, checksums included; only the identification differs.
//!
//! Some things only a socket can do: a unicast destination (its link address has to be looked up), a datagram that is too long
//! for one frame, loopback (the kernel refuses such frames), and **being heard on this host**: unlike a socket's multicast, frames
//! are not looped back to sockets of the same host and namespace. [`joined_here`] says whether a socket there wants them.

use std::io;
use std::mem;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::AsRawFd;
use std::ptr;

use socket2::{Domain, Protocol, Socket, Type};

use super::netns::HostInterface;
use super::receive::SocketError;
use super::sending::{SEND_BATCH, SendFacts};

/// Ethernet, IPv4 without options, UDP.
const HEAD: usize = ETHERNET + IP + UDP;
const ETHERNET: usize = 14;
const IP: usize = 20;
const UDP: usize = 8;

/// Longer packets go by a socket, whatever the link takes: room for [`SEND_BATCH`] jumbo frames is enough.
const PACKET_MAX: usize = 9_216;

/// Why frames cannot be sent on an interface.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PacketError {
    /// It does not exist.
    #[error("no interface {interface}: name one of this host's (`ip address` lists them), or its address")]
    NoInterface {
        /// As configured.
        interface: String,
    },
    /// Frames on loopback reach no socket.
    #[error("frames sent on {interface} reach no socket, because the kernel accepts none there: send by sockets")]
    Loopback {
        /// As configured.
        interface: String,
    },
    /// It is not an Ethernet interface.
    #[error("{interface} is not an Ethernet interface (its type is {hardware}): send by sockets")]
    NotEthernet {
        /// As configured.
        interface: String,
        /// ARPHRD_*.
        hardware: u16,
    },
    /// The privilege is missing.
    #[error(
        "sending frames on {interface} needs the capability CAP_NET_RAW: run as root, grant it with \
         `setcap cap_net_raw+ep twinline`, or send by sockets"
    )]
    Privilege {
        /// As configured.
        interface: String,
    },
    /// The system refuses.
    #[error("{interface}: {error}")]
    Socket {
        /// As configured.
        interface: String,
        /// What was being done, and what the system says.
        error: SocketError,
    },
}

/// Sends whole frames on one interface, past the system's IP layer: about half the cost of a datagram through a socket. What leaves
/// is what a connected UDP socket would have sent, except for the identification.
///
/// It cannot send to a unicast address, nor a datagram that is too long for one frame, nor on loopback; and sockets on the same
/// host do not hear it. [`Sender`](super::Sender) can do all of this.
#[derive(Debug)]
pub struct PacketSender {
    socket: Socket,
    index: u32,
    mac: [u8; 6],
    /// The longest IPv4 packet that goes in one frame.
    packet_max: usize,
    /// [`SEND_BATCH`] places of `stride` bytes.
    frames: Box<[u8]>,
    stride: usize,
    parts: Box<[libc::iovec]>,
    headers: Box<[libc::mmsghdr]>,
    facts: SendFacts,
}

// SAFETY: the pointers in `parts` and `headers` are set anew for each call, and mean nothing outside of it
unsafe impl Send for PacketSender {}

/// The headers of one sender and group: what never changes in them, and the checksum of that part.
#[derive(Clone, Debug)]
pub struct PacketFlow {
    head: [u8; HEAD],
    /// The sum of the IPv4 header, without length and identification.
    ip_sum: u64,
    /// The sum of the pseudo header and the ports, without the lengths.
    udp_sum: u64,
    identification: u16,
}

impl PacketSender {
    /// Opens a packet socket on the interface with this name or IPv4 address. It receives nothing.
    ///
    /// # Errors
    /// [`PacketError`].
    pub fn open(interface: &str) -> Result<PacketSender, PacketError> {
        let name = || interface.to_owned();
        let failed = |error: SocketError| match error.error.raw_os_error() {
            Some(libc::EPERM | libc::EACCES) => PacketError::Privilege { interface: name() },
            _ => PacketError::Socket { interface: name(), error },
        };
        let found = HostInterface::resolve(interface)
            .map_err(SocketError::doing("list the interfaces"))
            .map_err(failed)?
            .ok_or_else(|| PacketError::NoInterface { interface: name() })?;
        if found.loopback {
            return Err(PacketError::Loopback { interface: name() });
        }
        // protocol 0: nothing is received, so nothing piles up
        let socket = Socket::new(Domain::PACKET, Type::RAW.cloexec().nonblocking(), Some(Protocol::from(0)))
            .map_err(SocketError::doing("open a packet socket"))
            .map_err(failed)?;
        let link = bind(&socket, found.index).map_err(SocketError::doing("bind a packet socket")).map_err(failed)?;
        if link.sll_hatype != libc::ARPHRD_ETHER {
            return Err(PacketError::NotEthernet { interface: name(), hardware: link.sll_hatype });
        }
        let mtu = mtu(&socket, &found.name).map_err(SocketError::doing("ask for the MTU")).map_err(failed)?;
        let packet_max = mtu.min(PACKET_MAX);
        let stride = (ETHERNET + packet_max).next_multiple_of(64);
        let part = libc::iovec { iov_base: ptr::null_mut(), iov_len: 0 };
        // SAFETY: a header of zeros names no address, no parts and no control data
        let header: libc::mmsghdr = unsafe { mem::zeroed() };
        let mut mac = [0; 6];
        mac.copy_from_slice(&link.sll_addr[..6]);
        Ok(PacketSender {
            socket,
            index: found.index,
            mac,
            packet_max,
            frames: vec![0; stride * SEND_BATCH].into(),
            stride,
            parts: vec![part; SEND_BATCH].into(),
            headers: vec![header; SEND_BATCH].into(),
            facts: SendFacts::default(),
        })
    }

    /// The index of the interface.
    pub fn index(&self) -> u32 {
        self.index
    }

    /// This sender, with the counts of the one that it replaces.
    pub(crate) fn going_on(self, sent: SendFacts) -> PacketSender {
        PacketSender { facts: sent, ..self }
    }

    /// What it has sent so far. The caller counts troubles.
    pub fn facts(&self) -> SendFacts {
        self.facts
    }

    /// The headers from this sender to a multicast group on this interface.
    pub fn flow(&self, from: SocketAddrV4, to: SocketAddrV4, ttl: u8) -> PacketFlow {
        PacketFlow::new(self.mac, from, to, ttl)
    }

    /// Whether a payload fits into one frame.
    #[inline]
    pub fn fits(&self, payload: &[u8]) -> bool {
        IP + UDP + payload.len() <= self.packet_max
    }

    /// Sends datagrams in one system call, at most [`SEND_BATCH`], each by the flow with its number. Returns how many went out,
    /// counted from the front. It tries only as many as fit and have a flow: none if the first does not.
    ///
    /// # Errors
    /// The system's error, for the first.
    pub fn send(&mut self, flows: &mut [Option<PacketFlow>], datagrams: &[(u16, &[u8])]) -> io::Result<usize> {
        let mut count = 0;
        let places = self.frames.chunks_exact_mut(self.stride).zip(&mut self.parts).zip(&mut self.headers);
        for (((frame, part), header), (flow, payload)) in places.zip(datagrams) {
            let flow = flows.get_mut(usize::from(*flow)).and_then(Option::as_mut);
            let Some(flow) = flow.filter(|_| IP + UDP + payload.len() <= self.packet_max) else { break };
            let len = flow.build(payload, frame);
            *part = libc::iovec { iov_base: frame.as_mut_ptr().cast(), iov_len: len };
            header.msg_hdr.msg_iov = ptr::from_mut(part);
            header.msg_hdr.msg_iovlen = 1;
            count += 1;
        }
        if count == 0 {
            return Ok(0);
        }
        let flags = libc::MSG_DONTWAIT;
        // SAFETY: the first `count` headers name one part each, and each part a frame of `frames`, which the kernel only
        // reads; all of them live until the call is over
        let sent =
            unsafe { libc::sendmmsg(self.socket.as_raw_fd(), self.headers.as_mut_ptr(), count as libc::c_uint, flags) };
        let sent = usize::try_from(sent).map_err(|_| io::Error::last_os_error())?;
        self.facts.datagrams += sent as u64;
        self.facts.bytes += datagrams.iter().take(sent).map(|(_, payload)| payload.len() as u64).sum::<u64>();
        Ok(sent)
    }
}

impl PacketFlow {
    fn new(mac: [u8; 6], from: SocketAddrV4, to: SocketAddrV4, ttl: u8) -> PacketFlow {
        let mut head = [0; HEAD];
        let [_, b, c, d] = to.ip().octets();
        // RFC 1112, 6.4: the lower 23 bits of the group
        head[..6].copy_from_slice(&[0x01, 0x00, 0x5e, b & 0x7f, c, d]);
        head[6..12].copy_from_slice(&mac);
        head[12..14].copy_from_slice(&[0x08, 0x00]);
        let ip = &mut head[ETHERNET..];
        ip[0] = 0x45;
        ip[6] = 0x40; // do not fragment, as the kernel does for a UDP socket
        ip[8] = ttl;
        ip[9] = libc::IPPROTO_UDP as u8;
        ip[12..16].copy_from_slice(&from.ip().octets());
        ip[16..20].copy_from_slice(&to.ip().octets());
        ip[20..22].copy_from_slice(&from.port().to_be_bytes());
        ip[22..24].copy_from_slice(&to.port().to_be_bytes());
        let ip_sum = sum(&ip[..IP]);
        let udp_sum = sum(&ip[12..24]) + libc::IPPROTO_UDP as u64;
        PacketFlow { head, ip_sum, udp_sum, identification: 0 }
    }

    /// Writes a frame and returns its length. The payload has to fit.
    #[inline]
    fn build(&mut self, payload: &[u8], frame: &mut [u8]) -> usize {
        let udp_len = UDP + payload.len();
        let ip_len = IP + udp_len;
        frame[..HEAD].copy_from_slice(&self.head);
        frame[HEAD..HEAD + payload.len()].copy_from_slice(payload);
        self.identification = self.identification.wrapping_add(1);
        let head = &mut frame[ETHERNET..HEAD];
        head[2..4].copy_from_slice(&(ip_len as u16).to_be_bytes());
        head[4..6].copy_from_slice(&self.identification.to_be_bytes());
        let ip_sum = folded(self.ip_sum + ip_len as u64 + u64::from(self.identification));
        head[10..12].copy_from_slice(&(!ip_sum).to_be_bytes());
        head[24..26].copy_from_slice(&(udp_len as u16).to_be_bytes());
        // the length counts twice: in the header and in the pseudo header
        let udp_sum = !folded(self.udp_sum + 2 * udp_len as u64 + u64::from(folded(sum(payload))));
        // RFC 768: 0 would mean that there is none
        let udp_sum = if udp_sum == 0 { 0xffff } else { udp_sum };
        head[26..28].copy_from_slice(&udp_sum.to_be_bytes());
        ETHERNET + ip_len
    }
}

/// The sum of big-endian words, not yet folded; an odd last byte is the upper half of one.
#[inline]
fn sum(bytes: &[u8]) -> u64 {
    let chunks = bytes.chunks_exact(4);
    let rest = chunks.remainder();
    // pairs of words at once: folding adds the carries back
    let mut sum: u64 = chunks.map(|four| u64::from(u32::from_be_bytes([four[0], four[1], four[2], four[3]]))).sum();
    let mut last = [0; 4];
    last[..rest.len()].copy_from_slice(rest);
    sum += u64::from(u32::from_be_bytes(last));
    sum
}

/// In ones' complement.
#[inline]
fn folded(mut sum: u64) -> u16 {
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}

/// Whether a socket on this host (in this thread's namespace) has joined a group on the interface with this index: frames sent
/// there would not reach it. False if the system does not say.
pub(crate) fn joined_here(index: u32, group: Ipv4Addr) -> bool {
    let table = std::fs::read_to_string("/proc/thread-self/net/igmp").unwrap_or_default();
    is_joined(&table, index, group)
}

/// Reads it from the kernel's table: each interface has a row that begins with its index, followed by one row per group.
fn is_joined(table: &str, index: u32, group: Ipv4Addr) -> bool {
    let mut at = None;
    for line in table.lines().skip(1) {
        let first = line.split_whitespace().next().unwrap_or_default();
        if line.starts_with(|c: char| c.is_ascii_digit()) {
            at = first.parse().ok();
        } else if at == Some(index)
            && u32::from_str_radix(first, 16).is_ok_and(|joined| joined.to_ne_bytes() == group.octets())
        {
            return true;
        }
    }
    false
}

/// Binds to the interface, and returns what the kernel knows about it.
fn bind(socket: &Socket, index: u32) -> io::Result<libc::sockaddr_ll> {
    const LEN: libc::socklen_t = mem::size_of::<libc::sockaddr_ll>() as libc::socklen_t;
    // SAFETY: plain data, of which zeros are a value
    let mut link: libc::sockaddr_ll = unsafe { mem::zeroed() };
    link.sll_family = libc::AF_PACKET as u16;
    link.sll_ifindex = i32::try_from(index).unwrap_or(0);
    // SAFETY: the pointer and the length describe one live address, which the kernel only reads
    if unsafe { libc::bind(socket.as_raw_fd(), (&raw const link).cast(), LEN) } != 0 {
        return Err(io::Error::last_os_error());
    }
    let mut len = LEN;
    // SAFETY: the pointer and the length describe one live address, and whatever bytes the kernel writes are one
    if unsafe { libc::getsockname(socket.as_raw_fd(), (&raw mut link).cast(), &raw mut len) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(link)
}

fn mtu(socket: &Socket, interface: &str) -> io::Result<usize> {
    // SAFETY: plain data, of which zeros are a value
    let mut request: libc::ifreq = unsafe { mem::zeroed() };
    // the last byte stays zero
    for (to, from) in request.ifr_name.iter_mut().take(libc::IFNAMSIZ - 1).zip(interface.bytes()) {
        *to = from as libc::c_char;
    }
    // SAFETY: the request is live, and the kernel writes no more than that
    if unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCGIFMTU, &raw mut request) } != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: what SIOCGIFMTU answers
    let mtu = unsafe { request.ifr_ifru.ifru_mtu };
    Ok(usize::try_from(mtu).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];

    fn flow() -> PacketFlow {
        PacketFlow::new(MAC, "10.81.1.1:5000".parse().unwrap(), "239.129.1.1:26400".parse().unwrap(), 1)
    }

    #[test]
    fn a_frame_is_what_another_builder_makes_of_it() {
        let mut flow = flow();
        let mut rng = fastrand::Rng::with_seed(1);
        let mut frame = vec![0xee; 2_000];
        for n in 1..=1_500_u16 {
            let payload: Vec<u8> = std::iter::repeat_with(|| rng.u8(..)).take(usize::from(n) - 1).collect();
            let len = flow.build(&payload, &mut frame);
            let mut header =
                etherparse::Ipv4Header::new(0, 1, etherparse::IpNumber::UDP, [10, 81, 1, 1], [239, 129, 1, 1]).unwrap();
            header.identification = n;
            header.dont_fragment = true;
            let builder = etherparse::PacketBuilder::ethernet2(MAC, [0x01, 0x00, 0x5e, 0x01, 0x01, 0x01])
                .ip(etherparse::IpHeaders::Ipv4(header, Default::default()))
                .udp(5_000, 26_400);
            let mut expected = Vec::new();
            builder.write(&mut expected, &payload).unwrap();
            assert!(frame[..len] == expected, "{n}");
        }
    }

    #[test]
    fn a_checksum_is_never_zero() {
        let mut flow = flow();
        let mut frame = [0; 100];
        let mut found = false;
        for n in 0..=u16::MAX {
            flow.build(&n.to_be_bytes(), &mut frame);
            found |= frame[HEAD - 2..HEAD] == [0xff, 0xff];
            assert!(frame[HEAD - 2..HEAD] != [0, 0]);
        }
        assert!(found, "one of them would have been zero");
    }

    #[test]
    fn the_kernels_table_of_groups_is_read() {
        let word = |group: [u8; 4]| format!("{:08X}", u32::from_ne_bytes(group));
        let table = format!(
            "Idx\tDevice    : Count Querier\tGroup    Users Timer\tReporter\n1\tlo        :     1      V3\n\t\t\t\t{}     1 \
             0:00000000\t\t0\n4\teth0      :     2      V3\n\t\t\t\t{}     1 0:00000000\t\t0\n",
            word([224, 0, 0, 1]),
            word([239, 1, 1, 1])
        );
        let joined = |index, group: &str| is_joined(&table, index, group.parse().unwrap());
        assert!(joined(1, "224.0.0.1") && joined(4, "239.1.1.1"));
        assert!(!joined(1, "239.1.1.1") && !joined(4, "224.0.0.1") && !joined(2, "239.1.1.1"));
        assert!(!is_joined("", 1, Ipv4Addr::new(224, 0, 0, 1)));
    }

    #[test]
    fn loopback_takes_no_frames() {
        let error = PacketSender::open("127.0.0.1").unwrap_err();
        assert!(matches!(error, PacketError::Loopback { .. }), "{error}");
        let error = PacketSender::open("nosuchnic0").unwrap_err().to_string();
        assert!(error.starts_with("no interface nosuchnic0"), "{error}");
    }
}
