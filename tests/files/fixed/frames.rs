//! Frame by frame: what is read of any bytes, and what is written.

use twinline_core::frame::{Frame, FrameKind, Packing, Session};
use twinline_core::framing::{AnyFraming, Framing, Malformed, WithFraming};

use crate::support::fixed::{CBOE, CME, EXAMPLES, example, pair};

struct Read<'a>(&'a [u8]);

impl WithFraming for Read<'_> {
    type Output = String;

    fn with<F: Framing>(self, framing: F) -> String {
        let mut at = 0;
        match framing.frame(self.0, &mut at) {
            None => "nothing".to_owned(),
            Some(frame) => format!("{frame:?}, {at}, {:?}", framing.frame(self.0, &mut at)),
        }
    }
}

struct Kinds<'a>(&'a [u8]);

impl WithFraming for Kinds<'_> {
    type Output = Result<(FrameKind, u32), Malformed>;

    fn with<F: Framing>(self, framing: F) -> Self::Output {
        framing.frame(self.0, &mut 0).unwrap().map(|frame: Frame<'_>| (frame.kind, frame.count))
    }
}

/// A frame with messages, a heartbeat and an end, as a framing writes them.
struct Written(u64);

impl WithFraming for Written {
    type Output = (Vec<Vec<u8>>, u32, bool);

    fn with<F: Framing>(self, framing: F) -> Self::Output {
        let session = framing.session("7").unwrap_or(Session::NONE);
        let mut messages = vec![Vec::new(); 3];
        for (message, bytes) in messages.iter_mut().zip([b"one!".as_slice(), b"and two", b"three"]) {
            assert!(framing.packing().wrap(bytes, message));
        }
        let messages: Vec<&[u8]> = messages.iter().map(Vec::as_slice).collect();
        let mut out = [Vec::new(), Vec::new(), Vec::new(), Vec::new()];
        let count = framing.encode(session, self.0, &messages, 1_400, &mut out[0]);
        assert_eq!(count, if framing.packet_sequenced() { 1 } else { 3 });
        // room for two, and for none: one goes in all the same
        let two = out[0].len() - 2;
        framing.encode(session, self.0, &messages, two, &mut out[1]);
        framing.encode(session, self.0, &messages, 0, &mut out[2]);
        let consumed = framing.encode_heartbeat(session, self.0, &mut out[3]);
        let mut end = Vec::new();
        let ends = framing.encode_end(session, self.0, &mut end);
        if ends {
            assert_eq!(framing.frame(&end, &mut 0).unwrap().unwrap().kind, FrameKind::EndOfSession);
        }
        let mut all = Vec::from(out);
        all.push(end);
        (all, consumed, ends)
    }
}

fn all() -> Vec<(&'static str, [AnyFraming; 2])> {
    let mut all: Vec<_> = EXAMPLES.iter().map(|(file, name)| (*name, pair(name, &example(file)))).collect();
    all.push(("cboe-pitch", pair("cboe-pitch", CBOE)));
    all.push(("cme-mdp3", pair("cme-mdp3", CME)));
    all
}

#[test]
fn the_rules_are_ours() {
    for (name, [ours, described]) in all() {
        assert_eq!(format!("{:?}", described.rules()), format!("{:?}", ours.rules()), "{name}");
        assert_eq!(described.packing(), ours.packing(), "{name}");
        assert_eq!(described.packet_sequenced(), ours.packet_sequenced(), "{name}");
        for session in ["7", "4294967295", "4294967296", "TWIN000001", "longer than ten"] {
            assert_eq!(described.session(session), ours.session(session), "{name}: {session}");
        }
    }
}

#[test]
fn what_is_written_is_what_ours_writes() {
    for (name, [ours, described]) in all() {
        for sequence in [1, 7, u64::from(u32::MAX), u64::from(u32::MAX) + 1] {
            let (ours, described) = (ours.with(Written(sequence)), described.with(Written(sequence)));
            if name == "cme-mdp3" {
                // what stands in the heartbeat beside its template is for CME to know
                assert_eq!((&described.0[..3], described.1, described.2), (&ours.0[..3], ours.1, ours.2));
            } else {
                assert_eq!(described, ours, "{name}: {sequence}");
            }
        }
    }
}

/// What differs on purpose: see the head of `feeds/fixed-iex.toml`, and the framings' own pages.
fn left_out(name: &str, datagram: &[u8], ours: Result<(FrameKind, u32), Malformed>) -> bool {
    match name {
        // fixed says nothing of a payload that is longer than its messages, nor of signs
        "iex-tp" => {
            matches!(ours, Err(Malformed::Length | Malformed::Sequence))
                || datagram.get(12).is_some_and(|&len| datagram.len() > 40 + usize::from(len))
        }
        // a refresh without messages is no heartbeat to ours
        "nyse-pillar" => matches!(ours, Ok((FrameKind::Unsequenced, 0))),
        // the last message's type is at no fixed place
        "cboe-pitch" => matches!(ours, Ok((FrameKind::Last, _))),
        _ => false,
    }
}

#[test]
fn any_bytes_are_read_as_ours_reads_them() {
    let mut rng = fastrand::Rng::with_seed(11);
    for (name, [ours, described]) in all() {
        let (frames, ..) = ours.with(Written(7));
        let (mut read, mut compared) = (0, 0);
        for _ in 0..60_000 {
            let mut datagram = frames[rng.usize(..frames.len())].clone();
            for _ in 0..rng.usize(..4) {
                let most = datagram.len().min(48);
                if most > 0 {
                    let small = rng.bool();
                    datagram[rng.usize(..most)] = if small { rng.u8(..24) } else { rng.u8(..) };
                }
            }
            if rng.u8(..8) == 0 {
                datagram.truncate(rng.usize(..=datagram.len()));
            }
            let said = ours.with(Kinds(&datagram));
            if left_out(name, &datagram, said) {
                continue;
            }
            let (ours, described) = (ours.with(Read(&datagram)), described.with(Read(&datagram)));
            compared += 1;
            read += usize::from(said.is_ok());
            // of a datagram with two faults, either may be named
            if said.is_ok() || !described.starts_with("Err(") {
                assert_eq!(described, ours, "{name}: {datagram:02x?}");
            }
        }
        assert!(compared > 20_000 && read > 5_000, "{name}: {compared} compared, {read} read");
    }
}

#[test]
fn every_cut_is_refused_under_ours_reason() {
    for (name, [ours, described]) in all() {
        let (frames, ..) = ours.with(Written(7));
        for frame in frames {
            for cut in 0..frame.len() {
                let cut = &frame[..cut];
                assert_eq!(described.with(Read(cut)), ours.with(Read(cut)), "{name}: {cut:02x?}");
            }
        }
    }
}

/// A packing that no framing of ours has: a type byte, then a length of what is behind it.
#[test]
fn a_house_feed_is_written_and_read() {
    const HOUSE: &str = r#"
        [fixed]
        unit = "message"
        header = 12
        endian = "little"
        sequence = "u16be at 2"
        wraps_to = 0
        initial = 0
        count = "u8 at 1"
        session = "text3 at 4"
        message_length = "u8 at 1"
        message_length_adds = 2
        must_be = ["u8 at 0 = 'H'", "u8 at 11 & 0xF0 = 0x20"]
        heartbeat = "u8 at 10 = 'B' and count = 0"
        heartbeat_carries = "last"
        heartbeat_interval = "250ms"
        end = ["u8 at 10 = 'E'"]
        end_carries = "last"
        unsequenced = "u8 at 10 = 'U', 'V'"
        reset = "u8 at 11 & 0x01 = 1"
        reset_to = "initial"
    "#;
    let [_, house] = pair("moldudp64", HOUSE);
    let (frames, consumed, ends) = house.with(Written(65_535));
    assert_eq!((consumed, ends), (0, true));
    assert_eq!(frames[0], b"H\x03\xff\xff7  \0\0\0\0\x20o\x03ne!a\x06nd twot\x04hree");
    assert_eq!(frames[3], b"H\0\xff\xfe7  \0\0\0B\x20");
    assert_eq!(frames[4], b"H\0\xff\xfe7  \0\0\0E\x20");
    let kinds = |frame: &[u8]| house.with(Kinds(frame));
    assert_eq!(kinds(&frames[0]), Ok((FrameKind::Data, 3)));
    let read = |datagram: &[u8]| house.with(Read(datagram));
    // before the first number comes the last of the wrap
    assert!(read(b"H\0\xff\xff7  \0\0\0B\x20").contains("kind: Heartbeat, sequence: 0,"));
    assert!(read(b"H\x01\0\x077  \0\0\0\0\x21o\x01x").contains("reset: Some(Marked(0))"));
    assert_eq!(kinds(b"H\x01\0\x077  \0\0\0V\x20o\x01x"), Ok((FrameKind::Unsequenced, 1)));
    assert_eq!(kinds(b"X\x01\0\x077  \0\0\0V\x20o\x01x"), Err(Malformed::Type));
    assert_eq!(kinds(b"H\x01\0\x077  \0\0\0\0\x40o\x01x"), Err(Malformed::Type));
    assert_eq!(kinds(b"H\x01\0\x077  \0\0\0\0\x20o\x02x"), Err(Malformed::Overrun));
    // no messages, and no rule that says why: its number is not trusted
    assert_eq!(kinds(b"H\0\0\x077  \0\0\0\0\x20"), Ok((FrameKind::Unsequenced, 0)));
    assert_eq!(house.packing(), Packing { width: 1, offset: 1, length_adds: 2, ..Packing::WHOLE });
    assert_eq!(house.session("abc").map(|session| session.to_string()), Some("abc".to_owned()));
    assert_eq!(house.session("abcd"), None);
}
