//! What a handler answers: [`Reply`].

use super::address::ReplyAddress;
use super::refusal;
use crate::codec::Encode;
use crate::delivery::Delivery;
use crate::event::Event;
use crate::failure::Failure;
use crate::message::Message;
use crate::names;
use crate::outcome::{IntoOutcome, Output, Outputs, Publishes};
use crate::publisher::{Inherited, Publisher};
use crate::sink::{Outgoing, PublishError};
use crate::spring;

/// The answer to a request: a handler returns it, and it goes where the message says that was handled.
///
/// It is published like everything that handlers return: before the message is finished, and with the same id when the
/// message is handled again. A message that asks for no reply is handled, and the reply goes nowhere; where the address
/// is gone it is dropped; both are counted. A handler whose type says that it replies also tells the requester when it
/// gives up.
///
/// ```
/// use tidings_core::{Failure, Json, Reply, on};
/// # use tidings_core::{Event, JsonCodec};
/// # #[derive(serde::Serialize, serde::Deserialize)] struct Ask { item: String }
/// # impl Event for Ask { const NAME: &'static str = "price.asked"; type Codec = JsonCodec; }
/// # #[derive(serde::Serialize, serde::Deserialize)] struct Price { cents: u64 }
/// # impl Event for Price { const NAME: &'static str = "price"; type Codec = JsonCodec; }
///
/// async fn price(Json(ask): Json<Ask>) -> Result<Reply<Price>, Failure> {
///     match ask.item.as_str() {
///         "tea" => Ok(Reply(Price { cents: 350 })),
///         _ => Err(Failure::permanent("no such item")), // the requester is told, and need not wait
///     }
/// }
///
/// let part = on("price-requests", price).group("prices");
/// # let _: tidings_core::Subscription<()> = part.into();
/// ```
///
/// A reply beside other outputs is `(Reply(answer), outputs)`, or [`Output::as_reply`] among [`Outputs`].
#[derive(Debug, Clone)]
pub struct Reply<E>(pub E);

impl<E> IntoOutcome for Reply<E>
where
    E: Event,
    E::Codec: Encode<E>,
{
    const PUBLISHES: Publishes = Publishes::Reply;

    fn into_outcome(self) -> Result<Outputs, Failure> {
        Ok(Outputs::None.and(Output::event(&self.0)?.as_reply()))
    }
}

/// The reply goes first.
impl<E> IntoOutcome for (Reply<E>, Outputs)
where
    E: Event,
    E::Codec: Encode<E>,
{
    const PUBLISHES: Publishes = Publishes::Reply;

    fn into_outcome(self) -> Result<Outputs, Failure> {
        let (reply, outputs) = self;
        let reply = reply.into_outcome()?;
        Ok(outputs.into_iter().fold(reply, Outputs::and))
    }
}

impl Publisher {
    /// Makes the reply to a request ready to be sent there, see [`prepare_output`](Self::prepare_output).
    ///
    /// # Errors
    /// It cannot be written.
    pub fn prepare_reply(
        &self,
        to: &ReplyAddress,
        output: Output,
        request: &Delivery,
        id: Option<&str>,
    ) -> Result<Outgoing, PublishError> {
        let (_, message, delay) = output.into_parts();
        Ok(Outgoing {
            destination: to.destination.clone(),
            partition: to.partition,
            message: self.answer(message, request, id)?,
            due: delay.map(|delay| self.clock().now().plus(delay)),
        })
    }

    /// Makes ready what tells a requester that its request was given up: for which reason, and with which error.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn prepare_refusal(
        &self,
        to: &ReplyAddress,
        request: &Delivery,
        (reason, error): (&str, &str),
        id: Option<&str>,
    ) -> Result<Outgoing, PublishError> {
        let mut message = self.answer(Message::default(), request, id)?;
        refusal::write(&mut message, &request.context().subscription, reason, error)?;
        Ok(Outgoing {
            partition: to.partition,
            ..Outgoing::new(to.destination.clone(), message)
        })
    }

    /// A message as the answer to another: it carries what that one is known by where it came from, and asks for no
    /// reply itself.
    fn answer(
        &self,
        mut message: Message,
        request: &Delivery,
        id: Option<&str>,
    ) -> Result<Message, PublishError> {
        let of_spring = request.headers().find_value(spring::CORRELATION);
        message.headers_mut().edit(|writer| {
            let writer = NOT_OF_ANSWERS
                .into_iter()
                .fold(writer, |writer, name| writer.remove(name));
            match of_spring {
                Some(correlation) => writer.append(spring::CORRELATION, correlation),
                None => writer,
            }
        })?;
        self.stamp(&mut message, Some(Inherited::from(request)), id)?;
        Ok(message)
    }
}

/// What a reply has from its request or not at all, also if it was made of a message that was received.
const NOT_OF_ANSWERS: [&str; 6] = [
    names::CORRELATION_ID,
    names::REPLY_TO,
    names::REPLY_PARTITION,
    spring::REPLY_TOPIC,
    spring::REPLY_PARTITION,
    spring::CORRELATION,
];
