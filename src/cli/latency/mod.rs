//! `twinline latency`: runs the measurements that the arguments ask for, shows their progress, and prints the report.

use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, anyhow};
use indicatif::{ProgressBar, ProgressStyle};

use super::{Failure, Outcome, feed};
use twinline_analysis::chart::span_text;
use twinline_analysis::latency::{
    Interval, LatencyReport, MESSAGE_LEN_MAX, MESSAGE_LEN_MIN, MeasureError, MeasuredMachine, OpenLoopMeasured,
    OpenLoopSettings, PassResults, PassSpec, RatioResults, Ratios, TwoCoreMeasured, TwoCoreSettings, histogram,
    measure_open_loop, measure_two_core,
};
use twinline_core::Nanos;
use twinline_core::frame::Session;
use twinline_core::framing::{AnyFraming, Framing, WithFraming};
use twinline_node::config::{Feed, Method};
use twinline_node::fault::{Delay, Share};
use twinline_node::os::{self, Clock, Finding, PinError, ReceiveOptions, Severity, Stop};
use twinline_node::publisher::{PACK_MAX, PerLine, RateSpec, parse_span};
use twinline_node::source::{
    AnyLive, CountedSource, LiveError, LiveWatch, MethodChoice, Source, WatchFacts, WithSource,
};

mod files;
mod setup;

use files::Folder;
use setup::{Layout, Setup};

const EXAMPLES: &str = "\
Every message carries the time at which it was due, and its latency counts from that time (open loop). The ratio to the bare
receive loop is measured one message at a time, in rotating blocks. Trust the ratio if absolute times drift.

Isolated cores (isolcpus) must be given explicitly: taskset -c 2-4 twinline latency FEED.

Examples:
  twinline latency feeds/loopback.toml
  twinline latency feeds/loopback.toml --layout two-core --seconds 30 --out results
  twinline latency feeds/loopback.toml --rates 10k,100k,500k --size 64,512 --seconds 10 --out results --json
  twinline latency feeds/loopback.toml --rate 50k --burst 16 --loss 1% --delay B=20us
  twinline latency feeds/loopback.toml --receive socket,packet --layout two-core
  twinline latency nic-in.toml --to nic-out.toml --publish-netns lab --stamps --cores 2,3,4";

/// Measure latency on this machine: percentiles, HdrHistogram logs, a picture
///
/// Publisher, arbiter and client run in this process, by one clock, over loopback or out of one interface and into another.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// The feed file: where the lines are received, and also where they are sent, unless --to says otherwise
    feed: PathBuf,
    /// Send each line where this feed file has it; its lines must have the same names
    #[arg(long, value_name = "FEED")]
    to: Option<PathBuf>,
    /// Publish from this network namespace (`ip netns`); needs CAP_SYS_ADMIN
    #[arg(long, value_name = "NAME")]
    publish_netns: Option<String>,
    /// Messages per second, one pass each (10k, 1.5M)
    #[arg(long, visible_alias = "rate", value_name = "RATE", value_delimiter = ',', default_value = "10k,50k", value_parser = rate)]
    rates: Vec<u64>,
    /// How many messages are due at once, at the same average rate
    #[arg(long, value_name = "N", default_value = "1", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    burst: u32,
    /// Bytes per message, one pass each (the ratio is measured with the first). 16 of them hold the times at which the message was due
    /// and was sent
    #[arg(long, value_name = "BYTES", value_delimiter = ',', default_value = "64", value_parser = size)]
    size: Vec<usize>,
    /// Messages per datagram: the first ones wait for the last, 1 ms at most
    #[arg(long, value_name = "N", default_value = "1", value_parser = clap::value_parser!(u32).range(1..=i64::from(PACK_MAX)))]
    pack: u32,
    /// How long to send messages before those that are timed
    #[arg(long, value_name = "TIME", default_value = "500ms", value_parser = parse_span)]
    warmup: Nanos,
    /// How long to time each pass
    #[arg(long, value_name = "N", default_value = "5", value_parser = super::publish::seconds)]
    seconds: Nanos,
    /// Share of datagrams lost at random, so that messages wait for the other line: 1%
    #[arg(long, value_name = "[LINE=]SHARE")]
    loss: Option<PerLine<Share>>,
    /// How much later a line sends: 20us, or random within 20us..50us
    #[arg(long, value_name = "[LINE=]TIME")]
    delay: Option<PerLine<Delay>>,
    /// The seed of losses and delays
    #[arg(long, value_name = "N", default_value = "1")]
    seed: u64,
    /// How to receive; each method gets its own ratio and passes: socket, packet, xdp, or auto (the fastest that works) [default: the feed
    /// file's]
    #[arg(long, value_name = "METHOD", value_delimiter = ',', value_parser = super::live::method)]
    receive: Vec<Method>,
    /// Measure each pass a second time with kernel or NIC receive stamps. With sockets they cost a recvmmsg instead of a recvfrom
    #[arg(long)]
    stamps: bool,
    /// Which thread runs on which core, and what is measured [default: the ratio, then open loop on the cores that there are]
    #[arg(long, value_enum)]
    layout: Option<Layout>,
    /// The cores of publisher, arbiter and client, in this order [default: the first ones that this process may use]
    #[arg(long, value_name = "N", value_delimiter = ',')]
    cores: Option<Vec<usize>>,
    /// Messages per block when the ratio is measured
    #[arg(long, value_name = "N", default_value = "400", value_parser = clap::value_parser!(u32).range(10..=100_000))]
    block: u32,
    /// Write the report, histogram logs, percentile files and the page into this directory, which is created
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Print the report as one JSON object on standard output, and everything else on standard error
    #[arg(long)]
    json: bool,
}

fn rate(text: &str) -> Result<u64, String> {
    match text.parse() {
        Ok(RateSpec::PerSecond(rate)) => Ok((rate * 1e6).round() as u64),
        _ => Err("expected messages per second, up to 100M; for example 100k".into()),
    }
}

fn size(text: &str) -> Result<usize, String> {
    let size = text.parse().ok().filter(|size| (MESSAGE_LEN_MIN..=MESSAGE_LEN_MAX).contains(size));
    size.ok_or_else(|| {
        format!("expected {MESSAGE_LEN_MIN} to {MESSAGE_LEN_MAX} bytes (the first 16 are two times); for example 64")
    })
}

pub(super) fn run(args: Args) -> Outcome {
    let (feed, framing) = feed::load(&args.feed)?;
    let setup = Setup::new(&args, feed, framing)?;
    let measuring = Measuring { args, setup, framing };
    // any other framing is looked up per datagram, which adds a few nanoseconds to thousands
    match framing {
        AnyFraming::MoldUdp64(framing) => measuring.with(framing),
        framing => measuring.with(framing),
    }
}

/// What measuring needs once the framing is a type.
struct Measuring {
    args: Args,
    setup: Setup,
    framing: AnyFraming,
}

impl WithFraming for Measuring {
    type Output = Outcome;

    fn with<F: Framing>(self, framing: F) -> Outcome {
        let Measuring { args, setup, .. } = &self;
        let folder = args.out.as_deref().map(Folder::make).transpose()?;
        let stop = Stop::on_signals().context("cannot install signal handlers")?;
        let clock = Clock::start();
        let mut findings = os::examine_machine(&setup.cores(), &setup.interfaces(), setup.buffer());
        if cfg!(debug_assertions) {
            let what = "this program was built without optimisation: every figure is many times too high".to_owned();
            let advice = "build it with `cargo build --release`".to_owned();
            findings.insert(0, Finding { what, advice, severity: Severity::Spoils });
        }
        let machine =
            MeasuredMachine { line: os::describe_machine(), findings, clock_reading_ns: clock.reading_cost().0 };
        let mut text_out = TextOut(args.json);
        let mut report = LatencyReport::new(machine, &setup.feed, &setup.to, setup.namespace.clone(), self.framing);
        text_out.tell(&report.machine_text())?;
        text_out.tell(&setup.beginning(self.framing))?;
        let bench = Bench { setup, framing, clock, stop: &stop, folder: folder.as_ref() };
        let mut session = 0;
        if setup.measures_ratio() {
            for &method in &setup.methods {
                if stop.requested() {
                    break;
                }
                session += 1;
                let ratio = bench.ratio(method, args.block, args.size[0], session_of(framing, session))?;
                text_out.tell(&ratio.text())?;
                report.ratios.push(ratio);
            }
        }
        for pass in setup.passes() {
            if stop.requested() {
                break;
            }
            session += 1;
            let pass = bench.pass(&pass, session_of(framing, session))?;
            text_out.tell(&pass.text())?;
            report.passes.push(pass);
        }
        report.stopped = stop.requested();
        text_out.tell(&report.ending_text())?;
        let object = report.json();
        if let Some(folder) = &folder {
            folder.finish(&report, &object)?;
            text_out.tell(&format!(
                "written to {}: latency.html, latency.json, .hlog and .hgrm files\n",
                folder.path().display()
            ))?;
        }
        if args.json {
            writeln!(io::stdout(), "{object}").context("cannot write the report to standard output")?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// Each pass has its own session, so that datagrams that another pass left on the wire do not count for it.
fn session_of(framing: impl Framing, n: u32) -> Session {
    let numbered = || framing.session(&(1 + n % 200).to_string());
    framing.session(&format!("LAT{n:07}")).or_else(numbered).unwrap_or(Session::NONE)
}

/// Where text goes: standard output, or standard error if `--json` takes standard output.
struct TextOut(bool);

impl TextOut {
    fn tell(&mut self, text: &str) -> Result<(), Failure> {
        if self.0 {
            eprint!("{text}");
            return Ok(());
        }
        let mut out = io::stdout().lock();
        out.write_all(text.as_bytes())
            .and_then(|()| out.flush())
            .context("cannot write the report")
            .map_err(Failure::run)
    }
}

/// What all measurements share.
struct Bench<'a, F> {
    setup: &'a Setup,
    framing: F,
    clock: Clock,
    stop: &'a Stop,
    folder: Option<&'a Folder>,
}

impl<F: Framing> Bench<'_, F> {
    /// Opens the lines. Each measurement opens them anew, so that it does not hear what was sent before it.
    fn listen(&self, method: Method, kernel_stamps: bool) -> Result<(AnyLive, LiveWatch, MethodChoice), Failure> {
        let feed = &self.setup.feed;
        let options = ReceiveOptions::default()
            .with_buffer_bytes(self.setup.buffer())
            .with_kernel_stamps(kernel_stamps)
            .with_senders(false);
        AnyLive::open(feed, method, &options).map_err(|error| match error {
            LiveError::NoInterface { .. } => Failure::usage(error),
            error => Failure::run(error),
        })
    }

    fn ratio(&self, method: Method, block: u32, size: usize, session: Session) -> Result<RatioResults, Failure> {
        let (live, watch, taken) = self.listen(method, false)?;
        let (measured, watched) = live.with(RatioRun { bench: self, watch, taken: &taken, block, size, session })?;
        let ratio = RatioResults::new(measured, taken.method, self.setup.two_cores(), size, block, &watched);
        if let Some(folder) = self.folder {
            folder.ratio(&ratio)?;
        }
        Ok(ratio)
    }

    fn pass(&self, asked: &PassSpec, session: Session) -> Result<PassResults, Failure> {
        let setup = self.setup;
        let (live, watch, taken) = self.listen(asked.method, asked.stamps)?;
        let asked = PassSpec { method: taken.method, ..*asked };
        let label = asked.label();
        let (measured, watched) = live.with(OpenLoopPass { bench: self, watch, asked, label: &label, session })?;
        let pass = PassResults::new(asked, measured, &setup.feed, (setup.arrangement, setup.pack), &watched);
        if pass.sent_nothing() {
            let why = pass.last_error().unwrap_or_default();
            return Err(Failure::run(anyhow!(
                "no datagram could be sent; does the interface exist, and is it up? {why}"
            )));
        }
        if pass.delivered == 0 && !self.stop.requested() {
            let (to, feed) = (&setup.to.name, &setup.feed.name);
            return Err(Failure::run(anyhow!(
                "no message came through: check that what is sent on {to} arrives on {feed}: interfaces, groups, sources, \
                 the namespace, a firewall"
            )));
        }
        if let Some(folder) = self.folder {
            folder.pass(&pass)?;
        }
        Ok(pass)
    }
}

/// The ratio, once the receive method is a type.
struct RatioRun<'a, F> {
    bench: &'a Bench<'a, F>,
    watch: LiveWatch,
    taken: &'a MethodChoice,
    block: u32,
    size: usize,
    session: Session,
}

impl<F: Framing> WithSource for RatioRun<'_, F> {
    type Output = Result<(TwoCoreMeasured, Vec<WatchFacts>), Failure>;

    fn with<S: Source + CountedSource + Send>(mut self, mut source: S) -> Self::Output {
        let Bench { setup, framing, clock, stop, .. } = *self.bench;
        let (publisher, arbiter, spin) = setup.two_cores();
        let mut settings = TwoCoreSettings::new(&setup.feed, spin);
        settings.to = &setup.to;
        settings.namespace = setup.namespace.as_deref();
        (settings.publisher, settings.arbiter) = (publisher, arbiter);
        (settings.size, settings.block, settings.span) = (self.size, self.block, setup.span);
        let progress = Progress::new(&format!("ratio, {}", self.taken.method.name()), setup.span, clock);
        let tell = |rounds: &[_]| {
            progress.show(|| match Ratios::of(rounds, true) {
                None => format!("{} rounds, none with near cores yet", rounds.len()),
                Some(Ratios { p50, p99 }) => {
                    format!("{} rounds, p50 {:.3}, p99 {:.3}", rounds.len(), p50.arbiter.median, p99.arbiter.median)
                }
            });
        };
        let measured = measure_two_core(framing, &settings, self.session, &mut source, (clock, stop), tell);
        progress.finish();
        let watched = watched(&mut self.watch)?;
        Ok((measured.map_err(failure)?, watched))
    }
}

/// An open-loop pass, once the receive method is a type.
struct OpenLoopPass<'a, F> {
    bench: &'a Bench<'a, F>,
    watch: LiveWatch,
    asked: PassSpec,
    label: &'a str,
    session: Session,
}

impl<F: Framing> WithSource for OpenLoopPass<'_, F> {
    type Output = Result<(OpenLoopMeasured, Vec<WatchFacts>), Failure>;

    fn with<S: Source + CountedSource + Send>(mut self, mut source: S) -> Self::Output {
        let Bench { setup, framing, clock, stop, folder } = *self.bench;
        let mut settings = OpenLoopSettings::new(&setup.feed, setup.arrangement, &setup.lines);
        settings.to = &setup.to;
        settings.namespace = setup.namespace.as_deref();
        (settings.warm_up, settings.span, settings.seed) = (setup.warm_up, setup.span, setup.seed);
        settings.kernel_stamps = self.asked.stamps;
        let progress = Progress::new(self.label, setup.warm_up + setup.span, clock);
        let mut log = folder.map(|folder| folder.log(self.label, clock.now())).transpose()?;
        let (mut recent, mut trouble) = (String::new(), Ok(()));
        let tell = |interval: Option<&Interval>| {
            let Some(interval) = interval else { return progress.show(|| recent.clone()) };
            let mut all = histogram();
            interval.causes.iter().for_each(|cause| all += cause);
            let at = |q| span_text(all.value_at_quantile(q) as f64);
            recent = format!("p50 {}, p99 {}, max {}", at(0.5), at(0.99), at(1.0));
            if let (Some(log), true) = (&mut log, trouble.is_ok()) {
                trouble = log.write(interval);
            }
        };
        let load = (self.asked.load, self.session);
        let measured = measure_open_loop(framing, &settings, load, &mut source, (clock, stop), tell);
        progress.finish();
        let watched = watched(&mut self.watch)?;
        let measured = measured.map_err(failure)?;
        trouble?;
        log.map_or(Ok(()), files::Log::finish)?;
        Ok((measured, watched))
    }
}

/// What the kernel dropped at the sockets.
fn watched(watch: &mut LiveWatch) -> Result<Vec<WatchFacts>, Failure> {
    watch.check().context("cannot read the sockets' drop counters")?;
    Ok(watch.facts())
}

fn failure(error: MeasureError) -> Failure {
    match error {
        MeasureError::Pin(PinError::NoSuchCore { .. }) => Failure::usage(anyhow!("--cores: {error}")),
        MeasureError::Namespace(_) => Failure::run(anyhow!("--publish-netns: {error}")),
        MeasureError::Wire(_) => {
            Failure::run(anyhow!("{error}; --to FEED sends the lines where another feed file has them"))
        }
        error => Failure::run(error),
    }
}

/// How far a measurement is. Shown on a terminal only.
struct Progress {
    bar: Option<ProgressBar>,
    clock: Clock,
    start: Nanos,
}

impl Progress {
    fn new(label: &str, span: Nanos, clock: Clock) -> Progress {
        let bar = io::stderr().is_terminal().then(|| {
            let style = ProgressStyle::with_template("{prefix:<22} {bar:30} {msg}");
            let style = style.unwrap_or_else(|_| ProgressStyle::default_bar());
            ProgressBar::new(span.0.max(1)).with_style(style).with_prefix(label.to_owned())
        });
        Progress { bar, clock, start: clock.now() }
    }

    fn show(&self, message: impl FnOnce() -> String) {
        let Some(bar) = &self.bar else { return };
        // the bar is drawn less often than this is called
        let elapsed = Duration::from(self.clock.now() - self.start);
        if elapsed.as_millis() as u64 / 100 != bar.position() / 100_000_000 {
            bar.set_message(message());
            bar.set_position(elapsed.as_nanos() as u64);
        }
    }

    fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// The feed to send on: that of `--to`, or the one that is received.
fn sent_on(feed: &Feed, to: Option<&Path>) -> Result<Feed, Failure> {
    let Some(path) = to else { return Ok(feed.clone()) };
    let (to, _) = feed::load(path)?;
    let routed = twinline_node::replay::route(feed, to).with_context(|| format!("--to {}", path.display()));
    routed.map_err(Failure::usage)
}
