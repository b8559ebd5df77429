//! Any bytes as a capture file: read to the end, each record looked up in a feed's lines.

#![no_main]

use std::io::Cursor;

use libfuzzer_sys::fuzz_target;
use twinline::capture::{Captures, LineMap, Reader};
use twinline::config::{ArbiterConfig, Feed, LineConfig};

fuzz_target!(|bytes: &[u8]| {
    let feed = feed();
    let map = LineMap::new(&feed);
    if let Ok(mut reader) = Reader::from_read(Cursor::new(bytes.to_vec())) {
        while let Ok(Some(record)) = reader.next() {
            map.find(&record);
        }
        let counts = reader.counts();
        let sum = counts.datagrams + counts.not_udp + counts.truncated + counts.fragments + counts.malformed;
        assert_eq!(counts.records, sum);
    }
    // the same bytes as two files: whatever they are, stamps never go back
    let readers: Vec<_> = [None, Some("A".into())]
        .into_iter()
        .filter_map(|line| Some((line, Reader::from_read(Cursor::new(bytes.to_vec())).ok()?)))
        .collect();
    let mut captures = Captures::from_readers(readers, &feed).expect("the feed has a line A");
    let mut last = None;
    while let Ok(Some(item)) = captures.next() {
        assert!(last <= Some(item.stamp));
        last = Some(item.stamp);
    }
});

fn feed() -> Feed {
    let line = |name: &str, groups: [&str; 2]| LineConfig {
        name: name.into(),
        groups: groups.map(|group| group.parse().expect("a group")).into(),
        interface: "127.0.0.1".into(),
        source: None,
        wait: true,
    };
    Feed {
        name: "fuzz".into(),
        framing: "moldudp64".into(),
        fixed: None,
        units: Vec::new(),
        lines: vec![
            line("A", ["224.0.31.64:14340", "239.1.1.1:26400"]),
            line("B", ["224.0.32.64:15340", "239.1.2.1:26400"]),
        ],
        arbiter: ArbiterConfig::default(),
        receive: Default::default(),
    }
}
