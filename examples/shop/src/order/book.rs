//! The order book: orders in the database, each with its event, and requests that customers gave a name.

use super::OrderPlaced;
use crate::channel::ORDERS;
use crate::database::{Database, DatabaseError, Sql, Value, with_store};
use crate::domain::{Order, OrderId};
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tidings::sql::{Outbox, OutboxError, SqlStore, Tx, sqlx};
use tidings::{Publisher, Timestamp};
use tokio::sync::oneshot;
use uuid::Uuid;

/// For how long a request is known by its key, at the least.
pub const REQUESTS_KEPT: Duration = Duration::from_secs(24 * 3_600);
/// How many orders are kept by one commit, at the most.
const TOGETHER: usize = 64;
/// How many requests are forgotten at once.
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

/// The order book. Orders that come at the same time are kept by one commit, because a commit waits for the disk. Clones
/// share it.
#[derive(Debug, Clone)]
pub struct Book {
    database: Database,
    waiting: Arc<Mutex<Vec<Entry>>>,
    /// Held by the one who writes.
    pen: Arc<tokio::sync::Mutex<()>>,
}

/// An order that is to be taken, and who waits for it.
#[derive(Debug)]
struct Entry {
    placed: OrderPlaced,
    request: Option<NamedRequest>,
    taken: oneshot::Sender<Result<Taken, Arc<DatabaseError>>>,
}

impl Book {
    /// The book in that database.
    pub fn new(database: Database) -> Self {
        Self {
            database,
            waiting: Arc::default(),
            pen: Arc::default(),
        }
    }

    /// Takes an order: with its event and the answer to its request, in one commit.
    ///
    /// Of two requests with one key that come together, the later one waits for the end of the first, in any process.
    ///
    /// # Errors
    /// [`DatabaseError`]: nothing is kept, unless it is [`SqlError::InDoubt`](tidings::sql::SqlError::InDoubt).
    pub async fn take(
        &self,
        publisher: &Publisher,
        placed: OrderPlaced,
        request: Option<NamedRequest>,
    ) -> Result<Taken, Arc<DatabaseError>> {
        let (taken, answered) = oneshot::channel();
        let entry = Entry {
            placed,
            request,
            taken,
        };
        self.waiting
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(entry);
        // Whoever gets the pen writes for all who wait, so it is no part of a request that may be given up.
        let (book, publisher) = (self.clone(), publisher.clone());
        tokio::spawn(async move { book.write(&publisher).await });
        let closing = |_| Arc::new(DatabaseError::Closing);
        answered.await.map_err(closing)?
    }

    async fn write(&self, publisher: &Publisher) {
        let _pen = self.pen.lock().await;
        let mut entries = self.next_entries();
        if entries.is_empty() {
            return;
        }
        // All processes claim keys in the same order, so that none waits for one that waits for it.
        entries.sort_by(|a, b| a.key().cmp(&b.key()));
        let taken =
            with_store!(&self.database, store => take(&Outbox::new(store, publisher), &entries).await);
        let taken = match taken {
            Ok(taken) => taken.into_iter().map(Ok).collect(),
            Err(error) => vec![Err(Arc::new(error)); entries.len()],
        };
        for (entry, taken) in entries.into_iter().zip(taken) {
            // Who has gone away asks again, or does not care.
            let _ = entry.taken.send(taken);
        }
    }
}

impl Book {
    /// Those who wait, each key once: who sends a request again waits until it is done. Each entry came with one who
    /// writes, so none is left behind.
    fn next_entries(&self) -> Vec<Entry> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let mut keys = HashSet::new();
        let mut count = 0;
        let next = waiting.extract_if(.., |entry| {
            let is_next = count < TOGETHER && entry.key().is_none_or(|key| keys.insert(key.to_owned()));
            count += usize::from(is_next);
            is_next
        });
        next.collect()
    }
}

impl Entry {
    fn key(&self) -> Option<&str> {
        self.request.as_ref().map(|request| request.key.as_str())
    }
}

impl Database {
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

async fn take<DB: Sql>(outbox: &Outbox<DB>, entries: &[Entry]) -> Result<Vec<Taken>, DatabaseError> {
    let at = Timestamp::now().as_millis();
    let mut tx = outbox.store().begin().await?;
    let ids: Vec<String> = entries
        .iter()
        .map(|entry| entry.placed.order.id.to_string())
        .collect();
    let known = claim(&mut tx, entries, &ids, at).await?;
    let mut all = Vec::with_capacity(entries.len());
    let mut new = Vec::with_capacity(entries.len());
    for (entry, id) in entries.iter().zip(&ids) {
        let request = entry.request.as_ref();
        let known = request.and_then(|request| Some((request, known.get(&request.key)?)));
        let taken = known.map_or(Taken::Now, |(request, known)| known.to(request, id));
        if taken == Taken::Now {
            new.push((id, &entry.placed));
        }
        all.push(taken);
    }
    keep(&mut tx, &new, at).await?;
    let told = outbox.publishing(&mut tx, async |publisher| {
        for (_, placed) in &new {
            drop(
                publisher
                    .publish(ORDERS, *placed)
                    .await
                    .map_err(OutboxError::from)?,
            );
        }
        Ok::<(), OutboxError>(())
    });
    told.await?;
    tx.commit().await?;
    Ok(all)
}

/// Keeps orders.
async fn keep<DB: Sql>(
    tx: &mut Tx<DB>,
    new: &[(&String, &OrderPlaced)],
    at: i64,
) -> Result<(), DatabaseError> {
    let details: Result<Vec<String>, _> = new
        .iter()
        .map(|(_, placed)| serde_json::to_string(&placed.order))
        .collect();
    let details = details.map_err(|error| sqlx::Error::Encode(error.into()))?;
    let values = new.iter().zip(&details).flat_map(|((id, placed), details)| {
        let order = &placed.order;
        [
            Value::Text(id),
            Value::Text(&order.customer),
            Value::Number(i64::try_from(order.total.0).unwrap_or(i64::MAX)),
            Value::Text(details),
            Value::Number(at),
        ]
    });
    let values: Vec<Value<'_>> = values.collect();
    let into = "INSERT INTO shop_orders (id, customer, total_cents, details, placed_at) VALUES";
    DB::insert(tx, into, 5, &values, "").await?;
    Ok(())
}

/// What is kept under a key.
#[derive(Debug)]
struct Known {
    order: String,
    fingerprint: String,
    answer: Answer,
}

impl Known {
    /// What that is to a request about that order.
    fn to(&self, request: &NamedRequest, order: &str) -> Taken {
        if self.order == order {
            Taken::Now
        } else if self.fingerprint == request.fingerprint {
            Taken::Before(self.answer.clone())
        } else {
            Taken::KeyReused(self.order.clone())
        }
    }
}

/// Keeps the answers to requests under their keys, and tells what is there then, by key. The statement waits for whoever
/// has just put something there.
async fn claim<DB: Sql>(
    tx: &mut Tx<DB>,
    entries: &[Entry],
    ids: &[String],
    at: i64,
) -> Result<HashMap<String, Known>, DatabaseError> {
    let requests = entries.iter().zip(ids);
    let values = requests.filter_map(|(entry, id)| {
        let request = entry.request.as_ref()?;
        Some([
            Value::Text(&request.key),
            Value::Text(&request.fingerprint),
            Value::Text(id),
            Value::Number(request.answer.status.into()),
            Value::Text(&request.answer.location),
            Value::Text(&request.answer.body),
            Value::Number(at),
        ])
    });
    let values: Vec<Value<'_>> = values.flatten().collect();
    let into =
        "INSERT INTO shop_requests (key, fingerprint, order_id, status, location, body, answered_at) VALUES";
    let rest = "ON CONFLICT (key) DO UPDATE SET key = excluded.key \
                RETURNING key, order_id, fingerprint, status, location, body";
    let mut known = HashMap::with_capacity(entries.len());
    for row in DB::insert(tx, into, 7, &values, rest).await? {
        let status = u16::try_from(DB::number_in(&row, 3)?);
        let answer = Answer {
            status: status.map_err(|error| sqlx::Error::Decode(error.into()))?,
            location: DB::text_in(&row, 4)?,
            body: DB::text_in(&row, 5)?,
        };
        let kept = Known {
            order: DB::text_in(&row, 1)?,
            fingerprint: DB::text_in(&row, 2)?,
            answer,
        };
        known.insert(DB::text_in(&row, 0)?, kept);
    }
    Ok(known)
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
