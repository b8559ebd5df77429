//! Twinline's benchmarks.
fn main() {}
