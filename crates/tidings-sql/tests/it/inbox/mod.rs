//! Subscriptions with an inbox: what handlers did is in the database once, whatever happens.

mod batches;
mod cut;
mod deaths;
mod faults;
mod pruning;
mod redelivered;
mod singles;

use crate::support::TestDb;
use std::time::Duration;
use tidings::prelude::*;
use tidings::{Running, names};
use tidings_sql::{SqlStore, Tx};
use tokio::time::{Instant, sleep};

/// A service on a broker in memory.
async fn start(app: App) -> Running {
    app.start(Config::from_toml("[binder.main]\nurl = \"memory:\"", "tidings.toml").unwrap())
        .await
        .unwrap()
}

/// A message whose id and payload are that.
fn message(id: &str) -> Message {
    Message::new(id.to_owned())
        .with_header(names::MESSAGE_ID, id)
        .unwrap()
}

async fn send(running: &Running, ids: impl IntoIterator<Item = String>) {
    let publisher = running.publisher();
    let receipts: Vec<_> = ids
        .into_iter()
        .map(|id| publisher.send("orders", message(&id)))
        .collect();
    for receipt in receipts {
        receipt.await.unwrap();
    }
}

/// The table that handlers write to: nothing in it hides what was done twice.
async fn with_effects<DB: TestDb>(store: &SqlStore<DB>) {
    let mut tx = store.begin().await.unwrap();
    DB::run(
        &mut tx,
        "CREATE TABLE IF NOT EXISTS effects (id TEXT, attempt BIGINT)",
    )
    .await
    .unwrap();
    tx.commit().await.unwrap();
}

async fn effect<DB: TestDb>(tx: &mut Tx<DB>, id: &str) -> Result<(), sqlx::Error> {
    DB::run(tx, &format!("INSERT INTO effects VALUES ('{id}', 1)")).await
}

async fn count<DB: TestDb>(store: &SqlStore<DB>, sql: &str) -> i64 {
    let mut connection = store.pool().acquire().await.unwrap();
    DB::number(&mut connection, sql).await
}

async fn effects<DB: TestDb>(store: &SqlStore<DB>) -> (i64, i64) {
    let all = count(store, "SELECT count(*) FROM effects").await;
    let different = count(store, "SELECT count(DISTINCT id) FROM effects").await;
    (all, different)
}

async fn claims<DB: TestDb>(store: &SqlStore<DB>) -> i64 {
    count(store, &format!("SELECT count(*) FROM {}", table::<DB>())).await
}

/// The inbox, as statements by hand name it.
fn table<DB: TestDb>() -> &'static str {
    if is_postgres::<DB>() {
        "tidings.inbox"
    } else {
        "tidings_inbox"
    }
}

fn is_postgres<DB: TestDb>() -> bool {
    std::any::type_name::<DB>().contains("Postgres")
}

/// The status of the only subscription.
fn status(running: &Running) -> tidings::SubscriptionStatus {
    running.status().subscriptions.into_values().next().unwrap()
}

async fn until(what: &str, running: &Running, is_so: impl Fn(&tidings::SubscriptionStatus) -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let now = status(running);
        if is_so(&now) {
            return;
        }
        assert!(Instant::now() < deadline, "{what} takes too long: {now:#?}");
        sleep(Duration::from_millis(5)).await;
    }
}

/// Until so many messages were handled, duplicates among them.
async fn handled(running: &Running, count: u64) {
    until("handling", running, |status| {
        status.handled + status.dead_lettered >= count
    })
    .await;
}
