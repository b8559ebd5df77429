//! Forwarders that are wrong, each in its own way: the checker must find out.

use twinline_core::arbiter::{ChannelRef, Event, EventKind, Loss, LostReason, Run, RunFlags, Sink};
use twinline_core::frame::{ChannelKey, Frame, Line, Session};
use twinline_core::framing::{Framing, MoldUdp64};
use twinline_core::{Nanos, SeqNo, SeqRange};

use crate::record::{Forwarder, Honest, Record};

const CHANNEL: ChannelRef = ChannelRef { index: 0, key: ChannelKey { group: 0, key: None } };

fn frame(payload: &[u8]) -> Option<Frame<'_>> {
    MoldUdp64.frame(payload, &mut 0)?.ok()
}

fn run<'a>(frame: &Frame<'a>, first: u64, count: u32, body: &'a [u8], line: Line, stamp: Nanos) -> Run<'a> {
    let Frame { session, packing, .. } = *frame;
    let flags = RunFlags::default();
    Run { channel: CHANNEL, session, first: SeqNo(first), count, line, stamp, flags, packing, body }
}

fn say(out: &mut Record, at: Nanos, kind: EventKind) {
    out.event(&Event { at, channel: CHANNEL, kind });
}

/// The highest number wins: what a jump skips is lost at once.
#[derive(Default)]
pub struct HighestWins {
    session: Option<Session>,
    next: u64,
}

impl HighestWins {
    /// Begins with the first frame; gives up what is below `first`.
    fn reach(&mut self, stamp: Nanos, line: Line, frame: &Frame<'_>, out: &mut Record) {
        let (session, first) = (frame.session, frame.sequence);
        if self.session.is_none() {
            (self.session, self.next) = (Some(session), first);
            say(out, stamp, EventKind::Epoch { session, first: SeqNo(first) });
        }
        if self.next < first {
            let range = SeqRange::new(SeqNo(self.next), SeqNo(first));
            let reason = LostReason::Hold;
            say(out, stamp, EventKind::Gap { range, line });
            say(out, stamp, EventKind::Lost { range, reason, opened_by: line, opened_at: stamp });
            out.loss(&Loss { channel: CHANNEL, session, range, reason, at: stamp });
            self.next = first;
        }
    }
}

impl Forwarder for HighestWins {
    fn advance(&mut self, _: Nanos, _: &mut Record) {}

    fn on_datagram(&mut self, stamp: Nanos, line: Line, payload: &[u8], out: &mut Record) {
        let Some(frame) = frame(payload) else { return };
        self.reach(stamp, line, &frame, out);
        let end = frame.sequence + u64::from(frame.count);
        if end > self.next {
            let known = (self.next - frame.sequence) as u32;
            let skip = frame.packing.blocks_len(frame.body, known).unwrap();
            out.release(&run(&frame, self.next, frame.count - known, &frame.body[skip..], line, stamp));
            self.next = end;
        }
    }

    fn finish(&mut self, _: Nanos, _: &mut Record) {}
}

/// Forwards whatever comes: duplicates, too.
#[derive(Default)]
pub struct Everything(HighestWins);

impl Forwarder for Everything {
    fn advance(&mut self, _: Nanos, _: &mut Record) {}

    fn on_datagram(&mut self, stamp: Nanos, line: Line, payload: &[u8], out: &mut Record) {
        let Some(frame) = frame(payload) else { return };
        self.0.reach(stamp, line, &frame, out);
        if frame.count > 0 {
            out.release(&run(&frame, frame.sequence, frame.count, frame.body, line, stamp));
            self.0.next = self.0.next.max(frame.sequence + u64::from(frame.count));
        }
    }

    fn finish(&mut self, _: Nanos, _: &mut Record) {}
}

/// An honest arbiter that listens to line A alone.
pub struct OneLine(pub Honest<MoldUdp64>);

impl Forwarder for OneLine {
    fn advance(&mut self, stamp: Nanos, out: &mut Record) {
        self.0.advance(stamp, out);
    }

    fn on_datagram(&mut self, stamp: Nanos, line: Line, payload: &[u8], out: &mut Record) {
        if line == Line(0) {
            self.0.on_datagram(stamp, line, payload, out);
        }
    }

    fn finish(&mut self, stamp: Nanos, out: &mut Record) {
        self.0.finish(stamp, out);
    }
}

/// Waits for the whole capture, sorts it by number, and lets an honest arbiter have it as if it had come so.
pub struct SortsAll {
    honest: Honest<MoldUdp64>,
    all: Vec<(Nanos, Line, Vec<u8>)>,
}

impl SortsAll {
    pub fn new(honest: Honest<MoldUdp64>) -> SortsAll {
        SortsAll { honest, all: Vec::new() }
    }
}

impl Forwarder for SortsAll {
    fn advance(&mut self, _: Nanos, _: &mut Record) {}

    fn on_datagram(&mut self, stamp: Nanos, line: Line, payload: &[u8], _: &mut Record) {
        self.all.push((stamp, line, payload.to_vec()));
    }

    fn finish(&mut self, stamp: Nanos, out: &mut Record) {
        let stamps: Vec<Nanos> = self.all.iter().map(|&(stamp, ..)| stamp).collect();
        self.all.sort_by_key(|(_, _, payload)| frame(payload).map(|frame| frame.sequence));
        for (stamp, (_, line, payload)) in stamps.into_iter().zip(&self.all) {
            self.honest.on_datagram(stamp, *line, payload, out);
        }
        self.honest.finish(stamp, out);
    }
}
