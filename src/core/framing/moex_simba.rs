//! MOEX SIMBA SPECTRA: packet-sequenced, little-endian, without sessions.
//!
//! ```text
//!  0           4         6        8              16             24         28
//!  +-----------+---------+--------+--------------+- - - - - - - + - - - - -+---------------------- - -
//!  | MsgSeqNum | MsgSize | flags  | SendingTime  | TransactTime | session  | SBE header | body | ...
//!  +-----------+---------+--------+--------------+- - - - - - - + - - - - -+---------------------- - -
//!    u32         u16       u16      u64            in incremental packets only (flag 8)
//! ```
//!
//! * The number is the packet's: one packet is one message, namely what follows its header (16 bytes; 28 in incremental packets) up to
//!   `MsgSize`, which counts the header. The content is for the client to read; none of it is checked here.
//! * Numbers start at 1 every day, which no packet marks: an unmarked restart is allowed. Zero is malformed; after 4,294,967,295
//!   comes 1. The trading session in incremental packets is part of the content and not a session here: nothing says that the
//!   numbers restart with it.
//! * A heartbeat (message 1) is a packet like any other, which consumes a number. One per 30 s.
//! * `SequenceReset` (message 2) states the number of the next packet; a snapshot cycle ends with one that states 1. It marks a reset,
//!   and is delivered as unsequenced: no packet continues from its own number.
//! * Retransmitted packets (flag 16) keep their numbers and are like any other.
//! * No end of session.
//!
//! Source: SIMBA SPECTRA specification of October 2023. No captured packets were at hand.

use super::field::{le16, le32};
use super::{Framing, Malformed, Proof};
use crate::frame::{Frame, FrameKind, Packing, Reset, SequenceRules, Session};
use crate::seq::{SeqNo, Width};
use crate::time::Nanos;

const HEADER: usize = 16;
const INCREMENTAL_HEADER: usize = 28;
/// Block length, template id, schema id, version.
const SBE_HEADER: usize = 8;
const FLAG_LAST_FRAGMENT: u16 = 1;
const FLAG_INCREMENTAL: u16 = 8;
const TEMPLATE_HEARTBEAT: u16 = 1;
const TEMPLATE_SEQUENCE_RESET: u16 = 2;
const SCHEMA: u16 = 19_780;

/// The MOEX SIMBA SPECTRA framing. The head of this file shows its header and rules.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MoexSimba;

impl MoexSimba {
    /// The template of the first message; 0, which is no template, if there is no message.
    #[inline]
    fn template(body: &[u8]) -> u16 {
        body.first_chunk::<SBE_HEADER>().map_or(0, le16::<2, _>)
    }

    /// Makes a `SequenceReset` of `frame`, which is as if it had any other message.
    #[cold]
    fn reset<'a>(frame: Frame<'a>) -> Result<Frame<'a>, Malformed> {
        let Some(next) = frame.body.get(SBE_HEADER..).and_then(|block| block.first_chunk()) else {
            return Err(Malformed::Overrun);
        };
        match u64::from(u32::from_le_bytes(*next)) {
            0 => Err(Malformed::Sequence),
            next => Ok(Frame { kind: FrameKind::Unsequenced, sequence: 0, reset: Some(Reset::Marked(next)), ..frame }),
        }
    }
}

impl Framing for MoexSimba {
    const NAME: &'static str = "moex-simba";
    const PROOF: Proof = Proof::Document;

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
        let Some(head) = datagram.first_chunk::<HEADER>() else {
            return Some(Err(Malformed::Header));
        };
        let (size, flags) = (usize::from(le16::<4, _>(head)), le16::<6, _>(head));
        let header = if flags & FLAG_INCREMENTAL == 0 { HEADER } else { INCREMENTAL_HEADER };
        let Some(body) = datagram.get(header..size) else {
            return Some(Err(Malformed::Length));
        };
        let sequence = u64::from(le32::<0, _>(head));
        if sequence == 0 {
            return Some(Err(Malformed::Sequence));
        }
        let template = MoexSimba::template(body);
        let frame = Frame {
            key: None,
            session: Session::NONE,
            kind: FrameKind::Data,
            sequence,
            count: 1,
            heartbeat: template == TEMPLATE_HEARTBEAT,
            reset: None,
            packing: Packing::WHOLE,
            body,
            bytes: datagram,
        };
        Some(if template == TEMPLATE_SEQUENCE_RESET { MoexSimba::reset(frame) } else { Ok(frame) })
    }

    fn encode(self, _: Session, sequence: u64, messages: &[&[u8]], _: usize, out: &mut Vec<u8>) -> usize {
        out.clear();
        let Some(message) = messages.first() else { return 0 };
        let Ok(size) = u16::try_from(INCREMENTAL_HEADER + message.len()) else { return 0 };
        out.extend_from_slice(&(Width::U32SkipZero.wire(SeqNo(sequence)) as u32).to_le_bytes());
        out.extend_from_slice(&size.to_le_bytes());
        out.extend_from_slice(&(FLAG_LAST_FRAGMENT | FLAG_INCREMENTAL).to_le_bytes());
        out.extend_from_slice(&[0; INCREMENTAL_HEADER - 8]);
        out.extend_from_slice(message);
        1
    }

    fn encode_heartbeat(self, session: Session, next: u64, out: &mut Vec<u8>) -> u32 {
        let mut body = [0; SBE_HEADER];
        body[2..4].copy_from_slice(&TEMPLATE_HEARTBEAT.to_le_bytes());
        body[4..6].copy_from_slice(&SCHEMA.to_le_bytes());
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
        let frame = MoexSimba.frame(datagram, &mut at).expect("a datagram holds a frame or an error");
        assert!(MoexSimba.frame(datagram, &mut at).is_none(), "one frame a datagram");
        frame
    }

    /// After the header picture, not after our own writer.
    fn by_hand(number: u32, flags: u16, behind: &[u8]) -> Vec<u8> {
        let mut out = number.to_le_bytes().to_vec();
        out.extend_from_slice(&(16 + behind.len() as u16).to_le_bytes());
        out.extend_from_slice(&flags.to_le_bytes());
        out.extend_from_slice(&[1, 2, 3, 4, 5, 6, 7, 8]);
        out.extend_from_slice(behind);
        out
    }

    fn message(template: u16, block: &[u8]) -> Vec<u8> {
        let head = [block.len() as u16, template, 19_780, 4].map(u16::to_le_bytes).concat();
        [head.as_slice(), block].concat()
    }

    #[test]
    fn a_packet_is_one_message() {
        let mut out = Vec::new();
        assert_eq!(MoexSimba.encode(Session::NONE, 5_615, &[b"body", b"next"], 1_400, &mut out), 1);
        let frame = parse(&out).unwrap();
        assert_eq!((frame.kind, frame.sequence, frame.count, frame.heartbeat), (FrameKind::Data, 5_615, 1, false));
        assert_eq!((frame.key, frame.session, frame.reset), (None, Session::NONE, None));
        assert_eq!(frame.packing.messages(frame.body).collect::<Vec<_>>(), [b"body"]);
        assert_eq!(out[4..8], [32, 0, 9, 0]);
    }

    #[test]
    fn the_flag_says_how_long_the_header_is() {
        let order = message(15, b"order");
        let snapshot = by_hand(4_295, 6, &order);
        assert_eq!(parse(&snapshot).unwrap().body, order);
        let incremental = by_hand(7, 9 | 16, &[[9; 12].as_slice(), &order].concat());
        let frame = parse(&incremental).unwrap();
        assert_eq!((frame.kind, frame.sequence, frame.body), (FrameKind::Data, 7, order.as_slice()));
    }

    #[test]
    fn a_heartbeat_consumes_a_number() {
        let mut out = Vec::new();
        assert_eq!(MoexSimba.encode_heartbeat(Session::NONE, 8, &mut out), 1);
        let frame = parse(&out).unwrap();
        assert_eq!((frame.kind, frame.sequence, frame.count, frame.heartbeat), (FrameKind::Data, 8, 1, true));
        assert!(parse(&by_hand(8, 1, &message(1, b""))).unwrap().heartbeat, "also where it is not incremental");
    }

    #[test]
    fn a_sequence_reset_marks_the_number_that_comes_next() {
        for (flags, more) in [(1, &[][..]), (9, &[9; 12])] {
            let reset = |next: u32| by_hand(17, flags, &[more, &message(2, &next.to_le_bytes())].concat());
            let datagram = reset(1);
            let frame = parse(&datagram).unwrap();
            assert_eq!((frame.kind, frame.count, frame.reset), (FrameKind::Unsequenced, 1, Some(Reset::Marked(1))));
            assert_eq!((frame.heartbeat, frame.body.len()), (false, 12));
            assert_eq!(parse(&reset(900)).unwrap().reset, Some(Reset::Marked(900)));
            assert_eq!(parse(&reset(0)).unwrap_err(), Malformed::Sequence);
            let short = by_hand(17, flags, &[more, &message(2, &[1, 0, 0])].concat());
            assert_eq!(parse(&short).unwrap_err(), Malformed::Overrun);
        }
    }

    #[test]
    fn numbers_wrap_without_the_zero() {
        let (mut out, last) = (Vec::new(), u64::from(u32::MAX));
        for (number, wire) in [(last, last), (last + 1, 1)] {
            MoexSimba.encode(Session::NONE, number, &[b"m"], 1_400, &mut out);
            assert_eq!(parse(&out).unwrap().sequence, wire);
        }
    }

    #[test]
    fn what_cannot_be_read_is_refused_under_its_reason() {
        for flags in [1, 9] {
            let whole = by_hand(5, flags, &[0; 20]);
            for cut in 0..whole.len() {
                let reason = if cut < HEADER { Malformed::Header } else { Malformed::Length };
                assert_eq!(parse(&whole[..cut]).unwrap_err(), reason, "cut at {cut}");
            }
        }
        let sized = |size: u16, flags: u16| {
            let mut datagram = by_hand(5, flags, &[0; 20]);
            datagram[4..6].copy_from_slice(&size.to_le_bytes());
            parse(&datagram).map(|frame| frame.body.len())
        };
        assert_eq!((sized(15, 0), sized(16, 0), sized(36, 0)), (Err(Malformed::Length), Ok(0), Ok(20)));
        assert_eq!((sized(27, 8), sized(28, 8), sized(37, 8)), (Err(Malformed::Length), Ok(0), Err(Malformed::Length)));
        assert_eq!(parse(&by_hand(0, 1, b"m")).unwrap_err(), Malformed::Sequence);
        assert_eq!(MoexSimba.encode(Session::NONE, 1, &[&vec![0; 65_508]], usize::MAX, &mut Vec::new()), 0);
    }
}
