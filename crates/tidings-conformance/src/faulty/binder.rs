//! A broker with faults in between: [`Faulty`].

use super::Faults;
use super::sink::FaultySink;
use super::source::FaultySource;
use std::sync::Arc;
use tidings_core::{BinderError, BinderLayer, BoxFuture, DynBinder, DynSource, Sink, SourceSpec};

#[derive(Debug)]
pub(super) struct Faulty {
    pub(super) inner: Arc<dyn DynBinder>,
    pub(super) faults: Faults,
}

impl BinderLayer for Faulty {
    fn inner(&self) -> &Arc<dyn DynBinder> {
        &self.inner
    }

    fn sink(&self) -> Arc<dyn Sink> {
        Arc::new(FaultySink {
            inner: self.inner.sink(),
            faults: self.faults.clone(),
        })
    }

    fn subscribe(&self, spec: SourceSpec) -> BoxFuture<'_, Result<Box<dyn DynSource>, BinderError>> {
        Box::pin(async move {
            let source = self.inner.subscribe(spec.clone()).await?;
            let source = FaultySource::new(source, self.inner.clone(), spec, self.faults.clone());
            Ok(Box::new(source) as Box<dyn DynSource>)
        })
    }
}
