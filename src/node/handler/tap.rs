//! A copy of every datagram for a capture. The hot thread puts it into a ring; another thread writes the file.
//!
//! ```text
//!  0         8          12     14      16     17        24
//!  +---------+----------+------+-------+------+---------+-------------- - -
//!  | stamp   | sender   | port | group | line | zero    | payload
//!  +---------+----------+------+-------+------+---------+-------------- - -
//! ```
//!
//! If the ring has no room, the copy is dropped and counted by line ([`Tap::dropped`]). The arbiter never waits.

use std::net::{Ipv4Addr, SocketAddrV4};

use crate::source::Datagram;
use twinline_client::ring::{self, BrokenRing, Consumer, Polled, Producer, RingError, Shape};
use twinline_core::Nanos;
use twinline_core::frame::{LINES_MAX, Line};

const HEAD_LEN: usize = 24;
/// The head and the longest datagram.
const RECORD_MAX: usize = HEAD_LEN + (1 << 16);

/// Where the hot thread puts a copy of every datagram, for a [`Tapped`] on another thread.
#[derive(Debug)]
pub struct Tap {
    producer: Producer,
    dropped: [u64; LINES_MAX],
}

/// Where another thread reads the copies.
#[derive(Debug)]
pub struct Tapped {
    consumer: Consumer,
}

/// A copy of a datagram, as the arbiter was given it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recorded<'a> {
    /// The stamp that it came to the arbiter with.
    pub stamp: Nanos,
    /// The line that it came by.
    pub line: Line,
    /// The position of its group in the line's list.
    pub group: u16,
    /// Who sent it.
    pub sender: SocketAddrV4,
    /// The UDP payload.
    pub payload: &'a [u8],
}

impl Tap {
    /// Both ends of a new ring of `capacity` bytes.
    ///
    /// ```
    /// use twinline_client::ring::Polled;
    /// use twinline_core::frame::Line;
    /// use twinline_node::handler::Tap;
    /// use twinline_node::source::Datagram;
    /// use twinline_core::Nanos;
    ///
    /// let (mut tap, mut tapped) = Tap::open(1 << 20)?;
    /// let source = "10.0.0.1:99".parse()?;
    /// let datagram = Datagram { line: Line(1), group: 0, source, stamp: None, kernel_stamp: None, payload: b"hello" };
    /// tap.put(Nanos(7), &datagram);
    /// drop(tap);
    /// let Polled::Item(recorded) = tapped.poll()? else { panic!() };
    /// assert_eq!((recorded.stamp, recorded.line, recorded.sender, recorded.payload), (Nanos(7), Line(1), source, &b"hello"[..]));
    /// assert_eq!(tapped.poll()?, Polled::Ended);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`RingError`] if the capacity is not a power of two, or too small for four of the longest datagrams.
    pub fn open(capacity: usize) -> Result<(Tap, Tapped), RingError> {
        let (producer, consumer) = ring::heap(Shape { capacity, record_max: RECORD_MAX }, &[])?;
        Ok((Tap { producer, dropped: [0; LINES_MAX] }, Tapped { consumer }))
    }

    /// Puts a copy into the ring, or counts it as dropped.
    #[inline]
    pub fn put(&mut self, stamp: Nanos, datagram: &Datagram<'_>) {
        let mut head = [0; HEAD_LEN];
        head[..8].copy_from_slice(&stamp.0.to_le_bytes());
        head[8..12].copy_from_slice(&datagram.source.ip().octets());
        head[12..14].copy_from_slice(&datagram.source.port().to_le_bytes());
        head[14..16].copy_from_slice(&datagram.group.to_le_bytes());
        head[16] = datagram.line.0;
        if self.producer.write(&head, datagram.payload).is_err()
            && let Some(dropped) = self.dropped.get_mut(datagram.line.index())
        {
            *dropped += 1;
        }
    }

    /// How many were dropped so far, by [`Line::index`].
    pub fn dropped(&self) -> [u64; LINES_MAX] {
        self.dropped
    }
}

impl Tapped {
    /// The next copy. The space of the one before is given back to the ring.
    ///
    /// # Errors
    /// [`BrokenRing`], from then on for every call.
    pub fn poll(&mut self) -> Result<Polled<Recorded<'_>>, BrokenRing> {
        self.consumer.release();
        if !self.consumer.ready()? {
            if !self.consumer.closed() {
                return Ok(Polled::Empty);
            }
            // one may have come after the first look and before the tap was dropped
            if !self.consumer.ready()? {
                return Ok(Polled::Ended);
            }
        }
        let Some((head, payload)) = self.consumer.record().split_first_chunk::<HEAD_LEN>() else {
            return Ok(Polled::Empty); // no tap writes such a record
        };
        let [s0, s1, s2, s3, s4, s5, s6, s7, a, b, c, d, p0, p1, g0, g1, line, ..] = *head;
        Ok(Polled::Item(Recorded {
            stamp: Nanos(u64::from_le_bytes([s0, s1, s2, s3, s4, s5, s6, s7])),
            line: Line(line),
            group: u16::from_le_bytes([g0, g1]),
            sender: SocketAddrV4::new(Ipv4Addr::new(a, b, c, d), u16::from_le_bytes([p0, p1])),
            payload,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_is_counted_by_line_and_nothing_else_is_lost() {
        let (mut tap, mut tapped) = Tap::open(1 << 19).unwrap();
        let payload = vec![7; 65_507];
        let datagram = |line| Datagram {
            line: Line(line),
            group: 3,
            source: SocketAddrV4::new(Ipv4Addr::new(10, 0, 0, 1), 0x1234),
            stamp: None,
            kernel_stamp: None,
            payload: &payload,
        };
        for n in 0..20u8 {
            tap.put(Nanos(n.into()), &datagram(n % 2));
        }
        let dropped: u64 = tap.dropped().iter().sum();
        assert!(dropped > 0 && tap.dropped()[..2].iter().all(|n| *n > 0), "{:?}", tap.dropped());
        drop(tap);
        let mut taken = 0;
        loop {
            match tapped.poll().unwrap() {
                Polled::Item(recorded) => {
                    assert_eq!((recorded.stamp, recorded.line.0, recorded.group), (Nanos(taken), (taken % 2) as u8, 3));
                    assert_eq!((recorded.sender.port(), recorded.payload), (0x1234, &payload[..]));
                    taken += 1;
                }
                Polled::Empty => panic!("the tap has gone"),
                Polled::Ended => break,
            }
        }
        assert_eq!(taken + dropped, 20);
    }
}
