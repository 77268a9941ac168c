//! Effects that happen once: each attempt runs in a transaction of the inbox's store. See [`tidings_core::InboxStore`].
//!
//! It stands between retry and the handler's timeout: what the engine calls is the transaction, and the transaction calls
//! the handler. So a handling that is given up, because of its deadline, its lane or a crash, is one that was rolled back.

mod batch;
mod call;
mod hold;

pub(crate) use hold::Hold;

use crate::effects::{OutputId, prepare};
use crate::replies::Answers;
use crate::spec::SubscriptionSpec;
use crate::status::StatusBoard;
use call::Call;
use std::sync::Arc;
use std::time::Duration;
use tidings_core::{
    BatchOutcome, BoxFuture, Delivery, Failure, FailureKind, HandlerContext, HandlerKind, HandlerResult,
    Inbox, InboxError, Invoke, Needs, Outgoing, Outputs, Publisher, Publishes, Sequence, SequenceEnd,
};

/// The same subscription, whose handler works in transactions of the inbox, and what holds it back while the database is
/// away.
pub(crate) fn within(
    mut spec: SubscriptionSpec,
    inbox: Inbox,
    board: &Arc<StatusBoard>,
) -> (SubscriptionSpec, Arc<Hold>) {
    let hold = Arc::new(Hold::new(inbox.store().name(), board.clone()));
    let group = spec.context.group.clone();
    spec.handler = Arc::new(Inboxed(Arc::new(Within {
        handler: spec.handler,
        scope: group.unwrap_or_else(|| spec.context.subscription.clone()),
        inbox,
        publisher: spec.context.publisher.to_channels(),
        output: spec.output.take(),
        answers: Answers::new(&*spec.binder, board.clone()),
        // It is the handler's. A commit is not stopped.
        timeout: spec.policy.timeout.take(),
        patience: spec.publish_timeout,
        most_bytes: spec.policy.max_in_flight_bytes,
        hold: hold.clone(),
        board: board.clone(),
    })));
    (spec, hold)
}

/// What all handlings of a subscription have in common.
struct Within {
    handler: Arc<dyn Invoke>,
    inbox: Inbox,
    /// Ids are known within it.
    scope: Arc<str>,
    /// Names channels, for the outbox.
    publisher: Publisher,
    output: Option<String>,
    answers: Answers,
    timeout: Option<Duration>,
    /// How long the database may take to begin or to commit.
    patience: Duration,
    /// How much one handling may publish.
    most_bytes: usize,
    hold: Arc<Hold>,
    board: Arc<StatusBoard>,
}

impl Within {
    async fn one(&self, delivery: Delivery) -> HandlerResult {
        let id = self.inbox.id_of(&delivery)?;
        let mut call = self.begin(vec![id]).await?;
        if call.is_duplicate(0) {
            self.board.count_duplicates(1);
            call.give_up().await;
            return Ok(Outputs::None);
        }
        match call.handle(&delivery).await {
            Ok(messages) => self.keep(call, messages).await.map(|()| Outputs::None),
            Err(failure) => {
                call.give_up().await;
                Err(failure)
            }
        }
    }

    async fn begin(&self, ids: Vec<String>) -> Result<Call<'_>, Failure> {
        let begun = tokio::time::timeout(self.patience, self.inbox.store().begin(&self.scope, ids));
        match begun.await {
            Ok(Ok(transaction)) => Ok(Call::new(self, transaction)),
            Ok(Err(error)) => Err(self.hold.failure(error)),
            Err(_) => Err(self.hold.failure(self.no_answer("begin a transaction"))),
        }
    }

    /// Writes what a handling publishes beside its work, and commits both.
    async fn keep(&self, mut call: Call<'_>, messages: Vec<Outgoing>) -> Result<(), Failure> {
        let kept = tokio::time::timeout(self.patience, async move {
            if !messages.is_empty() {
                call.publish(messages).await?;
            }
            call.commit().await
        });
        match kept.await {
            Ok(Ok(())) => {
                self.hold.works();
                Ok(())
            }
            Ok(Err(error)) => Err(self.hold.failure(error)),
            // It may be committed: then the next attempt is a duplicate.
            Err(_) => Err(self.hold.failure(self.no_answer("commit"))),
        }
    }

    fn no_answer(&self, what: &str) -> InboxError {
        InboxError::Unavailable(format!("no answer within {:?} to the wish to {what}", self.patience).into())
    }

    /// What a handler returned, as messages for the outbox; `cause` is the message if there was one.
    fn messages(
        &self,
        outputs: Outputs,
        cause: Option<&Delivery>,
        ids: impl FnOnce() -> OutputId,
    ) -> Result<Vec<Outgoing>, Failure> {
        if outputs.is_empty() {
            return Ok(Vec::new());
        }
        let all: Vec<_> = outputs.into_iter().collect();
        if all.iter().any(tidings_core::Output::is_reply) {
            // The requester would wait for the relay, or have gone before.
            return Err(Failure::permanent(
                "a handler under an inbox cannot reply: its reply would have to wait in the outbox; return an event",
            ));
        }
        let outputs = all.into_iter().collect();
        let channel = self.output.as_deref();
        prepare(&self.publisher, channel, outputs, cause, &ids(), &self.answers)
            .map(crate::effects::Prepared::into_messages)
            .map_err(|error| Failure::new(FailureKind::Permanent, error))
    }
}

/// A handler in transactions of an inbox.
struct Inboxed(Arc<Within>);

impl Invoke for Inboxed {
    fn name(&self) -> &'static str {
        self.0.handler.name()
    }

    fn kind(&self) -> HandlerKind {
        self.0.handler.kind()
    }

    fn needs(&self) -> Needs {
        self.0.handler.needs()
    }

    fn publishes(&self) -> Publishes {
        self.0.handler.publishes()
    }

    /// Each message has a transaction of its own.
    fn has_sequence(&self) -> bool {
        false
    }

    fn one(&self, delivery: &Delivery) -> BoxFuture<'static, HandlerResult> {
        let (within, delivery) = (self.0.clone(), delivery.clone());
        Box::pin(async move { within.one(delivery).await })
    }

    fn sequence(&self, sequence: Sequence) -> BoxFuture<'static, SequenceEnd> {
        let index = sequence.delivery.index();
        let handling = self.one(&sequence.delivery);
        Box::pin(async move { SequenceEnd::Stopped(index, handling.await) })
    }

    fn batch(
        &self,
        deliveries: &[Delivery],
        context: &Arc<HandlerContext>,
    ) -> BoxFuture<'static, BatchOutcome> {
        let (within, deliveries, context) = (self.0.clone(), deliveries.to_vec(), context.clone());
        Box::pin(async move { within.batch(deliveries, &context).await })
    }
}
