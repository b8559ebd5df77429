//! Channels that may begin: keeps their first frames until two agree (ARBITRATION 2.2, 4.2, 4.3).
//!
//! Each candidate has a place, found through a hash table by the channel's name, and linked in a list from oldest to newest. So a
//! frame of an unknown channel costs the same however many such channels appear. Nothing depends on the table's order.

use std::collections::HashMap;

use super::CountsByLine;
use super::memory::Memory;
use super::settings::Settings;
use super::shelf::{Arrival, Fingerprint, Stored};
use super::suspicion::{agrees, park};
use crate::frame::{ChannelKey, Frame, Line};
use crate::seq::SeqNo;
use crate::time::Nanos;

/// How many candidates may wait.
pub(super) const CANDIDATES_MAX: usize = 256;
/// How many of its frames a candidate always has room for on the shelf.
const ROOM: usize = 4;
/// The same for all of them.
pub(super) const ROOM_MOST: u64 = (CANDIDATES_MAX * ROOM) as u64;

/// Stands for no place.
const NONE: u16 = u16::MAX;

/// A channel whose frames nothing has confirmed yet.
pub(super) struct Candidate {
    pub(super) name: ChannelKey,
    /// In the order of arrival.
    pub(super) frames: Vec<Stored>,
    pub(super) counts: CountsByLine,
}

impl Candidate {
    /// Which of the frames agree with the one at `last`; all of them if there is no such place.
    pub(super) fn agreed(&self, settings: &Settings, last: usize) -> Vec<bool> {
        let Some(by) = self.frames.get(last) else { return vec![true; self.frames.len()] };
        let near =
            |stored: &Stored| stored.session == by.session && stored.first.abs_diff(by.first) <= settings.max_jump;
        self.frames.iter().map(near).collect()
    }

    fn frames_seen(&self) -> u64 {
        self.counts.iter().map(|counts| counts.frames).sum()
    }
}

/// A candidate, linked to the one that began to wait before it and to the one after it.
struct Waiting {
    candidate: Candidate,
    older: u16,
    newer: u16,
}

pub(super) struct Candidates {
    waiting: Vec<Waiting>,
    /// Places in `waiting` that are not in use.
    free: Vec<u16>,
    by_name: HashMap<ChannelKey, u16>,
    oldest: u16,
    newest: u16,
}

impl Candidates {
    /// Bytes that they take, without frames.
    pub(super) const BYTES: u64 = (CANDIDATES_MAX * (size_of::<Waiting>() + 32 + 8 * size_of::<Stored>())) as u64;

    pub(super) fn new() -> Candidates {
        Candidates {
            waiting: Vec::with_capacity(CANDIDATES_MAX),
            free: Vec::with_capacity(CANDIDATES_MAX),
            // twice as many, so that removing and inserting goes on without another allocation
            by_name: HashMap::with_capacity(2 * CANDIDATES_MAX),
            oldest: NONE,
            newest: NONE,
        }
    }

    /// Adds a frame. Returns the candidate that it confirmed, with the frame's place in it; and how many frames were dropped with
    /// the oldest candidate to make room.
    pub(super) fn add(
        &mut self,
        settings: &Settings,
        memory: &mut Memory,
        now: Nanos,
        line: Line,
        name: ChannelKey,
        frame: &Frame<'_>,
    ) -> (Option<(Candidate, usize)>, u64) {
        let mut dropped = 0;
        let at = match self.by_name.get(&name) {
            Some(&at) => at,
            None => {
                if self.by_name.len() == CANDIDATES_MAX {
                    dropped = self.drop_oldest(memory);
                }
                self.begin(name)
            }
        };
        let candidate = &mut self.waiting[usize::from(at)].candidate;
        let counts = &mut candidate.counts[line.index()];
        counts.frame(frame);
        counts.messages += u64::from(frame.count);
        let first = SeqNo(frame.sequence);
        let fingerprint = Fingerprint::of(frame);
        let borne_out = candidate
            .frames
            .iter()
            .any(|other| other.session == frame.session && agrees(other, first, line, fingerprint, settings.max_jump));
        let stored = memory.shelf.store(&Arrival::new(*frame, line, now), first, fingerprint);
        if borne_out {
            candidate.frames.push(stored);
            let last = candidate.frames.len() - 1;
            return (Some((self.take(at), last)), dropped);
        }
        let Candidate { frames, counts, .. } = candidate;
        let mut refuse = |memory: &mut Memory, oldest: Stored| {
            counts[oldest.line.index()].implausible += u64::from(oldest.count);
            memory.shelf.discard(oldest);
        };
        if let Some(oldest) = park(frames, stored) {
            refuse(memory, oldest);
        }
        while frames.len() > ROOM && memory.waits_too_much(settings) {
            refuse(memory, frames.remove(0));
        }
        (None, dropped)
    }

    /// Makes a place for a new candidate, which is the newest.
    fn begin(&mut self, name: ChannelKey) -> u16 {
        let older = self.newest;
        let at = match self.free.pop() {
            Some(at) => {
                // its list of frames is empty and keeps its memory
                let place = &mut self.waiting[usize::from(at)];
                (place.older, place.newer) = (older, NONE);
                (place.candidate.name, place.candidate.counts) = (name, Default::default());
                at
            }
            None => {
                let candidate = Candidate { name, frames: Vec::new(), counts: Default::default() };
                self.waiting.push(Waiting { candidate, older, newer: NONE });
                (self.waiting.len() - 1) as u16
            }
        };
        match self.newest {
            NONE => self.oldest = at,
            newest => self.waiting[usize::from(newest)].newer = at,
        }
        self.newest = at;
        self.by_name.insert(name, at);
        at
    }

    /// Takes a candidate out of its place.
    fn take(&mut self, at: u16) -> Candidate {
        self.leave(at);
        let Candidate { name, frames, counts } = &mut self.waiting[usize::from(at)].candidate;
        Candidate { name: *name, frames: std::mem::take(frames), counts: *counts }
    }

    /// Frees a place.
    fn leave(&mut self, at: u16) {
        let Waiting { ref candidate, older, newer } = self.waiting[usize::from(at)];
        self.by_name.remove(&candidate.name);
        match older {
            NONE => self.oldest = newer,
            older => self.waiting[usize::from(older)].newer = newer,
        }
        match newer {
            NONE => self.newest = older,
            newer => self.waiting[usize::from(newer)].older = older,
        }
        self.free.push(at);
    }

    /// Gives up the oldest candidate. Returns how many frames it had seen.
    fn drop_oldest(&mut self, memory: &mut Memory) -> u64 {
        if self.oldest == NONE {
            return 0;
        }
        let at = self.oldest;
        self.leave(at);
        let oldest = &mut self.waiting[usize::from(at)].candidate;
        oldest.frames.drain(..).for_each(|stored| memory.shelf.discard(stored));
        oldest.frames_seen()
    }

    /// The only candidate, if all its frames are copies of one frame.
    pub(super) fn take_lone(&mut self) -> Option<Candidate> {
        if self.oldest == NONE || self.oldest != self.newest {
            return None;
        }
        let frames = &self.waiting[usize::from(self.oldest)].candidate.frames;
        let first = frames.first()?;
        frames.iter().all(|stored| stored.fingerprint == first.fingerprint).then(|| self.take(self.oldest))
    }

    /// Gives them all up; how many frames there were.
    pub(super) fn drop_all(&mut self, memory: &mut Memory) -> u64 {
        let mut frames = 0;
        while self.oldest != NONE {
            frames += self.drop_oldest(memory);
        }
        frames
    }
}
