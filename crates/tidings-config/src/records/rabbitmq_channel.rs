//! Keys of a channel that lives on a RabbitMQ.

use super::duration;
use crate::record::{KeyRecord, Kind};
use std::time::Duration;

/// The longest time that RabbitMQ counts in milliseconds.
const LONGEST: Duration = Duration::from_millis(u32::MAX as u64);

pub(super) const RECORDS: &[KeyRecord] = &[
    KeyRecord {
        path: "channel.<name>.rabbitmq.exchange",
        kind: Kind::Text,
        default: "the destination",
        example: "\"shop.events\"",
        doc: "The exchange that is published to.",
    },
    KeyRecord {
        path: "channel.<name>.rabbitmq.exchange_type",
        kind: Kind::Choice(&["topic", "direct", "fanout", "headers", "default"]),
        default: "topic",
        example: "\"headers\"",
        doc: "How the exchange chooses the queues of a message: `topic` by patterns of the routing key, `direct` by the routing \
              key itself, `fanout` takes all, `headers` chooses by headers. With `default` nothing is declared, and messages \
              go straight to the queue whose name is the routing key.",
    },
    KeyRecord {
        path: "channel.<name>.rabbitmq.alternate_exchange",
        kind: Kind::Text,
        default: "none",
        example: "\"unrouted\"",
        doc: "The exchange that gets what no queue of this one wants. It must be there.",
    },
    KeyRecord {
        path: "channel.<name>.rabbitmq.exchange_arguments",
        kind: Kind::Properties,
        default: "none",
        example: "{ x-something = \"5\" }",
        doc: "More arguments with which the exchange is declared. Whole numbers, `true` and `false` are passed on as such.",
    },
    KeyRecord {
        path: "channel.<name>.rabbitmq.routing_key",
        kind: Kind::Text,
        default: "{type}",
        example: "\"orders.{header:region}.{type}\"",
        doc: "The routing key of a message, in which `{type}`, `{key}`, `{destination}` and `{header:NAME}` may stand. A message \
              with the header `amqp-routing-key` has that one.",
    },
    KeyRecord {
        path: "channel.<name>.rabbitmq.bindings",
        kind: Kind::Text,
        default: "#",
        example: "\"order.#, payment.*\"",
        doc: "What the queues of groups get of the exchange, separated by commas: patterns of the routing key, routing keys \
              (`direct`), or `region=eu & tier=gold` (`headers`; with `|` any of it is enough). One that is taken out here stays \
              on the server until somebody removes it there.",
    },
    KeyRecord {
        path: "channel.<name>.rabbitmq.queue",
        kind: Kind::Template {
            placeholders: &["destination", "group"],
        },
        default: "{destination}.{group}",
        example: "\"{group}-inbox\"",
        doc: "The name of a group's queue.",
    },
    KeyRecord {
        path: "channel.<name>.rabbitmq.queue_type",
        kind: Kind::Choice(&["quorum", "classic", "stream"]),
        default: "that of the binder",
        example: "\"stream\"",
        doc: "What kind of queues is declared. With `stream` what is published is kept in `{destination}.stream` too, as long as \
              `retention_time` and `retention_bytes` of the channel say: subscriptions without a group read it from where \
              their `start` says, and groups have queues of the binder's kind.",
    },
    KeyRecord {
        path: "channel.<name>.rabbitmq.queue_arguments",
        kind: Kind::Properties,
        default: "none",
        example: "{ x-queue-leader-locator = \"balanced\" }",
        doc: "More arguments with which the queues are declared. Whole numbers, `true` and `false` are passed on as such; what \
              there is a key for is refused.",
    },
    KeyRecord {
        path: "channel.<name>.rabbitmq.prefetch",
        kind: Kind::Integer { min: 1, max: 65_535 },
        default: "that of the binder",
        example: "100",
        doc: "How many messages a queue hands over before one of them is finished.",
    },
    KeyRecord {
        path: "channel.<name>.rabbitmq.single_active_consumer",
        kind: Kind::Switch,
        default: "that of the binder",
        example: "false",
        doc: "Whether one instance of a service reads a queue at a time.",
    },
    KeyRecord {
        path: "channel.<name>.rabbitmq.delivery_limit",
        kind: Kind::Integer { min: 1, max: 100_000 },
        default: "that of the binder",
        example: "50",
        doc: "After so many deliveries that were not finished a quorum queue gives a message to the dead letters.",
    },
    KeyRecord {
        path: "channel.<name>.rabbitmq.message_ttl",
        kind: duration(1, LONGEST),
        default: "no limit",
        example: "\"1h\"",
        doc: "Messages that have lain in a group's queue for so long become its dead letters. A message may have a shorter time \
              of its own, in milliseconds, in the header `amqp-expiration`.",
    },
    KeyRecord {
        path: "channel.<name>.rabbitmq.max_length",
        kind: Kind::Integer {
            min: 1,
            max: i64::MAX as u64,
        },
        default: "no limit",
        example: "1000000",
        doc: "How many messages a group's queue holds. What happens beyond it says `overflow`.",
    },
    KeyRecord {
        path: "channel.<name>.rabbitmq.max_length_bytes",
        kind: Kind::Bytes {
            min: 1,
            max: i64::MAX as u64,
        },
        default: "no limit",
        example: "\"1GiB\"",
        doc: "How many bytes of messages a group's queue holds. What happens beyond it says `overflow`.",
    },
    KeyRecord {
        path: "channel.<name>.rabbitmq.overflow",
        kind: Kind::Choice(&["drop-head", "reject-publish"]),
        default: "reject-publish",
        example: "\"drop-head\"",
        doc: "What happens when a queue holds as much as it may: `reject-publish` has its publishers try again, `drop-head` makes \
              the oldest messages dead letters.",
    },
    KeyRecord {
        path: "channel.<name>.rabbitmq.max_priority",
        kind: Kind::Integer { min: 1, max: 255 },
        default: "no priorities",
        example: "5",
        doc: "Messages with a higher priority overtake others, up to this one; a message says its own in the header \
              `amqp-priority`. For classic queues. Each priority costs the server memory: take few.",
    },
    KeyRecord {
        path: "channel.<name>.rabbitmq.queue_expires",
        kind: duration(1, LONGEST),
        default: "no limit",
        example: "\"7d\"",
        doc: "A group's queue that nobody has read for so long goes, with all that is in it. It needs `lose_unused_queues`.",
    },
    KeyRecord {
        path: "channel.<name>.rabbitmq.lose_unused_queues",
        kind: Kind::Switch,
        default: "false",
        example: "true",
        doc: "Lets queues that nobody reads go after `queue_expires`. The messages in them are lost, also while a service is \
              only stopped for longer than that.",
    },
];
