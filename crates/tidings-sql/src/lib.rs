//! PostgreSQL and SQLite for Tidings: where effects happen once.
//!
//! A [`SqlStore`] is a database with the tables of Tidings in it. Its transactions ([`Tx`]) are sqlx's, so whatever speaks
//! sqlx works in them.
//!
//! ```no_run
//! use sqlx::Postgres;
//! use tidings_sql::SqlStore;
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let store = SqlStore::<Postgres>::open("postgres://shop:secret@localhost/shop").await?;
//! let mut tx = store.begin().await?;
//! sqlx::query("UPDATE stock SET pieces = pieces - 1 WHERE item = $1").bind("teapot").execute(&mut *tx).await?;
//! tx.commit().await?;
//! # Ok(())
//! # }
//! ```
//!
//! # Inbox
//! A subscription with `.inbox(store)` handles each message in a transaction of the store, and once: the handler takes it as
//! an argument ([`Tx`]), the first statement claims the message's id, and what the handler publishes goes into the outbox
//! there. Messages are known for [`SqlOptions::inbox_retention`].
//!
//! # Outbox
//! [`Outbox`] publishes with a transaction or not at all; a [`Relay`] sends what was committed, at least once, with the same
//! message ids each time, in the order of each key.
//!
//! # HTTP
//! With the feature `axum`, `http::InTx` is an argument of a handler: what it writes and what it publishes is one commit, before
//! the answer.
//!
//! # Locks
//! [`SqlStore::locks`] are held by the database's clock for a while, by one of many. What is written under one is guarded by
//! [`Tx::check_fence`], which also stops a holder that was paused for too long.
//!
//! # Tables
//! They are made when a store is opened, by versioned steps of which each is applied once; instances that start together
//! wait for each other. On PostgreSQL they are in a schema of their own, on SQLite their names begin with a prefix:
//! [`SqlOptions::schema`]. Where nothing is lacking, nothing is sent that a role without the right to create tables may
//! not do. [`migrations_as_sql`] prints the statements for who applies them by hand.
//!
//! # SQLite
//! A file has the journal mode WAL, a full sync at each commit, foreign keys, and one connection that writes: its
//! transactions begin with `BEGIN IMMEDIATE`, so that none is refused in the middle.
//!
//! # TLS
//! With the feature `tls`, PostgreSQL is talked to as its address says in libpq's words: `sslmode`, `sslrootcert`, `sslcert`,
//! `sslkey`. Replication does the same.
//!
//! # Errors
//! [`SqlError`] says in words what to do. [`SqlError::is_transient`] and, for errors of the driver, [`classify`] tell
//! whether to try again: from the beginning of the transaction.
//!
//! # What it is not
//! No query builder and no mapper: statements are the user's, with sqlx.

mod dialect;
mod error;
#[cfg(feature = "axum")]
pub mod http;
mod inbox;
mod kept;
mod lent;
mod locks;
mod migrations;
mod options;
mod outbox;
mod relay;
mod replication;
mod store;
mod tls;
mod tx;
mod value;
mod wait;

pub use dialect::Dialect;
pub use error::{ErrorClass, SqlError, classify};
pub use locks::SqlLocks;
pub use migrations::{AppliedMigration, migrate, migrations_as_sql};
pub use options::{Migrate, SqlOptions};
pub use outbox::{Outbox, OutboxError, Parked};
pub use relay::{ParkedKeys, Relay, RelayMode, RelayOptions, RelayStatus};
pub use replication::{
    BehindLimit, Reading, ReplicationError, ReplicationOptions, ReplicationRelay, ReplicationStatus,
};
/// The driver, in the version that the types here are of.
pub use sqlx;
pub use store::SqlStore;
pub use tidings_core::Backlog;
pub use tx::{Savepoint, Tx};
