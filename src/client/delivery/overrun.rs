//! What was dropped because a client was slow, per channel and session, until there is room to report it.

use super::{CHANNELS_MAX, Weight};
use twinline_core::arbiter::ChannelRef;
use twinline_core::frame::Session;
use twinline_core::{Nanos, SeqRange};

/// How many sessions of one channel an overrun reports separately.
const SESSIONS_MAX: usize = 2;
/// How many overrun records can be due at once.
pub(super) const OVERRUNS_MAX: usize = SESSIONS_MAX * CHANNELS_MAX;

/// A client was too slow for its ring, and this is missing from its stream at this place. It is never called a gap: the arbiter
/// had all of it, and other clients got it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Overrun {
    /// The stamp of the first record that was dropped.
    pub at: Nanos,
    /// The channel.
    pub channel: ChannelRef,
    /// The session that it belongs to.
    pub session: Session,
    /// The numbers that were dropped, including any that had been reported as lost. Empty if only events were dropped, or
    /// messages without a place in the sequence.
    pub range: SeqRange,
    /// How many messages were dropped.
    pub messages: u64,
    /// How many events, losses and jumps were dropped.
    pub events: u64,
    /// How many earlier epochs of the channel are counted in `messages` and `events` without their ranges. It is zero unless one
    /// overrun went on through more than two epochs.
    pub epochs: u64,
}

/// The overruns that have not been reported to the client yet.
///
/// Invariant: `pending` holds at most [`SESSIONS_MAX`] per channel, in the order of the first drop, so it never grows past the
/// [`OVERRUNS_MAX`] that it has room for. `by_channel` has each channel's count and the place of its newest.
#[derive(Debug)]
pub(super) struct Overruns {
    pending: Vec<Overrun>,
    by_channel: Box<[(u8, u16); CHANNELS_MAX]>,
}

impl Overruns {
    pub(super) fn new() -> Overruns {
        Overruns { pending: Vec::with_capacity(OVERRUNS_MAX), by_channel: Box::new([(0, 0); CHANNELS_MAX]) }
    }

    /// What has to be reported, in the order of the first drop.
    pub(super) fn pending(&self) -> &[Overrun] {
        &self.pending
    }

    pub(super) fn clear(&mut self) {
        self.pending.clear();
        self.by_channel.fill((0, 0));
    }

    /// Counts a dropped record. A record without a session of its own belongs to the channel's newest one here, or else to
    /// `told`.
    pub(super) fn count(&mut self, channel: ChannelRef, session: Option<Session>, told: Session, weight: Weight) {
        let Some((count, newest)) = self.by_channel.get_mut(usize::from(channel.index)) else { return };
        let last = if *count == 0 { None } else { self.pending.get_mut(usize::from(*newest)) };
        let Some(last) = last else {
            let session = session.unwrap_or(told);
            *newest = self.pending.len() as u16;
            *count = 1;
            self.pending.push(Overrun::start(channel, session, weight));
            return;
        };
        let session = session.unwrap_or(last.session);
        if last.session == session && last.follows(weight.range) {
            last.add(weight);
        } else if usize::from(*count) < SESSIONS_MAX {
            *newest = self.pending.len() as u16;
            *count += 1;
            self.pending.push(Overrun::start(channel, session, weight));
        } else {
            let before = *last;
            *last = Overrun::start(channel, session, weight);
            last.at = before.at;
            last.messages += before.messages;
            last.events += before.events;
            last.epochs = before.epochs + 1;
        }
    }
}

impl Overrun {
    fn start(channel: ChannelRef, session: Session, weight: Weight) -> Overrun {
        let Weight { at, range, messages, events } = weight;
        Overrun { at, channel, session, range, messages, events, epochs: 0 }
    }

    /// Whether the range continues this one. Numbers that go back belong to another epoch, even in the same session.
    fn follows(&self, range: SeqRange) -> bool {
        range == SeqRange::default() || self.range == SeqRange::default() || range.first >= self.range.end
    }

    fn add(&mut self, weight: Weight) {
        if weight.range != SeqRange::default() {
            if self.range == SeqRange::default() {
                self.range.first = weight.range.first;
            }
            self.range.end = weight.range.end;
        }
        self.messages += weight.messages;
        self.events += weight.events;
    }
}
