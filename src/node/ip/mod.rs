//! A packet down to its UDP payload: link layer, VLAN tags, IPv4, UDP. Captures and mapped rings read packets this way.
//!
//! A packet is one whole UDP datagram over IPv4, a fragment of one, or refused for one reason. Lengths are those in the headers,
//! never the packet's own: Ethernet padding is not payload. In a capture no checksum is verified, since NICs with offloading leave
//! them unfinished. Fragments are put together: the rules are strict, at most [`DATAGRAMS_IN_FLIGHT`] datagrams wait, and what does
//! not become a datagram is counted under a reason ([`FragmentFacts`], [`UnusedFragments`]).

use std::net::{Ipv4Addr, SocketAddrV4};
use std::ops::Range;

use etherparse::checksum::Sum16BitWords;
use etherparse::err::ipv4::{HeaderError, HeaderSliceError};
use etherparse::{IpNumber, Ipv4HeaderSlice, UdpHeaderSlice};

mod fragments;

pub use fragments::{DATAGRAMS_IN_FLIGHT, FragmentFacts, UnusedFragments};
pub(crate) use fragments::{Fragment, FragmentPath, Identity, Reassembler};

/// A link layer by its LINKTYPE number (<https://www.tcpdump.org/linktypes.html>).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LinkType {
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
    /// Anything else, by its number: none of its packets are read.
    Other(u16),
}

impl LinkType {
    /// The link layer of this number.
    pub fn from_number(number: u16) -> LinkType {
        match number {
            1 => LinkType::Ethernet,
            12 | 14 | 101 | 228 => LinkType::Raw,
            0 | 108 => LinkType::Loopback,
            113 => LinkType::Sll,
            276 => LinkType::Sll2,
            other => LinkType::Other(other),
        }
    }
}

/// Why a packet is ignored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reason {
    /// Not UDP over IPv4.
    NotUdp,
    /// The headers claim more than is there.
    Truncated,
    /// A fragment of a datagram.
    Fragment,
    /// The headers contradict each other.
    Malformed,
}

/// Where a datagram lies in its packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DatagramPlace {
    /// Who sent it.
    pub(crate) source: SocketAddrV4,
    /// Its destination.
    pub(crate) destination: SocketAddrV4,
    /// The place of its payload, in bytes from the packet's first.
    pub(crate) payload: Range<usize>,
}

const IPV4: u16 = 0x0800;
/// 802.1Q, 802.1ad, and what came before that.
const VLAN: [u16; 5] = [0x8100, 0x88a8, 0x9100, 0x9200, 0x9300];
const UDP_HEADER: usize = 8;

/// Finds the datagram in a packet.
///
/// # Errors
/// The [`Reason`] why it holds none.
#[inline]
pub(crate) fn datagram(link: LinkType, packet: &[u8]) -> Result<DatagramPlace, Reason> {
    let at = network(link, packet)?;
    let ip = Ipv4::parse(packet.get(at..).ok_or(Reason::Truncated)?)?;
    if ip.is_fragment() {
        return Err(Reason::Fragment);
    }
    let segment = ip.segment()?;
    let udp = Udp::parse(segment.bytes)?;
    let from = at + segment.at + UDP_HEADER;
    Ok(DatagramPlace {
        source: SocketAddrV4::new(ip.source(), udp.source_port),
        destination: SocketAddrV4::new(ip.destination(), udp.destination_port),
        payload: from..from + udp.payload.len(),
    })
}

/// Where in a packet its IPv4 header begins.
///
/// # Errors
/// The [`Reason`] why it has none.
#[inline]
pub(crate) fn network(link: LinkType, packet: &[u8]) -> Result<usize, Reason> {
    Ok(match link {
        LinkType::Ethernet => behind_tags(packet, 12)?,
        LinkType::Sll => behind_tags(packet, 14)?,
        LinkType::Sll2 => behind_cooked_v2(packet)?,
        LinkType::Loopback => behind_family(packet)?,
        LinkType::Raw => 0,
        LinkType::Other(_) => return Err(Reason::NotUdp),
    })
}

/// The piece of a datagram in a packet that [`datagram`] refused for [`Reason::Fragment`]. `interface` is the capture interface
/// that it came by: it keeps fragments apart, together with what the link layer says.
///
/// # Errors
/// The [`Reason`] why it holds none.
pub(crate) fn fragment(link: LinkType, interface: u32, packet: &[u8]) -> Result<Fragment<'_>, Reason> {
    let at = network(link, packet)?;
    let ip = Ipv4::parse(packet.get(at..).ok_or(Reason::Truncated)?)?;
    // the tag nearest to the packet ends where its EtherType begins
    let behind_tag = |untagged| if at > untagged { be16(packet, at - 4) } else { Ok(0) };
    let (host_interface, tag) = match link {
        LinkType::Ethernet => (0, behind_tag(14)?),
        LinkType::Sll => (0, behind_tag(16)?),
        LinkType::Sll2 => (u32::from(be16(packet, 4)?) << 16 | u32::from(be16(packet, 6)?), behind_tag(20)?),
        LinkType::Loopback | LinkType::Raw | LinkType::Other(_) => (0, 0),
    };
    // the rest of the tag is a priority and a mark, which may differ from packet to packet
    ip.fragment(FragmentPath { interface, host_interface, vlan: tag & 0xfff })
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

/// Linux cooked v2 has its EtherType first; a tag's would come at the end of the header.
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

/// An IPv4 packet that carries UDP, or a piece of it.
#[derive(Clone, Debug)]
pub(crate) struct Ipv4<'a> {
    header: Ipv4HeaderSlice<'a>,
    /// The header, and all the bytes after it.
    rest: &'a [u8],
}

/// What an IPv4 packet carries.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ipv4Payload<'a> {
    /// Where it begins, from the IPv4 header's first byte.
    pub(crate) at: usize,
    /// Its bytes: the UDP header and the payload, or a fragment of them.
    pub(crate) bytes: &'a [u8],
}

impl<'a> Ipv4<'a> {
    /// The packet that begins with the first of these bytes; bytes after its end do no harm.
    ///
    /// # Errors
    /// Its header is cut off or contradicts itself, or it is not UDP over IPv4.
    #[inline]
    pub(crate) fn parse(rest: &'a [u8]) -> Result<Ipv4<'a>, Reason> {
        let header = Ipv4HeaderSlice::from_slice(rest).map_err(|e| match e {
            HeaderSliceError::Len(_) => Reason::Truncated,
            // raw IP may carry either version
            HeaderSliceError::Content(HeaderError::UnexpectedVersion { version_number: 6 }) => Reason::NotUdp,
            HeaderSliceError::Content(_) => Reason::Malformed,
        })?;
        if header.protocol() != IpNumber::UDP {
            return Err(Reason::NotUdp);
        }
        Ok(Ipv4 { header, rest })
    }

    /// Whether it holds a piece of a datagram rather than a whole one.
    #[inline]
    pub(crate) fn is_fragment(&self) -> bool {
        self.header.is_fragmenting_payload()
    }

    /// Its sender.
    pub(crate) fn source(&self) -> Ipv4Addr {
        self.header.source_addr()
    }

    /// Where it is sent to.
    pub(crate) fn destination(&self) -> Ipv4Addr {
        self.header.destination_addr()
    }

    /// The piece of a datagram that it holds, if fragments came in this way.
    ///
    /// # Errors
    /// As [`Ipv4::segment`].
    pub(crate) fn fragment(&self, via: FragmentPath) -> Result<Fragment<'a>, Reason> {
        let (source, destination, id) = (self.source(), self.destination(), self.header.identification());
        let of = Identity { via, source, destination, id };
        let at = usize::from(self.header.fragments_offset().value()) * 8;
        Ok(Fragment { of, at, more: self.header.more_fragments(), bytes: self.segment()?.bytes })
    }

    /// Whether the header's checksum is right.
    #[inline]
    pub(crate) fn checksum_is_right(&self) -> bool {
        Sum16BitWords::new().add_slice(self.header.slice()).ones_complement() == 0
    }

    /// What it carries.
    ///
    /// # Errors
    /// Its length is less than its header's, or more than is there.
    #[inline]
    pub(crate) fn segment(&self) -> Result<Ipv4Payload<'a>, Reason> {
        let (at, total) = (self.header.slice().len(), usize::from(self.header.total_len()));
        if total < at || total < at + UDP_HEADER && !self.is_fragment() {
            return Err(Reason::Malformed);
        }
        let bytes = self.rest.get(at..total).ok_or(Reason::Truncated)?;
        Ok(Ipv4Payload { at, bytes })
    }
}

/// A whole UDP segment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Udp<'a> {
    /// The sender's port.
    pub(crate) source_port: u16,
    /// The port that it is sent to.
    pub(crate) destination_port: u16,
    /// The payload.
    pub(crate) payload: &'a [u8],
    /// The header, and the payload after it.
    bytes: &'a [u8],
}

/// What a datagram's checksum says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum UdpChecksum {
    /// The sender computed none.
    Absent,
    /// It is right.
    Right,
    /// It is the sum of the pseudo-header only: a sender left it for its NIC to finish, and there was no NIC between the two.
    Unfinished,
    /// It is wrong.
    Wrong,
}

impl<'a> Udp<'a> {
    /// The datagram in a segment.
    ///
    /// # Errors
    /// [`Reason::Malformed`]: its length is less than its header's, or more than is there.
    #[inline]
    pub(crate) fn parse(segment: &'a [u8]) -> Result<Udp<'a>, Reason> {
        let header = UdpHeaderSlice::from_slice(segment).map_err(|_| Reason::Malformed)?;
        let length = usize::from(header.length());
        // zero would mean a jumbogram, which IPv4 does not have; a kernel drops it as well
        if length < UDP_HEADER || length > segment.len() {
            return Err(Reason::Malformed);
        }
        let (source_port, destination_port) = (header.source_port(), header.destination_port());
        let bytes = &segment[..length];
        Ok(Udp { source_port, destination_port, payload: &bytes[UDP_HEADER..], bytes })
    }

    /// Checks its checksum, for these two addresses.
    #[inline]
    pub(crate) fn checksum(&self, source: Ipv4Addr, destination: Ipv4Addr) -> UdpChecksum {
        const CHECKSUM: Range<usize> = 6..8;
        let stored = &self.bytes[CHECKSUM];
        if stored == [0, 0] {
            return UdpChecksum::Absent;
        }
        let pseudo = Sum16BitWords::new()
            .add_4bytes(source.octets())
            .add_4bytes(destination.octets())
            .add_2bytes([0, IpNumber::UDP.0])
            .add_2bytes((self.bytes.len() as u16).to_be_bytes());
        if pseudo.clone().add_slice(self.bytes).ones_complement() == 0 {
            return UdpChecksum::Right;
        }
        // native order on both sides: the sum adds words as they lie in memory
        if !pseudo.ones_complement() == u16::from_ne_bytes([stored[0], stored[1]]) {
            return UdpChecksum::Unfinished;
        }
        UdpChecksum::Wrong
    }
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
            (1, [&MACS[..], &[0x91, 0x00, 0, 7], &vlan, &[0x92, 0x00, 0, 7], &[0x93, 0x00, 0, 7], &vlan, &ip].concat()),
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
    fn fragments_are_kept_apart_by_where_they_came_in() {
        let mut piece = raw(b"0123456789abcdef");
        piece[6] = 0x20;
        let (ip, vlan) = ([0x08, 0x00], [0x81, 0x00, 0xe0, 5]);
        let mut cooked_2 = COOKED_2;
        cooked_2[2..6].copy_from_slice(&[1, 2, 3, 4]);
        let host_interface = 0x0102_0304;
        let via = FragmentPath { interface: 9, ..FragmentPath::default() };
        for (link, head, expected) in [
            (1, [&MACS[..], &ip].concat(), via),
            (1, [&MACS[..], &vlan, &ip].concat(), FragmentPath { vlan: 5, ..via }),
            (1, [&MACS[..], &vlan, &[0x88, 0xa8, 0x3f, 7], &ip].concat(), FragmentPath { vlan: 0xf07, ..via }),
            (113, [&COOKED[..], &ip].concat(), via),
            (113, [&COOKED[..], &vlan, &ip].concat(), FragmentPath { vlan: 5, ..via }),
            (276, [&ip[..], &cooked_2].concat(), FragmentPath { host_interface, ..via }),
            (
                276,
                [&[0x81, 0x00], &cooked_2[..], &[0, 5], &ip].concat(),
                FragmentPath { host_interface, vlan: 5, ..via },
            ),
            (0, vec![2, 0, 0, 0], via),
            (101, vec![], via),
        ] {
            let packet = behind(&head, &piece);
            let link = LinkType::from_number(link);
            assert_eq!(datagram(link, &packet), Err(Reason::Fragment));
            let fragment = fragment(link, 9, &packet).unwrap();
            assert_eq!((fragment.of.via, fragment.bytes), (expected, &piece[20..]), "{link:?} {head:x?}");
            for cut in 0..packet.len() {
                assert_eq!(
                    super::fragment(link, 9, &packet[..cut]).unwrap_err(),
                    Reason::Truncated,
                    "{link:?} at {cut}"
                );
            }
        }
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

    #[test]
    fn a_checksum_is_right_wrong_absent_or_unfinished() {
        for length in [0, 1, 2, 7, 8, 100, 1_473] {
            let payload: Vec<u8> = (0..length).map(|n| (n * 37) as u8).collect();
            let packet = raw(&payload);
            let checksum = |packet: &[u8]| {
                let ip = Ipv4::parse(packet).unwrap();
                let udp = Udp::parse(ip.segment().unwrap().bytes).unwrap();
                (ip.checksum_is_right(), udp.checksum(ip.source(), ip.destination()))
            };
            assert_eq!(checksum(&packet), (true, UdpChecksum::Right), "{length}");
            for at in 0..packet.len() {
                // not parsed at all, or not summed
                if [0, 2, 3, 6, 7, 9, 24, 25].contains(&at) {
                    continue;
                }
                let mut wrong = packet.clone();
                wrong[at] ^= 0x10;
                let of_ip = (0..20).contains(&at);
                let of_udp = (12..20).contains(&at) || at >= 20;
                let expected = if of_udp { UdpChecksum::Wrong } else { UdpChecksum::Right };
                assert_eq!(checksum(&wrong), (!of_ip, expected), "{length}, byte {at}");
            }
            let mut other = packet.clone();
            other[26..28].copy_from_slice(&[0, 0]);
            assert_eq!(checksum(&other).1, UdpChecksum::Absent);
            // the folded sum of the pseudo-header, by hand: what a kernel stores for the NIC to finish
            let words = [0x0a00, 0x0001, 0xef51, 0x0101, 17, 8 + length as u32];
            let sum: u32 = words.iter().sum();
            let folded = (sum & 0xffff) + (sum >> 16);
            other[26..28].copy_from_slice(&(folded as u16).to_be_bytes());
            assert_eq!(checksum(&other).1, UdpChecksum::Unfinished, "{length}");
        }
    }
}
