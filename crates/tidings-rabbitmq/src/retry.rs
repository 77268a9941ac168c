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
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tidings_core::headers::HeaderWriter;
use tidings_core::{
    BinderError, Clock, Create, Message, Outgoing, PublishError, Receipt, Sink, Timestamp, amqp, names,
};

/// The waits that there are queues for, in seconds.
const TIERS: [u64; 15] = [
    1, 2, 5, 10, 30, 60, 120, 300, 600, 1_800, 3_600, 7_200, 21_600, 43_200, 86_400,
];

/// The longest of these waits, the shortest first, that is not longer than that one.
fn tier(tiers: &[u64], wait: Duration) -> Option<Duration> {
    let fits = tiers.iter().rev().map(|seconds| Duration::from_secs(*seconds));
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

/// Publishes, and knows which destinations are retry queues.
#[derive(Debug)]
pub(crate) struct RetryQueues {
    sink: Arc<RabbitSink>,
    topology: Arc<Topology>,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    /// Retry queues.
    queues: HashMap<Arc<str>, Waits>,
    /// Retry queues that are not there and may not be made.
    lacking: HashSet<Arc<str>>,
    /// Exchanges of dead letters, and whether queues of theirs may be made.
    letters: HashMap<Arc<str>, Create>,
    /// Queues that were made here, for waits and for dead letters.
    made: HashSet<Arc<str>>,
}

/// The waits in front of a retry queue.
#[derive(Debug, Clone)]
enum Waits {
    /// Each has a queue as soon as it is needed.
    Made,
    /// These have one, in seconds.
    There(Vec<u64>),
}

impl RetryQueues {
    pub(crate) fn new(sink: Arc<RabbitSink>, topology: Arc<Topology>) -> Arc<Self> {
        Arc::new(Self {
            sink,
            topology,
            known: Mutex::default(),
        })
    }

    /// What is published there may have to wait on the way. Where nothing may be made, finds out what is there.
    pub(crate) async fn is_retry_queue(&self, name: &Arc<str>, create: Create) -> Result<(), BinderError> {
        let waits = match create {
            Create::IfMissing => Some(Waits::Made),
            Create::Never => self.there(name).await?,
        };
        self.sink.route(name.clone(), Route::Queue);
        let mut known = self.known();
        match waits {
            Some(waits) => drop((
                known.lacking.remove(name),
                known.queues.insert(name.clone(), waits),
            )),
            None => drop(known.lacking.insert(name.clone())),
        }
        Ok(())
    }

    /// Which waits of a retry queue have a queue; none if there is no retry queue. What that means for the group is told.
    async fn there(&self, name: &Arc<str>) -> Result<Option<Waits>, BinderError> {
        let longest = self.topology.consuming().longest_hold;
        if !self.is_there(name).await? {
            tracing::warn!(queue = %name, "there is no retry queue, and none may be made (create = \"never\"): what waits is \
                held in its own queue, {} s at the most, and no dead letter can be sent back; make the queue, or let it be made",
                longest.as_secs());
            return Ok(None);
        }
        let mut there = Vec::new();
        for seconds in TIERS {
            if self
                .is_there(&queue_of_wait(name, Duration::from_secs(seconds)))
                .await?
            {
                there.push(seconds);
            }
        }
        if there.is_empty() {
            tracing::warn!(queue = %name, "there is no queue for waits, and none may be made (create = \"never\"): what waits is \
                held in the retry queue, {} s at the most; make {name}.60s or the like, with x-message-ttl and a dead letter \
                exchange back, or let them be made", longest.as_secs());
        }
        Ok(Some(Waits::There(there)))
    }

    async fn is_there(&self, name: &Arc<str>) -> Result<bool, BinderError> {
        match self.topology.counts(name).await {
            Ok(_) => Ok(true),
            Err(BinderError::UnknownDestination { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Whether that retry queue is not there, and may not be made.
    pub(crate) fn is_lacking(&self, name: &Arc<str>) -> bool {
        self.known().lacking.contains(name)
    }

    /// What is published there are dead letters.
    pub(crate) fn are_letters(&self, name: &Arc<str>, create: Create) {
        self.sink.route(name.clone(), Route::Letters);
        self.known().letters.insert(name.clone(), create);
    }

    /// Whether dead letters go to that exchange, and their queues are to be there already.
    pub(crate) fn has_letters_there(&self, exchange: &Arc<str>) -> bool {
        self.known().letters.get(exchange) == Some(&Create::Never)
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether more than publishing may be to do for what goes there.
    pub(crate) fn is_special(&self, destination: &Arc<str>) -> bool {
        let known = self.known();
        known.queues.contains_key(destination) || known.letters.contains_key(destination)
    }

    /// Publishes what goes there.
    pub(crate) fn publish(self: &Arc<Self>, outgoing: Outgoing) -> Receipt {
        let (outgoing, missing) = self.direct(outgoing);
        let Some(queue) = missing else {
            return self.sink.publish(outgoing);
        };
        let queues = self.clone();
        Receipt::boxed(async move {
            queues.make(queue).await?;
            queues.sink.publish(outgoing).await
        })
    }

    /// Sends a message on its way, and names the queue that must be there for it; none if that is known to be there.
    fn direct(&self, outgoing: Outgoing) -> (Outgoing, Option<QueueSpec>) {
        let outgoing = lasting(outgoing);
        let create = self.known().letters.get(&outgoing.destination).copied();
        let (outgoing, queue) = match create {
            Some(create) => {
                let queue = self.letters_of(&outgoing, create);
                (outgoing, queue)
            }
            None => self.to_wait(outgoing),
        };
        let missing = queue.filter(|queue| !self.known().made.contains(&queue.name));
        (outgoing, missing)
    }

    /// A message for a retry queue takes a queue in which it waits, unless it is due.
    fn to_wait(&self, outgoing: Outgoing) -> (Outgoing, Option<QueueSpec>) {
        let due = outgoing.message.headers().get_str(names::DUE);
        let due = due.and_then(|due| due.parse().ok()).map(Timestamp::from_millis);
        let waits = self.known().queues.get(&outgoing.destination).cloned();
        let (Some(due), Some(waits)) = (due, waits) else {
            return (outgoing, None);
        };
        let (tiers, create) = match &waits {
            Waits::Made => (&TIERS[..], Create::IfMissing),
            Waits::There(tiers) => (&tiers[..], Create::Never),
        };
        let now = Clock::System.now();
        let Some(tier) = tier(tiers, due.since(now)) else {
            let latest = now.plus(self.topology.consuming().longest_hold);
            return (due_by(outgoing, due, latest), None);
        };
        let name = queue_of_wait(&outgoing.destination, tier);
        let queue = QueueSpec {
            arguments: self.topology.tier(tier, &outgoing.destination),
            ..self.topology.lying(name, create)
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
        self.known().made.insert(queue.name);
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
            let tier = tier(&TIERS, Duration::from_millis(millis));
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
