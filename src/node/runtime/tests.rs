//! The runtime over loopback: clients that come and go, counters, a recording. Everything waits for a condition.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use twinline_client::counters::Counter;
use twinline_client::{CAPACITY_MIN, Item, Polled, StreamKind};
use twinline_core::arbiter::{Event, GapTimeout, Run};
use twinline_core::frame::{Line, Session};
use twinline_core::framing::{AnyFraming, MoldUdp64};

use super::*;
use crate::config::LineConfig;
use crate::wire::{UdpWire, Wire};

/// How long a condition may take on a machine that is busy.
const BOUND: Duration = Duration::from_secs(60);

/// Two lines on groups that belong to this process, whatever other runs of the suite do meanwhile.
fn feed(port: u16) -> Feed {
    let [low, high, ..] = std::process::id().to_le_bytes();
    let line = |name: &str, at: u8| {
        let group = SocketAddrV4::new(Ipv4Addr::new(239, 180 + at, high, low), port);
        LineConfig::new(name, vec![group], "127.0.0.1").with_source(Ipv4Addr::LOCALHOST)
    };
    let mut feed = Feed::new("x", MoldUdp64.into(), vec![line("A", 1), line("B", 2)]);
    feed.arbiter.gap_timeout = GapTimeout::After(Nanos::from_millis(50));
    feed
}

/// Sends on both lines.
struct Publisher {
    wire: UdpWire,
    next: u64,
}

impl Publisher {
    fn new(feed: &Feed) -> Publisher {
        Publisher { wire: UdpWire::open(feed).unwrap(), next: 1 }
    }

    fn send(&mut self) -> u64 {
        let mut datagram = Vec::new();
        MoldUdp64.encode(Session::text(b"S"), self.next, &[b"message"], 1_400, &mut datagram);
        for line in 0..2 {
            self.wire.send(Line(line), 0, &datagram).unwrap();
        }
        self.next += 1;
        self.next - 1
    }

    fn end(&mut self) {
        let mut datagram = Vec::new();
        MoldUdp64.encode_end(Session::text(b"S"), self.next, &mut datagram);
        for line in 0..2 {
            self.wire.send(Line(line), 0, &datagram).unwrap();
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "a bound on waiting, not a measurement")]
fn until(mut condition: impl FnMut() -> bool) {
    let start = std::time::Instant::now();
    while !condition() {
        assert!(start.elapsed() < BOUND, "the condition did not come about");
        thread::yield_now();
    }
}

/// Reads what is there; the messages' numbers.
fn read(client: &mut Client, into: &mut Vec<u64>) -> bool {
    loop {
        match client.poll().unwrap() {
            Polled::Item(Item::Message(message)) => into.push(message.sequence.0),
            Polled::Item(_) => {}
            Polled::Empty => return true,
            Polled::Ended => return false,
        }
    }
}

#[test]
fn clients_come_and_go_while_it_runs() {
    let feed = feed(26_490);
    let mut publisher = Publisher::new(&feed);
    let mut runtime = Runtime::new(feed).until_end(true);
    let mut first = runtime.client(StreamKind::Ordered).unwrap();
    let (running, mut clients) = runtime.start().unwrap();
    let (mut by_first, mut by_second) = (Vec::new(), Vec::new());
    for number in [publisher.send(), publisher.send(), publisher.send()] {
        until(|| read(&mut first, &mut by_first) && by_first.last() >= Some(&number));
    }
    let (id, mut second) = clients.attach(StreamKind::Ordered, CAPACITY_MIN).unwrap();
    // it has been taken up once a message reaches it
    until(|| {
        publisher.send();
        read(&mut second, &mut by_second) && !by_second.is_empty()
    });
    assert!(clients.detach(id));
    until(|| !read(&mut second, &mut by_second));
    until(|| clients.collect() == 1 || clients.ids().count() == 1);
    let last = publisher.send();
    publisher.end();
    until(|| {
        publisher.end();
        !read(&mut first, &mut by_first)
    });
    assert_eq!(by_first, (1..=last).collect::<Vec<_>>());
    assert!(by_second[0] > 3 && by_second.windows(2).all(|pair| pair[1] == pair[0] + 1), "{by_second:?}");
    let counters = running.counters().clone();
    let ended = running.join().unwrap();
    assert!(ended.error.is_none());
    assert_eq!(counters.total(Counter::FirstArrivals), last);
    assert_eq!(ended.arbiter.channels().next().unwrap().epochs.last().unwrap().next.0, last + 1);
}

#[test]
fn a_sink_of_ones_own_comes_back_and_is_closed() {
    #[derive(Default)]
    struct Counting {
        messages: u64,
        passes: u64,
        closed: bool,
    }
    impl Sink for Counting {
        fn event(&mut self, _: &Event) {}
        fn release(&mut self, run: &Run<'_>) {
            self.messages += u64::from(run.count);
        }
        fn after_pass(&mut self, _: usize) {
            self.passes += 1;
        }
        fn close(&mut self) {
            self.closed = true;
        }
    }
    let feed = feed(26_491);
    let mut publisher = Publisher::new(&feed);
    let joined = Runtime::new(feed).join_lines().unwrap();
    let framing: AnyFraming = MoldUdp64.into();
    let running = joined.start_as(framing, Counting::default()).unwrap();
    publisher.send();
    let counters = running.counters().clone();
    until(|| counters.total(Counter::FirstArrivals) == 1 && counters.total(Counter::Duplicate) == 1);
    let pulse = counters.get(Counter::Pulse);
    until(|| counters.get(Counter::Pulse) > pulse);
    running.stop();
    let ended = running.join().unwrap();
    assert!(ended.sink.closed && ended.sink.passes > 0);
    assert_eq!((ended.sink.messages, ended.source.lines[0].datagrams, ended.source.lines[1].datagrams), (1, 1, 1));
    assert!(ended.at.is_some() && ended.lines.len() == 2);
}

#[test]
fn hooks_see_every_datagram_and_can_end_the_run() {
    struct UntilThree(u64);
    impl RuntimeHooks for UntilThree {
        fn datagram(&mut self, _: Nanos, datagram: &crate::source::Datagram<'_>) {
            self.0 += u64::from(datagram.line == Line(0));
        }
        fn go_on(&mut self, _: &Arbiter, _: usize) -> bool {
            self.0 < 3
        }
    }
    let feed = feed(26_494);
    let mut publisher = Publisher::new(&feed);
    let joined = Runtime::new(feed).join_lines().unwrap();
    let running = joined.start_hooked(MoldUdp64, Deliveries::fixed(Vec::new()), UntilThree(0)).unwrap();
    (0..3).for_each(|_| {
        publisher.send();
    });
    assert_eq!(running.join().unwrap().source.lines[0].datagrams, 3);
}

#[test]
fn a_run_that_nobody_holds_any_more_ends() {
    let mut runtime = Runtime::new(feed(26_493));
    let mut client = runtime.client(StreamKind::Ordered).unwrap();
    let (running, _clients) = runtime.start().unwrap();
    assert!(!running.is_finished());
    drop(running);
    let mut none = Vec::new();
    until(|| !read(&mut client, &mut none));
    assert!(none.is_empty());
}

#[test]
fn what_cannot_be_is_refused_before_anything_starts() {
    let mut runtime = Runtime::new(feed(26_492));
    let _client = runtime.client(StreamKind::Ordered).unwrap();
    struct Nothing;
    impl Sink for Nothing {
        fn event(&mut self, _: &Event) {}
        fn release(&mut self, _: &Run<'_>) {}
    }
    assert!(matches!(runtime.start_with(Nothing), Err(RuntimeError::Clients)));
    let runtime = Runtime::new(feed(26_492)).core(Some(100_000));
    assert!(matches!(runtime.join_lines(), Err(RuntimeError::Core(PinError::NoSuchCore { core: 100_000, .. }))));
}
