//! From TOML text to a [`Node`] tree that knows its lines.

use crate::error::ConfigError;
use crate::node::{Entry, Node, NodeValue};
use crate::origin::Origin;
use std::ops::Range;
use std::sync::Arc;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// A text larger than this is not a configuration.
pub(crate) const MAX_TEXT_BYTES: usize = 1 << 20;

/// Reads a document.
pub(crate) fn read_document(text: &str, file: &str) -> Result<Node, ConfigError> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let places = Places::new(text, Place::File(file.into()));
    if text.len() > MAX_TEXT_BYTES {
        return Err(places.error(None, &format!("larger than {MAX_TEXT_BYTES} bytes")));
    }
    let document = DeTable::parse(text).map_err(|error| places.error(error.span(), error.message()))?;
    Ok(places.table(document.get_ref(), places.at(&(0..0))))
}

/// Reads a single value such as `{ attempts = 3 }` that stands in a variable or argument.
pub(crate) fn read_value(text: &str, origin: &Origin) -> Option<Node> {
    if text.len() > MAX_TEXT_BYTES {
        return None;
    }
    let value = DeValue::parse(text).ok()?;
    Some(Places::new(text, Place::Outside(origin.clone())).node(&value))
}

enum Place {
    File(Arc<str>),
    Outside(Origin),
}

/// Turns positions in the text into lines.
struct Places {
    place: Place,
    /// Where each line begins.
    lines: Vec<usize>,
}

impl Places {
    fn new(text: &str, place: Place) -> Self {
        let breaks = text
            .bytes()
            .enumerate()
            .filter(|(_, byte)| *byte == b'\n')
            .map(|(at, _)| at + 1);
        Self {
            place,
            lines: std::iter::once(0).chain(breaks).collect(),
        }
    }

    fn line(&self, at: usize) -> usize {
        self.lines.partition_point(|start| *start <= at)
    }

    fn at(&self, span: &Range<usize>) -> Origin {
        match &self.place {
            Place::File(file) => Origin::File {
                file: file.clone(),
                line: u32::try_from(self.line(span.start)).unwrap_or(u32::MAX),
            },
            Place::Outside(origin) => origin.clone(),
        }
    }

    /// The parser's own `Display` shows the line with its content, which may be a password.
    fn error(&self, span: Option<Range<usize>>, reason: &str) -> ConfigError {
        let at = span.map_or(0, |span| span.start);
        let line = self.line(at);
        let start = self.lines.get(line.saturating_sub(1)).copied().unwrap_or(0);
        ConfigError::Syntax {
            format: "TOML",
            file: match &self.place {
                Place::File(file) => file.to_string(),
                Place::Outside(origin) => origin.to_string(),
            },
            line: u32::try_from(line).unwrap_or(u32::MAX),
            column: u32::try_from(at - start + 1).unwrap_or(u32::MAX),
            reason: reason.replace('\n', "; "),
        }
    }

    fn table(&self, table: &DeTable<'_>, origin: Origin) -> Node {
        let mut entries: Vec<_> = table
            .iter()
            .map(|(key, value)| (key.span().start, key, value))
            .collect();
        // The parser sorts by key; messages read better in the order of the text.
        entries.sort_by_key(|(start, _, _)| *start);
        let entries = entries.into_iter().map(|(_, key, value)| Entry {
            key: key.get_ref().to_string(),
            origin: self.at(&key.span()),
            node: self.node(value),
        });
        Node::new(NodeValue::Table(entries.collect()), origin)
    }

    fn node(&self, value: &Spanned<DeValue<'_>>) -> Node {
        let origin = self.at(&value.span());
        let value = match value.get_ref() {
            DeValue::String(text) => NodeValue::Text(text.to_string()),
            // A number beyond 128 bits is beyond every range too; as text it is refused with the rest.
            DeValue::Integer(number) => match i128::from_str_radix(number.as_str(), number.radix()) {
                Ok(number) => NodeValue::Integer(number),
                Err(_) => NodeValue::Text(number.as_str().to_owned()),
            },
            DeValue::Float(number) => NodeValue::Number(number.as_str().parse().unwrap_or(f64::NAN)),
            DeValue::Boolean(on) => NodeValue::Switch(*on),
            DeValue::Datetime(time) => NodeValue::Time(time.to_string()),
            DeValue::Array(items) => NodeValue::List(items.iter().map(|item| self.node(item)).collect()),
            DeValue::Table(table) => return self.table(table, origin),
        };
        Node::new(value, origin)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line_of(node: &Node, path: &[&str]) -> String {
        let Some((first, rest)) = path.split_first() else {
            return node.origin.to_string();
        };
        let NodeValue::Table(entries) = &node.value else {
            panic!("not a table")
        };
        let entry = entries.iter().find(|entry| entry.key == *first).expect("present");
        line_of(&entry.node, rest)
    }

    #[test]
    fn every_value_knows_its_line() {
        let text = "name = \"shop\"\n\n[binder.main]\nurl = \"memory:\"\nkafka.\"a.b\" = 1\n[subscription.billing]\n\
                    retry = { attempts = 3,\n max = \"10s\" }\n";
        let node = read_document(text, "t.toml").expect("valid");
        assert_eq!(line_of(&node, &["name"]), "t.toml:1");
        assert_eq!(line_of(&node, &["binder", "main", "url"]), "t.toml:4");
        assert_eq!(line_of(&node, &["binder", "main", "kafka", "a.b"]), "t.toml:5");
        assert_eq!(
            line_of(&node, &["subscription", "billing", "retry", "attempts"]),
            "t.toml:7"
        );
        assert_eq!(
            line_of(&node, &["subscription", "billing", "retry", "max"]),
            "t.toml:8"
        );
    }

    #[test]
    fn a_syntax_error_names_its_place_and_not_the_content() {
        let error = read_document("[binder.main]\nkafka.\"sasl.password\" = hunter2\n", "t.toml")
            .err()
            .expect("invalid");
        let text = error.to_string();
        assert!(text.starts_with("t.toml:2:25: not valid TOML"), "{text}");
        assert!(!text.contains("hunter2"), "{text}");
    }
}
