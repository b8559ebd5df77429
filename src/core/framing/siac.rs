//! What OPRA and CTA have in common: the checksum of a block, and what control messages do to the numbers.

use super::{Malformed, next_after};
use crate::frame::{Frame, FrameKind, Packing, Reset, Session};

/// What a control message that is alone in its block means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Control {
    StartOfDay,
    EndOfDay,
    /// The counter is reset to the block's number.
    Reset,
    /// A heartbeat with the last number sent; it consumes none.
    LineIntegrity,
}

/// A block whose header has been read.
pub(super) struct Block<'a> {
    pub(super) key: Option<u32>,
    pub(super) number: u32,
    pub(super) count: u32,
    /// Whether it is a retransmission: then it resets and ends nothing, because the original did.
    pub(super) again: bool,
    /// What its only message means, if that is a control message.
    pub(super) control: Option<Control>,
    pub(super) packing: Packing,
    pub(super) body: &'a [u8],
    pub(super) bytes: &'a [u8],
}

impl<'a> Block<'a> {
    /// The block as a frame.
    #[inline]
    pub(super) fn frame(self) -> Frame<'a> {
        let plain = self.number != 0 && self.count != 0 && self.control.is_none();
        let (kind, sequence, reset) =
            if plain { (FrameKind::Data, u64::from(self.number), None) } else { self.out_of_the_ordinary() };
        let heartbeat = kind == FrameKind::Heartbeat || self.count == 0;
        let messages = kind != FrameKind::Heartbeat;
        Frame {
            key: self.key,
            session: Session::NONE,
            kind,
            sequence,
            count: if messages { self.count } else { 0 },
            heartbeat,
            reset,
            packing: self.packing,
            body: if messages { self.body } else { &[] },
            bytes: self.bytes,
        }
    }

    #[cold]
    fn out_of_the_ordinary(&self) -> (FrameKind, u64, Option<Reset>) {
        let number = u64::from(self.number);
        let control = if self.again { None } else { self.control };
        match (control, self.number) {
            (Some(Control::LineIntegrity), last) => {
                (FrameKind::Heartbeat, next_after(last), (last == 0).then_some(Reset::Heartbeat(1)))
            }
            // a reset to zero: what follows is 1
            (Some(Control::StartOfDay | Control::Reset), 0) => (FrameKind::Unsequenced, 0, Some(Reset::Marked(1))),
            // no number, or no messages: the document does not say what the number of an empty block means
            (_, 0) => (FrameKind::Unsequenced, 0, None),
            _ if self.count == 0 => (FrameKind::Unsequenced, number, None),
            (Some(Control::Reset), _) => (FrameKind::Data, number, Some(Reset::Marked(number))),
            (Some(Control::EndOfDay), _) => (FrameKind::Last, number, None),
            (Some(Control::StartOfDay) | None, _) => (FrameKind::Data, number, None),
        }
    }
}

/// Whether the 16 bits at `at` are the low ones of the sum of all other bytes.
#[inline]
pub(super) fn check(block: &[u8], at: usize) -> Result<(), Malformed> {
    match block.get(at..at + 2) {
        Some(&[high, low]) if checksum(block, at) == u16::from_be_bytes([high, low]) => Ok(()),
        _ => Err(Malformed::Checksum),
    }
}

/// The checksum that belongs at `at`.
pub(super) fn checksum(block: &[u8], at: usize) -> u16 {
    let all: u32 = block.iter().map(|&byte| u32::from(byte)).sum();
    let own: u32 = block[at..at + 2].iter().map(|&byte| u32::from(byte)).sum();
    (all - own) as u16
}

/// Writes the length and the checksum of a block that is otherwise complete; false if it is too long for its length field.
pub(super) fn seal(out: &mut [u8], checksum_at: usize) -> bool {
    let Ok(len) = u16::try_from(out.len()) else { return false };
    out[1..3].copy_from_slice(&len.to_be_bytes());
    let sum = checksum(out, checksum_at);
    out[checksum_at..checksum_at + 2].copy_from_slice(&sum.to_be_bytes());
    true
}
