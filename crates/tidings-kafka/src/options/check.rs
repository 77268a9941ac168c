//! Whether a property exists, is the user's to set and takes its value.

use super::names::{self, Scope};
use crate::error::KafkaError;
use crate::security::{AWS_MSK_IAM, is_ours};
use rdkafka::ClientConfig;
use std::collections::BTreeMap;
use tidings_config::nearest;

/// What stands for a value that is not shown.
const HIDDEN: &str = "***";

/// Properties that Tidings sets, and why nobody else does. Both spellings of each.
const RESERVED: &[(&str, &str)] = &[
    ("bootstrap.servers", SERVERS),
    ("metadata.broker.list", SERVERS),
    (
        "group.id",
        "each subscription names its group: [subscription.…] group = \"…\"",
    ),
    ("enable.auto.commit", COMMIT),
    ("auto.commit.enable", COMMIT),
    ("auto.commit.interval.ms", COMMIT),
    ("enable.auto.offset.store", COMMIT),
    ("offset.store.method", COMMIT),
    ("offset.store.path", COMMIT),
    ("offset.store.sync.interval.ms", COMMIT),
    (
        "auto.offset.reset",
        "where a group begins is set per subscription: [subscription.…] start = \"earliest\"",
    ),
    (
        "enable.partition.eof",
        "Tidings reads the ends of partitions to know when a retry lane was read completely",
    ),
    (
        "delivery.report.only.error",
        "a receipt resolves when the broker has the message, so successes must be reported too",
    ),
    (
        "produce.offset.report",
        "a receipt resolves to the message's offset",
    ),
    (
        "sticky.partitioning.linger.ms",
        "Tidings spreads messages without a key itself, by runs",
    ),
    ("log.queue", "log lines go to the log of the service"),
    (
        "internal.termination.signal",
        "the service handles its signals itself",
    ),
];
const SERVERS: &str = "the brokers are in the URL: kafka://host:9092,host:9092";
const COMMIT: &str = "Tidings commits only what is handled; how often is set per subscription";

/// Properties whose value a promise depends on: name, what it may be, the promise.
const FIXED: &[(&str, &[&str], &str)] = &[
    ("acks", ALL, DURABLE),
    ("request.required.acks", ALL, DURABLE),
    (
        "enable.idempotence",
        &["true", "1", "t"],
        "without it a retried message is stored twice and the order of a partition is lost",
    ),
    (
        "partitioner",
        &["murmur2_random", "murmur2"],
        "a key has the partition that Kafka's Java client would choose",
    ),
    (
        "queuing.strategy",
        &["fifo"],
        "messages of a partition keep their order",
    ),
];
const ALL: &[&str] = &["all", "-1"];
const DURABLE: &str = "a receipt means that every replica in sync has the message";

/// Who a property is for, by the prefix before its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    Consumer,
    Producer,
}

/// A property as it was written, split into its prefix and the client's name.
pub(super) fn role_of(name: &str) -> (Option<Role>, &str) {
    let prefixes = [("consumer.", Role::Consumer), ("producer.", Role::Producer)];
    let found = prefixes
        .iter()
        .find_map(|(prefix, role)| Some((*role, name.strip_prefix(prefix)?)));
    found.map_or((None, name), |(role, rest)| (Some(role), rest))
}

/// Whether a property is for clients of that role.
pub(super) fn is_for(written: &str, role: Role) -> bool {
    let (wanted, name) = role_of(written);
    let scope = match names::scope(name) {
        Some(Scope::Consumer) => role == Role::Consumer,
        Some(Scope::Producer) => role == Role::Producer,
        Some(Scope::Both) | None => true,
    };
    scope && wanted.is_none_or(|wanted| wanted == role)
}

/// Whether the value of a property is not shown anywhere.
pub(super) fn is_secret(written: &str) -> bool {
    let (_, name) = role_of(written);
    ["password", "passphrase", "secret", "jaas", "ssl.key.pem"]
        .iter()
        .any(|word| name.contains(word))
        || name.ends_with("private.key.pem")
        || name == "sasl.oauthbearer.config"
        || name == "sasl.oauthbearer.extensions"
}

/// A value as it may be shown.
pub(super) fn shown<'a>(written: &str, value: &'a str) -> &'a str {
    if is_secret(written) { HIDDEN } else { value }
}

/// Checks properties one by one: the first that is wrong is named.
pub(super) fn check(properties: &BTreeMap<String, String>) -> Result<(), KafkaError> {
    properties
        .iter()
        .try_for_each(|(written, value)| one(written, value))
}

fn one(written: &str, value: &str) -> Result<(), KafkaError> {
    let (_, name) = role_of(written);
    if let Some((_, reason)) = RESERVED.iter().find(|(reserved, _)| *reserved == name) {
        return Err(KafkaError::Reserved {
            name: written.to_owned(),
            reason: (*reason).to_owned(),
        });
    }
    if names::scope(name).is_none() {
        return Err(KafkaError::UnknownProperty {
            name: written.to_owned(),
            nearest: nearest(name, names::names()).map(str::to_owned),
        });
    }
    let fixed = FIXED.iter().find(|(fixed, ..)| *fixed == name);
    let other = |allowed: &[&str]| !allowed.contains(&value.to_ascii_lowercase().as_str());
    if let Some((_, allowed, promise)) = fixed.filter(|(_, allowed, _)| other(allowed)) {
        let first = allowed.first().copied().unwrap_or_default();
        return Err(bad_value(written, value, format!("only {first}: {promise}")));
    }
    taken(written, name, value)
}

/// Asks the client whether it takes the value.
fn taken(written: &str, name: &str, value: &str) -> Result<(), KafkaError> {
    if name == "sasl.oauthbearer.method" && !matches!(value.to_ascii_lowercase().as_str(), "oidc" | "default")
    {
        return Err(bad_value(written, value, "it is oidc or default".to_owned()));
    }
    let of_msk =
        matches!(name, "sasl.mechanism" | "sasl.mechanisms") && value.eq_ignore_ascii_case(AWS_MSK_IAM);
    if is_ours(name) || of_msk {
        return Ok(());
    }
    let mut config = ClientConfig::new();
    config.set(name, value);
    let reason = match config.create_native_config() {
        Ok(_) => return Ok(()),
        Err(rdkafka::error::KafkaError::ClientConfig(_, reason, _, _)) => reason,
        Err(error) => error.to_string(),
    };
    // The client's words may repeat the value.
    if is_secret(written) && reason.contains(value) {
        return Err(bad_value(written, value, "the client refuses it".to_owned()));
    }
    Err(bad_value(written, value, reason))
}

fn bad_value(written: &str, value: &str, reason: String) -> KafkaError {
    KafkaError::BadValue {
        name: written.to_owned(),
        value: format!("\"{}\"", shown(written, value)),
        reason,
    }
}
