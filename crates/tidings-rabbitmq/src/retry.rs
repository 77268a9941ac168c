//! Messages that wait for longer than they may be held: [`RetryQueues`].
//!
//! For each wait there is a queue in which nobody reads. What is in there for its time goes to the retry queue of its
//! group by the server's own hand (`x-message-ttl`, `x-dead-letter-exchange`). A message takes the longest wait that is not
//! longer than its own, and the engine has it wait for the rest, or leave again. Waits are queues of their own because a
//! queue looks at its first message only: one that waits for a day would hold up all behind it.
//!
//! Dead letters go to an exchange for all groups of a destination, and from there to the queue of the group.

use crate::message::EXPIRATION;
use crate::sink::{RabbitSink, Route};
use crate::topology::{QueueSpec, Topology};
use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tidings_core::{Clock, Create, Outgoing, PublishError, Receipt, Sink, Timestamp, amqp, names};

/// The waits that there are queues for, in seconds.
const TIERS: [u64; 15] = [
    1, 2, 5, 10, 30, 60, 120, 300, 600, 1_800, 3_600, 7_200, 21_600, 43_200, 86_400,
];

/// The longest wait that is not longer than that one.
fn tier(wait: Duration) -> Option<Duration> {
    let fits = TIERS.iter().rev().map(|seconds| Duration::from_secs(*seconds));
    fits.into_iter().find(|tier| *tier <= wait)
}

/// The queues in which messages for a retry queue may wait, the shortest wait first. Those of them exist that were needed.
pub(crate) fn queues_of_waits(retry: &str) -> impl Iterator<Item = Arc<str>> {
    TIERS
        .iter()
        .map(move |seconds| queue_of_wait(retry, Duration::from_secs(*seconds)))
}

fn queue_of_wait(retry: &str, tier: Duration) -> Arc<str> {
    format!("{retry}.{}s", tier.as_secs()).into()
}

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

    /// Publishes to the retry queue of a group.
    pub(crate) fn publish(self: &Arc<Self>, outgoing: Outgoing) -> Receipt {
        let (outgoing, queue) = self.to_wait(lasting(outgoing));
        self.publish_where(outgoing, queue)
    }

    /// Publishes a dead letter.
    pub(crate) fn publish_letter(self: &Arc<Self>, outgoing: Outgoing) -> Receipt {
        let outgoing = lasting(outgoing);
        let queue = self.letters_of(&outgoing);
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
    fn to_wait(&self, outgoing: Outgoing) -> (Outgoing, Option<QueueSpec>) {
        let due = outgoing.message.headers().get_str(names::DUE);
        let due = due.and_then(|due| due.parse().ok()).map(Timestamp::from_millis);
        let Some(tier) = due.and_then(|due| tier(due.since(Clock::System.now()))) else {
            return (outgoing, None);
        };
        let name = queue_of_wait(&outgoing.destination, tier);
        let queue = QueueSpec {
            arguments: self.topology.tier(tier, &outgoing.destination),
            ..self.topology.lying(name, Create::IfMissing)
        };
        let outgoing = Outgoing {
            destination: queue.name.clone(),
            partition: None,
            ..outgoing
        };
        (outgoing, Some(queue))
    }

    /// The queue that a dead letter is to reach.
    fn letters_of(&self, outgoing: &Outgoing) -> Option<QueueSpec> {
        let headers = outgoing.message.headers();
        let origin = headers.get_str(names::ORIGIN_DESTINATION)?;
        let group = headers.get_str(names::GROUP).filter(|group| !group.is_empty())?;
        let exchange = &outgoing.destination;
        Some(self.topology.letters(origin, group, exchange, Create::IfMissing))
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
    use tidings_core::Message;

    #[test]
    fn a_wait_is_never_longer_than_it_should_be() {
        for (millis, seconds) in [
            (0, None),
            (999, None),
            (1_000, Some(1)),
            (4_999, Some(2)),
            (90_000, Some(60)),
            (900_000, Some(600)),
            (40 * 86_400_000, Some(86_400)),
        ] {
            let tier = tier(Duration::from_millis(millis));
            assert_eq!(tier.map(|tier| tier.as_secs()), seconds, "{millis} ms");
        }
    }

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
