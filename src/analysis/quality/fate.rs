//! What became of the gaps, and what the lines' states were.

use super::top::Top;
use crate::report::{ClosedGap, GapFate};
use twinline_core::arbiter::{ChannelRef, LagReason, LineState, LostReason};
use twinline_core::frame::{LINES_MAX, Line};
use twinline_core::{Nanos, SeqRange};

/// How many gaps a list holds.
pub(super) const LISTED: usize = 20;
/// How many changes of state, and how many beginnings and ends of epochs, are listed: the first ones.
pub(super) const CHANGES_LISTED: usize = 1_000;

/// Pieces of gaps, and the numbers in them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    /// How many pieces.
    pub(crate) pieces: u64,
    /// How many numbers.
    pub(crate) numbers: u64,
    /// For how long the longest was open.
    pub(crate) longest: Nanos,
}

impl Tally {
    fn add(&mut self, range: SeqRange, open: Nanos) {
        self.pieces += 1;
        self.numbers = self.numbers.saturating_add(range.len());
        self.longest = self.longest.max(open);
    }
}

/// What became of all gaps.
#[derive(Clone, Debug)]
pub(crate) struct Gaps {
    /// Gaps that opened, each counted once, at its full size.
    pub(crate) opened: Tally,
    /// Pieces that were filled, by the line that brought them; the last entry is recovery.
    pub(crate) filled: [Tally; LINES_MAX + 1],
    /// Pieces that were given up, by reason ([`LostReason::ALL`]).
    pub(crate) lost: [Tally; LostReason::ALL.len()],
    /// The largest that were lost.
    pub(crate) lost_listed: Top<ClosedGap>,
    /// The filled ones that were open longest.
    pub(crate) filled_listed: Top<ClosedGap>,
}

impl Gaps {
    pub(super) fn new() -> Gaps {
        Gaps {
            opened: Tally::default(),
            filled: [Tally::default(); LINES_MAX + 1],
            lost: [Tally::default(); LostReason::ALL.len()],
            lost_listed: Top::new(LISTED),
            filled_listed: Top::new(LISTED),
        }
    }

    pub(super) fn open(&mut self, range: SeqRange) {
        self.opened.add(range, Nanos::ZERO);
    }

    pub(super) fn close(&mut self, piece: ClosedGap) {
        let open = piece.closed_at - piece.opened_at;
        match piece.fate {
            GapFate::Filled(line) => {
                if let Some(filled) = self.filled.get_mut(line.index()) {
                    filled.add(piece.range, open);
                }
                self.filled_listed.add(open.0, piece);
            }
            GapFate::Lost(reason) => {
                self.lost[reason as usize].add(piece.range, open);
                self.lost_listed.add(piece.range.len(), piece);
            }
        }
    }

    /// All pieces that were filled.
    pub(crate) fn all_filled(&self) -> Tally {
        sum(&self.filled)
    }
}

fn sum(tallies: &[Tally]) -> Tally {
    tallies.iter().fold(Tally::default(), |sum, tally| Tally {
        pieces: sum.pieces + tally.pieces,
        numbers: sum.numbers.saturating_add(tally.numbers),
        longest: sum.longest.max(tally.longest),
    })
}

/// A line changed its state on a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Change {
    /// When.
    pub(crate) at: Nanos,
    /// Where.
    pub(crate) channel: ChannelRef,
    /// Which line.
    pub(crate) line: Line,
    /// From what.
    pub(crate) from: LineState,
    /// To what.
    pub(crate) to: LineState,
    /// Why it lags, if it does.
    pub(crate) why: Option<LagReason>,
}

/// The states of a channel's lines.
#[derive(Clone, Debug)]
pub(crate) struct States {
    /// Each line's state, when it entered it, and how long it was in each state.
    lines: [(LineState, Nanos, [Nanos; LineState::ALL.len()]); LINES_MAX],
}

impl States {
    pub(super) fn new(at: Nanos) -> States {
        States { lines: [(LineState::Waiting, at, [Nanos::ZERO; LineState::ALL.len()]); LINES_MAX] }
    }

    pub(super) fn change(&mut self, at: Nanos, line: Line, to: LineState) {
        if let Some((state, since, spent)) = self.lines.get_mut(line.index()) {
            let spent = &mut spent[*state as usize];
            *spent = *spent + (at - *since);
            (*state, *since) = (to, at);
        }
    }

    pub(super) fn finish(&mut self, at: Nanos) {
        for (state, since, spent) in &mut self.lines {
            let spent = &mut spent[*state as usize];
            *spent = *spent + (at - *since);
            *since = at;
        }
    }

    /// How long a line was in each state, in the order of [`LineState::ALL`].
    pub(crate) fn spent(&self, line: Line) -> [Nanos; LineState::ALL.len()] {
        self.lines.get(line.index()).map_or([Nanos::ZERO; LineState::ALL.len()], |(_, _, spent)| *spent)
    }
}
