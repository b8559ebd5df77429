//! What was read from captures, apart from the datagrams: for the `source` of a report, and its warnings.

use serde_json::{Value, json};

use twinline_node::capture::{Captures, Ignored};
use twinline_node::offline::OfflineEnd;

/// The `source` of `arbitrate`'s report (docs/JSON.md).
pub fn captures_source(captures: &Captures, end: &OfflineEnd) -> Value {
    let mut source = quality_source(captures, end);
    source["reassembled"] = captures.reassembled().into();
    source
}

/// The `source` of the report of line quality.
pub(crate) fn quality_source(captures: &Captures, end: &OfflineEnd) -> Value {
    json!({
        "datagrams": captures.datagrams(),
        "stamps_raised": captures.stamps_raised(),
        "dropped": captures.dropped(),
        "whole_recording": end.is_whole_recording(captures),
    })
}

/// What to say when the reading was stopped.
pub const STOPPED: &str = "stopped: the report is of what was read until then";

/// What to say when captures held no datagram of the feed.
pub fn nothing_of_the_feed(ignored: &Ignored) -> String {
    format!(
        "no datagram of this feed was in the captures: {} were for other groups, {} not UDP over IPv4; the feed file's groups \
         and ports must be those of the capture",
        ignored.other_groups, ignored.not_udp
    )
}
