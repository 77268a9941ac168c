//! Times as people write and read them.

use jiff::tz::TimeZone;
use jiff::{Span, Timestamp as Instant, Zoned, civil};
use std::time::Duration;
use tidings_core::Timestamp;

/// A point in time: a span of time ago (`10m`, `2 days`), a date, or a date and time. What names no offset is in the
/// machine's own time zone.
///
/// # Errors
/// What is expected.
pub(crate) fn parse_time(text: &str) -> Result<Timestamp, String> {
    parse_at(text, &Zoned::now())
}

fn parse_at(text: &str, now: &Zoned) -> Result<Timestamp, String> {
    let text = text.trim();
    let zone = now.time_zone();
    let found = text
        .parse::<Instant>()
        .ok()
        .or_else(|| local(text, zone))
        .or_else(|| ago(text, now));
    let found = found.map(|instant| Timestamp::from_millis(instant.as_millisecond()));
    found.ok_or_else(|| {
        format!("{text:?} is no time: write a span like 10m or 2h (ago), 2026-11-21, or 2026-11-21T08:00:00Z")
    })
}

fn local(text: &str, zone: &TimeZone) -> Option<Instant> {
    let plain: civil::DateTime = text.parse().ok()?;
    Some(plain.to_zoned(zone.clone()).ok()?.timestamp())
}

fn ago(text: &str, now: &Zoned) -> Option<Instant> {
    let span: Span = text.trim_end_matches("ago").trim().parse().ok()?;
    let then = if span.is_negative() {
        return None;
    } else {
        now.checked_sub(span).ok()?
    };
    Some(then.timestamp())
}

/// A span of time: `500ms`, `10m`, `1h30m`.
///
/// # Errors
/// What is expected.
pub(crate) fn parse_span(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text:?} is no span of time: write 500ms, 10m or 1h30m");
    let span: Span = text.trim().parse().map_err(|_| wrong())?;
    // A day has 24 hours here: nobody waits by the calendar.
    let days = jiff::SpanRelativeTo::days_are_24_hours();
    let duration = span.to_duration(days).map_err(|_| wrong())?;
    Duration::try_from(duration).map_err(|_| wrong())
}

/// How many a second: `100/s`, `6000/m`, `10/h`, or a bare number.
///
/// # Errors
/// What is expected.
pub(crate) fn parse_rate(text: &str) -> Result<f64, String> {
    let (number, unit) = text.split_once('/').unwrap_or((text, "s"));
    let seconds = match unit.trim() {
        "s" => Some(1.0),
        "m" | "min" => Some(60.0),
        "h" => Some(3_600.0),
        _ => None,
    };
    let number = number.trim().parse::<f64>().ok();
    let rate = number.zip(seconds).map(|(number, seconds)| number / seconds);
    let rate = rate.filter(|rate| rate.is_finite() && *rate > 0.0);
    rate.ok_or_else(|| format!("{text:?} is no rate: write 100/s, 30/m or 10/h"))
}

/// A time in UTC, to the millisecond: the form in JSON and in tables.
pub(crate) fn show(time: Timestamp) -> String {
    match Instant::from_millisecond(time.as_millis()) {
        Ok(instant) => format!("{instant:.3}"),
        // Anybody may have written it into a header: shown as it is.
        Err(_) => format!("{}ms", time.as_millis()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Option<String> {
        let now: Zoned = "2026-11-21T12:00:00+01:00[Europe/Paris]".parse().unwrap();
        parse_at(text, &now).ok().map(show)
    }

    #[test]
    fn times_are_read_as_people_write_them() {
        for (text, expected) in [
            ("2026-11-21T08:00:00Z", "2026-11-21T08:00:00.000Z"),
            ("2026-11-21T08:00:00+01:00", "2026-11-21T07:00:00.000Z"),
            ("2026-11-21T08:00", "2026-11-21T07:00:00.000Z"),
            ("2026-11-21 08:00:00.5", "2026-11-21T07:00:00.500Z"),
            ("2026-11-21", "2026-11-20T23:00:00.000Z"),
            ("10m", "2026-11-21T10:50:00.000Z"),
            ("1h30m ago", "2026-11-21T09:30:00.000Z"),
            ("2 days", "2026-11-19T11:00:00.000Z"),
        ] {
            assert_eq!(at(text).as_deref(), Some(expected), "{text}");
        }
        for text in ["", "yesterday", "12", "-5m", "2026-13-01", "10 parsecs"] {
            assert_eq!(at(text), None, "{text}");
        }
    }

    #[test]
    fn spans_and_rates_have_units() {
        assert_eq!(parse_span("1h30m").unwrap(), Duration::from_secs(5_400));
        assert_eq!(parse_span("250ms").unwrap(), Duration::from_millis(250));
        assert_eq!(parse_span("2d").unwrap(), Duration::from_secs(172_800));
        assert_eq!(parse_rate("6000/m").unwrap(), 100.0);
        assert_eq!(parse_rate("5").unwrap(), 5.0);
        for wrong in ["0", "-1/s", "5/x", "", "inf"] {
            assert!(parse_rate(wrong).is_err(), "{wrong}");
        }
        for wrong in ["", "5", "-1s", "1 month"] {
            assert!(parse_span(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_time_beyond_the_calendar_is_still_shown() {
        assert_eq!(show(Timestamp::from_millis(i64::MAX)), "9223372036854775807ms");
        assert_eq!(show(Timestamp::from_millis(0)), "1970-01-01T00:00:00.000Z");
    }
}
