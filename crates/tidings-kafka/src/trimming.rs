//! Retry topics keep what waits for as long as it waits, and nothing that is finished: [`Trimming`].

use crate::admin::{KafkaAdmin, Outcome, Trimmed};
use crate::shared::Shared;
use rdkafka::error::RDKafkaErrorCode as Code;
use std::collections::BTreeSet;
use std::sync::{Arc, Weak};
use tokio::task::JoinHandle;

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

#[cfg(test)]
mod tests {
    use super::*;

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
