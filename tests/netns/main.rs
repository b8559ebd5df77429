//! What needs two network namespaces: lines over veth pairs, by every receive method and by the built program, with links that
//! fail and interfaces that go.
//!
//! Without root and `ip` all of it is listed as ignored.

mod faults;
mod latency;
mod receive;
mod redirected;
mod send;
mod source;
#[path = "../support/mod.rs"]
mod support;
mod xdp;

use std::process::ExitCode;

use support::trials::Need::{Namespaces, Setpriv};

fn main() -> ExitCode {
    if xdp::child() {
        return ExitCode::SUCCESS;
    }
    support::trials::run(&[
        (&[Namespaces], faults::TESTS),
        (&[Namespaces], latency::TESTS),
        (&[Namespaces], receive::TESTS),
        (&[Namespaces], receive::faults::TESTS),
        (&[Namespaces], receive::loopback::TESTS),
        (&[Namespaces], receive::program::TESTS),
        (&[Namespaces], redirected::TESTS),
        (&[Namespaces], send::TESTS),
        (&[Namespaces, Setpriv], send::TESTS_WITH_SETPRIV),
        (&[Namespaces], source::TESTS),
        (&[], xdp::TESTS_ANYWHERE),
        (&[Namespaces], xdp::TESTS),
        (&[Namespaces, Setpriv], xdp::TESTS_WITH_SETPRIV),
    ])
}
