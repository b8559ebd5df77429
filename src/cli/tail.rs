//! `twinline tail`.

use std::process::ExitCode;

use super::Outcome;

/// A client: print messages and events
#[derive(Debug, clap::Args)]
pub(super) struct Args {}

pub(super) fn run(_: Args) -> Outcome {
    Ok(ExitCode::SUCCESS)
}
