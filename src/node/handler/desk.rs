//! Questions from housekeeping to the hot thread, and the answers: over two small rings, so that neither waits for the other.
//!
//! The hot thread looks for a question when a pass found nothing, so an answer costs no datagram its time; and now and then
//! when every pass finds something, so that a question is not left lying.

use twinline_client::ring::{self, Consumer, Producer, RingError, Shape};
use twinline_core::arbiter::Arbiter;
use twinline_core::frame::{ChannelKey, LINES_MAX, Line};
use twinline_core::time::Nanos;

/// A question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ask {
    /// The lines' counters.
    Counters,
    /// By how much one line is ahead of another on a channel. An answer takes the hot thread a few microseconds.
    Lead {
        /// The channel.
        channel: ChannelKey,
        /// The line that is ahead.
        first: Line,
        /// The line that is behind.
        later: Line,
    },
}

/// What the hot thread has counted, by [`Line::index`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Datagrams that came.
    pub datagrams: [u64; LINES_MAX],
    /// Messages that no line had brought before, on all channels.
    pub first_arrivals: [u64; LINES_MAX],
    /// Numbers that the line itself has gone past, on all channels.
    pub missing: [u64; LINES_MAX],
    /// Datagrams that the capture's ring had no room for.
    pub dropped: [u64; LINES_MAX],
    /// Copies that are not the message that came first, on all channels.
    pub divergent: [u64; LINES_MAX],
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// To [`Ask::Counters`].
    Counters(Box<Counters>),
    /// To [`Ask::Lead`]: half of the numbers that both brought, the earlier one by `first`, lay further apart.
    Lead {
        /// The line that is ahead.
        first: Line,
        /// The line that is behind.
        later: Line,
        /// How many numbers there were.
        numbers: u64,
        /// The median lead.
        median: Nanos,
    },
}

const ASK_LEN: usize = 16;
const ANSWER_WORDS: usize = 5 * LINES_MAX;
const ANSWER_LEN: usize = ASK_LEN + 8 * ANSWER_WORDS;

/// The hot thread's side.
#[derive(Debug)]
pub struct Desk {
    asked: Consumer,
    answers: Producer,
}

/// Housekeeping's side.
#[derive(Debug)]
pub struct Inquiry {
    asks: Producer,
    answered: Consumer,
}

/// Both sides.
///
/// # Errors
/// [`RingError`]: never, unless the system is out of memory.
pub fn open() -> Result<(Desk, Inquiry), RingError> {
    let (asks, asked) = ring::heap(Shape { capacity: 4_096, record_max: ASK_LEN }, &[])?;
    let (answers, answered) = ring::heap(Shape { capacity: 1 << 14, record_max: ANSWER_LEN }, &[])?;
    Ok((Desk { asked, answers }, Inquiry { asks, answered }))
}

impl Desk {
    /// Answers one question, if there is one. `datagrams` and `dropped` are the caller's own counts.
    #[inline]
    pub fn answer(&mut self, arbiter: &Arbiter, datagrams: &[u64; LINES_MAX], dropped: &[u64; LINES_MAX]) {
        if self.asked.ready().unwrap_or(false) {
            self.answer_now(arbiter, datagrams, dropped);
        }
    }

    #[cold]
    fn answer_now(&mut self, arbiter: &Arbiter, datagrams: &[u64; LINES_MAX], dropped: &[u64; LINES_MAX]) {
        let asked = self.asked.record().first_chunk().copied();
        self.asked.release();
        let Some(head) = asked else { return };
        let mut words = [0; ANSWER_WORDS];
        match Ask::from_bytes(head) {
            Ask::Counters => {
                for at in 0..LINES_MAX {
                    let line = Line(at as u8);
                    words[at] = datagrams[at];
                    words[LINES_MAX + at] = arbiter.line_total(line, |counts| counts.first_arrivals);
                    words[2 * LINES_MAX + at] = arbiter.line_total(line, |counts| counts.missing);
                    words[3 * LINES_MAX + at] = dropped[at];
                    words[4 * LINES_MAX + at] = arbiter.line_total(line, |counts| counts.divergent);
                }
            }
            Ask::Lead { channel, first, later } => {
                if let Some(lead) = arbiter.lead(channel, first, later) {
                    words[0] = lead.len();
                    words[1] = lead.quantile(0.5).0;
                }
            }
        }
        let mut body = [0; 8 * ANSWER_WORDS];
        for (bytes, word) in body.chunks_exact_mut(8).zip(words) {
            bytes.copy_from_slice(&word.to_le_bytes());
        }
        // full: nobody reads the answers, so nobody misses this one
        let _ = self.answers.write(&head, &body);
    }
}

impl Inquiry {
    /// Asks; a question that finds no room is not asked.
    pub fn ask(&mut self, ask: Ask) {
        let _ = self.asks.write(&ask.to_bytes(), &[]);
    }

    /// The next answer, in the order of the questions.
    pub fn answer(&mut self) -> Option<Answer> {
        let record = self.answered.peek().ok()??;
        let answer = Answer::from_bytes(record);
        self.answered.release();
        answer
    }
}

impl Ask {
    fn to_bytes(self) -> [u8; ASK_LEN] {
        let mut out = [0; ASK_LEN];
        if let Ask::Lead { channel, first, later } = self {
            out[0] = 1;
            out[1] = first.0;
            out[2] = later.0;
            out[3] = u8::from(channel.key.is_some());
            out[4..6].copy_from_slice(&channel.group.to_le_bytes());
            out[8..12].copy_from_slice(&channel.key.unwrap_or(0).to_le_bytes());
        }
        out
    }

    fn from_bytes(bytes: [u8; ASK_LEN]) -> Ask {
        let [kind, first, later, keyed, g0, g1, _, _, k0, k1, k2, k3, ..] = bytes;
        if kind == 0 {
            return Ask::Counters;
        }
        let key = (keyed != 0).then(|| u32::from_le_bytes([k0, k1, k2, k3]));
        let channel = ChannelKey { group: u16::from_le_bytes([g0, g1]), key };
        Ask::Lead { channel, first: Line(first), later: Line(later) }
    }
}

impl Answer {
    fn from_bytes(record: &[u8]) -> Option<Answer> {
        let (head, body) = record.split_first_chunk::<ASK_LEN>()?;
        let mut words = body.as_chunks::<8>().0.iter().map(|bytes| u64::from_le_bytes(*bytes));
        let mut eight = || std::array::from_fn(|_| words.next().unwrap_or(0));
        Some(match Ask::from_bytes(*head) {
            Ask::Counters => Answer::Counters(Box::new(Counters {
                datagrams: eight(),
                first_arrivals: eight(),
                missing: eight(),
                dropped: eight(),
                divergent: eight(),
            })),
            Ask::Lead { first, later, .. } => {
                let [numbers, median, ..] = eight();
                Answer::Lead { first, later, numbers, median: Nanos(median) }
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use twinline_core::arbiter::Settings;
    use twinline_core::framing::{Framing, MoldUdp64};

    #[test]
    fn questions_are_answered_in_their_order_and_an_unread_desk_does_no_harm() {
        let arbiter = Arbiter::new(Settings::new(MoldUdp64.rules(), vec![true, true], 1));
        let (mut desk, mut inquiry) = open().unwrap();
        let channel = ChannelKey { group: 7, key: Some(9) };
        let lead = Ask::Lead { channel, first: Line(1), later: Line(0) };
        assert_eq!(Ask::from_bytes(lead.to_bytes()), lead);
        inquiry.ask(lead);
        inquiry.ask(Ask::Counters);
        assert_eq!(inquiry.answer(), None);
        let (datagrams, dropped) = ([1, 2, 3, 4, 5, 6, 7, 8], [9; LINES_MAX]);
        for _ in 0..3 {
            desk.answer(&arbiter, &datagrams, &dropped);
        }
        let none = Answer::Lead { first: Line(1), later: Line(0), numbers: 0, median: Nanos::ZERO };
        assert_eq!(inquiry.answer(), Some(none));
        let counters = Answer::Counters(Box::new(Counters { datagrams, dropped, ..Counters::default() }));
        assert_eq!(inquiry.answer().as_ref(), Some(&counters));
        for _ in 0..1_000 {
            inquiry.ask(Ask::Counters);
            desk.answer(&arbiter, &datagrams, &dropped);
        }
        assert_eq!(inquiry.answer(), Some(counters));
    }
}
