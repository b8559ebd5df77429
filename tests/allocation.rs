//! A frame that the stream takes at once never allocates, and after start-up no other does but to make room for more than there ever
//! was, or for none where all of it was taken at the start, whatever the lines do: held messages, open gaps, fills, losses, duplicates,
//! late copies (DESIGN 2, ARBITRATION 8). Neither does a mapped ring, whatever its frames are. The work is counted, not timed.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use std::io;
use std::net::UdpSocket;

use twinline_core::Nanos;
use twinline_core::arbiter::{Arbiter, Event, EventKind, GapTimeout, Loss, LostReason, Run, Settings, Sink, Verify};
use twinline_core::frame::{Line, Session};
use twinline_core::framing::{Framing, MoldUdp64};
use twinline_node::config;
use twinline_node::os::{
    Attachment, Checksum, MappedRingError, PacketRing, RECEIVE_BATCH, RawFrame, ReceiveOptions, Ring, SendOptions,
    Sender,
};
use twinline_node::source::{CountedSource, Mapped, Source};

/// The system's allocator, which counts what each thread asks of it.
struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
    static FREED: Cell<u64> = const { Cell::new(0) };
}

fn count() {
    ALLOCATIONS.with(|allocations| allocations.set(allocations.get() + 1));
}

// SAFETY: every call goes to the system's allocator as it came; counting touches a thread-local without a destructor, which
// allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller's promise is the system's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        FREED.with(|freed| freed.set(freed.get() + 1));
        // SAFETY: the caller's promise is the system's, and every block is the system's.
        unsafe { System.dealloc(block, layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: the caller's promise is the system's, and every block is the system's.
        unsafe { System.realloc(block, layout, size) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// Counts what it hears, without a store.
#[derive(Default)]
struct Counts {
    released: u64,
    held: u64,
    lost: u64,
    late: u64,
    gaps: u64,
    filled: u64,
    by_reason: [u64; 6],
    divergences: u64,
}

impl Sink for Counts {
    fn event(&mut self, event: &Event) {
        match event.kind {
            EventKind::Gap { .. } => self.gaps += 1,
            EventKind::Filled { .. } => self.filled += 1,
            EventKind::Lost { reason, .. } => self.by_reason[reason as usize] += 1,
            EventKind::Divergence { .. } => self.divergences += 1,
            _ => {}
        }
    }

    fn release(&mut self, run: &Run<'_>) {
        self.released += u64::from(run.count);
        self.held += u64::from(run.flags.held);
    }

    fn loss(&mut self, loss: &Loss) {
        self.lost += loss.range.len();
    }

    fn late(&mut self, run: &Run<'_>) {
        self.late += u64::from(run.count);
    }
}

/// A running arbiter, a clock, and a datagram that is written over and over.
struct Feed {
    arbiter: Arbiter,
    counts: Counts,
    datagram: Vec<u8>,
    at: u64,
    frames: u64,
    rng: fastrand::Rng,
}

impl Feed {
    fn new(change: impl FnOnce(&mut Settings)) -> Feed {
        let mut settings = Settings::new(MoldUdp64.rules(), vec![true, true], 1);
        change(&mut settings);
        Feed {
            arbiter: Arbiter::new(settings),
            counts: Counts::default(),
            datagram: Vec::with_capacity(65_536),
            at: 1,
            frames: 0,
            rng: fastrand::Rng::with_seed(5),
        }
    }

    fn data(&mut self, line: u8, first: u64, count: usize) {
        const MESSAGES: [&[u8]; 64] = [b"thirty bytes of a market's news"; 64];
        self.at += 1_000;
        self.frames += 1;
        MoldUdp64.encode(Session::text(b"TODAY"), first, &MESSAGES[..count], 65_000, &mut self.datagram);
        if self.frames.is_multiple_of(16) {
            // the last message is another
            *self.datagram.last_mut().expect("a datagram") = b'S';
        }
        let frame = MoldUdp64.frame(&self.datagram, &mut 0).expect("a frame").expect("well formed");
        self.arbiter.on_frame(Nanos(self.at), Line(line), 0, &frame, &mut self.counts);
    }

    /// Both lines from `next` on, with all that may befall them; the next number after `frames` more frames.
    fn traffic(&mut self, mut next: u64, frames: u64) -> u64 {
        let until = self.frames + frames;
        while self.frames < until {
            let count = self.rng.usize(1..9);
            let ahead = self.rng.u8(..2);
            match self.rng.u8(..100) {
                // one line loses it, the other is late
                0..5 => self.data(ahead, next, count),
                // nobody brings it, or only when it is lost
                5..8 => self.at += 300_000,
                8..10 => {
                    let old = next.saturating_sub(self.rng.u64(..3_000)).max(1);
                    self.data(ahead, old, count);
                }
                // in two halves, the wrong way around
                10..20 if count > 1 => {
                    self.data(ahead, next + count as u64 / 2, count - count / 2);
                    self.data(1 - ahead, next, count / 2);
                }
                _ => {
                    self.data(ahead, next, count);
                    self.data(1 - ahead, next, count);
                }
            }
            next += count as u64;
        }
        next
    }
}

/// How often `what` allocated.
fn allocations(what: impl FnOnce()) -> u64 {
    let before = ALLOCATIONS.get();
    what();
    ALLOCATIONS.get() - before
}

#[test]
fn it_counts() {
    assert_eq!(allocations(|| drop(std::hint::black_box(Box::new(5)))), 1);
}

#[test]
fn frames_that_the_stream_takes_at_once_allocate_nothing_from_the_first_on() {
    for verify in [Verify::Off, Verify::All] {
        let mut feed = Feed::new(|s| s.verify = verify);
        // the channel begins
        feed.data(0, 1, 1);
        feed.data(1, 1, 1);
        let pairs = |feed: &mut Feed| {
            for n in 0..70_000 {
                feed.data(0, 2 + n * 4, 4);
                feed.data(1, 2 + n * 4, 4);
            }
        };
        assert_eq!(allocations(|| pairs(&mut feed)), 0);
        assert_eq!((feed.counts.released, feed.counts.gaps), (1 + 280_000, 0));
    }
}

#[test]
fn a_running_feed_allocates_nothing() {
    let timeouts = [GapTimeout::Auto, GapTimeout::After(Nanos::from_micros(50))];
    let verify = [Verify::Off, Verify::PerBillion(500_000_000), Verify::All];
    for (gap_timeout, verify) in timeouts.into_iter().flat_map(|timeout| verify.map(|verify| (timeout, verify))) {
        // with all of it taken, nothing more is; else nothing once the lists are as long as they get: lost ranges are last
        let reserve_all = verify == Verify::All;
        let mut feed = Feed::new(|s| (s.gap_timeout, s.verify, s.reserve_all) = (gap_timeout, verify, reserve_all));
        let mut next = feed.traffic(1, if reserve_all { 2_000 } else { 100_000 });
        assert_eq!(allocations(|| next = feed.traffic(next, 100_000)), 0);
        let counts = &feed.counts;
        let lost = counts.by_reason[LostReason::Deadline as usize] + counts.by_reason[LostReason::Settled as usize];
        for (what, often) in [
            ("gaps", counts.gaps),
            ("fills", counts.filled),
            ("held", counts.held),
            ("lost", lost),
            ("late", counts.late),
            ("divergences", if verify == Verify::Off { u64::MAX } else { counts.divergences }),
        ] {
            assert!(often > 100, "{what}: {often} are too few to prove anything");
        }
        assert!(counts.released + counts.lost <= next);
    }
}

#[test]
fn a_full_hold_allocates_nothing() {
    let full = |reserve_all: bool| {
        Feed::new(|s| (s.gap_timeout, s.reserve_all) = (GapTimeout::After(Nanos::from_secs(60)), reserve_all))
    };
    let fill = |feed: &mut Feed| {
        // 65,536 messages behind one gap, one by one; then more, and then the gap is filled
        let first = feed.counts.released + feed.counts.lost + 1;
        (0..65_536 + 10).for_each(|n| feed.data(0, first + 1 + n, 1));
        feed.data(1, first, 1);
    };
    for reserve_all in [true, false] {
        let mut feed = full(reserve_all);
        feed.data(0, 1, 1);
        feed.data(1, 1, 1);
        // as it is needed: a segment for every 256 KiB, and lists that double
        let first = allocations(|| fill(&mut feed));
        assert!(if reserve_all { first == 0 } else { (1..100).contains(&first) }, "{first} allocations");
        assert_eq!(allocations(|| fill(&mut feed)), 0, "what was taken is kept");
        assert_eq!(feed.counts.by_reason[LostReason::Hold as usize], 2);
    }
}

#[test]
fn a_full_gap_list_allocates_nothing() {
    let mut feed = Feed::new(|s| {
        s.gap_timeout = GapTimeout::After(Nanos::from_secs(60));
        s.hold_messages = 1 << 18;
        s.reserve_all = true;
    });
    feed.data(0, 1, 1);
    feed.data(1, 1, 1);
    let mut next = 2;
    let open = |feed: &mut Feed, next: &mut u64| {
        for _ in 0..65_536 + 100 {
            feed.data(0, *next + 1, 1);
            *next += 2;
        }
    };
    assert_eq!(allocations(|| open(&mut feed, &mut next)), 0);
    assert_eq!(feed.counts.by_reason[LostReason::Gaps as usize], 100);
    // one line's sixty-fours fill them all, and the next frame finds nothing open
    assert_eq!(allocations(|| (2..next).step_by(64).for_each(|first| feed.data(1, first, 64))), 0);
    assert!(feed.counts.released + feed.counts.lost >= next - 1, "something is still open");
}

/// A line over loopback.
fn over_loopback() -> config::Feed {
    let port = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let [_, _, c, d] = std::process::id().to_be_bytes();
    let text = format!(
        "name = \"x\"\nframing = \"moldudp64\"\n[[line]]\nname = \"A\"\ngroups = [\"239.77.{c}.{d}:{port}\"]\n\
         interface = \"127.0.0.1\"\n"
    );
    config::Feed::parse(&text).unwrap()
}

/// The same frames over and over.
struct Again {
    frames: Vec<Vec<u8>>,
    at: usize,
}

impl Ring for Again {
    fn poll(&mut self, take: &mut impl FnMut(RawFrame<'_>)) -> io::Result<usize> {
        for _ in 0..RECEIVE_BATCH {
            let bytes = &self.frames[self.at % self.frames.len()];
            self.at += 1;
            take(RawFrame { bytes, truncated: false, checksum: Checksum::Ready, kernel_stamp: None, joined: None });
        }
        Ok(RECEIVE_BATCH)
    }
}

/// What such a ring is attached to.
#[derive(Debug)]
struct Nowhere;

impl Attachment for Nowhere {
    fn attach(&mut self, _: u32) -> Result<(), MappedRingError> {
        Ok(())
    }

    fn detach(&mut self) {}

    fn attached(&self) -> Option<u32> {
        None
    }

    fn overflow(&mut self) -> io::Result<u64> {
        Ok(0)
    }

    fn buffer_bytes(&self) -> (usize, usize) {
        (0, 0)
    }
}

#[test]
fn frames_good_and_bad_and_in_fragments_allocate_nothing() {
    let feed = over_loopback();
    let group = feed.lines[0].groups[0];
    let frame = |payload: &[u8], to: u16| {
        let mut bytes = Vec::new();
        let builder = etherparse::PacketBuilder::ethernet2([2; 6], [1, 0, 0x5e, 1, 1, 1]);
        builder.ipv4([10, 0, 0, 1], group.ip().octets(), 1).udp(5, to).write(&mut bytes, payload).unwrap();
        bytes
    };
    let good = frame(b"a payload of some bytes", group.port());
    let altered = |at: usize| {
        let mut bytes = good.clone();
        bytes[at] ^= 0x40;
        bytes
    };
    // both halves of a datagram of 24 bytes; then first halves of others, which are never put together
    let half = |id: u16, second: bool| {
        let whole = frame(&[7; 16], group.port());
        let mut bytes = [&whole[..34], if second { &whole[42..58] } else { &whole[34..42] }].concat();
        bytes[16..18].copy_from_slice(&(if second { 36u16 } else { 28 }).to_be_bytes());
        bytes[18..20].copy_from_slice(&id.to_be_bytes());
        bytes[20..22].copy_from_slice(&(if second { 1u16 } else { 0x2000 }).to_be_bytes());
        bytes[24..26].fill(0);
        let sum = etherparse::checksum::Sum16BitWords::new().add_slice(&bytes[14..34]).ones_complement();
        bytes[24..26].copy_from_slice(&sum.to_ne_bytes());
        bytes
    };
    let mut frames = vec![good.clone(), altered(14), altered(24), altered(45), frame(b"foreign", group.port() ^ 1)];
    frames.extend([half(1, true), half(1, false), good[..30].to_vec(), vec![0; 60]]);
    frames.extend((2..100).map(|id| half(id, false)));
    let open = |_: &_| Ok((Again { frames: frames.clone(), at: 0 }, Nowhere));
    let (mut source, _watch) = Mapped::open(&feed, &ReceiveOptions::default(), open).unwrap();
    let mut bytes = 0;
    let mut poll = |passes: usize| {
        for _ in 0..passes {
            source.poll(&mut |d| bytes += d.payload.len()).unwrap();
        }
    };
    poll(100);
    assert_eq!(allocations(|| poll(10_000)), 0);
    let facts = source.facts().lines[0];
    let counts = [
        facts.datagrams,
        facts.frames.malformed,
        facts.frames.ip_checksum,
        facts.frames.udp_checksum,
        facts.frames.foreign,
        facts.fragments.datagrams,
        facts.fragments.evicted,
    ];
    assert!(counts.iter().all(|count| *count > 1_000), "{facts:?}");
}

#[test]
fn a_packet_sockets_ring_allocates_nothing() {
    let feed = over_loopback();
    let (mut source, _watch) = match Mapped::open(&feed, &ReceiveOptions::default(), PacketRing::open) {
        Ok(open) => open,
        Err(error) => {
            eprintln!("skipped: {error}");
            return;
        }
    };
    let mut sender = Sender::open(feed.lines[0].groups[0], "127.0.0.1", SendOptions::default().with_ttl(0)).unwrap();
    let mut received = 0;
    // beyond the ring's end and around, with frames that are longer than its slots
    for n in 0..200u32 {
        (0..50u32).for_each(|_| assert_eq!(sender.send(&n.to_be_bytes()).unwrap(), None));
        assert_eq!(sender.send(&[5; 10_000]).unwrap(), None);
        let passes = || while source.poll(&mut |_| received += 1).unwrap().datagrams > 0 {};
        assert_eq!(allocations(passes), 0);
    }
    assert_eq!(received, 200 * 51);
    assert_eq!(allocations(|| (0..1_000).for_each(|_| drop(source.poll(&mut |_| ())))), 0, "when there is nothing");
}

/// The hot thread's part of it is counted; what the other thread does stands between.
#[test]
fn clients_come_and_go_without_an_allocation_or_a_free_of_the_hot_thread() {
    use twinline_client::{CAPACITY_MIN, Deliveries, FeedFacts, StreamKind};

    fn hot(deliveries: &mut Deliveries, datagram: &[u8], calls: u32) {
        let counts = || (ALLOCATIONS.with(Cell::get), FREED.with(Cell::get));
        let mut arbiter = Arbiter::new(Settings::new(MoldUdp64.rules(), vec![true, true], 1));
        let frame = MoldUdp64.frame(datagram, &mut 0).unwrap().unwrap();
        arbiter.on_frame(Nanos(1), Line(0), 0, &frame, deliveries);
        arbiter.on_frame(Nanos(2), Line(1), 0, &frame, deliveries);
        let before = counts();
        for _ in 0..calls {
            deliveries.tend();
        }
        arbiter.advance(Nanos(3), deliveries);
        assert_eq!(counts(), before);
    }

    let facts = FeedFacts::new(MoldUdp64.packing(), "test", vec!["A".into(), "B".into()]);
    let mut datagram = Vec::new();
    MoldUdp64.encode(Session::text(b"TODAY"), 1, &[b"one"], 1_400, &mut datagram);
    let (mut deliveries, mut roster) = Deliveries::new(4);
    for round in 0..3 {
        let (mut ids, mut clients) = (Vec::new(), Vec::new());
        for _ in 0..4 {
            let (delivery, client) = twinline_client::open(&facts, StreamKind::Ordered.into(), CAPACITY_MIN).unwrap();
            ids.push(roster.attach(delivery).unwrap());
            clients.push(client);
        }
        hot(&mut deliveries, &datagram, 1);
        assert_eq!(deliveries.iter().count(), 4, "round {round}");
        assert!(roster.detach(ids[0]) && roster.detach(ids[2]));
        clients.remove(1);
        hot(&mut deliveries, &datagram, 4 * Deliveries::LOOK_EVERY);
        assert_eq!(deliveries.iter().count(), 1);
        assert_eq!(std::iter::from_fn(|| roster.returned()).count(), 3);
        assert!(roster.detach(ids[3]));
        hot(&mut deliveries, &datagram, 1);
        drop(roster.returned().expect("the last"));
    }
}
