//! What is sent while the database is killed.

use crate::fake::{Fake, Running, eventually, quick, waiting};
use crate::support::{Home, TestDb};
use sqlx::Postgres;
use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tidings_core::Message;
use tidings_sql::{
    Outbox, Reading, RelayOptions, ReplicationOptions, ReplicationRelay, SqlError, SqlOptions, SqlStore,
};
use tokio::task::JoinHandle;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_postgres_loses_and_invents_nothing_and_keeps_the_order_of_keys() {
    let test = "a_killed_postgres_loses_and_invents_nothing_and_keeps_the_order_of_keys";
    kill_postgres(test, |store, _, fake, options| {
        (Running::start(store, fake, options), Box::new(|| true) as IsReady)
    })
    .await;
}

/// Its role has a password, and the server asks for it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_postgres_that_is_replicated_loses_and_invents_nothing_either() {
    let test = "a_killed_postgres_that_is_replicated_loses_and_invents_nothing_either";
    kill_postgres(test, |store, server, fake, options| {
        let hba = server.directory().join("data/pg_hba.conf");
        let trust = std::fs::read_to_string(&hba).unwrap();
        let asks = format!("host all reader 127.0.0.1/32 scram-sha-256\n{trust}");
        std::fs::write(&hba, asks).unwrap();
        let role = "CREATE ROLE reader LOGIN REPLICATION PASSWORD 'se cret'; SELECT pg_reload_conf()";
        server.api().sql("postgres", role).unwrap();
        let connect = store.pool().connect_options().as_ref().clone();
        let connect = connect.username("reader").password("se cret");
        let relay = ReplicationRelay::new(
            store,
            fake,
            options,
            ReplicationOptions::default().connect(connect),
        );
        let (running, status) = Running::replicating(relay.unwrap());
        let is_ready = move || status.reading() == Reading::Replication;
        (running, Box::new(is_ready) as IsReady)
    })
    .await;
}

type IsReady = Box<dyn Fn() -> bool>;

/// What writers committed in doubt is known by the table that they wrote in the same transactions.
async fn kill_postgres(
    test: &str,
    start: impl FnOnce(&SqlStore<Postgres>, &brokers::Postgres, Arc<Fake>, RelayOptions) -> (Running, IsReady),
) {
    let Some(server) = brokers::or_skip(
        test,
        brokers::Postgres::start(brokers::PostgresOptions::durable()),
    ) else {
        return;
    };
    let home = Home::on(server.database("tidings").unwrap());
    let options = SqlOptions::default().timeout(Duration::from_secs(2));
    let store = home.open_with::<Postgres>(options.clone()).await;
    let mut tx = store.begin().await.unwrap();
    Postgres::run(
        &mut tx,
        "CREATE TABLE effects (key text, number int, PRIMARY KEY (key, number))",
    )
    .await
    .unwrap();
    tx.commit().await.unwrap();

    let fake = Fake::new();
    let quick = quick().longest_backoff(Duration::from_millis(500));
    let (relay, is_ready) = start(&store, &server, fake.clone(), quick);
    eventually("the relay is ready", &is_ready).await;
    let is_over = Arc::new(AtomicBool::new(false));
    let writers = (0..4).map(|writer| writing(store.clone(), writer, is_over.clone()));
    let writers: Vec<_> = writers.collect();
    for faults in 1..=3 {
        eventually("the relay is ready again", &is_ready).await;
        let enough = relay.status.sent() + 250;
        eventually("messages are sent", || relay.status.sent() > enough).await;
        if faults == 3 {
            break;
        }
        let server = &server;
        tokio::task::block_in_place(|| {
            server.kill().unwrap();
            server.start_again().unwrap();
        });
    }
    is_over.store(true, Ordering::Release);
    for writer in writers {
        writer.await.unwrap();
    }
    let outbox = Outbox::to_channels(&store, ["orders"]);
    while waiting(&outbox).await > 0 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    relay.stop().await;

    let rows = sqlx::query_as::<_, (String, i32)>("SELECT key, number FROM effects ORDER BY key, number");
    let committed = rows.fetch_all(store.pool()).await.unwrap();
    let mut first: Vec<(String, i32)> = Vec::new();
    let mut seen = HashSet::new();
    for payload in fake.payloads() {
        let (key, number) = payload.split_once(' ').unwrap();
        let sent = (key.to_owned(), number.parse().unwrap());
        if seen.insert(sent.clone()) {
            first.push(sent);
        }
    }
    // By key; within a key they stay in the order in which they were sent.
    first.sort_by(|left, right| left.0.cmp(&right.0));
    assert!(committed.len() >= 700, "{}", committed.len());
    assert_eq!(first, committed);
}

/// Writes one message after the other until it is over.
fn writing(store: SqlStore<Postgres>, writer: usize, is_over: Arc<AtomicBool>) -> JoinHandle<()> {
    let outbox = Outbox::to_channels(&store, ["orders"]);
    tokio::spawn(async move {
        let mut number = 0;
        while !is_over.load(Ordering::Acquire) {
            number += 1;
            // Whatever goes wrong, the table knows.
            let _ = write(&outbox, writer, number).await;
        }
    })
}

async fn write(outbox: &Outbox<Postgres>, writer: usize, number: i32) -> Result<(), SqlError> {
    let mut tx = outbox.store().begin().await?;
    let effect = sqlx::query("INSERT INTO effects VALUES ($1, $2)")
        .bind(format!("key-{writer}"))
        .bind(number);
    if effect.execute(&mut *tx).await.is_err() {
        return Ok(());
    }
    let message = Message::new(format!("key-{writer} {number}")).with_key(format!("key-{writer}"));
    match outbox.send(&mut tx, "orders", message).await {
        Ok(()) if number % 7 == 0 => tx.rollback().await,
        Ok(()) => tx.commit().await,
        Err(_) => Ok(()),
    }
}
