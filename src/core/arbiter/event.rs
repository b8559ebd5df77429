//! What an arbiter reports: [`Event`]s (ARBITRATION 11), [`Run`]s of messages, and the [`Sink`] that takes both.

use std::fmt::{self, Write as _};

use crate::frame::{ChannelKey, Line, Packing, Session};
use crate::seq::{SeqNo, SeqRange};
use crate::time::Nanos;

/// A channel of a running arbiter: its name, and its place in the order in which channels began (from 0, below 256).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ChannelRef {
    /// Place in the order in which channels began.
    pub index: u16,
    /// Its name.
    pub key: ChannelKey,
}

impl fmt::Display for ChannelRef {
    /// Its name.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.key.fmt(f)
    }
}

/// Why a range was given up as lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LostReason {
    /// Its deadline passed.
    Deadline,
    /// Every line that could still bring it has gone past it by more than `settle`.
    Settled,
    /// The hold was full.
    Hold,
    /// The gap list was full.
    Gaps,
    /// Its epoch ended.
    Epoch,
    /// The input ended.
    Finish,
}

impl LostReason {
    /// Every reason.
    pub const ALL: [LostReason; 6] = [
        LostReason::Deadline,
        LostReason::Settled,
        LostReason::Hold,
        LostReason::Gaps,
        LostReason::Epoch,
        LostReason::Finish,
    ];

    /// Its name in events.
    pub const fn name(self) -> &'static str {
        match self {
            LostReason::Deadline => "deadline",
            LostReason::Settled => "settled",
            LostReason::Hold => "hold",
            LostReason::Gaps => "gaps",
            LostReason::Epoch => "epoch",
            LostReason::Finish => "finish",
        }
    }
}

/// Why an epoch ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EpochEndReason {
    /// Its own end of session.
    End,
    /// Every live line shows the new session.
    Lines,
    /// No line has shown the old session for the length of the grace.
    Grace,
    /// The new session advanced for the length of the grace while the old one stood still.
    Idle,
    /// The hold limit was reached while no line showed the old session.
    Bound,
    /// A marked reset.
    Reset,
    /// An unmarked restart.
    Restart,
}

impl EpochEndReason {
    /// Every reason.
    pub const ALL: [EpochEndReason; 7] = [
        EpochEndReason::End,
        EpochEndReason::Lines,
        EpochEndReason::Grace,
        EpochEndReason::Idle,
        EpochEndReason::Bound,
        EpochEndReason::Reset,
        EpochEndReason::Restart,
    ];

    /// Its name in events.
    pub const fn name(self) -> &'static str {
        match self {
            EpochEndReason::End => "end",
            EpochEndReason::Lines => "lines",
            EpochEndReason::Grace => "grace",
            EpochEndReason::Idle => "idle",
            EpochEndReason::Bound => "bound",
            EpochEndReason::Reset => "reset",
            EpochEndReason::Restart => "restart",
        }
    }
}

/// What a line is doing on a channel (ARBITRATION 7.2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum LineState {
    /// Not heard yet.
    #[default]
    Waiting,
    /// Heard, and with the others.
    Up,
    /// More than `settle` behind the channel.
    Lagging,
    /// Has shown nothing for `silent_after`.
    Silent,
    /// Shows a session that is not the current one.
    OtherSession,
}

impl LineState {
    /// Every state.
    pub const ALL: [LineState; 5] =
        [LineState::Waiting, LineState::Up, LineState::Lagging, LineState::Silent, LineState::OtherSession];

    /// Its name in events.
    pub const fn name(self) -> &'static str {
        match self {
            LineState::Waiting => "waiting",
            LineState::Up => "up",
            LineState::Lagging => "lagging",
            LineState::Silent => "silent",
            LineState::OtherSession => "other session",
        }
    }
}

/// Why a line lags.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LagReason {
    /// It has brought data since it fell behind.
    Slow,
    /// It has brought only heartbeats.
    Heartbeats,
    /// It has brought nothing.
    Frozen,
}

impl LagReason {
    /// Every reason.
    pub const ALL: [LagReason; 3] = [LagReason::Slow, LagReason::Heartbeats, LagReason::Frozen];

    /// Its name in events.
    pub const fn name(self) -> &'static str {
        match self {
            LagReason::Slow => "slow",
            LagReason::Heartbeats => "heartbeats",
            LagReason::Frozen => "frozen",
        }
    }
}

/// Something that happened to the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event {
    /// When: the stamp of the frame that caused it, or the deadline's own time.
    pub at: Nanos,
    /// On which channel.
    pub channel: ChannelRef,
    /// What happened.
    pub kind: EventKind,
}

/// The kinds of [`Event`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventKind {
    /// A run of numbers begins, or is resumed, at `first`.
    Epoch {
        /// Its session.
        session: Session,
        /// The next expected number.
        first: SeqNo,
    },
    /// A line showed a number beyond `range`, which no line has delivered.
    Gap {
        /// What is missing.
        range: SeqRange,
        /// The line that showed the higher number.
        line: Line,
    },
    /// A gap, or a part of one, was filled.
    Filled {
        /// What was filled.
        range: SeqRange,
        /// By which line.
        line: Line,
        /// The line that opened the gap.
        opened_by: Line,
        /// When the gap was opened.
        opened_at: Nanos,
    },
    /// A gap, or a part of one, was given up.
    Lost {
        /// What was given up.
        range: SeqRange,
        /// Why.
        reason: LostReason,
        /// The line that opened the gap.
        opened_by: Line,
        /// When the gap was opened.
        opened_at: Nanos,
    },
    /// The session is over and complete.
    Ended {
        /// Which session.
        session: Session,
        /// One past its last number.
        next: SeqNo,
    },
    /// The run of numbers is over; another one begins.
    EpochEnd {
        /// Its session.
        session: Session,
        /// One past the last number that was released or lost.
        next: SeqNo,
        /// Why.
        why: EpochEndReason,
    },
    /// A line's state changed.
    Line {
        /// Which line.
        line: Line,
        /// Its old state.
        from: LineState,
        /// Its new state.
        to: LineState,
        /// Why it lags, if it does.
        why: Option<LagReason>,
    },
    /// Two copies of a number are not the same message (ARBITRATION 7.4). The first one counts.
    Divergence {
        /// Which number.
        number: SeqNo,
        /// The line that brought it first.
        line: Line,
        /// The line that brought the other message; it may be the same line.
        other: Line,
        /// The first copy's CRC-32.
        hash: u32,
        /// The other copy's CRC-32.
        other_hash: u32,
    },
}

/// What is special about a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RunFlags {
    /// A heartbeat that consumes a number.
    pub heartbeat: bool,
    /// Given up as lost before it came.
    pub late: bool,
    /// Outside the sequence: `first` is meaningless.
    pub unsequenced: bool,
    /// Held until a gap before it was filled or given up.
    pub held: bool,
}

/// Consecutive messages of one frame, packed as the framing packs them.
#[derive(Clone, Copy, Debug)]
pub struct Run<'a> {
    /// On which channel.
    pub channel: ChannelRef,
    /// The session that it belongs to.
    pub session: Session,
    /// The first message's number.
    pub first: SeqNo,
    /// How many messages there are.
    pub count: u32,
    /// The line that brought them first.
    pub line: Line,
    /// When they arrived: the frame's stamp, not the time of release.
    pub stamp: Nanos,
    /// What is special about them.
    pub flags: RunFlags,
    /// How they are packed in `body`.
    pub packing: Packing,
    /// The messages.
    pub body: &'a [u8],
}

impl<'a> Run<'a> {
    /// The numbers in it.
    pub fn range(&self) -> SeqRange {
        SeqRange::new(self.first, self.first + u64::from(self.count))
    }

    /// Its messages; the first one has the number `self.first`.
    pub fn messages(&self) -> crate::frame::Messages<'a> {
        self.packing.messages(self.body)
    }
}

/// A loss, reported in its place in the stream (ARBITRATION 5.8).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Loss {
    /// On which channel.
    pub channel: ChannelRef,
    /// The session that it belongs to.
    pub session: Session,
    /// The numbers that will not come.
    pub range: SeqRange,
    /// Why.
    pub reason: LostReason,
    /// When it was reported in the stream.
    pub at: Nanos,
}

/// Takes what an arbiter reports. It is called on the hot path, so an implementation should not allocate, lock or make a system
/// call.
///
/// There are two outputs, and a sink may take either or both. *Ordered* is [`release`](Sink::release) and
/// [`loss`](Sink::loss): each number of an epoch at most once, ascending, and every hole reported in its place.
/// *First-copy* is [`first`](Sink::first) and [`first_gap`](Sink::first_gap): the highest number wins, and nothing waits.
pub trait Sink {
    /// An event, in the order of ARBITRATION 11.
    fn event(&mut self, event: &Event);

    /// Ordered output: the next messages.
    fn release(&mut self, run: &Run<'_>);

    /// Ordered output: numbers that will not come, at the place where they would have been.
    fn loss(&mut self, loss: &Loss) {
        let _ = loss;
    }

    /// Messages that were given up as lost and arrived after all, once each.
    fn late(&mut self, run: &Run<'_>) {
        let _ = run;
    }

    /// Messages outside the sequence, as they arrive. Every line's copies are passed on, because nothing identifies a copy as
    /// one.
    fn unsequenced(&mut self, run: &Run<'_>) {
        let _ = run;
    }

    /// A line has shown numbers of the current epoch in a frame that arrived at `stamp` and is believed, whether or not they were
    /// first copies. An empty range (a heartbeat) shows that everything below its end was sent. Each frame is reported here once,
    /// before or after what it causes. Recovery shows nothing: no account of missing numbers is kept for it.
    #[inline(always)]
    fn shown(&mut self, stamp: Nanos, channel: ChannelRef, line: Line, range: SeqRange) {
        let _ = (stamp, channel, line, range);
    }

    /// First-copy output: messages above everything released so far, or (`flags.late`) the first copy of numbers that were
    /// skipped.
    fn first(&mut self, run: &Run<'_>) {
        let _ = run;
    }

    /// First-copy output: numbers that were skipped.
    fn first_gap(&mut self, at: Nanos, channel: ChannelRef, session: Session, range: SeqRange) {
        let _ = (at, channel, session, range);
    }

    /// A live pass has ended, in which this many datagrams were found. This is the place for what is due between frames, such as
    /// reporting an overrun to a client that has caught up. The loop of a live run calls it. An arbiter never does, and offline
    /// nothing does.
    #[inline(always)]
    fn after_pass(&mut self, datagrams: usize) {
        let _ = datagrams;
    }

    /// The run has ended, and its arbiter with it: nothing comes after this. The loop of a live run calls it; an arbiter never
    /// does.
    fn close(&mut self) {}
}

/// A line's name: `names[i]` for line `i`, or `recovery`.
pub fn line_name(names: &[String], line: Line) -> &str {
    if line == Line::RECOVERY { "recovery" } else { names.get(line.index()).map_or("?", String::as_str) }
}

/// An event as one line of JSON, without the line ending: `event.json(&names).to_string()` (ARBITRATION 11).
pub struct EventJson<'a> {
    event: &'a Event,
    names: &'a [String],
}

impl Event {
    /// The event as one compact JSON object; `names` are the lines' names.
    pub fn json<'a>(&'a self, names: &'a [String]) -> EventJson<'a> {
        EventJson { event: self, names }
    }
}

/// Text as a JSON string.
struct Quoted<T>(T);

impl<T: fmt::Display> fmt::Display for Quoted<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_char('"')?;
        write!(Escaping(f), "{}", self.0)?;
        f.write_char('"')
    }
}

/// Escapes the characters that may not stand unescaped in a JSON string (RFC 8259, section 7).
struct Escaping<'a, 'f>(&'a mut fmt::Formatter<'f>);

impl fmt::Write for Escaping<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for c in text.chars() {
            match c {
                '"' | '\\' => write!(self.0, "\\{c}")?,
                '\n' => self.0.write_str("\\n")?,
                '\r' => self.0.write_str("\\r")?,
                '\t' => self.0.write_str("\\t")?,
                '\u{8}' => self.0.write_str("\\b")?,
                '\u{c}' => self.0.write_str("\\f")?,
                c if c < ' ' => write!(self.0, "\\u{:04x}", u32::from(c))?,
                c => self.0.write_char(c)?,
            }
        }
        Ok(())
    }
}

impl fmt::Display for EventJson<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Event { at, channel, kind } = self.event;
        write!(f, r#"{{"ns":{},"channel":"{}","event":"#, at.0, channel.key)?;
        let line = |l: &Line| Quoted(line_name(self.names, *l).to_owned());
        match kind {
            EventKind::Epoch { session, first } => {
                write!(f, r#""epoch","session":{},"first":{first}}}"#, Quoted(session))
            }
            EventKind::Gap { range, line: l } => {
                write!(f, r#""gap","first":{},"end":{},"line":{}}}"#, range.first, range.end, line(l))
            }
            EventKind::Filled { range, line: l, .. } => {
                write!(f, r#""filled","first":{},"end":{},"line":{}}}"#, range.first, range.end, line(l))
            }
            EventKind::Lost { range, reason, .. } => {
                write!(f, r#""lost","first":{},"end":{},"reason":"{}"}}"#, range.first, range.end, reason.name())
            }
            EventKind::Ended { session, next } => {
                write!(f, r#""ended","session":{},"next":{next}}}"#, Quoted(session))
            }
            EventKind::EpochEnd { session, next, why } => {
                write!(f, r#""epoch_end","session":{},"next":{next},"why":"{}"}}"#, Quoted(session), why.name())
            }
            EventKind::Line { line: l, from, to, why } => {
                write!(f, r#""line","line":{},"from":"{}","to":"{}","why":"#, line(l), from.name(), to.name())?;
                match why {
                    Some(why) => write!(f, r#""{}"}}"#, why.name()),
                    None => f.write_str("null}"),
                }
            }
            EventKind::Divergence { number, line: l, other, hash, other_hash } => {
                let (l, other) = (line(l), line(other));
                write!(f, r#""divergence","number":{number},"line":{l},"other":{other},"#)?;
                write!(f, r#""hash":"{hash:08x}","other_hash":"{other_hash:08x}"}}"#)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(kind: EventKind) -> String {
        let channel = ChannelRef { index: 0, key: ChannelKey { group: 0, key: None } };
        Event { at: Nanos(5), channel, kind }.json(&["A".into(), "B\"".into()]).to_string()
    }

    #[test]
    fn rule_11_events_are_compact_objects_with_their_keys_in_order() {
        let range = SeqRange::new(SeqNo(3), SeqNo(5));
        assert_eq!(
            json(EventKind::Epoch { session: Session::text(b"a\\b\x01 "), first: SeqNo(1) }),
            r#"{"ns":5,"channel":"0","event":"epoch","session":"a\\b\\x01 ","first":1}"#
        );
        assert_eq!(
            json(EventKind::Gap { range, line: Line(0) }),
            r#"{"ns":5,"channel":"0","event":"gap","first":3,"end":5,"line":"A"}"#
        );
        let (opened_by, opened_at) = (Line(0), Nanos(1));
        assert_eq!(
            json(EventKind::Filled { range, line: Line::RECOVERY, opened_by, opened_at }),
            r#"{"ns":5,"channel":"0","event":"filled","first":3,"end":5,"line":"recovery"}"#
        );
        assert_eq!(
            json(EventKind::Lost { range, reason: LostReason::Settled, opened_by, opened_at }),
            r#"{"ns":5,"channel":"0","event":"lost","first":3,"end":5,"reason":"settled"}"#
        );
        assert_eq!(
            json(EventKind::EpochEnd { session: Session::NONE, next: SeqNo(9), why: EpochEndReason::Restart }),
            r#"{"ns":5,"channel":"0","event":"epoch_end","session":"","next":9,"why":"restart"}"#
        );
        let (from, to) = (LineState::Up, LineState::Lagging);
        assert_eq!(
            json(EventKind::Line { line: Line(1), from, to, why: Some(LagReason::Slow) }),
            r#"{"ns":5,"channel":"0","event":"line","line":"B\"","from":"up","to":"lagging","why":"slow"}"#
        );
        assert_eq!(
            json(EventKind::Line { line: Line(1), from: to, to: LineState::OtherSession, why: None }),
            r#"{"ns":5,"channel":"0","event":"line","line":"B\"","from":"lagging","to":"other session","why":null}"#
        );
        let (line, other) = (Line(0), Line::RECOVERY);
        assert_eq!(
            json(EventKind::Divergence { number: SeqNo(7), line, other, hash: 0xAB, other_hash: 0x1234_5678 }),
            r#"{"ns":5,"channel":"0","event":"divergence","number":7,"line":"A","other":"recovery","hash":"000000ab","other_hash":"12345678"}"#
        );
    }
}
