//! PostgreSQL.

use super::sealed::{Driver, Found};
use super::{Pools, binding, statements};
use crate::error::{Meaning, SqlError};
use crate::migrations::{Migration, POSTGRES};
use crate::options::SqlOptions;
use crate::value::Value;
use sqlx::postgres::{PgArguments, PgConnectOptions, PgListener, PgPoolOptions};
use sqlx::{Arguments, AssertSqlSafe, Connection, PgConnection, Pool, Postgres, Row};
use std::str::FromStr;
use std::sync::Arc;
use tidings_core::BoxFuture;

impl Driver for Postgres {
    const TITLE: &'static str = "PostgreSQL";
    const BEGIN: Option<&'static str> = None;
    const NOW: &'static str = "(extract(epoch from clock_timestamp()) * 1000)::bigint";
    const IS_REMOTE: bool = true;
    const COMMIT_MAY_LIE: bool = true;
    const FOR_SHARE: &'static str = " FOR SHARE";
    const IN_LIST: &'static str = "= ANY(string_to_array($1, ',')::bigint[])";
    const FIND: &'static str = "strpos";
    const SAME_KEY: &'static str =
        "md5(parked.message_key) = md5(waiting.message_key) AND parked.message_key = waiting.message_key";
    const CAN_NOTIFY: bool = true;
    const MIGRATIONS: &'static [Migration] = POSTGRES;

    fn prefix(schema: &str) -> String {
        format!("{schema}.")
    }

    fn connect<'a>(
        url: &'a str,
        options: &'a SqlOptions,
    ) -> BoxFuture<'a, Result<(Pools<Self>, String), SqlError>> {
        Box::pin(async move {
            let connect = parse(url)?;
            let place = place_of(&connect);
            // A pool that waits for its first connection says only that there was none; this one says why.
            let first = PgConnection::connect_with(&connect);
            match tokio::time::timeout(options.timeout, first).await {
                Ok(Ok(first)) => drop(first.close().await),
                Ok(Err(error)) => return Err(unreachable_because(place, error)),
                Err(_) => {
                    return Err(SqlError::Silent {
                        place,
                        after: options.timeout,
                    });
                }
            }
            let pool = PgPoolOptions::new()
                .max_connections(options.max_connections)
                .acquire_timeout(options.timeout)
                .connect_lazy_with(connect);
            let pools = Pools {
                reading: pool.clone(),
                writing: pool,
            };
            Ok((pools, place))
        })
    }

    fn place(pool: &Pool<Self>) -> String {
        place_of(&pool.connect_options())
    }

    fn lock_migrations<'a>(
        connection: &'a mut PgConnection,
        schema: &'a str,
    ) -> BoxFuture<'a, Result<(), sqlx::Error>> {
        Box::pin(async move {
            // Two numbers: ours, and the schema's. It is let go of with the transaction.
            sqlx::query("SELECT pg_advisory_xact_lock($1, hashtext($2))")
                .bind(LOCK_OF_MIGRATIONS)
                .bind(schema)
                .execute(connection)
                .await?;
            Ok(())
        })
    }

    fn look<'a>(
        connection: &'a mut PgConnection,
        schema: &'a str,
    ) -> BoxFuture<'a, Result<Found, sqlx::Error>> {
        Box::pin(async move {
            // The catalogue may be read by everybody, whatever rights there are on the tables.
            let row = sqlx::query(
                "SELECT EXISTS (SELECT FROM pg_namespace WHERE nspname = $1), EXISTS (SELECT FROM pg_class c JOIN \
                 pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = $1 AND c.relname = 'migrations')",
            )
            .bind(schema)
            .fetch_one(connection)
            .await?;
            Ok(match (row.try_get(0)?, row.try_get(1)?) {
                (_, true) => Found::Tables,
                (true, false) => Found::Schema,
                (false, false) => Found::Nothing,
            })
        })
    }

    type Listener = PgListener;

    fn notify<'a>(
        connection: &'a mut PgConnection,
        channel: &'a str,
    ) -> BoxFuture<'a, Result<(), sqlx::Error>> {
        Box::pin(async move {
            let notify = sqlx::query("SELECT pg_notify($1, '')").bind(channel);
            notify.execute(connection).await?;
            Ok(())
        })
    }

    fn listen<'a>(pool: &'a Pool<Self>, channel: &'a str) -> BoxFuture<'a, Result<PgListener, sqlx::Error>> {
        Box::pin(async move {
            // One of the pool's connections would be missing there for ever.
            let own = PgPoolOptions::new()
                .max_connections(1)
                .acquire_timeout(pool.options().get_acquire_timeout())
                .max_lifetime(None)
                .idle_timeout(None)
                .connect_lazy_with(pool.connect_options().as_ref().clone());
            let mut listener = PgListener::connect_with(&own).await?;
            listener.listen(channel).await?;
            Ok(listener)
        })
    }

    fn heard(listener: &mut PgListener) -> BoxFuture<'_, Result<(), sqlx::Error>> {
        Box::pin(async move { listener.recv().await.map(drop) })
    }

    statements!(PgArguments);

    fn meaning(error: &dyn sqlx::error::DatabaseError) -> Meaning {
        let code = error.code().unwrap_or_default();
        match code.as_ref() {
            // Serialization failure, deadlock, a lock that was not to be waited for.
            "40001" | "40P01" | "55P03" => Meaning::Conflict,
            // Shutdown, crash of another session, start, and a statement that was cancelled from outside.
            "57P01" | "57P02" | "57P03" | "57P05" | "57014" => Meaning::Unavailable,
            // A standby, which may become what it replaces.
            "25006" => Meaning::Unavailable,
            // A transaction that was idle for longer than the server allows.
            "25P03" => Meaning::Unavailable,
            "25P02" => Meaning::Aborted,
            "42501" => Meaning::Forbidden,
            "42P01" | "3F000" => Meaning::Missing,
            // Connections, room and memory, the system's own errors.
            other if ["08", "53", "58"].iter().any(|class| other.starts_with(class)) => Meaning::Unavailable,
            _ => Meaning::Fault,
        }
    }
}

binding!(PgArguments);

/// `tidings` in four bytes, as near as that goes: advisory locks are numbers that all users of a database share.
const LOCK_OF_MIGRATIONS: i32 = 0x7469_6469;

fn parse(url: &str) -> Result<PgConnectOptions, SqlError> {
    let refused = |reason: String| SqlError::Address {
        address: without_password(url),
        reason,
    };
    if !(url.starts_with("postgres://") || url.starts_with("postgresql://")) {
        return Err(refused(
            "PostgreSQL is addressed as postgres://user:password@host:5432/database".into(),
        ));
    }
    let options = PgConnectOptions::from_str(url).map_err(|error| refused(error.to_string()))?;
    Ok(match options.get_application_name() {
        Some(_) => options,
        None => options.application_name("tidings"),
    })
}

/// What stands before the last `@` and behind the first `:` of the user may be a password.
fn without_password(url: &str) -> String {
    let Some((start, rest)) = url.split_once("://") else {
        return url.to_owned();
    };
    match rest.rsplit_once('@') {
        None => url.to_owned(),
        Some((user, host)) => {
            let name = user.split(':').next().unwrap_or_default();
            format!("{start}://{name}@{host}")
        }
    }
}

fn place_of(options: &PgConnectOptions) -> String {
    let database = options.get_database().unwrap_or(options.get_username());
    let host = options.get_host();
    format!("PostgreSQL at {host}:{}/{database}", options.get_port())
}

fn unreachable_because(place: String, error: sqlx::Error) -> SqlError {
    let reason = match &error {
        sqlx::Error::Tls(_) => format!(
            "{error}; this build has no TLS: use sslmode=disable or prefer on a network that may be trusted, or give a pool of \
             your own"
        ),
        sqlx::Error::Database(what)
            if matches!(what.code().as_deref(), Some("28P01" | "28000" | "3D000")) =>
        {
            return SqlError::Address {
                address: place,
                reason: what.message().to_owned(),
            };
        }
        _ => error.to_string(),
    };
    SqlError::Unavailable {
        place,
        reason,
        source: Some(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_shown_without_its_password() {
        for (url, shown) in [
            (
                "postgres://ada:secret@db:5432/shop",
                "postgres://ada@db:5432/shop",
            ),
            ("postgres://ada:se@cret@db/shop", "postgres://ada@db/shop"),
            ("postgres://db/shop", "postgres://db/shop"),
        ] {
            assert_eq!(without_password(url), shown);
            let place = place_of(&parse(url).unwrap());
            assert!(place.starts_with("PostgreSQL at db:5432/shop"), "{place}");
        }
        let refused = parse("mysql://ada:secret@db/shop").unwrap_err().to_string();
        assert!(
            refused.contains("postgres://user") && !refused.contains("secret"),
            "{refused}"
        );
    }
}
