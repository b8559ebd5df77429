//! Euronext Optiq Market Data Gateway: packet-sequenced, little-endian.
//!
//! ```text
//!  0               8           12          14          16
//!  +---------------+-----------+-----------+-----------+--------------------------- - -
//!  | packet time   | PSN (u32) | flags u16 | channel   | u16 length | SBE header | body | ...
//!  +---------------+-----------+-----------+-----------+--------------------------- - -
//!
//!  flags: bit 0 body compressed | 1..3 restarts | 4..6 high bits of the PSN | 7, 8 snapshot starts, ends | 9 status
//! ```
//!
//! * The number is the packet's: one packet is one message, namely the datagram without its 16-byte header, even if it is compressed
//!   (bit 0). The content is for the client to read; none of it is checked here.
//! * The number has 35 bits: the low 32 in its own field, the high three in the flags. It starts at 1; zero is malformed.
//! * The channel is the key.
//! * The count of restarts is the session: 0 each morning, and one more with every restart of the gateway, which restarts the numbers.
//!   A start of day (1101) whose number is below what has come marks a reset: a morning's session has the same count as the day
//!   before.
//! * A packet with a health status (1103) is a normal one that consumes a number. It is recognised by bit 9 and no start or end of day
//!   as the first message; in a compressed body, by bit 9 alone. The interval is not in the document at hand: 1 s is assumed.
//! * No end of session, and no unmarked restart.
//!
//! Source: Euronext Optiq MDG specification 5.31. No captured packets were at hand.

use super::field::{le16, le32};
use super::{Framing, Malformed, Proof};
use crate::frame::{Frame, FrameKind, Packing, Reset, SequenceRules, Session};
use crate::seq::{SeqNo, Width};
use crate::time::Nanos;

const HEADER: usize = 16;
const COMPRESSED: u16 = 1;
/// The packet has a health status, a start of day or an end of day.
const STATUS: u16 = 1 << 9;
const TEMPLATE_START_OF_DAY: u16 = 1_101;
const TEMPLATE_END_OF_DAY: u16 = 1_102;
const TEMPLATE_HEALTH_STATUS: u16 = 1_103;
/// The numbers have 35 bits.
const NUMBER_MAX: u64 = (1 << 35) - 1;

/// The Euronext Optiq framing. The head of this file shows its header and rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EuronextOptiq {
    /// The channel that a publisher writes.
    pub channel: u16,
}

impl Default for EuronextOptiq {
    fn default() -> EuronextOptiq {
        EuronextOptiq { channel: 1 }
    }
}

impl EuronextOptiq {
    /// For a packet with the status flag: whether it is a heartbeat, and whether it is a reset.
    #[cold]
    fn status(flags: u16, body: &[u8]) -> (bool, Option<Reset>) {
        // behind the message's length and its block length
        let template = body.get(4..6).map(|field| u16::from_le_bytes([field[0], field[1]]));
        match template.filter(|_| flags & COMPRESSED == 0) {
            Some(TEMPLATE_START_OF_DAY) => (false, Some(Reset::Marked(1))),
            Some(TEMPLATE_END_OF_DAY) => (false, None),
            _ => (true, None),
        }
    }

    fn packet(self, session: Session, sequence: u64, flags: u16, body: &[u8], out: &mut Vec<u8>) -> usize {
        out.clear();
        if sequence > NUMBER_MAX {
            return 0;
        }
        let restarts = (session.as_number().unwrap_or(0) & 7) as u16;
        let flags = flags | restarts << 1 | ((sequence >> 32) as u16) << 4;
        out.extend_from_slice(&[0; 8]);
        out.extend_from_slice(&(sequence as u32).to_le_bytes());
        out.extend_from_slice(&flags.to_le_bytes());
        out.extend_from_slice(&self.channel.to_le_bytes());
        out.extend_from_slice(body);
        1
    }
}

impl Framing for EuronextOptiq {
    const NAME: &'static str = "euronext-optiq";
    const PROOF: Proof = Proof::Document;

    #[inline]
    fn rules(self) -> SequenceRules {
        SequenceRules {
            width: Width::U64,
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

    fn with_key(self, key: u32) -> EuronextOptiq {
        EuronextOptiq { channel: key as u16 }
    }

    fn session(self, text: &str) -> Option<Session> {
        text.parse::<u8>().ok().filter(|&restarts| restarts < 8).map(|restarts| Session::number(u64::from(restarts)))
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
        let flags = le16::<12, _>(head);
        let sequence = u64::from(le32::<8, _>(head)) | u64::from(flags >> 4 & 7) << 32;
        if sequence == 0 {
            return Some(Err(Malformed::Sequence));
        }
        let (heartbeat, reset) = if flags & STATUS == 0 { (false, None) } else { EuronextOptiq::status(flags, body) };
        Some(Ok(Frame {
            key: Some(u32::from(le16::<14, _>(head))),
            session: Session::number(u64::from(flags >> 1 & 7)),
            kind: FrameKind::Data,
            sequence,
            count: 1,
            heartbeat,
            reset,
            packing: Packing::WHOLE,
            body,
            bytes: datagram,
        }))
    }

    fn encode(self, session: Session, sequence: u64, messages: &[&[u8]], _: usize, out: &mut Vec<u8>) -> usize {
        match messages.first() {
            Some(message) => self.packet(session, sequence, 0, message, out),
            None => 0,
        }
    }

    fn encode_heartbeat(self, session: Session, next: u64, out: &mut Vec<u8>) -> u32 {
        // length, block length, template, schema 0, version; then the message's number and the event's time
        let mut body = [0; 26];
        body[0] = body.len() as u8;
        body[2] = 16;
        body[4..6].copy_from_slice(&TEMPLATE_HEALTH_STATUS.to_le_bytes());
        self.packet(session, next, STATUS, &body, out) as u32
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
        let frame = EuronextOptiq::default().frame(datagram, &mut at).expect("a datagram holds a frame or an error");
        assert!(EuronextOptiq::default().frame(datagram, &mut at).is_none(), "one frame a datagram");
        frame
    }

    /// After the header picture, not after our own writer: channel 310.
    fn by_hand(psn: u32, flags: u16, body: &[u8]) -> Vec<u8> {
        let mut out = vec![1, 2, 3, 4, 5, 6, 7, 8];
        out.extend_from_slice(&psn.to_le_bytes());
        out.extend_from_slice(&flags.to_le_bytes());
        out.extend_from_slice(&[0x36, 1]);
        out.extend_from_slice(body);
        out
    }

    fn message(template: u16) -> Vec<u8> {
        [&[10, 0, 0, 0], template.to_le_bytes().as_slice(), &[0, 0, 0, 0]].concat()
    }

    #[test]
    fn a_packet_is_one_message() {
        let (framing, mut out) = (EuronextOptiq::default().with_key(310), Vec::new());
        assert_eq!(framing.encode(Session::number(3), 5_615, &[b"body", b"next"], 1_400, &mut out), 1);
        let frame = parse(&out).unwrap();
        assert_eq!((frame.kind, frame.sequence, frame.count, frame.heartbeat), (FrameKind::Data, 5_615, 1, false));
        assert_eq!((frame.key, frame.session, frame.reset), (Some(310), Session::number(3), None));
        assert_eq!(frame.packing.messages(frame.body).collect::<Vec<_>>(), [b"body"]);
        assert_eq!(out[8..16], [0xEF, 0x15, 0, 0, 6, 0, 0x36, 1]);
    }

    #[test]
    fn the_flags_extend_the_number_and_count_the_restarts() {
        // restarts 5, high bits 6, and every other bit but the status
        let datagram = by_hand(7, !STATUS & !0b111_1110 | 5 << 1 | 6 << 4, b"packed");
        let frame = parse(&datagram).unwrap();
        assert_eq!((frame.sequence, frame.session), (6 << 32 | 7, Session::number(5)));
        assert_eq!((frame.key, frame.body), (Some(310), b"packed".as_slice()), "a compressed body is left as it is");
        let datagram = by_hand(0, 1 << 4, b"");
        assert_eq!(parse(&datagram).unwrap().sequence, 1 << 32, "a zero in the low part alone is a number");
    }

    #[test]
    fn the_number_goes_on_past_32_bits_and_ends_at_35() {
        let mut out = Vec::new();
        for number in [u64::from(u32::MAX), 1 << 32, NUMBER_MAX] {
            assert_eq!(EuronextOptiq::default().encode(Session::number(7), number, &[b"m"], 1_400, &mut out), 1);
            let frame = parse(&out).unwrap();
            assert_eq!((frame.sequence, frame.session), (number, Session::number(7)));
        }
        assert_eq!(EuronextOptiq::default().encode(Session::NONE, NUMBER_MAX + 1, &[b"m"], 1_400, &mut out), 0);
        assert_eq!(EuronextOptiq::default().encode_heartbeat(Session::NONE, NUMBER_MAX + 1, &mut out), 0);
    }

    #[test]
    fn a_health_status_consumes_a_number() {
        let mut out = Vec::new();
        assert_eq!(EuronextOptiq::default().encode_heartbeat(Session::number(0), 8, &mut out), 1);
        let frame = parse(&out).unwrap();
        assert_eq!((frame.kind, frame.sequence, frame.count, frame.heartbeat), (FrameKind::Data, 8, 1, true));
        assert_eq!((frame.body.len(), frame.reset), (26, None));
        let flagged = |flags, body: &[u8]| {
            let datagram = by_hand(8, flags, body);
            let frame = parse(&datagram).unwrap();
            (frame.heartbeat, frame.reset)
        };
        assert_eq!(flagged(STATUS | COMPRESSED, &message(1_101)), (true, None), "it cannot be looked into");
        assert_eq!(flagged(STATUS, &message(1_102)), (false, None), "an end of the day is data");
        assert_eq!(flagged(0, &message(1_103)), (false, None), "the flag says it");
    }

    #[test]
    fn a_start_of_the_day_marks_a_reset() {
        let datagram = by_hand(1, STATUS, &message(1_101));
        let frame = parse(&datagram).unwrap();
        assert_eq!((frame.kind, frame.sequence, frame.heartbeat), (FrameKind::Data, 1, false));
        assert_eq!(frame.reset, Some(Reset::Marked(1)));
    }

    #[test]
    fn what_cannot_be_read_is_refused_under_its_reason() {
        let whole = by_hand(5, STATUS, &message(1_103));
        for cut in 0..whole.len() {
            let expected = if cut < HEADER { Err(Malformed::Header) } else { Ok(cut - HEADER) };
            assert_eq!(parse(&whole[..cut]).map(|frame| frame.body.len()), expected, "cut at {cut}");
        }
        assert_eq!(parse(&by_hand(0, 0b1110, b"m")).unwrap_err(), Malformed::Sequence);
    }

    #[test]
    fn sessions_are_counts_below_eight() {
        assert_eq!(EuronextOptiq::default().session("7"), Some(Session::number(7)));
        assert_eq!((EuronextOptiq::default().session("8"), EuronextOptiq::default().session("x")), (None, None));
    }
}
