//! One epoch's ordered output: what is released, what waits for which gap, what is lost.
//!
//! ```text
//!   released      next                                   mark
//!  ------------- | gap | held | held | gap | lost | held |
//! ```
//!
//! Invariant: the spans tile `[next, mark)` in order; the lowest one is a gap, if there are any. A span is a gap or a part of
//! one, a held run, or a range that was given up and that the output has not reached yet. Two lost spans are never adjacent, so
//! there are at most twice as many spans as open gaps and held runs together. The spans of all channels are in one [`Memory`].

use super::event::{ChannelRef, Event, EventKind, Loss, LostReason, Run, RunFlags, Sink};
use super::index::Index;
use super::lost::LostRanges;
use super::memory::Memory;
use super::span::{Span, What};
use crate::frame::{Line, Packing, Session};
use crate::seq::{SeqNo, SeqRange};
use crate::time::Nanos;

const NIL: u32 = u32::MAX;

/// Where reports go, the time and the channel that they carry, and the memory that is used meanwhile.
pub(super) struct Out<'s, S> {
    pub(super) sink: &'s mut S,
    pub(super) memory: &'s mut Memory,
    pub(super) now: Nanos,
    pub(super) channel: ChannelRef,
    pub(super) session: Session,
}

impl<S: Sink> Out<'_, S> {
    pub(super) fn event(&mut self, kind: EventKind) {
        self.sink.event(&Event { at: self.now, channel: self.channel, kind });
    }
}

/// Consecutive messages of one frame.
#[derive(Clone, Copy)]
pub(super) struct Part<'a> {
    pub(super) first: SeqNo,
    pub(super) count: u32,
    pub(super) line: Line,
    pub(super) stamp: Nanos,
    pub(super) heartbeat: bool,
    pub(super) packing: Packing,
    pub(super) body: &'a [u8],
}

impl<'a> Part<'a> {
    pub(super) fn end(&self) -> SeqNo {
        self.first + u64::from(self.count)
    }

    pub(super) fn range(&self) -> SeqRange {
        SeqRange::new(self.first, self.end())
    }

    /// Message bytes, without length fields that belong to the transport.
    fn bytes(&self) -> u64 {
        self.body.len() as u64 - u64::from(self.packing.skip) * u64::from(self.count)
    }

    /// Splits off the messages below `n` and returns them; the rest starts at `n`.
    pub(super) fn split_to(&mut self, n: SeqNo) -> Part<'a> {
        let count = (n - self.first).min(u64::from(self.count)) as u32;
        if count == self.count {
            let whole = *self;
            *self = Part { first: self.end(), count: 0, body: &[], ..*self };
            return whole;
        }
        let at = self.packing.blocks_len(self.body, count).unwrap_or(self.body.len());
        let (front, rest) = self.body.split_at(at);
        let part = Part { count, body: front, ..*self };
        *self = Part { first: part.end(), count: self.count - count, body: rest, ..*self };
        part
    }

    #[inline]
    pub(super) fn run(&self, channel: ChannelRef, session: Session) -> Run<'a> {
        Run {
            channel,
            session,
            first: self.first,
            count: self.count,
            line: self.line,
            stamp: self.stamp,
            flags: RunFlags { heartbeat: self.heartbeat, ..RunFlags::default() },
            packing: self.packing,
            body: self.body,
        }
    }
}

/// What has become of a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// It was released or is held.
    There,
    /// It is in this open gap.
    Missing(u32),
    /// It was given up; the lost range from this number on.
    Lost(SeqRange),
}

/// A gap that is still open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpenGap {
    /// What is missing.
    pub range: SeqRange,
    /// The line that showed the higher number.
    pub opened_by: Line,
    /// When the gap was opened.
    pub opened_at: Nanos,
}

pub(super) struct Stream {
    pub(super) next: SeqNo,
    pub(super) mark: SeqNo,
    pub(super) delivered: u64,
    pub(super) lost: u64,
    lowest: u32,
    highest: u32,
    gaps: Index,
    lost_ranges: LostRanges,
    held_messages: u64,
    /// The gap found by the last look-up.
    hint: u32,
}

impl Stream {
    /// A stream in which no epoch has begun. `gaps` will hold the open gaps, `lost_ranges` what is lost.
    pub(super) fn new(gaps: Index, lost_ranges: LostRanges) -> Stream {
        Stream {
            next: SeqNo(0),
            mark: SeqNo(0),
            delivered: 0,
            lost: 0,
            lowest: NIL,
            highest: NIL,
            gaps,
            lost_ranges,
            held_messages: 0,
            hint: NIL,
        }
    }

    /// An epoch begins at `first`. Nothing of the last one may be open.
    pub(super) fn start(&mut self, first: SeqNo) {
        (self.next, self.mark) = (first, first);
        (self.delivered, self.lost) = (0, 0);
        self.lost_ranges.clear();
    }

    /// An epoch is resumed at `first`. Returns the list of the last one's lost ranges, emptied.
    pub(super) fn resume(&mut self, first: SeqNo, lost_ranges: LostRanges) -> LostRanges {
        self.start(first);
        self.swap_lost_ranges(lost_ranges)
    }

    /// Takes the lost ranges of the epoch that ends, in case it is resumed, and puts `fresh` in their place.
    pub(super) fn swap_lost_ranges(&mut self, fresh: LostRanges) -> LostRanges {
        std::mem::replace(&mut self.lost_ranges, fresh)
    }

    /// Whether nothing is missing and nothing waits.
    #[inline]
    pub(super) fn is_level(&self) -> bool {
        self.lowest == NIL
    }

    pub(super) fn open_gaps(&self) -> usize {
        self.gaps.len()
    }

    pub(super) fn held_messages(&self) -> u64 {
        self.held_messages
    }

    /// When the first open gap falls due.
    pub(super) fn deadline(&self, memory: &Memory) -> Option<Nanos> {
        self.gaps.earliest(&memory.nodes).map(|(deadline, _)| deadline)
    }

    /// The open gaps, lowest first.
    pub(super) fn gaps<'m>(&self, memory: &'m Memory) -> impl Iterator<Item = OpenGap> + use<'m> {
        let mut id = self.lowest;
        std::iter::from_fn(move || {
            while id != NIL {
                let span = &memory.spans[id as usize];
                id = span.after;
                if let What::Gap { opened_by, opened_at } = span.what {
                    return Some(OpenGap { range: span.range, opened_by, opened_at });
                }
            }
            None
        })
    }

    /// What has become of `n`, which is below the mark and not known to the status ring.
    pub(super) fn standing(&mut self, memory: &Memory, n: SeqNo) -> Standing {
        if n >= self.next
            && let Some(id) = self.gap_at(memory, n)
        {
            return Standing::Missing(id);
        }
        let lost = self.lost_ranges.from(n);
        if lost.is_empty() { Standing::There } else { Standing::Lost(lost) }
    }

    /// A copy of lost numbers arrived after all.
    pub(super) fn found(&mut self, range: SeqRange) {
        self.lost_ranges.remove(range);
    }

    /// The range of an open gap.
    pub(super) fn gap(memory: &Memory, id: u32) -> SeqRange {
        memory.spans[id as usize].range
    }

    fn gap_at(&mut self, memory: &Memory, n: SeqNo) -> Option<u32> {
        for id in [self.lowest, self.hint] {
            if let Some(span) = memory.spans.get(id as usize)
                && matches!(span.what, What::Gap { .. })
                && span.range.contains(n)
            {
                return Some(id);
            }
        }
        let id = self.gaps.at_or_below(&memory.nodes, n).filter(|&id| memory.spans[id as usize].range.contains(n))?;
        self.hint = id;
        Some(id)
    }

    /// Opens a gap: the numbers from the mark up to `first` are missing.
    pub(super) fn open<S: Sink>(&mut self, first: SeqNo, line: Line, deadline: Nanos, out: &mut Out<'_, S>) {
        let range = SeqRange::new(self.mark, first);
        let id = self.push(out.memory, self.highest, range, What::Gap { opened_by: line, opened_at: out.now });
        self.insert_gap(out.memory, id, range.first, deadline);
        self.mark = first;
        out.event(EventKind::Gap { range, line });
    }

    /// Takes messages at the mark: releases them if nothing before them is missing, otherwise holds them.
    pub(super) fn append<S: Sink>(&mut self, part: &Part<'_>, out: &mut Out<'_, S>) {
        self.mark = part.end();
        if self.is_level() {
            self.release(part, false, out);
        } else {
            self.hold(out.memory, self.highest, part);
        }
    }

    /// Takes messages that fall within the open gap `id`.
    pub(super) fn fill<S: Sink>(&mut self, id: u32, part: &Part<'_>, out: &mut Out<'_, S>) {
        let span = &out.memory.spans[id as usize];
        let (gap, before) = (span.range, span.before);
        let What::Gap { opened_by, opened_at } = span.what else { return };
        let range = part.range();
        out.event(EventKind::Filled { range, line: part.line, opened_by, opened_at });
        let at_front = range.first == gap.first;
        let to_end = range.end == gap.end;
        if at_front && id == self.lowest {
            if to_end {
                self.close(out.memory, id);
            } else {
                self.shorten_front(out.memory, id, range.end);
            }
            self.release(part, false, out);
            self.drain(out);
            return;
        }
        // the rest of the gap before the messages, then the messages, then the rest of the gap after them
        let behind = if at_front { before } else { id };
        let deadline = self.gaps.deadline(&out.memory.nodes, id);
        match (at_front, to_end) {
            (true, true) => self.close(out.memory, id),
            (true, false) => self.shorten_front(out.memory, id, range.end),
            (false, _) => out.memory.spans[id as usize].range.end = range.first,
        }
        let held = self.hold(out.memory, behind, part);
        if !at_front && !to_end {
            let rest = SeqRange::new(range.end, gap.end);
            let rest_id = self.push(out.memory, held, rest, What::Gap { opened_by, opened_at });
            self.insert_gap(out.memory, rest_id, rest.first, deadline);
        }
    }

    /// Gives up the gap that is due first.
    pub(super) fn lose_due<S: Sink>(&mut self, out: &mut Out<'_, S>) {
        if let Some((_, id)) = self.gaps.earliest(&out.memory.nodes) {
            self.lose(id, LostReason::Deadline, out);
        }
    }

    /// Gives up the lowest gap.
    pub(super) fn lose_lowest<S: Sink>(&mut self, reason: LostReason, out: &mut Out<'_, S>) {
        if self.lowest != NIL {
            self.lose(self.lowest, reason, out);
        }
    }

    /// Gives up every gap.
    pub(super) fn lose_all<S: Sink>(&mut self, reason: LostReason, out: &mut Out<'_, S>) {
        while self.lowest != NIL {
            self.lose(self.lowest, reason, out);
        }
    }

    /// The lowest gap, if there is one.
    #[inline]
    pub(super) fn lowest_gap(&self, memory: &Memory) -> Option<SeqRange> {
        memory.spans.get(self.lowest as usize).map(|span| span.range)
    }

    fn lose<S: Sink>(&mut self, id: u32, reason: LostReason, out: &mut Out<'_, S>) {
        let span = &mut out.memory.spans[id as usize];
        let What::Gap { opened_by, opened_at } = span.what else { return };
        let range = span.range;
        span.what = What::Lost(reason);
        self.remove_gap(out.memory, id);
        self.lost += range.len();
        self.lost_ranges.add(range);
        out.event(EventKind::Lost { range, reason, opened_by, opened_at });
        self.join_lost(out.memory, id);
        self.drain(out);
    }

    /// Joins a lost span with its lost neighbours.
    fn join_lost(&mut self, memory: &mut Memory, id: u32) {
        for (low, high) in [(id, memory.spans[id as usize].after), (memory.spans[id as usize].before, id)] {
            if low == NIL || high == NIL {
                continue;
            }
            let lost = |id: u32| matches!(memory.spans[id as usize].what, What::Lost(_));
            if lost(low) && lost(high) {
                memory.spans[low as usize].range.end = memory.spans[high as usize].range.end;
                self.unlink(memory, high);
            }
        }
    }

    /// Releases held runs and reports losses, from the lowest span up to the next gap.
    fn drain<S: Sink>(&mut self, out: &mut Out<'_, S>) {
        while self.lowest != NIL {
            let id = self.lowest;
            let span = &out.memory.spans[id as usize];
            let range = span.range;
            match span.what {
                What::Gap { .. } => return,
                What::Lost(reason) => {
                    let Out { sink, now, channel, session, .. } = out;
                    sink.loss(&Loss { channel: *channel, session: *session, range, reason, at: *now });
                    self.next = range.end;
                }
                What::Held { place, count, bytes, line, stamp, heartbeat, packing } => {
                    self.held_messages -= u64::from(count);
                    out.memory.let_go(bytes);
                    self.next = range.end;
                    self.delivered += u64::from(count);
                    let body = out.memory.hold.bytes(place);
                    let part = Part { first: range.first, count, line, stamp, heartbeat, packing, body };
                    let mut run = part.run(out.channel, out.session);
                    run.flags.held = true;
                    out.sink.release(&run);
                    out.memory.hold.remove(place);
                }
            }
            self.unlink(out.memory, id);
        }
    }

    #[inline]
    pub(super) fn release<S: Sink>(&mut self, part: &Part<'_>, held: bool, out: &mut Out<'_, S>) {
        self.next = part.end();
        self.delivered += u64::from(part.count);
        let mut run = part.run(out.channel, out.session);
        run.flags.held = held;
        out.sink.release(&run);
    }

    /// Copies messages into the hold, as the span after `before`.
    fn hold(&mut self, memory: &mut Memory, before: u32, part: &Part<'_>) -> u32 {
        let &Part { count, line, stamp, heartbeat, packing, .. } = part;
        let bytes = part.bytes();
        self.held_messages += u64::from(count);
        let what = What::Held { place: 0, count, bytes, line, stamp, heartbeat, packing };
        let id = self.push(memory, before, part.range(), what);
        memory.hold(id, part.body, bytes);
        id
    }

    /// Adds a span after `before`, or at the front if `before` is `NIL`.
    fn push(&mut self, memory: &mut Memory, before: u32, range: SeqRange, what: What) -> u32 {
        let after = if before == NIL { self.lowest } else { memory.spans[before as usize].after };
        let span = Span { range, before, after, what };
        let id = memory.add_span(span);
        self.link(memory, before, id);
        self.link(memory, id, after);
        id
    }

    /// Makes `high` the span after `low`; `NIL` stands for the end on either side.
    fn link(&mut self, memory: &mut Memory, low: u32, high: u32) {
        match low {
            NIL => self.lowest = high,
            _ => memory.spans[low as usize].after = high,
        }
        match high {
            NIL => self.highest = low,
            _ => memory.spans[high as usize].before = low,
        }
    }

    fn unlink(&mut self, memory: &mut Memory, id: u32) {
        let Span { before, after, .. } = memory.spans[id as usize];
        self.link(memory, before, after);
        memory.free.push(id);
        if self.hint == id {
            // the id may go to another channel
            self.hint = NIL;
        }
    }

    fn close(&mut self, memory: &mut Memory, id: u32) {
        self.remove_gap(memory, id);
        self.unlink(memory, id);
    }

    fn shorten_front(&mut self, memory: &mut Memory, id: u32, first: SeqNo) {
        memory.spans[id as usize].range.first = first;
        self.gaps.set_first(&mut memory.nodes, id, first);
    }

    fn insert_gap(&mut self, memory: &mut Memory, id: u32, first: SeqNo, deadline: Nanos) {
        memory.gaps += 1;
        self.gaps.insert(&mut memory.nodes, id, first, deadline);
    }

    fn remove_gap(&mut self, memory: &mut Memory, id: u32) {
        memory.gaps -= 1;
        self.gaps.remove(&mut memory.nodes, id);
    }
}
