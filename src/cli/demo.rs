//! `twinline demo`.

use std::process::ExitCode;

use super::Outcome;

/// Publisher, arbiter and client over loopback, with faults on both lines
#[derive(Debug, clap::Args)]
pub(super) struct Args {}

pub(super) fn run(_: Args) -> Outcome {
    Ok(ExitCode::SUCCESS)
}
