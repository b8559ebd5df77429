//! MIAX MACH: message-sequenced, little-endian, several frames per datagram.
//!
//! ```text
//!  0              8        10     11        12
//!  +--------------+--------+------+---------+---------+--------------+- - -
//!  | sequence u64 | length | type | session | message | sequence u64 | ...
//!  +--------------+--------+------+---------+---------+--------------+- - -
//!                   u16      u8     u8      <- length ->
//! ```
//!
//! * A datagram holds MACH packets one after the other (1 to 21 have been seen). Each is a frame with a number of its own and one
//!   message: the payload after its 12 bytes. The length counts the header. A packet that cannot be read ends the datagram.
//! * Type 3 is data. Type 0 is a heartbeat, alone in its datagram, one per second; it carries the *last* number, and a frame here has
//!   the next one.
//! * Type 1 starts a session, even in the middle of a day and without an end of the one before. The next number is 1, whatever the
//!   session, so it marks a reset. Type 2 ends the session and carries the last number.
//! * Session 0 is no session: what comes in it, before the start of the day, is unsequenced.
//! * Numbers start at 1; zero is malformed in data. No unmarked restart.
//!
//! Source: MIAX MACH specification 1.2e, and a captured stream of 50,952 MACH packets.

use super::field::{le16, le64};
use super::{Framing, Malformed, Proof};
use crate::frame::{Frame, FrameKind, Packing, Reset, SequenceRules, Session};
use crate::seq::{SeqNo, Width};
use crate::time::Nanos;

const HEADER: usize = 12;
const TYPE_HEARTBEAT: u8 = 0;
const TYPE_START_OF_SESSION: u8 = 1;
const TYPE_END_OF_SESSION: u8 = 2;
const TYPE_DATA: u8 = 3;

/// The MIAX MACH framing. The head of this file shows its header and rules.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MiaxMach;

fn header(session: Session, sequence: u64, len: u16, kind: u8, out: &mut Vec<u8>) {
    out.extend_from_slice(&sequence.to_le_bytes());
    out.extend_from_slice(&len.to_le_bytes());
    out.extend_from_slice(&[kind, session.as_number().unwrap_or(1) as u8]);
}

impl MiaxMach {
    /// Everything that is not data of a session.
    #[cold]
    fn other<'a>(head: &[u8; HEADER], body: &'a [u8], bytes: &'a [u8]) -> Result<Frame<'a>, Malformed> {
        let (last, kind, session) = (le64::<0, _>(head), head[10], head[11]);
        if kind > TYPE_DATA {
            return Err(Malformed::Type);
        }
        let mut frame = Frame {
            key: None,
            session: Session::number(u64::from(session)),
            kind: FrameKind::Unsequenced,
            sequence: 0,
            count: u32::from(kind == TYPE_DATA),
            heartbeat: matches!(kind, TYPE_HEARTBEAT | TYPE_START_OF_SESSION),
            reset: None,
            packing: Packing::WHOLE,
            body: if kind == TYPE_DATA { body } else { &[] },
            bytes,
        };
        if session == 0 {
            return Ok(frame);
        }
        (frame.kind, frame.sequence) = match kind {
            TYPE_START_OF_SESSION => (FrameKind::Heartbeat, 1),
            // data with a number that cannot be
            TYPE_DATA => return Err(Malformed::Sequence),
            _ => {
                let kind = if kind == TYPE_HEARTBEAT { FrameKind::Heartbeat } else { FrameKind::EndOfSession };
                (kind, last.checked_add(1).ok_or(Malformed::Sequence)?)
            }
        };
        frame.reset = (kind == TYPE_START_OF_SESSION).then_some(Reset::Marked(1));
        Ok(frame)
    }
}

impl Framing for MiaxMach {
    const NAME: &'static str = "miax-mach";
    const PROOF: Proof = Proof::Stream;

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
        Packing::WHOLE
    }

    fn session(self, text: &str) -> Option<Session> {
        let number = text.parse::<u8>().ok().filter(|&number| number > 0)?;
        Some(Session::number(u64::from(number)))
    }

    #[inline]
    fn frame<'a>(self, datagram: &'a [u8], at: &mut usize) -> Option<Result<Frame<'a>, Malformed>> {
        let rest = datagram.get(*at..).unwrap_or_default();
        if rest.is_empty() && *at > 0 {
            return None;
        }
        let Some(head) = rest.first_chunk::<HEADER>() else {
            *at = datagram.len().max(1);
            return Some(Err(Malformed::Header));
        };
        let len = usize::from(le16::<8, _>(head));
        let (Some(bytes), Some(body)) = (rest.get(..len), rest.get(HEADER..len)) else {
            *at = datagram.len();
            return Some(Err(Malformed::Length));
        };
        *at += len;
        let (sequence, session) = (le64::<0, _>(head), head[11]);
        // neither zero nor the last that there is, whose next would be none
        let countable = sequence.wrapping_sub(1) < u64::MAX - 1;
        if head[10] != TYPE_DATA || session == 0 || !countable {
            let frame = MiaxMach::other(head, body, bytes);
            if frame.is_err() {
                *at = datagram.len();
            }
            return Some(frame);
        }
        Some(Ok(Frame {
            key: None,
            session: Session::number(u64::from(session)),
            kind: FrameKind::Data,
            sequence,
            count: 1,
            heartbeat: false,
            reset: None,
            packing: Packing::WHOLE,
            body,
            bytes,
        }))
    }

    fn encode(self, session: Session, sequence: u64, messages: &[&[u8]], max_len: usize, out: &mut Vec<u8>) -> usize {
        out.clear();
        let mut count = 0;
        for message in messages {
            let Ok(len) = u16::try_from(HEADER + message.len()) else { break };
            let Some(number) = sequence.checked_add(count as u64) else { break };
            if count > 0 && out.len() + usize::from(len) > max_len {
                break;
            }
            header(session, number, len, TYPE_DATA, out);
            out.extend_from_slice(message);
            count += 1;
        }
        count
    }

    fn encode_heartbeat(self, session: Session, next: u64, out: &mut Vec<u8>) -> u32 {
        out.clear();
        header(session, next.saturating_sub(1), HEADER as u16, TYPE_HEARTBEAT, out);
        0
    }

    fn encode_end(self, session: Session, next: u64, out: &mut Vec<u8>) -> bool {
        out.clear();
        header(session, next.saturating_sub(1), HEADER as u16, TYPE_END_OF_SESSION, out);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All frames of a datagram, and the reason why it ended early.
    fn parse(datagram: &[u8]) -> (Vec<Frame<'_>>, Option<Malformed>) {
        let (mut frames, mut at) = (Vec::new(), 0);
        while let Some(frame) = MiaxMach.frame(datagram, &mut at) {
            match frame {
                Ok(frame) => frames.push(frame),
                Err(reason) => {
                    assert!(MiaxMach.frame(datagram, &mut at).is_none(), "the rest is given up");
                    return (frames, Some(reason));
                }
            }
        }
        (frames, None)
    }

    fn one(datagram: &[u8]) -> Result<Frame<'_>, Malformed> {
        match parse(datagram) {
            (frames, None) if frames.len() == 1 => Ok(frames[0]),
            (frames, Some(reason)) if frames.is_empty() => Err(reason),
            other => panic!("{other:?}"),
        }
    }

    fn by_hand(sequence: u64, kind: u8, session: u8, body: &[u8]) -> Vec<u8> {
        let len = (12 + body.len()) as u16;
        [sequence.to_le_bytes().as_slice(), &len.to_le_bytes(), &[kind, session], body].concat()
    }

    #[test]
    fn what_is_written_is_read_packet_by_packet() {
        let mut out = Vec::new();
        assert_eq!(MiaxMach.encode(Session::number(2), 7, &[b"one", b"", b"three"], 1_400, &mut out), 3);
        assert_eq!(out, [by_hand(7, 3, 2, b"one"), by_hand(8, 3, 2, b""), by_hand(9, 3, 2, b"three")].concat());
        let (frames, end) = parse(&out);
        let read: Vec<_> = frames.iter().map(|f| (f.kind, f.sequence, f.count, f.session, f.body)).collect();
        let data = |sequence, body: &'static [u8]| (FrameKind::Data, sequence, 1, Session::number(2), body);
        assert_eq!((read, end), (vec![data(7, b"one"), data(8, b""), data(9, b"three")], None));
        let bytes: Vec<u8> = frames.iter().flat_map(|frame| frame.bytes).copied().collect();
        assert_eq!(bytes, out, "each frame is its own bytes");
    }

    #[test]
    fn heartbeats_and_ends_carry_the_last_number_on_the_wire_and_the_next_one_here() {
        let mut out = Vec::new();
        assert_eq!(MiaxMach.encode_heartbeat(Session::number(3), 9, &mut out), 0);
        assert_eq!(out, by_hand(8, 0, 3, b""));
        let frame = one(&out).unwrap();
        assert_eq!((frame.kind, frame.sequence, frame.count, frame.heartbeat), (FrameKind::Heartbeat, 9, 0, true));
        assert_eq!((frame.session, frame.reset), (Session::number(3), None));
        assert!(MiaxMach.encode_end(Session::number(3), 9, &mut out));
        assert_eq!(out, by_hand(8, 2, 3, b""));
        let frame = one(&out).unwrap();
        assert_eq!((frame.kind, frame.sequence, frame.count, frame.heartbeat), (FrameKind::EndOfSession, 9, 0, false));
        assert_eq!(one(&by_hand(0, 0, 3, b"")).unwrap().sequence, 1, "none was sent yet");
        for kind in [0, 2] {
            assert_eq!(one(&by_hand(u64::MAX, kind, 3, b"")).unwrap_err(), Malformed::Sequence);
        }
    }

    #[test]
    fn a_start_of_session_marks_a_reset() {
        let datagram = by_hand(0, 1, 4, b"");
        let frame = one(&datagram).unwrap();
        assert_eq!((frame.kind, frame.sequence, frame.count), (FrameKind::Heartbeat, 1, 0));
        assert_eq!((frame.session, frame.reset), (Session::number(4), Some(Reset::Marked(1))));
    }

    #[test]
    fn session_zero_is_unsequenced() {
        for (kind, heartbeat, count) in [(0, true, 0), (1, true, 0), (2, false, 0), (3, false, 1)] {
            let datagram = by_hand(0, kind, 0, b"early");
            let frame = one(&datagram).unwrap();
            assert_eq!(
                (frame.kind, frame.count, frame.heartbeat),
                (FrameKind::Unsequenced, count, heartbeat),
                "type {kind}"
            );
            assert_eq!((frame.body, frame.reset), (&b"early"[..5 * count as usize], None));
        }
    }

    #[test]
    fn what_cannot_be_read_is_refused_under_its_reason_and_ends_the_datagram() {
        let whole = [by_hand(5, 3, 1, b"one"), by_hand(6, 3, 1, b"two")].concat();
        for cut in 0..whole.len() {
            let (before, of_it) = (cut / 15, cut % 15);
            let expected = match of_it {
                0 if before > 0 => None,
                0..12 => Some(Malformed::Header),
                _ => Some(Malformed::Length),
            };
            let (frames, end) = parse(&whole[..cut]);
            assert_eq!((frames.len(), end), (before, expected), "cut at {cut}");
        }
        let behind = by_hand(6, 3, 1, b"two");
        for (wrong, reason) in [
            (by_hand(5, 4, 1, b""), Malformed::Type),
            (by_hand(5, 255, 0, b""), Malformed::Type),
            (by_hand(0, 3, 1, b"m"), Malformed::Sequence),
            (by_hand(u64::MAX, 3, 1, b"m"), Malformed::Sequence),
            ([&5u64.to_le_bytes()[..], &[11, 0, 3, 1]].concat(), Malformed::Length),
            (vec![0; 12], Malformed::Length),
        ] {
            let datagram = [by_hand(4, 3, 1, b"good"), wrong, behind.clone()].concat();
            let (frames, end) = parse(&datagram);
            assert_eq!((frames.len(), frames[0].sequence, end), (1, 4, Some(reason)));
        }
    }

    #[test]
    fn a_datagram_is_filled_up_to_its_limit_and_holds_one_message_at_least() {
        let (mut out, m) = (Vec::new(), [b'm'; 30]);
        assert_eq!(MiaxMach.encode(Session::NONE, 1, &[&m, &m, &m], 84, &mut out), 2);
        assert_eq!(out.len(), 84);
        assert_eq!(MiaxMach.encode(Session::NONE, 1, &[&m, &m], 10, &mut out), 1);
        assert_eq!(MiaxMach.encode(Session::NONE, 1, &[&vec![0; 65_524]], usize::MAX, &mut out), 0);
    }

    #[test]
    fn sessions_are_numbers_of_8_bits_and_zero_is_none() {
        assert_eq!(MiaxMach.session("255"), Some(Session::number(255)));
        assert_eq!((MiaxMach.session("0"), MiaxMach.session("256"), MiaxMach.session("TWIN")), (None, None, None));
    }
}
