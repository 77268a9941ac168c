//! What a [`Message`](tidings_core::Message) is in AMQP: [`write`], [`read`].
//!
//! | part of a message | in AMQP |
//! |---|---|
//! | payload | the body; none is an empty body with the header `tidings-tombstone` |
//! | key | the header `tidings-key` |
//! | timestamp | the property `timestamp` in seconds, and the header `timestamp_in_ms` |
//! | headers named in [`PROPERTIES`] | the property, where the value is one that the property can have |
//! | every other header | a header, as long string |
//!
//! An AMQP table has neither an order nor two equal names. So where that would lose something, `tidings-order` says which
//! header stood where, and `tidings-more` holds what a table cannot: second values of a name, names that are too long or
//! ours. Who reads by other means reads the first value of each name all the same.

mod foreign;
mod parts;
mod read;
mod write;

pub(crate) use parts::{ASKING, EXPIRATION, PUBLISH};
pub(crate) use read::read;
pub(crate) use write::{Written, write};

#[cfg(test)]
mod tests;
