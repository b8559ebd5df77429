//! Puts a report's model together.

use super::super::account::Lengths;
use super::super::fate::Tally;
use super::super::peaks::{Amount, Peak, Peaks, WINDOWS};
use super::super::silence::{Stretch, Stretches};
use super::super::{LineCell, Quality};
use super::CapturesRead;
use super::model::{
    BurstJson, BurstsJson, ChangeJson, ChannelJson, ChannelLineJson, EpochJson, GapsJson, LeadJson, LeadTimeJson,
    LengthJson, LineJson, LineTimeJson, LostJson, OverTimeJson, PeakJson, PeaksJson, PieceJson, SilenceJson,
    StreamJson, StreamTimeJson, StretchJson, Summary, TallyJson,
};
use super::verdict;
use crate::report::ClosedGap;
use crate::report::counters;
use crate::report::utc;
use twinline_core::Nanos;
use twinline_core::arbiter::{ChannelReport, EventKind, LineState, LostReason, line_name};
use twinline_core::frame::Line;
use twinline_core::framing::{Framing, Malformed};
use twinline_node::config::Feed;
use twinline_node::handler::Handler;

fn peaks(peaks: &Peaks) -> PeaksJson {
    let windows = WINDOWS.into_iter().zip(peaks.windows()).map(|(window, of)| {
        let parts = |peak: Peak| (peak.amount, peak.at.0);
        let (datagrams, datagrams_at_ns) = parts(of.datagrams);
        let (messages, messages_at_ns) = parts(of.messages);
        let (bytes, bytes_at_ns) = parts(of.bytes);
        let window_ns = window.0;
        PeakJson { window_ns, datagrams, datagrams_at_ns, messages, messages_at_ns, bytes, bytes_at_ns }
    });
    PeaksJson { windows: windows.collect(), stamps_cut: peaks.cut() }
}

fn silence(stretches: &Stretches) -> SilenceJson {
    let stretch = |stretch: &Stretch| StretchJson {
        from_ns: stretch.from.0,
        to_ns: stretch.to.0,
        alone_ns: stretch.alone.0,
        others_datagrams: stretch.others,
    };
    SilenceJson {
        longest_ns: stretches.longest.0,
        by_decade_from_1ms: stretches.classes.to_vec(),
        worst: stretches.listed.iter().map(stretch).collect(),
        omitted: stretches.listed.omitted(),
    }
}

fn tally(tally: Tally) -> TallyJson {
    TallyJson { pieces: tally.pieces, numbers: tally.numbers, longest_open_ns: tally.longest.0 }
}

fn utc_text(at: Nanos) -> String {
    format!("{}T{}Z", utc::date(at), utc::time_of_day(at, 9))
}

/// What a report is made of, while it is put together.
struct Parts<'a, F> {
    names: &'a [String],
    quality: &'a Quality,
    handler: &'a Handler<F>,
    channels: Vec<ChannelReport>,
}

impl<F: Framing> Parts<'_, F> {
    fn lines(&self) -> impl Iterator<Item = (Line, &String)> {
        self.names.iter().enumerate().map(|(at, name)| (Line(at as u8), name))
    }

    fn line(&self, line: Line, name: &str) -> LineJson {
        let of = self.quality.line(line);
        let counts = counters::sum(self.channels.iter().filter_map(|channel| channel.lines.get(line.index())));
        let lengths = (0..of.lengths.used()).map(|class| {
            let (from, to) = Lengths::class(class);
            let (bursts, numbers) = (of.lengths.bursts[class], of.lengths.numbers[class]);
            LengthJson { from, to, bursts, numbers, label: Lengths::label(class) }
        });
        let worst = of.bursts.iter().map(|burst| BurstJson {
            channel: burst.channel.key.to_string(),
            session: burst.session.to_string(),
            first: burst.hole.range.first.0,
            end: burst.hole.range.end.0,
            at_ns: burst.hole.at.0,
        });
        let malformed = Malformed::ALL.iter().map(|&reason| {
            let count = self.handler.malformed().of_line(line, reason);
            (reason.name(), count)
        });
        let Amount { datagrams, messages, bytes } = of.total;
        LineJson {
            line: name.to_owned(),
            datagrams,
            messages,
            bytes,
            first_ns: of.heard.map(|(first, _)| first.0),
            last_ns: of.heard.map(|(_, last)| last.0),
            expected: self.quality.expected(line),
            missing: of.missing,
            counts,
            malformed: malformed.collect(),
            filled: tally(self.quality.gaps().filled[line.index()]),
            bursts: BurstsJson {
                count: of.bursts.seen(),
                lengths: lengths.collect(),
                worst: worst.collect(),
                omitted: of.bursts.omitted(),
            },
            silent_alone: self
                .quality
                .silences()
                .line(line)
                .map(silence)
                .unwrap_or_else(|| unreachable!("a line has stretches")),
            microbursts: peaks(&of.peaks),
        }
    }

    fn leads(&self) -> Vec<LeadJson> {
        let pairs = self.lines().flat_map(|a| self.lines().filter(move |b| a.0 < b.0).map(move |b| (a, b)));
        let lead = |((a, of), (b, over)): ((Line, &String), (Line, &String))| {
            let leads = self.quality.leads();
            let at = |quantile| leads.signed_quantile(a, b, quantile);
            let ties = |a, b| leads.pair(a, b).map_or(0, |pair| pair.count_at(0));
            let ahead = |a, b| leads.pair(a, b).map_or(0, |pair| pair.len()) - ties(a, b);
            let (of_first, over_first, at_once) = (ahead(a, b), ahead(b, a), ties(a, b) + ties(b, a));
            Some(LeadJson {
                of: of.clone(),
                over: over.clone(),
                numbers: of_first + over_first + at_once,
                of_first,
                over_first,
                at_once,
                min_ns: at(0.0)?,
                p1_ns: at(0.01)?,
                p10_ns: at(0.1)?,
                p50_ns: at(0.5)?,
                p90_ns: at(0.9)?,
                p99_ns: at(0.99)?,
                max_ns: at(1.0)?,
                pair: (a, b),
            })
        };
        pairs.filter_map(lead).collect()
    }

    fn piece(&self, piece: &ClosedGap) -> PieceJson {
        PieceJson {
            channel: piece.channel.key.to_string(),
            session: piece.session.to_string(),
            first: piece.range.first.0,
            end: piece.range.end.0,
            opened_by: line_name(self.names, piece.opened_by).to_owned(),
            opened_ns: piece.opened_at.0,
            closed_ns: piece.closed_at.0,
            filled_by: piece.fate.filled_by().map(|line| line_name(self.names, line).to_owned()),
            reason: piece.fate.lost().map(LostReason::name),
        }
    }

    fn gaps(&self) -> GapsJson {
        let gaps = self.quality.gaps();
        let lost = LostReason::ALL.iter().zip(gaps.lost).map(|(reason, of)| LostJson {
            reason: reason.name(),
            pieces: of.pieces,
            numbers: of.numbers,
            longest_open_ns: of.longest.0,
        });
        GapsJson {
            opened: gaps.opened.pieces,
            opened_numbers: gaps.opened.numbers,
            filled: tally(gaps.all_filled()),
            lost: lost.collect(),
            largest_lost: gaps.lost_listed.iter().map(|piece| self.piece(piece)).collect(),
            largest_lost_omitted: gaps.lost_listed.omitted(),
            longest_waited: gaps.filled_listed.iter().map(|piece| self.piece(piece)).collect(),
            longest_waited_omitted: gaps.filled_listed.omitted(),
        }
    }

    fn channel(&self, channel: &ChannelReport) -> ChannelJson {
        let line = |(line, name): (Line, &String)| {
            let counts = channel.lines.get(line.index())?;
            let (expected, states) = self.quality.of_channel(channel.channel, line)?;
            let spent = |state: LineState| states.spent(line)[state as usize].0;
            Some(ChannelLineJson {
                line: name.clone(),
                expected,
                counts: *counts,
                waiting_ns: spent(LineState::Waiting),
                up_ns: spent(LineState::Up),
                lagging_ns: spent(LineState::Lagging),
                silent_ns: spent(LineState::Silent),
                other_session_ns: spent(LineState::OtherSession),
                state: channel.states.get(line.index()).map_or("", |state| state.name()),
            })
        };
        ChannelJson {
            channel: channel.channel.key.to_string(),
            delivered: channel.delivered,
            lost: channel.lost,
            late: channel.late,
            epochs: channel.epochs.len() as u64 + channel.epochs_omitted,
            lines: self.lines().filter_map(line).collect(),
        }
    }

    fn over_time(&self, leads: &[LeadJson]) -> OverTimeJson {
        let moments = self.quality.moments();
        let cells = moments.cells();
        let of_line = |line: Line, value: fn(&LineCell) -> u64| {
            cells.iter().map(|moment| value(&moment.lines[line.index()])).collect::<Vec<u64>>()
        };
        let of_stream =
            |value: fn(&LineCell) -> u64| cells.iter().map(|moment| value(&moment.stream)).collect::<Vec<u64>>();
        let lines = self.lines().map(|(line, name)| LineTimeJson {
            line: name.clone(),
            datagrams: of_line(line, |cell| cell.amount.datagrams),
            messages: of_line(line, |cell| cell.amount.messages),
            bytes: of_line(line, |cell| cell.amount.bytes),
            missing: of_line(line, |cell| cell.missing),
            peak_messages_1ms: of_line(line, |cell| cell.peak),
            filled: cells.iter().map(|moment| moment.filled[line.index()]).collect(),
        });
        let lead = leads.iter().map(|lead| {
            let (a, b) = lead.pair;
            let quantiles: Vec<Option<[i64; 3]>> =
                cells.iter().map(|moment| moment.leads(a, b)?.quantiles([0.1, 0.5, 0.9])).collect();
            let at = |n: usize| quantiles.iter().map(|cell| cell.map(|cell| cell[n])).collect();
            LeadTimeJson {
                of: lead.of.clone(),
                over: lead.over.clone(),
                numbers: cells.iter().map(|moment| moment.leads(a, b).map_or(0, |leads| leads.len())).collect(),
                p10_ns: at(0),
                p50_ns: at(1),
                p90_ns: at(2),
            }
        });
        OverTimeJson {
            from_ns: moments.start().map_or(0, |start| start.0),
            cell_ns: moments.width().0,
            lines: lines.collect(),
            stream: StreamTimeJson {
                messages: of_stream(|cell| cell.amount.messages),
                bytes: of_stream(|cell| cell.amount.bytes),
                lost: of_stream(|cell| cell.missing),
                peak_messages_1ms: of_stream(|cell| cell.peak),
            },
            lead: lead.collect(),
        }
    }
}

/// The model of a run that has been finished.
pub(super) fn summary<F: Framing>(feed: &Feed, handler: &Handler<F>, quality: &Quality, read: CapturesRead) -> Summary {
    let names: Vec<String> = feed.lines.iter().map(|line| line.name.clone()).collect();
    let channels = handler.arbiter().channels().collect();
    let parts = Parts { names: &names, quality, handler, channels };
    let channels: Vec<ChannelJson> = parts.channels.iter().map(|channel| parts.channel(channel)).collect();
    let stream = quality.stream();
    let sum = |of: fn(&ChannelReport) -> u64| parts.channels.iter().map(of).fold(0, u64::saturating_add);
    let (from, to) = (quality.moments().start().unwrap_or_default(), quality.now());
    let (changes, states_omitted) = quality.changes();
    let states = changes.iter().map(|change| ChangeJson {
        at_ns: change.at.0,
        channel: change.channel.key.to_string(),
        line: line_name(&names, change.line).to_owned(),
        from: change.from.name(),
        to: change.to.name(),
        why: change.why.map(|why| why.name()),
    });
    let (marks, epochs_omitted) = quality.epochs();
    let epochs = marks.iter().filter_map(|mark| {
        let (event, session, number, why) = match mark.event.kind {
            EventKind::Epoch { session, first } => ("epoch", session, first, None),
            EventKind::Ended { session, next } => ("ended", session, next, None),
            EventKind::EpochEnd { session, next, why } => ("epoch_end", session, next, Some(why.name())),
            _ => return None,
        };
        let (at_ns, channel) = (mark.event.at.0, mark.event.channel.key.to_string());
        Some(EpochJson { at_ns, channel, event, session: session.to_string(), number: number.0, why })
    });
    let lead = parts.leads();
    let mut summary = Summary {
        feed: feed.name.clone(),
        framing: feed.framing.name().to_owned(),
        captures: read.captures,
        from_ns: from.0,
        to_ns: to.0,
        from_utc: utc_text(from),
        to_utc: utc_text(to),
        verdict: Vec::new(),
        stream: StreamJson {
            delivered: sum(|channel| channel.delivered),
            lost: sum(|channel| channel.lost),
            late: sum(|channel| channel.late),
            runs: stream.total.datagrams,
            bytes: stream.total.bytes,
            microbursts: peaks(&stream.peaks),
        },
        lines: parts.lines().map(|(line, name)| parts.line(line, name)).collect(),
        over_time: parts.over_time(&lead),
        lead,
        gaps: parts.gaps(),
        all_silent: silence(quality.silences().all()),
        channels,
        states: states.collect(),
        states_omitted,
        epochs: epochs.collect(),
        epochs_omitted,
        source: read.source,
        ignored: read.ignored,
        warnings: read.warnings,
    };
    summary.verdict = verdict::of(&summary);
    summary
}
