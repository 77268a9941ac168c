//! Keys of a binder that is a RabbitMQ.

use super::{DAY, HOUR, duration};
use crate::record::{KeyRecord, Kind};

pub(super) const RECORDS: &[KeyRecord] = &[
    KeyRecord {
        path: "binder.<name>.rabbitmq.heartbeat",
        kind: duration(1_000, HOUR),
        default: "10s",
        example: "\"30s\"",
        doc: "How often both sides of a silent connection say that they are there; after twice that without a word it is \
              given up. Whole seconds; a server that wants fewer gets its way.",
    },
    KeyRecord {
        path: "binder.<name>.rabbitmq.connect_timeout",
        kind: duration(100, HOUR),
        default: "10s",
        example: "\"3s\"",
        doc: "How long a connection to one server may take to come about, TLS and log-in included. Then the next host of \
              the address is tried.",
    },
    KeyRecord {
        path: "binder.<name>.rabbitmq.close_timeout",
        kind: duration(0, HOUR),
        default: "10s",
        example: "\"5s\"",
        doc: "How long closing waits for confirmations of what is on its way. What has none then is told to its publisher \
              as undecided.",
    },
    KeyRecord {
        path: "binder.<name>.rabbitmq.confirm_timeout",
        kind: duration(100, HOUR),
        default: "30s",
        example: "\"10s\"",
        doc: "A message that was sent and not confirmed for so long is sent again on another connection, with the same id. \
              Not while the server says that it takes no messages.",
    },
    KeyRecord {
        path: "binder.<name>.rabbitmq.message_timeout",
        kind: duration(100, HOUR),
        default: "2m",
        example: "\"30s\"",
        doc: "After this time a publish that is not confirmed fails, and may be tried again. If the message was sent, it may \
              be in its queue all the same.",
    },
    KeyRecord {
        path: "binder.<name>.rabbitmq.max_in_flight",
        kind: Kind::Integer {
            min: 1,
            max: 1_000_000,
        },
        default: "10000",
        example: "1000",
        doc: "How many messages may be sent and not confirmed. What happens beyond it says `when_full`.",
    },
    KeyRecord {
        path: "binder.<name>.rabbitmq.max_in_flight_bytes",
        kind: Kind::Bytes {
            min: 64 << 10,
            max: 16 << 30,
        },
        default: "32MiB",
        example: "\"8MiB\"",
        doc: "How many bytes of messages may be sent and not confirmed. A larger message goes alone.",
    },
    KeyRecord {
        path: "binder.<name>.rabbitmq.lose_unroutable_messages",
        kind: Kind::Switch,
        default: "false",
        example: "true",
        doc: "Lets RabbitMQ drop messages that no queue is bound for, and confirm them. Those messages are lost. Without it \
              such a publish fails and names the exchange and the routing key.",
    },
    KeyRecord {
        path: "binder.<name>.rabbitmq.auth",
        kind: Kind::Choice(&["plain", "external"]),
        default: "plain",
        example: "\"external\"",
        doc: "How the server learns who comes. `plain`: by the user and the password of the address. `external`: by the \
              certificate of the client.",
    },
    KeyRecord {
        path: "binder.<name>.rabbitmq.tls_ca",
        kind: Kind::Text,
        default: "the authorities that the system trusts",
        example: "\"/etc/tidings/ca.crt\"",
        doc: "A PEM file with the certificate authority that vouches for the servers, and no other one. For addresses that \
              begin with `amqps:`.",
    },
    KeyRecord {
        path: "binder.<name>.rabbitmq.tls_certificate",
        kind: Kind::Text,
        default: "none",
        example: "\"/etc/tidings/client.crt\"",
        doc: "A PEM file with the certificate that the client shows, its chain after it. It goes with `tls_key`.",
    },
    KeyRecord {
        path: "binder.<name>.rabbitmq.tls_key",
        kind: Kind::Text,
        default: "none",
        example: "\"/etc/tidings/client.key\"",
        doc: "A PEM file with the private key of `tls_certificate`, without a passphrase.",
    },
    KeyRecord {
        path: "binder.<name>.rabbitmq.prefetch",
        kind: Kind::Integer { min: 1, max: 65_535 },
        default: "1000",
        example: "100",
        doc: "How many messages a queue hands over before one of them is finished. They are in memory, whatever their size: \
              little of it keeps memory small, much of it keeps handlers busy.",
    },
    KeyRecord {
        path: "binder.<name>.rabbitmq.queue_type",
        kind: Kind::Choice(&["quorum", "classic"]),
        default: "quorum",
        example: "\"classic\"",
        doc: "What kind of queues is declared: `quorum` is kept by several nodes of a cluster and counts deliveries, \
              `classic` is on one node.",
    },
    KeyRecord {
        path: "binder.<name>.rabbitmq.single_active_consumer",
        kind: Kind::Switch,
        default: "true",
        example: "false",
        doc: "Whether one instance of a service reads a queue at a time, which keeps the order of keys among all of them; the \
              next takes over when it goes. Without it instances share the messages, and a key has no order among them.",
    },
    KeyRecord {
        path: "binder.<name>.rabbitmq.delivery_limit",
        kind: Kind::Integer { min: 1, max: 100_000 },
        default: "20",
        example: "50",
        doc: "After so many deliveries that were not finished, because a process died or a connection was lost, a quorum \
              queue gives a message to the dead letters.",
    },
    KeyRecord {
        path: "binder.<name>.rabbitmq.longest_hold",
        kind: duration(1_000, DAY),
        default: "15m",
        example: "\"2m\"",
        doc: "For how long a message is held without being finished: what waits for longer leaves its queue and comes back, \
              and who goes through dead letters gives them back and takes them again. Half of the server's `consumer_timeout` \
              is right; the server closes the channel of who holds a message for longer than that.",
    },
    KeyRecord {
        path: "binder.<name>.rabbitmq.letter_bytes",
        kind: Kind::Bytes { min: 1, max: 1 << 30 },
        default: "8MiB",
        example: "\"64MiB\"",
        doc: "How many bytes of dead letters are in memory while they are listed or sent back. The more, the more letters come \
              at once, and the more of them keep their order in a quorum queue when they are given back.",
    },
];
