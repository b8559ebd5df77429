//! Scenarios, with the exact numbers that come of them; and random ones, held against the arbiter's own counters.

use super::*;
use twinline_core::arbiter::{Arbiter, GapTimeout, LineState, LostReason, Settings};
use twinline_core::framing::{Framing, MoldUdp64};

const A: Line = Line(0);
const B: Line = Line(1);
const MS: u64 = 1_000_000;

/// An arbiter with what is gathered of it.
struct Bed {
    arbiter: Arbiter,
    quality: Quality,
}

impl Bed {
    fn new(lines: usize, change: impl FnOnce(&mut Settings)) -> Bed {
        let mut settings = Settings::new(MoldUdp64.rules(), vec![true; lines], 1);
        settings.gap_timeout = GapTimeout::After(Nanos::from_millis(10));
        change(&mut settings);
        let arbiter = Arbiter::new(settings);
        let quality = Quality::new(lines, arbiter.settings().settle);
        Bed { arbiter, quality }
    }

    /// A datagram with the messages `[first, end)`, of a byte each; a heartbeat if there is none.
    fn came(&mut self, stamp: u64, line: Line, session: &[u8], first: u64, end: u64) {
        let messages = vec![b"x".as_slice(); (end - first) as usize];
        let (mut datagram, session) = (Vec::new(), Session::text(session));
        if messages.is_empty() {
            MoldUdp64.encode_heartbeat(session, first, &mut datagram);
        } else {
            MoldUdp64.encode(session, first, &messages, 9_000, &mut datagram);
        }
        let frame = MoldUdp64.frame(&datagram, &mut 0).unwrap().unwrap();
        let stamp = Nanos(stamp);
        self.arbiter.advance(stamp, &mut self.quality);
        self.quality.datagram(stamp, line, datagram.len(), frame.count.into());
        self.arbiter.on_frame(stamp, line, 0, &frame, &mut self.quality);
    }

    fn finish(&mut self, stamp: u64) -> &Quality {
        self.arbiter.finish(Nanos(stamp), &mut self.quality);
        self.quality.finish(Nanos(stamp));
        &self.quality
    }

    /// What the arbiter counts of a line: missing, and leads by who came later.
    fn counted(&self, line: Line) -> u64 {
        self.arbiter.channels().map(|channel| channel.lines[line.index()].missing).sum()
    }
}

fn bursts(quality: &Quality, line: Line) -> Vec<(u64, u64, u64)> {
    let burst = |burst: &Burst| (burst.hole.range.first.0, burst.hole.range.end.0, burst.hole.at.0);
    quality.line(line).bursts.iter().map(burst).collect()
}

#[test]
fn losses_are_told_by_line_with_their_time_and_their_fate() {
    let mut bed = Bed::new(2, |_| {});
    bed.came(100, A, b"S", 1, 11);
    bed.came(200, B, b"S", 1, 11);
    // A loses 11 to 13, B loses 12 to 15
    bed.came(MS, A, b"S", 14, 17);
    bed.came(MS + 70, B, b"S", 11, 12);
    bed.came(MS + 80, B, b"S", 16, 17);
    bed.came(40 * MS, A, b"S", 17, 18);
    let quality = bed.finish(50 * MS);
    assert_eq!(bursts(quality, A), [(11, 14, MS)]);
    assert_eq!(bursts(quality, B), [(12, 16, MS + 80)]);
    assert_eq!((quality.line(A).missing, quality.line(B).missing), (3, 4));
    assert_eq!((quality.expected(A), quality.expected(B)), (17, 16));
    let gaps = quality.gaps();
    assert_eq!((gaps.opened.pieces, gaps.opened.numbers), (1, 3));
    assert_eq!((gaps.filled[B.index()].pieces, gaps.filled[B.index()].numbers), (1, 1));
    assert_eq!(gaps.filled[B.index()].longest, Nanos(70));
    let deadline = gaps.lost[LostReason::Deadline as usize];
    assert_eq!((deadline.pieces, deadline.numbers, deadline.longest), (1, 2, Nanos(10 * MS)));
    let lost = gaps.lost_listed.iter().next().unwrap();
    assert_eq!((lost.range.first.0, lost.range.end.0, lost.opened_at.0, lost.closed_at.0), (12, 14, MS, 11 * MS));
    // A was 100 ns ahead with ten, 80 ns with number 16
    let ahead = quality.leads().pair(A, B).unwrap();
    assert_eq!((ahead.len(), ahead.min(), ahead.max()), (11, 80, 100));
    assert!(quality.leads().pair(B, A).is_none());
    // what was held behind the loss came out at its deadline, not with the next datagram
    let stream = quality.stream();
    assert_eq!(stream.total.messages, 15);
    let cells = quality.moments().cells();
    let width = quality.moments().width().0;
    let cell = |at: u64| &cells[((at - 100) / width) as usize];
    assert_eq!((cell(11 * MS).stream.amount.messages, cell(40 * MS).stream.amount.messages), (3, 1));
    assert_eq!((cell(MS).stream.missing, cell(MS).filled[B.index()]), (2, 1));
    assert_eq!((cell(MS).lines[0].missing, cell(MS).lines[1].missing), (3, 4));
}

#[test]
fn microbursts_of_a_line_and_of_the_stream_are_at_their_own_times() {
    let mut bed = Bed::new(2, |_| {});
    bed.came(0, A, b"S", 1, 2);
    bed.came(5, B, b"S", 1, 2);
    bed.came(20_000, A, b"S", 2, 32);
    bed.came(25_000, A, b"S", 32, 42);
    bed.came(31_000, A, b"S", 42, 43);
    let quality = bed.finish(MS);
    let [ms, hundred, ten] = quality.line(A).peaks.windows();
    assert_eq!((ten.messages.amount, ten.messages.at.0), (40, 20_000));
    assert_eq!((ms.messages.amount, ms.messages.at.0), (42, 0));
    assert_eq!((hundred.datagrams.amount, hundred.datagrams.at.0), (4, 0));
    assert_eq!(quality.line(B).peaks.windows()[0].messages.amount, 1);
    let [_, _, ten] = quality.stream().peaks.windows();
    assert_eq!((ten.messages.amount, ten.messages.at.0), (40, 20_000));
    assert_eq!(ten.bytes.amount, 40 * 3, "a message of a byte behind its length");
}

#[test]
fn a_new_session_closes_the_accounts_of_the_old_one() {
    let mut bed = Bed::new(2, |_| {});
    for line in [A, B] {
        bed.came(100, line, b"ONE", 1, 5);
    }
    bed.came(200, A, b"ONE", 7, 9);
    for (n, line) in [A, B, A, B].into_iter().enumerate() {
        bed.came(300 + n as u64, line, b"TWO", 1 + n as u64 / 2 * 4, 5 + n as u64 / 2 * 4);
    }
    bed.came(400, B, b"TWO", 11, 12);
    let quality = bed.finish(500);
    assert_eq!(bursts(quality, A), [(5, 7, 200)]);
    assert_eq!(bursts(quality, B), [(9, 11, 400)], "of the first session it owes nothing: it had not gone past it");
    assert_eq!((quality.expected(A), quality.expected(B)), (16, 15));
    let (epochs, omitted) = quality.epochs();
    let kinds: Vec<bool> = epochs.iter().map(|mark| matches!(mark.event.kind, EventKind::Epoch { .. })).collect();
    assert_eq!((kinds, omitted), (vec![true, false, true], 0));
    assert_eq!(quality.leads().pair(A, B).unwrap().len(), 12);
    assert_eq!(quality.gaps().lost[LostReason::Epoch as usize].numbers, 2);
}

#[test]
fn states_are_told_with_how_long_they_were() {
    let mut bed = Bed::new(2, |settings| settings.silent_after = Nanos(10 * MS));
    for n in 0..40u64 {
        bed.came(n * MS, A, b"S", 1 + n, 2 + n);
        if !(5..25).contains(&n) {
            bed.came(n * MS + 9, B, b"S", 1 + n, 2 + n);
        }
    }
    let quality = bed.finish(40 * MS);
    let (changes, omitted) = quality.changes();
    let of_b = changes.iter().filter(|change| change.line == B);
    let of_b: Vec<(u64, LineState)> = of_b.map(|change| (change.at.0, change.to)).collect();
    let expected = [(MS, LineState::Up), (14 * MS + 9, LineState::Silent), (25 * MS + 9, LineState::Up)];
    assert_eq!(of_b[1..], expected[1..]);
    assert_eq!(omitted, 0);
    let channel = changes[0].channel;
    let (expected, states) = quality.of_channel(channel, B).unwrap();
    assert_eq!((expected, states.spent(B)[LineState::Silent as usize]), (40, Nanos(11 * MS)));
    assert_eq!(quality.line(B).missing, 20);
    let silence = quality.silences().line(B).unwrap().listed.iter().next().unwrap();
    assert_eq!((silence.from.0, silence.to.0, silence.others), (4 * MS + 9, 25 * MS + 9, 21));
}

/// Three lines that lose, repeat, reorder, jump, stop, and change session; what is gathered must equal what the arbiter counts.
#[test]
fn losses_and_leads_agree_with_the_arbiters_counters() {
    let (mut missing, mut leads, mut sessions) = (0, 0, 0);
    for seed in 0..40 {
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut bed = Bed::new(3, |settings| {
            settings.silent_after = Nanos(20 * MS);
            settings.session_grace = Nanos(20 * MS);
            settings.settle = [0, 100, 6_000][seed as usize % 3];
        });
        // by line: what is still to come, as (due, session, first, end)
        let mut queue: Vec<(u64, u8, &[u8], u64, u64)> = Vec::new();
        let (mut now, mut next, mut session) = (1_000, 1, 0);
        const SESSIONS: [&[u8]; 4] = [b"MON", b"TUE", b"WED", b"THU"];
        for _ in 0..600 {
            now += rng.u64(..200_000);
            if rng.u16(..) < 160 && session + 1 < SESSIONS.len() {
                (session, next) = (session + 1, 1);
                now += 30 * MS;
            }
            if rng.u8(..) < 4 {
                next += rng.u64(..5_000);
            }
            let end = next + rng.u64(1..12);
            for line in 0..3u8 {
                if rng.u8(..) < 40 {
                    continue;
                }
                let due = now + u64::from(line) * 3_000 + if rng.u8(..) < 20 { rng.u64(..2 * MS) } else { 0 };
                let copies = 1 + u64::from(rng.u8(..) < 10);
                let first = if rng.u8(..) < 10 { end } else { next };
                queue.extend((0..copies).map(|copy| (due + copy * 500, line, SESSIONS[session], first, end)));
            }
            next = end;
        }
        queue.sort_unstable();
        for (due, line, session, first, end) in queue {
            bed.came(due, Line(line), session, first, end);
        }
        bed.finish(now + 90 * MS);
        for line in 0..3 {
            let of_line = bed.quality.line(Line(line));
            assert_eq!(of_line.missing, bed.counted(Line(line)), "seed {seed}, line {line}");
            let lengths: u64 = of_line.lengths.numbers.iter().sum();
            let cells: u64 =
                bed.quality.moments().cells().iter().map(|cell| cell.lines[usize::from(line)].missing).sum();
            assert_eq!((lengths, cells), (of_line.missing, of_line.missing), "seed {seed}, line {line}");
            missing += of_line.missing;
            for later in 0..3 {
                let key = bed.arbiter.channels().next().unwrap().channel.key;
                let counted = bed.arbiter.lead(key, Line(line), Line(later)).map_or(0, |lead| lead.len());
                let gathered = bed.quality.leads().pair(Line(line), Line(later)).map_or(0, |lead| lead.len());
                assert_eq!(gathered, counted, "seed {seed}, {line} before {later}");
                leads += gathered;
            }
        }
        let delivered: u64 = bed.arbiter.channels().map(|channel| channel.delivered).sum();
        let lost: u64 = bed.arbiter.channels().map(|channel| channel.lost).sum();
        assert_eq!(bed.quality.stream().total.messages, delivered, "seed {seed}");
        assert_eq!(bed.quality.gaps().lost.iter().map(|tally| tally.numbers).sum::<u64>(), lost, "seed {seed}");
        sessions += bed.quality.epochs().0.len();
    }
    assert!(
        missing > 10_000 && leads > 100_000 && sessions > 80,
        "{missing} missing, {leads} leads, {sessions} epochs"
    );
}
