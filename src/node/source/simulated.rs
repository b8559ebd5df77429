//! A source for tests.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};

use crate::os::RECEIVE_BATCH;
use crate::source::live::SourceFacts;
use crate::source::{CountedSource, Datagram, Pass, Source};
use twinline_core::frame::Line;

/// A source that plays a script: it says what arrives before each pass, and nothing else happens.
///
/// It follows the rules of live sockets: one socket per line and group, at most one batch from each per pass, and the line that is
/// polled first rotates. What a pass does not take stays in its socket for the next.
///
/// ```
/// use twinline_core::frame::Line;
/// use twinline_node::source::{Simulated, Source};
///
/// let (a, b) = (Line(0), Line(1));
/// let mut source = Simulated::new(2).pass([(a, "1"), (b, "1")]).quiet().pass([(b, "2")]);
/// let mut seen = Vec::new();
/// while !source.poll(&mut |datagram| seen.push((datagram.line, datagram.payload.to_vec())))?.ended {}
/// assert_eq!(seen, [(a, b"1".to_vec()), (b, b"1".to_vec()), (b, b"2".to_vec())]);
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Simulated {
    lines: usize,
    batch: usize,
    /// What arrives before each pass still to come.
    script: VecDeque<Vec<Arrival>>,
    /// What has arrived and was not taken, by group and line.
    sockets: BTreeMap<(u16, usize), VecDeque<Vec<u8>>>,
    first: usize,
    facts: SourceFacts,
}

#[derive(Clone, Debug)]
struct Arrival {
    line: Line,
    group: u16,
    payload: Vec<u8>,
}

impl Simulated {
    /// A feed with this many lines, on which nothing arrives.
    ///
    /// # Panics
    /// If there are no lines.
    pub fn new(lines: usize) -> Simulated {
        assert!(lines > 0, "a feed has a line");
        Simulated {
            lines,
            batch: RECEIVE_BATCH,
            script: VecDeque::new(),
            sockets: BTreeMap::new(),
            first: 0,
            facts: SourceFacts::default(),
        }
    }

    /// Takes at most `batch` datagrams from a socket in one pass, where live sockets give up to [`RECEIVE_BATCH`].
    #[must_use]
    pub fn with_batch(mut self, batch: usize) -> Simulated {
        self.batch = batch.max(1);
        self
    }

    /// One more pass, before which these arrive, in this order, each on its line's first group.
    #[must_use]
    pub fn pass<P: Into<Vec<u8>>, const N: usize>(self, arrivals: [(Line, P); N]) -> Simulated {
        self.pass_of(arrivals.into_iter().map(|(line, payload)| (line, 0, payload)))
    }

    /// One more pass, before which nothing arrives.
    #[must_use]
    pub fn quiet(mut self) -> Simulated {
        self.script.push_back(Vec::new());
        self
    }

    /// One more pass, before which these arrive, in this order, each on a line and a group.
    ///
    /// # Panics
    /// If a line is not one of the feed's.
    #[must_use]
    pub fn pass_of<P: Into<Vec<u8>>>(mut self, arrivals: impl IntoIterator<Item = (Line, u16, P)>) -> Simulated {
        let arrivals = arrivals.into_iter().map(|(line, group, payload)| {
            assert!(line.index() < self.lines, "{line:?} of {} lines", self.lines);
            Arrival { line, group, payload: payload.into() }
        });
        self.script.push_back(arrivals.collect());
        self
    }

    /// The sender of all its datagrams.
    pub const SENDER: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::LOCALHOST, 26_400);
}

impl Source for Simulated {
    /// `ended` is true from the first pass on that finds nothing and has nothing to come.
    fn poll(&mut self, take: &mut impl FnMut(Datagram<'_>)) -> io::Result<Pass> {
        let over = self.script.is_empty();
        for Arrival { line, group, payload } in self.script.pop_front().unwrap_or_default() {
            self.sockets.entry((group, line.index())).or_default().push_back(payload);
        }
        let mut pass = Pass::default();
        let groups: Vec<u16> = self.sockets.keys().map(|&(group, _)| group).collect();
        for group in groups.chunk_by(|a, b| a == b).filter_map(|same| same.first().copied()) {
            for place in 0..self.lines {
                let line = (self.first + place) % self.lines;
                let Some(socket) = self.sockets.get_mut(&(group, line)) else { continue };
                let count = socket.len().min(self.batch);
                for payload in socket.drain(..count) {
                    if let Some(facts) = self.facts.lines.get_mut(line) {
                        facts.datagrams += 1;
                        facts.bytes += payload.len() as u64;
                    }
                    let (line, source) = (Line(line as u8), Simulated::SENDER);
                    take(Datagram { line, group, source, stamp: None, kernel_stamp: None, payload: &payload });
                }
                pass.datagrams += count;
                pass.full |= count == self.batch;
            }
        }
        self.first = (self.first + 1) % self.lines;
        pass.ended = over && pass.datagrams == 0;
        Ok(pass)
    }
}

impl CountedSource for Simulated {
    fn facts(&self) -> SourceFacts {
        self.facts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Line = Line(0);
    const B: Line = Line(1);

    fn play(source: &mut Simulated) -> Vec<(String, Pass)> {
        let mut passes = Vec::new();
        loop {
            let mut seen = String::new();
            let pass = source
                .poll(&mut |d| {
                    seen +=
                        &format!("{}{}{} ", ["A", "B"][d.line.index()], d.group, String::from_utf8_lossy(d.payload));
                })
                .unwrap();
            passes.push((seen.trim_end().to_owned(), pass));
            if pass.ended {
                return passes;
            }
        }
    }

    #[test]
    fn the_line_polled_first_rotates_and_what_is_not_taken_stays() {
        let mut source = Simulated::new(2)
            .with_batch(2)
            .pass([(B, "a"), (A, "a"), (B, "b"), (B, "c")])
            .pass([(A, "b")])
            .quiet()
            .pass_of([(A, 1, "x"), (B, 0, "d"), (A, 0, "c")]);
        let seen = |text: &str, datagrams, full| (text.to_owned(), Pass { datagrams, full, ended: false });
        assert_eq!(
            play(&mut source),
            [
                seen("A0a B0a B0b", 3, true),
                seen("B0c A0b", 2, false),
                seen("", 0, false),
                seen("B0d A0c A1x", 3, false),
                (String::new(), Pass { datagrams: 0, full: false, ended: true }),
            ]
        );
    }

    #[test]
    fn an_empty_datagram_is_a_datagram() {
        let passes = play(&mut Simulated::new(1).pass([(A, "")]));
        assert_eq!(passes.len(), 2);
        assert_eq!(passes[0].1.datagrams, 1);
    }
}
