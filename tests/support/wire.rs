//! Captures over the wire: what goes out, and what is heard of it.

use std::path::{Path, PathBuf};
use std::thread;

use twinline_core::framing::Framing;
use twinline_node::capture::{CaptureInput, Captures};
use twinline_node::config::Feed;
use twinline_node::handler::Handler;
use twinline_node::os::{Clock, ReceiveOptions};
use twinline_node::source::{Live, Source};

use super::sink::Messages;
use super::{PATIENCE, feed, root};

/// What a datagram is, wherever it goes by: line, group, payload.
pub type Seen = (usize, u16, Vec<u8>);

pub fn of_line(all: &[Seen], line: usize) -> Vec<Seen> {
    all.iter().filter(|seen| seen.0 == line).cloned().collect()
}

/// The text of a feed file for lines A and B, with a group each that no other test uses.
pub fn two_lines_text(name: &str, framing: &str) -> String {
    feed::text(name, framing, &[("A", &[feed::group()]), ("B", &[feed::group()])])
}

/// A file under `feeds/`.
pub fn sample(name: &str) -> PathBuf {
    root().join("feeds").join(name)
}

pub fn open(path: &Path, feed: &Feed) -> Captures {
    Captures::open(&[CaptureInput { line: None, path: path.to_owned() }], feed).unwrap()
}

/// What an arbiter makes of a capture.
pub fn arbitrated<F: Framing>(framing: F, feed: &Feed, mut captures: Captures) -> Vec<Vec<u8>> {
    let (mut handler, mut sink) = (Handler::new(framing, feed), Messages::default());
    while let Some(item) = captures.next().unwrap() {
        handler.on_datagram(item.stamp, item.line, item.group, item.payload, &mut sink);
    }
    handler.finish(captures.end_stamp().unwrap(), &mut sink);
    sink.all
}

/// Receives on a feed's lines until `count` datagrams came, while `sending` sends them; then once more: nothing may be left.
pub fn receive(feed: &Feed, count: usize, sending: impl FnOnce() + Send) -> Vec<Seen> {
    let (mut live, mut watch) = Live::open(feed, &ReceiveOptions::default()).unwrap();
    let (clock, mut seen) = (Clock::start(), Vec::new());
    let began = clock.now();
    thread::scope(|scope| {
        let sender = scope.spawn(sending);
        while seen.len() < count {
            let pass = live.poll(&mut |d| seen.push((d.line.index(), d.group, d.payload.to_vec()))).unwrap();
            if pass.datagrams > 0 {
                continue;
            }
            let lost = sender.is_finished() && {
                watch.check().unwrap();
                watch.facts().iter().any(|line| line.overflow > 0)
            };
            assert!(!lost, "the receive buffers are too small for this test on this machine");
            assert!(clock.now() - began < PATIENCE, "{} of {count} came", seen.len());
            thread::yield_now();
        }
    });
    watch.check().unwrap();
    let overflow: u64 = watch.facts().iter().map(|line| line.overflow).sum();
    assert_eq!(overflow, 0, "the receive buffers are too small for this test on this machine");
    live.poll(&mut |d| seen.push((d.line.index(), d.group, d.payload.to_vec()))).unwrap();
    seen
}
