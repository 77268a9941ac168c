//! The nouns and traits of Tidings.
//!
//! This crate knows no broker, opens no socket and no file. It has the words that everything else is made of:
//! [`Event`], [`Message`], [`Delivery`], [`Failure`], [`Policy`], the extractors and the [`Handler`] trait that they
//! make possible, and the seam to a broker: [`Binder`], [`Source`], [`Sink`].
//!
//! Applications use the crate `tidings`, which re-exports what they need. Drivers for brokers depend on this crate.

mod ack;
pub mod amqp;
mod binder;
mod blocks;
mod claim;
mod clock;
mod codec;
mod collected;
mod delivery;
mod diagnosis;
mod event;
mod extract;
mod failure;
mod gate;
mod group_queue;
mod handler;
pub mod headers;
mod held;
mod hexadecimal;
mod inbox;
mod layer;
mod locks;
mod marks;
mod message;
mod middleware;
pub mod names;
mod outbox;
mod outcome;
mod pace;
mod partition;
mod policy;
mod producer;
mod publication;
mod publisher;
mod receipts;
mod records;
mod requests;
mod retry;
mod sink;
mod sole;
mod source;
mod source_layer;
pub mod spring;
mod stamped;
mod subscription;
mod trace;
mod transaction;
mod when_full;

pub use ack::{Ack, AckDecision, AckWaiter};
pub use binder::{
    Binder, BinderError, BinderHealth, Capabilities, Cleanup, Create, DestinationInfo, DestinationRole,
    DestinationSpec, DynBinder, GroupInfo, GroupPosition, PartitionPosition,
};
pub use blocks::{RECEIPTS_PER_BLOCK, ReceiptBlock};
pub use claim::{Claim, ClaimError, ClaimStore};
pub use clock::Clock;
pub use codec::{BytesCodec, Codec, CodecError, Decode, Encode, JsonCodec, TextCodec};
pub use collected::Collected;
pub use delivery::{Delivery, HandlerContext, LaneInfo, LaneRole, Origin};
pub use diagnosis::Diagnosis;
pub use event::{Event, EventKey};
pub use extract::{
    Attempt, Batch, BatchItem, FromContext, FromDelivery, FromRef, Header, HeaderName, Headers, Json, Key,
    Needs, OptionalFromDelivery, Payload, Raw, State, Text,
};
pub use failure::{Failure, FailureKind, ResultExt};
pub use gate::{Gate, GateMember, Passage};
pub use group_queue::GroupQueue;
pub use handler::{
    BatchHandler, ErasedHandler, Filter, Handler, HandlerKind, HandlerResult, Outlet, Sequence,
    SequenceControl, SequenceEnd,
};
pub use held::{HeldLetter, HeldLetters, LettersOf};
pub use inbox::{Database, Inbox, InboxError, InboxId, InboxStore, InboxTransaction, MAX_INBOX_ID_BYTES};
pub use layer::{BinderLayer, Layered};
pub use locks::{Lease, LockError, LockRequest, LockStore, MAX_LOCK_NAME, MemoryLocks};
pub use marks::{
    Activity, Company, Deaths, LaneMarks, Mark, MarkBoard, MarkCell, MarkMemory, MarkStamp, Marked,
};
pub use message::{Message, Position, Timestamp};
pub use middleware::{Invoke, Middleware, Next, layered};
pub use outbox::{
    AtWork, Backlog, OutboxRelay, OutboxStatus, OutboxStore, OutboxWatch, RelayRole, RelayStart,
};
pub use outcome::{BatchOutcome, IntoBatchOutcome, IntoOutcome, Output, Outputs, Publishes, To};
pub use pace::Pace;
pub use partition::{murmur2, partition_for_key};
pub use policy::{
    Alone, BatchPolicy, DeadLetterHeaders, Ordering, Policy, PolicyChanges, Rate, RetryOrder,
    retry_destination,
};
pub use producer::{
    ErasedStream, EventStream, Job, OpenStream, PollJob, Producer, Production, every, from_stream,
};
pub use publication::Publication;
pub use publisher::{Publisher, Route, Routes};
pub use receipts::ReceiptGroup;
pub use records::{BatchBuilder, Epoch, LaneId, Record, RecordBatch, Span};
pub use requests::{
    Encodable, OpenRequest, OpenRequests, REPLY_SUFFIX, Reply, ReplyAddress, ReplyPath, ReplyRule,
    RequestError, RequestStatus, Requester,
};
pub use retry::{Backoff, Classifier, MAX_BACKOFF, Retry, RetryBudget};
pub use sink::{Outgoing, PublishError, Receipt, ReceiptSender, Sink};
pub use sole::SoleSink;
pub use source::{
    Assignment, DynSource, Guarantee, Progress, Source, SourceError, SourceEvent, SourceInput, SourceSpec,
    Start, Transaction, is_chosen,
};
pub use source_layer::{LayeredSource, SourceLayer};
pub use subscription::{
    Channels, IntoSubscription, One, Reads, Several, Subscription, SubscriptionParts, dead_letter, on,
};
pub use transaction::SinkTransaction;
pub use when_full::WhenFull;

/// A boxed future that may be sent to another thread.
pub type BoxFuture<'a, T> = std::pin::Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// What derived code names; not for use by hand.
#[doc(hidden)]
pub mod __private {
    pub use bytes::Bytes;
}
