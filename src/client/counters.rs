//! The page of counters that an arbiter's hot thread stores. Anyone can read it at any time, without asking the thread.
//!
//! Every counter is a [`Counter`]. Its name, its unit and its meaning are stated once, here, for every tool that shows it. The
//! hot thread is the only writer ([`CounterWriter`]); a [`CounterPage`] is for readers. Each word is read whole, but two words
//! may be from different moments.
//!
//! ```
//! use twinline_client::counters::{self, Counter};
//! use twinline_core::frame::Line;
//!
//! let (writer, page) = counters::open(2);
//! writer.set_line(Counter::Datagrams, Line(1), 7);
//! assert_eq!(page.line(Counter::Datagrams, Line(1)), 7);
//! assert_eq!(Counter::Datagrams.name(), "datagrams");
//! ```
//!
//! ```text
//!  word 0        1         2       8                  8 + feed counters
//!  +-------+---------+-------+---+-----------------+--------------------------------+----------------------------------+
//!  | magic | version | lines | 0 | of the feed     | of a line: 9 words per counter | of two lines: 64 words per counter |
//!  +-------+---------+-------+---+-----------------+--------------------------------+----------------------------------+
//! ```

use std::fmt;

use twinline_core::frame::{LINES_MAX, Line};

use crate::ring::shim::Words;

const MAGIC: u64 = u64::from_le_bytes(*b"twinCNTR");
/// The version of the page: which counters there are, and where they are.
const VERSION: u64 = 1;
const HEADER_WORDS: usize = 8;
/// One word per line of a feed, and one for recovery.
const LINE_WORDS: usize = LINES_MAX + 1;
const PAIR_WORDS: usize = LINES_MAX * LINES_MAX;

/// What a counter has one value for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scope {
    /// One value for the feed.
    Feed,
    /// One value per line.
    Line,
    /// One value per ordered pair of lines: first the one that was ahead, then the other.
    Pair,
}

/// What a counter's value is measured in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Unit {
    /// A count, which only grows.
    Count,
    /// A number that can go up and down.
    Gauge,
    /// Bytes, which only grow.
    Bytes,
    /// Nanoseconds.
    Nanos,
}

impl fmt::Display for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Unit::Count => "count",
            Unit::Gauge => "gauge",
            Unit::Bytes => "bytes",
            Unit::Nanos => "ns",
        })
    }
}

macro_rules! counters {
    ($($counter:ident, $name:literal, $scope:ident, $unit:ident, $help:literal;)+) => {
        /// Every counter of a running arbiter.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum Counter {
            $(#[doc = $help] $counter,)+
        }

        impl Counter {
            /// Every counter, in the order of the page.
            pub const ALL: &[Counter] = &[$(Counter::$counter,)+];

            /// Its name in every output.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Counter::$counter => $name,)+
                }
            }

            /// What it has one value for.
            pub const fn scope(self) -> Scope {
                match self {
                    $(Counter::$counter => Scope::$scope,)+
                }
            }

            /// What its value is measured in.
            pub const fn unit(self) -> Unit {
                match self {
                    $(Counter::$counter => Unit::$unit,)+
                }
            }

            /// What it means, in one sentence.
            pub const fn help(self) -> &'static str {
                match self {
                    $(Counter::$counter => $help,)+
                }
            }
        }
    };
}

counters! {
    Pulse, "pulse", Feed, Nanos, "The time of a recent pass of the hot loop: at most a millisecond old while the hot thread runs.";
    Passes, "passes", Feed, Count, "Passes of the hot loop over its source.";
    Channels, "channels", Feed, Gauge, "Channels that have begun.";
    Datagrams, "datagrams", Line, Count, "Datagrams that the line brought.";
    CaptureDropped, "capture_dropped", Line, Count, "Datagrams of the line that were not captured, because the capture's ring was full.";
    Frames, "frames", Line, Count, "Frames that the line brought, on all channels.";
    Messages, "messages", Line, Count, "Messages that the line brought, on all channels.";
    Bytes, "bytes", Line, Bytes, "UDP payload of the line's frames, on all channels.";
    Heartbeats, "heartbeats", Line, Count, "Heartbeats that the line brought, on all channels.";
    FirstArrivals, "first_arrivals", Line, Count, "Messages that no line had brought before.";
    Duplicate, "duplicate", Line, Count, "Messages that had arrived already.";
    Missing, "missing", Line, Count, "Numbers that the line went past without bringing them.";
    Reordered, "reordered", Line, Count, "Messages that came too late, below the line's window, to count for or against it.";
    Late, "late", Line, Count, "Messages that this line brought first, but after they had been given up as lost.";
    Stale, "stale", Line, Count, "Messages of a session or epoch that has ended.";
    BeforeJoin, "before_join", Line, Count, "Messages below the number at which the channel began.";
    Implausible, "implausible", Line, Count, "Messages that contradicted the stream and were not believed.";
    Unsequenced, "unsequenced", Line, Count, "Messages outside the sequence.";
    Divergent, "divergent", Line, Count, "Copies whose bytes differed from the first copy's.";
    LeadMedian, "lead_median", Pair, Nanos, "The median lead of the first line over the other on the busiest channel, over the numbers that both brought.";
    LeadNumbers, "lead_numbers", Pair, Gauge, "How many numbers went into that median.";
}

impl Counter {
    /// Where its first word is in the page.
    fn place(self) -> usize {
        let before = Counter::ALL.iter().take_while(|other| **other != self);
        HEADER_WORDS + before.map(|other| words(other.scope())).sum::<usize>()
    }
}

const fn words(scope: Scope) -> usize {
    match scope {
        Scope::Feed => 1,
        Scope::Line => LINE_WORDS,
        Scope::Pair => PAIR_WORDS,
    }
}

/// Where each counter begins, so that a store has nothing to compute.
#[derive(Clone, Debug)]
struct Places(Box<[usize]>);

impl Places {
    fn new() -> Places {
        Places(Counter::ALL.iter().map(|counter| counter.place()).collect())
    }

    fn of(&self, counter: Counter, scope: Scope, at: usize) -> Option<usize> {
        let fits = counter.scope() == scope && at < words(scope);
        fits.then(|| self.0[counter as usize] + at)
    }
}

/// The hot thread's end. There is only one; it cannot be cloned.
#[derive(Debug)]
pub struct CounterWriter {
    words: Words,
    places: Places,
}

/// A reader's end. There can be any number of them.
#[derive(Debug)]
pub struct CounterPage {
    words: Words,
    places: Places,
}

impl Clone for CounterPage {
    fn clone(&self) -> CounterPage {
        CounterPage { words: self.words.share(), places: self.places.clone() }
    }
}

/// Both ends of a new page on the heap, all zero, for a feed with this many lines.
pub fn open(lines: usize) -> (CounterWriter, CounterPage) {
    let places = Places::new();
    let len = HEADER_WORDS + Counter::ALL.iter().map(|counter| words(counter.scope())).sum::<usize>();
    let page = Words::heap(len * 8);
    page.store_relaxed(1, VERSION);
    page.store_relaxed(2, lines as u64);
    // last: whoever finds it finds the rest too (Acquire in CounterPage::is_ready)
    page.store_release(0, MAGIC);
    (CounterWriter { words: page.share(), places: places.clone() }, CounterPage { words: page, places })
}

impl CounterWriter {
    /// Stores a counter of the feed. Does nothing for a counter of another scope; nor do the methods below.
    #[inline]
    pub fn set(&self, counter: Counter, value: u64) {
        self.store(counter, Scope::Feed, 0, value);
    }

    /// Stores a counter of a line.
    #[inline]
    pub fn set_line(&self, counter: Counter, line: Line, value: u64) {
        self.store(counter, Scope::Line, line.index(), value);
    }

    /// Stores a counter of a pair of lines: `first` was ahead of `other`.
    #[inline]
    pub fn set_pair(&self, counter: Counter, first: Line, other: Line, value: u64) {
        if let Some(at) = pair(first, other) {
            self.store(counter, Scope::Pair, at, value);
        }
    }

    #[inline]
    fn store(&self, counter: Counter, scope: Scope, at: usize, value: u64) {
        if let Some(at) = self.places.of(counter, scope, at) {
            // each word stands alone: no reader concludes anything about another word from it
            self.words.store_relaxed(at, value);
        }
    }
}

impl CounterPage {
    /// Whether this is a page of counters, of the version that this program knows.
    pub fn is_ready(&self) -> bool {
        // pairs with the Release store in `open`
        self.words.load_acquire(0) == MAGIC && self.words.load_relaxed(1) == VERSION
    }

    /// How many lines the feed has.
    pub fn lines(&self) -> usize {
        usize::try_from(self.words.load_relaxed(2)).unwrap_or(0).min(LINES_MAX)
    }

    /// A counter of the feed; zero for a counter of another scope, as with the methods below.
    pub fn get(&self, counter: Counter) -> u64 {
        self.load(counter, Scope::Feed, 0)
    }

    /// A counter of a line.
    pub fn line(&self, counter: Counter, line: Line) -> u64 {
        self.load(counter, Scope::Line, line.index())
    }

    /// A counter of a pair of lines: first the one that was ahead, then the other.
    pub fn pair(&self, counter: Counter, first: Line, other: Line) -> u64 {
        pair(first, other).map_or(0, |at| self.load(counter, Scope::Pair, at))
    }

    /// A counter of a line, summed over the feed's lines.
    pub fn total(&self, counter: Counter) -> u64 {
        (0..self.lines()).map(|line| self.line(counter, Line(line as u8))).fold(0, u64::saturating_add)
    }

    fn load(&self, counter: Counter, scope: Scope, at: usize) -> u64 {
        self.places.of(counter, scope, at).map_or(0, |at| self.words.load_relaxed(at))
    }
}

fn pair(first: Line, other: Line) -> Option<usize> {
    (first.index() < LINES_MAX && other.index() < LINES_MAX).then(|| first.index() * LINES_MAX + other.index())
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_counter_has_words_of_its_own() {
        let (writer, page) = open(8);
        assert!(page.is_ready());
        let mut value = 0;
        let mut expected = Vec::new();
        for &counter in Counter::ALL {
            for at in 0..words(counter.scope()) {
                value += 1;
                let (first, other) = (Line((at / LINES_MAX) as u8), Line((at % LINES_MAX) as u8));
                match counter.scope() {
                    Scope::Feed => writer.set(counter, value),
                    Scope::Line => writer.set_line(counter, Line(at as u8), value),
                    Scope::Pair => writer.set_pair(counter, first, other, value),
                }
                expected.push((counter, at, value));
            }
        }
        for (counter, at, value) in expected {
            assert_eq!(page.load(counter, counter.scope(), at), value, "{} {at}", counter.name());
        }
        assert!(page.is_ready(), "no counter is in the header");
        assert_eq!(page.lines(), 8);
    }

    #[test]
    fn names_are_unique_and_every_counter_says_what_it_means() {
        let names: BTreeSet<&str> = Counter::ALL.iter().map(|counter| counter.name()).collect();
        assert_eq!(names.len(), Counter::ALL.len());
        assert!(Counter::ALL.iter().all(|counter| counter.help().ends_with('.')));
    }

    #[test]
    fn a_counter_of_another_scope_is_neither_stored_nor_read() {
        let (writer, page) = open(2);
        writer.set(Counter::Datagrams, 1);
        writer.set_line(Counter::Pulse, Line(0), 2);
        writer.set_line(Counter::Datagrams, Line(200), 3);
        writer.set_pair(Counter::LeadMedian, Line(8), Line(0), 4);
        assert!((0..page.words.len()).skip(HEADER_WORDS).all(|at| page.words.load_relaxed(at) == 0));
        assert_eq!((page.get(Counter::Datagrams), page.line(Counter::Pulse, Line(0))), (0, 0));
        writer.set_line(Counter::Missing, Line(0), 5);
        writer.set_line(Counter::Missing, Line(1), 6);
        writer.set_line(Counter::Missing, Line::RECOVERY, 7);
        assert_eq!((page.total(Counter::Missing), page.line(Counter::Missing, Line::RECOVERY)), (11, 7));
    }
}
