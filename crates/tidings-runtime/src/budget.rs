//! Limits to how much may happen per time: [`Limiter`] for deliveries, [`Budget`] for retries.

use std::time::Duration;
use tidings_core::{Rate, RetryBudget};
use tokio::time::Instant;

/// No limit waits longer before it looks again.
const LONGEST_WAIT: Duration = Duration::from_secs(10);

/// A token bucket: so many per second, and a burst of what a tenth of a second brings, at least one.
#[derive(Debug)]
pub(crate) struct Limiter {
    per_second: f64,
    tokens: f64,
    updated: Instant,
}

impl Limiter {
    /// Allows that rate; a rate that is not above zero allows one delivery in ten seconds.
    pub(crate) fn new(rate: Rate, now: Instant) -> Self {
        let per_second = if rate.per_second > 0.1 {
            rate.per_second
        } else {
            0.1
        };
        Self {
            per_second,
            tokens: 1.0,
            updated: now,
        }
    }

    /// How many may start now.
    pub(crate) fn available(&mut self, now: Instant) -> usize {
        let since = now.saturating_duration_since(self.updated).as_secs_f64();
        let burst = (self.per_second / 10.0).max(1.0);
        self.tokens = (self.tokens + since * self.per_second).min(burst);
        self.updated = now;
        // Truncation is meant: a part of a token allows nothing.
        self.tokens.max(0.0) as usize
    }

    /// That many started. More than were available delays the next ones.
    pub(crate) fn spend(&mut self, started: usize) {
        self.tokens -= started as f64;
    }

    /// Fewer started than were spent.
    pub(crate) fn refund(&mut self, unused: usize) {
        self.tokens += unused as f64;
    }

    /// How long until one may start.
    pub(crate) fn wait(&self) -> Duration {
        let seconds = ((1.0 - self.tokens) / self.per_second).max(0.001);
        Duration::try_from_secs_f64(seconds)
            .unwrap_or(LONGEST_WAIT)
            .min(LONGEST_WAIT)
    }
}

/// How many retries are in hand: a share of the first attempts, and a few per second.
#[derive(Debug)]
pub(crate) struct Budget {
    ratio: f64,
    per_second: f64,
    tokens: f64,
    updated: Instant,
}

impl Budget {
    /// The most retries that can be saved up.
    const SAVINGS: f64 = 1_000.0;

    pub(crate) fn new(budget: RetryBudget, now: Instant) -> Self {
        // Even a budget of nothing lets a message through now and then: it must end somewhere.
        let per_second = if budget.per_second > 0.1 {
            budget.per_second
        } else {
            0.1
        };
        let ratio = if budget.ratio > 0.0 { budget.ratio } else { 0.0 };
        Self {
            ratio,
            per_second,
            tokens: per_second.max(1.0),
            updated: now,
        }
    }

    /// Messages were delivered for the first time.
    pub(crate) fn earn(&mut self, deliveries: usize) {
        self.tokens = (self.tokens + self.ratio * deliveries as f64).min(Self::SAVINGS);
    }

    /// Takes one retry, or says how long to wait for one.
    pub(crate) fn take(&mut self, now: Instant) -> Result<(), Duration> {
        let since = now.saturating_duration_since(self.updated).as_secs_f64();
        let saved = Self::SAVINGS.max(self.per_second);
        self.tokens = (self.tokens + since * self.per_second).min(saved);
        self.updated = now;
        if self.tokens >= 1.0 {
            self.tokens -= 1.0;
            return Ok(());
        }
        let seconds = ((1.0 - self.tokens) / self.per_second).max(0.001);
        Err(Duration::try_from_secs_f64(seconds)
            .unwrap_or(LONGEST_WAIT)
            .min(LONGEST_WAIT))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn no_more_start_in_a_second_than_the_rate_says() {
        let mut limiter = Limiter::new(Rate { per_second: 50.0 }, Instant::now());
        let mut started = 0;
        for _ in 0..10_000 {
            let now = limiter.available(Instant::now());
            limiter.spend(now);
            started += now;
            tokio::time::advance(Duration::from_millis(1)).await;
        }
        assert!((495..=506).contains(&started), "{started} in 10 s at 50 a second");
    }

    #[tokio::test(start_paused = true)]
    async fn a_storm_of_retries_is_held_to_the_budget() {
        let mut budget = Budget::new(
            RetryBudget {
                ratio: 0.2,
                per_second: 10.0,
            },
            Instant::now(),
        );
        budget.earn(100);
        let taken = std::iter::from_fn(|| budget.take(Instant::now()).ok()).count();
        assert_eq!(taken, 30, "20 earned and 10 of the first second");
        let wait = budget.take(Instant::now()).unwrap_err();
        assert!((99..=101).contains(&wait.as_millis()), "{wait:?}");
        tokio::time::advance(wait).await;
        assert!(budget.take(Instant::now()).is_ok());
    }
}
