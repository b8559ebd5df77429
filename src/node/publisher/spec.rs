//! Rates, durations, packings and faults as people type them.

use std::str::FromStr;

use twinline_core::Nanos;

use super::terms::{PACK_MAX, Rate};
use crate::fault::{BEHIND_MAX, BurstLoss, DELAY_MAX, Delay, Outage, Reorder, Share};

/// What is wrong with a text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SpecError {
    /// It does not have the expected form.
    #[error("'{given}' is not {expected}; for example {example}")]
    Form {
        /// What was typed.
        given: String,
        /// What was expected.
        expected: &'static str,
        /// An example of it.
        example: &'static str,
    },
    /// The same line twice.
    #[error("line {0} is named twice")]
    Twice(String),
    /// A line that the feed does not have.
    #[error("the feed has no line {name}; its lines are {known}")]
    UnknownLine {
        /// What was typed.
        name: String,
        /// The feed's lines.
        known: String,
    },
}

fn form(given: &str, expected: &'static str, example: &'static str) -> SpecError {
    SpecError::Form { given: given.into(), expected, example }
}

/// A plain decimal number: no sign, no exponent, nothing that is not finite.
fn decimal(text: &str) -> Option<f64> {
    let plain = text.starts_with(|c: char| c.is_ascii_digit()) && text.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    plain.then(|| text.parse().ok()).flatten()
}

/// A span of time: `200us`, `1.5s`, `2m`.
///
/// # Errors
/// [`SpecError::Form`].
pub fn parse_span(text: &str) -> Result<Nanos, SpecError> {
    let refused = || form(text, "a time with its unit (ns, us, ms, s or m)", "200us");
    let unit_at = text.find(|c: char| c.is_ascii_alphabetic()).ok_or_else(refused)?;
    let (number, unit) = text.split_at(unit_at);
    let unit = match unit {
        "ns" => 1.0,
        "us" => 1e3,
        "ms" => 1e6,
        "s" => 1e9,
        "m" => 60e9,
        _ => return Err(refused()),
    };
    let nanos = decimal(number).ok_or_else(refused)? * unit;
    if nanos > 1e18 { Err(refused()) } else { Ok(Nanos(nanos.round() as u64)) }
}

/// A rate, before the burst size is known.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum RateSpec {
    /// This many messages per second.
    PerSecond(f64),
    /// As fast as possible.
    Max,
    /// As recorded.
    Recorded,
}

impl RateSpec {
    /// The rate, with `burst` messages at once (at least 1).
    pub fn with_burst(self, burst: u32) -> Rate {
        match self {
            RateSpec::PerSecond(rate) => Rate::per_second(rate, burst.max(1)).unwrap_or(Rate::Max),
            RateSpec::Max => Rate::Max,
            RateSpec::Recorded => Rate::Recorded,
        }
    }
}

impl FromStr for RateSpec {
    type Err = SpecError;

    fn from_str(text: &str) -> Result<RateSpec, SpecError> {
        let refused = || form(text, "messages a second (up to 100M), 'max' or 'recorded'", "100k or 1.5M");
        match text {
            "max" => return Ok(RateSpec::Max),
            "recorded" => return Ok(RateSpec::Recorded),
            _ => {}
        }
        let (number, times) = match text.strip_suffix(['k', 'K']) {
            Some(number) => (number, 1e3),
            None => text.strip_suffix('M').map_or((text, 1.0), |number| (number, 1e6)),
        };
        let rate = decimal(number).ok_or_else(refused)? * times;
        Rate::per_second(rate, 1).map(|_| RateSpec::PerSecond(rate)).ok_or_else(refused)
    }
}

fn share(text: &str) -> Option<Share> {
    Share::percent(decimal(text.strip_suffix('%')?)?)
}

impl FromStr for Share {
    type Err = SpecError;

    fn from_str(text: &str) -> Result<Share, SpecError> {
        share(text).ok_or_else(|| form(text, "a percentage from 0% to 100%", "0.5%"))
    }
}

impl FromStr for BurstLoss {
    type Err = SpecError;

    fn from_str(text: &str) -> Result<BurstLoss, SpecError> {
        let parse = || {
            let (enter, mean) = text.split_once('x')?;
            let mean = decimal(mean).filter(|mean| (1.0..=1e6).contains(mean))?;
            Some(BurstLoss { enter: share(enter)?, mean })
        };
        parse().ok_or_else(|| form(text, "how often a burst begins, 'x', its mean length in datagrams", "0.1%x8"))
    }
}

impl FromStr for Reorder {
    type Err = SpecError;

    fn from_str(text: &str) -> Result<Reorder, SpecError> {
        let parse = || {
            let (often, behind) = text.split_once('x').unwrap_or((text, "1"));
            let behind = behind.parse().ok().filter(|behind| (1..=BEHIND_MAX).contains(behind))?;
            Some(Reorder { share: share(often)?, behind })
        };
        parse().ok_or_else(|| form(text, "how often, 'x', behind how many datagrams (1 to 1,000)", "1%x3"))
    }
}

impl FromStr for Delay {
    type Err = SpecError;

    fn from_str(text: &str) -> Result<Delay, SpecError> {
        let (min, max) = match text.split_once("..") {
            Some((min, max)) => (parse_span(min)?, parse_span(max)?),
            None => (parse_span(text)?, parse_span(text)?),
        };
        if min > max || max > DELAY_MAX {
            return Err(form(text, "a time up to 10s, or two of them in order", "200us..400us"));
        }
        Ok(Delay { min, max })
    }
}

impl FromStr for Outage {
    type Err = SpecError;

    fn from_str(text: &str) -> Result<Outage, SpecError> {
        let refused = || form(text, "two times from the start, the first before the second", "2s..4s");
        let (from, to) = text.split_once("..").ok_or_else(refused)?;
        let (from, to) = (parse_span(from)?, parse_span(to)?);
        if from < to { Ok(Outage { from, to }) } else { Err(refused()) }
    }
}

/// How many messages a line packs into a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PackSpec {
    /// The fewest.
    pub min: u32,
    /// The most.
    pub max: u32,
}

impl FromStr for PackSpec {
    type Err = SpecError;

    fn from_str(text: &str) -> Result<PackSpec, SpecError> {
        let (min, max) = text.split_once("..").unwrap_or((text, text));
        match (min.parse(), max.parse()) {
            (Ok(min), Ok(max)) if 1 <= min && min <= max && max <= PACK_MAX => Ok(PackSpec { min, max }),
            _ => Err(form(text, "how many messages a datagram, 1 to 128, or a range of that", "4 or 1..10")),
        }
    }
}

/// A value for every line, or for the lines that it names: `VALUE` or `LINE=VALUE`, with commas between. `1%` is for every line,
/// `A=1%,B=0.5%` for two of them.
///
/// Values as people type them:
///
/// | form | example | means |
/// |---|---|---|
/// | [`RateSpec`] | `100k`, `1.5M`, `max`, `recorded` | messages per second |
/// | [`Share`] | `1%` | of the line's datagrams |
/// | [`BurstLoss`] | `0.1%x8` | a burst of 8 on average begins with one datagram in 1,000 |
/// | [`Reorder`] | `1%x3` | one datagram in 100 is sent after the next 3 |
/// | [`Delay`] | `200us`, `200us..400us` | fixed, or drawn for each datagram |
/// | [`Outage`] | `2s..4s` | nothing gets through from second 2 up to second 4 |
/// | [`PackSpec`] | `4`, `1..10` | messages per datagram; both ends belong to it |
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PerLine<T>(Vec<(Option<String>, T)>);

impl<T> Default for PerLine<T> {
    fn default() -> PerLine<T> {
        PerLine(Vec::new())
    }
}

impl<T: FromStr<Err = SpecError>> FromStr for PerLine<T> {
    type Err = SpecError;

    fn from_str(text: &str) -> Result<PerLine<T>, SpecError> {
        let part = |part: &str| match part.trim().split_once('=') {
            Some((line, value)) => Ok((Some(line.trim().to_owned()), value.trim().parse()?)),
            None => Ok((None, part.trim().parse()?)),
        };
        text.split(',').map(part).collect::<Result<_, _>>().map(PerLine)
    }
}

impl<T: Clone> PerLine<T> {
    /// All values of each line, in the order of `lines`; those given for all lines come first.
    ///
    /// # Errors
    /// [`SpecError::UnknownLine`].
    pub fn all(&self, lines: &[&str]) -> Result<Vec<Vec<T>>, SpecError> {
        if let Some(name) =
            self.0.iter().filter_map(|(name, _)| name.as_ref()).find(|name| !lines.contains(&name.as_str()))
        {
            return Err(SpecError::UnknownLine { name: name.clone(), known: lines.join(", ") });
        }
        let of = |line: &&str| {
            let every = self.0.iter().filter(|(name, _)| name.is_none());
            let own = self.0.iter().filter(|(name, _)| name.as_deref() == Some(line));
            every.chain(own).map(|(_, value)| value.clone()).collect()
        };
        Ok(lines.iter().map(of).collect())
    }

    /// The value of each line, in the order of `lines`. A line's own value overrides the one for all lines.
    ///
    /// # Errors
    /// [`SpecError::UnknownLine`]; [`SpecError::Twice`] if a line (or "every line") has two.
    pub fn one(&self, lines: &[&str]) -> Result<Vec<Option<T>>, SpecError> {
        let names: Vec<_> = self.0.iter().map(|(name, _)| name.as_deref()).collect();
        if let Some(at) = (1..names.len()).find(|&at| names[..at].contains(&names[at])) {
            return Err(SpecError::Twice(names[at].unwrap_or("(every line)").to_owned()));
        }
        Ok(self.all(lines)?.into_iter().map(|mut values| values.pop()).collect())
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Debug;

    use super::*;

    fn table<T: FromStr<Err = SpecError> + PartialEq + Debug>(right: &[(&str, T)], wrong: &[&str]) {
        for (text, value) in right {
            assert_eq!(text.parse::<T>().as_ref(), Ok(value), "{text}");
        }
        for text in wrong {
            let error = text.parse::<T>().expect_err(text).to_string();
            assert!(error.contains("for example "), "{error}");
        }
    }

    fn percent(percent: f64) -> Share {
        Share::percent(percent).unwrap()
    }

    #[test]
    fn spans() {
        for (text, nanos) in
            [("0s", 0), ("7ns", 7), ("200us", 200_000), ("1.5s", 1_500_000_000), ("2m", 120_000_000_000)]
        {
            assert_eq!(parse_span(text), Ok(Nanos(nanos)), "{text}");
        }
        for text in ["", "5", "us", "-1s", "1e3s", "1 s", "1h", "1..2s", "infs", "99999999999999m"] {
            assert!(parse_span(text).is_err(), "{text}");
        }
        assert_eq!(
            parse_span("5").unwrap_err().to_string(),
            "'5' is not a time with its unit (ns, us, ms, s or m); for example 200us"
        );
    }

    #[test]
    fn rates() {
        use RateSpec::{Max, PerSecond, Recorded};
        let right = [
            ("100k", PerSecond(1e5)),
            ("1.5M", PerSecond(1.5e6)),
            ("0.5", PerSecond(0.5)),
            ("max", Max),
            ("recorded", Recorded),
        ];
        table(&right, &["", "0", "-1", "k", "1G", "fast", "1e5", "NaN", "200M"]);
        assert_eq!(PerSecond(2.0).with_burst(3), Rate::Steady { micro_rate: 2_000_000, burst: 3 });
    }

    #[test]
    fn faults() {
        table(
            &[("1%", percent(1.0)), ("0.05%", percent(0.05)), ("100%", Share::ALWAYS)],
            &["1", "101%", "-1%", "%", "x%", "NaN%"],
        );
        let burst = |enter, mean| BurstLoss { enter: percent(enter), mean };
        table(&[("0.1%x8", burst(0.1, 8.0)), ("1%x1.5", burst(1.0, 1.5))], &["1%", "1%x", "1%x0", "0.1x8", "x8"]);
        let reorder = |often, behind| Reorder { share: percent(often), behind };
        table(&[("1%x3", reorder(1.0, 3)), ("2%", reorder(2.0, 1))], &["x3", "1%x0", "1%x1001", "1%x-1", "3"]);
        let delay = |min, max| Delay { min: Nanos::from_micros(min), max: Nanos::from_micros(max) };
        table(
            &[("200us", delay(200, 200)), ("200us..1ms", delay(200, 1_000))],
            &["200", "2ms..1ms", "11s", "..", "1ms.."],
        );
        let outage = |from, to| Outage { from: Nanos::from_secs(from), to: Nanos::from_secs(to) };
        table(&[("2s..4s", outage(2, 4))], &["2s", "4s..2s", "2s..2s", "2..4"]);
        let pack = |min, max| PackSpec { min, max };
        table(&[("4", pack(4, 4)), ("1..10", pack(1, 10))], &["0", "0..3", "3..1", "1..129", "a", "1..", ""]);
    }

    #[test]
    fn a_value_is_for_every_line_or_for_those_that_it_names() {
        let lines = ["A", "B"];
        let one = |text: &str| text.parse::<PerLine<Share>>().and_then(|p| p.one(&lines));
        assert_eq!(one("1%"), Ok(vec![Some(percent(1.0)); 2]));
        assert_eq!(one("B=2%"), Ok(vec![None, Some(percent(2.0))]));
        assert_eq!(one("A=1%, B=2%"), Ok(vec![Some(percent(1.0)), Some(percent(2.0))]));
        assert_eq!(one("B=2%,1%"), Ok(vec![Some(percent(1.0)), Some(percent(2.0))]));
        assert_eq!(one("A=1%,A=2%"), Err(SpecError::Twice("A".into())));
        assert_eq!(one("C=1%").unwrap_err().to_string(), "the feed has no line C; its lines are A, B");
        assert!(one("").is_err() && one("A=").is_err() && one("A=1%,").is_err());
        let all = "A=2s..4s,6s..7s,A=8s..9s".parse::<PerLine<Outage>>().unwrap().all(&lines).unwrap();
        assert_eq!((all[0].len(), all[1].len()), (3, 1));
    }
}
