//! ARBITRATION 3: release.

use super::*;

#[test]
fn rule_3_1_the_first_copy_by_any_line_goes_out_ascending_and_once() {
    let mut f = Feed::mold().joined();
    f.data(1, A, 2..4);
    f.data(1, B, 2..4);
    f.data(2, B, 4..6);
    f.data(3, A, 4..6);
    f.data(4, B, 7..8);
    f.data(5, A, 6..7);
    f.data(6, A, 7..8);
    f.says(&["4 gap 6..7 B", "5 filled 6..7 A"]);
    f.released("1..8");
    let (a, b) = (f.counts(A), f.counts(B));
    assert_eq!((a.first_arrivals, a.duplicate), (1 + 2 + 1, 2 + 1));
    assert_eq!((b.first_arrivals, b.duplicate), (2 + 1, 1 + 2));
}

#[test]
fn rule_3_2_a_frame_that_overlaps_is_used_message_by_message() {
    let mut f = Feed::mold().joined();
    f.data(1, A, 2..4);
    // its head was released, its tail is new
    f.data(2, B, 1..6);
    f.says(&[]);
    f.released("1..6");
    assert_eq!((f.counts(B).duplicate, f.counts(B).first_arrivals), (1 + 3, 2));
}

#[test]
fn rule_3_2_a_frame_bridges_holes_held_and_new_numbers() {
    let mut f = Feed::mold().joined();
    f.data(1, A, 3..4);
    f.data(1, A, 5..6);
    f.data(1, A, 8..9);
    f.says(&["1 gap 2..3 A", "1 gap 4..5 A", "1 gap 6..8 A"]);
    f.released("1..2");
    f.data(2, B, 1..11);
    f.says(&["2 filled 2..3 B", "2 filled 4..5 B", "2 filled 6..8 B"]);
    f.released("1..11");
    assert_eq!((f.counts(B).duplicate, f.counts(B).first_arrivals), (1 + 4, 1 + 1 + 2 + 2));
}

#[test]
fn rule_3_2_lines_that_pack_differently_lose_nothing_between_them() {
    // A packs ten and loses [11, 21); B, which packs four, brings them
    let mut f = Feed::mold().joined();
    for first in (2..42).step_by(4) {
        f.data(1, B, first..first + 4);
        if first % 10 == 2 && first != 12 {
            f.data(1, A, first..first + 10);
        }
    }
    f.released("1..42");
    assert_eq!(f.report().lost, 0);
}

#[test]
fn rule_3_3_first_copy_output_waits_for_nothing() {
    let mut f = Feed::mold().joined();
    f.data(1, A, 4..6);
    f.first_copies("1..2 gap 2..4 4..6");
    f.data(2, B, 2..3);
    f.first_copies("1..2 gap 2..4 4..6 late 2..3");
    f.data(3, B, 3..8);
    f.first_copies("1..2 gap 2..4 4..6 late 2..3 6..8 late 3..4");
    f.released("1..8");
}

#[test]
fn rule_3_3_a_heartbeat_is_no_jump_and_what_was_lost_is_late_once() {
    let mut f = Feed::mold().joined();
    f.heartbeat(1, A, 4);
    f.first_copies("1..2");
    f.data(2, B, 3..4);
    f.first_copies("1..2 gap 2..3 3..4");
    f.wait(20);
    f.data(21, A, 2..3);
    f.data(22, B, 2..3);
    f.first_copies("1..2 gap 2..3 3..4 late 2..3");
    f.late("2..3");
    f.released("1..2 lost 2..3 3..4");
}

#[test]
fn rule_3_3_first_copy_output_changes_epoch_when_the_epoch_is_confirmed() {
    let mut f = Feed::mold().joined();
    f.data(1, A, 4..5);
    f.of("S2").data(2, A, 1..2);
    f.of("S2").data(3, A, 2..3);
    f.data(4, B, 5..6);
    f.first_copies("1..2 gap 2..4 4..6");
    f.of("S2").data(5, B, 1..2);
    f.of("S2").data(6, B, 2..4);
    f.first_copies("1..2 gap 2..4 4..6 | 1..4");
}

#[test]
fn rule_3_4_every_message_of_a_line_has_one_fate() {
    let mut f = Feed::mold();
    f.data(0, A, 10..11);
    f.data(0, B, 10..12);
    f.data(1, A, 8..12);
    f.data(2, A, 14..15);
    f.wait(20);
    f.data(21, B, 12..13);
    f.data(22, B, 2_000..2_003);
    f.of("S2").data(23, A, 1..6);
    f.finish(24);
    let a = LineCounts {
        frames: 4,
        messages: 1 + 4 + 1 + 5,
        bytes: f.counts(A).bytes,
        first_arrivals: 1 + 1,
        duplicate: 2,
        before_join: 2,
        implausible: 5,
        missing: 2,
        ..LineCounts::default()
    };
    assert_eq!(f.counts(A), a);
    let b = f.counts(B);
    assert_eq!((b.messages, b.first_arrivals, b.duplicate, b.late, b.implausible), (6, 1, 1, 1, 3));
}

#[test]
fn rule_3_4_bytes_are_those_of_the_payload() {
    let mut f = Feed::mold().joined();
    f.heartbeat(1, A, 2);
    // a header of 20; "S1:1" behind two bytes of length
    assert_eq!(f.counts(A).bytes, 20 + 2 + 4 + 20);
}

#[test]
fn rule_11_a_frame_that_does_much_says_it_in_order() {
    let mut f = Feed::mold_with(2, |s| s.hold_messages = 3).joined();
    f.data(1, A, 3..4);
    f.data(1, A, 5..7);
    f.says(&["1 gap 2..3 A", "1 gap 4..5 A"]);
    // due deadlines; gap; lost for hold; line by line
    f.data(4_000, A, 10..13);
    f.says(&[
        "11 lost 2..3 deadline",
        "11 lost 4..5 deadline",
        "3000 line B up>silent",
        "3001 line A up>silent",
        "4000 gap 7..10 A",
        "4000 line A silent>up",
    ]);
    f.data(4_001, A, 14..15);
    f.says(&["4001 gap 13..14 A", "4001 lost 7..10 hold"]);
}
