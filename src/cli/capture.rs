//! `twinline capture`.

use std::process::ExitCode;

use super::Outcome;

/// Record the lines as pcapng, nanosecond stamps
#[derive(Debug, clap::Args)]
pub(super) struct Args {}

pub(super) fn run(_: Args) -> Outcome {
    Ok(ExitCode::SUCCESS)
}
