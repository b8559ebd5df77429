//! A scenario of datagrams and faults, and the exact list of what each pass hands over.

use std::collections::VecDeque;

use super::*;
use crate::fault::{BurstLoss, Delay, Outage, Reorder};
use crate::source::simulated::Simulated;

const A: Line = Line(0);
const B: Line = Line(1);

/// What each pass handed over, `A1 B1`, until the end.
fn play<S: Source>(source: &mut S) -> Vec<String> {
    let mut passes = Vec::new();
    loop {
        let mut seen = Vec::new();
        let pass = source.poll(&mut |datagram| seen.push(text(&datagram))).unwrap();
        assert_eq!(pass.datagrams, seen.len());
        passes.push(seen.join(" "));
        if pass.ended {
            return passes;
        }
    }
}

fn text(datagram: &Datagram<'_>) -> String {
    let stamp = datagram.stamp.map(|stamp| format!("@{}", stamp.0)).unwrap_or_default();
    format!("{}{}{stamp}", ["A", "B", "C"][datagram.line.index()], String::from_utf8_lossy(datagram.payload))
}

/// A pass for each list of datagrams, which are measured by passes of 1 ns.
fn faulty<const N: usize>(faults: [Faults; 2], passes: [[(Line, &str); N]; 4]) -> FaultySource<Simulated> {
    let simulated = passes.into_iter().fold(Simulated::new(3), Simulated::pass);
    FaultySource::new(simulated, faults, FaultySettings::new(FaultTime::Passes(Nanos(1))))
}

fn none() -> Faults {
    Faults::default()
}

const FOUR: [[(Line, &str); 2]; 4] =
    [[(A, "1"), (B, "1")], [(A, "2"), (B, "2")], [(A, "3"), (B, "3")], [(A, "4"), (B, "4")]];

#[test]
fn without_faults_nothing_is_different() {
    let mut plain = FOUR.into_iter().fold(Simulated::new(3), Simulated::pass);
    let mut source = faulty([none(), none()], FOUR);
    assert_eq!(play(&mut source), play(&mut plain));
    assert_eq!(source.counts(A), FaultCounts { datagrams: 4, ..FaultCounts::default() });
    assert_eq!(source.facts(), source.get_ref().facts());
}

#[test]
fn a_line_that_loses_everything_leaves_the_others_alone() {
    let mut source = faulty([Faults { loss: Share::ALWAYS, ..none() }, none()], FOUR);
    assert_eq!(play(&mut source), ["B1", "B2", "B3", "B4", ""]);
    assert_eq!((source.counts(A).lost, source.counts(B).lost), (4, 0));
    let facts = source.facts();
    assert_eq!((facts.lines[0].datagrams, facts.lines[1].datagrams, facts.lines[1].bytes), (0, 4, 4));
}

#[test]
fn a_burst_takes_all_until_it_is_over() {
    let burst_loss = Some(BurstLoss { enter: Share::ALWAYS, mean: 1e9 });
    let mut source = faulty([Faults { burst_loss, ..none() }, none()], FOUR);
    assert_eq!(play(&mut source), ["B1", "B2", "B3", "B4", ""]);
    assert_eq!(source.counts(A).lost_in_bursts, 4);
}

#[test]
fn a_duplicate_comes_right_behind_the_first() {
    let mut source = faulty([Faults { duplicate: Share::ALWAYS, ..none() }, none()], FOUR);
    assert_eq!(play(&mut source), ["A1 A1 B1", "B2 A2 A2", "A3 A3 B3", "A4 A4 B4", ""]);
    assert_eq!(source.counts(A).duplicated, 4);
    assert_eq!(source.facts().lines[0].datagrams, 8);
}

#[test]
fn what_is_overtaken_comes_behind_the_next_of_its_line() {
    let reorder = Some(Reorder { share: Share::ALWAYS, behind: 1 });
    let mut source = faulty([Faults { reorder, ..none() }, none()], FOUR);
    assert_eq!(play(&mut source), ["B1", "B2 A2 A1", "B3", "A4 A3 B4", ""]);
    assert_eq!(source.counts(A).reordered, 2);
}

#[test]
fn what_nothing_overtakes_comes_at_the_end() {
    let reorder = Some(Reorder { share: Share::ALWAYS, behind: 9 });
    let mut source = faulty([Faults { reorder, ..none() }, none()], FOUR);
    assert_eq!(play(&mut source), ["B1", "B2", "B3", "B4", "A1 A2 A3 A4"]);
    assert_eq!(source.counts(A).reordered, 0);
}

#[test]
fn a_delay_by_passes_moves_a_line_and_the_end_waits_for_it() {
    let delay = Delay { min: Nanos(2), max: Nanos(2) };
    let mut source = faulty([Faults { delay, ..none() }, none()], FOUR);
    assert_eq!(play(&mut source), ["B1", "B2", "A1 B3", "A2 B4", "A3", "A4"]);
}

#[test]
fn a_delay_that_varies_never_reorders() {
    let delay = Delay { min: Nanos(0), max: Nanos(50) };
    let passes = (0..200).fold(Simulated::new(1), |source, n: u32| source.pass([(A, format!("{n}"))]));
    let settings = FaultySettings { seed: 5, ..FaultySettings::new(FaultTime::Passes(Nanos(1))) };
    let mut source = FaultySource::new(passes, [Faults { delay, ..none() }], settings);
    let seen = play(&mut source).join(" ");
    let expected: Vec<String> = (0..200).map(|n| format!("A{n}")).collect();
    assert_eq!(seen.split_whitespace().collect::<Vec<_>>(), expected);
}

#[test]
fn an_outage_takes_what_would_come_within_it() {
    let outages = vec![Outage { from: Nanos(1), to: Nanos(3) }];
    let mut source = faulty([none(), Faults { outages, ..none() }], FOUR);
    assert_eq!(play(&mut source), ["A1 B1", "A2", "A3", "A4 B4", ""]);
    assert_eq!(source.counts(B).lost_in_outages, 2);
}

#[test]
fn a_corrupt_byte_is_one_byte() {
    let passes = || Simulated::new(1).pass([(A, "0000")]).pass([(A, "0000")]);
    for delay in [0, 1] {
        let delay = Delay { min: Nanos(delay), max: Nanos(delay) };
        let faults = Faults { corrupt: Share::ALWAYS, delay, ..none() };
        let mut source = FaultySource::new(passes(), [faults], FaultySettings::new(FaultTime::Passes(Nanos(1))));
        let mut wrong = Vec::new();
        while !source.poll(&mut |d| wrong.push(d.payload.iter().filter(|&&byte| byte != b'0').count())).unwrap().ended {
        }
        assert_eq!(wrong, [1, 1]);
        assert_eq!(source.counts(A).corrupted, 2);
    }
}

#[test]
fn what_the_pool_has_no_room_for_is_dropped_and_counted() {
    let delay = Delay { min: Nanos(2), max: Nanos(2) };
    let passes = Simulated::new(1).pass([(A, "1"), (A, "2")]).pass([(A, "3")]).pass([(A, "long")]).pass([(A, "4")]);
    let mut settings = FaultySettings::new(FaultTime::Passes(Nanos(1)));
    (settings.datagrams_max, settings.bytes_max) = (1, 3);
    let mut source = FaultySource::new(passes, [Faults { delay, ..none() }], settings);
    assert_eq!(play(&mut source), ["", "", "A1", "", "", "A4"]);
    assert_eq!(source.no_room(A), 3);
}

/// Datagrams with stamps, one per pass, as a capture hands them over.
struct Stamped(VecDeque<(u64, Line, &'static str)>);

impl Source for Stamped {
    fn poll(&mut self, take: &mut impl FnMut(Datagram<'_>)) -> io::Result<Pass> {
        let Some((stamp, line, payload)) = self.0.pop_front() else {
            return Ok(Pass { datagrams: 0, full: false, ended: true });
        };
        let (source, stamp) = (Simulated::SENDER, Some(Nanos(stamp)));
        take(Datagram { line, group: 0, source, stamp, kernel_stamp: None, payload: payload.as_bytes() });
        Ok(Pass { datagrams: 1, full: true, ended: false })
    }
}

fn stamped() -> Stamped {
    Stamped([(100, A, "1"), (101, B, "1"), (110, A, "2"), (111, B, "2"), (120, A, "3"), (121, B, "3")].into())
}

#[test]
fn a_delay_by_stamps_gives_later_stamps_in_the_right_places() {
    let delay = Delay { min: Nanos(15), max: Nanos(15) };
    let mut source = FaultySource::new(stamped(), [Faults { delay, ..none() }], FaultySettings::new(FaultTime::Stamps));
    assert_eq!(play(&mut source), ["", "B1@101", "", "B2@111", "A1@115", "B3@121", "A2@125 A3@135"]);
}

#[test]
fn an_outage_by_stamps_counts_from_the_first_stamp() {
    let outages = vec![Outage { from: Nanos(10), to: Nanos(20) }];
    let mut source =
        FaultySource::new(stamped(), [Faults { outages, ..none() }], FaultySettings::new(FaultTime::Stamps));
    assert_eq!(play(&mut source), ["A1@100", "B1@101", "", "B2@111", "A3@120", "B3@121", ""]);
}

#[test]
fn stamps_do_not_go_back_where_a_capture_is_delayed_by_passes() {
    let delay = Delay { min: Nanos(3), max: Nanos(3) };
    let settings = FaultySettings::new(FaultTime::Passes(Nanos(1)));
    let mut source = FaultySource::new(stamped(), [Faults { delay, ..none() }], settings);
    assert_eq!(play(&mut source), ["", "B1@101", "", "A1@101 B2@111", "", "A2@111 B3@121", "", "A3@121"]);
}

#[test]
fn the_same_seed_gives_the_same_and_what_is_lost_is_what_the_publisher_would_lose() {
    let faults = Faults {
        loss: Share::new(0.2).unwrap(),
        burst_loss: Some(BurstLoss { enter: Share::new(0.05).unwrap(), mean: 3.0 }),
        ..none()
    };
    let run = |seed| {
        let passes = (0..200).fold(Simulated::new(1), |source, n: u32| source.pass([(A, format!("{n}"))]));
        let settings = FaultySettings { seed, ..FaultySettings::new(FaultTime::Passes(Nanos(1))) };
        play(&mut FaultySource::new(passes, [faults.clone()], settings))
    };
    assert_eq!(run(3), run(3));
    assert_ne!(run(3), run(4));
    let mut line = LineFaults::new(faults.clone(), 3, A, Nanos::ZERO);
    let through = |n: u32| line.draw(n.to_string().len()).lost.is_none();
    let expected: Vec<String> = (0..200)
        .map(through)
        .zip(0..)
        .map(|(through, n)| if through { format!("A{n}") } else { String::new() })
        .collect();
    assert_eq!(run(3)[..200], expected);
}

#[test]
fn after_the_start_no_buffer_grows() {
    let delay = Delay { min: Nanos(0), max: Nanos(40) };
    let reorder = Some(Reorder { share: Share::new(0.3).unwrap(), behind: 5 });
    let passes =
        (0..2_000).fold(Simulated::new(1), |source, n: u32| source.pass([(A, format!("{n}")), (A, "x".into())]));
    let mut settings = FaultySettings::new(FaultTime::Passes(Nanos(1)));
    (settings.datagrams_max, settings.bytes_max) = (30, 8);
    let faults = Faults { delay, reorder, duplicate: Share::new(0.1).unwrap(), ..none() };
    let mut source = FaultySource::new(passes, [faults], settings);
    let capacities =
        |source: &FaultySource<Simulated>| (source.state.pool.due.capacity(), source.state.pool.free.capacity());
    let before = capacities(&source);
    play(&mut source);
    assert!(source.no_room(A) > 0, "the pool was never full");
    assert_eq!(capacities(&source), before);
    assert_eq!(source.state.pool.free.len(), 30, "every place is free again");
}
