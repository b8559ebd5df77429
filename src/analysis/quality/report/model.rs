//! What a report of line quality says, in the form that JSON, the page and the words are made of.
//!
//! Integers only, units in the keys, ranges half-open. A list has the worst first and says how many it leaves out.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

use super::super::chart::short_span;
use crate::report::counters::without_bytes;
use crate::report::utc;
use twinline_core::Nanos;
use twinline_core::arbiter::LineCounts;
use twinline_core::frame::Line;

/// How much a finding matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum FindingSeverity {
    /// All is well.
    Fine,
    /// Something happened, and another line made up for it.
    Note,
    /// Something was lost, or is not there.
    Bad,
}

/// A sentence of the verdict.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct QualityFinding {
    /// `stream`, a line's name, or a pair of lines: `A / B`.
    pub about: String,
    /// How much it matters.
    pub severity: FindingSeverity,
    /// It, in words.
    pub text: String,
}

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
    /// Stamps that a window had to do without because memory was full. Above zero, peaks are lower bounds.
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
    #[serde(serialize_with = "without_bytes")]
    pub(super) counts: LineCounts,
    pub(super) malformed: BTreeMap<&'static str, u64>,
    pub(super) filled: TallyJson,
    pub(super) bursts: BurstsJson,
    pub(super) silent_alone: SilenceJson,
    pub(super) microbursts: PeaksJson,
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
    #[serde(flatten, serialize_with = "without_bytes")]
    pub(super) counts: LineCounts,
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
pub(super) struct LineTimeJson {
    pub(super) line: String,
    pub(super) datagrams: Vec<u64>,
    pub(super) messages: Vec<u64>,
    pub(super) bytes: Vec<u64>,
    pub(super) missing: Vec<u64>,
    pub(super) peak_messages_1ms: Vec<u64>,
    pub(super) filled: Vec<u64>,
}

#[derive(Serialize)]
pub(super) struct StreamTimeJson {
    pub(super) messages: Vec<u64>,
    pub(super) bytes: Vec<u64>,
    pub(super) lost: Vec<u64>,
    pub(super) peak_messages_1ms: Vec<u64>,
}

#[derive(Serialize)]
pub(super) struct LeadTimeJson {
    pub(super) of: String,
    pub(super) over: String,
    pub(super) numbers: Vec<u64>,
    pub(super) p10_ns: Vec<Option<i64>>,
    pub(super) p50_ns: Vec<Option<i64>>,
    pub(super) p90_ns: Vec<Option<i64>>,
}

/// A value a cell of time, from `from_ns` on.
#[derive(Serialize)]
pub(super) struct OverTimeJson {
    pub(super) from_ns: u64,
    pub(super) cell_ns: u64,
    pub(super) lines: Vec<LineTimeJson>,
    pub(super) stream: StreamTimeJson,
    pub(super) lead: Vec<LeadTimeJson>,
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
    pub(super) verdict: Vec<QualityFinding>,
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
    pub(super) over_time: OverTimeJson,
    pub(super) source: Value,
    pub(super) ignored: BTreeMap<&'static str, u64>,
    /// What a reader should know of the captures before the numbers are believed.
    pub(super) warnings: Vec<String>,
}

impl Summary {
    /// How long after the first datagram a moment is: `+41.2 ms`.
    pub(super) fn after(&self, at_ns: u64) -> String {
        format!("+{}", after_text(at_ns.saturating_sub(self.from_ns)))
    }

    /// The time of day of a moment, to the microsecond; with the date if the capture spans several.
    pub(super) fn clock(&self, at_ns: u64) -> String {
        let at = Nanos(at_ns);
        let time = utc::time_of_day(at, 6);
        let several = utc::date(Nanos(self.from_ns)) != utc::date(Nanos(self.to_ns));
        if several { format!("{} {time}", utc::date(at)) } else { time }
    }
}

/// How long after the start: in seconds from one on, so that two can be compared.
fn after_text(nanos: u64) -> String {
    if nanos < 1_000_000_000 { short_span(nanos as f64) } else { format!("{:.3} s", nanos as f64 / 1e9) }
}
