//! What serde finds wrong with a section: [`Mistake`], which becomes a [`ConfigError`] once its place is known.

use crate::error::ConfigError;
use crate::key::KeyPath;
use crate::nearest::nearest;
use crate::node::{Node, NodeValue};
use crate::redact::{is_secret_key, redact_url};
use serde::de::{self, Expected, Unexpected};
use std::fmt;

/// What serde finds wrong with a section.
#[derive(Debug)]
pub(crate) enum Mistake {
    /// A value of another type, or out of range.
    Wrong { expected: String },
    /// What the program's own type says about a value.
    Refused { message: String },
    /// A key that the type does not know.
    Unknown {
        field: String,
        valid: &'static [&'static str],
    },
    /// A key that the type has no use for.
    Ignored { valid: &'static [&'static str] },
    /// A key that the type needs.
    Missing { field: &'static str },
    /// Any of the above with its place.
    Placed(Box<ConfigError>),
}

impl Mistake {
    /// Places it, unless something further inside has.
    pub(crate) fn at(self, node: &Node, path: &KeyPath) -> Self {
        Self::Placed(Box::new(self.into_error(node, path)))
    }

    pub(crate) fn into_error(self, node: &Node, path: &KeyPath) -> ConfigError {
        match self {
            Self::Placed(error) => *error,
            Self::Wrong { expected } => wrong(node, path, expected),
            Self::Refused { message } if may_show(node, path) => wrong(
                node,
                path,
                format!("a value that the program accepts ({message})"),
            ),
            Self::Refused { .. } => wrong(node, path, "a value that the program accepts".to_owned()),
            Self::Unknown { field, valid } if path.last() == field => unknown(node, path, valid),
            Self::Unknown { field, valid } => unknown(node, &path.child(&field), valid),
            Self::Ignored { valid } => unknown(node, path, valid),
            Self::Missing { field } => ConfigError::MissingKey {
                key: path.child(field).to_string(),
                reason: "the program needs it".to_owned(),
                variable: path.child(field).variable(),
            },
        }
    }
}

fn wrong(node: &Node, path: &KeyPath, expected: String) -> ConfigError {
    ConfigError::WrongValue {
        key: path.to_string(),
        origin: node.origin.clone(),
        found: node.found(path.last()),
        expected,
    }
}

fn unknown(node: &Node, path: &KeyPath, valid: &'static [&'static str]) -> ConfigError {
    ConfigError::UnknownKey {
        key: path.to_string(),
        origin: node.origin.clone(),
        nearest: nearest(path.last(), valid.iter().copied()).map(str::to_owned),
        valid: valid.iter().map(|key| (*key).to_owned()).collect(),
    }
}

/// The messages of other people's types tend to quote the value.
fn may_show(node: &Node, path: &KeyPath) -> bool {
    let hidden = match &node.value {
        NodeValue::Text(text) | NodeValue::Loose(text) => redact_url(text) != *text,
        NodeValue::List(_) | NodeValue::Table(_) => true,
        _ => false,
    };
    !hidden && !node.origin.is_secret() && !path.segments().iter().any(|segment| is_secret_key(segment))
}

impl de::Error for Mistake {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::Refused {
            message: message.to_string(),
        }
    }

    /// What was found is taken from the value itself, because serde would quote it whole.
    fn invalid_type(_found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::Wrong {
            expected: expected.to_string(),
        }
    }

    fn invalid_value(_found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::Wrong {
            expected: expected.to_string(),
        }
    }

    fn unknown_variant(_variant: &str, expected: &'static [&'static str]) -> Self {
        Self::Wrong {
            expected: format!("one of {}", expected.join(", ")),
        }
    }

    fn unknown_field(field: &str, expected: &'static [&'static str]) -> Self {
        Self::Unknown {
            field: field.to_owned(),
            valid: expected,
        }
    }

    fn missing_field(field: &'static str) -> Self {
        Self::Missing { field }
    }
}

impl fmt::Display for Mistake {
    /// Only serde's own wrappers ask for this, and they must not get to see a value.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Placed(error) => error.fmt(f),
            Self::Wrong { expected } => write!(f, "expected {expected}"),
            _ => f.write_str("not what the program expects"),
        }
    }
}

impl std::error::Error for Mistake {}
