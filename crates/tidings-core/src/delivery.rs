//! A message as it reaches a handler: [`Delivery`].

use crate::ack::{Ack, AckWaiter};
use crate::clock::Clock;
use crate::headers::HeaderView;
use crate::message::{Message, Position, Timestamp};
use crate::names;
use crate::publisher::Publisher;
use crate::records::{Record, RecordBatch};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

/// What all deliveries of one subscription share.
#[derive(Debug)]
pub struct HandlerContext {
    /// The name of the app.
    pub app: Arc<str>,
    /// The name of the subscription.
    pub subscription: Arc<str>,
    /// The group; none for an anonymous subscription.
    pub group: Option<Arc<str>>,
    /// Publishes to the app's channels.
    pub publisher: Publisher,
    /// What time it is.
    pub clock: Clock,
}

impl HandlerContext {
    /// The same with another publisher.
    #[must_use]
    pub fn with_publisher(&self, publisher: Publisher) -> Self {
        Self {
            app: self.app.clone(),
            subscription: self.subscription.clone(),
            group: self.group.clone(),
            publisher,
            clock: self.clock,
        }
    }

    /// The transaction of an inbox that this handling works in, if it is of that type: what
    /// [`InboxTransaction::shared`](crate::InboxTransaction::shared) gave.
    pub fn transaction<T: Send + Sync + 'static>(&self) -> Option<Arc<T>> {
        // The publisher carries it, because what it sends is part of the same transaction.
        let transaction = self.publisher.transaction_within()?.clone();
        transaction.downcast().ok()
    }
}

/// What a lane holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LaneRole {
    /// Messages as they were published.
    Main,
    /// Messages of one group that wait for a later attempt, or were sent back from the dead letters.
    Retry,
}

/// Where a lane's messages come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LaneInfo {
    /// The destination.
    pub destination: Arc<str>,
    /// The partition in it.
    pub partition: u32,
    /// What it holds.
    pub role: LaneRole,
}

/// Where a message in the retry lane was first published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// The position there.
    pub position: Position,
    /// The timestamp there.
    pub timestamp: Timestamp,
    /// How often it was sent back from the dead letters.
    pub redrives: u32,
    /// When handling failed for the first time.
    pub first_failure: Option<Timestamp>,
}

/// A message as it reaches a handler: the message, where it is, and which attempt this is.
///
/// Cloning is cheap. `Debug` prints no contents.
#[derive(Clone)]
pub struct Delivery {
    batch: Arc<RecordBatch>,
    index: usize,
    attempt: u32,
    shared: Arc<Shared>,
    origin: Option<Arc<Origin>>,
    ack: Option<Arc<Mutex<Option<AckWaiter>>>>,
}

/// What the deliveries of a lane have in common: one reference count to touch for each clone instead of two.
struct Shared {
    lane: Arc<LaneInfo>,
    context: Arc<HandlerContext>,
}

impl Delivery {
    /// The delivery of record `index` of a batch, as attempt 1.
    ///
    /// # Panics
    /// If the batch has no such record: that is a mistake of the engine, not of a message.
    pub fn new(
        batch: Arc<RecordBatch>,
        index: usize,
        lane: Arc<LaneInfo>,
        context: Arc<HandlerContext>,
    ) -> Self {
        assert!(
            index < batch.len(),
            "record {index} of a batch of {}",
            batch.len()
        );
        Self {
            batch,
            index,
            attempt: 1,
            shared: Arc::new(Shared { lane, context }),
            origin: None,
            ack: None,
        }
    }

    /// The same lane and context, another record of the same batch.
    ///
    /// # Panics
    /// As [`Delivery::new`].
    #[inline]
    pub fn move_to(&mut self, index: usize) {
        assert!(
            index < self.batch.len(),
            "record {index} of a batch of {}",
            self.batch.len()
        );
        self.index = index;
    }

    /// The same delivery, its record being that one of another batch.
    ///
    /// # Panics
    /// As [`Delivery::new`].
    #[must_use]
    pub fn in_batch(&self, batch: Arc<RecordBatch>, index: usize) -> Self {
        let mut moved = Self {
            batch,
            ..self.clone()
        };
        moved.move_to(index);
        moved
    }

    /// The same delivery, with something else to share.
    #[must_use]
    pub fn with_context(mut self, context: Arc<HandlerContext>) -> Self {
        let lane = self.shared.lane.clone();
        self.shared = Arc::new(Shared { lane, context });
        self
    }

    /// As that attempt.
    #[must_use]
    pub fn with_attempt(mut self, attempt: u32) -> Self {
        self.attempt = attempt;
        self
    }

    /// As a message that was first published elsewhere.
    #[must_use]
    pub fn with_origin(mut self, origin: Arc<Origin>) -> Self {
        self.origin = Some(origin);
        self
    }

    /// Makes this the delivery of that attempt.
    pub fn set_attempt(&mut self, attempt: u32) {
        self.attempt = attempt;
    }

    /// With a place for a manual acknowledgement.
    #[must_use]
    pub fn with_manual_ack(mut self) -> Self {
        self.ack = Some(Arc::new(Mutex::new(None)));
        self
    }

    /// Hands out the manual acknowledgement; nothing if this subscription does not have one or it was taken.
    pub fn take_ack(&self) -> Option<Ack> {
        let mut slot = self.ack.as_ref()?.lock().unwrap_or_else(PoisonError::into_inner);
        if slot.is_some() {
            return None;
        }
        let (ack, waiter) = Ack::pair();
        *slot = Some(waiter);
        Some(ack)
    }

    /// The engine's side of a manual acknowledgement that a handler took.
    #[inline]
    pub fn take_ack_waiter(&self) -> Option<AckWaiter> {
        self.ack
            .as_ref()?
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
    }

    #[inline]
    fn record(&self) -> &Record {
        // `new` and `move_to` checked the index, and a batch never changes.
        self.batch
            .records()
            .get(self.index)
            .expect("the index was checked")
    }

    /// The batch that it came in.
    #[inline]
    pub fn batch(&self) -> &Arc<RecordBatch> {
        &self.batch
    }

    /// Which record of its batch it is.
    #[inline]
    pub fn index(&self) -> usize {
        self.index
    }

    /// The key.
    #[inline]
    pub fn key(&self) -> Option<&[u8]> {
        self.batch.key(self.record())
    }

    /// The payload; none is a tombstone.
    #[inline]
    pub fn payload(&self) -> Option<&[u8]> {
        self.batch.payload(self.record())
    }

    /// The payload, sharing the memory of its batch.
    #[inline]
    pub fn payload_bytes(&self) -> Option<bytes::Bytes> {
        self.batch.payload_bytes(self.record())
    }

    /// The key, sharing the memory of its batch.
    #[inline]
    pub fn key_bytes(&self) -> Option<bytes::Bytes> {
        self.batch.key_bytes(self.record())
    }

    /// The headers.
    #[inline]
    pub fn headers(&self) -> HeaderView<'_> {
        self.batch.headers(self.record())
    }

    /// One header if it is there and UTF-8.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers().find_str(name)
    }

    /// The whole message, sharing the memory of its batch.
    pub fn message(&self) -> Message {
        self.batch.message(self.record())
    }

    /// Bytes of key, payload and headers together.
    #[inline]
    pub fn size(&self) -> usize {
        let record = self.record();
        let spans = [record.key, Some(record.headers), record.payload];
        spans.iter().flatten().map(|span| span.len as usize).sum()
    }

    /// When the message was published.
    pub fn timestamp(&self) -> Timestamp {
        self.origin
            .as_ref()
            .map_or(self.record().timestamp, |origin| origin.timestamp)
    }

    /// Which attempt this is, from 1.
    pub fn attempt(&self) -> u32 {
        self.attempt
    }

    /// The message's id; other systems may not have given one.
    pub fn message_id(&self) -> Option<&str> {
        self.header(names::MESSAGE_ID)
    }

    /// Where the message was first published, also when it is delivered again from the retry lane.
    pub fn position(&self) -> Position {
        self.origin
            .as_ref()
            .map_or_else(|| self.lane_position(), |origin| origin.position.clone())
    }

    /// Where the message lies now: the same as [`position`](Self::position), or its place in the retry lane.
    pub fn lane_position(&self) -> Position {
        Position::new(
            self.shared.lane.destination.clone(),
            self.shared.lane.partition,
            self.record().offset,
        )
    }

    /// The offset in its lane.
    #[inline]
    pub fn lane_offset(&self) -> u64 {
        self.record().offset
    }

    /// The lane that it came by.
    #[inline]
    pub fn lane(&self) -> &Arc<LaneInfo> {
        &self.shared.lane
    }

    /// Where it was first published if it came by the retry lane.
    pub fn origin(&self) -> Option<&Origin> {
        self.origin.as_deref()
    }

    /// The subscription that it is delivered to.
    #[inline]
    pub fn context(&self) -> &Arc<HandlerContext> {
        &self.shared.context
    }
}

impl fmt::Debug for Delivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Delivery")
            .field("subscription", &self.shared.context.subscription)
            .field("position", &format_args!("{}", self.position()))
            .field("attempt", &self.attempt)
            .field("payload_bytes", &self.payload().map(<[u8]>::len))
            .finish()
    }
}
