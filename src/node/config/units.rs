//! Durations and sizes as people write them: `"1.5ms"`, `"64MiB"`. Read and written, exactly.

use twinline_core::Nanos;

const DURATIONS: [(&str, u64); 4] = [("ns", 1), ("us", 1_000), ("ms", 1_000_000), ("s", 1_000_000_000)];
const SIZES: [(&str, u64); 4] = [("B", 1), ("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30)];

/// A duration: a number, whole or decimal, and its unit: `ns`, `us`, `ms` or `s`.
///
/// ```
/// use twinline_core::Nanos;
/// use twinline_node::config::parse_duration;
/// assert_eq!(parse_duration("1.5ms"), Ok(Nanos(1_500_000)));
/// assert!(parse_duration("5").is_err());
/// ```
///
/// # Errors
/// What was expected instead.
pub fn parse_duration(text: &str) -> Result<Nanos, String> {
    scaled(text, &DURATIONS).map(Nanos).map_err(|why| {
        format!(r#"{text:?} is not a duration ({why}); expected a number and a unit (ns, us, ms, s), such as "200us" or "1.5ms""#)
    })
}

/// A number of bytes: a number, whole or decimal, and its unit: `B`, `KiB`, `MiB` or `GiB`.
///
/// ```
/// use twinline_node::config::parse_size;
/// assert_eq!(parse_size("64MiB"), Ok(67_108_864));
/// ```
///
/// # Errors
/// What was expected instead.
pub fn parse_size(text: &str) -> Result<u64, String> {
    scaled(text, &SIZES).map_err(|why| {
        format!(r#"{text:?} is not a size ({why}); expected a number and a unit (B, KiB, MiB, GiB), such as "64MiB""#)
    })
}

/// The duration as [`parse_duration`] reads it, in the largest unit of which it is a whole number: `1ms`, `1500us`.
pub fn duration_text(span: Nanos) -> String {
    in_largest_unit(span.as_u64(), &DURATIONS)
}

/// The size as [`parse_size`] reads it, in the largest unit of which it is a whole number: `64MiB`, `1500B`.
pub fn size_text(bytes: u64) -> String {
    in_largest_unit(bytes, &SIZES)
}

fn in_largest_unit(n: u64, units: &[(&str, u64)]) -> String {
    let fits = units.iter().rev().find(|(_, scale)| n >= *scale && n.is_multiple_of(*scale));
    let (name, scale) = fits.unwrap_or(&units[0]);
    format!("{}{name}", n / scale)
}

/// `12.5unit` in the smallest of `units`, or the reason why it is refused.
fn scaled(text: &str, units: &[(&str, u64)]) -> Result<u64, &'static str> {
    let text = text.trim();
    let digits_end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(digits_end);
    let (whole, fraction) = number.split_once('.').map_or((number, None), |(whole, rest)| (whole, Some(rest)));
    if whole.is_empty() || fraction.is_some_and(str::is_empty) {
        return Err("it does not begin with a number");
    }
    let unit = unit.trim_start();
    if unit.is_empty() {
        return Err("it has no unit");
    }
    let Some((_, scale)) = units.iter().find(|(name, _)| *name == unit) else {
        return Err("its unit is not known");
    };
    let too_large = "it is too large";
    let total = whole.parse::<u64>().ok().and_then(|n| n.checked_mul(*scale)).ok_or(too_large)?;
    let part = fraction.map_or(Ok(0), |digits| part_of(*scale, digits))?;
    total.checked_add(part).ok_or(too_large)
}

/// `0.digits` of `scale`, if that is a whole number.
fn part_of(scale: u64, digits: &str) -> Result<u64, &'static str> {
    const TOO_FINE: &str = "it is finer than the smallest unit";
    if digits.contains('.') {
        return Err("it has two decimal points");
    }
    // without trailing zeros, a fraction that makes 10^9 or 2^30 whole has at most 30 digits
    let digits = digits.trim_end_matches('0');
    if digits.is_empty() {
        return Ok(0);
    }
    let numerator: u128 = digits.parse().map_err(|_| TOO_FINE)?;
    let divisor = u32::try_from(digits.len()).ok().and_then(|len| 10u128.checked_pow(len)).ok_or(TOO_FINE)?;
    let product = numerator.checked_mul(u128::from(scale)).ok_or(TOO_FINE)?;
    if !product.is_multiple_of(divisor) {
        return Err(TOO_FINE);
    }
    u64::try_from(product / divisor).map_err(|_| TOO_FINE)
}
