//! The order book: orders in the database, each with its event, and requests that customers gave a name.

use super::OrderPlaced;
use crate::channel::ORDERS;
use crate::database::{Database, DatabaseError, Sql, Value, with_store};
use crate::domain::{Order, OrderId};
use std::time::Duration;
use tidings::sql::{Outbox, SqlStore, Tx, sqlx};
use tidings::{Publisher, Timestamp};
use uuid::Uuid;

/// For how long a request is known by its key, at the least.
pub const REQUESTS_KEPT: Duration = Duration::from_secs(24 * 3_600);
/// How many are forgotten at once.
const FORGOTTEN: i64 = 1_000;

/// What a customer is answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// Where the order is told of.
    pub location: String,
    /// The body.
    pub body: String,
}

/// A request that its customer gave a name, so that it may be sent again.
#[derive(Debug, Clone)]
pub struct NamedRequest {
    /// The name: an `Idempotency-Key`.
    pub key: String,
    /// What is the same only for the same request.
    pub fingerprint: String,
    /// What it is answered if it is the first one.
    pub answer: Answer,
}

impl NamedRequest {
    /// The request with that body.
    pub fn new(key: String, body: &[u8], answer: Answer) -> Self {
        let fingerprint = Uuid::new_v5(&Uuid::NAMESPACE_OID, body).to_string();
        Self {
            key,
            fingerprint,
            answer,
        }
    }
}

/// What became of an order that was to be taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Taken {
    /// It is kept, and its event with it.
    Now,
    /// The same request was answered before: with this.
    Before(Answer),
    /// The key is that of another request, about this order.
    KeyReused(String),
}

impl Database {
    /// Takes an order: with its event and the answer to its request, in one commit.
    ///
    /// Of two requests with one key that come together, the later one waits for the end of the first, in any process.
    ///
    /// # Errors
    /// [`DatabaseError`]: nothing is kept, unless it is [`SqlError::InDoubt`](tidings::sql::SqlError::InDoubt).
    pub async fn take(
        &self,
        publisher: &Publisher,
        placed: &OrderPlaced,
        request: Option<&NamedRequest>,
    ) -> Result<Taken, DatabaseError> {
        with_store!(self, store => take(&Outbox::new(store, publisher), placed, request).await)
    }

    /// The order with that number, and when it was placed.
    ///
    /// # Errors
    /// [`DatabaseError`].
    pub async fn order(&self, id: OrderId) -> Result<Option<(Order, Timestamp)>, DatabaseError> {
        with_store!(self, store => find(store, id).await)
    }

    /// Forgets requests that are old, some at a time.
    ///
    /// # Errors
    /// [`DatabaseError`].
    pub async fn forget_requests(&self) -> Result<(), DatabaseError> {
        while with_store!(self, store => forget(store).await)? == FORGOTTEN.unsigned_abs() {}
        Ok(())
    }
}

async fn take<DB: Sql>(
    outbox: &Outbox<DB>,
    placed: &OrderPlaced,
    request: Option<&NamedRequest>,
) -> Result<Taken, DatabaseError> {
    let (order, at) = (&placed.order, Timestamp::now().as_millis());
    let id = order.id.to_string();
    let mut tx = outbox.store().begin().await?;
    if let Some(request) = request {
        let known = claim(&mut tx, request, &id, at).await?;
        if known != Taken::Now {
            tx.rollback().await?;
            return Ok(known);
        }
    }
    let details = serde_json::to_string(order).map_err(|error| sqlx::Error::Encode(error.into()))?;
    let total = i64::try_from(order.total.0).unwrap_or(i64::MAX);
    let insert =
        "INSERT INTO shop_orders (id, customer, total_cents, details, placed_at) VALUES ($1, $2, $3, $4, $5)";
    let values = [
        Value::Text(&id),
        Value::Text(&order.customer),
        Value::Number(total),
        Value::Text(&details),
        Value::Number(at),
    ];
    DB::change(&mut tx, insert, &values).await?;
    outbox.publish(&mut tx, ORDERS, placed).await?;
    tx.commit().await?;
    Ok(Taken::Now)
}

/// Keeps the answer to a request under its key, or finds what is there. The statement waits for whoever has just put
/// something there, and gives back what is there then.
async fn claim<DB: Sql>(
    tx: &mut Tx<DB>,
    request: &NamedRequest,
    order: &str,
    at: i64,
) -> Result<Taken, DatabaseError> {
    let claim = "INSERT INTO shop_requests (key, fingerprint, order_id, status, location, body, answered_at) \
                 VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (key) DO UPDATE SET key = excluded.key \
                 RETURNING order_id, fingerprint, status, location, body";
    let values = [
        Value::Text(&request.key),
        Value::Text(&request.fingerprint),
        Value::Text(order),
        Value::Number(request.answer.status.into()),
        Value::Text(&request.answer.location),
        Value::Text(&request.answer.body),
        Value::Number(at),
    ];
    let rows = DB::rows(tx, claim, &values).await?;
    let row = rows.first().ok_or(sqlx::Error::RowNotFound)?;
    let known = DB::text_in(row, 0)?;
    if known == order {
        return Ok(Taken::Now);
    }
    if DB::text_in(row, 1)? != request.fingerprint {
        return Ok(Taken::KeyReused(known));
    }
    let status = u16::try_from(DB::number_in(row, 2)?).map_err(|error| sqlx::Error::Decode(error.into()))?;
    Ok(Taken::Before(Answer {
        status,
        location: DB::text_in(row, 3)?,
        body: DB::text_in(row, 4)?,
    }))
}

async fn find<DB: Sql>(
    store: &SqlStore<DB>,
    id: OrderId,
) -> Result<Option<(Order, Timestamp)>, DatabaseError> {
    let mut connection = store.pool().acquire().await?;
    let select = "SELECT details, placed_at FROM shop_orders WHERE id = $1";
    let rows = DB::rows(&mut connection, select, &[Value::Text(&id.to_string())]).await?;
    let Some(row) = rows.first() else {
        return Ok(None);
    };
    let order =
        serde_json::from_str(&DB::text_in(row, 0)?).map_err(|error| sqlx::Error::Decode(error.into()))?;
    Ok(Some((order, Timestamp::from_millis(DB::number_in(row, 1)?))))
}

async fn forget<DB: Sql>(store: &SqlStore<DB>) -> Result<u64, DatabaseError> {
    let kept = i64::try_from(REQUESTS_KEPT.as_millis()).unwrap_or(i64::MAX);
    let values = [
        Value::Number(Timestamp::now().as_millis().saturating_sub(kept)),
        Value::Number(FORGOTTEN),
    ];
    let delete = "DELETE FROM shop_requests WHERE key IN \
                  (SELECT key FROM shop_requests WHERE answered_at < $1 ORDER BY answered_at LIMIT $2)";
    let mut tx = store.begin().await?;
    let forgotten = DB::change(&mut tx, delete, &values).await?;
    tx.commit().await?;
    Ok(forgotten)
}
