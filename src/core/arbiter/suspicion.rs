//! What may not be believed at once: jumps (ARBITRATION 4.1), other sessions and the change to one (6.2, 6.3), marked resets
//! (6.4), unmarked restarts (6.6), lines that were left behind in an older epoch (6.7).
//!
//! Every frame here ends in one of three ways: it is accepted into the current epoch, it is put on the shelf, or it is counted
//! under its fate.

use super::channel::{Candidate, Channel, Pending, Remembered, Shows, fell};
use super::event::{EpochEndReason, Sink};
use super::lost::LostRanges;
use super::memory::{Memory, SESSIONS_REMEMBERED, Shared, WAITING_ROOM};
use super::settings::Settings;
use super::shelf::{Arrival, Fingerprint, Stored};
use crate::frame::{FrameKind, LINES_MAX, Line, Reset, Session};
use crate::seq::SeqNo;
use crate::time::Nanos;

/// How many frames a line may have parked.
pub(super) const PARKED_MAX: usize = 8;
/// For how many other sessions it is remembered when they were last shown.
const OTHERS_REMEMBERED: usize = 16;
/// How many resets that were acted on are remembered.
const RESETS_REMEMBERED: usize = 8;
/// How many frames an unmarked restart must go on for before it is believed.
const RESTART_FRAMES: u8 = 8;

/// Parks a frame. If its line has parked too many, removes and returns the line's oldest, which counts as implausible.
pub(super) fn park(parked: &mut Vec<Stored>, stored: Stored) -> Option<Stored> {
    let line = stored.line;
    let mut dropped = None;
    if parked.iter().filter(|other| other.line == line).count() >= PARKED_MAX
        && let Some(oldest) = parked.iter().position(|other| other.line == line)
    {
        dropped = Some(parked.remove(oldest));
    }
    parked.push(stored);
    dropped
}

/// Whether a parked frame confirms another one that starts at `first` on `line`: it is near, and not a copy that the network
/// made.
pub(super) fn agrees(stored: &Stored, first: SeqNo, line: Line, fingerprint: Fingerprint, max_jump: u64) -> bool {
    stored.first.abs_diff(first) <= max_jump
        && stored.line != Line::RECOVERY
        && line != Line::RECOVERY
        && !(stored.line == line && stored.fingerprint == fingerprint)
}

impl Channel {
    /// Takes a sequenced frame, of the current session or of another.
    pub(super) fn route<S: Sink>(&mut self, shared: &mut Shared<'_, S>, now: Nanos, arrival: &Arrival<'_>) {
        if arrival.frame.session != self.session {
            self.other_session(shared, now, arrival);
            return;
        }
        let view = &mut self.lines[arrival.line.index()];
        view.shows = Shows::Current;
        view.candidate = None;
        // what a rewinder still sends of a session does not keep it alive
        if arrival.line != Line::RECOVERY {
            self.current_shown = now;
        }
        self.in_session(shared, now, arrival);
    }

    /// The frame's first number, extended by the line's mark and the channel's.
    fn extend(&self, settings: &Settings, arrival: &Arrival<'_>) -> SeqNo {
        let mark = self.lines[arrival.line.index()].window.mark();
        settings.rules.width.extend(arrival.frame.sequence, mark, self.stream.mark, settings.max_jump)
    }

    /// Takes a frame of the current session: decides which of its epochs the frame belongs to.
    pub(super) fn in_session<S: Sink>(&mut self, shared: &mut Shared<'_, S>, now: Nanos, arrival: &Arrival<'_>) {
        let index = arrival.line.index();
        self.bear_out_heartbeat_reset(shared, now, arrival);
        match arrival.frame.reset {
            Some(Reset::Marked(first)) if !self.goes_on_flagged(shared.settings, arrival, first) => {
                self.reset(shared, now, arrival.line, first, arrival.fingerprint());
            }
            Some(Reset::Heartbeat(first)) => {
                let view = &mut self.lines[index];
                if view.heartbeat_reset.is_none() {
                    view.heartbeat_reset = Some((first, arrival.fingerprint()));
                }
                return;
            }
            Some(Reset::Marked(_)) | None => {}
        }
        let newest = self.newest();
        if self.pending.is_some() && self.lines[index].epoch == newest {
            self.hold_pending(shared, now, arrival);
            return;
        }
        let first = self.extend(shared.settings, arrival);
        let fell = fell(shared.settings, &self.lines[index], first);
        if self.pending.is_some() && self.lines[index].epoch == self.epoch && fell {
            self.move_to_newest(arrival.line);
            self.hold_pending(shared, now, arrival);
            return;
        }
        if self.lines[index].epoch < self.epoch {
            if !self.enters_newest(shared.settings, arrival, first) {
                let view = &mut self.lines[index];
                view.counts.stale += u64::from(arrival.frame.count);
                view.window.raise(first + u64::from(arrival.frame.count));
                return;
            }
            if self.pending.is_some() {
                self.hold_pending(shared, now, arrival);
                return;
            }
        }
        if shared.settings.rules.unmarked_restart
            && self.pending.is_none()
            && self.may_be_restart(shared, now, arrival, first)
        {
            return;
        }
        self.sequence(shared, now, arrival);
    }

    /// Takes a frame of the current epoch: accepts it, or parks it if it jumps too far (4.1).
    pub(super) fn sequence<S: Sink>(&mut self, shared: &mut Shared<'_, S>, now: Nanos, arrival: &Arrival<'_>) {
        let first = self.extend(shared.settings, arrival);
        if first - self.stream.mark <= shared.settings.max_jump {
            self.accept(shared, now, arrival, first);
            return;
        }
        let fingerprint = arrival.fingerprint();
        let borne_out =
            self.parked_here().any(|other| agrees(other, first, arrival.line, fingerprint, shared.settings.max_jump));
        if !borne_out {
            self.park(shared, arrival, first, fingerprint);
            return;
        }
        let session = self.session;
        let near = |other: &Stored| other.session == session && other.first.abs_diff(first) <= shared.settings.max_jump;
        while let Some(at) = self.parked.iter().position(near) {
            let stored = self.parked.remove(at);
            shared.memory.shelf.take(&stored);
            self.accept(shared, now, &stored.arrival(), stored.first);
            shared.memory.shelf.give_back(stored);
        }
        self.accept(shared, now, arrival, first);
    }

    fn park<S: Sink>(
        &mut self,
        shared: &mut Shared<'_, S>,
        arrival: &Arrival<'_>,
        first: SeqNo,
        fingerprint: Fingerprint,
    ) {
        let stored = shared.memory.shelf.store(arrival, first, fingerprint);
        if let Some(dropped) = park(&mut self.parked, stored) {
            self.refuse(shared.memory, dropped);
        }
        self.make_room(shared, 0);
    }

    /// Gives up a frame that waited.
    fn refuse(&mut self, memory: &mut Memory, stored: Stored) {
        self.lines[stored.line.index()].counts.implausible += u64::from(stored.count);
        memory.shelf.discard(stored);
    }

    /// Whether the feed has no room for what waits here plus `more` frames (4.7).
    fn waits_too_much(&self, memory: &Memory, settings: &Settings, more: usize) -> bool {
        let own = self.parked.len() + self.of_other_sessions.len() + self.pending_frames.len() + self.restarts.len();
        own + more > WAITING_ROOM && memory.waits_too_much(settings)
    }

    /// Gives up the oldest parked frames until the feed has room for what waits here plus `more` frames; false if even that is
    /// not enough.
    fn make_room<S: Sink>(&mut self, shared: &mut Shared<'_, S>, more: usize) -> bool {
        while self.waits_too_much(shared.memory, shared.settings, more) {
            if self.parked.is_empty() {
                return false;
            }
            let oldest = self.parked.remove(0);
            self.refuse(shared.memory, oldest);
        }
        true
    }

    /// The parked frames of the current session.
    fn parked_here(&self) -> impl Iterator<Item = &Stored> {
        self.parked.iter().filter(|stored| stored.session == self.session)
    }

    /// Uses the oldest parked frame that no longer jumps too far; false if there is none.
    pub(super) fn use_parked<S: Sink>(&mut self, shared: &mut Shared<'_, S>, now: Nanos) -> bool {
        let mark = self.stream.mark;
        let session = self.session;
        let near = |stored: &Stored| stored.session == session && stored.first - mark <= shared.settings.max_jump;
        let Some(at) = self.parked.iter().position(near) else { return false };
        let stored = self.parked.remove(at);
        shared.memory.shelf.take(&stored);
        self.accept(shared, now, &stored.arrival(), stored.first);
        shared.memory.shelf.give_back(stored);
        true
    }

    // --- sessions (6.2, 6.3) ---

    /// Takes a frame of a session that is not the current one.
    fn other_session<S: Sink>(&mut self, shared: &mut Shared<'_, S>, now: Nanos, arrival: &Arrival<'_>) {
        let frame = &arrival.frame;
        let index = arrival.line.index();
        let end = frame.sequence.saturating_add(u64::from(frame.count));
        let stale = self
            .remembered
            .iter()
            .find(|past| past.session == frame.session)
            .is_some_and(|past| past.complete || SeqNo(end) <= past.next);
        let fingerprint = arrival.fingerprint();
        self.other_shown(frame.session, now);
        self.show_other(now, arrival.line, frame.session, stale, fingerprint, end);
        if stale {
            self.lines[index].counts.stale += u64::from(frame.count);
            return;
        }
        let first = SeqNo(frame.sequence);
        let session = frame.session;
        if !matches!(self.lines[index].shows, Shows::Other { session: shown, .. } if shown == session) {
            self.park(shared, arrival, first, fingerprint);
            return;
        }
        // it is confirmed, and with it those that were parked
        let of_line = |other: &Stored| other.line == arrival.line && other.session == session;
        let (borne_out, parked): (Vec<_>, Vec<_>) = std::mem::take(&mut self.parked).into_iter().partition(of_line);
        self.parked = parked;
        for stored in borne_out {
            self.hold_other_session(shared, now, stored);
        }
        let stored = shared.memory.shelf.store(arrival, first, fingerprint);
        self.hold_other_session(shared, now, stored);
    }

    /// Holds a frame of the session that its line shows, within the limits. If a limit is reached while no line shows the current
    /// session, that session ends at once.
    fn hold_other_session<S: Sink>(&mut self, shared: &mut Shared<'_, S>, now: Nanos, stored: Stored) {
        if stored.session == self.session {
            shared.memory.shelf.take(&stored);
            self.route(shared, now, &stored.arrival());
            shared.memory.shelf.give_back(stored);
            return;
        }
        let (messages, bytes) = stored.weight();
        let held = (self.other_sessions_weight.0 + messages, self.other_sessions_weight.1 + bytes);
        let within = held.0 <= shared.settings.hold_messages && held.1 <= shared.settings.hold_bytes;
        if within && self.make_room(shared, 1) {
            self.other_sessions_weight = held;
            self.of_other_sessions.push(stored);
            return;
        }
        let incumbent = self.lines[..LINES_MAX].iter().any(|view| view.live && view.shows == Shows::Current);
        let winner = self.challenger().map(|(session, _)| session).filter(|_| !incumbent);
        if winner == Some(stored.session) {
            self.of_other_sessions.push(stored);
        } else {
            self.lines[stored.line.index()].counts.implausible += u64::from(stored.count);
            shared.memory.shelf.discard(stored);
        }
        if let Some(session) = winner {
            self.change_session(shared, now, session, EpochEndReason::Bound);
        }
    }

    /// Notes that a frame of another session arrived.
    fn other_shown(&mut self, session: Session, at: Nanos) {
        self.others_shown.retain(|(other, _)| *other != session);
        if self.others_shown.len() == OTHERS_REMEMBERED {
            self.others_shown.remove(0);
        }
        self.others_shown.push((session, at));
    }

    /// A line shows another session once two frames in a row carry it and neither is a copy that the network made of the other.
    fn show_other(
        &mut self,
        now: Nanos,
        line: Line,
        session: Session,
        stale: bool,
        fingerprint: Fingerprint,
        end: u64,
    ) {
        let view = &mut self.lines[line.index()];
        if let Shows::Other { session: shown, stale: was_stale, since, mark, advanced } = &mut view.shows
            && *shown == session
        {
            if *was_stale && !stale {
                // from now on it is not stale; what the line showed of it before does not count
                (*since, *mark, *advanced) = (now, end, None);
            } else if end > *mark {
                *mark = end;
                *advanced = Some(now);
            }
            *was_stale = stale;
            view.candidate = None;
            return;
        }
        match view.candidate {
            Some(candidate) if candidate.session == session => {
                if candidate.fingerprint != fingerprint {
                    let mark = candidate.mark.max(end);
                    view.shows = Shows::Other { session, stale, since: now, mark, advanced: None };
                    view.candidate = None;
                }
            }
            _ => view.candidate = Some(Candidate { session, fingerprint, mark: end }),
        }
    }

    /// The other session that has been shown by a line for longest, and since when.
    fn challenger(&self) -> Option<(Session, Nanos)> {
        let shown = self.lines[..LINES_MAX].iter().filter_map(|view| match view.shows {
            Shows::Other { session, stale: false, since, .. } => Some((session, since)),
            _ => None,
        });
        shown.min_by_key(|&(_, since)| since)
    }

    /// When the current session's grace is over: either no line has shown it for that long, or it has stood still for that long
    /// while another session advanced.
    pub(super) fn grace_due(&self, settings: &Settings) -> Option<Nanos> {
        self.challenger()?;
        let grace = self.current_shown + settings.session_grace;
        self.idle(settings).map(|(_, at)| at).min().map_or(Some(grace), |idle| Some(idle.min(grace)))
    }

    /// The sessions that advanced while the current one did not, and when that will have gone on for the length of the grace.
    fn idle(&self, settings: &Settings) -> impl Iterator<Item = (Session, Nanos)> + '_ {
        let grace = settings.session_grace;
        self.lines[..LINES_MAX].iter().filter_map(move |view| match view.shows {
            Shows::Other { session, stale: false, since, advanced: Some(advanced), .. } => {
                // the grace may be over before the advance that it still needs comes
                let over = since.max(self.advanced) + grace;
                (advanced + grace >= over).then_some((session, over.max(advanced)))
            }
            _ => None,
        })
    }

    /// Ends the current session if another one has won (6.2); false if none has.
    pub(super) fn take_over_if_due<S: Sink>(&mut self, shared: &mut Shared<'_, S>, now: Nanos) -> bool {
        let Some((oldest, _)) = self.challenger() else { return false };
        let (session, why) = if self.is_complete() {
            (oldest, EpochEndReason::End)
        } else if let Some(session) = self.shown_by_every_line(shared.settings) {
            (session, EpochEndReason::Lines)
        } else if self.current_shown + shared.settings.session_grace <= now {
            (oldest, EpochEndReason::Grace)
        } else if let Some((session, _)) = self.idle(shared.settings).find(|&(_, at)| at <= now) {
            (session, EpochEndReason::Idle)
        } else {
            return false;
        };
        self.change_session(shared, now, session, why);
        true
    }

    /// The other session that every live line with `wait` shows, if there is at least one such line.
    fn shown_by_every_line(&self, settings: &Settings) -> Option<Session> {
        let mut all = None;
        for (i, view) in self.lines.iter().enumerate().take(settings.lines()) {
            if !view.live || !settings.waits(i) {
                continue;
            }
            match view.shows {
                Shows::Other { session, stale: false, .. } if all.is_none_or(|all| all == session) => {
                    all = Some(session);
                }
                _ => return None,
            }
        }
        all
    }

    /// Ends the current session, begins or resumes `session`, and uses its held frames.
    fn change_session<S: Sink>(
        &mut self,
        shared: &mut Shared<'_, S>,
        now: Nanos,
        session: Session,
        why: EpochEndReason,
    ) {
        if self.pending.is_some() {
            self.begin_pending(shared, now, EpochEndReason::Reset);
        }
        for stored in std::mem::take(&mut self.restarts) {
            self.lines[stored.line.index()].counts.stale += u64::from(stored.count);
            shared.memory.shelf.discard(stored);
        }
        let old = self.session;
        self.end_epoch(shared, now, why);
        let complete = self.is_complete();
        // before the oldest is forgotten, because that may be the one that comes back
        let again = self.remembered.iter().position(|past| past.session == session);
        let again = again.map(|at| self.remembered.remove(at));
        if self.remembered.len() == SESSIONS_REMEMBERED {
            let forgotten = self.remembered.remove(0);
            self.lost_ranges.push(forgotten.lost_ranges);
        }
        let fresh = self.lost_ranges.pop().unwrap_or_else(|| LostRanges::with_room(0));
        self.remembered.push(Remembered {
            session: old,
            next: self.stream.next,
            complete,
            first: self.base,
            place: self.place,
            lost_ranges: self.stream.swap_lost_ranges(fresh),
        });
        let first = again.as_ref().map_or(shared.settings.rules.initial, |past| past.next);
        self.begin_epoch(shared, now, session, first, again);
        let shown = self.others_shown.iter().find(|(other, _)| *other == session);
        let shown = shown.map_or(now, |&(_, at)| at);
        self.other_shown(old, self.current_shown);
        self.current_shown = shown;
        for view in self.lines.iter_mut() {
            view.window.restart();
            view.epoch = self.epoch;
            view.data_in_epoch = false;
            view.restarting = 0;
            view.heartbeat_reset = None;
            view.shows = match view.shows {
                Shows::Other { session: shown, .. } if shown == session => Shows::Current,
                Shows::Current => Shows::Other { session: old, stale: true, since: now, mark: 0, advanced: None },
                shows => shows,
            };
            if view.candidate.is_some_and(|candidate| candidate.session == session) {
                view.candidate = None;
                view.shows = Shows::Current;
            }
        }
        let of_session = |stored: &Stored| stored.session == session;
        let (mut own, others): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.of_other_sessions).into_iter().partition(of_session);
        let (lone, parked): (Vec<_>, Vec<_>) = std::mem::take(&mut self.parked).into_iter().partition(of_session);
        self.of_other_sessions = others;
        self.parked = parked;
        self.other_sessions_weight = self.of_other_sessions.iter().fold((0, 0), |(messages, bytes), stored| {
            let (more, more_bytes) = stored.weight();
            (messages + more, bytes + more_bytes)
        });
        own.extend(lone);
        own.sort_by_key(|stored| stored.order);
        for stored in own {
            shared.memory.shelf.take(&stored);
            self.in_session(shared, now, &stored.arrival());
            shared.memory.shelf.give_back(stored);
        }
    }

    // --- marked resets (6.4) ---

    /// The number of the newest epoch: the pending one if there is one, else the current one.
    fn newest(&self) -> u32 {
        self.epoch + u32::from(self.pending.is_some())
    }

    /// A heartbeat that marks a reset is believed if the line's next frame, other than a copy of it, is below the line's mark
    /// too.
    fn bear_out_heartbeat_reset<S: Sink>(&mut self, shared: &mut Shared<'_, S>, now: Nanos, arrival: &Arrival<'_>) {
        let Some((first, fingerprint)) = self.lines[arrival.line.index()].heartbeat_reset else { return };
        if arrival.fingerprint() == fingerprint {
            return;
        }
        self.lines[arrival.line.index()].heartbeat_reset = None;
        let below = self.lines[arrival.line.index()]
            .window
            .mark()
            .is_some_and(|mark| self.extend(shared.settings, arrival) < mark);
        if below {
            self.reset(shared, now, arrival.line, first, fingerprint);
        }
    }

    /// A frame outside the sequence may mark a reset (the start of a day, which has number zero). It is treated like any other
    /// reset.
    pub(super) fn unsequenced_reset<S: Sink>(&mut self, shared: &mut Shared<'_, S>, now: Nanos, arrival: &Arrival<'_>) {
        if let Some(Reset::Marked(first)) = arrival.frame.reset
            && arrival.frame.session == self.session
        {
            self.reset(shared, now, arrival.line, first, arrival.fingerprint());
        }
    }

    /// Whether a frame that carries the reset's flag, but not its first number, belongs to the run that the line is already in,
    /// because it brings numbers that the line has not brought there. The first packets of a run all carry the flag, and may
    /// arrive in any order.
    fn goes_on_flagged(&self, settings: &Settings, arrival: &Arrival<'_>, first: u64) -> bool {
        let view = &self.lines[arrival.line.index()];
        let in_newest = view.epoch == self.newest() && self.pending.is_none();
        if arrival.frame.kind == FrameKind::Unsequenced || arrival.frame.sequence <= first || !in_newest {
            return false;
        }
        let number = self.extend(settings, arrival);
        number >= self.base && view.window.misses(number)
    }

    /// Takes a reset on `line`: opens an epoch, or moves the line into the newest one, or ignores a reset that was acted on
    /// already.
    fn reset<S: Sink>(
        &mut self,
        shared: &mut Shared<'_, S>,
        now: Nanos,
        line: Line,
        first: u64,
        fingerprint: Fingerprint,
    ) {
        let view = &self.lines[line.index()];
        if view.epoch != self.newest() {
            self.move_to_newest(line);
            return;
        }
        if self.acted.contains(&fingerprint) || !view.data_in_epoch {
            return;
        }
        if self.pending.is_some() {
            self.begin_pending(shared, now, EpochEndReason::Reset);
        }
        if self.acted.len() == RESETS_REMEMBERED {
            self.acted.remove(0);
        }
        self.acted.push(fingerprint);
        self.pending = Some(Pending { first: SeqNo(first), deadline: now + self.gap_timeout(shared.settings) });
        self.move_to_newest(line);
    }

    fn move_to_newest(&mut self, line: Line) {
        let newest = self.newest();
        let pending = self.pending.is_some();
        let view = &mut self.lines[line.index()];
        // until the pending epoch begins, the line's mark in the current epoch counts; its mark in an older one never does
        let older = view.epoch < self.epoch;
        view.epoch = newest;
        view.data_in_epoch = false;
        view.was_silent = false;
        if !pending || older {
            view.window.restart();
        }
    }

    /// Holds a frame of the epoch that is about to begin. If a limit is reached, the epoch begins at once.
    fn hold_pending<S: Sink>(&mut self, shared: &mut Shared<'_, S>, now: Nanos, arrival: &Arrival<'_>) {
        let first = SeqNo(arrival.frame.sequence);
        let stored = shared.memory.shelf.store(arrival, first, arrival.fingerprint());
        let (messages, bytes) = stored.weight();
        self.pending_weight.0 += messages;
        self.pending_weight.1 += bytes;
        let data = arrival.frame.count > 0 && arrival.frame.reset.is_none();
        self.lines[arrival.line.index()].data_in_epoch |= data;
        self.pending_frames.push(stored);
        let (messages, bytes) = self.pending_weight;
        let within = messages <= shared.settings.hold_messages && bytes <= shared.settings.hold_bytes;
        if !(within && self.make_room(shared, 0)) {
            self.begin_pending(shared, now, EpochEndReason::Reset);
        }
    }

    /// Begins the pending epoch if nothing stands in its way any more; false if there is no such epoch, or something still does.
    pub(super) fn begin_pending_if_due<S: Sink>(&mut self, shared: &mut Shared<'_, S>, now: Nanos) -> bool {
        let newest = self.newest();
        let moved = |(i, _): &(usize, _)| shared.settings.waits(*i);
        let all_moved = || {
            let lines = self.lines.iter().enumerate().take(shared.settings.lines()).filter(moved);
            lines.filter(|(_, view)| view.live).all(|(_, view)| view.epoch == newest)
        };
        if self.pending.is_none() || !self.stream.is_level() || !all_moved() {
            return false;
        }
        self.begin_pending(shared, now, EpochEndReason::Reset);
        true
    }

    /// Begins the pending epoch and uses its frames.
    pub(super) fn begin_pending<S: Sink>(&mut self, shared: &mut Shared<'_, S>, now: Nanos, why: EpochEndReason) {
        let Some(pending) = self.pending.take() else { return };
        self.end_epoch(shared, now, why);
        self.begin_epoch(shared, now, self.session, pending.first, None);
        self.enter_epoch(self.epoch);
        self.pending_weight = (0, 0);
        for stored in std::mem::take(&mut self.pending_frames) {
            shared.memory.shelf.take(&stored);
            self.sequence(shared, now, &stored.arrival());
            shared.memory.shelf.give_back(stored);
        }
    }

    /// Starts the accounts of the lines that belong to the epoch which has just begun. A line that was never heard belongs to it
    /// too.
    fn enter_epoch(&mut self, epoch: u32) {
        for view in self.lines.iter_mut() {
            if view.epoch == epoch || view.window.mark().is_none() {
                view.epoch = epoch;
                view.window.restart();
            }
        }
    }

    /// Whether a line in an older epoch of the session enters the newest one with this frame (6.7). If so, moves it there.
    fn enters_newest(&mut self, settings: &Settings, arrival: &Arrival<'_>, first: SeqNo) -> bool {
        let view = &self.lines[arrival.line.index()];
        let Some(own) = view.window.mark() else {
            self.move_to_newest(arrival.line);
            return true;
        };
        let near = settings.rules.width.extend(arrival.frame.sequence, None, self.stream.mark, settings.max_jump);
        let enters = own - first > settings.settle
            || view.was_silent
            || (near.abs_diff(self.stream.mark) <= settings.max_jump && near.abs_diff(own) > settings.settle);
        if enters {
            self.move_to_newest(arrival.line);
        }
        enters
    }

    // --- unmarked restarts (6.6) ---

    /// Holds a frame that may be part of an unmarked restart of its line; the eighth one ends the epoch. False if it is not.
    fn may_be_restart<S: Sink>(
        &mut self,
        shared: &mut Shared<'_, S>,
        now: Nanos,
        arrival: &Arrival<'_>,
        first: SeqNo,
    ) -> bool {
        let index = arrival.line.index();
        let initial = shared.settings.rules.initial;
        let view = &self.lines[index];
        let fell = fell(shared.settings, view, first);
        // compare the number on the wire: a channel that has wrapped restarts in its first cycle
        let near_initial = SeqNo(arrival.frame.sequence).abs_diff(initial) <= shared.settings.max_jump;
        if view.restarting == 0 && !(fell && near_initial) {
            return false;
        }
        if !fell {
            self.cancel_restart(shared, now, arrival.line);
            return false;
        }
        let stored = shared.memory.shelf.store(arrival, first, arrival.fingerprint());
        if !self.make_room(shared, 1) {
            self.refuse(shared.memory, stored);
            return true;
        }
        self.restarts.push(stored);
        self.lines[index].restarting += 1;
        if self.lines[index].restarting < RESTART_FRAMES {
            return true;
        }
        self.end_epoch(shared, now, EpochEndReason::Restart);
        self.begin_epoch(shared, now, self.session, initial, None);
        self.lines[index].epoch = self.epoch;
        self.enter_epoch(self.epoch);
        for view in self.lines.iter_mut() {
            view.restarting = 0;
        }
        for stored in std::mem::take(&mut self.restarts) {
            shared.memory.shelf.take(&stored);
            self.in_session(shared, now, &stored.arrival());
            shared.memory.shelf.give_back(stored);
        }
        true
    }

    /// A line continued where it was, so the frames held were old copies: uses them.
    fn cancel_restart<S: Sink>(&mut self, shared: &mut Shared<'_, S>, now: Nanos, line: Line) {
        self.lines[line.index()].restarting = 0;
        while let Some(at) = self.restarts.iter().position(|stored| stored.line == line) {
            let stored = self.restarts.remove(at);
            shared.memory.shelf.take(&stored);
            self.accept(shared, now, &stored.arrival(), stored.first);
            shared.memory.shelf.give_back(stored);
        }
    }

    /// `advancing` raised the mark, so the other lines have not restarted.
    pub(super) fn cancel_restarts_but(&mut self, advancing: Line) {
        for (i, view) in self.lines.iter_mut().enumerate() {
            if i != advancing.index() {
                view.restarting = 0;
            }
        }
    }

    /// Uses a frame whose restart was called off by another line's advance; false if there is none.
    pub(super) fn use_called_off<S: Sink>(&mut self, shared: &mut Shared<'_, S>, now: Nanos) -> bool {
        let called_off = |stored: &Stored| self.lines[stored.line.index()].restarting == 0;
        let Some(at) = self.restarts.iter().position(called_off) else { return false };
        let stored = self.restarts.remove(at);
        shared.memory.shelf.take(&stored);
        self.accept(shared, now, &stored.arrival(), stored.first);
        shared.memory.shelf.give_back(stored);
        true
    }
}
