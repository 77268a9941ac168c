//! Databases, instances and processes that die or stand still.

use super::*;
use crate::support::Home;
use sqlx::Postgres;
use std::sync::{Arc, Mutex};
use tidings::{InboxError, InboxStore};
use tidings_sql::SqlOptions;

/// How many messages the run with kills has; more by the environment variable `TIDINGS_INBOX_MESSAGES`.
fn messages() -> u64 {
    let wanted = std::env::var("TIDINGS_INBOX_MESSAGES").ok();
    wanted.map_or(10_000, |count| {
        count.parse().expect("TIDINGS_INBOX_MESSAGES is a number")
    })
}

/// An instance that stands still in the middle of a message holds its claim. Whoever gets the same message tries again and
/// again, and leaves nothing waiting on the server.
#[tokio::test]
async fn a_claim_that_an_instance_holds_is_waited_for_only_so_long() {
    let test = "a_claim_that_an_instance_holds_is_waited_for_only_so_long";
    let Some(home) = crate::support::postgres(test) else {
        return;
    };
    let store = home
        .open_with::<Postgres>(SqlOptions::default().timeout(secs(2)))
        .await;
    let begin = |ids: [&str; 2]| InboxStore::begin(&store, "stock", ids.map(str::to_owned).to_vec());
    let frozen = begin(["a", "b"]).await.unwrap();
    let begun = Instant::now();
    let refused = begin(["b", "c"]).await.err().unwrap();
    assert!(matches!(refused, InboxError::Conflict(_)), "{refused}");
    assert!(
        (millis(900)..millis(1_900)).contains(&begun.elapsed()),
        "{:?}",
        begun.elapsed()
    );
    let waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()";
    assert_eq!(count(&store, waiting).await, 0);
    frozen.rollback().await.unwrap();
    let free = begin(["b", "c"]).await.unwrap();
    assert!(!free.is_duplicate(0) && !free.is_duplicate(1));
}

/// What bounds the claim does not bound the handler's own statements.
#[tokio::test]
async fn a_handler_waits_for_locks_as_long_as_its_connection_says() {
    let test = "a_handler_waits_for_locks_as_long_as_its_connection_says";
    let Some(home) = crate::support::postgres(test) else {
        return;
    };
    let url = format!("{}?options=-c%20lock_timeout%3D77s", home.url);
    let store = SqlStore::<Postgres>::open(&url).await.unwrap();
    let (said, seen) = (Arc::new(Mutex::new(String::new())), Arc::new(Mutex::new(0)));
    let (say, see) = (said.clone(), seen.clone());
    let handler = move |_: Batch<Raw>, mut tx: Tx<Postgres>| {
        let (say, see) = (say.clone(), see.clone());
        async move {
            let shown = sqlx::query_scalar("SHOW lock_timeout")
                .fetch_one(&mut *tx)
                .await?;
            *say.lock().unwrap() = shown;
            *see.lock().unwrap() += 1;
            Ok::<_, Failure>(())
        }
    };
    let app = App::new("shop").add(on("orders", handler).group("stock").inbox(store.clone()));
    let running = start(app).await;
    send(&running, ["m-1".to_owned(), "m-2".to_owned()]).await;
    handled(&running, 2).await;
    assert_eq!(*said.lock().unwrap(), "77s");
    assert!(*seen.lock().unwrap() > 0);
}

/// A handling that is given up is rolled back at once, whatever its handler has handed to others.
#[tokio::test]
async fn a_handling_that_is_given_up_leaves_no_transaction_open() {
    let test = "a_handling_that_is_given_up_leaves_no_transaction_open";
    let Some(home) = crate::support::postgres(test) else {
        return;
    };
    let store = home.open::<Postgres>().await;
    let kept = Arc::new(Mutex::new(Vec::new()));
    let keep = kept.clone();
    let handler = move |delivery: Delivery, publisher: Publisher, mut tx: Tx<Postgres>| {
        let keep = keep.clone();
        async move {
            effect(&mut tx, "lost").await.ok();
            keep.lock().unwrap().push((delivery, publisher));
            std::future::pending::<()>().await;
            drop(tx);
        }
    };
    let app = App::new("shop").add(on("orders", handler).group("stock").inbox(store.clone()));
    let running = start(app).await;
    send(&running, ["m-1".to_owned()]).await;
    while kept.lock().unwrap().is_empty() {
        sleep(millis(5)).await;
    }
    let open = "SELECT count(*) FROM pg_stat_activity WHERE state LIKE 'idle in transaction%' AND datname = current_database()";
    assert_eq!(count(&store, open).await, 1);
    running.subscription("stock").unwrap().abort();
    let deadline = Instant::now() + secs(20);
    while count(&store, open).await > 0 {
        assert!(Instant::now() < deadline, "the transaction stays open");
        sleep(millis(20)).await;
    }
}

/// PostgreSQL is killed again and again while messages are handled one by one and in batches, half of which come twice.
/// While it is away nobody spins, nothing is given up, and health says what is waited for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn effects_happen_once_although_the_database_is_killed_under_load() {
    let test = "effects_happen_once_although_the_database_is_killed_under_load";
    if brokers::postgres_or_skip(test).is_none() {
        return;
    }
    let server = brokers::Postgres::start(brokers::PostgresOptions::durable()).unwrap();
    let home = Home::on(server.database("tidings").unwrap());
    let store = home.open::<Postgres>().await;
    with_effects(&store).await;
    let running = start(loaded(&store)).await;
    let (count, all) = (messages(), messages() + messages() / 2);
    send(&running, (0..count).map(|id| format!("m-{id}"))).await;
    send(&running, (0..count / 2).map(|id| format!("m-{id}"))).await;
    for kill in 1..=3 {
        until_sum("the next part", &running, |sum| {
            sum.handled + sum.filtered >= all * kill / 2
        })
        .await;
        server.kill().unwrap();
        until_sum("the obstacle", &running, |sum| {
            sum.obstacle
                .as_ref()
                .is_some_and(|said| said.contains("the inbox in PostgreSQL at 127.0.0.1"))
        })
        .await;
        let health = running.health();
        assert!(
            health.live && health.to_string().contains("the inbox in PostgreSQL at"),
            "{health}"
        );
        let before = sum(&running);
        sleep(millis(300)).await;
        let after = sum(&running);
        assert!(
            after.failed - before.failed < 200 && after.waiting < 200,
            "{after:#?}"
        );
        server.start_again().unwrap();
    }
    until_sum("the rest", &running, |sum| sum.handled + sum.filtered >= 2 * all).await;
    let (rows, different) = effects(&store).await;
    let counts = [rows, different, claims(&store).await].map(|count| count as u64);
    assert_eq!(counts, [count; 3]);
    let end = sum(&running);
    assert_eq!((end.dead_lettered, end.obstacle), (0, None));
    running.drain().await;
}

/// A quarter of the messages goes one by one, the rest in batches.
fn loaded(store: &SqlStore<Postgres>) -> App {
    async fn one(Raw(payload): Raw, mut tx: Tx<Postgres>) -> Result<(), Failure> {
        effect(&mut tx, std::str::from_utf8(&payload).unwrap()).await?;
        Ok(())
    }
    async fn many(batch: Batch<Raw>, mut tx: Tx<Postgres>) -> Result<(), Failure> {
        for Raw(payload) in batch {
            effect(&mut tx, std::str::from_utf8(&payload).unwrap()).await?;
        }
        Ok(())
    }
    let is_single = |delivery: &Delivery| {
        delivery
            .message_id()
            .is_some_and(|id| id.ends_with(['0', '4', '8']))
    };
    let retry = || Retry::fixed(1_000, millis(5)).budget(1e6, 1e6);
    let singles = on("orders", one).group("stock").concurrency(8).filter(is_single);
    let batches = on("orders", many)
        .group("record")
        .batch(50, millis(5))
        .concurrency(2);
    App::new("shop")
        .add(singles.retry(retry()).inbox(store.clone()))
        .add(
            batches
                .filter(move |delivery| !is_single(delivery))
                .retry(retry())
                .inbox(store.clone()),
        )
}

/// What both subscriptions say.
fn sum(running: &Running) -> tidings::SubscriptionStatus {
    let mut all = running.status().subscriptions.into_values();
    let mut sum = all.next().unwrap();
    for one in all {
        sum.handled += one.handled;
        sum.filtered += one.filtered;
        sum.failed += one.failed;
        sum.waiting += one.waiting;
        sum.dead_lettered += one.dead_lettered;
        sum.obstacle = sum.obstacle.or(one.obstacle);
    }
    sum
}

async fn until_sum(what: &str, running: &Running, is_so: impl Fn(&tidings::SubscriptionStatus) -> bool) {
    until(what, running, |_| is_so(&sum(running))).await;
}
