//! The sender: a plan, a clock, and the wire.
//!
//! Due times are absolute, so nothing drifts: who is late sends at once, and how late each datagram was is measured
//! against the time at which it was due, not against the one before it.

use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::thread;
use std::time::Duration;

use hdrhistogram::Histogram;
use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use crate::config::{Feed, LineConfig};
use crate::frame::{Kind, Line};
use crate::framing::Framing;
use crate::os::clock::Clock;
use crate::os::signal::Stop;
use crate::time::Nanos;

use super::messages::{MessageSource, Warning};
use super::plan::{LineCounts, Plan, PlanError, Rate, Step};
use super::truth::Truth;

/// Nearer than this to the due time, the sender looks at the clock without a break.
const SPIN: Nanos = Nanos::from_micros(5);
/// Nearer than this it gives way to others, but does not sleep: a sleep may last some 50 us longer than it was told to.
const YIELD: Nanos = Nanos::from_micros(200);
/// The longest sleep, so that a wish to stop is seen.
const SLEEP_MAX: Nanos = Nanos::from_millis(5);
/// How often the driver's caller is told how far it is.
const TELL_EVERY: Nanos = Nanos::from_millis(100);
/// Lateness is told up to here.
const LATENESS_MAX: Nanos = Nanos::from_secs(60);

/// How many of a source's warnings are kept.
pub const WARNINGS_MAX: usize = 100;

/// Where datagrams leave.
pub trait Wire {
    /// Sends one datagram on a line's group.
    ///
    /// # Errors
    /// The system's. [`is_passing`] says which of them the sender counts and goes on after.
    fn send(&mut self, line: Line, group: u16, datagram: &[u8]) -> io::Result<()>;
}

/// Whether an error of a send may pass: the interface is down or gone, there is no route, buffers are full, the datagram
/// is too long for the path.
pub fn is_passing(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(
            libc::ENETUNREACH
                | libc::ENETDOWN
                | libc::EHOSTUNREACH
                | libc::EHOSTDOWN
                | libc::ENOBUFS
                | libc::ENODEV
                | libc::ENXIO
                | libc::EADDRNOTAVAIL
                | libc::EAGAIN
                | libc::ECONNREFUSED
                | libc::EMSGSIZE
                | libc::EPERM
        )
    ) || error.kind() == io::ErrorKind::Interrupted
}

/// Why sending ended early.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// The plan's.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// A send that cannot be gone on after.
    #[error("cannot send on line {line}, group {group}: {error}", line = .line.index())]
    Wire {
        /// On which line, by its place in the feed file.
        line: Line,
        /// The group's place in the line's list.
        group: u16,
        /// The system's.
        error: io::Error,
    },
    /// A line's socket cannot be made.
    #[error("line {line}: cannot send from {from}: {error}")]
    Socket {
        /// The line's name.
        line: String,
        /// The interface or address.
        from: String,
        /// The system's.
        error: io::Error,
    },
}

/// What left on one line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LineTally {
    /// Datagrams, second copies among them.
    pub datagrams: u64,
    /// Messages, those of second copies not; a heartbeat that consumes a number is one.
    pub messages: u64,
    /// Bytes of UDP payload.
    pub bytes: u64,
    /// Heartbeats.
    pub heartbeats: u64,
    /// Sends that failed.
    pub errors: u64,
    /// What the last of them failed of.
    pub last_error: Option<String>,
    /// What the plan did to the line.
    pub planned: LineCounts,
}

/// What was sent, how late, and what was lost.
#[derive(Clone, Debug)]
pub struct Report {
    /// By line.
    pub lines: Vec<LineTally>,
    /// Messages taken from the source.
    pub messages: u64,
    /// From the plan's start to the send of the last message.
    pub elapsed: Nanos,
    /// Nanoseconds between a datagram's due time and its send.
    pub lateness: Histogram<u64>,
    /// Which numbers were sent where.
    pub truth: Truth,
    /// Whether it was told to stop.
    pub stopped: bool,
    /// What the source had to tell: the first [`WARNINGS_MAX`].
    pub warnings: Vec<Warning>,
    /// How much more it had.
    pub warnings_omitted: u64,
}

impl Report {
    /// Takes over what the plan has to tell.
    fn look<F: Framing, S: MessageSource>(&mut self, plan: &mut Plan<F, S>) {
        self.messages = plan.messages();
        while let Some(warning) = plan.warning() {
            if self.warnings.len() < WARNINGS_MAX {
                self.warnings.push(warning);
            } else {
                self.warnings_omitted += 1;
            }
        }
    }

    /// Messages a second over that time.
    pub fn rate(&self) -> f64 {
        if self.elapsed == Nanos::ZERO { 0.0 } else { self.messages as f64 * 1e9 / self.elapsed.0 as f64 }
    }
}

/// Sends all of a plan. The plan's zero is the moment of the call. `tell` is told now and then how far it is.
///
/// # Errors
/// The plan's, or a send's that cannot pass. What was sent by then is with the error.
pub fn send<F: Framing, S: MessageSource>(
    plan: &mut Plan<F, S>,
    wire: &mut impl Wire,
    clock: Clock,
    stop: &Stop,
    tell: impl FnMut(&Report),
) -> (Report, Result<(), SendError>) {
    let start = clock.now() - plan.config().start;
    send_from(plan, wire, clock, start, stop, tell)
}

/// As [`send`], with the plan's zero at this reading of the clock, now or past: whoever knows it knows when each message was
/// to be sent.
///
/// # Errors
/// As [`send`].
pub fn send_from<F: Framing, S: MessageSource>(
    plan: &mut Plan<F, S>,
    wire: &mut impl Wire,
    clock: Clock,
    start: Nanos,
    stop: &Stop,
    mut tell: impl FnMut(&Report),
) -> (Report, Result<(), SendError>) {
    let lines = plan.config().lines.len();
    let mut report = Report {
        lines: vec![LineTally::default(); lines],
        messages: 0,
        elapsed: Nanos::ZERO,
        lateness: Histogram::new_with_bounds(1, LATENESS_MAX.0, 3).unwrap_or_else(|_| unreachable!("valid bounds")),
        truth: plan.truth(),
        stopped: false,
        warnings: Vec::new(),
        warnings_omitted: 0,
    };
    let result = run(plan, wire, &Pacer { clock, start, stop }, &mut report, &mut tell);
    report.look(plan);
    for (line, tally) in report.lines.iter_mut().enumerate() {
        tally.planned = plan.counts(Line(line as u8));
    }
    (report, result)
}

fn run<F: Framing, S: MessageSource>(
    plan: &mut Plan<F, S>,
    wire: &mut impl Wire,
    pacer: &Pacer<'_>,
    report: &mut Report,
    tell: &mut impl FnMut(&Report),
) -> Result<(), SendError> {
    let begun = plan.config().start;
    // flat out there is no time at which a datagram ought to have left
    let timed = plan.config().rate != Rate::Max;
    let mut told = begun;
    loop {
        let now = pacer.now();
        if pacer.stop.requested() && !report.stopped {
            report.stopped = true;
            plan.finish(now);
        }
        if now - told >= TELL_EVERY {
            told = now;
            report.look(plan);
            tell(report);
        }
        let datagram = match plan.step(now)? {
            Step::Datagram(datagram) => datagram,
            Step::Idle(until) => {
                pacer.wait(until, report.stopped);
                continue;
            }
            Step::Ended => return Ok(()),
        };
        if datagram.dropped.is_some() {
            report.truth.record(&datagram, false);
            continue;
        }
        let at = pacer.wait(datagram.due, report.stopped);
        let sent = wire.send(datagram.line, datagram.group, datagram.bytes);
        report.truth.record(&datagram, sent.is_ok());
        if datagram.kind == Kind::Data {
            report.elapsed = at - begun;
        }
        let tally = &mut report.lines[datagram.line.index()];
        match sent {
            Ok(()) => {
                tally.datagrams += 1;
                tally.bytes += datagram.bytes.len() as u64;
                if !datagram.copy {
                    tally.messages += u64::from(datagram.count);
                    tally.heartbeats += u64::from(datagram.kind == Kind::Heartbeat);
                }
                if timed {
                    report.lateness.saturating_record((at - datagram.due).0);
                }
            }
            Err(error) if is_passing(&error) => {
                tally.errors += 1;
                tally.last_error = Some(error.to_string());
            }
            Err(error) => return Err(SendError::Wire { line: datagram.line, group: datagram.group, error }),
        }
    }
}

/// The plan's time by the clock.
struct Pacer<'a> {
    clock: Clock,
    start: Nanos,
    stop: &'a Stop,
}

impl Pacer<'_> {
    fn now(&self) -> Nanos {
        self.clock.now() - self.start
    }

    /// Waits until `due`, or until a stop is asked for that was not known of; returns the time.
    fn wait(&self, due: Nanos, stopping: bool) -> Nanos {
        loop {
            let now = self.now();
            if now >= due || (!stopping && self.stop.requested()) {
                return now;
            }
            match due - now {
                left if left <= SPIN => std::hint::spin_loop(),
                left if left <= YIELD => thread::yield_now(),
                left => thread::sleep(Duration::from((left - YIELD).min(SLEEP_MAX))),
            }
        }
    }
}

/// A feed's lines on the network: a socket a line, time to live 1, looped back to this host.
#[derive(Debug)]
pub struct UdpWire {
    lines: Vec<(Socket, Vec<SockAddr>)>,
}

impl UdpWire {
    /// Opens a socket for each line.
    ///
    /// # Errors
    /// [`SendError::Socket`], which names the line.
    pub fn open(feed: &Feed) -> Result<UdpWire, SendError> {
        let line = |line: &LineConfig| {
            let socket = open_line(line).map_err(|error| SendError::Socket {
                line: line.name.clone(),
                from: line.source.map_or_else(|| line.interface.clone(), |source| source.to_string()),
                error,
            })?;
            Ok((socket, line.groups.iter().map(|&group| SockAddr::from(group)).collect()))
        };
        Ok(UdpWire { lines: feed.lines.iter().map(line).collect::<Result<_, SendError>>()? })
    }
}

fn open_line(line: &LineConfig) -> io::Result<Socket> {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_multicast_ttl_v4(1)?;
    socket.set_multicast_loop_v4(true)?;
    match line.interface.parse::<Ipv4Addr>() {
        Ok(address) => socket.set_multicast_if_v4(&address)?,
        Err(_) => socket.bind_device(Some(line.interface.as_bytes()))?,
    }
    if let Some(source) = line.source {
        socket.bind(&SocketAddrV4::new(source, 0).into())?;
    }
    Ok(socket)
}

impl Wire for UdpWire {
    fn send(&mut self, line: Line, group: u16, datagram: &[u8]) -> io::Result<()> {
        let to =
            self.lines.get(line.index()).and_then(|(socket, groups)| Some((socket, groups.get(usize::from(group))?)));
        let (socket, group) = to.ok_or(io::ErrorKind::AddrNotAvailable)?;
        socket.send_to(datagram, group).map(|_| ())
    }
}
