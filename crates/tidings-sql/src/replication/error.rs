//! Why rows cannot be read as they are committed: [`ReplicationError`].

use crate::error::SqlError;
use crate::tls::Insecure;

/// Why rows of the outbox cannot be read by logical replication.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReplicationError {
    /// The server does not write what logical replication needs.
    #[error(
        "{place} has wal_level = {found}: set `wal_level = logical` in its postgresql.conf and restart it, or use the relay \
         that polls"
    )]
    NotLogical {
        /// Which database.
        place: String,
        /// What it has.
        found: String,
    },
    /// The role lacks a right.
    #[error("not allowed on {place}: {reason}; {cure}")]
    Forbidden {
        /// Which database.
        place: String,
        /// The database's words.
        reason: String,
        /// What to do.
        cure: String,
    },
    /// Somebody else reads the slot, or the server has not noticed yet that nobody does.
    #[error("the slot on {place} is in use by another session: {reason}")]
    Busy {
        /// Which database.
        place: String,
        /// The database's words.
        reason: String,
    },
    /// What is there under the name of the slot or the publication is something else.
    #[error("\"{name}\" on {place} is {what}: remove it, or choose another name")]
    Foreign {
        /// Which database.
        place: String,
        /// The name.
        name: String,
        /// What it is.
        what: &'static str,
    },
    /// A slot or a publication cannot have that name.
    #[error(
        "\"{name}\" cannot be the name of a {what}: it needs 1 to 63 characters of a-z, 0-9 and _, no digit first"
    )]
    Name {
        /// Slot or publication.
        what: &'static str,
        /// What was given.
        name: String,
    },
    /// The connection cannot be made as it is asked for.
    #[error("{place} cannot be read by replication: {reason}")]
    Address {
        /// Which database.
        place: String,
        /// What is wrong, and what to do.
        reason: String,
    },
    /// The connection was not made, or it was lost.
    #[error("the connection for replication to {place} is lost: {reason}")]
    Connection {
        /// Which database.
        place: String,
        /// What happened.
        reason: String,
    },
    /// The server refused something.
    #[error("{place} refuses replication: {message} ({code})")]
    Refused {
        /// Which database.
        place: String,
        /// PostgreSQL's code of the error.
        code: String,
        /// The database's words.
        message: String,
    },
    /// What the server sent cannot be read. Rows are read by polling then.
    #[error("{place} sent what cannot be read: {reason}")]
    Unreadable {
        /// Which database.
        place: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A statement failed.
    #[error(transparent)]
    Sql(#[from] SqlError),
}

impl ReplicationError {
    pub(crate) fn insecure(place: &str, insecure: Insecure) -> Self {
        let place = place.to_owned();
        match insecure {
            Insecure::Refused(reason) => Self::Address { place, reason },
            Insecure::Lost(reason) => Self::Connection { place, reason },
        }
    }
}
