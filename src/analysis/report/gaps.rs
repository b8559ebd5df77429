//! Gaps that were closed, and what became of them.

use twinline_core::arbiter::{ChannelRef, Event, EventKind, LostReason};
use twinline_core::frame::{ChannelKey, Line, Session};
use twinline_core::{Nanos, SeqRange};

/// How a piece of a gap ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum GapFate {
    /// A line brought it; [`Line::RECOVERY`] if recovery did.
    Filled(Line),
    /// It was given up.
    Lost(LostReason),
}

impl GapFate {
    /// What brought it.
    pub fn filled_by(self) -> Option<Line> {
        match self {
            GapFate::Filled(line) => Some(line),
            GapFate::Lost(_) => None,
        }
    }

    /// Why it was given up.
    pub fn lost(self) -> Option<LostReason> {
        match self {
            GapFate::Filled(_) => None,
            GapFate::Lost(reason) => Some(reason),
        }
    }
}

/// A piece of a gap that was filled or given up. A gap that is filled in parts closes in several pieces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClosedGap {
    /// Where.
    pub channel: ChannelRef,
    /// The session that it belongs to.
    pub session: Session,
    /// Which numbers.
    pub range: SeqRange,
    /// The line that showed a number beyond it.
    pub opened_by: Line,
    /// When it did.
    pub opened_at: Nanos,
    /// When the piece was filled or given up.
    pub closed_at: Nanos,
    /// Which of the two.
    pub fate: GapFate,
}

/// How many gaps a report lists, over all channels of a feed (ARBITRATION 9).
pub const GAPS_LISTED: usize = 65_536;

/// The closed gaps of one channel.
#[derive(Debug)]
pub struct ChannelGaps {
    channel: ChannelKey,
    session: Session,
    listed: Vec<ClosedGap>,
    filled: u64,
    lost: u64,
}

impl ChannelGaps {
    /// Those that are listed, in the order in which they closed.
    pub fn listed(&self) -> &[ClosedGap] {
        &self.listed
    }

    /// Pieces that were filled, listed or not.
    pub fn filled(&self) -> u64 {
        self.filled
    }

    /// Pieces that were given up, listed or not.
    pub fn lost(&self) -> u64 {
        self.lost
    }
}

/// The closed gaps of a feed: counted per channel, and the first [`GAPS_LISTED`] of them listed if asked. Give it every event.
#[derive(Debug)]
pub struct GapLog {
    channels: Vec<ChannelGaps>,
    /// How many may still be listed.
    room: usize,
    omitted: u64,
}

impl GapLog {
    /// A log that lists gaps, or only counts them.
    pub fn new(listed: bool) -> GapLog {
        GapLog { channels: Vec::new(), room: if listed { GAPS_LISTED } else { 0 }, omitted: 0 }
    }

    /// A channel's gaps; `None` if it has not begun.
    pub fn channel(&self, channel: ChannelKey) -> Option<&ChannelGaps> {
        self.channels.iter().find(|gaps| gaps.channel == channel)
    }

    /// How many are not listed, on all channels.
    pub fn omitted(&self) -> u64 {
        self.omitted
    }

    /// An event of the arbiter.
    pub fn event(&mut self, event: &Event) {
        let at = usize::from(event.channel.index);
        while self.channels.len() <= at {
            // channels begin in the order of their index, each with an epoch
            let (channel, session) = (event.channel.key, Session::NONE);
            self.channels.push(ChannelGaps { channel, session, listed: Vec::new(), filled: 0, lost: 0 });
        }
        let gaps = &mut self.channels[at];
        let (range, opened_by, opened_at, fate) = match event.kind {
            EventKind::Epoch { session, .. } => {
                gaps.session = session;
                return;
            }
            EventKind::Filled { range, line, opened_by, opened_at } => {
                (range, opened_by, opened_at, GapFate::Filled(line))
            }
            EventKind::Lost { range, reason, opened_by, opened_at } => {
                (range, opened_by, opened_at, GapFate::Lost(reason))
            }
            _ => return,
        };
        match fate {
            GapFate::Filled(_) => gaps.filled += 1,
            GapFate::Lost(_) => gaps.lost += 1,
        }
        if self.room == 0 {
            self.omitted += 1;
            return;
        }
        self.room -= 1;
        let (channel, session, closed_at) = (event.channel, gaps.session, event.at);
        gaps.listed.push(ClosedGap { channel, session, range, opened_by, opened_at, closed_at, fate });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use twinline_core::SeqNo;

    /// One lost gap piece of a channel.
    fn lost(index: u16, first: u64) -> Event {
        let range = SeqRange::new(SeqNo(first), SeqNo(first + 1));
        let (opened_by, opened_at) = (Line(0), Nanos(1));
        let kind = EventKind::Lost { range, reason: LostReason::Deadline, opened_by, opened_at };
        let key = ChannelKey { group: index, key: None };
        Event { at: Nanos(2), channel: ChannelRef { index, key }, kind }
    }

    #[test]
    fn rule_9_gaps_are_listed_over_the_whole_feed_the_first_ones_and_the_rest_counted() {
        let mut log = GapLog::new(true);
        let channels = 256;
        for n in 0..1_000u64 {
            (0..channels).for_each(|channel| log.event(&lost(channel, n * 2)));
        }
        let listed = |log: &GapLog| log.channels.iter().map(|gaps| gaps.listed.len()).sum::<usize>();
        assert_eq!((listed(&log), log.omitted()), (GAPS_LISTED, 256_000 - GAPS_LISTED as u64));
        let first = log.channel(ChannelKey { group: 0, key: None }).unwrap();
        assert_eq!((first.listed.len(), first.filled, first.lost), (GAPS_LISTED / 256, 0, 1_000));
        assert!(
            first.listed.iter().zip(0..).all(|(gap, n)| gap.range.first == SeqNo(n * 2)),
            "the first ones are kept"
        );

        let mut log = GapLog::new(false);
        (0..1_000).for_each(|n| log.event(&lost(0, n * 2)));
        assert_eq!((listed(&log), log.channels[0].listed.capacity(), log.channels[0].lost), (0, 0, 1_000));
    }
}
