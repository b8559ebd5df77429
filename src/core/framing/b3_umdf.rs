//! B3 Binary UMDF: packet-sequenced, little-endian.
//!
//! ```text
//!  0         1    2                 4                8              16
//!  +---------+----+-----------------+----------------+--------------+-------------------------------- - -
//!  | channel | -  | SequenceVersion | SequenceNumber | SendingTime  | u16 length | eb50 | SBE header | body | ...
//!  +---------+----+-----------------+----------------+--------------+-------------------------------- - -
//!    u8             u16               u32              u64
//! ```
//!
//! * The number is the packet's: one packet is one message, namely the datagram without its 16-byte header. The content is for
//!   the client to read; none of it is checked here.
//! * The channel is the key. The version is the session: 1 at the start of a week, and one more with every failover; in the
//!   snapshot and instrument loops, one more with every loop. Numbers start at 1 in each version.
//! * Packets with number 0, which these loops have between their data, are unsequenced and delivered as such.
//! * After 4,294,967,295 comes 1. Only a new version is a reset (`SequenceReset`, at the start of a loop, has number 0). If one week
//!   ends with version 1, the next week's version 1 is not marked: an unmarked restart is allowed. No end of session.
//! * A heartbeat is a `Sequence` message (template 2) that states the next number. The document at hand does not say whether its
//!   packet consumes a number, so that is taken from the message: if the next number is the packet's own, it consumes none; otherwise
//!   it consumes its number, as packets do. The interval is not documented either: 1 s is assumed.
//!
//! Source: B3 Binary UMDF specification 2.2, and captured packets of schema 1.5 (from a loop only).

use super::field::{le16, le32};
use super::{Framing, Malformed, Proof};
use crate::frame::{Frame, FrameKind, Packing, SequenceRules, Session};
use crate::seq::{SeqNo, Width};
use crate::time::Nanos;

const HEADER: usize = 16;
/// Length and encoding, then the SBE header: block length, template, schema, version.
const MESSAGE_HEADER: usize = 12;
const ENCODING_SBE: u16 = 0xEB50;
const TEMPLATE_SEQUENCE: u16 = 2;
/// Bytes of a `Sequence` message: its own length, and the part after the SBE header.
const SEQUENCE_LEN: u16 = 16;
const SEQUENCE_BLOCK: u16 = 4;
const SCHEMA: u16 = 2;

/// The B3 Binary UMDF framing. The head of this file shows its header and rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct B3Umdf {
    /// The channel that a publisher writes.
    pub channel: u8,
}

impl Default for B3Umdf {
    fn default() -> B3Umdf {
        B3Umdf { channel: 1 }
    }
}

impl B3Umdf {
    /// Whether the packet begins with a `Sequence` message.
    #[inline]
    fn is_heartbeat(body: &[u8]) -> bool {
        body.first_chunk::<MESSAGE_HEADER>().is_some_and(|head| le16::<6, _>(head) == TEMPLATE_SEQUENCE)
    }

    /// For a `Sequence` message with a number: the kind of its packet, and how many numbers it consumes.
    #[cold]
    fn heartbeat(sequence: u32, body: &[u8]) -> (FrameKind, u32) {
        match body.get(MESSAGE_HEADER..).and_then(|block| block.first_chunk()) {
            Some(next) if u32::from_le_bytes(*next) == sequence => (FrameKind::Heartbeat, 0),
            _ => (FrameKind::Data, 1),
        }
    }
}

impl Framing for B3Umdf {
    const NAME: &'static str = "b3-umdf";
    const PROOF: Proof = Proof::Packets;

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
        true
    }

    #[inline]
    fn packing(self) -> Packing {
        Packing::WHOLE
    }

    fn with_key(self, key: u32) -> B3Umdf {
        B3Umdf { channel: key as u8 }
    }

    fn session(self, text: &str) -> Option<Session> {
        text.parse::<u16>().ok().map(|version| Session::number(u64::from(version)))
    }

    #[inline]
    fn frame<'a>(self, datagram: &'a [u8], at: &mut usize) -> Option<Result<Frame<'a>, Malformed>> {
        if *at > 0 {
            return None; // one frame a datagram
        }
        *at = datagram.len().max(1);
        let Some((head, body)) = datagram.split_first_chunk::<HEADER>() else {
            return Some(Err(Malformed::Header));
        };
        let (sequence, heartbeat) = (le32::<4, _>(head), B3Umdf::is_heartbeat(body));
        let (kind, count) = match (sequence, heartbeat) {
            (0, _) => (FrameKind::Unsequenced, 1),
            (_, false) => (FrameKind::Data, 1),
            (_, true) => B3Umdf::heartbeat(sequence, body),
        };
        Some(Ok(Frame {
            key: Some(u32::from(head[0])),
            session: Session::number(u64::from(le16::<2, _>(head))),
            kind,
            sequence: u64::from(sequence),
            count,
            heartbeat,
            reset: None,
            packing: Packing::WHOLE,
            body: if count > 0 { body } else { &[] },
            bytes: datagram,
        }))
    }

    fn encode(self, session: Session, sequence: u64, messages: &[&[u8]], _: usize, out: &mut Vec<u8>) -> usize {
        out.clear();
        out.extend_from_slice(&[self.channel, 0]);
        out.extend_from_slice(&(session.as_number().unwrap_or(1) as u16).to_le_bytes());
        out.extend_from_slice(&(Width::U32SkipZero.wire(SeqNo(sequence)) as u32).to_le_bytes());
        out.extend_from_slice(&[0; 8]);
        let Some(message) = messages.first() else { return 0 };
        out.extend_from_slice(message);
        1
    }

    fn encode_heartbeat(self, session: Session, next: u64, out: &mut Vec<u8>) -> u32 {
        let mut body = Vec::with_capacity(usize::from(SEQUENCE_LEN));
        for field in [SEQUENCE_LEN, ENCODING_SBE, SEQUENCE_BLOCK, TEMPLATE_SEQUENCE, SCHEMA, 0] {
            body.extend_from_slice(&field.to_le_bytes());
        }
        // this packet is number `next`
        let after = Width::U32SkipZero.wire(SeqNo(next) + 1) as u32;
        body.extend_from_slice(&after.to_le_bytes());
        self.encode(session, next, &[&body], usize::MAX, out) as u32
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
        let frame = B3Umdf::default().frame(datagram, &mut at).expect("a datagram holds a frame or an error");
        assert!(B3Umdf::default().frame(datagram, &mut at).is_none(), "one frame a datagram");
        frame
    }

    /// After the header picture, not after our own writer: channel 50, version 1333.
    fn by_hand(number: u32, body: &[u8]) -> Vec<u8> {
        let mut out = vec![50, 1, 0x35, 5];
        out.extend_from_slice(&number.to_le_bytes());
        out.extend_from_slice(&[1, 2, 3, 4, 5, 6, 7, 8]);
        out.extend_from_slice(body);
        out
    }

    fn sequence_message(next: u32) -> Vec<u8> {
        [&[16, 0, 0x50, 0xEB, 4, 0, 2, 0, 2, 0, 5, 0], next.to_le_bytes().as_slice()].concat()
    }

    #[test]
    fn a_packet_is_one_message() {
        let (framing, mut out) = (B3Umdf::default().with_key(50), Vec::new());
        assert_eq!(framing.encode(Session::number(3), 5_615, &[b"body", b"next"], 1_400, &mut out), 1);
        let frame = parse(&out).unwrap();
        assert_eq!((frame.kind, frame.sequence, frame.count, frame.heartbeat), (FrameKind::Data, 5_615, 1, false));
        assert_eq!((frame.key, frame.session, frame.reset), (Some(50), Session::number(3), None));
        assert_eq!(frame.packing.messages(frame.body).collect::<Vec<_>>(), [b"body"]);
    }

    #[test]
    fn the_version_is_the_session() {
        let datagram = by_hand(7, b"body");
        let frame = parse(&datagram).unwrap();
        assert_eq!((frame.key, frame.session, frame.sequence), (Some(50), Session::number(1_333), 7));
    }

    #[test]
    fn number_zero_is_unsequenced_and_delivered() {
        for (body, heartbeat) in
            [(sequence_message(1), true), (b"\x0C\0\x50\xEB\0\0\x01\0\x02\0\x05\0".to_vec(), false)]
        {
            let datagram = by_hand(0, &body);
            let frame = parse(&datagram).unwrap();
            assert_eq!(
                (frame.kind, frame.count, frame.heartbeat, frame.reset),
                (FrameKind::Unsequenced, 1, heartbeat, None)
            );
            assert_eq!(frame.body, body);
        }
    }

    #[test]
    fn a_heartbeat_consumes_a_number_where_it_says_that_another_is_next() {
        let mut out = Vec::new();
        assert_eq!(B3Umdf::default().encode_heartbeat(Session::number(1), 8, &mut out), 1);
        assert_eq!(out[16..], [16, 0, 0x50, 0xEB, 4, 0, 2, 0, 2, 0, 0, 0, 9, 0, 0, 0]);
        let frame = parse(&out).unwrap();
        assert_eq!((frame.kind, frame.sequence, frame.count, frame.heartbeat), (FrameKind::Data, 8, 1, true));
        for (next, kind, count) in [(9, FrameKind::Data, 1), (1, FrameKind::Data, 1), (8, FrameKind::Heartbeat, 0)] {
            let datagram = by_hand(8, &sequence_message(next));
            let frame = parse(&datagram).unwrap();
            assert_eq!(
                (frame.kind, frame.sequence, frame.count, frame.heartbeat),
                (kind, 8, count, true),
                "next {next}"
            );
            assert_eq!(frame.body.len(), 16 * count as usize);
        }
    }

    #[test]
    fn numbers_wrap_without_the_zero() {
        let (mut out, last) = (Vec::new(), u64::from(u32::MAX));
        assert_eq!(B3Umdf::default().encode_heartbeat(Session::number(1), last, &mut out), 1);
        assert_eq!(parse(&out).unwrap().sequence, last);
        assert_eq!(out[28..32], 1u32.to_le_bytes());
        B3Umdf::default().encode(Session::number(1), last + 1, &[b"m"], 1_400, &mut out);
        assert_eq!(parse(&out).unwrap().sequence, 1);
    }

    #[test]
    fn what_cannot_be_read_is_refused_under_its_reason() {
        let whole = by_hand(5, &sequence_message(5));
        for cut in 0..whole.len() {
            // a heartbeat without its number is a packet like any other
            let expected = if cut < HEADER { Err(Malformed::Header) } else { Ok((FrameKind::Data, cut - HEADER)) };
            assert_eq!(parse(&whole[..cut]).map(|frame| (frame.kind, frame.body.len())), expected, "cut at {cut}");
        }
    }

    #[test]
    fn sessions_are_numbers_of_16_bits() {
        assert_eq!(B3Umdf::default().session("65535"), Some(Session::number(65_535)));
        assert_eq!((B3Umdf::default().session("65536"), B3Umdf::default().session("TWIN")), (None, None));
    }
}
