//! What can be wrong with the settings of a RabbitMQ client: [`RabbitError`].

use std::path::PathBuf;

/// Why a RabbitMQ client cannot be set up.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RabbitError {
    /// The address is not one of RabbitMQ.
    #[error("\"{url}\" is no address of RabbitMQ: {reason}; write amqp://user:password@host:5672/vhost")]
    Url {
        /// The address without credentials.
        url: String,
        /// What is wrong.
        reason: String,
    },
    /// The settings of TLS do not go together, or lack something.
    #[error("the connection to RabbitMQ is not secured as it is meant to be: {reason}")]
    Security {
        /// What is wrong, and what to do.
        reason: String,
    },
    /// What is said of an exchange, a queue or a routing key does not go together.
    #[error("{what} cannot be as it is said: {reason}")]
    Topology {
        /// What it is about.
        what: String,
        /// What is wrong, and what to do.
        reason: String,
    },
    /// A file of TLS cannot be used.
    #[error("cannot use {file} as {role}: {reason}", file = file.display())]
    File {
        /// The file.
        file: PathBuf,
        /// What it is for, and the key that names it.
        role: &'static str,
        /// Why, and what to do.
        reason: String,
    },
    /// The system gives no thread or no reactor to work on.
    #[error(
        "cannot start the thread for RabbitMQ: {reason}; raise the limits of the process (ulimit -u, -n)"
    )]
    Thread {
        /// The system's words.
        reason: String,
    },
}

impl RabbitError {
    /// The same, with the place where it was said.
    pub(crate) fn at(self, place: &str) -> Self {
        match self {
            Self::Topology { what, reason } => Self::Topology {
                what: format!("{what} ({place})"),
                reason,
            },
            other => other,
        }
    }
}
