//! What usually surrounds a live loop.

use super::Surroundings;
use super::desk::Desk;
use super::tap::Tap;
use crate::os::clock::Clock;
use crate::os::cpu::Spin;
use crate::os::signal::Stop;
use crate::source::Datagram;
use twinline_core::arbiter::Arbiter;
use twinline_core::frame::LINES_MAX;
use twinline_core::time::Nanos;

/// How many passes in a row may find something before a question is looked for all the same.
const LOOK_EVERY: u32 = 1_024;

/// Surroundings that read the clock, spin or yield, copy what comes for a capture, answer housekeeping, and end when told
/// to. They neither allocate nor lock, and make no system call but to yield.
#[derive(Debug)]
pub struct Hot {
    /// The clock that stamps are read from.
    pub clock: Clock,
    /// What to do while there is nothing.
    pub spin: Spin,
    /// Either ends the loop.
    pub stops: [Stop; 2],
    /// Whether it ends once every channel's session has ended.
    pub until_end: bool,
    /// Where a copy of every datagram goes.
    pub tap: Option<Tap>,
    /// Where questions are answered.
    pub desk: Desk,
    datagrams: [u64; LINES_MAX],
    passes: u32,
    ended_at: Option<Nanos>,
}

impl Hot {
    /// Surroundings without a tap, that go on until a stop is requested.
    pub fn new(clock: Clock, spin: Spin, stops: [Stop; 2], desk: Desk) -> Hot {
        Hot {
            clock,
            spin,
            stops,
            until_end: false,
            tap: None,
            desk,
            datagrams: [0; LINES_MAX],
            passes: 0,
            ended_at: None,
        }
    }

    /// The stamp at which the input ended; `None` before, and where not one datagram came.
    pub fn ended_at(&self) -> Option<Nanos> {
        self.ended_at
    }

    /// What the tap had no room for, by line.
    pub fn dropped(&self) -> [u64; LINES_MAX] {
        self.tap.as_ref().map_or([0; LINES_MAX], Tap::dropped)
    }
}

impl Surroundings for Hot {
    #[inline]
    fn now(&mut self) -> Nanos {
        self.clock.now()
    }

    #[inline]
    fn tap(&mut self, stamp: Nanos, datagram: &Datagram<'_>) {
        if let Some(count) = self.datagrams.get_mut(datagram.line.index()) {
            *count += 1;
        }
        if let Some(tap) = &mut self.tap {
            tap.put(stamp, datagram);
        }
    }

    #[inline]
    fn idle(&mut self) {
        self.spin.idle();
    }

    #[inline]
    fn goes_on(&mut self, arbiter: &Arbiter, datagrams: usize) -> bool {
        self.passes = if datagrams == 0 { 0 } else { self.passes + 1 };
        if self.passes.is_multiple_of(LOOK_EVERY) {
            let dropped = self.dropped();
            self.desk.answer(arbiter, &self.datagrams, &dropped);
        }
        let stopped = self.stops.iter().any(Stop::requested);
        !(stopped || self.until_end && arbiter.all_ended())
    }

    fn ending(&mut self, at: Option<Nanos>) {
        self.ended_at = at;
    }
}
