//! Durations: `500ms`, `1h30m`, `1.5s`, or ISO 8601: `PT1S`.

use super::{parse_nanos, split_number};
use std::time::Duration;

const SECOND: u128 = 1_000_000_000;
/// Beyond what any key accepts, and far below where sums overflow.
const LONGEST: u128 = 1_000_000 * 86_400 * SECOND;

/// Takes text as a duration. A bare number other than 0 is refused: nobody can see whether it means seconds.
pub(crate) fn parse_duration(text: &str) -> Option<Duration> {
    let text = text.trim();
    let nanos = match text.strip_prefix(['P', 'p']) {
        Some(iso) => parse_iso(&iso.to_ascii_uppercase())?,
        None if text == "0" => 0,
        None => parse_parts(text, unit_nanos)?,
    };
    let seconds = u64::try_from(nanos / SECOND).ok()?;
    Some(Duration::new(seconds, u32::try_from(nanos % SECOND).ok()?))
}

fn unit_nanos(unit: &str) -> Option<u128> {
    Some(match unit {
        "ns" => 1,
        "us" | "µs" | "μs" => 1_000,
        "ms" => 1_000_000,
        "s" | "sec" | "second" | "seconds" => SECOND,
        "m" | "min" | "minute" | "minutes" => 60 * SECOND,
        "h" | "hour" | "hours" => 3_600 * SECOND,
        "d" | "day" | "days" => 86_400 * SECOND,
        "w" | "week" | "weeks" => 7 * 86_400 * SECOND,
        _ => return None,
    })
}

/// Years and months have no length of their own, so only days and less are understood.
fn parse_iso(text: &str) -> Option<u128> {
    let (days, time) = match text.split_once('T') {
        Some((_, "")) => return None,
        Some((days, time)) => (days, time),
        None => (text, ""),
    };
    if days.is_empty() && time.is_empty() {
        return None;
    }
    let in_days = |unit: &str| {
        unit_nanos(match unit {
            "D" => "d",
            "W" => "w",
            _ => "",
        })
    };
    let in_time = |unit: &str| {
        unit_nanos(match unit {
            "H" => "h",
            "M" => "m",
            "S" => "s",
            _ => "",
        })
    };
    let days = if days.is_empty() {
        0
    } else {
        parse_parts(days, in_days)?
    };
    let time = if time.is_empty() {
        0
    } else {
        parse_parts(time, in_time)?
    };
    Some(days + time).filter(|nanos| *nanos <= LONGEST)
}

/// The sum of one or more numbers with units; spaces may stand between them.
fn parse_parts(text: &str, unit_nanos: impl Fn(&str) -> Option<u128>) -> Option<u128> {
    let mut rest = text;
    let mut sum: u128 = 0;
    loop {
        let (number, after) = split_number(rest);
        let after = after.trim_start();
        let end = after
            .find(|c: char| c.is_ascii_digit() || c.is_whitespace())
            .unwrap_or(after.len());
        let (unit, next) = after.split_at(end);
        let nanos = parse_nanos(number)?.checked_mul(unit_nanos(unit)?)? / SECOND;
        sum = sum.checked_add(nanos).filter(|sum| *sum <= LONGEST)?;
        rest = next.trim_start();
        if rest.is_empty() {
            return Some(sum);
        }
    }
}

/// A duration as [`parse_duration`] reads it: `1h30m`, `1s500ms`.
pub(crate) fn format_duration(duration: Duration) -> String {
    let units = [
        ("d", 86_400 * SECOND),
        ("h", 3_600 * SECOND),
        ("m", 60 * SECOND),
        ("s", SECOND),
    ];
    let units = units
        .into_iter()
        .chain([("ms", 1_000_000), ("us", 1_000), ("ns", 1)]);
    let mut rest = duration.as_nanos();
    let mut text = String::new();
    for (unit, nanos) in units {
        if rest >= nanos {
            text += &format!("{}{unit}", rest / nanos);
            rest %= nanos;
        }
    }
    if text.is_empty() { "0s".to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn durations_are_read_as_people_and_spring_users_write_them() {
        for (text, millis) in [
            ("500ms", 500),
            ("1s", 1_000),
            ("1.5s", 1_500),
            ("2m", 120_000),
            ("1h30m", 5_400_000),
            ("1h 30m", 5_400_000),
            ("10 seconds", 10_000),
            ("1d", 86_400_000),
            ("0", 0),
            ("PT1S", 1_000),
            ("PT0.5S", 500),
            ("PT1H30M", 5_400_000),
            ("P1DT2H", 93_600_000),
            ("pt1m", 60_000),
        ] {
            assert_eq!(
                parse_duration(text),
                Some(Duration::from_millis(millis)),
                "{text}"
            );
        }
        assert_eq!(parse_duration("10us"), Some(Duration::from_micros(10)));
    }

    #[test]
    fn what_has_no_clear_length_is_refused() {
        for text in [
            "",
            "10",
            "-1s",
            "1x",
            "s",
            "1",
            "1e3s",
            "P1M",
            "P1Y",
            "P",
            "PT",
            "1D",
            "1..5s",
            "99999999999d",
            "1 s x",
        ] {
            assert_eq!(parse_duration(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_again(seconds in 0u64..80_000_000_000, nanos in 0u32..1_000_000_000) {
            let duration = Duration::new(seconds, nanos);
            prop_assert_eq!(parse_duration(&format_duration(duration)), Some(duration));
        }

        #[test]
        fn any_text_is_a_duration_or_none(text in "\\PC*|P?[0-9.]{0,40}[a-zA-Zµ ]{0,4}") {
            let _ = parse_duration(&text);
        }
    }
}
