//! Claims that are old enough are forgotten, a few at a time.

use crate::dialect::Dialect;
use crate::error::SqlError;
use crate::store::SqlStore;
use crate::value::Value;
use std::sync::OnceLock;
use std::time::Duration;
use tokio::task::AbortHandle;

/// From one step to the next while there is more: others want to use the database too.
const BETWEEN_STEPS: Duration = Duration::from_millis(100);

/// The task that prunes, once there is an inbox. It ends with the store.
#[derive(Debug, Default)]
pub(crate) struct Pruner(OnceLock<AbortHandle>);

impl Drop for Pruner {
    fn drop(&mut self) {
        if let Some(task) = self.0.get() {
            task.abort();
        }
    }
}

impl Pruner {
    /// Starts it, the first time.
    pub(crate) fn start(&self, task: impl FnOnce() -> AbortHandle) {
        self.0.get_or_init(task);
    }
}

/// Prunes until the store is gone.
pub(crate) async fn run<DB: Dialect>(store: impl Fn() -> Option<SqlStore<DB>>) {
    loop {
        let Some(now) = store() else { return };
        let pruning = now.pruning();
        let step = now.forget_handled().await;
        drop(now);
        let wait = match step {
            Ok(forgotten) if forgotten >= u64::from(pruning.rows) => BETWEEN_STEPS,
            Ok(_) => pruning.interval,
            Err(error) => {
                tracing::warn!(%error, "old claims of the inbox stay for now");
                pruning.interval
            }
        };
        tokio::time::sleep(wait).await;
    }
}

impl<DB: Dialect> SqlStore<DB> {
    /// Forgets claims that are older than [`inbox_retention`](crate::SqlOptions::inbox_retention), at most
    /// [`inbox_prune_rows`](crate::SqlOptions::inbox_prune_rows) of them; how many those were. A store that is used as an
    /// inbox does it by itself.
    ///
    /// # Errors
    /// As a statement.
    pub async fn forget_handled(&self) -> Result<u64, SqlError> {
        let pruning = self.pruning();
        let age = i64::try_from(pruning.retention.as_millis()).unwrap_or(i64::MAX);
        let values = [Value::Int(age), Value::Int(i64::from(pruning.rows))];
        self.execute("forgetting old claims", &self.statements().forget, &values)
            .await
    }
}
