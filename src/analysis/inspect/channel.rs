//! One channel of a flow: its sessions and restarts, and which numbers came in each.

use super::Budget;
use super::sample::{Entry, Sample};
use super::spans::{Holes, Spans};
use twinline_core::frame::{Frame, FrameKind, Reset, SequenceRules, Session};
use twinline_core::{Nanos, SeqNo};

/// How many runs of numbers a channel keeps. Further runs are counted, not followed.
pub(super) const RUNS_MAX: usize = 8;
/// How far a number may be from the expected one to count as near it.
pub(super) const NEAR: u64 = 1_000;
/// How far a channel must fall back for that to be a restart, unless a mark says so.
const FALL: u64 = 1_024;
/// For how many frames it must then go on.
const FALL_FRAMES: u32 = 8;

/// Why a run of numbers began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub(crate) enum Began {
    /// The channel's first.
    First,
    /// Another session.
    Session,
    /// A reset that the framing marks.
    Reset,
    /// The numbers fell back and went on from there, without a mark.
    Restart,
}

impl Began {
    /// Its name in reports.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Began::First => "first",
            Began::Session => "session",
            Began::Reset => "reset",
            Began::Restart => "restart",
        }
    }
}

/// One run of a channel's numbers: from a start, a new session, a reset or a restart to the next.
#[derive(Clone, Debug)]
pub(crate) struct NumberRun {
    /// The session, as the framing names it.
    pub(crate) session: Session,
    /// Why it began.
    pub(crate) began: Began,
    /// The lowest number that it showed.
    pub(crate) first: u64,
    /// One past the highest that it showed, by data or heartbeat.
    pub(crate) next: u64,
    /// Frames with messages.
    pub(crate) frames: u64,
    /// Their messages, copies included.
    pub(crate) messages: u64,
    /// Frames without messages.
    pub(crate) heartbeats: u64,
    /// Whether its end was announced.
    pub(crate) ended: bool,
    /// When the first frame came, and the last.
    pub(crate) stamps: (Nanos, Nanos),
    /// Which numbers came.
    pub(crate) spans: Spans,
    /// When a sample of them came, and what was in them.
    pub(crate) sample: Sample,
    /// Frames whose number was far from all others and that no second frame confirmed.
    pub(crate) strange: u64,
    last: LastFrame,
    /// The numbers of a frame far ahead, until a second agrees.
    far: Option<(u64, u64)>,
}

/// What is kept of a frame, to see whether the next is a copy of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct LastFrame {
    sequence: u64,
    count: u32,
    print: u64,
}

/// How a frame's number compares with the expected one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub(crate) enum NumberStep {
    /// None was expected: the run's first frame.
    Start,
    /// It is the expected one.
    Exact,
    /// It is near it: something was lost, or came out of order.
    Near,
    /// It is far from it.
    Far,
    /// All its numbers had come before.
    Repeat,
    /// It has the number of the frame before and other content.
    Contradiction,
}

impl NumberRun {
    fn new(session: Session, began: Began, stamp: Nanos, first: u64) -> NumberRun {
        NumberRun {
            session,
            began,
            first,
            next: first,
            frames: 0,
            messages: 0,
            heartbeats: 0,
            ended: false,
            stamps: (stamp, stamp),
            spans: Spans::default(),
            sample: Sample::default(),
            strange: 0,
            last: LastFrame::default(),
            far: None,
        }
    }

    /// What is missing between its first and its highest number.
    pub(crate) fn holes(&self) -> Holes {
        self.spans.holes(self.first, self.next)
    }

    /// How many messages came again.
    pub(crate) fn duplicates(&self) -> u64 {
        self.messages - self.spans.received()
    }

    /// Takes `[first, end)` of a frame.
    #[inline]
    fn take(&mut self, stamp: Nanos, frame: &Frame<'_>, first: u64, budget: &mut Budget) {
        let end = first + u64::from(frame.count);
        let ahead = self.spans.range().is_none_or(|(_, highest)| first >= highest);
        let mut at = self.sample.next_from(first);
        if at < end {
            let mut messages = frame.packing.messages(frame.body);
            let mut before = first;
            while at < end {
                let Some(message) = messages.nth((at - before) as usize) else { break };
                if ahead || !self.spans.contains(at) {
                    self.sample.put(Entry { number: at, stamp, hash: crc32fast::hash(message) }, budget);
                }
                before = at + 1;
                at = self.sample.next_from(before);
            }
        }
        self.spans.add(first, end, budget);
        self.messages += end - first;
        self.first = self.first.min(first);
        self.next = self.next.max(end);
    }
}

/// A channel as one flow shows it: its runs of numbers.
#[derive(Clone, Debug)]
pub(crate) struct Channel {
    /// The channel key, if the framing has one.
    pub(crate) key: Option<u32>,
    /// Its runs of numbers, in the order of their beginning.
    pub(crate) runs: Vec<NumberRun>,
    /// How many runs began, including those that are not kept.
    pub(crate) run_count: u64,
    /// Frames outside the sequence.
    pub(crate) unsequenced: u64,
    /// How many changes of session there were.
    pub(crate) sessions: u64,
    /// How many resets that the framing marks.
    pub(crate) resets: u64,
    /// How many restarts without a mark.
    pub(crate) restarts: u64,
    current: usize,
    /// A heartbeat said that the numbers begin again.
    reset_said: bool,
    /// A reset that was acted on, to know its copies.
    reset_print: u64,
    fallen: Fallen,
}

/// A run of frames far below what was expected, that may be a restart.
#[derive(Clone, Copy, Debug, Default)]
struct Fallen {
    frames: u32,
    first: u64,
    next: u64,
}

/// What a low number is.
enum Fall {
    /// Not the beginning of a restart.
    No,
    /// It may begin one.
    Waits,
    /// It goes on with one.
    Goes,
}

impl Channel {
    /// A channel of which nothing came yet.
    pub(crate) fn new(key: Option<u32>) -> Channel {
        Channel {
            key,
            runs: Vec::new(),
            run_count: 0,
            unsequenced: 0,
            sessions: 0,
            resets: 0,
            restarts: 0,
            current: 0,
            reset_said: false,
            reset_print: 0,
            fallen: Fallen::default(),
        }
    }

    /// Takes a frame. Returns how its number continues the sequence; `None` if the frame is outside of the sequence.
    pub(super) fn on_frame(
        &mut self,
        stamp: Nanos,
        frame: &Frame<'_>,
        rules: &SequenceRules,
        budget: &mut Budget,
    ) -> Option<NumberStep> {
        if frame.kind == FrameKind::Unsequenced {
            self.unsequenced += 1;
            self.reset_outside(stamp, frame, budget);
            return None;
        }
        let began = self.turn(stamp, frame, rules, budget);
        let run = self.runs.get_mut(self.current)?;
        run.stamps = (run.stamps.0.min(stamp), run.stamps.1.max(stamp));
        let expected = run.next;
        let first = rules.width.extend(frame.sequence, Some(SeqNo(expected)), SeqNo(expected), NEAR).0;
        let Some(end) = first.checked_add(u64::from(frame.count)) else { return Some(NumberStep::Far) };
        run.ended |= frame.kind.ends_session();
        if !frame.kind.has_messages() {
            run.heartbeats += 1;
            let step = step_of(first, expected);
            // a stranger far ahead would make a hole of all between
            if first <= expected || first - expected <= NEAR || run.spans.received() == 0 {
                run.next = run.next.max(first);
            }
            return Some(if began { NumberStep::Start } else { step });
        }
        let this = LastFrame { sequence: first, count: frame.count, print: print(frame.body) };
        let before = std::mem::replace(&mut run.last, this);
        let known = end <= expected && run.spans.contains(first) && run.spans.contains(end.saturating_sub(1));
        let step = if known && before.sequence == this.sequence && before.count == this.count {
            if before == this { NumberStep::Repeat } else { NumberStep::Contradiction }
        } else if known {
            NumberStep::Repeat
        } else {
            step_of(first, expected)
        };
        let low = !began && step != NumberStep::Contradiction && end.saturating_add(FALL) <= expected;
        if low && first <= rules.initial.0.saturating_add(NEAR) || self.fallen.frames > 0 {
            match self.fall(stamp, low, first, end, budget) {
                Fall::Goes => return Some(NumberStep::Exact),
                Fall::Waits => return Some(step),
                Fall::No => {}
            }
        }
        let run = self.runs.get_mut(self.current)?;
        if step == NumberStep::Far && (first > expected || end.saturating_add(NEAR) < run.first) {
            // one number far off may be corrupt: two that agree ahead are not
            match run.far.filter(|far| first > expected && first.abs_diff(far.1) <= NEAR) {
                Some(far) => {
                    run.strange -= 1;
                    run.frames += 1;
                    run.messages += run.spans.add(far.0, far.1, budget);
                }
                None => {
                    run.strange += 1;
                    run.far = Some((first, end));
                    return Some(if began { NumberStep::Start } else { step });
                }
            }
        }
        run.far = None;
        run.frames += 1;
        run.heartbeats += u64::from(frame.heartbeat);
        run.take(stamp, frame, first, budget);
        Some(if began { NumberStep::Start } else { step })
    }

    /// Goes to the run that the frame belongs to; whether it begins with it.
    fn turn(&mut self, stamp: Nanos, frame: &Frame<'_>, rules: &SequenceRules, budget: &mut Budget) -> bool {
        let Some(run) = self.runs.get(self.current) else {
            return self.begin(stamp, frame.session, Began::First, frame.sequence, budget);
        };
        if run.session != frame.session {
            if let Some(at) = self.runs.iter().rposition(|run| run.session == frame.session) {
                self.current = at;
                return false;
            }
            self.sessions += 1;
            return self.begin(stamp, frame.session, Began::Session, frame.sequence, budget);
        }
        let (next, reset_said) = (run.next, std::mem::take(&mut self.reset_said));
        match frame.reset {
            Some(Reset::Marked(first)) => {
                let print = print(frame.bytes);
                // what stands at its beginning is told again, and what carries the flag behind the first goes on; what had
                // gone on is begun anew, unless this is an old copy
                let flagged = frame.sequence > first && next.saturating_sub(frame.sequence) <= NEAR;
                if !flagged && next > first.saturating_add(u64::from(frame.count)) && print != self.reset_print {
                    self.reset_print = print;
                    self.resets += 1;
                    return self.begin(stamp, frame.session, Began::Reset, first.min(frame.sequence), budget);
                }
                self.reset_print = print;
            }
            Some(Reset::Heartbeat(first)) => {
                self.reset_said = next > first;
            }
            None if reset_said
                && frame.sequence < next
                && frame.sequence - rules.initial.0.min(frame.sequence) <= NEAR =>
            {
                let number = rules.width.extend(frame.sequence, Some(SeqNo(next)), SeqNo(next), NEAR).0;
                if number < next {
                    self.resets += 1;
                    return self.begin(stamp, frame.session, Began::Reset, rules.initial.0.min(number), budget);
                }
            }
            None => {}
        }
        false
    }

    /// Acts on a reset that a frame outside of the sequence marks.
    fn reset_outside(&mut self, stamp: Nanos, frame: &Frame<'_>, budget: &mut Budget) {
        let Some(Reset::Marked(first)) = frame.reset else { return };
        let Some(run) = self.runs.get(self.current).filter(|run| run.next > first) else { return };
        let (print, session) = (print(frame.bytes), run.session);
        if print != self.reset_print {
            self.reset_print = print;
            self.resets += 1;
            self.begin(stamp, session, Began::Reset, first, budget);
        }
    }

    fn begin(&mut self, stamp: Nanos, session: Session, began: Began, first: u64, budget: &mut Budget) -> bool {
        self.run_count += 1;
        self.fallen = Fallen::default();
        if self.runs.len() < RUNS_MAX {
            self.runs.push(NumberRun::new(session, began, stamp, first));
        } else if let Some(last) = self.runs.last_mut() {
            // the last place is for what is going on; what it held is in the counts of the channel alone
            last.spans.release(budget);
            last.sample.release(budget);
            *last = NumberRun::new(session, began, stamp, first);
        }
        self.current = self.runs.len() - 1;
        true
    }

    /// Looks whether the numbers fell back and go on from there. What waits for that counts as strange meanwhile.
    fn fall(&mut self, stamp: Nanos, low: bool, first: u64, end: u64, budget: &mut Budget) -> Fall {
        let Some(run) = self.runs.get_mut(self.current) else { return Fall::No };
        if self.fallen.frames > 0 && !(low && first == self.fallen.next) {
            // it was no restart: old copies, where such numbers have come at all
            let Fallen { frames, first, next } = std::mem::take(&mut self.fallen);
            if next.saturating_add(NEAR) >= run.first {
                run.strange -= u64::from(frames);
                run.frames += u64::from(frames);
                run.messages += next - first;
                run.first = run.first.min(first);
                run.spans.add(first, next, budget);
            }
        }
        if !low {
            return Fall::No;
        }
        let begins = self.fallen.frames == 0;
        self.fallen =
            Fallen { frames: self.fallen.frames + 1, first: if begins { first } else { self.fallen.first }, next: end };
        run.strange += 1;
        if self.fallen.frames < FALL_FRAMES {
            return if begins { Fall::Waits } else { Fall::Goes };
        }
        run.strange -= u64::from(FALL_FRAMES);
        let (from, session) = (self.fallen.first, run.session);
        self.restarts += 1;
        self.begin(stamp, session, Began::Restart, from, budget);
        let run = &mut self.runs[self.current];
        run.frames = u64::from(FALL_FRAMES);
        run.messages = run.spans.add(from, end, budget);
        run.next = end;
        Fall::Goes
    }

    /// Gives back what it holds of the budget.
    pub(super) fn release(&self, budget: &mut Budget) {
        for run in &self.runs {
            run.spans.release(budget);
            run.sample.release(budget);
        }
    }
}

fn step_of(number: u64, expected: u64) -> NumberStep {
    match number.abs_diff(expected) {
        0 => NumberStep::Exact,
        1..=NEAR => NumberStep::Near,
        _ => NumberStep::Far,
    }
}

/// A few words of some bytes: enough to tell a copy from something else.
fn print(bytes: &[u8]) -> u64 {
    let word = |part: Option<&[u8; 8]>| part.map_or(0, |word| u64::from_le_bytes(*word));
    let middle = bytes.get(bytes.len() / 2..).and_then(<[u8]>::first_chunk);
    let words = [word(bytes.first_chunk()), word(middle), word(bytes.last_chunk())];
    words
        .iter()
        .fold(bytes.len() as u64, |print, word| (print ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29))
}
