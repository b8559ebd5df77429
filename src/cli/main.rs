//! The `twinline` program: arguments, call, print, exit code. One file per verb.

#![forbid(unsafe_code)]

use std::fmt::Display;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

mod arbitrate;
mod capture;
mod check;
mod demo;
mod feed;
mod inspect;
mod latency;
mod live;
mod output;
mod publish;
mod replay;
mod report;
mod run;
mod sending;
mod tail;

/// An A/B line arbiter for UDP multicast market data.
#[derive(Debug, Parser)]
#[command(name = "twinline", version, arg_required_else_help = true, infer_subcommands = false)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Demo(demo::Args),
    Run(run::Args),
    Publish(publish::Args),
    Arbitrate(arbitrate::Args),
    Report(report::Args),
    Replay(replay::Args),
    Capture(capture::Args),
    Tail(tail::Args),
    Latency(latency::Args),
    Inspect(inspect::Args),
    Check(check::Args),
}

/// Why a verb failed, and the exit code for it.
#[derive(Debug)]
pub(crate) struct Failure {
    code: u8,
    error: anyhow::Error,
}

impl Failure {
    /// Wrong arguments or a wrong feed file: exit code 2.
    pub(crate) fn usage(error: impl Into<anyhow::Error>) -> Failure {
        Failure { code: 2, error: error.into() }
    }

    /// A failure at run time: exit code 1.
    pub(crate) fn run(error: impl Into<anyhow::Error>) -> Failure {
        Failure { code: 1, error: error.into() }
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Failure {
        Failure::run(error)
    }
}

type Outcome = Result<ExitCode, Failure>;

fn main() -> ExitCode {
    let outcome = match Cli::parse().verb {
        Verb::Demo(args) => demo::run(args),
        Verb::Run(args) => run::run(args),
        Verb::Publish(args) => publish::run(args),
        Verb::Arbitrate(args) => arbitrate::run(args),
        Verb::Report(args) => report::run(args),
        Verb::Replay(args) => replay::run(args),
        Verb::Capture(args) => capture::run(args),
        Verb::Tail(args) => tail::run(args),
        Verb::Latency(args) => latency::run(args),
        Verb::Inspect(args) => inspect::run(args),
        Verb::Check(args) => check::run(args),
    };
    match outcome {
        Ok(code) => code,
        Err(Failure { code, error }) => {
            say(chain(&error));
            ExitCode::from(code)
        }
    }
}

/// An error and its causes, each once: the text of many errors already includes their cause.
fn chain(error: &anyhow::Error) -> String {
    let mut said = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if said.is_empty() {
            said = cause;
        } else if !said.contains(&cause) {
            said = format!("{said}: {cause}");
        }
    }
    said
}

/// Prints a message on stderr.
fn say(what: impl Display) {
    eprintln!("twinline: {what}");
}
