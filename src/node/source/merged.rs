//! Several sources as one: live lines received in different ways, or recovery as one more line.

use std::io;

use crate::source::live::SourceFacts;
use crate::source::{CountedSource, Datagram, Pass, Source};

/// Sources that are merged: a tuple of two to four different ones, an array, or a `Vec`.
pub trait SourceSet: set::Sealed {
    /// How many there are.
    fn count(&self) -> usize;

    /// Polls the source in this position.
    ///
    /// # Errors
    /// That source's.
    fn poll_at(&mut self, place: usize, take: &mut impl FnMut(Datagram<'_>)) -> io::Result<Pass>;
}

/// Sources that are merged and know what their lines brought.
pub trait CountedSourceSet: SourceSet {
    /// All their facts, added up by line.
    fn facts(&self) -> SourceFacts;
}

/// Several sources as one. A datagram keeps its line: two sources may bring the same line, or each its own.
///
/// A pass polls each source once. The one polled first rotates from pass to pass, so that none always comes last (ARBITRATION
/// 1.2). A pass is full if any source's was. The whole ends with its last source; one that has ended is not polled again. An error
/// of one ends the pass; the others are polled again in the next, if there is one.
///
/// ```
/// use twinline_core::frame::Line;
/// use twinline_node::source::{MergedSource, Simulated, Source};
///
/// let lines = Simulated::new(2).pass([(Line(0), "1"), (Line(1), "1")]).pass([(Line(0), "3")]);
/// let recovery = Simulated::new(3).quiet().pass([(Line(2), "2")]);
/// let mut source = MergedSource::new((lines, recovery));
///
/// let mut seen = Vec::new();
/// while !source.poll(&mut |datagram| seen.push((datagram.line.0, datagram.payload[0])))?.ended {}
/// assert_eq!(seen, [(0, b'1'), (1, b'1'), (2, b'2'), (0, b'3')]);
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct MergedSource<T> {
    sources: T,
    ended: Box<[bool]>,
    /// Which one the next pass polls first.
    first: usize,
}

impl<T: SourceSet> MergedSource<T> {
    /// Merges `sources`. Without any, it has ended.
    pub fn new(sources: T) -> MergedSource<T> {
        let ended = vec![false; sources.count()].into();
        MergedSource { sources, ended, first: 0 }
    }
}

impl<T> MergedSource<T> {
    /// The wrapped sources.
    pub fn get_ref(&self) -> &T {
        &self.sources
    }
}

impl<T: SourceSet> Source for MergedSource<T> {
    #[inline]
    fn poll(&mut self, take: &mut impl FnMut(Datagram<'_>)) -> io::Result<Pass> {
        let mut merged = Pass { ended: true, ..Pass::default() };
        let count = self.ended.len();
        let first = self.first;
        self.first = if first + 1 < count { first + 1 } else { 0 };
        for place in 0..count {
            let at = if first + place < count { first + place } else { first + place - count };
            if self.ended[at] {
                continue;
            }
            let pass = self.sources.poll_at(at, take)?;
            merged.datagrams += pass.datagrams;
            merged.full |= pass.full;
            merged.ended &= pass.ended;
            self.ended[at] = pass.ended;
        }
        Ok(merged)
    }
}

impl<T: CountedSourceSet> CountedSource for MergedSource<T> {
    fn facts(&self) -> SourceFacts {
        self.sources.facts()
    }
}

impl<S: Source> SourceSet for Vec<S> {
    fn count(&self) -> usize {
        self.len()
    }

    #[inline]
    fn poll_at(&mut self, place: usize, take: &mut impl FnMut(Datagram<'_>)) -> io::Result<Pass> {
        self[place].poll(take)
    }
}

impl<S: CountedSource> CountedSourceSet for Vec<S> {
    fn facts(&self) -> SourceFacts {
        self.iter().fold(SourceFacts::default(), |sum, source| sum + source.facts())
    }
}

impl<S: Source, const N: usize> SourceSet for [S; N] {
    fn count(&self) -> usize {
        N
    }

    #[inline]
    fn poll_at(&mut self, place: usize, take: &mut impl FnMut(Datagram<'_>)) -> io::Result<Pass> {
        self[place].poll(take)
    }
}

impl<S: CountedSource, const N: usize> CountedSourceSet for [S; N] {
    fn facts(&self) -> SourceFacts {
        self.iter().fold(SourceFacts::default(), |sum, source| sum + source.facts())
    }
}

macro_rules! tuples {
    ($($count:literal: $($name:ident $at:tt),+;)+) => {$(
        impl<$($name: Source),+> SourceSet for ($($name,)+) {
            fn count(&self) -> usize {
                $count
            }

            #[inline]
            fn poll_at(&mut self, place: usize, take: &mut impl FnMut(Datagram<'_>)) -> io::Result<Pass> {
                match place {
                    $($at => self.$at.poll(take),)+
                    _ => Ok(Pass { ended: true, ..Pass::default() }),
                }
            }
        }

        impl<$($name: CountedSource),+> CountedSourceSet for ($($name,)+) {
            fn facts(&self) -> SourceFacts {
                SourceFacts::default() $(+ self.$at.facts())+
            }
        }

        impl<$($name),+> set::Sealed for ($($name,)+) {}
    )+};
}

tuples! {
    2: A 0, B 1;
    3: A 0, B 1, C 2;
    4: A 0, B 1, C 2, D 3;
}

/// Sets are counted once, at the start: only those here keep that promise.
mod set {
    pub trait Sealed {}
    impl<S> Sealed for Vec<S> {}
    impl<S, const N: usize> Sealed for [S; N] {}
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::simulated::Simulated;
    use crate::source::tapped::TappedSource;
    use twinline_core::frame::Line;

    const A: Line = Line(0);
    const B: Line = Line(1);
    const C: Line = Line(2);

    fn play<S: Source>(source: &mut S) -> Vec<(String, Pass)> {
        let mut passes = Vec::new();
        loop {
            let mut seen = Vec::new();
            let pass = source
                .poll(&mut |d| {
                    seen.push(format!("{}{}", ["A", "B", "C"][d.line.index()], String::from_utf8_lossy(d.payload)));
                })
                .unwrap();
            passes.push((seen.join(" "), pass));
            if pass.ended {
                return passes;
            }
        }
    }

    fn seen(text: &str, datagrams: usize, full: bool, ended: bool) -> (String, Pass) {
        (text.to_owned(), Pass { datagrams, full, ended })
    }

    fn one(line: Line) -> Simulated {
        Simulated::new(3).pass([(line, "1")]).pass([(line, "2")]).pass([(line, "3")])
    }

    #[test]
    fn each_is_polled_once_and_the_first_one_rotates() {
        let expected = [
            seen("A1 B1 C1", 3, false, false),
            seen("B2 C2 A2", 3, false, false),
            seen("C3 A3 B3", 3, false, false),
            seen("", 0, false, true),
        ];
        assert_eq!(play(&mut MergedSource::new([one(A), one(B), one(C)])), expected);
        assert_eq!(play(&mut MergedSource::new(vec![one(A), one(B), one(C)])), expected);
        let tapped = TappedSource::new(one(C), |_: &Datagram<'_>| {});
        assert_eq!(play(&mut MergedSource::new((one(A), one(B), tapped))), expected);
    }

    #[test]
    fn it_is_full_where_one_is_and_ends_where_all_have() {
        let short = Simulated::new(3).with_batch(2).pass([(A, "1"), (A, "2"), (A, "3")]);
        let long = Simulated::new(3).quiet().quiet().quiet().pass([(B, "1")]);
        let mut source = MergedSource::new((short, long));
        assert_eq!(
            play(&mut source),
            [
                seen("A1 A2", 2, true, false),
                seen("A3", 1, false, false),
                seen("", 0, false, false),
                seen("B1", 1, false, false),
                seen("", 0, false, true),
            ]
        );
        let facts = source.facts();
        assert_eq!((facts.lines[0].datagrams, facts.lines[1].datagrams, facts.lines[0].bytes), (3, 1, 3));
    }

    #[test]
    fn two_sources_of_one_line_are_added_up() {
        let mut source = MergedSource::new((one(A), one(A)));
        let passes = play(&mut source);
        assert_eq!(passes[0], seen("A1 A1", 2, false, false));
        assert_eq!(source.facts().lines[0].datagrams, 6);
    }

    #[test]
    fn without_sources_it_has_ended() {
        assert_eq!(play(&mut MergedSource::new(Vec::<Simulated>::new())), [seen("", 0, false, true)]);
    }
}
