//! ARBITRATION 6.5: the end of a session.

use super::*;

#[test]
fn rule_6_5_the_end_is_said_when_every_live_line_has_reached_it() {
    let mut f = Feed::mold().joined();
    f.data(1, A, 2..5);
    f.end(2, A, 5);
    f.says(&[]);
    f.data(3, B, 2..4);
    f.says(&[]);
    f.data(4, B, 4..5);
    f.says(&["4 ended S1 5"]);
    f.end(5, B, 5);
    f.wait(50);
    f.says(&[]);
    assert!(f.arbiter.all_ended());
}

#[test]
fn rule_6_5_or_a_gap_timeout_after_the_first_frame_that_said_it() {
    let mut f = Feed::mold().joined();
    f.end(1, A, 2);
    f.data(1, B, 1..2);
    f.says(&["1 ended S1 2"]);
    let mut f = Feed::mold().joined();
    f.data(1, A, 2..3);
    f.end(2, A, 3);
    f.end(5, A, 3);
    f.wait(50);
    f.says(&["12 ended S1 3"]);
}

#[test]
fn rule_6_5_not_before_all_up_to_it_is_released_or_lost() {
    let mut f = Feed::mold().joined();
    f.end(1, A, 3);
    f.end(2, B, 3);
    f.says(&["1 gap 2..3 A"]);
    f.wait(20);
    f.says(&["11 lost 2..3 deadline", "11 ended S1 3"]);
    assert!(f.report().ended);
}

#[test]
fn rule_6_5_data_beyond_the_end_unsays_it() {
    let mut f = Feed::mold().joined();
    f.end(1, A, 2);
    f.end(1, B, 2);
    f.says(&["1 ended S1 2"]);
    f.data(2, A, 2..3);
    assert!(!f.arbiter.all_ended() && !f.report().ended);
    // a frame of another session now meets a running one
    f.of("S2").data(3, A, 1..2);
    f.of("S2").data(4, A, 2..3);
    f.says(&["4 line A up>other session"]);
    f.data(5, B, 2..3);
    f.end(6, B, 3);
    f.says(&[
        "6 ended S1 3",
        "6 epoch_end S1 3 end",
        "6 epoch S2 1",
        "6 line A other session>up",
        "6 line B up>other session",
    ]);
}

#[test]
fn rule_6_5_the_ended_epoch_stays_the_current_one() {
    let mut f = Feed::mold().joined();
    f.end(1, A, 2);
    f.end(1, B, 2);
    f.data(2, A, 1..2);
    f.heartbeat(3, B, 2);
    f.finish(4);
    f.says(&["1 ended S1 2"]);
    assert_eq!((f.counts(A).duplicate, f.counts(A).stale), (1, 0));
}

#[test]
fn rule_6_5_messages_may_end_their_session_themselves() {
    let mut f = Feed::hand().joined();
    f.frame(1, A, FrameKind::Last, 2..5);
    f.says(&[]);
    f.data(2, B, 2..4);
    f.frame(3, B, FrameKind::Last, 4..5);
    f.says(&["3 ended S1 5"]);
    f.released("1..5");
    assert!(f.arbiter.all_ended());
    assert_eq!((f.counts(A).first_arrivals, f.counts(B).duplicate), (1 + 3, 1 + 3));
    // a copy announces it again; data beyond it takes it back
    f.frame(4, A, FrameKind::Last, 2..5);
    f.says(&[]);
    f.data(5, A, 5..6);
    assert!(!f.report().ended);
}
