//! MEMX-UDP (MEMX; also Blue Ocean and 24X): message-sequenced, big-endian. It resembles MoldUDP64 but is not compatible.
//!
//! ```text
//!  0      1               2             10            18      20
//!  +------+---------------+-------------+-------------+- - - -+------------+--------- - -
//!  | type | header length | session u64 | sequence u64| count | u16 length | message | ...
//!  +------+---------------+-------------+-------------+- - - -+------------+--------- - -
//! ```
//!
//! * Type 2 has messages: their count (`u16`) follows the header, and the sequence number is that of the first. The header may
//!   grow: its length says where it ends, now 18 bytes.
//! * Type 0 is a heartbeat with the *last* number published, or 0 if there was none; a frame here has the next one. The interval
//!   is not documented: 1 s is assumed.
//! * Type 1 is the end of the session. It is repeated, and also carries the last number.
//! * The length of a block does not count itself and may be zero. It belongs to the transport, so it is not part of the message.
//! * Numbers start at 1 in every session. Only a new session is a reset; no unmarked restart.
//! * A type 2 without messages, which the document does not have, is read as a heartbeat.
//!
//! Source: MEMX-UDP specification 1.1, and captured packets.

use super::field::be64;
use super::{Framing, Malformed, Proof};
use crate::frame::{Frame, FrameKind, Packing, SequenceRules, Session};
use crate::seq::{SeqNo, Width};
use crate::time::Nanos;

const HEADER: usize = 18;
const TYPE_HEARTBEAT: u8 = 0;
const TYPE_SHUTDOWN: u8 = 1;
const TYPE_SEQUENCED: u8 = 2;

/// The MEMX-UDP framing. The head of this file shows its header and rules.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MemxUdp;

fn header(kind: u8, session: Session, sequence: u64, out: &mut Vec<u8>) {
    out.clear();
    out.extend_from_slice(&[kind, HEADER as u8]);
    out.extend_from_slice(&session.as_number().unwrap_or(1).to_be_bytes());
    out.extend_from_slice(&sequence.to_be_bytes());
}

impl MemxUdp {
    /// A heartbeat, or the end of a session, after number `last`.
    #[cold]
    fn without_messages<'a>(kind: u8, head: &[u8; HEADER], datagram: &'a [u8]) -> Result<Frame<'a>, Malformed> {
        let kind = match kind {
            TYPE_HEARTBEAT => FrameKind::Heartbeat,
            TYPE_SHUTDOWN => FrameKind::EndOfSession,
            _ => return Err(Malformed::Type),
        };
        let Some(next) = be64::<10, _>(head).checked_add(1) else {
            return Err(Malformed::Sequence);
        };
        Ok(MemxUdp::frame_of(kind, head, next, 0, &[], datagram))
    }

    #[inline]
    fn frame_of<'a>(
        kind: FrameKind,
        head: &[u8; HEADER],
        sequence: u64,
        count: u16,
        body: &'a [u8],
        bytes: &'a [u8],
    ) -> Frame<'a> {
        Frame {
            key: None,
            session: Session::number(be64::<2, _>(head)),
            kind,
            sequence,
            count: u32::from(count),
            heartbeat: kind == FrameKind::Heartbeat,
            reset: None,
            packing: Packing::LENGTH_BE16,
            body,
            bytes,
        }
    }
}

impl Framing for MemxUdp {
    const NAME: &'static str = "memx-udp";
    const PROOF: Proof = Proof::Packets;

    #[inline]
    fn rules(self) -> SequenceRules {
        SequenceRules {
            width: Width::U64,
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
        Packing::LENGTH_BE16
    }

    fn session(self, text: &str) -> Option<Session> {
        text.parse().ok().map(Session::number)
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
        let [kind, header_len, ..] = *head;
        let rest = match datagram.get(usize::from(header_len)..) {
            Some(rest) if usize::from(header_len) >= HEADER => rest,
            _ => return Some(Err(Malformed::Length)),
        };
        if kind != TYPE_SEQUENCED {
            return Some(MemxUdp::without_messages(kind, head, datagram));
        }
        let Some((count, blocks)) = rest.split_first_chunk() else {
            return Some(Err(Malformed::Header));
        };
        let (sequence, count) = (be64::<10, _>(head), u16::from_be_bytes(*count));
        if sequence == 0 || sequence.checked_add(u64::from(count)).is_none() {
            return Some(Err(Malformed::Sequence));
        }
        let Some(len) = Packing::LENGTH_BE16.blocks_len(blocks, u32::from(count)) else {
            return Some(Err(Malformed::Overrun));
        };
        let kind = if count > 0 { FrameKind::Data } else { FrameKind::Heartbeat };
        Some(Ok(MemxUdp::frame_of(kind, head, sequence, count, &blocks[..len], datagram)))
    }

    fn encode(self, session: Session, sequence: u64, messages: &[&[u8]], max_len: usize, out: &mut Vec<u8>) -> usize {
        header(TYPE_SEQUENCED, session, sequence, out);
        out.extend_from_slice(&[0; 2]);
        let mut count = 0u16;
        for message in messages {
            let Ok(len) = u16::try_from(message.len()) else { break };
            let full = count == u16::MAX || out.len() + 2 + message.len() > max_len;
            if full && count > 0 {
                break;
            }
            out.extend_from_slice(&len.to_be_bytes());
            out.extend_from_slice(message);
            count += 1;
        }
        out[HEADER..HEADER + 2].copy_from_slice(&count.to_be_bytes());
        usize::from(count)
    }

    fn encode_heartbeat(self, session: Session, next: u64, out: &mut Vec<u8>) -> u32 {
        header(TYPE_HEARTBEAT, session, next.saturating_sub(1), out);
        0
    }

    fn encode_end(self, session: Session, next: u64, out: &mut Vec<u8>) -> bool {
        header(TYPE_SHUTDOWN, session, next.saturating_sub(1), out);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(datagram: &[u8]) -> Result<Frame<'_>, Malformed> {
        let mut at = 0;
        let frame = MemxUdp.frame(datagram, &mut at).expect("a datagram holds a frame or an error");
        assert!(MemxUdp.frame(datagram, &mut at).is_none(), "one frame a datagram");
        frame
    }

    fn data(sequence: u64, messages: &[&[u8]]) -> Vec<u8> {
        let mut out = Vec::new();
        assert_eq!(MemxUdp.encode(Session::number(77), sequence, messages, 1_400, &mut out), messages.len());
        out
    }

    /// Type, header length, session 5, the number, and what is behind.
    fn by_hand(kind: u8, header_len: u8, sequence: u64, behind: &[u8]) -> Vec<u8> {
        [&[kind, header_len, 0, 0, 0, 0, 0, 0, 0, 5], sequence.to_be_bytes().as_slice(), behind].concat()
    }

    #[test]
    fn what_is_written_is_read() {
        let datagram = data(7, &[b"one", b"", b"three"]);
        let frame = parse(&datagram).unwrap();
        assert_eq!((frame.kind, frame.sequence, frame.count, frame.heartbeat), (FrameKind::Data, 7, 3, false));
        assert_eq!((frame.key, frame.session, frame.reset), (None, Session::number(77), None));
        assert_eq!(frame.packing.messages(frame.body).collect::<Vec<_>>(), [b"one".as_slice(), b"", b"three"]);
    }

    #[test]
    fn heartbeats_and_ends_carry_the_last_number_on_the_wire_and_the_next_one_here() {
        for (kind, read) in [(0, FrameKind::Heartbeat), (1, FrameKind::EndOfSession)] {
            for (last, next) in [(0, 1), (8, 9)] {
                let datagram = by_hand(kind, 18, last, b"");
                let frame = parse(&datagram).unwrap();
                assert_eq!((frame.kind, frame.sequence, frame.count), (read, next, 0));
                assert_eq!((frame.session, frame.heartbeat, frame.reset), (Session::number(5), kind == 0, None));
            }
            assert_eq!(parse(&by_hand(kind, 18, u64::MAX, b"")).unwrap_err(), Malformed::Sequence);
        }
        let mut out = Vec::new();
        assert_eq!(MemxUdp.encode_heartbeat(Session::number(5), 9, &mut out), 0);
        assert_eq!(out, by_hand(0, 18, 8, b""));
        assert!(MemxUdp.encode_end(Session::number(5), 9, &mut out));
        assert_eq!(out, by_hand(1, 18, 8, b""));
    }

    #[test]
    fn the_header_length_says_where_the_count_stands() {
        let datagram = by_hand(2, 21, 4, &[9, 9, 9, 0, 1, 0, 2, b'h', b'i']);
        let frame = parse(&datagram).unwrap();
        assert_eq!((frame.sequence, frame.count), (4, 1));
        assert_eq!(frame.packing.messages(frame.body).collect::<Vec<_>>(), [b"hi"]);
        assert_eq!(parse(&by_hand(2, 17, 4, &[0, 0])).unwrap_err(), Malformed::Length, "less than the header");
        assert_eq!(parse(&by_hand(0, 19, 4, b"")).unwrap_err(), Malformed::Length, "more than the datagram");
    }

    #[test]
    fn what_cannot_be_read_is_refused_under_its_reason() {
        let whole = data(5, &[b"one", b"two"]);
        for cut in 0..whole.len() {
            let reason = if cut < HEADER + 2 { Malformed::Header } else { Malformed::Overrun };
            assert_eq!(parse(&whole[..cut]).unwrap_err(), reason, "cut at {cut}");
        }
        assert_eq!(parse(&by_hand(3, 18, 4, &[0, 0])).unwrap_err(), Malformed::Type);
        assert_eq!(parse(&data(0, &[b"x"])).unwrap_err(), Malformed::Sequence);
        assert_eq!(parse(&data(u64::MAX, &[b"x"])).unwrap_err(), Malformed::Sequence);
    }

    #[test]
    fn a_count_of_none_says_the_next_number() {
        let datagram = by_hand(2, 18, 4, &[0, 0]);
        let frame = parse(&datagram).unwrap();
        assert_eq!((frame.kind, frame.sequence, frame.count, frame.heartbeat), (FrameKind::Heartbeat, 4, 0, true));
    }

    #[test]
    fn bytes_behind_the_last_message_are_left_alone() {
        let mut datagram = data(5, &[b"one"]);
        datagram.extend_from_slice(&[0; 7]);
        let frame = parse(&datagram).unwrap();
        assert_eq!((frame.packing.messages(frame.body).count(), frame.body.len()), (1, 5));
    }

    #[test]
    fn a_datagram_is_filled_up_to_its_limit_and_holds_one_message_at_least() {
        let (mut out, m) = (Vec::new(), [b'm'; 30]);
        assert_eq!(MemxUdp.encode(Session::NONE, 1, &[&m, &m, &m], 90, &mut out), 2);
        assert_eq!(MemxUdp.encode(Session::NONE, 1, &[&m, &m], 10, &mut out), 1);
        assert_eq!(MemxUdp.encode(Session::NONE, 1, &[&vec![0; 65_536]], usize::MAX, &mut out), 0);
    }

    #[test]
    fn sessions_are_numbers() {
        assert_eq!(MemxUdp.session("18446744073709551615"), Some(Session::number(u64::MAX)));
        assert_eq!(MemxUdp.session("TWIN000001"), None);
    }
}
