//! CME MDP 3.0: packet-sequenced, little-endian, without sessions.
//!
//! ```text
//!  0           4                  12
//!  +-----------+------------------+---------------------- - -
//!  | MsgSeqNum | SendingTime      | u16 size | SBE header | body | ...
//!  +-----------+------------------+---------------------- - -
//! ```
//!
//! * The number is the packet's: one packet is one message, namely the datagram without its 12-byte header. The content is for
//!   the client to read; none of it is checked here.
//! * A heartbeat (`AdminHeartbeat`, SBE template 12) is a packet like any other and consumes a number.
//! * Numbers start at 1; zero is malformed. A restart is not marked.
//!
//! Source: CME client-systems wiki, "MDP 3.0 - Binary Packet Header", and the real two-line capture (10,000 packets).

use super::{Framing, Malformed, Proof};
use crate::frame::{Frame, FrameKind, Packing, SequenceRules, Session};
use crate::seq::{SeqNo, Width};
use crate::time::Nanos;

const HEADER: usize = 12;
/// Size field, then the SBE header: block length, template id, schema id, version.
const MESSAGE_HEADER: usize = 10;
const TEMPLATE_HEARTBEAT: u16 = 12;

/// The CME MDP 3.0 framing. The head of this file shows its header and rules.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CmeMdp3;

impl CmeMdp3 {
    /// The template of the first message, if there is one.
    #[inline]
    fn template(body: &[u8]) -> Option<u16> {
        body.get(4..6).map(|field| u16::from_le_bytes([field[0], field[1]]))
    }
}

impl Framing for CmeMdp3 {
    const NAME: &'static str = "cme-mdp3";
    const PROOF: Proof = Proof::Stream;

    #[inline]
    fn rules(self) -> SequenceRules {
        SequenceRules {
            width: Width::U32SkipZero,
            initial: SeqNo(1),
            unmarked_restart: true,
            keyed: false,
            heartbeat_interval: Nanos::from_secs(30),
        }
    }

    fn packet_sequenced(self) -> bool {
        true
    }

    #[inline]
    fn packing(self) -> Packing {
        Packing::WHOLE
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
        let sequence = u64::from(u32::from_le_bytes([head[0], head[1], head[2], head[3]]));
        if sequence == 0 {
            return Some(Err(Malformed::Sequence));
        }
        Some(Ok(Frame {
            key: None,
            session: Session::NONE,
            kind: FrameKind::Data,
            sequence,
            count: 1,
            heartbeat: Self::template(body) == Some(TEMPLATE_HEARTBEAT),
            reset: None,
            packing: Packing::WHOLE,
            body,
            bytes: datagram,
        }))
    }

    fn encode(self, _: Session, sequence: u64, messages: &[&[u8]], _: usize, out: &mut Vec<u8>) -> usize {
        out.clear();
        out.extend_from_slice(&(Width::U32SkipZero.wire(SeqNo(sequence)) as u32).to_le_bytes());
        out.extend_from_slice(&[0; 8]);
        let Some(message) = messages.first() else { return 0 };
        out.extend_from_slice(message);
        1
    }

    fn encode_heartbeat(self, session: Session, next: u64, out: &mut Vec<u8>) -> u32 {
        let mut body = [0; MESSAGE_HEADER];
        body[0] = MESSAGE_HEADER as u8;
        body[4] = TEMPLATE_HEARTBEAT as u8;
        body[6] = 1;
        body[8] = 9;
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
        CmeMdp3.frame(datagram, &mut 0).expect("a datagram holds a frame or an error")
    }

    #[test]
    fn a_packet_is_one_message() {
        let mut out = Vec::new();
        assert_eq!(CmeMdp3.encode(Session::NONE, 5_615, &[b"body", b"next"], 1_400, &mut out), 1);
        let frame = parse(&out).unwrap();
        assert_eq!((frame.kind, frame.sequence, frame.count, frame.heartbeat), (FrameKind::Data, 5_615, 1, false));
        assert_eq!(frame.packing.messages(frame.body).collect::<Vec<_>>(), [b"body"]);
    }

    #[test]
    fn a_heartbeat_consumes_a_number() {
        let mut out = Vec::new();
        assert_eq!(CmeMdp3.encode_heartbeat(Session::NONE, 8, &mut out), 1);
        assert_eq!(out.len(), 22);
        let frame = parse(&out).unwrap();
        assert_eq!((frame.kind, frame.sequence, frame.count, frame.heartbeat), (FrameKind::Data, 8, 1, true));
    }

    #[test]
    fn what_cannot_be_read_is_refused_under_its_reason() {
        assert_eq!(parse(b"").unwrap_err(), Malformed::Header);
        assert_eq!(parse(&[1; 11]).unwrap_err(), Malformed::Header);
        assert_eq!(parse(&[0; 40]).unwrap_err(), Malformed::Sequence);
        assert_eq!(parse(&[1; 12]).unwrap().body, b"");
    }
}
