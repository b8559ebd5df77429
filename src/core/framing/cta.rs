//! CTA's CTS and CQS (Pillar): message-sequenced, big-endian, without sessions.
//!
//! ```text
//!  0         1      3      4         5          9       10        14   18         20
//!  +---------+------+------+---------+----------+-------+---------+----+----------+---------------------- - -
//!  | version | size | feed | 'O' 'V' | sequence | count | seconds | ns | checksum | u16 length | message | ...
//!  +---------+------+------+---------+----------+-------+---------+----+----------+---------------------- - -
//! ```
//!
//! * The size counts the block from its first byte. The checksum is the low 16 bits of the sum of all other bytes of the block,
//!   and is verified. A message begins with its own length, in two bytes that count themselves, so it is part of the message.
//!   Category and type follow.
//! * The number is the first message's; numbers begin at 1. After 4,294,967,295 comes 1. The **feed**, `T` for trades and `Q` for
//!   quotes, is the channel's key, as a number: 84 and 81. No header names a line.
//! * Control messages (category `C`) are alone in their block. `T`, line integrity, is a heartbeat: its count is 1, it carries
//!   the **last** number sent (0 before the first) and consumes none. At least every 10 s.
//! * `A`, start of day, has number 0: a reset to 1, delivered as unsequenced. `L` resets the counter to the block's number: a
//!   greater one, or 1 at the wrap. When the disaster recovery site takes over, several come, each one higher. `Z`, end of
//!   day, ends the session. A heartbeat with 0 after higher numbers is a restart, once the next block confirms it. No
//!   unmarked restart.
//! * `V` marks a retransmission: data with the original numbers. It resets and ends nothing, because the original did.
//! * Any other block with number 0 is outside of the sequence. So is one with a count of 0, which is not in the document.
//! * A publisher writes no end of day, because it would consume a number.
//!
//! Sources: CTS 2.11b and CQS 2.10a multicast output binary specifications, and captured blocks (version 0 of 1.91 and 2).
//! Types of control messages: the Open-Markets-Initiative's dissectors of both.

use super::siac::{self, Block, Control};
use super::{Framing, Malformed, Proof, append};
use crate::frame::{Frame, Packing, SequenceRules, Session};
use crate::seq::{SeqNo, Width};
use crate::time::Nanos;

const HEADER: usize = 20;
const CHECKSUM: usize = 18;
const VERSION: u8 = 2;
const ORIGINAL: u8 = b'O';
const AGAIN: u8 = b'V';
const CATEGORY_CONTROL: u8 = b'C';
/// Length, category, type, participant; time, id, transaction and reference are zero.
const LINE_INTEGRITY: &[u8; 26] = b"\0\x1aCTS\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0";

/// The CTA framing. The head of this file shows its header and rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cta {
    /// The feed that a publisher writes; a reader takes every feed.
    pub feed: u8,
}

impl Default for Cta {
    fn default() -> Cta {
        Cta { feed: b'T' }
    }
}

#[inline]
fn control(body: &[u8]) -> Option<Control> {
    match body {
        [_, _, CATEGORY_CONTROL, kind, ..] => match kind {
            b'A' => Some(Control::StartOfDay),
            b'Z' => Some(Control::EndOfDay),
            b'L' => Some(Control::Reset),
            b'T' => Some(Control::LineIntegrity),
            _ => None,
        },
        _ => None,
    }
}

impl Framing for Cta {
    const NAME: &'static str = "cta";
    const PROOF: Proof = Proof::Packets;

    #[inline]
    fn rules(self) -> SequenceRules {
        SequenceRules {
            width: Width::U32SkipZero,
            initial: SeqNo(1),
            unmarked_restart: false,
            keyed: true,
            heartbeat_interval: Nanos::from_secs(10),
        }
    }

    fn packet_sequenced(self) -> bool {
        false
    }

    #[inline]
    fn packing(self) -> Packing {
        Packing::OWN_BE16
    }

    fn with_key(self, key: u32) -> Cta {
        Cta { feed: key as u8 }
    }

    #[inline]
    fn frame<'a>(self, datagram: &'a [u8], at: &mut usize) -> Option<Result<Frame<'a>, Malformed>> {
        if *at > 0 {
            return None; // one block a datagram
        }
        *at = datagram.len().max(1);
        let Some(head) = datagram.first_chunk::<HEADER>() else {
            return Some(Err(Malformed::Header));
        };
        let size = usize::from(u16::from_be_bytes([head[1], head[2]]));
        let Some(rest) = datagram.get(HEADER..size) else {
            return Some(Err(Malformed::Length));
        };
        let bytes = &datagram[..size];
        if let Err(reason) = siac::check(bytes, CHECKSUM) {
            return Some(Err(reason));
        }
        let count = u32::from(head[9]);
        let Some(body) = Packing::OWN_BE16.blocks_len(rest, count) else {
            return Some(Err(Malformed::Overrun));
        };
        let body = &rest[..body];
        let block = Block {
            key: Some(u32::from(head[3])),
            number: u32::from_be_bytes([head[5], head[6], head[7], head[8]]),
            count,
            again: head[4] == AGAIN,
            control: if count == 1 { control(body) } else { None },
            packing: Packing::OWN_BE16,
            body,
            bytes,
        };
        Some(Ok(block.frame()))
    }

    fn encode(self, _: Session, sequence: u64, messages: &[&[u8]], max_len: usize, out: &mut Vec<u8>) -> usize {
        self.write(Width::U32SkipZero.wire(SeqNo(sequence)) as u32, messages, max_len, out)
    }

    fn encode_heartbeat(self, _: Session, next: u64, out: &mut Vec<u8>) -> u32 {
        let last = Width::U32SkipZero.wire(SeqNo(next.saturating_sub(1))) as u32;
        self.write(last, &[LINE_INTEGRITY], usize::MAX, out);
        0
    }

    fn encode_end(self, _: Session, _: u64, _: &mut Vec<u8>) -> bool {
        false
    }
}

impl Cta {
    fn write(self, number: u32, messages: &[&[u8]], max_len: usize, out: &mut Vec<u8>) -> usize {
        out.clear();
        out.extend_from_slice(&[VERSION, 0, 0, self.feed, ORIGINAL]);
        out.extend_from_slice(&number.to_be_bytes());
        out.resize(HEADER, 0);
        let count = append(Packing::OWN_BE16, messages, usize::from(u8::MAX), max_len, out);
        out[9] = count as u8;
        if siac::seal(out, CHECKSUM) { count } else { 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::{FrameKind, Reset};

    fn parse(datagram: &[u8]) -> Result<Frame<'_>, Malformed> {
        let mut at = 0;
        let frame = Cta::default().frame(datagram, &mut at).expect("a datagram holds a frame or an error");
        assert!(Cta::default().frame(datagram, &mut at).is_none(), "one block a datagram");
        frame
    }

    fn control(kind: u8) -> Vec<u8> {
        let mut message = LINE_INTEGRITY.to_vec();
        message[3] = kind;
        message
    }

    fn block(number: u32, messages: &[&[u8]]) -> Vec<u8> {
        let mut out = Vec::new();
        assert_eq!(Cta::default().write(number, messages, 1_400, &mut out), messages.len());
        out
    }

    fn altered(mut block: Vec<u8>, at: usize, byte: u8) -> Vec<u8> {
        block[at] = byte;
        let sum = siac::checksum(&block, CHECKSUM);
        block[CHECKSUM..HEADER].copy_from_slice(&sum.to_be_bytes());
        block
    }

    #[test]
    fn a_block_by_hand_is_read_and_written() {
        // 2 + 29 + 'Q' + 'O' + 7 + 2, then 4 + "LT" and 5 + "LTx" = 2 + 29 + 81 + 79 + 7 + 2 + 164 + 285 = 649
        let hand = b"\x02\0\x1dQO\0\0\0\x07\x02\0\0\0\0\0\0\0\0\x02\x89\0\x04LT\0\x05LTx";
        let frame = parse(hand).unwrap();
        assert_eq!((frame.kind, frame.sequence, frame.count, frame.key), (FrameKind::Data, 7, 2, Some(81)));
        let messages: Vec<_> = frame.packing.messages(frame.body).collect();
        assert_eq!(messages, [b"\0\x04LT".as_slice(), b"\0\x05LTx"]);
        let mut out = Vec::new();
        assert_eq!(Cta::default().with_key(81).encode(Session::NONE, 7, &messages, 1_400, &mut out), 2);
        assert_eq!(out, hand);
        assert_eq!(Cta::default().encode(Session::NONE, 1 << 32, &messages, 24, &mut out), 1);
        assert_eq!((parse(&out).unwrap().sequence, parse(&out).unwrap().key), (1, Some(84)));
        assert_eq!(Cta::default().encode(Session::NONE, 7, &[b"\0\x05LT"], 1_400, &mut out), 0);
    }

    #[test]
    fn line_integrity_carries_the_last_number_and_consumes_none() {
        let mut out = Vec::new();
        for (next, wire, reset) in
            [(9, 8, None), (1, 0, Some(Reset::Heartbeat(1))), (u64::from(u32::MAX) + 1, u32::MAX, None)]
        {
            assert_eq!(Cta::default().encode_heartbeat(Session::NONE, next, &mut out), 0);
            assert_eq!((out.len(), &out[5..9]), (46, wire.to_be_bytes().as_slice()));
            let frame = parse(&out).unwrap();
            assert_eq!((frame.kind, frame.count, frame.heartbeat), (FrameKind::Heartbeat, 0, true));
            assert_eq!(frame.sequence, Width::U32SkipZero.wire(SeqNo(next)));
            assert_eq!((frame.reset, frame.body), (reset, b"".as_slice()));
        }
    }

    #[test]
    fn a_day_starts_resets_and_ends_by_control_messages() {
        let start = block(0, &[&control(b'A')]);
        let frame = parse(&start).unwrap();
        assert_eq!((frame.kind, frame.count, frame.reset), (FrameKind::Unsequenced, 1, Some(Reset::Marked(1))));
        let reset = block(5_000, &[&control(b'L')]);
        let frame = parse(&reset).unwrap();
        assert_eq!((frame.kind, frame.sequence, frame.reset), (FrameKind::Data, 5_000, Some(Reset::Marked(5_000))));
        assert_eq!(parse(&block(9, &[&control(b'Z')])).unwrap().kind, FrameKind::Last);
        assert_eq!(parse(&block(9, &[&control(b'P')])).unwrap().kind, FrameKind::Data);
        // not alone in its block: no rule says what it would mean
        assert_eq!(parse(&block(9, &[&control(b'Z'), &control(b'Z')])).unwrap().kind, FrameKind::Data);
    }

    #[test]
    fn what_is_sent_again_resets_and_ends_nothing() {
        for kind in [b'A', b'Z', b'L', b'T'] {
            let again = altered(block(9, &[&control(kind)]), 4, b'V');
            let frame = parse(&again).unwrap();
            assert_eq!((frame.kind, frame.sequence, frame.reset), (FrameKind::Data, 9, None), "{}", char::from(kind));
        }
    }

    #[test]
    fn blocks_without_a_number_or_without_messages_touch_no_numbers() {
        let datagram = block(0, &[b"\0\x04LT"]);
        let frame = parse(&datagram).unwrap();
        assert_eq!((frame.kind, frame.count, frame.reset), (FrameKind::Unsequenced, 1, None));
        let empty = block(9, &[]);
        assert_eq!((parse(&empty).unwrap().kind, parse(&empty).unwrap().heartbeat), (FrameKind::Unsequenced, true));
    }

    #[test]
    fn every_cut_is_refused_under_its_reason() {
        let whole = block(5, &[b"\0\x04LT", b"\0\x05LTx"]);
        for cut in 0..whole.len() {
            let reason = if cut < HEADER { Malformed::Header } else { Malformed::Length };
            assert_eq!(parse(&whole[..cut]).unwrap_err(), reason, "cut at {cut}");
            if cut >= HEADER {
                let short = altered(whole[..cut].to_vec(), 2, cut as u8);
                assert_eq!(parse(&short).unwrap_err(), Malformed::Overrun, "short by {}", whole.len() - cut);
            }
        }
        for at in 0..whole.len() {
            let mut wrong = whole.clone();
            wrong[at] ^= 1;
            assert!(matches!(parse(&wrong).unwrap_err(), Malformed::Checksum | Malformed::Length), "byte {at}");
        }
        assert_eq!(parse(&[&whole[..], b"pad"].concat()).unwrap().bytes, whole);
    }
}
