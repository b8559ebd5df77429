//! Reports of an arbiter: what it delivered and lost, as JSON and as text; and what all reports of this crate share.
//!
//! [`RunReport`] is the report of `twinline run` and `twinline arbitrate`. It takes the closed gaps from a [`GapLog`], and if captures were
//! read, their facts from [`captures_source`]. The other reports are beside what they report on:
//! [`QualityReport`](crate::QualityReport), [`InspectReport`](crate::InspectReport), [`LatencyReport`](crate::LatencyReport).
//!
//! `docs/JSON.md` describes every key of every JSON object. Nothing here prints or opens a file: a report is a string.

// What the reports share, once: `counters` (a line's counters and the reasons of `ignored`, by the names that reports have for them),
// `words` and `utc` (counts, shares and spans for people; stamps as dates and times), `page` (the frame of an HTML page).

pub(crate) mod captures;
pub(crate) mod counters;
mod gaps;
pub(crate) mod page;
mod run;
pub(crate) mod utc;
pub(crate) mod words;

pub use captures::{STOPPED, captures_source, nothing_of_the_feed};
pub use counters::{Ordered, ignored_text};
pub use gaps::{ChannelGaps, ClosedGap, GAPS_LISTED, GapFate, GapLog};
pub use run::RunReport;
