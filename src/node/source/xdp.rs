//! AF_XDP: one ring per interface, and the ordinary sockets of all lines for what is left to the kernel.
//!
//! ```text
//! interface -> redirect program -+-> ring -> Reader of the line -> datagram
//!                                +-> kernel -> socket ------------> datagram     fragments, long frames
//! ```
//!
//! A look at a socket is a system call, which costs a hundred times as much as a look at an empty ring. So sockets are looked at
//! only when the redirect program says, in shared memory, that it left something of the feed to the kernel; and once in a long
//! while without a reason, for what arrived before the program was there.

use std::io;
use std::net::SocketAddrV4;

use crate::config::Feed;
use crate::ip::{self, Ipv4, LinkType, Udp};
use crate::os::{
    Attachment, RECEIVE_BATCH, RawFrame, ReceiveOptions, Ring, RingOptions, XdpMode, XdpRing,
    is_transient_receive_error, no_such_interface,
};
use crate::source::live::{Live, LiveError, SourceFacts, interfaces};
use crate::source::mapped::Reader;
use crate::source::watch::LiveWatch;
use crate::source::{CountedSource, Datagram, Pass, Source};
use twinline_core::frame::Line;

/// For how many passes sockets are looked at after the program has left something to the kernel, which may take a while to
/// deliver it.
const LOOKS: u32 = 256;
/// Once in this many passes they are looked at without a reason.
const SELDOM: u32 = 8_192;

/// The hot thread's half of a feed that is received by `AF_XDP`: one ring per interface, and the ordinary sockets of all lines for
/// what is left to the kernel.
///
/// There is one program per interface. Lines on the same interface share a ring, whose losses count for the first of them. Another
/// feed or process on that interface has to use another method.
#[derive(Debug)]
pub struct Redirected {
    rings: Vec<SharedRing>,
    /// Which ring the next pass polls first.
    first: usize,
    /// Boxed, since it is rarely looked at.
    sockets: Box<Live>,
    /// For how many more passes to look at the sockets.
    looks: u32,
    passes: u32,
    facts: SourceFacts,
    modes: String,
    all_native: bool,
}

/// An interface's ring.
#[derive(Debug)]
struct SharedRing {
    ring: XdpRing,
    /// How many frames had been left to the kernel at the last look.
    left: u64,
    readers: Vec<Reader>,
}

impl Redirected {
    /// Opens sockets for all lines, as [`Live::open`] does, and attaches a ring to each interface in the first of `modes` that
    /// works there.
    ///
    /// # Errors
    /// [`LiveError`].
    pub fn open(
        feed: &Feed,
        options: &ReceiveOptions,
        modes: &'static [XdpMode],
    ) -> Result<(Redirected, LiveWatch), LiveError> {
        let found = interfaces(feed)?;
        // lines by interface, or by its name in the feed file if it is missing
        let mut shared: Vec<Vec<usize>> = Vec::new();
        for at in 0..feed.lines.len() {
            let same = |other: usize| match (&found[at], &found[other]) {
                (Some(one), Some(other)) => one.index == other.index,
                _ => feed.lines[at].interface == feed.lines[other].interface,
            };
            match shared.iter_mut().find(|lines| same(lines[0])) {
                Some(lines) => lines.push(at),
                None => shared.push(vec![at]),
            }
        }
        let mut opened = Vec::with_capacity(shared.len());
        for lines in &shared {
            let line = &feed.lines[lines[0]];
            let mut groups: Vec<SocketAddrV4> = lines.iter().flat_map(|&at| &feed.lines[at].groups).copied().collect();
            groups.sort_unstable();
            groups.dedup();
            let (buffer_bytes, kernel_stamps) = (options.buffer_bytes, options.kernel_stamps);
            // first, since this is what may not be permitted
            let opening = XdpRing::open(&RingOptions { groups, buffer_bytes, kernel_stamps }, modes);
            opened.push(opening.map_err(|error| LiveError::Ring {
                line: line.name.clone(),
                interface: line.interface.clone(),
                error,
            })?);
        }
        let (sockets, mut watch) = Live::open(feed, options)?;
        let mut rings = Vec::with_capacity(shared.len());
        let mut said = Vec::new();
        let mut all_native = true;
        for (lines, (ring, mut attachment)) in shared.iter().zip(opened) {
            let line = &feed.lines[lines[0]];
            if let Some(interface) = &found[lines[0]] {
                match attachment.attach(interface.index) {
                    // it disappeared after it was listed: the watch will notice
                    Err(error) if !no_such_interface(&error.error) => {
                        let (line, interface) = (line.name.clone(), line.interface.clone());
                        return Err(LiveError::Ring { line, interface, error });
                    }
                    _ => {}
                }
            }
            let mode = attachment.mode();
            // nobody knows what the driver of a missing interface can do
            all_native &= mode.as_ref().is_some_and(|(mode, _)| *mode == XdpMode::Native);
            if let Some((mode, instead)) = mode {
                let why = instead.map(|refused| format!(", native: {}", refused.error)).unwrap_or_default();
                said.push(format!("{}: {mode} mode{why}", line.interface));
            }
            watch.add_ring(Line(lines[0] as u8), Box::new(attachment));
            let readers = lines.iter().map(|&at| Reader::new(Line(at as u8), &feed.lines[at])).collect();
            let left = ring.left_to_the_kernel();
            rings.push(SharedRing { ring, left, readers });
        }
        let facts = SourceFacts::default();
        let modes = said.join("; ");
        let sockets = Box::new(sockets);
        Ok((Redirected { rings, first: 0, sockets, looks: 0, passes: 0, facts, modes, all_native }, watch))
    }

    /// The mode in which each interface's frames are redirected, and why not in the other; as of the start, for people to read.
    pub fn modes(&self) -> &str {
        &self.modes
    }

    /// Whether every line's interface existed at the start and its driver redirects.
    pub(crate) fn all_native(&self) -> bool {
        self.all_native
    }
}

impl CountedSource for Redirected {
    fn facts(&self) -> SourceFacts {
        self.facts + self.sockets.facts()
    }
}

impl Source for Redirected {
    #[inline]
    fn poll(&mut self, take: &mut impl FnMut(Datagram<'_>)) -> io::Result<Pass> {
        let mut pass = Pass::default();
        let count = self.rings.len();
        for place in 0..count {
            let at = self.first + place;
            let SharedRing { ring, left, readers } = &mut self.rings[if at < count { at } else { at - count }];
            let facts = &mut self.facts;
            let mut handed_over = 0;
            let polled = ring.poll(&mut |frame| {
                handed_over += match readers.as_mut_slice() {
                    [reader] => read(reader, &frame, facts, take),
                    readers => read_shared(readers, &frame, facts, take),
                };
            });
            pass.datagrams += handed_over;
            match polled {
                Ok(count) => pass.full |= count == RECEIVE_BATCH,
                Err(error) if is_transient_receive_error(&error) => facts.lines[readers[0].line().index()].errors += 1,
                Err(error) => return Err(error),
            }
            let now = ring.left_to_the_kernel();
            if now != *left {
                *left = now;
                self.looks = LOOKS;
            }
        }
        self.first = if self.first + 1 < count { self.first + 1 } else { 0 };
        self.passes += 1;
        if self.looks > 0 || self.passes == SELDOM {
            self.look_at_sockets(&mut pass, take)?;
        }
        Ok(pass)
    }
}

impl Redirected {
    #[cold]
    fn look_at_sockets(&mut self, pass: &mut Pass, take: &mut impl FnMut(Datagram<'_>)) -> io::Result<()> {
        self.looks = self.looks.saturating_sub(1);
        self.passes = 0;
        let found = self.sockets.poll(take)?;
        pass.datagrams += found.datagrams;
        pass.full |= found.full;
        Ok(())
    }
}

/// Reads a line's frame; returns how many datagrams it held.
#[inline]
fn read(
    reader: &mut Reader,
    frame: &RawFrame<'_>,
    facts: &mut SourceFacts,
    take: &mut impl FnMut(Datagram<'_>),
) -> usize {
    let facts = &mut facts.lines[reader.line().index()];
    let before = facts.datagrams;
    reader.read(frame, facts, take);
    (facts.datagrams - before) as usize
}

/// Reads a frame for one or several of these lines: two lines may have the same group.
fn read_shared(
    readers: &mut [Reader],
    frame: &RawFrame<'_>,
    facts: &mut SourceFacts,
    take: &mut impl FnMut(Datagram<'_>),
) -> usize {
    let to = destination(frame.bytes);
    let mut count = 0;
    let mut wanted = false;
    for reader in readers.iter_mut().filter(|reader| to.is_some_and(|to| reader.wants(to))) {
        wanted = true;
        count += read(reader, frame, facts, take);
    }
    if !wanted {
        // count it for one of them
        count += read(&mut readers[0], frame, facts, take);
    }
    count
}

/// The frame's destination, if it has one.
fn destination(frame: &[u8]) -> Option<SocketAddrV4> {
    let at = ip::network(LinkType::Ethernet, frame).ok()?;
    let ip = Ipv4::parse(&frame[at..]).ok()?;
    let segment = ip.segment().ok()?;
    Some(SocketAddrV4::new(ip.destination(), Udp::parse(segment.bytes).ok()?.destination_port))
}
