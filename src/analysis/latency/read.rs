//! The client of a measurement: reads every message, and times it.

use std::sync::OnceLock;

use crossbeam::channel::{Receiver, Sender, bounded};
use hdrhistogram::Histogram;

use twinline_client::{Client, Item, Polled};
use twinline_core::Nanos;
use twinline_core::frame::Packing;
use twinline_node::os::Clock;

use super::latencies::{LatencyCause, Stage, Stages, Totals, histogram};
use super::message::Stamps;

/// How long an interval of the log is.
pub(super) const INTERVAL: Nanos = Nanos::from_secs(1);

/// From the intended send to the client's read, by [`LatencyCause`], of the messages that were read in some span of time.
#[derive(Debug)]
pub struct Interval {
    /// Its beginning, by the run's clock.
    pub start: Nanos,
    /// Its end.
    pub end: Nanos,
    /// By the place of the cause in [`LatencyCause::ALL`].
    pub causes: [Histogram<u64>; 3],
}

impl Interval {
    fn empty() -> Interval {
        Interval { start: Nanos::ZERO, end: Nanos::ZERO, causes: [histogram(), histogram(), histogram()] }
    }
}

/// The other end of a reader's intervals. Each must be given back: two of them take turns, so that the client's thread neither
/// allocates nor waits.
#[derive(Debug)]
pub(super) struct Intervals {
    full: Receiver<Interval>,
    empty: Sender<Interval>,
}

impl Intervals {
    /// Those that are over, one after the other.
    pub(super) fn drain(&self, mut take: impl FnMut(&Interval)) {
        while let Ok(mut interval) = self.full.try_recv() {
            take(&interval);
            interval.causes.iter_mut().for_each(Histogram::reset);
            // the reader may have gone
            let _ = self.empty.try_send(interval);
        }
    }
}

/// What the client counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct ReadCounts {
    /// Messages that were delivered, including those of the warm-up.
    pub(super) delivered: u64,
    /// Messages that were timed.
    pub(super) timed: u64,
    /// Numbers that were given up as lost.
    pub(super) lost: u64,
    /// Messages that this client was too slow for.
    pub(super) overrun: u64,
    /// How often it was too slow.
    pub(super) overruns: u64,
    /// Messages with an impossible time: somebody else's.
    pub(super) foreign: u64,
}

/// What [`TimedReader::poll`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ReadFound {
    /// A message, or an event.
    Item,
    /// Nothing now.
    Nothing,
    /// Nothing ever again.
    End,
}

/// A client that times messages. Messages that were due before `from` are the warm-up: they are counted and not timed.
#[derive(Debug)]
pub(super) struct TimedReader<'a> {
    packing: Packing,
    client: Client,
    clock: Clock,
    from: &'a OnceLock<Nanos>,
    totals: Totals,
    stages: Stages,
    counts: ReadCounts,
    interval: Interval,
    full: Sender<Interval>,
    empty: Receiver<Interval>,
}

impl<'a> TimedReader<'a> {
    /// A reader for a feed of this many lines.
    pub(super) fn new(
        client: Client,
        clock: Clock,
        from: &'a OnceLock<Nanos>,
        lines: usize,
    ) -> (TimedReader<'a>, Intervals) {
        let (full, over) = bounded(2);
        let (spare, empty) = bounded(2);
        // there is room for two
        let _ = spare.try_send(Interval::empty());
        let reader = TimedReader {
            packing: client.facts().packing,
            client,
            clock,
            from,
            totals: Totals::new(lines),
            stages: Stages::default(),
            counts: ReadCounts::default(),
            interval: Interval::empty(),
            full,
            empty,
        };
        (reader, Intervals { full: over, empty: spare })
    }

    /// Reads the next of the stream.
    ///
    /// # Errors
    /// The ring is broken.
    #[inline]
    pub(super) fn poll(&mut self) -> Result<ReadFound, twinline_client::BrokenStream> {
        match self.client.poll()? {
            Polled::Item(Item::Message(message)) => {
                let now = self.clock.now();
                let (line, stamp, flags) = (message.line, message.stamp, message.flags);
                let stamps = Stamps::of(self.packing, message.bytes).filter(|stamps| {
                    let Stamps { intended, sent } = *stamps;
                    intended <= sent && sent <= now && now - intended < Nanos::from_secs(3_600)
                });
                self.counts.delivered += 1;
                match (stamps, self.from.get()) {
                    (Some(stamps), Some(&from)) if stamps.intended >= from => {
                        let cause = LatencyCause::of(line, flags);
                        let total = now - stamps.intended;
                        self.counts.timed += 1;
                        self.totals.record(cause, line, total);
                        self.stages.record(Stage::Send, stamps.sent - stamps.intended);
                        self.stages.record(Stage::Receive, stamp - stamps.sent);
                        self.stages.record(Stage::Read, now - stamp);
                        self.interval(now);
                        self.interval.causes[cause as usize].saturating_record(total.0);
                    }
                    (Some(_), _) => {}
                    (None, _) => self.counts.foreign += u64::from(!flags.heartbeat),
                }
                Ok(ReadFound::Item)
            }
            Polled::Item(Item::Loss(loss)) => {
                self.counts.lost += loss.range.len();
                Ok(ReadFound::Item)
            }
            Polled::Item(Item::Overrun(overrun)) => {
                self.counts.overruns += 1;
                self.counts.overrun += overrun.messages;
                Ok(ReadFound::Item)
            }
            Polled::Item(_) => Ok(ReadFound::Item),
            Polled::Empty => Ok(ReadFound::Nothing),
            Polled::Ended => Ok(ReadFound::End),
        }
    }

    /// Begins an interval, or ends the one that is over, if there is a spare one.
    #[inline]
    fn interval(&mut self, now: Nanos) {
        if self.interval.start == Nanos::ZERO {
            self.interval.start = now;
        } else if now - self.interval.start >= INTERVAL
            && let Ok(spare) = self.empty.try_recv()
        {
            let over = std::mem::replace(&mut self.interval, spare);
            self.interval.start = now;
            self.send(Interval { end: now, ..over });
        }
    }

    fn send(&self, interval: Interval) {
        // there are two in all, and room for both
        let _ = self.full.try_send(interval);
    }

    /// All that was measured; the last interval is handed over.
    pub(super) fn finish(mut self) -> (Totals, Stages, ReadCounts) {
        if self.interval.start != Nanos::ZERO {
            let end = self.clock.now();
            let over = std::mem::replace(&mut self.interval, Interval::empty());
            self.send(Interval { end, ..over });
        }
        (self.totals, self.stages, self.counts)
    }
}
