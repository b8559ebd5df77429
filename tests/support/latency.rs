//! What `twinline latency --json` says.

use serde_json::Value;
use twinline_node::os::{ReceiveOptions, SendOptions, Sender};
use twinline_node::source::{Live, Source};

use super::program::Done;
use super::{feed, number, wait_for};

/// Has the kernel stamp what comes, for as long as this is kept: it begins a while after it was first asked to, and goes on while
/// any socket wants it.
pub fn stamping() -> Live {
    let to = feed::group();
    let options = ReceiveOptions::default().with_kernel_stamps(true);
    let (mut live, _watch) = Live::open(&feed::of(&[feed::line("A", "127.0.0.1", &[to])]), &options).unwrap();
    let mut sender = Sender::open(to, "127.0.0.1", SendOptions::default().with_ttl(0)).unwrap();
    wait_for("a stamp", || {
        let mut stamped = false;
        assert_eq!(sender.send(b"?").unwrap(), None);
        live.poll(&mut |d| stamped = d.kernel_stamp.is_some()).unwrap();
        stamped
    });
    live
}

/// The one report.
#[track_caller]
pub fn report(done: Done) -> Value {
    let mut reports = done.fine().json();
    assert_eq!(reports.len(), 1);
    reports.remove(0)
}

/// What must hold of every pass, however slow the machine is.
#[track_caller]
pub fn adds_up(pass: &Value) {
    let of = |pointer: &str| number(pass, pointer);
    assert_eq!(of("/sent"), of("/delivered") + of("/lost") + of("/overrun") + of("/unseen"), "{pass:#}");
    // the ends of the session say how far the numbers go, and a kernel without room drops them as it drops others
    let ends_dropped = pass["lines"].as_object().unwrap().values().all(|line| number(line, "/overflow") > 0);
    assert!(of("/unseen") == 0 || ends_dropped, "no number is without a fate: {pass:#}");
    assert!(of("/timed") <= of("/delivered"));
    assert_eq!(of("/total_ns/count"), of("/timed"));
    let causes = ["first", "waited", "recovered"].map(|cause| pass["causes_ns"][cause]["count"].as_u64().unwrap_or(0));
    assert_eq!(causes.iter().sum::<u64>(), of("/timed"));
    assert_eq!(causes[2], 0, "there is no recovery");
    let lines = pass["lines"].as_object().unwrap();
    let first: u64 = lines.values().map(|line| line["came_first_ns"]["count"].as_u64().unwrap_or(0)).sum();
    assert_eq!(first, of("/timed"));
    for stage in ["intended-to-send", "send-to-receive", "receive-to-read"] {
        assert_eq!(of(&format!("/stages_ns/{stage}/count")), of("/timed"), "{stage}");
    }
    for line in lines.values() {
        assert_eq!(number(line, "/datagrams_received") + number(line, "/overflow"), number(line, "/datagrams_sent"));
    }
    let total = &pass["total_ns"];
    let rising: Vec<u64> =
        ["min", "p50", "p90", "p99", "p99_9", "p99_99", "max"].iter().map(|p| total[p].as_u64().unwrap()).collect();
    assert!(rising.is_sorted(), "{total}");
}
