//! The hooks of the runtime's hot thread: the clock, a copy of every datagram for a capture, the page of counters, the request to
//! stop.

use twinline_client::counters::{Counter, CounterWriter};
use twinline_core::Nanos;
use twinline_core::arbiter::Arbiter;
use twinline_core::frame::{LINES_MAX, Line};

use super::{LiveHooks, RuntimeHooks};
use crate::handler::Tap;
use crate::os::{Clock, Spin, Stop};
use crate::source::Datagram;

/// How old the pulse may get (FAILOVER 3.4).
const PULSE_EVERY: Nanos = Nanos::from_millis(1);
/// How often the counters are stored. Not more often: each is a sum over all channels.
const STORE_EVERY: Nanos = Nanos::from_millis(100);

/// The hooks neither allocate nor lock. Their only system call is a yield.
#[derive(Debug)]
pub(super) struct HotHooks<H> {
    hooks: H,
    clock: Clock,
    spin: Spin,
    /// Any of them ends the loop.
    stops: Vec<Stop>,
    until_end: bool,
    tap: Option<Tap>,
    counters: CounterWriter,
    lines: usize,
    datagrams: [u64; LINES_MAX],
    passes: u64,
    reading: Nanos,
    pulse_at: Nanos,
    store_at: Nanos,
    /// The pair of lines whose lead is stored next.
    pair: usize,
    ended_at: Option<Nanos>,
}

impl<H: RuntimeHooks> HotHooks<H> {
    #[expect(clippy::too_many_arguments, reason = "one caller")]
    pub(super) fn new(
        hooks: H,
        clock: Clock,
        spin: Spin,
        stops: Vec<Stop>,
        until_end: bool,
        tap: Option<Tap>,
        counters: CounterWriter,
        lines: usize,
    ) -> HotHooks<H> {
        HotHooks {
            hooks,
            clock,
            spin,
            stops,
            until_end,
            tap,
            counters,
            lines: lines.min(LINES_MAX),
            datagrams: [0; LINES_MAX],
            passes: 0,
            reading: Nanos::ZERO,
            pulse_at: Nanos::ZERO,
            store_at: Nanos::ZERO,
            pair: 0,
            ended_at: None,
        }
    }

    /// The stamp at which the input ended; `None` before that, and if no datagram came.
    pub(super) fn ended_at(&self) -> Option<Nanos> {
        self.ended_at
    }

    /// What the tap had no room for, by line.
    pub(super) fn dropped(&self) -> [u64; LINES_MAX] {
        self.tap.as_ref().map_or([0; LINES_MAX], Tap::dropped)
    }

    /// Stores the last values.
    pub(super) fn store_all(&mut self, arbiter: &Arbiter) {
        self.store(arbiter);
    }

    #[cold]
    fn beat(&mut self, arbiter: &Arbiter) {
        self.pulse_at = self.reading + PULSE_EVERY;
        self.counters.set(Counter::Pulse, self.reading.0);
        self.counters.set(Counter::Passes, self.passes);
        if self.reading >= self.store_at {
            self.store_at = self.reading + STORE_EVERY;
            self.store(arbiter);
        }
    }

    fn store(&mut self, arbiter: &Arbiter) {
        let dropped = self.dropped();
        self.counters.set(Counter::Channels, arbiter.channel_count() as u64);
        for at in 0..=self.lines {
            let line = if at == self.lines { Line::RECOVERY } else { Line(at as u8) };
            let counts = arbiter.line_counts(line);
            let (datagrams, dropped) = match line {
                Line::RECOVERY => (counts.frames, 0),
                _ => (self.datagrams[at], dropped[at]),
            };
            for (counter, value) in [
                (Counter::Datagrams, datagrams),
                (Counter::CaptureDropped, dropped),
                (Counter::Frames, counts.frames),
                (Counter::Messages, counts.messages),
                (Counter::Bytes, counts.bytes),
                (Counter::Heartbeats, counts.heartbeats),
                (Counter::FirstArrivals, counts.first_arrivals),
                (Counter::Duplicate, counts.duplicate),
                (Counter::Missing, counts.missing),
                (Counter::Reordered, counts.reordered),
                (Counter::Late, counts.late),
                (Counter::Stale, counts.stale),
                (Counter::BeforeJoin, counts.before_join),
                (Counter::Implausible, counts.implausible),
                (Counter::Unsequenced, counts.unsequenced),
                (Counter::Divergent, counts.divergent),
            ] {
                self.counters.set_line(counter, line, value);
            }
        }
        self.store_lead(arbiter);
    }

    /// Stores one pair per call, since a median takes microseconds.
    fn store_lead(&mut self, arbiter: &Arbiter) {
        if self.lines < 2 {
            return;
        }
        let Some(channel) = arbiter.busiest_channel() else { return };
        // each pair of different lines in turn
        self.pair = (self.pair + 1) % (self.lines * (self.lines - 1));
        let (first, other) = (self.pair / (self.lines - 1), self.pair % (self.lines - 1));
        let (first, other) = (Line(first as u8), Line((other + usize::from(other >= first)) as u8));
        if let Some(lead) = arbiter.lead(channel, first, other) {
            let numbers = lead.len();
            let median = if numbers > 0 { lead.quantile(0.5) } else { Nanos::ZERO };
            self.counters.set_pair(Counter::LeadNumbers, first, other, numbers);
            self.counters.set_pair(Counter::LeadMedian, first, other, median.0);
        }
    }
}

impl<H: RuntimeHooks> LiveHooks for HotHooks<H> {
    #[inline]
    fn now(&mut self) -> Nanos {
        self.reading = self.clock.now();
        self.reading
    }

    #[inline]
    fn datagram(&mut self, stamp: Nanos, datagram: &Datagram<'_>) {
        if let Some(count) = self.datagrams.get_mut(datagram.line.index()) {
            *count += 1;
        }
        if let Some(tap) = &mut self.tap {
            tap.put(stamp, datagram);
        }
        self.hooks.datagram(stamp, datagram);
    }

    #[inline]
    fn idle(&mut self) {
        self.spin.idle();
    }

    #[inline]
    fn go_on(&mut self, arbiter: &Arbiter, datagrams: usize) -> bool {
        self.passes += 1;
        if self.reading >= self.pulse_at {
            self.beat(arbiter);
        }
        let stopped = !self.hooks.go_on(arbiter, datagrams) || self.stops.iter().any(Stop::requested);
        !(stopped || self.until_end && arbiter.all_ended())
    }

    fn ending(&mut self, at: Option<Nanos>) {
        self.ended_at = at;
    }
}

#[cfg(test)]
mod tests {
    use twinline_client::counters;
    use twinline_core::frame::Session;
    use twinline_core::framing::{Framing, MoldUdp64};

    use super::*;
    use crate::config::Feed;
    use crate::handler::Handler;

    struct Nothing;

    impl twinline_core::arbiter::Sink for Nothing {
        fn event(&mut self, _: &twinline_core::arbiter::Event) {}
        fn release(&mut self, _: &twinline_core::arbiter::Run<'_>) {}
    }

    #[test]
    fn the_page_has_every_lines_counts_and_every_pairs_lead() {
        let line = |name: &str, group: u8| {
            format!("[[line]]\nname = \"{name}\"\ngroups = [\"239.1.1.{group}:1\"]\ninterface = \"lo\"\n")
        };
        let text = format!("name = \"x\"\nframing = \"moldudp64\"\n{}{}{}", line("A", 1), line("B", 2), line("C", 3));
        let feed = Feed::parse(&text).unwrap();
        let mut handler = Handler::new(MoldUdp64, &feed);
        let (writer, page) = counters::open(3);
        let mut hooks = HotHooks::new((), Clock::start(), Spin::new(true), Vec::new(), false, None, writer, 3);
        let mut datagram = Vec::new();
        for number in 1..=10u64 {
            MoldUdp64.encode(Session::text(b"S"), number, &[b"m"], 1_400, &mut datagram);
            for line in 0..3u8 {
                let stamp = Nanos(number * 1_000_000 + u64::from(line) * 1_000);
                handler.on_datagram(stamp, Line(line), 0, &datagram, &mut Nothing);
            }
        }
        for _ in 0..6 {
            hooks.store_all(handler.arbiter());
        }
        let firsts = [0, 1, 2].map(|line| page.line(Counter::FirstArrivals, Line(line)));
        let duplicates = [0, 1, 2].map(|line| page.line(Counter::Duplicate, Line(line)));
        assert_eq!((page.get(Counter::Channels), firsts, duplicates), (1, [10, 0, 0], [0, 10, 10]));
        let lead = |first, other| {
            let of = |counter| page.pair(counter, Line(first), Line(other));
            (of(Counter::LeadNumbers), (of(Counter::LeadMedian) + 500) / 1_000)
        };
        assert_eq!((lead(0, 1), lead(0, 2), lead(1, 0)), ((10, 1), (10, 2), (0, 0)));
    }
}
