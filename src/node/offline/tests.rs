//! Offline runs over the samples: to the end, stopped, and over a file that is damaged.

use std::fs;
use std::io::{Cursor, Write};
use std::sync::{Arc, Mutex};

use super::*;
use crate::capture::{CaptureInput, CaptureReader, CaptureWriter};
use crate::config::Feed;
use twinline_core::arbiter::{Event, Run};
use twinline_core::frame::{Line, Session};
use twinline_core::framing::{AnyFraming, MoldUdp64};

const CAPTURE: &str = "../../feeds/samples/cme-mdp3.pcapng";

fn feed() -> Feed {
    Feed::load("../../feeds/cme-mdp3.toml").unwrap()
}

fn open(feed: &Feed, path: &str) -> Captures {
    Captures::open(&[CaptureInput::parse(path.as_ref(), feed)], feed).unwrap()
}

/// Every message behind its length, as `--messages` writes them.
#[derive(Default)]
struct Written(Vec<u8>);

impl Written {
    fn write(&mut self, message: &[u8]) {
        self.0.extend_from_slice(&(message.len() as u16).to_be_bytes());
        self.0.extend_from_slice(message);
    }
}

impl Sink for Written {
    fn event(&mut self, _: &Event) {}

    fn release(&mut self, run: &Run<'_>) {
        run.messages().for_each(|message| self.write(message));
    }
}

/// Stops after so many datagrams, and counts them.
struct StopAfter {
    most: u64,
    seen: u64,
}

impl<S> OfflineHooks<AnyFraming, S> for StopAfter {
    fn before(&mut self, _: &mut Handler<AnyFraming>, _: &CapturedDatagram<'_>, _: &mut S) {
        self.seen += 1;
    }

    fn goes_on(&mut self, captures: &Captures, _: &S) -> bool {
        assert!(captures.datagrams() == self.seen);
        self.seen < self.most
    }
}

fn expected() -> Vec<u8> {
    fs::read("../../feeds/samples/cme-mdp3.messages").unwrap()
}

#[test]
fn a_sink_gets_what_the_program_writes() {
    let feed = feed();
    let (mut captures, mut handler, mut written) =
        (open(&feed, CAPTURE), Handler::new(feed.framing, &feed), Written::default());
    let mut hooks = StopAfter { most: u64::MAX, seen: 0 };
    let end = arbitrate(&mut captures, &mut handler, &mut written, &mut hooks).unwrap();
    assert!(!end.stopped && end.failed.is_none() && end.at.is_some());
    assert_eq!(hooks.seen, captures.datagrams());
    assert_eq!(written.0, expected());
}

#[test]
fn messages_come_one_by_one_in_order() {
    let mut messages = messages(&feed(), &[CAPTURE]).unwrap();
    let (mut written, mut last) = (Written::default(), None);
    while let Some(message) = messages.next().unwrap() {
        written.write(message.bytes);
        let at = (message.channel, message.session, message.sequence);
        assert!(last.is_none_or(|(channel, session, sequence)| (channel, session) != (at.0, at.1) || sequence < at.2));
        last = Some(at);
    }
    assert_eq!(written.0, expected());
    assert!(messages.next().unwrap().is_none());
}

/// What is written to it, for who keeps the other end.
#[derive(Clone, Default)]
struct Shared(Arc<Mutex<Vec<u8>>>);

impl Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// A recording of so many datagrams of one message each, on line A of the loopback feed.
fn recording(datagrams: u64) -> (Feed, Vec<u8>) {
    let feed = Feed::load("../../feeds/loopback.toml").unwrap();
    let (out, mut datagram) = (Shared::default(), Vec::new());
    let source = "127.0.0.1:4000".parse().unwrap();
    let mut writer = CaptureWriter::to_write(out.clone(), &feed).unwrap();
    for number in 1..=datagrams {
        MoldUdp64.encode(Session::text(b"TODAY"), number, &[b"one"], 1_400, &mut datagram);
        writer.write(Nanos(1_000 * number), Line(0), source, feed.lines[0].groups[0], &datagram).unwrap();
    }
    writer.finish(Nanos(1_000 * (datagrams + 1)), &[0, 0]).unwrap();
    let bytes = out.0.lock().unwrap().clone();
    (feed, bytes)
}

fn captures(feed: &Feed, bytes: Vec<u8>) -> Captures {
    Captures::from_readers(vec![(None, CaptureReader::from_read(Cursor::new(bytes)).unwrap())], feed).unwrap()
}

#[test]
fn a_hook_stops_at_the_next_look() {
    let (feed, bytes) = recording(LOOK_EVERY + 10);
    for (most, stopped, seen) in [(1, true, LOOK_EVERY), (u64::MAX, false, LOOK_EVERY + 10)] {
        let mut captures = captures(&feed, bytes.clone());
        let (mut handler, mut hooks) = (Handler::new(feed.framing, &feed), StopAfter { most, seen: 0 });
        let end = arbitrate(&mut captures, &mut handler, &mut Written::default(), &mut hooks).unwrap();
        assert_eq!((end.stopped, hooks.seen, end.is_whole_recording(&captures)), (stopped, seen, !stopped));
        let end_stamp = if stopped { 1_000 * LOOK_EVERY } else { 1_000 * (LOOK_EVERY + 11) };
        assert_eq!(end.at, Some(Nanos(end_stamp)));
    }
}

#[test]
fn what_stands_before_damage_is_whole() {
    let (feed, mut bytes) = recording(5);
    // a block that says it is shorter than a block can be
    bytes.extend_from_slice(&[6, 0, 0, 0, 3, 0, 0, 0, 3, 0, 0, 0]);
    let (mut handler, mut written) = (Handler::new(feed.framing, &feed), Written::default());
    let end = arbitrate(&mut captures(&feed, bytes.clone()), &mut handler, &mut written, &mut ()).unwrap();
    assert!(matches!(end.failed, Some(CaptureError::Damaged { .. })));
    assert_eq!((end.at, written.0.len()), (Some(Nanos(5_000)), 5 * 5));
    let mut messages = OrderedMessages::new(&feed, captures(&feed, bytes));
    for number in 1..=5 {
        assert_eq!(messages.next().unwrap().unwrap().sequence.0, number);
    }
    assert!(messages.next().is_err() && messages.next().unwrap().is_none());
}
