//! `twinline arbitrate`.

use std::process::ExitCode;

use super::Outcome;

/// Arbitrate capture files, offline, as fast as the disk allows
#[derive(Debug, clap::Args)]
pub(super) struct Args {}

pub(super) fn run(_: Args) -> Outcome {
    Ok(ExitCode::SUCCESS)
}
