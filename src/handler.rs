//! The handler: framing and arbiter put together, and the live loop that feeds them.
//!
//! [`Handler`] is the whole way of a datagram between a source and a sink; live and replayed runs use the same one.
//! [`live`] is the loop of a busy-polling core: it reads the clock once a pass, and [`Pacer`] makes of the readings the stamps
//! that the arbiter is given (ARBITRATION 1.2). [`Hot`] is what usually surrounds that loop: it takes a copy of every datagram
//! for a capture ([`tap`]) and answers housekeeping's questions ([`desk`]), over rings, so that nothing is written, formatted
//! or locked where datagrams are received.

use std::io;

use crate::arbiter::{Arbiter, GapTimeout, Settings, Sink, Verify};
use crate::config::{self, Feed};
use crate::frame::{Line, SequenceRules};
use crate::framing::{Framing, Malformed};
use crate::source::{Datagram, Source};
use crate::time::Nanos;

pub mod desk;
mod hot;
mod record;
pub mod tap;

pub use hot::Hot;
pub use record::record;

/// The arbiter's settings, as a feed file gives them.
pub fn settings(feed: &Feed, rules: SequenceRules) -> Settings {
    let wait = feed.lines.iter().map(|line| line.wait).collect();
    let groups = feed.lines.first().map_or(0, |line| line.groups.len()) as u16;
    let given = &feed.arbiter;
    let mut settings = Settings::new(rules, wait, groups);
    settings.gap_timeout = match given.gap_timeout {
        config::GapTimeout::Auto => GapTimeout::Auto,
        config::GapTimeout::After(span) => GapTimeout::After(span),
    };
    settings.settle = given.settle;
    settings.hold_messages = given.hold_messages;
    settings.hold_bytes = given.hold_bytes;
    settings.max_jump = given.max_jump;
    settings.silent_after = given.silent_after(rules.heartbeat_interval);
    settings.session_grace = given.session_grace(rules.heartbeat_interval);
    settings.keys = feed.units.clone();
    settings.verify = match given.verify {
        config::Verify::Off => Verify::Off,
        config::Verify::All => Verify::All,
        config::Verify::PerBillion(share) => Verify::PerBillion(share),
    };
    settings
}

/// Malformed datagrams by line, group and reason.
#[derive(Clone, Debug)]
pub struct MalformedCounts {
    groups: usize,
    counts: Vec<[u64; Malformed::ALL.len()]>,
}

impl MalformedCounts {
    fn new(lines: usize, groups: usize) -> MalformedCounts {
        MalformedCounts { groups, counts: vec![[0; Malformed::ALL.len()]; lines * groups] }
    }

    fn add(&mut self, line: Line, group: u16, reason: Malformed) {
        if let Some(counts) = self.counts.get_mut(line.index() * self.groups + usize::from(group)) {
            counts[reason.index()] += 1;
        }
    }

    /// How many came by a line in a group under a reason.
    pub fn get(&self, line: Line, group: u16, reason: Malformed) -> u64 {
        self.counts.get(line.index() * self.groups + usize::from(group)).map_or(0, |counts| counts[reason.index()])
    }

    /// How many came by a line under a reason.
    pub fn of_line(&self, line: Line, reason: Malformed) -> u64 {
        (0..self.groups as u16).map(|group| self.get(line, group, reason)).sum()
    }
}

/// Framing and arbiter: takes datagrams, gives what the arbiter says to a sink.
pub struct Handler<F> {
    framing: F,
    arbiter: Arbiter,
    malformed: MalformedCounts,
}

impl<F: Framing> Handler<F> {
    /// A handler for a feed of this framing.
    pub fn new(framing: F, feed: &Feed) -> Handler<F> {
        let settings = settings(feed, framing.rules());
        Handler::with_settings(framing, feed, settings)
    }

    /// The same, with all memory taken at the start that it may need: [`Settings::reserve_all`].
    pub fn reserving_all(framing: F, feed: &Feed) -> Handler<F> {
        let settings = Settings { reserve_all: true, ..settings(feed, framing.rules()) };
        Handler::with_settings(framing, feed, settings)
    }

    fn with_settings(framing: F, feed: &Feed, settings: Settings) -> Handler<F> {
        let malformed = MalformedCounts::new(feed.lines.len(), usize::from(settings.groups));
        Handler { framing, arbiter: Arbiter::new(settings), malformed }
    }

    /// A datagram has come. What cannot be read is counted; the rest of the datagram goes with it.
    #[inline]
    pub fn on_datagram<S: Sink>(&mut self, stamp: Nanos, line: Line, group: u16, payload: &[u8], sink: &mut S) {
        let mut at = 0;
        while let Some(frame) = self.framing.frame(payload, &mut at) {
            match frame {
                Ok(frame) => self.arbiter.on_frame(stamp, line, group, &frame, sink),
                Err(reason) => {
                    self.arbiter.advance(stamp, sink);
                    self.malformed.add(line, group, reason);
                    return;
                }
            }
        }
    }

    /// Nothing came up to `stamp`.
    #[inline]
    pub fn advance<S: Sink>(&mut self, stamp: Nanos, sink: &mut S) {
        self.arbiter.advance(stamp, sink);
    }

    /// The input has ended.
    pub fn finish<S: Sink>(&mut self, stamp: Nanos, sink: &mut S) {
        self.arbiter.finish(stamp, sink);
    }

    /// The arbiter, for its counters.
    pub fn arbiter(&self) -> &Arbiter {
        &self.arbiter
    }

    /// What could not be read.
    pub fn malformed(&self) -> &MalformedCounts {
        &self.malformed
    }
}

/// Makes stamps of clock readings, so that an arbiter which was held up does not give up what waits in its sockets
/// (ARBITRATION 1.2).
///
/// A stamp is the reading, unless that is further on than a quarter of the shortest gap timeout: then time goes on by that
/// quarter alone, and stands still until one pass has found every socket short of a full batch.
///
/// ```
/// use twinline::handler::Pacer;
/// use twinline::time::Nanos;
/// let mut pacer = Pacer::new();
/// let quarter = Nanos(250);
/// assert_eq!(pacer.stamp(Nanos(10_000), quarter), Nanos(10_000));
/// pacer.after(1, false, Nanos(10_000));
/// // the thread was held up for 5,000 ns
/// assert_eq!(pacer.stamp(Nanos(15_000), quarter), Nanos(10_250));
/// pacer.after(64, true, Nanos(15_000));
/// assert_eq!(pacer.stamp(Nanos(15_100), quarter), Nanos(10_250), "the backlog is not taken yet");
/// pacer.after(3, false, Nanos(15_100));
/// assert_eq!(pacer.stamp(Nanos(15_200), quarter), Nanos(10_500));
/// pacer.after(0, false, Nanos(15_200));
/// assert_eq!(pacer.stamp(Nanos(15_300), quarter), Nanos(15_300), "the sockets were empty: time has caught up");
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Pacer {
    last: Option<Nanos>,
    stands: bool,
}

impl Pacer {
    /// A pacer before the first pass.
    pub fn new() -> Pacer {
        Pacer::default()
    }

    /// The stamp of the pass that begins with this reading.
    #[inline]
    pub fn stamp(&mut self, reading: Nanos, quarter: Nanos) -> Nanos {
        let stamp = match self.last {
            None => reading,
            Some(last) if self.stands => last,
            Some(last) if reading > last + quarter => {
                self.stands = true;
                last + quarter
            }
            Some(last) => last.max(reading),
        };
        self.last = Some(stamp);
        stamp
    }

    /// What the pass found: how many datagrams, whether some socket gave a full batch. Where all were empty, time is at the
    /// reading again: give that to [`Handler::advance`].
    #[inline]
    pub fn after(&mut self, datagrams: usize, full: bool, reading: Nanos) {
        if !full {
            self.stands = false;
        }
        if datagrams == 0 && !full {
            self.last = self.last.max(Some(reading));
        }
    }
}

/// What the loop asks of its surroundings, once a pass or less: a clock, what to do with each datagram beside arbitration, when
/// to stop.
pub trait Surroundings {
    /// Reads the clock.
    fn now(&mut self) -> Nanos;

    /// A datagram, as the arbiter is about to be given it.
    fn tap(&mut self, stamp: Nanos, datagram: &Datagram<'_>);

    /// Nothing was there: spin, or yield.
    fn idle(&mut self);

    /// Whether to go on, after a pass that found `datagrams`.
    fn goes_on(&mut self, arbiter: &Arbiter, datagrams: usize) -> bool;

    /// The input ends, at this stamp: told before the arbiter is finished, and where the source failed as well. `None` where
    /// not one datagram came.
    fn ending(&mut self, at: Option<Nanos>) {
        let _ = at;
    }
}

/// How a live run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ended {
    /// The stamp that was given to `finish`; `None` where not one datagram came.
    pub at: Option<Nanos>,
}

/// Runs a handler on a live source until the surroundings or the source end it, and finishes the arbiter. The arbiter's time
/// starts at the first datagram.
///
/// # Errors
/// The source's. The arbiter is finished then as well.
pub fn live<F: Framing, S: Sink>(
    handler: &mut Handler<F>,
    source: &mut impl Source,
    around: &mut impl Surroundings,
    sink: &mut S,
) -> io::Result<Ended> {
    let mut pacer = Pacer::new();
    let least = Nanos(handler.arbiter.gap_timeout_least().0 / 4);
    let mut last: Option<Nanos> = None;
    let outcome = loop {
        let reading = around.now();
        // within the least quarter that there may be, it does not matter which it is: the channels are not looked through for it
        let near = pacer.last.is_some_and(|last| reading <= last + least);
        let quarter = if near { least } else { Nanos(handler.arbiter.gap_timeout_min().0 / 4) };
        let stamp = pacer.stamp(reading, quarter);
        let pass = source.poll(&mut |datagram| {
            let stamp = datagram.stamp.unwrap_or(stamp);
            last = last.max(Some(stamp));
            around.tap(stamp, &datagram);
            handler.on_datagram(stamp, datagram.line, datagram.group, datagram.payload, sink);
        });
        let pass = match pass {
            Ok(pass) => pass,
            Err(error) => break Err(error),
        };
        pacer.after(pass.datagrams, pass.full, reading);
        // a full batch of strangers alone: what is ours may wait behind them
        if pass.datagrams == 0 && !pass.full {
            if let Some(last) = &mut last {
                *last = (*last).max(reading);
                handler.advance(reading, sink);
            } else {
                // no datagram yet: the first one starts the arbiter's time
                pacer = Pacer::new();
            }
            around.idle();
        }
        if pass.ended || !around.goes_on(&handler.arbiter, pass.datagrams) {
            break Ok(());
        }
    };
    around.ending(last);
    if let Some(at) = last {
        handler.finish(at, sink);
    }
    outcome.map(|()| Ended { at: last })
}
