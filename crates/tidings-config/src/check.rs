//! Does a value fit its record? [`check`] is pure: a kind and what was read in, a typed value out.

use crate::error::ConfigError;
use crate::human::{parse_bytes, parse_duration, parse_rate, parse_time};
use crate::key::KeyPath;
use crate::node::{Node, NodeValue};
use crate::partitions::Partitions;
use crate::record::{KeyRecord, Kind};
use crate::redact::Secret;
use crate::start::Start;
use crate::toml_source::read_value;
use crate::url::BinderUrl;
use crate::value::Value;

/// Words that look like switching something off where a name is expected.
const NOT_NAMES: [&str; 5] = ["false", "true", "none", "off", "null"];

/// The value of a key, or what is wrong with it.
pub(crate) fn check(record: &KeyRecord, path: &KeyPath, node: &Node) -> Result<Value, ConfigError> {
    typed(&record.kind, node).ok_or_else(|| wrong(record, path, node))
}

/// A property of a client: any single value, as text.
pub(crate) fn check_property(record: &KeyRecord, path: &KeyPath, node: &Node) -> Result<Value, ConfigError> {
    let text = match &node.value {
        NodeValue::Text(text) | NodeValue::Loose(text) => text.clone(),
        NodeValue::Integer(number) => number.to_string(),
        NodeValue::Number(number) => number.to_string(),
        NodeValue::Switch(on) => on.to_string(),
        NodeValue::Time(_) | NodeValue::Null | NodeValue::List(_) | NodeValue::Table(_) => {
            return Err(wrong(record, path, node));
        }
    };
    Ok(Value::Property(Secret::new(text)))
}

/// What is wrong with the value of a key.
pub(crate) fn wrong(record: &KeyRecord, path: &KeyPath, node: &Node) -> ConfigError {
    let mut expected = record.kind.expected();
    if record.last() == "dead_letter" {
        expected += "; to throw such messages away set lose_exhausted_messages = true";
    }
    let example = if node.origin.is_file() {
        record.example_line()
    } else {
        record.example.trim_matches('"').to_owned()
    };
    ConfigError::WrongValue {
        key: path.to_string(),
        origin: node.origin.clone(),
        found: node.found(path.last()),
        expected: format!("{expected}, for example {example}"),
    }
}

/// Whether a value is one of that kind.
pub(crate) fn fits(kind: &Kind, node: &Node) -> bool {
    typed(kind, node).is_some()
}

fn typed(kind: &Kind, node: &Node) -> Option<Value> {
    match kind {
        Kind::Text => text(node).and_then(name).map(Value::Text),
        Kind::Template { placeholders } => template(text(node)?, placeholders).map(Value::Text),
        Kind::Url => {
            let url = BinderUrl::parse(text(node)?.trim())?;
            Some(Value::Url(url.shown_as(node.origin.address_text())))
        }
        Kind::Switch => switch(node).map(Value::Switch),
        Kind::Integer { min, max } => integer(node)
            .filter(|number| (*min..=*max).contains(number))
            .map(Value::Integer),
        Kind::Number { min, max } => number(node)
            .filter(|number| (*min..=*max).contains(number))
            .map(Value::Number),
        Kind::Duration { min, max } => duration(node)
            .filter(|duration| (*min..=*max).contains(duration))
            .map(Value::Duration),
        Kind::Bytes { min, max } => bytes(node)
            .filter(|bytes| (*min..=*max).contains(bytes))
            .map(Value::Bytes),
        Kind::Rate => rate(node).map(Value::Rate),
        Kind::Choice(words) => choice(node, words).map(Value::Choice),
        Kind::Start => start(node).map(Value::Start),
        Kind::Partitions => partitions(node).map(Value::Partitions),
        Kind::OrNone(_) if text(node).is_some_and(|text| text.trim() == "none") => Some(Value::None),
        Kind::OrNone(kind) => typed(kind, node),
        // A table of properties is walked key by key and never comes here as one value.
        Kind::Properties => None,
    }
}

fn text(node: &Node) -> Option<&str> {
    match &node.value {
        NodeValue::Text(text) | NodeValue::Loose(text) => Some(text),
        _ => None,
    }
}

/// The text of a value that came from outside a file, where everything is text.
fn loose(node: &Node) -> Option<&str> {
    match &node.value {
        NodeValue::Loose(text) => Some(text.trim()),
        _ => None,
    }
}

fn name(text: &str) -> Option<String> {
    let text = text.trim();
    (!text.is_empty() && !text.chars().any(char::is_control)).then(|| text.to_owned())
}

fn template(text: &str, placeholders: &[&str]) -> Option<String> {
    let text = name(text).filter(|text| !NOT_NAMES.contains(&text.to_ascii_lowercase().as_str()))?;
    let mut rest = placeholders.iter().fold(text.clone(), |rest, known| {
        rest.replace(&format!("{{{known}}}"), "")
    });
    rest.retain(|c| c == '{' || c == '}');
    rest.is_empty().then_some(text)
}

fn switch(node: &Node) -> Option<bool> {
    match &node.value {
        NodeValue::Switch(on) => Some(*on),
        _ => loose(node)?.to_ascii_lowercase().parse().ok(),
    }
}

fn integer(node: &Node) -> Option<u64> {
    match &node.value {
        NodeValue::Integer(number) => u64::try_from(*number).ok(),
        _ => loose(node)?.replace('_', "").parse().ok(),
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "beyond 2^53 every number is out of range anyway"
)]
fn number(node: &Node) -> Option<f64> {
    match &node.value {
        NodeValue::Integer(number) => Some(*number as f64),
        NodeValue::Number(number) => Some(*number),
        _ => loose(node)?.parse().ok(),
    }
}

fn duration(node: &Node) -> Option<std::time::Duration> {
    match &node.value {
        NodeValue::Integer(0) => Some(std::time::Duration::ZERO),
        _ => parse_duration(text(node)?),
    }
}

fn bytes(node: &Node) -> Option<u64> {
    match &node.value {
        NodeValue::Integer(number) => u64::try_from(*number).ok(),
        _ => parse_bytes(text(node)?),
    }
}

fn rate(node: &Node) -> Option<f64> {
    match text(node) {
        Some(text) => parse_rate(text),
        None => number(node).filter(|rate| *rate > 0.0 && rate.is_finite()),
    }
}

fn choice(node: &Node, words: &[&'static str]) -> Option<&'static str> {
    match loose(node) {
        Some(text) => words.iter().find(|word| word.eq_ignore_ascii_case(text)).copied(),
        None => text(node).and_then(|text| words.iter().find(|word| **word == text).copied()),
    }
}

fn partitions(node: &Node) -> Option<Partitions> {
    match &node.value {
        NodeValue::Integer(number) => Partitions::parse(&number.to_string()),
        _ => Partitions::parse(text(node)?),
    }
}

fn start(node: &Node) -> Option<Start> {
    match &node.value {
        NodeValue::Text(text) => Start::parse(text),
        NodeValue::Loose(text) => {
            Start::parse(text).or_else(|| start_table(&read_value(text, &node.origin)?))
        }
        _ => start_table(node),
    }
}

/// `{ offset = 42 }` or `{ time = "…" }`, with nothing beside it.
fn start_table(node: &Node) -> Option<Start> {
    let NodeValue::Table(entries) = &node.value else {
        return None;
    };
    let [entry] = entries.as_slice() else { return None };
    match (entry.key.as_str(), &entry.node.value) {
        ("offset", NodeValue::Integer(offset)) => u64::try_from(*offset).ok().map(Start::Offset),
        ("time", NodeValue::Text(time) | NodeValue::Time(time)) => parse_time(time).map(Start::Time),
        _ => None,
    }
}
