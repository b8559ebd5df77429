//! Captures as a source of messages.

use std::collections::VecDeque;
use std::io;

use crate::capture::Captures;
use crate::config::Feed;
use crate::handler::Handler;
use twinline_core::Nanos;
use twinline_core::arbiter::{Event, Loss, Run, Sink};
use twinline_core::frame::{ChannelKey, Packing};
use twinline_core::framing::Framing;

use super::messages::{MessageSource, MessageWarning, Timing};

/// The messages of captures, arbitrated on the way: each comes once and in order, with the time at which its first copy was
/// captured.
///
/// A publisher's numbers are one sequence, so only one channel's messages are handed out: those of the group asked for; if the
/// framing names channels within a group, those of the channel that began first. What other channels release is counted and
/// reported as a [`MessageWarning`]. So are losses: what is published has no hole where the capture has one.
///
/// Memory does not grow with the files: only what one datagram releases waits, and the arbiter's limits on the hold bound that.
pub struct CapturedMessages<F> {
    captures: Captures,
    packing: Packing,
    handler: Handler<F>,
    released: Released,
    /// When the first message was captured.
    first: Option<Nanos>,
    last: Nanos,
    ended: bool,
    warnings: VecDeque<MessageWarning>,
}

/// The sink: one channel's messages, queued.
struct Released {
    group: u16,
    channel: Option<ChannelKey>,
    bytes: VecDeque<u8>,
    messages: VecDeque<(Nanos, usize)>,
    lost: u64,
    of_other_channels: u64,
}

impl Released {
    fn takes(&mut self, key: ChannelKey) -> bool {
        key.group == self.group && *self.channel.get_or_insert(key) == key
    }
}

impl Sink for Released {
    fn event(&mut self, _: &Event) {}

    fn release(&mut self, run: &Run<'_>) {
        if !self.takes(run.channel.key) {
            self.of_other_channels += u64::from(run.count);
            return;
        }
        for message in run.messages().take(run.count as usize) {
            self.bytes.extend(message);
            self.messages.push_back((run.stamp, message.len()));
        }
    }

    fn loss(&mut self, loss: &Loss) {
        if self.takes(loss.channel.key) {
            self.lost += loss.range.len();
        }
    }
}

impl<F: Framing> CapturedMessages<F> {
    /// The messages of `group` (its position in every line's list) in captures of `feed`.
    pub fn new(framing: F, feed: &Feed, captures: Captures, group: u16) -> CapturedMessages<F> {
        CapturedMessages {
            captures,
            packing: framing.packing(),
            handler: Handler::new(framing, feed),
            released: Released {
                group,
                channel: None,
                bytes: VecDeque::new(),
                messages: VecDeque::new(),
                lost: 0,
                of_other_channels: 0,
            },
            first: None,
            last: Nanos::ZERO,
            ended: false,
            warnings: VecDeque::new(),
        }
    }

    /// Reads on until a message is released, or to the end.
    fn read_on(&mut self) -> io::Result<()> {
        while self.released.messages.is_empty() && !self.ended {
            match self.captures.next().map_err(io::Error::other)? {
                Some(item) => {
                    let (stamp, line, group) = (item.stamp, item.line, item.group);
                    self.handler.on_datagram(stamp, line, group, item.payload, &mut self.released);
                }
                None => self.end(),
            }
        }
        Ok(())
    }

    fn end(&mut self) {
        self.ended = true;
        if let Some(end) = self.captures.end_stamp() {
            self.handler.finish(end, &mut self.released);
        }
        self.warnings.extend(self.captures.warnings().into_iter().map(MessageWarning::Capture));
        if self.captures.datagrams() == 0 {
            self.warnings
                .push_back(MessageWarning::NotOfTheFeed { other_groups: self.captures.ignored().other_groups });
        }
        if self.released.lost > 0 {
            self.warnings.push_back(MessageWarning::Lost { messages: self.released.lost });
        }
        if self.released.of_other_channels > 0 {
            let (messages, group) = (self.released.of_other_channels, self.released.group);
            self.warnings.push_back(MessageWarning::OtherChannels { messages, group });
        }
    }
}

impl<F: Framing> MessageSource for CapturedMessages<F> {
    fn packing(&self) -> Option<Packing> {
        Some(self.packing)
    }

    fn next(&mut self, message: &mut Vec<u8>) -> io::Result<Option<Timing>> {
        self.read_on()?;
        let Some((stamp, len)) = self.released.messages.pop_front() else { return Ok(None) };
        message.clear();
        message.extend(self.released.bytes.drain(..len));
        // a message that waited for a gap has an earlier stamp than the one that filled it
        self.last = self.last.max(stamp);
        let first = *self.first.get_or_insert(stamp);
        Ok(Some(Timing::Recorded(self.last - first)))
    }

    fn warning(&mut self) -> Option<MessageWarning> {
        self.warnings.pop_front()
    }
}
