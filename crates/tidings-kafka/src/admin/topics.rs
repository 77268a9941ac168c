//! Topics: made if they are missing, never changed, checked if that is asked for.

use super::native::{Asking, At, END, Messages, NewTopic};
use super::{Asked, KafkaAdmin};
use crate::client::TopicFacts;
use crate::options::Existing;
use crate::trouble::Fault;
use rdkafka::error::RDKafkaErrorCode as Code;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tidings_core::{BinderError, Cleanup, Create, DestinationInfo, DestinationRole, DestinationSpec};

/// The most bytes that a name may have.
const MAX_NAME_BYTES: usize = 249;
/// How often it is looked whether a new topic is known everywhere.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// How long the leaders of a topic that was there are waited for: somebody else may just have made it.
const LEADERS_OF_OTHERS: Duration = Duration::from_secs(2);

impl KafkaAdmin {
    /// Makes sure that a topic exists; it is never changed.
    ///
    /// # Errors
    /// [`BinderError::UnknownDestination`], [`BinderError::InvalidName`], a difference to what is asked for where that
    /// is checked, or that the broker refuses or is away.
    pub async fn prepare(&self, spec: DestinationSpec) -> Result<DestinationInfo, BinderError> {
        check_name(&spec.name)?;
        let settings = self.settings_of(&spec);
        let (existing, replication) = (self.options.existing(), self.options.replication());
        let wanted = spec.clone();
        let asked = self.ask(format!("preparing the topic \"{}\"", spec.name), move |asking| {
            let topic = Preparing {
                asking,
                spec: &wanted,
                settings: &settings,
                replication,
            };
            topic.prepare(existing)
        });
        let prepared = asked.await?.ok_or(BinderError::UnknownDestination {
            destination: spec.name.clone(),
        })?;
        let facts = self.topics.of(&spec.name);
        prepared.tell(&facts);
        Ok(DestinationInfo {
            name: spec.name,
            partitions: prepared.partitions,
        })
    }

    /// All topics but Kafka's own, sorted by name.
    ///
    /// # Errors
    /// That the broker is away.
    pub async fn destinations(&self) -> Result<Vec<DestinationInfo>, BinderError> {
        let asked = self.ask("listing the topics".to_owned(), |asking| {
            Ok(asking.producer.topics(asking.timeout)?)
        });
        let mut topics = asked.await?;
        topics.retain(|(name, partitions)| !name.starts_with("__") && *partitions > 0);
        topics.sort();
        let info = |(name, partitions): (String, u32)| DestinationInfo {
            name: name.into(),
            partitions,
        };
        Ok(topics.into_iter().map(info).collect())
    }

    /// What the broker is told of a topic that is made: what the channel asks for wins over the binder's settings.
    fn settings_of(&self, spec: &DestinationSpec) -> Vec<(String, String)> {
        let mut settings = self.options.topic_settings().clone();
        settings.extend(asked_for(spec));
        settings.into_iter().collect()
    }
}

/// Nothing goes by itself.
const KEPT: [(&str, &str); 3] = [
    ("cleanup.policy", "delete"),
    ("retention.bytes", "-1"),
    ("retention.ms", "-1"),
];

/// Whether what is in it is nowhere else.
fn keeps_all(role: DestinationRole) -> bool {
    matches!(role, DestinationRole::Retry | DestinationRole::DeadLetters)
}

/// What a channel asks for, in the broker's words.
fn asked_for(spec: &DestinationSpec) -> BTreeMap<String, String> {
    if keeps_all(spec.role) {
        return KEPT
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into();
    }
    let mut settings = BTreeMap::new();
    let mut set = |name: &str, value: String| {
        settings.insert(name.to_owned(), value);
    };
    if let Some(time) = spec.retention_time {
        let millis = i64::try_from(time.as_millis()).unwrap_or(i64::MAX);
        set("retention.ms", millis.to_string());
    }
    if let Some(bytes) = spec.retention_bytes {
        set(
            "retention.bytes",
            i64::try_from(bytes).unwrap_or(i64::MAX).to_string(),
        );
    }
    match spec.cleanup {
        None => {}
        Some(Cleanup::Compact { tombstone_retention }) => {
            let bounded = spec.retention_time.is_some() || spec.retention_bytes.is_some();
            if bounded && spec.retention_time.is_none() {
                // Only the size is asked for; Kafka's seven days would apply too.
                set("retention.ms", "-1".to_owned());
            }
            set(
                "cleanup.policy",
                if bounded { "compact,delete" } else { "compact" }.to_owned(),
            );
            if let Some(time) = tombstone_retention {
                let millis = i64::try_from(time.as_millis()).unwrap_or(i64::MAX);
                set("delete.retention.ms", millis.to_string());
            }
        }
        Some(_) => set("cleanup.policy", "delete".to_owned()),
    }
    settings
}

/// What is known of a topic that exists now.
#[derive(Debug)]
struct Prepared {
    partitions: u32,
    max_message_bytes: Option<u64>,
}

impl Prepared {
    fn tell(&self, facts: &Arc<TopicFacts>) {
        facts.has_partitions(self.partitions);
        if let Some(bytes) = self.max_message_bytes {
            facts.takes_messages_of(bytes);
        }
    }
}

/// A topic on its way to existing.
struct Preparing<'a> {
    asking: Asking<'a>,
    spec: &'a DestinationSpec,
    settings: &'a [(String, String)],
    replication: Option<u16>,
}

impl Preparing<'_> {
    /// None if it is missing and may not be made.
    fn prepare(&self, existing: Existing) -> Asked<Option<Prepared>> {
        let name = &*self.spec.name;
        if let Some(partitions) = self.asking.producer.partitions(name, self.asking.timeout)? {
            self.meet_leaders(partitions);
            let settings = self.settings_there();
            match existing {
                Existing::Validate => self.validate(partitions, &settings)?,
                Existing::Take => self.warn_of_loss(settings.as_ref().ok()),
            }
            return Ok(Some(prepared(partitions, &settings.unwrap_or_default())));
        }
        if self.spec.create == Create::Never {
            return Ok(None);
        }
        match self.create() {
            // Somebody else was quicker; what they made is not changed either.
            Err(fault) if fault.code == Code::TopicAlreadyExists => {}
            other => other?,
        }
        let partitions = self.known_everywhere()?;
        let settings = self.settings_there();
        Ok(Some(prepared(partitions, &settings.unwrap_or_default())))
    }

    fn create(&self) -> Result<(), Fault> {
        self.asking.create_topic(&NewTopic {
            name: &self.spec.name,
            partitions: self.spec.partitions.max(1),
            replication: self.replication,
            settings: self.settings,
        })
    }

    /// The settings of the topic. A user may lack the right to see them, who may well use the topic.
    fn settings_there(&self) -> Result<BTreeMap<String, String>, Fault> {
        self.asking.topic_settings(&self.spec.name)
    }

    /// Waits until the broker names the partitions of a new topic.
    fn known_everywhere(&self) -> Result<u32, Fault> {
        let deadline = Instant::now() + self.asking.timeout;
        loop {
            let known = self
                .asking
                .producer
                .led_partitions(&self.spec.name, self.asking.timeout)?;
            match known {
                Some(partitions) if self.is_led(partitions, deadline) => return Ok(partitions),
                _ if Instant::now() >= deadline => {
                    let reason = "it was made, but no broker names its partitions yet: try again";
                    return Err(Fault::new(Code::OperationTimedOut, reason.to_owned()));
                }
                _ => std::thread::sleep(LOOK_EVERY),
            }
        }
    }

    /// Waits a while until those answer who lead the partitions of a topic that was there already. One that has no leader
    /// for another reason keeps nobody from starting.
    fn meet_leaders(&self, partitions: u32) {
        let deadline = Instant::now() + self.asking.timeout.min(LEADERS_OF_OTHERS);
        let led = |timeout| self.asking.producer.led_partitions(&self.spec.name, timeout);
        while matches!(led(left(deadline)), Ok(Some(_)))
            && !self.is_led(partitions, deadline)
            && Instant::now() < deadline
        {
            std::thread::sleep(LOOK_EVERY);
        }
    }

    /// Whether every partition's leader knows that it is the leader. A broker is named as the leader of a new partition
    /// before it is one, and refuses what is published meanwhile: of what is under way by then, a later part could be
    /// kept without an earlier one.
    fn is_led(&self, partitions: u32, deadline: Instant) -> bool {
        let ends = (0..partitions).map(|partition| At::new(&self.spec.name, partition, END));
        let asking = Asking {
            timeout: left(deadline),
            ..self.asking
        };
        match asking.offsets(&ends.collect::<Vec<_>>(), Messages::All) {
            Ok(_) => true,
            // Whoever may not ask may well publish.
            Err(fault) => matches!(
                fault.code,
                Code::TopicAuthorizationFailed | Code::ClusterAuthorizationFailed
            ),
        }
    }

    /// Somebody else has made the topic in which messages wait, or are dead: the broker may delete them by itself.
    fn warn_of_loss(&self, there: Option<&BTreeMap<String, String>>) {
        let Some(there) = there.filter(|_| keeps_all(self.spec.role)) else {
            return;
        };
        let differences = differing(&asked_for(self.spec), there);
        if !differences.is_empty() {
            tracing::warn!(
                topic = %self.spec.name,
                settings = differences.join("; "),
                "the broker may delete messages that wait in this topic, or are dead and were not looked at; alter its settings"
            );
        }
    }

    /// Refuses a topic that is not as it is asked for, with both sides of each difference.
    fn validate(&self, partitions: u32, there: &Result<BTreeMap<String, String>, Fault>) -> Asked<()> {
        let mut differences = Vec::new();
        if partitions != self.spec.partitions {
            differences.push(format!(
                "it has {partitions} partitions, {} are asked for",
                self.spec.partitions
            ));
        }
        let asked = asked_for(self.spec);
        if !asked.is_empty() {
            differences.extend(differing(&asked, there.as_ref().map_err(Clone::clone)?));
        }
        if differences.is_empty() {
            return Ok(());
        }
        let cure = "change the topic or the [channel.…], or take it as it is";
        Err(Fault::new(
            Code::PolicyViolation,
            format!("{}: {cure}", differences.join("; ")),
        )
        .into())
    }
}

/// What is left of the time, and at least a moment.
fn left(deadline: Instant) -> Duration {
    deadline.saturating_duration_since(Instant::now()).max(LOOK_EVERY)
}

fn differing(asked: &BTreeMap<String, String>, there: &BTreeMap<String, String>) -> Vec<String> {
    let normal = |value: &str| {
        let mut parts: Vec<&str> = value.split(',').map(str::trim).collect();
        parts.sort_unstable();
        parts.join(",")
    };
    let differing = asked.iter().filter_map(|(name, value)| {
        let found = there.get(name).map_or("not set", String::as_str);
        (normal(found) != normal(value)).then(|| format!("its {name} is {found}, {value} is asked for"))
    });
    differing.collect()
}

fn prepared(partitions: u32, settings: &BTreeMap<String, String>) -> Prepared {
    let bytes = settings.get("max.message.bytes");
    Prepared {
        partitions,
        max_message_bytes: bytes.and_then(|bytes| bytes.parse().ok()),
    }
}

/// Refuses names that no topic may have.
pub(super) fn check_name(name: &str) -> Result<(), BinderError> {
    let reason = if name.is_empty() {
        "it is empty"
    } else if name.len() > MAX_NAME_BYTES {
        "it has more than 249 bytes"
    } else if name == "." || name == ".." {
        "it is a directory's name"
    } else if !name
        .chars()
        .all(|c| c.is_ascii_alphanumeric() || "._-".contains(c))
    {
        "a topic's name has letters of ASCII, digits, dots, underscores and hyphens"
    } else {
        return Ok(());
    };
    Err(BinderError::InvalidName {
        name: name
            .chars()
            .take(MAX_NAME_BYTES)
            .flat_map(char::escape_debug)
            .collect(),
        reason: reason.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(cleanup: Option<Cleanup>, seconds: Option<u64>, bytes: Option<u64>) -> DestinationSpec {
        DestinationSpec {
            retention_time: seconds.map(Duration::from_secs),
            retention_bytes: bytes,
            cleanup,
            ..DestinationSpec::new("orders", 3)
        }
    }

    fn pairs(spec: &DestinationSpec) -> String {
        let pairs = asked_for(spec)
            .into_iter()
            .map(|(name, value)| format!("{name}={value}"));
        pairs.collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn what_a_channel_asks_for_is_told_in_the_brokers_words() {
        let compact = Some(Cleanup::Compact {
            tombstone_retention: Some(Duration::from_secs(60)),
        });
        for (spec, expected) in [
            (spec(None, None, None), ""),
            (
                spec(Some(Cleanup::Delete), Some(5), None),
                "cleanup.policy=delete retention.ms=5000",
            ),
            (
                spec(compact, None, None),
                "cleanup.policy=compact delete.retention.ms=60000",
            ),
            (
                spec(compact, None, Some(9)),
                "cleanup.policy=compact,delete delete.retention.ms=60000 retention.bytes=9 retention.ms=-1",
            ),
        ] {
            assert_eq!(pairs(&spec), expected);
        }
    }

    #[test]
    fn a_difference_names_both_sides_and_the_order_of_policies_is_none() {
        let of = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
            let owned = pairs
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
            owned.collect()
        };
        let asked = of(&[("cleanup.policy", "compact,delete"), ("retention.ms", "5")]);
        let there = of(&[("cleanup.policy", "delete, compact"), ("retention.ms", "7")]);
        assert_eq!(
            differing(&asked, &there),
            ["its retention.ms is 7, 5 is asked for"]
        );
    }

    #[test]
    fn names_that_kafka_refuses_are_refused_before_it_is_asked() {
        for name in ["", ".", "..", "a/b", "a b", "größe", &"x".repeat(250)] {
            assert!(check_name(name).is_err(), "{name}");
        }
        check_name("orders.v1_eu-west").expect("possible");
    }
}
