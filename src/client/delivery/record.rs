//! Records as bytes: encoding and decoding. Whoever wrote the bytes is not trusted: every field is checked, and nothing panics.

use std::fmt;

use super::{CHANNELS_MAX, Overrun};
use twinline_core::arbiter::{
    ChannelRef, EpochEndReason, Event, EventKind, LagReason, LineState, Loss, LostReason, Run, RunFlags, Sink,
};
use twinline_core::frame::{ChannelKey, LINES_MAX, Line, Packing, Session};
use twinline_core::{Nanos, SeqNo, SeqRange, framing};

/// Bytes of the header of every record.
pub(super) const HEAD_LEN: usize = 24;
/// Bytes of every record that is not a run.
pub(super) const CONTROL_LEN: usize = HEAD_LEN + 48;

pub(super) type Head = [u8; HEAD_LEN];
/// A record that is not a run.
pub(super) type Control = (Head, [u8; 48]);

// Kinds of records. The kinds below 5 are those of `SinkCall`, which are runs.
const CHANNEL: u8 = 5;
const LOSS: u8 = 6;
const JUMP: u8 = 7;
const OVERRUN: u8 = 8;
const EVENT: u8 = 9;

// Flags of a run.
const HEARTBEAT: u8 = 1;
const LATE: u8 = 2;
const UNSEQUENCED: u8 = 4;
const HELD: u8 = 8;
/// The run's own packing is between its header and its messages.
const PACKED_OTHERWISE: u8 = 16;

// Kinds of events. They are stored where a run has its flags.
const EPOCH: u8 = 1;
const GAP: u8 = 2;
const FILLED: u8 = 3;
const LOST: u8 = 4;
const ENDED: u8 = 5;
const EPOCH_END: u8 = 6;
const LINE: u8 = 7;
const DIVERGENCE: u8 = 8;

/// Which call of the arbiter's sink a run was passed to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SinkCall {
    /// [`Sink::release`].
    Release = 1,
    /// [`Sink::late`].
    Late = 2,
    /// [`Sink::unsequenced`].
    Unsequenced = 3,
    /// [`Sink::first`].
    First = 4,
}

impl SinkCall {
    #[inline]
    fn from_kind(kind: u8) -> Option<SinkCall> {
        match kind {
            1 => Some(SinkCall::Release),
            2 => Some(SinkCall::Late),
            3 => Some(SinkCall::Unsequenced),
            4 => Some(SinkCall::First),
            _ => None,
        }
    }
}

/// Numbers that the first-copy output skipped: a gap, reported at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Jump {
    /// When it was skipped.
    pub at: Nanos,
    /// The channel.
    pub channel: ChannelRef,
    /// The session that it belongs to.
    pub session: Session,
    /// The numbers that were skipped.
    pub range: SeqRange,
}

/// One record of a client's ring.
///
/// The enum is exhaustive on purpose: a new kind makes every client decide what to do with it, instead of ignoring it unseen.
#[derive(Clone, Copy, Debug)]
pub enum RingRecord<'a> {
    /// Messages, and the call of the sink that they were passed to.
    Run(SinkCall, Run<'a>),
    /// Ordered output: a loss, in its place.
    Loss(Loss),
    /// First-copy output: numbers that were skipped.
    Jump(Jump),
    /// An event.
    Event(Event),
    /// This client was too slow, and missed something.
    Overrun(Overrun),
}

impl RingRecord<'_> {
    /// Makes the call of the sink for which this record was written. An overrun was written for none.
    pub fn replay<S: Sink>(&self, sink: &mut S) {
        match self {
            RingRecord::Run(SinkCall::Release, run) => sink.release(run),
            RingRecord::Run(SinkCall::Late, run) => sink.late(run),
            RingRecord::Run(SinkCall::Unsequenced, run) => sink.unsequenced(run),
            RingRecord::Run(SinkCall::First, run) => sink.first(run),
            RingRecord::Loss(loss) => sink.loss(loss),
            RingRecord::Jump(jump) => sink.first_gap(jump.at, jump.channel, jump.session, jump.range),
            RingRecord::Event(event) => sink.event(event),
            RingRecord::Overrun(_) => {}
        }
    }
}

/// What is wrong with a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BrokenRecord {
    /// It is too short or too long.
    Length {
        /// Its kind.
        kind: u8,
        /// Its length.
        len: usize,
    },
    /// Its kind, or one of its fields, has a value that no writer writes.
    Content {
        /// Its kind.
        kind: u8,
    },
    /// No channel record came before it.
    Channel {
        /// The channel's index.
        index: u8,
    },
    /// It does not hold as many messages as it states.
    Messages {
        /// How many it states.
        count: u32,
    },
}

impl fmt::Display for BrokenRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BrokenRecord::Length { kind, len } => write!(f, "a record of kind {kind} cannot have {len} bytes"),
            BrokenRecord::Content { kind } => write!(f, "a record of kind {kind} has a field with an impossible value"),
            BrokenRecord::Channel { index } => {
                write!(f, "a record belongs to channel {index}, for which no channel record came")
            }
            BrokenRecord::Messages { count } => write!(f, "a run does not hold the {count} messages that it states"),
        }
    }
}

impl std::error::Error for BrokenRecord {}

#[inline]
fn head(kind: u8, line: u8, flags: u8, channel: ChannelRef, count: u32, first: u64, stamp: Nanos) -> Head {
    // a word at a time, so that it is built in registers
    let [a, b, c, d] = count.to_le_bytes();
    let mut out = [0; HEAD_LEN];
    out[..8].copy_from_slice(&[kind, line, flags, channel.index as u8, a, b, c, d]);
    out[8..16].copy_from_slice(&first.to_le_bytes());
    out[16..].copy_from_slice(&stamp.0.to_le_bytes());
    out
}

fn words(words: [u64; 6]) -> [u8; 48] {
    let mut out = [0; 48];
    for (into, word) in out.chunks_exact_mut(8).zip(words) {
        into.copy_from_slice(&word.to_le_bytes());
    }
    out
}

fn session_words(session: Session) -> [u64; 2] {
    let wide = u128::from_le_bytes(session.to_bytes());
    [wide as u64, (wide >> 64) as u64]
}

#[inline]
pub(super) fn run(via: SinkCall, run: &Run<'_>, packed_otherwise: bool) -> Head {
    let flag = |set: bool, bit: u8| if set { bit } else { 0 };
    let flags = flag(run.flags.heartbeat, HEARTBEAT)
        | flag(run.flags.late, LATE)
        | flag(run.flags.unsequenced, UNSEQUENCED)
        | flag(run.flags.held, HELD)
        | flag(packed_otherwise, PACKED_OTHERWISE);
    head(via as u8, run.line.0, flags, run.channel, run.count, run.first.0, run.stamp)
}

pub(super) fn channel(channel: ChannelRef, session: Session) -> Control {
    let ChannelKey { group, key } = channel.key;
    let [s, t] = session_words(session);
    let head = head(CHANNEL, 0, u8::from(key.is_some()), channel, u32::from(group), 0, Nanos::ZERO);
    (head, words([u64::from(key.unwrap_or(0)), s, t, 0, 0, 0]))
}

pub(super) fn loss(loss: &Loss) -> Control {
    let head = head(LOSS, 0, 0, loss.channel, loss.reason as u32, loss.range.first.0, loss.at);
    (head, words([loss.range.end.0, 0, 0, 0, 0, 0]))
}

pub(super) fn jump(jump: &Jump) -> Control {
    let head = head(JUMP, 0, 0, jump.channel, 0, jump.range.first.0, jump.at);
    (head, words([jump.range.end.0, 0, 0, 0, 0, 0]))
}

pub(super) fn overrun(overrun: &Overrun) -> Control {
    let Overrun { at, channel, session, range, messages, events, epochs } = *overrun;
    let [s, t] = session_words(session);
    // an overrun takes years to count up to 32 bits of epochs
    let head = head(OVERRUN, 0, 0, channel, u32::try_from(epochs).unwrap_or(u32::MAX), range.first.0, at);
    (head, words([range.end.0, messages, events, s, t, 0]))
}

pub(super) fn event(event: &Event) -> Control {
    let at =
        |flags, line: Line, count, first: SeqNo| head(EVENT, line.0, flags, event.channel, count, first.0, event.at);
    let no_line = Line(0);
    match event.kind {
        EventKind::Epoch { session, first } => {
            let [s, t] = session_words(session);
            (at(EPOCH, no_line, 0, first), words([s, t, 0, 0, 0, 0]))
        }
        EventKind::Gap { range, line } => (at(GAP, line, 0, range.first), words([range.end.0, 0, 0, 0, 0, 0])),
        EventKind::Filled { range, line, opened_by, opened_at } => {
            let rest = [range.end.0, opened_by.0.into(), opened_at.0, 0, 0, 0];
            (at(FILLED, line, 0, range.first), words(rest))
        }
        EventKind::Lost { range, reason, opened_by, opened_at } => {
            let rest = [range.end.0, opened_by.0.into(), opened_at.0, 0, 0, 0];
            (at(LOST, no_line, reason as u32, range.first), words(rest))
        }
        EventKind::Ended { session, next } => {
            let [s, t] = session_words(session);
            (at(ENDED, no_line, 0, next), words([s, t, 0, 0, 0, 0]))
        }
        EventKind::EpochEnd { session, next, why } => {
            let [s, t] = session_words(session);
            (at(EPOCH_END, no_line, why as u32, next), words([s, t, 0, 0, 0, 0]))
        }
        EventKind::Line { line, from, to, why } => {
            let why = why.map_or(0, |why| why as u64 + 1);
            (at(LINE, line, 0, SeqNo(0)), words([from as u64, to as u64, why, 0, 0, 0]))
        }
        EventKind::Divergence { number, line, other, hash, other_hash } => {
            (at(DIVERGENCE, line, hash, number), words([other.0.into(), other_hash.into(), 0, 0, 0, 0]))
        }
    }
}

/// A decoded record, without the bytes of a run.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Entry {
    /// A channel record: there is nothing to pass on.
    Named,
    Run(RunEntry),
    Loss(Loss),
    Jump(Jump),
    Event(Event),
    Overrun(Overrun),
}

/// A run whose messages are in its record from byte `body` on. It is small and holds nothing that can be looked up, because a
/// client keeps it from message to message.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RunEntry {
    pub(crate) first: SeqNo,
    pub(crate) stamp: Nanos,
    pub(crate) body: usize,
    pub(crate) count: u32,
    pub(crate) packing: Packing,
    pub(crate) via: SinkCall,
    pub(crate) line: Line,
    flags: u8,
    /// The channel's index.
    pub(crate) index: u8,
}

impl Named {
    /// The channel, copied field by field, and the session. If the channel were copied as a whole, it would be stored and loaded
    /// in pieces of different sizes, and each load would wait for the stores.
    #[inline]
    #[expect(clippy::map_identity, reason = "it takes the key apart as well")]
    pub(crate) fn parts(&self) -> (ChannelRef, Session) {
        let ChannelRef { index, key: ChannelKey { group, key } } = self.channel;
        (ChannelRef { index, key: ChannelKey { group, key: key.map(|key| key) } }, self.session)
    }
}

impl RunEntry {
    /// A run without messages.
    pub(crate) const NONE: RunEntry = RunEntry {
        first: SeqNo(0),
        stamp: Nanos::ZERO,
        body: 0,
        count: 0,
        packing: Packing::WHOLE,
        via: SinkCall::Release,
        line: Line(0),
        flags: 0,
        index: 0,
    };

    /// Whether its packing differs from the feed's.
    #[inline]
    pub(crate) fn packed_otherwise(&self) -> bool {
        self.flags & PACKED_OTHERWISE != 0
    }

    #[inline]
    pub(crate) fn flags(&self) -> RunFlags {
        RunFlags {
            heartbeat: self.flags & HEARTBEAT != 0,
            late: self.flags & LATE != 0,
            unsequenced: self.flags & UNSEQUENCED != 0,
            held: self.flags & HELD != 0,
        }
    }

    /// The run, given its record and its channel; `None` if the record does not hold as many messages as it states.
    pub(crate) fn checked<'a>(&self, record: &'a [u8], Named { channel, session }: Named) -> Option<Run<'a>> {
        let RunEntry { first, count, line, stamp, packing, .. } = *self;
        let body = record.get(self.body..)?;
        packing.blocks_len(body, count)?;
        Some(Run { channel, session, first, count, line, stamp, flags: self.flags(), packing, body })
    }
}

/// Reads one client's records, and keeps what the channel records state.
#[derive(Debug)]
pub(crate) struct Decoder {
    packing: Packing,
    channels: Box<[Option<Named>; CHANNELS_MAX]>,
}

/// What a channel record states.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Named {
    pub(crate) session: Session,
    pub(crate) channel: ChannelRef,
}

impl Decoder {
    pub(crate) fn new(packing: Packing) -> Decoder {
        Decoder { packing, channels: Box::new([None; CHANNELS_MAX]) }
    }

    /// The channel with this index and its session, as last stated.
    #[inline]
    pub(crate) fn channel(&self, index: u8) -> Option<&Named> {
        self.channels[usize::from(index)].as_ref()
    }

    /// Decodes the usual record: at least one message, packed as the feed packs. `None` for any other record and for a broken
    /// one.
    #[inline]
    pub(crate) fn run(&self, record: &[u8]) -> Option<RunEntry> {
        let head = record.first_chunk::<HEAD_LEN>()?;
        let [kind, line, flags, index, c0, c1, c2, c3] = *array(head, 0);
        let via = SinkCall::from_kind(kind)?;
        let count = u32::from_le_bytes([c0, c1, c2, c3]);
        let countable = count == 1 || count > 1 && self.packing.width > 0;
        if !countable || flags & PACKED_OTHERWISE != 0 || usize::from(line) > LINES_MAX || self.channel(index).is_none()
        {
            return None;
        }
        let first = SeqNo(u64::from_le_bytes(*array(head, 8)));
        let stamp = Nanos(u64::from_le_bytes(*array(head, 16)));
        let packing = self.packing;
        Some(RunEntry { first, stamp, body: HEAD_LEN, count, packing, via, line: Line(line), flags, index })
    }

    /// Decodes any record.
    pub(crate) fn decode(&mut self, record: &[u8]) -> Result<Entry, BrokenRecord> {
        if let Some(run) = self.run(record) {
            return Ok(Entry::Run(run));
        }
        let kind = record.first().copied().unwrap_or(0);
        let short = BrokenRecord::Length { kind, len: record.len() };
        let (head, rest) = record.split_first_chunk::<HEAD_LEN>().ok_or(short)?;
        let [kind, line, flags, index, c0, c1, c2, c3] = *array(head, 0);
        let count = u32::from_le_bytes([c0, c1, c2, c3]);
        let first = SeqNo(u64::from_le_bytes(*array(head, 8)));
        let stamp = Nanos(u64::from_le_bytes(*array(head, 16)));
        if usize::from(line) > LINES_MAX {
            return Err(BrokenRecord::Content { kind });
        }
        let line = Line(line);
        if kind == CHANNEL {
            let w = control_words(rest).ok_or(short)?;
            let group = u16::try_from(count).map_err(|_| BrokenRecord::Content { kind })?;
            let key = ChannelKey { group, key: if flags & 1 == 0 { None } else { Some(w[0] as u32) } };
            let channel = ChannelRef { index: index.into(), key };
            self.channels[usize::from(index)] = Some(Named { channel, session: session(w[1], w[2]) });
            return Ok(Entry::Named);
        }
        let Named { channel, session: session_now } =
            self.channels[usize::from(index)].ok_or(BrokenRecord::Channel { index })?;
        let Some(via) = SinkCall::from_kind(kind) else {
            let w = control_words(rest).ok_or(short)?;
            let control = ControlEntry { kind, line, code: flags, channel, session_now, count, first, stamp, w };
            return control.decode().ok_or(BrokenRecord::Content { kind });
        };
        let (packing, body) = if flags & PACKED_OTHERWISE == 0 {
            (self.packing, HEAD_LEN)
        } else {
            let raw = *rest.first_chunk().ok_or(short)?;
            (framing::packing(raw).ok_or(BrokenRecord::Content { kind })?, HEAD_LEN + 8)
        };
        if packing.width == 0 && count > 1 {
            return Err(BrokenRecord::Messages { count });
        }
        Ok(Entry::Run(RunEntry { first, stamp, body, count, packing, via, line, flags, index }))
    }
}

/// Eight bytes of a head.
#[inline]
fn array(head: &Head, at: usize) -> &[u8; 8] {
    head[at..].first_chunk().unwrap_or(&[0; 8])
}

fn control_words(rest: &[u8]) -> Option<[u64; 6]> {
    let rest: &[u8; 48] = rest.try_into().ok()?;
    let mut out = [0; 6];
    for (word, bytes) in out.iter_mut().zip(rest.as_chunks::<8>().0) {
        *word = u64::from_le_bytes(*bytes);
    }
    Some(out)
}

fn session(low: u64, high: u64) -> Session {
    Session::from_bytes((u128::from(low) | u128::from(high) << 64).to_le_bytes())
}

fn line(word: u64) -> Option<Line> {
    u8::try_from(word).ok().filter(|line| usize::from(*line) <= LINES_MAX).map(Line)
}

fn one_of<T: Copy>(all: &[T], index: u64) -> Option<T> {
    all.get(usize::try_from(index).ok()?).copied()
}

/// A control record's fields, before they are checked.
struct ControlEntry {
    kind: u8,
    line: Line,
    code: u8,
    channel: ChannelRef,
    session_now: Session,
    count: u32,
    first: SeqNo,
    stamp: Nanos,
    w: [u64; 6],
}

impl ControlEntry {
    fn decode(&self) -> Option<Entry> {
        let ControlEntry { channel, session_now, stamp: at, w, .. } = *self;
        let range = SeqRange::new(self.first, SeqNo(w[0]));
        Some(match self.kind {
            LOSS => {
                let reason = one_of(&LostReason::ALL, self.count.into())?;
                Entry::Loss(Loss { channel, session: session_now, range, reason, at })
            }
            JUMP => Entry::Jump(Jump { at, channel, session: session_now, range }),
            OVERRUN => {
                let [_, messages, events, s, t, _] = w;
                let epochs = self.count.into();
                Entry::Overrun(Overrun { at, channel, session: session(s, t), range, messages, events, epochs })
            }
            EVENT => Entry::Event(Event { at, channel, kind: self.event(range)? }),
            _ => return None,
        })
    }

    fn event(&self, range: SeqRange) -> Option<EventKind> {
        let w = self.w;
        let session = session(w[0], w[1]);
        Some(match self.code {
            EPOCH => EventKind::Epoch { session, first: self.first },
            GAP => EventKind::Gap { range, line: self.line },
            FILLED => {
                let (opened_by, opened_at) = (line(w[1])?, Nanos(w[2]));
                EventKind::Filled { range, line: self.line, opened_by, opened_at }
            }
            LOST => {
                let reason = one_of(&LostReason::ALL, self.count.into())?;
                EventKind::Lost { range, reason, opened_by: line(w[1])?, opened_at: Nanos(w[2]) }
            }
            ENDED => EventKind::Ended { session, next: self.first },
            EPOCH_END => {
                let why = one_of(&EpochEndReason::ALL, self.count.into())?;
                EventKind::EpochEnd { session, next: self.first, why }
            }
            LINE => {
                let why = match w[2] {
                    0 => None,
                    n => Some(one_of(&LagReason::ALL, n - 1)?),
                };
                let (from, to) = (one_of(&LineState::ALL, w[0])?, one_of(&LineState::ALL, w[1])?);
                EventKind::Line { line: self.line, from, to, why }
            }
            DIVERGENCE => {
                let (other, other_hash) = (line(w[0])?, u32::try_from(w[1]).ok()?);
                EventKind::Divergence { number: self.first, line: self.line, other, hash: self.count, other_hash }
            }
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A reason is written as its index in the `ALL` list.
    #[test]
    fn reasons_stand_at_their_own_place() {
        assert!(LostReason::ALL.iter().enumerate().all(|(i, reason)| *reason as usize == i));
        assert!(EpochEndReason::ALL.iter().enumerate().all(|(i, why)| *why as usize == i));
        assert!(LineState::ALL.iter().enumerate().all(|(i, state)| *state as usize == i));
        assert!(LagReason::ALL.iter().enumerate().all(|(i, why)| *why as usize == i));
    }

    #[test]
    fn what_no_writer_writes_is_an_error() {
        let mut decoder = Decoder::new(Packing::WHOLE);
        let at = ChannelRef { index: 3, key: ChannelKey { group: 1, key: Some(9) } };
        let bytes = |(head, words): Control| [head.as_slice(), &words].concat();
        let jump = bytes(jump(&Jump { at: Nanos(1), channel: at, session: Session::NONE, range: SeqRange::default() }));
        assert!(matches!(decoder.decode(&[]), Err(BrokenRecord::Length { kind: 0, len: 0 })));
        assert!(matches!(decoder.decode(&jump), Err(BrokenRecord::Channel { index: 3 })));
        assert!(matches!(decoder.decode(&bytes(channel(at, Session::number(5)))), Ok(Entry::Named)));
        assert!(matches!(decoder.decode(&jump), Ok(Entry::Jump(jump)) if jump.session == Session::number(5)));
        for cut in 0..jump.len() {
            assert!(matches!(decoder.decode(&jump[..cut]), Err(BrokenRecord::Length { .. })));
        }
        for kind in [0, 10, 255] {
            let mut wrong = jump.clone();
            wrong[0] = kind;
            assert!(matches!(decoder.decode(&wrong), Err(BrokenRecord::Content { .. })));
        }
        // a run packed by a rule that no framing has, and one packed by OPRA's
        let by_rule = |id: u8| [&[1, 0, PACKED_OTHERWISE, 3, 1], [0; 19].as_slice(), &[id], &[0; 7]].concat();
        assert!(matches!(decoder.decode(&by_rule(3)), Err(BrokenRecord::Content { kind: 1 })));
        assert!(matches!(decoder.decode(&by_rule(255)), Ok(Entry::Run(_))));
        let mut wrong = jump;
        wrong[1] = 9; // a line
        assert!(matches!(decoder.decode(&wrong), Err(BrokenRecord::Content { kind: JUMP })));
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_make_it_panic(mut record in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..120)) {
            let mut decoder = Decoder::new(Packing::LENGTH_BE16);
            let channel = ChannelRef { index: 0, key: ChannelKey { group: 0, key: None } };
            let named = Named { channel, session: Session::NONE };
            decoder.channels.fill(Some(named));
            for kind in 0..12 {
                if let Some(first) = record.first_mut() {
                    *first = kind;
                }
                if let Ok(Entry::Run(run)) = decoder.decode(&record) {
                    let _ = run.checked(&record, named);
                }
            }
        }
    }
}
