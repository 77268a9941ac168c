//! A transaction of an inbox and the handler's calls within it: [`Call`].

use super::Within;
use crate::effects::OutputId;
use crate::panics::{call_caught, drop_caught, poll_caught};
use crate::scope::ScopeOwner;
use crate::verdict::took_too_long;
use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;
use tidings_core::{
    BatchOutcome, BoxFuture, Collected, Delivery, Failure, FailureKind, HandlerContext, InboxError,
    InboxTransaction, Outgoing,
};

/// A transaction that is open. Dropped, it is rolled back.
pub(super) struct Call<'a> {
    within: &'a Within,
    transaction: Box<dyn InboxTransaction>,
}

/// What becomes of the items of a call, and what it publishes if it is kept.
pub(super) type Handled = (Vec<Option<Failure>>, Vec<Outgoing>);

impl<'a> Call<'a> {
    pub(super) fn new(within: &'a Within, transaction: Box<dyn InboxTransaction>) -> Self {
        Self { within, transaction }
    }

    pub(super) fn is_duplicate(&self, place: usize) -> bool {
        self.transaction.is_duplicate(place)
    }

    /// Handles one message, and says what is to be published.
    pub(super) async fn handle(&mut self, delivery: &Delivery) -> Result<Vec<Outgoing>, Failure> {
        let within = self.within;
        let (door, collected) = self.door();
        let delivery = delivery
            .clone()
            .with_context(self.context(delivery.context(), &door));
        let handled = guarded(within.timeout, || within.handler.one(&delivery)).await;
        drop(door);
        let outputs = handled.and_then(|result| result)?;
        let ids = || OutputId::new(&delivery, delivery.context());
        let returned = within.messages(outputs, Some(&delivery), ids)?;
        sent_and_returned(&collected, returned)
    }

    /// Handles several messages by one call of a batch handler.
    pub(super) async fn handle_all(
        &mut self,
        deliveries: &[Delivery],
        context: &HandlerContext,
    ) -> Result<Handled, Failure> {
        let within = self.within;
        let (door, collected) = self.door();
        let context = self.context(context, &door);
        let given: Vec<_> = deliveries
            .iter()
            .map(|delivery| delivery.clone().with_context(context.clone()))
            .collect();
        let outcome: Result<BatchOutcome, _> =
            guarded(within.timeout, || within.handler.batch(&given, &context)).await;
        drop(door);
        let (outputs, failures) = outcome?.into_parts(deliveries.len());
        if failures.iter().any(Option::is_some) {
            return Ok((failures, Vec::new()));
        }
        // The same as if the engine published them: of one message, or of all that were handled together.
        let (cause, ids): (_, Box<dyn FnOnce() -> OutputId + Send + '_>) = match deliveries {
            [one] => (Some(one), Box::new(|| OutputId::new(one, &context))),
            all => (None, Box::new(|| OutputId::of_batch(all.iter(), &context))),
        };
        let returned = within.messages(outputs, cause, ids)?;
        Ok((failures, sent_and_returned(&collected, returned)?))
    }

    /// What a handling publishes by itself, and only until it ends.
    fn door(&self) -> (ScopeOwner, Arc<Collected>) {
        let collected = Collected::new(self.within.most_bytes);
        (ScopeOwner::new(collected.clone()), collected)
    }

    fn context(&self, base: &HandlerContext, door: &ScopeOwner) -> Arc<HandlerContext> {
        let publisher = self
            .within
            .publisher
            .in_transaction(self.transaction.shared(), door.door());
        Arc::new(base.with_publisher(publisher))
    }

    pub(super) async fn savepoint(&mut self) -> Result<(), InboxError> {
        self.transaction.savepoint().await
    }

    pub(super) async fn undo(&mut self) -> Result<(), InboxError> {
        self.transaction.undo().await
    }

    pub(super) async fn give_back(&mut self, places: Vec<usize>) -> Result<(), InboxError> {
        self.transaction.give_back(places).await
    }

    pub(super) async fn publish(&mut self, messages: Vec<Outgoing>) -> Result<(), InboxError> {
        let store = self.within.inbox.store();
        if !store.has_outbox() {
            let said = format!("{} has no outbox, and the handler publishes", store.name());
            return Err(InboxError::Work(said.into()));
        }
        self.transaction.publish(messages).await
    }

    pub(super) async fn commit(self) -> Result<(), InboxError> {
        self.transaction.commit().await
    }

    /// Rolls back. If that fails the connection is gone, and the transaction with it.
    pub(super) async fn give_up(self) {
        let within = self.within;
        match tokio::time::timeout(within.patience, self.transaction.rollback()).await {
            Ok(Ok(())) => within.hold.works(),
            Ok(Err(error)) => {
                tracing::debug!(%error, "a transaction of an inbox was not rolled back in order")
            }
            Err(_) => tracing::debug!("a transaction of an inbox was not rolled back in time"),
        }
    }
}

/// What a handling sent by itself, and then what it returned.
fn sent_and_returned(collected: &Collected, returned: Vec<Outgoing>) -> Result<Vec<Outgoing>, Failure> {
    let sent = collected.take();
    let mut all = sent.map_err(|error| Failure::new(FailureKind::Permanent, error))?;
    all.extend(returned);
    Ok(all)
}

/// Calls something of the user's, for no longer than that. Whatever it does, the transaction can be ended in order.
async fn guarded<T>(
    timeout: Option<Duration>,
    call: impl FnOnce() -> BoxFuture<'static, T>,
) -> Result<T, Failure> {
    let mut future = call_caught(call)?;
    let polled = poll_fn(|context| poll_caught(&mut future, context));
    let result = match timeout {
        None => polled.await,
        Some(after) => match tokio::time::timeout(after, polled).await {
            Ok(result) => result,
            Err(_) => Err(took_too_long(after)),
        },
    };
    drop_caught(future);
    result
}
