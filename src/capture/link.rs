//! A captured packet down to its UDP payload: link layer, VLAN tags, IPv4, UDP.
//!
//! A packet is either one whole UDP datagram over IPv4 or ignored for one [`Reason`]. Lengths are those that the headers
//! say, never those of the capture: Ethernet padding is not payload. Checksums are not looked at: offloading NICs leave
//! them unfinished in what they hand to a capture. Fragments are not put together.

use std::net::SocketAddrV4;
use std::ops::Range;

use etherparse::err::ipv4::HeaderSliceError;
use etherparse::{IpNumber, Ipv4HeaderSlice, UdpHeaderSlice};

/// A link layer by its LINKTYPE number (<https://www.tcpdump.org/linktypes.html>).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LinkType {
    /// 1.
    Ethernet,
    /// 101 and 228, and the platform-dependent 12 and 14.
    Raw,
    /// 0 (the writer's byte order) and 108 (network byte order).
    Loopback,
    /// 113, Linux cooked, v1.
    Sll,
    /// 276, Linux cooked, v2.
    Sll2,
    /// Anything else: none of its packets are read.
    Other,
}

impl LinkType {
    pub(super) fn from_number(number: u16) -> LinkType {
        match number {
            1 => LinkType::Ethernet,
            12 | 14 | 101 | 228 => LinkType::Raw,
            0 | 108 => LinkType::Loopback,
            113 => LinkType::Sll,
            276 => LinkType::Sll2,
            _ => LinkType::Other,
        }
    }
}

/// Why a packet is ignored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reason {
    /// Something else than UDP over IPv4.
    NotUdp,
    /// The headers say more than was captured.
    Truncated,
    /// A fragment of a datagram.
    Fragment,
    /// The headers contradict each other.
    Malformed,
}

/// Where a datagram lies in its packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) source: SocketAddrV4,
    pub(super) destination: SocketAddrV4,
    pub(super) payload: Range<usize>,
}

const IPV4: u16 = 0x0800;
const VLAN: [u16; 3] = [0x8100, 0x88a8, 0x9100];
const UDP_HEADER: usize = 8;

/// Finds the datagram in a packet.
#[inline]
pub(super) fn datagram(link: LinkType, packet: &[u8]) -> Result<Found, Reason> {
    let at = match link {
        LinkType::Ethernet => behind_tags(packet, 12)?,
        LinkType::Sll => behind_tags(packet, 14)?,
        LinkType::Sll2 => behind_cooked_v2(packet)?,
        LinkType::Loopback => behind_family(packet)?,
        LinkType::Raw => 0,
        LinkType::Other => return Err(Reason::NotUdp),
    };
    ipv4(packet, at)
}

/// Any number of VLAN tags, from the EtherType at `at` on.
#[inline]
fn behind_tags(packet: &[u8], mut at: usize) -> Result<usize, Reason> {
    loop {
        let ether_type = be16(packet, at)?;
        at += 2;
        if ether_type == IPV4 {
            return Ok(at);
        }
        if !VLAN.contains(&ether_type) {
            return Err(Reason::NotUdp);
        }
        at += 2;
    }
}

/// Linux cooked v2 has its EtherType first, behind which a tag's would stand at the end of the header.
fn behind_cooked_v2(packet: &[u8]) -> Result<usize, Reason> {
    let ether_type = be16(packet, 0)?;
    match ether_type {
        IPV4 => Ok(20),
        tag if VLAN.contains(&tag) => behind_tags(packet, 22),
        _ => Err(Reason::NotUdp),
    }
}

/// The address family of BSD loopback: of IPv4 it is 2 everywhere, in either byte order.
fn behind_family(packet: &[u8]) -> Result<usize, Reason> {
    match packet.first_chunk() {
        Some([2, 0, 0, 0] | [0, 0, 0, 2]) => Ok(4),
        Some(_) => Err(Reason::NotUdp),
        None => Err(Reason::Truncated),
    }
}

fn be16(packet: &[u8], at: usize) -> Result<u16, Reason> {
    match packet.get(at..at + 2) {
        Some(&[high, low]) => Ok(u16::from_be_bytes([high, low])),
        _ => Err(Reason::Truncated),
    }
}

#[inline]
fn ipv4(packet: &[u8], at: usize) -> Result<Found, Reason> {
    let rest = packet.get(at..).ok_or(Reason::Truncated)?;
    let ip = Ipv4HeaderSlice::from_slice(rest).map_err(|e| match e {
        HeaderSliceError::Len(_) => Reason::Truncated,
        // raw IP carries either version
        HeaderSliceError::Content(etherparse::err::ipv4::HeaderError::UnexpectedVersion { version_number: 6 }) => {
            Reason::NotUdp
        }
        HeaderSliceError::Content(_) => Reason::Malformed,
    })?;
    if ip.protocol() != IpNumber::UDP {
        return Err(Reason::NotUdp);
    }
    if ip.is_fragmenting_payload() {
        return Err(Reason::Fragment);
    }
    let (header, total) = (ip.slice().len(), usize::from(ip.total_len()));
    if total < header + UDP_HEADER {
        return Err(Reason::Malformed);
    }
    let segment = rest.get(header..total).ok_or(Reason::Truncated)?;
    let udp = UdpHeaderSlice::from_slice(segment).map_err(|_| Reason::Malformed)?;
    let length = usize::from(udp.length());
    // zero would mean a jumbogram, which IPv4 does not have: a kernel drops it too
    if length < UDP_HEADER || length > segment.len() {
        return Err(Reason::Malformed);
    }
    let from = at + header;
    Ok(Found {
        source: SocketAddrV4::new(ip.source_addr(), udp.source_port()),
        destination: SocketAddrV4::new(ip.destination_addr(), udp.destination_port()),
        payload: from + UDP_HEADER..from + length,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use etherparse::PacketBuilder;

    /// An IPv4 header and a UDP header before `payload`.
    fn raw(payload: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        PacketBuilder::ipv4([10, 0, 0, 1], [239, 81, 1, 1], 16).udp(5_000, 26_400).write(&mut out, payload).unwrap();
        out
    }

    fn behind(head: &[u8], packet: &[u8]) -> Vec<u8> {
        [head, packet].concat()
    }

    fn payload(link: u16, packet: &[u8]) -> Result<Vec<u8>, Reason> {
        let found = datagram(LinkType::from_number(link), packet)?;
        assert_eq!(found.source, "10.0.0.1:5000".parse().unwrap());
        assert_eq!(found.destination, "239.81.1.1:26400".parse().unwrap());
        Ok(packet[found.payload].to_vec())
    }

    const MACS: [u8; 12] = [1, 0, 0x5e, 81, 1, 1, 2, 0, 0, 0, 0, 1];
    const COOKED: [u8; 14] = [0, 2, 0, 1, 0, 6, 2, 0, 0, 0, 0, 1, 0, 0];
    const COOKED_2: [u8; 18] = [0, 0, 0, 0, 0, 3, 0, 1, 2, 6, 2, 0, 0, 0, 0, 1, 0, 0];

    #[test]
    fn every_link_layer_ends_at_the_same_datagram() {
        let (ip, vlan) = ([0x08, 0x00], [0x81, 0x00, 0, 5]);
        let heads: Vec<(u16, Vec<u8>)> = vec![
            (1, [&MACS[..], &ip].concat()),
            (1, [&MACS[..], &vlan, &ip].concat()),
            (1, [&MACS[..], &[0x88, 0xa8, 0, 7], &vlan, &ip].concat()),
            (1, [&MACS[..], &[0x91, 0x00, 0, 7], &vlan, &vlan, &vlan, &ip].concat()),
            (113, [&COOKED[..], &ip].concat()),
            (113, [&COOKED[..], &vlan, &ip].concat()),
            (276, [&ip[..], &COOKED_2].concat()),
            (276, [&[0x81, 0x00][..], &COOKED_2, &[0, 5], &ip].concat()),
            (0, vec![2, 0, 0, 0]),
            (0, vec![0, 0, 0, 2]),
            (108, vec![0, 0, 0, 2]),
            (101, vec![]),
            (12, vec![]),
            (14, vec![]),
            (228, vec![]),
        ];
        for (link, head) in heads {
            let mut packet = behind(&head, &raw(b"hello"));
            assert_eq!(payload(link, &packet), Ok(b"hello".to_vec()), "{link} {head:x?}");
            for cut in 0..packet.len() {
                assert_eq!(payload(link, &packet[..cut]), Err(Reason::Truncated), "{link} cut at {cut}");
            }
            packet.extend([0xee; 20]);
            assert_eq!(payload(link, &packet), Ok(b"hello".to_vec()), "{link} padded");
        }
    }

    #[test]
    fn lengths_are_the_headers() {
        let with = |at: usize, bytes: [u8; 2]| {
            let mut packet = raw(b"hello");
            packet[at..at + 2].copy_from_slice(&bytes);
            payload(101, &packet)
        };
        let (ip_length, udp_length, fragment, protocol) = (2, 24, 6, 8);
        assert_eq!(with(udp_length, [0, 13]), Ok(b"hello".to_vec()));
        assert_eq!(with(udp_length, [0, 10]), Ok(b"he".to_vec()));
        assert_eq!(with(udp_length, [0, 8]), Ok(vec![]));
        for wrong in [0, 1, 7, 14, 255] {
            assert_eq!(with(udp_length, [0, wrong]), Err(Reason::Malformed), "{wrong}");
        }
        for wrong in [0, 19, 20, 27, 32] {
            assert_eq!(with(ip_length, [0, wrong]), Err(Reason::Malformed), "{wrong}");
        }
        assert_eq!(with(ip_length, [0, 34]), Err(Reason::Truncated));
        assert_eq!(with(fragment, [0x20, 0]), Err(Reason::Fragment));
        assert_eq!(with(fragment, [0, 1]), Err(Reason::Fragment));
        assert_eq!(with(fragment, [0x40, 0]), Ok(b"hello".to_vec()));
        assert_eq!(with(protocol, [16, 6]), Err(Reason::NotUdp));
        assert_eq!(with(0, [0x44, 0]), Err(Reason::Malformed));
        assert_eq!(with(0, [0x65, 0]), Err(Reason::NotUdp));
        assert_eq!(with(0, [0x35, 0]), Err(Reason::Malformed));
    }

    #[test]
    fn ip_options_are_stepped_over() {
        let mut packet = raw(b"hello");
        packet[0] = 0x47;
        packet[3] += 8;
        packet.splice(20..20, [7, 7, 4, 0, 0, 0, 0, 0]);
        assert_eq!(payload(101, &packet), Ok(b"hello".to_vec()));
    }

    #[test]
    fn what_is_no_ipv4_is_not_udp() {
        for ether_type in [[0x86, 0xdd], [0x08, 0x06], [0x00, 0x40]] {
            assert_eq!(payload(1, &[&MACS[..], &ether_type, &raw(b"x")].concat()), Err(Reason::NotUdp));
            assert_eq!(payload(276, &[&ether_type[..], &COOKED_2, &raw(b"x")].concat()), Err(Reason::NotUdp));
        }
        assert_eq!(payload(0, &behind(&[24, 0, 0, 0], &raw(b"x"))), Err(Reason::NotUdp));
        assert_eq!(payload(105, &raw(b"x")), Err(Reason::NotUdp));
    }
}
