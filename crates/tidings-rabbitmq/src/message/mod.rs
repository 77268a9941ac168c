//! What a [`Message`](tidings_core::Message) is in AMQP: [`write`], [`read_into`].
//!
//! | part of a message | in AMQP |
//! |---|---|
//! | payload | the body; none is an empty body with the header `tidings-tombstone` |
//! | key | the header `tidings-key` |
//! | timestamp | the property `timestamp` in seconds; what is below them, with the number of the publish, in `cluster_id` |
//! | headers named in [`PROPERTIES`] | the property, where the value is one that the property can have |
//! | every other header | a header, as long string |
//!
//! An AMQP table has neither an order nor two equal names. So where that would lose something, `tidings-order` says which
//! header stood where, and `tidings-more` holds what a table cannot: second values of a name, names that are too long or
//! ours. Who reads by other means reads the first value of each name all the same.

mod foreign;
mod mark;
mod note;
mod parts;
mod read;
mod write;

pub(crate) use mark::Mark;
pub(crate) use note::{NOTE, recounted};
pub(crate) use parts::{ASKING, DELAY, DELAY_QUEUE, EXPIRATION};
pub(crate) use read::{read, read_into};
pub(crate) use write::{Written, write};

#[cfg(test)]
mod tests;
