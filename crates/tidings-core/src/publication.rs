//! One message on its way to a channel, with options: [`Publication`].

use crate::codec::Encode;
use crate::event::Event;
use crate::headers::HeaderWriter;
use crate::message::{Message, Timestamp};
use crate::publisher::{Publisher, encode_event};
use crate::sink::{Outgoing, PublishError, Receipt, Sink};
use std::sync::Arc;
use std::time::Duration;

/// One message on its way to a channel, with options.
#[derive(Debug)]
#[must_use = "nothing is sent until `event` or `message` is called"]
pub struct Publication<'a> {
    publisher: &'a Publisher,
    channel: &'a str,
    partition: Option<u32>,
    due: Option<Timestamp>,
    headers: HeaderWriter,
    key: Option<bytes::Bytes>,
}

impl<'a> Publication<'a> {
    /// To that channel.
    pub(crate) fn new(publisher: &'a Publisher, channel: &'a str) -> Self {
        Self {
            publisher,
            channel,
            partition: None,
            due: None,
            headers: HeaderWriter::default(),
            key: None,
        }
    }

    /// With this key in place of the event's own.
    pub fn key(mut self, key: impl Into<bytes::Bytes>) -> Self {
        self.key = Some(key.into());
        self
    }

    /// With a header. Names that start with `tidings-` steer the engine and are removed.
    pub fn header(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.headers = self.headers.set(name, value);
        self
    }

    /// To that partition, whatever the key.
    pub fn partition(mut self, partition: u32) -> Self {
        self.partition = Some(partition);
        self
    }

    /// Delivered no earlier than after that time.
    pub fn delay(self, delay: Duration) -> Self {
        let due = self.publisher.clock().now().plus(delay);
        self.at(due)
    }

    /// Delivered no earlier than at that time.
    pub fn at(mut self, due: Timestamp) -> Self {
        self.due = Some(due);
        self
    }

    /// Sends an event.
    pub fn event<E>(self, event: &E) -> Receipt
    where
        E: Event,
        E::Codec: Encode<E>,
    {
        match self.prepare(|headers, key| encode_event(event, headers, key)) {
            Ok((sink, outgoing)) => sink.publish(outgoing),
            Err(error) => Receipt::failed(error),
        }
    }

    /// Sends a message as it is; options given before are added to it.
    pub fn message(self, message: Message) -> Receipt {
        match self.prepare(|headers, key| added_to(message, headers, key)) {
            Ok((sink, outgoing)) => sink.publish(outgoing),
            Err(error) => Receipt::failed(error),
        }
    }

    /// The channel that it goes to.
    pub(crate) fn channel(&self) -> &'a str {
        self.channel
    }

    /// Who sends it.
    pub(crate) fn publisher(&self) -> &'a Publisher {
        self.publisher
    }

    /// Where it goes, and the message with everything that it carries.
    pub(crate) fn prepare(
        self,
        message: impl FnOnce(HeaderWriter, Option<bytes::Bytes>) -> Result<Message, PublishError>,
    ) -> Result<(&'a Arc<dyn Sink>, Outgoing), PublishError> {
        let route = self.publisher.routes().get(self.channel)?;
        let mut message = message(self.headers, self.key)?;
        self.publisher.stamp(&mut message, None, None)?;
        let outgoing = Outgoing {
            destination: route.destination.clone(),
            partition: self.partition,
            message,
            due: self.due,
        };
        Ok((self.publisher.sink_of(route), outgoing))
    }
}

/// The message with these headers, and this key if there is one.
pub(crate) fn added_to(
    message: Message,
    headers: HeaderWriter,
    key: Option<bytes::Bytes>,
) -> Result<Message, PublishError> {
    let extra = headers.finish()?;
    let mut message = if key.is_some() {
        message.with_optional_key(key)
    } else {
        message
    };
    if !extra.is_empty() {
        message
            .headers_mut()
            .edit(|writer| extra.iter().fold(writer, |w, (name, value)| w.set(name, value)))?;
    }
    Ok(message)
}
