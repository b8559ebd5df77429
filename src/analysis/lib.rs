//! What there is to say about a feed: reports of an arbiter, line quality, what is in a capture, latency, charts.
//!
//! Four reports, each as text and as JSON (`docs/JSON.md` describes the keys), two also as an HTML page:
//!
//! | report | says | made by |
//! |---|---|---|
//! | [`RunReport`] | what an arbiter delivered and lost (`twinline run`, `twinline arbitrate`) | yourself, of an arbiter |
//! | [`QualityReport`] | what each line did, and when (`twinline report`) | [`QualityRun`] |
//! | [`InspectReport`] | what is in a capture (`twinline inspect`) | [`InspectReport::of`] |
//! | [`LatencyReport`] | how long messages take on this machine (`twinline latency`) | yourself, of measurements |
//!
//! Below them:
//!
//! | module | what it has |
//! |---|---|
//! | [`report`] | the report of an arbiter, and what all reports share |
//! | [`quality`] | what each line did, gathered while an arbiter runs |
//! | [`inspect`] | flows, the framings that fit them, feed files |
//! | [`latency`] | the two measurements |
//! | [`chart`], [`spread`] | curves and boxes as SVG; quartiles |
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

pub mod chart;
pub mod inspect;
pub mod latency;
pub mod quality;
pub mod report;
pub mod spread;

pub use inspect::{FeedPlan, Findings, FlowKey, InspectReport, InspectSettings, Inspection};
pub use latency::{LatencyReport, MeasuredMachine, PassResults, PassSpec, RatioResults};
pub use quality::{FindingSeverity, Quality, QualityFinding, QualityReport, QualityRun};
pub use report::RunReport;
pub use report::gaps::{ClosedGap, GapFate, GapLog};
