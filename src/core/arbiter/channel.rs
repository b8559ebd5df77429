//! One channel: what an accepted frame does to the current epoch.
//!
//! A frame that the epoch can take at once goes the short way, [`Channel::on_quick_frame`]. Any other frame goes the long way,
//! [`Channel::on_frame`]: `suspicion` (jumps, other sessions, resets, restarts) decides whether the frame is taken,
//! [`Channel::accept`] takes it, and [`Channel::follow_up`] does what follows from it.

use super::event::{ChannelRef, EventKind, LagReason, LineState, LostReason, Run, RunFlags, Sink};
use super::lead::{Leads, RecentLead};
use super::lost::LostRanges;
use super::memory::{Memory, Shared};
use super::report::{Epochs, LineCounts};
use super::settings::{GapTimeout, Settings};
use super::shelf::{Arrival, Fingerprint, Stored};
use super::status::{FirstCopy, SPAN, Status};
use super::stream::{Out, Part, Standing, Stream};
use super::window::Window;
use crate::frame::{Frame, FrameKind, LINES_MAX, Line, Session};
use crate::seq::{SeqNo, SeqRange};
use crate::time::Nanos;

/// Which session a line shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shows {
    Nothing,
    Current,
    /// A session that is not the current one, confirmed by two frames in a row.
    Other {
        session: Session,
        /// Whether the session is over. Then nothing follows from it.
        stale: bool,
        since: Nanos,
        /// One past the highest number of this session that the line has shown, as on the wire.
        mark: u64,
        /// When a frame after those two last raised the mark.
        advanced: Option<Nanos>,
    },
}

/// A session that a line's last frame carried, not confirmed yet.
#[derive(Clone, Copy)]
pub(super) struct Candidate {
    pub(super) session: Session,
    pub(super) fingerprint: Fingerprint,
    pub(super) mark: u64,
}

/// Since when a line has been behind, and what it has brought since.
#[derive(Clone, Copy)]
pub(super) struct Behind {
    pub(super) since: Nanos,
    pub(super) data: bool,
    pub(super) heartbeats: bool,
}

/// A line, as one channel sees it.
pub(super) struct LineView {
    pub(super) counts: LineCounts,
    pub(super) window: Window,
    /// The epoch that the window belongs to.
    pub(super) epoch: u32,
    /// Whether it has brought data in that epoch, other than the reset itself.
    pub(super) data_in_epoch: bool,
    pub(super) was_silent: bool,
    pub(super) heard: bool,
    pub(super) live: bool,
    pub(super) last_shown: Nanos,
    pub(super) shows: Shows,
    pub(super) candidate: Option<Candidate>,
    pub(super) heartbeat_reset: Option<(u64, Fingerprint)>,
    /// How many frames are held because they may be an unmarked restart.
    pub(super) restarting: u8,
    pub(super) behind: Option<Behind>,
    /// Whether it has been behind for long enough to count as lagging.
    pub(super) lags: bool,
    pub(super) state: LineState,
    /// Which way its frames may go.
    pub(super) way: Way,
    /// Bit `i` is set if a lead of line `i` over this line counts for the automatic timeout (5.4).
    pub(super) paired: u16,
}

impl LineView {
    /// The line shows numbers, and its account is running.
    #[inline(never)]
    fn show(&mut self, first: SeqNo, end: SeqNo) {
        let judged = self.window.show(SeqRange::new(first, end), first);
        self.counts.judge(judged);
    }

    /// Why it lags, judging by what it has brought since it fell behind.
    pub(super) fn lag_reason(&self) -> Option<LagReason> {
        self.behind.map(|behind| match behind {
            Behind { data: true, .. } => LagReason::Slow,
            Behind { heartbeats: true, .. } => LagReason::Heartbeats,
            _ => LagReason::Frozen,
        })
    }

    /// Forgets the lag: what happened in one epoch does not count in the next.
    pub(super) fn forget_lag(&mut self) {
        (self.behind, self.lags) = (None, false);
    }
}

/// An end of session that was announced.
#[derive(Clone, Copy)]
pub(super) struct End {
    pub(super) number: SeqNo,
    pub(super) deadline: Nanos,
    pub(super) overdue: bool,
    pub(super) said: bool,
}

/// A session that is over or was put aside.
pub(super) struct Remembered {
    pub(super) session: Session,
    pub(super) next: SeqNo,
    /// Whether it ended by its own end of session. Then it does not come back.
    pub(super) complete: bool,
    pub(super) first: SeqNo,
    pub(super) place: Option<usize>,
    pub(super) lost_ranges: LostRanges,
}

/// The epoch that is about to begin, after a reset that was acted on.
pub(super) struct Pending {
    pub(super) first: SeqNo,
    pub(super) deadline: Nanos,
}

/// Whether a line's frames may be taken at once.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// No: something is special about the line or the channel.
    Long,
    /// Yes: the short way.
    Short,
    /// Yes, but copies are compared: the short way, with comparison.
    Verified,
}

/// What the short way did with a frame.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Quick {
    /// Nothing: the frame is for [`Channel::on_frame`].
    No,
    /// It took the frame.
    Done,
    /// It took the frame, and something may have followed from that, such as another time at which the channel is next due.
    Followed,
}

pub(super) struct Channel {
    pub(super) at: ChannelRef,
    pub(super) session: Session,
    pub(super) stream: Stream,
    pub(super) lines: [LineView; LINES_MAX + 1],
    /// Number of the current epoch; this channel's epochs are numbered in order.
    pub(super) epoch: u32,
    /// The epoch's first number.
    pub(super) base: SeqNo,
    /// Where the epoch began or was resumed.
    pub(super) began_at: SeqNo,
    /// Where a line's account starts: at this number, or, if `None`, at the line's own first number.
    pub(super) account_from: Option<SeqNo>,
    /// The epoch's place in the list, if it is listed.
    pub(super) place: Option<usize>,
    pub(super) epochs: Epochs,
    pub(super) end: Option<End>,
    /// When a frame of the current session was last seen.
    pub(super) current_shown: Nanos,
    /// The other sessions seen most recently, and when; the newest is last.
    pub(super) others_shown: Vec<(Session, Nanos)>,
    /// When the mark last rose.
    pub(super) advanced: Nanos,
    pub(super) remembered: Vec<Remembered>,
    /// Lists of lost ranges that no epoch uses.
    pub(super) lost_ranges: Vec<LostRanges>,
    /// Frames that jump too far (4.1), and lone frames of other sessions (6.2).
    pub(super) parked: Vec<Stored>,
    /// Frames of other sessions (6.2), and their weight in messages and bytes.
    pub(super) of_other_sessions: Vec<Stored>,
    pub(super) other_sessions_weight: (u64, u64),
    pub(super) pending: Option<Pending>,
    /// Frames of the epoch that is about to begin (6.4), and their weight in messages and bytes.
    pub(super) pending_frames: Vec<Stored>,
    pub(super) pending_weight: (u64, u64),
    /// The most recent resets that were acted on.
    pub(super) acted: Vec<Fingerprint>,
    /// Frames that may be an unmarked restart (6.6).
    pub(super) restarts: Vec<Stored>,
    /// Once the mark is above this, some line may have fallen behind.
    pub(super) lag_mark: SeqNo,
    /// First-copy output: one past the highest number released.
    pub(super) first_cursor: SeqNo,
    pub(super) status: Status,
    leads: Leads,
    recent: RecentLead,
    /// Nothing is due before this time.
    pub(super) due: Nanos,
}

impl Channel {
    /// A channel that begins at `first`; `now` is the stamp of the frame that created it.
    pub(super) fn new<S: Sink>(
        shared: &mut Shared<'_, S>,
        at: ChannelRef,
        session: Session,
        first: SeqNo,
        counts: [LineCounts; LINES_MAX + 1],
        now: Nanos,
    ) -> Channel {
        let settings = shared.settings;
        let mut memory = shared.memory.channel(settings);
        let lost_ranges = memory.lost_ranges.pop().unwrap_or_else(|| LostRanges::with_room(0));
        let line = |(i, (counts, window)): (usize, (LineCounts, Window))| LineView {
            counts,
            window,
            epoch: 0,
            data_in_epoch: false,
            was_silent: false,
            heard: false,
            // a line that the feed does not have is never waited for
            live: i < settings.lines(),
            last_shown: now,
            shows: Shows::Nothing,
            candidate: None,
            heartbeat_reset: None,
            restarting: 0,
            behind: None,
            lags: false,
            state: LineState::Waiting,
            way: Way::Long,
            paired: 0,
        };
        let lines: Vec<LineView> = counts.into_iter().zip(memory.windows).enumerate().map(line).collect();
        let Ok(lines) = lines.try_into() else { unreachable!("as many lines as counts") };
        let mut channel = Channel {
            at,
            session,
            stream: Stream::new(memory.gaps, lost_ranges),
            lines,
            epoch: 0,
            base: first,
            began_at: first,
            account_from: None,
            place: None,
            epochs: Epochs::new(),
            end: None,
            current_shown: now,
            others_shown: Vec::new(),
            advanced: now,
            remembered: Vec::new(),
            lost_ranges: memory.lost_ranges,
            parked: Vec::new(),
            of_other_sessions: Vec::new(),
            other_sessions_weight: (0, 0),
            pending: None,
            pending_frames: Vec::new(),
            pending_weight: (0, 0),
            acted: Vec::new(),
            restarts: Vec::new(),
            lag_mark: SeqNo(0),
            first_cursor: first,
            status: memory.status,
            leads: memory.leads,
            recent: memory.recent,
            due: Nanos::ZERO,
        };
        channel.place = channel.epochs.begin(session, first, &mut shared.memory.epochs_listed);
        channel.stream.start(first);
        channel.out(now, shared).event(EventKind::Epoch { session, first });
        channel
    }

    pub(super) fn out<'s, S>(&self, now: Nanos, shared: &'s mut Shared<'_, S>) -> Out<'s, S> {
        let Shared { sink, memory, .. } = shared;
        Out { sink, memory, now, channel: self.at, session: self.session }
    }

    pub(super) fn leads(&self) -> &Leads {
        &self.leads
    }

    /// Uses one of the frames with which a channel begins: one that agreed, or one that was parked with those.
    pub(super) fn first_frame<S: Sink>(
        &mut self,
        shared: &mut Shared<'_, S>,
        now: Nanos,
        stored: &Stored,
        agreed: bool,
    ) {
        let view = &mut self.lines[stored.line.index()];
        view.heard = true;
        view.last_shown = stored.stamp;
        view.live = stored.stamp + shared.settings.silent_after > now;
        if agreed {
            view.shows = Shows::Current;
            self.accept(shared, now, &stored.arrival(), stored.first);
        } else {
            self.route(shared, now, &stored.arrival());
        }
    }

    /// How long to wait for a gap if there is no recovery.
    #[inline]
    pub(super) fn gap_timeout(&self, settings: &Settings) -> Nanos {
        match settings.gap_timeout {
            GapTimeout::After(span) => span,
            GapTimeout::Auto => self.recent.timeout(),
        }
    }

    /// The short way: takes a frame that arrived on `line` if the epoch can take it at once, because it brings the next numbers
    /// or copies of earlier ones.
    ///
    /// It is inlined whole. Nothing after it takes the frame's address, so the frame stays in registers from the framing on. It
    /// is compiled a second time for feeds that compare copies (`VERIFIED`), so that the first version pays nothing for that.
    #[inline(always)]
    pub(super) fn on_quick_frame<const VERIFIED: bool, S: Sink>(
        &mut self,
        settings: &Settings,
        memory: &mut Memory,
        now: Nanos,
        line: Line,
        frame: &Frame<'_>,
        sink: &mut S,
    ) -> Quick {
        let Some(view) = self.lines.get_mut(line.index()) else { return Quick::No };
        let plain = frame.kind == FrameKind::Data && !frame.heartbeat && frame.reset.is_none();
        let way = if VERIFIED { Way::Verified } else { Way::Short };
        if view.way != way || !plain || frame.session != self.session {
            return Quick::No;
        }
        let next = self.stream.next;
        let first = settings.rules.width.extend(frame.sequence, view.window.mark(), next, settings.max_jump);
        let count = u64::from(frame.count);
        // the framing has made sure that this does not wrap
        let end = SeqNo(first.0.wrapping_add(count));
        let part = Part {
            first,
            count: frame.count,
            line,
            stamp: now,
            heartbeat: false,
            packing: frame.packing,
            body: frame.body,
        };
        if first == next && first == self.first_cursor {
            if !view.window.show_next(first, end) {
                view.show(first, end);
            }
            view.counts.first_arrivals += count;
            if VERIFIED {
                self.verify(settings, &part, &mut Out { sink, memory, now, channel: self.at, session: self.session });
            }
            self.status.arrive(first, count, line, now);
            (self.stream.mark, self.first_cursor, self.advanced) = (end, end, now);
            let mut out = Out { sink: &mut *sink, memory, now, channel: self.at, session: self.session };
            out.sink.first(&part.run(self.at, self.session));
            self.stream.release(&part, false, &mut out);
        } else if end <= next && first >= self.base && !(settings.rules.unmarked_restart && fell(settings, view, first))
        {
            match self.status.copies(first, count, next, line) {
                Some(copy) if copy.again => {}
                Some(copy) => {
                    let lead = now.abs_diff(copy.stamp);
                    self.leads.add(copy.line, line, lead, count);
                    if view.paired >> copy.line.0 & 1 != 0 {
                        self.recent.add(lead, count);
                    }
                }
                None if !self.copies_apart(settings, now, line, SeqRange::new(first, end)) => return Quick::No,
                None => {}
            }
            if VERIFIED {
                self.verify(settings, &part, &mut Out { sink, memory, now, channel: self.at, session: self.session });
            }
            let view = &mut self.lines[line.index()];
            if !view.window.show_next(first, end) {
                view.show(first, end);
            }
            view.counts.duplicate += count;
        } else {
            return Quick::No;
        }
        sink.shown(now, self.at, line, SeqRange::new(first, end));
        let view = &mut self.lines[line.index()];
        view.counts.frames += 1;
        view.counts.bytes += frame.bytes.len() as u64;
        view.counts.messages += count;
        view.last_shown = now;
        self.current_shown = now;
        if end > self.lag_mark {
            self.look_around(settings, memory, now, sink);
            return Quick::Followed;
        }
        Quick::Done
    }

    /// Notes copies of numbers whose first copies arrived separately, because the line packs differently from the first one. If
    /// not all of the numbers have arrived, returns false and does nothing.
    #[inline(never)]
    fn copies_apart(&mut self, settings: &Settings, now: Nanos, line: Line, range: SeqRange) -> bool {
        let known = self.status.knows(range, self.stream.mark);
        let mut n = range.first;
        while known && n < range.end {
            self.copy(settings, n, line, now);
            n += 1;
        }
        known
    }

    /// [`Channel::follow_up`], for the rare times when the short way needs it.
    #[cold]
    #[inline(never)]
    fn look_around<S: Sink>(&mut self, settings: &Settings, memory: &mut Memory, now: Nanos, sink: &mut S) {
        self.follow_up(&mut Shared { settings, memory, sink }, now);
    }

    /// The long way: a frame arrived on `line`.
    pub(super) fn on_frame<S: Sink>(&mut self, shared: &mut Shared<'_, S>, now: Nanos, line: Line, frame: &Frame<'_>) {
        let view = &mut self.lines[line.index()];
        view.counts.frame(frame);
        view.last_shown = now;
        view.heard = true;
        view.live = true;
        if let Some(behind) = &mut view.behind {
            let data = frame.kind.has_messages() && !frame.heartbeat;
            behind.data |= data;
            behind.heartbeats |= !data;
        }
        let arrival = Arrival::new(*frame, line, now);
        if frame.kind == FrameKind::Unsequenced {
            view.counts.unsequenced += u64::from(frame.count);
            if frame.count > 0 {
                let part = whole(&arrival, SeqNo(0));
                let mut run = part.run(self.at, self.session);
                run.flags.unsequenced = true;
                shared.sink.unsequenced(&run);
            }
            self.unsequenced_reset(shared, now, &arrival);
        } else {
            view.counts.messages += u64::from(frame.count);
            self.route(shared, now, &arrival);
        }
        let view = &mut self.lines[line.index()];
        if view.epoch == self.epoch {
            view.was_silent = false;
        }
        self.follow_up(shared, now);
    }

    /// Takes a frame, which is believed, into the current epoch. `first` is its first number.
    pub(super) fn accept<S: Sink>(
        &mut self,
        shared: &mut Shared<'_, S>,
        now: Nanos,
        arrival: &Arrival<'_>,
        first: SeqNo,
    ) {
        let Arrival { frame, line, .. } = arrival;
        let settings = shared.settings;
        let index = line.index();
        let mut rest = whole(arrival, first);
        if first < self.base {
            let before = rest.split_to(self.base);
            let view = &mut self.lines[index];
            view.counts.before_join += u64::from(before.count);
            view.window.raise(before.end());
            if rest.count == 0 {
                return;
            }
        }
        let shown = SeqRange::new(rest.first, rest.end());
        let view = &mut self.lines[index];
        view.data_in_epoch |= frame.kind.has_messages() && frame.reset.is_none();
        if *line != Line::RECOVERY {
            let judged = view.window.show(shown, self.account_from.unwrap_or(shown.first));
            view.counts.judge(judged);
            shared.sink.shown(arrival.stamp, self.at, *line, shown);
        }
        let mark = self.stream.mark;
        let first_cursor = self.first_cursor;
        self.output_first(&rest, now, shared.sink);
        let mut out = self.out(now, shared);
        if shown.first > mark {
            if shown.first - mark >= SPAN {
                // nothing in it is among the last numbers any more, and far ahead the tags repeat
                self.status.clear();
            }
            let timeout = settings.recovery_timeout.unwrap_or_else(|| self.gap_timeout(settings));
            self.stream.open(shown.first, *line, now + timeout, &mut out);
        }
        if settings.verify.is_on() {
            // before any number's standing changes, so that the event comes before `filled` (11)
            self.verify(settings, &rest, &mut out);
        }
        while rest.count > 0 {
            self.take(settings, &mut rest, first_cursor, &mut out);
        }
        if frame.kind.has_messages() && self.end.is_some_and(|end| end.number < shown.end) {
            self.end = None;
        }
        if self.stream.mark > mark {
            self.advanced = now;
            self.cancel_restarts_but(*line);
        }
        if frame.kind.ends_session() && shown.end == self.stream.mark {
            let news = self.end.is_none_or(|end| end.number < shown.end);
            if news {
                let deadline = now + self.gap_timeout(settings);
                self.end = Some(End { number: shown.end, deadline, overdue: false, said: false });
            }
        }
        // the other channels are within the feed's limits, so giving up all gaps of this one is always enough
        let full = |stream: &Stream, memory: &Memory| {
            stream.held_messages() > settings.hold_messages || memory.holds_too_much(settings)
        };
        while !self.stream.is_level() && full(&self.stream, out.memory) {
            self.stream.lose_lowest(LostReason::Hold, &mut out);
        }
        let full =
            |stream: &Stream, memory: &Memory| stream.open_gaps() > settings.gaps_max || memory.too_many_gaps(settings);
        while !self.stream.is_level() && full(&self.stream, out.memory) {
            self.stream.lose_lowest(LostReason::Gaps, &mut out);
        }
        while self.use_called_off(shared, now) {}
        self.settle(shared, now);
        self.say_ended(shared, now);
    }

    /// Takes the messages at the front of `rest` that have the same standing.
    fn take<S: Sink>(&mut self, settings: &Settings, rest: &mut Part<'_>, first_cursor: SeqNo, out: &mut Out<'_, S>) {
        let line = rest.line;
        let n = rest.first;
        if n >= self.stream.mark {
            let part = rest.split_to(rest.end());
            self.arrive(&part);
            self.stream.append(&part, out);
            return;
        }
        if self.copy(settings, n, line, rest.stamp) {
            rest.split_to(n + 1);
            self.lines[line.index()].counts.duplicate += 1;
            return;
        }
        match self.stream.standing(out.memory, n) {
            Standing::There => {
                rest.split_to(n + 1);
                self.lines[line.index()].counts.duplicate += 1;
            }
            Standing::Missing(gap) => {
                let part = rest.split_to(Stream::gap(out.memory, gap).end);
                self.arrive(&part);
                self.output_first_late(part, first_cursor, out);
                self.stream.fill(gap, &part, out);
            }
            Standing::Lost(lost) => {
                let part = rest.split_to(lost.end);
                self.lines[line.index()].counts.late += u64::from(part.count);
                self.note_first_copies(&part);
                self.stream.found(part.range());
                self.output_first_late(part, first_cursor, out);
                let mut run = part.run(self.at, self.session);
                run.flags.late = true;
                out.sink.late(&run);
            }
        }
    }

    /// The first copy of `part` has arrived.
    fn arrive(&mut self, part: &Part<'_>) {
        self.lines[part.line.index()].counts.first_arrivals += u64::from(part.count);
        self.note_first_copies(part);
    }

    /// Notes which line brought each number first, and when. A number that is no longer among the last has no slot: a newer one
    /// has taken it.
    fn note_first_copies(&mut self, part: &Part<'_>) {
        let first = part.first.max(self.stream.mark.saturating_sub(SPAN));
        self.status.arrive(first, part.end() - first, part.line, part.stamp);
    }

    /// Notes another copy of `n` if the status ring knows the first one; otherwise returns false.
    #[inline]
    fn copy(&mut self, settings: &Settings, n: SeqNo, line: Line, stamp: Nanos) -> bool {
        let Some(first) = self.status.copy(n, self.stream.mark, line) else { return false };
        self.note_lead(settings, first, line, stamp, 1);
        true
    }

    /// Notes by how much `first` was ahead of `line` for the same `count` numbers.
    #[inline]
    fn note_lead(&mut self, settings: &Settings, first: FirstCopy, line: Line, stamp: Nanos, count: u64) {
        if !first.again && first.line != line {
            let lead = stamp.abs_diff(first.stamp);
            self.leads.add(first.line, line, lead, count);
            if settings.gap_timeout == GapTimeout::Auto
                && settings.waits(line.index())
                && settings.waits(first.line.index())
                && self.lines[first.line.index()].live
            {
                self.recent.add(lead, count);
            }
        }
    }

    /// First-copy output (3.3): whatever is above everything released so far goes out at once.
    fn output_first<S: Sink>(&mut self, part: &Part<'_>, now: Nanos, sink: &mut S) {
        if part.count == 0 || part.end() <= self.first_cursor {
            return;
        }
        let mut rest = *part;
        rest.split_to(self.first_cursor);
        if rest.first > self.first_cursor {
            sink.first_gap(now, self.at, self.session, SeqRange::new(self.first_cursor, rest.first));
        }
        self.first_cursor = rest.end();
        sink.first(&rest.run(self.at, self.session));
    }

    /// First-copy output: numbers that were skipped and have arrived after all.
    fn output_first_late<S: Sink>(&mut self, mut part: Part<'_>, first_cursor: SeqNo, out: &mut Out<'_, S>) {
        let late = part.split_to(first_cursor);
        if late.count > 0 {
            let mut run: Run<'_> = late.run(self.at, self.session);
            run.flags = RunFlags { late: true, ..run.flags };
            out.sink.first(&run);
        }
    }
}

/// Whether a frame that starts at `first` is more than `settle` below its line's own mark.
#[inline]
pub(super) fn fell(settings: &Settings, view: &LineView, first: SeqNo) -> bool {
    view.window.mark().is_some_and(|own| own - first > settings.settle)
}

/// All of a frame's messages.
pub(super) fn whole<'a>(arrival: &Arrival<'a>, first: SeqNo) -> Part<'a> {
    let Arrival { frame, line, stamp, .. } = *arrival;
    Part {
        first,
        count: frame.count,
        line,
        stamp,
        heartbeat: frame.heartbeat,
        packing: frame.packing,
        body: frame.body,
    }
}
