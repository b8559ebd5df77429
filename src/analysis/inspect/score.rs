//! How well a framing fits a flow: the evidence, counted, and one number that weighs it.
//!
//! ```text
//! score = parsed x accounted x continuous x enough
//! ```
//!
//! * **parsed**: the share of datagrams that the framing reads in full.
//! * **accounted**: whether the header accounts for every byte; if the framing checks no length, whether the rest is a chain of
//!   messages with lengths.
//! * **continuous**: the share of frames whose number is the expected one. Near ones (a loss, or out of order) count for 0.7.
//! * **enough**: how many such steps there were. One datagram proves little (0.5), fifty prove much (0.99).
//!
//! | word | score |
//! |---|---|
//! | certain | 0.95 and above |
//! | likely | 0.80 |
//! | possible | 0.50 |
//! | unsure | 0.25 |
//! | none fits | below |

use super::channel::NumberStep;
use crate::report::words::{counted, grouped};
use twinline_core::framing::Malformed;

/// How many datagrams are checked for whether every byte is accounted for.
pub(super) const PROBED_MAX: u32 = 64;
/// Two framings whose scores are this close are both named.
pub(super) const EITHER: f64 = 0.05;
/// How many datagrams are tested with each of their first bytes changed.
pub(super) const CHANGED_MAX: u32 = 4;
/// How many of their first bytes are changed.
pub(super) const CHANGED_BYTES: usize = 48;

/// What a score means, in a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Sureness {
    /// Below 0.25.
    None,
    /// From 0.25.
    Unsure,
    /// From 0.50.
    Possible,
    /// From 0.80.
    Likely,
    /// From 0.95.
    Certain,
}

impl Sureness {
    /// The word for a score.
    pub fn of(score: f64) -> Sureness {
        match score {
            0.95.. => Sureness::Certain,
            0.80.. => Sureness::Likely,
            0.50.. => Sureness::Possible,
            0.25.. => Sureness::Unsure,
            _ => Sureness::None,
        }
    }

    /// The word.
    pub const fn word(self) -> &'static str {
        match self {
            Sureness::None => "none",
            Sureness::Unsure => "unsure",
            Sureness::Possible => "possible",
            Sureness::Likely => "likely",
            Sureness::Certain => "certain",
        }
    }
}

/// What was found when a framing was tested on a flow.
#[derive(Clone, Debug, Default)]
pub(crate) struct Score {
    /// Datagrams that it was tested on.
    pub(crate) datagrams: u64,
    /// Datagrams that it read in full.
    pub(crate) parsed: u64,
    /// Datagrams that it refused, by reason ([`Malformed::ALL`]).
    pub(crate) refused: [u64; Malformed::ALL.len()],
    /// Frames with messages.
    pub(crate) frames: u64,
    /// Frames without messages.
    pub(crate) heartbeats: u64,
    /// Frames outside the sequence.
    pub(crate) unsequenced: u64,
    /// Messages in the sequence.
    pub(crate) messages: u64,
    /// Datagrams of more than one frame.
    pub(crate) several_frames: u64,
    /// Frames with messages whose number is the expected one.
    pub(crate) exact: u64,
    /// Not the expected number, but near it.
    pub(crate) near: u64,
    /// Far from it.
    pub(crate) far: u64,
    /// Frames whose numbers had all come before.
    pub(crate) repeats: u64,
    /// Frames with the number of the frame before and other content.
    pub(crate) contradictions: u64,
    /// Heartbeats whose number is the expected one.
    pub(crate) heartbeats_agree: u64,
    /// Heartbeats whose number is far from it.
    pub(crate) heartbeats_far: u64,
    /// Frames that started a run of numbers: the first of a channel or a session. They prove nothing about continuity.
    pub(crate) starts: u64,
    /// Datagrams that were checked for whether every byte is accounted for.
    pub(crate) probed: u32,
    /// Those in which every byte was.
    pub(crate) accounted: u32,
    /// Whether the framing checks counts or lengths. One that does not proves less.
    pub(crate) checks_lengths: bool,
    /// How many of the first bytes could not be changed without a refusal, over the datagrams that were tested so.
    pub(crate) demanding: u32,
    /// How many datagrams those were.
    pub(crate) changed: u32,
    /// Whether it was given up before the end.
    pub(crate) dropped: bool,
}

impl Score {
    /// Counts a frame of data.
    pub(crate) fn on_step(&mut self, step: NumberStep, heartbeat: bool) {
        match (step, heartbeat) {
            (NumberStep::Start, _) => self.starts += 1,
            (NumberStep::Exact, true) => self.heartbeats_agree += 1,
            (NumberStep::Far, true) => self.heartbeats_far += 1,
            (_, true) => {}
            (NumberStep::Exact, false) => self.exact += 1,
            (NumberStep::Near, false) => self.near += 1,
            (NumberStep::Far, false) => self.far += 1,
            (NumberStep::Repeat, false) => self.repeats += 1,
            (NumberStep::Contradiction, false) => self.contradictions += 1,
        }
    }

    /// Share of datagrams that it reads.
    pub(crate) fn parsed_share(&self) -> f64 {
        share(self.parsed, self.datagrams)
    }

    /// Share of the probed datagrams that are accounted for to the byte.
    pub(crate) fn accounted_share(&self) -> f64 {
        share(u64::from(self.accounted), u64::from(self.probed))
    }

    /// How many steps from frame to frame count as evidence.
    pub(crate) fn steps(&self) -> u64 {
        self.exact + self.near + self.far + self.contradictions + self.heartbeats_agree + self.heartbeats_far
    }

    /// The share of steps that continue the numbers; `None` if there was no step.
    pub(crate) fn continuity(&self) -> Option<f64> {
        let against = self.starts.saturating_sub(1) as f64;
        let steps = self.steps() as f64 + against;
        let good = (self.exact + self.heartbeats_agree) as f64 + 0.7 * self.near as f64;
        (steps > 0.0).then(|| good / steps)
    }

    /// The whole evidence as one number, from 0 to 1.
    pub(crate) fn value(&self) -> f64 {
        let accounted = self.accounted_share();
        let structure = if self.checks_lengths { 0.5 + 0.5 * accounted } else { 0.6 + 0.4 * accounted };
        // what only says that there is nothing to say hardly proves a framing
        let moving = (self.exact + self.near) as f64;
        let still = self.parsed.saturating_sub(1) as f64;
        let enough = if moving > 0.0 {
            1.0 - 0.5 / (1.0 + moving + (self.heartbeats_agree as f64).min(moving * 8.0))
        } else {
            0.5 + 0.3 * still / (still + 8.0)
        };
        self.parsed_share() * structure * self.continuity().unwrap_or(1.0) * enough
    }

    /// How many of a datagram's first bytes the framing insists on, on average. Of two framings that read the same datagrams, the one
    /// that insists on more is more likely.
    pub(crate) fn demands(&self) -> f64 {
        if self.changed == 0 { 0.0 } else { f64::from(self.demanding) / f64::from(self.changed) }
    }

    /// Whether it insists on so much more than another that the other is no rival.
    pub(crate) fn demands_more_than(&self, other: &Score) -> bool {
        self.demands() >= other.demands() + 2.0
    }

    /// Whether it cannot win any more.
    pub(crate) fn is_hopeless(&self) -> bool {
        self.datagrams >= 16
            && (self.parsed * 2 < self.datagrams
                || self.steps() >= 12 && self.starts < 64 && self.continuity().is_some_and(|share| share < 0.3)
                || self.starts >= 256 && self.starts * 2 > self.frames)
    }

    /// The most frequent reason for a refusal.
    pub(crate) fn most_refused(&self) -> Option<Malformed> {
        let most = Malformed::ALL.iter().copied().max_by_key(|reason| self.refused[reason.index()])?;
        (self.refused[most.index()] > 0).then_some(most)
    }

    /// The evidence in words, the weightiest first.
    pub(crate) fn evidence(&self) -> Vec<String> {
        let mut said = Vec::new();
        said.push(match (self.parsed, self.datagrams) {
            (1, 1) => "its one datagram reads".to_owned(),
            (parsed, all) if parsed == all => format!("all {} datagrams read", grouped(all)),
            (parsed, all) => format!("{} of {} datagrams read", grouped(parsed), grouped(all)),
        });
        if let Some(reason) = self.most_refused() {
            said.push(format!("most of the others are refused for {reason}"));
        }
        let (accounted, probed) = (self.accounted, self.probed);
        if probed > 0 {
            said.push(match (accounted == probed, accounted) {
                (true, _) if self.checks_lengths => "every byte is accounted for".to_owned(),
                (true, _) => "behind the header, lengths lead to the last byte".to_owned(),
                (false, 0) if self.checks_lengths => "no datagram's length is what its header says".to_owned(),
                (false, 0) => "nothing but the number can be checked".to_owned(),
                (false, n) => format!("every byte is accounted for in {} of {probed} looked into", n),
            });
        }
        let steps = self.exact + self.near + self.far + self.contradictions;
        if steps > 0 {
            said.push(format!("{} of {} steps go on by the number", grouped(self.exact), grouped(steps)));
        } else if self.frames > 0 {
            said.push("no step from one number to the next".to_owned());
        }
        if self.contradictions > 0 {
            said.push(format!("numbers say two things {}", counted(self.contradictions, "time")));
        }
        if self.heartbeats > 0 && self.heartbeats_agree + self.heartbeats_far > 0 {
            let all = self.heartbeats_agree + self.heartbeats_far;
            said.push(format!("{} of {} heartbeats agree", grouped(self.heartbeats_agree), grouped(all)));
        }
        if self.heartbeats > 0 && self.heartbeats_agree + self.heartbeats_far == 0 && self.frames > 0 {
            said.push(format!("{} among them", counted(self.heartbeats, "heartbeat")));
        }
        if self.starts > 1 {
            said.push(format!("{} channels or sessions", grouped(self.starts)));
        }
        said
    }
}

fn share(of: u64, all: u64) -> f64 {
    if all == 0 { 0.0 } else { of as f64 / all as f64 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn score(change: impl FnOnce(&mut Score)) -> f64 {
        let mut score = Score {
            datagrams: 100,
            parsed: 100,
            frames: 100,
            exact: 99,
            starts: 1,
            probed: 64,
            accounted: 64,
            checks_lengths: true,
            ..Score::default()
        };
        change(&mut score);
        score.value()
    }

    #[test]
    fn the_words_are_those_of_the_page() {
        for (value, word) in
            [(1.0, "certain"), (0.95, "certain"), (0.94, "likely"), (0.5, "possible"), (0.3, "unsure"), (0.2, "none")]
        {
            assert_eq!(Sureness::of(value).word(), word, "{value}");
        }
    }

    #[test]
    fn each_piece_of_evidence_weighs() {
        assert!(score(|_| ()) > 0.99);
        assert!(score(|s| s.parsed = 40) < 0.5);
        assert!(score(|s| s.accounted = 0) < 0.51);
        assert!(score(|s| (s.accounted, s.checks_lengths) = (0, false)) < 0.61);
        assert!(score(|s| (s.exact, s.near) = (89, 10)) > 0.95, "a lossy line is still certain");
        assert!(score(|s| (s.exact, s.far) = (20, 79)) < 0.25);
        assert!(score(|s| (s.exact, s.contradictions) = (0, 99)) < 0.01);
        let one = |s: &mut Score| (s.datagrams, s.parsed, s.frames, s.exact) = (1, 1, 1, 0);
        assert_eq!(Sureness::of(score(one)), Sureness::Possible);
        let idle = |s: &mut Score| (s.frames, s.heartbeats, s.exact, s.heartbeats_agree) = (0, 100, 0, 99);
        assert_eq!(Sureness::of(score(idle)), Sureness::Possible, "heartbeats that say nothing new");
    }

    #[test]
    fn numbers_read_well() {
        assert_eq!([0, 999, 1_000, 1_234_567].map(grouped), ["0", "999", "1,000", "1,234,567"]);
    }
}
