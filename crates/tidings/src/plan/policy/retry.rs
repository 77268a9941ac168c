//! When a failed message is tried again: code gives all of it, configuration single values.

use super::merge::{Merge, mapped};
use crate::describe::Value;
use std::time::Duration;
use tidings_config::RetryConfig;
use tidings_core::{Backoff, Retry, RetryBudget};

impl Merge {
    pub(super) fn retry(&mut self, code: Option<&Retry>, config: &RetryConfig) -> Retry {
        let base = Retry::default();
        // `Retry::exponential(5, …)` says attempts and waits and leaves the rest as it is for everybody.
        let said = |is_said: fn(&Retry, &Retry) -> bool| code.filter(|retry| is_said(retry, &base));
        let attempts = self.number(
            "retry.attempts",
            base.attempts,
            code.map(|retry| retry.attempts),
            &config.attempts,
        );
        let backoff = self.backoff(code, config);
        let max = self.longest_wait(&base, code, config);
        let jitter = self.number(
            "retry.jitter",
            base.jitter,
            said(|retry, base| differs(retry.jitter, base.jitter)).map(|retry| retry.jitter),
            &config.jitter,
        );
        let durable_after = self.duration(
            "retry.durable_after",
            base.durable_after,
            said(|retry, base| retry.durable_after != base.durable_after).map(|retry| retry.durable_after),
            &config.durable_after,
        );
        let ratio = self.number(
            "retry.budget",
            base.budget.ratio,
            said(|retry, base| differs(retry.budget.ratio, base.budget.ratio))
                .map(|retry| retry.budget.ratio),
            &config.budget,
        );
        let floor = self.pick(
            "retry.budget_floor",
            base.budget.per_second,
            said(|retry, base| differs(retry.budget.per_second, base.budget.per_second))
                .map(|retry| retry.budget.per_second),
            mapped(&config.budget_floor, |floor| floor.unwrap_or(0.0)),
            |floor| format!("{floor}/s"),
        );
        let mut retry = code.cloned().unwrap_or(base);
        retry.attempts = attempts.max(1);
        retry.backoff = backoff;
        retry.max = max;
        retry.jitter = jitter;
        retry.durable_after = durable_after;
        retry.budget = RetryBudget {
            ratio,
            per_second: floor,
        };
        retry
    }

    fn backoff(&mut self, code: Option<&Retry>, config: &RetryConfig) -> Backoff {
        let default = (Duration::from_secs(1), 2.0);
        let said = match code.map(|retry| &retry.backoff) {
            None => None,
            Some(Backoff::Fixed(wait)) => Some((*wait, 1.0)),
            Some(Backoff::Exponential { initial, multiplier }) => Some((*initial, *multiplier)),
            Some(custom) => {
                if config.initial.is_none() && config.multiplier.is_none() {
                    let origin = self.code.clone();
                    self.values
                        .push(Value::new("retry.initial", "custom".to_owned(), origin));
                    return custom.clone();
                }
                // Configuration replaces a function that it cannot read.
                None
            }
        };
        let initial = self.duration(
            "retry.initial",
            default.0,
            said.map(|said| said.0),
            &config.initial,
        );
        let multiplier = self.number(
            "retry.multiplier",
            default.1,
            said.map(|said| said.1),
            &config.multiplier,
        );
        if multiplier > 1.0 {
            Backoff::Exponential { initial, multiplier }
        } else {
            Backoff::Fixed(initial)
        }
    }

    /// A first wait that configuration makes longer than the longest raises that one, as it does in code.
    fn longest_wait(&mut self, base: &Retry, code: Option<&Retry>, config: &RetryConfig) -> Duration {
        let said = code.map_or(base.max, |retry| retry.max);
        let raised = config.initial.clone().filter(|initial| initial.value > said);
        let max = config.max.clone().or(raised);
        let code = code.map(|retry| retry.max).filter(|max| *max != base.max);
        self.duration("retry.max", base.max, code, &max)
    }
}

/// Whether two numbers that code writes are not the same one.
fn differs(one: f64, other: f64) -> bool {
    one.total_cmp(&other).is_ne()
}
