//! What follows on a channel from a frame or a deadline: what is settled, ended or due, which lines lag or are silent, and how an
//! epoch ends and another one begins.

use super::channel::{Behind, Channel, LineView, Remembered, Shows, Way};
use super::event::{EpochEndReason, EventKind, LineState, LostReason, Sink};
use super::memory::{Memory, Shared};
use super::report::ChannelReport;
use super::settings::{GapTimeout, Settings};
use super::window::Judged;
use crate::frame::{LINES_MAX, Line, Session};
use crate::seq::{SeqNo, SeqRange};
use crate::time::Nanos;

/// What can fall due, in the order of 1.3.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Due {
    Gap,
    Ended,
    Grace,
    Lag,
    Silent,
}

impl Channel {
    /// Gives up the gaps that every line which could still fill them has gone past (5.2).
    pub(super) fn settle<S: Sink>(&mut self, shared: &mut Shared<'_, S>, now: Nanos) {
        if shared.settings.recovery_timeout.is_some() || self.stream.is_level() {
            return;
        }
        let mut lowest: Option<SeqNo> = None;
        for (i, view) in self.lines.iter().enumerate().take(shared.settings.lines()) {
            if view.live && shared.settings.waits(i) {
                let Some(mark) = self.mark_of(view) else { return };
                lowest = Some(lowest.map_or(mark, |low| low.min(mark)));
            }
        }
        let Some(lowest) = lowest else { return };
        let settle = shared.settings.settle;
        let mut out = self.out(now, shared);
        let settled = |gap: SeqRange| lowest.0.checked_sub(gap.end.0 - 1).is_some_and(|past| past >= settle);
        while self.stream.lowest_gap(out.memory).is_some_and(settled) {
            self.stream.lose_lowest(LostReason::Settled, &mut out);
        }
    }

    /// A line's mark in the current epoch. A line that has moved to the pending epoch keeps its mark until that one begins.
    fn mark_of(&self, view: &LineView) -> Option<SeqNo> {
        if view.epoch >= self.epoch { view.window.mark() } else { None }
    }

    /// Whether the end of the session was announced and everything before it was released or lost.
    pub(super) fn is_complete(&self) -> bool {
        self.end.is_some_and(|end| self.stream.next >= end.number)
    }

    /// Whether the `ended` event was reported.
    pub(super) fn is_ended(&self) -> bool {
        self.end.is_some_and(|end| end.said)
    }

    /// Reports the end of the session if it is due (6.5).
    pub(super) fn say_ended<S: Sink>(&mut self, shared: &mut Shared<'_, S>, now: Nanos) {
        let Some(end) = self.end else { return };
        if end.said || !self.is_complete() {
            return;
        }
        let reached = |view: &LineView| self.mark_of(view) >= Some(end.number);
        let mut live = self.lines.iter().take(shared.settings.lines()).filter(|view| view.live).peekable();
        if end.overdue || (live.peek().is_some() && live.all(reached)) {
            self.say_ended_now(shared, now);
        }
    }

    pub(super) fn say_ended_now<S: Sink>(&mut self, shared: &mut Shared<'_, S>, now: Nanos) {
        if let Some(end) = &mut self.end
            && !end.said
        {
            end.said = true;
            let (session, next) = (self.session, end.number);
            self.out(now, shared).event(EventKind::Ended { session, next });
        }
    }

    /// Does whatever follows from a frame or a deadline, until nothing more does.
    pub(super) fn follow_up<S: Sink>(&mut self, shared: &mut Shared<'_, S>, now: Nanos) {
        loop {
            if self.use_parked(shared, now) {
                continue;
            }
            self.settle(shared, now);
            self.say_ended(shared, now);
            if !(self.begin_pending_if_due(shared, now) || self.take_over_if_due(shared, now)) {
                break;
            }
        }
        self.judge_lag(shared.settings, now);
        self.say_states(shared, now);
        let calm = self.stream.is_level()
            && self.parked.is_empty()
            && self.of_other_sessions.is_empty()
            && self.pending.is_none()
            && self.restarts.is_empty()
            && self.end.is_none();
        let live = |i: usize| self.lines.get(i).is_some_and(|view| view.live);
        let auto = shared.settings.gap_timeout == GapTimeout::Auto;
        let counting: u16 =
            (0..shared.settings.lines()).filter(|&i| auto && shared.settings.waits(i) && live(i)).map(|i| 1 << i).sum();
        for (i, view) in self.lines.iter_mut().enumerate() {
            view.paired = if shared.settings.waits(i) { counting & !(1 << i) } else { 0 };
            let at_once = calm
                && view.state == LineState::Up
                && view.live
                && view.epoch == self.epoch
                && view.shows == Shows::Current
                && view.window.mark().is_some()
                && view.candidate.is_none()
                && view.heartbeat_reset.is_none()
                && view.restarting == 0
                && view.data_in_epoch
                && view.behind.is_none();
            view.way = match at_once {
                false => Way::Long,
                true if shared.settings.verify.is_on() => Way::Verified,
                true => Way::Short,
            };
        }
        self.due = self.next_due(shared.settings, shared.memory).map_or(Nanos::MAX, |(at, ..)| at);
    }

    /// Finds the lines that are more than `settle` behind the channel (7.2), and the mark from which on another one may be.
    fn judge_lag(&mut self, settings: &Settings, now: Nanos) {
        let mark = self.stream.mark;
        let mut low = SeqNo(u64::MAX);
        for view in &mut self.lines[..settings.lines()] {
            // a line that has shown nothing of the epoch yet counts as being where the epoch began
            let own = if view.epoch >= self.epoch { view.window.mark() } else { None };
            let own = own.unwrap_or(self.began_at);
            if !view.heard || mark - own <= settings.settle {
                (view.behind, view.lags) = (None, false);
                // a line that was never heard is waiting, not lagging
                if view.heard {
                    low = low.min(own + settings.settle);
                }
            } else if view.behind.is_none() {
                view.behind = Some(Behind { since: now, data: false, heartbeats: false });
            }
        }
        self.lag_mark = low;
    }

    /// Reports each line's state if it has changed.
    fn say_states<S: Sink>(&mut self, shared: &mut Shared<'_, S>, now: Nanos) {
        let lines = shared.settings.lines();
        let mut out = self.out(now, shared);
        for (i, view) in self.lines.iter_mut().enumerate().take(lines) {
            let to = match view.shows {
                _ if !view.live => LineState::Silent,
                _ if !view.heard => LineState::Waiting,
                Shows::Other { .. } => LineState::OtherSession,
                _ if view.lags => LineState::Lagging,
                _ => LineState::Up,
            };
            if to != view.state {
                let (from, why) = (view.state, if to == LineState::Lagging { view.lag_reason() } else { None });
                view.state = to;
                out.event(EventKind::Line { line: Line(i as u8), from, to, why });
            }
        }
    }

    /// What is due next: when, of which kind (1.3), and for which line, if it concerns one.
    pub(super) fn next_due(&self, settings: &Settings, memory: &Memory) -> Option<(Nanos, Due, usize)> {
        let mut next: Option<(Nanos, Due, usize)> = None;
        let mut consider = |at: Nanos, due: Due, line: usize| {
            if next.is_none_or(|next| (at, due, line) < next) {
                next = Some((at, due, line));
            }
        };
        if let Some(at) = self.stream.deadline(memory) {
            consider(at, Due::Gap, 0);
        }
        if let Some(end) = self.end
            && !end.said
            && !end.overdue
        {
            consider(end.deadline, Due::Ended, 0);
        }
        if let Some(pending) = &self.pending {
            consider(pending.deadline, Due::Grace, 0);
        }
        if let Some(at) = self.grace_due(settings) {
            consider(at, Due::Grace, 0);
        }
        for (i, view) in self.lines.iter().enumerate().take(settings.lines()) {
            if let Some(behind) = view.behind.filter(|_| !view.lags) {
                consider(behind.since + Nanos(settings.silent_after.0 / 4), Due::Lag, i);
            }
            if view.live {
                consider(view.last_shown + settings.silent_after, Due::Silent, i);
            }
        }
        next
    }

    /// Does what [`Channel::next_due`] returned, at its own time.
    pub(super) fn fire<S: Sink>(&mut self, shared: &mut Shared<'_, S>, at: Nanos, due: Due, line: usize) {
        match due {
            Due::Gap => {
                let mut out = self.out(at, shared);
                self.stream.lose_due(&mut out);
            }
            Due::Ended => {
                if let Some(end) = &mut self.end {
                    end.overdue = true;
                }
            }
            Due::Grace => {
                if self.pending.as_ref().is_some_and(|pending| pending.deadline <= at) {
                    self.begin_pending(shared, at, EpochEndReason::Reset);
                }
            }
            Due::Lag => {
                self.lines[line].lags = true;
            }
            Due::Silent => {
                self.lines[line].live = false;
                self.lines[line].was_silent = true;
            }
        }
        self.follow_up(shared, at);
    }

    /// The input has ended (1.4).
    pub(super) fn finish<S: Sink>(&mut self, shared: &mut Shared<'_, S>, now: Nanos) {
        for stored in std::mem::take(&mut self.restarts) {
            self.lines[stored.line.index()].counts.implausible += u64::from(stored.count);
            shared.memory.shelf.discard(stored);
        }
        self.drop_parked(shared.memory, None);
        for stored in std::mem::take(&mut self.of_other_sessions) {
            self.lines[stored.line.index()].counts.implausible += u64::from(stored.count);
            shared.memory.shelf.discard(stored);
        }
        self.other_sessions_weight = (0, 0);
        let mut out = self.out(now, shared);
        self.stream.lose_all(LostReason::Finish, &mut out);
        if self.pending.is_some() {
            self.begin_pending(shared, now, EpochEndReason::Reset);
            self.drop_parked(shared.memory, None);
            let mut out = self.out(now, shared);
            self.stream.lose_all(LostReason::Finish, &mut out);
        }
        if self.is_complete() {
            self.say_ended_now(shared, now);
        }
        self.flush_windows();
    }

    /// Drops parked frames of a session, or of all sessions if `None`: nothing has confirmed them.
    pub(super) fn drop_parked(&mut self, memory: &mut Memory, session: Option<Session>) {
        let (dropped, kept): (Vec<_>, Vec<_>) = std::mem::take(&mut self.parked)
            .into_iter()
            .partition(|stored| session.is_none_or(|session| stored.session == session));
        self.parked = kept;
        for stored in dropped {
            self.lines[stored.line.index()].counts.implausible += u64::from(stored.count);
            memory.shelf.discard(stored);
        }
    }

    /// Closes the lines' accounts of the epoch.
    pub(super) fn flush_windows(&mut self) {
        for view in &mut self.lines[..LINES_MAX] {
            if view.epoch >= self.epoch {
                view.counts.judge(Judged { missing: view.window.flush(), reordered: 0 });
            }
        }
    }

    /// The channel's current counters.
    pub(super) fn report(&self, settings: &Settings) -> ChannelReport {
        let mut epochs = self.epochs.listed().to_vec();
        let ended = self.is_ended();
        if let Some(epoch) = self.place.and_then(|place| epochs.get_mut(place)) {
            epoch.next = self.stream.next;
            epoch.delivered += self.stream.delivered;
            epoch.lost = epoch.lost.saturating_add(self.stream.lost);
            epoch.ended = ended;
        }
        ChannelReport {
            channel: self.at,
            epochs,
            epochs_omitted: self.epochs.omitted,
            delivered: self.epochs.delivered + self.stream.delivered,
            lost: self.epochs.lost.saturating_add(self.stream.lost),
            late: self.lines.iter().map(|view| view.counts.late).sum(),
            ended,
            lines: self.lines.iter().map(|view| view.counts).collect(),
            states: self.lines.iter().take(settings.lines()).map(|view| view.state).collect(),
            gap_timeout: self.gap_timeout(settings),
        }
    }

    /// Ends the current epoch. Gaps that are still open are lost now.
    pub(super) fn end_epoch<S: Sink>(&mut self, shared: &mut Shared<'_, S>, now: Nanos, why: EpochEndReason) {
        let mut out = self.out(now, shared);
        self.stream.lose_all(LostReason::Epoch, &mut out);
        if self.is_complete() {
            self.say_ended_now(shared, now);
        }
        self.flush_windows();
        self.drop_parked(shared.memory, Some(self.session));
        self.lines.iter_mut().for_each(LineView::forget_lag);
        let (session, next) = (self.session, self.stream.next);
        self.epochs.end(self.place, next, self.stream.delivered, self.stream.lost, self.is_ended());
        self.out(now, shared).event(EventKind::EpochEnd { session, next, why });
    }

    /// Begins an epoch at `first`, or resumes it.
    pub(super) fn begin_epoch<S: Sink>(
        &mut self,
        shared: &mut Shared<'_, S>,
        now: Nanos,
        session: Session,
        first: SeqNo,
        again: Option<Remembered>,
    ) {
        self.epoch += 1;
        self.session = session;
        self.end = None;
        self.advanced = now;
        self.began_at = first;
        self.first_cursor = first;
        self.status.clear();
        match again {
            Some(remembered) => {
                (self.base, self.account_from, self.place) = (remembered.first, Some(first), remembered.place);
                let emptied = self.stream.resume(first, remembered.lost_ranges);
                self.lost_ranges.push(emptied);
            }
            None => {
                (self.base, self.account_from) = (first, Some(first));
                self.place = self.epochs.begin(session, first, &mut shared.memory.epochs_listed);
                self.stream.start(first);
            }
        }
        self.out(now, shared).event(EventKind::Epoch { session, first });
    }
}
