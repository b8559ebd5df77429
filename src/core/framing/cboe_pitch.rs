//! Cboe PITCH with the sequenced unit header: message-sequenced, little-endian, without sessions.
//!
//! ```text
//!  0        2       3      4          8
//!  +--------+-------+------+----------+--------------------- - -
//!  | length | count | unit | sequence | u8 length | type | ...     count times
//!  +--------+-------+------+----------+--------------------- - -
//! ```
//!
//! * The length in the header counts the header and all messages. A message begins with its own length, in one byte that
//!   counts itself, so it is part of the message. Lines may pack messages differently.
//! * The number is the first message's. Numbers begin at 1 for each **unit**, which is the channel's key; several units may
//!   share a group. After 4,294,967,295 comes 1.
//! * Number 0 is outside of the sequence: symbol mappings, what a gap server sends, and heartbeats outside of trading hours.
//! * A count of 0 is a heartbeat with the next expected number; it consumes none. One per second.
//! * A heartbeat with number 1 after higher numbers is a restart, once the next frame confirms it. There is no other mark: Unit
//!   Clear (0x97) empties books, and is a message like any other. No unmarked restart.
//! * An End of Session message (0x2D) ends the session if it is the last of its frame. It has 6 bytes, 4 of them a time; in newer
//!   documents 10, with 8 for the time. It has a number of its own, so a publisher writes it only if it is given one.
//!
//! Sources: Cboe US Equities/Options Multicast PITCH specification 2.41.66; the Open-Markets-Initiative's dissectors for the
//! size of End of Session (EDGX equities 2.41.66; futures TOP 1.2.20, where the time has 8 bytes); a captured stream.

use super::{Framing, Malformed, Proof, unit_header};
use crate::frame::{Frame, FrameKind, Packing, SequenceRules, Session};
use crate::seq::{SeqNo, Width};
use crate::time::Nanos;

const TYPE_END_OF_SESSION: u8 = 0x2D;

/// The Cboe PITCH framing. The head of this file shows its header and rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CboePitch {
    /// The unit that a publisher writes; a reader takes every unit.
    pub unit: u8,
}

impl Default for CboePitch {
    fn default() -> CboePitch {
        CboePitch { unit: 1 }
    }
}

/// Whether the last message is End of Session. Looks at the place where it would begin, and walks there only if it may be one.
#[inline]
fn ends_session(body: &[u8], count: u32) -> bool {
    let might = |len: u8| {
        let last = body.len().checked_sub(usize::from(len)).and_then(|at| body.get(at..at + 2));
        last == Some([len, TYPE_END_OF_SESSION].as_slice())
    };
    (might(6) || might(10)) && last_is_end_of_session(body, count)
}

#[cold]
fn last_is_end_of_session(body: &[u8], count: u32) -> bool {
    let last = unit_header::PACKING.messages(body).take(count as usize).last();
    last.is_some_and(|message| message.get(1) == Some(&TYPE_END_OF_SESSION))
}

impl Framing for CboePitch {
    const NAME: &'static str = "cboe-pitch";
    const PROOF: Proof = Proof::Stream;

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
        false
    }

    #[inline]
    fn packing(self) -> Packing {
        unit_header::PACKING
    }

    fn with_key(self, key: u32) -> CboePitch {
        CboePitch { unit: key as u8 }
    }

    #[inline]
    fn frame<'a>(self, datagram: &'a [u8], at: &mut usize) -> Option<Result<Frame<'a>, Malformed>> {
        let mut frame = unit_header::frame(datagram, at)?;
        if let Ok(frame) = &mut frame
            && frame.kind == FrameKind::Data
            && ends_session(frame.body, frame.count)
        {
            frame.kind = FrameKind::Last;
        }
        Some(frame)
    }

    fn encode(self, _: Session, sequence: u64, messages: &[&[u8]], max_len: usize, out: &mut Vec<u8>) -> usize {
        unit_header::encode(self.unit, sequence, messages, max_len, out)
    }

    fn encode_heartbeat(self, _: Session, next: u64, out: &mut Vec<u8>) -> u32 {
        unit_header::encode(self.unit, next, &[], 0, out) as u32
    }

    fn encode_end(self, _: Session, _: u64, _: &mut Vec<u8>) -> bool {
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::Reset;

    fn parse(datagram: &[u8]) -> Result<Frame<'_>, Malformed> {
        let mut at = 0;
        let frame = CboePitch::default().frame(datagram, &mut at).expect("a datagram holds a frame or an error");
        assert!(CboePitch::default().frame(datagram, &mut at).is_none(), "one frame a datagram");
        frame
    }

    /// Two messages of unit 2, numbers 7 and 8.
    const TWO: &[u8] = b"\x11\0\x02\x02\x07\0\0\0\x03\x20a\x06\x29bcde";

    #[test]
    fn a_datagram_by_hand() {
        let frame = parse(TWO).unwrap();
        assert_eq!((frame.kind, frame.sequence, frame.count, frame.key), (FrameKind::Data, 7, 2, Some(2)));
        let messages: Vec<_> = frame.packing.messages(frame.body).collect();
        assert_eq!(messages, [b"\x03\x20a".as_slice(), b"\x06\x29bcde"]);
        assert_eq!((frame.heartbeat, frame.reset, frame.session), (false, None, Session::NONE));
    }

    #[test]
    fn what_is_written_is_read() {
        let mut out = Vec::new();
        let framing = CboePitch::default().with_key(2);
        assert_eq!(framing.encode(Session::NONE, 7, &[b"\x03\x20a", b"\x06\x29bcde"], 1_400, &mut out), 2);
        assert_eq!(out, TWO);
        // zero is skipped, and the room is kept
        assert_eq!(framing.encode(Session::NONE, 1 << 32, &[b"\x03\x20a", b"\x03\x20a"], 12, &mut out), 1);
        assert_eq!((parse(&out).unwrap().sequence, parse(&out).unwrap().count), (1, 1));
        // no block: nothing is written on its behalf
        assert_eq!(framing.encode(Session::NONE, 1, &[b"\x04\x20a"], 1_400, &mut out), 0);
        assert_eq!(framing.encode(Session::NONE, 1, &[b""], 1_400, &mut out), 0);
        let many = vec![b"\x02\x20".as_slice(); 300];
        assert_eq!(framing.encode(Session::NONE, 1, &many, 1_400, &mut out), 255);
        assert_eq!(parse(&out).unwrap().count, 255);
    }

    #[test]
    fn heartbeats_say_the_next_number_and_out_of_hours_none() {
        let mut out = Vec::new();
        assert_eq!(CboePitch::default().encode_heartbeat(Session::NONE, 9, &mut out), 0);
        assert_eq!(out, b"\x08\0\0\x01\x09\0\0\0");
        let frame = parse(&out).unwrap();
        assert_eq!((frame.kind, frame.sequence, frame.count, frame.heartbeat), (FrameKind::Heartbeat, 9, 0, true));
        assert_eq!(frame.reset, None);
        let frame = parse(b"\x08\0\0\x01\0\0\0\0").unwrap();
        assert_eq!((frame.kind, frame.count, frame.heartbeat, frame.reset), (FrameKind::Unsequenced, 0, true, None));
    }

    #[test]
    fn a_heartbeat_at_one_may_be_a_restart() {
        assert_eq!(parse(b"\x08\0\0\x01\x01\0\0\0").unwrap().reset, Some(Reset::Heartbeat(1)));
        // a message of that number is none
        assert_eq!(parse(b"\x0a\0\x01\x01\x01\0\0\0\x02\x97").unwrap().reset, None);
    }

    #[test]
    fn a_number_of_zero_is_outside_of_the_sequence() {
        let frame = parse(b"\x0a\0\x01\x01\0\0\0\0\x02\x2e").unwrap();
        assert_eq!((frame.kind, frame.count, frame.heartbeat), (FrameKind::Unsequenced, 1, false));
        // and ends nothing
        assert_eq!(parse(b"\x0e\0\x01\x01\0\0\0\0\x06\x2dtime").unwrap().kind, FrameKind::Unsequenced);
    }

    #[test]
    fn the_session_ends_with_end_of_session_as_the_last_message() {
        assert_eq!(parse(b"\x11\0\x02\x01\x07\0\0\0\x03\x20a\x06\x2dtime").unwrap().kind, FrameKind::Last);
        assert_eq!(parse(b"\x12\0\x01\x01\x07\0\0\0\x0a\x2dlongtime").unwrap().kind, FrameKind::Last);
        // not as the first, nor where a message's own bytes look like one
        assert_eq!(parse(b"\x11\0\x02\x01\x07\0\0\0\x06\x2dtime\x03\x20a").unwrap().kind, FrameKind::Data);
        assert_eq!(parse(b"\x11\0\x01\x01\x07\0\0\0\x09\x20a\x06\x2dtime").unwrap().kind, FrameKind::Data);
    }

    #[test]
    fn every_cut_is_refused_under_its_reason() {
        for cut in 0..TWO.len() {
            let reason = if cut < 8 { Malformed::Header } else { Malformed::Length };
            assert_eq!(parse(&TWO[..cut]).unwrap_err(), reason, "cut at {cut}");
            // the same with a header that says so much
            if cut >= 8 {
                let mut short = TWO[..cut].to_vec();
                short[0] = cut as u8;
                assert_eq!(parse(&short).unwrap_err(), Malformed::Overrun, "short by {}", TWO.len() - cut);
            }
        }
        assert_eq!(parse(b"\x07\0\0\x01\x01\0\0\0").unwrap_err(), Malformed::Length);
        assert_eq!(parse(b"\x09\0\x01\x01\x01\0\0\0\0").unwrap_err(), Malformed::Overrun, "a length of zero");
    }

    #[test]
    fn bytes_behind_the_headers_length_are_left_alone() {
        let padded = [TWO, &[0; 5]].concat();
        assert_eq!(parse(&padded).unwrap().bytes, TWO);
        assert_eq!(parse(&padded).unwrap().body, parse(TWO).unwrap().body);
    }
}
