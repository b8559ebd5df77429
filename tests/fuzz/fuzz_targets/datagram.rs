//! Any datagrams of any framing, on any lines, at any times: framing and arbiter neither panic nor break what they promise.
//!
//! The first byte says which framing, by its place in `AnyFraming::NAMES` and, behind those, in [`DESCRIBED`], and by its highest bit whether an arbiter is given the
//! frames (which takes some hundred times as long as reading them). Then come datagrams: a byte for line and group, one for the
//! time that has passed, two for the length, and so many bytes.

#![no_main]

use std::sync::OnceLock;

use libfuzzer_sys::fuzz_target;
use twinline_core::arbiter::{Arbiter, Event, Loss, Run, Settings, Sink};
use twinline_core::frame::{Frame, FrameKind, Line};
use twinline_core::framing::{AnyFraming, Framing, WithFraming};
use twinline_core::{Nanos, SeqNo};
use twinline_node::config::Feed;

/// Feed files that describe their framing themselves.
const DESCRIBED: &[&str] = &[
    include_str!("../../../feeds/fixed-iex.toml"),
    include_str!("../../../feeds/fixed-moldudp64.toml"),
    include_str!("../../../feeds/fixed-nyse.toml"),
];

fn framings() -> &'static [AnyFraming] {
    static FRAMINGS: OnceLock<Vec<AnyFraming>> = OnceLock::new();
    FRAMINGS.get_or_init(|| {
        let ours = AnyFraming::NAMES.iter().filter_map(|name| AnyFraming::from_name(name));
        let described = DESCRIBED.iter().filter_map(|text| Some(Feed::parse(text).ok()?.framing));
        ours.chain(described).collect()
    })
}

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
        if let twinline_core::arbiter::EventKind::Epoch { first, .. } = event.kind {
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

/// What a framing promises of a frame that it hands out.
fn check(frame: &Frame<'_>, datagram: &[u8], from: usize, to: usize) {
    assert!(from < to && to <= datagram.len().max(1), "a frame moves on, and not past the end");
    let lies_in = |part: &[u8], whole: &[u8]| {
        let (part, whole) = (part.as_ptr_range(), whole.as_ptr_range());
        whole.start <= part.start && part.end <= whole.end
    };
    assert!(frame.body.is_empty() || lies_in(frame.body, frame.bytes), "the messages lie in the frame");
    assert!(lies_in(frame.bytes, datagram), "the frame lies in the datagram");
    assert!(frame.sequence.checked_add(u64::from(frame.count)).is_some());
    let messages = frame.packing.messages(frame.body).take(frame.count as usize).count();
    assert_eq!(messages, frame.count as usize, "as many messages as it counts");
    match frame.kind {
        FrameKind::Data | FrameKind::Last => {
            assert_eq!(frame.packing.messages(frame.body).count(), frame.count as usize, "and no more");
            assert_eq!(frame.packing.blocks_len(frame.body, frame.count), Some(frame.body.len()));
        }
        FrameKind::Heartbeat | FrameKind::EndOfSession => assert_eq!(frame.count, 0),
        FrameKind::Unsequenced => {}
    }
}

/// What is written is read: a frame's messages, encoded anew, come back as they were.
fn again<F: Framing>(framing: F, frame: &Frame<'_>) {
    if frame.kind != FrameKind::Data || frame.heartbeat || frame.reset.is_some() || frame.packing != framing.packing() {
        return;
    }
    let messages: Vec<&[u8]> = frame.packing.messages(frame.body).collect();
    let framing = framing.with_key(frame.key.unwrap_or(0));
    let mut out = Vec::new();
    let took = framing.encode(frame.session, frame.sequence, &messages, 1 << 16, &mut out);
    let (mut at, mut n) = (0, 0);
    while let Some(back) = framing.frame(&out, &mut at) {
        let back = back.expect("what was written is well formed");
        assert_eq!((back.sequence, back.key, back.session), (frame.sequence + n as u64, frame.key, frame.session));
        for message in back.packing.messages(back.body) {
            assert_eq!(message, messages[n]);
            n += 1;
        }
    }
    assert_eq!(n, took);
}

struct Reading<'a>(&'a [u8]);

impl WithFraming for Reading<'_> {
    type Output = ();

    fn with<F: Framing>(self, framing: F) {
        let mut rest = self.0;
        while let Some((&[_, _, low, high], after)) = rest.split_first_chunk::<4>() {
            let len = usize::from(u16::from_le_bytes([low, high])).min(after.len());
            let (datagram, after) = after.split_at(len);
            rest = after;
            let (mut at, mut from) = (0, 0);
            while let Some(Ok(frame)) = framing.frame(datagram, &mut at) {
                check(&frame, datagram, from, at);
                from = at;
                again(framing, &frame);
            }
        }
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
    let framings = framings();
    let framing = framings[usize::from(which & 0x7F) % framings.len()];
    match which & 0x80 {
        0 => framing.with(Reading(rest)),
        _ => framing.with(Feeding(rest)),
    }
});
