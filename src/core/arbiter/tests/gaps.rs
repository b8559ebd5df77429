//! ARBITRATION 5: gaps.

use super::*;

#[test]
fn rule_5_1_a_gap_is_one_object_a_hole_and_its_pieces_inherit_its_deadline() {
    let mut f = Feed::mold_with(2, |s| s.settle = 1_024).joined();
    f.data(1, A, 10..11);
    f.data(3, B, 4..6);
    f.data(5, A, 20..21);
    f.data(9, B, 14..15);
    f.says(&["1 gap 2..10 A", "3 filled 4..6 B", "5 gap 11..20 A", "9 filled 14..15 B"]);
    f.wait(20);
    f.says(&["11 lost 2..4 deadline", "11 lost 6..10 deadline", "15 lost 11..14 deadline", "15 lost 15..20 deadline"]);
    f.released("1..2 lost 2..4 4..6 lost 6..10 10..11 lost 11..14 14..15 lost 15..20 20..21");
}

#[test]
fn rule_5_1_a_heartbeat_opens_a_gap_up_to_its_number() {
    let mut f = Feed::mold().joined();
    f.heartbeat(1, A, 4);
    f.heartbeat(2, B, 4);
    f.heartbeat(3, B, 6);
    f.says(&["1 gap 2..4 A", "3 gap 4..6 B"]);
    f.data(4, B, 2..6);
    f.says(&["4 filled 2..4 B", "4 filled 4..6 B"]);
}

#[test]
fn rule_5_1_filled_by_recovery_says_so() {
    let mut f = Feed::mold_with(2, |s| s.recovery_timeout = Some(Nanos::from_millis(1_000))).joined();
    f.data(1, A, 4..5);
    f.data(2, R, 2..3);
    f.data(3, B, 3..4);
    f.says(&["1 gap 2..4 A", "2 filled 2..3 R", "3 filled 3..4 B"]);
    f.released("1..5");
    assert_eq!(f.counts(R).first_arrivals, 1);
}

#[test]
fn rule_5_1_what_is_wanted_is_the_open_pieces_lowest_first() {
    let mut f = Feed::mold().joined();
    f.data(1, A, 10..11);
    f.data(2, B, 4..5);
    let channel = f.report().channel.key;
    let wanted: Vec<(u64, u64, u64)> =
        f.arbiter.wanted(channel).map(|gap| (gap.range.first.0, gap.range.end.0, gap.opened_at.0 / MS)).collect();
    assert_eq!(wanted, [(2, 4, 1), (5, 10, 1)]);
}

#[test]
fn rule_5_1_a_gap_of_any_size_is_one_event() {
    let mut f = Feed::mold().joined();
    let far = 1 << 50;
    f.data(1, A, far..far + 1);
    f.data(2, B, far..far + 1);
    f.wait(30);
    f.says(&["2 gap 2..1125899906842624 A", "12 lost 2..1125899906842624 deadline"]);
}

#[test]
fn rule_5_1_a_number_a_power_of_two_beyond_another_is_not_its_copy() {
    // however a number is abbreviated, this one must not be taken for 1 or 50
    for far in [1 << 16, 1 << 24, 1 << 32, 1 << 40, 1 << 48] {
        let mut f = Feed::mold().joined();
        f.data(1, A, 2..100);
        f.data(2, A, far + 200..far + 201);
        f.data(2, B, far + 200..far + 201);
        f.data(3, B, far + 50..far + 60);
        f.record.take(MS);
        f.finish(4);
        assert_eq!(f.counts(B).first_arrivals, 10, "2 to the {}", far.ilog2());
    }
}

#[test]
fn rule_5_2_a_gap_is_lost_at_its_deadline() {
    let mut f = Feed::mold().joined();
    f.data(1, A, 3..4);
    f.wait(10);
    f.says(&["1 gap 2..3 A"]);
    f.wait(11);
    f.says(&["11 lost 2..3 deadline"]);
}

#[test]
fn rule_5_2_or_when_every_line_has_gone_past_by_settle() {
    let mut f = Feed::mold().joined();
    f.data(1, A, 4..30);
    f.data(2, B, 4..12);
    f.says(&["1 gap 2..4 A"]);
    // the last number is 3: B's mark must be 13
    f.data(3, B, 12..13);
    f.says(&["3 lost 2..4 settled"]);
}

#[test]
fn rule_5_2_a_piece_is_judged_by_its_own_last_number() {
    let mut f = Feed::mold().joined();
    f.data(1, A, 10..40);
    f.data(2, B, 5..6);
    f.data(3, B, 12..15);
    f.says(&["1 gap 2..10 A", "2 filled 5..6 B", "3 lost 2..5 settled"]);
    f.heartbeat(4, B, 19);
    f.says(&["4 lost 6..10 settled"]);
}

#[test]
fn rule_5_2_a_line_not_heard_yet_is_live_and_settles_nothing() {
    let mut f = Feed::mold_with(3, |s| s.gap_timeout = GapTimeout::After(Nanos::from_secs(60)));
    f.data(0, A, 1..2);
    f.data(0, B, 1..2);
    f.data(1, A, 3..40);
    f.data(1, B, 3..40);
    f.record.take(MS);
    f.data(2_500, A, 40..41);
    f.data(2_500, B, 40..41);
    f.wait(2_999);
    f.says(&[]);
    f.wait(3_000);
    f.says(&["3000 lost 2..3 settled", "3000 line C waiting>silent"]);
}

#[test]
fn rule_5_2_with_recovery_nothing_settles_and_the_deadline_is_recoverys() {
    let mut f = Feed::mold_with(2, |s| s.recovery_timeout = Some(Nanos::from_millis(1_000))).joined();
    f.data(1, A, 3..40);
    f.data(1, B, 3..40);
    f.wait(1_000);
    f.says(&["1 gap 2..3 A"]);
    f.wait(1_001);
    f.says(&["1001 lost 2..3 deadline"]);
}

#[test]
fn rule_5_2_no_live_line_with_wait_settles_nothing() {
    let mut f = Feed::mold_with(2, |s| s.wait = vec![false, false]).joined();
    f.data(1, A, 3..40);
    f.data(1, B, 3..40);
    f.wait(10);
    f.says(&["1 gap 2..3 A"]);
    f.wait(11);
    f.says(&["11 lost 2..3 deadline"]);
}

#[test]
fn rule_5_3_the_hold_is_full_by_messages_after_the_frame_has_filled_what_it_can() {
    let mut f = Feed::mold_with(2, |s| s.hold_messages = 4).joined();
    f.data(1, A, 3..5);
    f.data(2, A, 6..8);
    f.says(&["1 gap 2..3 A", "2 gap 5..6 A"]);
    // five would have to be held, but number 2 is in the frame
    f.data(3, B, 2..3);
    f.data(4, A, 9..11);
    f.says(&["3 filled 2..3 B", "4 gap 8..9 A"]);
    f.data(5, A, 11..12);
    f.says(&["5 lost 5..6 hold"]);
    f.released("1..5 lost 5..6 6..8");
}

#[test]
fn rule_5_3_one_frame_that_fills_and_overfills_gives_up_nothing_it_has_filled() {
    let mut f = Feed::mold_with(2, |s| s.hold_messages = 4).joined();
    f.data(1, A, 3..7);
    f.data(2, B, 2..9);
    f.says(&["1 gap 2..3 A", "2 filled 2..3 B"]);
    f.released("1..9");
}

#[test]
fn rule_5_3_the_hold_is_full_by_bytes() {
    // "S1:3" is four bytes
    let mut f = Feed::mold_with(2, |s| s.hold_bytes = 8).joined();
    f.data(1, A, 3..5);
    f.says(&["1 gap 2..3 A"]);
    f.data(2, A, 6..7);
    f.says(&["2 gap 5..6 A", "2 lost 2..3 hold"]);
}

#[test]
fn rule_5_3_the_gap_list_is_full() {
    let mut f = Feed::mold_with(2, |s| s.gaps_max = 2).joined();
    f.data(1, A, 3..4);
    f.data(2, A, 5..6);
    f.data(3, A, 7..8);
    f.says(&["1 gap 2..3 A", "2 gap 4..5 A", "3 gap 6..7 A", "3 lost 2..3 gaps"]);
    // a split makes one more, too
    f.data(4, A, 12..13);
    f.says(&["4 gap 8..12 A", "4 lost 4..5 gaps"]);
    f.data(5, B, 9..10);
    f.says(&["5 filled 9..10 B", "5 lost 6..7 gaps"]);
}

/// Sixty-four numbers that B brings `lead` after A.
fn pairs(f: &mut Feed, lead: u64) {
    for n in 2..66 {
        f.data(n * 1_000, A, n..n + 1);
        f.data(n * 1_000 + lead, B, n..n + 1);
    }
}

fn auto(change: impl FnOnce(&mut Settings)) -> Feed {
    let mut f = Feed::mold_with(2, |s| {
        s.gap_timeout = GapTimeout::Auto;
        change(s);
    });
    // in microseconds
    f.unit = 1_000;
    f
}

#[test]
fn rule_5_4_ten_milliseconds_until_64_pairs_are_known() {
    let mut f = auto(|_| ()).joined();
    f.data(1, A, 3..4);
    f.wait(20_000);
    f.says(&["1 gap 2..3 A", "10001 lost 2..3 deadline"]);
}

#[test]
fn rule_5_4_then_twice_the_largest_lead() {
    let mut f = auto(|_| ()).joined();
    pairs(&mut f, 400);
    f.data(70_000, A, 67..68);
    f.wait(80_000);
    f.says(&["70000 gap 66..67 A", "70800 lost 66..67 deadline"]);
    assert_eq!(f.arbiter.gap_timeout_min(), Nanos::from_micros(800));
}

#[test]
fn rule_5_4_a_pair_counts_once_a_line() {
    // 32 numbers, each brought twice by B: 32 pairs plus that of the first message, not 64
    let mut f = auto(|_| ()).joined();
    for n in 2..34 {
        f.data(n * 1_000, A, n..n + 1);
        f.data(n * 1_000 + 300, B, n..n + 1);
        f.data(n * 1_000 + 301, B, n..n + 1);
    }
    assert_eq!(f.report().gap_timeout, Nanos::from_millis(10));
}

#[test]
fn rule_5_4_the_deadline_of_a_gap_is_fixed_at_opening() {
    let mut f = auto(|_| ()).joined();
    f.data(1, A, 3..4);
    f.says(&["1 gap 2..3 A"]);
    f.data(2, A, 4..200);
    f.data(3, B, 3..200);
    f.says(&["3 lost 2..3 settled"]);
    f.data(100, A, 201..202);
    f.wait(90_000);
    // 3 us between the copies, doubled, is below the minimum of 200 us
    f.says(&["100 gap 200..201 A", "300 lost 200..201 deadline"]);
}

#[test]
fn rule_5_5_a_line_without_wait_fills_gaps_but_delays_no_loss() {
    let mut f = Feed::mold_with(3, |s| s.wait = vec![true, true, false]).joined();
    f.data(1, A, 3..40);
    f.data(2, C, 2..3);
    f.says(&["1 gap 2..3 A", "2 filled 2..3 C"]);
    f.data(3, A, 41..60);
    f.data(4, B, 3..40);
    f.data(4, B, 41..60);
    // C is at 3, and nothing waits for it
    f.says(&["3 gap 40..41 A", "4 lost 40..41 settled"]);
}

#[test]
fn rule_5_5_a_line_without_wait_does_not_count_for_the_timeout() {
    let mut f = auto(|s| s.wait = vec![true, false]).joined();
    pairs(&mut f, 400);
    assert_eq!(f.report().gap_timeout, Nanos::from_millis(10));
    let channel = f.report().channel.key;
    assert_eq!(f.arbiter.lead(channel, A, B).unwrap().len(), 65, "but its lead is known");
}

#[test]
fn rule_5_6_the_first_copy_of_what_was_lost_is_late_and_others_are_duplicates() {
    let mut f = Feed::mold().joined();
    f.data(1, A, 10..11);
    f.wait(11);
    f.data(12, B, 4..6);
    f.data(13, A, 4..7);
    f.data(14, B, 2..12);
    f.says(&["1 gap 2..10 A", "11 lost 2..10 deadline"]);
    f.late("4..7 2..4 7..10");
    f.released("1..2 lost 2..10 10..12");
    let (a, b) = (f.counts(A), f.counts(B));
    assert_eq!((a.late, a.duplicate), (1, 2));
    assert_eq!((b.late, b.duplicate), (2 + 2 + 3, 1 + 3 + 1));
}

#[test]
fn rule_5_6_a_range_that_is_forgotten_is_a_duplicate() {
    let mut f = Feed::mold().joined();
    // 1,025 ranges are lost; the oldest is forgotten
    for n in 0..1_025 {
        f.data(1, A, 3 + 2 * n..4 + 2 * n);
    }
    f.wait(11);
    f.data(12, B, 2..3);
    f.data(13, B, 4..5);
    f.late("4..5");
    assert_eq!((f.counts(B).late, f.counts(B).duplicate), (1, 2));
}

#[test]
fn rule_5_7_a_heartbeat_ahead_of_data_on_another_line_is_a_gap_like_any_other() {
    let mut f = Feed::mold().joined();
    f.heartbeat(1, B, 4);
    f.data(2, A, 2..4);
    f.says(&["1 gap 2..4 B", "2 filled 2..4 A"]);
    f.released("1..4");
    assert_eq!((f.counts(A).missing, f.state(A), f.state(B)), (0, LineState::Up, LineState::Up));
}

#[test]
fn rule_5_8_a_loss_stands_in_its_place_before_the_next_message() {
    let mut f = Feed::mold_with(2, |s| s.hold_messages = 3).joined();
    f.data(1, A, 3..5);
    f.data(2, A, 6..7);
    f.data(2, A, 8..9);
    f.says(&["1 gap 2..3 A", "2 gap 5..6 A", "2 gap 7..8 A", "2 lost 2..3 hold"]);
    f.released("1..2 lost 2..3 3..5");
    f.data(3, B, 5..6);
    f.released("1..2 lost 2..3 3..7");
}
