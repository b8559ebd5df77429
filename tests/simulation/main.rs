//! Publisher, framing and arbiter together, with no socket, file or clock. Below: seeded simulations, publishers with faults on
//! every line, the arbiter, and an oracle.
//!
//! `TWINLINE_SEEDS=100000` plays more seeds than the default, `TWINLINE_SEED=17` plays one again. A failure prints its seed.

mod causality;
mod cheats;
mod checker;
mod framing_streams;
mod live;
mod publisher_plan;
mod record;
#[path = "../support/mod.rs"]
mod support;
mod verdict;
mod world;

use std::sync::OnceLock;

use twinline_core::arbiter::{Event, EventKind};
use twinline_core::frame::Line;
use twinline_core::framing::{CmeMdp3, Framing, MoldUdp64};

use causality::causal;
use cheats::{Everything, HighestWins, OneLine, SortsAll};
use checker::check;
use record::{Forwarder, Honest, Record, Said, run};
use verdict::Verdict;
use world::{Claim, World};

fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} is a number, not {text:?}")))
}

/// The seeds to play: the one that was asked for, or as many as were asked for, or `default`.
fn seeds(default: u64) -> std::ops::Range<u64> {
    match number("TWINLINE_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("TWINLINE_SEEDS").unwrap_or(default),
    }
}

fn honest<F: Framing>(framing: F, world: &World) -> (Record, Verdict) {
    let mut honest = Honest::new(framing, &world.settings);
    let record = run(&mut honest, &world.inputs);
    let verdict = check(world, &record, honest.report().as_ref());
    (record, verdict)
}

/// Says which seed it was that panicked.
struct Playing(u64);

impl Drop for Playing {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("TWINLINE_SEED={}", self.0);
        }
    }
}

/// Plays all seeds and fails with every seed that did.
fn play(default: u64, mut one: impl FnMut(u64) -> Verdict) {
    let seeds = seeds(default);
    let count = seeds.end - seeds.start;
    let verdict = |seed| {
        let _playing = Playing(seed);
        one(seed).err().map(|complaint| format!("TWINLINE_SEED={seed}: {complaint}"))
    };
    let failed: Vec<String> = seeds.filter_map(verdict).collect();
    assert!(failed.is_empty(), "{} of {count} seeds:\n{}", failed.len(), failed.join("\n"));
}

#[test]
fn what_arrives_on_any_line_in_time_is_delivered_once_and_in_order() {
    play(2_000, |seed| honest(MoldUdp64, &world::moldudp64(seed)).1);
}

#[test]
fn the_same_holds_for_a_packet_sequenced_framing_with_restarts_and_a_wrap() {
    play(300, |seed| honest(CmeMdp3, &world::cme_mdp3(seed)).1);
}

#[test]
fn a_seed_gives_the_same_to_the_byte() {
    let names = ["A".to_owned(), "B".to_owned(), "C".to_owned(), "D".to_owned()];
    play(40, |seed| {
        let events = |record: &Record| {
            let lines: Vec<String> = record.events().map(|event| event.json(&names).to_string()).collect();
            lines.join("\n")
        };
        let (one, other) = (honest(MoldUdp64, &world::moldudp64(seed)).0, honest(MoldUdp64, &world::moldudp64(seed)).0);
        assert_eq!(events(&one), events(&other), "seed {seed}");
        assert_eq!(one, other, "seed {seed}");
        Ok(())
    });
}

/// Cuts a world's input in several places.
fn cut_anywhere<T: Forwarder>(world: &World, times: usize, mut forwarder: impl FnMut() -> T) -> Verdict {
    let whole = run(&mut forwarder(), &world.inputs);
    let mut rng = fastrand::Rng::with_seed(world.seed);
    for _ in 0..times {
        let cut_at = rng.usize(1..=world.inputs.len());
        let cut = run(&mut forwarder(), &world.inputs[..cut_at]);
        causal(&whole, &cut, cut_at, world.inputs[cut_at - 1].stamp)?;
    }
    Ok(())
}

#[test]
fn an_input_cut_anywhere_gives_the_same_up_to_the_cut() {
    play(60, |seed| {
        let world = world::moldudp64(seed);
        cut_anywhere(&world, 5, || Honest::new(MoldUdp64, &world.settings))
    });
}

/// Worlds of one session in which nothing is forged and B's copies are needed.
fn plain_worlds() -> &'static [World] {
    static WORLDS: OnceLock<Vec<World>> = OnceLock::new();
    WORLDS.get_or_init(find_plain_worlds)
}

fn find_plain_worlds() -> Vec<World> {
    let plain = |world: &World| {
        world.claim == Claim::Union && world.runs.len() == 1 && !world.forged && !world.far && !world.late_start
    };
    let needs_b = |world: &World| {
        let filled = |event: &Event| matches!(event.kind, EventKind::Filled { line, .. } if line != Line(0));
        honest(MoldUdp64, world).0.events().filter(|event| filled(event)).count() >= 3
    };
    let worlds: Vec<_> = (0..800).map(world::moldudp64).filter(|world| plain(world) && needs_b(world)).collect();
    assert!(worlds.len() >= 30, "{} plain worlds are too few", worlds.len());
    worlds
}

/// What the checker has against a forwarder, world by world.
fn complaints<T: Forwarder>(mut forwarder: impl FnMut(&World) -> T) -> Vec<Option<&'static str>> {
    let check = |world: &World, record: &Record| check(world, record, None).err().map(|complaint| complaint.about);
    plain_worlds().iter().map(|world| check(world, &run(&mut forwarder(world), &world.inputs))).collect()
}

/// The checker has found all of them out, mostly by what `about` says.
fn found_out(complaints: &[Option<&str>], about: &[&str]) {
    let by = complaints.iter().flatten().filter(|complaint| about.contains(complaint)).count();
    assert!(complaints.iter().all(Option::is_some), "{complaints:?}");
    assert!(2 * by >= complaints.len(), "{complaints:?}");
}

#[test]
fn the_checker_has_nothing_against_an_honest_arbiter() {
    assert!(complaints(|world| Honest::new(MoldUdp64, &world.settings)).iter().all(Option::is_none));
}

#[test]
fn the_checker_catches_a_forwarder_for_which_the_highest_number_wins() {
    found_out(&complaints(|_| HighestWins::default()), &["union"]);
}

#[test]
fn the_checker_catches_a_forwarder_that_forwards_everything() {
    found_out(&complaints(|_| Everything::default()), &["once"]);
}

#[test]
fn the_checker_catches_a_forwarder_that_listens_to_one_line() {
    found_out(&complaints(|world| OneLine(Honest::new(MoldUdp64, &world.settings))), &["union", "prompt", "events"]);
}

#[test]
fn the_checker_catches_an_arbiter_that_sorts_the_whole_capture() {
    found_out(&complaints(|world| SortsAll::new(Honest::new(MoldUdp64, &world.settings))), &["bytes", "prompt"]);
    // and without the oracle: by its own output for a part of the same input
    let cut = |world: &World| cut_anywhere(world, 12, || SortsAll::new(Honest::new(MoldUdp64, &world.settings)));
    let found: Vec<_> = plain_worlds().iter().map(|world| cut(world).err().map(|complaint| complaint.about)).collect();
    assert!(3 * found.iter().flatten().count() >= 2 * found.len(), "{found:?}");
}

/// The simulation is worth something only while everything that it is to try does happen in it.
#[test]
fn the_worlds_have_everything_in_them() {
    let mut seen = std::collections::BTreeMap::<String, u64>::new();
    for seed in 0..300 {
        let world = world::moldudp64(seed);
        let (record, _) = honest(MoldUdp64, &world);
        for (_, said) in &record.said {
            let word = match said {
                Said::Event(event) => match event.kind {
                    EventKind::Lost { reason, .. } => format!("lost {}", reason.name()),
                    EventKind::EpochEnd { why, .. } => format!("end {}", why.name()),
                    EventKind::Line { to, .. } => format!("line {}", to.name()),
                    EventKind::Filled { .. } => "filled".into(),
                    _ => continue,
                },
                Said::Late(_) => "late".into(),
                _ => continue,
            };
            *seen.entry(word).or_default() += 1;
        }
    }
    let words = [
        "filled",
        "late",
        "lost deadline",
        "lost settled",
        "lost hold",
        "lost gaps",
        "lost epoch",
        "lost finish",
        "end end",
        "end lines",
        "line silent",
        "line lagging",
        "line other session",
        "line up",
    ];
    for word in words {
        assert!(seen.get(word).is_some_and(|&times| times >= 2), "{word:?} is rare: {seen:?}");
    }
}

/// Prints a seed, input by input: `TWINLINE_SHOW=17 cargo test --test simulation show -- --nocapture`; with
/// `TWINLINE_CME=1`, of the packet-sequenced worlds. Nothing is shown without a seed.
#[test]
fn show_a_seed() {
    let Some(seed) = number("TWINLINE_SHOW") else { return };
    let cme = number("TWINLINE_CME").is_some();
    let world = if cme { world::cme_mdp3(seed) } else { world::moldudp64(seed) };
    println!(
        "{:?}\nclaim {:?} far {} forged {} runs {:?}",
        world.settings,
        world.claim,
        world.far,
        world.forged,
        world.runs.iter().map(|r| (r.session, r.first, r.messages.len())).collect::<Vec<_>>()
    );
    let (record, verdict) = if cme { honest(CmeMdp3, &world) } else { honest(MoldUdp64, &world) };
    let mut said = record.said.iter().peekable();
    for moment in 0..=2 * world.inputs.len() {
        if moment % 2 == 1 {
            let i = &world.inputs[moment / 2];
            println!(
                "{moment} {} {} {:?} {}",
                i.stamp.0,
                ["A", "B", "C", "D"][i.line.index()],
                i.truth,
                i.payload.len()
            );
        }
        while let Some((_, s)) = said.next_if(|(at, _)| *at == moment) {
            match s {
                Said::Event(e) => println!("      {} {:?}", e.at.0, e.kind),
                Said::Release(m) => println!("      release {} +{} {}", m.first, m.count, m.session),
                Said::Late(m) => println!("      late {} +{}", m.first, m.count),
                Said::Loss(l) => println!("      loss {}", l.range),
                Said::First(_) => {}
            }
        }
    }
    println!("{verdict:?}");
}
