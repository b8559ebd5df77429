//! The arbiter of a measurement: the same loop as anywhere else ([`runtime::live`](twinline_node::runtime::live)), with clock readings
//! around it.
//!
//! The measurement adds two readings per datagram: one when the datagram is taken up, right after the receive call returns (in a
//! batch, when its turn comes), and one when its record is in the ring. The arbiter's time is the pass's reading, as always. A
//! delivered record carries the first of the two in its stamp. A message that was held for a gap carries the reading of the pass that
//! received it, which was taken before the call.

use std::cell::Cell;
use std::io;
use std::sync::OnceLock;

use twinline_core::arbiter::{Arbiter, ChannelRef, Event, Loss, Run, Sink};
use twinline_core::frame::{LINES_MAX, Session};
use twinline_core::framing::Framing;
use twinline_core::{Nanos, SeqRange};
use twinline_node::os::{Clock, Spin, Stop};
use twinline_node::runtime::LiveHooks;
use twinline_node::source::{Datagram, Pass, Source};

use super::latencies::{Stage, Stages};
use super::message::Stamps;

/// How long the arbiter keeps listening when nothing comes any more.
const QUIET: Nanos = Nanos::from_millis(50);
/// The same if no end of session was seen, or if a line's delay keeps copies back.
const QUIET_MAX: Nanos = Nanos::from_millis(500);

/// A source that notes when each datagram was taken up.
#[derive(Debug)]
pub(super) struct Noting<'a, S> {
    /// Where datagrams come from.
    pub(super) source: &'a mut S,
    /// What the clock said at the last one.
    pub(super) taken: &'a Cell<Nanos>,
    /// By which clock.
    pub(super) clock: Clock,
}

impl<S: Source> Source for Noting<'_, S> {
    #[inline]
    fn poll(&mut self, take: &mut impl FnMut(Datagram<'_>)) -> io::Result<Pass> {
        let (clock, taken) = (self.clock, self.taken);
        self.source.poll(&mut |datagram| {
            taken.set(clock.now());
            take(datagram);
        })
    }
}

/// A sink that passes on what it gets, stamped with the time at which the datagram was taken up, and notes when that was done.
#[derive(Debug)]
pub(super) struct Publishing<'a, S> {
    /// Where it goes.
    pub(super) sink: S,
    /// When the datagram was taken up.
    pub(super) taken: &'a Cell<Nanos>,
    /// By which clock.
    pub(super) clock: Clock,
    /// Messages that were due before this are not measured.
    pub(super) from: &'a OnceLock<Nanos>,
    /// What was measured.
    pub(super) stages: Stages,
}

impl<S: Sink> Sink for Publishing<'_, S> {
    fn event(&mut self, event: &Event) {
        self.sink.event(event);
    }

    #[inline]
    fn release(&mut self, run: &Run<'_>) {
        let stamp = if run.flags.held { run.stamp } else { self.taken.get() };
        self.sink.release(&Run { stamp, ..*run });
        let now = self.clock.now();
        let stamps = run.messages().next().and_then(|message| Stamps::of(run.packing, message));
        if let (Some(stamps), Some(&from)) = (stamps, self.from.get())
            && stamps.intended >= from
            && stamps.intended <= now
        {
            self.stages.record_n(Stage::Publish, now - stamp, run.count.into());
        }
    }

    fn loss(&mut self, loss: &Loss) {
        self.sink.loss(loss);
    }

    fn late(&mut self, run: &Run<'_>) {
        self.sink.late(run);
    }

    fn unsequenced(&mut self, run: &Run<'_>) {
        self.sink.unsequenced(run);
    }

    fn first(&mut self, run: &Run<'_>) {
        self.sink.first(run);
    }

    fn first_gap(&mut self, at: Nanos, channel: ChannelRef, session: Session, range: SeqRange) {
        self.sink.first_gap(at, channel, session, range);
    }
}

/// What the kernel's stamps showed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct StampCounts {
    /// Datagrams with the kernel's own stamp.
    pub(super) software: u64,
    /// Datagrams with the NIC's stamp.
    pub(super) hardware: u64,
    /// Datagrams with neither.
    pub(super) none: u64,
    /// Kernel stamps that lie before the send or after the receive: the wall clock was stepped, or the stamp is a queue's.
    pub(super) out_of_order: u64,
}

/// The hooks of an open-loop pass in the arbiter's loop.
#[derive(Debug)]
pub(super) struct OpenLoopHooks<'a, F> {
    /// How datagrams are read, for the stamps in them.
    pub(super) framing: F,
    /// The run's clock.
    pub(super) clock: Clock,
    /// What to do while nothing comes.
    pub(super) spin: Spin,
    /// Requested when everything was sent.
    pub(super) published: &'a Stop,
    /// Messages that were due before this are not measured.
    pub(super) from: &'a OnceLock<Nanos>,
    /// When the last datagram was taken up.
    pub(super) taken: &'a Cell<Nanos>,
    /// By how many nanoseconds the wall clock, and so a kernel's stamp, is ahead; `None`: kernel stamps are not looked at.
    pub(super) wall_ahead_ns: Option<i64>,
    /// What the kernel's stamps showed.
    pub(super) stages: Stages,
    /// How many there were.
    pub(super) stamps: StampCounts,
    /// Datagrams by line.
    pub(super) datagrams: [u64; LINES_MAX],
    /// When a datagram came last, and the pass's reading.
    pub(super) heard: (Nanos, Nanos),
}

impl<F: Framing> OpenLoopHooks<'_, F> {
    /// Kernel stamps, of every copy that comes.
    fn look(&mut self, datagram: &Datagram<'_>, ahead_ns: i64) {
        let Some(stamp) = datagram.kernel_stamp else {
            self.stamps.none += 1;
            return;
        };
        self.stamps.software += u64::from(stamp.software.is_some());
        self.stamps.hardware += u64::from(stamp.hardware.is_some());
        let frame = self.framing.frame(datagram.payload, &mut 0).and_then(Result::ok);
        let stamps = frame.and_then(|frame| Stamps::of(frame.packing, frame.packing.messages(frame.body).next()?));
        let Some(Stamps { intended, sent }) = stamps else { return };
        let (Some(software), Some(&from)) = (stamp.software, self.from.get()) else { return };
        if intended < from || intended > self.taken.get() {
            return;
        }
        let kernel = Nanos(software.0.wrapping_sub_signed(ahead_ns));
        if kernel < sent || kernel > self.taken.get() {
            self.stamps.out_of_order += 1;
            return;
        }
        self.stages.record(Stage::Kernel, kernel - sent);
        self.stages.record(Stage::Woken, self.taken.get() - kernel);
    }
}

impl<F: Framing> LiveHooks for OpenLoopHooks<'_, F> {
    #[inline]
    fn now(&mut self) -> Nanos {
        self.heard.1 = self.clock.now();
        self.heard.1
    }

    #[inline]
    fn datagram(&mut self, _: Nanos, datagram: &Datagram<'_>) {
        if let Some(count) = self.datagrams.get_mut(datagram.line.index()) {
            *count += 1;
        }
        if let Some(ahead_ns) = self.wall_ahead_ns {
            self.look(datagram, ahead_ns);
        }
    }

    #[inline]
    fn idle(&mut self) {
        self.spin.idle();
    }

    #[inline]
    fn go_on(&mut self, arbiter: &Arbiter, datagrams: usize) -> bool {
        let (heard, reading) = &mut self.heard;
        if datagrams > 0 || !self.published.requested() {
            *heard = *reading;
            return true;
        }
        let quiet = *reading - *heard;
        !(quiet >= QUIET_MAX || quiet >= QUIET && arbiter.all_ended())
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, SocketAddrV4};

    use super::*;
    use twinline_core::arbiter::{Settings, Sink};
    use twinline_core::frame::Line;
    use twinline_core::framing::MoldUdp64;
    use twinline_node::os::KernelStamp;

    /// The stamps of what is released, and whether it was held.
    #[derive(Default)]
    struct Released(Vec<(Nanos, bool)>);

    impl Sink for Released {
        fn event(&mut self, _: &Event) {}

        fn release(&mut self, run: &Run<'_>) {
            self.0.push((run.stamp, run.flags.held));
        }
    }

    /// A datagram with one message.
    fn datagram(number: u64, stamps: Stamps) -> Vec<u8> {
        let (mut message, mut datagram) = ([0; 16], Vec::new());
        stamps.write(&mut message);
        MoldUdp64.encode(Session::text(b"S"), number, &[&message], 1_400, &mut datagram);
        datagram
    }

    fn heard(line: u8, payload: &[u8]) -> Datagram<'_> {
        let source = SocketAddrV4::new(Ipv4Addr::LOCALHOST, 1);
        Datagram { line: Line(line), group: 0, source, stamp: None, kernel_stamp: None, payload }
    }

    struct Listed(Vec<(u8, Vec<u8>)>);

    impl Source for Listed {
        fn poll(&mut self, take: &mut impl FnMut(Datagram<'_>)) -> io::Result<Pass> {
            let count = self.0.len();
            self.0.drain(..).for_each(|(line, payload)| take(heard(line, &payload)));
            Ok(Pass { datagrams: count, full: false, ended: true })
        }
    }

    #[test]
    fn a_record_carries_the_time_at_which_its_datagram_was_taken_up() {
        let clock = Clock::start();
        let (taken, from) = (Cell::new(Nanos::ZERO), OnceLock::from(Nanos(5)));
        let sent = Stamps { intended: Nanos(5), sent: Nanos(6) };
        let warm_up = Stamps { intended: Nanos(4), sent: Nanos(4) };
        // line A misses number 2, which line B brings: number 3 is held for it
        let sends = [(0, 1, warm_up), (1, 1, warm_up), (0, 3, sent), (1, 2, sent)];
        let mut source = Listed(sends.map(|(line, number, stamps)| (line, datagram(number, stamps))).into());
        let mut source = Noting { source: &mut source, taken: &taken, clock };
        let stages = Stages::default();
        let mut sink = Publishing { sink: Released::default(), taken: &taken, clock, from: &from, stages };
        let mut arbiter = Arbiter::new(Settings::new(MoldUdp64.rules(), vec![true, true], 1));
        let mut seen = Vec::new();
        let pass_began = clock.now();
        source
            .poll(&mut |datagram| {
                seen.push(taken.get());
                let frame = MoldUdp64.frame(datagram.payload, &mut 0).unwrap().unwrap();
                arbiter.on_frame(pass_began, datagram.line, 0, &frame, &mut sink);
            })
            .unwrap();
        assert!(seen.is_sorted() && seen[0] >= pass_began);
        // the first message was believed when its second copy came
        assert_eq!(sink.sink.0, [(seen[1], false), (seen[3], false), (pass_began, true)]);
        assert_eq!(sink.stages.of(Stage::Publish).len(), 2, "the warm-up is not timed");
    }

    #[test]
    fn kernel_stamps_are_brought_back_to_our_clock_and_those_that_cannot_be_are_counted() {
        let (published, from, taken) = (Stop::new(), OnceLock::from(Nanos(1_000)), Cell::new(Nanos(5_000)));
        let clock = Clock::start();
        let mut beside = OpenLoopHooks {
            framing: MoldUdp64,
            clock,
            spin: Spin::new(true),
            published: &published,
            from: &from,
            taken: &taken,
            wall_ahead_ns: Some(-300),
            stages: Stages::default(),
            stamps: StampCounts::default(),
            datagrams: [0; LINES_MAX],
            heard: (Nanos::ZERO, Nanos::ZERO),
        };
        let payload = datagram(1, Stamps { intended: Nanos(1_000), sent: Nanos(2_000) });
        let warm_up = datagram(1, Stamps { intended: Nanos(999), sent: Nanos(2_000) });
        let mut tap = |payload, software: Option<u64>, hardware: Option<u64>| {
            let kernel_stamp = KernelStamp { software: software.map(Nanos), hardware: hardware.map(Nanos) };
            beside.datagram(Nanos::ZERO, &Datagram { kernel_stamp: Some(kernel_stamp), ..heard(1, payload) });
        };
        tap(&payload, Some(2_700), None); // at 3,000 by our clock
        tap(&payload, Some(1_699), Some(7)); // before the send
        tap(&payload, Some(4_701), None); // after the receive
        tap(&payload, None, Some(7));
        tap(&warm_up, Some(2_700), None);
        beside.datagram(Nanos::ZERO, &heard(0, &payload));
        assert_eq!(beside.stamps, StampCounts { software: 4, hardware: 2, none: 1, out_of_order: 2 });
        let (kernel, woken) = (beside.stages.of(Stage::Kernel), beside.stages.of(Stage::Woken));
        assert_eq!((kernel.len(), kernel.max(), woken.len(), woken.max()), (1, 1_000, 1, 2_000));
        assert_eq!(beside.datagrams[..2], [1, 5]);
    }
}
