//! What may stand where: paths matched against the records.

use crate::error::ConfigError;
use crate::hint::{ANY_NAME, known_elsewhere, meant, under};
use crate::key::KeyPath;
use crate::nearest::nearest;
use crate::node::{Entry, NodeValue};
use crate::origin::Origin;
use crate::record::{KeyRecord, Kind};
use crate::records::records;
use std::collections::BTreeSet;

/// Paths are not longer; trees are walked by recursion. Files are limited by their parser.
const MAX_DEPTH: usize = 64;

/// What may stand at a path.
#[derive(Clone, Copy)]
pub(crate) enum Place {
    /// The value of a key.
    Key(&'static KeyRecord),
    /// A table of a client's properties.
    Properties(&'static KeyRecord),
    /// One property of a client.
    Property(&'static KeyRecord),
    /// A table that holds keys.
    Table,
    /// A section of the program, or something inside it.
    Section,
    /// Nothing.
    Unknown,
}

/// The records, and the sections of the program.
#[derive(Clone, Default)]
pub(crate) struct Schema {
    pub(crate) sections: BTreeSet<String>,
}

impl Schema {
    pub(crate) fn place(&self, path: &KeyPath) -> Place {
        let path = path.segments();
        if path.len() > MAX_DEPTH {
            return Place::Unknown;
        }
        let mut place = Place::Unknown;
        for record in records() {
            let depth = record.segments().count();
            if !record
                .segments()
                .zip(path)
                .all(|(known, found)| known == ANY_NAME || known == found)
            {
                continue;
            }
            let properties = matches!(record.kind, Kind::Properties);
            place = match depth.cmp(&path.len()) {
                std::cmp::Ordering::Equal if properties => return Place::Properties(record),
                std::cmp::Ordering::Equal => return Place::Key(record),
                std::cmp::Ordering::Less if properties => return Place::Property(record),
                std::cmp::Ordering::Less => place,
                std::cmp::Ordering::Greater => Place::Table,
            };
        }
        match (place, path.first()) {
            (Place::Unknown, Some(first)) if self.sections.contains(first) => Place::Section,
            (place, _) => place,
        }
    }

    /// The record of a key, or of the table of properties that it is one of.
    pub(crate) fn record(&self, path: &KeyPath) -> Option<&'static KeyRecord> {
        match self.place(path) {
            Place::Key(record) | Place::Property(record) | Place::Properties(record) => Some(record),
            _ => None,
        }
    }

    /// The errors for something that does not exist. A table whose keys are known elsewhere (`batch.size` for
    /// `batch_size`) is reported key by key, so that each gets its hint; any other one once.
    pub(crate) fn unknown_entry(&self, path: &KeyPath, entry: &Entry) -> Vec<ConfigError> {
        let NodeValue::Table(children) = &entry.node.value else {
            return vec![self.unknown(path, &entry.origin)];
        };
        let (parent, rest) = self.split(path);
        let is_meant = |child: &&Entry| {
            let rest: Vec<_> = rest.iter().cloned().chain([child.key.clone()]).collect();
            known_elsewhere(&parent, &rest).is_some()
        };
        let meant: Vec<_> = children.iter().filter(is_meant).collect();
        if parent.segments().is_empty() || meant.is_empty() {
            return vec![self.unknown(path, &entry.origin)];
        }
        let errors = children
            .iter()
            .map(|child| self.unknown(&path.child(&child.key), &child.origin));
        errors.collect()
    }

    /// The nearest table that exists, where the mistake begins, and what was written inside it.
    fn split<'a>(&self, path: &'a KeyPath) -> (KeyPath, &'a [String]) {
        let depth = (0..path.segments().len())
            .rev()
            .find(|depth| *depth == 0 || matches!(self.place(&path.first(*depth)), Place::Table))
            .unwrap_or(0);
        (
            path.first(depth),
            path.segments().get(depth..).unwrap_or_default(),
        )
    }

    /// The error for a key that does not exist, with what was probably meant and what would be valid beside it.
    pub(crate) fn unknown(&self, path: &KeyPath, origin: &Origin) -> ConfigError {
        let (parent, rest) = self.split(path);
        let valid = self.children(&parent);
        ConfigError::UnknownKey {
            key: path.to_string(),
            origin: origin.clone(),
            nearest: meant(&parent, rest, &valid),
            valid,
        }
    }

    /// The keys of a table; none where any name may stand.
    fn children(&self, parent: &KeyPath) -> Vec<String> {
        let depth = parent.segments().len();
        let mut children: Vec<String> = Vec::new();
        let known = records()
            .iter()
            .filter(|record| under(record, parent))
            .filter_map(|record| record.segments().nth(depth));
        for child in known.filter(|child| *child != ANY_NAME) {
            if children.last().is_none_or(|last| last != child) {
                children.push(child.to_owned());
            }
        }
        if depth == 0 {
            children.extend(self.sections.iter().cloned());
        }
        children
    }

    /// The variable that was probably meant by one whose path does not exist.
    pub(crate) fn nearest_variable(&self, variable: &str, path: &KeyPath) -> Option<String> {
        let name = path.segments().get(1).map_or("NAME", String::as_str);
        let candidates: Vec<String> = records()
            .iter()
            .map(|record| {
                let segments = record
                    .segments()
                    .map(|segment| if segment == ANY_NAME { name } else { segment });
                KeyPath::new(segments).variable()
            })
            .collect();
        nearest(variable, candidates.iter().map(String::as_str)).map(str::to_owned)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hint(path: &[&str]) -> Option<String> {
        let schema = Schema {
            sections: ["shop".to_owned()].into(),
        };
        match schema.unknown(&KeyPath::new(path.iter().copied()), &Origin::Default) {
            ConfigError::UnknownKey { nearest, .. } => nearest,
            other => panic!("{other}"),
        }
    }

    #[test]
    fn the_key_that_was_meant_is_found_beside_and_below() {
        for (path, expected) in [
            (
                &["subscription", "billing", "concurency"][..],
                Some("concurrency"),
            ),
            (&["subscription", "billing", "retry", "attemps"], Some("attempts")),
            (&["subscription", "billing", "attempts"], Some("retry.attempts")),
            (&["subscriptions", "billing", "group"], Some("subscription")),
            (&["shoop", "http"], Some("shop")),
            (&["drain_timeout"], Some("app.drain_timeout")),
            (
                &["subscription", "billing", "max-attempts"],
                Some("retry.attempts"),
            ),
            (
                &["subscription", "billing", "retry", "maxAttempts"],
                Some("attempts"),
            ),
            (&["subscription", "billing", "auto-offset-reset"], Some("start")),
            (&["subscription", "billing", "batch", "size"], Some("batch_size")),
            (&["subscription", "billing", "size"], Some("batch_size")),
            (
                &["subscription", "billing", "retryAttempts"],
                Some("retry.attempts"),
            ),
            (&["channel", "orders", "retention"], Some("retention_time")),
            (
                &["channel", "orders", "retention", "bytes"],
                Some("retention_bytes"),
            ),
            (
                &["binder", "main", "retention_drop_unread"],
                Some("lose_unread_messages"),
            ),
            (&["topics", "orders"], Some("channel")),
            (&["subscription", "billing", "xyzzy"], None),
        ] {
            assert_eq!(hint(path).as_deref(), expected, "{path:?}");
        }
    }

    #[test]
    fn every_path_has_one_place() {
        let schema = Schema {
            sections: ["shop".to_owned()].into(),
        };
        let place = |path: &str| match schema.place(&KeyPath::new(path.split('.'))) {
            Place::Key(record) => record.path,
            Place::Properties(_) => "properties",
            Place::Property(_) => "property",
            Place::Table => "table",
            Place::Section => "section",
            Place::Unknown => "unknown",
        };
        for (path, expected) in [
            ("name", "name"),
            ("app", "table"),
            ("subscription", "table"),
            ("subscription.a", "table"),
            ("subscription.a.retry", "table"),
            ("subscription.a.retry.max", "subscription.<name>.retry.max"),
            ("subscription.a.start.offset", "unknown"),
            ("binder.main.kafka", "properties"),
            ("binder.main.kafka.x", "property"),
            ("binder.main.nats", "unknown"),
            ("shop", "section"),
            ("shop.http.port", "section"),
            ("other", "unknown"),
        ] {
            assert_eq!(place(path), expected, "{path}");
        }
    }
}
