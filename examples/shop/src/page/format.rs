//! Numbers and times as the page writes them.

use super::html::{Html, put};
use crate::domain::{clock_time, rfc3339};
use tidings::Timestamp;

/// `12,345`
pub(super) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A moment: in UTC, and in the reader's own time zone once the script has run.
pub(super) fn time(at: Timestamp) -> Html {
    let mut html = Html::new();
    let full = rfc3339(at);
    put!(html, "<time datetime=\"" (full) "\" title=\"" (full) "\">" (clock_time(at)) "</time>");
    html
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped_by_thousands() {
        for (number, text) in [
            (0, "0"),
            (999, "999"),
            (1_000, "1,000"),
            (12_345_678, "12,345,678"),
        ] {
            assert_eq!(grouped(number), text);
        }
    }
}
