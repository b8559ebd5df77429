//! Reassembly of IPv4 fragments, within bounds.
//!
//! ```text
//! fragment, now -> Reassembler -> a whole UDP segment, or nothing yet
//!                      64 datagrams in flight, 64 KiB each, none older than a second
//! ```
//!
//! The rules are strict, as for a receiver that trusts nobody (RFC 791, with what RFC 5722 and RFC 8900 say about overlaps). A
//! fragment that repeats bytes is a duplicate and does no harm. One that has other bytes in the same place, or disagrees about
//! where the datagram ends, ends the whole datagram. Whatever does not become a datagram is counted under a reason
//! ([`FragmentFacts`]). Time is an argument. Memory is allocated once, and first touched when a fragment comes.

use std::net::Ipv4Addr;
use std::ops::Add;

use twinline_core::Nanos;

/// How many datagrams may be in flight. With one more, the oldest is given up.
pub const DATAGRAMS_IN_FLIGHT: usize = 64;
/// How long a datagram may take to be complete.
pub(crate) const AGE_MAX: Nanos = Nanos::from_secs(1);

/// The most that an IPv4 packet can carry, in bytes.
const BYTES_MAX: usize = u16::MAX as usize - 20;
/// Room for a datagram, in whole units.
const ROOM: usize = 1 << 16;
/// Fragments begin at multiples of this.
const UNIT: usize = 8;
/// A bit for each unit.
const WORDS: usize = ROOM / UNIT / 64;

/// Where fragments came in: what came in elsewhere belongs to another datagram, whatever its header says. All zero if there is only
/// one way in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct FragmentPath {
    /// A capture's interface.
    pub(crate) interface: u32,
    /// The host's interface, if a capture of several names it for each packet (Linux cooked v2).
    pub(crate) host_interface: u32,
    /// The VLAN, by the tag nearest to the packet.
    pub(crate) vlan: u16,
}

/// Which datagram a fragment is of (the protocol is UDP).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    /// Where it came in.
    pub(crate) via: FragmentPath,
    /// Its sender.
    pub(crate) source: Ipv4Addr,
    /// Where it is sent to.
    pub(crate) destination: Ipv4Addr,
    /// The identification that its sender gave it.
    pub(crate) id: u16,
}

/// A piece of a datagram.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fragment<'a> {
    /// Which datagram it is of.
    pub(crate) of: Identity,
    /// Where in the datagram it begins, in bytes.
    pub(crate) at: usize,
    /// Whether more follow it.
    pub(crate) more: bool,
    /// Its bytes.
    pub(crate) bytes: &'a [u8],
}

/// What became of the fragments.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct FragmentFacts {
    /// Fragments that came.
    pub fragments: u64,
    /// Datagrams reassembled from them.
    pub datagrams: u64,
    /// Fragments that repeated what was already there.
    pub duplicates: u64,
    /// Fragments that no datagram can have: empty, beyond the longest, or not the last and ending within a unit of 8 bytes.
    pub malformed: u64,
    /// Datagrams given up: a fragment had other bytes in the same place.
    pub overlapping: u64,
    /// Datagrams given up: their fragments disagreed about the end.
    pub inconsistent: u64,
    /// Datagrams given up: they took too long.
    pub expired: u64,
    /// Datagrams given up for newer ones: too many were in flight.
    pub evicted: u64,
    /// Datagrams given up: the input ended before they were complete.
    pub incomplete: u64,
    /// The fragments that are in no datagram.
    pub unused: UnusedFragments,
}

impl Add for FragmentFacts {
    type Output = FragmentFacts;

    fn add(self, other: FragmentFacts) -> FragmentFacts {
        FragmentFacts {
            fragments: self.fragments + other.fragments,
            datagrams: self.datagrams + other.datagrams,
            duplicates: self.duplicates + other.duplicates,
            malformed: self.malformed + other.malformed,
            overlapping: self.overlapping + other.overlapping,
            inconsistent: self.inconsistent + other.inconsistent,
            expired: self.expired + other.expired,
            evicted: self.evicted + other.evicted,
            incomplete: self.incomplete + other.incomplete,
            unused: self.unused + other.unused,
        }
    }
}

/// Fragments that are in no datagram, by the reason for which the datagram, or the fragment alone, was given up.
///
/// Together with those of reassembled datagrams and those in flight, they are all that came.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UnusedFragments {
    /// The fragment alone: it repeated what was already there.
    pub duplicate: u64,
    /// The fragment alone: no datagram can have it.
    pub malformed: u64,
    /// One had other bytes in the same place.
    pub overlapping: u64,
    /// They disagreed about the end.
    pub inconsistent: u64,
    /// They took too long.
    pub expired: u64,
    /// Too many datagrams were in flight.
    pub evicted: u64,
    /// The input ended.
    pub incomplete: u64,
}

impl UnusedFragments {
    /// All of them.
    pub fn total(&self) -> u64 {
        let alone = self.duplicate + self.malformed;
        alone + self.overlapping + self.inconsistent + self.expired + self.evicted + self.incomplete
    }
}

impl Add for UnusedFragments {
    type Output = UnusedFragments;

    fn add(self, other: UnusedFragments) -> UnusedFragments {
        UnusedFragments {
            duplicate: self.duplicate + other.duplicate,
            malformed: self.malformed + other.malformed,
            overlapping: self.overlapping + other.overlapping,
            inconsistent: self.inconsistent + other.inconsistent,
            expired: self.expired + other.expired,
            evicted: self.evicted + other.evicted,
            incomplete: self.incomplete + other.incomplete,
        }
    }
}

/// Puts fragments together.
#[derive(Debug)]
pub(crate) struct Reassembler {
    flights: Vec<Flight>,
    /// Room for each flight, one after the other.
    bytes: Vec<u8>,
    facts: FragmentFacts,
}

/// A datagram that is not complete.
#[derive(Clone, Debug)]
struct Flight {
    /// `None`: free.
    of: Option<Identity>,
    began: Nanos,
    /// How long it is, once the last fragment has come.
    total: Option<usize>,
    /// One past the last byte that came.
    end: usize,
    /// How many bytes came.
    got: usize,
    /// In how many fragments.
    fragments: u64,
    /// Which units came.
    units: [u64; WORDS],
}

/// How much of a range of units is there already.
#[derive(PartialEq, Eq)]
enum There {
    Nothing,
    Some,
    All,
}

impl Default for Reassembler {
    fn default() -> Reassembler {
        Reassembler::new()
    }
}

impl Reassembler {
    /// A reassembler with nothing in flight.
    pub(crate) fn new() -> Reassembler {
        let free =
            Flight { of: None, began: Nanos::ZERO, total: None, end: 0, got: 0, fragments: 0, units: [0; WORDS] };
        Reassembler {
            flights: vec![free; DATAGRAMS_IN_FLIGHT],
            bytes: vec![0; DATAGRAMS_IN_FLIGHT * ROOM],
            facts: FragmentFacts::default(),
        }
    }

    /// Takes a fragment that came at `now`; returns the UDP segment that it completes, if it does.
    pub(crate) fn put(&mut self, now: Nanos, fragment: &Fragment<'_>) -> Option<&[u8]> {
        self.facts.fragments += 1;
        self.expire(now);
        let Fragment { of, at, more, bytes } = *fragment;
        let end = at + bytes.len();
        if bytes.is_empty() || end > BYTES_MAX || !at.is_multiple_of(UNIT) || more && !end.is_multiple_of(UNIT) {
            self.facts.malformed += 1;
            self.facts.unused.malformed += 1;
            return None;
        }
        let place = self.place(now, of);
        let (flight, room) = (&mut self.flights[place], &mut self.bytes[place * ROOM..][..ROOM]);
        let total = if more { flight.total } else { Some(end) };
        let agreed = flight.total.is_none() || flight.total == total;
        if !agreed || total.is_some_and(|total| end.max(flight.end) > total) {
            self.facts.inconsistent += 1;
            self.facts.unused.inconsistent += flight.give_up() + 1;
            return None;
        }
        match flight.there(at, end) {
            There::Nothing => {}
            There::All if room[at..end] == *bytes => {
                self.facts.duplicates += 1;
                self.facts.unused.duplicate += 1;
                return None;
            }
            There::All | There::Some => {
                self.facts.overlapping += 1;
                self.facts.unused.overlapping += flight.give_up() + 1;
                return None;
            }
        }
        room[at..end].copy_from_slice(bytes);
        flight.mark(at, end);
        flight.got += bytes.len();
        flight.fragments += 1;
        flight.end = flight.end.max(end);
        flight.total = total;
        if total != Some(flight.got) {
            return None;
        }
        flight.of = None;
        self.facts.datagrams += 1;
        Some(&room[..flight.got])
    }

    /// Gives up what has been in flight for too long.
    pub(crate) fn expire(&mut self, now: Nanos) {
        for flight in &mut self.flights {
            if flight.of.is_some() && now > flight.began + AGE_MAX {
                self.facts.expired += 1;
                self.facts.unused.expired += flight.give_up();
            }
        }
    }

    /// Gives up everything in flight: nothing that comes later belongs to it.
    pub(crate) fn end(&mut self) {
        for flight in &mut self.flights {
            if flight.of.is_some() {
                self.facts.incomplete += 1;
                self.facts.unused.incomplete += flight.give_up();
            }
        }
    }

    /// What became of the fragments so far.
    pub(crate) fn facts(&self) -> FragmentFacts {
        self.facts
    }

    /// How many datagrams are in flight.
    #[cfg(test)]
    pub(crate) fn in_flight(&self) -> usize {
        self.flights.iter().filter(|flight| flight.of.is_some()).count()
    }

    /// Where a datagram's flight is; a new one takes a free place, or the oldest.
    fn place(&mut self, now: Nanos, of: Identity) -> usize {
        if let Some(place) = self.flights.iter().position(|flight| flight.of == Some(of)) {
            return place;
        }
        let free = self.flights.iter().position(|flight| flight.of.is_none());
        let place = free.unwrap_or_else(|| {
            let oldest = self.flights.iter().enumerate().min_by_key(|(_, flight)| flight.began);
            let place = oldest.map_or(0, |(place, _)| place);
            self.facts.evicted += 1;
            self.facts.unused.evicted += self.flights[place].give_up();
            place
        });
        let flight = &mut self.flights[place];
        (flight.of, flight.began, flight.total) = (Some(of), now, None);
        (flight.end, flight.got, flight.fragments) = (0, 0, 0);
        flight.units.fill(0);
        place
    }
}

impl Flight {
    /// Frees it; returns how many fragments it held.
    fn give_up(&mut self) -> u64 {
        self.of = None;
        self.fragments
    }

    /// The words that a stretch of bytes has bits in, and which of them.
    fn words(at: usize, end: usize) -> impl Iterator<Item = (usize, u64)> {
        let (first, last) = (at / UNIT, (end - 1) / UNIT);
        (first / 64..=last / 64).map(move |word| {
            let from = if word == first / 64 { first % 64 } else { 0 };
            let to = if word == last / 64 { last % 64 } else { 63 };
            (word, u64::MAX << from & u64::MAX >> (63 - to))
        })
    }

    fn there(&self, at: usize, end: usize) -> There {
        let (mut some, mut all) = (false, true);
        for (word, bits) in Flight::words(at, end) {
            some |= self.units[word] & bits != 0;
            all &= self.units[word] & bits == bits;
        }
        match (some, all) {
            (_, true) => There::All,
            (true, false) => There::Some,
            (false, false) => There::Nothing,
        }
    }

    fn mark(&mut self, at: usize, end: usize) {
        for (word, bits) in Flight::words(at, end) {
            self.units[word] |= bits;
        }
    }
}

#[cfg(test)]
mod tests;
