//! A virtual host for a test, and what arrives there.

use brokers::{RabbitApi, VirtualHost, unique};
use lapin::message::BasicGetMessage;
use lapin::options::{BasicConsumeOptions, BasicGetOptions, QueueDeclareOptions};
use lapin::types::FieldTable;
use lapin::{Channel, Connection, ConnectionProperties};
use serde_json::json;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tidings_core::{BinderHealth, Message, Outgoing, PublishError, Receipt, Sink};
use tidings_rabbitmq::{ClientOptions, RabbitSink, Route};

/// More than any of it takes on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A virtual host with the exchange `orders` that leads to the queue `orders`.
pub(crate) struct World {
    pub(crate) host: VirtualHost,
}

impl World {
    pub(crate) fn new(api: &RabbitApi) -> Self {
        let world = Self {
            host: api.virtual_host(&unique("publish")).expect("a virtual host"),
        };
        world.exchange("orders", "fanout");
        world.queue("orders", &json!({}));
        world.bind("orders", "orders", "");
        world
    }

    pub(crate) fn exchange(&self, name: &str, kind: &str) {
        let path = self.host.path("exchanges", name);
        let body = json!({ "type": kind, "durable": true });
        self.host.api().put(&path, &body).expect("an exchange");
    }

    pub(crate) fn queue(&self, name: &str, arguments: &serde_json::Value) {
        self.host.declare(name, arguments).expect("a queue");
    }

    pub(crate) fn bind(&self, exchange: &str, queue: &str, key: &str) {
        let segment = RabbitApi::segment;
        let path = format!("bindings/{}/e/{exchange}/q/{queue}", segment(self.host.name()));
        let api = self.host.api();
        api.post(&path, &json!({ "routing_key": key }))
            .expect("a binding");
    }

    pub(crate) fn options(&self) -> ClientOptions {
        ClientOptions::from_url(&self.host.url()).expect("an address")
    }

    pub(crate) fn sink(&self) -> RabbitSink {
        RabbitSink::open(self.options()).expect("a sink")
    }

    /// Everything that a queue holds, in order.
    pub(crate) async fn drain(&self, queue: &str) -> Vec<BasicGetMessage> {
        let (_connection, channel) = channel(&self.host.url()).await;
        let mut all = Vec::new();
        let options = BasicGetOptions { no_ack: true };
        while let Some(message) = channel.basic_get(queue.into(), options).await.expect("an answer") {
            all.push(message);
        }
        all
    }

    pub(crate) async fn payloads(&self, queue: &str) -> Vec<String> {
        let all = self.drain(queue).await;
        all.iter()
            .map(|message| String::from_utf8_lossy(&message.data).into_owned())
            .collect()
    }
}

pub(crate) async fn channel(url: &str) -> (Connection, Channel) {
    let connection = Connection::connect(url, ConnectionProperties::default())
        .await
        .expect("connected");
    let channel = connection.create_channel().await.expect("a channel");
    (connection, channel)
}

/// How many messages wait in a queue.
pub(crate) async fn count(channel: &Channel, queue: &str) -> u32 {
    let options = QueueDeclareOptions {
        passive: true,
        ..QueueDeclareOptions::default()
    };
    let queue = channel.queue_declare(queue.into(), options, FieldTable::default());
    queue.await.expect("there is such a queue").message_count()
}

/// The next so many payloads of a queue, as they are pushed.
pub(crate) async fn consume(url: &str, queue: &str, count: usize) -> Vec<Vec<u8>> {
    let (_connection, channel) = channel(url).await;
    let options = BasicConsumeOptions {
        no_ack: true,
        ..BasicConsumeOptions::default()
    };
    let consuming = channel.basic_consume(queue.into(), "".into(), options, FieldTable::default());
    let mut consumer = consuming.await.expect("a consumer");
    let mut all = Vec::with_capacity(count);
    while all.len() < count {
        let next = std::future::poll_fn(|context| {
            futures_core::Stream::poll_next(std::pin::Pin::new(&mut consumer), context)
        });
        match tokio::time::timeout(PATIENCE, next)
            .await
            .expect("a message in time")
        {
            Some(delivery) => all.push(delivery.expect("a message").data),
            None => break,
        }
    }
    all
}

pub(crate) fn to(destination: &str, payload: impl Into<String>) -> Outgoing {
    Outgoing::new(destination, Message::new(payload.into()))
}

/// The sink, with a queue as a destination.
pub(crate) fn with_queue(sink: RabbitSink, queue: &str) -> RabbitSink {
    sink.route(queue, Route::Queue);
    sink
}

/// The answer of a receipt, which comes.
pub(crate) async fn answer(receipt: Receipt) -> Result<u64, PublishError> {
    let answer = tokio::time::timeout(PATIENCE, receipt).await;
    answer
        .expect("an answer in time")
        .map(|position| position.offset())
}

pub(crate) async fn kept(sink: &dyn Sink, outgoing: Outgoing) {
    answer(sink.publish(outgoing)).await.expect("it is kept");
}

/// Waits until it holds.
pub(crate) async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < end, "it does not come about that {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Waits until health names all of that.
pub(crate) async fn until_down(sink: &RabbitSink, words: &[&str]) {
    until(
        &format!("health says {words:?}: {:?}", sink.health()),
        || match sink.health() {
            BinderHealth::Down(said) => words.iter().all(|word| said.contains(word)),
            BinderHealth::Up => false,
        },
    )
    .await;
}

/// Runs what blocks elsewhere.
pub(crate) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work)
        .await
        .expect("it does not panic")
}

pub(crate) fn name(text: &str) -> Arc<str> {
    text.into()
}
