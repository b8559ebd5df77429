//! Captures in the making, and the program run over them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use etherparse::PacketBuilder;
use serde_json::Value;

/// A second of the captures' time: 2025-11-14, 14:30 UTC.
pub const START_NS: u64 = 1_763_130_600_000_000_000;

/// A classic capture with stamps of a nanosecond, Ethernet.
pub struct Capture(Vec<u8>);

impl Capture {
    pub fn new() -> Capture {
        let mut out = Vec::new();
        for word in [0xa1b2_3c4d_u32, 2 | 4 << 16, 0, 0, 65_535, 1] {
            out.extend(word.to_le_bytes());
        }
        Capture(out)
    }

    /// An Ethernet frame, `at` nanoseconds behind the start.
    pub fn frame(&mut self, at: u64, frame: &[u8]) {
        let ns = START_NS + at;
        for word in [ns / 1_000_000_000, ns % 1_000_000_000, frame.len() as u64, frame.len() as u64] {
            self.0.extend((word as u32).to_le_bytes());
        }
        self.0.extend(frame);
    }

    /// A datagram from a sender to a group.
    pub fn datagram(&mut self, at: u64, from: [u8; 4], group: ([u8; 4], u16), payload: &[u8]) {
        let mut frame = Vec::new();
        let builder = PacketBuilder::ethernet2([2, 0, 0, 0, 0, 1], [1, 0, 0x5e, 1, 1, 1]).ipv4(from, group.0, 16);
        builder.udp(5_000, group.1).write(&mut frame, payload).unwrap();
        self.frame(at, &frame);
    }

    pub fn tcp(&mut self, at: u64) {
        let mut frame = Vec::new();
        let builder =
            PacketBuilder::ethernet2([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2]).ipv4([10, 0, 0, 1], [10, 0, 0, 2], 16);
        builder.tcp(1_000, 2_000, 7, 1_000).write(&mut frame, b"login").unwrap();
        self.frame(at, &frame);
    }

    /// Stores it under a test's name.
    pub fn store(&self, name: &str) -> PathBuf {
        let path = scratch(name);
        fs::write(&path, &self.0).unwrap();
        path
    }
}

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
    let output = Command::new(env!("CARGO_BIN_EXE_twinline"))
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .args(args)
        .output()
        .unwrap();
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
