//! A feed's memory: what its channels share, within limits for the whole feed, and what each channel has of its own.
//!
//! ```text
//!  feed:    hold (messages behind gaps) | spans and gaps | shelf (frames that wait) | channels that may begin
//!  channel: status of 65,536 numbers | leads | windows | lost ranges
//! ```
//!
//! Little is taken at the start. More is taken when it is first needed: by a frame that opens a gap, that is held or waits, or
//! that begins a channel; never by a frame that the stream can take at once. **How much has been taken decides nothing.** Only
//! the limits in [`Settings`] do, so a run and its replay are equal. With [`Settings::reserve_all`] everything is taken at the
//! start.

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

/// How many of its frames a channel always has room for on the shelf. So nothing that arrives on another channel can hide a
/// change of session or a jump (ARBITRATION 4.7).
pub(super) const WAITING_ROOM: usize = 16;
/// How many sessions a channel remembers (6.3).
pub(super) const SESSIONS_REMEMBERED: usize = 8;
/// How many lists of lost ranges a channel has: one for its epoch, one per remembered session, one during a change.
pub(super) const LISTS: usize = SESSIONS_REMEMBERED + 2;
/// How many spans there is room for at the start.
pub(super) const SPANS: usize = 1_024;

/// What a feed's channels work with: the settings, the memory that they share, and the sink that they report to.
pub(super) struct Shared<'a, S> {
    pub(super) settings: &'a Settings,
    pub(super) memory: &'a mut Memory,
    pub(super) sink: &'a mut S,
}

/// What a feed's channels keep in common.
pub(super) struct Memory {
    pub(super) hold: Hold,
    pub(super) spans: Vec<Span>,
    /// For each span that is an open gap, its place in the two orders of gaps.
    pub(super) nodes: Vec<Node>,
    /// Spans that are not in use.
    pub(super) free: Vec<u32>,
    pub(super) shelf: Shelf,
    /// Message bytes that all channels hold.
    held_bytes: u64,
    /// Runs that all channels hold.
    runs: u64,
    /// Gaps that all channels have open.
    pub(super) gaps: u64,
    /// Epochs that all channels list in their reports.
    pub(super) epochs_listed: usize,
    /// Memory for channels that have not begun, if all of it is taken at the start.
    prepared: Vec<ChannelMemory>,
}

/// What a channel takes when it begins.
pub(super) struct ChannelMemory {
    pub(super) status: Status,
    pub(super) leads: Leads,
    pub(super) recent: RecentLead,
    pub(super) windows: [Window; LINES_MAX + 1],
    pub(super) gaps: Index,
    /// Lists for the current epoch and for remembered sessions.
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

    /// The memory for a channel that begins.
    pub(super) fn channel(&mut self, settings: &Settings) -> ChannelMemory {
        self.prepared.pop().unwrap_or_else(|| ChannelMemory::new(settings))
    }

    /// Keeps a span. Returns its id.
    pub(super) fn add_span(&mut self, span: Span) -> u32 {
        if let Some(id) = self.free.pop() {
            self.spans[id as usize] = span;
            return id;
        }
        self.spans.push(span);
        self.nodes.push(Node::UNUSED);
        (self.spans.len() - 1) as u32
    }

    /// Copies the messages of held span `id` into the hold; `bytes` of them count.
    pub(super) fn hold(&mut self, id: u32, body: &[u8], bytes: u64) {
        self.held_bytes += bytes;
        self.runs += 1;
        let spans = &mut self.spans;
        let place = self.hold.insert(id, body, |owner, place| spans[owner as usize].set_place(place));
        self.spans[id as usize].set_place(place);
    }

    /// A held run of `bytes` message bytes is released.
    pub(super) fn let_go(&mut self, bytes: u64) {
        self.held_bytes -= bytes;
        self.runs -= 1;
    }

    /// In this order: frames and bytes that wait, bytes and runs that are held, gaps that are open.
    pub(super) fn waiting_and_held(&self) -> [u64; 5] {
        let (frames, bytes) = self.shelf.weight();
        [frames, bytes, self.held_bytes, self.runs, self.gaps]
    }

    /// Whether the feed holds more than it may (5.3).
    pub(super) fn holds_too_much(&self, settings: &Settings) -> bool {
        self.held_bytes > settings.hold_bytes || self.runs > settings.runs_most()
    }

    /// Whether the feed has more gaps open than it may (5.3).
    pub(super) fn too_many_gaps(&self, settings: &Settings) -> bool {
        self.gaps > settings.gaps_most()
    }

    /// Whether more waits than may, counted together with what is held (4.7). Held messages never give way to waiting frames.
    pub(super) fn waits_too_much(&self, settings: &Settings) -> bool {
        let (frames, bytes) = self.shelf.weight();
        bytes.saturating_add(self.held_bytes) > settings.hold_bytes || frames > settings.runs_most()
    }
}
