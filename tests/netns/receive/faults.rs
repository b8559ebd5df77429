//! Links and interfaces that go and come, and rings and sockets that are too small, by every method.

use super::*;

pub const TESTS: &[Test] = tests![
    a_link_that_goes_down_and_comes_up_is_heard_again,
    an_interface_that_is_deleted_and_created_again_is_heard_again,
    an_interface_that_is_renamed_is_left_until_it_has_its_name_again,
    a_line_whose_interface_is_missing_at_the_start_is_heard_when_it_appears,
    two_lines_with_the_same_group_and_port_hear_each_its_own_interface,
    what_overflows_is_counted_to_the_datagram,
];

fn a_link_that_goes_down_and_comes_up_is_heard_again() {
    by_every_way("link", &a_and_b(), ReceiveOptions::default(), |case| {
        let [mut a, mut b] = [case.sender(at(A), "a0"), case.sender(at(B), "b0")];
        case.heard(&mut a, b"a before");
        case.heard(&mut b, b"b before");
        case.check();
        // at the publisher's end, and at ours
        for side in ["pub", "recv"] {
            case.bed.run(&["link", "a", "down", side]);
            assert_eq!(case.next_notices(), ["line A: interface a0 is down"]);
            assert_eq!(case.watch.facts()[0].interface, InterfaceState::Down);
            let _ = a.send(b"into the void").unwrap();
            case.heard(&mut b, b"b meanwhile");
            case.bed.run(&["link", "a", "up", side]);
            assert_eq!(case.next_notices(), ["line A: interface a0 is up"]);
            case.heard(&mut a, b"a after");
            // and what is too long for a slot, or for the wire
            case.heard(&mut a, &[5; 4_000]);
        }
        assert_eq!((case.watch.facts()[0].gone, case.facts(0).errors), (0, 0));
    });
}

fn an_interface_that_is_deleted_and_created_again_is_heard_again() {
    by_every_way("nic", &a_and_b(), ReceiveOptions::default(), |case| {
        let [mut a, mut b] = [case.sender(at(A), "a0"), case.sender(at(B), "b0")];
        case.heard(&mut a, b"a before");
        case.heard(&mut b, b"b before");
        case.check();
        for round in 1..=2 {
            let old = case.index("a0");
            case.bed.run(&["nic", "a", "delete"]);
            assert_eq!(case.next_notices(), [format!("line A: interface a0 (index {old}) disappeared")]);
            assert_eq!(case.check(), [""; 0]);
            assert_eq!(a.send(b"nowhere").unwrap(), Some(SendTrouble::Unreachable));
            case.bed.on("pub", || a.check().unwrap());
            case.heard(&mut b, b"b meanwhile");
            case.bed.run(&["nic", "a", "create"]);
            let new = case.index("a0");
            let mut notices = Vec::new();
            wait_for("joined", || {
                notices.extend(case.check());
                notices.contains(&format!("line A: joined on interface a0 (index {new})"))
            });
            case.bed.on("pub", || wait_for("the way back", || a.check().is_ok() && a.send(b"?").unwrap().is_none()));
            case.heard(&mut a, b"a after");
            assert_eq!(case.watch.facts()[0].gone, round);
        }
        assert_eq!(case.facts(0).errors, 0);
    });
}

fn an_interface_that_is_renamed_is_left_until_it_has_its_name_again() {
    by_every_way("name", &a_and_b(), ReceiveOptions::default(), |case| {
        let [mut a, mut b] = [case.sender(at(A), "a0"), case.sender(at(B), "b0")];
        case.heard(&mut a, b"a before");
        case.heard(&mut b, b"b before");
        case.check();
        let index = case.index("a0");
        let rename = |case: &Case, from: &str, to: &str| {
            case.ip("recv", &format!("link set {from} down"));
            case.ip("recv", &format!("link set {from} name {to}"));
            case.ip("recv", &format!("link set {to} up"));
        };
        rename(case, "a0", "other");
        assert_eq!(case.next_notices(), [format!("line A: interface a0 (index {index}) disappeared")]);
        wait_for("a way out", || a.send(b"to another interface").unwrap().is_none());
        send(&mut a, b"to another interface");
        send(&mut b, b"end");
        assert_eq!(case.until(b"end"), [], "{}", case.way.method.name());
        rename(case, "other", "a0");
        assert_eq!(case.next_notices(), [format!("line A: joined on interface a0 (index {index})")]);
        case.heard(&mut a, b"a after");
    });
}

fn a_line_whose_interface_is_missing_at_the_start_is_heard_when_it_appears() {
    for way in WAYS {
        let bed = Bed::up(&format!("late{}", way.method.name()));
        bed.run(&["nic", "a", "delete"]);
        let (live, watch) = open(&bed, way.method, &a_and_b(), &ReceiveOptions::default());
        let mut case = Case { way, bed, live, watch };
        let first = case.check();
        assert_eq!(first[0], "line A: there is no interface a0; the line is joined when it appears");
        let mut b = case.sender(at(B), "b0");
        case.heard(&mut b, b"b alone");
        case.bed.run(&["nic", "a", "create"]);
        let joined = case.next_notices();
        assert_eq!(joined[0], format!("line A: joined on interface a0 (index {})", case.index("a0")));
        let mut a = case.sender(at(A), "a0");
        case.heard(&mut a, b"a too");
        assert_eq!(case.watch.facts()[0].gone, 0);
    }
}

fn two_lines_with_the_same_group_and_port_hear_each_its_own_interface() {
    let lines = [line("A", &[at(A)]), line("B", &[at(A)])];
    by_every_way("same", &lines, ReceiveOptions::default(), |case| {
        let [mut a, mut b] = [case.sender(at(A), "a0"), case.sender(at(A), "b0")];
        case.heard(&mut a, b"up");
        case.heard(&mut b, b"up");
        send(&mut a, b"A");
        send(&mut b, b"B");
        let mut all = Vec::new();
        wait_for("one of each", || {
            all.extend(case.drain());
            all.len() >= 2
        });
        all.extend(case.drain());
        all.sort();
        assert_eq!(all, [seen(0, 0, "A"), seen(1, 0, "B")]);
    });
}

fn what_overflows_is_counted_to_the_datagram() {
    let options = ReceiveOptions::default().with_buffer_bytes(65_536);
    by_every_way("overflow", &a_and_b(), options, |case| {
        let [mut a, mut b] = [case.sender(at(A), "a0"), case.sender(at(B), "b0")];
        case.heard(&mut a, b"up");
        case.heard(&mut b, b"up");
        case.check();
        let mut lost = 0;
        for round in 1..=3 {
            for n in 0..1_000u32 {
                send(&mut a, &n.to_be_bytes());
            }
            send(&mut b, b"end");
            let mut got = Vec::new();
            wait_for("the other line", || {
                got.extend(case.drain());
                got.contains(&seen(1, 0, "end"))
            });
            got.extend(case.drain());
            got.retain(|one| one.line == 0);
            // from the first on, without a hole: what came when it was full is what is gone
            let kept: Vec<Seen> = (0..got.len() as u32).map(|n| seen(0, 0, n.to_be_bytes())).collect();
            assert_eq!(got, kept, "{}", case.way.method.name());
            let gone = 1_000 - got.len() as u64;
            let said = if case.way.ring {
                assert_eq!(got.len(), 32);
                format!("line A: {gone} frames lost at the ring: it was full because the arbiter was too slow")
            } else {
                format!(
                    "line A: {gone} datagrams of {A} lost at the socket: its buffer was full because the arbiter was too slow"
                )
            };
            assert_eq!(case.check(), [said], "round {round}");
            lost += gone;
            assert_eq!(case.watch.facts()[0].overflow, lost);
        }
        assert_eq!(case.watch.facts()[1].overflow, 0);
        case.heard(&mut a, b"and on");
    });
}
