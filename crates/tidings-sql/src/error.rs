//! Why the database did not do what was asked: [`SqlError`].

use crate::dialect::Dialect;
use crate::tls;
use std::time::Duration;

/// Whether trying again can help.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorClass {
    /// The database is away or busy, or transactions were in each other's way: the same transaction may do when it is
    /// tried again from its beginning.
    Transient,
    /// The statement or its values are at fault.
    Permanent,
}

/// Why the database did not do what was asked. Addresses in it have no passwords.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SqlError {
    /// The address cannot be understood, or it is one of another database.
    #[error("the address of the database \"{address}\" cannot be used: {reason}")]
    Address {
        /// What was given, without a password.
        address: String,
        /// What is wrong with it, and how it should be.
        reason: String,
    },
    /// The name of a schema or the prefix of table names is none.
    #[error(
        "\"{name}\" cannot be the {what}: it needs 1 to {limit} characters of a-z, 0-9 and _, no digit first"
    )]
    Name {
        /// Schema or prefix.
        what: &'static str,
        /// What was given.
        name: String,
        /// The most characters.
        limit: usize,
    },
    /// The relay of the outbox cannot be run in that way.
    #[error("the relay of the outbox: {reason}")]
    Relay {
        /// What is wrong, and what to do.
        reason: String,
    },
    /// The database cannot be reached, or it ended the connection.
    #[error("{place} cannot be used now: {reason}")]
    Unavailable {
        /// Which database.
        place: String,
        /// Why, and what to do where that is known.
        reason: String,
        /// What the driver said.
        #[source]
        source: Option<sqlx::Error>,
    },
    /// Nothing was heard from the database for that long; whether it did what was asked is not known.
    #[error("{place} did not answer within {after:?}; is it overloaded, frozen, or is a lock held?")]
    Silent {
        /// Which database.
        place: String,
        /// How long it was waited for.
        after: Duration,
    },
    /// Transactions were in each other's way: a serialization failure, a deadlock, a busy file.
    #[error("{place} gave the transaction up in favour of another one; try it again")]
    Conflict {
        /// Which database.
        place: String,
        /// What the driver said.
        #[source]
        source: sqlx::Error,
    },
    /// The answer to COMMIT did not arrive: everything of the transaction is there, or nothing.
    #[error("the connection to {place} was lost after COMMIT was sent; whether it was done is not known")]
    InDoubt {
        /// Which database.
        place: String,
        /// What the driver said.
        #[source]
        source: sqlx::Error,
    },
    /// A statement of the transaction had failed and the error was not returned, so there is nothing to commit.
    #[error(
        "the transaction on {place} was not committed, because a statement in it had failed before; return its error, or put \
         the statement into a savepoint"
    )]
    Aborted {
        /// Which database.
        place: String,
    },
    /// The tables are not there.
    #[error(
        "{place} has no tables of Tidings in \"{schema}\": run `tidings sql migrate`, or let a role with the right to create \
         tables start the app with `Migrate::AtStart`"
    )]
    Missing {
        /// Which database.
        place: String,
        /// Where they were looked for.
        schema: String,
    },
    /// The tables are older than this program needs, and it was told not to change them.
    #[error(
        "the tables in \"{schema}\" of {place} lack the migrations {lacking:?}: run `tidings sql migrate` with this version"
    )]
    Outdated {
        /// Which database.
        place: String,
        /// Where the tables are.
        schema: String,
        /// What was not applied.
        lacking: Vec<i64>,
    },
    /// The tables are newer than this program.
    #[error(
        "the tables in \"{schema}\" of {place} have the migration {found}, this program knows {known} at most: a newer version \
         of it has been here; use that version"
    )]
    TooNew {
        /// Which database.
        place: String,
        /// Where the tables are.
        schema: String,
        /// The newest that was applied.
        found: i64,
        /// The newest that is known.
        known: i64,
    },
    /// The role lacks a right.
    #[error("not allowed on {place}: {reason}; {cure}")]
    Forbidden {
        /// Which database.
        place: String,
        /// The database's words.
        reason: String,
        /// What to do.
        cure: &'static str,
    },
    /// The transaction is an inbox's, which ends it when the handler has returned.
    #[error(
        "the transaction on {place} belongs to the inbox of the subscription: return from the handler to end it, with an \
         error to roll it back"
    )]
    NotYours {
        /// Which database.
        place: String,
    },
    /// The handler has returned, and a task that it left behind still has the transaction.
    #[error(
        "the handler returned and its transaction on {place} is still in use: drop `Tx` before, and await what works with it"
    )]
    StillUsed {
        /// Which database.
        place: String,
    },
    /// A statement failed for another reason.
    #[error("{place} refused a statement ({doing})")]
    Statement {
        /// Which database.
        place: String,
        /// What was being done.
        doing: &'static str,
        /// What the driver said.
        #[source]
        source: sqlx::Error,
    },
}

impl SqlError {
    /// Whether trying again can help. A transaction is tried again from its beginning.
    pub fn class(&self) -> ErrorClass {
        match self {
            Self::Unavailable { .. } | Self::Silent { .. } | Self::Conflict { .. } | Self::InDoubt { .. } => {
                ErrorClass::Transient
            }
            _ => ErrorClass::Permanent,
        }
    }

    /// Whether [`class`](Self::class) is [`ErrorClass::Transient`].
    pub fn is_transient(&self) -> bool {
        self.class() == ErrorClass::Transient
    }
}

/// What the code of a database's error stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Meaning {
    /// Transactions were in each other's way.
    Conflict,
    /// The database ends, starts, or has no room, memory or connection left.
    Unavailable,
    /// A right is lacking.
    Forbidden,
    /// A table or schema is lacking.
    Missing,
    /// An earlier statement of the transaction failed.
    Aborted,
    /// Anything else: the statement or its values are at fault.
    Fault,
}

/// Whether trying a transaction again can help after this error of the driver.
///
/// ```
/// use tidings_sql::{ErrorClass, classify};
///
/// let closed = sqlx::Error::Io(std::io::Error::from(std::io::ErrorKind::BrokenPipe));
/// assert_eq!(classify::<sqlx::Postgres>(&closed), ErrorClass::Transient);
/// ```
pub fn classify<DB: Dialect>(error: &sqlx::Error) -> ErrorClass {
    match meaning::<DB>(error) {
        Meaning::Conflict | Meaning::Unavailable => ErrorClass::Transient,
        Meaning::Forbidden | Meaning::Missing | Meaning::Aborted | Meaning::Fault => ErrorClass::Permanent,
    }
}

pub(crate) fn meaning<DB: Dialect>(error: &sqlx::Error) -> Meaning {
    match error {
        sqlx::Error::Database(error) => DB::meaning(error.as_ref()),
        sqlx::Error::Io(_)
        // Whoever connects for the first time is told; later it is the server that has changed.
        | sqlx::Error::Tls(_)
        | sqlx::Error::PoolTimedOut
        | sqlx::Error::PoolClosed
        | sqlx::Error::WorkerCrashed
        // A connection on which something unexpected arrived is given up; a new one may do.
        | sqlx::Error::Protocol(_)
        | sqlx::Error::BeginFailed => Meaning::Unavailable,
        _ => Meaning::Fault,
    }
}

/// What an error of the driver means at that place, in words.
pub(crate) fn explain<DB: Dialect>(place: &Place, doing: &'static str, error: sqlx::Error) -> SqlError {
    let at = place.name.clone();
    match (meaning::<DB>(&error), &error) {
        (Meaning::Conflict, _) => SqlError::Conflict { place: at, source: error },
        (Meaning::Unavailable, sqlx::Error::PoolTimedOut) => SqlError::Unavailable {
            place: at,
            reason: "there was no connection in time; either it is away, or all connections of the pool are in use".into(),
            source: Some(error),
        },
        (Meaning::Unavailable, sqlx::Error::PoolClosed) => SqlError::Unavailable {
            place: at,
            reason: "the pool of connections was closed".into(),
            source: Some(error),
        },
        (Meaning::Unavailable, _) => SqlError::Unavailable {
            place: at,
            reason: tls::explain(&error).unwrap_or_else(|| error.to_string()),
            source: Some(error),
        },
        (Meaning::Missing, sqlx::Error::Database(what)) if what.message().contains(&place.schema) => {
            SqlError::Missing { place: at, schema: place.schema.clone() }
        }
        (Meaning::Forbidden, _) => SqlError::Forbidden {
            place: at,
            reason: error.to_string(),
            cure: "grant the role what docs/sql.md lists",
        },
        (Meaning::Aborted, _) => SqlError::Aborted { place: at },
        _ => SqlError::Statement { place: at, doing, source: error },
    }
}

/// Which database it is, for messages, and where our tables are in it.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    /// `PostgreSQL at host:port/database`.
    pub(crate) name: String,
    /// The schema, or the prefix of the tables' names.
    pub(crate) schema: String,
}
