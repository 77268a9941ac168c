//! Values as people write them: durations, sizes, rates, times. Every parser is total: any text gives a value or none.

mod bytes;
mod duration;
mod rate;
mod time;

pub(crate) use bytes::{format_bytes, parse_bytes};
pub(crate) use duration::{format_duration, parse_duration};
pub(crate) use rate::{format_rate, parse_rate};
pub(crate) use time::{format_time, parse_time};

/// A decimal number like `1.5`, as units of `10^-9`; none if it has a sign, an exponent or too many digits.
fn parse_nanos(number: &str) -> Option<u128> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    if whole.is_empty() || whole.len() > 20 || fraction.is_empty() || fraction.len() > 9 {
        return None;
    }
    if !whole
        .bytes()
        .chain(fraction.bytes())
        .all(|byte| byte.is_ascii_digit())
    {
        return None;
    }
    let whole: u128 = whole.parse().ok()?;
    let fraction: u128 = format!("{fraction:0<9}").parse().ok()?;
    Some(whole * 1_000_000_000 + fraction)
}

/// Splits the first number, with its fraction, from what follows.
fn split_number(text: &str) -> (&str, &str) {
    let end = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    text.split_at(end)
}
