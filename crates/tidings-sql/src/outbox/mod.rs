//! Events that are published with a transaction or not at all: [`Outbox`].

mod parked;
#[cfg(test)]
mod plans;
pub(crate) mod reading;
pub(crate) mod rows;
pub(crate) mod wake;

pub use parked::Parked;

use crate::dialect::Dialect;
use crate::error::SqlError;
use crate::store::SqlStore;
use rows::COUNTED;
use std::sync::Arc;
use std::time::Duration;
use tidings_core::{
    Backlog, Clock, Collected, Encode, Event, Message, PublishError, Publisher, Route, Routes,
};

/// The most bytes that one call writes, by default.
const MOST_BYTES: usize = 16 << 20;

/// Publishes within transactions: what is published is sent by a [`Relay`](crate::Relay) if the transaction is committed, and
/// never if it is not.
///
/// The transaction may be a [`Tx`](crate::Tx), or one of sqlx on the same database. Messages are as a [`Publisher`] makes
/// them, and keep their ids however often they are sent. Those of one key are sent in the order in which they were written;
/// transactions that write the same key at the same time have none. What was written knows its channel; where that leads is
/// found out by the relay.
///
/// ```
/// use sqlx::Sqlite;
/// use tidings_core::Message;
/// use tidings_sql::{Outbox, SqlStore};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let store = SqlStore::<Sqlite>::open("sqlite::memory:").await?;
/// let outbox = Outbox::to_channels(&store, ["orders"]);
/// let mut tx = store.begin().await?;
/// sqlx::query("CREATE TABLE orders (id TEXT)").execute(&mut *tx).await?;
/// sqlx::query("INSERT INTO orders VALUES ('o-7')").execute(&mut *tx).await?;
/// outbox.send(&mut tx, "orders", Message::new(r#"{"order_id":"o-7"}"#).with_key("o-7")).await?;
/// tx.commit().await?;
/// assert_eq!(outbox.backlog().await?.messages, 1);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Outbox<DB: Dialect> {
    store: SqlStore<DB>,
    publisher: Publisher,
    most_bytes: usize,
}

impl<DB: Dialect> Clone for Outbox<DB> {
    fn clone(&self) -> Self {
        Self {
            store: self.store.clone(),
            publisher: self.publisher.clone(),
            most_bytes: self.most_bytes,
        }
    }
}

/// Why something was not written to the outbox.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OutboxError {
    /// The event or its channel is at fault.
    #[error(transparent)]
    Publish(#[from] PublishError),
    /// The database did not take it.
    #[error(transparent)]
    Sql(#[from] SqlError),
}

impl<DB: Dialect> Outbox<DB> {
    /// An outbox for the channels of an app, whose messages are caused by what the app's publisher is caused by.
    pub fn new(store: &SqlStore<DB>, publisher: &Publisher) -> Self {
        Self {
            store: store.clone(),
            publisher: publisher.to_channels(),
            most_bytes: MOST_BYTES,
        }
    }

    /// An outbox for these channels, where no app is at hand: it runs elsewhere.
    pub fn to_channels<'a>(store: &SqlStore<DB>, channels: impl IntoIterator<Item = &'a str>) -> Self {
        let mut routes = Routes::default();
        for channel in channels {
            let route = Route {
                // Never published to: each call brings its own.
                sink: Collected::new(0),
                destination: channel.into(),
            };
            routes.insert(channel, route);
        }
        Self::new(store, &Publisher::new(Arc::new(routes), Clock::System))
    }

    /// The most bytes that one call may write, keys, payloads and headers together; default 16 MiB.
    #[must_use]
    pub fn max_bytes(self, most_bytes: usize) -> Self {
        Self { most_bytes, ..self }
    }

    /// The database that it is in.
    pub fn store(&self) -> &SqlStore<DB> {
        &self.store
    }

    /// Publishes an event with the transaction.
    ///
    /// # Errors
    /// [`OutboxError::Publish`] for an unknown channel or an event that cannot be encoded; [`OutboxError::Sql`].
    pub async fn publish<E>(
        &self,
        transaction: &mut DB::Connection,
        channel: &str,
        event: &E,
    ) -> Result<(), OutboxError>
    where
        E: Event,
        E::Codec: Encode<E>,
    {
        let collected = Collected::new(self.most_bytes);
        // The answer is that of the collection, which is asked below.
        drop(
            self.publisher
                .through(collected.clone())
                .publish(channel, event)
                .await?,
        );
        self.write(transaction, &collected).await
    }

    /// Publishes a message with the transaction. Id, time, correlation and trace are added where they are missing.
    ///
    /// # Errors
    /// As [`publish`](Self::publish).
    pub async fn send(
        &self,
        transaction: &mut DB::Connection,
        channel: &str,
        message: Message,
    ) -> Result<(), OutboxError> {
        let collected = Collected::new(self.most_bytes);
        drop(
            self.publisher
                .through(collected.clone())
                .send(channel, message)
                .await?,
        );
        self.write(transaction, &collected).await
    }

    /// Publishes everything that `work` sends with its publisher, with all that a [`Publisher`] can do; the fastest way for
    /// many. Receipts resolve at once, to positions that have no offset yet.
    ///
    /// ```
    /// # use sqlx::Sqlite;
    /// # use tidings_core::Message;
    /// # use tidings_sql::{Outbox, OutboxError, SqlStore};
    /// # use std::time::Duration;
    /// # async fn example(store: SqlStore<Sqlite>, outbox: Outbox<Sqlite>) -> Result<(), OutboxError> {
    /// let mut tx = store.begin().await?;
    /// outbox
    ///     .publishing(&mut tx, async |publisher| {
    ///         publisher.send("orders", Message::new("7 teapots")).await?;
    ///         let later = publisher.to("reminders").delay(Duration::from_secs(3600));
    ///         later.message(Message::new("drink it")).await?;
    ///         Ok::<_, OutboxError>(())
    ///     })
    ///     .await?;
    /// tx.commit().await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// What `work` returns, and then nothing was written; as [`publish`](Self::publish).
    pub async fn publishing<T, E: From<OutboxError>>(
        &self,
        transaction: &mut DB::Connection,
        work: impl AsyncFnOnce(Publisher) -> Result<T, E>,
    ) -> Result<T, E> {
        let collected = Collected::new(self.most_bytes);
        let done = work(self.publisher.through(collected.clone())).await?;
        self.write(transaction, &collected).await?;
        Ok(done)
    }

    /// How much waits to be sent, counted up to 100,000 messages.
    ///
    /// # Errors
    /// As a statement.
    pub async fn backlog(&self) -> Result<Backlog, SqlError> {
        self.store.backlog().await
    }

    async fn write(
        &self,
        transaction: &mut DB::Connection,
        collected: &Collected,
    ) -> Result<(), OutboxError> {
        let messages = collected.take()?;
        rows::write(&self.store, transaction, &messages).await?;
        Ok(())
    }
}

impl<DB: Dialect> SqlStore<DB> {
    /// How much waits in the outbox.
    pub(crate) async fn backlog(&self) -> Result<Backlog, SqlError> {
        let doing = "looking at the backlog";
        let rows = self.read(doing, self.outbox_statements().backlog(), &[]).await?;
        let parse = |row: &DB::Row| -> Result<Backlog, sqlx::Error> {
            let number = |column| {
                Ok::<_, sqlx::Error>(DB::maybe_int(row, column)?.map(|found| found.max(0).unsigned_abs()))
            };
            let messages = number(0)?.unwrap_or(COUNTED.unsigned_abs());
            let age = number(1)?.map(Duration::from_millis);
            Ok(Backlog::new(messages, age, number(2)?.unwrap_or_default()))
        };
        let row = rows.first().ok_or(sqlx::Error::RowNotFound).and_then(parse);
        row.map_err(|error| self.explain(doing, error))
    }
}
