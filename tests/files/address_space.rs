//! The program as a child that may not have much: a feed with as many channels as there can be starts small and stays within
//! bounds, and memory that cannot be locked is said.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use twinline_core::Nanos;
use twinline_core::frame::{Line, Session};
use twinline_core::framing::{CboePitch, Framing};
use twinline_node::capture::CaptureWriter;
use twinline_node::config::Feed;

const FEED: &str = r#"
    name = "units"
    framing = "cboe-pitch"

    [[line]]
    name = "A"
    groups = ["239.81.1.1:26481"]
    interface = "127.0.0.1"

    [[line]]
    name = "B"
    groups = ["239.81.2.1:26481"]
    interface = "127.0.0.1"
"#;

/// A directory of the test's own, with the feed file in it.
fn directory(name: &str) -> PathBuf {
    let dir = std::env::temp_dir().join(format!("twinline-{name}-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    std::fs::write(dir.join("units.toml"), FEED).unwrap();
    dir
}

/// Runs the program after `limit`, a command of the shell.
fn limited(dir: &Path, limit: &str, args: &[&str]) -> Output {
    let script = format!("{limit}; exec \"$0\" \"$@\"");
    let program = env!("CARGO_BIN_EXE_twinline");
    Command::new("sh").args(["-c", &script, program]).args(args).current_dir(dir).output().unwrap()
}

/// Both lines' datagrams of every unit: each begins a channel, opens a gap and holds what is behind it, and a session that is none.
fn capture(path: &Path) {
    let feed = Feed::parse(FEED).unwrap();
    let mut writer = CaptureWriter::create(path, &feed).unwrap();
    let mut payload = Vec::new();
    let mut at = 0;
    for (line, first) in [(0, 1), (1, 1), (0, 5), (1, 7), (0, 900_000), (0, 9)] {
        for unit in 0..=255 {
            at += 1_000;
            CboePitch { unit }.encode(Session::NONE, first, &[b"\x04\x20ab"], 1_400, &mut payload);
            let (source, group) = ("10.0.0.1:5000".parse().unwrap(), feed.lines[usize::from(line)].groups[0]);
            writer.write(Nanos(1_000_000_000 + at), Line(line), source, group, &payload).unwrap();
        }
    }
    writer.finish(Nanos(1_000_000_000 + at), &[0; 2]).unwrap();
}

#[test]
fn as_many_channels_as_there_can_be_fit_into_a_gigabyte_of_address_space() {
    let dir = directory("address-space");
    capture(&dir.join("units.pcapng"));
    // in KiB: what every channel had to itself took 190 MB of it
    let done = limited(&dir, "ulimit -v 1000000 || exit 9", &["arbitrate", "units.toml", "units.pcapng", "--json"]);
    let said = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{said}");
    let report: serde_json::Value = serde_json::from_slice(&done.stdout).unwrap();
    let channels = report["channels"].as_array().unwrap();
    assert_eq!(channels.len(), 256);
    for channel in channels {
        // the lone far frame is implausible, all else is released or lost
        assert_eq!((&channel["delivered"], &channel["lost"]), (&4.into(), &5.into()), "{channel}");
    }
    std::fs::remove_dir_all(dir).unwrap();
}

#[test]
fn memory_that_cannot_be_locked_is_said_with_what_is_needed() {
    let dir = directory("locked");
    let framing = "framing = \"cboe-pitch\"";
    let feed = FEED.replace(framing, &format!("{framing}\nunits = [1]")) + "\n[receive]\nlock_memory = true\n";
    std::fs::write(dir.join("units.toml"), feed).unwrap();
    let checked = limited(&dir, "true", &["check", "units.toml"]);
    assert!(String::from_utf8_lossy(&checked.stdout).contains("locked at the start"), "{checked:?}");
    // a privileged process is not bound by the limit: it gives that privilege up first, where it can
    let bound = "ulimit -l 64; drop='setpriv --bounding-set=-ipc_lock --inh-caps=-ipc_lock'; \
                 if $drop true 2>/dev/null; then exec $drop \"$0\" \"$@\"; fi";
    let done = limited(&dir, bound, &["run", "units.toml", "--seconds", "0.1"]);
    let said = String::from_utf8_lossy(&done.stderr);
    if done.status.success() {
        println!("this process may lock what it wants, and there is no setpriv: the refusal is not tried");
    } else {
        assert_eq!(done.status.code(), Some(1), "{said}");
        assert!(said.contains("RLIMIT_MEMLOCK") && said.contains("ulimit -l"), "{said}");
    }
    std::fs::remove_dir_all(dir).unwrap();
}
