//! The tables of a report.

use std::fmt::Write;

use super::super::chart::signed_text;
use super::model::{ChannelJson, LineJson, PeaksJson, PieceJson, SilenceJson, StretchJson, Summary};
use super::verdict::reason_words;
use crate::chart::escape;
use crate::report::counters::refused;
use crate::report::page::note;
use crate::report::words::{grouped as count, percent, span};

/// Rows of channels that the page has; `--json` has all.
const CHANNELS_SHOWN: usize = 64;
/// Changes that the page has.
const CHANGES_SHOWN: usize = 100;

/// A table under a caption. Cells are escaped here; a line feed in one is a new line.
fn table<R: IntoIterator<Item = String>>(
    out: &mut String,
    caption: &str,
    heads: &[&str],
    rows: impl IntoIterator<Item = R>,
) {
    let mut rows = rows.into_iter().peekable();
    if rows.peek().is_none() {
        note(out, &format!("{caption}: none."));
        return;
    }
    let _ = write!(out, "<div class=\"scroll\"><table><caption>{}</caption><thead><tr>", escape(caption));
    for head in heads {
        let _ = write!(out, "<th scope=\"col\">{}</th>", escape(head));
    }
    out.push_str("</tr></thead><tbody>\n");
    for row in rows {
        out.push_str("<tr>");
        for cell in row {
            let _ = write!(out, "<td>{}</td>", escape(&cell).replace('\n', "<br>"));
        }
        out.push_str("</tr>\n");
    }
    out.push_str("</tbody></table></div>\n");
}

fn omitted(out: &mut String, more: u64, what: &str) {
    if more > 0 {
        note(out, &format!("{} more {what} are counted and not listed.", count(more)));
    }
}

/// A range as people count: both ends in it.
fn numbers(first: u64, end: u64) -> String {
    if end - first == 1 { first.to_string() } else { format!("{first} to {}", end - 1) }
}

impl Summary {
    /// A session, behind its channel if there are several channels.
    fn place(&self, channel: &str, session: &str) -> String {
        match (self.channels.len() > 1, session.is_empty()) {
            (true, true) => channel.to_owned(),
            (false, true) => "-".to_owned(),
            (true, false) => format!("{channel}, {session}"),
            (false, false) => session.to_owned(),
        }
    }
}

/// What each line brought.
pub(super) fn lines(out: &mut String, summary: &Summary) {
    let heads = [
        "line",
        "datagrams",
        "messages",
        "bytes",
        "came first",
        "duplicate",
        "missing",
        "share",
        "bursts",
        "late",
        "filled",
        "reordered",
        "refused",
        "divergent",
        "malformed",
    ];
    let row = |line: &LineJson| {
        let malformed: u64 = line.malformed.values().sum();
        [
            line.line.clone(),
            count(line.datagrams),
            count(line.messages),
            count(line.bytes),
            count(line.counts.first_arrivals),
            count(line.counts.duplicate),
            count(line.missing),
            percent(line.missing, line.expected),
            count(line.bursts.count),
            count(line.counts.late),
            count(line.filled.numbers),
            count(line.counts.reordered),
            count(refused(&line.counts)),
            count(line.counts.divergent),
            count(malformed),
        ]
    };
    table(out, "What each line brought", &heads, summary.lines.iter().map(row));
    note(
        out,
        "missing: numbers that the line itself had gone past and never brought. filled: numbers of gaps that this line \
         closed. late: brought after the gap was given up. refused: stale, before the start, or implausible. divergent: copies that \
         differ from the first one, where the feed file has them compared (verify).",
    );
    let malformed = summary.lines.iter().flat_map(|line| {
        let of_line = line.malformed.iter().filter(|(_, count)| **count > 0);
        of_line.map(|(reason, n)| [line.line.clone(), (*reason).to_owned(), count(*n)])
    });
    let malformed: Vec<_> = malformed.collect();
    if !malformed.is_empty() {
        table(out, "Malformed datagrams", &["line", "reason", "datagrams"], malformed);
    }
}

/// Bursts of loss.
pub(super) fn bursts(out: &mut String, summary: &Summary) {
    let rows = summary.lines.iter().flat_map(|line| {
        line.bursts.worst.iter().map(|burst| {
            [
                line.line.clone(),
                count(burst.end - burst.first),
                numbers(burst.first, burst.end),
                summary.place(&burst.channel, &burst.session),
                summary.clock(burst.at_ns),
                summary.after(burst.at_ns),
            ]
        })
    });
    table(out, "Worst bursts of loss", &["line", "in a row", "numbers", "of", "UTC", "after"], rows);
    let more = summary.lines.iter().map(|line| line.bursts.omitted).sum();
    omitted(out, more, "bursts");
    let classes = summary.lines.iter().flat_map(|line| {
        line.bursts
            .lengths
            .iter()
            .filter(|class| class.bursts > 0)
            .map(|class| [line.line.clone(), class.label.clone(), count(class.bursts), count(class.numbers)])
    });
    table(out, "Bursts of loss by length", &["line", "in a row", "bursts", "messages"], classes);
}

/// Which line was ahead of which.
pub(super) fn leads(out: &mut String, summary: &Summary) {
    let rows = summary.lead.iter().map(|lead| {
        let at = |nanos: i64| signed_text(nanos as f64);
        [
            format!("{} over {}", lead.of, lead.over),
            count(lead.numbers),
            percent(lead.of_first, lead.numbers),
            percent(lead.at_once, lead.numbers),
            at(lead.min_ns),
            at(lead.p1_ns),
            at(lead.p10_ns),
            at(lead.p50_ns),
            at(lead.p90_ns),
            at(lead.p99_ns),
            at(lead.max_ns),
        ]
    });
    let heads = ["lead", "messages", "came first", "at once", "least", "p1", "p10", "median", "p90", "p99", "most"];
    table(out, "Lead, by messages that both lines brought", &heads, rows);
    note(out, "Above zero the first named line was ahead, below zero the other; each against the first copy of all.");
}

/// What became of the gaps.
pub(super) fn gaps(out: &mut String, summary: &Summary) {
    let gaps = &summary.gaps;
    let filled = summary.lines.iter().filter(|line| line.filled.pieces > 0).map(|line| {
        let of = &line.filled;
        [
            format!("filled by {}", line.line),
            count(of.pieces),
            count(of.numbers),
            span(of.longest_open_ns),
            String::new(),
        ]
    });
    let lost = gaps.lost.iter().filter(|lost| lost.pieces > 0).map(|lost| {
        let why = reason_words(lost.reason).to_owned();
        [format!("lost: {}", lost.reason), count(lost.pieces), count(lost.numbers), span(lost.longest_open_ns), why]
    });
    let caption = format!("What became of {} gaps, {} messages", count(gaps.opened), count(gaps.opened_numbers));
    table(out, &caption, &["fate", "pieces", "messages", "longest open", ""], filled.chain(lost));
    let row = |piece: &PieceJson| {
        [
            count(piece.end - piece.first),
            numbers(piece.first, piece.end),
            summary.place(&piece.channel, &piece.session),
            piece.filled_by.clone().or(piece.reason.map(str::to_owned)).unwrap_or_default(),
            piece.opened_by.clone(),
            span(piece.closed_ns - piece.opened_ns),
            summary.clock(piece.opened_ns),
            summary.after(piece.opened_ns),
        ]
    };
    let heads = |fate| ["messages", "numbers", "of", fate, "shown by", "open for", "UTC", "after"];
    table(out, "Largest losses of the arbitrated stream", &heads("why"), gaps.largest_lost.iter().map(row));
    omitted(out, gaps.largest_lost_omitted, "losses");
    table(out, "Gaps that were waited for longest", &heads("filled by"), gaps.longest_waited.iter().map(row));
    omitted(out, gaps.longest_waited_omitted, "pieces");
}

/// Microbursts of each line and of the stream.
pub(super) fn microbursts(out: &mut String, summary: &Summary) {
    let lines = summary.lines.iter().map(|line| (line.line.as_str(), &line.microbursts));
    let all: Vec<(&str, &PeaksJson)> = lines.chain([("arbitrated", &summary.stream.microbursts)]).collect();
    let rows = all.iter().flat_map(|(name, peaks)| {
        peaks.windows.iter().map(|peak| {
            let at = |at_ns| {
                if peak.datagrams == 0 {
                    String::new()
                } else {
                    format!("{}\n{}", summary.clock(at_ns), summary.after(at_ns))
                }
            };
            [
                (*name).to_owned(),
                span(peak.window_ns),
                count(peak.datagrams),
                at(peak.datagrams_at_ns),
                count(peak.messages),
                at(peak.messages_at_ns),
                count(peak.bytes),
                at(peak.bytes_at_ns),
                format!("{:.2}", peak.bytes as f64 * 8.0 / peak.window_ns as f64),
            ]
        })
    });
    let heads =
        ["line", "within", "datagrams", "from (UTC)", "messages", "from (UTC)", "bytes", "from (UTC)", "Gbit/s"];
    table(out, "Microbursts: the most within a window", &heads, rows);
    note(
        out,
        "Windows slide: each peak is the most that any window of that length has, and begins with a datagram at that time. \
         Bytes are UDP payload. Of the arbitrated stream: runs of messages, when they were released.",
    );
    let cut: Vec<&str> = all.iter().filter(|(_, peaks)| peaks.stamps_cut > 0).map(|(name, _)| *name).collect();
    if !cut.is_empty() {
        note(
            out,
            &format!(
                "More stamps than are kept came within a millisecond on {}: those peaks are lower bounds.",
                cut.join(", ")
            ),
        );
    }
}

/// Silent stretches.
pub(super) fn silences(out: &mut String, summary: &Summary) {
    let rows = |name: &str, silence: &SilenceJson| {
        let name = name.to_owned();
        let row = |stretch: &StretchJson| {
            [
                name.clone(),
                span(stretch.to_ns - stretch.from_ns),
                span(stretch.alone_ns),
                count(stretch.others_datagrams),
                summary.clock(stretch.from_ns),
                summary.after(stretch.from_ns),
            ]
        };
        silence.worst.iter().map(row).collect::<Vec<_>>()
    };
    let alone = summary.lines.iter().flat_map(|line| rows(&line.line, &line.silent_alone));
    let heads = ["line", "silent for", "alone for", "others brought", "from (UTC)", "after"];
    table(out, "Silent while another line went on", &heads, alone);
    omitted(out, summary.lines.iter().map(|line| line.silent_alone.omitted).sum(), "stretches");
    let all =
        rows("every line", &summary.all_silent).into_iter().map(|[_, span, _, _, from, after]| [span, from, after]);
    table(out, "Every line silent", &["silent for", "from (UTC)", "after"], all);
    omitted(out, summary.all_silent.omitted, "stretches");
    let classes = summary.lines.iter().map(|line| (line.line.as_str(), &line.silent_alone));
    let classes = classes.chain([("every line", &summary.all_silent)]).map(|(name, silence)| {
        let counts = silence.by_decade_from_1ms.iter().map(|n| count(*n));
        std::iter::once(name.to_owned()).chain(counts).chain([span(silence.longest_ns)]).collect::<Vec<_>>()
    });
    let heads = ["line", "1 ms", "10 ms", "100 ms", "1 s", "10 s", "100 s on", "longest of all"];
    table(out, "How many stretches, by length from", &heads, classes);
    note(
        out,
        "A stretch runs from a datagram of the line to its next; a line is silent alone from the first to the last datagram \
         that others brought within it, less their own longest pause. Stretches below 1 ms are not counted.",
    );
}

/// States, and what they changed to.
pub(super) fn states(out: &mut String, summary: &Summary) {
    let rows = summary.states.iter().take(CHANGES_SHOWN).map(|change| {
        let why = change.why.map_or(String::new(), |why| format!(" ({why})"));
        [
            change.line.clone(),
            change.channel.clone(),
            format!("{} to {}{why}", change.from, change.to),
            summary.clock(change.at_ns),
            summary.after(change.at_ns),
        ]
    });
    table(out, "Changes of state", &["line", "channel", "change", "UTC", "after"], rows);
    let more = summary.states.len().saturating_sub(CHANGES_SHOWN) as u64 + summary.states_omitted;
    omitted(out, more, "changes");
}

/// Sessions and runs of numbers.
pub(super) fn epochs(out: &mut String, summary: &Summary) {
    let rows = summary.epochs.iter().take(CHANGES_SHOWN).map(|epoch| {
        let what = match epoch.event {
            "epoch" => format!("begins at {}", epoch.number),
            "ended" => format!("complete before {}", epoch.number),
            _ => format!("over before {}: {}", epoch.number, epoch.why.unwrap_or("")),
        };
        [epoch.channel.clone(), epoch.session.clone(), what, summary.clock(epoch.at_ns), summary.after(epoch.at_ns)]
    });
    table(out, "Sessions and runs of numbers", &["channel", "session", "", "UTC", "after"], rows);
    let more = summary.epochs.len().saturating_sub(CHANGES_SHOWN) as u64 + summary.epochs_omitted;
    omitted(out, more, "entries");
}

/// Channels, those that lost most first.
pub(super) fn channels(out: &mut String, summary: &Summary) {
    let mut worst: Vec<_> = summary.channels.iter().collect();
    let missing = |channel: &ChannelJson| channel.lines.iter().map(|line| line.counts.missing).max();
    worst.sort_by_key(|channel| std::cmp::Reverse((channel.lost, missing(channel))));
    let rows = worst.iter().take(CHANNELS_SHOWN).flat_map(|channel| {
        channel.lines.iter().map(|line| {
            [
                channel.channel.clone(),
                count(channel.delivered),
                count(channel.lost),
                line.line.clone(),
                count(line.counts.messages),
                count(line.counts.first_arrivals),
                count(line.counts.missing),
                percent(line.counts.missing, line.expected),
                span(line.silent_ns),
                span(line.lagging_ns),
                line.state.to_owned(),
            ]
        })
    });
    let heads = [
        "channel",
        "delivered",
        "lost",
        "line",
        "messages",
        "came first",
        "missing",
        "share",
        "silent for",
        "lagging for",
        "at the end",
    ];
    table(out, "Channels, by line", &heads, rows);
    omitted(out, worst.len().saturating_sub(CHANNELS_SHOWN) as u64, "channels");
}

/// What was read and took no part.
pub(super) fn ignored(out: &mut String, summary: &Summary) {
    let words = |reason: &str| match reason {
        "not_udp" => "not UDP over IPv4",
        "other_groups" => "for groups that are none of the feed's",
        "no_channel" => "frames of channels that never began",
        "truncated" => "cut off by the capture's snap length",
        "fragments" => "fragments of datagrams that did not become whole: the sum of those below",
        "fragments_duplicate" => "came twice",
        "fragments_malformed" => "that no datagram can have",
        "fragments_overlapping" => "overlap, and disagree",
        "fragments_inconsistent" => "disagree about the end",
        "fragments_expired" => "of datagrams that took longer than a second",
        "fragments_evicted" => "of datagrams given up for newer ones",
        "fragments_incomplete" => "of datagrams that were not whole at the end",
        "malformed" => "headers that contradict each other",
        _ => "",
    };
    let came = summary.ignored.iter().filter(|(reason, n)| **n > 0 || !reason.starts_with("fragments_"));
    let rows = came.map(|(reason, n)| [(*reason).to_owned(), count(*n), words(reason).to_owned()]);
    table(out, "What took no part", &["reason", "records", ""], rows);
}
