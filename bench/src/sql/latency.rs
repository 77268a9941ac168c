//! W11: from the commit of a transaction to the broker's answer, under an open load.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hdrhistogram::Histogram;
use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};
use sqlx::Postgres;
use tidings_core::{BoxFuture, DynBinder, Message, Outgoing, PublishError, Receipt, Sink};
use tidings_sql::{Outbox, Relay, RelayOptions, SqlStore};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::inbox::EFFECT;
use super::{CHANNEL, broken};
use crate::apart::job::{Arm, Job, Outcome, SqlArm, gauge};
use crate::arms::gauge::Gauge;
use crate::arms::topic::Topic;
use crate::error::BenchError;
use crate::order;

/// The longest that can be recorded.
const LONGEST_NS: u64 = 60_000_000_000;

/// What a message says of itself, by the clock that all processes of a machine share; in nanoseconds.
#[derive(Debug, Serialize, Deserialize)]
struct Timed {
    number: u64,
    /// When the transaction was to begin.
    due: u64,
    /// When everything but this message and the commit was done.
    at: u64,
}

fn now() -> u64 {
    let time = clock_gettime(ClockId::Monotonic);
    let seconds = u64::try_from(time.tv_sec).unwrap_or_default();
    seconds * 1_000_000_000 + u64::try_from(time.tv_nsec).unwrap_or_default()
}

/// Records when the broker has answered. The one in memory answers before the call returns.
#[derive(Debug)]
struct Stopping {
    sink: Arc<dyn Sink>,
    gauge: &'static Gauge,
    warm: u64,
    recorded: Mutex<Recorded>,
}

#[derive(Debug)]
struct Recorded {
    committed: Histogram<u64>,
    due: Histogram<u64>,
}

impl Stopping {
    fn answered(&self, payload: &[u8]) {
        let Ok(timed) = serde_json::from_slice::<Timed>(payload) else {
            return;
        };
        let now = now();
        if timed.number >= self.warm {
            let mut recorded = self.recorded.lock().unwrap_or_else(PoisonError::into_inner);
            recorded.committed.saturating_record(now.saturating_sub(timed.at));
            recorded.due.saturating_record(now.saturating_sub(timed.due));
        }
        self.gauge.hit(timed.number);
    }
}

impl Sink for Stopping {
    fn publish(&self, outgoing: Outgoing) -> Receipt {
        let payload = outgoing.message.payload().cloned().unwrap_or_default();
        let receipt = self.sink.publish(outgoing);
        self.answered(&payload);
        receipt
    }

    fn flush(&self) -> BoxFuture<'static, Result<(), PublishError>> {
        self.sink.flush()
    }
}

/// The relay, and the load beside it in this process or in another.
pub(super) async fn relay(arm: SqlArm, job: &Job) -> Result<Outcome, BenchError> {
    let (topic, gauge) = (Topic::empty_in_memory().await?, gauge(job));
    let histogram = || Histogram::new_with_max(LONGEST_NS, 3).map_err(BenchError::part("making a histogram"));
    let stopping = Arc::new(Stopping {
        sink: DynBinder::sink(&topic.broker().await?),
        gauge,
        warm: job.warm,
        recorded: Mutex::new(Recorded {
            committed: histogram()?,
            due: histogram()?,
        }),
    });
    let store = SqlStore::<Postgres>::open(&job.servers).await.map_err(broken)?;
    let relay = Relay::new(&store, stopping.clone(), RelayOptions::default());
    let status = relay.status();
    let running = tokio::spawn(relay.run(std::future::pending()));
    while !status.leads() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    match arm {
        SqlArm::LatencyApart => {
            let load = job.with(Arm::Sql(SqlArm::Load));
            let loaded = tokio::task::spawn_blocking(move || load.run()).await;
            loaded.map_err(broken)?
        }
        _ => transactions(job, &store).await,
    }?;
    let reading = gauge.finished().await?;
    running.abort();
    let recorded = stopping.recorded.lock().unwrap_or_else(PoisonError::into_inner);
    let at = |histogram: &Histogram<u64>, quantile| histogram.value_at_quantile(quantile) as f64 / 1e3;
    Ok(Outcome {
        p50_us: at(&recorded.committed, 0.5),
        p99_us: at(&recorded.committed, 0.99),
        due_p50_us: at(&recorded.due, 0.5),
        due_p99_us: at(&recorded.due, 0.99),
        ..Outcome::of(&reading)?
    })
}

/// The load alone.
pub(super) async fn load(job: &Job) -> Result<Outcome, BenchError> {
    let store = SqlStore::<Postgres>::open(&job.servers).await.map_err(broken)?;
    transactions(job, &store).await
}

/// A transaction begins whenever it is due, whatever becomes of those before.
async fn transactions(job: &Job, store: &SqlStore<Postgres>) -> Result<Outcome, BenchError> {
    let outbox = Outbox::to_channels(store, [CHANNEL]);
    let mut running = JoinSet::new();
    let (start, began) = (Instant::now(), now());
    let step = Duration::from_secs(1) / job.per_second.max(1);
    for number in 0..job.total {
        let after = step * u32::try_from(number).unwrap_or(u32::MAX);
        tokio::time::sleep_until(start + after).await;
        let due = began + u64::try_from(after.as_nanos()).unwrap_or_default();
        running.spawn(transaction(store.clone(), outbox.clone(), number, due));
        while let Some(ended) = running.try_join_next() {
            ended.map_err(broken)??;
        }
    }
    while let Some(ended) = running.join_next().await {
        ended.map_err(broken)??;
    }
    Ok(Outcome {
        messages: job.total,
        ..Outcome::default()
    })
}

/// An effect and its message.
async fn transaction(
    store: SqlStore<Postgres>,
    outbox: Outbox<Postgres>,
    number: u64,
    due: u64,
) -> Result<(), BenchError> {
    let mut tx = store.begin().await.map_err(broken)?;
    let effect = sqlx::query(EFFECT).bind(format!("o-{number}")).bind(7_i64);
    effect.execute(&mut *tx).await.map_err(broken)?;
    let timed = Timed {
        number,
        due,
        at: now(),
    };
    let payload = serde_json::to_vec(&timed).map_err(BenchError::part("encoding"))?;
    let message = Message::new(payload).with_key(order::fixed_key(number % 1_000));
    let sent = outbox.send(&mut tx, CHANNEL, message).await;
    sent.map_err(broken)?;
    tx.commit().await.map_err(broken)
}
