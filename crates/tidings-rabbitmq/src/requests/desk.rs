//! A channel that asks and is answered: [`Desk`].

use crate::connection::{Link, Live, PATIENCE};
use crate::message::{ASKING, Written, write};
use crate::options::ClientOptions;
use crate::sink::{FRAME, exchange_is_there, nack, properties_too_large, unroutable};
use crate::trouble::Trouble;
use lapin::Confirmation;
use lapin::options::{BasicConsumeOptions, BasicPublishOptions, ConfirmSelectOptions};
use lapin::types::{FieldTable, ShortString};
use lapin::{Channel, Consumer, Error};
use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use tidings_core::{Message, OpenRequests, PublishError, RequestError, SourceError};
use tokio::time::timeout;

/// What the address takes in the properties.
const ADDRESS: usize = 1 + ASKING.len();

/// A channel with a consumer of what is replied to the requests that are published on it.
#[derive(Debug)]
pub(super) struct Desk {
    pub(super) live: Arc<Live>,
    channel: Channel,
    /// Addresses of another one are others.
    pub(super) way: u64,
    /// Exchanges that are known to be there.
    exchanges: Mutex<HashSet<Arc<str>>>,
}

/// Where a request goes.
#[derive(Debug)]
pub(super) struct Envelope {
    pub(super) destination: Arc<str>,
    pub(super) exchange: Arc<str>,
    pub(super) routing_key: String,
}

impl Desk {
    pub(super) async fn open(
        link: &Link,
        options: &ClientOptions,
        way: u64,
    ) -> Result<(Self, Consumer), SourceError> {
        let opened = timeout(PATIENCE, async {
            let live = link.live().await?;
            let opening = async {
                let channel = live.connection.create_channel().await?;
                channel.confirm_select(ConfirmSelectOptions::default()).await?;
                let without_acks = BasicConsumeOptions {
                    no_ack: true,
                    ..BasicConsumeOptions::default()
                };
                let tag = ShortString::default();
                let consumer = channel
                    .basic_consume(ASKING.into(), tag, without_acks, FieldTable::default())
                    .await?;
                Ok((channel, consumer))
            };
            let (channel, consumer) = opening.await.map_err(|error: Error| SourceError::Unavailable {
                reason: Trouble::of(&error, options.auth()).to_string(),
            })?;
            let desk = Self {
                live,
                channel,
                way,
                exchanges: Mutex::default(),
            };
            Ok((desk, consumer))
        });
        opened.await.unwrap_or_else(|_| Err(link.silent()))
    }

    /// Makes sure that an exchange is there: a publish to a missing one would take the channel with it, and all addresses.
    pub(super) async fn find(&self, to: &Envelope) -> Result<(), PublishError> {
        let known = || self.exchanges.lock().unwrap_or_else(PoisonError::into_inner);
        if to.exchange.is_empty() || known().contains(&to.exchange) {
            return Ok(());
        }
        match exchange_is_there(&self.live, &to.exchange).await {
            Ok(true) => {
                known().insert(to.exchange.clone());
                Ok(())
            }
            Ok(false) => Err(PublishError::UnknownDestination {
                destination: to.destination.clone(),
            }),
            Err(error) => Err(PublishError::Unavailable {
                destination: to.destination.clone(),
                reason: error.to_string(),
            }),
        }
    }

    /// Publishes a request of that id, and tells whoever waits if it reaches no queue.
    pub(super) async fn publish(&self, to: Envelope, message: Message, id: &str, open: &OpenRequests) {
        let (size, limit) = (
            Written::header_bytes(&message) + ADDRESS,
            self.live.frame_max().saturating_sub(FRAME),
        );
        if size > limit {
            let refused = properties_too_large(to.destination, size, limit);
            open.fail(id, RequestError::NotPublished(refused));
            return;
        }
        let written = write(&message, None);
        let properties = written.properties.with_reply_to(ASKING.into());
        let options = BasicPublishOptions {
            mandatory: true,
            immediate: false,
        };
        let (exchange, key) = (short(&to.exchange), short(&to.routing_key));
        let published = async {
            let publishing = self
                .channel
                .basic_publish(exchange, key, options, &written.body, properties);
            publishing.await?.await
        };
        // If the channel is at its end, all that wait for it are told so where it is read.
        let Ok(confirmation) = published.await else {
            return;
        };
        if !confirmation.is_ack() {
            let refused = RequestError::NotPublished(nack(to.destination.clone()));
            open.fail(id, refused);
        }
        tell_of_return(confirmation, &to, id, open);
    }
}

/// lapin hands a message that came back to any of the requests that were confirmed together: whose it is says its id.
fn tell_of_return(confirmation: Confirmation, to: &Envelope, id: &str, open: &OpenRequests) {
    let Some(returned) = confirmation.take_message() else {
        return;
    };
    let (exchange, key) = (returned.exchange.as_str(), returned.routing_key.as_str());
    let of = returned.properties.correlation_id();
    let of = of.as_ref().map_or("", ShortString::as_str);
    let destination: Arc<str> = match (of == id, exchange) {
        (true, _) => to.destination.clone(),
        (false, "") => key.into(),
        (false, exchange) => exchange.into(),
    };
    open.fail(
        of,
        RequestError::NotPublished(unroutable(destination, exchange, key)),
    );
}

/// Names were checked for their length.
fn short(name: &str) -> ShortString {
    ShortString::try_new(name).unwrap_or_default()
}
