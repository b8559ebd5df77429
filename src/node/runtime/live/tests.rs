//! The loop over a scripted source and clock.

use std::collections::VecDeque;
use std::net::SocketAddrV4;

use twinline_client::{CAPACITY_MIN, Client, FeedFacts, Item, Polled, StreamKind};
use twinline_core::arbiter::{Event, Run};
use twinline_core::frame::{Line, Session};
use twinline_core::framing::MoldUdp64;

use super::*;
use crate::config::Feed;
use crate::source::Pass;

const FEED: &str = r#"
name = "x"
framing = "moldudp64"
[[line]]
name = "A"
groups = ["239.1.1.1:1"]
interface = "lo"
[[line]]
name = "B"
groups = ["239.1.1.2:1"]
interface = "lo"
"#;

fn feed() -> Feed {
    Feed::parse(FEED).unwrap()
}

fn datagram(first: u64, message: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    MoldUdp64.encode(Session::text(b"S"), first, &[message], 60_000, &mut out);
    out
}

/// A pass per entry: what it brings.
struct Passes(VecDeque<Vec<(u8, Vec<u8>)>>);

impl Source for Passes {
    fn poll(&mut self, take: &mut impl FnMut(Datagram<'_>)) -> io::Result<Pass> {
        let Some(pass) = self.0.pop_front() else { return Ok(Pass { ended: true, ..Pass::default() }) };
        let source = SocketAddrV4::new([10, 0, 0, 1].into(), 1);
        for (line, payload) in &pass {
            let line = Line(*line);
            take(Datagram { line, group: 0, source, stamp: None, kernel_stamp: None, payload });
        }
        Ok(Pass { datagrams: pass.len(), full: false, ended: false })
    }
}

/// A microsecond per reading; does something when a pass found nothing.
struct Script<'a> {
    at: u64,
    taken: Vec<(u64, u8)>,
    when_idle: Box<dyn FnMut() + 'a>,
}

impl LiveHooks for Script<'_> {
    fn now(&mut self) -> Nanos {
        self.at += 1_000;
        Nanos(self.at)
    }

    fn datagram(&mut self, stamp: Nanos, datagram: &Datagram<'_>) {
        self.taken.push((stamp.0, datagram.line.0));
    }

    fn idle(&mut self) {
        (self.when_idle)();
    }

    fn go_on(&mut self, _: &Arbiter, _: usize) -> bool {
        true
    }
}

fn script<'a>(when_idle: impl FnMut() + 'a) -> Script<'a> {
    Script { at: 0, taken: Vec::new(), when_idle: Box::new(when_idle) }
}

fn items(client: &mut Client) -> Vec<String> {
    let mut items = Vec::new();
    loop {
        items.push(match client.poll().unwrap() {
            Polled::Item(Item::Message(message)) => format!("message {}", message.sequence),
            Polled::Item(Item::Overrun(overrun)) => format!("overrun {}", overrun.range),
            Polled::Item(Item::Event(_)) => continue,
            Polled::Item(other) => format!("{other:?}"),
            Polled::Empty | Polled::Ended => return items,
        });
    }
}

#[test]
fn a_slow_client_learns_of_its_overrun_when_nothing_comes_any_more() {
    let facts = FeedFacts { packing: MoldUdp64.packing(), feed: "x".into(), lines: vec!["A".into(), "B".into()] };
    let (mut delivery, client) = twinline_client::open(&facts, StreamKind::Ordered.into(), CAPACITY_MIN).unwrap();
    let client = std::cell::RefCell::new(client);
    // more than the ring holds, while nobody reads; then passes that find nothing
    let message = vec![7; 50_000];
    let mut passes: VecDeque<Vec<(u8, Vec<u8>)>> =
        (1..=40).map(|number| vec![(0, datagram(number, &message))]).collect();
    passes.extend([vec![], vec![], vec![]]);
    let seen = std::cell::RefCell::new(Vec::new());
    let mut hooks = script(|| seen.borrow_mut().push(items(&mut client.borrow_mut())));
    let mut handler = Handler::new(MoldUdp64, &feed());
    live(&mut handler, &mut Passes(passes), &mut hooks, &mut delivery).unwrap();
    drop(hooks);
    let [first, second, third, ..] = &seen.borrow()[..] else { panic!("three idle passes") };
    let read = first.len() as u64;
    assert!((10..40).contains(&read) && first.iter().all(|item| item.starts_with("message")), "{first:?}");
    assert_eq!(*second, [format!("overrun [{}, 41)", read + 1)], "no record came after the client had made room");
    assert!(third.is_empty());
    assert_eq!(client.borrow_mut().poll(), Ok(Polled::Ended), "the sink is closed, though it is still there");
}

/// What a live run and a recording have in common: the stamps.
#[test]
fn a_recording_has_the_stamps_of_a_live_run() {
    struct Nothing;
    impl Sink for Nothing {
        fn event(&mut self, _: &Event) {}
        fn release(&mut self, _: &Run<'_>) {}
    }
    let feed = Feed::parse(&format!("{FEED}[arbiter]\ngap_timeout = \"1ms\"\n")).unwrap();
    let passes = || {
        let brings =
            |n: u64| if n.is_multiple_of(3) { vec![] } else { vec![((n % 2) as u8, datagram(1 + n / 2, b"m"))] };
        Passes((0..20).map(brings).collect())
    };
    let mut handler = Handler::new(MoldUdp64, &feed);
    let mut lively = script(|| ());
    let end = live(&mut handler, &mut passes(), &mut lively, &mut Nothing).unwrap();
    let mut recording = script(|| ());
    let settings = crate::handler::settings(&feed, MoldUdp64.rules());
    assert_eq!(record(settings, &mut passes(), &mut recording).unwrap(), end);
    assert_eq!(recording.taken, lively.taken);
    assert_eq!((lively.taken.len(), end.at), (13, Some(Nanos(21_000))));
}
