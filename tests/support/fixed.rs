//! Framings that a feed file describes, beside our own of the same venue.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use twinline_core::framing::AnyFraming;

use super::scratch::Scratch;
use super::{feed, root};

/// The feed file under `feeds/` that describes what a framing of ours reads.
pub const EXAMPLES: [(&str, &str); 3] =
    [("fixed-moldudp64", "moldudp64"), ("fixed-iex", "iex-tp"), ("fixed-nyse", "nyse-pillar")];

/// The unit header of Cboe, as a user would describe it.
pub const CBOE: &str = r#"
[fixed]
unit = "message"
header = 8
endian = "little"
sequence = "u32 at 4"
count = "u8 at 2"
channel = "u8 at 3"
length = "u16 at 0"
length_counts = "datagram"
message_length = "u8 at 0"
message_length_adds = 0
heartbeat = "count = 0"
heartbeat_carries = "next"
heartbeat_resets = true
unsequenced = "sequence = 0"
"#;

/// CME's packet header: a heartbeat is known by the template of its first message, and consumes a number.
pub const CME: &str = r#"
[fixed]
unit = "packet"
header = 12
endian = "little"
sequence = "u32 at 0"
heartbeat = "u16 at 16 = 12"
heartbeat_consumes = true
heartbeat_interval = "30s"
unmarked_restart = true
"#;

/// The table `[fixed]` of a feed file under `feeds/`.
pub fn example(name: &str) -> String {
    let text = fs::read_to_string(root().join("feeds").join(name).with_extension("toml")).unwrap();
    let (_, table) = text.split_once("[fixed]").unwrap();
    format!("[fixed]{table}")
}

/// Two feed files with these lines: of a framing of ours, and of one that `table` describes.
pub fn both(framing: &str, table: &str, lines: &[&str]) -> [String; 2] {
    let lines: Vec<(&str, &[&str])> = ["A", "B"].into_iter().zip(lines.chunks(1)).collect();
    let head = |framing: &str| feed::text("x", framing, &lines);
    [head(framing), format!("{}{table}", head("fixed"))]
}

/// Our framing, and the one that `table` describes.
pub fn pair(framing: &str, table: &str) -> [AnyFraming; 2] {
    both(framing, table, &["239.1.1.1:1"]).map(|text| feed::parse(&text).framing)
}

/// What `twinline arbitrate` makes of a capture: report, events, messages.
pub fn arbitrate(scratch: &Scratch, feed: &str, capture: &Path) -> (String, String, Vec<u8>) {
    let (file, events, messages) = (scratch.write("feed.toml", feed), scratch.file("events"), scratch.file("messages"));
    let before: Vec<PathBuf> = fs::read_dir(scratch.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
    let output = Command::new(env!("CARGO_BIN_EXE_twinline"))
        .args(["arbitrate", "--json", "--events"])
        .args([&events, &PathBuf::from("--messages"), &messages, &file, &capture.to_owned()])
        .output()
        .unwrap();
    assert!(output.status.success(), "{feed}\n{}", String::from_utf8_lossy(&output.stderr));
    // where a feed can have several channels, each has a file of its own
    let mut made: Vec<PathBuf> = fs::read_dir(scratch.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
    made.retain(|path| !before.contains(path) && *path != events);
    made.sort();
    let mut all = Vec::new();
    for path in &made {
        all.extend(path.to_string_lossy().bytes());
        all.extend(fs::read(path).unwrap());
        fs::remove_file(path).unwrap();
    }
    let report = (String::from_utf8(output.stdout).unwrap(), fs::read_to_string(&events).unwrap(), all);
    fs::remove_file(&events).unwrap();
    report
}

/// That the framing that `table` describes makes the same of a capture as ours of this name; gives what that is.
pub fn same(name: &str, table: &str, scratch: &Scratch, lines: &[&str], capture: &Path) -> (String, String, Vec<u8>) {
    let [ours, described] = both(name, table, lines);
    let ours = arbitrate(scratch, &ours, capture);
    let described = arbitrate(scratch, &described, capture);
    let (from, to) = (r#""framing":"fixed""#, format!(r#""framing":"{name}""#));
    assert!(described.0.contains(from), "{}", described.0);
    assert_eq!(described.0.replace(from, &to), ours.0, "{name}: {}", capture.display());
    assert_eq!(described.1, ours.1, "{name}: {}", capture.display());
    assert!(described.2 == ours.2, "{name}: the messages of {}", capture.display());
    ours
}
