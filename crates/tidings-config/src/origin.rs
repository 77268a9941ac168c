//! Where a value came from: [`Origin`], and a value with it: [`Setting`].

use crate::redact::{HIDDEN, is_secret_key};
use std::fmt;
use std::sync::Arc;

/// Where a value came from, so that every message about it can name the place to change.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Origin {
    /// Nobody set it.
    Default,
    /// The program's code, for example `src/main.rs:12`.
    Code {
        /// The place in the code.
        place: Arc<str>,
    },
    /// A file.
    File {
        /// The file as it was named.
        file: Arc<str>,
        /// The line, from 1.
        line: u32,
    },
    /// A value in a file that comes from environment variables, written `${NAME}` there.
    Placeholder {
        /// The file as it was named.
        file: Arc<str>,
        /// The line, from 1.
        line: u32,
        /// What stands there.
        written: Arc<Written>,
    },
    /// An environment variable.
    Environment {
        /// Its name.
        variable: Arc<str>,
    },
    /// A file that an environment variable ending in `_FILE` names. What it holds is never printed.
    SecretFile {
        /// The variable's name.
        variable: Arc<str>,
        /// The file.
        file: Arc<str>,
    },
    /// A command-line argument.
    Argument {
        /// The argument, for example `--data`.
        name: Arc<str>,
    },
}

/// What a file writes where variables are put in.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Written {
    /// The variables: `${BANK_TOKEN}`. One that is not set says so.
    pub variables: String,
    /// The value as the file writes it, without what may be a secret there.
    pub text: String,
}

impl Origin {
    /// The program's code at that place.
    pub fn code(place: impl Into<Arc<str>>) -> Self {
        Self::Code { place: place.into() }
    }

    /// Whether the value comes from a place that is made for secrets.
    pub fn is_secret(&self) -> bool {
        match self {
            Self::SecretFile { .. } => true,
            Self::Placeholder { written, .. } => is_secret_key(&written.variables),
            _ => false,
        }
    }

    /// What to show in place of an address that may hold a secret in any of its parts.
    pub(crate) fn address_text(&self) -> Option<&str> {
        match self {
            Self::Placeholder { written, .. } if self.is_secret() => Some(&written.text),
            _ => None,
        }
    }

    /// Whether it is a place in a file.
    pub(crate) fn is_file(&self) -> bool {
        matches!(self, Self::File { .. } | Self::Placeholder { .. })
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::Code { place } => write!(f, "code {place}"),
            Self::File { file, line } => write!(f, "{file}:{line}"),
            Self::Placeholder { file, line, written } => {
                write!(f, "{file}:{line} ({})", written.variables)
            }
            Self::Environment { variable } => write!(f, "environment {variable}"),
            Self::SecretFile { variable, file } => write!(f, "environment {variable} ({file})"),
            Self::Argument { name } => write!(f, "argument {name}"),
        }
    }
}

/// A value and where it came from.
#[derive(Clone, PartialEq)]
pub struct Setting<T> {
    /// The value.
    pub value: T,
    /// Where it came from.
    pub origin: Origin,
}

impl<T> Setting<T> {
    /// A value from there.
    pub fn new(value: T, origin: Origin) -> Self {
        Self { value, origin }
    }

    /// The same origin, another value.
    pub fn map<U>(self, change: impl FnOnce(T) -> U) -> Setting<U> {
        Setting {
            value: change(self.value),
            origin: self.origin,
        }
    }
}

impl<T: fmt::Debug> fmt::Debug for Setting<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.origin.is_secret() {
            write!(f, "{HIDDEN} ({})", self.origin)
        } else {
            write!(f, "{:?} ({})", self.value, self.origin)
        }
    }
}
