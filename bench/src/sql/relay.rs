//! W9: what is in the outbox goes to a broker in memory, which confirms at once.

use std::sync::Arc;
use std::time::Duration;

use sqlx::Postgres;
use tidings_core::{BoxFuture, DynBinder, Outgoing, PublishError, Receipt, Sink};
use tidings_sql::{Relay, RelayOptions, SqlStore};
use tokio::time::Instant;

use super::broken;
use crate::apart::job::{Job, Outcome, Work, gauge};
use crate::arms::gauge::Gauge;
use crate::arms::topic::Topic;
use crate::error::BenchError;

/// Counts what is published, and confirms it later.
#[derive(Debug)]
struct Counting {
    sink: Arc<dyn Sink>,
    gauge: &'static Gauge,
    after: Duration,
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
        let receipts = self.sink.publish_all(outgoing);
        if self.after.is_zero() {
            return receipts;
        }
        let due = Instant::now() + self.after;
        let late = |receipt: Receipt| {
            Receipt::boxed(async move {
                tokio::time::sleep_until(due).await;
                receipt.await
            })
        };
        receipts.into_iter().map(late).collect()
    }

    fn flush(&self) -> BoxFuture<'static, Result<(), PublishError>> {
        self.sink.flush()
    }
}

/// A broker in memory, which is to be kept, and its sink.
pub(super) async fn broker(job: &Job, gauge: &'static Gauge) -> Result<(Topic, Arc<dyn Sink>), BenchError> {
    let topic = Topic::empty_in_memory().await?;
    let broker = topic.broker().await?;
    let counting = Counting {
        sink: DynBinder::sink(&broker),
        gauge,
        after: Duration::from_millis(job.confirm_ms.into()),
    };
    Ok((topic, Arc::new(counting)))
}

/// Our relay, until everything was sent and taken out.
pub(super) async fn ours(job: &Job) -> Result<Outcome, BenchError> {
    let gauge = gauge(job);
    let (_topic, sink) = broker(job, gauge).await?;
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
