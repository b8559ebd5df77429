//! The rules of ARBITRATION, scenario by scenario: what arrives, and the exact list of what is reported.
//!
//! A scenario is a [`Feed`]. Frames go in by time, line and numbers. `says` takes the events since the last call; `released`,
//! `late` and `first_copies` are the outputs so far. Every message names its session and number. On every call, the recording
//! sink checks that the ordered output ascends, is whole and repeats nothing. [`Feed::finish`] checks the sums; every scenario
//! ends with it, by itself if need be.
//!
//! The defaults: two lines, `settle` 10, `max_jump` 100, gaps wait 10 ms, a line is silent after 3,000 ms, a session's grace is
//! 2,000 ms. A scenario that needs others says so.

use std::ops::Range;

use super::*;
use crate::frame::{Packing, Reset, SequenceRules, Session};
use crate::framing::{CmeMdp3, Framing, MoldUdp64};
use crate::seq::{SeqNo, SeqRange, Width};

use record::Record;

mod bounds;
mod divergence;
mod ends;
mod gaps;
mod lines;
mod memory;
mod numbers;
mod random;
mod record;
mod release;
mod resets;
mod sessions;
mod suspicion;
mod time;

const A: Line = Line(0);
const B: Line = Line(1);
const C: Line = Line(2);
const R: Line = Line::RECOVERY;

const MS: u64 = 1_000_000;

/// Where the frames of a scenario come from.
#[derive(Clone, Copy)]
enum Wire {
    Mold,
    Cme,
    /// No framing: the frame is built by hand.
    Hand,
}

/// What is special about the next frame.
#[derive(Clone, Copy, Default)]
struct Special {
    session: Option<&'static str>,
    group: u16,
    key: Option<u32>,
    reset: Option<Reset>,
    unsequenced: bool,
    /// Makes the frame differ from another one that is otherwise the same.
    stamp: u8,
    /// Its messages differ from the usual ones with the same numbers.
    altered: bool,
}

struct Feed {
    arbiter: Arbiter,
    record: Record,
    wire: Wire,
    special: Special,
    /// Nanoseconds in one unit of the scenario's time.
    unit: u64,
    now: Nanos,
    finished: bool,
}

/// A framing that has everything: marked resets, reset heartbeats, unsequenced frames, keyed channels.
const HAND: SequenceRules = SequenceRules {
    width: Width::U64,
    initial: SeqNo(1),
    unmarked_restart: false,
    keyed: true,
    heartbeat_interval: Nanos::from_secs(1),
};

fn message(session: Session, n: u64, altered: bool) -> Vec<u8> {
    format!("{}:{n}{}", session.to_string().trim_end(), if altered { "!" } else { "" }).into_bytes()
}

impl Feed {
    fn new(wire: Wire, rules: SequenceRules, lines: usize, change: impl FnOnce(&mut Settings)) -> Feed {
        let mut settings = Settings::new(rules, vec![true; lines], 1);
        settings.gap_timeout = GapTimeout::After(Nanos::from_millis(10));
        settings.settle = 10;
        settings.max_jump = 100;
        settings.silent_after = Nanos::from_millis(3_000);
        settings.session_grace = Nanos::from_millis(2_000);
        // a scenario holds little: memory is better spent on running many at once
        settings.hold_bytes = 1 << 20;
        change(&mut settings);
        let mut record = Record::default();
        record.verified = settings.verify.is_on();
        Feed {
            arbiter: Arbiter::new(settings),
            record,
            wire,
            special: Special::default(),
            unit: MS,
            now: Nanos::ZERO,
            finished: false,
        }
    }

    fn mold() -> Feed {
        Feed::mold_with(2, |_| ())
    }

    fn mold_with(lines: usize, change: impl FnOnce(&mut Settings)) -> Feed {
        Feed::new(Wire::Mold, MoldUdp64.rules(), lines, change)
    }

    fn cme() -> Feed {
        Feed::new(Wire::Cme, CmeMdp3.rules(), 2, |_| ())
    }

    fn hand() -> Feed {
        Feed::hand_with(2, |_| ())
    }

    fn hand_with(lines: usize, change: impl FnOnce(&mut Settings)) -> Feed {
        Feed::new(Wire::Hand, HAND, lines, change)
    }

    /// Every line brings the first message, at 0. The events of that are taken, and are not part of the scenario.
    fn joined(mut self) -> Feed {
        let lines = self.arbiter.settings().lines() as u8;
        (0..lines.max(2)).for_each(|line| self.data(0, Line(line % lines), 1..2 + u64::from(line / lines)));
        let epoch = format!("0 epoch {} 1", if matches!(self.wire, Wire::Cme) { "-" } else { "S1" });
        let up = (0..lines).map(|line| format!("0 line {} waiting>up", record::line_text(Line(line))));
        let mut said: Vec<String> = std::iter::once(epoch).chain(up).collect();
        let mut heard = self.record.take(self.unit);
        said.sort();
        heard.sort();
        assert_eq!(heard, said, "joining");
        self
    }

    /// The next frame belongs to this session; without this, to `S1`.
    fn of(&mut self, session: &'static str) -> &mut Feed {
        self.special.session = Some(session);
        self
    }

    /// The next frame belongs to this channel.
    fn on(&mut self, group: u16, key: Option<u32>) -> &mut Feed {
        (self.special.group, self.special.key) = (group, key);
        self
    }

    /// The next frame is a reset.
    fn reset(&mut self, reset: Reset) -> &mut Feed {
        self.special.reset = Some(reset);
        self
    }

    /// The next frame is outside the sequence.
    fn unsequenced(&mut self) -> &mut Feed {
        self.special.unsequenced = true;
        self
    }

    /// The next frame's bytes differ from those of another frame with the same content.
    fn unlike(&mut self, stamp: u8) -> &mut Feed {
        self.special.stamp = stamp;
        self
    }

    /// The next frame's messages differ from the usual ones with the same numbers.
    fn altered(&mut self) -> &mut Feed {
        self.special.altered = true;
        self
    }

    /// Messages arrive.
    fn data(&mut self, at: u64, line: Line, numbers: Range<u64>) {
        self.frame(at, line, FrameKind::Data, numbers);
    }

    /// A heartbeat arrives: `next` will be the next number.
    fn heartbeat(&mut self, at: u64, line: Line, next: u64) {
        self.frame(at, line, FrameKind::Heartbeat, next..next);
    }

    /// The end of the session is announced, before number `next`.
    fn end(&mut self, at: u64, line: Line, next: u64) {
        self.frame(at, line, FrameKind::EndOfSession, next..next);
    }

    fn frame(&mut self, at: u64, line: Line, kind: FrameKind, numbers: Range<u64>) {
        let special = std::mem::take(&mut self.special);
        self.now = Nanos(at * self.unit);
        let name = special.session.unwrap_or("S1");
        let mut bytes = Vec::new();
        match self.wire {
            Wire::Hand => {
                let session = Session::text(name.as_bytes());
                let body = packed(session, numbers.clone(), special.altered);
                bytes.extend(format!("{special:?}{kind:?}{numbers:?}").into_bytes());
                let head = bytes.len();
                bytes.extend(body);
                let frame = Frame {
                    key: special.key,
                    session,
                    kind: if special.unsequenced { FrameKind::Unsequenced } else { kind },
                    sequence: numbers.start,
                    count: (numbers.end - numbers.start) as u32,
                    heartbeat: kind == FrameKind::Heartbeat,
                    reset: special.reset,
                    packing: Packing::LENGTH_BE16,
                    body: &bytes[head..],
                    bytes: &bytes,
                };
                self.arbiter.on_frame(self.now, line, special.group, &frame, &mut self.record);
            }
            Wire::Mold => {
                let session = Session::text(format!("{name:10}").as_bytes());
                match kind {
                    FrameKind::EndOfSession => assert!(MoldUdp64.encode_end(session, numbers.start, &mut bytes)),
                    FrameKind::Heartbeat => {
                        assert_eq!(MoldUdp64.encode_heartbeat(session, numbers.start, &mut bytes), 0)
                    }
                    _ => encode(MoldUdp64, session, numbers, special.altered, &mut bytes),
                }
                bytes.extend(std::iter::repeat_n(special.stamp, usize::from(special.stamp)));
                self.datagram(MoldUdp64, line, special.group, &bytes);
            }
            Wire::Cme => {
                match kind {
                    FrameKind::Heartbeat => {
                        assert_eq!(CmeMdp3.encode_heartbeat(Session::NONE, numbers.start, &mut bytes), 1)
                    }
                    _ => encode(CmeMdp3, Session::NONE, numbers, special.altered, &mut bytes),
                }
                self.datagram(CmeMdp3, line, special.group, &bytes);
            }
        }
    }

    /// A datagram arrives, as it is.
    fn datagram<F: Framing>(&mut self, framing: F, line: Line, group: u16, bytes: &[u8]) {
        let frame = framing.frame(bytes, &mut 0).expect("a frame").expect("well formed");
        self.arbiter.on_frame(self.now, line, group, &frame, &mut self.record);
    }

    /// Nothing arrives until then.
    fn wait(&mut self, until: u64) {
        self.now = Nanos(until * self.unit);
        self.arbiter.advance(self.now, &mut self.record);
    }

    /// The input ends, and the sums are checked.
    fn finish(&mut self, at: u64) {
        self.now = Nanos(at * self.unit);
        self.finish_now();
    }

    fn finish_now(&mut self) {
        self.finished = true;
        self.arbiter.finish(self.now, &mut self.record);
        self.record.check(&self.arbiter);
    }

    /// The events since the last call.
    #[track_caller]
    fn says(&mut self, expected: &[&str]) {
        assert_eq!(self.record.take(self.unit), expected);
    }

    /// The ordered output so far: losses in their place, epochs separated.
    #[track_caller]
    fn released(&self, expected: &str) {
        assert_eq!(self.record.ordered.to_string(), expected, "ordered output");
    }

    /// What has arrived so far after it was lost.
    #[track_caller]
    fn late(&self, expected: &str) {
        assert_eq!(self.record.late.to_string(), expected, "late");
    }

    /// The first-copy output so far: jumps in their place, and what arrived for them later.
    #[track_caller]
    fn first_copies(&self, expected: &str) {
        assert_eq!(self.record.first.to_string(), expected, "first-copy output");
    }

    /// Unsequenced messages so far.
    fn unsequenced_messages(&self) -> usize {
        self.record.unsequenced
    }

    /// The only channel's counters.
    fn report(&self) -> ChannelReport {
        self.arbiter.channels().next().expect("a channel")
    }

    /// What a line brought to the only channel.
    fn counts(&self, line: Line) -> LineCounts {
        self.report().lines[line.index()]
    }

    fn state(&self, line: Line) -> LineState {
        self.report().states[line.index()]
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        if !self.finished && !std::thread::panicking() {
            self.finish_now();
        }
    }
}

impl std::fmt::Debug for Special {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}{:?}{:?}{}{}", self.session, self.key, self.reset, self.stamp, self.altered)
    }
}

/// Messages, packed as `Packing::LENGTH_BE16`.
fn packed(session: Session, numbers: Range<u64>, altered: bool) -> Vec<u8> {
    let mut out = Vec::new();
    for n in numbers {
        let message = message(session, n, altered);
        out.extend((message.len() as u16).to_be_bytes());
        out.extend(message);
    }
    out
}

fn encode<F: Framing>(framing: F, session: Session, numbers: Range<u64>, altered: bool, out: &mut Vec<u8>) {
    let messages: Vec<Vec<u8>> = numbers.clone().map(|n| message(session, n, altered)).collect();
    let messages: Vec<&[u8]> = messages.iter().map(Vec::as_slice).collect();
    assert_eq!(framing.encode(session, numbers.start, &messages, usize::MAX, out), messages.len());
}
