//! ARBITRATION 6.1 to 6.3: sessions.

use super::*;

#[test]
fn rule_6_1_a_later_epoch_starts_at_the_initial_number() {
    let mut f = Feed::mold().joined();
    f.end(1, A, 2);
    f.end(1, B, 2);
    f.of("S2").data(2, A, 5..6);
    f.of("S2").data(3, A, 6..7);
    f.says(&["1 ended S1 2", "3 epoch_end S1 2 end", "3 epoch S2 1", "3 gap 1..5 A", "3 line B up>other session"]);
    f.of("S2").data(4, B, 1..7);
    f.says(&["4 filled 1..5 B", "4 line B other session>up"]);
    f.released("1..2 | 1..7");
}

#[test]
fn rule_6_2_a_lone_stranger_is_parked_and_a_byte_identical_one_is_no_second() {
    let mut f = Feed::mold().joined();
    f.of("S2").data(1, A, 1..2);
    f.of("S2").data(2, A, 1..2);
    f.says(&[]);
    f.of("S2").data(3, A, 2..3);
    f.says(&["3 line A up>other session"]);
    f.data(4, A, 2..3);
    f.says(&["4 line A other session>up"]);
    f.released("1..3");
    f.finish(5);
    assert_eq!(f.counts(A).implausible, 3);
}

#[test]
fn rule_6_2_two_frames_in_a_row_and_not_two_with_another_between() {
    let mut f = Feed::mold().joined();
    f.of("S2").data(1, A, 1..2);
    f.data(2, A, 2..3);
    f.of("S2").data(3, A, 2..3);
    f.of("S3").data(4, A, 1..2);
    f.of("S2").data(5, A, 3..4);
    f.says(&[]);
}

#[test]
fn rule_6_2_by_its_own_end() {
    let mut f = Feed::mold().joined();
    f.data(1, A, 3..4);
    f.end(2, A, 4);
    f.of("S2").data(3, A, 1..2);
    f.of("S2").data(4, A, 2..3);
    f.says(&["1 gap 2..3 A", "4 line A up>other session"]);
    f.data(5, B, 2..4);
    f.says(&[
        "5 filled 2..3 B",
        "5 ended S1 4",
        "5 epoch_end S1 4 end",
        "5 epoch S2 1",
        "5 line A other session>up",
        "5 line B up>other session",
    ]);
    f.released("1..4 | 1..3");
}

#[test]
fn rule_6_2_by_every_live_line_with_wait() {
    let mut f = Feed::mold_with(3, |s| s.wait = vec![true, true, false]).joined();
    f.data(1, A, 3..4);
    f.of("S2").data(2, A, 1..2);
    f.of("S2").data(3, A, 2..3);
    f.of("S2").data(4, B, 1..2);
    f.says(&["1 gap 2..3 A", "3 line A up>other session"]);
    f.of("S2").data(5, B, 3..4);
    f.says(&[
        "5 lost 2..3 epoch",
        "5 epoch_end S1 4 lines",
        "5 epoch S2 1",
        "5 line A other session>up",
        "5 line C up>other session",
    ]);
    f.released("1..2 lost 2..3 3..4 | 1..4");
}

#[test]
fn rule_6_2_a_line_without_wait_alone_is_not_every_line() {
    let mut f = Feed::mold_with(2, |s| s.wait = vec![false, false]).joined();
    for line in [A, B] {
        f.of("S2").data(1, line, 1..2);
        f.of("S2").data(2, line, 2..3);
    }
    f.says(&["2 line A up>other session", "2 line B up>other session"]);
    f.wait(2_000);
    f.says(&[
        "2000 epoch_end S1 2 grace",
        "2000 epoch S2 1",
        "2000 line A other session>up",
        "2000 line B other session>up",
    ]);
}

#[test]
fn rule_6_2_by_grace_when_no_line_has_shown_the_old_one() {
    // B is dead, but counts as live until it is silent
    let mut f = Feed::mold().joined();
    f.heartbeat(500, B, 2);
    f.of("S2").data(600, A, 1..2);
    f.of("S2").data(700, A, 2..3);
    f.wait(2_499);
    f.says(&["700 line A up>other session"]);
    f.wait(2_500);
    f.says(&[
        "2500 epoch_end S1 2 grace",
        "2500 epoch S2 1",
        "2500 line A other session>up",
        "2500 line B up>other session",
    ]);
}

#[test]
fn rule_6_2_recovery_is_no_line_that_shows_the_old_one() {
    let mut f = Feed::mold_with(2, |s| s.recovery_timeout = Some(Nanos::from_millis(60_000))).joined();
    f.data(500, B, 4..5);
    f.of("S2").data(600, A, 1..2);
    f.of("S2").data(700, A, 2..3);
    f.data(1_500, R, 2..3);
    f.wait(2_500);
    f.says(&[
        "500 gap 2..4 B",
        "700 line A up>other session",
        "1500 filled 2..3 R",
        "2500 lost 3..4 epoch",
        "2500 epoch_end S1 5 grace",
        "2500 epoch S2 1",
        "2500 line A other session>up",
        "2500 line B up>other session",
    ]);
}

#[test]
fn rule_6_2_by_idleness_when_the_new_one_advances_and_the_old_one_does_not() {
    // a zombie line that only sends heartbeats
    let mut f = Feed::mold().joined();
    f.of("S2").data(100, A, 1..2);
    f.of("S2").data(200, A, 2..3);
    f.of("S2").data(300, A, 3..4);
    for at in (500..3_000).step_by(500) {
        f.heartbeat(at, B, 2);
    }
    f.says(&[
        "200 line A up>other session",
        "2200 epoch_end S1 2 idle",
        "2200 epoch S2 1",
        "2200 line A other session>up",
        "2200 line B up>other session",
    ]);
    assert_eq!(f.counts(B).stale, 0);
}

#[test]
fn rule_6_2_an_idle_hour_then_two_forged_frames_end_nothing() {
    let mut f = Feed::mold().joined();
    for at in (500..3_600_000).step_by(500) {
        f.heartbeat(at, A, 2);
        f.heartbeat(at, B, 2);
        if at == 3_590_000 {
            f.of("XX").data(at, A, 1..2);
            f.of("XX").data(at, A, 2..3);
        }
    }
    f.says(&["3590000 line A up>other session", "3590500 line A other session>up"]);
    // nor if the line itself shows nothing more of the old session
    let mut f = Feed::mold().joined();
    f.of("XX").data(1, A, 1..2);
    f.of("XX").data(2, A, 2..3);
    for at in (500..10_000).step_by(500) {
        f.heartbeat(at, B, 2);
    }
    f.says(&["2 line A up>other session", "3002 line A other session>silent"]);
}

#[test]
fn rule_6_2_a_restart_of_one_publisher_alone_does_not_end_the_good_stream() {
    let mut f = Feed::mold().joined();
    for n in 2..40 {
        f.data(n * 250, A, n..n + 1);
        f.of("S2").data(n * 250 + 1, B, n - 1..n);
    }
    f.says(&["751 line B up>other session"]);
    f.released("1..40");
    f.finish(9_999);
    assert_eq!(f.counts(B).implausible, 38);
}

#[test]
fn rule_6_2_at_the_bound_the_newest_is_dropped_while_a_line_shows_the_incumbent() {
    let mut f = Feed::mold_with(3, |s| s.hold_messages = 5).joined();
    f.of("S2").data(1, A, 1..3);
    f.of("S2").data(2, A, 3..5);
    // a held frame without messages counts as one
    f.of("S2").heartbeat(3, B, 5);
    f.of("S2").data(4, B, 1..2);
    f.of("S2").data(5, A, 5..7);
    f.says(&["2 line A up>other session", "4 line B up>other session"]);
    assert_eq!((f.counts(A).implausible, f.counts(B).implausible), (2, 1));
    f.of("S2").heartbeat(6, C, 5);
    f.of("S2").heartbeat(7, C, 6);
    // the frame that does not fit makes C show the new session too; now no line shows the old one, and the frame is used
    f.says(&[
        "7 epoch_end S1 2 bound",
        "7 epoch S2 1",
        "7 gap 5..6 C",
        "7 line A other session>up",
        "7 line B other session>up",
    ]);
    f.released("1..2 | 1..5");
}

#[test]
fn rule_6_2_the_bound_ends_an_incumbent_that_nobody_shows() {
    let mut f = Feed::mold_with(3, |s| {
        s.hold_messages = 5;
        s.wait = vec![true, true, true];
        s.session_grace = Nanos::from_secs(60);
    })
    .joined();
    f.of("S2").data(2_997, A, 1..3);
    f.of("S3").data(2_997, B, 1..2);
    f.of("S3").data(2_998, B, 2..3);
    f.of("S2").data(2_999, A, 3..4);
    // C is silent: A and B are live, and do not agree
    f.wait(3_000);
    f.says(&["2998 line B up>other session", "2999 line A up>other session", "3000 line C up>silent"]);
    f.of("S2").data(3_001, A, 4..6);
    // of the two, the one that has been shown for longer wins
    f.says(&["3001 epoch_end S1 2 bound", "3001 epoch S3 1", "3001 line B other session>up"]);
    f.released("1..2 | 1..3");
    f.finish(3_002);
    assert_eq!((f.counts(A).implausible, f.counts(A).stale), (5, 0));
}

#[test]
fn rule_6_2_held_frames_are_used_in_the_order_of_arrival_the_lone_ones_too() {
    let mut f = Feed::mold().joined();
    f.of("S2").data(1, A, 3..4);
    f.data(2, A, 2..3);
    f.of("S2").data(3, B, 1..2);
    f.of("S2").data(4, A, 4..5);
    f.of("S2").data(5, A, 5..6);
    f.says(&["5 line A up>other session"]);
    f.of("S2").data(6, B, 2..3);
    f.says(&[
        "6 epoch_end S1 3 lines",
        "6 epoch S2 1",
        "6 gap 1..3 A",
        "6 filled 1..2 B",
        "6 filled 2..3 B",
        "6 line A other session>up",
    ]);
    f.released("1..3 | 1..6");
}

#[test]
fn rule_6_2_a_line_whose_lone_frame_was_of_the_session_that_began_shows_it() {
    let mut f = Feed::mold().joined();
    f.end(1, A, 2);
    f.of("S2").data(2, B, 1..2);
    f.of("S2").data(3, A, 1..2);
    f.of("S2").data(4, A, 2..3);
    f.says(&["1 ended S1 2", "4 epoch_end S1 2 end", "4 epoch S2 1"]);
}

#[test]
fn rule_6_2_held_frames_of_a_session_that_did_not_begin_are_implausible() {
    let mut f = Feed::mold().joined();
    f.of("S3").data(1, B, 1..4);
    f.end(2, A, 2);
    f.of("S2").data(3, A, 1..2);
    f.of("S2").data(4, A, 2..3);
    f.finish(5);
    assert_eq!((f.counts(B).implausible, f.counts(A).implausible), (3, 0));
}

/// S1 is at 7 and has lost 3 when two forged frames of XX take over its only live line. The events so far are taken.
fn taken_over() -> Feed {
    let mut f = Feed::mold_with(1, |_| ()).joined();
    f.data(1, A, 4..6);
    f.wait(11);
    f.data(12, A, 6..7);
    f.record.take(MS);
    f.of("XX").data(20, A, 1..2);
    f.of("XX").data(21, A, 2..3);
    f.says(&["21 epoch_end S1 7 lines", "21 epoch XX 1"]);
    f
}

#[test]
fn rule_6_3_an_old_session_is_stale_up_to_its_next_and_a_stranger_above() {
    let mut f = taken_over();
    f.data(22, A, 5..7);
    assert_eq!(f.counts(A).stale, 2);
    f.heartbeat(23, A, 7);
    f.says(&["23 line A up>other session"]);
    f.of("XX").data(24, A, 3..4);
    f.says(&["24 line A other session>up"]);
}

#[test]
fn rule_6_3_a_session_that_wins_back_resumes_where_it_stood() {
    let mut f = taken_over();
    f.data(30, A, 7..8);
    f.says(&[]);
    f.data(31, A, 8..9);
    f.says(&["31 epoch_end XX 3 lines", "31 epoch S1 7"]);
    // a copy of what was lost before is late, once; a copy of what had arrived is a duplicate
    f.data(32, A, 3..5);
    f.data(33, A, 3..4);
    f.says(&[]);
    f.late("3..4");
    f.released("1..3 lost 3..4 4..7 | 1..3 | 7..9");
    f.finish(40);
    let epochs: Vec<(String, u64, u64, u64, u64)> = f
        .report()
        .epochs
        .iter()
        .map(|e| (e.session.to_string().trim_end().into(), e.first.0, e.next.0, e.delivered, e.lost))
        .collect();
    assert_eq!(epochs, [("S1".into(), 1, 9, 7, 1), ("XX".into(), 1, 3, 2, 0)], "one entry each");
    assert_eq!((f.counts(A).late, f.counts(A).duplicate), (1, 1 + 2), "joining took a copy");
}

#[test]
fn rule_6_3_lines_enter_a_resumed_epoch_anew() {
    let mut f = taken_over();
    f.data(30, A, 9..10);
    f.data(31, A, 10..11);
    f.says(&["31 epoch_end XX 3 lines", "31 epoch S1 7", "31 gap 7..9 A"]);
    f.finish(32);
    f.released("1..3 lost 3..4 4..7 | 1..3 | lost 7..9 9..11");
    // 3 in the first run; in the second, the account starts where the epoch was resumed: 7 and 8
    assert_eq!(f.counts(A).missing, 3);
}

#[test]
fn rule_6_3_a_session_that_ended_by_its_own_end_does_not_come_back() {
    let mut f = Feed::mold_with(1, |_| ()).joined();
    f.end(1, A, 3);
    f.of("S2").data(2, A, 1..2);
    f.of("S2").data(3, A, 2..3);
    f.record.take(MS);
    f.data(4, A, 3..5);
    f.data(5, A, 5..6);
    f.data(6, A, 6..7);
    f.says(&["5 line A up>other session"]);
    assert_eq!(f.counts(A).stale, 4);
    f.wait(2_900);
    f.says(&[]);
}

#[test]
fn rule_6_3_a_zombie_that_turns_a_stranger_is_shown_from_then_on() {
    // S1 was given up; A has repeated its last heartbeat ever since, while B is idle in S2
    let mut f = Feed::mold().joined();
    f.of("S2").data(100, B, 1..2);
    f.of("S2").data(200, B, 2..3);
    f.of("S2").data(300, B, 3..4);
    for at in (500..60_000).step_by(500) {
        f.heartbeat(at, A, 2);
        f.of("S2").heartbeat(at, B, 4);
    }
    f.says(&[
        "200 line B up>other session",
        "2200 epoch_end S1 2 idle",
        "2200 epoch S2 1",
        "2200 line A up>other session",
        "2200 line B other session>up",
    ]);
    // one frame above it, forged or not, does not mean that the session was shown for the length of the grace
    f.data(60_000, A, 2..3);
    f.of("S2").heartbeat(60_100, B, 4);
    for at in (60_500..90_000).step_by(500) {
        f.heartbeat(at, A, 2);
        f.of("S2").heartbeat(at, B, 4);
    }
    // nor do two with its heartbeats in between
    f.data(90_000, A, 3..4);
    f.of("S2").heartbeat(90_100, B, 4);
    f.says(&[]);
    // but a session that goes on does, two seconds later
    for n in 4..9 {
        f.data(86_000 + n * 1_000 + 200, A, n..n + 1);
        f.of("S2").heartbeat(86_000 + n * 1_000 + 300, B, 4);
    }
    f.says(&[
        "92000 epoch_end S2 4 idle",
        "92000 epoch S1 2",
        "92000 line A other session>up",
        "92000 line B up>other session",
    ]);
    f.released("1..2 | 1..4 | 2..9");
}

#[test]
fn rule_6_3_the_last_eight_sessions_are_remembered_and_the_winner_is_one_of_them() {
    let names = ["S1", "S2", "S3", "S4", "S5", "S6", "S7", "S8", "S9"];
    let mut f = Feed::mold_with(1, |_| ()).joined();
    let mut at = 0;
    for name in &names[1..] {
        at += 1;
        f.of(name).data(at, A, 1..2);
        f.of(name).data(at, A, 2..3);
    }
    f.record.take(MS);
    // eight are over, and S1 is the oldest: it comes back, and must not be forgotten on the way
    f.of("S1").data(50, A, 3..4);
    f.of("S1").data(51, A, 4..5);
    f.says(&["51 epoch_end S9 3 lines", "51 epoch S1 3"]);
    // and S2 is the ninth from the last once S10 begins
    f.of("S10").data(52, A, 1..2);
    f.of("S10").data(53, A, 2..3);
    f.of("S11").data(54, A, 1..2);
    f.of("S11").data(55, A, 2..3);
    f.record.take(MS);
    f.of("S2").data(60, A, 3..4);
    f.of("S2").data(61, A, 4..5);
    f.says(&["61 epoch_end S11 3 lines", "61 epoch S2 1", "61 gap 1..3 A"]);
}
