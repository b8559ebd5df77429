//! Plans, as a simulation drives them.

use std::collections::BTreeMap;

use twinline_core::Nanos;
use twinline_core::frame::{FrameKind, Line, Session};
use twinline_core::framing::{CmeMdp3, Framing, MoldUdp64};
use twinline_node::fault::{BurstLoss, Delay, DropCause, Faults, Outage, Reorder, Share};
use twinline_node::publisher::{
    LinePlan, Listed, MadeUp, MessageSource, Plan, PlanConfig, PlanError, PlanStep, Planned, Rate, Timing, Truth,
};

/// A [`Planned`] that owns its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Sent {
    due: Nanos,
    line: u8,
    group: u16,
    kind: FrameKind,
    first: u64,
    count: u32,
    dropped: Option<DropCause>,
    corrupted: bool,
    copy: bool,
    bytes: Vec<u8>,
}

impl Sent {
    fn new(p: &Planned<'_>) -> Sent {
        Sent {
            due: p.due,
            line: p.line.0,
            group: p.group,
            kind: p.kind,
            first: p.first,
            count: p.count,
            dropped: p.dropped,
            corrupted: p.corrupted,
            copy: p.copy,
            bytes: p.bytes.to_vec(),
        }
    }
}

fn session() -> Session {
    Session::text(b"TWIN000001")
}

fn config(lines: Vec<LinePlan>) -> PlanConfig {
    let rate = Rate::per_second(100_000.0, 4).unwrap();
    PlanConfig { session: session(), rate, lines, seed: 5, ..PlanConfig::default() }
}

fn faulty(faults: Faults) -> LinePlan {
    LinePlan { faults, ..LinePlan::packing(1, 10) }
}

fn percent(percent: f64) -> Share {
    Share::percent(percent).unwrap()
}

fn run<F: Framing, S: MessageSource>(framing: F, config: PlanConfig, source: S) -> (Vec<Sent>, Truth, Plan<F, S>) {
    let mut plan = Plan::new(framing, config, source).unwrap();
    let mut truth = plan.truth();
    let mut all: Vec<Sent> = Vec::new();
    while let Some(planned) = plan.next_planned().unwrap() {
        truth.record(&planned, planned.dropped.is_none());
        all.push(Sent::new(&planned));
    }
    assert!(all.is_sorted_by_key(|sent| sent.due), "due times ascend");
    assert_eq!((plan.under_way(), truth.unsettled()), (0, 0));
    (all, truth, plan)
}

fn mold(config: PlanConfig, messages: u64) -> (Vec<Sent>, Truth, Plan<MoldUdp64, MadeUp>) {
    run(MoldUdp64, config, MadeUp::new(Some(messages), None, 9))
}

/// The messages of one line by number, read back from the datagrams that were sent.
fn read_back<F: Framing>(framing: F, all: &[Sent], line: u8) -> BTreeMap<u64, Vec<u8>> {
    let mut read = BTreeMap::new();
    for sent in all.iter().filter(|s| s.line == line && s.dropped.is_none()) {
        let frame = framing.frame(&sent.bytes, &mut 0).unwrap().unwrap();
        for (n, message) in frame.packing.messages(frame.body).take(frame.count as usize).enumerate() {
            let before = read.insert(frame.sequence + n as u64, message.to_vec());
            assert!(before.is_none_or(|before| before == message), "a number means one message");
        }
    }
    read
}

fn everything() -> Faults {
    Faults {
        loss: percent(2.0),
        burst_loss: Some(BurstLoss { enter: percent(0.5), mean: 4.0 }),
        duplicate: percent(3.0),
        reorder: Some(Reorder { share: percent(5.0), behind: 3 }),
        delay: Delay { min: Nanos::from_micros(100), max: Nanos::from_micros(400) },
        outages: vec![Outage { from: Nanos::from_millis(20), to: Nanos::from_millis(25) }],
        corrupt: percent(1.0),
    }
}

#[test]
fn the_same_seed_plans_the_same_to_the_byte() {
    let plan = |seed| mold(PlanConfig { seed, ..config(vec![faulty(everything()); 2]) }, 5_000).0;
    assert_eq!(plan(1), plan(1));
    assert_ne!(plan(1), plan(2));
}

#[test]
fn lines_pack_in_their_own_way_and_carry_the_same() {
    let (all, truth, _) = mold(config(vec![LinePlan::packing(1, 10), LinePlan::packing(1, 4)]), 10_000);
    let (a, b) = (read_back(MoldUdp64, &all, 0), read_back(MoldUdp64, &all, 1));
    assert_eq!(a, b);
    assert_eq!(a.keys().copied().collect::<Vec<_>>(), (1..=10_000).collect::<Vec<_>>());
    for (n, message) in &a {
        assert_eq!(MadeUp::check(message), Some(n - 1));
    }
    let sizes =
        |line| all.iter().filter(|s| s.line == line && s.kind == FrameKind::Data).map(|s| s.count).collect::<Vec<_>>();
    let (a, b) = (sizes(0), sizes(1));
    assert_eq!((a.iter().min(), a.iter().max()), (Some(&1), Some(&10)));
    assert_eq!((b.iter().min(), b.iter().max()), (Some(&1), Some(&4)));
    assert_eq!((truth.numbers(), truth.lost()), (10_000, 0));
}

#[test]
fn a_datagram_is_no_longer_than_it_may_be() {
    let config = PlanConfig { max_len: 300, ..config(vec![LinePlan::packing(60, 60), LinePlan::packing(1, 1)]) };
    let (all, ..) = mold(config, 2_000);
    assert!(all.iter().all(|sent| sent.bytes.len() <= 300));
    let full = all.iter().filter(|s| s.line == 0 && s.bytes.len() > 240).count();
    assert!(full > 150, "{full} nearly full datagrams");
    assert_eq!(read_back(MoldUdp64, &all, 0).len(), 2_000);
}

#[test]
fn a_message_waits_for_others_only_so_long() {
    let rate = Rate::per_second(100.0, 1).unwrap();
    let (all, ..) = mold(PlanConfig { rate, ..config(vec![LinePlan::packing(8, 8)]) }, 3);
    let data: Vec<_> = all.iter().filter(|s| s.kind == FrameKind::Data).map(|s| (s.due, s.first, s.count)).collect();
    assert_eq!(data, [(Nanos::from_millis(1), 1, 1), (Nanos::from_millis(11), 2, 1), (Nanos::from_millis(20), 3, 1)]);
}

#[test]
fn a_steady_rate_does_not_drift() {
    let rate = Rate::per_second(3_000_000.0, 3).unwrap();
    let config = PlanConfig { rate, end_copies: 0, ..config(vec![LinePlan::default()]) };
    let (all, ..) = mold(config, 300_000);
    assert_eq!(all[3].due, Nanos(1_000));
    assert_eq!(all.last().unwrap().due, Nanos(99_999_000));
}

#[test]
fn recorded_messages_keep_their_times() {
    let source = Listed::recorded([(Nanos(0), b"a"), (Nanos(700), b"b"), (Nanos(600), b"c"), (Nanos(9_000), b"d")]);
    let config = PlanConfig { rate: Rate::Recorded, end_copies: 0, ..config(vec![LinePlan::default()]) };
    let dues: Vec<u64> = run(MoldUdp64, config.clone(), source).0.iter().map(|s| s.due.0).collect();
    assert_eq!(dues, [0, 700, 700, 9_000]);
    let mut plan = Plan::new(MoldUdp64, config, Listed::new([b"a"])).unwrap();
    assert!(matches!(plan.next_planned(), Err(PlanError::NoTimes)));
}

#[test]
fn losses_are_as_often_as_was_said_and_the_truth_knows_them() {
    let faults = Faults { loss: percent(2.0), ..Faults::default() };
    let line = LinePlan { faults, ..LinePlan::default() };
    let (all, truth, plan) = mold(config(vec![line; 2]), 50_000);
    for line in [0, 1] {
        let read = read_back(MoldUdp64, &all, line);
        let lost = truth.lost_on(Line(line));
        // 1,000 to be expected, four standard deviations of a binomial
        assert!(lost.abs_diff(1_000) < 126, "{lost} of 50,000");
        assert_eq!(50_000 - read.len() as u64, lost);
        let counts = plan.counts(Line(line));
        assert_eq!(
            counts.lost,
            all.iter().filter(|s| s.line == line && s.dropped == Some(DropCause::Loss)).count() as u64
        );
    }
    let (a, b) = (read_back(MoldUdp64, &all, 0), read_back(MoldUdp64, &all, 1));
    let lost: Vec<u64> = (1..=50_000).filter(|n| !a.contains_key(n) && !b.contains_key(n)).collect();
    assert!(!lost.is_empty());
    let told: Vec<u64> = truth.lost_ranges().iter().flat_map(|r| r.numbers.first.0..r.numbers.end.0).collect();
    assert_eq!((told, truth.lost()), (lost.clone(), lost.len() as u64));
}

#[test]
fn the_truth_holds_under_every_fault_at_once() {
    for seed in 0..20 {
        let faults = Faults { corrupt: Share::NEVER, ..everything() };
        let config = PlanConfig { seed, ..config(vec![faulty(faults); 3]) };
        let (all, truth, _) = mold(config, 3_000);
        let read: Vec<_> = (0..3).map(|line| read_back(MoldUdp64, &all, line)).collect();
        for (line, read) in read.iter().enumerate() {
            assert_eq!(truth.lost_on(Line(line as u8)), 3_000 - read.len() as u64, "seed {seed}");
        }
        let lost = (1..=3_000).filter(|n| read.iter().all(|read| !read.contains_key(n))).count();
        assert_eq!((truth.numbers(), truth.lost()), (3_000, lost as u64), "seed {seed}");
    }
}

#[test]
fn an_outage_drops_exactly_what_is_due_in_it() {
    let (from, to) = (Nanos::from_millis(10), Nanos::from_millis(30));
    let delay = Delay { min: Nanos::from_micros(50), max: Nanos::from_micros(90) };
    let reorder = Some(Reorder { share: percent(5.0), behind: 4 });
    let faults = Faults { outages: vec![Outage { from, to }], delay, reorder, ..Faults::default() };
    let (all, truth, plan) = mold(config(vec![faulty(faults), LinePlan::default()]), 5_000);
    for sent in &all {
        let out = sent.line == 0 && from <= sent.due && sent.due < to;
        assert_eq!(sent.dropped, out.then_some(DropCause::Outage), "{:?}", sent.due);
    }
    assert!(truth.lost_on(Line(0)) > 1_900 && truth.lost_on(Line(1)) == 0 && truth.lost() == 0);
    assert!(plan.counts(Line(0)).lost_in_outages > 300);
}

#[test]
fn the_reordered_are_overtaken_by_as_many_as_was_said() {
    let faults = Faults { reorder: Some(Reorder { share: percent(2.0), behind: 3 }), ..Faults::default() };
    let (all, _, plan) = mold(config(vec![LinePlan { faults, ..LinePlan::default() }]), 10_000);
    let firsts: Vec<u64> = all.iter().filter(|s| s.kind == FrameKind::Data).map(|s| s.first).collect();
    let late: Vec<usize> =
        (0..firsts.len()).map(|at| firsts[..at].iter().filter(|&&before| before > firsts[at]).count()).collect();
    let odd: Vec<usize> = (0..late.len() - 3).filter(|&at| late[at] != 0 && late[at] != 3).collect();
    assert!(odd.is_empty() && late.iter().all(|&by| by <= 3), "{odd:?}");
    let reordered = late.iter().filter(|&&by| by > 0).count() as u64;
    assert_eq!(plan.counts(Line(0)).reordered, reordered);
    assert!(reordered.abs_diff(200) < 60, "{reordered} of 10,000");
    assert_eq!(read_back(MoldUdp64, &all, 0).len(), 10_000);
}

#[test]
fn a_line_that_reorders_everything_still_sends_everything() {
    let faults = Faults { reorder: Some(Reorder { share: Share::ALWAYS, behind: 3 }), ..Faults::default() };
    let (all, truth, _) = mold(config(vec![LinePlan { faults, ..LinePlan::default() }]), 1_000);
    assert_eq!((read_back(MoldUdp64, &all, 0).len(), truth.lost()), (1_000, 0));
    assert!(all[0].due < Nanos::from_millis(1), "and does not keep it all to the end");
}

#[test]
fn duplicates_come_right_behind_and_corrupt_ones_differ_in_one_byte() {
    let clean = mold(config(vec![LinePlan::default()]), 5_000).0;
    let faults = Faults { duplicate: percent(5.0), corrupt: percent(5.0), ..Faults::default() };
    let (all, truth, plan) = mold(config(vec![LinePlan { faults, ..LinePlan::default() }]), 5_000);
    let counts = plan.counts(Line(0));
    for pair in all.windows(2).filter(|pair| pair[1].copy) {
        assert_eq!(Sent { copy: true, ..pair[0].clone() }, pair[1]);
    }
    assert_eq!(counts.duplicated, all.iter().filter(|s| s.copy).count() as u64);
    let once: Vec<_> = all.iter().filter(|s| !s.copy).collect();
    assert_eq!(once.len(), clean.len());
    for (sent, clean) in once.iter().zip(&clean) {
        let differ = sent.bytes.iter().zip(&clean.bytes).filter(|(a, b)| a != b).count();
        assert_eq!((differ, sent.bytes.len()), (usize::from(sent.corrupted), clean.bytes.len()));
    }
    assert!(counts.duplicated.abs_diff(250) < 62 && counts.corrupted.abs_diff(250) < 62, "{counts:?}");
    assert_eq!(truth.corrupt(), once.iter().filter(|s| s.corrupted && s.count == 1).count() as u64);
}

#[test]
fn a_delay_is_a_skew_and_does_not_reorder() {
    let delay = Delay { min: Nanos::from_micros(200), max: Nanos::from_micros(900) };
    let late = LinePlan { faults: Faults { delay, ..Faults::default() }, ..LinePlan::default() };
    let (all, ..) = mold(config(vec![LinePlan::default(), late]), 5_000);
    let of = |line| all.iter().filter(move |s| s.line == line && s.kind == FrameKind::Data);
    assert!(of(1).is_sorted_by_key(|s| s.first));
    for (a, b) in of(0).zip(of(1)) {
        assert!(b.due - a.due >= delay.min && b.due - a.due <= delay.max, "{} {}", a.due, b.due);
    }
}

#[test]
fn what_is_under_way_is_bounded() {
    let delay = Delay { min: Nanos::from_secs(2), max: Nanos::from_secs(2) };
    let late = LinePlan { faults: Faults { delay, ..Faults::default() }, ..LinePlan::default() };
    let mut plan =
        Plan::new(MoldUdp64, config(vec![LinePlan::default(), late]), MadeUp::new(Some(100_000), None, 1)).unwrap();
    let (mut most, mut last, mut numbers) = (0, Nanos::ZERO, 0);
    while let Some(planned) = plan.next_planned().unwrap() {
        assert!(planned.due >= last);
        last = planned.due;
        numbers += u64::from(planned.count);
        most = most.max(plan.under_way());
    }
    assert!((60_000..=65_536 + 8).contains(&most), "{most} at once");
    assert_eq!(numbers, 200_000);
    assert!(plan.counts(Line(1)).hurried > 30_000 && plan.counts(Line(0)).hurried == 0);
}

#[test]
fn an_idle_group_beats_with_the_next_number() {
    let source = Listed::recorded([(Nanos(0), b"a"), (Nanos(5), b"b"), (Nanos::from_millis(3_500), b"c")]);
    let config = PlanConfig {
        rate: Rate::Recorded,
        first: 40,
        linger: Nanos::from_millis(1_200),
        end_copies: 2,
        ..config(vec![LinePlan::packing(2, 2), LinePlan::packing(1, 1)])
    };
    let all = run(MoldUdp64, config, source).0;
    for line in [0, 1] {
        let seen: Vec<_> = all
            .iter()
            .filter(|s| s.line == line && s.kind != FrameKind::Data)
            .map(|s| (s.kind, s.due.0 / 1_000_000, s.first, s.count))
            .collect();
        let beat = |at, next| (FrameKind::Heartbeat, at, next, 0);
        let end = |at| (FrameKind::EndOfSession, at, 43, 0);
        assert_eq!(seen, [beat(1_000, 42), beat(2_000, 42), beat(3_000, 42), beat(4_500, 43), end(4_700), end(4_720)]);
    }
    for sent in all.iter().filter(|s| s.kind != FrameKind::Data) {
        let frame = MoldUdp64.frame(&sent.bytes, &mut 0).unwrap().unwrap();
        assert_eq!((frame.kind, frame.sequence, frame.session), (sent.kind, sent.first, session()));
    }
}

#[test]
fn a_heartbeat_that_consumes_a_number_does_so_on_all_lines() {
    let second = Nanos::from_secs(65);
    let source = Listed::recorded([(Nanos(0), b"a"), (second, b"b"), (second, b"c")]);
    let loss = Faults { loss: percent(30.0), ..Faults::default() };
    let lines = vec![LinePlan::default(), LinePlan { faults: loss, ..LinePlan::default() }];
    let config = PlanConfig { rate: Rate::Recorded, session: Session::NONE, ..config(lines) };
    let (all, truth, _) = run(CmeMdp3, config, source);
    for line in [0, 1] {
        let seen: Vec<_> = all.iter().filter(|s| s.line == line).map(|s| (s.kind, s.first, s.count)).collect();
        let data = |n| (FrameKind::Data, n, 1);
        let beat = |n| (FrameKind::Heartbeat, n, 1);
        // and no end of session: CME has none
        assert_eq!(seen, [data(1), beat(2), beat(3), data(4), data(5)]);
    }
    assert_eq!(read_back(CmeMdp3, &all, 0)[&4], b"b");
    assert_eq!(truth.numbers(), 5);
}

#[test]
fn groups_are_sequences_of_their_own() {
    let config = PlanConfig { groups: 1..4, ..config(vec![LinePlan::packing(1, 5); 2]) };
    let (all, truth, _) = mold(config, 3_000);
    for group in 1..4 {
        let of: Vec<Sent> = all.iter().filter(|s| s.group == group).cloned().collect();
        let (a, b) = (read_back(MoldUdp64, &of, 0), read_back(MoldUdp64, &of, 1));
        assert_eq!((a.len(), &a), (1_000, &b));
        assert!(of.iter().any(|s| s.kind == FrameKind::EndOfSession && s.first == 1_001));
    }
    assert_eq!(truth.numbers(), 3_000);
}

#[test]
fn one_plan_follows_another_with_a_new_session() {
    let (first, _, plan) = mold(config(vec![LinePlan::default(); 2]), 100);
    let next = PlanConfig { session: Session::text(b"TWIN000002"), start: plan.last_due(), ..plan.config().clone() };
    let second = mold(next, 100).0;
    assert!(first.last().unwrap().due <= second[0].due);
    let frame = MoldUdp64.frame(&second[0].bytes, &mut 0).unwrap().unwrap();
    assert_eq!((frame.sequence, frame.session.to_string()), (1, "TWIN000002".to_owned()));
}

#[test]
fn a_limit_ends_the_messages_in_time() {
    let config = PlanConfig { limit: Some(Nanos::from_millis(10)), ..config(vec![LinePlan::default()]) };
    let (all, ..) = run(MoldUdp64, config, MadeUp::new(None, None, 1));
    assert_eq!(all.iter().filter(|s| s.kind == FrameKind::Data).count(), 1_000);
    let end = all.iter().find(|s| s.kind == FrameKind::EndOfSession).unwrap();
    assert_eq!((end.due, end.first), (Nanos::from_millis(10), 1_001));
}

/// A live source: what it has is there from a time on.
struct Live(Vec<(Nanos, &'static [u8])>, std::rc::Rc<std::cell::Cell<Nanos>>);

impl MessageSource for Live {
    fn next(&mut self, message: &mut Vec<u8>) -> std::io::Result<Option<Timing>> {
        match self.0.first() {
            None => Ok(None),
            Some((from, _)) if *from > self.1.get() => Err(std::io::ErrorKind::WouldBlock.into()),
            Some(_) => {
                *message = self.0.remove(0).1.to_vec();
                Ok(Some(Timing::Untimed))
            }
        }
    }
}

#[test]
fn a_live_source_keeps_nobody_waiting() {
    let now = std::rc::Rc::new(std::cell::Cell::new(Nanos::ZERO));
    let said = vec![(Nanos::from_millis(2_500), b"one".as_slice()), (Nanos::from_millis(2_600), b"two")];
    let config = PlanConfig { rate: Rate::Max, end_copies: 1, ..config(vec![LinePlan::packing(4, 4)]) };
    let mut plan = Plan::new(MoldUdp64, config, Live(said, now.clone())).unwrap();
    let mut seen = Vec::new();
    loop {
        match plan.step(now.get()).unwrap() {
            PlanStep::Datagram(p) => seen.push((p.kind, p.due.0 / 1_000_000, p.first, p.count)),
            PlanStep::Idle(until) => {
                assert!(until > now.get(), "no standing still");
                now.set(until);
            }
            PlanStep::Ended => break,
        }
    }
    assert_eq!(
        seen,
        [
            (FrameKind::Heartbeat, 1_000, 1, 0),
            (FrameKind::Heartbeat, 2_000, 1, 0),
            (FrameKind::Data, 2_501, 1, 1),
            (FrameKind::Data, 2_600, 2, 1),
            (FrameKind::EndOfSession, 2_600, 3, 0)
        ]
    );
}

#[test]
fn a_plan_that_is_told_to_finish_ends_its_session() {
    let rate = Rate::per_second(1.0, 1).unwrap();
    let config = PlanConfig { rate, linger: Nanos::from_secs(60), ..config(vec![LinePlan::packing(3, 3)]) };
    let mut plan = Plan::new(MoldUdp64, config, MadeUp::new(None, None, 1)).unwrap();
    let (mut now, mut seen) = (Nanos::ZERO, Vec::new());
    loop {
        if now >= Nanos::from_millis(1_500) {
            plan.finish(now);
        }
        match plan.step(now).unwrap() {
            PlanStep::Datagram(p) => seen.push((p.kind, p.due, p.first)),
            PlanStep::Idle(until) => now = until,
            PlanStep::Ended => break,
        }
    }
    let ends: Vec<_> = seen.iter().filter(|s| s.0 == FrameKind::EndOfSession).collect();
    assert_eq!((seen.len() - ends.len(), ends.len()), (2, 5));
    assert!(ends.iter().all(|end| end.2 == 3 && end.1 < Nanos::from_millis(2_100)), "{ends:?}");
}

#[test]
fn what_cannot_be_is_refused() {
    let refused = |config| Plan::new(MoldUdp64, config, Listed::default()).err().map(|e| e.to_string()).unwrap();
    assert!(refused(config(vec![])).contains("1 to 8 lines, not 0"));
    assert!(refused(config(vec![LinePlan::default(); 9])).contains("not 9"));
    assert!(refused(config(vec![LinePlan::packing(3, 2)])).contains("not 3..2"));
    assert!(refused(PlanConfig { groups: 2..2, ..config(vec![LinePlan::default()]) }).contains("a group"));
    assert!(refused(PlanConfig { first: 0, ..config(vec![LinePlan::default()]) }).contains("1 or more"));
    let cme = Plan::new(CmeMdp3, config(vec![LinePlan::packing(1, 2)]), Listed::default()).err().unwrap();
    assert!(cme.to_string().starts_with("cme-mdp3 numbers packets"));
}
