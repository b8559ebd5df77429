//! Mapped rings: one per line of a feed. Frames are read in place, without a system call.
//!
//! ```text
//! ring -> link, VLAN tags -> IPv4, its checksum -+-> UDP, its checksum -> group and port, sender -> datagram
//!                                                +-> fragments, put together -^
//! ```
//!
//! This does what a kernel does for a socket: nothing in a frame is believed before it is checked.

use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};

use crate::config::{Feed, LineConfig};
use crate::ip::{self, FragmentPath, Ipv4, LinkType, Reason, Reassembler, Udp, UdpChecksum};
use crate::os::{
    Attachment, Checksum, Clock, KernelStamp, MappedRingError, Membership, RECEIVE_BATCH, RawFrame, ReceiveOptions,
    Ring, RingOptions, is_transient_receive_error, no_such_interface,
};
use crate::source::live::{LineFacts, LiveError, SourceFacts, interfaces, join};
use crate::source::watch::{Joins, LiveWatch};
use crate::source::{CountedSource, Datagram, Pass, Source};
use twinline_core::frame::Line;

/// The hot thread's half of a feed's mapped rings: one per line, whose frames are read in place, without a system call.
///
/// Each frame without a datagram of the line is counted under a reason ([`FrameFacts`](super::FrameFacts)). The other half is
/// [`LiveWatch`]: it keeps one socket per group, which joins the group and hears nothing, so that the network goes on sending it
/// here.
///
/// A pass takes up to a batch from each line's ring. Which line comes first rotates from pass to pass.
#[derive(Debug)]
pub struct Mapped<R> {
    lines: Vec<MappedLine<R>>,
    /// Which line the next pass polls first.
    first: usize,
    facts: SourceFacts,
}

#[derive(Debug)]
struct MappedLine<R> {
    ring: R,
    reader: Reader,
}

impl<R: Ring> Mapped<R> {
    /// Calls `open` for a ring for each line, joins the line's groups, and attaches the ring to its interface.
    ///
    /// A missing interface is not an error as long as another line's exists: [`LiveWatch::check`] reports it, and attaches when it
    /// appears.
    ///
    /// # Errors
    /// [`LiveError`].
    pub fn open<A: Attachment + 'static>(
        feed: &Feed,
        options: &ReceiveOptions,
        mut open: impl FnMut(&RingOptions) -> Result<(R, A), MappedRingError>,
    ) -> Result<(Mapped<R>, LiveWatch), LiveError> {
        let found = interfaces(feed)?;
        let mut watch = LiveWatch::new();
        let mut lines = Vec::with_capacity(feed.lines.len());
        for (index, (line, found)) in feed.lines.iter().zip(&found).enumerate() {
            let failed = |error| LiveError::Ring { line: line.name.clone(), interface: line.interface.clone(), error };
            // first, since this is what may not be permitted
            let (ring, mut attachment) = open(&RingOptions {
                groups: line.groups.clone(),
                buffer_bytes: options.buffer_bytes,
                kernel_stamps: options.kernel_stamps,
            })
            .map_err(failed)?;
            let mut sockets = Vec::with_capacity(line.groups.len());
            for &group in &line.groups {
                let failed = |error| LiveError::at_socket(line, group, error);
                let mut membership = Membership::join_only(group, line.source, found.is_none()).map_err(failed)?;
                join(&mut membership, found.as_ref()).map_err(failed)?;
                sockets.push(membership);
            }
            if let Some(interface) = found {
                match attachment.attach(interface.index) {
                    // it disappeared after it was listed: the watch will notice
                    Err(error) if !no_such_interface(&error.error) => return Err(failed(error)),
                    _ => {}
                }
            }
            let joins = Joins { sockets, ring: Some(Box::new(attachment)), join_only: true };
            watch.add(Line(index as u8), line, found.as_ref(), joins);
            lines.push(MappedLine { ring, reader: Reader::new(Line(index as u8), line) });
        }
        Ok((Mapped { lines, first: 0, facts: SourceFacts::default() }, watch))
    }
}

impl<R: Ring> CountedSource for Mapped<R> {
    fn facts(&self) -> SourceFacts {
        let mut facts = self.facts;
        for line in &self.lines {
            facts.lines[line.reader.place.line.index()].fragments = line.reader.fragments.facts();
        }
        facts
    }
}

impl<R: Ring> Source for Mapped<R> {
    #[inline]
    fn poll(&mut self, take: &mut impl FnMut(Datagram<'_>)) -> io::Result<Pass> {
        let mut pass = Pass::default();
        let count = self.lines.len();
        for place in 0..count {
            let at = self.first + place;
            let MappedLine { ring, reader } = &mut self.lines[if at < count { at } else { at - count }];
            let facts = &mut self.facts.lines[reader.place.line.index()];
            let before = facts.datagrams;
            let polled = ring.poll(&mut |frame| reader.read(&frame, facts, take));
            pass.datagrams += (facts.datagrams - before) as usize;
            match polled {
                Ok(count) => pass.full |= count == RECEIVE_BATCH,
                Err(error) if is_transient_receive_error(&error) => facts.errors += 1,
                Err(error) => return Err(error),
            }
        }
        self.first = if self.first + 1 < count { self.first + 1 } else { 0 };
        Ok(pass)
    }
}

/// Reads a line's frames.
#[derive(Debug)]
pub(super) struct Reader {
    place: Place,
    fragments: Reassembler,
    /// Read only when a fragment comes.
    clock: Clock,
}

/// Where in its feed a line's datagrams belong.
#[derive(Debug)]
struct Place {
    line: Line,
    /// The only sender to accept; `None`: any.
    only: Option<Ipv4Addr>,
    groups: Groups,
}

impl Reader {
    pub(super) fn new(line: Line, config: &LineConfig) -> Reader {
        let place = Place { line, only: config.source, groups: Groups::new(&config.groups) };
        Reader { place, fragments: Reassembler::new(), clock: Clock::start() }
    }

    /// The line.
    pub(super) fn line(&self) -> Line {
        self.place.line
    }

    /// Whether a group and port is one of the line's.
    pub(super) fn wants(&self, to: SocketAddrV4) -> bool {
        self.place.groups.find(to).is_some()
    }

    /// Hands over a frame's datagram, or counts why it has none.
    #[inline]
    pub(super) fn read(&mut self, frame: &RawFrame<'_>, facts: &mut LineFacts, take: &mut impl FnMut(Datagram<'_>)) {
        let parsed = ip::network(LinkType::Ethernet, frame.bytes).and_then(|at| Ipv4::parse(&frame.bytes[at..]));
        let outcome = match parsed {
            Ok(ip) if !ip.checksum_is_right() => {
                facts.frames.ip_checksum += 1;
                return;
            }
            Ok(ip) if ip.is_fragment() => self.put_together(&ip, frame, facts, take),
            Ok(ip) => ip.segment().and_then(|segment| {
                let ends = (ip.source(), ip.destination());
                self.place.finish(ends, segment.bytes, frame, facts, take)
            }),
            Err(reason) => Err(reason),
        };
        match outcome {
            Ok(()) => {}
            Err(Reason::Truncated) if frame.truncated => facts.truncated += 1,
            Err(Reason::Truncated | Reason::Malformed) => facts.frames.malformed += 1,
            Err(Reason::NotUdp | Reason::Fragment) => facts.frames.foreign += 1,
        }
    }

    /// The slow way.
    #[cold]
    #[inline(never)]
    fn put_together(
        &mut self,
        ip: &Ipv4<'_>,
        frame: &RawFrame<'_>,
        facts: &mut LineFacts,
        take: &mut impl FnMut(Datagram<'_>),
    ) -> Result<(), Reason> {
        let fragment = ip.fragment(FragmentPath::default())?;
        let Some(segment) = self.fragments.put(self.clock.now(), &fragment) else { return Ok(()) };
        // nobody knows whether the sender of a fragment left its checksum unfinished
        let frame = RawFrame { checksum: Checksum::Unknown, joined: None, ..*frame };
        self.place.finish((ip.source(), ip.destination()), segment, &frame, facts, take)
    }
}

impl Place {
    /// Hands over what a whole segment holds.
    #[inline]
    fn finish(
        &self,
        (source, destination): (Ipv4Addr, Ipv4Addr),
        segment: &[u8],
        frame: &RawFrame<'_>,
        facts: &mut LineFacts,
        take: &mut impl FnMut(Datagram<'_>),
    ) -> Result<(), Reason> {
        let udp = Udp::parse(segment)?;
        let wrong = match frame.checksum {
            Checksum::Valid | Checksum::NotReady => false,
            Checksum::Ready => {
                matches!(udp.checksum(source, destination), UdpChecksum::Wrong | UdpChecksum::Unfinished)
            }
            Checksum::Unknown => udp.checksum(source, destination) == UdpChecksum::Wrong,
        };
        let group = self.groups.find(SocketAddrV4::new(destination, udp.destination_port));
        if wrong {
            facts.frames.udp_checksum += 1;
        } else if let Some(group) = group {
            if self.only.is_some_and(|only| only != source) {
                facts.other_senders += 1;
                return Ok(());
            }
            let mut hand_over = |payload: &[u8]| {
                facts.datagrams += 1;
                facts.bytes += payload.len() as u64;
                take(Datagram {
                    line: self.line,
                    group,
                    source: SocketAddrV4::new(source, udp.source_port),
                    stamp: None,
                    // a ring has one stamp per frame, and it is the kernel's
                    kernel_stamp: frame.kernel_stamp.map(|at| KernelStamp { software: Some(at), hardware: None }),
                    payload,
                });
            };
            match frame.joined {
                None => hand_over(udp.payload),
                Some(size) => udp.payload.chunks(usize::from(size.get())).for_each(hand_over),
            }
        } else {
            facts.frames.foreign += 1;
        }
        Ok(())
    }
}

/// Finds the position of a group and port in the line's list with one multiplication: many groups cost as much as one.
#[derive(Clone, Debug)]
struct Groups {
    /// A power of two of places, of which at most half are taken.
    places: Box<[(u64, u16)]>,
    shift: u32,
}

impl Groups {
    fn new(groups: &[SocketAddrV4]) -> Groups {
        let bits = (groups.len() * 2).next_power_of_two().trailing_zeros().max(1);
        let free = (Groups::FREE, 0);
        let mut table = Groups { places: vec![free; 1 << bits].into_boxed_slice(), shift: u64::BITS - bits };
        for (place, &group) in (0..).zip(groups) {
            let key = Groups::key(group);
            let mut at = table.begin(key);
            while table.places[at].0 != Groups::FREE {
                at = (at + 1) & (table.places.len() - 1);
            }
            table.places[at] = (key, place);
        }
        table
    }

    /// The key of a free place: a group has 48 bits.
    const FREE: u64 = u64::MAX;

    #[inline]
    fn key(group: SocketAddrV4) -> u64 {
        u64::from(u32::from(*group.ip())) << 16 | u64::from(group.port())
    }

    #[inline]
    fn begin(&self, key: u64) -> usize {
        (key.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> self.shift) as usize
    }

    #[inline]
    fn find(&self, group: SocketAddrV4) -> Option<u16> {
        let key = Groups::key(group);
        let mut at = self.begin(key);
        loop {
            match self.places[at] {
                (found, place) if found == key => return Some(place),
                (Groups::FREE, _) => return None,
                _ => at = (at + 1) & (self.places.len() - 1),
            }
        }
    }
}

#[cfg(test)]
mod tests;
