//! Counts, shares and spans, for people.

use crate::chart::span_text;

/// `1234567` as `1,234,567`.
pub(crate) fn grouped(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::with_capacity(digits.len() * 4 / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// `1 record`, `1,234 records`.
pub(crate) fn counted(n: u64, what: &str) -> String {
    if n == 1 { format!("1 {what}") } else { format!("{} {what}s", grouped(n)) }
}

/// A share in figures that never round to all or none: `33.3 %`, `less than 0.0001 %`.
pub(crate) fn percent(part: u64, all: u64) -> String {
    if part == 0 || all == 0 {
        return "0 %".to_owned();
    }
    let share = 100.0 * part as f64 / all as f64;
    match share {
        _ if part == all => "100 %".to_owned(),
        n if n < 0.000_1 => "less than 0.0001 %".to_owned(),
        n if n < 0.01 => format!("{n:.4} %"),
        n if n < 1.0 => format!("{n:.2} %"),
        n if n > 99.99 => "more than 99.99 %".to_owned(),
        n if n > 99.0 => format!("{n:.2} %"),
        n => format!("{n:.1} %"),
    }
}

/// Nanoseconds in the unit that reads best: `3.35 µs`.
pub(crate) fn span(nanos: u64) -> String {
    span_text(nanos as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_grouped_and_named() {
        assert_eq!([0, 999, 1_000, 1_234_567].map(grouped), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!([0, 1, 1_000].map(|n| counted(n, "record")), ["0 records", "1 record", "1,000 records"]);
    }

    #[test]
    fn a_share_never_rounds_to_all_or_none() {
        for (part, all, said) in [
            (0, 0, "0 %"),
            (1, 3, "33.3 %"),
            (1, 1_000, "0.10 %"),
            (1, 40_000, "0.0025 %"),
            (1, 10_000_000_000, "less than 0.0001 %"),
            (999, 1_000, "99.90 %"),
            (9_999_999, 10_000_000, "more than 99.99 %"),
            (7, 7, "100 %"),
        ] {
            assert_eq!(percent(part, all), said);
        }
    }
}
