//! The memory of a feed: what all its channels share, within limits for the whole feed, and what each channel takes beside.
//!
//! ```text
//!  feed:    hold (messages behind gaps) | spans and gaps | shelf (frames that wait) | channels that may begin
//!  channel: status of 65,536 numbers | leads | windows | lost ranges
//! ```
//!
//! Little is taken at the start, and more when it is first needed: by a frame that opens a gap, is held or waits, or with which a
//! channel begins, never by one that the stream takes at once. **How much has been taken decides nothing**: only the limits of the
//! [`Settings`] act, so that a run and its replay are equal. With [`Settings::reserve_all`] all of it is taken at the start.

use super::CHANNELS_MAX;
use super::candidates::{self, Candidates};
use super::channel::Channel;
use super::hold::Hold;
use super::index::{Index, Node};
use super::lead::{Leads, RecentLead};
use super::lost::{LostRanges, RANGES_MAX};
use super::report::EPOCHS_LISTED;
use super::settings::Settings;
use super::shelf::Shelf;
use super::status::Status;
use super::stream::Span;
use super::suspicion::{PARKED_MAX, SESSIONS_REMEMBERED};
use super::window::Window;
use crate::frame::LINES_MAX;

/// Frames of a channel for which there is room on the shelf in any case: nothing that another channel's lines bring keeps a change
/// of session or a jump from being seen (ARBITRATION 4.7).
pub(super) const WAITING_ROOM: usize = 16;
/// The largest datagram.
const DATAGRAM_MAX: u64 = 65_535;
/// Messages that one datagram may bring over a limit, each into a gap of its own.
const OVER: u64 = 65_536;
/// Bytes that a framing packs with each message, at most.
const PACKED_MAX: u64 = 4;
/// Spans that there is room for at the start.
const SPANS: usize = 1_024;

/// What the channels of a feed share, and where what they say goes.
pub(super) struct Shared<'a, S> {
    pub(super) settings: &'a Settings,
    pub(super) memory: &'a mut Memory,
    pub(super) sink: &'a mut S,
}

/// What the channels of a feed keep in common.
pub(super) struct Memory {
    pub(super) hold: Hold,
    pub(super) spans: Vec<Span>,
    /// For each span, its place in the orders of open gaps where it is one.
    pub(super) nodes: Vec<Node>,
    /// Spans that are nobody's.
    pub(super) free: Vec<u32>,
    pub(super) shelf: Shelf,
    /// Message bytes that are held, on all channels.
    held_bytes: u64,
    /// Runs that are held, on all channels.
    runs: u64,
    /// Gaps that are open, on all channels.
    pub(super) gaps: u64,
    /// Epochs that all channels list.
    pub(super) epochs_listed: usize,
    /// Memory of channels that have not begun, where all is taken at the start.
    prepared: Vec<ChannelMemory>,
}

/// What a channel takes when it begins.
pub(super) struct ChannelMemory {
    pub(super) status: Status,
    pub(super) leads: Leads,
    pub(super) recent: RecentLead,
    pub(super) windows: [Window; LINES_MAX + 1],
    pub(super) gaps: Index,
    /// Lists for the current epoch and for sessions that are remembered.
    pub(super) lost_ranges: Vec<LostRanges>,
}

impl ChannelMemory {
    fn new(settings: &Settings) -> ChannelMemory {
        let all = settings.reserve_all;
        let ranges = if all { RANGES_MAX + 1 } else { 0 };
        let lists = if all { SESSIONS_REMEMBERED + 2 } else { 0 };
        ChannelMemory {
            status: Status::new(settings.verify.is_on()),
            leads: Leads::new(settings.lines()),
            recent: RecentLead::new(),
            windows: std::array::from_fn(|_| Window::new(settings.settle)),
            gaps: Index::new(if all { (settings.gaps_max + 2) as usize } else { 0 }),
            lost_ranges: (0..lists).map(|_| LostRanges::with_room(ranges)).collect(),
        }
    }

    /// Bytes that a channel takes when it begins, and at most.
    fn bytes(settings: &Settings) -> (u64, u64) {
        let lines = LINES_MAX as u64 + 1;
        let begun = size_of::<Channel>() as u64
            + Status::bytes(settings.verify.is_on())
            + Leads::bytes(settings.lines())
            + RecentLead::BYTES
            + lines * Window::bytes(settings.settle);
        let lists = (SESSIONS_REMEMBERED as u64 + 2) * LostRanges::most();
        (begun, begun + lists + 4 * (settings.gaps_max as u64 + 2))
    }
}

impl Memory {
    pub(super) fn new(settings: &Settings) -> Memory {
        let spans = if settings.reserve_all { settings.spans_most() as usize } else { SPANS };
        let mut memory = Memory {
            hold: Hold::new(),
            spans: Vec::with_capacity(spans),
            nodes: Vec::with_capacity(spans),
            free: Vec::with_capacity(spans),
            shelf: Shelf::new(),
            held_bytes: 0,
            runs: 0,
            gaps: 0,
            epochs_listed: 0,
            prepared: Vec::new(),
        };
        if settings.reserve_all {
            let (bytes, blocks) = settings.held_most();
            memory.hold.reserve(bytes, blocks);
            memory.shelf.reserve();
            memory.prepared.extend((0..settings.channels_most()).map(|_| ChannelMemory::new(settings)));
        }
        memory
    }

    /// For a channel that begins.
    pub(super) fn channel(&mut self, settings: &Settings) -> ChannelMemory {
        self.prepared.pop().unwrap_or_else(|| ChannelMemory::new(settings))
    }

    /// Keeps a span; its name.
    pub(super) fn add_span(&mut self, span: Span) -> u32 {
        if let Some(id) = self.free.pop() {
            self.spans[id as usize] = span;
            return id;
        }
        self.spans.push(span);
        self.nodes.push(Node::UNUSED);
        (self.spans.len() - 1) as u32
    }

    /// Copies the messages of held span `id`, of which so many bytes count.
    pub(super) fn hold(&mut self, id: u32, body: &[u8], bytes: u64) {
        self.held_bytes += bytes;
        self.runs += 1;
        let spans = &mut self.spans;
        let place = self.hold.insert(id, body, |owner, place| spans[owner as usize].set_place(place));
        self.spans[id as usize].set_place(place);
    }

    /// A held run with so many message bytes is released.
    pub(super) fn let_go(&mut self, bytes: u64) {
        self.held_bytes -= bytes;
        self.runs -= 1;
    }

    /// Frames and bytes that wait, bytes and runs that are held, gaps that are open.
    pub(super) fn waiting_and_held(&self) -> [u64; 5] {
        let (frames, bytes) = self.shelf.weight();
        [frames, bytes, self.held_bytes, self.runs, self.gaps]
    }

    /// Whether more is held than the whole feed may hold (5.3).
    pub(super) fn holds_too_much(&self, settings: &Settings) -> bool {
        self.held_bytes > settings.hold_bytes || self.runs > settings.runs_most()
    }

    /// Whether more gaps are open than may be in the whole feed (5.3).
    pub(super) fn too_many_gaps(&self, settings: &Settings) -> bool {
        self.gaps > settings.gaps_most()
    }

    /// Whether more waits than may, beside what is held (4.7). What is held gives way for nothing that waits.
    pub(super) fn waits_too_much(&self, settings: &Settings) -> bool {
        let (frames, bytes) = self.shelf.weight();
        bytes.saturating_add(self.held_bytes) > settings.hold_bytes || frames > settings.runs_most()
    }
}

/// The limits that an arbiter runs by, beside those that [`Settings`] names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Channels.
    pub channels: u64,
    /// Channels that wait for frames that agree.
    pub candidates: u64,
    /// Held runs, over all channels; as many frames may wait under suspicion.
    pub runs: u64,
    /// Open gaps, over all channels.
    pub gaps: u64,
    /// Frames under suspicion for which each channel has room in any case.
    pub waiting_room: u64,
    /// Frames that a line may have parked, per channel.
    pub parked: u64,
    /// Sessions that a channel remembers.
    pub sessions: u64,
    /// Lost ranges that an epoch remembers.
    pub lost_ranges: u64,
    /// Epochs that are listed, over all channels.
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

/// What an arbiter takes, in bytes. Rings, receive buffers and files are beside it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryUse {
    /// When it starts.
    pub at_start: u64,
    /// More, with each channel that begins.
    pub by_channel: u64,
    /// At most, whatever comes: every channel there, and every limit reached.
    pub at_most: u64,
}

impl MemoryUse {
    pub(super) fn of(settings: &Settings) -> MemoryUse {
        let span = (size_of::<Span>() + size_of::<Node>() + size_of::<u32>()) as u64;
        let channels = settings.channels_most();
        let (begun, most) = ChannelMemory::bytes(settings);
        let each = (size_of::<Channel>() + size_of::<ChannelMemory>()) as u64;
        let fixed = Candidates::BYTES + CHANNELS_MAX as u64 * each;
        let (bytes, blocks) = settings.held_most();
        let rooms = channels * WAITING_ROOM as u64 + candidates::ROOM_MOST;
        let frames = settings.runs_most().saturating_add(rooms);
        let waiting = Shelf::most(frames, settings.hold_bytes.saturating_add(rooms * DATAGRAM_MAX));
        let epochs = (EPOCHS_LISTED * size_of::<super::EpochCounts>()) as u64;
        let at_most = [Hold::most(bytes, blocks), settings.spans_most().saturating_mul(span), waiting, epochs]
            .into_iter()
            .chain([most.saturating_mul(channels)])
            .fold(fixed, u64::saturating_add);
        let little = Hold::AT_START + SPANS as u64 * span + Shelf::AT_START;
        let at_start = if settings.reserve_all { at_most } else { fixed + little };
        MemoryUse { at_start, by_channel: if settings.reserve_all { 0 } else { begun }, at_most }
    }
}

impl Settings {
    /// How many channels may begin: 256, or as many as the groups and the keys that are wanted give.
    pub(super) fn channels_most(&self) -> u64 {
        let keys = match (self.rules.keyed, self.keys.len()) {
            (false, _) => 1,
            (true, 0) => CHANNELS_MAX,
            (true, keys) => keys,
        };
        (u64::from(self.groups) * keys as u64).clamp(1, CHANNELS_MAX as u64)
    }

    /// How many held runs and, as many again, waiting frames a feed has at most: those of four channels that hold all they may.
    pub(super) fn runs_most(&self) -> u64 {
        self.hold_messages.saturating_mul(self.channels_most().min(4))
    }

    /// How many gaps of a feed may be open at once: those of four channels that have all they may.
    pub(super) fn gaps_most(&self) -> u64 {
        (self.gaps_max as u64).saturating_mul(self.channels_most().min(4))
    }

    /// Bytes and blocks of the hold, at most. A frame is taken whole before the limits are enforced.
    fn held_most(&self) -> (u64, u64) {
        let packed = self.hold_messages.saturating_mul(self.channels_most()).saturating_mul(PACKED_MAX);
        let bytes = self.hold_bytes.saturating_add(packed).saturating_add(2 * DATAGRAM_MAX);
        (bytes, self.runs_most().saturating_add(OVER))
    }

    /// Spans, at most: a run and a gap each, and as many lost between them; the same frame once more.
    fn spans_most(&self) -> u64 {
        self.runs_most().saturating_add(OVER).saturating_add(self.gaps_most()).saturating_add(2).saturating_mul(2)
    }
}
