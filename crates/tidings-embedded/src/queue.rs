//! What waits to be written to one partition: [`Queue`].

use crate::frames::{self, Frames};
use crate::lock::lock;
use crate::partition::Partition;
use std::collections::VecDeque;
use std::sync::Arc;
use tidings_core::{Message, Position, PublishError, Receipt, ReceiptGroup};
use tidings_log::{FrameBuilder, LogError};
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
    Packed(Packed),
    Single(Waiting),
    /// Everything before was written.
    Flushed(oneshot::Sender<()>),
    /// Its receipt was dropped while there was no room.
    Withdrawn,
}

/// Messages that stand in their frame already, as they will stand in the file: whoever published them has copied
/// them while they were in its processor's cache, and the writer has nothing left to do but to write.
#[derive(Debug)]
pub(crate) struct Packed {
    pub(crate) frame: FrameBuilder,
    /// One answer for all.
    pub(crate) receipts: ReceiptGroup,
    /// How much of the limit they take.
    pub(crate) bytes: usize,
}

/// A message beyond the limit. It belongs to its receipt as long as nobody has taken it.
#[derive(Debug)]
pub(crate) struct Waiting {
    pub(crate) message: Message,
    pub(crate) timestamp_ms: i64,
    answer: oneshot::Sender<Result<Position, PublishError>>,
}

impl Waiting {
    /// Tells the receipt.
    pub(crate) fn resolve(self, result: Result<Position, PublishError>) {
        // Nobody may be waiting any more.
        let _ = self.answer.send(result);
    }
}

/// What is written at once.
#[derive(Debug)]
pub(crate) enum Taken {
    Packed(Packed),
    Single(Waiting),
}

/// What a writer takes along.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    pub(crate) taken: Vec<Taken>,
    pub(crate) flushed: Vec<oneshot::Sender<()>>,
}

impl Queue {
    /// Leaves a message for whoever writes. Its memory counts as pending until it is written.
    pub(crate) fn push(
        &mut self,
        partition: &Partition,
        frames: &Frames,
        (timestamp_ms, message): (i64, &Message),
        bytes: usize,
    ) -> Receipt {
        let packed = match self.open(message) {
            Some(open) => open,
            None => self.begin(partition, frames),
        };
        // Also when it is refused: then it goes with the frame.
        packed.bytes += bytes;
        match frames::push(&mut packed.frame, timestamp_ms, message) {
            Ok(()) => packed.receipts.receipt(),
            Err(error) => Receipt::failed(too_large(partition, &error)),
        }
    }

    /// The frame that the message can still go into, if nothing came after it.
    fn open(&mut self, message: &Message) -> Option<&mut Packed> {
        match &mut self.items.back_mut()?.content {
            Content::Packed(packed) if frames::has_room(&packed.frame, message) => Some(packed),
            _ => None,
        }
    }

    fn begin(&mut self, partition: &Partition, frames: &Frames) -> &mut Packed {
        let place = self.items.len();
        self.add(Content::Packed(Packed {
            frame: frames.take(),
            receipts: ReceiptGroup::new(partition.topic.clone(), partition.index),
            bytes: 0,
        }));
        match self.items.get_mut(place) {
            Some(Item {
                content: Content::Packed(packed),
                ..
            }) => packed,
            _ => unreachable!("it was put there a moment ago"),
        }
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
        let (answer, receiver) = oneshot::channel();
        let ticket = self.add(Content::Single(Waiting {
            message,
            timestamp_ms,
            answer,
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
    pub(crate) fn take(&mut self) -> Batch {
        let mut batch = Batch::default();
        batch.taken.reserve(self.items.len());
        for item in self.items.drain(..) {
            match item.content {
                Content::Packed(packed) => batch.taken.push(Taken::Packed(packed)),
                Content::Single(waiting) => batch.taken.push(Taken::Single(waiting)),
                Content::Flushed(sender) => batch.flushed.push(sender),
                Content::Withdrawn => {}
            }
        }
        // A burst must not keep its memory for ever.
        self.items.shrink_to(64);
        batch
    }

    fn withdraw(&mut self, ticket: u64) {
        if let Ok(place) = self.items.binary_search_by_key(&ticket, |item| item.ticket)
            && let Some(item) = self.items.get_mut(place)
        {
            item.content = Content::Withdrawn;
        }
    }
}

/// A message beyond what any frame takes; such are refused before they come here.
fn too_large(partition: &Partition, error: &LogError) -> PublishError {
    PublishError::Unavailable {
        destination: partition.topic.clone(),
        reason: error.to_string(),
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

    fn payload_sizes(batch: &Batch) -> Vec<usize> {
        let sizes = batch.taken.iter().map(|taken| match taken {
            Taken::Packed(packed) => packed.frame.len(),
            Taken::Single(waiting) => waiting.message.size(),
        });
        sizes.collect()
    }

    #[test]
    fn a_message_beyond_the_limit_goes_with_its_receipt_and_keeps_its_place_otherwise() {
        let partition = Arc::new(Partition::new("orders".into(), 0));
        let frames = Frames::new(1 << 20);
        let third = Message::new("third");
        let (first, second, third) = {
            let mut queue = lock(&partition.queue);
            (
                queue.push_beyond(&partition, Message::new("first"), 0),
                queue.push_beyond(&partition, Message::new("second"), 0),
                queue.push(&partition, &frames, (0, &third), 5),
            )
        };
        drop(second);
        let batch = lock(&partition.queue).take();
        assert_eq!(
            payload_sizes(&batch),
            [5, 1],
            "the first alone, and a frame of one"
        );
        drop((first, third));
    }

    #[test]
    fn messages_share_a_frame_until_it_is_full_or_something_comes_between() {
        let partition = Arc::new(Partition::new("orders".into(), 0));
        let frames = Frames::new(1 << 20);
        let (small, large) = (Message::new("small"), Message::new(vec![0; frames::FRAME_BYTES]));
        let mut queue = lock(&partition.queue);
        let push = |queue: &mut Queue, message| drop(queue.push(&partition, &frames, (0, message), 1));
        for message in [&small, &small, &large, &small] {
            push(&mut queue, message);
        }
        let _flushed = queue.push_flush();
        push(&mut queue, &small);
        assert_eq!(payload_sizes(&queue.take()), [2, 1, 1, 1]);
    }
}
