//! Captures read to their end: one loop for everything that is done offline.
//!
//! ```text
//! Captures -> read -> arbitrate: Handler -> Sink           (a sink of your own, a file, a report)
//!                 \-> messages: OrderedMessages::next     (one message at a time, in order)
//! ```
//!
//! [`messages()`] is the short way: it gives the arbitrated messages one by one. [`arbitrate`] runs a [`Handler`] over the captures
//! with any [`Sink`], and calls [`OfflineHooks`] for each datagram and to show progress. [`read`] is the loop itself, for any
//! [`OfflineInput`].
//!
//! The loop is compiled for its hooks: one that does nothing costs nothing. It reads no clock, starts no thread and prints nothing.

mod messages;

use crate::capture::{CaptureError, CaptureStep, CapturedDatagram, Captures};
use crate::handler::Handler;
use twinline_core::Nanos;
use twinline_core::arbiter::Sink;
use twinline_core::framing::Framing;

pub use messages::{OrderedMessage, OrderedMessages, messages};

/// At most this many datagrams go by between two calls of [`OfflineVisitor::goes_on`].
pub const LOOK_EVERY: u64 = 16_384;

/// What can be read datagram by datagram: [`Captures`] of a feed, or files of which every datagram counts.
pub trait OfflineInput {
    /// A datagram, borrowed from the input.
    type Datagram<'a>
    where
        Self: 'a;

    /// Takes the next step: a bounded amount of work.
    ///
    /// # Errors
    /// A file cannot be read any further. What stands before is whole.
    fn step(&mut self) -> Result<CaptureStep, CaptureError>;

    /// The datagram that the last step arrived at, if it did.
    fn datagram(&self) -> Option<Self::Datagram<'_>>;
}

impl OfflineInput for Captures {
    type Datagram<'a> = CapturedDatagram<'a>;

    #[inline]
    fn step(&mut self) -> Result<CaptureStep, CaptureError> {
        Captures::step(self)
    }

    #[inline]
    fn datagram(&self) -> Option<CapturedDatagram<'_>> {
        self.item()
    }
}

/// What is done with each datagram of an [`OfflineInput`].
pub trait OfflineVisitor<I: OfflineInput> {
    /// A datagram, in order.
    fn datagram(&mut self, datagram: I::Datagram<'_>);

    /// Whether to go on. Called at least every [`LOOK_EVERY`] datagrams, and after many records without a datagram.
    fn goes_on(&mut self, input: &I) -> bool {
        let _ = input;
        true
    }
}

/// How reading ended.
#[derive(Debug)]
pub enum ReadEnd {
    /// Everything was read.
    Complete,
    /// [`OfflineVisitor::goes_on`] returned false.
    Stopped,
    /// The input failed. Everything before that was visited.
    Failed(CaptureError),
}

/// Reads an input to its end, or until the visitor stops it.
#[inline]
pub fn read<I: OfflineInput>(input: &mut I, visitor: &mut impl OfflineVisitor<I>) -> ReadEnd {
    let mut count = 0u64;
    loop {
        let step = match input.step() {
            Ok(CaptureStep::End) => return ReadEnd::Complete,
            Ok(step) => step,
            Err(error) => return ReadEnd::Failed(error),
        };
        if let Some(datagram) = input.datagram() {
            visitor.datagram(datagram);
            count += 1;
        }
        if (count.is_multiple_of(LOOK_EVERY) || step == CaptureStep::Onward) && !visitor.goes_on(input) {
            return ReadEnd::Stopped;
        }
    }
}

/// What [`arbitrate`] calls beside the arbiter. By default a hook does nothing; `()` has no hooks of its own.
pub trait OfflineHooks<F, S> {
    /// A datagram is about to be handled.
    fn before(&mut self, handler: &mut Handler<F>, datagram: &CapturedDatagram<'_>, sink: &mut S) {
        let _ = (handler, datagram, sink);
    }

    /// Whether to go on. This is the place to show progress ([`Captures::position`] of [`Captures::size`]) and to look at a stop
    /// flag. Called at least every [`LOOK_EVERY`] datagrams.
    fn goes_on(&mut self, captures: &Captures, sink: &S) -> bool {
        let _ = (captures, sink);
        true
    }
}

impl<F, S> OfflineHooks<F, S> for () {}

/// How [`arbitrate`] ended.
#[derive(Debug)]
#[non_exhaustive]
pub struct OfflineEnd {
    /// A hook stopped it before the end.
    pub stopped: bool,
    /// Why a file could not be read to its end, if so. What stands before was arbitrated.
    pub failed: Option<CaptureError>,
    /// The stamp that the arbiter was finished with; `None` if the captures have no packet at all.
    pub at: Option<Nanos>,
}

impl OfflineEnd {
    /// Whether the captures were one recording by Twinline, with nothing missing, and were read to the end. Then the results equal
    /// those of the live run (ARBITRATION 10.3).
    pub fn is_whole_recording(&self, captures: &Captures) -> bool {
        captures.is_whole_recording() && !self.stopped && self.failed.is_none()
    }
}

/// Arbitrates captures, and finishes the arbiter.
///
/// The arbiter ends at the captures' end stamp ([`Captures::end_stamp`]). If a hook stops the reading, or a file cannot be read any
/// further, the arbiter ends at the last datagram's stamp: the results are those of what was read.
///
/// # Errors
/// The captures do not say by which line a datagram came ([`CaptureError::Ambiguous`]). Nothing is known about the rest then, so
/// the arbiter is not finished. A file that is damaged or cannot be read any further is reported in [`OfflineEnd::failed`] instead.
///
/// ```
/// use twinline_core::arbiter::{Event, Run, Sink};
/// use twinline_node::offline;
/// use twinline_node::capture::{CaptureInput, Captures};
/// use twinline_node::config::Feed;
/// use twinline_node::handler::Handler;
///
/// #[derive(Default)]
/// struct Count(u64);
/// impl Sink for Count {
///     fn event(&mut self, _: &Event) {}
///     fn release(&mut self, run: &Run<'_>) {
///         self.0 += u64::from(run.count);
///     }
/// }
///
/// let feed = Feed::load("../../feeds/cme-mdp3.toml")?;
/// let input = CaptureInput::parse("../../feeds/samples/cme-mdp3.pcapng".as_ref(), &feed);
/// let mut captures = Captures::open(&[input], &feed)?;
/// let mut handler = Handler::new(feed.framing, &feed);
/// let mut count = Count::default();
/// offline::arbitrate(&mut captures, &mut handler, &mut count, &mut ())?;
/// let delivered: u64 = handler.arbiter().channels().map(|channel| channel.delivered).sum();
/// assert_eq!(count.0, delivered);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn arbitrate<F: Framing, S: Sink>(
    captures: &mut Captures,
    handler: &mut Handler<F>,
    sink: &mut S,
    hooks: &mut impl OfflineHooks<F, S>,
) -> Result<OfflineEnd, CaptureError> {
    let mut visitor = Arbitrating { handler, sink, hooks, last: None };
    let end = read(captures, &mut visitor);
    let Arbitrating { handler, sink, last, .. } = visitor;
    let (stopped, failed) = match end {
        ReadEnd::Complete => (false, None),
        ReadEnd::Stopped => (true, None),
        ReadEnd::Failed(error @ (CaptureError::Read { .. } | CaptureError::Damaged { .. })) => (false, Some(error)),
        ReadEnd::Failed(error) => return Err(error),
    };
    // an input that was cut short ends where it was cut
    let at = if stopped || failed.is_some() { last } else { captures.end_stamp() };
    if let Some(at) = at {
        handler.finish(at, sink);
    }
    Ok(OfflineEnd { stopped, failed, at })
}

struct Arbitrating<'a, F, S, H> {
    handler: &'a mut Handler<F>,
    sink: &'a mut S,
    hooks: &'a mut H,
    last: Option<Nanos>,
}

impl<F: Framing, S: Sink, H: OfflineHooks<F, S>> OfflineVisitor<Captures> for Arbitrating<'_, F, S, H> {
    #[inline]
    fn datagram(&mut self, datagram: CapturedDatagram<'_>) {
        self.last = Some(datagram.stamp);
        self.hooks.before(self.handler, &datagram, self.sink);
        let CapturedDatagram { stamp, line, group, payload, .. } = datagram;
        self.handler.on_datagram(stamp, line, group, payload, self.sink);
    }

    fn goes_on(&mut self, captures: &Captures) -> bool {
        self.hooks.goes_on(captures, self.sink)
    }
}

#[cfg(test)]
mod tests;
