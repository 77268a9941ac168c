//! SQLite.

use super::sealed::{Driver, Found, New};
use super::{Pools, binding, statements};
use crate::error::{Meaning, SqlError};
use crate::migrations::{Migration, SQLITE};
use crate::options::SqlOptions;
use crate::relay::Relay;
use crate::replication::ReplicationOptions;
use crate::value::Value;
use crate::wait::Wait;
use sqlx::sqlite::{
    SqliteArguments, SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteRow, SqliteSynchronous,
};
use sqlx::{Arguments, AssertSqlSafe, Pool, Row, Sqlite, SqliteConnection};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;
use tidings_core::{BoxFuture, OutboxRelay};
use tokio::time::Instant;

impl Driver for Sqlite {
    const TITLE: &'static str = "SQLite";
    // A transaction that reads first and writes then may be refused in the middle; this one waits at its begin.
    const BEGIN: Option<&'static str> = Some("BEGIN IMMEDIATE");
    const BEGIN_UNSYNCED: Option<&'static str> = Self::BEGIN;
    const NOW: &'static str = "CAST(unixepoch('subsec') * 1000 AS INTEGER)";
    const IS_REMOTE: bool = false;
    const CLAIM_ONE: &'static str =
        "INSERT INTO {t}inbox (scope, id, at) VALUES ($1, $2, {now}) ON CONFLICT DO NOTHING";
    const CLAIM: &'static str = "INSERT INTO {t}inbox (scope, id, at) SELECT $1, value, {now} FROM json_each($2) WHERE true \
                                 ORDER BY key ON CONFLICT DO NOTHING RETURNING id";
    const GIVE_BACK: &'static str =
        "DELETE FROM {t}inbox WHERE scope = $1 AND id IN (SELECT value FROM json_each($2))";
    const FORGET: &'static str = "DELETE FROM {t}inbox WHERE (scope, id) IN (SELECT scope, id FROM {t}inbox WHERE at < {now} - $1 \
                                  ORDER BY at LIMIT $2)";
    // There is one transaction at a time.
    const CLAIM_WAITS: bool = false;
    // Whoever has begun is the only one who writes.
    const FOR_SHARE: &'static str = "";
    const TAKE_OUT: Option<&'static str> = None;
    const IN_LIST: &'static str = "IN (SELECT value FROM json_each($1))";
    const NOT_IN_TEXTS: &'static str = "NOT IN (SELECT value FROM json_each($3))";
    const SAME_KEY: &'static str = "parked.message_key = waiting.message_key";
    const CAN_REPLICATE: bool = false;
    const CAN_NOTIFY: bool = false;
    const MIGRATIONS: &'static [Migration] = SQLITE;

    fn prefix(schema: &str) -> String {
        format!("{schema}_")
    }

    fn connect<'a>(
        url: &'a str,
        options: &'a SqlOptions,
    ) -> BoxFuture<'a, Result<(Pools<Self>, String), SqlError>> {
        Box::pin(async move {
            let (connect, in_memory) = parse(url, options)?;
            let place = place_of(&connect);
            let pool = |connections: u32| {
                let pool = SqlitePoolOptions::new()
                    .max_connections(connections)
                    .acquire_timeout(options.timeout)
                    // What is in memory goes with its connection.
                    .idle_timeout(None)
                    .max_lifetime(None)
                    // There is no server that could have gone meanwhile; to ask costs the one writer two turns of threads.
                    .test_before_acquire(false);
                if in_memory { pool.min_connections(1) } else { pool }
            };
            // The first one makes the file and sets its journal; two at a time would be in each other's way.
            let writing = pool(1).connect_lazy_with(connect.clone());
            first_connection(&writing, options)
                .await
                .map_err(|error| unreachable_because(place.clone(), error))?;
            let reading = match in_memory {
                true => writing.clone(),
                false => pool(options.max_connections).connect_lazy_with(connect),
            };
            Ok((Pools { writing, reading }, place))
        })
    }

    fn place(pool: &Pool<Self>) -> String {
        place_of(&pool.connect_options())
    }

    fn replicating(relay: Relay<Self>, _: ReplicationOptions) -> Box<dyn OutboxRelay> {
        Box::new(relay)
    }

    fn lock_migrations<'a>(
        _: &'a mut SqliteConnection,
        _: &'a str,
    ) -> BoxFuture<'a, Result<(), sqlx::Error>> {
        // Whoever has begun is the only one who writes.
        Box::pin(std::future::ready(Ok(())))
    }

    fn look<'a>(
        connection: &'a mut SqliteConnection,
        schema: &'a str,
    ) -> BoxFuture<'a, Result<Found, sqlx::Error>> {
        Box::pin(async move {
            let found = sqlx::query("SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = $1")
                .bind(format!("{}migrations", Self::prefix(schema)))
                .fetch_optional(connection)
                .await?;
            Ok(match found {
                Some(_) => Found::Tables,
                None => Found::Schema,
            })
        })
    }

    type Listener = ();

    fn notify<'a>(_: &'a mut SqliteConnection, _: &'a str) -> BoxFuture<'a, Result<(), sqlx::Error>> {
        Box::pin(std::future::ready(Ok(())))
    }

    fn listen<'a>(_: &'a Pool<Self>, _: &'a str) -> BoxFuture<'a, Result<(), sqlx::Error>> {
        Box::pin(std::future::ready(Ok(())))
    }

    fn heard((): &mut ()) -> BoxFuture<'_, Result<(), sqlx::Error>> {
        Box::pin(std::future::pending())
    }

    fn commit(transaction: sqlx::Transaction<'static, Self>) -> BoxFuture<'static, Result<(), sqlx::Error>> {
        Box::pin(transaction.commit())
    }

    fn claimed(rows: &[SqliteRow]) -> Result<New, sqlx::Error> {
        let ids = rows.iter().map(|row| row.try_get(0));
        Ok(New::Only(ids.collect::<Result<_, _>>()?))
    }

    statements!();

    fn meaning(error: &dyn sqlx::error::DatabaseError) -> Meaning {
        let code: i32 = error
            .code()
            .and_then(|code| code.parse().ok())
            .unwrap_or_default();
        // The rest tells apart what comes to the same here.
        match code & 0xff {
            BUSY | LOCKED => Meaning::Conflict,
            NO_MEMORY | INTERRUPTED | IO | FULL | CANNOT_OPEN | PROTOCOL => Meaning::Unavailable,
            READ_ONLY | NO_PERMISSION => Meaning::Forbidden,
            ERROR if error.message().starts_with("no such table") => Meaning::Missing,
            ERROR if error.message().contains("no transaction is active") => Meaning::Aborted,
            _ => Meaning::Fault,
        }
    }
}

binding!(SqliteArguments, json);

/// An array as SQLite takes it apart.
fn json<T: Copy>(values: &[T]) -> String
where
    serde_json::Value: From<T>,
{
    let values = values.iter().map(|value| serde_json::Value::from(*value));
    values.collect::<serde_json::Value>().to_string()
}

// https://www.sqlite.org/rescode.html
const ERROR: i32 = 1;
const NO_PERMISSION: i32 = 3;
const BUSY: i32 = 5;
const LOCKED: i32 = 6;
const NO_MEMORY: i32 = 7;
const READ_ONLY: i32 = 8;
const INTERRUPTED: i32 = 9;
const IO: i32 = 10;
const FULL: i32 = 13;
const CANNOT_OPEN: i32 = 14;
const PROTOCOL: i32 = 15;

fn parse(url: &str, options: &SqlOptions) -> Result<(SqliteConnectOptions, bool), SqlError> {
    let refused = |reason: String| SqlError::Address {
        address: url.to_owned(),
        reason,
    };
    if !url.starts_with("sqlite:") {
        return Err(refused(
            "SQLite is addressed as sqlite:FILE, or sqlite::memory: for a test".into(),
        ));
    }
    let in_memory = url.contains(":memory:") || url.contains("mode=memory");
    let connect = SqliteConnectOptions::from_str(url)
        .map_err(|error| refused(error.to_string()))?
        .create_if_missing(!url.contains("mode="))
        .foreign_keys(true)
        .busy_timeout(options.busy_timeout)
        // Readers and the one writer work beside each other. What is committed is on the disk: a message may be
        // acknowledged for it.
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full);
    Ok((connect, in_memory))
}

/// Makes the file and sets its journal. That needs the file alone, and SQLite doesn't wait for it as it waits for locks
/// elsewhere: of instances that start together all but one may be told that it is locked. They ask again until the time is
/// over that they would wait for a transaction.
async fn first_connection(pool: &Pool<Sqlite>, options: &SqlOptions) -> Result<(), sqlx::Error> {
    let end = Instant::now() + options.busy_timeout;
    let mut wait = Wait::new(Duration::from_millis(5), Duration::from_millis(200));
    loop {
        match pool.acquire().await {
            Err(error) if is_busy(&error) && Instant::now() < end => tokio::time::sleep(wait.take()).await,
            connected => return connected.map(drop),
        }
    }
}

fn is_busy(error: &sqlx::Error) -> bool {
    let meant = error.as_database_error().map(Sqlite::meaning);
    matches!(meant, Some(Meaning::Conflict))
}

fn place_of(options: &SqliteConnectOptions) -> String {
    format!("SQLite in {}", options.get_filename().display())
}

fn unreachable_because(place: String, error: sqlx::Error) -> SqlError {
    SqlError::Unavailable {
        place,
        reason: format!("{error}; is its directory there, and may this user write to it?"),
        source: Some(error),
    }
}
