//! Retry topics keep what waits for as long as it waits, and nothing that is finished: [`Trimming`].

use crate::admin::KafkaAdmin;
use crate::lock::lock;
use crate::shared::Shared;
use rdkafka::error::RDKafkaErrorCode as Code;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, Weak};
use tokio::task::JoinHandle;

/// So many rounds follow the last report of a group: what it reports is stored a while later.
const ROUNDS: u32 = 2;

/// The retry topics of each group that a binder reads.
#[derive(Debug, Default)]
pub(crate) struct RetryTopics(Mutex<BTreeMap<Arc<str>, OfGroup>>);

#[derive(Debug, Default)]
struct OfGroup {
    topics: BTreeSet<Arc<str>>,
    /// Nobody asks for the positions of a group whose messages do not wait.
    rounds: u32,
}

impl RetryTopics {
    /// A group reads these too from now on.
    pub(crate) fn are_read<'a>(&self, group: &Arc<str>, topics: impl IntoIterator<Item = &'a Arc<str>>) {
        let mut groups = lock(&self.0);
        for topic in topics {
            let of = groups.entry(group.clone()).or_default();
            of.topics.insert(topic.clone());
        }
    }

    /// A group has finished something of them.
    pub(crate) fn have_moved(&self, group: &str) {
        if let Some(of) = lock(&self.0).get_mut(group) {
            of.rounds = ROUNDS;
        }
    }

    /// Those to be looked at in this round.
    fn round(&self) -> Vec<(Arc<str>, BTreeSet<Arc<str>>)> {
        let mut groups = lock(&self.0);
        let moved = groups.iter_mut().filter(|(_, of)| of.rounds > 0);
        let moved = moved.map(|(group, of)| {
            of.rounds -= 1;
            (group.clone(), of.topics.clone())
        });
        moved.collect()
    }
}

/// A partition and up to where it was trimmed.
pub(crate) type Trimmed = BTreeMap<(String, u32), i64>;

/// Deletes from time to time what groups have finished of their retry topics, which no broker may do by itself. Only
/// stored positions count, so it does not matter who deletes, nor how many do. Ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Trimming(JoinHandle<()>);

impl Trimming {
    pub(crate) fn start(shared: &Arc<Shared>, admin: &KafkaAdmin) -> Self {
        let every = shared.options.retry_trim_interval();
        let (shared, admin) = (Arc::downgrade(shared), admin.clone());
        Self(tokio::spawn(async move {
            let mut work = Work::default();
            loop {
                tokio::time::sleep(every).await;
                if !work.once(&shared, &admin).await {
                    return;
                }
            }
        }))
    }
}

impl Drop for Trimming {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// What one round leaves to the next.
#[derive(Default)]
struct Work {
    trimmed: Trimmed,
    /// Where it is not allowed.
    denied: BTreeSet<String>,
}

impl Work {
    /// Goes through all groups once. False when nothing reads any more.
    async fn once(&mut self, shared: &Weak<Shared>, admin: &KafkaAdmin) -> bool {
        let Some(groups) = shared.upgrade().filter(|shared| !shared.is_closed()) else {
            return false;
        };
        let groups = groups.retries.round();
        for (group, mut topics) in groups {
            topics.retain(|topic| !self.denied.contains(&**topic));
            if topics.is_empty() {
                continue;
            }
            match admin.trim(&group, topics, self.trimmed.clone()).await {
                Ok(outcomes) => outcomes.into_iter().for_each(|outcome| self.note(outcome)),
                // Nothing depends on it; health tells of a broker that is away.
                Err(error) => tracing::debug!(%group, %error, "retry topics could not be trimmed"),
            }
        }
        true
    }

    fn note(&mut self, outcome: Outcome) {
        let (topic, partition) = (outcome.topic, outcome.partition);
        match outcome.refused {
            None => {
                self.trimmed.insert((topic, partition), outcome.before);
            }
            Some(Code::TopicAuthorizationFailed) => {
                tracing::warn!(
                    topic,
                    "what is finished of a retry topic cannot be deleted, so it grows: grant DELETE on it to this user"
                );
                self.denied.insert(topic);
            }
            Some(code) => tracing::debug!(topic, partition, ?code, "a retry topic could not be trimmed"),
        }
    }
}

/// What came of trimming one partition.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) topic: String,
    pub(crate) partition: u32,
    /// Where it begins now.
    pub(crate) before: i64,
    pub(crate) refused: Option<Code>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_is_looked_at_for_two_rounds_after_it_moved() {
        let retries = RetryTopics::default();
        let (group, topic): (Arc<str>, Arc<str>) = ("billing".into(), "orders.billing.retry".into());
        retries.are_read(&group, [&topic]);
        retries.have_moved("audit");
        assert_eq!(retries.round(), []);
        retries.have_moved(&group);
        let expected = vec![(group, BTreeSet::from([topic]))];
        for _ in 0..2 {
            assert_eq!(retries.round(), expected);
        }
        assert_eq!(retries.round(), []);
    }

    #[test]
    fn where_it_is_not_allowed_it_is_not_tried_again() {
        let mut work = Work::default();
        let outcome = |partition, refused| Outcome {
            topic: "orders.billing.retry".to_owned(),
            partition,
            before: 7,
            refused,
        };
        work.note(outcome(0, None));
        work.note(outcome(1, Some(Code::NotLeaderForPartition)));
        assert_eq!(work.trimmed, [(("orders.billing.retry".to_owned(), 0), 7)].into());
        assert!(work.denied.is_empty(), "it is tried again");
        work.note(outcome(1, Some(Code::TopicAuthorizationFailed)));
        assert_eq!(work.denied, ["orders.billing.retry".to_owned()].into());
    }
}
