//! Loops that a careful person writes with lapin.

use std::collections::VecDeque;

use futures_util::StreamExt;
use futures_util::future::join_all;
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, BasicQosOptions, ConfirmSelectOptions,
    QueueDeclareOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties, PublisherConfirm};

use super::{PREFETCH, queue};
use crate::apart::job::{Job, Outcome, gauge};
use crate::apart::made::{Made, One};
use crate::error::BenchError;

/// Messages that are published at a time where they are joined.
const JOINED: u64 = 50;

fn broken(error: lapin::Error) -> BenchError {
    BenchError::part("lapin by hand")(error)
}

async fn connect(job: &Job) -> Result<(Connection, Channel), BenchError> {
    let connection = Connection::connect(&job.servers, ConnectionProperties::default())
        .await
        .map_err(broken)?;
    let channel = connection.create_channel().await.map_err(broken)?;
    Ok((connection, channel))
}

/// One acknowledgement for so many messages.
pub(super) async fn consume(job: &Job, acks: u64) -> Result<Outcome, BenchError> {
    let gauge = gauge(job);
    let (_connection, channel) = connect(job).await?;
    channel
        .basic_qos(PREFETCH, BasicQosOptions::default())
        .await
        .map_err(broken)?;
    let (name, options) = (queue(job), BasicConsumeOptions::default());
    let consuming = channel.basic_consume(name.into(), "bench".into(), options, FieldTable::default());
    let mut consumer = consuming.await.map_err(broken)?;
    let mut seen = 0;
    while let Some(delivery) = consumer.next().await {
        let delivery = delivery.map_err(broken)?;
        gauge.hit(job.work.sum(&delivery.data)?);
        seen += 1;
        let last = seen == job.total;
        if last || seen % acks == 0 {
            let multiple = acks > 1;
            let ack = delivery.acker.ack(BasicAckOptions { multiple });
            ack.await.map_err(broken)?;
        }
        if last {
            break;
        }
    }
    Outcome::of(&gauge.reading()?)
}

/// What is published to, and with what.
struct Publishing {
    _connection: Connection,
    channel: Channel,
    queue: String,
    properties: BasicProperties,
}

impl Publishing {
    async fn begin(job: &Job) -> Result<Self, BenchError> {
        let (connection, channel) = connect(job).await?;
        let queue = queue(job);
        let options = QueueDeclareOptions {
            durable: true,
            ..QueueDeclareOptions::default()
        };
        let declaring = channel.queue_declare(queue.as_str().into(), options, FieldTable::default());
        declaring.await.map_err(broken)?;
        let confirms = channel.confirm_select(ConfirmSelectOptions::default());
        confirms.await.map_err(broken)?;
        Ok(Self {
            _connection: connection,
            channel,
            queue,
            properties: BasicProperties::default()
                .with_delivery_mode(2)
                .with_content_type("application/json".into()),
        })
    }

    /// With the key as a header, if there is one.
    async fn publish(&self, json: &[u8], key: Option<&[u8]>) -> Result<PublisherConfirm, BenchError> {
        let options = BasicPublishOptions::default();
        let (queue, mut properties) = (self.queue.as_str().into(), self.properties.clone());
        if let Some(key) = key {
            let mut headers = FieldTable::default();
            headers.insert("key".into(), AMQPValue::LongString(key.into()));
            properties = properties.with_headers(headers);
        }
        let publishing = self
            .channel
            .basic_publish("".into(), queue, options, json, properties);
        publishing.await.map_err(broken)
    }
}

/// The key of an order, where messages have one.
fn key_of<'a>(job: &Job, one: &'a One) -> Option<&'a [u8]> {
    (job.keys > 0).then_some(&one.key[..])
}

/// Waits until it is confirmed.
async fn kept(confirm: PublisherConfirm) -> Result<(), BenchError> {
    match confirm.await.map_err(broken)?.is_ack() {
        true => Ok(()),
        false => Err(BenchError::part("lapin by hand")("a message was refused")),
    }
}

/// Fifty publications under way at once, confirms awaited in turn.
pub(super) async fn publish_joined(job: &Job) -> Result<Outcome, BenchError> {
    let (made, gauge) = (Made::new(), gauge(job));
    let publishing = Publishing::begin(job).await?;
    let mut open = VecDeque::with_capacity(job.open);
    let mut sent = 0;
    while sent < job.total {
        while open.len() + usize::try_from(JOINED).unwrap_or_default() > job.open {
            match open.pop_front() {
                Some(oldest) => kept(oldest).await?,
                None => break,
            }
        }
        let until = (sent + JOINED).min(job.total);
        let encoded = (sent..until).map(|number| {
            let one = made.get(number);
            gauge.hit(one.sum);
            let json = serde_json::to_vec(&one.order).map_err(BenchError::part("encoding"))?;
            Ok((json, key_of(job, one)))
        });
        let bodies = encoded.collect::<Result<Vec<_>, BenchError>>()?;
        for confirm in join_all(bodies.iter().map(|(json, key)| publishing.publish(json, *key))).await {
            open.push_back(confirm?);
        }
        sent = until;
    }
    for confirm in open {
        kept(confirm).await?;
    }
    Outcome::of(&gauge.reading_now()?)
}

/// One publication at a time, confirms awaited in turn.
pub(super) async fn publish_each(job: &Job) -> Result<Outcome, BenchError> {
    let (made, gauge) = (Made::new(), gauge(job));
    let publishing = Publishing::begin(job).await?;
    let mut open = VecDeque::with_capacity(job.open);
    let mut json = Vec::with_capacity(512);
    for number in 0..job.total {
        if open.len() == job.open
            && let Some(oldest) = open.pop_front()
        {
            kept(oldest).await?;
        }
        let one = made.get(number);
        json.clear();
        serde_json::to_writer(&mut json, &one.order).map_err(BenchError::part("encoding"))?;
        gauge.hit(one.sum);
        open.push_back(publishing.publish(&json, key_of(job, one)).await?);
    }
    for confirm in open {
        kept(confirm).await?;
    }
    Outcome::of(&gauge.reading_now()?)
}
