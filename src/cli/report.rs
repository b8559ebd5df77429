//! `twinline report`: line quality, as one page that refers to nothing outside itself.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, anyhow};

use super::arbitrate::{ReadingProgress, capture_failure};
use super::check::print;
use super::{Failure, Outcome, feed, say};
use twinline_analysis::quality::{QualityReport, QualityRun};
use twinline_core::framing::{Framing, WithFraming};
use twinline_node::capture::{CaptureInput, Captures};
use twinline_node::config::Feed;
use twinline_node::os::Stop;

/// Report the quality of the lines in capture files, as one HTML page
///
/// The page shows which line lost what, when, and with what result: rates, leads, bursts of loss, gaps, microbursts, silent stretches,
/// states. It takes the same captures as `arbitrate`, and runs the same arbiter. It needs no network, and prints well.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  twinline report feeds/cme-mdp3.toml day.pcapng
  twinline report feeds/cme-mdp3.toml A=nic0.pcap.gz B=nic1.pcap.gz -o day.html
  twinline report feeds/cme-mdp3.toml day.pcapng --json | jq '.verdict[].text'")]
pub(super) struct Args {
    /// The feed file
    feed: PathBuf,
    /// Captures: pcap or pcapng, plain, gzip or zstd. Several are merged by time. LINE=FILE assigns a whole file to a line;
    /// `-` is standard input
    #[arg(required = true, value_name = "CAPTURE")]
    captures: Vec<PathBuf>,
    /// Write the page to FILE, replacing it; `-` is standard output [default: FEED-report.html in the current directory, unless there
    /// is one; with --json, no page]
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Print the report as one JSON object on standard output
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: Args) -> Outcome {
    let (feed, framing) = feed::load(&args.feed)?;
    let page = Destination::of(&args, &feed)?;
    let inputs: Vec<CaptureInput> = args.captures.iter().map(|path| CaptureInput::parse(path, &feed)).collect();
    let captures = Captures::open(&inputs, &feed).map_err(capture_failure)?;
    let stop = Stop::on_signals().map_err(Failure::run)?;
    Reporting { args, page, feed, captures, stop }.with(framing)
}

/// Where the page goes.
enum Destination {
    Nowhere,
    Stdout,
    /// A file that was named.
    File(PathBuf),
    /// A file that nobody named: it must not exist yet.
    New(PathBuf),
}

impl Destination {
    /// A problem with the file is reported before the captures are read.
    fn of(args: &Args, feed: &Feed) -> Result<Destination, Failure> {
        let named = args.output.clone();
        let destination = match named {
            Some(path) if path.as_os_str() == "-" => {
                if args.json {
                    return Err(Failure::usage(anyhow!(
                        "--json and -o - both write to standard output: give -o a file"
                    )));
                }
                Destination::Stdout
            }
            Some(path) => Destination::File(path),
            None if args.json => Destination::Nowhere,
            None => Destination::New(default_name(&feed.name)),
        };
        match &destination {
            Destination::New(path) if path.exists() => Err(Failure::usage(anyhow!(
                "{}: there is already a file of this name; say -o {0} to replace it, or name another",
                path.display()
            ))),
            Destination::File(path) | Destination::New(path) => {
                let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
                if !dir.is_dir() {
                    return Err(Failure::usage(anyhow!(
                        "{}: cannot be written: there is no directory {}",
                        path.display(),
                        dir.display()
                    )));
                }
                Ok(destination)
            }
            _ => Ok(destination),
        }
    }

    /// Makes the page, if it goes anywhere.
    fn write(&self, report: &QualityReport<'_>) -> anyhow::Result<()> {
        if matches!(self, Destination::Nowhere) {
            return Ok(());
        }
        let page = report.page();
        let to_file = |path: &Path, file: io::Result<File>| {
            let written = file.and_then(|mut file| file.write_all(page.as_bytes()));
            written.with_context(|| format!("{}: the page cannot be written", path.display()))
        };
        match self {
            Destination::Nowhere => Ok(()),
            Destination::Stdout => print(&page).context("standard output"),
            Destination::File(path) => to_file(path, File::create(path)),
            Destination::New(path) => to_file(path, OpenOptions::new().write(true).create_new(true).open(path)),
        }
    }
}

/// `loopback-report.html`. Characters that are awkward in a file's name become `_`.
fn default_name(feed: &str) -> PathBuf {
    let plain = |c: char| if c.is_alphanumeric() || matches!(c, '-' | '_' | '.') { c } else { '_' };
    let name: String = feed.chars().map(plain).collect();
    PathBuf::from(format!("{}-report.html", name.trim_start_matches('.')))
}

struct Reporting {
    args: Args,
    page: Destination,
    feed: Feed,
    captures: Captures,
    stop: Stop,
}

impl WithFraming for Reporting {
    type Output = Outcome;

    fn with<F: Framing>(self, framing: F) -> Outcome {
        let Reporting { args, page, feed, mut captures, stop } = self;
        let progress = ReadingProgress::new(captures.size(), stop);
        let run = QualityRun::of(framing, &feed, &mut captures, |captures| progress.look(captures.position()));
        progress.finish();
        let run = run.map_err(capture_failure)?;
        let names: Vec<String> = args.captures.iter().map(|path| path.display().to_string()).collect();
        let report = run.report(&feed, &captures, &names);
        report.warnings().iter().for_each(say);
        page.write(&report)?;
        if args.json {
            let json = report.json().map_err(Failure::run)?;
            print(&format!("{json}\n")).map_err(Failure::run)?;
        } else if let Destination::File(path) | Destination::New(path) = &page {
            print(&format!("{}the page: {}\n", report.text(), path.display())).map_err(Failure::run)?;
        }
        let stopped = run.end.stopped;
        match run.end.failed {
            Some(error) => Err(capture_failure(error)),
            None if stopped => Ok(ExitCode::from(130)),
            None => Ok(ExitCode::SUCCESS),
        }
    }
}
