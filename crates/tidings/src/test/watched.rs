//! A broker that remembers when the last of its delayed messages is due, so that a test can wait for it.

use std::sync::{Arc, Mutex, PoisonError};
use tidings_core::{
    BinderLayer, BoxFuture, DynBinder, Layered, Outgoing, PublishError, Receipt, Sink, SinkTransaction,
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
        Arc::new(Layered(Watched {
            inner,
            watch: self.clone(),
        }))
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

    fn begin(&self) -> BoxFuture<'static, Result<Box<dyn SinkTransaction>, PublishError>> {
        self.inner.begin()
    }

    fn flush(&self) -> BoxFuture<'static, Result<(), PublishError>> {
        self.inner.flush()
    }
}

impl BinderLayer for Watched {
    fn inner(&self) -> &Arc<dyn DynBinder> {
        &self.inner
    }

    fn sink(&self) -> Arc<dyn Sink> {
        Arc::new(WatchedSink {
            inner: self.inner.sink(),
            watch: self.watch.clone(),
        })
    }
}
