//! The warehouse: the stock in the database, and what was decided about which order.

use super::StockDelivered;
use super::shelves::{Shelf, Shelves};
use crate::channel::STOCK;
use crate::database::{Database, DatabaseError, Sql, Value, with_store};
use crate::domain::{Order, OrderId, Sku};
use tidings::Publisher;
use tidings::sql::sqlx::Error;
use tidings::sql::{Outbox, OutboxError, SqlStore};

/// What the page shows of a product.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StockLevel {
    /// The product.
    pub sku: Sku,
    /// How many are for sale.
    pub for_sale: i64,
    /// How many were set aside for orders since the shop opened for the first time.
    pub set_aside: i64,
}

impl Database {
    /// What there is of each product.
    ///
    /// # Errors
    /// [`DatabaseError`].
    pub async fn stock(&self) -> Result<Vec<StockLevel>, DatabaseError> {
        let shelves = with_store!(self, store => seen(store).await)?;
        let level = |(sku, shelf): (Sku, &Shelf)| StockLevel {
            sku,
            for_sale: shelf.for_sale,
            set_aside: shelf.set_aside,
        };
        Ok(shelves.each().map(level).collect())
    }

    /// Takes in what the supplier brings, with the events that say so.
    ///
    /// # Errors
    /// [`DatabaseError`]: nothing has changed.
    pub async fn restock(&self, publisher: &Publisher) -> Result<(), DatabaseError> {
        with_store!(self, store => restock(&Outbox::new(store, publisher)).await)
    }
}

/// The stock, with the rows held until the transaction ends: who decides waits for who has decided.
pub(super) async fn held<DB: Sql>(connection: &mut DB::Connection) -> Result<Shelves, Error> {
    read::<DB>(connection, &format!("{SELECT} ORDER BY sku {}", DB::FOR_UPDATE)).await
}

/// The stock as it was a moment ago.
async fn seen<DB: Sql>(store: &SqlStore<DB>) -> Result<Shelves, Error> {
    read::<DB>(&mut *store.pool().acquire().await?, SELECT).await
}

const SELECT: &str = "SELECT sku, for_sale, set_aside, deliveries FROM shop_stock";

async fn read<DB: Sql>(connection: &mut DB::Connection, select: &str) -> Result<Shelves, Error> {
    let mut shelves = Shelves::full();
    for row in DB::rows(connection, select, &[]).await? {
        // Another version of the shop may sell more.
        let Ok(sku) = Sku::try_from(DB::text_in(&row, 0)?) else {
            continue;
        };
        *shelves.of(sku) = Shelf {
            for_sale: DB::number_in(&row, 1)?,
            set_aside: DB::number_in(&row, 2)?,
            deliveries: DB::number_in(&row, 3)?,
        };
    }
    Ok(shelves)
}

/// Keeps what has changed.
pub(super) async fn keep<DB: Sql>(
    connection: &mut DB::Connection,
    before: &Shelves,
    now: &Shelves,
) -> Result<(), Error> {
    let update = "UPDATE shop_stock SET for_sale = $2, set_aside = $3, deliveries = $4 WHERE sku = $1";
    for (sku, shelf) in now.changed_since(before) {
        let values = [
            Value::Text(sku.product().sku),
            Value::Number(shelf.for_sale),
            Value::Number(shelf.set_aside),
            Value::Number(shelf.deliveries),
        ];
        DB::change(connection, update, &values).await?;
    }
    Ok(())
}

/// Keeps what was decided about orders, each once for ever: a second decision about one is an error.
pub(super) async fn decided<DB: Sql>(
    connection: &mut DB::Connection,
    decisions: &[(OrderId, Result<(), String>)],
) -> Result<(), Error> {
    let rows: Vec<(String, &str, &str)> = decisions
        .iter()
        .map(|(order, decision)| match decision {
            Ok(()) => (order.to_string(), "reserved", ""),
            Err(reason) => (order.to_string(), "rejected", reason.as_str()),
        })
        .collect();
    let values: Vec<Value<'_>> = rows
        .iter()
        .flat_map(|(order, state, reason)| [order.as_str(), state, reason].map(Value::Text))
        .collect();
    let into = "INSERT INTO shop_reservations (order_id, state, reason) VALUES";
    DB::insert(connection, into, 3, &values, "").await?;
    Ok(())
}

/// Notes that what was set aside for an order is put back; whether it was set aside.
pub(super) async fn released<DB: Sql>(connection: &mut DB::Connection, order: &Order) -> Result<bool, Error> {
    let update = "UPDATE shop_reservations SET state = 'released' WHERE order_id = $1 AND state = 'reserved'";
    let changed = DB::change(connection, update, &[Value::Text(&order.id.to_string())]).await?;
    Ok(changed == 1)
}

async fn restock<DB: Sql>(outbox: &Outbox<DB>) -> Result<(), DatabaseError> {
    // Usually nothing is low: then nobody is kept waiting.
    if seen(outbox.store()).await?.restock().is_empty() {
        return Ok(());
    }
    let mut tx = outbox.store().begin().await?;
    let before = held::<DB>(&mut tx).await?;
    let mut now = before.clone();
    let delivered: Vec<StockDelivered> = now.restock();
    keep::<DB>(&mut tx, &before, &now).await?;
    let told = outbox.publishing(&mut tx, async |publisher| {
        for delivery in &delivered {
            publisher
                .publish(STOCK, delivery)
                .await
                .map_err(OutboxError::from)?;
        }
        Ok::<(), OutboxError>(())
    });
    told.await?;
    Ok(tx.commit().await?)
}

/// Puts what is new in the catalogue on its shelf.
pub(crate) async fn open<DB: Sql>(connection: &mut DB::Connection) -> Result<(), Error> {
    let insert = "INSERT INTO shop_stock (sku, for_sale, set_aside, deliveries) VALUES ($1, $2, 0, 0) \
                  ON CONFLICT (sku) DO NOTHING";
    for (sku, shelf) in Shelves::full().each() {
        let values = [Value::Text(sku.product().sku), Value::Number(shelf.for_sale)];
        DB::change(connection, insert, &values).await?;
    }
    Ok(())
}
