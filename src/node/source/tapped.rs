//! A look at every datagram of a source on its way, live or not: for a copy, a count, a trace.

use std::io;

use crate::source::live::SourceFacts;
use crate::source::{CountedSource, Datagram, Pass, Source};

/// A source that shows each datagram to a closure before it hands it over. Nothing is copied unless the closure does.
///
/// The closure runs on the thread that polls: it should neither wait nor allocate. For a copy that another thread reads, put it
/// into a [`Tap`](crate::handler::Tap). A live datagram has no stamp here yet: the closure has to read a clock itself, and what it
/// reads is not the stamp that the arbiter is given (ARBITRATION 1.2).
///
/// ```
/// use twinline_client::ring::Polled;
/// use twinline_core::frame::Line;
/// use twinline_node::handler;
/// use twinline_node::handler::Tap;
/// use twinline_node::os::Clock;
/// use twinline_node::source::{Simulated, Source, TappedSource};
///
/// let simulated = Simulated::new(1).pass([(Line(0), "one")]).pass([(Line(0), "two")]);
/// let (mut ring, mut copies) = Tap::open(1 << 20)?;
/// let clock = Clock::start();
/// let mut source = TappedSource::new(simulated, move |datagram| {
///     ring.put(datagram.stamp.unwrap_or_else(|| clock.now()), datagram);
/// });
///
/// while !source.poll(&mut |_| {})?.ended {}
/// drop(source);
/// let mut seen = Vec::new();
/// while let Polled::Item(copy) = copies.poll()? {
///     seen.push(copy.payload.to_vec());
/// }
/// assert_eq!(seen, [b"one", b"two"]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct TappedSource<S, T> {
    source: S,
    tap: T,
}

impl<S, T: FnMut(&Datagram<'_>)> TappedSource<S, T> {
    /// Shows each datagram of `source` to `tap`.
    pub fn new(source: S, tap: T) -> TappedSource<S, T> {
        TappedSource { source, tap }
    }
}

impl<S, T> TappedSource<S, T> {
    /// The wrapped source.
    pub fn get_ref(&self) -> &S {
        &self.source
    }

    /// The source and the tap.
    pub fn into_parts(self) -> (S, T) {
        (self.source, self.tap)
    }
}

impl<S: Source, T: FnMut(&Datagram<'_>)> Source for TappedSource<S, T> {
    #[inline]
    fn poll(&mut self, take: &mut impl FnMut(Datagram<'_>)) -> io::Result<Pass> {
        let TappedSource { source, tap } = self;
        source.poll(&mut |datagram| {
            tap(&datagram);
            take(datagram);
        })
    }
}

impl<S: CountedSource, T: FnMut(&Datagram<'_>)> CountedSource for TappedSource<S, T> {
    fn facts(&self) -> SourceFacts {
        self.source.facts()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::simulated::Simulated;
    use twinline_core::frame::Line;

    #[test]
    fn the_tap_sees_what_is_handed_over_before_it_is() {
        let (a, b) = (Line(0), Line(1));
        let script = || Simulated::new(2).pass([(a, "1"), (b, "1")]).quiet().pass([(b, "2")]);
        let log = std::cell::RefCell::new(Vec::new());
        let note = |who: &str, d: &Datagram<'_>| {
            log.borrow_mut().push(format!("{who} {}{}", d.line.index(), String::from_utf8_lossy(d.payload)));
        };
        let mut source = TappedSource::new(script(), |d: &Datagram<'_>| note("tap", d));
        let mut plain = script();
        loop {
            let pass = source.poll(&mut |d| note("taken", &d)).unwrap();
            assert_eq!(pass, plain.poll(&mut |_| {}).unwrap());
            if pass.ended {
                break;
            }
        }
        assert_eq!(source.facts(), plain.facts());
        assert_eq!(log.take(), ["tap 01", "taken 01", "tap 11", "taken 11", "tap 12", "taken 12"]);
    }
}
