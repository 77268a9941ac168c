//! A broker that is watched: [`Seam`].

use super::sink::SeamSink;
use super::source::SeamSource;
use crate::service::World;
use std::sync::Arc;
use tidings_core::{
    BinderError, BinderLayer, BoxFuture, DynBinder, DynSource, Layered, LayeredSource, Sink, SourceSpec,
};

/// Another broker, watched.
#[derive(Debug)]
pub struct Seam {
    inner: Arc<dyn DynBinder>,
    world: World,
}

impl Seam {
    /// Watches that broker.
    pub fn over(inner: Arc<dyn DynBinder>, world: World) -> Arc<dyn DynBinder> {
        Arc::new(Layered(Self { inner, world }))
    }
}

impl BinderLayer for Seam {
    fn inner(&self) -> &Arc<dyn DynBinder> {
        &self.inner
    }

    fn sink(&self) -> Arc<dyn Sink> {
        Arc::new(SeamSink::new(self.inner.sink(), self.world.clone()))
    }

    fn subscribe(&self, spec: SourceSpec) -> BoxFuture<'_, Result<Box<dyn DynSource>, BinderError>> {
        Box::pin(async move {
            let group = spec.group.clone().unwrap_or_default();
            let source = self.inner.subscribe(spec).await?;
            let source: Box<dyn DynSource> =
                Box::new(LayeredSource(SeamSource::new(source, group, self.world.clone())));
            Ok(source)
        })
    }
}
