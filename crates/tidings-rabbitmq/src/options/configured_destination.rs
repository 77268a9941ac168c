//! What a configuration says of a channel's destination: [`DestinationOptions::from_config`].

use super::configured::value;
use super::{DestinationOptions, ExchangeType, Overflow, QueueType, RoutingKey};
use crate::error::RabbitError;
use std::collections::BTreeMap;
use tidings_config::{
    Properties, RabbitmqChannelConfig, RabbitmqExchangeType, RabbitmqOverflow, RabbitmqQueueType,
};

impl DestinationOptions {
    /// What is said of the destination of a channel.
    ///
    /// # Errors
    /// [`RabbitError::Topology`] with the place in the configuration: a routing key that is none, a queue that would go
    /// without the word that it may.
    pub fn from_config(keys: &RabbitmqChannelConfig) -> Result<Self, RabbitError> {
        let routing_key = keys
            .routing_key
            .as_ref()
            .map(|key| RoutingKey::parse(&key.value).map_err(|error| error.at(&key.origin.to_string())));
        let bindings = keys.bindings.as_ref().map(|all| all.value.split(','));
        let bindings = bindings.into_iter().flatten().map(|one| one.trim().to_owned());
        let may_expire = keys.lose_unused_queues.as_ref().is_some_and(|lose| lose.value);
        if let Some(expires) = keys.queue_expires.as_ref().filter(|_| !may_expire) {
            return Err(RabbitError::Topology {
                what: format!("queue_expires ({})", expires.origin),
                reason: "a queue that goes takes its messages with it: say lose_unused_queues = true too, or leave it out"
                    .to_owned(),
            });
        }
        Ok(Self {
            exchange: value(&keys.exchange),
            exchange_type: value(&keys.exchange_type).map(exchange_type),
            alternate_exchange: value(&keys.alternate_exchange),
            exchange_arguments: texts(&keys.exchange_arguments),
            routing_key: routing_key.transpose()?,
            bindings: bindings.filter(|one| !one.is_empty()).collect(),
            queue: value(&keys.queue),
            queue_type: value(&keys.queue_type).map(queue_type),
            queue_arguments: texts(&keys.queue_arguments),
            prefetch: value(&keys.prefetch).map(at_most_u16),
            single_active_consumer: value(&keys.single_active_consumer),
            delivery_limit: value(&keys.delivery_limit).map(at_most_u32),
            message_ttl: value(&keys.message_ttl),
            unused_for: value(&keys.queue_expires),
            max_length: value(&keys.max_length),
            max_length_bytes: value(&keys.max_length_bytes),
            overflow: overflow(keys),
            max_priority: value(&keys.max_priority).map(|most| u8::try_from(most).unwrap_or(u8::MAX)),
        })
    }
}

/// The range of a key ends below.
pub(super) fn at_most_u16<T: TryInto<u16>>(number: T) -> u16 {
    number.try_into().unwrap_or(u16::MAX)
}

/// The range of a key ends below.
pub(super) fn at_most_u32<T: TryInto<u32>>(number: T) -> u32 {
    number.try_into().unwrap_or(u32::MAX)
}

fn texts(all: &Properties) -> BTreeMap<String, String> {
    let texts = all
        .iter()
        .map(|(name, set)| (name.clone(), set.value.expose().to_owned()));
    texts.collect()
}

fn exchange_type(said: RabbitmqExchangeType) -> ExchangeType {
    match said {
        RabbitmqExchangeType::Topic => ExchangeType::Topic,
        RabbitmqExchangeType::Direct => ExchangeType::Direct,
        RabbitmqExchangeType::Fanout => ExchangeType::Fanout,
        RabbitmqExchangeType::Headers => ExchangeType::Headers,
        RabbitmqExchangeType::Default => ExchangeType::Default,
    }
}

pub(super) fn queue_type(said: RabbitmqQueueType) -> QueueType {
    match said {
        RabbitmqQueueType::Quorum => QueueType::Quorum,
        RabbitmqQueueType::Classic => QueueType::Classic,
        RabbitmqQueueType::Stream => QueueType::Stream,
    }
}

/// A queue that has a limit and no word of what happens beyond it has its publishers try again.
fn overflow(keys: &RabbitmqChannelConfig) -> Option<Overflow> {
    let limited = keys.max_length.is_some() || keys.max_length_bytes.is_some();
    match value(&keys.overflow) {
        Some(RabbitmqOverflow::DropHead) => Some(Overflow::DropHead),
        Some(RabbitmqOverflow::RejectPublish) => Some(Overflow::RejectPublish),
        None => limited.then_some(Overflow::RejectPublish),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;
    use tidings_config::Config;

    fn read(toml: &str) -> Result<DestinationOptions, String> {
        let config = Config::builder()
            .toml("t.toml", format!("[channel.orders]\n{toml}"))
            .env::<&str, &str>([])
            .load();
        let channel = config
            .expect("the configuration itself is right")
            .channel("orders");
        DestinationOptions::from_config(&channel.rabbitmq).map_err(|error| error.to_string())
    }

    #[test]
    fn every_key_of_a_channel_reaches_its_queues() {
        let options = read(
            "[channel.orders.rabbitmq]\nexchange = \"shop\"\nexchange_type = \"headers\"\nalternate_exchange = \"rest\"\n\
             routing_key = \"a.{key}\"\nbindings = \"r=eu & t=gold, r=us\"\nqueue = \"{group}-in\"\nqueue_type = \"classic\"\n\
             prefetch = 7\nsingle_active_consumer = false\ndelivery_limit = 8\nmessage_ttl = \"9s\"\nmax_length = 10\n\
             max_length_bytes = 11\nmax_priority = 12\nqueue_expires = \"13s\"\nlose_unused_queues = true\n\
             [channel.orders.rabbitmq.queue_arguments]\nx-queue-mode = \"lazy\"\n\
             [channel.orders.rabbitmq.exchange_arguments]\nx-a = 1\n",
        );
        let expected = DestinationOptions::new(ExchangeType::Headers)
            .exchange("shop")
            .alternate_exchange("rest")
            .routing_key(RoutingKey::parse("a.{key}").unwrap())
            .binding("r=eu & t=gold")
            .binding("r=us")
            .queue("{group}-in")
            .queue_type(QueueType::Classic)
            .message_ttl(Duration::from_secs(9))
            .max_length(10, Overflow::RejectPublish)
            .max_length_bytes(11, Overflow::RejectPublish)
            .max_priority(12)
            .lose_queue_unused_for(Duration::from_secs(13))
            .queue_argument("x-queue-mode", "lazy")
            .exchange_argument("x-a", "1");
        let expected = DestinationOptions {
            prefetch: Some(7),
            single_active_consumer: Some(false),
            delivery_limit: Some(8),
            ..expected
        };
        assert_eq!(options, Ok(expected));
        assert_eq!(read(""), Ok(DestinationOptions::default()));
    }

    #[test]
    fn what_cannot_be_is_named_with_its_line() {
        for (toml, words) in [
            ("rabbitmq.routing_key = \"{tpye}\"", "there is no {tpye}"),
            ("rabbitmq.queue_expires = \"1s\"", "lose_unused_queues = true"),
        ] {
            let error = read(toml).unwrap_err();
            assert!(error.contains(words) && error.contains("t.toml:2"), "{error}");
        }
    }
}
