//! What is held against what is not ours: the exchanges' captures, and tshark.
//!
//! The captures are no part of this project; `TWINLINE_CAPTURES` says where they are. Without them, or without tshark, the tests
//! are listed as ignored.

mod capture_files;
mod dissector;
mod fixed;
mod golden_packets;
mod inspect;
mod publisher;
mod real_captures;
mod replay;
#[path = "../support/mod.rs"]
mod support;

use std::process::ExitCode;

use support::trials::Need::{Captures, Tshark};

fn main() -> ExitCode {
    support::trials::run(&[
        (&[Captures], capture_files::TESTS),
        (&[Tshark], dissector::TESTS),
        (&[Captures], fixed::TESTS),
        (&[Captures], golden_packets::TESTS),
        (&[Captures], inspect::TESTS),
        (&[Captures], publisher::TESTS),
        (&[Captures], real_captures::TESTS),
        (&[Captures], replay::TESTS),
    ])
}
