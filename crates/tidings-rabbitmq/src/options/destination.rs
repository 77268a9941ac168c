//! What a destination is on the server: [`DestinationOptions`].

use super::consuming::QueueType;
use super::routing_key::RoutingKey;
use crate::error::RabbitError;
use lapin::types::{AMQPValue, FieldTable};
use std::collections::BTreeMap;
use std::time::Duration;

/// How an exchange chooses the queues of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum ExchangeType {
    /// By patterns of the routing key: `order.*`, `order.#`.
    #[default]
    Topic,
    /// By the routing key itself.
    Direct,
    /// All queues.
    Fanout,
    /// By headers.
    Headers,
    /// None is declared: messages go by the exchange that every server has to the queue whose name is the routing key.
    Default,
}

impl ExchangeType {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Topic => "topic",
            Self::Direct => "direct",
            Self::Fanout => "fanout",
            Self::Headers => "headers",
            Self::Default => "default",
        }
    }
}

/// What happens to messages for a queue that holds as much as it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Overflow {
    /// The oldest become dead letters.
    DropHead,
    /// The publisher is told, and tries again.
    RejectPublish,
}

impl Overflow {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::DropHead => "drop-head",
            Self::RejectPublish => "reject-publish",
        }
    }
}

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

/// Arguments of queues that there are options for, or that are ours, with what to say in their place.
const OWN: [(&str, &str); 12] = [
    ("x-queue-type", "queue_type"),
    ("x-single-active-consumer", "single_active_consumer"),
    ("x-delivery-limit", "delivery_limit"),
    ("x-message-ttl", "message_ttl"),
    ("x-expires", "lose_queue_unused_for"),
    ("x-max-length", "max_length"),
    ("x-max-length-bytes", "max_length_bytes"),
    ("x-overflow", "overflow"),
    ("x-max-priority", "max_priority"),
    ("x-dead-letter-exchange", "the subscription's dead_letter"),
    ("x-dead-letter-routing-key", "the subscription's dead_letter"),
    ("x-dead-letter-strategy", "overflow"),
];

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

    /// In words, what exchange a destination is, and what queues get of it: `the topic exchange "orders", bound by #`.
    pub fn exchange_of(&self, destination: &str) -> String {
        let name = self.exchange.as_deref().unwrap_or(destination);
        let bound = match &self.bindings[..] {
            [] => String::new(),
            all => format!(", bound by {}", all.join(", ")),
        };
        match self.exchange_type() {
            ExchangeType::Default => "none: messages go to the queue of their routing key".to_owned(),
            kind => format!("{name} ({}{bound})", kind.as_str()),
        }
    }

    /// What is said of the queues besides their name: `queue_type classic, message_ttl 1h`.
    pub fn queue_arguments_in_words(&self) -> String {
        let mut said = Vec::new();
        let mut say = |name: &str, value: Option<String>| {
            said.extend(value.map(|value| format!("{name} {value}")));
        };
        let time = |time: Option<Duration>| time.map(|time| format!("{time:?}"));
        say("queue_type", self.queue_type.map(|kind| kind.as_str().to_owned()));
        say("prefetch", self.prefetch.map(|many| many.to_string()));
        say(
            "single_active_consumer",
            self.single_active_consumer.map(|single| single.to_string()),
        );
        say("delivery_limit", self.delivery_limit.map(|many| many.to_string()));
        say("message_ttl", time(self.message_ttl));
        say("queue_expires", time(self.unused_for));
        say("max_length", self.max_length.map(|many| many.to_string()));
        say(
            "max_length_bytes",
            self.max_length_bytes.map(|many| many.to_string()),
        );
        say(
            "overflow",
            self.overflow.map(|overflow| overflow.as_str().to_owned()),
        );
        say("max_priority", self.max_priority.map(|most| most.to_string()));
        for (name, value) in &self.queue_arguments {
            say(name, Some(value.clone()));
        }
        said.join(", ")
    }

    /// Checks what goes with what; `by_default` is the kind of queue where nothing is said here.
    ///
    /// # Errors
    /// [`RabbitError::Topology`].
    pub(crate) fn check(&self, destination: &str, by_default: QueueType) -> Result<(), RabbitError> {
        let wrong = |reason: String| {
            Err(RabbitError::Topology {
                what: format!("the destination \"{destination}\""),
                reason,
            })
        };
        let queue_type = self.queue_type.unwrap_or(by_default);
        if let Some((name, instead)) = OWN
            .iter()
            .find(|(name, _)| self.queue_arguments.contains_key(*name))
        {
            return wrong(format!(
                "{name} is no argument to pass on: say {instead} in its place"
            ));
        }
        if self.exchange_arguments.contains_key("alternate-exchange") {
            return wrong(
                "alternate-exchange is no argument to pass on: say alternate_exchange in its place"
                    .to_owned(),
            );
        }
        if self.max_priority.is_some() && queue_type != QueueType::Classic {
            return wrong(
                "only classic queues have a max_priority: say queue_type = \"classic\" too".to_owned(),
            );
        }
        match self.exchange_type() {
            ExchangeType::Direct | ExchangeType::Headers if self.bindings.is_empty() => wrong(format!(
                "the queues of a {} exchange get nothing without bindings",
                self.exchange_type().as_str()
            )),
            ExchangeType::Fanout | ExchangeType::Default if !self.bindings.is_empty() => wrong(format!(
                "an exchange of type {} has no use for bindings: take \"topic\", or leave them out",
                self.exchange_type().as_str()
            )),
            ExchangeType::Headers => match self.bindings.iter().find(|text| headers_of(text).is_none()) {
                Some(text) => wrong(format!(
                    "\"{text}\" binds nothing to a headers exchange: write name=value, joined by & (all) or | (any)"
                )),
                None => Ok(()),
            },
            _ => Ok(()),
        }
    }
}

/// The arguments of a binding to an exchange by headers; none if the text says none.
pub(crate) fn headers_of(binding: &str) -> Option<FieldTable> {
    let (separator, matches) = match (binding.contains('&'), binding.contains('|')) {
        (true, true) => return None,
        (_, false) => ('&', "all"),
        (false, true) => ('|', "any"),
    };
    let mut table = FieldTable::default();
    table.insert("x-match".into(), AMQPValue::LongString(matches.into()));
    for pair in binding.split(separator) {
        let (name, value) = pair.split_once('=')?;
        let name = lapin::types::ShortString::try_new(name.trim()).ok()?;
        if name.as_str().is_empty() || name.as_str() == "x-match" {
            return None;
        }
        table.insert(name, AMQPValue::LongString(value.trim().into()));
    }
    Some(table)
}

/// Arguments as the server is to get them.
pub(crate) fn arguments(all: &BTreeMap<String, String>) -> impl Iterator<Item = (&str, AMQPValue)> {
    all.iter().map(|(name, text)| {
        let value = match (text.as_str(), text.parse()) {
            ("true", _) => AMQPValue::Boolean(true),
            ("false", _) => AMQPValue::Boolean(false),
            (_, Ok(number)) => AMQPValue::LongLongInt(number),
            (text, Err(_)) => AMQPValue::LongString(text.into()),
        };
        (name.as_str(), value)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_go_together_is_named_with_its_cure() {
        let of = DestinationOptions::new;
        for (options, words) in [
            (of(ExchangeType::Direct), "without bindings"),
            (of(ExchangeType::Headers), "without bindings"),
            (of(ExchangeType::Fanout).binding("a"), "no use for bindings"),
            (of(ExchangeType::Headers).binding("eu"), "name=value"),
            (of(ExchangeType::Headers).binding("a=1 & b=2 | c=3"), "name=value"),
            (
                of(ExchangeType::Topic).max_priority(5),
                "queue_type = \"classic\"",
            ),
            (
                of(ExchangeType::Topic).queue_argument("x-expires", "1"),
                "say lose_queue_unused_for",
            ),
            (
                of(ExchangeType::Topic).exchange_argument("alternate-exchange", "x"),
                "say alternate_exchange",
            ),
        ] {
            let error = options
                .check("orders", QueueType::Quorum)
                .unwrap_err()
                .to_string();
            assert!(error.contains(words) && error.contains("\"orders\""), "{error}");
        }
        let classic = of(ExchangeType::Topic)
            .max_priority(5)
            .queue_type(QueueType::Classic);
        assert_eq!(classic.check("orders", QueueType::Quorum), Ok(()));
    }

    #[test]
    fn headers_match_all_or_any_of_them() {
        let text = |text: &str| AMQPValue::LongString(text.into());
        let all = headers_of("region=eu & tier = gold").unwrap();
        assert_eq!(all.inner().get("x-match"), Some(&text("all")));
        assert_eq!(all.inner().get("tier"), Some(&text("gold")));
        let any = headers_of("region=eu|region2=us").unwrap();
        assert_eq!(any.inner().get("x-match"), Some(&text("any")));
        assert_eq!(headers_of("one=1").unwrap().inner().len(), 2);
    }

    #[test]
    fn arguments_keep_their_types() {
        let given = [("a", "5"), ("b", "true"), ("c", "five")];
        let given = given.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let written: Vec<_> = arguments(&given.into())
            .map(|(_, value)| value)
            .collect::<Vec<_>>();
        let expected = [
            AMQPValue::LongLongInt(5),
            AMQPValue::Boolean(true),
            AMQPValue::LongString("five".into()),
        ];
        assert_eq!(written, expected);
    }
}
