//! Times as text. The shop needs two formats of UTC and no time zones, so it needs no library for them.

use tidings::Timestamp;

const DAY_MS: i64 = 86_400_000;

/// `2026-11-21T07:34:20.123Z` (RFC 3339).
pub fn rfc3339(time: Timestamp) -> String {
    let (year, month, day) = date_of(time.as_millis().div_euclid(DAY_MS));
    let millis = time.as_millis().rem_euclid(1_000);
    format!("{year:04}-{month:02}-{day:02}T{}.{millis:03}Z", clock_time(time))
}

/// `07:34:20`
pub fn clock_time(time: Timestamp) -> String {
    let seconds = time.as_millis().rem_euclid(DAY_MS) / 1_000;
    format!(
        "{:02}:{:02}:{:02}",
        seconds / 3_600,
        seconds / 60 % 60,
        seconds % 60
    )
}

/// The date of a day that is counted from 1970-01-01. Years are counted from March on, so that the day that only some
/// years have is their last one.
fn date_of(days: i64) -> (i64, i64, i64) {
    const DAYS_IN_400_YEARS: i64 = 146_097;
    const FROM_MARCH_OF_YEAR_0: i64 = 719_468;
    let days = days.saturating_add(FROM_MARCH_OF_YEAR_0);
    let (era, day) = (
        days.div_euclid(DAYS_IN_400_YEARS),
        days.rem_euclid(DAYS_IN_400_YEARS),
    );
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day_of_month = day - (153 * month + 2) / 5 + 1;
    let (month, next_year) = if month < 10 {
        (month + 3, 0)
    } else {
        (month - 9, 1)
    };
    (era * 400 + year + next_year, month, day_of_month)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_the_standard_says() {
        for (millis, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (-1, "1969-12-31T23:59:59.999Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (1_709_251_199_999, "2024-02-29T23:59:59.999Z"),
            (1_795_246_460_123, "2026-11-21T07:34:20.123Z"),
            (4_107_542_400_000, "2100-03-01T00:00:00.000Z"),
        ] {
            assert_eq!(rfc3339(Timestamp::from_millis(millis)), text);
        }
    }
}
