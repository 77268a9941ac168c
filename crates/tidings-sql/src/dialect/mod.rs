//! What differs between databases: [`Dialect`].

mod postgres;
mod sqlite;

use crate::error::{Meaning, SqlError};
use crate::migrations::Migration;
use crate::options::SqlOptions;
use crate::relay::Relay;
use crate::replication::ReplicationOptions;
use crate::value::Value;
use sqlx::Pool;
use std::sync::Arc;
use tidings_core::{BoxFuture, OutboxRelay};

/// A database that Tidings can use: [`sqlx::Postgres`] and [`sqlx::Sqlite`]. It cannot be implemented elsewhere.
pub trait Dialect: sealed::Driver {}

impl<DB: sealed::Driver> Dialect for DB {}

/// Where statements go: SQLite has one connection that writes, and others that read beside it.
#[derive(Debug)]
pub struct Pools<DB: sqlx::Database> {
    /// Transactions that write.
    pub writing: Pool<DB>,
    /// Everything else.
    pub reading: Pool<DB>,
}

/// What is done with statements on every database; a module that nobody outside can name.
pub(crate) mod sealed {
    use super::*;

    /// What differs between databases. Statements are written for all of them where they can be, with `$1` for values; the
    /// few that cannot are constants of the modules that use them.
    pub trait Driver: sqlx::Database {
        /// What people call it.
        const TITLE: &'static str;
        /// What begins a transaction that writes, if it is not `BEGIN`.
        const BEGIN: Option<&'static str>;
        /// What begins one whose commit does not wait for the disk, where there is such a thing.
        const BEGIN_UNSYNCED: Option<&'static str>;
        /// Milliseconds since 1970 by the database's clock, at the moment and not at the begin of the transaction.
        const NOW: &'static str;
        /// Whether it is a server that may fall silent.
        const IS_REMOTE: bool;
        /// Claims the id `$2` of the scope `$1`: one row if it is new. `$3`, on databases where transactions wait for each other
        /// here, is the longest wait in milliseconds.
        const CLAIM_ONE: &'static str;
        /// The same for texts, in the order in which they stand there; [`claimed`](Self::claimed) reads the answer.
        const CLAIM: &'static str;
        /// Gives back the claims of texts.
        const GIVE_BACK: &'static str;
        /// Forgets claims that are older than `$1` milliseconds, `$2` of them at the most.
        const FORGET: &'static str;
        /// Whether claims have a `$3`.
        const CLAIM_WAITS: bool;
        /// What keeps the rows of a SELECT as they are until the transaction ends.
        const FOR_SHARE: &'static str;
        /// Deletes the rows `$1` of the outbox in a transaction whose commit does not wait for the disk, if the lock `$2` is held
        /// under the token `$3`; where that is one statement.
        const TAKE_OUT: Option<&'static str>;
        /// What stands behind a column that is to be one of the numbers `$1`.
        const IN_LIST: &'static str;
        /// What stands behind a column that is to be none of the texts `$3`.
        const NOT_IN_TEXTS: &'static str;
        /// Whether the rows `parked` and `waiting` have one key, in the words of the index on it.
        const SAME_KEY: &'static str;
        /// Whether rows can be read as they are committed.
        const CAN_REPLICATE: bool;
        /// Whether other processes can be told something through the database.
        const CAN_NOTIFY: bool;
        /// What hears of it.
        type Listener: Send + 'static;
        /// What makes the tables, oldest first.
        const MIGRATIONS: &'static [Migration];

        /// What stands before a table's name.
        fn prefix(schema: &str) -> String;

        /// Connects and says, without the password, where to.
        fn connect<'a>(
            url: &'a str,
            options: &'a SqlOptions,
        ) -> BoxFuture<'a, Result<(Pools<Self>, String), SqlError>>;

        /// Where a pool of the user's own leads to, without the password.
        fn place(pool: &Pool<Self>) -> String;

        /// The relay as one that reads rows as they are committed, where that can be: options are checked when the store
        /// is opened.
        fn replicating(relay: Relay<Self>, options: ReplicationOptions) -> Box<dyn OutboxRelay>;

        /// Waits until nobody else migrates that schema; it lasts as long as the transaction.
        fn lock_migrations<'a>(
            connection: &'a mut Self::Connection,
            schema: &'a str,
        ) -> BoxFuture<'a, Result<(), sqlx::Error>>;

        /// Whether our tables are there, and on PostgreSQL whether their schema is.
        fn look<'a>(
            connection: &'a mut Self::Connection,
            schema: &'a str,
        ) -> BoxFuture<'a, Result<Found, sqlx::Error>>;

        /// Tells everybody who listens on that channel.
        fn notify<'a>(
            connection: &'a mut Self::Connection,
            channel: &'a str,
        ) -> BoxFuture<'a, Result<(), sqlx::Error>>;

        /// Begins to listen, on a connection of its own.
        fn listen<'a>(
            pool: &'a Pool<Self>,
            channel: &'a str,
        ) -> BoxFuture<'a, Result<Self::Listener, sqlx::Error>>;

        /// Waits for somebody to tell something. A connection that was lost is made anew.
        fn heard(listener: &mut Self::Listener) -> BoxFuture<'_, Result<(), sqlx::Error>>;

        /// Commits, and fails where a statement of the transaction had failed.
        fn commit(
            transaction: sqlx::Transaction<'static, Self>,
        ) -> BoxFuture<'static, Result<(), sqlx::Error>>;

        /// What a claim of several ids says.
        fn claimed(rows: &[Self::Row]) -> Result<New, sqlx::Error>;

        /// Runs a statement; how many rows it changed.
        fn execute<'c>(
            connection: &'c mut Self::Connection,
            sql: &Arc<str>,
            values: &[Value<'_>],
        ) -> BoxFuture<'c, Result<u64, sqlx::Error>>;

        /// Runs a statement and takes its rows, which are few.
        fn fetch<'c>(
            connection: &'c mut Self::Connection,
            sql: &Arc<str>,
            values: &[Value<'_>],
        ) -> BoxFuture<'c, Result<Vec<Self::Row>, sqlx::Error>>;

        /// Runs several statements without values.
        fn script<'c>(
            connection: &'c mut Self::Connection,
            sql: String,
        ) -> BoxFuture<'c, Result<(), sqlx::Error>>;

        /// A number of a row.
        fn int(row: &Self::Row, column: usize) -> Result<i64, sqlx::Error>;
        /// A number of a row, or nothing.
        fn maybe_int(row: &Self::Row, column: usize) -> Result<Option<i64>, sqlx::Error>;
        /// Text of a row.
        fn text(row: &Self::Row, column: usize) -> Result<&str, sqlx::Error>;
        /// Bytes of a row, or nothing.
        fn maybe_bytes(row: &Self::Row, column: usize) -> Result<Option<&[u8]>, sqlx::Error>;

        /// What an error of the database stands for.
        fn meaning(error: &dyn sqlx::error::DatabaseError) -> Meaning;
    }

    /// Which of the ids that were to be claimed are new.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub enum New {
        /// Every one.
        All,
        /// These.
        Only(Vec<String>),
    }

    /// What was found in a database.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub enum Found {
        /// The list of migrations that were applied.
        Tables,
        /// A schema without it.
        Schema,
        /// Nothing.
        Nothing,
    }
}

/// The part of [`sealed::Driver`] that reads the same for every database, and is compiled for each.
macro_rules! statements {
    () => {
        fn execute<'c>(
            connection: &'c mut Self::Connection,
            sql: &Arc<str>,
            values: &[Value<'_>],
        ) -> BoxFuture<'c, Result<u64, sqlx::Error>> {
            let (sql, bound) = (AssertSqlSafe(sql.clone()), bind(values));
            Box::pin(async move {
                let done = sqlx::query_with(sql, bound?).execute(connection).await?;
                Ok(done.rows_affected())
            })
        }

        fn fetch<'c>(
            connection: &'c mut Self::Connection,
            sql: &Arc<str>,
            values: &[Value<'_>],
        ) -> BoxFuture<'c, Result<Vec<Self::Row>, sqlx::Error>> {
            let (sql, bound) = (AssertSqlSafe(sql.clone()), bind(values));
            Box::pin(async move { sqlx::query_with(sql, bound?).fetch_all(connection).await })
        }

        fn script<'c>(
            connection: &'c mut Self::Connection,
            sql: String,
        ) -> BoxFuture<'c, Result<(), sqlx::Error>> {
            Box::pin(async move {
                sqlx::raw_sql(AssertSqlSafe(sql))
                    .execute(connection)
                    .await?;
                Ok(())
            })
        }

        fn int(row: &Self::Row, column: usize) -> Result<i64, sqlx::Error> {
            row.try_get(column)
        }

        fn maybe_int(row: &Self::Row, column: usize) -> Result<Option<i64>, sqlx::Error> {
            row.try_get(column)
        }

        fn text(row: &Self::Row, column: usize) -> Result<&str, sqlx::Error> {
            row.try_get(column)
        }

        fn maybe_bytes(row: &Self::Row, column: usize) -> Result<Option<&[u8]>, sqlx::Error> {
            row.try_get(column)
        }
    };
}

/// The function that binds values, compiled for each database.
macro_rules! binding {
    ($arguments:ty, $list:path) => {
        fn bind(values: &[Value<'_>]) -> Result<$arguments, sqlx::Error> {
            let mut bound = <$arguments>::default();
            for value in values {
                match *value {
                    Value::Int(value) => bound.add(value),
                    Value::MaybeInt(value) => bound.add(value),
                    Value::Text(value) => bound.add(value),
                    Value::MaybeText(value) => bound.add(value),
                    Value::Bytes(value) => bound.add(value),
                    Value::MaybeBytes(value) => bound.add(value),
                    Value::Ints(values) => bound.add($list(values)),
                    Value::Texts(values) => bound.add($list(values)),
                }
                .map_err(sqlx::Error::Encode)?;
            }
            Ok(bound)
        }
    };
}

use {binding, statements};
