//! Twinline's benchmarks: a file each.

use clap::{Parser, Subcommand};

mod machine;
mod ring;

/// Twinline's benchmarks
#[derive(Debug, Parser)]
#[command(name = "twinline-perf", arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    benchmark: Benchmark,
}

#[derive(Debug, Subcommand)]
enum Benchmark {
    Ring(ring::Args),
}

fn main() {
    match Cli::parse().benchmark {
        Benchmark::Ring(args) => ring::run(&args),
    }
}
