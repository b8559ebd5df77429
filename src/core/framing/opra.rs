//! OPRA, binary version 6: message-sequenced, big-endian, without sessions.
//!
//! ```text
//!  0         1      3     4         5         6          10      11        15   19         21
//!  +---------+------+-----+---------+---------+----------+-------+---------+----+----------+------------ - -
//!  | version | size | 'O' | ' ' 'V' | session | sequence | count | seconds | ns | checksum | message | ...
//!  +---------+------+-----+---------+---------+----------+-------+---------+----+----------+------------ - -
//! ```
//!
//! * The size counts the block from its first byte to a pad byte, which makes it even; at most 1,000. The checksum is the low
//!   16 bits of the sum of all other bytes of the block, and is verified.
//! * **Messages have no length.** Each has a header of 12 bytes: participant, category, type, indicator, transaction,
//!   reference. Its size follows from the category, and in quotes from the indicator:
//!
//!   | category | bytes |
//!   |---|---|
//!   | `a` last sale | 43 |
//!   | `d` open interest | 30 |
//!   | `f` end-of-day summary | 72 |
//!   | `k` long quote | 43, plus 10 for each appended best bid or best offer |
//!   | `q` short quote | 29, plus the same |
//!   | `C` administrative | 14, plus the text, whose length is in the last two of them |
//!   | `H` control | 12 |
//!   | `R` series mapping | 155 |
//!   | `Y` underlying value | 27 |
//!
//!   Indicators `M`, `N`, `P` append a best bid, `C`, `G`, `K` a best offer, `O` both. A message of any other category is
//!   everything that is left of its block. If the header counts more messages after it, they cannot be told apart, and the
//!   block is refused as `type`. Its numbers are then a gap, which another line may fill, or a reported loss. Delivering only
//!   its first messages, or all of its bytes under one number, would shift the numbers of the others.
//! * The number is the first message's; numbers begin at 1. After 4,294,967,295 comes 1. The session byte (regular hours or
//!   other) is not a session: the numbers continue across it. No header names a line: a channel is a group.
//! * Control messages (category `H`) are alone in their block. `N`, line integrity, is a heartbeat: its count is 1, it carries
//!   the **last** number sent (0 before the first) and consumes none. At least every 10 s.
//! * `C`, start of day, has number 0: a reset to 1, delivered as unsequenced. `K` resets the counter to the block's number,
//!   which may be a greater one. `J`, end of day, ends the session. A heartbeat with 0 after higher numbers is a restart, once
//!   the next block confirms it. No unmarked restart.
//! * `V` marks a retransmission: data with the original numbers. It resets and ends nothing, because the original did.
//! * Any other block with number 0 is outside of the sequence. So is one with a count of 0, which is not in the document.
//! * A publisher's bytes become the text of an administrative message. (OPRA sends such a message alone in its block, with at
//!   most 200 characters; a publisher packs as it is told.) A publisher writes no end of day, because it would consume a number.
//!
//! Sources: OPRA binary data recipient interface specification 6.2, and captured blocks (checksums, sizes of `k`, `q`, `C`,
//! `H`). Sizes and types: the Open-Markets-Initiative's dissector of 6.2, and a C++ model of 6.4a (`opra.hpp` of a public
//! repository, whose comments name the sections of the specification). They differ in one size: for `Y` with type `I`, the
//! dissector has 31 bytes and the model 27 (section 6.08.2). The dissector of the participants' input 5.0i implies 27, which
//! is used here.

use super::siac::{self, Block, Control};
use super::{Framing, Malformed, Proof, append};
use crate::frame::{Frame, Packing, SequenceRules, Session, SizeRule};
use crate::seq::{SeqNo, Width};
use crate::time::Nanos;

const HEADER: usize = 21;
const CHECKSUM: usize = 19;
const VERSION: u8 = 6;
const FEED: u8 = b'O';
const ORIGINAL: u8 = b' ';
const AGAIN: u8 = b'V';
const BLOCK_MAX: usize = 1_000;
const CATEGORY_CONTROL: u8 = b'H';
/// The categories whose sizes [`size`] knows.
const CATEGORIES: &[u8] = b"adfkqCHRY";
/// What precedes the text of an administrative message from OPRA's processor: participant, category, type, indicator,
/// transaction, reference, length of the text.
const TEXT: [u8; 14] = *b"OC  \0\0\0\0\0\0\0\0\0\0";
/// How long messages are. A publisher's bytes become the text of an administrative message.
pub(super) static RULE: SizeRule = SizeRule { id: u8::MAX, size, front: &TEXT };
const PACKING: Packing =
    Packing { width: RULE.id, offset: 12, big_endian: true, length_adds: 14, skip: 0, rule: Some(&RULE) };
const LINE_INTEGRITY: &[u8; 12] = b"OHN \0\0\0\0\0\0\0\0";

/// The OPRA framing. The head of this file shows its header and rules.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Opra;

/// The size of the message that `rest` begins with, by its category: header and body, and the appendages that a
/// quote's indicator announces. The head of this file names the sources.
fn size(rest: &[u8]) -> Option<usize> {
    // participant, category, type, indicator, transaction, reference
    let head = rest.first_chunk::<12>()?;
    let appendages = || match head[3] {
        b'C' | b'G' | b'K' | b'M' | b'N' | b'P' => 10,
        b'O' => 20,
        _ => 0,
    };
    Some(match head[1] {
        b'a' => 43,
        b'd' => 30,
        b'f' => 72,
        b'k' => 43 + appendages(),
        b'q' => 29 + appendages(),
        b'C' => TEXT.len() + usize::from(u16::from_be_bytes([*rest.get(12)?, *rest.get(13)?])),
        b'H' => 12,
        b'R' => 155,
        b'Y' => 27,
        _ => rest.len(),
    })
}

#[inline]
fn control(body: &[u8]) -> Option<Control> {
    match body {
        [_, CATEGORY_CONTROL, kind, ..] => match kind {
            b'C' => Some(Control::StartOfDay),
            b'J' => Some(Control::EndOfDay),
            b'K' => Some(Control::Reset),
            b'N' => Some(Control::LineIntegrity),
            _ => None,
        },
        _ => None,
    }
}

/// Whether the category of a message determines its size.
fn is_known(message: &[u8]) -> bool {
    message.get(1).is_some_and(|category| CATEGORIES.contains(category))
}

/// The reason why a block cannot be read: its messages are not all there, or cannot be told apart.
#[cold]
fn unread(rest: &[u8], count: u32) -> Malformed {
    let last = PACKING.messages(rest).take(count as usize).last();
    if last.is_some_and(|last| !is_known(last)) { Malformed::Type } else { Malformed::Overrun }
}

impl Framing for Opra {
    const NAME: &'static str = "opra";
    const PROOF: Proof = Proof::Packets;

    #[inline]
    fn rules(self) -> SequenceRules {
        SequenceRules {
            width: Width::U32SkipZero,
            initial: SeqNo(1),
            unmarked_restart: false,
            keyed: false,
            heartbeat_interval: Nanos::from_secs(10),
        }
    }

    fn packet_sequenced(self) -> bool {
        false
    }

    #[inline]
    fn packing(self) -> Packing {
        PACKING
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
        if head[3] != FEED {
            return Some(Err(Malformed::Type));
        }
        let count = u32::from(head[10]);
        let Some(body) = PACKING.blocks_len(rest, count) else {
            return Some(Err(unread(rest, count)));
        };
        let body = &rest[..body];
        let block = Block {
            key: None,
            number: u32::from_be_bytes([head[6], head[7], head[8], head[9]]),
            count,
            again: head[4] == AGAIN,
            control: if count == 1 { control(body) } else { None },
            packing: PACKING,
            body,
            bytes,
        };
        Some(Ok(block.frame()))
    }

    fn encode(self, _: Session, sequence: u64, messages: &[&[u8]], max_len: usize, out: &mut Vec<u8>) -> usize {
        write(Width::U32SkipZero.wire(SeqNo(sequence)) as u32, messages, max_len, out)
    }

    fn encode_heartbeat(self, _: Session, next: u64, out: &mut Vec<u8>) -> u32 {
        let last = Width::U32SkipZero.wire(SeqNo(next.saturating_sub(1))) as u32;
        write(last, &[LINE_INTEGRITY], BLOCK_MAX, out);
        0
    }

    fn encode_end(self, _: Session, _: u64, _: &mut Vec<u8>) -> bool {
        false
    }
}

fn write(number: u32, messages: &[&[u8]], max_len: usize, out: &mut Vec<u8>) -> usize {
    out.clear();
    out.extend_from_slice(&[VERSION, 0, 0, FEED, ORIGINAL, 0]);
    out.extend_from_slice(&number.to_be_bytes());
    out.resize(HEADER, 0);
    // a message of unknown size is the last of its block and ends with it
    let telling = messages.iter().take_while(|message| is_known(message)).count();
    let messages = &messages[..messages.len().min(telling + 1)];
    // keep room for the pad byte
    let count = append(PACKING, messages, usize::from(u8::MAX), max_len.min(BLOCK_MAX) & !1, out);
    if count <= telling && out.len() % 2 == 1 {
        out.push(0);
    }
    out[10] = count as u8;
    if siac::seal(out, CHECKSUM) { count } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::{FrameKind, Reset};

    fn parse(datagram: &[u8]) -> Result<Frame<'_>, Malformed> {
        let mut at = 0;
        let frame = Opra.frame(datagram, &mut at).expect("a datagram holds a frame or an error");
        assert!(Opra.frame(datagram, &mut at).is_none(), "one block a datagram");
        frame
    }

    fn message(category: u8, indicator: u8, len: usize) -> Vec<u8> {
        let mut message = vec![b'.'; len];
        message[..4].copy_from_slice(&[b'X', category, b' ', indicator]);
        message
    }

    fn control(kind: u8) -> Vec<u8> {
        [&[b'O', b'H', kind, b' '], [0; 8].as_slice()].concat()
    }

    fn block(number: u32, messages: &[&[u8]]) -> Vec<u8> {
        let mut out = Vec::new();
        assert_eq!(write(number, messages, 1_400, &mut out), messages.len());
        out
    }

    /// The same block with other bytes in its header, and the checksum that belongs to them.
    fn altered(mut block: Vec<u8>, at: usize, byte: u8) -> Vec<u8> {
        block[at] = byte;
        let sum = siac::checksum(&block, CHECKSUM);
        block[CHECKSUM..HEADER].copy_from_slice(&sum.to_be_bytes());
        block
    }

    #[test]
    fn a_block_by_hand() {
        // one control message, number 7: 6 + 34 + 'O' + ' ' + 7 + 1 + "OHE " = 6 + 34 + 79 + 32 + 7 + 1 + 252 = 411
        let hand = b"\x06\0\x22O \0\0\0\0\x07\x01\0\0\0\0\0\0\0\0\x01\x9bOHE \0\0\0\0\0\0\0\0\0";
        let frame = parse(hand).unwrap();
        assert_eq!((frame.kind, frame.sequence, frame.count, frame.reset), (FrameKind::Data, 7, 1, None));
        assert_eq!(frame.body, b"OHE \0\0\0\0\0\0\0\0", "without the pad byte");
        assert_eq!(block(7, &[b"OHE \0\0\0\0\0\0\0\0"]), hand);
    }

    #[test]
    fn what_is_written_is_read_message_by_message() {
        let (sale, quote) = (message(b'a', b' ', 43), message(b'q', b'O', 49));
        let datagram = block(u32::MAX, &[&sale, &quote, &sale]);
        let frame = parse(&datagram).unwrap();
        assert_eq!((frame.sequence, frame.count), (u64::from(u32::MAX), 3));
        assert_eq!(frame.packing.messages(frame.body).collect::<Vec<_>>(), [&sale[..], &quote, &sale]);
        assert_eq!(datagram.len() % 2, 0);
        let mut out = Vec::new();
        assert_eq!(Opra.encode(Session::NONE, 1 << 32, &[&sale, &sale], 100, &mut out), 1);
        assert_eq!(parse(&out).unwrap().sequence, 1, "zero is skipped");
        assert_eq!(Opra.encode(Session::NONE, 1, &vec![&sale[..]; 40], 1_400, &mut out), 22);
        assert!(out.len() <= BLOCK_MAX);
        assert_eq!(Opra.encode(Session::NONE, 1, &[&sale[..42]], 1_400, &mut out), 0);
    }

    #[test]
    fn messages_are_as_long_as_their_category_says() {
        let message = |category: u8, indicator: u8, len: usize| {
            let mut message = vec![0; len];
            message[..4].copy_from_slice(&[b'O', category, b' ', indicator]);
            message
        };
        for (category, indicator, len) in [
            (b'a', b' ', 43),
            (b'd', b' ', 30),
            (b'f', b' ', 72),
            (b'k', b'A', 43),
            (b'k', b'G', 53),
            (b'k', b'O', 63),
            (b'q', b' ', 29),
            (b'q', b'M', 39),
            (b'q', b'O', 49),
            (b'C', b' ', 14),
            (b'H', b' ', 12),
            (b'R', b' ', 155),
            (b'Y', b' ', 27),
        ] {
            let one = message(category, indicator, len);
            assert_eq!(PACKING.block_len(&one), Some(len), "{}", char::from(category));
            assert_eq!(PACKING.block_len(&one[..len - 1]), None, "{}", char::from(category));
            let two = [one.clone(), message(b'H', b' ', 12)].concat();
            assert_eq!(PACKING.blocks_len(&two, 2), Some(len + 12));
            assert_eq!(PACKING.messages(&two).map(<[u8]>::len).collect::<Vec<_>>(), [len, 12]);
        }
        // what is not known is all that is left: as the last message it can be told from the others, in front it cannot
        let unknown = [message(b'H', b' ', 12), message(b'!', b' ', 33)].concat();
        assert_eq!(PACKING.blocks_len(&unknown, 2), Some(45));
        assert_eq!(PACKING.blocks_len(&unknown, 3), None);
        assert_eq!(PACKING.messages(&unknown).map(<[u8]>::len).collect::<Vec<_>>(), [12, 33]);
        assert_eq!(crate::framing::packing(PACKING.to_bytes()), Some(PACKING));
    }

    #[test]
    fn bytes_of_any_kind_are_published_as_text() {
        let (mut one, mut two, mut out) = (Vec::new(), Vec::new(), Vec::new());
        assert!(PACKING.wrap(b"", &mut one) && PACKING.wrap(b"any", &mut two));
        assert_eq!(two, b"OC  \0\0\0\0\0\0\0\0\0\x03any");
        assert_eq!(Opra.encode(Session::NONE, 5, &[&one, &two], 1_400, &mut out), 2);
        let frame = parse(&out).unwrap();
        let texts: Vec<_> = frame.packing.messages(frame.body).map(|m| PACKING.content(m)).collect();
        assert_eq!(texts, [b"".as_slice(), b"any"]);
    }

    #[test]
    fn line_integrity_carries_the_last_number_and_consumes_none() {
        let mut out = Vec::new();
        for (next, wire, reset) in
            [(9, 8, None), (1, 0, Some(Reset::Heartbeat(1))), (u64::from(u32::MAX) + 1, u32::MAX, None)]
        {
            assert_eq!(Opra.encode_heartbeat(Session::NONE, next, &mut out), 0);
            assert_eq!((out.len(), &out[6..10]), (34, wire.to_be_bytes().as_slice()));
            let frame = parse(&out).unwrap();
            assert_eq!((frame.kind, frame.count, frame.heartbeat), (FrameKind::Heartbeat, 0, true));
            assert_eq!(frame.sequence, Width::U32SkipZero.wire(SeqNo(next)));
            assert_eq!((frame.reset, frame.body), (reset, b"".as_slice()));
        }
    }

    #[test]
    fn a_day_starts_resets_and_ends_by_control_messages() {
        let start = block(0, &[&control(b'C')]);
        let frame = parse(&start).unwrap();
        assert_eq!((frame.kind, frame.count, frame.reset), (FrameKind::Unsequenced, 1, Some(Reset::Marked(1))));
        assert!(!frame.heartbeat);
        let reset = block(5_000, &[&control(b'K')]);
        let frame = parse(&reset).unwrap();
        assert_eq!((frame.kind, frame.sequence, frame.reset), (FrameKind::Data, 5_000, Some(Reset::Marked(5_000))));
        assert_eq!(parse(&block(0, &[&control(b'K')])).unwrap().reset, Some(Reset::Marked(1)));
        let end = block(9, &[&control(b'J')]);
        assert_eq!((parse(&end).unwrap().kind, parse(&end).unwrap().count), (FrameKind::Last, 1));
        // others are messages like any
        for kind in [b'E', b'F', b'L', b'M', b'P'] {
            assert_eq!(parse(&block(9, &[&control(kind)])).unwrap().kind, FrameKind::Data);
        }
    }

    #[test]
    fn what_is_sent_again_resets_and_ends_nothing() {
        for kind in [b'C', b'J', b'K', b'N'] {
            let again = altered(block(9, &[&control(kind)]), 4, b'V');
            let frame = parse(&again).unwrap();
            assert_eq!((frame.kind, frame.sequence, frame.reset), (FrameKind::Data, 9, None), "{}", char::from(kind));
        }
    }

    #[test]
    fn blocks_without_a_number_or_without_messages_touch_no_numbers() {
        let datagram = block(0, &[&message(b'a', b' ', 43)]);
        let frame = parse(&datagram).unwrap();
        assert_eq!((frame.kind, frame.count, frame.reset), (FrameKind::Unsequenced, 1, None));
        let empty = block(9, &[]);
        let frame = parse(&empty).unwrap();
        assert_eq!((frame.kind, frame.count, frame.heartbeat), (FrameKind::Unsequenced, 0, true));
    }

    #[test]
    fn an_unknown_category_is_all_that_is_left_and_nothing_can_follow_it() {
        let (known, unknown) = (message(b'd', b' ', 30), message(b'!', b' ', 20));
        let datagram = block(5, &[&known, &unknown]);
        let frame = parse(&datagram).unwrap();
        assert_eq!((frame.sequence, frame.count), (5, 2));
        assert_eq!(frame.packing.messages(frame.body).collect::<Vec<_>>(), [&known[..], &unknown]);
        assert_eq!(parse(&altered(datagram, 10, 3)).unwrap_err(), Malformed::Type);
        // a publisher puts nothing behind it
        let mut out = Vec::new();
        assert_eq!(Opra.encode(Session::NONE, 5, &[&unknown, &known], 1_400, &mut out), 1);
        assert_eq!(parse(&out).unwrap().body, unknown);
    }

    #[test]
    fn the_known_categories_are_those_of_the_packing() {
        for category in 0..=u8::MAX {
            let mut long = message(category, b' ', 500);
            long[12..14].copy_from_slice(&[0, 9]);
            let all_that_is_left = PACKING.block_len(&long) == Some(500);
            assert_eq!(is_known(&long), !all_that_is_left, "{category}");
        }
    }

    #[test]
    fn every_cut_is_refused_under_its_reason() {
        let whole = block(5, &[&message(b'k', b'M', 53), &message(b'd', b' ', 30)]);
        for cut in 0..whole.len() {
            let reason = if cut < HEADER { Malformed::Header } else { Malformed::Length };
            assert_eq!(parse(&whole[..cut]).unwrap_err(), reason, "cut at {cut}");
            if cut >= HEADER && cut < whole.len() - 1 {
                let short = altered(whole[..cut].to_vec(), 2, cut as u8);
                assert_eq!(parse(&short).unwrap_err(), Malformed::Overrun, "short by {}", whole.len() - cut);
            }
        }
        for at in 0..whole.len() {
            let mut wrong = whole.clone();
            wrong[at] ^= 1;
            assert!(matches!(parse(&wrong).unwrap_err(), Malformed::Checksum | Malformed::Length), "byte {at}");
        }
        assert_eq!(parse(&altered(whole.clone(), 3, b'T')).unwrap_err(), Malformed::Type);
        assert_eq!(parse(&[&whole[..], b"pad"].concat()).unwrap().bytes, whole);
    }
}
