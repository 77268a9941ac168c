//! Why a verb could not do what it was asked: [`CliError`].

use crate::exit::Exit;
use std::io;
use tidings_config::ConfigError;
use tidings_core::{BinderError, PublishError, SourceError};
use tidings_manage::ManageError;

/// Why a verb could not do what it was asked, where, and what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum CliError {
    /// What was written on the command line makes no sense together.
    #[error("{problem}; {cure}")]
    Usage {
        /// What is wrong.
        problem: String,
        /// What to write instead.
        cure: String,
    },
    /// A name that is not there.
    #[error("no {kind} \"{name}\" {place}{}", hint(.nearest.as_deref(), .known))]
    Unknown {
        /// What it should be: `topic`, `group`, …
        kind: &'static str,
        /// The name.
        name: String,
        /// Where it was looked for.
        place: String,
        /// The name that is most like it.
        nearest: Option<String>,
        /// The names that there are.
        known: Vec<String>,
    },
    /// Something that must exist does not.
    #[error("{what}; {cure}")]
    Missing {
        /// What is missing, with its place.
        what: String,
        /// What to do.
        cure: String,
    },
    /// It would lose or disturb something.
    #[error("{what}; {cure}")]
    Refused {
        /// What it would do, and that nothing was done.
        what: String,
        /// What to do.
        cure: String,
    },
    /// The broker said no.
    #[error("{error}{}", place(.error, .url))]
    Broker {
        /// The broker, without its password.
        url: String,
        /// What it said.
        error: BinderError,
    },
    /// A message was not taken.
    #[error("message {number}: {error}; {published} before it were published")]
    Publish {
        /// Which message of this run, from 1.
        number: usize,
        /// How many were published before.
        published: usize,
        /// Why.
        error: PublishError,
    },
    /// The database said no.
    #[cfg(feature = "sql")]
    #[error("{}", chain(.0))]
    Sql(#[from] tidings_sql::SqlError),
    /// The running app cannot be asked, or could not do it.
    #[error(transparent)]
    Manage(#[from] ManageError),
    /// Somebody who has to be there is not.
    #[error("{what}; {cure}")]
    Away {
        /// Who is not there.
        what: String,
        /// What to do.
        cure: String,
    },
    /// The project's configuration is wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A file or stream cannot be read or written.
    #[error("cannot {doing}: {source}")]
    Io {
        /// What was being done, with the path.
        doing: String,
        /// What the operating system said.
        source: io::Error,
    },
    /// Standard output is closed: whoever read it has seen enough.
    #[error("nobody reads the output any more")]
    ClosedPipe,
    /// Something failed that may work later.
    #[error("{what}; {cure}")]
    Failed {
        /// What failed.
        what: String,
        /// What to do.
        cure: String,
    },
    /// Ctrl-C.
    #[error("interrupted: {done}")]
    Interrupted {
        /// What was done until then.
        done: String,
    },
}

impl CliError {
    /// What is wrong with the command line.
    pub(crate) fn usage(problem: impl Into<String>, cure: impl Into<String>) -> Self {
        Self::Usage {
            problem: problem.into(),
            cure: cure.into(),
        }
    }

    /// What would be lost or disturbed.
    pub(crate) fn refused(what: impl Into<String>, cure: impl Into<String>) -> Self {
        Self::Refused {
            what: what.into(),
            cure: cure.into(),
        }
    }

    /// Something that must exist and does not.
    pub(crate) fn missing(what: impl Into<String>, cure: impl Into<String>) -> Self {
        Self::Missing {
            what: what.into(),
            cure: cure.into(),
        }
    }

    /// A file or stream that cannot be read or written.
    pub(crate) fn io(doing: impl Into<String>, source: io::Error) -> Self {
        Self::Io {
            doing: doing.into(),
            source,
        }
    }

    /// The number that the program ends with.
    pub(crate) fn exit(&self) -> Exit {
        match self {
            Self::Usage { .. } | Self::Config(_) => Exit::Usage,
            Self::Unknown { .. } | Self::Missing { .. } => Exit::NotFound,
            Self::Refused { .. } => Exit::Refused,
            Self::Broker { error, .. } | Self::Manage(ManageError::Broker(error)) => broker_exit(error),
            Self::Manage(error) => manage_exit(error),
            #[cfg(feature = "sql")]
            Self::Sql(error) => sql_exit(error),
            Self::Away { .. } => Exit::Away,
            Self::Publish { error, .. } => publish_exit(error),
            Self::ClosedPipe => Exit::Done,
            Self::Io { .. } | Self::Failed { .. } => Exit::Failed,
            Self::Interrupted { .. } => Exit::Interrupted,
        }
    }
}

impl From<io::Error> for CliError {
    /// Of the standard output: everything else is named where it happens.
    fn from(source: io::Error) -> Self {
        match source.kind() {
            io::ErrorKind::BrokenPipe => Self::ClosedPipe,
            _ => Self::io("write to the standard output", source),
        }
    }
}

fn broker_exit(error: &BinderError) -> Exit {
    match error {
        BinderError::UnknownDestination { .. } => Exit::NotFound,
        BinderError::InvalidName { .. } => Exit::Usage,
        BinderError::Unsupported { .. } => Exit::Refused,
        BinderError::Open { .. } | BinderError::Closed => Exit::Away,
        BinderError::Source(SourceError::Corrupt { .. }) => Exit::Damaged,
        BinderError::Source(SourceError::Refused { .. }) => Exit::Refused,
        BinderError::Source(_) => Exit::Away,
        _ => Exit::Failed,
    }
}

fn manage_exit(error: &ManageError) -> Exit {
    match error {
        ManageError::Unknown { .. } => Exit::NotFound,
        ManageError::Refused { .. } => Exit::Refused,
        ManageError::Unreachable { .. } | ManageError::Protocol { .. } => Exit::Away,
        _ => Exit::Failed,
    }
}

#[cfg(feature = "sql")]
fn sql_exit(error: &tidings_sql::SqlError) -> Exit {
    use tidings_sql::SqlError;
    match error {
        SqlError::Address { .. } | SqlError::Name { .. } => Exit::Usage,
        SqlError::TooNew { .. } | SqlError::Forbidden { .. } => Exit::Refused,
        _ if error.is_transient() => Exit::Away,
        _ => Exit::Failed,
    }
}

/// An error, and the driver's words where it does not have them itself.
#[cfg(feature = "sql")]
fn chain(error: &tidings_sql::SqlError) -> String {
    let said = error.to_string();
    match std::error::Error::source(error).map(ToString::to_string) {
        Some(source) if !said.contains(&source) => format!("{said}: {source}"),
        _ => said,
    }
}

/// Where it happened, unless the broker says so itself.
fn place(error: &BinderError, url: &str) -> String {
    match error {
        BinderError::Open { .. } => String::new(),
        _ => format!(" (in {url})"),
    }
}

fn publish_exit(error: &PublishError) -> Exit {
    match error {
        PublishError::UnknownDestination { .. } | PublishError::UnknownPartition { .. } => Exit::NotFound,
        PublishError::TooLarge { .. }
        | PublishError::Unauthorized { .. }
        | PublishError::Unsupported { .. } => Exit::Refused,
        PublishError::Headers(_) => Exit::Usage,
        // Also a disk that is full: it is the broker that cannot take it now, and not the message.
        PublishError::Closed | PublishError::Unavailable { .. } | PublishError::Timeout { .. } => Exit::Away,
        _ => Exit::Failed,
    }
}

/// How many known names are listed at the most.
const NAMES_LISTED: usize = 12;

fn hint(nearest: Option<&str>, known: &[String]) -> String {
    if let Some(nearest) = nearest {
        return format!("; did you mean \"{nearest}\"?");
    }
    match known.len() {
        0 => "; there are none".to_owned(),
        all => {
            let listed = known
                .iter()
                .take(NAMES_LISTED)
                .map(String::as_str)
                .collect::<Vec<_>>();
            let more = match all.saturating_sub(NAMES_LISTED) {
                0 => String::new(),
                more => format!(" and {more} more"),
            };
            format!("; there are {}{more}", listed.join(", "))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_name_is_told_the_nearest_or_what_there_is() {
        let unknown = |nearest: Option<&str>, known: Vec<String>| {
            CliError::Unknown {
                kind: "topic",
                name: "ordres".to_owned(),
                place: "in embedded:./data".to_owned(),
                nearest: nearest.map(str::to_owned),
                known,
            }
            .to_string()
        };
        assert_eq!(
            unknown(Some("orders"), vec!["orders".to_owned()]),
            "no topic \"ordres\" in embedded:./data; did you mean \"orders\"?"
        );
        assert!(unknown(None, Vec::new()).ends_with("there are none"));
        let many = (0..20).map(|number| format!("t{number}")).collect();
        assert!(unknown(None, many).ends_with("t11 and 8 more"));
    }

    #[test]
    fn each_error_ends_with_its_own_number() {
        let broker = |error| CliError::Broker {
            url: "embedded:x".to_owned(),
            error,
        };
        let open = BinderError::Open {
            url: "embedded:x".to_owned(),
            reason: "locked".to_owned(),
        };
        let damaged = BinderError::Source(SourceError::Corrupt {
            destination: "orders".into(),
            partition: 0,
            offset: 7,
            reason: "checksum".to_owned(),
        });
        let unavailable = CliError::Publish {
            number: 1,
            published: 0,
            error: PublishError::Unavailable {
                destination: "orders".into(),
                reason: "no space left on device".to_owned(),
            },
        };
        for (error, exit) in [
            (CliError::usage("a", "b"), 2),
            (CliError::missing("a", "b"), 3),
            (CliError::refused("a", "b"), 4),
            (broker(open), 5),
            (broker(damaged), 6),
            (unavailable, 5),
            (CliError::ClosedPipe, 0),
        ] {
            assert_eq!(error.exit() as u8, exit, "{error}");
        }
    }
}
