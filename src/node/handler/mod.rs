//! The handler: a framing and the arbiter put together.
//!
//! Between a source and a sink, every datagram passes through a [`Handler`]. Live runs and captures use the same one.

use crate::config::Feed;
use twinline_core::Nanos;
use twinline_core::arbiter::{Arbiter, Settings, Sink};
use twinline_core::frame::{Line, SequenceRules};
use twinline_core::framing::{Framing, Malformed};

mod tap;

pub use tap::{Recorded, Tap, Tapped};

/// The arbiter's settings for a feed.
pub fn settings(feed: &Feed, rules: SequenceRules) -> Settings {
    let wait = feed.lines.iter().map(|line| line.wait).collect();
    let groups = feed.lines.first().map_or(0, |line| line.groups.len()) as u16;
    let given = &feed.arbiter;
    let mut settings = Settings::new(rules, wait, groups);
    settings.gap_timeout = given.gap_timeout;
    settings.settle = given.settle;
    settings.hold_messages = given.hold_messages;
    settings.hold_bytes = given.hold_bytes;
    settings.max_jump = given.max_jump;
    settings.silent_after = given.silent_after(rules.heartbeat_interval);
    settings.session_grace = given.session_grace(rules.heartbeat_interval);
    settings.keys = feed.units.clone();
    settings.verify = given.verify;
    settings
}

/// Malformed datagrams, counted by line, group and reason.
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

    /// How many came by this line, in this group, with this fault.
    pub fn get(&self, line: Line, group: u16, reason: Malformed) -> u64 {
        self.counts.get(line.index() * self.groups + usize::from(group)).map_or(0, |counts| counts[reason.index()])
    }

    /// How many came by this line with this fault.
    pub fn of_line(&self, line: Line, reason: Malformed) -> u64 {
        (0..self.groups as u16).map(|group| self.get(line, group, reason)).sum()
    }
}

/// A framing and an arbiter: takes datagrams, and gives what the arbiter decides to a sink.
pub struct Handler<F> {
    framing: F,
    arbiter: Arbiter,
    malformed: MalformedCounts,
}

impl<F: Framing> Handler<F> {
    /// A handler for a feed, whose framing this is.
    pub fn new(framing: F, feed: &Feed) -> Handler<F> {
        let settings = settings(feed, framing.rules());
        Handler::with_settings(framing, feed, settings)
    }

    /// Like [`Handler::new`], but takes all memory that it may need at the start: [`Settings::reserve_all`].
    pub fn reserving_all(framing: F, feed: &Feed) -> Handler<F> {
        let mut settings = settings(feed, framing.rules());
        settings.reserve_all = true;
        Handler::with_settings(framing, feed, settings)
    }

    fn with_settings(framing: F, feed: &Feed, settings: Settings) -> Handler<F> {
        let malformed = MalformedCounts::new(feed.lines.len(), usize::from(settings.groups));
        Handler { framing, arbiter: Arbiter::new(settings), malformed }
    }

    /// Handles a datagram. If a frame cannot be read, that is counted, and the rest of the datagram is skipped.
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

    /// Says that nothing more came up to `stamp`.
    #[inline]
    pub fn advance<S: Sink>(&mut self, stamp: Nanos, sink: &mut S) {
        self.arbiter.advance(stamp, sink);
    }

    /// Says that the input has ended.
    pub fn finish<S: Sink>(&mut self, stamp: Nanos, sink: &mut S) {
        self.arbiter.finish(stamp, sink);
    }

    /// The arbiter, for its counters.
    pub fn arbiter(&self) -> &Arbiter {
        &self.arbiter
    }

    /// The datagrams that could not be read.
    pub fn malformed(&self) -> &MalformedCounts {
        &self.malformed
    }

    /// The arbiter and the counts.
    pub fn into_parts(self) -> (Arbiter, MalformedCounts) {
        (self.arbiter, self.malformed)
    }
}
