//! The policy of a subscription: default, then code, then configuration, each value with its origin.

mod merge;
mod retry;

use super::convert;
use crate::describe::Value;
use merge::{Merge, mapped};
use std::time::Duration;
use tidings_config::{Setting, SubscriptionConfig};
use tidings_core::{DeadLetterHeaders, Ordering, Policy, PolicyChanges, Rate, RetryOrder, Start};

/// What is known of a subscription before its policy is.
pub(super) struct Context<'a> {
    pub(super) place: &'a str,
    pub(super) has_group: bool,
    pub(super) is_batch: bool,
    pub(super) binder_commit_interval: Option<Setting<Duration>>,
}

/// The policy, and each of its values for people.
pub(super) fn merge(
    context: &Context<'_>,
    code: &PolicyChanges,
    config: &SubscriptionConfig,
) -> (Policy, Vec<Value>) {
    let mut merge = Merge::new(context.place);
    let mut policy = Policy::default();
    merge.reading(&mut policy, context, code, config);
    merge.handling(&mut policy, context, code, config);
    merge.failing(&mut policy, code, config);
    merge.storing(&mut policy, context, code, config);
    (policy, merge.values)
}

impl Merge {
    fn reading(
        &mut self,
        policy: &mut Policy,
        context: &Context<'_>,
        code: &PolicyChanges,
        config: &SubscriptionConfig,
    ) {
        let start = if context.has_group {
            Start::Earliest
        } else {
            Start::Latest
        };
        let configured = mapped(&config.start, convert::start);
        policy.start = self.pick("start", start, code.start, configured, shown_start);
        let chosen = code.partitions.clone().map(Some);
        let configured = mapped(&config.partitions, |chosen| Some(chosen.numbers().to_vec()));
        policy.partitions = self.pick("partitions", None, chosen, configured, shown_partitions);
        policy.paused = self.switch("paused", code.paused, &config.paused);
    }

    fn handling(
        &mut self,
        policy: &mut Policy,
        context: &Context<'_>,
        code: &PolicyChanges,
        config: &SubscriptionConfig,
    ) {
        let ordering = mapped(&config.ordering, convert::ordering);
        policy.ordering = self.pick(
            "ordering",
            policy.ordering,
            code.ordering,
            ordering,
            shown_ordering,
        );
        policy.concurrency = self.number(
            "concurrency",
            policy.concurrency,
            code.concurrency,
            &config.concurrency,
        );
        policy.max_in_flight = self.number(
            "max_in_flight",
            policy.max_in_flight,
            code.max_in_flight,
            &config.max_in_flight,
        );
        policy.max_in_flight_bytes = self.number(
            "max_in_flight_bytes",
            policy.max_in_flight_bytes,
            code.max_in_flight_bytes,
            &config.max_in_flight_bytes,
        );
        policy.batch = self.batch(context.is_batch, policy.batch, code.batch, config);
        let timeout = code.timeout.map(Some);
        policy.timeout = self.pick("timeout", None, timeout, config.timeout.clone(), |timeout| {
            shown_time(*timeout)
        });
        let stuck = (code.stuck_after.map(Some), config.stuck_after.clone());
        policy.stuck_after = self.pick("stuck_after", policy.stuck_after, stuck.0, stuck.1, |time| {
            shown_time(*time)
        });
        let alone = &mut policy.alone;
        alone.wait = self.duration("alone_wait", alone.wait, None, &config.alone_wait);
        alone.time = self.duration("alone_time", alone.time, None, &config.alone_time);
        alone.time_max = self.duration("alone_time_max", alone.time_max, None, &config.alone_time_max);
        let rate = mapped(&config.rate, |rate| rate.map(|per_second| Rate { per_second }));
        policy.rate = self.pick("rate", None, code.rate.map(Some), rate, |rate| {
            rate.map_or_else(|| "none".to_owned(), |rate| format!("{}/s", rate.per_second))
        });
        policy.spawn = self.switch("spawn", code.spawn, &config.spawn);
    }

    fn failing(&mut self, policy: &mut Policy, code: &PolicyChanges, config: &SubscriptionConfig) {
        policy.retry = self.retry(code.retry.as_ref(), &config.retry);
        let order = mapped(&config.order, convert::order);
        policy.order = self.pick("order", policy.order, code.order, order, shown_order);
        policy.max_parked = self.number(
            "max_parked",
            policy.max_parked,
            code.max_parked,
            &config.max_parked,
        );
        let default = std::mem::take(&mut policy.dead_letter);
        let (code_letters, configured) = (code.dead_letter.clone(), config.dead_letter.clone());
        policy.dead_letter = self.pick("dead_letter", default, code_letters, configured, String::clone);
        let headers = mapped(&config.headers, convert::headers);
        policy.headers = self.pick("headers", policy.headers, code.headers, headers, |headers| {
            match headers {
                DeadLetterHeaders::Tidings => "tidings",
                DeadLetterHeaders::Spring => "spring",
            }
            .to_owned()
        });
        policy.lose_exhausted_messages = self.switch(
            "lose_exhausted_messages",
            code.lose_exhausted_messages,
            &config.lose_exhausted_messages,
        );
    }

    fn storing(
        &mut self,
        policy: &mut Policy,
        context: &Context<'_>,
        code: &PolicyChanges,
        config: &SubscriptionConfig,
    ) {
        policy.exactly_once = self.switch("exactly_once", code.exactly_once, &config.exactly_once);
        // The binder's setting is for the subscriptions that say nothing, in code or in configuration.
        let of_binder = || {
            context
                .binder_commit_interval
                .clone()
                .filter(|_| code.commit_interval.is_none())
        };
        let interval = config.commit_interval.clone().or_else(of_binder);
        policy.commit_interval = self.duration(
            "commit_interval",
            policy.commit_interval,
            code.commit_interval,
            &interval,
        );
        let every = match policy.exactly_once {
            true => Policy::SPAN_EVERY,
            false => policy.commit_every,
        };
        policy.commit_every = self.number("commit_every", every, code.commit_every, &config.commit_every);
    }
}

fn shown_time(time: Option<Duration>) -> String {
    time.map_or_else(|| "none".to_owned(), |time| format!("{time:?}"))
}

fn shown_partitions(chosen: &Option<Vec<u32>>) -> String {
    let Some(chosen) = chosen else {
        return "all".to_owned();
    };
    let numbers: Vec<_> = chosen.iter().map(u32::to_string).collect();
    numbers.join(", ")
}

fn shown_start(start: &Start) -> String {
    match start {
        Start::Earliest => "earliest".to_owned(),
        Start::Latest => "latest".to_owned(),
        Start::Offset(offset) => format!("offset {offset}"),
        Start::Time(time) => format!("time {} ms", time.as_millis()),
        other => format!("{other:?}"),
    }
}

fn shown_ordering(ordering: &Ordering) -> String {
    match ordering {
        Ordering::Key => "key",
        Ordering::Partition => "partition",
        Ordering::None => "none",
    }
    .to_owned()
}

fn shown_order(order: &RetryOrder) -> String {
    match order {
        RetryOrder::Kept => "kept",
        RetryOrder::Relaxed => "relaxed",
    }
    .to_owned()
}
