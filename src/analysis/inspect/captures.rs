//! Captures, inspected: the findings, what the files are, and feed files for what was found.

use std::collections::HashMap;
use std::net::SocketAddrV4;
use std::path::PathBuf;

use super::files::{self, FileFacts, Files, InspectedDatagram, InterfaceSeen};
use super::malformed::Refusals;
use super::packets::Tags;
use super::plan::{FeedPlan, plans};
use super::{Findings, FlowFindings, FlowKey, Inspection, json, text};
use twinline_core::Nanos;
use twinline_core::framing::AnyFraming;
use twinline_node::capture::CaptureError;
use twinline_node::offline::{self, OfflineVisitor, ReadEnd};

/// What to look at, and how.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct InspectSettings {
    /// The groups and ports to look at; empty: all.
    pub groups: Vec<SocketAddrV4>,
    /// The only framing to try; `None`: all of them.
    pub framing: Option<AnyFraming>,
    /// How many of the datagrams that its framing refuses to keep per flow; `None`: none is kept. Without a framing, the captures
    /// are read twice, the second time by the framing that fitted best.
    pub malformed: Option<u64>,
}

impl InspectSettings {
    /// Everything, by every framing.
    pub fn new() -> InspectSettings {
        InspectSettings::default()
    }

    /// Whether the captures are read twice. A pipe cannot be.
    pub fn reads_twice(&self) -> bool {
        self.malformed.is_some() && self.framing.is_none()
    }
}

/// What is in captures.
pub struct InspectReport {
    pub(super) files: Vec<FileFacts>,
    pub(super) interfaces: Vec<InterfaceSeen>,
    pub(super) findings: Findings,
    pub(super) plans: Vec<FeedPlan>,
    pub(super) refusals: Option<Refusals>,
    /// Datagrams of groups that were not asked for.
    pub(super) not_asked: u64,
    stopped: bool,
    failed: Option<CaptureError>,
}

impl InspectReport {
    /// Reads captures, merged by time, and judges what is in them. `goes_on` is called now and then with the bytes read so far and the
    /// bytes in all (`None`: one capture is a pipe); if it returns false, reading stops.
    ///
    /// # Errors
    /// A file cannot be opened, or is given twice. A file that cannot be read to its end is not an error here:
    /// [`failed`](InspectReport::failed).
    ///
    /// ```
    /// use twinline_analysis::inspect::{InspectReport, InspectSettings};
    /// use twinline_node::config::Feed;
    ///
    /// let captures = ["../../feeds/samples/cme-mdp3.pcapng".into()];
    /// let report = InspectReport::of(&captures, &InspectSettings::new(), |_, _| true)?;
    /// let plan = &report.plans()[0];
    /// assert_eq!(plan.framing, "cme-mdp3");
    /// assert_eq!(Feed::parse(&plan.text)?.lines.len(), 2);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn of(
        captures: &[PathBuf],
        settings: &InspectSettings,
        mut goes_on: impl FnMut(u64, Option<u64>) -> bool,
    ) -> Result<InspectReport, CaptureError> {
        let InspectSettings { groups, framing, malformed } = settings;
        let mut inspection = Inspection::new(framing.map_or_else(Inspection::all_framings, |framing| vec![framing]));
        let mut refusals = malformed.zip(*framing).map(|(most, framing)| Refusals::by(framing, most));
        let first = pass(captures, groups, &mut goes_on, |stamp, key, tags, payload| {
            inspection.on_datagram(stamp, key, tags, payload);
            if let Some(refusals) = &mut refusals {
                refusals.on_datagram(stamp, key, payload);
            }
        })?;
        let findings = inspection.finish();
        let mut stopped = first.stopped;
        if let (Some(most), None) = (*malformed, framing) {
            let mut by_flow = Refusals::by_flow(framings_of(&findings), most);
            let second = pass(captures, groups, &mut goes_on, |stamp, key, _, payload| {
                by_flow.on_datagram(stamp, key, payload)
            })?;
            stopped |= second.stopped;
            refusals = Some(by_flow);
        }
        let stem = captures.first().map_or("feed".to_owned(), |path| files::stem(path));
        let plans = plans(&findings, &files::for_plans(&first.files, &first.interfaces), &stem);
        let Pass { files, interfaces, not_asked, failed, .. } = first;
        Ok(InspectReport { files, interfaces, findings, plans, refusals, not_asked, stopped, failed })
    }

    /// One JSON object, without a line end. `docs/JSON.md` has its keys.
    ///
    /// # Errors
    /// None is known: everything in it is a number or text.
    pub fn json(&self) -> serde_json::Result<String> {
        json::json(self)
    }

    /// The report for people, in 100 columns. `with_feed`: the best feed file ends it.
    pub fn text(&self, with_feed: bool) -> String {
        text::text(self, with_feed)
    }

    /// Feed files for what was found, the surest and largest first.
    pub fn plans(&self) -> &[FeedPlan] {
        &self.plans
    }

    /// What to know about the files before trusting the report.
    pub fn warnings(&self) -> impl Iterator<Item = &str> {
        self.files.iter().flat_map(|file| file.warnings.iter().map(String::as_str))
    }

    /// Whether reading was stopped: the report covers what was read until then.
    pub fn stopped(&self) -> bool {
        self.stopped
    }

    /// Why a file could not be read to its end. The report covers what comes before. The second call returns `None`.
    pub fn failed(&mut self) -> Option<CaptureError> {
        self.failed.take()
    }
}

/// What one reading of the files left.
struct Pass {
    files: Vec<FileFacts>,
    interfaces: Vec<InterfaceSeen>,
    not_asked: u64,
    stopped: bool,
    failed: Option<CaptureError>,
}

/// Reads the files once.
fn pass(
    paths: &[PathBuf],
    groups: &[SocketAddrV4],
    goes_on: impl FnMut(u64, Option<u64>) -> bool,
    take: impl FnMut(Nanos, FlowKey, &Tags, &[u8]),
) -> Result<Pass, CaptureError> {
    let mut files = Files::open(paths)?;
    let mut visitor = Visitor { groups, size: files.size(), not_asked: 0, goes_on, take };
    let end = offline::read(&mut files, &mut visitor);
    let not_asked = visitor.not_asked;
    let (files, interfaces) = files.finish();
    let (stopped, failed) = match end {
        ReadEnd::Complete => (false, None),
        ReadEnd::Stopped => (true, None),
        ReadEnd::Failed(error) => (false, Some(error)),
    };
    Ok(Pass { files, interfaces, not_asked, stopped, failed })
}

struct Visitor<'a, G, T> {
    groups: &'a [SocketAddrV4],
    size: Option<u64>,
    not_asked: u64,
    goes_on: G,
    take: T,
}

impl<G, T> OfflineVisitor<Files> for Visitor<'_, G, T>
where
    G: FnMut(u64, Option<u64>) -> bool,
    T: FnMut(Nanos, FlowKey, &Tags, &[u8]),
{
    #[inline]
    fn datagram(&mut self, InspectedDatagram { record, tags, interface }: InspectedDatagram<'_>) {
        if self.groups.is_empty() || self.groups.contains(&record.destination) {
            let key = FlowKey { destination: record.destination, interface, source: *record.source.ip() };
            (self.take)(record.stamp, key, &tags, record.payload);
        } else {
            self.not_asked += 1;
        }
    }

    fn goes_on(&mut self, files: &Files) -> bool {
        (self.goes_on)(files.position(), self.size)
    }
}

/// The framing of each flow: the one that fits best, or comes nearest.
fn framings_of(findings: &Findings) -> HashMap<FlowKey, AnyFraming> {
    let framing = |flow: &FlowFindings| flow.best().or(flow.nearest_miss()).map(|tried| (flow.key, tried.framing));
    findings.flows.iter().filter_map(framing).collect()
}
