//! A sink whose messages are seen when they are committed, or never: [`TransactionalSink`], and the side of it that
//! opens and closes: [`Transacting`].

use super::gate::Gate;
use super::native::Producer;
use super::poller;
use super::shared::Shared;
use super::table::Answers;
use super::transaction::Failed;
use crate::client::{ClientState, Topics};
use crate::error::KafkaError;
use crate::options::ClientOptions;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tidings_core::{BoxFuture, Outgoing, PublishError, Receipt, Sink, SinkTransaction};

/// The producer of one member, and the gate before it.
#[derive(Clone)]
pub(crate) struct Transacting(Arc<Shared>);

/// Takes messages into the transactions between two times that one was given up. What comes later, from work that did
/// not hear of it, is refused.
pub(crate) struct TransactionalSink {
    shared: Arc<Shared>,
    turn: u64,
}

/// What transactions are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Use {
    /// One follows the other. A refusal that is the message's own fault is left to the engine, any other takes the
    /// transaction with it.
    Subscription,
    /// Each is let in by itself, and any refusal takes it with it.
    Single,
}

impl Transacting {
    /// Sets up the producer; it takes nothing before it is let.
    pub(crate) fn open(
        options: &ClientOptions,
        id: &str,
        state: Arc<ClientState>,
        topics: Arc<Topics>,
        purpose: Use,
    ) -> Result<Self, KafkaError> {
        let shared = Shared::transactional(options, id, state, topics, purpose)?;
        let shared = Arc::new(shared);
        poller::start(&shared)?;
        Ok(Self(shared))
    }

    /// The client that publishes now.
    pub(crate) fn producer(&self) -> Arc<Producer> {
        self.0.publishing().producer.clone()
    }

    /// After how long the broker gives a transaction up.
    pub(crate) fn time_limit(&self) -> Duration {
        self.0.settings.transaction_timeout
    }

    /// Lets messages in: the next one begins a transaction.
    pub(crate) fn admit(&self) {
        let mut publishing = self.0.publishing();
        if publishing.gate == Gate::Shut {
            publishing.gate = Gate::Ready;
            publishing.turn += 1;
            // From now on it is known of every message what became of it.
            self.0.doubt.store(false, Ordering::Release);
        }
    }

    /// Where messages go until a transaction is given up.
    pub(crate) fn sink(&self) -> Arc<TransactionalSink> {
        Arc::new(TransactionalSink {
            turn: self.0.publishing().turn,
            shared: self.0.clone(),
        })
    }

    /// Refuses messages, and those that wait for room.
    pub(crate) fn shut(&self) {
        let mut answers = Answers::new(&self.0.table);
        let mut publishing = self.0.publishing();
        publishing.gate = Gate::Shut;
        publishing.waiting_bytes = 0;
        for waiting in publishing.waiting.drain(..) {
            answers.refused(waiting.number, no_transaction(waiting.destination));
        }
    }

    /// Whether a transaction is open, as far as this client knows.
    pub(crate) fn is_open(&self) -> bool {
        self.0.publishing().begun
    }

    /// Refuses messages because it is to be committed. Without one that is open, one is begun. False if it was given up
    /// meanwhile.
    pub(crate) fn end(&self) -> Result<bool, Failed> {
        let mut publishing = self.0.publishing();
        if publishing.gate == Gate::Ready {
            publishing.producer.begin()?;
            publishing.begun = true;
            publishing.gate = Gate::Open;
        }
        let goes_on = publishing.gate == Gate::Open;
        if goes_on {
            publishing.gate = Gate::Ending;
        }
        Ok(goes_on)
    }

    /// It was committed or given up: nothing is open.
    pub(crate) fn ended(&self) {
        let mut publishing = self.0.publishing();
        publishing.begun = false;
        if publishing.gate == Gate::Ending {
            publishing.gate = match self.0.purpose {
                Use::Subscription => Gate::Ready,
                Use::Single => Gate::Shut,
            };
        }
    }

    /// Whether librdkafka has every message that was published; none if they are not to be committed any more.
    pub(crate) fn handed_over(&self) -> Option<bool> {
        let publishing = self.0.publishing();
        let all = publishing.waiting.is_empty() && publishing.wondering.is_empty();
        (publishing.gate == Gate::Ending && !self.0.doubt.load(Ordering::Acquire)).then_some(all)
    }

    /// Whether it is not known of some message whether it is part of the transaction, or the producer cannot go on.
    pub(crate) fn is_in_doubt(&self) -> bool {
        self.0.doubt.load(Ordering::Acquire) || self.producer().fatal().is_some()
    }

    /// Goes on with another producer, which is not ready yet. Everything under way with the one before is answered.
    pub(crate) fn renew(&self) -> Result<Arc<Producer>, KafkaError> {
        let producer = self.0.another_producer()?;
        let mut publishing = self.0.publishing();
        let before = publishing.producer.clone();
        publishing.replace(producer.clone());
        self.0.replaced.store(true, Ordering::Release);
        drop(publishing);
        before.interrupt();
        Ok(producer)
    }

    /// Ends the thread of reports; what is under way is given up.
    pub(crate) fn stop(&self) {
        self.0.refuse_more();
        self.0.stop();
    }
}

impl fmt::Debug for Transacting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transacting").finish_non_exhaustive()
    }
}

impl Sink for TransactionalSink {
    fn publish(&self, outgoing: Outgoing) -> Receipt {
        self.shared.publish_in(Some(self.turn), &outgoing)
    }

    fn publish_kept(&self, outgoing: &Outgoing) -> Receipt {
        self.shared.publish_in(Some(self.turn), outgoing)
    }

    fn publish_all(&self, outgoing: Vec<Outgoing>) -> Vec<Receipt> {
        self.shared.publish_all_in(Some(self.turn), outgoing)
    }

    fn flush(&self) -> BoxFuture<'static, Result<(), PublishError>> {
        Box::pin(super::flush(self.shared.clone()))
    }

    fn begin(&self) -> BoxFuture<'static, Result<Box<dyn SinkTransaction>, PublishError>> {
        Box::pin(std::future::ready(Err(PublishError::NoTransaction {
            destination: "a transaction of its own".into(),
            reason: "what is published here is in a transaction already; publish directly",
        })))
    }
}

impl fmt::Debug for TransactionalSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TransactionalSink")
            .field("turn", &self.turn)
            .finish_non_exhaustive()
    }
}

/// The refusal of what comes while no transaction can take it.
pub(super) fn no_transaction(destination: Arc<str>) -> PublishError {
    PublishError::Unavailable {
        destination,
        reason: "the transaction was given up, or is being committed; its messages are handled again"
            .to_owned(),
    }
}
