//! ARBITRATION 7: honest lines.

use super::*;

#[test]
fn rule_7_1_a_line_is_charged_once_a_number_leaves_its_window() {
    let mut f = Feed::mold_with(2, |s| s.max_jump = 10_000).joined();
    f.data(1, A, 2..4_200);
    f.data(1, B, 3..4_000);
    assert_eq!(f.counts(B).missing, 0, "it may still come");
    // W is 4,096: number 2 leaves the window when the mark is past 4,098
    f.data(2, B, 4_000..4_098);
    assert_eq!(f.counts(B).missing, 0);
    f.data(2, B, 4_098..4_099);
    assert_eq!(f.counts(B).missing, 1);
    f.data(3, B, 2..3);
    assert_eq!((f.counts(B).missing, f.counts(B).reordered), (1, 1), "a copy below the window judges nothing");
}

#[test]
fn rule_7_1_reordering_within_the_window_is_no_loss() {
    let mut f = Feed::mold().joined();
    f.data(1, A, 3..60);
    f.data(2, A, 2..3);
    f.finish(3);
    assert_eq!((f.counts(A).missing, f.counts(A).reordered), (0, 0));
}

#[test]
fn rule_7_1_counting_starts_at_the_lines_first_number_in_the_first_epoch() {
    let mut f = Feed::mold();
    f.data(0, A, 10..11);
    f.data(0, A, 11..90);
    f.data(1, B, 60..61);
    f.data(2, B, 63..64);
    f.finish(3);
    assert_eq!((f.counts(A).missing, f.counts(B).missing), (0, 2));
}

#[test]
fn rule_7_1_and_not_below_the_start() {
    let mut f = Feed::mold();
    f.data(0, A, 10..11);
    f.data(0, A, 11..15);
    f.data(1, B, 4..6);
    f.data(1, B, 8..11);
    f.data(1, B, 12..13);
    f.finish(3);
    // 6 and 7 are below the start; 11 is not
    assert_eq!((f.counts(B).missing, f.counts(B).before_join), (1, 4));
}

#[test]
fn rule_7_1_counting_starts_at_the_initial_number_in_later_epochs() {
    let mut f = Feed::mold().joined();
    f.end(1, A, 2);
    f.of("S2").data(2, A, 1..10);
    f.of("S2").data(3, A, 10..20);
    f.of("S2").data(4, B, 5..20);
    f.finish(5);
    assert_eq!((f.counts(A).missing, f.counts(B).missing), (0, 4));
}

#[test]
fn rule_7_1_numbers_above_a_lines_own_mark_are_never_charged() {
    let mut f = Feed::mold().joined();
    f.data(1, A, 2..99);
    f.data(2, B, 2..10);
    f.finish(3);
    assert_eq!(f.counts(B).missing, 0);
}

#[test]
fn rule_7_1_windows_flush_when_an_epoch_ends() {
    let mut f = Feed::mold_with(1, |_| ()).joined();
    f.data(1, A, 5..6);
    assert_eq!(f.counts(A).missing, 0);
    f.of("S2").data(2, A, 1..2);
    f.of("S2").data(3, A, 2..3);
    assert_eq!(f.counts(A).missing, 2);
}

#[test]
fn rule_7_1_a_jump_over_the_window_is_counted_by_arithmetic() {
    let mut f = Feed::mold().joined();
    let far = 1 << 60;
    f.data(1, A, far..far + 1);
    f.data(2, A, far + 1..far + 2);
    f.finish(3);
    assert_eq!(f.counts(A).missing, far - 2);
}

#[test]
fn rule_7_2_a_line_far_behind_for_a_quarter_of_silent_after_lags() {
    let mut f = Feed::mold().joined();
    f.data(100, A, 2..12);
    f.data(200, A, 12..13);
    f.says(&[]);
    // 13 is 11 above B's 2
    f.wait(949);
    f.says(&[]);
    f.wait(950);
    f.says(&["950 line B up>lagging frozen"]);
    f.data(1_000, B, 2..4);
    f.says(&["1000 line B lagging>up"]);
}

#[test]
fn rule_7_2_one_that_catches_up_in_time_never_lagged() {
    let mut f = Feed::mold().joined();
    f.data(100, A, 2..40);
    f.data(849, B, 2..40);
    f.wait(2_000);
    f.says(&[]);
}

#[test]
fn rule_7_2_why_it_lags() {
    // slow: it has brought data since it fell behind
    let mut f = Feed::mold().joined();
    f.data(100, A, 2..40);
    f.data(200, B, 2..4);
    f.heartbeat(300, B, 4);
    f.wait(850);
    f.says(&["850 line B up>lagging slow"]);
    // heartbeats: it has brought nothing else
    let mut f = Feed::mold().joined();
    f.data(100, B, 2..3);
    f.data(100, A, 3..40);
    f.heartbeat(300, B, 3);
    f.wait(850);
    f.says(&["850 line B up>lagging heartbeats"]);
    // what it brought before it fell behind does not count
    let mut f = Feed::mold().joined();
    f.data(99, B, 2..3);
    f.data(100, A, 3..40);
    f.wait(850);
    f.says(&["850 line B up>lagging frozen"]);
}

#[test]
fn rule_7_2_heartbeats_that_consume_numbers_are_heartbeats() {
    let mut f = Feed::cme().joined();
    for n in 2..40 {
        f.data(100, A, n..n + 1);
    }
    f.heartbeat(200, B, 2);
    f.wait(850);
    f.says(&["850 line B up>lagging heartbeats"]);
}

#[test]
fn rule_7_2_every_change_of_state_is_an_event() {
    let mut f = Feed::mold();
    f.data(0, A, 1..2);
    f.data(1, A, 2..3);
    f.data(2, B, 2..3);
    f.data(1_000, A, 3..50);
    f.wait(2_000);
    f.heartbeat(2_100, A, 50);
    f.wait(3_002);
    f.of("S2").data(3_100, B, 1..2);
    f.of("S2").data(3_200, B, 2..3);
    f.data(3_300, B, 2..50);
    f.says(&[
        "1 epoch S1 1",
        "1 line A waiting>up",
        "2 line B waiting>up",
        "1750 line B up>lagging frozen",
        "3002 line B lagging>silent",
        "3100 line B silent>lagging slow",
        "3200 line B lagging>other session",
        "3300 line B other session>up",
    ]);
}

#[test]
fn rule_7_3_lead_is_by_pair_of_lines() {
    let mut f = Feed::mold_with(3, |_| ()).joined();
    f.data(1, A, 2..4);
    f.data(3, B, 2..4);
    f.data(6, C, 3..4);
    f.data(7, C, 4..5);
    f.data(8, A, 4..5);
    f.data(9, A, 4..5);
    let channel = f.report().channel.key;
    let lead = |first, later| {
        let h = f.arbiter.lead(channel, first, later).unwrap();
        (h.len(), h.max().0 / MS)
    };
    // all three brought the first message at 0
    assert_eq!((lead(A, B), lead(A, C), lead(C, A)), ((3, 2), (2, 5), (1, 1)));
    assert_eq!((lead(B, A), lead(C, B)), ((0, 0), (0, 0)));
}

#[test]
fn rule_7_3_a_held_copy_leads_by_when_it_came() {
    let mut f = Feed::mold().joined();
    f.data(1, A, 3..4);
    f.data(4, B, 3..4);
    f.data(5, B, 2..3);
    f.data(9, A, 2..3);
    let channel = f.report().channel.key;
    assert_eq!(f.arbiter.lead(channel, A, B).unwrap().max(), Nanos::from_millis(3));
    assert_eq!(f.arbiter.lead(channel, B, A).unwrap().max(), Nanos::from_millis(4));
}

#[test]
fn rule_7_3_within_the_last_65536_numbers() {
    let mut f = Feed::mold_with(2, |s| s.max_jump = 100_000).joined();
    f.data(1, A, 2..60_000);
    f.data(1, A, 60_000..65_538);
    f.data(2, B, 2..3);
    f.data(3, A, 65_538..65_539);
    f.data(4, B, 3..4);
    f.data(5, A, 65_539..65_541);
    f.data(6, B, 4..5);
    let channel = f.report().channel.key;
    assert_eq!(f.arbiter.lead(channel, A, B).unwrap().len(), 1 + 2, "4 is 65,537 below the mark");
    assert_eq!(f.counts(B).duplicate, 4, "and a duplicate all the same");
}

#[test]
fn rule_7_3_lines_that_pack_otherwise_lead_number_by_number() {
    let mut f = Feed::mold().joined();
    for (n, at) in (2..6).zip([1, 2, 4, 8]) {
        f.data(at, A, n..n + 1);
    }
    f.data(10, B, 2..6);
    // its copy makes no pair, and a number that no line has brought is not a copy
    f.data(30, B, 2..6);
    f.data(40, B, 4..7);
    let channel = f.report().channel.key;
    let leads = f.arbiter.lead(channel, A, B).unwrap();
    // both brought the first message at 0
    assert_eq!((leads.len(), leads.max()), (1 + 4, Nanos::from_millis(9)));
    assert_eq!((f.counts(B).duplicate, f.counts(B).first_arrivals, f.counts(A).first_arrivals), (1 + 4 + 4 + 2, 1, 5));
}
