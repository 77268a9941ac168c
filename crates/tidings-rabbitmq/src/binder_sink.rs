//! Where a binder takes messages: [`BinderSink`].

use crate::delays::Delays;
use crate::layout::Layouts;
use crate::retry::RetryQueues;
use crate::sink::RabbitSink;
use std::sync::Arc;
use tidings_core::{BoxFuture, Outgoing, PublishError, Receipt, Sink};

/// Publishes, and knows what has to wait on the way.
#[derive(Debug, Clone)]
pub(crate) struct BinderSink {
    pub(crate) retries: Arc<RetryQueues>,
    pub(crate) delays: Arc<Delays>,
    pub(crate) layouts: Arc<Layouts>,
    pub(crate) sink: Arc<RabbitSink>,
}

impl BinderSink {
    /// Whether more than publishing may be to do.
    fn is_special(&self, outgoing: &Outgoing) -> bool {
        outgoing.due.is_some() || self.retries.is_special(&outgoing.destination)
    }
}

impl Sink for BinderSink {
    fn publish(&self, outgoing: Outgoing) -> Receipt {
        if self.retries.is_special(&outgoing.destination) {
            return self.retries.publish(outgoing);
        }
        match outgoing.due {
            Some(due) => {
                let layout = self.layouts.of(&outgoing.destination);
                self.delays.publish(outgoing, due, &layout)
            }
            None => self.sink.publish(outgoing),
        }
    }

    fn publish_all(&self, outgoing: Vec<Outgoing>) -> Vec<Receipt> {
        if outgoing.iter().any(|one| self.is_special(one)) {
            return outgoing.into_iter().map(|one| self.publish(one)).collect();
        }
        self.sink.publish_all(outgoing)
    }

    fn flush(&self) -> BoxFuture<'static, Result<(), PublishError>> {
        let (delays, sink) = (self.delays.clone(), self.sink.clone());
        Box::pin(async move {
            delays.under_way().await;
            sink.flush().await
        })
    }
}
