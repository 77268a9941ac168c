//! Sending a request and waiting for its reply: [`Publisher::request`].

use super::error::RequestError;
use super::refusal;
use crate::codec::{CodecError, Decode, Encode};
use crate::event::Event;
use crate::headers::HeaderWriter;
use crate::message::Message;
use crate::names;
use crate::publication::{Publication, added_to};
use crate::publisher::{Publisher, encode_event};
use crate::sink::PublishError;
use bytes::Bytes;
use std::time::Duration;

/// An event that can be sent: its codec writes it. Every [`Event`] is, whose codec does.
#[diagnostic::on_unimplemented(
    message = "`{Self}` can't be a request",
    label = "not an event that can be encoded",
    note = "add `#[derive(Event)]` to `{Self}`, and serde's `Serialize` for JSON"
)]
pub trait Encodable: Event {
    #[doc(hidden)]
    fn encoded(&self, headers: HeaderWriter, key: Option<Bytes>) -> Result<Message, PublishError>;
}

impl<E> Encodable for E
where
    E: Event,
    E::Codec: Encode<E>,
{
    fn encoded(&self, headers: HeaderWriter, key: Option<Bytes>) -> Result<Message, PublishError> {
        encode_event(self, headers, key)
    }
}

impl Publisher {
    /// Sends an event to a channel and waits for the reply: what the handler there returns as [`Reply`](super::Reply), or
    /// what a service that is none of ours sends to the address in the message.
    ///
    /// The request is an ordinary message, with an address for the reply and a correlation id of its own. It may be
    /// handled more than once, and also when nobody waits any more: `timeout` bounds the waiting, and nothing else. A
    /// reply that comes later is counted and thrown away. Of several replies the first one counts.
    ///
    /// ```
    /// use std::time::Duration;
    /// use tidings_core::{Publisher, RequestError};
    /// # use tidings_core::{Event, JsonCodec};
    /// # #[derive(serde::Serialize, serde::Deserialize)] struct Ask { item: String }
    /// # impl Event for Ask { const NAME: &'static str = "price.asked"; type Codec = JsonCodec; }
    /// # #[derive(serde::Serialize, serde::Deserialize)] struct Price { cents: u64 }
    /// # impl Event for Price { const NAME: &'static str = "price"; type Codec = JsonCodec; }
    ///
    /// async fn price_of(item: &str, publisher: &Publisher) -> Result<u64, RequestError> {
    ///     let ask = Ask { item: item.to_owned() };
    ///     let price: Price = publisher.request("price-requests", &ask, Duration::from_secs(5)).await?;
    ///     Ok(price.cents)
    /// }
    /// ```
    ///
    /// # Errors
    /// See [`RequestError`]. In the handler of an exactly-once subscription it is refused: the request would be sent when
    /// the handler has ended.
    ///
    /// # Cancel safety
    /// Dropping the future gives the request up; it may be handled all the same.
    pub async fn request<R>(
        &self,
        channel: &str,
        event: &impl Encodable,
        timeout: Duration,
    ) -> Result<R, RequestError>
    where
        R: Event,
        R::Codec: Decode<R>,
    {
        self.to(channel).request(event, timeout).await
    }
}

impl Publication<'_> {
    /// Sends an event as a request and waits for the reply, see [`Publisher::request`].
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use tidings_core::{Publisher, RequestError};
    /// # use tidings_core::{Event, JsonCodec};
    /// # #[derive(serde::Serialize, serde::Deserialize)] struct Ask { item: String }
    /// # impl Event for Ask { const NAME: &'static str = "price.asked"; type Codec = JsonCodec; }
    /// # #[derive(serde::Serialize, serde::Deserialize)] struct Price { cents: u64 }
    /// # impl Event for Price { const NAME: &'static str = "price"; type Codec = JsonCodec; }
    /// # async fn ask(ask: Ask, publisher: &Publisher) -> Result<Price, RequestError> {
    /// publisher
    ///     .to("price-requests")
    ///     .header("tenant", "acme")
    ///     .request::<Price>(&ask, Duration::from_secs(5))
    ///     .await
    /// # }
    /// ```
    ///
    /// # Errors
    /// As there.
    pub async fn request<R>(self, event: &impl Encodable, timeout: Duration) -> Result<R, RequestError>
    where
        R: Event,
        R::Codec: Decode<R>,
    {
        let channel = self.channel();
        let reply = self
            .ask(timeout, |headers, key| event.encoded(headers, key))
            .await?;
        decoded(&reply).map_err(|error| RequestError::Undecodable {
            channel: channel.to_owned(),
            found: reply.headers().get_str(names::TYPE).map(shortened),
            error,
        })
    }

    /// Sends a message as a request and waits for the message that is the reply; options given before are added to it.
    ///
    /// # Errors
    /// As [`Publisher::request`].
    pub async fn request_message(self, message: Message, timeout: Duration) -> Result<Message, RequestError> {
        self.ask(timeout, |headers, key| added_to(message, headers, key))
            .await
    }

    async fn ask(
        self,
        timeout: Duration,
        message: impl FnOnce(HeaderWriter, Option<Bytes>) -> Result<Message, PublishError>,
    ) -> Result<Message, RequestError> {
        let (publisher, channel) = (self.publisher(), self.channel());
        let (_, request) = self.prepare(message)?;
        if publisher.diverted().is_some() {
            return Err(PublishError::NoTransaction {
                destination: request.destination,
                reason: "a request within it would be sent at its end, and its reply come after that; ask outside of it, or let a subscription that is not exactly_once ask",
            }
            .into());
        }
        let requester = publisher.routes().requester(channel)?;
        let asked = tokio::time::timeout(timeout, requester.request(request)).await;
        let reply = asked.unwrap_or_else(|_| {
            Err(RequestError::TimedOut {
                channel: channel.to_owned(),
                after: timeout,
                obstacle: requester.status().obstacle,
            })
        })?;
        match refusal::read(&reply) {
            Some(refused) => Err(refused),
            None => Ok(reply),
        }
    }
}

fn decoded<R>(reply: &Message) -> Result<R, CodecError>
where
    R: Event,
    R::Codec: Decode<R>,
{
    if let Some(found) = reply.headers().get(names::CONTENT_TYPE) {
        CodecError::unless_read::<R::Codec>(found)?;
    }
    let payload = reply.payload().ok_or(CodecError::NoPayload)?;
    <R::Codec as Decode<R>>::decode(payload)
}

/// A name that somebody else has written, for an error of ours.
fn shortened(name: &str) -> String {
    name.chars().take(100).flat_map(char::escape_default).collect()
}
