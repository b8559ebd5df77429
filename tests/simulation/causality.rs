//! Causality: what is said before a moment does not depend on what comes after it.

use twinline_core::Nanos;

use crate::record::{Record, Said};
use crate::verdict::{Verdict, hold};

/// The same input cut at `cut` gives the same up to there: by the list, and by the times that events carry.
pub fn causal(whole: &Record, cut: &Record, cut_at: usize, stamp: Nanos) -> Verdict {
    let moment = 2 * cut_at;
    let (long, short) = (whole.before(moment), cut.before(moment));
    hold!(long == short, "causality", "what was said before input {cut_at} depends on what came after");
    let by_then = |record: &Record| {
        let said = record.said.iter().filter_map(|(_, said)| match said {
            Said::Event(event) => (event.at < stamp).then_some((event.at, format!("{event:?}"))),
            _ => None,
        });
        said.collect::<Vec<_>>()
    };
    let (long, short) = (by_then(whole), by_then(cut));
    let differs = long.iter().zip(&short).find(|(long, short)| long != short);
    hold!(long == short, "causality", "cut at {cut_at}, before {stamp}: {differs:?}");
    Ok(())
}
