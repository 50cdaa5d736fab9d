//! Formats dates, times and decimals of tables as text, as in ISO 8601 and SQL.

use arrow_schema::TimeUnit;

const SECONDS_A_DAY: i64 = 86_400;

/// Formats a day counted from 1970-01-01, such as `2024-02-29`.
pub(crate) fn date(days: i64) -> String {
    // The proleptic Gregorian calendar in eras of 400 years that begin in March, so that a leap day
    // ends its year (H. Hinnant, "chrono-compatible low-level date algorithms", civil_from_days).
    let days = days.saturating_add(719_468);
    let (era, day_of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = year + era * 400 + i64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}")
}

/// Returns a moment counted from the start of 1970, such as `2024-02-29T12:00:00.5`; with a time
/// zone in UTC.
pub(crate) fn timestamp(value: i64, unit: TimeUnit, has_zone: bool) -> String {
    let (units, digits) = match unit {
        TimeUnit::Second => (1, 0),
        TimeUnit::Millisecond => (1_000, 3),
        TimeUnit::Microsecond => (1_000_000, 6),
        TimeUnit::Nanosecond => (1_000_000_000, 9),
    };
    let (seconds, fraction) = (value.div_euclid(units), value.rem_euclid(units));
    let (days, second) = (
        seconds.div_euclid(SECONDS_A_DAY),
        seconds.rem_euclid(SECONDS_A_DAY),
    );
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    let mut text = format!("{}T{hour:02}:{minute:02}:{second:02}", date(days));
    if fraction > 0 {
        let fraction = format!("{fraction:0digits$}");
        text = format!("{text}.{}", fraction.trim_end_matches('0'));
    }
    if has_zone {
        text.push('Z');
    }
    text
}

/// Formats a decimal with `scale` digits after the point.
pub(crate) fn decimal(value: i128, scale: i8) -> String {
    let sign = if value < 0 { "-" } else { "" };
    let digits = value.unsigned_abs().to_string();
    match usize::try_from(scale) {
        Ok(0) => format!("{sign}{digits}"),
        Ok(scale) => {
            let digits = format!("{digits:0>width$}", width = scale + 1);
            let (whole, fraction) = digits.split_at(digits.len() - scale);
            format!("{sign}{whole}.{fraction}")
        }
        Err(_) => format!(
            "{sign}{digits}{}",
            "0".repeat(usize::from(scale.unsigned_abs()))
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_those_of_python_s_calendar() {
        // datetime.date.fromordinal(719163 + days)
        for (days, expected) in [
            (0, "1970-01-01"),
            (-1, "1969-12-31"),
            (19_782, "2024-02-29"),
            (11_016, "2000-02-29"),
            (-25_509, "1900-02-28"),
            (-25_508, "1900-03-01"),
            (2_932_896, "9999-12-31"),
            (-719_162, "0001-01-01"),
        ] {
            assert_eq!(date(days), expected);
        }
    }

    #[test]
    fn moments_have_their_fraction_and_zone() {
        assert_eq!(timestamp(0, TimeUnit::Second, false), "1970-01-01T00:00:00");
        let text = timestamp(1_709_208_000_500, TimeUnit::Millisecond, true);
        assert_eq!(text, "2024-02-29T12:00:00.5Z");
        assert_eq!(
            timestamp(-1, TimeUnit::Nanosecond, false),
            "1969-12-31T23:59:59.999999999"
        );
        assert!(timestamp(i64::MIN, TimeUnit::Second, false).ends_with(":52"));
    }

    #[test]
    fn decimals_have_their_digits() {
        for (value, scale, expected) in [
            (12_345, 2, "123.45"),
            (-5, 3, "-0.005"),
            (7, 0, "7"),
            (7, -2, "700"),
        ] {
            assert_eq!(decimal(value, scale), expected);
        }
    }
}
