//! LSE MITCH (Millennium): Cboe's unit header with other rules. Message-sequenced, little-endian, without sessions.
//!
//! ```text
//!  0        2       3       4          8
//!  +--------+-------+-------+----------+--------------------- - -
//!  | length | count | group | sequence | u8 length | type | ...     count times
//!  +--------+-------+-------+----------+--------------------- - -
//! ```
//!
//! * The length in the header counts the header and all messages. A message begins with its own length, in one byte that
//!   counts itself, so it is part of the message. (The Group Ticker Plant's messages have a 16-bit length after the same
//!   header; they are not read here.)
//! * The number is the first message's. The market data **group**, a character, is the channel's key, as a number: `A` is 65.
//! * Number 0 is outside of the sequence: recovery and administration.
//! * A count of 0 is a heartbeat with the next expected number; it consumes none. The interval is not documented: 1 s is
//!   assumed, which decides when a line counts as silent.
//! * After a failover or a restart, numbers begin at 1 again without a mark: an unmarked restart is allowed. A heartbeat with
//!   number 1 after higher numbers is a restart too, once the next frame confirms it. After 4,294,967,295 comes 1.
//! * No end of session.
//!
//! Source: London Stock Exchange MIT303 Level 2-MITCH 11.9. No captured packets were at hand.

use super::{Framing, Malformed, Proof, unit_header};
use crate::frame::{Frame, Packing, SequenceRules, Session};
use crate::seq::{SeqNo, Width};
use crate::time::Nanos;

/// The LSE MITCH framing. The head of this file shows its header and rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LseMitch {
    /// The market data group that a publisher writes; a reader takes every group.
    pub group: u8,
}

impl Default for LseMitch {
    fn default() -> LseMitch {
        LseMitch { group: b'A' }
    }
}

impl Framing for LseMitch {
    const NAME: &'static str = "lse-mitch";
    const PROOF: Proof = Proof::Document;

    #[inline]
    fn rules(self) -> SequenceRules {
        SequenceRules {
            width: Width::U32SkipZero,
            initial: SeqNo(1),
            unmarked_restart: true,
            keyed: true,
            heartbeat_interval: Nanos::from_secs(1),
        }
    }

    fn packet_sequenced(self) -> bool {
        false
    }

    #[inline]
    fn packing(self) -> Packing {
        unit_header::PACKING
    }

    fn with_key(self, key: u32) -> LseMitch {
        LseMitch { group: key as u8 }
    }

    #[inline]
    fn frame<'a>(self, datagram: &'a [u8], at: &mut usize) -> Option<Result<Frame<'a>, Malformed>> {
        unit_header::frame(datagram, at)
    }

    fn encode(self, _: Session, sequence: u64, messages: &[&[u8]], max_len: usize, out: &mut Vec<u8>) -> usize {
        unit_header::encode(self.group, sequence, messages, max_len, out)
    }

    fn encode_heartbeat(self, _: Session, next: u64, out: &mut Vec<u8>) -> u32 {
        unit_header::encode(self.group, next, &[], 0, out) as u32
    }

    fn encode_end(self, _: Session, _: u64, _: &mut Vec<u8>) -> bool {
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::{FrameKind, Reset};

    fn parse(datagram: &[u8]) -> Result<Frame<'_>, Malformed> {
        LseMitch::default().frame(datagram, &mut 0).expect("a datagram holds a frame or an error")
    }

    const TWO: &[u8] = b"\x11\0\x02D\x07\0\0\0\x03\x54a\x06\x41bcde";

    #[test]
    fn a_datagram_by_hand_is_read_and_written() {
        let frame = parse(TWO).unwrap();
        assert_eq!((frame.kind, frame.sequence, frame.count), (FrameKind::Data, 7, 2));
        assert_eq!((frame.key, frame.reset, frame.heartbeat), (Some(68), None, false));
        let messages: Vec<_> = frame.packing.messages(frame.body).collect();
        assert_eq!(messages, [b"\x03\x54a".as_slice(), b"\x06\x41bcde"]);
        let mut out = Vec::new();
        assert_eq!(LseMitch::default().with_key(68).encode(Session::NONE, 7, &messages, 1_400, &mut out), 2);
        assert_eq!(out, TWO);
    }

    #[test]
    fn a_heartbeat_says_the_next_number_and_at_one_may_be_a_restart() {
        let mut out = Vec::new();
        assert_eq!(LseMitch::default().encode_heartbeat(Session::NONE, 9, &mut out), 0);
        let frame = parse(&out).unwrap();
        assert_eq!((frame.kind, frame.sequence, frame.heartbeat, frame.reset), (FrameKind::Heartbeat, 9, true, None));
        assert_eq!(parse(b"\x08\0\0A\x01\0\0\0").unwrap().reset, Some(Reset::Heartbeat(1)));
    }

    #[test]
    fn recovery_and_administration_carry_no_number() {
        assert_eq!(parse(b"\x0a\0\x01A\0\0\0\0\x02R").unwrap().kind, FrameKind::Unsequenced);
        // Cboe's End of Session means nothing here
        assert_eq!(parse(b"\x0e\0\x01A\x05\0\0\0\x06\x2dtime").unwrap().kind, FrameKind::Data);
    }

    #[test]
    fn every_cut_is_refused_under_its_reason() {
        for cut in 0..TWO.len() {
            let reason = if cut < 8 { Malformed::Header } else { Malformed::Length };
            assert_eq!(parse(&TWO[..cut]).unwrap_err(), reason, "cut at {cut}");
        }
        assert_eq!(parse(b"\x0b\0\x02A\x05\0\0\0\x03\x54a").unwrap_err(), Malformed::Overrun);
    }
}
