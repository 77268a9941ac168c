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
];
