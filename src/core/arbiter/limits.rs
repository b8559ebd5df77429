//! An arbiter's limits, and how much memory they add up to: for people, and for whoever must provide the memory.

use super::CHANNELS_MAX;
use super::candidates::{self, Candidates};
use super::channel::Channel;
use super::hold::Hold;
use super::index::Node;
use super::lead::{Leads, RecentLead};
use super::lost::{LostRanges, RANGES_MAX};
use super::memory::{ChannelMemory, LISTS, SESSIONS_REMEMBERED, SPANS, WAITING_ROOM};
use super::report::{EPOCHS_LISTED, EpochCounts};
use super::settings::{DATAGRAM_MAX, Settings};
use super::shelf::Shelf;
use super::span::Span;
use super::status::Status;
use super::suspicion::PARKED_MAX;
use super::window::Window;
use crate::frame::LINES_MAX;

/// The limits in force in an arbiter, beyond those that [`Settings`] names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// How many channels may begin.
    pub channels: u64,
    /// How many channels may wait for frames that agree.
    pub candidates: u64,
    /// Held runs, over all channels. As many frames again may wait under suspicion.
    pub runs: u64,
    /// Open gaps, over all channels.
    pub gaps: u64,
    /// Frames under suspicion that each channel always has room for.
    pub waiting_room: u64,
    /// Parked frames per line and channel.
    pub parked: u64,
    /// Sessions that each channel remembers.
    pub sessions: u64,
    /// Lost ranges that each epoch remembers.
    pub lost_ranges: u64,
    /// Epochs that are listed in reports, over all channels.
    pub epochs: u64,
}

impl Limits {
    pub(super) fn of(settings: &Settings) -> Limits {
        Limits {
            channels: settings.channels_most(),
            candidates: candidates::CANDIDATES_MAX as u64,
            runs: settings.runs_most(),
            gaps: settings.gaps_most(),
            waiting_room: WAITING_ROOM as u64,
            parked: PARKED_MAX as u64,
            sessions: SESSIONS_REMEMBERED as u64,
            lost_ranges: RANGES_MAX as u64,
            epochs: EPOCHS_LISTED as u64,
        }
    }
}

/// How much memory an arbiter takes, in bytes. Rings, receive buffers and files are not included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryUse {
    /// At the start.
    pub at_start: u64,
    /// In addition, for each channel that begins.
    pub by_channel: u64,
    /// At most, whatever arrives: with every channel begun and every limit reached.
    pub at_most: u64,
}

impl MemoryUse {
    pub(super) fn of(settings: &Settings) -> MemoryUse {
        let span = (size_of::<Span>() + size_of::<Node>() + size_of::<u32>()) as u64;
        let channels = settings.channels_most();
        let (begun, most) = of_channel(settings);
        let each = (size_of::<Channel>() + size_of::<ChannelMemory>()) as u64;
        let fixed = Candidates::BYTES + CHANNELS_MAX as u64 * each;
        let (bytes, blocks) = settings.held_most();
        let rooms = channels * WAITING_ROOM as u64 + candidates::ROOM_MOST;
        let frames = settings.runs_most().saturating_add(rooms);
        let waiting = Shelf::most(frames, settings.hold_bytes.saturating_add(rooms * DATAGRAM_MAX));
        let epochs = (EPOCHS_LISTED * size_of::<EpochCounts>()) as u64;
        let at_most = [
            Hold::most(bytes, blocks),
            settings.spans_most().next_power_of_two().saturating_mul(span),
            waiting,
            epochs,
        ]
        .into_iter()
        .chain([most.saturating_mul(channels)])
        .fold(fixed, u64::saturating_add);
        let little = Hold::AT_START + SPANS as u64 * span + Shelf::AT_START;
        let at_start = if settings.reserve_all { at_most } else { fixed + little };
        MemoryUse { at_start, by_channel: if settings.reserve_all { 0 } else { begun }, at_most }
    }
}

/// Bytes that a channel takes when it begins, and the most it can take.
fn of_channel(settings: &Settings) -> (u64, u64) {
    let lines = LINES_MAX as u64 + 1;
    let begun = size_of::<Channel>() as u64
        + Status::bytes(settings.verify.is_on())
        + Leads::bytes(settings.lines())
        + RecentLead::BYTES
        + lines * Window::bytes(settings.settle);
    let lists = LISTS as u64 * LostRanges::most();
    (begun, begun + lists + 4 * (settings.gaps_max as u64 + 2).next_power_of_two())
}

impl Settings {
    /// How much memory an arbiter with these settings takes.
    ///
    /// ```
    /// use twinline_core::arbiter::Settings;
    /// use twinline_core::framing::{Framing, MoldUdp64};
    /// let mut settings = Settings::new(MoldUdp64.rules(), vec![true, true], 1);
    /// let needs = settings.memory();
    /// assert!(needs.at_start < 8 << 20 && needs.at_most < 512 << 20);
    /// settings.reserve_all = true;
    /// assert_eq!(settings.memory().at_start, needs.at_most);
    /// ```
    pub fn memory(&self) -> MemoryUse {
        MemoryUse::of(self)
    }

    /// The limits of an arbiter with these settings, including those that follow from the settings.
    pub fn limits(&self) -> Limits {
        Limits::of(self)
    }
}
