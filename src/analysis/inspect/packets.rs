//! What a packet is, as far as its headers show without a check of lengths: its VLAN tags, and its kind if it is not UDP over IPv4.
//!
//! The reader of captures decides what is a datagram, and counts the rest under a few reasons. This module names the kinds of the
//! rest, for a person who wants to know what else is in the file.

use twinline_node::ip::LinkType;

/// The VLAN ids of a packet, outermost first. Tags behind the second are skipped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tags {
    /// The ids.
    pub(crate) ids: [u16; 2],
    /// How many of them are there.
    pub(crate) count: u8,
}

impl Tags {
    /// The ids that are there.
    pub(crate) fn ids(&self) -> &[u16] {
        &self.ids[..usize::from(self.count)]
    }

    fn push(&mut self, id: u16) {
        if let Some(place) = self.ids.get_mut(usize::from(self.count)) {
            *place = id;
            self.count += 1;
        }
    }
}

/// What a packet is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub(super) enum PacketKind {
    /// UDP over IPv4, complete or not: what the reader looks into.
    Udp,
    /// TCP over IPv4.
    Tcp,
    /// ICMP over IPv4.
    Icmp,
    /// IGMP: who joins and leaves groups.
    Igmp,
    /// Another protocol over IPv4.
    OtherIpv4,
    /// UDP over IPv6 to a multicast group. It may be a feed, but is not read.
    UdpIpv6Multicast,
    /// Anything else over IPv6.
    Ipv6,
    /// ARP.
    Arp,
    /// Another protocol.
    OtherProtocol,
    /// A link layer that is not read.
    OtherLink,
    /// Too short to say.
    Short,
}

impl PacketKind {
    /// Every kind, in the order of reports.
    pub(super) const ALL: [PacketKind; 11] = [
        PacketKind::Udp,
        PacketKind::Tcp,
        PacketKind::Icmp,
        PacketKind::Igmp,
        PacketKind::OtherIpv4,
        PacketKind::UdpIpv6Multicast,
        PacketKind::Ipv6,
        PacketKind::Arp,
        PacketKind::OtherProtocol,
        PacketKind::OtherLink,
        PacketKind::Short,
    ];

    /// Its name in `--json`.
    pub(super) const fn name(self) -> &'static str {
        match self {
            PacketKind::Udp => "udp",
            PacketKind::Tcp => "tcp",
            PacketKind::Icmp => "icmp",
            PacketKind::Igmp => "igmp",
            PacketKind::OtherIpv4 => "other_ipv4",
            PacketKind::UdpIpv6Multicast => "udp_ipv6_multicast",
            PacketKind::Ipv6 => "ipv6",
            PacketKind::Arp => "arp",
            PacketKind::OtherProtocol => "other_protocol",
            PacketKind::OtherLink => "other_link",
            PacketKind::Short => "short",
        }
    }

    /// What to call it in a report for people.
    pub(super) const fn title(self) -> &'static str {
        match self {
            PacketKind::Udp => "UDP over IPv4",
            PacketKind::Tcp => "TCP",
            PacketKind::Icmp => "ICMP",
            PacketKind::Igmp => "IGMP",
            PacketKind::OtherIpv4 => "other IPv4",
            PacketKind::UdpIpv6Multicast => "IPv6 multicast UDP (not read)",
            PacketKind::Ipv6 => "other IPv6",
            PacketKind::Arp => "ARP",
            PacketKind::OtherProtocol => "other protocols",
            PacketKind::OtherLink => "link layers that are not read",
            PacketKind::Short => "too short to tell",
        }
    }
}

const IPV4: u16 = 0x0800;
const IPV6: u16 = 0x86dd;
const ARP: u16 = 0x0806;
const VLAN: [u16; 3] = [0x8100, 0x88a8, 0x9100];
const UDP: u8 = 17;

/// What a packet is, and its VLAN tags.
#[inline]
pub(super) fn look(link: LinkType, packet: &[u8]) -> (PacketKind, Tags) {
    let mut tags = Tags::default();
    let kind = match link {
        LinkType::Ethernet => behind_tags(packet, 12, &mut tags),
        LinkType::Sll => behind_tags(packet, 14, &mut tags),
        LinkType::Sll2 => match be16(packet, 0) {
            Some(tag) if VLAN.contains(&tag) => behind_tags_from(packet, tag, 20, &mut tags),
            Some(ether_type) => network(ether_type, packet.get(20..)),
            None => PacketKind::Short,
        },
        LinkType::Loopback => match packet.first_chunk() {
            Some([2, 0, 0, 0] | [0, 0, 0, 2]) => network(IPV4, packet.get(4..)),
            // IPv6 has another number on every system
            Some([24 | 28 | 30, 0, 0, 0] | [0, 0, 0, 24 | 28 | 30]) => network(IPV6, packet.get(4..)),
            Some(_) => PacketKind::OtherProtocol,
            None => PacketKind::Short,
        },
        LinkType::Raw => match packet.first().map(|byte| byte >> 4) {
            Some(6) => network(IPV6, Some(packet)),
            Some(_) => network(IPV4, Some(packet)),
            None => PacketKind::Short,
        },
        _ => PacketKind::OtherLink,
    };
    (kind, tags)
}

fn be16(packet: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(*packet.get(at..)?.first_chunk()?))
}

#[inline]
fn behind_tags(packet: &[u8], at: usize, tags: &mut Tags) -> PacketKind {
    match be16(packet, at) {
        Some(ether_type) => behind_tags_from(packet, ether_type, at + 2, tags),
        None => PacketKind::Short,
    }
}

#[inline]
fn behind_tags_from(packet: &[u8], mut ether_type: u16, mut at: usize, tags: &mut Tags) -> PacketKind {
    while VLAN.contains(&ether_type) {
        let (Some(control), Some(next)) = (be16(packet, at), be16(packet, at + 2)) else { return PacketKind::Short };
        tags.push(control & 0x0fff);
        (ether_type, at) = (next, at + 4);
    }
    network(ether_type, packet.get(at..))
}

#[inline]
fn network(ether_type: u16, rest: Option<&[u8]>) -> PacketKind {
    let Some(rest) = rest else { return PacketKind::Short };
    match ether_type {
        IPV4 => match rest.get(9) {
            None => PacketKind::Short,
            Some(&UDP) => PacketKind::Udp,
            Some(6) => PacketKind::Tcp,
            Some(1) => PacketKind::Icmp,
            Some(2) => PacketKind::Igmp,
            Some(_) => PacketKind::OtherIpv4,
        },
        IPV6 => match (rest.get(6), rest.get(24)) {
            (Some(&UDP), Some(0xff)) => PacketKind::UdpIpv6Multicast,
            (Some(_), _) => PacketKind::Ipv6,
            (None, _) => PacketKind::Short,
        },
        ARP => PacketKind::Arp,
        _ => PacketKind::OtherProtocol,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MACS: [u8; 12] = [1, 0, 0x5e, 81, 1, 1, 2, 0, 0, 0, 0, 1];

    fn ipv4(protocol: u8) -> Vec<u8> {
        let mut packet = vec![0; 20];
        (packet[0], packet[9]) = (0x45, protocol);
        packet
    }

    fn ethernet(rest: &[&[u8]]) -> Vec<u8> {
        [&MACS[..], &rest.concat()].concat()
    }

    #[test]
    fn every_kind_is_told() {
        let mut ipv6 = vec![0; 40];
        (ipv6[0], ipv6[6], ipv6[24]) = (0x60, 17, 0xff);
        let unicast = [&ipv6[..24], &[0x20; 16]].concat();
        for (link, packet, kind) in [
            (1, ethernet(&[&[8, 0], &ipv4(17)]), PacketKind::Udp),
            (1, ethernet(&[&[8, 0], &ipv4(6)]), PacketKind::Tcp),
            (1, ethernet(&[&[8, 0], &ipv4(1)]), PacketKind::Icmp),
            (1, ethernet(&[&[8, 0], &ipv4(2)]), PacketKind::Igmp),
            (1, ethernet(&[&[8, 0], &ipv4(47)]), PacketKind::OtherIpv4),
            (1, ethernet(&[&[0x86, 0xdd], &ipv6]), PacketKind::UdpIpv6Multicast),
            (1, ethernet(&[&[0x86, 0xdd], &unicast]), PacketKind::Ipv6),
            (1, ethernet(&[&[8, 6], &[0; 28]]), PacketKind::Arp),
            (1, ethernet(&[&[0x88, 0xcc]]), PacketKind::OtherProtocol),
            (1, ethernet(&[&[8, 0]]), PacketKind::Short),
            (1, MACS.to_vec(), PacketKind::Short),
            (105, ethernet(&[]), PacketKind::OtherLink),
            (101, ipv4(17), PacketKind::Udp),
            (101, ipv6.clone(), PacketKind::UdpIpv6Multicast),
            (0, [&[2, 0, 0, 0], &ipv4(6)[..]].concat(), PacketKind::Tcp),
            (0, [&[30, 0, 0, 0], &ipv6[..]].concat(), PacketKind::UdpIpv6Multicast),
            (276, [&[8, 0][..], &[0; 18], &ipv4(17)].concat(), PacketKind::Udp),
        ] {
            assert_eq!(look(LinkType::from_number(link), &packet), (kind, Tags::default()), "{link} {packet:x?}");
        }
    }

    #[test]
    fn tags_are_the_outer_two() {
        let tag = |id: u8| [0x81, 0, 0x20, id];
        for n in 0..4u8 {
            let tags: Vec<u8> = (1..=n).flat_map(tag).collect();
            let (kind, seen) = look(LinkType::Ethernet, &ethernet(&[&tags, &[8, 0], &ipv4(17)]));
            let expected: Vec<u16> = (1..=u16::from(n.min(2))).collect();
            assert_eq!((kind, seen.ids()), (PacketKind::Udp, expected.as_slice()), "{n} tags");
        }
        let (kind, seen) = look(LinkType::Sll2, &[&[0x81, 0][..], &[0; 18], &[0, 5, 8, 0], &ipv4(17)].concat());
        assert_eq!((kind, seen.ids()), (PacketKind::Udp, [5].as_slice()));
    }
}
