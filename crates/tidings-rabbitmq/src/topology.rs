//! Exchanges and queues, declared and asked for: [`Topology`].

use crate::connection::{Link, PATIENCE};
use crate::letters::{letters_key, letters_queue};
use crate::options::{ClientOptions, QueueType};
use crate::trouble::{Kind, Trouble};
use lapin::options::{ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable, ShortString};
use lapin::{Channel, ExchangeKind};
use std::sync::Arc;
use std::time::Duration;
use tidings_core::{BinderError, Create, SourceError};
use tokio::time::timeout;

/// The longest name that the protocol carries.
const LONGEST: usize = 255;
const NOT_FOUND: u16 = 404;

/// A queue as it is to be.
#[derive(Debug, Clone)]
pub(crate) struct QueueSpec {
    pub(crate) name: Arc<str>,
    pub(crate) create: Create,
    pub(crate) arguments: FieldTable,
    /// It belongs to one connection, and goes with it.
    pub(crate) exclusive: bool,
    /// The exchange whose messages it gets.
    pub(crate) bound_to: Option<Binding>,
    /// Where what the server gives up of it goes, made before it.
    pub(crate) letters: Option<Box<Self>>,
}

/// From which exchange a queue gets messages.
#[derive(Debug, Clone)]
pub(crate) struct Binding {
    pub(crate) exchange: Arc<str>,
    /// What their routing keys look like; `#` is any.
    pub(crate) pattern: Arc<str>,
}

impl Binding {
    /// Everything that is published there.
    pub(crate) fn all_of(exchange: &Arc<str>) -> Self {
        Self::keyed(exchange, "#")
    }

    pub(crate) fn keyed(exchange: &Arc<str>, pattern: &str) -> Self {
        Self {
            exchange: exchange.clone(),
            pattern: pattern.into(),
        }
    }
}

/// Declares and asks.
#[derive(Debug)]
pub(crate) struct Topology {
    link: Arc<Link>,
    options: Arc<ClientOptions>,
}

impl Topology {
    pub(crate) fn new(link: Arc<Link>, options: Arc<ClientOptions>) -> Self {
        Self { link, options }
    }

    /// The arguments of a queue for messages of a group: what the server gives up by itself goes there.
    pub(crate) fn arguments(&self, dead_letters: &Binding) -> FieldTable {
        let consuming = self.options.consuming();
        let mut table = self.kept();
        let mut put = |name: &str, value| {
            table.insert(name.into(), value);
        };
        if consuming.single_active_consumer {
            put("x-single-active-consumer", AMQPValue::Boolean(true));
        }
        put("x-dead-letter-exchange", text(&dead_letters.exchange));
        put("x-dead-letter-routing-key", text(&dead_letters.pattern));
        if let (QueueType::Quorum, Some(limit)) = (consuming.queue_type, consuming.delivery_limit) {
            put("x-delivery-limit", AMQPValue::LongLongInt(limit.into()));
        }
        table
    }

    /// A queue in which messages lie until somebody takes them.
    pub(crate) fn lying(&self, name: impl Into<Arc<str>>, create: Create) -> QueueSpec {
        QueueSpec {
            name: name.into(),
            create,
            arguments: self.kept(),
            exclusive: false,
            bound_to: None,
            letters: None,
        }
    }

    /// The queue in which the dead letters of a group lie, which it gets from that exchange.
    ///
    /// Letters are looked at by handing them over and giving them back, which a quorum queue counts as a failed delivery.
    /// Without a limit of its own, RabbitMQ 4 drops a letter that was looked at twenty times; no limit at all cannot be
    /// said to older servers (3.10 takes -1, and drops what comes back once). So it is one that nobody reaches.
    pub(crate) fn letters(
        &self,
        destination: &str,
        group: &str,
        exchange: &Arc<str>,
        create: Create,
    ) -> QueueSpec {
        let mut arguments = self.kept();
        if self.options.consuming().queue_type == QueueType::Quorum {
            arguments.insert("x-delivery-limit".into(), AMQPValue::LongLongInt(i32::MAX.into()));
        }
        QueueSpec {
            arguments,
            bound_to: Some(Binding::keyed(
                exchange,
                &letters_key(exchange, destination, group),
            )),
            ..self.lying(letters_queue(destination, group), create)
        }
    }

    fn kept(&self) -> FieldTable {
        let mut table = FieldTable::default();
        let kind = self.options.consuming().queue_type.as_str();
        table.insert("x-queue-type".into(), text(kind));
        table
    }

    /// The arguments of a queue from which messages go to that one after a time.
    pub(crate) fn tier(&self, wait: Duration, queue: &str) -> FieldTable {
        let mut table = self.kept();
        let mut put = |name: &str, value| {
            table.insert(name.into(), value);
        };
        let millis = i64::try_from(wait.as_millis()).unwrap_or(i64::MAX);
        put("x-message-ttl", AMQPValue::LongLongInt(millis));
        put("x-dead-letter-exchange", text(""));
        put("x-dead-letter-routing-key", text(queue));
        if self.options.consuming().queue_type == QueueType::Quorum {
            // It leaves only when it has arrived.
            put("x-dead-letter-strategy", text("at-least-once"));
            put("x-overflow", text("reject-publish"));
        }
        table
    }

    /// Makes sure that a topic exchange is there.
    pub(crate) async fn exchange(&self, name: &Arc<str>, create: Create) -> Result<(), BinderError> {
        check(name)?;
        let doing = format!("declaring the exchange \"{name}\"");
        self.on_channel(name, &doing, async |channel| {
            declare_exchange(&channel, name, create).await
        })
        .await
    }

    /// Makes sure that a queue is there, and bound.
    pub(crate) async fn queue(&self, queue: &QueueSpec) -> Result<(), BinderError> {
        check(&queue.name)?;
        let doing = format!("declaring the queue \"{}\"", queue.name);
        self.on_channel(&queue.name, &doing, async |channel| {
            declare(&channel, queue).await
        })
        .await
    }

    /// How many messages wait in a queue, and how many consumers it has.
    pub(crate) async fn counts(&self, name: &Arc<str>) -> Result<(u32, u32), BinderError> {
        let options = QueueDeclareOptions {
            passive: true,
            ..QueueDeclareOptions::default()
        };
        let doing = format!("asking for the queue \"{name}\"");
        let asked = self.on_channel(name, &doing, async |channel| {
            let queue = ShortString::from(&**name);
            let found = channel
                .queue_declare(queue, options, FieldTable::default())
                .await?;
            Ok((found.message_count(), found.consumer_count()))
        });
        asked.await
    }

    /// Works on a channel of its own: what is refused closes it.
    async fn on_channel<T>(
        &self,
        name: &Arc<str>,
        doing: &str,
        work: impl AsyncFnOnce(Channel) -> Result<T, lapin::Error>,
    ) -> Result<T, BinderError> {
        let worked = timeout(PATIENCE, async {
            let live = self.link.live().await.map_err(|error| match error {
                SourceError::Closed => BinderError::Closed,
                error => error.into(),
            })?;
            let worked = async {
                let channel = live.connection.create_channel().await?;
                let done = work(channel.clone()).await?;
                // A farewell is polite and no more.
                let _ = channel.close(200, "OK".into()).await;
                Ok(done)
            };
            let worked = worked.await;
            worked.map_err(|error: lapin::Error| self.refused(name, doing, &error))
        });
        worked.await.unwrap_or_else(|_| Err(self.link.silent().into()))
    }

    fn refused(&self, name: &Arc<str>, doing: &str, error: &lapin::Error) -> BinderError {
        let trouble = Trouble::of(error, self.options.auth());
        match (trouble.code, trouble.kind) {
            (Some(NOT_FOUND), _) => BinderError::UnknownDestination {
                destination: name.clone(),
            },
            (Some(_), _) => BinderError::Failed {
                doing: doing.to_owned(),
                reason: trouble.to_string(),
            },
            (None, Kind::Denied) => BinderError::Source(SourceError::Unauthorized {
                reason: trouble.to_string(),
            }),
            (None, Kind::Away) => BinderError::Source(SourceError::Unavailable {
                reason: trouble.to_string(),
            }),
        }
    }
}

/// Declares a queue on that channel, and binds it; its dead letters' place first, so that there is none to be lost.
pub(crate) async fn declare(channel: &Channel, queue: &QueueSpec) -> Result<(), lapin::Error> {
    if let Some(letters) = &queue.letters {
        declare_alone(channel, letters).await?;
    }
    declare_alone(channel, queue).await
}

async fn declare_alone(channel: &Channel, queue: &QueueSpec) -> Result<(), lapin::Error> {
    let options = QueueDeclareOptions {
        passive: queue.create == Create::Never,
        durable: !queue.exclusive,
        exclusive: queue.exclusive,
        auto_delete: queue.exclusive,
        ..QueueDeclareOptions::default()
    };
    let name = ShortString::from(&*queue.name);
    channel
        .queue_declare(name.clone(), options, queue.arguments.clone())
        .await?;
    let binding = queue.bound_to.as_ref();
    if let Some(binding) = binding.filter(|_| queue.create == Create::IfMissing) {
        declare_exchange(channel, &binding.exchange, queue.create).await?;
        let (exchange, pattern) = (&*binding.exchange, &*binding.pattern);
        let bind = channel.queue_bind(
            name,
            exchange.into(),
            pattern.into(),
            QueueBindOptions::default(),
            FieldTable::default(),
        );
        bind.await?;
    }
    Ok(())
}

async fn declare_exchange(channel: &Channel, name: &str, create: Create) -> Result<(), lapin::Error> {
    let options = ExchangeDeclareOptions {
        passive: create == Create::Never,
        durable: true,
        ..ExchangeDeclareOptions::default()
    };
    let declaring =
        channel.exchange_declare(name.into(), ExchangeKind::Topic, options, FieldTable::default());
    declaring.await
}

fn text(text: &str) -> AMQPValue {
    AMQPValue::LongString(text.into())
}

/// Whether the protocol can carry the name.
fn check(name: &str) -> Result<(), BinderError> {
    let wrong = |reason: &str| {
        Err(BinderError::InvalidName {
            name: name.to_owned(),
            reason: reason.to_owned(),
        })
    };
    match name {
        "" => wrong("it is empty"),
        _ if name.len() > LONGEST => wrong("RabbitMQ takes 255 bytes at the most"),
        _ if name.starts_with("amq.") => wrong("names that begin with \"amq.\" are the server's own"),
        _ => Ok(()),
    }
}
