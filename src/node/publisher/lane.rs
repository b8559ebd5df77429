//! From messages to datagrams on their way: packs, numbers, faults. A lane is one group on one line.
//!
//! ```text
//!  message -> the lane's open pack -> encode -> the line's faults -> [overtaken by others] -> queue by due time
//! ```

use fastrand::Rng;

use twinline_core::Nanos;
use twinline_core::frame::{FrameKind, Line, Session};
use twinline_core::framing::Framing;

use super::queue::{Datagram, Queue};
use super::terms::{LinePlan, PACK_MAX, PlanConfig, PlanError};
use crate::fault::{Fate, FaultCounts, LineFaults, Overtaken, Purpose, stream};

/// How many bytes a message takes at least besides its own: a guess that only says when a pack may be full.
const OVERHEAD: usize = 2;
/// The most that UDP over IPv4 carries.
const UDP_PAYLOAD_MAX: usize = 65_507;

struct Lane {
    line: Line,
    group: u16,
    /// The number of the first message that is in no datagram yet.
    next: u64,
    /// The open pack: its messages one after the other, and their lengths.
    packed: Vec<u8>,
    lens: Vec<usize>,
    /// How many messages it is to hold.
    target: usize,
    /// Counts the packs that were opened.
    serial: u64,
    packing: Rng,
    waiting: Overtaken<(Fate, Datagram)>,
}

/// All lanes, by group and then line, and the queue that they lead to.
pub(super) struct Lanes<F> {
    framing: F,
    session: Session,
    max_len: usize,
    plans: Vec<LinePlan>,
    lanes: Vec<Lane>,
    faults: Vec<LineFaults>,
    pub(super) queue: Queue,
}

impl<F: Framing> Lanes<F> {
    pub(super) fn new(framing: F, config: &PlanConfig) -> Lanes<F> {
        let faults = |(line, plan): (usize, &LinePlan)| {
            LineFaults::new(plan.faults.clone(), config.seed, Line(line as u8), config.start)
        };
        let lines = config.lines.len() as u8;
        let lane = |(group, line)| Lane {
            line: Line(line),
            group,
            next: config.first,
            packed: Vec::new(),
            lens: Vec::new(),
            target: 0,
            serial: 0,
            packing: stream(config.seed, Line(line), group, Purpose::Packing),
            waiting: Overtaken::with_capacity(0),
        };
        Lanes {
            framing,
            session: config.session,
            max_len: config.max_len.min(UDP_PAYLOAD_MAX),
            plans: config.lines.clone(),
            lanes: config.groups.clone().flat_map(|g| (0..lines).map(move |l| (g, l))).map(lane).collect(),
            faults: config.lines.iter().enumerate().map(faults).collect(),
            queue: Queue::default(),
        }
    }

    pub(super) fn framing(&self) -> F {
        self.framing
    }

    pub(super) fn lines(&self) -> usize {
        self.faults.len()
    }

    pub(super) fn len(&self) -> usize {
        self.lanes.len()
    }

    pub(super) fn counts(&self, line: Line) -> FaultCounts {
        self.faults.get(line.index()).map_or(FaultCounts::default(), LineFaults::counts)
    }

    /// Counts a datagram that leaves early for lack of room.
    pub(super) fn hurry(&mut self, line: Line) {
        self.faults[line.index()].count_hurried();
    }

    /// Which pack of the lane is open now, if one is.
    pub(super) fn open(&self, lane: usize) -> Option<u64> {
        let lane = &self.lanes[lane];
        (!lane.lens.is_empty()).then_some(lane.serial)
    }

    /// Puts a message into the lane's pack; the pack leaves when it is complete. Returns whether one was opened that
    /// waits for more.
    pub(super) fn add(&mut self, at: usize, message: &[u8], now: Nanos) -> Result<bool, PlanError> {
        let was_open = self.open(at);
        let lane = &mut self.lanes[at];
        if lane.lens.is_empty() {
            lane.begin(&self.plans[lane.line.index()]);
        }
        lane.packed.extend_from_slice(message);
        lane.lens.push(message.len());
        if lane.lens.len() >= lane.target {
            self.flush(at, now)?;
        } else if lane.packed.len() + OVERHEAD * lane.lens.len() > self.max_len {
            self.close(at, now)?;
            let lane = &mut self.lanes[at];
            if !lane.lens.is_empty() {
                lane.begin(&self.plans[lane.line.index()]);
            }
        }
        let open = self.open(at);
        Ok(open.is_some() && open != was_open)
    }

    /// Sends all that the lane's pack holds.
    pub(super) fn flush(&mut self, at: usize, now: Nanos) -> Result<(), PlanError> {
        while !self.lanes[at].lens.is_empty() {
            self.close(at, now)?;
        }
        Ok(())
    }

    /// Sends one datagram with as much of the lane's pack as it may hold.
    fn close(&mut self, at: usize, now: Nanos) -> Result<(), PlanError> {
        let mut bytes = self.queue.buffer();
        let lane = &mut self.lanes[at];
        let mut messages = [[].as_slice(); PACK_MAX as usize];
        let mut rest = lane.packed.as_slice();
        for (message, &len) in messages.iter_mut().zip(&lane.lens) {
            (*message, rest) = rest.split_at(len);
        }
        let held = lane.lens.len().min(messages.len());
        let took = self.framing.encode(self.session, lane.next, &messages[..held], self.max_len, &mut bytes).min(held);
        if took == 0 || bytes.len() > UDP_PAYLOAD_MAX {
            let len = lane.lens.first().copied().unwrap_or(0);
            return Err(PlanError::TooLong { number: lane.next, len, framing: self.framing.name() });
        }
        let used: usize = lane.lens.drain(..took).sum();
        lane.packed.drain(..used);
        let first = lane.next;
        lane.next += took as u64;
        self.emit(at, FrameKind::Data, first, took as u32, bytes, now);
        Ok(())
    }

    /// Sends a heartbeat, if the framing has one; returns how many numbers it consumed.
    pub(super) fn heartbeat(&mut self, at: usize, now: Nanos) -> u32 {
        let mut bytes = self.queue.buffer();
        let next = self.lanes[at].next;
        let consumed = self.framing.encode_heartbeat(self.session, next, &mut bytes);
        if bytes.is_empty() {
            return 0; // a framing described in a feed file may have none
        }
        self.lanes[at].next += u64::from(consumed);
        self.emit(at, FrameKind::Heartbeat, next, consumed, bytes, now);
        consumed
    }

    /// Sends an end of session, if the framing has one.
    pub(super) fn end(&mut self, at: usize, now: Nanos) -> bool {
        let mut bytes = self.queue.buffer();
        let next = self.lanes[at].next;
        let known = self.framing.encode_end(self.session, next, &mut bytes);
        if known {
            self.emit(at, FrameKind::EndOfSession, next, 0, bytes, now);
        }
        known
    }

    /// Sends what still waits to be overtaken: nothing more will come.
    pub(super) fn release(&mut self, at: usize, now: Nanos) {
        while let Some(((fate, datagram), overtaken)) = self.lanes[at].waiting.give_up() {
            let line = datagram.line;
            if self.schedule(datagram, fate, now) && overtaken {
                self.faults[line.index()].count_reordered();
            }
        }
    }

    /// A datagram meets its line's faults.
    fn emit(&mut self, at: usize, kind: FrameKind, first: u64, count: u32, bytes: Vec<u8>, now: Nanos) {
        let lane = &mut self.lanes[at];
        let mut datagram = Datagram {
            due: now,
            line: lane.line,
            group: lane.group,
            kind,
            first,
            count,
            dropped: None,
            corrupted: false,
            copy: false,
            bytes,
        };
        let fate = self.faults[lane.line.index()].draw(datagram.bytes.len());
        if let Some((byte, by)) = fate.corrupt {
            datagram.bytes[byte] ^= by;
            datagram.corrupted = true;
        }
        if let (None, Some(behind)) = (fate.lost, fate.behind)
            && lane.waiting.may_wait(behind)
        {
            lane.waiting.wait(behind, (fate, datagram));
            return;
        }
        if self.schedule(datagram, fate, now) {
            self.overtake(at, now);
        }
    }

    /// A datagram of this lane got through at `now`: what waits for that is one nearer to its turn.
    fn overtake(&mut self, at: usize, now: Nanos) {
        self.lanes[at].waiting.pass();
        while let Some((fate, datagram)) = self.lanes[at].waiting.next_ready() {
            let line = datagram.line;
            if self.schedule(datagram, fate, now) {
                self.faults[line.index()].count_reordered();
            }
        }
    }

    /// Gives a datagram its due time and puts it on its way; returns whether it gets through.
    fn schedule(&mut self, mut datagram: Datagram, fate: Fate, now: Nanos) -> bool {
        (datagram.due, datagram.dropped) = self.faults[datagram.line.index()].arrive(now, &fate);
        if datagram.dropped.is_some() {
            self.queue.push(datagram);
            return false;
        }
        let copy = fate.duplicate.then(|| {
            let mut bytes = self.queue.buffer();
            bytes.extend_from_slice(&datagram.bytes);
            Datagram { copy: true, bytes, ..datagram }
        });
        self.queue.push(datagram);
        if let Some(copy) = copy {
            self.queue.push(copy);
        }
        true
    }
}

impl Lane {
    /// Opens a pack (or goes on with what the last datagram had no room for).
    fn begin(&mut self, plan: &LinePlan) {
        self.serial += 1;
        self.target = self.packing.u32(plan.pack_min..=plan.pack_max) as usize;
    }
}
