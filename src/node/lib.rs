//! What runs a feed: the library for programs that embed Twinline.
//!
//! | to | use |
//! |---|---|
//! | read a feed file, or describe a feed in code | [`config`]: [`Feed`] |
//! | run a feed live: threads, clients, counters, a capture | [`runtime`]: [`Runtime`], [`Recorder`] |
//! | arbitrate captures: message by message, or into a sink of your own | [`offline`]: [`OrderedMessages`] |
//! | read, merge and write capture files | [`capture`]: [`Captures`], [`CaptureReader`], [`CaptureWriter`] |
//! | put a framing and the arbiter together yourself | [`handler`] |
//! | receive datagrams; wrap what receives them | [`source`]: [`Source`], [`AnyLive`], [`FaultySource`], [`TappedSource`], [`MergedSource`] |
//! | publish messages on a feed's lines | [`publisher`]: [`Plan`], [`send()`] |
//! | put a capture back on the wire | [`replay`]: [`ReplaySettings`] |
//! | send datagrams | [`wire`]: [`Wire`], [`UdpWire`] |
//! | have a line lose, repeat, reorder or delay datagrams | [`fault`] |
//! | know what became of IP fragments | [`ip`] |
//! | read the clock, pin a thread, stop on a signal | [`os`]: [`Clock`], [`Spin`], [`Stop`], and every other system call |
//!
//! Nothing here prints, parses arguments or ends the process.
//!
//! An example with neither network nor clock: a publisher with a line that loses one datagram in ten, an arbiter, and a sink that
//! counts.
//!
//! ```
//! use twinline_core::arbiter::{Event, Run, Sink};
//! use twinline_core::frame::Session;
//! use twinline_core::framing::{AnyFraming, MoldUdp64};
//! use twinline_node::{Feed, LineConfig, LinePlan, Plan, PlanConfig};
//! use twinline_node::fault::{Faults, Share};
//! use twinline_node::handler::Handler;
//! use twinline_node::publisher::MadeUp;
//!
//! #[derive(Default)]
//! struct Count(u64);
//! impl Sink for Count {
//!     fn event(&mut self, _: &Event) {}
//!     fn release(&mut self, run: &Run<'_>) {
//!         self.0 += run.range().len();
//!     }
//! }
//!
//! let framing = AnyFraming::from_name("moldudp64").ok_or("no such framing")?;
//! let line = |name, group: &str| Ok::<_, std::net::AddrParseError>(LineConfig::new(name, vec![group.parse()?], "127.0.0.1"));
//! let feed = Feed::new("example", framing, vec![line("A", "239.81.1.1:26400")?, line("B", "239.81.2.1:26400")?]);
//!
//! let mut lossy = LinePlan::default();
//! lossy.faults = Faults { loss: Share::percent(10.0).ok_or("no percentage")?, ..Faults::default() };
//! let mut config = PlanConfig::default();
//! config.session = Session::text(b"TWIN000001");
//! config.lines = vec![lossy, LinePlan::default()];
//! let mut plan = Plan::new(MoldUdp64, config, MadeUp::new(Some(1_000), None, 7))?;
//!
//! let (mut handler, mut count) = (Handler::new(MoldUdp64, &feed), Count::default());
//! while let Some(datagram) = plan.next_planned()? {
//!     if datagram.dropped.is_none() {
//!         handler.on_datagram(datagram.due, datagram.line, datagram.group, datagram.bytes, &mut count);
//!     }
//! }
//! assert_eq!(count.0, 1_000, "what line A lost came by line B");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![deny(unsafe_code)]

pub mod capture;
pub mod config;
pub mod fault;
pub mod handler;
pub mod ip;
pub mod offline;
#[expect(unsafe_code, reason = "system calls")]
pub mod os;
pub mod publisher;
pub mod replay;
pub mod runtime;
pub mod source;
pub mod wire;

pub use capture::{
    CaptureError, CaptureInput, CaptureReader, CaptureStep, CaptureWarning, CaptureWriter, CapturedDatagram, Captures,
};
pub use config::{ArbiterConfig, ConfigError, Feed, LineConfig, Method, ReceiveConfig};
pub use offline::{OrderedMessage, OrderedMessages};
pub use os::{Clock, ReceiveOptions, Spin, Stop};
pub use publisher::{LinePlan, Plan, PlanConfig, PlanError, Planned, PublishReport, Rate, SendingError, send};
pub use replay::{ReplayError, ReplayReport, ReplaySettings, Speed};
pub use runtime::{Clients, Ended, Recorder, Running, Runtime, RuntimeError, RuntimeNotice};
pub use source::{
    AnyLive, CountedSource, Datagram, FaultTime, FaultySettings, FaultySource, LineChange, Live, LiveError, LiveWatch,
    MergedSource, MethodChoice, Notice, Pass, Simulated, Source, SourceFacts, TappedSource, WatchFacts, WithSource,
};
pub use wire::{SendBy, SendChoice, UdpWire, Wire, WireError};

// what the client of a live run names
pub use twinline_client::{Client, Item, Message, Polled, StreamKind};
