//! `twinline publish`: checks the arguments against the feed, turns them into a plan, and sends it.

use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, anyhow};
use indicatif::{HumanCount, ProgressBar};

use super::{Failure, Outcome, say};
use twinline_core::Nanos;
use twinline_core::frame::Session;
use twinline_core::framing::{AnyFraming, Framing, Proof, WithFraming};
use twinline_node::capture::{CaptureInput, Captures};
use twinline_node::config::Feed;
use twinline_node::fault::{BurstLoss, Delay, Faults, Outage, Reorder, Share};
use twinline_node::os::{Clock, Stop};
use twinline_node::publisher::{
    BinaryFile, CapturedMessages, LinePlan, LiveTextLines, MADE_UP_LEN_MAX, MADE_UP_LEN_MIN, MadeUp, MessageSource,
    PackSpec, PerLine, Plan, PlanConfig, RateSpec, SendingError, SpecError, parse_span, send,
};
use twinline_node::wire::UdpWire;

mod report;

use report::{PublishSummary, summarise, warn};

const EXAMPLES: &str = "\
A value applies to every line (--loss 1%) or to the lines that it names (--loss A=1%,B=0.5%).

Examples:
  twinline publish feeds/loopback.toml --made-up 1M --rate 100k --burst 16 --pack A=1..10,B=1..4
  twinline publish feeds/loopback.toml --itch day.itch.gz --rate max --loss 1% --reorder B=0.5%x3 --json
  twinline publish feeds/loopback.toml --seconds 10 --delay B=200us..400us --outage A=2s..4s
  twinline publish feeds/loopback.toml --capture A=a.pcap B=b.pcap.gz --capture-feed feeds/nasdaq-totalview.toml
  tail -f events.txt | twinline publish feeds/loopback.toml --stdin";

/// Send messages on every line of a feed
///
/// Every line carries the same messages, each with its own packing and faults. The same seed sends the same datagrams.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// The feed file
    feed: PathBuf,
    /// Print the final report as one JSON object on standard output
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    messages: Box<MessageArgs>,
    #[command(flatten)]
    schedule: Box<ScheduleArgs>,
    #[command(flatten)]
    faults: Box<FaultArgs>,
}

/// What is sent.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Messages")]
struct MessageArgs {
    /// Send the messages of a BinaryFILE (each after its 2-byte length), plain or gzip
    #[arg(long, value_name = "FILE", group = "from")]
    itch: Option<PathBuf>,
    /// Send the messages of captures of this feed, arbitrated: each once, in order. Several are merged by time. LINE=FILE assigns a
    /// whole file to a line
    #[arg(long, value_name = "FILE", group = "from", num_args = 1..)]
    capture: Vec<PathBuf>,
    /// The feed file to read the captures with, if they are of another feed
    #[arg(long, value_name = "FEED", requires = "capture")]
    capture_feed: Option<PathBuf>,
    /// Send messages from standard input, one per line of text
    #[arg(long, group = "from")]
    stdin: bool,
    /// Send N made-up messages, in the sizes of ITCH 5.0, each with a check value [default: no end]
    #[arg(long, value_name = "N", group = "from", value_parser = count)]
    made_up: Option<u64>,
    /// Bytes per made-up message [default: mixed]
    #[arg(long, value_name = "BYTES", value_parser = message_size, conflicts_with_all = ["itch", "capture", "stdin"])]
    message_size: Option<usize>,
    /// The session's name, or its number if the framing numbers its sessions [default: TWIN000001, or 1]
    #[arg(long, value_name = "NAME", value_parser = session)]
    session: Option<String>,
    /// The channel within the group, if the framing names one (a Cboe unit, an IEX channel) [default: the first of `units`, else 1; 65 (A) for LSE, 84 (T) for CTA]
    #[arg(long, value_name = "N")]
    unit: Option<u32>,
    /// The sequence number of the first message
    #[arg(long, value_name = "N", default_value = "1", value_parser = clap::value_parser!(u64).range(1..))]
    first: u64,
    /// Which group of every line's list to send to, counted from 0; or 'all', in turns
    #[arg(long, value_name = "N", default_value = "0", value_parser = group)]
    group: Group,
}

/// When, and how many at once.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Schedule")]
struct ScheduleArgs {
    /// Messages per second (10k, 1.5M), 'max', or 'recorded' [default: 10k; max for --stdin; recorded for --capture]
    #[arg(long)]
    rate: Option<RateSpec>,
    /// How many messages are due at once, at the same average rate
    #[arg(long, value_name = "N", default_value = "1", value_parser = clap::value_parser!(u32).range(1..))]
    burst: u32,
    /// Stop after N seconds
    #[arg(long, value_name = "N", value_parser = seconds)]
    seconds: Option<Nanos>,
    /// Messages per datagram: a number, or random within a range (A=1..10,B=1..4) [default: 1]
    #[arg(long, value_name = "[LINE=]N")]
    pack: Option<PerLine<PackSpec>>,
    /// How long a group is idle before a heartbeat is sent [default: the framing's interval]
    #[arg(long, value_name = "TIME", value_parser = parse_span)]
    heartbeat: Option<Nanos>,
    /// How long to go on with heartbeats after the last message
    #[arg(long, value_name = "TIME", default_value = "0s", value_parser = parse_span)]
    linger: Nanos,
    /// Do not send an end of session
    #[arg(long)]
    no_end: bool,
}

/// What the lines do to the datagrams.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Faults")]
struct FaultArgs {
    /// The seed of everything random
    #[arg(long, value_name = "N", default_value = "1")]
    seed: u64,
    /// Share of datagrams lost, each independently: 1%
    #[arg(long, value_name = "[LINE=]SHARE")]
    loss: Option<PerLine<Share>>,
    /// Datagrams lost in bursts: the share of datagrams that begin one, and its mean length: 0.1%x8
    #[arg(long, value_name = "[LINE=]SHARExN")]
    burst_loss: Option<PerLine<BurstLoss>>,
    /// Share of datagrams sent twice: 1%
    #[arg(long, value_name = "[LINE=]SHARE")]
    duplicate: Option<PerLine<Share>>,
    /// Share of datagrams sent after the next N: 1%x3
    #[arg(long, value_name = "[LINE=]SHARExN")]
    reorder: Option<PerLine<Reorder>>,
    /// How much later a line sends: 200us, or random within 200us..400us
    #[arg(long, value_name = "[LINE=]TIME")]
    delay: Option<PerLine<Delay>>,
    /// When a line sends nothing: 2s..4s. Can be given several times per line
    #[arg(long, value_name = "[LINE=]FROM..TO")]
    outage: Option<PerLine<Outage>>,
    /// Share of datagrams with one byte changed: 0.01%
    #[arg(long, value_name = "[LINE=]SHARE")]
    corrupt: Option<PerLine<Share>>,
}

/// Which groups messages go to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Group {
    All,
    One(u16),
}

fn count(text: &str) -> Result<u64, String> {
    let (number, times) = match text.strip_suffix(['k', 'K']) {
        Some(number) => (number, 1_000),
        None => text.strip_suffix('M').map_or((text, 1), |number| (number, 1_000_000)),
    };
    let count: Option<u64> = number.parse().ok().and_then(|n: u64| n.checked_mul(times));
    count.ok_or_else(|| "expected a whole number; for example 500000, 500k or 1M".into())
}

fn message_size(text: &str) -> Result<usize, String> {
    let size = text.parse().ok().filter(|size| (MADE_UP_LEN_MIN..=MADE_UP_LEN_MAX).contains(size));
    size.ok_or_else(|| format!("expected {MADE_UP_LEN_MIN} to {MADE_UP_LEN_MAX} bytes; for example 36"))
}

fn session(text: &str) -> Result<String, String> {
    if (1..=20).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic()) {
        Ok(text.to_owned())
    } else {
        Err("expected 1 to 20 printable ASCII characters without spaces; for example TWIN000001".into())
    }
}

fn group(text: &str) -> Result<Group, String> {
    match text {
        "all" => Ok(Group::All),
        _ => text
            .parse()
            .map(Group::One)
            .map_err(|_| "expected the place of a group, counted from 0, or 'all'; for example 0".into()),
    }
}

/// Parses seconds without a unit.
pub(super) fn seconds(text: &str) -> Result<Nanos, String> {
    let plain = text.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    let span = parse_span(&format!("{text}s")).ok().filter(|&span| plain && span > Nanos::ZERO);
    span.ok_or_else(|| "expected seconds above 0; for example 10 or 0.5".into())
}

pub(super) fn run(args: Args) -> Outcome {
    let (feed, framing) = super::feed::load(&args.feed)?;
    let framing = written(&args, framing)?;
    let config = configure(&args, &feed, framing)?;
    let source = source(&args, &feed, framing)?;
    Publishing { args, feed, config, source }.with(framing)
}

fn no_such_group(group: u16, feed: &Feed, groups: u16) -> Failure {
    let plural = if groups == 1 { "" } else { "s" };
    Failure::usage(anyhow!("--group {group}: each line of {} has {groups} group{plural}, counted from 0", feed.name))
}

/// The messages of captures, each with its recorded offset.
fn captured(args: &Args, feed: &Feed, framing: AnyFraming) -> Result<Box<dyn MessageSource>, Failure> {
    let other = args.messages.capture_feed.as_deref().map(super::feed::load).transpose()?;
    let (feed, framing) = other.as_ref().map_or((feed, framing), |(feed, framing)| (feed, *framing));
    let groups = feed.lines.first().map_or(0, |line| line.groups.len()) as u16;
    let group = match args.messages.group {
        _ if groups == 1 => 0,
        Group::One(group) if group < groups => group,
        Group::One(group) => {
            return Err(no_such_group(group, feed, groups));
        }
        Group::All => {
            return Err(Failure::usage(anyhow!(
                "--group all: the lines of {} have {groups} groups, but a capture is published one channel at a time; name its \
                 group: --group 0 to --group {}",
                feed.name,
                groups - 1
            )));
        }
    };
    if groups > 1 {
        say(format_args!("publishing only the messages of group {group}, of the {groups} groups in {}", feed.name));
    }
    let inputs: Vec<_> = args.messages.capture.iter().map(|path| CaptureInput::parse(path, feed)).collect();
    let captures = Captures::open(&inputs, feed).map_err(super::arbitrate::capture_failure)?;
    Ok(Capturing { feed, captures, group }.with(framing))
}

/// What a source that reads captures needs once their framing is a type.
struct Capturing<'a> {
    feed: &'a Feed,
    captures: Captures,
    group: u16,
}

impl WithFraming for Capturing<'_> {
    type Output = Box<dyn MessageSource>;

    fn with<F: Framing>(self, framing: F) -> Box<dyn MessageSource> {
        Box::new(CapturedMessages::new(framing, self.feed, self.captures, self.group))
    }
}

fn source(args: &Args, feed: &Feed, framing: AnyFraming) -> Result<Box<dyn MessageSource>, Failure> {
    if let Some(path) = &args.messages.itch {
        let file = BinaryFile::open(path).with_context(|| format!("--itch {}: cannot be read", path.display()));
        return Ok(Box::new(file.map_err(Failure::usage)?));
    }
    if !args.messages.capture.is_empty() {
        return captured(args, feed, framing);
    }
    if args.messages.stdin {
        let input = io::BufReader::new(io::stdin());
        return Ok(Box::new(LiveTextLines::spawn(input).context("cannot read standard input").map_err(Failure::run)?));
    }
    if args.messages.made_up.is_none() {
        let until = args.schedule.seconds.map_or("until Ctrl-C".to_owned(), |span| format!("for {span}"));
        say(format_args!(
            "no source given: sending made-up messages {until} (or give --made-up N, --itch, --capture or --stdin)"
        ));
    }
    Ok(Box::new(MadeUp::new(args.messages.made_up, args.messages.message_size, args.faults.seed)))
}

/// The session that was asked for, or a usual one for the framing.
fn session_of(typed: Option<&str>, framing: AnyFraming) -> Result<Session, Failure> {
    let Some(typed) = typed else {
        return Ok(framing.session("TWIN000001").or_else(|| framing.session("1")).unwrap_or(Session::NONE));
    };
    framing.session(typed).ok_or_else(|| {
        let name = framing.name();
        let expected = match framing.session("TWIN000001") {
            Some(_) => "a shorter name; for example TWIN000001",
            None => "a number that fits its header; for example 1",
        };
        Failure::usage(anyhow!("--session {typed}: not a session of {name}; expected {expected}"))
    })
}

/// The framing to write, with the unit that was asked for.
fn written(args: &Args, framing: AnyFraming) -> Result<AnyFraming, Failure> {
    let name = framing.name();
    if framing.proof() == Proof::Dissector {
        return Err(Failure::usage(anyhow!(
            "{name} can be read but not published: all that is known of it comes from captured packets and a dissector"
        )));
    }
    match args.messages.unit {
        Some(_) if !framing.rules().keyed => {
            let error = anyhow!("--unit: {name} names no channels within a group; leave it out, or see --group");
            Err(Failure::usage(error))
        }
        Some(unit) if key_read(framing, unit) != Some(unit) => {
            Err(Failure::usage(anyhow!("--unit {unit}: does not fit the header of {name}")))
        }
        Some(unit) => Ok(framing.with_key(unit)),
        None => Ok(framing),
    }
}

/// The key that a reader sees if this one is written.
fn key_read(framing: AnyFraming, written: u32) -> Option<u32> {
    let session = framing.session("1").unwrap_or(Session::NONE);
    let mut datagram = Vec::new();
    framing.with_key(written).encode_heartbeat(session, 1, &mut datagram);
    framing.frame(&datagram, &mut 0)?.ok()?.key
}

/// The plan's settings: the arguments, checked against the feed.
fn configure(args: &Args, feed: &Feed, framing: AnyFraming) -> Result<PlanConfig, Failure> {
    let names: Vec<&str> = feed.lines.iter().map(|line| line.name.as_str()).collect();
    let groups = feed.lines.first().map_or(0, |line| line.groups.len()) as u16;
    let groups = match args.messages.group {
        Group::All => 0..groups,
        Group::One(group) if group < groups => group..group + 1,
        Group::One(group) => {
            return Err(no_such_group(group, feed, groups));
        }
    };
    let rate = args.schedule.rate.unwrap_or(match (args.messages.stdin, !args.messages.capture.is_empty()) {
        (true, _) => RateSpec::Max,
        (_, true) => RateSpec::Recorded,
        _ => RateSpec::PerSecond(10_000.0),
    });
    if rate == RateSpec::Recorded && args.messages.capture.is_empty() {
        return Err(Failure::usage(anyhow!("--rate recorded: only messages from --capture have recorded times")));
    }
    if args.schedule.burst > 1 && !matches!(rate, RateSpec::PerSecond(_)) {
        return Err(Failure::usage(anyhow!(
            "--burst {}: bursts need a rate; for example --rate 100k",
            args.schedule.burst
        )));
    }
    if args.schedule.pack.is_some() && framing.packet_sequenced() {
        let name = framing.name();
        let error = anyhow!("--pack: {name} numbers packets, so every datagram holds one message; leave it out");
        return Err(Failure::usage(error));
    }
    let packs = one("--pack", args.schedule.pack.as_ref(), &names)?;
    let loss = one("--loss", args.faults.loss.as_ref(), &names)?;
    let burst_loss = one("--burst-loss", args.faults.burst_loss.as_ref(), &names)?;
    let duplicate = one("--duplicate", args.faults.duplicate.as_ref(), &names)?;
    let reorder = one("--reorder", args.faults.reorder.as_ref(), &names)?;
    let delay = one("--delay", args.faults.delay.as_ref(), &names)?;
    let corrupt = one("--corrupt", args.faults.corrupt.as_ref(), &names)?;
    let outages = args.faults.outage.clone().unwrap_or_default().all(&names).map_err(naming("--outage"))?;
    let line = |(line, outages): (usize, Vec<Outage>)| {
        let PackSpec { min, max } = packs[line].unwrap_or(PackSpec { min: 1, max: 1 });
        let faults = Faults {
            loss: loss[line].unwrap_or_default(),
            burst_loss: burst_loss[line],
            duplicate: duplicate[line].unwrap_or_default(),
            reorder: reorder[line],
            delay: delay[line].unwrap_or_default(),
            outages,
            corrupt: corrupt[line].unwrap_or_default(),
        };
        LinePlan { pack_min: min, pack_max: max, faults }
    };
    Ok(PlanConfig {
        session: session_of(args.messages.session.as_deref(), framing)?,
        first: args.messages.first,
        rate: rate.with_burst(args.schedule.burst),
        lines: outages.into_iter().enumerate().map(line).collect(),
        groups,
        heartbeat: args.schedule.heartbeat,
        limit: args.schedule.seconds,
        linger: args.schedule.linger,
        end_copies: if args.schedule.no_end { 0 } else { PlanConfig::default().end_copies },
        seed: args.faults.seed,
        ..PlanConfig::default()
    })
}

fn naming(argument: &'static str) -> impl Fn(SpecError) -> Failure {
    move |error| Failure::usage(anyhow!("{argument}: {error}"))
}

fn one<T: Clone>(
    argument: &'static str,
    given: Option<&PerLine<T>>,
    lines: &[&str],
) -> Result<Vec<Option<T>>, Failure> {
    given.map_or_else(|| Ok(vec![None; lines.len()]), |given| given.one(lines)).map_err(naming(argument))
}

/// What publishing needs once the framing is a type.
struct Publishing {
    args: Args,
    feed: Feed,
    config: PlanConfig,
    source: Box<dyn MessageSource>,
}

impl WithFraming for Publishing {
    type Output = Outcome;

    fn with<F: Framing>(self, framing: F) -> Outcome {
        let Publishing { args, feed, config, source } = self;
        let session = config.session;
        let mut plan = Plan::new(framing, config, source).map_err(Failure::usage)?;
        let mut wire = UdpWire::open(&feed).map_err(Failure::run)?;
        let stop = Stop::on_signals().context("cannot install signal handlers")?;
        let progress = if io::stderr().is_terminal() { ProgressBar::new_spinner() } else { ProgressBar::hidden() };
        progress.enable_steady_tick(Duration::from_millis(200));
        let mut warned = 0;
        let (report, result) = send(&mut plan, &mut wire, Clock::start(), &stop, |report| {
            warn(&progress, report, &mut warned);
            progress.set_message(format!("{} messages", HumanCount(report.messages)));
        });
        progress.finish_and_clear();
        warn(&progress, &report, &mut warned);
        if report.warnings_omitted > 0 {
            say(format_args!("and {} more warnings of this kind", report.warnings_omitted));
        }
        summarise(&feed, args.faults.seed, &report);
        if args.json {
            let object = serde_json::to_string(&PublishSummary::new(&feed, &args, session, &report))
                .context("cannot print the report")?;
            writeln!(io::stdout(), "{object}").context("cannot write to standard output")?;
        }
        match result {
            Ok(()) if report.lines.iter().all(|l| l.datagrams == 0) && report.lines.iter().any(|l| l.errors > 0) => {
                Err(Failure::run(anyhow!("no datagram could be sent; does the interface exist, and is it up?")))
            }
            Ok(()) => Ok(ExitCode::SUCCESS),
            Err(SendingError::Wire { line, group, error }) => {
                let (name, to) = (&feed.lines[line.index()].name, feed.lines[line.index()].groups[usize::from(group)]);
                Err(Failure::run(anyhow!("line {name}: cannot send to {to}: {error}")))
            }
            Err(error) => Err(Failure::run(error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use twinline_core::framing::MoldUdp64;
    use twinline_node::config::LineConfig;

    #[derive(Debug, Parser)]
    struct Harness {
        #[command(flatten)]
        args: Args,
    }

    fn parse(line: &str) -> Result<Args, String> {
        let words = ["publish", "feed.toml"].into_iter().chain(line.split_whitespace());
        Harness::try_parse_from(words).map(|harness| harness.args).map_err(|e| e.to_string())
    }

    fn feed() -> Feed {
        let line = |name| LineConfig::new(name, vec!["239.81.1.1:26400".parse().unwrap()], "127.0.0.1");
        Feed::new("test", MoldUdp64.into(), vec![line("A"), line("B")])
    }

    fn plan(line: &str) -> Result<PlanConfig, String> {
        let refused = |failure: Failure| format!("{:#}", failure.error);
        configure(&parse(line)?, &feed(), AnyFraming::MoldUdp64(twinline_core::framing::MoldUdp64)).map_err(refused)
    }

    #[test]
    fn values_go_to_the_lines_that_they_name() {
        let config = plan("--pack A=1..10,B=1..4 --loss 1% --delay B=200us..400us --outage A=2s..4s,A=6s..7s").unwrap();
        let [a, b] = &config.lines[..] else { panic!("two lines") };
        assert_eq!((a.pack_min, a.pack_max, b.pack_max), (1, 10, 4));
        assert_eq!(a.faults.loss, b.faults.loss);
        assert_eq!((a.faults.outages.len(), b.faults.outages.len()), (2, 0));
        assert_eq!((a.faults.delay.max, b.faults.delay.max), (Nanos::ZERO, Nanos::from_micros(400)));
    }

    #[test]
    fn what_is_wrong_is_named_with_an_example() {
        for (line, words) in [
            ("--loss 1", "--loss"),
            ("--loss 1", "for example 0.5%"),
            ("--loss C=1%", "--loss: the feed has no line C; its lines are A, B"),
            ("--outage C=1s..2s", "--outage: the feed has no line C"),
            ("--rate fast", "for example 100k"),
            ("--rate recorded", "--rate recorded: only"),
            ("--rate max --burst 4", "--burst 4: bursts need a rate"),
            ("--group 3", "--group 3: each line of test has 1 group, counted from 0"),
            ("--made-up many", "for example 500000"),
            ("--message-size 5", "expected 19 to 1400 bytes"),
            ("--session averylongname", "--session averylongname: not a session of moldudp64; expected a shorter name"),
            ("--seconds 0", "expected seconds above 0"),
            ("--seconds 1m", "expected seconds above 0"),
            ("--pack 0", "--pack"),
            ("--stdin --made-up 5", "cannot be used with"),
            ("--first 0", "--first"),
        ] {
            let error = plan(line).expect_err(line);
            assert!(error.contains(words), "{line}: {error}");
        }
    }

    #[test]
    fn a_packet_sequenced_framing_cannot_be_packed() {
        let error =
            configure(&parse("--pack 2").unwrap(), &feed(), AnyFraming::CmeMdp3(twinline_core::framing::CmeMdp3))
                .unwrap_err();
        assert!(error.error.to_string().starts_with("--pack: cme-mdp3 numbers packets"));
        assert_eq!(error.code, 2);
    }

    #[test]
    fn a_unit_is_of_a_framing_that_has_them_and_fits_its_header() {
        let refused = |unit: &str, framing: &str| {
            let framing = AnyFraming::from_name(framing).unwrap();
            written(&parse(unit).unwrap(), framing).map(|_| ()).map_err(|failure| failure.error.to_string())
        };
        assert_eq!(refused("--unit 255", "cboe-pitch"), Ok(()));
        assert_eq!(
            refused("--unit 256", "cboe-pitch"),
            Err("--unit 256: does not fit the header of cboe-pitch".to_owned())
        );
        assert_eq!(refused("--unit 65535", "euronext-optiq"), Ok(()));
        assert!(refused("--unit 65536", "euronext-optiq").is_err());
        assert!(refused("--unit 1", "moldudp64").unwrap_err().starts_with("--unit: moldudp64 names no channels"));
        assert!(refused("", "ice-impact").unwrap_err().contains("can be read but not published"));
    }

    #[test]
    fn counts_may_have_a_unit() {
        assert_eq!((count("12"), count("5k"), count("2M")), (Ok(12), Ok(5_000), Ok(2_000_000)));
        assert!(count("1.5k").is_err() && count("").is_err() && count("99999999999999999999").is_err());
    }
}
