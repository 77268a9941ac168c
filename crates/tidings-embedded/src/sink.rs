//! Where the broker takes messages: [`EmbeddedSink`].

use crate::broker::Handle;
use crate::delayed;
use crate::keeper::Concern;
use crate::lock::lock;
use crate::partition::Partition;
use crate::shared::Shared;
use crate::topics::Topic;
use crate::writing;
use std::collections::HashMap;
use std::sync::Arc;
use tidings_core::headers::{CONTROL_HEADER_RESERVE, MAX_HEADER_BYTES};
use tidings_core::{BoxFuture, Message, Outgoing, PublishError, Receipt, Sink, Timestamp};

/// So many messages without a key go to one partition before the next has its turn, within one call.
const RUN: usize = 64;

/// The sink of one handle.
#[derive(Debug)]
pub(crate) struct EmbeddedSink {
    pub(crate) handle: Arc<Handle>,
}

/// The messages of one call for one partition.
struct Run {
    partition: Arc<Partition>,
    places: Vec<usize>,
    messages: Vec<(i64, Message)>,
}

impl EmbeddedSink {
    fn shared(&self) -> &Arc<Shared> {
        &self.handle.shared
    }

    fn check_open(&self) -> Result<(), PublishError> {
        if self.handle.is_closed() {
            return Err(PublishError::Closed);
        }
        if self.shared().is_read_only() {
            return Err(PublishError::Unsupported {
                broker: "embedded, opened read-only,",
                feature: "publishing",
                cure: "publish through the process that owns the directory, or stop it and open for writing",
            });
        }
        Ok(())
    }

    /// The partition: as asked for, by key, or `free` for one without a key.
    fn partition(
        &self,
        outgoing: &Outgoing,
        topic: &Topic,
        free: impl FnOnce(&Topic) -> u32,
    ) -> Result<u32, PublishError> {
        let message = &outgoing.message;
        check_size(message, &topic.name, self.shared().options.max_message_bytes)?;
        match (outgoing.partition, message.key()) {
            (Some(partition), _) if partition >= topic.count() => Err(PublishError::UnknownPartition {
                destination: outgoing.destination.clone(),
                partition,
                partitions: topic.count(),
            }),
            (Some(partition), _) => Ok(partition),
            (None, Some(key)) => Ok(topic.of_key(key)),
            (None, None) => Ok(free(topic)),
        }
    }

    /// When it is to be kept for later, if it is.
    fn due(&self, outgoing: &Outgoing) -> Option<Timestamp> {
        outgoing.due.filter(|due| *due > self.shared().clock().now())
    }

    /// Puts a message aside until it is due.
    fn delay(&self, topic: &Topic, partition: u32, message: &Message, due: Timestamp) -> Receipt {
        let bytes = delayed::encode(&topic.name, partition, self.timestamp(message), message);
        let shared = self.shared();
        shared
            .keeper
            .put(shared, topic.name.clone(), partition, due, bytes)
    }

    fn timestamp(&self, message: &Message) -> Timestamp {
        message.timestamp().unwrap_or_else(|| self.shared().clock().now())
    }

    fn publish_to(&self, topic: &Topic, outgoing: Outgoing) -> Receipt {
        let index = match self.partition(&outgoing, topic, Topic::in_turn) {
            Ok(index) => index,
            Err(error) => return Receipt::failed(error),
        };
        if let Some(due) = self.due(&outgoing) {
            return self.delay(topic, index, &outgoing.message, due);
        }
        let Some(partition) = topic.partition(index) else {
            return Receipt::failed(PublishError::Closed);
        };
        let timestamp = self.timestamp(&outgoing.message);
        writing::publish(self.shared(), partition, outgoing.message, timestamp.as_millis())
    }
}

impl Sink for EmbeddedSink {
    fn publish(&self, outgoing: Outgoing) -> Receipt {
        if let Err(error) = self.check_open() {
            return Receipt::failed(error);
        }
        let shared = self.shared();
        if let Some(topic) = shared.topics.among_first(&outgoing.destination) {
            return self.publish_to(topic, outgoing);
        }
        match shared.topic(&outgoing.destination) {
            Some(topic) => self.publish_to(&topic, outgoing),
            None => Receipt::failed(unknown(outgoing.destination)),
        }
    }

    fn publish_all(&self, outgoing: Vec<Outgoing>) -> Vec<Receipt> {
        if let Err(error) = self.check_open() {
            return outgoing.iter().map(|_| Receipt::failed(error.clone())).collect();
        }
        let mut receipts = Receipts::new(outgoing.len());
        let mut runs = Runs::new(outgoing.len());
        let mut free = Free::default();
        let mut topic: Option<Arc<Topic>> = None;
        let mut now = None;
        for (place, outgoing) in outgoing.into_iter().enumerate() {
            // Messages of one call mostly go to the same destination.
            if topic
                .as_ref()
                .is_none_or(|topic| topic.name != outgoing.destination)
            {
                topic = self.shared().topic(&outgoing.destination);
            }
            let Some(topic) = &topic else {
                receipts.put(place, Receipt::failed(unknown(outgoing.destination)));
                continue;
            };
            match (
                self.partition(&outgoing, topic, |topic| free.next(topic)),
                self.due(&outgoing),
            ) {
                (Ok(partition), None) => {
                    let clock = || self.shared().clock().now();
                    let own = outgoing.message.timestamp();
                    let time = own.unwrap_or_else(|| *now.get_or_insert_with(clock));
                    runs.add(topic, partition, place, (time.as_millis(), outgoing.message));
                }
                (Ok(partition), Some(due)) => {
                    receipts.put(place, self.delay(topic, partition, &outgoing.message, due));
                }
                (Err(error), _) => receipts.put(place, Receipt::failed(error)),
            }
        }
        for run in runs.all {
            writing::publish_run(self.shared(), &run.partition, &run.messages, |nth, receipt| {
                if let Some(place) = run.places.get(nth) {
                    receipts.put(*place, receipt);
                }
            });
        }
        receipts.finish()
    }

    fn flush(&self) -> BoxFuture<'static, Result<(), PublishError>> {
        let shared = self.shared().clone();
        Box::pin(async move { flush(&shared).await })
    }
}

/// Waits for everything that was accepted: what is in queues is written, what is delayed is stored, and with an fsync
/// policy of ours it is synced.
pub(crate) async fn flush(shared: &Arc<Shared>) -> Result<(), PublishError> {
    let unavailable = |reason| PublishError::Unavailable {
        destination: "*".into(),
        reason,
    };
    let mut waiting = Vec::new();
    for topic in shared.topics.all() {
        for partition in &topic.partitions {
            let mut queue = lock(&partition.queue);
            if queue.writing {
                waiting.push(queue.push_flush());
            }
        }
    }
    for written in waiting {
        // A writer that went away has told its receipts so.
        drop(written.await);
    }
    if shared.is_read_only() || shared.is_closed() {
        return Ok(());
    }
    let stored = shared.keeper.commit(shared, Concern::Everything).await;
    stored.map_err(unavailable)?;
    if matches!(shared.fsync, crate::Fsync::Os) {
        return Ok(());
    }
    shared
        .blocking(|shared| shared.sync_all())
        .await
        .map_err(unavailable)
}

fn unknown(destination: Arc<str>) -> PublishError {
    PublishError::UnknownDestination { destination }
}

/// Key, payload and headers within the limit; the engine's own headers have a reserve of their own, so that a message
/// that was accepted once also fits where it is parked or put to the dead letters.
fn check_size(message: &Message, destination: &Arc<str>, limit: usize) -> Result<(), PublishError> {
    let size = message.size();
    if size <= limit && message.headers().size() <= MAX_HEADER_BYTES {
        return Ok(());
    }
    let control = message.added_size();
    let refused = |size, limit| PublishError::TooLarge {
        destination: destination.clone(),
        size,
        limit,
    };
    let headers = message.headers().size() - control;
    if headers > MAX_HEADER_BYTES {
        return Err(refused(headers, MAX_HEADER_BYTES));
    }
    if control > CONTROL_HEADER_RESERVE {
        return Err(refused(size, limit));
    }
    if size - control > limit {
        return Err(refused(size - control, limit));
    }
    Ok(())
}

/// The receipts of one call, in the order of its messages. They come in that order when all go to one partition, and
/// are moved once then.
struct Receipts {
    in_order: Vec<Receipt>,
    /// Once one came before its turn: by their place.
    others: Vec<Option<Receipt>>,
    messages: usize,
}

impl Receipts {
    fn new(messages: usize) -> Self {
        Self {
            in_order: Vec::with_capacity(messages),
            others: Vec::new(),
            messages,
        }
    }

    fn put(&mut self, place: usize, receipt: Receipt) {
        if self.others.is_empty() {
            if place == self.in_order.len() {
                return self.in_order.push(receipt);
            }
            self.others.resize_with(self.messages, || None);
        }
        if let Some(empty) = self.others.get_mut(place) {
            *empty = Some(receipt);
        }
    }

    /// A message that nobody answered for was not published.
    fn finish(self) -> Vec<Receipt> {
        let mut all = self.in_order;
        let unanswered = || Receipt::failed(PublishError::Closed);
        let others = self.others.into_iter().skip(all.len());
        all.extend(others.map(|receipt| receipt.unwrap_or_else(unanswered)));
        all.resize_with(self.messages, unanswered);
        all
    }
}

/// So many partitions are looked through one by one, which is faster than a hash.
const FEW: usize = 16;

/// The messages of one call, by partition.
struct Runs {
    all: Vec<Run>,
    /// By the partition's address; used beyond `FEW`.
    places: HashMap<usize, usize>,
    messages: usize,
}

impl Runs {
    fn new(messages: usize) -> Self {
        Self {
            all: Vec::new(),
            places: HashMap::new(),
            messages,
        }
    }

    fn add(&mut self, topic: &Arc<Topic>, partition: u32, place: usize, message: (i64, Message)) {
        let Some(partition) = topic.partition(partition) else {
            return;
        };
        let next = self.all.len();
        let run = if next <= FEW {
            let found = self
                .all
                .iter()
                .position(|run| Arc::ptr_eq(&run.partition, partition));
            found.unwrap_or(next)
        } else {
            if self.places.is_empty() {
                let known = self.all.iter().enumerate();
                self.places = known
                    .map(|(place, run)| (Arc::as_ptr(&run.partition) as usize, place))
                    .collect();
            }
            *self.places.entry(Arc::as_ptr(partition) as usize).or_insert(next)
        };
        if run == next {
            // A fair share, so that the lists rarely grow.
            let share = (self.messages / topic.partitions.len().max(1) * 2).min(self.messages);
            self.all.push(Run {
                partition: partition.clone(),
                places: Vec::with_capacity(share),
                messages: Vec::with_capacity(share),
            });
        }
        if let Some(run) = self.all.get_mut(run) {
            run.places.push(place);
            run.messages.push(message);
        }
    }
}

/// Spreads messages without a key in runs, so that a batch makes few frames.
#[derive(Default)]
struct Free {
    current: Option<(*const Topic, u32)>,
    left: usize,
}

impl Free {
    fn next(&mut self, topic: &Topic) -> u32 {
        match self.current {
            Some((of, partition)) if std::ptr::eq(of, topic) && self.left > 0 => {
                self.left -= 1;
                partition
            }
            _ => {
                let partition = topic.in_turn();
                (self.current, self.left) = (Some((std::ptr::from_ref(topic), partition)), RUN - 1);
                partition
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidings_core::names;

    #[test]
    fn control_headers_count_against_their_own_reserve() {
        let destination: Arc<str> = "orders".into();
        let message = |payload: usize, control: usize| {
            let value = vec![b'x'; control];
            Message::new(vec![0; payload])
                .with_header(names::ERROR, value)
                .unwrap()
        };
        assert!(check_size(&message(100, 1000), &destination, 100).is_ok());
        let refused = check_size(&message(101, 1000), &destination, 100);
        assert!(matches!(
            refused,
            Err(PublishError::TooLarge {
                size: 101,
                limit: 100,
                ..
            })
        ));
        let refused = check_size(&message(100, 5000), &destination, 100);
        assert!(matches!(refused, Err(PublishError::TooLarge { .. })));
    }
}
