//! Frames as a ring would bring them: what is handed over, and under which reason the rest is counted.

use std::collections::VecDeque;
use std::num::NonZeroU16;

use etherparse::PacketBuilder;
use proptest::prelude::*;

use super::*;
use crate::config::ArbiterConfig;
use crate::source::live::FrameFacts;
use twinline_core::framing::MoldUdp64;

/// A frame that is to come, with what is known of it.
#[derive(Clone, Debug)]
struct Coming {
    bytes: Vec<u8>,
    truncated: bool,
    checksum: Checksum,
    joined: Option<NonZeroU16>,
}

/// A ring that brings what is written down, or fails.
#[derive(Debug, Default)]
struct Script(VecDeque<Result<Coming, i32>>);

impl Ring for Script {
    fn poll(&mut self, take: &mut impl FnMut(RawFrame<'_>)) -> io::Result<usize> {
        for taken in 0..RECEIVE_BATCH {
            match self.0.pop_front() {
                None => return Ok(taken),
                Some(Err(error)) => return Err(io::Error::from_raw_os_error(error)),
                Some(Ok(Coming { bytes, truncated, checksum, joined })) => {
                    take(RawFrame { bytes: &bytes, truncated, checksum, kernel_stamp: None, joined });
                }
            }
        }
        Ok(RECEIVE_BATCH)
    }
}

#[derive(Debug)]
struct Nowhere(Option<u32>);

impl Attachment for Nowhere {
    fn attach(&mut self, index: u32) -> Result<(), MappedRingError> {
        self.0 = Some(index);
        Ok(())
    }

    fn detach(&mut self) {
        self.0 = None;
    }

    fn attached(&self) -> Option<u32> {
        self.0
    }

    fn overflow(&mut self) -> io::Result<u64> {
        Ok(0)
    }

    fn buffer_bytes(&self) -> (usize, usize) {
        (1, 1)
    }
}

const GROUPS: [&str; 3] = ["239.81.1.1:26400", "239.81.1.1:26401", "239.81.1.2:26400"];

/// One line, A, from 10.0.0.1 alone; what these frames bring, and what is counted.
fn play(frames: impl IntoIterator<Item = Coming>) -> (Vec<(u16, Vec<u8>)>, LineFacts) {
    let mut out = Vec::new();
    let (mut source, _watch) = open(&[frames.into_iter().map(Ok).collect()]);
    loop {
        let mut handed_over = 0;
        let pass = source.poll(&mut |d| {
            assert_eq!((d.line, *d.source.ip(), d.stamp), (Line(0), Ipv4Addr::new(10, 0, 0, 1), None));
            out.push((d.group, d.payload.to_vec()));
            handed_over += 1;
        });
        let pass = pass.unwrap();
        assert_eq!(pass.datagrams, handed_over);
        if pass == Pass::default() {
            return (out, source.facts().lines[0]);
        }
    }
}

fn open(scripts: &[VecDeque<Result<Coming, i32>>]) -> (Mapped<Script>, LiveWatch) {
    let lines = (0..scripts.len()).map(|n| LineConfig {
        name: n.to_string(),
        groups: GROUPS.iter().map(|group| group.parse().unwrap()).collect(),
        interface: "127.0.0.1".to_owned(),
        source: Some(Ipv4Addr::new(10, 0, 0, 1)),
        wait: true,
    });
    let feed = Feed {
        name: "x".to_owned(),
        framing: MoldUdp64.into(),
        fixed: None,
        units: Vec::new(),
        lines: lines.collect(),
        arbiter: ArbiterConfig::default(),
        receive: Default::default(),
    };
    let mut scripts = scripts.iter().cloned();
    let open = |asked: &RingOptions| {
        assert_eq!((asked.groups.len(), asked.buffer_bytes), (GROUPS.len(), 8 << 20));
        Ok((Script(scripts.next().unwrap()), Nowhere(None)))
    };
    Mapped::open(&feed, &ReceiveOptions::default(), open).unwrap()
}

fn frame(from: [u8; 4], to: &str, payload: &[u8]) -> Vec<u8> {
    let to: SocketAddrV4 = to.parse().unwrap();
    let mut bytes = Vec::new();
    let builder = PacketBuilder::ethernet2([2; 6], [1, 0, 0x5e, 81, 1, 1]).ipv4(from, to.ip().octets(), 1);
    builder.udp(5_000, to.port()).write(&mut bytes, payload).unwrap();
    bytes
}

fn ready(bytes: Vec<u8>) -> Coming {
    Coming { bytes, truncated: false, checksum: Checksum::Ready, joined: None }
}

fn ours(payload: &[u8]) -> Vec<u8> {
    frame([10, 0, 0, 1], GROUPS[0], payload)
}

#[test]
fn each_datagram_is_given_its_group_and_strangers_and_foreign_ones_are_counted() {
    let from = [10, 0, 0, 1];
    let foreign = ["239.81.1.2:26401", "239.81.1.3:26400"].map(|to| frame(from, to, b"no"));
    let all = GROUPS.iter().map(|to| frame(from, to, to.as_bytes())).chain(foreign).chain([
        frame([10, 0, 0, 2], GROUPS[0], b"a stranger's"),
        vec![2; 60],
        ours(b""),
    ]);
    let (out, facts) = play(all.map(ready));
    let named = (0..3).map(|group| (group, GROUPS[usize::from(group)].as_bytes().to_vec()));
    assert_eq!(out, named.chain([(0, Vec::new())]).collect::<Vec<_>>());
    let expected = LineFacts {
        datagrams: 4,
        bytes: 48,
        other_senders: 1,
        frames: FrameFacts { foreign: 3, ..FrameFacts::default() },
        ..LineFacts::default()
    };
    assert_eq!(facts, expected);
}

#[test]
fn a_udp_checksum_is_looked_at_where_it_is_there_to_be_looked_at() {
    let right = ours(b"payload");
    let mut wrong = right.clone();
    wrong[42] ^= 1;
    let set = |sum: u16| {
        let mut frame = right.clone();
        frame[40..42].copy_from_slice(&sum.to_be_bytes());
        frame
    };
    // the sum of the pseudo-header alone: 0a00 0001 ef51 0101 0011 000f
    let (absent, unfinished) = (set(0), set(0xfa73));
    let table: [(Checksum, [bool; 4]); 4] = [
        (Checksum::Ready, [true, false, true, false]),
        (Checksum::Unknown, [true, false, true, true]),
        (Checksum::Valid, [true; 4]),
        (Checksum::NotReady, [true; 4]),
    ];
    for (checksum, expected) in table {
        for (frame, expected) in [&right, &wrong, &absent, &unfinished].into_iter().zip(expected) {
            let (out, facts) = play([Coming { checksum, ..ready(frame.clone()) }]);
            let expected = (u64::from(expected), u64::from(!expected));
            assert_eq!((out.len() as u64, facts.frames.udp_checksum), expected);
            assert_eq!(facts.datagrams, expected.0, "{checksum:?}");
        }
    }
}

#[test]
fn what_was_cut_off_is_told_from_what_contradicts_itself() {
    let whole = ours(b"payload");
    for cut in 0..whole.len() {
        for truncated in [true, false] {
            let (out, facts) = play([Coming { truncated, ..ready(whole[..cut].to_vec()) }]);
            assert_eq!(out, []);
            assert_eq!((facts.truncated, facts.frames.malformed), (truncated.into(), (!truncated).into()), "{cut}");
        }
    }
}

#[test]
fn joined_datagrams_are_handed_over_one_by_one() {
    let coming = Coming {
        // of a checksum that a NIC would have finished for each
        checksum: Checksum::NotReady,
        joined: NonZeroU16::new(3),
        ..ready(ours(b"onetwosix!"))
    };
    let (out, facts) = play([coming]);
    let payloads: Vec<&[u8]> = out.iter().map(|(_, payload)| &payload[..]).collect();
    assert_eq!(payloads, [&b"one"[..], b"two", b"six", b"!"]);
    assert_eq!((facts.datagrams, facts.bytes), (4, 10));
}

#[test]
fn a_line_takes_a_batch_and_which_one_comes_first_rotates() {
    let many = |count: usize| (0..count).map(|n| Ok(ready(ours(&[n as u8])))).collect::<VecDeque<_>>();
    let (mut source, watch) = open(&[many(40), many(2)]);
    assert_eq!(watch.facts().len(), 2);
    let mut pass = || {
        let mut order = Vec::new();
        let pass = source.poll(&mut |d| order.push(d.line.index())).unwrap();
        order.dedup();
        (order, pass.datagrams, pass.full)
    };
    assert_eq!([pass(), pass(), pass()], [(vec![0, 1], 34, true), (vec![0], 8, false), (vec![], 0, false)]);
}

#[test]
fn a_passing_trouble_is_counted_and_any_other_ends_it() {
    let script = [Err(libc::ENETDOWN), Ok(ready(ours(b"x"))), Err(libc::EBADF)].into_iter().collect();
    let (mut source, _watch) = open(&[script]);
    assert_eq!(source.poll(&mut |_| ()).unwrap(), Pass::default());
    assert_eq!(source.facts().lines[0].errors, 1);
    let error = source.poll(&mut |_| ()).unwrap_err();
    assert_eq!((error.raw_os_error(), source.facts().lines[0].datagrams), (Some(libc::EBADF), 1));
}

proptest! {
    #[test]
    fn groups_are_found_as_a_list_has_them(groups in prop::collection::hash_set((0u8..4, 0u16..80), 1..256), other in (0u8..4, 0u16..80)) {
        let at = |(d, port)| SocketAddrV4::new(Ipv4Addr::new(239, 1, 1, d), port);
        let groups: Vec<SocketAddrV4> = groups.into_iter().map(at).collect();
        let table = Groups::new(&groups);
        for (place, &group) in groups.iter().enumerate() {
            prop_assert_eq!(table.find(group), Some(place as u16));
        }
        prop_assert_eq!(table.find(at(other)), groups.iter().position(|group| *group == at(other)).map(|at| at as u16));
    }

    /// Whatever a frame says: it is handed over, or counted once under one reason.
    #[test]
    fn every_frame_is_accounted_for(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
        cut in any::<prop::sample::Index>(),
        noise in prop::collection::vec(any::<u8>(), 0..80),
        mend in any::<bool>(),
        truncated in any::<bool>(),
    ) {
        let mut bytes = ours(b"some payload");
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if mend {
            let sum = etherparse::checksum::Sum16BitWords::new().add_slice(&bytes[14..24]).add_slice(&bytes[26..34]);
            bytes[24..26].copy_from_slice(&sum.ones_complement().to_ne_bytes());
        }
        bytes.truncate(14 + cut.index(bytes.len()));
        let (out, facts) = play([Coming { truncated, ..ready(bytes) }, ready(noise)]);
        let FrameFacts { malformed, ip_checksum, udp_checksum, foreign } = facts.frames;
        let counted = malformed + ip_checksum + udp_checksum + foreign + facts.truncated + facts.other_senders;
        prop_assert_eq!(out.len() as u64 + counted + facts.fragments.fragments, 2);
    }
}
