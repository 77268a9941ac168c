//! From channels to where they lead: [`ByRoutes`].

use std::sync::Arc;
use tidings_core::{BoxFuture, Outgoing, PublishError, Receipt, Routes, Sink};

/// A sink of messages whose destinations are names of channels.
#[derive(Debug)]
pub(crate) struct ByRoutes {
    pub(crate) routes: Arc<Routes>,
}

impl Sink for ByRoutes {
    fn publish(&self, outgoing: Outgoing) -> Receipt {
        match self.routes.get(&outgoing.destination) {
            Ok(route) => route.sink.publish(Outgoing {
                destination: route.destination.clone(),
                ..outgoing
            }),
            Err(error) => Receipt::failed(error),
        }
    }

    fn flush(&self) -> BoxFuture<'static, Result<(), PublishError>> {
        let sinks = self.routes.sinks();
        Box::pin(async move {
            for sink in sinks {
                sink.flush().await?;
            }
            Ok(())
        })
    }
}
