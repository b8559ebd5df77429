//! One framing, tested on one flow.

use super::Budget;
use super::channel::{Channel, NumberStep};
use super::score::{CHANGED_BYTES, CHANGED_MAX, PROBED_MAX, Score};
use twinline_core::Nanos;
use twinline_core::frame::{Frame, FrameKind, SequenceRules};
use twinline_core::framing::{AnyFraming, Framing, Malformed, WithFraming};

/// How many channels of a flow are followed. Frames of further channels are only counted.
pub(super) const CHANNELS_MAX: usize = 256;

/// How long a datagram may be, behind the bytes that are changed, for that to be tried.
const CHANGED_TAIL: usize = 2_000;

/// A trial of some framing on a flow.
pub(super) trait Trial: Send {
    /// Reads a datagram.
    fn on_datagram(&mut self, stamp: Nanos, payload: &[u8], budget: &mut Budget);
    /// The evidence so far.
    fn score(&self) -> &Score;
    /// Thins samples down to what the budget grants now.
    fn thin(&mut self, budget: &mut Budget);
    /// Gives up: what is left is the evidence.
    fn end(self: Box<Self>) -> Outcome;
}

/// What is left of a trial.
#[derive(Debug)]
pub(super) struct Outcome {
    pub(super) score: Score,
    pub(super) channels: Vec<Channel>,
    pub(super) unfollowed: u64,
}

/// Begins a trial.
pub(super) struct Begin;

impl WithFraming for Begin {
    type Output = Box<dyn Trial>;

    fn with<F: Framing>(self, framing: F) -> Box<dyn Trial> {
        Box::new(Candidate {
            framing,
            rules: framing.rules(),
            score: Score::default(),
            channels: Vec::new(),
            last: 0,
            unfollowed: 0,
        })
    }
}

struct Candidate<F> {
    framing: F,
    rules: SequenceRules,
    score: Score,
    channels: Vec<Channel>,
    /// The channel of the last frame: the next one's is most often the same, or the one behind.
    last: usize,
    unfollowed: u64,
}

impl<F: Framing> Trial for Candidate<F> {
    fn on_datagram(&mut self, stamp: Nanos, payload: &[u8], budget: &mut Budget) {
        self.score.datagrams += 1;
        let (mut at, mut frames, mut end) = (0, 0u64, 0);
        let probe = self.score.probed < PROBED_MAX;
        let mut chained = None;
        while let Some(read) = self.framing.frame(payload, &mut at) {
            match read {
                Ok(frame) => {
                    frames += 1;
                    if probe {
                        end = end_in(payload, &frame);
                        self.score.checks_lengths |= frame.packing.width > 0;
                        if frame.packing.width == 0 && frame.count > 0 {
                            chained = Some(is_chain(frame.body));
                        }
                    }
                    self.on_frame(stamp, &frame, budget);
                }
                Err(reason) => {
                    self.score.refused[reason.index()] += 1;
                    return;
                }
            }
        }
        self.score.parsed += 1;
        self.score.several_frames += u64::from(frames > 1);
        if probe {
            self.score.probed += 1;
            // one byte may be a pad
            let whole = payload.len() - end <= 1 && self.refuses(&payload[..payload.len().saturating_sub(1)]);
            self.score.checks_lengths |= whole;
            self.score.accounted += u32::from(whole || chained == Some(true));
            self.change(payload);
        }
    }

    fn score(&self) -> &Score {
        &self.score
    }

    fn thin(&mut self, budget: &mut Budget) {
        for run in self.channels.iter_mut().flat_map(|channel| &mut channel.runs) {
            run.sample.thin(budget);
        }
    }

    fn end(self: Box<Self>) -> Outcome {
        Outcome { score: self.score, channels: self.channels, unfollowed: self.unfollowed }
    }
}

impl<F: Framing> Candidate<F> {
    fn on_frame(&mut self, stamp: Nanos, frame: &Frame<'_>, budget: &mut Budget) {
        let heartbeat = !frame.kind.has_messages();
        match frame.kind {
            FrameKind::Unsequenced => self.score.unsequenced += 1,
            FrameKind::Data | FrameKind::Last => {
                self.score.frames += 1;
                self.score.messages += u64::from(frame.count);
                self.score.heartbeats += u64::from(frame.heartbeat);
            }
            FrameKind::Heartbeat | FrameKind::EndOfSession => self.score.heartbeats += 1,
        }
        let Some(at) = self.channel(frame.key, budget) else {
            self.unfollowed += 1;
            return;
        };
        if let Some(step) = self.channels[at].on_frame(stamp, frame, &self.rules, budget) {
            self.score.on_step(step, heartbeat && step != NumberStep::Start);
        }
    }

    /// The channel's place, made if there is none.
    fn channel(&mut self, key: Option<u32>, budget: &mut Budget) -> Option<usize> {
        let found =
            [self.last, self.last + 1].into_iter().find(|&at| self.channels.get(at).is_some_and(|c| c.key == key));
        let found = found.or_else(|| self.channels.iter().position(|channel| channel.key == key));
        let at = match found {
            Some(at) => at,
            None if self.channels.len() < CHANNELS_MAX && budget.take_channel() => {
                self.channels.push(Channel::new(key));
                self.channels.len() - 1
            }
            None => return None,
        };
        self.last = at;
        Some(at)
    }

    /// Counts which of the first bytes may not be otherwise.
    fn change(&mut self, payload: &[u8]) {
        let mut changed = [0; CHANGED_BYTES + CHANGED_TAIL];
        let Some(whole) = changed.get_mut(..payload.len()).filter(|_| self.score.changed < CHANGED_MAX) else { return };
        whole.copy_from_slice(payload);
        for at in 0..payload.len().min(CHANGED_BYTES) {
            changed[at] ^= 0x80;
            self.score.demanding += u32::from(self.refuses(&changed[..payload.len()]));
            changed[at] ^= 0x80;
        }
        self.score.changed += 1;
    }

    /// Whether this is no datagram of the framing.
    fn refuses(&self, payload: &[u8]) -> bool {
        let mut at = 0;
        while let Some(read) = self.framing.frame(payload, &mut at) {
            if read.is_err() {
                return true;
            }
        }
        false
    }
}

/// Where in the datagram the frame's messages end.
fn end_in(payload: &[u8], frame: &Frame<'_>) -> usize {
    let behind = |part: &[u8]| {
        let from = (part.as_ptr() as usize).checked_sub(payload.as_ptr() as usize)?;
        Some(from + part.len()).filter(|end| *end <= payload.len())
    };
    let whole = behind(frame.bytes).unwrap_or(payload.len());
    if frame.body.is_empty() { whole } else { behind(frame.body).unwrap_or(whole) }
}

/// Whether these bytes are messages one behind the other, each with its own little-endian 16-bit length first, to the last byte.
fn is_chain(mut body: &[u8]) -> bool {
    let mut messages = 0;
    while let Some(length) = body.first_chunk().map(|field| usize::from(u16::from_le_bytes(*field))) {
        match body.get(length..) {
            Some(rest) if length >= 4 => body = rest,
            _ => return false,
        }
        messages += 1;
    }
    messages > 0 && body.is_empty()
}

/// Why a framing refuses a datagram, and at which byte the refused frame begins; `None` if the framing reads it.
pub(super) fn refusal(framing: AnyFraming, payload: &[u8]) -> Option<(Malformed, usize)> {
    Refusal(payload).with(framing)
}

struct Refusal<'a>(&'a [u8]);

impl WithFraming for Refusal<'_> {
    type Output = Option<(Malformed, usize)>;

    fn with<F: Framing>(self, framing: F) -> Self::Output {
        let mut at = 0;
        loop {
            let from = at;
            match framing.frame(self.0, &mut at)? {
                Ok(_) => {}
                Err(reason) => return Some((reason, from)),
            }
        }
    }
}
