//! Feed files for what was found, as text. Nothing is written here.
//!
//! Which flows go into one file:
//!
//! * Flows of one [`Group`](super::Group) are the lines of one channel, in the order of their addresses: A, B, ... A flow without a
//!   partner is a channel with one line.
//! * Channels go into one file if their framing and number of lines are the same, and if, line by line, the sender's first three
//!   bytes, the group's first two and the capture interface are the same. They become `groups` of the same lines, in the same order.
//! * Flows whose framing is less than possible, and flows without messages in sequence, go into no file.
//!
//! The surest file with the most datagrams comes first.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::SocketAddrV4;

use super::findings::{Findings, FlowFindings, Role, Tried};
use super::score::Sureness;
use super::{FlowKey, Pair};
use crate::report::words::grouped;
use twinline_node::config::{GROUPS_MAX, LINES_MAX};

/// Lines are named by these.
const LETTERS: [&str; LINES_MAX] = ["A", "B", "C", "D", "E", "F", "G", "H"];
/// Names of a feed and of a NIC may be as long as this.
const NAME_MAX: usize = 64;
const NIC_MAX: usize = 15;
/// How wide a comment is.
const COMMENT_WIDTH: usize = 96;
/// How many flows that were left out are named.
const LEFT_OUT_NAMED: usize = 8;

/// A feed file that is proposed.
#[derive(Debug)]
#[non_exhaustive]
pub struct FeedPlan {
    /// The feed's name.
    pub name: String,
    /// The framing's name.
    pub framing: String,
    /// The framings that fit as well.
    pub rivals: Vec<String>,
    /// How sure it is that the framing is the right one.
    pub sureness: Sureness,
    /// The same as a number.
    pub score: f64,
    /// The names of its lines.
    pub lines: Vec<String>,
    /// For each channel, the flow of each line, by its place in the findings.
    pub(super) channels: Vec<Vec<usize>>,
    /// Flows that belong to it and were left out: more than a feed can have, or another sender to the same group.
    pub(super) left_out: Vec<usize>,
    /// Whether the command line must say which capture is which line.
    pub by_file: bool,
    /// The file's text.
    pub text: String,
}

/// What is known about a capture interface.
#[derive(Clone, Debug, Default)]
pub(super) struct PlannedInterface {
    /// The capture file that it belongs to.
    pub(super) file: String,
    /// Its name there; empty if it has none.
    pub(super) name: String,
}

/// A channel with its lines, on the way to a plan.
struct Channel {
    lines: Vec<usize>,
    /// More lines than a feed can have.
    over: Vec<usize>,
}

/// The feed files for `findings`, the best first. They are named after `stem`. `interfaces` are the capture's, by number.
pub(super) fn plans(findings: &Findings, interfaces: &[PlannedInterface], stem: &str) -> Vec<FeedPlan> {
    let flows = &findings.flows;
    let (channels, mut left_out) = channels(findings);
    let mut feeds: BTreeMap<Kinship, Vec<Channel>> = BTreeMap::new();
    for channel in channels {
        feeds.entry(kinship(flows, &channel)).or_default().push(channel);
    }
    let mut feeds: Vec<Vec<Channel>> = feeds.into_values().collect();
    let datagrams = |channel: &Channel| channel.lines.iter().map(|&at| flows[at].traffic.datagrams).sum::<u64>();
    let worst = |feed: &[Channel]| {
        let values = feed.iter().flat_map(|c| &c.lines).filter_map(|&at| flows[at].best());
        values.map(|best| best.value).fold(1.0, f64::min)
    };
    feeds.sort_by_key(|feed| {
        let (sure, size) = (Sureness::of(worst(feed)), feed.iter().map(datagrams).sum::<u64>());
        (std::cmp::Reverse((sure, size)), feed[0].lines[0])
    });
    let count = feeds.len();
    let mut plans = Vec::with_capacity(count);
    for (at, mut feed) in feeds.into_iter().enumerate() {
        let beyond = feed.split_off(feed.len().min(GROUPS_MAX));
        let mut over: Vec<usize> = beyond.into_iter().flat_map(|channel| channel.lines).collect();
        over.extend(feed.iter().flat_map(|channel| &channel.over));
        let places: Vec<(SocketAddrV4, u32)> =
            feed.iter().flat_map(|c| &c.lines).map(|&at| place(&flows[at].key)).collect();
        let (mine, others): (Vec<usize>, Vec<usize>) =
            left_out.into_iter().partition(|&at| places.contains(&place(&flows[at].key)));
        left_out = others;
        over.extend(mine);
        let name = if count == 1 { stem.to_owned() } else { format!("{stem}-{}", at + 1) };
        plans.push(plan(findings, interfaces, name_of(&name), feed, over, worst));
    }
    plans
}

fn place(key: &FlowKey) -> (SocketAddrV4, u32) {
    (key.destination, key.interface)
}

/// The channels that a feed file can have, and flows that only send to another's place.
fn channels(findings: &Findings) -> (Vec<Channel>, Vec<usize>) {
    let flows = &findings.flows;
    let fits = |at: &usize| {
        let flow: &FlowFindings = &flows[*at];
        flow.best().is_some_and(|best| best.sureness() >= Sureness::Possible) && flow.role() == Role::Data
    };
    let mut grouped = vec![false; flows.len()];
    let mut sets: Vec<Vec<usize>> = Vec::new();
    for group in &findings.groups {
        group.flows.iter().for_each(|&at| grouped[at] = true);
        sets.push(group.flows.iter().copied().filter(fits).collect());
    }
    sets.extend((0..flows.len()).filter(|&at| !grouped[at] && fits(&at)).map(|at| vec![at]));
    let datagrams = |set: &Vec<usize>| set.iter().map(|&at| flows[at].traffic.datagrams).sum::<u64>();
    sets.sort_by_key(|set| (std::cmp::Reverse(set.len()), std::cmp::Reverse(datagrams(set))));
    let (mut channels, mut left_out) = (Vec::<Channel>::new(), Vec::new());
    let mut taken: std::collections::BTreeSet<(SocketAddrV4, u32)> = Default::default();
    for set in sets {
        // another sender to a place that has its line already is that line's second sender
        if set.iter().all(|&at| taken.contains(&place(&flows[at].key))) {
            left_out.extend(set);
            continue;
        }
        taken.extend(set.iter().map(|&at| place(&flows[at].key)));
        let (lines, over) = set.split_at(set.len().min(LINES_MAX));
        channels.push(Channel { lines: lines.to_vec(), over: over.to_vec() });
    }
    channels.sort_by_key(|channel| channel.lines[0]);
    (channels, left_out)
}

/// Line by line: the framing, the capture interface, the group's first two bytes and the sender's first three.
type Kinship = Vec<(usize, u32, [u8; 5])>;

/// What channels of one feed have in common, line by line.
fn kinship(flows: &[FlowFindings], channel: &Channel) -> Kinship {
    let line = |&at: &usize| {
        let FlowKey { destination, interface, source } = flows[at].key;
        let ([a, b, _, _], [x, y, z, _]) = (destination.ip().octets(), source.octets());
        (flows[at].best().map_or(0, |best| best.place), interface, [a, b, x, y, z])
    };
    channel.lines.iter().map(line).collect()
}

/// A name that is valid in a feed file.
fn name_of(stem: &str) -> String {
    let plain: String = stem.chars().map(|c| if c.is_ascii_graphic() { c } else { '-' }).take(NAME_MAX).collect();
    if plain.is_empty() { "feed".to_owned() } else { plain }
}

/// Text that is valid in a comment.
fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", plain(text).replace('\\', "\\\\").replace('"', "\\\""))
}

/// Whether a capture interface's name can be a NIC's.
fn is_nic(name: &str) -> bool {
    let of_names = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':' | '@');
    (1..=NIC_MAX).contains(&name.len()) && name.chars().all(of_names)
}

/// The lines' names: A, B, ... unless an interface must be named, since group and sender do not tell the lines apart, or since
/// an interface that bears a line's name would stand for that line.
fn line_names(flows: &[FlowFindings], interfaces: &[PlannedInterface], feed: &[Channel]) -> (Vec<String>, bool) {
    let count = feed[0].lines.len();
    let keys = |line: usize| feed.iter().map(move |channel| flows[channel.lines[line]].key);
    let names: Vec<&str> = (0..count)
        .map(|line| keys(line).next().and_then(|key| interfaces.get(key.interface as usize)).map_or("", |i| &i.name))
        .collect();
    let shared = feed.iter().any(|channel| {
        let keys: Vec<FlowKey> = channel.lines.iter().map(|&at| flows[at].key).collect();
        keys.iter()
            .enumerate()
            .any(|(at, a)| keys[..at].iter().any(|b| a.destination == b.destination && a.source == b.source))
    });
    let distinct = names.iter().enumerate().all(|(at, name)| is_line(name) && !names[..at].contains(name));
    let letters: Vec<String> = LETTERS[..count].iter().map(|&letter| letter.to_owned()).collect();
    let clashes = interfaces.iter().any(|interface| letters.contains(&interface.name));
    if distinct && (shared || clashes) {
        return (names.into_iter().map(str::to_owned).collect(), false);
    }
    if clashes {
        return ((1..=count).map(|line| format!("line{line}")).collect(), shared);
    }
    (letters, shared)
}

fn is_line(name: &str) -> bool {
    is_nic(name) && name != "recovery"
}

fn plan(
    findings: &Findings,
    interfaces: &[PlannedInterface],
    name: String,
    feed: Vec<Channel>,
    left_out: Vec<usize>,
    worst: impl Fn(&[Channel]) -> f64,
) -> FeedPlan {
    let flows = &findings.flows;
    let (lines, by_file) = line_names(flows, interfaces, &feed);
    let score = worst(&feed);
    let all = || feed.iter().flat_map(|channel| &channel.lines).map(|&at| &flows[at]);
    let framing = all().find_map(FlowFindings::best).map_or("", |best| best.framing.name()).to_owned();
    let mut rivals: Vec<String> = all().flat_map(FlowFindings::rivals).map(|t| t.framing.name().to_owned()).collect();
    rivals.sort();
    rivals.dedup();
    rivals.retain(|rival| *rival != framing);
    let mut plan = FeedPlan {
        name,
        framing,
        rivals,
        sureness: Sureness::of(score),
        score,
        lines,
        channels: feed.into_iter().map(|channel| channel.lines).collect(),
        left_out,
        by_file,
        text: String::new(),
    };
    plan.text = text(&plan, findings, interfaces);
    plan
}

fn text(plan: &FeedPlan, findings: &Findings, interfaces: &[PlannedInterface]) -> String {
    let flows = &findings.flows;
    let mut out = String::new();
    let mut files: Vec<&str> = Vec::new();
    for &at in plan.channels.iter().flatten() {
        let file = interfaces.get(flows[at].key.interface as usize).map_or("", |interface| &interface.file);
        if !files.contains(&file) {
            files.push(file);
        }
    }
    comment(
        &mut out,
        "",
        "What `twinline inspect` found in these captures. It is to be checked against the exchange's own documents, and every \
         interface to be filled in. Keys: feeds/README.md. What the scores mean: feeds/INSPECT.md.",
    );
    for file in files {
        let _ = writeln!(out, "#   {}", plain(file));
    }
    let _ = writeln!(out, "#");
    let _ = writeln!(out, "# framing: {} ({:.2})", plan.sureness.word(), plan.score);
    let surest = plan.channels.iter().flatten().filter_map(|&at| flows[at].best());
    if let Some(best) = surest.min_by(|a, b| a.value.total_cmp(&b.value)) {
        for said in best.score.evidence() {
            comment(&mut out, "  ", &said);
        }
    }
    if let [rival, ..] = plan.rivals.as_slice() {
        let either =
            format!("EITHER {} OR {}: nothing in the capture tells which.", plan.framing, plan.rivals.join(" OR "));
        comment(&mut out, "  ", &either);
        comment(&mut out, "  ", &format!("What would tell: {}.", super::apart(&plan.framing, rival)));
    }
    for pair in findings.groups.iter().flat_map(|group| &group.pairs) {
        let channel = plan.channels.iter().position(|lines| lines.contains(&pair.a) && lines.contains(&pair.b));
        if let Some(channel) = channel {
            comment(&mut out, "", &format!("channel {channel}: {}", said_of(pair, plan, &plan.channels[channel])));
        }
    }
    if let [_] = plan.lines.as_slice() {
        comment(&mut out, "", "One line was found: what it loses is lost. Add the other as a [[line]].");
    }
    for &at in plan.left_out.iter().take(LEFT_OUT_NAMED) {
        let key = flows[at].key;
        let said = format!(
            "Not in here: {} from {}, beyond what a feed can have or a second sender.",
            key.destination, key.source
        );
        comment(&mut out, "", &said);
    }
    if plan.left_out.len() > LEFT_OUT_NAMED {
        comment(&mut out, "", &format!("... and {} more.", grouped((plan.left_out.len() - LEFT_OUT_NAMED) as u64)));
    }
    if plan.by_file {
        let lines: Vec<String> = plan.lines.iter().map(|line| format!("{line}=FILE")).collect();
        comment(
            &mut out,
            "",
            &format!("Lines share a group: arbitrate with one capture a line, as {}.", lines.join(" ")),
        );
    }
    let _ = writeln!(out, "\nname = {}\nframing = {}", quoted(&plan.name), quoted(&plan.framing));
    for (line, name) in plan.lines.iter().enumerate() {
        line_text(&mut out, plan, flows, interfaces, line, name);
    }
    out
}

/// A comment, in as many lines as it needs.
fn comment(out: &mut String, indent: &str, text: &str) {
    let mut line = format!("# {indent}");
    let empty = line.len();
    for word in text.split_whitespace() {
        if line.len() > empty && line.chars().count() + 1 + word.chars().count() > COMMENT_WIDTH {
            let _ = writeln!(out, "{line}");
            line.truncate(empty);
        }
        if line.len() > empty {
            line.push(' ');
        }
        line.push_str(word);
    }
    let _ = writeln!(out, "{line}");
}

fn said_of(pair: &Pair, plan: &FeedPlan, lines: &[usize]) -> String {
    let name = |flow: usize| lines.iter().position(|&at| at == flow).map_or("?", |line| &plan.lines[line]);
    let (a, b, about) = (name(pair.a), name(pair.b), if pair.exact { "" } else { "about " });
    let same = match pair.different {
        0 => format!("all {} compared say the same", grouped(pair.compared)),
        n => format!("{} of {} compared DIFFER", grouped(n), grouped(pair.compared)),
    };
    format!(
        "{about}{} numbers came on {a} and {b}, {} on {a} alone, {} on {b} alone; {same}",
        grouped(pair.both),
        grouped(pair.only_a),
        grouped(pair.only_b),
    )
}

fn line_text(
    out: &mut String,
    plan: &FeedPlan,
    flows: &[FlowFindings],
    interfaces: &[PlannedInterface],
    line: usize,
    name: &str,
) {
    let keys: Vec<FlowKey> = plan.channels.iter().map(|channel| flows[channel[line]].key).collect();
    let _ = writeln!(out, "\n[[line]]\nname = {}", quoted(name));
    match keys.as_slice() {
        [key] => {
            let _ = writeln!(out, "groups = [\"{}\"]", key.destination);
        }
        keys => {
            let _ = writeln!(out, "groups = [");
            for key in keys {
                let _ = writeln!(out, "    \"{}\",", key.destination);
            }
            let _ = writeln!(out, "]");
        }
    }
    let captured = interfaces.get(keys[0].interface as usize).map_or("", |interface| &interface.name);
    // one that bears a line's name is no NIC: a capture of Twinline's own
    let known = is_nic(captured) && !plan.lines.iter().any(|line| line == captured) && captured.len() > 1;
    if known {
        let _ = writeln!(out, "interface = {}    # as the capture names it: is it this machine's?", quoted(captured));
    } else {
        let _ = writeln!(out, "interface = \"eth{line}\"    # FILL IN: the NIC on which this line arrives");
    }
    let mut senders: Vec<_> = keys.iter().map(|key| key.source).collect();
    let left_out = plan.left_out.iter().map(|&at| flows[at].key);
    let seconds: Vec<_> = left_out.filter(|key| keys.iter().any(|k| k.destination == key.destination)).collect();
    senders.extend(seconds.iter().map(|key| key.source));
    senders.sort();
    senders.dedup();
    let shares = |channel: &Vec<usize>| {
        let mine = flows[channel[line]].key;
        channel.iter().any(|&at| flows[at].key.destination == mine.destination && flows[at].key.source != mine.source)
    };
    match senders.as_slice() {
        // what tells the lines apart must be there
        [sender, ..] if plan.channels.iter().any(shares) => {
            let _ = writeln!(
                out,
                "source = \"{}\"    # the lines share a group, and this tells them apart",
                keys[0].source
            );
            let _ = sender;
        }
        [sender] => {
            let _ = writeln!(
                out,
                "# source = \"{sender}\"    # the only sender in the capture; set it where no other may send"
            );
        }
        senders => {
            let list: Vec<String> = senders.iter().take(8).map(ToString::to_string).collect();
            let _ = writeln!(out, "# several senders, so no source: {}", list.join(", "));
        }
    }
    if slow(plan, flows, line) {
        let _ = writeln!(out, "wait = false    # it brought less than half of what another line brought");
    }
}

/// Whether the line brought less than half of what the fullest line brought.
fn slow(plan: &FeedPlan, flows: &[FlowFindings], line: usize) -> bool {
    let received = |tried: &Tried| {
        let runs = tried.channels.iter().flat_map(|channel| &channel.runs);
        runs.map(|run| run.spans.received()).sum::<u64>()
    };
    let brought = |line: usize| {
        let flows = plan.channels.iter().filter_map(|channel| flows[channel[line]].best());
        flows.map(received).sum::<u64>()
    };
    let most = (0..plan.lines.len()).map(brought).max().unwrap_or(0);
    brought(line).saturating_mul(2) < most
}
