//! Reports: what an arbiter did, as JSON and as text, and what all reports of this crate are made of.
//!
//! [`RunReport`] is the report of `twinline run` and `twinline arbitrate`. The other reports stand beside what they report on:
//! [`QualityReport`](crate::QualityReport), [`InspectReport`](crate::InspectReport), [`LatencyReport`](crate::LatencyReport). What they
//! share is here, once:
//!
//! | module | what it has |
//! |---|---|
//! | [`counters`] | a line's counters and the reasons of `ignored`, by the names that reports have for them |
//! | [`captures`] | what was read of captures: the `source` of a report, its warnings |
//! | [`gaps`] | gaps that were closed, and what became of them |
//! | [`words`], [`utc`] | counts, shares and spans for people; stamps as dates and times |
//! | [`page`] | the frame of an HTML page |
//!
//! `docs/JSON.md` describes every key of every JSON object. Nothing here prints or opens a file: a report is a string.

pub mod captures;
pub mod counters;
pub mod gaps;
pub mod page;
mod run;
pub mod utc;
pub mod words;

pub use run::RunReport;
