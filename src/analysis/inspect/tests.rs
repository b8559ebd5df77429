//! Scenarios, and exactly what is found.

use super::channel::{Began, RUNS_MAX};
use super::findings::Role;
use super::packets::Tags;
use super::score::Sureness;
use super::*;
use twinline_core::frame::Session;
use twinline_core::framing::{CmeMdp3, Framing, MoldUdp64};

fn key(last: u8, source: u8) -> FlowKey {
    FlowKey {
        destination: SocketAddrV4::new([239, 1, 1, last].into(), 26_400),
        interface: 0,
        source: [10, 0, 0, source].into(),
    }
}

fn mold(session: &[u8], first: u64, messages: &[&[u8]]) -> Vec<u8> {
    let mut out = Vec::new();
    MoldUdp64.encode(Session::text(session), first, messages, 1_400, &mut out);
    out
}

/// The findings of datagrams on one flow, a microsecond apart.
fn found(datagrams: impl IntoIterator<Item = Vec<u8>>) -> Findings {
    let mut inspection = Inspection::new(Inspection::all_framings());
    for (at, datagram) in (0..).zip(datagrams) {
        inspection.on_datagram(Nanos(at * 1_000), key(1, 1), &Tags::default(), &datagram);
    }
    inspection.finish()
}

/// First, end, messages, missing, duplicates and why they began, of the runs of the only channel.
fn runs(findings: &Findings) -> Vec<(u64, u64, u64, u64, u64, Began)> {
    let best = findings.flows[0].best().expect("a framing fits");
    let [channel] = best.channels.as_slice() else { panic!("one channel") };
    let of = |run: &channel::NumberRun| {
        (run.first, run.next, run.messages, run.holes().numbers, run.duplicates(), run.began)
    };
    channel.runs.iter().map(of).collect()
}

#[test]
fn losses_and_copies_are_counted_and_do_not_hide_a_framing() {
    let numbers = (1..=100u64).filter(|n| n % 10 != 0).flat_map(|n| [n].repeat(if n % 20 == 3 { 2 } else { 1 }));
    let findings = found(numbers.map(|n| mold(b"DAY0000001", n, &[b"message"])));
    let best = findings.flows[0].best().unwrap();
    assert_eq!((best.framing.name(), best.sureness() >= Sureness::Likely), ("moldudp64", true), "{}", best.value);
    assert_eq!(runs(&findings), [(1, 100, 95, 9, 5, Began::First)]);
}

#[test]
fn a_session_begins_a_run_and_the_old_one_may_come_back() {
    let first = (1..=30).map(|n| mold(b"DAY0000001", n, &[b"x"]));
    let second = (1..=20).map(|n| mold(b"DAY0000002", n, &[b"y"]));
    let again = (31..=32).map(|n| mold(b"DAY0000001", n, &[b"x"]));
    let findings = found(first.chain(second).chain(again));
    assert_eq!(runs(&findings), [(1, 33, 32, 0, 0, Began::First), (1, 21, 20, 0, 0, Began::Session)]);
    assert_eq!(findings.flows[0].best().unwrap().channels[0].sessions, 1);
}

#[test]
fn sessions_without_end_are_counted_and_not_kept() {
    let all = (0..100u64).flat_map(|s| (1..=4).map(move |n| mold(format!("S{s:09}").as_bytes(), n, &[b"x"])));
    let findings = found(all);
    let channel = &findings.flows[0].best().unwrap().channels[0];
    assert_eq!((channel.runs.len(), channel.run_count, channel.sessions), (RUNS_MAX, 100, 99));
}

fn cme(number: u64, said: u8) -> Vec<u8> {
    let mut out = Vec::new();
    CmeMdp3.encode(Session::NONE, number, &[&[12, 0, 0, 0, 46, 0, 1, 0, 9, 0, said, number as u8]], 1_400, &mut out);
    out
}

#[test]
fn a_restart_without_a_mark_is_told_once_it_goes_on() {
    let findings = found((5_000..=5_100).chain(1..=50).map(|n| cme(n, 0)));
    assert_eq!(runs(&findings), [(5_000, 5_101, 101, 0, 0, Began::First), (1, 51, 50, 0, 0, Began::Restart)]);
    assert_eq!(findings.flows[0].best().unwrap().channels[0].restarts, 1);
}

#[test]
fn one_number_far_off_makes_no_hole() {
    let findings = found((1..=50).chain([9_000_000]).chain(51..=100).map(|n| cme(n, 0)));
    assert_eq!(runs(&findings), [(1, 101, 100, 0, 0, Began::First)]);
    // two that agree are a jump
    let findings = found((1..=50).chain(10_000..=10_050).map(|n| cme(n, 0)));
    assert_eq!(runs(&findings), [(1, 10_051, 101, 9_949, 0, Began::First)]);
}

#[test]
fn a_number_that_says_two_things_is_evidence_against() {
    // a constant where CME has its number
    let said = |n: u64| n.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes();
    let constant = (1..200u64).map(|n| [&7u32.to_le_bytes()[..], &said(n), &said(n + 1_000)].concat());
    let findings = found(constant);
    assert!(findings.flows[0].best().is_none_or(|best| best.sureness() <= Sureness::Unsure), "{findings:?}");
}

#[test]
fn heartbeats_alone_are_a_role_and_never_sure() {
    let heartbeat = |_| {
        let mut out = Vec::new();
        MoldUdp64.encode_heartbeat(Session::text(b"DAY0000001"), 42, &mut out);
        out
    };
    let findings = found((0..500).map(heartbeat));
    let flow = &findings.flows[0];
    assert_eq!((flow.role(), flow.best().unwrap().sureness()), (Role::Heartbeats, Sureness::Possible));
    assert!(plan::plans(&findings, &[], "x").is_empty(), "no feed of heartbeats alone");
}

#[test]
fn copies_of_one_flow_are_lines_and_others_with_the_same_numbers_are_not() {
    let mut inspection = Inspection::new(Inspection::all_framings());
    for n in 1..=300u64 {
        let at = |behind| Nanos(n * 1_000_000 + behind);
        let tags = Tags::default();
        inspection.on_datagram(at(0), key(1, 1), &tags, &cme(n, 0));
        inspection.on_datagram(at(n % 7), key(2, 2), &tags, &cme(n, 0));
        // the same numbers, and something else in them
        inspection.on_datagram(at(1), key(3, 1), &tags, &cme(n, 9));
    }
    let findings = inspection.finish();
    let [group] = findings.groups.as_slice() else { panic!("one group") };
    assert_eq!(group.flows, [0, 1]);
    let pair = &group.pairs[0];
    assert_eq!((pair.both, pair.only_a, pair.only_b, pair.exact, pair.different), (300, 0, 0, true, 0));
    assert_eq!(pair.led, (258, 0, 42));
    assert_eq!((pair.skew_ns.min, pair.skew_ns.median, pair.skew_ns.p99_apart, pair.skew_ns.max), (0, 3, 6, 6));
}

#[test]
fn a_long_pair_is_told_from_a_sample_and_counted_whole() {
    let mut inspection = Inspection::new(Inspection::all_framings());
    for n in 1..=50_000u64 {
        let tags = Tags::default();
        if n % 100 != 0 {
            inspection.on_datagram(Nanos(n * 1_000), key(1, 1), &tags, &cme(n, 0));
        }
        if n % 150 != 0 {
            inspection.on_datagram(Nanos(n * 1_000 + 500), key(2, 2), &tags, &cme(n, 0));
        }
    }
    let findings = inspection.finish();
    let pair = &findings.groups[0].pairs[0];
    // lost on A: 500, on B: 333, on both: 166
    assert_eq!(
        (pair.both, pair.only_a, pair.only_b, pair.exact),
        (50_000 - 500 - 333 + 166, 333 - 166, 500 - 166, true)
    );
    assert!((1_000..=8_192).contains(&pair.compared), "{}", pair.compared);
    assert_eq!((pair.skew_ns.min, pair.skew_ns.max), (500, 500));
}

#[test]
fn what_all_flows_share_is_bounded() {
    let mut inspection = Inspection::new(Inspection::all_framings());
    // a hole behind every number, on many flows
    for n in 0..600u64 {
        for flow in 0..200u8 {
            inspection.on_datagram(Nanos(n), key(flow, 1), &Tags::default(), &cme(1 + n * 3, 0));
        }
    }
    let budget = &inspection.budget;
    assert!(budget.spans <= SPANS_IN_ALL && budget.samples <= SAMPLES_IN_ALL + 200, "{budget:?}");
    assert_eq!(budget.samples, 200 * 600);
    let mut budget = Budget { samples: SAMPLES_IN_ALL + 1, ..Budget::default() };
    assert!(budget.is_overdrawn() && budget.sample_max == SAMPLE_MAX / 2);
    budget.sample_max = SAMPLE_MIN;
    assert!(!budget.is_overdrawn(), "a sample keeps its least");
}

#[test]
fn senders_and_flows_beyond_the_bounds_are_counted() {
    let mut inspection = Inspection::new(Inspection::all_framings());
    for source in 0..20 {
        inspection.on_datagram(Nanos(1), key(1, source), &Tags::default(), b"1234");
    }
    let findings = inspection.finish();
    assert_eq!(findings.flows.len(), SENDERS_MAX);
    assert_eq!(findings.beyond, Beyond { datagrams: 0, bytes: 48, of_more_senders: 12 });
}

#[test]
fn of_all_framings_each_fits_what_it_wrote() {
    for name in AnyFraming::NAMES {
        let Some(framing) = AnyFraming::from_name(name) else { continue };
        let Some(datagrams) = framing.with(Write) else { continue };
        let findings = found(datagrams);
        let flow = &findings.flows[0];
        let best =
            flow.best().unwrap_or_else(|| panic!("{name}: none fits; {:?}", flow.nearest_miss().map(|t| &t.score)));
        let named = best.framing.name() == *name || flow.rivals().any(|rival| rival.framing.name() == *name);
        assert!(named, "{name}: {} ({}), {:?}", best.framing.name(), best.value, best.score);
        assert!(best.sureness() >= Sureness::Likely, "{name}: {} {:?}", best.value, best.score.evidence());
    }
}

/// A hundred datagrams of a framing, as its publisher writes them.
struct Write;

impl twinline_core::framing::WithFraming for Write {
    type Output = Option<Vec<Vec<u8>>>;

    fn with<F: Framing>(self, framing: F) -> Self::Output {
        let session = framing.session("1").or_else(|| framing.session("TWIN000001"))?;
        let (mut next, mut out) = (1u64, Vec::new());
        for n in 0..100u64 {
            let mut datagram = Vec::new();
            let messages: Vec<Vec<u8>> = (0..1 + n % 3)
                .map(|m| {
                    // a packet's content begins with its length, as all venues' do
                    let (mut content, mut message) = ([65 + m as u8; 30], Vec::new());
                    if framing.packing().width == 0 {
                        content[..2].copy_from_slice(&30u16.to_le_bytes());
                    }
                    framing.packing().wrap(&content, &mut message).then_some(message)
                })
                .collect::<Option<_>>()?;
            let messages: Vec<&[u8]> = messages.iter().map(Vec::as_slice).collect();
            let sent = framing.encode(session, next, &messages, 1_400, &mut datagram);
            if sent == 0 {
                return None; // read only
            }
            next += if framing.packet_sequenced() { 1 } else { sent as u64 };
            out.push(datagram);
        }
        Some(out)
    }
}
