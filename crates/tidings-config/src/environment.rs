//! Environment variables as a layer: `TIDINGS__SUBSCRIPTION__BILLING__CONCURRENCY=8`, `TIDINGS_URL`, `…_FILE`.

use crate::error::ConfigError;
use crate::files::read_bounded;
use crate::key::{KeyPath, normal};
use crate::layer::Layer;
use crate::node::{Entry, Node, NodeValue};
use crate::origin::Origin;
use crate::placeholder::Variables;
use crate::schema::{Place, Schema};
use std::ffi::OsString;
use std::path::Path;

/// Sets the address of the main binder.
const URL_VARIABLE: &str = "TIDINGS_URL";
/// Chooses the profile.
const PROFILE_VARIABLE: &str = "TIDINGS_PROFILE";
const PREFIX: &str = "TIDINGS__";
/// The value stands in the file that such a variable names.
const FILE_SUFFIX: &str = "_FILE";

/// The variables that concern us. Others that begin with `TIDINGS_` are left alone: Kubernetes invents some for every
/// service, such as `TIDINGS_PORT`.
pub(crate) struct Environment {
    variables: Vec<(String, String)>,
    /// All of them, for the placeholders in files.
    pub(crate) all: Variables,
    pub(crate) errors: Vec<ConfigError>,
}

impl Environment {
    pub(crate) fn new(variables: impl IntoIterator<Item = (OsString, OsString)>) -> Self {
        let variables: Vec<(OsString, OsString)> = variables.into_iter().collect();
        let all = variables.iter().filter_map(|(name, value)| {
            let value = value.to_str().map(str::to_owned);
            Some((name.to_str()?.to_owned(), value))
        });
        let mut environment = Self {
            all: all.collect(),
            variables: Vec::new(),
            errors: Vec::new(),
        };
        for (name, value) in variables {
            let shown = name.to_string_lossy().into_owned();
            if !is_ours(&shown) {
                continue;
            }
            match (name.into_string(), value.into_string()) {
                (Ok(name), Ok(value)) => environment.variables.push((name, value)),
                _ => environment
                    .errors
                    .push(ConfigError::NotUnicode { variable: shown }),
            }
        }
        // The order of the process is arbitrary; messages should not be.
        environment.variables.sort();
        environment
    }

    /// The profile that is chosen; an empty variable chooses none.
    pub(crate) fn profile(&self) -> Option<String> {
        let variable = self.variables.iter().find(|(name, _)| name == PROFILE_VARIABLE);
        variable
            .map(|(_, value)| value.trim().to_owned())
            .filter(|profile| !profile.is_empty())
    }

    /// All other variables, checked. `properties` are the paths of client properties that files set: a variable that
    /// means one of them takes its spelling.
    pub(crate) fn layer(self, schema: &Schema, properties: &[KeyPath]) -> Layer {
        let mut layer = Layer {
            errors: self.errors,
            ..Layer::default()
        };
        for (name, value) in self
            .variables
            .into_iter()
            .filter(|(name, _)| name != PROFILE_VARIABLE)
        {
            match assignment(schema, properties, &name, value) {
                Ok((path, entry)) => layer.take(schema, path, entry),
                Err(error) => layer.errors.push(error),
            }
        }
        layer
    }
}

fn is_ours(name: &str) -> bool {
    name == PROFILE_VARIABLE
        || name.strip_suffix(FILE_SUFFIX).unwrap_or(name) == URL_VARIABLE
        || name
            .get(..PREFIX.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(PREFIX))
}

/// What a variable sets, and to what.
fn assignment(
    schema: &Schema,
    properties: &[KeyPath],
    variable: &str,
    value: String,
) -> Result<(KeyPath, Entry), ConfigError> {
    let plain = variable
        .strip_suffix(FILE_SUFFIX)
        .or_else(|| variable.strip_suffix("_file"));
    let written = path_of(plain.unwrap_or(variable));
    let path = resolve(schema, properties, &written);
    if matches!(schema.place(&path), Place::Unknown) {
        return Err(unknown(schema, &path, variable, plain.unwrap_or(variable)));
    }
    let (value, origin) = match plain {
        None => (
            value,
            Origin::Environment {
                variable: variable.into(),
            },
        ),
        Some(_) => {
            let origin = Origin::SecretFile {
                variable: variable.into(),
                file: value.as_str().into(),
            };
            (secret(variable, &value)?, origin)
        }
    };
    let node = Node::new(NodeValue::Loose(value), origin.clone());
    Ok((
        path.clone(),
        Entry {
            key: path.last().to_owned(),
            origin,
            node,
        },
    ))
}

fn path_of(variable: &str) -> KeyPath {
    if variable == URL_VARIABLE {
        return KeyPath::new(["binder", "main", "url"]);
    }
    let rest = variable.get(PREFIX.len()..).unwrap_or_default();
    KeyPath::new(rest.split("__").map(str::to_lowercase))
}

/// The spelling of sections and properties; those of names are left as variables write them, because which names
/// exist is known only when the app is.
fn resolve(schema: &Schema, properties: &[KeyPath], written: &KeyPath) -> KeyPath {
    let segments = written.segments();
    let Some((first, rest)) = segments.split_first() else {
        return written.clone();
    };
    if let Some(section) = schema.sections.iter().find(|section| normal(section) == *first) {
        return KeyPath::new([section]).join(rest);
    }
    let table = written.first(3);
    if segments.len() <= 3 || !matches!(schema.place(&table), Place::Properties(_)) {
        return written.clone();
    }
    let name = segments.get(3..).unwrap_or_default().join("_");
    let known = properties
        .iter()
        .find(|known| known.first(3).loose() == table.loose() && normal(known.last()) == name);
    table.child(&match known {
        Some(known) => known.last().to_owned(),
        // Kafka's properties, of clients and of topics, are written with dots.
        None => name.replace('_', "."),
    })
}

fn unknown(schema: &Schema, path: &KeyPath, variable: &str, plain: &str) -> ConfigError {
    let mut error = schema.unknown(
        path,
        &Origin::Environment {
            variable: variable.into(),
        },
    );
    if let ConfigError::UnknownKey { nearest, .. } = &mut error {
        // Whoever writes variables looks for the name of one.
        *nearest = schema.nearest_variable(plain, path).or_else(|| nearest.take());
    }
    error
}

fn secret(variable: &str, file: &str) -> Result<String, ConfigError> {
    let failed = |reason: &str, source| ConfigError::SecretFile {
        variable: variable.to_owned(),
        file: file.to_owned(),
        reason: reason.to_owned(),
        source,
    };
    let cure = "check the path and its permissions, or set the variable without _FILE";
    let bytes =
        read_bounded(Path::new(file)).map_err(|error| failed(&format!("{error}; {cure}"), Some(error)))?;
    let text = String::from_utf8(bytes).map_err(|_| failed("it is not UTF-8 text", None))?;
    // Editors and `echo` end the file with a newline that is not part of the secret.
    let text = text.strip_suffix('\n').unwrap_or(&text);
    Ok(text.strip_suffix('\r').unwrap_or(text).to_owned())
}
