//! No value makes a policy that loses messages without a key that says so in its name: [`check`].
//!
//! Most keys cannot lose anything. Those that can are called `lose_…`; a few others do so only with some values, and
//! those values are refused unless the `lose_…` key beside them allows it.

use crate::choice::Fsync;
use crate::config::{Config, Section};
use crate::error::ConfigError;
use crate::human::format_duration;
use crate::key::KeyPath;
use crate::settings::{BinderConfig, Properties};
use std::time::Duration;

/// What a power cut may take unless somebody allows more; the default of `fsync_interval`.
const USUAL_LOSS: Duration = Duration::from_millis(10);

/// Properties of Kafka's client that decide whether messages are lost, the values that do not, and what to write
/// instead.
const KAFKA: &[(&str, &[&str], &str)] = &[
    (
        "acks",
        &["all", "-1"],
        "leave it out; every publish waits for all replicas",
    ),
    (
        "request.required.acks",
        &["all", "-1"],
        "leave it out; every publish waits for all replicas",
    ),
    ("enable.idempotence", &["true"], "leave it out"),
    (
        "enable.auto.commit",
        &["false"],
        "leave it out; progress is stored when the work is done",
    ),
    (
        "enable.auto.offset.store",
        &["false"],
        "leave it out; progress is stored when the work is done",
    ),
    (
        "auto.offset.reset",
        &[],
        "write start in the subscription instead",
    ),
];

/// The same of settings of topics that are created. How long a topic keeps what it holds is no loss but its purpose.
const TOPIC: &[(&str, &[&str], &str)] = &[(
    "unclean.leader.election.enable",
    &["false"],
    "leave it out; a replica that lags must not become the leader, or what it lacks is gone",
)];

/// The values that would lose messages and are not allowed to.
pub(crate) fn check(config: &Config) -> Vec<ConfigError> {
    let names = config.names(Section::Binder);
    names
        .iter()
        .flat_map(|name| binder(&name.value, &config.binder(&name.value)))
        .collect()
}

fn binder(name: &str, binder: &BinderConfig) -> Vec<ConfigError> {
    let table = KeyPath::new([Section::Binder.as_str(), name]);
    let mut errors = properties(&table.child("kafka"), &binder.kafka, KAFKA);
    errors.extend(properties(&table.child("topic"), &binder.topic, TOPIC));
    if binder
        .lose_on_power_cut
        .as_ref()
        .is_some_and(|allowed| allowed.value)
    {
        return errors;
    }
    let mut refuse = |key: &str, origin, value: String| {
        errors.push(ConfigError::MayLoseMessages {
            key: table.child(key).to_string(),
            origin,
            value,
            needs: "lose_on_power_cut",
        });
    };
    // The operating system takes up to half a minute to write by itself.
    if let Some(fsync) = binder.fsync.as_ref().filter(|fsync| fsync.value == Fsync::Os) {
        refuse("fsync", fsync.origin.clone(), "\"os\"".to_owned());
    }
    let interval = binder.fsync_interval.as_ref();
    if let Some(interval) = interval.filter(|interval| interval.value > USUAL_LOSS) {
        let value = format!("\"{}\"", format_duration(interval.value));
        refuse("fsync_interval", interval.origin.clone(), value);
    }
    errors
}

fn properties(
    table: &KeyPath,
    set: &Properties,
    rules: &[(&str, &[&str], &'static str)],
) -> Vec<ConfigError> {
    let refused = rules.iter().filter_map(|(name, harmless, cure)| {
        let found = set.get(*name)?;
        let value = found.value.expose().trim();
        (!harmless.contains(&value.to_ascii_lowercase().as_str())).then(|| ConfigError::ReservedProperty {
            key: table.child(name).to_string(),
            origin: found.origin.clone(),
            // Of these properties none is a secret, but whatever was written there by mistake may be one.
            value: if found.origin.is_secret() || value.len() > 16 {
                crate::redact::HIDDEN.to_owned()
            } else {
                format!("{value:?}")
            },
            cure,
        })
    });
    refused.collect()
}
