//! Twinline's benchmarks, one file per benchmark.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

mod arbitration;
mod captures;
mod curves;
mod framing;
mod instructions;
mod machine;
mod pingpong;
mod receive;
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
    Captures(captures::Args),
    Framing(framing::Args),
    Instructions(instructions::Args),
    Pingpong(pingpong::Args),
    Receive(receive::Args),
    Ring(ring::Args),
    Scale(scale::Args),
}

fn main() -> ExitCode {
    match Cli::parse().benchmark {
        Benchmark::Arbitration(args) => arbitration::run(&args),
        Benchmark::Captures(args) => captures::run(&args),
        Benchmark::Framing(args) => framing::run(&args),
        Benchmark::Instructions(args) => return instructions::run(&args),
        Benchmark::Pingpong(args) => return pingpong::run(&args),
        Benchmark::Receive(args) => receive::run(&args),
        Benchmark::Ring(args) => ring::run(&args),
        Benchmark::Scale(args) => scale::run(&args),
    }
    ExitCode::SUCCESS
}
