//! Gaps that were closed, and what became of them.

use twinline_core::arbiter::{ChannelRef, LostReason};
use twinline_core::frame::{ChannelKey, Line, Session};
use twinline_core::seq::SeqRange;
use twinline_core::time::Nanos;

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

/// The closed gaps that a [`RunReport`](super::RunReport) lists. `()` lists none.
pub trait ListedGaps {
    /// Those of a channel, in the order in which they closed.
    fn of(&self, channel: ChannelKey) -> impl Iterator<Item = ClosedGap>;

    /// How many more closed that are not listed, on all channels.
    fn omitted(&self) -> u64;
}

impl ListedGaps for () {
    fn of(&self, _: ChannelKey) -> impl Iterator<Item = ClosedGap> {
        std::iter::empty()
    }

    fn omitted(&self) -> u64 {
        0
    }
}
