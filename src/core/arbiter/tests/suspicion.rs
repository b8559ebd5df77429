//! ARBITRATION 4: what may not be believed at once.

use super::*;

#[test]
fn rule_4_1_a_forged_far_number_deafens_nothing() {
    let mut f = Feed::mold().joined();
    f.data(1, A, 1_000_000..1_000_001);
    f.data(2, A, 2..3);
    f.data(3, B, 2..4);
    f.says(&[]);
    f.released("1..4");
    f.finish(4);
    assert_eq!(f.counts(A).implausible, 1);
}

#[test]
fn rule_4_1_max_jump_itself_is_believed_and_one_more_is_not() {
    let mut f = Feed::mold().joined();
    f.data(1, A, 103..104);
    f.says(&[]);
    f.data(2, B, 102..103);
    // 102 is 100 above the mark of 2; after that, 103 no longer jumps too far
    f.says(&["2 gap 2..102 B"]);
    f.wait(12);
    f.released("1..2 lost 2..102 102..104");
}

#[test]
fn rule_4_1_a_heartbeat_jumps_as_data_does() {
    let mut f = Feed::mold().joined();
    f.heartbeat(1, A, 900);
    f.says(&[]);
    f.data(2, B, 950..951);
    f.says(&["2 gap 2..900 A", "2 gap 900..950 B"]);
}

#[test]
fn rule_4_1_after_an_outage_of_all_lines_the_second_real_frame_restores_the_stream() {
    let mut f = Feed::mold().joined();
    f.data(1, A, 5_000..5_002);
    f.says(&[]);
    f.data(2, B, 5_000..5_001);
    f.says(&["2 gap 2..5000 A"]);
    f.wait(12);
    f.says(&["12 lost 2..5000 deadline"]);
    f.released("1..2 lost 2..5000 5000..5002");
}

#[test]
fn rule_4_1_one_line_bears_itself_out_but_not_by_a_byte_identical_copy() {
    let mut f = Feed::mold().joined();
    f.data(1, A, 5_000..5_002);
    f.data(2, A, 5_000..5_002);
    f.data(3, A, 5_000..5_002);
    f.says(&[]);
    f.data(4, A, 5_000..5_001);
    f.says(&["4 gap 2..5000 A"]);
    assert_eq!((f.counts(A).first_arrivals, f.counts(A).duplicate), (1 + 2, 2 + 2 + 1));
}

#[test]
fn rule_4_1_recovery_confirms_nothing_and_is_not_what_confirms() {
    let mut f = Feed::mold().joined();
    f.data(1, R, 5_000..5_001);
    f.data(2, A, 5_001..5_002);
    f.data(3, R, 5_002..5_003);
    f.says(&[]);
    // two frames from lines agree, and the one that recovery brought is near them
    f.data(4, B, 5_003..5_004);
    f.says(&["4 gap 2..5000 R"]);
}

#[test]
fn rule_4_1_agreement_is_direct_and_not_through_a_third() {
    let mut f = Feed::mold().joined();
    f.data(1, A, 1_000..1_001);
    f.data(2, A, 1_190..1_191);
    f.says(&[]);
    // 1,280 is near 1,190; 1,000 is not near 1,280
    f.data(3, B, 1_280..1_281);
    // but it is now below the mark and no longer jumps too far, so it is used; and both lines have gone past what comes before it
    f.says(&["3 gap 2..1190 A", "3 gap 1191..1280 B", "3 filled 1000..1001 A", "3 lost 2..1000 settled"]);
    f.finish(4);
    assert_eq!(f.counts(A).implausible, 0);
}

#[test]
fn rule_4_1_a_parked_frame_above_those_that_agree_stays_parked() {
    let mut f = Feed::mold().joined();
    f.data(1, A, 9_000..9_001);
    f.data(2, A, 1_000..1_001);
    f.data(3, B, 1_000..1_001);
    f.says(&["3 gap 2..1000 A"]);
    f.finish(5);
    assert_eq!(f.counts(A).implausible, 1);
}

#[test]
fn rule_4_1_those_that_agree_are_processed_in_the_order_of_arrival() {
    let mut f = Feed::mold().joined();
    f.data(1, A, 5_010..5_011);
    f.data(2, B, 5_000..5_001);
    f.says(&["2 gap 2..5010 A", "2 filled 5000..5001 B"]);
    f.first_copies("1..2 gap 2..5010 5010..5011 late 5000..5001");
}

#[test]
fn rule_4_1_a_parked_frame_that_is_no_longer_beyond_is_used() {
    let mut f = Feed::mold().joined();
    f.data(1, A, 150..151);
    f.data(2, B, 2..40);
    f.says(&[]);
    f.data(3, B, 40..60);
    f.says(&["3 gap 60..150 A"]);
}

#[test]
fn rule_4_2_two_first_frames_on_one_line_begin_a_channel_and_a_copy_does_not() {
    let mut f = Feed::mold();
    f.data(1, A, 7..8);
    f.data(2, A, 7..8);
    f.says(&[]);
    f.data(3, A, 8..9);
    f.says(&["3 epoch S1 7", "3 line A waiting>up"]);
    f.released("7..9");
    assert_eq!(f.counts(A).duplicate, 1);
}

#[test]
fn rule_4_2_the_start_is_the_lowest_of_those_that_agree() {
    let mut f = Feed::mold();
    f.data(1, A, 50..51);
    f.data(2, B, 20..22);
    f.says(&["2 epoch S1 20", "2 gap 20..50 A", "2 filled 20..22 B", "2 line A waiting>up", "2 line B waiting>up"]);
    f.released("20..22");
}

#[test]
fn rule_4_2_a_parked_first_frame_below_the_start_is_before_join() {
    let mut f = Feed::mold();
    f.data(1, A, 5..9);
    f.data(2, A, 5_000..5_001);
    f.data(3, B, 5_001..5_002);
    f.says(&["3 epoch S1 5000", "3 line A waiting>up", "3 line B waiting>up"]);
    f.released("5000..5002");
    assert_eq!((f.counts(A).before_join, f.counts(A).late, f.counts(A).stale), (4, 0, 0));
}

#[test]
fn rule_4_2_a_parked_first_frame_above_the_start_is_parked_on() {
    let mut f = Feed::mold();
    f.data(1, A, 5_000..5_001);
    f.data(2, A, 1..2);
    f.data(3, B, 1..2);
    f.says(&["3 epoch S1 1", "3 line A waiting>up", "3 line B waiting>up"]);
    f.data(4, B, 5_001..5_002);
    f.says(&["4 gap 2..5000 A"]);
}

#[test]
fn rule_4_2_first_frames_of_different_sessions_do_not_agree() {
    let mut f = Feed::mold();
    f.of("S9").data(1, A, 1..2);
    f.data(2, B, 1..2);
    f.says(&[]);
    f.data(3, A, 1..2);
    f.says(&["3 epoch S1 1", "3 line A waiting>up", "3 line B waiting>up"]);
    f.finish(4);
    assert_eq!(f.counts(A).implausible, 1);
}

#[test]
fn rule_4_2_a_frame_that_straddles_the_start_is_used_from_there_on() {
    let mut f = Feed::mold();
    f.data(1, A, 10..11);
    f.data(1, B, 12..13);
    f.data(2, B, 7..12);
    f.says(&["1 epoch S1 10", "1 gap 11..12 B", "1 line A waiting>up", "1 line B waiting>up", "2 filled 11..12 B"]);
    f.released("10..13");
    let b = f.counts(B);
    assert_eq!((b.before_join, b.duplicate, b.first_arrivals, b.late), (3, 1, 2, 0));
    f.heartbeat(3, A, 4);
    f.says(&[]);
}

#[test]
fn rule_4_3_a_lone_first_frame_is_believed_at_the_end() {
    let mut f = Feed::mold();
    f.data(1, A, 7..9);
    f.data(2, A, 7..9);
    f.finish(3);
    f.says(&["3 epoch S1 7", "3 line A waiting>up"]);
    f.released("7..9");
    assert_eq!((f.counts(A).first_arrivals, f.counts(A).duplicate, f.arbiter.no_channel()), (2, 2, 0));
}

#[test]
fn rule_4_3_two_that_do_not_agree_are_not_alone() {
    let mut f = Feed::mold();
    f.data(1, A, 7..9);
    f.data(2, B, 7_000..7_001);
    f.finish(3);
    f.says(&[]);
    assert_eq!((f.arbiter.channels().count(), f.arbiter.no_channel()), (0, 2));
}

#[test]
fn rule_4_3_a_lone_first_frame_beside_another_channel_is_not_believed() {
    let mut f = Feed::hand();
    f.on(0, Some(1)).data(0, A, 1..2);
    f.on(0, Some(1)).data(0, B, 1..2);
    f.on(0, Some(2)).data(0, A, 1..2);
    f.record.take(MS);
    f.finish(1);
    f.says(&[]);
    assert_eq!(f.arbiter.no_channel(), 1);
}

#[test]
fn rule_4_4_unsequenced_frames_are_delivered_and_touch_nothing() {
    let mut f = Feed::hand().joined();
    f.unsequenced().data(1, A, 0..3);
    f.unsequenced().data(1, B, 0..3);
    f.data(2, A, 2..3);
    f.says(&[]);
    f.released("1..3");
    let a = f.counts(A);
    assert_eq!((a.unsequenced, a.messages, a.first_arrivals), (3, 2, 2));
    assert_eq!(f.unsequenced_messages(), 6, "from every line: nothing tells the copies apart");
}

#[test]
fn rule_4_4_where_the_framing_has_no_zero_a_zero_is_malformed() {
    use crate::framing::Malformed;

    let mut bytes = Vec::new();
    MoldUdp64.encode(Session::NONE, 0, &[b"m"], 1_400, &mut bytes);
    assert_eq!(MoldUdp64.frame(&bytes, &mut 0).unwrap().unwrap_err(), Malformed::Sequence);
    assert_eq!(CmeMdp3.frame(&[0; 30], &mut 0).unwrap().unwrap_err(), Malformed::Sequence);
}

#[test]
fn rule_4_5_a_forged_frame_within_max_jump_costs_what_it_skips() {
    let mut f = Feed::mold().joined();
    f.data(1, A, 90..91);
    f.says(&["1 gap 2..90 A"]);
    f.data(2, A, 2..10);
    f.data(3, B, 10..90);
    f.says(&["2 filled 2..10 A", "3 filled 10..90 B"]);
    f.released("1..91");
}
