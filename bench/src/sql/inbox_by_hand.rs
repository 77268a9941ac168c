//! W12 by hand: a poll loop on the same broker, with the same table, pool and isolation.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures_util::{StreamExt, TryStreamExt, stream};
use sqlx::{PgPool, Postgres};
use tidings_core::{DynBinder, Progress, RecordBatch, SourceEvent, SourceInput, SourceSpec, Start, names};
use tidings_sql::SqlStore;

use super::broken;
use super::inbox::{EFFECT, EFFECTS, topic};
use crate::apart::job::{Job, Outcome, gauge};
use crate::arms::gauge::Gauge;
use crate::arms::topic::ORDERS;
use crate::error::BenchError;
use crate::order::Order;

const CLAIM: &str = "INSERT INTO tidings.inbox (scope, id, at) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING";
/// Sorted, so that two of these cannot wait for each other.
const CLAIMS: &str = "INSERT INTO tidings.inbox (scope, id, at) SELECT $1, id, $3 FROM unnest($2::text[]) AS ids (id) ORDER BY id \
    ON CONFLICT DO NOTHING RETURNING id";

/// A message as the loop sees it.
struct Found {
    id: String,
    order: Order,
}

/// Handles the topic once.
pub(super) async fn consume(job: &Job) -> Result<Outcome, BenchError> {
    let topic = topic(job).await?;
    let broker = topic.broker().await?;
    // The pool as our side has it.
    let store = SqlStore::<Postgres>::open(&job.servers).await.map_err(broken)?;
    let (pool, gauge) = (store.pool(), gauge(job));
    let mut source = DynBinder::subscribe(&broker, spec(job)).await.map_err(broken)?;
    let mut pending = Vec::new();
    while !gauge.is_done() {
        let SourceEvent::Batch(batch) = source.next().await.map_err(broken)? else {
            continue;
        };
        pending.append(&mut decoded(&batch)?);
        let is_last = batch.next() >= job.total;
        match job.open {
            0 | 1 => {
                let slots = job.slots.max(1);
                let each = stream::iter(&pending).map(|found| one(pool, &job.group, found, gauge));
                each.buffer_unordered(slots).try_collect::<Vec<()>>().await?;
                pending.clear();
            }
            many => {
                while pending.len() >= many || (is_last && !pending.is_empty()) {
                    let later = pending.split_off(many.min(pending.len()));
                    together(pool, &job.group, &pending, gauge).await?;
                    pending = later;
                }
            }
        }
        // What is pending is not handled yet.
        let waits = u64::try_from(pending.len()).unwrap_or_default();
        let progress = Progress {
            watermark: batch.next().saturating_sub(waits),
            ..Progress::default()
        };
        source.progress(batch.lane(), batch.epoch(), progress);
    }
    Outcome::of(&gauge.reading()?)
}

fn spec(job: &Job) -> SourceSpec {
    SourceSpec {
        partitions: None,
        subscription: "by-hand".into(),
        group: Some(job.group.as_str().into()),
        inputs: vec![SourceInput {
            destination: Arc::from(ORDERS),
            retry: None,
        }],
        start: Start::Earliest,
        max_batch_bytes: 1 << 20,
        commit_interval: Duration::from_millis(100),
        commit_every: 10_000,
        revoke_timeout: Duration::from_secs(1),
        guarantee: tidings_core::Guarantee::AtLeastOnce,
    }
}

fn decoded(batch: &RecordBatch) -> Result<Vec<Found>, BenchError> {
    let found = batch.records().iter().map(|record| {
        let id = batch.headers(record).find_str(names::MESSAGE_ID);
        let payload = batch.payload(record).unwrap_or_default();
        Ok(Found {
            id: id.unwrap_or_default().to_owned(),
            order: serde_json::from_slice(payload).map_err(BenchError::part("decoding"))?,
        })
    });
    found.collect()
}

async fn one(pool: &PgPool, scope: &str, found: &Found, gauge: &Gauge) -> Result<(), BenchError> {
    let mut tx = pool.begin().await.map_err(broken)?;
    let claim = sqlx::query(CLAIM).bind(scope).bind(&found.id).bind(now());
    let claimed = claim.execute(&mut *tx).await.map_err(broken)?;
    if claimed.rows_affected() == 1 {
        let effect = sqlx::query(EFFECT).bind(&found.order.id).bind(found.order.total);
        effect.execute(&mut *tx).await.map_err(broken)?;
        gauge.hit(found.order.checksum());
    }
    tx.commit().await.map_err(broken)
}

async fn together(pool: &PgPool, scope: &str, found: &[Found], gauge: &Gauge) -> Result<(), BenchError> {
    let mut tx = pool.begin().await.map_err(broken)?;
    let ids: Vec<&str> = found.iter().map(|found| found.id.as_str()).collect();
    let claim = sqlx::query_scalar::<_, String>(CLAIMS)
        .bind(scope)
        .bind(ids)
        .bind(now());
    let claimed = claim.fetch_all(&mut *tx).await.map_err(broken)?;
    let claimed: std::collections::HashSet<String> = claimed.into_iter().collect();
    let new = found.iter().filter(|found| claimed.contains(&found.id));
    let new: Vec<&Order> = new.map(|found| &found.order).collect();
    let ids: Vec<&str> = new.iter().map(|order| order.id.as_str()).collect();
    let totals: Vec<i64> = new.iter().map(|order| order.total).collect();
    let effects = sqlx::query(EFFECTS).bind(ids).bind(totals);
    effects.execute(&mut *tx).await.map_err(broken)?;
    for order in new {
        gauge.hit(order.checksum());
    }
    tx.commit().await.map_err(broken)
}

fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
