//! The schema by which editors complete and check `tidings.toml` and `tidings.yaml`, made from the records.

use crate::check::fits;
use crate::node::{Entry, Node, NodeValue};
use crate::origin::Origin;
use crate::record::{KeyRecord, Kind};
use crate::records::{SECTIONS, records};
use crate::toml_source::read_value;
use serde_json::{Map, Value, json};

/// A value that comes from a variable is text, whatever the key takes.
const PLACEHOLDER: &str = r"\$\{[A-Za-z_][A-Za-z0-9_]*(:[^}]*)?\}";
const NUMBER: &str = r"[0-9]+(\.[0-9]+)?";

/// The JSON Schema (draft 2020-12) of a configuration file, for editors. It knows every key with its type, range,
/// default and meaning. What it cannot say is left to the loader: the range of durations and sizes, and what the
/// program's own sections hold.
///
/// ```
/// let schema = tidings_config::json_schema();
/// assert!(schema.contains("https://json-schema.org/draft/2020-12/schema"));
/// ```
pub fn json_schema() -> String {
    let text = serde_json::to_string_pretty(&schema()).expect("text under text keys is always JSON");
    text + "\n"
}

fn schema() -> Value {
    let mut properties = Map::new();
    let mut definitions = Map::new();
    for (section, wrong) in SECTIONS {
        let prefix = if is_one_table(section) {
            format!("{section}.")
        } else {
            String::new()
        };
        let table = table(&prefix, section);
        definitions.insert((*section).to_owned(), table);
        properties.insert((*section).to_owned(), of_section(section));
        for word in *wrong {
            properties.insert((*word).to_owned(), json!(false));
        }
    }
    for record in records().iter().filter(|record| !record.path.contains('.')) {
        properties.insert(record.path.to_owned(), of_key(record));
    }
    definitions.insert(
        "placeholder".to_owned(),
        json!({
            "type": "string",
            "pattern": PLACEHOLDER,
            "description": "Text with environment variables: ${VARIABLE} or ${VARIABLE:default}.",
        }),
    );
    definitions.insert(
        "properties".to_owned(),
        json!({
            "type": "object",
            "additionalProperties": { "anyOf": [
                { "type": ["string", "number", "boolean"] },
                { "$ref": "#/$defs/properties" },
            ] },
        }),
    );
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Configuration of a Tidings program",
        "description": "tidings.toml or tidings.yaml",
        "type": "object",
        "properties": properties,
        // The program's own sections.
        "additionalProperties": { "type": "object" },
        "$defs": definitions,
    })
}

/// Whether the section holds its keys itself, and not a table for each name.
fn is_one_table(section: &str) -> bool {
    let prefix = format!("{section}.<name>.");
    !records().iter().any(|record| record.path.starts_with(&prefix))
}

fn of_section(section: &str) -> Value {
    let reference = json!({ "$ref": format!("#/$defs/{section}") });
    match is_one_table(section) {
        true => reference,
        false => json!({
            "type": ["object", "null"],
            "description": format!("A table for each {section}, under its name."),
            "additionalProperties": reference,
        }),
    }
}

/// The keys of a section, tables inside it included.
fn table(prefix: &str, section: &str) -> Value {
    let prefix = if prefix.is_empty() {
        format!("{section}.<name>.")
    } else {
        prefix.to_owned()
    };
    let mut properties = Map::new();
    let mut inner: Vec<(&str, Map<String, Value>)> = Vec::new();
    for record in records() {
        let Some(key) = record.path.strip_prefix(&prefix) else {
            continue;
        };
        let Some((table, key)) = key.split_once('.') else {
            properties.insert(key.to_owned(), of_key(record));
            continue;
        };
        match inner.iter_mut().find(|(known, _)| *known == table) {
            Some((_, keys)) => drop(keys.insert(key.to_owned(), of_key(record))),
            None => inner.push((table, Map::from_iter([(key.to_owned(), of_key(record))]))),
        }
    }
    for (name, keys) in inner {
        properties.insert(name.to_owned(), closed(keys));
    }
    closed(properties)
}

/// A table with these keys and no others. In YAML one without keys is null.
fn closed(properties: Map<String, Value>) -> Value {
    json!({ "type": ["object", "null"], "properties": properties, "additionalProperties": false })
}

fn of_key(record: &KeyRecord) -> Value {
    let mut doc = format!("{} Default: {}.", record.doc, record.default);
    if let Some(range) = record.kind.range() {
        doc += &format!(" Range: {range}.");
    }
    let mut schema = match &record.kind {
        Kind::Properties => json!({ "$ref": "#/$defs/properties" }),
        kind => {
            let mut forms = forms(kind);
            forms.push(json!({ "$ref": "#/$defs/placeholder" }));
            json!({ "anyOf": forms })
        }
    };
    if let Value::Object(schema) = &mut schema {
        schema.insert("description".to_owned(), doc.into());
        schema.extend(default(record).map(|default| ("default".to_owned(), default)));
        let example = read_value(record.example, &Origin::Default).as_ref().map(json);
        schema.extend(example.map(|example| ("examples".to_owned(), json!([example]))));
    }
    schema
}

/// The ways in which a value may be written.
fn forms(kind: &Kind) -> Vec<Value> {
    match kind {
        Kind::Text | Kind::Template { .. } => vec![json!({ "type": "string", "pattern": r"\S" })],
        Kind::Url => vec![pattern(r"^\s*[a-z][a-z0-9+.-]+:")],
        Kind::Switch => vec![json!({ "type": "boolean" })],
        Kind::Integer { min, max } => vec![json!({ "type": "integer", "minimum": min, "maximum": max })],
        Kind::Number { min, max } => vec![json!({ "type": "number", "minimum": min, "maximum": max })],
        Kind::Duration { .. } => vec![json!({ "const": 0 }), pattern(&duration())],
        Kind::Bytes { min, max } => vec![
            json!({ "type": "integer", "minimum": min, "maximum": max }),
            pattern(&format!(r"^\s*{NUMBER}\s*(([kKmMgGtT][iI]?)?[bB])?\s*$")),
        ],
        Kind::Rate => vec![
            json!({ "type": "number", "exclusiveMinimum": 0 }),
            pattern(r"^\s*[0-9.eE+]+\s*(/\s*(s|sec|second|m|min|minute|h|hour))?\s*$"),
        ],
        Kind::Choice(words) => vec![json!({ "enum": words })],
        Kind::Partitions => vec![
            json!({ "type": "integer", "minimum": 0, "maximum": u32::MAX }),
            pattern(r"^\s*[0-9]+\s*(-\s*[0-9]+\s*)?(,\s*[0-9]+\s*(-\s*[0-9]+\s*)?)*$"),
        ],
        Kind::Start => vec![
            pattern(r"^\s*(earliest|latest|offset:\s*[0-9]+|time:.+)\s*$"),
            json!({ "type": "object", "properties": { "offset": { "type": "integer", "minimum": 0 } },
                "required": ["offset"], "additionalProperties": false }),
            json!({ "type": "object", "properties": { "time": {} }, "required": ["time"],
                "additionalProperties": false }),
        ],
        Kind::OrNone(kind) => [vec![json!({ "const": "none" })], forms(kind)].concat(),
        Kind::Properties => vec![json!({ "type": "object" })],
    }
}

fn duration() -> String {
    let unit = "(ns|us|µs|μs|ms|s|sec|seconds?|m|min|minutes?|h|hours?|d|days?|w|weeks?)";
    let human = format!(r"(0|({NUMBER}\s*{unit}\s*)+)");
    let iso = format!(r"[pP]({NUMBER}[wWdD])*([tT]({NUMBER}[hHmMsS])+)?");
    format!(r"^\s*({human}|{iso})\s*$")
}

fn pattern(pattern: &str) -> Value {
    json!({ "type": "string", "pattern": pattern })
}

/// The default where it is a value and not a sentence.
fn default(record: &KeyRecord) -> Option<Value> {
    let text = || Node::new(NodeValue::Text(record.default.to_owned()), Origin::Default);
    let parsed = read_value(record.default, &Origin::Default);
    parsed
        .filter(|node| fits(&record.kind, node))
        .or_else(|| Some(text()).filter(|node| !record.default.contains(' ') && fits(&record.kind, node)))
        .as_ref()
        .map(json)
}

fn json(node: &Node) -> Value {
    match &node.value {
        NodeValue::Text(text) | NodeValue::Loose(text) | NodeValue::Time(text) => json!(text),
        NodeValue::Integer(number) => i64::try_from(*number).map_or(Value::Null, Value::from),
        NodeValue::Number(number) => json!(number),
        NodeValue::Switch(on) => json!(on),
        NodeValue::Null => Value::Null,
        NodeValue::List(items) => items.iter().map(json).collect(),
        NodeValue::Table(entries) => {
            let entry = |entry: &Entry| (entry.key.clone(), json(&entry.node));
            Value::Object(entries.iter().map(entry).collect())
        }
    }
}
