//! One record per key: [`KeyRecord`] and the [`Kind`] of its value.

use crate::human::{format_bytes, format_duration};
use crate::key::KeyPath;
use std::fmt;
use std::time::Duration;

/// All that is known of one key. The reference page, the check of every value, and the hint for a mistyped key are
/// made from it.
#[derive(Debug, Clone, Copy)]
pub struct KeyRecord {
    /// The key; `<name>` stands for the name of a binder, channel or subscription.
    pub path: &'static str,
    /// The type of its value, with its limits.
    pub kind: Kind,
    /// What holds if nobody sets it, as text.
    pub default: &'static str,
    /// A value as TOML writes it.
    pub example: &'static str,
    /// What it means.
    pub doc: &'static str,
}

/// The type of a value, with its limits (both ends belong to the range).
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub enum Kind {
    /// Text that is not empty.
    Text,
    /// Text in which only these placeholders may stand in braces.
    Template {
        /// The placeholders without their braces.
        placeholders: &'static [&'static str],
    },
    /// The address of a broker.
    Url,
    /// True or false.
    Switch,
    /// A whole number.
    Integer {
        /// The smallest.
        min: u64,
        /// The largest.
        max: u64,
    },
    /// A number.
    Number {
        /// The smallest.
        min: f64,
        /// The largest.
        max: f64,
    },
    /// A duration such as `500ms`, `1h30m` or `PT1S`.
    Duration {
        /// The shortest.
        min: Duration,
        /// The longest.
        max: Duration,
    },
    /// A number of bytes such as `64MiB`.
    Bytes {
        /// The smallest.
        min: u64,
        /// The largest.
        max: u64,
    },
    /// A rate such as `100/s`.
    Rate,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// Where a group starts to read.
    Start,
    /// Numbers of partitions and ranges of them: `0, 2-4`.
    Partitions,
    /// As another kind, or `none` for no limit.
    OrNone(&'static Kind),
    /// A table of the client's own properties, passed on as they are.
    Properties,
}

impl Kind {
    /// What is expected, in words: `a whole number from 1 to 10000`.
    pub fn expected(&self) -> String {
        match self {
            Self::Text => "text that is not empty".to_owned(),
            Self::Template { placeholders } => {
                let known: Vec<_> = placeholders.iter().map(|name| format!("{{{name}}}")).collect();
                format!("text, in which only {} may stand in braces", known.join(" and "))
            }
            Self::Url => "an address with its scheme".to_owned(),
            Self::Switch => "true or false".to_owned(),
            Self::Integer { min, max: u64::MAX } => format!("a whole number from {min}"),
            Self::Integer { min, max } => format!("a whole number from {min} to {max}"),
            Self::Number { min, max } => format!("a number from {min} to {max}"),
            Self::Duration { min, max } => {
                format!(
                    "a duration with its unit (500ms, 1m30s, PT1.5S) from {} to {}",
                    format_duration(*min),
                    format_duration(*max)
                )
            }
            Self::Bytes { min, max: u64::MAX } => {
                format!("a size (64MiB, 1MB, or bytes) from {}", format_bytes(*min))
            }
            Self::Bytes { min, max } => {
                let (min, max) = (format_bytes(*min), format_bytes(*max));
                format!("a size (64MiB, 1MB, or bytes) from {min} to {max}")
            }
            Self::Rate => "a rate above 0, per second, minute or hour".to_owned(),
            Self::Choice(words) => format!("one of {}", words.join(", ")),
            Self::Start => "earliest, latest, an offset, or a time with its offset from UTC".to_owned(),
            Self::Partitions => "numbers of partitions and ranges of them (\"0, 2-4\")".to_owned(),
            Self::OrNone(kind) => format!("{}, or \"none\"", kind.expected()),
            Self::Properties => "a table of the client's properties: text, numbers, true or false".to_owned(),
        }
    }

    /// What may be said, without the type: `1 to 100000`, `always, interval, os`; none where any text may.
    pub fn range(&self) -> Option<String> {
        match self {
            Self::Text | Self::Url | Self::Properties => None,
            Self::Template { placeholders } => {
                let known: Vec<_> = placeholders.iter().map(|name| format!("{{{name}}}")).collect();
                Some(format!("may hold {}", known.join(", ")))
            }
            Self::Switch => Some("true, false".to_owned()),
            Self::Integer { min, max } => Some(between(min, (*max < u64::MAX).then_some(max))),
            Self::Number { min, max } => Some(between(min, Some(max))),
            Self::Duration { min, max } => Some(between(format_duration(*min), Some(format_duration(*max)))),
            Self::Bytes { min, max } => {
                let max = (*max < u64::MAX).then(|| format_bytes(*max));
                Some(between(format_bytes(*min), max))
            }
            Self::Rate => Some("above 0".to_owned()),
            Self::Choice(words) => Some(words.join(", ")),
            Self::Start => Some("earliest, latest, offset:N, time:T".to_owned()),
            Self::Partitions => Some("0, 2-4".to_owned()),
            Self::OrNone(kind) => Some(match kind.range() {
                Some(range) => format!("{range}, or none"),
                None => "or none".to_owned(),
            }),
        }
    }

    /// What a bare number would count, or which units are written with it; none where there is no unit.
    pub fn unit(&self) -> Option<&'static str> {
        match self {
            Self::Duration { .. } => Some("ms, s, m, h, d"),
            Self::Bytes { .. } => Some("B, kB, KiB, MB, MiB, …"),
            Self::Rate => Some("per s, m, h"),
            Self::OrNone(kind) => kind.unit(),
            _ => None,
        }
    }

    /// The name of the type for tables: `integer`, `duration`, …
    pub fn name(&self) -> &'static str {
        match self {
            Self::Text | Self::Template { .. } => "text",
            Self::Url => "URL",
            Self::Switch => "boolean",
            Self::Integer { .. } => "integer",
            Self::Number { .. } => "number",
            Self::Duration { .. } => "duration",
            Self::Bytes { .. } => "size",
            Self::Rate => "rate",
            Self::Choice(_) => "choice",
            Self::Start => "start",
            Self::Partitions => "partitions",
            Self::OrNone(kind) => kind.name(),
            Self::Properties => "table",
        }
    }
}

fn between<T: fmt::Display>(min: T, max: Option<T>) -> String {
    match max {
        Some(max) => format!("{min} to {max}"),
        None => format!("from {min}"),
    }
}

impl KeyRecord {
    /// Whether the key can lose messages: its name says so, and no other key can.
    pub fn loses_messages(&self) -> bool {
        self.last().starts_with("lose_")
    }

    /// The environment variable that sets it; `<NAME>` stands for the name of a binder, channel or subscription.
    pub fn variable(&self) -> String {
        KeyPath::new(self.segments()).variable()
    }

    /// What other systems call it; a hint for whoever writes that.
    pub fn synonyms(&self) -> &'static [&'static str] {
        crate::records::synonyms(self.path)
    }

    /// The parts of the path.
    pub(crate) fn segments(&self) -> impl Iterator<Item = &'static str> + use<> {
        self.path.split('.')
    }

    /// The last part of the path, by which the key is written inside its table.
    pub(crate) fn last(&self) -> &'static str {
        self.segments().last().unwrap_or_default()
    }

    /// How the key could be written in a file.
    pub(crate) fn example_line(&self) -> String {
        format!("{} = {}", self.last(), self.example)
    }
}
