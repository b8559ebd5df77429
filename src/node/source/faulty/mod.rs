//! Faults on any source.
//!
//! ```text
//!  source -> draw -+-> lost
//!                  +-> waits to be overtaken -+
//!                  +--------------------------+-> an outage -> lost
//!                                             +-> due now  -> handed over, twice if it is duplicated
//!                                             +-> due later -> pool -> handed over by a later pass
//! ```

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};

use crate::fault::{BEHIND_MAX, Fate, FaultCounts, Faults, LineFaults, Overtaken, Share};
use crate::os::{Clock, KernelStamp};
use crate::source::live::{LineFacts, SourceFacts};
use crate::source::{CountedSource, Datagram, Pass, Source};
use twinline_core::Nanos;
use twinline_core::frame::{LINES_MAX, Line};

/// What delays and outages are measured by. They begin at zero.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum FaultTime {
    /// By passes: each takes this long. For simulations, which know no time.
    Passes(Nanos),
    /// By the stamps of the datagrams, from the first one on; a delayed datagram gets a later stamp. For captures. A source whose
    /// datagrams carry no stamps stands still at zero.
    Stamps,
    /// By a clock, read once per pass, from the first pass on. For live lines.
    Clock(Clock),
}

/// The settings of a [`FaultySource`].
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct FaultySettings {
    /// Decides all that is drawn.
    pub seed: u64,
    /// What delays and outages are measured by.
    pub time: FaultTime,
    /// How many datagrams may be delayed or wait to be overtaken at once, on all lines together.
    pub datagrams_max: usize,
    /// The longest datagram that may be delayed or wait, in bytes of UDP payload. The pool takes `datagrams_max` times as many
    /// bytes.
    pub bytes_max: usize,
}

impl FaultySettings {
    /// Seed 1, and a pool of 4,096 datagrams of 2,048 bytes (8 MiB, which the system hands out when it is first touched).
    pub fn new(time: FaultTime) -> FaultySettings {
        FaultySettings { seed: 1, time, datagrams_max: 4_096, bytes_max: 2_048 }
    }
}

/// A source whose lines lose, repeat, reorder, delay and corrupt what another source brings, live ones too.
///
/// The model and its random streams are the publisher's ([`fault`](crate::fault)). The same seed and the same datagrams per line
/// give the same faults, whatever the other lines bring.
///
/// What is delayed or waits to be overtaken is copied to a pool that is allocated at the start. A datagram for which the pool has
/// no room is dropped and counted ([`FaultySource::no_room`]). After the start nothing is allocated.
///
/// ```
/// use twinline_core::frame::Line;
/// use twinline_core::Nanos;
/// use twinline_node::fault::{Faults, Outage};
/// use twinline_node::source::{FaultTime, FaultySettings, FaultySource, Simulated, Source};
///
/// let (a, b) = (Line(0), Line(1));
/// let simulated = Simulated::new(2).pass([(a, "1"), (b, "1")]).pass([(b, "2"), (a, "2")]).pass([(a, "3"), (b, "3")]);
/// // line A is away in the second pass
/// let outage = Outage { from: Nanos(1), to: Nanos(2) };
/// let faults = [Faults { outages: vec![outage], ..Faults::default() }, Faults::default()];
/// let mut source = FaultySource::new(simulated, faults, FaultySettings::new(FaultTime::Passes(Nanos(1))));
///
/// let mut seen = Vec::new();
/// while !source.poll(&mut |datagram| seen.push((datagram.line, datagram.payload[0])))?.ended {}
/// assert_eq!(seen, [(a, b'1'), (b, b'1'), (b, b'2'), (a, b'3'), (b, b'3')]);
/// assert_eq!(source.counts(a).lost_in_outages, 1);
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct FaultySource<S> {
    source: S,
    ended: bool,
    state: State,
}

/// All but the source.
#[derive(Debug)]
struct State {
    time: FaultTime,
    lines: Vec<FaultyLine>,
    pool: Pool,
    /// Where a byte is changed in a datagram that is not delayed.
    scratch: Box<[u8]>,
    /// The time that faults go by.
    now: Nanos,
    passes: u64,
    /// The stamp, or the clock's reading, that is zero.
    zero: Option<Nanos>,
    /// The latest stamp that was handed over: stamps never go back.
    latest: Option<Nanos>,
    handed_over: [HandedOver; LINES_MAX],
}

#[derive(Debug)]
struct FaultyLine {
    faults: LineFaults,
    waiting: Overtaken<u32>,
    no_room: u64,
}

#[derive(Clone, Copy, Debug, Default)]
struct HandedOver {
    datagrams: u64,
    bytes: u64,
}

/// Datagrams that were copied, in places of the same size.
#[derive(Debug)]
struct Pool {
    places: Box<[Kept]>,
    bytes: Box<[u8]>,
    bytes_max: usize,
    free: Vec<u32>,
    /// Those on their way, by due time; equal ones in the order in which they came.
    due: BinaryHeap<Reverse<(Nanos, u64, u32)>>,
    pushed: u64,
}

/// A datagram, without its payload.
#[derive(Clone, Copy, Debug)]
struct Kept {
    line: Line,
    group: u16,
    source: SocketAddrV4,
    stamp: Option<Nanos>,
    kernel_stamp: Option<KernelStamp>,
    len: usize,
    fate: Fate,
}

impl<S> FaultySource<S> {
    /// Faults on the lines of `source`: the first are line 0's. Lines beyond the last of them have none.
    ///
    /// Reordering is by line, whatever the group.
    pub fn new(source: S, faults: impl IntoIterator<Item = Faults>, settings: FaultySettings) -> FaultySource<S> {
        let mut corrupts = false;
        let lines = (0..=u8::MAX).map(Line).zip(faults).map(|(line, faults)| {
            corrupts |= faults.corrupt != Share::NEVER;
            let behind = faults.reorder.map_or(0, |reorder| reorder.behind.min(BEHIND_MAX));
            FaultyLine {
                faults: LineFaults::new(faults, settings.seed, line, Nanos::ZERO),
                waiting: Overtaken::with_capacity(behind as usize),
                no_room: 0,
            }
        });
        let lines = lines.collect();
        let state = State {
            time: settings.time,
            lines,
            pool: Pool::new(settings.datagrams_max, settings.bytes_max),
            scratch: vec![0; if corrupts { 1 << 16 } else { 0 }].into(),
            now: Nanos::ZERO,
            passes: 0,
            zero: None,
            latest: None,
            handed_over: [HandedOver::default(); LINES_MAX],
        };
        FaultySource { source, ended: false, state }
    }

    /// What the faults did to a line's datagrams so far; nothing for a line that has none.
    pub fn counts(&self, line: Line) -> FaultCounts {
        self.state.lines.get(line.index()).map_or(FaultCounts::default(), |line| line.faults.counts())
    }

    /// How many of a line's datagrams were dropped because the pool was full, or they were longer than its places.
    pub fn no_room(&self, line: Line) -> u64 {
        self.state.lines.get(line.index()).map_or(0, |line| line.no_room)
    }

    /// The wrapped source.
    pub fn get_ref(&self) -> &S {
        &self.source
    }
}

impl<S: Source> Source for FaultySource<S> {
    /// Hands over what is due by now, then what the source brings. Once the source has ended, nothing waits to be overtaken any
    /// more, and the source is not polled again; `ended` follows once nothing is delayed either.
    fn poll(&mut self, take: &mut impl FnMut(Datagram<'_>)) -> io::Result<Pass> {
        let FaultySource { source, ended, state } = self;
        let mut datagrams = 0;
        let mut take = |datagram: Datagram<'_>| {
            datagrams += 1;
            take(datagram);
        };
        state.begin_pass();
        state.hand_over_due(&mut take);
        let mut full = false;
        if !*ended {
            let pass = source.poll(&mut |datagram| state.on_datagram(&datagram, &mut take))?;
            full = pass.full;
            if pass.ended {
                *ended = true;
                state.end(&mut take);
            }
        }
        Ok(Pass { datagrams, full, ended: *ended && state.pool.due.is_empty() })
    }
}

impl<S: CountedSource> CountedSource for FaultySource<S> {
    /// The source's, but for the datagrams and bytes, which are those that were handed over here.
    fn facts(&self) -> SourceFacts {
        let mut facts = self.source.facts();
        for (line, handed_over) in facts.lines.iter_mut().zip(&self.state.handed_over) {
            *line = LineFacts { datagrams: handed_over.datagrams, bytes: handed_over.bytes, ..*line };
        }
        facts
    }
}

impl State {
    fn begin_pass(&mut self) {
        match self.time {
            FaultTime::Passes(each) => self.now = Nanos(self.passes.saturating_mul(each.0)),
            FaultTime::Clock(clock) => {
                let reading = clock.now();
                self.now = reading - *self.zero.get_or_insert(reading);
            }
            FaultTime::Stamps => {}
        }
        self.passes += 1;
    }

    fn on_datagram(&mut self, datagram: &Datagram<'_>, take: &mut impl FnMut(Datagram<'_>)) {
        if let (FaultTime::Stamps, Some(stamp)) = (self.time, datagram.stamp) {
            self.now = self.now.max(stamp - *self.zero.get_or_insert(stamp));
            self.hand_over_due(take);
        }
        let at = datagram.line.index();
        let Some(line) = self.lines.get_mut(at) else {
            self.hand_over(*datagram, 1, take);
            return;
        };
        let fate = line.faults.draw(datagram.payload.len());
        if let (None, Some(behind)) = (fate.lost, fate.behind)
            && line.waiting.may_wait(behind)
        {
            match self.pool.keep(datagram, fate) {
                Some(place) => line.waiting.wait(behind, place),
                None => line.no_room += 1,
            }
            return;
        }
        let (due, dropped) = line.faults.arrive(self.now, &fate);
        if dropped.is_some() {
            return;
        }
        if due <= self.now {
            self.hand_over_now(datagram, &fate, take);
        } else if let Some(place) = self.pool.keep(datagram, fate) {
            self.pool.push(due, place);
        } else {
            line.no_room += 1;
            return;
        }
        self.lines[at].waiting.pass();
        while let Some(place) = self.lines[at].waiting.next_ready() {
            self.leave(at, place, true, take);
        }
    }

    /// A datagram of the pool has waited long enough: it meets the rest of its line's faults.
    fn leave(&mut self, line: usize, place: u32, overtaken: bool, take: &mut impl FnMut(Datagram<'_>)) {
        let faults = &mut self.lines[line].faults;
        let fate = self.pool.places[place as usize].fate;
        let (due, dropped) = faults.arrive(self.now, &fate);
        if dropped.is_some() {
            self.pool.free.push(place);
            return;
        }
        if overtaken {
            faults.count_reordered();
        }
        if due <= self.now {
            self.hand_over_kept(place, None, take);
        } else {
            self.pool.push(due, place);
        }
    }

    /// The source has ended: nothing is overtaken any more, and stamps do not go on.
    fn end(&mut self, take: &mut impl FnMut(Datagram<'_>)) {
        for line in 0..self.lines.len() {
            while let Some((place, overtaken)) = self.lines[line].waiting.give_up() {
                self.leave(line, place, overtaken, take);
            }
        }
        if let FaultTime::Stamps = self.time {
            self.now = Nanos::MAX;
            self.hand_over_due(take);
        }
    }

    #[inline]
    fn hand_over_due(&mut self, take: &mut impl FnMut(Datagram<'_>)) {
        while let Some((due, place)) = self.pool.pop(self.now) {
            self.hand_over_kept(place, Some(due), take);
        }
    }

    /// Hands over a datagram of the pool, which was on its way until `due` if it was delayed.
    fn hand_over_kept(&mut self, place: u32, due: Option<Nanos>, take: &mut impl FnMut(Datagram<'_>)) {
        let kept = self.pool.places[place as usize];
        let stamp = match (self.time, self.zero, due) {
            (FaultTime::Stamps, Some(zero), Some(due)) => kept.stamp.map(|_| zero + due),
            _ => kept.stamp,
        };
        let from = place as usize * self.pool.bytes_max;
        // taken out while it is handed over, which needs all of `self`
        let bytes = std::mem::take(&mut self.pool.bytes);
        let datagram = Datagram {
            line: kept.line,
            group: kept.group,
            source: kept.source,
            stamp,
            kernel_stamp: kept.kernel_stamp,
            payload: &bytes[from..from + kept.len],
        };
        self.hand_over(datagram, copies(&kept.fate), take);
        self.pool.bytes = bytes;
        self.pool.free.push(place);
    }

    /// Hands over a datagram that is not delayed.
    fn hand_over_now(&mut self, datagram: &Datagram<'_>, fate: &Fate, take: &mut impl FnMut(Datagram<'_>)) {
        let Some((byte, by)) = fate.corrupt else {
            self.hand_over(*datagram, copies(fate), take);
            return;
        };
        let mut scratch = std::mem::take(&mut self.scratch);
        if let Some(payload) = scratch.get_mut(..datagram.payload.len()) {
            payload.copy_from_slice(datagram.payload);
            payload[byte] ^= by;
            self.hand_over(Datagram { payload, ..*datagram }, copies(fate), take);
        }
        self.scratch = scratch;
    }

    #[inline]
    fn hand_over(&mut self, datagram: Datagram<'_>, copies: usize, take: &mut impl FnMut(Datagram<'_>)) {
        // with a capture whose datagrams are delayed by passes, stamps would go back
        let stamp = datagram.stamp.map(|stamp| self.latest.map_or(stamp, |latest| latest.max(stamp)));
        self.latest = stamp.or(self.latest);
        if let Some(handed_over) = self.handed_over.get_mut(datagram.line.index()) {
            handed_over.datagrams += copies as u64;
            handed_over.bytes += (copies * datagram.payload.len()) as u64;
        }
        for _ in 0..copies {
            take(Datagram { stamp, ..datagram });
        }
    }
}

fn copies(fate: &Fate) -> usize {
    if fate.duplicate { 2 } else { 1 }
}

impl Pool {
    fn new(datagrams_max: usize, bytes_max: usize) -> Pool {
        let datagrams_max = datagrams_max.min(u32::MAX as usize);
        let fate = Fate { lost: None, corrupt: None, duplicate: false, behind: None, delay: Nanos::ZERO };
        let source = SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0);
        let empty = Kept { line: Line(0), group: 0, source, stamp: None, kernel_stamp: None, len: 0, fate };
        Pool {
            places: vec![empty; datagrams_max].into(),
            bytes: vec![0; datagrams_max * bytes_max].into(),
            bytes_max,
            free: (0..datagrams_max as u32).rev().collect(),
            due: BinaryHeap::with_capacity(datagrams_max),
            pushed: 0,
        }
    }

    /// Copies a datagram to a place, if there is one for it, and changes its byte.
    fn keep(&mut self, datagram: &Datagram<'_>, fate: Fate) -> Option<u32> {
        let len = datagram.payload.len();
        if len > self.bytes_max {
            return None;
        }
        let place = self.free.pop()?;
        let from = place as usize * self.bytes_max;
        let payload = &mut self.bytes[from..from + len];
        payload.copy_from_slice(datagram.payload);
        if let Some((byte, by)) = fate.corrupt {
            payload[byte] ^= by;
        }
        let &Datagram { line, group, source, stamp, kernel_stamp, .. } = datagram;
        self.places[place as usize] = Kept { line, group, source, stamp, kernel_stamp, len, fate };
        Some(place)
    }

    fn push(&mut self, due: Nanos, place: u32) {
        self.due.push(Reverse((due, self.pushed, place)));
        self.pushed += 1;
    }

    /// The first that is due by `now`. Its place is still its own.
    #[inline]
    fn pop(&mut self, now: Nanos) -> Option<(Nanos, u32)> {
        let &Reverse((due, _, place)) = self.due.peek()?;
        if due > now {
            return None;
        }
        self.due.pop();
        Some((due, place))
    }
}

#[cfg(test)]
mod tests;
