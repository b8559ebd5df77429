//! Shared by `run`, `capture` and `tail`: arguments, the feeds that they listen to, and the notices that they print.

use std::fmt::Display;
use std::path::PathBuf;

use anyhow::anyhow;

use super::{Failure, feed, say};
use twinline_core::Nanos;
use twinline_node::config::{Feed, Method};
use twinline_node::os::{self, Clock, PinError, Spin, Stop};
use twinline_node::runtime::{Joined, Runtime, RuntimeError};
use twinline_node::source::LiveError;

pub(super) mod housekeeping;
pub(super) mod tally;

/// The capacity of the rings that carry output off an arbiter's thread: half a second of the heaviest known feed.
pub(super) const RING_CAPACITY: usize = 64 << 20;

/// How to receive, on which core, and for how long.
#[derive(Debug, clap::Args)]
pub(super) struct ListenArgs {
    /// Stop after N seconds
    #[arg(long, value_name = "N", value_parser = seconds)]
    pub(super) seconds: Option<Nanos>,
    /// Pin the receiving thread to this core [default: `receive.core` in the feed file]
    #[arg(long, value_name = "N")]
    pub(super) core: Option<usize>,
    /// How to receive: socket, packet, xdp, or auto (the fastest that works) [default: `receive.method` in the feed file]
    #[arg(long, value_name = "METHOD", value_parser = method)]
    pub(super) receive: Option<Method>,
}

pub(super) fn method(text: &str) -> Result<Method, String> {
    Method::from_name(text).ok_or_else(|| format!("expected one of: {}", Method::NAMES.join(", ")))
}

fn seconds(text: &str) -> Result<Nanos, String> {
    // finite, and short enough to count in nanoseconds
    let seconds = text.parse().ok().filter(|seconds| (1e-3..1e9).contains(seconds));
    let seconds: f64 = seconds.ok_or("expected seconds above 0; for example 10 or 0.5")?;
    Ok(Nanos((seconds * 1e9) as u64))
}

/// Prints notices about one feed on stderr. If there are several feeds, each notice begins with the feed's name.
#[derive(Clone, Debug, Default)]
pub(super) struct Notifier(Option<String>);

impl Notifier {
    pub(super) fn say(&self, what: impl Display) {
        match &self.0 {
            None => say(what),
            Some(feed) => say(format_args!("{feed}: {what}")),
        }
    }
}

/// A feed whose lines are joined.
#[derive(Debug)]
pub(super) struct Listening {
    pub(super) joined: Joined,
    pub(super) notifier: Notifier,
}

/// Loads the feed files.
///
/// # Errors
/// What is wrong with one of them, or the same feed twice, as a usage failure.
pub(super) fn load(paths: &[PathBuf]) -> Result<Vec<Feed>, Failure> {
    let mut feeds: Vec<Feed> = Vec::new();
    for path in paths {
        let (feed, _) = feed::load(path)?;
        if feeds.iter().any(|before| before.name == feed.name) {
            let (path, name) = (path.display(), &feed.name);
            return Err(Failure::usage(anyhow!(
                "{path}: a feed named {name:?} was already given, and their files and reports could not be told apart: give \
                 each feed once, with a name of its own"
            )));
        }
        feeds.push(feed);
    }
    Ok(feeds)
}

/// How to listen to each feed, besides what its feed file says.
#[derive(Clone, Copy, Debug)]
pub(super) struct ListenSettings<'a> {
    pub(super) listen: &'a ListenArgs,
    /// The clock that all feeds share, so that their times can be compared.
    pub(super) clock: Clock,
    /// Whether each datagram is to say who sent it, as a capture wants to know.
    pub(super) senders: bool,
    pub(super) until_end: bool,
    pub(super) stop: &'a Stop,
}

/// Joins the lines of all feeds.
///
/// # Errors
/// A core or an interface that this machine does not have, as a usage failure; a socket that cannot be opened.
pub(super) fn listen(feeds: Vec<Feed>, settings: ListenSettings<'_>) -> Result<Vec<Listening>, Failure> {
    let ListenSettings { listen, clock, senders, until_end, stop } = settings;
    let usable = os::usable_cores();
    let cores: Vec<Option<usize>> = feeds.iter().map(|feed| listen.core.or(feed.receive.core)).collect();
    for (&core, feed) in cores.iter().zip(&feeds) {
        if let Some(core) = core.filter(|core| !usable.contains(core)) {
            let error = PinError::NoSuchCore { core, usable };
            return Err(Failure::usage(anyhow!(
                "feed {}: {error}; see --core, and `receive.core` in the feed file",
                feed.name
            )));
        }
    }
    let several = feeds.len() > 1;
    let mut listening = Vec::new();
    for (at, feed) in feeds.into_iter().enumerate() {
        let notifier = Notifier(several.then(|| feed.name.clone()));
        let method = listen.receive.unwrap_or(feed.receive.method);
        let runtime = Runtime::new(feed)
            .receive(method)
            .core(cores[at])
            .spin(spin(at, &cores, &usable))
            .clock(clock)
            .senders(senders)
            .until_end(until_end)
            .stop_on(stop.clone());
        let joined = runtime.join_lines().map_err(|error| match error {
            RuntimeError::Lines(LiveError::NoInterface { .. }) => Failure::usage(error),
            _ => Failure::run(error),
        })?;
        listening.push(Listening { joined, notifier });
    }
    if listening.iter().any(|one| one.joined.spin().shared()) {
        say(Spin::new(true));
    }
    Ok(listening)
}

/// Whether a feed's thread has a core to itself. One core is left for housekeeping, unless the user has chosen the cores.
fn spin(at: usize, cores: &[Option<usize>], usable: &[usize]) -> Spin {
    match cores[at] {
        Some(core) => Spin::new(cores.iter().filter(|other| **other == Some(core)).count() > 1),
        None => Spin::for_threads(cores.len() + 1, usable.len().max(1)),
    }
}

impl Listening {
    /// Prints what is listened to, where and how.
    pub(super) fn tell(&self) {
        let feed = self.joined.feed();
        let lines = feed.lines.iter().map(|line| {
            let groups = match line.groups.as_slice() {
                [group] => group.to_string(),
                groups => format!("{} groups", groups.len()),
            };
            format!("{} {groups} on {}", line.name, line.interface)
        });
        let lines = lines.collect::<Vec<_>>().join(", ");
        self.notifier.say(format_args!("listening to {}: {lines}; receive = {}", feed.name, self.joined.method()));
    }
}

/// What Ctrl-C and SIGTERM set: it ends the verb.
///
/// # Errors
/// If the signal handlers cannot be installed.
pub(super) fn stop_on_signals() -> Result<Stop, Failure> {
    Stop::on_signals().map_err(Failure::run)
}

/// Pauses a thread that has nothing to do and is in no hurry.
pub(super) fn pause() {
    std::thread::sleep(std::time::Duration::from_millis(1));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_spins_if_it_has_a_core_to_itself() {
        let shared = |at: usize, cores: &[Option<usize>]| spin(at, cores, &[0, 1]).shared();
        assert!(!shared(0, &[None]));
        assert!(shared(0, &[None, None]), "no core would be left for housekeeping");
        assert!(!shared(0, &[Some(0), Some(1)]), "as the user wants it");
        assert!(shared(1, &[Some(1), Some(1)]));
        assert!(spin(0, &[None], &[0]).shared());
    }

    #[test]
    fn seconds_are_above_zero_and_finite() {
        assert_eq!(seconds("0.5"), Ok(Nanos::from_millis(500)));
        assert_eq!(seconds("10"), Ok(Nanos::from_secs(10)));
        for wrong in ["0", "-1", "NaN", "inf", "1e300", "x", ""] {
            assert!(seconds(wrong).is_err(), "{wrong}");
        }
    }
}
