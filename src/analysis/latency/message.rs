//! The messages that are timed: what they hold, when each is due, and where they lie in a datagram.
//!
//! ```text
//!  0                  8                  16
//!  +------------------+------------------+---------- - -
//!  | to be sent u64   | sent u64         | filler
//!  +------------------+------------------+---------- - -
//! ```
//!
//! Both are little-endian nanoseconds of the run's clock. The source leaves the second at zero; the publisher sets it in each line's
//! copy, right before the system call.

use std::io;

use twinline_core::Nanos;
use twinline_core::frame::Packing;
use twinline_core::framing::Framing;
use twinline_node::publisher::{MessageSource, Timing};

/// The shortest message that is timed.
pub const MESSAGE_LEN_MIN: usize = 16;
/// The longest: it fits an Ethernet frame with any framing's header.
pub const MESSAGE_LEN_MAX: usize = 1_400;

/// When a message was due, and when it was sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Stamps {
    /// When it was to be sent.
    pub(super) intended: Nanos,
    /// When it was, right before the system call.
    pub(super) sent: Nanos,
}

impl Stamps {
    /// The stamps of a message, behind the length that it may begin with.
    #[inline]
    pub(super) fn of(packing: Packing, message: &[u8]) -> Option<Stamps> {
        Stamps::read(packing.content(message))
    }

    /// The stamps of a message's content; `None` if it is too short to have any.
    #[inline]
    pub(super) fn read(message: &[u8]) -> Option<Stamps> {
        let (intended, rest) = message.split_first_chunk()?;
        let (sent, _) = rest.split_first_chunk()?;
        Some(Stamps { intended: Nanos(u64::from_le_bytes(*intended)), sent: Nanos(u64::from_le_bytes(*sent)) })
    }

    /// Puts them at the front of a message, as far as it has room.
    #[inline]
    pub(super) fn write(self, message: &mut [u8]) {
        let both = [self.intended.0.to_le_bytes(), self.sent.0.to_le_bytes()];
        for (to, from) in message.iter_mut().zip(both.as_flattened()) {
            *to = *from;
        }
    }
}

/// The load of a pass: how many messages per second, how many at once, how long each.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Load {
    /// Millionths of a message per second.
    pub micro_rate: u64,
    /// How many messages are due at once, at the same average rate.
    pub burst: u32,
    /// The length of a message in bytes.
    pub size: usize,
}

impl Load {
    /// Messages per second.
    pub fn rate(&self) -> f64 {
        self.micro_rate as f64 / 1e6
    }

    /// When message number `n`, from 0, is due after the first. Counted from the start, so that nothing drifts.
    ///
    /// ```
    /// use twinline_analysis::latency::Load;
    /// use twinline_core::Nanos;
    /// let load = Load { micro_rate: 1_000_000_000, burst: 4, size: 64 };
    /// assert_eq!([0, 3, 4, 9].map(|n| load.due(n)), [0, 0, 4_000_000, 8_000_000].map(Nanos));
    /// ```
    pub fn due(&self, n: u64) -> Nanos {
        let at_once = u128::from(n - n % u64::from(self.burst.max(1)));
        let due = at_once * 1_000_000_000_000_000 / u128::from(self.micro_rate.max(1));
        Nanos(u64::try_from(due).unwrap_or(u64::MAX))
    }
}

/// The source of a load's messages, for a plan by recorded times.
#[derive(Clone, Debug)]
pub(super) struct Timed {
    load: Load,
    zero: Nanos,
    limit: Nanos,
    index: u64,
}

impl Timed {
    /// Messages due from `zero` on, for as long as `limit`.
    pub(super) fn new(load: Load, zero: Nanos, limit: Nanos) -> Timed {
        Timed { load, zero, limit, index: 0 }
    }
}

impl MessageSource for Timed {
    fn next(&mut self, message: &mut Vec<u8>) -> io::Result<Option<Timing>> {
        let due = self.load.due(self.index);
        if due >= self.limit {
            return Ok(None);
        }
        self.index += 1;
        message.clear();
        message.resize(self.load.size, 0x5a);
        Stamps { intended: self.zero + due, sent: Nanos::ZERO }.write(message);
        Ok(Some(Timing::Recorded(due)))
    }
}

/// Where the contents of a datagram's messages begin in it: added to `at`, which is cleared first.
pub(super) fn places<F: Framing>(framing: F, datagram: &[u8], at: &mut Vec<usize>) {
    at.clear();
    let mut next = 0;
    while let Some(Ok(frame)) = framing.frame(datagram, &mut next) {
        // a frame's messages are a part of the datagram
        let begin = |part: &[u8]| part.as_ptr().addr() - datagram.as_ptr().addr();
        let messages = frame.packing.messages(frame.body).take(frame.count as usize);
        at.extend(messages.map(|message| begin(frame.packing.content(message))));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use twinline_core::frame::Session;
    use twinline_core::framing::{CmeMdp3, MoldUdp64};

    #[test]
    fn stamps_come_back() {
        let stamps = Stamps { intended: Nanos(5), sent: Nanos(u64::MAX) };
        let mut message = [9; 20];
        stamps.write(&mut message);
        assert_eq!(Stamps::read(&message), Some(stamps));
        assert_eq!(message[16..], [9; 4]);
        assert_eq!(Stamps::read(&message[..15]), None);
        stamps.write(&mut message[..3]);
    }

    #[test]
    fn due_times_are_counted_from_the_start() {
        let third = Load { micro_rate: 3_000_000, burst: 1, size: 16 };
        assert_eq!([1, 2, 3].map(|n| third.due(n).0), [333_333_333, 666_666_666, 1_000_000_000]);
        let mut source = Timed::new(third, Nanos(1_000), Nanos::from_secs(1));
        let (mut message, mut stamps) = (Vec::new(), Vec::new());
        while source.next(&mut message).unwrap().is_some() {
            assert_eq!(message.len(), 16);
            stamps.push(Stamps::read(&message).unwrap());
        }
        assert_eq!(
            stamps.iter().map(|stamps| stamps.intended.0).collect::<Vec<_>>(),
            [1_000, 333_334_333, 666_667_666]
        );
        assert!(stamps.iter().all(|stamps| stamps.sent == Nanos::ZERO));
    }

    #[test]
    fn messages_are_found_in_their_datagram() {
        let (mut datagram, mut at) = (Vec::new(), vec![7]);
        MoldUdp64.encode(Session::text(b"S"), 1, &[b"one", b"twelve"], 1_400, &mut datagram);
        places(MoldUdp64, &datagram, &mut at);
        assert_eq!(at, [22, 27]);
        assert!(datagram[27..].starts_with(b"twelve"));
        MoldUdp64.encode_heartbeat(Session::text(b"S"), 1, &mut datagram);
        places(MoldUdp64, &datagram, &mut at);
        assert_eq!(at, [0; 0]);
        CmeMdp3.encode(Session::NONE, 1, &[b"whole"], 1_400, &mut datagram);
        places(CmeMdp3, &datagram, &mut at);
        assert_eq!(at, [12]);
    }
}
