//! The revenue of the last half hour, a bar for each minute.

use super::View;
use super::html::{Html, put};
use crate::domain::{Cents, clock_time};
use tidings::Timestamp;

const MINUTES: i64 = 30;
const MINUTE_MS: i64 = 60_000;
const STEP: i64 = 20;
const HEIGHT: u64 = 150;

pub(super) fn revenue(view: &View) -> Html {
    let last = view.now.as_millis().div_euclid(MINUTE_MS);
    let bars: Vec<(i64, Cents, u64)> = (last - MINUTES + 1..=last)
        .map(|minute| {
            let found = view
                .minutes
                .iter()
                .find(|one| one.minute.as_millis().div_euclid(MINUTE_MS) == minute);
            found.map_or((minute, Cents(0), 0), |one| (minute, one.revenue, one.orders))
        })
        .collect();
    let top = ceiling(bars.iter().map(|(_, revenue, _)| revenue.0).max().unwrap_or(0));
    let mut html = Html::new();
    put!(
        html,
        "<svg class=\"chart\" viewBox=\"0 0 600 190\" role=\"img\" aria-label=\"Revenue per minute over the last half hour\">"
    );
    for line in [10, 85, 160] {
        put!(html, "<line class=\"grid\" x1=\"0\" x2=\"600\" y1=\"" (line) "\" y2=\"" (line) "\"/>");
    }
    for (place, (minute, revenue, orders)) in (0_i64..).zip(&bars) {
        let height = revenue
            .0
            .saturating_mul(HEIGHT)
            .checked_div(top)
            .unwrap_or(0)
            .max(u64::from(revenue.0 > 0) * 2);
        let clock = clock_time(Timestamp::from_millis(minute * MINUTE_MS));
        let clock = clock.get(..5).unwrap_or_default();
        put!(html, "<rect data-key=\"" (minute) "\" class=\"" (if *minute == last { "now" } else { "" }) "\" x=\"" (place * STEP + 2)
            "\" y=\"" (10 + HEIGHT - height.min(HEIGHT)) "\" width=\"" (STEP - 4) "\" height=\"" (height.min(HEIGHT))
            "\" rx=\"2\"><title>" (clock) " UTC: " (revenue) " from " (orders) " orders</title></rect>");
    }
    for (x, anchor, minute) in [(0, "start", last - MINUTES + 1), (600, "end", last)] {
        let clock = clock_time(Timestamp::from_millis(minute * MINUTE_MS));
        put!(html, "<text x=\"" (x) "\" y=\"182\" text-anchor=\"" (anchor) "\">" (clock.get(..5).unwrap_or_default()) " UTC</text>");
    }
    for (line, share) in [(10, 2), (85, 1)] {
        put!(html, "<text class=\"scale\" y=\"" (line + 16) "\">" (short(top / 2 * share)) "</text>");
    }
    put!(html, "</svg>");
    html
}

/// A round amount that is no smaller: 2, 4 or 10 times a power of ten, so that half of it is round too.
fn ceiling(cents: u64) -> u64 {
    let mut power = 1_000_u64;
    loop {
        for factor in [2, 4, 10] {
            let round = power.saturating_mul(factor);
            if round >= cents {
                return round;
            }
        }
        power = power.saturating_mul(10);
    }
}

/// `€1.2k`
fn short(cents: u64) -> String {
    let euros = cents / 100;
    match euros {
        0..1_000 => format!("€{euros}"),
        1_000..1_000_000 => format!("€{}k", tenths(euros, 1_000)),
        _ => format!("€{}M", tenths(euros, 1_000_000)),
    }
}

fn tenths(number: u64, unit: u64) -> String {
    let tenths = number * 10 / unit;
    if tenths.is_multiple_of(10) {
        (tenths / 10).to_string()
    } else {
        format!("{}.{}", tenths / 10, tenths % 10)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scale_ends_at_a_round_amount() {
        for (cents, top) in [(0, 2_000), (2_001, 4_000), (5_000, 10_000), (123_456, 200_000)] {
            assert_eq!(ceiling(cents), top);
        }
        for (cents, text) in [
            (0, "€0"),
            (99_900, "€999"),
            (120_000, "€1.2k"),
            (4_000_000, "€40k"),
            (200_000_000, "€2M"),
        ] {
            assert_eq!(short(cents), text);
        }
    }
}
