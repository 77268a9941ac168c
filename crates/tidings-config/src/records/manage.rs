//! Keys of the management address.

use super::{HOUR, duration};
use crate::record::{KeyRecord, Kind};

pub(super) const RECORDS: &[KeyRecord] = &[
    KeyRecord {
        path: "manage.enabled",
        kind: Kind::Switch,
        default: "true",
        example: "false",
        doc: "Whether the command `tidings` can ask the app while it runs. Without it, the directory of a running app \
              can only be read.",
    },
    KeyRecord {
        path: "manage.address",
        kind: Kind::Text,
        default: "127.0.0.1:0",
        example: "\"127.0.0.1:4711\"",
        doc: "Where the app listens for it: 127.0.0.1 with a port, 0 takes a free one. Any other address is refused. \
              The address and a random token are in `manage.json` in the broker's directory, which only the user of \
              the app can read.",
    },
    KeyRecord {
        path: "manage.connections",
        kind: Kind::Integer { min: 1, max: 10_000 },
        default: "64",
        example: "16",
        doc: "How many connections there may be at once; others wait.",
    },
    KeyRecord {
        path: "manage.request_bytes",
        kind: Kind::Bytes {
            min: 4 << 10,
            max: 2 << 30,
        },
        default: "16MiB",
        example: "\"64MiB\"",
        doc: "The largest request. A message that is published by the command has to fit.",
    },
    KeyRecord {
        path: "manage.read_bytes",
        kind: Kind::Bytes {
            min: 4 << 10,
            max: 1 << 30,
        },
        default: "4MiB",
        example: "\"1MiB\"",
        doc: "How many bytes of messages one answer holds. A larger message comes alone.",
    },
    KeyRecord {
        path: "manage.page_size",
        kind: Kind::Integer {
            min: 1,
            max: 1_000_000,
        },
        default: "1000",
        example: "100",
        doc: "How many entries of a list one answer holds; the command asks for the next ones.",
    },
    KeyRecord {
        path: "manage.request_timeout",
        kind: duration(100, HOUR),
        default: "30s",
        example: "\"10s\"",
        doc: "How long a request may take until its answer begins. Long work answers at once and tells its progress.",
    },
];
