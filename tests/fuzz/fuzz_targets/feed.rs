//! Any text is a feed or is refused in a line that says where; a feed that comes out keeps what the parser promises.

#![no_main]

use libfuzzer_sys::fuzz_target;
use twinline_core::framing::AnyFraming;
use twinline_node::config::{Feed, GROUPS_MAX, LINES_MAX};

fuzz_target!(|text: &str| match Feed::parse(text) {
    Err(error) => assert!(error.to_string().starts_with("line "), "{error}"),
    Ok(feed) => {
        let framing = feed.framing;
        assert!(AnyFraming::from_name(framing.name()).is_some() || feed.fixed.is_some());
        assert!(feed.units.is_empty() || framing.rules().keyed);
        assert!((1..=LINES_MAX).contains(&feed.lines.len()));
        assert!(feed.lines.iter().any(|line| line.wait));
        for line in &feed.lines {
            assert_eq!(line.groups.len(), feed.lines[0].groups.len());
            assert!((1..=GROUPS_MAX).contains(&line.groups.len()));
            assert!(line.groups.iter().all(|group| group.port() != 0));
        }
    }
});
