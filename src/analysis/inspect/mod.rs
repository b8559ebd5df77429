//! What is in a capture: flows, the framing that fits each, which flows are lines of one channel, and a feed file for them.
//!
//! [`InspectReport::of`] reads capture files and makes the report: text, JSON, and a [`FeedPlan`] for each feed that it finds. It never
//! guesses silently: every framing that it names has a score with its evidence and a word for how sure it is ([`Sureness`]). If two
//! framings fit equally well, both are named.
//!
//! **Memory is bounded, whatever comes.** At most 4,096 flows are distinguished, and 8 senders and interfaces per group; the rest is counted
//! together. A flow's state has a fixed size, except for the ranges and samples of its channels, for which all flows share one budget.
//! When the budget is used up, samples are thinned and the oldest holes are closed: counts stay exact, and pairs are judged by fewer
//! numbers. A framing that can no longer win is dropped; its evidence stays.

// How the modules work together:
//
//   datagram -> Inspection -> Flow: Traffic, and one trial per framing: Score, Channel -> NumberRun: Spans, Sample
//                  |
//                finish -> Findings: one verdict per flow, groups of flows that are lines of one channel
//                              |
//                            plan -> feed files
//
// Inspection takes datagrams: it reads no file and no clock. `captures` reads the files for it.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddrV4};

use twinline_core::Nanos;
use twinline_core::framing::{AnyFraming, WithFraming};

mod candidate;
mod captures;
mod channel;
mod files;
mod findings;
mod json;
mod malformed;
mod packets;
mod pairs;
mod plan;
mod sample;
mod score;
mod spans;
mod text;
mod traffic;

use candidate::refusal;
use candidate::{Begin, Outcome, Trial};
pub use captures::{InspectReport, InspectSettings};
use findings::{Findings, FlowFindings, Tried, apart};
use packets::Tags;
use pairs::{Group, Pair};
pub use plan::FeedPlan;
use sample::SAMPLE_MAX;
use score::Score;
pub use score::Sureness;
use traffic::Traffic;

/// How many flows are distinguished.
const FLOWS_MAX: usize = 4_096;
/// How many senders and interfaces of one group and port are distinguished.
const SENDERS_MAX: usize = 8;
/// How many ranges of numbers all flows may keep together.
const SPANS_IN_ALL: u64 = 1 << 20;
/// How many numbers all flows may sample together.
const SAMPLES_IN_ALL: u64 = 3 << 19;
/// How many channels all flows and framings may follow together.
const CHANNELS_IN_ALL: u64 = 1 << 14;
/// No sample is thinned below this.
const SAMPLE_MIN: usize = 64;

/// What makes a flow: a group and port, a sender, and a capture interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct FlowKey {
    /// Where it is sent.
    pub(crate) destination: SocketAddrV4,
    /// The capture interface, by the caller's numbers.
    pub(crate) interface: u32,
    /// Who sends it.
    pub(crate) source: Ipv4Addr,
}

/// What all flows share.
#[derive(Clone, Debug)]
pub(crate) struct Budget {
    spans: u64,
    samples: u64,
    channels: u64,
    /// How many entries a sample may have now.
    sample_max: usize,
}

impl Default for Budget {
    fn default() -> Budget {
        Budget { spans: 0, samples: 0, channels: 0, sample_max: SAMPLE_MAX }
    }
}

impl Budget {
    fn no_spans_left(&self) -> bool {
        self.spans >= SPANS_IN_ALL
    }

    fn take_channel(&mut self) -> bool {
        let left = self.channels < CHANNELS_IN_ALL;
        self.channels += u64::from(left);
        left
    }

    /// Whether samples must be thinned, and then to what.
    fn is_overdrawn(&mut self) -> bool {
        let over = self.samples > SAMPLES_IN_ALL && self.sample_max > SAMPLE_MIN;
        if over {
            self.sample_max /= 2;
        }
        over
    }
}

/// A flow in the making.
struct Flow {
    key: FlowKey,
    traffic: Traffic,
    /// The framings that may still fit, by their place in the list.
    trials: Vec<(usize, Box<dyn Trial>)>,
    /// The evidence against the others.
    misses: Vec<(usize, Score)>,
}

/// Datagrams that belong to no distinguished flow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Beyond {
    /// Datagrams of flows beyond [`FLOWS_MAX`].
    pub(crate) datagrams: u64,
    /// Their payload in bytes.
    pub(crate) bytes: u64,
    /// Datagrams of senders and interfaces beyond a group's first [`SENDERS_MAX`].
    pub(crate) of_more_senders: u64,
}

/// Finds out what a list of datagrams is. It reads no file and no clock.
pub(crate) struct Inspection {
    framings: Vec<AnyFraming>,
    index: HashMap<FlowKey, usize>,
    senders: HashMap<(SocketAddrV4, u32), usize>,
    flows: Vec<Flow>,
    /// The flow of the last datagram, or none beyond the bounds.
    last: Option<(FlowKey, usize)>,
    budget: Budget,
    beyond: Beyond,
}

impl Inspection {
    /// Tests these framings, in this order.
    pub(crate) fn new(framings: Vec<AnyFraming>) -> Inspection {
        Inspection {
            framings,
            index: HashMap::new(),
            senders: HashMap::new(),
            flows: Vec::new(),
            last: None,
            budget: Budget::default(),
            beyond: Beyond::default(),
        }
    }

    /// Every framing that needs no description.
    pub(crate) fn all_framings() -> Vec<AnyFraming> {
        AnyFraming::NAMES.iter().filter_map(|name| AnyFraming::from_name(name)).collect()
    }

    /// Takes a datagram.
    pub(crate) fn on_datagram(&mut self, stamp: Nanos, key: FlowKey, tags: &Tags, payload: &[u8]) {
        let at = match self.last.filter(|(last, _)| *last == key) {
            Some((_, at)) => at,
            None => match self.place(key) {
                Some(at) => {
                    self.last = Some((key, at));
                    at
                }
                None => {
                    self.beyond.bytes += payload.len() as u64;
                    return;
                }
            },
        };
        let flow = &mut self.flows[at];
        flow.traffic.on_datagram(stamp, tags, payload);
        for (_, trial) in &mut flow.trials {
            trial.on_datagram(stamp, payload, &mut self.budget);
        }
        let count = flow.traffic.datagrams;
        if count == 16 || count == 64 || count.is_multiple_of(1_024) {
            flow.give_up(&mut self.budget);
        }
        if self.budget.is_overdrawn() {
            for (_, trial) in self.flows.iter_mut().flat_map(|flow| &mut flow.trials) {
                trial.thin(&mut self.budget);
            }
        }
    }

    /// The flow's place, made if there is none yet and room for one.
    fn place(&mut self, key: FlowKey) -> Option<usize> {
        if let Some(&at) = self.index.get(&key) {
            return Some(at);
        }
        if self.flows.len() == FLOWS_MAX {
            self.beyond.datagrams += 1;
            return None;
        }
        let senders = self.senders.entry((key.destination, key.interface)).or_default();
        if *senders == SENDERS_MAX {
            self.beyond.of_more_senders += 1;
            return None;
        }
        *senders += 1;
        let at = self.flows.len();
        let trials = self.framings.iter().enumerate().map(|(at, framing)| (at, Begin.with(*framing))).collect();
        self.flows.push(Flow { key, traffic: Traffic::default(), trials, misses: Vec::new() });
        self.index.insert(key, at);
        Some(at)
    }

    /// Judges all flows, and groups those that are lines of one channel.
    pub(crate) fn finish(self) -> Findings {
        let Inspection { framings, flows, mut budget, beyond, .. } = self;
        let flows = flows.into_iter().map(|flow| flow.finish(&framings, &mut budget)).collect();
        Findings::new(flows, beyond)
    }
}

impl Flow {
    /// Gives up the framings that cannot win.
    fn give_up(&mut self, budget: &mut Budget) {
        let best = self.trials.iter().map(|(_, trial)| trial.score().value()).fold(0.0, f64::max);
        let mut at = 0;
        while at < self.trials.len() {
            let score = self.trials[at].1.score();
            let beaten = best >= 0.8 && score.value() < best - 0.3;
            if !beaten && !score.is_hopeless() {
                at += 1;
                continue;
            }
            let (framing, trial) = self.trials.remove(at);
            let Outcome { mut score, channels, .. } = trial.end();
            budget.channels -= channels.len() as u64;
            channels.iter().for_each(|channel| channel.release(budget));
            score.dropped = true;
            self.misses.push((framing, score));
        }
    }

    fn finish(mut self, framings: &[AnyFraming], budget: &mut Budget) -> FlowFindings {
        if self.traffic.datagrams >= 16 {
            self.give_up(budget);
        }
        let ended = self.trials.into_iter().map(|(at, trial)| (at, trial.end()));
        let missed = self.misses.into_iter().map(|(at, score)| {
            let outcome = Outcome { score, channels: Vec::new(), unfollowed: 0 };
            (at, outcome)
        });
        let tried = ended.chain(missed).map(|(at, outcome)| Tried {
            framing: framings[at],
            value: outcome.score.value(),
            score: outcome.score,
            channels: outcome.channels,
            unfollowed: outcome.unfollowed,
            place: at,
        });
        FlowFindings::new(self.key, self.traffic, tried.collect())
    }
}

#[cfg(test)]
mod tests;
