//! Eurex T7 EOBI (also Xetra): packet-sequenced, little-endian, without sessions.
//!
//! ```text
//!  0          2            4            8             12               16          17           18    19     20   24             32
//!  +----------+------------+------------+-------------+----------------+-----------+------------+-----+------+----+--------------+---- - -
//!  | body len | templateid | ffffffff   | ApplSeqNum  | market segment | partition | completion | rst | DSCP | -  | TransactTime | messages
//!  +----------+------------+------------+-------------+----------------+-----------+------------+-----+------+----+--------------+---- - -
//!    u16 = 32   u16          u32          u32           i32              u8          u8           u8    u8          u64
//! ```
//!
//! * The number is the packet's: one packet is one message, namely the datagram without its 32-byte header. The content is for
//!   the client to read; none of it is checked here.
//! * The template in the header differs between releases (13002 and 13004 have been seen). So a packet is recognised by its body
//!   length, 32, and by four `ff` bytes in the place of a message's number.
//! * The partition is the key. A partition's numbers run across its products, so the market segment is not a key. Snapshots have numbers
//!   of their own, in a group of their own: give them a feed file of their own.
//! * A heartbeat (template 13001) is a message inside a normal packet, which consumes a number. The interval is not documented: 1 s is
//!   assumed.
//! * A datagram that begins `c0 f8` is a technical heartbeat: unsequenced, without messages.
//! * Numbers start at 1; zero is malformed; after 4,294,967,295 comes 1. A restart begins at 1 again, and its first packets carry
//!   the reset flag, which marks it. No unmarked restart. Packets of the previous sender that arrive after the flag, with numbers near
//!   the new ones, cannot be told apart here: only their TransactTime is older.
//! * No end of session.
//!
//! Source: Eurex T7 EOBI manual 14.1, and captured packets of release 6.0.

use super::field::{le16, le32};
use super::{Framing, Malformed, Proof};
use crate::frame::{Frame, FrameKind, Packing, Reset, SequenceRules, Session};
use crate::seq::{SeqNo, Width};
use crate::time::Nanos;

const HEADER: usize = 32;
const TEMPLATE_PACKET_HEADER: u16 = 13_002;
const TEMPLATE_HEARTBEAT: u16 = 13_001;
/// What the packet header has in the place of a message's number.
const NO_NUMBER: u32 = u32::MAX;
const TECHNICAL_HEARTBEAT: [u8; 2] = [0xC0, 0xF8];

/// The Eurex T7 EOBI framing. The head of this file shows its header and rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EurexEobi {
    /// The partition that a publisher writes.
    pub partition: u8,
}

impl Default for EurexEobi {
    fn default() -> EurexEobi {
        EurexEobi { partition: 1 }
    }
}

impl EurexEobi {
    /// A datagram that does not begin as a packet does.
    #[cold]
    fn no_packet(datagram: &[u8]) -> Result<Frame<'_>, Malformed> {
        if datagram.starts_with(&TECHNICAL_HEARTBEAT) {
            return Ok(Frame {
                key: None,
                session: Session::NONE,
                kind: FrameKind::Unsequenced,
                sequence: 0,
                count: 0,
                heartbeat: true,
                reset: None,
                packing: Packing::WHOLE,
                body: &[],
                bytes: datagram,
            });
        }
        let Some(head) = datagram.first_chunk::<HEADER>() else {
            return Err(Malformed::Header);
        };
        Err(if le32::<4, _>(head) == NO_NUMBER { Malformed::Length } else { Malformed::Type })
    }
}

impl Framing for EurexEobi {
    const NAME: &'static str = "eurex-eobi";
    const PROOF: Proof = Proof::Packets;

    #[inline]
    fn rules(self) -> SequenceRules {
        SequenceRules {
            width: Width::U32SkipZero,
            initial: SeqNo(1),
            unmarked_restart: false,
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

    fn with_key(self, key: u32) -> EurexEobi {
        EurexEobi { partition: key as u8 }
    }

    #[inline]
    fn frame<'a>(self, datagram: &'a [u8], at: &mut usize) -> Option<Result<Frame<'a>, Malformed>> {
        if *at > 0 {
            return None; // one frame a datagram
        }
        *at = datagram.len().max(1);
        let Some((head, body)) = datagram.split_first_chunk::<HEADER>() else {
            return Some(EurexEobi::no_packet(datagram));
        };
        if usize::from(le16::<0, _>(head)) != HEADER || le32::<4, _>(head) != NO_NUMBER {
            return Some(EurexEobi::no_packet(datagram));
        }
        let sequence = u64::from(le32::<8, _>(head));
        if sequence == 0 {
            return Some(Err(Malformed::Sequence));
        }
        Some(Ok(Frame {
            key: Some(u32::from(head[16])),
            session: Session::NONE,
            kind: FrameKind::Data,
            sequence,
            count: 1,
            heartbeat: body.first_chunk::<4>().is_some_and(|message| le16::<2, _>(message) == TEMPLATE_HEARTBEAT),
            reset: (head[18] == 1).then_some(Reset::Marked(1)),
            packing: Packing::WHOLE,
            body,
            bytes: datagram,
        }))
    }

    fn encode(self, _: Session, sequence: u64, messages: &[&[u8]], _: usize, out: &mut Vec<u8>) -> usize {
        out.clear();
        out.extend_from_slice(&(HEADER as u16).to_le_bytes());
        out.extend_from_slice(&TEMPLATE_PACKET_HEADER.to_le_bytes());
        out.extend_from_slice(&NO_NUMBER.to_le_bytes());
        out.extend_from_slice(&(Width::U32SkipZero.wire(SeqNo(sequence)) as u32).to_le_bytes());
        out.extend_from_slice(&[0; 4]);
        // the partition, and that the event is complete
        out.extend_from_slice(&[self.partition, 1]);
        out.extend_from_slice(&[0; 14]);
        let Some(message) = messages.first() else { return 0 };
        out.extend_from_slice(message);
        1
    }

    fn encode_heartbeat(self, session: Session, next: u64, out: &mut Vec<u8>) -> u32 {
        let mut body = [0; 16];
        body[0] = body.len() as u8;
        body[2..4].copy_from_slice(&TEMPLATE_HEARTBEAT.to_le_bytes());
        body[4..8].copy_from_slice(&NO_NUMBER.to_le_bytes());
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
        let frame = EurexEobi::default().frame(datagram, &mut at).expect("a datagram holds a frame or an error");
        assert!(EurexEobi::default().frame(datagram, &mut at).is_none(), "one frame a datagram");
        frame
    }

    /// After the header picture, not after our own writer: partition 6, market segment 111.
    fn by_hand(template: u16, number: u32, reset: u8, body: &[u8]) -> Vec<u8> {
        let mut out = vec![32, 0];
        out.extend_from_slice(&template.to_le_bytes());
        out.extend_from_slice(&[0xFF; 4]);
        out.extend_from_slice(&number.to_le_bytes());
        out.extend_from_slice(&[111, 0, 0, 0, 6, 1, reset, 8, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8]);
        out.extend_from_slice(body);
        out
    }

    #[test]
    fn a_packet_is_one_message() {
        let (framing, mut out) = (EurexEobi::default().with_key(6), Vec::new());
        assert_eq!(framing.encode(Session::NONE, 5_615, &[b"body", b"next"], 1_400, &mut out), 1);
        let frame = parse(&out).unwrap();
        assert_eq!((frame.kind, frame.sequence, frame.count, frame.heartbeat), (FrameKind::Data, 5_615, 1, false));
        assert_eq!((frame.key, frame.session, frame.reset), (Some(6), Session::NONE, None));
        assert_eq!(frame.packing.messages(frame.body).collect::<Vec<_>>(), [b"body"]);
    }

    #[test]
    fn the_headers_template_may_be_any() {
        for template in [13_002, 13_004, 13_999] {
            let datagram = by_hand(template, 7, 0, b"\x10\x00\x2C\x33order");
            let frame = parse(&datagram).unwrap();
            assert_eq!((frame.key, frame.sequence, frame.body.len(), frame.reset), (Some(6), 7, 9, None));
        }
    }

    #[test]
    fn a_heartbeat_consumes_a_number() {
        let mut out = Vec::new();
        assert_eq!(EurexEobi::default().encode_heartbeat(Session::NONE, 8, &mut out), 1);
        assert_eq!(out.len(), 48);
        let frame = parse(&out).unwrap();
        assert_eq!((frame.kind, frame.sequence, frame.count, frame.heartbeat), (FrameKind::Data, 8, 1, true));
        assert_eq!(frame.body.len(), 16);
    }

    #[test]
    fn a_technical_heartbeat_is_unsequenced() {
        for datagram in [&[0xC0, 0xF8][..], &[0xC0, 0xF8, 1, 2, 3], &[[0xC0, 0xF8]; 30].concat()] {
            let frame = parse(datagram).unwrap();
            assert_eq!((frame.kind, frame.count, frame.heartbeat), (FrameKind::Unsequenced, 0, true));
            assert!(frame.body.is_empty());
        }
    }

    #[test]
    fn the_flag_marks_a_reset_on_every_packet_that_has_it() {
        for number in [1, 2, 3] {
            let datagram = by_hand(13_002, number, 1, b"");
            let frame = parse(&datagram).unwrap();
            assert_eq!((frame.sequence, frame.reset), (u64::from(number), Some(Reset::Marked(1))));
        }
    }

    #[test]
    fn numbers_wrap_without_the_zero() {
        let mut out = Vec::new();
        let last = u64::from(u32::MAX);
        for (number, wire) in [(last, last), (last + 1, 1), (2 * last + 5, 5)] {
            EurexEobi::default().encode(Session::NONE, number, &[b"m"], 1_400, &mut out);
            assert_eq!(parse(&out).unwrap().sequence, wire);
        }
    }

    #[test]
    fn what_cannot_be_read_is_refused_under_its_reason() {
        let whole = by_hand(13_002, 5, 0, b"body");
        for cut in 0..whole.len() {
            let expected = if cut < HEADER { Err(Malformed::Header) } else { Ok(cut - HEADER) };
            assert_eq!(parse(&whole[..cut]).map(|frame| frame.body.len()), expected, "cut at {cut}");
        }
        let changed = |at: usize, to: u8| {
            let mut datagram = whole.clone();
            datagram[at] = to;
            parse(&datagram).unwrap_err()
        };
        assert_eq!((changed(0, 31), changed(1, 1)), (Malformed::Length, Malformed::Length));
        assert_eq!((changed(4, 0), changed(7, 0)), (Malformed::Type, Malformed::Type));
        assert_eq!(parse(&by_hand(13_002, 0, 0, b"")).unwrap_err(), Malformed::Sequence);
    }
}
