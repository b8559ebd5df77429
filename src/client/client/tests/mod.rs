//! The stream as a client reads it: what an arbiter's sink is told, and the exact list that comes out.

mod roster;

use std::thread;

use super::*;
use crate::delivery::{BODY_MAX, CAPACITY_DEFAULT, CAPACITY_MIN, Deliveries, StreamKind};
use crate::ring::Shape;
use twinline_core::SeqRange;
use twinline_core::arbiter::{EpochEndReason, EventKind, LagReason, LineState, LostReason, Run, Sink};
use twinline_core::frame::{ChannelKey, Packing};

const AT: ChannelRef = ChannelRef { index: 0, key: ChannelKey { group: 0, key: None } };
const KEYED: ChannelRef = ChannelRef { index: 7, key: ChannelKey { group: 2, key: Some(3) } };
const ALL: Wants = Wants { stream: StreamKind::Full, late: true };

fn facts() -> FeedFacts {
    FeedFacts { packing: Packing::LENGTH_BE16, feed: "test".into(), lines: vec!["A".into(), "B".into()] }
}

fn pair(wants: impl Into<Wants>) -> (Delivery, Client) {
    open(&facts(), wants.into(), CAPACITY_MIN).unwrap()
}

fn session(name: &str) -> Session {
    Session::text(name.as_bytes())
}

fn range(first: u64, end: u64) -> SeqRange {
    SeqRange::new(SeqNo(first), SeqNo(end))
}

fn pack(messages: &[&[u8]]) -> Vec<u8> {
    let mut body = Vec::new();
    for message in messages {
        body.extend_from_slice(&(message.len() as u16).to_be_bytes());
        body.extend_from_slice(message);
    }
    body
}

/// A run from `first` on in session `S`, on line A at that many nanoseconds.
fn run(first: u64, count: u32, body: &[u8]) -> Run<'_> {
    Run {
        channel: AT,
        session: session("S"),
        first: SeqNo(first),
        count,
        line: Line(0),
        stamp: Nanos(first),
        flags: RunFlags::default(),
        packing: Packing::LENGTH_BE16,
        body,
    }
}

fn loss(first: u64, end: u64) -> Loss {
    Loss { channel: AT, session: session("S"), range: range(first, end), reason: LostReason::Settled, at: Nanos(5) }
}

fn event(channel: ChannelRef, kind: EventKind) -> Event {
    Event { at: Nanos(9), channel, kind }
}

fn events() -> Vec<Event> {
    let (opened_by, opened_at) = (Line(1), Nanos(3));
    vec![
        event(AT, EventKind::Epoch { session: session("S"), first: SeqNo(1) }),
        event(AT, EventKind::Gap { range: range(3, 5), line: Line(1) }),
        event(AT, EventKind::Filled { range: range(3, 4), line: Line::RECOVERY, opened_by, opened_at }),
        event(AT, EventKind::Lost { range: range(4, 5), reason: LostReason::Finish, opened_by, opened_at }),
        event(KEYED, EventKind::Ended { session: Session::number(8), next: SeqNo(9) }),
        event(AT, EventKind::EpochEnd { session: session("S"), next: SeqNo(9), why: EpochEndReason::Restart }),
        event(
            KEYED,
            EventKind::Line {
                line: Line(0),
                from: LineState::Up,
                to: LineState::Lagging,
                why: Some(LagReason::Frozen),
            },
        ),
        event(AT, EventKind::Line { line: Line(0), from: LineState::Waiting, to: LineState::OtherSession, why: None }),
        event(
            AT,
            EventKind::Divergence {
                number: SeqNo(7),
                line: Line(1),
                other: Line::RECOVERY,
                hash: u32::MAX,
                other_hash: 0x8000_0001,
            },
        ),
    ]
}

/// Everything that there is now, a line an item.
fn read(client: &mut Client) -> Vec<String> {
    let mut out = Vec::new();
    while let Polled::Item(item) = client.poll().unwrap() {
        out.push(show(item));
    }
    out
}

fn show(item: Item<'_>) -> String {
    match item {
        Item::Message(m) => {
            let text = if m.bytes.len() > 20 {
                format!("<{}>", m.bytes.len())
            } else {
                String::from_utf8_lossy(m.bytes).into_owned()
            };
            let mut flags = String::new();
            let RunFlags { heartbeat, late, unsequenced, held } = m.flags;
            for (set, name) in
                [(heartbeat, " heartbeat"), (late, " late"), (unsequenced, " unsequenced"), (held, " held")]
            {
                if set {
                    flags.push_str(name);
                }
            }
            format!("{} {} {} {text}{flags}", m.channel.key, m.session, m.sequence)
        }
        Item::Loss(l) => format!("loss {} {}", l.session, l.range),
        Item::Jump(j) => format!("jump {} {}", j.session, j.range),
        Item::Event(e) => e.json(&facts().lines).to_string().split_once("event\":").unwrap().1.to_owned(),
        Item::Overrun(o) => format!(
            "overrun {} {} {} {} messages, {} events, {} epochs",
            o.channel.key, o.session, o.range, o.messages, o.events, o.epochs
        ),
    }
}

#[test]
fn a_run_is_walked_message_by_message() {
    let (mut delivery, mut client) = pair(StreamKind::Ordered);
    assert_eq!(client.facts(), &facts());
    assert_eq!(client.poll(), Ok(Polled::Empty));
    let body = pack(&[b"one", b"", b"three"]);
    let flags = RunFlags { held: true, ..RunFlags::default() };
    delivery.release(&Run { line: Line(1), stamp: Nanos(77), flags, ..run(5, 3, &body) });
    let message = |sequence, bytes| Message {
        channel: AT,
        session: session("S"),
        sequence: SeqNo(sequence),
        line: Line(1),
        stamp: Nanos(77),
        flags,
        bytes,
    };
    assert_eq!(client.poll(), Ok(Polled::Item(Item::Message(message(5, b"one")))));
    assert_eq!(client.poll(), Ok(Polled::Item(Item::Message(message(6, b"")))));
    assert_eq!(client.poll(), Ok(Polled::Item(Item::Message(message(7, b"three")))));
    assert_eq!(client.poll(), Ok(Polled::Empty));
    delivery.release(&run(8, 1, &pack(&[b""])));
    drop(delivery);
    assert_eq!(read(&mut client), ["0 S 8 "]);
    assert_eq!(client.poll(), Ok(Polled::Ended));
    assert_eq!(client.poll(), Ok(Polled::Ended));
}

#[test]
fn sessions_and_channels_are_told_before_they_are_needed() {
    let (mut delivery, mut client) = pair(StreamKind::Ordered);
    let body = pack(&[b"x"]);
    delivery.release(&run(1, 1, &body));
    delivery.release(&Run { channel: KEYED, session: Session::number(8), ..run(1, 1, &body) });
    delivery.release(&run(2, 1, &body));
    delivery.release(&Run { session: session("T"), ..run(1, 1, &body) });
    delivery.event(&event(KEYED, EventKind::Gap { range: range(2, 4), line: Line(0) }));
    delivery.loss(&Loss { channel: KEYED, session: Session::number(8), ..loss(2, 4) });
    delivery.unsequenced(&Run {
        flags: RunFlags { unsequenced: true, ..RunFlags::default() },
        session: Session::NONE,
        ..run(0, 1, &body)
    });
    assert_eq!(
        read(&mut client),
        [
            "0 S 1 x",
            "2.3 8 1 x",
            "0 S 2 x",
            "0 T 1 x",
            r#""gap","first":2,"end":4,"line":"A"}"#,
            "loss 8 [2, 4)",
            "0  0 x unsequenced",
        ]
    );
}

#[test]
fn the_ordered_output_has_losses_in_their_place_and_lost_events_not_again() {
    let (mut delivery, mut client) = pair(StreamKind::Ordered);
    let body = pack(&[b"x"]);
    for event in events() {
        delivery.event(&event);
    }
    delivery.loss(&loss(4, 5));
    delivery.release(&run(5, 1, &body));
    delivery.late(&run(4, 1, &body));
    delivery.first(&run(9, 1, &body));
    delivery.first_gap(Nanos(1), AT, session("S"), range(6, 9));
    let expected = [
        r#""epoch","session":"S","first":1}"#,
        r#""gap","first":3,"end":5,"line":"B"}"#,
        r#""filled","first":3,"end":4,"line":"recovery"}"#,
        r#""ended","session":"8","next":9}"#,
        r#""epoch_end","session":"S","next":9,"why":"restart"}"#,
        r#""line","line":"A","from":"up","to":"lagging","why":"frozen"}"#,
        r#""line","line":"A","from":"waiting","to":"other session","why":null}"#,
        r#""divergence","number":7,"line":"B","other":"recovery","hash":"ffffffff","other_hash":"80000001"}"#,
        "loss S [4, 5)",
        "0 S 5 x",
    ];
    assert_eq!(read(&mut client), expected);

    let (mut delivery, mut client) = pair(Wants { stream: StreamKind::Ordered, late: true });
    delivery.late(&Run { flags: RunFlags { late: true, ..RunFlags::default() }, ..run(4, 1, &body) });
    assert_eq!(read(&mut client), ["0 S 4 x late"]);
}

#[test]
fn rule_3_3_the_first_copy_output_has_jumps_and_nothing_of_the_ordered_one() {
    let (mut delivery, mut client) = pair(StreamKind::First);
    let body = pack(&[b"x"]);
    for event in events() {
        delivery.event(&event);
    }
    delivery.loss(&loss(4, 5));
    delivery.release(&run(5, 1, &body));
    delivery.late(&run(4, 1, &body));
    delivery.first(&run(2, 1, &body));
    delivery.first_gap(Nanos(1), AT, session("S"), range(3, 9));
    delivery.first(&run(9, 1, &body));
    delivery.first(&Run { flags: RunFlags { late: true, ..RunFlags::default() }, ..run(4, 1, &body) });
    let read = read(&mut client);
    assert_eq!(read[6..], ["0 S 2 x", "jump S [3, 9)", "0 S 9 x"]);
    assert!(read[..6].iter().all(|line| !line.starts_with("\"gap") && !line.starts_with("\"filled")), "{read:?}");
}

/// A sink that writes down its calls.
#[derive(Debug, Default, PartialEq)]
struct Calls(Vec<String>);

impl Sink for Calls {
    fn event(&mut self, event: &Event) {
        self.0.push(format!("{event:?}"));
    }
    fn release(&mut self, run: &Run<'_>) {
        self.0.push(format!("release {run:?}"));
    }
    fn loss(&mut self, loss: &Loss) {
        self.0.push(format!("{loss:?}"));
    }
    fn late(&mut self, run: &Run<'_>) {
        self.0.push(format!("late {run:?}"));
    }
    fn unsequenced(&mut self, run: &Run<'_>) {
        self.0.push(format!("unsequenced {run:?}"));
    }
}

#[test]
fn the_full_output_makes_the_sinks_calls_again() {
    let (delivery, mut client) = pair(ALL);
    let mut deliveries = Deliveries::fixed(vec![delivery]);
    let mut calls = Calls::default();
    let body = pack(&[b"one", b"two"]);
    fn tell(sink: &mut impl Sink, body: &[u8]) {
        let whole = Run { packing: Packing::WHOLE, count: 1, ..run(30, 1, b"all of it") };
        for (i, event) in events().iter().enumerate() {
            sink.event(event);
            sink.release(&run(10 + 2 * i as u64, 2, body));
            sink.loss(&loss(4, 5));
        }
        sink.late(&Run { flags: RunFlags { late: true, heartbeat: true, ..RunFlags::default() }, ..run(3, 2, body) });
        sink.unsequenced(&Run { channel: KEYED, ..run(3, 2, body) });
        sink.release(&whole);
        sink.release(&run(31, 2, body));
    }
    tell(&mut deliveries, &body);
    tell(&mut calls, &body);
    let mut again = Calls::default();
    while let Polled::Item(record) = client.poll_record().unwrap() {
        record.replay(&mut again);
    }
    assert_eq!(again, calls);
}

#[test]
fn the_largest_datagram_passes() {
    let (mut delivery, mut client) = open(&facts(), StreamKind::Ordered.into(), CAPACITY_DEFAULT).unwrap();
    let large: Vec<u8> = (0..BODY_MAX - 2).map(|i| i as u8).collect();
    let body = [&(large.len() as u16).to_be_bytes(), large.as_slice()].concat();
    let whole = vec![7; BODY_MAX];
    for n in 0..500 {
        delivery.release(&run(2 * n + 1, 1, &body));
        delivery.release(&Run { packing: Packing::WHOLE, ..run(2 * n + 2, 1, &whole) });
        for bytes in [&large, &whole] {
            let Ok(Polled::Item(Item::Message(message))) = client.poll() else { panic!("a message") };
            assert!(message.bytes == bytes);
        }
        assert_eq!(client.poll(), Ok(Polled::Empty));
    }
    assert_eq!(delivery.dropped(), delivery::Dropped::default());
}

/// Messages of 16,384 bytes from `first` on until one does not fit; the first number that was dropped.
fn fill(delivery: &mut Delivery, first: u64) -> u64 {
    let body = pack(&[&[b'f'; 16_384]]);
    let dropped = delivery.dropped().messages;
    let mut n = first;
    while delivery.dropped().messages == dropped {
        delivery.release(&run(n, 1, &body));
        n += 1;
    }
    n - 1
}

fn read_some(client: &mut Client, count: usize) -> Vec<String> {
    (0..count)
        .map(|_| match client.poll().unwrap() {
            Polled::Item(item) => show(item),
            other => panic!("{other:?}"),
        })
        .collect()
}

#[test]
fn a_slow_client_reads_what_it_had_room_for_then_its_overruns_then_goes_on() {
    let (mut delivery, mut client) = pair(StreamKind::Ordered);
    let body = pack(&[b"one", b"two"]);
    let end = fill(&mut delivery, 1);
    assert_eq!(end, 58, "57 of 16,448 bytes fit beside what is kept free");
    // all of this is dropped: it would fit, but a quarter is not free
    delivery.release(&run(61, 2, &body));
    delivery.event(&events()[1]);
    delivery.loss(&loss(63, 70));
    delivery.event(&event(KEYED, EventKind::Ended { session: Session::number(8), next: SeqNo(9) }));
    delivery.event(&events()[5]);
    delivery.event(&event(AT, EventKind::Epoch { session: session("T"), first: SeqNo(1) }));
    delivery.release(&Run { session: session("T"), ..run(1, 2, &body) });
    delivery.late(&run(4, 2, &body)); // not asked for, so not missed

    // ten are read, and nine given back: 110,912 and 148,032 bytes are free, not yet a quarter
    let read_first = read_some(&mut client, 10);
    assert_eq!(read_first, (1..=10).map(|n| format!("0 S {n} <16384>")).collect::<Vec<_>>());
    assert!(!delivery.settle());
    delivery.release(&Run { session: session("T"), ..run(3, 2, &body) });
    read_some(&mut client, 1);
    assert_eq!(delivery.dropped(), delivery::Dropped { overruns: 1, messages: 7, events: 5 });
    delivery.release(&Run { session: session("T"), ..run(5, 2, &body) });
    assert_eq!(delivery.dropped().messages, 7);

    let mut expected: Vec<_> = (12..58).map(|n| format!("0 S {n} <16384>")).collect();
    expected.extend(
        [
            "overrun 0 S [58, 70) 3 messages, 3 events, 0 epochs",
            "overrun 2.3  [0, 0) 0 messages, 1 events, 0 epochs",
            "overrun 0 T [1, 5) 4 messages, 1 events, 0 epochs",
            "0 T 5 one",
            "0 T 6 two",
        ]
        .map(String::from),
    );
    assert_eq!(read(&mut client), expected);
    assert!(delivery.settle());
}

/// Fails when [`Sink::after_pass`] leaves out [`Delivery::settle`], of one writer or of a set.
#[test]
fn the_idle_hook_alone_reports_an_overrun_to_a_client_that_has_drained() {
    fn report(mut sink: impl Sink, client: &mut Client, end: u64) {
        for _ in 0..3 {
            sink.after_pass(0);
        }
        let held = read_some(client, 1);
        assert_eq!(held, ["0 S 1 <16384>"]);
        sink.after_pass(0);
        let held = read(client);
        assert_eq!(
            held.last(),
            Some(&format!("0 S {} <16384>", end - 1)),
            "the ring was full: nothing fits before it is read"
        );
        sink.after_pass(0);
        assert_eq!(read(client), [format!("overrun 0 S [{end}, {}) 1 messages, 0 events, 0 epochs", end + 1)]);
        sink.after_pass(0);
        assert_eq!(client.poll(), Ok(Polled::Empty), "once");
        sink.release(&run(end + 1, 1, &pack(&[b"x"])));
        assert_eq!(read(client), [format!("0 S {} x", end + 1)]);
    }
    let (mut delivery, mut client) = pair(StreamKind::Ordered);
    let end = fill(&mut delivery, 1);
    report(delivery, &mut client, end);

    let (mut delivery, mut client) = pair(StreamKind::Ordered);
    let end = fill(&mut delivery, 1);
    report(Deliveries::fixed(vec![delivery]), &mut client, end);

    let (mut delivery, mut client) = pair(StreamKind::Ordered);
    let end = fill(&mut delivery, 1);
    let (deliveries, mut roster) = Deliveries::new(1);
    roster.attach(delivery).unwrap();
    report(deliveries, &mut client, end);
}

#[test]
fn all_possible_overrun_records_fit_in_the_reserve_when_the_writer_goes() {
    for lead in 0..40 {
        let (mut delivery, mut client) = pair(StreamKind::Ordered);
        // so that the wrap falls elsewhere each time
        let small = pack(&[&[0; 100]]);
        for n in 0..100 * lead {
            delivery.release(&run(n + 1, 1, &small));
            assert_eq!(read(&mut client).len(), 1);
        }
        let end = fill(&mut delivery, 1 + 100 * lead);
        for index in 0..256u16 {
            let channel = ChannelRef { index, key: ChannelKey { group: index, key: None } };
            for name in ["S", "T", "U", "V"] {
                delivery.release(&Run { channel, session: session(name), ..run(1 + end, 1, &small) });
            }
        }
        drop(delivery);
        let read = read(&mut client);
        let overruns: Vec<_> = read.iter().filter(|line| line.starts_with("overrun")).collect();
        assert_eq!(overruns.len(), 512);
        assert_eq!(overruns[0], &format!("overrun 0 S [{end}, {}) 2 messages, 0 events, 0 epochs", end + 2));
        assert_eq!(overruns[511], &format!("overrun 255 V [{}, {}) 3 messages, 0 events, 2 epochs", end + 1, end + 2));
        assert_eq!(client.poll(), Ok(Polled::Ended));
    }
}

#[test]
fn numbers_that_fall_back_are_another_epochs_overrun() {
    let (mut delivery, mut client) = pair(StreamKind::Ordered);
    let end = fill(&mut delivery, 1);
    delivery.release(&run(1, 1, &pack(&[b"restart, same session"])));
    drop(delivery);
    let read = read(&mut client);
    let told = [
        format!("overrun 0 S [{end}, {}) 1 messages, 0 events, 0 epochs", end + 1),
        "overrun 0 S [1, 2) 1 messages, 0 events, 0 epochs".into(),
    ];
    assert_eq!(read[read.len() - 2..], told);
}

#[test]
fn a_client_that_went_is_no_burden() {
    let (mut delivery, client) = pair(StreamKind::Ordered);
    assert!(!delivery.client_gone());
    drop(client);
    fill(&mut delivery, 1);
    assert!(delivery.client_gone());
    assert!(!delivery.settle());
}

/// A ring whose records the test writes itself.
fn forged(records: &[&[u8]]) -> Client {
    let shape = Shape { capacity: CAPACITY_MIN, record_max: delivery::RECORD_MAX };
    let (mut producer, consumer) = ring::heap(shape, &facts().to_bytes()).unwrap();
    for record in records {
        producer.write(b"", record).unwrap();
    }
    Client::new(consumer).unwrap()
}

#[test]
fn broken_content_is_an_error_once_and_then_the_end() {
    let channel: &[u8] = &[&[5u8] as &[u8], &[0; 71]].concat();
    let run = |count: u8, body: &[u8]| [&[1, 0, 0, 0, count, 0, 0, 0], [0; 16].as_slice(), body].concat();
    let short = run(3, b"\x00\x01a\x00\x01b\x00\x09c");
    let mut client = forged(&[channel, &short]);
    assert_eq!(read_some(&mut client, 2), ["0  0 a", "0  1 b"]);
    let broken = BrokenStream::Record(delivery::BrokenRecord::Messages { count: 3 });
    assert_eq!(client.poll(), Err(broken));
    assert_eq!(client.poll(), Ok(Polled::Ended));
    assert!(matches!(client.poll_record(), Ok(Polled::Ended)));

    let mut client = forged(&[channel, &short]);
    assert_eq!(client.poll_record().map(|_| ()), Err(broken));
    assert!(matches!(client.poll_record(), Ok(Polled::Ended)));

    for records in [&[short.as_slice()] as &[&[u8]], &[b""], &[b"\x63"], &[channel, &[9; 72]]] {
        let mut client = forged(records);
        assert!(matches!(client.poll(), Err(BrokenStream::Record(_))));
        assert_eq!(client.poll(), Ok(Polled::Ended));
    }
    // nothing but names, and runs of nothing: no item, no error, no hang
    let mut client = forged(&vec![channel; 1000]);
    assert!((0..3).all(|_| client.poll() == Ok(Polled::Empty)));
    assert_eq!(client.poll(), Ok(Polled::Ended));
    assert_eq!(read(&mut forged(&[channel, &run(0, b""), &run(1, b"\x00\x01a")])), ["0  0 a"]);
    // a ring with other facts
    let (_, consumer) = ring::heap(Shape { capacity: CAPACITY_MIN, record_max: 1 }, b"").unwrap();
    assert_eq!(Client::new(consumer).err(), Some(ClientError::Facts(FactsError)));
}

#[test]
fn two_threads_a_million_messages() {
    const RUNS: u64 = 65_536;
    let (delivery, mut client) = open(&facts(), StreamKind::Ordered.into(), CAPACITY_MIN).unwrap();
    let writer = thread::spawn(move || {
        let mut deliveries = Deliveries::fixed(vec![delivery]);
        let mut body = Vec::new();
        for n in 0..RUNS {
            body.clear();
            for m in n * 16..(n + 1) * 16 {
                body.extend_from_slice(&[0, 8]);
                body.extend_from_slice(&m.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes());
            }
            deliveries.release(&run(n * 16, 16, &body));
            if n % 64 == 0 {
                thread::yield_now();
            }
        }
    });
    let (mut next, mut overruns) = (0, 0);
    loop {
        match client.poll().unwrap() {
            Polled::Item(Item::Message(message)) => {
                assert_eq!(message.sequence.0, next);
                assert_eq!(message.bytes, next.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes());
                next += 1;
            }
            Polled::Item(Item::Overrun(overrun)) => {
                assert_eq!(overrun.range.first.0, next);
                assert_eq!(overrun.range.len(), overrun.messages);
                next = overrun.range.end.0;
                overruns += 1;
            }
            Polled::Item(item) => panic!("{item:?}"),
            Polled::Empty => thread::yield_now(),
            Polled::Ended => break,
        }
    }
    writer.join().unwrap();
    assert_eq!(next, RUNS * 16, "every message was read, or told of in one of {overruns} overruns");
}
