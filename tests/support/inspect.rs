//! `twinline inspect` over a capture, and `arbitrate` by the feed file that it writes.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use super::root;

/// A file of its own for a test.
pub fn scratch(name: &str) -> PathBuf {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("inspect");
    fs::create_dir_all(&dir).unwrap();
    dir.join(name)
}

pub struct Ran {
    pub code: i32,
    pub out: String,
    pub err: String,
}

/// Runs the program in the project's folder.
pub fn twinline(args: &[&str]) -> Ran {
    let output = Command::new(env!("CARGO_BIN_EXE_twinline")).current_dir(root()).args(args).output().unwrap();
    Ran {
        code: output.status.code().unwrap_or(-1),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

/// What `inspect --json` says.
pub fn inspected(args: &[&str]) -> Value {
    let ran = twinline(&[&["inspect", "--json"], args].concat());
    assert_eq!(ran.code, 0, "{}", ran.err);
    serde_json::from_str(&ran.out).unwrap()
}

/// The values of `keys` in `of`, side by side.
pub fn values(of: &Value, keys: &[&str]) -> String {
    let all: Vec<String> =
        keys.iter().map(|key| of.pointer(&format!("/{key}")).unwrap_or(&Value::Null).to_string()).collect();
    all.join(" ")
}

/// What `arbitrate` says of the capture by the feed file: delivered and lost, by channel.
pub fn arbitrated(feed: &Path, capture: &Path) -> Vec<(u64, u64)> {
    let (feed, capture) = (feed.to_str().unwrap(), capture.to_str().unwrap());
    let checked = twinline(&["check", feed]);
    assert_eq!(checked.code, 0, "{}", checked.err);
    let ran = twinline(&["arbitrate", feed, capture, "--json"]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    let report: Value = serde_json::from_str(&ran.out).unwrap();
    let channels = report["channels"].as_array().unwrap();
    channels.iter().map(|c| (c["delivered"].as_u64().unwrap(), c["lost"].as_u64().unwrap())).collect()
}

/// `inspect --feed` into a new file of this name.
pub fn with_feed(capture: &Path, name: &str) -> PathBuf {
    let feed = scratch(name);
    let _ = fs::remove_file(&feed);
    let ran = twinline(&["inspect", capture.to_str().unwrap(), "--feed", feed.to_str().unwrap()]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    feed
}
