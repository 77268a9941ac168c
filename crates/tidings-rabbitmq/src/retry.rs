//! Messages that wait for longer than they may be held: [`RetryQueues`].
//!
//! For each wait there is a queue in which nobody reads. What is in there for its time goes to the retry queue of its
//! group by the server's own hand (`x-message-ttl`, `x-dead-letter-exchange`). A message takes the longest wait that is not
//! longer than its own, and the engine has it wait for the rest, or leave again. Waits are queues of their own because a
//! queue looks at its first message only: one that waits for a day would hold up all behind it.
//!
//! Dead letters go to an exchange for all groups of a destination, and from there to the queue of the group.
//!
//! Where nothing may be made (`create = "never"`) the queues that are there are used: a wait takes the longest that fits, and
//! without one it is spent in the retry queue itself, for as long as a message may be held there. Without a retry queue the
//! engine has no lane for it.

use crate::message::{EXPIRATION, NOTE};
use crate::sink::{RabbitSink, Route};
use crate::topology::{QueueSpec, Topology};
use crate::waits::{Waits, queue_of_wait};
use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tidings_core::headers::HeaderWriter;
use tidings_core::{Clock, Create, Message, Outgoing, PublishError, Receipt, Sink, Timestamp, amqp, names};

/// Publishes what waits and what is dead.
#[derive(Debug)]
pub(crate) struct RetryQueues {
    sink: Arc<RabbitSink>,
    topology: Arc<Topology>,
    /// Queues that were made here, for waits and for dead letters.
    made: Mutex<HashSet<Arc<str>>>,
}

impl RetryQueues {
    pub(crate) fn new(sink: Arc<RabbitSink>, topology: Arc<Topology>) -> Arc<Self> {
        Arc::new(Self {
            sink,
            topology,
            made: Mutex::default(),
        })
    }

    fn made(&self) -> MutexGuard<'_, HashSet<Arc<str>>> {
        self.made.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Publishes to the retry queue of a group, in front of which there are those waits.
    pub(crate) fn publish(self: &Arc<Self>, outgoing: Outgoing, waits: &Waits) -> Receipt {
        let (outgoing, queue) = self.to_wait(lasting(outgoing), waits);
        self.publish_where(outgoing, queue)
    }

    /// Publishes a dead letter, whose queue may be made or not.
    pub(crate) fn publish_letter(self: &Arc<Self>, outgoing: Outgoing, create: Create) -> Receipt {
        let outgoing = lasting(outgoing);
        let queue = self.letters_of(&outgoing, create);
        self.publish_where(outgoing, queue)
    }

    /// Publishes once a queue is there, if one is needed.
    fn publish_where(self: &Arc<Self>, outgoing: Outgoing, queue: Option<QueueSpec>) -> Receipt {
        let Some(queue) = queue.filter(|queue| !self.made().contains(&queue.name)) else {
            return self.sink.publish(outgoing);
        };
        let queues = self.clone();
        Receipt::boxed(async move {
            queues.make(queue).await?;
            queues.sink.publish(outgoing).await
        })
    }

    /// A message for a retry queue takes a queue in which it waits, unless it is due.
    fn to_wait(&self, outgoing: Outgoing, waits: &Waits) -> (Outgoing, Option<QueueSpec>) {
        let due = outgoing.message.headers().get_str(names::DUE);
        let Some(due) = due.and_then(|due| due.parse().ok()).map(Timestamp::from_millis) else {
            return (outgoing, None);
        };
        let now = Clock::System.now();
        let Some(wait) = waits.longest_within(due.since(now)) else {
            let latest = now.plus(self.topology.consuming().longest_hold);
            return (due_by(outgoing, due, latest), None);
        };
        let name = queue_of_wait(&outgoing.destination, wait);
        let queue = QueueSpec {
            arguments: self.topology.tier(wait, &outgoing.destination),
            ..self.topology.lying(name, waits.create())
        };
        let outgoing = Outgoing {
            destination: queue.name.clone(),
            partition: None,
            message: noted(outgoing.message),
            due: None,
        };
        (outgoing, Some(queue))
    }

    /// The queue that a dead letter is to reach.
    fn letters_of(&self, outgoing: &Outgoing, create: Create) -> Option<QueueSpec> {
        let headers = outgoing.message.headers();
        let origin = headers.get_str(names::ORIGIN_DESTINATION)?;
        let group = headers.get_str(names::GROUP).filter(|group| !group.is_empty())?;
        let exchange = &outgoing.destination;
        Some(self.topology.letters(origin, group, exchange, create))
    }

    async fn make(&self, queue: QueueSpec) -> Result<(), PublishError> {
        let declared = self.topology.queue(&queue).await;
        declared.map_err(|error| PublishError::Unavailable {
            destination: queue.name.clone(),
            reason: error.to_string(),
        })?;
        if queue.bound_to.is_empty() {
            self.sink.route(queue.name.clone(), Route::Queue);
        }
        self.made().insert(queue.name);
        Ok(())
    }
}

/// The message, due then at the latest: nobody may hold it for longer.
fn due_by(outgoing: Outgoing, due: Timestamp, latest: Timestamp) -> Outgoing {
    if due <= latest {
        return outgoing;
    }
    let writer = HeaderWriter::from_headers(outgoing.message.headers());
    let writer = writer.set(names::DUE, latest.as_millis().to_string());
    Outgoing {
        message: outgoing.message.with_headers(writer.finish_received()),
        ..outgoing
    }
}

/// The message with its attempts for the server.
fn noted(message: Message) -> Message {
    let headers = message.headers();
    let Some(attempts) = headers.get_str(names::ATTEMPTS) else {
        return message;
    };
    let headers = HeaderWriter::from_headers(headers).append(NOTE, attempts);
    message.with_headers(headers.finish_received())
}

/// What waits and what is dead begins a way of its own: it has no time after which it is gone, whatever its publisher has
/// given it, and nothing of the way that it came, which the server would take for its own word and add to.
fn lasting(mut outgoing: Outgoing) -> Outgoing {
    let headers = outgoing.message.headers_mut();
    headers.retain(|name| name != EXPIRATION && !amqp::is_history(name));
    outgoing
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waits_neither_expires_nor_takes_its_history_along() {
        let message = Message::new("x")
            .with_header("amqp-expiration", "1000")
            .and_then(|message| message.with_header("x-death", "once"))
            .and_then(|message| message.with_header("x-delivery-count", "3"))
            .and_then(|message| message.with_header("tenant", "acme"))
            .unwrap();
        let lasting = lasting(Outgoing::new("orders.billing.retry", message)).message;
        let headers: Vec<_> = lasting.headers().iter().collect();
        assert_eq!(headers, [("tenant", &b"acme"[..])]);
    }
}
