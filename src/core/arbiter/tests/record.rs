//! Records the calls of the sink as short text, and checks what must be true of any list of calls.

use std::collections::{BTreeMap, HashMap};
use std::fmt;

use super::*;

pub(super) fn line_text(line: Line) -> String {
    if line == Line::RECOVERY { "R".into() } else { char::from(b'A' + line.0).to_string() }
}

fn session_text(session: Session) -> String {
    let text = session.to_string();
    if text.is_empty() { "-".into() } else { text.trim_end().into() }
}

/// An output: ranges of numbers, each with a word; plain ones have none.
#[derive(Default)]
pub(super) struct Output {
    ranges: Vec<(u16, Session, &'static str, SeqRange)>,
}

impl Output {
    fn add(&mut self, channel: u16, session: Session, word: &'static str, range: SeqRange) {
        if let Some((in_channel, of, under, last)) = self.ranges.last_mut()
            && (*in_channel, *of, *under, last.end) == (channel, session, word, range.first)
        {
            last.end = range.end;
            return;
        }
        self.ranges.push((channel, session, word, range));
    }

    fn mark(&mut self, channel: u16, session: Session) {
        if !self.ranges.is_empty() {
            self.ranges.push((channel, session, "|", SeqRange::default()));
        }
    }
}

impl fmt::Display for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, (_, _, word, range)) in self.ranges.iter().enumerate() {
            let space = if i == 0 { "" } else { " " };
            match *word {
                "|" => write!(f, "{space}|")?,
                "" => write!(f, "{space}{}..{}", range.first, range.end)?,
                word => write!(f, "{space}{word} {}..{}", range.first, range.end)?,
            }
        }
        Ok(())
    }
}

/// A channel as its client follows it.
#[derive(Default)]
struct Follower {
    session: Option<Session>,
    next: SeqNo,
    first_next: SeqNo,
    /// Open gaps or parts of them: first to end.
    open: BTreeMap<SeqNo, SeqNo>,
    /// What first-copy output has skipped and not delivered since.
    jumped: BTreeMap<SeqNo, SeqNo>,
    /// The same for sessions that are over, and where they were, because one may be resumed.
    over: BTreeMap<[u8; 16], (SeqNo, BTreeMap<SeqNo, SeqNo>)>,
    delivered: u64,
    lost: u64,
    /// How many epochs have begun.
    epochs: u64,
}

/// Removes `part` from the range that contains it; panics if none does.
fn take_out(ranges: &mut BTreeMap<SeqNo, SeqNo>, part: SeqRange, what: &str) {
    let (&first, &end) = ranges.range(..=part.first).next_back().unwrap_or_else(|| panic!("{what}: {part}"));
    assert!(part.end <= end && part.first < part.end, "{what}: {part} is not within [{first}, {end})");
    ranges.remove(&first);
    if first < part.first {
        ranges.insert(first, part.first);
    }
    if part.end < end {
        ranges.insert(part.end, end);
    }
}

#[derive(Default)]
pub(super) struct Record {
    pub(super) events: Vec<Event>,
    taken: usize,
    pub(super) ordered: Output,
    pub(super) late: Output,
    pub(super) first: Output,
    pub(super) unsequenced: usize,
    /// Whether messages are not as the harness makes them.
    pub(super) foreign: bool,
    followers: BTreeMap<u16, Follower>,
    at: Nanos,
    /// If copies are compared: what was delivered, by channel, epoch in order of beginning, and number.
    pub(super) verified: bool,
    delivered: HashMap<(u16, u64, u64), (Line, u32)>,
    divergences: Vec<Divergence>,
}

/// A divergence, and the epoch in which it was reported.
struct Divergence {
    channel: u16,
    epoch: u64,
    number: u64,
    first: (Line, u32),
    other: Line,
}

impl Record {
    /// The events since the last call, as text.
    pub(super) fn take(&mut self, unit: u64) -> Vec<String> {
        let new = self.events[self.taken..].iter().map(|event| event_text(event, unit)).collect();
        self.taken = self.events.len();
        new
    }

    /// Every event as a line of JSON.
    pub(super) fn json(&self) -> Vec<String> {
        let names: Vec<String> = (0..8).map(|line| line_text(Line(line))).collect();
        self.events.iter().map(|event| event.json(&names).to_string()).collect()
    }

    fn check_messages(&mut self, run: &Run<'_>) {
        let mut count = 0;
        for (bytes, n) in run.messages().zip(run.first.0..) {
            let is_heartbeat = run.flags.heartbeat;
            if !self.foreign && !is_heartbeat {
                let own = [false, true].map(|altered| message(run.session, n, altered));
                assert!(own.iter().any(|own| bytes == own), "message {n} is another's");
            }
            if self.verified && !run.flags.unsequenced {
                let epoch = self.followers[&run.channel.index].epochs;
                let message = (run.line, crc32fast::hash(bytes));
                // both outputs have it
                let before = self.delivered.insert((run.channel.index, epoch, n), message);
                assert!(before.is_none_or(|before| before == message), "{n} was delivered twice, and not the same");
            }
            count += 1;
        }
        assert_eq!(count, run.count, "messages in a run");
        assert!(run.count > 0, "an empty run");
    }

    /// Checks what must be true once the input has ended.
    pub(super) fn check(&self, arbiter: &Arbiter) {
        for report in arbiter.channels() {
            let follower = &self.followers[&report.channel.index];
            assert!(follower.open.is_empty(), "a gap without an outcome");
            if report.epochs_omitted == 0 {
                assert_eq!(
                    follower.next,
                    report
                        .epochs
                        .iter()
                        .find(|e| Some(e.session) == follower.session && e.next == follower.next)
                        .expect("the current epoch is listed")
                        .next
                );
            }
            for epoch in &report.epochs {
                let sum = u128::from(epoch.delivered) + u128::from(epoch.lost);
                assert_eq!(sum, u128::from(epoch.next - epoch.first), "delivered + lost = next - first: {epoch:?}");
            }
            assert_eq!((follower.delivered, follower.lost), (report.delivered, report.lost), "totals");
            for (i, line) in report.lines.iter().enumerate() {
                let fates =
                    line.first_arrivals + line.duplicate + line.late + line.stale + line.before_join + line.implausible;
                assert_eq!(line.messages, fates, "fates of line {i}: {line:?}");
                let said = |d: &&Divergence| d.channel == report.channel.index && d.other.index() == i;
                let said = self.divergences.iter().filter(said).count() as u64;
                assert!(
                    line.divergent == said && said <= line.duplicate,
                    "divergences of line {i}: {line:?}, {said} said"
                );
            }
        }
        for Divergence { channel, epoch, number, first, .. } in &self.divergences {
            let delivered = self.delivered.get(&(*channel, *epoch, *number));
            assert_eq!(delivered, Some(first), "the first copy of {number} stands");
        }
    }
}

impl Sink for Record {
    fn event(&mut self, event: &Event) {
        assert!(event.at >= self.at, "time went back: {event:?}");
        self.at = event.at;
        let follower = self.followers.entry(event.channel.index).or_default();
        match event.kind {
            EventKind::Epoch { session, first } => {
                follower.session = Some(session);
                follower.epochs += 1;
                (follower.next, follower.first_next) = (first, first);
                follower.jumped = match follower.over.remove(&session.to_bytes()) {
                    Some((next, jumped)) if next == first => jumped,
                    _ => BTreeMap::new(),
                };
                self.ordered.mark(event.channel.index, session);
                self.first.mark(event.channel.index, session);
            }
            EventKind::Gap { range, .. } => {
                assert!(!range.is_empty());
                assert!(
                    follower.open.values().next_back().is_none_or(|&end| end <= range.first),
                    "a gap below another"
                );
                assert!(range.first >= follower.next);
                follower.open.insert(range.first, range.end);
            }
            EventKind::Filled { range, .. } => take_out(&mut follower.open, range, "filled"),
            EventKind::Lost { range, .. } => take_out(&mut follower.open, range, "lost"),
            EventKind::EpochEnd { session, next, .. } => {
                assert_eq!(Some(session), follower.session);
                assert_eq!(next, follower.next);
                assert!(follower.open.is_empty(), "a gap outlived its epoch");
                if follower.first_next < next {
                    follower.jumped.insert(follower.first_next, next);
                }
                follower.over.insert(session.to_bytes(), (next, std::mem::take(&mut follower.jumped)));
            }
            EventKind::Ended { session, next } => {
                // a heartbeat beyond the end does not take the end back, even if its numbers were lost: only data does
                assert!(Some(session) == follower.session && next <= follower.next, "{event:?}");
            }
            EventKind::Line { from, to, .. } => assert_ne!(from, to),
            EventKind::Divergence { number, line, other, hash, other_hash } => {
                assert!(self.verified && hash != other_hash);
                let (channel, epoch) = (event.channel.index, follower.epochs);
                self.divergences.push(Divergence { channel, epoch, number: number.0, first: (line, hash), other });
            }
        }
        self.events.push(*event);
    }

    fn release(&mut self, run: &Run<'_>) {
        self.check_messages(run);
        let follower = self.followers.get_mut(&run.channel.index).expect("an epoch is said first");
        assert_eq!((follower.session, follower.next), (Some(run.session), run.first), "ascending, whole and once");
        follower.next = run.range().end;
        follower.delivered += u64::from(run.count);
        self.ordered.add(run.channel.index, run.session, "", run.range());
    }

    fn loss(&mut self, loss: &Loss) {
        let follower = self.followers.get_mut(&loss.channel.index).expect("an epoch is said first");
        assert_eq!((follower.session, follower.next), (Some(loss.session), loss.range.first), "a loss out of place");
        assert!(!loss.range.is_empty());
        follower.next = loss.range.end;
        follower.lost = follower.lost.saturating_add(loss.range.len());
        self.ordered.add(loss.channel.index, loss.session, "lost", loss.range);
    }

    fn late(&mut self, run: &Run<'_>) {
        self.check_messages(run);
        assert!(run.flags.late);
        self.late.add(run.channel.index, run.session, "", run.range());
    }

    fn unsequenced(&mut self, run: &Run<'_>) {
        assert!(run.flags.unsequenced);
        self.unsequenced += run.messages().count();
    }

    fn first(&mut self, run: &Run<'_>) {
        self.check_messages(run);
        let follower = self.followers.get_mut(&run.channel.index).expect("an epoch is said first");
        assert_eq!(follower.session, Some(run.session));
        if run.flags.late {
            take_out(&mut follower.jumped, run.range(), "late in first-copy output");
        } else {
            assert_eq!(follower.first_next, run.first, "first-copy output");
            follower.first_next = run.range().end;
        }
        self.first.add(run.channel.index, run.session, if run.flags.late { "late" } else { "" }, run.range());
    }

    fn first_gap(&mut self, _: Nanos, channel: ChannelRef, session: Session, range: SeqRange) {
        let follower = self.followers.get_mut(&channel.index).expect("an epoch is said first");
        assert_eq!((follower.session, follower.first_next), (Some(session), range.first));
        assert!(!range.is_empty());
        follower.first_next = range.end;
        follower.jumped.insert(range.first, range.end);
        self.first.add(channel.index, session, "gap", range);
    }
}

/// `5 gap 3..5 A`, with times in the scenario's unit, and the channel in front unless it is `0`.
fn event_text(event: &Event, unit: u64) -> String {
    let channel = event.channel.key.to_string();
    let channel = if channel == "0" { String::new() } else { format!("{channel}: ") };
    let at = event.at.0;
    let at = if at.is_multiple_of(unit) { (at / unit).to_string() } else { event.at.0.to_string() + "ns" };
    let range = |range: SeqRange| format!("{}..{}", range.first, range.end);
    let what = match event.kind {
        EventKind::Epoch { session, first } => format!("epoch {} {first}", session_text(session)),
        EventKind::Gap { range: r, line } => format!("gap {} {}", range(r), line_text(line)),
        EventKind::Filled { range: r, line, .. } => format!("filled {} {}", range(r), line_text(line)),
        EventKind::Lost { range: r, reason, .. } => format!("lost {} {}", range(r), reason.name()),
        EventKind::Ended { session, next } => format!("ended {} {next}", session_text(session)),
        EventKind::EpochEnd { session, next, why } => {
            format!("epoch_end {} {next} {}", session_text(session), why.name())
        }
        EventKind::Line { line, from, to, why } => {
            let why = why.map_or(String::new(), |why| format!(" {}", why.name()));
            format!("line {} {}>{}{why}", line_text(line), from.name(), to.name())
        }
        EventKind::Divergence { number, line, other, .. } => {
            format!("divergence {number} {}/{}", line_text(line), line_text(other))
        }
    };
    format!("{channel}{at} {what}")
}
