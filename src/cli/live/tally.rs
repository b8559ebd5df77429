//! What housekeeping remembers of a stream for its status line: how much was delivered, how much was lost, and line states.

use twinline_core::arbiter::{ChannelRef, Event, EventKind, LagReason, LineState, Loss, Run, Sink, line_name};
use twinline_core::frame::{LINES_MAX, Line};
use twinline_core::{Nanos, SeqNo};

use super::Notifier;

/// How many state changes are printed per second. All of them are in --events.
const SAID_A_SECOND: u32 = 20;

/// The states of one channel's lines.
#[derive(Clone, Copy, Debug)]
struct LineStates {
    states: [LineState; LINES_MAX],
}

/// Follows an arbiter's output.
#[derive(Debug)]
pub(crate) struct Tally {
    notifier: Notifier,
    names: Vec<String>,
    /// The channels, in the order in which they began.
    channels: Vec<LineStates>,
    /// Messages released.
    pub(crate) messages: u64,
    /// Numbers lost.
    pub(crate) lost: u64,
    /// The second of the last state change, and how many changes were printed and held back in that second.
    said: (u64, u32, u32),
    /// Whether a divergence was printed, per pair: the line of the first copy, then the other line. The last place is recovery.
    divergence_said: [[bool; LINES_MAX + 1]; LINES_MAX + 1],
}

impl Tally {
    pub(crate) fn new(notifier: Notifier, names: Vec<String>) -> Tally {
        let divergence_said = [[false; LINES_MAX + 1]; LINES_MAX + 1];
        Tally { notifier, names, channels: Vec::new(), messages: 0, lost: 0, said: (0, 0, 0), divergence_said }
    }

    fn channel(&mut self, channel: ChannelRef) -> &mut LineStates {
        let at = usize::from(channel.index);
        if self.channels.len() <= at {
            let seen = LineStates { states: [LineState::Waiting; LINES_MAX] };
            self.channels.resize(at + 1, seen);
        }
        &mut self.channels[at]
    }

    /// A line's state: one word if all channels agree, otherwise the number of channels in each state.
    pub(crate) fn state(&self, line: usize) -> String {
        let count = |state| self.channels.iter().filter(|seen| seen.states[line] == state).count();
        let counts: Vec<_> =
            LineState::ALL.into_iter().map(|state| (state, count(state))).filter(|c| c.1 > 0).collect();
        match counts.as_slice() {
            [] => LineState::Waiting.name().to_owned(),
            [(state, _)] => state.name().to_owned(),
            several => {
                several.iter().map(|(state, n)| format!("{} on {n}", state.name())).collect::<Vec<_>>().join(" and ")
            }
        }
    }

    fn changed(&mut self, at: Nanos, channel: ChannelRef, line: Line, (from, to): (LineState, LineState), why: &str) {
        let second = at.0 / 1_000_000_000;
        if self.said.0 != second {
            let kept_back = self.said.2;
            self.said = (second, 0, 0);
            if kept_back > 0 {
                self.notifier.say(format_args!("and {kept_back} more line state changes"));
            }
        }
        if self.said.1 == SAID_A_SECOND {
            self.said.2 += 1;
            return;
        }
        self.said.1 += 1;
        let (name, from, to) = (line_name(&self.names, line), from.name(), to.name());
        self.notifier.say(format_args!("channel {}: line {name} is {to}{why}, was {from}", channel.key));
    }

    /// Prints the first divergence of each pair of lines. Further ones are counted, and are in --events.
    fn diverged(&mut self, channel: ChannelRef, number: SeqNo, line: Line, other: Line) {
        let said = self.divergence_said.get_mut(line.index()).and_then(|row| row.get_mut(other.index()));
        if said.is_none_or(|said| std::mem::replace(said, true)) {
            return;
        }
        let (line, other) = (line_name(&self.names, line), line_name(&self.names, other));
        self.notifier.say(format_args!(
            "DIVERGENCE: channel {}: message {number} from line {other} differs from the first copy, from line {line}, which \
             stands; further divergences of these two lines are counted, and are in --events",
            channel.key
        ));
    }
}

impl Sink for Tally {
    fn event(&mut self, event: &Event) {
        match event.kind {
            EventKind::Line { line, from, to, why } => {
                if let Some(state) = self.channel(event.channel).states.get_mut(line.index()) {
                    *state = to;
                }
                let why = match why {
                    None => "",
                    Some(LagReason::Slow) => " (slow)",
                    Some(LagReason::Heartbeats) => " (heartbeats only)",
                    Some(LagReason::Frozen) => " (frozen)",
                };
                self.changed(event.at, event.channel, line, (from, to), why);
            }
            EventKind::Divergence { number, line, other, .. } => self.diverged(event.channel, number, line, other),
            _ => {}
        }
    }

    fn release(&mut self, run: &Run<'_>) {
        self.messages += u64::from(run.count);
        self.channel(run.channel);
    }

    fn loss(&mut self, loss: &Loss) {
        self.lost += loss.range.len();
    }
}

#[cfg(test)]
mod tests {
    use twinline_core::frame::ChannelKey;

    use super::*;

    #[test]
    fn a_state_is_one_word_if_all_channels_agree() {
        let mut tally = Tally::new(Notifier::default(), vec!["A".into(), "B".into()]);
        assert_eq!(tally.state(0), "waiting");
        let mut line = |group: u16, line, to| {
            let channel = ChannelRef { index: group, key: ChannelKey { group, key: None } };
            let kind = EventKind::Line { line: Line(line), from: LineState::Waiting, to, why: None };
            tally.event(&Event { at: Nanos(1), channel, kind });
        };
        line(0, 0, LineState::Up);
        line(1, 0, LineState::Up);
        line(1, 1, LineState::Lagging);
        assert_eq!((tally.state(0).as_str(), tally.state(1).as_str()), ("up", "waiting on 1 and lagging on 1"));
    }
}
