//! The relay that an app starts by itself: [`RelayPlan`], and the store as the app sees it.

use super::{End, Polling, Relay, RelayMode, RelayOptions, RelayStatus};
use crate::dialect::Dialect;
use crate::error::SqlError;
use crate::options::SCHEMA;
use crate::replication::{Reading, ReplicationOptions, ReplicationRelay, ReplicationStatus};
use crate::store::SqlStore;
use std::error::Error;
use std::sync::Arc;
use tidings_core::{
    AtWork, Backlog, BoxFuture, OutboxRelay, OutboxStatus, OutboxStore, OutboxWatch, RelayStart,
};
use tokio::time::Instant;

/// Who sends what is in the outbox of a store, and how.
#[derive(Debug, Clone, Default)]
pub(crate) struct RelayPlan {
    pub(crate) mode: RelayMode,
    pub(crate) options: RelayOptions,
    pub(crate) replication: ReplicationOptions,
    /// What is wrong with what the configuration says.
    pub(crate) fault: Option<String>,
}

impl RelayPlan {
    /// Whether it can be done on that kind of database.
    pub(crate) fn check<DB: Dialect>(&self) -> Result<(), SqlError> {
        if self.mode != RelayMode::Replication {
            return Ok(());
        }
        let reason = match self.replication.check() {
            _ if self.fault.is_some() => self.fault.clone().unwrap_or_default(),
            Ok(()) if DB::CAN_REPLICATE => return Ok(()),
            Ok(()) => format!(
                "{} has no logical replication: use sql.relay.mode = \"polling\"",
                DB::TITLE
            ),
            Err(error) => error.to_string(),
        };
        Err(SqlError::Relay { reason })
    }
}

impl<DB: Dialect> OutboxStore for SqlStore<DB> {
    fn name(&self) -> String {
        match self.schema() {
            SCHEMA => self.place().to_owned(),
            schema => format!("{}, {schema}", self.place()),
        }
    }

    fn id(&self) -> String {
        let id = format!("{}, {}", self.place(), self.schema());
        match self.place().contains(":memory:") {
            // Each is a database of its own.
            true => format!("{id}, {:x}", self.address()),
            false => id,
        }
    }

    fn way(&self) -> &'static str {
        match self.relay_plan().mode {
            RelayMode::Polling => "by polling",
            RelayMode::Replication => "by replication",
            RelayMode::Off => "by another process",
        }
    }

    fn relay(&self, start: RelayStart) -> Option<Box<dyn OutboxRelay>> {
        let RelayPlan {
            mode,
            mut options,
            replication,
            ..
        } = self.relay_plan().clone();
        if options.holder.is_empty() {
            options.holder = start.holder;
        }
        if mode == RelayMode::Off {
            return None;
        }
        let relay = Relay::by_routes(self, start.routes, options);
        Some(match mode {
            RelayMode::Replication => DB::replicating(relay, replication),
            _ => Box::new(relay),
        })
    }

    fn backlog(&self) -> BoxFuture<'static, Result<Backlog, Box<dyn Error + Send + Sync>>> {
        let store = self.clone();
        Box::pin(async move { SqlStore::backlog(&store).await.map_err(Into::into) })
    }

    fn tell(&self, at_work: Arc<dyn AtWork>) {
        SqlStore::tell(self, at_work);
    }
}

impl<DB: Dialect> OutboxRelay for Relay<DB> {
    fn watch(&self) -> Arc<dyn OutboxWatch> {
        self.status()
    }

    fn run(self: Box<Self>, drain: BoxFuture<'static, Instant>) -> BoxFuture<'static, Result<(), String>> {
        Box::pin(async move {
            let end = async { End::SentUntil(drain.await) };
            self.run_to(&mut Polling, end).await
        })
    }
}

impl OutboxRelay for ReplicationRelay {
    fn watch(&self) -> Arc<dyn OutboxWatch> {
        self.status()
    }

    fn run(self: Box<Self>, drain: BoxFuture<'static, Instant>) -> BoxFuture<'static, Result<(), String>> {
        Box::pin(async move { self.run_to(async { End::SentUntil(drain.await) }).await })
    }
}

impl OutboxWatch for RelayStatus {
    fn status(&self) -> OutboxStatus {
        let mut status = OutboxStatus::default();
        status.role = self.role();
        status.sent = self.sent();
        status.parked = self.parked();
        status.rounds = self.rounds();
        status.failures = self.failures();
        status.obstacle = self.problem();
        status.backlog = self.backlog();
        status
    }
}

impl OutboxWatch for ReplicationStatus {
    fn status(&self) -> OutboxStatus {
        let mut status = OutboxWatch::status(&*self.relay());
        status.replicates = self.reading() == Reading::Replication;
        status.obstacle = status.obstacle.or_else(|| self.obstacle());
        status.slot_lag = self.slot_lag();
        status.lag_alarm = self.lag_alarm();
        status
    }
}
