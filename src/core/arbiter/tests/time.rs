//! ARBITRATION 1: time and input.

use super::*;

#[test]
fn rule_1_1_stamps_never_go_back() {
    let mut f = Feed::mold().joined();
    f.data(5, A, 3..4);
    f.data(2, B, 5..6);
    f.wait(1);
    f.says(&["5 gap 2..3 A", "5 gap 4..5 B"]);
    f.wait(15);
    f.says(&["15 lost 2..3 deadline", "15 lost 4..5 deadline"]);
}

#[test]
fn rule_1_1_a_line_that_the_feed_does_not_have_is_ignored() {
    let mut f = Feed::mold().joined();
    f.data(1, C, 2..9);
    f.says(&[]);
    assert_eq!(f.counts(C), LineCounts::default());
}

#[test]
fn rule_1_3_a_deadline_at_the_stamp_fires_before_the_frame() {
    let mut f = Feed::mold().joined();
    f.data(5, A, 3..4);
    f.data(14, B, 1..2);
    f.says(&["5 gap 2..3 A"]);
    f.data(15, B, 2..3);
    f.says(&["15 lost 2..3 deadline"]);
    f.released("1..2 lost 2..3 3..4");
    f.late("2..3");
}

#[test]
fn rule_1_3_what_is_due_fires_at_its_own_time_whenever_the_next_stamp_comes() {
    let mut f = Feed::mold().joined();
    f.data(5, A, 3..4);
    f.data(7, A, 5..6);
    f.wait(10_000);
    f.says(&[
        "5 gap 2..3 A",
        "7 gap 4..5 A",
        "15 lost 2..3 deadline",
        "17 lost 4..5 deadline",
        "3000 line B up>silent",
        "3007 line A up>silent",
    ]);
}

#[test]
fn rule_1_3_a_silent_line_makes_a_gap_settled() {
    // B stands still; the gap waits until B is silent, not until the deadline
    let mut f = Feed::mold_with(2, |s| s.gap_timeout = GapTimeout::After(Nanos::from_secs(8))).joined();
    f.data(10, A, 3..13);
    f.data(20, A, 13..14);
    f.data(2_900, A, 14..15);
    f.wait(100_000);
    f.says(&[
        "10 gap 2..3 A",
        "760 line B up>lagging frozen",
        "3000 lost 2..3 settled",
        "3000 line B lagging>silent",
        "5900 line A up>silent",
    ]);
}

#[test]
fn rule_1_3_a_loss_ends_a_session_and_the_next_begins_at_the_deadline() {
    let mut f = Feed::mold().joined();
    f.data(1, A, 3..5);
    f.end(2, A, 5);
    f.of("S2").data(3, A, 1..2);
    f.of("S2").data(4, A, 2..3);
    f.says(&["1 gap 2..3 A", "4 line A up>other session"]);
    f.data(500, B, 4..5);
    f.says(&[
        "11 lost 2..3 deadline",
        "11 ended S1 5",
        "11 epoch_end S1 5 end",
        "11 epoch S2 1",
        "11 line A other session>up",
        "11 line B up>other session",
    ]);
    f.released("1..2 lost 2..3 3..5 | 1..3");
    assert_eq!(f.counts(B).stale, 1);
}

#[test]
fn rule_1_3_channels_fire_in_the_order_of_deadline_then_channel() {
    let mut f = Feed::hand();
    // channel 0.7 begins before channel 0.3
    for key in [7, 3] {
        f.on(0, Some(key)).data(0, A, 1..2);
        f.on(0, Some(key)).data(0, B, 1..2);
    }
    f.record.take(MS);
    f.on(0, Some(7)).data(1, A, 3..4);
    f.on(0, Some(3)).data(1, A, 3..4);
    f.on(0, Some(3)).data(2, A, 5..6);
    f.on(0, Some(7)).data(3, A, 5..6);
    f.record.take(MS);
    f.wait(50);
    f.says(&[
        "0.3: 11 lost 2..3 deadline",
        "0.7: 11 lost 2..3 deadline",
        "0.3: 12 lost 4..5 deadline",
        "0.7: 13 lost 4..5 deadline",
    ]);
}

#[test]
fn rule_1_3_at_one_time_a_gap_comes_before_an_end_before_grace_before_lag_before_silence() {
    let mut f = Feed::mold_with(3, |s| {
        s.gap_timeout = GapTimeout::After(Nanos::from_millis(2_000));
        s.session_grace = Nanos::from_millis(2_000);
        s.silent_after = Nanos::from_millis(2_000);
    })
    .joined();
    // at 1,000 there is a gap, and C lacks something before the end; everything is due at 3,000
    f.of("S2").data(900, C, 1..2);
    f.of("S2").data(900, C, 2..3);
    f.data(1_000, B, 1..2);
    f.data(1_000, A, 3..4);
    f.end(1_000, A, 4);
    f.says(&["900 line C up>other session", "1000 gap 2..3 A"]);
    f.of("S2").heartbeat(1_500, C, 3);
    f.wait(3_000);
    f.says(&[
        "3000 lost 2..3 deadline",
        "3000 ended S1 4",
        "3000 epoch_end S1 4 end",
        "3000 epoch S2 1",
        "3000 line A up>other session",
        "3000 line B up>other session",
        "3000 line C other session>up",
        "3000 line A other session>silent",
        "3000 line B other session>silent",
    ]);
}

#[test]
fn rule_1_4_finish_resolves_what_is_parked_held_and_open_then_says_the_end() {
    let mut f = Feed::mold().joined();
    f.data(1, A, 3..4);
    f.end(2, A, 5);
    f.data(3, B, 900..902);
    f.of("S2").data(4, B, 1..4);
    f.says(&["1 gap 2..3 A", "2 gap 4..5 A"]);
    f.finish(5);
    f.says(&["5 lost 2..3 finish", "5 lost 4..5 finish", "5 ended S1 5"]);
    f.released("1..2 lost 2..3 3..4 lost 4..5");
    assert_eq!(f.counts(B).implausible, 2 + 3);
    // the line's own account: A showed 1 and 3, and that 4 was sent
    assert_eq!((f.counts(A).missing, f.counts(B).missing), (2, 0));
}

#[test]
fn rule_1_4_finish_begins_the_epoch_of_a_reset_that_was_acted_on() {
    let mut f = Feed::hand().joined();
    f.data(1, A, 3..4);
    f.reset(Reset::Marked(1)).data(2, A, 1..3);
    f.data(3, A, 4..5);
    f.says(&["1 gap 2..3 A"]);
    f.finish(4);
    f.says(&["4 lost 2..3 finish", "4 epoch_end S1 4 reset", "4 epoch S1 1", "4 gap 3..4 A", "4 lost 3..4 finish"]);
    f.released("1..2 lost 2..3 3..4 | 1..3 lost 3..4 4..5");
}

#[test]
fn rule_1_4_deadlines_up_to_the_end_fire_before_it() {
    let mut f = Feed::mold().joined();
    f.data(1, A, 3..4);
    f.data(5, A, 5..6);
    f.finish(11);
    f.says(&["1 gap 2..3 A", "5 gap 4..5 A", "11 lost 2..3 deadline", "11 lost 4..5 finish"]);
}
