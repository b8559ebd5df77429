//! The unit header that Cboe and LSE share. Its shape is here; what its numbers mean is with each of them.

use super::{Malformed, append};
use crate::frame::{Frame, FrameKind, Packing, Reset, Session};
use crate::seq::{SeqNo, Width};

pub(super) const HEADER: usize = 8;
/// How messages are packed after it.
pub(super) const PACKING: Packing = Packing::OWN_U8;

/// Reads the one frame of a datagram.
///
/// ```text
///  0        2       3    4          8
///  +--------+-------+----+----------+--------------------- - -
///  | length | count | id | sequence | u8 length | type | ...
///  +--------+-------+----+----------+--------------------- - -
/// ```
#[inline]
pub(super) fn frame<'a>(datagram: &'a [u8], at: &mut usize) -> Option<Result<Frame<'a>, Malformed>> {
    if *at > 0 {
        return None; // one frame a datagram
    }
    *at = datagram.len().max(1);
    let Some(head) = datagram.first_chunk::<HEADER>() else {
        return Some(Err(Malformed::Header));
    };
    let len = usize::from(u16::from_le_bytes([head[0], head[1]]));
    let (count, id) = (u32::from(head[2]), u32::from(head[3]));
    let sequence = u64::from(u32::from_le_bytes([head[4], head[5], head[6], head[7]]));
    let Some(rest) = datagram.get(HEADER..len) else {
        return Some(Err(Malformed::Length));
    };
    let Some(body) = PACKING.blocks_len(rest, count) else {
        return Some(Err(Malformed::Overrun));
    };
    let heartbeat = count == 0;
    let kind = match (sequence, heartbeat) {
        (0, _) => FrameKind::Unsequenced,
        (_, false) => FrameKind::Data,
        (_, true) => FrameKind::Heartbeat,
    };
    Some(Ok(Frame {
        key: Some(id),
        session: Session::NONE,
        kind,
        sequence,
        count,
        heartbeat,
        reset: (heartbeat && sequence == 1).then_some(Reset::Heartbeat(1)),
        packing: PACKING,
        body: &rest[..body],
        bytes: &datagram[..len],
    }))
}

/// Writes a frame with as many of the messages as fit.
pub(super) fn encode(id: u8, sequence: u64, messages: &[&[u8]], max_len: usize, out: &mut Vec<u8>) -> usize {
    out.clear();
    out.extend_from_slice(&[HEADER as u8, 0, 0, id]);
    out.extend_from_slice(&(Width::U32SkipZero.wire(SeqNo(sequence)) as u32).to_le_bytes());
    let count = append(PACKING, messages, usize::from(u8::MAX), max_len.min(usize::from(u16::MAX)), out);
    out[2] = count as u8;
    let len = out.len() as u16;
    out[..2].copy_from_slice(&len.to_le_bytes());
    count
}
