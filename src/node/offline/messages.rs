//! The arbitrated messages of captures, one at a time.

use std::collections::VecDeque;
use std::fmt;
use std::ops::Range;
use std::path::Path;

use crate::capture::{CaptureError, CaptureInput, CaptureStep, Captures};
use crate::config::Feed;
use crate::handler::Handler;
use twinline_core::arbiter::{Arbiter, Event, Loss, Run, Sink};
use twinline_core::frame::{ChannelKey, Line, Session};
use twinline_core::framing::AnyFraming;
use twinline_core::{Nanos, SeqNo};

/// A message of the arbitrated stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct OrderedMessage<'a> {
    /// The channel whose sequence it belongs to.
    pub channel: ChannelKey,
    /// The session that it belongs to.
    pub session: Session,
    /// Its number, or that of its packet if the framing numbers packets. Numbers missing between two messages were lost.
    pub sequence: SeqNo,
    /// The line that brought it first.
    pub line: Line,
    /// When that copy arrived.
    pub stamp: Nanos,
    /// The message, as the framing delivers it (ARBITRATION 2.4).
    pub bytes: &'a [u8],
}

/// Opens captures of a feed in order to read their messages.
///
/// A capture is a path, or `LINE=PATH` if all of it came by that line; `-` is standard input. Several captures are merged by time.
///
/// # Errors
/// Those of [`Captures::open`].
///
/// ```
/// use twinline_node::offline;
/// use twinline_node::config::Feed;
///
/// let feed = Feed::load("../../feeds/cme-mdp3.toml")?;
/// let mut messages = offline::messages(&feed, &["../../feeds/samples/cme-mdp3.pcapng"])?;
/// let mut bytes = 0;
/// while let Some(message) = messages.next()? {
///     bytes += message.bytes.len();
/// }
/// assert!(bytes > 0 && messages.lost() > 0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn messages(feed: &Feed, captures: &[impl AsRef<Path>]) -> Result<OrderedMessages, CaptureError> {
    let inputs: Vec<CaptureInput> = captures.iter().map(|path| CaptureInput::parse(path.as_ref(), feed)).collect();
    Ok(OrderedMessages::new(feed, Captures::open(&inputs, feed)?))
}

/// The arbitrated messages of captures, opened by [`messages()`].
///
/// This is the ordered stream. Messages that came too late or stand outside the sequence are not in it;
/// [`OrderedMessages::arbiter`] counts both.
///
/// It is not an [`Iterator`], since messages borrow from it: loop with `while let Some(message) = messages.next()?`. It holds only
/// what one datagram released.
pub struct OrderedMessages {
    captures: Captures,
    handler: Handler<AnyFraming>,
    released: Released,
    failed: Option<CaptureError>,
    last: Option<Nanos>,
    ended: bool,
}

impl OrderedMessages {
    /// The messages of captures that are already open.
    pub fn new(feed: &Feed, captures: Captures) -> OrderedMessages {
        OrderedMessages {
            captures,
            handler: Handler::new(feed.framing, feed),
            released: Released::default(),
            failed: None,
            last: None,
            ended: false,
        }
    }

    /// The next message; `None` at the end.
    ///
    /// # Errors
    /// A file cannot be read any further. All messages before that are given first; after the error comes `None`.
    #[expect(
        clippy::should_implement_trait,
        reason = "a message borrows from the released bytes, so that it cannot be an Iterator"
    )]
    pub fn next(&mut self) -> Result<Option<OrderedMessage<'_>>, CaptureError> {
        while self.released.messages.is_empty() {
            if self.ended {
                return self.failed.take().map_or(Ok(None), Err);
            }
            self.released.bytes.clear();
            self.read_on();
        }
        Ok(self.released.pop())
    }

    /// Handles one datagram or finishes.
    fn read_on(&mut self) {
        let OrderedMessages { captures, handler, released, .. } = self;
        match captures.step() {
            Ok(CaptureStep::Item | CaptureStep::Onward) => {
                if let Some(item) = captures.item() {
                    self.last = Some(item.stamp);
                    handler.on_datagram(item.stamp, item.line, item.group, item.payload, released);
                }
                return;
            }
            Ok(CaptureStep::End) => {}
            Err(error) => self.failed = Some(error),
        }
        self.ended = true;
        let end = if self.failed.is_some() { self.last } else { captures.end_stamp() };
        if let Some(end) = end {
            handler.finish(end, released);
        }
    }

    /// How many numbers have been lost so far, on all channels.
    pub fn lost(&self) -> u64 {
        self.released.lost
    }

    /// The arbiter, for its counters.
    pub fn arbiter(&self) -> &Arbiter {
        self.handler.arbiter()
    }

    /// The captures, for their warnings and what was ignored.
    pub fn captures(&self) -> &Captures {
        &self.captures
    }
}

impl fmt::Debug for OrderedMessages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OrderedMessages").field("captures", &self.captures).finish_non_exhaustive()
    }
}

/// What was released but not given out yet.
#[derive(Default)]
struct Released {
    messages: VecDeque<(OrderedMessage<'static>, Range<usize>)>,
    bytes: Vec<u8>,
    lost: u64,
}

impl Released {
    fn pop(&mut self) -> Option<OrderedMessage<'_>> {
        let (message, place) = self.messages.pop_front()?;
        Some(OrderedMessage { bytes: &self.bytes[place], ..message })
    }
}

impl Sink for Released {
    fn event(&mut self, _: &Event) {}

    fn loss(&mut self, loss: &Loss) {
        self.lost = self.lost.saturating_add(loss.range.len());
    }

    fn release(&mut self, run: &Run<'_>) {
        let &Run { session, line, stamp, .. } = run;
        for (at, bytes) in run.messages().enumerate() {
            let from = self.bytes.len();
            self.bytes.extend_from_slice(bytes);
            let sequence = run.first + at as u64;
            let message = OrderedMessage { channel: run.channel.key, session, sequence, line, stamp, bytes: &[] };
            self.messages.push_back((message, from..self.bytes.len()));
        }
    }
}
