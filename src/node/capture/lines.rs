//! Which line a captured record came by (ARBITRATION 2.3).

use std::net::{Ipv4Addr, SocketAddrV4};

use super::facts::CaptureRecord;
use crate::config::Feed;
use twinline_core::frame::Line;

/// From a record to its line and its group's place in that line's list.
///
/// In this order:
/// 1. a line that is forced (`A=a.pcap`), when the destination is in its list and the sender is the line's, if it names one;
/// 2. the line that the capture interface is named after, when the destination is in its list. The sender is not checked: what is
///    on an interface of that name came by that line's sockets, which checked it;
/// 3. the line that lists the destination; if several do, the one that names the sender.
#[derive(Clone, Debug)]
pub struct LineMap {
    names: Vec<String>,
    sources: Vec<Option<Ipv4Addr>>,
    /// Sorted by destination, then line.
    groups: Vec<Group>,
    ambiguities: Vec<Ambiguity>,
}

#[derive(Clone, Copy, Debug)]
struct Group {
    destination: SocketAddrV4,
    line: Line,
    group: u16,
    source: Option<Ipv4Addr>,
}

/// Two lines that share a group and port, and that have no sender to tell them apart. A capture can only be read if its interfaces
/// are named like the lines, or if each file is given a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ambiguity {
    /// What they share.
    pub group: SocketAddrV4,
    /// The line that comes first in the feed file.
    pub first: Line,
    /// The other.
    pub second: Line,
}

/// What a [`LineMap`] says about a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LineMatch {
    /// It came by this line; its group has this position in the line's list.
    Line(Line, u16),
    /// It is not one of the feed's.
    Other,
    /// It may have come by either line.
    Ambiguous(Ambiguity),
}

impl LineMap {
    /// The map of a feed.
    pub fn new(feed: &Feed) -> LineMap {
        let mut groups = Vec::new();
        for (line, config) in (0..).map(Line).zip(&feed.lines) {
            for (group, &destination) in (0..).zip(&config.groups) {
                groups.push(Group { destination, line, group, source: config.source });
            }
        }
        groups.sort_by_key(|group| (group.destination, group.line));
        let ambiguities = groups
            .chunk_by(|a, b| a.destination == b.destination)
            .flat_map(|same| same.iter().enumerate().flat_map(|(i, a)| same[i + 1..].iter().map(move |b| (a, b))))
            .filter(|(a, b)| a.line != b.line && (a.source.is_none() || b.source.is_none() || a.source == b.source))
            .map(|(a, b)| Ambiguity { group: a.destination, first: a.line, second: b.line })
            .collect();
        LineMap {
            names: feed.lines.iter().map(|line| line.name.clone()).collect(),
            sources: feed.lines.iter().map(|line| line.source).collect(),
            groups,
            ambiguities,
        }
    }

    /// The line of this name.
    pub fn line(&self, name: &str) -> Option<Line> {
        self.names.iter().position(|known| known == name).map(|at| Line(at as u8))
    }

    /// A line's name; empty for a line that the feed does not have.
    pub fn name(&self, line: Line) -> &str {
        self.names.get(line.index()).map_or("", String::as_str)
    }

    /// The lines that destination and sender do not tell apart.
    pub fn ambiguities(&self) -> &[Ambiguity] {
        &self.ambiguities
    }

    /// The line that the record came by, according to the capture.
    #[inline]
    pub fn find(&self, record: &CaptureRecord<'_>) -> LineMatch {
        if let Some(line) = record.interface_name.and_then(|name| self.line(name)) {
            return self.on_line(line, record.destination);
        }
        let mut found = LineMatch::Other;
        for group in self.at(record.destination) {
            if group.source.is_some_and(|source| source != *record.source.ip()) {
                continue;
            }
            found = match found {
                LineMatch::Other => LineMatch::Line(group.line, group.group),
                // if a line lists a group twice, the first position counts
                LineMatch::Line(first, at) if first == group.line => LineMatch::Line(first, at),
                LineMatch::Line(first, _) => {
                    let ambiguity = Ambiguity { group: record.destination, first, second: group.line };
                    return LineMatch::Ambiguous(ambiguity);
                }
                ambiguous @ LineMatch::Ambiguous(_) => ambiguous,
            };
        }
        found
    }

    /// The record's group on a given line.
    #[inline]
    pub(crate) fn find_forced(&self, line: Line, record: &CaptureRecord<'_>) -> LineMatch {
        match self.sources.get(line.index()) {
            Some(Some(source)) if source != record.source.ip() => LineMatch::Other,
            _ => self.on_line(line, record.destination),
        }
    }

    fn on_line(&self, line: Line, destination: SocketAddrV4) -> LineMatch {
        let found = self.at(destination).iter().find(|group| group.line == line);
        found.map_or(LineMatch::Other, |group| LineMatch::Line(line, group.group))
    }

    /// All lines' groups at a destination.
    #[inline]
    fn at(&self, destination: SocketAddrV4) -> &[Group] {
        let from = self.groups.partition_point(|group| group.destination < destination);
        let rest = &self.groups[from..];
        &rest[..rest.iter().take_while(|group| group.destination == destination).count()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{ArbiterConfig, LineConfig};
    use twinline_core::Nanos;
    use twinline_core::framing::MoldUdp64;

    fn feed(lines: &[(&str, &[&str], Option<&str>)]) -> Feed {
        Feed {
            name: "test".into(),
            framing: MoldUdp64.into(),
            fixed: None,
            units: Vec::new(),
            lines: lines
                .iter()
                .map(|(name, groups, source)| LineConfig {
                    name: (*name).into(),
                    groups: groups.iter().map(|group| group.parse().unwrap()).collect(),
                    interface: "127.0.0.1".into(),
                    source: source.map(|source| source.parse().unwrap()),
                    wait: true,
                })
                .collect(),
            arbiter: ArbiterConfig::default(),
            receive: Default::default(),
        }
    }

    fn record<'a>(interface_name: Option<&'a str>, source: &str, destination: &str) -> CaptureRecord<'a> {
        CaptureRecord {
            stamp: Nanos::ZERO,
            interface: 0,
            interface_name,
            source: source.parse().unwrap(),
            destination: destination.parse().unwrap(),
            payload: &[],
        }
    }

    const A: Line = Line(0);
    const B: Line = Line(1);

    #[test]
    fn groups_tell_lines_and_places_apart() {
        let map = LineMap::new(&feed(&[
            ("A", &["239.1.1.1:1", "239.1.1.2:1"], None),
            ("B", &["239.1.2.1:1", "239.1.2.2:1"], Some("10.0.0.2")),
        ]));
        assert!(map.ambiguities().is_empty());
        for (name, source, destination, found) in [
            (None, "10.0.0.1:9", "239.1.1.1:1", LineMatch::Line(A, 0)),
            (None, "10.0.0.1:9", "239.1.1.2:1", LineMatch::Line(A, 1)),
            (Some("eth0"), "10.0.0.2:9", "239.1.2.2:1", LineMatch::Line(B, 1)),
            (None, "10.0.0.1:9", "239.1.2.2:1", LineMatch::Other),
            (None, "10.0.0.1:9", "239.1.1.1:2", LineMatch::Other),
            (None, "10.0.0.1:9", "239.1.1.3:1", LineMatch::Other),
            // an interface named like a line is that line, and only its list counts
            (Some("B"), "10.0.0.1:9", "239.1.2.1:1", LineMatch::Line(B, 0)),
            (Some("A"), "10.0.0.2:9", "239.1.2.1:1", LineMatch::Other),
        ] {
            assert_eq!(map.find(&record(name, source, destination)), found, "{name:?} {source} {destination}");
        }
        assert_eq!(map.find_forced(A, &record(None, "10.0.0.1:9", "239.1.1.2:1")), LineMatch::Line(A, 1));
        assert_eq!(map.find_forced(A, &record(Some("B"), "10.0.0.1:9", "239.1.1.2:1")), LineMatch::Line(A, 1));
        assert_eq!(map.find_forced(B, &record(None, "10.0.0.1:9", "239.1.1.2:1")), LineMatch::Other);
        assert_eq!(map.find_forced(B, &record(None, "10.0.0.1:9", "239.1.2.2:1")), LineMatch::Other);
        assert_eq!(map.find_forced(B, &record(None, "10.0.0.2:9", "239.1.2.2:1")), LineMatch::Line(B, 1));
    }

    #[test]
    fn senders_tell_lines_apart_that_share_a_group() {
        let map = LineMap::new(&feed(&[
            ("A", &["239.1.1.1:1"], Some("10.0.0.1")),
            ("B", &["239.1.1.1:1"], Some("10.0.0.2")),
        ]));
        assert!(map.ambiguities().is_empty());
        assert_eq!(map.find(&record(None, "10.0.0.1:9", "239.1.1.1:1")), LineMatch::Line(A, 0));
        assert_eq!(map.find(&record(None, "10.0.0.2:9", "239.1.1.1:1")), LineMatch::Line(B, 0));
        assert_eq!(map.find(&record(None, "10.0.0.3:9", "239.1.1.1:1")), LineMatch::Other);
    }

    #[test]
    fn lines_that_nothing_tells_apart_are_a_fact() {
        let map = LineMap::new(&feed(&[
            ("A", &["239.1.1.1:1", "239.1.1.2:1"], None),
            ("B", &["239.1.2.1:1", "239.1.1.2:1"], Some("10.0.0.2")),
        ]));
        let shared = Ambiguity { group: "239.1.1.2:1".parse().unwrap(), first: A, second: B };
        assert_eq!(map.ambiguities(), [shared]);
        assert_eq!(map.find(&record(None, "10.0.0.2:9", "239.1.1.2:1")), LineMatch::Ambiguous(shared));
        assert_eq!(map.find(&record(None, "10.0.0.3:9", "239.1.1.2:1")), LineMatch::Line(A, 1));
        assert_eq!(map.find(&record(Some("B"), "10.0.0.2:9", "239.1.1.2:1")), LineMatch::Line(B, 1));
        assert_eq!(map.find_forced(A, &record(None, "10.0.0.2:9", "239.1.1.2:1")), LineMatch::Line(A, 1));
    }
}
