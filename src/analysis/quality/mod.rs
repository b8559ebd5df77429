//! Line quality: what each line did, when, and what came of it.
//!
//! [`QualityRun`] runs an arbiter over captures and gathers what each line does. [`QualityRun::report`] makes a [`QualityReport`] of it:
//! JSON, an HTML page, and a verdict in words.
//!
//! What a report says is exact (totals, bursts, peaks), or comes from a histogram, or is a list of the greatest few with a count of all.
//! Memory is bounded however long the captures are: time is divided into 400 cells that double their width, and a channel
//! costs a ring of the last 65,536 numbers, plus the holes within one window per line.

use twinline_core::arbiter::{ChannelRef, Event, EventKind, Run, Sink};
use twinline_core::frame::{LINES_MAX, Line, Session};
use twinline_core::{Nanos, SeqNo, SeqRange};

mod account;
mod chart;
mod fate;
mod lead;
mod offline;
mod peaks;
mod report;
mod series;
mod silence;
mod top;

#[cfg(test)]
mod tests;

pub use offline::QualityRun;
pub use report::{FindingSeverity, QualityFinding, QualityReport};

use account::{Account, Hole, Lengths};
use fate::{CHANGES_LISTED, Change, Gaps, States};
use lead::{CoarseLeads, Firsts, Lead, LeadHistograms};
use peaks::{Amount, Peaks};
use series::{Cell, Series};
use silence::Silences;
use top::Top;

use crate::report::{ClosedGap, GapFate};

/// How many bursts of loss are listed per line.
const BURSTS_LISTED: usize = 12;

/// A burst of loss on a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Burst {
    /// Where.
    pub(crate) channel: ChannelRef,
    /// The session that it belongs to.
    pub(crate) session: Session,
    /// The numbers, and when the line had gone past them.
    pub(crate) hole: Hole,
}

/// What is known about one line.
#[derive(Clone, Debug)]
pub(crate) struct LineQuality {
    /// All that it brought.
    pub(crate) total: Amount,
    /// Its microbursts.
    pub(crate) peaks: Peaks,
    /// Its longest bursts of loss.
    pub(crate) bursts: Top<Burst>,
    /// All bursts of loss, by length.
    pub(crate) lengths: Lengths,
    /// How many numbers it never brought: the sum of all bursts.
    pub(crate) missing: u64,
    /// Its first datagram, and its last.
    pub(crate) heard: Option<(Nanos, Nanos)>,
}

/// The arbitrated stream: what was released, at the time of its release.
#[derive(Clone, Debug, Default)]
pub(crate) struct StreamQuality {
    /// Runs, messages, and their bytes.
    pub(crate) total: Amount,
    /// Its microbursts.
    pub(crate) peaks: Peaks,
}

/// A line within a cell of time.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct LineCell {
    /// What it brought.
    pub(crate) amount: Amount,
    /// Numbers that it never brought, counted in the cell in which it had gone past them.
    pub(crate) missing: u64,
    /// The most messages within 1 ms.
    pub(crate) peak: u64,
}

/// What happened within a cell of time.
#[derive(Clone, Debug, Default)]
pub(crate) struct Moment {
    /// By line.
    pub(crate) lines: [LineCell; LINES_MAX],
    /// The arbitrated stream: what was released, the numbers that were lost (in the cell in which their gap opened), and the most
    /// messages within 1 ms.
    pub(crate) stream: LineCell,
    /// Numbers of gaps that a line filled, in the cell in which the gap opened; the last entry is recovery.
    pub(crate) filled: [u64; LINES_MAX + 1],
    /// Leads, by pair of lines: [`pair_index`].
    leads: Vec<Option<CoarseLeads>>,
}

impl Moment {
    /// The leads of `a` over `b`, where `a` comes before `b` in the feed file.
    pub(crate) fn leads(&self, a: Line, b: Line) -> Option<&CoarseLeads> {
        self.leads.get(pair_index(a, b))?.as_ref()
    }
}

/// The index of a pair of lines in a list of all pairs, the earlier line first.
fn pair_index(a: Line, b: Line) -> usize {
    let (low, high) = (a.index().min(b.index()), a.index().max(b.index()));
    high * high.saturating_sub(1) / 2 + low
}

impl LineCell {
    fn merge(&mut self, next: LineCell) {
        self.amount.add(next.amount);
        self.missing = self.missing.saturating_add(next.missing);
        self.peak = self.peak.max(next.peak);
    }
}

impl Cell for Moment {
    fn merge(&mut self, next: Moment) {
        for (line, next) in self.lines.iter_mut().zip(next.lines) {
            line.merge(next);
        }
        self.stream.merge(next.stream);
        for (filled, next) in self.filled.iter_mut().zip(next.filled) {
            *filled = filled.saturating_add(next);
        }
        if self.leads.len() < next.leads.len() {
            self.leads.resize_with(next.leads.len(), || None);
        }
        for (leads, next) in self.leads.iter_mut().zip(next.leads) {
            match (leads.as_mut(), next) {
                (Some(leads), Some(next)) => leads.merge(&next),
                (None, Some(next)) => *leads = Some(next),
                (_, None) => {}
            }
        }
    }
}

/// What is gathered for a channel.
struct ChannelQuality {
    at: ChannelRef,
    session: Session,
    /// The number at which a line's account starts: its own first number in the first epoch, the epoch's first in later ones.
    account_from: Option<SeqNo>,
    accounts: Vec<Account>,
    firsts: Firsts,
    states: States,
}

/// An epoch began, ended, or was complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct EpochMark {
    /// The event: [`EventKind::Epoch`], [`EventKind::Ended`] or [`EventKind::EpochEnd`].
    pub(crate) event: Event,
}

/// Gathers what each line did: a [`Sink`] that is also told of each datagram. It reads nothing and writes nothing. Its memory is
/// bounded: see the [module](self).
pub(crate) struct Quality {
    settle: u64,
    lines: Vec<LineQuality>,
    stream: StreamQuality,
    /// By [`ChannelRef::index`].
    channels: Vec<ChannelQuality>,
    moments: Series<Moment>,
    leads: LeadHistograms,
    silences: Silences,
    gaps: Gaps,
    changes: Vec<Change>,
    changes_omitted: u64,
    epochs: Vec<EpochMark>,
    epochs_omitted: u64,
    now: Nanos,
}

impl Quality {
    /// For a feed of this many lines, whose arbiter has this `settle`.
    pub(crate) fn new(lines: usize, settle: u64) -> Quality {
        let line = LineQuality {
            total: Amount::default(),
            peaks: Peaks::default(),
            bursts: Top::new(BURSTS_LISTED),
            lengths: Lengths::default(),
            missing: 0,
            heard: None,
        };
        let lines = lines.min(LINES_MAX);
        Quality {
            settle,
            lines: vec![line; lines],
            stream: StreamQuality::default(),
            channels: Vec::new(),
            moments: Series::new(),
            leads: LeadHistograms::default(),
            silences: Silences::new(lines),
            gaps: Gaps::new(),
            changes: Vec::new(),
            changes_omitted: 0,
            epochs: Vec::new(),
            epochs_omitted: 0,
            now: Nanos::ZERO,
        }
    }

    /// A datagram has come. Call this after the arbiter's time was advanced to its stamp, and before it is handled.
    #[inline]
    pub(crate) fn datagram(&mut self, stamp: Nanos, line: Line, bytes: usize, messages: u64) {
        self.now = self.now.max(stamp);
        let stamp = self.now;
        let Some(of_line) = self.lines.get_mut(line.index()) else { return };
        let amount = Amount { datagrams: 1, messages, bytes: bytes as u64 };
        of_line.total.add(amount);
        of_line.heard = Some((of_line.heard.map_or(stamp, |(first, _)| first), stamp));
        let within = of_line.peaks.add(stamp, amount);
        let cell = &mut self.moments.at(stamp).lines[line.index()];
        cell.amount.add(amount);
        cell.peak = cell.peak.max(within.messages);
        self.silences.datagram(stamp, line);
    }

    /// The input has ended. Call this after the arbiter is finished.
    pub(crate) fn finish(&mut self, end: Nanos) {
        self.now = self.now.max(end);
        for channel in 0..self.channels.len() {
            self.close_accounts(channel);
            self.channels[channel].states.finish(self.now);
        }
        self.silences.finish(self.now);
    }

    /// What is known about a line.
    ///
    /// # Panics
    /// The feed has no such line.
    pub(crate) fn line(&self, line: Line) -> &LineQuality {
        &self.lines[line.index()]
    }

    /// The arbitrated stream.
    pub(crate) fn stream(&self) -> &StreamQuality {
        &self.stream
    }

    /// What happened over time.
    pub(crate) fn moments(&self) -> &Series<Moment> {
        &self.moments
    }

    /// By how much lines came before others.
    pub(crate) fn leads(&self) -> &LeadHistograms {
        &self.leads
    }

    /// When lines were silent.
    pub(crate) fn silences(&self) -> &Silences {
        &self.silences
    }

    /// What became of the gaps.
    pub(crate) fn gaps(&self) -> &Gaps {
        &self.gaps
    }

    /// The first changes of lines' states, and how many more there were.
    pub(crate) fn changes(&self) -> (&[Change], u64) {
        (&self.changes, self.changes_omitted)
    }

    /// The first beginnings and ends of epochs, and how many more there were.
    pub(crate) fn epochs(&self) -> (&[EpochMark], u64) {
        (&self.epochs, self.epochs_omitted)
    }

    /// How many numbers a line should have brought to a channel, and how long its lines were in each state.
    pub(crate) fn of_channel(&self, channel: ChannelRef, line: Line) -> Option<(u64, &States)> {
        let channel = self.channels.get(usize::from(channel.index))?;
        Some((channel.accounts.get(line.index())?.expected(), &channel.states))
    }

    /// How many numbers a line should have brought.
    pub(crate) fn expected(&self, line: Line) -> u64 {
        let accounts = self.channels.iter().filter_map(|channel| channel.accounts.get(line.index()));
        accounts.fold(0, |sum, account| sum.saturating_add(account.expected()))
    }

    /// The latest stamp so far; the end of the input after [`Quality::finish`].
    pub(crate) fn now(&self) -> Nanos {
        self.now
    }

    /// The lines' accounts of an epoch are closed.
    fn close_accounts(&mut self, channel: usize) {
        let Some(ChannelQuality { at, session, accounts, .. }) = self.channels.get_mut(channel) else { return };
        for (i, account) in accounts.iter_mut().enumerate() {
            let (channel, session) = (*at, *session);
            let line = &mut self.lines[i];
            account.close(&mut |hole| {
                note_burst(line, &mut self.moments, i, Burst { channel, session, hole });
            });
        }
    }

    /// A channel's numbers begin, or begin afresh.
    fn epoch(&mut self, at: Nanos, channel: ChannelRef, session: Session, first: SeqNo) {
        let place = usize::from(channel.index);
        if place < self.channels.len() {
            self.close_accounts(place);
            let known = &mut self.channels[place];
            known.session = session;
            known.account_from = Some(first);
            known.firsts.clear();
            return;
        }
        // channels begin in the order of their index, each with an epoch
        self.channels.push(ChannelQuality {
            at: channel,
            session,
            account_from: None,
            accounts: vec![Account::new(self.settle); self.lines.len()],
            firsts: Firsts::new(),
            states: States::new(at),
        });
    }

    fn close_gap(&mut self, event: &Event, range: SeqRange, opened_by: Line, opened_at: Nanos, fate: GapFate) {
        let session = self.channels.get(usize::from(event.channel.index)).map_or(Session::NONE, |known| known.session);
        let piece =
            ClosedGap { channel: event.channel, session, range, opened_by, opened_at, closed_at: event.at, fate };
        self.gaps.close(piece);
        let moment = self.moments.at(opened_at);
        let numbers = match fate {
            GapFate::Filled(line) => match moment.filled.get_mut(line.index()) {
                Some(filled) => filled,
                None => return,
            },
            GapFate::Lost(_) => &mut moment.stream.missing,
        };
        *numbers = numbers.saturating_add(range.len());
    }
}

/// A burst is certain: it counts at the time when the line had gone past it.
fn note_burst(line: &mut LineQuality, moments: &mut Series<Moment>, at: usize, burst: Burst) {
    let length = burst.hole.range.len();
    line.missing = line.missing.saturating_add(length);
    line.lengths.add(length);
    line.bursts.add(length, burst);
    let missing = &mut moments.at(burst.hole.at).lines[at].missing;
    *missing = missing.saturating_add(length);
}

/// Leads count when the later copy comes.
fn note_lead(leads: &mut LeadHistograms, moment: &mut Moment, lead: Lead) {
    leads.add(lead);
    let at = pair_index(lead.first, lead.later);
    if moment.leads.len() <= at {
        moment.leads.resize_with(at + 1, || None);
    }
    moment.leads[at].get_or_insert_default().add(lead.first < lead.later, lead.lead, lead.count);
}

impl Sink for Quality {
    fn event(&mut self, event: &Event) {
        self.now = self.now.max(event.at);
        match event.kind {
            EventKind::Epoch { session, first } => self.epoch(event.at, event.channel, session, first),
            EventKind::Gap { range, .. } => self.gaps.open(range),
            EventKind::Filled { range, line, opened_by, opened_at } => {
                self.close_gap(event, range, opened_by, opened_at, GapFate::Filled(line));
            }
            EventKind::Lost { range, reason, opened_by, opened_at } => {
                self.close_gap(event, range, opened_by, opened_at, GapFate::Lost(reason));
            }
            EventKind::Line { line, from, to, why } => {
                if let Some(known) = self.channels.get_mut(usize::from(event.channel.index)) {
                    known.states.change(event.at, line, to);
                }
                if self.changes.len() == CHANGES_LISTED {
                    self.changes_omitted += 1;
                } else {
                    self.changes.push(Change { at: event.at, channel: event.channel, line, from, to, why });
                }
            }
            // the arbiter counts divergence by line
            EventKind::Ended { .. } | EventKind::EpochEnd { .. } | EventKind::Divergence { .. } => {}
        }
        if let EventKind::Epoch { .. } | EventKind::Ended { .. } | EventKind::EpochEnd { .. } = event.kind {
            if self.epochs.len() == CHANGES_LISTED {
                self.epochs_omitted += 1;
            } else {
                self.epochs.push(EpochMark { event: *event });
            }
        }
    }

    fn release(&mut self, run: &Run<'_>) {
        let amount = Amount { datagrams: 1, messages: run.count.into(), bytes: run.body.len() as u64 };
        self.stream.total.add(amount);
        let within = self.stream.peaks.add(self.now, amount);
        let cell = &mut self.moments.at(self.now).stream;
        cell.amount.add(amount);
        cell.peak = cell.peak.max(within.messages);
    }

    fn shown(&mut self, stamp: Nanos, channel: ChannelRef, line: Line, range: SeqRange) {
        let Some(known) = self.channels.get_mut(usize::from(channel.index)) else { return };
        let ChannelQuality { session, account_from, accounts, firsts, .. } = known;
        let (Some(account), Some(of_line)) = (accounts.get_mut(line.index()), self.lines.get_mut(line.index())) else {
            return;
        };
        let session = *session;
        account.show(stamp, range, account_from.unwrap_or(range.first), &mut |hole| {
            note_burst(of_line, &mut self.moments, line.index(), Burst { channel, session, hole });
        });
        firsts.show(stamp, line, range, |lead| note_lead(&mut self.leads, self.moments.at(stamp), lead));
    }
}
