//! Services that talk through events.
//!
//! Write an `async fn`, name a channel, and get ordering by key, concurrency, retries, dead letters and a drain at the
//! end. It runs on an embedded durable log: no server to install.
//!
//! ```no_run
//! use serde::{Deserialize, Serialize};
//! use tidings::prelude::*;
//!
//! #[derive(Debug, Event, Serialize, Deserialize)]
//! #[event(name = "order.placed", key = "order")]
//! struct OrderPlaced {
//!     order: String,
//!     total: u64,
//! }
//!
//! #[derive(Debug, Event, Serialize, Deserialize)]
//! #[event(name = "payment.taken", key = "order")]
//! struct PaymentTaken {
//!     order: String,
//! }
//!
//! async fn charge(Json(placed): Json<OrderPlaced>) -> Result<PaymentTaken, Failure> {
//!     if placed.total == 0 {
//!         return Err(Failure::permanent("nothing to pay")); // never tried again: to the dead letters
//!     }
//!     Ok(PaymentTaken { order: placed.order }) // published to `payments` before the order is marked finished
//! }
//!
//! fn app() -> App {
//!     App::new("shop").add(
//!         on("orders", charge)
//!             .group("billing")
//!             .to("payments")
//!             .concurrency(16)
//!             .retry(Retry::exponential(3, secs(1), 2.0)),
//!     )
//! }
//!
//! #[tokio::main]
//! async fn main() -> Result<(), tidings::Error> {
//!     app().run(Config::builder()).await // reads tidings.toml; until SIGTERM or ctrl-C; then it drains
//! }
//! ```
//!
//! What is not a handler's answer to a message goes through a [`Publisher`]: an extractor in handlers and producers,
//! `Running::publisher` outside of them. The receipt resolves when the broker keeps the message.
//!
//! ```
//! use tidings::prelude::*;
//! # #[derive(Event, serde::Serialize, serde::Deserialize)]
//! # #[event(name = "order.placed", key = "order")]
//! # struct OrderPlaced { order: String }
//! # #[derive(Event, serde::Serialize, serde::Deserialize)]
//! # #[event(name = "reminder", key = "order")]
//! # struct Reminder { order: String }
//!
//! async fn remind(Json(placed): Json<OrderPlaced>, publisher: Publisher) -> Result<(), Failure> {
//!     let reminder = Reminder { order: placed.order };
//!     publisher.publish("reminders", &reminder).await?; // acknowledged: it survives the handler's failure
//!     publisher.to("reminders").delay(hours(24)).event(&reminder).await?; // and once more tomorrow
//!     Ok(())
//! }
//!
//! let app: App = App::new("shop")
//!     .publishes("reminders") // a channel that only a publisher writes is named here
//!     .add(on("orders", remind).group("reminder"));
//!
//! # async fn outside(app: App) -> Result<(), tidings::Error> {
//! let running = app.start(Config::builder()).await?;
//! running.publisher().publish("orders", &OrderPlaced { order: "o-1".into() }).await?;
//! # Ok(()) }
//! ```
//!
//! The same app in a test, with virtual time and a broker in memory: `tidings::test::TestApp`, with the feature `test`.
//!
//! - [`App`] is a value: parts made by [`on`], [`dead_letter`], [`every`] and [`from_stream`], [middleware](App::middleware),
//!   other apps.
//! - A handler's arguments are extractors ([`Json`], [`State`], [`Key`], …), its result is what it publishes.
//! - [`Config`] says where channels live and overrides every policy; [`Service::describe`] shows each value and where
//!   it comes from. A mistake in the wiring is reported at start with its place and its cure.

mod app;
mod binders;
mod channel;
mod configuration;
mod describe;
mod error;
mod health;
mod jobs;
mod part;
mod plan;
mod running;
mod service;
mod signal;
mod start;
#[cfg(feature = "test")]
pub mod test;
mod time;

pub use app::{App, Stateless};
pub use channel::Channel;
pub use configuration::IntoConfig;
pub use describe::{
    BinderDescription, ChannelDescription, Description, OutboxDescription, ProducerDescription,
    SubscriptionDescription, Value,
};
pub use error::{Error, WiringMistake};
pub use health::{Condition, Health, PartHealth};
pub use part::Part;
pub use running::{Drained, Running, Status};
pub use service::Service;
pub use signal::{Signal, shutdown_signal};
pub use time::{hours, millis, mins, secs};

pub use tidings_claims::{DirectoryClaims, Pruned};
pub use tidings_config::{BinderUrl, Config, ConfigBuilder, ConfigError, Origin, Secret, Section, Setting};
pub use tidings_core::{
    Ack, Attempt, Backlog, Backoff, Batch, BatchHandler, BatchItem, BatchOutcome, BatchPolicy, Binder,
    BinderError, BinderHealth, BytesCodec, Capabilities, Channels, Claim, ClaimError, ClaimStore, Cleanup,
    Clock, Codec, CodecError, Create, Database, DeadLetterHeaders, Decode, Delivery, DestinationInfo,
    DestinationSpec, Diagnosis, DynBinder, Encodable, Encode, EventKey, EventStream, Failure, FailureKind,
    FromContext, FromDelivery, Handler, HandlerContext, HandlerResult, Header, HeaderName, Headers,
    InboxError, InboxStore, InboxTransaction, IntoBatchOutcome, IntoOutcome, IntoSubscription, Job, Json,
    JsonCodec, Key, LaneInfo, LaneRole, Message, Middleware, Needs, Next, OptionalFromDelivery, Ordering,
    OutboxStatus, OutboxStore, Output, Outputs, PartitionPosition, Payload, Policy, Position, Producer,
    Publication, PublishError, Publisher, Publishes, Rate, Raw, Receipt, Record, RecordBatch, RelayRole,
    Reply, RequestError, RequestStatus, ResultExt, Retry, RetryBudget, RetryOrder, Start, State,
    Subscription, Text, TextCodec, Timestamp, To, dead_letter, every, from_stream, headers, names, on,
    partition_for_key, spring,
};
pub use tidings_core::{Event, FromRef};
#[cfg(feature = "embedded")]
pub use tidings_embedded as embedded;
#[cfg(feature = "kafka")]
pub use tidings_kafka as kafka;
pub use tidings_macros::{Event, FromRef, handler};
#[cfg(feature = "rabbitmq")]
pub use tidings_rabbitmq as rabbitmq;
pub use tidings_runtime::{
    DeadLetter, DrainReport, LaneStatus, Phase, ProducerHandle, ProducerStatus, RedriveError, RedriveMode,
    RedriveReport, ReplyStatus, Selection, SubscriptionHandle, SubscriptionStatus,
};
#[cfg(feature = "sql")]
pub use tidings_sql as sql;

/// What most services use.
pub mod prelude {
    pub use crate::{
        Ack, App, Attempt, Batch, BatchOutcome, Config, Delivery, Diagnosis, Event, Failure, FailureKind,
        FromRef, HandlerResult, Header, HeaderName, Headers, Json, Key, Message, Next, Ordering, Output,
        Outputs, Payload, Position, Publisher, Raw, Reply, RequestError, ResultExt, Retry, Start, State,
        Text, To, dead_letter, every, from_stream, hours, millis, mins, on, secs,
    };
}

/// What derived code names; not for use by hand.
#[doc(hidden)]
pub mod __private {
    pub use tidings_core::__private::*;
}

#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
struct Readme;
