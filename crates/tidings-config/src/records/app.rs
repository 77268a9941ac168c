//! Keys of the whole program.

use super::{HOUR, duration};
use crate::record::{KeyRecord, Kind};

pub(super) const RECORDS: &[KeyRecord] = &[
    KeyRecord {
        path: "name",
        kind: Kind::Text,
        default: "the name that the code gives",
        example: "\"shop\"",
        doc: "The name of the app, in logs, metrics and headers.",
    },
    KeyRecord {
        path: "app.drain_timeout",
        kind: duration(0, HOUR),
        default: "30s",
        example: "\"30s\"",
        doc: "How long a stopping app waits for the work that is running. What is not finished then is delivered again \
              at the next start.",
    },
    KeyRecord {
        path: "app.publish_timeout",
        kind: duration(1, HOUR),
        default: "30s",
        example: "\"30s\"",
        doc: "How long a publish may wait for the broker's acknowledgement before it fails.",
    },
    KeyRecord {
        path: "app.max_payload_bytes",
        kind: Kind::Bytes { min: 1, max: 1 << 30 },
        default: "1MiB",
        example: "\"1MiB\"",
        doc: "A larger payload is refused when it is published.",
    },
    KeyRecord {
        path: "app.max_open_requests",
        kind: Kind::Integer {
            min: 1,
            max: 1_000_000,
        },
        default: "10000",
        example: "500",
        doc: "How many requests may wait for their reply on each binder. Another one fails at once.",
    },
    KeyRecord {
        path: "app.reply_destination",
        kind: Kind::Text,
        default: "the app's name with `.replies` behind it",
        example: "\"shop.replies\"",
        doc: "Where replies to the app's requests come to, on Kafka and the embedded broker; it is made with the first \
              request, if it is missing, and keeps replies for an hour. RabbitMQ has a way of its own for them. If the name \
              does not end with `.replies`, who answers must have it among its `app.reply_addresses`.",
    },
    KeyRecord {
        path: "app.reply_addresses",
        kind: Kind::Text,
        default: "only those whose name ends with `.replies`, and what RabbitMQ gives out itself",
        example: "\"answers, legacy.*\"",
        doc: "Where else the replies of this app's handlers may go, names with commas between them; `*` stands for any \
              characters. A request says itself where its reply should go, so whoever can send one could otherwise have \
              this app write anywhere. A reply that may not go there is dropped and counted.",
    },
];
