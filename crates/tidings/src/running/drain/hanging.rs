//! A broker that stops to answer: [`Hanging`].

use std::future::pending;
use std::sync::Arc;
use tidings_core::{
    BinderError, BinderLayer, BoxFuture, DynBinder, DynSource, LayeredSource, Outgoing, PublishError,
    Receipt, Sink, SourceError, SourceLayer, SourceSpec,
};

/// What is never answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Hang {
    Subscribe,
    Commit,
    Leave,
    Publish,
    Flush,
    Close,
}

/// A broker, its sink or its source that never answers one of the questions.
#[derive(Debug)]
pub(super) struct Hanging<T> {
    pub(super) inner: T,
    pub(super) at: Hang,
}

impl BinderLayer for Hanging<Arc<dyn DynBinder>> {
    fn inner(&self) -> &Arc<dyn DynBinder> {
        &self.inner
    }

    fn sink(&self) -> Arc<dyn Sink> {
        let (inner, at) = (self.inner.sink(), self.at);
        Arc::new(Hanging { inner, at })
    }

    fn subscribe(&self, spec: SourceSpec) -> BoxFuture<'_, Result<Box<dyn DynSource>, BinderError>> {
        Box::pin(async move {
            if self.at == Hang::Subscribe {
                pending::<()>().await;
            }
            let (inner, at) = (self.inner.subscribe(spec).await?, self.at);
            Ok(Box::new(LayeredSource(Hanging { inner, at })) as Box<dyn DynSource>)
        })
    }

    fn close(&self) -> BoxFuture<'_, Result<(), BinderError>> {
        match self.at {
            Hang::Close => Box::pin(pending()),
            _ => self.inner.close(),
        }
    }
}

impl Sink for Hanging<Arc<dyn Sink>> {
    fn publish(&self, outgoing: Outgoing) -> Receipt {
        match self.at {
            Hang::Publish if &*outgoing.destination == "receipts" => Receipt::boxed(pending()),
            _ => self.inner.publish(outgoing),
        }
    }

    fn flush(&self) -> BoxFuture<'static, Result<(), PublishError>> {
        match self.at {
            Hang::Flush => Box::pin(pending()),
            _ => self.inner.flush(),
        }
    }
}

impl SourceLayer for Hanging<Box<dyn DynSource>> {
    fn inner(&self) -> &dyn DynSource {
        &*self.inner
    }

    fn inner_mut(&mut self) -> &mut dyn DynSource {
        &mut *self.inner
    }

    fn commit(&mut self) -> BoxFuture<'_, Result<(), SourceError>> {
        match self.at {
            Hang::Commit => Box::pin(pending()),
            _ => self.inner.commit(),
        }
    }

    fn close(&mut self) -> BoxFuture<'_, Result<(), SourceError>> {
        match self.at {
            Hang::Leave => Box::pin(pending()),
            _ => self.inner.close(),
        }
    }
}
