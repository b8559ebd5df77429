//! Reaches each limit: ARBITRATION 2.2, 4.1, 5.3, 5.6, 6.2, 6.3, 8, 9. The tests for 5.6 and 6.3 are with their rules.

use super::*;

#[test]
fn whoever_asks_for_more_than_memory_can_be_addressed_by_gets_the_most() {
    let mut f = Feed::hand_with(2, |s| {
        (s.hold_messages, s.hold_bytes, s.gaps_max) = (16, 16, 4);
        s.settle = u64::MAX;
    });
    f.data(0, A, 1..2);
    f.data(0, B, 1..2);
    assert_eq!(f.arbiter.settings().settle, 1 << 24);
}

#[test]
fn rule_2_2_a_feed_has_at_most_256_channels() {
    let mut f = Feed::hand_with(2, |s| {
        (s.hold_messages, s.gaps_max) = (16, 4);
    });
    for key in 0..257 {
        f.on(0, Some(key)).data(0, A, 1..2);
        f.on(0, Some(key)).data(0, B, 1..2);
    }
    f.finish(1);
    assert_eq!(f.arbiter.channels().count(), 256);
    assert_eq!(f.arbiter.no_channel(), 2, "the two frames of the 257th");
}

#[test]
fn rule_2_2_at_most_256_candidates_wait_and_the_oldest_is_dropped() {
    let mut f = Feed::hand();
    f.on(0, Some(1_000)).data(0, A, 1..2);
    f.on(0, Some(1_000)).data(0, A, 900..901);
    for key in 0..256 {
        f.on(0, Some(key)).data(0, A, 1..2);
    }
    assert_eq!(f.arbiter.no_channel(), 2, "the oldest had two frames");
    // it was dropped, so this is a first frame again, and the oldest is now that of key 0
    f.on(0, Some(1_000)).data(1, B, 1..2);
    assert_eq!(f.arbiter.no_channel(), 3);
    f.says(&[]);
    f.on(0, Some(255)).data(2, B, 1..2);
    f.says(&["0.255: 2 epoch S1 1", "0.255: 2 line A waiting>up", "0.255: 2 line B waiting>up"]);
    f.finish(3);
    assert_eq!(f.arbiter.no_channel(), 3 + 255);
}

#[test]
fn rule_4_1_at_most_8_frames_a_line_are_parked_and_the_oldest_goes() {
    let mut f = Feed::mold().joined();
    for n in 1..=9 {
        f.data(n, A, n * 10_000..n * 10_000 + 2);
    }
    assert_eq!((f.counts(A).implausible, f.counts(B).implausible), (2, 0));
    // another line has frames of its own parked
    f.data(10, B, 500_000..500_001);
    assert_eq!(f.counts(A).implausible, 2);
    // the oldest, 10,000, has gone; 20,000 has not
    f.data(11, B, 10_000..10_001);
    f.says(&[]);
    f.data(12, B, 20_000..20_001);
    // B's 10,000 is no longer too far ahead
    f.says(&["12 gap 2..20000 A", "12 filled 10000..10001 B", "12 lost 2..10000 settled"]);
}

#[test]
fn rule_4_2_at_most_8_first_frames_a_line_are_parked_and_the_oldest_goes() {
    let mut f = Feed::mold();
    for n in 1..=9 {
        f.data(n, A, n * 10_000..n * 10_000 + 3);
    }
    f.data(10, B, 10_000..10_001);
    f.says(&[]);
    f.data(11, B, 10_001..10_002);
    f.says(&["11 epoch S1 10000", "11 line A waiting>up", "11 line B waiting>up"]);
    f.finish(12);
    assert_eq!(f.counts(A).implausible, 9 * 3);
}

#[test]
fn rule_5_3_the_hold_takes_65536_messages() {
    let mut f = Feed::mold_with(2, |s| (s.hold_messages, s.hold_bytes) = (65_536, 64 << 20)).joined();
    f.data(1, A, 3..3 + 60_000);
    f.data(2, A, 60_003..65_539);
    f.says(&["1 gap 2..3 A"]);
    f.data(3, A, 65_539..65_540);
    f.says(&["3 lost 2..3 hold"]);
    f.released("1..2 lost 2..3 3..65540");
}

#[test]
fn rule_5_3_65536_gaps_may_be_open() {
    let mut f = Feed::mold_with(2, |s| (s.hold_messages, s.hold_bytes) = (1 << 20, 64 << 20)).joined();
    for n in 0..65_536 {
        f.data(1, A, 3 + 2 * n..4 + 2 * n);
    }
    assert!(f.record.take(MS).iter().all(|said| said.starts_with("1 gap")));
    let last = 3 + 2 * 65_536;
    f.data(2, A, last..last + 1);
    f.says(&["2 gap 131074..131075 A", "2 lost 2..3 gaps"]);
    // B brings everything that is missing in one go
    f.data(3, B, 4..60_000);
    f.data(3, B, 60_000..120_000);
    f.data(3, B, 120_000..131_076);
    f.released("1..2 lost 2..3 3..131076");
    assert_eq!(f.counts(B).first_arrivals, 1 + 65_536 - 1);
}

#[test]
fn rule_5_3_one_frame_may_fill_30000_gaps_under_a_small_hold() {
    let mut f = Feed::mold_with(2, |s| (s.hold_messages, s.gaps_max) = (40_000, 40_000)).joined();
    for n in 0..30_000 {
        f.data(1, A, 4 + 2 * n..5 + 2 * n);
    }
    // all but the lowest, so that everything is held: 30,000 and as many again
    f.data(2, B, 4..60_004);
    let said = f.record.take(MS);
    assert_eq!(said.iter().filter(|said| said.contains("filled")).count(), 29_999 + 1 - 1);
    assert_eq!(said.last().map(String::as_str), Some("2 lost 2..4 hold"));
    f.released("1..2 lost 2..4 4..60004");
}

#[test]
fn rule_6_2_the_hold_limits_bound_what_is_held_for_a_session_by_bytes_too() {
    // "S2:1" is six bytes as the framing packs it
    let mut f = Feed::mold_with(2, |s| s.hold_bytes = 20).joined();
    f.of("S2").data(1, A, 1..3);
    f.of("S2").data(2, A, 3..4);
    f.of("S2").data(3, A, 4..5);
    assert_eq!(f.counts(A).implausible, 1);
}

#[test]
fn rule_9_1024_epochs_are_listed_and_the_rest_are_counted() {
    let mut f = Feed::hand_with(1, |_| ()).joined();
    for n in 0..1_030u64 {
        let reset = Reset::Marked(1 + n);
        f.reset(reset).data(1, A, 1 + n..2 + n);
        f.data(1, A, 2 + n..3 + n);
    }
    let report = f.report();
    assert_eq!((report.epochs.len(), report.epochs_omitted), (1_024, 7));
    assert_eq!((report.delivered, report.lost), (2 + 2 * 1_030, 0));
    let said = f.record.take(MS);
    assert_eq!(said.iter().filter(|said| said.contains(" epoch ")).count(), 1_030, "--events has all");
}

#[test]
fn rule_9_a_session_that_is_not_listed_may_be_taken_up_again() {
    let mut f = Feed::hand_with(1, |_| ()).joined();
    for n in 0..1_023u64 {
        f.reset(Reset::Marked(1 + n)).data(1, A, 1 + n..2 + n);
        f.data(1, A, 2 + n..3 + n);
    }
    for (at, session, numbers) in [(2, "S2", 1..2), (3, "S2", 2..3), (4, "S1", 1_030..1_031), (5, "S1", 1_031..1_032)] {
        f.of(session).data(at, A, numbers);
    }
    f.of("S2").data(6, A, 3..4);
    f.of("S2").data(7, A, 4..5);
    f.finish(8);
    let report = f.report();
    assert_eq!((report.epochs.len(), report.epochs_omitted), (1_024, 1));
    assert_eq!(report.epochs.last().map(|epoch| epoch.session.to_string()), Some("S1".into()));
    assert_eq!((report.delivered, report.lost), (2 + 2 * 1_023 + 2 + 2 + 2, 5));
}

#[test]
fn a_jump_to_the_end_of_the_numbers_and_back_is_counted_as_far_as_can_be() {
    let mut f = Feed::mold_with(1, |_| ()).joined();
    let far = u64::MAX - 50;
    for session in ["S1", "S2", "S3"] {
        f.of(session).data(1, A, 3..4);
        f.of(session).data(1, A, 4..5);
        f.of(session).heartbeat(2, A, far);
        f.of(session).data(2, A, far + 1..far + 2);
        f.of(session).data(2, A, far + 2..u64::MAX);
        // there is no number after it
        f.of(session).heartbeat(3, A, u64::MAX);
    }
    f.finish(4);
    assert_eq!((f.report().lost, f.counts(A).missing), (u64::MAX, u64::MAX));
}

#[test]
fn a_stamp_at_the_end_of_time_is_one_like_any_other() {
    let mut f = Feed::mold().joined();
    f.unit = 1;
    f.data(u64::MAX, A, 3..4);
    f.wait(u64::MAX);
    f.data(u64::MAX, B, 2..3);
    f.finish(u64::MAX);
    assert_eq!(f.report().delivered + f.report().lost, 3);
}

#[test]
fn limits_beyond_what_a_feed_file_may_ask_for_are_brought_down() {
    let f = Feed::mold_with(2, |s| (s.hold_messages, s.hold_bytes, s.gaps_max) = (u64::MAX, u64::MAX, usize::MAX));
    let settings = f.arbiter.settings();
    assert_eq!((settings.hold_messages, settings.hold_bytes, settings.gaps_max), (1 << 24, 64 << 30, 1 << 24));
}
