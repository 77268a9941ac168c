//! Exchanges and queues, declared and asked for: [`Topology`].

use crate::connection::{Link, PATIENCE};
use crate::letters::{letters_key, letters_queue};
use crate::options::{ClientOptions, Consuming, ExchangeType, QueueType};
use crate::trouble::{Kind, Trouble};
use lapin::options::{ExchangeBindOptions, ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions};
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
    /// What it gets, of which exchanges.
    pub(crate) bound_to: Vec<Binding>,
    /// Where what the server gives up of it goes, made before it.
    pub(crate) letters: Option<Box<Self>>,
    /// How many messages it hands over, where that is not the binder's number.
    pub(crate) prefetch: Option<u16>,
    /// Messages stay in it, and are read from where the reader says.
    pub(crate) is_stream: bool,
}

/// An exchange as it is to be.
#[derive(Debug, Clone)]
pub(crate) struct ExchangeSpec {
    pub(crate) name: Arc<str>,
    pub(crate) exchange_type: ExchangeType,
    pub(crate) arguments: FieldTable,
    pub(crate) create: Create,
}

impl ExchangeSpec {
    /// A topic exchange.
    pub(crate) fn topic(name: &Arc<str>, create: Create) -> Self {
        Self {
            name: name.clone(),
            exchange_type: ExchangeType::Topic,
            arguments: FieldTable::default(),
            create,
        }
    }
}

/// From which exchange a queue gets messages.
#[derive(Debug, Clone)]
pub(crate) struct Binding {
    pub(crate) exchange: Arc<ExchangeSpec>,
    /// What their routing keys look like; `#` is any.
    pub(crate) pattern: Arc<str>,
    pub(crate) arguments: FieldTable,
}

impl Binding {
    /// What is published to a topic exchange with such routing keys.
    pub(crate) fn keyed(exchange: &Arc<str>, pattern: &str) -> Self {
        Self {
            exchange: Arc::new(ExchangeSpec::topic(exchange, Create::IfMissing)),
            pattern: pattern.into(),
            arguments: FieldTable::default(),
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

    /// How messages are received, where nothing else is said.
    pub(crate) fn consuming(&self) -> &Consuming {
        self.options.consuming()
    }

    /// A queue in which messages lie until somebody takes them.
    pub(crate) fn lying(&self, name: impl Into<Arc<str>>, create: Create) -> QueueSpec {
        QueueSpec {
            name: name.into(),
            create,
            arguments: self.kept(),
            exclusive: false,
            bound_to: Vec::new(),
            letters: None,
            prefetch: None,
            is_stream: false,
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
            bound_to: vec![Binding::keyed(
                exchange,
                &letters_key(exchange, destination, group),
            )],
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

    /// Makes sure that an exchange is there.
    pub(crate) async fn exchange(&self, exchange: &ExchangeSpec) -> Result<(), BinderError> {
        let name = &exchange.name;
        check(name)?;
        let doing = format!("declaring the exchange \"{name}\"");
        self.on_channel(name, &doing, async |channel| {
            declare_exchange(&channel, exchange).await
        })
        .await
    }

    /// Has messages with such headers go on from one exchange to another.
    pub(crate) async fn lead(
        &self,
        from: &Arc<str>,
        to: &ExchangeSpec,
        headers: FieldTable,
    ) -> Result<(), BinderError> {
        let doing = format!("leading the exchange \"{from}\" to \"{}\"", to.name);
        self.on_channel(from, &doing, async |channel| {
            declare_exchange(&channel, to).await?;
            let (to, from) = ((&*to.name).into(), (&**from).into());
            let options = ExchangeBindOptions::default();
            channel
                .exchange_bind(to, from, "".into(), options, headers.clone())
                .await
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
    if queue.create == Create::Never {
        return Ok(());
    }
    for binding in &queue.bound_to {
        declare_exchange(channel, &binding.exchange).await?;
        let bind = channel.queue_bind(
            name.clone(),
            (&*binding.exchange.name).into(),
            (&*binding.pattern).into(),
            QueueBindOptions::default(),
            binding.arguments.clone(),
        );
        bind.await?;
    }
    Ok(())
}

async fn declare_exchange(channel: &Channel, exchange: &ExchangeSpec) -> Result<(), lapin::Error> {
    let options = ExchangeDeclareOptions {
        passive: exchange.create == Create::Never,
        durable: true,
        ..ExchangeDeclareOptions::default()
    };
    let kind = match exchange.exchange_type {
        ExchangeType::Direct => ExchangeKind::Direct,
        ExchangeType::Fanout => ExchangeKind::Fanout,
        ExchangeType::Headers => ExchangeKind::Headers,
        ExchangeType::Topic | ExchangeType::Default => ExchangeKind::Topic,
    };
    let name = (&*exchange.name).into();
    channel
        .exchange_declare(name, kind, options, exchange.arguments.clone())
        .await
}

pub(crate) fn text(text: &str) -> AMQPValue {
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
