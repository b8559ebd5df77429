//! Every feed file under `feeds/` is fine, and `feeds/README.md` says what the parser does.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use twinline_core::framing::AnyFraming;
use twinline_node::config::{self, ArbiterConfig, Feed, ReceiveConfig, size_text};

use crate::support::feed::parse;
use crate::support::root;

fn feeds() -> PathBuf {
    root().join("feeds")
}

fn readme() -> String {
    fs::read_to_string(feeds().join("README.md")).unwrap()
}

fn feed_files() -> Vec<PathBuf> {
    let entries = fs::read_dir(feeds()).unwrap().map(|entry| entry.unwrap().path());
    let files: Vec<PathBuf> = entries.filter(|path| path.extension().is_some_and(|e| e == "toml")).collect();
    assert!(!files.is_empty());
    files
}

/// The rows of the README's table of keys for one table of a feed file: (key, row).
fn documented<'a>(readme: &'a str, table: &str) -> Vec<(&'a str, &'a str)> {
    let heading = match table {
        "" => "The top of the file\n".to_owned(),
        "line" => "`[[line]]`\n".to_owned(),
        _ => format!("`[{table}]`\n"),
    };
    let section = readme.split("\n## ").find(|section| section.starts_with(&heading));
    let rows = section.unwrap_or_else(|| panic!("no section {heading}")).lines();
    rows.filter_map(|row| Some((row.strip_prefix("| `")?.split('`').next()?, row))).collect()
}

#[test]
fn every_key_is_documented_and_no_other() {
    let readme = readme();
    for (table, keys) in config::KEYS {
        let documented: Vec<&str> = documented(&readme, table).iter().map(|(key, _)| *key).collect();
        assert_eq!(documented, *keys, "the keys of [{table}] in feeds/README.md, in the parser's order");
    }
}

#[test]
fn the_documented_defaults_are_the_defaults() {
    let (readme, arbiter, receive) = (readme(), ArbiterConfig::default(), ReceiveConfig::default());
    for (table, key, default) in [
        ("arbiter", "settle", arbiter.settle.to_string()),
        ("arbiter", "hold_messages", arbiter.hold_messages.to_string()),
        ("arbiter", "hold_bytes", format!("\"{}\"", size_text(arbiter.hold_bytes))),
        ("arbiter", "max_jump", arbiter.max_jump.to_string()),
        ("receive", "buffer", format!("\"{}\"", size_text(receive.buffer))),
        ("receive", "kernel_stamps", receive.kernel_stamps.to_string()),
    ] {
        let rows = documented(&readme, table);
        let (_, row) = rows.iter().find(|(name, _)| *name == key).unwrap();
        assert_eq!(row.split('|').nth(3).unwrap().trim(), format!("`{default}`"), "{key}");
    }
}

#[test]
fn every_framing_has_its_rules_in_the_readme() {
    let readme = readme();
    for name in AnyFraming::NAMES {
        let heading = format!("\n### `{name}`\n");
        let (_, section) = readme.split_once(&heading).unwrap_or_else(|| panic!("no section {heading:?}"));
        let section = section.split("\n### ").next().unwrap();
        let framing = AnyFraming::from_name(name).unwrap();
        let unit = if framing.packet_sequenced() { "**packet**" } else { "**message**" };
        let interval = config::duration_text(framing.rules().heartbeat_interval);
        let (number, letters) = interval.split_at(interval.find(|c: char| !c.is_ascii_digit()).unwrap());
        for rule in [unit, &format!("**{number} {letters}**"), &format!("**{}**", framing.rules().initial)] {
            assert!(section.contains(rule), "the section on {name} does not say {rule}");
        }
        for rule in ["**Session:**", "**Heartbeat:**", "**Reset:**", "**Channel key:**"] {
            assert!(section.contains(rule), "the section on {name} has no {rule}");
        }
    }
}

#[test]
fn every_feed_file_is_fine_and_listed() {
    let readme = readme();
    for file in feed_files() {
        let feed = Feed::load(&file).unwrap_or_else(|error| panic!("{error}"));
        let name = file.file_name().unwrap().to_string_lossy().into_owned();
        assert_eq!(format!("{}.toml", feed.name), name, "a feed is named as its file is");
        assert!(readme.contains(&format!("[`{name}`]({name})")), "feeds/README.md does not list {name}");
    }
}

#[test]
fn the_readmes_example_is_fine() {
    let readme = readme();
    let example = readme.split("```toml\n").nth(1).unwrap().split("```").next().unwrap();
    parse(example);
}

#[test]
fn a_feed_has_as_many_lines_as_the_arbiter() {
    assert_eq!(config::LINES_MAX, twinline_core::frame::LINES_MAX);
}

fn check(files: &[&Path]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_twinline")).arg("check").args(files).output().unwrap()
}

#[test]
fn check_tells_fine_from_wrong_and_goes_on() {
    let all = feed_files();
    let fine = check(&all.iter().map(PathBuf::as_path).collect::<Vec<_>>());
    assert_eq!(fine.status.code(), Some(0));
    assert_eq!(String::from_utf8_lossy(&fine.stdout).matches(": fine\n").count(), all.len());

    let (missing, last) = (feeds().join("loopbak.toml"), feeds().join("loopback.toml"));
    let mixed = check(&[&missing, &last]);
    assert_eq!(mixed.status.code(), Some(2));
    assert_eq!(String::from_utf8_lossy(&mixed.stdout).matches(": fine\n").count(), 1);
    let said = String::from_utf8_lossy(&mixed.stderr);
    assert_eq!(
        said,
        format!("twinline: {}: there is no such feed file; did you mean {}?\n", missing.display(), last.display())
    );
}

#[test]
fn check_looks_at_the_machine_with_and_without_feeds() {
    let loopback = feeds().join("loopback.toml");
    for (arguments, fine) in [(vec![], 0), (vec![loopback.as_path()], 1)] {
        let output = check(&[&[Path::new("--machine")], arguments.as_slice()].concat());
        let said = String::from_utf8_lossy(&output.stdout);
        // findings are advice
        assert_eq!(output.status.code(), Some(0), "{said}");
        assert_eq!((said.matches(": fine\n").count(), said.matches("\nmachine: ").count()), (fine, fine), "{said}");
        assert!(said.contains("machine: ") && said.contains("latency numbers"), "{said}");
        // the feed's interface is looked at
        assert_eq!(said.contains("lo is not a network card"), fine == 1, "{said}");
    }
    assert_eq!(check(&[]).status.code(), Some(2));
    assert_eq!(check(&[Path::new("--machine"), Path::new("no-such.toml")]).status.code(), Some(2));
}
