//! What a feed file may say, and what is said of one that says something else.

use proptest::prelude::*;

use super::*;
use twinline_core::framing::FIXED;

const TWO_LINES: &str = r#"name = "loopback"
framing = "moldudp64"

[[line]]
name = "A"
groups = ["239.81.1.1:26400"]
interface = "127.0.0.1"
source = "127.0.0.1"

[[line]]
name = "B"
groups = ["239.81.2.1:26400"]
interface = "lo"
wait = false
"#;

fn parse(text: &str) -> Result<Feed, ConfigError> {
    Feed::parse(text)
}

/// What is said of `text`.
fn refusal(text: &str) -> String {
    parse(text).expect_err(text).to_string()
}

/// A feed of one line, whose keys are `line`, with `rest` behind it. The line's keys begin at line 4.
fn one_line(line: &str, rest: &str) -> String {
    format!("name = \"x\"\nframing = \"moldudp64\"\n[[line]]\n{line}\n{rest}")
}

/// A feed that is fine but for `rest`, which begins at line 7.
fn with(rest: &str) -> String {
    one_line("name = \"A\"\ngroups = [\"239.81.1.1:1\"]\ninterface = \"lo\"", rest)
}

#[test]
fn what_is_left_out_has_its_default() {
    let feed = parse(TWO_LINES).unwrap();
    assert_eq!((feed.name.as_str(), feed.framing.name()), ("loopback", "moldudp64"));
    assert_eq!(
        feed.lines,
        [
            LineConfig {
                name: "A".to_owned(),
                groups: vec!["239.81.1.1:26400".parse().unwrap()],
                interface: "127.0.0.1".to_owned(),
                source: Some(Ipv4Addr::LOCALHOST),
                wait: true,
            },
            LineConfig {
                name: "B".to_owned(),
                groups: vec!["239.81.2.1:26400".parse().unwrap()],
                interface: "lo".to_owned(),
                source: None,
                wait: false,
            },
        ]
    );
    assert_eq!(feed.arbiter, ArbiterConfig::default());
    assert_eq!(
        feed.receive,
        ReceiveConfig { method: Method::Socket, buffer: 8 << 20, core: None, kernel_stamps: false, lock_memory: false }
    );
}

#[test]
fn every_key_is_read() {
    let feed = parse(&with(
        r#"
        [arbiter]
        gap_timeout = "1.5ms"
        settle = 0
        hold_messages = 0x10
        hold_bytes = "2MiB"
        max_jump = 5
        silent_after = "90s"
        session_grace = "1s"
        join = "live"
        verify = 0.01
        [receive]
        method = "packet"
        buffer = 65_536
        core = 3
        kernel_stamps = true
        lock_memory = true
        "#,
    ))
    .unwrap();
    assert_eq!(
        feed.arbiter,
        ArbiterConfig {
            gap_timeout: GapTimeout::After(Nanos::from_micros(1_500)),
            settle: 0,
            hold_messages: 16,
            hold_bytes: 2 << 20,
            max_jump: 5,
            silent_after: Some(Nanos::from_secs(90)),
            session_grace: Some(Nanos::from_secs(1)),
            verify: Verify::PerBillion(10_000_000),
        }
    );
    assert_eq!(
        feed.receive,
        ReceiveConfig { method: Method::Packet, buffer: 65_536, core: Some(3), kernel_stamps: true, lock_memory: true }
    );
}

#[test]
fn a_receive_method_may_stand_alone() {
    let top = |receive: &str| parse(&TWO_LINES.replacen("framing", &format!("{receive}\nframing"), 1));
    for method in Method::ALL {
        let alone = top(&format!("receive = \"{}\"", method.name())).unwrap().receive;
        assert_eq!(alone, ReceiveConfig { method, ..ReceiveConfig::default() });
        let table = with(&format!("[receive]\nmethod = \"{}\"", method.name()));
        assert_eq!(parse(&table).unwrap().receive, alone);
    }
    assert_eq!(
        top("receive = \"packets\"").unwrap_err().to_string(),
        r#"line 2: receive: "packets" is not a way to receive; did you mean packet? The methods are: socket, packet, xdp, auto"#
    );
    assert_eq!(
        top("receive = 5").unwrap_err().to_string(),
        r#"line 2: receive: expected a method, such as "packet", or the table [receive], found the number 5"#
    );
}

#[test]
fn silence_goes_by_the_heartbeat_unless_the_file_says_otherwise() {
    let mut arbiter = ArbiterConfig::default();
    assert_eq!(arbiter.silent_after(Nanos::from_secs(30)), Nanos::from_secs(90));
    assert_eq!(arbiter.silent_after(Nanos::ZERO), Nanos::from_secs(3));
    assert_eq!(arbiter.session_grace(Nanos::from_secs(1)), Nanos::from_secs(3));
    arbiter.silent_after = Some(Nanos::from_millis(7));
    assert_eq!(arbiter.session_grace(Nanos::from_secs(1)), Nanos::from_millis(7));
    arbiter.session_grace = Some(Nanos::from_millis(9));
    assert_eq!(arbiter.session_grace(Nanos::from_secs(1)), Nanos::from_millis(9));
    assert_eq!(arbiter.silent_after(Nanos::from_secs(1)), Nanos::from_millis(7));
}

#[test]
fn a_group_may_come_twice_where_interface_or_source_differ() {
    let line = |name, rest| format!("[[line]]\nname = \"{name}\"\ngroups = [\"239.81.1.1:1\"]\n{rest}\n");
    let head = "name = \"x\"\nframing = \"moldudp64\"\n";
    let two = |a, b| parse(&format!("{head}{}{}", line("A", a), line("B", b)));
    two("interface = \"eth0\"", "interface = \"eth1\"").unwrap();
    two("interface = \"eth0\"\nsource = \"10.0.0.1\"", "interface = \"eth0\"\nsource = \"10.0.0.2\"").unwrap();
    assert_eq!(
        two("interface = \"eth0\"", "interface = \"eth0\"").unwrap_err().to_string(),
        r#"line 9: line.groups: lines "A" and "B" are one line twice: 239.81.1.1:1 on eth0; give each its own group, interface or source"#
    );
}

#[test]
fn where_nothing_tells_two_lines_apart_the_second_is_refused() {
    let head = "name = \"x\"\nframing = \"moldudp64\"\n";
    let line = |name: &str, (groups, rest): (&str, &str)| {
        format!("[[line]]\nname = \"{name}\"\ngroups = [{groups}]\ninterface = {rest}\n")
    };
    let two = |a, b| parse(&format!("{head}{}{}", line("A", a), line("B", b)));
    let refused = |a, b| two(a, b).unwrap_err().to_string();
    let (one, other) = (r#""239.1.1.1:1", "239.1.1.2:1""#, r#""239.1.1.3:1", "239.1.1.1:1""#);
    for (a, b) in [(r#""eth0""#, r#""eth0""#), (r#""eth0""#, r#""eth1""#)] {
        assert_eq!(
            refused((one, a), (other, b)),
            r#"line 9: line.groups: 239.1.1.1:1 is the source of channel 1 here, and of channel 0 on line "A"; every line lists the same channels in the same order"#
        );
    }
    let group = r#""239.1.1.1:1""#;
    let of = "\"eth0\"\nsource = \"10.0.0.1\"";
    assert_eq!(
        refused((group, of), (group, r#""eth0""#)),
        r#"line 10: line.groups: lines "A" and "B" share 239.1.1.1:1 on eth0, and line "B" takes any sender, 10.0.0.1 too; give line "B" a source of its own"#
    );
    assert_eq!(
        refused((group, r#""eth0""#), (group, of)),
        r#"line 9: line.groups: lines "A" and "B" share 239.1.1.1:1 on eth0, and line "A" takes any sender, 10.0.0.1 too; give line "A" a source of its own"#
    );
    assert_eq!(
        refused((group, of), (group, of)),
        r#"line 10: line.groups: lines "A" and "B" are one line twice: 239.1.1.1:1 on eth0; give each its own group, interface or source"#
    );
    // ports tell groups apart
    two((group, r#""eth0""#), (r#""239.1.1.1:2""#, r#""eth0""#)).unwrap();
}

#[test]
fn units_are_those_of_a_framing_that_has_them() {
    let feed = |framing: &str, units: &str, rest: &str| {
        let line = "[[line]]\nname = \"A\"\ngroups = [\"239.1.1.1:1\"]\ninterface = \"lo\"\n";
        parse(&format!("name = \"x\"\nframing = \"{framing}\"\nunits = {units}\n{line}{rest}"))
    };
    assert_eq!(feed("cboe-pitch", "[1, 0x22, 4294967295]", "").unwrap().units, [1, 34, u32::MAX]);
    assert!(parse(TWO_LINES).unwrap().units.is_empty());
    let refused = |framing: &str, units: &str, rest: &str| feed(framing, units, rest).unwrap_err().to_string();
    for (units, said) in [
        ("3", "line 3: units: expected a list of the units that are wanted, such as [1, 2], found the number 3"),
        (
            "[]",
            "line 3: units: an empty list selects nothing; name the units, such as [1, 2], or take units out to select all",
        ),
        ("[1,\n2,\n1]", "line 5: units: unit 1 is in the list already; take one out"),
        ("[-1]", "line 3: units: expected a whole number from 0 to 4294967295, found -1"),
        ("[\"1\"]", r#"line 3: units: expected a whole number from 0 to 4294967295, found the text "1""#),
    ] {
        assert_eq!(refused("cboe-pitch", units, ""), said, "{units}");
    }
    let many = format!("{:?}", (0..257).collect::<Vec<_>>());
    assert_eq!(
        refused("cboe-pitch", &many, ""),
        "line 3: units: a feed has at most 256 channels, and 257 units are listed"
    );
    assert_eq!(
        refused("moldudp64", "[1]", ""),
        "line 3: units: frames of moldudp64 name no channels within a group; take units out, and list under groups what is wanted"
    );
    // a framing that the file describes has them where it says so
    let fixed = |channel: &str| {
        format!(
            "[fixed]\nunit = \"packet\"\nheader = 8\nendian = \"big\"\nsequence = \"u32 at 0\"\nheartbeat = \"none\"\n{channel}"
        )
    };
    assert_eq!(feed(FIXED, "[7]", &fixed("channel = \"u8 at 4\"")).unwrap().units, [7]);
    assert_eq!(
        refused(FIXED, "[256]", &fixed("channel = \"u8 at 4\"")),
        "line 3: units: expected a whole number from 0 to 255, found 256"
    );
    assert_eq!(
        refused(FIXED, "[7]", &fixed("")),
        "line 3: units: frames of fixed name no channels within a group; add channel under [fixed] (where a frame names it), or take units out"
    );
}

#[test]
fn a_description_stands_with_fixed_and_with_it_alone() {
    assert_eq!(
        refusal(&TWO_LINES.replace("moldudp64", "fixed")),
        r#"line 2: framing: framing = "fixed" is described under [fixed], which is missing; add that table"#
    );
    assert_eq!(
        refusal(&with("[fixed]\nheader = 20")),
        r#"line 7: fixed: moldudp64 is a framing of its own; take [fixed] out, or write framing = "fixed""#
    );
    assert_eq!(
        refusal(&format!("fixed = 3\n{}", TWO_LINES.replace("moldudp64", "fixed"))),
        "line 1: fixed: expected the table [fixed], found the number 3"
    );
}

#[test]
fn at_the_top_each_fault_is_named_with_its_line_and_key() {
    for (text, said) in [
        ("", r#"line 1: name: a feed has no name; add one, such as name = "nasdaq-totalview""#),
        (
            "name = \"x\"",
            "line 1: framing: a feed has no framing; add one of: moldudp64, cme-mdp3, cboe-pitch, nyse-pillar, hkex-omd, lse-mitch, opra, cta, ice-impact, iex-tp, memx-udp, miax-mach, eurex-eobi, euronext-optiq, b3-umdf, moex-simba, fixed",
        ),
        (
            "name = \"x\"\nframing = \"moldudp64\"",
            "line 1: line: a feed has no line; add a [[line]] table for every path that carries it",
        ),
        ("name = \"\"", "line 1: name: a name may not be empty; give it one"),
        ("name = \"a\\u0007\"", r#"line 1: name: "a\u{7}" has a control character; take it out"#),
        ("\n\nname = 5", r#"line 3: name: expected a name, such as "nasdaq-totalview", found the number 5"#),
        (
            "name = \"x\"\nframing = \"moldudp\"",
            r#"line 2: framing: "moldudp" is not a framing; did you mean moldudp64? The framings are: moldudp64, cme-mdp3, cboe-pitch, nyse-pillar, hkex-omd, lse-mitch, opra, cta, ice-impact, iex-tp, memx-udp, miax-mach, eurex-eobi, euronext-optiq, b3-umdf, moex-simba, fixed"#,
        ),
        (
            "name = \"x\"\nframing = \"soup\"",
            r#"line 2: framing: "soup" is not a framing; the framings are: moldudp64, cme-mdp3, cboe-pitch, nyse-pillar, hkex-omd, lse-mitch, opra, cta, ice-impact, iex-tp, memx-udp, miax-mach, eurex-eobi, euronext-optiq, b3-umdf, moex-simba, fixed"#,
        ),
        (
            "name = \"x\"\nframming = \"moldudp64\"",
            "line 2: framming: this is not a key of the top of the file; did you mean framing? The keys there are: name, framing, units, line, arbiter, receive, fixed",
        ),
        (
            "name = \"x\"\n[[lines]]\n",
            "line 2: lines: this is not a key of the top of the file; did you mean line? The keys there are: name, framing, units, line, arbiter, receive, fixed",
        ),
        ("settle = 5", "line 1: settle: this is not a key of the top of the file; it belongs under [arbiter]"),
        ("[recovery]\n", "line 1: recovery: this needs recovery, which this version does not have; take the key out"),
        (
            "name = \"x\"\nframing = \"moldudp64\"\n[line]\nname = \"A\"",
            "line 3: line: expected tables, each under [[line]], found a table",
        ),
        (
            "name = \"x\"\nframing = \"moldudp64\"\nline = []",
            "line 3: line: a feed needs at least one line; add a [[line]] table",
        ),
        (
            "name = \"x\"\nframing = \"moldudp64\"\nline = [3]",
            "line 3: line: expected a table under [[line]], found the number 3",
        ),
    ] {
        assert_eq!(refusal(text), said, "{text}");
    }
}

#[test]
fn in_a_line_each_fault_is_named_with_its_line_and_key() {
    let a = "name = \"A\"";
    let groups = "groups = [\"239.81.1.1:1\"]";
    let nic = "interface = \"lo\"";
    for (line, said) in [
        (String::new(), r#"line 3: line.name: this [[line]] has no name; add one, such as name = "A""#),
        ("name = \" \"".to_owned(), "line 4: line.name: a name may not be empty; give it one"),
        (
            "name = \"A=B\"".to_owned(),
            r#"line 4: line.name: "A=B" has a '=', which separates a line from its capture (A=a.pcap); take it out"#,
        ),
        (
            "name = \"recovery\"".to_owned(),
            r#"line 4: line.name: "recovery" is what events call retransmissions; give the line another name"#,
        ),
        (
            format!("name = \"{}\"", "x".repeat(65)),
            "line 4: line.name: a name may have 64 bytes, this one has 65; shorten it",
        ),
        (
            format!("name = \"{}\"", "x".repeat(1_000)),
            r#"line 4: line.name: expected a name, such as "A", found a text of 1000 bytes"#,
        ),
        (
            a.to_owned(),
            r#"line 3: line.groups: this [[line]] has no groups; add the groups that it is sent to, such as groups = ["239.81.1.1:26400"]"#,
        ),
        (
            format!("{a}\ngroups = \"239.81.1.1:1\""),
            r#"line 5: line.groups: expected a list of groups, such as ["239.81.1.1:26400"], found the text "239.81.1.1:1""#,
        ),
        (
            format!("{a}\ngroups = []"),
            r#"line 5: line.groups: a line needs at least one group, such as "239.81.1.1:26400""#,
        ),
        (
            format!("{a}\ngroups = [\n\"239.81.1.1:1\",\n7]"),
            r#"line 7: line.groups: expected a group and its port, such as "239.81.1.1:26400", found the number 7"#,
        ),
        (
            format!("{a}\ngroups = [\"239.81.1.1\"]"),
            r#"line 5: line.groups: "239.81.1.1" is not an IPv4 address and port; expected group:port, such as "239.81.1.1:26400""#,
        ),
        (
            format!("{a}\ngroups = [\"[ff02::1]:5\"]"),
            r#"line 5: line.groups: "[ff02::1]:5" is not an IPv4 address and port; expected group:port, such as "239.81.1.1:26400""#,
        ),
        (
            format!("{a}\ngroups = [\"239.81.1.1:0\"]"),
            "line 5: line.groups: 239.81.1.1:0 has port 0, on which nothing is received; give the port that the line is sent to",
        ),
        (
            format!("{a}\ngroups = [\"0.0.0.0:5\"]"),
            "line 5: line.groups: 0.0.0.0:5 is not a group; expected a multicast address, or a unicast one of this machine",
        ),
        (
            format!("{a}\ngroups = [\n\"239.81.1.1:1\",\n\"239.81.1.1:1\"]"),
            "line 7: line.groups: 239.81.1.1:1 is among this line's groups already (line 6); take one out",
        ),
        (
            format!("{a}\n{groups}"),
            r#"line 3: line.interface: this [[line]] has no interface; add the NIC that it arrives on, by name or address, such as interface = "eth0""#,
        ),
        (
            format!("{a}\n{groups}\ninterface = \"0.0.0.0\""),
            r#"line 6: line.interface: "0.0.0.0" is not the address of a NIC; expected a NIC's name or IPv4 address, such as "eth0" or "10.0.0.1""#,
        ),
        (
            format!("{a}\n{groups}\ninterface = \"127.0.0.300\""),
            r#"line 6: line.interface: "127.0.0.300" cannot be a NIC's name; expected a NIC's name or IPv4 address, such as "eth0" or "10.0.0.1""#,
        ),
        (
            format!("{a}\n{groups}\n{nic}\nsource = \"239.81.1.1\""),
            r#"line 7: line.source: "239.81.1.1" is not a sender's address; expected the unicast IPv4 address that the line is sent from"#,
        ),
        (
            format!("{a}\n{groups}\n{nic}\nwait = \"no\""),
            r#"line 7: line.wait: expected true or false, found the text "no""#,
        ),
        (
            format!("{a}\n{groups}\n{nic}\nwait = false"),
            "line 3: line: every line has wait = false, so a loss would wait for no line; leave wait out for the lines that a loss is to wait for",
        ),
        (
            format!("{a}\ngroup = [\"239.81.1.1:1\"]"),
            "line 5: line.group: this is not a key of [[line]]; did you mean groups? The keys there are: name, groups, interface, source, wait",
        ),
    ] {
        assert_eq!(refusal(&one_line(&line, "")), said, "{line}");
    }
}

#[test]
fn between_lines_each_fault_is_named_with_its_line_and_key() {
    let more = |rest: &str| with(&format!("[[line]]\n{rest}\ninterface = \"lo\""));
    for (line, said) in [
        (
            "name = \"A\"\ngroups = [\"239.81.2.1:1\"]",
            r#"line 8: line.name: "A" is the name of another line; every line needs its own name"#,
        ),
        (
            "name = \"B\"\ngroups = [\"239.81.2.1:1\", \"239.81.2.1:2\"]",
            r#"line 9: line.groups: line "A" has 1 group, line "B" has 2 groups; every line lists the same channels in the same order"#,
        ),
    ] {
        assert_eq!(refusal(&more(line)), said, "{line}");
    }
    let line = |n| format!("[[line]]\nname = \"{n}\"\ngroups = [\"239.81.1.{n}:1\"]\ninterface = \"lo\"\n");
    let lines = |n| format!("name = \"x\"\nframing = \"moldudp64\"\n{}", (0..n).map(line).collect::<String>());
    assert_eq!(parse(&lines(8)).unwrap().lines.len(), LINES_MAX);
    assert_eq!(refusal(&lines(9)), "line 3: line: a feed has at most 8 lines, this one has 9");
    let groups = |n| {
        let groups: String = (1..=n).map(|port| format!("\"239.81.1.1:{port}\",")).collect();
        one_line(&format!("name = \"A\"\ninterface = \"lo\"\ngroups = [{groups}]"), "")
    };
    assert_eq!(parse(&groups(256)).unwrap().lines[0].groups.len(), GROUPS_MAX);
    assert_eq!(refusal(&groups(257)), "line 6: line.groups: a line has at most 256 groups, this one has 257");
}

#[test]
fn in_a_parameter_each_fault_is_named_with_its_line_and_key() {
    let duration = r#"expected a number and a unit (ns, us, ms, s), such as "200us" or "1.5ms""#;
    for (typed, said) in [
        ("[arbiter]\ngap_timeout = 5", r#"arbiter.gap_timeout: expected "auto" or a duration, such as "1ms", found the number 5"#.to_owned()),
        ("[arbiter]\ngap_timeout = \"5\"", format!(r#"arbiter.gap_timeout: "5" is not a duration (it has no unit); {duration}"#)),
        ("[arbiter]\ngap_timeout = \"5 min\"", format!(r#"arbiter.gap_timeout: "5 min" is not a duration (its unit is not known); {duration}"#)),
        ("[arbiter]\ngap_timeout = \"-1ms\"", format!(r#"arbiter.gap_timeout: "-1ms" is not a duration (it does not begin with a number); {duration}"#)),
        ("[arbiter]\ngap_timeout = \"0.5ns\"", format!(r#"arbiter.gap_timeout: "0.5ns" is not a duration (it is finer than the smallest unit); {duration}"#)),
        ("[arbiter]\nsilent_after = \"0s\"", r#"arbiter.silent_after: "0s" is out of range; expected more than 0ns and no more than 3600s"#.to_owned()),
        ("[arbiter]\nsession_grace = \"3601s\"", r#"arbiter.session_grace: "3601s" is out of range; expected more than 0ns and no more than 3600s"#.to_owned()),
        ("[arbiter]\nsession_grace = true", r#"arbiter.session_grace: expected a duration, such as "3s", found true"#.to_owned()),
        ("[arbiter]\nsettle = 1048577", "arbiter.settle: expected a whole number from 0 to 1048576, found 1048577".to_owned()),
        ("[arbiter]\nsettle = -1", "arbiter.settle: expected a whole number from 0 to 1048576, found -1".to_owned()),
        ("[arbiter]\nsettle = 1.5", "arbiter.settle: expected a whole number from 0 to 1048576, found the number 1.5".to_owned()),
        ("[arbiter]\nhold_messages = 0", "arbiter.hold_messages: expected a whole number from 1 to 16777216, found 0".to_owned()),
        ("[arbiter]\nmax_jump = 0", "arbiter.max_jump: expected a whole number from 1 to 1073741824, found 0".to_owned()),
        ("[arbiter]\nhold_bytes = \"0B\"", r#"arbiter.hold_bytes: "0B" is out of range; expected 1B to 64GiB"#.to_owned()),
        ("[arbiter]\nhold_bytes = []", r#"arbiter.hold_bytes: expected a number of bytes, such as 65536 or "64MiB", found a list"#.to_owned()),
        ("[arbiter]\nhold_bytes = \"64MB\"", r#"arbiter.hold_bytes: "64MB" is not a size (its unit is not known); expected a number and a unit (B, KiB, MiB, GiB), such as "64MiB""#.to_owned()),
        ("[arbiter]\njoin = \"start\"", r#"arbiter.join: join = "start" comes with recovery, which this version does not have; expected "live""#.to_owned()),
        ("[arbiter]\njoin = \"now\"", r#"arbiter.join: "now" is not a way to join; expected "live""#.to_owned()),
        ("[arbiter]\nrecovery_timeout = \"1s\"", "arbiter.recovery_timeout: this needs recovery, which this version does not have; take the key out".to_owned()),
        ("[arbiter]\ngap_timout = \"1s\"", "arbiter.gap_timout: this is not a key of [arbiter]; did you mean gap_timeout? The keys there are: gap_timeout, settle, hold_messages, hold_bytes, max_jump, silent_after, session_grace, join, verify".to_owned()),
        ("[arbiter]\nbuffer = 1", "arbiter.buffer: this is not a key of [arbiter]; it belongs under [receive]".to_owned()),
        ("[receive]\nbuffer = 10", "receive.buffer: expected a whole number from 4096 to 536870912, found 10".to_owned()),
        ("[receive]\ncore = 1024", "receive.core: expected a whole number from 0 to 1023, found 1024".to_owned()),
        ("[receive]\nmethod = 1", "receive.method: expected one of: socket, packet, xdp, auto, found the number 1".to_owned()),
        ("[receive]\nlock_memory = \"yes\"", "receive.lock_memory: expected true or false, found the text \"yes\"".to_owned()),
        ("[receive]\nkernel_stamps = 1", "receive.kernel_stamps: expected true or false, found the number 1".to_owned()),
    ] {
        assert_eq!(refusal(&with(typed)), format!("line 8: {said}"), "{typed}");
    }
    assert_eq!(
        refusal(&with("[arbiter]\nsettle = 99999999999999999999999999")),
        "line 8: arbiter.settle: expected a whole number from 0 to 1048576, found 99999999999999999999999999"
    );
}

#[test]
fn copies_are_compared_by_all_numbers_or_a_share() {
    let verify = |value: &str| parse(&with(&format!("[arbiter]\nverify = {value}"))).map(|feed| feed.arbiter.verify);
    for (value, meant, shown) in [
        ("\"off\"", Verify::Off, "off"),
        ("\"all\"", Verify::All, "all"),
        ("1", Verify::All, "all"),
        ("1.0", Verify::All, "all"),
        ("0.01", Verify::PerBillion(10_000_000), "0.01"),
        ("2.5e-1", Verify::PerBillion(250_000_000), "0.25"),
        ("0.000000001", Verify::PerBillion(1), "0.000000001"),
    ] {
        assert_eq!(verify(value).unwrap(), meant, "{value}");
        assert_eq!(meant.to_string(), shown);
    }
    let expected =
        r#"expected "off", "all", or a share of the numbers from 0.000000001 to 1, such as 0.01 for one in a hundred"#;
    for (value, found) in [
        ("0", "the number 0"),
        ("0.0", "the number 0.0"),
        ("1e-10", "the number 1e-10"),
        ("2", "the number 2"),
        ("1.01", "the number 1.01"),
        ("-0.5", "the number -0.5"),
        ("-1", "the number -1"),
        ("nan", "the number nan"),
        ("inf", "the number inf"),
        ("true", "true"),
        ("[]", "a list"),
        ("\"some\"", "the text \"some\""),
        ("\"\"", "the text \"\""),
    ] {
        let said = format!("line 8: arbiter.verify: {expected}, found {found}");
        assert_eq!(verify(value).unwrap_err().to_string(), said, "{value}");
    }
    assert_eq!(
        verify("\"0.01\"").unwrap_err().to_string(),
        r#"line 8: arbiter.verify: "0.01" is text; write a share without quotes: verify = 0.01"#
    );
}

#[test]
fn what_is_no_toml_is_said_with_its_line() {
    for (text, line) in [("name = \"x\"\nframing = moldudp64\n", 2), ("name = \"x\"\nname = \"y\"\n", 2), ("a\0b", 1)] {
        let said = refusal(text);
        assert!(said.starts_with(&format!("line {line}: this is not TOML (")), "{said}");
        assert!(said.ends_with("); see feeds/README.md for what a feed file holds"), "{said}");
        assert_eq!(said.lines().count(), 1, "{said}");
    }
}

#[test]
fn a_file_that_cannot_be_a_feed_is_refused_by_name() {
    let dir = std::env::temp_dir().join(format!("twinline-config-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    let file = dir.join("x.toml");
    let load = |bytes: &[u8]| {
        std::fs::write(&file, bytes).unwrap();
        Feed::load(&file).map_err(|error| error.to_string().replace(&*dir.to_string_lossy(), "DIR"))
    };
    assert_eq!(load(TWO_LINES.as_bytes()).unwrap(), parse(TWO_LINES).unwrap());
    assert_eq!(
        load(b"name = \"x\"\n\xff").unwrap_err(),
        "DIR/x.toml:2: this is not UTF-8 text; name a feed file, which is TOML in UTF-8"
    );
    assert_eq!(
        load(&vec![b'#'; 2 << 20]).unwrap_err(),
        "DIR/x.toml:1: this is larger than 1 MiB, and so not a feed file; name the feed file"
    );
    assert_eq!(
        load(b"name = 1").unwrap_err(),
        r#"DIR/x.toml:1: name: expected a name, such as "nasdaq-totalview", found the number 1"#
    );
    std::fs::remove_file(&file).unwrap();
    assert!(matches!(Feed::load(&file), Err(ConfigError::Unreadable { .. })));
    assert!(matches!(Feed::load(&dir), Err(ConfigError::Unreadable { .. })));
    std::fs::remove_dir(&dir).unwrap();
}

#[test]
fn durations_and_sizes_are_exact() {
    for (text, nanos) in
        [("1ns", 1), ("200us", 200_000), ("1.5ms", 1_500_000), ("0.000000001s", 1), (" 2.50 s ", 2_500_000_000)]
    {
        assert_eq!(parse_duration(text), Ok(Nanos(nanos)), "{text}");
    }
    for (text, bytes) in [("0B", 0), ("1.5KiB", 1_536), ("64MiB", 64 << 20), ("0.0009765625KiB", 1), ("2GiB", 2 << 30)]
    {
        assert_eq!(parse_size(text), Ok(bytes), "{text}");
    }
    for text in ["", "ms", ".5ms", "5.ms", "1.2.3ms", "1e3ms", "1.0000000001s", "99999999999s", "1ms2", "٣ms", "1 m s"]
    {
        assert!(parse_duration(text).is_err(), "{text}");
    }
    let long = format!("0.{}1s", "0".repeat(400));
    assert!(parse_duration(&long).is_err());
    assert_eq!(duration_text(Nanos(1_500_000)), "1500us");
    assert_eq!(duration_text(Nanos::ZERO), "0ns");
    assert_eq!(size_text(64 << 20), "64MiB");
}

proptest! {
    #[test]
    fn durations_come_back(n: u64) {
        prop_assert_eq!(parse_duration(&duration_text(Nanos(n))), Ok(Nanos(n)));
    }

    #[test]
    fn sizes_come_back(n: u64, shift in 0..64u32) {
        let n = n >> shift << (shift / 2);
        prop_assert_eq!(parse_size(&size_text(n)), Ok(n));
    }

    #[test]
    fn no_text_is_too_strange(text in "\\PC*|(.|\n)*") {
        let _ = parse(&text);
        let _ = parse_duration(&text);
        let _ = parse_size(&text);
    }

    /// Feed files with one value replaced: past the parser of TOML, into every check.
    #[test]
    fn no_value_is_too_strange(
        key in 0usize..17,
        value in prop_oneof![
            "-?[0-9]{1,40}", "[0-9]+\\.[0-9]+", "\"[ -!#-\\[\\]-~]*\"", "\"[0-9]{1,25}(\\.[0-9]{1,40})?(ns|us|ms|s|B|KiB|GiB)\"",
            "\\[(\"[0-9.:]{1,20}\",)*\\]", "true", "nan", "-inf", "\\{\\}", "1979-05-27",
        ],
    ) {
        let keys = ["gap_timeout", "settle", "hold_messages", "hold_bytes", "max_jump", "silent_after", "session_grace", "join", "verify"];
        let text = match key {
            0..9 => with(&format!("[arbiter]\n{} = {value}", keys[key])),
            9 => with(&format!("[receive]\nbuffer = {value}")),
            10 => with(&format!("[receive]\ncore = {value}")),
            11 => one_line(&format!("name = {value}\ngroups = [\"239.1.1.1:1\"]\ninterface = \"lo\""), ""),
            12 => one_line(&format!("name = \"A\"\ngroups = {value}\ninterface = \"lo\""), ""),
            13 => one_line(&format!("name = \"A\"\ngroups = [\"239.1.1.1:1\"]\ninterface = {value}"), ""),
            14 => with(&format!("source = {value}")),
            15 => with(&format!("wait = {value}")),
            _ => format!("name = {value}\nframing = {value}\nline = {value}"),
        };
        if let Err(error) = parse(&text) {
            prop_assert!(error.to_string().starts_with("line "), "{}", error);
        }
    }
}
