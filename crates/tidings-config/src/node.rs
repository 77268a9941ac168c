//! A configuration as it was read, before anything is known about its keys: [`Node`]. Every format gives this tree.

use crate::origin::Origin;
use crate::redact::{HIDDEN, show};

/// A value and the place where it was read.
#[derive(Clone)]
pub(crate) struct Node {
    pub(crate) value: NodeValue,
    pub(crate) origin: Origin,
}

#[derive(Clone)]
pub(crate) enum NodeValue {
    Text(String),
    /// Text from outside a file: only its key decides whether it is a number, a table or text.
    Loose(String),
    Integer(i128),
    Number(f64),
    Switch(bool),
    Time(String),
    /// A key of YAML without a value.
    Null,
    List(Vec<Node>),
    Table(Vec<Entry>),
}

/// One key of a table.
#[derive(Clone)]
pub(crate) struct Entry {
    pub(crate) key: String,
    /// Where the key stands.
    pub(crate) origin: Origin,
    pub(crate) node: Node,
}

impl Node {
    pub(crate) fn new(value: NodeValue, origin: Origin) -> Self {
        Self { value, origin }
    }

    /// The value for a message, without what may be a secret.
    pub(crate) fn found(&self, key: &str) -> String {
        let text = match &self.value {
            NodeValue::List(_) => return "a list".to_owned(),
            NodeValue::Table(_) => return "a table".to_owned(),
            NodeValue::Null => return "empty".to_owned(),
            NodeValue::Loose(text) if text.is_empty() => return "empty".to_owned(),
            _ if self.origin.is_secret() => return HIDDEN.to_owned(),
            NodeValue::Text(text) => return format!("the text {:?}", show(key, text)),
            NodeValue::Loose(text) => return format!("{:?}", show(key, text)),
            NodeValue::Integer(number) => number.to_string(),
            NodeValue::Number(number) => format!("{number:?}"),
            NodeValue::Switch(on) => on.to_string(),
            NodeValue::Time(time) => time.clone(),
        };
        show(key, &text)
    }

    /// The value for people, without what may be a secret.
    pub(crate) fn shown(&self, key: &str) -> String {
        match &self.value {
            _ if self.origin.is_secret() => HIDDEN.to_owned(),
            NodeValue::Text(text) | NodeValue::Loose(text) => show(key, text),
            NodeValue::List(items) => {
                let items: Vec<_> = items.iter().map(|item| item.shown(key)).collect();
                format!("[{}]", items.join(", "))
            }
            NodeValue::Table(entries) => {
                let entry = |entry: &Entry| format!("{} = {}", entry.key, entry.node.shown(&entry.key));
                format!(
                    "{{ {} }}",
                    entries.iter().map(entry).collect::<Vec<_>>().join(", ")
                )
            }
            _ => self.found(key),
        }
    }

    /// Lays another tree over this one: tables are merged, everything else is replaced.
    pub(crate) fn overlay(&mut self, other: Self) {
        match (&mut self.value, other.value) {
            (NodeValue::Table(mine), NodeValue::Table(theirs)) => {
                for entry in theirs {
                    match mine.iter_mut().find(|known| known.key == entry.key) {
                        Some(known) => known.node.overlay(entry.node),
                        None => mine.push(entry),
                    }
                }
            }
            (mine, theirs) => {
                *mine = theirs;
                self.origin = other.origin;
            }
        }
    }
}
