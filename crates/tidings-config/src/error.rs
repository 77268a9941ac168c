//! What can be wrong with a configuration: [`ConfigError`].

use crate::config::Section;
use crate::origin::Origin;
use std::fmt;
use std::io;

/// What is wrong with a configuration, where, and what to do. No message contains a secret.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// A file cannot be read.
    #[error("cannot read the configuration {file}: {reason}")]
    Read {
        /// The file.
        file: String,
        /// Why, and what to do.
        reason: String,
        /// What the operating system said, if it was asked.
        #[source]
        source: Option<io::Error>,
    },
    /// The file that an environment variable ending in `_FILE` names cannot be read.
    #[error("{variable} names {file}, which cannot be read: {reason}")]
    SecretFile {
        /// The variable.
        variable: String,
        /// The file.
        file: String,
        /// Why, and what to do.
        reason: String,
        /// What the operating system said, if it was asked.
        #[source]
        source: Option<io::Error>,
    },
    /// Two files of the same layer.
    #[error("{} exist, and only one of them is read; put all into one and remove the other", .files.join(" and "))]
    Competing {
        /// The files.
        files: Vec<String>,
    },
    /// A file is not TOML, or not YAML.
    #[error("{file}:{line}:{column}: not valid {format}: {reason}")]
    Syntax {
        /// `TOML` or `YAML`.
        format: &'static str,
        /// The file.
        file: String,
        /// The line, from 1.
        line: u32,
        /// The column, from 1.
        column: u32,
        /// What the parser says.
        reason: String,
    },
    /// A value asks for an environment variable that is not set, and has no default.
    #[error(
        "{origin}: {key} needs the environment variable {variable}, which is not set; set it, or write \
         ${{{variable}:default}}"
    )]
    MissingVariable {
        /// The key.
        key: String,
        /// Where it is.
        origin: Origin,
        /// The variable.
        variable: String,
    },
    /// A `${` in a value that is not the start of `${VARIABLE}` or `${VARIABLE:default}`.
    #[error("{origin}: {key}: {reason}; a literal ${{ is written $${{")]
    Placeholder {
        /// The key.
        key: String,
        /// Where it is.
        origin: Origin,
        /// What is wrong, and how it is written.
        reason: String,
    },
    /// A value that may lose messages, without the key that says so in its name.
    #[error(
        "{origin}: {key} = {value} may lose messages that were acknowledged; choose another value, or write \
         {needs} = true beside it"
    )]
    MayLoseMessages {
        /// The key.
        key: String,
        /// Where it is.
        origin: Origin,
        /// The value.
        value: String,
        /// The key beside it that allows it.
        needs: &'static str,
    },
    /// A property of a client that Tidings decides itself, because another value would lose messages.
    #[error("{origin}: {key} = {value} would lose messages: {cure}")]
    ReservedProperty {
        /// The key.
        key: String,
        /// Where it is.
        origin: Origin,
        /// The value.
        value: String,
        /// What to do.
        cure: &'static str,
    },
    /// A key that does not exist.
    #[error("{origin}: unknown key {key}{}{}", hint(.nearest.as_deref(), .valid), allow(.key, .valid))]
    UnknownKey {
        /// The key.
        key: String,
        /// Where it is.
        origin: Origin,
        /// What was probably meant.
        nearest: Option<String>,
        /// What would be valid there.
        valid: Vec<String>,
    },
    /// A value of the wrong type or out of range.
    #[error("{origin}: {key} is {found}; expected {expected}")]
    WrongValue {
        /// The key.
        key: String,
        /// Where it is.
        origin: Origin,
        /// What was found; hidden if it may be a secret.
        found: String,
        /// What is expected, with an example where there is one.
        expected: String,
    },
    /// A key that the program needs and nobody set.
    #[error("missing key {key}: {reason}; set it in a file or as {variable}")]
    MissingKey {
        /// The key.
        key: String,
        /// What was expected.
        reason: String,
        /// The environment variable that would set it.
        variable: String,
    },
    /// A section for a name that the program does not declare.
    #[error("{origin}: {key} configures a {section} that the program does not have{}", hint(.nearest.as_deref(), .valid))]
    UnknownName {
        /// The key, for example `subscription.bilings`.
        key: String,
        /// What it would configure.
        section: Section,
        /// Where it is configured first.
        origin: Origin,
        /// What was probably meant.
        nearest: Option<String>,
        /// The names that the program has.
        valid: Vec<String>,
    },
    /// A name in an environment variable fits several names.
    #[error("{origin}: the name fits {}; set the value in a file, where names are exact", .names.join(" and "))]
    AmbiguousName {
        /// The variable.
        origin: Origin,
        /// The names that it fits.
        names: Vec<String>,
    },
    /// Two variables, or two arguments, set the same key.
    #[error("{first} and {second} both set {key}; remove one of them")]
    Conflict {
        /// The key.
        key: String,
        /// One of them.
        first: Origin,
        /// The other.
        second: Origin,
    },
    /// A profile that cannot be used.
    #[error("profile {profile:?}: {reason}")]
    Profile {
        /// The profile.
        profile: String,
        /// Why, and what to do.
        reason: String,
    },
    /// An environment variable that is not UTF-8.
    #[error("environment {variable} is not valid UTF-8; set it to text")]
    NotUnicode {
        /// The variable, as far as it can be shown.
        variable: String,
    },
    /// The program reads a section that it did not announce to the loader.
    #[error(
        "section {section:?} was not announced: call allow_section({section:?}) on the builder before load()"
    )]
    SectionNotAllowed {
        /// The section.
        section: String,
    },
    /// Several things at once.
    #[error("{} mistakes in the configuration:{}", .errors.len(), lines(.errors))]
    Several {
        /// All of them.
        errors: Vec<ConfigError>,
    },
}

impl ConfigError {
    /// The mistakes one by one.
    pub fn each(&self) -> &[Self] {
        match self {
            Self::Several { errors } => errors,
            one => std::slice::from_ref(one),
        }
    }

    /// One error for a list; none for none.
    pub(crate) fn gather(mut errors: Vec<Self>) -> Result<(), Self> {
        match errors.len() {
            0 => Ok(()),
            1 => Err(errors.remove(0)),
            _ => Err(Self::Several { errors }),
        }
    }
}

fn hint(nearest: Option<&str>, valid: &[String]) -> String {
    let nearest = nearest
        .map(|name| format!("; did you mean {name}?"))
        .unwrap_or_default();
    let valid = if valid.is_empty() {
        String::new()
    } else {
        format!(" (valid: {})", valid.join(", "))
    };
    nearest + &valid
}

/// At the top, the only place where `subscription` would be valid, it may be a section of the program's own.
fn allow(key: &str, valid: &[String]) -> String {
    let section = key.split('.').next().unwrap_or(key);
    if valid.iter().any(|word| word == "subscription") {
        format!("; for a section of the program's own, call allow_section({section:?}) on the builder")
    } else {
        String::new()
    }
}

fn lines(errors: &[ConfigError]) -> impl fmt::Display {
    errors
        .iter()
        .map(|error| format!("\n  {error}"))
        .collect::<String>()
}
