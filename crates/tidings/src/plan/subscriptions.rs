//! Subscriptions with their channels, groups and policies.

use super::policy::{self, Context};
use super::{Mistakes, PlannedChannel, patterns, place_of};
use crate::describe::Value;
use crate::part::{BoundSubscription, SubscriptionFacts};
use crate::service::Service;
use std::collections::{BTreeMap, BTreeSet};
use tidings_config::{Config, Origin, Setting, SubscriptionConfig};
use tidings_core::{HandlerKind, Policy, Reads};
use tidings_runtime::PatternInput;

/// A subscription as it will run.
#[derive(Debug)]
pub(crate) struct PlannedSubscription {
    pub(crate) name: String,
    pub(crate) place: String,
    pub(crate) reads: Reads,
    pub(crate) group: Option<Setting<String>>,
    pub(crate) binder: String,
    pub(crate) inputs: Vec<PlannedInput>,
    pub(crate) policy: Policy,
    pub(crate) values: Vec<Value>,
}

/// A destination that a subscription reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PlannedInput {
    pub(crate) channel: String,
    pub(crate) destination: String,
    /// None loses what cannot be handled, because the policy says so.
    pub(crate) dead_letter: Option<String>,
    /// Which destinations it stands for; none is the one that it names.
    pub(crate) pattern: Option<PatternInput>,
}

/// The destinations of a channel's dead letters: those of the subscriptions that read it, or the usual one.
pub(super) fn dead_letters_of<'a>(
    channel: &PlannedChannel,
    subscriptions: impl Iterator<Item = &'a PlannedSubscription>,
) -> BTreeSet<String> {
    let messages = subscriptions.filter(|subscription| subscription.reads == Reads::Messages);
    let inputs = messages.flat_map(|subscription| &subscription.inputs);
    let own = inputs.filter(|input| input.channel == channel.name);
    let mut found: BTreeSet<_> = own.filter_map(|input| input.dead_letter.clone()).collect();
    if found.is_empty() {
        found.insert(Policy::default().dead_letter_destination(&channel.destination.value, None));
    }
    found
}

pub(super) struct Planner<'a> {
    pub(super) config: &'a Config,
    pub(super) channels: &'a BTreeMap<String, PlannedChannel>,
    pub(super) mistakes: &'a mut Mistakes,
}

impl Planner<'_> {
    /// Subscriptions to messages come first, because they decide where dead letters are.
    pub(super) fn plan(mut self, service: &Service, names: &[String]) -> Vec<PlannedSubscription> {
        let mut planned: BTreeMap<usize, PlannedSubscription> = BTreeMap::new();
        for reads in [Reads::Messages, Reads::DeadLetters] {
            for (index, (subscription, name)) in service.subscriptions.iter().zip(names).enumerate() {
                if subscription.facts.reads == reads {
                    let one = self.one(subscription, name, &planned);
                    planned.insert(index, one);
                }
            }
        }
        planned.into_values().collect()
    }

    fn one(
        &mut self,
        subscription: &BoundSubscription,
        name: &str,
        earlier: &BTreeMap<usize, PlannedSubscription>,
    ) -> PlannedSubscription {
        let facts = &subscription.facts;
        let place = place_of(facts.place);
        let config = self.config.subscription(name);
        let code_group = facts
            .group
            .clone()
            .map(|group| Setting::new(group, Origin::code(place.as_str())));
        if let Some(group) = &config.group {
            super::names::check(&group.origin.to_string(), "group", &group.value, self.mistakes);
        }
        let group = config.group.clone().or(code_group);
        let binder = self.binder_of(facts, &place);
        let context = Context {
            place: &place,
            has_group: group.is_some(),
            is_batch: facts.kind == HandlerKind::Batch,
            binder_commit_interval: self.config.binder(&binder).commit_interval,
        };
        let (policy, mut values) = policy::merge(&context, &facts.changes, &config);
        self.check_policy(name, &place, &policy);
        self.check_partitions(name, &place, &policy, group.is_some());
        if policy.exactly_once {
            self.check_exactly_once(name, &place, facts, group.is_some(), &binder);
        }
        if let Some(inbox) = &facts.inbox {
            values.push(Value::new(
                "inbox",
                inbox.store().name(),
                Origin::code(place.as_str()),
            ));
            if group.is_none() {
                super::inbox::without_group(name, &place, self.mistakes);
            }
        }
        self.check_config(name, facts, &config);
        let inputs = self.inputs(
            facts,
            &policy,
            group.as_ref().map(|group| group.value.as_str()),
            earlier,
        );
        self.check_inputs(&place, &inputs);
        PlannedSubscription {
            name: name.to_owned(),
            place,
            reads: facts.reads,
            group,
            binder,
            inputs,
            policy,
            values,
        }
    }

    /// One subscription is one member of one broker's group.
    fn binder_of(&mut self, facts: &SubscriptionFacts, place: &str) -> String {
        let channels = facts.channels.iter().filter_map(|name| self.channels.get(name));
        let binders: BTreeSet<_> = channels.map(|channel| channel.binder.value.clone()).collect();
        if binders.len() > 1 {
            let names: Vec<_> = binders.iter().map(String::as_str).collect();
            self.mistakes.add(
                place,
                format!(
                    "the channels {} live on different binders: {}",
                    facts.channels.join(", "),
                    names.join(", ")
                ),
                "make a subscription for each binder",
            );
        }
        binders.into_iter().next().unwrap_or_else(|| "main".to_owned())
    }

    fn inputs(
        &self,
        facts: &SubscriptionFacts,
        policy: &Policy,
        group: Option<&str>,
        earlier: &BTreeMap<usize, PlannedSubscription>,
    ) -> Vec<PlannedInput> {
        let mut inputs = Vec::new();
        for channel in facts.channels.iter().filter_map(|name| self.channels.get(name)) {
            let destinations = match facts.reads {
                Reads::Messages => BTreeSet::from([channel.destination.value.clone()]),
                Reads::DeadLetters => dead_letters_of(channel, earlier.values()),
            };
            inputs.extend(destinations.into_iter().map(|destination| {
                PlannedInput {
                    channel: channel.name.clone(),
                    dead_letter: (!policy.lose_exhausted_messages)
                        .then(|| policy.dead_letter_destination(&destination, group)),
                    pattern: patterns::input(channel, facts.reads, earlier.values()),
                    destination,
                }
            }));
        }
        inputs
    }

    fn check_inputs(&mut self, place: &str, inputs: &[PlannedInput]) {
        if inputs.is_empty() {
            self.mistakes.add(
                place,
                "the subscription reads no channel",
                "name at least one: on(\"orders\", …)",
            );
        }
        let mut seen = BTreeSet::new();
        for input in inputs {
            if !seen.insert(&input.destination) {
                self.mistakes.add(
                    place,
                    format!(
                        "the subscription reads the destination \"{}\" twice",
                        input.destination
                    ),
                    "name each channel once, and give channels destinations of their own",
                );
            }
            let letters = input.dead_letter.as_ref();
            if letters.is_some_and(|letters| inputs.iter().any(|other| other.destination == *letters)) {
                self.mistakes.add(
                    place,
                    format!(
                        "dead letters of \"{}\" would come back to the same subscription",
                        input.destination
                    ),
                    "let dead_letter name another destination, for example \"{destination}.DLT\"",
                );
            }
        }
    }

    /// Configuration is checked when it is read; code is checked here.
    fn check_policy(&mut self, name: &str, place: &str, policy: &Policy) {
        let zero = [
            ("concurrency", policy.concurrency == 0),
            ("max_in_flight", policy.max_in_flight == 0),
            ("max_in_flight_bytes", policy.max_in_flight_bytes == 0),
            ("max_parked", policy.max_parked == 0),
            ("batch size", policy.batch.size == 0),
            ("timeout", policy.timeout.is_some_and(|timeout| timeout.is_zero())),
            ("commit_every", policy.commit_every == 0),
        ];
        for (what, _) in zero.into_iter().filter(|(_, is_zero)| *is_zero) {
            self.mistakes.add(
                place,
                format!("subscription \"{name}\" has a {what} of 0, so it would never handle anything"),
                "give it at least 1, or remove it",
            );
        }
        if policy
            .rate
            .is_some_and(|rate| !(rate.per_second > 0.0 && rate.per_second.is_finite()))
        {
            self.mistakes.add(
                place,
                format!("subscription \"{name}\" has a rate that is not above 0"),
                "give it a number of deliveries per second, or start it .paused()",
            );
        }
        let letters = policy
            .dead_letter
            .replace("{destination}", "")
            .replace("{group}", "");
        if policy.dead_letter.trim().is_empty() || letters.contains(['{', '}']) {
            self.mistakes.add(
                place,
                format!(
                    "{:?} cannot name the dead letters of \"{name}\"",
                    policy.dead_letter
                ),
                "only {destination} and {group} may stand in braces, for example \"{destination}.DLT\"",
            );
        }
    }

    /// Partitions are chosen by who shares them with nobody.
    fn check_partitions(&mut self, name: &str, place: &str, policy: &Policy, has_group: bool) {
        let Some(chosen) = &policy.partitions else { return };
        if has_group {
            self.mistakes.add(
                place,
                format!(
                    "subscription \"{name}\" chooses partitions and has a group, which shares out all of them"
                ),
                "remove the group, or partitions",
            );
        }
        if chosen.is_empty() {
            self.mistakes.add(
                place,
                format!("subscription \"{name}\" chooses no partition"),
                "name at least one, or remove partitions to read all",
            );
        }
    }

    /// What cannot be part of a transaction of the broker.
    fn check_exactly_once(
        &mut self,
        name: &str,
        place: &str,
        facts: &SubscriptionFacts,
        has_group: bool,
        binder: &str,
    ) {
        if !has_group {
            self.mistakes.add(
                place,
                format!("subscription \"{name}\" is exactly_once and has no group, so it has no progress to commit"),
                "give it a group: .group(\"…\"), or remove exactly_once",
            );
        }
        if facts.inbox.is_some() {
            self.mistakes.add(
                place,
                format!("subscription \"{name}\" is exactly_once and has an inbox"),
                "use one of them, because no database can be part of the broker's transaction: exactly_once where all effects are messages on that broker, the inbox where some are in the database",
            );
        }
        let output = facts.output.as_ref().and_then(|output| self.channels.get(output));
        if let Some(output) = output.filter(|output| output.binder.value != binder) {
            self.mistakes.add(
                place,
                format!(
                    "subscription \"{name}\" is exactly_once on binder \"{binder}\", and what it returns goes to \"{}\" on binder \"{}\"",
                    output.name, output.binder.value
                ),
                "publish to a channel of its own binder, and let another subscription pass it on",
            );
        }
    }

    fn check_config(&mut self, name: &str, facts: &SubscriptionFacts, config: &SubscriptionConfig) {
        if facts.kind == HandlerKind::Batch {
            return;
        }
        let origins = [
            (
                "batch_size",
                config.batch_size.as_ref().map(|setting| &setting.origin),
            ),
            (
                "batch_linger",
                config.batch_linger.as_ref().map(|setting| &setting.origin),
            ),
        ];
        for (key, origin) in origins {
            if let Some(origin) = origin {
                self.mistakes.add(
                    origin,
                    format!(
                        "subscription.{name}.{key} is set, and `{}` takes messages one by one",
                        facts.short_handler()
                    ),
                    "remove it, or let the handler's first argument be Batch<T>",
                );
            }
        }
    }
}
