//! ARBITRATION 7.4: divergence.

use super::*;

/// Two MoldUDP64 lines; every copy is compared.
fn verified() -> Feed {
    Feed::mold_with(2, |s| s.verify = Verify::All).joined()
}

/// Three lines with everything that a framing can have.
fn verified_by_hand() -> Feed {
    Feed::hand_with(3, |s| s.verify = Verify::All).joined()
}

fn divergent(f: &Feed) -> Vec<u64> {
    f.report().lines.iter().take(3).map(|line| line.divergent).collect()
}

#[test]
fn rule_7_4_a_copy_with_other_bytes_is_an_event_and_the_first_stands() {
    let mut f = verified();
    f.data(1, A, 2..4);
    f.data(1, B, 2..4);
    f.data(2, B, 4..7);
    f.altered().data(3, A, 4..5);
    f.data(4, A, 5..7);
    f.says(&["3 divergence 4 B/A"]);
    f.released("1..7");
    let event = f.record.events.last().unwrap();
    let EventKind::Divergence { hash, other_hash, .. } = event.kind else { panic!("{event:?}") };
    assert_eq!((hash, other_hash), (crc32fast::hash(b"S1:4"), crc32fast::hash(b"S1:4!")));
    assert_eq!((divergent(&f), f.counts(A).duplicate), (vec![1, 0, 0], 3));
}

#[test]
fn rule_7_4_nothing_is_compared_unless_it_is_asked_for() {
    let mut f = Feed::mold().joined();
    f.data(1, A, 2..4);
    f.altered().data(2, B, 2..4);
    f.says(&[]);
    assert_eq!(divergent(&f), [0, 0, 0]);
}

#[test]
fn rule_7_4_messages_are_compared_not_packets() {
    let mut f = verified();
    // A packs four, B one and three; one of B's messages differs
    f.data(1, A, 2..6);
    f.data(1, A, 6..10);
    (2..5).for_each(|n| f.data(2, B, n..n + 1));
    f.data(2, B, 5..8);
    f.says(&[]);
    f.altered().data(3, B, 8..9);
    f.data(3, B, 9..12);
    f.data(4, A, 10..12);
    f.says(&["3 divergence 8 A/B"]);
    f.released("1..12");
}

#[test]
fn rule_7_4_a_held_message_is_a_first_copy_as_any() {
    let mut f = verified();
    f.data(1, A, 3..5);
    f.altered().data(2, B, 3..4);
    f.says(&["1 gap 2..3 A", "2 divergence 3 A/B"]);
    f.data(3, B, 2..3);
    f.altered().data(4, A, 2..3);
    f.says(&["3 filled 2..3 B", "4 divergence 2 B/A"]);
    f.released("1..5");
}

#[test]
fn rule_7_4_a_message_that_came_late_is_the_first_copy_of_its_number() {
    let mut f = verified();
    f.data(1, A, 3..4);
    f.data(1, B, 3..4);
    f.wait(20);
    f.says(&["1 gap 2..3 A", "11 lost 2..3 deadline"]);
    f.altered().data(21, B, 2..3);
    f.altered().data(22, B, 2..3);
    f.says(&[]);
    f.data(23, A, 2..3);
    f.says(&["23 divergence 2 B/A"]);
    f.late("2..3");
    assert_eq!(f.counts(B).late, 1);
}

#[test]
fn rule_7_4_every_later_copy_is_held_against_the_first() {
    let mut f = verified_by_hand();
    f.data(1, A, 2..3);
    f.altered().data(2, B, 2..3);
    f.altered().data(3, C, 2..3);
    f.data(4, C, 2..3);
    // a line's copy of its own message is a copy like any other
    f.altered().data(5, A, 2..3);
    f.says(&["2 divergence 2 A/B", "3 divergence 2 A/C", "5 divergence 2 A/A"]);
    assert_eq!(divergent(&f), [1, 1, 1]);
}

#[test]
fn rule_7_4_recovery_is_one_more_line() {
    let mut f = verified_by_hand();
    f.altered().data(1, R, 2..3);
    f.data(2, A, 2..4);
    f.altered().data(3, R, 3..4);
    f.says(&["2 divergence 2 R/A", "3 divergence 3 A/R"]);
    assert_eq!(f.report().lines[R.index()].divergent, 1);
}

#[test]
fn rule_7_4_a_frame_that_is_partly_new_says_its_divergences_before_what_it_filled() {
    let mut f = Feed::mold_with(2, |s| (s.verify, s.hold_messages) = (Verify::All, 5)).joined();
    f.data(1, A, 3..4);
    f.data(1, A, 5..6);
    f.data(1, A, 8..9);
    f.data(1, A, 20..21);
    f.says(&["1 gap 2..3 A", "1 gap 4..5 A", "1 gap 6..8 A", "1 gap 9..20 A"]);
    // known numbers, holes, and numbers beyond
    f.altered().data(2, B, 3..6);
    f.says(&["2 divergence 3 A/B", "2 divergence 5 A/B", "2 filled 4..5 B"]);
    f.altered().data(3, B, 8..24);
    f.says(&["3 divergence 8 A/B", "3 divergence 20 A/B", "3 filled 9..20 B", "3 lost 2..3 hold", "3 lost 6..8 hold"]);
    f.released("1..2 lost 2..3 3..6 lost 6..8 8..24");
    // B's altered message came first, so it is the one that counts from now on
    f.data(4, A, 4..5);
    f.altered().data(5, A, 21..23);
    f.says(&["4 divergence 4 B/A"]);
}

#[test]
fn rule_7_4_parked_frames_are_compared_when_they_are_used() {
    let mut f = verified();
    f.altered().data(1, A, 200..201);
    f.data(2, B, 200..201);
    // the parked one came first
    f.says(&["2 gap 2..200 A", "2 divergence 200 A/B"]);
    f.data(3, A, 400..401);
    f.finish(4);
    assert_eq!((divergent(&f), f.counts(A).implausible), (vec![0, 1, 0], 1));
}

#[test]
fn rule_7_4_a_session_that_begins_compares_what_was_held_and_nothing_of_the_last_one() {
    let mut f = verified();
    f.data(1, A, 2..3);
    f.data(1, B, 2..3);
    f.of("S2").data(2, A, 1..2);
    f.of("S2").data(3, A, 2..3);
    f.of("S2").data(4, B, 1..2);
    f.altered().of("S2").data(5, B, 2..3);
    f.says(&[
        "3 line A up>other session",
        "5 epoch_end S1 3 lines",
        "5 epoch S2 1",
        "5 divergence 2 A/B",
        "5 line A other session>up",
    ]);
    // and stale messages are not copies
    f.altered().data(6, A, 2..3);
    f.altered().data(7, A, 2..3);
    f.says(&[]);
    assert_eq!((divergent(&f), f.counts(A).stale), (vec![0, 1, 0], 2));
}

#[test]
fn rule_7_4_a_session_taken_up_again_knows_no_copies_from_before() {
    let mut f = Feed::mold_with(1, |s| s.verify = Verify::All).joined();
    f.data(1, A, 2..4);
    f.of("S2").data(2, A, 1..2);
    f.of("S2").data(3, A, 2..3);
    f.data(4, A, 4..5);
    f.data(5, A, 5..6);
    f.altered().data(6, A, 2..4);
    f.altered().data(7, A, 5..6);
    f.says(&["3 epoch_end S1 4 lines", "3 epoch S2 1", "5 epoch_end S2 3 lines", "5 epoch S1 4", "7 divergence 5 A/A"]);
    // two from joining
    assert_eq!(f.counts(A).duplicate, 2 + 3);
}

#[test]
fn rule_7_4_after_a_reset_numbers_are_compared_afresh() {
    let mut f = Feed::hand_with(2, |s| s.verify = Verify::All).joined();
    f.data(1, A, 2..4);
    f.data(1, B, 2..4);
    f.reset(Reset::Marked(1)).altered().data(2, A, 1..2);
    f.altered().data(2, A, 2..3);
    f.reset(Reset::Marked(1)).altered().data(3, B, 1..2);
    f.data(4, B, 2..3);
    f.says(&["3 epoch_end S1 4 reset", "3 epoch S1 1", "4 divergence 2 A/B"]);
}

#[test]
fn rule_7_4_what_is_before_the_start_or_outside_of_the_sequence_has_no_copies() {
    let mut f = Feed::hand_with(2, |s| s.verify = Verify::All);
    f.data(0, A, 10..12);
    f.data(1, B, 10..12);
    f.data(2, A, 8..11);
    f.altered().data(3, B, 8..11);
    f.unsequenced().data(4, A, 10..11);
    f.unsequenced().altered().data(5, B, 10..11);
    f.says(&["1 epoch S1 10", "1 line A waiting>up", "1 line B waiting>up", "3 divergence 10 A/B"]);
    assert_eq!((f.counts(B).before_join, f.counts(B).unsequenced, f.unsequenced_messages()), (2, 1, 2));
}

#[test]
fn rule_7_4_the_frames_that_a_channel_begins_with_are_compared() {
    let mut f = Feed::mold_with(2, |s| s.verify = Verify::All);
    f.data(0, A, 1..3);
    f.altered().data(1, B, 2..3);
    f.says(&["1 epoch S1 1", "1 divergence 2 A/B", "1 line A waiting>up", "1 line B waiting>up"]);
}

#[test]
fn rule_7_4_a_heartbeat_that_consumes_a_number_is_a_message() {
    let mut f = Feed::new(Wire::Cme, CmeMdp3.rules(), 2, |s| s.verify = Verify::All).joined();
    f.heartbeat(1, A, 2);
    f.heartbeat(2, B, 2);
    f.says(&[]);
    f.data(3, A, 3..4);
    f.heartbeat(4, B, 3);
    f.says(&["4 divergence 3 A/B"]);
}

#[test]
fn rule_7_4_within_the_last_65536_numbers() {
    let mut f = Feed::mold_with(2, |s| (s.verify, s.max_jump) = (Verify::All, 100_000)).joined();
    f.data(1, A, 2..60_000);
    f.data(1, A, 60_000..65_538);
    f.altered().data(2, B, 2..3);
    f.data(3, A, 65_538..65_540);
    f.altered().data(4, B, 3..4);
    f.altered().data(5, B, 4..5);
    f.says(&["2 divergence 2 A/B", "5 divergence 4 A/B"]);
    assert_eq!(f.counts(B).duplicate, 4, "3 is 65,537 below the mark: a duplicate, but not compared");
}

#[test]
fn rule_7_4_what_comes_for_an_old_number_leaves_the_newer_in_its_place() {
    for verify in [Verify::Off, Verify::All] {
        let mut f = Feed::mold_with(2, |s| (s.verify, s.max_jump) = (verify, 100_000)).joined();
        f.data(1, A, 3..4);
        f.wait(20);
        f.data(21, A, 4..60_000);
        f.data(21, A, 60_000..65_541);
        f.says(&["1 gap 2..3 A", "11 lost 2..3 deadline"]);
        // 2 and 65,538 share a slot in the ring
        f.altered().data(22, B, 2..3);
        f.data(23, B, 65_538..65_539);
        f.says(&[]);
        let channel = f.report().channel.key;
        assert_eq!((f.counts(B).late, f.arbiter.lead(channel, A, B).unwrap().len()), (1, 2));
    }
}

#[test]
fn rule_7_4_a_share_of_the_numbers_is_the_same_on_every_way() {
    let share = Verify::PerBillion(100_000_000);
    let chosen: Vec<u64> = (2..202).filter(|&n| share.chooses(SeqNo(n))).collect();
    assert!((19..=21).contains(&chosen.len()), "{chosen:?}");
    let said = |ordered: bool| -> Vec<String> {
        let mut f = Feed::mold_with(2, |s| s.verify = share).joined();
        if !ordered {
            // an open gap and, later, held messages: nothing goes the short way
            f.data(1, A, 203..204);
        }
        (2..202).step_by(10).for_each(|n| f.data(2, A, n..n + 10));
        f.altered().data(3, B, 2..51);
        (51..202).for_each(|n| f.altered().data(4, B, n..n + 1));
        f.data(5, B, 202..203);
        f.record.take(1).into_iter().filter(|event| event.contains("divergence")).collect()
    };
    let numbers = |said: Vec<String>| -> Vec<u64> {
        said.iter().map(|event| event.split(' ').nth(2).unwrap().parse().unwrap()).collect()
    };
    assert_eq!(numbers(said(true)), chosen);
    assert_eq!(numbers(said(false)), chosen);
}

#[test]
fn rule_7_4_no_share_chooses_more_than_a_larger_one() {
    for n in (0..1_000).chain(u64::MAX - 1_000..=u64::MAX).map(SeqNo) {
        let shares = [1, 10_000_000, 333_333_333, 999_999_999, 1_000_000_000];
        let chosen = shares.map(|share| Verify::PerBillion(share).chooses(n));
        assert!(chosen.is_sorted() && chosen[4], "{n}: {chosen:?}");
    }
}
