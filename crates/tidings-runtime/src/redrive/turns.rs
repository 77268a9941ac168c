//! How many letters may go now: [`Turns`].

use std::time::Duration;
use tidings_core::Rate;
use tokio::time::Instant;

/// No wait for a turn is longer, however low the rate.
const LONGEST: Duration = Duration::from_secs(3_600);

/// Spreads letters over time: a tenth of a second's worth at once, at least one.
#[derive(Debug, Default)]
pub(super) struct Turns {
    /// When the next may go.
    next: Option<Instant>,
}

impl Turns {
    /// Waits until letters may go; how many of `wanted`.
    pub(super) async fn wait(&mut self, rate: &Rate, wanted: usize) -> usize {
        let now = Instant::now();
        let turn = self.next.map_or(now, |next| next.max(now));
        tokio::time::sleep_until(turn).await;
        let count = share(rate.per_second, wanted);
        let seconds = count as f64 / rate.per_second;
        let pause = Duration::try_from_secs_f64(seconds)
            .unwrap_or(LONGEST)
            .min(LONGEST);
        self.next = Some(turn + pause);
        count
    }
}

/// How many go at once.
fn share(per_second: f64, wanted: usize) -> usize {
    // A float beyond the range becomes the end of the range.
    let share = (per_second / 10.0) as usize;
    share.max(1).min(wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn no_more_go_in_a_second_than_the_rate_says() {
        for (per_second, seconds) in [(2.0, 50.0), (100.0, 1.0), (1_000.0, 0.1), (0.5, 200.0)] {
            let mut turns = Turns::default();
            let began = Instant::now();
            let mut left = 100;
            while left > 0 {
                left -= turns.wait(&Rate { per_second }, left).await;
            }
            // The first go at once.
            let took = began.elapsed().as_secs_f64();
            let first = share(per_second, 100) as f64 / per_second;
            assert!((took + first - seconds).abs() < 0.02, "{per_second}/s: {took} s");
        }
    }
}
