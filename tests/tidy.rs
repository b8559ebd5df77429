//! The house rules that no compiler holds. What a crate may name, its `Cargo.toml` says; where `unsafe` may stand, the lints say.
//! Here is the rest: how few dependencies the lower crates have, what a datagram's way must not contain, how long a file may be,
//! one style of files, and whether the README tells the truth.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The direct dependencies that the lower crates may have (docs: ARCHITECTURE.md, The crates).
const MAY_DEPEND: &[(&str, &[&str])] =
    &[("src/core", &["crc32fast"]), ("src/client", &["twinline-core", "libc", "rustix", "loom"])];

/// Folders of one crate that never name each other: what they share stands in a third place.
const STRANGERS: &[(&str, &str)] = &[("src/core/framing", "arbiter"), ("src/core/arbiter", "framing")];

/// Where no trait may be boxed: what a datagram passes through is monomorphised.
const NOT_BOXED: &[&str] = &["src/core", "src/client/ring", "src/client/delivery", "src/node/handler"];

/// Crates that print nothing: only the program does.
const SILENT: &[&str] = &["src/core", "src/client", "src/node", "src/analysis"];

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
fn rust_files(dir: &str) -> Vec<String> {
    let mut files = Vec::new();
    let mut dirs: Vec<PathBuf> = vec![root().join(dir)];
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(&dir).into_iter().flatten() {
            let path = entry.unwrap().path();
            if path.is_dir() && path.file_name().is_some_and(|name| name != "target") {
                dirs.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                files.push(path.strip_prefix(root()).unwrap().to_string_lossy().into_owned());
            }
        }
    }
    files.sort();
    files
}

/// Whether a file holds tests, which may put together what the program does not.
fn of_tests(file: &str) -> bool {
    file.split('/').any(|part| part == "tests" || part.ends_with("tests.rs"))
}

/// The lines of a file's code: no comments, and nothing from its tests on.
fn code(file: &str) -> Vec<(usize, String)> {
    let source = read(file);
    let lines = source.lines().enumerate().take_while(|(_, line)| line.trim() != "#[cfg(test)]");
    lines
        .map(|(at, line)| (at + 1, line.split("//").next().unwrap_or_default().to_owned()))
        .filter(|(_, line)| !line.trim().is_empty())
        .collect()
}

/// The lines of code under `dir` in which `wrong` finds something.
fn found(dir: &str, wrong: impl Fn(&str) -> bool) -> Vec<String> {
    let files = rust_files(dir).into_iter().filter(|file| !of_tests(file));
    files
        .flat_map(|file| code(&file).into_iter().map(move |(at, line)| (file.clone(), at, line)))
        .filter(|(_, _, line)| wrong(line))
        .map(|(file, at, line)| format!("{file}:{at}: {}", line.trim()))
        .collect()
}

/// The names under `[dependencies]` and `[target.*.dependencies]`.
fn dependencies(manifest: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    let mut inside = false;
    for line in manifest.lines() {
        if line.starts_with('[') {
            inside = line.ends_with("dependencies]") && !line.contains("dev-dependencies");
        } else if inside && let Some(name) = line.split(['.', ' ', '=']).next().filter(|name| !name.is_empty()) {
            names.insert(name.trim().to_owned());
        }
    }
    names.into_iter().filter(|name| !name.starts_with('#')).collect()
}

#[test]
fn the_lower_crates_depend_on_little() {
    for (dir, may) in MAY_DEPEND {
        for name in dependencies(&read(&format!("{dir}/Cargo.toml"))) {
            assert!(may.contains(&name.as_str()), "{dir} depends on {name}");
        }
    }
    let all =
        dependencies("[dependencies]\na.workspace = true\nb = { path = \"x\" }\n# no\n[dev-dependencies]\nc = \"1\"\n");
    assert_eq!(all.into_iter().collect::<Vec<_>>(), ["a", "b"]);
}

#[test]
fn framing_and_arbiter_never_name_each_other() {
    for (dir, other) in STRANGERS {
        let names = found(dir, |line| line.contains(&format!("::{other}::")) || line.contains(&format!("::{other};")));
        assert!(names.is_empty(), "{}", names.join("\n"));
    }
}

#[test]
fn nothing_on_a_datagrams_way_is_boxed() {
    for dir in NOT_BOXED {
        let boxed = found(dir, |line| line.contains("Box<dyn"));
        assert!(boxed.is_empty(), "{}", boxed.join("\n"));
    }
}

#[test]
fn only_the_program_prints() {
    for dir in SILENT {
        let prints = found(dir, |line| {
            ["println!", "print!", "dbg!"].iter().any(|print| line.contains(print)) || line.contains("process::exit")
        });
        assert!(prints.is_empty(), "{}", prints.join("\n"));
    }
}

#[test]
fn every_file_says_what_it_is() {
    for file in rust_files("src") {
        assert!(read(&file).starts_with("//!"), "{file}: no //! that says what the module is");
    }
}

/// A module with others below it is a folder with a `mod.rs`.
#[test]
fn files_have_one_style() {
    for dir in ["src", "perf"] {
        for file in rust_files(dir) {
            let folder = root().join(file.trim_end_matches(".rs"));
            assert!(!folder.is_dir(), "{file}: stands beside a folder of its name; move it there as mod.rs");
        }
    }
}

#[test]
fn benchmarks_see_the_public_api_alone() {
    for file in rust_files("perf") {
        let source = read(&file);
        assert!(!source.contains("#[path"), "{file}: takes in a source file, and with it what is not public");
        assert!(!source.contains(" include!("), "{file}: takes in a source file, and with it what is not public");
    }
    let manifest = read("perf/Cargo.toml");
    let ours = manifest.lines().filter(|line| line.starts_with("twinline-"));
    for line in ours {
        assert!(!line.contains("features"), "perf asks for features that users do not have: {line}");
    }
}

#[test]
fn no_file_is_long_without_a_reason() {
    for name in ["src", "tests", "perf"].iter().flat_map(|dir| rust_files(dir)) {
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

#[test]
fn commands_are_found_in_code_blocks() {
    let page = "twinline outside\n```\ncargo run --release -- demo --seconds 3\n$ twinline run x\ncargo test\n# \
                sudo ./target/release/twinline tail y\ntwinline --help\n```\ntwinline no";
    assert_eq!(commands(page), ["demo", "run", "tail"]);
}

/// What the README shows a library user is compiled and run: it stands in an example.
#[test]
fn the_readmes_rust_stands_in_the_examples() {
    let readme = read("README.md");
    let blocks: Vec<&str> =
        readme.split("```rust\n").skip(1).map(|rest| rest.split("```").next().unwrap_or_default()).collect();
    assert!(blocks.len() >= 2, "README.md shows no Rust");
    let examples: Vec<String> = rust_files("docs/examples").iter().map(|file| read(file)).collect();
    for block in blocks {
        assert!(examples.iter().any(|example| example.contains(block)), "no example in docs/examples has:\n{block}");
    }
    for file in rust_files("docs/examples") {
        let name = file.rsplit('/').next().unwrap_or_default().trim_end_matches(".rs");
        assert!(readme.contains(&format!("`{name}`")), "README.md does not name the example {name}");
        assert!(read("scripts/check").contains(name), "scripts/check does not run the example {name}");
    }
}
