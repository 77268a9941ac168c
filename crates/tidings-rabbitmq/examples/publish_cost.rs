//! What publishing costs: lapin by hand, joined by 50, beside the sink, in processor time per million messages.
//!
//! `cargo run --release -p tidings-rabbitmq --example publish_cost -- amqp://guest:guest@host:5672/%2F [messages]`

use lapin::options::{BasicPublishOptions, ConfirmSelectOptions, QueueDeclareOptions, QueuePurgeOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Connection, ConnectionProperties};
use std::time::Instant;
use tidings_core::{Message, Outgoing, Sink};
use tidings_rabbitmq::{ClientOptions, RabbitSink, Route};

const QUEUE: &str = "publish-cost";
const BATCH: usize = 50;
const PAYLOAD: &[u8] = &[b'x'; 200];

type Failed = Box<dyn std::error::Error>;

#[tokio::main]
#[allow(clippy::print_stdout, reason = "what it measures is what it is for")]
async fn main() -> Result<(), Failed> {
    let mut arguments = std::env::args().skip(1);
    let url = arguments.next().ok_or("the address of a RabbitMQ is missing")?;
    let messages: usize = arguments.next().map_or(Ok(100_000), |count| count.parse())?;
    let connection = Connection::connect(&url, ConnectionProperties::default()).await?;
    let channel = connection.create_channel().await?;
    channel
        .queue_declare(
            QUEUE.into(),
            QueueDeclareOptions {
                durable: true,
                ..QueueDeclareOptions::default()
            },
            FieldTable::default(),
        )
        .await?;
    for round in 0..3 {
        for way in ["by hand", "sink"] {
            channel
                .queue_purge(QUEUE.into(), QueuePurgeOptions::default())
                .await?;
            let (began, before) = (Instant::now(), processor_seconds()?);
            match way {
                "by hand" => by_hand(&connection, messages).await?,
                _ => by_sink(&url, messages).await?,
            }
            let (took, used) = (began.elapsed().as_secs_f64(), processor_seconds()? - before);
            let per_million = used / messages as f64 * 1e6;
            println!(
                "round {round}: {way:8} {per_million:6.2} CPU-s per million, {:8.0} messages/s",
                messages as f64 / took
            );
        }
    }
    Ok(())
}

async fn by_hand(connection: &Connection, messages: usize) -> Result<(), Failed> {
    let channel = connection.create_channel().await?;
    channel.confirm_select(ConfirmSelectOptions::default()).await?;
    let options = BasicPublishOptions {
        mandatory: true,
        ..BasicPublishOptions::default()
    };
    for batch in 0..messages / BATCH {
        let publish = |number: usize| {
            let mut headers = FieldTable::default();
            headers.insert("tenant".into(), AMQPValue::LongString("acme".into()));
            let properties = BasicProperties::default()
                .with_delivery_mode(2)
                .with_message_id(number.to_string().into())
                .with_type("order.placed".into())
                .with_headers(headers);
            channel.basic_publish("".into(), QUEUE.into(), options, PAYLOAD, properties)
        };
        let written = futures_util::future::join_all((0..BATCH).map(|at| publish(batch * BATCH + at))).await;
        let confirms: Result<Vec<_>, _> = written.into_iter().collect();
        for confirmed in futures_util::future::join_all(confirms?).await {
            assert!(confirmed?.is_ack());
        }
    }
    Ok(())
}

async fn by_sink(url: &str, messages: usize) -> Result<(), Failed> {
    let sink = RabbitSink::open(ClientOptions::from_url(url)?)?;
    sink.route(QUEUE, Route::Queue);
    let destination: std::sync::Arc<str> = QUEUE.into();
    for batch in 0..messages / 1000 {
        let outgoing = (0..1000).map(|at| {
            let message = Message::new(PAYLOAD)
                .with_header("message-id", (batch * 1000 + at).to_string())
                .and_then(|message| message.with_header("type", "order.placed"))
                .and_then(|message| message.with_header("tenant", "acme"));
            message.map(|message| Outgoing::new(destination.clone(), message))
        });
        let outgoing: Result<Vec<_>, _> = outgoing.collect();
        for receipt in sink.publish_all(outgoing?) {
            receipt.await?;
        }
    }
    sink.close().await?;
    Ok(())
}

/// What this process has used so far, in all its threads.
fn processor_seconds() -> Result<f64, Failed> {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Ok(time.tv_sec as f64 + time.tv_nsec as f64 / 1e9)
}
