//! What other systems call our keys, so that a hint can name ours. Looked up without case and separators.

/// Names from Spring, Kafka, RabbitMQ and our own past, by the path of our key.
const SYNONYMS: &[(&str, &[&str])] = &[
    (
        "app.drain_timeout",
        &[
            "shutdown-timeout",
            "timeout-per-shutdown-phase",
            "graceful-shutdown",
        ],
    ),
    (
        "app.publish_timeout",
        &["send-timeout", "delivery-timeout", "request-timeout"],
    ),
    (
        "app.reply_destination",
        &["reply-topic", "reply-queue", "reply-address", "reply-to"],
    ),
    ("app.max_payload_bytes", &["max-request-size", "max-payload"]),
    (
        "binder.<name>.url",
        &[
            "brokers",
            "bootstrap-servers",
            "address",
            "addresses",
            "host",
            "uri",
            "data",
            "dir",
            "directory",
        ],
    ),
    (
        "binder.<name>.session_drain",
        &["rebalance-timeout", "revoke-timeout"],
    ),
    (
        "binder.<name>.discovery_interval",
        &[
            "metadata-max-age",
            "topic-metadata-refresh-interval",
            "pattern-interval",
        ],
    ),
    ("binder.<name>.fsync", &["sync", "flush", "durability"]),
    (
        "binder.<name>.fsync_interval",
        &["flush-ms", "flush-interval", "sync-interval"],
    ),
    (
        "binder.<name>.segment_bytes",
        &["segment-size", "log-segment-bytes"],
    ),
    (
        "binder.<name>.max_message_bytes",
        &["message-max-bytes", "max-message-size"],
    ),
    (
        "binder.<name>.retention_time",
        &[
            "retention",
            "retention-ms",
            "log-retention-hours",
            "ttl",
            "max-age",
        ],
    ),
    ("binder.<name>.retention_bytes", &["retention-size", "max-bytes"]),
    (
        "binder.<name>.lose_unread_messages",
        &["retention-drop-unread", "drop-unread", "retention-unread"],
    ),
    (
        "binder.<name>.commit_interval",
        &["auto-commit-interval", "auto-commit-interval-ms"],
    ),
    (
        "binder.<name>.kafka",
        &[
            "properties",
            "configuration",
            "consumer-properties",
            "producer-properties",
        ],
    ),
    ("channel.<name>.binder", &["broker", "default-binder"]),
    ("channel.<name>.destination", &["topic", "queue", "exchange"]),
    (
        "channel.<name>.partitions",
        &["partition-count", "num-partitions", "concurrency"],
    ),
    (
        "channel.<name>.create",
        &["auto-create-topics", "auto-create", "declare"],
    ),
    (
        "channel.<name>.retention_time",
        &["retention", "retention-ms", "ttl", "max-age"],
    ),
    ("channel.<name>.retention_bytes", &["retention-size", "max-bytes"]),
    (
        "subscription.<name>.group",
        &["group-id", "consumer-group", "durable"],
    ),
    (
        "subscription.<name>.start",
        &[
            "auto-offset-reset",
            "start-offset",
            "initial-offset",
            "reset-offsets",
            "from",
            "deliver-policy",
        ],
    ),
    ("subscription.<name>.ordering", &["partition-key", "order-by"]),
    (
        "subscription.<name>.concurrency",
        &[
            "threads",
            "workers",
            "parallelism",
            "instance-count",
            "consumers",
            "max-concurrency",
        ],
    ),
    (
        "subscription.<name>.max_in_flight",
        &[
            "prefetch",
            "prefetch-count",
            "max-ack-pending",
            "max-poll-records",
            "buffer",
            "in-flight",
        ],
    ),
    (
        "subscription.<name>.max_in_flight_bytes",
        &["fetch-max-bytes", "buffer-bytes"],
    ),
    ("subscription.<name>.batch_size", &["size", "max-batch-size"]),
    (
        "subscription.<name>.batch_linger",
        &[
            "linger",
            "linger-ms",
            "batch-timeout",
            "receive-timeout",
            "max-wait",
        ],
    ),
    (
        "subscription.<name>.timeout",
        &["handler-timeout", "ack-wait", "max-poll-interval", "deadline"],
    ),
    (
        "subscription.<name>.rate",
        &["rate-limit", "throttle", "requests-per-second"],
    ),
    (
        "subscription.<name>.retry.attempts",
        &[
            "max-attempts",
            "max-retries",
            "retries",
            "max-deliver",
            "max-redeliver",
        ],
    ),
    (
        "subscription.<name>.retry.initial",
        &[
            "backoff",
            "back-off-initial-interval",
            "initial-interval",
            "delay",
            "interval",
        ],
    ),
    (
        "subscription.<name>.retry.multiplier",
        &["back-off-multiplier", "factor"],
    ),
    (
        "subscription.<name>.retry.max",
        &[
            "back-off-max-interval",
            "max-interval",
            "max-delay",
            "max-backoff",
        ],
    ),
    (
        "subscription.<name>.retry.jitter",
        &["random", "randomization-factor"],
    ),
    ("subscription.<name>.retry.durable_after", &["durable"]),
    (
        "subscription.<name>.dead_letter",
        &[
            "dlq",
            "dlq-name",
            "dlt",
            "enable-dlq",
            "dead-letters",
            "dead-letter-topic",
            "dead-letter-queue",
            "republish-to-dlq",
            "auto-bind-dlq",
        ],
    ),
    (
        "subscription.<name>.headers",
        &["dead-letter-headers", "dlq-headers", "header-names"],
    ),
    (
        "subscription.<name>.lose_exhausted_messages",
        &["drop", "discard", "on-failure", "log-and-continue"],
    ),
    (
        "subscription.<name>.paused",
        &["auto-startup", "enabled", "auto-start"],
    ),
    (
        "subscription.<name>.commit_interval",
        &["auto-commit-interval", "auto-commit-interval-ms"],
    ),
    ("subscription.<name>.commit_every", &["ack-count", "commit-count"]),
];

/// The tables of the top, and what other systems call them.
pub(crate) const SECTIONS: &[(&str, &[&str])] = &[
    ("app", &["application", "service"]),
    ("binder", &["binders", "broker", "brokers", "connection"]),
    (
        "channel",
        &[
            "channels",
            "topic",
            "topics",
            "destination",
            "destinations",
            "queue",
            "queues",
        ],
    ),
    (
        "subscription",
        &[
            "subscriptions",
            "binding",
            "bindings",
            "listener",
            "listeners",
            "consumer",
            "consumers",
            "handler",
            "handlers",
        ],
    ),
    ("manage", &["management", "actuator"]),
    ("sql", &["datasource", "database", "inbox"]),
];

/// What others call a key.
pub(crate) fn synonyms(path: &str) -> &'static [&'static str] {
    SYNONYMS
        .iter()
        .find(|(known, _)| *known == path)
        .map_or(&[], |(_, words)| words)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::records::records;

    #[test]
    fn every_synonym_belongs_to_a_key_and_none_is_a_key_beside_it() {
        for (path, words) in SYNONYMS {
            assert!(records().iter().any(|record| record.path == *path), "{path}");
            let (table, _) = path.rsplit_once('.').expect("a table and a key");
            for word in *words {
                let other = format!("{table}.{}", word.replace('-', "_"));
                assert!(!records().iter().any(|record| record.path == other), "{other}");
            }
        }
    }
}
