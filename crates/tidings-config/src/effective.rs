//! What holds, as data: [`Config::effective`] and [`Config::describe`], for people and programs, without secrets.

use crate::config::{Config, Section};
use crate::key::{KeyPath, normal};
use crate::node::{Node, NodeValue};
use crate::origin::Origin;
use crate::record::{KeyRecord, Kind};
use crate::records::records;
use serde_json::{Value, json};
use std::fmt;

/// A value that holds, for people: no part of it is a secret.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Effective {
    /// The key, as TOML writes it.
    pub key: String,
    /// The value, without secrets. Of a key that nobody set, what holds then.
    pub value: String,
    /// Where it came from.
    pub origin: Origin,
    /// What its record says; none for the keys of the program's own sections.
    pub record: Option<&'static KeyRecord>,
}

/// What [`Config::effective`] returns: values in the order of their keys. `Display` shows a table for terminals.
#[derive(Debug, Clone, Default)]
pub struct EffectiveValues(Vec<Effective>);

impl Config {
    /// Every value that holds: those that somebody set, and for each binder, channel and subscription that is
    /// configured, or named here, what holds where nobody said anything. What the code of a program says is not known
    /// here; `Service::describe` of the crate `tidings` tells that.
    ///
    /// ```
    /// use tidings_config::Config;
    /// let config = Config::from_toml("[subscription.billing]\nconcurrency = 16\n", "tidings.toml")?;
    /// let values = config.effective(&[]);
    /// let text = values.to_string();
    /// assert!(text.contains("concurrency") && text.contains("tidings.toml:2"), "{text}");
    /// assert!(values.only_set().to_json().contains("\"key\": \"subscription.billing.concurrency\""));
    /// # Ok::<(), tidings_config::ConfigError>(())
    /// ```
    pub fn effective(&self, names: &[(Section, &str)]) -> EffectiveValues {
        let mut all = Vec::new();
        for record in records().iter().filter(|record| !record.path.contains("<name>")) {
            self.add(record, &KeyPath::new(record.segments()), &mut all);
        }
        for section in [Section::Binder, Section::Channel, Section::Subscription] {
            for name in self.all_names(section, names) {
                let prefix = format!("{}.<name>.", section.as_str());
                for record in records() {
                    let Some(key) = record.path.strip_prefix(&prefix) else {
                        continue;
                    };
                    let table = KeyPath::new([section.as_str(), &name]);
                    let path = key.split('.').fold(table, |path, part| path.child(part));
                    self.add(record, &path, &mut all);
                }
            }
        }
        describe_section(self.store().sections(), &KeyPath::default(), &mut all);
        EffectiveValues(all)
    }

    /// Every value that somebody set, by key, without secrets.
    pub fn describe(&self) -> Vec<Effective> {
        let known = self
            .store()
            .effective()
            .into_iter()
            .map(|(path, found)| Effective {
                key: path.to_string(),
                value: found.value.shown(path.last(), &found.origin),
                origin: found.origin.clone(),
                record: self.store().schema.record(path),
            });
        let mut all: Vec<_> = known.collect();
        describe_section(self.store().sections(), &KeyPath::default(), &mut all);
        all
    }

    /// The configured names and those that are asked for, each once. Names from variables take the spelling of what is
    /// asked for.
    fn all_names(&self, section: Section, asked: &[(Section, &str)]) -> Vec<String> {
        let mut names: Vec<String> = asked
            .iter()
            .filter(|(of, _)| *of == section)
            .map(|(_, name)| (*name).to_owned())
            .collect();
        if section == Section::Binder && !names.iter().any(|name| name == "main") {
            names.push("main".to_owned());
        }
        for name in self.names(section) {
            let is_known = |known: &String| match name.origin.is_file() {
                true => *known == name.value,
                false => normal(known) == normal(&name.value),
            };
            if !names.iter().any(is_known) {
                names.push(name.value);
            }
        }
        names.sort();
        names.dedup();
        names
    }

    fn add(&self, record: &'static KeyRecord, path: &KeyPath, all: &mut Vec<Effective>) {
        if matches!(record.kind, Kind::Properties) {
            let properties = self.store().properties_of(path);
            all.extend(properties.into_iter().map(|(name, found)| Effective {
                key: path.child(&name).to_string(),
                value: found.value.shown(&name, &found.origin),
                origin: found.origin.clone(),
                record: Some(record),
            }));
            return;
        }
        let found = self.store().get(path);
        all.push(Effective {
            key: path.to_string(),
            value: found.map_or_else(
                || record.default.to_owned(),
                |found| found.value.shown(path.last(), &found.origin),
            ),
            origin: found.map_or(Origin::Default, |found| found.origin.clone()),
            record: Some(record),
        });
    }
}

fn describe_section(node: &Node, path: &KeyPath, all: &mut Vec<Effective>) {
    match &node.value {
        NodeValue::Table(entries) => {
            for entry in entries {
                describe_section(&entry.node, &path.child(&entry.key), all);
            }
        }
        _ => all.push(Effective {
            key: path.to_string(),
            // Of sections that are not ours any part of the path may say that a secret is in it.
            value: node.shown(&path.segments().join(".")),
            origin: node.origin.clone(),
            record: None,
        }),
    }
}

impl Effective {
    /// Whether somebody set it.
    pub fn is_set(&self) -> bool {
        self.origin != Origin::Default
    }

    /// As JSON: `key`, `value`, `set`, `origin`, and from the record `type`, `unit`, `range`, `default`, `doc`.
    fn to_json(&self) -> Value {
        let record = self.record;
        json!({
            "key": self.key,
            "value": self.value,
            "set": self.is_set(),
            "origin": self.origin.to_string(),
            "type": record.map(|record| record.kind.name()),
            "unit": record.and_then(|record| record.kind.unit()),
            "range": record.and_then(|record| record.kind.range()),
            "default": record.map(|record| record.default),
            "doc": record.map(|record| record.doc),
        })
    }
}

impl EffectiveValues {
    /// The values.
    pub fn iter(&self) -> std::slice::Iter<'_, Effective> {
        self.0.iter()
    }

    /// Only what somebody set.
    #[must_use]
    pub fn only_set(mut self) -> Self {
        self.0.retain(Effective::is_set);
        self
    }

    /// A JSON array with an object for each value: `key`, `value`, `set`, `origin`, `type`, `unit`, `range`,
    /// `default`, `doc`; what a key does not have is null.
    pub fn to_json(&self) -> String {
        let all: Vec<Value> = self.0.iter().map(Effective::to_json).collect();
        serde_json::to_string_pretty(&all).expect("text under text keys is always JSON")
    }
}

impl<'a> IntoIterator for &'a EffectiveValues {
    type Item = &'a Effective;
    type IntoIter = std::slice::Iter<'a, Effective>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl fmt::Display for EffectiveValues {
    /// Key, value and origin in columns. A very long value does not widen the others.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const WIDEST: usize = 40;
        let width = |text: fn(&Effective) -> &str| {
            let lengths = self.0.iter().map(|value| text(value).chars().count());
            lengths.filter(|length| *length <= WIDEST).max().unwrap_or(0)
        };
        let (keys, values) = (width(|value| &value.key), width(|value| &value.value));
        for value in &self.0 {
            writeln!(
                f,
                "{:keys$}  {:values$}  {}",
                value.key, value.value, value.origin
            )?;
        }
        Ok(())
    }
}
