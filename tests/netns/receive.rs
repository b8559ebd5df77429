//! Every receive method through the same behaviour: two "NICs", veth pairs between a publisher's and a receiver's network
//! namespace (`scripts/netns`), ordinary datagrams, and frames made byte by byte.
//!
//! A method is a row of [`WAYS`]. There are no VLAN interfaces
//! here: the `socket` method, which hears tagged frames by such an interface alone, is shown not to hear them.

mod craft;
pub mod faults;
pub mod loopback;
pub mod program;

use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};

use twinline_core::Nanos;
use twinline_node::config::{LineConfig, Method};
use twinline_node::os::{Clock, ReceiveOptions, SendOptions, SendTrouble, Sender};
use twinline_node::source::{AnyLive, CountedSource, Datagram, InterfaceState, LineFacts, LiveWatch, Pass, Source};

use crate::support::feed::of as feed;
use crate::support::netns::Bed;
use crate::support::trials::{Test, tests};
use crate::support::wait_for;
use craft::{Wire, altered, fragments, frame, frame_from, mend, tagged};

pub const TESTS: &[Test] = tests![
    both_lines_bring_each_datagram_once_in_order_with_its_sender,
    a_pass_takes_a_batch_of_each_and_says_when_more_may_wait,
    foreign_groups_and_ports_are_not_delivered,
    vlan_tags_are_stepped_over_by_rings,
    fragments_are_put_together,
    datagrams_that_cross_the_wire_in_one_piece_come_one_by_one,
    what_is_wrong_is_counted_and_not_delivered,
    a_line_with_a_source_takes_that_sender_alone,
    a_unicast_line_is_heard_and_its_strangers_are_counted,
    kernel_stamps_come_where_asked_for,
];

/// A receive method, and what of it differs.
#[derive(Clone, Copy)]
struct Way {
    method: Method,
    /// Whether frames are checked, and counted, by the source; of a socket the kernel sees to that.
    ring: bool,
    /// Whether that goes for fragments and long frames, too: with AF_XDP they come by way of the kernel and a socket, and may
    /// be overtaken.
    all: bool,
}

const WAYS: [Way; 3] = [
    Way { method: Method::Socket, ring: false, all: false },
    Way { method: Method::Packet, ring: true, all: true },
    Way { method: Method::Xdp, ring: true, all: false },
];

impl Way {
    /// Whether what is long comes in its place.
    fn in_order(self) -> bool {
        self.all || !self.ring
    }
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Seen {
    line: usize,
    group: u16,
    payload: Vec<u8>,
}

fn seen(line: usize, group: u16, payload: impl Into<Vec<u8>>) -> Seen {
    Seen { line, group, payload: payload.into() }
}

/// A feed that is received by one method in a bed of its own.
struct Case {
    way: Way,
    bed: Bed,
    live: AnyLive,
    watch: LiveWatch,
}

/// Goes through a scenario by every method.
fn by_every_way(name: &str, lines: &[LineConfig], options: ReceiveOptions, scenario: impl Fn(&mut Case)) {
    by_ways(&WAYS, name, lines, options, scenario);
}

fn by_ways(ways: &[Way], name: &str, lines: &[LineConfig], options: ReceiveOptions, scenario: impl Fn(&mut Case)) {
    for &way in ways {
        let bed = Bed::up(&format!("{name}{}", way.method.name()));
        let (live, watch) = open(&bed, way.method, lines, &options);
        scenario(&mut Case { way, bed, live, watch });
    }
}

fn open(bed: &Bed, method: Method, lines: &[LineConfig], options: &ReceiveOptions) -> (AnyLive, LiveWatch) {
    let feed = feed(lines);
    let (live, watch, taken) = bed.on("recv", || AnyLive::open(&feed, method, options).unwrap());
    assert_eq!(taken.method, method);
    (live, watch)
}

impl Case {
    fn pass(&mut self, take: &mut impl FnMut(Datagram<'_>)) -> Pass {
        match &mut self.live {
            AnyLive::Socket(live) => live.poll(take).unwrap(),
            AnyLive::Packet(live) => live.poll(take).unwrap(),
            AnyLive::Xdp(live) => live.poll(take).unwrap(),
        }
    }

    fn facts(&self, line: usize) -> LineFacts {
        let facts = match &self.live {
            AnyLive::Socket(live) => CountedSource::facts(live),
            AnyLive::Packet(live) => live.facts(),
            AnyLive::Xdp(live) => live.facts(),
        };
        facts.lines[line]
    }

    /// All that is there.
    fn drain(&mut self) -> Vec<Seen> {
        let mut all = Vec::new();
        while self.pass(&mut |d| all.push(seen(d.line.index(), d.group, d.payload))) != Pass::default() {}
        all
    }

    /// All that comes up to this datagram on this line, without it; nothing may come behind it.
    #[track_caller]
    fn until(&mut self, last: &[u8]) -> Vec<Seen> {
        let mut all = Vec::new();
        let method = self.way.method.name();
        wait_for(&format!("{last:?} by {method}"), || {
            all.extend(self.drain());
            all.iter().any(|one| one.payload == last)
        });
        assert_eq!(all.last().map(|one| &one.payload[..]), Some(last), "{method}");
        all.pop();
        all
    }

    /// That this comes and nothing else, up to a datagram on this line; long ones in any place, where they may be overtaken.
    #[track_caller]
    fn expect(&mut self, mut expected: Vec<Seen>, last: &[u8]) {
        let method = self.way.method.name();
        let mut all = if self.way.in_order() {
            self.until(last)
        } else {
            let mut all = Vec::new();
            wait_for(&format!("{last:?} by {method}"), || {
                all.extend(self.drain());
                all.len() > expected.len()
            });
            let at = all.iter().position(|one| one.payload == last).expect("the last is among them");
            all.remove(at);
            all
        };
        if !self.way.in_order() {
            all.sort();
            expected.sort();
        }
        assert!(all == expected, "{method}: {} datagrams, expected {}", all.len(), expected.len());
    }

    fn sender(&self, to: SocketAddrV4, interface: &str) -> Sender {
        self.bed.sender("pub", interface, to)
    }

    /// Sends until it is heard: what was sent before a link settled may be lost.
    #[track_caller]
    fn heard(&mut self, sender: &mut Sender, payload: &[u8]) {
        let what = format!("{payload:?} to {} by {}", sender.to(), self.way.method.name());
        wait_for(&what, || {
            let _ = sender.send(payload).unwrap();
            self.drain().iter().any(|one| one.payload == payload)
        });
        self.drain();
    }

    fn check(&mut self) -> Vec<String> {
        self.bed.notices(&mut self.watch)
    }

    #[track_caller]
    fn next_notices(&mut self) -> Vec<String> {
        self.bed.next_notices(&mut self.watch)
    }

    fn ip(&self, side: &str, arguments: &str) {
        self.bed.ip(side, arguments);
    }

    fn index(&self, interface: &str) -> u32 {
        self.bed.index(interface)
    }
}

#[track_caller]
fn send(sender: &mut Sender, payload: &[u8]) {
    assert_eq!(sender.send(payload).unwrap(), None);
}

fn line(name: &str, groups: &[SocketAddrV4]) -> LineConfig {
    crate::support::feed::line(name, &format!("{}0", name.to_lowercase()), groups)
}

fn at(address: &str) -> SocketAddrV4 {
    address.parse().unwrap()
}

const A: &str = "239.81.1.1:26400";
const B: &str = "239.81.2.1:26400";

fn a_and_b() -> [LineConfig; 2] {
    [line("A", &[at(A)]), line("B", &[at(B)])]
}

fn both_lines_bring_each_datagram_once_in_order_with_its_sender() {
    let groups = [[at(A), at("239.81.1.2:26401")], [at(B), at("239.81.2.2:26401")]];
    let lines = [line("A", &groups[0]), line("B", &groups[1])];
    by_every_way("both", &lines, ReceiveOptions::default(), |case| {
        let mut senders: Vec<(usize, u16, Sender)> = Vec::new();
        for (l, interface) in ["a0", "b0"].into_iter().enumerate() {
            for (g, &group) in groups[l].iter().enumerate() {
                senders.push((l, g as u16, case.sender(group, interface)));
                case.heard(&mut senders.last_mut().unwrap().2, b"up");
            }
        }
        let before = [case.facts(0), case.facts(1)];
        let mut sent = Vec::new();
        let mut got = Vec::new();
        for n in 0..300usize {
            let payload: Vec<u8> = (0..n * 5 % 1_472).map(|at| (at * n) as u8).collect();
            for (l, g, sender) in &mut senders {
                send(sender, &payload);
                sent.push((seen(*l, *g, payload.clone()), sender.from().unwrap()));
            }
            case.pass(&mut |d| got.push((seen(d.line.index(), d.group, d.payload), d.source)));
        }
        while case.pass(&mut |d| got.push((seen(d.line.index(), d.group, d.payload), d.source))).datagrams > 0 {}
        for (l, g, _) in &senders {
            let of = |all: &[(Seen, SocketAddrV4)]| {
                all.iter().filter(|(one, _)| (one.line, one.group) == (*l, *g)).cloned().collect::<Vec<_>>()
            };
            assert!(of(&got) == of(&sent), "{} {l} {g}", case.way.method.name());
        }
        assert_eq!(got.len(), sent.len());
        for (l, before) in before.into_iter().enumerate() {
            let mut expected = before;
            expected.datagrams += 600;
            expected.bytes += 2 * (0..300).map(|n| n * 5 % 1_472).sum::<u64>();
            assert_eq!(case.facts(l), expected, "{}", case.way.method.name());
        }
        assert_eq!(case.check(), [""; 0]);
        assert_eq!(case.watch.facts()[1].interface, InterfaceState::Up);
    });
}

fn a_pass_takes_a_batch_of_each_and_says_when_more_may_wait() {
    by_every_way("batch", &a_and_b(), ReceiveOptions::default(), |case| {
        let [mut a, mut b] = [case.sender(at(A), "a0"), case.sender(at(B), "b0")];
        case.heard(&mut a, b"up");
        case.heard(&mut b, b"up");
        let mut orders = Vec::new();
        for _ in 0..3 {
            send(&mut a, b"tick");
            send(&mut b, b"tick");
            let mut order = Vec::new();
            case.pass(&mut |d| order.push(d.line.index()));
            orders.push(order);
        }
        assert!(orders.iter().all(|order| order.len() == 2), "{orders:?}");
        assert!(orders[0] != orders[1] && orders[0] == orders[2], "which line comes first rotates: {orders:?}");
        (0..70u8).for_each(|n| send(&mut a, &[n]));
        send(&mut b, b"b");
        let mut passes = Vec::new();
        for _ in 0..4 {
            let mut counts = [0, 0];
            let pass = case.pass(&mut |d| counts[d.line.index()] += 1);
            passes.push((counts, pass.full));
        }
        assert_eq!(passes, [([32, 1], true), ([32, 0], true), ([6, 0], false), ([0, 0], false)]);
    });
}

fn foreign_groups_and_ports_are_not_delivered() {
    by_every_way("foreign", &a_and_b(), ReceiveOptions::default(), |case| {
        // another program here wants what is not ours
        let theirs = [at("239.81.1.1:26401"), at("239.81.1.9:26400")];
        let other = case.bed.on("recv", || {
            let socket = UdpSocket::bind("0.0.0.0:26401").unwrap();
            let interface = Ipv4Addr::new(10, 81, 1, 2);
            theirs.iter().for_each(|group| socket.join_multicast_v4(group.ip(), &interface).unwrap());
            socket
        });
        let mut a = case.sender(at(A), "a0");
        case.heard(&mut a, b"up");
        for to in theirs.into_iter().chain([at("10.81.1.2:26400"), at(B)]) {
            let mut sender = case.sender(to, "a0");
            for length in [10, 4_000] {
                let _ = sender.send(&vec![7; length]).unwrap();
            }
        }
        // what another host is sent, seen here as a switch that floods would show it
        let wire = Wire::open(&case.bed, "a0");
        let mut elsewhere = frame(at(A), b"elsewhere");
        elsewhere[..6].copy_from_slice(&[2, 0, 0, 0, 0, 0x77]);
        wire.send(&elsewhere);
        send(&mut a, b"end");
        assert_eq!(case.until(b"end"), []);
        let facts = case.facts(0);
        // fragments have no port: those of the group that are not the first come as far as the fragments, and no further
        assert_eq!((facts.frames.foreign, facts.fragments.fragments), (0, if case.way.all { 2 } else { 0 }));
        assert_eq!(facts.fragments.datagrams, 0);
        drop(other);
    });
}

fn vlan_tags_are_stepped_over_by_rings() {
    by_every_way("vlan", &a_and_b(), ReceiveOptions::default(), |case| {
        let mut a = case.sender(at(A), "a0");
        case.heard(&mut a, b"up");
        let wire = Wire::open(&case.bed, "a0");
        wire.send(&frame(at(A), b"untagged"));
        let tags: [&[u16]; 4] =
            [&[0x8100], &[0x88a8, 0x8100], &[0x8100, 0x8100, 0x8100], &[0x8100, 0x88a8, 0x8100, 0x8100]];
        for tags in tags {
            let name = format!("behind {}", tags.len());
            wire.send(&tagged(&frame(at(A), name.as_bytes()), tags));
            wire.send(&tagged(&frame(at("239.81.1.1:26401"), name.as_bytes()), tags));
        }
        wire.send(&tagged(&frame(at(A), b"behind five"), &[0x8100; 5]));
        for piece in fragments(&frame(at(A), b"fragments behind a tag"), 7, 16) {
            wire.send(&tagged(&piece, &[0x8100]));
        }
        send(&mut a, b"end");
        let mut expected = vec![seen(0, 0, "untagged")];
        if case.way.ring {
            expected.extend((1..=4).map(|count| seen(0, 0, format!("behind {count}"))));
        }
        if case.way.all {
            expected.push(seen(0, 0, "fragments behind a tag"));
        }
        assert_eq!(case.until(b"end"), expected, "{}", case.way.method.name());
    });
}

fn fragments_are_put_together() {
    by_every_way("frags", &a_and_b(), ReceiveOptions::default(), |case| {
        let mut a = case.sender(at(A), "a0");
        case.heard(&mut a, b"up");
        let mut expected = Vec::new();
        for length in [1_473, 4_000, 65_507] {
            let payload: Vec<u8> = (0..length).map(|at| (at * 7 + length) as u8).collect();
            send(&mut a, &payload);
            send(&mut a, b"between");
            expected.extend([seen(0, 0, payload), seen(0, 0, "between")]);
        }
        send(&mut a, b"end");
        case.expect(expected, b"end");

        // out of order, one twice, two datagrams through each other
        let wire = Wire::open(&case.bed, "a0");
        let one = fragments(&frame(at(A), b"the first datagram of the two"), 100, 16);
        let two = fragments(&frame(at(A), b"the second datagram of the two"), 101, 16);
        for piece in [&one[2], &two[0], &one[0], &one[0], &two[2], &one[1], &two[1]] {
            wire.send(piece);
        }
        // one that never comes whole, one whose pieces say different things, one with a wrong checksum in its midst
        let never = fragments(&frame(at(A), b"this one has no end, for it is lost"), 102, 16);
        never[..2].iter().for_each(|piece| wire.send(piece));
        let forged = fragments(&frame(at(A), b"this one is forged in its midst"), 103, 16);
        wire.send(&forged[0]);
        wire.send(&forged[1]);
        let mut other = forged[1].clone();
        other[14 + 20] ^= 1;
        wire.send(&other);
        let damaged = fragments(&frame(at(A), b"this one was damaged on its way"), 104, 16);
        wire.send(&damaged[0]);
        let mut byte = damaged[1].clone();
        byte[14 + 20] ^= 1;
        wire.send(&byte);
        damaged[2..].iter().for_each(|piece| wire.send(piece));
        send(&mut a, b"end");
        let whole = vec![seen(0, 0, "the first datagram of the two"), seen(0, 0, "the second datagram of the two")];
        case.expect(whole, b"end");
        if case.way.all {
            let facts = case.facts(0);
            let fragments = facts.fragments;
            assert_eq!((fragments.datagrams, fragments.duplicates, fragments.overlapping), (6, 1, 1), "{facts:?}");
            assert_eq!(facts.frames.udp_checksum, 1);
            assert_eq!(facts.errors + facts.truncated + facts.frames.malformed, 0);
        }
    });
}

fn datagrams_that_cross_the_wire_in_one_piece_come_one_by_one() {
    by_every_way("gso", &a_and_b(), ReceiveOptions::default(), |case| {
        let mut a = case.sender(at(A), "a0");
        case.heard(&mut a, b"up");
        let burst = case.bed.on("pub", || {
            let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::DGRAM, None).unwrap();
            socket.set_multicast_if_v4(&Ipv4Addr::new(10, 81, 1, 1)).unwrap();
            socket
        });
        let mut expected = Vec::new();
        // what fits into a slot, what is longer than one, and as much as there can be; each with a rest
        for (size, count) in [(100u16, 9), (100, 40), (1_400, 40)] {
            craft::segment(&burst, size);
            let payload: Vec<u8> = (0..usize::from(size) * count + 7).map(|at| (at * 7 + at / 100) as u8).collect();
            assert_eq!(burst.send_to(&payload, &at(A).into()).unwrap(), payload.len());
            expected.extend(payload.chunks(usize::from(size)).map(|datagram| seen(0, 0, datagram)));
        }
        send(&mut a, b"end");
        let got = case.until(b"end");
        assert!(got == expected, "{}: {} of {}", case.way.method.name(), got.len(), expected.len());
        let facts = case.facts(0);
        assert_eq!((facts.truncated, facts.frames, facts.errors), (0, Default::default(), 0));
    });
}

fn what_is_wrong_is_counted_and_not_delivered() {
    by_every_way("wrong", &a_and_b(), ReceiveOptions::default(), |case| {
        let mut a = case.sender(at(A), "a0");
        case.heard(&mut a, b"up");
        let wire = Wire::open(&case.bed, "a0");
        let whole = || frame(at(A), b"payload");
        let mended = |mut frame: Vec<u8>| {
            mend(&mut frame);
            frame
        };
        wire.send(&whole());
        // another TTL, and the checksum as it was; another byte of payload; another sender
        wire.send(&altered(whole(), 8, 9));
        wire.send(&altered(whole(), 28, b'P'));
        wire.send(&mended(altered(whole(), 15, 3)));
        // the IPv4 length: beyond the frame, and within the UDP header; the UDP length: beyond the packet, and no header's
        wire.send(&mended(altered(whole(), 3, 200)));
        wire.send(&mended(altered(whole(), 3, 24)));
        wire.send(&altered(whole(), 25, 200));
        wire.send(&altered(whole(), 25, 3));
        // a header shorter than any: its port is not where the filter looks, so it does not even come to be counted
        wire.send(&altered(whole(), 0, 0x44));
        // no checksum at all is allowed
        wire.send(&altered(altered(frame(at(A), b"none made"), 26, 0), 27, 0));
        // cut off in its midst
        wire.send(&whole()[..40]);
        // longer than it says, as every short frame is on a wire
        wire.send(&[whole(), vec![0xee; 11]].concat());
        send(&mut a, b"end");
        let expected = [seen(0, 0, "payload"), seen(0, 0, "none made"), seen(0, 0, "payload")];
        assert_eq!(case.until(b"end"), expected, "{}", case.way.method.name());
        let facts = case.facts(0).frames;
        let counted = (facts.ip_checksum, facts.udp_checksum, facts.malformed, facts.foreign);
        // what is cut off before its port is left to the kernel by AF_XDP
        let malformed = if case.way.all { 5 } else { 4 };
        assert_eq!(counted, if case.way.ring { (1, 2, malformed, 0) } else { (0, 0, 0, 0) }, "{facts:?}");
        assert_eq!(case.facts(0).truncated, 0);
    });
}

fn a_line_with_a_source_takes_that_sender_alone() {
    let mut lines = a_and_b();
    lines[0].source = Some(Ipv4Addr::new(10, 81, 1, 1));
    by_every_way("ssm", &lines, ReceiveOptions::default(), |case| {
        let mut a = case.sender(at(A), "a0");
        case.heard(&mut a, b"up");
        let wire = Wire::open(&case.bed, "a0");
        wire.send(&frame_from(at("10.81.1.1:7"), at(A), b"ours"));
        wire.send(&frame_from(at("10.81.1.7:7"), at(A), b"a stranger's"));
        send(&mut a, b"end");
        assert_eq!(case.until(b"end"), [seen(0, 0, "ours")]);
        assert_eq!(case.facts(0).other_senders, if case.way.ring { 1 } else { 0 });
    });
}

fn a_unicast_line_is_heard_and_its_strangers_are_counted() {
    let mut lines = a_and_b();
    lines[0].groups = vec![at("10.81.1.2:26400")];
    lines[0].source = Some(Ipv4Addr::new(10, 81, 1, 1));
    by_every_way("unicast", &lines, ReceiveOptions::default(), |case| {
        let mut a = case.sender(lines[0].groups[0], "a0");
        case.heard(&mut a, b"up");
        // a kernel that found no socket there would have told the sender by now
        for n in 0..5u8 {
            send(&mut a, &[n]);
        }
        case.ip("pub", "addr add 10.81.1.77/24 dev a0");
        let mut stranger = case.bed.on("pub", || {
            let source = Some(Ipv4Addr::new(10, 81, 1, 77));
            Sender::open(lines[0].groups[0], "a0", SendOptions::default().with_source(source)).unwrap()
        });
        send(&mut stranger, b"a stranger's");
        send(&mut a, b"end");
        assert_eq!(case.until(b"end"), (0..5u8).map(|n| seen(0, 0, [n])).collect::<Vec<_>>());
        assert_eq!((case.facts(0).other_senders, a.facts().nobody), (1, 0));
    });
}

fn kernel_stamps_come_where_asked_for() {
    // AF_XDP has none, and says so
    let bed = Bed::up("nostamps");
    let feed = feed(&a_and_b());
    let options = ReceiveOptions::default().with_kernel_stamps(true);
    let error = bed.on("recv", || AnyLive::open(&feed, Method::Xdp, &options).unwrap_err().to_string());
    assert!(error.contains("leave out `kernel_stamps`"), "{error}");
    let (.., taken) = bed.on("recv", || AnyLive::open(&feed, Method::Auto, &options).unwrap());
    assert_eq!(taken.method, Method::Packet);
    for kernel_stamps in [true, false] {
        let options = ReceiveOptions::default().with_kernel_stamps(kernel_stamps);
        let ways: Vec<Way> = WAYS.into_iter().filter(|way| !kernel_stamps || way.method != Method::Xdp).collect();
        by_ways(&ways, if kernel_stamps { "stamps" } else { "none" }, &a_and_b(), options, |case| {
            let mut a = case.sender(at(A), "a0");
            case.heard(&mut a, b"up");
            // the kernel begins to stamp a moment after it was asked to
            wait_for("a stamp", || {
                let mut stamped = !kernel_stamps;
                send(&mut a, b"?");
                while case.pass(&mut |d| stamped |= d.kernel_stamp.is_some()).datagrams > 0 {}
                stamped
            });
            let before = Clock::start().now();
            (0..40u8).for_each(|n| send(&mut a, &[n]));
            let mut stamps = Vec::new();
            while case.pass(&mut |d| stamps.push(d.kernel_stamp.and_then(|stamp| stamp.software))).datagrams > 0 {}
            assert_eq!(stamps.len(), 40);
            assert!(stamps.iter().all(|stamp| stamp.is_some() == kernel_stamps), "{stamps:?}");
            // the wall clock may have been stepped in between: an hour is near enough to tell the unit and the epoch
            let near = |stamp: &Nanos| stamp.abs_diff(before) < Nanos::from_secs(3_600);
            assert!(stamps.iter().flatten().all(near), "{stamps:?}");
        });
    }
}
