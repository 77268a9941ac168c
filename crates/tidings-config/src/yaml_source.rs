//! From YAML text to a [`Node`] tree that knows its lines: the same tree as TOML gives, so the same keys and errors.
//!
//! Only what TOML can say too is taken. Anchors, aliases, merge keys and tags are refused, so that no short text
//! becomes a large tree and every value stands where its line says. `yes`, `no`, `on` and `12:30` are text, and `010` is not 8.

use crate::error::ConfigError;
use crate::node::{Entry, Node, NodeValue};
use crate::origin::Origin;
use crate::redact::shorten;
use crate::toml_source::MAX_TEXT_BYTES;
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::budget::BudgetBreach;
use serde_saphyr::options::{DuplicateKeyPolicy, MergeKeyPolicy, NonFiniteFloatPolicy};
use serde_saphyr::{Error, Location, Options, Spanned};
use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

/// Deeper than any configuration. In a debug build each level takes 45 KiB of stack, and threads have 2 MiB.
const MAX_DEPTH: usize = 16;
/// More values than any configuration has.
const MAX_NODES: usize = 100_000;

/// Reads a document.
pub(crate) fn read_document(text: &str, file: &str) -> Result<Node, ConfigError> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let file: Arc<str> = file.into();
    if text.len() > MAX_TEXT_BYTES {
        return Err(syntax(&file, None, format!("larger than {MAX_TEXT_BYTES} bytes")));
    }
    let read = serde_saphyr::from_str_with_options::<Option<Spanned<Tree>>>(text, options());
    let tree = read.map_err(|error| refused(&file, &error))?;
    let Some(tree) = tree else {
        return Ok(Node::new(NodeValue::Table(Vec::new()), place(&file, 1)));
    };
    let line = tree.referenced.line();
    match node(tree, &file)? {
        root @ Node {
            value: NodeValue::Table(_),
            ..
        } => Ok(root),
        _ => Err(syntax(
            &file,
            Some((line, 1)),
            "the document is one value; write keys, for example `name: shop`".to_owned(),
        )),
    }
}

fn options() -> Options {
    let budget = serde_saphyr::budget! {
        max_depth: MAX_DEPTH,
        max_nodes: MAX_NODES,
        max_events: 4 * MAX_NODES,
        max_aliases: 0,
        max_anchors: 0,
        max_documents: 1,
        max_merge_keys: 0,
    };
    serde_saphyr::options! {
        budget: budget,
        duplicate_keys: DuplicateKeyPolicy::Error,
        merge_keys: MergeKeyPolicy::Error,
        strict_booleans: true,
        legacy_octal_numbers: false,
        reject_unsupported_tags: true,
        non_finite_float_policy: NonFiniteFloatPolicy::PassThrough,
        with_snippet: false,
    }
}

/// The parser's message without the text around it, which may be a password.
fn refused(file: &str, error: &Error) -> ConfigError {
    let error = error.without_snippet();
    let reason = match error {
        Error::Budget { breach, .. } => match breach {
            BudgetBreach::Aliases { .. } | BudgetBreach::Anchors { .. } | BudgetBreach::MergeKeys { .. } => {
                "anchors (&), aliases (*) and merge keys (<<) are not taken; write the values out".to_owned()
            }
            BudgetBreach::Depth { .. } => format!("nested deeper than {MAX_DEPTH}"),
            BudgetBreach::Documents { .. } => {
                "more than one document; remove the `---` between them".to_owned()
            }
            _ => format!("more than {MAX_NODES} values"),
        },
        Error::MergeKeyNotAllowed { .. } => "merge keys (<<) are not taken; write the values out".to_owned(),
        Error::MultipleDocuments { .. } => "more than one document; remove the `---` between them".to_owned(),
        Error::UnsupportedTag { .. } => "tags (!) are not taken; write the plain value".to_owned(),
        Error::DuplicateMappingKey { key: Some(key), .. } => twice(key),
        other => other.to_string(),
    };
    let at = error.location().map(|at| (at.line(), at.column()));
    syntax(file, at, reason.replace('\n', "; "))
}

fn syntax(file: &str, at: Option<(u64, u64)>, reason: String) -> ConfigError {
    let (line, column) = at.unwrap_or((1, 1));
    ConfigError::Syntax {
        format: "YAML",
        file: file.to_owned(),
        line: u32::try_from(line).unwrap_or(u32::MAX).max(1),
        column: u32::try_from(column).unwrap_or(u32::MAX).max(1),
        reason,
    }
}

fn place(file: &Arc<str>, line: u64) -> Origin {
    Origin::File {
        file: file.clone(),
        line: u32::try_from(line).unwrap_or(u32::MAX).max(1),
    }
}

/// What serde gets to see.
enum Tree {
    Scalar(NodeValue),
    List(Vec<Spanned<Tree>>),
    Table(Vec<(Spanned<String>, Spanned<Tree>)>),
}

fn node(tree: Spanned<Tree>, file: &Arc<str>) -> Result<Node, ConfigError> {
    let origin = at(file, tree.referenced);
    let value = match tree.value {
        Tree::Scalar(value) => value,
        Tree::List(items) => {
            let items = items.into_iter().map(|item| node(item, file));
            NodeValue::List(items.collect::<Result<_, _>>()?)
        }
        Tree::Table(entries) => NodeValue::Table(table(entries, file)?),
    };
    Ok(Node::new(value, origin))
}

fn table(entries: Vec<(Spanned<String>, Spanned<Tree>)>, file: &Arc<str>) -> Result<Vec<Entry>, ConfigError> {
    let mut known = BTreeSet::new();
    let mut table = Vec::with_capacity(entries.len());
    for (key, value) in entries {
        // The parser takes `1` and `"1"` for two keys; as text they are one.
        if !known.insert(key.value.clone()) {
            let at = (key.referenced.line(), key.referenced.column());
            return Err(syntax(file, Some(at), twice(&key.value)));
        }
        table.push(Entry {
            origin: at(file, key.referenced),
            key: key.value,
            node: node(value, file)?,
        });
    }
    Ok(table)
}

fn twice(key: &str) -> String {
    format!(
        "the key {:?} stands there twice; remove one of them",
        shorten(key)
    )
}

fn at(file: &Arc<str>, location: Location) -> Origin {
    place(file, location.line())
}

impl<'de> Deserialize<'de> for Tree {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TreeVisitor)
    }
}

struct TreeVisitor;

impl<'de> Visitor<'de> for TreeVisitor {
    type Value = Tree;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Tree, E> {
        Ok(Tree::Scalar(NodeValue::Null))
    }

    fn visit_bool<E>(self, on: bool) -> Result<Tree, E> {
        Ok(Tree::Scalar(NodeValue::Switch(on)))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Tree, E> {
        Ok(Tree::Scalar(NodeValue::Integer(number.into())))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Tree, E> {
        Ok(Tree::Scalar(NodeValue::Integer(number.into())))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Tree, E> {
        Ok(Tree::Scalar(NodeValue::Number(number)))
    }

    fn visit_str<E>(self, text: &str) -> Result<Tree, E> {
        Ok(Tree::Scalar(NodeValue::Text(text.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Tree, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Tree::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Tree, A::Error> {
        let mut table: Vec<(Spanned<String>, Spanned<Tree>)> = Vec::new();
        while let Some((key, value)) = entries.next_entry::<Spanned<String>, Spanned<Tree>>()? {
            table.push((key, value));
        }
        Ok(Tree::Table(table))
    }
}
