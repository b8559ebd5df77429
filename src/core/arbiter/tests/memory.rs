//! Memory is bounded for the whole feed (ARBITRATION 4.7, 5.3, 9), and how much has been taken decides nothing.

use super::*;

/// A feed of channels `0.1`, `0.2`, ..., each begun by both lines.
fn channels(count: u32, change: impl FnOnce(&mut Settings)) -> Feed {
    let mut f = Feed::hand_with(2, change);
    for key in 1..=count {
        f.on(0, Some(key)).data(0, A, 1..2);
        f.on(0, Some(key)).data(0, B, 1..2);
    }
    f.record.take(MS);
    f
}

/// What waits, what is held and what is open: frames and bytes, bytes and runs, gaps.
fn kept(f: &Feed) -> [u64; 5] {
    f.arbiter.memory.waiting_and_held()
}

fn implausible(f: &Feed) -> u64 {
    f.arbiter.channels().flat_map(|report| report.lines).map(|counts| counts.implausible).sum()
}

#[test]
fn rule_5_3_hold_bytes_are_over_the_whole_feed_and_the_channel_that_goes_over_them_gives_up() {
    // "S1:3" is four bytes
    let mut f = channels(3, |s| s.hold_bytes = 20);
    f.on(0, Some(1)).data(1, A, 3..6);
    f.on(0, Some(2)).data(1, A, 3..5);
    f.says(&["0.1: 1 gap 2..3 A", "0.2: 1 gap 2..3 A"]);
    assert_eq!(kept(&f), [0, 0, 20, 2, 2]);
    f.on(0, Some(3)).data(2, A, 3..4);
    f.says(&["0.3: 2 gap 2..3 A", "0.3: 2 lost 2..3 hold"]);
    // the first channel has as much as it needs once the second lets go
    f.on(0, Some(2)).data(3, B, 2..3);
    f.on(0, Some(1)).data(4, A, 6..8);
    f.says(&["0.2: 3 filled 2..3 B"]);
    f.on(0, Some(1)).data(5, A, 8..9);
    f.says(&["0.1: 5 lost 2..3 hold"]);
    assert_eq!(kept(&f), [0; 5]);
}

#[test]
fn rule_5_3_all_channels_together_hold_the_runs_and_open_the_gaps_of_four() {
    let mut f = channels(6, |s| (s.hold_messages, s.gaps_max) = (3, 2));
    for key in 1..=4 {
        for first in [3, 5] {
            f.on(0, Some(key)).data(1, A, first..first + 1);
        }
        f.on(0, Some(key)).data(1, A, 6..7);
    }
    assert!(f.record.take(MS).iter().all(|said| said.contains("gap")));
    assert_eq!((kept(&f)[3], kept(&f)[4]), (12, 8));
    f.on(0, Some(5)).data(2, A, 3..4);
    f.says(&["0.5: 2 gap 2..3 A", "0.5: 2 lost 2..3 hold"]);
    // a heartbeat holds nothing
    f.on(0, Some(6)).heartbeat(3, A, 3);
    f.says(&["0.6: 3 gap 2..3 A", "0.6: 3 lost 2..3 gaps"]);
}

#[test]
fn rule_4_7_frames_of_another_session_on_all_channels_stay_within_the_feeds_limits() {
    let count = 40;
    let mut f = channels(count, |s| (s.hold_bytes, s.hold_messages) = (10_000, 500));
    let mut most = [0; 5];
    for n in 0..100 {
        for key in 1..=count {
            f.on(0, Some(key)).of("S2").data(1 + n, A, 1 + n * 2..3 + n * 2);
            // line B goes on unharmed
            f.on(0, Some(key)).data(1 + n, B, 2 + n..3 + n);
            let now = kept(&f);
            most = std::array::from_fn(|i| most[i].max(now[i]));
        }
    }
    // two messages of at most 8 bytes as packed: there is always room for 16 frames per channel
    let (frames, bytes) = (most[0], most[1]);
    assert!((10_000..=10_000 + u64::from(count) * 16 * 16).contains(&bytes), "{bytes} bytes");
    assert!((u64::from(count) * 16..2_000 + u64::from(count) * 16).contains(&frames), "{frames} frames");
    assert_eq!(implausible(&f), (u64::from(count) * 100 - frames) * 2);
    let report = f.report();
    assert_eq!((report.delivered, report.lost), (101, 0));
    f.finish(200);
    assert_eq!(implausible(&f), u64::from(count) * 200);
}

#[test]
fn rule_4_7_parked_frames_and_those_of_channels_that_may_begin_have_room_beside_a_full_feed() {
    let mut f = channels(2, |s| s.hold_bytes = 100);
    // the first channel reaches the limits, with what waits and with what is held
    for n in 0..30 {
        f.on(0, Some(1)).of("S2").data(1, A, 1 + n..2 + n);
    }
    assert!(kept(&f)[1] >= 96 && implausible(&f) > 0, "{:?}", kept(&f));
    // the second still has room for two frames that agree, and so does a third channel
    f.on(0, Some(2)).data(2, A, 10_000..10_001);
    f.on(0, Some(2)).data(2, B, 10_001..10_002);
    f.on(0, Some(3)).data(3, A, 1..2);
    f.on(0, Some(3)).data(3, B, 2..3);
    let said = f.record.take(MS);
    for expected in ["0.2: 2 gap 2..10000 A", "0.3: 3 epoch S1 1"] {
        assert!(said.iter().any(|said| said == expected), "{said:?}");
    }
    // of a fourth channel, the newest 4 frames are kept
    for n in 1..=20u64 {
        f.on(0, Some(4)).data(4, if n % 2 == 0 { A } else { B }, n * 10_000..n * 10_000 + 1);
    }
    let before = kept(&f)[0];
    f.on(0, Some(4)).data(5, R, 1..2);
    assert_eq!(kept(&f)[0], before);
}

#[test]
fn rule_4_7_a_reset_that_was_acted_on_begins_at_once_where_the_feed_is_full() {
    let mut f = channels(2, |s| (s.hold_bytes, s.gap_timeout) = (300, GapTimeout::After(Nanos::from_secs(1))));
    // both have shown data; the first channel holds as much as the feed may
    f.on(0, Some(1)).data(1, A, 3..63);
    f.record.take(MS);
    assert_eq!(kept(&f)[2], 293);
    f.on(0, Some(2)).data(1, A, 2..3);
    f.on(0, Some(2)).reset(Reset::Marked(1)).data(2, A, 1..2);
    for n in 2..17 {
        f.on(0, Some(2)).data(2, A, n..n + 1);
    }
    f.says(&[]);
    f.on(0, Some(2)).data(3, A, 17..18);
    f.says(&["0.2: 3 epoch_end S1 3 reset", "0.2: 3 epoch S1 1"]);
}

#[test]
fn rule_9_1024_epochs_are_listed_over_the_whole_feed() {
    let mut f = channels(2, |_| ());
    for n in 0..600u64 {
        for key in [1, 2] {
            for line in [A, B] {
                f.on(0, Some(key)).reset(Reset::Marked(1 + n)).data(1, line, 1 + n..2 + n);
            }
            for line in [A, B] {
                f.on(0, Some(key)).data(1, line, 2 + n..3 + n);
            }
        }
    }
    let reports: Vec<ChannelReport> = f.arbiter.channels().collect();
    let listed: Vec<usize> = reports.iter().map(|report| report.epochs.len()).collect();
    let omitted: u64 = reports.iter().map(|report| report.epochs_omitted).sum();
    assert_eq!((listed, omitted), (vec![512, 512], 2 * 601 - 1_024));
}

#[test]
fn a_flood_of_random_channels_keeps_256() {
    let mut f = Feed::hand();
    let mut rng = fastrand::Rng::with_seed(3);
    for n in 0..5_000u64 {
        f.on(0, Some(rng.u32(..))).data(n / 100, A, 1..2);
    }
    assert_eq!((kept(&f)[0], f.arbiter.no_channel()), (256, 5_000 - 256));
    f.says(&[]);
    // a second frame still begins the last channel
    f.on(0, Some(7)).data(60, A, 1..2);
    f.on(0, Some(7)).data(60, B, 1..2);
    assert_eq!(f.record.take(MS)[0], "0.7: 60 epoch S1 1");
}

#[test]
fn what_an_arbiter_takes_is_bounded_by_what_it_says() {
    let keyed = |keys: &[u32]| {
        let mut settings = Settings::new(HAND, vec![true, true], 1);
        settings.keys = keys.to_vec();
        settings
    };
    let (all, two) = (keyed(&[]), keyed(&[1, 2]));
    assert_eq!((all.limits().channels, two.limits().channels), (256, 2));
    assert_eq!((all.limits().runs, two.limits().runs), (4 * 65_536, 2 * 65_536));
    let (all, two) = (all.memory(), two.memory());
    assert!(all.at_start == two.at_start && all.by_channel == two.by_channel && all.by_channel < 2 << 20);
    assert!(all.at_start < 8 << 20, "{all:?}");
    assert!(two.at_most < 512 << 20 && all.at_most < 2 << 30, "{two:?} {all:?}");
}
