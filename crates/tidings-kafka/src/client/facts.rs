//! What is known of topics: how many partitions they have, and how large a message they take.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// What is known of one topic. Zero is not known.
#[derive(Debug, Default)]
pub(crate) struct TopicFacts {
    partitions: AtomicU32,
    max_message_bytes: AtomicU64,
}

impl TopicFacts {
    pub(crate) fn partitions(&self) -> Option<u32> {
        Some(self.partitions.load(Ordering::Relaxed)).filter(|count| *count > 0)
    }

    pub(crate) fn max_message_bytes(&self) -> Option<u64> {
        Some(self.max_message_bytes.load(Ordering::Relaxed)).filter(|bytes| *bytes > 0)
    }

    pub(crate) fn has_partitions(&self, count: u32) {
        self.partitions.store(count, Ordering::Relaxed);
    }

    pub(crate) fn takes_messages_of(&self, bytes: u64) {
        self.max_message_bytes.store(bytes, Ordering::Relaxed);
    }
}

/// What is known of all topics: the admin learns it, the sink uses it.
#[derive(Debug, Default)]
pub(crate) struct Topics {
    facts: Mutex<HashMap<Arc<str>, Arc<TopicFacts>>>,
}

impl Topics {
    /// The facts of a topic, which may be none yet.
    pub(crate) fn of(&self, topic: &str) -> Arc<TopicFacts> {
        let mut facts = self.facts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = facts.get(topic) {
            return known.clone();
        }
        facts.entry(topic.into()).or_default().clone()
    }
}
