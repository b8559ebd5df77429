//! A sink of one's own: what the arbiter releases and reports goes to your code, on the arbiter's thread.
//! `cargo run --example own_sink FEED CAPTURE`

use std::collections::BTreeMap;

use twinline_core::arbiter::{Event, EventKind, Loss, Run, Sink};
use twinline_core::frame::ChannelKey;
use twinline_node::capture::{CaptureInput, Captures};
use twinline_node::config::Feed;
use twinline_node::handler::Handler;

/// Messages by the line that brought them first, and what was lost, per channel.
#[derive(Debug, Default)]
struct Shares {
    first: BTreeMap<(ChannelKey, u8), u64>,
    lost: BTreeMap<ChannelKey, u64>,
    sessions: u64,
}

impl Sink for Shares {
    fn event(&mut self, event: &Event) {
        self.sessions += u64::from(matches!(event.kind, EventKind::Epoch { .. }));
    }

    fn release(&mut self, run: &Run<'_>) {
        *self.first.entry((run.channel.key, run.line.0)).or_default() += u64::from(run.count);
    }

    fn loss(&mut self, loss: &Loss) {
        *self.lost.entry(loss.channel.key).or_default() += loss.range.len();
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, feed, capture] = &arguments[..] else { return Err("usage: own_sink FEED CAPTURE".into()) };
    let feed = Feed::load(feed)?;
    let mut captures = Captures::open(&[CaptureInput::parse(capture.as_ref(), &feed)], &feed)?;
    let (mut handler, mut shares) = (Handler::new(feed.framing, &feed), Shares::default());
    while let Some(datagram) = captures.next()? {
        handler.on_datagram(datagram.stamp, datagram.line, datagram.group, datagram.payload, &mut shares);
    }
    if let Some(end) = captures.end_stamp() {
        handler.finish(end, &mut shares);
    }
    for ((channel, line), count) in &shares.first {
        println!("channel {channel}: line {} brought {count} first", feed.lines[usize::from(*line)].name);
    }
    println!("{} sessions, {} lost", shares.sessions, shares.lost.values().sum::<u64>());
    Ok(())
}
