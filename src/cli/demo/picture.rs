//! Pictures made of text: bars and a latency histogram, with the few escape codes that colour them.

use indicatif::HumanCount;

use super::parts::Latency;

/// Colours for a terminal, or none.
#[derive(Clone, Copy, Debug)]
pub(super) struct Paint(pub(super) bool);

impl Paint {
    fn with(self, code: &str, text: &str) -> String {
        if self.0 { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }

    pub(super) fn bold(self, text: &str) -> String {
        self.with("1", text)
    }

    pub(super) fn dim(self, text: &str) -> String {
        self.with("2", text)
    }

    pub(super) fn red(self, text: &str) -> String {
        self.with("31", text)
    }

    pub(super) fn green(self, text: &str) -> String {
        self.with("32", text)
    }

    pub(super) fn yellow(self, text: &str) -> String {
        self.with("33", text)
    }

    pub(super) fn cyan(self, text: &str) -> String {
        self.with("36", text)
    }
}

/// A bar of up to `width` cells, in eighths of a cell; never empty where the share is not.
pub(super) fn bar(share: f64, width: usize) -> String {
    const EIGHTHS: [&str; 8] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];
    let eighths = (share.clamp(0.0, 1.0) * width as f64 * 8.0).round() as usize;
    let eighths = if share > 0.0 { eighths.max(1) } else { 0 };
    format!("{}{}", "█".repeat(eighths / 8), EIGHTHS[eighths % 8])
}

/// A span in about three figures: `38.0 us`, `1.25 ms`.
pub(super) fn span(ns: u64) -> String {
    let (unit, name) = match ns {
        0..1_000 => return format!("{ns} ns"),
        1_000..1_000_000 => (1e3, "us"),
        1_000_000..1_000_000_000 => (1e6, "ms"),
        _ => (1e9, "s"),
    };
    let value = ns as f64 / unit;
    let decimals = if value < 9.995 { 2 } else { usize::from(value < 99.95) };
    format!("{value:.decimals$} {name}")
}

/// A percentage. One above zero never reads as zero.
pub(super) fn percent(part: u64, whole: u64) -> String {
    let percent = if whole == 0 { 0.0 } else { part as f64 * 100.0 / whole as f64 };
    match percent {
        0.0 => "0 %".to_owned(),
        ..0.005 => "<0.01 %".to_owned(),
        ..9.995 => format!("{percent:.2} %"),
        _ => format!("{percent:.1} %"),
    }
}

/// One row of the histogram: a range of latencies.
#[derive(Clone, Copy)]
struct Bucket {
    from: u64,
    to: u64,
    straight: u64,
    held: u64,
}

/// Buckets at 1, 2 and 5 of every decade, from the first that is not empty to the last.
fn buckets(latency: &Latency) -> Vec<Bucket> {
    let edges = (0..12).flat_map(|decade| [1, 2, 5].map(|step| step * 10u64.pow(decade)));
    let edges: Vec<u64> = std::iter::once(0).chain(edges).collect();
    let bucket = |edge: &[u64]| Bucket { from: edge[0], to: edge[1], straight: 0, held: 0 };
    let mut buckets: Vec<Bucket> = edges.windows(2).map(bucket).collect();
    let place = |value: u64| edges.partition_point(|&edge| edge <= value).clamp(1, edges.len() - 1) - 1;
    for value in latency.straight.iter_recorded() {
        buckets[place(value.value_iterated_to())].straight += value.count_at_value();
    }
    for value in latency.held.iter_recorded() {
        buckets[place(value.value_iterated_to())].held += value.count_at_value();
    }
    let used = |bucket: &Bucket| bucket.straight + bucket.held > 0;
    let first = buckets.iter().position(used).unwrap_or(0);
    let end = buckets.iter().rposition(used).map_or(0, |last| last + 1);
    buckets[first.min(end)..end].to_vec()
}

/// The histogram, one row per bucket: first messages that were not held, then those that were.
pub(super) fn histogram(latency: &Latency, width: usize, paint: Paint) -> Vec<String> {
    let buckets = buckets(latency);
    let all = latency.straight.len() + latency.held.len();
    let most = buckets.iter().map(|bucket| bucket.straight + bucket.held).max().unwrap_or(0).max(1);
    let edge = |ns: u64| match ns {
        0..1_000 => format!("{ns} ns"),
        1_000..1_000_000 => format!("{} us", ns / 1_000),
        1_000_000..1_000_000_000 => format!("{} ms", ns / 1_000_000),
        _ => format!("{} s", ns / 1_000_000_000),
    };
    let row = |bucket: &Bucket| {
        let count = bucket.straight + bucket.held;
        let straight = bar(bucket.straight as f64 / most as f64, width);
        let cells = bar(count as f64 / most as f64, width).chars().count().max(straight.chars().count());
        let held = "░".repeat(cells - straight.chars().count());
        let pad = " ".repeat(width - cells);
        let (from, to) = (edge(bucket.from), edge(bucket.to));
        let (straight, held) = (paint.cyan(&straight), paint.dim(&held));
        format!(
            "{from:>6} to {to:<6}  {straight}{held}{pad}  {:>9}  {:>11}",
            percent(count, all),
            HumanCount(count).to_string()
        )
    };
    buckets.iter().map(row).collect()
}

/// The text, wrapped into lines of at most `width` characters.
pub(super) fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let last = lines.last().map_or(0, |line| line.chars().count());
        if last > 0 && last + 1 + word.chars().count() > width {
            lines.push(String::new());
        }
        if let Some(line) = lines.last_mut() {
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_have_eighths_and_are_never_empty_for_something() {
        assert_eq!(bar(0.0, 4), "");
        assert_eq!(bar(0.000_1, 4), "▏");
        assert_eq!(bar(0.5, 4), "██");
        assert_eq!(bar(0.6, 4), "██▍");
        assert_eq!(bar(7.0, 4), "████");
    }

    #[test]
    fn spans_and_percents_read_well() {
        assert_eq!([999, 38_000, 1_250_000, 2_000_000_000].map(span), ["999 ns", "38.0 us", "1.25 ms", "2.00 s"]);
        assert_eq!([9_996, 99_960].map(span), ["10.0 us", "100 us"]);
        assert_eq!(
            [percent(0, 5), percent(1, 2), percent(1, 300), percent(1, 1_000_000)],
            ["0 %", "50.0 %", "0.33 %", "<0.01 %"]
        );
        assert_eq!(percent(0, 0), "0 %");
    }

    #[test]
    fn a_histogram_has_every_value_in_its_bucket() {
        let mut latency = Latency::new();
        latency.straight.record_n(15_000, 30).unwrap();
        latency.straight.record_n(30_000, 30).unwrap();
        latency.held.record_n(30_000, 30).unwrap();
        latency.held.record_n(300_000, 10).unwrap();
        let rows = histogram(&latency, 12, Paint(false));
        assert_eq!(rows[0], " 10 us to 20 us   ██████           30.0 %           30");
        assert_eq!(rows[1], " 20 us to 50 us   ██████░░░░░░     60.0 %           60");
        assert_eq!(rows[4], "200 us to 500 us  ░░               10.0 %           10");
        assert_eq!(rows.len(), 5);
        assert!(histogram(&Latency::new(), 12, Paint(false)).is_empty());
        latency.held.record(60_000_000_000).unwrap();
        assert!(histogram(&latency, 12, Paint(false)).last().unwrap().starts_with("  50 s to"));
    }

    #[test]
    fn words_are_wrapped() {
        assert_eq!(wrapped("one two three four", 9), ["one two", "three", "four"]);
        assert_eq!(wrapped("unbreakable", 3), ["unbreakable"]);
    }
}
