//! Instructions per packet, counted by callgrind. Counts repeat exactly, however busy the machine is. So a change of the hot path
//! shows even if times are too noisy to tell.
//!
//! Each case is counted twice, over one input and over one twice as long. Only the difference counts, so the beginning of a channel
//! cancels out. The stored counts are in `perf/instructions.txt`. A count that differs from them by more than the tolerance, up or
//! down, fails. If you made it faster, store the new counts with the change (`--store`).
//!
//! Counts depend on the compiler, which `rust-toolchain.toml` names, and a little on the C library, which chooses its `memcpy` by
//! the processor.

use std::fmt::Write as _;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::{env, fs};

use crate::arbitration::COUNTED;

/// Instructions of arbitration per packet and per message, by callgrind, against the stored counts
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Stores the counts instead of comparing them
    #[arg(long)]
    store: bool,
    /// How far a count may differ from the stored one, in percent
    #[arg(long, default_value_t = 3.0, value_name = "PERCENT")]
    tolerance: f64,
}

/// Packets of the shorter input: enough for the channel to begin and for every window to fill.
const PACKETS: usize = 20_000;
/// The file with the stored counts.
const STORED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/instructions.txt");

const HEAD: &str =
    "# Instructions by callgrind: of one line's packet, and of one message in it. twinline-perf instructions --store\n";

/// What a case costs.
struct Count {
    name: String,
    packet: f64,
    message: f64,
}

/// Counts, and compares or stores.
pub fn run(args: &Args) -> ExitCode {
    let counts = match count_all() {
        Ok(counts) => counts,
        Err(problem) => {
            eprintln!("twinline-perf: {problem}");
            return ExitCode::FAILURE;
        }
    };
    if args.store {
        let mut text = HEAD.to_owned();
        for Count { name, packet, message } in &counts {
            let _ = writeln!(text, "{packet:8.1} {message:8.1}  {name}");
        }
        if let Err(error) = fs::write(STORED, &text) {
            eprintln!("twinline-perf: cannot write {STORED}: {error}");
            return ExitCode::FAILURE;
        }
        print!("{text}");
        return ExitCode::SUCCESS;
    }
    let stored = match fs::read_to_string(STORED) {
        Ok(stored) => stored,
        Err(error) => {
            eprintln!("twinline-perf: cannot read {STORED}: {error}; `instructions --store` creates it");
            return ExitCode::FAILURE;
        }
    };
    println!("| case | instructions per packet | per message | stored | |");
    println!("|---|---|---|---|---|");
    let mut off = 0;
    for Count { name, packet, message } in &counts {
        let before = stored_count(&stored, name);
        let verdict = match before {
            Some(before) if (packet / before - 1.0).abs() * 100.0 <= args.tolerance => "as stored",
            Some(before) if *packet > before => "MORE",
            Some(_) => "LESS: store it",
            None => "NOT STORED",
        };
        off += usize::from(verdict != "as stored");
        let before = before.map_or("-".to_owned(), |before| format!("{before:.1}"));
        println!("| {name} | {packet:.1} | {message:.1} | {before} | {verdict} |");
    }
    if off == 0 {
        return ExitCode::SUCCESS;
    }
    eprintln!(
        "twinline-perf: {off} of {} counts differ by more than {} % from those in perf/instructions.txt; if that is intended, store them: \
         `twinline-perf instructions --store`",
        counts.len(),
        args.tolerance
    );
    ExitCode::FAILURE
}

/// The stored count of a case, per packet.
fn stored_count(stored: &str, name: &str) -> Option<f64> {
    let line = stored.lines().find(|line| !line.starts_with('#') && line.ends_with(&format!("  {name}")))?;
    line.split_whitespace().next()?.parse().ok()
}

fn count_all() -> Result<Vec<Count>, String> {
    let program = env::current_exe().map_err(|error| format!("cannot find the path of this program: {error}"))?;
    COUNTED
        .iter()
        .enumerate()
        .map(|(case, counted)| {
            let [less, more] = [PACKETS, 2 * PACKETS].map(|packets| count(&program, case, packets));
            let (less, more) = (less?, more?);
            let packet = (more.instructions - less.instructions) as f64 / (more.packets - less.packets) as f64;
            Ok(Count { name: counted.name.to_owned(), packet, message: packet / counted.pack as f64 })
        })
        .collect()
}

/// What one run counted.
struct Run {
    instructions: u64,
    packets: u64,
}

fn count(program: &Path, case: usize, packets: usize) -> Result<Run, String> {
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null", "--toggle-collect=*arbitration::consume*"])
        .arg(program)
        .args(["arbitration", "--instructions", &packets.to_string(), "--case", &case.to_string()])
        .output()
        .map_err(|error| format!("cannot run valgrind: {error}; install it (Debian: apt-get install valgrind)"))?;
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let number = |text: &str, before: &str| {
        let (_, rest) = text.split_once(before)?;
        rest.split_whitespace().next()?.parse().ok()
    };
    match (number(&err, "Collected : "), number(&out, "packets: ")) {
        (Some(instructions), Some(packets)) if output.status.success() => Ok(Run { instructions, packets }),
        _ => Err(format!("callgrind did not count case {case} ({}): {err}", output.status)),
    }
}
