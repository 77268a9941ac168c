//! When a failed message is tried again: [`Retry`], data that code sets and configuration overrides.

use crate::failure::{Failure, FailureKind};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// No wait is longer: 30 days.
pub const MAX_BACKOFF: Duration = Duration::from_secs(30 * 86_400);

/// How long to wait before each attempt.
#[derive(Clone)]
#[non_exhaustive]
pub enum Backoff {
    /// The same time before every attempt.
    Fixed(Duration),
    /// Longer before every attempt.
    Exponential {
        /// Before the second attempt.
        initial: Duration,
        /// Each wait is the one before times this; at least 1.
        multiplier: f64,
    },
    /// As a function says; its argument is the number of the attempt that failed, from 1.
    Custom(Arc<dyn Fn(u32) -> Duration + Send + Sync>),
}

impl fmt::Debug for Backoff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fixed(wait) => write!(f, "fixed {wait:?}"),
            Self::Exponential { initial, multiplier } => write!(f, "{initial:?} x{multiplier}"),
            Self::Custom(_) => f.write_str("custom"),
        }
    }
}

/// A limit to how much of a subscription's work may be retries, so that a failing dependency is not hit harder than a
/// healthy one. A retry beyond the budget waits until the budget allows it; it is never dropped.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RetryBudget {
    /// Retries per first attempt, for example 0.2.
    pub ratio: f64,
    /// Retries per second that are always allowed.
    pub per_second: f64,
}

impl Default for RetryBudget {
    fn default() -> Self {
        Self {
            ratio: 0.2,
            per_second: 10.0,
        }
    }
}

/// Decides about a failure, or leaves the decision to others by `None`.
pub type Classifier = Arc<dyn Fn(&Failure) -> Option<FailureKind> + Send + Sync>;

/// When a failed message is tried again. The default is what users of Spring know: 3 attempts, 1 s, doubled, at most
/// 10 s; plus a jitter of 0.2.
#[derive(Clone)]
pub struct Retry {
    /// How often a message is delivered at the most, the first time included; at least 1.
    pub attempts: u32,
    /// How long to wait before each attempt.
    pub backoff: Backoff,
    /// No wait is longer than this.
    pub max: Duration,
    /// Each wait is made longer or shorter by up to this fraction of it, at random: 0.0 to 1.0.
    pub jitter: f64,
    /// A wait longer than this is durable: the message moves to the group's retry lane and survives a restart there.
    pub durable_after: Duration,
    /// The limit to the share of retries.
    pub budget: RetryBudget,
    /// Asked in turn about each failure, before its own kind counts.
    pub classifiers: Vec<Classifier>,
}

impl Default for Retry {
    fn default() -> Self {
        Self::exponential(3, Duration::from_secs(1), 2.0)
    }
}

impl fmt::Debug for Retry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Retry")
            .field("attempts", &self.attempts)
            .field("backoff", &self.backoff)
            .field("max", &self.max)
            .field("jitter", &self.jitter)
            .field("durable_after", &self.durable_after)
            .field("budget", &self.budget)
            .field("classifiers", &self.classifiers.len())
            .finish()
    }
}

impl Retry {
    fn with_backoff(attempts: u32, backoff: Backoff) -> Self {
        Self {
            attempts: attempts.max(1),
            backoff,
            max: Duration::from_secs(10),
            jitter: 0.2,
            durable_after: Duration::from_secs(1),
            budget: RetryBudget::default(),
            classifiers: Vec::new(),
        }
    }

    /// One delivery, no retry: what fails goes to the dead letters.
    pub fn none() -> Self {
        Self::with_backoff(1, Backoff::Fixed(Duration::ZERO))
    }

    /// The same wait before every further delivery. Without jitter, and without a maximum below the wait.
    pub fn fixed(attempts: u32, wait: Duration) -> Self {
        Self {
            jitter: 0.0,
            max: wait.min(MAX_BACKOFF),
            ..Self::with_backoff(attempts, Backoff::Fixed(wait))
        }
    }

    /// `initial` before the second delivery, then each wait `multiplier` times as long, up to 10 s or
    /// [`max`](Self::max).
    pub fn exponential(attempts: u32, initial: Duration, multiplier: f64) -> Self {
        let retry = Self::with_backoff(
            attempts,
            Backoff::Exponential {
                initial,
                multiplier: multiplier.max(1.0),
            },
        );
        Self {
            max: retry.max.max(initial).min(MAX_BACKOFF),
            ..retry
        }
    }

    /// Waits as a function says; its argument is the number of the attempt that failed, from 1. Without jitter.
    pub fn custom(attempts: u32, wait: impl Fn(u32) -> Duration + Send + Sync + 'static) -> Self {
        Self {
            jitter: 0.0,
            max: MAX_BACKOFF,
            ..Self::with_backoff(attempts, Backoff::Custom(Arc::new(wait)))
        }
    }

    /// No wait is longer than this.
    #[must_use]
    pub fn max(mut self, max: Duration) -> Self {
        self.max = max.min(MAX_BACKOFF);
        self
    }

    /// Each wait varies by up to this fraction, 0.0 to 1.0.
    #[must_use]
    pub fn jitter(mut self, jitter: f64) -> Self {
        self.jitter = jitter.clamp(0.0, 1.0);
        self
    }

    /// Waits longer than this are durable.
    #[must_use]
    pub fn durable_after(mut self, wait: Duration) -> Self {
        self.durable_after = wait;
        self
    }

    /// With that budget.
    #[must_use]
    pub fn budget(mut self, ratio: f64, per_second: f64) -> Self {
        self.budget = RetryBudget {
            ratio: ratio.max(0.0),
            per_second: per_second.max(0.0),
        };
        self
    }

    /// Failures for which the predicate holds are never tried again.
    #[must_use]
    pub fn permanent_if(mut self, predicate: impl Fn(&Failure) -> bool + Send + Sync + 'static) -> Self {
        self.classifiers.push(Arc::new(move |failure| {
            predicate(failure).then_some(FailureKind::Permanent)
        }));
        self
    }

    /// Failures for which the predicate holds are tried again, whatever they say themselves.
    #[must_use]
    pub fn transient_if(mut self, predicate: impl Fn(&Failure) -> bool + Send + Sync + 'static) -> Self {
        self.classifiers.push(Arc::new(move |failure| {
            predicate(failure).then_some(FailureKind::Transient)
        }));
        self
    }

    /// What kind of failure this is: the first classifier that knows, or what it says itself.
    pub fn classify(&self, failure: &Failure) -> FailureKind {
        self.classifiers
            .iter()
            .find_map(|classify| classify(failure))
            .unwrap_or(failure.kind())
    }

    /// How long to wait after attempt `failed` (from 1) did not succeed. `random` is from 0.0 to 1.0 and decides the
    /// jitter. Never more than [`max`](Self::max), whatever the numbers.
    pub fn wait_after(&self, failed: u32, random: f64) -> Duration {
        let max = self.max.min(MAX_BACKOFF);
        let base = match &self.backoff {
            Backoff::Fixed(wait) => *wait,
            Backoff::Exponential { initial, multiplier } => {
                let exponent = i32::try_from(failed.saturating_sub(1)).unwrap_or(i32::MAX);
                bounded_seconds(initial.as_secs_f64() * multiplier.max(1.0).powi(exponent), max)
            }
            Backoff::Custom(wait) => wait(failed),
        };
        let jitter = 1.0 + self.jitter.clamp(0.0, 1.0) * (2.0 * random.clamp(0.0, 1.0) - 1.0);
        bounded_seconds(base.min(max).as_secs_f64() * jitter, max)
    }
}

/// That many seconds, at least none and at most `max`; not a number is `max`.
fn bounded_seconds(seconds: f64, max: Duration) -> Duration {
    if seconds < max.as_secs_f64() {
        Duration::try_from_secs_f64(seconds.max(0.0)).unwrap_or(max)
    } else {
        max
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn waits_are_those_that_users_of_spring_know() {
        let retry = Retry::default();
        let waits: Vec<_> = (1..=6)
            .map(|failed| retry.wait_after(failed, 0.5).as_millis())
            .collect();
        assert_eq!(waits, [1000, 2000, 4000, 8000, 10_000, 10_000]);
        assert_eq!(retry.attempts, 3);
    }

    #[test]
    fn a_predicate_decides_before_the_failure_itself() {
        let retry = Retry::none().permanent_if(|failure| failure.to_string().contains("card"));
        assert_eq!(
            retry.classify(&Failure::transient("no such card")),
            FailureKind::Permanent
        );
        assert_eq!(
            retry.classify(&Failure::transient("no route")),
            FailureKind::Transient
        );
    }

    proptest! {
        #[test]
        fn a_wait_is_within_its_jitter_and_its_maximum(
            initial_ms in 0u64..100_000, multiplier in 0.0f64..1e6, max_ms in 0u64..100_000,
            jitter in -1.0f64..2.0, failed: u32, random in -1.0f64..2.0,
        ) {
            let max = Duration::from_millis(max_ms);
            let retry = Retry::exponential(3, Duration::from_millis(initial_ms), multiplier).max(max).jitter(jitter);
            let wait = retry.wait_after(failed, random);
            prop_assert!(wait <= max);
            let calm = retry.clone().jitter(0.0).wait_after(failed, 0.5).as_secs_f64();
            let jitter = jitter.clamp(0.0, 1.0);
            prop_assert!(wait.as_secs_f64() >= calm * (1.0 - jitter) - 1e-6);
            prop_assert!(wait.as_secs_f64() <= calm * (1.0 + jitter) + 1e-6);
        }
    }
}
