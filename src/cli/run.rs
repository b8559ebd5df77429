//! `twinline run`.

use std::process::ExitCode;

use super::Outcome;

/// Run the arbiter, for as long as it is wanted
#[derive(Debug, clap::Args)]
pub(super) struct Args {}

pub(super) fn run(_: Args) -> Outcome {
    Ok(ExitCode::SUCCESS)
}
