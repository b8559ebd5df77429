//! Random input never causes a panic, and every invariant holds. The recording sink checks each call and [`Feed::finish`] the
//! sums. Here are the feeds, and the tests that the list of calls alone decides the outcome (ARBITRATION 1.1, 10).

use super::*;

/// One thing that arrives.
#[derive(Clone, Debug)]
enum Step {
    Frame {
        at: u64,
        line: Line,
        kind: FrameKind,
        numbers: Range<u64>,
        session: &'static str,
        key: Option<u32>,
        reset: Option<Reset>,
        stamp: u8,
        unsequenced: bool,
        altered: bool,
    },
    /// This many messages without content.
    Empty {
        at: u64,
        line: Line,
        first: u64,
        count: usize,
    },
    Wait(u64),
}

impl Step {
    fn at(&self) -> u64 {
        match *self {
            Step::Frame { at, .. } | Step::Empty { at, .. } | Step::Wait(at) => at,
        }
    }
}

const SESSIONS: [&str; 4] = ["S1", "S2", "S3", "S4"];
const FAR: [u64; 8] =
    [1 << 16, 1 << 24, u32::MAX as u64, 1 << 40, 1 << 63, u64::MAX - 70_000, u64::MAX - 200, u64::MAX - 1];

#[derive(Clone, Copy)]
struct Publisher {
    session: usize,
    next: u64,
}

/// A feed with faults of every kind: losses, copies, reordering, jumps, strangers, resets, restarts, ends, silence, forgeries.
fn steps(rng: &mut fastrand::Rng, wire: Wire, lines: u8, count: usize) -> Vec<Step> {
    let mut at = 0;
    let keys = if matches!(wire, Wire::Hand) { rng.u32(1..4) } else { 1 };
    // where each line's publisher is, by channel
    let mut all = vec![[Publisher { session: 0, next: 1 + rng.u64(..3) * 400 }; LINES_MAX + 1]; keys as usize];
    let mut steps: Vec<Step> = Vec::new();
    while steps.len() < count {
        at += match rng.u8(..) {
            0..150 => 0,
            150..220 => rng.u64(..1_000_000),
            220..250 => rng.u64(..30_000_000),
            250..254 => rng.u64(..1_000_000_000),
            _ => rng.u64(..8_000_000_000),
        };
        let key = rng.u32(..keys);
        let publishers = &mut all[key as usize];
        let line = if rng.u8(..) < 8 { R } else { Line(rng.u8(..lines)) };
        let front = publishers.iter().map(|p| p.next).max().unwrap_or(1);
        let own = &mut publishers[line.index()];
        if rng.u8(..) < 2 {
            *own = Publisher { session: rng.usize(..SESSIONS.len()), next: 1 };
        }
        if rng.u8(..) < 6 {
            own.next = front;
        }
        let (mut kind, mut session) = (FrameKind::Data, own.session);
        let (mut reset, mut unsequenced) = (None, false);
        let len = if rng.u8(..) < 4 { rng.u64(1..300) } else { rng.u64(1..6) };
        let mut first = own.next;
        match rng.u8(..) {
            0..140 => own.next = first.saturating_add(len),
            140..165 => {
                // what lies between is lost, or comes later
                first = first.saturating_add(rng.u64(1..30));
                own.next = first.saturating_add(len);
            }
            165..195 => first = first.saturating_sub(rng.u64(..60)).max(1),
            195..215 => kind = FrameKind::Heartbeat,
            215..218 => kind = FrameKind::EndOfSession,
            218..224 => {
                first = first.saturating_add(rng.u64(..3_000));
                own.next = first.saturating_add(len);
            }
            224..226 => first = FAR[rng.usize(..FAR.len())].saturating_add(rng.u64(..40)),
            226..234 => session = rng.usize(..SESSIONS.len()),
            234..238 => {
                (first, reset) = (1, Some(Reset::Marked(1)));
                own.next = 1 + len;
            }
            238..240 => {
                (first, reset) = (700, Some(Reset::Marked(700)));
                own.next = 700 + len;
            }
            240..243 => {
                (first, kind, reset) = (1, FrameKind::Heartbeat, Some(Reset::Heartbeat(1)));
                own.next = 1;
            }
            243..245 => own.next = 1,
            245..248 => unsequenced = true,
            248..250 => {
                steps.push(Step::Wait(at));
                continue;
            }
            250..252 if matches!(wire, Wire::Mold) => {
                steps.push(Step::Empty { at, line, first: own.next, count: rng.usize(1..65_535) });
                continue;
            }
            _ => {
                // the network brings a copy, perhaps on another line
                if let Some(Step::Frame { .. }) = steps.last() {
                    let back = rng.usize(..steps.len().min(20));
                    let mut copy = steps[steps.len() - 1 - back].clone();
                    if let Step::Frame { at: then, line, altered, .. } = &mut copy {
                        *then = at;
                        *altered ^= rng.u8(..) < 60;
                        if rng.bool() {
                            *line = Line(rng.u8(..lines));
                        }
                    }
                    if copy.at() == at {
                        steps.push(copy);
                    }
                }
                continue;
            }
        }
        if matches!(wire, Wire::Cme) {
            // one packet, one number
            (reset, unsequenced) = (None, false);
            own.next = own.next.min(first.saturating_add(1));
            kind = if kind == FrameKind::EndOfSession { FrameKind::Data } else { kind };
        }
        let end = match kind {
            FrameKind::Data => first.saturating_add(if matches!(wire, Wire::Cme) { 1 } else { len }),
            _ => first,
        };
        if kind == FrameKind::Data && first == end {
            continue; // there are no more numbers
        }
        steps.push(Step::Frame {
            at,
            line,
            kind,
            numbers: first..end,
            session: SESSIONS[session],
            key: matches!(wire, Wire::Hand).then_some(key),
            reset: if matches!(wire, Wire::Hand) { reset } else { None },
            stamp: if rng.u8(..) < 30 { rng.u8(..3) } else { 0 },
            unsequenced: unsequenced && matches!(wire, Wire::Hand),
            altered: rng.u8(..) < 20,
        });
    }
    steps
}

fn feed(rng: &mut fastrand::Rng, wire: Wire, lines: u8, small: bool) -> Feed {
    let rules = match wire {
        Wire::Mold => MoldUdp64.rules(),
        Wire::Cme => CmeMdp3.rules(),
        Wire::Hand => SequenceRules { unmarked_restart: rng.bool(), ..HAND },
    };
    let mut f = Feed::new(wire, rules, usize::from(lines), |s| {
        for wait in &mut s.wait {
            *wait = rng.u8(..) < 200;
        }
        if rng.bool() {
            s.gap_timeout = GapTimeout::Auto;
        }
        if rng.u8(..) < 60 {
            s.recovery_timeout = Some(Nanos::from_millis(100));
        }
        s.silent_after = Nanos::from_millis(300);
        s.session_grace = Nanos::from_millis(200);
        (s.settle, s.max_jump) = (1_024, 1_000);
        if small {
            (s.hold_messages, s.settle, s.max_jump, s.gaps_max, s.hold_bytes) = (16, 8, 50, 4, 120);
        }
        s.verify = [Verify::Off, Verify::All, Verify::PerBillion(500_000_000)][rng.usize(..3)];
    });
    f.unit = 1;
    f.record.foreign = !matches!(wire, Wire::Hand);
    f
}

fn apply(f: &mut Feed, step: &Step) {
    match step.clone() {
        Step::Frame { at, line, kind, numbers, session, key, reset, stamp, unsequenced, altered } => {
            f.special = Special { session: Some(session), group: 0, key, reset, unsequenced, stamp, altered };
            f.frame(at, line, kind, numbers);
        }
        Step::Empty { at, line, first, count } => {
            f.now = Nanos(at);
            if first > u64::MAX - 65_535 {
                return;
            }
            let mut bytes = Vec::new();
            let messages: Vec<&[u8]> = vec![b""; count];
            MoldUdp64.encode(Session::text(b"S1        "), first, &messages, usize::MAX, &mut bytes);
            f.datagram(MoldUdp64, line, 0, &bytes);
        }
        Step::Wait(at) => f.wait(at),
    }
}

const WIRES: [Wire; 3] = [Wire::Mold, Wire::Cme, Wire::Hand];

/// A seed's feed, and what arrives on it.
fn scenario(seed: u64, count: usize) -> (Feed, Vec<Step>) {
    let mut rng = fastrand::Rng::with_seed(seed);
    let wire = WIRES[(seed % 3) as usize];
    let lines = rng.u8(1..5);
    let steps = steps(&mut rng, wire, lines, count);
    let small = rng.bool();
    (feed(&mut rng, wire, lines, small), steps)
}

/// Says which seed it was when a test panics.
struct Seed(u64);

impl Drop for Seed {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("seed {}", self.0);
        }
    }
}

#[test]
fn random_feeds_keep_what_must_hold() {
    let mut reached = std::collections::BTreeMap::new();
    for seed in 0..150 {
        let _seed = Seed(seed);
        let (mut f, steps) = scenario(seed, 600);
        for step in &steps {
            apply(&mut f, step);
        }
        f.finish_now();
        for event in &f.record.events {
            let name = match event.kind {
                EventKind::Epoch { .. } => "epoch",
                EventKind::Gap { .. } => "gap",
                EventKind::Filled { .. } => "filled",
                EventKind::Lost { reason, .. } => reason.name(),
                EventKind::Ended { .. } => "ended",
                EventKind::EpochEnd { why, .. } => why.name(),
                EventKind::Line { to, why, .. } => why.map_or(to.name(), LagReason::name),
                EventKind::Divergence { .. } => "divergence",
            };
            *reached.entry(name).or_insert(0) += 1;
        }
    }
    // a test in which nothing happens proves nothing: every kind of event and every reason must have come up
    let reasons = LostReason::ALL.map(LostReason::name);
    let whys = EpochEndReason::ALL.map(EpochEndReason::name);
    let lags = LagReason::ALL.map(LagReason::name);
    let others = ["epoch", "gap", "filled", "ended", "silent", "divergence"];
    for name in reasons.iter().chain(&whys).chain(&lags).chain(&others) {
        assert!(reached.contains_key(name), "{name} was never brought about: {reached:?}");
    }
}

#[test]
fn rule_1_1_the_same_list_cut_anywhere_says_the_same_up_to_the_cut() {
    for seed in 0..40 {
        let _seed = Seed(seed);
        let (mut f, steps) = scenario(seed, 300);
        let mut said = Vec::new();
        for step in &steps {
            apply(&mut f, step);
            said.push((f.record.events.len(), f.record.ordered.to_string(), f.record.first.to_string()));
        }
        let whole = f.record.json();
        for cut in (0..steps.len()).step_by(37) {
            let (mut f, steps) = scenario(seed, 300);
            steps[..=cut].iter().for_each(|step| apply(&mut f, step));
            let (events, ordered, first) = &said[cut];
            assert_eq!(f.record.json(), whole[..*events], "cut at {cut}");
            assert_eq!((&f.record.ordered.to_string(), &f.record.first.to_string()), (ordered, first), "cut at {cut}");
        }
    }
}

/// Whether memory is taken when needed or all at the start makes no difference to what is reported or counted.
#[test]
fn what_memory_was_taken_before_decides_nothing() {
    for seed in 0..60 {
        let _seed = Seed(seed);
        let [little, all] = [false, true].map(|reserve_all| {
            let (mut f, steps) = scenario(seed, 400);
            // only the keys that will come, so that no more channels are prepared than there can be
            let settings = f.arbiter.settings().clone();
            f.arbiter = Arbiter::new(Settings { reserve_all, keys: vec![0, 1, 2], ..settings });
            steps.iter().for_each(|step| apply(&mut f, step));
            f.finish_now();
            f
        });
        assert_eq!(all.record.json(), little.record.json());
        assert_eq!(all.record.ordered.to_string(), little.record.ordered.to_string());
        assert_eq!(all.record.first.to_string(), little.record.first.to_string());
        let reports = |f: &Feed| f.arbiter.channels().collect::<Vec<_>>();
        assert_eq!(reports(&all), reports(&little));
    }
}

#[test]
fn rule_1_3_when_the_clock_is_read_decides_nothing() {
    for seed in 0..60 {
        let _seed = Seed(seed);
        let (mut f, steps) = scenario(seed, 400);
        steps.iter().for_each(|step| apply(&mut f, step));
        f.finish_now();
        let (mut often, _) = scenario(seed, 400);
        let (mut rng, mut before) = (fastrand::Rng::with_seed(seed), 0);
        for step in &steps {
            let mut at = before;
            for _ in 0..rng.u8(..4) {
                at = rng.u64(at..=step.at());
                often.wait(at);
            }
            before = step.at();
            apply(&mut often, step);
        }
        often.finish_now();
        assert_eq!(often.record.json(), f.record.json());
        assert_eq!(often.record.ordered.to_string(), f.record.ordered.to_string());
        let counts = |f: &Feed| f.arbiter.channels().map(|report| report.lines).collect::<Vec<_>>();
        assert_eq!(counts(&often), counts(&f));
    }
}

#[test]
fn rule_7_4_comparing_copies_changes_nothing_else() {
    for seed in 0..60 {
        let _seed = Seed(seed);
        let [off, some, all] = [Verify::Off, Verify::PerBillion(300_000_000), Verify::All].map(|verify| {
            let (mut f, steps) = scenario(seed, 400);
            f.arbiter.settings.verify = verify;
            f.record.verified = verify.is_on();
            steps.iter().for_each(|step| apply(&mut f, step));
            f.finish_now();
            f
        });
        let number = |event: &Event| match event.kind {
            EventKind::Divergence { number, .. } => Some(number),
            _ => None,
        };
        let of = |f: &Feed, chosen: &dyn Fn(&Event) -> bool| -> Vec<Event> {
            f.record.events.iter().filter(|event| chosen(event)).copied().collect()
        };
        let share = some.arbiter.settings().verify;
        let wanted = |event: &Event| number(event).is_none_or(|number| share.chooses(number));
        assert_eq!(of(&some, &|_| true), of(&all, &wanted), "a share says what all say of its numbers");
        assert_eq!(of(&off, &|_| true), of(&all, &|event| number(event).is_none()));
        let counts = |f: &Feed| -> Vec<LineCounts> {
            let lines = f.arbiter.channels().flat_map(|report| report.lines);
            lines.map(|counts| LineCounts { divergent: 0, ..counts }).collect()
        };
        for f in [&some, &all] {
            assert_eq!(f.record.ordered.to_string(), off.record.ordered.to_string());
            assert_eq!(f.record.first.to_string(), off.record.first.to_string());
            assert_eq!(counts(f), counts(&off));
        }
    }
}

#[test]
fn random_bytes_are_refused_or_counted() {
    let mut rng = fastrand::Rng::with_seed(11);
    for wire in [Wire::Mold, Wire::Cme] {
        let mut f = feed(&mut rng, wire, 2, true);
        let mut base = [0; 64];
        for at in 0..20_000 {
            f.now = Nanos(at * 1_000);
            // the last one's bytes with some changed: close enough to agree now and then
            for _ in 0..rng.usize(..4) {
                let place = rng.usize(..base.len());
                base[place] = rng.u8(..);
            }
            let bytes = &base[..rng.usize(..=base.len())];
            let line = Line(rng.u8(..2));
            let frame = match wire {
                Wire::Cme => CmeMdp3.frame(bytes, &mut 0),
                _ => MoldUdp64.frame(bytes, &mut 0),
            };
            if let Some(Ok(frame)) = frame {
                f.arbiter.on_frame(f.now, line, 0, &frame, &mut f.record);
            }
        }
        f.finish_now();
    }
}

/// A forwarder without arbitration must fail the sink's checks, or they would be worth nothing.
#[test]
#[should_panic(expected = "ascending, whole and once")]
fn a_naive_forwarder_fails() {
    let mut record = Record::default();
    record.foreign = true;
    let channel = ChannelRef { index: 0, key: ChannelKey { group: 0, key: None } };
    let session = Session::NONE;
    let kind = EventKind::Epoch { session, first: SeqNo(1) };
    record.event(&Event { at: Nanos(0), channel, kind });
    for (first, line) in [(1, A), (1, B)] {
        record.release(&Run {
            channel,
            session,
            first: SeqNo(first),
            count: 1,
            line,
            stamp: Nanos(0),
            flags: RunFlags::default(),
            packing: Packing::WHOLE,
            body: b"m",
        });
    }
}
