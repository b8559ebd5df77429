//! Counters by the names that reports have for them.

use serde::Serialize;
use serde::ser::{SerializeMap, Serializer};

use twinline_core::arbiter::{Arbiter, LineCounts};
use twinline_core::framing::Malformed;
use twinline_node::capture::Ignored;

/// A JSON object whose keys keep the order given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ordered<K, V>(pub Vec<(K, V)>);

impl<K: Serialize, V: Serialize> Serialize for Ordered<K, V> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (key, value) in &self.0 {
            map.serialize_entry(key, value)?;
        }
        map.end()
    }
}

/// A line's counters in the order of reports, except for `divergent`, which comes last.
pub(crate) fn by_name(counts: &LineCounts) -> Ordered<&'static str, u64> {
    Ordered(vec![
        ("frames", counts.frames),
        ("messages", counts.messages),
        ("bytes", counts.bytes),
        ("heartbeats", counts.heartbeats),
        ("first_arrivals", counts.first_arrivals),
        ("duplicate", counts.duplicate),
        ("missing", counts.missing),
        ("reordered", counts.reordered),
        ("late", counts.late),
        ("stale", counts.stale),
        ("before_join", counts.before_join),
        ("implausible", counts.implausible),
        ("unsequenced", counts.unsequenced),
    ])
}

/// For `serialize_with`: the counters that the report of line quality has. It counts the bytes of datagrams itself.
pub(crate) fn without_bytes<S: Serializer>(counts: &LineCounts, serializer: S) -> Result<S::Ok, S::Error> {
    let mut named = by_name(counts);
    named.0.retain(|(name, _)| *name != "bytes");
    named.0.push(("divergent", counts.divergent));
    named.serialize(serializer)
}

/// The counters of a line on several channels, together.
pub(crate) fn sum<'a>(counts: impl IntoIterator<Item = &'a LineCounts>) -> LineCounts {
    counts.into_iter().fold(LineCounts::default(), |sum, more| LineCounts {
        frames: sum.frames + more.frames,
        messages: sum.messages + more.messages,
        bytes: sum.bytes + more.bytes,
        heartbeats: sum.heartbeats + more.heartbeats,
        first_arrivals: sum.first_arrivals + more.first_arrivals,
        duplicate: sum.duplicate + more.duplicate,
        // a line that jumped to the far end of the numbers is missing more than can be summed up
        missing: sum.missing.saturating_add(more.missing),
        reordered: sum.reordered.saturating_add(more.reordered),
        late: sum.late + more.late,
        stale: sum.stale + more.stale,
        before_join: sum.before_join + more.before_join,
        implausible: sum.implausible + more.implausible,
        unsequenced: sum.unsequenced + more.unsequenced,
        divergent: sum.divergent + more.divergent,
    })
}

/// Messages that came and were refused: stale, before the start, or implausible.
pub(crate) fn refused(counts: &LineCounts) -> u64 {
    counts.stale + counts.before_join + counts.implausible
}

/// Counts of malformed datagrams by reason, only those that are not zero.
pub(crate) fn reasons(count: impl Fn(Malformed) -> u64) -> Vec<(&'static str, u64)> {
    let all = Malformed::ALL.iter().map(|&reason| (reason.name(), count(reason)));
    all.filter(|&(_, count)| count > 0).collect()
}

/// The records that took no part, by reason: those of captures, and the frames that the arbiter left out.
pub(crate) fn ignored(ignored: &Ignored, arbiter: &Arbiter) -> Ordered<&'static str, u64> {
    let mut reasons = ignored.by_reason();
    reasons.insert(2, ("other_units", arbiter.other_keys()));
    reasons.insert(3, ("no_channel", arbiter.no_channel()));
    Ordered(reasons)
}

/// Which records of captures took no part, for people; empty if all did.
pub fn ignored_text(ignored: &Ignored) -> String {
    let fragments = &ignored.fragments;
    let reasons = [
        (ignored.not_udp, "not UDP over IPv4"),
        (ignored.other_groups, "for other groups"),
        (ignored.truncated, "cut off by the snap length"),
        (ignored.malformed, "with headers that contradict each other"),
        (fragments.duplicate, "fragments that came twice"),
        (fragments.malformed, "fragments that no datagram can have"),
        (fragments.overlapping, "of datagrams whose fragments overlap and disagree"),
        (fragments.inconsistent, "of datagrams whose fragments disagree about the end"),
        (fragments.expired, "of datagrams whose fragments took longer than a second"),
        (fragments.evicted, "of datagrams given up since too many were in fragments at once"),
        (fragments.incomplete, "of datagrams of which not all fragments are there"),
    ];
    let text = reasons.iter().filter(|(records, _)| *records > 0).map(|(records, what)| format!("{records} {what}"));
    text.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_named_counters_are_all_that_there_are() {
        let ones = LineCounts {
            frames: 1,
            messages: 1,
            bytes: 1,
            heartbeats: 1,
            first_arrivals: 1,
            duplicate: 1,
            missing: 1,
            reordered: 1,
            late: 1,
            stale: 1,
            before_join: 1,
            implausible: 1,
            unsequenced: 1,
            divergent: 1,
        };
        let twos = sum([&ones, &ones]);
        assert!(by_name(&twos).0.iter().all(|(_, count)| *count == 2) && twos.divergent == 2);
        assert_eq!(refused(&twos), 6);
        assert_eq!(sum([&LineCounts { missing: u64::MAX, ..ones }, &ones]).missing, u64::MAX);
    }
}
