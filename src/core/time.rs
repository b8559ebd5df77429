//! Time as a number. This module owns [`Nanos`]. It reads no clock.

use std::fmt;
use std::ops::{Add, Sub};
use std::time::Duration;

/// Nanoseconds: an instant since the Unix epoch, or the span between two instants.
///
/// Arithmetic saturates, because a stamp from a capture may be anything.
///
/// ```
/// use twinline_core::Nanos;
/// assert_eq!(Nanos::from_micros(2) + Nanos(5), Nanos(2_005));
/// assert_eq!(Nanos(1) - Nanos(5), Nanos::ZERO);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Nanos(pub u64);

impl Nanos {
    /// The Unix epoch, or a span of no length.
    pub const ZERO: Nanos = Nanos(0);
    /// A time that is never reached.
    pub const MAX: Nanos = Nanos(u64::MAX);

    /// `n` microseconds.
    pub const fn from_micros(n: u64) -> Nanos {
        Nanos(n.saturating_mul(1_000))
    }

    /// `n` milliseconds.
    pub const fn from_millis(n: u64) -> Nanos {
        Nanos(n.saturating_mul(1_000_000))
    }

    /// `n` seconds.
    pub const fn from_secs(n: u64) -> Nanos {
        Nanos(n.saturating_mul(1_000_000_000))
    }

    /// The number itself.
    pub const fn as_u64(self) -> u64 {
        self.0
    }

    /// The span between two instants, whichever came first.
    pub const fn abs_diff(self, other: Nanos) -> Nanos {
        Nanos(self.0.abs_diff(other.0))
    }
}

impl Add for Nanos {
    type Output = Nanos;

    fn add(self, span: Nanos) -> Nanos {
        Nanos(self.0.saturating_add(span.0))
    }
}

impl Sub for Nanos {
    type Output = Nanos;

    fn sub(self, earlier: Nanos) -> Nanos {
        Nanos(self.0.saturating_sub(earlier.0))
    }
}

impl From<Duration> for Nanos {
    fn from(span: Duration) -> Nanos {
        Nanos(u64::try_from(span.as_nanos()).unwrap_or(u64::MAX))
    }
}

impl From<Nanos> for Duration {
    fn from(span: Nanos) -> Duration {
        Duration::from_nanos(span.0)
    }
}

impl fmt::Display for Nanos {
    /// As a span, in the unit that reads best: `350ns`, `1.5us`, `20ms`, `3s`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (unit, name) = match self.0 {
            0..1_000 => (1, "ns"),
            1_000..1_000_000 => (1_000, "us"),
            1_000_000..1_000_000_000 => (1_000_000, "ms"),
            _ => (1_000_000_000, "s"),
        };
        let (whole, rest) = (self.0 / unit, self.0 % unit);
        if rest == 0 {
            write!(f, "{whole}{name}")
        } else {
            let tenths = (rest * 100).div_ceil(unit).min(99);
            write!(f, "{whole}.{tenths:02}{name}")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arithmetic_saturates() {
        assert_eq!(Nanos(3) - Nanos(7), Nanos::ZERO);
        assert_eq!(Nanos::MAX + Nanos(1), Nanos::MAX);
        assert_eq!(Nanos::from_secs(u64::MAX), Nanos::MAX);
    }

    #[test]
    fn spans_read_well() {
        assert_eq!(Nanos(350).to_string(), "350ns");
        assert_eq!(Nanos(1_500).to_string(), "1.50us");
        assert_eq!(Nanos::from_millis(20).to_string(), "20ms");
        assert_eq!(Nanos::from_secs(3).to_string(), "3s");
    }
}
