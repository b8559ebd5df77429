//! Channels that may begin: their first frames, until two agree (ARBITRATION 2.2, 4.2, 4.3).

use super::CountsByLine;
use super::settings::Settings;
use super::shelf::{Arrival, Fingerprint, Shelf, Stored};
use super::suspicion::{agrees, park};
use crate::frame::{ChannelKey, Frame, Line};
use crate::seq::SeqNo;
use crate::time::Nanos;

/// How many may wait.
const CANDIDATES_MAX: usize = 256;

/// A channel of which frames have come that nothing has borne out yet.
pub(super) struct Candidate {
    pub(super) name: ChannelKey,
    /// In the order of arrival.
    pub(super) frames: Vec<Stored>,
    pub(super) counts: CountsByLine,
}

impl Candidate {
    /// Which of the frames agree with the one at `last`; all of them where there is no such place.
    pub(super) fn agreed(&self, cx: &Settings, last: usize) -> Vec<bool> {
        let Some(by) = self.frames.get(last) else { return vec![true; self.frames.len()] };
        let near = |stored: &Stored| stored.session == by.session && stored.first.abs_diff(by.first) <= cx.max_jump;
        self.frames.iter().map(near).collect()
    }

    fn frames_seen(&self) -> u64 {
        self.counts.iter().map(|counts| counts.frames).sum()
    }
}

pub(super) struct Candidates {
    waiting: Vec<Candidate>,
    shelf: Shelf,
}

impl Candidates {
    pub(super) fn new() -> Candidates {
        Candidates { waiting: Vec::with_capacity(CANDIDATES_MAX), shelf: Shelf::new() }
    }

    /// Adds a frame. Gives the candidate that it bore out, with the frame's place in it; and how many frames were dropped with
    /// the oldest candidate to make room.
    pub(super) fn add(
        &mut self,
        cx: &Settings,
        now: Nanos,
        line: Line,
        name: ChannelKey,
        frame: &Frame<'_>,
    ) -> (Option<(Candidate, usize)>, u64) {
        let mut dropped = 0;
        let at = match self.waiting.iter().position(|candidate| candidate.name == name) {
            Some(at) => at,
            None => {
                if self.waiting.len() == CANDIDATES_MAX {
                    dropped = self.waiting.remove(0).frames_seen();
                }
                self.waiting.push(Candidate { name, frames: Vec::new(), counts: Default::default() });
                self.waiting.len() - 1
            }
        };
        let candidate = &mut self.waiting[at];
        let counts = &mut candidate.counts[line.index()];
        counts.frame(frame);
        counts.messages += u64::from(frame.count);
        let first = SeqNo(frame.sequence);
        let fingerprint = Fingerprint::of(frame);
        let borne_out = candidate
            .frames
            .iter()
            .any(|other| other.session == frame.session && agrees(other, first, line, fingerprint, cx.max_jump));
        let stored = self.shelf.store(&Arrival { frame: *frame, line, stamp: now }, first, fingerprint);
        if borne_out {
            candidate.frames.push(stored);
            let last = candidate.frames.len() - 1;
            return (Some((self.waiting.remove(at), last)), dropped);
        }
        if let Some(oldest) = park(&mut candidate.frames, stored) {
            candidate.counts[oldest.line.index()].implausible += u64::from(oldest.count);
            self.shelf.give_back(oldest);
        }
        (None, dropped)
    }

    /// The only candidate, where its frames are copies of one.
    pub(super) fn take_lone(&mut self) -> Option<Candidate> {
        let [candidate] = &self.waiting[..] else { return None };
        let first = candidate.frames.first()?;
        candidate.frames.iter().all(|stored| stored.fingerprint == first.fingerprint).then(|| self.waiting.remove(0))
    }

    /// Gives them all up; how many frames there were.
    pub(super) fn drop_all(&mut self) -> u64 {
        self.waiting.drain(..).map(|candidate| candidate.frames_seen()).sum()
    }
}
