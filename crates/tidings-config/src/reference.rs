//! The reference page for users, made from the records.

use crate::record::KeyRecord;
use crate::records::records;
use std::fmt::Write;

/// What stands before the tables. Its own file, because it is prose and not code.
const PREFACE: &str = include_str!("reference.md");

/// The reference of every key, in Markdown, for users: how a configuration is written and which value wins, then a
/// table per section with type, range, default, an example and what it means.
pub fn reference_markdown() -> String {
    let mut page = PREFACE.replace("{LOSING}", &losing());
    for section in SECTIONS {
        let _ = write!(
            page,
            "\n## {}\n\n{}\n\n| key | type | range | default | example | meaning |\n|---|---|---|---|---|---|\n",
            section.heading, section.about
        );
        for record in records().iter().filter(|record| section.holds(record)) {
            page.push_str(&row(record, section.prefix));
        }
    }
    page
}

struct Section {
    heading: &'static str,
    prefix: &'static str,
    about: &'static str,
}

const SECTIONS: [Section; 7] = [
    Section {
        heading: "The top of the file",
        prefix: "",
        about: "Keys above the first table. As a variable: `TIDINGS__NAME=shop`.",
    },
    Section {
        heading: "`[app]`",
        prefix: "app.",
        about: "The whole program. As a variable: `TIDINGS__APP__DRAIN_TIMEOUT=10s`.",
    },
    Section {
        heading: "`[binder.<name>]`",
        prefix: "binder.<name>.",
        about: "A broker and how it is reached. The one that channels live on, unless they say otherwise, is `main`. As \
                a variable: `TIDINGS__BINDER__MAIN__FSYNC=always`; `TIDINGS_URL` is `binder.main.url`.",
    },
    Section {
        heading: "`[channel.<name>]`",
        prefix: "channel.<name>.",
        about: "A channel of the code: where it lives and how it is made. As a variable: \
                `TIDINGS__CHANNEL__ORDERS__PARTITIONS=6`.",
    },
    Section {
        heading: "`[subscription.<name>]`",
        prefix: "subscription.<name>.",
        about: "A subscription of the code, by the name that `.name(…)` gives it, or its group, or its handler. Each \
                key overrides what the code says, alone: `retry.attempts` in a file keeps the code's `retry.initial`. \
                As a variable: `TIDINGS__SUBSCRIPTION__BILLING__RETRY__ATTEMPTS=5`.",
    },
    Section {
        heading: "`[manage]`",
        prefix: "manage.",
        about: "The local address at which the command `tidings` reaches a running service. As a variable: \
                `TIDINGS__MANAGE__ENABLED=false`.",
    },
    Section {
        heading: "`[sql]`",
        prefix: "sql.",
        about: "The databases that effects happen once in, as far as their stores are opened with \
                `SqlOptions::configured(&config.sql())`. `[sql.relay]` and `[sql.replication]` say who sends what is in the \
                outbox, and how. As a variable: `TIDINGS__SQL__MAX_CONNECTIONS=32`, `TIDINGS__SQL__RELAY__MODE=off`.",
    },
];

impl Section {
    fn holds(&self, record: &KeyRecord) -> bool {
        match self.prefix {
            "" => !record.path.contains('.'),
            prefix => record.path.starts_with(prefix),
        }
    }
}

/// The keys that may lose messages.
fn losing() -> String {
    let keys = records().iter().filter(|record| record.loses_messages());
    keys.map(|record| format!("- `{}`: {}\n", record.path, record.doc))
        .collect()
}

fn row(record: &KeyRecord, prefix: &str) -> String {
    let range = match (record.kind.range(), record.kind.unit()) {
        (Some(range), Some(unit)) => format!("{range} ({unit})"),
        (Some(range), None) => range,
        (None, _) => String::new(),
    };
    format!(
        "| `{}` | {} | {} | {} | `{}` | {} |\n",
        record.path.strip_prefix(prefix).unwrap_or(record.path),
        record.kind.name(),
        cell(&range),
        cell(record.default),
        cell(record.example),
        cell(record.doc),
    )
}

/// A bar would end the cell.
fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('\n', " ")
}
