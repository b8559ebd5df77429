//! A feed that is received by AF_XDP, over veth pairs between two network namespaces and over loopback.

use twinline_node::config::{Feed, LineConfig, Method};
use twinline_node::os::{self, ReceiveOptions, Sender, XdpMode};
use twinline_node::source::{AnyLive, CountedSource, LiveError, LiveWatch, MethodChoice, Redirected, Source};

use crate::support::feed::{line, of as feed};
use crate::support::netns::Bed;
use crate::support::trials::{Test, tests};
use crate::support::wait_for;

pub const TESTS: &[Test] = tests![
    datagrams_come_by_the_ring_and_what_the_kernel_is_left_with_by_the_socket,
    lines_on_one_interface_share_a_ring,
    one_sender_alone_is_accepted_where_the_feed_says_so,
    a_second_feed_on_an_interface_takes_another_method,
    an_interface_that_is_deleted_and_created_again_is_redirected_again,
    what_a_ring_has_no_room_for_is_told,
    sockets_are_looked_at_when_there_is_a_reason,
];

const GROUPS: [&str; 2] = ["239.81.1.1:26400", "239.81.2.1:26401"];

fn options() -> ReceiveOptions {
    ReceiveOptions::default().with_buffer_bytes(1 << 20)
}

impl Bed {
    fn redirected(&self, feed: &Feed) -> (Redirected, LiveWatch) {
        self.on("recv", || Redirected::open(feed, &options(), XdpMode::BEST).unwrap())
    }

    fn by(&self, feed: &Feed, method: Method) -> Result<(AnyLive, LiveWatch, MethodChoice), LiveError> {
        self.on("recv", || AnyLive::open(feed, method, &options()))
    }
}

fn sender(bed: &Bed, side: &str, line: &LineConfig, group: usize) -> Sender {
    bed.sender(side, &line.interface, line.groups[group])
}

/// Line, group, payload.
type Seen = (usize, u16, Vec<u8>);

fn poll(live: &mut Redirected) -> Vec<Seen> {
    let mut seen = Vec::new();
    let pass = live.poll(&mut |d| seen.push((d.line.index(), d.group, d.payload.to_vec()))).unwrap();
    assert_eq!((pass.datagrams, pass.ended), (seen.len(), false));
    seen
}

/// Sends until it is heard, and empties what came more than once.
fn heard(sender: &mut Sender, live: &mut Redirected, expected: Seen) {
    wait_for(&format!("{expected:?}"), || {
        let _ = sender.send(&expected.2).unwrap();
        poll(live).contains(&expected)
    });
    while !poll(live).is_empty() {}
}

/// One of each, in any order.
fn wait_for_all(live: &mut Redirected, mut expected: Vec<Seen>) {
    let mut seen = Vec::new();
    wait_for("what was sent", || {
        seen.extend(poll(live));
        seen.len() >= expected.len()
    });
    (0..10_000).for_each(|_| seen.extend(poll(live)));
    seen.sort();
    expected.sort();
    assert_eq!(seen, expected);
}

fn datagrams_come_by_the_ring_and_what_the_kernel_is_left_with_by_the_socket() {
    let bed = Bed::up("rboth");
    let lines = [line("A", "a0", &GROUPS), line("B", "b0", &GROUPS)];
    let (mut live, mut watch) = bed.redirected(&feed(&lines));
    assert_eq!(live.modes(), "a0: native mode; b0: native mode");
    let mut senders = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        for group in 0..GROUPS.len() {
            let mut sender = sender(&bed, "pub", line, group);
            heard(&mut sender, &mut live, (at, group as u16, b"up".to_vec()));
            senders.push((at, group as u16, sender));
        }
    }
    assert!(live.facts().lines[..2].iter().all(|facts| facts.datagrams > 0), "{:?}", live.facts());
    // as long as a network of 1,500 bytes carries it, in two fragments, in many; empty
    for len in [1_472, 1_473, 60_000, 0, 100] {
        let mut expected = Vec::new();
        for (at, group, sender) in &mut senders {
            let payload = vec![*at as u8 + 1; len];
            assert_eq!(sender.send(&payload).unwrap(), None);
            expected.push((*at, *group, payload));
        }
        wait_for_all(&mut live, expected);
    }
    assert_eq!(live.facts().lines[0].frames, Default::default());
    assert!(watch.facts().iter().all(|facts| facts.overflow == 0));
    assert_eq!(bed.notices(&mut watch), [""; 0]);
}

fn lines_on_one_interface_share_a_ring() {
    let bed = Bed::up("rshare");
    // by name and by address, and with a group that both have
    let mut lines =
        [line("A", "lo", &[GROUPS[0], "239.81.9.9:26409"]), line("B", "127.0.0.1", &[GROUPS[1], "239.81.9.9:26409"])];
    let (mut live, _watch) = bed.redirected(&feed(&lines));
    assert!(live.modes().starts_with("lo: skb mode, native: "), "{}", live.modes());
    lines[1].interface = "lo".to_owned();
    let mut a = sender(&bed, "recv", &lines[0], 0);
    let mut b = sender(&bed, "recv", &lines[1], 0);
    let mut both = sender(&bed, "recv", &lines[0], 1);
    heard(&mut a, &mut live, (0, 0, b"a".to_vec()));
    heard(&mut b, &mut live, (1, 0, b"b".to_vec()));
    // on loopback a datagram of 60,000 bytes is one frame
    for payload in [vec![1; 10], vec![2; 60_000]] {
        let mut expected = Vec::new();
        for (at, sender) in [&mut a, &mut b].into_iter().enumerate() {
            assert_eq!(sender.send(&payload).unwrap(), None);
            expected.push((at, 0, payload.clone()));
        }
        assert_eq!(both.send(&payload).unwrap(), None);
        expected.extend([0, 1].map(|at| (at, 1, payload.clone())));
        wait_for_all(&mut live, expected);
    }
}

fn one_sender_alone_is_accepted_where_the_feed_says_so() {
    let bed = Bed::up("ronly");
    let mut lines = [line("A", "a0", &GROUPS[..1]), line("B", "b0", &GROUPS[..1])];
    lines[0].source = Some("10.81.1.77".parse().unwrap());
    lines[1].source = Some("10.81.2.1".parse().unwrap());
    let (mut live, _watch) = bed.redirected(&feed(&lines));
    heard(&mut sender(&bed, "pub", &lines[1], 0), &mut live, (1, 0, b"b".to_vec()));
    let mut stranger = sender(&bed, "pub", &lines[0], 0);
    wait_for("a stranger", || {
        assert_eq!(stranger.send(b"forged").unwrap(), None);
        assert_eq!(poll(&mut live), []);
        live.facts().lines[0].other_senders > 0
    });
}

fn a_second_feed_on_an_interface_takes_another_method() {
    let bed = Bed::up("rsecond");
    let lines = [line("A", "a0", &GROUPS[..1]), line("B", "b0", &GROUPS[..1])];
    let first = bed.by(&feed(&lines[..1]), Method::Auto).unwrap();
    assert_eq!(first.2.to_string(), "xdp (a0: native mode; the fastest that works here)");
    let error = bed.by(&feed(&lines), Method::Xdp).unwrap_err().to_string();
    assert!(error.starts_with("line A, interface a0: cannot attach the XDP program: "), "{error}");
    assert!(error.contains("already") && error.contains(r#"receive = "packet""#), "{error}");
    let (_, _, taken) = bed.by(&feed(&lines), Method::Auto).unwrap();
    assert_eq!(taken.method, Method::Packet);
    assert!(taken.to_string().starts_with("packet (the fastest that works here; not xdp: line A"), "{taken}");
    drop(first);
    assert_eq!(bed.by(&feed(&lines), Method::Auto).unwrap().2.method, Method::Xdp);
}

fn an_interface_that_is_deleted_and_created_again_is_redirected_again() {
    let bed = Bed::up("rnic");
    let lines = [line("A", "a0", &GROUPS[..1]), line("B", "b0", &GROUPS[..1])];
    bed.run(&["nic", "b", "delete"]);
    let (mut live, mut watch) = bed.redirected(&feed(&lines));
    heard(&mut sender(&bed, "pub", &lines[0], 0), &mut live, (0, 0, b"a".to_vec()));
    bed.notices(&mut watch);
    // b0 appears, a0 is replaced
    for (at, name) in [(1, "b"), (0, "a"), (1, "b")] {
        let index = || bed.on("recv", || os::HostInterface::resolve(&format!("{name}0")).unwrap().map(|one| one.index));
        if index().is_some() {
            bed.run(&["nic", name, "delete"]);
            assert!(bed.notices(&mut watch)[0].ends_with("disappeared"));
        }
        bed.run(&["nic", name, "create"]);
        let said = bed.notices(&mut watch);
        assert_eq!(
            said[0],
            format!("line {}: joined on interface {name}0 (index {})", lines[at].name, index().unwrap())
        );
        let mut sender = sender(&bed, "pub", &lines[at], 0);
        heard(&mut sender, &mut live, (at, 0, b"again".to_vec()));
        // by the ring, and not by the socket, which nobody looks at without a reason
        assert_eq!(sender.send(b"soon").unwrap(), None);
        assert_eq!(poll(&mut live), [(at, 0, b"soon".to_vec())]);
        assert_eq!(sender.send(&[5; 3_000]).unwrap(), None);
        wait_for_all(&mut live, vec![(at, 0, vec![5; 3_000])]);
    }
}

fn what_a_ring_has_no_room_for_is_told() {
    let bed = Bed::up("rfull");
    let lines = [line("A", "a0", &GROUPS[..1])];
    let (mut live, mut watch) = bed.redirected(&feed(&lines));
    let mut sender = sender(&bed, "pub", &lines[0], 0);
    heard(&mut sender, &mut live, (0, 0, b"up".to_vec()));
    bed.notices(&mut watch);
    for _ in 0..600 {
        assert_eq!(sender.send(b"into the ring").unwrap(), None);
    }
    let said = bed.notices(&mut watch);
    assert!(said.len() == 1 && said[0].starts_with("line A: 88 frames"), "{said:?}");
    assert_eq!(watch.facts()[0].overflow, 88);
}

fn sockets_are_looked_at_when_there_is_a_reason() {
    let bed = Bed::up("rlook");
    let lines = [line("A", "a0", &GROUPS[..1])];
    let (mut live, _watch) = bed.redirected(&feed(&lines));
    let mut sender = sender(&bed, "pub", &lines[0], 0);
    heard(&mut sender, &mut live, (0, 0, b"up".to_vec()));
    // just looked at: without a reason it would be 8,192 passes until the next time
    heard(&mut sender, &mut live, (0, 0, vec![1; 3_000]));
    (0..300).for_each(|_| assert_eq!(poll(&mut live), []));
    assert_eq!(sender.send(&[2; 3_000]).unwrap(), None);
    let mut passes = 0;
    wait_for("a datagram in fragments", || {
        passes += 1;
        !poll(&mut live).is_empty()
    });
    assert!(passes < 7_000, "{passes} passes");
}
