//! Keys of the databases that effects happen once in.

use super::{CENTURY, DAY, HOUR, MINUTE, duration};
use crate::record::{KeyRecord, Kind};

pub(super) const RECORDS: &[KeyRecord] = &[
    KeyRecord {
        path: "sql.schema",
        kind: Kind::Text,
        default: "tidings",
        example: "\"events\"",
        doc: "The schema that the tables of Tidings are in on PostgreSQL; on SQLite, which has none, their names begin with \
              it and `_`. 1 to 32 characters of a-z, 0-9 and _.",
    },
    KeyRecord {
        path: "sql.migrate",
        kind: Kind::Switch,
        default: "true",
        example: "false",
        doc: "Whether tables that are lacking are made at start. Without it they are an error, and a role that may not \
              create tables is enough in any case where they are there.",
    },
    KeyRecord {
        path: "sql.max_connections",
        kind: Kind::Integer { min: 1, max: 10_000 },
        default: "10",
        example: "32",
        doc: "The most connections to the database at a time. Each handling under an inbox has one, so there should be as \
              many as the concurrencies of its subscriptions together. SQLite has one more, the only one that writes.",
    },
    KeyRecord {
        path: "sql.timeout",
        kind: duration(10, HOUR),
        default: "10s",
        example: "\"5s\"",
        doc: "How long it is waited for a connection, and for the answer to a statement of Tidings' own. The claim of another \
              transaction is waited for half as long, on PostgreSQL.",
    },
    KeyRecord {
        path: "sql.busy_timeout",
        kind: duration(0, MINUTE),
        default: "5s",
        example: "\"1s\"",
        doc: "SQLite: how long a transaction waits for one of another process that writes.",
    },
    KeyRecord {
        path: "sql.inbox_retention",
        kind: duration(1_000, CENTURY),
        default: "7d",
        example: "\"30d\"",
        doc: "How long an inbox knows a message that was handled. One that comes again after that is handled again, so it is \
              to be longer than any broker, retry or redrive takes to bring a message again.",
    },
    KeyRecord {
        path: "sql.inbox_prune_interval",
        kind: duration(10, DAY),
        default: "1m",
        example: "\"10s\"",
        doc: "How often an inbox looks for messages that it may forget.",
    },
    KeyRecord {
        path: "sql.inbox_prune_rows",
        kind: Kind::Integer {
            min: 1,
            max: 1_000_000,
        },
        default: "1000",
        example: "5000",
        doc: "How many messages an inbox forgets at a time. While there are more it goes on after a tenth of a second.",
    },
];
