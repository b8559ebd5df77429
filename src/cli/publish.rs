//! `twinline publish`.

use std::process::ExitCode;

use super::Outcome;

/// Send messages on every line of a feed
#[derive(Debug, clap::Args)]
pub(super) struct Args {}

pub(super) fn run(_: Args) -> Outcome {
    Ok(ExitCode::SUCCESS)
}
