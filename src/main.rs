//! The `twinline` program: everything is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    twinline::cli::main()
}
