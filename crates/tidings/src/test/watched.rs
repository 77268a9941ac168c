//! A broker that remembers when the last of its delayed messages is due, so that a test can wait for it.

use std::sync::{Arc, Mutex, PoisonError};
use tidings_core::{
    BinderError, BinderHealth, BoxFuture, Capabilities, DestinationInfo, DestinationSpec, DynBinder,
    DynSource, Outgoing, PartitionPosition, Progress, PublishError, Receipt, RecordBatch, Sink, SourceSpec,
    Timestamp,
};

/// When the last delayed message is due that was published to any broker of an app.
#[derive(Debug, Clone, Default)]
pub(crate) struct Watch {
    latest: Arc<Mutex<Option<Timestamp>>>,
}

impl Watch {
    /// The same broker, watched.
    pub(crate) fn over(&self, inner: Arc<dyn DynBinder>) -> Arc<dyn DynBinder> {
        Arc::new(Watched {
            inner,
            watch: self.clone(),
        })
    }

    pub(super) fn latest_due(&self) -> Option<Timestamp> {
        *self.latest.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, outgoing: &Outgoing) {
        if outgoing.due.is_some() {
            let mut latest = self.latest.lock().unwrap_or_else(PoisonError::into_inner);
            *latest = (*latest).max(outgoing.due);
        }
    }
}

#[derive(Debug)]
struct Watched {
    inner: Arc<dyn DynBinder>,
    watch: Watch,
}

#[derive(Debug)]
struct WatchedSink {
    inner: Arc<dyn Sink>,
    watch: Watch,
}

impl Sink for WatchedSink {
    fn publish(&self, outgoing: Outgoing) -> Receipt {
        self.watch.note(&outgoing);
        self.inner.publish(outgoing)
    }

    fn publish_all(&self, outgoing: Vec<Outgoing>) -> Vec<Receipt> {
        outgoing.iter().for_each(|one| self.watch.note(one));
        self.inner.publish_all(outgoing)
    }

    fn flush(&self) -> BoxFuture<'static, Result<(), PublishError>> {
        self.inner.flush()
    }
}

impl DynBinder for Watched {
    fn kind(&self) -> &'static str {
        self.inner.kind()
    }

    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    fn sink(&self) -> Arc<dyn Sink> {
        Arc::new(WatchedSink {
            inner: self.inner.sink(),
            watch: self.watch.clone(),
        })
    }

    fn prepare(&self, destination: DestinationSpec) -> BoxFuture<'_, Result<DestinationInfo, BinderError>> {
        self.inner.prepare(destination)
    }

    fn subscribe(&self, spec: SourceSpec) -> BoxFuture<'_, Result<Box<dyn DynSource>, BinderError>> {
        self.inner.subscribe(spec)
    }

    fn positions<'a>(
        &'a self,
        destination: &'a str,
        group: Option<&'a str>,
    ) -> BoxFuture<'a, Result<Vec<PartitionPosition>, BinderError>> {
        self.inner.positions(destination, group)
    }

    fn store_progress<'a>(
        &'a self,
        destination: &'a str,
        partition: u32,
        group: &'a str,
        progress: Progress,
    ) -> BoxFuture<'a, Result<(), BinderError>> {
        self.inner.store_progress(destination, partition, group, progress)
    }

    fn read<'a>(
        &'a self,
        destination: &'a str,
        partition: u32,
        from: u64,
        max_bytes: usize,
    ) -> BoxFuture<'a, Result<RecordBatch, BinderError>> {
        self.inner.read(destination, partition, from, max_bytes)
    }

    fn destinations(&self) -> BoxFuture<'_, Result<Vec<DestinationInfo>, BinderError>> {
        self.inner.destinations()
    }

    fn health(&self) -> BinderHealth {
        self.inner.health()
    }

    fn close(&self) -> BoxFuture<'_, Result<(), BinderError>> {
        self.inner.close()
    }
}
