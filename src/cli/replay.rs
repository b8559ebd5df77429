//! `twinline replay`.

use std::process::ExitCode;

use super::Outcome;

/// Put a capture back on the wire, both lines, recorded timing
#[derive(Debug, clap::Args)]
pub(super) struct Args {}

pub(super) fn run(_: Args) -> Outcome {
    Ok(ExitCode::SUCCESS)
}
