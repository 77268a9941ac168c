//! Keys of a subscription.

use super::{DAY, HOUR, LONGEST_WAIT, duration};
use crate::record::{KeyRecord, Kind};

pub(super) const RECORDS: &[KeyRecord] = &[
    KeyRecord {
        path: "subscription.<name>.group",
        kind: Kind::Text,
        default: "what the code says; without a group nothing is stored",
        example: "\"billing\"",
        doc: "Subscriptions of one group share the messages; every group sees all of them. Its progress is \
              stored under this name.",
    },
    KeyRecord {
        path: "subscription.<name>.start",
        kind: Kind::Start,
        default: "earliest with a group, latest without",
        example: "{ time = \"2026-11-01T08:00:00Z\" }",
        doc: "Where to begin without a stored position: `earliest`, `latest`, `{ offset = 42 }` (or \
              `offset:42`), `{ time = \"2026-11-01T08:00:00Z\" }` (or `time:…`). What a pattern matches later \
              begins at its first message, whatever this says.",
    },
    KeyRecord {
        path: "subscription.<name>.partitions",
        kind: Kind::Partitions,
        default: "all of them",
        example: "\"0, 2-4\"",
        doc: "Which partitions of its destinations it reads. Only without a group: a group shares out all of them. On \
              Kafka one that is not there is waited for, elsewhere it is refused.",
    },
    KeyRecord {
        path: "subscription.<name>.ordering",
        kind: Kind::Choice(&["key", "partition", "none"]),
        default: "key",
        example: "\"partition\"",
        doc: "What keeps its order: messages of one key, of one partition, or nothing.",
    },
    KeyRecord {
        path: "subscription.<name>.concurrency",
        kind: Kind::Integer { min: 1, max: 100_000 },
        default: "1",
        example: "16",
        doc: "How many messages are handled at once.",
    },
    KeyRecord {
        path: "subscription.<name>.max_in_flight",
        kind: Kind::Integer {
            min: 1,
            max: 10_000_000,
        },
        default: "10000",
        example: "1000",
        doc: "How many messages of a partition may be received and not finished; beyond it the partition \
              is paused.",
    },
    KeyRecord {
        path: "subscription.<name>.max_in_flight_bytes",
        kind: Kind::Bytes { min: 1, max: 1 << 40 },
        default: "64MiB",
        example: "\"16MiB\"",
        doc: "How many bytes of messages of a partition may be received and not finished; beyond it the \
              partition is paused. One larger message still gets through. So many bytes of what handlers returned may also \
              be on their way to the broker, of all partitions together; beyond it no handling starts.",
    },
    KeyRecord {
        path: "subscription.<name>.batch_size",
        kind: Kind::Integer {
            min: 1,
            max: 1_000_000,
        },
        default: "500",
        example: "100",
        doc: "The most messages of a batch, for batch handlers.",
    },
    KeyRecord {
        path: "subscription.<name>.batch_linger",
        kind: duration(0, HOUR),
        default: "50ms",
        example: "\"50ms\"",
        doc: "How long the first message of a batch waits for others.",
    },
    KeyRecord {
        path: "subscription.<name>.timeout",
        kind: Kind::OrNone(&duration(1, DAY)),
        default: "none",
        example: "\"30s\"",
        doc: "A handling that takes longer is stopped and has failed.",
    },
    KeyRecord {
        path: "subscription.<name>.stuck_after",
        kind: Kind::OrNone(&duration(1_000, DAY)),
        default: "5m",
        example: "\"15m\"",
        doc: "A message whose handling is not finished after this is named in health and in the log. The service stays \
              live and ready; `timeout` stops the handling.",
    },
    KeyRecord {
        path: "subscription.<name>.alone_wait",
        kind: duration(1, HOUR),
        default: "30s",
        example: "\"10s\"",
        doc: "How long a message that processes died of waits for all other handlers to finish before it is handled alone; \
              then it begins beside them.",
    },
    KeyRecord {
        path: "subscription.<name>.alone_time",
        kind: duration(1, HOUR),
        default: "30s",
        example: "\"1m\"",
        doc: "How long such a message is handled alone before others may start again; twice as long after each more death.",
    },
    KeyRecord {
        path: "subscription.<name>.alone_time_max",
        kind: duration(1, DAY),
        default: "1h",
        example: "\"10m\"",
        doc: "The longest time for which such a message is handled alone.",
    },
    KeyRecord {
        path: "subscription.<name>.rate",
        kind: Kind::OrNone(&Kind::Rate),
        default: "none",
        example: "\"100/s\"",
        doc: "How many deliveries may start: `100/s`, `6000/m`, or a number per second.",
    },
    KeyRecord {
        path: "subscription.<name>.retry.attempts",
        kind: Kind::Integer {
            min: 1,
            max: 1_000_000,
        },
        default: "3",
        example: "5",
        doc: "How often a message is delivered at the most, the first time included.",
    },
    KeyRecord {
        path: "subscription.<name>.retry.initial",
        kind: duration(0, LONGEST_WAIT),
        default: "1s",
        example: "\"200ms\"",
        doc: "The wait before the second delivery.",
    },
    KeyRecord {
        path: "subscription.<name>.retry.multiplier",
        kind: Kind::Number {
            min: 1.0,
            max: 1_000.0,
        },
        default: "2.0",
        example: "1.5",
        doc: "Each wait is the one before times this; 1.0 keeps it the same.",
    },
    KeyRecord {
        path: "subscription.<name>.retry.max",
        kind: duration(0, LONGEST_WAIT),
        default: "10s",
        example: "\"1m\"",
        doc: "No wait is longer than this.",
    },
    KeyRecord {
        path: "subscription.<name>.retry.jitter",
        kind: Kind::Number { min: 0.0, max: 1.0 },
        default: "0.2",
        example: "0.1",
        doc: "Each wait varies at random by up to this fraction of it.",
    },
    KeyRecord {
        path: "subscription.<name>.retry.durable_after",
        kind: duration(0, LONGEST_WAIT),
        default: "1s",
        example: "\"5s\"",
        doc: "A message that must wait longer than this waits durably, in the retry lane of its group: the \
              wait outlives a restart.",
    },
    KeyRecord {
        path: "subscription.<name>.retry.budget",
        kind: Kind::Number {
            min: 0.0,
            max: 1_000.0,
        },
        default: "0.2",
        example: "0.5",
        doc: "Retries per first delivery that are allowed over time. A retry beyond it waits; none is \
              dropped.",
    },
    KeyRecord {
        path: "subscription.<name>.retry.budget_floor",
        kind: Kind::OrNone(&Kind::Rate),
        default: "10/s",
        example: "\"10/s\"",
        doc: "Retries that are always allowed, whatever the budget; `none` for no such allowance.",
    },
    KeyRecord {
        path: "subscription.<name>.order",
        kind: Kind::Choice(&["kept", "relaxed"]),
        default: "kept",
        example: "\"relaxed\"",
        doc: "Whether later messages of a key wait behind one that waits durably (`kept`) or overtake it.",
    },
    KeyRecord {
        path: "subscription.<name>.max_parked",
        kind: Kind::Integer {
            min: 1,
            max: 100_000_000,
        },
        default: "10000",
        example: "50000",
        doc: "How many messages of a partition may wait durably; beyond it the partition is paused.",
    },
    KeyRecord {
        path: "subscription.<name>.dead_letter",
        kind: Kind::Template {
            placeholders: &["destination", "group"],
        },
        default: "{destination}.DLT",
        example: "\"{destination}.DLT\"",
        doc: "The destination of messages that cannot be handled. It cannot be switched off, see \
              `lose_exhausted_messages`.",
    },
    KeyRecord {
        path: "subscription.<name>.headers",
        kind: Kind::Choice(&["tidings", "spring"]),
        default: "tidings",
        example: "\"spring\"",
        doc: "Whose words dead letters are described in: ours, or also those of Spring Kafka, so that services that use \
              it can read and handle them. Its letters are understood in any case.",
    },
    KeyRecord {
        path: "subscription.<name>.lose_exhausted_messages",
        kind: Kind::Switch,
        default: "false",
        example: "true",
        doc: "Throws away what cannot be handled instead of keeping it as a dead letter. Those messages \
              are lost.",
    },
    KeyRecord {
        path: "subscription.<name>.paused",
        kind: Kind::Switch,
        default: "false",
        example: "true",
        doc: "Whether the subscription starts paused.",
    },
    KeyRecord {
        path: "subscription.<name>.spawn",
        kind: Kind::Switch,
        default: "false",
        example: "true",
        doc: "Whether each handling is a task of its own, so that CPU-heavy work uses every core.",
    },
    KeyRecord {
        path: "subscription.<name>.exactly_once",
        kind: Kind::Switch,
        default: "false",
        example: "true",
        doc: "Whether what handlings publish and the group's progress are one transaction of the broker, per \
              span of messages: `commit_interval` and `commit_every` say how long a span is. Where commits \
              take long it lasts up to ten intervals. Needs a group and a broker with transactions.",
    },
    KeyRecord {
        path: "subscription.<name>.commit_interval",
        kind: duration(1, HOUR),
        default: "that of the binder",
        example: "\"1s\"",
        doc: "How often progress is stored.",
    },
    KeyRecord {
        path: "subscription.<name>.commit_every",
        kind: Kind::Integer {
            min: 1,
            max: 1_000_000_000,
        },
        default: "10000, with exactly_once 100000",
        example: "1000",
        doc: "Progress is stored at the latest after this many finished messages.",
    },
];
