//! Where a binder takes messages: [`BinderSink`].

use crate::delays::Delays;
use crate::destinations::{Destination, Destinations};
use crate::retry::RetryQueues;
use crate::sink::RabbitSink;
use std::slice;
use std::sync::Arc;
use tidings_core::{BoxFuture, Outgoing, PublishError, Receipt, Sink};

/// Publishes, and knows what has to wait on the way.
#[derive(Debug, Clone)]
pub(crate) struct BinderSink {
    pub(crate) retries: Arc<RetryQueues>,
    pub(crate) delays: Arc<Delays>,
    pub(crate) destinations: Arc<Destinations>,
    pub(crate) sink: Arc<RabbitSink>,
}

impl BinderSink {
    /// One for which more than publishing may be to do.
    fn publish_specially(&self, outgoing: Outgoing) -> Receipt {
        match (self.destinations.of(&outgoing.destination), outgoing.due) {
            (Destination::Retry(waits), _) => self.retries.publish(outgoing, &waits),
            (Destination::Letters(layout), _) => self.retries.publish_letter(outgoing, layout.create),
            (Destination::Named(layout), Some(due)) => self.delays.publish(outgoing, due, &layout),
            (Destination::Named(_), None) | (Destination::Lacking, _) => self.sink.publish(outgoing),
        }
    }
}

impl Sink for BinderSink {
    fn publish(&self, outgoing: Outgoing) -> Receipt {
        match self.destinations.are_plain(slice::from_ref(&outgoing)) {
            true => self.sink.publish(outgoing),
            false => self.publish_specially(outgoing),
        }
    }

    fn publish_all(&self, outgoing: Vec<Outgoing>) -> Vec<Receipt> {
        match self.destinations.are_plain(&outgoing) {
            true => self.sink.publish_all(outgoing),
            false => outgoing
                .into_iter()
                .map(|one| self.publish_specially(one))
                .collect(),
        }
    }

    fn flush(&self) -> BoxFuture<'static, Result<(), PublishError>> {
        let (delays, sink) = (self.delays.clone(), self.sink.clone());
        Box::pin(async move {
            delays.under_way().await;
            sink.flush().await
        })
    }
}
