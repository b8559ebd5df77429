//! Where datagrams come from: one [`Source`], with live sockets, mapped rings and captures behind it.
//!
//! | purpose | what there is |
//! |---|---|
//! | live lines, for the hot thread | [`Live`]: sockets; [`Mapped`], [`Redirected`]: mapped rings; [`AnyLive`]: the one that the feed file asks for |
//! | live lines, for the thread beside it | [`LiveWatch`]: joins, interfaces, overflow |
//! | tests | [`Simulated`]: a script |
//! | adaptors | [`FaultySource`]: faults on what a source brings; [`TappedSource`]: a look at it; [`MergedSource`]: several sources as one |
//!
//! Adaptors nest: `FaultySource::new(MergedSource::new((a, b)), ...)`. They are compiled with what they wrap, and allocate nothing
//! after the start. A capture is a source as well: [`Captures`](crate::capture::Captures).

use std::io;
use std::net::SocketAddrV4;

use crate::os::KernelStamp;
use twinline_core::Nanos;
use twinline_core::frame::Line;

mod faulty;
mod live;
mod mapped;
mod merged;
mod method;
mod simulated;
mod tapped;
mod watch;
mod xdp;

pub use faulty::{FaultTime, FaultySettings, FaultySource};
pub use live::{FrameFacts, LineFacts, Live, LiveError, SourceFacts};
pub use mapped::Mapped;
pub use merged::{CountedSourceSet, MergedSource, SourceSet};
pub use method::{AnyLive, MethodChoice, WithSource};
pub use simulated::Simulated;
pub use tapped::TappedSource;
pub use watch::{InterfaceState, LineChange, LiveWatch, Notice, WatchFacts};
pub use xdp::Redirected;

/// A datagram, as a source hands it over.
#[derive(Clone, Copy, Debug)]
pub struct Datagram<'a> {
    /// The line that it came by: from configuration, never from its content.
    pub line: Line,
    /// The position of its group in the line's list.
    pub group: u16,
    /// Who sent it; `0.0.0.0:0` if live sockets were not asked for it. (A mapped ring always knows.)
    pub source: SocketAddrV4,
    /// The stamp that it carries, if it comes from a capture. `None`: it gets the stamp of the pass that took it.
    pub stamp: Option<Nanos>,
    /// When the kernel and the NIC took it, if that was asked for.
    pub kernel_stamp: Option<KernelStamp>,
    /// The UDP payload.
    pub payload: &'a [u8],
}

/// What one pass over a source found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pass {
    /// How many datagrams it handed over.
    pub datagrams: usize,
    /// Whether some socket gave a full batch, so that more may be waiting.
    pub full: bool,
    /// Nothing more will come.
    pub ended: bool,
}

/// Where datagrams come from.
pub trait Source {
    /// Hands over what is there, at most one batch per socket, without waiting.
    ///
    /// # Errors
    /// An error that ends the source. Transient errors are counted, not returned.
    fn poll(&mut self, take: &mut impl FnMut(Datagram<'_>)) -> io::Result<Pass>;
}

/// A source that knows what its lines brought.
pub trait CountedSource: Source {
    /// What they have brought so far: a plain copy, without a system call.
    fn facts(&self) -> SourceFacts;
}
