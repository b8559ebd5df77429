//! Captures in the making.

use std::fs;
use std::path::PathBuf;

use etherparse::PacketBuilder;

use crate::support::inspect::scratch;

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
