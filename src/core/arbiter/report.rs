//! Counters: what an arbiter knows about its lines and epochs. They can be read at any time.

use super::event::{ChannelRef, LineState};
use super::window::Judged;
use crate::frame::Session;
use crate::seq::SeqNo;
use crate::time::Nanos;

/// What a line brought to a channel. Every message counts under exactly one of six fates:
/// `messages = first_arrivals + duplicate + late + stale + before_join + implausible` (once nothing is parked or held).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LineCounts {
    /// All frames.
    pub frames: u64,
    /// Messages in them, except unsequenced ones.
    pub messages: u64,
    /// Bytes of the frames. If a datagram holds one frame, these are the datagram's bytes.
    pub bytes: u64,
    /// Heartbeats, including those that consume a number.
    pub heartbeats: u64,
    /// Messages that no line had brought before.
    pub first_arrivals: u64,
    /// Messages that had arrived already.
    pub duplicate: u64,
    /// Numbers that the line itself went past without bringing them.
    pub missing: u64,
    /// Copies that arrived too far below the line's own mark for its account of missing numbers.
    pub reordered: u64,
    /// First copies of messages that had been given up as lost.
    pub late: u64,
    /// Messages of an ended session or epoch.
    pub stale: u64,
    /// Messages below the number at which the channel began.
    pub before_join: u64,
    /// Messages of frames that no other frame confirmed.
    pub implausible: u64,
    /// Messages outside the sequence.
    pub unsequenced: u64,
    /// Duplicates whose bytes differ from the first copy's, among the numbers for which copies are compared (ARBITRATION 7.4).
    pub divergent: u64,
}

impl LineCounts {
    /// The sum of both.
    #[must_use]
    pub fn plus(&self, other: &LineCounts) -> LineCounts {
        let add = u64::saturating_add;
        LineCounts {
            frames: add(self.frames, other.frames),
            messages: add(self.messages, other.messages),
            bytes: add(self.bytes, other.bytes),
            heartbeats: add(self.heartbeats, other.heartbeats),
            first_arrivals: add(self.first_arrivals, other.first_arrivals),
            duplicate: add(self.duplicate, other.duplicate),
            missing: add(self.missing, other.missing),
            reordered: add(self.reordered, other.reordered),
            late: add(self.late, other.late),
            stale: add(self.stale, other.stale),
            before_join: add(self.before_join, other.before_join),
            implausible: add(self.implausible, other.implausible),
            unsequenced: add(self.unsequenced, other.unsequenced),
            divergent: add(self.divergent, other.divergent),
        }
    }

    /// Counts a frame.
    #[inline]
    pub(super) fn frame(&mut self, frame: &crate::frame::Frame<'_>) {
        self.frames += 1;
        self.bytes += frame.bytes.len() as u64;
        self.heartbeats += u64::from(frame.heartbeat);
    }

    /// Counts what the line's window found. Saturates: two jumps to the far end of the numbers are more than can be counted.
    #[inline]
    pub(super) fn judge(&mut self, judged: Judged) {
        self.missing = self.missing.saturating_add(judged.missing);
        self.reordered = self.reordered.saturating_add(judged.reordered);
    }
}

/// One run of a channel's numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EpochCounts {
    /// Its session.
    pub session: Session,
    /// Its first number.
    pub first: SeqNo,
    /// The next expected number.
    pub next: SeqNo,
    /// Messages released.
    pub delivered: u64,
    /// Numbers lost.
    pub lost: u64,
    /// Whether its end was announced and everything before the end was released or lost.
    pub ended: bool,
}

/// How many epochs all channels of a feed list together (ARBITRATION 9).
pub(super) const EPOCHS_LISTED: usize = 1_024;

/// The epochs of a channel, in the order in which they began.
pub(super) struct Epochs {
    listed: Vec<EpochCounts>,
    /// Totals of the epochs that are over.
    pub(super) delivered: u64,
    pub(super) lost: u64,
    pub(super) omitted: u64,
}

impl Epochs {
    pub(super) fn new() -> Epochs {
        Epochs { listed: Vec::new(), delivered: 0, lost: 0, omitted: 0 }
    }

    /// A new epoch begins. Returns its place in the list, or `None` if the feed's channels (`of_feed`) have filled the list.
    pub(super) fn begin(&mut self, session: Session, first: SeqNo, of_feed: &mut usize) -> Option<usize> {
        if *of_feed == EPOCHS_LISTED {
            self.omitted += 1;
            return None;
        }
        *of_feed += 1;
        self.listed.push(EpochCounts { session, first, next: first, delivered: 0, lost: 0, ended: false });
        Some(self.listed.len() - 1)
    }

    /// An epoch is over, or is put aside: adds what came since it began or was resumed.
    pub(super) fn end(&mut self, place: Option<usize>, next: SeqNo, delivered: u64, lost: u64, ended: bool) {
        self.delivered += delivered;
        self.lost = self.lost.saturating_add(lost);
        if let Some(epoch) = place.and_then(|place| self.listed.get_mut(place)) {
            epoch.next = next;
            epoch.delivered += delivered;
            epoch.lost = epoch.lost.saturating_add(lost);
            epoch.ended = ended;
        }
    }

    pub(super) fn listed(&self) -> &[EpochCounts] {
        &self.listed
    }
}

/// A channel's counters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChannelReport {
    /// Which channel.
    pub channel: ChannelRef,
    /// Its epochs in the order in which they began. All channels together list the first 1,024.
    pub epochs: Vec<EpochCounts>,
    /// Epochs that are not listed.
    pub epochs_omitted: u64,
    /// Messages released, in all epochs.
    pub delivered: u64,
    /// Numbers lost, in all epochs.
    pub lost: u64,
    /// First copies of lost numbers that came after all.
    pub late: u64,
    /// Whether the current epoch's end was announced and everything before the end was released or lost.
    pub ended: bool,
    /// One entry per line, in the order of the feed file; the last one is recovery.
    pub lines: Vec<LineCounts>,
    /// Each line's state.
    pub states: Vec<LineState>,
    /// The current gap timeout.
    pub gap_timeout: Nanos,
}
