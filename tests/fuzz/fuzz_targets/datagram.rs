//! Any datagrams, on any lines, at any times: framing and arbiter neither panic nor break what they promise.

#![no_main]

use libfuzzer_sys::fuzz_target;
use twinline::arbiter::{Arbiter, Event, Loss, Run, Settings, Sink};
use twinline::frame::Line;
use twinline::framing::{AnyFraming, Framing, WithFraming};
use twinline::seq::SeqNo;
use twinline::time::Nanos;

/// Holds the ordered output to its order.
#[derive(Default)]
struct Ordered {
    next: Vec<Option<SeqNo>>,
    last: Nanos,
}

impl Ordered {
    fn goes_on(&mut self, channel: u16, first: SeqNo, end: SeqNo) {
        let next = &mut self.next[usize::from(channel)];
        assert_eq!(Some(first), *next, "the ordered output has a hole or a repetition");
        *next = Some(end);
    }
}

impl Sink for Ordered {
    fn event(&mut self, event: &Event) {
        assert!(event.at >= self.last, "events go back in time");
        self.last = event.at;
        if let twinline::arbiter::EventKind::Epoch { first, .. } = event.kind {
            let at = usize::from(event.channel.index);
            self.next.resize(self.next.len().max(at + 1), None);
            self.next[at] = Some(first);
        }
    }

    fn release(&mut self, run: &Run<'_>) {
        assert_eq!(run.messages().count(), run.count as usize);
        self.goes_on(run.channel.index, run.range().first, run.range().end);
    }

    fn loss(&mut self, loss: &Loss) {
        self.goes_on(loss.channel.index, loss.range.first, loss.range.end);
    }
}

struct Feeding<'a>(&'a [u8]);

impl WithFraming for Feeding<'_> {
    type Output = ();

    fn with<F: Framing>(self, framing: F) {
        let mut settings = Settings::new(framing.rules(), vec![true, true, false], 2);
        settings.hold_messages = 64;
        settings.hold_bytes = 4_096;
        settings.gaps_max = 8;
        settings.settle = 32;
        settings.max_jump = 100;
        let mut arbiter = Arbiter::new(settings);
        let mut sink = Ordered::default();
        let mut now = Nanos::from_secs(1);
        let mut rest = self.0;
        // one byte for line and group, one for time, two for the length, then the datagram
        while let Some((&[place, time, low, high], after)) = rest.split_first_chunk::<4>() {
            let len = usize::from(u16::from_le_bytes([low, high])).min(after.len());
            let (datagram, after) = after.split_at(len);
            rest = after;
            now = now + Nanos(1 << (time % 34));
            let mut at = 0;
            while let Some(Ok(frame)) = framing.frame(datagram, &mut at) {
                arbiter.on_frame(now, Line(place % 4), u16::from(place >> 7), &frame, &mut sink);
            }
        }
        arbiter.finish(now, &mut sink);
        for channel in arbiter.channels() {
            for epoch in &channel.epochs {
                assert_eq!(epoch.delivered + epoch.lost, epoch.next - epoch.first);
            }
            for line in &channel.lines {
                let fates = line.first_arrivals + line.duplicate + line.late + line.stale;
                assert_eq!(line.messages, fates + line.before_join + line.implausible);
            }
        }
    }
}

fuzz_target!(|input: &[u8]| {
    let Some((&which, rest)) = input.split_first() else { return };
    let framing = AnyFraming::NAMES[usize::from(which) % AnyFraming::NAMES.len()];
    if let Some(framing) = AnyFraming::from_name(framing) {
        framing.with(Feeding(rest));
    }
});
