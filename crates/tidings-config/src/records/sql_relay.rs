//! Keys of what sends from an outbox.

use super::{DAY, HOUR, duration};
use crate::record::{KeyRecord, Kind};

pub(super) const RECORDS: &[KeyRecord] = &[
    KeyRecord {
        path: "sql.relay.mode",
        kind: Kind::Choice(&["polling", "replication", "off"]),
        default: "polling",
        example: "\"off\"",
        doc: "Who sends what is in the outbox: the app that publishes by it, by looking for it (`polling`) or as it is \
              committed (`replication`: PostgreSQL with `wal_level = logical`), or another process (`off`).",
    },
    KeyRecord {
        path: "sql.relay.batch",
        kind: Kind::Integer { min: 1, max: 100_000 },
        default: "1000",
        example: "200",
        doc: "The most messages that are read, sent and taken out at once.",
    },
    KeyRecord {
        path: "sql.relay.batch_bytes",
        kind: Kind::Bytes {
            min: 1 << 10,
            max: 1 << 30,
        },
        default: "8MiB",
        example: "\"1MiB\"",
        doc: "The most bytes that are read at once, beyond the first message.",
    },
    KeyRecord {
        path: "sql.relay.lease",
        kind: duration(30, HOUR),
        default: "10s",
        example: "\"30s\"",
        doc: "How long after the death of the process that sends another one takes over. It is renewed at each third of it.",
    },
    KeyRecord {
        path: "sql.relay.poll_interval",
        kind: duration(1, HOUR),
        default: "1s",
        example: "\"200ms\"",
        doc: "How long it waits for a call before it looks by itself, which is also how late messages are that another \
              process writes into a SQLite file.",
    },
    KeyRecord {
        path: "sql.relay.publish_timeout",
        kind: duration(10, HOUR),
        default: "30s",
        example: "\"10s\"",
        doc: "How long it waits for the broker's answers to a batch before it sends again what was not answered.",
    },
    KeyRecord {
        path: "sql.relay.longest_backoff",
        kind: duration(50, HOUR),
        default: "30s",
        example: "\"5s\"",
        doc: "The longest wait before a channel or a database that is away is tried again. The first one is 50ms, and each \
              is twice as long as the one before.",
    },
    KeyRecord {
        path: "sql.relay.backlog_interval",
        kind: duration(10, DAY),
        default: "10s",
        example: "\"1m\"",
        doc: "How often the one that sends measures how much waits, for how long, and how much is parked.",
    },
    KeyRecord {
        path: "sql.relay.parked_keys",
        kind: Kind::Choice(&["go-on", "wait"]),
        default: "go-on",
        example: "\"wait\"",
        doc: "What becomes of the later messages of a key when one of it is parked, because the broker refuses it for good: \
              they are sent, or wait until a person has decided.",
    },
    KeyRecord {
        path: "sql.relay.fence",
        kind: Kind::Switch,
        default: "true",
        example: "false",
        doc: "Whether the one that sends takes the right to send from the one before, where the broker can tell them apart: on \
              Kafka, by transactional ids `tidings-sole-` with the identity of the outbox, the destination and the name of the \
              binder. Without it a process that stood still beyond its lease may bring messages out of turn when it wakes.",
    },
    KeyRecord {
        path: "sql.relay.fence_idle",
        kind: duration(1_000, DAY),
        default: "1m",
        example: "\"10m\"",
        doc: "How long the right to send to a destination is kept while nothing is sent there. On Kafka it is a client with \
              connections of its own, and to take it again costs the next message some milliseconds.",
    },
    KeyRecord {
        path: "sql.relay.holder",
        kind: Kind::Text,
        default: "the app and its process",
        example: "\"shop-7\"",
        doc: "Who sends, for people who look at the locks in the database.",
    },
    KeyRecord {
        path: "sql.replication.slot",
        kind: Kind::Text,
        default: "made of schema and database",
        example: "\"shop_outbox\"",
        doc: "The replication slot, made if it is missing: 1 to 63 characters of a-z, 0-9 and _. All databases of a server \
              have one list of slots.",
    },
    KeyRecord {
        path: "sql.replication.publication",
        kind: Kind::Text,
        default: "the schema and _outbox",
        example: "\"shop_outbox\"",
        doc: "The publication, made if it is missing: 1 to 63 characters of a-z, 0-9 and _.",
    },
    KeyRecord {
        path: "sql.replication.url",
        kind: Kind::Url,
        default: "the store's own",
        example: "\"postgres://replicator@db:5432/shop\"",
        doc: "Another way to the same database, for a role with the right to replicate where the store's has none. Its \
              words for TLS are those of the store's. A password in it is never printed.",
    },
    KeyRecord {
        path: "sql.replication.max_in_flight",
        kind: Kind::Integer {
            min: 1,
            max: 1_000_000,
        },
        default: "10000",
        example: "2000",
        doc: "The most messages that are sent and not taken out yet.",
    },
    KeyRecord {
        path: "sql.replication.max_in_flight_bytes",
        kind: Kind::Bytes {
            min: 1 << 10,
            max: 1 << 30,
        },
        default: "16MiB",
        example: "\"64MiB\"",
        doc: "The most bytes of them, beyond the last message.",
    },
    KeyRecord {
        path: "sql.replication.status_interval",
        kind: duration(10, HOUR),
        default: "1s",
        example: "\"500ms\"",
        doc: "How often the server is told how far everything is done with; half of its `wal_sender_timeout` at the most.",
    },
    KeyRecord {
        path: "sql.replication.lag_interval",
        kind: duration(10, HOUR),
        default: "10s",
        example: "\"1m\"",
        doc: "How often it is measured how far the slot is behind.",
    },
    KeyRecord {
        path: "sql.replication.lag_limit",
        kind: Kind::Bytes {
            min: 1 << 20,
            max: 1 << 50,
        },
        default: "1GiB",
        example: "\"4GiB\"",
        doc: "How much of its log the server may keep for the slot before health and the log say so.",
    },
    KeyRecord {
        path: "sql.replication.behind_limit",
        kind: Kind::Choice(&["alarm", "poll"]),
        default: "alarm",
        example: "\"poll\"",
        doc: "What is done beyond that limit: it is said, or the slot is dropped as well and messages are looked for until the \
              app is started again.",
    },
];
