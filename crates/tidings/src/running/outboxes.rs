//! What sends from the outboxes of a running service: [`RunningOutbox`].

use crate::health::PartHealth;
use crate::plan::PlannedOutbox;
use std::collections::BTreeMap;
use std::sync::Arc;
use tidings_core::{OutboxStatus, OutboxWatch, RelayStart, Routes};
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio::time::Instant;

/// A relay that runs until the service is drained, or is gone.
#[derive(Debug)]
pub(crate) struct RunningOutbox {
    pub(crate) name: String,
    #[cfg(feature = "test")]
    pub(crate) store: Arc<dyn tidings_core::OutboxStore>,
    watch: Arc<dyn OutboxWatch>,
    drain: watch::Sender<Option<Instant>>,
    ended: watch::Receiver<Option<Result<(), String>>>,
    task: AbortHandle,
}

/// Starts the relays of all outboxes that are not sent by others.
pub(crate) fn start(planned: &[PlannedOutbox], routes: &Arc<Routes>, app: &str) -> Vec<RunningOutbox> {
    let holder = format!("{app}, process {}", std::process::id());
    let started = planned.iter().filter_map(|planned| {
        let relay = planned.store.relay(RelayStart::new(routes.clone(), &*holder))?;
        let (drain, mut drained) = watch::channel(None);
        let (end, ended) = watch::channel(None);
        let told = async move {
            match drained.wait_for(Option::is_some).await.map(|moment| *moment) {
                Ok(Some(moment)) => moment,
                // Nobody is there any more who could tell.
                _ => Instant::now(),
            }
        };
        let watch = relay.watch();
        let task = tokio::spawn(async move {
            end.send_replace(Some(relay.run(Box::pin(told)).await));
        });
        Some(RunningOutbox {
            name: planned.name.clone(),
            #[cfg(feature = "test")]
            store: planned.store.clone(),
            watch,
            drain,
            ended,
            task: task.abort_handle(),
        })
    });
    started.collect()
}

impl RunningOutbox {
    pub(crate) fn status(&self) -> OutboxStatus {
        self.watch.status()
    }

    pub(crate) fn health(&self, draining: bool) -> PartHealth {
        PartHealth::outbox(&self.name, &self.status(), self.task.is_finished(), draining)
    }

    /// Sends what is in it until that moment at the most, and ends.
    ///
    /// # Errors
    /// What is left and why.
    pub(super) fn drain(
        &self,
        deadline: Instant,
    ) -> impl Future<Output = Result<(), String>> + Send + 'static {
        self.drain.send_replace(Some(deadline));
        let mut ended = self.ended.clone();
        async move {
            match ended.wait_for(Option::is_some).await.map(|end| end.clone()) {
                Ok(end) => end.unwrap_or(Ok(())),
                Err(_) => Err("what sends from it had panicked".to_owned()),
            }
        }
    }

    pub(super) fn abort(&self) {
        self.task.abort();
    }
}

/// As after a crash: what was committed is in the database.
impl Drop for RunningOutbox {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// How each fares.
pub(super) fn statuses(outboxes: &[RunningOutbox]) -> BTreeMap<String, OutboxStatus> {
    let statuses = outboxes.iter().map(|one| (one.name.clone(), one.status()));
    statuses.collect()
}
