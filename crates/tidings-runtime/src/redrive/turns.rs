//! How many letters may go now: [`Turns`].

use std::ops::ControlFlow;
use std::time::Duration;
use tidings_core::Rate;
use tokio::time::Instant;

/// No wait for a turn is longer, however low the rate.
const LONGEST: Duration = Duration::from_secs(3_600);
/// How often a wait asks whether it is still wanted: whoever ends a slow redrive, and the next one, must not wait for a
/// turn.
const LOOK: Duration = Duration::from_secs(1);

/// Spreads letters over time: a tenth of a second's worth at once, at least one.
#[derive(Debug, Default)]
pub(super) struct Turns {
    /// When the next may go.
    next: Option<Instant>,
}

impl Turns {
    /// Waits until letters may go; how many of `wanted`. None once `wanted_still` says that it is over.
    pub(super) async fn wait(
        &mut self,
        rate: &Rate,
        wanted: usize,
        wanted_still: impl Fn() -> ControlFlow<()>,
    ) -> usize {
        let now = Instant::now();
        let turn = self.next.map_or(now, |next| next.max(now));
        while Instant::now() < turn {
            tokio::time::sleep_until(turn.min(Instant::now() + LOOK)).await;
            if Instant::now() < turn && wanted_still().is_break() {
                return 0;
            }
        }
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
                left -= turns
                    .wait(&Rate { per_second }, left, || ControlFlow::Continue(()))
                    .await;
            }
            // The first go at once.
            let took = began.elapsed().as_secs_f64();
            let first = share(per_second, 100) as f64 / per_second;
            assert!((took + first - seconds).abs() < 0.02, "{per_second}/s: {took} s");
        }
    }
    #[tokio::test(start_paused = true)]
    async fn a_wait_that_nobody_wants_any_more_ends_soon_and_nothing_goes() {
        let mut turns = Turns::default();
        let rate = Rate { per_second: 0.001 };
        assert_eq!(turns.wait(&rate, 5, || ControlFlow::Break(())).await, 1);
        let began = Instant::now();
        let over = began + Duration::from_secs(10);
        let still = || match Instant::now() < over {
            true => ControlFlow::Continue(()),
            false => ControlFlow::Break(()),
        };
        assert_eq!(turns.wait(&rate, 4, still).await, 0);
        assert!(began.elapsed() < Duration::from_secs(12), "{:?}", began.elapsed());
        assert_eq!(turns.wait(&rate, 4, || ControlFlow::Continue(())).await, 1);
        assert!(began.elapsed() >= Duration::from_secs(999), "the turn is kept");
    }
}
