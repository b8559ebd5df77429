//! Everything that a report says: the object of `--json`, and what the page is made of.
//!
//! Integers alone, units in the keys, ranges half-open; a list has the worst first and says how many it leaves out.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

use super::verdict::{self, Finding};
use twinline_analysis::quality::account::Lengths;
use twinline_analysis::quality::fate::{Fate, Piece, Tally};
use twinline_analysis::quality::peaks::{Amount, Peak, Peaks, WINDOWS};
use twinline_analysis::quality::silence::{Stretch, Stretches};
use twinline_analysis::quality::{LineCell, Quality, utc};
use twinline_core::arbiter::{ChannelReport, EventKind, LineCounts, LineState, LostReason, line_name};
use twinline_core::frame::Line;
use twinline_core::framing::{Framing, Malformed};
use twinline_core::time::Nanos;
use twinline_node::config::Feed;
use twinline_node::handler::Handler;

/// A peak, and when its window began.
#[derive(Serialize)]
pub(super) struct PeakJson {
    pub(super) window_ns: u64,
    pub(super) datagrams: u64,
    pub(super) datagrams_at_ns: u64,
    pub(super) messages: u64,
    pub(super) messages_at_ns: u64,
    pub(super) bytes: u64,
    pub(super) bytes_at_ns: u64,
}

#[derive(Serialize)]
pub(super) struct PeaksJson {
    pub(super) windows: Vec<PeakJson>,
    /// Stamps that a window went without, its memory being full: where it is not zero, peaks are lower bounds.
    pub(super) stamps_cut: u64,
}

#[derive(Serialize)]
pub(super) struct LengthJson {
    pub(super) from: u64,
    pub(super) to: u64,
    pub(super) bursts: u64,
    pub(super) numbers: u64,
    #[serde(skip)]
    pub(super) label: String,
}

#[derive(Serialize)]
pub(super) struct BurstJson {
    pub(super) channel: String,
    pub(super) session: String,
    pub(super) first: u64,
    pub(super) end: u64,
    pub(super) at_ns: u64,
}

#[derive(Serialize)]
pub(super) struct BurstsJson {
    pub(super) count: u64,
    pub(super) lengths: Vec<LengthJson>,
    pub(super) worst: Vec<BurstJson>,
    pub(super) omitted: u64,
}

#[derive(Serialize)]
pub(super) struct StretchJson {
    pub(super) from_ns: u64,
    pub(super) to_ns: u64,
    pub(super) alone_ns: u64,
    pub(super) others_datagrams: u64,
}

#[derive(Serialize)]
pub(super) struct SilenceJson {
    pub(super) longest_ns: u64,
    /// How many from 1 ms, 10 ms, 100 ms, 1 s, 10 s, 100 s on.
    pub(super) by_decade_from_1ms: Vec<u64>,
    pub(super) worst: Vec<StretchJson>,
    pub(super) omitted: u64,
}

#[derive(Serialize)]
pub(super) struct TallyJson {
    pub(super) pieces: u64,
    pub(super) numbers: u64,
    pub(super) longest_open_ns: u64,
}

#[derive(Serialize)]
pub(super) struct LineJson {
    pub(super) line: String,
    pub(super) datagrams: u64,
    pub(super) messages: u64,
    pub(super) bytes: u64,
    pub(super) first_ns: Option<u64>,
    pub(super) last_ns: Option<u64>,
    pub(super) expected: u64,
    pub(super) missing: u64,
    pub(super) counts: CountsJson,
    pub(super) malformed: BTreeMap<&'static str, u64>,
    pub(super) filled: TallyJson,
    pub(super) bursts: BurstsJson,
    pub(super) silent_alone: SilenceJson,
    pub(super) microbursts: PeaksJson,
}

/// The arbiter's counters of a line.
#[derive(Clone, Copy, Default, Serialize)]
pub(super) struct CountsJson {
    pub(super) frames: u64,
    pub(super) messages: u64,
    pub(super) heartbeats: u64,
    pub(super) first_arrivals: u64,
    pub(super) duplicate: u64,
    pub(super) missing: u64,
    pub(super) reordered: u64,
    pub(super) late: u64,
    pub(super) stale: u64,
    pub(super) before_join: u64,
    pub(super) implausible: u64,
    pub(super) unsequenced: u64,
    /// Copies that differ from the first one, where the feed has copies compared.
    pub(super) divergent: u64,
}

impl CountsJson {
    fn of(counts: &LineCounts) -> CountsJson {
        CountsJson {
            frames: counts.frames,
            messages: counts.messages,
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
            divergent: counts.divergent,
        }
    }

    fn add(self, more: CountsJson) -> CountsJson {
        CountsJson {
            frames: self.frames + more.frames,
            messages: self.messages + more.messages,
            heartbeats: self.heartbeats + more.heartbeats,
            first_arrivals: self.first_arrivals + more.first_arrivals,
            duplicate: self.duplicate + more.duplicate,
            missing: self.missing.saturating_add(more.missing),
            reordered: self.reordered.saturating_add(more.reordered),
            late: self.late + more.late,
            stale: self.stale + more.stale,
            before_join: self.before_join + more.before_join,
            implausible: self.implausible + more.implausible,
            unsequenced: self.unsequenced + more.unsequenced,
            divergent: self.divergent + more.divergent,
        }
    }

    /// What was refused of what came, and why not.
    pub(super) fn refused(&self) -> u64 {
        self.stale + self.before_join + self.implausible
    }
}

#[derive(Serialize)]
pub(super) struct StreamJson {
    pub(super) delivered: u64,
    pub(super) lost: u64,
    pub(super) late: u64,
    pub(super) runs: u64,
    pub(super) bytes: u64,
    pub(super) microbursts: PeaksJson,
}

/// The lead of one line over another; below zero, the other came first.
#[derive(Serialize)]
pub(super) struct LeadJson {
    pub(super) of: String,
    pub(super) over: String,
    pub(super) numbers: u64,
    pub(super) of_first: u64,
    pub(super) over_first: u64,
    /// With the same stamp on both.
    pub(super) at_once: u64,
    pub(super) min_ns: i64,
    pub(super) p1_ns: i64,
    pub(super) p10_ns: i64,
    pub(super) p50_ns: i64,
    pub(super) p90_ns: i64,
    pub(super) p99_ns: i64,
    pub(super) max_ns: i64,
    #[serde(skip)]
    pub(super) pair: (Line, Line),
}

#[derive(Serialize)]
pub(super) struct PieceJson {
    pub(super) channel: String,
    pub(super) session: String,
    pub(super) first: u64,
    pub(super) end: u64,
    pub(super) opened_by: String,
    pub(super) opened_ns: u64,
    pub(super) closed_ns: u64,
    pub(super) filled_by: Option<String>,
    pub(super) reason: Option<&'static str>,
}

#[derive(Serialize)]
pub(super) struct LostJson {
    pub(super) reason: &'static str,
    pub(super) pieces: u64,
    pub(super) numbers: u64,
    pub(super) longest_open_ns: u64,
}

#[derive(Serialize)]
pub(super) struct GapsJson {
    pub(super) opened: u64,
    pub(super) opened_numbers: u64,
    pub(super) filled: TallyJson,
    pub(super) lost: Vec<LostJson>,
    pub(super) largest_lost: Vec<PieceJson>,
    pub(super) largest_lost_omitted: u64,
    pub(super) longest_waited: Vec<PieceJson>,
    pub(super) longest_waited_omitted: u64,
}

#[derive(Serialize)]
pub(super) struct ChangeJson {
    pub(super) at_ns: u64,
    pub(super) channel: String,
    pub(super) line: String,
    pub(super) from: &'static str,
    pub(super) to: &'static str,
    pub(super) why: Option<&'static str>,
}

#[derive(Serialize)]
pub(super) struct EpochJson {
    pub(super) at_ns: u64,
    pub(super) channel: String,
    pub(super) event: &'static str,
    pub(super) session: String,
    pub(super) number: u64,
    pub(super) why: Option<&'static str>,
}

#[derive(Serialize)]
pub(super) struct ChannelLineJson {
    pub(super) line: String,
    pub(super) expected: u64,
    #[serde(flatten)]
    pub(super) counts: CountsJson,
    pub(super) waiting_ns: u64,
    pub(super) up_ns: u64,
    pub(super) lagging_ns: u64,
    pub(super) silent_ns: u64,
    pub(super) other_session_ns: u64,
    pub(super) state: &'static str,
}

#[derive(Serialize)]
pub(super) struct ChannelJson {
    pub(super) channel: String,
    pub(super) delivered: u64,
    pub(super) lost: u64,
    pub(super) late: u64,
    pub(super) epochs: u64,
    pub(super) lines: Vec<ChannelLineJson>,
}

#[derive(Serialize)]
struct LineTimeJson {
    line: String,
    datagrams: Vec<u64>,
    messages: Vec<u64>,
    bytes: Vec<u64>,
    missing: Vec<u64>,
    peak_messages_1ms: Vec<u64>,
    filled: Vec<u64>,
}

#[derive(Serialize)]
struct StreamTimeJson {
    messages: Vec<u64>,
    bytes: Vec<u64>,
    lost: Vec<u64>,
    peak_messages_1ms: Vec<u64>,
}

#[derive(Serialize)]
struct LeadTimeJson {
    of: String,
    over: String,
    numbers: Vec<u64>,
    p10_ns: Vec<Option<i64>>,
    p50_ns: Vec<Option<i64>>,
    p90_ns: Vec<Option<i64>>,
}

/// A value a cell of time, from `from_ns` on.
#[derive(Serialize)]
struct OverTimeJson {
    from_ns: u64,
    cell_ns: u64,
    lines: Vec<LineTimeJson>,
    stream: StreamTimeJson,
    lead: Vec<LeadTimeJson>,
}

#[derive(Serialize)]
pub(super) struct Summary {
    pub(super) feed: String,
    pub(super) framing: String,
    pub(super) captures: Vec<String>,
    pub(super) from_ns: u64,
    pub(super) to_ns: u64,
    pub(super) from_utc: String,
    pub(super) to_utc: String,
    pub(super) verdict: Vec<Finding>,
    pub(super) stream: StreamJson,
    pub(super) lines: Vec<LineJson>,
    pub(super) lead: Vec<LeadJson>,
    pub(super) gaps: GapsJson,
    pub(super) all_silent: SilenceJson,
    pub(super) channels: Vec<ChannelJson>,
    pub(super) states: Vec<ChangeJson>,
    pub(super) states_omitted: u64,
    pub(super) epochs: Vec<EpochJson>,
    pub(super) epochs_omitted: u64,
    over_time: OverTimeJson,
    pub(super) source: Value,
    pub(super) ignored: BTreeMap<&'static str, u64>,
    /// What a reader should know of the captures before the numbers are believed.
    pub(super) warnings: Vec<String>,
}

/// What was read, beside what the lines did.
pub(super) struct Read {
    pub(super) captures: Vec<String>,
    pub(super) source: Value,
    pub(super) ignored: BTreeMap<&'static str, u64>,
    pub(super) warnings: Vec<String>,
}

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
        let counts = self.channels.iter().filter_map(|channel| channel.lines.get(line.index()));
        let counts = counts.fold(CountsJson::default(), |sum, counts| sum.add(CountsJson::of(counts)));
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

    fn piece(&self, piece: &Piece) -> PieceJson {
        PieceJson {
            channel: piece.channel.key.to_string(),
            session: piece.session.to_string(),
            first: piece.range.first.0,
            end: piece.range.end.0,
            opened_by: line_name(self.names, piece.opened_by).to_owned(),
            opened_ns: piece.opened_at.0,
            closed_ns: piece.closed_at.0,
            filled_by: match piece.fate {
                Fate::Filled(line) => Some(line_name(self.names, line).to_owned()),
                Fate::Lost(_) => None,
            },
            reason: match piece.fate {
                Fate::Filled(_) => None,
                Fate::Lost(reason) => Some(reason.name()),
            },
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
                counts: CountsJson::of(counts),
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

impl Summary {
    /// The report of a run that has been finished.
    pub(super) fn of<F: Framing>(feed: &Feed, handler: &Handler<F>, quality: &Quality, read: Read) -> Summary {
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

    /// How long after the first datagram a moment is: `+41.2 ms`.
    pub(super) fn after(&self, at_ns: u64) -> String {
        format!("+{}", after_text(at_ns.saturating_sub(self.from_ns)))
    }

    /// The time of day of a moment, to the microsecond; with the date where the capture has several.
    pub(super) fn clock(&self, at_ns: u64) -> String {
        let at = Nanos(at_ns);
        let time = utc::time_of_day(at, 6);
        let several = utc::date(Nanos(self.from_ns)) != utc::date(Nanos(self.to_ns));
        if several { format!("{} {time}", utc::date(at)) } else { time }
    }
}

/// How long after the start: in seconds from one on, so that two can be compared.
fn after_text(nanos: u64) -> String {
    if nanos < 1_000_000_000 {
        twinline_analysis::quality::chart::short_span(nanos as f64)
    } else {
        format!("{:.3} s", nanos as f64 / 1e9)
    }
}
