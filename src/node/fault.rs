//! What a line does to the datagrams that are sent on it: the model behind the publisher's faults and those of
//! [`FaultySource`](crate::source::FaultySource). It is seeded and reads no clock: time is an argument.
//!
//! Every fault of every line draws from its own random stream, once per datagram. Switching one fault on or off does not change
//! what the others do.
//!
//! ```text
//!  datagram -> draw: its Fate -> [waits to be overtaken] -> arrive: when it gets through, or why it does not
//! ```

use fastrand::Rng;

use twinline_core::Nanos;
use twinline_core::frame::Line;

/// The longest delay that a line may have, since delayed datagrams are held in memory.
pub const DELAY_MAX: Nanos = Nanos::from_secs(10);
/// At most this many datagrams may overtake one.
pub const BEHIND_MAX: u32 = 1_000;

/// How often something happens: a probability from 0 to 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, PartialOrd)]
pub struct Share(f64);

impl Share {
    /// Never.
    pub const NEVER: Share = Share(0.0);
    /// Every time.
    pub const ALWAYS: Share = Share(1.0);

    /// A probability; `None` outside of 0 to 1.
    pub fn new(probability: f64) -> Option<Share> {
        (0.0..=1.0).contains(&probability).then_some(Share(probability))
    }

    /// A percentage; `None` outside of 0 to 100.
    pub fn percent(percent: f64) -> Option<Share> {
        Share::new(percent / 100.0)
    }

    /// The probability.
    pub fn probability(self) -> f64 {
        self.0
    }

    fn happens(self, rng: &mut Rng) -> bool {
        self.0 > 0.0 && rng.f64() < self.0
    }
}

/// Loss in bursts (Gilbert's channel): in its bad state a line loses every datagram.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BurstLoss {
    /// How often a datagram begins a burst, while there is none.
    pub enter: Share,
    /// How many datagrams a burst takes on average: 1 or more.
    pub mean: f64,
}

/// Datagrams that are overtaken by others of their line.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Reorder {
    /// How often.
    pub share: Share,
    /// By how many: 1 to [`BEHIND_MAX`].
    pub behind: u32,
}

/// How long a line takes: a fixed time, or one drawn for each datagram. A delay never reorders a line: what catches up waits
/// for what went before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Delay {
    /// The least.
    pub min: Nanos,
    /// The most; at most [`DELAY_MAX`].
    pub max: Nanos,
}

/// A time in which nothing gets through: `[from, to)`, counted from the start of the plan, or of the source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outage {
    /// Its first moment.
    pub from: Nanos,
    /// The first moment after it.
    pub to: Nanos,
}

/// Everything that one line does to its datagrams.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Faults {
    /// Datagrams lost one by one.
    pub loss: Share,
    /// Datagrams lost in bursts.
    pub burst_loss: Option<BurstLoss>,
    /// Datagrams that come twice, the second copy right after the first.
    pub duplicate: Share,
    /// Datagrams that are overtaken.
    pub reorder: Option<Reorder>,
    /// How long the line takes. A skew between lines is a fixed delay on one of them.
    pub delay: Delay,
    /// When nothing gets through, by the time at which a datagram would arrive.
    pub outages: Vec<Outage>,
    /// Datagrams with one byte changed.
    pub corrupt: Share,
}

/// Why a datagram did not get through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DropCause {
    /// [`Faults::loss`].
    Loss,
    /// [`Faults::burst_loss`].
    Burst,
    /// [`Faults::outages`].
    Outage,
}

/// What the faults did to one line's datagrams.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct FaultCounts {
    /// Datagrams that met the line's faults, lost ones included, second copies not.
    pub datagrams: u64,
    /// Lost one by one ([`Faults::loss`]).
    pub lost: u64,
    /// Lost in bursts.
    pub lost_in_bursts: u64,
    /// Lost in outages.
    pub lost_in_outages: u64,
    /// Second copies.
    pub duplicated: u64,
    /// Overtaken by at least one datagram.
    pub reordered: u64,
    /// With a byte changed.
    pub corrupted: u64,
    /// Sent before their delay was over, for lack of room. Only a publisher does this.
    pub hurried: u64,
}

/// What was drawn for one datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fate {
    pub(crate) lost: Option<DropCause>,
    /// Which byte changes, and by what (never 0). Only of a datagram that is not lost.
    pub(crate) corrupt: Option<(usize, u8)>,
    pub(crate) duplicate: bool,
    /// How many datagrams overtake it.
    pub(crate) behind: Option<u32>,
    pub(crate) delay: Nanos,
}

/// One line's faults under way.
#[derive(Clone, Debug)]
pub(crate) struct LineFaults {
    faults: Faults,
    counts: FaultCounts,
    /// When the line's last datagram got through: none gets through before it.
    last_due: Nanos,
    in_burst: bool,
    loss: Rng,
    burst: Rng,
    duplicate: Rng,
    reorder: Rng,
    delay: Rng,
    corrupt: Rng,
}

/// What a random stream is for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Purpose {
    Loss = 1,
    Burst,
    Duplicate,
    Reorder,
    Delay,
    Corrupt,
    Packing,
}

/// The random stream of one purpose on one line (and group, if the purpose has one per group).
pub(crate) fn stream(seed: u64, line: Line, group: u16, purpose: Purpose) -> Rng {
    let which = (line.index() as u64) << 32 | u64::from(group) << 8 | purpose as u64;
    Rng::with_seed(mix(seed ^ mix(which)))
}

/// SplitMix64's finaliser: neighbouring seeds give streams that have nothing in common.
fn mix(n: u64) -> u64 {
    let n = n.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let n = (n ^ (n >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let n = (n ^ (n >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    n ^ (n >> 31)
}

impl LineFaults {
    /// The faults of a line whose time begins at `start`.
    pub(crate) fn new(faults: Faults, seed: u64, line: Line, start: Nanos) -> LineFaults {
        let rng = |purpose| stream(seed, line, 0, purpose);
        LineFaults {
            faults,
            counts: FaultCounts::default(),
            last_due: start,
            in_burst: false,
            loss: rng(Purpose::Loss),
            burst: rng(Purpose::Burst),
            duplicate: rng(Purpose::Duplicate),
            reorder: rng(Purpose::Reorder),
            delay: rng(Purpose::Delay),
            corrupt: rng(Purpose::Corrupt),
        }
    }

    /// Draws for the line's next datagram, which is `len` bytes long.
    pub(crate) fn draw(&mut self, len: usize) -> Fate {
        self.counts.datagrams += 1;
        let burst = self.burst();
        let loss = self.faults.loss.happens(&mut self.loss);
        let corrupt = (len > 0 && self.faults.corrupt.happens(&mut self.corrupt))
            .then(|| (self.corrupt.usize(..len), self.corrupt.u8(1..)));
        let reorder = self.faults.reorder;
        let Delay { min, max } = self.faults.delay;
        let lost = if burst { Some(DropCause::Burst) } else { loss.then_some(DropCause::Loss) };
        Fate {
            lost,
            corrupt: corrupt.filter(|_| lost.is_none()),
            duplicate: self.faults.duplicate.happens(&mut self.duplicate),
            behind: reorder.filter(|r| r.share.happens(&mut self.reorder)).map(|r| r.behind.clamp(1, BEHIND_MAX)),
            delay: if min < max { Nanos(self.delay.u64(min.0..=max.0)) } else { min }.min(DELAY_MAX),
        }
    }

    /// When a datagram that leaves at `now` gets through, and why it does not, if so. Called once per datagram, in the order in
    /// which they leave: a delay reorders nothing.
    pub(crate) fn arrive(&mut self, now: Nanos, fate: &Fate) -> (Nanos, Option<DropCause>) {
        let due = self.last_due.max(now + fate.delay);
        self.last_due = due;
        let dropped = fate.lost.or_else(|| self.out(due).then_some(DropCause::Outage));
        match dropped {
            Some(DropCause::Loss) => self.counts.lost += 1,
            Some(DropCause::Burst) => self.counts.lost_in_bursts += 1,
            Some(DropCause::Outage) => self.counts.lost_in_outages += 1,
            None => {
                self.counts.corrupted += u64::from(fate.corrupt.is_some());
                self.counts.duplicated += u64::from(fate.duplicate);
            }
        }
        (due, dropped)
    }

    /// What became of the line's datagrams so far.
    pub(crate) fn counts(&self) -> FaultCounts {
        self.counts
    }

    /// Counts a datagram that was overtaken and got through.
    pub(crate) fn count_reordered(&mut self) {
        self.counts.reordered += 1;
    }

    /// Counts a datagram that leaves before its time for lack of room.
    pub(crate) fn count_hurried(&mut self) {
        self.counts.hurried += 1;
    }

    /// Steps Gilbert's channel by one datagram: whether that one is lost.
    fn burst(&mut self) -> bool {
        let Some(BurstLoss { enter, mean }) = self.faults.burst_loss else { return false };
        if !self.in_burst {
            self.in_burst = enter.happens(&mut self.burst);
            return self.in_burst;
        }
        // a burst takes at least one datagram, so its length is geometric with this mean
        self.in_burst = self.burst.f64() >= 1.0 / mean.max(1.0);
        self.in_burst || {
            self.in_burst = enter.happens(&mut self.burst);
            self.in_burst
        }
    }

    /// Whether `due` falls into an outage.
    fn out(&self, due: Nanos) -> bool {
        self.faults.outages.iter().any(|o| o.from <= due && due < o.to)
    }
}

/// Datagrams of one sequence that wait to be overtaken by others of it.
#[derive(Clone, Debug)]
pub(crate) struct Overtaken<T> {
    waiting: Vec<Waiting<T>>,
}

#[derive(Clone, Debug)]
struct Waiting<T> {
    /// How many have yet to overtake it.
    left: u32,
    overtaken: bool,
    datagram: T,
}

impl<T> Overtaken<T> {
    /// None wait; there is room for as many before memory grows.
    pub(crate) fn with_capacity(datagrams: usize) -> Overtaken<T> {
        Overtaken { waiting: Vec::with_capacity(datagrams) }
    }

    /// Whether a datagram may wait for `behind` others to overtake it. No more wait than may overtake: otherwise a line that
    /// delays everything would send nothing.
    pub(crate) fn may_wait(&self, behind: u32) -> bool {
        self.waiting.len() < behind as usize
    }

    /// Makes a datagram wait until `behind` others (1 or more) have overtaken it.
    pub(crate) fn wait(&mut self, behind: u32, datagram: T) {
        self.waiting.push(Waiting { left: behind, overtaken: false, datagram });
    }

    /// Another one got through: each that waits is one nearer to its turn.
    pub(crate) fn pass(&mut self) {
        for waiting in &mut self.waiting {
            waiting.left -= 1;
            waiting.overtaken = true;
        }
    }

    /// One whose turn has come.
    pub(crate) fn next_ready(&mut self) -> Option<T> {
        let at = self.waiting.iter().position(|waiting| waiting.left == 0)?;
        Some(self.waiting.remove(at).datagram)
    }

    /// The first one that still waits, and whether it was overtaken: nothing more will come.
    pub(crate) fn give_up(&mut self) -> Option<(T, bool)> {
        let first = (!self.waiting.is_empty()).then(|| self.waiting.remove(0))?;
        Some((first.datagram, first.overtaken))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draws(faults: Faults, n: usize) -> Vec<Fate> {
        let mut line = LineFaults::new(faults, 11, Line(0), Nanos::ZERO);
        (0..n).map(|_| line.draw(100)).collect()
    }

    fn share(probability: f64) -> Share {
        Share::new(probability).unwrap()
    }

    #[test]
    fn shares_are_probabilities() {
        assert_eq!(Share::percent(1.0), Share::new(0.01));
        assert_eq!(Share::percent(100.1), None);
        assert_eq!(Share::new(f64::NAN), None);
        assert_eq!(Share::new(-0.1), None);
    }

    #[test]
    fn loss_is_as_often_as_was_said() {
        let lost = draws(Faults { loss: share(0.02), ..Faults::default() }, 100_000);
        let lost = lost.iter().filter(|f| f.lost == Some(DropCause::Loss)).count();
        // four standard deviations of a binomial
        assert!(lost.abs_diff(2_000) < 180, "{lost} of 100,000");
    }

    #[test]
    fn bursts_are_as_long_and_as_often_as_was_said() {
        let burst_loss = Some(BurstLoss { enter: share(0.001), mean: 8.0 });
        let fates = draws(Faults { burst_loss, ..Faults::default() }, 1_000_000);
        let lost: Vec<bool> = fates.iter().map(|f| f.lost == Some(DropCause::Burst)).collect();
        let total = lost.iter().filter(|&&l| l).count();
        let bursts = lost.windows(2).filter(|w| !w[0] && w[1]).count();
        let mean = total as f64 / bursts as f64;
        assert!((7.0..9.0).contains(&mean), "mean {mean} of {bursts} bursts");
        assert!((900..1_100).contains(&bursts), "{bursts} bursts");
    }

    #[test]
    fn a_mean_of_one_is_single_losses() {
        let burst_loss = Some(BurstLoss { enter: share(0.01), mean: 1.0 });
        let fates = draws(Faults { burst_loss, ..Faults::default() }, 100_000);
        let pairs = fates.windows(2).filter(|w| w[0].lost.is_some() && w[1].lost.is_some()).count();
        assert!(pairs < 40, "{pairs} pairs where 10 are to be expected");
    }

    #[test]
    fn one_fault_does_not_move_another() {
        let one = Faults { loss: share(0.1), ..Faults::default() };
        let all = Faults {
            duplicate: share(0.5),
            corrupt: share(0.5),
            reorder: Some(Reorder { share: share(0.5), behind: 3 }),
            delay: Delay { min: Nanos(1), max: Nanos(9) },
            burst_loss: Some(BurstLoss { enter: Share::NEVER, mean: 2.0 }),
            ..one.clone()
        };
        let lost = |faults| draws(faults, 1_000).iter().map(|f| f.lost).collect::<Vec<_>>();
        assert_eq!(lost(one), lost(all));
    }

    #[test]
    fn lines_differ_and_seeds_differ() {
        let first = |seed, line, group| stream(seed, Line(line), group, Purpose::Loss).u64(..);
        assert_ne!(first(1, 0, 0), first(1, 1, 0));
        assert_ne!(first(1, 0, 0), first(2, 0, 0));
        assert_ne!(first(1, 0, 0), first(1, 0, 1));
    }

    #[test]
    fn delays_and_corrupt_bytes_stay_in_bounds() {
        let delay = Delay { min: Nanos(200), max: Nanos(400) };
        for fate in draws(Faults { delay, corrupt: Share::ALWAYS, ..Faults::default() }, 10_000) {
            assert!((200..=400).contains(&fate.delay.0));
            let (at, by) = fate.corrupt.unwrap();
            assert!(at < 100 && by != 0);
        }
        let far = Delay { min: Nanos::from_secs(60), max: Nanos::from_secs(60) };
        assert_eq!(draws(Faults { delay: far, ..Faults::default() }, 1)[0].delay, DELAY_MAX);
    }

    #[test]
    fn an_outage_is_half_open() {
        let outages = vec![Outage { from: Nanos(10), to: Nanos(20) }, Outage { from: Nanos(30), to: Nanos(31) }];
        let line = LineFaults::new(Faults { outages, ..Faults::default() }, 1, Line(0), Nanos::ZERO);
        let out: Vec<u64> = (0..40).filter(|&t| line.out(Nanos(t))).collect();
        assert_eq!(out, [10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 30]);
    }
}
