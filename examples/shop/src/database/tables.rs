//! The shop's own tables: shipped in the program, and made when it starts.

use super::{DatabaseError, Sql, Value};
use crate::inventory;
use tidings::sql::SqlStore;

/// What makes the tables, step by step. A step that was shipped is never changed: what is to be different is another one.
const STEPS: &[&str] = &[ORDERS, STOCK, PAYMENTS];

/// Orders, and requests that customers gave a name.
const ORDERS: &str = "
CREATE TABLE shop_orders (
    id TEXT PRIMARY KEY,
    customer TEXT NOT NULL,
    total_cents BIGINT NOT NULL,
    -- All of it, as the events have it.
    details TEXT NOT NULL,
    placed_at BIGINT NOT NULL
);
CREATE TABLE shop_requests (
    key TEXT PRIMARY KEY,
    fingerprint TEXT NOT NULL,
    order_id TEXT NOT NULL,
    -- The answer.
    status BIGINT NOT NULL,
    location TEXT NOT NULL,
    body TEXT NOT NULL,
    answered_at BIGINT NOT NULL
);
CREATE INDEX shop_requests_answered_at ON shop_requests (answered_at);
";

/// What there is of each product, and what was decided about each order.
const STOCK: &str = "
CREATE TABLE shop_stock (
    sku TEXT PRIMARY KEY,
    for_sale BIGINT NOT NULL,
    set_aside BIGINT NOT NULL,
    deliveries BIGINT NOT NULL
);
CREATE TABLE shop_reservations (
    order_id TEXT PRIMARY KEY,
    -- reserved, rejected or released
    state TEXT NOT NULL,
    reason TEXT NOT NULL
);
";

/// What became of payments.
const PAYMENTS: &str = "
CREATE TABLE shop_payments (
    order_id TEXT PRIMARY KEY,
    -- taken or declined
    state TEXT NOT NULL,
    cents BIGINT NOT NULL,
    -- The receipt, or why not.
    said TEXT NOT NULL
);
";

const STEPS_TABLE: &str = "CREATE TABLE IF NOT EXISTS shop_steps (step BIGINT PRIMARY KEY)";

/// Makes what is missing, in one transaction: programs that start together wait for each other.
pub(super) async fn make<DB: Sql>(store: &SqlStore<DB>) -> Result<(), DatabaseError> {
    let mut tx = store.begin().await?;
    if let Some(lock) = DB::LOCK_TABLES {
        DB::rows(&mut tx, lock, &[]).await?;
    }
    DB::run_all(&mut tx, STEPS_TABLE).await?;
    let done = DB::rows(&mut tx, "SELECT count(*) FROM shop_steps", &[]).await?;
    let done = done.first().map_or(Ok(0), |row| DB::number_in(row, 0))?;
    for (number, step) in (1..).zip(STEPS).skip(usize::try_from(done).unwrap_or(0)) {
        DB::run_all(&mut tx, step).await?;
        DB::change(
            &mut tx,
            "INSERT INTO shop_steps VALUES ($1)",
            &[Value::Number(number)],
        )
        .await?;
    }
    inventory::open::<DB>(&mut tx).await?;
    Ok(tx.commit().await?)
}
