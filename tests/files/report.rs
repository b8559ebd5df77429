//! `twinline report`, through the program: captures made here with known faults, and what the page and `--json` say of them.

use std::fs;
use std::net::SocketAddrV4;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;
use twinline_core::Nanos;
use twinline_core::frame::{Line, Session};
use twinline_core::framing::{Framing, MoldUdp64};
use twinline_node::capture::CaptureWriter;
use twinline_node::config::Feed;

use crate::support::feed::{parse, text};
use crate::support::root;
use crate::support::scratch::Scratch;

/// 2025-11-14, 14:30 UTC.
const START: u64 = 1_763_130_600_000_000_000;
const MS: u64 = 1_000_000;

fn report<A: AsRef<std::ffi::OsStr>>(dir: &Path, args: impl IntoIterator<Item = A>) -> Output {
    Command::new(env!("CARGO_BIN_EXE_twinline")).current_dir(dir).arg("report").args(args).output().unwrap()
}

fn ran(output: &Output) -> (String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{}", text(&output.stderr));
    (text(&output.stdout), text(&output.stderr))
}

/// A feed of so many lines, and where its file is.
struct Bed {
    dir: PathBuf,
    _scratch: Scratch,
    feed: Feed,
}

/// What came: when (after the start), by which line, of which session, messages `[first, end)` of four bytes each.
type Came<'a> = (u64, u8, &'a [u8], u64, u64);

impl Bed {
    fn new(name: &str, feed_name: &str, lines: &[&str]) -> Bed {
        let scratch = Scratch::new(&format!("report-{name}"));
        let groups: Vec<[String; 1]> = (0..lines.len()).map(|n| [format!("239.81.{n}.1:26400")]).collect();
        let lines: Vec<(&str, &[String])> =
            lines.iter().zip(&groups).map(|(name, group)| (*name, &group[..])).collect();
        let text = text(feed_name, "moldudp64", &lines) + "[arbiter]\ngap_timeout = \"10ms\"\n";
        scratch.write("feed.toml", &text);
        Bed { dir: scratch.path().to_owned(), _scratch: scratch, feed: parse(&text) }
    }

    fn write_raw(&self, file: &str, end: u64, came: impl IntoIterator<Item = (u64, u8, Vec<u8>)>) {
        let mut writer = CaptureWriter::create(&self.dir.join(file), &self.feed).unwrap();
        for (at, line, payload) in came {
            let from = SocketAddrV4::new([127, 0, 0, 1].into(), 40_000);
            let to = self.feed.lines[usize::from(line)].groups[0];
            writer.write(Nanos(START + at), Line(line), from, to, &payload).unwrap();
        }
        writer.finish(Nanos(START + end), &[]).unwrap();
    }

    fn write(&self, file: &str, end: u64, came: &[Came<'_>]) {
        self.write_raw(
            file,
            end,
            came.iter().map(|&(at, line, session, first, end)| (at, line, mold(session, first, end))),
        );
    }

    fn json(&self, captures: &[&str]) -> Value {
        let args = ["feed.toml"].iter().chain(captures).chain(&["--json"]);
        serde_json::from_str(&ran(&report(&self.dir, args)).0).unwrap()
    }

    /// The page, which is well formed, and what was said.
    #[track_caller]
    fn page(&self, captures: &[&str]) -> (String, String) {
        let args = ["feed.toml"].iter().chain(captures).chain(&["-o", "-"]);
        let (page, said) = ran(&report(&self.dir, args));
        well_formed(&page);
        (page, said)
    }
}

fn mold(session: &[u8], first: u64, end: u64) -> Vec<u8> {
    let bodies: Vec<[u8; 4]> = (first..end).map(|n| (n as u32).to_be_bytes()).collect();
    let messages: Vec<&[u8]> = bodies.iter().map(|body| body.as_slice()).collect();
    let mut out = Vec::new();
    if messages.is_empty() {
        MoldUdp64.encode_heartbeat(Session::text(session), first, &mut out);
    } else {
        MoldUdp64.encode(Session::text(session), first, &messages, 9_000, &mut out);
    }
    out
}

/// Every element is closed, in order, and every attribute is quoted; nothing is loaded from anywhere.
#[track_caller]
fn well_formed(page: &str) {
    assert!(page.starts_with("<!doctype html>"), "{page:.100}");
    let (mut open, mut rest) = (Vec::new(), &page["<!doctype html>".len()..]);
    while let Some(at) = rest.find('<') {
        let end = at + rest[at..].find('>').expect("a tag ends");
        let tag = &rest[at + 1..end];
        assert_eq!(tag.matches('"').count() % 2, 0, "{tag}");
        let name = tag.split([' ', '/']).find(|name| !name.is_empty()).unwrap();
        if tag.starts_with('/') {
            assert_eq!(open.pop(), Some(name), "{tag}");
        } else if !tag.ends_with('/') && !matches!(name, "meta" | "br") {
            open.push(name);
        }
        // what is in quotes is text; the rest are names
        let bare: String = tag.split('"').step_by(2).collect();
        assert!(!bare.contains(" src") && !bare.contains(" on"), "{tag}");
        assert!(!matches!(name, "script" | "link" | "img" | "iframe" | "object" | "image" | "use"), "{tag}");
        rest = &rest[end + 1..];
    }
    assert!(open.is_empty(), "{open:?}");
    let elsewhere = page.replace("http://www.w3.org/2000/svg", "");
    for word in ["http:", "https:", "url(", "@import", "javascript:"] {
        assert!(!elsewhere.contains(word), "{word}");
    }
    for link in elsewhere.split("href=\"").skip(1) {
        assert!(link.starts_with('#'), "{link:.40}");
        let target = format!("id=\"{}\"", link[1..].split('"').next().unwrap());
        assert_eq!(elsewhere.matches(&target).count(), 1, "{target}");
    }
    assert!(!page.contains("NaN") && !page.contains(">inf"), "a number that is none");
}

fn texts(json: &Value) -> Vec<String> {
    let finding = |finding: &Value| {
        let text = |key: &str| finding[key].as_str().unwrap().to_owned();
        format!("{} {}: {}", text("severity"), text("about"), text("text"))
    };
    json["verdict"].as_array().unwrap().iter().map(finding).collect()
}

/// A loses 11 to 13, B loses 12 to 15, and B is silent for 30 ms while A goes on.
fn faulty() -> Vec<Came<'static>> {
    let s: &[u8] = b"S";
    let mut came: Vec<Came<'static>> = vec![
        (0, 0, s, 1, 11),
        (100, 1, s, 1, 11),
        (MS, 0, s, 14, 17),
        (MS + 70, 1, s, 11, 12),
        (MS + 80, 1, s, 16, 17),
    ];
    came.extend((0..40u64).map(|n| (20 * MS + n * MS, 0, s, 17 + n, 18 + n)));
    came.extend((0..5u64).chain(35..40).map(|n| (20 * MS + n * MS + 500, 1, s, 17 + n, 18 + n)));
    came.sort_unstable();
    came
}

#[test]
fn the_verdict_says_which_line_did_what_and_when() {
    let bed = Bed::new("verdict", "faulty", &["A", "B"]);
    bed.write("day.pcapng", 70 * MS, &faulty());
    let json = bed.json(&["day.pcapng"]);
    assert_eq!(
        texts(&json),
        [
            "bad stream: 2 of 56 messages were lost (3.6 %), in 1 piece: no line brought them before the gap's deadline.",
            "note A: Missed 3 of 56 messages (5.4 %) in 1 burst, the worst of 3 in a row at 14:30:00.001000 UTC (+1 ms).",
            "note B: Missed 34 of 56 messages (60.7 %) in 2 bursts, the worst of 30 in a row at 14:30:00.055000 UTC \
             (+55.001 ms); silent for 31.0 ms at 14:30:00.024000 UTC (+24 ms) while another line brought 31 datagrams.",
            "fine A / B: A was ahead of B by 100 ns at the median. Of 21 messages that both brought, A came first with \
             100 %, B with 0 %. The middle 80 % lie between A 100 ns ahead and A 500 ns ahead."
        ]
    );
}

#[test]
fn the_json_has_the_exact_numbers() {
    let bed = Bed::new("json", "faulty", &["A", "B"]);
    bed.write("day.pcapng", 70 * MS, &faulty());
    let json = bed.json(&["day.pcapng"]);
    assert_eq!(json["from_utc"], "2025-11-14T14:30:00.000000000Z");
    assert_eq!((json["from_ns"].as_u64(), json["to_ns"].as_u64()), (Some(START), Some(START + 70 * MS)));
    assert_eq!((&json["stream"]["delivered"], &json["stream"]["lost"]), (&54.into(), &2.into()));
    let [a, b] = [&json["lines"][0], &json["lines"][1]];
    let worst = |line: &Value, n: usize| {
        let burst = &line["bursts"]["worst"][n];
        ["first", "end", "at_ns"].map(|key| burst[key].as_u64().unwrap())
    };
    assert_eq!(worst(a, 0), [11, 14, START + MS]);
    assert_eq!(worst(b, 0), [22, 52, START + 55 * MS + 500]);
    assert_eq!(worst(b, 1), [12, 16, START + MS + 80]);
    let lengths = |line: &Value| -> Vec<(u64, u64)> {
        let classes = line["bursts"]["lengths"].as_array().unwrap().iter();
        classes.map(|class| (class["from"].as_u64().unwrap(), class["bursts"].as_u64().unwrap())).collect()
    };
    assert_eq!(lengths(a), [(1, 0), (2, 1)]);
    assert_eq!(lengths(b), [(1, 0), (2, 0), (4, 1), (8, 0), (16, 1)]);
    let silence = &b["silent_alone"]["worst"][0];
    assert_eq!(silence["from_ns"], START + 24 * MS + 500);
    assert_eq!((&silence["to_ns"], &silence["others_datagrams"]), (&(START + 55 * MS + 500).into(), &31.into()));
    let peak = &a["microbursts"]["windows"][0];
    assert_eq!(
        (&peak["window_ns"], &peak["messages"], &peak["messages_at_ns"]),
        (&MS.into(), &10.into(), &START.into())
    );
    let gaps = &json["gaps"];
    assert_eq!(
        (&gaps["opened"], &gaps["opened_numbers"], &gaps["filled"]["numbers"]),
        (&1.into(), &3.into(), &1.into())
    );
    let lost = &gaps["largest_lost"][0];
    assert_eq!((&lost["first"], &lost["end"], &lost["reason"]), (&12.into(), &14.into(), &"deadline".into()));
    assert_eq!((&lost["opened_ns"], &lost["closed_ns"]), (&(START + MS).into(), &(START + 11 * MS).into()));
    let lead = &json["lead"][0];
    assert_eq!((&lead["of_first"], &lead["over_first"], &lead["p50_ns"]), (&21.into(), &0.into(), &100.into()));
    let over_time = &json["over_time"];
    let sum = |values: &Value| values.as_array().unwrap().iter().map(|n| n.as_u64().unwrap()).sum::<u64>();
    assert_eq!(sum(&over_time["lines"][1]["missing"]), 34);
    assert_eq!(sum(&over_time["stream"]["messages"]), 54);
    assert_eq!(sum(&over_time["lines"][0]["messages"]), 53);
    assert_eq!(json["warnings"], Value::Array(Vec::new()));
}

#[test]
fn it_agrees_with_arbitrate_over_the_samples() {
    for (feed, capture) in [("loopback.toml", "moldudp64.pcapng.gz"), ("cme-mdp3.toml", "cme-mdp3.pcapng")] {
        let (feed, capture) = (format!("feeds/{feed}"), format!("feeds/samples/{capture}"));
        let run = |verb: &str| -> Value {
            let mut command = Command::new(env!("CARGO_BIN_EXE_twinline"));
            let output = command.current_dir(root()).args([verb, &feed, &capture, "--json"]).output().unwrap();
            serde_json::from_str(&ran(&output).0).unwrap()
        };
        let (report, arbitrated) = (run("report"), run("arbitrate"));
        let channel = &arbitrated["channels"][0];
        for key in ["delivered", "lost", "late"] {
            assert_eq!(report["stream"][key], channel[key], "{capture}: {key}");
        }
        for line in report["lines"].as_array().unwrap() {
            let counts = &channel["lines"][line["line"].as_str().unwrap()];
            assert_eq!(line["missing"], counts["missing"], "{capture}");
            for (key, value) in line["counts"].as_object().unwrap() {
                assert_eq!(*value, counts[key], "{capture}: {key}");
            }
            let numbers = line["bursts"]["lengths"].as_array().unwrap().iter().map(|class| class["numbers"].as_u64());
            assert_eq!(numbers.flatten().sum::<u64>(), line["missing"].as_u64().unwrap(), "{capture}");
        }
        let leads = channel["lead"].as_array().unwrap().iter().map(|lead| lead["messages"].as_u64().unwrap());
        assert_eq!(report["lead"][0]["numbers"], leads.sum::<u64>(), "{capture}");
        let gaps = channel["gaps"].as_array().unwrap();
        let of = |outcome: &str| gaps.iter().filter(|gap| gap["outcome"] == outcome).count() as u64;
        assert_eq!(report["gaps"]["filled"]["pieces"], of("filled"), "{capture}");
        let lost = report["gaps"]["lost"].as_array().unwrap().iter().map(|lost| lost["pieces"].as_u64().unwrap());
        assert_eq!(lost.sum::<u64>(), of("lost"), "{capture}");
    }
}

#[test]
fn names_are_escaped_and_nothing_is_loaded() {
    let hostile = "<script src=x>&\"'";
    let bed = Bed::new("hostile", hostile, &["<b>A", "B&\"onload 'x'"]);
    bed.write("<i>day&.pcapng", 70 * MS, &faulty());
    let (page, _) = bed.page(&["<i>day&.pcapng"]);
    for raw in ["<script", "<b>A", "<i>day", "src=x>&\"", "B&\"onload"] {
        assert!(!page.contains(raw), "{raw}");
    }
    assert!(page.contains("&lt;b&gt;A") && page.contains("&lt;i&gt;day&amp;.pcapng"));
    let title = "Line quality of &lt;script src=x&gt;&amp;&quot;&#39;";
    assert!(page.contains(&format!("<title>{title}</title>")));
    // with no name given, the file's is plain
    ran(&report(&bed.dir, ["feed.toml", "<i>day&.pcapng"]));
    assert!(bed.dir.join("_script_src_x____-report.html").is_file());
}

#[test]
fn a_page_is_not_overwritten_unasked() {
    let bed = Bed::new("overwrite", "plain", &["A", "B"]);
    bed.write("day.pcapng", 70 * MS, &faulty());
    let (said, _) = ran(&report(&bed.dir, ["feed.toml", "day.pcapng"]));
    assert!(said.ends_with("the page: plain-report.html\n"), "{said}");
    let page = fs::read_to_string(bed.dir.join("plain-report.html")).unwrap();
    well_formed(&page);
    let again = report(&bed.dir, ["feed.toml", "day.pcapng"]);
    let said = String::from_utf8_lossy(&again.stderr).into_owned();
    assert_eq!(again.status.code(), Some(2), "{said}");
    assert!(
        said.contains("plain-report.html: there is already a file of this name")
            && said.contains("-o plain-report.html")
    );
    fs::write(bed.dir.join("plain-report.html"), "old").unwrap();
    ran(&report(&bed.dir, ["feed.toml", "day.pcapng", "-o", "plain-report.html"]));
    assert_eq!(fs::read_to_string(bed.dir.join("plain-report.html")).unwrap(), page, "the same, to the byte");
    // nothing but JSON is written where nothing else is asked for
    fs::remove_file(bed.dir.join("plain-report.html")).unwrap();
    bed.json(&["day.pcapng"]);
    assert!(!bed.dir.join("plain-report.html").exists());
    for (args, expected) in [
        (["--json", "-o", "-"], "both write to standard output"),
        (["-o", "no/such/dir.html", "--json"], "no/such/dir.html: cannot be written: there is no directory no/such"),
    ] {
        let refused = report(&bed.dir, ["feed.toml", "day.pcapng"].iter().chain(&args));
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert_eq!(refused.status.code(), Some(2), "{said}");
        assert!(said.contains(expected), "{said}");
    }
}

#[test]
fn captures_with_little_in_them_have_a_page_too() {
    let bed = Bed::new("little", "little", &["A", "B"]);
    bed.write("none.pcapng", 0, &[]);
    bed.write("one.pcapng", 5, &[(3, 0, b"S", 1, 2)]);
    bed.write("heartbeat.pcapng", 5, &[(3, 1, b"S", 7, 7)]);
    bed.write("beat-only.pcapng", 90, &[(3, 0, b"S", 7, 7), (9, 1, b"S", 7, 7)]);
    let one_line: Vec<Came<'_>> = (0..50).map(|n| (n * MS, 0, b"S".as_slice(), 1 + n * 2, 2 + n * 2)).collect();
    bed.write("one-line.pcapng", 60 * MS, &one_line);
    let garbage = (0..30u64).map(|n| (n * 1_000, (n % 2) as u8, vec![0x7F; n as usize]));
    bed.write_raw("garbage.pcapng", 40_000, garbage);

    let (page, said) = bed.page(&["none.pcapng"]);
    assert!(said.contains("no datagram of this feed was in the captures"), "{said}");
    assert!(page.contains("Nothing of this feed was in the captures"));
    let (page, _) = bed.page(&["one.pcapng"]);
    assert!(
        page.contains("Nothing was lost: all 1 message were delivered") || page.contains("1 message"),
        "{page:.3000}"
    );
    bed.page(&["heartbeat.pcapng"]);
    bed.page(&["beat-only.pcapng"]);
    let (page, _) = bed.page(&["one-line.pcapng"]);
    assert!(page.contains("Not one datagram came by this line."));
    assert!(page.contains("No two lines brought the same message"));
    let json = bed.json(&["one-line.pcapng"]);
    assert_eq!((&json["lines"][0]["missing"], &json["stream"]["lost"]), (&49.into(), &49.into()));
    assert_eq!(json["lead"], Value::Array(Vec::new()));

    let json = bed.json(&["garbage.pcapng"]);
    let reasons = json["lines"][0]["malformed"].as_object().unwrap();
    assert_eq!(reasons.values().map(|n| n.as_u64().unwrap()).sum::<u64>(), 15);
    assert_eq!((&reasons["header"], &reasons["overrun"]), (&10.into(), &5.into()));
    let (page, _) = bed.page(&["garbage.pcapng"]);
    assert!(page.contains("Malformed datagrams") && page.contains("<td>overrun</td>"));
    assert!(page.contains("Nothing could be arbitrated of 30 datagrams"));

    // of another feed altogether
    let other = Bed::new("little-other", "other", &["X", "Y", "Z"]);
    other.write("other.pcapng", 9, &[(3, 2, b"S", 1, 2)]);
    fs::copy(other.dir.join("other.pcapng"), bed.dir.join("other.pcapng")).unwrap();
    let (_, said) = bed.page(&["other.pcapng"]);
    assert!(said.contains("1 were for other groups"), "{said}");
}

#[test]
fn eight_lines_and_a_restart_in_the_middle() {
    let names = ["A", "B", "C", "D", "E", "F", "G", "H"];
    let bed = Bed::new("eight", "eight", &names);
    let mut came: Vec<Came<'_>> = Vec::new();
    for n in 0..400u64 {
        let (session, number): (&[u8], u64) = if n < 200 { (b"MON", 1 + n) } else { (b"TUE", n - 199) };
        // each line loses every so many, none two sessions' starts
        let lines = (0..8u8).filter(|line| (n + u64::from(*line)) % (u64::from(*line) + 7) != 0 || n % 200 < 3);
        came.extend(lines.map(|line| (n * MS / 10 + u64::from(line) * 300, line, session, number, number + 1)));
    }
    came.sort_unstable();
    bed.write("day.pcapng", 60 * MS, &came);
    let json = bed.json(&["day.pcapng"]);
    assert_eq!(json["lead"].as_array().unwrap().len(), 17, "each is against the first copy of all");
    assert_eq!((&json["stream"]["delivered"], &json["stream"]["lost"]), (&399.into(), &1.into()), "8 came by none");
    let events: Vec<&str> =
        json["epochs"].as_array().unwrap().iter().map(|epoch| epoch["event"].as_str().unwrap()).collect();
    assert_eq!(events, ["epoch", "epoch_end", "epoch"]);
    for line in json["lines"].as_array().unwrap() {
        assert_eq!(
            line["expected"].as_u64().unwrap() - line["missing"].as_u64().unwrap(),
            line["messages"].as_u64().unwrap()
        );
        assert_eq!(line["missing"], line["counts"]["missing"]);
    }
    let (page, _) = bed.page(&["day.pcapng"]);
    assert!(
        page.contains("Lead of A over H") && !page.contains("Lead of B over C"),
        "pairs with the first line are drawn"
    );
    assert!(page.contains("over before 201: lines"));
}

#[test]
fn the_same_capture_gives_the_same_json() {
    let path = root().join("feeds/samples/moldudp64.report.json");
    let args = ["report", "feeds/loopback.toml", "feeds/samples/moldudp64.pcapng.gz", "--json"];
    let output = Command::new(env!("CARGO_BIN_EXE_twinline")).current_dir(root()).args(args).output().unwrap();
    let (now, _) = ran(&output);
    if std::env::var_os("TWINLINE_WRITE_SAMPLES").is_some_and(|value| value == "1") {
        fs::write(&path, &now).unwrap();
        return;
    }
    let stored = fs::read_to_string(&path).unwrap();
    let at = stored.bytes().zip(now.bytes()).position(|(a, b)| a != b).unwrap_or(stored.len().min(now.len()));
    let around = |text: &str| text[at.saturating_sub(80)..(at + 80).min(text.len())].to_owned();
    assert!(
        stored == now,
        "feeds/samples/moldudp64.report.json differs:\nthere: {}\nnow:   {}\nIf that is meant: TWINLINE_WRITE_SAMPLES=1 cargo \
         test --test files report",
        around(&stored),
        around(&now)
    );
}

#[test]
fn a_line_that_brings_other_bytes_is_told() {
    let mut bed = Bed::new("divergence", "divergent", &["A", "B"]);
    let file = bed.dir.join("feed.toml");
    let text = fs::read_to_string(&file).unwrap() + "verify = \"all\"\n";
    fs::write(&file, &text).unwrap();
    bed.feed = parse(&text);
    let datagram = |n: u64, line: u8| {
        let mut payload = mold(b"S", n, n + 1);
        if (n, line) == (7, 1) {
            *payload.last_mut().unwrap() ^= 1;
        }
        (n * MS + u64::from(line), line, payload)
    };
    bed.write_raw("c.pcapng", 30 * MS, (1..20).flat_map(|n| [datagram(n, 0), datagram(n, 1)]));
    let json = bed.json(&["c.pcapng"]);
    let divergent = |line: usize| json["lines"][line]["counts"]["divergent"].clone();
    assert_eq!((divergent(0), divergent(1)), (0.into(), 1.into()), "{:#}", json["lines"]);
    let (page, _) = bed.page(&["c.pcapng"]);
    assert!(texts(&json).iter().any(|text| text.contains("otherwise than the first copy")), "{:#?}", texts(&json));
    assert!(page.contains("otherwise than the first copy"));
}
