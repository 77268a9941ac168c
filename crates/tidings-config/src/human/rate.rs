//! Rates: `100/s`, `6000/m`, `10/h`, or a bare number per second.

/// Takes text as a rate per second, above 0 and finite.
pub(crate) fn parse_rate(text: &str) -> Option<f64> {
    let (number, unit) = text.split_once('/').unwrap_or((text, "s"));
    let seconds = match unit.trim() {
        "s" | "sec" | "second" => 1.0,
        "m" | "min" | "minute" => 60.0,
        "h" | "hour" => 3_600.0,
        _ => return None,
    };
    let per_second = number.trim().parse::<f64>().ok()? / seconds;
    (per_second.is_finite() && per_second > 0.0).then_some(per_second)
}

/// A rate as [`parse_rate`] reads it.
pub(crate) fn format_rate(per_second: f64) -> String {
    format!("{per_second}/s")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_read_per_second_minute_and_hour() {
        for (text, rate) in [
            ("100/s", 100.0),
            ("100", 100.0),
            ("6000/m", 100.0),
            ("0.5/s", 0.5),
            ("3600 / h", 1.0),
        ] {
            assert_eq!(parse_rate(text), Some(rate), "{text}");
        }
        for text in ["", "0", "-1/s", "100/x", "inf", "NaN", "1/s/s", "/s"] {
            assert_eq!(parse_rate(text), None, "{text}");
        }
    }
}
