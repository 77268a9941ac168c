//! A broker that is watched: [`Seam`].

use super::sink::SeamSink;
use super::source::SeamSource;
use crate::service::World;
use std::sync::Arc;
use tidings_core::{
    Binder, BinderError, BinderHealth, Capabilities, DestinationInfo, DestinationSpec, DynBinder,
    PartitionPosition, Progress, RecordBatch, Sink, SourceSpec,
};

/// Another broker, watched.
#[derive(Debug)]
pub struct Seam {
    inner: Arc<dyn DynBinder>,
    world: World,
}

impl Seam {
    /// Watches that broker.
    pub fn new(inner: Arc<dyn DynBinder>, world: World) -> Self {
        Self { inner, world }
    }
}

impl Binder for Seam {
    type Source = SeamSource;

    fn kind(&self) -> &'static str {
        self.inner.kind()
    }

    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    fn sink(&self) -> Arc<dyn Sink> {
        Arc::new(SeamSink::new(self.inner.sink(), self.world.clone()))
    }

    async fn prepare(&self, destination: DestinationSpec) -> Result<DestinationInfo, BinderError> {
        self.inner.prepare(destination).await
    }

    async fn subscribe(&self, spec: SourceSpec) -> Result<SeamSource, BinderError> {
        let group = spec.group.clone().unwrap_or_default();
        let source = self.inner.subscribe(spec).await?;
        Ok(SeamSource::new(source, group, self.world.clone()))
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
