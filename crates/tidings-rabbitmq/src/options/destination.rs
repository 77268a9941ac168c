//! What a destination is on the server: [`DestinationOptions`].

use super::consuming::QueueType;
use super::kinds::{ExchangeType, Overflow};
use super::routing_key::RoutingKey;
use std::collections::BTreeMap;
use std::time::Duration;

/// What a destination is on the server, where it is not what it would be by itself: a durable topic exchange with its name,
/// and a queue for each group that gets everything.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DestinationOptions {
    pub(crate) exchange: Option<String>,
    pub(crate) exchange_type: Option<ExchangeType>,
    pub(crate) alternate_exchange: Option<String>,
    pub(crate) exchange_arguments: BTreeMap<String, String>,
    pub(crate) routing_key: Option<RoutingKey>,
    pub(crate) bindings: Vec<String>,
    pub(crate) queue: Option<String>,
    pub(crate) queue_type: Option<QueueType>,
    pub(crate) queue_arguments: BTreeMap<String, String>,
    pub(crate) prefetch: Option<u16>,
    pub(crate) single_active_consumer: Option<bool>,
    pub(crate) delivery_limit: Option<u32>,
    pub(crate) message_ttl: Option<Duration>,
    pub(crate) unused_for: Option<Duration>,
    pub(crate) max_length: Option<u64>,
    pub(crate) max_length_bytes: Option<u64>,
    pub(crate) overflow: Option<Overflow>,
    pub(crate) max_priority: Option<u8>,
}

impl DestinationOptions {
    /// An exchange of that kind.
    pub fn new(exchange_type: ExchangeType) -> Self {
        Self {
            exchange_type: Some(exchange_type),
            ..Self::default()
        }
    }

    /// With another name of the exchange than the destination's.
    #[must_use]
    pub fn exchange(mut self, name: impl Into<String>) -> Self {
        self.exchange = Some(name.into());
        self
    }

    /// With an exchange that gets what no queue of this one wants.
    #[must_use]
    pub fn alternate_exchange(mut self, name: impl Into<String>) -> Self {
        self.alternate_exchange = Some(name.into());
        self
    }

    /// With another routing key than the type of the event.
    #[must_use]
    pub fn routing_key(mut self, key: RoutingKey) -> Self {
        self.routing_key = Some(key);
        self
    }

    /// With one more of what the queues of groups get, in place of everything. For a topic exchange a pattern of routing
    /// keys, for a direct one a routing key, for one by headers `region=eu & tier=gold` (all) or `region=eu | tier=gold`
    /// (any of it).
    #[must_use]
    pub fn binding(mut self, binding: impl Into<String>) -> Self {
        self.bindings.push(binding.into());
        self
    }

    /// With another name of the queues than `{destination}.{group}`; both places may stand in it.
    #[must_use]
    pub fn queue(mut self, name: impl Into<String>) -> Self {
        self.queue = Some(name.into());
        self
    }

    /// With queues of another kind.
    #[must_use]
    pub fn queue_type(mut self, queue_type: QueueType) -> Self {
        self.queue_type = Some(queue_type);
        self
    }

    /// With one more argument of the queues. Whole numbers, `true` and `false` are written as such.
    #[must_use]
    pub fn queue_argument(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.queue_arguments.insert(name.into(), value.into());
        self
    }

    /// With one more argument of the exchange.
    #[must_use]
    pub fn exchange_argument(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.exchange_arguments.insert(name.into(), value.into());
        self
    }

    /// With messages that become dead letters when they have lain there for that long.
    #[must_use]
    pub fn message_ttl(mut self, time: Duration) -> Self {
        self.message_ttl = Some(time);
        self
    }

    /// With queues that go, with all that is in them, when nobody has read them for that long.
    #[must_use]
    pub fn lose_queue_unused_for(mut self, time: Duration) -> Self {
        self.unused_for = Some(time);
        self
    }

    /// With queues that hold no more messages than that; what happens beyond it says the other.
    #[must_use]
    pub fn max_length(mut self, messages: u64, overflow: Overflow) -> Self {
        self.max_length = Some(messages);
        self.overflow = Some(overflow);
        self
    }

    /// With queues that hold no more bytes of messages than that; what happens beyond it says the other.
    #[must_use]
    pub fn max_length_bytes(mut self, bytes: u64, overflow: Overflow) -> Self {
        self.max_length_bytes = Some(bytes);
        self.overflow = Some(overflow);
        self
    }

    /// With classic queues in which messages of a higher priority, up to this one, overtake others. A message says its own
    /// in the header `amqp-priority`.
    #[must_use]
    pub fn max_priority(mut self, priority: u8) -> Self {
        self.max_priority = Some(priority);
        self
    }

    /// What the other says, and what this says where that says nothing.
    #[must_use]
    pub fn overlaid_by(mut self, other: Self) -> Self {
        self.exchange_arguments.extend(other.exchange_arguments);
        self.queue_arguments.extend(other.queue_arguments);
        Self {
            exchange: other.exchange.or(self.exchange),
            exchange_type: other.exchange_type.or(self.exchange_type),
            alternate_exchange: other.alternate_exchange.or(self.alternate_exchange),
            exchange_arguments: self.exchange_arguments,
            routing_key: other.routing_key.or(self.routing_key),
            bindings: match other.bindings.is_empty() {
                true => self.bindings,
                false => other.bindings,
            },
            queue: other.queue.or(self.queue),
            queue_type: other.queue_type.or(self.queue_type),
            queue_arguments: self.queue_arguments,
            prefetch: other.prefetch.or(self.prefetch),
            single_active_consumer: other.single_active_consumer.or(self.single_active_consumer),
            delivery_limit: other.delivery_limit.or(self.delivery_limit),
            message_ttl: other.message_ttl.or(self.message_ttl),
            unused_for: other.unused_for.or(self.unused_for),
            max_length: other.max_length.or(self.max_length),
            max_length_bytes: other.max_length_bytes.or(self.max_length_bytes),
            overflow: other.overflow.or(self.overflow),
            max_priority: other.max_priority.or(self.max_priority),
        }
    }

    pub(crate) fn exchange_type(&self) -> ExchangeType {
        self.exchange_type.unwrap_or_default()
    }

    /// The name of a group's queue of a destination.
    pub fn queue_of(&self, destination: &str, group: &str) -> String {
        match &self.queue {
            Some(name) => name
                .replace("{destination}", destination)
                .replace("{group}", group),
            None => format!("{destination}.{group}"),
        }
    }
}
