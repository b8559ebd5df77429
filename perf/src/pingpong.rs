//! Ping-pong between two processes over non-blocking UDP multicast: what sockperf's ping-pong measures, with Twinline's own
//! receiver and sender.
//!
//! ```text
//! client, core 0                      server, core 1
//!   start -> send  ---- ping --->  poll finds it -> send
//!   poll finds it  <--- pong ----     poll again ...
//!   stop, poll again ...
//! ```
//!
//! Both spin. A ping goes out once the previous one was answered, so this is a closed loop: it measures a round trip, and says
//! nothing about what a queue would add. Pings and pongs have their own groups, so that neither side hears itself. Half of a round
//! trip is reported, as in sockperf.
//!
//! An answer is taken, and a ping answered, inside the poll that finds it. That poll's second look at the socket follows while the
//! datagram is on its way.

use std::fmt::Display;
use std::net::SocketAddrV4;
use std::process::ExitCode;
use std::str::FromStr;

use hdrhistogram::Histogram;
use twinline_core::Nanos;
use twinline_node::config::parse_duration;
use twinline_node::os::{
    self, Batch, Clock, HostInterface, Membership, ReceiveOptions, Receiver, SendOptions, Sender, Stop,
};

use crate::machine;

/// Ping-pong between two processes over multicast, as in sockperf; `perf/sockperf` runs both
#[derive(Debug, clap::Args)]
#[command(after_help = "Example, over loopback, in two terminals:
  twinline-perf pingpong server --from 239.81.1.1:26400@127.0.0.1 --to 239.81.2.1:26401@127.0.0.1 --core 1
  twinline-perf pingpong client --from 239.81.2.1:26401@127.0.0.1 --to 239.81.1.1:26400@127.0.0.1 --core 0")]
pub struct Args {
    #[command(subcommand)]
    side: Side,
}

#[derive(Debug, clap::Subcommand)]
enum Side {
    /// Answers each datagram with the same bytes until it is stopped
    Server(Server),
    /// Sends pings one after the other and reports half of their round trips
    Client(Client),
    /// Prints how long a cache line takes from the first core to the second and back
    Cores,
}

#[derive(Debug, clap::Args)]
struct Ways {
    /// Where to listen: a group, a port and the interface to join it on, by name or address
    #[arg(long, value_name = "GROUP:PORT@INTERFACE")]
    from: Way,
    /// Where to send, and by which interface; the group must differ from the one listened to
    #[arg(long, value_name = "GROUP:PORT@INTERFACE")]
    to: Way,
    /// The core to run on [default: whichever the system gives]
    #[arg(long)]
    core: Option<usize>,
}

#[derive(Debug, clap::Args)]
struct Server {
    #[command(flatten)]
    ways: Ways,
    /// Ends by itself after N seconds, because it spins and nobody else may end it
    #[arg(long, default_value = "60", value_parser = seconds)]
    seconds: Nanos,
}

#[derive(Debug, clap::Args)]
struct Client {
    #[command(flatten)]
    ways: Ways,
    /// Bytes per ping
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u16).range(NUMBER_LEN as i64..=65_507))]
    size: u16,
    /// Seconds to measure
    #[arg(long, default_value = "1", value_parser = seconds)]
    seconds: Nanos,
    /// Seconds of warm-up before that
    #[arg(long, default_value = "0.4", value_parser = seconds)]
    warmup: Nanos,
}

/// A ping begins with its number.
const NUMBER_LEN: usize = 8;
/// A ping that is not answered within this time is lost.
const PATIENCE: Nanos = Nanos::from_millis(50);
/// Polls between two looks at the clock: it costs a tenth of a poll.
const POLLS: u32 = 16;

/// One direction: a group and an interface.
#[derive(Clone, Debug)]
struct Way {
    group: SocketAddrV4,
    interface: String,
}

impl FromStr for Way {
    type Err = String;

    fn from_str(text: &str) -> Result<Way, String> {
        let expected = || "expected GROUP:PORT@INTERFACE, such as 239.81.1.1:26400@eth0".to_string();
        let (group, interface) = text.split_once('@').ok_or_else(expected)?;
        let group: SocketAddrV4 = group.parse().map_err(|_| expected())?;
        if interface.is_empty() {
            return Err(expected());
        }
        if !group.ip().is_multicast() || group.port() == 0 {
            return Err(format!("{group} is not a multicast group with a port; {}", expected()));
        }
        Ok(Way { group, interface: interface.to_owned() })
    }
}

/// Seconds, such as `0.4` or `10`, and at most a day.
fn seconds(text: &str) -> Result<Nanos, String> {
    match parse_duration(&format!("{text}s")) {
        Ok(span) if span <= Nanos::from_secs(86_400) => Ok(span),
        _ => Err("expected seconds, whole or decimal and at most 86400, such as 0.4".to_owned()),
    }
}

/// Runs one side, or says what it lacks. Exit code 2 for wrong arguments, 1 for failures at run time.
pub fn run(args: &Args) -> ExitCode {
    let done = match &args.side {
        Side::Server(server) => serve(server),
        Side::Client(client) => ping(client),
        Side::Cores => cores(),
    };
    let Err((code, why)) = done else { return ExitCode::SUCCESS };
    eprintln!("pingpong: {why}");
    ExitCode::from(code)
}

/// The exit code and the message.
type Failure = (u8, String);

fn usage(why: impl Display) -> Failure {
    (2, why.to_string())
}

fn failed(why: impl Display) -> Failure {
    (1, why.to_string())
}

fn cores() -> Result<(), Failure> {
    if !machine::pin(1) || !machine::pin(0) {
        return Err(failed("two cores are needed"));
    }
    println!("{} ns", machine::round_trip(&Clock::start()).0);
    Ok(())
}

/// Both sockets of a side, its core, and the stop signal.
struct Ends {
    receiver: Receiver,
    sender: Sender,
    batch: Batch,
    stop: Stop,
    /// Keeps the group joined.
    _membership: Membership,
}

impl Ends {
    fn open(ways: &Ways) -> Result<Ends, Failure> {
        let Ways { from, to, core } = ways;
        if from.group.ip() == to.group.ip() {
            return Err(usage(format!("--from and --to both name {}: give each a group of its own", to.group.ip())));
        }
        if let Some(core) = core {
            os::pin_thread(*core).map_err(usage)?;
        }
        let stop = Stop::on_signals().map_err(|error| failed(format!("cannot wait for signals: {error}")))?;
        let found = HostInterface::resolve(&from.interface)
            .map_err(|error| failed(format!("cannot list the interfaces: {error}")))?
            .ok_or_else(|| {
                usage(format!("there is no interface {}: name one of this host's (`ip address`)", from.interface))
            })?;
        // the sender does not matter: the answer goes to a group
        let options = ReceiveOptions::default().with_senders(false);
        let (receiver, mut membership) = Receiver::open(from.group, None, false, &options)
            .map_err(|error| failed(format!("{}: {error}; {}", from.group, error.advice(from.group))))?;
        membership
            .join(found.index)
            .map_err(|error| failed(format!("cannot join {} on {}: {error}", from.group.ip(), from.interface)))?;
        let options = SendOptions::default();
        let sender = Sender::open(to.group, &to.interface, options).map_err(failed)?;
        Ok(Ends { receiver, sender, batch: Batch::new(), stop, _membership: membership })
    }
}

/// What a failed poll means: a transient error counts as a poll that found nothing.
fn polled(result: std::io::Result<usize>) -> Result<(), Failure> {
    match result {
        Err(error) if !os::is_transient_receive_error(&error) => Err(failed(format!("cannot receive: {error}"))),
        _ => Ok(()),
    }
}

/// What kept datagrams from being sent, as text for the end of a line.
fn troubles(facts: &os::SendFacts) -> String {
    match facts.unreachable + facts.full {
        0 => String::new(),
        _ => format!("; not sent: {} with the link down, {} with a full queue", facts.unreachable, facts.full),
    }
}

fn serve(args: &Server) -> Result<(), Failure> {
    let Ends { receiver, mut sender, mut batch, stop, _membership } = Ends::open(&args.ways)?;
    let clock = Clock::start();
    let end = clock.now() + args.seconds;
    let mut refused = None;
    while !stop.requested() && clock.now() < end {
        for _ in 0..POLLS {
            let result = receiver.poll(&mut batch, &mut |ping| {
                if let Err(error) = sender.send(ping.payload) {
                    refused = Some(error);
                }
            });
            polled(result)?;
        }
        if let Some(error) = refused {
            return Err(failed(error));
        }
    }
    println!("answered {}{}", sender.facts().datagrams, troubles(&sender.facts()));
    Ok(())
}

fn ping(args: &Client) -> Result<(), Failure> {
    let Ends { receiver, mut sender, mut batch, stop, _membership } = Ends::open(&args.ways)?;
    let clock = Clock::start();
    let mut trips = Histogram::<u64>::new(3).expect("three digits");
    let mut payload = vec![7; usize::from(args.size)];
    let (mut lost, mut strange) = (0_u64, 0_u64);
    let measured = clock.now() + args.warmup;
    let end = measured + args.seconds;
    for number in 1_u64.. {
        payload[..NUMBER_LEN].copy_from_slice(&number.to_le_bytes());
        let start = clock.now();
        if start >= end || stop.requested() {
            break;
        }
        // a datagram that is not sent is not answered, and so counts as lost
        sender.send(&payload).map_err(failed)?;
        let mut answered = None;
        'waiting: loop {
            for _ in 0..POLLS {
                let result = receiver.poll(&mut batch, &mut |pong| {
                    let now = clock.now();
                    if pong.payload == payload {
                        answered = Some(now);
                    } else {
                        strange += 1;
                    }
                });
                polled(result)?;
                if answered.is_some() {
                    break 'waiting;
                }
            }
            if clock.now() > start + PATIENCE {
                break;
            }
        }
        match answered {
            Some(now) if start >= measured => trips.record((now - start).0).expect("it grows"),
            Some(_) => {}
            None => lost += 1,
        }
    }
    let more = troubles(&sender.facts());
    if trips.is_empty() {
        let (to, from) = (&args.ways.to, &args.ways.from);
        return Err(failed(format!(
            "no ping was answered, {lost} were lost{more}: start `pingpong server --from {}@... --to {}@...` on the other \
             side first, and see that {} and {} are the right interfaces",
            to.group, from.group, to.interface, from.interface
        )));
    }
    println!("half round trip of {} bytes, us", args.size);
    for (name, quantile) in [("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999), ("max", 1.0)] {
        println!("{name:5} {:10.3}", trips.value_at_quantile(quantile) as f64 / 2_000.0);
    }
    println!("answered {} (measured), lost {lost} and strange {strange} (warm-up included){more}", trips.len());
    Ok(())
}
