//! The driver for RabbitMQ of Tidings.
//!
//! | in Tidings | on the server |
//! |---|---|
//! | destination | a durable topic exchange with its name, unless [`DestinationOptions`] say otherwise |
//! | group | a queue `{destination}.{group}`, which gets everything from the exchange; one instance reads it at a time |
//! | subscription without a group | an exclusive queue that goes with its connection |
//! | retry lane | a queue `{destination}.{group}.retry`, and one `….retry.{n}s` for each wait, from which it gets what is due |
//! | message for later | goes by queues `tidings.delay.{n}` that all destinations of a virtual host share |
//! | dead letters | an exchange `{destination}.DLT` for all groups, and a queue `{destination}.{group}.dlq` for each |
//! | request | a message with the address of a channel in `reply_to`, and a reply to that address (direct reply-to) |
//! | position | none: what is finished is acknowledged and gone |

mod background;
mod binder;
mod binder_sink;
mod connection;
mod delays;
mod destinations;
mod error;
mod group_queues;
mod layout;
mod letters;
mod message;
mod options;
mod requests;
mod retry;
mod sink;
mod source;
mod topology;
mod trouble;
mod waits;

pub use binder::RabbitBinder;
pub use error::RabbitError;
pub use options::{
    Auth, ClientOptions, DestinationOptions, ExchangeType, Overflow, QueueType, RoutingKey, WhenFull,
};
pub use sink::{RabbitSink, Route};
pub use source::RabbitSource;
