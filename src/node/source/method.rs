//! The method by which a feed's live lines are received: chosen once, at the start.

use std::fmt;

use crate::config::{Feed, Method};
use crate::os::{PacketRing, ReceiveOptions, XdpMode};
use crate::source::CountedSource;
use crate::source::live::{Live, LiveError};
use crate::source::mapped::Mapped;
use crate::source::watch::LiveWatch;
use crate::source::xdp::Redirected;

/// What `auto` tries before sockets, the fastest first. AF_XDP only if the driver redirects: in skb mode it is no faster than a
/// packet socket's ring, and takes what this host sends in one piece (`UDP_SEGMENT`) for one datagram.
const FASTER: [Method; 2] = [Method::Xdp, Method::Packet];

/// The hot thread's half of a feed's live lines, by any method.
///
/// [`AnyLive::open`] opens what the feed file or the user asks for. [`AnyLive::with`] hands the source to code that is compiled for
/// each method, so that no loop has to ask again.
#[derive(Debug)]
pub enum AnyLive {
    /// UDP sockets.
    Socket(Live),
    /// Packet sockets with mapped rings.
    Packet(Mapped<PacketRing>),
    /// AF_XDP, with sockets for what it leaves to the kernel.
    Xdp(Redirected),
}

/// What to do with a source, whichever it is: code that is compiled for each.
pub trait WithSource {
    /// What it returns.
    type Output;

    /// Does it with this source.
    fn with<S: CountedSource + Send>(self, source: S) -> Self::Output;
}

/// The method by which a feed is received, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct MethodChoice {
    /// The method; never [`Method::Auto`].
    pub method: Method,
    /// The faster methods that do not work here, each with the reason; empty if the choice was not left to the program.
    pub passed_over: Vec<(Method, String)>,
    /// Whether the choice was left to the program ([`Method::Auto`]).
    pub auto: bool,
    /// Details: the mode of each interface, if the method has modes; otherwise empty.
    pub how: String,
}

impl fmt::Display for MethodChoice {
    /// `packet`, or `xdp (a0: native mode)`, or `packet (the fastest that works here; not xdp: ...)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.method.name())?;
        let mut notes: Vec<String> = Vec::new();
        if !self.how.is_empty() {
            notes.push(self.how.clone());
        }
        if self.auto {
            notes.push("the fastest that works here".to_owned());
        }
        notes.extend(self.passed_over.iter().map(|(method, why)| format!("not {}: {why}", method.name())));
        if notes.is_empty() { Ok(()) } else { write!(f, " ({})", notes.join("; ")) }
    }
}

impl AnyLive {
    /// Opens and joins all lines of a feed by a method: as [`Live::open`] does with sockets.
    ///
    /// # Errors
    /// [`LiveError`]; with [`Method::Auto`], that of the sockets.
    pub fn open(
        feed: &Feed,
        method: Method,
        options: &ReceiveOptions,
    ) -> Result<(AnyLive, LiveWatch, MethodChoice), LiveError> {
        if method != Method::Auto {
            let (live, watch) = AnyLive::by(feed, method, options)?;
            let how = live.how();
            return Ok((live, watch, MethodChoice { method, passed_over: Vec::new(), auto: false, how }));
        }
        let mut passed_over = Vec::new();
        for method in FASTER {
            match AnyLive::by(feed, method, options) {
                Ok((AnyLive::Xdp(live), _)) if !live.all_native() => {
                    let why = format!("not every line has an interface whose driver redirects ({})", live.modes());
                    passed_over.push((method, why));
                }
                Ok((live, watch)) => {
                    let how = live.how();
                    return Ok((live, watch, MethodChoice { method, passed_over, auto: true, how }));
                }
                // an error of the feed or the host is the same for every method
                Err(error @ (LiveError::NoInterface { .. } | LiveError::Interfaces { .. })) => return Err(error),
                Err(error) => passed_over.push((method, error.to_string())),
            }
        }
        let (live, watch) = AnyLive::by(feed, Method::Socket, options)?;
        let how = live.how();
        Ok((live, watch, MethodChoice { method: Method::Socket, passed_over, auto: true, how }))
    }

    fn by(feed: &Feed, method: Method, options: &ReceiveOptions) -> Result<(AnyLive, LiveWatch), LiveError> {
        match method {
            Method::Socket | Method::Auto => {
                let (live, watch) = Live::open(feed, options)?;
                Ok((AnyLive::Socket(live), watch))
            }
            Method::Packet => {
                let (live, watch) = Mapped::open(feed, options, PacketRing::open)?;
                Ok((AnyLive::Packet(live), watch))
            }
            Method::Xdp => {
                let (live, watch) = Redirected::open(feed, options, XdpMode::BEST)?;
                Ok((AnyLive::Xdp(live), watch))
            }
        }
    }

    fn how(&self) -> String {
        match self {
            AnyLive::Socket(_) | AnyLive::Packet(_) => String::new(),
            AnyLive::Xdp(live) => live.modes().to_owned(),
        }
    }

    /// Hands over the source with its own type.
    pub fn with<W: WithSource>(self, what: W) -> W::Output {
        match self {
            AnyLive::Socket(live) => what.with(live),
            AnyLive::Packet(live) => what.with(live),
            AnyLive::Xdp(live) => what.with(live),
        }
    }
}
