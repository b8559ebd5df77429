//! The one loop of a live run, with an arbiter or without.

use std::io;

use twinline_core::Nanos;
use twinline_core::arbiter::{Arbiter, GapTimeout, Settings, Sink};
use twinline_core::framing::Framing;

use super::StampPacer;
use crate::handler::Handler;
use crate::source::{Datagram, Source};

/// The shortest time that an automatic gap timeout can come to (ARBITRATION 5.4). A recording does not know how far the lines are
/// apart, so its stamps allow for the shortest.
const GAP_TIMEOUT_MIN: Nanos = Nanos::from_micros(200);

/// What the loop asks of its caller, once per datagram or per pass: the time, what else to do with a datagram, when to stop.
pub trait LiveHooks {
    /// Reads the clock.
    fn now(&mut self) -> Nanos;

    /// A datagram, as the arbiter is about to be given it.
    fn datagram(&mut self, stamp: Nanos, datagram: &Datagram<'_>);

    /// Nothing was there: spin, or yield.
    fn idle(&mut self);

    /// Whether to go on, after a pass that found `datagrams`. In a recording the arbiter has seen nothing.
    fn go_on(&mut self, arbiter: &Arbiter, datagrams: usize) -> bool;

    /// The input ends, at this stamp. Called before the arbiter is finished, also if the source failed. `None` if not one
    /// datagram came.
    fn ending(&mut self, at: Option<Nanos>) {
        let _ = at;
    }
}

/// How a live run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LiveEnd {
    /// The stamp that the arbiter was finished with; `None` if not one datagram came.
    pub at: Option<Nanos>,
}

/// Runs a handler on a live source until the hooks or the source end it, then finishes the arbiter and closes the sink. The
/// arbiter's time starts at the first datagram.
///
/// # Errors
/// The source's. The arbiter is finished then as well.
pub fn live<F: Framing, S: Sink>(
    handler: &mut Handler<F>,
    source: &mut impl Source,
    hooks: &mut impl LiveHooks,
    sink: &mut S,
) -> io::Result<LiveEnd> {
    let least = Nanos(handler.arbiter().gap_timeout_least().0 / 4);
    drive(&mut Arbitrating { handler, sink, least }, source, hooks)
}

/// Hands everything that comes to [`LiveHooks::datagram`], with the stamps that [`live`] would give to an arbiter with these
/// settings. What is recorded so can be arbitrated later, and nothing is lost then because the recorder was held up.
///
/// # Errors
/// The source's. The hooks know by then where the input ended.
pub fn record(settings: Settings, source: &mut impl Source, hooks: &mut impl LiveHooks) -> io::Result<LiveEnd> {
    let timeout = match settings.gap_timeout {
        GapTimeout::After(span) => span,
        _ => GAP_TIMEOUT_MIN,
    };
    drive(&mut Recording { arbiter: Arbiter::new(settings), quarter: Nanos(timeout.0 / 4) }, source, hooks)
}

/// What the loop does with what comes.
trait Stage {
    /// A quarter of the shortest gap timeout; `near`: whether the reading is within any that there can be.
    fn quarter(&self, near: impl Fn(Nanos) -> bool) -> Nanos;
    fn take(&mut self, stamp: Nanos, datagram: &Datagram<'_>);
    fn advance(&mut self, reading: Nanos);
    fn after_pass(&mut self, datagrams: usize);
    fn finish(&mut self, at: Option<Nanos>);
    fn arbiter(&self) -> &Arbiter;
}

struct Arbitrating<'a, F, S> {
    handler: &'a mut Handler<F>,
    sink: &'a mut S,
    /// A quarter of the shortest gap timeout that there can be.
    least: Nanos,
}

impl<F: Framing, S: Sink> Stage for Arbitrating<'_, F, S> {
    #[inline]
    fn quarter(&self, near: impl Fn(Nanos) -> bool) -> Nanos {
        // within the least quarter it does not matter which it is: the channels need not be looked through
        if near(self.least) { self.least } else { Nanos(self.handler.arbiter().gap_timeout_min().0 / 4) }
    }

    #[inline(always)] // one of the two ways to the sink, both within the loop
    fn take(&mut self, stamp: Nanos, datagram: &Datagram<'_>) {
        self.handler.on_datagram(stamp, datagram.line, datagram.group, datagram.payload, self.sink);
    }

    #[inline]
    fn advance(&mut self, reading: Nanos) {
        self.handler.advance(reading, self.sink);
    }

    #[inline]
    fn after_pass(&mut self, datagrams: usize) {
        self.sink.after_pass(datagrams);
    }

    fn finish(&mut self, at: Option<Nanos>) {
        if let Some(at) = at {
            self.handler.finish(at, self.sink);
        }
        self.sink.close();
    }

    #[inline]
    fn arbiter(&self) -> &Arbiter {
        self.handler.arbiter()
    }
}

struct Recording {
    /// It is given nothing.
    arbiter: Arbiter,
    quarter: Nanos,
}

impl Stage for Recording {
    #[inline]
    fn quarter(&self, _: impl Fn(Nanos) -> bool) -> Nanos {
        self.quarter
    }

    fn take(&mut self, _: Nanos, _: &Datagram<'_>) {}

    fn advance(&mut self, _: Nanos) {}

    fn after_pass(&mut self, _: usize) {}

    fn finish(&mut self, _: Option<Nanos>) {}

    #[inline]
    fn arbiter(&self) -> &Arbiter {
        &self.arbiter
    }
}

/// The loop. It neither allocates nor locks, and makes no system call but those of the source and the hooks.
#[inline(always)] // into `live` and `record`, so that each is one function
fn drive(stage: &mut impl Stage, source: &mut impl Source, hooks: &mut impl LiveHooks) -> io::Result<LiveEnd> {
    let mut pacer = StampPacer::new();
    let mut last: Option<Nanos> = None;
    let outcome = loop {
        let reading = hooks.now();
        let quarter = stage.quarter(|least| pacer.last().is_some_and(|last| reading <= last + least));
        let stamp = pacer.stamp(reading, quarter);
        let pass = source.poll(&mut |datagram| {
            let stamp = datagram.stamp.unwrap_or(stamp);
            last = last.max(Some(stamp));
            hooks.datagram(stamp, &datagram);
            stage.take(stamp, &datagram);
        });
        let pass = match pass {
            Ok(pass) => pass,
            Err(error) => break Err(error),
        };
        pacer.after(pass.datagrams, pass.full, reading);
        // a full batch of other senders' datagrams alone: what is ours may wait behind them
        let idle = pass.datagrams == 0 && !pass.full;
        if idle {
            match &mut last {
                Some(last) => {
                    *last = (*last).max(reading);
                    stage.advance(reading);
                }
                // no datagram yet: the first one starts the arbiter's time
                None => pacer = StampPacer::new(),
            }
        }
        stage.after_pass(pass.datagrams);
        if idle {
            hooks.idle();
        }
        if pass.ended || !hooks.go_on(stage.arbiter(), pass.datagrams) {
            break Ok(());
        }
    };
    hooks.ending(last);
    stage.finish(last);
    outcome.map(|()| LiveEnd { at: last })
}

#[cfg(test)]
mod tests;
