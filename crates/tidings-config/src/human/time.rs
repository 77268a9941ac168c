//! Points in time: RFC 3339 with its offset, `2026-11-01T08:00:00Z`.

use std::time::{Duration, SystemTime};
use toml::value::{Datetime, Offset};

const DAY: i64 = 86_400;

/// Takes text as a point in time. A time without an offset is refused: it is another moment on another machine.
pub(crate) fn parse_time(text: &str) -> Option<SystemTime> {
    let parsed: Datetime = text.trim().parse().ok()?;
    let (date, time) = (parsed.date?, parsed.time?);
    let offset_minutes = match parsed.offset? {
        Offset::Z => 0,
        Offset::Custom { minutes } => i64::from(minutes),
    };
    let days = days_from_civil(i64::from(date.year), i64::from(date.month), i64::from(date.day));
    let of_day =
        i64::from(time.hour) * 3_600 + i64::from(time.minute) * 60 + i64::from(time.second.unwrap_or(0));
    let seconds = days * DAY + of_day - offset_minutes * 60;
    let nanos = Duration::from_nanos(u64::from(time.nanosecond.unwrap_or(0)));
    let whole = Duration::from_secs(seconds.unsigned_abs());
    let start = if seconds < 0 {
        SystemTime::UNIX_EPOCH.checked_sub(whole)?
    } else {
        SystemTime::UNIX_EPOCH.checked_add(whole)?
    };
    start.checked_add(nanos)
}

/// Days since 1970-01-01 of a date in the Gregorian calendar. Years begin in March here, so that the leap day is the
/// last of its year and each month starts at a fixed distance.
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let (year, month) = if month > 2 {
        (year, month - 3)
    } else {
        (year - 1, month + 9)
    };
    let leap_days = year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    // 719,468 days lie between 0000-03-01 and 1970-01-01.
    year * 365 + leap_days + (153 * month + 2) / 5 + day - 1 - 719_468
}

/// The reverse of [`parse_time`], in UTC, to the millisecond.
pub(crate) fn format_time(time: SystemTime) -> String {
    let millis = match time.duration_since(SystemTime::UNIX_EPOCH) {
        Ok(after) => i64::try_from(after.as_millis()).unwrap_or(i64::MAX),
        Err(before) => -i64::try_from(before.duration().as_millis()).unwrap_or(i64::MAX),
    };
    let (days, of_day) = (millis.div_euclid(DAY * 1_000), millis.rem_euclid(DAY * 1_000));
    let (year, month, day) = civil_from_days(days);
    let (hour, minute, second) = (of_day / 3_600_000, of_day / 60_000 % 60, of_day / 1_000 % 60);
    let fraction = if of_day % 1_000 == 0 {
        String::new()
    } else {
        format!(".{:03}", of_day % 1_000)
    };
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}{fraction}Z")
}

fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let (era, of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    // Each fourth, 100th and 400th year is longer or shorter by a day; taking those out leaves years of 365 days.
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let (month, carry) = if month < 10 {
        (month + 3, 0)
    } else {
        (month - 9, 1)
    };
    (era * 400 + year_of_era + carry, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn seconds(text: &str) -> Option<i64> {
        let time = parse_time(text)?;
        Some(match time.duration_since(SystemTime::UNIX_EPOCH) {
            Ok(after) => i64::try_from(after.as_secs()).ok()?,
            Err(before) => -i64::try_from(before.duration().as_secs()).ok()?,
        })
    }

    #[test]
    fn times_are_read_with_their_offset() {
        for (text, expected) in [
            ("1970-01-01T00:00:00Z", 0),
            ("2000-02-29T12:00:00Z", 951_825_600),
            ("2026-01-01T00:00:00Z", 1_767_225_600),
            ("2026-01-01 01:00:00+01:00", 1_767_225_600),
            ("1969-12-31T23:59:59Z", -1),
        ] {
            assert_eq!(seconds(text), Some(expected), "{text}");
        }
        for text in [
            "",
            "2026-01-01",
            "2026-01-01T00:00:00",
            "2026-02-30T00:00:00Z",
            "12:00:00",
            "yesterday",
        ] {
            assert_eq!(parse_time(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_again(millis in 0u64..253_402_300_799_000) {
            let time = SystemTime::UNIX_EPOCH + Duration::from_millis(millis);
            prop_assert_eq!(parse_time(&format_time(time)), Some(time));
        }
    }
}
