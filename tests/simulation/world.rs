//! Worlds: what was published, and what arrives of it on each line, all drawn from one seed.

use std::collections::BTreeMap;

use fastrand::Rng;
use twinline_core::Nanos;
use twinline_core::arbiter::{GapTimeout, Settings, Verify};
use twinline_core::frame::{LINES_MAX, Line, Session};
use twinline_core::framing::{CmeMdp3, Framing, MoldUdp64};
use twinline_node::fault::{BurstLoss, Delay, Faults, Outage, Reorder, Share};
use twinline_node::publisher::{LinePlan, MadeUp, Plan, PlanConfig, Rate};

use crate::record::{Input, Shown};

/// One run of numbers, as it was published.
#[derive(Clone, Debug)]
pub struct Published {
    pub session: Session,
    /// Where numbers start when a run begins afresh.
    pub first: u64,
    /// The message of each number, from `first` on.
    pub messages: Vec<Vec<u8>>,
}

impl Published {
    pub fn message(&self, n: u64) -> Option<&[u8]> {
        self.messages.get(usize::try_from(n.checked_sub(self.first)?).ok()?).map(Vec::as_slice)
    }
}

/// How much of the oracle holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Claim {
    /// The gap timeout is longer than any copy is late, and no limit is reached: what arrived is delivered.
    Union,
    /// Timeouts are what they are: what arrived is delivered unless it was given up before.
    Timely,
    /// Holds are so small that frames of a session to come may find no room.
    Tight,
}

/// A seed, played out.
#[derive(Clone, Debug)]
pub struct World {
    pub seed: u64,
    pub settings: Settings,
    pub runs: Vec<Published>,
    pub inputs: Vec<Input>,
    pub claim: Claim,
    /// All lines may be away for more than `max_jump` numbers.
    pub far: bool,
    /// Forged frames are among the inputs.
    pub forged: bool,
    /// The capture begins in mid-stream.
    pub late_start: bool,
}

struct Sent {
    due: Nanos,
    line: Line,
    shown: Shown,
    bytes: Vec<u8>,
}

/// Plays a plan; what its faults lost is published all the same.
fn publish<F: Framing>(framing: F, config: PlanConfig, count: u64, run: usize, sent: &mut Vec<Sent>) -> Published {
    let (session, first, seed) = (config.session, config.first, config.seed);
    let mut plan = Plan::new(framing, config, MadeUp::new(Some(count), None, seed)).unwrap();
    let mut messages: Vec<Vec<u8>> = Vec::new();
    while let Some(planned) = plan.next_planned().unwrap() {
        let frame = framing.frame(planned.bytes, &mut 0).unwrap().unwrap();
        for (n, message) in (planned.first..).zip(frame.packing.messages(frame.body).take(planned.count as usize)) {
            let at = (n - first) as usize;
            if messages.len() <= at {
                messages.resize(at + 1, Vec::new());
            }
            if messages[at].is_empty() {
                messages[at] = message.to_vec();
            }
            assert_eq!(messages[at], message, "the publisher sends one thing");
        }
        if planned.dropped.is_none() {
            let shown = Shown { run, first: planned.first, count: u64::from(planned.count) };
            sent.push(Sent { due: planned.due, line: planned.line, shown, bytes: planned.bytes.to_vec() });
        }
    }
    Published { session, first, messages }
}

fn percent(rng: &mut Rng, most: f64) -> Share {
    Share::percent(rng.f64() * most).unwrap()
}

fn micros(n: u64) -> Nanos {
    Nanos::from_micros(n)
}

/// One time in `n`.
fn one_in(rng: &mut Rng, n: u32) -> bool {
    rng.u32(..n) == 0
}

/// A line with up to 30 % loss and a little of everything.
fn faults(rng: &mut Rng, span: Nanos) -> Faults {
    let skew = if rng.bool() { rng.u64(..5_000) } else { rng.u64(..50) };
    let jitter = if rng.bool() { rng.u64(..300) } else { 0 };
    let outage = |rng: &mut Rng| {
        let from = Nanos(rng.u64(..=span.0));
        Outage { from, to: from + Nanos(rng.u64(..=span.0 / 2)) }
    };
    Faults {
        loss: if one_in(rng, 4) { Share::NEVER } else { percent(rng, 30.0) },
        burst_loss: one_in(rng, 3).then(|| BurstLoss { enter: percent(rng, 3.0), mean: 1.0 + rng.f64() * 12.0 }),
        duplicate: if one_in(rng, 3) { percent(rng, 20.0) } else { Share::NEVER },
        reorder: one_in(rng, 3).then(|| Reorder { share: percent(rng, 15.0), behind: rng.u32(1..12) }),
        delay: Delay { min: micros(skew), max: micros(skew + jitter) },
        outages: (0..if one_in(rng, 4) { rng.u32(1..3) } else { 0 }).map(|_| outage(rng)).collect(),
        corrupt: Share::NEVER,
    }
}

/// Brings what was sent into the order of arrival. A line delays, it does not turn its sessions around.
fn arrive(mut sent: Vec<Sent>) -> Vec<Input> {
    let mut last = [(0, Nanos::ZERO); LINES_MAX];
    let mut floor = [Nanos::ZERO; LINES_MAX];
    for one in &mut sent {
        let line = one.line.index();
        if last[line].0 != one.shown.run {
            (floor[line], last[line].0) = (last[line].1, one.shown.run);
        }
        one.due = one.due.max(floor[line]);
        last[line].1 = last[line].1.max(one.due);
    }
    sent.sort_by_key(|one| one.due);
    let start = Nanos::from_secs(1_000);
    let input =
        |one: Sent| Input { stamp: start + one.due, line: one.line, payload: one.bytes, truth: Some(one.shown) };
    sent.into_iter().map(input).collect()
}

/// By how much the latest first copy comes after the first frame that shows more: a gap timeout above loses nothing.
fn lateness(inputs: &[Input]) -> Nanos {
    let mut worst = Nanos::ZERO;
    let mut runs: BTreeMap<usize, BTreeMap<u64, Nanos>> = BTreeMap::new();
    let mut shown: BTreeMap<usize, Vec<(u64, Nanos)>> = BTreeMap::new();
    for input in inputs {
        let Some(truth) = input.truth else { continue };
        let first_copy = runs.entry(truth.run).or_default();
        let marks = shown.entry(truth.run).or_default();
        for n in truth.first..truth.end() {
            if first_copy.insert(n, input.stamp).is_none() {
                let beyond = marks.partition_point(|&(mark, _)| mark <= n);
                if let Some(&(_, since)) = marks.get(beyond) {
                    worst = worst.max(input.stamp - since);
                }
            }
        }
        if marks.last().is_none_or(|&(mark, _)| mark < truth.end()) {
            // a frame that begins above the mark shows what is below it at this moment
            marks.push((truth.end(), input.stamp));
        }
    }
    worst
}

/// Strews forged frames among the inputs, none of which anything bears out.
fn forge<F: Framing>(framing: F, rng: &mut Rng, runs: &[Published], inputs: Vec<Input>) -> Vec<Input> {
    let mut far = 1_000_000_000_000;
    let mut out = Vec::with_capacity(inputs.len() + 32);
    let every = rng.u32(10..200);
    let lines = inputs.iter().map(|input| input.line.0).max().map_or(1, |line| line + 1);
    for input in inputs {
        if one_in(rng, every) {
            let run = input.truth.map_or(0, |shown| shown.run);
            let mut bytes = Vec::new();
            far += 10_000_000;
            match rng.u8(..5) {
                0 => {
                    framing.encode(runs[run].session, far, &[b"forged, far ahead"], 1_400, &mut bytes);
                }
                1 => {
                    framing.encode_heartbeat(runs[run].session, far, &mut bytes);
                }
                2 => {
                    let session = format!("F{:09}", far / 10_000_000 % 1_000_000_000);
                    let first = rng.u64(1..2_000);
                    framing.encode(
                        Session::text(session.as_bytes()),
                        first,
                        &[b"forged, elsewhere"],
                        1_400,
                        &mut bytes,
                    );
                }
                3 => bytes.extend(input.payload.iter().take(rng.usize(..20))),
                _ => {
                    // a request echoed as downstream
                    framing.encode(runs[run].session, rng.u64(1..500), &[b""], 1_400, &mut bytes);
                    bytes.truncate(20);
                }
            }
            let line = Line(rng.u8(..lines));
            // the network duplicates a forgery
            for _ in 0..if rng.bool() { 1 } else { rng.u8(2..4) } {
                out.push(Input { stamp: input.stamp, line, payload: bytes.clone(), truth: None });
            }
        }
        out.push(input);
    }
    out
}

fn verify(rng: &mut Rng) -> Verify {
    [Verify::Off, Verify::PerBillion(rng.u32(1..1_000_000_000)), Verify::All][rng.usize(..3)]
}

/// A MoldUDP64 world.
pub fn moldudp64(seed: u64) -> World {
    let mut rng = Rng::with_seed(seed);
    let lines = if rng.bool() { 2 } else { rng.usize(2..=4) };
    let sessions = if rng.bool() { 1 } else { rng.usize(2..=3) };
    let per_second = [3_000.0, 20_000.0, 100_000.0, 400_000.0][rng.usize(..4)];
    let mut sent = Vec::new();
    let mut runs = Vec::new();
    let mut start = Nanos::ZERO;
    // killed and restarted at once, on lines of much the same length: gaps are still open when the next session comes
    let abrupt = one_in(&mut rng, 3);
    for run in 0..sessions {
        let count = rng.u64(20..if sessions == 1 { 500 } else { 160 });
        let span = Nanos((count as f64 / per_second * 1e9) as u64);
        let line = |rng: &mut Rng| {
            let most = if rng.bool() { 4 } else { 24 };
            let pack_max = rng.u32(1..=most);
            let mut faults = faults(rng, span);
            if abrupt {
                let skew = micros(rng.u64(..50));
                faults.delay = Delay { min: skew, max: skew };
            }
            for outage in &mut faults.outages {
                (outage.from, outage.to) = (outage.from + start, outage.to + start);
            }
            LinePlan { faults, ..LinePlan::packing(rng.u32(1..=pack_max), pack_max) }
        };
        let lines: Vec<LinePlan> = (0..lines).map(|_| line(&mut rng)).collect();
        // heartbeats go on until every line is through with the session
        let linger = if abrupt { Nanos::ZERO } else { micros(rng.u64(8_000..20_000)) };
        let config = PlanConfig {
            session: Session::text(format!("TWIN{run:06}").as_bytes()),
            rate: Rate::per_second(per_second, rng.u32(1..20)).unwrap(),
            lines,
            heartbeat: Some(micros(rng.u64(1_000..6_000))),
            linger,
            end_copies: if rng.bool() && !abrupt { rng.u32(1..4) } else { 0 },
            end_interval: micros(700),
            pack_wait: micros(rng.u64(1..1_000)),
            seed: rng.u64(..),
            start,
            ..PlanConfig::default()
        };
        runs.push(publish(MoldUdp64, config, count, run, &mut sent));
        let pause = if abrupt { 50 } else { 12_000 };
        start = start + span + linger + micros(rng.u64(..pause));
    }
    let mut inputs = arrive(sent);
    let late_start = sessions == 1 && one_in(&mut rng, 4);
    if late_start {
        inputs.drain(..rng.usize(..inputs.len().min(60)));
    }
    let mut settings = Settings::new(MoldUdp64.rules(), (0..lines).map(|_| true).collect(), 1);
    if one_in(&mut rng, 4) {
        settings.wait[lines - 1] = false;
    }
    if one_in(&mut rng, 3) {
        // where a session may be ended by those that still speak, silence is longer than any line is late
        settings.silent_after = Nanos::from_millis(if sessions == 1 { rng.u64(8..40) } else { 40 });
        settings.session_grace = Nanos::from_millis(60);
    }
    let far = one_in(&mut rng, 5);
    if far {
        settings.max_jump = rng.u64(30..80);
    }
    let claim = match rng.u8(..4) {
        0 | 1 => {
            settings.gap_timeout = GapTimeout::After(lateness(&inputs) + Nanos(1) + Nanos(rng.u64(..1_000)));
            Claim::Union
        }
        2 => {
            let fixed = GapTimeout::After(micros(rng.u64(1..3_000)));
            settings.gap_timeout = if rng.bool() { GapTimeout::Auto } else { fixed };
            settings.settle = if rng.bool() { 1_024 } else { rng.u64(..64) };
            Claim::Timely
        }
        _ => {
            settings.gap_timeout = if rng.bool() { GapTimeout::Auto } else { GapTimeout::After(micros(10_000)) };
            settings.settle = if rng.bool() { 1_024 } else { rng.u64(..64) };
            settings.hold_messages = rng.u64(1..100);
            settings.hold_bytes = if rng.bool() { 64 << 20 } else { rng.u64(100..4_000) };
            settings.gaps_max = if rng.bool() { 65_536 } else { rng.usize(1..6) };
            Claim::Tight
        }
    };
    let forged = one_in(&mut rng, 3);
    if forged {
        inputs = forge(MoldUdp64, &mut rng, &runs, inputs);
    }
    settings.verify = verify(&mut rng);
    World { seed, settings, runs, inputs, claim, far, forged, late_start }
}

/// A CME world: no sessions, heartbeats that take numbers, restarts to 1 after a quiet moment, or a wrap.
pub fn cme_mdp3(seed: u64) -> World {
    let mut rng = Rng::with_seed(seed);
    let lines = rng.usize(2..=3);
    let settle = rng.u64(100..120);
    let wraps = one_in(&mut rng, 3);
    let restarts = if wraps { 0 } else { rng.usize(..3) };
    let mut sent = Vec::new();
    let mut runs = Vec::new();
    let mut start = Nanos::ZERO;
    for run in 0..=restarts {
        let count = rng.u64(240..350);
        let per_second = [20_000.0, 100_000.0][rng.usize(..2)];
        let span = Nanos((count as f64 / per_second * 1e9) as u64);
        let line = |rng: &mut Rng| {
            let mut faults = faults(rng, span);
            faults.outages.clear();
            faults.reorder = faults.reorder.map(|reorder| Reorder { behind: 2, ..reorder });
            LinePlan { faults, ..LinePlan::default() }
        };
        let config = PlanConfig {
            first: if wraps { u64::from(u32::MAX) - rng.u64(20..count) } else { 1 },
            rate: Rate::per_second(per_second, rng.u32(1..4)).unwrap(),
            lines: (0..lines).map(|_| line(&mut rng)).collect(),
            heartbeat: Some(micros(rng.u64(500..3_000))),
            linger: micros(8_000),
            end_copies: 0,
            seed: rng.u64(..),
            start,
            ..PlanConfig::default()
        };
        runs.push(publish(CmeMdp3, config, count, run, &mut sent));
        start = sent.iter().map(|one| one.due).max().unwrap() + micros(rng.u64(1..5_000));
    }
    let inputs = arrive(sent);
    let mut settings = Settings::new(CmeMdp3.rules(), vec![true; lines], 1);
    let claim = if rng.bool() {
        settings.gap_timeout = GapTimeout::After(lateness(&inputs) + Nanos(1));
        Claim::Union
    } else {
        settings.gap_timeout = if rng.bool() { GapTimeout::Auto } else { GapTimeout::After(micros(rng.u64(1..500))) };
        Claim::Timely
    };
    // a restart is told from old copies by this
    settings.settle = if restarts > 0 { settle } else { 1_024 };
    settings.verify = verify(&mut rng);
    World { seed, settings, runs, inputs, claim, far: false, forged: false, late_start: false }
}
