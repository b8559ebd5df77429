//! Live sockets over the loopback interface, without a privilege: what is heard, what is not, and what is counted.

use std::net::{Ipv4Addr, SocketAddrV4};

use twinline_core::Nanos;
use twinline_node::config::LineConfig;
use twinline_node::os::{Clock, ReceiveOptions, SendOptions, SendTrouble, Sender, SenderError};
use twinline_node::source::{InterfaceState, LineChange, Live, LiveError, LiveWatch, Notice, Pass, Source};

use crate::support::feed::{free_port, group, of as feed};
use crate::support::wait_for;

fn line(name: &str, groups: &[SocketAddrV4]) -> LineConfig {
    crate::support::feed::line(name, "127.0.0.1", groups)
}

fn open(lines: Vec<LineConfig>) -> (Live, LiveWatch) {
    Live::open(&feed(&lines), &ReceiveOptions::default()).unwrap()
}

fn sender(to: SocketAddrV4) -> Sender {
    Sender::open(to, "127.0.0.1", SendOptions::default().with_ttl(0)).unwrap()
}

fn send(sender: &mut Sender, payload: &[u8]) {
    assert_eq!(sender.send(payload).unwrap(), None);
}

#[derive(Debug, PartialEq, Eq)]
struct Seen {
    line: usize,
    group: u16,
    payload: Vec<u8>,
}

fn seen(line: usize, group: u16, payload: &[u8]) -> Seen {
    Seen { line, group, payload: payload.to_vec() }
}

fn pass(live: &mut Live) -> (Vec<Seen>, Pass) {
    let mut all = Vec::new();
    let pass = live.poll(&mut |d| all.push(seen(d.line.index(), d.group, d.payload))).unwrap();
    assert_eq!(pass.datagrams, all.len());
    assert!(!pass.ended);
    (all, pass)
}

/// What a check says, but for the buffer: how large it may be without a privilege is the machine's choice.
fn check(watch: &mut LiveWatch) -> Vec<Notice> {
    let mut notices = watch.check().unwrap();
    notices.retain(|notice| !matches!(notice.what, LineChange::SmallBuffer { .. }));
    notices
}

/// Polls until so many datagrams came, then once more: nothing may be left.
fn take(live: &mut Live, count: usize) -> Vec<Seen> {
    let mut all = Vec::new();
    wait_for(&format!("{count} datagrams"), || {
        all.extend(pass(live).0);
        all.len() >= count
    });
    assert_eq!(pass(live).0, [], "more than {count} datagrams");
    all
}

#[test]
fn both_lines_are_heard_and_each_keeps_its_order() {
    let (a, b) = ([group(), group()], [group(), group()]);
    let (mut live, mut watch) = open(vec![line("A", &a), line("B", &b)]);
    let mut senders: Vec<Sender> = [a[0], b[0], a[1], b[1]].into_iter().map(sender).collect();
    for n in 0..20u8 {
        for sender in &mut senders {
            send(sender, &[n]);
        }
    }
    let all = take(&mut live, 80);
    for (line, group) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
        let own: Vec<u8> = all.iter().filter(|s| (s.line, s.group) == (line, group)).map(|s| s.payload[0]).collect();
        assert_eq!(own, (0..20).collect::<Vec<u8>>(), "line {line}, group {group}");
    }
    let facts = live.facts();
    assert_eq!((facts.lines[0].datagrams, facts.lines[1].bytes), (40, 40));
    assert_eq!(facts.lines[2].datagrams, 0);
    assert_eq!(check(&mut watch), []);
    assert_eq!(watch.facts()[1].interface, InterfaceState::Up);
}

#[test]
fn a_datagram_says_who_sent_it_where_asked_for() {
    let a = group();
    let mut two = [sender(a), sender(a)];
    for senders in [true, false] {
        let options = ReceiveOptions::default().with_senders(senders);
        let (mut live, _watch) = Live::open(&feed(&[line("A", &[a])]), &options).unwrap();
        let mut expected = Vec::new();
        // by each way of receiving, and never from the same sender as before
        for n in 0..5 {
            send(&mut two[n % 2], b"x");
            let from = if senders { two[n % 2].from().unwrap() } else { "0.0.0.0:0".parse().unwrap() };
            expected.push((from, None, None));
        }
        let mut from = Vec::new();
        // over loopback a datagram is in the receiver's socket when the send call returns
        live.poll(&mut |d| from.push((d.source, d.stamp, d.kernel_stamp))).unwrap();
        assert_eq!(from, expected);
    }
}

#[test]
fn the_longest_datagram_comes_whole_and_the_empty_one_comes() {
    let a = group();
    let (mut live, _watch) = open(vec![line("A", &[a])]);
    let longest: Vec<u8> = (0..65_507u32).map(|n| ((n * 31) >> 3) as u8).collect();
    let mut sender = sender(a);
    for _ in 0..3 {
        // two of each: each way of receiving has its share, and a small buffer holds them
        for _ in 0..2 {
            send(&mut sender, &longest);
            send(&mut sender, b"");
        }
        for pair in take(&mut live, 4).chunks(2) {
            assert!(pair[0].payload == longest, "{} bytes", pair[0].payload.len());
            assert_eq!(pair[1].payload, b"");
        }
    }
    assert_eq!(live.facts().lines[0].truncated, 0);
}

#[test]
fn one_pass_takes_a_batch_of_each_socket_and_says_when_more_may_wait() {
    let (a, b) = (group(), group());
    let (mut live, _watch) = open(vec![line("A", &[a]), line("B", &[b])]);
    let (mut to_a, mut to_b) = (sender(a), sender(b));
    let payloads: Vec<[u8; 1]> = (0..70).map(|n| [n]).collect();
    let payloads: Vec<&[u8]> = payloads.iter().map(|p| p.as_slice()).collect();
    assert_eq!(to_a.send_batch(&payloads).unwrap(), (70, None));
    send(&mut to_b, &[200]);
    let mut counts = Vec::new();
    let mut of_a = Vec::new();
    for _ in 0..4 {
        let (all, pass) = pass(&mut live);
        let of_b = all.iter().filter(|s| s.line == 1).count();
        counts.push((all.len() - of_b, of_b, pass.full));
        of_a.extend(all.into_iter().filter(|s| s.line == 0).map(|s| s.payload[0]));
    }
    assert_eq!(counts, [(32, 1, true), (32, 0, true), (6, 0, false), (0, 0, false)]);
    assert_eq!(of_a, (0..70).collect::<Vec<u8>>());
    assert_eq!(to_a.facts().datagrams, 70);
}

#[test]
fn which_line_is_polled_first_rotates() {
    let groups = [group(), group(), group()];
    let names = ["A", "B", "C"];
    let (mut live, _watch) = open(names.iter().zip(groups).map(|(name, group)| line(name, &[group])).collect());
    let mut senders = groups.map(sender);
    let orders: Vec<Vec<usize>> = (0..4)
        .map(|_| {
            senders.iter_mut().for_each(|sender| send(sender, b"tick"));
            pass(&mut live).0.iter().map(|s| s.line).collect()
        })
        .collect();
    assert_eq!(orders, [[0, 1, 2], [1, 2, 0], [2, 0, 1], [0, 1, 2]]);
}

#[test]
fn what_overflows_is_counted_to_the_datagram() {
    let (a, b) = (group(), group());
    let options = ReceiveOptions::default().with_buffer_bytes(20_000);
    let (mut live, mut watch) = Live::open(&feed(&[line("A", &[a]), line("B", &[b])]), &options).unwrap();
    assert_eq!(check(&mut watch), []);
    let mut sender = sender(a);
    (0..500u32).for_each(|n| send(&mut sender, &n.to_be_bytes()));
    let notices = check(&mut watch);
    let [notice] = notices.as_slice() else { panic!("{notices:?}") };
    let LineChange::Overflow { group, datagrams } = notice.what else { panic!("{notice}") };
    assert_eq!((notice.name.as_str(), group), ("A", a));
    assert!(datagrams > 0);
    let received = take(&mut live, 500 - datagrams as usize).len();
    assert_eq!(received as u64, live.facts().lines[0].datagrams);
    assert_eq!(watch.facts().iter().map(|facts| facts.overflow).collect::<Vec<_>>(), [u64::from(datagrams), 0]);
    assert_eq!((watch.facts()[0].buffer_asked, watch.facts()[0].buffer_given), (20_000, 20_000));
    // said once
    assert_eq!(check(&mut watch), []);
}

#[test]
fn a_buffer_smaller_than_asked_for_is_said_once() {
    let options = ReceiveOptions::default().with_buffer_bytes(1 << 30);
    let (_live, mut watch) = Live::open(&feed(&[line("A", &[group()])]), &options).unwrap();
    let given = watch.facts()[0].buffer_given;
    let notices: Vec<String> = watch.check().unwrap().iter().map(ToString::to_string).collect();
    if given == 1 << 30 {
        assert_eq!(notices, [""; 0], "with the privilege as much as asked for is given");
    } else {
        assert_eq!(
            notices,
            [format!(
                "line A: asked for a receive buffer of 1073741824 bytes, given {given}: run with CAP_NET_ADMIN, or \
                 `sysctl -w net.core.rmem_max=1073741824`"
            )]
        );
    }
    assert_eq!(watch.check().unwrap(), []);
}

#[test]
fn another_group_on_the_same_port_is_not_heard_though_this_host_joined_it() {
    let a = group();
    let foreign = SocketAddrV4::new(*group().ip(), a.port());
    let (mut live, _watch) = open(vec![line("A", &[a])]);
    let (mut stranger, _their_watch) = open(vec![line("X", &[foreign])]);
    send(&mut sender(foreign), b"theirs");
    send(&mut sender(a), b"ours");
    assert_eq!(take(&mut stranger, 1), [seen(0, 0, b"theirs")]);
    assert_eq!(take(&mut live, 1), [seen(0, 0, b"ours")]);
}

#[test]
fn a_line_with_a_source_hears_that_sender_alone() {
    let a = group();
    let source = Ipv4Addr::new(127, 0, 0, 2);
    let (mut live, mut watch) = open(vec![line("A", &[a]).with_source(Some(source))]);
    let from =
        |source| Sender::open(a, "127.0.0.1", SendOptions::default().with_ttl(0).with_source(Some(source))).unwrap();
    send(&mut from(Ipv4Addr::LOCALHOST), b"stranger");
    send(&mut from(source), b"source");
    assert_eq!(take(&mut live, 1), [seen(0, 0, b"source")]);
    assert_eq!(live.facts().lines[0].other_senders, 0, "the kernel keeps strangers out of a group");
    assert_eq!(check(&mut watch), []);
}

#[test]
fn a_unicast_address_of_this_host_is_bound_without_a_join() {
    let at = SocketAddrV4::new(Ipv4Addr::LOCALHOST, free_port());
    let source = Some(Ipv4Addr::new(127, 0, 0, 2));
    let options = ReceiveOptions::default().with_senders(false);
    let filtered = line("A", &[at]).with_source(source);
    let (mut live, mut watch) = Live::open(&feed(&[filtered]), &options).unwrap();
    let from = |source| Sender::open(at, "127.0.0.1", SendOptions::default().with_ttl(0).with_source(source)).unwrap();
    send(&mut from(None), b"stranger");
    send(&mut from(source), b"source");
    assert_eq!(take(&mut live, 1), [seen(0, 0, b"source")]);
    assert_eq!(live.facts().lines[0].other_senders, 1);
    assert_eq!(check(&mut watch), []);

    let error = Live::open(&feed(&[line("B", &[at])]), &ReceiveOptions::default()).unwrap_err().to_string();
    assert!(error.starts_with(&format!("line B, group {at}, interface 127.0.0.1: cannot bind: ")), "{error}");
    assert!(error.ends_with("another program holds this address and port: stop it, or take another port"), "{error}");
}

#[test]
fn one_missing_interface_is_said_and_all_missing_is_an_error() {
    let (a, b) = (group(), group());
    let missing = |name, group: SocketAddrV4| LineConfig::new(name, vec![group], "nosuchnic0");
    let (mut live, mut watch) = open(vec![missing("A", a), line("B", &[b])]);
    let notices = check(&mut watch);
    assert_eq!(
        notices.iter().map(ToString::to_string).collect::<Vec<_>>(),
        ["line A: there is no interface nosuchnic0; the line is joined when it appears"]
    );
    assert_eq!(watch.facts()[0].interface, InterfaceState::Missing);
    assert_eq!(check(&mut watch), []);
    send(&mut sender(a), b"deaf");
    send(&mut sender(b), b"heard");
    assert_eq!(take(&mut live, 1), [seen(1, 0, b"heard")]);

    let error = Live::open(&feed(&[missing("A", a), missing("B", b)]), &ReceiveOptions::default()).unwrap_err();
    assert!(matches!(&error, LiveError::NoInterface { interfaces, .. } if interfaces.len() == 2), "{error}");
    let error = Sender::open(a, "nosuchnic0", SendOptions::default()).unwrap_err();
    assert!(matches!(error, SenderError::NoInterface { .. }), "{error}");
}

#[test]
fn kernel_stamps_come_where_asked_for() {
    let a = group();
    let options = ReceiveOptions::default().with_kernel_stamps(true);
    let (mut live, _watch) = Live::open(&feed(&[line("A", &[a])]), &options).unwrap();
    let before = Clock::start().now();
    let mut sender = sender(a);
    // the kernel begins to stamp a moment after it was asked to
    let mut stamped = false;
    wait_for("a stamp", || {
        send(&mut sender, b"?");
        live.poll(&mut |d| stamped = d.kernel_stamp.is_some()).unwrap();
        stamped
    });
    (0..40u8).for_each(|n| send(&mut sender, &[n]));
    let mut stamps = Vec::new();
    let mut poll =
        || live.poll(&mut |d| stamps.push((d.payload[0], d.kernel_stamp.unwrap().software.unwrap()))).unwrap().full;
    assert_eq!([poll(), poll(), poll()], [true, false, false]);
    assert_eq!(stamps.iter().map(|&(n, _)| n).collect::<Vec<_>>(), (0..40).collect::<Vec<u8>>());
    // the wall clock may have been stepped in between: an hour is near enough to tell the unit and the epoch
    assert!(stamps.iter().all(|&(_, stamp)| stamp.abs_diff(before) < Nanos::from_secs(3_600)), "{stamps:?}");
}

#[test]
fn a_sender_counts_what_passes_and_refuses_what_cannot_be_sent() {
    let at = SocketAddrV4::new(Ipv4Addr::LOCALHOST, free_port());
    let mut unheard = sender(at);
    send(&mut unheard, b"first");
    assert_eq!(unheard.send(b"second").unwrap(), Some(SendTrouble::Nobody));
    assert_eq!((unheard.facts().datagrams, unheard.facts().nobody), (1, 1));

    let mut sender = sender(group());
    let error = sender.send(&[0; 65_508]).unwrap_err();
    assert!(matches!(error, SenderError::Refused { bytes: 65_508, .. }), "{error}");
    let error = sender.send_batch(&[b"fits", &[0; 65_508]]).unwrap_err();
    assert!(matches!(error, SenderError::Refused { bytes: 65_508, .. }), "{error}");
    assert_eq!((sender.facts().datagrams, sender.facts().bytes), (1, 4));
}
