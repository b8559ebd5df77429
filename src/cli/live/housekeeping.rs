//! Housekeeping of a live feed: notices, the status line, the time limit, and the facts of the source.

use std::fmt::Write as _;

use serde_json::{Map, Value, json};

use twinline_client::counters::{Counter, CounterPage};
use twinline_core::Nanos;
use twinline_core::frame::{LINES_MAX, Line};
use twinline_node::config::LineConfig;
use twinline_node::ip::FragmentFacts;
use twinline_node::os::{Clock, Spin};
use twinline_node::runtime::{Ended, Running, RuntimeNotice};
use twinline_node::source::{InterfaceState, LineChange, LineFacts, WatchFacts};

use super::tally::Tally;
use super::{ListenArgs, Notifier};

/// How often interfaces and counters are checked.
const LOOK_EVERY: Nanos = Nanos::from_millis(250);
const STATUS_EVERY: Nanos = Nanos::from_secs(10);
/// How long after the start a line that was never heard is reported.
const HEARD_BY: Nanos = Nanos::from_secs(4);

/// What a verb's status line shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StatusLine {
    /// An arbiter's: messages, leads and states.
    Arbiter,
    /// A recording's: datagrams.
    Datagrams,
    /// There is none: the verb's output says enough.
    None,
}

/// Housekeeping of one feed. [`Housekeeping::tick`] is called often and acts only when something is due.
#[derive(Debug)]
pub(crate) struct Housekeeping {
    clock: Clock,
    notifier: Notifier,
    lines: Vec<LineConfig>,
    status: StatusLine,
    started: Nanos,
    until: Option<Nanos>,
    look_at: Nanos,
    status_at: Nanos,
    counters: LineCounters,
    /// As of the last status line.
    before: LastStatus,
    /// Lines that were reported as never heard.
    unheard: [bool; LINES_MAX],
    heard_checked: bool,
    /// When a line's overflow was last reported.
    overflow_said: [Option<Nanos>; LINES_MAX],
    dropped_said: u64,
}

/// One reading of the counter page, per line.
#[derive(Clone, Copy, Debug, Default)]
struct LineCounters {
    datagrams: [u64; LINES_MAX],
    first_arrivals: [u64; LINES_MAX],
    missing: [u64; LINES_MAX],
    dropped: [u64; LINES_MAX],
    divergent: [u64; LINES_MAX],
}

impl LineCounters {
    fn read(page: &CounterPage) -> LineCounters {
        let of = |counter| std::array::from_fn(|line| page.line(counter, Line(line as u8)));
        LineCounters {
            datagrams: of(Counter::Datagrams),
            first_arrivals: of(Counter::FirstArrivals),
            missing: of(Counter::Missing),
            dropped: of(Counter::CaptureDropped),
            divergent: of(Counter::Divergent),
        }
    }
}

#[derive(Clone, Copy, Debug, Default)]
struct LastStatus {
    at: Nanos,
    counters: LineCounters,
    messages: u64,
    overflow: [u64; LINES_MAX],
}

impl Housekeeping {
    pub(crate) fn new(
        clock: Clock,
        notifier: Notifier,
        lines: &[LineConfig],
        listen: &ListenArgs,
        status: StatusLine,
    ) -> Housekeeping {
        let started = clock.now();
        Housekeeping {
            clock,
            notifier,
            lines: lines.to_vec(),
            status,
            started,
            until: listen.seconds.map(|span| started + span),
            look_at: started,
            status_at: started + STATUS_EVERY,
            counters: LineCounters::default(),
            before: LastStatus { at: started, ..LastStatus::default() },
            unheard: [false; LINES_MAX],
            heard_checked: false,
            overflow_said: [None; LINES_MAX],
            dropped_said: 0,
        }
    }

    /// Does what is due. Returns whether a check was due, which is a good time to flush buffers as well.
    pub(crate) fn tick<S>(&mut self, running: &Running<S>, tally: &Tally) -> bool {
        let now = self.clock.now();
        if self.until.is_some_and(|until| now >= until) {
            running.stop();
        }
        if now < self.look_at {
            return false;
        }
        self.look_at = now + LOOK_EVERY;
        for notice in running.notices() {
            self.notice(now, &notice);
        }
        self.counters = LineCounters::read(running.counters());
        self.hear(now, &running.lines());
        if self.status != StatusLine::None && now >= self.status_at {
            self.status_at = now + STATUS_EVERY;
            self.say_status(now, tally, running.counters(), &running.lines());
        }
        true
    }

    fn notice(&mut self, now: Nanos, notice: &RuntimeNotice) {
        if let RuntimeNotice::Line(notice) = notice
            && let LineChange::Overflow { .. } | LineChange::RingOverflow { .. } = notice.what
        {
            // the first at once, further ones as often as the status line: what overflows does so at every check
            let said = &mut self.overflow_said[notice.line.index()];
            if self.status != StatusLine::None && said.is_some_and(|said| now < said + STATUS_EVERY) {
                return;
            }
            *said = Some(now);
        }
        self.notifier.say(notice);
    }

    /// Reports lines that are never heard, and a recording that drops.
    fn hear(&mut self, now: Nanos, facts: &[WatchFacts]) {
        let heard = |counters: &LineCounters, line: usize| counters.datagrams[line] > 0;
        if !self.heard_checked && now >= self.started + HEARD_BY {
            self.heard_checked = true;
            for at in 0..self.lines.len() {
                if !heard(&self.counters, at) {
                    self.unheard[at] = true;
                    self.notifier.say(never_heard(&self.lines[at], facts.get(at)));
                }
            }
        }
        for at in 0..self.lines.len() {
            if self.unheard[at] && heard(&self.counters, at) {
                self.unheard[at] = false;
                self.notifier.say(format_args!("line {}: now heard", self.lines[at].name));
            }
        }
        let dropped: u64 = self.counters.dropped.iter().sum();
        if self.dropped_said == 0 && dropped > 0 {
            self.dropped_said = dropped;
            self.notifier.say(format_args!(
                "the disk is too slow for the capture: {dropped} datagrams are missing from it so far; the arbiter goes on"
            ));
        }
    }

    fn say_status(&mut self, now: Nanos, tally: &Tally, page: &CounterPage, facts: &[WatchFacts]) {
        let span = (now - self.before.at).0.max(1);
        let rate = |count: u64| u128::from(count) * 1_000_000_000 / u128::from(span);
        let (counters, before) = (&self.counters, &self.before.counters);
        let of = |now: &[u64], before: &[u64], at: usize| now[at].saturating_sub(before[at]);
        let firsts: Vec<u64> =
            (0..self.lines.len()).map(|at| of(&counters.first_arrivals, &before.first_arrivals, at)).collect();
        let all_firsts = firsts.iter().sum::<u64>().max(1);
        let mut text = match self.status {
            StatusLine::Arbiter => {
                format!("{} messages/s, {} lost", rate(tally.messages - self.before.messages), tally.lost)
            }
            _ => format!("{} datagrams", counters.datagrams.iter().sum::<u64>()),
        };
        for (at, line) in self.lines.iter().enumerate() {
            let datagrams = rate(of(&counters.datagrams, &before.datagrams, at));
            // writing to a string does not fail
            let _ = match self.status {
                StatusLine::Arbiter => {
                    let share = firsts[at] as f64 * 100.0 / all_firsts as f64;
                    write!(text, "; {} {}, {share:.0}% first", line.name, tally.state(at))
                }
                _ => write!(text, "; {} {datagrams}/s", line.name),
            };
            if let Some(lead) = lead(page, at, self.lines.len()).filter(|_| firsts[at] > 0) {
                let _ = write!(text, " by {lead}");
            }
            let overflow = facts.get(at).map_or(0, |facts| facts.overflow);
            let more = [
                (counters.divergent[at], "DIVERGENT"),
                (counters.missing[at], "missing"),
                (overflow - self.before.overflow[at].min(overflow), "lost at the socket"),
                (counters.dropped[at], "not captured"),
            ];
            for (count, what) in more.into_iter().filter(|(count, _)| *count > 0) {
                let _ = write!(text, ", {count} {what}");
            }
            self.before.overflow[at] = overflow;
        }
        self.notifier.say(text);
        self.before = LastStatus { at: now, counters: self.counters, messages: tally.messages, ..self.before };
    }

    /// The `source` of --json (ARBITRATION 10.2).
    pub(crate) fn source<S>(&self, ended: &Ended<S>, spin: Spin, core: Option<usize>) -> Map<String, Value> {
        let mut lines = Map::new();
        let watched = &ended.lines;
        for (at, (line, watched)) in self.lines.iter().zip(watched).enumerate() {
            let facts = ended.source.lines[at];
            let of_line = json!({
                "datagrams": facts.datagrams,
                "bytes": facts.bytes,
                "strangers": facts.other_senders,
                "truncated": facts.truncated,
                "receive_errors": facts.errors,
                "malformed_frames": facts.frames.malformed,
                "bad_ip_checksum": facts.frames.ip_checksum,
                "bad_udp_checksum": facts.frames.udp_checksum,
                "foreign_frames": facts.frames.foreign,
                "fragments": fragments_json(&facts.fragments),
                "overflow": watched.overflow,
                "buffer_asked": watched.buffer_asked,
                "buffer_given": watched.buffer_given,
                "interface": watched.interface.to_string(),
                "interface_gone": watched.gone,
                "capture_dropped": ended.dropped[at],
            });
            lines.insert(line.name.clone(), of_line);
        }
        let mut source = Map::new();
        let datagrams: u64 = ended.source.lines.iter().map(|facts| facts.datagrams).sum();
        source.insert("datagrams".into(), datagrams.into());
        source.insert("end_ns".into(), ended.at.map(|at| at.0).into());
        source.insert("idle".into(), if spin.shared() { "yields" } else { "spins" }.into());
        source.insert("core".into(), core.into());
        source.insert("lines".into(), Value::Object(lines));
        source
    }

    /// What each line brought, one sentence per line.
    pub(crate) fn summary<S>(&self, ended: &Ended<S>) -> String {
        let mut text = String::new();
        for (at, (line, watched)) in self.lines.iter().zip(&ended.lines).enumerate() {
            let facts = ended.source.lines[at];
            let _ = write!(text, "line {}: {} datagrams, {} bytes", line.name, facts.datagrams, facts.bytes);
            let _ = write!(text, ", {} lost at the socket, {} not captured", watched.overflow, ended.dropped[at]);
            let left_out = [(facts.other_senders, "from other senders"), (facts.truncated, "too long")];
            for (count, what) in left_out.into_iter().chain(refused(&facts)) {
                if count > 0 {
                    let _ = write!(text, ", {count} {what}");
                }
            }
            text.push('\n');
        }
        text
    }

    /// Prints the last notices.
    pub(crate) fn say_last<S>(&mut self, ended: &Ended<S>) {
        let now = self.clock.now();
        ended.notices.iter().for_each(|notice| self.notice(now, notice));
    }

    /// Prints what each line lost or left out over the whole run.
    pub(crate) fn say_losses<S>(&self, ended: &Ended<S>) {
        for (at, (line, watched)) in self.lines.iter().zip(&ended.lines).enumerate() {
            let (asked, given) = (watched.buffer_asked, watched.buffer_given);
            let losses = [
                (
                    watched.overflow,
                    format!("lost at its sockets in total (buffers of {given} bytes; {asked} were asked for)"),
                ),
                (ended.dropped[at], "not in the capture: a replay of it will differ from this run".to_owned()),
                (ended.source.lines[at].other_senders, "from senders other than its `source`, left out".to_owned()),
                (ended.source.lines[at].truncated, "longer than a datagram can be, left out".to_owned()),
            ];
            for (count, what) in losses.into_iter().filter(|(count, _)| *count > 0) {
                self.notifier.say(format_args!("line {}: {count} datagrams {what}", line.name));
            }
            for (count, what) in refused(&ended.source.lines[at]).into_iter().filter(|(count, _)| *count > 0) {
                self.notifier.say(format_args!("line {}: {count} {what}, left out", line.name));
            }
        }
    }
}

/// A line's smallest median lead over any other line. `None` if it leads none.
fn lead(page: &CounterPage, line: usize, lines: usize) -> Option<Nanos> {
    let first = Line(line as u8);
    let others = (0..lines).map(|other| Line(other as u8)).filter(|other| *other != first);
    let known = others.filter(|other| page.pair(Counter::LeadNumbers, first, *other) > 0);
    known.map(|other| Nanos(page.pair(Counter::LeadMedian, first, other))).min()
}

/// What was wrong with a line's frames, and how often.
fn refused(facts: &LineFacts) -> [(u64, &'static str); 5] {
    let (frames, fragments) = (&facts.frames, &facts.fragments);
    let given_up = fragments.overlapping + fragments.inconsistent + fragments.expired + fragments.evicted;
    [
        (frames.malformed, "frames with headers that contradict each other"),
        (frames.ip_checksum, "frames with a wrong IPv4 checksum"),
        (frames.udp_checksum, "datagrams with a wrong UDP checksum"),
        (frames.foreign, "frames for other groups than its own"),
        (given_up + fragments.malformed, "fragments or fragmented datagrams given up"),
    ]
}

fn fragments_json(facts: &FragmentFacts) -> Value {
    json!({
        "fragments": facts.fragments,
        "datagrams": facts.datagrams,
        "duplicates": facts.duplicates,
        "malformed": facts.malformed,
        "overlapping": facts.overlapping,
        "inconsistent": facts.inconsistent,
        "expired": facts.expired,
        "evicted": facts.evicted,
    })
}

/// The message for a line that was never heard, the likeliest cause first.
fn never_heard(line: &LineConfig, facts: Option<&WatchFacts>) -> String {
    let (name, interface) = (&line.name, &line.interface);
    let groups = match line.groups.as_slice() {
        [group] => group.to_string(),
        groups => format!("any of its {} groups", groups.len()),
    };
    let found = match facts.map(|facts| facts.interface) {
        Some(InterfaceState::Missing) => format!("there is no interface {interface}; "),
        Some(InterfaceState::Down) => format!("interface {interface} is down; "),
        _ => String::new(),
    };
    let source = match line.source {
        Some(source) => format!("the sender is not {source}; "),
        None => String::new(),
    };
    format!(
        "line {name}: nothing heard on {groups} in {}. Possible causes: {found}the interface ({interface}), the group or the \
         port is wrong; {source}a firewall drops it; the switch stopped forwarding it for lack of an IGMP querier; nothing is \
         being sent",
        HEARD_BY
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_that_was_never_heard_is_reported_with_the_likely_causes() {
        let mut line = LineConfig::new("B", vec!["239.1.1.1:5".parse().unwrap()], "eth1");
        assert_eq!(
            never_heard(&line, None),
            "line B: nothing heard on 239.1.1.1:5 in 4s. Possible causes: the interface (eth1), the group or the port is wrong; \
             a firewall drops it; the switch stopped forwarding it for lack of an IGMP querier; nothing is being sent"
        );
        line.source = Some([10, 0, 0, 1].into());
        line.groups.push("239.1.1.2:5".parse().unwrap());
        let facts =
            WatchFacts { overflow: 0, buffer_asked: 0, buffer_given: 0, interface: InterfaceState::Down, gone: 0 };
        let said = never_heard(&line, Some(&facts));
        assert!(
            said.contains("any of its 2 groups in 4s. Possible causes: interface eth1 is down; the interface"),
            "{said}"
        );
        assert!(said.contains("the sender is not 10.0.0.1"), "{said}");
    }
}
