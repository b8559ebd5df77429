//! ARBITRATION 6.4, 6.6 and 6.7: resets, restarts, and lines left behind.

use super::*;

const MARKED: Reset = Reset::Marked(1);
const HEARTBEAT: Reset = Reset::Heartbeat(1);

/// Both lines are at 40.
fn at_40(mut f: Feed) -> Feed {
    f.data(1, A, 2..40);
    f.data(1, B, 2..40);
    f.says(&[]);
    f
}

#[test]
fn rule_6_4_a_reset_opens_an_epoch_once_every_line_has_moved() {
    let mut f = at_40(Feed::hand().joined());
    f.reset(MARKED).data(2, A, 1..2);
    f.data(3, A, 2..3);
    f.says(&[]);
    // until then the old epoch goes on, and frames of the new one are held
    f.data(4, B, 40..41);
    f.released("1..41");
    f.reset(MARKED).data(5, B, 1..2);
    f.says(&["5 epoch_end S1 41 reset", "5 epoch S1 1"]);
    f.released("1..41 | 1..3");
    // A lacks 40, but a line is charged only with what it has itself gone past, and it has not
    f.finish(6);
    assert_eq!((f.counts(A).missing, f.counts(B).missing), (0, 0));
    assert_eq!(f.counts(B).duplicate, 1 + 38 + 1);
}

#[test]
fn rule_6_4_or_a_gap_timeout_after_it_was_acted_on() {
    let mut f = at_40(Feed::hand().joined());
    f.reset(MARKED).data(2, A, 1..2);
    f.data(5, B, 39..40);
    f.wait(11);
    f.says(&[]);
    f.wait(12);
    f.says(&["12 epoch_end S1 40 reset", "12 epoch S1 1"]);
    f.released("1..40 | 1..2");
}

#[test]
fn rule_6_4_not_while_the_old_epoch_has_an_open_gap() {
    let mut f = at_40(Feed::hand().joined());
    f.data(2, A, 41..42);
    f.reset(MARKED).data(3, A, 1..2);
    f.reset(MARKED).data(4, B, 1..2);
    f.says(&["2 gap 40..41 A"]);
    f.wait(12);
    f.says(&["12 lost 40..41 deadline", "12 epoch_end S1 42 reset", "12 epoch S1 1"]);
    f.released("1..40 lost 40..41 41..42 | 1..2");
}

#[test]
fn rule_6_4_at_its_deadline_open_gaps_are_lost_with_the_epoch() {
    let mut f = at_40(Feed::hand().joined());
    f.reset(MARKED).data(2, A, 1..2);
    f.data(5, B, 41..42);
    f.wait(20);
    f.says(&["5 gap 40..41 B", "12 lost 40..41 epoch", "12 epoch_end S1 42 reset", "12 epoch S1 1"]);
}

#[test]
fn rule_6_4_a_line_that_is_not_live_or_does_not_wait_is_not_waited_for() {
    let mut f = at_40(Feed::hand_with(3, |s| s.wait = vec![true, true, false]).joined());
    f.data(2_000, A, 40..41);
    f.wait(3_500);
    f.record.take(MS);
    // B has been silent since 3,001, C does not wait
    f.reset(MARKED).data(3_501, A, 1..2);
    f.says(&["3501 epoch_end S1 41 reset", "3501 epoch S1 1"]);
}

#[test]
fn rule_6_4_at_the_hold_limit_at_once() {
    let mut f = at_40(Feed::hand_with(2, |s| s.hold_messages = 3).joined());
    f.reset(MARKED).data(2, A, 1..2);
    f.data(3, A, 2..4);
    f.says(&[]);
    f.data(4, A, 4..5);
    f.says(&["4 epoch_end S1 40 reset", "4 epoch S1 1"]);
    f.released("1..40 | 1..5");
}

#[test]
fn rule_6_4_a_second_reset_begins_the_first_at_once() {
    let mut f = at_40(Feed::hand().joined());
    f.reset(MARKED).data(2, A, 1..2);
    f.data(3, A, 2..4);
    f.unlike(1).reset(MARKED).data(4, A, 1..2);
    f.says(&["4 epoch_end S1 40 reset", "4 epoch S1 1"]);
    f.wait(14);
    f.says(&["14 epoch_end S1 4 reset", "14 epoch S1 1"]);
    f.released("1..40 | 1..4 | 1..2");
}

#[test]
fn rule_6_4_a_change_of_session_begins_it_at_once() {
    let mut f = at_40(Feed::hand().joined());
    f.reset(MARKED).data(2, A, 1..3);
    for (at, line) in [(3, A), (4, B)] {
        f.of("S2").data(at, line, 1..2);
        f.of("S2").data(at, line, 2..3);
    }
    f.says(&[
        "3 line A up>other session",
        "4 epoch_end S1 40 reset",
        "4 epoch S1 1",
        "4 epoch_end S1 3 lines",
        "4 epoch S2 1",
        "4 line A other session>up",
    ]);
    f.released("1..40 | 1..3 | 1..3");
}

#[test]
fn rule_6_4_a_line_that_falls_below_its_mark_is_moved() {
    let mut f = at_40(Feed::hand().joined());
    f.reset(MARKED).data(2, A, 1..2);
    // B lost the reset; 3 is more than settle below its mark of 40
    f.data(3, B, 2..4);
    f.says(&["3 epoch_end S1 40 reset", "3 epoch S1 1"]);
    f.released("1..40 | 1..4");
    assert_eq!(f.counts(B).duplicate, 1 + 38);
}

#[test]
fn rule_6_4_a_reset_on_a_line_without_data_in_the_newest_epoch_only_moves_it() {
    // resets repeat for seconds, are not byte-identical, and reach the lines at different times
    let mut f = at_40(Feed::hand().joined());
    for n in 0..5 {
        f.unlike(n).reset(MARKED).data(2, A, 1..2);
    }
    for n in 5..9 {
        f.unlike(n).reset(MARKED).data(3, B, 1..2);
    }
    f.says(&["3 epoch_end S1 40 reset", "3 epoch S1 1"]);
    f.data(4, A, 2..3);
    f.says(&[]);
    f.released("1..40 | 1..3");
}

#[test]
fn rule_6_4_a_copy_of_a_reset_that_was_acted_on_opens_nothing() {
    let mut f = at_40(Feed::hand().joined());
    f.reset(MARKED).data(2, A, 1..2);
    f.reset(MARKED).data(2, B, 1..2);
    f.data(3, A, 2..30);
    f.data(3, B, 2..30);
    f.says(&["2 epoch_end S1 40 reset", "2 epoch S1 1"]);
    f.reset(MARKED).data(4, A, 1..2);
    f.reset(MARKED).data(5, B, 1..2);
    f.wait(50);
    f.says(&[]);
}

#[test]
fn rule_6_4_a_copy_moves_a_line_that_is_not_in_the_newest() {
    let mut f = at_40(Feed::hand().joined());
    f.reset(MARKED).data(2, A, 1..2);
    f.data(3, A, 2..30);
    f.wait(12);
    f.record.take(MS);
    // B is still draining the old epoch: stale. Its own reset, byte-identical to A's, moves it
    f.data(13, B, 38..40);
    assert_eq!(f.counts(B).stale, 2);
    f.reset(MARKED).data(14, B, 1..2);
    f.data(15, B, 30..31);
    f.says(&[]);
    f.released("1..40 | 1..31");
}

#[test]
fn rule_6_4_the_ninth_last_is_acted_on_again() {
    let mut f = at_40(Feed::hand_with(1, |_| ()).joined());
    // nine resets, each followed by data; with one line, each epoch begins at once
    for n in 0..9 {
        f.unlike(n).reset(MARKED).data(2, A, 1..2);
        f.data(2, A, 2..3);
    }
    assert_eq!(f.report().epochs.len(), 10);
    f.unlike(1).reset(MARKED).data(3, A, 1..2);
    assert_eq!(f.report().epochs.len(), 10, "one of the last eight");
    f.unlike(0).reset(MARKED).data(3, A, 1..2);
    assert_eq!(f.report().epochs.len(), 11, "the ninth from the last");
}

#[test]
fn rule_6_4_the_new_epoch_starts_at_the_number_that_the_reset_names() {
    let mut f = at_40(Feed::hand().joined());
    f.reset(Reset::Marked(500)).data(2, A, 500..501);
    f.reset(Reset::Marked(500)).data(2, B, 500..501);
    f.data(3, A, 503..504);
    f.says(&["2 epoch_end S1 40 reset", "2 epoch S1 500", "3 gap 501..503 A"]);
}

#[test]
fn rule_6_4_a_heartbeat_as_reset_is_acted_on_if_the_next_frame_is_below_the_mark_too() {
    let mut f = at_40(Feed::hand().joined());
    f.reset(HEARTBEAT).heartbeat(2, A, 1);
    f.reset(HEARTBEAT).heartbeat(2, A, 1);
    f.says(&[]);
    f.data(3, A, 1..3);
    f.reset(HEARTBEAT).heartbeat(4, B, 1);
    f.says(&[]);
    f.data(5, B, 1..2);
    f.says(&["5 epoch_end S1 40 reset", "5 epoch S1 1"]);
    f.released("1..40 | 1..3");
}

#[test]
fn rule_6_4_a_reset_heartbeat_reordered_past_the_first_data_and_its_copy_do_nothing() {
    let mut f = Feed::hand().joined();
    f.data(1, A, 2..4);
    f.reset(HEARTBEAT).heartbeat(2, A, 1);
    f.reset(HEARTBEAT).heartbeat(3, A, 1);
    f.data(4, A, 4..6);
    f.wait(100);
    f.says(&[]);
    f.released("1..6");
}

fn cme_at_2000() -> Feed {
    let mut f = Feed::cme().joined();
    (2..2_000).for_each(|n| f.data(1, A, n..n + 1));
    (2..2_000).for_each(|n| f.data(1, B, n..n + 1));
    f.says(&["1 line B up>lagging slow", "1 line B lagging>up"][..0]);
    f
}

fn each(f: &mut Feed, at: u64, line: Line, numbers: Range<u64>) {
    numbers.for_each(|n| f.data(at, line, n..n + 1));
}

#[test]
fn rule_6_6_a_line_that_falls_to_the_start_and_goes_on_for_eight_frames_has_restarted() {
    let mut f = cme_at_2000();
    each(&mut f, 2, A, 1..8);
    f.says(&[]);
    f.released("1..2000");
    each(&mut f, 3, A, 8..9);
    f.says(&["3 epoch_end - 2000 restart", "3 epoch - 1"]);
    f.released("1..2000 | 1..9");
    // B is in the older epoch until its numbers fall too
    each(&mut f, 4, B, 1_999..2_000);
    each(&mut f, 5, B, 1..10);
    f.says(&[]);
    f.released("1..2000 | 1..10");
    let b = f.counts(B);
    assert_eq!((b.stale, b.duplicate, b.first_arrivals), (1, 1 + 1_998 + 8, 1));
}

#[test]
fn rule_6_6_only_the_first_must_be_near_the_start() {
    let mut f = cme_at_2000();
    each(&mut f, 2, A, 100..101);
    for n in 1..8 {
        each(&mut f, 3, A, 100 + n * 90..101 + n * 90);
    }
    f.says(&[
        "3 epoch_end - 2000 restart",
        "3 epoch - 1",
        "3 gap 1..100 A",
        "3 gap 101..190 A",
        "3 gap 191..280 A",
        "3 gap 281..370 A",
        "3 gap 371..460 A",
        "3 gap 461..550 A",
        "3 gap 551..640 A",
        "3 gap 641..730 A",
    ]);
    let mut f = cme_at_2000();
    each(&mut f, 2, A, 102..120);
    f.says(&[]);
}

#[test]
fn rule_6_6_within_settle_it_cannot_be_told_from_old_copies() {
    let mut f = Feed::cme().joined();
    each(&mut f, 1, A, 2..12);
    each(&mut f, 2, A, 2..12);
    f.says(&[]);
    assert_eq!(f.counts(A).duplicate, 10);
}

#[test]
fn rule_6_6_another_line_that_advances_calls_it_off() {
    let mut f = cme_at_2000();
    each(&mut f, 2, A, 1..8);
    each(&mut f, 3, B, 2_000..2_001);
    each(&mut f, 4, A, 8..9);
    f.says(&[]);
    assert_eq!(f.counts(A).duplicate, 7, "what was held were old copies; the eighth is a first one again");
    f.finish(5);
    assert_eq!((f.counts(A).duplicate, f.counts(A).implausible), (7, 1));
}

#[test]
fn rule_6_6_another_line_that_does_not_advance_does_not() {
    let mut f = cme_at_2000();
    each(&mut f, 2, A, 1..5);
    each(&mut f, 3, B, 1_995..2_000);
    each(&mut f, 4, A, 5..9);
    f.says(&["4 epoch_end - 2000 restart", "4 epoch - 1"]);
}

#[test]
fn rule_6_6_a_line_that_goes_on_where_it_was_calls_it_off() {
    let mut f = cme_at_2000();
    each(&mut f, 2, A, 1..8);
    each(&mut f, 3, A, 2_000..2_001);
    each(&mut f, 4, A, 8..9);
    f.says(&[]);
    f.released("1..2001");
}

#[test]
fn rule_6_6_being_lower_than_the_channel_is_lagging_not_restarting() {
    let mut f = Feed::cme().joined();
    each(&mut f, 1, A, 2..2_000);
    each(&mut f, 2, B, 2..60);
    assert_eq!(f.report().epochs.len(), 1);
    assert_eq!(f.counts(B).duplicate, 1 + 58);
}

#[test]
fn rule_6_6_in_a_framing_that_marks_its_resets_there_is_none() {
    let mut f = at_40(Feed::hand().joined());
    each(&mut f, 2, A, 1..20);
    f.says(&[]);
    assert_eq!(f.counts(A).duplicate, 19);
}

#[test]
fn rule_6_6_a_restart_long_after_is_one_and_both_lines_may_be_in_it() {
    let mut f = cme_at_2000();
    each(&mut f, 2, A, 2_000..70_100);
    each(&mut f, 2, B, 2_000..70_100);
    f.record.take(MS);
    for n in 1..9 {
        each(&mut f, 3, A, n..n + 1);
        each(&mut f, 3, B, n..n + 1);
    }
    f.says(&["3 epoch_end - 70100 restart", "3 epoch - 1"]);
    f.released("1..70100 | 1..9");
    let b = f.counts(B);
    assert_eq!((b.duplicate, b.stale, b.before_join), (1 + 1_998 + 68_100 + 8, 0, 0));
}

/// A reset that B did not take part in: A is in the second epoch at 30, B in the first at 40.
fn b_left_behind() -> Feed {
    let mut f = at_40(Feed::hand().joined());
    f.reset(MARKED).data(2, A, 1..2);
    f.wait(12);
    f.data(13, A, 2..30);
    f.record.take(MS);
    f
}

#[test]
fn rule_6_7_frames_of_an_older_epoch_are_stale() {
    let mut f = b_left_behind();
    f.data(14, B, 40..45);
    f.says(&[]);
    assert_eq!(f.counts(B).stale, 5);
}

#[test]
fn rule_6_7_a_line_enters_the_newest_by_its_own_reset() {
    let mut f = b_left_behind();
    f.unlike(3).reset(MARKED).data(14, B, 1..2);
    f.data(15, B, 30..31);
    f.wait(100);
    f.says(&[]);
    f.released("1..40 | 1..31");
}

#[test]
fn rule_6_7_or_when_it_falls_below_its_own_mark() {
    let mut f = b_left_behind();
    f.data(14, B, 30..31);
    assert_eq!(f.counts(B).stale, 1, "40 less 10 is not below by more than settle");
    f.data(15, B, 29..31);
    f.says(&[]);
    f.released("1..40 | 1..31");
}

#[test]
fn rule_6_7_or_after_it_was_silent() {
    let mut f = b_left_behind();
    f.data(2_900, A, 30..39);
    f.data(3_500, B, 39..40);
    f.says(&["763 line B up>lagging frozen", "3001 line B lagging>silent", "3500 line B silent>up"]);
    f.released("1..40 | 1..40");
}

#[test]
fn rule_6_7_or_with_a_number_near_the_newest_mark_and_far_from_its_own() {
    let mut f = b_left_behind();
    f.data(14, A, 30..200);
    f.data(15, B, 50..51);
    assert_eq!(f.counts(B).stale, 1, "50 is not more than settle from its own 40");
    f.data(16, B, 150..202);
    f.says(&[]);
    f.released("1..40 | 1..202");
}

#[test]
fn rule_6_4_a_frame_outside_of_the_sequence_may_mark_a_reset() {
    let mut f = at_40(Feed::hand().joined());
    for at in [2, 3] {
        for line in [A, B] {
            f.unsequenced().reset(MARKED).unlike(at as u8).data(at, line, 0..1);
        }
    }
    f.says(&["2 epoch_end S1 40 reset", "2 epoch S1 1"]);
    f.data(4, A, 1..2);
    f.data(5, B, 1..3);
    f.released("1..40 | 1..3");
    assert_eq!(f.unsequenced_messages(), 4);
    assert_eq!(f.counts(A).unsequenced, 2);
}

#[test]
fn rule_6_4_one_outside_of_the_sequence_before_all_data_opens_nothing() {
    let mut f = Feed::hand();
    f.heartbeat(1, A, 1);
    f.heartbeat(1, B, 1);
    f.record.take(MS);
    f.unsequenced().reset(MARKED).data(2, A, 0..1);
    f.data(3, A, 1..3);
    f.says(&[]);
    f.released("1..3");
}

#[test]
fn rule_6_4_the_first_packets_that_carry_a_flag_may_come_in_any_order() {
    let mut f = at_40(Feed::hand().joined());
    f.reset(MARKED).data(2, A, 1..2);
    f.reset(MARKED).data(2, A, 2..3);
    f.reset(MARKED).data(3, B, 2..3);
    f.says(&["3 epoch_end S1 40 reset", "3 epoch S1 1"]);
    f.data(4, B, 4..5);
    f.says(&["4 gap 3..4 B"]);
    // it carries the flag and comes after a packet that does not: it belongs to the run
    f.reset(MARKED).data(5, B, 3..4);
    f.says(&["5 filled 3..4 B"]);
    f.data(6, A, 4..9);
    f.released("1..40 | 1..9");
    // but if the line has brought the number already, its numbers start over
    f.reset(MARKED).unlike(1).data(7, A, 2..3);
    f.reset(MARKED).unlike(1).data(8, B, 2..3);
    f.says(&["8 epoch_end S1 9 reset", "8 epoch S1 1", "8 gap 1..2 A"]);
}
