//! Names of the headers that Tidings writes and reads.
//!
//! The first group is for everybody: other systems may write and read them. The second group, everything that starts
//! with [`CONTROL_PREFIX`], steers Tidings itself. It is removed from whatever is published from outside, is believed
//! only where Tidings is the only writer, and is range-checked even there.

/// The id of the message, by default a UUID of version 7. It stays the same through retries and redrive.
pub const MESSAGE_ID: &str = "message-id";
/// The name of the event, for example `order.placed`.
pub const TYPE: &str = "type";
/// The version of the event's shape, a decimal number; absent means 1.
pub const VERSION: &str = "type-version";
/// The media type of the payload, for example `application/json`.
pub const CONTENT_TYPE: &str = "content-type";
/// What belongs together: a message that a handler publishes has the correlation id of the message it handled.
pub const CORRELATION_ID: &str = "correlation-id";
/// The id of the message whose handling published this one.
pub const CAUSATION_ID: &str = "causation-id";
/// Requests: the destination that the reply goes to, or whatever the broker takes for its address. Replies carry the
/// [`CORRELATION_ID`] of their request, or else its [`MESSAGE_ID`] there.
pub const REPLY_TO: &str = "reply-to";
/// Requests: the partition of that destination, a decimal number.
pub const REPLY_PARTITION: &str = "reply-partition";
/// W3C trace context, level 1: `version-trace_id-parent_id-flags`.
pub const TRACEPARENT: &str = "traceparent";
/// W3C trace context: what tracing systems add.
pub const TRACESTATE: &str = "tracestate";

/// Every header that steers Tidings starts with this.
pub const CONTROL_PREFIX: &str = "tidings-";

/// Retry lane: how often the message was delivered before it was parked, a decimal number.
pub const ATTEMPTS: &str = "tidings-attempts";
/// Retry lane and delayed messages: when the message is due, milliseconds since 1970 as a decimal number.
pub const DUE: &str = "tidings-due";
/// Retry lane and dead letters: the destination that the message was first published to.
pub const ORIGIN_DESTINATION: &str = "tidings-origin-destination";
/// Retry lane and dead letters: the partition there.
pub const ORIGIN_PARTITION: &str = "tidings-origin-partition";
/// Retry lane and dead letters: the offset there.
pub const ORIGIN_OFFSET: &str = "tidings-origin-offset";
/// Retry lane and dead letters: the timestamp there, milliseconds since 1970.
pub const ORIGIN_TIMESTAMP: &str = "tidings-origin-timestamp";
/// How often the message was sent back from the dead letters, a decimal number.
pub const REDRIVES: &str = "tidings-redrives";
/// Retry lane and dead letters: when handling failed for the first time, milliseconds since 1970.
pub const FIRST_FAILURE: &str = "tidings-first-failure";
/// When a person changed the payload on its way back from the dead letters, milliseconds since 1970.
pub const EDITED: &str = "tidings-edited";
/// Dead letters: when handling failed for the last time, milliseconds since 1970.
pub const LAST_FAILURE: &str = "tidings-last-failure";
/// Dead letters: the group whose handler gave up.
pub const GROUP: &str = "tidings-group";
/// Dead letters and replies to requests that were given up: the subscription whose handler gave up.
pub const SUBSCRIPTION: &str = "tidings-subscription";
/// Dead letters: the handler that gave up, its type name.
pub const HANDLER: &str = "tidings-handler";
/// Dead letters and replies to requests that were given up: why, one of `permanent`, `exhausted`, `undecodable`, `unclaimed`, `rejected`, `killed`.
pub const REASON: &str = "tidings-reason";
/// Dead letters and replies to requests that were given up: the chain of errors, outermost first, bounded.
pub const ERROR: &str = "tidings-error";

/// Where the payload is if it was too large to travel: see [`Claim`](crate::Claim). It belongs to the message and stays
/// with it in the retry lane and among the dead letters.
pub const CLAIM: &str = "tidings-claim";

/// Whether a header of that name is the engine's own: it steers, or it is the diagnosis of a dead letter, in our words or
/// in [Spring's](crate::spring). What the engine adds is not counted against a broker's limit of message size.
pub fn is_added(name: &str) -> bool {
    is_control(name) || crate::spring::is_diagnosis(name)
}

/// Whether a header of that name steers Tidings and must not be believed when it comes from outside.
pub fn is_control(name: &str) -> bool {
    name.get(..CONTROL_PREFIX.len())
        .is_some_and(|start| start.eq_ignore_ascii_case(CONTROL_PREFIX))
}
