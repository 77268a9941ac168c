//! The channels of a service: which there are, and where each of them lives.

use super::claims::{self, PlannedClaims};
use super::{Mistakes, convert, layered, patterns, place_in, place_of};
use crate::channel::{Channel, DeclaredChannel};
use crate::service::Service;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use tidings_config::{ChannelConfig, Config, Origin, Section, Setting, nearest};
use tidings_core::{Cleanup, Create, Reads};
use tidings_runtime::Pattern;

/// How many partitions a destination gets if nobody says anything.
const DEFAULT_PARTITIONS: u32 = 4;
/// Longer than anything is kept: a channel's "for ever" where its binder would delete.
const FOR_EVER: Duration = Duration::from_secs(36_525 * 86_400);

/// A channel and where it lives.
#[derive(Debug)]
pub(crate) struct PlannedChannel {
    pub(crate) name: String,
    pub(crate) destination: Setting<String>,
    pub(crate) binder: Setting<String>,
    pub(crate) partitions: Setting<u32>,
    pub(crate) create: Setting<Create>,
    /// None leaves it to the binder.
    pub(crate) retention_time: Option<Setting<Duration>>,
    /// None leaves it to the binder.
    pub(crate) retention_bytes: Option<Setting<u64>>,
    /// None is what the destination has been prepared with before, or that nothing goes besides.
    pub(crate) cleanup: Option<Setting<Cleanup>>,
    /// None has no store for payloads that are too large to travel.
    pub(crate) claims: Option<PlannedClaims>,
    /// It stands for every destination that matches.
    pub(crate) pattern: Option<Pattern>,
    /// What it is on a RabbitMQ, and the keys that say so.
    #[cfg(feature = "rabbitmq")]
    pub(crate) rabbitmq: super::rabbitmq::PlannedRabbit,
}

/// Every channel that the service speaks of, by name.
pub(super) fn plan(
    service: &Service,
    config: &Config,
    mistakes: &mut Mistakes,
) -> BTreeMap<String, PlannedChannel> {
    let mut channels = BTreeMap::new();
    for (name, place) in names(service) {
        super::names::check(&place, "channel", &name, mistakes);
        let declared = service.channels.iter().filter(|declared| declared.name == name);
        let code = merged(declared, mistakes);
        let channel = planned(name.clone(), code, config.channel(&name), mistakes);
        channels.insert(name, channel);
    }
    patterns::check(service, &channels, mistakes);
    check_shared_destinations(&channels, mistakes);
    claims::check(&channels, mistakes);
    #[cfg(feature = "rabbitmq")]
    super::rabbitmq::check(&channels, mistakes);
    check_dead_letters(service, config, mistakes);
    channels
}

/// A handler of dead letters names a channel that something else must speak of too: alone it is most likely mistyped,
/// and would wait for ever for letters that nobody writes.
fn check_dead_letters(service: &Service, config: &Config, mistakes: &mut Mistakes) {
    let facts = || {
        service
            .subscriptions
            .iter()
            .map(|subscription| &subscription.facts)
    };
    let read = facts()
        .filter(|facts| facts.reads == Reads::Messages)
        .flat_map(|facts| &facts.channels);
    let written = facts().flat_map(|facts| &facts.output);
    let produced = service
        .producers
        .iter()
        .flat_map(|producer| &producer.facts.output);
    let declared = service.channels.iter().map(|declared| &declared.name);
    let known: BTreeSet<&str> = read
        .chain(written)
        .chain(produced)
        .chain(declared)
        .map(String::as_str)
        .collect();
    let configured = config.names(Section::Channel);
    for facts in facts().filter(|facts| facts.reads == Reads::DeadLetters) {
        for name in &facts.channels {
            // A variable spells names in its own way.
            let is_configured = || configured.iter().any(|known| alike(&known.value, name));
            if known.contains(name.as_str()) || is_configured() {
                continue;
            }
            let meant = nearest(name, known.iter().copied())
                .map(|nearest| format!("did you mean \"{nearest}\"? Otherwise "))
                .unwrap_or_default();
            mistakes.add(
                place_of(facts.place),
                format!(
                    "the dead letters of \"{name}\" are read, and nothing here reads, writes or configures that channel"
                ),
                format!("{meant}name it by .publishes({name:?})"),
            );
        }
    }
}

fn alike(one: &str, other: &str) -> bool {
    let plain = |name: &str| name.to_lowercase().replace(['-', '.'], "_");
    plain(one) == plain(other)
}

/// Every name with the place where it is first spoken of.
fn names(service: &Service) -> BTreeMap<String, String> {
    let mut names = BTreeMap::new();
    let mut note = |name: &str, place: &std::panic::Location<'_>| {
        names.entry(name.to_owned()).or_insert_with(|| place_of(place));
    };
    for declared in &service.channels {
        note(&declared.name, declared.place);
    }
    for subscription in &service.subscriptions {
        let facts = &subscription.facts;
        let spoken = facts.channels.iter().chain(&facts.output);
        spoken.for_each(|name| note(name, facts.place));
    }
    for producer in &service.producers {
        producer
            .facts
            .output
            .iter()
            .for_each(|name| note(name, producer.facts.place));
    }
    names
}

/// What code says of a channel, each with its place.
#[derive(Default)]
struct Said {
    destination: Option<Setting<String>>,
    binder: Option<Setting<String>>,
    partitions: Option<Setting<u32>>,
    create: Option<Setting<Create>>,
    retention_time: Option<Setting<Duration>>,
    retention_bytes: Option<Setting<u64>>,
    cleanup: Option<Setting<Cleanup>>,
    claims: claims::Said,
    #[cfg(feature = "rabbitmq")]
    rabbitmq: Option<Setting<tidings_rabbitmq::DestinationOptions>>,
}

/// A channel may be declared in several merged apps; what they say must not differ.
fn merged<'a>(declared: impl Iterator<Item = &'a DeclaredChannel>, mistakes: &mut Mistakes) -> Said {
    let mut said = Said::default();
    for DeclaredChannel { name, channel, place } in declared {
        let place = place_of(place);
        let Channel {
            destination,
            binder,
            partitions,
            create,
            retention_time,
            retention_bytes,
            cleanup,
            claim_check,
            claim_store,
            claim_max_bytes,
            #[cfg(feature = "rabbitmq")]
            rabbitmq,
        } = channel;
        let mut conflict = |what: &str, earlier: Origin| {
            mistakes.add(
                &place,
                format!(
                    "channel \"{name}\" gets another {what} than at {}",
                    place_in(&earlier)
                ),
                "say it once, or say the same",
            );
        };
        add(&mut said.destination, destination, &place, |earlier| {
            conflict("destination", earlier)
        });
        add(&mut said.binder, binder, &place, |earlier| {
            conflict("binder", earlier)
        });
        add(&mut said.partitions, partitions, &place, |earlier| {
            conflict("number of partitions", earlier)
        });
        add(&mut said.create, create, &place, |earlier| {
            conflict("rule for creating it", earlier)
        });
        add(&mut said.retention_time, retention_time, &place, |earlier| {
            conflict("retention", earlier)
        });
        add(&mut said.retention_bytes, retention_bytes, &place, |earlier| {
            conflict("retention", earlier)
        });
        add(&mut said.cleanup, cleanup, &place, |earlier| {
            conflict("cleanup", earlier)
        });
        add(&mut said.claims.above_bytes, claim_check, &place, |earlier| {
            conflict("claim_check", earlier)
        });
        add(&mut said.claims.store, claim_store, &place, |earlier| {
            conflict("claim store", earlier)
        });
        add(&mut said.claims.max_bytes, claim_max_bytes, &place, |earlier| {
            conflict("claim_max_bytes", earlier)
        });
        #[cfg(feature = "rabbitmq")]
        add(&mut said.rabbitmq, rabbitmq, &place, |earlier| {
            conflict("exchange and queues on RabbitMQ", earlier)
        });
    }
    said
}

fn add<T: Clone + PartialEq>(
    said: &mut Option<Setting<T>>,
    value: &Option<T>,
    place: &str,
    conflict: impl FnOnce(Origin),
) {
    let Some(value) = value else { return };
    match said {
        None => *said = Some(Setting::new(value.clone(), Origin::code(place))),
        Some(earlier) if earlier.value != *value => conflict(earlier.origin.clone()),
        Some(_) => {}
    }
}

fn planned(name: String, code: Said, config: ChannelConfig, mistakes: &mut Mistakes) -> PlannedChannel {
    let destination = layered(name.clone(), code.destination, config.destination.clone());
    let claims = claims::plan(&name, &destination.value, code.claims, &config, mistakes);
    let partitions = layered(DEFAULT_PARTITIONS, code.partitions, config.partitions);
    if partitions.value == 0 || partitions.value > 10_000 {
        mistakes.add(
            place_in(&partitions.origin),
            format!("channel \"{name}\" has {} partitions", partitions.value),
            "1 to 10000 are possible",
        );
    }
    let time = config
        .retention_time
        .map(|setting| setting.map(|limit| limit.unwrap_or(FOR_EVER)));
    let bytes = config
        .retention_bytes
        .map(|setting| setting.map(|limit| limit.unwrap_or(u64::MAX)));
    let cleanup = cleanup(
        &name,
        code.cleanup,
        config.cleanup,
        config.tombstone_retention,
        mistakes,
    );
    let pattern = patterns::of(&name, &destination, mistakes);
    PlannedChannel {
        #[cfg(feature = "rabbitmq")]
        rabbitmq: super::rabbitmq::plan(&name, code.rabbitmq, &config.rabbitmq, mistakes),
        pattern,
        cleanup,
        claims,
        destination,
        binder: layered("main".to_owned(), code.binder, config.binder),
        partitions,
        create: layered(
            Create::IfMissing,
            code.create,
            config.create.map(|setting| setting.map(convert::create)),
        ),
        retention_time: time.or(code.retention_time),
        retention_bytes: bytes.or(code.retention_bytes),
        name,
    }
}

/// What configuration says comes first; a time for tombstones needs something that is compacted.
fn cleanup(
    name: &str,
    code: Option<Setting<Cleanup>>,
    config: Option<Setting<tidings_config::Cleanup>>,
    tombstone_retention: Option<Setting<Duration>>,
    mistakes: &mut Mistakes,
) -> Option<Setting<Cleanup>> {
    let said = config.map(|setting| setting.map(convert::cleanup)).or(code);
    let Some(retention) = tombstone_retention else {
        return said;
    };
    match said {
        Some(said) if matches!(said.value, Cleanup::Compact { .. }) => Some(said.map(|_| Cleanup::Compact {
            tombstone_retention: Some(retention.value),
        })),
        said => {
            mistakes.add(
                place_in(&retention.origin),
                format!("channel \"{name}\" has a tombstone_retention and is not compacted"),
                "say cleanup = \"compact\" too, or leave it out",
            );
            said
        }
    }
}

/// Two channels may lead to one destination, but not with different numbers of partitions.
fn check_shared_destinations(channels: &BTreeMap<String, PlannedChannel>, mistakes: &mut Mistakes) {
    let mut seen: BTreeMap<(&str, &str), &PlannedChannel> = BTreeMap::new();
    for channel in channels
        .values()
        .filter(|channel| channel.partitions.origin != Origin::Default)
    {
        let home = (channel.binder.value.as_str(), channel.destination.value.as_str());
        let first = *seen.entry(home).or_insert(channel);
        if first.partitions.value != channel.partitions.value {
            mistakes.add(
                place_in(&channel.partitions.origin),
                format!(
                    "channels \"{}\" and \"{}\" are both \"{}\", with {} and {} partitions",
                    first.name, channel.name, home.1, first.partitions.value, channel.partitions.value
                ),
                "give both the same number, or one of them another destination",
            );
        }
    }
}
