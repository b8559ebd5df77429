//! What `[fixed]` may say, and what is said of one that describes no framing.

use super::*;
use crate::config::Feed;
use twinline_core::framing::fixed::HeaderValues;

/// As short as a description can be. It begins at line 7.
const LEAST: &str = "unit = \"message\"\nheader = 20\nendian = \"big\"\nsequence = \"u64 at 10\"\ncount = \"u16 at 18\"\nheartbeat = \"count = 0\"\nheartbeat_carries = \"next\"\n";

fn parse(table: &str) -> Result<FixedConfig, String> {
    let line = "[[line]]\nname = \"A\"\ngroups = [\"239.1.1.1:1\"]\ninterface = \"lo\"\n";
    let feed = Feed::parse(&format!("name = \"x\"\nframing = \"fixed\"\n{line}[fixed]\n{table}"));
    feed.map(|feed| feed.fixed.unwrap()).map_err(|error| error.to_string())
}

/// The least description with the line that begins with `key` put as `to`, or with `to` behind it.
fn with(key: &str, to: &str) -> String {
    let mut lines: Vec<&str> = LEAST.lines().collect();
    match lines.iter_mut().find(|line| line.split(' ').next() == Some(key)) {
        Some(line) => *line = to,
        None => lines.push(to),
    }
    lines.join("\n")
}

#[test]
fn the_least_description_has_its_defaults() {
    let fixed = parse(LEAST).unwrap();
    assert_eq!(
        fixed,
        FixedConfig {
            packet: false,
            header: 20,
            sequence: Field { at: 10, width: 8, big_endian: true },
            skips_zero: false,
            initial: 1,
            count: Some(Field { at: 18, width: 2, big_endian: true }),
            session: None,
            channel: None,
            length: None,
            message: None,
            must_be: Vec::new(),
            writes: Vec::new(),
            heartbeat: Some(Heartbeat {
                when: Rule(vec![Test { what: Looked::Count, low: 0, high: 0, and: false }]),
                carries: Carries::Next,
                consumes: false,
                resets: false,
            }),
            heartbeat_interval: Nanos::from_secs(1),
            end: None,
            unsequenced: Rule::default(),
            reset: Rule::default(),
            reset_to_initial: false,
            unmarked_restart: false,
        }
    );
}

#[test]
fn rules_are_alternatives_of_chains() {
    let fixed =
        parse(&with("reset", "reset = [\"u8 at 0 = 10, 12 and u16le at 30 & 0xF0 = 0x10 to 0x20\", \"body = 0\"]"));
    let flag = |value| Test {
        what: Looked::Field(Field { at: 0, width: 1, big_endian: true }, 0xFF),
        low: value,
        high: value,
        and: true,
    };
    let behind = Looked::Field(Field { at: 30, width: 2, big_endian: false }, 0xF0);
    let behind = Test { what: behind, low: 0x10, high: 0x20, and: false };
    let body = Test { what: Looked::Body, low: 0, high: 0, and: false };
    let rule = fixed.unwrap().reset;
    assert_eq!(rule.0, [flag(10), behind, flag(12), behind, body]);
    assert_eq!(rule.alternatives().count(), 3);
    let seen = HeaderValues { sequence: 1, count: 1, body: 12 };
    let mut datagram = [0; 32];
    assert!(!rule.means(&datagram, seen));
    (datagram[0], datagram[30]) = (12, 0x1F);
    assert!(rule.means(&datagram, seen));
    assert!(!rule.means(&datagram[..31], seen), "a field that is not there");
    assert!(rule.means(&[], HeaderValues { body: 0, ..seen }));
}

#[test]
fn a_narrow_number_bounds_max_jump() {
    let feed = |width: u32, rest: &str| {
        let line = "[[line]]\nname = \"A\"\ngroups = [\"239.1.1.1:1\"]\ninterface = \"lo\"\n";
        let table = with("sequence", &format!("sequence = \"u{width} at 10\""));
        Feed::parse(&format!("name = \"x\"\nframing = \"fixed\"\n{line}[fixed]\n{table}\n{rest}"))
    };
    for (width, max_jump) in [(8, 127), (16, 1_000), (32, 1_000), (64, 1_000)] {
        assert_eq!(feed(width, "").unwrap().arbiter.max_jump, max_jump, "{width}");
        assert_eq!(feed(width, "[arbiter]").unwrap().arbiter.max_jump, max_jump, "{width}");
    }
    assert_eq!(feed(16, "[arbiter]\nmax_jump = 32767").unwrap().arbiter.max_jump, 32_767);
    assert_eq!(
        feed(16, "[arbiter]\nmax_jump = 32768").unwrap_err().to_string(),
        "line 16: arbiter.max_jump: expected a whole number from 1 to 32767, found 32768"
    );
}

#[test]
fn impossible_descriptions_are_refused_with_line_key_and_what_would_do() {
    for (key, to, said) in [
        ("unit", "unit = \"byte\"", r#"line 8: fixed.unit: "byte" has no number; expected "message" or "packet""#),
        ("header", "header = 0", "line 9: fixed.header: expected a whole number from 1 to 256, found 0"),
        (
            "endian",
            "endian = \"middle\"",
            r#"line 10: fixed.endian: "middle" is not a byte order; expected "big" or "little""#,
        ),
        // fields
        (
            "sequence",
            "sequence = 10",
            r#"line 11: fixed.sequence: expected a field, such as "u32 at 4", found the number 10"#,
        ),
        (
            "sequence",
            "sequence = \"u64\"",
            r#"line 11: fixed.sequence: "u64" is not a field; expected its type and where it begins, such as "u32 at 4""#,
        ),
        (
            "sequence",
            "sequence = \"u24 at 10\"",
            r#"line 11: fixed.sequence: "u24" is not a number type; expected u8, u16, u32 or u64, for 1, 2, 4 or 8 bytes, such as "u32 at 4""#,
        ),
        (
            "sequence",
            "sequence = \"u64 at -1\"",
            r#"line 11: fixed.sequence: "-1" is not a place in a header; expected the number of bytes before the field, 0 for the first one"#,
        ),
        (
            "sequence",
            "sequence = \"u64 at 13\"",
            "line 11: fixed.sequence: it ends after the header: it covers bytes 13 to 20, and header = 20 ends with byte 19",
        ),
        (
            "count",
            "count = \"u16 at 17\"",
            "line 12: fixed.count: it overlaps sequence: this covers bytes 17 to 18, sequence has 10 to 17; give each its own",
        ),
        (
            "count",
            "count = \"u64 at 0\"",
            "line 12: fixed.count: no datagram has so many messages; expected u8, u16 or u32",
        ),
        (
            "count",
            "",
            r#"line 7: fixed.count: this table has no count; add where a frame says how many messages it has, such as count = "u16 at 18" (or unit = "packet", if only packets are numbered)"#,
        ),
        (
            "session",
            "session = \"text15 at 0\"",
            r#"line 15: fixed.session: "text15" is not a session type; expected text1 to text14, such as "text10 at 0""#,
        ),
        (
            "session",
            "session = \"text11 at 0\"",
            "line 15: fixed.session: it overlaps sequence: this covers bytes 0 to 10, sequence has 10 to 17; give each its own",
        ),
        (
            "channel",
            "channel = \"u64 at 0\"",
            "line 15: fixed.channel: a channel's number has 32 bits at most; expected u8, u16 or u32",
        ),
        // numbers
        ("wraps_to", "wraps_to = 1", "line 15: fixed.wraps_to: a number of 64 bits never wraps; take wraps_to out"),
        (
            "sequence",
            "sequence = \"u32 at 10\"\nwraps_to = 2",
            "line 12: fixed.wraps_to: expected a whole number from 0 to 1, found 2",
        ),
        (
            "sequence",
            "sequence = \"u32 at 10\"\ninitial = 0",
            "line 12: fixed.initial: numbers that wrap to 1 have no 0; expected 1 or more, or wraps_to = 0 beside it",
        ),
        (
            "sequence",
            "sequence = \"u8 at 10\"\ninitial = 256",
            "line 12: fixed.initial: expected a whole number from 0 to 255, found 256",
        ),
        // lengths
        (
            "length",
            "length = \"u16 at 0\"",
            r#"line 7: fixed.length_counts: this table has no length_counts; add length_counts = "datagram" (the header too) or "body" (what comes after the header)"#,
        ),
        (
            "length",
            "length_counts = \"body\"",
            "line 15: fixed.length_counts: this needs length, which is missing; add length, or take this out",
        ),
        (
            "length",
            "length = \"u16 at 0\"\nlength_counts = \"all\"",
            r#"line 16: fixed.length_counts: "all" is not something that a length counts; expected "datagram" (the header too) or "body""#,
        ),
        (
            "message_length",
            "message_length = \"u32 at 0\"",
            "line 15: fixed.message_length: a message's length has 1 or 2 bytes, in the first 255 of its block; expected u8 or u16",
        ),
        (
            "message_length",
            "message_length = \"u16 at 0\"",
            "line 7: fixed.message_length_adds: this table has no message_length_adds; add message_length_adds = 0 if the length counts the whole block, itself included, or the number of bytes that it leaves out, such as 2",
        ),
        (
            "message_length",
            "message_skip = 2",
            "line 15: fixed.message_skip: this needs message_length, which is missing; add message_length, or take this out",
        ),
        (
            "message_length",
            "message_length = \"u16 at 1\"\nmessage_length_adds = 0\nmessage_skip = 2",
            "line 17: fixed.message_skip: the length ends with byte 2 of the block; expected 0 (it is part of the message), or 3 and more",
        ),
        // heartbeats and ends
        (
            "heartbeat",
            "",
            r#"line 7: fixed.heartbeat: this table has no heartbeat; add how to recognise a heartbeat, such as heartbeat = "count = 0", or heartbeat = "none""#,
        ),
        (
            "heartbeat",
            "heartbeat = \"none\"",
            r#"line 14: fixed.heartbeat_carries: there are no heartbeats: heartbeat = "none"; take this out"#,
        ),
        (
            "heartbeat",
            "heartbeat = \"count = 1\"",
            "line 13: fixed.heartbeat: every frame with a count of 1 would be a heartbeat; expected a count of 0, one that no frame has, such as 65535, or a field beside it",
        ),
        (
            "heartbeat",
            "heartbeat = \"count = 65536\"",
            "line 13: fixed.heartbeat: the count has 2 bytes, and is at most 65535",
        ),
        ("heartbeat", "heartbeat = []", "line 13: fixed.heartbeat: an empty list matches no frame; leave the key out"),
        (
            "heartbeat",
            "heartbeat = \"count\"",
            r#"line 13: fixed.heartbeat: "count" is not a rule; expected what must have which value, such as "count = 0" or "u8 at 2 = 17 to 21""#,
        ),
        (
            "heartbeat",
            "heartbeat = \"length = 0\"",
            r#"line 13: fixed.heartbeat: "length" is not something that a rule can look at; expected count, sequence, body (the number of bytes after the header) or a field, such as "u8 at 2""#,
        ),
        (
            "heartbeat",
            "heartbeat = \"u8 at 2 = x\"",
            r#"line 13: fixed.heartbeat: "x" is not a value; expected a number, a letter in quotes such as 'T', or a range such as 17 to 21"#,
        ),
        (
            "heartbeat",
            "heartbeat = \"u8 at 2 = 21 to 17\"",
            r#"line 13: fixed.heartbeat: "21 to 17" is an empty range; put the lower number first"#,
        ),
        (
            "heartbeat",
            "heartbeat = \"u8 at 2 = 256\"",
            "line 13: fixed.heartbeat: 256 is more than u8 at 2 can have; the most is 255",
        ),
        (
            "heartbeat",
            "heartbeat = \"u8 at 2 & 0x100 = 0\"",
            r#"line 13: fixed.heartbeat: "0x100" is not a mask of "u8 at 2"; expected its bits, such as 0x10"#,
        ),
        (
            "heartbeat",
            "heartbeat = \"u16 at 511 = 0\"",
            r#"line 13: fixed.heartbeat: "u16 at 511" is too far in: a rule looks at the first 512 bytes"#,
        ),
        (
            "heartbeat",
            "heartbeat = \"u8 at 19 = 0\"",
            "line 13: fixed.heartbeat: the field at 19 is that of count, bytes 18 to 19; write count = ... for it",
        ),
        (
            "heartbeat_carries",
            "heartbeat_carries = \"this\"",
            r#"line 14: fixed.heartbeat_carries: "this" is not a number to carry; expected "next", "last" or "nothing""#,
        ),
        (
            "heartbeat_carries",
            "",
            r#"line 7: fixed.heartbeat_carries: this table has no heartbeat_carries; add heartbeat_carries = "next" (the number expected next), "last" (the last one sent) or "nothing""#,
        ),
        (
            "heartbeat_carries",
            "heartbeat_consumes = true",
            "line 14: fixed.heartbeat_consumes: a heartbeat with a count of 0 consumes no number; take this out, or recognise heartbeats by something else",
        ),
        (
            "heartbeat",
            "heartbeat = \"u8 at 2 = 1\"\nheartbeat_consumes = true",
            "line 15: fixed.heartbeat_carries: a heartbeat that consumes a number carries that one; take this out",
        ),
        (
            "heartbeat_carries",
            "heartbeat_carries = \"nothing\"\nheartbeat_resets = true",
            "line 15: fixed.heartbeat_resets: only a heartbeat that carries the next or the last number announces a restart; take this out",
        ),
        (
            "heartbeat_interval",
            "heartbeat_interval = 1",
            r#"line 15: fixed.heartbeat_interval: expected how often an idle line is heard, such as "1s", found the number 1"#,
        ),
        (
            "end",
            "end = \"count = 0\"",
            "line 15: fixed.end: heartbeat says the same; tell an end from a heartbeat by another value or field",
        ),
        (
            "end",
            "end = \"count = 2\"",
            "line 15: fixed.end: every frame with a count of 2 would be an end of session; expected a count of 0, one that no frame has, such as 65535, or a field beside it",
        ),
        (
            "end",
            "end_carries = \"last\"",
            "line 15: fixed.end_carries: this needs end, which is missing; add end, or take this out",
        ),
        (
            "end",
            "end = \"count = 65535\"\nend_carries = \"nothing\"",
            r#"line 16: fixed.end_carries: an end says after which number; expected "next" or "last""#,
        ),
        // marks
        (
            "must_be",
            "must_be = \"count = 1\"",
            r#"line 15: fixed.must_be: this is for fields of the header, such as "u8 at 0 = 1""#,
        ),
        (
            "must_be",
            "must_be = \"u8 at 20 = 1\"",
            r#"line 15: fixed.must_be: this is for fields of the header, such as "u8 at 0 = 1""#,
        ),
        (
            "writes",
            "writes = \"u8 at 0 = 1, 2\"",
            "line 15: fixed.writes: each entry is one field with one value or range, and all of them hold; write a list",
        ),
        (
            "writes",
            "writes = \"u8 at 10 = 1\"",
            "line 15: fixed.writes: the field at 10 is that of sequence, bytes 10 to 17; write sequence = ... for it",
        ),
        (
            "reset",
            "reset = 12",
            r#"line 15: fixed.reset: expected a rule such as "count = 0", or a list of them, found the number 12"#,
        ),
        (
            "reset",
            "reset_to = \"initial\"",
            "line 15: fixed.reset_to: this needs reset, which is missing; add reset, or take this out",
        ),
        (
            "reset",
            "reset = \"u8 at 0 = 1\"\nreset_to = \"zero\"",
            r#"line 16: fixed.reset_to: "zero" is not something to reset to; expected "sequence" (the frame's own number) or "initial""#,
        ),
        (
            "unsequenced",
            "unsequenced = \"sequence = 0\"\ninitial = 0",
            "line 15: fixed.unsequenced: a sequence of 0 is a number of this stream, see wraps_to and initial; take it out here, or let the numbers begin and wrap at 1",
        ),
        (
            "unsequenced",
            "unsequenced = \"u8 at 0 = 0 to 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31, 33, 35, 37, 39, 41, 43, 45, 47, 49, 51, 53, 55, 57, 59, 61, 63, 65, 67, 69, 71\"",
            "line 15: fixed.unsequenced: this has more than 32 tests, counting every value of a list; say it with fewer, such as 17 to 21",
        ),
        (
            "sequense",
            "sequense = \"u64 at 10\"",
            "line 15: fixed.sequense: this is not a key of [fixed]; did you mean sequence? The keys there are: unit, header, endian, sequence, wraps_to, initial, count, session, channel, length, length_counts, message_length, message_length_adds, message_skip, must_be, writes, heartbeat, heartbeat_carries, heartbeat_consumes, heartbeat_resets, heartbeat_interval, end, end_carries, unsequenced, reset, reset_to, unmarked_restart",
        ),
    ] {
        assert_eq!(parse(&with(key, to)).expect_err(to), said, "{to}");
    }
}

#[test]
fn packets_have_neither_count_nor_message_length() {
    let packet = |rest: &str| {
        parse(&format!("unit = \"packet\"\nheader = 12\nendian = \"little\"\nsequence = \"u32 at 0\"\n{rest}"))
    };
    assert!(packet("heartbeat = \"none\"").unwrap().heartbeat.is_none());
    assert!(packet("heartbeat = \"u16 at 16 = 12\"\nheartbeat_consumes = true").unwrap().heartbeat.unwrap().consumes);
    for (rest, said) in [
        (
            "count = \"u16 at 8\"",
            r#"line 12: fixed.count: if packets are numbered, each counts as one; take count out, or say unit = "message""#,
        ),
        (
            "message_length = \"u16 at 0\"\nmessage_length_adds = 0",
            r#"line 12: fixed.message_length: if packets are numbered, everything after the header is delivered as one; take message_length out, or say unit = "message""#,
        ),
        (
            "heartbeat = \"count = 0\"",
            r#"line 12: fixed.heartbeat: packets are numbered, and have no count; recognise such frames by a field, such as "u8 at 2 = 1""#,
        ),
    ] {
        assert_eq!(packet(rest).expect_err(rest), said, "{rest}");
    }
}
