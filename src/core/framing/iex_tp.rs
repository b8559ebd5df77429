//! IEX-TP (IEX TOPS, DEEP and DEEP+): message-sequenced, little-endian.
//!
//! ```text
//!  0         1    2          4         8         12            14      16              24               32          40
//!  +---------+----+----------+---------+---------+-------------+-------+---------------+----------------+-----------+------ - -
//!  | version | -  | protocol | channel | session | payload len | count | stream offset | first sequence | send time | blocks
//!  +---------+----+----------+---------+---------+-------------+-------+---------------+----------------+-----------+------ - -
//!    1            u16        u32       u32       u16           u16     i64             i64              i64 ns      u16 length | message
//! ```
//!
//! * The sequence number is that of the first message; numbers start at 1 in every session. They are signed on the wire: zero and
//!   below are malformed.
//! * Count 0 with an empty payload is a heartbeat with the next expected number. One per second.
//! * The length of a block does not count itself and may be zero. It belongs to the transport, so it is not part of the message.
//! * The stream offset counts payload bytes from the start of the session, so `offset + payload len` is the offset of the next
//!   segment. It shows nothing that the numbers do not show, unless the payload length is not that of the messages: such a
//!   frame is malformed. Of the offset itself, only the sign is checked.
//! * The channel is the key. The protocol id (TOPS or DEEP, and its version) says what the messages are about; it is ignored.
//! * A new session restarts the numbers. No other restart is documented, but captured streams have some within a session, which begin
//!   with heartbeats of number 1. So a heartbeat with number 1 may be a reset, and an unmarked restart is allowed.
//! * No end of session.
//!
//! A publisher here writes protocol 0x8003 (TOPS 1.6), with a stream offset of 0: a true one would need all payloads before.
//!
//! Source: IEX Transport Protocol specification 1.26 (June 2026), and a captured stream of 57,674 messages.

use super::field::{le16, le32, le64};
use super::{Framing, Malformed, Proof};
use crate::frame::{Frame, FrameKind, Packing, Reset, SequenceRules, Session};
use crate::seq::{SeqNo, Width};
use crate::time::Nanos;

const HEADER: usize = 40;
const VERSION: u8 = 1;
const PROTOCOL_TOPS_1_6: u16 = 0x8003;
/// Numbers and offsets are signed.
const NUMBER_MAX: u64 = i64::MAX as u64;

/// The IEX-TP framing. The head of this file shows its header and rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IexTp {
    /// The channel that a publisher writes.
    pub channel: u32,
}

impl Default for IexTp {
    fn default() -> IexTp {
        IexTp { channel: 1 }
    }
}

impl IexTp {
    fn header(self, session: Session, sequence: u64, out: &mut Vec<u8>) {
        out.clear();
        out.extend_from_slice(&[VERSION, 0]);
        out.extend_from_slice(&PROTOCOL_TOPS_1_6.to_le_bytes());
        out.extend_from_slice(&self.channel.to_le_bytes());
        out.extend_from_slice(&(session.as_number().unwrap_or(1) as u32).to_le_bytes());
        out.extend_from_slice(&[0; 12]);
        out.extend_from_slice(&sequence.to_le_bytes());
        out.extend_from_slice(&[0; 8]);
    }
}

impl Framing for IexTp {
    const NAME: &'static str = "iex-tp";
    const PROOF: Proof = Proof::Stream;

    #[inline]
    fn rules(self) -> SequenceRules {
        SequenceRules {
            width: Width::U64,
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
        Packing::LENGTH_LE16
    }

    fn with_key(self, key: u32) -> IexTp {
        IexTp { channel: key }
    }

    fn session(self, text: &str) -> Option<Session> {
        text.parse::<u32>().ok().map(|number| Session::number(u64::from(number)))
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
        if head[0] != VERSION {
            return Some(Err(Malformed::Type));
        }
        let (payload_len, count) = (usize::from(le16::<12, _>(head)), u32::from(le16::<14, _>(head)));
        let (offset, sequence) = (le64::<16, _>(head), le64::<24, _>(head));
        if sequence == 0 || sequence > NUMBER_MAX - u64::from(count) || offset > NUMBER_MAX {
            return Some(Err(Malformed::Sequence));
        }
        let Some(body) = rest.get(..payload_len) else {
            return Some(Err(Malformed::Length));
        };
        match Packing::LENGTH_LE16.blocks_len(body, count) {
            Some(len) if len == payload_len => {}
            Some(_) => return Some(Err(Malformed::Length)),
            None => return Some(Err(Malformed::Overrun)),
        }
        Some(Ok(Frame {
            key: Some(le32::<4, _>(head)),
            session: Session::number(u64::from(le32::<8, _>(head))),
            kind: if count > 0 { FrameKind::Data } else { FrameKind::Heartbeat },
            sequence,
            count,
            heartbeat: count == 0,
            reset: (count == 0 && sequence == 1).then_some(Reset::Heartbeat(1)),
            packing: Packing::LENGTH_LE16,
            body,
            bytes: datagram,
        }))
    }

    fn encode(self, session: Session, sequence: u64, messages: &[&[u8]], max_len: usize, out: &mut Vec<u8>) -> usize {
        self.header(session, sequence, out);
        let mut count = 0u16;
        for message in messages {
            let Ok(len) = u16::try_from(message.len()) else { break };
            let end = out.len() + 2 + message.len();
            if count == u16::MAX || end - HEADER > usize::from(u16::MAX) || (end > max_len && count > 0) {
                break;
            }
            out.extend_from_slice(&len.to_le_bytes());
            out.extend_from_slice(message);
            count += 1;
        }
        let payload_len = (out.len() - HEADER) as u16;
        out[12..14].copy_from_slice(&payload_len.to_le_bytes());
        out[14..16].copy_from_slice(&count.to_le_bytes());
        usize::from(count)
    }

    fn encode_heartbeat(self, session: Session, next: u64, out: &mut Vec<u8>) -> u32 {
        self.header(session, next, out);
        0
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
        let frame = IexTp::default().frame(datagram, &mut at).expect("a datagram holds a frame or an error");
        assert!(IexTp::default().frame(datagram, &mut at).is_none(), "one frame a datagram");
        frame
    }

    fn data(sequence: u64, messages: &[&[u8]]) -> Vec<u8> {
        let (framing, session) = (IexTp::default().with_key(7), Session::number(1_283));
        let mut out = Vec::new();
        assert_eq!(framing.encode(session, sequence, messages, 1_400, &mut out), messages.len());
        out
    }

    /// Offset 2 on: after the header picture, not after our own writer.
    fn header(payload_len: u16, count: u16, offset: i64, sequence: i64) -> Vec<u8> {
        let mut out = vec![1, 0, 4, 0x80, 3, 0, 0, 0, 0x2C, 1, 0, 0];
        out.extend_from_slice(&payload_len.to_le_bytes());
        out.extend_from_slice(&count.to_le_bytes());
        for number in [offset, sequence, 1_600_000_000_000_000_000] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        out
    }

    #[test]
    fn what_is_written_is_read() {
        let datagram = data(7, &[b"one", b"", b"three"]);
        let frame = parse(&datagram).unwrap();
        assert_eq!((frame.kind, frame.sequence, frame.count, frame.heartbeat), (FrameKind::Data, 7, 3, false));
        assert_eq!((frame.key, frame.session.to_string().as_str(), frame.reset), (Some(7), "1283", None));
        assert_eq!(frame.packing.messages(frame.body).collect::<Vec<_>>(), [b"one".as_slice(), b"", b"three"]);
    }

    #[test]
    fn a_frame_by_hand_is_read() {
        let mut datagram = header(7, 2, 90, 12);
        datagram.extend_from_slice(&[1, 0, b'x', 2, 0, b'y', b'z']);
        let frame = parse(&datagram).unwrap();
        assert_eq!((frame.key, frame.session, frame.sequence), (Some(3), Session::number(300), 12));
        assert_eq!(frame.packing.messages(frame.body).collect::<Vec<_>>(), [b"x".as_slice(), b"yz"]);
    }

    #[test]
    fn heartbeats_carry_the_next_number_and_at_the_first_may_be_a_reset() {
        let mut out = Vec::new();
        assert_eq!(IexTp::default().encode_heartbeat(Session::number(5), 9, &mut out), 0);
        let frame = parse(&out).unwrap();
        assert_eq!((frame.kind, frame.sequence, frame.count, frame.heartbeat), (FrameKind::Heartbeat, 9, 0, true));
        assert_eq!((frame.key, frame.session, frame.reset), (Some(1), Session::number(5), None));
        assert_eq!(parse(&header(0, 0, 0, 1)).unwrap().reset, Some(Reset::Heartbeat(1)));
        let mut first = header(3, 1, 0, 1);
        first.extend_from_slice(&[1, 0, b'm']);
        assert_eq!(parse(&first).unwrap().reset, None, "data at 1 marks nothing");
        assert!(!IexTp::default().encode_end(Session::number(5), 9, &mut out));
    }

    #[test]
    fn a_payload_length_that_is_not_its_messages_is_malformed() {
        let block = [1, 0, b'm'];
        let with = |payload_len, count, body: &[u8]| [header(payload_len, count, 0, 5), body.to_vec()].concat();
        assert_eq!(parse(&with(3, 1, &block)).unwrap().count, 1);
        assert_eq!(parse(&with(6, 1, &block.repeat(2))).unwrap_err(), Malformed::Length, "more than its messages");
        assert_eq!(parse(&with(3, 2, &block.repeat(2))).unwrap_err(), Malformed::Overrun, "less than its messages");
        assert_eq!(parse(&with(4, 1, &block)).unwrap_err(), Malformed::Length, "more than the datagram");
        assert_eq!(parse(&with(3, 0, &block)).unwrap_err(), Malformed::Length, "a heartbeat with a payload");
        assert_eq!(parse(&with(0, 1, &block)).unwrap_err(), Malformed::Overrun, "messages without a payload");
    }

    #[test]
    fn what_cannot_be_read_is_refused_under_its_reason() {
        let whole = data(5, &[b"one", b"two"]);
        for cut in 0..whole.len() {
            let reason = if cut < HEADER { Malformed::Header } else { Malformed::Length };
            assert_eq!(parse(&whole[..cut]).unwrap_err(), reason, "cut at {cut}");
        }
        let mut other_version = whole.clone();
        other_version[0] = 2;
        assert_eq!(parse(&other_version).unwrap_err(), Malformed::Type);
    }

    #[test]
    fn numbers_are_above_zero_and_within_63_bits() {
        for sequence in [0, -1, i64::MIN] {
            assert_eq!(parse(&header(0, 0, 0, sequence)).unwrap_err(), Malformed::Sequence, "{sequence}");
        }
        assert_eq!(parse(&header(0, 0, -1, 5)).unwrap_err(), Malformed::Sequence);
        assert_eq!(parse(&header(0, 0, 0, i64::MAX)).unwrap().sequence, i64::MAX as u64);
        let last = data(i64::MAX as u64 - 1, &[b"m"]);
        assert_eq!(parse(&last).unwrap().count, 1);
        assert_eq!(parse(&data(i64::MAX as u64, &[b"m"])).unwrap_err(), Malformed::Sequence);
    }

    #[test]
    fn bytes_behind_the_payload_are_left_alone() {
        let mut datagram = data(5, &[b"one"]);
        datagram.extend_from_slice(&[0; 7]);
        let frame = parse(&datagram).unwrap();
        assert_eq!((frame.packing.messages(frame.body).count(), frame.body.len()), (1, 5));
        assert_eq!(frame.bytes.len(), datagram.len());
    }

    #[test]
    fn a_datagram_is_filled_up_to_its_limit_and_holds_one_message_at_least() {
        let (mut out, m) = (Vec::new(), [b'm'; 30]);
        assert_eq!(IexTp::default().encode(Session::NONE, 1, &[&m, &m, &m], 104, &mut out), 2);
        assert_eq!(out.len(), 104);
        assert_eq!(IexTp::default().encode(Session::NONE, 1, &[&m, &m], 10, &mut out), 1);
        let long = vec![b'm'; usize::from(u16::MAX) - 1];
        assert_eq!(
            IexTp::default().encode(Session::NONE, 1, &[&long], usize::MAX, &mut out),
            0,
            "no room for its length"
        );
    }

    #[test]
    fn sessions_are_numbers_of_32_bits() {
        assert_eq!(IexTp::default().session("4294967295"), Some(Session::number(u64::from(u32::MAX))));
        assert_eq!((IexTp::default().session("4294967296"), IexTp::default().session("day")), (None, None));
    }
}
