//! Frames made byte by byte, and a socket that puts them on the wire as they are.

use std::io;
use std::net::SocketAddrV4;
use std::os::fd::AsRawFd as _;

use etherparse::{Ipv4HeaderSlice, PacketBuilder, SingleVlanHeader, VlanId};
use socket2::{Domain, SockAddr, Socket, Type};
use twinline_node::os::HostInterface;

use crate::support::netns::Bed;

/// Who sends, by default.
pub const FROM: &str = "10.81.1.1:5000";

const TO_ETHERNET: usize = 14;

/// An Ethernet frame with one UDP datagram, from [`FROM`].
pub fn frame(to: SocketAddrV4, payload: &[u8]) -> Vec<u8> {
    frame_from(FROM.parse().unwrap(), to, payload)
}

/// The same from another sender.
pub fn frame_from(from: SocketAddrV4, to: SocketAddrV4, payload: &[u8]) -> Vec<u8> {
    let [_, b, c, d] = to.ip().octets();
    // the MAC of the group (RFC 1112)
    let mac = [1, 0, 0x5e, b & 0x7f, c, d];
    let mut frame = Vec::new();
    PacketBuilder::ethernet2([2, 0, 0, 0, 0, 1], mac)
        .ipv4(from.ip().octets(), to.ip().octets(), 1)
        .udp(from.port(), to.port())
        .write(&mut frame, payload)
        .unwrap();
    frame
}

/// Puts tags before the EtherType, the outermost first, by their EtherTypes.
pub fn tagged(frame: &[u8], tags: &[u16]) -> Vec<u8> {
    let mut out = frame[..12].to_vec();
    for tag in tags {
        out.extend(tag.to_be_bytes());
        // the rest of a tag is the id and what comes next, which is what follows here
        let id = SingleVlanHeader { vlan_id: VlanId::try_new(7).unwrap(), ..SingleVlanHeader::default() };
        out.extend(&id.to_bytes()[..2]);
    }
    out.extend(&frame[12..]);
    out
}

/// The datagram of a frame in fragments of so many bytes of UDP each, all with this number.
pub fn fragments(whole: &[u8], id: u16, size: usize) -> Vec<Vec<u8>> {
    let segment = &whole[TO_ETHERNET + 20..];
    let count = segment.len().div_ceil(size);
    let piece = |(n, bytes): (usize, &[u8])| {
        let mut out = [&whole[..TO_ETHERNET + 20], bytes].concat();
        let offset = (n * size / 8) as u16 | if n + 1 < count { 0x2000 } else { 0 };
        let ip = &mut out[TO_ETHERNET..];
        ip[2..4].copy_from_slice(&((20 + bytes.len()) as u16).to_be_bytes());
        ip[4..6].copy_from_slice(&id.to_be_bytes());
        ip[6..8].copy_from_slice(&offset.to_be_bytes());
        mend(&mut out);
        out
    };
    segment.chunks(size).enumerate().map(piece).collect()
}

/// Makes the checksum of an untagged frame's IPv4 header right again.
pub fn mend(frame: &mut [u8]) {
    let ip = Ipv4HeaderSlice::from_slice(&frame[TO_ETHERNET..]).unwrap().to_header();
    let sum = ip.calc_header_checksum().to_be_bytes();
    frame[TO_ETHERNET + 10..TO_ETHERNET + 12].copy_from_slice(&sum);
}

/// Changes a byte of an untagged frame, counted from its IPv4 header on.
pub fn altered(mut frame: Vec<u8>, at: usize, byte: u8) -> Vec<u8> {
    frame[TO_ETHERNET + at] = byte;
    frame
}

/// Puts frames on a wire.
pub struct Wire {
    socket: Socket,
    to: SockAddr,
}

impl Wire {
    /// On the publisher's end.
    pub fn open(bed: &Bed, interface: &str) -> Wire {
        bed.on("pub", || {
            let index = HostInterface::resolve(interface).unwrap().expect(interface).index;
            let socket = Socket::new(Domain::PACKET, Type::RAW, None).unwrap();
            // SAFETY: the storage is a sockaddr_ll, of its length, whose other fields may be zero
            let made = unsafe {
                SockAddr::try_init(|storage, len| {
                    let address = storage.cast::<libc::sockaddr_ll>();
                    (*address).sll_family = libc::AF_PACKET as u16;
                    (*address).sll_ifindex = index as i32;
                    *len = size_of::<libc::sockaddr_ll>() as libc::socklen_t;
                    Ok::<(), io::Error>(())
                })
            };
            Wire { socket, to: made.unwrap().1 }
        })
    }

    #[track_caller]
    pub fn send(&self, frame: &[u8]) {
        assert_eq!(self.socket.send_to(frame, &self.to).unwrap(), frame.len());
    }
}

/// Has the kernel cut what is sent into datagrams of so many bytes, as late as it can: on veth, behind the wire.
pub fn segment(socket: &Socket, size: u16) {
    let size = i32::from(size);
    // SAFETY: pointer and length describe one live i32, which the kernel reads
    let done = unsafe {
        let len = size_of::<i32>() as libc::socklen_t;
        libc::setsockopt(socket.as_raw_fd(), libc::SOL_UDP, libc::UDP_SEGMENT, (&raw const size).cast(), len)
    };
    assert_eq!(done, 0, "{}", io::Error::last_os_error());
}
