//! One layer of configuration, checked: [`Layer`] turns a tree into values with their records.

use crate::check::{check, check_property};
use crate::error::ConfigError;
use crate::key::KeyPath;
use crate::node::{Entry, Node, NodeValue};
use crate::origin::Origin;
use crate::record::KeyRecord;
use crate::schema::{Place, Schema};
use crate::toml_source::read_value;
use crate::value::Value;

/// A value that somebody set.
#[derive(Clone)]
pub(crate) struct Found {
    pub(crate) path: KeyPath,
    pub(crate) value: Value,
    pub(crate) origin: Origin,
}

/// A table such as `subscription.billing`, even an empty one.
#[derive(Clone)]
pub(crate) struct FoundName {
    pub(crate) path: KeyPath,
    pub(crate) origin: Origin,
}

/// What one layer says. Mistakes are collected, so that all of them can be reported at once.
#[derive(Default)]
pub(crate) struct Layer {
    pub(crate) found: Vec<Found>,
    pub(crate) names: Vec<FoundName>,
    /// What belongs to the program's own sections, with its path.
    pub(crate) sections: Vec<(KeyPath, Entry)>,
    pub(crate) errors: Vec<ConfigError>,
}

impl Layer {
    /// Takes a whole document.
    pub(crate) fn document(schema: &Schema, document: Node) -> Self {
        let mut layer = Self::default();
        layer.entries(schema, &KeyPath::default(), document);
        layer
    }

    /// Takes what stands at a path.
    pub(crate) fn take(&mut self, schema: &Schema, path: KeyPath, entry: Entry) {
        match schema.place(&path) {
            Place::Key(record) => {
                let value = check(record, &path, &entry.node);
                self.key(path, value, entry.node.origin);
            }
            Place::Property(record) => self.property(record, path, entry.node),
            Place::Properties(record) => self.properties(record, &path, entry.node),
            Place::Section => self.section(path, entry),
            Place::Unknown => self.errors.extend(schema.unknown_entry(&path, &entry)),
            Place::Table => {
                if path.segments().len() == 2 {
                    self.names.push(FoundName {
                        path: path.clone(),
                        origin: entry.origin.clone(),
                    });
                }
                self.entries(schema, &path, entry.node);
            }
        }
    }

    fn key(&mut self, path: KeyPath, value: Result<Value, ConfigError>, origin: Origin) {
        match value {
            Ok(value) => {
                // A key may come without its table when it is a variable.
                if path.segments().len() > 2 {
                    self.names.push(FoundName {
                        path: path.first(2),
                        origin: origin.clone(),
                    });
                }
                self.found.push(Found { path, value, origin });
            }
            Err(error) => self.errors.push(error),
        }
    }

    fn entries(&mut self, schema: &Schema, path: &KeyPath, node: Node) {
        match into_table(node) {
            Ok(entries) => {
                for entry in entries {
                    self.take(schema, path.child(&entry.key), entry);
                }
            }
            Err(node) => self.errors.push(not_a_table(path, &node)),
        }
    }

    fn section(&mut self, path: KeyPath, mut entry: Entry) {
        if path.segments().len() == 1 {
            match into_table(entry.node) {
                Ok(entries) => entry.node = Node::new(NodeValue::Table(entries), entry.origin.clone()),
                Err(node) => return self.errors.push(not_a_table(&path, &node)),
            }
        }
        self.sections.push((path, entry));
    }

    /// Properties may be written with quotes, `kafka."security.protocol"`, or without, which TOML reads as tables in
    /// tables; both are the same property.
    fn properties(&mut self, record: &'static KeyRecord, table: &KeyPath, node: Node) {
        let mut open = vec![(String::new(), node)];
        while let Some((prefix, node)) = open.pop() {
            let is_root = prefix.is_empty();
            match into_table(node) {
                Ok(entries) => {
                    let key = |entry: &Entry| {
                        if is_root {
                            entry.key.clone()
                        } else {
                            format!("{prefix}.{}", entry.key)
                        }
                    };
                    open.extend(entries.into_iter().rev().map(|entry| (key(&entry), entry.node)));
                }
                Err(node) if is_root => self.errors.push(not_a_table(table, &node)),
                Err(node) => self.property(record, table.child(&prefix), node),
            }
        }
    }

    fn property(&mut self, record: &KeyRecord, path: KeyPath, node: Node) {
        let value = check_property(record, &path, &node);
        self.key(path, value, node.origin);
    }
}

/// The entries of a table, also of one that is written in a variable.
fn into_table(node: Node) -> Result<Vec<Entry>, Node> {
    match node.value {
        NodeValue::Table(entries) => Ok(entries),
        // In YAML, `billing:` with nothing below it.
        NodeValue::Null => Ok(Vec::new()),
        NodeValue::Loose(ref text) => match read_value(text, &node.origin) {
            Some(Node {
                value: NodeValue::Table(entries),
                ..
            }) => Ok(entries),
            _ => Err(node),
        },
        _ => Err(node),
    }
}

fn not_a_table(path: &KeyPath, node: &Node) -> ConfigError {
    ConfigError::WrongValue {
        key: path.to_string(),
        origin: node.origin.clone(),
        found: node.found(path.last()),
        expected: format!("a table, for example [{path}]"),
    }
}
