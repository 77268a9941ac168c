//! Locks in a database, by its clock: [`SqlLocks`], [`Tx::check_fence`].

use crate::dialect::Dialect;
use crate::error::SqlError;
use crate::store::SqlStore;
use crate::tx::Tx;
use crate::value::Value;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use tidings_core::{BoxFuture, Lease, LockError, LockRequest, LockStore};
use tokio::time::Instant;

/// Locks in a database, held by its clock. Names are never forgotten, since their tokens must grow: take them from a set
/// that is bounded.
///
/// What is written under a lock is safe when the token is checked in its transaction:
///
/// ```
/// use sqlx::Sqlite;
/// use std::time::Duration;
/// use tidings_core::{LockRequest, LockStore};
/// use tidings_sql::SqlStore;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let store = SqlStore::<Sqlite>::open("sqlite::memory:").await?;
/// let locks = store.locks();
/// let nightly = LockRequest::new("nightly", Duration::from_secs(60))?;
/// let Some(lease) = locks.acquire(&nightly).await? else {
///     return Ok(()); // somebody else does it
/// };
/// let mut tx = store.begin().await?;
/// tx.check_fence(lease.name(), lease.token()).await?;
/// // … statements of the night …
/// tx.commit().await?;
/// locks.release(lease).await?;
/// # Ok(())
/// # }
/// ```
pub struct SqlLocks<DB: Dialect> {
    store: SqlStore<DB>,
    sql: Statements,
}

struct Statements {
    acquire: Arc<str>,
    renew: Arc<str>,
    release: Arc<str>,
    check: Arc<str>,
}

impl<DB: Dialect> fmt::Debug for SqlLocks<DB> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqlLocks").field("store", &self.store).finish()
    }
}

/// One statement decides: whoever comes second waits for the first one's row and looks at it again.
const ACQUIRE: &str = "INSERT INTO {t}locks (name, token, holder, acquired_at, held_until, kept_until) \
     VALUES ($1, 1, $2, {now}, {now} + $3, {now} + $4) \
     ON CONFLICT (name) DO UPDATE SET token = {t}locks.token + 1, holder = excluded.holder, \
     acquired_at = excluded.acquired_at, held_until = excluded.held_until, kept_until = excluded.kept_until \
     WHERE {t}locks.held_until <= {now} AND {t}locks.kept_until <= {now} RETURNING token";
const RENEW: &str =
    "UPDATE {t}locks SET held_until = {now} + $3 WHERE name = $1 AND token = $2 AND held_until > {now}";
const RELEASE: &str =
    "UPDATE {t}locks SET held_until = 0 WHERE name = $1 AND token = $2 AND held_until > {now}";
const CHECK: &str = "SELECT token FROM {t}locks WHERE name = $1 AND token = $2 AND held_until > {now}";

impl<DB: Dialect> SqlStore<DB> {
    /// The locks in this database.
    pub fn locks(&self) -> SqlLocks<DB> {
        SqlLocks {
            sql: Statements {
                acquire: self.sql(ACQUIRE),
                renew: self.sql(RENEW),
                release: self.sql(RELEASE),
                check: self.sql(CHECK),
            },
            store: self.clone(),
        }
    }
}

impl<DB: Dialect> LockStore for SqlLocks<DB> {
    fn acquire<'a>(&'a self, request: &'a LockRequest) -> BoxFuture<'a, Result<Option<Lease>, LockError>> {
        Box::pin(async move {
            let (name, asked) = (request.name(), Instant::now());
            let values = [
                Value::Text(name),
                Value::Text(request.who()),
                Value::Int(millis(request.longest())),
                Value::Int(millis(request.shortest())),
            ];
            let rows = self
                .store
                .fetch("taking a lock", &self.sql.acquire, &values)
                .await;
            let rows = rows.map_err(|error| unavailable(name, error))?;
            let Some(row) = rows.first() else {
                return Ok(None);
            };
            let token = DB::int(row, 0)
                .map_err(|error| unavailable(name, self.store.explain("taking a lock", error)))?;
            let token = u64::try_from(token).unwrap_or_default();
            Ok(Some(Lease::new(name.clone(), token, asked, request.longest())))
        })
    }

    fn renew<'a>(&'a self, lease: &'a Lease, at_most: Duration) -> BoxFuture<'a, Result<Lease, LockError>> {
        Box::pin(async move {
            let (name, token, asked) = (lease.name(), lease.token(), Instant::now());
            let values = [
                Value::Text(name),
                Value::Int(number(token)),
                Value::Int(millis(at_most)),
            ];
            let renewed = self
                .store
                .execute("renewing a lock", &self.sql.renew, &values)
                .await;
            match renewed.map_err(|error| unavailable(name, error))? {
                0 => Err(lost(name, token)),
                _ => Ok(Lease::new(name.clone(), token, asked, at_most)),
            }
        })
    }

    fn release(&self, lease: Lease) -> BoxFuture<'_, Result<(), LockError>> {
        Box::pin(async move {
            let values = [Value::Text(lease.name()), Value::Int(number(lease.token()))];
            let released = self
                .store
                .execute("giving a lock back", &self.sql.release, &values)
                .await;
            released
                .map(drop)
                .map_err(|error| unavailable(lease.name(), error))
        })
    }

    fn check<'a>(&'a self, name: &'a str, token: u64) -> BoxFuture<'a, Result<bool, LockError>> {
        Box::pin(async move {
            let values = [Value::Text(name), Value::Int(number(token))];
            let rows = self
                .store
                .fetch("looking at a lock", &self.sql.check, &values)
                .await;
            rows.map(|rows| !rows.is_empty())
                .map_err(|error| unavailable(&name.into(), error))
        })
    }
}

impl<DB: Dialect> Tx<DB> {
    /// Goes on only if the lock is still held under that token, and keeps others from taking it until this transaction
    /// has ended: what is written in it is written by the holder, also if it was paused before or is paused now.
    ///
    /// # Errors
    /// [`LockError::Lost`], upon which the transaction is to be dropped; [`LockError::Unavailable`].
    pub async fn check_fence(&mut self, name: &str, token: u64) -> Result<(), LockError> {
        let sql = self.store().sql(&format!("{CHECK}{}", DB::FOR_SHARE));
        let values = [Value::Text(name), Value::Int(number(token))];
        let rows = self.fetch("checking a fence", &sql, &values).await;
        match rows.map_err(|error| unavailable(&name.into(), error))?.is_empty() {
            true => Err(lost(&name.into(), token)),
            false => Ok(()),
        }
    }
}

fn lost(name: &Arc<str>, token: u64) -> LockError {
    LockError::Lost {
        name: name.clone(),
        token,
    }
}

fn unavailable(name: &Arc<str>, error: SqlError) -> LockError {
    LockError::Unavailable {
        name: name.clone(),
        reason: error.to_string(),
        source: Some(Box::new(error)),
    }
}

/// A year is beyond every lock, and what a sum of milliseconds can hold.
fn millis(time: Duration) -> i64 {
    const YEAR: Duration = Duration::from_secs(366 * 86_400);
    i64::try_from(time.min(YEAR).as_millis()).unwrap_or(i64::MAX)
}

fn number(token: u64) -> i64 {
    i64::try_from(token).unwrap_or(i64::MAX)
}
