//! ARBITRATION 2: numbers, channels, lines.

use super::*;

const CYCLE: u64 = u32::MAX as u64;

#[test]
fn rule_2_1_a_wrap_goes_on_counting_without_the_zero() {
    let mut f = Feed::cme();
    f.data(0, A, CYCLE - 1..CYCLE);
    f.data(0, B, CYCLE - 1..CYCLE);
    f.data(1, A, CYCLE..CYCLE + 1);
    // the first number of the next cycle is 1 on the wire
    f.data(2, A, CYCLE + 1..CYCLE + 2);
    f.data(3, B, CYCLE + 2..CYCLE + 3);
    f.says(&["0 epoch - 4294967294", "0 line A waiting>up", "0 line B waiting>up"]);
    f.released("4294967294..4294967298");
}

#[test]
fn rule_2_1_a_lagging_line_after_a_wrap_is_not_four_billion_ahead() {
    let mut f = Feed::cme();
    let start = CYCLE - 300;
    f.data(0, A, start..start + 1);
    f.data(0, B, start..start + 1);
    (start + 1..CYCLE + 200).for_each(|n| f.data(1, A, n..n + 1));
    f.record.take(MS);
    // B is 500 behind, more than max_jump, and on the other side of the wrap
    (start + 1..start + 20).for_each(|n| f.data(2, B, n..n + 1));
    f.data(2, B, start + 200..start + 201);
    f.says(&[]);
    assert_eq!((f.counts(B).duplicate, f.counts(B).implausible), (1 + 19 + 1, 0));
}

#[test]
fn rule_2_1_a_restart_is_a_low_number_and_not_one_four_billion_ahead() {
    let mut f = Feed::cme();
    f.data(0, A, 4_000_000_000..4_000_000_001);
    f.data(0, B, 4_000_000_000..4_000_000_001);
    f.record.take(MS);
    f.data(1, A, 1..2);
    assert_eq!(f.report().epochs.len(), 1);
    f.finish(2);
    f.says(&[]);
    assert_eq!((f.counts(A).implausible, f.counts(A).before_join), (1, 0), "one frame of a restart that did not go on");
}

#[test]
fn rule_2_1_a_restart_after_a_wrap_is_one_too() {
    let mut f = Feed::cme();
    let start = CYCLE - 10;
    f.data(0, A, start..start + 1);
    f.data(0, B, start..start + 1);
    (start + 1..CYCLE + 400).for_each(|n| f.data(1, A, n..n + 1));
    f.record.take(MS);
    (1..9).for_each(|n| f.data(2, A, n..n + 1));
    f.says(&["2 epoch_end - 4294967695 restart", "2 epoch - 1"]);
    f.released("4294967285..4294967695 | 1..9");
}

#[test]
fn rule_2_2_a_channel_is_a_group_and_a_key() {
    let mut f = Feed::hand();
    f.on(1, Some(3)).data(0, A, 1..2);
    f.on(0, Some(3)).data(0, B, 1..2);
    f.on(1, None).data(0, B, 1..2);
    f.says(&[]);
    f.on(1, Some(3)).data(1, B, 1..2);
    f.on(1, None).data(2, A, 1..2);
    f.says(&[
        "1.3: 1 epoch S1 1",
        "1.3: 1 line A waiting>up",
        "1.3: 1 line B waiting>up",
        "1: 2 epoch S1 1",
        "1: 2 line A waiting>up",
        "1: 2 line B waiting>up",
    ]);
    f.finish(3);
    let names: Vec<String> = f.arbiter.channels().map(|report| report.channel.key.to_string()).collect();
    assert_eq!(names, ["1", "1.3"], "by name, whatever began first");
    assert_eq!(f.arbiter.no_channel(), 1, "0.3 never began");
}

#[test]
fn rule_2_2_a_corrupt_unit_byte_makes_no_channel() {
    let mut f = Feed::hand();
    f.on(0, Some(1)).data(0, A, 1..2);
    f.on(0, Some(1)).data(0, B, 1..2);
    f.record.take(MS);
    f.on(0, Some(129)).data(1, A, 2..4);
    f.on(0, Some(1)).data(1, B, 2..4);
    f.finish(2);
    f.says(&[]);
    assert_eq!((f.arbiter.no_channel(), f.arbiter.channels().count()), (1, 1));
}

#[test]
fn rule_2_4_a_heartbeat_that_consumes_a_number_is_delivered_and_counted_twice() {
    let mut f = Feed::cme().joined();
    f.heartbeat(1, A, 2);
    f.data(2, A, 3..4);
    f.says(&[]);
    f.released("1..4");
    let counts = f.counts(A);
    assert_eq!((counts.frames, counts.messages, counts.heartbeats), (3, 3, 1));
}

#[test]
fn rule_2_4_a_message_comes_without_the_length_of_the_transport() {
    // some messages have no bytes: the sink checks that each one is what was sent
    let mut f = Feed::mold().joined();
    f.record.foreign = true;
    let mut bytes = Vec::new();
    MoldUdp64.encode(Session::text(b"S1        "), 2, &[b"", b"x", b""], 1_400, &mut bytes);
    f.datagram(MoldUdp64, A, 0, &bytes);
    f.released("1..5");
}

#[test]
fn rule_2_5_a_line_not_heard_yet_is_live_until_silent_after_from_the_frame_that_created_the_channel() {
    let mut f = Feed::mold();
    f.data(100, A, 1..2);
    f.data(400, A, 2..3);
    f.wait(3_399);
    f.says(&["400 epoch S1 1", "400 line A waiting>up"]);
    f.wait(3_400);
    f.says(&["3400 line A up>silent", "3400 line B waiting>silent"]);
}

#[test]
fn rule_2_5_unsequenced_frames_count_as_showing() {
    let mut f = Feed::hand().joined();
    f.unsequenced().data(2_000, A, 0..1);
    f.wait(4_999);
    f.says(&["3000 line B up>silent"]);
    f.wait(5_000);
    f.says(&["5000 line A up>silent"]);
    f.unsequenced().data(5_001, A, 0..1);
    f.says(&["5001 line A silent>up"]);
}

#[test]
fn rule_2_5_the_mark_is_of_the_current_epoch() {
    // B's mark of 50 in the old session does not settle a gap in the new one
    let mut f = Feed::mold().joined();
    f.data(1, A, 2..50);
    f.data(1, B, 2..50);
    f.end(1, A, 50);
    f.of("S2").data(2, A, 1..2);
    f.of("S2").data(3, A, 3..20);
    f.record.take(MS);
    f.wait(12);
    f.says(&[]);
    f.wait(13);
    f.says(&["13 lost 2..3 deadline"]);
}

#[test]
fn rule_2_2_channels_that_are_not_wanted_never_begin() {
    let mut f = Feed::hand_with(2, |s| s.keys = vec![7]);
    for n in 1..4 {
        f.on(0, Some(3)).data(n, A, n..n + 1);
        f.on(0, Some(7)).data(n, A, n..n + 1);
    }
    f.says(&["0.7: 2 epoch S1 1", "0.7: 2 line A waiting>up"]);
    assert_eq!((f.arbiter.other_keys(), f.arbiter.no_channel()), (3, 0));
    assert_eq!(f.report().channel.key, ChannelKey { group: 0, key: Some(7) });
}
