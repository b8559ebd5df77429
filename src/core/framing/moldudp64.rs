//! MoldUDP64 (Nasdaq, UTP, ASX, JPX, JNX, BIST, FINRA): message-sequenced, big-endian.
//!
//! ```text
//!  0          10                  18      20
//!  +----------+-------------------+-------+--------- - -
//!  | session  | sequence (u64)    | count | u16 length | message | ...
//!  +----------+-------------------+-------+--------- - -
//! ```
//!
//! * The sequence number is that of the first message; numbers start at 1 in every session, and zero is malformed.
//! * Count 0 is a heartbeat, count 65,535 the end of the session. Both carry the next expected number.
//! * The length does not count itself and may be zero. It belongs to the transport, so it is not part of the message.
//! * A request is byte-identical to a header whose messages are missing, and is refused as such.
//! * Only a new session is a reset; no unmarked restart.
//!
//! Source: Nasdaq MoldUDP64 protocol specification 1.00.

use super::{Framing, Malformed, Proof};
use crate::frame::{Frame, FrameKind, Packing, SequenceRules, Session};
use crate::seq::{SeqNo, Width};
use crate::time::Nanos;

const HEADER: usize = 20;
const COUNT_END_OF_SESSION: u16 = 0xFFFF;

/// The MoldUDP64 framing. The head of this file shows its header and rules.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MoldUdp64;

fn header(session: Session, sequence: u64, count: u16, out: &mut Vec<u8>) {
    let mut name = [b' '; 10];
    let (given, len) = session.name();
    let len = len.min(10);
    name[..len].copy_from_slice(&given[..len]);
    out.clear();
    out.extend_from_slice(&name);
    out.extend_from_slice(&sequence.to_be_bytes());
    out.extend_from_slice(&count.to_be_bytes());
}

impl Framing for MoldUdp64 {
    const NAME: &'static str = "moldudp64";
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
        let mut name = [b' '; 10];
        name.get_mut(..text.len())?.copy_from_slice(text.as_bytes());
        Some(Session::fixed(&name))
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
        let (Some(session), Some(sequence)) = (head.first_chunk(), head[10..].first_chunk()) else {
            return Some(Err(Malformed::Header));
        };
        let sequence = u64::from_be_bytes(*sequence);
        let wire_count = u16::from_be_bytes([head[18], head[19]]);
        let (kind, count) = match wire_count {
            1..COUNT_END_OF_SESSION => (FrameKind::Data, wire_count),
            0 => (FrameKind::Heartbeat, 0),
            COUNT_END_OF_SESSION => (FrameKind::EndOfSession, 0),
        };
        if sequence == 0 || sequence.checked_add(u64::from(count)).is_none() {
            return Some(Err(Malformed::Sequence));
        }
        let Some(len) = Packing::LENGTH_BE16.blocks_len(rest, u32::from(count)) else {
            return Some(Err(Malformed::Overrun));
        };
        Some(Ok(Frame {
            key: None,
            session: Session::fixed::<10>(session),
            kind,
            sequence,
            count: u32::from(count),
            heartbeat: kind == FrameKind::Heartbeat,
            reset: None,
            packing: Packing::LENGTH_BE16,
            body: &rest[..len],
            bytes: datagram,
        }))
    }

    fn encode(self, session: Session, sequence: u64, messages: &[&[u8]], max_len: usize, out: &mut Vec<u8>) -> usize {
        header(session, sequence, 0, out);
        let mut count = 0u16;
        for message in messages {
            let Ok(len) = u16::try_from(message.len()) else { break };
            let full = count == COUNT_END_OF_SESSION - 1 || out.len() + 2 + message.len() > max_len;
            if full && count > 0 {
                break;
            }
            out.extend_from_slice(&len.to_be_bytes());
            out.extend_from_slice(message);
            count += 1;
        }
        out[18..20].copy_from_slice(&count.to_be_bytes());
        usize::from(count)
    }

    fn encode_heartbeat(self, session: Session, next: u64, out: &mut Vec<u8>) -> u32 {
        header(session, next, 0, out);
        0
    }

    fn encode_end(self, session: Session, next: u64, out: &mut Vec<u8>) -> bool {
        header(session, next, COUNT_END_OF_SESSION, out);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(datagram: &[u8]) -> Result<Frame<'_>, Malformed> {
        let mut at = 0;
        let frame = MoldUdp64.frame(datagram, &mut at).expect("a datagram holds a frame or an error");
        assert!(MoldUdp64.frame(datagram, &mut at).is_none(), "one frame a datagram");
        frame
    }

    fn data(sequence: u64, messages: &[&[u8]]) -> Vec<u8> {
        let mut out = Vec::new();
        assert_eq!(MoldUdp64.encode(Session::text(b"TWIN000001"), sequence, messages, 1_400, &mut out), messages.len());
        out
    }

    #[test]
    fn what_is_written_is_read() {
        let datagram = data(7, &[b"one", b"", b"three"]);
        let frame = parse(&datagram).unwrap();
        assert_eq!((frame.kind, frame.sequence, frame.count), (FrameKind::Data, 7, 3));
        assert_eq!(frame.session.to_string(), "TWIN000001");
        assert_eq!(frame.packing.messages(frame.body).collect::<Vec<_>>(), [b"one".as_slice(), b"", b"three"]);
    }

    #[test]
    fn heartbeats_and_ends_carry_the_next_number() {
        let mut out = Vec::new();
        MoldUdp64.encode_heartbeat(Session::text(b"S"), 9, &mut out);
        let frame = parse(&out).unwrap();
        assert_eq!((frame.kind, frame.sequence, frame.count, frame.heartbeat), (FrameKind::Heartbeat, 9, 0, true));
        assert!(MoldUdp64.encode_end(Session::text(b"S"), 9, &mut out));
        assert_eq!(parse(&out).unwrap().kind, FrameKind::EndOfSession);
        assert_eq!(parse(&out).unwrap().session.to_string(), "S         ");
    }

    #[test]
    fn what_cannot_be_read_is_refused_under_its_reason() {
        assert_eq!(parse(b"").unwrap_err(), Malformed::Header);
        assert_eq!(parse(&[0; 19]).unwrap_err(), Malformed::Header);
        assert_eq!(parse(&[0; 20]).unwrap_err(), Malformed::Sequence);
        assert_eq!(parse(&data(0, &[b"x"])).unwrap_err(), Malformed::Sequence);
        assert_eq!(parse(&data(u64::MAX, &[b"x", b"y"])).unwrap_err(), Malformed::Sequence);
        let whole = data(5, &[b"one", b"two"]);
        for cut in HEADER..whole.len() {
            assert_eq!(parse(&whole[..cut]).unwrap_err(), Malformed::Overrun, "cut at {cut}");
        }
    }

    #[test]
    fn a_request_echoed_as_downstream_is_an_overrun() {
        let mut request = Vec::new();
        header(Session::text(b"TWIN000001"), 17, 3, &mut request);
        assert_eq!(parse(&request).unwrap_err(), Malformed::Overrun);
    }

    #[test]
    fn bytes_behind_the_last_message_are_left_alone() {
        let mut datagram = data(5, &[b"one"]);
        datagram.extend_from_slice(&[0; 7]);
        let frame = parse(&datagram).unwrap();
        assert_eq!(frame.packing.messages(frame.body).count(), 1);
        assert_eq!(frame.bytes.len(), datagram.len());
    }

    #[test]
    fn a_datagram_is_filled_up_to_its_limit_and_holds_one_message_at_least() {
        let mut out = Vec::new();
        let m = [b'm'; 30];
        assert_eq!(MoldUdp64.encode(Session::NONE, 1, &[&m, &m, &m], 90, &mut out), 2);
        assert_eq!(MoldUdp64.encode(Session::NONE, 1, &[&m, &m], 10, &mut out), 1);
    }
}
