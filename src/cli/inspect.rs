//! `twinline inspect`: what is in this file?

use std::fs::OpenOptions;
use std::io::Write as _;
use std::net::SocketAddrV4;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::anyhow;

use super::arbitrate::{ReadingProgress, capture_failure};
use super::check::print;
use super::{Failure, Outcome, feed, say};
use twinline_analysis::inspect::{FeedPlan, InspectReport, InspectSettings};
use twinline_analysis::report::STOPPED;
use twinline_core::framing::AnyFraming;
use twinline_node::config::nearest;
use twinline_node::os::Stop;

/// Show what is in a capture: flows, the framing that fits, holes, lines of one channel, and a feed file for it
///
/// Every framing is tested on every flow. Each finding has a word and a score that say how sure it is (feeds/INSPECT.md), and its
/// evidence. The report ends with a feed file for the same capture, ready for `twinline arbitrate`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  twinline inspect day.pcapng.gz
  twinline inspect day.pcap --feed day.toml && twinline arbitrate day.toml day.pcap
  twinline inspect nic0.pcap nic1.pcap --flow 239.81.1.1:26400 --json
  twinline inspect day.pcap --framing moldudp64 --malformed 3

If a capture holds several feeds, --feed day.toml writes the surest and largest to day.toml, the others to day-2.toml and so on.")]
pub(super) struct Args {
    /// Captures: pcap or pcapng, plain, gzip or zstd. Several are merged by time; `-` is standard input
    #[arg(required = true, value_name = "CAPTURE")]
    captures: Vec<PathBuf>,
    /// Write a feed file for what was found. An existing file is not overwritten
    #[arg(long, value_name = "FILE")]
    feed: Option<PathBuf>,
    /// Look at this group and port only; can be given several times
    #[arg(long, value_name = "GROUP:PORT")]
    flow: Vec<SocketAddrV4>,
    /// Test this framing only
    #[arg(long, value_name = "NAME")]
    framing: Option<String>,
    /// Look at the groups of this feed file only, and test its framing only
    #[arg(long, value_name = "FEED", conflicts_with_all = ["framing", "flow"])]
    with: Option<PathBuf>,
    /// Show the first N datagrams per flow that its framing refuses
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=1_000))]
    malformed: Option<u64>,
    /// Print one JSON object on standard output
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: Args) -> Outcome {
    let settings = settings(&args)?;
    if settings.reads_twice() && args.captures.iter().any(|path| path.as_os_str() == "-") {
        return Err(Failure::usage(anyhow!(
            "--malformed reads the capture twice, which standard input cannot: give a file, or --framing NAME or --with FEED"
        )));
    }
    if let Some(path) = &args.feed {
        refuse_existing(path)?;
    }
    let stop = Stop::on_signals().map_err(Failure::run)?;
    let mut progress = None;
    let report = InspectReport::of(&args.captures, &settings, |position, size| {
        progress.get_or_insert_with(|| ReadingProgress::new(size, stop.clone())).look(position)
    });
    if let Some(progress) = &progress {
        progress.finish();
    }
    let mut report = report.map_err(capture_failure)?;
    if args.json {
        print(&format!("{}\n", report.json().map_err(Failure::run)?)).map_err(Failure::run)?;
    } else {
        print(&report.text(args.feed.is_none())).map_err(Failure::run)?;
    }
    report.warnings().for_each(say);
    if report.stopped() {
        say(STOPPED);
    }
    if let Some(path) = &args.feed {
        write_feeds(path, report.plans())?;
    }
    match report.failed() {
        Some(error) => Err(capture_failure(error)),
        None if report.stopped() => Ok(ExitCode::from(130)),
        None => Ok(ExitCode::SUCCESS),
    }
}

/// What to look at: the framing to try, and the groups.
fn settings(args: &Args) -> Result<InspectSettings, Failure> {
    let mut settings = InspectSettings::new();
    settings.malformed = args.malformed;
    if let Some(path) = &args.with {
        let (feed, framing) = feed::load(path)?;
        settings.framing = Some(framing);
        settings.groups = feed.lines.into_iter().flat_map(|line| line.groups).collect();
        settings.groups.sort();
        settings.groups.dedup();
        return Ok(settings);
    }
    settings.groups = args.flow.clone();
    if let Some(name) = &args.framing {
        settings.framing = Some(AnyFraming::from_name(name).ok_or_else(|| {
            let near = nearest(name, AnyFraming::NAMES).map_or(String::new(), |near| format!("; did you mean {near}?"));
            let all = AnyFraming::NAMES.join(", ");
            Failure::usage(anyhow!("--framing: {name:?} is no framing{near} (there are: {all})"))
        })?);
    }
    Ok(settings)
}

/// `FILE`, then `FILE-2` and so on, before the extension.
fn numbered(path: &Path, at: usize) -> PathBuf {
    if at == 0 {
        return path.to_owned();
    }
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let extension = path.extension().map_or(String::new(), |extension| format!(".{}", extension.to_string_lossy()));
    path.with_file_name(format!("{stem}-{}{extension}", at + 1))
}

fn refuse_existing(path: &Path) -> Result<(), Failure> {
    if path.as_os_str() == "-" {
        return Err(Failure::usage(anyhow!(
            "--feed takes a file's name; without --feed the feed file ends the report"
        )));
    }
    if path.exists() {
        return Err(Failure::usage(anyhow!(
            "--feed {}: the file exists already; remove it, or give another name",
            path.display()
        )));
    }
    Ok(())
}

fn write_feeds(path: &Path, plans: &[FeedPlan]) -> Result<(), Failure> {
    if plans.is_empty() {
        return Err(Failure::run(anyhow!(
            "--feed {}: nothing is written, since no flow has messages in sequence by a framing that is at least possible; \
             --framing NAME tries one alone",
            path.display()
        )));
    }
    let paths: Vec<PathBuf> = (0..plans.len()).map(|at| numbered(path, at)).collect();
    for path in &paths {
        refuse_existing(path)?;
    }
    for (path, plan) in paths.iter().zip(plans) {
        let written = OpenOptions::new().write(true).create_new(true).open(path);
        written
            .and_then(|mut file| file.write_all(plan.text.as_bytes()))
            .map_err(|error| Failure::run(anyhow!("--feed {}: cannot be written: {error}", path.display())))?;
        say(format_args!(
            "{}: written, for {} ({} {:.2})",
            path.display(),
            plan.framing,
            plan.sureness.word(),
            plan.score
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn further_feed_files_are_numbered_before_the_extension() {
        assert_eq!(numbered(Path::new("a/day.toml"), 0), Path::new("a/day.toml"));
        assert_eq!(numbered(Path::new("a/day.toml"), 1), Path::new("a/day-2.toml"));
        assert_eq!(numbered(Path::new("day"), 2), Path::new("day-3"));
    }
}
