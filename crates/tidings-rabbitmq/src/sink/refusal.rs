//! Why a message was not kept, in the words of a [`PublishError`].

use super::BROKER;
use super::entry::Entry;
use std::sync::Arc;
use std::time::Duration;
use tidings_core::PublishError;

pub(super) fn no_delay() -> PublishError {
    PublishError::Unsupported {
        broker: BROKER,
        feature: "publishing for later",
        cure: "publish by the binder's sink, which knows the way; or publish now",
    }
}

pub(super) fn no_room(destination: Arc<str>) -> PublishError {
    unavailable(
        destination,
        "as much is on its way as may be: await receipts before publishing more, or raise \"rabbitmq.max_in_flight\" \
         and \"rabbitmq.max_in_flight_bytes\"",
    )
}

/// The key and the headers go into one frame.
pub(crate) fn properties_too_large(destination: Arc<str>, size: usize, limit: usize) -> PublishError {
    PublishError::TooLarge {
        destination,
        size,
        limit,
    }
}

/// The server gave it back: no queue wants it.
pub(crate) fn unroutable(destination: Arc<str>, exchange: &str, routing_key: &str) -> PublishError {
    if exchange.is_empty() {
        return PublishError::UnknownDestination { destination };
    }
    PublishError::Unroutable {
        destination,
        reason: format!(
            "no queue is bound to the exchange \"{exchange}\" for the routing key \"{routing_key}\"; bind one, or set \
             rabbitmq.lose_unroutable_messages = true to have such messages dropped"
        ),
    }
}

pub(crate) fn nack(destination: Arc<str>) -> PublishError {
    unavailable(
        destination,
        "the server did not keep it (nack): a queue is full (overflow = reject-publish), or has lost its nodes",
    )
}

pub(super) fn closed(entry: &Entry) -> PublishError {
    if entry.sends == 0 {
        return PublishError::Closed;
    }
    let reason = "it was closed before the server answered; the message may have been published";
    unavailable(entry.target.destination.clone(), reason)
}

/// Its time is over.
pub(super) fn expired(entry: &Entry, after: Duration, trouble: Option<String>) -> PublishError {
    let destination = entry.target.destination.clone();
    if entry.sends > 0 {
        return PublishError::Timeout { destination, after };
    }
    let reason = trouble.unwrap_or_else(|| format!("the server did not take it within {after:?}"));
    unavailable(destination, reason)
}

pub(super) fn unavailable(destination: Arc<str>, reason: impl Into<String>) -> PublishError {
    PublishError::Unavailable {
        destination,
        reason: reason.into(),
    }
}
