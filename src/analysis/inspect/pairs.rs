//! Which flows are lines of one channel: the same numbers with the same messages in them.
//!
//! Two flows are lines of one channel if their framing, channel key and session are the same, they share sampled numbers, and nearly
//! all of those hold the same message. Numbers and messages are compared, never datagrams, so neither loss nor different packing
//! hides a pair.

use std::collections::HashMap;

use super::FlowFindings;
use super::channel::NumberRun;
use super::score::Sureness;
use twinline_core::frame::Session;

/// How many shared numbers are enough to judge by.
const SHARED_MIN: u64 = 3;
/// The share of them that must say the same.
const SAME_MIN: f64 = 0.9;
/// How many groups a flow's channel is compared with, at most.
const COMPARED_MAX: usize = 64;
/// In larger groups only the pairs with the first flow are reported.
const LINES_MAX: usize = 8;
/// How many skews of a pair are kept.
const SKEWS_MAX: usize = 1 << 17;

/// Flows that are lines of one channel, or of the same channels.
#[derive(Debug)]
pub(crate) struct Group {
    /// Their places in the list of flows, ascending.
    pub(crate) flows: Vec<usize>,
    /// How each two of them compare.
    pub(crate) pairs: Vec<Pair>,
}

/// Two lines of one channel.
#[derive(Debug)]
pub(crate) struct Pair {
    /// The flow that comes first in the list.
    pub(crate) a: usize,
    /// The other.
    pub(crate) b: usize,
    /// Numbers that both brought.
    pub(crate) both: u64,
    /// Numbers that only `a` brought, in the sessions that both have.
    pub(crate) only_a: u64,
    /// Numbers that only `b` brought.
    pub(crate) only_b: u64,
    /// Whether these three are exact; if not, they are estimated from the sample.
    pub(crate) exact: bool,
    /// Numbers whose messages and times were compared.
    pub(crate) compared: u64,
    /// How many of them differ.
    pub(crate) different: u64,
    /// The first that differs.
    pub(crate) first_different: Option<u64>,
    /// How often `a` was first, how often `b`, and how often both at once, by the stamps.
    pub(crate) led: (u64, u64, u64),
    /// By how much `b` came behind `a`; below zero if `b` was ahead.
    pub(crate) skew_ns: Skew,
}

/// A distribution of skews, in nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Skew {
    /// The lowest.
    pub(crate) min: i64,
    /// The median.
    pub(crate) median: i64,
    /// The 99th percentile of how far they were apart, whichever was first.
    pub(crate) p99_apart: u64,
    /// The highest.
    pub(crate) max: i64,
}

/// The groups of two flows and more; the largest first.
pub(super) fn groups(flows: &[FlowFindings]) -> Vec<Group> {
    let mut parents: Vec<usize> = (0..flows.len()).collect();
    for (_, runs) in by_identity(flows) {
        // a flow that stands for each group of this channel
        let mut first: Vec<(usize, &NumberRun)> = Vec::new();
        for (flow, run) in runs {
            let like =
                first.iter().find(|(other, theirs)| *other != flow && are_one(theirs, run)).map(|(other, _)| *other);
            match like {
                Some(other) => unite(&mut parents, other, flow),
                None if first.len() < COMPARED_MAX => first.push((flow, run)),
                None => {}
            }
        }
    }
    let mut members: HashMap<usize, Vec<usize>> = HashMap::new();
    for flow in 0..flows.len() {
        members.entry(root(&mut parents, flow)).or_default().push(flow);
    }
    let mut groups: Vec<Group> = members
        .into_values()
        .filter(|members| members.len() > 1)
        .map(|members| Group { pairs: pairs(flows, &members), flows: members })
        .collect();
    let datagrams = |group: &Group| group.flows.iter().map(|&flow| flows[flow].traffic.datagrams).sum::<u64>();
    groups.sort_by_key(|group| (std::cmp::Reverse(datagrams(group)), group.flows[0]));
    groups
}

/// What two runs must share to be copies of each other.
type Identity = (usize, Option<u32>, Session);

/// Every run of every flow whose framing is at least possible, by what it must share with its copies.
fn by_identity(flows: &[FlowFindings]) -> Vec<(Identity, Vec<(usize, &NumberRun)>)> {
    let mut found: HashMap<Identity, usize> = HashMap::new();
    let mut list: Vec<(Identity, Vec<(usize, &NumberRun)>)> = Vec::new();
    for (flow, findings) in flows.iter().enumerate() {
        let Some(best) = findings.best().filter(|best| best.sureness() >= Sureness::Possible) else { continue };
        for channel in &best.channels {
            for run in &channel.runs {
                let identity = (best.place, channel.key, run.session);
                let at = *found.entry(identity).or_insert(list.len());
                if at == list.len() {
                    list.push((identity, Vec::new()));
                }
                list[at].1.push((flow, run));
            }
        }
    }
    list
}

/// Whether two runs are the same numbers with the same messages.
fn are_one(a: &NumberRun, b: &NumberRun) -> bool {
    let (mut shared, mut same) = (0u64, 0u64);
    for (ours, theirs) in a.sample.in_both(&b.sample) {
        shared += 1;
        same += u64::from(ours.hash == theirs.hash);
    }
    let fewest = a.spans.received().min(b.spans.received());
    shared >= SHARED_MIN.min(fewest).max(1) && same as f64 >= SAME_MIN * shared as f64
}

fn root(parents: &mut [usize], mut at: usize) -> usize {
    while parents[at] != at {
        parents[at] = parents[parents[at]];
        at = parents[at];
    }
    at
}

fn unite(parents: &mut [usize], a: usize, b: usize) {
    let (a, b) = (root(parents, a), root(parents, b));
    parents[a.max(b)] = a.min(b);
}

fn pairs(flows: &[FlowFindings], members: &[usize]) -> Vec<Pair> {
    let firsts = if members.len() > LINES_MAX { 1 } else { members.len() };
    let places = (0..firsts).flat_map(|a| (a + 1..members.len()).map(move |b| (members[a], members[b])));
    places.map(|(a, b)| pair(flows, a, b)).collect()
}

fn pair(flows: &[FlowFindings], a: usize, b: usize) -> Pair {
    let mut pair = Pair {
        a,
        b,
        both: 0,
        only_a: 0,
        only_b: 0,
        exact: true,
        compared: 0,
        different: 0,
        first_different: None,
        led: (0, 0, 0),
        skew_ns: Skew::default(),
    };
    let mut skews = Vec::new();
    let (Some(best_a), Some(best_b)) = (flows[a].best(), flows[b].best()) else { return pair };
    for channel in &best_a.channels {
        let Some(theirs) = best_b.channels.iter().find(|other| other.key == channel.key) else { continue };
        for run in &channel.runs {
            for other in theirs.runs.iter().filter(|other| other.session == run.session && are_one(run, other)) {
                pair.add(run, other, &mut skews);
            }
        }
    }
    skews.sort_unstable();
    let mut apart: Vec<u64> = skews.iter().map(|skew| skew.unsigned_abs()).collect();
    apart.sort_unstable();
    if let (Some(&min), Some(&max)) = (skews.first(), skews.last()) {
        let p99_apart = apart[(apart.len() * 99).div_ceil(100) - 1];
        pair.skew_ns = Skew { min, median: skews[(skews.len() - 1) / 2], p99_apart, max };
    }
    pair
}

impl Pair {
    fn add(&mut self, a: &NumberRun, b: &NumberRun, skews: &mut Vec<i64>) {
        let mut compared = 0u64;
        for (ours, theirs) in a.sample.in_both(&b.sample) {
            compared += 1;
            if ours.hash != theirs.hash {
                self.different += 1;
                self.first_different = self.first_different.or(Some(ours.number));
            }
            let skew = i64::try_from(i128::from(theirs.stamp.0) - i128::from(ours.stamp.0));
            let skew = skew.unwrap_or(if theirs.stamp > ours.stamp { i64::MAX } else { i64::MIN });
            match skew {
                0 => self.led.2 += 1,
                1.. => self.led.0 += 1,
                _ => self.led.1 += 1,
            }
            if skews.len() < SKEWS_MAX {
                skews.push(skew);
            }
        }
        self.compared += compared;
        let exact = a.spans.is_exact() && b.spans.is_exact();
        let (ours, theirs) = (a.spans.received(), b.spans.received());
        let both = if exact {
            a.spans.in_both(&b.spans)
        } else {
            (compared * a.sample.step().max(b.sample.step())).min(ours).min(theirs)
        };
        self.exact &= exact;
        self.both += both;
        self.only_a += ours - both;
        self.only_b += theirs - both;
    }
}
