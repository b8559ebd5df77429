//! The findings: a verdict for each flow, and which flows are lines of one channel.

use super::channel::Channel;
use super::pairs::{self, Group};
use super::score::{EITHER, Score, Sureness};
use super::{Beyond, FlowKey, Traffic};
use twinline_core::framing::AnyFraming;

/// All that was found.
#[derive(Debug)]
pub(crate) struct Findings {
    /// The flows, by group, port, interface and sender.
    pub(crate) flows: Vec<FlowFindings>,
    /// The flows that are lines of one channel, the largest group first.
    pub(crate) groups: Vec<Group>,
    /// Datagrams that belong to none of the flows.
    pub(crate) beyond: Beyond,
}

impl Findings {
    pub(super) fn new(mut flows: Vec<FlowFindings>, beyond: Beyond) -> Findings {
        flows.sort_by_key(|flow| flow.key);
        let groups = pairs::groups(&flows);
        Findings { flows, groups, beyond }
    }
}

/// What was found of a flow.
#[derive(Debug)]
pub(crate) struct FlowFindings {
    /// Group, port, sender and interface.
    pub(crate) key: FlowKey,
    /// How its datagrams came.
    pub(crate) traffic: Traffic,
    /// The framings that were tried, the best first.
    pub(crate) tried: Vec<Tried>,
}

/// A framing that was tried on a flow.
#[derive(Debug)]
pub(crate) struct Tried {
    /// The framing.
    pub(crate) framing: AnyFraming,
    /// How well it fits, from 0 to 1.
    pub(crate) value: f64,
    /// The evidence.
    pub(crate) score: Score,
    /// The channels that it finds; empty if it was given up.
    pub(crate) channels: Vec<Channel>,
    /// Frames of channels beyond the limit.
    pub(crate) unfollowed: u64,
    /// Its place in the list of framings.
    pub(super) place: usize,
}

impl Tried {
    /// How well it fits, in a word.
    pub(crate) fn sureness(&self) -> Sureness {
        Sureness::of(self.value)
    }
}

/// What a flow is for, as far as its frames show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub(crate) enum Role {
    /// Messages in sequence.
    Data,
    /// Nothing but heartbeats: an idle channel, or one for gaps that nobody asked for.
    Heartbeats,
    /// Nothing in the sequence: a refresh, a snapshot, or a channel for gaps.
    Unsequenced,
    /// Most frames are outside the sequence: a refresh or a retransmission, with some data.
    MostlyUnsequenced,
}

impl Role {
    /// Its name in `--json`.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Role::Data => "data",
            Role::Heartbeats => "heartbeats",
            Role::Unsequenced => "unsequenced",
            Role::MostlyUnsequenced => "mostly_unsequenced",
        }
    }

    /// What to say about it; `None` for ordinary data.
    pub(crate) const fn said(self) -> Option<&'static str> {
        match self {
            Role::Data => None,
            Role::Heartbeats => {
                Some("nothing but heartbeats: an idle channel, or a gap or refresh channel that nobody uses")
            }
            Role::Unsequenced => Some("nothing is in the sequence: it looks like a gap, refresh or snapshot channel"),
            Role::MostlyUnsequenced => {
                Some("most frames are outside of the sequence: it looks like a refresh or retransmission channel")
            }
        }
    }
}

impl FlowFindings {
    pub(super) fn new(key: FlowKey, traffic: Traffic, mut tried: Vec<Tried>) -> FlowFindings {
        // of two that fit as well, the one that the list has first
        tried.sort_by(|a, b| {
            let order = b.value.total_cmp(&a.value);
            if (a.value - b.value).abs() < 1e-9 { a.place.cmp(&b.place) } else { order }
        });
        // and of those, the one that demands more of a datagram
        if let Some(best) = tried.first().map(|best| best.value) {
            let near = tried.iter().take_while(|tried| tried.value >= best - EITHER).count();
            let more = |a: &usize, b: &usize| tried[*a].score.demands().total_cmp(&tried[*b].score.demands());
            if let Some(at) = (0..near).max_by(more).filter(|&at| tried[at].score.demands_more_than(&tried[0].score)) {
                tried[..=at].rotate_right(1);
            }
        }
        for run in tried.iter_mut().flat_map(|tried| &mut tried.channels).flat_map(|channel| &mut channel.runs) {
            run.sample.sort();
        }
        FlowFindings { key, traffic, tried }
    }

    /// The framing that fits best, if one fits.
    pub(crate) fn best(&self) -> Option<&Tried> {
        self.tried.first().filter(|best| best.sureness() > Sureness::None)
    }

    /// The framings that fit as well as the best one and demand as much: it may be any of them.
    pub(crate) fn rivals(&self) -> impl Iterator<Item = &Tried> {
        let best = self.best();
        self.tried.iter().skip(1).filter(move |tried| {
            best.is_some_and(|best| tried.value >= best.value - EITHER && !best.score.demands_more_than(&tried.score))
                && !tried.score.dropped
        })
    }

    /// The framing that comes nearest, if none fits.
    pub(crate) fn nearest_miss(&self) -> Option<&Tried> {
        let order = |tried: &&Tried| (tried.value, tried.score.parsed_share());
        self.tried.iter().max_by(|a, b| {
            let (a, b) = (order(a), order(b));
            a.0.total_cmp(&b.0).then(a.1.total_cmp(&b.1))
        })
    }

    /// What it is for, by the framing that fits best.
    pub(crate) fn role(&self) -> Role {
        let Some(Tried { score, .. }) = self.best() else { return Role::Data };
        match (score.messages, score.unsequenced, score.frames) {
            (0, 0, _) if score.heartbeats > 0 => Role::Heartbeats,
            (0, 1.., _) => Role::Unsequenced,
            (_, unsequenced, frames) if unsequenced > frames => Role::MostlyUnsequenced,
            _ => Role::Data,
        }
    }
}

/// What would tell two framings apart that fit the same datagrams, in words.
pub(crate) fn apart(a: &str, b: &str) -> &'static str {
    let both = |x: &str, y: &str| (a, b) == (x, y) || (b, a) == (x, y);
    if both("cboe-pitch", "lse-mitch") {
        "the fourth byte: a unit (1, 2, ...) at Cboe, a printable group at LSE; and how a day begins"
    } else if both("nyse-pillar", "hkex-omd") {
        "bytes 2 and 3: delivery flag and count at NYSE, count and a zero at HKEX"
    } else if both("euronext-optiq", "b3-umdf") {
        "bytes 18 and 19: 50 EB at B3; and a number that goes on, at byte 4 there and at byte 8 at Euronext"
    } else if both("moldudp64", "memx-udp") {
        "the first two bytes: a type and 18 at MEMX, the session's text elsewhere"
    } else if both("opra", "cta") {
        "the fourth byte: O at OPRA, T or Q at CTA"
    } else {
        "their headers have the same shape here: more traffic, or whose addresses these are"
    }
}
