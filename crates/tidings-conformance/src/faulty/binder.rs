//! A broker with faults in between: [`Faulty`].

use super::Faults;
use super::sink::FaultySink;
use super::source::FaultySource;
use std::sync::Arc;
use tidings_core::{
    Binder, BinderError, BinderHealth, Capabilities, DestinationInfo, DestinationSpec, DynBinder,
    PartitionPosition, Progress, RecordBatch, Sink, SourceSpec,
};

#[derive(Debug)]
pub(super) struct Faulty {
    pub(super) inner: Arc<dyn DynBinder>,
    pub(super) faults: Faults,
}

impl Binder for Faulty {
    type Source = FaultySource;

    fn kind(&self) -> &'static str {
        self.inner.kind()
    }

    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    fn sink(&self) -> Arc<dyn Sink> {
        Arc::new(FaultySink {
            inner: self.inner.sink(),
            faults: self.faults.clone(),
        })
    }

    async fn prepare(&self, destination: DestinationSpec) -> Result<DestinationInfo, BinderError> {
        self.inner.prepare(destination).await
    }

    async fn subscribe(&self, spec: SourceSpec) -> Result<FaultySource, BinderError> {
        let source = self.inner.subscribe(spec.clone()).await?;
        Ok(FaultySource::new(
            source,
            self.inner.clone(),
            spec,
            self.faults.clone(),
        ))
    }

    async fn positions(
        &self,
        destination: &str,
        group: Option<&str>,
    ) -> Result<Vec<PartitionPosition>, BinderError> {
        self.inner.positions(destination, group).await
    }

    async fn store_progress(
        &self,
        destination: &str,
        partition: u32,
        group: &str,
        progress: Progress,
    ) -> Result<(), BinderError> {
        let inner = &self.inner;
        inner
            .store_progress(destination, partition, group, progress)
            .await
    }

    async fn read(
        &self,
        destination: &str,
        partition: u32,
        from: u64,
        max_bytes: usize,
    ) -> Result<RecordBatch, BinderError> {
        self.inner.read(destination, partition, from, max_bytes).await
    }

    async fn destinations(&self) -> Result<Vec<DestinationInfo>, BinderError> {
        self.inner.destinations().await
    }

    fn health(&self) -> BinderHealth {
        self.inner.health()
    }

    async fn close(&self) -> Result<(), BinderError> {
        self.inner.close().await
    }
}
