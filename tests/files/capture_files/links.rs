//! Every link layer that is read, whole and in fragments, byte by byte.

use twinline_node::capture::{CaptureWarning, RecordCounts};

use super::build::{File, all, brief, fragments, raw, reader};

const MACS: [u8; 12] = [1, 0, 0x5e, 1, 1, 1, 2, 0, 0, 0, 0, 1];
/// Linux cooked: packet type, ARPHRD, length of the address, the address.
const COOKED: [u8; 14] = [0, 2, 0, 1, 0, 6, 2, 0, 0, 0, 0, 1, 0, 0];
/// Version 2, behind its EtherType: nothing, the interface, ARPHRD, packet type, length of the address, the address.
const COOKED_2: [u8; 18] = [0, 0, 0, 0, 0, 3, 0, 1, 2, 6, 2, 0, 0, 0, 0, 1, 0, 0];

const IPV4: [u8; 2] = [0x08, 0x00];
const VLAN: [u8; 4] = [0x81, 0x00, 0x60, 5];
const SERVICE: [u8; 4] = [0x88, 0xa8, 0, 7];
const OLD: [[u8; 4]; 3] = [[0x91, 0x00, 0, 8], [0x92, 0x00, 0, 9], [0x93, 0x00, 0, 10]];

/// A link type's number, and what stands before an IPv4 packet.
fn heads() -> Vec<(u16, Vec<u8>)> {
    vec![
        (1, [&MACS[..], &IPV4].concat()),
        (1, [&MACS[..], &VLAN, &IPV4].concat()),
        (1, [&MACS[..], &SERVICE, &VLAN, &IPV4].concat()),
        (1, [&MACS[..], OLD.as_flattened(), &VLAN, &VLAN, &IPV4].concat()),
        (113, [&COOKED[..], &IPV4].concat()),
        (113, [&COOKED[..], &VLAN, &IPV4].concat()),
        (113, [&COOKED[..], &SERVICE, &VLAN, &IPV4].concat()),
        (276, [&IPV4[..], &COOKED_2].concat()),
        // a tag's EtherType stands in the header, the rest of it behind
        (276, [&VLAN[..2], &COOKED_2, &VLAN[2..], &IPV4].concat()),
        (276, [&SERVICE[..2], &COOKED_2, &SERVICE[2..], &VLAN, &IPV4].concat()),
        (0, vec![2, 0, 0, 0]),
        (0, vec![0, 0, 0, 2]),
        (108, vec![0, 0, 0, 2]),
        (101, vec![]),
        (228, vec![]),
        (12, vec![]),
        (14, vec![]),
    ]
}

#[test]
fn every_link_layer_is_read_in_either_format_whole_and_in_fragments() {
    for (link, head) in heads() {
        let with = |packet: &[u8]| [&head[..], packet].concat();
        let whole = raw(1, b"a whole datagram");
        let mut packets = vec![with(&whole)];
        packets.extend(
            fragments(&raw(2, b"a datagram in three fragments, so long"), 7, 2).iter().map(|piece| with(piece)),
        );
        let mut classic = File::pcap(true, 0xa1b2_3c4d, u32::from(link));
        let mut blocks = File::pcapng(false);
        blocks.interface(link, 0, "", Some(9), None);
        for (n, packet) in (1..).zip(&packets) {
            classic.record(0, n, packet);
            blocks.enhanced(0, u64::from(n), packet);
        }
        for file in [classic, blocks] {
            let mut reader = reader(&file.bytes);
            let (kept, error) = all(&mut reader);
            assert!(error.is_none(), "{error:?}");
            let expected = [(1, 1, "a whole datagram"), (4, 2, "a datagram in three fragments, so long")];
            assert_eq!(brief(&kept), expected, "{link} {head:x?}");
            let counts =
                RecordCounts { records: 4, datagrams: 2, reassembled: 1, fragments: 3, ..RecordCounts::default() };
            assert_eq!((reader.counts(), reader.warnings()), (counts, vec![]), "{link} {head:x?}");
        }
    }
}

#[test]
fn what_a_link_layer_carries_besides_is_not_udp() {
    let packet = raw(1, b"x");
    for (link, head) in [
        (1, [&MACS[..], &[0x86, 0xdd]].concat()),
        (1, [&MACS[..], &VLAN, &[0x08, 0x06]].concat()),
        // an 802.3 length, and MPLS
        (1, [&MACS[..], &[0x00, 0x40]].concat()),
        (1, [&MACS[..], &[0x88, 0x47]].concat()),
        (113, [&COOKED[..], &[0x00, 0x04]].concat()),
        (276, [&[0x86, 0xdd][..], &COOKED_2].concat()),
        (276, [&VLAN[..2], &COOKED_2, &VLAN[2..], &[0x86, 0xdd]].concat()),
        (0, vec![24, 0, 0, 0]),
        (108, vec![0, 0, 0, 30]),
        (101, vec![0x60]),
    ] {
        let mut file = File::pcap(false, 0xa1b2_3c4d, link);
        file.record(0, 1, &[&head[..], &packet].concat());
        let mut reader = reader(&file.bytes);
        assert_eq!(all(&mut reader).0, []);
        let counts = RecordCounts { records: 1, not_udp: 1, ..RecordCounts::default() };
        assert_eq!((reader.counts(), reader.warnings()), (counts, vec![]), "{link} {head:x?}");
    }
}

#[test]
fn a_link_layer_that_is_not_read_is_told() {
    let mut file = File::pcapng(false);
    for link in [1, 127, 195, 101] {
        file.interface(link, 0, "", Some(9), None);
    }
    for (n, interface) in (1..).zip([3, 1, 2, 2]) {
        file.enhanced(interface, n, &raw(1, b"x"));
    }
    let mut reader = reader(&file.bytes);
    assert_eq!(brief(&all(&mut reader).0), [(1, 1, "x")]);
    assert_eq!(reader.counts(), RecordCounts { records: 4, datagrams: 1, not_udp: 3, ..RecordCounts::default() });
    assert_eq!(reader.warnings(), [CaptureWarning::LinkLayer { file: "the input".into(), number: 127, records: 3 }]);
}
