//! W9: what is in the outbox goes to a broker in memory, which confirms at once.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use sqlx::Postgres;
use tidings_core::headers::Headers;
use tidings_core::{BoxFuture, DynBinder, Message, Outgoing, PublishError, Receipt, Sink, Timestamp};
use tidings_sql::{Relay, RelayOptions, SqlStore};

use super::broken;
use crate::apart::job::{Job, Outcome, Work, gauge};
use crate::arms::gauge::Gauge;
use crate::arms::topic::Topic;
use crate::error::BenchError;

/// Rows that are taken at a time, on both sides.
const BATCH: i64 = 1_000;
const SELECT: &str = "SELECT id, channel, message_key, payload, headers, message_time FROM tidings.outbox ORDER BY id LIMIT $1";
const DELETE: &str = "DELETE FROM tidings.outbox WHERE id = ANY($1)";

/// Counts what is published.
#[derive(Debug)]
struct Counting {
    sink: Arc<dyn Sink>,
    gauge: &'static Gauge,
}

impl Counting {
    fn count(&self, outgoing: &Outgoing) {
        let payload = outgoing.message.payload().map(AsRef::as_ref);
        self.gauge
            .hit(Work::Raw.sum(payload.unwrap_or_default()).unwrap_or_default());
    }
}

impl Sink for Counting {
    fn publish(&self, outgoing: Outgoing) -> Receipt {
        self.count(&outgoing);
        self.sink.publish(outgoing)
    }

    fn publish_all(&self, outgoing: Vec<Outgoing>) -> Vec<Receipt> {
        outgoing.iter().for_each(|outgoing| self.count(outgoing));
        self.sink.publish_all(outgoing)
    }

    fn flush(&self) -> BoxFuture<'static, Result<(), PublishError>> {
        self.sink.flush()
    }
}

/// A broker in memory, which is to be kept, and its sink.
async fn broker(gauge: &'static Gauge) -> Result<(Topic, Arc<dyn Sink>), BenchError> {
    let topic = Topic::empty_in_memory().await?;
    let broker = topic.broker().await?;
    let sink = DynBinder::sink(&broker);
    Ok((topic, Arc::new(Counting { sink, gauge })))
}

/// Our relay, until everything was sent and taken out.
pub(super) async fn ours(job: &Job) -> Result<Outcome, BenchError> {
    let gauge = gauge(job);
    let (_topic, sink) = broker(gauge).await?;
    let store = SqlStore::<Postgres>::open(&job.servers).await.map_err(broken)?;
    let relay = Relay::new(&store, sink, RelayOptions::default());
    let status = relay.status();
    let running = tokio::spawn(relay.run(std::future::pending()));
    let reading = gauge.finished().await?;
    while status.sent() < job.total {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    running.abort();
    Outcome::of(&reading)
}

/// A loop as one writes it: a transaction for each batch.
pub(super) async fn by_hand(job: &Job) -> Result<Outcome, BenchError> {
    let gauge = gauge(job);
    let (_topic, sink) = broker(gauge).await?;
    let store = SqlStore::<Postgres>::open(&job.servers).await.map_err(broken)?;
    loop {
        let mut tx = store.pool().begin().await.map_err(broken)?;
        let select = sqlx::query_as::<_, Columns>(SELECT).bind(BATCH);
        let rows = select.fetch_all(&mut *tx).await.map_err(broken)?;
        if rows.is_empty() {
            break;
        }
        let ids: Vec<i64> = rows.iter().map(|row| row.0).collect();
        let outgoing = rows.into_iter().map(outgoing).collect::<Result<_, _>>()?;
        for receipt in sink.publish_all(outgoing) {
            receipt.await.map_err(BenchError::part("publishing"))?;
        }
        let delete = sqlx::query(DELETE).bind(ids);
        delete.execute(&mut *tx).await.map_err(broken)?;
        tx.commit().await.map_err(broken)?;
    }
    Outcome::of(&gauge.reading()?)
}

type Columns = (
    i64,
    String,
    Option<Vec<u8>>,
    Option<Vec<u8>>,
    Vec<u8>,
    Option<i64>,
);

fn outgoing((_, channel, key, payload, headers, time): Columns) -> Result<Outgoing, BenchError> {
    let headers = Headers::from_block(headers.into()).map_err(BenchError::part("decoding"))?;
    let message = Message::default()
        .with_optional_key(key.map(Bytes::from))
        .with_payload(payload.map(Bytes::from))
        .with_headers(headers);
    let message = match time {
        Some(time) => message.with_timestamp(Timestamp::from_millis(time)),
        None => message,
    };
    Ok(Outgoing::new(channel, message))
}
