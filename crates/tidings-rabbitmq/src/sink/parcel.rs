//! A message as it is handed to lapin: [`Parcel`].

use super::entry::Entry;
use crate::message::{Written, write};
use lapin::options::BasicPublishOptions;
use lapin::types::ShortString;
use lapin::{Channel, PublisherConfirm};

/// A message as it is handed to lapin.
pub(super) struct Parcel {
    /// Whether it is to come back if no queue wants it.
    mandatory: bool,
    exchange: ShortString,
    key: ShortString,
    written: Written,
}

impl Parcel {
    /// Where the server may give a message back, it carries its number.
    pub(super) fn of(entry: &Entry, mandatory: bool) -> Self {
        Self {
            mandatory: mandatory && !entry.target.is_address(),
            exchange: name(&entry.target.exchange),
            key: name(&entry.target.routing_key(&entry.message)),
            written: write(&entry.message, mandatory.then_some(entry.number)),
        }
    }

    pub(super) async fn publish(self, channel: &Channel) -> lapin::Result<PublisherConfirm> {
        let options = BasicPublishOptions {
            mandatory: self.mandatory,
            immediate: false,
        };
        let Written { properties, body } = self.written;
        let publishing = channel.basic_publish(self.exchange, self.key, options, &body, properties);
        publishing.await
    }
}

/// A name whose length was checked when it was accepted.
fn name(text: &str) -> ShortString {
    ShortString::try_new(text).unwrap_or_default()
}
