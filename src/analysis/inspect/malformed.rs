//! The first datagrams of each flow that its framing refuses, byte by byte.

use std::collections::HashMap;
use std::fmt::Write as _;

use super::{FLOWS_MAX, FlowKey, refusal};
use crate::report::utc::instant;
use twinline_core::Nanos;
use twinline_core::framing::{AnyFraming, Malformed};

/// How many bytes of a datagram are shown.
const SHOWN_MAX: usize = 2_048;
/// How many datagrams are shown in all.
const DATAGRAMS_MAX: usize = 10_000;

/// A datagram that was refused.
pub(super) struct Refused {
    pub(super) key: FlowKey,
    pub(super) stamp: Nanos,
    /// Which of the flow's datagrams it is, from 1.
    pub(super) datagram: u64,
    pub(super) framing: &'static str,
    pub(super) reason: Malformed,
    /// Where the frame begins that was refused.
    pub(super) frame_at: usize,
    /// How long the datagram is.
    pub(super) len: usize,
    pub(super) bytes: Vec<u8>,
}

/// Collects them.
pub(super) struct Refusals {
    most: u64,
    /// The framing of each flow; `None`: the same for all.
    by_flow: Option<HashMap<FlowKey, AnyFraming>>,
    for_all: Option<AnyFraming>,
    seen: HashMap<FlowKey, (u64, u64)>,
    pub(super) list: Vec<Refused>,
}

impl Refusals {
    /// The first `most` of each flow, by one framing for all.
    pub(super) fn by(framing: AnyFraming, most: u64) -> Refusals {
        Refusals { most, by_flow: None, for_all: Some(framing), seen: HashMap::new(), list: Vec::new() }
    }

    /// Keeps the first `most` datagrams of each flow in `framings`, by its framing.
    pub(super) fn by_flow(framings: HashMap<FlowKey, AnyFraming>, most: u64) -> Refusals {
        Refusals { most, by_flow: Some(framings), for_all: None, seen: HashMap::new(), list: Vec::new() }
    }

    pub(super) fn on_datagram(&mut self, stamp: Nanos, key: FlowKey, payload: &[u8]) {
        let framing = match &self.by_flow {
            Some(framings) => framings.get(&key).copied(),
            None => self.for_all,
        };
        let Some(framing) = framing.filter(|_| self.list.len() < DATAGRAMS_MAX) else { return };
        if self.seen.len() >= FLOWS_MAX && !self.seen.contains_key(&key) {
            return;
        }
        let (datagrams, refused) = self.seen.entry(key).or_default();
        *datagrams += 1;
        if *refused == self.most {
            return;
        }
        let Some((reason, frame_at)) = refusal(framing, payload) else { return };
        *refused += 1;
        self.list.push(Refused {
            key,
            stamp,
            datagram: *datagrams,
            framing: framing.name(),
            reason,
            frame_at,
            len: payload.len(),
            bytes: payload[..payload.len().min(SHOWN_MAX)].to_vec(),
        });
    }

    /// For people.
    pub(super) fn text(&self) -> String {
        let mut out = String::new();
        if self.list.is_empty() {
            out.push_str("\nmalformed: no datagram is refused by the framing of its flow\n");
        }
        for refused in &self.list {
            let Refused { key, stamp, datagram, framing, reason, frame_at, len, .. } = refused;
            let _ = writeln!(
                out,
                "\nmalformed: {} from {}, its datagram {datagram}, {}\n  {framing} refuses it for {reason}, in the frame at \
                 byte {frame_at} of {len}",
                key.destination,
                key.source,
                instant(*stamp),
            );
            out.push_str(&hex(&refused.bytes));
            if refused.bytes.len() < *len {
                let _ = writeln!(out, "  ... and {} bytes more", len - refused.bytes.len());
            }
        }
        out
    }
}

/// Bytes as rows of 16: offset, hexadecimal, ASCII.
pub(super) fn hex(bytes: &[u8]) -> String {
    let mut out = String::new();
    for (row, bytes) in bytes.chunks(16).enumerate() {
        let mut digits = String::new();
        for (at, byte) in bytes.iter().enumerate() {
            let _ = write!(digits, "{}{byte:02x}", if at == 8 { "  " } else { " " });
        }
        let ascii: String =
            bytes.iter().map(|&b| if (0x20..0x7f).contains(&b) { char::from(b) } else { '.' }).collect();
        let _ = writeln!(out, "  {:04x} {digits:<49}  |{ascii}|", row * 16);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_stand_sixteen_in_a_row() {
        let bytes: Vec<u8> = (0x3e..0x50).chain([0, 0xff]).collect();
        assert_eq!(
            hex(&bytes),
            "  0000  3e 3f 40 41 42 43 44 45  46 47 48 49 4a 4b 4c 4d  |>?@ABCDEFGHIJKLM|\n  \
             0010  4e 4f 00 ff                                       |NO..|\n"
        );
    }
}
