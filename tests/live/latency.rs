//! `twinline latency` as a program, over loopback: short runs, whose counts add up and whose files can be read. No test asserts
//! a time.

use std::fs;

use hdrhistogram::serialization::interval_log::{IntervalLogIterator, LogEntry};
use serde_json::Value;
use twinline_node::os;

use crate::support::latency::{adds_up, report, stamping};
use crate::support::number;
use crate::support::program::{Bed, Done};

/// The names of the files that were written.
fn names(bed: &Bed, dir: &str) -> Vec<String> {
    let entries = fs::read_dir(bed.path(dir)).unwrap();
    let mut names: Vec<String> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn an_open_loop_run_counts_every_message_and_writes_files_that_can_be_read() {
    let bed = Bed::new("latency");
    bed.feed("lab", "moldudp64", "");
    let arguments =
        ["latency", "lab.toml", "--layout", "paired", "--rates", "2k,5k", "--size", "16,300", "--seconds", "0.3"];
    let more = ["--warmup", "50ms", "--loss", "A=5%", "--delay", "B=200us", "--out", "out", "--json"];
    let done = bed.done(&[arguments.as_slice(), &more].concat());
    assert!(!done.stderr.contains(['\x1b', '\r']), "no progress in a pipe: {}", done.stderr);
    assert!(done.stderr.contains("OPEN LOOP, 5k/s 300 B") && done.stderr.contains("waited for the other line"));
    let report = report(done);
    let passes = report["passes"].as_array().unwrap();
    let labels: Vec<&str> = passes.iter().map(|pass| pass["label"].as_str().unwrap()).collect();
    assert_eq!(labels, ["2k/s 16 B", "2k/s 300 B", "5k/s 16 B", "5k/s 300 B"]);
    for (pass, sent) in passes.iter().zip([700, 700, 1_750, 1_750]) {
        adds_up(pass);
        assert_eq!(number(pass, "/sent"), sent);
        assert!(number(pass, "/lines/A/dropped_by_faults") > 0 && number(pass, "/lines/B/dropped_by_faults") == 0);
        assert_eq!(number(pass, "/lost_by_faults"), 0, "line B loses nothing");
        let (timed, due) = (number(pass, "/timed"), sent * 6 / 7);
        let untimed = ["/lost", "/overrun", "/unseen"].map(|fate| number(pass, fate)).iter().sum::<u64>();
        assert!(timed <= due && timed + untimed >= due, "what warms up is not timed: {pass:#}");
    }
    assert!(passes.iter().any(|pass| !pass["causes_ns"]["waited"].is_null()), "A loses what B brings later");
    assert_eq!((report["ratios"].as_array().unwrap().len(), &report["stopped"]), (0, &Value::Bool(false)));

    let names = names(&bed, "out");
    for name in ["latency.html", "latency.json", "2k-16B.hlog", "5k-300B.hgrm", "5k-300B-receive-to-read.hgrm"] {
        assert!(names.iter().any(|one| one == name), "{name} in {names:?}");
    }
    let written: Value = serde_json::from_slice(&bed.read("out/latency.json")).unwrap();
    assert_eq!(written, report);
    for name in names.iter().filter(|name| name.ends_with(".hgrm")) {
        monotone(name, &String::from_utf8(bed.read(&format!("out/{name}"))).unwrap());
    }
    let log = bed.read("out/5k-300B.hlog");
    let entries = IntervalLogIterator::new(&log).map(|entry| entry.unwrap());
    let tags: Vec<String> = entries
        .filter_map(|entry| match entry {
            LogEntry::Interval(interval) => interval.tag().map(|tag| tag.as_str().to_owned()),
            _ => None,
        })
        .collect();
    assert!(tags.iter().any(|tag| tag == "first"), "{}", String::from_utf8_lossy(&log));
    self_contained(&String::from_utf8(bed.read("out/latency.html")).unwrap());

    let again = bed.done(&["latency", "lab.toml", "--out", "out"]);
    assert_eq!(again.code(), 2);
    assert!(again.stderr.contains("--out out: the directory is not empty"), "{}", again.stderr);
}

/// Values and counts that never fall, and a foot.
#[track_caller]
fn monotone(name: &str, text: &str) {
    let rows = text.lines().skip(2).take_while(|line| !line.starts_with('#'));
    let rows: Vec<[f64; 3]> = rows
        .map(|row| {
            let mut numbers = row.split_whitespace().map(|number| number.parse::<f64>().unwrap());
            std::array::from_fn(|_| numbers.next().unwrap())
        })
        .collect();
    assert!(!rows.is_empty(), "{name}");
    assert!(rows.windows(2).all(|pair| (0..3).all(|column| pair[0][column] <= pair[1][column])), "{name}\n{text}");
    for foot in ["#[Mean ", "#[Max ", "#[Buckets ", ", SubBuckets "] {
        assert!(text.contains(foot), "{name}\n{text}");
    }
}

/// Nothing is fetched, every picture is whole.
#[track_caller]
fn self_contained(page: &str) {
    let elsewhere = page.replace("http://www.w3.org/2000/svg", "");
    for word in ["http:", "https:", "src=", "href", "url(", "@import", "<script", "<link"] {
        assert!(!elsewhere.contains(word), "{word}");
    }
    assert!(page.starts_with("<!doctype html>") && page.ends_with("</body></html>\n"));
    for element in ["svg", "table", "div", "p", "h2", "path", "text", "style", "ul", "li"] {
        let opened = page.matches(&format!("<{element}>")).count() + page.matches(&format!("<{element} ")).count();
        let closed = page.matches(&format!("</{element}>")).count();
        let empty = if element == "path" { opened } else { 0 };
        assert_eq!(opened, closed + empty, "{element}");
    }
    assert!(page.matches("<svg ").count() >= 2 && !page.contains("NaN"));
}

#[test]
fn losses_on_all_lines_are_counted_and_an_overload_ends() {
    let bed = Bed::new("latency-loss");
    bed.feed("lab", "moldudp64", "[arbiter]\ngap_timeout = \"1ms\"\n");
    let arguments =
        ["latency", "lab.toml", "--layout", "paired", "--rate", "4k", "--seconds", "0.3", "--loss", "30%", "--json"];
    let lossy = report(bed.done(&arguments));
    let pass = &lossy["passes"][0];
    adds_up(pass);
    assert!(
        number(pass, "/lost_by_faults") > 100 && number(pass, "/lost") >= number(pass, "/lost_by_faults"),
        "{pass:#}"
    );

    let arguments =
        ["latency", "lab.toml", "--layout", "paired", "--rate", "50M", "--seconds", "0.1", "--warmup", "0s", "--json"];
    let done = bed.done(&arguments);
    assert!(done.stderr.contains("the publisher did not hold the rate"), "{}", done.stderr);
    assert!(done.stderr.contains("the pass was given up after twice its time"), "{}", done.stderr);
    let report = report(done);
    let pass = &report["passes"][0];
    let of = |pointer: &str| number(pass, pointer);
    assert_eq!(of("/sent"), of("/delivered") + of("/lost") + of("/overrun") + of("/unseen"));
    assert_eq!(pass["rate_held"], false);
    assert!(of("/sent") < 5_000_000 && of("/late_sends") > 0);
}

#[test]
fn kernel_stamps_have_a_pass_of_their_own_and_are_told_for_what_they_are() {
    let bed = Bed::new("latency-stamps");
    bed.feed("lab", "moldudp64", "");
    let arguments =
        ["latency", "lab.toml", "--layout", "paired", "--rate", "2k", "--seconds", "0.2", "--stamps", "--json"];
    let _stamping = stamping();
    let report = report(bed.done(&arguments));
    let [plain, stamped] = report["passes"].as_array().unwrap().as_slice() else { panic!("{report:#}") };
    adds_up(plain);
    adds_up(stamped);
    assert!(plain["kernel_stamps"].is_null() && plain["stages_ns"]["send-to-kernel-stamp"].is_null());
    let stamps = &stamped["kernel_stamps"];
    let received = number(stamped, "/lines/A/datagrams_received") + number(stamped, "/lines/B/datagrams_received");
    assert_eq!((number(stamps, "/software"), number(stamps, "/none"), number(stamps, "/hardware")), (received, 0, 0));
    assert!(received > 0);
    let of = |stage: &str| number(stamped, &format!("/stages_ns/{stage}/count"));
    // the wall clock may be stepped under the test: then stamps are left out, and that is said
    assert_eq!(of("send-to-kernel-stamp"), of("kernel-stamp-to-receive"));
    let remarks = stamped["remarks"].to_string();
    assert!(remarks.contains("the kernel's own (software)"), "{remarks}");
}

/// As a thread of one core starts it, and so on that core.
fn on_one_core(then: impl FnOnce() -> Done + Send) -> Done {
    std::thread::scope(|scope| {
        let pinned = scope.spawn(|| {
            os::pin_thread(os::usable_cores()[0]).unwrap();
            then()
        });
        pinned.join().unwrap()
    })
}

#[test]
fn the_ratio_is_measured_in_rounds_with_its_control() {
    let bed = Bed::new("latency-ratio");
    bed.feed("lab", "moldudp64", "");
    let arguments =
        ["latency", "lab.toml", "--layout", "two-core", "--seconds", "0.3", "--block", "10", "--size", "100"];
    let more = ["--out", "out", "--json"];
    let done = bed.done(&[arguments.as_slice(), &more].concat());
    assert!(done.stderr.contains("THE ARBITER TO THE BARE RECEIVE LOOP"), "{}", done.stderr);
    let report = report(done);
    let ratio = &report["ratios"][0];
    let of = |pointer: &str| number(ratio, pointer);
    let (near, far) = (of("/rounds/near"), of("/rounds/far"));
    assert!(near + far > 0, "{ratio:#}");
    // four blocks a round, each of 20 and 10 messages; a round in which a block lost all of its 10 has no ratio
    let (rounds, rest) = (of("/sent") / 120, of("/sent") % 120);
    assert!(rest == 0 && rounds >= near + far && of("/lost") >= 10 * (rounds - near - far), "{ratio:#}");
    for (state, rounds) in [("near", near), ("far", far)].iter().filter(|(_, rounds)| *rounds > 0) {
        for at in ["p50", "p99"] {
            for what in ["arbiter", "control"] {
                assert_eq!(of(&format!("/{state}/{at}/{what}/count")), *rounds);
            }
            assert!(ratio[state][at]["says_something"].is_boolean());
        }
    }
    let headline = if near > 0 { near } else { far };
    for kind in ["bare loop", "bare loop again", "arbiter", "arbiter, stamped"] {
        let count = number(&ratio["send_to_read_ns"][kind], "/count");
        assert!(count <= headline * 10 && count + of("/lost") >= headline * 10, "{ratio:#}");
    }
    assert!(report["passes"].as_array().unwrap().is_empty(), "no open loop");
    assert!(names(&bed, "out").contains(&"two-core-socket-arbiter.hgrm".to_owned()));
    self_contained(&String::from_utf8(bed.read("out/latency.html")).unwrap());
}

#[test]
fn on_one_core_threads_yield_and_say_so() {
    let bed = Bed::new("latency-one");
    bed.feed("lab", "moldudp64", "");
    let ratio = ["latency", "lab.toml", "--layout", "two-core", "--seconds", "0.1", "--block", "10", "--json"];
    let done = on_one_core(|| bed.done(&ratio));
    assert!(done.stderr.contains("they yield"), "{}", done.stderr);
    let report_of_ratio = report(done);
    let of = |pointer: &str| number(&report_of_ratio, pointer);
    assert!(of("/ratios/0/rounds/near") + of("/ratios/0/rounds/far") > 0);
    let open = ["latency", "lab.toml", "--rate", "1k", "--burst", "4", "--pack", "2", "--seconds", "0.2", "--json"];
    let done = on_one_core(|| bed.done(&open));
    assert!(done.stderr.contains("they yield"), "{}", done.stderr);
    let report = report(done);
    assert!(report["ratios"].as_array().unwrap().is_empty(), "one core has no ratio by default");
    adds_up(&report["passes"][0]);
    assert_eq!(
        number(&report, "/passes/0/lines/A/datagrams_sent"),
        (500 + 200) / 2 + 5,
        "two a datagram, and five ends"
    );
}

#[test]
fn a_framing_that_numbers_packets_is_measured_as_well() {
    let bed = Bed::new("latency-packets");
    bed.feed("lab", "cme-mdp3", "");
    let report = report(bed.done(&["latency", "lab.toml", "--rate", "1k", "--seconds", "0.2", "--json"]));
    adds_up(&report["passes"][0]);
    assert_eq!(number(&report, "/passes/0/sent"), 700);
}

#[test]
fn ctrl_c_ends_it_with_what_was_measured() {
    let bed = Bed::new("latency-stop");
    bed.feed("lab", "moldudp64", "");
    let run =
        bed.start(&["latency", "lab.toml", "--layout", "paired", "--rates", "2k,3k", "--seconds", "500", "--json"]);
    run.said("received by socket");
    let report = report(run.interrupt());
    assert_eq!(report["stopped"], true);
    let passes = report["passes"].as_array().unwrap();
    assert!(passes.len() <= 1, "no pass is begun after it");
    passes.iter().for_each(|pass| assert_eq!(pass["delivered"], pass["sent"]));
}

#[test]
fn what_is_wrong_with_the_arguments_is_said() {
    let bed = Bed::new("latency-wrong");
    bed.feed("lab", "moldudp64", "");
    bed.feed("packets", "cme-mdp3", "");
    for (line, words) in [
        ("lab.toml --rate fast", "for example 100k"),
        ("lab.toml --rates 10k,max", "for example 100k"),
        ("lab.toml --size 15", "expected 16 to 1400 bytes"),
        ("lab.toml --size 64,2000", "expected 16 to 1400 bytes"),
        ("lab.toml --seconds 0", "expected seconds above 0"),
        ("lab.toml --loss C=1%", "--loss: the feed has no line C; its lines are A, B"),
        ("lab.toml --cores 9999", "--cores: there is no core 9999"),
        ("lab.toml --cores 0,0", "--cores: expected one to three different cores"),
        ("lab.toml --layout spread --cores 0", "--layout spread needs 3 cores"),
        ("lab.toml --layout sideways", "possible values"),
        ("lab.toml --receive pigeon", "expected one of: socket, packet"),
        ("lab.toml --pack 0", "--pack"),
        ("lab.toml --burst 0", "--burst"),
        ("packets.toml --pack 2", "--pack: cme-mdp3 numbers packets"),
        ("lab.toml --to packets.toml", "packets has the framing cme-mdp3"),
        ("lab.toml --to none.toml", "there is no such feed file"),
        ("none.toml", "there is no such feed file"),
        ("lab.toml --out lab.toml", "--out lab.toml: cannot be created"),
    ] {
        let arguments: Vec<&str> = ["latency"].into_iter().chain(line.split(' ')).collect();
        let done = bed.done(&arguments);
        assert_eq!(done.code(), 2, "{line}: {}", done.stderr);
        assert!(done.stderr.contains(words), "{line}: {}", done.stderr);
    }
    let nowhere = bed.done(&["latency", "lab.toml", "--publish-netns", "no-such-namespace", "--layout", "paired"]);
    assert_eq!(nowhere.code(), 1);
    assert!(
        nowhere.stderr.contains("--publish-netns: there is no network namespace no-such-namespace"),
        "{}",
        nowhere.stderr
    );
}

#[test]
fn what_is_sent_elsewhere_is_missed_and_said() {
    let bed = Bed::new("latency-elsewhere");
    bed.feed("lab", "moldudp64", "");
    bed.feed("other", "moldudp64", "");
    let text = fs::read_to_string(bed.path("other.toml")).unwrap().replace("239.", "238.");
    fs::write(bed.path("other.toml"), text).unwrap();
    for (layout, words) in [("paired", "no message came through"), ("two-core", "messages in a row did not come")] {
        let line =
            ["latency", "lab.toml", "--to", "other.toml", "--layout", layout, "--rate", "1k", "--seconds", "0.2"];
        let done = bed.done(&line);
        assert_eq!(done.code(), 1, "{}", done.stderr);
        assert!(done.stderr.contains(words) && done.stderr.contains("other"), "{}", done.stderr);
    }
}
