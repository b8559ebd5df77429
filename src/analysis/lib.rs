//! What there is to say about a feed: reports of an arbiter, line quality, what is in a capture, latency, charts.
//!
//! Four reports, each as text and as JSON (`docs/JSON.md` describes the keys), two also as an HTML page:
//!
//! | report | says | made by |
//! |---|---|---|
//! | [`RunReport`] | what an arbiter delivered and lost (`twinline run`, `twinline arbitrate`) | you, from an arbiter and a [`GapLog`] |
//! | [`QualityReport`] | what each line did, and when (`twinline report`) | [`QualityRun`] |
//! | [`InspectReport`] | what is in a capture (`twinline inspect`) | [`InspectReport::of`] |
//! | [`LatencyReport`] | how long messages take on this machine (`twinline latency`) | you, from measurements |
//!
//! What they are made from and what they return is beside them:
//!
//! | module | what it has |
//! |---|---|
//! | [`report`] | gaps that were closed, facts of captures, counters by name |
//! | [`quality`] | the findings of a report of line quality |
//! | [`inspect`] | what to look at in a capture; feed files for what was found |
//! | [`latency`] | the two measurements, their settings and results |
//! | [`chart`] | latency by percentile as SVG |
//!
//! Nothing here prints, and nothing but [`inspect`] and [`latency`] opens a file or a socket.
//!
//! ```
//! use twinline_analysis::QualityRun;
//! use twinline_node::capture::{CaptureInput, Captures};
//! use twinline_node::config::Feed;
//!
//! let feed = Feed::load("../../feeds/cme-mdp3.toml")?;
//! let capture = "../../feeds/samples/cme-mdp3.pcapng";
//! let mut captures = Captures::open(&[CaptureInput::parse(capture.as_ref(), &feed)], &feed)?;
//! let run = QualityRun::of(feed.framing, &feed, &mut captures, |_| true)?;
//! let report = run.report(&feed, &captures, &[capture.to_owned()]);
//! for finding in report.findings() {
//!     println!("{}: {}", finding.about, finding.text);
//! }
//! # assert!(report.text().starts_with("stream: "));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![forbid(unsafe_code)]
// the face of the crate is what these files re-export by name
#![warn(unreachable_pub, unnameable_types)]

pub mod chart;
pub mod inspect;
pub mod latency;
pub mod quality;
pub mod report;
mod spread;

pub use inspect::{InspectReport, InspectSettings};
pub use latency::LatencyReport;
pub use quality::{QualityReport, QualityRun};
pub use report::{GapLog, RunReport};
