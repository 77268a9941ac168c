//! Names: unique in the app, and matched by the configuration.

use super::{Mistakes, PlannedChannel, place_of};
use crate::service::Service;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use tidings_config::{Config, ConfigError, Section};
use tidings_runtime::Pattern;

/// The name of each subscription.
pub(super) fn of_subscriptions(service: &Service, mistakes: &mut Mistakes) -> Vec<String> {
    let mut seen: BTreeMap<String, String> = BTreeMap::new();
    let mut names = Vec::new();
    for subscription in &service.subscriptions {
        let facts = &subscription.facts;
        let (name, place) = (facts.effective_name(), place_of(facts.place));
        check(&place, "subscription", &name, mistakes);
        if let Some(group) = &facts.group {
            check(&place, "group", group, mistakes);
        }
        match seen.entry(name.clone()) {
            Entry::Vacant(free) => drop(free.insert(place)),
            Entry::Occupied(other) => mistakes.add(
                &place,
                format!(
                    "two subscriptions are called \"{name}\", the other is at {}",
                    other.get()
                ),
                "give one of them a name of its own: .name(\"…\")",
            ),
        }
        names.push(name);
    }
    names
}

pub(super) fn of_producers(service: &Service, mistakes: &mut Mistakes) {
    let mut seen: BTreeMap<&str, String> = BTreeMap::new();
    for producer in &service.producers {
        let (name, place) = (&producer.facts.name, place_of(producer.facts.place));
        match seen.entry(name) {
            Entry::Vacant(free) => drop(free.insert(place)),
            Entry::Occupied(other) => mistakes.add(
                &place,
                format!(
                    "two producers are called \"{name}\", the other is at {}",
                    other.get()
                ),
                "give one of them a name of its own: .name(\"…\")",
            ),
        }
    }
}

/// Groups and subscriptions name destinations and keys of the configuration.
pub(super) fn check(place: &str, kind: &str, name: &str, mistakes: &mut Mistakes) {
    if Pattern::is_pattern(name) {
        mistakes.add(
            place,
            format!("{name:?} is a pattern of destinations, not the name of a {kind}"),
            "name the channel, and let its destination be the pattern: [channel.orders] destination = \"^…\", or App::channel(\"orders\", |channel| channel.destination(\"^…\"))",
        );
        return;
    }
    let wrong = name.trim().is_empty() || name.contains(['/', '\\']) || name.chars().any(char::is_control);
    if wrong {
        mistakes.add(
            place,
            format!("{name:?} cannot be the name of a {kind}"),
            "take letters, digits, `-`, `_` and `.`",
        );
    }
}

/// Every name that is configured must exist, or a typo would silently do nothing.
pub(super) fn in_configuration(
    config: &Config,
    subscriptions: &[String],
    channels: &BTreeMap<String, PlannedChannel>,
    mistakes: &mut Mistakes,
) {
    let subscriptions: Vec<_> = subscriptions.iter().map(String::as_str).collect();
    let channel_names: Vec<_> = channels.keys().map(String::as_str).collect();
    let mut binders: Vec<_> = channels
        .values()
        .map(|channel| channel.binder.value.as_str())
        .collect();
    // `TIDINGS_URL` may be set for a program that does not use it.
    binders.push("main");
    let sections = [
        (Section::Subscription, subscriptions),
        (Section::Channel, channel_names),
        (Section::Binder, binders),
    ];
    for (section, mut declared) in sections {
        declared.sort_unstable();
        declared.dedup();
        if let Err(error) = config.check_names(section, &declared) {
            report(error, mistakes);
        }
    }
}

fn report(error: ConfigError, mistakes: &mut Mistakes) {
    match error {
        ConfigError::Several { errors } => errors.into_iter().for_each(|error| report(error, mistakes)),
        ConfigError::UnknownName {
            key,
            section,
            origin,
            nearest,
            valid,
        } => {
            let valid = if valid.is_empty() {
                "none".to_owned()
            } else {
                valid.join(", ")
            };
            let cure = match (nearest, section) {
                (Some(nearest), _) => format!("did you mean {nearest}? (there are: {valid})"),
                (None, Section::Channel) => {
                    format!("name it in the app by .publishes(…), or remove it (there are: {valid})")
                }
                (None, _) => format!("rename or remove it (there are: {valid})"),
            };
            mistakes.add(
                origin,
                format!(
                    "{key} configures a {} that this app does not have",
                    section.as_str()
                ),
                cure,
            );
        }
        ConfigError::AmbiguousName { origin, names } => mistakes.add(
            origin,
            format!("this could be {}", names.join(" or ")),
            "set it in a file, where names are exact",
        ),
        other => mistakes.add("configuration", other.to_string(), "correct the configuration"),
    }
}
