//! Framings that a feed file describes, against our own of the same venue: the same frames, the same bytes written, and of
//! whole streams the same messages, events and report.

mod fixed {
    mod frames;
    mod streams;
}

use std::fs;
use std::path::{Path, PathBuf};

use twinline::config::Feed;
use twinline::framing::AnyFraming;

/// The feed file under `feeds/` that describes what a framing of ours reads.
const EXAMPLES: [(&str, &str); 3] =
    [("fixed-moldudp64", "moldudp64"), ("fixed-iex", "iex-tp"), ("fixed-nyse", "nyse-pillar")];

/// The unit header of Cboe, as a user would describe it.
const CBOE: &str = r#"
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
const CME: &str = r#"
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

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The table `[fixed]` of a feed file under `feeds/`.
fn example(name: &str) -> String {
    let text = fs::read_to_string(root().join("feeds").join(name).with_extension("toml")).unwrap();
    let (_, table) = text.split_once("[fixed]").unwrap();
    format!("[fixed]{table}")
}

/// Two feed files with these lines: of a framing of ours, and of one that `table` describes.
fn both(framing: &str, table: &str, lines: &[&str]) -> [String; 2] {
    let line = |(at, group): (usize, &&str)| {
        format!("[[line]]\nname = \"{}\"\ngroups = [\"{group}\"]\ninterface = \"lo\"\n", ["A", "B"][at])
    };
    let lines: String = lines.iter().enumerate().map(line).collect();
    let head = |framing: &str| format!("name = \"x\"\nframing = \"{framing}\"\n{lines}");
    [head(framing), format!("{}{table}", head("fixed"))]
}

/// Our framing, and the one that `table` describes.
fn pair(framing: &str, table: &str) -> [AnyFraming; 2] {
    both(framing, table, &["239.1.1.1:1"]).map(|text| {
        let feed = Feed::parse(&text).unwrap_or_else(|error| panic!("{error}"));
        feed.framing
    })
}

/// A folder of a test's own, gone with it.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Scratch {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("fixed-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Scratch(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
