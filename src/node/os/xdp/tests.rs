//! The program's verdicts, frame by frame, from the kernel itself (no interface is involved). What sockets receive is in
//! `tests/netns/xdp.rs`.

use super::bpf::{PASS, Program};
use super::*;
use std::io::Write as _;
use std::net::SocketAddrV4;

/// In place of [`PASS`] for what would be redirected: there are no sockets here.
const REDIRECTED: i32 = 1;

const GROUPS: [SocketAddrV4; 3] = [to(239, 1, 26_400), to(239, 2, 26_401), UNICAST];
const UNICAST: SocketAddrV4 = to(10, 2, 26_402);

const fn to(first: u8, last: u8, port: u16) -> SocketAddrV4 {
    SocketAddrV4::new(std::net::Ipv4Addr::new(first, 81, 0, last), port)
}

/// `None`, with the reason printed, where this takes a privilege that is not there.
fn program(wanted: &[SocketAddrV4]) -> Option<Program> {
    match Program::load(wanted, LONGEST, REDIRECTED) {
        Ok(program) => Some(program),
        Err(error) if matches!(error.raw_os_error(), Some(libc::EPERM | libc::ENOSYS)) => {
            // not by the macro, whose output the test harness keeps to itself
            let _ = writeln!(std::io::stderr(), "skipped: a program cannot be loaded here: {error}");
            None
        }
        Err(error) => panic!("the program is refused: {error}"),
    }
}

/// Ethernet with VLAN tags, IPv4 with so many words of header, UDP with so many bytes.
fn frame(tags: &[u16], words: u8, to: SocketAddrV4, payload: usize) -> Vec<u8> {
    let mut frame = vec![0x01, 0, 0x5e, 81, 0, 1, 2, 0, 0, 0, 0, 1];
    for tag in tags {
        frame.extend(tag.to_be_bytes());
        frame.extend([0, 100]);
    }
    frame.extend([0x08, 0]);
    frame.extend([0x40 | words, 0, 0, 0, 0, 0, 0x40, 0, 1, 17, 0, 0, 10, 81, 1, 1]);
    frame.extend(to.ip().octets());
    frame.resize(frame.len() + (usize::from(words) * 4).saturating_sub(20), 1);
    frame.extend([0x80, 0]);
    frame.extend(to.port().to_be_bytes());
    frame.extend([0, 8 + payload as u8, 0, 0]);
    frame.resize(frame.len() + payload, 7);
    frame
}

/// The same with a byte after the Ethernet header changed.
fn changed(at: usize, byte: u8) -> Vec<u8> {
    let mut frame = frame(&[], 5, GROUPS[0], 10);
    frame[14 + at] = byte;
    frame
}

#[test]
fn the_program_takes_what_is_wanted_and_passes_all_else_on() {
    let Some(program) = program(&GROUPS) else { return };
    let wanted = [
        ("plain", frame(&[], 5, GROUPS[0], 10)),
        ("the other group", frame(&[], 5, GROUPS[1], 10)),
        ("no payload", frame(&[], 5, GROUPS[0], 0)),
        ("options", frame(&[], 6, GROUPS[0], 10)),
        ("all options that there can be", frame(&[], 15, GROUPS[0], 10)),
        ("a tag", frame(&[0x8100], 5, GROUPS[0], 10)),
        ("a service tag", frame(&[0x88a8, 0x8100], 5, GROUPS[0], 10)),
        ("four tags", frame(&[0x88a8, 0x88a8, 0x8100, 0x8100], 7, GROUPS[0], 10)),
        ("as long as it may be", frame(&[], 5, GROUPS[0], LONGEST - 42)),
        ("on loopback", {
            let mut frame = frame(&[], 5, GROUPS[0], 10);
            frame[..6].fill(0);
            frame
        }),
        ("a unicast address, whose hardware address is not looked at", {
            let mut frame = frame(&[], 5, UNICAST, 10);
            frame[..6].copy_from_slice(&[2, 0, 0, 0, 0, 1]);
            frame
        }),
        ("do not fragment", changed(6, 0x40)),
        ("may be fragmented", changed(6, 0)),
    ];
    let count = program.count().unwrap();
    for (what, frame) in wanted {
        assert_eq!(program.run(&frame).unwrap(), REDIRECTED as u32, "{what}");
    }
    let not_wanted = [
        ("another group", frame(&[], 5, to(239, 3, 26_400), 10)),
        ("another host's, flooded by a switch", {
            let mut frame = frame(&[], 5, GROUPS[0], 10);
            frame[..6].copy_from_slice(&[2, 0, 0, 0, 0, 1]);
            frame
        }),
        ("another port", frame(&[], 5, to(239, 1, 26_401), 10)),
        ("five tags", frame(&[0x8100; 5], 5, GROUPS[0], 10)),
        ("a fragment to another group", {
            let mut frame = frame(&[], 5, to(239, 3, 26_400), 10);
            frame[20] = 0x20;
            frame
        }),
        ("TCP", changed(9, 6)),
        ("version 6", changed(0, 0x65)),
        ("a header of four words", frame(&[], 4, GROUPS[0], 10)),
        ("ARP", {
            let mut frame = frame(&[], 5, GROUPS[0], 10);
            frame[13] = 6;
            frame
        }),
    ];
    for (what, frame) in not_wanted {
        assert_eq!(program.run(&frame).unwrap(), PASS as u32, "{what}");
    }
    for tags in [&[][..], &[0x8100], &[0x88a8, 0x8100, 0x8100]] {
        let whole = frame(tags, 7, GROUPS[0], 0);
        for len in 14..whole.len() {
            assert_eq!(program.run(&whole[..len]).unwrap(), PASS as u32, "{len} bytes of {}", whole.len());
        }
    }
    assert_eq!(count.now(), 0, "none of the feed's was left to the kernel");
}

#[test]
fn what_the_kernel_is_left_of_the_feed_is_counted() {
    let Some(program) = program(&GROUPS) else { return };
    let count = program.count().unwrap();
    let left = [
        ("too long for a chunk", frame(&[], 5, GROUPS[0], LONGEST - 41)),
        ("a first fragment", changed(6, 0x20)),
        ("a later fragment", changed(7, 1)),
        ("a fragment far back", changed(6, 0x1f)),
    ];
    for (counted, (what, frame)) in (1..).zip(left) {
        assert_eq!(program.run(&frame).unwrap(), PASS as u32, "{what}");
        assert_eq!(count.now(), counted, "{what}");
    }
    let no_socket = Program::load(&GROUPS, LONGEST, PASS).unwrap();
    let count = no_socket.count().unwrap();
    assert_eq!(no_socket.run(&frame(&[], 5, GROUPS[0], 10)).unwrap(), PASS as u32);
    assert_eq!(count.now(), 1);
}

#[test]
fn a_feed_of_many_groups_is_told_from_its_neighbours() {
    let wanted: Vec<_> = (0..200).map(|n| to(239, n, 20_000 + u16::from(n))).collect();
    let Some(program) = program(&wanted) else { return };
    for (n, group) in wanted.iter().enumerate() {
        assert_eq!(program.run(&frame(&[], 5, *group, 1)).unwrap(), REDIRECTED as u32, "{group}");
        let neighbour = SocketAddrV4::new(*group.ip(), 20_001 + n as u16);
        assert_eq!(program.run(&frame(&[], 5, neighbour, 1)).unwrap(), PASS as u32, "{neighbour}");
    }
}

#[test]
fn an_error_says_what_is_missing_and_what_to_use_instead() {
    let said = |doing, errno| failed(doing)(io::Error::from_raw_os_error(errno)).to_string();
    for (doing, errno, missing) in [
        ("open an AF_XDP socket", libc::EPERM, "CAP_NET_RAW"),
        ("open an AF_XDP socket", libc::EAFNOSUPPORT, "CONFIG_XDP_SOCKETS"),
        ("give an AF_XDP socket its memory", libc::ENOBUFS, "ulimit -l"),
        ("load the XDP program", libc::EPERM, "CAP_BPF"),
        (ATTACH, libc::EPERM, "CAP_NET_ADMIN"),
        (ATTACH, libc::EINVAL, "Linux 5.9"),
        (ATTACH, libc::EBUSY, "an XDP program is attached"),
        (BIND, libc::EBUSY, "has an AF_XDP socket"),
        (BIND, libc::EIO, "do without"),
    ] {
        let said = said(doing, errno);
        assert!(said.starts_with(&format!("cannot {doing}: ")) && said.contains(missing), "{said}");
        assert!(said.contains("\"packet\"") && said.contains("\"socket\""), "{said}");
    }
}
