//! The state machine, sans I/O: no clock, no socket, no thread, no log. Time is an argument.
//!
//! An [`Arbiter`] is a function of the list of its calls: [`on_frame`](Arbiter::on_frame), [`advance`](Arbiter::advance),
//! [`finish`](Arbiter::finish), with stamps that never go back. It reports everything to a [`Sink`], at once. The same list gives
//! the same calls, to the byte, so a live run and its replay are equal (ARBITRATION 1, 10).
//!
//! ```
//! use twinline_core::arbiter::{Arbiter, Event, Run, Settings, Sink};
//! use twinline_core::frame::Line;
//! use twinline_core::framing::{Framing, MoldUdp64};
//! use twinline_core::frame::Session;
//! use twinline_core::Nanos;
//!
//! #[derive(Default)]
//! struct Messages(Vec<String>);
//!
//! impl Sink for Messages {
//!     fn event(&mut self, _: &Event) {}
//!
//!     fn release(&mut self, run: &Run<'_>) {
//!         self.0.extend(run.messages().map(|m| String::from_utf8_lossy(m).into_owned()));
//!     }
//! }
//!
//! // two lines; line A loses the second datagram, line B packs them in one
//! let mut arbiter = Arbiter::new(Settings::new(MoldUdp64.rules(), vec![true, true], 1));
//! let mut sink = Messages::default();
//! let mut datagram = Vec::new();
//! let a: [(u64, &[&[u8]]); 2] = [(1, &[b"one"]), (3, &[b"three"])];
//! let b: [(u64, &[&[u8]]); 1] = [(1, &[b"one", b"two", b"three"])];
//! let a = a.iter().map(|sent| (Line(0), sent));
//! let b = b.iter().map(|sent| (Line(1), sent));
//! for (stamp, (line, (first, messages))) in a.chain(b).enumerate() {
//!     MoldUdp64.encode(Session::text(b"TODAY"), *first, messages, 1_400, &mut datagram);
//!     let frame = MoldUdp64.frame(&datagram, &mut 0).unwrap().unwrap();
//!     arbiter.on_frame(Nanos(stamp as u64), line, 0, &frame, &mut sink);
//! }
//! assert_eq!(sink.0, ["one", "two", "three"]);
//! ```
//!
//! Cost: constant work per message. A number's fate is looked up in a ring of the last 65,536. Only opening, splitting or closing
//! a gap costs more: the logarithm of the number of gaps. Memory is bounded for the whole feed by the [`Settings`]
//! ([`Settings::memory`] says by how much). It is taken when it is first needed, and never by a frame that the stream can take at
//! once. What waits for a gap is copied once.

mod candidates;
mod channel;
mod event;
mod hold;
mod index;
mod lead;
mod limits;
mod lost;
mod memory;
mod report;
mod settings;
mod shelf;
mod span;
mod status;
mod stream;
mod suspicion;
mod upkeep;
mod verify;
mod window;

#[cfg(test)]
mod tests;

pub use event::{
    ChannelRef, EpochEndReason, Event, EventJson, EventKind, LagReason, LineState, Loss, LostReason, Run, RunFlags,
    Sink, line_name,
};
pub use lead::LeadHistogram;
pub use limits::{Limits, MemoryUse};
pub use report::{ChannelReport, EpochCounts, LineCounts};
pub use settings::{GapTimeout, Settings, Verify};
pub use stream::OpenGap;

use candidates::Candidates;
use channel::{Channel, Quick};
use memory::{Memory, Shared};
use upkeep::Due;

use crate::frame::{ChannelKey, Frame, FrameKind, LINES_MAX, Line};
use crate::time::Nanos;

/// Stands for no place.
const NOWHERE: u16 = u16::MAX;

/// How many channels a feed may have.
pub const CHANNELS_MAX: usize = 256;

/// Takes the first copy of every message, from whichever line it came, and puts the stream in order. See the [module](self).
pub struct Arbiter {
    settings: Settings,
    /// In the order in which they began.
    channels: Vec<Channel>,
    /// `(name, place)`, sorted by name.
    names: Vec<(ChannelKey, u16)>,
    /// The place of each group's channel if frames name no channel; [`NOWHERE`] if it has not begun.
    by_group: Box<[u16]>,
    /// The place that the last frame went to, if frames name channels.
    last_place: u16,
    candidates: Candidates,
    memory: Memory,
    no_channel: u64,
    other_keys: u64,
    /// The last stamp.
    now: Nanos,
    /// Nothing is due before this time.
    due: Nanos,
}

impl Arbiter {
    /// An arbiter that has seen nothing yet.
    pub fn new(settings: Settings) -> Arbiter {
        let by_group = vec![NOWHERE; usize::from(settings.groups)].into_boxed_slice();
        let settings = settings.bounded();
        Arbiter {
            memory: Memory::new(&settings),
            settings,
            by_group,
            channels: Vec::with_capacity(CHANNELS_MAX),
            names: Vec::with_capacity(CHANNELS_MAX),
            last_place: 0,
            candidates: Candidates::new(),
            no_channel: 0,
            other_keys: 0,
            now: Nanos::ZERO,
            due: Nanos::MAX,
        }
    }

    /// A frame arrived on `line`, from that line's group number `group`. A stamp before the last one counts as the last one.
    ///
    /// A frame of a line that the settings do not have is ignored, except for its stamp. A caller that takes lines from
    /// configuration has no such line.
    #[inline(always)]
    pub fn on_frame<S: Sink>(&mut self, stamp: Nanos, line: Line, group: u16, frame: &Frame<'_>, sink: &mut S) {
        self.advance(stamp, sink);
        let place = match frame.key {
            None => self.by_group.get(usize::from(group)).map_or(NOWHERE, |&place| place),
            Some(_) => self.last_place,
        };
        if let Some(channel) = self.channels.get_mut(usize::from(place))
            && channel.at.key == (ChannelKey { group, key: frame.key })
        {
            match channel.on_quick_frame::<false, S>(&self.settings, &mut self.memory, self.now, line, frame, sink) {
                Quick::No => {}
                Quick::Done => return,
                Quick::Followed => {
                    self.due = self.due.min(channel.due);
                    return;
                }
            }
        }
        // a copy: taking the frame's address here would keep it in memory on the short way as well
        let frame = *frame;
        if frame.key.is_some_and(|_| self.on_another_channel(line, group, &frame, sink)) {
            return;
        }
        self.on_frame_slowly(line, group, &frame, sink);
    }

    /// A frame that may belong to another channel than the last one did, and be a usual one there. If not: false, and nothing is
    /// done.
    #[inline(never)]
    fn on_another_channel<S: Sink>(&mut self, line: Line, group: u16, frame: &Frame<'_>, sink: &mut S) -> bool {
        let Some(place) = self.place(ChannelKey { group, key: frame.key }) else { return false };
        let Some(channel) = self.channels.get_mut(place) else { return false };
        let quick = channel.on_quick_frame::<false, S>(&self.settings, &mut self.memory, self.now, line, frame, sink);
        if quick == Quick::Followed {
            self.due = self.due.min(channel.due);
        }
        quick != Quick::No
    }

    /// A frame in any case but the usual one. Time has already been advanced to it.
    #[cold]
    #[inline(never)]
    fn on_frame_slowly<S: Sink>(&mut self, line: Line, group: u16, frame: &Frame<'_>, sink: &mut S) {
        if line.index() >= self.settings.lines() && line != Line::RECOVERY {
            return;
        }
        let name = ChannelKey { group, key: frame.key };
        let Some(place) = self.place(name) else {
            self.on_unknown(line, name, frame, sink);
            return;
        };
        let channel = &mut self.channels[place];
        if self.settings.verify.is_on() {
            match channel.on_quick_frame::<true, S>(&self.settings, &mut self.memory, self.now, line, frame, sink) {
                Quick::No => {}
                Quick::Done => return,
                Quick::Followed => {
                    self.due = self.due.min(channel.due);
                    return;
                }
            }
        }
        channel.on_frame(
            &mut Shared { settings: &self.settings, memory: &mut self.memory, sink },
            self.now,
            line,
            frame,
        );
        self.due = self.due.min(channel.due);
    }

    /// Nothing arrived up to `stamp`: whatever is due by then happens, each thing at its own time.
    #[inline]
    pub fn advance<S: Sink>(&mut self, stamp: Nanos, sink: &mut S) {
        self.now = self.now.max(stamp);
        if self.now >= self.due {
            self.fire(sink);
        }
    }

    /// The input has ended at `stamp`: whatever is parked, held or open is resolved (ARBITRATION 1.4). Call it once.
    pub fn finish<S: Sink>(&mut self, stamp: Nanos, sink: &mut S) {
        self.advance(stamp, sink);
        if self.channels.is_empty()
            && let Some(lone) = self.candidates.take_lone()
        {
            self.begin(lone, usize::MAX, sink);
        }
        self.no_channel += self.candidates.drop_all(&mut self.memory);
        let mut shared = Shared { settings: &self.settings, memory: &mut self.memory, sink };
        for at in 0..self.names.len() {
            let place = usize::from(self.names[at].1);
            self.channels[place].finish(&mut shared, self.now);
        }
        debug_assert_eq!(self.memory.waiting_and_held(), [0; 5], "nothing waits any more");
    }

    /// The place of a channel that has begun.
    fn place(&mut self, name: ChannelKey) -> Option<usize> {
        let at = self.names.binary_search_by_key(&name, |&(name, _)| name).ok()?;
        self.last_place = self.names[at].1;
        Some(usize::from(self.last_place))
    }

    /// Fires whatever is due, in the order of 1.3.
    #[cold]
    #[inline(never)]
    fn fire<S: Sink>(&mut self, sink: &mut S) {
        let mut shared = Shared { settings: &self.settings, memory: &mut self.memory, sink };
        loop {
            let mut next: Option<(Nanos, ChannelKey, Due, usize, usize)> = None;
            self.due = Nanos::MAX;
            for (place, channel) in self.channels.iter_mut().enumerate() {
                if channel.due <= self.now {
                    // the bound may be too early: lines may have been heard since
                    let exact = channel.next_due(shared.settings, shared.memory);
                    channel.due = exact.map_or(Nanos::MAX, |(at, ..)| at);
                    if let Some((at, due, line)) = exact.filter(|&(at, ..)| at <= self.now) {
                        let this = (at, channel.at.key, due, line, place);
                        next = Some(next.map_or(this, |next| next.min(this)));
                    }
                }
                self.due = self.due.min(channel.due);
            }
            let Some((at, _, due, line, place)) = next else { return };
            self.channels[place].fire(&mut shared, at, due, line);
        }
    }

    /// A frame of a channel that has not begun.
    #[cold]
    #[inline(never)]
    fn on_unknown<S: Sink>(&mut self, line: Line, name: ChannelKey, frame: &Frame<'_>, sink: &mut S) {
        if let Some(key) = name.key
            && !self.settings.keys.is_empty()
            && !self.settings.keys.contains(&key)
        {
            self.other_keys += 1;
            return;
        }
        if frame.kind == FrameKind::Unsequenced || self.channels.len() == CHANNELS_MAX {
            self.no_channel += 1;
            return;
        }
        let (found, dropped) = self.candidates.add(&self.settings, &mut self.memory, self.now, line, name, frame);
        self.no_channel += dropped;
        if let Some((candidate, agreed_with)) = found {
            self.begin(candidate, agreed_with, sink);
        }
    }

    /// A channel begins. `last` is the place of the frame that confirmed others; if there is no such place, all frames count.
    fn begin<S: Sink>(&mut self, mut candidate: candidates::Candidate, last: usize, sink: &mut S) {
        let agreed = candidate.agreed(&self.settings, last);
        let of_start = candidate.frames.iter().zip(&agreed).filter(|(_, agreed)| **agreed).map(|(stored, _)| stored);
        let Some(start) = of_start.min_by_key(|stored| stored.first) else { return };
        let (session, first) = (start.session, start.first);
        let place = self.channels.len();
        let at = ChannelRef { index: place as u16, key: candidate.name };
        let mut shared = Shared { settings: &self.settings, memory: &mut self.memory, sink };
        let mut channel = Channel::new(&mut shared, at, session, first, candidate.counts, self.now);
        candidate.frames.iter().for_each(|stored| shared.memory.shelf.take(stored));
        for believed in [true, false] {
            for (stored, _) in candidate.frames.iter().zip(&agreed).filter(|(_, agreed)| **agreed == believed) {
                channel.first_frame(&mut shared, self.now, stored, believed);
            }
        }
        candidate.frames.drain(..).for_each(|stored| shared.memory.shelf.give_back(stored));
        channel.follow_up(&mut shared, self.now);
        self.due = self.due.min(channel.due);
        self.channels.push(channel);
        let sorted = self.names.partition_point(|&(name, _)| name < candidate.name);
        self.names.insert(sorted, (candidate.name, place as u16));
        if let (None, Some(by_group)) = (candidate.name.key, self.by_group.get_mut(usize::from(candidate.name.group))) {
            *by_group = place as u16;
        }
    }

    /// The counters of every channel that has begun, in the order of their names.
    pub fn channels(&self) -> impl Iterator<Item = ChannelReport> + '_ {
        self.names.iter().map(|&(_, place)| self.channels[usize::from(place)].report(&self.settings))
    }

    /// One counter of a line, summed over all channels. Does not allocate, so the hot path may ask.
    pub fn line_total(&self, line: Line, counter: impl Fn(&LineCounts) -> u64) -> u64 {
        let views = self.channels.iter().filter_map(|channel| channel.lines.get(line.index()));
        views.map(|view| counter(&view.counts)).sum()
    }

    /// What a line brought, summed over all channels. Does not allocate.
    pub fn line_counts(&self, line: Line) -> LineCounts {
        let views = self.channels.iter().filter_map(|channel| channel.lines.get(line.index()));
        views.fold(LineCounts::default(), |sum, view| sum.plus(&view.counts))
    }

    /// How many channels have begun.
    pub fn channel_count(&self) -> usize {
        self.channels.len()
    }

    /// The channel with the most first arrivals. Does not allocate.
    pub fn busiest_channel(&self) -> Option<ChannelKey> {
        let firsts = |channel: &Channel| channel.lines.iter().map(|view| view.counts.first_arrivals).sum::<u64>();
        self.channels.iter().max_by_key(|channel| firsts(channel)).map(|channel| channel.at.key)
    }

    /// How many frames belonged to channels that never began. Before the input has ended: how many were dropped so far.
    pub fn no_channel(&self) -> u64 {
        self.no_channel
    }

    /// How many frames belonged to channels that the settings do not ask for.
    pub fn other_keys(&self) -> u64 {
        self.other_keys
    }

    /// By how much `first` was ahead of `later` on a channel, over every number that both brought while it was among the last
    /// 65,536.
    pub fn lead(&self, channel: ChannelKey, first: Line, later: Line) -> Option<LeadHistogram<'_>> {
        let at = self.names.binary_search_by_key(&channel, |&(name, _)| name).ok()?;
        self.channels[usize::from(self.names[at].1)].leads().pair(first, later)
    }

    /// What a channel is missing and still waits for, lowest first, and since when: what recovery would ask for.
    pub fn wanted(&self, channel: ChannelKey) -> impl Iterator<Item = OpenGap> + '_ {
        let at = self.names.binary_search_by_key(&channel, |&(name, _)| name).ok();
        let channel = at.map(|at| &self.channels[usize::from(self.names[at].1)]);
        channel.into_iter().flat_map(|channel| channel.stream.gaps(&self.memory))
    }

    /// Whether there are channels, and the session of each has ended.
    pub fn all_ended(&self) -> bool {
        !self.channels.is_empty() && self.channels.iter().all(Channel::is_ended)
    }

    /// The shortest current gap timeout of all channels. A live pass must stay well below it (1.2).
    pub fn gap_timeout_min(&self) -> Nanos {
        let unknown = match self.settings.gap_timeout {
            GapTimeout::After(span) => span,
            GapTimeout::Auto => lead::TIMEOUT_UNKNOWN,
        };
        self.channels.iter().map(|channel| channel.gap_timeout(&self.settings)).min().unwrap_or(unknown)
    }

    /// The value that [`Arbiter::gap_timeout_min`] never falls below. Looks at no channel.
    pub fn gap_timeout_least(&self) -> Nanos {
        match self.settings.gap_timeout {
            GapTimeout::After(span) => span,
            GapTimeout::Auto => lead::TIMEOUT_MIN,
        }
    }

    /// The settings in use.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }
}

impl std::fmt::Debug for Arbiter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Arbiter { settings, channels, now, .. } = self;
        let mut arbiter = f.debug_struct("Arbiter");
        arbiter.field("settings", settings).field("channels", &channels.len()).field("now", now).finish_non_exhaustive()
    }
}

/// The lines' counters before their channel has begun.
type CountsByLine = [LineCounts; LINES_MAX + 1];
