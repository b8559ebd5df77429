//! A stretch of a channel's numbers between what has been released and the mark. `stream` keeps the stretches in order.

use super::event::LostReason;
use super::hold::Place;
use crate::frame::{Line, Packing};
use crate::seq::SeqRange;
use crate::time::Nanos;

/// What a stretch consists of.
pub(super) enum What {
    Gap { opened_by: Line, opened_at: Nanos },
    Held { place: Place, count: u32, bytes: u64, line: Line, stamp: Nanos, heartbeat: bool, packing: Packing },
    Lost(LostReason),
}

/// A stretch of a channel's numbers.
pub(super) struct Span {
    pub(super) range: SeqRange,
    /// The spans on either side.
    pub(super) before: u32,
    pub(super) after: u32,
    pub(super) what: What,
}

impl Span {
    /// Records where the bytes of a held run are now.
    pub(super) fn set_place(&mut self, to: Place) {
        if let What::Held { place, .. } = &mut self.what {
            *place = to;
        }
    }
}
