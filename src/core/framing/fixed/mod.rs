//! A framing that a feed file describes, under `[fixed]`: for an in-house feed, or a venue that has no framing here.
//!
//! ```text
//!  0                                  header
//!  +----------------------------------+------------------- - -
//!  | fields, each where the file says | block | block | ...
//!  +----------------------------------+------------------- - -
//! ```
//!
//! * One header per datagram, always of the same size. [`FixedConfig`] says what is in it and what that means;
//!   `feeds/README.md` explains every key, and `feeds/fixed-*.toml` are complete descriptions.
//! * A frame is the first of these whose rule matches: unsequenced, end of session, heartbeat. Otherwise it has messages.
//! * A frame with a count of zero that no rule matches has no messages, and its number is ignored.
//! * A rule that looks at a field beyond the end of the datagram does not match.
//!
//! It cannot describe headers of several sizes, several headers per datagram, checksums, marks in any message but the first,
//! or numbers of a width other than 8, 16, 32 or 64 bits.
//!
//! It looks up the place of each field, while the other framings are compiled for theirs. So a framing of its own is faster
//! (`twinline-perf framing`).
//!
//! Source: the feed file.

use std::sync::{Mutex, PoisonError};

use super::{Framing, Malformed, Proof};
use crate::frame::{Frame, FrameKind, Packing, Reset, SequenceRules, Session};
use crate::seq::{SeqNo, Width};

mod description;

pub use description::{
    Carries, FIXED, Field, FixedConfig, HeaderValues, Heartbeat, LengthField, Looked, MessageLength, Rule,
    SessionField, Test,
};

/// A framing that a feed file describes. The head of this file says what it can describe.
#[derive(Clone, Copy, Debug)]
pub struct Fixed {
    layout: &'static Layout,
    /// The key of the channel that a publisher writes.
    key: u32,
}

/// A description, and what follows from it.
#[derive(Debug)]
struct Layout {
    described: FixedConfig,
    width: Width,
    packing: Packing,
    /// Whether zero is not a number of the stream.
    zero_is_none: bool,
    /// The most messages that a publisher puts into a frame: below any count that means something else.
    count_most: u64,
}

impl Layout {
    fn new(described: &FixedConfig) -> Layout {
        let width = match (described.sequence.width, described.skips_zero) {
            (1, true) => Width::U8SkipZero,
            (1, false) => Width::U8,
            (2, true) => Width::U16SkipZero,
            (2, false) => Width::U16,
            (4, true) => Width::U32SkipZero,
            (4, false) => Width::U32,
            _ => Width::U64,
        };
        let packing = described.message.map_or(Packing::WHOLE, |length| Packing {
            width: length.field.width,
            offset: length.field.at as u8,
            big_endian: length.field.big_endian,
            length_adds: length.adds,
            skip: length.skip,
            ..Packing::WHOLE
        });
        let zero_is_none = described.skips_zero || width == Width::U64 && described.initial > 0;
        let mut count_most = described.count.map_or(1, |count| count.most().min(u64::from(u32::MAX)));
        let heartbeat = described.heartbeat.as_ref().map(|heartbeat| &heartbeat.when);
        for rule in heartbeat.into_iter().chain(described.end.as_ref().map(|(rule, _)| rule)) {
            for chain in rule.alternatives() {
                if let [Test { what: Looked::Count, low: low @ 1.., .. }] = *chain {
                    count_most = count_most.min(low - 1);
                }
            }
        }
        Layout { described: described.clone(), width, packing, zero_is_none, count_most }
    }
}

/// Every layout that was ever made. Each is stored once and for as long as the program runs, so that a framing is a value that
/// can be copied. A program reads a few feed files, so there are a few.
static LAYOUTS: Mutex<Vec<&'static Layout>> = Mutex::new(Vec::new());

impl PartialEq for Fixed {
    fn eq(&self, other: &Fixed) -> bool {
        std::ptr::eq(self.layout, other.layout) && self.key == other.key
    }
}

impl Eq for Fixed {}

impl Fixed {
    /// The framing that a feed file describes.
    pub fn new(described: &FixedConfig) -> Fixed {
        let mut layouts = LAYOUTS.lock().unwrap_or_else(PoisonError::into_inner);
        let layout = layouts.iter().copied().find(|layout| layout.described == *described).unwrap_or_else(|| {
            let layout: &'static Layout = Box::leak(Box::new(Layout::new(described)));
            layouts.push(layout);
            layout
        });
        Fixed { layout, key: 1 }
    }

    /// The number after `last`, as wide as on the wire; the initial one if there is no last yet.
    fn behind(self, last: u64) -> Result<u64, Malformed> {
        let (layout, described) = (self.layout, &self.layout.described);
        if last == 0 && layout.zero_is_none {
            return Ok(described.initial);
        }
        if last < described.sequence.most() {
            return Ok(last + 1);
        }
        match (layout.width, layout.zero_is_none) {
            // the one before zero
            (Width::U64, false) => Ok(0),
            (Width::U64, true) => Err(Malformed::Sequence),
            (_, skips) => Ok(u64::from(skips)),
        }
    }

    /// The number before `next`, as wide as on the wire.
    fn before(self, next: u64) -> u64 {
        let (layout, described) = (self.layout, &self.layout.described);
        match next.checked_sub(1) {
            Some(_) if next == described.initial && layout.zero_is_none => 0,
            Some(last) => layout.width.wire(SeqNo(last)),
            None => described.sequence.most(),
        }
    }

    /// The next number, as a frame without messages states it.
    fn next(self, carries: Carries, sequence: u64) -> Result<u64, Malformed> {
        let next = if carries == Carries::Last { self.behind(sequence)? } else { sequence };
        if next == 0 && self.layout.zero_is_none { Err(Malformed::Sequence) } else { Ok(next) }
    }

    #[inline]
    fn read(self, datagram: &[u8]) -> Result<Frame<'_>, Malformed> {
        let described = &self.layout.described;
        let Some((head, rest)) = datagram.split_at_checked(described.header) else { return Err(Malformed::Header) };
        let of_header = HeaderValues { sequence: 0, count: 0, body: 0 };
        if !described.must_be.iter().all(|test| test.holds(head, of_header)) {
            return Err(Malformed::Type);
        }
        let body = match described.length {
            None => rest,
            Some(length) => {
                let said = length.field.read(datagram).ok_or(Malformed::Header)?;
                let header = if length.counts_header { described.header as u64 } else { 0 };
                let len = said.checked_sub(header).and_then(|len| usize::try_from(len).ok());
                len.and_then(|len| rest.get(..len)).ok_or(Malformed::Length)?
            }
        };
        let sequence = described.sequence.read(datagram).ok_or(Malformed::Header)?;
        let count = match described.count {
            Some(count) => count.read(datagram).ok_or(Malformed::Header)?,
            None => 1,
        };
        let whole = &datagram[..described.header + body.len()];
        let seen = HeaderValues { sequence, count, body: body.len() };
        let session = match described.session {
            None => Session::NONE,
            Some(SessionField::Number(field)) => Session::number(field.read(datagram).ok_or(Malformed::Header)?),
            Some(SessionField::Text { at, len }) => {
                let at = usize::from(at);
                Session::text(datagram.get(at..at + usize::from(len)).ok_or(Malformed::Header)?)
            }
        };
        let key = described.channel.and_then(|channel| channel.read(datagram)).map(|key| key as u32);
        let heartbeat = described.heartbeat.as_ref().filter(|heartbeat| heartbeat.when.means(whole, seen));
        let empty = Frame {
            key,
            session,
            kind: FrameKind::Unsequenced,
            sequence,
            count: 0,
            heartbeat: heartbeat.is_some(),
            reset: None,
            packing: self.layout.packing,
            body: &body[..0],
            bytes: whole,
        };
        let unsequenced = described.unsequenced.means(whole, seen);
        if !unsequenced {
            if let Some((end, carries)) = &described.end
                && end.means(whole, seen)
            {
                return Ok(Frame { kind: FrameKind::EndOfSession, sequence: self.next(*carries, sequence)?, ..empty });
            }
            if let Some(heartbeat) = heartbeat
                && !heartbeat.consumes
            {
                if heartbeat.carries == Carries::Nothing {
                    return Ok(empty);
                }
                let next = self.next(heartbeat.carries, sequence)?;
                let resets = heartbeat.resets && next == described.initial;
                let reset = resets.then_some(Reset::Heartbeat(next));
                return Ok(Frame { kind: FrameKind::Heartbeat, sequence: next, reset, ..empty });
            }
        }
        let sequenced = !unsequenced && count > 0;
        if sequenced && (sequence == 0 && self.layout.zero_is_none || sequence.checked_add(count).is_none()) {
            return Err(Malformed::Sequence);
        }
        let Some(len) = self.layout.packing.blocks_len(body, count as u32) else { return Err(Malformed::Overrun) };
        let frame = Frame { count: count as u32, body: &body[..len], ..empty };
        if !sequenced {
            return Ok(frame);
        }
        let reset = described.reset.means(whole, seen).then_some(Reset::Marked(if described.reset_to_initial {
            described.initial
        } else {
            sequence
        }));
        Ok(Frame { kind: FrameKind::Data, reset, ..frame })
    }

    /// Makes `out` a header, without its length and its count.
    fn header(self, session: Session, sequence: u64, out: &mut Vec<u8>) {
        let described = &self.layout.described;
        out.clear();
        out.resize(described.header, 0);
        match described.session {
            None => {}
            Some(SessionField::Number(field)) => field.write(session.as_number().unwrap_or_default(), out),
            Some(SessionField::Text { at, len }) => {
                let (name, given) = session.name();
                let field = out.iter_mut().skip(usize::from(at)).take(usize::from(len));
                field.enumerate().for_each(|(i, byte)| *byte = if i < given { name[i] } else { b' ' });
            }
        }
        if let Some(channel) = described.channel {
            channel.write(u64::from(self.key), out);
        }
        described.sequence.write(sequence, out);
        described.must_be.iter().chain(&described.writes).for_each(|test| put(test, out));
    }

    /// Makes `out` a frame without messages that `rule` matches.
    fn empty(self, session: Session, carries: Carries, next: u64, rule: &Rule, out: &mut Vec<u8>) {
        let sequence = match carries {
            Carries::Next => self.layout.width.wire(SeqNo(next)),
            Carries::Last => self.before(next),
            Carries::Nothing => 0,
        };
        self.header(session, sequence, out);
        self.mark(rule, out);
        self.put_length(out);
    }

    /// Makes a rule match, by its first alternative.
    fn mark(self, rule: &Rule, out: &mut Vec<u8>) {
        for test in rule.alternatives().next().into_iter().flatten() {
            if let (Looked::Count, Some(count)) = (test.what, self.layout.described.count) {
                count.write(test.low, out);
            }
            put(test, out);
        }
    }

    /// Writes the header's length field; false if the length does not fit.
    fn put_length(self, out: &mut [u8]) -> bool {
        let Some(length) = self.layout.described.length else { return true };
        let counted = if length.counts_header { out.len() } else { out.len() - self.layout.described.header };
        length.field.write(counted as u64, out);
        counted as u64 <= length.field.most()
    }
}

/// Writes what makes a test true, if it looks at a field; extends `out` to the field if need be.
fn put(test: &Test, out: &mut Vec<u8>) {
    let Looked::Field(field, mask) = test.what else { return };
    if out.len() < field.end() {
        out.resize(field.end(), 0);
    }
    let rest = field.read(out).unwrap_or_default() & !mask;
    field.write(rest | test.low & mask, out);
}

impl Framing for Fixed {
    const NAME: &'static str = FIXED;
    const PROOF: Proof = Proof::Stream;

    #[inline]
    fn rules(self) -> SequenceRules {
        let Layout { described, width, .. } = self.layout;
        SequenceRules {
            width: *width,
            initial: SeqNo(described.initial),
            unmarked_restart: described.unmarked_restart,
            keyed: described.channel.is_some(),
            heartbeat_interval: described.heartbeat_interval,
        }
    }

    fn packet_sequenced(self) -> bool {
        self.layout.described.packet
    }

    #[inline]
    fn packing(self) -> Packing {
        self.layout.packing
    }

    fn with_key(self, key: u32) -> Fixed {
        Fixed { key, ..self }
    }

    fn session(self, text: &str) -> Option<Session> {
        match self.layout.described.session {
            None => Some(Session::NONE),
            Some(SessionField::Number(field)) => text.parse().ok().filter(|n| *n <= field.most()).map(Session::number),
            Some(SessionField::Text { len, .. }) => {
                let mut name = [b' '; 14];
                let name = &mut name[..usize::from(len).min(14)];
                name.get_mut(..text.len())?.copy_from_slice(text.as_bytes());
                Some(Session::text(name))
            }
        }
    }

    #[inline]
    fn frame<'a>(self, datagram: &'a [u8], at: &mut usize) -> Option<Result<Frame<'a>, Malformed>> {
        if *at > 0 {
            return None; // one frame per datagram
        }
        *at = datagram.len().max(1);
        Some(self.read(datagram))
    }

    fn encode(self, session: Session, sequence: u64, messages: &[&[u8]], max_len: usize, out: &mut Vec<u8>) -> usize {
        let Layout { described, packing, count_most, .. } = self.layout;
        self.header(session, self.layout.width.wire(SeqNo(sequence)), out);
        // the longest datagram that the length field can state
        let len_most = described.length.map_or(u64::MAX, |length| {
            length.field.most().saturating_add(if length.counts_header { 0 } else { described.header as u64 })
        });
        let mut count = 0usize;
        for message in messages {
            let begin = out.len();
            let fits = block(*packing, message, out);
            let full = count as u64 == *count_most
                || count > 0 && packing.width == 0
                || count > 0 && out.len() > max_len
                || out.len() as u64 > len_most;
            if !fits || full {
                out.truncate(begin);
                break;
            }
            count += 1;
        }
        if let Some(field) = described.count {
            field.write(count as u64, out);
        }
        self.put_length(out);
        // a description may not distinguish messages from the rest: then nothing can be sent
        let read = self.read(out).is_ok_and(|frame| frame.kind == FrameKind::Data && frame.count as usize == count);
        if read { count } else { 0 }
    }

    fn encode_heartbeat(self, session: Session, next: u64, out: &mut Vec<u8>) -> u32 {
        let Layout { described, packing, width, .. } = self.layout;
        let Some(heartbeat) = &described.heartbeat else {
            out.clear();
            return 0;
        };
        if !heartbeat.consumes {
            self.empty(session, heartbeat.carries, next, &heartbeat.when, out);
            return 0;
        }
        self.header(session, width.wire(SeqNo(next)), out);
        if let Some(count) = described.count {
            count.write(1, out);
            block(*packing, &vec![0; usize::from(packing.offset) + usize::from(packing.width)], out);
        }
        self.mark(&heartbeat.when, out);
        self.put_length(out);
        1
    }

    fn encode_end(self, session: Session, next: u64, out: &mut Vec<u8>) -> bool {
        let Some((rule, carries)) = &self.layout.described.end else { return false };
        self.empty(session, *carries, next, rule, out);
        true
    }
}

/// Appends the block of a message that is as [`Packing::wrap`] makes it; false if it is not a block, or its length does not fit.
fn block(packing: Packing, message: &[u8], out: &mut Vec<u8>) -> bool {
    let begin = out.len();
    out.resize(begin + usize::from(packing.skip), 0);
    out.extend_from_slice(message);
    let block = &mut out[begin..];
    if packing.width == 0 {
        return true;
    }
    if packing.skip > 0 {
        return packing.put_length(block);
    }
    packing.block_len(block) == Some(block.len())
}
