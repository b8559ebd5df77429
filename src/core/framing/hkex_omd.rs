//! HKEX OMD-C and OMD-D: message-sequenced, little-endian, without sessions.
//!
//! ```text
//!  0        2       3   4          8           16
//!  +--------+-------+---+----------+-----------+---------------------- - -
//!  | length | count |   | sequence | send time | u16 length | u16 type | ...     count times
//!  +--------+-------+---+----------+-----------+---------------------- - -
//! ```
//!
//! * The length in the header counts the header and all messages. A message begins with its own length, in two bytes that
//!   count themselves, so it is part of the message. Lines may pack messages differently; the document says that they do.
//! * The number is the first message's; numbers begin at 1, and zero is malformed. After 4,294,967,295 comes 1. No header names
//!   the channel: a channel is a group.
//! * A count of 0 is a heartbeat with the **last** number sent, 0 before the first; it consumes none. One per 2 s. A heartbeat
//!   with 0 after higher numbers is a restart, once the next frame confirms it.
//! * A reset is message 100 as the first of a packet: it states the next number (1). The packet's own number must be ignored, so
//!   the packet is outside of the sequence; it may come several times. No unmarked restart.
//! * No end of session.
//!
//! Source: HKEX OMD-C binary interface specification 1.45. No captured packets were at hand.

use super::{Framing, Malformed, Proof, append, next_after};
use crate::frame::{Frame, FrameKind, Packing, Reset, SequenceRules, Session};
use crate::seq::{SeqNo, Width};
use crate::time::Nanos;

const HEADER: usize = 16;
const TYPE_SEQUENCE_RESET: u16 = 100;

/// The HKEX OMD framing. The head of this file shows its header and rules.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HkexOmd;

/// Whether the first message is a sequence reset.
#[inline]
fn is_reset(rest: &[u8]) -> bool {
    rest.get(2..4) == Some(TYPE_SEQUENCE_RESET.to_le_bytes().as_slice())
}

/// The next number that a sequence reset states.
#[cold]
fn new_number(body: &[u8]) -> Result<u64, Malformed> {
    let message = Packing::OWN_LE16.messages(body).next().unwrap_or_default();
    let Some(field) = message.get(4..8).and_then(|field| field.first_chunk()) else {
        return Err(Malformed::Overrun);
    };
    match u32::from_le_bytes(*field) {
        0 => Err(Malformed::Sequence),
        next => Ok(u64::from(next)),
    }
}

impl Framing for HkexOmd {
    const NAME: &'static str = "hkex-omd";
    const PROOF: Proof = Proof::Document;

    #[inline]
    fn rules(self) -> SequenceRules {
        SequenceRules {
            width: Width::U32SkipZero,
            initial: SeqNo(1),
            unmarked_restart: false,
            keyed: false,
            heartbeat_interval: Nanos::from_secs(2),
        }
    }

    fn packet_sequenced(self) -> bool {
        false
    }

    #[inline]
    fn packing(self) -> Packing {
        Packing::OWN_LE16
    }

    #[inline]
    fn frame<'a>(self, datagram: &'a [u8], at: &mut usize) -> Option<Result<Frame<'a>, Malformed>> {
        if *at > 0 {
            return None; // one frame a datagram
        }
        *at = datagram.len().max(1);
        let Some(head) = datagram.first_chunk::<HEADER>() else {
            return Some(Err(Malformed::Header));
        };
        let len = usize::from(u16::from_le_bytes([head[0], head[1]]));
        let count = u32::from(head[2]);
        let number = u32::from_le_bytes([head[4], head[5], head[6], head[7]]);
        let Some(rest) = datagram.get(HEADER..len) else {
            return Some(Err(Malformed::Length));
        };
        let Some(body) = Packing::OWN_LE16.blocks_len(rest, count) else {
            return Some(Err(Malformed::Overrun));
        };
        let body = &rest[..body];
        let (kind, sequence, reset) = if count == 0 {
            (FrameKind::Heartbeat, next_after(number), (number == 0).then_some(Reset::Heartbeat(1)))
        } else if is_reset(body) {
            match new_number(body) {
                Ok(next) => (FrameKind::Unsequenced, u64::from(number), Some(Reset::Marked(next))),
                Err(reason) => return Some(Err(reason)),
            }
        } else if number == 0 {
            return Some(Err(Malformed::Sequence));
        } else {
            (FrameKind::Data, u64::from(number), None)
        };
        Some(Ok(Frame {
            key: None,
            session: Session::NONE,
            kind,
            sequence,
            count,
            heartbeat: kind == FrameKind::Heartbeat,
            reset,
            packing: Packing::OWN_LE16,
            body,
            bytes: &datagram[..len],
        }))
    }

    fn encode(self, _: Session, sequence: u64, messages: &[&[u8]], max_len: usize, out: &mut Vec<u8>) -> usize {
        out.clear();
        out.extend_from_slice(&[0; 4]);
        out.extend_from_slice(&(Width::U32SkipZero.wire(SeqNo(sequence)) as u32).to_le_bytes());
        out.extend_from_slice(&[0; 8]);
        let count = append(Packing::OWN_LE16, messages, usize::from(u8::MAX), max_len, out);
        let Ok(len) = u16::try_from(out.len()) else { return 0 };
        out[..2].copy_from_slice(&len.to_le_bytes());
        out[2] = count as u8;
        count
    }

    fn encode_heartbeat(self, session: Session, next: u64, out: &mut Vec<u8>) -> u32 {
        self.encode(session, next.saturating_sub(1), &[], 0, out) as u32
    }

    fn encode_end(self, _: Session, _: u64, _: &mut Vec<u8>) -> bool {
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(datagram: &[u8]) -> Result<Frame<'_>, Malformed> {
        let mut at = 0;
        let frame = HkexOmd.frame(datagram, &mut at).expect("a datagram holds a frame or an error");
        assert!(HkexOmd.frame(datagram, &mut at).is_none(), "one frame a datagram");
        frame
    }

    /// Numbers 7 and 8: a message of type 30, one of type 33.
    const TWO: &[u8] = b"\x1d\0\x02\0\x07\0\0\0\0\0\0\0\0\0\0\0\x06\0\x1e\0ab\x07\0\x21\0cde";
    const RESET: &[u8] = b"\x18\0\x01\0\x63\0\0\0\0\0\0\0\0\0\0\0\x08\0\x64\0\x01\0\0\0";

    #[test]
    fn a_datagram_by_hand_is_read_and_written() {
        let frame = parse(TWO).unwrap();
        assert_eq!((frame.kind, frame.sequence, frame.count, frame.reset), (FrameKind::Data, 7, 2, None));
        let messages: Vec<_> = frame.packing.messages(frame.body).collect();
        assert_eq!(messages, [b"\x06\0\x1e\0ab".as_slice(), b"\x07\0\x21\0cde"]);
        let mut out = Vec::new();
        assert_eq!(HkexOmd.encode(Session::NONE, 7, &messages, 1_400, &mut out), 2);
        assert_eq!(out, TWO);
        assert_eq!(HkexOmd.encode(Session::NONE, 7, &[b"\x03\0\x1e\0"], 1_400, &mut out), 0);
    }

    #[test]
    fn a_heartbeat_carries_the_last_number_and_means_the_next() {
        let mut out = Vec::new();
        for (next, wire, reset) in [
            (9, 8, None),
            (1, 0, Some(Reset::Heartbeat(1))),
            (u64::from(u32::MAX), u32::MAX - 1, None),
            (u64::from(u32::MAX) + 1, u32::MAX, None),
        ] {
            assert_eq!(HkexOmd.encode_heartbeat(Session::NONE, next, &mut out), 0);
            assert_eq!(out[4..8], wire.to_le_bytes(), "next {next}");
            let frame = parse(&out).unwrap();
            assert_eq!((frame.kind, frame.count, frame.heartbeat), (FrameKind::Heartbeat, 0, true));
            assert_eq!(frame.sequence, Width::U32SkipZero.wire(SeqNo(next)));
            assert_eq!(frame.reset, reset, "next {next}");
        }
    }

    #[test]
    fn a_sequence_reset_names_the_next_number_and_its_own_is_ignored() {
        let frame = parse(RESET).unwrap();
        assert_eq!((frame.kind, frame.count, frame.reset), (FrameKind::Unsequenced, 1, Some(Reset::Marked(1))));
        assert!(!frame.heartbeat && frame.body.len() == 8, "it is delivered");
        let mut to_zero = RESET.to_vec();
        to_zero[20] = 0;
        assert_eq!(parse(&to_zero).unwrap_err(), Malformed::Sequence);
        // its own number may be anything, zero too
        let mut numberless = RESET.to_vec();
        numberless[4] = 0;
        assert_eq!(parse(&numberless).unwrap().reset, Some(Reset::Marked(1)));
        let mut short = RESET[..20].to_vec();
        (short[0], short[16]) = (20, 4);
        assert_eq!(parse(&short).unwrap_err(), Malformed::Overrun);
    }

    #[test]
    fn every_cut_is_refused_under_its_reason() {
        for cut in 0..TWO.len() {
            let reason = if cut < HEADER { Malformed::Header } else { Malformed::Length };
            assert_eq!(parse(&TWO[..cut]).unwrap_err(), reason, "cut at {cut}");
            if cut >= HEADER {
                let mut short = TWO[..cut].to_vec();
                short[0] = cut as u8;
                assert_eq!(parse(&short).unwrap_err(), Malformed::Overrun, "short by {}", TWO.len() - cut);
            }
        }
        let mut zero = TWO.to_vec();
        zero[4] = 0;
        assert_eq!(parse(&zero).unwrap_err(), Malformed::Sequence);
        assert_eq!(parse(&[TWO, b"pad"].concat()).unwrap().bytes, TWO);
    }
}
