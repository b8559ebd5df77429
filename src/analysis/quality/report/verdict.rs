//! The report in words: what the arbitrated stream lost and why, and which line did what.

use super::model::{ChannelLineJson, FindingSeverity as Severity, LineJson, QualityFinding, Summary};
use crate::report::counters::refused;
use crate::report::words::{counted, grouped, percent, span};

/// The whole verdict, the stream first.
pub(super) fn of(summary: &Summary) -> Vec<QualityFinding> {
    let finding = |about: &str, (severity, text)| QualityFinding { about: about.to_owned(), severity, text };
    let mut all = vec![finding("stream", stream(summary))];
    all.extend(summary.lines.iter().map(|line| finding(&line.line, of_line(summary, line))));
    all.extend(summary.lead.iter().map(|lead| {
        let share = percent(lead.of_first, lead.numbers);
        let (median, severity) = (lead.p50_ns, Severity::Fine);
        let who = match median {
            0 => format!("{} and {} came at the same time at the median", lead.of, lead.over),
            1.. => format!("{} was ahead of {} by {} at the median", lead.of, lead.over, span(median.unsigned_abs())),
            _ => format!("{} was ahead of {} by {} at the median", lead.over, lead.of, span(median.unsigned_abs())),
        };
        let at_once = match lead.at_once {
            0 => String::new(),
            ties => format!("; {} came at once", percent(ties, lead.numbers)),
        };
        let text = format!(
            "{who}. Of {} that both brought, {} came first with {share}, {} with {}{at_once}. The middle 80 % lie between {} and {}.",
            messages(lead.numbers),
            lead.of,
            lead.over,
            percent(lead.over_first, lead.numbers),
            signed(lead.p10_ns, &lead.of, &lead.over),
            signed(lead.p90_ns, &lead.of, &lead.over),
        );
        finding(&format!("{} / {}", lead.of, lead.over), (severity, text))
    }));
    all
}

/// How far who was ahead.
fn signed(nanos: i64, of: &str, over: &str) -> String {
    match nanos {
        0 => "both at once".to_owned(),
        1.. => format!("{of} {} ahead", span(nanos.unsigned_abs())),
        _ => format!("{over} {} ahead", span(nanos.unsigned_abs())),
    }
}

/// `1 message`, `2,000 messages`.
fn messages(count: u64) -> String {
    counted(count, "message")
}

/// Why a gap was given up.
pub(super) fn reason_words(reason: &str) -> &'static str {
    match reason {
        "deadline" => "no line brought them before the gap's deadline",
        "settled" => "every line had gone past them",
        "hold" => "the hold for messages behind gaps was full",
        "gaps" => "too many gaps were open at once",
        "epoch" => "their session, or run of numbers, was over",
        "finish" => "the capture ended while they were waited for",
        _ => "for another reason",
    }
}

fn stream(summary: &Summary) -> (Severity, String) {
    let stream = &summary.stream;
    let all = stream.delivered.saturating_add(stream.lost);
    if all == 0 {
        let heard: u64 = summary.lines.iter().map(|line| line.datagrams).sum();
        return (
            Severity::Bad,
            if heard == 0 {
                "Nothing of this feed was in the captures: the feed file's groups and ports must be those of the capture."
                    .to_owned()
            } else {
                format!(
                    "Nothing could be arbitrated of {}: no two of them agree on where the numbers begin, or none could be read.",
                    counted(heard, "datagram")
                )
            },
        );
    }
    let gaps = &summary.gaps;
    if stream.lost == 0 {
        let filled = match gaps.filled.pieces {
            0 => "no gap ever opened".to_owned(),
            _ => format!(
                "{} opened, and all was filled by another line or a late datagram within {}",
                counted(gaps.opened, "gap"),
                span(gaps.filled.longest_open_ns)
            ),
        };
        return (Severity::Fine, format!("Nothing was lost: all {} were delivered; {filled}.", messages(all)));
    }
    let pieces: u64 = gaps.lost.iter().map(|lost| lost.pieces).sum();
    let mut reasons = gaps.lost.iter().filter(|lost| lost.numbers > 0);
    let why = match (reasons.next(), reasons.next()) {
        (Some(only), None) => reason_words(only.reason).to_owned(),
        _ => {
            let all = gaps.lost.iter().filter(|lost| lost.numbers > 0);
            let all = all.map(|lost| format!("{} because {}", grouped(lost.numbers), reason_words(lost.reason)));
            all.collect::<Vec<_>>().join("; ")
        }
    };
    let late = match stream.late {
        0 => String::new(),
        late => format!(" {} of them came after all, too late.", grouped(late)),
    };
    let text = format!(
        "{} of {} were lost ({}), in {}: {why}.{late}",
        grouped(stream.lost),
        messages(all),
        percent(stream.lost, all),
        counted(pieces, "piece"),
    );
    (Severity::Bad, text)
}

fn of_line(summary: &Summary, line: &LineJson) -> (Severity, String) {
    if line.datagrams == 0 {
        return (Severity::Bad, "Not one datagram came by this line.".to_owned());
    }
    let mut severity = Severity::Fine;
    let mut parts = Vec::new();
    parts.push(match (line.missing, line.bursts.worst.first()) {
        (0, _) if line.expected == 0 => "Brought nothing that could be numbered".to_owned(),
        (0, _) => format!("Missed none of {}", messages(line.expected)),
        (missing, worst) => {
            severity = Severity::Note;
            let worst = worst.map_or(String::new(), |worst| {
                let length = worst.end - worst.first;
                format!(
                    ", the worst of {} in a row at {} UTC ({})",
                    grouped(length),
                    summary.clock(worst.at_ns),
                    summary.after(worst.at_ns)
                )
            });
            format!(
                "Missed {} of {} ({}) in {}{worst}",
                grouped(missing),
                messages(line.expected),
                percent(missing, line.expected),
                counted(line.bursts.count, "burst")
            )
        }
    });
    if let Some(stretch) = line.silent_alone.worst.first() {
        severity = Severity::Note;
        parts.push(format!(
            "silent for {} at {} UTC ({}) while another line brought {}",
            span(stretch.to_ns - stretch.from_ns),
            summary.clock(stretch.from_ns),
            summary.after(stretch.from_ns),
            counted(stretch.others_datagrams, "datagram")
        ));
    }
    let spent = |of: fn(&ChannelLineJson) -> u64| {
        let on = summary.channels.iter().flat_map(|channel| &channel.lines).filter(|of| of.line == line.line);
        on.map(of).max().unwrap_or(0)
    };
    for (state, nanos) in [
        ("silent", spent(|of| of.silent_ns)),
        ("lagging", spent(|of| of.lagging_ns)),
        ("not heard", spent(|of| of.waiting_ns)),
        ("in another session", spent(|of| of.other_session_ns)),
    ] {
        // what a line is for its first moments, or passes through, says nothing
        if nanos >= 1_000_000_000 || (nanos > 0 && state == "lagging") {
            severity = Severity::Note;
            let channel = if summary.channels.len() > 1 { " on a channel" } else { "" };
            parts.push(format!("{state} for {} in all{channel}", span(nanos)));
        }
    }
    let malformed: u64 = line.malformed.values().sum();
    if malformed > 0 {
        severity = Severity::Note;
        parts.push(format!("{} malformed", counted(malformed, "datagram")));
    }
    if line.counts.divergent > 0 {
        severity = Severity::Bad;
        parts.push(format!("{} otherwise than the first copy", messages(line.counts.divergent)));
    }
    if refused(&line.counts) > 0 {
        parts.push(format!("{} refused as stale, implausible or before the start", messages(refused(&line.counts))));
    }
    (severity, format!("{}.", parts.join("; ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_its_words() {
        for reason in twinline_core::arbiter::LostReason::ALL {
            assert_ne!(reason_words(reason.name()), "for another reason");
        }
    }
}
