//! Classic BPF programs that let exactly a line's frames through to a packet socket, or nothing at all.
//!
//! ```text
//! not another host's -> EtherType, after up to 3 tags -> IPv4, UDP -> destination address -+-> a later fragment: take it
//!                                                                                         +-> destination port -> take it
//! ```
//!
//! (The kernel takes off the outermost tag before it asks, so four are stepped over in all.) A fragment that is not the first has
//! no port: those of the line's groups pass, and whoever reassembles datagrams sees which port they are for. Addresses and ports
//! are found by binary search, so the cost grows with the logarithm of the number of groups.

use std::collections::BTreeMap;
use std::net::SocketAddrV4;

use libc::sock_filter;

const TAKE: u32 = u32::MAX; // all bytes of the frame
const DROP: u32 = 0;
const ETHER_TYPES: u32 = 12; // the position of the first
const IPV4: u32 = 0x0800;
const TAGS: [u32; 3] = [0x8100, 0x88a8, 0x9100];
const TAGS_MAX: u32 = 3;
const UDP: u32 = 17;
/// Stands for the port of a fragment that is not the first, which has none.
const NO_PORT: u32 = 1 << 16;
const ADDRESS: u32 = 0; // places in the program's own memory
const PORT: u32 = 1;

const LD: u32 = libc::BPF_LD;
const ABS: u32 = LD | libc::BPF_ABS;
const IND: u32 = LD | libc::BPF_IND;
const MEM: u32 = LD | libc::BPF_MEM;
const ALU: u32 = libc::BPF_ALU;
const JMP: u32 = libc::BPF_JMP;
const RET: u32 = libc::BPF_RET;

/// A program that accepts nothing.
pub(super) fn nothing() -> Vec<sock_filter> {
    vec![op(RET, DROP)]
}

/// A program that takes UDP over IPv4 to these groups and ports, in whole frames from an Ethernet header on.
pub(super) fn groups(groups: &[SocketAddrV4]) -> Vec<sock_filter> {
    let mut ports: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
    for group in groups {
        ports.entry(u32::from(*group.ip())).or_default().push(u32::from(group.port()));
    }
    let leaves = ports.into_iter().map(|(address, mut ports)| {
        ports.sort_unstable();
        ports.dedup();
        let mut leaf = vec![op(MEM, PORT), jump(libc::BPF_JEQ, NO_PORT, 0, 1), op(RET, TAKE)];
        leaf.extend(search(ports.into_iter().map(|port| (port, vec![op(RET, TAKE)])).collect()));
        (address, leaf)
    });
    let mut program = head();
    program.extend(search(leaves.collect()));
    program
}

/// From the frame's first byte to its destination: address and port are stored, and the address is loaded.
fn head() -> Vec<sock_filter> {
    let mut program = vec![
        op(ABS | libc::BPF_W, (libc::SKF_AD_OFF + libc::SKF_AD_PKTTYPE) as u32),
        jump(libc::BPF_JEQ, u32::from(libc::PACKET_OTHERHOST), 0, 1),
        op(RET, DROP),
    ];
    // 8 steps for each possible tag, 4 for the EtherType after the last
    let mut ahead = 8 * TAGS_MAX + 4;
    for at in (ETHER_TYPES..).step_by(4).take(TAGS_MAX as usize) {
        ahead -= 8;
        program.extend([
            op(ABS | libc::BPF_H, at),
            jump(libc::BPF_JEQ, IPV4, 0, 2),
            op(libc::BPF_LDX | libc::BPF_IMM, at + 2),
            op(JMP | libc::BPF_JA, 4 + ahead),
            jump(libc::BPF_JEQ, TAGS[0], 3, 0),
            jump(libc::BPF_JEQ, TAGS[1], 2, 0),
            jump(libc::BPF_JEQ, TAGS[2], 1, 0),
            op(RET, DROP),
        ]);
    }
    let last = ETHER_TYPES + 4 * TAGS_MAX;
    program.extend([
        op(ABS | libc::BPF_H, last),
        jump(libc::BPF_JEQ, IPV4, 1, 0),
        op(RET, DROP),
        op(libc::BPF_LDX | libc::BPF_IMM, last + 2),
        // X is the position of the IPv4 header
        op(IND | libc::BPF_B, 9),
        jump(libc::BPF_JEQ, UDP, 1, 0),
        op(RET, DROP),
        op(IND | libc::BPF_W, 16),
        op(libc::BPF_ST, ADDRESS),
        op(IND | libc::BPF_H, 6),
        jump(libc::BPF_JSET, 0x1fff, 0, 2),
        op(LD | libc::BPF_IMM, NO_PORT),
        op(JMP | libc::BPF_JA, 6),
        op(IND | libc::BPF_B, 0),
        op(ALU | libc::BPF_AND, 0xf),
        op(ALU | libc::BPF_LSH, 2),
        op(ALU | libc::BPF_ADD | libc::BPF_X, 0),
        op(libc::BPF_MISC | libc::BPF_TAX, 0),
        op(IND | libc::BPF_H, 2),
        op(libc::BPF_ST, PORT),
        op(MEM, ADDRESS),
    ]);
    program
}

/// Goes on with what belongs to the loaded value, which is one of these in ascending order; otherwise drops.
fn search(mut from: Vec<(u32, Vec<sock_filter>)>) -> Vec<sock_filter> {
    if from.len() > 1 {
        let right = from.split_off(from.len() / 2);
        let least = right[0].0;
        let (left, right) = (search(from), search(right));
        // only this jump reaches far enough
        let mut program = vec![jump(libc::BPF_JGE, least, 0, 1), op(JMP | libc::BPF_JA, left.len() as u32)];
        program.extend(left.into_iter().chain(right));
        return program;
    }
    match from.pop() {
        None => nothing(),
        Some((value, found)) => {
            let mut program = vec![jump(libc::BPF_JEQ, value, 1, 0), op(RET, DROP)];
            program.extend(found);
            program
        }
    }
}

fn op(code: u32, k: u32) -> sock_filter {
    sock_filter { code: code as u16, jt: 0, jf: 0, k }
}

fn jump(test: u32, k: u32, jt: u8, jf: u8) -> sock_filter {
    sock_filter { code: (JMP | test) as u16, jt, jf, k }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the kernel does with a program, as far as these have it: how many bytes it takes.
    fn run(program: &[sock_filter], frame: &[u8], packet_type: u8) -> u32 {
        let (mut a, mut x, mut memory, mut at) = (0u32, 0u32, [0u32; 16], 0);
        let load = |from: u32, size: u32| {
            if from == (libc::SKF_AD_OFF + libc::SKF_AD_PKTTYPE) as u32 {
                return Some(u32::from(packet_type));
            }
            let bytes = frame.get(from as usize..from as usize + size as usize)?;
            Some(bytes.iter().fold(0, |sum, byte| sum << 8 | u32::from(*byte)))
        };
        loop {
            let sock_filter { code, jt, jf, k } = program[at];
            at += 1;
            let code = u32::from(code);
            let size = [4, 2, 1][(code >> 3 & 3) as usize];
            let test = |holds: bool| usize::from(if holds { jt } else { jf });
            match code & 7 {
                libc::BPF_LD => {
                    let loaded = match code & 0xe0 {
                        libc::BPF_ABS => load(k, size),
                        libc::BPF_IND => load(x + k, size),
                        libc::BPF_MEM => Some(memory[k as usize]),
                        _ => Some(k),
                    };
                    // beyond the frame's end: dropped
                    let Some(loaded) = loaded else { return 0 };
                    a = loaded;
                }
                libc::BPF_LDX => x = k,
                libc::BPF_ST => memory[k as usize] = a,
                libc::BPF_ALU => match code & 0xf0 {
                    libc::BPF_AND => a &= k,
                    libc::BPF_LSH => a <<= k,
                    _ => a += if code & libc::BPF_X != 0 { x } else { k },
                },
                libc::BPF_JMP => match code & 0xf0 {
                    libc::BPF_JA => at += k as usize,
                    libc::BPF_JEQ => at += test(a == k),
                    libc::BPF_JGE => at += test(a >= k),
                    _ => at += test(a & k != 0),
                },
                libc::BPF_RET => return k,
                _ => x = a,
            }
        }
    }

    /// A frame, with its tags before the EtherType.
    fn frame(to: SocketAddrV4, tags: &[u16], change: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
        let mut packet = Vec::new();
        let builder = etherparse::PacketBuilder::ipv4([10, 0, 0, 1], to.ip().octets(), 1);
        builder.udp(5, to.port()).write(&mut packet, b"payload").unwrap();
        change(&mut packet);
        let mut frame = vec![2; 12];
        tags.iter().for_each(|tag| frame.extend([tag.to_be_bytes(), [0, 5]].concat()));
        frame.extend([8, 0]);
        frame.extend(packet);
        frame
    }

    fn takes(program: &[sock_filter], frame: &[u8]) -> bool {
        match run(program, frame, libc::PACKET_MULTICAST) {
            TAKE => true,
            DROP => false,
            other => panic!("{other} bytes"),
        }
    }

    #[test]
    fn a_program_takes_its_groups_and_ports_and_no_others() {
        for count in [1usize, 2, 3, 7, 64, 256] {
            // several ports per address, several addresses per port
            let at = |n: usize| SocketAddrV4::new([239, 1, (n % 19) as u8, 7].into(), 1_000 + (n / 19 * 3) as u16);
            let ours: Vec<SocketAddrV4> = (0..count).map(at).collect();
            let program = groups(&ours);
            assert!(program.len() <= libc::BPF_MAXINSNS as usize, "{count} groups: {} steps", program.len());
            for n in 0..400 {
                assert_eq!(takes(&program, &frame(at(n), &[], |_| ())), n < count, "{n} of {count}");
                let beside = SocketAddrV4::new(*at(n).ip(), at(n).port() + 1);
                assert!(!takes(&program, &frame(beside, &[], |_| ())), "{beside}");
            }
        }
        let worst: Vec<SocketAddrV4> = (0..256).map(|n| SocketAddrV4::new([239, 1, 1, n as u8].into(), n)).collect();
        assert!(groups(&worst).len() <= libc::BPF_MAXINSNS as usize);
        assert!(!takes(&groups(&[]), &frame(worst[1], &[], |_| ())));
        assert!(!takes(&nothing(), &frame(worst[1], &[], |_| ())));
    }

    #[test]
    fn tags_options_and_fragments_are_seen_through() {
        let ours = "239.1.1.1:26400".parse().unwrap();
        let foreign = "239.1.1.1:26401".parse().unwrap();
        let program = groups(&[ours]);
        let taken = |to, tags: &[u16], change: &dyn Fn(&mut Vec<u8>)| takes(&program, &frame(to, tags, change));
        for tags in [&[][..], &[0x8100], &[0x88a8, 0x8100], &[0x9100, 0x8100, 0x8100]] {
            assert!(taken(ours, tags, &|_| ()), "{tags:x?}");
            assert!(!taken(foreign, tags, &|_| ()), "{tags:x?}");
        }
        assert!(!taken(ours, &[0x8100; 4], &|_| ()), "more than it can step over");
        assert!(!taken(ours, &[0x1234], &|_| ()));
        let options = |packet: &mut Vec<u8>| {
            packet[0] = 0x47;
            packet.splice(20..20, [0; 8]);
        };
        assert!(taken(ours, &[], &options));
        assert!(!taken(foreign, &[], &options));
        let fragment = |at: u16| move |packet: &mut Vec<u8>| packet[6..8].copy_from_slice(&at.to_be_bytes());
        assert!(taken(ours, &[], &fragment(0x2000)), "a first fragment has its port");
        assert!(!taken(foreign, &[], &fragment(0x2000)));
        assert!(taken(foreign, &[], &fragment(0x2001)), "a later one has none");
        assert!(taken(foreign, &[], &fragment(0x1fff)));
        assert!(!taken("239.1.1.2:26400".parse().unwrap(), &[], &fragment(0x2001)));
        assert!(!taken(ours, &[], &|packet| packet[9] = 6));
        assert!(!taken(ours, &[], &|packet| packet.truncate(23)), "no port");
        let whole = frame(ours, &[], |_| ());
        assert_eq!(run(&program, &whole, libc::PACKET_HOST), TAKE);
        assert_eq!(run(&program, &whole, libc::PACKET_OTHERHOST), DROP, "another host's frame");
    }
}
