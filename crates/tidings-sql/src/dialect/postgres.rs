//! PostgreSQL.

use super::sealed::{Driver, Found, New};
use super::{Pools, binding, statements};
use crate::error::{Meaning, SqlError};
use crate::migrations::{Migration, POSTGRES};
use crate::options::SqlOptions;
use crate::relay::Relay;
use crate::replication::{ReplicationOptions, ReplicationRelay};
use crate::tls;
use crate::value::Value;
use sqlx::postgres::{PgArguments, PgConnectOptions, PgListener, PgPoolOptions, PgRow, PgSslMode};
use sqlx::{Arguments, AssertSqlSafe, Connection, PgConnection, Pool, Postgres, Row};
use std::str::FromStr;
use std::sync::Arc;
use tidings_config::redact_url;
use tidings_core::{BoxFuture, OutboxRelay};

impl Driver for Postgres {
    const TITLE: &'static str = "PostgreSQL";
    const BEGIN: Option<&'static str> = None;
    const BEGIN_UNSYNCED: Option<&'static str> = Some("BEGIN; SET LOCAL synchronous_commit = off");
    // `extract` calculates with decimals, which takes as long as all the rest of a short row.
    const NOW: &'static str = "(date_part('epoch', clock_timestamp()) * 1000)::bigint";
    const IS_REMOTE: bool = true;
    // The wait for the claim of another transaction is bounded by the server, which would wait on for a client that is gone.
    // What comes after the claim waits as the user wants it to.
    const CLAIM_ONE: &'static str = "INSERT INTO {t}inbox (scope, id, at) SELECT $1, $2, {now} FROM (SELECT set_config('lock_timeout', $3, true)) AS bounded \
         ON CONFLICT DO NOTHING RETURNING set_config('lock_timeout', NULL, true)";
    // Ids are sent back only where some were known.
    const CLAIM: &'static str = "WITH claimed AS (INSERT INTO {t}inbox (scope, id, at) SELECT $1, ids.id, bounded.at FROM \
         (SELECT set_config('lock_timeout', $3, true), {now} AS at) AS bounded, unnest($2::text[]) WITH ORDINALITY AS ids (id, place) \
         ORDER BY ids.place ON CONFLICT DO NOTHING RETURNING id) \
         SELECT CASE WHEN count(*) < cardinality($2) THEN array_agg(id) END, count(*) = cardinality($2), set_config('lock_timeout', NULL, true) FROM claimed";
    const GIVE_BACK: &'static str = "DELETE FROM {t}inbox WHERE scope = $1 AND id = ANY ($2)";
    // Several instances prune beside each other. The clock is asked once: by one that is asked for each row no index can
    // be searched.
    const FORGET: &'static str = "DELETE FROM {t}inbox WHERE ctid = ANY (ARRAY (SELECT ctid FROM {t}inbox WHERE at < (SELECT {now} - $1) \
                                  ORDER BY at LIMIT $2 FOR UPDATE SKIP LOCKED))";
    const CLAIM_WAITS: bool = true;
    const FOR_SHARE: &'static str = " FOR SHARE";
    // What holds is locked before the first row goes: whoever wants the lock waits for the end of this.
    const TAKE_OUT: Option<&'static str> = Some(
        "WITH held AS (SELECT FROM {t}locks AS lock, (SELECT set_config('synchronous_commit', 'off', true)) AS disk (waits) \
         WHERE lock.name = $2 AND lock.token = $3 AND lock.held_until > {now} AND disk.waits = 'off' FOR SHARE OF lock) \
         DELETE FROM {t}outbox WHERE id = ANY($1) AND EXISTS (SELECT FROM held)",
    );
    const IN_LIST: &'static str = "= ANY($1)";
    const NOT_IN_TEXTS: &'static str = "<> ALL ($3)";
    const SAME_KEY: &'static str =
        "md5(parked.message_key) = md5(waiting.message_key) AND parked.message_key = waiting.message_key";
    const CAN_REPLICATE: bool = true;
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
            if matches!(connect.get_ssl_mode(), PgSslMode::Require) {
                tracing::warn!(
                    "what is said with {place} is secret, but nobody checks who answers there: sslmode=verify-full does, \
                     sslmode=require does not"
                );
            }
            if let Err(tls::Insecure::Refused(reason)) = tls::check(&connect).await {
                return Err(SqlError::Address {
                    address: place,
                    reason,
                });
            }
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

    fn replicating(relay: Relay<Self>, options: ReplicationOptions) -> Box<dyn OutboxRelay> {
        let (store, target, how) = (relay.store.clone(), relay.target.clone(), relay.options.clone());
        match ReplicationRelay::of(relay, options) {
            Ok(replicating) => Box::new(replicating),
            Err(error) => {
                tracing::error!(%error, "the outbox in {} is polled", store.place());
                Box::new(Relay::to(&store, target, how))
            }
        }
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

    fn commit(
        mut transaction: sqlx::Transaction<'static, Self>,
    ) -> BoxFuture<'static, Result<(), sqlx::Error>> {
        Box::pin(async move {
            sqlx::raw_sql(COMMIT).execute(&mut *transaction).await?;
            // The driver believes that the transaction is still open. It closes the empty one that was chained to it when it
            // takes the connection back, together with its look whether that still works.
            drop(transaction);
            Ok(())
        })
    }

    fn claimed(rows: &[PgRow]) -> Result<New, sqlx::Error> {
        let row = rows.first().ok_or(sqlx::Error::RowNotFound)?;
        Ok(match row.try_get(1)? {
            true => New::All,
            false => New::Only(row.try_get::<Option<_>, _>(0)?.unwrap_or_default()),
        })
    }

    statements!();

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

binding!(PgArguments, std::convert::identity);

/// PostgreSQL answers COMMIT of a transaction that failed with a rollback, which the driver takes for success. In such a
/// transaction it refuses any other statement, and with it what was sent behind it. One without effect is there for that, so
/// that nothing has to be asked before. Outside of a transaction, where a statement of the user's has ended it, it is the second
/// one that is refused.
const COMMIT: &str = "SELECT; COMMIT AND CHAIN";

/// `tidings` in four bytes, as near as that goes: advisory locks are numbers that all users of a database share.
const LOCK_OF_MIGRATIONS: i32 = 0x7469_6469;

fn parse(url: &str) -> Result<PgConnectOptions, SqlError> {
    let refused = |reason: String| SqlError::Address {
        address: redact_url(url),
        reason,
    };
    if !(url.starts_with("postgres://") || url.starts_with("postgresql://")) {
        return Err(refused(
            "PostgreSQL is addressed as postgres://user:password@host:5432/database".into(),
        ));
    }
    let options = PgConnectOptions::from_str(url).map_err(|error| refused(error.to_string()))?;
    let options = tls::strict(options);
    Ok(match options.get_application_name() {
        Some(_) => options,
        None => options.application_name("tidings"),
    })
}

fn place_of(options: &PgConnectOptions) -> String {
    let database = options.get_database().unwrap_or(options.get_username());
    let host = options.get_host();
    format!("PostgreSQL at {host}:{}/{database}", options.get_port())
}

fn unreachable_because(place: String, error: sqlx::Error) -> SqlError {
    let reason = match &error {
        sqlx::Error::Database(what)
            if matches!(what.code().as_deref(), Some("28P01" | "28000" | "3D000")) =>
        {
            return SqlError::Address {
                address: place,
                reason: what.message().to_owned(),
            };
        }
        _ => tls::explain(&error).unwrap_or_else(|| error.to_string()),
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
        for (rest, shown) in [
            ("ada:secret@db:5432/shop", "//ada:***@db:5432/shop"),
            ("ada:se@cret@db/shop", "//ada:***@db/shop"),
            (
                "db/shop?user=ada&password=secret",
                "//db/shop?user=ada&password=***",
            ),
            ("db/shop", "//db/shop"),
        ] {
            let place = place_of(&parse(&format!("postgres://{rest}")).unwrap());
            assert!(place.starts_with("PostgreSQL at db:5432/shop"), "{place}");
            let refused = parse(&format!("mysql://{rest}")).unwrap_err().to_string();
            assert!(refused.contains(&format!("\"mysql:{shown}\"")), "{refused}");
            assert!(refused.contains("postgres://user"), "{refused}");
        }
    }
}
