//! Loopback, where a datagram of any length is one frame.

use twinline_node::os::{ReceiveOptions, SendOptions, Sender};

use super::{A, a_and_b, at, by_every_way, seen, send};
use crate::support::trials::{Test, tests};

pub const TESTS: &[Test] = tests![
    over_loopback_each_datagram_comes_once_whatever_its_length,
    long_frames_that_there_is_no_room_for_are_counted,
];

fn over_loopback_each_datagram_comes_once_whatever_its_length() {
    let mut lines = a_and_b();
    lines.iter_mut().for_each(|line| line.interface = "127.0.0.1".to_owned());
    by_every_way("lo", &lines, ReceiveOptions::default(), |case| {
        let mut a =
            case.bed.on("recv", || Sender::open(at(A), "127.0.0.1", SendOptions::default().with_ttl(0)).unwrap());
        let mut expected = Vec::new();
        // around what a slot has room for, and the longest that there is
        for length in [0, 1, 100, 1_472, 1_929, 1_930, 1_931, 1_932, 5_000, 65_507, 9, 65_507, 65_507, 8] {
            let payload: Vec<u8> = (0..length).map(|at| (at * 3 + length) as u8).collect();
            send(&mut a, &payload);
            expected.push(seen(0, 0, payload));
            // the long ones wait in a buffer of their own
            if length > 10_000 {
                send(&mut a, b"end");
                case.expect(std::mem::take(&mut expected), b"end");
            }
        }
        send(&mut a, b"end");
        case.expect(expected, b"end");
        let facts = case.facts(0);
        assert_eq!((facts.datagrams, facts.truncated, facts.errors), (14 + 4, 0, 0));
        assert_eq!(facts.frames, Default::default());
        assert_eq!(case.check(), [""; 0]);
    });
}

fn long_frames_that_there_is_no_room_for_are_counted() {
    let mut lines = a_and_b();
    lines.iter_mut().for_each(|line| line.interface = "127.0.0.1".to_owned());
    let options = ReceiveOptions::default().with_buffer_bytes(262_144);
    by_every_way("long", &lines, options, |case| {
        let mut a =
            case.bed.on("recv", || Sender::open(at(A), "127.0.0.1", SendOptions::default().with_ttl(0)).unwrap());
        (0..40u8).for_each(|n| send(&mut a, &vec![n; 60_000]));
        (0..10u8).for_each(|n| send(&mut a, &[n]));
        let got = case.drain();
        let long = got.iter().filter(|one| one.payload.len() == 60_000).count() as u64;
        assert!((1..40).contains(&long), "{long}");
        case.check();
        let facts = case.facts(0);
        assert_eq!(got.len() as u64 + facts.truncated + case.watch.facts()[0].overflow, 50);
        assert_eq!(facts.errors, 0);
        // and none is taken for another
        for one in got.iter().filter(|one| one.payload.len() > 1) {
            assert!(one.payload.iter().all(|byte| *byte == one.payload[0]));
        }
        send(&mut a, &[77; 30_000]);
        assert!(case.drain() == [seen(0, 0, [77; 30_000])]);
    });
}
