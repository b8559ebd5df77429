//! `twinline check`.

use std::process::ExitCode;

use super::Outcome;

/// Say what a feed file means, or what is wrong with it
#[derive(Debug, clap::Args)]
pub(super) struct Args {}

pub(super) fn run(_: Args) -> Outcome {
    Ok(ExitCode::SUCCESS)
}
