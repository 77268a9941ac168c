//! Keys of a channel.

use super::{CENTURY, duration};
use crate::record::{KeyRecord, Kind};

pub(super) const RECORDS: &[KeyRecord] = &[
    KeyRecord {
        path: "channel.<name>.binder",
        kind: Kind::Text,
        default: "main",
        example: "\"main\"",
        doc: "The binder that the channel lives on.",
    },
    KeyRecord {
        path: "channel.<name>.destination",
        kind: Kind::Text,
        default: "the name of the channel",
        example: "\"order-events\"",
        doc: "The topic, exchange or queue on the broker. With `^` in front every destination that matches, also those \
              that come later: `'^orders\\..*'`, in the syntax of the crate regex; it is only read then.",
    },
    KeyRecord {
        path: "channel.<name>.partitions",
        kind: Kind::Integer { min: 1, max: 10_000 },
        default: "4",
        example: "6",
        doc: "How many partitions a destination is created with. One that exists is never changed: if it has another \
              number the start fails.",
    },
    KeyRecord {
        path: "channel.<name>.create",
        kind: Kind::Choice(&["if-missing", "never"]),
        default: "if-missing",
        example: "\"never\"",
        doc: "Whether a missing destination is created at start. With `never` the start fails instead. On RabbitMQ a group \
              does without a retry queue then: what waits is held for `longest_hold` at the most.",
    },
    KeyRecord {
        path: "channel.<name>.retention_time",
        kind: Kind::OrNone(&duration(1_000, CENTURY)),
        default: "that of the binder",
        example: "\"7d\"",
        doc: "Messages older than this are removed, but none that a stored group has not finished.",
    },
    KeyRecord {
        path: "channel.<name>.retention_bytes",
        kind: Kind::OrNone(&Kind::Bytes {
            min: 4 << 10,
            max: u64::MAX,
        }),
        default: "that of the binder",
        example: "\"1GiB\"",
        doc: "The oldest messages of a partition are removed while it is larger than this, but none that a stored \
              group has not finished.",
    },
    KeyRecord {
        path: "channel.<name>.cleanup",
        kind: Kind::Choice(&["delete", "compact"]),
        default: "delete",
        example: "\"compact\"",
        doc: "Embedded: what goes as time passes. With `delete` what is too old or too much. With `compact` messages that \
              a later one with the same key supersedes, also if a group has not read them yet: at least the last \
              message of each key stays. Then `retention_time` and `retention_bytes` of the binder do not count, those \
              of the channel do.",
    },
    KeyRecord {
        path: "channel.<name>.tombstone_retention",
        kind: duration(0, CENTURY),
        default: "24h",
        example: "\"7d\"",
        doc: "Embedded, with `cleanup = \"compact\"`: how long a message with a key and no payload stays, which says that \
              the key is deleted. Whoever reads for longer than this from the beginning may miss the deletion.",
    },
    KeyRecord {
        path: "channel.<name>.claim_check",
        kind: Kind::OrNone(&Kind::Bytes { min: 0, max: 1 << 30 }),
        default: "none",
        example: "\"256KiB\"",
        doc: "A payload larger than this goes to the claim store, and the message carries a reference to it. Readers need \
              the same `claim_store`.",
    },
    KeyRecord {
        path: "channel.<name>.claim_store",
        kind: Kind::Text,
        default: "none",
        example: "\"/var/lib/shop/claims\"",
        doc: "The directory in which payloads lie that are too large to travel. Nothing in it is removed by itself, \
              because nobody knows who still reads a message. A store of another kind is given in code.",
    },
    KeyRecord {
        path: "channel.<name>.claim_max_bytes",
        kind: Kind::Bytes { min: 1, max: 1 << 31 },
        default: "256MiB",
        example: "\"1GiB\"",
        doc: "The largest payload that is put into a claim store or fetched from it, and how much may be on its way into \
              it at once.",
    },
];
