//! Topics that are read and are not there: [`Missing`].
//!
//! librdkafka tells of them once and under the older group protocol only; of a topic that was deleted it takes the
//! partitions away without a word. And it may take the five minutes of `topic.metadata.refresh.interval.ms` to see that
//! a topic is gone, or made again. So topics are looked for of which a member reads nothing, or that seem to be gone.

use super::KafkaSource;
use super::inbox::News;
use crate::background::background;
use crate::native::Consumer;
use crate::trouble::Fault;
use rdkafka::error::RDKafkaErrorCode as Code;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use tidings_core::SourceError;
use tokio::time::Instant;

/// So long a topic may be unread, or unknown to a broker, before it is looked for: others may read it, and what one
/// broker knows takes a moment to reach the others.
const LOOK_AFTER: Duration = Duration::from_secs(2);
/// How often a topic that is missing is looked for.
const LOOK_AGAIN: Duration = Duration::from_secs(2);

/// Topics of a subscription that do not exist.
#[derive(Debug)]
pub(super) struct Missing {
    /// Under which the broker's health knows of it.
    name: u64,
    topics: BTreeSet<Arc<str>>,
    /// Partitions that were chosen and do not exist.
    absent: Vec<u32>,
    /// Topics that were missing, until they are read again.
    remade: BTreeSet<Arc<str>>,
    /// Topics that seem to be gone, and why.
    suspects: BTreeMap<Arc<str>, Fault>,
    looks_at: Option<Instant>,
    is_looking: bool,
}

/// A topic, and whether it is there.
pub(crate) type Sight = (Arc<str>, bool);

impl Missing {
    pub(super) fn new(name: u64) -> Self {
        Self {
            name,
            topics: BTreeSet::new(),
            absent: Vec::new(),
            remade: BTreeSet::new(),
            suspects: BTreeMap::new(),
            looks_at: None,
            is_looking: false,
        }
    }

    /// When to look.
    pub(super) fn due(&self) -> Option<Instant> {
        self.looks_at.filter(|_| !self.is_looking)
    }

    /// Whether the topic was missing while this member was there, and is read for the first time since.
    pub(super) fn is_back(&self, topic: &str) -> bool {
        self.remade.contains(topic)
    }

    /// The topic is read.
    pub(super) fn is_read(&mut self, topic: &str) {
        self.remade.remove(topic);
    }
}

impl KafkaSource {
    /// Partitions have come or gone: what is read of which topic may have changed.
    pub(super) fn look_for_topics_soon(&mut self) {
        let looks = self.plan.group.is_some() && !self.topics_to_look_for().is_empty();
        if looks && self.missing.looks_at.is_none() {
            self.missing.looks_at = Some(Instant::now() + LOOK_AFTER);
        }
    }

    /// A broker does not know a topic; all that are read where it does not say which.
    pub(super) fn suspect(&mut self, topic: Option<&str>, fault: &Fault) {
        let topics = self.plan.destinations().filter(|known| {
            let is_meant = topic.is_none_or(|topic| topic == &***known);
            is_meant && self.lanes.reads(known)
        });
        let suspects: Vec<_> = topics.cloned().collect();
        for topic in suspects {
            self.missing.suspects.insert(topic, fault.clone());
        }
        self.look_for_topics_soon();
    }

    /// Those of which nothing is read, those that seem to be gone, those that are.
    fn topics_to_look_for(&self) -> BTreeSet<Arc<str>> {
        let topics = self.plan.destinations();
        let unread = topics.filter(|topic| !self.lanes.reads(topic)).cloned();
        let missing = &self.missing;
        let known = missing.topics.iter().chain(missing.suspects.keys()).cloned();
        unread.chain(known).collect()
    }

    /// What is not to be read any more is not missing either.
    pub(super) fn forget_others(&mut self) {
        let before = self.missing.topics.len();
        let plan = &self.plan;
        self.missing.topics.retain(|topic| plan.reads(topic));
        self.missing.remade.retain(|topic| plan.reads(topic));
        self.missing.suspects.retain(|topic, _| plan.reads(topic));
        if self.missing.topics.len() != before {
            self.show_missing();
        }
    }

    /// Partitions that were chosen and are in no topic are waited for: a line of the log says it, and health as long as
    /// they are not there. Only a source without a group has chosen partitions, and that looks for no topics.
    pub(super) fn tell_of_absent(&mut self, places: &[(String, u32)]) {
        let absent = self.plan.absent(places);
        if absent == self.missing.absent {
            return;
        }
        let subscription = &self.plan.subscription;
        let told = (!absent.is_empty()).then(|| {
            format!(
                "{subscription}: its topics have no partitions {absent:?}, which are waited for: correct `partitions` of the subscription, or give the topics more"
            )
        });
        if let Some(told) = &told {
            tracing::warn!(%subscription, "{told}");
        }
        self.shared.set_trouble(self.missing.name, told);
        self.missing.absent = absent;
    }

    /// Nobody is told of a missing topic any more.
    pub(super) fn forget_missing(&mut self) {
        self.missing.looks_at = None;
        self.missing.topics.clear();
        self.shared.set_trouble(self.missing.name, None);
    }

    /// Looks, on another thread, for topics of which nothing is read.
    pub(super) fn look_for_topics(&mut self) {
        if self.missing.due().is_none_or(|at| at > Instant::now()) {
            return;
        }
        self.missing.looks_at = None;
        let topics = self.topics_to_look_for();
        if topics.is_empty() {
            return;
        }
        self.missing.is_looking = true;
        let (consumer, timeout) = (self.consumer.clone(), self.plan.request_timeout);
        // Who reads a topic that is gone, or does not read one that is back.
        let doubtful = self.missing.topics.iter().chain(self.missing.suspects.keys());
        let doubtful: BTreeSet<_> = doubtful.cloned().collect();
        let before = self.missing.topics.clone();
        background("tidings-kafka-topics", move || {
            let seen: Vec<Sight> = topics
                .into_iter()
                .filter_map(|topic| exists(&consumer, &topic, timeout).map(|exists| (topic, exists)))
                .collect();
            let mut changes = seen
                .iter()
                .filter(|(topic, exists)| doubtful.contains(topic) && *exists == before.contains(topic));
            if changes.next().is_some() {
                // What is seen of all topics reaches the group at once, what is seen of one does not.
                let _ = consumer.client().fetch_metadata(None, timeout);
            }
            consumer.inbox().tell(News::Seen(seen));
        });
    }

    pub(super) fn on_seen(&mut self, seen: Vec<Sight>) {
        self.missing.is_looking = false;
        let mut changed = false;
        for (topic, exists) in seen {
            let suspected = self.missing.suspects.remove(&topic);
            if exists {
                changed |= self.missing.topics.remove(&topic);
                if let Some(fault) = suspected {
                    // It is there, and its partitions cannot be read.
                    self.on_fault(&fault);
                }
            } else if self.plan.reads(&topic) && self.missing.topics.insert(topic.clone()) {
                changed = true;
                self.missing.remade.insert(topic.clone());
                self.tell_missing(&topic);
            }
        }
        if changed {
            self.show_missing();
        }
        if !self.missing.topics.is_empty() {
            self.missing.looks_at = Some(Instant::now() + LOOK_AGAIN);
        }
    }

    fn show_missing(&self) {
        let told = (!self.missing.topics.is_empty()).then(|| self.missing_in_words());
        self.shared.set_trouble(self.missing.name, told);
    }

    /// To the engine, which shows it as what this subscription waits for.
    fn tell_missing(&mut self, topic: &str) {
        let reason = in_words(&format!("the topic \"{topic}\" does"));
        self.errors.push_back(SourceError::Unavailable { reason });
    }

    fn missing_in_words(&self) -> String {
        let names: Vec<_> = self
            .missing
            .topics
            .iter()
            .map(|topic| format!("\"{topic}\""))
            .collect();
        let what = match names.as_slice() {
            [one] => format!("the topic {one} does"),
            _ => format!("the topics {} do", names.join(", ")),
        };
        format!("{}: {}", self.plan.subscription, in_words(&what))
    }
}

fn in_words(what: &str) -> String {
    format!(
        "{what} not exist any more: it was deleted; create it again, and it is read from its first message, or take it out of the subscription"
    )
}

/// Whether there is such a topic; none if that cannot be found out now.
fn exists(consumer: &Consumer, topic: &str, timeout: Duration) -> Option<bool> {
    let found = consumer.client().fetch_metadata(Some(topic), timeout).ok()?;
    let found = found.topics().iter().find(|found| found.name() == topic)?;
    match found.error().map(Code::from) {
        None => Some(true),
        Some(Code::UnknownTopicOrPartition | Code::UnknownTopic) => Some(false),
        Some(_) => None,
    }
}
