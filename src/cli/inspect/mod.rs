//! `twinline inspect`: what is in this file?

use std::collections::HashMap;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::net::SocketAddrV4;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::anyhow;

use super::arbitrate::{capture_failure, progress};
use super::check::print;
use super::{Failure, Outcome, feed, say};
use twinline_analysis::inspect::plan::{Plan, plans};
use twinline_analysis::inspect::{Findings, FlowKey, Inspection};
use twinline_core::framing::AnyFraming;
use twinline_node::capture::CaptureError;
use twinline_node::config::nearest;
use twinline_node::os::signal::Stop;

mod files;
mod json;
mod malformed;
mod text;

use files::{FileFacts, Files, InterfaceSeen, Next};
use malformed::Refusals;

/// Say what is in a capture: flows, the framing that fits, holes, lines of one channel; and a feed file for it
///
/// Every framing is tried on every flow. What is said comes with a word and a score for how sure it is (feeds/INSPECT.md), and
/// the evidence. The report ends with a feed file that `twinline arbitrate` runs over the same capture.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  twinline inspect day.pcapng.gz
  twinline inspect day.pcap --feed day.toml && twinline arbitrate day.toml day.pcap
  twinline inspect nic0.pcap nic1.pcap --flow 239.81.1.1:26400 --json
  twinline inspect day.pcap --framing moldudp64 --malformed 3

Several feeds in one capture: --feed day.toml writes the surest and largest to day.toml, the others to day-2.toml and so on.")]
pub(super) struct Args {
    /// Captures, pcap or pcapng, plain or packed; several are merged by time; `-` is standard input
    #[arg(required = true, value_name = "CAPTURE")]
    captures: Vec<PathBuf>,
    /// Write a feed file for what was found; files that are there are not overwritten
    #[arg(long, value_name = "FILE")]
    feed: Option<PathBuf>,
    /// Look at this group and port only; may be given several times
    #[arg(long, value_name = "GROUP:PORT")]
    flow: Vec<SocketAddrV4>,
    /// Try this framing only
    #[arg(long, value_name = "NAME")]
    framing: Option<String>,
    /// Look at the groups of this feed file only, and try its framing only
    #[arg(long, value_name = "FEED", conflicts_with_all = ["framing", "flow"])]
    with: Option<PathBuf>,
    /// Show the first N datagrams of each flow that its framing refuses
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=1_000))]
    malformed: Option<u64>,
    /// Print one JSON object on standard output
    #[arg(long)]
    json: bool,
}

/// How many datagrams go by between two looks at the progress bar and the stop flag.
const LOOK_EVERY: u64 = 16_384;

/// All that the report is made of.
struct Inspected {
    files: Vec<FileFacts>,
    interfaces: Vec<InterfaceSeen>,
    findings: Findings,
    plans: Vec<Plan>,
    refusals: Option<Refusals>,
    /// Datagrams of flows that were not asked for.
    not_asked: u64,
}

pub(super) fn run(args: Args) -> Outcome {
    let (framings, flows) = what_to_try(&args)?;
    let forced = (args.framing.is_some() || args.with.is_some()).then(|| framings[0]);
    if args.malformed.is_some() && forced.is_none() && args.captures.iter().any(|path| path.as_os_str() == "-") {
        return Err(Failure::usage(anyhow!(
            "--malformed reads the capture twice, which standard input cannot: give a file, or --framing NAME or --with FEED"
        )));
    }
    if let Some(path) = &args.feed {
        refuse_existing(path)?;
    }
    let stop = Stop::on_signals().map_err(Failure::run)?;
    let mut inspection = Inspection::new(framings);
    let mut refusals = args.malformed.zip(forced).map(|(most, framing)| Refusals::by(framing, most));
    let first = pass(&args.captures, &flows, &stop, |stamp, key, tags, payload| {
        inspection.on_datagram(stamp, key, tags, payload);
        if let Some(refusals) = &mut refusals {
            refusals.on_datagram(stamp, key, payload);
        }
    })?;
    let findings = inspection.finish();
    if let (Some(most), None) = (args.malformed, forced) {
        let mut second = Refusals::by_flow(framings_of(&findings), most);
        pass(&args.captures, &flows, &stop, |stamp, key, _, payload| second.on_datagram(stamp, key, payload))?;
        refusals = Some(second);
    }
    let stem = args.captures.first().map_or("feed".to_owned(), |path| files::stem(path));
    let plans = plans(&findings, &files::for_plans(&first.files, &first.interfaces), &stem);
    let Pass { files, interfaces, not_asked, failed } = first;
    let inspected = Inspected { files, interfaces, findings, plans, refusals, not_asked };
    let report = if args.json { json::report(&inspected)? } else { text::report(&inspected, args.feed.is_none()) };
    print(&report).map_err(Failure::run)?;
    for warning in inspected.files.iter().flat_map(|file| &file.warnings) {
        say(warning);
    }
    if stop.requested() {
        say("stopped: the report is of what was read until then");
    }
    if let Some(path) = &args.feed {
        write_feeds(path, &inspected.plans)?;
    }
    match failed {
        Some(error) => Err(capture_failure(error)),
        None if stop.requested() => Ok(ExitCode::from(130)),
        None => Ok(ExitCode::SUCCESS),
    }
}

/// The framings to try, and the groups to look at (all, where it is empty).
fn what_to_try(args: &Args) -> Result<(Vec<AnyFraming>, Vec<SocketAddrV4>), Failure> {
    if let Some(path) = &args.with {
        let (feed, framing) = feed::load(path)?;
        let mut groups: Vec<SocketAddrV4> = feed.lines.into_iter().flat_map(|line| line.groups).collect();
        groups.sort();
        groups.dedup();
        return Ok((vec![framing], groups));
    }
    let framings = match &args.framing {
        None => Inspection::all_framings(),
        Some(name) => match AnyFraming::from_name(name) {
            Some(framing) => vec![framing],
            None => {
                let near =
                    nearest(name, AnyFraming::NAMES).map_or(String::new(), |near| format!("; did you mean {near}?"));
                let all = AnyFraming::NAMES.join(", ");
                return Err(Failure::usage(anyhow!("--framing: {name:?} is no framing{near} (there are: {all})")));
            }
        },
    };
    Ok((framings, args.flow.clone()))
}

/// What one reading of the files left.
struct Pass {
    files: Vec<FileFacts>,
    interfaces: Vec<InterfaceSeen>,
    not_asked: u64,
    /// Why a file could not be read to its end; what stands before is whole.
    failed: Option<CaptureError>,
}

/// Reads the files once.
fn pass(
    paths: &[PathBuf],
    flows: &[SocketAddrV4],
    stop: &Stop,
    mut take: impl FnMut(twinline_core::time::Nanos, FlowKey, &twinline_analysis::inspect::packets::Tags, &[u8]),
) -> Result<Pass, Failure> {
    let mut files = Files::open(paths).map_err(capture_failure)?;
    let bar = progress(files.size());
    let (mut count, mut not_asked, mut failed) = (0u64, 0, None);
    loop {
        let item = match files.next() {
            Ok(Next::Item(item)) => item,
            Ok(Next::NotYet) => {
                if let Some(bar) = &bar {
                    bar.set_position(files.position());
                }
                if stop.requested() {
                    break;
                }
                continue;
            }
            Ok(Next::End) => break,
            Err(error) => {
                failed = Some(error);
                break;
            }
        };
        let record = item.record;
        if flows.is_empty() || flows.contains(&record.destination) {
            let key =
                FlowKey { destination: record.destination, interface: item.interface, source: *record.source.ip() };
            take(record.stamp, key, &item.tags, record.payload);
        } else {
            not_asked += 1;
        }
        count += 1;
        if count.is_multiple_of(LOOK_EVERY) {
            if let Some(bar) = &bar {
                bar.set_position(files.position());
            }
            if stop.requested() {
                break;
            }
        }
    }
    if let Some(bar) = &bar {
        bar.finish_and_clear();
    }
    let (files, interfaces) = files.finish();
    Ok(Pass { files, interfaces, not_asked, failed })
}

/// The framing of each flow: the one that fits best, or comes nearest.
fn framings_of(findings: &Findings) -> HashMap<FlowKey, AnyFraming> {
    let framing = |flow: &twinline_analysis::inspect::FlowFindings| {
        flow.best().or(flow.nearest_miss()).map(|t| (flow.key, t.framing))
    };
    findings.flows.iter().filter_map(framing).collect()
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
            "--feed {}: it is there already; remove it, or give another name",
            path.display()
        )));
    }
    Ok(())
}

fn write_feeds(path: &Path, plans: &[Plan]) -> Result<(), Failure> {
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
