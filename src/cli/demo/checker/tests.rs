//! The checker against streams that a client might read: what is fine, and each violation by itself.

use super::*;
use twinline_core::arbiter::{ChannelRef, LostReason, RunFlags};
use twinline_core::frame::{ChannelKey, Line, Session};
use twinline_core::framing::{Framing, MoldUdp64};
use twinline_core::{Nanos, SeqNo};
use twinline_node::publisher::MessageSource;

const CHANNEL: ChannelRef = ChannelRef { index: 0, key: ChannelKey { group: 0, key: None } };
const SENT: u64 = 8;

/// The messages that are sent, number 1 first.
fn sent() -> Vec<Vec<u8>> {
    let (mut source, mut message, mut all) = (MadeUp::new(Some(SENT), None, 5), Vec::new(), Vec::new());
    while source.next(&mut message).unwrap().is_some() {
        all.push(message.clone());
    }
    all
}

/// Both lines bring these numbers, in time.
fn brought(numbers: &[u64]) -> Seen {
    let mut seen = Seen::new(2, SENT, Nanos::from_millis(50));
    for &number in numbers {
        bring(&mut seen, 0, 0, number);
        bring(&mut seen, 0, 1, number);
    }
    seen
}

fn bring(seen: &mut Seen, ms: u64, line: u8, number: u64) {
    let mut bytes = Vec::new();
    MoldUdp64.encode(Session::text(b"S"), number, &[b"m"], 1_400, &mut bytes);
    let frame = MoldUdp64.frame(&bytes, &mut 0).unwrap().unwrap();
    seen.frame(Nanos::from_millis(ms), Line(line), &frame);
}

/// A client's stream, as a test writes it.
struct Stream(Checker);

impl Stream {
    fn new() -> Stream {
        Stream(Checker::new(SENT))
    }

    fn bytes(mut self, number: u64, bytes: &[u8]) -> Stream {
        self.0.read(&Item::Message(Message {
            channel: CHANNEL,
            session: Session::NONE,
            sequence: SeqNo(number),
            line: Line(0),
            stamp: Nanos(1),
            flags: RunFlags::default(),
            bytes,
        }));
        self
    }

    fn messages(self, numbers: impl IntoIterator<Item = u64>) -> Stream {
        let sent = sent();
        numbers.into_iter().fold(self, |stream, number| stream.bytes(number, &sent[number as usize - 1]))
    }

    fn loss(mut self, first: u64, end: u64) -> Stream {
        let range = SeqRange::new(SeqNo(first), SeqNo(end));
        let (session, reason, at) = (Session::NONE, LostReason::Deadline, Nanos(1));
        self.0.read(&Item::Loss(Loss { channel: CHANNEL, session, range, reason, at }));
        self
    }

    fn overrun(mut self, first: u64, end: u64) -> Stream {
        let range = SeqRange::new(SeqNo(first), SeqNo(end));
        let (session, at) = (Session::NONE, Nanos(1));
        let (messages, events, epochs) = (end - first, 0, 0);
        self.0.read(&Item::Overrun(Overrun { at, channel: CHANNEL, session, range, messages, events, epochs }));
        self
    }

    fn judge(self, seen: &Seen) -> Judgement {
        self.0.judge(SENT, seen)
    }

    /// The violations that are found, each with its numbers; a demo that finds one exits 1.
    fn violations(self, seen: &Seen) -> Vec<(Violation, Vec<u64>)> {
        let violations = self.judge(seen).violations;
        let found = |violation: &Violation| {
            (violations.of(*violation).count > 0).then(|| (*violation, violations.of(*violation).first.clone()))
        };
        let list: Vec<_> = Violation::ALL.iter().filter_map(found).collect();
        assert_eq!(violations.exit_code(), u8::from(!list.is_empty()));
        list
    }
}

#[test]
fn all_delivered_is_fine() {
    let stream = Stream::new().messages(1..=8);
    let judgement = stream.judge(&brought(&[1, 2, 3, 4, 5, 6, 7, 8]));
    assert_eq!((judgement.delivered, judgement.reported, judgement.never_came), (8, 0, 0));
    assert_eq!(judgement.violations.exit_code(), 0);
}

#[test]
fn what_no_line_brought_and_was_reported_is_fine() {
    let stream = Stream::new().messages(1..=3).loss(4, 6).messages(6..=8);
    let judgement = stream.judge(&brought(&[1, 2, 3, 6, 7, 8]));
    assert_eq!((judgement.delivered, judgement.reported, judgement.never_came), (6, 2, 2));
    assert_eq!(judgement.violations.exit_code(), 0);
}

#[test]
fn what_came_after_the_gap_timeout_may_be_lost() {
    let mut seen = brought(&[1, 2, 4, 5, 6, 7, 8]);
    bring(&mut seen, 50, 1, 3);
    let judgement = Stream::new().messages(1..=2).loss(3, 4).messages(4..=8).judge(&seen);
    assert_eq!((judgement.late, judgement.never_came, judgement.violations.exit_code()), (1, 0, 0));
}

#[test]
fn a_repeated_message_fails() {
    let seen = brought(&[1, 2, 3, 4, 5, 6, 7, 8]);
    let stream = Stream::new().messages(1..=4).messages([4, 5, 2, 6, 7, 8]);
    assert_eq!(stream.violations(&seen), [(Violation::Repeated, vec![4, 2])]);
}

#[test]
fn messages_out_of_order_fail() {
    let seen = brought(&[1, 2, 3, 4, 5, 6, 7, 8]);
    let stream = Stream::new().messages([1, 2, 4, 3, 5, 6, 7, 8]);
    assert_eq!(stream.violations(&seen), [(Violation::OutOfOrder, vec![3])]);
    let stream = Stream::new().messages([1, 2, 4]).loss(3, 4).messages(5..=8);
    assert_eq!(
        stream.violations(&brought(&[1, 2, 4, 5, 6, 7, 8])),
        [(Violation::OutOfOrder, vec![3])],
        "a loss has its place"
    );
}

#[test]
fn an_altered_message_fails() {
    let seen = brought(&[1, 2, 3, 4, 5, 6, 7, 8]);
    let mut wrong = sent()[2].clone();
    *wrong.last_mut().unwrap() ^= 1;
    let stream = Stream::new().messages(1..=2).bytes(3, &wrong).messages(4..=8);
    assert_eq!(stream.violations(&seen), [(Violation::Altered, vec![3])]);
    let stream = Stream::new().messages(1..=2).bytes(3, &sent()[4]).messages(4..=8);
    assert_eq!(stream.violations(&seen), [(Violation::Altered, vec![3])], "another message's bytes");
    let stream = Stream::new().messages(1..=8).bytes(9, &sent()[7]);
    assert_eq!(stream.violations(&seen), [(Violation::Altered, vec![9])], "a message that nobody sent");
}

#[test]
fn a_message_that_is_missing_without_a_report_fails() {
    let stream = Stream::new().messages(1..=3).messages(5..=8);
    assert_eq!(stream.violations(&brought(&[1, 2, 3, 5, 6, 7, 8])), [(Violation::Unreported, vec![4])]);
    let stream = Stream::new().messages(1..=6);
    assert_eq!(stream.violations(&brought(&[1, 2, 3, 4, 5, 6])), [(Violation::Unreported, vec![7, 8])], "at the end");
}

#[test]
fn a_message_that_was_received_and_not_delivered_fails() {
    let seen = brought(&[1, 2, 3, 4, 5, 6, 7, 8]);
    let stream = Stream::new().messages(1..=3).loss(4, 5).messages(5..=8);
    assert_eq!(stream.violations(&seen), [(Violation::Undelivered, vec![4])]);
    let mut seen = brought(&[1, 2, 3, 5, 6, 7, 8]);
    bring(&mut seen, 49, 1, 4);
    let stream = Stream::new().messages(1..=3).loss(4, 5).messages(5..=8);
    assert_eq!(stream.violations(&seen), [(Violation::Undelivered, vec![4])], "one line, just in time");
}

#[test]
fn an_overrun_is_told_as_one_and_fails_nothing() {
    let seen = brought(&[1, 2, 3, 4, 5, 6, 7, 8]);
    let judgement = Stream::new().messages(1..=2).overrun(3, 7).messages(7..=8).judge(&seen);
    assert_eq!((judgement.delivered, judgement.overrun, judgement.violations.exit_code()), (4, 4, 0));
}

#[test]
fn the_stream_tells_of_gaps() {
    let mut stream = Stream::new();
    let range = SeqRange::new(SeqNo(2), SeqNo(4));
    let filled = SeqRange::new(SeqNo(2), SeqNo(3));
    let (at, opened_by) = (Nanos(1), Line(0));
    for kind in [
        EventKind::Gap { range, line: Line(0) },
        EventKind::Filled { range: filled, line: Line(1), opened_by, opened_at: at },
        EventKind::Line { line: Line(1), from: LineState::Waiting, to: LineState::Up, why: None },
    ] {
        stream.0.read(&Item::Event(Event { at, channel: CHANNEL, kind }));
    }
    stream = stream.loss(3, 4);
    assert_eq!(stream.0.gaps, Gaps { opened: 1, numbers: 2, filled: [0, 1], lost: 1 });
    assert_eq!(stream.0.states, [LineState::Waiting, LineState::Up]);
}

#[test]
fn a_naive_forwarder_fails() {
    // the highest number wins: what comes after a jump but belongs before it is dropped
    let mut seen = Seen::new(2, SENT, Nanos::from_millis(50));
    let (mut stream, mut highest) = (Stream::new(), 0);
    for (line, number) in
        [(0, 1), (1, 1), (0, 3), (1, 2), (1, 3), (0, 4), (1, 4), (1, 5), (0, 6), (1, 6), (0, 7), (0, 8)]
    {
        bring(&mut seen, 0, line, number);
        if number > highest {
            highest = number;
            stream = stream.messages([number]);
        }
    }
    assert_eq!(stream.violations(&seen), [(Violation::Unreported, vec![2]), (Violation::Undelivered, vec![2])]);
}
