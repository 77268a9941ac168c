//! How messages are received: [`Consuming`].

use super::ClientOptions;
use std::time::Duration;

/// What kind of queue is declared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum QueueType {
    /// Replicated among the nodes of a cluster by consensus; counts deliveries.
    #[default]
    Quorum,
    /// On one node.
    Classic,
    /// A log. Only for a destination: what is published is kept in `{destination}.stream`, from which subscriptions
    /// without a group read from where they say; groups have queues of the binder's kind.
    Stream,
}

impl QueueType {
    /// Its name in the argument `x-queue-type`.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Quorum => "quorum",
            Self::Classic => "classic",
            Self::Stream => "stream",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Consuming {
    pub(crate) queue_type: QueueType,
    pub(crate) prefetch: u16,
    pub(crate) single_active_consumer: bool,
    pub(crate) delivery_limit: Option<u32>,
    pub(crate) longest_hold: Duration,
    pub(crate) letter_bytes: u64,
}

impl Default for Consuming {
    fn default() -> Self {
        Self {
            queue_type: QueueType::default(),
            prefetch: 1_000,
            single_active_consumer: true,
            delivery_limit: Some(20),
            // The server takes a message back after half an hour. The rest is for what queues in front of it.
            longest_hold: Duration::from_secs(15 * 60),
            letter_bytes: 8 << 20,
        }
    }
}

impl ClientOptions {
    /// With queues of another kind than quorum queues, where they are declared: classic ones.
    #[must_use]
    pub fn with_queue_type(mut self, queue_type: QueueType) -> Self {
        self.consuming.queue_type = queue_type;
        self
    }

    /// With another number than 1,000 of messages that a queue hands over before one of them is finished, at least 1.
    #[must_use]
    pub fn with_prefetch(mut self, messages: u16) -> Self {
        self.consuming.prefetch = messages.max(1);
        self
    }

    /// Whether one instance of a service receives at a time, which keeps the order of keys among all of them. The next
    /// takes over when it goes.
    #[must_use]
    pub fn with_single_active_consumer(mut self, single: bool) -> Self {
        self.consuming.single_active_consumer = single;
        self
    }

    /// With another number than 20 of deliveries after which a quorum queue gives a message to its dead letters; none for
    /// what the server does by itself.
    #[must_use]
    pub fn with_delivery_limit(mut self, limit: Option<u32>) -> Self {
        self.consuming.delivery_limit = limit;
        self
    }

    /// With another time than 15 minutes for which a message is held at the most: half of the server's `consumer_timeout`.
    #[must_use]
    pub fn with_longest_hold(mut self, time: Duration) -> Self {
        self.consuming.longest_hold = time;
        self
    }

    /// With another number than 8 MiB of bytes of dead letters that are in memory while somebody goes through them; one
    /// letter always is.
    #[must_use]
    pub fn with_letter_bytes(mut self, bytes: u64) -> Self {
        self.consuming.letter_bytes = bytes;
        self
    }

    pub(crate) fn consuming(&self) -> &Consuming {
        &self.consuming
    }
}
