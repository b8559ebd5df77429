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

use super::hold::Hold;
use super::index::{Index, Node};
use super::lead::{Leads, RecentLead};
use super::lost::{LostRanges, RANGES_MAX};
use super::settings::Settings;
use super::shelf::Shelf;
use super::span::Span;
use super::status::Status;
use super::window::Window;
use crate::frame::LINES_MAX;

/// Frames of a channel for which there is room on the shelf in any case: nothing that another channel's lines bring keeps a change
/// of session or a jump from being seen (ARBITRATION 4.7).
pub(super) const WAITING_ROOM: usize = 16;
/// Sessions that a channel remembers (6.3).
pub(super) const SESSIONS_REMEMBERED: usize = 8;
/// Lists of lost ranges of a channel: its epoch's, those of the sessions, and one at a change.
pub(super) const LISTS: usize = SESSIONS_REMEMBERED + 2;
/// Spans that there is room for at the start.
pub(super) const SPANS: usize = 1_024;

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
        let lists = if all { LISTS } else { 0 };
        ChannelMemory {
            status: Status::new(settings.verify.is_on()),
            leads: Leads::new(settings.lines()),
            recent: RecentLead::new(),
            windows: std::array::from_fn(|_| Window::new(settings.settle)),
            gaps: Index::new(if all { settings.gaps_max + 2 } else { 0 }),
            lost_ranges: (0..lists).map(|_| LostRanges::with_room(ranges)).collect(),
        }
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
