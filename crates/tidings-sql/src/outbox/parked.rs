//! Messages that the broker refuses for good: [`Parked`].

use super::Outbox;
use super::rows::Row;
use crate::dialect::Dialect;
use crate::error::SqlError;
use crate::value::Value;
use bytes::BytesMut;
use std::sync::Arc;
use tidings_core::{Message, Timestamp};

/// A message that the broker refuses for good, kept for a person to decide.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Parked {
    /// Its number in the outbox.
    pub id: i64,
    /// The channel that it was to go to.
    pub channel: Arc<str>,
    /// The message; none where the row cannot be read as one.
    pub message: Option<Message>,
    /// Since when, by the database's clock.
    pub since: Timestamp,
    /// What the broker said.
    pub reason: String,
}

impl<DB: Dialect> Outbox<DB> {
    /// The first messages that were parked, in their order, `limit` at most.
    ///
    /// # Errors
    /// As a statement.
    pub async fn parked(&self, limit: usize) -> Result<Vec<Parked>, SqlError> {
        let doing = "looking at parked messages";
        let limit = [Value::Int(i64::try_from(limit).unwrap_or(i64::MAX))];
        let store = self.store();
        let rows = store
            .read(doing, store.outbox_statements().parked(), &limit)
            .await?;
        let parse = |(row, found): (&DB::Row, Row)| {
            Ok(Parked {
                id: found.id,
                channel: found.channel,
                message: found.outgoing.ok().map(|outgoing| outgoing.message),
                since: Timestamp::from_millis(DB::int(row, 8)?),
                reason: DB::text(row, 9)?.to_owned(),
            })
        };
        let parked = Row::all_of::<DB>(&rows, &mut BytesMut::new())
            .and_then(|found| rows.iter().zip(found).map(parse).collect());
        parked.map_err(|error| store.explain(doing, error))
    }

    /// Sends parked messages after all, in their old places of the order; how many of these there were.
    ///
    /// # Errors
    /// As a statement; nothing has changed then.
    pub async fn retry_parked(&self, ids: &[i64]) -> Result<u64, SqlError> {
        let store = self.store();
        let statements = store.outbox_statements();
        let mut tx = store.begin().await?;
        let doing = "sending parked messages again";
        let moved = tx
            .execute(doing, statements.unpark(), &[Value::Ints(ids)])
            .await?;
        tx.execute(doing, statements.discard(), &[Value::Ints(ids)])
            .await?;
        tx.commit().await?;
        store.wake().call(store);
        Ok(moved)
    }

    /// Forgets parked messages for ever; how many of these there were.
    ///
    /// # Errors
    /// As a statement.
    pub async fn discard_parked(&self, ids: &[i64]) -> Result<u64, SqlError> {
        let store = self.store();
        let sql = store.outbox_statements().discard();
        store
            .execute("discarding parked messages", sql, &[Value::Ints(ids)])
            .await
    }
}
