//! Publishes with faults: [`FaultySink`].

use super::{Faults, PublishFault};
use std::sync::Arc;
use std::time::Duration;
use tidings_core::{BoxFuture, Outgoing, PublishError, Receipt, Sink};

#[derive(Debug)]
pub(super) struct FaultySink {
    pub(super) inner: Arc<dyn Sink>,
    pub(super) faults: Faults,
}

impl Sink for FaultySink {
    fn publish(&self, outgoing: Outgoing) -> Receipt {
        let destination = outgoing.destination.clone();
        match self.faults.look(|plan| plan.next_publish(&destination)) {
            None => self.inner.publish(outgoing),
            Some(PublishFault::Refused) => Receipt::failed(PublishError::Unavailable {
                destination,
                reason: "as the case says".to_owned(),
            }),
            Some(PublishFault::Forbidden) => Receipt::failed(PublishError::Unauthorized {
                destination,
                reason: "as the case says".to_owned(),
            }),
            Some(PublishFault::Lost) => Receipt::boxed(std::future::pending()),
            Some(PublishFault::Unanswered) => {
                let kept = self.inner.publish(outgoing);
                Receipt::boxed(async move {
                    drop(kept.await);
                    std::future::pending().await
                })
            }
            Some(PublishFault::Doubted) => {
                let kept = self.inner.publish(outgoing);
                Receipt::boxed(async move {
                    drop(kept.await);
                    let after = Duration::from_secs(1);
                    Err(PublishError::Timeout { destination, after })
                })
            }
            Some(PublishFault::Late(wait)) => {
                let kept = self.inner.publish(outgoing);
                Receipt::boxed(async move {
                    let kept = kept.await;
                    tokio::time::sleep(wait).await;
                    kept
                })
            }
        }
    }

    fn flush(&self) -> BoxFuture<'static, Result<(), PublishError>> {
        self.inner.flush()
    }
}
