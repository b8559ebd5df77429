//! The house rules that no compiler holds: which module may name which, where `unsafe` and boxed traits may stand, how long
//! a file may be, and whether the README tells the truth.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Which modules a module may name: the floors of `src/lib.rs`, from the bottom. A name that is not here is no module.
///
/// On the lower floors the table is exact: framing and arbiter share `frame` and never name each other. On the fourth and
/// the fifth a module may name all that is below, and its neighbours where they do not name it.
const MAY_NAME: &[(&str, &[&str])] = &[
    ("time", &[]),
    ("seq", &[]),
    ("ring", &[]),
    ("frame", &["seq", "time"]),
    ("os", &["time", "ring"]),
    ("config", &["framing", "frame", "seq", "time"]),
    ("framing", &["frame", "seq", "time"]),
    ("arbiter", &["frame", "seq", "time"]),
    ("ip", &["time"]),
    ("source", FOURTH),
    ("wire", FOURTH),
    ("capture", FOURTH),
    ("chart", &["spread"]),
    ("spread", &[]),
    ("delivery", FOURTH),
    ("handler", FIFTH),
    ("client", FIFTH),
    ("publisher", FIFTH),
    ("replay", FIFTH),
    ("latency", FIFTH),
    ("quality", FIFTH),
    ("inspect", FIFTH),
    ("recovery", FIFTH),
];
const FOURTH: &[&str] = &[
    "time", "seq", "ring", "frame", "os", "config", "framing", "arbiter", "ip", "source", "wire", "capture", "delivery",
];
const FIFTH: &[&str] = &[
    "time",
    "seq",
    "ring",
    "frame",
    "os",
    "config",
    "framing",
    "arbiter",
    "ip",
    "source",
    "wire",
    "chart",
    "spread",
    "capture",
    "delivery",
    "handler",
    "client",
    "publisher",
    "replay",
    "latency",
    "quality",
    "inspect",
    "recovery",
];
/// The top floor: it may name everything.
const TOP: &[&str] = &["cli", "main", "lib"];

/// Where `unsafe` may stand.
const UNSAFE: &[&str] = &["ring", "os"];
/// Where no trait may be boxed: what a datagram passes through is monomorphised.
const NOT_BOXED: &[&str] = &["arbiter", "framing", "ring"];

/// Files past 700 lines, each with the reason why it has no second idea in it.
const LONG: &[(&str, &str)] = &[];
const LINES_MAX: usize = 700;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(name: &str) -> String {
    fs::read_to_string(root().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// Every Rust file under `dir`, by its path from the root.
fn rust_files(dir: &str) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut dirs = vec![root().join(dir)];
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(&dir).into_iter().flatten() {
            let path = entry.unwrap().path();
            if path.is_dir() && path.file_name().is_some_and(|name| name != "target") {
                dirs.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                files.push(path.strip_prefix(root()).unwrap().to_owned());
            }
        }
    }
    files.sort();
    files
}

/// The modules that lead to a file under `src`: `src/cli/check.rs` is `cli`, `check`.
fn module_path(file: &Path) -> Vec<String> {
    let inside = file.strip_prefix("src").unwrap().with_extension("");
    let mut path: Vec<String> = inside.iter().map(|name| name.to_string_lossy().into_owned()).collect();
    if path.len() > 1 && path.last().is_some_and(|name| name == "mod") {
        path.pop();
    }
    path
}

/// The source without comments, and with every text and character emptied: what is left is code.
fn code(source: &str) -> String {
    let bytes: Vec<char> = source.chars().collect();
    let mut out = String::with_capacity(source.len());
    let mut at = 0;
    let starts = |at: usize, what: &str| what.chars().enumerate().all(|(i, c)| bytes.get(at + i) == Some(&c));
    while at < bytes.len() {
        let word_before = at > 0 && (bytes[at - 1].is_alphanumeric() || bytes[at - 1] == '_');
        if starts(at, "//") {
            while at < bytes.len() && bytes[at] != '\n' {
                at += 1;
            }
        } else if starts(at, "/*") {
            let mut depth = 0;
            while at < bytes.len() {
                if starts(at, "/*") {
                    depth += 1;
                    at += 2;
                } else if starts(at, "*/") {
                    depth -= 1;
                    at += 2;
                    if depth == 0 {
                        break;
                    }
                } else {
                    at += 1;
                }
            }
        } else if let Some(hashes) = raw_string(&bytes[at..]).filter(|_| !word_before) {
            let close: String = std::iter::once('"').chain(std::iter::repeat_n('#', hashes)).collect();
            at += bytes[at..].iter().position(|c| *c == '"').unwrap_or(0) + 1;
            while at < bytes.len() && !starts(at, &close) {
                at += 1;
            }
            at += close.len();
            out.push_str("\"\"");
        } else if bytes[at] == '"' {
            at += 1;
            while at < bytes.len() && bytes[at] != '"' {
                at += if bytes[at] == '\\' { 2 } else { 1 };
            }
            at += 1;
            out.push_str("\"\"");
        } else if bytes[at] == '\'' && bytes.get(at + 1) == Some(&'\\') {
            at += 3;
            while at < bytes.len() && bytes[at] != '\'' {
                at += 1;
            }
            at += 1;
            out.push_str("' '");
        } else if bytes[at] == '\'' && bytes.get(at + 2) == Some(&'\'') {
            at += 3;
            out.push_str("' '");
        } else {
            out.push(bytes[at]);
            at += 1;
        }
    }
    out
}

/// How many hashes a raw string that begins here has.
fn raw_string(rest: &[char]) -> Option<usize> {
    let rest = rest.strip_prefix(&['b']).or_else(|| rest.strip_prefix(&['c'])).unwrap_or(rest);
    let rest = rest.strip_prefix(&['r'])?;
    let hashes = rest.iter().take_while(|c| **c == '#').count();
    (rest.get(hashes) == Some(&'"')).then_some(hashes)
}

/// The words and marks of code.
fn tokens(code: &str) -> Vec<&str> {
    let mut tokens = Vec::new();
    let mut rest = code.trim_start();
    while let Some(first) = rest.chars().next() {
        let word = |c: char| c.is_alphanumeric() || c == '_';
        let len = if word(first) {
            rest.find(|c| !word(c)).unwrap_or(rest.len())
        } else if rest.starts_with("::") {
            2
        } else {
            first.len_utf8()
        };
        tokens.push(&rest[..len]);
        rest = rest[len..].trim_start();
    }
    tokens
}

/// The top modules that the code of a file in the module `path` names: by `crate::`, by `twinline::`, or by as many
/// `super::` as lead out of its own.
fn named_modules(path: &[String], code: &str) -> BTreeSet<String> {
    let tokens = tokens(code);
    let mut named = BTreeSet::new();
    // the braces that opened an inline module
    let (mut depth, mut inline) = (0usize, Vec::new());
    let mut at = 0;
    while at < tokens.len() {
        match tokens[at] {
            "{" => {
                depth += 1;
                if at >= 2 && tokens[at - 2] == "mod" {
                    inline.push(depth);
                }
            }
            "}" => {
                if inline.last() == Some(&depth) {
                    inline.pop();
                }
                depth = depth.saturating_sub(1);
            }
            "crate" | "twinline" if tokens.get(at + 1) == Some(&"::") => {
                named.extend(names_at(&tokens, at + 2));
                at += 1;
            }
            "super" if tokens.get(at + 1) == Some(&"::") => {
                let mut ups = 0;
                while tokens.get(at) == Some(&"super") && tokens.get(at + 1) == Some(&"::") {
                    ups += 1;
                    at += 2;
                }
                if ups >= path.len() + inline.len() {
                    named.extend(names_at(&tokens, at));
                }
                // what stands there is looked at like any other
                at -= 1;
            }
            _ => {}
        }
        at += 1;
    }
    named
}

/// The name at `at`, or each first name of the list in braces there.
fn names_at(tokens: &[&str], at: usize) -> Vec<String> {
    if tokens.get(at) != Some(&"{") {
        return tokens.get(at).map(|name| (*name).to_owned()).into_iter().collect();
    }
    let (mut names, mut depth) = (Vec::new(), 0);
    for (i, token) in tokens.iter().enumerate().skip(at) {
        match *token {
            "{" => depth += 1,
            "}" => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            break;
        }
        if depth == 1 && matches!(*token, "{" | ",") {
            names.extend(tokens.get(i + 1).filter(|name| **name != "}").map(|name| (*name).to_owned()));
        }
    }
    names
}

/// What the file breaks of the rules that go by its module.
fn faults(path: &[String], source: &str) -> Vec<String> {
    let module = path[0].as_str();
    let code = code(source);
    let mut faults = Vec::new();
    // a file of tests may put floors together that the program does not
    let of_tests = path.iter().any(|name| name == "tests");
    if !TOP.contains(&module) && !of_tests {
        match MAY_NAME.iter().find(|(name, _)| *name == module) {
            None => {
                faults.push(format!("{module} stands on no floor: add it to MAY_NAME, and to the table in src/lib.rs"))
            }
            Some((_, may)) => {
                let modules = MAY_NAME.iter().map(|(name, _)| *name).chain(TOP.iter().copied());
                let modules: BTreeSet<&str> = modules.collect();
                for named in named_modules(path, &code) {
                    if named != module && modules.contains(named.as_str()) && !may.contains(&named.as_str()) {
                        faults.push(format!("{module} names {named}"));
                    }
                }
            }
        }
    }
    let tokens = tokens(&code);
    if !UNSAFE.contains(&module) && tokens.contains(&"unsafe") {
        faults.push(format!("unsafe in {module}"));
    }
    if NOT_BOXED.contains(&module) && tokens.windows(3).any(|window| window == ["Box", "<", "dyn"]) {
        faults.push(format!("a boxed trait in {module}"));
    }
    if !source.starts_with("//!") {
        faults.push("no //! that says what the module is".to_owned());
    }
    faults
}

#[test]
fn the_floors_hold() {
    let mut all = Vec::new();
    for file in rust_files("src") {
        let source = read(&file.to_string_lossy());
        all.extend(
            faults(&module_path(&file), &source).into_iter().map(|fault| format!("{}: {fault}", file.display())),
        );
    }
    assert!(all.is_empty(), "{}", all.join("\n"));
}

#[test]
fn no_two_modules_name_each_other() {
    let files = rust_files("src").into_iter().map(|file| (module_path(&file), read(&file.to_string_lossy())));
    let arrows: BTreeSet<(String, String)> = files
        .flat_map(|(path, source)| {
            named_modules(&path, &code(&source)).into_iter().map(move |to| (path[0].clone(), to))
        })
        .collect();
    for (from, to) in &arrows {
        assert!(from == to || !arrows.contains(&(to.clone(), from.clone())), "{from} and {to} name each other");
    }
}

#[test]
fn every_module_stands_in_the_librarys_page() {
    let lib = read("src/lib.rs");
    for line in lib.lines().filter_map(|line| line.strip_prefix("pub mod ")) {
        let module = line.trim_end_matches(';');
        assert!(lib.contains(&format!("[`{module}`]")), "the table in src/lib.rs has no {module}");
    }
}

#[test]
fn benchmarks_see_the_public_api_alone() {
    for file in rust_files("perf") {
        let source = code(&read(&file.to_string_lossy()));
        let tokens = tokens(&source);
        let inner = tokens.iter().any(|token| matches!(*token, "include" | "include_str" | "path"))
            && tokens.windows(2).any(|pair| pair == ["include", "!"] || pair == ["[", "path"]);
        assert!(!inner, "{}: takes in a source file, and with it what is not public", file.display());
    }
    let manifest = read("perf/Cargo.toml");
    let twinline = manifest.lines().find(|line| line.starts_with("twinline ")).unwrap();
    assert!(!twinline.contains("features"), "perf asks for features that users do not have: {twinline}");
}

#[test]
fn no_file_is_long_without_a_reason() {
    for file in ["src", "tests", "perf"].iter().flat_map(|dir| rust_files(dir)) {
        let name = file.to_string_lossy().into_owned();
        let lines = read(&name).lines().count();
        let reason = LONG.iter().find(|(long, _)| *long == name);
        assert!(lines <= LINES_MAX || reason.is_some(), "{name} has {lines} lines: is there a second idea in it?");
        assert!(
            lines > LINES_MAX || reason.is_none(),
            "{name} has {lines} lines and needs no place on the list any more"
        );
    }
}

#[test]
fn the_readme_says_what_is_true() {
    let readme = read("README.md");
    let version = env!("CARGO_PKG_VERSION");
    assert!(readme.to_lowercase().contains(&format!("version {version}")), "README.md does not say version {version}");
    assert!(read("CHANGELOG.md").contains(&format!("## [{version}]")), "CHANGELOG.md has no section for {version}");
    for command in ["cargo run --release -- demo", "cargo test --workspace"] {
        assert!(readme.contains(command), "README.md does not say {command}");
    }
    let verbs = verbs();
    for verb in &verbs {
        assert!(readme.contains(&format!("twinline {verb}")), "README.md does not mention twinline {verb}");
    }
    for command in commands(&readme) {
        assert!(verbs.contains(&command), "README.md has a command with the verb {command:?}, which there is not");
    }
}

/// The program's own verbs.
fn verbs() -> Vec<String> {
    let help = Command::new(env!("CARGO_BIN_EXE_twinline")).arg("--help").output().unwrap();
    let help = String::from_utf8(help.stdout).unwrap();
    let list = help.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    let verbs: Vec<String> = list.filter_map(|line| line.split_whitespace().next()).map(str::to_owned).collect();
    assert!(verbs.contains(&"check".to_owned()), "{help}");
    verbs.into_iter().filter(|verb| verb != "help").collect()
}

/// The verbs that the code blocks of a page use: `twinline VERB`, `cargo run ... -- VERB`.
fn commands(page: &str) -> Vec<String> {
    let mut verbs = Vec::new();
    for block in page.split("```").skip(1).step_by(2) {
        for line in block.lines().map(|line| line.trim_start_matches(['$', '#', ' '])) {
            let words: Vec<&str> = line.split_whitespace().collect();
            let verb = match words.as_slice() {
                ["cargo", "run", rest @ ..] => rest.iter().skip_while(|word| **word != "--").nth(1),
                ["sudo", program, verb, ..] | [program, verb, ..] if program.rsplit('/').next() == Some("twinline") => {
                    Some(verb)
                }
                _ => None,
            };
            verbs.extend(verb.filter(|verb| !verb.starts_with('-')).map(|verb| (*verb).to_owned()));
        }
    }
    verbs
}

fn module(path: &str) -> Vec<String> {
    path.split("::").map(str::to_owned).collect()
}

#[test]
fn tidy_sees_what_it_forbids() {
    let doc = "//! A module.\n";
    for (path, source, fault) in [
        ("framing", "use crate::arbiter::Event;", "framing names arbiter"),
        ("arbiter::gap", "use crate::{frame::Frame, framing::{AnyFraming, Framing}};", "arbiter names framing"),
        ("arbiter::gap", "fn f() { super::super::os::clock::Clock::start(); }", "arbiter names os"),
        ("seq", "mod tests { use super::super::time::Nanos; }", "seq names time"),
        ("framing", "use super::config::Feed;", "framing names config"),
        ("config", "pub(in crate::cli) fn f() {}", "config names cli"),
        ("capture", "use crate::handler::Handler;", "capture names handler"),
        ("source", "let x = r#\"//\"#; use crate::cli;", "source names cli"),
        ("time", "/* /* */ */ use crate::seq;", "time names seq"),
        ("client", "fn f() { unsafe { g() } }", "unsafe in client"),
        ("arbiter", "fn f(sink: Box<dyn Sink>) {}", "a boxed trait in arbiter"),
        ("novelty", "", "novelty stands on no floor: add it to MAY_NAME, and to the table in src/lib.rs"),
    ] {
        assert_eq!(faults(&module(path), &format!("{doc}{source}")), [fault], "{source}");
    }
    assert_eq!(faults(&module("seq"), "use std::fmt;"), ["no //! that says what the module is"]);
}

#[test]
fn tidy_leaves_alone_what_is_fine() {
    let doc = "//! A module, see [`crate::cli`].\n";
    for (path, source) in [
        ("arbiter", "// crate::framing is not for us, and unsafe neither\nuse crate::frame::Frame;"),
        ("arbiter", "const SAID: &str = \"crate::framing unsafe \\\" unsafe\"; const QUOTE: char = '\"'; // unsafe"),
        ("arbiter", "const SAID: &str = r#\"unsafe \" unsafe\"#;"),
        ("arbiter", "fn f<'a>(x: &'a str) -> char { '\\'' }"),
        ("arbiter::gap", "use super::framing;"),
        ("cli::check", "use super::capture; use crate::arbiter::Event;"),
        ("time", "mod tests { use super::*; } use std::fmt;"),
        ("seq", "mod tests { fn f() { super::time(); } }"),
        ("arbiter::gap", "pub(super) fn f() {}"),
        ("ring", "fn f() { unsafe { g() } }"),
        ("client", "fn f(x: Box<dyn Fn()>) { crate::ring::f() }"),
    ] {
        assert_eq!(faults(&module(path), &format!("{doc}{source}")), [""; 0], "{source}");
    }
}

#[test]
fn commands_are_found_in_code_blocks() {
    let page = "twinline outside\n```\ncargo run --release -- demo --seconds 3\n$ twinline run x\ncargo test\n# \
                sudo ./target/release/twinline tail y\ntwinline --help\n```\ntwinline no";
    assert_eq!(commands(page), ["demo", "run", "tail"]);
}
