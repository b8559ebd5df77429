//! The live view of the demo: a picture that redraws itself on a terminal, and plain rows elsewhere.

use std::collections::VecDeque;
use std::io::{self, Write};

use indicatif::{HumanCount, ProgressBar, ProgressDrawTarget, ProgressStyle};

use twinline_core::Nanos;
use twinline_core::arbiter::LineState;
use twinline_core::frame::Line;

use super::Out;
use super::checker::Gaps;
use super::parts::News;
use super::picture::{Paint, bar, percent, span};
use super::schedule::{NAMES, Schedule};

/// Cells of a line's timeline.
const CELLS: usize = 56;
/// Cells of the bar that shows who came first.
const FIRST_CELLS: usize = 22;
/// The window over which a rate is measured.
const RATE_OVER: Nanos = Nanos::from_millis(500);

/// How far the demo is, as the view shows it.
pub(super) struct Dashboard {
    schedule: Schedule,
    /// What arrived on each line, over [`RATE_OVER`].
    arrived: VecDeque<(Nanos, [u64; NAMES.len()])>,
    numbers: [u64; NAMES.len()],
    missing: [u64; NAMES.len()],
    delivered: u64,
    first: [u64; NAMES.len()],
    states: [LineState; NAMES.len()],
    gaps: Gaps,
    overruns: u64,
    p50: u64,
    p99: u64,
    /// Each line's state in each part of the time that has passed.
    cells: [Vec<LineState>; NAMES.len()],
}

impl Dashboard {
    pub(super) fn new(schedule: Schedule) -> Dashboard {
        Dashboard {
            schedule,
            arrived: VecDeque::new(),
            numbers: [0; NAMES.len()],
            missing: [0; NAMES.len()],
            delivered: 0,
            first: [0; NAMES.len()],
            states: [LineState::Waiting; NAMES.len()],
            gaps: Gaps::default(),
            overruns: 0,
            p50: 0,
            p99: 0,
            cells: [const { Vec::new() }; NAMES.len()],
        }
    }

    pub(super) fn take(&mut self, news: News) {
        match news {
            News::Arrived { at, numbers, missing } => {
                self.arrived.push_back((at, numbers));
                while self.arrived.front().is_some_and(|(first, _)| *first + RATE_OVER < at) {
                    self.arrived.pop_front();
                }
                (self.numbers, self.missing) = (numbers, missing);
            }
            News::Read { delivered, first, states, gaps, overruns, p50, p99 } => {
                (self.delivered, self.first, self.states, self.gaps) = (delivered, first, states, gaps);
                (self.overruns, self.p50, self.p99) = (overruns, p50, p99);
                self.fill_cells();
            }
        }
    }

    fn fill_cells(&mut self) {
        let (done, span) = (u128::from(self.elapsed().0), u128::from(self.schedule.span().0.max(1)));
        let cells = (done * CELLS as u128).div_ceil(span) as usize;
        for (cell, state) in self.cells.iter_mut().zip(self.states) {
            cell.resize(cells.min(CELLS).max(cell.len()), state);
        }
    }

    /// How far the client is, as time from the first message.
    fn elapsed(&self) -> Nanos {
        self.schedule.elapsed(self.delivered + self.gaps.lost)
    }

    /// Messages per second on a line, recently.
    fn rate(&self, line: usize) -> u64 {
        let (Some((from, before)), Some((to, now))) = (self.arrived.front(), self.arrived.back()) else { return 0 };
        let span = *to - *from;
        if span == Nanos::ZERO { 0 } else { ((now[line] - before[line]) as f64 * 1e9 / span.0 as f64).round() as u64 }
    }

    fn lost_share(&self, line: usize) -> String {
        percent(self.missing[line], self.missing[line] + self.numbers[line])
    }

    fn first_share(&self, line: usize) -> f64 {
        self.first[line] as f64 / self.first.iter().sum::<u64>().max(1) as f64
    }

    fn phase(&self) -> String {
        let elapsed = self.elapsed();
        match self.schedule.who_is_away(elapsed) {
            _ if self.delivered == 0 => "waiting for the first message".into(),
            _ if elapsed >= self.schedule.span() => "everything is sent: waiting for the last messages".into(),
            Some(line) => {
                let other = NAMES[1 - line.index()];
                format!("line {} is taken away: line {other} carries the feed alone", NAMES[line.index()])
            }
            None => "both lines are up, and lose, repeat and reorder a little".into(),
        }
    }

    /// The picture.
    fn picture(&self, paint: Paint) -> String {
        let Schedule { rate, seconds, seed, .. } = self.schedule;
        let mut rows = vec![
            String::new(),
            format!(
                "  {}   {} messages/s on two lines over loopback, seed {seed}",
                paint.bold("twinline demo"),
                HumanCount(rate)
            ),
            String::new(),
        ];
        let clock = [format!("{:.1} s", self.elapsed().0 as f64 / 1e9), format!("of {seconds} s")];
        for (line, name) in NAMES.iter().enumerate() {
            let over: String = self.cells[line].iter().map(|&state| cell(state, paint)).collect();
            let ahead = paint.dim(&"·".repeat(CELLS - self.cells[line].len()));
            rows.push(format!("  {}  {over}{ahead}  {:>9}", paint.bold(name), clock[line]));
        }
        rows.push(String::new());
        rows.push(format!("     {}", self.phase()));
        rows.push(String::new());
        let heads = format!("line   {:<10}{:>10}   {:>8}   came first", "state", "messages/s", "lost");
        rows.push(format!("     {}", paint.dim(&heads)));
        for (line, name) in NAMES.iter().enumerate() {
            let state = state(self.states[line], &format!("{:<13}", self.states[line].name()), paint);
            let share = self.first_share(line);
            let filled = bar(share, FIRST_CELLS);
            let pad = " ".repeat(FIRST_CELLS - filled.chars().count());
            rows.push(format!(
                "     {name}      {state}{:>7}   {:>8}   {}{pad}  {:>3.0} %",
                HumanCount(self.rate(line)).to_string(),
                self.lost_share(line),
                paint.cyan(&filled),
                share * 100.0
            ));
        }
        rows.push(String::new());
        let Gaps { opened, filled, lost, .. } = self.gaps;
        let filled = filled.iter().sum();
        rows.push(format!(
            "     {} {:<11}  {} opened, {} messages filled, {} lost",
            paint.dim("delivered"),
            paint.bold(&HumanCount(self.delivered).to_string()),
            format_args!("{} {}", paint.dim("gaps"), HumanCount(opened)),
            HumanCount(filled),
            HumanCount(lost),
        ));
        if self.p99 > 0 {
            rows.push(format!(
                "     {}   p50 {}, p99 {} from publisher to client, gaps excluded",
                paint.dim("latency"),
                span(self.p50),
                span(self.p99)
            ));
        }
        if self.overruns > 0 {
            rows.push(paint.red(&format!("     the client was too slow {} times", self.overruns)));
        }
        rows.push(String::new());
        rows.join("\n")
    }

    /// The same as one row under [`HEADS`].
    fn row(&self) -> String {
        let line = |line: usize| {
            let (rate, share) = (thousands(self.rate(line)), format!("{:.0}%", self.first_share(line) * 100.0));
            let lost = self.lost_share(line).replace(' ', "");
            format!("{:<7} {rate:>5} {lost:>6} {share:>5}", self.states[line].name())
        };
        let Gaps { opened, filled, lost, .. } = self.gaps;
        let filled: u64 = filled.iter().sum();
        format!("{} {} {opened:>5} {filled:>6} {lost:>5}", line(0), line(1))
    }
}

/// A rate in three figures or so.
fn thousands(rate: u64) -> String {
    if rate < 1_000 { rate.to_string() } else { format!("{:.1}k", rate as f64 / 1e3) }
}

/// The headings of [`Dashboard::row`], after the time.
const HEADS: &str = "A       msg/s   lost first B       msg/s   lost first  gaps filled  lost";

fn state(state: LineState, text: &str, paint: Paint) -> String {
    match state {
        LineState::Up => paint.green(text),
        LineState::Waiting => paint.dim(text),
        LineState::Lagging => paint.yellow(text),
        LineState::Silent | LineState::OtherSession => paint.red(text),
    }
}

fn cell(of: LineState, paint: Paint) -> String {
    let glyph = match of {
        LineState::Up => "█",
        LineState::Waiting => "·",
        LineState::Lagging => "▒",
        LineState::Silent | LineState::OtherSession => "░",
    };
    state(of, glyph, paint)
}

/// Where the dashboard is shown.
pub(super) enum View {
    Terminal { bar: ProgressBar, paint: Paint },
    Plain { out: Out, seconds: Option<u64>, away: Option<Line> },
}

impl View {
    /// A picture if `out` is a terminal, otherwise plain rows.
    pub(super) fn new(out: Out) -> View {
        let Some(paint) = out.terminal() else { return View::Plain { out, seconds: None, away: None } };
        let target = match out {
            Out::Stdout => ProgressDrawTarget::stdout(),
            Out::Stderr => ProgressDrawTarget::stderr(),
        };
        let bar = ProgressBar::with_draw_target(None, target);
        // the template is a constant, and valid
        bar.set_style(ProgressStyle::with_template("{msg}").unwrap_or_else(|_| ProgressStyle::default_spinner()));
        View::Terminal { bar, paint }
    }

    /// Shows how far the demo is.
    pub(super) fn show(&mut self, board: &Dashboard) {
        match self {
            View::Terminal { bar, paint } => bar.set_message(board.picture(*paint)),
            View::Plain { out, seconds, away } => {
                let elapsed = board.elapsed();
                let say = |at: Nanos, what: &str| {
                    // if nobody reads, the report will fail and say so
                    let _ = writeln!(out.writer(), "{:>5.1}s  {what}", at.0 as f64 / 1e9);
                };
                if seconds.is_none() {
                    *seconds = Some(0);
                    let _ = writeln!(out.writer(), "{:>6}  {HEADS}", "time");
                }
                let now_away = board.schedule.who_is_away(elapsed);
                if now_away != *away {
                    if let Some(line) = *away {
                        let what = format!("line {} is back", NAMES[line.index()]);
                        say(board.schedule.away(line.index()).to, &what);
                    }
                    if let Some(line) = now_away {
                        let what = format!("line {} is taken away", NAMES[line.index()]);
                        say(board.schedule.away(line.index()).from, &what);
                    }
                    *away = now_away;
                }
                let second = elapsed.0 / 1_000_000_000;
                if second > 0 && Some(second) > *seconds {
                    *seconds = Some(second);
                    say(Nanos::from_secs(second), &board.row());
                }
            }
        }
    }

    /// Removes the picture.
    pub(super) fn finish(self) {
        if let View::Terminal { bar, .. } = self {
            bar.finish_and_clear();
        }
    }
}

impl Out {
    /// A writer to it.
    pub(super) fn writer(self) -> Box<dyn Write> {
        match self {
            Out::Stdout => Box::new(io::stdout()),
            Out::Stderr => Box::new(io::stderr()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn board() -> Dashboard {
        let mut board = Dashboard::new(Schedule { rate: 20_000, seconds: 10, seed: 1 });
        for (at, count) in [(0, 0), (500, 10_000), (1_000, 20_000)] {
            let at = Nanos::from_secs(100) + Nanos::from_millis(at);
            board.take(News::Arrived { at, numbers: [count, count / 2], missing: [100, 0] });
        }
        board.take(News::Read {
            delivered: 60_000,
            first: [45_000, 15_000],
            states: [LineState::Silent, LineState::Up],
            gaps: Gaps { opened: 1_000, numbers: 3_000, filled: [1_000, 1_990], lost: 10 },
            overruns: 0,
            p50: 38_000,
            p99: 1_200_000,
        });
        board
    }

    #[test]
    fn the_picture_has_everything_and_fits_a_terminal() {
        let picture = board().picture(Paint(false));
        for words in [
            "3.0 s",
            "line A is taken away: line B carries the feed alone",
            "silent        20,000     0.50 %",
            "up            10,000        0 %",
            " 75 %",
            "60,000",
            "gaps 1,000 opened, 2,990 messages filled, 10 lost",
            "p50 38.0 us, p99 1.20 ms from publisher",
        ] {
            assert!(picture.contains(words), "{words}\n{picture}");
        }
        assert!(picture.lines().all(|line| line.chars().count() < 80), "{picture}");
        assert!(!picture.contains('\x1b'));
    }

    #[test]
    fn a_row_of_text_has_it_too() {
        assert_eq!(board().row(), "silent  20.0k  0.50%   75% up      10.0k     0%   25%  1000   2990    10");
        assert_eq!(HEADS.chars().count(), board().row().chars().count());
    }
}
