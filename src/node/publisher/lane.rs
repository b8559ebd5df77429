//! From messages to datagrams on their way: packs, numbers, faults. A lane is one group on one line.
//!
//! ```text
//!  message -> the lane's open pack -> encode -> the line's faults -> [overtaken by others] -> queue by due time
//! ```

use fastrand::Rng;

use twinline_core::frame::{FrameKind, Line, Session};
use twinline_core::framing::Framing;
use twinline_core::time::Nanos;

use super::fault::{Cause, Fate, LineFaults, Purpose, stream};
use super::plan::{LineCounts, LinePlan, PACK_MAX, PlanConfig, PlanError};
use super::queue::{Datagram, Queue};

/// What a message takes in a datagram at least beside its own bytes: a guess that only says when a pack may be full.
const OVERHEAD: usize = 2;
/// The most that UDP over IPv4 carries.
const UDP_PAYLOAD_MAX: usize = 65_507;

/// One line under way.
struct Path {
    faults: LineFaults,
    last_due: Nanos,
    counts: LineCounts,
}

/// A datagram that waits to be overtaken.
struct Held {
    left: u32,
    overtaken: bool,
    fate: Fate,
    datagram: Datagram,
}

struct Lane {
    line: Line,
    group: u16,
    /// The number of the first message that is in no datagram yet.
    next: u64,
    /// The open pack: its messages one behind the other, and their lengths.
    packed: Vec<u8>,
    lens: Vec<usize>,
    /// How many messages it is to have.
    target: usize,
    /// Counts the packs that were opened.
    serial: u64,
    packing: Rng,
    held: Vec<Held>,
}

/// All lanes, and the queue that they lead to. Lanes stand by group, then line.
pub(super) struct Lanes<F> {
    framing: F,
    session: Session,
    max_len: usize,
    plans: Vec<LinePlan>,
    lanes: Vec<Lane>,
    paths: Vec<Path>,
    pub(super) queue: Queue,
}

impl<F: Framing> Lanes<F> {
    pub(super) fn new(framing: F, config: &PlanConfig) -> Lanes<F> {
        let path = |(line, plan): (usize, &LinePlan)| Path {
            faults: LineFaults::new(plan.faults.clone(), config.seed, Line(line as u8)),
            last_due: config.start,
            counts: LineCounts::default(),
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
            held: Vec::new(),
        };
        Lanes {
            framing,
            session: config.session,
            max_len: config.max_len.min(UDP_PAYLOAD_MAX),
            plans: config.lines.clone(),
            lanes: config.groups.clone().flat_map(|g| (0..lines).map(move |l| (g, l))).map(lane).collect(),
            paths: config.lines.iter().enumerate().map(path).collect(),
            queue: Queue::default(),
        }
    }

    pub(super) fn framing(&self) -> F {
        self.framing
    }

    pub(super) fn lines(&self) -> usize {
        self.paths.len()
    }

    pub(super) fn len(&self) -> usize {
        self.lanes.len()
    }

    pub(super) fn counts(&self, line: Line) -> LineCounts {
        self.paths.get(line.index()).map_or(LineCounts::default(), |path| path.counts)
    }

    /// Counts a datagram that leaves early for want of room.
    pub(super) fn hurry(&mut self, line: Line) {
        self.paths[line.index()].counts.hurried += 1;
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

    /// Sends a heartbeat, where the framing has one; returns how many numbers it consumed.
    pub(super) fn heartbeat(&mut self, at: usize, now: Nanos) -> u32 {
        let mut bytes = self.queue.buffer();
        let next = self.lanes[at].next;
        let consumed = self.framing.encode_heartbeat(self.session, next, &mut bytes);
        if bytes.is_empty() {
            return 0; // a framing that a feed file describes may have none
        }
        self.lanes[at].next += u64::from(consumed);
        self.emit(at, FrameKind::Heartbeat, next, consumed, bytes, now);
        consumed
    }

    /// Sends an end of session, where the framing has one.
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
        for mut held in std::mem::take(&mut self.lanes[at].held) {
            held.datagram.due = now;
            self.unhold(held);
        }
    }

    /// A datagram meets its line's faults.
    fn emit(&mut self, at: usize, kind: FrameKind, first: u64, count: u32, bytes: Vec<u8>, now: Nanos) {
        let lane = &mut self.lanes[at];
        let path = &mut self.paths[lane.line.index()];
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
        path.counts.datagrams += 1;
        let fate = path.faults.draw(datagram.bytes.len());
        datagram.dropped = fate.lost;
        if datagram.dropped.is_none()
            && let Some((byte, by)) = fate.corrupt
        {
            datagram.bytes[byte] ^= by;
            datagram.corrupted = true;
        }
        // no more wait than may overtake: else a line that delays everything would send nothing
        if let (None, Some(behind)) = (datagram.dropped, fate.behind)
            && lane.held.len() < behind as usize
        {
            lane.held.push(Held { left: behind, overtaken: false, fate, datagram });
            return;
        }
        if self.schedule(datagram, fate) {
            self.overtake(at, now);
        }
    }

    /// A datagram of this lane got through at `now`: what waits for that is one nearer to its turn.
    fn overtake(&mut self, at: usize, now: Nanos) {
        let held = &mut self.lanes[at].held;
        if held.is_empty() {
            return;
        }
        for held in held.iter_mut() {
            held.left -= 1;
            held.overtaken = true;
        }
        while let Some(turn) = self.lanes[at].held.iter().position(|h| h.left == 0) {
            let mut held = self.lanes[at].held.remove(turn);
            held.datagram.due = now;
            self.unhold(held);
        }
    }

    fn unhold(&mut self, held: Held) {
        let line = held.datagram.line;
        if self.schedule(held.datagram, held.fate) && held.overtaken {
            self.paths[line.index()].counts.reordered += 1;
        }
    }

    /// Gives a datagram its due time and puts it on its way; returns whether it gets through.
    fn schedule(&mut self, mut datagram: Datagram, fate: Fate) -> bool {
        let path = &mut self.paths[datagram.line.index()];
        datagram.due = path.last_due.max(datagram.due + fate.delay);
        path.last_due = datagram.due;
        if datagram.dropped.is_none() && path.faults.out(datagram.due) {
            datagram.dropped = Some(Cause::Outage);
        }
        match datagram.dropped {
            Some(Cause::Loss) => path.counts.lost += 1,
            Some(Cause::Burst) => path.counts.lost_in_bursts += 1,
            Some(Cause::Outage) => path.counts.lost_in_outages += 1,
            None => path.counts.corrupted += u64::from(datagram.corrupted),
        }
        if datagram.dropped.is_some() {
            self.queue.push(datagram);
            return false;
        }
        let copy = fate.duplicate.then(|| {
            path.counts.duplicated += 1;
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
