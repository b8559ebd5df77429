//! The report of `arbitrate` and `run`: the object of `--json`, and the same for people.

use std::fmt::Write as _;

use serde::Serialize;
use serde::ser::{SerializeMap, Serializer};
use serde_json::Value;

use super::output::{Fate, GapLog};
use twinline_core::arbiter::{Arbiter, ChannelReport, LineCounts, line_name};
use twinline_core::frame::Line;
use twinline_core::framing::Malformed;
use twinline_node::capture::Ignored;
use twinline_node::config::Feed;
use twinline_node::handler::MalformedCounts;

/// A JSON object whose keys stand in the order given.
pub(super) struct Ordered<K, V>(pub(super) Vec<(K, V)>);

impl<K: Serialize, V: Serialize> Serialize for Ordered<K, V> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (key, value) in &self.0 {
            map.serialize_entry(key, value)?;
        }
        map.end()
    }
}

#[derive(Serialize)]
struct SessionJson {
    session: String,
    first: u64,
    next: u64,
    delivered: u64,
    lost: u64,
    ended: bool,
}

#[derive(Serialize)]
struct GapJson<'a> {
    session: String,
    first: u64,
    end: u64,
    opened_by: &'a str,
    opened_ns: u64,
    closed_ns: u64,
    outcome: &'static str,
    filled_by: Option<&'a str>,
    reason: Option<&'static str>,
}

#[derive(Serialize)]
struct LineJson {
    frames: u64,
    messages: u64,
    bytes: u64,
    heartbeats: u64,
    first_arrivals: u64,
    duplicate: u64,
    missing: u64,
    reordered: u64,
    late: u64,
    stale: u64,
    before_join: u64,
    implausible: u64,
    unsequenced: u64,
    malformed: u64,
    state: &'static str,
    divergent: u64,
    /// `malformed` by reason: those that there were.
    malformed_reasons: Ordered<&'static str, u64>,
}

/// By how much `first` came before `later`, of the numbers that both brought.
#[derive(Serialize)]
struct LeadJson<'a> {
    first: &'a str,
    later: &'a str,
    messages: u64,
    p50_ns: u64,
    p99_ns: u64,
    max_ns: u64,
}

#[derive(Serialize)]
struct ChannelJson<'a> {
    channel: String,
    sessions: Vec<SessionJson>,
    delivered: u64,
    lost: u64,
    late: u64,
    gaps: Vec<GapJson<'a>>,
    lines: Ordered<&'a str, LineJson>,
    lead: Vec<LeadJson<'a>>,
}

#[derive(Serialize)]
struct ReportJson<'a> {
    feed: &'a str,
    framing: &'a str,
    channels: Vec<ChannelJson<'a>>,
    malformed: Ordered<&'a str, Ordered<&'static str, u64>>,
    source: Value,
    gaps_omitted: u64,
    epochs_omitted: u64,
    ignored: Ordered<&'static str, u64>,
    /// Where it is `off`, no `divergent` says anything.
    verify: String,
}

/// Everything that a report is made of.
pub(super) struct Report<'a> {
    pub(super) feed: &'a Feed,
    pub(super) names: &'a [String],
    pub(super) arbiter: &'a Arbiter,
    pub(super) malformed: &'a MalformedCounts,
    pub(super) gaps: &'a GapLog,
    pub(super) source: Value,
    /// Records that took no part.
    pub(super) ignored: Ignored,
}

impl Report<'_> {
    /// What of a line could not be read on a channel, by reason: the reasons that there were.
    fn malformed(&self, channel: &ChannelReport, line: Line) -> Vec<(&'static str, u64)> {
        // a datagram that cannot be read has no key: it counts for its group's only channel, or for the line alone
        if self.arbiter.settings().rules.keyed {
            return Vec::new();
        }
        let group = channel.channel.key.group;
        reasons(|reason| self.malformed.get(line, group, reason))
    }

    fn line(&self, channel: &ChannelReport, at: usize, counts: &LineCounts) -> LineJson {
        let malformed = self.malformed(channel, Line(at as u8));
        LineJson {
            frames: counts.frames,
            messages: counts.messages,
            bytes: counts.bytes,
            heartbeats: counts.heartbeats,
            first_arrivals: counts.first_arrivals,
            duplicate: counts.duplicate,
            missing: counts.missing,
            reordered: counts.reordered,
            late: counts.late,
            stale: counts.stale,
            before_join: counts.before_join,
            implausible: counts.implausible,
            unsequenced: counts.unsequenced,
            malformed: malformed.iter().map(|(_, count)| count).sum(),
            state: channel.states[at].name(),
            divergent: counts.divergent,
            malformed_reasons: Ordered(malformed),
        }
    }

    fn leads(&self, channel: &ChannelReport) -> Vec<LeadJson<'_>> {
        let lines = 0..self.names.len();
        let pairs = lines.clone().flat_map(|first| lines.clone().map(move |later| (first, later)));
        pairs
            .filter_map(|(first, later)| {
                let (a, b) = (Line(first as u8), Line(later as u8));
                let lead = self.arbiter.lead(channel.channel.key, a, b)?;
                (!lead.is_empty()).then(|| LeadJson {
                    first: &self.names[first],
                    later: &self.names[later],
                    messages: lead.len(),
                    p50_ns: lead.quantile(0.5).0,
                    p99_ns: lead.quantile(0.99).0,
                    max_ns: lead.max().0,
                })
            })
            .collect()
    }

    fn channel(&self, channel: &ChannelReport) -> ChannelJson<'_> {
        let sessions = channel.epochs.iter().map(|epoch| SessionJson {
            session: epoch.session.to_string(),
            first: epoch.first.0,
            next: epoch.next.0,
            delivered: epoch.delivered,
            lost: epoch.lost,
            ended: epoch.ended,
        });
        let log = self.gaps.channel(channel.channel.key);
        let gaps = log.into_iter().flat_map(|log| &log.gaps).map(|gap| GapJson {
            session: gap.session.to_string(),
            first: gap.range.first.0,
            end: gap.range.end.0,
            opened_by: line_name(self.names, gap.opened_by),
            opened_ns: gap.opened_at.0,
            closed_ns: gap.closed_at.0,
            outcome: match gap.fate {
                Fate::Filled(_) => "filled",
                Fate::Lost(_) => "lost",
            },
            filled_by: match gap.fate {
                Fate::Filled(line) => Some(line_name(self.names, line)),
                Fate::Lost(_) => None,
            },
            reason: match gap.fate {
                Fate::Filled(_) => None,
                Fate::Lost(reason) => Some(reason.name()),
            },
        });
        let lines = self.names.iter().enumerate().map(|(at, name)| {
            let counts = &channel.lines[at];
            (name.as_str(), self.line(channel, at, counts))
        });
        ChannelJson {
            channel: channel.channel.key.to_string(),
            sessions: sessions.collect(),
            delivered: channel.delivered,
            lost: channel.lost,
            late: channel.late,
            gaps: gaps.collect(),
            lines: Ordered(lines.collect()),
            lead: self.leads(channel),
        }
    }

    /// The object of `--json`.
    pub(super) fn json(&self) -> anyhow::Result<String> {
        let channels: Vec<ChannelReport> = self.arbiter.channels().collect();
        let malformed = self.names.iter().enumerate().map(|(at, name)| {
            let count = |&reason| (Malformed::name(reason), self.malformed.of_line(Line(at as u8), reason));
            (name.as_str(), Ordered(Malformed::ALL.iter().map(count).collect()))
        });
        let mut ignored = self.ignored.by_reason();
        let arbiter = self.arbiter;
        ignored.insert(2, ("other_units", arbiter.other_keys()));
        ignored.insert(3, ("no_channel", arbiter.no_channel()));
        let report = ReportJson {
            feed: &self.feed.name,
            framing: self.feed.framing.name(),
            channels: channels.iter().map(|channel| self.channel(channel)).collect(),
            malformed: Ordered(malformed.collect()),
            source: self.source.clone(),
            gaps_omitted: self.gaps.omitted(),
            epochs_omitted: channels.iter().map(|channel| channel.epochs_omitted).sum(),
            ignored: Ordered(ignored),
            verify: self.feed.arbiter.verify.to_string(),
        };
        Ok(serde_json::to_string(&report)?)
    }

    /// The report for people.
    pub(super) fn text(&self) -> String {
        let mut out = String::new();
        // writing to a string does not fail
        let _ = self.write_text(&mut out);
        out
    }

    fn write_text(&self, out: &mut String) -> std::fmt::Result {
        writeln!(out, "feed {} ({})", self.feed.name, self.feed.framing.name())?;
        let mut none = true;
        for channel in self.arbiter.channels() {
            none = false;
            writeln!(out, "\nchannel {}", channel.channel.key)?;
            for epoch in &channel.epochs {
                let session = epoch.session.to_string();
                let ended = if epoch.ended { ", ended" } else { "" };
                let name = if session.is_empty() { "numbers".into() } else { format!("session \"{session}\"") };
                writeln!(
                    out,
                    "  {name}: {} to {}, {} delivered, {} lost{ended}",
                    epoch.first,
                    epoch.next.saturating_sub(1),
                    epoch.delivered,
                    epoch.lost
                )?;
            }
            let log = self.gaps.channel(channel.channel.key);
            if let Some(log) = log.filter(|log| log.filled + log.lost > 0) {
                let (filled, lost) = (log.filled, log.lost);
                writeln!(out, "  gaps: {filled} filled, {lost} lost; {} messages late", channel.late)?;
            }
            writeln!(
                out,
                "  {:<10} {:>10} {:>12} {:>12} {:>12} {:>9} {:>9} {:>9}  state",
                "line", "frames", "messages", "first", "duplicate", "missing", "late", "refused"
            )?;
            for (at, name) in self.names.iter().enumerate() {
                let counts = &channel.lines[at];
                let malformed: u64 = self.malformed(&channel, Line(at as u8)).iter().map(|(_, count)| count).sum();
                let refused = counts.stale + counts.before_join + counts.implausible + malformed;
                writeln!(
                    out,
                    "  {name:<10} {:>10} {:>12} {:>12} {:>12} {:>9} {:>9} {:>9}  {}",
                    counts.frames,
                    counts.messages,
                    counts.first_arrivals,
                    counts.duplicate,
                    counts.missing,
                    counts.late,
                    refused,
                    channel.states[at].name()
                )?;
            }
            let divergent = self.names.iter().zip(&channel.lines).filter(|(_, counts)| counts.divergent > 0);
            for (name, counts) in divergent {
                writeln!(
                    out,
                    "  DIVERGENCE: what line {name} brought is not always the message that came first, which stands: \
                     {} of {} duplicates differ (verify = {})",
                    counts.divergent, counts.duplicate, self.feed.arbiter.verify
                )?;
            }
            for lead in self.leads(&channel) {
                writeln!(
                    out,
                    "  {} ahead of {}: {} messages, p50 {}, p99 {}, max {}",
                    lead.first,
                    lead.later,
                    lead.messages,
                    twinline_core::time::Nanos(lead.p50_ns),
                    twinline_core::time::Nanos(lead.p99_ns),
                    twinline_core::time::Nanos(lead.max_ns)
                )?;
            }
        }
        let others = self.arbiter.other_keys();
        if others > 0 {
            writeln!(out, "\nleft out: {others} frames of units that the feed does not want")?;
        }
        if none {
            writeln!(out, "\nno channel began: nothing of this feed was there")?;
        }
        let malformed = self.names.iter().enumerate().map(|(at, name)| {
            let line = Line(at as u8);
            (name, reasons(|reason| self.malformed.of_line(line, reason)))
        });
        let malformed: Vec<_> = malformed.filter(|(_, reasons)| !reasons.is_empty()).collect();
        if !malformed.is_empty() {
            writeln!(out, "\nmalformed datagrams")?;
        }
        for (name, reasons) in malformed {
            let reasons: Vec<String> = reasons.into_iter().map(|(reason, count)| format!("{count} {reason}")).collect();
            writeln!(out, "  {name:<10} {}", reasons.join(", "))?;
        }
        let ignored = ignored_text(&self.ignored);
        if !ignored.is_empty() {
            writeln!(out, "\nignored: {ignored}")?;
        }
        Ok(())
    }
}

/// The reasons under which something was counted.
fn reasons(count: impl Fn(Malformed) -> u64) -> Vec<(&'static str, u64)> {
    let all = Malformed::ALL.iter().map(|&reason| (reason.name(), count(reason)));
    all.filter(|&(_, count)| count > 0).collect()
}

/// Which records took no part, for people; empty where all did.
pub(super) fn ignored_text(ignored: &Ignored) -> String {
    let fragments = &ignored.fragments;
    let reasons = [
        (ignored.not_udp, "not UDP over IPv4"),
        (ignored.other_groups, "for other groups"),
        (ignored.truncated, "cut off by the snap length"),
        (ignored.malformed, "with headers that contradict each other"),
        (fragments.duplicate, "fragments that came twice"),
        (fragments.malformed, "fragments that no datagram can have"),
        (fragments.overlapping, "of datagrams whose fragments overlap and disagree"),
        (fragments.inconsistent, "of datagrams whose fragments disagree about the end"),
        (fragments.expired, "of datagrams whose fragments took longer than a second"),
        (fragments.evicted, "of datagrams given up since too many were in fragments at once"),
        (fragments.incomplete, "of datagrams of which not all fragments are there"),
    ];
    let text = reasons.iter().filter(|(records, _)| *records > 0).map(|(records, what)| format!("{records} {what}"));
    text.collect::<Vec<_>>().join(", ")
}
