//! What waits to be written to one partition: [`Queue`].

use crate::lock::lock;
use crate::partition::Partition;
use std::collections::VecDeque;
use std::sync::Arc;
use tidings_core::{Message, Position, PublishError, Receipt, ReceiptSender};
use tokio::sync::oneshot;

/// Messages in the order in which they were published. Only one thread writes a partition: whoever finds `writing`
/// set leaves its message here, and the writer takes it along.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    items: VecDeque<Item>,
    /// Somebody is writing, or is about to.
    pub(crate) writing: bool,
    next_ticket: u64,
}

#[derive(Debug)]
struct Item {
    ticket: u64,
    content: Content,
}

#[derive(Debug)]
enum Content {
    Message(Waiting),
    /// Everything before was written.
    Flushed(oneshot::Sender<()>),
    /// Its receipt was dropped while there was no room.
    Withdrawn,
}

/// A message that waits.
#[derive(Debug)]
pub(crate) struct Waiting {
    pub(crate) message: Message,
    pub(crate) timestamp_ms: i64,
    /// How much of the limit it takes; zero for one beyond the limit, which its receipt accounts for.
    pub(crate) bytes: usize,
    answer: Answer,
}

#[derive(Debug)]
enum Answer {
    Receipt(ReceiptSender),
    Withdrawable(oneshot::Sender<Result<Position, PublishError>>),
}

impl Waiting {
    /// Tells the receipt.
    pub(crate) fn resolve(self, result: Result<Position, PublishError>) {
        match self.answer {
            Answer::Receipt(sender) => sender.resolve(result),
            // Nobody may be waiting any more.
            Answer::Withdrawable(sender) => drop(sender.send(result)),
        }
    }
}

/// What a writer takes at once.
#[derive(Debug, Default)]
pub(crate) struct Taken {
    pub(crate) messages: Vec<Waiting>,
    pub(crate) flushed: Vec<oneshot::Sender<()>>,
}

impl Queue {
    /// Leaves a message for whoever writes. Its memory counts as pending until it is written.
    pub(crate) fn push(&mut self, message: Message, timestamp_ms: i64, bytes: usize) -> Receipt {
        let (sender, receipt) = Receipt::pair();
        self.add(Content::Message(Waiting {
            message,
            timestamp_ms,
            bytes,
            answer: Answer::Receipt(sender),
        }));
        receipt
    }

    /// Leaves a message for which there is no room. It keeps its place, but belongs to its receipt: when the receipt
    /// is dropped before the message was taken, the message goes with it. So whoever ignores receipts cannot fill the
    /// memory, and whoever awaits them loses nothing and keeps the order.
    pub(crate) fn push_beyond(
        &mut self,
        partition: &Arc<Partition>,
        message: Message,
        timestamp_ms: i64,
    ) -> Receipt {
        let (sender, receiver) = oneshot::channel();
        let ticket = self.add(Content::Message(Waiting {
            message,
            timestamp_ms,
            bytes: 0,
            answer: Answer::Withdrawable(sender),
        }));
        let place = Place {
            partition: partition.clone(),
            ticket,
        };
        Receipt::boxed(async move {
            let answer = receiver.await;
            drop(place);
            answer.unwrap_or(Err(PublishError::Closed))
        })
    }

    /// Resolves when everything that is in the queue now was written.
    pub(crate) fn push_flush(&mut self) -> oneshot::Receiver<()> {
        let (sender, receiver) = oneshot::channel();
        self.add(Content::Flushed(sender));
        receiver
    }

    fn add(&mut self, content: Content) -> u64 {
        let ticket = self.next_ticket;
        self.next_ticket += 1;
        self.items.push_back(Item { ticket, content });
        ticket
    }

    /// Whether nothing waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Takes everything.
    pub(crate) fn take(&mut self) -> Taken {
        let mut taken = Taken::default();
        taken.messages.reserve(self.items.len());
        for item in self.items.drain(..) {
            match item.content {
                Content::Message(message) => taken.messages.push(message),
                Content::Flushed(sender) => taken.flushed.push(sender),
                Content::Withdrawn => {}
            }
        }
        // A burst must not keep its memory for ever.
        self.items.shrink_to(64);
        taken
    }

    fn withdraw(&mut self, ticket: u64) {
        if let Ok(place) = self.items.binary_search_by_key(&ticket, |item| item.ticket)
            && let Some(item) = self.items.get_mut(place)
        {
            item.content = Content::Withdrawn;
        }
    }
}

/// The place of a message beyond the limit.
#[derive(Debug)]
struct Place {
    partition: Arc<Partition>,
    ticket: u64,
}

impl Drop for Place {
    fn drop(&mut self) {
        lock(&self.partition.queue).withdraw(self.ticket);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_beyond_the_limit_goes_with_its_receipt_and_keeps_its_place_otherwise() {
        let partition = Arc::new(Partition::new("orders".into(), 0));
        let (first, second, third) = {
            let mut queue = lock(&partition.queue);
            (
                queue.push_beyond(&partition, Message::new("first"), 0),
                queue.push_beyond(&partition, Message::new("second"), 0),
                queue.push(Message::new("third"), 0, 5),
            )
        };
        drop(second);
        let taken = lock(&partition.queue).take();
        let payloads: Vec<_> = taken
            .messages
            .iter()
            .filter_map(|one| one.message.payload())
            .collect();
        assert_eq!(payloads, ["first", "third"]);
        drop((first, third));
    }
}
