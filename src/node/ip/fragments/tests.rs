//! Fragments in any order, twice, overlapping, missing, too many and too late.

use proptest::prelude::*;

use super::*;

fn of(id: u16) -> Identity {
    Identity {
        via: FragmentPath::default(),
        source: Ipv4Addr::new(10, 0, 0, 1),
        destination: Ipv4Addr::new(239, 1, 1, 1),
        id,
    }
}

fn datagram(len: usize, seed: usize) -> Vec<u8> {
    (0..len).map(|n| (n * 31 + seed * 7 + (n >> 8)) as u8).collect()
}

/// A datagram in pieces of so many units each.
fn pieces(id: u16, bytes: &[u8], units: usize) -> Vec<Fragment<'_>> {
    let size = units * UNIT;
    let count = bytes.len().div_ceil(size);
    let piece = |(n, bytes)| Fragment { of: of(id), at: n * size, more: n + 1 < count, bytes };
    bytes.chunks(size).enumerate().map(piece).collect()
}

/// Puts them in; what comes out.
fn put(reassembler: &mut Reassembler, now: u64, fragments: &[Fragment<'_>]) -> Vec<Vec<u8>> {
    fragments.iter().filter_map(|fragment| reassembler.put(Nanos(now), fragment).map(<[u8]>::to_vec)).collect()
}

#[test]
fn several_datagrams_come_whole_side_by_side() {
    let mut reassembler = Reassembler::new();
    let (one, two) = (datagram(3_000, 1), datagram(65_515, 2));
    let (of_one, of_two) = (pieces(1, &one, 185), pieces(2, &two, 185));
    let mut out = Vec::new();
    for n in 0..of_two.len() {
        out.extend(put(&mut reassembler, 5, &of_two[n..=n]));
        out.extend(put(&mut reassembler, 5, of_one.get(n..=n).unwrap_or_default()));
    }
    assert!(out[0] == one && out[1] == two && out.len() == 2);
    let fragments = (of_one.len() + of_two.len()) as u64;
    assert_eq!(reassembler.facts(), FragmentFacts { fragments, datagrams: 2, ..FragmentFacts::default() });
    assert_eq!(reassembler.in_flight(), 0);
}

#[test]
fn only_the_same_sender_group_and_number_make_a_datagram() {
    let bytes = datagram(16, 1);
    let [first, last] = pieces(1, &bytes, 1)[..] else { panic!() };
    for other in [
        of(2),
        Identity { source: Ipv4Addr::new(10, 0, 0, 2), ..of(1) },
        Identity { destination: Ipv4Addr::new(239, 1, 1, 2), ..of(1) },
        Identity { via: FragmentPath { interface: 1, ..FragmentPath::default() }, ..of(1) },
        Identity { via: FragmentPath { host_interface: 1, ..FragmentPath::default() }, ..of(1) },
        Identity { via: FragmentPath { vlan: 1, ..FragmentPath::default() }, ..of(1) },
    ] {
        let mut reassembler = Reassembler::new();
        assert_eq!(reassembler.put(Nanos(1), &first), None);
        assert_eq!(reassembler.put(Nanos(1), &Fragment { of: other, ..last }), None);
        assert_eq!(reassembler.in_flight(), 2);
    }
}

#[test]
fn what_says_the_same_again_is_a_duplicate_and_what_says_otherwise_ends_it() {
    let bytes = datagram(32, 1);
    let all = pieces(1, &bytes, 1);
    let mut reassembler = Reassembler::new();
    assert_eq!(put(&mut reassembler, 1, &[all[0], all[1], all[0], all[3]]), [] as [Vec<u8>; 0]);
    // two pieces at once that are there already
    let both = Fragment { of: of(1), at: 0, more: true, bytes: &bytes[..16] };
    assert_eq!(put(&mut reassembler, 1, &[both, all[3], all[2]])[0], bytes);
    assert_eq!(reassembler.facts().duplicates, 3);

    for (at, len, what) in [(0, 16, "one that is not there, one that is"), (8, 16, "the other way around")] {
        let mut reassembler = Reassembler::new();
        let wide = Fragment { of: of(1), at, more: true, bytes: &bytes[at..at + len] };
        put(&mut reassembler, 1, &[all[1], wide]);
        assert_eq!((reassembler.facts().overlapping, reassembler.in_flight()), (1, 0), "{what}");
    }
    let mut reassembler = Reassembler::new();
    let forged = Fragment { bytes: &[9; 8], ..all[1] };
    assert_eq!(put(&mut reassembler, 1, &[all[0], all[1], forged, all[2], all[3]]), [] as [Vec<u8>; 0]);
    assert_eq!((reassembler.facts().overlapping, reassembler.in_flight()), (1, 1));
    // the two before it and itself; the two behind it are of a datagram that does not come whole
    reassembler.end();
    let unused = UnusedFragments { overlapping: 3, incomplete: 2, ..UnusedFragments::default() };
    assert_eq!((reassembler.facts().unused, reassembler.facts().incomplete), (unused, 1));
}

#[test]
fn pieces_that_disagree_about_the_end_end_it() {
    let bytes = datagram(32, 1);
    let all = pieces(1, &bytes, 1);
    let ends_at = |end: usize| Fragment { of: of(1), at: end - 8, more: false, bytes: &bytes[end - 8..end] };
    for (what, pieces) in [
        ("two ends", [all[3], ends_at(24)]),
        ("an end, and a later one", [ends_at(24), all[3]]),
        ("an end, and more behind it", [ends_at(16), all[2]]),
        ("more, and an end before it", [all[2], ends_at(16)]),
        ("the last one cut", [all[3], Fragment { bytes: &bytes[24..27], ..all[3] }]),
        ("more behind what was the last", [all[3], Fragment { more: true, bytes: &bytes[24..], at: 32, ..all[3] }]),
    ] {
        let mut reassembler = Reassembler::new();
        put(&mut reassembler, 1, &pieces);
        assert_eq!((reassembler.facts().inconsistent, reassembler.in_flight()), (1, 0), "{what}");
        assert_eq!(reassembler.facts().unused, UnusedFragments { inconsistent: 2, ..UnusedFragments::default() });
    }
}

#[test]
fn what_no_datagram_can_have_is_refused_alone() {
    let bytes = datagram(65_528, 1);
    for (what, at, more, len) in [
        ("empty", 8, true, 0),
        ("an empty end", 8, false, 0),
        ("no multiple of eight in the midst", 8, true, 12),
        ("beyond the longest", 65_512, false, 8),
        ("far beyond", 65_528, true, 65_528),
    ] {
        let mut reassembler = Reassembler::new();
        assert_eq!(reassembler.put(Nanos(1), &Fragment { of: of(1), at, more, bytes: &bytes[..len] }), None);
        assert_eq!((reassembler.facts().malformed, reassembler.in_flight()), (1, 0), "{what}");
    }
    let mut reassembler = Reassembler::new();
    let last = Fragment { of: of(1), at: 65_512, more: false, bytes: &bytes[..3] };
    assert_eq!(reassembler.put(Nanos(1), &last), None);
    assert_eq!((reassembler.facts().malformed, reassembler.in_flight()), (0, 1), "the longest that there is");
}

#[test]
fn one_too_many_in_flight_costs_the_oldest() {
    let bytes = datagram(16, 1);
    let mut reassembler = Reassembler::new();
    let piece = |id: usize, n: usize| pieces(id as u16, &bytes, 1)[n];
    for id in 0..DATAGRAMS_IN_FLIGHT {
        put(&mut reassembler, id as u64, &[piece(id, 0)]);
    }
    assert_eq!((reassembler.in_flight(), reassembler.facts().evicted), (DATAGRAMS_IN_FLIGHT, 0));
    put(&mut reassembler, 100, &[piece(DATAGRAMS_IN_FLIGHT, 0)]);
    assert_eq!((reassembler.in_flight(), reassembler.facts().evicted), (DATAGRAMS_IN_FLIGHT, 1));
    for id in 1..=DATAGRAMS_IN_FLIGHT {
        assert_eq!(put(&mut reassembler, 101, &[piece(id, 1)])[0], bytes, "{id}");
    }
    // the second half of the one that was given up: it has nothing to go with
    assert_eq!(put(&mut reassembler, 101, &[piece(0, 1)]), [] as [Vec<u8>; 0]);
    assert_eq!((reassembler.in_flight(), reassembler.facts().datagrams), (1, DATAGRAMS_IN_FLIGHT as u64));
    reassembler.end();
    let unused = UnusedFragments { evicted: 1, incomplete: 1, ..UnusedFragments::default() };
    assert_eq!((reassembler.facts().unused, reassembler.in_flight()), (unused, 0));
}

#[test]
fn what_takes_too_long_is_given_up() {
    let bytes = datagram(16, 1);
    let all = pieces(1, &bytes, 1);
    let mut reassembler = Reassembler::new();
    put(&mut reassembler, 10, &all[..1]);
    assert_eq!(put(&mut reassembler, 10 + AGE_MAX.0, &all[1..])[0], bytes, "just in time");
    put(&mut reassembler, 10, &all[..1]);
    assert_eq!(put(&mut reassembler, 11 + AGE_MAX.0, &all[1..]), [] as [Vec<u8>; 0]);
    assert_eq!((reassembler.facts().expired, reassembler.in_flight()), (1, 1));
    reassembler.expire(Nanos::MAX);
    assert_eq!((reassembler.facts().expired, reassembler.in_flight()), (2, 0));
    assert_eq!(reassembler.facts().unused, UnusedFragments { expired: 2, ..UnusedFragments::default() });
    // a clock that goes back gives nothing up
    put(&mut reassembler, 1 << 40, &all[..1]);
    assert_eq!(put(&mut reassembler, 5, &all[1..]), [bytes]);
}

proptest! {
    /// In any order, each once or twice, with others in between: all whole, each once.
    #[test]
    fn any_order_makes_the_same_datagrams(
        lens in prop::collection::vec(1usize..5_000, 1..6),
        units in 1usize..200,
        twice in any::<u64>(),
        seed in any::<u64>(),
    ) {
        let all: Vec<Vec<u8>> = lens.iter().enumerate().map(|(seed, &len)| datagram(len, seed)).collect();
        let mut fragments: Vec<Fragment<'_>> =
            all.iter().enumerate().flat_map(|(id, bytes)| pieces(id as u16, bytes, units)).collect();
        let mut rng = fastrand::Rng::with_seed(seed);
        rng.shuffle(&mut fragments);
        // twice in a row, so that it comes before its datagram is whole: after that it would begin another
        let mut sent = Vec::new();
        for (n, fragment) in fragments.iter().enumerate() {
            let left = fragments[n + 1..].iter().any(|later| later.of == fragment.of);
            sent.extend(std::iter::repeat_n(*fragment, if left && twice >> (n % 64) & 1 == 1 { 2 } else { 1 }));
        }
        let mut reassembler = Reassembler::new();
        let mut out = put(&mut reassembler, 1, &sent);
        out.sort();
        let mut expected = all.clone();
        expected.sort();
        prop_assert!(out == expected);
        let facts = reassembler.facts();
        prop_assert_eq!(facts.duplicates as usize, sent.len() - fragments.len());
        prop_assert_eq!((facts.datagrams as usize, reassembler.in_flight()), (all.len(), 0));
    }

    /// With one piece missing, there is nothing.
    #[test]
    fn a_missing_piece_is_never_made_up(len in 9usize..3_000, units in 1usize..50, missing in any::<prop::sample::Index>()) {
        let bytes = datagram(len, 3);
        let mut fragments = pieces(1, &bytes, units);
        prop_assume!(fragments.len() > 1);
        fragments.remove(missing.index(fragments.len()));
        let mut reassembler = Reassembler::new();
        prop_assert!(put(&mut reassembler, 1, &fragments).is_empty());
        prop_assert_eq!(reassembler.in_flight(), 1);
    }

    /// Whatever comes: no panic, the bounds hold, every fragment and flight is accounted for, and what comes out was said so.
    #[test]
    fn nothing_is_too_strange(
        fragments in prop::collection::vec((0u16..80, 0usize..9_000, any::<bool>(), 0usize..300, 0u64..3_000_000_000), 1..400),
    ) {
        let bytes = datagram(300, 1);
        let mut reassembler = Reassembler::new();
        for &(id, at, more, len, now) in &fragments {
            let len = if more { len / UNIT * UNIT } else { len };
            // every fragment says the same: that of its place
            let fragment = Fragment { of: of(id), at: at % 40 * UNIT, more, bytes: &bytes[..len] };
            if let Some(whole) = reassembler.put(Nanos(now), &fragment) {
                prop_assert!(whole.len() <= BYTES_MAX);
            }
            prop_assert!(reassembler.in_flight() <= DATAGRAMS_IN_FLIGHT);
        }
        let facts = reassembler.facts();
        prop_assert_eq!(facts.fragments as usize, fragments.len());
        let ended = facts.datagrams + facts.overlapping + facts.inconsistent + facts.expired + facts.evicted;
        prop_assert!(ended + reassembler.in_flight() as u64 + facts.duplicates + facts.malformed <= facts.fragments);
        reassembler.end();
        let (ended, unused) = (reassembler.facts(), reassembler.facts().unused);
        prop_assert_eq!((unused.duplicate, unused.malformed), (ended.duplicates, ended.malformed));
        // one fragment is a whole datagram at the least, and what is neither used nor unused is nowhere
        let used = ended.fragments.checked_sub(unused.total());
        prop_assert!(used >= Some(ended.datagrams) && (used > Some(0)) == (ended.datagrams > 0));
        prop_assert!(unused.overlapping >= 2 * ended.overlapping && unused.inconsistent >= 2 * ended.inconsistent);
        prop_assert!(unused.expired >= ended.expired && unused.evicted >= ended.evicted);
        prop_assert_eq!((reassembler.in_flight(), ended.incomplete > 0), (0, unused.incomplete > 0));
    }
}
