//! Whether one may still send, and the right to do so: [`Fence`].

use crate::dialect::Dialect;
use crate::error::SqlError;
use crate::locks::SqlLocks;
use crate::store::SqlStore;
use std::sync::Arc;
use std::time::Duration;
use tidings_core::{Lease, LockStore, PublishError, Sink, SoleSink};

/// The lease in whose name is sent.
pub(crate) struct Fence<DB: Dialect> {
    store: SqlStore<DB>,
    locks: Arc<SqlLocks<DB>>,
    name: Arc<str>,
    token: u64,
    idle: Duration,
}

impl<DB: Dialect> Clone for Fence<DB> {
    fn clone(&self) -> Self {
        Self {
            store: self.store.clone(),
            locks: self.locks.clone(),
            name: self.name.clone(),
            ..*self
        }
    }
}

impl<DB: Dialect> Fence<DB> {
    /// A right that is not used for that long is let go.
    pub(crate) fn new(store: &SqlStore<DB>, lease: &Lease, idle: Duration) -> Self {
        Self {
            store: store.clone(),
            locks: Arc::new(store.locks()),
            name: lease.name().clone(),
            token: lease.token(),
            idle,
        }
    }

    pub(super) fn idle(&self) -> Duration {
        self.idle
    }

    /// # Errors
    /// The lease is over, or nobody knows.
    async fn holds(&self) -> Result<(), PublishError> {
        match self.locks.check(&self.name, self.token).await {
            Ok(true) => Ok(()),
            Ok(false) => Err(unavailable(format!("the lease \"{}\" is over", self.name))),
            Err(error) => Err(unavailable(error.to_string())),
        }
    }

    /// Takes the right to send to that destination from whoever had it.
    pub(super) async fn take(
        &self,
        sink: &dyn Sink,
        destination: &str,
    ) -> Result<Box<dyn SoleSink>, PublishError> {
        // Not for the order, but for the peace: who has the lease is to keep its right.
        self.holds().await?;
        let identity = self.store.identity().await;
        let identity = identity.map_err(|error| unavailable(error.to_string()))?;
        // A colon, which no topic of Kafka has in its name: so no two names are one.
        let name = format!("{identity}:{destination}");
        let right = sink.sole(&name).await.map_err(|error| {
            unavailable(format!(
                "the right to send as the only one, \"{name}\", cannot be taken (it can be done without it: sql.relay.fence = \
                 false): {error}"
            ))
        })?;
        // Only now: who gets the lease later takes the right later, and from then on nothing of this one arrives.
        self.holds().await?;
        Ok(right)
    }
}

/// By which this outbox is told from all others.
const IDENTITY: &str = "SELECT id FROM {t}identity";

impl<DB: Dialect> SqlStore<DB> {
    async fn identity(&self) -> Result<String, SqlError> {
        let doing = "looking for the identity of the outbox";
        let rows = self.read(doing, &self.sql(IDENTITY), &[]).await?;
        let row = rows.first().ok_or(sqlx::Error::RowNotFound);
        let id = row.and_then(|row| DB::text(row, 0).map(str::to_owned));
        id.map_err(|error| self.explain(doing, error))
    }
}

pub(super) fn unavailable(reason: String) -> PublishError {
    PublishError::Unavailable {
        destination: "the outbox".into(),
        reason,
    }
}
