//! The percentile file (`.hgrm`) that the usual plotters of HdrHistogram take.
//!
//! ```text
//!        Value     Percentile TotalCount 1/(1-Percentile)
//!
//!        3.311 0.000000000000          1           1.00
//!        ...
//! #[Mean    =        3.526, StdDeviation   =        0.871]
//! #[Max     =       95.103, Total count    =        10000]
//! #[Buckets =           26, SubBuckets     =         2048]
//! ```

use std::io::{self, Write};

use hdrhistogram::Histogram;

/// How many steps between a percentile and half of what is left to 100 %.
const STEPS: u32 = 5;

/// Writes a histogram of nanoseconds as microseconds.
///
/// # Errors
/// The writer's.
pub fn write_hgrm(histogram: &Histogram<u64>, out: &mut impl Write) -> io::Result<()> {
    let micros = |nanos: f64| nanos / 1e3;
    writeln!(out, "{:>12} {:>14} {:>10} {:>14}\n", "Value", "Percentile", "TotalCount", "1/(1-Percentile)")?;
    let mut total = 0;
    for step in histogram.iter_quantiles(STEPS) {
        total += step.count_since_last_iteration();
        let (value, quantile) = (micros(step.value_iterated_to() as f64), step.quantile_iterated_to());
        if quantile < 1.0 {
            writeln!(out, "{value:>12.3} {quantile:>2.12} {total:>10} {:>14.2}", 1.0 / (1.0 - quantile))?;
        } else {
            writeln!(out, "{value:>12.3} {quantile:>2.12} {total:>10}")?;
        }
    }
    let (mean, deviation) = (micros(histogram.mean()), micros(histogram.stdev()));
    writeln!(out, "#[Mean    = {mean:>12.3}, StdDeviation   = {deviation:>12.3}]")?;
    let (max, count) = (micros(histogram.max() as f64), histogram.len());
    writeln!(out, "#[Max     = {max:>12.3}, Total count    = {count:>12}]")?;
    // as the reference implementation counts them: half as many sub-buckets to a bucket, but for the first
    let sub_buckets = (2 * 10u64.pow(histogram.sigfig().into())).next_power_of_two();
    let buckets = (histogram.high() / sub_buckets + 1).next_power_of_two().ilog2() + 1;
    writeln!(out, "#[Buckets = {buckets:>12}, SubBuckets     = {sub_buckets:>12}]")
}

#[cfg(test)]
mod tests {
    use super::super::latencies::histogram;
    use super::*;

    #[test]
    fn the_file_has_the_usual_form() {
        let mut times = histogram();
        for n in 1..=1_000 {
            times.record(n * 1_000).unwrap();
        }
        let mut out = Vec::new();
        write_hgrm(&times, &mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "       Value     Percentile TotalCount 1/(1-Percentile)");
        assert_eq!(lines[1], "");
        assert_eq!(lines[2], "       1.000 0.000000000000          1           1.00");
        let (rows, foot) = lines[2..].split_at(lines.len() - 5);
        let numbers = |row: &&str| -> Vec<f64> { row.split_whitespace().map(|n| n.parse().unwrap()).collect() };
        let rows: Vec<Vec<f64>> = rows.iter().map(numbers).collect();
        assert!(rows.windows(2).all(|pair| (0..3).all(|column| pair[0][column] <= pair[1][column])), "{text}");
        let last = rows.last().unwrap();
        assert_eq!((last.len(), last[1], last[2]), (3, 1.0, 1_000.0));
        assert!((last[0] - 1_000.0).abs() <= 1.0, "{last:?}");
        assert!(
            foot[0].starts_with("#[Mean    =      500.") && foot[0].contains(", StdDeviation   =      288."),
            "{text}"
        );
        assert!(foot[1].contains(", Total count    =         1000]"), "{text}");
        assert_eq!(foot[2], "#[Buckets =           26, SubBuckets     =         2048]");
    }

    #[test]
    fn an_empty_histogram_is_a_file_without_rows() {
        let mut out = Vec::new();
        write_hgrm(&histogram(), &mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert!(text.starts_with("       Value") && text.contains("Total count    =            0]"), "{text}");
    }
}
