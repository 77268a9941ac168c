//! W9 by hand: a loop, or several of which each has keys of its own.

use std::sync::Arc;

use bytes::Bytes;
use sqlx::Postgres;
use tidings_core::headers::Headers;
use tidings_core::{Message, Outgoing, Sink, Timestamp};
use tidings_sql::SqlStore;
use tokio::task::JoinSet;

use super::{broken, relay};
use crate::apart::job::{Job, Outcome, gauge};
use crate::error::BenchError;

/// Rows that are taken at a time.
const BATCH: i64 = 1_000;
const SELECT: &str = "SELECT id, channel, message_key, payload, headers, message_time FROM tidings.outbox ORDER BY id LIMIT $1";
const SELECT_RANGE: &str = "SELECT id, channel, message_key, payload, headers, message_time FROM tidings.outbox \
    WHERE key_range = $2 ORDER BY id LIMIT $1";
const DELETE: &str = "DELETE FROM tidings.outbox WHERE id = ANY($1)";

/// Everything, by one loop, or by as many as `slots` says, each with the rows whose `key_range` is its own.
pub(super) async fn run(job: &Job) -> Result<Outcome, BenchError> {
    let gauge = gauge(job);
    let (_topic, sink) = relay::broker(job, gauge).await?;
    let store = SqlStore::<Postgres>::open(&job.servers).await.map_err(broken)?;
    let mut loops = JoinSet::new();
    match i32::try_from(job.slots).map_err(broken)? {
        0 => drop(loops.spawn(send(store, sink, None))),
        ranges => (0..ranges).for_each(|range| {
            loops.spawn(send(store.clone(), sink.clone(), Some(range)));
        }),
    }
    while let Some(ended) = loops.join_next().await {
        ended.map_err(broken)??;
    }
    Outcome::of(&gauge.reading()?)
}

/// A loop as one writes it: a transaction for each batch.
async fn send(store: SqlStore<Postgres>, sink: Arc<dyn Sink>, range: Option<i32>) -> Result<(), BenchError> {
    loop {
        let mut tx = store.pool().begin().await.map_err(broken)?;
        let select = match range {
            None => sqlx::query_as::<_, Columns>(SELECT).bind(BATCH),
            Some(range) => sqlx::query_as::<_, Columns>(SELECT_RANGE).bind(BATCH).bind(range),
        };
        let rows = select.fetch_all(&mut *tx).await.map_err(broken)?;
        if rows.is_empty() {
            return Ok(());
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
