//! A transaction under way: [`Tx`], [`Savepoint`].

use crate::dialect::Dialect;
use crate::error::{Meaning, SqlError, meaning};
use crate::lent::{Lent, Owner};
use crate::store::SqlStore;
use crate::value::Value;
use sqlx::Connection;
use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;

/// A transaction under way. It is a connection to whoever runs statements (`&mut *tx`); dropped, it is rolled back.
///
/// As an argument of a handler it is the transaction of the subscription's inbox. The engine commits it when the handler
/// has returned `Ok`, and rolls it back otherwise, so such a one cannot be committed or rolled back by the handler. It must be
/// dropped before the handler returns: a task that keeps it makes the handling fail.
///
/// ```
/// use tidings_core::{Failure, Json, Subscription, on};
/// use tidings_sql::{SqlStore, Tx, sqlx};
///
/// #[derive(serde::Deserialize)]
/// struct OrderPlaced {
///     item: String,
/// }
///
/// async fn reserve(Json(order): Json<OrderPlaced>, mut tx: Tx<sqlx::Sqlite>) -> Result<(), Failure> {
///     sqlx::query("UPDATE stock SET pieces = pieces - 1 WHERE item = $1").bind(order.item).execute(&mut *tx).await?;
///     Ok(())
/// }
///
/// fn reserving(store: &SqlStore<sqlx::Sqlite>) -> Subscription<()> {
///     on("orders", reserve).group("stock").inbox(store.clone())
/// }
/// ```
///
/// Statements that fail make a transaction on PostgreSQL worthless: [`commit`](Self::commit) says so, and nothing of it is
/// kept. What may fail goes into a [`savepoint`](Self::savepoint).
pub struct Tx<DB: Dialect> {
    inner: Lent<DB>,
    store: SqlStore<DB>,
}

impl<DB: Dialect> fmt::Debug for Tx<DB> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tx").field("place", &self.store.place()).finish()
    }
}

impl<DB: Dialect> Deref for Tx<DB> {
    type Target = DB::Connection;

    fn deref(&self) -> &DB::Connection {
        &self.inner
    }
}

impl<DB: Dialect> DerefMut for Tx<DB> {
    fn deref_mut(&mut self) -> &mut DB::Connection {
        &mut self.inner
    }
}

impl<DB: Dialect> Tx<DB> {
    pub(crate) fn new(inner: impl Into<Lent<DB>>, store: SqlStore<DB>) -> Self {
        Self {
            inner: inner.into(),
            store,
        }
    }

    /// The database that it is one of.
    pub fn store(&self) -> &SqlStore<DB> {
        &self.store
    }

    /// Commits everything, or says that nothing was.
    ///
    /// # Errors
    /// [`SqlError::Aborted`] when a statement had failed; [`SqlError::Conflict`]; [`SqlError::InDoubt`] when the connection
    /// was lost while the answer was waited for: then all of it is there or nothing. After any other error nothing is.
    /// [`SqlError::NotYours`] in a handler under an inbox.
    pub async fn commit(self) -> Result<(), SqlError> {
        let Self { inner, store } = self;
        let transaction = inner.take(&store)?;
        let done = async {
            let committed = DB::commit(transaction).await;
            committed.map_err(|error| store.commit_failed(error))
        };
        store.within(done).await
    }

    /// Gives everything up and waits until that is done; dropping does not wait.
    ///
    /// # Errors
    /// The connection was lost, by which everything is given up too. [`SqlError::NotYours`] in a handler under an inbox.
    pub async fn rollback(self) -> Result<(), SqlError> {
        let Self { inner, store } = self;
        let done = async {
            let rolled_back = inner.take(&store)?.rollback().await;
            rolled_back.map_err(|error| store.explain("rolling back", error))
        };
        store.within(done).await
    }

    /// A part of the transaction that may fail alone. Dropped, it is rolled back.
    ///
    /// # Errors
    /// As a statement.
    pub async fn savepoint(&mut self) -> Result<Savepoint<'_, DB>, SqlError> {
        let store = self.store.clone();
        let begun = self.inner.transaction().begin().await;
        let inner = begun.map_err(|error| store.explain("making a savepoint", error))?;
        Ok(Savepoint { inner, store })
    }

    /// Gives it to who lends it.
    pub(crate) fn lend(self) -> Arc<Owner<DB>> {
        let Self { inner, .. } = self;
        inner.into_owner()
    }

    /// Runs a statement of ours; how many rows it changed.
    pub(crate) async fn execute(
        &mut self,
        doing: &'static str,
        sql: &Arc<str>,
        values: &[Value<'_>],
    ) -> Result<u64, SqlError> {
        let done = DB::execute(&mut self.inner, sql, values).await;
        done.map_err(|error| self.store.explain(doing, error))
    }

    /// Runs a statement of ours and takes its rows.
    pub(crate) async fn fetch(
        &mut self,
        doing: &'static str,
        sql: &Arc<str>,
        values: &[Value<'_>],
    ) -> Result<Vec<DB::Row>, SqlError> {
        let rows = DB::fetch(&mut self.inner, sql, values).await;
        rows.map_err(|error| self.store.explain(doing, error))
    }
}

impl<DB: Dialect> SqlStore<DB> {
    /// What an error of COMMIT means: a database that answers has given the transaction up, one that is lost may have
    /// committed it.
    fn commit_failed(&self, error: sqlx::Error) -> SqlError {
        let answered = matches!(error, sqlx::Error::Database(_));
        match meaning::<DB>(&error) {
            Meaning::Unavailable if !answered => SqlError::InDoubt {
                place: self.place().to_owned(),
                source: error,
            },
            _ => self.explain("committing", error),
        }
    }
}

/// A part of a transaction that may fail alone.
pub struct Savepoint<'t, DB: Dialect> {
    inner: sqlx::Transaction<'t, DB>,
    store: SqlStore<DB>,
}

impl<DB: Dialect> fmt::Debug for Savepoint<'_, DB> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Savepoint")
            .field("place", &self.store.place())
            .finish()
    }
}

impl<DB: Dialect> Deref for Savepoint<'_, DB> {
    type Target = DB::Connection;

    fn deref(&self) -> &DB::Connection {
        &self.inner
    }
}

impl<DB: Dialect> DerefMut for Savepoint<'_, DB> {
    fn deref_mut(&mut self) -> &mut DB::Connection {
        &mut self.inner
    }
}

impl<DB: Dialect> Savepoint<'_, DB> {
    /// Keeps it as a part of the transaction.
    ///
    /// # Errors
    /// As a statement; [`SqlError::Aborted`] when one in it had failed.
    pub async fn keep(self) -> Result<(), SqlError> {
        let Self { inner, store } = self;
        let kept = inner.commit().await;
        kept.map_err(|error| store.explain("keeping a savepoint", error))
    }

    /// Gives it up; the transaction goes on without it.
    ///
    /// # Errors
    /// As a statement.
    pub async fn rollback(self) -> Result<(), SqlError> {
        let Self { inner, store } = self;
        let rolled_back = inner.rollback().await;
        rolled_back.map_err(|error| store.explain("giving a savepoint up", error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sqlx::Postgres;

    #[tokio::test]
    async fn only_a_transaction_that_may_be_forgotten_does_not_wait_for_the_disk() {
        let test = "only_a_transaction_that_may_be_forgotten_does_not_wait_for_the_disk";
        let Some(server) = brokers::postgres_or_skip(test) else {
            return;
        };
        let database = server.database("tidings").unwrap();
        let on = format!("ALTER DATABASE {} SET synchronous_commit = on", database.name());
        database.sql(&on).unwrap();
        let options = crate::SqlOptions::default().max_connections(1);
        let store = SqlStore::<Postgres>::open_with(&database.url(), options)
            .await
            .unwrap();
        for (unsynced, expected) in [(false, "on"), (true, "off"), (false, "on")] {
            let begun = match unsynced {
                true => store.begin_unsynced().await,
                false => store.begin().await,
            };
            let mut tx = begun.unwrap();
            let rows = tx
                .fetch("asking", &"SHOW synchronous_commit".into(), &[])
                .await
                .unwrap();
            assert_eq!(
                <Postgres as crate::dialect::sealed::Driver>::text(&rows[0], 0).unwrap(),
                expected
            );
            tx.commit().await.unwrap();
        }
    }
}
