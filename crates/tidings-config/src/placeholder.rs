//! `${VAR}` and `${VAR:default}` inside the values of files: [`expand`]. What a variable holds is put in as it is and
//! not looked at again.

use crate::error::ConfigError;
use crate::key::KeyPath;
use crate::node::{Node, NodeValue};
use crate::origin::{Origin, Written};
use crate::redact::{shorten, show};
use crate::toml_source::MAX_TEXT_BYTES;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The environment as placeholders see it; a value that is not UTF-8 is none.
#[derive(Default)]
pub(crate) struct Variables(BTreeMap<String, Option<String>>);

impl FromIterator<(String, Option<String>)> for Variables {
    fn from_iter<I: IntoIterator<Item = (String, Option<String>)>>(variables: I) -> Self {
        Self(variables.into_iter().collect())
    }
}

/// Puts in what the variables hold. A value for which that fails is left out, and the mistake is noted.
pub(crate) fn expand(document: &mut Node, variables: &Variables) -> Vec<ConfigError> {
    let mut expansion = Expansion {
        variables,
        errors: Vec::new(),
        room: MAX_TEXT_BYTES,
    };
    expansion.node(&KeyPath::default(), document);
    expansion.errors
}

/// A part of a value.
#[derive(Debug, PartialEq)]
enum Piece<'a> {
    Text(&'a str),
    Variable { name: &'a str, default: Option<&'a str> },
}

/// The pieces of a text, or what is wrong with it. Pure, so that a table of examples can test it.
fn pieces(text: &str) -> Result<Vec<Piece<'_>>, String> {
    let mut pieces = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find("${") {
        let (before, from) = rest.split_at(at);
        let from = from.get(2..).unwrap_or_default();
        if let Some(before) = before.strip_suffix('$') {
            pieces.push(Piece::Text(before));
            pieces.push(Piece::Text("${"));
            rest = from;
            continue;
        }
        pieces.push(Piece::Text(before));
        let (inner, after) = from
            .split_once('}')
            .ok_or("a ${ has no }; write ${VARIABLE} or ${VARIABLE:default}")?;
        pieces.push(variable(inner)?);
        rest = after;
    }
    pieces.push(Piece::Text(rest));
    Ok(pieces)
}

fn variable(inner: &str) -> Result<Piece<'_>, String> {
    let (name, default) = match inner.split_once(':') {
        Some((name, default)) => (name, Some(default)),
        None => (inner, None),
    };
    let is_name = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    if !is_name {
        return Err(format!(
            "${{{}}} does not name an environment variable; write ${{VARIABLE}} or ${{VARIABLE:default}}",
            shorten(name)
        ));
    }
    if default.is_some_and(|default| default.contains("${")) {
        return Err(format!(
            "the default of ${{{name}}} holds another placeholder; a default is plain text"
        ));
    }
    if let Some(default) = default.and_then(|default| default.strip_prefix(['-', '?'])) {
        return Err(format!(
            "the default of ${{{name}}} follows a colon alone, as in ${{{name}:{}}}",
            shorten(default)
        ));
    }
    Ok(Piece::Variable { name, default })
}

struct Expansion<'a> {
    variables: &'a Variables,
    errors: Vec<ConfigError>,
    /// How many more bytes may come from variables: a short file must not become a large one.
    room: usize,
}

impl Expansion<'_> {
    /// Whether the value stays.
    fn node(&mut self, path: &KeyPath, node: &mut Node) -> bool {
        match &mut node.value {
            NodeValue::Table(entries) => {
                entries.retain_mut(|entry| self.node(&path.child(&entry.key), &mut entry.node));
            }
            NodeValue::List(items) => items.retain_mut(|item| self.node(path, item)),
            NodeValue::Text(text) if text.contains("${") => {
                let text = std::mem::take(text);
                match self.text(path, &node.origin, &text) {
                    Ok(expanded) => *node = expanded,
                    Err(error) => {
                        self.errors.push(error);
                        return false;
                    }
                }
            }
            _ => {}
        }
        true
    }

    fn text(&mut self, path: &KeyPath, origin: &Origin, text: &str) -> Result<Node, ConfigError> {
        let wrong = |reason: String| ConfigError::Placeholder {
            key: path.to_string(),
            origin: origin.clone(),
            reason,
        };
        let mut expanded = String::new();
        let mut used: Vec<String> = Vec::new();
        for piece in pieces(text).map_err(wrong)? {
            let (name, default) = match piece {
                Piece::Text(text) => {
                    expanded.push_str(text);
                    continue;
                }
                Piece::Variable { name, default } => (name, default),
            };
            let (value, note) = match (self.variables.0.get(name), default) {
                (Some(Some(value)), _) => (value.as_str(), ""),
                (Some(None), _) => {
                    return Err(ConfigError::NotUnicode {
                        variable: name.to_owned(),
                    });
                }
                (None, Some(default)) => (default, " is not set"),
                (None, None) => {
                    return Err(ConfigError::MissingVariable {
                        key: path.to_string(),
                        origin: origin.clone(),
                        variable: name.to_owned(),
                    });
                }
            };
            self.room = self.room.checked_sub(value.len()).ok_or_else(|| {
                wrong(format!(
                    "the variables of this file hold more than {MAX_TEXT_BYTES} bytes"
                ))
            })?;
            expanded.push_str(value);
            let shown = format!("${{{name}}}{note}");
            if !used.contains(&shown) {
                used.push(shown);
            }
        }
        if used.is_empty() {
            return Ok(Node::new(NodeValue::Text(expanded), origin.clone()));
        }
        // What comes from outside is text; only the key decides whether it is a number.
        Ok(Node::new(
            NodeValue::Loose(expanded),
            with_variables(origin, &used.join(", "), &show(&path.segments().join("."), text)),
        ))
    }
}

fn with_variables(origin: &Origin, variables: &str, text: &str) -> Origin {
    match origin {
        Origin::File { file, line } => Origin::Placeholder {
            file: file.clone(),
            line: *line,
            written: Arc::new(Written {
                variables: variables.to_owned(),
                text: text.to_owned(),
            }),
        },
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_cut_into_what_stands_there_and_what_is_put_in() {
        let variable = |name, default| Piece::Variable { name, default };
        for (text, expected) in [
            ("a$b", vec![Piece::Text("a$b")]),
            (
                "a${B}c",
                vec![Piece::Text("a"), variable("B", None), Piece::Text("c")],
            ),
            (
                "${B:}",
                vec![Piece::Text(""), variable("B", Some("")), Piece::Text("")],
            ),
            (
                "${B:x:y}",
                vec![Piece::Text(""), variable("B", Some("x:y")), Piece::Text("")],
            ),
            (
                "$${B}",
                vec![Piece::Text(""), Piece::Text("${"), Piece::Text("B}")],
            ),
        ] {
            assert_eq!(pieces(text).as_deref(), Ok(&expected[..]), "{text}");
        }
        for wrong in [
            "${",
            "${}",
            "${a.b}",
            "${1}",
            "${A:${B}}",
            "${A:-1}",
            "${A:?no}",
            "${é}",
        ] {
            assert!(pieces(wrong).is_err(), "{wrong}");
        }
    }
}
