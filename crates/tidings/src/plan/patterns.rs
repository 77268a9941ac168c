//! Channels that stand for every destination that a pattern matches.

use super::{Mistakes, Plan, PlannedChannel, PlannedSubscription, place_in, place_of};
use crate::service::Service;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use tidings_config::{Origin, Setting};
use tidings_core::{BinderError, DynBinder, Policy, Reads};
use tidings_runtime::{Discovery, LetterName, Pattern, PatternInput, PatternReads};

/// What no pattern ever takes, see [`Discovery::matching`].
const NEVER: [(&str, &str); 2] = [
    (".DLT", "read them by dead_letter(\"…\", …)"),
    (
        ".retry",
        "messages wait there for their own group; remove the channel",
    ),
];

/// The pattern that a destination is.
pub(super) fn of(channel: &str, destination: &Setting<String>, mistakes: &mut Mistakes) -> Option<Pattern> {
    if !Pattern::is_pattern(&destination.value) {
        return None;
    }
    let place = place_in(&destination.origin);
    let text = destination.value.trim_end_matches('$');
    if let Some((ending, cure)) = NEVER.iter().find(|(ending, _)| text.ends_with(ending)) {
        let problem = format!(
            "channel \"{channel}\" leads to a pattern of what ends with {ending}, which no pattern matches"
        );
        mistakes.add(&place, problem, *cure);
    }
    match Pattern::parse(&destination.value) {
        Ok(pattern) => Some(pattern),
        Err(error) => {
            mistakes.add(
                place,
                format!("channel \"{channel}\" leads to a pattern: {error}"),
                "correct it: it has the syntax of the crate regex, which is Perl's without look-around and back references",
            );
            None
        }
    }
}

/// A pattern is only read, and makes no destination.
pub(super) fn check(service: &Service, channels: &BTreeMap<String, PlannedChannel>, mistakes: &mut Mistakes) {
    for channel in channels.values().filter(|channel| channel.pattern.is_some()) {
        check_settings(channel, mistakes);
    }
    let subscriptions = service.subscriptions.iter().map(|one| &one.facts);
    let outputs = subscriptions.clone().map(|facts| (&facts.output, facts.place));
    let produced = service.producers.iter();
    let produced = produced.map(|producer| (&producer.facts.output, producer.facts.place));
    for (output, place) in outputs.chain(produced) {
        let channel = output.as_ref().and_then(|output| channels.get(output));
        if let Some(channel) = channel.filter(|channel| channel.pattern.is_some()) {
            let pattern = &channel.destination.value;
            mistakes.add(
                place_of(place),
                format!(
                    "what is published to channel \"{}\" would have to go to the pattern {pattern}, which is only read",
                    channel.name
                ),
                "publish to a channel that leads to one destination",
            );
        }
    }
    for facts in subscriptions.filter(|facts| facts.reads == Reads::Messages) {
        let output = facts.output.as_ref().and_then(|output| channels.get(output));
        let Some(output) = output.filter(|output| output.pattern.is_none()) else {
            continue;
        };
        for channel in facts.channels.iter().filter_map(|name| channels.get(name)) {
            let matches = |pattern: &Pattern| pattern.matches(&output.destination.value);
            if channel.binder.value == output.binder.value && channel.pattern.as_ref().is_some_and(matches) {
                mistakes.add(
                    place_of(facts.place),
                    format!(
                        "the subscription publishes to \"{}\", which its own pattern {} matches: it would read what it writes, without end",
                        output.destination.value, channel.destination.value
                    ),
                    "publish to a destination that the pattern does not match, or narrow the pattern",
                );
            }
        }
    }
}

fn check_settings(channel: &PlannedChannel, mistakes: &mut Mistakes) {
    let retention_time = channel.retention_time.as_ref().map(|time| &time.origin);
    let retention_bytes = channel.retention_bytes.as_ref().map(|bytes| &bytes.origin);
    let said = [
        ("partitions", Some(&channel.partitions.origin)),
        ("retention_time", retention_time),
        ("retention_bytes", retention_bytes),
        ("cleanup", channel.cleanup.as_ref().map(|cleanup| &cleanup.origin)),
    ];
    for (what, origin) in said {
        if let Some(origin) = origin.filter(|origin| **origin != Origin::Default) {
            mistakes.add(
                place_in(origin),
                format!(
                    "channel \"{}\" is the pattern {}, and a pattern makes no destination that could have {what}",
                    channel.name, channel.destination.value
                ),
                "say it where the destinations are made, and remove it here",
            );
        }
    }
}

/// What a subscription to that channel reads, if it is a pattern. Dead letters are where its other subscriptions put
/// them, or at the usual place.
pub(super) fn input<'a>(
    channel: &PlannedChannel,
    reads: Reads,
    earlier: impl Iterator<Item = &'a PlannedSubscription>,
) -> Option<PatternInput> {
    let pattern = channel.pattern.clone()?;
    let reads = match reads {
        Reads::Messages => PatternReads::Messages,
        Reads::DeadLetters => PatternReads::DeadLetters(letters_of(channel, Reads::Messages, earlier)),
    };
    Some(PatternInput {
        pattern,
        reads,
        create: channel.create.value,
    })
}

/// How dead letters of those who read that of a channel are called.
fn letters_of<'a>(
    channel: &PlannedChannel,
    reads: Reads,
    subscriptions: impl Iterator<Item = &'a PlannedSubscription>,
) -> Vec<LetterName> {
    let own = subscriptions
        .filter(|one| one.reads == reads && one.inputs.iter().any(|input| input.channel == channel.name));
    let names: BTreeSet<_> = own
        .filter_map(letters)
        .map(|name| name.as_str().to_owned())
        .collect();
    let mut names: Vec<_> = names.iter().map(|name| LetterName::new(name, None)).collect();
    if names.is_empty() && reads == Reads::Messages {
        names.push(LetterName::new(&Policy::default().dead_letter, None));
    }
    names
}

fn letters(subscription: &PlannedSubscription) -> Option<LetterName> {
    let group = subscription.group.as_ref().map(|group| group.value.as_str());
    let policy = &subscription.policy;
    (!policy.lose_exhausted_messages).then(|| LetterName::new(&policy.dead_letter, group))
}

impl Plan {
    /// How patterns are resolved on a binder.
    pub(crate) fn discovery(&self, binder: &str, patterns: Vec<PatternInput>) -> Discovery {
        let here = self.subscriptions.iter().filter(|one| one.binder == binder);
        Discovery {
            patterns,
            letters: here.filter_map(letters).collect(),
            interval: self.discovery_interval(binder).value,
        }
    }

    pub(crate) fn discovery_interval(&self, binder: &str) -> Setting<Duration> {
        let found = self.binders.iter().find(|planned| planned.name == binder);
        let said = found.and_then(|planned| planned.config.discovery_interval.clone());
        said.unwrap_or_else(|| Setting::new(Discovery::INTERVAL, Origin::Default))
    }
}

/// A channel that is a pattern, while the service runs.
#[derive(Debug)]
pub(crate) struct RunningPattern {
    discovery: Discovery,
    letters: Vec<LetterName>,
    /// Dead letters of those who handle dead letters.
    letters_of_letters: Vec<LetterName>,
}

impl RunningPattern {
    pub(crate) fn new(plan: &Plan, channel: &PlannedChannel) -> Option<Self> {
        let all = || plan.subscriptions.iter();
        let input = input(channel, Reads::Messages, all())?;
        Some(Self {
            discovery: plan.discovery(&channel.binder.value, vec![input]),
            letters: letters_of(channel, Reads::Messages, all()),
            letters_of_letters: letters_of(channel, Reads::DeadLetters, all()),
        })
    }

    /// The destinations that match now, sorted.
    pub(crate) async fn destinations(&self, binder: &dyn DynBinder) -> Result<Vec<Arc<str>>, BinderError> {
        let all = binder.destinations().await?;
        let inputs = self.discovery.patterns.iter();
        let matching = inputs.flat_map(|input| self.discovery.matching(input, &all));
        let names: BTreeSet<_> = matching.map(|info| info.name.clone()).collect();
        Ok(names.into_iter().collect())
    }

    /// Where their dead letters are or will be, sorted.
    pub(crate) async fn dead_letters(&self, binder: &dyn DynBinder) -> Result<Vec<String>, BinderError> {
        let mut all = BTreeSet::new();
        for destination in self.destinations(binder).await? {
            for letters in self.letters.iter().map(|letters| letters.of(&destination)) {
                all.extend(self.letters_of_letters.iter().map(|name| name.of(&letters)));
                all.insert(letters);
            }
        }
        Ok(all.into_iter().collect())
    }
}
