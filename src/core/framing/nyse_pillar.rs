//! NYSE Pillar and XDP: message-sequenced, little-endian, without sessions.
//!
//! ```text
//!  0        2      3       4          8              16
//!  +--------+------+-------+----------+--------------+---------------------- - -
//!  | length | flag | count | sequence | send time    | u16 length | u16 type | ...     count times
//!  +--------+------+-------+----------+--------------+---------------------- - -
//! ```
//!
//! * The length in the header counts the header and all messages. A message begins with its own length, in two bytes that
//!   count themselves, so it is part of the message. Lines may pack messages differently.
//! * The number is the first message's; numbers begin at 1, and zero is malformed. After 4,294,967,295 comes 1. No header names
//!   the product or the channel: a channel is a group.
//! * A count of 0 is a heartbeat (flag 1) with the next expected number; it consumes none. One per second. A heartbeat with
//!   number 1 after higher numbers is a restart, once the next frame confirms it.
//! * A reset is a packet of its own with number 1 (flag 12, or at a failover message type 1 under flag 10). It consumes that
//!   number, and is repeated for seconds. No unmarked restart.
//! * Refresh packets (flags 17 to 20) and "message unavailable" (21) are numbered separately, so they are outside of the
//!   sequence. Retransmitted packets (13, 15) are data with the original numbers, perhaps packed differently. Any other flag
//!   is data as well.
//! * No end of session.
//!
//! Sources: NYSE Pillar Common Client specification 2.4p and the Options one; a captured stream (Imbalances), whose
//! heartbeats after a reset have number 2.

use super::{Framing, Malformed, Proof, append};
use crate::frame::{Frame, FrameKind, Packing, Reset, SequenceRules, Session};
use crate::seq::{SeqNo, Width};
use crate::time::Nanos;

const HEADER: usize = 16;
const FLAG_HEARTBEAT: u8 = 1;
const FLAG_FAILOVER: u8 = 10;
const FLAG_ORIGINAL: u8 = 11;
const FLAG_SEQUENCE_RESET: u8 = 12;
/// The flags of a refresh: alone, start, part, end.
const FLAG_REFRESH: u8 = 17;
const FLAG_REFRESH_END: u8 = 20;
const FLAG_UNAVAILABLE: u8 = 21;
const TYPE_SEQUENCE_RESET: u16 = 1;

/// The NYSE Pillar framing. The head of this file shows its header and rules.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NysePillar;

/// Whether a packet with messages resets the numbers. A retransmitted reset (flag 13, 15) does not.
#[inline]
fn resets(flag: u8, body: &[u8]) -> bool {
    let by_type = || body.get(2..4) == Some(TYPE_SEQUENCE_RESET.to_le_bytes().as_slice());
    flag == FLAG_SEQUENCE_RESET || flag == FLAG_FAILOVER && by_type()
}

impl Framing for NysePillar {
    const NAME: &'static str = "nyse-pillar";
    const PROOF: Proof = Proof::Stream;

    #[inline]
    fn rules(self) -> SequenceRules {
        SequenceRules {
            width: Width::U32SkipZero,
            initial: SeqNo(1),
            unmarked_restart: false,
            keyed: false,
            heartbeat_interval: Nanos::from_secs(1),
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
        let (flag, count) = (head[2], u32::from(head[3]));
        let sequence = u64::from(u32::from_le_bytes([head[4], head[5], head[6], head[7]]));
        let Some(rest) = datagram.get(HEADER..len) else {
            return Some(Err(Malformed::Length));
        };
        let kind = match flag {
            FLAG_REFRESH..=FLAG_REFRESH_END | FLAG_UNAVAILABLE => FrameKind::Unsequenced,
            _ if sequence == 0 => return Some(Err(Malformed::Sequence)),
            _ if count == 0 => FrameKind::Heartbeat,
            _ => FrameKind::Data,
        };
        let Some(body) = Packing::OWN_LE16.blocks_len(rest, count) else {
            return Some(Err(Malformed::Overrun));
        };
        let body = &rest[..body];
        let reset = match kind {
            FrameKind::Data if resets(flag, body) => Some(Reset::Marked(sequence)),
            FrameKind::Heartbeat if sequence == 1 => Some(Reset::Heartbeat(1)),
            _ => None,
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
        write(FLAG_ORIGINAL, sequence, messages, max_len, out)
    }

    fn encode_heartbeat(self, _: Session, next: u64, out: &mut Vec<u8>) -> u32 {
        write(FLAG_HEARTBEAT, next, &[], 0, out) as u32
    }

    fn encode_end(self, _: Session, _: u64, _: &mut Vec<u8>) -> bool {
        false
    }
}

fn write(flag: u8, sequence: u64, messages: &[&[u8]], max_len: usize, out: &mut Vec<u8>) -> usize {
    out.clear();
    out.extend_from_slice(&[0, 0, flag, 0]);
    out.extend_from_slice(&(Width::U32SkipZero.wire(SeqNo(sequence)) as u32).to_le_bytes());
    out.extend_from_slice(&[0; 8]);
    let count = append(Packing::OWN_LE16, messages, usize::from(u8::MAX), max_len, out);
    let Ok(len) = u16::try_from(out.len()) else { return 0 };
    out[..2].copy_from_slice(&len.to_le_bytes());
    out[3] = count as u8;
    count
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(datagram: &[u8]) -> Result<Frame<'_>, Malformed> {
        let mut at = 0;
        let frame = NysePillar.frame(datagram, &mut at).expect("a datagram holds a frame or an error");
        assert!(NysePillar.frame(datagram, &mut at).is_none(), "one frame a datagram");
        frame
    }

    fn packet(flag: u8, sequence: u32, messages: &[&[u8]]) -> Vec<u8> {
        let mut out = Vec::new();
        assert_eq!(write(flag, 1, messages, 1_400, &mut out), messages.len());
        out[4..8].copy_from_slice(&sequence.to_le_bytes());
        out
    }

    const RESET: &[u8] = b"\x0e\0\x01\0timenano\x02\x01";

    /// Numbers 7 and 8: a message of type 100, one of type 102.
    const TWO: &[u8] = b"\x1d\0\x0b\x02\x07\0\0\0\0\0\0\0\0\0\0\0\x06\0\x64\0ab\x07\0\x66\0cde";

    #[test]
    fn a_datagram_by_hand_is_read_and_written() {
        let frame = parse(TWO).unwrap();
        assert_eq!((frame.kind, frame.sequence, frame.count, frame.key), (FrameKind::Data, 7, 2, None));
        let messages: Vec<_> = frame.packing.messages(frame.body).collect();
        assert_eq!(messages, [b"\x06\0\x64\0ab".as_slice(), b"\x07\0\x66\0cde"]);
        let mut out = Vec::new();
        assert_eq!(NysePillar.encode(Session::NONE, 7, &messages, 1_400, &mut out), 2);
        assert_eq!(out, TWO);
        assert_eq!(NysePillar.encode(Session::NONE, 1 << 32, &messages, 25, &mut out), 1);
        assert_eq!(parse(&out).unwrap().sequence, 1, "zero is skipped");
        assert_eq!(NysePillar.encode(Session::NONE, 7, &[b"\x07\0\x64\0ab"], 1_400, &mut out), 0);
        let mut long = vec![0; 65_530];
        assert!(Packing::OWN_LE16.put_length(&mut long));
        assert_eq!(NysePillar.encode(Session::NONE, 7, &[&long], usize::MAX, &mut out), 0);
    }

    #[test]
    fn heartbeats_say_the_next_number_and_at_one_may_be_a_restart() {
        let mut out = Vec::new();
        assert_eq!(NysePillar.encode_heartbeat(Session::NONE, 9, &mut out), 0);
        assert_eq!(&out[..8], b"\x10\0\x01\0\x09\0\0\0");
        let frame = parse(&out).unwrap();
        assert_eq!((frame.kind, frame.sequence, frame.heartbeat, frame.reset), (FrameKind::Heartbeat, 9, true, None));
        assert_eq!(parse(&packet(1, 1, &[])).unwrap().reset, Some(Reset::Heartbeat(1)));
    }

    #[test]
    fn a_reset_is_marked_by_its_flag_or_at_a_failover_by_its_type() {
        for flag in [12, 10] {
            let reset = packet(flag, 1, &[RESET]);
            let frame = parse(&reset).unwrap();
            assert_eq!((frame.kind, frame.sequence, frame.count), (FrameKind::Data, 1, 1));
            assert_eq!(frame.reset, Some(Reset::Marked(1)), "flag {flag}");
        }
        // a failover's data, and a reset that is sent again on request, mark none
        assert_eq!(parse(&packet(10, 5, &[b"\x04\0\x64\0"])).unwrap().reset, None);
        assert_eq!(parse(&packet(13, 1, &[RESET])).unwrap().reset, None);
    }

    #[test]
    fn refresh_packets_are_outside_of_the_sequence_and_retransmissions_are_not() {
        for flag in 0..=u8::MAX {
            let packet = packet(flag, 1_379_122, &[b"\x04\0\x6a\0"]);
            let kind = parse(&packet).unwrap().kind;
            assert_eq!(kind == FrameKind::Unsequenced, (17..=21).contains(&flag), "flag {flag}");
        }
        assert_eq!(parse(&packet(18, 0, &[b"\x04\0\x23\0"])).unwrap().kind, FrameKind::Unsequenced);
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
        let mut wrong = TWO.to_vec();
        wrong[0] = 15;
        assert_eq!(parse(&wrong).unwrap_err(), Malformed::Length);
        assert_eq!(parse(&packet(11, 0, &[b"\x04\0\x64\0"])).unwrap_err(), Malformed::Sequence);
        assert_eq!(parse(&packet(1, 0, &[])).unwrap_err(), Malformed::Sequence);
        assert_eq!(parse(&[TWO, b"pad"].concat()).unwrap().bytes, TWO);
    }
}
