//! Framing and arbiter together: what the publisher writes in a framing comes out whole, and each venue's way of starting its
//! numbers again is followed.

use std::fmt::Write as _;

use fastrand::Rng;
use twinline_core::Nanos;
use twinline_core::arbiter::{Event, EventKind, Loss, Run, Sink};
use twinline_core::frame::{Line, Session};
use twinline_core::framing::{
    AnyFraming, B3Umdf, EurexEobi, EuronextOptiq, Framing, IexTp, Malformed, MemxUdp, MiaxMach, MoexSimba, Proof,
    WithFraming,
};
use twinline_node::config::Feed;
use twinline_node::fault::{Faults, Share};
use twinline_node::handler::Handler;
use twinline_node::publisher::{LinePlan, MadeUp, Plan, PlanConfig, Rate};

use crate::support::feed::two_lines;

const A: Line = Line(0);
const B: Line = Line(1);

fn feed(framing: &str) -> Feed {
    two_lines("streams", framing, "[arbiter]\ngap_timeout = \"1ms\"\n")
}

// --- what is published ---

/// The check values of what was delivered, and what else was said.
#[derive(Default)]
struct Delivered {
    checks: Vec<Option<u64>>,
    heartbeats: u64,
    lost: u64,
    ended: u64,
}

impl Sink for Delivered {
    fn event(&mut self, event: &Event) {
        self.ended += u64::from(matches!(event.kind, EventKind::Ended { .. }));
    }

    fn release(&mut self, run: &Run<'_>) {
        assert_eq!(run.messages().count(), run.count as usize);
        if run.flags.heartbeat {
            self.heartbeats += u64::from(run.count);
        } else {
            self.checks.extend(run.messages().map(|message| MadeUp::check(run.packing.content(message))));
        }
    }

    fn loss(&mut self, loss: &Loss) {
        self.lost += loss.range.len();
    }
}

struct Published {
    feed: Feed,
    session: Session,
    messages: u64,
}

impl WithFraming for Published {
    type Output = ();

    fn with<F: Framing>(self, framing: F) {
        let name = F::NAME;
        // a twentieth of A's datagrams is lost, and none of B's
        let faults = Faults { loss: Share::percent(5.0).unwrap(), ..Faults::default() };
        let packs = if framing.packet_sequenced() { [1, 1] } else { [10, 4] };
        let lines = vec![
            LinePlan { faults, ..LinePlan::packing(1, packs[0]) },
            LinePlan { faults: Faults::default(), ..LinePlan::packing(1, packs[1]) },
        ];
        let linger = Nanos(3 * framing.rules().heartbeat_interval.0);
        let rate = Rate::per_second(100_000.0, 1).unwrap();
        let config = PlanConfig { session: self.session, rate, lines, linger, ..PlanConfig::default() };
        let mut plan = Plan::new(framing, config, MadeUp::new(Some(self.messages), Some(60), 1)).unwrap();
        let mut handler = Handler::new(framing, &self.feed);
        let (mut out, mut last, mut ends, mut lost_on_a) = (Delivered::default(), Nanos::ZERO, 0, 0);
        while let Some(planned) = plan.next_planned().unwrap() {
            last = planned.due;
            ends += u64::from(planned.kind.ends_session());
            if planned.dropped.is_none() {
                handler.on_datagram(planned.due, planned.line, planned.group, planned.bytes, &mut out);
            } else {
                lost_on_a += u64::from(planned.count);
            }
        }
        handler.finish(last, &mut out);
        assert_eq!(
            out.checks,
            (0..self.messages).map(Some).collect::<Vec<_>>(),
            "{name}: each once, in order, unaltered"
        );
        assert_eq!((out.lost, out.ended), (0, u64::from(ends > 0)), "{name}");
        assert_eq!(out.heartbeats > 0, framing.packet_sequenced(), "{name}: heartbeats that consume a number");
        for reason in Malformed::ALL {
            assert_eq!(handler.malformed().of_line(A, reason) + handler.malformed().of_line(B, reason), 0, "{name}");
        }
        let channels: Vec<_> = handler.arbiter().channels().collect();
        assert_eq!(channels.len(), 1, "{name}");
        assert_eq!(channels[0].lines[0].missing, lost_on_a, "{name}: A is charged with what it lost");
        assert!(lost_on_a > 0 && channels[0].lines[1].missing == 0, "{name}");
        assert!(channels[0].lines[1].heartbeats > 0, "{name}: heartbeats came");
    }
}

#[test]
fn what_is_published_comes_out_whole_in_every_framing() {
    for name in AnyFraming::NAMES {
        let Some(framing) = AnyFraming::from_name(name).filter(|framing| framing.proof() != Proof::Dissector) else {
            continue; // it is read and not published
        };
        let session = framing.session("TWIN000001").or_else(|| framing.session("1")).unwrap_or(Session::NONE);
        framing.with(Published { feed: feed(name), session, messages: 2_000 });
    }
}

// --- any bytes ---

/// What a framing writes, changed: whatever comes of it keeps what a frame promises.
struct Changed(Rng);

impl Changed {
    fn change(&mut self, datagram: &mut Vec<u8>) {
        for _ in 0..self.0.u8(0..4) {
            // the headers' first bytes most of all
            let reach = if self.0.bool() { datagram.len().min(44) } else { datagram.len() };
            let to = [0, 1, 2, 0x7F, 0x80, 0xFF, self.0.u8(..)][self.0.usize(..7)];
            match self.0.u8(0..8) {
                0 => datagram.truncate(self.0.usize(..=datagram.len())),
                1 => datagram.extend(std::iter::repeat_n(to, self.0.usize(..30))),
                _ if reach > 0 => datagram[self.0.usize(..reach)] = to,
                _ => {}
            }
        }
    }
}

impl WithFraming for Changed {
    type Output = ();

    fn with<F: Framing>(mut self, framing: F) {
        let session = framing.session("1").unwrap_or(Session::NONE);
        let mut datagram = Vec::new();
        let (mut frames, mut refused) = (0, 0);
        for round in 0..20_000 {
            let first = [1, 2, 900, u64::from(u32::MAX), u64::MAX][self.0.usize(..5)];
            match round % 8 {
                0 => _ = framing.encode_heartbeat(session, first, &mut datagram),
                1 => _ = framing.encode_end(session, first, &mut datagram),
                _ => {
                    let messages: Vec<Vec<u8>> = (0..4).map(|_| vec![self.0.u8(..); self.0.usize(..20)]).collect();
                    let mut wrapped = vec![Vec::new(); messages.len()];
                    for (message, wrapped) in messages.iter().zip(&mut wrapped) {
                        assert!(framing.packing().wrap(message, wrapped));
                    }
                    let wrapped: Vec<&[u8]> = wrapped.iter().map(Vec::as_slice).collect();
                    framing.encode(session, first, &wrapped, 200, &mut datagram);
                }
            }
            self.change(&mut datagram);
            let mut at = 0;
            loop {
                let before = at;
                let Some(frame) = framing.frame(&datagram, &mut at) else { break };
                assert!(at > before, "{}: it goes on, or ends", F::NAME);
                let Ok(frame) = frame else {
                    refused += 1;
                    break;
                };
                frames += 1;
                assert!(frame.sequence.checked_add(u64::from(frame.count)).is_some(), "{}: {frame:?}", F::NAME);
                assert!(!frame.kind.has_messages() || frame.count > 0, "{}: {frame:?}", F::NAME);
                assert_eq!(frame.packing.blocks_len(frame.body, frame.count), Some(frame.body.len()), "{}", F::NAME);
                assert_eq!(frame.packing.messages(frame.body).take(frame.count as usize).count(), frame.count as usize);
                assert!(framing.rules().keyed || frame.key.is_none(), "{}: {frame:?}", F::NAME);
                let within = |part: &[u8], whole: &[u8]| whole.as_ptr_range().contains(&part.as_ptr());
                assert!(within(frame.bytes, &datagram) && (frame.body.is_empty() || within(frame.body, frame.bytes)));
            }
        }
        assert!(frames > 1_000 && refused > 200, "{}: {frames} frames, {refused} refused", F::NAME);
    }
}

#[test]
fn no_bytes_make_a_frame_that_breaks_its_promise() {
    for name in AnyFraming::NAMES {
        if let Some(framing) = AnyFraming::from_name(name) {
            framing.with(Changed(Rng::with_seed(11)));
        }
    }
}

// --- numbers that start again ---

/// All that came of it, one word each: numbers, `[session from first]`, `[why]` an epoch ended, `lost`, `u` for unsequenced.
#[derive(Default)]
struct Story(String);

impl Sink for Story {
    fn event(&mut self, event: &Event) {
        match &event.kind {
            EventKind::Epoch { session, first } => write!(self.0, "[{session} from {first}] ").unwrap(),
            EventKind::EpochEnd { why, .. } => write!(self.0, "[{}] ", why.name()).unwrap(),
            _ => {}
        }
    }

    fn release(&mut self, run: &Run<'_>) {
        for number in run.range().first.0..run.range().end.0 {
            write!(self.0, "{number} ").unwrap();
        }
    }

    fn loss(&mut self, loss: &Loss) {
        write!(self.0, "lost {} ", loss.range).unwrap();
    }

    fn unsequenced(&mut self, _: &Run<'_>) {
        self.0.push_str("u ");
    }
}

/// Both lines bring these datagrams, B each a little later than A.
fn story<F: Framing>(framing: F, datagrams: &[Vec<u8>]) -> String {
    let mut handler = Handler::new(framing, &feed(F::NAME));
    let (mut out, mut now) = (Story::default(), Nanos::from_secs(1));
    for datagram in datagrams {
        for line in [A, B] {
            handler.on_datagram(now, line, 0, datagram, &mut out);
            now = now + Nanos::from_micros(10);
        }
    }
    handler.finish(now, &mut out);
    for line in [A, B] {
        assert_eq!(Malformed::ALL.map(|reason| handler.malformed().of_line(line, reason)), [0; 6]);
    }
    out.0.trim_end().to_owned()
}

/// Packets of one message, with these numbers.
fn packets<F: Framing>(framing: F, session: u64, numbers: impl IntoIterator<Item = u64>) -> Vec<Vec<u8>> {
    let packet = |number| {
        let mut out = Vec::new();
        assert_eq!(framing.encode(Session::number(session), number, &[b"message"], 1_400, &mut out), 1);
        out
    };
    numbers.into_iter().map(packet).collect()
}

fn heartbeat<F: Framing>(framing: F, session: u64, next: u64) -> Vec<u8> {
    let mut out = Vec::new();
    framing.encode_heartbeat(Session::number(session), next, &mut out);
    out
}

#[test]
fn iex_restarts_within_a_session_behind_a_heartbeat_that_says_one() {
    let iex = IexTp::default();
    let day = packets(iex, 7, 1..=5);
    let again = [day.clone(), vec![heartbeat(iex, 7, 6), heartbeat(iex, 7, 1)], packets(iex, 7, 1..=3)].concat();
    assert_eq!(story(iex, &again), "[7 from 1] 1 2 3 4 5 [reset] [7 from 1] 1 2 3");
    let lone = [day, vec![heartbeat(iex, 7, 1)], packets(iex, 7, 6..=7)].concat();
    assert_eq!(story(iex, &lone), "[7 from 1] 1 2 3 4 5 6 7", "a heartbeat out of its order is none");
}

#[test]
fn iex_may_restart_without_a_mark() {
    let iex = IexTp::default();
    let datagrams = [packets(iex, 7, 1..=2_000), packets(iex, 7, 1..=9)].concat();
    let story = story(iex, &datagrams);
    assert!(story.ends_with(" 1999 2000 [restart] [7 from 1] 1 2 3 4 5 6 7 8 9"), "{story}");
}

#[test]
fn weeks_and_days_begin_without_a_mark_where_the_venue_has_none() {
    let simba = [packets(MoexSimba, 0, 1..=2_000), packets(MoexSimba, 0, 1..=9)].concat();
    let told = story(MoexSimba, &simba);
    assert!(told.ends_with(" 1999 2000 [restart] [ from 1] 1 2 3 4 5 6 7 8 9"), "{told}");
    let b3 = B3Umdf::default();
    let told = story(b3, &[packets(b3, 1, 1..=2_000), packets(b3, 1, 1..=9)].concat());
    assert!(told.ends_with(" 1999 2000 [restart] [1 from 1] 1 2 3 4 5 6 7 8 9"), "{told}");
}

#[test]
fn memx_starts_again_with_a_new_session() {
    let mut end = Vec::new();
    assert!(MemxUdp.encode_end(Session::number(7), 4, &mut end));
    let datagrams =
        [packets(MemxUdp, 7, 1..=3), vec![end], vec![heartbeat(MemxUdp, 9, 1); 2], packets(MemxUdp, 9, 1..=2)];
    assert_eq!(story(MemxUdp, &datagrams.concat()), "[7 from 1] 1 2 3 [end] [9 from 1] 1 2");
}

#[test]
fn mach_starts_again_with_a_start_of_session() {
    let start = |session: u8| vec![0, 0, 0, 0, 0, 0, 0, 0, 12, 0, 1, session];
    for session in [1, 2] {
        let datagrams = [packets(MiaxMach, 1, 5..=7), vec![start(session)], packets(MiaxMach, session.into(), 1..=3)];
        let why = if session == 1 { "reset" } else { "lines" };
        let expected = format!("[1 from 5] 5 6 7 [{why}] [{session} from 1] 1 2 3");
        assert_eq!(story(MiaxMach, &datagrams.concat()), expected);
    }
}

#[test]
fn mach_frames_of_one_datagram_are_arbitrated_one_by_one() {
    let mut handler = Handler::new(MiaxMach, &feed("miax-mach"));
    let mut out = Story::default();
    let datagram = |numbers| packets(MiaxMach, 1, numbers).concat();
    for (at, line, numbers) in
        [(1, A, 1..=3), (2, B, 1..=1), (3, A, 6..=8), (4, B, 2..=6), (5, B, 7..=9), (6, A, 9..=9)]
    {
        handler.on_datagram(Nanos::from_secs(1) + Nanos::from_micros(at), line, 0, &datagram(numbers), &mut out);
    }
    handler.finish(Nanos::from_secs(2), &mut out);
    assert_eq!(out.0.trim_end(), "[1 from 1] 1 2 3 4 5 6 7 8 9");
}

#[test]
fn eobi_starts_again_with_flagged_packets() {
    let eobi = EurexEobi::default();
    let flagged = packets(eobi, 0, 1..=3).into_iter().map(|mut packet| {
        packet[18] = 1;
        packet
    });
    let datagrams = [packets(eobi, 0, 5..=7), flagged.collect(), packets(eobi, 0, 4..=5)];
    assert_eq!(story(eobi, &datagrams.concat()), "[ from 5] 5 6 7 [reset] [ from 1] 1 2 3 4 5");
}

#[test]
fn optiq_starts_again_with_a_restart_and_with_a_day() {
    let optiq = EuronextOptiq::default();
    let mut day = vec![0; 26];
    day[8] = 1;
    day[13] = 2;
    day[14..16].copy_from_slice(&1u16.to_le_bytes());
    day[16..18].copy_from_slice(&10u16.to_le_bytes());
    day[20..22].copy_from_slice(&1_101u16.to_le_bytes());
    let datagrams = [vec![day.clone()], packets(optiq, 0, 2..=4), packets(optiq, 1, 1..=3), vec![]];
    assert_eq!(story(optiq, &datagrams.concat()), "[0 from 1] 1 2 3 4 [lines] [1 from 1] 1 2 3");
    // the next morning
    day[0] = 9;
    let datagrams = [packets(optiq, 0, 1..=4), vec![day], packets(optiq, 0, 2..=3)];
    assert_eq!(story(optiq, &datagrams.concat()), "[0 from 1] 1 2 3 4 [reset] [0 from 1] 1 2 3");
}

#[test]
fn b3_starts_again_with_a_new_version() {
    let b3 = B3Umdf::default();
    let mut reset = vec![0; 28];
    reset[..8].copy_from_slice(&[1, 0, 6, 0, 0, 0, 0, 0]);
    reset[22] = 1;
    let datagrams = [packets(b3, 5, 1..=3), vec![reset], packets(b3, 6, 1..=3)];
    assert_eq!(story(b3, &datagrams.concat()), "[5 from 1] 1 2 3 u u [lines] [6 from 1] 1 2 3");
}

#[test]
fn simba_starts_again_behind_a_sequence_reset() {
    // a cycle of snapshots: three packets, then a SequenceReset that says 1
    let cycle = |time: u8| {
        let packet = |number: u8, template: u8, block: u8| {
            let mut packet = vec![number, 0, 0, 0, 28, 0, 1, 0, time, 0, 0, 0, 0, 0, 0, 0];
            packet.extend_from_slice(&[4, 0, template, 0, 0x44, 0x4D, 4, 0, block, 0, 0, 0]);
            packet
        };
        vec![packet(1, 17, 9), packet(2, 17, 9), packet(3, 17, 9), packet(4, 2, 1)]
    };
    let datagrams = [cycle(1), cycle(2), cycle(3)].concat();
    let expected = "[ from 1] 1 2 3 u u [reset] [ from 1] 1 2 3 u u [reset] [ from 1] 1 2 3 u u";
    let story = story(MoexSimba, &datagrams);
    assert!(story.starts_with(expected), "{story}");
}
