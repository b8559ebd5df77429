//! A forwarder is anything that takes datagrams and says messages and events; a [`Record`] is all that it said, and when.

use twinline_core::arbiter::{Arbiter, ChannelRef, ChannelReport, Event, Loss, Run, RunFlags, Settings, Sink};
use twinline_core::frame::{Line, Packing, Session};
use twinline_core::framing::Framing;
use twinline_core::{Nanos, SeqRange};

/// A datagram as it arrives, and what it truly is.
#[derive(Clone, Debug)]
pub struct Input {
    pub stamp: Nanos,
    pub line: Line,
    pub payload: Vec<u8>,
    /// `None`: nothing that was published.
    pub truth: Option<Shown>,
}

/// What a genuine datagram shows: numbers `first .. first + count` of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shown {
    pub run: usize,
    pub first: u64,
    pub count: u64,
}

impl Shown {
    pub fn end(&self) -> u64 {
        self.first + self.count
    }
}

/// When something was said, by the list and not by the clock: before input `i` (what was due by its stamp) is `2 i`, for it is
/// `2 i + 1`, and after the last of `n` inputs is `2 n`.
pub type Moment = usize;

/// Takes datagrams, says what comes of them.
pub trait Forwarder {
    /// What is due by `stamp` happens.
    fn advance(&mut self, stamp: Nanos, out: &mut Record);
    fn on_datagram(&mut self, stamp: Nanos, line: Line, payload: &[u8], out: &mut Record);
    fn finish(&mut self, stamp: Nanos, out: &mut Record);

    /// The counters, of a forwarder that has them.
    fn report(&self) -> Option<ChannelReport> {
        None
    }
}

/// Consecutive messages, as they were said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Messages {
    pub session: Session,
    pub first: u64,
    pub count: u64,
    pub line: Line,
    pub stamp: Nanos,
    pub flags: RunFlags,
    pub packing: Packing,
    pub body: Vec<u8>,
}

impl Messages {
    fn of(run: &Run<'_>) -> Messages {
        Messages {
            session: run.session,
            first: run.first.0,
            count: u64::from(run.count),
            line: run.line,
            stamp: run.stamp,
            flags: run.flags,
            packing: run.packing,
            body: run.body.to_vec(),
        }
    }

    /// Number and bytes of each.
    pub fn each(&self) -> impl Iterator<Item = (u64, &[u8])> {
        (self.first..).zip(self.packing.messages(&self.body))
    }
}

/// One thing that was said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said {
    Event(Event),
    Release(Messages),
    Loss(Loss),
    Late(Messages),
    First(Messages),
}

/// All that a forwarder said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Record {
    pub now: Moment,
    pub said: Vec<(Moment, Said)>,
}

impl Record {
    fn say(&mut self, said: Said) {
        self.said.push((self.now, said));
    }

    /// What was said before a moment.
    pub fn before(&self, moment: Moment) -> &[(Moment, Said)] {
        &self.said[..self.said.partition_point(|&(at, _)| at < moment)]
    }

    pub fn events(&self) -> impl Iterator<Item = &Event> {
        self.said.iter().filter_map(|(_, said)| if let Said::Event(event) = said { Some(event) } else { None })
    }
}

impl Sink for Record {
    fn event(&mut self, event: &Event) {
        self.say(Said::Event(*event));
    }

    fn release(&mut self, run: &Run<'_>) {
        self.say(Said::Release(Messages::of(run)));
    }

    fn loss(&mut self, loss: &Loss) {
        self.say(Said::Loss(*loss));
    }

    fn late(&mut self, run: &Run<'_>) {
        self.say(Said::Late(Messages::of(run)));
    }

    fn first(&mut self, run: &Run<'_>) {
        self.say(Said::First(Messages::of(run)));
    }

    fn first_gap(&mut self, _: Nanos, _: ChannelRef, _: Session, _: SeqRange) {}
}

/// Gives a forwarder all inputs, one after the other, and the end at the stamp of the last.
pub fn run(forwarder: &mut impl Forwarder, inputs: &[Input]) -> Record {
    let mut record = Record::default();
    for (i, input) in inputs.iter().enumerate() {
        record.now = 2 * i;
        forwarder.advance(input.stamp, &mut record);
        record.now = 2 * i + 1;
        forwarder.on_datagram(input.stamp, input.line, &input.payload, &mut record);
    }
    record.now = 2 * inputs.len();
    forwarder.finish(inputs.last().map_or(Nanos::ZERO, |input| input.stamp), &mut record);
    record
}

/// The real one: a framing and an [`Arbiter`].
pub struct Honest<F> {
    framing: F,
    pub arbiter: Arbiter,
}

impl<F: Framing> Honest<F> {
    pub fn new(framing: F, settings: &Settings) -> Honest<F> {
        Honest { framing, arbiter: Arbiter::new(settings.clone()) }
    }
}

impl<F: Framing> Forwarder for Honest<F> {
    fn advance(&mut self, stamp: Nanos, out: &mut Record) {
        self.arbiter.advance(stamp, out);
    }

    fn on_datagram(&mut self, stamp: Nanos, line: Line, payload: &[u8], out: &mut Record) {
        let mut at = 0;
        while let Some(Ok(frame)) = self.framing.frame(payload, &mut at) {
            self.arbiter.on_frame(stamp, line, 0, &frame, out);
        }
    }

    fn finish(&mut self, stamp: Nanos, out: &mut Record) {
        self.arbiter.finish(stamp, out);
    }

    fn report(&self) -> Option<ChannelReport> {
        self.arbiter.channels().next()
    }
}
