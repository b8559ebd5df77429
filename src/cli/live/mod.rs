//! What `run`, `capture` and `tail` have in common: a feed that is listened to, the thread that does it, and what housekeeping
//! looks after meanwhile.
//!
//! ```text
//!  arbiter thread: sockets -> arbiter -+-> report ring  -> housekeeping: --messages, --events, states
//!                                      +-> capture ring -> recorder: --capture
//!                                      +-> desk         <-> housekeeping: counters for the status line
//! ```

use std::fmt::Display;
use std::path::PathBuf;

use anyhow::anyhow;

use super::{Failure, feed, say};
use twinline_core::framing::AnyFraming;
use twinline_core::time::Nanos;
use twinline_node::config::{Feed, Method};
use twinline_node::os::clock::Clock;
use twinline_node::os::cpu::{self, PinError, Spin};
use twinline_node::os::receive::ReceiveOptions;
use twinline_node::os::signal::Stop;
use twinline_node::source::live::{LiveError, SourceFacts};
use twinline_node::source::method::{AnyLive, MethodChoice};
use twinline_node::source::watch::LiveWatch;

pub(super) mod housekeeping;
pub(super) mod recording;
pub(super) mod tally;

/// The capacity of the rings that lead off an arbiter's thread: half a second of the heaviest feed there is.
pub(super) const RING_CAPACITY: usize = 64 << 20;

/// Where and for how long a feed is listened to.
#[derive(Debug, clap::Args)]
pub(super) struct Listen {
    /// Stop after so many seconds
    #[arg(long, value_name = "N", value_parser = seconds)]
    pub(super) seconds: Option<Nanos>,
    /// Pin the thread that receives to this core [default: `core` under [receive] in the feed file]
    #[arg(long, value_name = "N")]
    pub(super) core: Option<usize>,
    /// How to receive: socket, packet, xdp, or auto, the fastest that works [default: `receive` in the feed file]
    #[arg(long, value_name = "METHOD", value_parser = method)]
    pub(super) receive: Option<Method>,
}

pub(super) fn method(text: &str) -> Result<Method, String> {
    Method::from_name(text).ok_or_else(|| format!("expected one of: {}", Method::NAMES.join(", ")))
}

fn seconds(text: &str) -> Result<Nanos, String> {
    // finite, and not so long that it could not be said in nanoseconds
    let seconds = text.parse().ok().filter(|seconds| (1e-3..1e9).contains(seconds));
    let seconds: f64 = seconds.ok_or("expected seconds above 0; for example 10 or 0.5")?;
    Ok(Nanos((seconds * 1e9) as u64))
}

/// Says something of one feed, on stderr; with several feeds, of which.
#[derive(Clone, Debug, Default)]
pub(super) struct Voice(Option<String>);

impl Voice {
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
    pub(super) feed: Feed,
    pub(super) framing: AnyFraming,
    pub(super) voice: Voice,
    pub(super) live: AnyLive,
    pub(super) watch: LiveWatch,
    /// By which method, and why.
    pub(super) taken: MethodChoice,
    /// The core that the thread which receives is to be pinned to.
    pub(super) core: Option<usize>,
    pub(super) spin: Spin,
}

/// Loads the feed files.
///
/// # Errors
/// What is wrong with one of them, or the same feed twice, as a usage failure.
pub(super) fn load(paths: &[PathBuf]) -> Result<Vec<(Feed, AnyFraming)>, Failure> {
    let mut feeds: Vec<(Feed, AnyFraming)> = Vec::new();
    for path in paths {
        let (feed, framing) = feed::load(path)?;
        if feeds.iter().any(|(before, _)| before.name == feed.name) {
            let (path, name) = (path.display(), &feed.name);
            return Err(Failure::usage(anyhow!(
                "{path}: a feed named {name:?} is given already; its files and reports could not be told apart: give each \
                 feed once, under a name of its own"
            )));
        }
        feeds.push((feed, framing));
    }
    Ok(feeds)
}

/// Joins the lines of all feeds. `senders`: whether each datagram is to say who sent it, as a capture wants to know.
///
/// # Errors
/// A core or an interface that this machine does not have, as a usage failure; a socket that cannot be had.
pub(super) fn listen(
    feeds: Vec<(Feed, AnyFraming)>,
    wanted: &Listen,
    senders: bool,
) -> Result<Vec<Listening>, Failure> {
    let usable = cpu::usable();
    let cores: Vec<Option<usize>> = feeds.iter().map(|(feed, _)| wanted.core.or(feed.receive.core)).collect();
    for (&core, (feed, _)) in cores.iter().zip(&feeds) {
        if let Some(core) = core.filter(|core| !usable.contains(core)) {
            let error = PinError::NoSuchCore { core, usable };
            return Err(Failure::usage(anyhow!("feed {}: {error}; see --core, and `core` under [receive]", feed.name)));
        }
    }
    let several = feeds.len() > 1;
    let mut listening = Vec::new();
    for (at, (feed, framing)) in feeds.into_iter().enumerate() {
        let options = ReceiveOptions {
            buffer_bytes: usize::try_from(feed.receive.buffer).unwrap_or(usize::MAX),
            kernel_stamps: feed.receive.kernel_stamps,
            senders,
        };
        let method = wanted.receive.unwrap_or(feed.receive.method);
        let (live, watch, taken) = AnyLive::open(&feed, method, &options).map_err(|error| match error {
            LiveError::NoInterface { .. } => Failure::usage(error),
            _ => Failure::run(error),
        })?;
        let voice = Voice(several.then(|| feed.name.clone()));
        listening.push(Listening {
            feed,
            framing,
            voice,
            live,
            watch,
            taken,
            core: cores[at],
            spin: spin(at, &cores, &usable),
        });
    }
    if listening.iter().any(|one| one.spin.shared()) {
        say(Spin::new(true));
    }
    Ok(listening)
}

/// Whether a feed's thread has a core for itself. One core is left for housekeeping, unless the user has chosen the cores.
fn spin(at: usize, cores: &[Option<usize>], usable: &[usize]) -> Spin {
    match cores[at] {
        Some(core) => Spin::new(cores.iter().filter(|other| **other == Some(core)).count() > 1),
        None => Spin::for_threads(cores.len() + 1, usable.len().max(1)),
    }
}

impl Listening {
    /// Says where.
    pub(super) fn tell(&self) {
        let lines = self.feed.lines.iter().map(|line| {
            let groups = match line.groups.as_slice() {
                [group] => group.to_string(),
                groups => format!("{} groups", groups.len()),
            };
            format!("{} {groups} on {}", line.name, line.interface)
        });
        let lines = lines.collect::<Vec<_>>().join(", ");
        self.voice.say(format_args!("listening to {}: {lines}; receive = {}", self.feed.name, self.taken));
    }
}

/// Pins the thread that receives; where the system refuses after all, it goes on unpinned.
pub(super) fn pin(core: Option<usize>, voice: &Voice) {
    if let Some(Err(error)) = core.map(cpu::pin) {
        voice.say(format_args!("{error}; going on without"));
    }
}

/// The final counts of a feed's source, beside what [`LiveWatch`] knows.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Ending {
    /// The stamp at which the input ended.
    pub(super) at: Option<Nanos>,
    pub(super) facts: SourceFacts,
    /// What the capture's ring had no room for, by line.
    pub(super) dropped: [u64; twinline_core::frame::LINES_MAX],
}

/// What ends a verb: Ctrl-C and SIGTERM, or the verb itself.
#[derive(Clone, Debug)]
pub(super) struct Stops {
    pub(super) signals: Stop,
    pub(super) own: Stop,
}

impl Stops {
    /// # Errors
    /// Where a signal's handler cannot be installed.
    pub(super) fn on_signals() -> Result<Stops, Failure> {
        Ok(Stops { signals: Stop::on_signals().map_err(Failure::run)?, own: Stop::new() })
    }

    /// For one feed of several: the same signals, an end of its own.
    pub(super) fn of_feed(&self) -> Stops {
        Stops { signals: self.signals.clone(), own: Stop::new() }
    }

    pub(super) fn both(&self) -> [Stop; 2] {
        [self.signals.clone(), self.own.clone()]
    }
}

/// A pause of a thread that has nothing to do for now and is in no hurry.
pub(super) fn pause() {
    std::thread::sleep(std::time::Duration::from_millis(1));
}

/// The clock of a run; one for all its threads, so that their times can be compared.
pub(super) fn clock() -> Clock {
    Clock::start()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_spins_where_it_has_a_core_for_itself() {
        let shared = |at: usize, cores: &[Option<usize>]| spin(at, cores, &[0, 1]).shared();
        assert!(!shared(0, &[None]));
        assert!(shared(0, &[None, None]), "none would be left for housekeeping");
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
