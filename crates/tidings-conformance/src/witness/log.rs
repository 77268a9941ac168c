//! What reads a destination for the witness: [`Reader`].

use super::source::unstamped;
use super::{AGAIN, GROUP};
use crate::stage::{spec, watermark};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use tidings_core::{BinderError, DynBinder, DynSource, Message, SourceError, SourceEvent};
use tokio::time::{sleep, timeout};

/// What the broker keeps comes within this time, or never.
const PATIENCE: Duration = Duration::from_secs(40);

pub(super) struct Reader {
    destination: Arc<str>,
    source: Box<dyn DynSource>,
}

impl fmt::Debug for Reader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reader")
            .field("destination", &self.destination)
            .finish_non_exhaustive()
    }
}

impl Reader {
    pub(super) async fn open(
        inner: &Arc<dyn DynBinder>,
        destination: &Arc<str>,
    ) -> Result<Self, BinderError> {
        Ok(Self {
            destination: destination.clone(),
            source: inner.subscribe(spec(Some(GROUP), destination)).await?,
        })
    }

    /// Some more messages with their stamps.
    ///
    /// # Panics
    /// None comes although some are missing.
    pub(super) async fn more(
        &mut self,
        inner: &Arc<dyn DynBinder>,
        missing: usize,
    ) -> Result<Vec<(Option<u64>, Message)>, BinderError> {
        let came = timeout(PATIENCE, self.batch(inner)).await;
        came.unwrap_or_else(|_| {
            panic!(
                "{missing} messages of \"{}\" were confirmed and do not come: they are lost",
                self.destination
            )
        })
    }

    async fn batch(
        &mut self,
        inner: &Arc<dyn DynBinder>,
    ) -> Result<Vec<(Option<u64>, Message)>, BinderError> {
        loop {
            match self.source.next().await {
                Ok(SourceEvent::Batch(batch)) => {
                    self.source
                        .progress(batch.lane(), batch.epoch(), watermark(batch.next()));
                    let _ = self.source.commit().await;
                    let records = batch.records().iter();
                    return Ok(records.map(|record| unstamped(batch.message(record))).collect());
                }
                Ok(_) => {}
                // The broker was closed, and is open again.
                Err(SourceError::Closed) => *self = Self::open(inner, &self.destination).await?,
                Err(SourceError::Unavailable { .. }) => sleep(AGAIN).await,
                Err(error) => return Err(error.into()),
            }
        }
    }
}
