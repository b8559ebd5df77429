//! Line quality of captures: an arbiter run over them, with [`Quality`] as its sink.

use super::Quality;
use super::report::{CapturesRead, QualityReport};
use crate::report::captures::{STOPPED, nothing_of_the_feed, quality_source};
use twinline_core::framing::Framing;
use twinline_node::capture::{CaptureError, CapturedDatagram, Captures};
use twinline_node::config::Feed;
use twinline_node::handler::Handler;
use twinline_node::offline::{self, OfflineEnd, OfflineHooks};

/// Captures that were arbitrated, and what each line did in them.
///
/// ```
/// use twinline_analysis::quality::QualityRun;
/// use twinline_node::capture::{CaptureInput, Captures};
/// use twinline_node::config::Feed;
///
/// let feed = Feed::load("../../feeds/cme-mdp3.toml")?;
/// let input = CaptureInput::parse("../../feeds/samples/cme-mdp3.pcapng".as_ref(), &feed);
/// let mut captures = Captures::open(&[input], &feed)?;
/// let run = QualityRun::of(feed.framing, &feed, &mut captures, |_| true)?;
/// let report = run.report(&feed, &captures, &["day.pcapng".to_owned()]);
/// assert_eq!(report.findings()[0].about, "stream");
/// assert!(report.page().starts_with("<!doctype html>"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct QualityRun<F> {
    /// Framing and arbiter, for their counters.
    pub handler: Handler<F>,
    /// What each line did.
    quality: Quality,
    /// How reading ended.
    pub end: OfflineEnd,
}

impl<F: Framing> QualityRun<F> {
    /// Arbitrates captures. `goes_on` is called now and then; if it returns false, reading stops.
    ///
    /// # Errors
    /// The errors of [`offline::arbitrate`].
    pub fn of(
        framing: F,
        feed: &Feed,
        captures: &mut Captures,
        goes_on: impl FnMut(&Captures) -> bool,
    ) -> Result<QualityRun<F>, CaptureError> {
        let mut handler = Handler::new(framing, feed);
        let mut quality = Quality::new(feed.lines.len(), handler.arbiter().settings().settle);
        let end = offline::arbitrate(captures, &mut handler, &mut quality, &mut Gathering { framing, goes_on })?;
        if let Some(at) = end.at {
            quality.finish(at);
        }
        Ok(QualityRun { handler, quality, end })
    }

    /// The report of the run. It calls the captures by these `names`.
    pub fn report(&self, feed: &Feed, captures: &Captures, names: &[String]) -> QualityReport<'_> {
        let QualityRun { handler, quality, end } = self;
        let ignored = captures.ignored();
        let mut warnings: Vec<String> = captures.warnings().iter().map(ToString::to_string).collect();
        if end.stopped {
            warnings.push(STOPPED.to_owned());
        }
        warnings.extend(end.failed.as_ref().map(ToString::to_string));
        if captures.datagrams() == 0 {
            warnings.push(nothing_of_the_feed(&ignored));
        }
        if captures.stamps_raised() > 0 {
            warnings.push(format!(
                "{} stamps were earlier than one before, and were raised to that: leads and microbursts are off there",
                captures.stamps_raised()
            ));
        }
        let no_channel = handler.arbiter().no_channel();
        let read = CapturesRead {
            captures: names.to_vec(),
            source: quality_source(captures, end),
            ignored: ignored.by_reason().into_iter().chain([("no_channel", no_channel)]).collect(),
            warnings,
        };
        QualityReport::new(feed, handler, quality, read)
    }
}

/// Tells [`Quality`] of each datagram.
struct Gathering<F, G> {
    framing: F,
    goes_on: G,
}

impl<F: Framing, G: FnMut(&Captures) -> bool> OfflineHooks<F, Quality> for Gathering<F, G> {
    #[inline]
    fn before(&mut self, handler: &mut Handler<F>, datagram: &CapturedDatagram<'_>, quality: &mut Quality) {
        let &CapturedDatagram { stamp, line, payload, .. } = datagram;
        // what was due before this datagram is reported at its own time
        handler.advance(stamp, quality);
        quality.datagram(stamp, line, payload.len(), messages_in(self.framing, payload));
    }

    fn goes_on(&mut self, captures: &Captures, _: &Quality) -> bool {
        (self.goes_on)(captures)
    }
}

/// How many messages a datagram has.
#[inline]
fn messages_in<F: Framing>(framing: F, payload: &[u8]) -> u64 {
    let (mut at, mut messages) = (0, 0);
    while let Some(Ok(frame)) = framing.frame(payload, &mut at) {
        messages += u64::from(frame.count);
    }
    messages
}
