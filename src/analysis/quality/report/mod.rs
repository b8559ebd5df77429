//! The report of line quality: as JSON, as a page, in words.
//!
//! ```text
//! Quality, Handler, captures -> summary -> model -> JSON
//!                                  |         |---> page: verdict, pictures, tables
//!                               verdict      \---> text: the verdict alone
//! ```

use std::collections::BTreeMap;

use serde_json::Value;

use super::Quality;
use twinline_core::framing::Framing;
use twinline_node::config::Feed;
use twinline_node::handler::Handler;

mod model;
mod page;
mod pictures;
mod summary;
mod tables;
mod verdict;

use model::Summary;
pub use model::{FindingSeverity, QualityFinding};

/// What was read, apart from what the lines did.
pub(super) struct CapturesRead {
    pub(super) captures: Vec<String>,
    pub(super) source: Value,
    pub(super) ignored: BTreeMap<&'static str, u64>,
    pub(super) warnings: Vec<String>,
}

/// The report of line quality. [`QualityRun::report`](super::QualityRun::report) makes it.
pub struct QualityReport<'a> {
    summary: Summary,
    quality: &'a Quality,
}

impl<'a> QualityReport<'a> {
    pub(super) fn new<F: Framing>(
        feed: &Feed,
        handler: &Handler<F>,
        quality: &'a Quality,
        read: CapturesRead,
    ) -> QualityReport<'a> {
        QualityReport { summary: summary::summary(feed, handler, quality, read), quality }
    }

    /// One JSON object, without a line end. `docs/JSON.md` has its keys.
    ///
    /// # Errors
    /// None is known: everything in it is an integer or text.
    pub fn json(&self) -> serde_json::Result<String> {
        serde_json::to_string(&self.summary)
    }

    /// The verdict, one line per finding.
    pub fn text(&self) -> String {
        self.findings().iter().map(|finding| format!("{}: {}\n", finding.about, finding.text)).collect()
    }

    /// The whole page: HTML that refers to nothing outside itself.
    pub fn page(&self) -> String {
        page::page(&self.summary, self.quality)
    }

    /// The verdict: the stream first, then each line, then each pair of lines.
    pub fn findings(&self) -> &[QualityFinding] {
        &self.summary.verdict
    }

    /// What to know about the captures before trusting the numbers.
    pub fn warnings(&self) -> &[String] {
        &self.summary.warnings
    }
}
