//! ICE iMpact: message-sequenced, big-endian, with numeric sessions. It is read but not published, because the venue's document
//! was not at hand.
//!
//! ```text
//!  0         2          6       8           16
//!  +---------+----------+-------+-----------+--------------------------- - -
//!  | session | sequence | count | send time | type | u16 length | body | ...     count times
//!  +---------+----------+-------+-----------+--------------------------- - -
//! ```
//!
//! * A message is a type (one character), the length of its body in two bytes, and the body. All of it is the message.
//! * The number is the first message's; zero is malformed. After 4,294,967,295, 1 is assumed to come.
//! * A count of 0 is a heartbeat with the next expected number; it consumes none. The interval is not known: 1 s is assumed,
//!   which decides when a line counts as silent.
//! * A new session starts its numbers afresh; 1 is assumed. No other reset is known. No unmarked restart, no end of session.
//!
//! Sources: the Open-Markets-Initiative's dissector of iMpact 1.1.33, and captured packets.

use super::{Framing, Malformed, Proof, append};
use crate::frame::{Frame, FrameKind, Packing, SequenceRules, Session};
use crate::seq::{SeqNo, Width};
use crate::time::Nanos;

const HEADER: usize = 16;

/// The ICE iMpact framing. The head of this file shows its header and rules.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct IceImpact;

impl Framing for IceImpact {
    const NAME: &'static str = "ice-impact";
    const PROOF: Proof = Proof::Dissector;

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
        Packing::OWN_TYPE_BE16
    }

    fn session(self, text: &str) -> Option<Session> {
        text.parse::<u16>().ok().map(|n| Session::number(u64::from(n)))
    }

    #[inline]
    fn frame<'a>(self, datagram: &'a [u8], at: &mut usize) -> Option<Result<Frame<'a>, Malformed>> {
        if *at > 0 {
            return None; // one frame a datagram
        }
        *at = datagram.len().max(1);
        let Some((head, rest)) = datagram.split_first_chunk::<HEADER>() else {
            return Some(Err(Malformed::Header));
        };
        let session = u64::from(u16::from_be_bytes([head[0], head[1]]));
        let sequence = u64::from(u32::from_be_bytes([head[2], head[3], head[4], head[5]]));
        let count = u32::from(u16::from_be_bytes([head[6], head[7]]));
        if sequence == 0 {
            return Some(Err(Malformed::Sequence));
        }
        let Some(body) = Packing::OWN_TYPE_BE16.blocks_len(rest, count) else {
            return Some(Err(Malformed::Overrun));
        };
        let heartbeat = count == 0;
        Some(Ok(Frame {
            key: None,
            session: Session::number(session),
            kind: if heartbeat { FrameKind::Heartbeat } else { FrameKind::Data },
            sequence,
            count,
            heartbeat,
            reset: None,
            packing: Packing::OWN_TYPE_BE16,
            body: &rest[..body],
            bytes: datagram,
        }))
    }

    fn encode(self, session: Session, sequence: u64, messages: &[&[u8]], max_len: usize, out: &mut Vec<u8>) -> usize {
        out.clear();
        out.extend_from_slice(&(session.as_number().unwrap_or(0) as u16).to_be_bytes());
        out.extend_from_slice(&(Width::U32SkipZero.wire(SeqNo(sequence)) as u32).to_be_bytes());
        out.extend_from_slice(&[0; 10]);
        let count = append(Packing::OWN_TYPE_BE16, messages, usize::from(u16::MAX), max_len, out);
        out[6..8].copy_from_slice(&(count as u16).to_be_bytes());
        count
    }

    fn encode_heartbeat(self, session: Session, next: u64, out: &mut Vec<u8>) -> u32 {
        self.encode(session, next, &[], 0, out) as u32
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
        let frame = IceImpact.frame(datagram, &mut at).expect("a datagram holds a frame or an error");
        assert!(IceImpact.frame(datagram, &mut at).is_none(), "one frame a datagram");
        frame
    }

    /// Session 1291, numbers 7 and 8: a bundle marker of one byte, a message without a body.
    const TWO: &[u8] = b"\x05\x0b\0\0\0\x07\0\x02\0\0\0\0\0\0\0\0T\0\x01SX\0\0";

    #[test]
    fn a_datagram_by_hand_is_read_and_written() {
        let frame = parse(TWO).unwrap();
        assert_eq!((frame.kind, frame.sequence, frame.count), (FrameKind::Data, 7, 2));
        assert_eq!((frame.session.to_string().as_str(), frame.key, frame.reset), ("1291", None, None));
        let messages: Vec<_> = frame.packing.messages(frame.body).collect();
        assert_eq!(messages, [b"T\0\x01S".as_slice(), b"X\0\0"]);
        let mut out = Vec::new();
        let session = IceImpact.session("1291").unwrap();
        assert_eq!(IceImpact.encode(session, 7, &messages, 1_400, &mut out), 2);
        assert_eq!(out, TWO);
        assert_eq!(IceImpact.session("65536"), None);
    }

    #[test]
    fn a_heartbeat_says_the_next_number() {
        let mut out = Vec::new();
        assert_eq!(IceImpact.encode_heartbeat(Session::number(1), u64::from(u32::MAX) + 1, &mut out), 0);
        let frame = parse(&out).unwrap();
        assert_eq!((frame.kind, frame.sequence, frame.count, frame.heartbeat), (FrameKind::Heartbeat, 1, 0, true));
    }

    #[test]
    fn every_cut_is_refused_under_its_reason() {
        for cut in 0..TWO.len() {
            let reason = if cut < HEADER { Malformed::Header } else { Malformed::Overrun };
            assert_eq!(parse(&TWO[..cut]).unwrap_err(), reason, "cut at {cut}");
        }
        let mut zero = TWO.to_vec();
        zero[5] = 0;
        assert_eq!(parse(&zero).unwrap_err(), Malformed::Sequence);
        assert_eq!(parse(&[TWO, b"pad"].concat()).unwrap().body, &TWO[HEADER..]);
    }
}
