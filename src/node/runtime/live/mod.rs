//! The loop of every live run, with an arbiter or without.

use std::io;

use twinline_core::Nanos;
use twinline_core::arbiter::{Arbiter, GapTimeout, Settings, Sink};
use twinline_core::framing::Framing;

use super::pacer::StampPacer;
use crate::handler::Handler;
use crate::source::{Datagram, Source};

/// The shortest automatic gap timeout (ARBITRATION 5.4). A recording does not know how far apart the lines are, so its stamps allow
/// for the shortest.
const GAP_TIMEOUT_MIN: Nanos = Nanos::from_micros(200);

/// What the loop asks its caller, per datagram or per pass: the time, what else to do with a datagram, when to stop.
pub trait LiveHooks {
    /// Reads the clock.
    fn now(&mut self) -> Nanos;

    /// A datagram that the arbiter is about to be given.
    fn datagram(&mut self, stamp: Nanos, datagram: &Datagram<'_>);

    /// A pass found nothing: spin or yield.
    fn idle(&mut self);

    /// Whether to go on, after a pass that found `datagrams`. In a recording the arbiter has seen nothing.
    fn go_on(&mut self, arbiter: &Arbiter, datagrams: usize) -> bool;

    /// The input ends at this stamp; `None` if no datagram came. Called before the arbiter is finished, even if the source failed.
    fn ending(&mut self, at: Option<Nanos>) {
        let _ = at;
    }
}

/// How a live run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LiveEnd {
    /// The stamp that the arbiter was finished with; `None` if no datagram came.
    pub at: Option<Nanos>,
}

/// Runs a handler on a live source until the hooks or the source end it, then finishes the arbiter and closes the sink. The
/// arbiter's time starts at the first datagram.
///
/// # Errors
/// The source's. Even then the arbiter is finished.
pub fn live<F: Framing, S: Sink>(
    handler: &mut Handler<F>,
    source: &mut impl Source,
    hooks: &mut impl LiveHooks,
    sink: &mut S,
) -> io::Result<LiveEnd> {
    let least = Nanos(handler.arbiter().gap_timeout_least().0 / 4);
    drive(&mut Arbitrating { handler, sink, least }, source, hooks)
}

/// Hands each datagram to [`LiveHooks::datagram`], with the stamp that [`live`] would give to an arbiter with these settings. When
/// the recording is arbitrated later, nothing is lost because the recorder was held up.
///
/// # Errors
/// The source's. By then the hooks know where the input ended.
pub(crate) fn record(settings: Settings, source: &mut impl Source, hooks: &mut impl LiveHooks) -> io::Result<LiveEnd> {
    let timeout = match settings.gap_timeout {
        GapTimeout::After(span) => span,
        _ => GAP_TIMEOUT_MIN,
    };
    drive(&mut Recording { arbiter: Arbiter::new(settings), quarter: Nanos(timeout.0 / 4) }, source, hooks)
}

/// What the loop does with datagrams.
trait Stage {
    /// A quarter of the shortest gap timeout. `near` says whether the reading is within a given quarter.
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
    /// A quarter of the shortest gap timeout that is possible.
    least: Nanos,
}

impl<F: Framing, S: Sink> Stage for Arbitrating<'_, F, S> {
    #[inline]
    fn quarter(&self, near: impl Fn(Nanos) -> bool) -> Nanos {
        // a reading within the least quarter is within every other: there is no need to go through the channels
        if near(self.least) { self.least } else { Nanos(self.handler.arbiter().gap_timeout_min().0 / 4) }
    }

    #[inline(always)] // the loop has two ways to the sink, and both are part of it
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
    /// It sees nothing, but the hooks expect one.
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

/// The loop. It neither allocates nor locks. The only system calls are those of the source and the hooks.
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
        // a full batch may consist of other senders' datagrams, and ours may wait behind them
        let idle = pass.datagrams == 0 && !pass.full;
        if idle {
            match &mut last {
                Some(last) => {
                    *last = (*last).max(reading);
                    stage.advance(reading);
                }
                // the first datagram starts the arbiter's time
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
