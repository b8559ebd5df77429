//! Framings that a feed file describes, against our own, over real captures.

use crate::support::fixed::{CBOE, CME, EXAMPLES, example, same};
use crate::support::scratch::Scratch;
use crate::support::trials::{Test, captured, tests};

pub const TESTS: &[Test] = tests![captured_streams_come_out_the_same];

fn captured_streams_come_out_the_same() {
    let scratch = Scratch::new("fixed-captured");
    let of = |name: &str| EXAMPLES.iter().find(|(_, ours)| *ours == name).map(|(file, _)| example(file)).unwrap();
    for (name, table, lines, file) in [
        ("iex-tp", of("iex-tp"), vec!["224.67.0.199:16642"], "iex/tops-1.6.pcapng.gz"),
        ("nyse-pillar", of("nyse-pillar"), vec!["233.125.89.36:11106"], "nyse/xdp-imbalances.pcap"),
        ("cboe-pitch", CBOE.to_owned(), vec!["239.39.62.190:32001", "239.39.62.191:32001"], "cboe/pitch-realtime.pcap"),
        ("cme-mdp3", CME.to_owned(), vec!["224.0.31.64:14340", "224.0.32.64:15340"], "cme/mdp3-incremental-ab.pcapng"),
    ] {
        let (report, _, messages) = same(name, &table, &scratch, &lines, &captured(file));
        assert!(
            report.contains(r#""delivered":"#) && messages.len() > 500,
            "{name}: {} bytes, {report}",
            messages.len()
        );
    }
}
