//! The report of `arbitrate` and `run`: the object of `--json`, and the same for people.

use std::fmt::Write as _;

use serde::Serialize;
use serde_json::Value;

use super::counters::{self, Ordered, reasons};
use super::gaps::{ClosedGap, GapLog};
use twinline_core::Nanos;
use twinline_core::arbiter::{Arbiter, ChannelReport, LostReason, line_name};
use twinline_core::frame::Line;
use twinline_core::framing::Malformed;
use twinline_node::capture::Ignored;
use twinline_node::config::Feed;
use twinline_node::handler::MalformedCounts;

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
    #[serde(flatten)]
    counts: Ordered<&'static str, u64>,
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

/// The report of an arbiter: what it delivered and lost, and what each line did.
///
/// ```
/// use twinline_analysis::report::{GapLog, RunReport, captures_source};
/// use twinline_core::arbiter::{Event, Run, Sink};
/// use twinline_node::capture::{CaptureInput, Captures};
/// use twinline_node::config::Feed;
/// use twinline_node::handler::Handler;
/// use twinline_node::offline;
///
/// struct Nothing;
/// impl Sink for Nothing {
///     fn event(&mut self, _: &Event) {}
///     fn release(&mut self, _: &Run<'_>) {}
/// }
///
/// let feed = Feed::load("../../feeds/cme-mdp3.toml")?;
/// let input = CaptureInput::parse("../../feeds/samples/cme-mdp3.pcapng".as_ref(), &feed);
/// let mut captures = Captures::open(&[input], &feed)?;
/// let mut handler = Handler::new(feed.framing, &feed);
/// let end = offline::arbitrate(&mut captures, &mut handler, &mut Nothing, &mut ())?;
/// let report = RunReport {
///     feed: &feed,
///     arbiter: handler.arbiter(),
///     malformed: handler.malformed(),
///     gaps: &GapLog::new(false),
///     source: captures_source(&captures, &end),
///     ignored: captures.ignored(),
/// };
/// assert!(report.text().starts_with("feed cme-mdp3"));
/// assert!(report.json()?.starts_with(r#"{"feed":"cme-mdp3""#));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct RunReport<'a> {
    /// The feed.
    pub feed: &'a Feed,
    /// Its arbiter, finished or not: a report can be made at any time.
    pub arbiter: &'a Arbiter,
    /// What could not be read.
    pub malformed: &'a MalformedCounts,
    /// The gaps that were closed.
    pub gaps: &'a GapLog,
    /// Facts about the source: what is not a function of the datagrams. For captures: [`captures_source`](super::captures_source).
    pub source: Value,
    /// Records of captures that took no part. Without captures: the default.
    pub ignored: Ignored,
}

impl RunReport<'_> {
    fn names(&self) -> impl Iterator<Item = (Line, &str)> {
        self.feed.lines.iter().enumerate().map(|(at, line)| (Line(at as u8), line.name.as_str()))
    }

    /// What could not be read from a line on a channel, by reason. Reasons without a count are left out.
    fn malformed(&self, channel: &ChannelReport, line: Line) -> Vec<(&'static str, u64)> {
        // a datagram that cannot be read has no key: it counts for its group's only channel, or for the line alone
        if self.arbiter.settings().rules.keyed {
            return Vec::new();
        }
        let group = channel.channel.key.group;
        reasons(|reason| self.malformed.get(line, group, reason))
    }

    fn line(&self, channel: &ChannelReport, line: Line) -> LineJson {
        let malformed = self.malformed(channel, line);
        let counts = &channel.lines[line.index()];
        LineJson {
            counts: counters::by_name(counts),
            malformed: malformed.iter().map(|(_, count)| count).sum(),
            state: channel.states[line.index()].name(),
            divergent: counts.divergent,
            malformed_reasons: Ordered(malformed),
        }
    }

    fn leads(&self, channel: &ChannelReport) -> Vec<LeadJson<'_>> {
        let pairs = self.names().flat_map(|first| self.names().map(move |later| (first, later)));
        pairs
            .filter_map(|((a, first), (b, later))| {
                let lead = self.arbiter.lead(channel.channel.key, a, b)?;
                (!lead.is_empty()).then(|| LeadJson {
                    first,
                    later,
                    messages: lead.len(),
                    p50_ns: lead.quantile(0.5).0,
                    p99_ns: lead.quantile(0.99).0,
                    max_ns: lead.max().0,
                })
            })
            .collect()
    }

    fn channel<'n>(&'n self, channel: &ChannelReport, names: &'n [String]) -> ChannelJson<'n> {
        let sessions = channel.epochs.iter().map(|epoch| SessionJson {
            session: epoch.session.to_string(),
            first: epoch.first.0,
            next: epoch.next.0,
            delivered: epoch.delivered,
            lost: epoch.lost,
            ended: epoch.ended,
        });
        let gaps = self.gaps.channel(channel.channel.key).map_or(&[][..], |gaps| gaps.listed());
        let gaps = gaps.iter().map(|gap: &ClosedGap| GapJson {
            session: gap.session.to_string(),
            first: gap.range.first.0,
            end: gap.range.end.0,
            opened_by: line_name(names, gap.opened_by),
            opened_ns: gap.opened_at.0,
            closed_ns: gap.closed_at.0,
            outcome: if gap.fate.lost().is_some() { "lost" } else { "filled" },
            filled_by: gap.fate.filled_by().map(|line| line_name(names, line)),
            reason: gap.fate.lost().map(LostReason::name),
        });
        ChannelJson {
            channel: channel.channel.key.to_string(),
            sessions: sessions.collect(),
            delivered: channel.delivered,
            lost: channel.lost,
            late: channel.late,
            gaps: gaps.collect(),
            lines: Ordered(self.names().map(|(line, name)| (name, self.line(channel, line))).collect()),
            lead: self.leads(channel),
        }
    }

    /// One JSON object, without a line end. `docs/JSON.md` has its keys.
    ///
    /// # Errors
    /// [`RunReport::source`] cannot be written as JSON.
    pub fn json(&self) -> serde_json::Result<String> {
        let channels: Vec<ChannelReport> = self.arbiter.channels().collect();
        let names: Vec<String> = self.feed.lines.iter().map(|line| line.name.clone()).collect();
        let malformed = self.names().map(|(line, name)| {
            let count = |&reason| (Malformed::name(reason), self.malformed.of_line(line, reason));
            (name, Ordered(Malformed::ALL.iter().map(count).collect()))
        });
        let report = ReportJson {
            feed: &self.feed.name,
            framing: self.feed.framing.name(),
            channels: channels.iter().map(|channel| self.channel(channel, &names)).collect(),
            malformed: Ordered(malformed.collect()),
            source: self.source.clone(),
            gaps_omitted: self.gaps.omitted(),
            epochs_omitted: channels.iter().map(|channel| channel.epochs_omitted).sum(),
            ignored: counters::ignored(&self.ignored, self.arbiter),
            verify: self.feed.arbiter.verify.to_string(),
        };
        serde_json::to_string(&report)
    }

    /// The report for people, in lines that end.
    pub fn text(&self) -> String {
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
            let closed = self.gaps.channel(channel.channel.key);
            if let Some((filled, lost)) = closed.map(|gaps| (gaps.filled(), gaps.lost())).filter(|(a, b)| a + b > 0) {
                writeln!(out, "  gaps: {filled} filled, {lost} lost; {} messages late", channel.late)?;
            }
            writeln!(
                out,
                "  {:<10} {:>10} {:>12} {:>12} {:>12} {:>9} {:>9} {:>9}  state",
                "line", "frames", "messages", "first", "duplicate", "missing", "late", "refused"
            )?;
            for (line, name) in self.names() {
                let counts = &channel.lines[line.index()];
                let malformed: u64 = self.malformed(&channel, line).iter().map(|(_, count)| count).sum();
                writeln!(
                    out,
                    "  {name:<10} {:>10} {:>12} {:>12} {:>12} {:>9} {:>9} {:>9}  {}",
                    counts.frames,
                    counts.messages,
                    counts.first_arrivals,
                    counts.duplicate,
                    counts.missing,
                    counts.late,
                    counters::refused(counts) + malformed,
                    channel.states[line.index()].name()
                )?;
            }
            let divergent = self.names().zip(&channel.lines).filter(|(_, counts)| counts.divergent > 0);
            for ((_, name), counts) in divergent {
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
                    Nanos(lead.p50_ns),
                    Nanos(lead.p99_ns),
                    Nanos(lead.max_ns)
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
        let malformed = self.names().map(|(line, name)| (name, reasons(|reason| self.malformed.of_line(line, reason))));
        let malformed: Vec<_> = malformed.filter(|(_, reasons)| !reasons.is_empty()).collect();
        if !malformed.is_empty() {
            writeln!(out, "\nmalformed datagrams")?;
        }
        for (name, reasons) in malformed {
            let reasons: Vec<String> = reasons.into_iter().map(|(reason, count)| format!("{count} {reason}")).collect();
            writeln!(out, "  {name:<10} {}", reasons.join(", "))?;
        }
        let ignored = counters::ignored_text(&self.ignored);
        if !ignored.is_empty() {
            writeln!(out, "\nignored: {ignored}")?;
        }
        Ok(())
    }
}
