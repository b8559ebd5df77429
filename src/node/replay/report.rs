//! What a replay did.

use std::io;

use hdrhistogram::Histogram;

use super::ReadFacts;
use super::drift::{Drift, Lateness};
use crate::os::SendTrouble;
use crate::publisher::LATENESS_MAX;
use twinline_core::Nanos;

/// What left on one line, and what did not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReplayedLine {
    /// Datagrams that left.
    pub datagrams: u64,
    /// Their payloads' bytes.
    pub bytes: u64,
    /// Datagrams that did not: the link was down, or the interface gone.
    pub unreachable: u64,
    /// Datagrams that did not: a queue was full, and stayed so.
    pub full: u64,
    /// Datagrams that did not: nobody listened at a unicast address.
    pub nobody: u64,
    /// Datagrams that did not: too long for the path, or forbidden.
    pub refused: u64,
    /// Why the last of them failed.
    pub last_error: Option<String>,
}

impl ReplayedLine {
    pub(super) fn fail(&mut self, error: &io::Error) {
        *match SendTrouble::of(error) {
            Some(SendTrouble::Unreachable) => &mut self.unreachable,
            Some(SendTrouble::Full) => &mut self.full,
            Some(SendTrouble::Nobody) => &mut self.nobody,
            None => &mut self.refused,
        } += 1;
        self.last_error = Some(error.to_string());
    }

    /// Datagrams that did not leave.
    pub fn failed(&self) -> u64 {
        self.unreachable + self.full + self.nobody + self.refused
    }
}

/// What was sent, and how late.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ReplayReport {
    /// By line, in the order of the feed that the captures were read with.
    pub lines: Vec<ReplayedLine>,
    /// From the first datagram's due time until the last one was sent.
    pub elapsed: Nanos,
    /// From the first to the last datagram, as recorded.
    pub recorded: Nanos,
    /// The same at the speed of the replay; `None` at full speed.
    pub planned: Option<Nanos>,
    /// Nanoseconds from each datagram's due time to the system call that sends it; empty at full speed.
    pub lateness: Histogram<u64>,
    /// How often reading was too slow, so that datagrams were late.
    pub starved: u64,
    /// What was read: a little more than was sent, if the replay ended before the captures did.
    pub read: ReadFacts,
    /// Whether it was asked to stop.
    pub stopped: bool,
    /// Whether it reached its limit.
    pub limited: bool,
    by_due: Lateness,
}

impl ReplayReport {
    pub(super) fn new(lines: usize) -> ReplayReport {
        ReplayReport {
            lines: vec![ReplayedLine::default(); lines],
            elapsed: Nanos::ZERO,
            recorded: Nanos::ZERO,
            planned: None,
            lateness: Histogram::new_with_bounds(1, LATENESS_MAX.0, 3).unwrap_or_else(|_| unreachable!("valid bounds")),
            starved: 0,
            read: ReadFacts::default(),
            stopped: false,
            limited: false,
            by_due: Lateness::new(),
        }
    }

    /// Records that a datagram due this long after the start left this late.
    #[inline]
    pub(super) fn late(&mut self, due: Nanos, by: Nanos) {
        self.lateness.saturating_record(by.0);
        self.by_due.record(due, by);
    }

    #[inline]
    pub(super) fn passed(&mut self, at: Nanos, recorded: Nanos, planned: Option<Nanos>) {
        self.elapsed = at;
        self.recorded = recorded;
        self.planned = planned;
    }

    /// How much later the clock of the replay was at its end than at its start; `None` if too little was sent to tell,
    /// and at full speed.
    pub fn drift(&self) -> Option<Drift> {
        self.by_due.drift()
    }

    /// Datagrams that left.
    pub fn datagrams(&self) -> u64 {
        self.lines.iter().map(|line| line.datagrams).sum()
    }

    /// Their payloads' bytes.
    pub fn bytes(&self) -> u64 {
        self.lines.iter().map(|line| line.bytes).sum()
    }

    /// Datagrams that did not leave.
    pub fn failed(&self) -> u64 {
        self.lines.iter().map(ReplayedLine::failed).sum()
    }

    /// Datagrams per second, over all lines.
    pub fn rate(&self) -> f64 {
        if self.elapsed == Nanos::ZERO { 0.0 } else { self.datagrams() as f64 * 1e9 / self.elapsed.0 as f64 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_are_counted_by_kind() {
        let mut tally = ReplayedLine::default();
        for code in [libc::ENETUNREACH, libc::ENETDOWN, libc::ENOBUFS, libc::ECONNREFUSED, libc::EMSGSIZE] {
            tally.fail(&io::Error::from_raw_os_error(code));
        }
        assert_eq!((tally.unreachable, tally.full, tally.nobody, tally.refused), (2, 1, 1, 1));
        assert_eq!(tally.failed(), 5);
    }
}
