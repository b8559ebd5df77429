//! A stamp as a date and a time of day, in UTC.

use twinline_core::Nanos;

const DAY: u64 = 86_400;

/// Year, month and day (by the proleptic Gregorian calendar, days counted in eras of 400 years).
fn civil(days: u64) -> (u64, u64, u64) {
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
}

/// `2025-11-14`.
pub(crate) fn date(at: Nanos) -> String {
    let (year, month, day) = civil(at.0 / 1_000_000_000 / DAY);
    format!("{year:04}-{month:02}-{day:02}")
}

/// `2025-11-14 14:30:00.041200789`.
pub(crate) fn instant(at: Nanos) -> String {
    format!("{} {}", date(at), time_of_day(at, 9))
}

/// `14:30:00.041`, with so many digits of a second's fraction, up to nine.
pub(crate) fn time_of_day(at: Nanos, digits: usize) -> String {
    let (seconds, nanos) = (at.0 / 1_000_000_000 % DAY, at.0 % 1_000_000_000);
    let (hours, minutes, seconds) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
    let fraction = format!("{nanos:09}");
    let fraction = &fraction[..digits.min(9)];
    let dot = if fraction.is_empty() { "" } else { "." };
    format!("{hours:02}:{minutes:02}:{seconds:02}{dot}{fraction}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_and_times_are_those_of_the_calendar() {
        let at = |seconds| Nanos::from_secs(seconds);
        let dates = [(0, "1970-01-01"), (951_782_400, "2000-02-29"), (951_868_800, "2000-03-01")];
        for (seconds, day) in dates {
            assert_eq!(date(at(seconds)), day);
            assert_eq!(date(at(seconds + DAY - 1)), day);
        }
        assert_eq!(date(at(1_763_130_600)), "2025-11-14");
        assert_eq!(date(Nanos::MAX), "2554-07-21");
        let moment = Nanos(1_763_130_600_041_200_789);
        assert_eq!(time_of_day(moment, 0), "14:30:00");
        assert_eq!(time_of_day(moment, 3), "14:30:00.041");
        assert_eq!(time_of_day(moment, 9), "14:30:00.041200789");
        assert_eq!(instant(moment), "2025-11-14 14:30:00.041200789");
        assert_eq!(instant(Nanos::MAX), "2554-07-21 23:34:33.709551615");
        assert_eq!(time_of_day(Nanos(DAY * 1_000_000_000 - 1), 6), "23:59:59.999999");
    }
}
