//! Tests that need what not every machine has. Where it is missing they are listed as ignored, whoever runs them
//! (`cargo test`, `cargo nextest`), and `cargo test` says why: libtest itself decides that when it is compiled.
//!
//! A module has its tests in a list, `pub const TESTS: &[Test] = tests![one, another];`. One that is in no list is unused code,
//! which the compiler tells.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::{env, fs};

use libtest_mimic::{Arguments, Trial};

/// A test, by its path within its program.
pub struct Test {
    pub path: &'static str,
    pub run: fn(),
}

macro_rules! tests {
    ($($name:ident),* $(,)?) => {
        &[$($crate::support::trials::Test { path: concat!(module_path!(), "::", stringify!($name)), run: $name }),*]
    };
}
pub(crate) use tests;

/// What a test cannot do without.
#[derive(Clone, Copy)]
pub enum Need {
    /// Network namespaces, which root may make, and `ip`.
    Namespaces,
    /// `setpriv`, which takes privileges away.
    Setpriv,
    /// The exchanges' captures, in `TWINLINE_CAPTURES`.
    Captures,
    Tshark,
}

impl Need {
    /// Why it is not to be had here.
    fn missing(self) -> Option<String> {
        match self {
            Need::Namespaces => no_namespaces(),
            Need::Setpriv => no_program("setpriv"),
            Need::Tshark => no_program("tshark"),
            Need::Captures => {
                env::var_os("TWINLINE_CAPTURES").is_none().then(|| "TWINLINE_CAPTURES is not set".to_owned())
            }
        }
    }
}

fn no_program(name: &str) -> Option<String> {
    Command::new(name).arg("--version").output().err().map(|error| format!("no `{name}`: {error}"))
}

fn no_namespaces() -> Option<String> {
    let root = fs::read_to_string("/proc/self/status")
        .is_ok_and(|status| status.lines().any(|line| line.starts_with("Uid:\t0\t0")));
    if !root {
        return Some("network namespaces need root".to_owned());
    }
    if let Err(error) = Command::new("ip").arg("-V").output() {
        return Some(format!("no `ip`: {error}"));
    }
    // a container's root may not have the privilege; with it, a test bed that does not come up is a failure
    match Command::new("unshare").args(["--net", "true"]).output() {
        Ok(done) if done.status.success() => None,
        Ok(done) => {
            let said = String::from_utf8_lossy(&done.stderr).into_owned();
            Some(format!("network namespaces are not allowed here: {}", said.trim()))
        }
        Err(error) => Some(format!("no `unshare`: {error}")),
    }
}

/// The file or folder of this name in the captures: for tests that need [`Need::Captures`].
pub fn captured(name: &str) -> PathBuf {
    PathBuf::from(env::var_os("TWINLINE_CAPTURES").expect("TWINLINE_CAPTURES is set")).join(name)
}

/// Runs the tests that the command line asks for, each list with what it needs.
pub fn run(lists: &[(&[Need], &'static [Test])]) -> ExitCode {
    let arguments = Arguments::from_args();
    let (mut trials, mut ignored) = (Vec::new(), BTreeMap::<String, usize>::new());
    for (needs, tests) in lists {
        let missing = needs.iter().find_map(|need| need.missing());
        trials.extend(tests.iter().map(|test| {
            // libtest's names begin within the program
            let name = test.path.split_once("::").map_or(test.path, |(_, name)| name);
            let run = test.run;
            Trial::test(name, move || {
                run();
                Ok(())
            })
            .with_ignored_flag(missing.is_some())
        }));
        if let Some(missing) = missing {
            *ignored.entry(missing).or_default() += tests.len();
        }
    }
    if !arguments.list {
        ignored
            .iter()
            .for_each(|(missing, count)| eprintln!("{count} of {} tests are ignored: {missing}", trials.len()));
    }
    libtest_mimic::run(&arguments, trials).exit_code()
}
