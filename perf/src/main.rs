//! Twinline's benchmarks: a file each.

use clap::{Parser, Subcommand};

mod arbitration;
mod curves;
mod machine;
mod ring;
mod scale;

/// Twinline's benchmarks
#[derive(Debug, Parser)]
#[command(name = "twinline-perf", arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    benchmark: Benchmark,
}

#[derive(Debug, Subcommand)]
enum Benchmark {
    Arbitration(arbitration::Args),
    Ring(ring::Args),
    Scale(scale::Args),
}

fn main() {
    match Cli::parse().benchmark {
        Benchmark::Arbitration(args) => arbitration::run(&args),
        Benchmark::Ring(args) => ring::run(&args),
        Benchmark::Scale(args) => scale::run(&args),
    }
}
