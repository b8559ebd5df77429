//! `twinline report`: line quality, as one page that refers to nothing.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, anyhow};
use serde_json::json;

use super::arbitrate::{capture_failure, progress};
use super::check::print;
use super::{Failure, Outcome, feed, say};
use twinline_analysis::quality::Quality;
use twinline_core::framing::{Framing, WithFraming};
use twinline_node::capture::{CaptureError, CaptureInput, Captures};
use twinline_node::config::Feed;
use twinline_node::handler::Handler;
use twinline_node::os::signal::Stop;

mod page;
mod pictures;
mod summary;
mod tables;
mod verdict;

use summary::{Read, Summary};

/// Report the quality of the lines in capture files, as one HTML page
///
/// Which line lost what, when, and what came of it: rates, leads, bursts of loss, gaps, microbursts, silent stretches, states.
/// The arbiter is the one of `arbitrate`, and so are the captures. The page needs no network, and prints.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  twinline report feeds/cme-mdp3.toml day.pcapng
  twinline report feeds/cme-mdp3.toml A=nic0.pcap.gz B=nic1.pcap.gz -o day.html
  twinline report feeds/cme-mdp3.toml day.pcapng --json | jq '.verdict[].text'")]
pub(super) struct Args {
    /// The feed file
    feed: PathBuf,
    /// Captures, pcap or pcapng, plain or gzip; several are merged by time. LINE=FILE says which line all of a file came by;
    /// `-` is standard input
    #[arg(required = true, value_name = "CAPTURE")]
    captures: Vec<PathBuf>,
    /// Where the page goes, in place of what is there; `-` is standard output. Without it: FEED-report.html in the current
    /// directory, where there is none yet; with --json, nowhere
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Print the report as one JSON object on standard output
    #[arg(long)]
    json: bool,
}

/// How many datagrams go by between two looks at the clock face and the stop flag.
const LOOK_EVERY: u64 = 16_384;

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
    /// A file that nobody named: nothing of that name may be there.
    New(PathBuf),
}

impl Destination {
    /// What speaks against a file is told before the captures are read.
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
                "{}: there is a file of this name, and it is not overwritten unasked; say -o {0} to replace it, or name \
                 another",
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

    fn write(&self, page: &str) -> anyhow::Result<()> {
        let to_file = |path: &Path, file: io::Result<File>| {
            let written = file.and_then(|mut file| file.write_all(page.as_bytes()));
            written.with_context(|| format!("{}: the page cannot be written", path.display()))
        };
        match self {
            Destination::Nowhere => Ok(()),
            Destination::Stdout => print(page).context("standard output"),
            Destination::File(path) => to_file(path, File::create(path)),
            Destination::New(path) => to_file(path, OpenOptions::new().write(true).create_new(true).open(path)),
        }
    }
}

/// `loopback-report.html`; what cannot well stand in a file's name is left out of it.
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

/// How many messages a datagram has.
#[inline]
fn messages_in<F: Framing>(framing: F, payload: &[u8]) -> u64 {
    let (mut at, mut messages) = (0, 0);
    while let Some(Ok(frame)) = framing.frame(payload, &mut at) {
        messages += u64::from(frame.count);
    }
    messages
}

impl WithFraming for Reporting {
    type Output = Outcome;

    fn with<F: Framing>(self, framing: F) -> Outcome {
        let Reporting { args, page, feed, mut captures, stop } = self;
        let mut handler = Handler::new(framing, &feed);
        let mut quality = Quality::new(feed.lines.len(), handler.arbiter().settings().settle);
        let bar = progress(captures.size());
        let (mut count, mut last, mut failed) = (0u64, None, None);
        loop {
            let item = match captures.next() {
                Ok(Some(item)) => item,
                Ok(None) => break,
                Err(error @ (CaptureError::Read { .. } | CaptureError::Damaged { .. })) => {
                    // what stands before is whole, and is reported
                    failed = Some(error);
                    break;
                }
                Err(error) => return Err(capture_failure(error)),
            };
            last = Some(item.stamp);
            // what was due before it is told at its own time
            handler.advance(item.stamp, &mut quality);
            quality.datagram(item.stamp, item.line, item.payload.len(), messages_in(framing, item.payload));
            handler.on_datagram(item.stamp, item.line, item.group, item.payload, &mut quality);
            count += 1;
            if count.is_multiple_of(LOOK_EVERY) {
                if let Some(bar) = &bar {
                    bar.set_position(captures.position());
                }
                if stop.requested() {
                    break;
                }
            }
        }
        if let Some(bar) = &bar {
            bar.finish_and_clear();
        }
        let stopped = stop.requested();
        // cut short, the input ends where it was cut
        let end = if stopped || failed.is_some() { last } else { captures.end_stamp() };
        if let Some(end) = end {
            handler.finish(end, &mut quality);
            quality.finish(end);
        }
        let read = read(&args, &captures, handler.arbiter().no_channel(), stopped, failed.as_ref());
        read.warnings.iter().for_each(say);
        let summary = Summary::of(&feed, &handler, &quality, read);
        page.write(&page::page(&summary, &quality)).map_err(Failure::run)?;
        if args.json {
            let json = serde_json::to_string(&summary).map_err(Failure::run)?;
            print(&format!("{json}\n")).map_err(Failure::run)?;
        } else if let Destination::File(path) | Destination::New(path) = &page {
            let findings = summary.verdict.iter().map(|finding| format!("{}: {}\n", finding.about, finding.text));
            let said = findings.chain([format!("the page: {}\n", path.display())]).collect::<String>();
            print(&said).map_err(Failure::run)?;
        }
        if let Some(error) = failed {
            return Err(capture_failure(error));
        }
        Ok(if stopped { ExitCode::from(130) } else { ExitCode::SUCCESS })
    }
}

/// What was read, and what is to be known of it.
fn read(args: &Args, captures: &Captures, no_channel: u64, stopped: bool, failed: Option<&CaptureError>) -> Read {
    let ignored = captures.ignored();
    let mut warnings: Vec<String> = captures.warnings().iter().map(ToString::to_string).collect();
    if stopped {
        warnings.push("stopped: the report is of what was read until then".to_owned());
    }
    warnings.extend(failed.map(ToString::to_string));
    if captures.datagrams() == 0 {
        warnings.push(format!(
            "no datagram of this feed was in the captures: {} were for other groups, {} not UDP over IPv4; the feed file's groups \
             and ports must be those of the capture",
            ignored.other_groups, ignored.not_udp
        ));
    }
    if captures.stamps_raised() > 0 {
        warnings.push(format!(
            "{} stamps were earlier than one before, and were raised to that: leads and microbursts are off there",
            captures.stamps_raised()
        ));
    }
    let whole = captures.is_whole_recording() && !stopped && failed.is_none();
    Read {
        captures: args.captures.iter().map(|path| path.display().to_string()).collect(),
        source: json!({
            "datagrams": captures.datagrams(),
            "stamps_raised": captures.stamps_raised(),
            "dropped": captures.dropped(),
            "whole_recording": whole,
        }),
        ignored: ignored.by_reason().into_iter().chain([("no_channel", no_channel)]).collect(),
        warnings,
    }
}
