//! Microbursts: the most that came within any window of 1 ms, 100 us and 10 us.
//!
//! The peaks are exact: each window slides from stamp to stamp. Everything that came at one stamp is one entry, so a coarse clock
//! costs nothing. The entries of the last millisecond are kept, [`ENTRIES`] at most. If a millisecond has more stamps than that, the
//! oldest go early: then peaks are lower bounds, and [`Peaks::cut`] is not zero.

use std::collections::VecDeque;

use twinline_core::Nanos;

/// The windows, the longest first.
pub(super) const WINDOWS: [Nanos; 3] = [Nanos::from_millis(1), Nanos::from_micros(100), Nanos::from_micros(10)];
/// Stamps that are kept at most.
pub(super) const ENTRIES: usize = 65_536;

/// How much came.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Amount {
    /// Datagrams; runs of messages in the arbitrated stream.
    pub(crate) datagrams: u64,
    /// Messages.
    pub(crate) messages: u64,
    /// Bytes of UDP payload; of messages in the arbitrated stream.
    pub(crate) bytes: u64,
}

impl Amount {
    pub(super) fn add(&mut self, more: Amount) {
        self.datagrams += more.datagrams;
        self.messages += more.messages;
        self.bytes += more.bytes;
    }

    fn take(&mut self, less: Amount) {
        self.datagrams -= less.datagrams;
        self.messages -= less.messages;
        self.bytes -= less.bytes;
    }
}

/// The most that came within a window, and when that window began: at the stamp of the first entry in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Peak {
    /// How much.
    pub(crate) amount: u64,
    /// The window's first stamp.
    pub(crate) at: Nanos,
}

impl Peak {
    #[inline]
    fn raise(&mut self, amount: u64, at: Nanos) {
        if amount > self.amount {
            *self = Peak { amount, at };
        }
    }
}

/// The three peaks of one length of window. Each has its own moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct WindowPeaks {
    /// Of datagrams.
    pub(crate) datagrams: Peak,
    /// Of messages.
    pub(crate) messages: Peak,
    /// Of bytes.
    pub(crate) bytes: Peak,
}

#[derive(Clone, Copy, Debug, Default)]
struct Window {
    /// The number of the first entry in it, over all entries there ever were.
    first: u64,
    sum: Amount,
    peaks: WindowPeaks,
}

/// The peaks of one line, or of the arbitrated stream.
#[derive(Clone, Debug, Default)]
pub(crate) struct Peaks {
    entries: VecDeque<(Nanos, Amount)>,
    /// How many entries are gone from the front.
    gone: u64,
    windows: [Window; WINDOWS.len()],
    cut: u64,
}

impl Peaks {
    /// Adds what came at a stamp. A stamp before the last one counts as the last. Returns what the longest window holds now.
    #[inline]
    pub(crate) fn add(&mut self, stamp: Nanos, amount: Amount) -> Amount {
        match self.entries.back_mut() {
            Some((last, entry)) if stamp <= *last => entry.add(amount),
            _ => self.push(stamp, amount),
        }
        for window in &mut self.windows {
            window.sum.add(amount);
            let (at, _) = self.entries[(window.first - self.gone) as usize];
            window.peaks.datagrams.raise(window.sum.datagrams, at);
            window.peaks.messages.raise(window.sum.messages, at);
            window.peaks.bytes.raise(window.sum.bytes, at);
        }
        self.windows[0].sum
    }

    /// A new stamp: windows move on.
    fn push(&mut self, stamp: Nanos, amount: Amount) {
        if self.entries.len() == ENTRIES {
            self.cut += 1;
            for window in &mut self.windows {
                if window.first == self.gone {
                    window.sum.take(self.entries[0].1);
                    window.first += 1;
                }
            }
            self.entries.pop_front();
            self.gone += 1;
        }
        self.entries.push_back((stamp, amount));
        for (window, width) in self.windows.iter_mut().zip(WINDOWS) {
            while let Some((_, old)) =
                self.entries.get((window.first - self.gone) as usize).filter(|(at, _)| (stamp - *at) >= width)
            {
                window.sum.take(*old);
                window.first += 1;
            }
        }
        while self.gone < self.windows[0].first {
            self.entries.pop_front();
            self.gone += 1;
        }
    }

    /// The peaks of the windows, in the order of [`WINDOWS`].
    pub(crate) fn windows(&self) -> [WindowPeaks; WINDOWS.len()] {
        self.windows.map(|window| window.peaks)
    }

    /// How many stamps were dropped before their millisecond was over.
    pub(crate) fn cut(&self) -> u64 {
        self.cut
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn amount(datagrams: u64, messages: u64, bytes: u64) -> Amount {
        Amount { datagrams, messages, bytes }
    }

    #[test]
    fn a_window_is_half_open_and_tells_when_it_began() {
        let mut peaks = Peaks::default();
        for (stamp, messages) in [(1_000, 3), (10_999, 4), (11_000, 4), (11_000, 1), (500_000, 2)] {
            peaks.add(Nanos(stamp), amount(1, messages, 10));
        }
        let [ms, hundred, ten] = peaks.windows();
        // 1,000 and 11,000 are 10 us apart: not within one window of 10 us
        assert_eq!(ten.messages, Peak { amount: 9, at: Nanos(10_999) });
        assert_eq!(ten.datagrams, Peak { amount: 3, at: Nanos(10_999) });
        assert_eq!(hundred.messages, Peak { amount: 12, at: Nanos(1_000) });
        assert_eq!(ms.bytes, Peak { amount: 50, at: Nanos(1_000) });
        assert_eq!(peaks.cut(), 0);
    }

    #[test]
    fn it_agrees_with_a_scan() {
        for seed in 0..20 {
            let mut rng = fastrand::Rng::with_seed(seed);
            let (mut at, mut all, mut peaks) = (Nanos(50), Vec::new(), Peaks::default());
            for _ in 0..400 {
                at = at + Nanos([0, 3, 900, 20_000, 400_000][rng.usize(..5)] + rng.u64(..5));
                let came = amount(1, rng.u64(..9), rng.u64(40..1_400));
                all.push((at, came));
                peaks.add(at, came);
            }
            for (width, found) in WINDOWS.into_iter().zip(peaks.windows()) {
                let sums = all.iter().map(|(from, _)| {
                    let within = all.iter().filter(|(at, _)| at >= from && *at - *from < width);
                    within.fold(Amount::default(), |mut sum, (_, came)| {
                        sum.add(*came);
                        sum
                    })
                });
                let sums: Vec<Amount> = sums.collect();
                let most = |of: fn(&Amount) -> u64| sums.iter().map(of).max().unwrap();
                assert_eq!(found.datagrams.amount, most(|sum| sum.datagrams), "seed {seed}");
                assert_eq!(found.messages.amount, most(|sum| sum.messages), "seed {seed}");
                assert_eq!(found.bytes.amount, most(|sum| sum.bytes), "seed {seed}");
            }
        }
    }

    #[test]
    fn more_stamps_than_are_kept_are_told() {
        let mut peaks = Peaks::default();
        for n in 0..ENTRIES as u64 + 5 {
            peaks.add(Nanos(n), amount(1, 1, 1));
        }
        let [ms, hundred, ten] = peaks.windows();
        assert_eq!(peaks.cut(), 5);
        assert_eq!((ms.datagrams.amount, hundred.datagrams.amount), (ENTRIES as u64, ENTRIES as u64));
        assert_eq!(ten.datagrams.amount, 10_000);
        assert!(peaks.entries.len() <= ENTRIES);
    }
}
